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
        core.Stream.__init__(self, ends[1][0], ends[0][1], router.id, KEY, 1 << 27, 65536, self.wake_up)
        self.sign, self.verify = self.verify, self.sign
        self.file = core.FileIO(self.fd_in, 'rb', closefd=False)
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
            for waiter in self.answers.values():
                waiter[0].release()
            return
        for dst, src, auth, handle, reply_to, data in frames:
            if handle == core.GET_MODULE:
                requests.append(data)
                self.relay.serve(data)
            elif handle in self.answers:
                self.answers[handle][1] = data
                self.answers.pop(handle)[0].release()
            elif handle == core.FORWARD_LOG:
                router.stream.send(0, handle, data)

    def call(self, target, args):
        lock = core._thread.allocate_lock()
        lock.acquire()
        handle, waiter = next(self.handles), [lock, None]
        self.answers[handle] = waiter
        module, _, function = target.partition(':')
        data = core.dumps((core.text(module), None, core.text(function), tuple(args), {}), 2)
        self.send(self.child, core.CALL_FUNCTION, data, handle)
        router.need()
        lock.acquire()
        if waiter[1] is None:
            raise core.StreamError('the stream to %d has ended' % self.child)
        return waiter[1]


requests = []  # of all children


def start(path, id, python):
    """Start a child of the context that `path` leads to."""
    if path:
        return call(path, 'tree:start', [], id, python)
    children[id] = Child(id, core.text(python).encode() if str is bytes else python)
    return children[id].process.pid


def call(path, target, *args):
    """Call a function in the context that `path` leads to."""
    child = children[path[0]]
    if path[1:]:
        result = core.loads(child.call('tree:call', (path[1:], target) + args), **core.PROTOCOL)
    else:
        result = core.loads(child.call(target, args), **core.PROTOCOL)
    if isinstance(result, core.CallError):
        raise Exception('%s: %s' % (target, result))
    return result


def count(path):
    """How many requests the children of a context have made since the last time."""
    if path:
        return call(path, 'tree:count', [])
    made = len(requests)
    del requests[:]
    return made


def push(*records):
    """Have these messages arrive from above."""
    done = core._thread.allocate_lock()
    done.acquire()

    def arrive():
        for record in records:
            importer.on_module(0, 0, 0, core.dumps(tuple(record), 2))
        done.release()
    router.defer(arrive)
    done.acquire()


def stop(path, id):
    """Have a child leave."""
    if path:
        return call(path, 'tree:stop', [], id)
    child = children.pop(id)
    child.send(id, core.SHUTDOWN, core.dumps(None, 2))
    child.process.wait()
