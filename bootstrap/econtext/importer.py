"""econtext.importer: loads modules that the parent serves. Fetched when the first of them is needed.

`core.Importer` finds out that the interpreter lacks a module, and comes here. Both protocols: find_module
and load_module of Python 2.7, find_spec and exec_module of 3.
"""
from __future__ import absolute_import
import sys, zlib
from econtext import core


class Server(object):
    """The loader of served modules, and of those local ones (core.HOOKED) that want a word once loaded."""

    def __init__(self, finder):
        self.finder, self.paths, self.lent = finder, {}, {}
        self.hooks = {'logging': take_logging, 'linecache': self.take_linecache, 'threading': take_threading}
        core.HOOKED.update(self.hooks)
        for name in self.hooks:
            if name in sys.modules:
                self.hooks[name](sys.modules[name])

    def find_spec(self, name, spec):
        """The spec of a module for which the interpreter has `spec`: none, that of a namespace, or a hook's."""
        if spec and spec.loader:
            self.lent[name], spec.loader = spec.loader, self
            return spec
        found = self.find(name)
        if not found:
            return spec
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, self, origin=found[1], is_package=found[0] is not None)

    def find(self, name):
        """What is found again after it was executed has failed then, or is reloaded: its source may be another."""
        known = self.finder.modules.get(name)
        return self.finder.fetch(name, known and self.paths.get(known[1]) == name)

    def create_module(self, spec):
        if spec.name in self.lent:
            return self.lent[spec.name].create_module(spec)

    def exec_module(self, module):
        name = module.__name__
        if name not in self.lent:
            return self.execute(module)
        module.__spec__.loader = module.__loader__ = self.lent.pop(name)
        module.__loader__.exec_module(module)
        self.hooks[name](module)

    def execute(self, module):
        name = module.__name__
        module.__file__ = self.get_filename(name)
        self.paths[module.__file__] = name
        exec(self.get_code(name), module.__dict__)

    # 2.7

    def find_module(self, name, path):
        if name in self.hooks or name == '__main__' or not self.is_local(name, path):
            if name in self.hooks or not self.finder.refused(name) and self.find(name):
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

    def load_module(self, name):
        if name in self.hooks:
            self.finder.aside(name, __import__)
            self.hooks[name](sys.modules[name])
            return sys.modules[name]
        module = sys.modules.setdefault(name, type(sys)(name))
        module.__loader__ = self
        module.__package__ = name.rpartition('.')[0]
        if self.is_package(name):
            module.__package__, module.__path__ = name, []
        try:
            self.execute(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return sys.modules[name]  # it may have replaced itself

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
        source, path = self.get_data_of(name), self.get_filename(name)
        try:
            return compile(source, path, 'exec', 0, 1)
        except SyntaxError as error:
            # The compiler may have looked for the line in a file of this name, or not at all.
            lines = self.get_source(name).splitlines(True)
            if error.lineno and error.lineno <= len(lines):
                error.text = lines[error.lineno - 1]
            raise

    def get_data_of(self, name):
        """The source as it is; a namespace package has none."""
        compressed = self.found(name)[2]
        return compressed and zlib.decompress(compressed)

    def get_source(self, name):
        source = self.get_data_of(name)
        if str is bytes:
            return source.replace(b'\r\n', b'\n')
        from importlib.util import decode_source
        return decode_source(source)

    def take_linecache(self, linecache):
        """Show served source rather than a file that happens to have its name."""
        update = linecache.updatecache

        def updatecache(filename, module_globals=None):
            if filename not in self.paths:
                return update(filename, module_globals)
            source = self.get_source(self.paths[filename])
            linecache.cache[filename] = len(source), None, source.splitlines(True), filename
            return linecache.cache[filename][2]
        linecache.updatecache = updatecache


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
