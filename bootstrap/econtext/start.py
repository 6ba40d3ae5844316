"""econtext.start: looks after the process of a child, from the first byte to its end. Fetched by who has children.

All runs on the thread that leads.
Not here: who asks for it and is told (econtext.parent), and the process itself (econtext.process).
"""
from __future__ import absolute_import
import os
from econtext import core
from econtext.core import router, signal, text
handshake, parent = core.load('econtext.handshake'), core.load('econtext.parent')
timers = core.load('econtext.clock').timers
PYTHON, CORE, HELLO = parent.PYTHON, parent.CORE, parent.HELLO

LAST_WORDS, TERM_TO_KILL, KILL_TO_GIVE_UP = .5, .25, 5  # seconds
QUIET = .3  # seconds without output, after which an unterminated line of unknown words is a question


class Stderr(object):
    """What the process prints on its stderr."""

    def __init__(self, start, fd):
        self.start, self.fd = start, fd
        router.sources.append(self)
        router.watch(fd, self.read)

    def read(self):
        """Report what is there; false if that is nothing."""
        if self not in router.sources:  # the number of what was closed may be another's by now
            return False
        try:
            data = os.read(self.fd, core.LARGE)
        except EnvironmentError as error:
            data = None if core.again(error) else b''
        if data:
            self.start.said(data)
        elif data is not None:
            self.close()
        return bool(data)

    def close(self):
        if self in router.sources:
            router.sources.remove(self)
            router.unwatch(self.fd)
            os.close(self.fd)


class Terminal(object):
    """Where the process asks, and what it says there until that looks like a question."""

    def __init__(self, start, process):
        self.start, self.process, self.text, self.timer = start, process, b'', None
        self.waits = self.quiet = False
        if process.tty is not None:
            router.watch(process.tty, self.read)

    def read(self):
        try:
            self.take(os.read(self.process.tty, 4096))
        except EnvironmentError as error:
            if not core.again(error):  # the program has closed its own
                router.unwatch(self.process.tty)

    def take(self, data):
        """Take what the program prints. (Of what came before the question there is enough.)"""
        self.text = (self.text + data)[-8192:]
        timers.cancel(self.timer)
        if self.start.is_asked():
            line = self.text[self.text.rfind(b'\n') + 1:]
            if line.endswith((b': ', b'? ')):
                self.ask(False)
            elif line.strip():
                self.ask_if_quiet()

    def ask_if_quiet(self):
        self.timer = timers.after(QUIET, lambda: self.ask(True))

    def ask(self, quiet):
        if not self.waits and self.start.is_asked():
            said, self.text, self.waits, self.quiet = self.text, b'', True, quiet
            self.start.stop_clock()
            self.start.report('asked', said, quiet)

    def answered(self, line):
        """The question has its answer; or it was none, and this is None."""
        if self.waits:
            self.waits = False
            self.start.go_on()
            if line is not None:
                self.start.type(line, self.process.tty)
            self.take(b'')
            if line is None and not (self.quiet or self.text):
                self.ask_if_quiet()  # what is not known to its end may be a question all the same

    def close(self):
        timers.cancel(self.timer)
        if self.process.tty is not None:
            router.unwatch(self.process.tty)
        self.process.close_tty()


class Start(object):
    """One attempt to start a child, and the process that it made, to its end."""

    def __init__(self, child, plan, process, report):
        self.child, self.plan, self.process, self.report = child, plan, process, report
        self.shake, self.stage, self.cause, self.status = handshake.Handshake(), PYTHON, None, None
        self.is_up = self.is_over = self.has_exited = self.is_last = False
        self.name = text(plan['name'])
        if plan.get('name_has_pid'):
            self.name += '.%d' % process.pid
        greeting = router.add_handler(self.on_hello, [child.child])
        self.greeting, self.timer, self.left, self.beyond = greeting, None, plan['timeout_ms'] / 1e3, 0
        # What is to be said on the way down: see Router.__init__ of the core.
        config = core.dumps((child.child, [router.id] + list(router.parents), child.key, self.name, router.level,
                             router.stream.limit, router.stream.protect, router.window,
                             max(router.grace_ms - 100, router.grace_ms // 2), greeting, router.unidirectional,
                             plan.get('has_main', router.has_main), plan.get('always', router.always)), 2)
        preamble = plan['stage'] + core.core_source + core.Struct('>L').pack(len(config)) + config
        held = bool(plan.get('waits') or plan.get('padding'))
        child.begin(self, process, self.shake, greeting, preamble, held)
        if plan.get('padding'):
            self.type(b'\n' * plan['padding'])  # there is room for it in any socket
        self.stderr, self.terminal = Stderr(self, process.stderr), Terminal(self, process)
        self.go_on()
        process.attend()
        process.wait(self.exited)
        if child.leaving:
            self.leave()

    # How far it comes.

    def came_to(self, stage):
        if stage > 0 and self.stage < CORE:
            self.stage = CORE
            self.terminal.waits, self.terminal.text = False, b''  # there is nothing left to ask
            if self.child.held:
                self.child.release_flight()
            self.stop_clock()
            stalls_ms = self.plan.get('stalls_ms')
            if stalls_ms and stalls_ms < self.left * 1e3:
                self.beyond = self.left - stalls_ms / 1e3
                self.timer = timers.after(stalls_ms / 1e3, lambda: self.late('stalled'))
            else:
                self.go_on()
        if stage > 1:
            self.stage = HELLO
            self.stop_clock()
            self.go_on()

    def on_hello(self, src, auth, reply_to, data):
        router.handlers.pop(self.greeting, None)
        if data is not None and not (self.is_up or self.is_last):
            self.is_up = True
            self.stop_clock()
            self.report('up', self.process.pid, data if isinstance(data, bytes) else data.tobytes())

    def stop_clock(self):
        left = timers.cancel(self.timer)
        if self.timer:
            self.left, self.timer, self.beyond = max(left + self.beyond, .001), None, 0

    def go_on(self):
        self.stop_clock()
        if not (self.is_up or self.is_last):
            self.timer = timers.after(self.left, lambda: self.late('timed out'))

    def late(self, cause):
        if not (self.is_up or self.is_last):
            self.cause = self.cause or cause
            self.stop()

    # What it asks.

    def is_asked(self):
        return self.stage == PYTHON and not self.is_last

    def said(self, data):
        self.report('stderr', data)
        self.printed(data)

    def printed(self, data):
        """This came on stderr or, before the marker, on the stream: su asks there, of busybox on the stream."""
        if self.plan.get('asks') == 'stdio' and self.is_asked():
            self.terminal.take(data)

    def type(self, data, tty=None):
        try:
            os.write(self.process.fd_out if tty is None else tty, data)
        except EnvironmentError:  # its end shows elsewhere
            pass

    # How it ends.

    def stream_ended(self, cause):
        if not self.is_last:
            self.shake.finish()
            self.cause = self.cause or cause
            self.let_go()
            if not self.has_exited:
                self.after(LAST_WORDS, self.terminate)

    def let_go(self):
        """Close the stream: the child sees its end, and ends."""
        self.is_last = True
        self.stop_clock()
        self.process.shut()
        self.child.pause()
        if self.has_exited:
            self.finish()

    def stop(self):
        """End it now."""
        if not self.is_last:
            self.let_go()
            if not self.has_exited:
                self.terminate()

    def leave(self):
        """It was told to shut down, and has so much time for it."""
        if not self.is_up:
            self.stop()
        elif not self.is_last:
            self.after(router.grace_ms / 1e3, self.stop)

    def after(self, seconds, function):
        timers.cancel(self.timer)
        self.timer = timers.after(seconds, function)

    def signal(self, number):
        if not self.has_exited:
            # What a user's function has started is not ours to end.
            self.process.signal(number, not self.is_up or self.plan.get('ssh'))

    def terminate(self):
        self.signal(signal.SIGTERM)
        self.after(TERM_TO_KILL, self.kill)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.after(KILL_TO_GIVE_UP, self.finish)

    def exited(self, status):
        self.status, self.has_exited = status, True
        if self.is_last:
            self.finish()
        else:  # what it has said is still to be read; a copy of it may hold the stream
            poll = core.Poll()
            poll.register(self.child.fd, 1)
            for _ in range(1024):
                if self.is_last or not router.poll(poll, 0):
                    break
                self.child.read()
            self.stream_ended(None)

    def finish(self):
        """Tell how it ended: it has, or takes too long for it."""
        timers.cancel(self.timer)
        if self.is_over:
            return
        for _ in range(16):  # something that it has left behind may print for ever
            if not (self.has_exited and self.stderr.read()):
                break
        self.stderr.close()
        self.terminal.close()
        self.is_over = True
        router.handlers.pop(self.greeting, None)
        if self.is_up:
            self.report('lost', self.cause, self.status)
            router.routes.gone(self.child)
        else:
            stage = max(self.stage, self.shake.stage + PYTHON)  # both markers, or half of them, may come at once
            parent.failed(self.child.child, self.report, stage, self.shake.noise, self.cause, self.status)
