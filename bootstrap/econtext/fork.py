"""econtext.fork: a child that is a copy of this context, with all that is imported here. Fetched for the first one.

The copy is made on the main thread, between two calls, so that no function of the user's is in the middle of anything;
other threads are not in it. There it keeps the modules and nothing of the connections: the router is made anew in
place, with streams, handles, threads and standard descriptors of its own, locks that another thread may have held are
replaced, and what waited for a message here waits no longer. Then it is a child as any other, which was started by
a plan with `fork` in it.
Not here: its streams and its end, seen from the parent (econtext.routes, econtext.parent).
"""
from __future__ import absolute_import
import os, sys, zlib
from econtext import core
from econtext.core import importer, router, text, _thread
channel, handshake, processes = map(core.load, ('econtext.channel', 'econtext.handshake', 'econtext.process'))
later = core.load('econtext.clock')

# They know of children; in the order of their imports.
ANEW = 'econtext.parent', 'econtext.relay', 'econtext.routes', 'econtext.clock', 'econtext.start'
for name in ANEW:
    core.load(name)  # or the copy has none to make anew
REASON = text('this is a copy of the context that had it')
requests = {}  # copies to be made, by what the main thread is told
kept = []  # files whose end would close a descriptor that is another's by then


class Process(processes.Process):
    """A copy of this process; see econtext.process. EnvironmentError where the main thread is not free in time."""

    def __init__(self, plan):
        self.tty = self.slave = None
        self.pids, self.fds = [], []
        self.problem, self.done = 'the main thread was busy all the time', channel.Waiter(True)
        requests[id(self)] = self
        call = core.dumps(('econtext', None, 'fork.run', (id(self),), {}), 2)
        router.defer(lambda: router.calls.append((router.id, 0, call)))
        timeout = min(plan['timeout_ms'], processes.LONGEST_MS) / 1e3
        while not self.done.wait(core.clock() + timeout) and not requests.pop(id(self), None):
            pass  # it has begun just now
        self.done = None
        if self.problem:
            raise EnvironmentError(self.problem)

    def copy(self):
        fds, processes.loose[id(self)] = self.fds, self
        try:
            processes.make_stream(fds, False)
            their_in, self.fd_out, self.fd, their_out = fds
            self.stderr, end = core.pipe()
            fds += end, self.stderr
            core.flush()  # or it would be said twice
            processes.alone(processes.fork, self.pids)
            if not self.pid:
                become(self, their_in, their_out, end)
            self.problem = None
        except Exception:
            self.problem = processes.words(sys.exc_info()[1])
        finally:
            for fd in list(fds) if self.problem else (their_in, their_out, end):
                fds.remove(fd)
                os.close(fd)
            if self.problem:
                self.attend()
            self.done.release()


def run(key):
    """For the main thread: make the copy that was asked for, unless that waits no longer."""
    router.running = False  # nothing of the user's may be interrupted here
    process = requests.pop(key, None)
    if process:
        process.copy()


def become(process, fd_in, fd_out, stderr):
    """Be the copy. Does not return."""
    try:
        os.setsid()
        close(process)
        os.dup2(stderr, 2)
        os.close(stderr)
        end_waits()
        forget()
        os.write(fd_out, handshake.STARTED + handshake.RECEIVED)
        core.read_exactly(fd_in, len(core.core_source))  # what others are sent in front of the configuration
        config = core.configuration(fd_in)
        begin(fd_in, fd_out, config)
        core.serve()
    except BaseException:
        kind, value = sys.exc_info()[:2]
        os.write(2, (text('econtext: the copy of a context: %s: %s\n') % (text(kind.__name__), text(value))).encode(
            'utf-8', 'replace'))
    finally:
        os._exit(1)


def close(process):
    """Close what belongs to the original: its streams, and the processes below it."""
    kept.extend((sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))
    sys.stdout = sys.stderr = None  # another thread may have held their locks
    stream, routes, timers = router.stream, router.routes, later.timers
    fds = set(router.watched)
    fds.update((stream.fd_in, stream.fd_out, router.wake_fd, router.woken_by, router.rouse_fd, router.roused_by,
                router.errors, process.fd, process.fd_out, process.stderr, timers.fd, timers.end))
    fds.update(source.fd for source in router.sources + router.loggers)
    fds.update(process.done.fds or ())
    process.done.fds = None  # the thread that waits for it is not here
    processes.loose.pop(id(process))
    for others in processes.loose.values():
        fds.update(others.fds)
    processes.loose.clear()
    for start in list(processes.waiting):
        start.close()
    for child in list(routes.children.values()):
        if child.fd is not None:
            fds.update((child.fd, child.fd_out))
        if child.start:
            fds.update((child.start.process.tty, child.start.process.slave))
    for fd in fds:
        try:
            os.close(fd)
        except (EnvironmentError, TypeError):
            pass


def end_waits():
    """Tell what waits for messages to the original that none will come here."""
    router.reason = REASON
    for handle, (function, allowed) in list(router.handlers.items()):
        owner = getattr(function, '__self__', None)
        if handle >= 1000 and hasattr(owner, 'lock'):
            owner.lock = _thread.allocate_lock()
            function(router.id, router.id, 0, None)
    channel.giving.clear()
    channel.Credit.shared.clear()
    channel.Credit.making = _thread.allocate_lock()


def forget():
    """Leave to the original what is its own in the interpreter, and what other threads were about to do."""
    modules = sys.modules
    leave = modules.get('atexit')
    if hasattr(leave, '_clear'):
        leave._clear()
    elif leave:  # 2.7
        del leave._exithandlers[:]
    if 'random' in modules:
        modules['random'].seed()
    if hasattr(modules.get('ssl'), 'RAND_add'):
        modules['ssl'].RAND_add(os.urandom(32), 32.0)
    logging = modules.get('logging')
    if logging and not hasattr(os, 'register_at_fork'):  # it looks after that itself from 3.7 on
        logging._lock = modules['threading'].RLock()
        for reference in logging._handlerList:
            handler = reference()
            if handler:
                handler.createLock()
    getattr(modules.get('_frozen_importlib'), '_module_locks', {}).clear()
    for name, module in list(modules.items()):
        if getattr(getattr(module, '__spec__', None), '_initializing', False):
            del modules[name]  # another thread was importing it


def begin(fd_in, fd_out, config):
    """Make router and importer anew, in place: all modules have them by name."""
    router.__dict__.clear()
    router.__init__(fd_in, fd_out, config)
    core.gifts['context'] = core.Context(router.id, router.name)
    known = importer.modules, importer.loaded, importer.server
    importer.__init__()
    importer.modules, importer.loaded, importer.server = known
    importer.invalidate_caches()  # what was absent, and what is served: changes of these come to who has asked
    for name in ANEW:
        found = importer.modules[name]
        exec(compile(zlib.decompress(found[2]), found[1], 'exec', 0, 1), sys.modules[name].__dict__)
    kept.append(sys.modules.pop(__name__))
