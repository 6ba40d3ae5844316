"""Golden frames, made with nothing but Python's own struct and hmac.

    python frames.py           print frames.txt
    python frames.py check     compare with the frames.txt beside this file

A line: name, stream key, direction, protect, frame number, dst, src, auth, handle, reply_to, data
(hex), how often that is repeated, and the 44 bytes in front of the data. Speaks Python 2.7 and 3.
"""

import binascii
import hashlib
import hmac
import os
import struct
import sys

KEY = b'0123456789abcdefghij'
EMPTY, NONE = b'', b'\x80\x02N.'
FIELDS = (1, 0, 0, 101, 1000)

# name, key, direction, protect, number, (dst, src, auth, handle, reply_to), data, repeat
FRAMES = [
    ('empty', KEY, b'down', 65536, 0, FIELDS, EMPTY, 0),
    ('none', KEY, b'down', 65536, 0, FIELDS, NONE, 1),
    ('up', KEY, b'up', 65536, 0, FIELDS, NONE, 1),
    ('second', KEY, b'down', 65536, 1, FIELDS, NONE, 1),
    ('zero-key', b'\0' * 20, b'down', 65536, 0, FIELDS, NONE, 1),
    ('largest-fields', KEY, b'up', 65536, 7, (0xffffffff,) * 5, NONE, 1),
    ('fields-apart', KEY, b'up', 65536, 7, (1, 2, 3, 4, 5), NONE, 1),
    ('number-above-32-bits', KEY, b'up', 65536, 2 ** 40 + 3, FIELDS, NONE, 1),
    ('one-hash-block', KEY, b'down', 65536, 0, FIELDS, b'\xff', 32),
    ('below-protect', KEY, b'down', 65536, 0, FIELDS, b'a', 65535),
    ('at-protect', KEY, b'down', 65536, 0, FIELDS, b'a', 65536),
    ('above-protect', KEY, b'down', 65536, 0, FIELDS, b'a', 65537),
    ('protect-nothing', KEY, b'down', 0, 0, FIELDS, NONE, 1),
    ('protect-all', KEY, b'down', 0xffffffff, 0, FIELDS, b'abc', 100000),
]


def head(key, direction, protect, number, fields, data):
    """The 44 bytes in front of `data`."""
    signed = struct.pack('>6I', 20 + len(data), *fields)
    direction_key = hmac.new(key, direction, hashlib.sha1).digest()
    message = struct.pack('>Q', number) + signed + data[:protect]
    return hmac.new(direction_key, message, hashlib.sha1).digest() + signed


def to_hex(data):
    return binascii.hexlify(data).decode('ascii') or '-'


def lines():
    for name, key, direction, protect, number, fields, data, repeat in FRAMES:
        first = head(key, direction, protect, number, fields, data * repeat)
        parts = [name, to_hex(key), direction.decode('ascii'), protect, number]
        parts += list(fields) + [to_hex(data), repeat, to_hex(first)]
        yield ' '.join(str(part) for part in parts)


if __name__ == '__main__':
    made = '\n'.join(lines()) + '\n'
    if sys.argv[1:] == ['check']:
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'frames.txt')) as golden:
            if golden.read() != made:
                sys.exit('frames.txt is not what this Python computes:\n' + made)
    else:
        sys.stdout.write(made)
