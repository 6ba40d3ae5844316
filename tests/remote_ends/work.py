"""Code that waits for contexts below its own and beside it, and ends them: served by tests/remote_ends.rs."""
import os
import sys
import threading

from econtext import core, parent
from econtext.core import Receiver, takes_context

SOON = 30  # seconds: longer than anything but a failure takes
kept = {}


# In the context below.

def send(sender, *items):
    for item in items:
        sender.send(item)
    return len(items)


def send_deep(values):
    send(values[u'deep'][0], 1, 2)


def send_and_raise(sender, *items):
    send(sender, *items)
    raise LookupError('after that')


def send_and_die(sender, *items):
    send(sender, *items)
    os._exit(3)


def keep(sender):
    kept['sender'] = sender


def send_by_kept(*items):
    send(kept['sender'], *items)


def wait_for(path):
    """Wait for the other end of a FIFO."""
    open(path).close()


def send_when_told(sender, path, item):
    wait_for(path)
    sender.send(item)


def stay(ready):
    """Say who this is, and never return."""
    ready.send(os.getpid())
    threading.Event().wait()


# In the context itself.

def words_of(function, *args):
    """The class and the words of what a function raises, or what it returns."""
    try:
        return core.text(function(*args))
    except Exception:
        kind, value = sys.exc_info()[:2]
        return core.text('%s: %s') % (kind.__name__, core.text(value.args[1] if kind is core.CallError else value))


def read(receiver):
    """All that comes, and how that ends."""
    got = []
    while True:
        try:
            got.append(receiver.get(SOON))
        except Exception:
            kind, value = sys.exc_info()[:2]
            return got, core.text('%s: %s') % (kind.__name__, core.text(value))


def stream(context, function, in_a_variable):
    """What comes by a channel of which a call was given the sender, how that ends, and how the call does."""
    receiver = Receiver()
    if in_a_variable:
        sender = receiver.sender()
        pending = context.call_async('work:' + function, sender, 1, 2)
    else:
        pending = context.call_async('work:' + function, receiver.sender(), 1, 2)
    return read(receiver) + (words_of(pending.get, SOON),)


def iterate(context):
    receiver = Receiver()
    context.call_async('work:send_deep', values={u'deep': [receiver.sender()]})
    return list(receiver)


def one_after_the_other(context):
    """One receiver, for calls of which each was answered before the next."""
    receiver = Receiver()
    for number in range(3):
        context.call('work:send', receiver.sender(), number)
    return read(receiver)


def at_once(context, other, path):
    """A call that fails while another has a sender, too."""
    receiver = Receiver()
    failing = context.call_async('work:send_and_die', receiver.sender())
    going_on = other.call_async('work:send_when_told', receiver.sender(), path, 7)
    failed = words_of(failing.get, SOON)
    early = words_of(receiver.get, 0.05)
    open(path, 'w').close()
    going_on.get(SOON)
    return failed.split(':')[0], early.split(':')[0], read(receiver)


def outlive(context):
    """A sender that is used after the call which brought it, since another is kept here; and the end of that."""
    receiver = Receiver()
    another = receiver.sender()
    context.call('work:keep', receiver.sender())
    context.call('work:send_by_kept', 1)
    got = receiver.get(SOON), words_of(receiver.get, 0.05).split(':')[0]
    reader = threading.Thread(target=lambda: kept.update(got=read(receiver)))
    reader.start()
    del another
    if hasattr(sys, 'pypy_version_info'):
        __import__('gc').collect()
    reader.join(SOON)
    return got + kept.pop('got')


def unsent(context, argument):
    """What becomes of a channel whose call was never sent, since it is too long or no pickle can be made of it."""
    receiver = Receiver()
    argument = argument * 2 or threading.Lock()  # what comes by one message fits into one
    return words_of(context.call, 'work:send', receiver.sender(), argument).split(':')[0], read(receiver)


def receiver():
    """A sender for who knows whom."""
    kept['receiver'] = Receiver()
    return kept['receiver'].sender()


def lend(context):
    """Another for a call that ends at once; whether that ends the channel."""
    receiver = kept['receiver']
    context.call('work:send', receiver.sender(), 0)
    return receiver.get(SOON), words_of(receiver.get, 0.05).split(':')[0]


def read_kept():
    return read(kept['receiver'])


def in_a_copy(what):
    """What a wait says in a copy that the user's code has forked."""
    if 'below' not in kept:
        kept['below'] = parent.local()
    receiver, (end, other) = Receiver(), os.pipe()
    waits = {'start': parent.local, 'receive': receiver.get, 'call': lambda: kept['below'].call('os:getpid'),
             'end': lambda: kept['below'].shutdown()}
    pid = os.fork()
    if not pid:
        try:
            os.write(other, words_of(waits[what]).encode())
        finally:
            os._exit(0)
    os.close(other)
    timer = threading.Timer(SOON, lambda: os.kill(pid, 9))
    timer.start()
    said = os.read(end, 4096)
    timer.cancel()
    os.waitpid(pid, 0)
    os.close(end)
    return core.text(said), kept['below'].call('os:getppid') == os.getpid()


def is_there(pid):
    try:
        os.kill(pid, 0)
        return True
    except OSError:
        return False


def shut_down(context, *busy):
    """Shut down a context that is idle or busy; whether its process was there and is, and what a call of it says."""
    receiver, calls = Receiver(), []
    if busy:
        calls.append(context.call_async('work:stay', receiver.sender()))
        pid = receiver.get(SOON)
    else:
        pid = context.call('os:getpid')
    before = is_there(pid)
    context.shutdown()
    after = is_there(pid)
    context.shutdown()  # it is gone already
    calls.append(context.call_async('os:getpid'))
    return before, after, [words_of(call.get, SOON).split(':')[0] for call in calls]


def shut_down_started():
    return shut_down(parent.local())


def try_to_shut_down(context):
    return words_of(context.shutdown)


@takes_context
def shut_itself_down(context):
    return words_of(context.shutdown)


def shut_parent_down(id):
    return words_of(core.Context(id, 'above').shutdown)
