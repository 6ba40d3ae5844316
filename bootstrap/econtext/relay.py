"""econtext.relay: serves a child the modules that this context has from its parent. Fetched by who has children.

Invariant: each name is asked for upward once, however many children and threads of this context wait for it.
What a child was told will come does come; once the stream to the parent has ended, as a module that raises
ImportError. Sources are kept by the importer alone, and files by nobody. All runs on the thread that leads, where
nothing may wait or import. What a child sends is never unpickled.
Not here: the children's streams. Who owns one says who may ask, and reads no more of a child that does not read.
"""
from __future__ import absolute_import
import zlib
from econtext import core
from econtext.core import Struct, deque, dumps, importer, native, router, text

REQUEST_BYTES, NAME_BYTES = 16384, 4096
AT_ONCE = 1000  # requests of one child that wait for an answer from above
UPWARD = 500  # of all children that are with the parent, to which this context is one child
ABSENT = 1000  # names of which is known, for one child, that no parent has them
LENGTHS = {b'\x8c': Struct('<B'), b'X': Struct('<L')}  # of text in a pickle, by opcode
asked, backlog = {}, deque()  # name: the relay that asks for it upward; those of them that still wait for others
importer.modules['econtext.core'] = None, core.__file__, core.core_source, []


def requested(data):
    """The name in a request, which is a pickle of one text."""
    if len(data) > REQUEST_BYTES:
        raise ValueError
    at = 11 if data[2:3] == b'\x95' else 2  # there may be a frame
    length = LENGTHS[data[at:at + 1]]
    start = at + 1 + length.size
    end = start + length.unpack_from(data, at + 1)[0]
    name = data[start:end]
    # Half a surrogate pair, which 2.7 decodes, has no answer of its own.
    if end >= len(data) or any(part[:1] >= b'\xa0' for part in name.split(b'\xed')[1:]):
        raise ValueError
    return native(name.decode('utf-8'))


def record(name, found):
    """The pickle of a LOAD_MODULE for any Python, with the source as an 8-bit string (dumps makes it text)."""
    if not found:
        return dumps((text(name), None, None, None, None), 2)
    children, path, compressed, related = found
    parts = text(name), None if children is None else list(map(text, children)), text(path), list(map(text, related))
    parts = [dumps(part, 2)[2:-1] for part in parts]
    parts[3:3] = b'T', LENGTHS[b'X'].pack(len(compressed)), compressed
    return b'\x80\x02(' + b''.join(parts) + b't.'


def is_file(name, found):
    """Whether this is a file that a package brings, or a piece of one: not to be kept."""
    return '/' in name and found and found[0] is None


def refusal(name, reason):
    """The record of a module that fails to be imported, or of a file that cannot be read."""
    reason = '%s cannot be loaded: %s' % (name, reason)
    if '/' in name:
        return None, reason, b'', []
    source = 'raise ImportError(%r)\n' % reason
    return None, '<%s!>' % name, zlib.compress(source.encode('ascii', 'backslashreplace')), []


def ask():
    """Ask the parent for what is to be asked, as much as may be at once."""
    while backlog and len(asked) - len(backlog) < UPWARD:
        importer.ask(backlog.popleft())


class Wish(list):
    """Stands for a child among the threads that wait for a name: see importer.waiting."""

    def __init__(self, relay, name):
        list.__init__(self, (self, None, False))
        self.relay, self.name = relay, name

    def release(self):
        router.defer(self.come)  # once the caller has left the importer's lock

    def come(self):
        found, came = self[1:]
        del self[:]
        self.relay.come(self.name, found, came)


class Relay(object):
    """Serves one child. `send(data)` sends it the pickle of a LOAD_MODULE, and never waits."""

    def __init__(self, send):
        self.send, self.greeted, self.requests = send, False, 0  # how many of `asked` are this child's
        self.sent, self.pending = set(), set()  # names that the child has; that it will have once they come
        self.absent = deque()  # those of `sent` that no parent has, the oldest first

    def close(self):
        """The child has gone."""
        self.send = None
        with importer.lock:  # the wish to hear of the roots never ends by itself
            wishes = importer.waiting.get('', [])
            wishes[:] = [wish for wish in wishes if getattr(wish, 'relay', None) is not self]

    def serve(self, data):
        """Answer the child's GET_MODULE, whose pickle is `data`."""
        try:
            name = requested(data)
        except Exception:
            return router.log('econtext', core.ERROR, 'a child asked for a module without a name')
        if not self.greeted:
            self.greeted = True
            self.greet()
        if not name or len(name) > NAME_BYTES:
            self.tell(name, importer.modules.get(name))
        elif self.requests >= AT_ONCE and name not in importer.modules:
            self.tell(name, refusal(name, '%d modules are being asked for' % AT_ONCE))
        else:
            self.push([name], True)

    def greet(self):
        """Say which top-level names are served, now and when that changes."""
        if '' in importer.modules:
            self.tell('', importer.modules.get(''))
        self.wish('')

    def push(self, names, again=False):
        """Send what the child lacks of `names`, the last first, and behind each what it announces.

        What it has and asks for `again` has failed there, is reloaded, or was absent: its parent is asked anew.
        """
        while names:
            name = names.pop()
            known, found = name in importer.modules, importer.modules.get(name)
            if known and name not in self.sent:
                names += self.put(name, found)
            elif name not in self.pending and (again or not (found and name in self.sent)):
                self.wait(name)
            again = False

    def wait(self, name):
        with importer.lock:
            closed, coming = importer.closed, name in asked or name in importer.coming
            if not closed:
                importer.modules.pop(name, None)  # it is asked for again
                self.pending.add(name)
                self.wish(name)
        if closed:
            self.tell(name, refusal(name, router.reason))
        elif not coming:
            asked[name] = self
            self.requests += 1
            backlog.append(name)
            ask()

    def wish(self, name):
        importer.waiting.setdefault(name, []).append(Wish(self, name))

    def come(self, name, found, came):
        """What was waited for has come, or will not."""
        relay = asked.pop(name, None)
        if relay:
            relay.requests -= 1
            if name in backlog:  # it came unasked
                backlog.remove(name)
            ask()
        self.pending.discard(name)
        if is_file(name, found):
            importer.modules.pop(name, None)
        if not self.send:
            return
        if not name:
            if came:
                self.sent.intersection_update(importer.modules)  # what was absent may be there now
                self.greet()
        elif came:
            self.push(self.put(name, found))
        else:
            self.tell(name, refusal(name, router.reason))

    def put(self, name, found):
        """Send a record; give what it announces, the first last."""
        if name == '/':  # what the master sends ahead of this: the files that will be read next
            for file in [other for other in list(importer.modules) if other[:1] == '/' != other]:
                self.put(file, importer.modules.get(file))
        self.tell(name, found)
        if is_file(name, found):
            return []
        self.sent.add(name)
        if found:
            return [] if '/' in name else found[3][::-1]
        self.absent.append(name)
        if len(self.absent) > ABSENT:
            oldest = self.absent.popleft()
            if not importer.modules.get(oldest):
                self.sent.discard(oldest)
                importer.modules.pop(oldest, None)
        return []

    def tell(self, name, found):
        try:
            self.send(record(name, found))
        except core.StreamError as error:  # too long
            self.send(record(name, refusal(name, error)))
