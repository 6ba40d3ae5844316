"""econtext.attempt: the start of a context that code in this one has asked for, in several attempts if need be, as
src/start.rs does it for the program. Fetched by who asks.

What a plan's start reports comes here instead of to the master, on the thread that leads; who asked waits, and is the
one that on_prompt is called by.
Invariant: whatever ends the wait, an exception of a signal's handler too, nothing is left of a start that failed.
"""
from __future__ import absolute_import
import os
from econtext import core
from econtext.core import clock, dumps, router, text, _thread
conversation, parent, process = map(core.load, ('econtext.conversation', 'econtext.parent', 'econtext.process'))
core.load('econtext.routes')

ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE = 8, .25, 4  # of a server that is busy; seconds
SLACK = 2  # seconds that a process may take beyond the time for all of the start: why there is none has better words
LOOK = 1  # second: a signal that comes just before a wait does not end it
LONGEST_LINE = 4096  # what is longer is not one of ssh's


class Attempt(object):
    """Hears how an attempt goes. What is for who waits is put into `news`: ('asked', Prompt), ('up',), ('failed',
    stage, noise, why or None, exit status or None)."""

    def __init__(self, name, child, plan, talk, bell):
        self.name, self.child, self.plan, self.bell = name, child, plan, bell
        self.talk = (talk or conversation.Conversation({})).anew(name)
        self.news, self.is_up, self.is_over = core.deque(), False, False
        self.said = self.partial = b''  # of stderr: all but what ssh says of any connection; a line without its end
        self.was_asked = self.has_logged_in = self.has_asked = False
        self.cause = None  # why it was given up, and whether for a host key
        self.explain = plan.get('ssh') and core.load('econtext.explain')

    def __call__(self, kind, *news):
        if kind == 'stderr':
            self.hear(news[0])
        elif kind == 'asked':
            self.was_asked = True
            self.act(self.talk.receive(news[0]) or news[1] and self.talk.quiet() or None)
        elif kind == 'lost':
            self.is_over = True
            if not self.is_up:
                self.tell('failed', parent.HELLO, b'', 'it was lost', None)
        else:
            self.is_up = kind == 'up'
            self.is_over = not self.is_up
            self.tell(kind, *news)

    def tell(self, *news):
        self.news.append(news)
        self.bell()

    def close(self):
        """Who began it has heard how it ended."""

    def hear(self, data):
        """Take what came on stderr."""
        if self.explain:
            lines, kept = (self.partial + data).split(b'\n'), []
            self.partial = lines.pop()
            for line in lines:
                shown = self.explain.may_be_sshs(line) and text(line[:LONGEST_LINE]).rstrip()
                self.has_logged_in = self.has_logged_in or shown and self.explain.has_logged_in(shown)
                if not (shown and self.explain.is_chatter(shown)):
                    kept.append(line + b'\n')
            if len(self.partial) > LONGEST_LINE:
                kept.append(self.partial)
                self.partial = b''
            data = b''.join(kept)
        self.said = (self.said + data)[-conversation.TAIL_BYTES:]
        if self.is_up and data:
            router.log('%s.stderr' % self.child.start.name, 20, data)

    def act(self, move):
        """Do what the conversation says."""
        start = self.child.start
        if not move:
            start.terminal.answered(None)
        elif move[0] == 'ask':
            self.has_asked = True
            self.tell('asked', move[1])
        elif move[0] == 'type':
            start.terminal.answered(move[1])
        else:
            self.cause = self.cause or move[1:]
            router.defer(start.stop)

    def answer(self, answer):
        """What on_prompt said."""
        if not self.is_over and self.talk.waits_for:
            self.act(self.talk.answered(answer))

    def failure(self, stage, noise, why, status, seconds):
        """The stage, the reason, what was printed, why another attempt may fare better, and the exit status."""
        explain, plan = core.load('econtext.explain'), self.plan
        if stage == parent.SPAWN:
            return explain.SPAWN, text(why), '', None, None
        reached = explain.CONNECT if plan.get('ssh') else explain.PYTHON
        if plan.get('ssh'):
            reached = explain.PYTHON if self.has_logged_in else reached
        elif self.was_asked:
            reached = explain.LOGIN
        if self.cause:
            why, is_host_key = self.cause
            status, reached = None, max(reached, explain.HOST_KEY if is_host_key else explain.LOGIN)
        reached = max(reached, {parent.PYTHON: 0, parent.CORE: explain.CORE}.get(stage, explain.HELLO))
        stalled = why == 'stalled'
        if stalled:
            why = 'Python waits for the rest of the core'
        elif why == 'timed out':
            why = 'no answer within %gs' % seconds
            if reached == explain.CONNECT:
                why = 'not logged in within %gs' % seconds
            elif reached == explain.PYTHON and plan.get('ssh'):
                why += ': does a login script wait, or read standard input?'
        if why and status is not None and status < 0:
            status = None  # it is how this context has ended it
        said = self.said + self.partial
        stage, reason, printed, again = explain.failure(plan, reached, noise, said, why, status)
        return stage, reason, printed, 'eaten' if stalled else again, status


class Start(object):
    """A start: the attempts of it, and the wait for them."""

    def __init__(self, name, on_prompt):
        self.name, self.on_prompt, self.child, self.id = text(name), on_prompt, None, None
        # A lock's acquire() ends with no signal in 2.7; and what was made when one came is closed with these objects.
        self.bell, self.end = core._socket.socketpair()
        for end in self.bell, self.end:
            core.private(end.fileno())
            end.setblocking(False)
        process.waiting.add(self)

    def ring(self):
        try:
            self.end.send(b'.')
        except EnvironmentError:  # nobody waits any more, or it has rung
            pass

    def close(self):
        process.waiting.discard(self)
        self.bell.close()
        self.end.close()

    def wait(self, is_done, deadline):
        """Whether that came before the deadline (None: there is none)."""
        while not is_done():
            router.need()
            left = LOOK if deadline is None else deadline - clock()
            if left <= 0:
                return False
            if process.readable(self.bell.fileno(), clock() + min(left, LOOK)):
                self.bell.recv(core.LARGE)
        return True

    def enter(self):
        """Have an id, and a route to it."""
        ids = []
        router.defer(lambda: router.routes.take_id(lambda id: (ids.append(id), self.ring())))
        self.wait(lambda: ids, None)
        if ids[0] is None:
            raise self.error(None, router.reason or 'the parents have no more ids')
        self.id, children = ids[0], []

        def announce():
            children.append(router.routes.add(self.id, router.id))
            router.stream.send(router.parent, core.ADD_ROUTE, dumps((self.id, router.id), 2))
            self.ring()
        router.defer(announce)
        self.wait(lambda: children, None)
        self.child = children[0]
        if not self.child:
            raise self.error(None, router.reason)

    def launch(self, plan, attempt):
        # A copy is one of this thread, if of any. And where the interpreter has one import lock, os.fork() takes it,
        # too: who is importing would wait for a thread that waits for who is importing.
        if plan.get('fork') or process.holds_import_lock():
            return parent.launch(self.id, plan, attempt)
        try:  # a signal's handler that raises does not do so there
            _thread.start_new_thread(parent.launch, (self.id, plan, attempt))
        except Exception as error:  # there are no more threads
            raise self.error(None, text(error))

    def attempt(self, plan, talk):
        """Make one. Gives it, and how it ended, as `news` has it."""
        attempt, before = Attempt(self.name, self.child, plan, talk, self.ring), self.child.start
        seconds = plan.get('timeout_ms', 0) / 1e3
        deadline = core.clock() + seconds + SLACK
        self.launch(plan, attempt)
        # Once there is a process, who looks after that has a clock.
        if not self.wait(lambda: attempt.news or self.child.start is not before, deadline):
            raise self.error(None, 'there was no process within %gs: does another thread import something?' % seconds)
        while True:
            self.wait(lambda: attempt.news, None)
            news = attempt.news.popleft()
            if news[0] != 'asked':
                return attempt, news
            answer = self.on_prompt(news[1])
            if answer is not None and not isinstance(answer, bytes):
                answer = text(answer).encode('utf-8', 'surrogateescape')
            router.defer(lambda: attempt.answer(answer))

    def run(self, ways):
        """Make attempts until one is up."""
        ways, refusals, is_padded = list(ways), 0, False
        plan, talk = ways.pop(0)
        whole = plan.get('timeout_ms', 0) / 1e3
        while True:
            attempt, news = self.attempt(plan, talk)
            start = self.child.start
            if news[0] == 'up':
                if is_padded:
                    router.log(start.name, 30, b'a login script reads standard input: connected by a second attempt, '
                                               b'which waited for the script to end')
                return core.Context(self.id, start.name)
            if router.closed:
                raise self.error(None, router.reason, name=start and start.name)
            stage, reason, printed, again, status = attempt.failure(*news[1:] + (whole,))
            left = start.left if start else 0  # the clock stands still while somebody is asked
            pause = 0
            if again == 'next way' and ways:
                plan, talk = ways.pop(0)
            elif again == 'eaten' and 'eaten' in plan and not is_padded:
                is_padded, plan = True, dict(plan, **plan['eaten'])
            elif again == 'busy' and refusals + 1 < ATTEMPTS and not attempt.has_asked:
                pause = min(FIRST_PAUSE * 2 ** refusals, LONGEST_PAUSE) * (.5 + ord(os.urandom(1)) / 255.)
                refusals += 1
            else:
                again = None
            if not again or router.closed or left <= pause:
                break
            router.log('econtext', 10, ('%s: %s: another attempt in %.1f s' % (self.name, reason, pause)).encode(
                'utf-8', 'replace'))
            self.wait(lambda: router.closed, clock() + pause)
            plan = dict(plan, timeout_ms=max(1, int((left - pause) * 1e3)))
        if is_padded:
            reason += '; the second attempt, since a login script seems to have read what the first one sent'
        elif refusals:
            reason += '; after %d attempts' % (refusals + 1)
        raise self.error(stage, reason, printed, status, start and start.name)

    def error(self, stage, reason, printed='', status=None, name=None):
        name = name or self.name
        try:
            explain = core.load('econtext.explain')
        except ImportError:  # nothing is sent any more
            error = parent.ConnectError(text('%s: %s') % (name, text(router.reason or reason)))
            error.context, error.reason = name, text(router.reason or reason)
            return error
        stage = explain.SPAWN if stage is None else stage
        error = parent.ConnectError(explain.line(name, stage, reason, printed, status))
        error.context, error.stage, error.reason = name, text(explain.rules.STAGES[stage]), text(reason)
        error.printed, error.status = printed, status
        return error


def begin(name, ways, on_prompt=None):
    """Start a context by the first of `ways`, (plan, Conversation or None), that gets as far as Python; gives its
    core.Context once it is up. ConnectError says why it does not come up."""
    start = Start(name, on_prompt)
    try:
        start.enter()
        return start.run(ways)
    except BaseException:
        if start.id is not None:
            parent.give_up(start.id)
        raise
    finally:
        start.close()
