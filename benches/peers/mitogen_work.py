"""Mitogen as a contender: calls by `Context.call`, bulk by calls and by its raw messages."""

import importlib
import os
import sys
import time

import mitogen.core
import mitogen.master
import mitogen.utils

import bulk
import mitogen_raw
from work import Clock, at_once, check, serve

PYTHON = sys.argv[1]
PATIENCE = 150  # seconds: a hundred starts at once take more than its own 30 on a busy machine

broker = mitogen.master.Broker()
router = mitogen.master.Router(broker)
contexts = []
pids = []


def connect(*place):
    """A context. Places: local; ssh, configuration, port, control path; chain, levels and the place of the first."""
    if place[0] == 'chain':
        context = connect(*place[2:])
        for _ in range(1, int(place[1])):
            context = router.local(via=context, python_path=PYTHON, connect_timeout=PATIENCE)
        return context
    if place[0] == 'local':
        return router.local(python_path=PYTHON, connect_timeout=PATIENCE)
    args = ['-F', place[1]]
    for path in place[3:]:
        args += ['-o', 'ControlPath=' + path]
    return router.ssh(hostname='127.0.0.1', port=int(place[2]), ssh_args=args, python_path=PYTHON,
                      check_host_keys='enforce', compression=False,
                      connect_timeout=PATIENCE)


def start(*place):
    with Clock() as clock:
        context = connect(*place)
        pid = context.call(os.getpid)
    contexts.append(context)
    pids.append(pid)
    return clock.seconds, pid


def close():
    """Until the process is gone, which `shutdown` does not wait for."""
    with Clock() as clock:
        contexts.pop().shutdown(wait=True)
        path = '/proc/%d' % pids.pop()
        while os.path.exists(path):
            time.sleep(.0002)
    return clock.seconds,


def fleet(count):
    def one():
        context = connect('local')
        pids.append(context.call(os.getpid))
        contexts.append(context)

    return at_once(one, int(count)),


def calls(count):
    with Clock() as clock:
        for _ in range(int(count)):
            contexts[-1].call(os.getpid)
    return clock.seconds,


def queued(count):
    with Clock() as clock:
        waiting = [contexts[-1].call_async(os.getpid) for _ in range(int(count))]
        for receiver in waiting:
            receiver.get().unpickle()
    return clock.seconds,


def module():
    with Clock() as clock:
        contexts[-1].call(bulk.take, b'')
    return clock.seconds,


def serve_modules(directory):
    """What this program can import is what its children can."""
    with Clock() as clock:
        sys.path.insert(0, directory)
    return clock.seconds,


def first(target):
    """The import here, without which nothing can be called, is not counted."""
    name, _, function = target.partition(':')
    function = getattr(importlib.import_module(name), function)
    with Clock() as clock:
        contexts[-1].call(function)
    return clock.seconds,


def counted():
    """No time, requests, modules sent."""
    responder = router.responder
    return 1, responder.get_module_count, responder.good_load_module_count


def up(count):
    block = bulk.block()
    contexts[-1].call(bulk.take, b'')
    with Clock() as clock:
        for _ in range(int(count)):
            check(contexts[-1].call(bulk.take, block), bulk.SIZE)
    return clock.seconds,


def down(count):
    contexts[-1].call(bulk.give)
    with Clock() as clock:
        for _ in range(int(count)):
            check(len(contexts[-1].call(bulk.give)), bulk.SIZE)
    return clock.seconds,


def raw_up(count, size=bulk.SIZE):
    block = bulk.block()[:int(size)]
    ready = mitogen.core.Receiver(router)
    done = contexts[-1].call_async(mitogen_raw.take, ready.to_sender(), int(count))
    sender = ready.get().unpickle()
    with Clock() as clock:
        for _ in range(int(count)):
            message = mitogen.core.Message(data=block, handle=sender.dst_handle)
            sender.context.send(message)
        check(done.get().unpickle(), int(count) * len(block))
    return clock.seconds,


def raw_down(count):
    blocks = mitogen.core.Receiver(router)
    contexts[-1].call(bulk.give)
    contexts[-1].call(mitogen_raw.ready)
    with Clock() as clock:
        contexts[-1].call_no_reply(mitogen_raw.give, blocks.to_sender(), int(count))
        for _ in range(int(count)):
            check(len(blocks.get(throw_dead=True).data), bulk.SIZE)
    return clock.seconds,


def send(count, size):
    """All of it, without waiting for the answers."""
    block = os.urandom(int(size))
    with Clock() as clock:
        waiting = [contexts[-1].call_async(bulk.take, block) for _ in range(int(count))]
        for receiver in waiting:
            check(receiver.get().unpickle(), len(block))
    return clock.seconds,


if __name__ == '__main__':
    mitogen.utils.log_to_file(level='ERROR')
    serve(start, close, fleet, calls, queued, module, up, down, raw_up, raw_down, send, first, counted,
          serve=serve_modules)
    broker.shutdown()
    broker.join()
