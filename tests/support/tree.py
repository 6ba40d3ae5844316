"""Contexts with children, started by hand: what tests/relay.rs serves to each context of a tree."""
import os
import subprocess
import sys

from econtext import core
relay = core.load('econtext.relay')
router, importer = core.router, core.importer

BOOT = '''
import os, sys, zlib
sys.path[:] = filter(None, sys.path)
fd_in, fd_out = os.dup(0), os.dup(1)
file = os.fdopen(0, 'rb', 0, closefd=False) if sys.version_info > (3,) else os.fdopen(os.dup(0), 'rb', 0)
core_source = b''
while len(core_source) < %d:
    core_source += file.read(%d - len(core_source))
first_stage = os.fork()
first_stage or os._exit(0)
exec(compile(zlib.decompress(core_source), '<stdin>', 'exec'))
HIGHEST_PROTOCOL = min(HIGHEST_PROTOCOL, %d)  # of answers, which the parent is to read
main(fd_in, fd_out, first_stage, sys.executable)
'''
KEY = b'k' * 20
children = {}


class Child(core.Stream):
    """The other end of a core.Stream: the same with the directions swapped."""

    def __init__(self, id, python):
        source = core.core_source
        ends = [os.pipe(), os.pipe()]
        for fd in ends[0][1], ends[1][0]:
            core.private(fd)
        command = [python, '-c', BOOT % (len(source), len(source), core.HIGHEST_PROTOCOL)]
        self.process = subprocess.Popen(command, stdin=ends[0][0], stdout=ends[1][1], close_fds=True)
        os.close(ends[0][0])
        os.close(ends[1][1])
        config = core.dumps((id, [router.id] + list(router.parents), KEY, u'child%d' % id, 10, 1 << 27, 65536, 1 << 18,
                             20000, 999, False, router.has_main, []), 2)
        preamble = source + core.Struct('>L').pack(len(config)) + config
        while preamble:
            preamble = preamble[os.write(ends[0][1], preamble):]
        core.Stream.__init__(self, router.id, KEY, 1 << 27, 65536, self.wake_up)
        self.sign, self.verify = self.verify, self.sign
        self.open(ends[1][0], ends[0][1])
        self.gone = locked()
        self.child, self.answers, self.handles, self.writes = id, {}, core.itertools.count(1000), False
        self.relay = relay.Relay(lambda data: self.send(id, core.LOAD_MODULE, data))
        router.defer(lambda: router.watch(self.fd_in, self.on_frames))

    def wake_up(self):
        router.defer(self.on_writable)

    def on_writable(self):
        self.flush()
        if bool(self.queue) != self.writes:
            self.writes = not self.writes
            if self.writes:
                router.watch(self.fd_out, self.on_writable, 4)
            else:
                router.unwatch(self.fd_out)

    def on_frames(self):
        try:
            frames = self.receive()
        except EnvironmentError as error:
            if core.again(error):
                return
            frames = None
        except (EOFError, core.StreamError):
            frames = None
        if frames is None:
            self.relay.close()
            router.unwatch(self.fd_in)
            with self.lock:
                self.end()
            self.gone.release()
            for waiter in self.answers.values():
                waiter[0].release()
            return
        for dst, src, auth, handle, reply_to, data in frames:
            if handle == core.GET_MODULE:
                requests.append(data)
                self.relay.serve(data)
                tell()
            elif handle in self.answers:
                self.answers[handle][1] = data
                self.answers.pop(handle)[0].release()
            elif handle == core.FORWARD_LOG:
                logged.append(data)
                router.stream.send(0, handle, data)
                tell()

    def begin(self, target, args):
        handle, waiter = next(self.handles), [locked(), None]
        self.answers[handle] = waiter
        module, _, function = target.partition(':')
        data = core.dumps((core.text(module), None, core.text(function), texts(args), {}), 2)
        self.send(self.child, core.CALL_FUNCTION, data, handle)
        return waiter

    def finish(self, waiter):
        router.need()
        waiter[0].acquire()
        if waiter[1] is None:
            raise core.StreamError('the stream to %d has ended' % self.child)
        result = core.loads(waiter[1], **core.PROTOCOL)
        if isinstance(result, core.CallError):
            raise Exception(result)
        return result


requests, logged, upward = [], [], []  # of all children; what this context asks its parent for, once it is held
watchers = []  # functions that say whether what somebody waits for is there, and locks that are then released
calls = []  # that were begun


def locked():
    lock = core._thread.allocate_lock()
    lock.acquire()
    return lock


def tell():
    for watcher in watchers[:]:
        if watcher[0]():
            watchers.remove(watcher)
            watcher[1].release()


def wait_for(is_there):
    lock = locked()
    router.defer(lambda: (watchers.append((is_there, lock)), tell()))
    router.need()
    lock.acquire()


def led(function):
    """Call `function` on the thread that leads; return once that and all that it has deferred has been done."""
    lock = locked()
    router.defer(lambda: (function(), router.defer(lock.release)))
    router.need()
    lock.acquire()


def texts(value):
    """The same with text for `str`, which Python 3 would take for bytes if it came from Python 2."""
    return tuple(map(texts, value)) if isinstance(value, (list, tuple)) else (
        core.text(value) if isinstance(value, bytes) else value)


def start(path, id, python):
    """Start a child of the context that `path` leads to."""
    if path:
        return call(path, 'tree:start', [], id, python)
    children[id] = Child(id, str(python))
    return children[id].process.pid


def call(path, target, *args):
    """Call a function in the context that `path` leads to."""
    child = children[path[0]]
    if path[1:]:
        target, args = 'tree:call', (path[1:], target) + args
    return child.finish(child.begin(target, args))


def begin(id, target, *args):
    """Call a function of a child, and let it run."""
    calls.append((children[id], children[id].begin(target, args)))


def finish():
    """The results of all calls that were begun; of a child that has gone, nothing."""
    results = ['' if child.ended else child.finish(waiter) for child, waiter in calls]
    del calls[:]
    return results


def count(path):
    """How many requests the children of a context have made since the last time."""
    if path:
        return call(path, 'tree:count', [])
    made = len(requests)
    del requests[:]
    return made


def wait_for_requests(number):
    wait_for(lambda: len(requests) >= number)


def wait_for_words(words):
    wait_for(lambda: any(core.text(words).encode() in data for data in logged))


def hold():
    """Keep requests from the parent: the test answers them, with push()."""
    send = router.send

    def hook(dst, handle, value, reply_to=0):
        if handle == core.GET_MODULE:
            upward.append(value)
            router.defer(tell)
        else:
            send(dst, handle, value, reply_to)
    router.send = hook


def held(number):
    """The names that were to be asked for, once there are so many; each is given once."""
    wait_for(lambda: len(upward) >= number)
    names = upward[:]
    del upward[:]
    return names


def push(name, source=None, related=(), children=None):
    """Have a module arrive from above; an absent one without `source`."""
    record = name, None, None, None, None
    if source is not None:
        record = name, children, '/served/%s.py' % name, core.zlib.compress(source.encode()), list(related)
    led(lambda: importer.on_module(0, 0, 0, core.dumps(record, 2)))


def order(*names):
    """Have other names be served, and a call for the child 2 follow at once: the handles of what it is sent."""
    child, handles = children[2], []

    def arrive():
        child.send = lambda dst, handle, *args: handles.append(handle) or core.Stream.send(child, dst, handle, *args)
        importer.on_module(0, 0, 0, core.dumps(('', list(names), '', b'', []), 2))
        calls.append((child, child.begin('task:attempt', names)))
    led(arrive)
    del child.send
    return handles


def push_absent(begin, number):
    for at in range(begin, begin + number):
        push(core.text('absent_%d' % at))


def kept():
    """The names that this context and its relays keep."""
    return [len(importer.modules), sum(len(child.relay.sent) + len(child.relay.pending) for child in children.values()),
            len(relay.asked) + len(relay.backlog) + sum(map(len, importer.waiting.values()))]


def files():
    return [name for name in importer.modules if '/' in name and name[-1:] != '/']


def stop(id):
    """Have a child leave."""
    child = children.pop(id)
    child.send(id, core.SHUTDOWN, core.dumps(None, 2))
    router.need()
    child.gone.acquire()
    child.process.wait()


def kill(id):
    child = children.pop(id)
    child.process.kill()
    router.need()
    child.gone.acquire()
    child.process.wait()
