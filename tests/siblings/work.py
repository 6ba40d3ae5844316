"""What the contexts of tests/siblings.rs do."""
import threading
from econtext import core
from econtext.core import Receiver, dumps, router, text

changed, done = threading.Condition(), [0, None]  # items sent or received here, and how that ended


def aside(function):
    thread = threading.Thread(target=function)
    thread.daemon = True
    thread.start()


def count():
    with changed:
        done[0] += 1
        changed.notify_all()


def end(how):
    with changed:
        done[1] = how
        changed.notify_all()


def receive():
    """Count what comes for the Sender that is returned."""
    receiver = Receiver()

    def run():
        try:
            for _ in receiver:
                count()
            end('the end')
        except BaseException as error:
            end(repr(error))
    aside(run)
    return receiver.sender()


def send(sender, size):
    """Send for as long as that goes."""
    def run():
        try:
            while True:
                sender.send(b'x' * size)
                count()
        except BaseException as error:
            end(repr(error))
    aside(run)


def wait_for(more):
    """Wait until so many more have gone through, or none will."""
    with changed:
        until = done[0] + more
        while done[0] < until and not done[1]:
            changed.wait(1)
    return done[1]


def size(data):
    return len(data)


def flood(dst, size):
    """Send what `dst` has no use for until it is refused; how much was not, and what the refusal says."""
    told, sent = [], 0
    handle = router.add_handler(lambda src, auth, reply_to, data: told.append(core.decode(data)), None)
    while not told:
        router.post(dst, 1, dumps(b'x' * size, 2), handle)
        sent += size
    return sent, text(told[0].reason)


collections = []  # of each channel: how many items have arrived in order, and how it ended


def collect():
    """Take numbered items for the Sender that is returned."""
    receiver, mine = Receiver(), [0, None]
    collections.append(mine)

    def run():
        try:
            for number, _ in receiver:
                assert number == mine[0], 'item %d in the place of %d' % (number, mine[0])
                mine[0] += 1
            mine[1] = 'the end'
        except BaseException as error:
            mine[1] = repr(error)
        count()
    aside(run)
    return receiver.sender()


def collected(channels):
    """What has become of them, once all have ended, or after a minute."""
    with changed:
        for _ in range(60):
            if done[0] < channels:
                changed.wait(1)
    return [(arrived, str(end)) for arrived, end in collections]


def fill(senders, size):
    """Send numbered items while there is credit, and close; how many each has taken."""
    counts = []
    for sender in senders:
        sent = 0
        try:
            while sender.send((sent, b'x' * size), block=False):
                sent += 1
        except core.ChannelError:
            pass  # it has heard of the refusal already
        sender.close()
        counts.append(sent)
    return counts
