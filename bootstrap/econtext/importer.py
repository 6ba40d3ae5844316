"""econtext.importer: loads modules that the parent serves. Fetched when the first of them is needed.

`core.Importer` finds out that the interpreter lacks a module, and comes here. Both protocols: find_module
and load_module of Python 2.7, find_spec and exec_module of 3.
"""
from __future__ import absolute_import
import os, posixpath, sys, zlib
from econtext import core

ENTRY = 'econtext:'  # begins the one entry of the `__path__` of a served package
Spec = type(getattr(sys, '__spec__', None))
if Spec is not type(None):
    class Spec(Spec):
        cached = served = None  # no file holds its code; under which name it is served


def is_own(name):
    """Whether this is a module of the library's: it is not to be seen half executed, since threads of the library's
    take it without the import lock."""
    return name[:9] == 'econtext.'


class Server(object):
    """The loader of served modules, and of those local ones (core.HOOKED) that want a word once loaded."""

    def __init__(self, finder):
        self.finder, self.lent = finder, {}
        self.paths, self.packages = {}, {}  # name of the module of a file; of the package of a directory
        self.hooks = {'logging': take_logging, 'linecache': self.take_linecache, 'threading': take_threading}
        core.HOOKED.update(self.hooks)
        sys.path_hooks.insert(0, self.path_hook)
        for name in self.hooks:
            if name in sys.modules:
                self.hooks[name](sys.modules[name])

    def find_spec(self, name, spec, alias=None):
        """The spec of a module for which the interpreter has `spec`: None, that of a namespace, a hook's, or that of
        one which the parent's precedes. It is to be imported as `alias`."""
        local = spec and spec.loader
        if local and name in self.hooks:
            self.lent[name], spec.loader = local, self
            return spec
        found = None if self.refused(name) else self.find(name)
        if not found or local and core.is_refusal(name, found):
            return spec
        children, path, compressed = found[:3]
        package, local = children is not None, ()
        if package and not compressed:
            local = spec and spec.submodule_search_locations or ()
            path = None
        spec = Spec(alias or name, self, origin=path, is_package=package)
        spec.has_location, spec.served = bool(path), name
        if package:
            spec.submodule_search_locations[:] = list(local) + self.take(name, found)
        return spec

    def refused(self, name):
        """As the finder's, once it knows again what is served at the top level: its caches may have been dropped."""
        if '' not in self.finder.modules and name.partition('.')[0] not in ('econtext', '__main__'):
            self.finder.fetch('')
        return self.finder.refused(name)

    def find(self, name):
        """What is found again after it was executed has failed then, or is reloaded: its source may be another."""
        known = self.finder.modules.get(name)
        again = known and name in self.finder.loaded and not core.is_refusal(name, known)
        return self.finder.fetch(name, again, () if known else further(name))

    def take(self, name, found):
        """Note the directory of a package; returns its `__path__`."""
        children, path, compressed = found[:3]
        directory = (path.rpartition('/')[0] if compressed else path) or name
        self.packages[posixpath.normpath(directory)] = name
        if name in core.HOOKED:  # what is in it is to come from there, too
            core.HOOKED.update(name + '.' + child for child in children)
        return [ENTRY + directory]

    def create_module(self, spec):
        if spec.name in self.lent:
            return self.lent[spec.name].create_module(spec)
        if is_own(spec.name):
            return core.load(spec.name)

    def exec_module(self, module):
        name = module.__name__
        if is_own(name):
            return
        if name not in self.lent:
            return self.execute(module, getattr(getattr(module, '__spec__', None), 'served', None) or name)
        module.__spec__.loader = module.__loader__ = self.lent.pop(name)
        module.__loader__.exec_module(module)
        self.hooks[name](module)

    def execute(self, module, name):
        children, path, compressed = self.found(name)[:3]
        self.finder.loaded.add(name)
        if children is None or compressed:
            module.__file__ = path
            self.paths[path] = name
            # Another thread may be about to import it.
            getattr(sys.modules.get('linecache'), 'cache', {}).pop(path, None)
            exec(self.get_code(name), module.__dict__)

    # 2.7

    def find_module(self, name, path):
        always = name in core.HOOKED and name not in self.hooks
        if always or name in self.hooks or name == '__main__' or not self.is_local(name, path):
            if name in self.hooks or not self.refused(name) and self.find(name):
                return self

    def is_local(self, name, path):
        import imp
        try:
            found = imp.find_module(name.rpartition('.')[2], path)[0]
            if found:
                found.close()
            return True
        except ImportError:
            pass  # imp knows directories only
        for finder in sys.meta_path:
            if finder is not self.finder and finder.find_module(name, path):
                return True
        for entry in sys.path if path is None else path:
            for hook in () if entry in sys.path_importer_cache else sys.path_hooks:
                try:
                    sys.path_importer_cache[entry] = hook(entry)
                    break
                except ImportError:
                    pass
            importer = sys.path_importer_cache.get(entry)
            if importer and importer.find_module(name):
                return True

    def load_module(self, name, served=None):
        """Import the module `served` as `name`."""
        if Spec is not type(None) and served in (None, name):
            from importlib import import_module
            return import_module(name)
        if is_own(name):
            return core.load(name)
        if name in self.hooks:
            self.finder.aside(name, __import__)
            self.hooks[name](sys.modules[name])
            return sys.modules[name]
        fresh, found = name not in sys.modules, self.found(served or name)
        module = sys.modules.setdefault(name, type(sys)(name))
        module.__loader__ = self
        module.__package__ = name.rpartition('.')[0]
        if found[0] is not None:
            module.__package__, module.__path__ = name, self.take(served or name, found)
        try:
            self.execute(module, served or name)
        except BaseException:
            if fresh:
                sys.modules.pop(name, None)
            raise
        if name not in sys.modules:
            raise ImportError('%s has removed itself from sys.modules' % name)
        return sys.modules[name]  # it may have replaced itself

    # The entries of a `__path__`.

    def path_hook(self, path):
        """A directory of ours is one that says so, or that is made from a `__file__` and is not there."""
        if path[:9] != ENTRY and (not self.locate(path)[0] or os.path.isdir(path)):
            raise ImportError('not a directory that a parent serves: %s' % path)
        return Entry(self, path)

    def locate(self, path):
        """The package in whose directory the file `path` lies, and where therein; (None, '') if there is none."""
        parts, rest = posixpath.normpath(path[9:] if path[:9] == ENTRY else path).split('/'), []
        while parts:
            package = self.packages.get('/'.join(parts))
            if package:
                return package, '/'.join(rest)
            rest.insert(0, parts.pop())
        return None, ''

    def get_data(self, path):
        package, rest = self.locate(path)
        if path in self.paths:
            return zlib.decompress(self.found(self.paths[path])[2])
        if not (package and rest):
            raise IOError(2, 'No such file or directory', path)
        return core.load('econtext.resources').read('%s/%s' % (package, rest), path)

    def get_resource_reader(self, name):
        return core.load('econtext.resources').Reader(self, name)

    def find_distributions(self, *context):
        self.finder.ask('econtext.metadata', 'econtext.resources', '/')
        return core.load('econtext.metadata').find_distributions(self, *context)

    # What debuggers and tracebacks ask a loader for.

    def found(self, name):
        found = self.finder.fetch(name)
        if not found:
            raise ImportError('no parent has a module %s' % name)
        return found

    def is_package(self, name):
        return self.found(name)[0] is not None

    def get_filename(self, name):
        return self.found(name)[1]

    def get_code(self, name):
        source, path = self.get_bytes(name), self.get_filename(name)
        try:
            return compile(as_from_file(source, path) if str is bytes else source, path, 'exec', 0, 1)
        except SyntaxError as error:
            # The compiler may have looked for the line in a file of this name, or not at all.
            lines = self.get_lines(name)
            if error.lineno and error.lineno <= len(lines):
                error.text = lines[error.lineno - 1]
            raise

    def get_bytes(self, name):
        compressed = self.found(name)[2]
        return compressed and zlib.decompress(compressed)

    def get_source(self, name):
        source = self.get_bytes(name)
        if str is bytes:
            return source.replace('\r\n', '\n').replace('\r', '\n')
        from importlib.util import decode_source
        return decode_source(source)

    def get_lines(self, name):
        """Its lines as the compiler counts them: what else may separate lines of text, a form feed say, is within.
        Empty if its encoding is not what it says."""
        try:
            source = self.get_source(name)
        except (SyntaxError, UnicodeError, LookupError):
            return []
        return [line + '\n' for line in (source[:-1] if source[-1:] == '\n' else source).split('\n')]

    def take_linecache(self, linecache):
        """Show served source rather than a file that happens to have its name."""
        update = linecache.updatecache

        def updatecache(filename, module_globals=None):
            if filename not in self.paths:
                return update(filename, module_globals)
            lines = self.get_lines(self.paths[filename])
            linecache.cache[filename] = sum(map(len, lines)), None, lines, filename
            return lines
        linecache.updatecache = updatecache


def as_from_file(source, path):
    """What 2.7 would compile if it read `source` from a file: no line goes on behind a NUL, and before the first
    line with what is not ASCII there is an encoding (PEP 263)."""
    if '\0' in source:
        source = ''.join(line.partition('\0')[0] for line in source.splitlines(True))
    try:
        source.decode('ascii')
    except UnicodeError:
        import re
        for number, line in enumerate([] if source[:3] == '\xef\xbb\xbf' else source.splitlines(), 1):
            if number < 3 and re.match(r'[ \t\f]*#.*coding[:=][ \t]*[-\w.]', line):
                break
            other = re.search('[^\0-\x7f]', line)
            if other:
                reason = 'no encoding is declared for %r, which is not ASCII (PEP 263)' % other.group()
                raise SyntaxError(reason, (path, number, 0, None))
    return source


class Entry(object):
    """What sys.path_hooks make of an entry of the `__path__` of a served package, or of a directory below it."""

    def __init__(self, server, path):
        self.server, self.path = server, path

    def served(self, name):
        """The name under which what is imported as `name` from here is served; None while `name` is being found."""
        finder = self.server.finder
        if not finder.busy.intersection(((core._thread.get_ident(), name), core._thread.get_ident())):
            package, rest = self.server.locate(self.path)
            served = package and '.'.join(filter(None, (package, rest.replace('/', '.'), name.rpartition('.')[2])))
            return None if not served or self.server.refused(served) else served

    def find_spec(self, name, target=None):
        served = self.served(name)
        return served and self.server.find_spec(served, None, name)

    def find_module(self, name, path=None):  # 2.7
        served = self.served(name)
        if served and self.server.find(served):
            return self.server if served == name else self

    def load_module(self, name):
        return self.server.load_module(name, self.served(name))

    def iter_modules(self, prefix=''):
        return core.load('econtext.resources').iter_modules(self.server, self.path, prefix)


def further(name):
    """What the import of a dotted name that begins with `name` will ask for next, if frames of importlib tell."""
    whole, frame = name, sys._getframe()
    while frame and not frame.f_code.co_filename.startswith('<frozen importlib'):
        frame = frame.f_back if frame.f_globals.get('__name__', '').startswith('econtext.') else None
    while frame and frame.f_code.co_filename.startswith('<frozen importlib'):
        wanted = frame.f_locals.get('name')
        if isinstance(wanted, str) and wanted.startswith(whole + '.'):
            whole = wanted
        frame = frame.f_back
    parts = whole[len(name) + 1:].split('.') if whole != name else []
    return ['.'.join([name] + parts[:count + 1]) for count in range(len(parts))]


def take_threading(threading):
    """Have what threads raise printed by Python code: the C code of 3.8 to 3.12 finds no served source."""
    def excepthook(args):
        if args.exc_type is not SystemExit:
            import traceback
            lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
            sys.stderr.write('Exception in thread %s:\n%s' % (getattr(args.thread, 'name', '?'), ''.join(lines)))

    if hasattr(threading, 'excepthook'):
        threading.excepthook = excepthook


def take_logging(logging):
    """Send what is logged to the master."""
    busy = set()  # threads whose record made another record

    class LogHandler(logging.Handler):
        def emit(self, record):
            thread = core._thread.get_ident()
            if thread in busy:
                return
            busy.add(thread)
            try:
                try:
                    line = core.text(self.format(record))
                except Exception:
                    line = '%s %s (cannot be formatted)' % (core.text(record.msg), core.text(record.args))
                try:
                    core.router.log(record.name, record.levelno, line)
                except core.StreamError:  # too long, or a forked copy, which still has the pipe of stderr
                    sys.stderr.write('%s: %s\n' % (record.name, line[:65536]))
            except Exception:
                pass
            finally:
                busy.discard(thread)

    root = logging.getLogger()
    root.setLevel(core.router.level)
    root.addHandler(LogHandler())
