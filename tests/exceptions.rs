//! Promise: what a remote function raises comes back whole, in the lines of the user's own source, and
//! the context goes on.

use std::sync::Arc;

use econtext::{CallError, Context, Error, Local, Router};

mod support;

use support::{Log, Python, Run, TempDir, for_each_kind_of_python, for_each_python, isolated};

const BROKEN: &str = r#"
import sys
import threading

def outer(message):
    return inner(message)

def inner(message):
    raise ValueError(message)

class Outer(object):
    class Inner(Exception):
        pass

def own_class():
    raise Outer.Inner('of a class of this module')

class Mute(Exception):
    def __str__(self):
        raise ValueError('no str')
    __repr__ = __unicode__ = __str__

class Quitter(Exception):
    def __str__(self):
        sys.exit('from str')
    __repr__ = __unicode__ = __str__

def mute():
    raise Mute()

def quitter():
    raise Quitter()

def long(size):
    raise ValueError('begin ' + 'x' * size)

def bytes_message():
    raise ValueError(b'caf\xc3\xa9 \xff')

def leave(status):
    sys.exit(status)

def interrupt():
    raise KeyboardInterrupt()

def thread():
    def run():
        raise ValueError('in a thread')
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

def recurse():
    return recurse() + 1

def escapes():
    raise ValueError('\x1b[31mred\r\nsecond line')
"#;

/// Runs `body` with a context of each Python, served `BROKEN` and what `sources` has.
fn for_each_context(sources: &[(&str, &str)], body: impl Fn(&Python, &Context)) {
    let router = Router::new().unwrap();
    router.modules().source("broken", BROKEN);
    for (name, source) in sources {
        router.modules().source(*name, *source);
    }
    for_each_python(|python| {
        let context = router.connect(Local::new().python(&python.path)).unwrap();
        body(python, &context);
        // Whatever was raised, the context goes on.
        let pid: u32 = context.call("os:getpid", ()).unwrap();
        assert_eq!(pid, context.info().unwrap().pid);
        context.shutdown().unwrap();
    });
    router.shutdown().unwrap();
}

/// What the call raised.
#[track_caller]
fn raised(context: &Context, target: &str, args: impl econtext::ToArgs) -> Arc<CallError> {
    match context.call::<econtext::Value>(target, args) {
        Err(Error::Call(error)) => error,
        other => panic!("{target}: {other:?}"),
    }
}

/// The traceback without the lines by which newer Pythons point into a source line.
fn lines(error: &CallError) -> Vec<&str> {
    let points =
        |line: &&str| !line.trim().is_empty() && line.trim().chars().all(|c| "^~".contains(c));
    error.traceback.lines().filter(|line| !points(line)).collect()
}

/// Whether the lines occur in this order, others between them.
#[track_caller]
fn assert_in_order(error: &CallError, wanted: &[&str]) {
    let mut lines = error.traceback.lines();
    for part in wanted {
        assert!(
            lines.any(|line| line.contains(part)),
            "{part:?} is not where it should be in\n{}",
            error.traceback
        );
    }
}

const OUTER: [&str; 6] = [
    "Traceback (most recent call last):",
    "  File \"broken.py\", line 6, in outer",
    "    return inner(message)",
    "  File \"broken.py\", line 9, in inner",
    "    raise ValueError(message)",
    "ValueError: the message",
];

#[test]
fn a_traceback_ends_where_the_user_calls_the_library() {
    isolated(|| {
        let work = "def send(sender):\n    sender.send(send)\n    sender.send(lambda: 1)\n\n\
                    def start():\n    from econtext import parent\n    parent.argv(['/no/such/tool'])\n";
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("calls", work);
            });
            let (sender, _receiver) = run.router.channel::<i64>();
            for (result, last) in [
                (run.context.call::<()>("calls:send", (sender,)), "    sender.send("),
                (run.context.call::<()>("calls:start", ()), "    parent.argv(['/no/such/tool'])"),
            ] {
                let Err(Error::Call(error)) = result else { panic!("{result:?}") };
                let frames: Vec<_> = lines(&error);
                assert!(!error.traceback.contains("econtext/"), "{}", error.traceback);
                assert_eq!(frames[0], "Traceback (most recent call last):");
                let at = frames.iter().position(|line| line.starts_with("  File ")).unwrap();
                assert!(frames[at].starts_with("  File \"calls.py\""), "{}", error.traceback);
                assert!(frames[at + 1].starts_with(last), "{}", error.traceback);
            }
        });
    });
}

#[test]
fn class_message_and_traceback_with_the_lines_of_an_embedded_module() {
    isolated(|| {
        for_each_context(&[], |_, context| {
            let error = raised(context, "broken:outer", ("the message",));
            assert_eq!((&error.class[..], &error.message[..]), ("ValueError", "the message"));
            assert_eq!(lines(&error), OUTER);
            assert!(error.traceback.ends_with('\n'));
        });
    });
}

#[test]
fn the_lines_of_a_module_out_of_a_directory_are_those_that_were_served() {
    isolated(|| {
        let dir = TempDir::new();
        let served = dir.file("served/package/broken.py", BROKEN);
        let init = dir.file("served/package/__init__.py", "");
        let router = Router::new().unwrap();
        router.modules().path(dir.path().join("served"));
        for_each_python(|python| {
            std::fs::write(&served, BROKEN).unwrap();
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            context.call::<()>("package.broken:thread", ()).unwrap();
            // What was imported stays as it was, also in tracebacks.
            std::fs::write(&served, BROKEN.replace("message", "changed")).unwrap();
            let error = raised(&context, "package.broken:outer", ("the message",));
            let file = format!("File \"{}\"", served.display());
            assert_eq!(lines(&error), OUTER.map(|line| line.replace("File \"broken.py\"", &file)));
        });
        assert!(init.exists());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_different_file_of_the_same_name_is_never_shown() {
    isolated(|| {
        let dir = TempDir::new();
        let other = "# a line of another file\n".repeat(100);
        dir.file("broken.py", &other);
        dir.file("wrong.py", &other);
        let router = Router::new().unwrap();
        router.modules().source("broken", BROKEN);
        router.modules().source("wrong", "first = 1\nsecond = = 2\n");
        for_each_python(|python| {
            let local = Local::new().python(&python.path).current_dir(dir.path());
            let context = router.connect(local).unwrap();
            let error = raised(&context, "wrong:f", ());
            assert_in_order(
                &error,
                &["File \"wrong.py\", line 2", "second = = 2", "SyntaxError: "],
            );
            assert!(!error.traceback.contains("another file"), "{}", error.traceback);
            // Python looks for source files in the directories of sys.path, too.
            context.call::<()>("broken:thread", ()).unwrap();
            context.call::<()>("sys:path.append", (dir.path(),)).unwrap();
            let error = raised(&context, "broken:outer", ("the message",));
            assert_eq!(lines(&error), OUTER);
        });
        router.shutdown().unwrap();
    });
}

#[test]
fn chained_exceptions_come_with_what_they_are_chained_to() {
    const CHAINED: &str = "
def cause():
    try:
        {}['first']
    except KeyError as error:
        raise ValueError('second') from error

def handling():
    try:
        cause()
    except ValueError:
        raise TypeError('third')

def suppressed():
    try:
        cause()
    except ValueError:
        raise TypeError('third') from None
";
    isolated(|| {
        for_each_context(&[("chained", CHAINED)], |python, context| {
            if python.version.0 == 2 {
                return; // It has no chains, nor the syntax.
            }
            let error = raised(context, "chained:handling", ());
            assert_eq!((&error.class[..], &error.message[..]), ("TypeError", "third"));
            let wanted = [
                "File \"chained.py\", line 4, in cause",
                "    {}['first']",
                "KeyError: 'first'",
                "The above exception was the direct cause of the following exception:",
                "File \"chained.py\", line 10, in handling",
                "    cause()",
                "    raise ValueError('second') from error",
                "ValueError: second",
                "During handling of the above exception, another exception occurred:",
                "    raise TypeError('third')",
                "TypeError: third",
            ];
            assert_in_order(&error, &wanted);
            let error = raised(context, "chained:suppressed", ());
            assert!(!error.traceback.contains("second"), "{}", error.traceback);
        });
    });
}

#[test]
fn exception_groups_come_with_all_their_members() {
    const GROUPS: &str = "
def fail(kind, message):
    raise kind(message)

def caught(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error

def group():
    inner = ExceptionGroup('inner', [caught(fail, KeyError, 'deep')])
    raise ExceptionGroup('several', [caught(fail, ValueError, 'one'), inner])
";
    isolated(|| {
        for_each_context(&[("groups", GROUPS)], |python, context| {
            if python.version < (3, 11) || python.name.starts_with("pypy") {
                return; // They have no groups.
            }
            let error = raised(context, "groups:group", ());
            assert_eq!(error.class, "ExceptionGroup");
            assert_eq!(error.message, "several (2 sub-exceptions)");
            let wanted = [
                "Exception Group Traceback (most recent call last):",
                "raise ExceptionGroup('several',",
                "ExceptionGroup: several (2 sub-exceptions)",
                "File \"groups.py\", line 3, in fail",
                "raise kind(message)",
                "ValueError: one",
                "ExceptionGroup: inner (1 sub-exception)",
                "File \"groups.py\", line 3, in fail",
                "KeyError: 'deep'",
            ];
            assert_in_order(&error, &wanted);
        });
    });
}

#[test]
fn exits_and_interrupts_are_exceptions_like_others() {
    isolated(|| {
        for_each_context(&[], |_, context| {
            let error = raised(context, "broken:leave", (3,));
            assert_eq!((&error.class[..], &error.message[..]), ("SystemExit", "3"));
            assert_in_order(&error, &["in leave", "sys.exit(status)", "SystemExit: 3"]);
            let error = raised(context, "broken:leave", ("words",));
            assert_eq!((&error.class[..], &error.message[..]), ("SystemExit", "words"));
            let error = raised(context, "broken:interrupt", ());
            assert_eq!((&error.class[..], &error.message[..]), ("KeyboardInterrupt", ""));
            assert_eq!(
                error.to_string(),
                format!("{context}: call of broken:interrupt: KeyboardInterrupt")
            );
        });
    });
}

#[test]
fn a_syntax_error_in_a_served_module_shows_file_line_and_text() {
    const WRONG: &str = "first = 1\n\ndef f(:\n    pass\n";
    const INDENTED: &str = "def f():\n    one = 1\n  two = 2\n";
    isolated(|| {
        let dir = TempDir::new();
        let file = dir.file("in_directory.py", WRONG);
        let router = Router::new().unwrap();
        router.modules().path(dir.path());
        router.modules().source("wrong", WRONG).source("indented", INDENTED);
        router.modules().source("importing", "import os\nimport wrong\n");
        for_each_python(|python| {
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            for (target, name) in [
                ("wrong:f", "wrong.py".to_string()),
                ("importing:f", "wrong.py".to_string()),
                ("in_directory:f", file.display().to_string()),
            ] {
                let error = raised(&context, target, ());
                assert_eq!(error.class, "SyntaxError");
                let place = format!("File \"{name}\", line 3");
                assert_in_order(&error, &[&place, "    def f(:", "SyntaxError: "]);
            }
            let error = raised(&context, "importing:f", ());
            assert_in_order(&error, &["File \"importing.py\", line 2", "import wrong"]);
            let error = raised(&context, "indented:f", ());
            assert_eq!(error.class, "IndentationError");
            assert_in_order(&error, &["File \"indented.py\", line 3", "two = 2", "Indentation"]);
        });
        router.shutdown().unwrap();
    });
}

#[test]
fn source_that_is_not_text_is_refused_with_its_name() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("not_text.py", b"# caf\xe9\nx = '\xff'\n");
        dir.file("latin.py", b"# coding: latin-1\ndef fail():\n    raise ValueError('caf\xe9')\n");
        let router = Router::new().unwrap();
        router.modules().path(dir.path());
        for_each_python(|python| {
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            if python.version.0 == 3 {
                let error = raised(&context, "not_text:f", ());
                assert_eq!(error.class, "SyntaxError", "{error:?}");
                assert!(error.traceback.contains("not_text.py"), "{}", error.traceback);
            }
            let error = raised(&context, "latin:fail", ());
            let wanted = if python.version.0 == 2 { "caf\u{fffd}" } else { "caf\u{e9}" };
            assert_eq!((&error.class[..], &error.message[..]), ("ValueError", wanted));
            assert_in_order(&error, &["latin.py\", line 3, in fail", "raise ValueError('caf"]);
        });
        router.shutdown().unwrap();
    });
}

#[test]
fn an_exception_whose_str_raises_is_told_by_its_class() {
    isolated(|| {
        for_each_context(&[], |_, context| {
            for (function, class) in [("mute", "Mute"), ("quitter", "Quitter")] {
                let error = raised(context, &format!("broken:{function}"), ());
                assert_eq!(error.class, format!("broken.{class}"));
                assert_eq!(error.message, format!("<unprintable {class} object>"));
            }
            let error = raised(context, "broken:mute", ());
            assert_in_order(&error, &["in mute", "raise Mute()"]);
        });
    });
}

#[test]
fn a_message_of_ten_megabytes_is_cut_and_says_so() {
    const SIZE: usize = 10_000_000;
    isolated(|| {
        for_each_context(&[], |_, context| {
            let error = raised(context, "broken:long", (SIZE,));
            assert_eq!(error.class, "ValueError");
            assert!(error.message.starts_with("begin xxxx"));
            let note = format!("x... ({} more characters)", SIZE + 6 - 65_536);
            assert!(error.message.ends_with(&note), "{}", &error.message[65_000..]);
            // Of the traceback, both ends are kept.
            assert_in_order(&error, &["in long", "raise ValueError(", "characters left out)"]);
            assert!(error.traceback.len() < 70_000, "{}", error.traceback.len());
            assert!(error.to_string().len() < 1010);
        });
    });
}

#[test]
fn a_message_that_is_not_ascii_or_not_even_text_comes_through() {
    const SURROGATES: &str = "
def fail(message):
    raise ValueError(message)

def surrogates():
    raise ValueError('name \\udcff and \\ud800')
";
    isolated(|| {
        for_each_context(&[("texts", SURROGATES)], |python, context| {
            let text = "caf\u{e9} \u{1f40d}";
            let error = raised(context, "texts:fail", (text,));
            assert_eq!(error.message, text);
            if python.version.0 == 2 {
                let error = raised(context, "broken:bytes_message", ());
                assert_eq!(error.message, "caf\u{e9} \u{fffd}");
            } else {
                let error = raised(context, "texts:surrogates", ());
                assert_eq!(error.class, "ValueError");
                assert!(error.message.starts_with("name "), "{error:?}");
            }
        });
    });
}

#[test]
fn a_class_of_a_served_module_is_named_with_its_module() {
    isolated(|| {
        for_each_context(&[], |python, context| {
            let error = raised(context, "broken:own_class", ());
            // 2.7 does not know what a class is nested in.
            let class = if python.version.0 == 2 { "broken.Inner" } else { "broken.Outer.Inner" };
            assert_eq!(error.class, class);
            assert_eq!(error.message, "of a class of this module");
            let last = format!("{class}: of a class of this module");
            if python.version.0 == 3 {
                assert_eq!(*lines(&error).last().unwrap(), last);
            }
            let error = raised(context, "subprocess:check_call", (["false"],));
            assert_eq!(error.class, "subprocess.CalledProcessError");
        });
    });
}

#[test]
fn an_exception_in_a_thread_is_printed_and_does_not_end_the_context() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("broken", BROKEN);
        let dir = TempDir::new();
        dir.file("broken.py", "# a line of another file\n".repeat(100));
        for_each_python(|python| {
            let local = Local::new().python(&python.path).current_dir(dir.path());
            let context = router.connect(local).unwrap();
            context.call::<()>("broken:thread", ()).unwrap();
            for line in ["    raise ValueError('in a thread')", "ValueError: in a thread"] {
                log.wait_for(line, |record| {
                    record.context == context.name() && record.message == line
                });
            }
            context.call::<()>("broken:thread", ()).unwrap();
        });
        router.shutdown().unwrap();
        let records = log.records();
        let others: Vec<_> =
            records.iter().filter(|record| record.message.contains("another file")).collect();
        assert!(others.is_empty(), "{others:#?}");
    });
}

#[test]
fn endless_recursion_is_an_exception_like_others() {
    isolated(|| {
        for_each_context(&[], |python, context| {
            let error = raised(context, "broken:recurse", ());
            let class = if python.version.0 == 2 { "RuntimeError" } else { "RecursionError" };
            assert_eq!(error.class, class);
            assert!(error.message.starts_with("maximum recursion depth exceeded"), "{error}");
            assert_in_order(&error, &["in recurse", "    return recurse() + 1", class]);
        });
    });
}

#[test]
fn an_exception_while_a_module_is_imported_shows_its_line_and_the_module_is_imported_again() {
    const SOURCES: [(&str, &str); 4] = [
        ("half", "import os\nbefore = 1\nraise ValueError('while importing')\n"),
        ("importer_of_half", "def f():\n    import half\n"),
        ("lacking", "import os\nimport no_such_module\n"),
        ("from_half", "from os import no_such_name\n"),
    ];
    isolated(|| {
        for_each_context(&SOURCES, |python, context| {
            for _ in 0..2 {
                let error = raised(context, "half:f", ());
                let wanted = ("ValueError", "while importing");
                assert_eq!((&error.class[..], &error.message[..]), wanted);
                let wanted = [
                    "Traceback (most recent call last):",
                    "  File \"half.py\", line 3, in <module>",
                    "    raise ValueError('while importing')",
                    "ValueError: while importing",
                ];
                assert_eq!(lines(&error), wanted);
            }
            let error = raised(context, "importer_of_half:f", ());
            assert_in_order(&error, &["importer_of_half.py\", line 2, in f", "half.py\", line 3"]);
            let error = raised(context, "lacking:f", ());
            let class = if python.version.0 == 2 { "ImportError" } else { "ModuleNotFoundError" };
            assert_eq!(error.class, class);
            assert_in_order(&error, &["lacking.py\", line 2", "import no_such_module", class]);
            assert_eq!(raised(context, "from_half:f", ()).class, "ImportError");
        });
    });
}

#[test]
fn the_one_line_of_an_exception_is_fit_for_a_terminal() {
    isolated(|| {
        for_each_context(&[], |_, context| {
            let error = raised(context, "broken:escapes", ());
            assert_eq!(error.message, "\u{1b}[31mred\r\nsecond line");
            let text = format!("{context}: call of broken:escapes: ValueError: \\x1b[31mred");
            assert_eq!(error.to_string(), text);
        });
    });
}
