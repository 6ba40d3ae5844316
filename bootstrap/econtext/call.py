"""econtext.call: calls of functions in other contexts, of which this one is a parent. Fetched when the first is made.

What the thread that leads calls here only stores and wakes; the answer, which may come from hostile hands, is
unpickled by who waits for it. An answer that nobody waits for any more is dropped when it comes.
"""
from __future__ import absolute_import
from econtext import core
from econtext.core import text
channel = core.load('econtext.channel')
if not core.PROTOCOL:
    TimeoutError = channel.TimeoutError


class Pending(object):
    """A call that is under way."""

    def __init__(self, context, target, args, kwargs):
        module, colon, path = text(target).partition(':')
        kind, _, function = path.rpartition('.')
        if not (module and function):
            raise ValueError('%r is no function: module:function or module:Class.method' % (target,))
        if context.id == core.router.id:
            raise ValueError('a context has no need to call itself')
        self.name = '%s: call of %s' % (text(context.name), text(target))
        self.lock, self.waiters, self.answer, self.handle = core._thread.allocate_lock(), [], None, None
        kwargs = dict((text(key), kwargs[key]) for key in kwargs)
        data = core.dumps((module, kind or None, function, args, kwargs), 2)
        self.handle = core.router.add_handler(self.on_answer, [context.id] + list(core.router.parents))
        try:
            channel.post(context.id, core.CALL_FUNCTION, data, self.handle)
        except BaseException:  # it is too long, say
            core.router.handlers.pop(self.handle, None)
            raise

    def on_answer(self, src, auth, reply_to, data):
        core.router.handlers.pop(self.handle, None)
        with self.lock:
            self.answer = auth, data
            waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.release()

    def get(self, timeout=None):
        """What the function returned; waits for it, at most `timeout` seconds. CallError if it raised, StreamError if
        there will be no answer."""
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
        auth, data = self.answer
        value = core._DEAD(core.router.reason) if data is None else channel.decode(data, auth)
        if isinstance(value, core._DEAD):
            raise core.StreamError('%s: %s' % (self.name, value.reason or 'the context is gone'))
        if isinstance(value, core.CallError):
            raise value
        return value


def call_async(*args, **kwargs):
    """Begin `context.call_async('module:function', *args, **kwargs)`."""
    return Pending(args[0], args[1], args[2:], kwargs)


def call(*args, **kwargs):
    return call_async(*args, **kwargs).get()
