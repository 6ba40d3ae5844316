//! Data files on their way down a stream: in pieces, and what `importlib.metadata` reads ahead of its asking.

use super::super::{Data, message};
use super::Shipment;
use crate::Level;

impl Shipment<'_> {
    /// Answers a request for a data file or a directory of such.
    pub(super) fn answer_data(&mut self, name: &str) {
        if name == METADATA {
            self.push_metadata();
        }
        let (file, offset) = split_offset(name);
        match self.data(name, file, offset) {
            Ok(Some(message)) => {
                self.modules.learn(file);
                self.say(Level::Debug, format!("module {name} served: {} bytes", message.len()));
                (self.send)(message);
            }
            Ok(None) => self.absent(name),
            Err(problem) => {
                self.say(Level::Error, format!("module {name} cannot be served: {problem}"));
                self.send(message::unreadable(name, &problem));
            }
        }
    }

    /// The message for the data file or the directory `file`, from `offset` on, where a piece has to begin;
    /// `name` is what was asked for.
    fn data(&mut self, name: &str, file: &str, offset: u64) -> Result<Option<Vec<u8>>, String> {
        let (package, path) = file.split_once('/').unwrap_or((file, ""));
        let Some(data) = self.finder.data(package, path)? else { return Ok(None) };
        let message = match &data {
            Data::Listing { shown, entries } => message::listing(name, shown, entries),
            Data::File { shown, size, .. } => {
                if offset % PIECE_BYTES != 0 || offset > 0 && offset >= *size {
                    return Ok(None);
                }
                if *size > MAX_DATA_BYTES {
                    return Err(format!("{shown}: {size} bytes, more than {MAX_DATA_BYTES}"));
                }
                let further: Vec<String> = match offset {
                    0 => pieces(file, *size).skip(1).collect(),
                    _ => Vec::new(),
                };
                message::piece(name, shown, &data.read(offset, PIECE_BYTES as usize)?, &further)
            }
        };
        let message = message.map_err(|error| error.to_string())?;
        let (bytes, limit) = (message.len(), self.limit);
        if bytes > limit {
            return Err(format!(
                "it takes {bytes} bytes, more than the {limit} of max_message_bytes"
            ));
        }
        Ok(Some(message))
    }

    /// Sends a data file ahead, if it is there and has not gone before, as far as the budget goes; gives how
    /// many bytes that takes.
    pub(super) fn push_data(&mut self, name: &str) -> usize {
        if name == METADATA {
            self.push_metadata();
        }
        let (package, path) = name.split_once('/').unwrap_or((name, ""));
        let names: Vec<String> = match self.finder.data(package, path) {
            Ok(Some(Data::File { size, .. })) => pieces(name, size).collect(),
            Ok(Some(Data::Listing { .. })) => vec![name.to_owned()],
            Ok(None) | Err(_) => return 0,
        };
        let mut sent = 0;
        for piece in names {
            if self.budget == 0 || !self.shipped.names.insert(piece.clone()) {
                break;
            }
            let Ok(Some(message)) = self.data(&piece, name, split_offset(&piece).1) else { break };
            self.say(Level::Debug, format!("module {piece} pushed: {} bytes", message.len()));
            self.budget = self.budget.saturating_sub(message.len());
            sent += message.len();
            (self.send)(message);
        }
        sent
    }

    /// Sends what `importlib.metadata` reads of each distribution, before it asks.
    fn push_metadata(&mut self) {
        let Ok(Some(Data::Listing { entries, .. })) = self.finder.data("", "") else { return };
        let mut budget = METADATA_BYTES;
        for entry in entries.iter().filter(|entry| entry.ends_with('/')) {
            // A wheel's own list tells which of its files there are; of an egg the child has to be told.
            let (files, is_egg) = match entry.ends_with(".egg-info/") {
                true => (&EGG_FILES[..], true),
                false => (&WHEEL_FILES[..], false),
            };
            for file in files {
                if budget == 0 {
                    return;
                }
                let name = format!("/{entry}{file}");
                let bytes = self.push_data(&name);
                budget = budget.saturating_sub(bytes);
                if is_egg && bytes == 0 && self.shipped.names.insert(name.clone()) {
                    self.send(message::absent(&name));
                }
            }
        }
    }
}

/// The names under which the pieces of a file are asked for: the file's own, then `file\noffset`.
fn pieces(file: &str, size: u64) -> impl Iterator<Item = String> {
    let further =
        (1..size.div_ceil(PIECE_BYTES)).map(move |n| format!("{file}\n{}", n * PIECE_BYTES));
    std::iter::once(file.to_owned()).chain(further)
}

/// The name of a file, and where in it a piece begins.
fn split_offset(name: &str) -> (&str, u64) {
    match name.split_once('\n') {
        // An offset that is none is beyond every end.
        Some((file, offset)) => (file, offset.parse().unwrap_or(u64::MAX)),
        None => (name, 0),
    }
}

/// The directory of what is known of distributions.
const METADATA: &str = "/";
/// What is read of a distribution, as wheels and as eggs have it.
const WHEEL_FILES: [&str; 4] = ["METADATA", "entry_points.txt", "top_level.txt", "RECORD"];
pub(super) const EGG_FILES: [&str; 8] = [
    "METADATA",
    "PKG-INFO",
    "entry_points.txt",
    "top_level.txt",
    "requires.txt",
    "RECORD",
    "installed-files.txt",
    "SOURCES.txt",
];
/// How much of it goes ahead of the answer.
const METADATA_BYTES: usize = 256 << 10;
/// How much of a data file goes in one message, which has to be smaller than the smallest limit, 1 MiB.
pub(super) const PIECE_BYTES: u64 = 512 << 10;
/// A child is told of all pieces in one message.
const MAX_DATA_BYTES: u64 = 4 << 30;
