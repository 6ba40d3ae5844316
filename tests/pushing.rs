//! Promise: what a call needs goes ahead of it, so that it costs one round trip whatever it imports; an import
//! that only shows when it is run costs one for all that it brings with it, and none if it is on a preload list.

use std::sync::{Mutex, mpsc};

use econtext::{Level, Local, ModuleSource, Router};

mod support;

use support::{Log, Python, Run, TempDir, for_each_python, isolated};

/// A package whose modules import each other in many ways.
fn application(dir: &TempDir) {
    dir.file("app/__init__.py", "from app.base import Base\n");
    dir.file("app/base.py", "import os, json\nclass Base(object):\n    pass\n");
    dir.file("app/tasks.py", "from . import util\nfrom .deep.leaf import value\nimport helper\n\n\
        def run():\n    return value + helper.value + util.value\n\n\
        def lazy():\n    from app import late\n    return late.value\n\n\
        def computed(name):\n    return __import__('app.plugins.' + name, None, None, ['x']).value\n");
    dir.file("app/util.py", "value = 1\n");
    dir.file("app/late.py", "from app.late_too import value\n");
    dir.file("app/late_too.py", "value = 8\n");
    dir.file("app/deep/__init__.py", "");
    dir.file("app/deep/leaf.py", "value = 2\n");
    dir.file("app/plugins/__init__.py", "");
    dir.file("app/plugins/one.py", "from app.plugins.shared import value\n");
    dir.file("app/plugins/two.py", "from app.plugins.shared import value\n");
    dir.file("app/plugins/shared.py", "value = 16\n");
    dir.file("app/unused.py", "raise RuntimeError('nobody imports it')\n");
    dir.file("helper.py", "value = 4\n");
}

/// A context that is served a directory.
fn serving(python: &Python, dir: &TempDir) -> Run {
    Run::start(python, |modules| {
        modules.path(dir.path());
    })
}

#[test]
fn a_call_brings_what_its_module_imports_in_the_order_of_execution() {
    isolated(|| {
        let dir = TempDir::new();
        application(&dir);
        for_each_python(|python| {
            let run = serving(python, &dir);
            assert_eq!(run.context.call::<u32>("app.tasks:run", ()).unwrap(), 7);
            assert_eq!(
                run.module_traffic(),
                [
                    ">app",
                    ">app.base",
                    ">app.tasks",
                    ">app.util",
                    ">app.deep",
                    ">app.deep.leaf",
                    ">helper"
                ]
            );
            // All that is there now, and what nobody serves, takes nothing more.
            assert_eq!(run.context.call::<u32>("app.tasks:run", ()).unwrap(), 7);
            assert_eq!(run.context.call::<u32>("app.util:__name__.__len__", ()).unwrap(), 8);
            run.context.call::<u32>("os:getpid", ()).unwrap();
            assert_eq!(run.module_traffic(), [""; 0]);
        });
    });
}

#[test]
fn an_import_that_shows_when_it_is_run_brings_what_it_imports() {
    isolated(|| {
        let dir = TempDir::new();
        application(&dir);
        for_each_python(|python| {
            let run = serving(python, &dir);
            run.context.call::<u32>("app.tasks:run", ()).unwrap();
            run.module_traffic();
            assert_eq!(run.context.call::<u32>("app.tasks:lazy", ()).unwrap(), 8);
            assert_eq!(run.module_traffic(), ["+app.late", ">app.late_too"]);
            for _ in 0..2 {
                assert_eq!(run.context.call::<u32>("app.tasks:computed", ("one",)).unwrap(), 16);
            }
            assert_eq!(
                run.module_traffic(),
                ["+app.plugins", "+app.plugins.one", ">app.plugins.shared"]
            );
            // What came with the first is not sent again.
            assert_eq!(run.context.call::<u32>("app.tasks:computed", ("two",)).unwrap(), 16);
            assert_eq!(run.module_traffic(), ["+app.plugins.two"]);
        });
    });
}

#[test]
fn what_an_earlier_run_learned_is_there_before_it_is_asked_for() {
    isolated(|| {
        let dir = TempDir::new();
        application(&dir);
        dir.file("app/data.txt", "text");
        for_each_python(|python| {
            let use_all = |run: &Run| {
                run.context.call::<u32>("app.tasks:lazy", ()).unwrap();
                run.context.call::<u32>("app.tasks:computed", ("one",)).unwrap();
            };
            let first = Run::start(python, |modules| {
                modules.path(dir.path());
            });
            use_all(&first);
            assert_eq!(first.requests(), ["+app.late", "+app.plugins", "+app.plugins.one"]);
            let learned = first.router.modules().learned();
            assert_eq!(learned, "app.late\napp.plugins\napp.plugins.one\n");
            let second = Run::start(python, |modules| {
                modules.path(dir.path()).preload(&learned).preload("# by hand\nnot.served\n");
            });
            use_all(&second);
            assert_eq!(second.requests(), [""; 0]);
            assert_eq!(second.router.modules().learned(), format!("{learned}not.served\n"));
        });
    });
}

#[test]
fn branches_of_other_versions_are_left_out_once_the_version_is_known() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source(
                    "choose",
                    "import sys\nif sys.version_info[0] == 2:\n    from two import name\nelse:\n    \
                     from three import name\nif sys.platform == 'win32':\n    import windows\n\
                     def chosen():\n    return name\n",
                );
                modules.source("two", "name = 'two'\n").source("three", "name = 'three'\n");
                modules.source("windows", "");
            });
            let (right, wrong) =
                if python.version.0 == 2 { ("two", "three") } else { ("three", "two") };
            assert_eq!(run.text("choose:chosen", ()), right);
            assert_eq!(run.module_traffic(), [">choose".to_owned(), format!(">{right}")]);
            // Before that both sides go.
            let log = Log::default();
            let early =
                Router::builder().log_level(Level::Debug).on_log(log.sink()).build().unwrap();
            for (name, text) in [
                (
                    "choose",
                    "import sys\nif sys.version_info[0] == 2:\n    from two import name\nelse:\n    \
                     from three import name\ndef chosen():\n    return name\n",
                ),
                ("two", "name = 'two'\n"),
                ("three", "name = 'three'\n"),
            ] {
                early.modules().source(name, text);
            }
            let context = early.start(Local::new().python(&python.path));
            assert_eq!(context.call::<String>("choose:chosen", ()).unwrap(), right);
            for name in ["choose", right, wrong] {
                let message = format!("module {name} pushed");
                log.wait_for(&message, |record| record.message.starts_with(&message));
            }
        });
    });
}

#[test]
fn lists_say_what_is_served() {
    const TRY: &str = "import importlib\n\ndef origin(name):\n    try:\n        \
        module = importlib.import_module(name)\n    except ImportError:\n        return 'missing'\n    \
        return getattr(module, 'origin', 'installed')\n";
    isolated(|| {
        let dir = TempDir::new();
        for name in
            ["good/__init__", "good/part", "good/secret/__init__", "good/secret/key", "other"]
        {
            dir.file(&format!("{name}.py"), "origin = 'served'\n");
        }
        dir.file("json/__init__.py", "origin = 'served'\n");
        dir.file("json/decoder.py", "origin = 'served'\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("tries", TRY);
                modules.allow(["good", "json", "tries"]).deny(["good.secret"]).always(["json"]);
            });
            for (name, origin) in [
                ("good", "served"),
                ("good.part", "served"),
                ("good.secret", "missing"),
                ("good.secret.key", "missing"),
                ("other", "missing"),
                ("json", "served"),
                ("json.decoder", "served"),
                ("string", "installed"),
            ] {
                assert_eq!(run.text("tries:origin", (name,)), origin, "{name}");
            }
            let _ = run.context.call::<()>("good.secret.key:x", ()).unwrap_err();
            assert!(!run.module_traffic().iter().any(|name| name.contains("good.secret.key")));
        });
    });
}

#[test]
fn no_more_goes_ahead_than_the_limit() {
    isolated(|| {
        let dir = TempDir::new();
        application(&dir);
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).push_limit_bytes(0);
            });
            assert_eq!(run.context.call::<u32>("app.tasks:run", ()).unwrap(), 7);
            assert_eq!(
                run.module_traffic(),
                [
                    ">app",
                    ">app.tasks",
                    "+app.base",
                    "+app.util",
                    "+app.deep",
                    "+app.deep.leaf",
                    "+helper"
                ]
            );
        });
    });
}

#[test]
fn sources_that_are_registered_later_are_found_by_what_runs_already() {
    const WAIT: &str = "def wait(name, sender):\n    while True:\n        try:\n            \
        return __import__(name).value\n        except ImportError:\n            sender.send(name)\n";
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("waits", WAIT);
            });
            let (sender, looked) = run.router.channel::<String>();
            let waiting = run.context.call_async::<u32>("waits:wait", ("late", sender)).unwrap();
            // It has looked in vain, and goes on as fast as that is read.
            assert_eq!(looked.recv().unwrap(), "late");
            run.router.modules().source("late", "value = 5\n");
            looked.iter().for_each(|name| assert_eq!(name.unwrap(), "late"));
            assert_eq!(waiting.get().unwrap(), 5);
        });
    });
}

#[test]
fn what_comes_to_be_at_a_registered_path_is_found_by_what_runs_already() {
    const TRY: &str = "def find(name):\n    try:\n        return __import__(name).value\n    \
        except ImportError:\n        return 'missing'\n";
    isolated(|| {
        for_each_python(|python| {
            let dir = TempDir::new();
            let run = Run::start(python, |modules| {
                modules.path(dir.path().join("later")).source("tries", TRY);
            });
            assert_eq!(run.text("tries:find", ("others",)), "missing");
            let path = dir.path().join("later").display().to_string();
            let warning = format!("modules are to be served from {path}, and nothing is there");
            run.log.wait_for("the warning", |record| record.message == warning);
            dir.file("later/built.py", "value = 'found'\n");
            assert_eq!(run.text("tries:find", ("built",)), "found");
        });
    });
}

#[test]
fn a_root_that_cannot_be_looked_into_is_nothing_to_calls_of_other_modules() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("broken.whl", "garbage");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("tasks", "def f(): return 'fine'\n");
                modules.path(dir.path().join("broken.whl"));
            });
            assert_eq!(run.text("tasks:f", ()), "fine");
            run.context.call::<u32>("os:getpid", ()).unwrap();
            assert_eq!(run.text("json:dumps", (1,)), "1");
            assert_eq!(run.module_traffic(), [">tasks"]);
            // Who asks for what may be in it is told what is wrong.
            let error = run.context.call::<()>("other:f", ()).unwrap_err().to_string();
            assert!(error.contains("broken.whl: not a zip archive"), "{error}");
        });
    });
}

#[test]
fn a_finder_that_makes_a_call_is_told_that_it_cannot() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |_| {});
            // Whoever is in a finder for good keeps the router.
            let context = Mutex::new(Some(run.context.clone()));
            let (tell, told) = mpsc::channel();
            run.router.modules().finder(move |name| {
                let context = context.lock().unwrap().take_if(|_| name == "made")?;
                let sent = context.function("os:getpid").call_async::<u32>();
                let _ = tell.send(sent.map(drop).unwrap_err().to_string());
                Some(ModuleSource::module("made.py", "def f(): return 'made'\n"))
            });
            assert_eq!(run.text("made:f", ()), "made");
            assert_eq!(
                told.recv().unwrap(),
                "call of os:getpid: a finder of modules cannot make calls"
            );
            // The same thread may, once the finder is done.
            run.context.call::<u32>("os:getpid", ()).unwrap();
        });
    });
}

#[test]
fn a_source_that_is_registered_before_a_call_is_there_for_it() {
    const FIND: &str = "def value(name):\n    return __import__(name).value\n";
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("find", FIND).source("late", "value = 0\n");
            });
            run.context.call::<u32>("find:value", ("late",)).unwrap();
            for number in 0..50 {
                let name = format!("late{number}");
                run.router.modules().source(&name, format!("value = {number}\n"));
                assert_eq!(run.context.call::<u32>("find:value", (name,)).unwrap(), number);
            }
        });
    });
}

#[test]
fn what_a_context_has_forgotten_is_not_waited_for() {
    const USER: &str = "try:\n    import fast._speedups\nexcept ImportError as error:\n    \
        failed = str(error)\n\ndef reason():\n    return failed\n\ndef forget():\n    import importlib\n    \
        getattr(importlib, 'invalidate_caches', list)()\n";
    isolated(|| {
        let dir = TempDir::new();
        dir.file("fast/__init__.py", "");
        dir.file("fast/_speedups.so", "of one platform");
        for name in ["one", "two", "three"] {
            dir.file(&format!("{name}.py"), USER);
        }
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path());
                modules.finder(|name| match name {
                    "made" => Some(ModuleSource::module("<made>", "import two\nvalue = 3\n")),
                    _ => None,
                });
            });
            assert!(run.text("one:reason", ()).contains("_speedups.so"));
            run.router.modules().source("unrelated", "");
            assert!(run.text("two:reason", ()).contains("_speedups.so"));
            run.context.call::<()>("two:forget", ()).unwrap();
            assert_eq!(run.context.call::<u32>("made:value.__add__", (4,)).unwrap(), 7);
            run.context.call::<()>("two:forget", ()).unwrap();
            assert!(run.text("three:reason", ()).contains("_speedups.so"));
            let error = run.context.call::<u32>("made:value.__add__", ("x", "y")).unwrap_err();
            assert!(matches!(error, econtext::Error::Call(_)), "{error}");
        });
    });
}
