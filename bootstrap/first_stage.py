"""The first stage: the loader of the command line has read it from stdin and executes it as `__main__`.

It forks. The parent half re-executes the interpreter, which gets rid of the long command line and names the
process after its context; its program waits in a pipe. The child half reads exactly the core, and not a byte
more, since what follows is protocol already. It compiles the core while the other interpreter starts, which
so has neither the time nor the memory of that to bear; it hands both over through a second pipe, and leaves.

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
import fcntl, marshal, os, select, sys, zlib


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
    # s, o: the stream. r, w: the program. e (a copy of c), d: the core, compressed and then compiled.
    # F_DUPFD makes copies that survive exec.
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
        # All of it is there before it is read, since stdin may be made one that does not block. '' leaves
        # sys.path: a file in the working directory is no module. When the core is not whole, the child half
        # has said why. sys.executable may turn out to be another Python, with a compiled form of its own.
        os.write(w, (
            'import sys;sys.path[:]=filter(None,sys.path)\nimport os,marshal,zlib\n'
            'f=os.fdopen(%d,"rb");core_source=f.read(%d)\n'
            'len(core_source)<%d and os._exit(os.waitpid(%d,0)[1]>>8)\n'
            'exec(sys.version==%r and marshal.loads(f.read())or compile(zlib.decompress(core_source),"<stdin>","exec"))\n'
            'f.close();main(%d,%d,%d,%r)\n' % (e, L, L, p, sys.version, s, o, p, sys.executable)).encode())
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
    for n in r, w, c, e:
        os.close(n)  # so that a write does not wait for ever when the other half is gone
    while len(b) < L:
        select.select([0], [], [])  # stdin may be non-blocking
        q = os.read(0, L - len(b))
        if not q:
            raise EOFError('the stream ended after %d of %d bytes of the core' % (len(b), L))
        b += q
    x = 94
    b += marshal.dumps(compile(zlib.decompress(b), '<stdin>', 'exec', 0, 1))
    os.write(1, b'EC1\n')  # before the core can run and send a frame
    x = 0
except Exception:
    say(sys.exc_info()[1])
    b = b''
try:
    n = os.fdopen(d, 'wb')
    n.write(b)
    n.close()
finally:
    os._exit(x)
