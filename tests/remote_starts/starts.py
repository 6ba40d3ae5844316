# -*- coding: utf-8 -*-
"""Starts that are made again, ask, or are given up: served by tests/remote_starts.rs."""
import gc
import os
import signal
import sys
import threading

from econtext import core, parent


def words(method, **options):
    """Why a context does not start; nothing where it does."""
    try:
        getattr(parent, method)(**options)
    except parent.ConnectError:
        return core.text(sys.exc_info()[1])
    return ''


def note(path):
    with open(path, 'a') as notes:
        notes.write('x\n')
    with open(path) as notes:
        return str(len(notes.readlines()))


def count(path):
    try:
        return parent.ssh('web1').call('starts:note', path)
    except parent.ConnectError:
        return core.text(sys.exc_info()[1])


def asked(answers):
    """What on_prompt is asked, and whether by the thread that starts the context."""
    said, thread = [], threading.current_thread()

    def answer(prompt):
        said.append(tuple(prompt) + (threading.current_thread() is thread,))
        return answers[len(said) - 1]
    parent.ssh('web1', on_prompt=answer).call('os:getpid')
    return said


def sudo_asked(answers):
    said = []

    def answer(prompt):
        said.append((prompt.kind, prompt.text, prompt.attempt))
        return answers[len(said) - 1].encode('ascii')
    parent.sudo(on_prompt=answer).call('os:getpid')
    return said


def handled(kind):
    """How a start ends whose question is dealt with in this way."""
    def handle(prompt):
        if kind == 'raises':
            raise KeyError('nobody')
        return {'none': None, 'two lines': 'a\nb'}[kind]
    try:
        parent.ssh('web1', on_prompt=handle)
    except Exception:
        return sys.exc_info()[0].__name__, core.text(sys.exc_info()[1])


def open_files():
    gc.collect()  # PyPy closes what nobody has any more when it collects
    found = set()
    for fd in os.listdir('/proc/self/fd'):
        try:
            found.add('%s %s' % (fd, os.readlink('/proc/self/fd/' + fd)))
        except EnvironmentError:
            pass  # that by which it is listed
    return found


def processes():
    """The child processes of this one, by their states."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % pid) as stat:
                name, _, rest = stat.read().rpartition(')')
        except EnvironmentError:
            continue
        if rest.split()[1] == str(os.getpid()):
            found.append(name + rest[:2])
    return found


def settled(check, seconds=10):
    """What check() finds in the end, when it finds nothing or the time is over."""
    deadline, found = core.clock() + seconds, check()
    while found and core.clock() < deadline:
        threading.Event().wait(.01)
        found = check()
    return sorted(found)


def left():
    return settled(processes)


def routes():
    found, there = [], threading.Event()
    core.router.defer(lambda: (found.extend(core.router.routes.via), there.set()))
    there.wait()
    return found


class Interrupted(BaseException):
    pass


def interrupted():
    """Starts that a signal's handler interrupts sooner or later: how many it did, and what is left of them."""
    def interrupt(number, frame):
        raise Interrupted
    parent.ssh('web1')  # all code is here
    settled_files = open_files()
    kept = len(processes())
    old, count = signal.signal(signal.SIGALRM, interrupt), 0
    try:
        for ms in list(range(1, 40, 3)) + [60, 100]:
            for prefix in ['slow'], ['sh', '-c', 'printf EC0; exec sleep 60']:
                try:
                    signal.setitimer(signal.ITIMER_REAL, ms / 1e3, 5)  # again, where that comes in a finalizer, say
                    try:
                        parent.argv(prefix)
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupted:
                    count += 1
    finally:
        signal.signal(signal.SIGALRM, old)
    more = settled(lambda: processes()[kept:])
    return count, more + settled(lambda: open_files() - settled_files)


def placed(path):
    context = parent.local(sys.executable, env={'WORD': u'\xe9lan vital'}, cwd=path)
    return context.call('os:getenv', 'WORD'), context.call('os:getenv', 'PATH'), context.call('os:getcwd')


def shut_down():
    """How a call ends of a context that is told to end meanwhile; and one that begins then."""
    context, said = parent.local(sys.executable, 'ended'), []
    pending = context.call_async('time:sleep', 60)
    context.shutdown()
    for wait in pending.get, lambda: context.call('os:getpid'):
        try:
            wait()
        except Exception:
            said.append(sys.exc_info()[0].__name__)
    return said, left()


def hold_imports(path):
    """Have another thread import a module that waits for the other end of a FIFO."""
    begun = starts_begun
    thread = threading.Thread(target=__import__, args=('waits_for_a_fifo',))
    os.environ['FIFO'] = path
    thread.start()
    begun.wait()
    return thread


starts_begun = threading.Event()


def while_another_imports(path):
    """Why a start fails that is made while another thread imports, and what is left of it after that."""
    parent.local(sys.executable).shutdown()
    words('local', python='/nonexistent')  # all code is here
    thread = hold_imports(path)
    said = words('local', python=sys.executable, timeout=.1)
    open(path, 'w').close()
    thread.join()
    return said, left()


def start_late(path):
    """A context starts another while it is shutting down: `path` is told how that ends."""
    parent.local(sys.executable)
    with open(path, 'w') as told:
        while not core.router.closed:
            threading.Event().wait(.001)
        try:
            parent.local(sys.executable)
        except Exception:
            told.write('%s: %s' % (sys.exc_info()[0].__name__, sys.exc_info()[1]))


def start_and_stop_there(path):
    """A process is there, and nothing is there yet that looks after it: `path` is told its pid."""
    parent.local(sys.executable).shutdown()  # all code is here
    with core.router.loading:
        script = 'echo $$ >%s; exec sleep 600' % path
        threading.Thread(target=words, args=('argv',), kwargs={'prefix': ['sh', '-c', script]}).start()
        threading.Event().wait()


def storm():
    """Programs that are run while signals come whose handler raises: how many it has interrupted, and what is left."""
    def interrupt(number, frame):
        raise Interrupted
    process = core.load('econtext.process')
    process.output([b'true'])
    old, count = signal.signal(signal.SIGALRM, interrupt), 0
    try:
        for step in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, .0001 + step % 60 / 6000.)
                try:
                    process.output([b'sleep', b'.005'])
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                count += 1
    finally:
        signal.signal(signal.SIGALRM, old)
    return count, left(), len(process.loose)
