//! Promise: whether the broker reads a child's stream or a thread that waits for an answer does, everything is
//! delivered, in order, and nothing is left unread.

use std::thread;
use std::time::{Duration, Instant};

use econtext::{Error, Local, Router};

mod support;

use support::{for_each_kind_of_python, isolated};

const SERVED: &str = r#"
import threading, time

def add(a, b):
    return a + b

def slow(seconds):
    time.sleep(seconds)
    return seconds

def tick(sender, count, pause):
    for n in range(count):
        time.sleep(pause)
        sender.send(n)

def tick_beside(sender, count, pause):
    threading.Thread(target=tick, args=(sender, count, pause)).start()

def tick_and_leave(sender):
    tick_beside(sender, 1, 0.05)
"#;

/// Calls that follow each other at once, so that their thread comes to read the stream.
fn burst(context: &econtext::Context, count: i64) {
    for n in 0..count {
        assert_eq!(context.call::<i64>("served:add", (n, 1)).unwrap(), n + 1);
    }
}

#[test]
fn what_comes_after_a_burst_of_calls_is_read() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = Router::new().unwrap();
            router.modules().source("served", SERVED);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            for _ in 0..3 {
                // A thread of the child sends when no call is under way, and none follows.
                let (sender, receiver) = router.channel::<i64>();
                context.call::<()>("served:tick_and_leave", (sender.clone(),)).unwrap();
                burst(&context, 20);
                assert_eq!(receiver.recv().unwrap(), 0);
            }
            router.shutdown().unwrap();
        });
    });
}

/// Nothing but a stream that is left unread makes this differ by so much.
#[test]
fn an_answer_that_is_waited_for_in_another_way_is_not_left_unread() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("served", SERVED);
        let context = router.connect(Local::new()).unwrap();
        let get = || {
            let begin = Instant::now();
            let pending = context.call_async::<i64>("served:add", (1, 2)).unwrap();
            assert_eq!(pending.get().unwrap(), 3);
            begin.elapsed()
        };
        let least = |get: &dyn Fn() -> Duration| (0..50).map(|_| get()).min().unwrap();
        let alone = least(&get);
        let after_calls = least(&|| {
            burst(&context, 3);
            get()
        });
        // With the broker's next look a millisecond later or more, the quickest of fifty would show it.
        assert!(after_calls < alone * 5, "{after_calls:?}, and {alone:?} alone");
        router.shutdown().unwrap();
    });
}

#[test]
fn a_stream_of_items_goes_on_beside_calls_short_and_long() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("served", SERVED);
        let context = router.connect(Local::new()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        context.call::<()>("served:tick_beside", (sender.clone(), 200, 0.002)).unwrap();
        let calls = {
            let context = context.clone();
            thread::spawn(move || {
                for n in 0..20 {
                    burst(&context, 20);
                    // Shorter than a glance of the broker, and longer.
                    let seconds = [0.001, 0.004, 0.006, 0.02][n % 4];
                    assert_eq!(context.call::<f64>("served:slow", (seconds,)).unwrap(), seconds);
                }
            })
        };
        let items: Vec<i64> = (0..200).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!(items, (0..200).collect::<Vec<_>>());
        calls.join().unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn threads_that_call_one_context_get_each_its_own_answers() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("served", SERVED);
        let context = router.connect(Local::new()).unwrap();
        burst(&context, 20);
        let threads: Vec<_> = (0..4)
            .map(|thread: i64| {
                let context = context.clone();
                thread::spawn(move || {
                    for n in 0..300 {
                        let sum = context.call::<i64>("served:add", (n, thread * 1000)).unwrap();
                        assert_eq!(sum, n + thread * 1000);
                        if n % 50 == thread {
                            let slow = context.call::<f64>("served:slow", (0.007,)).unwrap();
                            assert_eq!(slow, 0.007);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_thread_that_reads_is_woken_by_its_deadline_and_by_the_end() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("served", SERVED);
        let context = router.connect(Local::new()).unwrap();
        for timeout in [1, 4, 30] {
            burst(&context, 20);
            let (begin, timeout) = (Instant::now(), Duration::from_millis(timeout));
            let error =
                context.call_with_deadline::<f64>(timeout, "served:slow", (0.1,)).unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. }), "{error}");
            assert!(begin.elapsed() >= timeout);
        }
        burst(&context, 20);
        let error = context.call::<()>("os:_exit", (7,)).unwrap_err().to_string();
        assert!(error.ends_with("disconnected: the child ended: exit status 7"), "{error}");

        let context = router.connect(Local::new()).unwrap();
        burst(&context, 20);
        let stop = {
            let router = router.clone();
            let context = context.clone();
            thread::spawn(move || {
                context.call_no_reply("served:slow", (0.2,)).unwrap();
                router.shutdown().unwrap();
            })
        };
        while context.call::<i64>("served:add", (1, 2)).is_ok() {}
        stop.join().unwrap();
        let error = context.call::<i64>("served:add", (1, 2)).unwrap_err();
        assert!(matches!(error, Error::Shutdown), "{error}");
    });
}
