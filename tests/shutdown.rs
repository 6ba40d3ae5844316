//! Promise: however a context ends, it ends soon, nothing is left of it, and whoever waits is told.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Local, Pending, Router, RouterBuilder, Select, Value};

mod support;

use support::{
    Log, Process, Python, TempDir, for_each_kind_of_python, for_each_python, interpreters,
    isolated, master,
};

/// A grace period that tests wait for.
const SHORT: Duration = Duration::from_millis(300);
/// A grace period that no test waits for: only a failure does.
const LONG: Duration = Duration::from_secs(120);
/// Longer than anything but a failure takes, and less than what a failure waits for.
const SOON: Duration = Duration::from_secs(30);

const WORK: &str = r#"
import atexit, os, signal, subprocess, sys, threading, time
from econtext.core import ChannelError, Receiver

FOREVER = 10000

def sleep(ready):
    ready.send(os.getpid())
    time.sleep(FOREVER)

def raise_at_shutdown(ready):
    until_shutdown(ready)
    raise ValueError('it matters')

def spin(ready):
    ready.send(os.getpid())
    while True:
        pass

def hold_the_interpreter(ready, seconds=FOREVER):
    # Another thread gets the interpreter only when a C function gives it back.
    ready.send(os.getpid())
    try:
        import ctypes
        sleep = ctypes.PyDLL(None).sleep
    except (ImportError, AttributeError):  # PyPy
        return 3 ** (10 ** 9 if seconds == FOREVER else 10 ** 6)
    sleep(seconds)

def ignore_sigterm(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold_the_interpreter(ready)

def handle_sigterm(ready):
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    ready.send(os.getpid())
    while True:
        try:
            time.sleep(FOREVER)
        except BaseException:
            pass

def block_signals(ready):
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 32)) - {9, 19})
    hold_the_interpreter(ready)

def catch_all(ready):
    ready.send(os.getpid())
    while True:
        try:
            Receiver().get()
        except BaseException:
            pass

def wait_for_another_thread(ready):
    lock = threading.Lock()
    lock.acquire()
    ready.send(os.getpid())
    lock.acquire()

def leave_threads():
    for function in sleep_in_thread, print_in_thread:
        thread = threading.Thread(target=function)
        thread.daemon = False
        thread.start()

def sleep_in_thread():
    time.sleep(FOREVER)

def print_in_thread():
    while True:
        print('from a thread')
        time.sleep(.01)

def until_shutdown(ready):
    receiver = Receiver()
    ready.send(os.getpid())
    try:
        receiver.get()
    except ChannelError as error:
        return u'%s' % error

def at_exit(*words):
    for word in words:
        atexit.register(say, word)

def say(word):
    sys.stdout.write(word + '\n')
    sys.stderr.write(word + ' on stderr\n')
    os.system('echo %s of a process' % word)

def fail_at_exit():
    atexit.register(say, 'after the failure')
    atexit.register(lambda: 1 // 0)

def log_at_exit():
    import logging
    atexit.register(logging.getLogger('end').warning, 'the end')

def stuck_at_exit():
    atexit.register(time.sleep, FOREVER)

def exit_at_exit():
    atexit.register(sys.exit, 7)

def lines(count):
    for number in range(count):
        print('line %d' % number)
    sys.stdout.write('no newline')

def make_file(path):
    open(path, 'w').close()

def daemon_of_its_own_session():
    process = subprocess.Popen(['sleep', str(FOREVER)], preexec_fn=os.setsid, close_fds=False)
    return process.pid

def daemon_by_two_forks():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(writer, str(grandchild).encode())
            os._exit(0)
        os.execvp('sleep', ['sleep', str(FOREVER)])
    os.waitpid(child, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return pid

def forked_copy():
    pid = os.fork()
    if not pid:
        os.setsid()
        while True:
            time.sleep(FOREVER)
    return pid

def fork_and_return():
    sys.stdout.write('once\n')
    pid = os.fork()
    if not pid:
        sys.stdout.write('of the copy\n')
        return 'the copy'
    return os.waitpid(pid, 0)[1]

def fork_and_raise():
    pid = os.fork()
    if not pid:
        raise ValueError('in the copy')
    return os.waitpid(pid, 0)[1]

def fork_and_exit():
    pid = os.fork()
    if not pid:
        sys.exit(3)
    return os.waitpid(pid, 0)[1]

def end(status):
    os._exit(status)

def send_for_ever(out):
    while True:
        out.send(b'x' * 50000)
"#;

fn router(grace: Duration) -> Router {
    build(Router::builder().shutdown_grace(grace))
}

fn build(builder: RouterBuilder) -> Router {
    let router = builder.build().unwrap();
    router.modules().source("work", WORK);
    router
}

fn local(python: &Python) -> Local {
    Local::new().python(&python.path)
}

/// The newest CPython, for what does not depend on the interpreter.
fn any() -> Local {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    local(interpreters().iter().rfind(is_cpython).expect("a Python 3"))
}

fn process(context: &Context) -> Process {
    Process::open(context.info().unwrap().pid as i32)
}

/// Calls a function that never returns, and waits until it runs.
fn stick(router: &Router, context: &Context, function: &str) -> Pending<Value> {
    let (sender, ready) = router.channel::<i32>();
    let pending = context.call_async::<Value>(&format!("work:{function}"), (sender,)).unwrap();
    ready.recv_timeout(SOON).unwrap();
    pending
}

fn took<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (what(), start.elapsed())
}

#[track_caller]
fn assert_soon<T>(what: impl FnOnce() -> T) -> T {
    let (result, time) = took(what);
    assert!(time < SOON, "it took {time:?}");
    result
}

fn is_shutdown<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Shutdown))
}

fn words<T>(result: Result<T, Error>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn shutdown_ends_the_children_and_tells_whoever_waits() {
    isolated(|| {
        for_each_python(|python| {
            let router = router(LONG);
            let contexts = [(); 2].map(|()| router.connect(local(python)).unwrap());
            let processes = contexts.each_ref().map(process);
            let (sender, receiver) = router.channel::<i64>();
            let answer = stick(&router, &contexts[0], "until_shutdown");
            let queued = contexts[0].call_async::<i64>("os:getpid", ()).unwrap();
            thread::scope(|scope| {
                let reader = scope.spawn(|| receiver.recv());
                let caller = scope.spawn(|| contexts[0].call::<i64>("os:getpid", ()));
                assert_soon(|| router.shutdown()).unwrap();
                assert!(is_shutdown(&reader.join().unwrap()));
                assert!(is_shutdown(&caller.join().unwrap()));
            });
            assert!(!processes.iter().any(Process::is_running));
            assert!(contexts.iter().all(|context| !context.is_connected()));
            assert_eq!(answer.get().unwrap(), Value::Text("the context is shutting down".into()));
            assert!(is_shutdown(&queued.get()));
            drop(sender);
        });
    });
}

#[test]
fn shutdown_of_one_context_leaves_the_others() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router(SHORT);
            let one = router.connect(local(python).name("one")).unwrap();
            let other = router.connect(local(python)).unwrap();
            let process = process(&one);
            let pending = stick(&router, &one, "sleep");
            assert_soon(|| one.shutdown()).unwrap();
            assert!(!process.is_running() && !one.is_connected());
            assert_eq!(
                words(pending.get()),
                "one: call of work:sleep: disconnected: it was shut down"
            );
            assert_eq!(
                words(one.call::<i64>("os:getpid", ())),
                "one: call of os:getpid: disconnected: it was shut down"
            );
            assert_eq!(words(one.info()), "one: connecting: disconnected: it was shut down");
            one.shutdown().unwrap();
            let pid = other.call::<u32>("os:getpid", ()).unwrap();
            assert_eq!(pid, other.info().unwrap().pid);
        });
    });
}

#[test]
fn dropping_the_last_router_ends_its_children_though_contexts_remain() {
    isolated(|| {
        let first = router(LONG);
        let context = first.connect(any()).unwrap();
        let process = process(&context);
        let second = first.clone();
        drop(first);
        assert!(process.is_running());
        assert!(context.call::<u32>("os:getpid", ()).is_ok());
        let pending = context.call_async::<Value>("time:sleep", (0.05,)).unwrap();
        assert_soon(|| drop(second));
        assert!(!process.is_running());
        let result = pending.get();
        assert!(matches!(result, Ok(Value::None) | Err(Error::Shutdown)), "{result:?}");
        assert!(is_shutdown(&context.call::<u32>("os:getpid", ())));
    });
}

#[test]
fn after_shutdown_everything_fails_at_once() {
    isolated(|| {
        let router = router(LONG);
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        router.shutdown().unwrap();
        assert!(is_shutdown(&context.call::<i64>("os:getpid", ())));
        assert!(is_shutdown(&context.call_async::<i64>("os:getpid", ())));
        assert!(is_shutdown(&context.call_no_reply("os:getpid", ())));
        assert!(is_shutdown(&context.call_with_deadline::<i64>(LONG, "os:getpid", ())));
        assert!(is_shutdown(&context.function("os:getpid").arg(1).call::<i64>()));
        assert!(is_shutdown(&context.function("os:getpid").call_async::<i64>()));
        assert!(is_shutdown(&context.function("os:getpid").call_no_reply()));
        assert!(is_shutdown(&context.info()));
        assert!(is_shutdown(&context.wait_connected(LONG)));
        assert!(is_shutdown(&receiver.recv()));
        assert!(is_shutdown(&receiver.try_recv()));
        assert!(is_shutdown(&sender.send(1)));
        assert!(is_shutdown(&router.connect(any())));
        assert!(is_shutdown(&router.start(any()).info()));
        assert!(is_shutdown(&router.channel::<i64>().1.recv()));
        assert!(is_shutdown(&router.channel::<i64>().0.send(1)));
        context.shutdown().unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn shutdown_from_several_threads_waits_in_each_until_it_is_done() {
    isolated(|| {
        let router = router(LONG);
        let context = router.connect(any()).unwrap();
        let process = process(&context);
        thread::scope(|scope| {
            for number in 0..8 {
                let (router, context, process) = (&router, &context, &process);
                scope.spawn(move || {
                    if number % 2 == 0 { context.shutdown() } else { router.shutdown() }.unwrap();
                    assert!(!process.is_running());
                });
            }
        });
    });
}

#[test]
fn shutdown_from_the_log_sink_works() {
    isolated(|| {
        for drop_the_last in [false, true] {
            let slot = Arc::new(Mutex::new(None::<Router>));
            let (done, is_done) = mpsc::channel();
            let inside = slot.clone();
            let router = build(Router::builder().shutdown_grace(LONG).on_log(move |_| {
                if let Some(router) = inside.lock().unwrap().take() {
                    if !drop_the_last {
                        router.shutdown().unwrap();
                    }
                    drop(router);
                    done.send(()).unwrap();
                }
            }));
            let context = router.connect(any()).unwrap();
            let process = process(&context);
            *slot.lock().unwrap() = Some(router.clone());
            let router = (!drop_the_last).then_some(router);
            let pending = context.call_async::<Value>("work:say", ("x",)).unwrap();
            is_done.recv_timeout(SOON).unwrap();
            assert!(!process.is_running());
            let _ = pending.get();
            assert!(is_shutdown(&context.call::<Value>("os:getpid", ())));
            drop(router);
        }
    });
}

#[test]
fn a_sink_that_hangs_delays_neither_calls_nor_the_end_beyond_the_grace_period() {
    isolated(|| {
        let (go_on, gate) = mpsc::channel::<()>();
        let (entered, is_in) = mpsc::channel();
        let builder = Router::builder().shutdown_grace(SHORT).on_log(move |_| {
            let _ = entered.send(());
            let _ = gate.recv();
        });
        let router = build(builder);
        let context = router.connect(any()).unwrap();
        context.call::<()>("work:say", ("x",)).unwrap();
        is_in.recv_timeout(SOON).unwrap();
        for _ in 0..10 {
            context.call::<u32>("os:getpid", ()).unwrap();
        }
        assert_soon(|| router.shutdown()).unwrap();
        drop(go_on);
    });
}

/// The child of a master that is about to be killed.
fn serve_until_killed(functions: &[&str]) {
    let router = build(Router::builder().shutdown_grace(SHORT).on_log(|_| {}));
    for &function in functions {
        for_each_kind_of_python(|python| {
            let context = router.connect(local(python)).unwrap();
            let pending = match function {
                "" => None,
                "send_for_ever" => {
                    let (sender, receiver) = router.channel::<Value>();
                    let target = "work:send_for_ever";
                    let pending = context.call_async::<Value>(target, (sender,)).unwrap();
                    receiver.recv().unwrap();
                    std::mem::forget(receiver);
                    Some(pending)
                }
                "hold_the_interpreter" => {
                    let (sender, ready) = router.channel::<i32>();
                    let target = "work:hold_the_interpreter";
                    let pending = context.call_async::<Value>(target, (sender, 1)).unwrap();
                    ready.recv().unwrap();
                    Some(pending)
                }
                "queue" => {
                    // Far more than the stream takes: the master has most of it when it is killed.
                    let pending = stick(&router, &context, "sleep");
                    let data = vec![b'x'; 8 << 20];
                    context.call_no_reply("work:say", (data,)).unwrap();
                    Some(pending)
                }
                _ => Some(stick(&router, &context, function)),
            };
            println!("> {}", context.info().unwrap().pid);
            std::mem::forget(pending);
        });
    }
    println!("> ready");
    thread::park();
}

#[test]
fn a_master_that_is_killed_leaves_no_child() {
    // Spinning last: it takes the processor from what starts later.
    let functions = [
        "",
        "sleep",
        "handle_sigterm",
        "catch_all",
        "wait_for_another_thread",
        "send_for_ever",
        "queue",
        "hold_the_interpreter",
        "spin",
    ];
    let master = master(|| serve_until_killed(&functions));
    isolated(|| {
        let mut master = master.start();
        let mut children = Vec::new();
        loop {
            match master.line().as_str() {
                "ready" => break,
                pid => children.push(Process::open(pid.parse().unwrap())),
            }
        }
        assert!(children.len() >= functions.len());
        master.kill();
        children.iter().for_each(Process::wait_end);
    });
}

#[test]
fn a_master_that_is_killed_while_children_start_leaves_none() {
    let master = master(|| {
        let router = router(SHORT);
        let contexts: Vec<_> =
            interpreters().iter().map(|python| router.start(local(python))).collect();
        println!("> ready");
        contexts.iter().for_each(|context| drop(context.info()));
        println!("> up");
        thread::park();
    });
    isolated(|| {
        // What it leaves, the end of this body finds.
        for wait_ms in [0, 10, 20, 40, 80, 160] {
            let mut master = master.start();
            master.line();
            thread::sleep(Duration::from_millis(wait_ms));
            master.kill();
        }
    });
}

#[test]
fn a_child_that_is_killed_ends_whatever_waits_for_it() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router(LONG);
            let context = router.connect(local(python).name("victim")).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            let pending = context.call_async::<Value>("work:sleep", (sender,)).unwrap();
            receiver.recv_timeout(SOON).unwrap();
            let queued = context.call_async::<u32>("os:getpid", ()).unwrap();
            thread::scope(|scope| {
                let reader = scope.spawn(|| receiver.recv());
                let caller = scope.spawn(|| context.call::<u32>("os:getpid", ()));
                process(&context).signal(libc::SIGKILL);
                let why = "disconnected: the child ended: killed by signal 9";
                assert_eq!(
                    words(assert_soon(|| pending.get())),
                    format!("victim: call of work:sleep: {why}")
                );
                assert_eq!(words(queued.get()), format!("victim: call of os:getpid: {why}"));
                assert_eq!(
                    words(reader.join().unwrap()),
                    format!("victim: receiving from a channel: {why}")
                );
                assert_eq!(
                    words(caller.join().unwrap()),
                    format!("victim: call of os:getpid: {why}")
                );
                assert_eq!(
                    words(context.call_no_reply("os:getpid", ())),
                    format!("victim: call of os:getpid: {why}")
                );
            });
            assert!(!context.is_connected());
            // Known to be gone: there is nothing to wait for.
            assert_soon(|| context.shutdown()).unwrap();
        });
    });
}

#[test]
fn a_child_that_ends_itself_is_told_with_its_exit_status() {
    isolated(|| {
        let router = router(LONG);
        for status in [0, 3] {
            let context = router.connect(any().name("short")).unwrap();
            assert_eq!(
                words(context.call::<Value>("work:end", (status,))),
                format!(
                    "short: call of work:end: disconnected: the child ended: exit status {status}"
                )
            );
        }
    });
}

#[test]
fn a_child_that_is_stopped_is_ended_after_the_grace_period() {
    isolated(|| {
        for on_drop in [false, true] {
            let router = router(SHORT);
            let context = router.connect(any()).unwrap();
            let process = process(&context);
            process.stop();
            let pending = context.call_async::<u32>("os:getpid", ()).unwrap();
            if on_drop {
                assert_soon(|| drop(router));
                assert!(is_shutdown(&pending.get()));
            } else {
                assert_soon(|| context.shutdown()).unwrap();
                assert!(words(pending.get()).ends_with("disconnected: it was shut down"));
            }
            assert!(!process.is_running());
        }
    });
}

#[test]
fn a_function_that_never_returns_does_not_delay_the_end_beyond_the_grace_period() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let functions = [
                "hold_the_interpreter",
                "ignore_sigterm",
                "handle_sigterm",
                "block_signals",
                "catch_all",
                "wait_for_another_thread",
                "sleep",
                "spin",
            ];
            let router = router(SHORT);
            let stuck = functions.map(|function| {
                let context = router.connect(local(python)).unwrap();
                let pending = stick(&router, &context, function);
                (process(&context), context, pending)
            });
            // The last two one by one, the others with the router.
            let (others, one_by_one) = stuck.split_at(functions.len() - 2);
            for (process, context, pending) in one_by_one {
                assert_soon(|| context.shutdown()).unwrap();
                assert!(!process.is_running());
                let told = pending.get_timeout(Duration::ZERO);
                let told = words(told);
                assert!(told.ends_with("disconnected: it was shut down"), "{told}");
            }
            assert_soon(|| router.shutdown()).unwrap();
            for (process, _, pending) in others {
                assert!(!process.is_running());
                assert!(is_shutdown(&pending.get_timeout(Duration::ZERO)));
            }
        });
    });
}

#[test]
fn threads_that_are_not_daemons_do_not_delay_the_end() {
    isolated(|| {
        for_each_python(|python| {
            let router = build(Router::builder().shutdown_grace(LONG).on_log(|_| {}));
            let context = router.connect(local(python)).unwrap();
            context.call::<()>("work:leave_threads", ()).unwrap();
            assert_soon(|| router.shutdown()).unwrap();
        });
    });
}

#[test]
fn a_call_that_returns_within_the_grace_period_is_answered() {
    isolated(|| {
        for_each_python(|python| {
            let router = router(LONG);
            let context = router.connect(local(python)).unwrap();
            let pending = stick(&router, &context, "until_shutdown");
            assert_soon(|| context.shutdown()).unwrap();
            assert_eq!(pending.get().unwrap(), Value::Text("the context is shutting down".into()));
        });
    });
}

#[test]
fn what_a_function_raises_within_the_grace_period_is_told_in_its_own_words() {
    isolated(|| {
        for_each_python(|python| {
            let router = router(LONG);
            let context = router.connect(local(python)).unwrap();
            let pending = stick(&router, &context, "raise_at_shutdown");
            assert_soon(|| context.shutdown()).unwrap();
            let Err(Error::Call(error)) = pending.get() else { panic!("it did not raise") };
            assert_eq!((&*error.class, &*error.message), ("ValueError", "it matters"));
        });
    });
}

#[test]
fn a_call_that_comes_after_shutdown_began_does_not_cut_the_last_words_short() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router(LONG);
            for _ in 0..5 {
                let context = router.connect(local(python).name("late")).unwrap();
                let answer = stick(&router, &context, "until_shutdown");
                thread::scope(|scope| {
                    let late = scope.spawn(|| {
                        // One of these comes when the child has begun to leave.
                        loop {
                            let call = context.call_async::<Value>("work:sleep", (Value::None,));
                            if let Err(error) = call.and_then(|call| call.get()) {
                                return error.to_string();
                            }
                        }
                    });
                    let many = scope.spawn(|| {
                        while context.is_connected() {
                            let _ = context.call_no_reply("os:getpid", ());
                        }
                    });
                    assert_soon(|| context.shutdown()).unwrap();
                    let told = late.join().unwrap();
                    assert!(told.starts_with("late: call of work:sleep: disconnected: "), "{told}");
                    many.join().unwrap();
                });
                let said = Value::Text("the context is shutting down".into());
                assert_eq!(answer.get().unwrap(), said);
            }
        });
    });
}

#[test]
fn calls_that_have_not_begun_at_shutdown_never_run() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let file = dir.path().join("file");
            let router = router(LONG);
            let context = router.connect(local(python).name("busy")).unwrap();
            let first = stick(&router, &context, "until_shutdown");
            let path = file.to_str().unwrap();
            let second = context.call_async::<()>("work:make_file", (path,)).unwrap();
            context.call_no_reply("work:make_file", (path,)).unwrap();
            assert_soon(|| context.shutdown()).unwrap();
            assert!(first.get().is_ok());
            let told = words(second.get());
            let told = told.strip_prefix("busy: call of work:make_file: disconnected: ").unwrap();
            assert_eq!(told, "it was shut down");
            assert!(!file.exists());
        });
    });
}

#[test]
fn atexit_handlers_run_and_what_they_print_arrives() {
    isolated(|| {
        for_each_python(|python| {
            let log = Log::default();
            let router = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
            let [by_itself, by_router, on_drop] =
                ["itself", "router", "drop"].map(|name| local(python).name(name));
            let by_itself = router.connect(by_itself).unwrap();
            let by_router = router.connect(by_router).unwrap();
            for context in [&by_itself, &by_router] {
                context.call::<()>("work:at_exit", ("second", "first")).unwrap();
                context.call::<()>("work:log_at_exit", ()).unwrap();
            }
            by_itself.shutdown().unwrap();
            router.shutdown().unwrap();
            let other = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
            let context = other.connect(on_drop).unwrap();
            context.call::<()>("work:at_exit", ("second", "first")).unwrap();
            context.call::<()>("work:log_at_exit", ()).unwrap();
            drop(other);
            for name in ["itself", "router", "drop"] {
                let of = |logger: &str| -> Vec<String> {
                    let records = log.records().into_iter();
                    let records = records.filter(|it| it.context == name && it.logger == logger);
                    records.map(|record| record.message).collect()
                };
                assert_eq!(
                    of("stdout"),
                    ["first", "first of a process", "second", "second of a process"],
                    "{name}"
                );
                assert_eq!(of("stderr"), ["first on stderr", "second on stderr"], "{name}");
                assert_eq!(of("end"), ["the end"], "{name}");
            }
        });
    });
}

#[test]
fn an_atexit_handler_that_raises_hangs_or_exits_is_no_obstacle() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let log = Log::default();
            let router = build(Router::builder().shutdown_grace(SHORT).on_log(log.sink()));
            for function in ["fail_at_exit", "exit_at_exit", "stuck_at_exit"] {
                let context = router.connect(local(python).name(function)).unwrap();
                context.call::<()>(&format!("work:{function}"), ()).unwrap();
                assert_soon(|| context.shutdown()).unwrap();
            }
            log.wait_for("the exception", |record| record.message.contains("ZeroDivisionError"));
            log.wait_for("the next handler", |record| record.message == "after the failure");
        });
    });
}

#[test]
fn daemons_of_the_users_code_neither_delay_the_end_nor_die() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let functions = ["daemon_of_its_own_session", "daemon_by_two_forks", "forked_copy"];
            for function in functions {
                let log = Log::default();
                let router = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
                let context = router.connect(local(python)).unwrap();
                let child = process(&context);
                let pid = context.call::<i32>(&format!("work:{function}"), ()).unwrap();
                let daemon = Process::open(pid);
                context.call::<()>("work:say", ("last",)).unwrap();
                context.call::<()>("work:at_exit", ("end",)).unwrap();
                assert_soon(|| router.shutdown()).unwrap();
                assert!(!child.is_running(), "{function}");
                assert!(daemon.is_running(), "{function}");
                daemon.signal(libc::SIGKILL);
                daemon.wait_end();
                let has = |text: &str| log.records().iter().any(|record| record.message == text);
                assert!(has("last on stderr") && has("end of a process"), "{function}");
            }
        });
    });
}

#[test]
fn a_child_that_is_killed_is_seen_to_end_though_a_copy_of_it_holds_all_descriptors() {
    isolated(|| {
        let router = router(LONG);
        let context = router.connect(any()).unwrap();
        let copy = Process::open(context.call::<i32>("work:forked_copy", ()).unwrap());
        let pending = stick(&router, &context, "sleep");
        process(&context).signal(libc::SIGKILL);
        let told = words(assert_soon(|| pending.get()));
        assert!(told.ends_with("disconnected: the child ended: killed by signal 9"), "{told}");
        assert!(copy.is_running());
        copy.signal(libc::SIGKILL);
        copy.wait_end();
    });
}

#[test]
fn a_forked_copy_that_comes_back_answers_nothing_and_ends() {
    isolated(|| {
        for_each_python(|python| {
            let log = Log::default();
            let router = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
            let context = router.connect(local(python)).unwrap();
            assert_eq!(context.call::<i32>("work:fork_and_return", ()).unwrap(), 0);
            assert_eq!(context.call::<i32>("work:fork_and_raise", ()).unwrap(), 1 << 8);
            assert_ne!(context.call::<i32>("work:fork_and_exit", ()).unwrap(), 0);
            // One answer each, and the stream is whole.
            let pid = context.call::<u32>("os:getpid", ()).unwrap();
            assert_eq!(pid, context.info().unwrap().pid);
            router.shutdown().unwrap();
            let records = log.records();
            let count = |text: &str| records.iter().filter(|record| record.message == text).count();
            assert_eq!(count("once"), 1, "{records:#?}");
            assert_eq!(count("of the copy"), 1, "{records:#?}");
            assert_eq!(count("ValueError: in the copy"), 1, "{records:#?}");
        });
    });
}

#[test]
fn the_last_output_is_delivered() {
    isolated(|| {
        for_each_python(|python| {
            let log = Log::default();
            let router = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
            let context = router.connect(local(python)).unwrap();
            context.call::<()>("work:lines", (5000,)).unwrap();
            router.shutdown().unwrap();
            let records = log.records();
            let lines: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
            let expected: Vec<String> =
                (0..5000).map(|n| format!("line {n}")).chain(["no newline".into()]).collect();
            assert_eq!(lines.len(), expected.len(), "{:?}", &lines[lines.len().min(4990)..]);
            assert_eq!(lines, expected);
        });
    });
}

#[test]
fn a_start_in_progress_is_cancelled_promptly() {
    isolated(|| {
        let dir = TempDir::new();
        let obedient = dir.file("obedient", "#!/bin/sh\nexec sleep 10000\n");
        let stubborn = dir.file("stubborn", "#!/bin/sh\ntrap '' TERM\nexec sleep 10000\n");
        for script in [&obedient, &stubborn] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let start = |router: &Router, path| {
            let context = router.start(Local::new().python(path));
            let pid = context.name().strip_prefix("local.").unwrap().parse().unwrap();
            (Process::open(pid), context)
        };
        // By the context's own shutdown.
        let router = router(LONG);
        let (process, context) = start(&router, &obedient);
        let pending = context.call_async::<u32>("os:getpid", ()).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| context.info().map(drop));
            assert_soon(|| context.shutdown()).unwrap();
            let why = "disconnected: it was shut down";
            let told = words(waiting.join().unwrap());
            assert_eq!(told, format!("{context}: connecting: {why}"));
            assert_eq!(words(pending.get()), format!("{context}: call of os:getpid: {why}"));
        });
        assert!(!process.is_running());
        // By the router's, from another thread.
        let (process, context) = start(&router, &obedient);
        let (stubborn, other) = start(&router, &stubborn);
        let pending = other.call_async::<u32>("os:getpid", ()).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| context.wait_connected(LONG));
            let connecting = scope.spawn(|| router.connect(Local::new().python(&obedient)));
            assert_soon(|| router.shutdown()).unwrap();
            assert!(is_shutdown(&waiting.join().unwrap()));
            assert!(is_shutdown(&connecting.join().unwrap()));
            assert!(is_shutdown(&pending.get()));
        });
        assert!(!process.is_running() && !stubborn.is_running());
    });
}

#[test]
fn a_start_can_be_given_up_at_any_moment() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            for wait_ms in [0, 5, 10, 20, 40] {
                let router = router(LONG);
                let context = router.start(local(python));
                let pending = context.call_async::<u32>("os:getpid", ()).unwrap();
                thread::sleep(Duration::from_millis(wait_ms));
                assert_soon(|| drop(router));
                let result = pending.get();
                assert!(result.is_ok() || is_shutdown(&result), "{result:?}");
            }
        });
    });
}

#[test]
fn shutdown_wakes_a_select_with_an_error_of_each_source() {
    isolated(|| {
        let router = router(SHORT);
        let contexts = [(); 3].map(|()| router.connect(any()).unwrap());
        let mut select = Select::new();
        for context in &contexts {
            select.add(stick(&router, context, "sleep"));
        }
        let (_sender, receiver) = router.channel::<Value>();
        select.add(&receiver);
        thread::scope(|scope| {
            let results = scope.spawn(|| select.map(|event| event.into_result()).collect());
            router.shutdown().unwrap();
            let results: Vec<Result<Value, Error>> = results.join().unwrap();
            assert_eq!(results.len(), 4);
            assert!(results.iter().all(is_shutdown), "{results:?}");
        });
    });
}
