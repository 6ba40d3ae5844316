//! Promise: in a child `__main__` is the program's script, without what it does when it is run.

use econtext::{Error, Value};

mod support;

use support::{Run, for_each_python, isolated, long};

const SCRIPT: &str = r#"#!/usr/bin/env python
import os, pickle, sys

class Thing(object):
    pass

def install(name):
    return '%s %s %s' % (name, __name__, __file__)

def round_trip():
    import __main__
    assert __main__ is sys.modules['__main__'] and __main__.Thing is Thing
    return type(pickle.loads(pickle.dumps(Thing()))).__module__

def fail():
    raise ValueError('here')

def double(x):
    return 2 * x

def pool():
    import multiprocessing
    pool = multiprocessing.Pool(2)
    try:
        return str(sum(pool.map(double, range(10))))
    finally:
        pool.close()
        pool.join()

if __name__ == '__main__':
    raise SystemExit('the script was run')
"#;

#[test]
fn functions_of_the_script_are_called_and_its_guard_is_not_passed() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.main_script("deploy.py", SCRIPT);
            });
            assert_eq!(run.text("__main__:install", ("x",)), "x __main__ deploy.py");
            assert_eq!(run.text("__main__:round_trip", ()), "__main__");
            let error = long(&run.context.call::<Value>("__main__:fail", ()).unwrap_err());
            let line = "  File \"deploy.py\", line 16, in fail\n    raise ValueError('here')\n";
            assert!(error.contains(line), "{error}");
            assert_eq!(run.module_traffic(), [">__main__"]);
        });
    });
}

#[test]
fn a_script_may_be_registered_after_the_connect() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |_| {});
            run.context.call::<i64>("os:getpid", ()).unwrap();
            run.router.modules().main_script("late.py", SCRIPT);
            assert_eq!(run.text("__main__:install", ("x",)), "x __main__ late.py");
            assert_eq!(run.text("__main__:round_trip", ()), "__main__");
        });
    });
}

#[test]
fn without_a_script_there_is_an_empty_module() {
    const CODE: &str = r#"
import __main__

def double(x):
    return 2 * x

def names():
    return ' '.join(sorted(name for name in vars(__main__) if not name.startswith('__')))

def pool():
    import multiprocessing
    pool = multiprocessing.Pool(2)
    try:
        return str(sum(pool.map(double, range(10))))
    finally:
        pool.close()
        pool.join()
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE);
            });
            assert_eq!(run.text("app:names", ()), "");
            assert_eq!(run.text("app:pool", ()), "90");
            assert_eq!(run.module_traffic(), [">app"]);
            let error = run.context.call::<Value>("__main__:f", ()).unwrap_err();
            let text = "call of __main__:f: AttributeError: __main__ has no function f";
            assert_eq!(error.to_string(), format!("{}: {text}", run.context));
        });
    });
}

#[test]
fn multiprocessing_works_with_functions_of_the_script() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.main_script("deploy.py", SCRIPT);
            });
            assert_eq!(run.text("__main__:pool", ()), "90");
        });
    });
}

#[test]
fn a_forked_copy_that_lacks_a_module_is_told_so() {
    const CODE: &str = r#"
import os

def fork():
    pid = os.fork()
    if not pid:
        status = 0
        for attempt in range(2):
            try:
                import absent
            except ImportError:
                status += 1
        os._exit(status)
    return str(os.waitpid(pid, 0)[1] >> 8)
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("app", CODE);
            });
            assert_eq!(run.text("app:fork", ()), "2");
        });
    });
}

#[test]
fn a_script_that_would_start_its_work_is_refused_with_advice() {
    isolated(|| {
        for_each_python(|python| {
            let script = "def run():\n    pass\n\nrun()\n";
            let run = Run::start(python, |modules| {
                modules.main_script("work.py", script);
            });
            match run.context.call::<Value>("__main__:run", ()) {
                Err(Error::Call(error)) => {
                    assert_eq!(error.class, "ImportError");
                    assert_eq!(
                        error.message,
                        "work.py: line 4: the script would call run() when it is imported; put that into \
                         a function, or below a line `if __name__ == \"__main__\":`"
                    );
                }
                other => panic!("{other:?}"),
            }
        });
    });
}
