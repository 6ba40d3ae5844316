//! The central directory of a zip file: what entries there are, and where.
//!
//! The format is that of PKWARE's APPNOTE.TXT 6.3: sections 4.3.7 (local header), 4.3.12 (central header),
//! 4.3.14 to 4.3.16 (end records), 4.5.3 (sizes of 64 bits). As with Python, bytes may precede the archive.

use std::collections::BinaryHeap;

use super::Opened;
use super::inflate::crc32;

/// One file, as the central directory has it.
pub(super) struct Entry {
    pub(super) name: String,
    flags: u16,
    method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// Where its local header is.
    header: u64,
    /// Where the next thing begins.
    limit: u64,
}

impl Entry {
    /// Whether it can be read, as far as that can be told from outside.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.flags & (ENCRYPTED | STRONGLY_ENCRYPTED | MASKED) != 0 {
            return Err("encrypted, and cannot be served".to_owned());
        }
        let plausible = match self.method {
            STORED => self.packed == self.size,
            DEFLATED => self.size <= self.packed.saturating_mul(MAX_DEFLATE_RATIO),
            other => return Err(format!("compressed with method {other}, which is not supported")),
        };
        if plausible { Ok(()) } else { Err("its sizes contradict each other".to_owned()) }
    }

    pub(super) fn is_stored(&self) -> bool {
        self.method == STORED
    }

    /// Where its packed bytes begin; all of them are within the archive.
    pub(super) fn begin(&self, bytes: &Opened<'_>) -> Result<u64, String> {
        let fixed = bytes.get(self.header, LOCAL_BYTES)?;
        let name = u64::from(le16(&fixed, 26));
        if !fixed.starts_with(b"PK\x03\x04") || name != self.name.len() as u64 {
            return Err("no such entry is where it should be".to_owned());
        }
        if *bytes.get(self.header + LOCAL_BYTES, name)? != *self.name.as_bytes() {
            return Err("another entry is where it should be".to_owned());
        }
        let begin = self.header + LOCAL_BYTES + name + u64::from(le16(&fixed, 28));
        match begin.checked_add(self.packed) {
            Some(end) if end <= self.limit => Ok(begin),
            _ => Err("overlaps what follows it".to_owned()),
        }
    }

    /// A part of an entry that is not compressed. Only the whole has a checksum.
    pub(super) fn stored(
        &self,
        bytes: &Opened<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, String> {
        let begin = self.begin(bytes)?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let text = bytes.get(begin.saturating_add(offset), length)?.into_owned();
        if length == self.size && crc32(0, &text) != self.crc {
            return Err("damaged: its checksum is wrong".to_owned());
        }
        Ok(text)
    }
}

/// The entries of an archive, directories included, except those whose names are no text.
pub(super) fn read(bytes: &Opened<'_>) -> Result<Vec<Entry>, String> {
    let directory = find(bytes)?;
    if directory.size > MAX_DIRECTORY_BYTES {
        return Err("its directory is too large".to_owned());
    }
    let text = bytes.get(directory.begin, directory.size)?;
    let mut entries = Vec::new();
    let mut headers = BinaryHeap::new();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let (entry, length) = entry(rest, directory.shift).ok_or("its directory makes no sense")?;
        headers.push(entry.header);
        // An entry without text as its name has none here.
        if !entry.name.is_empty() {
            entries.push(entry);
        }
        rest = &rest[length..];
    }
    let headers = headers.into_sorted_vec();
    for entry in &mut entries {
        let next = headers.partition_point(|header| *header <= entry.header);
        let next = headers.get(next).copied().unwrap_or(directory.begin);
        entry.limit = next.min(directory.begin);
    }
    Ok(entries)
}

/// One entry of the central directory and how many bytes it takes there.
fn entry(text: &[u8], shift: u64) -> Option<(Entry, usize)> {
    let fixed = text.get(..CENTRAL_BYTES).filter(|fixed| fixed.starts_with(b"PK\x01\x02"))?;
    let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(le16(fixed, at)));
    let length = CENTRAL_BYTES + name + extra + comment;
    let text = text.get(..length)?;
    let extra = &text[CENTRAL_BYTES + name..][..extra];
    let name = std::str::from_utf8(&text[CENTRAL_BYTES..][..name]).unwrap_or_default();
    // What does not fit into 32 bits is said elsewhere, in this order.
    let mut wide = zip64(extra).chunks_exact(8).map(|bytes| le64(bytes, 0));
    let mut number = |at| match le32(fixed, at) {
        u32::MAX => wide.next(),
        narrow => Some(u64::from(narrow)),
    };
    let (size, packed, header) = (number(24)?, number(20)?, number(42)?.checked_add(shift)?);
    let (flags, method, crc) = (le16(fixed, 8), le16(fixed, 10), le32(fixed, 16));
    let (name, limit) = (name.to_owned(), 0);
    Some((Entry { name, flags, method, crc, packed, size, header, limit }, length))
}

/// The extra field with numbers of 64 bits, or nothing.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (kind, length) = (le16(extra, 0), usize::from(le16(extra, 2)));
        let Some(field) = extra[4..].get(..length) else { break };
        if kind == 1 {
            return field;
        }
        extra = &extra[4 + length..];
    }
    &[]
}

/// Where the central directory is.
struct Directory {
    begin: u64,
    size: u64,
    /// What precedes the archive: offsets in it count from after that.
    shift: u64,
}

fn find(bytes: &Opened<'_>) -> Result<Directory, String> {
    let no_zip = || "not a zip archive, or one that is cut off".to_owned();
    let tail = bytes.get(bytes.len().saturating_sub(MAX_TAIL), bytes.len().min(MAX_TAIL))?;
    // The record ends with a comment, which ends the file.
    let is_end = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(b"PK\x05\x06")
            && END_BYTES + usize::from(le16(record, 20)) == record.len()
    };
    let at =
        (0..(tail.len() + 1).saturating_sub(END_BYTES)).rev().find(is_end).ok_or_else(no_zip)?;
    let record = &tail[at..];
    let mut end = bytes.len() - (tail.len() - at) as u64;
    let (mut size, mut offset) = (u64::from(le32(record, 12)), u64::from(le32(record, 16)));
    if let Some((at, wide)) = end64(bytes, end) {
        (end, size, offset) = (at, le64(&wide, 40), le64(&wide, 48));
    }
    let begin = end.checked_sub(size).ok_or_else(no_zip)?;
    let shift = begin.checked_sub(offset).ok_or_else(no_zip)?;
    Ok(Directory { begin, size, shift })
}

/// The end record with numbers of 64 bits and where it is, if there is one ahead of the other at `end`.
fn end64(bytes: &Opened<'_>, end: u64) -> Option<(u64, Vec<u8>)> {
    let locator = end.checked_sub(LOCATOR_BYTES)?;
    let text = bytes.get(locator, LOCATOR_BYTES).ok()?;
    if !text.starts_with(b"PK\x06\x07") {
        return None;
    }
    // Usually just ahead of its locator, which is what holds when bytes precede the archive.
    [locator.checked_sub(END64_BYTES), Some(le64(&text, 8))].into_iter().flatten().find_map(|at| {
        let record = bytes.get(at, END64_BYTES).ok()?;
        record.starts_with(b"PK\x06\x06").then(|| (at, record.into_owned()))
    })
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
const STRONGLY_ENCRYPTED: u16 = 1 << 6;
const MASKED: u16 = 1 << 13;

const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END64_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;
/// The end record with the longest comment.
const MAX_TAIL: u64 = END_BYTES as u64 + 0xffff;
/// Some millions of entries.
const MAX_DIRECTORY_BYTES: u64 = 256 << 20;
/// Deflate makes 258 bytes out of two bits at best.
const MAX_DEFLATE_RATIO: u64 = 1032;
