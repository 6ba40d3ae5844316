"""econtext.call: calls of functions in other contexts, of which this one is a parent, and their end. Fetched for the
first of these.

What the thread that leads calls here only stores and wakes; the answer, which may come from hostile hands, is
unpickled by who waits for it. An answer that nobody waits for any more is dropped when it comes.
"""
from __future__ import absolute_import
import sys
from econtext import core
from econtext.core import text
channel = core.load('econtext.channel')
if not core.PROTOCOL:
    TimeoutError = channel.TimeoutError

PATIENCE = 2  # seconds beyond the grace period in which a context's parent is to have ended it


class Pending(object):
    """A request that is under way: `data` for the handle `service` of a context, which holds senders to `queues`."""

    def __init__(self, name, context, service, data, queues=()):
        self.name, self.queues, self.is_lost = '%s: %s' % (text(context.name), name), queues, False
        self.lock, self.waiters, self.answer, self.handle = core._thread.allocate_lock(), [], None, None
        self.handle = core.router.add_handler(self.on_answer, [context.id] + list(core.router.parents))
        try:
            channel.post(context.id, service, data, self.handle)
        except BaseException:  # it is too long, say
            core.router.handlers.pop(self.handle, None)
            self.let_go(None)
            raise

    def on_answer(self, src, auth, reply_to, data):
        core.router.handlers.pop(self.handle, None)
        with self.lock:
            self.answer, self.is_lost = (auth, data), reply_to is None
            waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.release()
        if data is not None:  # or the channels end, too
            self.let_go(data if self.is_lost else None)

    def let_go(self, dead):
        """Who reads from a channel that a call was to fill sees its end after the answer is here."""
        for queue in self.queues:
            queue.let_go(dead)
        self.queues = ()

    def get(self, timeout=None):
        """What the function returned; waits for it, at most `timeout` seconds. CallError if it raised, StreamError if
        there will be no answer."""
        self.wait(timeout)
        auth, data = self.answer
        value = core._DEAD(core.router.reason) if data is None else channel.decode(data, auth)
        if isinstance(value, core._DEAD):
            raise core.StreamError('%s: %s' % (self.name, value.reason or 'the context is gone'))
        if isinstance(value, core.CallError):
            raise value
        return value

    def wait(self, timeout):
        deadline = None if timeout is None else core.clock() + timeout
        while self.answer is None:
            with self.lock:
                if self.answer is not None:
                    break
                waiter = channel.Waiter(deadline is not None)
                self.waiters.append(waiter)
            woken = False
            try:
                woken = waiter.wait(deadline)
            finally:
                if not woken:
                    with self.lock:
                        self.waiters = [other for other in self.waiters if other is not waiter]
            if not woken and self.answer is None:
                raise TimeoutError('%s: no answer in time' % self.name)


def call_async(*args, **kwargs):
    """Begin `context.call_async('module:function', *args, **kwargs)`."""
    context, target = args[:2]
    module, colon, path = text(target).partition(':')
    kind, _, function = path.rpartition('.')
    if not (module and function):
        raise ValueError('%r is no function: module:function or module:Class.method' % (target,))
    if context.id == core.router.id:
        raise ValueError('a context has no need to call itself')
    kwargs = dict((text(key), kwargs[key]) for key in kwargs)
    data, queues = channel.give((module, kind or None, function, args[2:], kwargs))
    return Pending('call of %s' % text(target), context, core.CALL_FUNCTION, data, queues)


def call(*args, **kwargs):
    return call_async(*args, **kwargs).get()


def shutdown(context):
    """Shut down a context that is below this one, and wait until it is gone. StreamError if it is not below."""
    def leave():
        child = routes and routes.children.get(context.id)
        if child:
            child.leave()
    if context.id == core.router.id:
        raise ValueError('a context cannot shut itself down')
    routes = core.router.routes
    pending = Pending('shutdown', context, core.SHUTDOWN, core.dumps(None, 2))
    core.router.defer(leave)
    pending.wait(core.router.grace_ms / 1e3 + PATIENCE)
    try:
        if not pending.is_lost:
            pending.get()
    except core.StreamError:
        if 'has no route to' not in text(sys.exc_info()[1]):  # it had gone before
            raise
