//! Processes: those below one, out of `/proc`, and handles of some.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use econtext::Context;

/// All processes that descend from `ancestor`, zombies included: their ids, and what they are.
pub fn descendants(ancestor: i32) -> BTreeMap<i32, String> {
    let all: Vec<Found> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| Found::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found = BTreeMap::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            found.insert(process.pid, process.describe());
            parents.push(process.pid);
        }
    }
    found
}

struct Found {
    pid: i32,
    parent: i32,
    name: String,
    state: char,
}

impl Found {
    /// `None` where there is none any more.
    fn read(pid: i32) -> Option<Found> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // `12 (name) S 1 ..`, where a name may hold anything, `) ` too.
        let (start, rest) = stat.rsplit_once(") ")?;
        let (_, name) = start.split_once('(')?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Found { pid, parent: fields.next()?.parse().ok()?, name: name.to_string(), state })
    }

    fn describe(&self) -> String {
        let Found { pid, parent, name, state } = self;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<_> = command
            .split(|&byte| byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).escape_debug().to_string())
            .collect();
        let mut line: String = arguments.join(" ").trim_end().chars().take(200).collect();
        if line.is_empty() {
            line = format!("[{name}]");
        }
        let zombie = if *state == 'Z' { ", a zombie" } else { "" };
        format!("{line} (process {pid} of {parent}{zombie})")
    }
}

/// A process of this machine, whoever started it.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    /// The kernel's handle, which cannot come to mean another process.
    handle: OwnedFd,
}

/// Longer than anything but a failure takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Process {
    /// # Panics
    ///
    /// When there is none.
    pub fn open(pid: i32) -> Process {
        Process::try_open(pid).unwrap_or_else(|error| panic!("process {pid}: {error}"))
    }

    /// `None` where there is none any more.
    pub fn find(pid: i32) -> Option<Process> {
        match Process::try_open(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            opened => Some(opened.unwrap_or_else(|error| panic!("process {pid}: {error}"))),
        }
    }

    fn try_open(pid: i32) -> io::Result<Process> {
        // SAFETY: involves no memory. The result is close-on-exec.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        Ok(Process { pid, handle: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sends a signal.
    pub fn signal(&self, number: i32) {
        let sent = self.try_signal(number);
        sent.unwrap_or_else(|error| panic!("process {}: {error}", self.pid));
    }

    fn try_signal(&self, number: i32) -> io::Result<()> {
        let (fd, info) = (self.handle.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: a null pointer stands for what kill(2) would say about the sender.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, info, 0) };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Stops it, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let deadline = Instant::now() + PATIENCE;
        // No event says so to anybody but the parent.
        while Found::read(self.pid).is_some_and(|process| process.state != 'T') {
            assert!(Instant::now() < deadline, "process {} does not stop", self.pid);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn is_running(&self) -> bool {
        !self.ended_within(Duration::ZERO)
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn wait_end(&self) {
        assert!(self.ended_within(PATIENCE), "process {} does not end", self.pid);
    }

    fn ended_within(&self, limit: Duration) -> bool {
        let mut fd = libc::pollfd { fd: self.handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        let ready = unsafe { libc::poll(&raw mut fd, 1, limit.as_millis() as i32) };
        ready == 1
    }

    /// The most memory that it had resident at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it runs");
        let kib = line.trim().strip_suffix(" kB").expect("in kB").parse::<u64>().unwrap();
        kib << 10
    }

    /// Makes the present memory the most that it has had.
    pub fn forget_peak_memory(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("it runs, and is ours");
    }

    /// How often its threads have gone to sleep, by thread.
    pub fn sleeps(&self) -> BTreeMap<i32, u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
        let sleeps = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((task.file_name().to_str()?.parse().ok()?, line.trim().parse().ok()?))
        };
        tasks.filter_map(|task| sleeps(task.ok()?)).collect()
    }
}

/// The process of a context of this machine.
pub fn process_of(context: &Context) -> Process {
    Process::open(context.info().expect("it is up").pid as i32)
}

/// Kills them, and waits until they have ended; those that have already are no matter.
pub fn end_all(processes: &[Process]) {
    for process in processes {
        // It has been reaped.
        let _ = process.try_signal(libc::SIGKILL);
    }
    processes.iter().for_each(Process::wait_end);
}

/// Kills a process and all that descend from it, whoever's they are, and waits until they have ended.
///
/// They are stopped first, as what is killed while it starts another leaves an orphan, which descends
/// from nobody here.
pub fn end_tree(pid: i32) {
    let mut tree = BTreeMap::new();
    tree.extend(Process::find(pid).map(|process| (pid, process)));
    let mut fresh = tree.keys().copied().collect::<Vec<_>>();
    while !fresh.is_empty() {
        for pid in &fresh {
            let _ = tree[pid].try_signal(libc::SIGSTOP);
        }
        let deadline = Instant::now() + PATIENCE;
        let is_at_rest = |pid| Found::read(pid).is_none_or(|found| "TZX".contains(found.state));
        while !fresh.iter().all(|&pid| is_at_rest(pid)) {
            assert!(Instant::now() < deadline, "one of {fresh:?} does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
        fresh = descendants(pid).into_keys().filter(|pid| !tree.contains_key(pid)).collect();
        fresh.retain(|&pid| match Process::find(pid) {
            Some(process) => tree.insert(pid, process).is_none(),
            None => false,
        });
    }
    end_all(&tree.into_values().collect::<Vec<_>>());
}

/// The id of the calling thread, as in [`Process::sleeps`].
pub fn thread_id() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// Closes descriptors of this process, whoever they belong to.
pub fn close_descriptors(fds: &[i32]) {
    for &fd in fds {
        // SAFETY: for the standard ones, whose owners in `std` bear it.
        unsafe { libc::close(fd) };
    }
}

/// The standard descriptors of this process as they are now: when this is dropped, they are so again.
pub fn keep_standard_descriptors() -> KeptDescriptors {
    // SAFETY: involves no memory.
    let copy = |fd| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
    KeptDescriptors([0, 1, 2].map(copy))
}

#[derive(Debug)]
pub struct KeptDescriptors([i32; 3]);

impl Drop for KeptDescriptors {
    fn drop(&mut self) {
        for (fd, copy) in (0..).zip(self.0) {
            // SAFETY: the copy is this structure's own.
            unsafe { libc::dup2(copy, fd) };
            // SAFETY: so it is, and nobody uses it any more.
            unsafe { libc::close(copy) };
        }
    }
}

/// Has the kernel reap the children of this process, or not.
pub fn ignore_sigchld(yes: bool) {
    let handler = if yes { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGCHLD, handler) };
}

/// Allows this process as many descriptors as it may allow itself; gives how many.
pub fn raise_descriptor_limit() -> u64 {
    set_descriptor_limit(|most| most.min(65536))
}

/// Lets this process have at most so many descriptors.
pub fn limit_descriptors(count: u64) {
    assert_eq!(set_descriptor_limit(|_| count), count);
}

/// `choose` gets the hard limit.
fn set_descriptor_limit(choose: impl FnOnce(u64) -> u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a local.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = choose(limit.rlim_max);
    // SAFETY: reads a local.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    limit.rlim_cur
}
