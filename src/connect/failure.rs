//! What ssh's own words say about a start that failed.

use crate::{ExitStatus, Stage};

/// What is known from ssh's words.
pub(crate) struct Words {
    /// How far it had come.
    pub(crate) stage: Stage,
    /// What is wrong, where, and what to do: one line.
    pub(crate) reason: String,
    /// It was refused for being one too many at this moment.
    pub(crate) retry: bool,
}

/// What ssh's stderr says, where it says something.
pub(crate) fn explain(
    stderr: &str,
    _status: Option<ExitStatus>,
    _logged_in: bool,
) -> Option<Words> {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty())?;
    let retry = stderr.contains("kex_exchange_identification");
    Some(Words { stage: Stage::Connect, reason: last.trim().into(), retry })
}

/// Whether this line of ssh's stderr says that the server has let us in.
pub(crate) fn has_logged_in(line: &str) -> bool {
    line.starts_with("Authenticated to ")
}

/// Whether this line is ssh's account of an ordinary connection.
pub(crate) fn is_chatter(line: &str) -> bool {
    has_logged_in(line)
        || line.starts_with("Transferred: sent ")
        || line.starts_with("Bytes per second: sent ")
}
