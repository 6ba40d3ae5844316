//! The log: what children log and print, and what the library has to say of them.

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Value;
use crate::text::{escape, escape_lines, printable};

/// How much is logged: records below it stay in the child. The numbers are those of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// 10
    Debug,
    /// 20; what children print has this level.
    Info,
    /// 30
    Warning,
    /// 40
    Error,
    /// 50
    Critical,
}

impl Level {
    /// The level's number in Python.
    pub(crate) fn number(self) -> u32 {
        match self {
            Level::Debug => 10,
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
            Level::Critical => 50,
        }
    }

    /// The highest level that is not above `number`; children may use numbers of their own.
    pub(crate) fn from_number(number: i64) -> Level {
        match number {
            ..20 => Level::Debug,
            20..30 => Level::Info,
            30..40 => Level::Warning,
            40..50 => Level::Error,
            50.. => Level::Critical,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        })
    }
}

/// One line of output, or one record of a child's `logging`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// The name of the context, which another one may have, too.
    pub context: String,
    /// Its [id](crate::Context::id), which no other has: by this [`Router::tree`](crate::Router::tree) has it.
    pub context_id: u32,
    /// The logger in the child: `stdout` and `stderr` for what it printed, `econtext` for what this
    /// library says of the context.
    pub logger: String,
    /// How much it matters.
    pub level: Level,
    /// The text without its last newline: bad UTF-8 replaced, control characters escaped; only a record
    /// of `logging` can have several lines (a traceback, say).
    pub message: String,
}

impl LogRecord {
    /// The name under which the program shows it: `econtext.ctx.<context>`.
    pub fn target(&self) -> String {
        format!("econtext.ctx.{}", self.context)
    }

    /// What the library itself says of a context.
    pub(crate) fn own(of: Of, level: Level, message: String) -> LogRecord {
        of.record("econtext", level, escape_lines(&message))
    }

    /// Calls `show` for each line of something that was printed. One by one: a record takes much more
    /// memory than an empty line.
    pub(crate) fn lines(of: Of, logger: &str, bytes: &[u8], show: &mut dyn FnMut(&LogRecord)) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = |line: &[u8]| {
            let text = printable(line.strip_suffix(b"\r").unwrap_or(line));
            of.record(logger, Level::Info, text)
        };
        bytes.split(|byte| *byte == b'\n').map(line).for_each(|record| show(&record));
    }

    /// Calls `show` for each record in a `FORWARD_LOG` message; `None` where it is not one.
    pub(crate) fn from_message(
        of: Of,
        message: Value,
        show: &mut dyn FnMut(&LogRecord),
    ) -> Option<()> {
        let Value::Tuple(fields) = message else { return None };
        let [logger, level, message] = <[Value; 3]>::try_from(fields).ok()?;
        let logger = match logger {
            Value::Text(logger) => escape(&logger),
            Value::Bytes(logger) => printable(&logger),
            _ => return None,
        };
        let Value::Int(level) = level else { return None };
        match message {
            // `logging` of Python 2 makes text of bytes too; only output is cut into lines.
            Value::Bytes(bytes) if logger == "stdout" || logger == "stderr" => {
                LogRecord::lines(of, &logger, &bytes, show);
            }
            Value::Bytes(bytes) => {
                let message = String::from_utf8_lossy(&bytes);
                show(&of.text(&logger, level, &message));
            }
            Value::Text(message) => show(&of.text(&logger, level, &message)),
            _ => return None,
        }
        Some(())
    }
}

/// Which context a record is of.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) id: u32,
    pub(crate) name: &'a str,
}

impl Of<'_> {
    fn text(self, logger: &str, level: i64, message: &str) -> LogRecord {
        let text = escape_lines(message.trim_end_matches('\n'));
        self.record(logger, Level::from_number(level), text)
    }

    fn record(self, logger: &str, level: Level, message: String) -> LogRecord {
        let (context, context_id) = (self.name.into(), self.id);
        LogRecord { context, context_id, logger: logger.into(), level, message }
    }
}

impl fmt::Display for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: ", self.level, self.target(), self.logger)?;
        // The lines of one record must not look like records of others.
        for (n, line) in self.message.split('\n').enumerate() {
            f.write_str(if n == 0 { "" } else { "\n    " })?;
            f.write_str(line)?;
        }
        Ok(())
    }
}

/// The sink for a program that gave none: a line with the time of day (UTC) on stderr.
pub(crate) fn write_to_stderr(record: &LogRecord) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hours, minutes, seconds) = (now / 3600 % 24, now / 60 % 60, now % 60);
    // A program without a stderr has chosen not to see this.
    let _ = writeln!(std::io::stderr(), "{hours:02}:{minutes:02}:{seconds:02} {record}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Of = Of { id: 7, name: "x" };

    fn messages(message: Value) -> Option<Vec<String>> {
        let mut messages = Vec::new();
        let mut keep = |record: &LogRecord| messages.push(record.message.clone());
        LogRecord::from_message(X, message, &mut keep)?;
        Some(messages)
    }

    fn message(logger: &str, message: Value) -> Value {
        Value::Tuple(vec![Value::Text(logger.into()), Value::Int(20), message])
    }

    #[test]
    fn output_becomes_a_record_a_line() {
        let output = message("stdout", Value::Bytes(b"a\x1b[1m\r\n\n\xff end".to_vec()));
        assert_eq!(messages(output).unwrap(), ["a\\x1b[1m", "", "\u{fffd} end"]);
    }

    #[test]
    fn a_record_of_logging_keeps_its_lines() {
        let record = message("app", Value::Text("failed\n  File \"x\"\x07\n".into()));
        assert_eq!(messages(record).unwrap(), ["failed\n  File \"x\"\\x07"]);
    }

    #[test]
    fn what_is_not_a_record_is_told_apart() {
        assert_eq!(messages(Value::None), None);
        assert_eq!(messages(message("app", Value::None)), None);
        assert_eq!(messages(Value::Tuple(vec![Value::None; 3])), None);
    }

    #[test]
    fn the_lines_of_one_record_do_not_look_like_records() {
        let record = LogRecord::own(X, Level::Error, "one\nERROR econtext.ctx.y: two".into());
        let shown = "ERROR econtext.ctx.x: econtext: one\n    ERROR econtext.ctx.y: two";
        assert_eq!((record.context_id, record.to_string()), (7, shown.into()));
    }

    #[test]
    fn levels_are_pythons_numbers() {
        for level in [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical] {
            assert_eq!(Level::from_number(level.number().into()), level);
        }
        assert_eq!(Level::from_number(25), Level::Info);
        assert_eq!(Level::from_number(-1), Level::Debug);
        assert_eq!(Level::from_number(99), Level::Critical);
    }
}
