//! What it cost to get modules to a child, as the log of its router has it.

use std::fmt;

use econtext::LogRecord;

/// The library's own modules are not counted.
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
            let Some((name, what)) =
                record.message.strip_prefix("module ").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            if name.starts_with("econtext.") {
                continue;
            }
            match what.split(' ').next() {
                Some("pushed:") => traffic.pushed.push(name.into()),
                Some("served:") => traffic.requested.push(format!("+{name}")),
                Some("is") => traffic.requested.push(format!("-{name}")),
                _ => traffic.requested.push(format!("!{name}")),
            }
            let size = what.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(" bytes)"));
            traffic.bytes += size.map_or(0, |size| size.parse().expect("a number"));
        }
        traffic
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requested, pushed, kilobytes) =
            (self.requested.len(), self.pushed.len(), self.bytes.div_ceil(1000));
        write!(f, "{requested} requests, {pushed} pushed, {kilobytes} kB down")
    }
}
