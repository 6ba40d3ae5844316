//! A test body in a process of its own.
//!
//! `cargo test` runs the tests of a file as threads of one process, where each would see the others'
//! descriptors and threads. So [`isolated`] runs the test's own executable again, twice:
//!
//! - the *test* (what cargo started) makes empty directories to be the body's home, temporary and
//!   working directory, and starts
//! - the *supervisor*, which adopts every process that its parent leaves behind, and starts
//! - the *body*, with a scrubbed environment. When it returns, its process has the descriptors,
//!   threads and children that it had before, or it fails.
//!
//! Then the supervisor looks for processes that the body has orphaned, and the test for files. The
//! body's own children and its orphans need two processes to be told apart: a zombie that the body
//! should have reaped is a leak, one that it orphaned is init's to reap, here the supervisor's.

use std::any::type_name;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio, exit};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use std::{env, fs, io, thread};

use super::python::{PYENV_ROOT, pyenv_root};
use super::{Leaks, TempDir, descendants, environment, leave_out};

/// Runs `body` in a process of its own; fails if the body does, if it takes longer than five minutes,
/// or if it leaves a descriptor, a thread, a process, a zombie or a file.
///
/// Once in a test, as all of it: a closure written in the test function itself, from whose name the
/// test's is known. What stands before it runs in each of the three processes.
pub fn isolated<F: FnOnce()>(body: F) {
    if let Err(report) = isolated_report(body) {
        panic!("{report}");
    }
}

/// Ends the body here, as one that passes: `what` cannot be tested on this machine, and `why`. For the
/// body's own thread, which unwinds; see [`leave_out`] for what a test can do without.
pub fn skip(what: &str, why: &str) -> ! {
    leave_out(what, why);
    resume_unwind(Box::new(Skipped))
}

struct Skipped;

/// As [`isolated`], for tests of what fails.
pub fn isolated_report<F: FnOnce()>(body: F) -> Result<(), String> {
    // `file::test::{{closure}}`
    let (_, path) = type_name::<F>().split_once("::").expect("the path of a closure");
    let (test, _) = path.rsplit_once("::").expect("the path of a closure");
    match env::var(ROLE).as_deref() {
        Ok("supervisor") => supervise(test),
        Ok("body") => run(body),
        _ => start(test),
    }
}

/// Whether this is not the test's own process: what it is to find has been prepared by that.
pub fn is_isolated() -> bool {
    env::var_os(ROLE).is_some()
}

const ROLE: &str = "ECONTEXT_TEST_ROLE";

/// The exit status of a supervisor or body that ran and found nothing wrong. Not 0: with that the
/// test harness exits also when it has found no test of that name.
const CLEAN: i32 = 42;

const BODY_TAKES_AT_MOST: Duration = Duration::from_secs(300);

/// How long a process that the body orphaned, and that is ending, may take to end.
const ORPHANS_TAKE_AT_MOST: Duration = Duration::from_secs(3);

/// In the test's process.
fn start(test: &str) -> Result<(), String> {
    static STARTED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let is_first = STARTED.lock().unwrap().insert(test.to_string());
    assert!(is_first, "{test}: isolated() runs once in a test");

    let base = TempDir::new();
    let dirs = ["home", "tmp", "cwd"].map(|name| base.path().join(name));
    for dir in &dirs {
        fs::create_dir(dir).expect("a directory in a fresh one");
    }
    let [home, tmp, cwd] = &dirs;
    let mut command = again(test, "supervisor");
    command.env_clear().envs(environment(home)).env("TMPDIR", tmp).env(ROLE, "supervisor");
    command.envs(pyenv_root().map(|root| (PYENV_ROOT, root)));
    command.envs(env::vars().filter(|(name, _)| KEPT.contains(&name.as_str())));
    let output = command.current_dir(cwd).stdin(Stdio::null()).output().expect("the test itself");

    let files: Vec<_> = dirs.iter().flat_map(|dir| files_below(dir)).collect();
    let why = match output.status.code() {
        Some(CLEAN) if files.is_empty() => return Ok(()),
        Some(CLEAN) => format!("left behind:\n  {}", files.join("\n  ")),
        _ => output.status.to_string(),
    };
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).trim().to_string());
    Err(format!("{test}: {why}\n{command:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"))
}

const KEPT: [&str; 2] = ["ECONTEXT_TEST_ALL", "RUST_BACKTRACE"];

fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

fn files_below(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory that nobody removes");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| format!("file: {}", path.display())).collect()
}

/// In the body's process.
fn run(body: impl FnOnce()) -> ! {
    let checked = || {
        let leaks = Leaks::start();
        match catch_unwind(AssertUnwindSafe(body)) {
            Err(payload) if !payload.is::<Skipped>() => resume_unwind(payload),
            _ => leaks.assert_clean(),
        }
    };
    // The panic has been printed by its hook.
    exit(if catch_unwind(AssertUnwindSafe(checked)).is_ok() { CLEAN } else { 1 })
}

/// In the process between.
fn supervise(test: &str) -> ! {
    adopt_orphans();
    let body = again(test, "body").spawn().expect("the test itself").id();
    let wait_for_body = || loop {
        match reap() {
            Some((pid, status)) if pid == body as i32 => break status,
            Some(_) => {} // An orphan.
            None => panic!("{test}: the body is a child of the supervisor"),
        }
    };
    let (status, ended) = or_end_all(BODY_TAKES_AT_MOST, wait_for_body);
    tell(&format!("after {BODY_TAKES_AT_MOST:?} there still ran"), &ended);
    let is_clean = status.code() == Some(CLEAN);
    // After a failure what is left is no news.
    let patience = if is_clean { ORPHANS_TAKE_AT_MOST } else { Duration::ZERO };
    let (_, orphans) = or_end_all(patience, || while reap().is_some() {});
    if is_clean && orphans.is_empty() {
        exit(CLEAN);
    }
    if is_clean {
        tell("left behind", &orphans);
    } else if status.code() != Some(1) {
        eprintln!("the body ended with {status}");
    } // else its own panic has said why.
    exit(1)
}

fn tell(what: &str, processes: &[String]) {
    if !processes.is_empty() {
        eprintln!("{what}:\n  {}", processes.join("\n  "));
    }
}

/// Waits, but no longer than `limit`: then all that runs below this process is ended, and told.
fn or_end_all<T>(limit: Duration, wait: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let (mut ended, mut patience) = (BTreeMap::new(), limit);
            while is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let all = descendants(std::process::id() as i32);
                all.keys().for_each(|&pid| kill(pid));
                for (pid, line) in all {
                    ended.entry(pid).or_insert_with(|| format!("process: {line}"));
                }
                // Once more, for what was started between the look and the blow.
                patience = Duration::from_millis(50);
            }
            ended.into_values().collect()
        });
        let result = wait();
        drop(done);
        (result, watch.join().expect("the watch does not panic"))
    })
}

fn kill(pid: i32) {
    // SAFETY: involves no memory. The process descends from this one, which alone reaps it.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// From now on this process is the parent of every orphan below it.
fn adopt_orphans() {
    // SAFETY: sets a flag of this process.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Waits for the next child to end; `None` when there are none.
fn reap() -> Option<(i32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: writes a local.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    (pid > 0).then(|| (pid, ExitStatus::from_raw(status)))
}
