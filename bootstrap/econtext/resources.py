"""econtext.resources: the data files of served packages. Fetched when the first of them is wanted.

A file is asked for as 'package/where/it/is'; its answer has the first piece, and the names of the others. A
directory is asked for with a slash at its end. The files of no package are what the roots say of what is
installed there. Directories are remembered until importlib.invalidate_caches(), files are not.
"""
from __future__ import absolute_import
import io, zlib
from econtext import core

AHEAD = 8  # how many pieces are under way while one is read


def fetch(name, path, piece=False):
    try:
        found = core.importer.fetch(name) if piece or '\n' not in name else None
    except ImportError as error:  # the stream has ended
        raise IOError(5, str(error), path)
    if not found:
        raise IOError(2, 'No such file or directory', path)
    if found[0] is None and not found[2]:  # the parent could not read it, for that reason
        core.importer.modules.pop(name, None)
        raise IOError(5, found[1], path)
    return found


def listing(package, where):
    """What is in a directory: `file`, `directory/`, `package/__init__.py`; IOError if it is none."""
    name = '%s/%s' % (package, where and where + '/')
    return fetch(name, name)[0]


def entries(package, where):
    """The same; nothing for what is no directory."""
    try:
        return listing(package, where)
    except IOError as error:
        if error.errno != 2:
            raise
        return []


class File(io.RawIOBase):
    """A file that is read piece by piece, while the next ones come."""

    asked = ()  # nothing, for close(), if there is no such file

    def __init__(self, name, path):
        if name[-1] == '/':
            raise IOError(21, 'Is a directory', path)
        found = fetch(name, path)
        core.importer.modules.pop(name, None)
        self.name, self.pieces, self.asked = path, [name] + found[3], set()
        self.at, self.number, self.piece = 0, 0, zlib.decompress(found[2])
        self.size = len(self.piece) or 1  # of each piece but the last

    def readable(self):
        return True

    seekable = readable

    def load(self, number):
        """Have this piece here, and the next ones on their way if the last one was before it."""
        ahead = self.pieces[number:number + AHEAD + 1] if number == self.number + 1 else ()
        core.importer.ask(*[name for name in ahead if name not in self.asked])
        self.asked.update(ahead)
        name, self.piece, self.number = self.pieces[number], b'', number
        self.asked.discard(name)
        try:
            self.piece = zlib.decompress(fetch(name, self.name, True)[2])
        finally:
            core.importer.modules.pop(name, None)

    def readinto(self, buffer):
        number, start = divmod(self.at, self.size)
        if number >= len(self.pieces) or not len(buffer):
            return 0
        if number != self.number:
            self.load(number)
        part = self.piece[start:start + len(buffer)]
        buffer[:len(part)] = part
        self.at += len(part)
        return len(part)

    def seek(self, offset, whence=0):
        if whence == 2:
            last = len(self.pieces) - 1
            if self.number != last:
                self.load(last)
            offset += last * self.size + len(self.piece)
        elif whence:
            offset += self.at
        if offset < 0:
            raise IOError(22, 'Invalid argument', self.name)
        self.at = offset
        return offset

    def tell(self):
        return self.at

    def close(self):
        while not self.closed and self.asked:  # what nobody wants any more, but will come
            name = self.asked.pop()
            try:
                core.importer.fetch(name)
            except ImportError:
                break
            core.importer.modules.pop(name, None)
        super(File, self).close()


def open_file(name, path):
    """The file as if it were opened for reading bytes."""
    file = File(name, path)
    return io.BufferedReader(file, file.size) if len(file.pieces) > 1 else io.BytesIO(file.piece)


def read(name, path):
    """All of a file."""
    file = File(name, path)
    if len(file.pieces) == 1:
        return file.piece
    with file:
        whole = io.BytesIO()
        whole.write(file.piece)
        for number in range(1, len(file.pieces)):
            file.load(number)
            whole.write(file.piece)
        return whole.getvalue()


def iter_modules(server, path, prefix):
    """What pkgutil.iter_modules() yields, less the finder: names and whether they are packages."""
    package, where = server.locate(path)
    seen = set(['__init__'])
    for entry in sorted(entries(package, where)) if package else ():
        name, is_directory, init = entry.partition('/')
        if not is_directory and name[-3:] == '.py':
            name = name[:-3]
        elif not init:
            continue
        if name not in seen and '.' not in name:
            seen.add(name)
            yield prefix + name, bool(init)


class Path(object):
    """A file or directory in a package, as importlib.resources has them (Traversable)."""

    def __init__(self, package, where=''):
        self.package, self.where = package, where

    @property
    def name(self):
        return self.where.rpartition('/')[2] or self.package.rpartition('.')[2]

    @property
    def parent(self):
        return Path(self.package, self.where.rpartition('/')[0])

    def __repr__(self):
        return 'Path(%r, %r)' % (self.package, self.where)

    def __str__(self):
        return 'econtext:%s/%s' % (self.package, self.where)

    def __eq__(self, other):
        return isinstance(other, Path) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    def joinpath(self, *names):
        package, parts = self.package, []
        for part in '/'.join((self.where,) + tuple(map(str, names))).split('/'):
            if part == '..' and parts and parts[-1] != '..':
                parts.pop()
            elif part == '..' and not parts and '.' in package:
                package = package.rpartition('.')[0]
            elif part not in ('', '.'):
                parts.append(part)
        return Path(package, '/'.join(parts))

    def __truediv__(self, name):
        return self.joinpath(name)

    def iterdir(self):
        found = self.attempt(listing, self, self.package, self.where)
        return (self.joinpath(entry.partition('/')[0]) for entry in found)

    def kind(self):
        """A slash for a directory, '' for a file, None for what does not exist."""
        if not self.where:
            return '/'
        for entry in entries(self.package, self.where.rpartition('/')[0]):
            name, slash, _ = entry.partition('/')
            if name == self.name:
                return slash

    def is_dir(self):
        return self.kind() == '/'

    def is_file(self):
        return self.kind() == ''

    def exists(self):
        return self.kind() is not None

    def attempt(self, function, above, *args):
        """Call `function(*args)`. Where it finds nothing, say why: this is a directory, or `above` lies in a file."""
        try:
            return function(*args)
        except IOError as error:
            if error.errno != 2:
                raise
        reason = (21, 'Is a directory') if self.is_dir() else (2, 'No such file or directory')
        while above.where and reason[0] == 2:
            reason, above = (20, 'Not a directory') if above.is_file() else reason, above.parent
        raise IOError(*reason + (str(self),))

    def read(self, function):
        return self.attempt(function, self.parent, '%s/%s' % (self.package, self.where), str(self))

    def open(self, mode='r', buffering=-1, encoding=None, errors=None, newline=None):
        if mode not in ('r', 'rb', 'rt', 'br', 'tr'):
            raise ValueError('what a parent serves can only be read, not opened with %r' % mode)
        file = self.read(open_file)
        return file if 'b' in mode else io.TextIOWrapper(file, encoding, errors, newline)

    def read_bytes(self):
        return self.read(read)

    def read_text(self, encoding=None, errors=None):
        with self.open('r', -1, encoding, errors) as file:
            return file.read()


class Merged(object):
    """The directories of a namespace package that is in part local."""

    def __init__(self, parts):
        self.parts, self.name = parts, parts[-1].name

    def is_dir(self):
        return True

    def is_file(self):
        return False

    def joinpath(self, *names):
        found = self
        for part in [part for name in names for part in str(name).split('/') if part not in ('', '.')]:
            found = found.child(part) if isinstance(found, Merged) else found.joinpath(part)
        return found

    __truediv__ = joinpath

    def child(self, name):
        found = [part.joinpath(name) for part in self.parts]
        there = [path for path in found if path.exists()] or found[-1:]
        if len(there) == 1 or there[0].is_file():
            return there[0]
        return Merged([path for path in there if path.is_dir()])

    def iterdir(self):
        return (self.child(name) for name in sorted(set(path.name for part in self.parts for path in part.iterdir())))

    def open(self, *args, **kwargs):
        raise IOError(21, 'Is a directory', self.name)

    read_bytes = read_text = open


class Reader(object):
    """What importlib.resources asks a loader for."""

    def __init__(self, server, name):
        children, path, compressed = server.found(name)[:3]
        self.root = Path(name if children is not None else name.rpartition('.')[0])
        if children is not None and not compressed:
            from importlib.util import find_spec
            from pathlib import Path as Local
            local = [Local(entry) for entry in find_spec(name).submodule_search_locations if entry[:9] != 'econtext:']
            if local:
                self.root = Merged(local + [self.root])

    def files(self):
        return self.root

    # Before there was files().

    def open_resource(self, resource):
        return self.root.joinpath(resource).open('rb')

    def resource_path(self, resource):
        raise IOError(2, 'No such file or directory', str(resource))

    def is_resource(self, name):
        return self.root.joinpath(name).is_file()

    def contents(self):
        return [path.name for path in self.root.iterdir()]
