//! Promise: what fails on a context that is up is said in one line that names the context, the call and
//! the reason.

use std::time::Duration;

use econtext::{Context, Error, FromValue, Local, Pending, Router, ToArgs, Value};

mod support;

use support::{Python, TempDir, for_each_kind_of_python, interpreters, isolated, mkfifo};

const WORK: &str = "
import os
import sys

class Class(object):
    pass

def wait_for(fifo):
    open(fifo).close()

def leave(status):
    os._exit(status)

def kill(number):
    os.kill(os.getpid(), number)

def unsendable():
    return lambda: None

def text_of(count):
    return 'x' * count

def deep(count):
    value = None
    for _ in range(count):
        value = [value]
    return value

def itself():
    value = []
    value.append(value)
    return value

def names():
    return {'a': [1, 'two']}

def raise_long(count):
    raise ValueError('x' * count)

def print_long(count):
    print('x' * count)
";

/// The smallest limit on messages.
const LIMIT: usize = 1 << 20;

fn router() -> Router {
    let router = Router::builder().max_message_bytes(LIMIT).on_log(|_| ()).build().unwrap();
    router.modules().source("work", WORK);
    router
}

/// Runs `body` with a context named `web` of each kind of Python.
fn for_each_context(body: impl Fn(&Python, &Context)) {
    let router = router();
    for_each_kind_of_python(|python| {
        body(python, &router.connect(Local::new().python(&python.path).name("web")).unwrap());
    });
    router.shutdown().unwrap();
}

/// The line of the error of a call.
#[track_caller]
fn error<T: FromValue + std::fmt::Debug>(
    context: &Context,
    target: &str,
    args: impl ToArgs,
) -> String {
    let line = context.call::<T>(target, args).unwrap_err().to_string();
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    line
}

#[test]
fn a_module_a_class_or_a_function_that_is_not_there() {
    isolated(|| {
        for_each_context(|python, context| {
            let (class, quote) = match python.version.0 {
                2 => ("ImportError", ""),
                _ => ("ModuleNotFoundError", "'"),
            };
            for module in ["nothing", "work.nothing", "os.nothing", "no.such.module"] {
                let missing = match (python.version.0, module) {
                    (_, "no.such.module") if python.version.0 == 3 => "no",
                    (2, "no.such.module") => "no.such.module",
                    (2, module) => module.rsplit('.').next().unwrap(),
                    (_, module) => module,
                };
                let line = error::<()>(context, &format!("{module}:f"), ());
                let start = format!("web: call of {module}:f: {class}: No module named {quote}");
                assert!(line.starts_with(&start), "{line}");
                assert!(line.contains(missing), "{line}");
            }
            for (target, reason) in [
                ("work:nothing", "work has no function nothing"),
                ("work:Nothing.f", "work has no class Nothing"),
                ("work:Class.nothing", "work.Class has no function nothing"),
                ("work:Class.Inner.f", "work.Class has no class Inner"),
            ] {
                let text = format!("web: call of {target}: AttributeError: {reason}");
                assert_eq!(error::<()>(context, target, ()), text);
            }
        });
    });
}

#[test]
fn why_a_module_that_was_not_found_is_not_served() {
    isolated(|| {
        let (router, dir) = (router(), TempDir::new());
        dir.file("served/app/tasks.py", "import no_such_module\n");
        dir.file("served/app/keys.py", "");
        let modules = router.modules();
        modules.path(dir.path().join("served")).deny(["app.keys"]);
        let absent = "; it is not on that machine, and not in what Router::modules() serves: add it by \
                      .source(..) or .path(..)";
        let denied = "; Router::modules().deny(..) keeps it from being served";
        let not_allowed = "; Router::modules().allow(..) does not name it";
        let check = |table: &[(&str, &str)]| {
            for_each_kind_of_python(|python| {
                let context = router.connect(Local::new().python(&python.path)).unwrap();
                for (target, hint) in table {
                    let line = error::<()>(&context, target, ());
                    let (words, found) = line.split_once(';').unwrap_or((&line, ""));
                    assert!(words.contains("No module named "), "{line}");
                    assert_eq!(found, hint.trim_start_matches(';'), "{line}");
                }
            });
        };
        check(&[("nothing:f", absent), ("app.nothing:f", absent), ("app.keys:f", denied)]);
        // Here it is not the module of the call that is missing, which only Python 3 names in full.
        let newest = interpreters().iter().rfind(|it| it.name.starts_with("python3")).unwrap();
        let context = router.connect(Local::new().python(&newest.path).name("web")).unwrap();
        let text =
            "web: call of app.tasks:f: ModuleNotFoundError: No module named 'no_such_module'";
        assert_eq!(error::<()>(&context, "app.tasks:f", ()), format!("{text}{absent}"));
        modules.allow(["work"]);
        check(&[("app.tasks:f", not_allowed)]);
        context.call::<String>("work:text_of", (1,)).unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_target_that_names_no_function() {
    isolated(|| {
        let router = router();
        let context = router.connect(Local::new().name("web")).unwrap();
        for target in ["os.getpid", "os:", ":f", "a:b:c", "os:\u{1b}[31m:", ""] {
            let text = format!(
                "call of {:?}: a function is named package.module:function or \
                 package.module:Class.method",
                target
            );
            assert_eq!(error::<()>(&context, target, ()), text);
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn a_child_that_dies_in_a_call() {
    isolated(|| {
        for (target, argument, reason) in [
            ("work:leave", 3, "the child ended: exit status 3"),
            ("work:leave", 0, "the child ended: exit status 0"),
            ("work:kill", 9, "the child ended: killed by signal 9"),
            ("work:kill", 11, "the child ended: killed by signal 11"),
        ] {
            let router = router();
            for_each_kind_of_python(|python| {
                let local = Local::new().python(&python.path).name("web");
                let context = router.connect(local).unwrap();
                let call: Pending<()> = context.call_async(target, (argument,)).unwrap();
                let behind: Pending<()> = context.call_async("os:getpid", ()).unwrap();
                let text = |what| format!("web: {what}: disconnected: {reason}");
                assert_eq!(call.get().unwrap_err().to_string(), text(format!("call of {target}")));
                let of_getpid = text("call of os:getpid".into());
                assert_eq!(behind.get().unwrap_err().to_string(), of_getpid);
                assert_eq!(error::<()>(&context, "os:getpid", ()), of_getpid);
                let error = context.call_no_reply("os:getpid", ()).unwrap_err();
                assert_eq!(error.to_string(), of_getpid);
                assert_eq!(context.info().unwrap_err().to_string(), text("connecting".into()));
                assert!(!context.is_connected());
            });
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn arguments_that_cannot_be_sent() {
    isolated(|| {
        let router = router();
        let context = router.connect(Local::new().name("web")).unwrap();
        let deep = (0..300).fold(Value::None, |inner, _| Value::List(vec![inner]));
        let text = "arguments of work:f: nested more than 256 deep";
        assert_eq!(error::<()>(&context, "work:f", (deep,)), text);
        let object: Value = context.call("work:Class", ()).unwrap();
        let text = "arguments of work:f: the object work.Class cannot be sent";
        assert_eq!(error::<()>(&context, "work:f", (object,)), text);
        // None of that has reached the child.
        context.call::<()>("os:getpid", ()).unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_result_that_cannot_be_sent() {
    isolated(|| {
        for_each_context(|_, context| {
            // How Python says it differs by version.
            for target in ["work:unsendable", "sys:_getframe"] {
                let line = error::<Value>(context, target, ());
                let name = target.replace(':', ".");
                let (start, rest) = line.split_once(": the result of ").unwrap();
                assert!(start.starts_with(&format!("web: call of {target}: ")), "{line}");
                let text = format!("{name} cannot be sent: ");
                assert!(rest.starts_with(&text) && rest.len() > text.len(), "{line}");
            }
            let nested = "expected a value, got what cannot be read (";
            for (target, args) in [("work:itself", vec![]), ("work:deep", vec![Value::Int(300)])] {
                let line = error::<Value>(context, target, args);
                assert!(line.starts_with(nested), "{line}");
                assert!(line.ends_with(&format!(") from the call of {target} in web")), "{line}");
            }
        });
    });
}

#[test]
fn a_result_of_another_type_than_was_asked_for() {
    isolated(|| {
        for_each_context(|_, context| {
            let line =
                error::<std::collections::HashMap<String, Vec<i64>>>(context, "work:names", ());
            let kind = if line.contains("bytes") { "bytes b'two'" } else { "str 'two'" };
            let text =
                format!("expected i64 at ['a'][1], got {kind} from the call of work:names in web");
            // The key is bytes too, in 2.7.
            assert_eq!(line.replace("[b'a']", "['a']"), text);
        });
    });
}

#[test]
fn a_message_over_the_limit_is_refused_where_it_is_made_and_the_stream_goes_on() {
    isolated(|| {
        for_each_context(|_, context| {
            let line = error::<()>(context, "work:f", (vec![0_u8; LIMIT],));
            let (start, rest) = line.split_once("work:f: ").unwrap();
            assert_eq!(start, "arguments of ");
            let (bytes, rest) = rest.split_once(' ').unwrap();
            assert!((LIMIT..LIMIT + 100).contains(&bytes.parse().unwrap()), "{line}");
            assert_eq!(rest, "bytes, more than the 1048576 of max_message_bytes");

            let line = error::<()>(context, "work:text_of", (LIMIT,));
            let start = "web: call of work:text_of: ValueError: the result of work.text_of cannot \
                         be sent: it takes ";
            let rest = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
            let (bytes, rest) = rest.split_once(' ').unwrap();
            assert!((LIMIT..LIMIT + 100).contains(&bytes.parse().unwrap()), "{line}");
            assert_eq!(rest, "bytes where the limit is 1048576");

            // What the library makes itself of too much fits.
            let wide = "\u{1f40d}".repeat(LIMIT / 8);
            context.call::<()>("work:print_long", (10 * LIMIT as i64,)).unwrap();
            let line = error::<()>(context, "work:raise_long", (10 * LIMIT as i64,));
            assert!(line.starts_with("web: call of work:raise_long: ValueError: xxx"), "{line}");
            assert!(line.ends_with("xxx..."), "{line}");
            let line = error::<()>(context, "work:leave", (wide,));
            assert!(line.starts_with("web: call of work:leave: TypeError: "), "{line}");
            context.call::<()>("os:getpid", ()).unwrap();
        });
    });
}

#[test]
fn timeouts_of_a_call_and_of_a_start() {
    let short = Duration::from_millis(50);
    isolated(|| {
        let dir = TempDir::new();
        let router = router();
        let context = router.connect(Local::new().name("web")).unwrap();
        let gate = mkfifo(&dir, "gate");
        let late = context.call_with_deadline::<()>(short, "work:wait_for", (&gate,));
        let text = "web: call of work:wait_for: no answer within 50ms";
        assert_eq!(late.unwrap_err().to_string(), text);
        let behind = context.call_async::<()>("os:getpid", ()).unwrap();
        let text = "web: call of os:getpid: no answer within 0ns";
        assert_eq!(behind.get_timeout(Duration::ZERO).unwrap_err().to_string(), text);
        std::fs::File::options().write(true).open(&gate).unwrap();
        behind.get().unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_context_or_a_router_that_is_used_after_its_shutdown() {
    isolated(|| {
        let router = router();
        let context = router.connect(Local::new().name("web")).unwrap();
        let other = router.connect(Local::new().name("other")).unwrap();
        context.shutdown().unwrap();
        let text = |what: &str| format!("web: {what}: disconnected: it was shut down");
        assert_eq!(error::<()>(&context, "os:getpid", ()), text("call of os:getpid"));
        let pending = context.call_async::<()>("os:getpid", ()).unwrap();
        assert_eq!(pending.get().unwrap_err().to_string(), text("call of os:getpid"));
        assert_eq!(context.info().unwrap_err().to_string(), text("connecting"));
        context.shutdown().unwrap();

        let gone = "the router has been shut down";
        other.call::<()>("os:getpid", ()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        router.shutdown().unwrap();
        router.shutdown().unwrap();
        assert_eq!(error::<()>(&other, "os:getpid", ()), gone);
        let pending = other.call_async::<()>("os:getpid", ());
        assert_eq!(pending.unwrap_err().to_string(), gone);
        assert_eq!(other.call_no_reply("os:getpid", ()).unwrap_err().to_string(), gone);
        assert_eq!(other.info().unwrap_err().to_string(), gone);
        assert_eq!(receiver.recv().unwrap_err().to_string(), gone);
        assert_eq!(sender.send(1).unwrap_err().to_string(), gone);
        assert_eq!(router.connect(Local::new()).unwrap_err().to_string(), gone);
        let started = router.start(Local::new());
        assert_eq!(started.info().unwrap_err().to_string(), gone);
        assert!(matches!(started.call::<()>("os:getpid", ()), Err(Error::Shutdown)));
    });
}
