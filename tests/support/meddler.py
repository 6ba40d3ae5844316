"""Stands between a program and a real child, and changes one frame on its way.

    meddler.py -c LOADER        as an interpreter, by way of a script that names a real one

MEDDLE in the environment says what to do: `up:forge:1` changes the second frame that the child sends,
`down:forge:0` the first that it is to receive. The ways are the functions below. PYTHON is the real
interpreter. Ends as the child does.
"""
import hashlib
import hmac
import os
import pickle
import re
import struct
import subprocess
import sys
import threading

direction, way, number = os.environ['MEDDLE'].split(':')
keys = {}


def signed(frame, frame_number):
    """The frame with the MAC that it should have."""
    body = frame[20:44 + 65536]
    return hmac.new(keys[direction], struct.pack('>Q', frame_number) + body, hashlib.sha1).digest() + frame[20:]


def with_data(frame, data):
    return signed(frame[:20] + struct.pack('>L', 20 + len(data)) + frame[24:44] + data, int(number))


# What becomes of the frame, and of the one after it (`held` is then the first): bytes, or None for the end.

def forge(frame):
    return frame[:-1] + bytes(bytearray([frame[-1] ^ 1]))


def replay(frame):
    return frame + frame


def drop(frame):
    return b''


def truncate(frame):
    os.write(target[direction], frame[:-1])


def header_only(frame):
    os.write(target[direction], frame[:30])


def lengthen(frame):
    return frame[:20] + struct.pack('>L', 0x7fffffff) + frame[24:]


def shorten(frame):
    return frame[:20] + struct.pack('>L', 5) + frame[24:]


def print_(frame):
    return b'a stray \x1b[31mprint, and what else somebody has to say about it.\n' + frame


def swap_source(frame):
    return signed(frame[:28] + struct.pack('>LL', 77, 77) + frame[36:], int(number))


def swap_target(frame):
    return signed(frame[:24] + struct.pack('>L', 77) + frame[28:], int(number))


def swap_handle(frame):
    return signed(frame[:36] + struct.pack('>L', 77) + frame[40:], int(number))


def garbage(frame):
    return with_data(frame, b'garbage')


def none(frame):
    return with_data(frame, b'N.')


def dead(frame):
    reason = b'it \x1b[31mended\nhere'
    return with_data(frame, b'\x80\x02cecontext.core\n_DEAD\nX' + struct.pack('<L', len(reason)) + reason + b'\x85R.')


def raised(frame):
    words = [b'app.\x1b[31mRed', b'\nfirst \x1b]0;title\x07\nsecond', b'Traceback\n']
    parts = b''.join(b'X' + struct.pack('<L', len(part)) + part for part in words)
    return with_data(frame, b'\x80\x02cecontext.core\nCallError\n' + parts + b'\x87R.')


def read(fd, count):
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 16))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b''.join(parts)


def write(fd, data):
    while data:
        data = data[os.write(fd, data):]


def pass_frames(name, source, to):
    held = None
    count = 0
    while True:
        head = read(source, 24)
        frame = head + (read(source, struct.unpack('>L', head[20:])[0]) if len(head) == 24 else b'')
        if not head:
            return
        if name == direction and count == int(number):
            if way == 'reorder':
                held, frame = frame, b''
            else:
                frame = globals()[way](frame)
                if frame is None:
                    return
        elif held:
            frame, held = frame + held, None
        write(to, frame)
        count += 1


def go_down():
    stage = read(0, int(re.search(r'n=(\d+);', sys.argv[2]).group(1)))
    core = read(0, int(re.match(br"N,L='[^']*',(\d+)\n", stage).group(1)))
    length = read(0, 4)
    config = read(0, struct.unpack('>L', length)[0])
    key = pickle.loads(config, encoding='bytes')[2]
    for name in 'up', 'down':
        keys[name] = hmac.new(key, name.encode(), hashlib.sha1).digest()
    ready.set()
    write(target['down'], stage + core + length + config)
    try:
        pass_frames('down', 0, target['down'])
    except OSError:
        pass  # the child has gone
    child.stdin.close()


child = subprocess.Popen([os.environ['PYTHON']] + sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
target = {'up': 1, 'down': child.stdin.fileno()}
ready = threading.Event()
threading.Thread(target=go_down, daemon=True).start()
source = child.stdout.fileno()
write(1, read(source, 8))
ready.wait()
try:
    pass_frames('up', source, 1)
except OSError:
    pass  # the program has gone
if direction == 'up':
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    child.kill()
status = child.wait()
os._exit(0 if direction == 'up' else status)
