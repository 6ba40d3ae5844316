"""econtext.routes: passes messages on, between the parent and the contexts below. Fetched by who has children.

Each stream of a child has the ids that it may speak for: its own, those that the parent announced before they were
started through it, and blocks that it was given for what it starts by itself. A message from it with another source
or authority is dropped; the parent's stream is believed. Messages are verified and signed anew, never unpickled.
All runs on the thread that leads, where nothing may wait or import.
Not here: the processes of children (econtext.parent).
"""
from __future__ import absolute_import
import os
from econtext import core
from econtext.core import ADD_ROUTE, ALLOCATE_ID, DEL_ROUTE, GET_MODULE, PING, SHUTDOWN, Struct, dumps, router, text
relay = core.load('econtext.relay')

IDS = 64000  # that the master gives to what is behind one of its streams, in blocks of 1000
SHARE = 16  # of them that a child gets at once
HALVINGS = 6  # of IDS, one for each level
DEALT = 10000  # ids that are remembered of whom a child has dealt with; beyond that it is told of everybody's end
QUEUE_BYTES = 16 << 20  # of the parent's beyond this in a child's queue, it and the parent are not read
ANSWERS_BYTES = 64 << 20  # that are left for small messages of siblings when there is no room for others
SMALL_BYTES = 4096  # of those: they end a wait (a grant, the end of a channel)
RECEIVERS = 1 << 30  # the handles of receivers are from here up: what wants an answer there is an item of a channel
STUCK_SECONDS = 10  # that a child may take nothing of so much
PATIENCE = 6  # times as long may be one that has contexts below
NUMBERS = {b'K': Struct('<B'), b'M': Struct('<H'), b'J': Struct('<l')}  # in a pickle, by opcode
make_key = core.signer(os.urandom(20), b'keys')  # urandom() opens a file on PyPy, for which there may be no room later


class Child(core.Stream):
    """The frames to and from a child. It takes messages before there is a process, and for another attempt it has
    all of them still; `start` is what looks after the process."""
    leader = property(lambda self: router.stream.leader)

    def __init__(self, id):
        self.child, self.key = id, make_key()
        up = router.stream
        core.Stream.__init__(self, router.id, self.key, up.limit, up.protect, self.wake_up)
        self.sign, self.verify = self.verify, self.sign  # this is the other end of what a Stream is made for
        self.ids, self.blocks, self.announced, self.dealt = set([id]), [], set(), set()
        self.given = 0  # ids, in blocks
        self.flight, self.fd, self.held, self.due = [], None, True, False
        self.leaving, self.written, self.timer = False, 0, None
        # What siblings have sent and is queued: where each frame ends, by `written`, and its size. It is counted apart,
        # so that neither what the parent sends nor what siblings send to a slow child is the end of the other.
        self.passed, self.passed_bytes = core.deque(), 0
        self.start = self.handshake = self.greeting = None
        self.relay = relay.Relay(lambda data: self.send(id, core.LOAD_MODULE, data))

    def put(self, part):
        core.Stream.put(self, part)
        if self.flight is not None:
            self.flight.append(part)

    def write(self):
        if not self.held:
            before = self.queued
            core.Stream.write(self)
            self.written += before - self.queued

    def end(self):
        """What is sent is of no use. It may be to another attempt's process."""
        core.Stream.end(self)
        self.ended = self.flight is None

    def begin(self, start, process, handshake, greeting, preamble, held):
        """Begin an attempt: a process is there, whose first message is for the handle `greeting`."""
        fd = process.fd
        self.start, self.handshake, self.greeting = start, handshake, greeting
        with self.lock:
            self.open(fd, process.fd_out)
            self.queue = core.deque([preamble] + (self.flight or []))
            self.queued, self.passed_bytes = sum(map(len, self.queue)), 0
            self.passed.clear()
            self.fd, self.held, self.full, self.rest, self.large = fd, held, False, b'', None
        router.sources.append(self)
        router.watch(fd, self.read)
        self.look()

    def release_flight(self):
        """What was held back may go: the marker is here."""
        self.held = False
        self.look()

    def wake_up(self):
        if not self.due:
            try:
                self.due = True
                router.defer(self.look)
            except BaseException:  # see Router.wake
                self.due = False
                raise

    def look(self):
        self.due = False
        if self.fd is None:
            return
        self.flush()
        if self.queue and not self.held:
            router.watch(self.fd_out, self.look, 4)
        else:
            router.unwatch(self.fd_out)
        if not (self.is_behind() or router.paused):
            router.watch(self.fd, self.read)
        router.routes.regulate()

    def is_behind(self):
        """Whether it leaves too much unread. Not one that is not up yet: it may have asked something, and the answer
        comes from the parent."""
        return self.flight is None and self.queued - self.count_passed() > QUEUE_BYTES

    def count_passed(self):
        """How many bytes of siblings are queued. (Of the first frame some may have gone.)"""
        while self.passed and self.passed[0][0] <= self.written:
            self.passed_bytes -= self.passed.popleft()[1]
        return self.passed_bytes

    def pass_on(self, dst, src, auth, handle, reply_to, data):
        """Send what is from a sibling, or one below it; gives whether there was room."""
        room = self.limit + router.window + QUEUE_BYTES  # so much as no channel alone has under way
        if not reply_to and len(data) <= SMALL_BYTES:
            room += ANSWERS_BYTES
        if self.count_passed() > room:
            return False
        before = self.queued
        self.send(dst, handle, data, reply_to, False, src, auth)
        if self.queued > before:
            self.passed.append((self.written + self.queued, self.queued - before))
            self.passed_bytes += self.queued - before
        return True

    def time(self):
        """It is behind: see to it that it goes on, or ends."""
        if not self.timer and self.fd is not None:
            written = self.written
            # Those above wait longer: one that is stuck is to be ended by its parent before that seems to be, too.
            seconds = max(STUCK_SECONDS / 2., STUCK_SECONDS - len(router.parents) / 2.)
            if len(self.ids) > 1:  # perhaps one below it takes a long message, and slowly
                seconds *= PATIENCE
            # It is there already, from before the first process.
            self.timer = core.load('econtext.clock').timers.after(seconds, lambda: self.time_out(written))

    def time_out(self, written):
        self.timer = None
        if self.is_behind() and self.fd is not None:
            if self.written > written:
                self.time()
            else:
                self.start.cause = self.start.cause or 'it does not read what it is sent'
                self.start.stop()

    def read(self):
        if self.is_behind():  # more questions would have more answers
            return router.unwatch(self.fd)
        try:
            if self.handshake:
                frames = self.shake_hands()
            else:
                frames = self.receive()
            for frame in frames:
                if self.greeting:
                    if frame[:4] != (router.id, self.child, self.child, self.greeting):
                        raise core.StreamError('the first frame does not say who the child is')
                    self.greeting = None
                router.routes.from_child(self, *frame)
        except (core.StreamError, ValueError, MemoryError) as error:
            self.start.stream_ended(text(error) or 'there is no memory for what it sends')
        except (EOFError, EnvironmentError) as error:
            if not (error.args and core.again(error)):
                # That a process has left something unread makes an error of its end.
                have = len(self.rest) if self.large is None else self.have
                self.start.stream_ended(text('truncated: it ended %d bytes into a frame' % have) if have else None)

    def shake_hands(self):
        """Read what precedes the frames."""
        data = os.read(self.fd_in, core.LARGE)
        if not data:
            raise EOFError
        before = self.handshake.stage
        rest = self.handshake.receive(data)
        if self.handshake.stage > before:
            self.start.came_to(self.handshake.stage)
        elif not before:
            self.start.printed(data)
        if rest is None:
            return []
        self.handshake = None
        with self.lock:
            self.flight = None  # the core is there: nothing was eaten
        return self.split(rest)

    def leave(self):
        """It has been told to shut down."""
        self.leaving = True
        if self.start:
            self.start.leave()

    def pause(self):
        """There is no process any more, and perhaps there will be another."""
        if self.fd is not None:
            router.unwatch(self.fd)
            router.unwatch(self.fd_out)
            router.sources.remove(self)
            with self.lock:
                fds, self.fd, self.held = (self.fd, self.fd_out), None, True
                self.end()
            for fd in fds:
                os.close(fd)
            router.routes.regulate()

    def close(self):
        self.pause()
        self.relay.close()
        with self.lock:
            self.flight = None
            self.end()

    def speaks_for(self, id):
        return id in self.ids or any(first <= id < end for first, end in self.blocks)

    def deal(self, id):
        """Note that it sends to a context that is not below it, or is sent to by that."""
        if self.dealt is not None and id not in self.ids:
            self.dealt.add(id)
            if len(self.dealt) > DEALT:
                self.dealt = None

    def tell_end(self, id, via):
        if self.dealt is None or id in self.dealt:
            self.send(self.child, DEL_ROUTE, dumps((id, via), 2))


def pair(data):
    """The two ids of a message about a route, in whose pickle nothing else is looked at; None where it is no such
    message."""
    ids, at = [], 2
    try:
        for _ in range(2):
            number = NUMBERS[data[at:at + 1]]
            ids += number.unpack_from(data, at + 1)
            at += 1 + number.size
        return ids if data[:2] == b'\x80\x02' and data[at:at + 1] == b'\x86' else None
    except Exception:
        pass


class Routes(object):
    """Which context is reached by which stream."""

    def __init__(self):
        self.children, self.via = {}, {}  # by id: those that are started here; of all below, the child each is behind
        self.is_full = False
        # Blocks of ids; who wants some, and of how many; how many went to what is started here, and to all below.
        self.free, self.wanted, self.given = [], core.deque(), 0
        self.services = {GET_MODULE: self.get_module, ALLOCATE_ID: self.allocate_id,
                         ADD_ROUTE: self.add_route, DEL_ROUTE: self.del_route, PING: self.ping}

    def add(self, target, via):
        """Have messages for `target`, which is a child of `via`, passed on; gives the stream, if there is one."""
        if via != router.id:
            child = self.via.get(via)
        elif router.closed:
            child = None
        else:
            child = self.children[target] = Child(target)
        if child:
            child.ids.add(target)
            self.via[target] = child
        return child

    def gone(self, child):
        """A child has gone, and all that was behind it."""
        if self.children.pop(child.child, None):
            child.close()
            for id in sorted(child.ids, key=lambda id: id != child.child):  # the child first
                self.lost(id, router.id)
            if router.closed:
                router.wake()

    def lost(self, id, via):
        if self.via.pop(id, None):
            for child in list(self.children.values()):
                child.tell_end(id, via)
            router.lose(id)
            router.stream.send(router.parent, DEL_ROUTE, dumps((id, via), 2))

    def close(self):
        """This context is shutting down: the children are to do so first."""
        for child in list(self.children.values()):
            child.send(child.child, SHUTDOWN, dumps(None, 2))
            child.leave()
            if not child.start or child.start.is_over:  # it was between two attempts
                self.gone(child)

    def abandon(self):
        """This process is about to end, and nothing may be left of those that it has started."""
        for child in self.children.values():
            if child.start:
                child.start.signal(core.signal.SIGKILL)

    def regulate(self):
        """Leave the parent unread while a child is far behind."""
        behind = [child for child in self.children.values() if child.is_behind()]
        for child in behind:
            child.time()
        is_full = bool(behind)
        if is_full != self.is_full and not router.stream.ended:
            self.is_full = is_full
            # Its end is to be seen all the same: nobody might be left to end this context.
            router.watch(router.stream.fd_in, router.on_frames, 0 if is_full else 1)

    def post(self, dst, *message):
        """Send a message of this context's own; as Stream.send."""
        (self.via.get(dst) or router.stream).send(dst, *message)

    def arrive(self, dst, src, auth, handle, reply_to, data):
        """Take a message from the parent."""
        if dst == router.id:
            return router.deliver(src, auth, handle, reply_to, data)
        child = self.via.get(dst)
        if not child:
            reason = 'context %d has no route to context %d' % (router.id, dst)
            return router.refuse(reason, src, auth, handle, reply_to, data, True)
        child.deal(src)
        child.send(dst, handle, data, reply_to, False, src, auth)
        if handle == SHUTDOWN and dst == child.child and auth in router.parents:
            child.leave()
        if child.queued > QUEUE_BYTES:
            self.regulate()

    def from_child(self, child, dst, src, auth, handle, reply_to, data):
        """Take a message from a child, which may lie."""
        if not (src in child.ids and auth in child.ids):
            for id, what in (src, 'source'), (auth, 'authority'):
                if not child.speaks_for(id):
                    return self.warn('dropped a message to handle %d of context %d: context %d may not use the %s %d' %
                                     (handle, dst, child.child, what, id))
        message, other = (src, auth, handle, reply_to, data), self.via.get(dst)
        if dst == router.id:
            service = self.services.get(handle)
            if not service:
                router.deliver(*message)
            elif src != child.child:
                router.refuse('context %d may not send to handle %d of context %d' % (src, handle, dst), *message)
            else:
                service(child, *message)
        elif router.unidirectional and (other or dst not in router.parents):
            router.refuse('context %d may not send to context %d: it is neither above nor below' % (src, dst), *message)
        elif other is child:
            router.refuse('context %d has no route to context %d' % (router.id, dst), *message + (True,))
        elif other:
            child.deal(dst)
            other.deal(src)
            if not other.pass_on(dst, *message):
                reason = 'context %d does not read what it is sent' % dst
                router.refuse(reason, *message)
                if reply_to and handle >= RECEIVERS:  # the receiver is to end here, and not to go on without the item
                    other.pass_on(dst, src, auth, handle, 0, core.encode_dead(reason))
        else:
            child.deal(dst)
            router.stream.send(dst, handle, data, reply_to, False, src, auth)

    def warn(self, words):
        router.log('econtext', core.WARNING, text(words))

    def get_module(self, child, src, auth, handle, reply_to, data):
        child.relay.serve(data)

    def allocate_id(self, child, src, auth, handle, reply_to, data):
        # No child gets more than are left for all others. So one may have half of what this context may have, which is
        # half of what its parent may have; and one that wants all leaves something to each of the others. Who is deeper
        # than HALVINGS shares with those above it: some have to be left there, too.
        most = IDS >> min(len(router.parents) - 1, HALVINGS)
        if child.given >= most - self.given:
            reason = 'context %d has been given %d ids for others' % (src, child.given)
            return router.refuse(reason, src, auth, handle, reply_to, data)

        def take(block):
            if block:
                child.blocks.append(block)
            else:
                child.given -= SHARE
            child.send(src, reply_to, dumps(block, 2) if block else core.encode_dead('there are no more ids'))
        child.given += SHARE
        self.take(SHARE, take)

    def ask(self):
        """Have a fresh block of ids dealt; or those who want some told that there are no more."""
        def on_answer(src, auth, reply_to, data):
            router.handlers.pop(handle, None)
            block = data and core.decode(data)
            if isinstance(block, tuple):
                self.free.append(block)
                self.deal()
            else:
                wanted, self.wanted = self.wanted, core.deque()
                for count, take in wanted:
                    self.given -= count
                    take(None)
        handle = None  # a context that leaves is told at once, before it has one
        handle = router.add_handler(on_answer, router.parents)
        if handle in router.handlers:
            router.stream.send(router.parent, ALLOCATE_ID, dumps(None, 2), handle)

    def take_id(self, take):
        """Have `take` called with an id for a child of this context's own, or None."""
        self.take(1, lambda block: take(block and block[0]))

    def take(self, count, take):
        """Have `take` called with so many ids in a row, as (first, end), or None where there are no more."""
        self.given += count  # also while they are on their way
        self.wanted.append((count, take))
        if len(self.wanted) == 1:  # or a block is on its way
            self.deal()

    def deal(self):
        while self.wanted:
            count, take = self.wanted[0]
            block = self.find(count)
            if not block:
                return self.ask()
            self.wanted.popleft()
            take(block)

    def find(self, count):
        for block in self.free:
            first, end = block
            if first + count <= end:
                self.free.remove(block)
                if first + count < end:
                    self.free.append((first + count, end))
                return first, first + count

    def ping(self, child, *message):
        router.on_ping(*message[:2] + message[3:])

    # How deep those are that are announced is for the master alone to limit: here nobody knows, and nobody asks.
    def add_route(self, child, src, auth, handle, reply_to, data):
        target, via = ids = tuple(pair(data) or (None, None))
        is_new = target not in child.announced and any(first <= (target or 0) < end for first, end in child.blocks)
        if not (is_new and via in child.ids):
            return self.drop('a route to context %s by context %s' % ids, src, auth, handle, reply_to, data)
        child.announced.add(target)
        self.add(target, via)
        router.stream.send(router.parent, ADD_ROUTE, dumps((target, via), 2))

    def del_route(self, child, src, auth, handle, reply_to, data):
        target, via = pair(data) or (None, None)
        if target not in child.ids or target == src:
            return self.drop('the end of context %s' % target, src, auth, handle, reply_to, data)
        child.ids.discard(target)
        self.lost(target, via)

    def drop(self, what, src, auth, handle, reply_to, data):
        if not pair(data):
            what = 'a message about a route that cannot be read,'
        router.refuse('dropped %s that context %d announced' % (what, src), src, auth, handle, reply_to, data)

    def on_add_route(self, src, auth, reply_to, data):
        self.add(*core.decode(data))

    def on_del_route(self, src, auth, reply_to, data):
        """A context elsewhere has gone."""
        target, via = core.decode(data)
        for child in list(self.children.values()):
            child.tell_end(target, via)
        router.lose(target)


def take_over():
    """Pass on from now on, on the thread that leads."""
    if not router.routes:
        router.routes = routes = Routes()
        for handle, function in (ADD_ROUTE, routes.on_add_route), (DEL_ROUTE, routes.on_del_route):
            router.handlers[handle] = function, router.parents
        router.post, router.arrive = routes.post, routes.arrive
        early, router.early = router.early, None
        for message in early or ():
            router.arrive(*message)


router.defer(take_over)
