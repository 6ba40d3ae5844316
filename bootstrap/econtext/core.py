"""econtext.core: what a child is before it asks for more. All of it is sent at start, so it is short.

Two threads, of which one at a time leads: it polls, reads and closes every descriptor, never imports and never
calls a user's code, so that neither can stop it (finalizers run wherever a collection happens to begin). The
main thread leads while it waits for a call, and so needs no hand-over; it runs calls in order and sends their
answers itself. The broker thread leads while the main thread does not: while calls flow it glances at that
every few milliseconds, and at once when somebody is going to wait for a message; while the main thread waits
it sleeps. Any thread may send: it writes, and what the descriptor does not take is left to who leads.
Nothing wakes up without cause: there are no other timeouts but in shutdown.

Only C modules are imported here; logging, pickle, socket and threading each cost more than this whole file.
The common subset of Python 2.7 and 3.6 onward; differences are found by testing features, never versions.
"""
from __future__ import absolute_import
import sys
__name__ = 'econtext.core'  # was __main__; classes take their __module__ from it

import errno, fcntl, itertools, os, select, time, zlib
try:
    import _thread
except ImportError:  # 2.7
    import thread as _thread
    text_type, PROTOCOL, release_import_lock = unicode, {}, None

    def native(name):  # text as the `str` that names of modules and files are
        return name.encode('utf-8')
else:
    from _imp import acquire_lock as acquire_import_lock, release_lock as release_import_lock
    text_type, native, PROTOCOL = str, str, {'encoding': 'bytes'}
try:
    from _collections import deque
    from _operator import _compare_digest as same
    from _struct import Struct
except ImportError:
    from collections import deque
    from operator import _compare_digest as same
    from struct import Struct
try:
    from _sha1 import sha1
except ImportError:
    from hashlib import sha1
    try:
        sha1()
    except ValueError:  # FIPS mode refuses what might be for security
        from functools import partial
        sha1 = partial(sha1, usedforsecurity=False)
try:
    # _pickle wants functools for nothing but partial, and that import would cost more than all others.
    import _functools
    lent = sys.modules.setdefault('functools', _functools) is _functools
    try:
        from _pickle import dumps, loads, HIGHEST_PROTOCOL
    finally:
        if lent:
            del sys.modules['functools']
except ImportError:
    try:
        from cPickle import dumps, loads, HIGHEST_PROTOCOL
    except ImportError:  # PyPy
        from pickle import dumps, loads, HIGHEST_PROTOCOL
try:
    import _signal as signal
except ImportError:  # 2.7
    import signal
try:
    import _socket
except ImportError:
    _socket = None

clock = getattr(time, 'monotonic', time.time)
GET_MODULE, CALL_FUNCTION, FORWARD_LOG, ADD_ROUTE, DEL_ROUTE = 100, 101, 102, 103, 104
ALLOCATE_ID, SHUTDOWN, LOAD_MODULE, PING = 105, 106, 107, 108
OWN = b'econtext.'  # how the modules begin whose functions are the library's; at 8 in the pickle of a call
DEBUG, WARNING, ERROR = 10, 30, 40
HOOKED = set(['logging', 'linecache'])  # local modules that econtext.importer takes over once they are imported
HEADER = Struct('>6L')  # length, dst, src, auth, handle, reply_to; the MAC stands before it
NUMBER = Struct('>Q')
LARGE = 65536  # bytes of a frame that is read in place, and of text that is cut
GLANCE_MS = 5  # how long the main thread may be away before the broker thread leads
NAME_BYTES = 4096  # of a module or a file that is asked for
QUEUE_BYTES = 1 << 20  # beyond this in the queue, senders wait and output is not read
TEXT_BYTES = frozenset(bytearray(range(32, 127)) + b'\t\r\n\x1b')
# No master serves these: the standard library's, and what it imports in vain on this platform.
NEVER = frozenset('msvcrt _winapi winreg _winreg _wmi nt org java builtins __builtin__ thread cPickle cStringIO'
                  ' StringIO copy_reg _xmlplus'.split()).union(getattr(sys, 'stdlib_module_names', ()))


class StreamError(Exception):
    """The stream to the parent has ended, or a message cannot be sent; the text says why."""


class ChannelError(Exception):
    """The other end of a channel is gone; the text is the reason that it gave."""


class CallError(Exception):
    """A function that was called elsewhere raised: the class, the message and the traceback, as text."""

    def __str__(self):
        return '%s: %s\n%s' % self.args


class _DEAD(object):
    """Sent to a handle in the place of a value: its other end is gone, for `reason` (text or None)."""

    def __init__(self, reason=None):
        self.reason = reason

    def __reduce__(self):
        return _DEAD, (self.reason,)


class Context(object):
    """A process of the tree."""

    def __init__(self, id, name):
        self.id, self.name = id, name

    def __reduce__(self):
        return Context, (self.id, self.name)

    def call(self, *args, **kwargs):
        return load('econtext.call').call(self, *args, **kwargs)

    def call_async(self, *args, **kwargs):
        return load('econtext.call').call_async(self, *args, **kwargs)

    def shutdown(self):
        return load('econtext.call').shutdown(self)

    def __repr__(self):
        return 'Context(%r, %r)' % (self.id, self.name)


def Sender(context_id, handle):
    """The sending end of a channel. A function, so that the code is fetched when the first one is made."""
    return load('econtext.channel').Sender(context_id, handle)


def Receiver():
    """The receiving end of a new channel."""
    return load('econtext.channel').Receiver()


def _takes(keyword):
    def decorate(function):
        function.econtext_takes = getattr(function, 'econtext_takes', ()) + (keyword,)
        return function
    return decorate


takes_context, takes_router, takes_external_context = map(_takes, ('context', 'router', 'external_context'))


def text(value):
    """`str()` of anything as text. Never raises."""
    try:
        if isinstance(value, bytes):
            return value.decode('utf-8', 'replace')
        try:
            return text_type(value)
        except UnicodeError:  # 2.7: an object whose str() is not ASCII
            return str(value).decode('utf-8', 'replace')
    except:  # its class may raise SystemExit, too
        return text_type('<unprintable %s object>' % type(value).__name__)


def decode(data):
    """The value of the pickle `data`, which came from a parent."""
    if isinstance(data, memoryview) and not PROTOCOL:
        data = data.tobytes()
    return loads(data, **PROTOCOL)


def encode(value, dst=0):
    return dumps(value, 2 if dst else min(HIGHEST_PROTOCOL, 5))  # another context may be an older Python


def encode_dead(reason):
    """The pickle of a _DEAD, made without dumps(), which imports: on 2.7 that waits for the import lock."""
    return b'\x80\x02cecontext.core\n_DEAD\n' + dumps(reason and text(reason), 2)[2:-1] + b'\x85R.'


def load(name):
    """The module `name` of this package, which the parent sends when it is first needed."""
    if name not in sys.modules:
        found, module = importer.fetch(name), type(sys)(name)
        if not found:
            raise ImportError('%s: no parent has it, or the stream has ended' % name)
        exec(compile(zlib.decompress(found[2]), found[1], 'exec', 0, 1), module.__dict__)
        won = sys.modules.setdefault(name, module)
        # Of several threads one comes first; 2.7 would empty the others', whose functions may be in use.
        module.other, won.other = getattr(won, 'other', None), module
        setattr(sys.modules['econtext'], name[9:], won)
    return sys.modules[name]


def failure(prefix=''):
    """The CallError of the exception that is being handled. Never raises."""
    kind, value, traceback = sys.exc_info()
    try:
        return load('econtext.failure').describe(kind, value, traceback, prefix)
    except BaseException:  # the stream has ended, say
        return CallError(text(kind.__name__), text(prefix) + text(value), text('(no traceback)\n'))


def keyed(key):
    """The inner and the outer hash of HMAC-SHA1 (RFC 2104) under a key of at most 64 bytes, half done."""
    padded = bytearray(key) + bytearray(64 - len(key))
    return [sha1(bytes(bytearray(byte ^ pad for byte in padded))) for pad in (0x36, 0x5c)]


def signer(key, direction):
    """A function that makes the MACs of one direction of a stream; it numbers the frames."""
    inner, outer = keyed(key)
    inner.update(direction)
    outer.update(inner.digest())
    inner, outer = keyed(outer.digest())
    number = itertools.count()

    def sign(*parts):
        digest, last = inner.copy(), outer.copy()
        digest.update(NUMBER.pack(next(number)))
        for part in parts:
            digest.update(part)
        last.update(digest.digest())
        return last.digest()
    return sign


def again(error):
    """Whether a read, a write or a poll that failed is just to be repeated later. (2.7 tells of EINTR.)"""
    return error.args[0] in (errno.EAGAIN, errno.EINTR)


def private(fd, flags=0):
    """Keep `fd` from programs that are executed; set `flags` on what it is open to."""
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if flags:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | fcntl.fcntl(fd, fcntl.F_GETFL))
    return fd


def pipe():
    """A pipe: a private end to read, which does not block, and an end to write."""
    ends = os.pipe()
    private(ends[0], os.O_NONBLOCK)
    return ends


class Stream(object):
    """The frames to and from the parent. Any thread sends; who leads receives, and writes what is queued."""
    leader = flight = None  # flight: see econtext.routes

    def __init__(self, id, key, limit, protect, wake):
        self.id, self.limit, self.protect, self.wake = id, limit, protect, wake
        self.sign, self.verify = signer(key, b'up'), signer(key, b'down')
        self.lock, self.pid, self.owner = _thread.allocate_lock(), os.getpid(), None
        self.queue, self.queued, self.ended, self.full, self.waiters = deque(), 0, False, False, []
        self.rest, self.large, self.largest = b'', None, 0

    def open(self, fd_in, fd_out):
        self.fd_in, self.fd_out = private(fd_in, os.O_NONBLOCK), private(fd_out, os.O_NONBLOCK)
        self.file = FileIO(fd_in, 'rb', closefd=False)

    def send(self, dst, handle, data, reply_to=0, hold=False, src=None, auth=None):
        """Send the pickle `data`. With `hold`, more will follow at once: it may be written together with that."""
        if len(data) > self.limit:
            raise StreamError('a message of %d bytes is over the limit of %d' % (len(data), self.limit))
        if src is None:
            self.check()
        me, waiter = _thread.get_ident(), None
        if self.owner == me:  # a finalizer, run by a collection in the middle of a send of this very thread
            return router.defer(lambda: self.send(dst, handle, data, reply_to, False, src, auth))
        with self.lock:
            if self.ended:
                return
            try:
                self.owner = me
                if src is None:
                    src = auth = self.id
                head = HEADER.pack(20 + len(data), dst, src, auth, handle, reply_to)
                if len(data) < LARGE:
                    head += data if isinstance(data, bytes) else data.tobytes()
                    head = self.sign(head) + head
                else:
                    data = memoryview(data)
                    self.put(self.sign(head, data[:self.protect]) + head)
                    head = data
                hold = hold and self.queued + len(head) < LARGE
                if hold or self.queue or self.flight is not None:
                    self.put(head)
                    if not (hold or self.full):
                        self.write()
                else:
                    self.queued += len(head)
                    self.write_part(head)
                if self.queued > QUEUE_BYTES and me != self.leader:
                    waiter = _thread.allocate_lock()
                    waiter.acquire()
                    self.waiters.append(waiter)
            finally:  # a signal's handler may raise
                self.owner = None
        if self.queue and not hold:
            self.wake()
        if waiter:
            waiter.acquire()

    def check(self):
        if os.getpid() != self.pid:
            raise StreamError('this is a forked copy of the context, which has no stream')

    def put(self, part):
        self.queue.append(part)
        self.queued += len(part)

    def write(self):
        """Write what is queued until the descriptor would block. The caller has the lock."""
        queue, self.full = self.queue, False
        while queue and not self.full:
            part = queue.popleft()
            if queue and len(part) < LARGE and not isinstance(part, memoryview):
                parts, size = [part], len(part)
                while queue and size < LARGE and not isinstance(queue[0], memoryview):
                    parts.append(queue.popleft())
                    size += len(parts[-1])
                part = b''.join(parts)
            self.write_part(part)
        if self.queued <= QUEUE_BYTES:
            self.release()

    def write_part(self, part):
        """Write `part`, which is first; what the descriptor does not take is queued."""
        try:
            count = os.write(self.fd_out, part)
        except OSError as error:
            if not again(error):
                return self.end()
            count = 0
        self.queued -= count
        if count < len(part):
            self.queue.appendleft(memoryview(part)[count:])
            self.full = True

    def flush(self):
        with self.lock:
            self.owner = _thread.get_ident()
            self.write()
            self.owner = None

    def end(self):
        """Nothing can be sent any more."""
        self.ended, self.queued = True, 0
        self.queue.clear()
        self.release()

    def release(self):
        while self.waiters:
            self.waiters.pop().release()

    def receive(self):
        """Read once; return the frames that are complete, as (dst, src, auth, handle, reply_to, data)."""
        if self.large is None:
            data = os.read(self.fd_in, LARGE)
            count = len(data)
            data = self.rest + data
        else:
            count = self.file.readinto(self.large[self.have:])
            if count is None:  # nothing is there after all
                return []
            self.have += count
            data = self.large
        if not count:
            data = self.rest if self.large is None else self.large[:self.have].tobytes()
            if data:
                self.refuse(data, 'truncated: it ended %d bytes into a frame' % len(data))
            raise EOFError
        if self.large is not None:
            if self.have < len(data):
                return []
            self.large = None
        return self.split(data)

    def split(self, data):
        frames, start = [], 0
        while len(data) - start >= 44:
            length, dst, src, auth, handle, reply_to = HEADER.unpack_from(data, start + 20)
            if not 20 <= length <= self.limit + 20:
                self.refuse(data[start:], 'a frame of %d bytes where the limit is %d' % (length, self.limit + 20))
            end = start + 24 + length
            if end > len(data):
                if length > LARGE:
                    if length > self.largest:
                        # The frame and its value are on one heap, of which glibc returns what is free at the top
                        # beyond twice the largest block so far; to fault it in again would cost more than all else.
                        self.largest = bytes(min(2 * length, 1 << 25)) and length
                    self.have = len(data) - start
                    self.large = memoryview(bytearray(24 + length))
                    self.large[:self.have] = data[start:]
                    start = len(data)
                break
            body = data[start + 20:end]
            if not same(self.verify(body[:24 + self.protect]), bytes(bytearray(data[start:start + 20]))):
                self.refuse(data[start:], 'a frame was forged, replayed or reordered: its MAC does not match')
            frames.append((dst, src, auth, handle, reply_to, body[24:]))
            start = end
        self.rest = data[start:] if start < len(data) else b''
        return frames

    def refuse(self, data, reason):
        """End the stream. Text where a frame should be is a print on the stream: quote it."""
        data = bytes(bytearray(data[:200]))
        if TEXT_BYTES.issuperset(bytearray(data[:44])):
            reason = 'text where a frame should be: ' + repr(text(data)).lstrip('u')
        raise StreamError(reason)


class Output(object):
    """sys.stdout and sys.stderr of 2.7, where no file object both has an encoding and takes bytes."""
    encoding, errors, softspace = 'UTF-8', 'replace', 0

    def __init__(self, fd):
        self.file = os.fdopen(fd, 'w', 1)

    def write(self, data):
        self.file.write(data.encode('utf-8') if isinstance(data, text_type) else data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self.file, name)


class IoLogger(object):
    """The pipe behind stdout or stderr: its complete lines go to the parent as they are."""

    def __init__(self, router, name, fd):
        self.router, self.name, self.rest = router, name, b''
        self.fd, end = pipe()
        os.dup2(end, fd)
        os.close(end)

    def read(self):
        """Forward what is there; false if that is nothing."""
        try:
            data = os.read(self.fd, LARGE)
        except OSError:
            return False
        self.rest += data
        cut = self.rest.rfind(b'\n') + 1
        if not data or len(self.rest) - cut >= LARGE:
            cut = len(self.rest)
        if cut:
            self.router.log(self.name, 20, self.rest[:cut])
            self.rest = self.rest[cut:]
        if not data:
            self.router.unwatch(self.fd)
        return bool(data)


class SelectPoll(dict):
    """select.poll for where there is none: descriptor -> POLLIN or POLLOUT."""
    register, unregister = dict.__setitem__, dict.__delitem__

    def poll(self, wait_ms):
        sets = [[fd for fd in self if self[fd] == mask] for mask in (1, 4, 0)]
        return [(fd, 0) for ready in select.select(*sets + [wait_ms and wait_ms / 1e3]) for fd in ready]


Poll = getattr(select, 'poll', SelectPoll)


class Router(object):
    """Handles, and the two threads that bring messages to them."""

    def __init__(self, fd_in, fd_out, config):
        (self.id, self.parents, key, self.name, self.level, limit, protect, self.window, self.grace_ms,
         self.hello, self.unidirectional, self.has_main, self.always) = config
        self.parent, self.name, key = self.parents[0], text(self.name), bytes(key)
        HOOKED.update(map(str, self.always))
        self.errors = private(os.dup(2))  # what ends the stream is said on the real stderr
        self.wake_fd, self.woken_by = pipe()
        self.rouse_fd, self.roused_by = pipe()
        for fd in self.woken_by, self.roused_by:
            private(fd, os.O_NONBLOCK)
        self.woken = self.wanted = self.resting = False
        # Which threads have to read messages, so that they must not wait for one.
        self.main, self.attending, self.broker = _thread.get_ident(), None, None
        self.turns, self.due = 0, 0  # of the main thread: how often it has led, until when it need not
        self.stream = Stream(self.id, key, limit, protect, self.wake)
        self.stream.open(fd_in, fd_out)
        self.post = self.stream.send  # econtext.routes has a better one
        self.loading = _thread.allocate_lock()
        self.routes = None  # an econtext.routes.Routes, once there are contexts below
        self.early = None  # messages that come for those until it is here
        self.calls, self.deferred, self.lead = deque(), deque(), _thread.allocate_lock()
        self.handles, self.newest = itertools.count(1000), 0
        self.handlers = {}
        for handle, function in ((CALL_FUNCTION, self.on_call), (SHUTDOWN, self.on_shutdown), (PING, self.on_ping),
                                 (ADD_ROUTE, self.on_add_route), (DEL_ROUTE, self.on_del_route)):
            self.handlers[handle] = function, self.parents
        self.polled = Poll()
        self.watched, self.loggers, self.sources, self.paused = {}, [], [], False
        self.writing = self.closed = self.running = self.main_left = False
        self.reason = self.deadline = None
        self.watch(fd_in, self.on_frames)
        self.watch(self.wake_fd, self.on_wake)

    def send(self, dst, handle, value, reply_to=0):
        self.post(dst, handle, encode(value, dst), reply_to)

    def log(self, name, level, message):
        self.send(0, FORWARD_LOG, (text(name), level, message))

    def add_handler(self, function, allowed, handle=None):
        """Have `function(src, auth, reply_to, data)` called on the thread that leads for what the contexts
        `allowed` (None: all) send to the handle that is returned; with data None once the stream ends, and with
        reply_to None and a _DEAD once the first of `allowed`, or any context, has gone."""
        if not handle:
            handle = self.newest = next(self.handles)
        self.handlers[handle] = function, allowed
        if self.closed:  # perhaps after the last message to all handlers
            self.end_handler(handle)
        return handle

    def end_handler(self, handle):
        function = self.handlers.pop(handle, (None,))[0]
        if function:
            function(self.id, self.id, 0, None)

    def wake(self):
        """Have somebody lead who looks at what there is to do."""
        if not self.woken:
            try:
                self.woken = True
                self.rouse(self.woken_by)
                self.rouse()
            except BaseException:  # that of a signal's handler: nobody may have been woken
                self.woken = False
                raise

    def rouse(self, fd=None):
        """Have the broker thread glance now."""
        try:
            os.write(fd or self.roused_by, b'.')
        except OSError:
            pass

    def need(self):
        """This thread is going to wait for a message, which nobody may be there to read."""
        self.stream.check()
        if not self.stream.leader:
            self.wake()

    def attend(self):
        """Lead on the main thread until there is a call; false if there will be none any more.

        While calls are queued, this only looks from time to time: more often than the broker thread does,
        which so leads only while a call takes long.
        """
        calls, stream, lead = self.calls, self.stream, self.lead
        if calls and clock() < self.due:
            return not self.closed
        self.attending = _thread.get_ident()
        free = lead.acquire(False)
        if not (free or calls or self.closed):
            self.wanted = True
            self.wake()
            free = lead.acquire()
            self.wanted = False
        if free:
            try:
                stream.leader = self.attending
                once = calls
                while once or not (calls or self.closed):
                    self.turn(0 if once else None)
                    once = False
            finally:
                stream.leader = None
                lead.release()
        self.turns += 1
        self.due = clock() + GLANCE_MS / 4e3
        self.attending = None
        if self.resting or self.closed:
            self.rouse()
        return not self.closed

    def stand_by(self):
        """The broker thread: lead while the main thread does not."""
        self.broker, glance, wait_ms, seen = _thread.get_ident(), Poll(), GLANCE_MS, None
        glance.register(self.rouse_fd, 1)
        while True:
            roused = self.poll(glance, wait_ms)
            if roused:
                os.read(self.rouse_fd, LARGE)
            wait_ms, self.resting = GLANCE_MS, False
            if self.lead.acquire(False):
                try:
                    if self.closed or self.woken or seen == self.turns and not roused:
                        self.run()
                finally:
                    self.lead.release()
            elif seen == self.turns and not (roused or self.woken):
                # It has led since the last glance. Who ends that rouses this thread, which has said so before.
                self.resting = True
                if seen == self.turns:
                    wait_ms = None
            seen = self.turns

    # From here on all runs on the thread that leads.

    def on_wake(self):
        os.read(self.wake_fd, 64)
        self.woken = False
        self.catch_up()

    def catch_up(self):
        while self.deferred:
            self.deferred.popleft()()

    def defer(self, function):
        """Have the thread that leads call `function`. This takes no lock, so finalizers may."""
        self.deferred.append(function)
        self.wake()

    def watch(self, fd, function, mask=1):
        self.watched[fd] = function
        self.polled.register(fd, mask)

    def unwatch(self, fd):
        if self.watched.pop(fd, None):
            self.polled.unregister(fd)

    def run(self):
        """Lead until the main thread wants to."""
        self.stream.leader = _thread.get_ident()
        while not self.wanted:
            if self.main_left and not (self.routes and self.routes.children) or (
                    self.deadline and clock() >= self.deadline):
                self.leave()
            self.turn(self.deadline and max(0, self.deadline - clock()) * 1000 + 1)
        self.stream.leader = None

    def turn(self, wait_ms):
        stream = self.stream
        if bool(stream.queue) != self.writing:
            self.writing = not self.writing
            if self.writing:
                self.watch(stream.fd_out, stream.flush, 4)
            else:
                self.unwatch(stream.fd_out)
        if (stream.queued > QUEUE_BYTES) != self.paused:
            self.paused = not self.paused
            for source in self.sources:
                if self.paused:
                    self.unwatch(source.fd)
                else:
                    self.watch(source.fd, source.read)
        for fd, event in self.poll(self.polled, wait_ms):
            if fd in self.watched:
                self.watched[fd]()

    def poll(self, poll, wait_ms):
        try:
            return poll.poll(wait_ms)
        except (OSError, select.error) as error:
            if not again(error):
                raise
            return ()

    def on_frames(self):
        try:
            for frame in self.stream.receive():
                self.arrive(*frame)
        except StreamError as error:
            self.say('the stream to the parent is broken: %s' % error)
            self.end(str(error))
        except (EOFError, EnvironmentError) as error:
            if not (error.args and again(error)):
                self.end('the stream to the parent has ended')

    def arrive(self, dst, *message):
        """Take a message from the parent."""
        if dst == self.id:
            self.deliver(*message)
        elif self.early is not None:
            self.early.append((dst,) + message)
        else:
            self.refuse('context %d has no route to context %d' % (self.id, dst), *message)

    def deliver(self, src, auth, handle, reply_to, data):
        function, allowed = self.handlers.get(handle, (None, None))
        if not function:
            self.refuse('context %d has no handle %d' % (self.id, handle), src, auth, handle, reply_to, data,
                        handle <= self.newest or handle >> 30)
        elif allowed is not None and auth not in allowed:
            self.refuse('context %d may not send to handle %d of context %d' % (auth, handle, self.id),
                        src, auth, handle, reply_to, data)
        else:
            function(src, auth, reply_to, data)

    def refuse(self, reason, src, auth, handle, reply_to, data, late=False):
        """Drop a message. It may be `late`: there are answers and grants for who has gone."""
        if reply_to:
            self.post(src, reply_to, encode_dead(reason))
        if self.level <= (DEBUG if late and not reply_to and handle >= 1000 else WARNING):
            self.log('econtext', WARNING, text(reason))

    def on_add_route(self, src, auth, reply_to, data):
        """A context below is about to be started, the first: by a call that loads econtext.routes."""
        self.early = self.early or []
        self.early.append((self.id, src, auth, ADD_ROUTE, reply_to, data))

    def on_del_route(self, src, auth, reply_to, data):
        self.lose(decode(data)[0])

    def lose(self, id):
        """A context has gone: end what waits for it."""
        dead = encode_dead('context %d is gone' % id)
        for handle in list(self.handlers):
            function, allowed = self.handlers.get(handle, (None, None))
            if handle >= 1000 and (allowed or [id])[0] == id:
                function(id, self.id, None, dead)

    def on_call(self, src, auth, reply_to, data):
        if self.closed:
            if reply_to:
                self.post(src, reply_to, encode_dead(self.reason))
        elif data[8:17] == OWN:  # not behind the calls of the user's
            try:
                _thread.start_new_thread(run_call, (src, reply_to, data))
            except Exception as error:
                self.refuse('no thread for a call: %s' % error, src, auth, CALL_FUNCTION, reply_to, data)
        else:
            self.calls.append((src, reply_to, data))

    def on_ping(self, src, auth, reply_to, data):
        if reply_to:
            self.send(src, reply_to, None)

    def on_shutdown(self, src, auth, reply_to, data):
        self.close('the context is shutting down')
        while self.calls:
            try:
                src, reply_to, data = self.calls.popleft()
            except IndexError:  # the main thread took it just now
                break
            if reply_to:
                self.post(src, reply_to, encode_dead(self.reason))

    def close(self, reason):
        """Begin to leave: no more calls, and whoever waits for a message waits no longer."""
        if not self.closed:
            self.closed, self.reason = True, reason
            self.deadline = clock() + self.grace_ms / 1e3
            for handle in list(self.handlers):
                if handle >= 1000:
                    self.end_handler(handle)
            importer.close()
            if self.routes:
                self.routes.close()

    def end(self, reason):
        """The stream is of no more use."""
        self.unwatch(self.stream.fd_in)
        with self.stream.lock:
            self.stream.end()
        self.close(reason)

    def say(self, words):
        """A line on the real stderr, unless that would block."""
        try:
            poll = Poll()
            poll.register(self.errors, 4)
            if poll.poll(0):
                os.write(self.errors, text('econtext: %s: %s\n' % (self.name, words)).encode('utf-8', 'replace'))
        except Exception:
            pass

    def leave(self):
        """Send what is left, as far as that is possible before the deadline, and end the process."""
        stream, late = self.stream, lambda: stream.ended or clock() >= self.deadline
        if self.routes:
            self.routes.abandon()
        for logger in self.loggers:
            while logger.read() and not late():
                self.drain(stream, late, QUEUE_BYTES)
            if logger.rest:
                self.log(logger.name, 20, logger.rest)
        self.drain(stream, late, 0)
        try:  # where it is a socket, so that it ends although a forked copy has it too
            make = getattr(_socket, 'fromfd', None)  # 2.7
            kept = make(stream.fd_in, 1, 1) if make else _socket.socket(1, 1, 0, stream.fd_in)
            kept.shutdown(2)
        except Exception:
            pass
        os._exit(0)

    def drain(self, stream, late, below):
        poll = Poll()
        poll.register(stream.fd_out, 4)
        while stream.queued > below and not late():
            poll.poll(max(0, self.deadline - clock()) * 1000 + 1)
            stream.flush()


def is_refusal(name, found):
    """Whether a record holds nothing but the reason why a parent cannot serve this module."""
    return found[1] == '<%s!>' % name


class Importer(object):
    """First in sys.meta_path: what this interpreter lacks, its parent may have.

    Here is what finds out that it lacks a module; what then loads it is fetched itself, once: importer.py.
    """

    def __init__(self):
        # name: (names of children or None, path, compressed source, what comes with it), None if no parent has it.
        # That of the empty name has as its children the names that are served at the top level.
        self.modules, self.coming = {}, set()  # what was asked for or pushed, and names that surely will be pushed
        self.loaded = set()  # names of the parent's modules that were executed
        self.waiting = {}  # name: [lock, what came, whether anything came] of each thread that waits
        self.lock, self.once, self.busy = _thread.allocate_lock(), _thread.allocate_lock(), set()
        self.owner, self.server, self.closed = None, None, False

    def on_module(self, src, auth, reply_to, data):
        name, children, path, compressed, related = decode(data)
        name, found = native(name), None
        if compressed is not None:
            if children is not None:
                children = list(map(native, children))
            found = children, native(path), compressed, list(map(native, related))
        with self.lock:
            if not name:
                self.invalidate_caches()
            self.modules[name] = found
            self.coming.discard(name)
            if found and '/' not in name:  # further pieces of a file come when asked for
                self.coming.update(other for other in related if other not in self.modules)
            self.answer(name, found, True)
        router.catch_up()  # children get this before what comes next

    def invalidate_caches(self):
        """Forget what no parent had, what a parent refused, and what is in directories."""
        for name, found in list(self.modules.items()):
            if not (name and found) or name[-1] == '/' or is_refusal(name, found):
                self.modules.pop(name, None)
            elif found[0]:
                self.modules[name] = (['*'],) + found[1:]

    def answer(self, name, *found):
        for waiter in self.waiting.pop(name, ()):
            waiter[1:] = found
            waiter[0].release()

    def close(self):
        with self.lock:
            self.closed = True
            for name in list(self.waiting):
                self.answer(name, None, False)

    def ask(self, *names):
        """Have sent, without waiting for it, what is neither here nor on its way."""
        for name in names:
            if not (name in self.modules or name in self.coming or self.closed) and os.getpid() == router.stream.pid:
                try:
                    self.coming.add(name)
                    router.send(router.parent, GET_MODULE, text(name), LOAD_MODULE)
                except BaseException:  # that of a signal's handler, say: others may wait for this already
                    router.send(router.parent, GET_MODULE, text(name), LOAD_MODULE)
                    raise

    def fetch(self, name, again=False, further=()):
        """What the parent has for `name`, asked for `again` or not; None if nothing. `further` names are asked for
        along with it, so that they come with it.

        What was announced is waited for. ImportError if the stream ends first.
        """
        me, stream, waiter = _thread.get_ident(), router.stream, [_thread.allocate_lock(), None, False]
        sent = text(name).encode('utf-8', 'replace')
        # What cannot be decoded, say: no answer would bear this name.
        if native(sent.decode('utf-8')) != name or len(sent) > NAME_BYTES:
            return None
        if os.getpid() != stream.pid:  # locks may be held for ever
            if name not in self.modules:
                raise ImportError('%s cannot be loaded: this is a forked copy of the context' % name)
            return self.modules[name]
        if me in (self.owner, stream.owner, stream.leader, router.attending, router.broker):
            return self.modules.get(name)  # in a finalizer, or a signal's handler, for which the message would wait
        try:
            with self.lock:
                self.owner = me
                if again and not self.closed:
                    self.modules.pop(name, None)
                if name in self.modules:
                    return self.modules[name]
                if not self.closed:
                    waiter[0].acquire()
                    self.waiting.setdefault(name, []).append(waiter)
        finally:
            if self.owner == me:
                self.owner = None
        self.ask(name, *further)
        router.need()
        self.wait(waiter[0])
        if not waiter[2]:
            raise ImportError('%s cannot be loaded: %s' % (name, router.reason))
        return waiter[1]

    def wait(self, lock):
        """Wait for a lock without the interpreter's import lock, which it holds when it calls find_spec. Others could
        not import meanwhile, and on PyPy the broker thread would stop, where a collection may want it on any thread.
        """
        held = 0
        try:
            while release_import_lock:
                release_import_lock()
                held += 1
        except RuntimeError:
            pass
        try:
            lock.acquire()
        finally:
            for _ in range(held):
                acquire_import_lock()

    def refused(self, name):
        """Whether it is known without asking that no parent has `name`."""
        if name in self.modules or name in self.coming:
            return False
        parent, _, child = name.rpartition('.')
        top, served = name.partition('.')[0], (self.modules.get('') or ['*'])[0]
        if top not in ('econtext', '__main__') and top not in served and '*' not in served:
            return True
        package = sys.modules.get(parent)
        if not package or parent == 'econtext':
            # The C half of a local module is local, too.
            half = top[:1] == '_' and top not in served and top[1:] in sys.modules and top[1:] not in self.loaded
            return name not in HOOKED and (half or top in NEVER and top not in served)
        if parent in self.loaded and self.modules.get(parent):
            return not set(self.modules[parent][0] or ()).intersection((child, '*'))
        # A package with a file of its own is local and whole; one without is a namespace, open to all.
        return name not in HOOKED and getattr(package, '__file__', None) is not None

    def find_spec(self, name, path=None, target=None):
        return self.aside(name, self.find, path, target)

    def find_module(self, name, path=None):  # 2.7, which forgets what an ImportError says that is raised here
        try:
            return self.aside(name, self.find, path)
        except ImportError as error:
            self.error = error
            return self

    def load_module(self, name):
        raise self.error

    def aside(self, name, function, *args):
        """Call `function(name, *args)`; meanwhile this finder finds no `name` in this thread."""
        key = _thread.get_ident(), name
        if not self.busy.intersection((key, key[0])):
            self.busy.add(key)
            try:
                return function(name, *args)
            finally:
                self.busy.discard(key)

    def find(self, name, path, *target):
        """Let the interpreter find `name` by itself if it can; else have the parent's served."""
        spec = None
        if target and name != '__main__':
            for finder in sys.meta_path:
                if not spec and finder is not self and hasattr(finder, 'find_spec'):
                    spec = finder.find_spec(name, path, *target)
        if name in HOOKED or not (spec and spec.loader or self.refused(name)):
            try:
                self.start()
            except ImportError as error:  # the stream has ended
                if spec:
                    return spec
                raise ImportError('%s: %s' % (name, error))
            return self.server.find_spec(name, spec) if target else self.server.find_module(name, path)
        return spec

    def find_distributions(self, *context):
        """What importlib.metadata asks for. What is installed is found without a stream, too: none is left, say."""
        try:
            self.start()
            for found in self.server.find_distributions(*context):
                yield found
        except (ImportError, EnvironmentError, StreamError):
            pass

    def start(self):
        me = _thread.get_ident()
        if not self.server:
            self.busy.add(me)
            try:
                kind = load('econtext.importer').Server
                with self.once:
                    self.server = self.server or kind(self)
            finally:
                self.busy.discard(me)


def find_function(module, class_, function):
    """The function of a call. What is missing is named."""
    if module == '__main__' and getattr(sys.modules.get(module), '__loader__', None) is empty:
        blank = sys.modules.pop(module)
        try:
            __import__(module)
        except BaseException:
            sys.modules.setdefault(module, blank)
            raise
    else:
        (load if module.startswith('econtext.') else __import__)(module)  # the importer, too, is large
    found, path = sys.modules[module], module
    for kind, names in ('class', class_), ('function', function):
        for name in names.split('.') if names else ():
            found = getattr(found, name, empty)
            if found is empty:
                raise AttributeError('%s has no %s %s' % (path, kind, name))
            path += '.' + name
    return found


def run_calls():
    """Run calls on the main thread until there will be no more."""
    calls = router.calls
    while True:
        try:
            more = router.attend()
        except Exception:  # a signal handler of the user's may have raised, with a frame half read
            crash()
        if not more:
            return
        try:
            src, reply_to, data = calls.popleft()
        except IndexError:  # shutdown took it
            continue
        run_call(src, reply_to, data)


def run_call(src, reply_to, data):
    """Run a call and send its answer."""
    stream, name, is_main = router.stream, 'the call', _thread.get_ident() == router.main
    try:
        module, class_, function, args, kwargs = decode(data)
        del data
        name = '.'.join(filter(None, (module, class_, function)))
        if is_main:
            found = find_function(str(module), class_, function)
        else:
            with router.loading:  # or each of many would compile what the first of them needs
                found = find_function(str(module), class_, function)
        if not PROTOCOL or kwargs:
            kwargs = dict((key if type(key) is str else str(key), kwargs[key]) for key in kwargs)
        for keyword in getattr(found, 'econtext_takes', ()):
            kwargs[keyword] = gifts[keyword]
        if is_main:
            router.running = True
        result = found(*args, **kwargs)
        if is_main:
            router.running = False
        name = 'the result of %s cannot be sent: ' % name
        data = encode(result, src)
        if len(data) > stream.limit:
            raise ValueError('it takes %d bytes where the limit is %d' % (len(data), stream.limit))
    except BaseException:
        if is_main:
            router.running = False
        if os.getpid() != stream.pid:
            leave_copy(True)
        result = failure(name if name.endswith(': ') else '')
        data = encode(result, src)
        if not reply_to:
            router.log('econtext', ERROR, text('%s (nobody waits for its answer):\n%s' % (name, result.args[2])))
    if os.getpid() != stream.pid:  # a forked copy came back
        leave_copy(False)
    if reply_to:
        router.post(src, reply_to, data, 0, is_main and bool(router.calls))


def interrupt(number, frame):
    """^C in the master's terminal: it may stop a user's function, but no send halfway."""
    if router.running and (frame.f_globals is not globals() or frame.f_code is run_call.__code__):
        raise KeyboardInterrupt


def leave_copy(failed):
    """End a forked copy of this process that came back from the function: the stream is not its own."""
    if failed:
        sys.excepthook(*sys.exc_info())
    flush()
    os._exit(failed)


def flush():
    for file in sys.stdout, sys.stderr:
        if file:
            file.flush()


def read_exactly(fd, count):
    parts, poll = [], Poll()
    poll.register(fd, 1)
    while count:
        poll.poll(None)
        part = os.read(fd, count)
        if not part:
            os.write(2, b'econtext: the stream ended inside the configuration\n')
            os._exit(96)
        parts.append(part)
        count -= len(part)
    return b''.join(parts)


def hello():
    """The first frame: who this is."""
    try:
        cwd = os.getcwd()
    except OSError:  # deleted, or not ours to see
        cwd = None
    system = os.uname()
    return ('%d.%d.%d' % sys.version_info[:3], 'PyPy' if '__pypy__' in sys.builtin_module_names else 'CPython',
            sys.executable, sys.platform, (system[0], system[2], system[4]), system[1], os.getuid(), os.geteuid(),
            os.getpid(), cwd, sys.getfilesystemencoding(), sys.prefix, router.name)


def open_output(fd):
    if str is bytes:
        return Output(fd)
    from io import open
    return open(fd, 'w', 1, 'utf-8', 'backslashreplace', closefd=False)


def set_stdio():
    """stdin from /dev/null, stdout and stderr to the parent's log: nothing may write to the stream."""
    flush()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    for fd, name in (1, 'stdout'), (2, 'stderr'):
        logger = IoLogger(router, name, fd)
        router.loggers.append(logger)
        router.sources.append(logger)
        router.watch(logger.fd, logger.read)
        file = open_output(fd)
        setattr(sys, name, file)
        setattr(sys, '__%s__' % name, file)


def set_modules():
    """Make this module econtext.core of a package that has no file, and `__main__` the master's."""
    package, core = type(sys)('econtext'), sys.modules.pop('__main__')
    package.__path__, package.core = [], core
    core.__package__, core.__file__ = 'econtext', main.__code__.co_filename
    sys.modules['econtext'], sys.modules[__name__] = package, core
    if not router.has_main:
        blank = sys.modules['__main__'] = type(sys)('__main__')
        blank.__loader__ = empty


def broker():
    try:
        router.stand_by()
    except BaseException:
        crash()


def crash():
    """Say what was raised while this thread led, which nobody can go on from."""
    kind, value, tb = sys.exc_info()
    while tb.tb_next:
        tb = tb.tb_next
    router.say('%s: %s (line %d)' % (kind.__name__, value, tb.tb_lineno))
    os._exit(1)


def main(fd_in, fd_out, first_stage, executable):
    """Become a context: `fd_in` and `fd_out` are the stream. The first stage has set `core_source`, this file
    compressed."""
    global router, importer, gifts, empty, FileIO
    sys.executable, sys.dont_write_bytecode = executable, True
    null = os.open(os.devnull, os.O_RDWR)
    while null < 3:
        null = os.dup(null)
    os.close(null)
    os.waitpid(first_stage, 0)
    from _io import FileIO
    text(b'')  # finds the codec: to look for it later may import, which the broker thread must not
    config = configuration(fd_in)
    empty = object()
    importer = Importer()
    router = Router(fd_in, fd_out, config)
    gifts = {'context': Context(router.id, router.name), 'router': router, 'external_context': sys.modules['__main__']}
    set_modules()
    serve()


def configuration(fd):
    return decode(read_exactly(fd, Struct('>L').unpack(read_exactly(fd, 4))[0]))


def serve():
    """Say who this is, run calls until there will be no more, and leave."""
    router.handlers[LOAD_MODULE] = importer.on_module, router.parents
    router.send(router.parent, router.hello, hello())  # what fails up to here is still said on the real stderr
    set_stdio()
    if importer not in sys.meta_path:
        sys.meta_path.insert(0, importer)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    getattr(sys, 'setswitchinterval', lambda seconds: None)(.0005)
    _thread.start_new_thread(broker, ())
    if 'logging' in sys.modules:  # a sitecustomize has imported it
        importer.start()
    run_calls()
    for leave in getattr(sys.modules.get('atexit'), '_run_exitfuncs', getattr(sys, 'exitfunc', int)), flush:
        try:
            leave()
        except BaseException:
            sys.excepthook(*sys.exc_info())
    router.main_left = True
    router.wake()
    lock = _thread.allocate_lock()
    while True:  # the broker thread ends the process
        lock.acquire()
