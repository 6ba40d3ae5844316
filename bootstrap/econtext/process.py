"""econtext.process: a process that carries a child's stream, as a plan says. Fetched by who has children.

Started on a thread that may wait, and then looked after by the one that leads. What is open in this process is not open
in that one, and what it does with its standard descriptors does nothing to ours.
Not here: what is said on the stream, on stderr and on the terminal (econtext.parent).
"""
from __future__ import absolute_import
import errno, fcntl, os, sys, termios
from econtext import core
from econtext.core import clock, router, signal, text, _socket, _thread

OUTPUT_BYTES, OUTPUT_SECONDS = 1 << 20, 5  # of a program that is asked something
NAME = __name__


def fork():
    """os.fork() without the warning of threads: nothing is called in the copy that could wait for one."""
    import warnings
    ours = ('ignore', None, DeprecationWarning, NAME, 0)
    warnings.filters.insert(0, ours)  # it is for this module alone
    getattr(warnings, '_filters_mutated', int)()
    try:
        return os.fork()
    finally:
        warnings.filters.remove(ours)
        getattr(warnings, '_filters_mutated', int)()


def descriptors():
    """Those that a copy of this process has to close before it executes something."""
    try:
        return [int(name) for name in os.listdir('/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd')]
    except (EnvironmentError, ValueError):
        return range(1024)


def execute(argv, env, cwd, fds, tty):
    """Become the program, in a copy of this process. Whatever it is called from, it does not come back."""
    os.setsid()
    if tty is not None:
        fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    for fd in descriptors():
        if fd > 2:
            try:
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            except EnvironmentError:
                pass
    for name in 'SIGPIPE', 'SIGXFZ', 'SIGXFSZ', 'SIGINT', 'SIGTERM', 'SIGHUP', 'SIGCHLD':
        try:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        except (AttributeError, ValueError):
            pass
    if cwd is not None:
        os.chdir(cwd)
    problem = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    dirs = [b''] if b'/' in argv[0] else [dir or b'.' for dir in env.get(b'PATH', b'/bin:/usr/bin').split(b':')]
    for dir in dirs:
        try:
            os.execve(os.path.join(dir, argv[0]), argv, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                problem = error
    raise problem


class Process(object):
    """A process that was started by a plan. EnvironmentError where it cannot be."""

    def __init__(self, plan):
        argv = plan['argv']
        env = dict(getattr(os, 'environb', os.environ))
        env.update(plan.get('env', ()))
        self.tty = self.slave = None
        self.socket, theirs = _socket.socketpair()
        fds = []  # to be closed if it fails
        try:
            for _ in range(2):
                fds.append(os.dup(self.socket.fileno()))
            self.fd, self.fd_out = fds
            self.stderr, stderr = core.pipe()
            fds += self.stderr, stderr
            news, said = map(core.private, os.pipe())
            fds += news, said
            if plan.get('asks') == 'terminal':
                self.tty, self.slave = os.openpty()
                fds += self.tty, self.slave
                for fd in self.tty, self.slave:
                    core.private(fd, os.O_NONBLOCK if fd == self.tty else 0)
                mode = termios.tcgetattr(self.slave)
                mode[3] &= ~termios.ECHO
                termios.tcsetattr(self.slave, termios.TCSANOW, mode)
            self.pid = fork()
            if not self.pid:
                try:
                    stdio = theirs.fileno(), theirs.fileno(), stderr
                    execute(argv, env, plan.get('cwd'), stdio, self.slave)
                except BaseException:
                    os.write(said, text(sys.exc_info()[1]).encode('utf-8', 'replace'))
                finally:
                    os._exit(127)
            for fd in stderr, said:
                fds.remove(fd)
                os.close(fd)
            problem = os.read(news, 4096)
            if problem:
                os.waitpid(self.pid, 0)
                raise EnvironmentError(text('%s: %s') % (text(argv[0]), text(problem)))
            fds.remove(news)
            os.close(news)  # the terminal's other end stays: a program opens its own anew for each question
        except BaseException:
            self.socket.close()
            for fd in fds:
                os.close(fd)
            raise
        finally:
            theirs.close()

    def signal(self, number, group):
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except EnvironmentError:  # it has gone, or is another user's, and has seen the stream's end
            pass

    def wait(self, done):
        """Have `done(exit status)` called when it has ended."""
        def reap():
            try:
                status = os.waitpid(self.pid, 0)[1]
                return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            except EnvironmentError:  # somebody else has waited for it
                return None

        def wait():
            status = reap()
            router.defer(lambda: done(status))

        def ended():
            router.unwatch(fd)
            os.close(fd)
            done(reap())
        try:
            fd = os.pidfd_open(self.pid)
        except (AttributeError, EnvironmentError):
            _thread.start_new_thread(wait, ())
        else:
            router.watch(fd, ended)

    def close_tty(self):
        if self.tty is not None:
            os.close(self.tty)
            os.close(self.slave)
            self.tty = None

    def abandon(self):
        """End it: nobody looks after it."""
        self.signal(signal.SIGKILL, True)
        self.socket.close()
        for fd in self.fd, self.fd_out, self.stderr:
            os.close(fd)
        self.close_tty()


def output(argv):
    """What a program prints until it ends; nothing where that takes too long."""
    printed, poll, deadline = b'', core.Poll(), clock() + OUTPUT_SECONDS
    try:
        process = Process({'argv': argv})
    except EnvironmentError:
        return b''
    poll.register(process.fd, 1)
    try:
        while clock() < deadline and len(printed) < OUTPUT_BYTES:
            if router.poll(poll, (deadline - clock()) * 1000 + 1):
                data = os.read(process.fd, core.LARGE)
                if not data:
                    return printed
                printed += data
        return b''
    finally:
        process.abandon()
        os.waitpid(process.pid, 0)
