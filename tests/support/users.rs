//! Ordinary users of this machine, for logins with their own shells, passwords and rights.
//!
//! Invariant: a user that a test makes is gone when the test ends, processes and home with it. What a
//! test that was killed has left is removed by the next one that makes a user.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::processes::{Process, end_all};
use super::{TempDir, skip};

/// A user with a home of its own, who can log in with a key.
#[derive(Debug)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: TempDir,
}

impl User {
    /// Makes one whose login shell is this; the test ends here, left out, where only root may do so.
    pub fn new(shell: impl AsRef<Path>) -> User {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !is_root() {
            skip("logins of other users", "only root can make them");
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}n{count}", std::process::id());
        let home = TempDir::new();
        open_to_all(home.path());
        let lock = lock();
        remove_stale();
        let mut command = admin("useradd");
        // `*` fits no password, but unlike `!` it is no locked account, which sshd refuses. Without a
        // range of subordinate ids, which nobody here needs, one file less is written.
        command.args(["--no-create-home", "--no-user-group", "--no-log-init", "--password", "*"]);
        command.args(["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]).arg("--shell");
        run(command.arg(shell.as_ref()).arg("--home-dir").arg(home.path()).arg(&name), "");
        drop(lock);
        let (uid, gid) = ids(&name);
        chown(home.path(), Some(uid), Some(gid)).expect("root may");
        User { name, uid, gid, home }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub fn gid(&self) -> u32 {
        self.gid
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes a file in the home, the user's own; `~/` in front is allowed. Returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.file(name.strip_prefix("~/").unwrap_or(name), content);
        for part in path.ancestors().take_while(|part| *part != self.home()) {
            chown(part, Some(self.uid), Some(self.gid)).expect("root may");
        }
        path
    }

    pub fn set_password(&self, password: &str) {
        let _lock = lock();
        run(&mut admin("chpasswd"), &format!("{}:{password}\n", self.name));
    }

    /// Runs one of the tools that change an account, say `chage` or `usermod`; the name is added.
    pub fn change<S: AsRef<OsStr>>(&self, tool: &str, args: impl IntoIterator<Item = S>) {
        let _lock = lock();
        run(admin(tool).args(args).arg(&self.name), "");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        end_processes(self.uid);
        let _lock = lock();
        remove(&self.name);
    }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// What the names of such users start with; the process that made them follows.
const PREFIX: &str = "ec";

/// Where the tools are, which only root has in its path.
const ADMIN_PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

fn admin(tool: &str) -> Command {
    let found = ADMIN_PATH.split(':').map(|dir| Path::new(dir).join(tool)).find(|it| it.exists());
    Command::new(found.unwrap_or_else(|| panic!("there is no {tool} in {ADMIN_PATH}")))
}

fn run(command: &mut Command, input: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("our child");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{printed}", output.status);
}

/// One change of the user database at a time: the tools give up after some tries of their own.
fn lock() -> File {
    // A file that is there, is nobody else's to lock, and is not replaced as those in it are.
    let file = File::open("/etc").expect("/etc");
    // SAFETY: involves no memory.
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
    file
}

/// Under the lock. `userdel` complains where a user is logged in, which its processes' end has ended.
fn remove(name: &str) {
    let output = admin("userdel").arg(name).stdin(Stdio::null()).output().expect("userdel");
    let printed = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !std::thread::panicking() {
        panic!("userdel {name}: {}\n{printed}", output.status);
    }
}

/// Removes the users of tests that have been killed.
fn remove_stale() {
    for (name, uid, home) in passwd() {
        let maker = || name.strip_prefix(PREFIX)?.split_once('n')?.0.parse::<u32>().ok();
        let has_gone = |maker: u32| !Path::new(&format!("/proc/{maker}")).exists();
        if home.contains("/econtext-test-") && maker().is_some_and(has_gone) {
            end_processes(uid);
            remove(&name);
        }
    }
}

/// The names, ids and homes of all users.
fn passwd() -> Vec<(String, u32, String)> {
    let text = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let parse = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        Some((
            fields.first()?.to_string(),
            fields.get(2)?.parse().ok()?,
            fields.get(5)?.to_string(),
        ))
    };
    text.lines().filter_map(parse).collect()
}

fn ids(name: &str) -> (u32, u32) {
    let text = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let line = text.lines().find(|line| line.split(':').next() == Some(name)).expect("just made");
    let id = |at| line.split(':').nth(at).and_then(|id| id.parse().ok()).expect("a number");
    (id(2), id(3))
}

fn end_processes(uid: u32) {
    loop {
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let of_user = entries.filter(|entry| is_of_user(&entry.path(), uid));
        let pids = of_user.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let processes: Vec<_> =
            pids.filter_map(Process::find).filter(Process::is_running).collect();
        if processes.is_empty() {
            return;
        }
        end_all(&processes);
    }
}

/// Whether a process acts for this user: sudo does, as root.
fn is_of_user(process: &Path, uid: u32) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    ids.split_whitespace().any(|id| id.parse() == Ok(uid))
}

/// Lets every user enter the directory: those that a test made may be closed by its umask.
fn open_to_all(dir: &Path) {
    for part in dir.ancestors() {
        let mode = fs::metadata(part).expect("it is there").permissions().mode();
        if mode & 0o5 != 0o5 && part.to_string_lossy().contains("/econtext-test-") {
            fs::set_permissions(part, fs::Permissions::from_mode(mode | 0o55)).expect("our own");
        }
    }
}
