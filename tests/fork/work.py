"""What copies of a context do, and the contexts that they are copies of: served by tests/fork.rs."""
import atexit
import logging
import os
import random
import sys
import threading

from econtext import core, parent

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
