//! Starting a program, and how it ended.
//!
//! Invariant: between fork and exec the child only makes system calls; whatever needs memory is made
//! before. (Another thread may hold the allocator's lock at the moment of the fork, and nobody in the
//! child will ever release it.)
//! Not here: what to start, and how long to wait for it.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{all_signals, check, describe, duplicate, mask_signals, no_signals, pipe, read};
use crate::ExitStatus;

/// What to start, and in which surroundings.
///
/// The program leads a session of its own, so that no key typed at our terminal reaches it; all
/// signals are unmasked and do what they do by default; it inherits no descriptor but its standard
/// three. (On a system without close_range(2), also those that the host program left inheritable.)
pub(crate) struct Spawn<'a> {
    /// The program and its arguments. A program without a slash is looked for in the `PATH` of `env`;
    /// one with a slash that is not absolute starts from the program's own working directory.
    pub argv: &'a [CString],
    /// Its whole environment, `NAME=value` each.
    pub env: &'a [CString],
    /// Its working directory, or `None` for ours.
    pub current_dir: Option<&'a CStr>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// The slave end of a [`pty`](super::pty) that becomes its controlling terminal, what it opens as
    /// `/dev/tty`; or `None`: it has none then.
    pub tty: Option<BorrowedFd<'a>>,
}

impl Spawn<'_> {
    /// Forks and executes; returns when the program has started, or has turned out not to.
    ///
    /// The error says which step failed, and its kind is that of the system call: `NotFound` where
    /// there is no such program (or no such interpreter, for a script), `PermissionDenied` where it is
    /// not executable.
    pub fn spawn(&self) -> io::Result<Process> {
        let program = self.find_program()?;
        let argv = pointers(self.argv);
        let env = pointers(self.env);
        // Copies above 2: the originals may have the very numbers that they are to replace.
        let no_streams = |error| say("making its streams", &error);
        let copy = |fd| duplicate(fd).map_err(no_streams);
        let stdio = [copy(self.stdin)?, copy(self.stdout)?, copy(self.stderr)?];
        let (failure, failure_writer) = pipe().map_err(no_streams)?;
        let plan = Plan {
            program: &program,
            argv: &argv,
            env: &env,
            current_dir: self.current_dir,
            stdio: stdio.each_ref().map(AsRawFd::as_raw_fd),
            tty: self.tty.map(|tty| tty.as_raw_fd()),
            no_signals: no_signals(),
        };
        // From here until the child has put every signal to its default, no handler of the host program
        // may run in the child.
        let before = mask_signals(libc::SIG_SETMASK, &all_signals())?;
        // SAFETY: the child runs only `Plan::run`, which allocates nothing and never returns.
        let forked = check(unsafe { libc::fork() });
        if let Ok(0) = forked {
            plan.run(failure_writer.as_raw_fd());
        }
        mask_signals(libc::SIG_SETMASK, &before)?;
        let mut process = Process::of_child(forked.map_err(|error| say("cannot fork", &error))?);
        drop(failure_writer);

        let mut report = [0; REPORT_BYTES];
        if read(failure.as_fd(), &mut report)? == REPORT_BYTES {
            process.wait()?;
            let (step, code) = decode_report(report);
            return Err(self.explain(step, &program, io::Error::from_raw_os_error(code)));
        }
        Ok(process)
    }

    /// The path to execute.
    fn find_program(&self) -> io::Result<CString> {
        let Some(name) = self.argv.first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no program to start",
            ));
        };
        if name.as_bytes().contains(&b'/') {
            return Ok(name.clone());
        }
        let set = self.env.iter().find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
        let path = set.unwrap_or(DEFAULT_PATH);
        let mut refused = None;
        // Relative directories (an empty one is the working directory) are passed over: nothing that
        // happens to lie there is to run as `ssh` or `python3`.
        for directory in path.split(|&byte| byte == b':').filter(|dir| dir.starts_with(b"/")) {
            let candidate = CString::new([directory, b"/", name.as_bytes()].concat())
                .expect("made of the bytes of C strings");
            // SAFETY: reads a C string that is alive.
            let executable = check(unsafe { libc::access(candidate.as_ptr(), libc::X_OK) });
            if !Path::new(OsStr::from_bytes(candidate.as_bytes())).is_file() {
                continue;
            }
            if executable.is_ok() {
                return Ok(candidate);
            }
            refused.get_or_insert(candidate);
        }
        Err(match refused {
            Some(found) => {
                let denied = io::Error::from_raw_os_error(libc::EACCES);
                self.explain(Step::Exec, &found, denied)
            }
            None => io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} not found in PATH ({})", lossy(name), String::from_utf8_lossy(path)),
            ),
        })
    }

    fn explain(&self, step: Step, program: &CStr, error: io::Error) -> io::Error {
        let what = match step {
            Step::Session => "cannot start a session".to_string(),
            Step::Terminal => "cannot take its terminal".to_string(),
            Step::CurrentDir => {
                format!("cannot change to {}", lossy(self.current_dir.unwrap_or_default()))
            }
            Step::Stdio => "cannot put the standard descriptors in place".to_string(),
            Step::Exec => format!("cannot execute {}", lossy(program)),
        };
        say(&what, &error)
    }
}

fn say(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {}", describe(error)))
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().escape_debug().to_string()
}

/// Where programs are when the environment does not say.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// What exec wants: an array of pointers that ends with a null one. It borrows from `texts`.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// What the child half of the fork needs, all of it made before.
struct Plan<'a> {
    program: &'a CStr,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    current_dir: Option<&'a CStr>,
    stdio: [RawFd; 3],
    tty: Option<RawFd>,
    no_signals: libc::sigset_t,
}

impl Plan<'_> {
    /// Becomes the program, or reports why not on `failure` and ends.
    fn run(&self, failure: RawFd) -> ! {
        let (step, error) = self.attempt();
        let report = encode_report(step, error.raw_os_error().unwrap_or(libc::EINVAL));
        // Nothing is left to be done when this fails. (SIGPIPE would end the child as well.)
        // SAFETY: reads an array of that length.
        unsafe { libc::write(failure, report.as_ptr().cast(), report.len()) };
        // SAFETY: ends the process, and runs none of the handlers that belong to our parent.
        unsafe { libc::_exit(127) }
    }

    /// Returns only what failed.
    fn attempt(&self) -> (Step, io::Error) {
        // SAFETY: takes nothing. A child that was just forked leads no process group.
        if let Err(error) = check(unsafe { libc::setsid() }) {
            return (Step::Session, error);
        }
        if let Some(tty) = self.tty {
            // That the leader of a session opens it is enough on Linux, and on no other system.
            // SAFETY: takes an integer; involves no memory.
            if let Err(error) = check(unsafe { libc::ioctl(tty, libc::TIOCSCTTY as _, 0) }) {
                return (Step::Terminal, error);
            }
        }
        if let Some(dir) = self.current_dir {
            // SAFETY: reads a C string that is alive.
            if let Err(error) = check(unsafe { libc::chdir(dir.as_ptr()) }) {
                return (Step::CurrentDir, error);
            }
        }
        for (target, source) in (0..).zip(self.stdio) {
            // A copy is not close-on-exec, and source and target differ: the source is above 2.
            // SAFETY: involves no memory; the child has no owner of descriptors but this.
            if let Err(error) = check(unsafe { libc::dup2(source, target) }) {
                return (Step::Stdio, error);
            }
        }
        close_others_on_exec();
        // An ignored signal stays ignored over exec. Numbers that do not exist or cannot be changed
        // (SIGKILL, those the C library keeps for itself) are refused, and that is as well.
        for number in 1..=HIGHEST_SIGNAL {
            // SAFETY: sets a disposition, no handler.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        // SAFETY: reads an initialised set.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.no_signals, std::ptr::null_mut()) };
        // SAFETY: C strings and null-terminated arrays of them, all alive.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        (Step::Exec, io::Error::last_os_error())
    }
}

/// Ours are close-on-exec from birth; the host program's need not be. Best effort: Linux before 5.11
/// lacks it, and closing one by one may take as long as the limit is high.
#[cfg(target_os = "linux")]
fn close_others_on_exec() {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: sets a flag on descriptors; involves no memory.
    unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

#[cfg(not(target_os = "linux"))]
fn close_others_on_exec() {}

/// FreeBSD counts furthest.
const HIGHEST_SIGNAL: c_int = 128;

/// The step that failed, as it travels through the pipe beside errno.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Session,
    Terminal,
    CurrentDir,
    Stdio,
    Exec,
}

const REPORT_BYTES: usize = 1 + size_of::<c_int>();

fn encode_report(step: Step, code: c_int) -> [u8; REPORT_BYTES] {
    let mut report = [step as u8; REPORT_BYTES];
    report[1..].copy_from_slice(&code.to_ne_bytes());
    report
}

fn decode_report(report: [u8; REPORT_BYTES]) -> (Step, c_int) {
    let [step, code @ ..] = report;
    let steps = [Step::Session, Step::Terminal, Step::CurrentDir, Step::Stdio, Step::Exec];
    (steps[usize::from(step)], c_int::from_ne_bytes(code))
}

/// How often an end is looked for where the system has no handle for it.
pub(crate) const WITHOUT_HANDLE: Duration = Duration::from_millis(5);

/// A program that was started here. Dropping it neither ends nor reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: i32,
    /// What the kernel gives out for this very process: it cannot come to mean another one, as a
    /// number can once the process is reaped.
    handle: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Process {
    fn of_child(pid: i32) -> Process {
        Process { pid, handle: pidfd_open(pid), status: None }
    }

    /// A descriptor that polls readable when the process has ended; `None` where the system has no
    /// such thing (Linux before 5.3, macOS, the BSDs): there `try_wait` has to be asked now and then.
    pub fn exit_fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle.as_ref().map(AsFd::as_fd)
    }

    /// How the process ended, and reaps it; `None` while it runs. Says the same ever after.
    ///
    /// Where the host program ignores SIGCHLD, or waits for every child by itself, the kernel no
    /// longer knows: that is [`ExitStatus::Unknown`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(libc::WNOHANG)
    }

    /// Whether it stands still, stopped by a signal. It answers nothing then, and does not end by a signal
    /// but SIGKILL.
    pub fn is_stopped(&self) -> bool {
        const OPTIONS: c_int = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        if self.status.is_some() {
            return false; // The number may be another's by now.
        }
        // SAFETY: a C structure of integers and pointers, for which all zero bytes are a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes a local. Nothing is reaped.
        let asked =
            unsafe { libc::waitid(libc::P_PID, self.pid as libc::id_t, &raw mut info, OPTIONS) };
        // SAFETY: the field is there for what waitid tells, and zero where it has told nothing.
        check(asked).is_ok() && unsafe { info.si_pid() } == self.pid
    }

    /// Waits until the process has ended, and reaps it; false at the deadline.
    pub fn wait_until(&mut self, deadline: Instant) -> bool {
        while matches!(self.try_wait(), Ok(None)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let mut fds: Vec<_> =
                self.exit_fd().map(|fd| super::pollfd(fd, libc::POLLIN)).into_iter().collect();
            let pause = if fds.is_empty() { left.min(WITHOUT_HANDLE) } else { left };
            if super::poll(&mut fds, super::wait_ms(pause)).is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until the process has ended.
    fn wait(&mut self) -> io::Result<()> {
        while self.reap(0)?.is_none() {}
        Ok(())
    }

    fn reap(&mut self, options: c_int) -> io::Result<Option<ExitStatus>> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        let mut raw = 0;
        // SAFETY: writes a local.
        match check(unsafe { libc::waitpid(self.pid, &raw mut raw, options) }) {
            Ok(0) => {}
            Ok(_) if libc::WIFSIGNALED(raw) => {
                self.status = Some(ExitStatus::Signal(libc::WTERMSIG(raw)));
            }
            Ok(_) => self.status = Some(ExitStatus::Code(libc::WEXITSTATUS(raw))),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                self.status = Some(ExitStatus::Unknown);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(self.status)
    }

    /// The same to it and all that it started in its session's first process group: what a shell runs
    /// does not end with the shell.
    pub fn signal_group(&mut self, number: c_int) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        // Not reaped a moment ago, and nobody but us reaps it, so the group's number is its own still.
        // SAFETY: involves no memory.
        check(unsafe { libc::kill(-self.pid, number) }).map(drop)
    }

    /// Sends a signal, and nothing to a process that has ended: its number may be another's by now.
    pub fn signal(&mut self, number: c_int) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let sent = match &self.handle {
            Some(handle) => pidfd_send_signal(handle.as_fd(), number),
            // Not reaped a moment ago, and nobody but us reaps it.
            // SAFETY: involves no memory.
            None => check(unsafe { libc::kill(self.pid, number) }).map(drop),
        };
        match sent {
            // It ended just now, and SIGCHLD is ignored.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            sent => sent,
        }
    }
}

#[cfg(target_os = "linux")]
fn pidfd_open(pid: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: involves no memory. The result is close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    let owned = unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).ok().filter(|&fd| fd >= 0)?) };
    super::private(owned).ok()
}

#[cfg(target_os = "linux")]
fn pidfd_send_signal(handle: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
    let (fd, info) = (handle.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: a null pointer stands for what kill(2) would say about the sender.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, info, 0) };
    check(sent as c_int).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn pidfd_open(_pid: i32) -> Option<OwnedFd> {
    None
}

#[cfg(not(target_os = "linux"))]
fn pidfd_send_signal(_handle: BorrowedFd<'_>, _number: c_int) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
impl Process {
    /// The same process on a system that gives out no handle.
    pub fn without_handle(mut self) -> Process {
        self.handle = None;
        self
    }
}
