"""econtext.process: a process that carries a child's stream, as a plan says. Fetched by who has children.

Started on a thread that may wait, and then looked after by the one that leads. What is open in this process is not open
in that one, and what it does with its standard descriptors does nothing to ours.
Not here: what is said on the stream, on stderr and on the terminal (econtext.parent).
"""
from __future__ import absolute_import
import errno, fcntl, itertools, os, sys, termios
from econtext import core
from econtext.core import clock, router, signal, text, _socket, _thread
imp = None
if not core.PROTOCOL:
    import imp

ROOM = 64  # descriptors that are to be free
SELINUX = '/sys/fs/selinux/enforce'
OUTPUT_BYTES, OUTPUT_SECONDS = 1 << 20, 5  # of a program that is asked something
LONGEST_MS = 1e6  # that is waited at once: poll() refuses what is beyond 2^31
LAST_FORK = .5  # seconds that who ends this process waits for one that is just being made
AGAIN = 1  # seconds until what had no thread tries to get one
NAME = __name__
usual = []  # what sets the limit of descriptors back, once it has been raised
loose = {}  # the processes that nobody looks after yet, by their id(): they end with this context
waiting = set()  # the starts that somebody waits for here: a copy of this context closes their sockets
forking = _thread.allocate_lock()  # held while there are descriptors that a copy of this context must not have


def fork(pids):
    """os.fork() without the warning of threads: nothing is called in the copy that could wait for one.

    The result is appended to `pids`, with nothing before that a signal's handler could interrupt.
    """
    import warnings
    if router.closed:  # what ends the processes below it may have been here
        raise EnvironmentError(router.reason)
    ours = ('ignore', None, DeprecationWarning, NAME, 0)
    filters = warnings.filters  # another thread may put others in their place meanwhile
    filters.insert(0, ours)  # it is for this module alone
    getattr(warnings, '_filters_mutated', int)()
    try:
        pids.extend(itertools.starmap(os.fork, [()]))
    finally:
        try:
            filters.remove(ours)
        except ValueError:  # another thread has emptied them
            pass
        getattr(warnings, '_filters_mutated', int)()


def holds_import_lock():
    """Whether this thread holds the one import lock of 2.7."""
    if not (imp and imp.lock_held()):
        return False
    try:
        imp.release_lock()
    except RuntimeError:  # it is another thread's
        return False
    imp.acquire_lock()
    return True


def alone(function, *args):
    """Call it while no other thread makes a process, or copies this one."""
    if imp:  # os.fork() takes this, too; and who holds it may wait for the other one
        imp.acquire_lock()
    try:
        with forking:
            return function(*args)
    finally:
        if imp:
            try:
                imp.release_lock()
            except RuntimeError:  # this is a copy, in which os.fork() has done it
                pass


def words(error):
    """Why there is no process."""
    if getattr(error, 'errno', None) == errno.EMFILE:
        return core.load('econtext.scarce').describe(error)
    return text(error) or text(type(error).__name__)


def make_stream(fds, as_pipes):
    """Append what carries a child's stream: where it reads, where we write, where we read and where it writes.

    A pair of sockets has an end for all who have it, a copy of this process, too; pipes have not.
    """
    if as_pipes:
        for _ in range(2):
            fds.extend(os.pipe())
    else:
        ours, theirs = _socket.socketpair()
        try:
            for end in theirs, ours, ours, theirs:
                fds.append(os.dup(end.fileno()))
        finally:
            ours.close()
            theirs.close()
    if 0 <= os.sysconf('SC_OPEN_MAX') < max(fds) + ROOM:
        core.load('econtext.scarce').allow_more_descriptors()


def make_terminal():
    """Both ends of a new terminal."""
    try:
        return os.openpty()
    except EnvironmentError as error:
        return core.load('econtext.scarce').make_terminal(error)


def descriptors():
    """Those that a copy of this process has to close before it executes something."""
    try:
        return [int(name) for name in os.listdir('/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd')]
    except (EnvironmentError, ValueError):
        return range(1024)


def cannot(what, path, error):
    """The error in the words of src/sys/spawn.rs."""
    return Exception(text('cannot %s %s: %s (os error %d)') % (what, text(path), error.strerror, error.errno))


def execute(argv, env, cwd, fds, tty):
    """Become the program, in a copy of this process. Whatever it is called from, it does not come back."""
    os.setsid()
    if tty is not None:
        try:
            fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
        except (AttributeError, EnvironmentError):  # not every system has or needs it
            pass
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
    for set_back in usual:
        set_back()
    if cwd is not None:
        try:
            os.chdir(cwd)
        except EnvironmentError as error:
            raise cannot('change to', cwd, error)
    name, path = argv[0], env.get(b'PATH', b'/usr/local/bin:/usr/bin:/bin')
    problem = None
    # Nothing that happens to lie in the working directory is to run as ssh.
    for dir in [b''] if b'/' in name else [dir for dir in path.split(b':') if dir[:1] == b'/']:
        program = os.path.join(dir, name)
        if not dir or os.path.isfile(program):
            try:
                os.execve(program, argv, env)
            except EnvironmentError as error:
                problem = problem or cannot('execute', program, error)
    raise problem or Exception(text('%s not found in PATH (%s)') % (text(name), text(path)))


def readable(fd, deadline):
    """Whether there is something to read before the deadline."""
    poll = core.Poll()
    poll.register(fd, 1)
    while True:
        left_ms = max(0, deadline - clock()) * 1000
        if router.poll(poll, min(left_ms + 1, LONGEST_MS)):
            return True
        if not left_ms:
            return False


def end_loose():
    """This process is about to end, and nothing may be left of those that it has started."""
    deadline = clock() + LAST_FORK
    while not forking.acquire(False) and clock() < deadline:  # it is not released: there will be no more
        core.Poll().poll(1)
    for process in list(loose.values()):
        process.kill()


class Process(object):
    """A process that was started by a plan. EnvironmentError where it cannot be."""
    pid = property(lambda self: self.pids and self.pids[0])

    def __init__(self, plan):
        self.tty = self.slave = None
        self.pids, self.fds = [], []  # to be ended and to be closed if it fails
        fds, loose[id(self)] = self.fds, self
        try:
            news = alone(self.spawn, plan, fds)
            problem = self.refusal(news, plan['argv'][0], plan.get('timeout_ms', OUTPUT_SECONDS * 1000))
            if problem:
                raise EnvironmentError(problem if str is bytes else text(problem))
            fds.remove(news)
            os.close(news)  # the terminal's other end stays: a program opens its own anew for each question
        except BaseException:
            if self.pids == [0]:  # it is the copy that a signal has reached
                os._exit(127)
            if self.pid:
                self.kill()
                self.reap()
            self.attend()
            for fd in fds:
                os.close(fd)
            raise

    def attend(self):
        """Somebody looks after it now, or nobody has to."""
        loose.pop(id(self), None)

    def spawn(self, plan, fds):
        """Make the copy that becomes the program; gives the pipe that says why it could not."""
        env = dict(getattr(os, 'environb', os.environ))
        env.update(plan.get('env', ()))
        # A change of domain by SELinux may take sockets away from who changes it, and leaves pipes.
        make_stream(fds, not _socket or os.path.exists(SELINUX) and not plan.get('ssh'))
        their_in, self.fd_out, self.fd, their_out = fds
        self.stderr, stderr = core.pipe()
        fds += self.stderr, stderr
        news, said = map(core.private, os.pipe())
        fds += news, said
        if plan.get('asks') == 'terminal':
            self.tty, self.slave = make_terminal()
            fds += self.tty, self.slave
            for fd in self.tty, self.slave:
                core.private(fd, os.O_NONBLOCK if fd == self.tty else 0)
            mode = termios.tcgetattr(self.slave)
            mode[3] &= ~termios.ECHO
            termios.tcsetattr(self.slave, termios.TCSANOW, mode)
        fork(self.pids)
        if not self.pid:
            try:
                execute(plan['argv'], env, plan.get('cwd'), (their_in, their_out, stderr), self.slave)
            except BaseException:
                os.write(said, text(sys.exc_info()[1]).encode('utf-8', 'replace'))
            finally:
                os._exit(127)
        for fd in their_in, their_out, stderr, said:
            fds.remove(fd)
            os.close(fd)
        return news

    def refusal(self, news, name, timeout_ms):
        """Why the program was not executed; nothing once it was."""
        if readable(news, clock() + timeout_ms / 1e3):
            return os.read(news, 4096)
        # It is ended now; or a copy that was made by others has the pipe, too.
        return text('%s: it was not executed within %d ms') % (text(name), timeout_ms)

    def signal(self, number, group):
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except EnvironmentError:  # it has gone, or is another user's, and has seen the stream's end
            pass

    def kill(self):
        """End it, which may have no group of its own yet."""
        for is_group in True, False:
            if self.pid:
                self.signal(signal.SIGKILL, is_group)

    def wait(self, done):
        """Have `done(exit status)` called when it has ended."""
        def wait():
            status = self.reap()[1]
            router.defer(lambda: done(status))

        def ended():
            over, status = self.reap(os.WNOHANG)
            if over:  # or this was said of another descriptor, which had that number before
                router.unwatch(fd)
                os.close(fd)
                done(status)
        try:
            fd = os.pidfd_open(self.pid)
        except (AttributeError, EnvironmentError):
            try:
                _thread.start_new_thread(wait, ())
            except Exception:  # there are no more threads
                core.load('econtext.clock').timers.after(AGAIN, lambda: self.wait(done))
        else:
            router.watch(fd, ended)

    def reap(self, options=0):
        """Whether it has ended, and its exit status; that is None where somebody else has waited for it."""
        try:
            pid, status = os.waitpid(self.pid, options)
        except EnvironmentError:
            return True, None
        return bool(pid), -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def close_tty(self):
        if self.tty is not None:
            os.close(self.tty)
            os.close(self.slave)
            self.tty = None

    def shut(self):
        """End the stream, as far as there is such an end, also in copies of this process."""
        try:
            make = getattr(_socket, 'fromfd', None)  # 2.7, and a descriptor of its own
            socket = make(self.fd, 1, 1) if make else _socket.socket(1, 1, 0, self.fd)
            try:
                socket.shutdown(2)
            finally:
                (socket.close if make else socket.detach)()
        except (AttributeError, EnvironmentError):
            pass

    def abandon(self):
        """End it: nobody looks after it."""
        self.signal(signal.SIGKILL, True)
        self.attend()
        for fd in self.fd, self.fd_out, self.stderr:
            os.close(fd)
        self.close_tty()


def output(argv):
    """printed(), for a thread that a signal may interrupt: its handler does not raise in the middle of that."""
    if holds_import_lock():  # see alone()
        return printed(argv)
    found, waiter = [b''], core.load('econtext.channel').Waiter(True)

    def run():
        try:
            found.append(printed(argv))
        finally:
            waiter.release()
    try:
        _thread.start_new_thread(run, ())
    except Exception:  # there are no more threads
        return printed(argv)
    waiter.wait(clock() + 2 * OUTPUT_SECONDS)
    return found[-1]


def printed(argv):
    """What a program prints until it ends; nothing where that takes too long."""
    found, deadline = b'', clock() + OUTPUT_SECONDS
    try:
        process = Process({'argv': argv})
    except EnvironmentError:
        return b''
    try:
        while len(found) < OUTPUT_BYTES and readable(process.fd, deadline):
            data = os.read(process.fd, core.LARGE)
            if not data:
                return found
            found += data
        return b''
    finally:
        process.abandon()
        process.reap()
