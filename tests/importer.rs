//! Promise: a child imports what the program serves as Python would import it from a directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use econtext::{Error, Local, Router, Value};

mod support;

use support::{Log, Run, TempDir, for_each_kind_of_python, for_each_python, isolated, long};

/// The class and the message of what a call raised.
fn raised(run: &Run, target: &str) -> (String, String) {
    match run.context.call::<Value>(target, ()) {
        Err(Error::Call(error)) => (error.class.clone(), error.message.clone()),
        other => panic!("{target} gave {other:?}"),
    }
}

#[test]
fn modules_come_from_directories_and_out_of_the_program() {
    isolated(|| {
        let (first, second) = (TempDir::new(), TempDir::new());
        first.file("both.py", "def where(): return 'first'\n");
        second.file("both.py", "def where(): return 'second'\n");
        second.file("single.py", "import both, embedded\ndef where(): return both.where()\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(first.path()).path(second.path());
                modules.source("embedded", "import both\ndef where(): return __name__\n");
                modules.source("deep.down.module", "def where(): return __package__\n");
            });
            assert_eq!(run.text("single:where", ()), "first");
            assert_eq!(run.text("embedded:where", ()), "embedded");
            assert_eq!(run.text("deep.down.module:where", ()), "deep.down");
            let modules = ["both", "deep", "deep.down", "deep.down.module", "embedded", "single"];
            assert_eq!(run.arrivals(), modules);
            // Once each.
            assert_eq!(run.text("single:where", ()), "first");
            assert_eq!(run.module_traffic(), [""; 0]);
        });
        // Nothing was written beside them: `isolated` looks elsewhere.
        for dir in [&first, &second] {
            assert!(
                !dir.path().join("__pycache__").exists() && !dir.path().join("both.pyc").exists()
            );
        }
    });
}

#[test]
fn explicit_relative_imports_work_in_packages() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("pkg/__init__.py", "from . import one\nfrom .sub import two\nNAME = 'pkg'\n");
        dir.file("pkg/one.py", "VALUE = 1\n");
        dir.file("pkg/sub/__init__.py", "from ..one import VALUE\n");
        dir.file(
            "pkg/sub/two.py",
            "from __future__ import absolute_import\nfrom .. import one\nfrom ..sub import VALUE\n\
             def late():\n    from .three import NAME\n    from .. import NAME as pkg\n    \
             return '%s %s %s' % (NAME, pkg, one.VALUE + VALUE)\n",
        );
        dir.file("pkg/sub/three.py", "NAME = __name__\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            assert_eq!(run.text("pkg.sub.two:late", ()), "pkg.sub.three pkg 2");
            let modules = ["pkg", "pkg.one", "pkg.sub", "pkg.sub.three", "pkg.sub.two"];
            assert_eq!(run.arrivals(), modules);
        });
    });
}

#[test]
fn implicit_relative_imports_are_those_of_python_2() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("pkg/__init__.py", "");
        dir.file("pkg/user.py", "import os, helper\ndef which(): return helper.NAME\n");
        dir.file("pkg/helper.py", "NAME = 'beside'\n");
        dir.file("helper.py", "NAME = 'top'\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            let (found, name) = match python.version.0 {
                2 => ("beside", "pkg.helper"),
                _ => ("top", "helper"),
            };
            assert_eq!(run.text("pkg.user:which", ()), found);
            // And pkg.os was not asked for, which the package's list does not name.
            let traffic = run.module_traffic();
            assert!(!traffic.iter().any(|name| name.starts_with('-')), "{traffic:?}");
            assert!(traffic.iter().any(|other| other[1..] == *name), "{traffic:?}");
        });
    });
}

#[test]
fn a_package_without_init_merges_the_directories_of_its_name() {
    isolated(|| {
        let (first, second) = (TempDir::new(), TempDir::new());
        first.file("space/one.py", "import space.two\ndef other(): return space.two.NAME\n");
        second.file("space/two.py", "NAME = __name__\n");
        second.file("space/in/er.py", "");
        second.file("space/inner/three.py", "def name(): return __name__\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(first.path()).path(second.path());
                modules.source("space.four", "def name(): return __name__\n");
            });
            assert_eq!(run.text("space.one:other", ()), "space.two");
            assert_eq!(run.text("space.inner.three:name", ()), "space.inner.three");
            assert_eq!(run.text("space.four:name", ()), "space.four");
        });
    });
}

#[test]
fn a_module_may_replace_itself() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source(
                    "chameleon",
                    "import sys\nclass Other(object):\n    def name(self): return 'replaced'\n\
                     sys.modules[__name__] = Other()\n",
                );
                modules
                    .source("app_user", "import chameleon\ndef name(): return chameleon.name()\n");
            });
            assert_eq!(run.text("app_user:name", ()), "replaced");
            assert_eq!(run.text("chameleon:name", ()), "replaced");
        });
    });
}

#[test]
fn a_modules_encoding_and_line_ends_are_its_own() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("latin.py", b"# -*- coding: latin-1 -*-\ndef get(): return u'\xe9'\n");
        dir.file("marked.py", b"\xef\xbb\xbfdef get(): return u'\xc3\xa9'\n");
        dir.file("windows.py", b"# coding: utf-8\r\ndef get():\r\n    return u'''\xc3\xa9'''\r\n");
        dir.file("feed.py", b"# coding: utf-8\n\x0c\ndef get():\n\x0c    return u'\xc3\xa9'");
        dir.file(
            "sources.py",
            "import inspect\ndef get(name):\n    return inspect.getsource(__import__(name).get)\n",
        );
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            for name in ["latin", "marked", "windows", "feed"] {
                assert_eq!(run.text(&format!("{name}:get"), ()), "\u{e9}", "{name}");
            }
            let source = run.text("sources:get", ("windows",));
            assert!(source.starts_with("def get():\n    return u'''"), "{source:?}");
        });
    });
}

#[test]
fn modules_know_what_modules_know() {
    const CHECKS: &str = r#"
import inspect, sys, traceback, types
import pkg, pkg.mod

def check(directory):
    mod = pkg.mod
    assert mod.__file__ == directory + '/pkg/mod.py', mod.__file__
    assert pkg.__file__ == directory + '/pkg/__init__.py', pkg.__file__
    assert (mod.__name__, mod.__package__, pkg.__package__) == ('pkg.mod', 'pkg', 'pkg')
    assert isinstance(pkg.__path__, list) and not hasattr(mod, '__path__')
    assert mod.__doc__ == 'A module.', mod.__doc__
    assert pkg.mod is mod and sys.modules['pkg.mod'] is mod
    assert type(mod) is types.ModuleType
    loader = mod.__loader__
    assert loader.is_package('pkg') and not loader.is_package('pkg.mod')
    assert loader.get_filename('pkg.mod') == mod.__file__
    assert 'def function' in loader.get_source('pkg.mod')
    assert loader.get_code('pkg.mod').co_filename == mod.__file__
    assert not hasattr(mod, '__cached__') or mod.__cached__ is None
    if sys.version_info > (3,):
        spec = mod.__spec__
        assert (spec.name, spec.loader, spec.origin, spec.parent) == ('pkg.mod', loader, mod.__file__, 'pkg'), spec
        assert pkg.__spec__.submodule_search_locations == pkg.__path__
        assert repr(mod).startswith("<module 'pkg.mod' ")
    assert inspect.getsource(mod.function) == 'def function():  # here\n    raise KeyError(1)\n'
    assert inspect.getsource(mod.Class) == 'class Class(object):\n    pass\n'
    assert inspect.getsource(mod).endswith('    pass\n')
    assert inspect.getsourcefile(mod.function) == mod.__file__
    try:
        mod.function()
    except KeyError:
        return traceback.format_exc()
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("pkg/__init__.py", "");
        let source = "\"\"\"A module.\"\"\"\n\ndef function():  # here\n    raise KeyError(1)\n\n\
                      class Class(object):\n    pass\n";
        dir.file("pkg/mod.py", source);
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("checks", CHECKS);
            });
            let path = dir.path().to_str().unwrap();
            let traceback = run.text("checks:check", (path,));
            let line = format!(
                "  File \"{path}/pkg/mod.py\", line 4, in function\n    raise KeyError(1)\n"
            );
            assert!(traceback.contains(&line), "{traceback}");
        });
    });
}

#[test]
fn what_cannot_be_read_is_an_import_error_that_says_why() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("compiled.pyc", "\0\0\0\0");
        dir.file("pkg/__init__.py", "");
        dir.file("pkg/compiled.pyc", "\0\0\0\0");
        symlink("looped.py", dir.path().join("looped.py")).unwrap();
        let huge = fs::File::create(dir.path().join("huge.py")).unwrap();
        huge.set_len(65 << 20).unwrap();
        let path = dir.path().to_str().unwrap();
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            for (name, reason) in [
                ("compiled", "compiled.pyc: compiled Python without its source cannot be served"),
                (
                    "pkg.compiled",
                    "pkg/compiled.pyc: compiled Python without its source cannot be served",
                ),
                ("looped", "looped.py: Too many levels of symbolic links (os error 40)"),
                ("huge", "huge.py: larger than 64 MiB, too large to be served"),
            ] {
                let (class, message) = raised(&run, &format!("{name}:f"));
                assert_eq!((class.as_str(), message), ("ImportError", format!("{path}/{reason}")));
                let record = format!("module {name} cannot be served: {path}/{reason}");
                run.log.wait_for(&record, |other| other.message == record);
            }
        });
    });
}

#[test]
fn a_module_above_the_message_limit_is_refused_and_the_context_lives_on() {
    isolated(|| {
        // Noise, so that it is not small once it is compressed.
        let mut state = 1_u64;
        let mut noise = String::from("TEXT = '");
        while noise.len() < 3 << 20 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            noise.push_str(&format!("{:016x}", state ^ (state >> 29)));
        }
        noise.push_str("'\n");
        for_each_kind_of_python(|python| {
            let log = Log::default();
            let builder = Router::builder().max_message_bytes(1 << 20).on_log(log.sink());
            let router = builder.build().unwrap();
            router.modules().source("noise", noise.as_str());
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let Err(Error::Call(error)) = context.call::<()>("noise:f", ()) else { panic!() };
            assert_eq!(error.class, "ImportError");
            assert!(
                error.message.ends_with("more than the 1048576 of max_message_bytes"),
                "{error}"
            );
            assert_eq!(context.call::<i64>("operator:neg", (1,)).unwrap(), -1);
        });
    });
}

#[test]
fn a_missing_module_is_the_error_that_it_is_in_a_script() {
    const TRY: &str = "def get(name):\n    try:\n        __import__(name)\n    \
        except ImportError as error:\n        return '%s: %s' % (type(error).__name__, error)\n";
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("tries", TRY).source("pkg.present", "").source("plain", "");
            });
            let two = python.version.0 == 2;
            let text = |name: &str, last: &str, also: &str| match two {
                true => format!("ImportError: No module named {last}"),
                false => format!("ModuleNotFoundError: No module named '{name}'{also}"),
            };
            let get = |name: &str| run.text("tries:get", (name,));
            assert_eq!(get("nowhere"), text("nowhere", "nowhere", ""));
            assert_eq!(get("pkg.absent"), text("pkg.absent", "absent", ""));
            assert_eq!(get("nowhere.absent"), text("nowhere", "nowhere.absent", ""));
            let also = "; 'plain' is not a package";
            assert_eq!(get("plain.absent"), text("plain.absent", "absent", also));
            let (class, _) = raised(&run, "nowhere:f");
            assert_eq!(class, if two { "ImportError" } else { "ModuleNotFoundError" });
        });
    });
}

#[test]
fn odd_names_are_missing_modules_too() {
    const TRY: &str = r#"
def try_all():
    for name in 'a+b', 'a b', 'a/b', '../a', 'a..b', 'x' * 5000, 'a\nb', '1a', "a'b":
        try:
            __import__(name)
        except ImportError:
            continue
        except ValueError:  # Python's own, for an empty part
            continue
        raise AssertionError('found %r' % name)
    return 'all missing'
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("a.py", "");
        dir.file("m\u{e9}t\u{e9}o.py", "def name(): return __name__\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("tries", TRY);
            });
            assert_eq!(run.text("tries:try_all", ()), "all missing");
            if python.version.0 > 2 {
                assert_eq!(run.text("m\u{e9}t\u{e9}o:name", ()), "m\u{e9}t\u{e9}o");
            }
        });
    });
}

#[test]
fn names_that_only_import_module_takes_are_imported() {
    const CODE: &str = r#"
import importlib, pkgutil, shop.migrations

def load():
    names = [name for _, name, ispkg in pkgutil.iter_modules(shop.migrations.__path__)]
    assert names == ['0001_initial', '0002_more', 'my-mod'], names
    return ' '.join(importlib.import_module('shop.migrations.' + name).WHICH for name in names)
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("shop/__init__.py", "");
        dir.file("shop/migrations/__init__.py", "");
        for name in ["0001_initial", "0002_more", "my-mod"] {
            dir.file(&format!("shop/migrations/{name}.py"), format!("WHICH = {name:?}\n"));
        }
        // Combining marks are neither letters nor digits.
        let hindi = "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}";
        dir.file(&format!("{hindi}.py"), "def name(): return __name__\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("work", CODE).source("odd name", "x = 1\n");
                modules.source("2nd", "def name(): return __name__\n");
            });
            assert_eq!(run.text("work:load", ()), "0001_initial 0002_more my-mod");
            assert_eq!(run.text("2nd:name", ()), "2nd");
            if python.version.0 > 2 {
                assert_eq!(run.text(&format!("{hindi}:name"), ()), hindi);
            }
        });
    });
}

#[test]
fn a_syntax_error_shows_the_users_line_and_its_repair_is_seen() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let file = dir.file("broken.py", "x = 1\ndef f(:\n    return 1\n");
            dir.file("raising.py", "import os\nraise ValueError('not yet')\n");
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            let error = run.context.call::<Value>("broken:f", ()).unwrap_err();
            assert!(
                matches!(&error, Error::Call(error) if error.class == "SyntaxError"),
                "{error}"
            );
            let traceback = long(&error);
            let place = format!("  File \"{}\", line 2\n    def f(:\n", file.display());
            assert!(traceback.contains(&place), "{traceback}");
            assert_eq!(raised(&run, "raising:f"), ("ValueError".into(), "not yet".into()));
            // The user repairs both, and tries again with the same context.
            dir.file("broken.py", "def f():\n    return 'works'\n");
            dir.file("raising.py", "def f():\n    return 'this too'\n");
            assert_eq!(run.text("broken:f", ()), "works");
            assert_eq!(run.text("raising:f", ()), "this too");
        });
    });
}

#[test]
fn reload_brings_the_source_of_now() {
    const RELOAD: &str = "try:\n    from importlib import reload\nexcept ImportError:\n    pass\n\
        import changing\ndef again():\n    old = changing\n    \
        assert reload(changing) is old is __import__('changing')\n    \
        assert changing.kept == 1\n    return changing.VALUE\n";
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            dir.file("changing.py", "VALUE = 'before'\nkept = 1\n");
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("reloads", RELOAD);
            });
            assert_eq!(run.text("reloads:again", ()), "before");
            dir.file("changing.py", "VALUE = 'afterwards'\n");
            assert_eq!(run.text("reloads:again", ()), "afterwards");
        });
    });
}

#[test]
fn threads_import_at_the_same_time() {
    const THREADS: &str = r#"
import threading

def run():
    start, seen, errors = threading.Event(), [], []
    def work(number):
        start.wait()
        try:
            for name in ['shared', 'own%d' % number, 'pkg.m%d' % (number % 3)]:
                __import__(name)
            import shared
            seen.append(shared.READY)
        except BaseException as error:
            errors.append(repr(error))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    return '%s %s' % (sum(seen), errors)
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("threads", THREADS);
                modules.source("shared", "import time\ntime.sleep(.05)\nREADY = 1\n");
                for number in 0..12 {
                    modules.source(format!("own{number}"), "import shared\nshared.READY\n");
                    modules.source(format!("pkg.m{number}"), "from pkg import deep\n");
                }
                modules.source("pkg.deep", "");
            });
            assert_eq!(run.text("threads:run", ()), "12 []");
            let mut modules = run.arrivals();
            let all = modules.len();
            modules.dedup();
            assert_eq!((modules.len(), all), (19, 19), "{modules:?}");
        });
    });
}

#[test]
fn modules_may_import_each_other_in_a_circle() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("a", "import b\nNAME = 'a'\ndef both(): return NAME + b.other()\n");
                modules.source("b", "import a\ndef other(): return a.NAME.upper()\n");
                modules.source("p.x", "from p import y\nNAME = 'x'\ndef both(): return y.both()\n");
                modules.source("p.y", "import p.x\ndef both(): return p.x.NAME + 'y'\n");
            });
            assert_eq!(run.text("a:both", ()), "aA");
            assert_eq!(run.text("p.x:both", ()), "xy");
        });
    });
}

#[test]
fn two_hundred_modules_come_in_one_go() {
    isolated(|| {
        let dir = TempDir::new();
        // Each of the first twenty imports nine more.
        for number in 0..200 {
            let more = (0..if number < 20 { 9 } else { 0 }).map(|i| 20 + number * 9 + i);
            let imports: String = more.map(|other| format!("import many{other}\n")).collect();
            dir.file(&format!("many{number}.py"), format!("{imports}VALUE = {number}\n"));
        }
        dir.file(
            "all.py",
            "import sys\nfor number in range(20):\n    __import__('many%d' % number)\ndef total():\n    \
             return str(sum(sys.modules['many%d' % number].VALUE for number in range(200)))\n",
        );
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            assert_eq!(run.text("all:total", ()), "19900");
            assert_eq!(run.arrivals().len(), 201);
        });
    });
}

#[test]
fn user_code_imports_what_econtext_offers() {
    const CODE: &str = r#"
import econtext, econtext.core
from econtext.core import CallError, Context, takes_context, takes_external_context, takes_router

@takes_context
@takes_router
def who(context, router):
    assert isinstance(context, Context) and context.id == router.id
    assert econtext.core.takes_context is takes_context
    assert econtext.__path__ == [] and econtext.core.__package__ == 'econtext'
    assert issubclass(CallError, Exception) and CallError.__module__ == 'econtext.core'
    try:
        from econtext import nothing
    except ImportError:
        return context.name
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE);
            });
            assert_eq!(run.text("app:who", ()), run.context.name());
        });
    });
}

#[test]
fn an_import_that_waits_while_the_context_shuts_down_is_an_import_error() {
    const CODE: &str = r#"
import sys
def run(path):
    sys.stdout.write('block\n')
    result = 'found'
    try:
        import absent
    except ImportError:
        result = 'ImportError'
    with open(path, 'w') as file:
        file.write(result)
def nothing():
    pass
"#;
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            // While the sink is busy, nobody answers requests for modules.
            let (entered, is_entered) = mpsc::channel();
            let (open, gate) = mpsc::channel::<()>();
            let router = Router::builder().on_log(move |record| {
                if record.message == "block" {
                    entered.send(()).unwrap();
                    let _ = gate.recv();
                }
            });
            let router = router.build().unwrap();
            router.modules().source("app", CODE);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let file = dir.path().join("result");
            context.call::<()>("app:nothing", ()).unwrap();
            let call = context.call_async::<Value>("app:run", (file.to_str().unwrap(),)).unwrap();
            is_entered.recv().unwrap();
            let start = Instant::now();
            context.shutdown().unwrap();
            assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
            assert_eq!(fs::read_to_string(&file).unwrap(), "ImportError");
            drop(call);
            drop(open);
            fs::remove_file(&file).unwrap();
        });
    });
}
