"""Values in one line of ASCII, the same for every Python and for the Rust tests.

    None True 5 f3ff8000000000000 'text\\u{e9}' b'bytes\\xff' [list] (tuple,) {key: value} set(1, 2)
    <module.Class args=(..) kwargs={..} state=.. items=[..] entries={..}>

Floats are their bits, dicts and sets are sorted by notation, and what an object is empty of is left out.

Beside it, `load()`: a pickle read by Python's own machine, with inert objects in place of all classes.
Runs on 2.7 and 3.6 on.
"""
import codecs
import io
import pickle
import struct
import sys

if sys.version_info[0] == 2:
    text_type, int_types = unicode, (int, long)  # noqa: F821
else:
    text_type, int_types = str, (int,)

BUILT_INS = ('__builtin__', 'builtins', 'exceptions')


class Inert(object):
    """An object of any class: what was done to it. Each class gets a subclass, for NEWOBJ wants one."""
    name = None

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self.args, self.kwargs, self.state, self.items, self.entries = args, kwargs, None, [], []
        return self

    def __init__(self, *args, **kwargs):
        pass

    def __hash__(self):
        return id(self)

    def __call__(self, *args):  # a partial, say
        return inert('operator.call')(self, *args)

    def __setstate__(self, state):
        self.state = (state,)

    def __len__(self):
        return len(self.items)

    def append(self, item):
        self.items.append(item)

    def extend(self, items):
        self.items.extend(items)

    def __setitem__(self, key, value):
        if isinstance(key, slice):  # how 2.7 appends
            self.items[key] = value
        else:
            self.entries.append((key, value))


def inert(name):
    return type(str('Inert'), (Inert,), {'name': name})


def reconstructor(cls, base, content):
    self = cls()
    if isinstance(content, list):
        self.items = content
    elif isinstance(content, dict):
        self.entries = list(content.items())
    elif base.name != 'object':
        self.args = content if isinstance(content, tuple) else (content,)
    return self


REAL = {
    'set': set, 'frozenset': frozenset, 'bytes': bytes,
    # The encoding of a bytearray out of 2.7 is bytes, which the real one of 3 does not take.
    'bytearray': lambda *args: bytearray(*args[:1] + tuple(map(as_str, args[1:]))),
    '_codecs.encode': lambda text, encoding: codecs.encode(text, as_str(encoding)),
    'getattr': lambda outer, name: inert(outer.name + '.' + as_str(name)),
    'copy_reg._reconstructor': reconstructor, 'copyreg._reconstructor': reconstructor,
    'copy_reg.__newobj__': lambda cls, *args: cls(*args),
    'copyreg.__newobj__': lambda cls, *args: cls(*args),
    'copyreg.__newobj_ex__': lambda cls, args, kwargs: cls(*args, **kwargs),
}


def as_str(name):
    return name if isinstance(name, str) else name.decode() if isinstance(name, bytes) else str(name)


class Unpickler(getattr(pickle, '_Unpickler', pickle.Unpickler)):
    """Python's own machine, written in Python, without its classes."""

    def find_class(self, module, name):
        name = name if module in BUILT_INS else module + '.' + name
        return REAL.get(name) or inert(name)


def load(data):
    if sys.version_info[0] == 2:
        return Unpickler(io.BytesIO(data)).load()
    return Unpickler(io.BytesIO(data), fix_imports=False, encoding='bytes').load()


def notation(value):
    kind = type(value)
    if value is None or kind is bool:
        return str(value)
    if kind in int_types:
        return '%d' % value
    if kind is float:
        return 'fnan' if value != value else 'f%016x' % struct.unpack('>Q', struct.pack('>d', value))
    if kind is text_type:
        return text_notation(value)
    if kind in (bytes, bytearray):
        return 'b' + quote(bytearray(value), '\\x%02x')
    if kind is list:
        return '[%s]' % ', '.join(map(notation, value))
    if kind is tuple:
        return '(%s%s)' % (', '.join(map(notation, value)), ',' * (len(value) == 1))
    if kind is dict:
        return entries_notation(value.items())
    if kind in (set, frozenset):
        return 'set(%s)' % ', '.join(sorted(map(notation, value)))
    if isinstance(value, Inert):
        parts = [value.name]
        if value.args:
            parts.append('args=' + notation(tuple(value.args)))
        if value.kwargs:
            parts.append('kwargs=' + notation(value.kwargs))
        if value.state:
            parts.append('state=' + notation(value.state[0]))
        if value.items:
            parts.append('items=' + notation(value.items))
        if value.entries:
            parts.append('entries=' + entries_notation(value.entries))
        return '<%s>' % ' '.join(parts)
    if kind is type and issubclass(value, Inert):
        return '<%s>' % value.name
    for name, real in REAL.items():
        if value is real:
            return '<%s>' % name
    raise TypeError('no notation for %r' % (value,))


def entries_notation(entries):
    return '{%s}' % ', '.join(sorted(notation(k) + ': ' + notation(v) for k, v in entries))


def text_notation(value):
    errors = 'strict' if sys.version_info[0] == 2 else 'surrogatepass'  # 2.7 lets surrogates pass anyway
    data = value.encode('utf-32-be', errors)
    codes = struct.unpack('>%dI' % (len(data) // 4), data)
    if not any(0xd800 <= code < 0xe000 for code in codes):
        return quote(codes, '\\u{%x}')
    data = bytearray()  # surrogate escapes are the bytes that they stand for
    for code in codes:
        if 0xdc80 <= code < 0xdd00:
            data.append(code - 0xdc00)
        elif 0xd800 <= code < 0xe000:
            data += bytearray([0xe0 | code >> 12, 0x80 | code >> 6 & 63, 0x80 | code & 63])
        else:
            data += struct.pack('>I', code).decode('utf-32-be').encode('utf-8')
    return 'b' + quote(data, '\\x%02x')


def quote(codes, escape):
    plain = [code for code in range(0x20, 0x7f) if chr(code) not in '\'\\']
    return "'%s'" % ''.join(chr(code) if code in plain else escape % code for code in codes)
