//! Promise: a tree may be deep, or wide, of any interpreters: starts are concurrent, calls reach each context, one
//! shutdown ends all of them; and a tree with nothing to do costs nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use econtext::{Context, Local, Pending, Router, Value};

mod support;

use support::{Process, Python, interpreters, isolated, process_of, thread_id};

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(60);

fn router() -> Router {
    let router = Router::builder().on_log(|_| {}).build().unwrap();
    router.modules().source("work", "def level(number):\n    return number\n");
    router
}

fn local(python: &Python) -> Local {
    Local::new().python(&python.path)
}

fn cpython() -> &'static Python {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    interpreters().iter().rfind(is_cpython).expect("a Python 3")
}

fn threads(pid: u32) -> usize {
    fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).unwrap().count()
}

#[test]
fn a_chain_of_ten_is_of_all_interpreters() {
    isolated(|| {
        let router = router();
        let mut chain: Vec<Context> = Vec::new();
        for (level, python) in interpreters().iter().cycle().take(10).enumerate() {
            let local = local(python).name(format!("level{level}"));
            let next = match chain.last() {
                None => router.start(local),
                Some(last) => last.start(local),
            };
            chain.push(next);
        }
        // Queued behind the starts, modules too.
        let calls: Vec<Pending<usize>> = (chain.iter().enumerate())
            .map(|(level, it)| it.call_async("work:level", (level,)).unwrap())
            .collect();
        for (level, call) in calls.into_iter().enumerate() {
            assert_eq!(call.get_timeout(SOON).unwrap(), level);
        }
        for (above, below) in chain.iter().zip(&chain[1..]) {
            let ppid: u32 = below.call("os:getppid", ()).unwrap();
            assert_eq!(ppid, above.info().unwrap().pid);
        }
        let processes: Vec<_> = chain.iter().map(process_of).collect();
        chain[0].shutdown().unwrap();
        assert!(!processes.iter().any(Process::is_running));
    });
}

#[test]
fn ten_parents_start_twenty_children_each_at_once() {
    isolated(|| {
        let router = router();
        let parents: Vec<_> = (0..10).map(|_| router.start(local(cpython()))).collect();
        let children: Vec<_> = (parents.iter())
            .flat_map(|parent| (0..20).map(|_| parent.start(local(cpython()))))
            .collect();
        let calls: Vec<Pending<u32>> =
            children.iter().map(|it| it.call_async("os:getppid", ()).unwrap()).collect();
        let above = calls.into_iter().map(|call| call.get_timeout(SOON).unwrap());
        let above: Vec<u32> = above.collect();
        let expected = parents.iter().map(|it| it.info().unwrap().pid);
        let expected: Vec<u32> = expected.flat_map(|pid| [pid; 20]).collect();
        assert_eq!(above, expected);

        let ids: HashSet<u32> = children.iter().chain(&parents).map(Context::id).collect();
        assert_eq!(ids.len(), 210);
        // The one that tests, the broker, the helper; what isolates tests may have one more.
        assert!(threads(std::process::id()) <= 4, "{}", threads(std::process::id()));
        for parent in &parents {
            let pid = parent.info().unwrap().pid;
            let memory = Process::open(pid as i32).peak_memory();
            assert!(memory < 64 << 20, "a parent of twenty took {memory} bytes");
        }
        let processes: Vec<_> = children.iter().chain(&parents).map(process_of).collect();
        let start = Instant::now();
        router.shutdown().unwrap();
        // Before anybody's grace period was over.
        assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
        assert!(!processes.iter().any(Process::is_running));
    });
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
fn an_idle_tree_means_no_wake_ups_anywhere() {
    isolated(|| {
        let router = router();
        let mut processes = vec![Process::open(std::process::id() as i32)];
        let mut parents = Vec::new();
        for python in interpreters() {
            let parent = router.start(local(python));
            let child = parent.start(local(cpython()));
            let other = parent.start(local(python));
            child.call::<Value>("work:level", (2,)).unwrap();
            other.connect(local(python)).unwrap().shutdown().unwrap();
            processes.extend([&parent, &child, &other].map(process_of));
            parents.push(parent);
        }
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
        // None of the threads that starts need is asleep until later. (Where the system does not tell of the end of
        // a process, one waits for each child.)
        for parent in &parents {
            let pid = parent.info().unwrap().pid;
            assert!(threads(pid) <= 4, "{parent} has {} threads", threads(pid));
        }
    });
}
