"""A ProxyCommand of ssh's: what goes either way arrives this long after it was sent, in order, and as much as comes.

delay.py MILLISECONDS HOST PORT
"""
import collections
import os
import select
import socket
import sys
import time

DELAY = float(sys.argv[1]) / 1000
peer = socket.create_connection((sys.argv[2], int(sys.argv[3])))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
# Each way: from where, to where, and what is on the way with the time at which it is there.
ways = [(0, peer.fileno(), collections.deque()), (peer.fileno(), 1, collections.deque())]
sources = {source: under_way for source, _, under_way in ways}
while True:
    due = [under_way[0][0] for _, _, under_way in ways if under_way]
    wait = max(0, min(due) - time.monotonic()) if due else None
    for source in select.select(list(sources), [], [], wait)[0]:
        data = os.read(source, 1 << 16)
        sources[source].append((time.monotonic() + DELAY, data))
        if not data:
            del sources[source]
    for _, target, under_way in ways:
        while under_way and under_way[0][0] <= time.monotonic():
            data = under_way.popleft()[1]
            if not data:  # either end is the end of both, and ssh's own is what it shows
                sys.exit()
            while data:
                data = data[os.write(target, data):]
