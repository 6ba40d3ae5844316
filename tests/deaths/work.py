"""What the contexts of tests/deaths.rs do."""
import atexit, os, sys, time
from econtext import core
from econtext.core import ChannelError, Receiver, StreamError, takes_router

FOREVER = 10000
kept, held = [], []


def sleep(ready):
    ready.send(os.getpid())
    time.sleep(FOREVER)


def hold_the_interpreter(ready):
    # Another thread gets the interpreter only when a C function gives it back.
    ready.send(os.getpid())
    try:
        import ctypes
        ctypes.PyDLL(None).sleep(FOREVER)
    except (ImportError, AttributeError):  # PyPy
        3 ** 10 ** 9


def size(data):
    return len(data)


def same(data):
    return data


def receiver():
    """The sender of a receiver that never receives."""
    kept.append(Receiver())
    return kept[-1].sender()


def send_until_it_ends(ready, sender):
    """Send more than may be under way; gives why that ended."""
    while sender.send(b'x' * 50000, block=False):
        pass
    ready.send(os.getpid())
    try:
        while True:
            sender.send(b'x' * 50000)
    except ChannelError as error:
        return core.text(error)


def call(ready, context):
    """Call what never returns; gives why that ended."""
    pending = context.call_async('time:sleep', FOREVER)
    ready.send(os.getpid())
    try:
        pending.get()
    except StreamError as error:
        return core.text(error)


def begin_and_leave(context):
    """The same beside what follows."""
    kept.append(context.call_async('time:sleep', FOREVER))


def import_when_told(ready, begin, path):
    """Import a module once the file `begin` says so; write to `path` why it cannot be."""
    ready.send(os.getpid())
    open(begin).close()
    try:
        __import__('late')
        said = 'it came'
    except ImportError as error:
        said = core.text(error)
    with open(path, 'w') as file:
        file.write(said)


def open_at_exit(path):
    """When it ends, wait until somebody writes to the file, and print that."""
    def at_exit():
        with open(path) as file:
            print(file.read())
    atexit.register(at_exit)


def write_at_exit(path, words):
    def at_exit():
        with open(path, 'w') as file:
            file.write(words)
        print('all at exit')
    atexit.register(at_exit)


def print_at_exit(words):
    def at_exit():
        print(words)
    atexit.register(at_exit)


def limit_descriptors(more, and_hard=False):
    """Allow so many beyond those that are open; gives how many that are."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = max(map(int, os.listdir('/proc/self/fd'))) + 1 + more
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most if and_hard else hard))
    return most


def descriptors_allowed():
    import resource
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def use_up_descriptors(more):
    """Leave so many, and no way to have others."""
    core.load('econtext.scarce').MOST_DESCRIPTORS = 0
    limit_descriptors(more)
    try:
        while True:
            held.append(os.dup(0))
    except EnvironmentError:
        for fd in held[len(held) - more:]:
            os.close(held.pop())


def allow_descriptors():
    import resource
    while held:
        os.close(held.pop())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def be_as_with_selinux():
    """Start children as where that is on."""
    core.load('econtext.process').SELINUX = '/proc'


@takes_router
def carriers(router):
    """What carries the stream to the parent."""
    return [core.text(os.readlink('/proc/self/fd/%d' % fd)) for fd in (router.stream.fd_in, router.stream.fd_out)]


def refuse_terminals():
    """Be as with a C library that may not set the owner of a terminal."""
    def openpty():
        raise OSError(13, 'Permission denied')
    os.openpty = openpty


def have_patience(seconds):
    """How long a child may read nothing."""
    core.load('econtext.routes').STUCK_SECONDS = seconds


def queue_little():
    """Be behind with a child sooner."""
    core.load('econtext.routes').QUEUE_BYTES = 1 << 20


@takes_router
def ask_for_ids_while_leaving(router):
    """What code hears that asks for ids of a context that is shutting down."""
    heard, lock = [], core._thread.allocate_lock()
    lock.acquire()

    def ask():
        router.closed = True
        router.routes.take_id(heard.append)
        router.closed = False
        lock.release()
    router.defer(ask)
    router.need()
    lock.acquire()
    return heard


def allow_threads(is_allowed):
    def refuse(*args):
        raise core._thread.error('there are enough')
    if not held:
        held.append(core._thread.start_new_thread)
    core._thread.start_new_thread = held[0] if is_allowed else refuse


@takes_router
def holdings(router):
    """What this process has that a child could leave: a line for each kind."""
    routes = router.routes
    below = []
    for task in os.listdir('/proc/self/task'):
        try:
            with open('/proc/self/task/%s/children' % task) as file:
                below += file.read().split()
        except EnvironmentError:  # it has just ended
            pass
    return [core.text(line) for line in (
        'descriptors: %d' % len(os.listdir('/proc/self/fd')),
        'threads: %d' % len(os.listdir('/proc/self/task')),
        'handlers: %s' % sorted(handle for handle in router.handlers if handle < 1000)
        + ' and %d' % len([handle for handle in router.handlers if handle >= 1000]),
        'watched: %d' % len(router.watched),
        'sources: %d' % len(router.sources),
        'processes: %s' % below,
        'children: %s' % sorted(routes.children if routes else ()),
        'contexts: %s' % sorted(routes.via if routes else ()),
        'imports: %d' % sum(map(len, core.importer.waiting.values())),
    )]
