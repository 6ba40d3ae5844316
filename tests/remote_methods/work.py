"""Code that starts contexts below its own, and calls functions there: served by tests/remote_methods.rs."""
import os
import sys
import threading

from econtext import core, parent

started = {}


def local(key, python=None, name=None):
    started[key] = parent.local(python, name)
    return started[key].name


def call(key, target, *args, **kwargs):
    return started[key].call(target, *args, **kwargs)


def attempt(key, target, args):
    """The class and the words of the exception of a call."""
    try:
        started[key].call(target, *args)
    except Exception:
        kind, value = sys.exc_info()[:2]
        return kind.__name__, core.text(value.args[1] if kind is core.CallError else value)


def echo(*args, **kwargs):
    return args, [kwargs[key] for key in kwargs]  # the names of arguments are 8-bit in Python 2


def fail(words):
    raise LookupError(words)


def wait_for(path):
    """Wait for the other end of a FIFO."""
    open(path).close()
    return 'opened'


def impatient(key, path):
    """A call that takes too long to wait for, and comes back after all."""
    pending, late = started[key].call_async('work:wait_for', path), None
    try:
        pending.get(0.01)
    except Exception:
        late = sys.exc_info()[0].__name__
    open(path, 'w').close()
    return late, pending.get(30), pending.get()


def die():
    os._exit(3)


def exchange(key):
    """What comes back of values that pickles of Python 2 and 3 write in different ways."""
    values = [None, True, 7, 1 << 70, 1.5, u'text \u20ac', b'bytes \xff', [1, (2,)], {u'k': u'v'}, set([1])]
    (back,), kwargs = started[key].call('work:echo', values, word=u'\xe9')
    return back == values and kwargs == [u'\xe9'] and [type(value) for value in back] == list(map(type, values))


def waits():
    """Whether an answer is still waited for."""
    return any(type(function).__name__ == 'method' and 'on_answer' in function.__name__
               for function, allowed in core.router.handlers.values())


def argv(key, prefix):
    started[key] = parent.argv(prefix)
    return started[key].name


def words(method, **options):
    """Why a context does not start; nothing where it does, and can be called."""
    try:
        getattr(parent, method)(**options).call('os:getpid')
    except Exception:
        return core.text(sys.exc_info()[1])
    return ''


def fails(method, **options):
    try:
        getattr(parent, method)(**options)
    except Exception:
        return sys.exc_info()[0].__name__


def failure(method, **options):
    """All that there is to know of a start that fails: its words, and their parts."""
    try:
        getattr(parent, method)(**options)
    except parent.ConnectError:
        error = sys.exc_info()[1]
        return core.text(error), error.context, error.stage, error.reason, error.printed, error.status


def ssh_uid(**options):
    """Who one is on the other side of ssh, or why one is not there."""
    try:
        return str(parent.ssh(**options).call('os:getuid'))
    except Exception:
        return core.text(sys.exc_info()[1])


def double(key, text):
    """What is too long, made of less."""
    return attempt(key, 'work:echo', [text + text])


def sudo_uid(user):
    """Who one is once sudo has made one another."""
    return parent.sudo(user).call('os:getuid')


def broken_plans():
    """What a start says to plans that nobody can run, and where its own code fails; and the children then."""
    def ways():
        raise LookupError('no way')
        yield
    said = []
    for plans in [({'name': 'x', 'timeout_ms': 100}, None)], [({'name': 'x', 'argv': [b'sh', None]}, None)], ways():
        try:
            parent.begin('x', plans)
        except Exception:
            said.append(sys.exc_info()[0].__name__)
    gone, count = threading.Event(), []
    core.router.defer(lambda: (count.append(len(core.router.routes.children)), gone.set()))
    gone.wait()
    return said, count[0]


def without_terminal():
    """A context is started on a terminal that the system does not let it have."""
    methods, fcntl = core.load('econtext.methods'), core.load('econtext.process').fcntl

    class Refusing(object):
        def __getattr__(self, name):
            return getattr(fcntl, name)

        def ioctl(self, *args):
            raise OSError(1, 'Operation not permitted')
    core.load('econtext.process').fcntl = Refusing()
    command, stage = methods.launch(sys.executable)
    started['x'] = parent.begin('x', [(methods.plan('x', command, stage, asks='terminal'), None)])
    return started['x'].call('os:getppid') == os.getpid()


def refused():
    """What start says to arguments that it cannot take; each is to name the argument."""
    said = []
    for method, name, options in [
            ('argv', 'prefix', {'prefix': 'nice'}), ('argv', 'prefix', {'prefix': ['nice', None]}),
            ('ssh', 'args', {'host': 'web', 'args': '-v'}), ('ssh', 'host', {'host': None}),
            ('ssh', 'on_prompt', {'host': 'web', 'on_prompt': 'yes'}), ('sudo', 'args', {'args': '-H'}),
            ('sudo', 'on_prompt', {'on_prompt': 1}), ('local', 'python', {'python': ''}),
            ('local', 'env', {'env': {'A': None}}), ('local', 'timeout', {'timeout': None}),
            ('local', 'timeout', {'timeout': '3'}), ('local', 'timeout', {'timeout': float('inf')}),
            ('local', 'timeout', {'timeout': float('nan')})]:
        try:
            getattr(parent, method)(**options)
            said.append('%s %r: nothing' % (method, options))
        except (ValueError, TypeError):
            words = core.text(sys.exc_info()[1])
            if not words.startswith(name + '= takes '):
                said.append('%s %r: %s' % (method, options, words))
    return said
