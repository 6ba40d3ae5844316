//! Promise: a context that dies takes all below it along, whoever waited for any of them is told which was lost,
//! and nothing is left of them anywhere.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use econtext::{
    Context, Error, Exec, Local, Pending, Prompt, Router, RouterBuilder, Sender, Ssh, Stage, Value,
};

mod support;

use support::{
    Log, Process, Python, TempDir, fake_ssh, interpreters, isolated, limit_descriptors, master,
    mkfifo, process_of, script,
};

/// A grace period that tests wait for.
const SHORT: Duration = Duration::from_millis(300);
/// A grace period that no test waits for: only a failure does.
const LONG: Duration = Duration::from_secs(120);
/// Longer than anything but a failure takes, and less than what a failure waits for.
const SOON: Duration = Duration::from_secs(30);

const KILLED: &str = "the child ended: killed by signal 9";
const SHUT_DOWN: &str = "it was shut down";

fn build(builder: RouterBuilder) -> Router {
    let router = builder.build().unwrap();
    router.modules().source("work", include_str!("deaths/work.py"));
    router
}

fn router(grace: Duration) -> Router {
    build(Router::builder().shutdown_grace(grace).on_log(|_| {}))
}

/// Interpreters that make a difference, in an order in which each is the parent of another kind.
fn kinds() -> Vec<&'static Python> {
    let wanted = [(2, 7), (3, 6), (3, 13)];
    let found = interpreters().iter();
    found.filter(|it| wanted.contains(&it.version) || it.name.starts_with("pypy3")).collect()
}

fn local(python: &Python, name: &str) -> Local {
    Local::new().python(&python.path).name(name)
}

/// The newest CPython, for what does not depend on the interpreter.
fn any(name: &str) -> Local {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    local(interpreters().iter().rfind(is_cpython).expect("a Python 3"), name)
}

/// A method whose program never says anything, and ends with its standard input.
fn mute(dir: &TempDir) -> Local {
    Local::new().python(script(dir, "mute", "exec cat >/dev/null")).name("mute")
}

/// Calls a function of `work` that says when it runs, with further arguments.
fn begin<T: econtext::FromValue>(
    router: &Router,
    context: &Context,
    function: &str,
    args: Vec<Value>,
) -> Pending<T> {
    let (sender, ready) = router.channel::<i64>();
    let mut function = context.function(&format!("work:{function}")).arg(sender);
    for arg in args {
        function = function.arg(arg);
    }
    let pending = function.call_async::<T>().unwrap();
    ready.recv_timeout(SOON).unwrap();
    pending
}

/// The words of the error with which a wait ends.
#[track_caller]
fn told<T: econtext::FromValue>(pending: Pending<T>) -> String {
    match pending.get_timeout(SOON) {
        Ok(_) => panic!("it was answered"),
        Err(Error::TimedOut { what, .. }) => panic!("{what}: it waits still"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_soon<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    result
}

#[track_caller]
fn assert_ends_with(words: &str, end: &str) {
    assert!(words.ends_with(end), "{words:?} does not end with {end:?}");
}

fn holdings(context: &Context) -> Vec<String> {
    context.call("work:holdings", ()).unwrap()
}

/// Asserts that a context comes to hold what it held before.
#[track_caller]
fn assert_same_holdings(context: &Context, before: &[String]) {
    let deadline = Instant::now() + SOON;
    let mut now = holdings(context);
    while now != before {
        // A thread leaves /proc a moment after its end, and no event says so.
        assert!(Instant::now() < deadline, "{context} held {before:#?} and now {now:#?}");
        now = holdings(context);
    }
}

/// A family: `grandparent`, `parent` and `child` below each other, a `sibling` of the child's parent below the
/// grandparent, and a `cousin` of that below another direct child.
struct Family {
    line: [Context; 3],
    sibling: Context,
    cousin: Context,
}

fn family(router: &Router, pythons: &[&Python], turn: usize) -> Family {
    let next = |place: usize, name| local(pythons[(turn + place) % pythons.len()], name);
    let grandparent = router.start(next(0, "grandparent"));
    let parent = grandparent.start(next(1, "parent"));
    let child = parent.start(next(2, "child"));
    let sibling = grandparent.start(next(3, "sibling"));
    let uncle = router.start(next(1, "uncle"));
    let cousin = uncle.start(next(2, "cousin"));
    Family { line: [grandparent, parent, child], sibling, cousin }
}

#[test]
fn whoever_waits_for_a_context_is_told_that_one_above_it_was_lost() {
    isolated(|| {
        let dir = TempDir::new();
        let pythons = kinds();
        for turn in 0..pythons.len() {
            for victim in 0..3 {
                lose(&dir, &pythons, turn, victim, KILLED);
            }
        }
    });
}

#[test]
fn whoever_waits_for_a_context_is_told_that_one_above_it_was_shut_down() {
    isolated(|| {
        let dir = TempDir::new();
        let pythons = kinds();
        for victim in 0..3 {
            lose(&dir, &pythons, victim, victim, SHUT_DOWN);
        }
    });
}

/// What a context that has been told to leave answers.
const LEAVES: &str = "the context is shutting down";

fn lose(dir: &TempDir, pythons: &[&Python], turn: usize, victim: usize, reason: &str) {
    let router = router(SHORT);
    let Family { line, sibling, cousin } = family(&router, pythons, turn);
    let child = &line[2];
    let (victims, survivors) = (&line[victim..], &line[..victim]);

    // In the program's view: calls that run, those behind them, channels both ways, starts.
    let running: Vec<Pending<Value>> =
        victims.iter().map(|it| begin(&router, it, "sleep", vec![])).collect();
    let queued: Vec<Pending<Value>> =
        victims.iter().map(|it| it.call_async("os:getpid", ()).unwrap()).collect();
    let (sender, from_child) = router.channel::<i64>();
    // Answered never, so that the sender is held until the end; runs beside the main thread.
    let held = child.call_async::<Value>("work:sleep", (sender,)).unwrap();
    // Another one, whose main thread is free until its receiver is made.
    let free = child.start(local(pythons[turn], "free"));
    let to_free: Sender<Vec<u8>> = free.call("work:receiver", ()).unwrap();
    while to_free.try_send(vec![0; 50_000]).unwrap() {}
    let starting = child.start(mute(dir));
    let behind = starting.start(any("behind"));
    let behind_call = behind.call_async::<Value>("os:getpid", ()).unwrap();

    // In the view of others: a sibling and a cousin send to it, those above call it.
    let for_others = to_free.clone();
    let senders: Vec<Pending<String>> = [&sibling, &cousin]
        .map(|it| {
            begin(&router, it, "send_until_it_ends", vec![econtext::ToValue::to_value(&for_others)])
        })
        .into();
    let callers: Vec<Pending<String>> = survivors
        .iter()
        .map(|it| begin(&router, it, "call", vec![econtext::ToValue::to_value(child)]))
        .collect();

    thread::scope(|scope| {
        let receives = scope.spawn(|| from_child.recv_timeout(SOON).unwrap_err().to_string());
        let sends = scope.spawn(|| to_free.send(vec![0; 50_000]).unwrap_err().to_string());
        let starts =
            [&starting, &behind].map(|it| scope.spawn(move || it.info().unwrap_err().to_string()));
        let processes: Vec<_> = victims.iter().map(process_of).collect();
        match reason == KILLED {
            true => processes[0].signal(libc::SIGKILL),
            false => assert_soon(|| line[victim].shutdown()).unwrap(),
        }

        let name = line[victim].name();
        let why = format!("{name} was lost: {reason}");
        for (number, pending) in running.into_iter().chain(queued).enumerate() {
            let is_victim = number % victims.len() == 0;
            assert_ends_with(&told(pending), if is_victim { reason } else { &why });
        }
        let of_child = if victim == 2 { reason } else { &why };
        let way = "grandparent > parent > child";
        assert_eq!(told(held), format!("{way}: call of work:sleep: disconnected: {of_child}"));
        assert_eq!(
            receives.join().unwrap(),
            format!("{way}: receiving from a channel: disconnected: {of_child}")
        );
        let way = format!("{way} > free");
        assert_eq!(
            sends.join().unwrap(),
            format!("{way}: sending to a channel: disconnected: {why}")
        );
        for start in starts {
            assert_ends_with(&start.join().unwrap(), &why);
        }
        assert_ends_with(&told(behind_call), &why);
        for pending in senders {
            let answer = pending.get_timeout(SOON);
            let is_lost_too = victim == 0 && answer.is_err();
            let gone = [format!("context {} is gone", free.id()), LEAVES.into()];
            assert!(is_lost_too || gone.contains(&answer.unwrap()));
        }
        for pending in callers {
            let answer = pending.get_timeout(SOON).unwrap();
            let is_gone = answer.ends_with(&format!("context {} is gone", child.id()));
            assert!(is_gone || reason == SHUT_DOWN && answer.ends_with(LEAVES), "{answer}");
        }
        processes.iter().for_each(Process::wait_end);
        for context in victims.iter().chain([&free, &starting, &behind]) {
            assert!(!context.is_connected());
            let words = if *context == line[victim] { reason } else { &why };
            for error in [
                context.call::<Value>("os:getpid", ()).unwrap_err(),
                context.call_no_reply("os:getpid", ()).unwrap_err(),
                context.info().unwrap_err(),
                context.wait_connected(SOON).unwrap_err(),
            ] {
                assert_ends_with(&error.to_string(), &format!(": disconnected: {words}"));
            }
            let late = context.connect(any("late")).unwrap_err().to_string();
            assert_ends_with(&late, &format!(" > late: connecting: disconnected: {why}"));
            assert_soon(|| context.shutdown()).unwrap();
        }
    });
    for context in survivors.iter().chain([&cousin]) {
        let pid: u32 = context.call("os:getpid", ()).unwrap();
        assert_eq!(pid, context.info().unwrap().pid);
    }
    assert_eq!(sibling.is_connected(), victim > 0);
}

#[test]
fn a_context_whose_parent_does_not_come_up_does_not_either() {
    isolated(|| {
        let router = router(LONG);
        let good = router.connect(any("good")).unwrap();
        let bad = || Local::new().python("/nonexistent/python").name("bad");
        for parent in [router.start(bad()), good.start(bad())] {
            let child = parent.start(any("child"));
            let grandchild = child.start(any("grandchild"));
            let call = grandchild.call_async::<Value>("os:getpid", ()).unwrap();
            let bad = "bad: starting the process: cannot execute /nonexistent/python: \
                       No such file or directory (os error 2)";
            let way = parent.info().unwrap_err().to_string();
            let way = way.strip_suffix(bad).unwrap_or_else(|| panic!("{way}"));
            let late = parent.start(any("late"));
            for (error, behind) in [
                (child.info().unwrap_err(), "child"),
                (grandchild.info().unwrap_err(), "child > grandchild"),
                (call.get_timeout(SOON).unwrap_err(), "child > grandchild"),
                (late.info().unwrap_err(), "late"),
                (late.start(any("later")).info().unwrap_err(), "late > later"),
            ] {
                let words = format!("{way}bad > {behind}: waiting for its parent: {bad}");
                assert_eq!(error.to_string(), words);
                let Error::Connect(error) = error else { panic!("{error:?}") };
                assert_eq!(error.stage, Stage::Parent);
            }
            assert_soon(|| grandchild.shutdown()).unwrap();
        }
        good.call::<Value>("os:getpid", ()).unwrap();
    });
}

#[test]
fn an_import_that_waits_for_a_parent_that_dies_ends() {
    isolated(|| {
        let dir = TempDir::new();
        let pythons = kinds();
        for turn in 0..pythons.len() {
            let router = router(LONG);
            router.modules().source("late", "");
            let Family { line: [_, parent, child], .. } = family(&router, &pythons, turn);
            let begins = mkfifo(&dir, &format!("begin{turn}"));
            let ends = mkfifo(&dir, &format!("end{turn}"));
            let paths = [&begins, &ends].map(|path| Value::Text(path.to_str().unwrap().into()));
            let pending: Pending<Value> = begin(&router, &child, "import_when_told", paths.into());
            let process = process_of(&parent);
            process.stop();
            fs::write(&begins, "").unwrap();
            let importer = process_of(&child);
            process.signal(libc::SIGKILL);
            let said = fs::read_to_string(&ends).unwrap();
            assert_eq!(said, "late cannot be loaded: the stream to the parent has ended");
            importer.wait_end();
            assert_ends_with(&told(pending), &format!("parent was lost: {KILLED}"));
        }
    });
}

/// Numbers that look random: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<'a>(&mut self, pythons: &[&'a Python]) -> &'a Python {
        pythons[self.roll(pythons.len() as u64) as usize]
    }
}

/// Whether a wait ended, however it did.
#[track_caller]
fn assert_ended<T: econtext::FromValue>(pending: Pending<T>) {
    if let Err(Error::TimedOut { what, .. }) = pending.get_timeout(SOON) {
        panic!("{what}: it waits still");
    }
}

#[test]
fn whenever_a_context_of_a_chain_is_killed_all_waits_end_and_nothing_is_left() {
    isolated(|| {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
        // To be set again after a failure, which shows it.
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let pythons = kinds();
        // A machine that is busy with other things may do fewer.
        let end = Instant::now() + Duration::from_secs(90);
        let mut rounds = 0;
        let mut root: Option<(Router, Context, Vec<String>)> = None;
        for _ in (0..100).take_while(|_| Instant::now() < end) {
            rounds += 1;
            let (router, top, before) = root.take().unwrap_or_else(|| {
                let router = router(SHORT);
                for number in 0..30 {
                    let source = format!("__import__('module{}')\n", number + 1);
                    router.modules().source(format!("module{number}"), source);
                }
                let top = router.connect(local(dice.pick(&pythons), "top")).unwrap();
                top.connect(local(dice.pick(&pythons), "first")).unwrap().shutdown().unwrap();
                let before = rested(&top);
                (router, top, before)
            });
            let mut chain = vec![top];
            for level in 1..4 {
                let context =
                    chain[level - 1].start(local(dice.pick(&pythons), &format!("level{level}")));
                chain.push(context);
            }
            let victim = dice.roll(4) as usize;
            let calls = |context: &Context| {
                let mut calls = vec![context.call_async::<Value>("os:getpid", ()).unwrap()];
                // By a computed name, so that each is asked for, hop by hop.
                calls.push(context.call_async::<Value>("builtins_of:no", ()).unwrap());
                calls.push(context.call_async::<Value>("module0:none", ()).unwrap());
                calls.push(context.call_async::<Value>("time:sleep", (100,)).unwrap());
                calls
            };
            let mut pending: Vec<_> = chain.iter().skip(victim).flat_map(calls).collect();
            // Some time after it has come up, with those below on their way.
            let pid = chain[victim].info().unwrap().pid;
            for _ in 0..dice.roll(12) {
                match victim {
                    0 => drop(chain[0].start(local(dice.pick(&pythons), "beside"))),
                    _ => drop(chain[0].call::<Value>("os:getpid", ())),
                }
            }
            let process = Process::open(pid as i32);
            process.signal(libc::SIGKILL);
            pending.extend(
                chain.iter().skip(victim).filter_map(|it| it.call_async("os:getpid", ()).ok()),
            );
            pending.into_iter().for_each(assert_ended);
            for context in &chain[victim..] {
                assert_soon(|| context.shutdown()).unwrap();
                let error = context.info().unwrap_err().to_string();
                assert!(error.contains("disconnected"), "{error}");
            }
            process.wait_end();
            if victim > 0 {
                assert_soon(|| chain[1].shutdown()).unwrap();
                let top = chain.swap_remove(0);
                assert_same_holdings(&top, &before);
                root = Some((router, top, before));
            }
        }
        println!("{rounds} rounds");
        assert!(rounds >= 50, "{rounds} rounds in 90 s");
    });
}

/// What a context holds that has nothing to do: of its threads the two that each has.
fn rested(context: &Context) -> Vec<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let now = holdings(context);
        if now.iter().any(|line| line == "threads: 2") {
            return now;
        }
        assert!(Instant::now() < deadline, "{context} does not rest: {now:#?}");
    }
}

#[test]
fn disconnects_that_race_or_come_twice_are_harmless_and_another_start_works() {
    isolated(|| {
        let pythons = kinds();
        for (turn, python) in pythons.iter().enumerate() {
            let router = router(SHORT);
            let top = router.connect(local(python, "top")).unwrap();
            top.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&top);
            let below = pythons[(turn + 1) % pythons.len()];
            for round in 0..4 {
                let parent = top.start(local(below, "parent"));
                let child = parent.start(local(python, "child"));
                if round > 0 {
                    child.info().unwrap();
                }
                thread::scope(|scope| {
                    match round {
                        // While both start.
                        0 => drop(scope.spawn(|| assert_soon(|| parent.shutdown()))),
                        // While its parent is killed, or leaves, or both.
                        1 => process_of(&parent).signal(libc::SIGKILL),
                        2 => drop(scope.spawn(|| assert_soon(|| parent.shutdown()))),
                        _ => {
                            scope.spawn(|| assert_soon(|| parent.shutdown()));
                            process_of(&parent).signal(libc::SIGKILL);
                        }
                    }
                    for _ in 0..2 {
                        scope.spawn(|| assert_soon(|| child.shutdown()));
                    }
                });
                for context in [&parent, &child] {
                    assert!(!context.is_connected() || (round == 1 && context == &parent));
                    assert_soon(|| context.shutdown()).unwrap();
                    assert!(matches!(context.info(), Err(Error::Disconnected { .. })));
                }
            }
            // The same method below the same parent.
            let again = top.connect(local(below, "parent")).unwrap();
            assert_eq!(again.call::<u32>("os:getppid", ()).unwrap(), top.info().unwrap().pid);
            again.shutdown().unwrap();
            assert_same_holdings(&top, &before);
        }
    });
}

#[test]
fn a_start_below_can_be_given_up_at_any_moment() {
    isolated(|| {
        let dir = TempDir::new();
        let router = router(LONG);
        let top = router.connect(any("top")).unwrap();
        top.connect(any("first")).unwrap().shutdown().unwrap();
        let before = rested(&top);
        for round in 0..20 {
            let children = [top.start(any("child")), top.start(mute(&dir))];
            let behind = children.each_ref().map(|it| it.start(any("behind")));
            for _ in 0..round {
                top.call::<Value>("os:getpid", ()).unwrap();
            }
            for context in children.iter().chain(&behind) {
                assert_soon(|| context.shutdown()).unwrap();
                assert!(!context.is_connected());
                assert!(matches!(context.info(), Err(Error::Disconnected { .. })));
            }
        }
        assert_same_holdings(&top, &before);
        // With the parent: it waits for neither.
        let child = top.start(mute(&dir));
        let behind = child.start(any("behind"));
        assert_soon(|| top.shutdown()).unwrap();
        for context in [child, behind] {
            assert_ends_with(&context.info().unwrap_err().to_string(), "it was shut down");
        }
    });
}

#[test]
fn at_shutdown_handlers_run_at_all_levels_and_parents_wait_for_their_childrens_last_words() {
    isolated(|| {
        let dir = TempDir::new();
        let pythons = kinds();
        for turn in 0..pythons.len() {
            for by_context in [false, true] {
                let log = Log::default();
                let router = build(Router::builder().shutdown_grace(LONG).on_log(log.sink()));
                let Family { line, .. } = family(&router, &pythons, turn);
                // The last has its last word after the first has said its own.
                let fifo = mkfifo(&dir, &format!("fifo{turn}{by_context}"));
                let path = fifo.to_str().unwrap();
                line[2].call::<()>("work:open_at_exit", (path,)).unwrap();
                line[1].call::<()>("work:print_at_exit", ("of the parent",)).unwrap();
                line[0].call::<()>("work:write_at_exit", (path, "of the child")).unwrap();
                let pending = line[2].call_async::<Value>("time:sleep", (0,)).unwrap();
                let processes = line.each_ref().map(process_of);
                match by_context {
                    true => assert_soon(|| line[0].shutdown()).unwrap(),
                    false => assert_soon(|| router.shutdown()).unwrap(),
                }
                assert!(!processes.iter().any(Process::is_running));
                let _ = pending.get_timeout(SOON);
                drop(router);
                for (context, said) in [
                    ("grandparent", "all at exit"),
                    ("parent", "of the parent"),
                    ("child", "of the child"),
                ] {
                    let is_said = |record: &econtext::LogRecord| {
                        record.context == context && record.message == said
                    };
                    log.wait_for(said, is_said);
                }
            }
        }
    });
}

#[test]
fn a_function_that_never_returns_delays_the_end_at_no_level_beyond_the_grace_period() {
    isolated(|| {
        let pythons = kinds();
        for turn in 0..pythons.len() {
            for stuck in 0..3 {
                for function in ["sleep", "hold_the_interpreter"] {
                    let router = router(SHORT);
                    let Family { line, .. } = family(&router, &pythons, turn);
                    let processes = line.each_ref().map(process_of);
                    let pending: Pending<Value> = begin(&router, &line[stuck], function, vec![]);
                    let queued = line[stuck].call_async::<Value>("os:getpid", ()).unwrap();
                    if function == "sleep" {
                        assert_soon(|| line[0].shutdown()).unwrap();
                        assert_ends_with(&told(pending), "it was shut down");
                        assert!(told(queued).contains("shut"));
                    } else {
                        assert_soon(|| router.shutdown()).unwrap();
                        assert!(matches!(pending.get_timeout(SOON), Err(Error::Shutdown)));
                        assert!(matches!(queued.get_timeout(SOON), Err(Error::Shutdown)));
                    }
                    processes.iter().for_each(Process::wait_end);
                }
            }
        }
    });
}

#[test]
fn a_parent_that_hangs_does_not_hang_the_shutdown_of_its_child() {
    isolated(|| {
        let router = router(SHORT);
        let parent = router.connect(any("parent")).unwrap();
        let child = parent.connect(any("child")).unwrap();
        let process = process_of(&parent);
        process.stop();
        let pending = child.call_async::<Value>("os:getpid", ()).unwrap();
        assert_soon(|| child.shutdown()).unwrap();
        assert_ends_with(&told(pending), "it was shut down");
        assert!(!child.is_connected());
        process.signal(libc::SIGCONT);
        parent.call::<Value>("os:getpid", ()).unwrap();
        assert!(parent.connect(any("another")).unwrap().is_connected());
    });
}

#[test]
fn starts_for_which_there_are_no_descriptors_fail_and_leave_none() {
    isolated(|| {
        for python in kinds() {
            let router = router(LONG);
            let top = router.connect(local(python, "top")).unwrap();
            top.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&top);
            let mut failed = 0;
            for more in 0..14 {
                top.call::<()>("work:use_up_descriptors", (more,)).unwrap();
                let child = top.start(any("child"));
                if let Err(error) = child.info() {
                    assert!(matches!(error, Error::Connect(_)), "{error}");
                    failed += 1;
                }
                top.call::<()>("work:allow_descriptors", ()).unwrap();
                child.shutdown().unwrap();
                assert_same_holdings(&top, &before);
            }
            assert!((1..14).contains(&failed), "{failed} failed");
        }
    });
}

#[test]
fn a_program_that_may_have_no_more_descriptors_says_so_and_goes_on() {
    isolated(|| {
        let router = router(LONG);
        let highest = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        // A start takes up to eleven for a moment, a child three.
        for more in 11..18 {
            let limit = highest + more;
            limit_descriptors(limit);
            let mut children = Vec::new();
            let error = loop {
                match router.connect(any("child")) {
                    Ok(child) => children.push(child),
                    Err(error) => break error.to_string(),
                }
            };
            let why = format!(
                "child: starting the process: making its streams: Too many open files (os error 24): this program \
                 may have {limit} (`ulimit -n`)"
            );
            assert_eq!(error.replace("No file descriptors available", "Too many open files"), why);
            assert!(!children.is_empty());
            for child in &children {
                child.call::<i64>("os:getpid", ()).unwrap();
            }
            children.remove(0).shutdown().unwrap();
            children.push(router.connect(any("another")).unwrap());
            for child in children {
                child.shutdown().unwrap();
            }
        }
    });
}

#[test]
fn a_parent_that_may_have_no_more_descriptors_says_so_and_goes_on() {
    isolated(|| {
        let router = router(LONG);
        for python in kinds() {
            let parent = router.connect(local(python, "parent")).unwrap();
            parent.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&parent);
            let most: u32 = parent.call("work:limit_descriptors", (30, true)).unwrap();
            let mut children = Vec::new();
            let error = loop {
                let child = parent.start(any("child"));
                match child.info() {
                    Ok(_) => children.push(child),
                    Err(error) => break error.to_string(),
                }
            };
            let why = format!(
                "Too many open files; a child takes 4 to 6, and its parent may have {most} (the hard limit, `ulimit -Hn`)"
            );
            assert_ends_with(&error, &why);
            assert!((4..10).contains(&children.len()), "{} children", children.len());
            for child in &children {
                child.call::<i64>("os:getpid", ()).unwrap();
            }
            children.remove(0).shutdown().unwrap();
            children.push(parent.connect(any("another")).unwrap());
            for child in children {
                child.shutdown().unwrap();
            }
            assert_same_holdings(&parent, &before);
        }
    });
}

#[test]
fn a_parent_of_many_allows_itself_more_descriptors_and_its_children_what_is_usual() {
    isolated(|| {
        let router = router(LONG);
        for python in kinds() {
            let parent = router.connect(local(python, "parent")).unwrap();
            let (_, hard): (u64, u64) = parent.call("work:descriptors_allowed", ()).unwrap();
            let soft: u64 = parent.call("work:limit_descriptors", (70,)).unwrap();
            let children: Vec<Context> = (0..20).map(|_| parent.start(any("child"))).collect();
            for child in &children {
                let allowed: (u64, u64) = child.call("work:descriptors_allowed", ()).unwrap();
                assert_eq!(allowed, (soft, hard));
            }
            let copy = parent.fork().unwrap();
            copy.connect(any("below")).unwrap();
            let allowed: (u64, u64) = parent.call("work:descriptors_allowed", ()).unwrap();
            assert_eq!(allowed, (hard.min(65536), hard));
            parent.shutdown().unwrap();
        }
    });
}

#[test]
fn a_context_that_does_not_read_its_parent_for_a_stopped_child_sees_the_parents_end() {
    let master = master(|| {
        let router = router(SHORT);
        let parent = router.connect(any("parent")).unwrap();
        let child = parent.connect(any("child")).unwrap();
        let process = process_of(&child);
        process.stop();
        let data = vec![0_u8; 1 << 20];
        // Until a caller would have to wait, since the parent reads no more.
        let full = (0..200).find(|_| {
            let call = child.function("work:receiver").arg(data.as_slice());
            let call = call.timeout(Duration::from_millis(300)).call_async::<Value>();
            matches!(call, Err(Error::TimedOut { .. }))
        });
        full.expect("somebody is behind");
        println!("> {}", process_of(&parent).pid);
        println!("> {}", process.pid);
        loop {
            thread::park();
        }
    });
    isolated(|| {
        let mut running = master.start();
        let (parent, child) = (running.process(), running.process());
        running.kill();
        parent.wait_end();
        child.wait_end();
    });
}

#[test]
fn a_stopped_child_does_not_keep_its_parent_from_reading_for_ever() {
    isolated(|| {
        for python in kinds() {
            let router = router(LONG);
            let parent = router.connect(local(python, "parent")).unwrap();
            let child = parent.connect(any("child")).unwrap();
            let sibling = parent.connect(any("sibling")).unwrap();
            parent.call::<()>("work:have_patience", (1,)).unwrap();
            let pending = child.call_async::<Value>("time:sleep", (1000,)).unwrap();
            process_of(&child).stop();
            let data = vec![0_u8; 1 << 20];
            let calls = (0..24).map(|_| child.function("work:size").arg(data.as_slice()));
            for call in calls {
                // Until it has gone.
                let _ = call.timeout(LONG).call_async::<usize>();
            }
            let words = told(pending);
            assert!(words.contains("it does not read what it is sent"), "{words}");
            sibling.call::<i64>("os:getpid", ()).unwrap();
            assert_soon(|| router.shutdown()).unwrap();
        }
    });
}

#[test]
fn a_context_is_not_taken_for_stuck_while_one_below_it_is_slow() {
    isolated(|| {
        let dir = TempDir::new();
        // Passes on half a megabyte, and the rest after some seconds: three is what a context may take nothing.
        let slow = "import os, select, subprocess, sys, time\n\
                    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n\
                    passed, data = 0, True\n\
                    while data:\n    \
                        select.select([0], [], [])\n    \
                        data = os.read(0, 1 << 16)\n    \
                        if passed < 1 << 19 <= passed + len(data):\n        \
                            time.sleep(8)\n    \
                        passed += len(data)\n    \
                        child.stdin.write(data)\n    \
                        child.stdin.flush()\n";
        let slow = dir.file("slow.py", slow);
        let newest = interpreters().iter().rfind(|it| it.name.starts_with("python3"));
        let prefix = [newest.unwrap().path.clone(), slow];
        let router = router(SHORT);
        let top = router.connect(any("top")).unwrap();
        let parent = top.connect(any("parent")).unwrap();
        let child = parent.connect(Exec::new(prefix).name("child")).unwrap();
        top.call::<()>("work:have_patience", (3,)).unwrap();
        for context in [&top, &parent] {
            context.call::<()>("work:queue_little", ()).unwrap();
        }
        let data = vec![0; 1 << 18];
        let calls =
            (0..24).map(|_| child.call_async::<usize>("work:size", (data.as_slice(),)).unwrap());
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.get_timeout(SOON).unwrap(), data.len());
        }
    });
}

#[test]
fn who_asks_for_ids_of_a_context_that_leaves_gets_none() {
    isolated(|| {
        let router = router(LONG);
        for python in kinds() {
            let parent = router.connect(local(python, "parent")).unwrap();
            parent.connect(any("child")).unwrap();
            let heard: Vec<Value> = parent.call("work:ask_for_ids_while_leaving", ()).unwrap();
            assert_eq!(heard, [Value::None]);
            parent.call::<i64>("os:getpid", ()).unwrap();
        }
    });
}

#[test]
fn a_start_for_which_there_is_no_thread_fails_and_leaves_its_parent_up() {
    isolated(|| {
        let router = router(LONG);
        for python in kinds() {
            let parent = router.connect(local(python, "parent")).unwrap();
            parent.connect(any("first")).unwrap();
            parent.call::<()>("work:allow_threads", (false,)).unwrap();
            let error = parent.connect(any("second")).unwrap_err().to_string();
            assert!(error.contains("no thread for a call: there are enough"), "{error}");
            parent.call::<()>("work:allow_threads", (true,)).unwrap();
            parent.connect(any("third")).unwrap();
        }
    });
}

#[test]
fn a_child_that_is_carried_by_pipes_lives_and_dies_as_any_other() {
    isolated(|| {
        let router = router(SHORT);
        for python in kinds() {
            let top = router.connect(local(python, "top")).unwrap();
            top.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&top);
            let carriers = |it: &Context| it.call::<Vec<String>>("work:carriers", ()).unwrap();
            let usual = top.connect(any("usual")).unwrap();
            assert!(carriers(&usual).iter().all(|to| to.starts_with("socket:")));
            usual.shutdown().unwrap();
            top.call::<()>("work:be_as_with_selinux", ()).unwrap();
            let child = top.connect(local(python, "child")).unwrap();
            assert!(carriers(&child).iter().all(|to| to.starts_with("pipe:")));
            // More than a pipe holds, both ways.
            let data = vec![7; 3 << 20];
            let back: Vec<u8> = child.call("work:same", (&data[..],)).unwrap();
            assert!(back == data);
            let killed = top.connect(local(python, "killed")).unwrap();
            let pending = killed.call_async::<Value>("time:sleep", (1000,)).unwrap();
            process_of(&killed).signal(libc::SIGKILL);
            assert_ends_with(&told(pending), KILLED);
            child.shutdown().unwrap();
            assert_same_holdings(&top, &before);
            let orphan = process_of(&top.connect(local(python, "orphan")).unwrap());
            process_of(&top).signal(libc::SIGKILL);
            orphan.wait_end();
        }
    });
}

#[test]
fn a_terminal_is_made_also_where_its_owner_cannot_be_set() {
    isolated(|| {
        let dir = TempDir::new();
        let ssh = fake_ssh(&dir, "ask \"deploy@web1's password: \"\nlogged_in\nrun");
        let router = router(SHORT);
        for python in kinds() {
            let parent = router.connect(local(python, "parent")).unwrap();
            parent.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&parent);
            parent.call::<()>("work:refuse_terminals", ()).unwrap();
            let method = Ssh::new("web1").user("deploy").ssh_path(&ssh).password("secret");
            parent.connect(method).unwrap().shutdown().unwrap();
            assert_same_holdings(&parent, &before);
        }
    });
}

#[test]
fn what_is_queued_for_a_child_does_not_keep_the_answer_from_what_it_asks() {
    isolated(|| {
        let dir = TempDir::new();
        let ssh = fake_ssh(&dir, "ask \"deploy@web1's password: \"\nlogged_in\nrun");
        let (go, may_go) = std::sync::mpsc::channel();
        let answer = move |_: &Prompt| may_go.recv().ok().map(|()| "secret".to_owned());
        let router = build(Router::builder().on_prompt(answer).on_log(|_| {}));
        let parent = router.connect(any("parent")).unwrap();
        let child = parent.start(Ssh::new("web1").ssh_path(&ssh));
        // Beyond what a parent keeps for a child that is up.
        let data = vec![0_u8; 1 << 20];
        let calls: Vec<Pending<usize>> =
            (0..24).map(|_| child.call_async("work:size", (&data[..],)).unwrap()).collect();
        go.send(()).unwrap();
        for call in calls {
            assert_eq!(call.get_timeout(SOON).unwrap(), data.len());
        }
    });
}

#[test]
fn a_child_that_leaves_something_behind_which_prints_for_ever_is_gone_all_the_same() {
    isolated(|| {
        let dir = TempDir::new();
        let router = router(LONG);
        for python in kinds() {
            let wrapper = format!("yes >&2 &\nexec {} \"$@\"", python.path.display());
            let wrapper = script(&dir, &python.name, &wrapper);
            let parent = router.connect(local(python, "parent")).unwrap();
            let child = parent.connect(Local::new().python(wrapper).name("child")).unwrap();
            let pending = child.call_async::<Value>("time:sleep", (1000,)).unwrap();
            process_of(&child).signal(libc::SIGKILL);
            assert!(told(pending).contains(KILLED));
            parent.call::<Value>("os:getpid", ()).unwrap();
            assert_soon(|| parent.shutdown()).unwrap();
        }
    });
}

#[test]
fn a_start_of_which_its_parent_tells_nothing_fails_in_time_and_is_given_up_there_too() {
    isolated(|| {
        let log = Log::default();
        let router = build(Router::builder().shutdown_grace(SHORT).on_log(log.sink()));
        let top = router.connect(any("top")).unwrap();
        let timeout = Duration::from_secs(1);
        let starts = kinds().into_iter().map(|python| {
            let parent = top.connect(local(python, "parent")).unwrap();
            parent.connect(any("first")).unwrap().shutdown().unwrap();
            let before = rested(&parent);
            process_of(&parent).stop();
            let child = parent.start(any("child").connect_timeout(timeout));
            let behind = child.start(any("behind").connect_timeout(timeout));
            let call = behind.call_async::<Value>("os:getpid", ()).unwrap();
            (python, parent, before, child, call)
        });
        for (python, parent, before, child, call) in starts.collect::<Vec<_>>() {
            let error = assert_soon(|| child.info()).unwrap_err().to_string();
            let why = match python.version {
                (2, _) => {
                    "it hangs, is cut off, or imports something for so long (it is Python 2.7)"
                }
                _ => "it hangs, or is cut off",
            };
            let why = format!("parent has not told within 11s what came of it: {why}");
            assert_eq!(error, format!("top > parent > child: starting the process: {why}"));
            assert!(told(call).contains(&why));
            process_of(&parent).signal(libc::SIGCONT);
            assert_same_holdings(&parent, &before);
            parent.connect(any("another")).unwrap().shutdown().unwrap();
            assert_same_holdings(&parent, &before);
        }
        let warnings = log.records();
        assert!(warnings.iter().all(|it| it.logger != "econtext"), "{warnings:#?}");
    });
}
