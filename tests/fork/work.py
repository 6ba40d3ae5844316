"""What copies of a context do, and the contexts that they are copies of: served by tests/fork.rs."""
import atexit
import logging
import os
import random
import sys
import threading
import warnings

from econtext import core, parent
process = core.load('econtext.process')
later = core.load('econtext.clock')

loaded = []  # what was done in this process, or in one that it is a copy of
held = {}


def load(item):
    loaded.append(item)
    return loaded


def who():
    return os.getpid(), os.getppid(), os.getsid(0)


def draws():
    """What random generators give here. (That of ssl, where there is one.)"""
    try:
        import ssl
        sure = ssl.RAND_bytes(8)
    except Exception:
        sure = os.urandom(8)
    return [core.text(random.random()), repr(sure)]


def late():
    """A module that nobody has asked for yet."""
    import unasked
    return unasked.NAME


def connections():
    """The pipes and sockets of this process, by their numbers in the kernel, but for what it says to its parent."""
    found = []
    for name in os.listdir('/proc/self/fd'):
        if int(name) == core.router.errors:
            continue
        try:
            target = os.readlink('/proc/self/fd/' + name)
        except OSError:  # that of the listing itself
            continue
        if target.startswith(('pipe:', 'socket:')):
            found.append(target)
    return found


def log(words):
    logging.getLogger('work').error(words)
    print(words)


def grip(path):
    """Have a thread hold the lock of logging, and that of a module's import, until `path` is opened."""
    ready = threading.Event()

    def run():
        logging._acquireLock() if hasattr(logging, '_acquireLock') else logging._lock.acquire()
        try:
            ready.set()
            open(path).close()
        finally:
            logging._releaseLock() if hasattr(logging, '_releaseLock') else logging._lock.release()
    held['thread'] = threading.Thread(target=run)
    held['thread'].start()
    ready.wait()


def let_go(path):
    open(path, 'w').close()
    held['thread'].join()


def own(receiver_too):
    """Keep the ends of channels."""
    held['receiver'] = core.Receiver()
    held['sender'] = held['receiver'].sender()


def use():
    """What becomes of them in a copy."""
    said = []
    for function in held['receiver'].get, lambda: held['sender'].send(1):
        try:
            function()
        except core.ChannelError:
            said.append(core.text(sys.exc_info()[1]))
    fresh = core.Receiver()
    fresh.sender().send('through')
    return said + [core.text(fresh.get())]


def say_at_exit(words):
    atexit.register(lambda: sys.stdout.write(words + '\n'))


def start_below():
    """A context that a copy starts, and its parent by the number of the process."""
    return parent.local(sys.executable).call('os:getppid'), os.getpid()


def wait_for(path):
    open(path).close()


def children():
    """The processes below this one, zombies too."""
    return [int(pid) for pid in open('/proc/self/task/%d/children' % os.getpid()).read().split()]


class Held(object):
    """A file with a lock, as those of the interpreter have."""

    def __init__(self):
        self.lock = threading.Lock()

    def write(self, data):
        pass

    def flush(self):
        with self.lock:
            pass


def hold_stdout():
    """Have another thread be in the middle of printing whenever a copy is made."""
    sys.stdout, fork = Held(), process.fork

    def fork_while_printing(pids):
        printing.acquire()
        fork(pids)
        if pids[0]:
            printing.release()
    printing, process.fork = sys.stdout.lock, fork_while_printing


def forget_filters():
    """Have another thread empty the filters of warnings whenever a copy is made."""
    fork = os.fork

    def fork_and_forget():
        del warnings.filters[:]
        return fork()
    os.fork = fork_and_forget


def copy_in_between():
    """Have the user's code copy the process while a start makes its own copy; gives what ends these copies."""
    fork, (hold, held['end']) = process.fork, os.pipe()

    def fork_twice(pids):
        process.fork = fork
        if not os.fork():
            os.close(held['end'])
            os.read(hold, 1)
            os._exit(0)
        os.close(hold)
        fork(pids)
    process.fork = fork_twice


def end_copies():
    os.close(held['end'])


def led(function):
    """What a function gives on the thread that leads."""
    done, given = threading.Event(), []
    core.router.defer(lambda: (given.append(function()), done.set()))
    done.wait()
    return given[0]


def timers_without_threads():
    """The timers that come, where no thread is to be had for the first."""
    timers, came, done = later.Clock(), [], threading.Event()
    start = core._thread.start_new_thread

    def none(*args):
        raise RuntimeError("can't start new thread")

    def begin():
        core._thread.start_new_thread = none
        try:
            timers.after(0, lambda: came.append('first'))
        finally:
            core._thread.start_new_thread = start
        timers.after(.001, lambda: (came.append('second'), done.set()))
    led(begin)
    done.wait()
    return came


def say_ended():
    """Say that processes have ended which have not; how many there are that can be watched."""
    router = core.router
    watched = [function for function in router.watched.values() if function.__name__ == 'ended']
    led(lambda: [function() for function in watched])
    return len(watched)


def starting(number):
    """Have threads start contexts that never come up, and wait for their processes."""
    def start():
        try:
            parent.argv(['sh', '-c', 'exec sleep 600'])
        except Exception:
            pass
    before = len(core.router.routes.children) if core.router.routes else 0
    for _ in range(number):
        thread = threading.Thread(target=start)
        thread.daemon = True
        thread.start()
    while True:
        found = list(core.router.routes.children.values()) if core.router.routes else []
        if len(found) == before + number and all(child.start for child in found):
            return
        threading.Event().wait(.01)
