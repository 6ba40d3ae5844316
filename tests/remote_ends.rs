//! Promise: code in a context that waits for others hears of their end, and ends those that are below it.

use std::time::Duration;

use econtext::{Context, Error, Level, Local, Router, ToArgs, Value};

mod support;

use support::{
    Python, Run, TempDir, for_each_kind_of_python, for_each_python, isolated, long, mkfifo,
    process_of,
};

/// Longer than what the code there waits at most.
const DEADLINE: Duration = Duration::from_secs(60);

type Read = (Vec<i64>, String);

fn start(python: &Python) -> Run {
    Run::start_with(Local::new().python(&python.path).name("here"), Level::Debug, |modules| {
        modules.source("work", include_str!("remote_ends/work.py"));
    })
}

fn below(context: &Context, python: &Python, name: &str) -> Context {
    context.connect(Local::new().python(&python.path).name(name)).unwrap()
}

fn call<T: econtext::FromValue>(context: &Context, target: &str, args: impl ToArgs) -> T {
    let got = context.call_with_deadline(DEADLINE, target, args);
    got.unwrap_or_else(|error| panic!("{target}: {}", long(&error)))
}

fn gone(context: &Context) -> String {
    format!("ChannelError: context {} is gone", context.id())
}

const CLOSED: &str = "ChannelError: the channel is closed";

#[test]
fn a_channel_ends_with_the_call_that_was_given_its_sender_however_that_ends() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let child = below(&run.context, python, "child");
            for in_a_variable in [false, true] {
                let stream = |function: &str| -> (Vec<i64>, String, String) {
                    call(&run.context, "work:stream", (&child, function, in_a_variable))
                };
                let returned = stream("send");
                assert_eq!(returned, (vec![1, 2], CLOSED.into(), "2".into()));
                let raised = stream("send_and_raise");
                assert_eq!(raised, (vec![1, 2], CLOSED.into(), "CallError: after that".into()));
            }
            assert_eq!(call::<Vec<i64>>(&run.context, "work:iterate", (&child,)), [1, 2]);
            for in_a_variable in [false, true] {
                let child = below(&run.context, python, "child");
                let args = (&child, "send_and_die", in_a_variable);
                let (got, end, said): (Vec<i64>, String, String) =
                    call(&run.context, "work:stream", args);
                assert_eq!((got, end), (vec![1, 2], gone(&child)));
                let words = "StreamError: child: call of work:send_and_die: ";
                assert!(said.starts_with(words), "{said}");
            }
        });
    });
}

#[test]
fn a_channel_goes_on_while_another_call_has_a_sender() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python);
            let [child, other] = ["child", "other"].map(|name| below(&run.context, python, name));
            let read: Read = call(&run.context, "work:one_after_the_other", (&child,));
            assert_eq!(read, (vec![0, 1, 2], CLOSED.into()));
            let fifo = mkfifo(&dir, &python.name);
            let (failed, early, read): (String, String, Read) =
                call(&run.context, "work:at_once", (&child, &other, fifo));
            assert_eq!((&*failed, &*early), ("StreamError", "TimeoutError"));
            assert_eq!(read, (vec![7], CLOSED.into()));
        });
    });
}

#[test]
fn a_channel_goes_on_while_a_sender_is_kept_and_ends_when_that_is_dropped() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let child = below(&run.context, python, "child");
            let got: (i64, String, Vec<i64>, String) =
                call(&run.context, "work:outlive", (&child,));
            assert_eq!(got, (1, "TimeoutError".into(), vec![], CLOSED.into()));
        });
    });
}

#[test]
fn a_channel_whose_call_cannot_be_sent_ends() {
    isolated(|| {
        for_each_python(|python| {
            let router = Router::builder().max_message_bytes(1 << 20).build().unwrap();
            router.modules().source("work", include_str!("remote_ends/work.py"));
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let child = below(&context, python, "child");
            for argument in ["x".repeat(600_000), String::new()] {
                let (error, read): (String, Read) =
                    call(&context, "work:unsent", (&child, &*argument));
                assert_eq!(error == "StreamError", !argument.is_empty(), "{error}");
                assert_eq!(read, (vec![], CLOSED.into()));
            }
        });
    });
}

#[test]
fn a_channel_of_a_context_elsewhere_ends_with_that_and_not_before() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let here = below(&run.context, python, "receives");
            let child = below(&here, python, "child");
            let [first, last] = ["first", "last"].map(|name| {
                run.router.connect(Local::new().python(&python.path).name(name)).unwrap()
            });
            let sender: Value = call(&here, "work:receiver", ());
            // It ends neither with a call that was given a sender, too, nor with one of two that have sent something.
            let lent: (i64, String) = call(&here, "work:lend", (&child,));
            assert_eq!(lent, (0, "TimeoutError".into()));
            child.shutdown().unwrap();
            for context in [&first, &last] {
                call::<()>(context, "work:send", (sender.clone(), 1));
            }
            let read = here.call_async::<Read>("work:read_kept", ()).unwrap();
            first.shutdown().unwrap();
            call::<()>(&last, "work:send", (sender.clone(), 2));
            process_of(&last).signal(9);
            let (got, end) = read.get_timeout(DEADLINE).unwrap();
            assert_eq!((got, end), (vec![1, 1, 2], gone(&last)));
        });
    });
}

#[test]
fn what_a_forked_copy_would_wait_for_in_vain_is_an_error() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            for what in ["start", "receive", "call", "end"] {
                let (said, is_whole): (String, bool) =
                    call(&run.context, "work:in_a_copy", (what,));
                let words =
                    "StreamError: this is a forked copy of the context, which has no stream";
                assert_eq!((&*said, is_whole), (words, true), "{what}");
            }
        });
    });
}

#[test]
fn a_context_shuts_down_those_below_it_and_waits_for_their_end() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let ended = |answers: &[&str]| {
                (true, false, Vec::from_iter(answers.iter().map(|it| it.to_string())))
            };
            type Ended = (bool, bool, Vec<String>);
            let got: Ended = call(&run.context, "work:shut_down_started", ());
            assert_eq!(got, ended(&["StreamError"]));
            let child = below(&run.context, python, "child");
            let below_that = below(&child, python, "below that");
            let got: Ended = call(&run.context, "work:shut_down", (&below_that,));
            assert_eq!(got, ended(&["StreamError"]));
            assert!(matches!(
                below_that.call::<()>("os:getpid", ()),
                Err(Error::Disconnected { .. })
            ));
            assert!(child.is_connected());
            let below_that = below(&child, python, "below that");
            let got: Ended = call(&run.context, "work:shut_down", (&child,));
            assert_eq!(got, ended(&["StreamError"]));
            assert!(!below_that.is_connected());
        });
    });
}

#[test]
fn a_context_that_is_busy_or_hung_is_ended_after_the_grace_period() {
    isolated(|| {
        for_each_python(|python| {
            let router =
                Router::builder().shutdown_grace(Duration::from_millis(500)).build().unwrap();
            router.modules().source("work", include_str!("remote_ends/work.py"));
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let child = below(&context, python, "child");
            for name in ["child", "grandchild"] {
                let busy = below(if name == "child" { &context } else { &child }, python, name);
                let got: (bool, bool, Vec<String>) =
                    call(&context, "work:shut_down", (&busy, "busy"));
                let answers = vec!["StreamError".to_string(); 2];
                assert_eq!(got, (true, false, answers), "{name}");
            }
            let process = process_of(&child);
            process.stop();
            assert_eq!(call::<String>(&context, "work:try_to_shut_down", (&child,)), "None");
            assert!(!process.is_running());
        });
    });
}

#[test]
fn a_context_whose_parent_is_hung_is_not_waited_for_without_end() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router =
                Router::builder().shutdown_grace(Duration::from_millis(100)).build().unwrap();
            router.modules().source("work", include_str!("remote_ends/work.py"));
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let child = below(&context, python, "child");
            let last = below(&child, python, "last");
            let process = process_of(&child);
            process.stop();
            let said: String = call(&context, "work:try_to_shut_down", (&last,));
            assert_eq!(said, "TimeoutError: last: shutdown: no answer in time");
            process.signal(9);
            last.shutdown().unwrap();
        });
    });
}

#[test]
fn a_context_that_is_not_below_is_not_shut_down() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let child = below(&run.context, python, "child");
            let beside = below(&run.context, python, "beside");
            let refused = |target: &str, context: &Context| {
                let said: String = call(&child, target, (context,));
                let words = format!(
                    "StreamError: {}: shutdown: context {} may not send to handle 106 of context {}",
                    context.name(),
                    child.id(),
                    context.id()
                );
                assert_eq!(said, words);
                assert!(context.is_connected());
            };
            refused("work:try_to_shut_down", &beside);
            refused("work:try_to_shut_down", &run.context);
            let said: String = call(&child, "work:shut_parent_down", (0,));
            assert!(said.ends_with("may not send to handle 106 of context 0"), "{said}");
            let said: String = call(&child, "work:shut_itself_down", ());
            assert_eq!(said, "ValueError: a context cannot shut itself down");
            call::<u32>(&child, "os:getpid", ());
        });
    });
}
