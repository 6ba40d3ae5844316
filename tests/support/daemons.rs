//! Daemons of a test's own, which root runs.
//!
//! Invariant: each is in mount, network and process namespaces of its own, so that what it mounts, sets and starts
//! is seen by nobody else, and gone with it, whatever becomes of the test. Its files belong in its directory;
//! cgroups cannot be apart, and it removes what it makes of them.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use super::{TempDir, descendants, environment};

#[derive(Debug)]
pub struct Daemon {
    dir: TempDir,
    first: Child,
}

impl Daemon {
    /// Runs a shell script in this directory until its standard input ends, upon which it has to end well.
    pub fn start(dir: TempDir, script: &str) -> Daemon {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.args(["/bin/sh", "-ec", script]).current_dir(dir.path());
        command.env_clear().envs(environment(dir.path()));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let log = File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        Daemon { first: command.spawn().unwrap(), dir }
    }

    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// The process below it whose command starts so.
    pub fn find(&self, command: &str) -> i32 {
        let all = descendants(self.first.id() as i32);
        let found = all.iter().find(|(_, line)| line.starts_with(command));
        *found.unwrap_or_else(|| panic!("{command}: not among {all:?}")).0
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.first.stdin.take());
        let status = self.first.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}\n{}", self.log());
    }
}
