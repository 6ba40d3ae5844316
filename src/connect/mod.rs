//! Connection methods: each a pure function from its options to a launch plan.

mod containers;
mod conversation;
mod doas;
mod exec;
mod failure;
mod handshake;
mod local;
mod options;
mod prompt;
mod quote;
mod refusal;
mod runuser;
mod setpriv;
mod ssh;
mod su;
mod sudo;
mod target;
mod tool;

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bootstrap::Interpreter;
use crate::sys;

pub use containers::{
    Buildah, Bwrap, Chroot, Docker, Incus, Jail, Kubectl, Lxc, Lxd, Namespace, Nsenter, Podman,
    SystemdRun,
};
pub(crate) use conversation::{Answers, Conversation, Move, QUIET};
pub use doas::Doas;
pub use exec::Exec;
pub(crate) use handshake::{Again, Handshake};
pub use local::Local;
use options::Options;
pub use prompt::{Prompt, PromptKind};
pub(crate) use quote::command_line;
pub use runuser::Runuser;
pub use setpriv::Setpriv;
pub use ssh::{HostKeys, Ssh};
pub use su::Su;
pub use sudo::Sudo;
pub(crate) use target::Target;
pub(crate) use tool::{Asks, Kind, SshTarget, Tool, Way};

/// A way to start a context.
///
/// What a method runs is documented with it; `COMMAND..` there is Python with a program of some 200 characters that
/// reads the rest from standard input: `/usr/bin/python3 -c PROGRAM` with `.python("/usr/bin/python3")`, else
/// `/bin/sh -c SEARCH PROGRAM python3 python ..`, which tries the candidates. So a rule that allows one interpreter, of
/// sudoers(5) say, needs the former. What is not said otherwise (directory, environment) is as the tool has it.
///
/// One of your own makes its plan by another's, mostly by [`Exec`]'s:
///
/// ```
/// use econtext::{Exec, Method, Plan};
///
/// /// Inside of a network namespace of this machine, or of the parent's.
/// struct Netns(String);
///
/// impl Method for Netns {
///     fn plan(&self) -> Plan {
///         let words = ["ip", "netns", "exec", &self.0];
///         Exec::new(words).name(format!("netns.{}", self.0)).plan()
///     }
/// }
///
/// fn main() -> econtext::Result<()> {
///     let router = econtext::Router::new()?;
///     let error = router.connect(Netns("no such".into())).unwrap_err();
///     assert!(error.to_string().starts_with("netns.no such: "));
///     router.shutdown()
/// }
/// ```
pub trait Method {
    /// What is to be started, and how.
    fn plan(&self) -> Plan;
}

/// What is to be started, and how: made by a [`Method`].
#[derive(Clone)]
pub struct Plan {
    /// The method's own word, say `ssh`.
    pub(crate) method: String,
    /// The context's name, or what stands before the process id in it.
    pub(crate) name: String,
    /// The process id is part of the name.
    pub(crate) name_has_pid: bool,
    /// The child is a copy of its parent: nothing is run.
    pub(crate) is_copy: bool,
    pub(crate) python: Interpreter,
    /// What runs the command, or why there can be nothing that does.
    pub(crate) tool: Result<Tool, String>,
    /// Set beside what the program has in its own environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) current_dir: Option<PathBuf>,
    /// How long the start may take, where the router's setting is not meant.
    pub(crate) connect_timeout: Option<Duration>,
    /// How often the process that carries the stream is looked at, and how often in vain.
    pub(crate) keepalive: Option<(Duration, u32)>,
    /// What the tool is told if it asks.
    pub(crate) answers: Answers,
}

/// Shows the names of the environment variables, not their values, which may be secrets.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Plan")
            .field("name", &self.name)
            .field("python", &self.python)
            .field("tool", &self.tool)
            .field("env", &env)
            .field("current_dir", &self.current_dir)
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

/// A started process that carries a child's stream. No descriptor of it blocks.
pub(crate) struct Carrier {
    pub(crate) process: sys::Process,
    /// Its standard input and output.
    pub(crate) stream: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Where it asks its questions, if it may.
    pub(crate) terminal: Option<Terminal>,
}

impl Carrier {
    /// What it prints until it ends, in that order; `None` where it takes longer, and it is ended.
    fn output(mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut printed = Vec::new();
        let mut buffer = [0; 4096];
        let is_whole = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [sys::pollfd(self.stream.as_fd(), libc::POLLIN)];
            let ready = sys::poll(&mut fds, left.as_millis() as i32);
            match sys::read(self.stream.as_fd(), &mut buffer) {
                Ok(0) => break true,
                Ok(count) => printed.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break false,
            }
            if ready.is_err() || left.is_zero() || printed.len() > MOST_OUTPUT_BYTES {
                break false;
            }
        };
        let ended = is_whole && self.process.wait_until(deadline);
        if !ended {
            let _ = self.process.signal_group(libc::SIGKILL);
            self.process.wait_until(Instant::now() + patience);
        }
        ended.then_some(printed)
    }
}

/// ssh reads its files and may run the programs of `Match exec`.
const CONFIGURATION_TAKES: Duration = Duration::from_secs(5);

/// For what fits on some pages.
const MOST_OUTPUT_BYTES: usize = 1 << 20;

/// Both ends of the terminal of a process.
pub(crate) struct Terminal {
    pub(crate) ours: OwnedFd,
    /// Open as long as ours: see `sys::pty`.
    theirs: OwnedFd,
}

impl Plan {
    pub(crate) fn full_name(&self, pid: i32) -> String {
        if self.name_has_pid { format!("{}.{pid}", self.name) } else { self.name.clone() }
    }

    /// A copy of the context that is to be its parent.
    pub(crate) fn copy() -> Plan {
        let plan =
            Options::default().plan(|| "fork".into(), Err("a copy is its parent's to make".into()));
        Plan { is_copy: true, name_has_pid: true, ..plan }
    }

    pub(crate) fn is_ssh(&self) -> bool {
        self.ssh().is_some()
    }

    fn ssh(&self) -> Option<&SshTarget> {
        self.tool.as_ref().ok()?.ssh()
    }

    /// A login shell runs the command, and with it scripts which may read what is meant for Python.
    pub(crate) fn has_shell(&self) -> bool {
        self.tool.as_ref().is_ok_and(Tool::has_shell)
    }

    /// The program that runs the command, for errors; nothing where the command runs by itself.
    pub(crate) fn program(&self) -> Option<String> {
        self.tool.as_ref().ok()?.program()
    }

    /// The number of ways to run the tool, at least 1. The next one is tried where one ended before
    /// Python ran.
    pub(crate) fn ways(&self) -> usize {
        self.tool.as_ref().map_or(1, |tool| tool.ways(self.answers.any()))
    }

    fn way(&self, way: usize) -> Result<&Way, String> {
        let tool = self.tool.as_ref().map_err(String::clone)?;
        Ok(tool.way(way, self.answers.any()).expect("there are as many as ways() says"))
    }

    /// The words that run `command` in the way of this number, from 0.
    pub(crate) fn argv(&self, way: usize, command: &[OsString]) -> Result<Vec<OsString>, String> {
        match &self.python {
            Interpreter::Argv(words) if words.is_empty() => {
                return Err("python_argv(..) got no words".into());
            }
            Interpreter::Argv(words) if words[0].is_empty() => {
                return Err("python_argv(..) got an empty word for the program".into());
            }
            Interpreter::Fixed(python) if python.is_empty() => {
                return Err("python(..) got an empty name".into());
            }
            _ => {}
        }
        self.check_environment()?;
        self.way(way)?.argv(command)
    }

    /// Where the tool asks its questions in that way.
    pub(crate) fn asks(&self, way: usize) -> Asks {
        self.way(way).map_or(Asks::Nowhere, Way::asks)
    }

    /// Nothing is sent in that way before Python runs: a question would take it for its answer.
    pub(crate) fn waits(&self, way: usize) -> bool {
        self.asks(way) == Asks::Stdio
    }

    /// Another attempt may follow one that fails.
    pub(crate) fn may_need_another(&self) -> bool {
        self.has_shell() || self.ways() > 1 || self.waits(0)
    }

    /// Starts the process that is to run this command, itself or elsewhere. What went wrong is said in
    /// one line.
    pub(crate) fn spawn(&self, way: usize, command: &[OsString]) -> Result<Carrier, String> {
        self.spawn_words(&self.argv(way, command)?, self.asks(way) == Asks::Terminal)
    }

    /// What prints whom the password is for, where that has to be found out first: `ssh -G`.
    pub(crate) fn target_argv(&self) -> Option<Vec<OsString>> {
        Some(self.ssh()?.argv.clone())
    }

    /// Learns from ssh whom a password is for. Takes some milliseconds, and at most some seconds.
    pub(crate) fn find_target(&self) -> Target {
        let carrier = self.target_argv().and_then(|argv| self.spawn_words(&argv, false).ok());
        let printed = carrier.and_then(|carrier| carrier.output(CONFIGURATION_TAKES));
        self.target_from(printed.as_deref())
    }

    /// Whom the password is for, by what [`target_argv`](Plan::target_argv) printed.
    pub(crate) fn target_from(&self, printed: Option<&[u8]>) -> Target {
        let printed = printed.map(String::from_utf8_lossy);
        let found = printed.and_then(|printed| Target::from_configuration(&printed));
        let given = || self.ssh().map_or_else(Target::default, |ssh| ssh.given.clone());
        found.unwrap_or_else(given)
    }

    /// The same plan without the secrets in it.
    pub(crate) fn without_answers(&self) -> Plan {
        Plan { answers: Answers::default(), ..self.clone() }
    }

    fn spawn_words(&self, argv: &[OsString], on_terminal: bool) -> Result<Carrier, String> {
        let streams = || -> io::Result<_> {
            let (ours, theirs) = sys::socketpair()?;
            let (stderr, stderr_write) = sys::pipe()?;
            sys::set_nonblocking(ours.as_fd())?;
            sys::set_nonblocking(stderr.as_fd())?;
            Ok((ours, theirs, stderr, stderr_write))
        };
        let (stream, theirs, stderr, stderr_write) =
            streams().map_err(|error| format!("making its streams: {}", sys::describe(&error)))?;
        let terminal = on_terminal.then(Terminal::new).transpose();
        let terminal = terminal.map_err(|error| error.to_string())?;
        let current_dir = self.current_dir.as_deref().map(|dir| c_string(dir.as_os_str()));
        let argv = argv.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>()?;
        let (env, current_dir) = (self.environment()?, current_dir.transpose()?);
        let spawn = sys::Spawn {
            argv: &argv,
            env: &env,
            current_dir: current_dir.as_deref(),
            stdin: theirs.as_fd(),
            stdout: theirs.as_fd(),
            stderr: stderr_write.as_fd(),
            tty: terminal.as_ref().map(|terminal| terminal.theirs.as_fd()),
        };
        let process = spawn.spawn().map_err(|error| error.to_string())?;
        Ok(Carrier { process, stream, stderr, terminal })
    }

    /// What is wrong is said before anything is started, and without a value, which may be a secret.
    fn check_environment(&self) -> Result<(), String> {
        for (name, value) in &self.env {
            if name.is_empty() || name.as_bytes().iter().any(|byte| b"=\0".contains(byte)) {
                return Err(format!("{name:?} cannot be an environment variable's name"));
            }
            if value.as_bytes().contains(&0) {
                return Err(format!("the value of {name:?} has a NUL byte in it"));
            }
        }
        Ok(())
    }

    fn environment(&self) -> Result<Vec<CString>, String> {
        let set = |name: &OsStr| self.env.iter().any(|(other, _)| other == name);
        let inherited = std::env::vars_os().filter(|(name, _)| !set(name));
        inherited
            .chain(self.env.iter().cloned())
            .map(|(name, value)| {
                let mut entry = name.into_vec();
                entry.push(b'=');
                entry.extend(value.as_bytes());
                c_string(OsStr::from_bytes(&entry))
            })
            .collect()
    }
}

impl Terminal {
    fn new() -> io::Result<Terminal> {
        let (ours, theirs) = sys::pty()?;
        sys::set_nonblocking(ours.as_fd())?;
        Ok(Terminal { ours, theirs })
    }
}

/// Refuses what a tool would not take for a user, or for none.
fn check_user(user: &OsStr) -> Result<(), String> {
    if user.is_empty() || user.as_bytes()[0] == b'-' {
        return Err(format!("{user:?} cannot be a user's name"));
    }
    Ok(())
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|_| format!("{text:?} has a NUL byte in it"))
}
