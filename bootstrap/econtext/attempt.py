"""econtext.attempt: a start that code in this context has asked for. Fetched by who asks.

What a plan's start reports comes here instead of to the master. Questions are answered with what was given for them
beforehand (econtext.conversation), and with nothing else.
"""
from __future__ import absolute_import
from econtext import core
from econtext.core import dumps, router, text, _thread
conversation, parent = core.load('econtext.conversation'), core.load('econtext.parent')
core.load('econtext.routes')


class Attempt(object):
    """Hears how a start goes that was asked for here, and waits for that."""

    def __init__(self, name, child, conversation):
        self.name, self.child, self.conversation, self.said = name, child, conversation, b''
        self.lock, self.news = _thread.allocate_lock(), None
        self.lock.acquire()

    def __call__(self, kind, *news):
        if kind == 'stderr':
            self.said = (self.said + news[0])[-4096:]
            if self.news:
                router.log('%s.stderr' % self.name, 20, news[0])
        elif kind == 'asked':
            talk = self.conversation or conversation.Conversation({})
            move, line = talk.receive(news[0]) or news[1] and talk.quiet() or (None, None)
            if move == 'fail':
                self.child.start.cause = self.child.start.cause or line
                router.defer(self.child.start.stop)
            else:
                self.child.start.terminal.answered(line if move else None)
        elif not self.news:
            self.news = (kind,) + news
            self.lock.release()

    def close(self):
        """Who began it has heard how it ended."""

    def wait(self):
        """The exit status of an attempt that failed, and why; None where it is up."""
        router.need()
        self.lock.acquire()
        if self.news[0] == 'up':
            return None
        if self.news[0] == 'failed':
            stage, noise, why, status = self.news[1:]
            lines = [line for line in text(noise + self.said).splitlines() if line.strip()]
            why = why or ('exit status %s' % status if status is not None else 'the stream ended')
            return stage, text('%s: %s%s') % (self.name, why, '; it printed: ' + lines[-1] if lines else '')
        return parent.HELLO, text('%s: it was lost') % self.name


def begin(name, ways):
    """Start a context by the first of `ways`, (plan, Conversation or None), that gets as far as Python; gives its
    core.Context once it is up. ConnectError says why it does not come up."""
    lock, ids = _thread.allocate_lock(), []
    lock.acquire()
    router.defer(lambda: router.routes.take_id(lambda id: (ids.append(id), lock.release())))
    router.need()
    lock.acquire()
    if ids[0] is None:
        raise parent.ConnectError('%s: the parents have no more ids' % name)
    id, children = ids[0], []

    def announce():
        children.append(router.routes.add(id, router.id))
        router.stream.send(router.parent, core.ADD_ROUTE, dumps((id, router.id), 2))
        lock.release()
    router.defer(announce)
    router.need()
    lock.acquire()
    try:
        for plan, conversation in ways:
            attempt = Attempt(text(name), children[0], conversation)
            parent.launch(id, plan, attempt)
            failed = attempt.wait()
            if not failed:
                return core.Context(id, children[0].start.name)
            if failed[0] > parent.PYTHON:
                break
        raise parent.ConnectError(failed[1])
    except BaseException:
        parent.give_up(id)
        raise
