//! Reading zip files: wheels, and what else Python can import from.
//!
//! Invariant: total. Any bytes give an entry's content or one line with the archive, the entry and what is
//! wrong, without a panic; no size that an archive claims is believed before that much is there. What is
//! given out as whole has the length and the CRC-32 that the archive says.
//! Not here: what a module is. Packages below some directory of an archive are not looked for: its
//! outermost names are the top-level ones.

mod index;
mod inflate;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::store::{self, MAX_SOURCE_BYTES, Served, Stamp, Store};
#[cfg(test)]
pub(in crate::modules) use inflate::crc32;

use index::Entry;
use inflate::Inflating;

/// An archive whose central directory has been read.
pub(crate) struct Archive {
    /// Its file name for messages and tracebacks.
    shown: String,
    bytes: Bytes,
    entries: Vec<Kept>,
    /// The first is the outermost.
    folders: Vec<Folder>,
    /// Data files that are being read piece by piece, the latest last.
    inflating: Mutex<Vec<Inflating>>,
}

/// Where the bytes of an archive are.
enum Bytes {
    File(PathBuf, Stamp),
    Held(Arc<Cow<'static, [u8]>>),
}

struct Kept {
    entry: Entry,
    served: OnceLock<Served>,
}

/// A directory in an archive, by the names in it.
pub(super) type Folder = BTreeMap<String, Node>;

/// What a name in an archive is: the number of an entry, or of a folder.
#[derive(Clone, Copy)]
pub(super) enum Node {
    File(usize),
    Folder(usize),
}

impl Archive {
    /// The archive that the file `path` is, which looks like `stamp` now.
    pub(super) fn open(path: &Path, stamp: Stamp) -> Result<Archive, String> {
        Archive::new(path.display().to_string(), Bytes::File(path.to_owned(), stamp))
    }

    /// An archive that the program itself holds.
    pub(super) fn held(shown: &str, bytes: Arc<Cow<'static, [u8]>>) -> Result<Archive, String> {
        Archive::new(shown.to_owned(), Bytes::Held(bytes))
    }

    fn new(shown: String, bytes: Bytes) -> Result<Archive, String> {
        let entries = bytes.open().map_err(|error| error.to_string()).and_then(|b| index::read(&b));
        let entries = entries.map_err(|reason| format!("{shown}: {reason}"))?;
        let mut folders = vec![Folder::new()];
        for (number, entry) in entries.iter().enumerate() {
            plant(&mut folders, &entry.name, number);
        }
        let kept = |entry| Kept { entry, served: OnceLock::new() };
        let entries = entries.into_iter().map(kept).collect();
        Ok(Archive { shown, bytes, entries, folders, inflating: Mutex::default() })
    }

    pub(super) fn folder(&self, number: usize) -> &Folder {
        &self.folders[number]
    }

    /// The path of something in the archive, as Python's own zipimport has it.
    pub(super) fn shown(&self, inner: &str) -> String {
        if inner.is_empty() { self.shown.clone() } else { format!("{}/{inner}", self.shown) }
    }

    pub(super) fn name(&self, number: usize) -> &str {
        &self.entries[number].entry.name
    }

    /// An entry as a source, in its kept form.
    pub(super) fn source(&self, number: usize, store: &Store) -> Result<Served, String> {
        let kept = &self.entries[number];
        if let Some(served) = kept.served.get() {
            return Ok(served.clone());
        }
        let served = self.in_words(&kept.entry, self.pack(&kept.entry, store))?;
        Ok(kept.served.get_or_init(|| served).clone())
    }

    /// How long an entry is, if it can be read at all.
    pub(super) fn size(&self, number: usize) -> Result<u64, String> {
        let entry = &self.entries[number].entry;
        self.in_words(entry, entry.check().map(|()| entry.size))
    }

    /// At most `length` bytes of an entry from `offset` on; fewer only at its end.
    pub(super) fn read(
        &self,
        number: usize,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, String> {
        let entry = &self.entries[number].entry;
        self.in_words(entry, self.piece(number, entry, offset, length))
    }

    fn in_words<T>(&self, entry: &Entry, result: Result<T, String>) -> Result<T, String> {
        result.map_err(|reason| format!("{}: {reason}", self.shown(&entry.name)))
    }

    /// An entry as a source. What is deflated already is not deflated anew.
    fn pack(&self, entry: &Entry, store: &Store) -> Result<Served, String> {
        entry.check()?;
        if entry.size > MAX_SOURCE_BYTES {
            return Err(store::too_large());
        }
        let bytes = self.bytes.open().map_err(|error| error.to_string())?;
        if entry.is_stored() {
            return Ok(store.pack(&entry.stored(&bytes, 0, entry.size)?));
        }
        let size = usize::try_from(entry.size).map_err(|_| store::too_large())?;
        let mut inflating = Inflating::new(0, entry, &bytes)?;
        let text = inflating.read(entry, &bytes, size)?;
        if inflating.has_used(entry.packed) {
            Ok(Served::wrap(&bytes.get(entry.begin(&bytes)?, entry.packed)?, &text))
        } else {
            Ok(store.pack(&text))
        }
    }

    fn piece(
        &self,
        number: usize,
        entry: &Entry,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, String> {
        entry.check()?;
        let length = entry.size.saturating_sub(offset).min(length as u64);
        let bytes = self.bytes.open().map_err(|error| error.to_string())?;
        if entry.is_stored() {
            return entry.stored(&bytes, offset, length);
        }
        // `length` was a usize.
        let length = length as usize;
        if let Some(again) = self.latest(number, offset, length) {
            return Ok(again);
        }
        let mut inflating = match self.inflating_at(number, offset) {
            Some(inflating) => inflating,
            None => {
                let mut inflating = Inflating::new(number, entry, &bytes)?;
                inflating.skip(entry, &bytes, offset)?;
                inflating
            }
        };
        let piece = inflating.read(entry, &bytes, length)?;
        inflating.latest = (offset, piece.clone());
        let mut kept = self.inflating.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_INFLATING {
            kept.remove(0);
        }
        kept.push(inflating);
        Ok(piece)
    }

    /// A piece that was read just before, for another child perhaps.
    fn latest(&self, number: usize, offset: u64, length: usize) -> Option<Vec<u8>> {
        let kept = self.inflating.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |i: &&Inflating| {
            i.number == number && i.latest.0 == offset && i.latest.1.len() == length
        };
        Some(kept.iter().find(is_it)?.latest.1.clone())
    }

    /// What has inflated the entry up to `offset`.
    fn inflating_at(&self, number: usize, offset: u64) -> Option<Inflating> {
        let mut kept = self.inflating.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|i| i.number == number && i.position == offset)?;
        Some(kept.remove(at))
    }
}

/// Puts an entry into the tree of folders, if its name is one that a file could have below a directory.
/// Of two with one name the later counts, as in Python; a folder counts before a file.
fn plant(folders: &mut Vec<Folder>, name: &str, number: usize) {
    let (path, is_folder) = match name.strip_suffix('/') {
        Some(path) => (path, true),
        None => (name, false),
    };
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if !path.split('/').all(is_part) {
        return;
    }
    let mut parts = path.split('/').peekable();
    let mut at = 0;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && !is_folder {
            let node = folders[at].entry(part.to_owned()).or_insert(Node::File(number));
            if let Node::File(earlier) = node {
                *earlier = number;
            }
            return;
        }
        let next = folders.len();
        let node = folders[at].entry(part.to_owned()).or_insert(Node::Folder(next));
        if let Node::File(_) = node {
            *node = Node::Folder(next);
        }
        let Node::Folder(folder) = *node else { return };
        at = folder;
        if at == next {
            folders.push(Folder::new());
        }
    }
}

impl Bytes {
    /// The bytes as they were when the central directory was read; otherwise its offsets mean nothing.
    fn open(&self) -> io::Result<Opened<'_>> {
        match self {
            Bytes::Held(bytes) => Ok(Opened::Held(bytes)),
            Bytes::File(path, stamp) => {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                if !Stamp::of(&metadata).is(stamp) {
                    return Err(io::Error::other("the archive changed while it was read"));
                }
                Ok(Opened::File(file, metadata.len()))
            }
        }
    }
}

/// The bytes of an archive, to be read anywhere.
enum Opened<'a> {
    File(File, u64),
    Held(&'a [u8]),
}

impl Opened<'_> {
    fn len(&self) -> u64 {
        match self {
            Opened::File(_, length) => *length,
            Opened::Held(bytes) => bytes.len() as u64,
        }
    }

    /// `length` bytes from `offset` on, or nothing if that is beyond the end.
    fn get(&self, offset: u64, length: u64) -> Result<Cow<'_, [u8]>, String> {
        let end = offset.checked_add(length).filter(|end| *end <= self.len());
        let range = end.and_then(|end| Some(usize::try_from(offset).ok()?..end.try_into().ok()?));
        let Some(range) = range else { return Err("the archive is cut off".to_owned()) };
        match self {
            Opened::Held(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Opened::File(file, _) => {
                let mut bytes = vec![0; range.len()];
                file.read_exact_at(&mut bytes, offset).map_err(|error| error.to_string())?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// How many data files are kept open between their pieces: some 40 kB and one piece each.
const MAX_INFLATING: usize = 4;
