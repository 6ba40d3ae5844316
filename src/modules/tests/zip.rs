//! Zip files as nobody else writes them.

use super::super::archive::crc32;

/// What a zip file is made of.
pub(super) struct Zip {
    pub(super) entries: Vec<Entry>,
    pub(super) before: Vec<u8>,
    pub(super) comment: Vec<u8>,
    /// Say everything in 64 bits.
    pub(super) wide: bool,
}

pub(super) struct Entry {
    pub(super) name: String,
    pub(super) packed: Vec<u8>,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) crc: u32,
    /// What the archive says of its size.
    pub(super) size: u64,
    /// How far from its true place it is said to be.
    pub(super) shift: i64,
}

pub(super) fn stored(name: &str, text: impl AsRef<[u8]>) -> Entry {
    let (packed, crc) = (text.as_ref().to_vec(), crc32(0, text.as_ref()));
    let size = packed.len() as u64;
    Entry { name: name.to_owned(), packed, method: 0, flags: 0, crc, size, shift: 0 }
}

pub(super) fn deflated(name: &str, text: impl AsRef<[u8]>) -> Entry {
    let packed = miniz_oxide::deflate::compress_to_vec(text.as_ref(), 6);
    Entry { packed, method: 8, ..stored(name, text) }
}

pub(super) fn zip(entries: impl IntoIterator<Item = Entry>) -> Zip {
    let entries = entries.into_iter().collect();
    Zip { entries, before: Vec::new(), comment: Vec::new(), wide: false }
}

impl Zip {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut directory) = (self.before.clone(), Vec::new());
        for entry in &self.entries {
            let header = (bytes.len() - self.before.len()) as i64 + entry.shift;
            self.local(entry, &mut bytes);
            self.central(entry, header as u64, &mut directory);
        }
        let begin = (bytes.len() - self.before.len()) as u64;
        let size = directory.len() as u64;
        bytes.extend(directory);
        let count = self.entries.len() as u64;
        if self.wide {
            let end = (bytes.len() - self.before.len()) as u64;
            put(&mut bytes, b"PK\x06\x06", &[(44, 8), (45, 2), (45, 2), (0, 4), (0, 4)]);
            put(&mut bytes, b"", &[(count, 8), (count, 8), (size, 8), (begin, 8)]);
            put(&mut bytes, b"PK\x06\x07", &[(0, 4), (end, 8), (1, 4)]);
        }
        let (count, size, begin) =
            if self.wide { (0xffff, NARROW, NARROW) } else { (count, size, begin) };
        let comment = self.comment.len() as u64;
        put(&mut bytes, b"PK\x05\x06", &[(0, 2), (0, 2), (count, 2), (count, 2)]);
        put(&mut bytes, b"", &[(size, 4), (begin, 4), (comment, 2)]);
        bytes.extend(&self.comment);
        bytes
    }

    fn local(&self, entry: &Entry, bytes: &mut Vec<u8>) {
        let (flags, method) = (entry.flags.into(), entry.method.into());
        put(bytes, b"PK\x03\x04", &[(20, 2), (flags, 2), (method, 2), (0, 4)]);
        let packed = entry.packed.len() as u64;
        put(bytes, b"", &[(entry.crc.into(), 4), (packed, 4), (entry.size, 4)]);
        // With an extra field that means nothing to anybody.
        put(bytes, b"", &[(entry.name.len() as u64, 2), (5, 2)]);
        bytes.extend(entry.name.bytes());
        put(bytes, b"", &[(0x7777, 2), (1, 2), (0, 1)]);
        bytes.extend(&entry.packed);
    }

    fn central(&self, entry: &Entry, header: u64, bytes: &mut Vec<u8>) {
        let (flags, method) = (entry.flags.into(), entry.method.into());
        let (packed, size) = (entry.packed.len() as u64, entry.size);
        let wide = [(1, 2), (24, 2), (size, 8), (packed, 8), (header, 8)];
        let (extra, packed, size, header) = match self.wide {
            true => (28, NARROW, NARROW, NARROW),
            false => (0, packed, size, header),
        };
        put(bytes, b"PK\x01\x02", &[(20, 2), (20, 2), (flags, 2), (method, 2), (0, 4)]);
        put(bytes, b"", &[(entry.crc.into(), 4), (packed, 4), (size, 4)]);
        put(bytes, b"", &[(entry.name.len() as u64, 2), (extra, 2), (3, 2)]);
        put(bytes, b"", &[(0, 2), (0, 2), (0, 4), (header, 4)]);
        bytes.extend(entry.name.bytes());
        if self.wide {
            put(bytes, b"", &wide);
        }
        bytes.extend(b"why");
    }
}

/// Adds numbers, each in so many bytes.
fn put(bytes: &mut Vec<u8>, signature: &[u8], fields: &[(u64, usize)]) {
    bytes.extend(signature);
    for (number, length) in fields {
        bytes.extend(&number.to_le_bytes()[..*length]);
    }
}

const NARROW: u64 = 0xffff_ffff;
