"""econtext.channel: values that flow from senders to a receiver. Fetched when the first of either is made.

Credit keeps a fast sender from filling the memory of a slow receiver: each sender has a control handle, to
which the receiver grants bytes, in total, as it consumes. What the thread that leads calls here only stores
and wakes; all else happens on the threads that send and receive.
"""
from __future__ import absolute_import
import os, sys
from io import BytesIO
from econtext import core

OPEN = object()
FIRST = 1 << 30  # the handles of receivers; what is below is an answer's, or a service
GLOBALS = frozenset((module, name) for module, names in (
    ('econtext.core', 'CallError _DEAD Context Sender'), ('_codecs', 'encode'),
    ('builtins', 'bytes bytearray set frozenset complex'),
    ('__builtin__', 'bytes bytearray set frozenset complex')) for name in names.split())
LINE, LENGTH, GLOBAL, PUT = object(), core.Struct('<L'), ord('c'), ord('r')
# The opcodes of plain data in protocol 2, which contexts send each other: how long an opcode's argument is, or in what
# form its length precedes it. One more sets attributes, of what is here, too.
OPCODES = dict((code, size) for codes, size in (
    (b'.(01NRaestu)]}\x85\x86\x87\x88\x89', 0), (b'Khq\x80', 1), (b'M', 2), (b'Jjr', 4), (b'G', 8), (b'Ic', LINE),
    (b'U\x8a', core.Struct('<B')), (b'TX\x8b', LENGTH)) for code in bytearray(codes))
LONGEST_NUMBER = 32  # as text, of which the conversion takes the square of the time

if core.PROTOCOL:
    try:
        import _pickle as pickle
    except ImportError:  # PyPy
        import pickle

    class Unpickler(pickle.Unpickler):
        pass  # a class of its own, so that an instance may have a find_class of its own
else:
    import cPickle

    class TimeoutError(Exception):
        pass


def latin(text=b'', codec=None):
    """Bytes as a pickle of protocol 2 has them: text, and the name of a codec; or made."""
    return text if isinstance(text, bytes) else text.encode('latin-1')


# A number in the place of the text would be the length of what is to be made.
MADE = {'encode': latin, 'bytes': latin, 'bytearray': lambda *args: bytearray(latin(*args))}


def check(data):
    """ValueError unless `data` has nothing but what plain data is made of, and nothing that takes more room when it is
    read than it takes itself."""
    data, at = bytearray(data), 0
    while at < len(data):
        code, size, start = data[at], OPCODES.get(data[at]), at + 1
        at = start
        if size is None:
            raise ValueError('opcode %d' % code)
        if size is LINE:
            for _ in range(1 + (code == GLOBAL)):
                at = data.index(b'\n', at) + 1
            if code != GLOBAL and at - start > LONGEST_NUMBER:
                raise ValueError('a number of %d digits' % (at - start))
        elif isinstance(size, int):
            at += size
            if code == PUT and LENGTH.unpack_from(data, start)[0] > len(data):  # there is room for all below it
                raise ValueError('a memo out of order')
        else:
            at += size.size + size.unpack_from(data, at)[0]
    if at > len(data):
        raise ValueError('it is cut off')


def decode(data, auth, allowed=GLOBALS):
    """The value of the pickle `data`. On the authority of others than our parents it has plain data only."""
    if allowed is GLOBALS and (auth == core.router.id or auth in core.router.parents):
        return core.decode(data)

    def find_class(module, name):
        if (module, name) not in allowed:
            raise ValueError('a %s.%s' % (module, name))
        if module == '__builtin__' and core.PROTOCOL:
            module = 'builtins'
        return MADE.get(name) or getattr(sys.modules[module], name)  # an import would wait for the import lock of 2.7

    if core.PROTOCOL:
        unpickler = Unpickler(BytesIO(data), **core.PROTOCOL)
        unpickler.find_class = find_class
    else:
        unpickler = cPickle.Unpickler(BytesIO(data))
        unpickler.find_global = find_class
    try:
        check(data)
        return unpickler.load()
    except Exception:
        raise core.ChannelError('context %d sent what is not plain data: %s' % (auth, core.text(sys.exc_info()[1])))


def post(context_id, handle, data, reply_to=0):
    router = core.router
    if context_id != router.id:
        return router.post(context_id, handle, data, reply_to)
    function = router.handlers.get(handle, (None,))[0]
    if function:
        function(router.id, router.id, reply_to, data)
    elif reply_to:
        post(context_id, reply_to, core.encode_dead('the receiver is gone'))


class Waiter(object):
    """A wait of one thread, ended once by release()."""

    def __init__(self, timed=False):
        self.lock, self.fds = core._thread.allocate_lock(), None
        self.lock.acquire()
        if timed and not hasattr(core._thread, 'TIMEOUT_MAX'):  # 2.7: locks have no timeouts
            self.fds = os.pipe()

    def release(self):
        if self.fds:
            os.write(self.fds[1], b'.')
        else:
            self.lock.release()

    def wait(self, deadline=None):
        """Whether release() came before the deadline."""
        core.router.need()
        if deadline is None:
            return self.lock.acquire()
        left = max(0, deadline - core.clock())
        if not self.fds:
            return self.lock.acquire(True, left)
        poll = core.Poll()
        poll.register(self.fds[0], 1)
        return bool(poll.poll(left * 1000 + 1))  # a part of a millisecond would be left out

    def __del__(self):
        for fd in self.fds or ():
            os.close(fd)


class Credit(object):
    """What this process has sent to one receiver, and what of it has been consumed.

    All senders of a receiver share it, however often one arrives, until the receiver is gone.
    """
    shared, making = {}, core._thread.allocate_lock()  # (context id, handle): Credit

    def __init__(self, key):
        self.lock, self.waiters, self.sent, self.granted = core._thread.allocate_lock(), [], 0, 0
        self.key, self.gone, self.control = key, OPEN, None  # (it may end before it has a handle)
        self.control = core.router.add_handler(self.on_control, [key[0]] + core.router.parents)

    @classmethod
    def of(cls, key):
        with cls.making:
            credit = cls.shared.get(key)
            if not credit:
                credit = cls.shared[key] = cls(key)
        return credit

    def on_control(self, src, auth, reply_to, data):
        if data is None:
            news = core._DEAD(core.router.reason)
        else:
            try:
                news = decode(data, auth, (('econtext.core', '_DEAD'),))
            except Exception:
                news = None
        if isinstance(news, core._DEAD):
            self.end(news.reason)
        elif hasattr(news, 'bit_length'):
            self.change(granted=max(self.granted, news))
        else:
            self.end('its grant cannot be read')

    def change(self, **news):
        with self.lock:
            self.__dict__.update(news)
            waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.release()

    def end(self, reason):
        """There is no receiver any more. Whether that is news."""
        core.router.handlers.pop(self.control, None)
        self.shared.pop(self.key, None)
        news = self.gone is OPEN
        self.change(gone=reason)
        return news

    def take(self, cost, block):
        """Wait until a frame of `cost` bytes may go; false where it may not and `block` is. A large one would
        wait for the last crumbs of the window, so it goes once most of that is free."""
        window = core.router.window
        while True:
            with self.lock:
                if self.gone is not OPEN:
                    raise core.ChannelError(self.gone or 'the channel is closed')
                used = self.sent - self.granted
                if used + cost <= window or used <= window // 4 and cost > window // 4 * 3:
                    self.sent += cost
                    return True
                if not block:
                    return False
                waiter = Waiter()
                self.waiters.append(waiter)
            waiter.wait()


class Sender(object):
    """The sending end. It may be passed anywhere in a value.

    One that is passed is the other's. While one of a receiver here is kept that never was, the channel does not end
    with the calls that were given others.
    """
    queue = None  # of the receiver, if that is here and this is kept

    def __init__(self, context_id, handle):
        if handle < FIRST:  # it would have our authority there
            raise core.ChannelError('handle %d is not one of a receiver' % handle)
        self.context_id, self.handle = key = context_id, handle
        self.credit = Credit.of(key)
        self.queue = self.find_queue()
        if self.queue:
            self.queue.kept.append(handle)

    def find_queue(self):
        if self.context_id == core.router.id:
            return getattr(core.router.handlers.get(self.handle, (None,))[0], '__self__', None)

    def __reduce__(self):
        queue = self.find_queue()
        if queue:
            call = giving.get(core._thread.get_ident())
            if call is None:
                queue.is_stray, queue.left = True, OPEN
            elif queue not in call:
                call.append(queue)
                queue.hold()
            self.let_go()
        return core.Sender, (self.context_id, self.handle)

    def let_go(self):
        queue, self.queue = self.queue, None
        if queue:
            queue.kept.pop()
        return queue

    def __del__(self):
        queue = self.let_go()
        if queue:
            core.router.defer(queue.look)

    def __repr__(self):
        return 'Sender(%d, %d)' % (self.context_id, self.handle)

    def send(self, value, block=True):
        """Send a value; waits while the receiver is behind, or returns False then if `block` is false.
        ChannelError if the receiver is gone."""
        data = core.encode(value, self.context_id)
        if len(data) > core.router.stream.limit:
            raise core.StreamError('a message of %d bytes is over the limit of %d' % (
                len(data), core.router.stream.limit))
        taken = self.credit.take(20 + len(data), block)
        if taken:
            post(self.context_id, self.handle, data, self.credit.control)
        return taken

    def close(self, reason=None):
        """End the channel; what has been sent still arrives."""
        if self.credit.end(None):
            post(self.context_id, self.handle, core.encode_dead(reason))


giving = {}  # thread: the queues of the receivers here of which it puts senders into what a call carries


def give(value):
    """The pickle of what a call carries, and the queues of the receivers here whose senders that has."""
    me, queues = core._thread.get_ident(), []
    before, giving[me] = giving.get(me), queues
    try:
        return core.dumps(value, 2), queues
    except BaseException:
        for queue in queues:
            queue.let_go(None)
        raise
    finally:
        if before is None:
            del giving[me]
        else:  # that other call is being made, too
            giving[me] = before


class Queue(object):
    """What has arrived, and who may still send; apart from the Receiver, so that one which is forgotten goes away.

    With the last of the calls that were given a sender the channel is over, unless one is kept here or was given away
    otherwise, to whom is not known; then it is with the context of the last who has sent something. What is over ends
    when somebody waits: until then there may be another call.
    """

    def __init__(self):
        self.lock, self.items, self.waiters = core._thread.allocate_lock(), core.deque(), core.deque()
        self.end, self.senders = OPEN, {}  # (context id, control handle): bytes consumed, bytes granted
        self.unread = {}  # (context id, whether that is granted, as the end is not): bytes
        self.calls, self.kept, self.is_stray = 0, [], False  # (appending and popping takes no lock: finalizers do)
        self.left = OPEN  # once the last has gone: the pickle of why, or None

    def hold(self):
        """A call is given a sender."""
        with self.lock:
            self.calls += 1

    def let_go(self, dead):
        """That call is over."""
        with self.lock:
            self.calls -= 1
            if not self.is_stray:
                self.left = dead
            self.wake(True)

    def lose(self, id, dead):
        with self.lock:
            lost = [key for key in self.senders if key[0] == id]
            for key in lost:
                del self.senders[key]
            if lost and not self.senders:
                self.left = dead
                self.wake(True)

    def look(self):
        with self.lock:
            self.wake(True)

    def on_message(self, src, auth, reply_to, data):
        if reply_to is None:
            return self.lose(src, data)
        with self.lock:
            late, unread = self.end is not OPEN, self.unread.get((src, bool(reply_to)), 0)
            greedy = unread > 2 * core.router.window  # more than there is credit for, whatever was granted
            if data is None:
                self.end = core.router.reason
            elif not (late or greedy):
                self.items.append((src, auth, reply_to, data))
                self.unread[src, bool(reply_to)] = unread + 20 + len(data)
                if reply_to and (src, reply_to) not in self.senders:
                    self.senders[src, reply_to] = [0, 0]
                    if self.is_stray:
                        self.left = OPEN
            self.wake(data is None)
        if data is not None and greedy and not late:
            core.router.refuse('context %d sent to a channel without credit' % src, src, auth, FIRST, reply_to, data)
        elif late and reply_to:
            post(src, reply_to, core.encode_dead(self.end))

    def finish(self, reason):
        """End it: nothing is received any more, and every sender is told."""
        with self.lock:
            self.end = reason
            self.items.clear()
            self.wake(True)
            senders = list(self.senders)
        for context_id, control in senders:
            post(context_id, control, core.encode_dead(reason))

    def wake(self, all_of_them):
        while self.waiters and (all_of_them or self.items):
            self.waiters.popleft().release()
            if not all_of_them:
                break

    def get(self, deadline):
        while True:
            with self.lock:
                if self.items:
                    item = self.items.popleft()
                    key = item[0], bool(item[2])
                    self.unread[key] -= 20 + len(item[3])
                    if not self.unread[key]:
                        del self.unread[key]
                    return item
                if self.end is not OPEN:
                    return None
                left = OPEN if self.calls or self.kept else self.left
                if left is OPEN:
                    waiter = Waiter(deadline is not None)
                    self.waiters.append(waiter)
            if left is not OPEN:
                self.finish(left and core.decode(left).reason)
                return None
            woken = False
            try:
                woken = waiter.wait(deadline)
                if not woken:
                    raise TimeoutError('nothing arrived in time')
            finally:
                if not woken:
                    with self.lock:
                        if waiter in self.waiters:
                            self.waiters.remove(waiter)
                        else:  # the wake-up that came too late is another's
                            self.wake(False)


class Receiver(object):
    """The receiving end: iterate, or get(). Pass its sender() to those who are to send."""

    def __init__(self):
        self.queue = Queue()  # the handle is random, so that only who was given a sender can send
        self.handle = core.Struct('>L').unpack(os.urandom(4))[0] & FIRST - 1 | FIRST
        core.router.add_handler(self.queue.on_message, None, self.handle)

    def sender(self):
        """A sender, for a call: the channel ends with the call. To have it outlive that, keep another."""
        return Sender(core.router.id, self.handle)

    def get(self, timeout=None):
        """The next value; waits for it, at most `timeout` seconds. ChannelError once the channel has ended."""
        queue = self.queue
        item = queue.get(None if timeout is None else core.clock() + timeout)
        if item is None:
            raise core.ChannelError(queue.end or 'the channel is closed')
        src, auth, reply_to, data = item
        if reply_to:
            with queue.lock:
                account = queue.senders.get((src, reply_to), [0, 0])  # it may have gone meanwhile
                account[0] += 20 + len(data)
                consumed = account[0]
                due = consumed - account[1] > core.router.window // 4
                if due:
                    account[1] = consumed
            if due:
                post(src, reply_to, core.encode(consumed, src))
        value = decode(data, auth)
        if not isinstance(value, core._DEAD):
            return value
        queue.finish(value.reason)
        return self.get()

    def __iter__(self):
        while True:
            try:
                value = self.get()
            except core.ChannelError:
                if self.queue.end is None:
                    return
                raise
            yield value

    def close(self, reason=None):
        """Tell the senders that nobody receives any more, and wake who waits here."""
        close(self.queue, self.handle, core.text(reason or 'the receiver is closed'))

    def __del__(self):
        if core.router.handlers.get(self.handle):
            queue, handle = self.queue, self.handle
            core.router.defer(lambda: close(queue, handle, 'the receiver was dropped'))


def close(queue, handle, reason):
    if handle in core.router.handlers:
        queue.finish(reason if queue.end is OPEN else queue.end)
        # Only now: whoever has sent something has been told the reason.
        core.router.handlers.pop(handle, None)
        credit = Credit.shared.get((core.router.id, handle))
        if credit:
            credit.end(queue.end)
