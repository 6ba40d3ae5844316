"""econtext.parent: starts contexts from here. Fetched by who has children.

A plan says what to run: it comes from the master, which made it by a method in src/connect, explains what fails and
answers what is asked; or from code here, by one of `local`, `ssh`, `sudo` and `argv`. What happens is told to a
`report`: ('stderr', bytes), ('asked', bytes of the terminal, whether nothing followed for a while), ('found', output),
('up', pid, first message), ('failed', stage, noise, why or None, exit status or None) and ('lost', why or None, exit
status or None).
Only what makes a process is loaded at once: the rest, which takes longer to compile than all of that, is while the
first child's interpreter starts.
Not here: the process once it is there (econtext.start), and who may send what to whom (econtext.routes).
"""
from __future__ import absolute_import
from econtext import core
from econtext.core import router, text, _thread
process = core.load('econtext.process')

SPAWN, PYTHON, CORE, HELLO = 0, 1, 2, 3  # how far a start has come


class ConnectError(core.ChannelError):
    """A context could not be started; the text says why. So do its parts: the context's name, the stage that it came
    to, the reason, the last lines that were printed, and the exit status (of a signal its number below 0) or None."""
    context = stage = reason = status = None
    printed = ''


def local(*args, **kwargs):
    """Start a context on this machine: econtext.methods.local. Gives its core.Context once it is up."""
    return core.load('econtext.methods').local(*args, **kwargs)


def ssh(*args, **kwargs):
    """Start a context on another machine: econtext.methods.ssh."""
    return core.load('econtext.methods').ssh(*args, **kwargs)


def sudo(*args, **kwargs):
    """Start a context of another user: econtext.methods.sudo."""
    return core.load('econtext.methods').sudo(*args, **kwargs)


def argv(*args, **kwargs):
    """Start a context by any program that runs a command: econtext.methods.argv."""
    return core.load('econtext.methods').argv(*args, **kwargs)


def begin(*args):
    """Start a context by plans: econtext.attempt.begin."""
    return core.load('econtext.attempt').begin(*args)


def failed(id, report, *news):
    """Tell that an attempt has failed. Another may follow, unless this context is leaving."""
    report('failed', *news)
    if router.closed and router.routes and id in router.routes.children:
        router.routes.gone(router.routes.children[id])


def leave():
    process.end_loose()
    type(router).leave(router)


router.leave = leave


class Report(object):
    """Tells the master of a start that it asked for, and takes what it says to that."""

    def __init__(self, id, handle):
        self.id, self.handle = id, handle
        self.control = router.add_handler(self.on_word, router.parents)

    def __call__(self, *news):
        if self.handle:
            router.post(0, self.handle, core.encode(news), self.control)
        if news[0] in ('failed', 'lost'):
            self.close()

    def close(self):
        """The master hears no more of this."""
        self.handle = None
        router.handlers.pop(self.control, None)

    def on_word(self, src, auth, reply_to, data):
        child = data is not None and router.routes.children.get(self.id)
        if child and child.start:
            words = core.decode(data)
            if not isinstance(words, tuple):  # the master hears no more of this
                return
            word, value = words
            word = str(word if isinstance(word, str) else word.decode())
            if word == 'answer':
                child.start.terminal.answered(value)
            elif word == 'stop':
                child.start.stop()
            elif word == 'find':
                try:
                    _thread.start_new_thread(self.find, (value,))
                except Exception:  # there are no more threads
                    self('found', b'')

    def find(self, argv):
        try:
            printed = process.printed(argv)
        except Exception:  # it says as little as a program that prints nothing
            printed = b''
        self('found', printed)


def start(id, handle, plan):
    """For the master: start the child `id`, to which there is a route; `handle` of the master is told how that goes."""
    plan = dict((str(key if isinstance(key, str) else key.decode()), plan[key]) for key in plan)
    report = Report(id, handle)
    if plan['pause_ms']:
        def again():
            try:
                _thread.start_new_thread(launch, (id, plan, report))
            except Exception as error:  # there are no more threads
                failed(id, report, SPAWN, b'', text(error), None)
        router.defer(lambda: core.load('econtext.clock').timers.after(plan['pause_ms'] / 1e3, again))
    else:
        launch(id, plan, report)


def give_up(id, handle=None):
    """For the master: there is to be no (further) attempt to start this child."""
    core.load('econtext.routes')

    def forget():
        child = router.routes.children.get(id)
        if child:
            if child.start:
                child.start.report.close()
                child.start.stop()
            router.routes.gone(child)
    router.defer(forget)


def launch(id, plan, report):
    """Start a process by the plan, on this thread."""
    made = None
    try:
        made = (core.load('econtext.fork') if plan.get('fork') else process).Process(plan)
        with router.loading:  # as in run_call()
            core.load('econtext.routes')
            begin = core.load('econtext.start').Start
    except BaseException as error:
        if made:
            made.abandon()
            made.reap()
        if not isinstance(error, Exception):  # of a signal's handler
            raise
        why = process.words(error)
        return router.defer(lambda: failed(id, report, SPAWN, b'', why, None))

    def attach():
        child = router.routes.children.get(id)
        if child and not router.closed:
            begin(child, plan, made, report)
        else:
            made.abandon()
            made.wait(lambda status: None)
            if not child:  # it was given up
                report.close()
            failed(id, report, SPAWN, b'', router.reason or 'it was given up', None)
    router.defer(attach)
