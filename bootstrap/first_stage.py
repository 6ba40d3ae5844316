"""The first stage: the loader of the command line has read it from stdin and executes it as `__main__`.

It forks. The parent half re-executes the interpreter, which gets rid of the long command line and names the
process after its context; its program arrives through a pipe. The child half reads exactly the core, and not
a byte more, since what follows is protocol already; it feeds the program to the pipe, and leaves.

The line that is put in front of this file defines N, the name for ps (printable, without quotes, backslash
and slash), and L, the length of the compressed core.

What goes wrong ends with a status of its own, which bootstrap.rs turns into words:
    92  fork or pipe failed
    93  the interpreter cannot be executed again
    94  the core does not decompress
    95  end of the stream inside the first stage (so the loader's)
    96  end of the stream inside the core (or the configuration, which the core reads)
    97  no interpreter among the candidates (so the shell loop's)
    98  the interpreter is too old (in a search, the shell loop's)
"""
import fcntl, os, select, sys, zlib


def say(words):
    try:
        os.write(2, ('econtext: %s\n' % (words,)).encode('ascii', 'replace'))
    except EnvironmentError:
        pass


def leave(status, words):
    say(words)
    os._exit(status)


v = sys.version_info
if v < (2, 7) or (3,) < v < (3, 6):
    leave(98, 'Python %d.%d is too old' % v[:2])

try:
    # Descriptors 0 to 2 that the login program left closed: the pipes below must not get these numbers.
    n = os.open('/dev/null', os.O_RDWR)
    while n < 3:
        fcntl.fcntl(n, fcntl.F_SETFD, 0)
        n = os.dup(n)
    os.close(n)
except EnvironmentError:
    pass  # there is no /dev here

try:
    # s, o: the stream. r, w: the program. e (a copy of c), d: the compressed core. F_DUPFD makes copies
    # that survive exec.
    s, o = fcntl.fcntl(0, fcntl.F_DUPFD, 3), fcntl.fcntl(1, fcntl.F_DUPFD, 3)
    r, w = os.pipe()
    c, d = os.pipe()
    e = fcntl.fcntl(c, fcntl.F_DUPFD, 3)
    p = os.fork()
except EnvironmentError:
    leave(92, sys.exc_info()[1])

if p:
    try:
        os.dup2(r, 0)
        os.dup2(2, 1)  # what a sitecustomize prints must not reach the stream
        for n in r, w, c, d:
            os.close(n)
        # Without its directory in argv[0] CPython loses sys.executable and the prefix of a virtual
        # environment; PyPy does so with any other argv[0], and shows the name as an argument.
        a = [os.path.dirname(sys.executable) + '/' + N]
        if '__pypy__' in sys.builtin_module_names:
            a = [sys.executable, '-', N]
        os.execv(sys.executable, a)
    except EnvironmentError:
        leave(93, '%r: %s' % (sys.executable, sys.exc_info()[1]))

x, b = 96, b''
try:
    for n in r, c, e:
        os.close(n)  # so that a write does not wait for ever when the other half is gone
    while len(b) < L:
        select.select([0], [], [])  # stdin may be non-blocking
        q = os.read(0, L - len(b))
        if not q:
            raise EOFError('the stream ended after %d of %d bytes of the core' % (len(b), L))
        b += q
    x = 94
    q = zlib.decompress(b).decode() + '\nmain(%d,%d,%d,%d,%r)\n' % (s, o, e, os.getpid(), sys.executable)
    os.write(1, b'EC1\n')  # before the program can run and send a frame
except Exception:
    say(sys.exc_info()[1])
    q = 'import os;os._exit(%d)' % x
try:
    for n, q in (w, q.encode()), (d, b):
        n = os.fdopen(n, 'wb')
        n.write(q)
        n.close()
finally:
    os._exit(0)
