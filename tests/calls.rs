//! Promise: a call runs once, in its turn, and its caller alone gets the result.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use econtext::{Context, Error, Level, Local, LogRecord, Pending, Router, Value};

mod support;

use support::{Log, TempDir, for_each_kind_of_python, isolated, mkfifo, script};

/// A wait that is to end by its timeout.
const SHORT: Duration = Duration::from_millis(50);

const WORK: &str = "
import os
import threading

seen = []

def note(item):
    seen.append(item)
    return len(seen)

def noted():
    return list(seen)

def wait_for(fifo):
    open(fifo).close()
    seen.append(fifo)

def describe(*args, **kwargs):
    return '%s %s' % (args, sorted(kwargs.items()))

def thread():
    return threading.current_thread().name

def fail(message):
    raise ValueError(message)

def size(data):
    return len(data), data[:1] == data[-1:]

def bytes_of(count):
    return b'x' * count

def mark(message):
    import logging
    logging.getLogger('mark').warning(message)

def unsendable():
    return lambda: None

class Counter(object):
    start = 40

    def __init__(self, *args):
        self.args = args

    def plain(self, step):
        return 'plain', step

    @classmethod
    def of_class(cls, step):
        return cls.__name__, cls.start + step

    @staticmethod
    def of_none(step):
        return 'static', step

    class Inner(object):
        class Innermost(object):
            @staticmethod
            def deep():
                return 'deep'
";

fn router(log: &Log) -> Router {
    let router = Router::builder().log_level(Level::Debug).on_log(log.sink()).build().unwrap();
    router.modules().source("work", WORK);
    router
}

/// Runs `body` with a context of each kind of Python, and what they log.
fn for_each_context(body: impl Fn(&Context, &Log)) {
    let log = Log::default();
    let router = router(&log);
    for_each_kind_of_python(|python| {
        body(&router.connect(Local::new().python(&python.path)).unwrap(), &log);
    });
    router.shutdown().unwrap();
}

/// Runs `body` with a context of the first interpreter that is found.
fn with_context(body: impl FnOnce(&Context, &Log)) {
    let log = Log::default();
    let router = router(&log);
    body(&router.connect(Local::new()).unwrap(), &log);
    router.shutdown().unwrap();
}

/// Lets a `work:wait_for` return.
fn open_gate(fifo: &Path) {
    File::options().write(true).open(fifo).unwrap();
}

#[test]
fn connect_returns_when_the_context_is_up() {
    isolated(|| {
        for_each_context(|context, _| {
            assert!(context.is_connected());
            let pid: u32 = context.call("os:getpid", ()).unwrap();
            assert_eq!(pid, context.info().unwrap().pid);
            context.wait_connected(Duration::ZERO).unwrap();
        });
    });
}

#[test]
fn calls_queued_before_the_start_is_up_run_in_order_when_it_is() {
    isolated(|| {
        let dir = TempDir::new();
        let gate = mkfifo(&dir, "gate");
        let python = script(&dir, "python", &format!("read line <{gate:?}\nexec python3 \"$@\"\n"));
        let router = router(&Log::default());
        let context = router.start(Local::new().python(python));
        assert!(!context.is_connected());
        let error = context.wait_connected(SHORT).unwrap_err();
        let text = format!("{context}: connecting: no answer within 50ms");
        assert_eq!(error.to_string(), text);

        let replies: Vec<Pending<i64>> =
            (0..100).map(|n| context.call_async("work:note", (n,)).unwrap()).collect();
        context.call_no_reply("work:note", ("last",)).unwrap();
        assert!(matches!(replies[0].get_timeout(SHORT), Err(Error::TimedOut { .. })));
        open_gate(&gate);
        for (n, reply) in (1..).zip(replies) {
            assert_eq!(reply.get().unwrap(), n);
        }
        let seen: Vec<Value> = context.call("work:noted", ()).unwrap();
        assert_eq!(seen.len(), 101);
        assert!(context.is_connected());
        router.shutdown().unwrap();
    });
}

#[test]
fn calls_run_on_the_main_thread_one_after_the_other_in_the_order_sent() {
    isolated(|| {
        for_each_context(|context, _| {
            let replies: Vec<Pending<i64>> =
                (0..300).map(|n| context.call_async("work:note", (n,)).unwrap()).collect();
            // The answers need not be asked for in that order.
            for (n, reply) in (1..=300_i64).rev().zip(replies.into_iter().rev()) {
                assert_eq!(reply.get().unwrap(), n);
            }
            let seen: Vec<i64> = context.call("work:noted", ()).unwrap();
            assert_eq!(seen, Vec::from_iter(0..300));
            assert_eq!(context.call::<String>("work:thread", ()).unwrap(), "MainThread");
        });
    });
}

#[test]
fn each_of_several_threads_gets_its_own_answers() {
    isolated(|| {
        for_each_context(|context, _| {
            thread::scope(|scope| {
                for first in 0..8 {
                    scope.spawn(move || {
                        for n in (first * 1000..).take(200) {
                            let root: f64 = context.call("math:fabs", (-n,)).unwrap();
                            assert_eq!(root, f64::from(n));
                        }
                    });
                }
            });
        });
    });
}

#[test]
fn twenty_thousand_calls_in_flight_are_all_answered() {
    isolated(|| {
        for_each_context(|context, _| {
            let replies: Vec<Pending<i64>> =
                (0..20_000).map(|n| context.call_async("operator:neg", (n,)).unwrap()).collect();
            for (n, reply) in (0..).zip(replies) {
                assert_eq!(reply.get().unwrap(), -n);
            }
        });
    });
}

#[test]
fn sixty_four_mebibytes_go_there_and_come_back_whole() {
    const SIZE: usize = 64 << 20;
    isolated(|| {
        for_each_context(|context, _| {
            let mut data: Vec<u8> = (0..SIZE).map(|n| (n >> 8 ^ n) as u8).collect();
            (data[0], data[SIZE - 1]) = (b'!', b'!');
            let size: (usize, bool) = context.call("work:size", (&data,)).unwrap();
            assert_eq!(size, (SIZE, true));
            let back: Vec<u8> = context.call("copy:copy", (&data,)).unwrap();
            assert!(back == data, "{} bytes came back, or others", back.len());
            // And the stream is in order behind it.
            let bytes: Vec<u8> = context.call("work:bytes_of", (3,)).unwrap();
            assert_eq!(bytes, b"xxx");
        });
    });
}

#[test]
fn after_a_deadline_the_function_runs_on_later_calls_wait_and_the_late_answer_is_dropped() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_context(|context, log| {
            let gate = mkfifo(&dir, &format!("gate-{}", context.id()));
            let error = context.call_with_deadline::<()>(SHORT, "work:wait_for", (&gate,));
            let text = format!("{context}: call of work:wait_for: no answer within 50ms");
            assert_eq!(error.unwrap_err().to_string(), text);
            let behind: Pending<i64> = context.call_async("work:note", (1,)).unwrap();
            let text = format!("{context}: call of work:note: no answer within 50ms");
            assert_eq!(behind.get_timeout(SHORT).unwrap_err().to_string(), text);
            open_gate(&gate);
            // It is the second item: the late function has run to its end before.
            assert_eq!(behind.get().unwrap(), 2);
            // Nothing is said of the late answer, neither before nor after it.
            context.call::<()>("work:mark", ("the end",)).unwrap();
            // Which modules were served is said at this level, and nothing to the point.
            let wanted = |record: &LogRecord| {
                record.context == context.name() && !record.message.starts_with("module ")
            };
            log.wait_for("the mark", wanted);
            let records = log.records();
            let of_it: Vec<_> = records.iter().filter(|record| wanted(record)).collect();
            assert_eq!(of_it.len(), 1, "{of_it:#?}");
            assert_eq!(of_it[0].message, "the end");
        });
    });
}

#[test]
fn an_answer_in_time_is_not_affected_by_its_deadline() {
    isolated(|| {
        with_context(|context, _| {
            for timeout in [Duration::from_secs(60), Duration::MAX] {
                let n: i64 = context.call_with_deadline(timeout, "operator:neg", (1,)).unwrap();
                assert_eq!(n, -1);
                let call = context.function("operator:neg").arg(2).timeout(timeout);
                assert_eq!(call.call::<i64>().unwrap(), -2);
                let reply: Pending<i64> = context.call_async("operator:neg", (3,)).unwrap();
                assert_eq!(reply.get_timeout(timeout).unwrap(), -3);
                context.wait_connected(timeout).unwrap();
            }
        });
    });
}

#[test]
fn the_exception_of_a_call_without_reply_goes_to_the_log() {
    isolated(|| {
        for_each_context(|context, log| {
            context.call_no_reply("work:fail", ("nobody hears",)).unwrap();
            context.function("work:note").arg("after it").call_no_reply().unwrap();
            let record = log.wait_for("the exception", |record| {
                record.context == context.name() && record.level > Level::Debug
            });
            assert_eq!((record.level, &record.logger[..]), (Level::Error, "econtext"));
            let lines: Vec<_> = record.message.lines().collect();
            assert_eq!(lines[0], "work.fail (nobody waits for its answer):");
            assert_eq!(lines[1], "Traceback (most recent call last):");
            assert!(lines[2].contains("in fail"), "{record}");
            assert_eq!(*lines.last().unwrap(), "ValueError: nobody hears");
            let seen: Vec<String> = context.call("work:noted", ()).unwrap();
            assert_eq!(seen, ["after it"]);
        });
    });
}

#[test]
fn a_function_takes_arguments_by_position_and_by_keyword() {
    isolated(|| {
        for_each_context(|context, _| {
            let call = || context.function("work:describe").arg(1).arg(2.5);
            let shown: String = call().kwarg("b", true).kwarg("a", 1).call().unwrap();
            assert_eq!(shown, "(1, 2.5) [('a', 1), ('b', True)]");
            // The last one of a name counts.
            let shown: String = call().kwarg("a", 1).kwarg("a", 2).call().unwrap();
            assert_eq!(shown, "(1, 2.5) [('a', 2)]");
            let reply = call().kwarg("key", ()).call_async::<String>().unwrap();
            assert_eq!(reply.get().unwrap(), "(1, 2.5) [('key', None)]");
            let shown: String = context.function("work:describe").call().unwrap();
            assert_eq!(shown, "() []");
            let late = context.function("time:sleep").arg(0.2).timeout(SHORT).call::<()>();
            let text = format!("{context}: call of time:sleep: no answer within 50ms");
            assert_eq!(late.unwrap_err().to_string(), text);
        });
    });
}

#[test]
fn methods_are_reached_through_their_classes() {
    isolated(|| {
        for_each_context(|context, _| {
            let of_class: (String, i64) = context.call("work:Counter.of_class", (2,)).unwrap();
            assert_eq!(of_class, ("Counter".into(), 42));
            let of_none: (String, i64) = context.call("work:Counter.of_none", (2,)).unwrap();
            assert_eq!(of_none, ("static".into(), 2));
            let deep: String = context.call("work:Counter.Inner.Innermost.deep", ()).unwrap();
            assert_eq!(deep, "deep");
            // A class is a function too, and a method of a built-in one takes its object.
            let made: Value = context.call("work:Counter", ()).unwrap();
            assert!(matches!(made, Value::Object { class, .. } if class == "work.Counter"));
            let upper: String = context.call("string:Formatter.format", ()).unwrap_or_default();
            assert_eq!(upper, "");
            let keys: HashMap<String, Option<i64>> =
                context.call("collections:OrderedDict.fromkeys", (["a"],)).unwrap();
            assert_eq!(keys, HashMap::from([("a".into(), None)]));
        });
    });
}

#[test]
fn a_failed_call_leaves_the_context_usable() {
    isolated(|| {
        for_each_context(|context, _| {
            for _ in 0..3 {
                let results: Vec<_> = [
                    ("work:fail", "message"),
                    ("work:nothing", ""),
                    ("no_such_module:f", ""),
                    ("work:note", "counted"),
                ]
                .map(|(target, arg)| context.call_async::<Value>(target, (arg,)).unwrap())
                .into_iter()
                .map(Pending::get)
                .collect();
                assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
                assert!(results[3].is_ok());
                assert!(matches!(context.call::<()>("work:unsendable", ()), Err(Error::Call(_))));
                let wrong = context.call::<String>("work:noted", ());
                assert!(matches!(wrong, Err(Error::Convert { .. })));
            }
            let noted: Vec<String> = context.call("work:noted", ()).unwrap();
            assert_eq!(noted, ["counted"; 3]);
        });
    });
}

#[test]
fn a_result_of_any_type_can_be_discarded_and_a_forgotten_answer_does_no_harm() {
    isolated(|| {
        for_each_context(|context, _| {
            context.call::<()>("os:getpid", ()).unwrap();
            context.call::<()>("work:Counter", ()).unwrap();
            context.call::<()>("work:note", ("a",)).unwrap();
            drop(context.call_async::<()>("work:note", ("b",)).unwrap());
            drop(context.call_async::<()>("work:fail", ("forgotten",)).unwrap());
            let noted: Vec<String> = context.call("work:noted", ()).unwrap();
            assert_eq!(noted, ["a", "b"]);
        });
    });
}

#[test]
fn decorators_hand_a_function_its_context_router_and_external_context() {
    const TAKES: &str = "
from econtext.core import takes_context, takes_external_context, takes_router

@takes_context
def context(argument, context):
    return argument, context, context.name

@takes_router
def router(router):
    return type(router).__module__, router.id

@takes_external_context
def external(external_context):
    return external_context is not None

@takes_context
@takes_router
@takes_external_context
def all_of_them(a, **kwargs):
    return sorted(kwargs)

class Class(object):
    @staticmethod
    @takes_context
    def static(context):
        return context.id

    @classmethod
    @takes_context
    def of_class(cls, context):
        return context.id
";
    isolated(|| {
        let router = router(&Log::default());
        router.modules().source("takes", TAKES);
        for_each_kind_of_python(|python| {
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let (argument, itself, name): (i64, Context, String) =
                context.call("takes:context", (5,)).unwrap();
            assert_eq!((argument, &itself, &name[..]), (5, &context, context.name()));
            let of_router: (String, u32) = context.call("takes:router", ()).unwrap();
            assert_eq!(of_router, ("econtext.core".into(), context.id()));
            assert!(context.call::<bool>("takes:external", ()).unwrap());
            let all: Vec<String> = context.call("takes:all_of_them", (1,)).unwrap();
            assert_eq!(all, ["context", "external_context", "router"]);
            for method in ["takes:Class.static", "takes:Class.of_class"] {
                assert_eq!(context.call::<u32>(method, ()).unwrap(), context.id());
            }
        });
        router.shutdown().unwrap();
    });
}

#[test]
fn contexts_are_called_beside_each_other() {
    isolated(|| {
        let dir = TempDir::new();
        let router = router(&Log::default());
        let contexts: Vec<Context> = (0..4).map(|_| router.start(Local::new())).collect();
        let gate = mkfifo(&dir, "gate");
        let held: Pending<()> = contexts[0].call_async("work:wait_for", (&gate,)).unwrap();
        for context in &contexts[1..] {
            assert_eq!(context.call::<i64>("operator:neg", (1,)).unwrap(), -1);
        }
        assert!(matches!(held.get_timeout(Duration::ZERO), Err(Error::TimedOut { .. })));
        open_gate(&gate);
        held.get().unwrap();
        router.shutdown().unwrap();
    });
}

/// Without a type there is no result to convert to, and the compiler's message is what explains that.
#[test]
fn a_call_whose_result_has_no_type_says_in_the_compilers_message_what_to_write() {
    let dir = TempDir::new();
    let source = dir.file(
        "main.rs",
        "fn call(web: &econtext::Context) -> econtext::Result<()> {
             web.call(\"os:remove\", (\"x\",))?;
             Ok(())
         }
         fn args(web: &econtext::Context) -> econtext::Result<i64> {
             web.call(\"os:remove\", 5)
         }
         fn main() {}",
    );
    let deps = std::env::current_exe().unwrap();
    let deps = deps.parent().unwrap();
    let rlibs = std::fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path());
    let newest = rlibs
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("libecontext-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| path.metadata().and_then(|file| file.modified()).unwrap())
        .expect("the library that this test is linked with");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "--color=never", "--out-dir"])
        .arg(dir.path())
        .arg("-L")
        .arg(deps)
        .arg(format!("--extern=econtext={}", newest.display()))
        .arg(source)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{message}");
    std::io::stdout().write_all(&output.stderr).unwrap();
    for part in [
        "cannot be made of a Python value",
        "name the type, as in `let pid: i64 = web.call(..)?`",
        "cannot be the arguments of a call",
        "a tuple, of one argument as well: `(argument,)`",
    ] {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}
