//! Why an operation failed: which context, which stage, what the remote side printed.
//!
//! `Display` of every error is one line a person can act on; what has more lines (a remote traceback,
//! the printed text) is in the fields.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::text::escape;

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a context failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The child never came up, or its stream broke before it did.
    Connect(Arc<ConnectError>),
    /// The remote function raised.
    Call(Arc<CallError>),
    /// The context's stream ended while `what` waited: it may or may not have run.
    Disconnected {
        /// The name of the context.
        context: String,
        /// What waited, say ``call of os:getpid``.
        what: String,
        /// Why the stream ended.
        reason: String,
    },
    /// The channel is closed; `reason` is what the end that closed it gave, if it gave one.
    Closed {
        /// Why, in the words of the end that closed it.
        reason: Option<String>,
    },
    /// The wait ended before what it waited for; a function that was called runs on.
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// Arguments or a message cannot be sent.
    Send {
        /// What could not be sent, say ``arguments of os:getpid``.
        what: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The value that arrived is not of the type that was asked for, or cannot be decoded at all.
    Convert {
        /// The Rust type that was asked for.
        wanted: String,
        /// The value that arrived, shortened, or what is wrong with its bytes.
        found: String,
    },
    /// The router has been shut down.
    Shutdown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self {
            Error::Connect(error) => return error.fmt(f),
            Error::Call(error) => return error.fmt(f),
            Error::Disconnected { context, what, reason } => {
                format!("{context}: {what}: disconnected: {reason}")
            }
            Error::Closed { reason: Some(reason) } => format!("channel closed: {reason}"),
            Error::Closed { reason: None } => "channel closed".into(),
            Error::TimedOut { what, after } => format!("{what}: no answer within {after:?}"),
            Error::Send { what, reason } => format!("{what}: {reason}"),
            Error::Convert { wanted, found } => format!("expected {wanted}, got {found}"),
            Error::Shutdown => "the router has been shut down".into(),
        };
        write_line(f, &line)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect(error) => Some(&**error),
            Error::Call(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The child never came up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectError {
    /// The name of the context.
    pub context: String,
    /// The last stage that was reached.
    pub stage: Stage,
    /// What went wrong, one line.
    pub reason: String,
    /// The last 4096 bytes that the remote side printed, bad UTF-8 replaced and control characters
    /// escaped.
    pub printed: String,
    /// How the process that was started ended, or `None` where it had to be ended or never ran.
    pub status: Option<ExitStatus>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{}: {}: {}", self.context, self.stage, self.reason);
        if let Some(status) = self.status {
            line += &format!(" ({status})");
        }
        // The last line is where programs say what is wrong; the rest is in the field.
        if let Some(last) = self.printed.lines().rev().find(|line| !line.trim().is_empty()) {
            line += &format!("; it printed: {}", last.trim());
        }
        write_line(f, &line)
    }
}

impl std::error::Error for ConnectError {}

/// Writes what may be in the words of the remote side: as one line, of a sensible length, that does
/// nothing to a terminal.
fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    const SHOWN_CHARACTERS: usize = 1000;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((cut, _)) => write!(f, "{}...", escape(&text[..cut])),
        None => f.write_str(&escape(text)),
    }
}

/// How far the start of a child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Starting the program that carries the stream.
    Spawn,
    /// Finding and starting an interpreter; ends with its marker `EC0`.
    Python,
    /// The interpreter receives the core; ends with the marker `EC1`.
    Core,
    /// The core starts; ends with its first frame.
    Hello,
    /// Up.
    Connected,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Spawn => "starting the process",
            Stage::Python => "starting Python",
            Stage::Core => "sending the core",
            Stage::Hello => "starting the core",
            Stage::Connected => "connected",
        })
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The system no longer knows: the program that uses this library ignores SIGCHLD, or has waited
    /// for the process itself.
    Unknown,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::Signal(signal) => write!(f, "killed by signal {signal}"),
            ExitStatus::Unknown => f.write_str("ended, exit status unknown"),
        }
    }
}

/// A remote function raised.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallError {
    /// The name of the context; empty where the exception came as a value, say out of a channel.
    pub context: String,
    /// What raised, say ``call of os:remove``; empty likewise.
    pub what: String,
    /// The class of the exception, with its module unless it is a built-in one: `ValueError`,
    /// `subprocess.CalledProcessError`.
    pub class: String,
    /// `str()` of the exception; cut, with a note, where it is very long.
    pub message: String,
    /// The traceback as Python formats it: chained exceptions and groups included, with the file
    /// names, line numbers and source lines of served modules. Ends with a newline, or is empty.
    pub traceback: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let parts = [&self.context, &self.what, &self.class, message.trim()];
        write_line(
            f,
            &parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "),
        )
    }
}

impl std::error::Error for CallError {}
