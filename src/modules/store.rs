//! Source files, read and compressed once for all children.
//!
//! Invariant: what comes out is the file as it is now: the kept form counts only while time and size
//! of the file stay the same. No file larger than `MAX_SOURCE_BYTES` is held in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress as compress_into,
    create_comp_flags_from_zip_params,
};

use super::imports::{self, Imports};

#[derive(Default)]
pub(super) struct Store {
    files: Mutex<HashMap<PathBuf, Kept>>,
    /// Made once for many sources: to make it takes longer than to compress a small one.
    compressor: Mutex<Option<Box<CompressorOxide>>>,
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

    /// The same of a text that is deflated already.
    pub(super) fn wrap(deflated: &[u8], text: &[u8]) -> Served {
        let checksum = miniz_oxide::mz_adler32_oxide(1, text).to_be_bytes();
        let compressed = [ZLIB_HEADER, deflated, &checksum].concat().into();
        Served { compressed, imports: Arc::new(imports::scan(text)) }
    }
}

impl Store {
    /// A source in the form in which it is kept.
    pub(super) fn pack(&self, text: &[u8]) -> Served {
        let mut kept = self.compressor();
        let compressor = kept.get_or_insert_with(new_compressor);
        Served {
            compressed: compress_with(compressor, text),
            imports: Arc::new(imports::scan(text)),
        }
    }

    /// Lets go of what is not needed between searches.
    pub(super) fn rest(&self) {
        self.compressor().take();
    }

    fn compressor(&self) -> MutexGuard<'_, Option<Box<CompressorOxide>>> {
        self.compressor.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let served = self.pack(&text);
        let kept = Kept { stamp, served: served.clone() };
        self.files().insert(path.to_owned(), kept);
        Ok(served)
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Kept>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// zlib of `text`.
pub(super) fn compress(text: &[u8]) -> Arc<[u8]> {
    compress_with(&mut new_compressor(), text)
}

/// With the fastest level whose result on Python source is but a thirtieth longer than the best: a child that
/// is near waits for the compressor, and for one that is far that much makes no difference.
fn new_compressor() -> Box<CompressorOxide> {
    Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(3, 15, 0)))
}

fn compress_with(compressor: &mut CompressorOxide, text: &[u8]) -> Arc<[u8]> {
    compressor.reset();
    let mut out = vec![0; text.len() / 3 + 128];
    let (mut taken, mut filled) = (0, 0);
    loop {
        let (text, rest) = (&text[taken..], &mut out[filled..]);
        let (status, read, written) = compress_into(compressor, text, rest, TDEFLFlush::Finish);
        (taken, filled) = (taken + read, filled + written);
        match status {
            TDEFLStatus::Okay => out.resize(2 * out.len(), 0),
            // It can err for other ways to call it only.
            _ => {
                debug_assert!(status == TDEFLStatus::Done);
                return Arc::from(&out[..filled]);
            }
        }
    }
}

/// What zlib says of itself before what it deflated at its usual level (RFC 1950).
const ZLIB_HEADER: &[u8] = &[0x78, 0x9c];

/// Why a source of more than `MAX_SOURCE_BYTES` is refused.
pub(super) fn too_large() -> String {
    format!("larger than {} MiB, too large to be served", MAX_SOURCE_BYTES >> 20)
}

/// Far above any source that people write, far below what would hurt.
pub(super) const MAX_SOURCE_BYTES: u64 = 64 << 20;
