//! What a process has now that it had not before: descriptors, threads, child processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::processes::descendants;

/// What this process had when the check began. Only for a process where nothing else goes on: see
/// [`isolated`](super::isolated), which makes one and checks it.
pub struct Leaks {
    before: Holdings,
}

/// By number: what a descriptor is open on, a thread's name, a descendant's command line.
struct Holdings {
    descriptors: BTreeMap<i32, String>,
    threads: BTreeMap<i32, String>,
    processes: BTreeMap<i32, String>,
}

impl Leaks {
    pub fn start() -> Leaks {
        Leaks { before: Holdings::now() }
    }

    /// What is there beyond what was there at the start, one line each.
    pub fn left(&self) -> Vec<String> {
        let Holdings { descriptors, threads, processes } = Holdings::now();
        let before = &self.before;
        let mut left = Vec::new();
        // A descriptor is the same if its number leads to the same thing as before.
        for (fd, to) in descriptors.iter().filter(|(fd, to)| before.descriptors.get(fd) != Some(to))
        {
            left.push(format!("descriptor {fd}: {to}"));
        }
        for (id, name) in threads.iter().filter(|(id, _)| !before.threads.contains_key(id)) {
            left.push(format!("thread {id}: {name}"));
        }
        for (_, line) in processes.iter().filter(|(pid, _)| !before.processes.contains_key(pid)) {
            left.push(format!("process: {line}"));
        }
        left
    }

    /// # Panics
    ///
    /// When something is left for longer than it takes to go: names all of it.
    pub fn assert_clean(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\n  {}", left.join("\n  "));
            // A joined thread leaves /proc a moment after its join returns, and no event says so.
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// How long the remains of what was joined and reaped may take to go.
const PATIENCE: Duration = Duration::from_secs(2);

impl Holdings {
    fn now() -> Holdings {
        Holdings {
            descriptors: entries("/proc/self/fd", |path| {
                let to = fs::read_link(path).ok()?.display().to_string();
                // The descriptor by which this directory is read.
                (to != format!("/proc/{}/fd", std::process::id())).then_some(to)
            }),
            threads: entries("/proc/self/task", |path| {
                Some(fs::read_to_string(path.join("comm")).ok()?.trim().to_string())
            }),
            processes: descendants(std::process::id() as i32),
        }
    }
}

fn entries(dir: &str, describe: impl Fn(&Path) -> Option<String>) -> BTreeMap<i32, String> {
    fs::read_dir(dir)
        .expect(dir)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, describe(&entry.path())?))
        })
        .collect()
}
