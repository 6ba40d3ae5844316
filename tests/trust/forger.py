"""Hostile code in a context, and what tells how its victims are: served by tests/trust.rs and others."""
from econtext import core
from econtext.core import Struct, dumps, router, text

channel = core.load('econtext.channel')
ran = []  # what was called of what nobody should have
seen = []  # what a context that passes messages on has unpickled
kept = {}  # receivers, and answers that are waited for, by name


def send(dst, handle, data, src, auth):
    """Send in the name of others."""
    router.stream.send(dst, handle, data, 0, False, src, auth)


def send_log(src, auth):
    send(0, core.FORWARD_LOG, dumps(('forged', 40, 'I am another'), 2), src, auth)


def send_call(dst, src, auth):
    send(dst, core.CALL_FUNCTION, dumps(('forger', None, 'run', (), {}), 2), src, auth)


def run():
    ran.append(1)


def has_run():
    return bool(ran)


class Answer(object):
    """Waits for the answers of contexts that may answer; `None` are all."""

    def __init__(self, allowed=None, count=1):
        self.waiter, self.count, self.answers = channel.Waiter(), count, []
        self.handle = router.add_handler(self.on_answer, allowed)

    def on_answer(self, src, auth, reply_to, data):
        self.answers.append(data)
        if len(self.answers) == self.count:
            router.handlers.pop(self.handle, None)
            self.waiter.release()

    def get(self):
        self.waiter.wait()
        return [readable(data) for data in self.answers]


def readable(data):
    value = core.decode(data)
    return 'dead: %s' % text(value.reason) if isinstance(value, core._DEAD) else value


def ask(dst, handle, data):
    """The answer to a message that wants one."""
    answer = Answer()
    router.post(dst, handle, bytes(data), answer.handle)
    return answer.get()[0]


def ask_often(dst, handle, count):
    """The answers to so many messages, all sent before the first comes."""
    answer = Answer(None, count)
    for _ in range(count):
        router.post(dst, handle, dumps(None, 2), answer.handle)
    return answer.get()


def announce(dst, handle, target, via):
    return ask(dst, handle, dumps((target, via), 2))


def await_answer(allowed):
    """Begin to wait for an answer of a context; gives the handle."""
    kept['answer'] = Answer([allowed])
    return kept['answer'].handle


def answered():
    return kept.pop('answer').get()[0]


def is_answered():
    return bool(kept['answer'].answers)


def answer(dst, handle, value):
    router.post(dst, handle, dumps(value, 2))


def answer_and_ask(dst, handle, value):
    return ask(dst, handle, dumps(value, 2))


def open_receiver(name):
    kept[name] = channel.Receiver()
    return kept[name].sender()


def receive(name, count):
    return [kept[name].get() for _ in range(count)]


def fill(sender):
    """Send until there is no more credit; how many."""
    count = 0
    while sender.send((count, b'x' * 100), block=False):
        count += 1
    return count


def stream_to(sender, first, end):
    for number in range(first, end):
        sender.send((number, b'x' * 100))


def try_to_send(sender):
    """Send until that fails; the reason."""
    try:
        while True:
            sender.send(b'x' * 100)
    except core.ChannelError as error:
        return text(error)


def watch_pickles():
    """Note all that is unpickled here from now on."""
    loads, decode = core.loads, channel.decode
    core.loads = lambda data, **more: seen.append(bytes(data)) or loads(data, **more)
    channel.decode = lambda data, *more: seen.append(bytes(data)) or decode(data, *more)


def has_seen(*halves):
    """Whether something was unpickled that has the words in it; apart, so that this call has not."""
    return any(''.join(map(str, halves)).encode() in data for data in seen)


def forget_route(id):
    """As if the context had gone just now, and nobody been told."""
    forgotten = Answer()

    def forget():
        kept['route'] = router.routes.via.pop(id)
        forgotten.on_answer(0, 0, 0, dumps(None, 2))
    router.defer(forget)
    forgotten.get()


def restore_route(id):
    router.routes.via[id] = kept.pop('route')


def deal_with(dst):
    """Send to a context, and begin to wait for what it will never answer."""
    await_answer(dst)
    router.post(dst, 5000, dumps(None, 2))


def send_item(sender, item):
    sender.send(item)


def send_raw_item(sender, data):
    """Send what is no pickle of a value."""
    router.post(sender.context_id, sender.handle, bytes(data), sender.credit.control)
    return 'sent'


def receive_or_why(name):
    try:
        return 'received %r' % (kept[name].get(),)
    except Exception as error:
        return text(error)


def is_sound():
    """Whether the classes of the core are as they were."""
    return core._DEAD('x').reason == 'x' and not hasattr(core._DEAD, 'reason')


def grant(name, data):
    """Take one item, and grant what is no number."""
    queue = kept[name].queue
    src, auth, reply_to, item = queue.get(None)
    router.post(src, reply_to, bytes(data))


def flood(sender, count):
    """Send regardless of credit; the first refusal."""
    answer = Answer()
    for _ in range(count):
        router.post(sender.context_id, sender.handle, dumps(b'x' * 1000, 2), answer.handle)
    return answer.get()[0]


def unread_bytes(name):
    return sum(len(item[3]) for item in kept[name].queue.items)


def is_leaving(id):
    """Whether the clock of a child's shutdown runs."""
    return router.routes.children[id].leaving


def begin_to_watch_queue(id, seconds):
    """Note how much is ever queued for a child; it may be little, for so long."""
    routes = core.load('econtext.routes')
    routes.QUEUE_BYTES, routes.STUCK_SECONDS = 1 << 20, seconds
    child = router.routes.children[id]
    put, kept['most'] = child.put, 0

    def watched_put(*parts):
        kept['most'] = max(kept['most'], child.queued)
        put(*parts)
    child.put = watched_put


def most_queued():
    return kept['most']


def ask_and_not_read(dst, handle):
    """Send for ever what wants an answer, and read none."""
    deaf = channel.Waiter()
    router.defer(lambda: (router.unwatch(router.stream.fd_in), deaf.release()))
    deaf.wait()
    while True:
        router.post(dst, handle, dumps(None, 2), 1)


def misreport(id):
    """Say of a child that is being started what cannot be read."""
    for handle, (function, allowed) in list(router.handlers.items()):
        report = getattr(function, '__self__', None)
        if type(report).__name__ == 'Report' and report.id == id:
            router.post(0, report.handle, b'garbage', handle)


def start(python):
    return core.load('econtext.parent').local(python)


def values():
    return [None, True, 7, -1, 1 << 40, 1 << 70, -1 << 3000, 1.5, u'text \u20ac', u'', b'bytes \xff', b'', bytearray(b'\xff'),
            [1, (2,), (), (1, 2, 3, 4)], {u'k': [u'v']}, set([1]), frozenset([u'f']), 1j, list(range(1000)), b'x' * 70000,
            [u'%d' % number for number in range(1000)] * 2]


def send_values(sender):
    for value in values():
        sender.send(value)


def differing_values(name):
    """What has not arrived as it was sent."""
    pairs = [(value, kept[name].get()) for value in values()]
    is_number = lambda value: hasattr(value, 'bit_length')  # of which Python 2 has two kinds
    return [repr(pair)[:200] for pair in pairs if pair[0] != pair[1] or not (
        is_number(pair[0]) or type(pair[0]) is type(pair[1]))]
