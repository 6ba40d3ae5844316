//! Why an operation failed: which context, which stage, what the remote side printed.
//!
//! `Display` of every error is one line a person can act on; what has more lines (a remote traceback,
//! the printed text) is in the fields. `Debug` of [`Error`] has all of it, since that is what a `main`
//! that returns an error shows, and what `unwrap` does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::stage::Stage;
use crate::text::{escape, escape_lines};

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a context failed.
///
/// `Display` is one line. `Debug` is that line, and below it the remote traceback or what the remote side
/// printed: a `fn main() -> econtext::Result<()>` ends with words for a person.
#[derive(Clone)]
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
        /// The names of the contexts on the way to it, the program's own child first.
        via: Vec<String>,
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
            Error::Disconnected { context, via, what, reason } => {
                format!("{}: {what}: disconnected: {reason}", place(via, context))
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Call(error) if !error.traceback.is_empty() => {
                write!(f, "{error}\n{}", escape_lines(error.traceback.trim_end()))
            }
            // A single line of it is in the message.
            Error::Connect(error) if error.printed.trim().contains('\n') => {
                write_line(f, &error.line())?;
                write!(f, "\nIt printed:\n{}", error.printed.trim_end())
            }
            _ => fmt::Display::fmt(self, f),
        }
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
    /// The names of the contexts on the way to it, the program's own child first; empty for that itself.
    pub via: Vec<String>,
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

impl ConnectError {
    /// What the context did and how it went, without those on the way to it.
    pub(crate) fn without_way(&self) -> String {
        let ConnectError { context, stage, reason, .. } = self;
        let status = self.status.map(|status| format!(" ({status})")).unwrap_or_default();
        format!("{context}: {stage}: {reason}{status}")
    }

    fn line(&self) -> String {
        place(&self.via, &self.without_way())
    }

    /// The last line that was printed, where programs say what is wrong; the rest is in the field.
    fn quote(&self) -> String {
        let last = self.printed.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let last = last.filter(|last| !self.reason.contains(last));
        last.map(|last| format!("; it printed: {last}")).unwrap_or_default()
    }

    /// No process could be started.
    pub(crate) fn at_spawn(context: &str, reason: String) -> ConnectError {
        ConnectError {
            context: context.into(),
            via: Vec::new(),
            stage: Stage::Spawn,
            reason,
            printed: String::new(),
            status: None,
        }
    }
}

/// The context with those on the way to it, how far it came, and why it came no further.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &format!("{}{}", self.line(), self.quote()))
    }
}

impl std::error::Error for ConnectError {}

/// A context's name behind those on the way to it.
pub(crate) fn place(via: &[String], context: &str) -> String {
    via.iter().map(String::as_str).chain([context]).collect::<Vec<_>>().join(" > ")
}

/// Writes what may be in the words of the remote side: as one line, of a sensible length, that does
/// nothing to a terminal.
fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    const SHOWN_CHARACTERS: usize = 1000;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((cut, _)) => write!(f, "{}...", escape(&text[..cut])),
        None => f.write_str(&escape(text)),
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallError {
    /// The name of the context; empty where the exception came as a value, say out of a channel.
    pub context: String,
    /// The names of the contexts on the way to it, the program's own child first.
    pub via: Vec<String>,
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
    /// What this library knows of it: why a module that was not found there is not served. Mostly empty.
    pub hint: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let place = place(&self.via, &self.context);
        let parts = [&place, &self.what, &self.class, message.trim()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let line = parts.collect::<Vec<_>>().join(": ");
        write_line(f, &if self.hint.is_empty() { line } else { format!("{line}; {}", self.hint) })
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_error(message: &str, traceback: &str) -> Error {
        let [class, message, traceback] = ["ValueError", message, traceback].map(String::from);
        Error::Call(Arc::new(CallError { class, message, traceback, ..CallError::default() }))
    }

    fn connect_error(printed: &str) -> Error {
        Error::Connect(Arc::new(ConnectError {
            context: "local.7".into(),
            via: Vec::new(),
            stage: Stage::Python,
            reason: "the stream ended".into(),
            printed: printed.into(),
            status: Some(ExitStatus::Code(1)),
        }))
    }

    #[test]
    fn a_main_that_returns_an_error_shows_the_line_and_below_it_the_traceback() {
        let traceback = "Traceback (most recent call last):\n  File \"t.py\", line 1, in f\nValueError: no\x1b[2J\n";
        let error = call_error("no", traceback);
        assert_eq!(error.to_string(), "ValueError: no");
        assert_eq!(
            format!("{error:?}"),
            "ValueError: no\nTraceback (most recent call last):\n  File \"t.py\", line 1, in f\nValueError: no\\x1b[2J"
        );
        assert_eq!(format!("{:?}", call_error("no", "")), "ValueError: no");
    }

    #[test]
    fn one_line_moves_no_terminals_cursor() {
        let error = call_error("a\x1b[2J\rb\nc", "");
        assert_eq!(error.to_string(), "ValueError: a\\x1b[2J\\rb");
        let error = Error::Closed { reason: Some("a\x1b[2J\nb".into()) };
        assert_eq!(error.to_string(), "channel closed: a\\x1b[2J\\nb");
    }

    #[test]
    fn what_was_printed_is_shown_below_the_line_where_it_has_several() {
        let line = "local.7: starting Python: the stream ended (exit status 1)";
        assert_eq!(format!("{:?}", connect_error("")), line);
        let one = connect_error("not here\n");
        assert_eq!(format!("{one:?}"), format!("{line}; it printed: not here"));
        let two = connect_error("Welcome!\nnot here\n");
        assert_eq!(format!("{two:?}"), format!("{line}\nIt printed:\nWelcome!\nnot here"));
    }
}
