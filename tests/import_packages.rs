//! Promise: what looks into packages finds served ones as it finds those of a directory: `pkgutil`, `runpy`,
//! `importlib`, and whoever joins paths to a package's `__path__`.

use std::fs;

mod support;

use support::{Run, TempDir, for_each_python, isolated};

#[test]
fn pkgutil_lists_served_packages() {
    const CODE: &str = r#"
import os, pkgutil, sys
import pkg

def check():
    listed = [(name, ispkg) for _, name, ispkg in pkgutil.iter_modules(pkg.__path__)]
    assert listed == [('broken', False), ('management', True), ('mod', False), ('sub', True)], listed
    listed = [(name, ispkg) for _, name, ispkg in pkgutil.iter_modules(pkg.__path__, 'pkg.')]
    assert listed[0] == ('pkg.broken', False), listed
    # As Django looks for commands, of a package that may not be imported yet.
    commands = os.path.join(pkg.__path__[0], 'management', 'commands')
    assert 'pkg.management' not in sys.modules
    listed = [(name, ispkg) for _, name, ispkg in pkgutil.iter_modules([commands])]
    assert listed == [('run', False), ('stop', False)], listed
    walked = [(name, ispkg) for _, name, ispkg in pkgutil.walk_packages(pkg.__path__, 'pkg.')]
    assert walked == [
        ('pkg.broken', False), ('pkg.management', True), ('pkg.management.commands', True),
        ('pkg.management.commands.run', False), ('pkg.management.commands.stop', False),
        ('pkg.mod', False), ('pkg.sub', True), ('pkg.sub.leaf', False)], walked
    for nothing in os.path.join(pkg.__path__[0], 'absent'), os.path.join(pkg.__path__[0], 'data'), 'econtext:/absent':
        assert not list(pkgutil.iter_modules([nothing])), nothing
    import space
    assert [name for _, name, ispkg in pkgutil.walk_packages(space.__path__, 'space.')] == ['space.one', 'space.two']
    return 'fine'

def load():
    """What plug-in systems do: a module under a name of its own, by the finder that listed it."""
    for finder, name, ispkg in pkgutil.iter_modules([os.path.join(pkg.__path__[0], 'management', 'commands')]):
        if sys.version_info > (3,):
            from importlib.util import module_from_spec
            spec = finder.find_spec(name)
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            assert module.__spec__.name == name
        else:
            module = finder.find_module(name).load_module(name)
        assert (module.__name__, module.WHICH) == (name, 'command ' + name), module
        assert module.__file__.endswith('/pkg/management/commands/%s.py' % name), module.__file__
    loader = pkgutil.find_loader('pkg.mod') if hasattr(pkgutil, 'find_loader') else pkg.__loader__
    assert loader.load_module('pkg.mod').NAME == 'pkg.mod'
    assert loader.load_module('pkg.mod') is sys.modules['pkg.mod']
    if sys.version_info > (3,):
        from importlib.machinery import PathFinder
        spec = PathFinder.find_spec('pkg.sub', pkg.__path__)
        assert spec.origin.endswith('/pkg/sub/__init__.py'), spec
        assert PathFinder.find_spec('pkg.absent', pkg.__path__) is None
    return 'fine'
"#;
    isolated(|| {
        let (dir, second) = (TempDir::new(), TempDir::new());
        dir.file("pkg/__init__.py", "");
        dir.file("pkg/mod.py", "NAME = __name__\n");
        dir.file("pkg/broken.py", "raise RuntimeError('not to be imported')\n");
        dir.file("pkg/data/x.txt", "");
        dir.file("pkg/sub/__init__.py", "");
        dir.file("pkg/sub/leaf.py", "");
        dir.file("pkg/management/__init__.py", "");
        dir.file("pkg/management/commands/__init__.py", "");
        for name in ["run", "stop"] {
            let source = format!("WHICH = 'command {name}'\n");
            dir.file(&format!("pkg/management/commands/{name}.py"), source);
        }
        dir.file("space/one.py", "");
        second.file("space/two.py", "");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).path(second.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
            // One request a directory; pkg.broken was never imported.
            let requests = run.requests();
            assert!(!requests.iter().any(|name| name.contains("broken")), "{requests:?}");
            let of_pkg = requests.iter().filter(|name| *name == "+pkg/").count();
            assert_eq!(of_pkg, 1, "{requests:?}");
            assert_eq!(run.text("app:load", ()), "fine");
        });
    });
}

#[test]
fn a_package_without_init_has_no_file_and_may_be_in_part_local() {
    const CODE: &str = r#"
import sys

def served(directory):
    import space, space.inner
    assert not hasattr(space, '__file__') or space.__file__ is None
    assert list(space.__path__) == ['econtext:' + directory + '/space'], space.__path__
    assert space.__package__ == 'space' and space.__name__ == 'space'
    assert space.inner.__path__ == ['econtext:' + directory + '/space/inner']
    assert space.inner.__file__ == directory + '/space/inner/__init__.py'
    assert space.__loader__.is_package('space') and space.__loader__.get_source('space') == ''
    assert not vars(space).keys() - MODULE if sys.version_info > (3,) else True
    if sys.version_info > (3,):
        spec = space.__spec__
        assert spec.origin is None and not spec.has_location and spec.submodule_search_locations is space.__path__
    return 'fine'

MODULE = set('''__name__ __doc__ __package__ __loader__ __spec__ __path__ inner __file__'''.split())

def merged(path):
    sys.path.append(path)
    import partly.local, partly.served
    assert partly.local.WHERE == 'local' and partly.served.WHERE == 'served'
    assert list(partly.__path__)[0] == path + '/partly' and list(partly.__path__)[1][:9] == 'econtext:'
    import pkgutil
    listed = sorted(name for _, name, ispkg in pkgutil.iter_modules(partly.__path__))
    assert listed == ['local', 'served'], listed
    import partly.deep.local, partly.deep.served
    try:
        import partly.absent
    except ImportError:
        return 'fine'
"#;
    isolated(|| {
        let (dir, local) = (TempDir::new(), TempDir::new());
        dir.file("space/inner/__init__.py", "");
        for (root, name) in [(&dir, "served"), (&local, "local")] {
            root.file(&format!("partly/{name}.py"), format!("WHERE = {name:?}\n"));
            root.file(&format!("partly/deep/{name}.py"), "");
        }
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:served", (dir.path().to_str().unwrap(),)), "fine");
            if python.version > (3, 0) {
                assert_eq!(run.text("app:merged", (local.path().to_str().unwrap(),)), "fine");
            }
        });
    });
}

#[test]
fn modules_are_found_and_run_by_name() {
    const CODE: &str = r#"
import importlib, pickle, runpy, sys
import pkg.thing

def check():
    assert importlib.import_module('pkg.mod').__name__ == 'pkg.mod'
    assert importlib.import_module('.mod', 'pkg') is sys.modules['pkg.mod']
    ran = runpy.run_module('pkg.script', run_name='__main__')
    assert ran['RESULT'] == ('__main__', 'pkg'), ran['RESULT']
    assert ran['__file__'].endswith('pkg/script.py')
    assert runpy.run_module('pkg')['RESULT'] == 'pkg.__main__'
    for protocol in 0, 1, 2, pickle.HIGHEST_PROTOCOL:
        thing = pickle.loads(pickle.dumps(pkg.thing.Thing(7), protocol))
        assert type(thing) is pkg.thing.Thing and thing.value == 7
    if sys.version_info > (3,):
        from importlib.util import find_spec
        assert 'pkg.lazy' not in sys.modules
        spec = find_spec('pkg.lazy')
        assert spec.name == 'pkg.lazy' and spec.has_location and spec.origin.endswith('pkg/lazy.py'), spec
        assert 'pkg.lazy' not in sys.modules
        assert find_spec('pkg.absent') is None and find_spec('absent') is None
        assert spec.loader.get_code('pkg.lazy').co_filename == spec.origin
        assert find_spec('pkg').submodule_search_locations == pkg.__path__
        assert spec.cached is None and not hasattr(pkg.thing, '__cached__')
        assert repr(pkg.thing) == "<module 'pkg.thing' from %r>" % pkg.thing.__file__, repr(pkg.thing)
        from importlib.util import LazyLoader, module_from_spec
        spec.loader = LazyLoader(spec.loader)
        lazy = module_from_spec(spec)
        spec.loader.exec_module(lazy)
        assert lazy.NAME == 'pkg.lazy'
    return 'fine'
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("pkg.__init__", "").source("pkg.mod", "").source("app", CODE);
                modules.source("pkg.__main__", "RESULT = __name__\n");
                modules.source("pkg.script", "RESULT = __name__, __package__\n");
                modules.source("pkg.lazy", "NAME = __name__\n");
                modules.source(
                    "pkg.thing",
                    "class Thing(object):\n    def __init__(self, value): self.value = value\n",
                );
            });
            assert_eq!(run.text("app:check", ()), "fine");
        });
    });
}

#[test]
fn a_package_may_replace_itself_while_it_is_executed() {
    const PACKAGE: &str = r#"
import sys, types
class Package(types.ModuleType):
    @property
    def late(self):
        return 'late ' + self.sub.NAME
new = Package(__name__)
for name in '__path__', '__file__', '__package__', '__loader__', '__spec__':
    if name in globals():
        setattr(new, name, globals()[name])
sys.modules[__name__] = new
import pkg.sub
"#;
    const CODE: &str = "import pkg, sys\nfrom pkg import sub\ndef check():\n    from pkg import other\n    \
        assert type(pkg).__name__ == 'Package' and sys.modules['pkg'] is pkg and pkg.sub is sub\n    \
        return pkg.late + other.NAME\n";
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("pkg.__init__", PACKAGE).source("app", CODE);
                modules.source("pkg.sub", "NAME = 'sub'\n").source("pkg.other", "NAME = 'other'\n");
            });
            assert_eq!(run.text("app:check", ()), "late subother");
        });
    });
}

#[test]
fn a_reload_brings_new_lines_to_tracebacks_and_a_failing_one_keeps_the_module() {
    const CODE: &str = r#"
import inspect, io, sys, traceback
try:
    from importlib import reload
except ImportError:
    pass
import pkg.changing as changing

def trace():
    try:
        changing.fail()
    except ValueError:
        traceback.print_exc()
        return traceback.format_exc().splitlines()[-2].strip()

def again():
    assert reload(changing) is changing is sys.modules['pkg.changing']
    return trace() + inspect.getsource(changing.fail).splitlines()[-1]

def fails():
    try:
        reload(changing)
    except SyntaxError:
        assert sys.modules['pkg.changing'] is changing
        return changing.NAME

def package():
    import pkg
    path = pkg.__path__
    assert reload(pkg) is pkg and pkg.changing is changing and list(pkg.__path__) == list(path)
    return pkg.NAME
"#;
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            dir.file("pkg/__init__.py", "NAME = 1\n");
            let text = |name: &str| {
                format!("NAME = '{name}'\ndef fail():\n    raise ValueError('{name}')\n")
            };
            dir.file("pkg/changing.py", text("before"));
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:trace", ()), "raise ValueError('before')");
            dir.file("pkg/changing.py", format!("\n\n\n{}", text("afterwards")));
            let line = "raise ValueError('afterwards')";
            assert_eq!(run.text("app:again", ()), format!("{line}    {line}"));
            run.log.wait_for("the traceback that the child prints", |record| {
                record.logger == "stderr" && record.message == format!("    {line}")
            });
            dir.file("pkg/changing.py", "NAME = (\n");
            assert_eq!(run.text("app:fails", ()), "afterwards");
            dir.file("pkg/__init__.py", "NAME = 'new'\n");
            assert_eq!(run.text("app:package", ()), "new");
        });
    });
}

#[test]
fn modules_that_are_always_the_programs_precede_installed_ones() {
    const CODE: &str = r#"
import sys

def check(path):
    sys.path.insert(0, path)
    import both, pkg.mod, only, space.both, space.installed
    assert (both.WHERE, pkg.mod.WHERE, only.WHERE) == ('served', 'served', 'installed')
    assert not hasattr(pkg, 'extra')
    try:
        import pkg.extra
    except ImportError:
        pass
    else:
        raise AssertionError
    assert space.both.WHERE == 'served'
    assert space.installed.WHERE == 'installed'
    import whole.part, whole
    assert (whole.WHERE, whole.part.WHERE) == ('installed', 'served')
    return 'fine'
"#;
    const EXTEND: &str =
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n";
    isolated(|| {
        let (dir, local) = (TempDir::new(), TempDir::new());
        for (root, name) in [(&dir, "served"), (&local, "installed")] {
            let text = format!("WHERE = {name:?}\n");
            for file in
                ["both.py", "pkg/__init__.py", "pkg/mod.py", "space/both.py", "whole/part.py"]
            {
                root.file(file, &text);
            }
            root.file("whole/__init__.py", &text);
        }
        for file in ["only.py", "pkg/extra.py", "space/installed.py"] {
            local.file(file, "WHERE = 'installed'\n");
        }
        for_each_python(|python| {
            for root in [&dir, &local] {
                // 2.7 has no other packages of several parts.
                let init = root.file("space/__init__.py", EXTEND);
                if python.version > (3, 0) {
                    fs::remove_file(init).unwrap();
                }
            }
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
                modules.always(["both", "pkg", "only", "space", "whole.part"]);
            });
            assert_eq!(run.text("app:check", (local.path().to_str().unwrap(),)), "fine");
        });
    });
}

#[test]
fn invalidate_caches_forgets_what_was_not_there() {
    const CODE: &str = r#"
import sys

def find(name):
    try:
        return __import__(name).NAME
    except ImportError:
        return 'absent'

def forget():
    if sys.version_info > (3,):
        import importlib
        importlib.invalidate_caches()
    else:
        from econtext.core import importer
        importer.invalidate_caches()
"#;
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:find", ("late",)), "absent");
            let file = dir.file("late.py", "NAME = __name__\n");
            run.requests();
            assert_eq!(run.text("app:find", ("late",)), "absent");
            assert_eq!(run.requests(), [""; 0]);
            run.context.call::<()>("app:forget", ()).unwrap();
            assert_eq!(run.text("app:find", ("late",)), "late");
            // One question for all names at the top level, and none for each.
            for name in ["nowhere", "nobody", "nothing"] {
                assert_eq!(run.text("app:find", (name,)), "absent");
            }
            assert_eq!(run.requests(), ["+late"]);
            fs::remove_file(file).unwrap();
        });
    });
}

#[test]
fn names_that_no_answer_could_bear_are_not_asked_for() {
    const CODE: &str = r#"
def check():
    for name in ['x' * 5000, 'x' * 100000] + ([] if str is bytes else ['\udcff', 'a\ud800']):
        try:
            __import__(name)
        except (ImportError, ValueError):  # 2.7's own, for a long one
            continue
        raise AssertionError(name)
    if str is bytes:
        try:
            __import__('\xff')
        except ImportError:
            pass
    return 'fine'
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                // A closure may have any name.
                modules.source("app", CODE).finder(|_| None);
            });
            assert_eq!(run.text("app:check", ()), "fine");
            assert_eq!(run.requests(), [""; 0]);
        });
    });
}
