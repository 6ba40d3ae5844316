//! Promise: whichever thread of a child polls, neither keeps the other from its work, and both rest when
//! there is none.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Local, Pending, Router, Sender};

mod support;

use support::{
    Process, Python, TempDir, for_each_kind_of_python, for_each_python, interpreters, isolated,
    program, raise_descriptor_limit,
};

const WORK: &str = r#"
import threading, time
from econtext.core import Receiver, takes_router

def echo(value):
    return value

def nap(seconds):
    time.sleep(seconds)

def hang(out, busy):
    def other():
        import served_late
        receiver = Receiver()
        out.send(receiver.sender())
        for item in receiver:
            print(item)
            out.send(None)
    thread = threading.Thread(target=other)
    thread.daemon = True
    thread.start()
    while True:
        if busy:
            sum(range(100))  # 3.6 lets no other thread run in a loop of nothing but jumps
        else:
            time.sleep(1000)

def wait(out):
    receiver = Receiver()
    out.send(receiver.sender())
    return receiver.get(60)

@takes_router
def shut_down_and_call(router):
    sent = []
    router.post = lambda *args: sent.append(args)
    router.on_shutdown(0, 0, 0, b'')
    for reply_to in 77, 0:
        router.on_call(0, 0, reply_to, b'not looked at')
    router.post = router.stream.send
    (dst, handle, data), = sent
    return dst, handle, b'_DEAD' in data and b'is shutting down' in data
"#;

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(60);

fn start(python: &Python) -> (Router, Context) {
    let router =
        Router::builder().shutdown_grace(Duration::from_millis(300)).on_log(|_| {}).build();
    let router = router.unwrap();
    router.modules().source("work", WORK).source("served_late", "");
    let context = router.connect(Local::new().python(&python.path)).unwrap();
    (router, context)
}

fn echo(context: &Context, number: usize) -> Pending<usize> {
    context.call_async("work:echo", (number,)).unwrap()
}

#[test]
fn a_call_that_hangs_stops_no_import_and_no_channel_of_another_thread() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            for busy in [false, true] {
                let (router, context) = start(python);
                // Calls flow, so that the main thread leads when this one comes.
                for number in 0..100 {
                    assert_eq!(echo(&context, number).get().unwrap(), number);
                }
                let (out, senders) = router.channel::<Option<Sender<String>>>();
                let call = context.call_async::<()>("work:hang", (out, busy)).unwrap();
                let sender = senders.recv_timeout(SOON).unwrap().expect("the sender comes first");
                for _ in 0..10 {
                    sender.send("an item".to_string()).unwrap();
                    assert!(senders.recv_timeout(SOON).unwrap().is_none());
                }
                context.shutdown().unwrap();
                assert!(matches!(call.get(), Err(Error::Disconnected { .. })));
                router.shutdown().unwrap();
            }
        });
    });
}

#[test]
fn the_answer_of_a_short_call_does_not_wait_for_a_long_one_behind_it() {
    isolated(|| {
        for_each_python(|python| {
            let (router, context) = start(python);
            for _ in 0..10 {
                let (out, senders) = router.channel::<Sender<u32>>();
                let process = Process::open(context.info().unwrap().pid as i32);
                // All of them are queued when the first begins.
                process.stop();
                let short: Vec<_> = (0..3).map(|number| echo(&context, number)).collect();
                let long = context.call_async::<u32>("work:wait", (out,)).unwrap();
                let behind = echo(&context, 3);
                process.signal(libc::SIGCONT);
                for (number, call) in short.into_iter().enumerate() {
                    assert_eq!(call.get_timeout(SOON).unwrap(), number);
                }
                // Only now may it end.
                senders.recv_timeout(SOON).unwrap().send(7).unwrap();
                assert_eq!(long.get_timeout(SOON).unwrap(), 7);
                assert_eq!(behind.get_timeout(SOON).unwrap(), 3);
            }
        });
    });
}

#[test]
fn when_calls_stop_both_threads_rest() {
    isolated(|| {
        let mut routers = Vec::new();
        let mut processes = Vec::new();
        for_each_python(|python| {
            let (router, context) = start(python);
            for number in 0..200 {
                assert_eq!(echo(&context, number).get().unwrap(), number);
            }
            // One after which the other thread leads, and has to be told.
            context.call::<()>("work:nap", (0.1,)).unwrap();
            assert_eq!(echo(&context, 1).get().unwrap(), 1);
            processes.push(Process::open(context.info().unwrap().pid as i32));
            routers.push((router, context));
        });
        let sleeps = || processes.iter().map(Process::sleeps).collect::<Vec<BTreeMap<i32, u64>>>();
        let deadline = Instant::now() + SOON;
        loop {
            let before = sleeps();
            thread::sleep(Duration::from_secs(1));
            let after = sleeps();
            if before == after {
                break;
            }
            assert!(Instant::now() < deadline, "they do not rest:\n{before:?}\n{after:?}");
        }
        // Neither sleeps too well.
        for (_, context) in &routers {
            assert_eq!(echo(context, 5).get_timeout(SOON).unwrap(), 5);
        }
    });
}

#[test]
fn a_call_that_comes_after_shutdown_is_answered_as_dead() {
    isolated(|| {
        for_each_python(|python| {
            let (_router, context) = start(python);
            let answer = context.call::<(u32, u32, bool)>("work:shut_down_and_call", ());
            assert_eq!(answer.unwrap(), (0, 77, true));
        });
    });
}

#[test]
fn a_child_that_inherits_more_descriptors_than_select_can_name_works() {
    isolated(|| {
        assert!(raise_descriptor_limit() > 1200, "this needs a higher limit of descriptors");
        let is_cpython = |python: &&Python| python.name.starts_with("python3");
        let newest = interpreters().iter().rfind(is_cpython).expect("a Python 3");
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let text = format!(
                "#!{} -S\nimport os, sys\nfor fd in range(3, 1110):\n    os.dup2(2, fd)\nos.execv({:?}, [{1:?}] + sys.argv[1:])\n",
                newest.path.display(),
                python.path.display().to_string(),
            );
            let router = Router::builder().on_log(|_| {}).build().unwrap();
            router.modules().source("work", WORK).source("served_late", "");
            let method = Local::new().python(program(&dir, "python", &text));
            let context = router.connect(method).unwrap();
            let (out, senders) = router.channel::<Sender<u32>>();
            let call = context.call_async::<u32>("work:wait", (out,)).unwrap();
            senders.recv_timeout(SOON).unwrap().send(7).unwrap();
            assert_eq!(call.get_timeout(SOON).unwrap(), 7);
            router.shutdown().unwrap();
        });
    });
}
