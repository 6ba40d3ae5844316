"""execnet as a contender: its call is an item sent down a channel and one that comes back."""

import os
import sys

import execnet

import bulk
from work import Clock, at_once, check, serve

PYTHON = sys.argv[1]
PID = 'import os; channel.send(os.getpid())'
ECHO = 'for item in channel: channel.send(item)'
TAKE = 'for block in channel: channel.send(len(block))'
GIVE = 'import os\nblock = os.urandom(%d)\nfor _ in channel: channel.send(block)' % bulk.SIZE

group = execnet.Group()
gateways = []
channels = {}


def connect(*place):
    """A gateway and the process id of its child. Places: local; ssh, configuration, port, control path; chain, levels
    and the place of the first."""
    if place[0] == 'chain':
        gateway, pid = connect(*place[2:])
        for _ in range(1, int(place[1])):
            gateway = group.makegateway('popen//python=%s//via=%s' % (PYTHON, gateway.id))
            pid = gateway.remote_exec(PID).receive()
        return gateway, pid
    spec = 'popen//python=%s' % PYTHON
    if place[0] == 'ssh':
        options = '-F %s -p %s' % place[1:3] + ''.join(' -o ControlPath=' + it for it in place[3:])
        spec = 'ssh=%s 127.0.0.1//python=%s' % (options, PYTHON)
    gateway = group.makegateway(spec)
    return gateway, gateway.remote_exec(PID).receive()


def start(*place):
    with Clock() as clock:
        gateway, pid = connect(*place)
    gateways.append(gateway)
    channels.clear()
    return clock.seconds, pid


def close():
    with Clock() as clock:
        gateway = gateways.pop()
        gateway.exit()
        gateway.join()
        gateway._io.wait()
    return clock.seconds,


def fleet(count):
    return at_once(lambda: gateways.append(connect('local')[0]), int(count)),


def channel_to(source):
    """The channel to that code in the latest child, ready when this returns."""
    if source not in channels:
        channels[source] = gateways[-1].remote_exec(source)
        if source != GIVE:
            channels[source].send(b'')
            channels[source].receive()
    return channels[source]


def items(source, blocks, answer, ahead=1):
    """Sends each block, and receives as many items that `answer` accepts; `ahead` may be under way."""
    channel = channel_to(source)
    with Clock() as clock:
        under_way = 0
        for block in blocks:
            channel.send(block)
            under_way += 1
            if under_way >= ahead:
                answer(channel.receive())
                under_way -= 1
        for _ in range(under_way):
            answer(channel.receive())
    return clock.seconds,


def calls(count):
    return items(ECHO, range(int(count)), int)


def queued(count):
    return items(ECHO, range(int(count)), int, ahead=int(count))


def remote_exec(count):
    with Clock() as clock:
        for _ in range(int(count)):
            gateways[-1].remote_exec(PID).receive()
    return clock.seconds,


def remote_exec_queued(count):
    with Clock() as clock:
        waiting = [gateways[-1].remote_exec(PID) for _ in range(int(count))]
        for channel in waiting:
            channel.receive()
    return clock.seconds,


def module():
    with Clock() as clock:
        gateways[-1].remote_exec(bulk).waitclose()
    return clock.seconds,


def up(count):
    return items(TAKE, [bulk.block()] * int(count), lambda size: check(size, bulk.SIZE))


def down(count):
    channel_to(GIVE).send(0)
    channel_to(GIVE).receive()
    return items(GIVE, range(int(count)), lambda block: check(len(block), bulk.SIZE))


def send(count, size):
    """All of it, without waiting for what comes back."""
    block = os.urandom(int(size))
    answer = lambda taken: check(taken, len(block))
    return items(TAKE, [block] * int(count), answer, ahead=int(count))


def stream(count, size):
    return send(count, size)


serve(start, close, fleet, calls, queued, remote_exec, remote_exec_queued, module, up, down, send, stream)
group.terminate(timeout=10)
