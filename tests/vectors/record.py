"""Records what the picklers of real Pythons write, as tests/vectors/pickles.txt.

    python3 record.py PYTHON...     runs itself in each Python, and writes the file

A line is: name of the value, who writes it so (version/protocol), the pickle in hex, and its notation (notation.py),
`refused`, or `=` for what is in the line above; between tabs. Before a line is written the Python that made it has read it back.
Runs on 2.7 and 3.6 on.
"""
from __future__ import print_function, unicode_literals

import binascii
import collections
import datetime
import decimal
import io
import os
import pickle
import platform
import subprocess
import sys
import time

import notation

Point = collections.namedtuple(str('Point'), [str('x'), str('y')])


class Plain(object):
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class OldStyle:  # in 2.7, it is
    def __init__(self):
        self.x = 1


class Initialised:
    def __init__(self, x):
        pass

    def __getinitargs__(self):
        return (5,)


class Slots(object):
    __slots__ = (str('a'),)


class ListWithName(list):
    pass


class DictWithName(dict):
    pass


class SetWithName(set):
    pass


class IntWithName(int):
    pass


class TextWithName(type('')):
    pass


class Keywords(object):
    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (1,), {'k': 2}


class Outer(object):
    class Inner(object):
        pass


def function():
    pass


def values():
    """Names and values. Those of the Python at hand only, where a name says so."""
    yield 'none', None
    yield 'true', True
    yield 'false', False
    for bits in (0, 7, 8, 15, 16, 31, 32, 62, 63, 64, 127, 2040):
        yield '2**%d' % bits, 2 ** bits
        yield '2**%d-1' % bits, 2 ** bits - 1
        yield '-2**%d' % bits, -2 ** bits
        yield '-2**%d-1' % bits, -2 ** bits - 1
    for number in (0.0, -0.0, 1.5, 0.1, 1e300, 5e-324, float('inf'), float('-inf'), float('nan')):
        yield 'float %r' % number, number
    yield 'text, empty', ''
    yield 'text', 'text'
    yield 'text, escapes', 'a\\u0041\n\r\x00\x1a\'"'
    yield 'text, latin', '\xe9\xff'
    yield 'text, wide', '\u20ac\U0001f600'
    yield 'text, long', '\xe9' * 200
    yield 'text, surrogate escapes', 'caf\udce9\udcff.txt'
    yield 'text, other surrogate', 'a\ud800b'
    yield 'bytes, empty', b''
    yield 'bytes', b'bytes'
    yield 'bytes, quotes', b'a\'b"c\\d\n'
    yield 'bytes, all', bytes(bytearray(range(256)))
    yield 'bytes, long', b'x' * 300
    yield 'bytearray, empty', bytearray()
    yield 'bytearray', bytearray(b'\x00\xff')
    yield 'list, empty', []
    yield 'list, one', [1]
    yield 'list', [1, 'a', None, [True, []]]
    yield 'list, beyond a batch', [None] * 1003
    for count in range(5):
        yield 'tuple of %d' % count, tuple(range(count))
    yield 'dict, empty', {}
    yield 'dict, one', {'a': 1}
    yield 'dict', {1: 'a', 'b': [2], (3, 4): {}}
    yield 'set, empty', set()
    yield 'set', {1, 'a', (2, 3)}
    yield 'frozenset', frozenset([1, 2])
    yield 'complex', 1 - 2j

    shared = [1]
    yield 'shared list', [shared, shared, (shared,), {'a': shared}]
    text = 'again'
    yield 'shared text', [text, text, {text: text}]
    recursive = []
    recursive.append(recursive)
    yield 'recursive list', recursive
    recursive = {}
    recursive[1] = (recursive,)
    yield 'recursive dict', recursive
    recursive = ([],)
    recursive[0].append(recursive)
    yield 'recursive tuple', recursive
    recursive = Plain()
    recursive.me = recursive
    yield 'recursive object', recursive

    yield 'named tuple', Point(1, 'b')
    yield 'struct sequence', os.stat_result(range(10))
    yield 'time', time.gmtime(0)
    yield 'ordered dict', collections.OrderedDict([('b', 1), ('a', 2)])
    yield 'ordered dict, empty', collections.OrderedDict()
    counts = collections.defaultdict(int)
    counts['a'] = 1
    yield 'default dict', counts
    yield 'counter', collections.Counter('aab')
    yield 'deque', collections.deque([1, 2])
    yield 'deque, bounded', collections.deque([1, 2], 5)
    yield 'date', datetime.date(2016, 8, 27)
    yield 'time delta', datetime.timedelta(1, 2, 3)
    yield 'decimal', decimal.Decimal('1.50')
    yield 'exception', ValueError('x', 5)
    yield 'os error', OSError(2, 'No such file')
    yield 'plain object', Plain(x=1, y=[2])
    yield 'plain object, empty', Plain()
    yield 'old style object', OldStyle()
    yield 'old style object, initialised', Initialised(5)
    slots = Slots()
    slots.a = 1
    yield 'slots', slots
    for cls in (ListWithName, SetWithName):
        value = cls([1, 2])
        value.x = 1
        yield cls.__name__, value
    value = DictWithName(a=1)
    value.x = 1
    yield 'DictWithName', value
    yield 'IntWithName', IntWithName(5)
    yield 'TextWithName', TextWithName('a')
    yield 'keywords', Keywords()
    yield 'nested class', Outer.Inner()
    yield 'class', Plain
    yield 'function', function
    yield 'built-in type', int
    try:
        import pathlib
        yield 'path', pathlib.PurePosixPath('/usr/lib')
    except ImportError:
        pass


def picklers():
    """Functions of a value and a protocol: what is written in C, and in Python."""
    yield pickle.dumps
    if sys.version_info[0] == 2:
        import cPickle
        yield cPickle.dumps
    else:
        yield pickle._dumps


def record():
    """Prints a line for each value and protocol of this Python: name, protocol, hex, notation."""
    for name, value in values():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for dumps in picklers():
                try:
                    data = dumps(value, protocol)
                except Exception:  # what a protocol or a version cannot do, say slots in protocol 0
                    continue
                if name.startswith('recursive'):
                    expected = 'refused'
                else:
                    expected = notation.notation(notation.load(data))
                    try:
                        direct = notation.notation(value)
                    except TypeError:
                        direct = expected  # of no built-in type
                    assert expected == direct, (name, protocol, expected, direct)
                print(name, protocol, binascii.hexlify(data).decode(), expected, sep='\t')


def main(pythons):
    lines = collections.OrderedDict()
    for python in pythons:
        env = {'PYTHONHASHSEED': '0', 'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONIOENCODING': 'ascii'}
        output = subprocess.check_output([python, __file__, '--one'], env=env).decode()
        version, _, rest = output.partition('\n')
        for line in rest.splitlines():
            name, protocol, data, expected = line.split('\t')
            who = lines.setdefault((name, data, expected), [])
            if '%s/%s' % (version, protocol) not in who:
                who.append('%s/%s' % (version, protocol))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'pickles.txt')
    with io.open(path, 'w', newline='\n') as out:
        above = None
        for (name, data, expected), who in sorted(lines.items(), key=lambda line: line[0][0]):
            expected, above = '=' if expected == above else expected, expected
            out.write('\t'.join([name, ' '.join(who), data, expected]) + '\n')


if __name__ == '__main__':
    if sys.argv[1:] == ['--one']:
        implementation = platform.python_implementation().replace('CPython', '')
        print(implementation.lower() + platform.python_version())
        record()
    else:
        main(sys.argv[1:])
