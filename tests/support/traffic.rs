//! What it cost to get modules to a child, as the log of its router has it.

use std::fmt;

use econtext::{Level, LogRecord};

/// Modules and data files, the library's own not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What the child asked for, each a round trip: `+name` if it was served, `-name` if there is none, `!name`
    /// if it was refused.
    pub requested: Vec<String>,
    /// The names of what was sent unasked.
    pub pushed: Vec<String>,
    /// Compressed, of both.
    pub bytes: usize,
}

impl Traffic {
    pub fn of(records: &[LogRecord]) -> Traffic {
        let mut traffic = Traffic::default();
        for record in records.iter().filter(|record| record.logger == "econtext") {
            if let Some(rest) = record.message.strip_prefix("module ") {
                traffic.add(rest, record.level == Level::Debug);
            }
        }
        traffic
    }

    /// `name served: path (n bytes)`, `name pushed: path (n bytes)`, the same for data with `n bytes` alone,
    /// `name is not served`, or what was wrong.
    fn add(&mut self, line: &str, is_quiet: bool) {
        let Some((name, what)) = line.split_once(' ') else { return };
        if name.starts_with("econtext.") {
            return;
        }
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        match verb {
            "pushed:" => self.pushed.push(name.into()),
            "served:" => self.requested.push(format!("+{name}")),
            // A refusal that went ahead.
            "cannot" if is_quiet => self.pushed.push(name.into()),
            "is" => return self.requested.push(format!("-{name}")),
            _ => return self.requested.push(format!("!{name}")),
        }
        let size = rest.strip_suffix(')').unwrap_or(rest).strip_suffix(" bytes");
        let digits = size.and_then(|size| size.rsplit([' ', '(']).next());
        self.bytes += digits.and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0);
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requested, pushed, kilobytes) =
            (self.requested.len(), self.pushed.len(), self.bytes.div_ceil(1000));
        write!(f, "{requested} asked for, {pushed} pushed, {kilobytes} kB down")
    }
}
