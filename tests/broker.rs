//! Promise: the program's side of a stream costs nothing while idle, holds up under load, and bears
//! whatever surroundings the host program gives it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Local, Pending, Router, Value};

mod support;

use support::{
    Leaks, Process, Python, close_descriptors, for_each_kind_of_python, for_each_python,
    ignore_sigchld, interpreters, isolated, master, raise_descriptor_limit, thread_id,
};

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(60);

const WORK: &str = r#"
import logging, os, threading, time
from econtext.core import Receiver

def echo(value):
    return value

def size(value):
    return len(value)

def wait_in_another_thread(ready):
    receiver = Receiver()
    thread = threading.Thread(target=receiver.get)
    thread.daemon = True
    thread.start()
    logging.getLogger('work').info('logged')
    print('printed')
    ready.send(None)
    receiver.get()
"#;

fn router() -> Router {
    let router = Router::builder()
        .shutdown_grace(Duration::from_millis(300))
        .on_log(|_| {})
        .build()
        .unwrap();
    router.modules().source("work", WORK);
    router
}

fn local(python: &Python) -> Local {
    Local::new().python(&python.path)
}

fn any() -> Local {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    local(interpreters().iter().rfind(is_cpython).expect("a Python 3"))
}

fn process(context: &Context) -> Process {
    Process::open(context.info().unwrap().pid as i32)
}

fn getpid(context: &Context) -> u32 {
    context.call("os:getpid", ()).unwrap()
}

/// How often the threads of each have gone to sleep, but for the calling one.
fn sleeps(processes: &[Process]) -> Vec<BTreeMap<i32, u64>> {
    let mut sleeps: Vec<_> = processes.iter().map(Process::sleeps).collect();
    for threads in &mut sleeps {
        threads.remove(&thread_id());
    }
    sleeps
}

#[test]
fn idle_means_no_wake_ups_on_either_side() {
    isolated(|| {
        let router = router();
        let mut processes = vec![Process::open(std::process::id() as i32)];
        let mut busy = Vec::new();
        let (sender, ready) = router.channel::<()>();
        for_each_python(|python| {
            // One that has nothing to do, and one whose threads wait.
            let context = router.connect(local(python)).unwrap();
            context.call::<Value>("work:echo", ("a value",)).unwrap();
            processes.push(process(&context));
            let context = router.connect(local(python)).unwrap();
            let target = "work:wait_in_another_thread";
            busy.push(context.call_async::<Value>(target, (sender.clone(),)).unwrap());
            ready.recv_timeout(SOON).unwrap();
            processes.push(process(&context));
        });
        // What was printed and logged comes to an end; then nothing moves.
        let deadline = Instant::now() + SOON;
        loop {
            let before = sleeps(&processes);
            thread::sleep(Duration::from_secs(1));
            let after = sleeps(&processes);
            if before == after {
                break;
            }
            let pids: Vec<_> = processes.iter().map(|process| process.pid).collect();
            assert!(Instant::now() < deadline, "{pids:?} do not rest:\n{before:?}\n{after:?}");
        }
    });
}

#[test]
fn a_context_that_ends_is_reaped_without_a_polling_delay() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let close = |_| {
                let context = router.connect(local(python)).unwrap();
                let start = Instant::now();
                context.shutdown().unwrap();
                start.elapsed()
            };
            // The quickest of some: what else goes on here can delay most of them, but not all.
            let quickest = (0..10).map(close).min().unwrap();
            assert!(quickest < Duration::from_millis(60), "{quickest:?}");
        });
    });
}

#[test]
fn a_hundred_children_at_once_are_a_hundred_processes() {
    isolated(|| {
        let router = router();
        let contexts: Vec<_> = (0..100).map(|_| router.start(any())).collect();
        let calls: Vec<Pending<u32>> =
            contexts.iter().map(|context| context.call_async("os:getpid", ()).unwrap()).collect();
        let pids: HashSet<u32> = calls.into_iter().map(|call| call.get().unwrap()).collect();
        assert_eq!(pids.len(), 100);
        let ids: HashSet<u32> = contexts.iter().map(Context::id).collect();
        assert_eq!(ids.len(), 100);
        let processes: Vec<_> = contexts.iter().map(process).collect();
        router.shutdown().unwrap();
        assert!(processes.iter().all(|process| !process.is_running()));
    });
}

/// A master's whole life, in surroundings that the caller made.
fn live(python: &Python) {
    let leaks = Leaks::start();
    let router = router();
    let context = router.connect(local(python)).unwrap();
    let text = "x".repeat(100_000);
    assert_eq!(context.call::<String>("work:echo", (text.as_str(),)).unwrap(), text);
    context.call::<()>("os:system", ("echo printed; echo printed >&2",)).unwrap();
    assert_eq!(context.call::<Value>("sys:stdin.read", ()).unwrap(), Value::Text(String::new()));
    drop((router, context));
    leaks.assert_clean();
}

#[test]
fn a_master_without_standard_descriptors_works() {
    let each = [&[0][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];
    // By number: the harness gives a program no arguments.
    let number = || std::env::var("CLOSED").unwrap().parse::<usize>().unwrap();
    let closes_them = master(|| {
        close_descriptors(each[number()]);
        live(interpreters().iter().rfind(|python| python.version.0 == 3).unwrap());
    });
    isolated(|| {
        for (number, closed) in each.iter().enumerate() {
            let mut command = closes_them.command();
            let status = command.env("CLOSED", number.to_string()).status().unwrap();
            assert!(status.success(), "without {closed:?}: {status}");
        }
    });
}

#[test]
fn a_master_started_without_standard_descriptors_works() {
    let program = master(|| {
        live(interpreters().iter().rfind(|python| python.version.0 == 3).unwrap());
    });
    isolated(|| {
        let command = program.command();
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]);
            shell.arg(command.get_program()).args(command.get_args());
            let env = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
            let status = shell.envs(env).status().unwrap();
            assert!(status.success(), "{closed}: {status}");
        }
    });
}

#[test]
fn a_host_program_that_ignores_sigchld_only_loses_exit_statuses() {
    isolated(|| {
        ignore_sigchld(true);
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            assert_eq!(getpid(&context), context.info().unwrap().pid);
            // A child does not inherit it: its own children have statuses.
            assert_eq!(context.call::<i32>("os:system", ("exit 3",)).unwrap(), 3 << 8);
            context.shutdown().unwrap();
            let context = router.connect(local(python).name("unknown")).unwrap();
            process(&context).signal(libc::SIGKILL);
            let error = context.call::<Value>("time:sleep", (1000,)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "unknown: call of time:sleep: disconnected: \
                 the child ended: ended, exit status unknown"
            );
            let missing = router.connect(Local::new().python("/nonexistent/python")).unwrap_err();
            assert!(missing.to_string().contains("/nonexistent/python"), "{missing}");
        });
        ignore_sigchld(false);
    });
}

#[test]
fn descriptors_beyond_1024_work() {
    isolated(|| {
        assert!(raise_descriptor_limit() > 1200, "this needs a higher limit of descriptors");
        let files: Vec<File> = (0..1100).map(|_| File::open("/dev/null").unwrap()).collect();
        live(interpreters().last().unwrap());
        drop(files);
    });
}

/// Fills the queue of a stopped child until a caller would have to wait; gives what was sent.
fn fill(context: &Context, data: &[u8]) -> Vec<Pending<usize>> {
    let mut calls = Vec::new();
    loop {
        let call = context.function("work:size").arg(data).timeout(Duration::from_millis(20));
        match call.call_async::<usize>() {
            Ok(call) => calls.push(call),
            Err(Error::TimedOut { what, after }) => {
                assert_eq!(what, format!("{context}: call of work:size"));
                assert_eq!(after, Duration::from_millis(20));
                return calls;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(calls.len() < 100, "no caller ever waits");
    }
}

#[test]
fn a_child_that_does_not_read_makes_its_callers_wait_until_it_does() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            // What is sent before it is stopped is not held up by a module's import.
            assert_eq!(context.call::<usize>("work:size", ("abc",)).unwrap(), 3);
            let process = process(&context);
            process.stop();
            let data = vec![b'x'; 1 << 20];
            let calls = fill(&context, &data);
            assert!(calls.len() >= 16, "{}", calls.len());
            thread::scope(|scope| {
                let (done, is_done) = mpsc::channel();
                let (context, data) = (&context, &data);
                scope.spawn(move || {
                    let call = context.call_async::<usize>("work:size", (&data[..],)).unwrap();
                    done.send(()).unwrap();
                    assert_eq!(call.get().unwrap(), data.len());
                });
                // It waits: nothing that it waits for happens before SIGCONT.
                assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err());
                process.signal(libc::SIGCONT);
                is_done.recv_timeout(SOON).unwrap();
            });
            assert!(calls.into_iter().all(|call| call.get().unwrap() == data.len()));
        });
    });
}

#[test]
fn callers_that_wait_for_room_are_released_by_the_childs_death_and_by_shutdown() {
    isolated(|| {
        for how in ["death", "shutdown of the context", "shutdown of the router"] {
            let router = router();
            let context = router.connect(any().name("stopped")).unwrap();
            let process = process(&context);
            process.stop();
            let data = vec![b'x'; 1 << 20];
            let calls = fill(&context, &data);
            thread::scope(|scope| {
                let waiting = scope.spawn(|| context.call::<usize>("work:size", (&data[..],)));
                let unanswered = scope.spawn(|| context.call_no_reply("work:size", (&data[..],)));
                thread::sleep(Duration::from_millis(20));
                let reason = match how {
                    "death" => {
                        process.signal(libc::SIGKILL);
                        "stopped: call of work:size: disconnected: \
                         the child ended: killed by signal 9"
                    }
                    "shutdown of the context" => {
                        context.shutdown().unwrap();
                        "stopped: call of work:size: disconnected: it was shut down"
                    }
                    _ => {
                        router.shutdown().unwrap();
                        "the router has been shut down"
                    }
                };
                assert_eq!(waiting.join().unwrap().unwrap_err().to_string(), reason);
                // One that is dropped as the stream ends is not an error: nobody asked for an answer.
                if let Err(error) = unanswered.join().unwrap() {
                    assert_eq!(error.to_string(), reason);
                }
                for call in calls {
                    assert_eq!(call.get().unwrap_err().to_string(), reason);
                }
            });
        }
    });
}

#[test]
fn a_burst_of_a_thousand_frames_arrives_whole_and_in_order() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let process = process(&context);
            getpid(&context);
            // Frames of many sizes, so that reads and writes end anywhere in them: more than the socket
            // holds lies in wait while the child is stopped.
            let size = |n: usize| if n % 100 == 99 { 70_000 + n } else { n * 37 % 1999 };
            let text = |n: usize| format!("{n}:{}", "x".repeat(size(n)));
            process.stop();
            let calls: Vec<Pending<String>> =
                (0..1000).map(|n| context.call_async("work:echo", (text(n),)).unwrap()).collect();
            process.signal(libc::SIGCONT);
            for (n, call) in calls.into_iter().enumerate() {
                assert!(call.get_timeout(SOON).unwrap() == text(n), "answer {n}");
            }
        });
    });
}

#[test]
fn calls_of_many_threads_get_their_own_answers() {
    isolated(|| {
        let router = router();
        let contexts = [(); 3].map(|()| router.connect(any()).unwrap());
        thread::scope(|scope| {
            for thread in 0..8 {
                let contexts = &contexts;
                scope.spawn(move || {
                    for n in 0..100 {
                        let value = format!("{thread} {n}");
                        let context = &contexts[(thread + n) % contexts.len()];
                        let echo = context.call::<String>("work:echo", (value.as_str(),));
                        assert_eq!(echo.unwrap(), value);
                    }
                });
            }
        });
    });
}
