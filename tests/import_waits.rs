//! Promise: no import waits for ever: not beside others in other threads, not in a circle, not while the context
//! or the stream ends, not in a forked copy, a finalizer or a signal's handler.

use std::fs;
use std::thread;

use econtext::{Local, Router};

mod support;

use support::{Run, TempDir, for_each_python, isolated, master, mkfifo};

#[test]
fn threads_import_the_same_different_and_circular_modules() {
    const CODE: &str = r#"
import sys, threading

def run(count):
    start, ended = threading.Event(), []
    def work(number):
        start.wait()
        try:
            for step in range(6):
                # Names that nobody can foresee, each wanted by some threads at once.
                __import__('pkg%d.m%d' % (step % 2, (number + step) % 4))
                __import__('%s%d' % ('xy'[(number + step) % 2], step))
            ended.append(None)
        except BaseException as error:
            ended.append(error)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    # The interpreter itself, with modules from a directory, too, ends some circles that several threads enter.
    errors = [error for error in ended if error is not None and type(error).__name__ != '_DeadlockError']
    for step in range(6):
        for name in 'x%d' % step, 'y%d' % step:
            if len(ended) > ended.count(None):
                sys.modules.pop(name, None)
        assert __import__('x%d' % step).other() + __import__('y%d' % step).other() == step * 2
    return str(errors + [len(ended)])
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE);
                for step in 0..6 {
                    for (name, other) in [("x", "y"), ("y", "x")] {
                        let other = format!("{other}{step}");
                        let source = format!(
                            "{other} = __import__('{other}')\nVALUE = {step}\n\
                             def other(): return {other}.VALUE\n"
                        );
                        modules.source(format!("{name}{step}"), source);
                    }
                }
                for package in ["pkg0", "pkg1"] {
                    for number in 0..4 {
                        let next = (number + 1) % 4;
                        let source = format!("__import__('{package}.m{next}')\n");
                        modules.source(format!("{package}.m{number}"), source);
                    }
                }
            });
            assert_eq!(run.text("app:run", (16,)), "[16]");
            assert!(run.requests().iter().all(|name| name.starts_with('+')));
        });
    });
}

#[test]
fn a_module_is_imported_while_another_thread_is_at_linecache() {
    const CODE: &str = r#"
import sys

def run():
    whole = sys.modules.get('linecache')
    sys.modules['linecache'] = type(sys)('linecache')  # nothing of it has been executed yet
    try:
        return __import__('beside').VALUE
    finally:
        del sys.modules['linecache']
        if whole:
            sys.modules['linecache'] = whole
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE).source("beside", "VALUE = 'here'\n");
            });
            assert_eq!(run.text("app:run", ()), "here");
        });
    });
}

/// What a child does whose imports wait when its master is killed: it tells which ended, and how.
const WAITING: &str = r#"
import os, sys, threading
from econtext.core import importer

def wait(path, count):
    sys.stdout.write('%d\n' % os.getpid())
    ended = []
    def work(name):
        try:
            __import__(name)
            ended.append('%s: found' % name)
        except ImportError as error:
            ended.append(str(error))
        except BaseException as error:
            ended.append(repr(error))
    importer.coming.update(['promised', 'pkg.promised'])
    names = ['wait%d' % (number // 2) for number in range(count)] + ['promised', 'promised', 'pkg.promised']
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work('later')
    work('os')
    with open(path, 'w') as file:
        file.write('\n'.join(sorted(ended)))
"#;

#[test]
fn imports_that_wait_while_the_master_is_killed_end_with_import_errors_that_say_so() {
    let master = master(|| {
        let path = std::env::var("FIFO").unwrap();
        let python = std::env::var("PYTHON").unwrap();
        let router = Router::new().unwrap();
        router.modules().source("app", WAITING).source("pkg.__init__", "");
        router.modules().finder(|name| {
            if name.starts_with("wait") {
                println!("> asked");
                loop {
                    thread::park();
                }
            }
            None
        });
        let context = router.connect(Local::new().python(&python)).unwrap();
        let _ = context.call::<()>("app:wait", (path, 6));
    });
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let fifo = mkfifo(&dir, &python.name);
            let mut running =
                master.start_with(|command| command.env("FIFO", &fifo).env("PYTHON", &python.path));
            assert_eq!(running.line(), "asked");
            running.kill();
            let ended = fs::read_to_string(&fifo).unwrap();
            let lines: Vec<_> = ended.lines().collect();
            assert_eq!(lines.len(), 11, "{ended}");
            let reason = "cannot be loaded: the stream to the parent has ended";
            for (name, count) in [
                ("wait0", 2),
                ("wait1", 2),
                ("wait2", 2),
                ("promised", 2),
                ("pkg", 1),
                ("later", 1),
            ] {
                let line = format!("{name} {reason}");
                let found = lines.iter().filter(|other| **other == line).count();
                assert_eq!(found, count, "{line}: {ended}");
            }
            assert!(lines.contains(&"os: found"), "{ended}");
        });
    });
}

#[test]
fn imports_while_the_context_shuts_down_end() {
    const CODE: &str = r#"
import atexit, sys, threading

def leave(path):
    ended = []
    def work():
        number = 0
        while True:
            try:
                __import__('absent%d' % number)
            except ImportError as error:
                if 'shutting down' in str(error):
                    break
            number += 1
        ended.append(str(error) if str is bytes else 'absent cannot be loaded: the context is shutting down')
    def at_exit():
        for name in 'late', 'os', 'early':
            try:
                __import__(name)
                ended.append(name)
            except ImportError as error:
                ended.append(str(error))
        for thread in threads:
            thread.join()
        with open(path, 'w') as file:
            file.write('\n'.join(ended))
    import early
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    atexit.register(at_exit)
"#;
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let path = dir.path().join("ended");
            let router = Router::new().unwrap();
            router.modules().source("app", CODE).source("early", "").source("late", "");
            // A closure may have any name, so that each is asked for.
            router.modules().finder(|_| None);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            context.call::<()>("app:leave", (path.to_str().unwrap(),)).unwrap();
            context.shutdown().unwrap();
            let ended = fs::read_to_string(&path).unwrap();
            let line = "late cannot be loaded: the context is shutting down";
            assert!(ended.lines().any(|other| other == line), "{ended}");
            assert_eq!(ended.lines().filter(|line| ["os", "early"].contains(line)).count(), 2);
            assert_eq!(ended.lines().count(), 7, "{ended}");
            fs::remove_file(&path).unwrap();
        });
    });
}

#[test]
fn a_forked_copy_has_what_has_come_and_is_told_of_the_rest() {
    const CODE: &str = r#"
import os, sys, threading
import early

def run():
    from econtext.core import importer
    stop = []
    def work():
        number = 0
        while not stop:
            try:
                __import__('absent%d' % number)
            except ImportError:
                pass
            number += 1
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        importer.fetch('come')
        for number in range(20):
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    import come, early
                    try:
                        __import__('forked%d' % number)
                    except ImportError as error:
                        if str(error) == 'forked%d cannot be loaded: this is a forked copy of the context' % number:
                            status = 0
                finally:
                    os._exit(status)
            status = os.waitpid(pid, 0)[1]
            assert not status, status
    finally:
        stop.append(None)
        for thread in threads:
            thread.join()
    return 'fine'
"#;
    isolated(|| {
        for_each_python(|python| {
            // The import lock of 2.7 is its own affair: a thread of the parent may hold it.
            let run = Run::start(python, |modules| {
                modules.source("app", CODE).source("early", "").source("come", "");
                modules.finder(|_| None);
            });
            assert_eq!(run.text("app:run", ()), "fine");
        });
    });
}

#[test]
fn finalizers_and_signal_handlers_import_or_are_told_that_they_cannot() {
    const CODE: &str = r#"
import gc, os, signal, sys
from econtext import core

ended = []

def attempt(name):
    try:
        __import__(name)
        ended.append(name)
    except ImportError as error:
        ended.append('ImportError')

class Finalized(object):
    def __init__(self, name):
        self.name = name
    def __del__(self):
        name, self.name = self.name, None  # 2.7 may call it twice, since the frame is in tracebacks
        if name:
            attempt(name)

def finalizers():
    """In the middle of each thing that the core does under a lock."""
    del ended[:]
    Finalized('in_the_open')
    gc.collect()
    stream, importer = core.router.stream, core.importer
    sign, waiting = stream.sign, importer.waiting
    def signs(*parts):
        stream.sign = sign
        Finalized('in_a_send')
        gc.collect()  # for PyPy
        return sign(*parts)
    class Waiting(dict):
        def setdefault(self, *args):
            importer.waiting = waiting
            Finalized('in_a_fetch')
            gc.collect()
            return waiting.setdefault(*args)
        def __contains__(self, name):
            return name in waiting
    stream.sign = signs
    core.router.log('app', 20, core.text('something'))
    importer.waiting = Waiting(waiting)
    attempt('after')
    return ' '.join(ended)

def signals():
    del ended[:]
    signal.signal(signal.SIGUSR1, lambda number, frame: attempt('handled%d' % len(ended)))
    for number in range(200):
        os.kill(os.getpid(), signal.SIGUSR1)
        attempt('between%d' % number)
    names = set(ended)
    assert names.issuperset('between%d' % number for number in range(200)), names
    return str(len(ended))

def handled():
    return str(len(ended))
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE);
                modules.source("in_the_open", "").source("in_a_send", "").source("after", "");
                modules.source("in_a_fetch", "");
                for number in 0..200 {
                    modules.source(format!("between{number}"), "");
                }
                for number in 0..500 {
                    modules.source(format!("handled{number}"), "");
                }
            });
            let ended = run.text("app:finalizers", ());
            assert_eq!(ended, "in_the_open ImportError ImportError after");
            assert_eq!(run.text("app:signals", ()), "400");
            // Between calls the main thread reads messages, which its handler cannot wait for.
            let pid: i32 = run.context.call("os:getpid", ()).unwrap();
            let process = support::Process::open(pid);
            for count in 401..500 {
                process.signal(libc::SIGUSR1);
                while run.text("app:handled", ()) != count.to_string() {}
            }
        });
    });
}
