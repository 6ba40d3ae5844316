"""Checks vectors, and random values for the Rust tests, under the Python that runs it.

    python check.py             each line of rust.txt (what the encoder wrote: hex, notation) loads to its notation,
                                and so does each pickle of pickles.txt that this Python can read
    python check.py --pipe      reads pickles in hex, one a line; prints for each its notation, and then its pickle
                                in each protocol of this Python, between tabs

Runs on 2.7 and 3.6 on.
"""
from __future__ import print_function

import binascii
import io
import os
import pickle
import sys
import types

import notation

HERE = os.path.dirname(os.path.abspath(__file__))


def install_core():
    """Stands in for the classes that the project sends."""
    core = types.ModuleType('econtext.core')
    for name in ('Context', 'Sender', 'CallError', '_DEAD'):
        setattr(core, name, notation.inert('econtext.core.' + name))
    sys.modules['econtext'] = types.ModuleType('econtext')
    sys.modules['econtext.core'] = core


def loads(data):
    """As a child does."""
    if sys.version_info[0] == 2:
        import cPickle
        return cPickle.loads(data)
    return pickle.loads(data, encoding='bytes')


def lines(name):
    with io.open(os.path.join(HERE, name), encoding='ascii') as vectors:
        for line in vectors:
            yield line.rstrip('\n').split('\t')


def protocol_of(data):
    return bytearray(data)[1] if data[:1] == b'\x80' else 0


def check():
    count = 0
    for data, expected in lines('rust.txt'):
        found = notation.notation(loads(binascii.unhexlify(data)))
        assert found == expected, (data, expected, found)
        count += 1
    above = None
    for name, who, data, expected in lines('pickles.txt'):
        above = expected = above if expected == '=' else expected
        data = binascii.unhexlify(data)
        if expected != 'refused' and protocol_of(data) <= pickle.HIGHEST_PROTOCOL:
            found = notation.notation(notation.load(data))
            assert found == expected, (name, who, expected, found)
            count += 1
    print('%d vectors' % count)


def pipe():
    for line in sys.stdin:
        value = loads(binascii.unhexlify(line.strip()))
        answer = [notation.notation(value)]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            answer.append(binascii.hexlify(pickle.dumps(value, protocol)).decode())
        print('\t'.join(answer))


if __name__ == '__main__':
    install_core()
    if sys.argv[1:] == ['--pipe']:
        pipe()
    else:
        check()
