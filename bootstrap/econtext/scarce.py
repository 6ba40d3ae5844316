"""econtext.scarce: what helps a start where the system gives no more descriptors or terminals. Fetched then.

Not here: what needs them (econtext.process).
"""
from __future__ import absolute_import
import errno, fcntl, os
from econtext import core
from econtext.core import text
usual = core.load('econtext.process').usual

MOST_DESCRIPTORS = 1 << 16  # that a context allows itself; what it starts may close all that it might have, one by one
TIOCSPTLCK, TIOCGPTN, NUMBER = 0x40045431, 0x80045430, core.Struct('i')  # of Linux


def allow_more_descriptors():
    """Raise the limit: for a context nobody else can. What it executes is to have the usual one, with which old
    programs get along."""
    try:
        import resource
        soft, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_DESCRIPTORS if hard < 0 else min(hard, MOST_DESCRIPTORS)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            usual[:] = usual or [lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)]
    except Exception:  # this system has no such thing, or does not let it be
        pass


def describe(error):
    """Why there is no process, where there are no descriptors."""
    words = text('%s; a child takes 4 to 6, and its parent may have %d (the hard limit, `ulimit -Hn`)')
    return words % (text(error), os.sysconf('SC_OPEN_MAX'))


def make_terminal(why):
    """What os.openpty() gives, where that raised `why`."""
    fds = []
    try:
        # It uses grantpt(3), which in old C libraries fails where devpts is mounted without a group for terminals, as
        # in some containers. The kernel has set the owner already.
        for path in '/dev/ptmx', '/dev/pts/%d':
            if fds:
                fcntl.ioctl(fds[0], TIOCSPTLCK, NUMBER.pack(0))
                path %= NUMBER.unpack(fcntl.ioctl(fds[0], TIOCGPTN, NUMBER.pack(0)))
            fds.append(os.open(path, os.O_RDWR | os.O_NOCTTY))
        return fds
    except EnvironmentError:
        for fd in fds:
            os.close(fd)
    hint = ''
    if why.errno in (errno.ENOENT, errno.ENODEV):
        hint = ' (is /dev/pts mounted?)'
    elif why.errno in (errno.ENOSPC, errno.EAGAIN, errno.ENXIO):
        hint = " (all of the system's are in use)"
    raise OSError(why.errno, 'cannot make a terminal%s: %s' % (hint, why.strerror))
