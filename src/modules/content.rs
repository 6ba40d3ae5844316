//! The bytes of something that is served, wherever they are.
//!
//! Invariant: what is asked for as a source is compressed once, for as long as it stays the same; of
//! anything else no more is read than was asked for.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::archive::Archive;
use super::store::{Served, Store};

#[derive(Clone)]
pub(crate) enum Content {
    File(PathBuf),
    /// The entry of this number.
    Entry(Arc<Archive>, usize),
    /// In memory, and the file name to show for it.
    Held(Arc<Held>, String),
}

/// Bytes that the program itself holds.
pub(crate) struct Held {
    bytes: Cow<'static, [u8]>,
    served: OnceLock<Served>,
}

impl Held {
    pub(super) fn new(bytes: Cow<'static, [u8]>) -> Held {
        Held { bytes, served: OnceLock::new() }
    }
}

impl Content {
    /// A file name for people: in tracebacks and messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Content::File(path) => super::shown(path),
            Content::Entry(archive, number) => archive.shown(archive.name(*number)),
            Content::Held(_, shown) => shown.clone(),
        }
    }

    /// As a source, in its kept form.
    pub(super) fn served(&self, store: &Store) -> Result<Served, String> {
        match self {
            Content::File(path) => store.read(path),
            Content::Entry(archive, number) => archive.source(*number, store),
            Content::Held(held, _) => {
                Ok(held.served.get_or_init(|| store.pack(&held.bytes)).clone())
            }
        }
    }

    /// How many bytes it has now.
    pub(super) fn size(&self) -> Result<u64, String> {
        match self {
            Content::File(path) => match path.metadata() {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
            Content::Entry(archive, number) => archive.size(*number),
            Content::Held(held, _) => Ok(held.bytes.len() as u64),
        }
    }

    /// At most `length` bytes from `offset` on; fewer only at the end.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        match self {
            Content::File(path) => {
                let read = File::open(path).and_then(|file| {
                    let left = file.metadata()?.len().saturating_sub(offset);
                    // No more than a usize, for that is what `length` is.
                    let mut bytes = vec![0; left.min(length as u64) as usize];
                    file.read_exact_at(&mut bytes, offset)?;
                    Ok(bytes)
                });
                read.map_err(|error| format!("{}: {error}", path.display()))
            }
            Content::Entry(archive, number) => archive.read(*number, offset, length),
            Content::Held(held, _) => {
                let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(held.bytes.len());
                let rest = &held.bytes[begin..];
                Ok(rest[..length.min(rest.len())].to_vec())
            }
        }
    }
}
