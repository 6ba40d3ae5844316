//! Source files, read and compressed once for all children.
//!
//! Invariant: what comes out is the file as it is now: the kept form counts only while time and size
//! of the file stay the same. No file larger than `MAX_SOURCE_BYTES` is held in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::imports::{self, Imports};

#[derive(Default)]
pub(super) struct Store {
    files: Mutex<HashMap<PathBuf, Kept>>,
}

struct Kept {
    stamp: Stamp,
    served: Served,
}

/// What tells that a file is not the same any more.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Stamp {
        Stamp { modified: metadata.modified().ok(), size: metadata.len() }
    }

    /// Whether nothing is known to have changed since `earlier`.
    pub(super) fn is(&self, earlier: &Stamp) -> bool {
        self.modified.is_some() && (self.modified, self.size) == (earlier.modified, earlier.size)
    }
}

/// What is kept of a source.
#[derive(Clone, Default)]
pub(super) struct Served {
    /// zlib of it; nothing at all if there is no source.
    pub(super) compressed: Arc<[u8]>,
    pub(super) imports: Arc<Imports>,
}

impl Served {
    pub(super) fn new(text: &[u8]) -> Served {
        Served { compressed: compress(text), imports: Arc::new(imports::scan(text)) }
    }
}

impl Store {
    /// The file in its kept form, or why there is none, in one line with the file's name.
    pub(super) fn read(&self, path: &Path) -> Result<Served, String> {
        self.try_read(path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn try_read(&self, path: &Path) -> io::Result<Served> {
        let file = File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        if let Some(kept) = self.files().get(path).filter(|kept| stamp.is(&kept.stamp)) {
            return Ok(kept.served.clone());
        }
        let mut text = Vec::new();
        file.take(MAX_SOURCE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_SOURCE_BYTES {
            return Err(io::Error::other(too_large()));
        }
        let served = Served::new(&text);
        let kept = Kept { stamp, served: served.clone() };
        self.files().insert(path.to_owned(), kept);
        Ok(served)
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Kept>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// zlib of `text`, at the level from which on more work gains little.
pub(super) fn compress(text: &[u8]) -> Arc<[u8]> {
    Arc::from(miniz_oxide::deflate::compress_to_vec_zlib(text, 6))
}

/// Why a source of more than `MAX_SOURCE_BYTES` is refused.
pub(super) fn too_large() -> String {
    format!("larger than {} MiB, too large to be served", MAX_SOURCE_BYTES >> 20)
}

/// Far above any source that people write, far below what would hurt.
pub(super) const MAX_SOURCE_BYTES: u64 = 64 << 20;
