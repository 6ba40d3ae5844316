//! Programs of a test's own: masters that are killed, stopped, or have surroundings of their own.

use std::any::type_name;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio, exit};

use super::processes::Process;

const MASTER: &str = "ECONTEXT_TEST_MASTER";

/// Something that runs in another process of the test's executable: see [`master`].
#[derive(Clone, Copy, Debug)]
pub struct Master {
    test: &'static str,
}

/// Makes `main` a program that the test can start. It is to stand in the test function itself, before
/// `isolated()`: in the process that is the program, this runs it and does not return.
///
/// What it panics with is on its stderr, and its exit status is 1; else 0. What it prints with
/// `println!` can be read by [`Master::start`]'s caller.
pub fn master<F: FnOnce()>(main: F) -> Master {
    let (_, path) = type_name::<F>().split_once("::").expect("the path of a closure");
    let (test, _) = path.rsplit_once("::").expect("the path of a closure");
    if std::env::var(MASTER).is_ok_and(|master| master == test) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(main));
        exit(if result.is_ok() { 0 } else { 1 });
    }
    Master { test }
}

impl Master {
    /// What starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", self.test, "--nocapture", "--test-threads=1"]);
        command.env(MASTER, self.test);
        command
    }

    /// Starts it, and gives what it prints line by line.
    pub fn start(&self) -> Running {
        self.start_with(|command| command)
    }

    /// The same with what else the command is to have.
    pub fn start_with(&self, set: impl FnOnce(&mut Command) -> &mut Command) -> Running {
        let mut command = self.command();
        set(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }
}

/// A program that was started. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// The next line that begins with `> `, without that: the test harness prints others.
    pub fn line(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the program has ended").expect("it prints text");
            // The harness does not end its own line: `test the_name ... > the line`.
            if let Some((_, line)) = line.split_once("> ") {
                return line.to_string();
            }
        }
    }

    /// The next line, a process id.
    pub fn process(&mut self) -> Process {
        Process::open(self.line().parse().expect("a process id"))
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
