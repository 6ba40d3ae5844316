//! Inflating an entry of an archive from its beginning on, a piece at a time.
//!
//! Invariant: never more of the output is held than was asked for, nor more of the input than `INPUT_BYTES`.
//! The checksum is compared when the last byte is read, and the stream has to end there.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::Opened;
use super::index::Entry;

/// An entry that has been read up to `position`.
pub(super) struct Inflating {
    pub(super) number: usize,
    pub(super) position: u64,
    /// The piece that was read last, and its offset.
    pub(super) latest: (u64, Vec<u8>),
    state: Box<InflateState>,
    /// Where the packed bytes begin, and how many have been used.
    begin: u64,
    used: u64,
    crc: u32,
    ended: bool,
}

impl Inflating {
    /// At the beginning of `entry`, which has this number.
    pub(super) fn new(
        number: usize,
        entry: &Entry,
        bytes: &Opened<'_>,
    ) -> Result<Inflating, String> {
        let (begin, state) = (entry.begin(bytes)?, InflateState::new_boxed(DataFormat::Raw));
        let (position, latest) = (0, (0, Vec::new()));
        Ok(Inflating { number, position, latest, state, begin, used: 0, crc: 0, ended: false })
    }

    /// Whether the stream has ended with this many bytes of it.
    pub(super) fn has_used(&self, packed: u64) -> bool {
        self.ended && self.used == packed
    }

    /// Reads on up to `offset`.
    pub(super) fn skip(
        &mut self,
        entry: &Entry,
        bytes: &Opened<'_>,
        offset: u64,
    ) -> Result<(), String> {
        while self.position < offset.min(entry.size) {
            let left = offset.min(entry.size) - self.position;
            self.read(entry, bytes, left.min(INPUT_BYTES) as usize)?;
        }
        Ok(())
    }

    /// The next `length` bytes, no more than are left by the entry's size.
    pub(super) fn read(
        &mut self,
        entry: &Entry,
        bytes: &Opened<'_>,
        length: usize,
    ) -> Result<Vec<u8>, String> {
        let damaged = || "damaged: it does not inflate to what it should".to_owned();
        let mut text = vec![0; length];
        if self.fill(entry, bytes, &mut text)? < length {
            return Err(damaged());
        }
        self.position += length as u64;
        self.crc = crc32(self.crc, &text);
        if self.position == entry.size {
            let excess = self.fill(entry, bytes, &mut [0])?;
            if excess > 0 || self.crc != entry.crc {
                return Err(damaged());
            }
        }
        Ok(text)
    }

    /// Fills `text`, unless the stream ends before; how much of it is filled.
    fn fill(
        &mut self,
        entry: &Entry,
        bytes: &Opened<'_>,
        text: &mut [u8],
    ) -> Result<usize, String> {
        let mut filled = 0;
        while filled < text.len() && !self.ended {
            let left = (entry.packed - self.used).min(INPUT_BYTES);
            let input = bytes.get(self.begin + self.used, left)?;
            let step = inflate(&mut self.state, &input, &mut text[filled..], MZFlush::None);
            self.used += step.bytes_consumed as u64;
            filled += step.bytes_written;
            match step.status {
                Ok(MZStatus::StreamEnd) => self.ended = true,
                Ok(_) if step.bytes_consumed + step.bytes_written > 0 => {}
                _ => return Err("damaged: it does not inflate".to_owned()),
            }
        }
        Ok(filled)
    }
}

/// The CRC-32 of zip files, of ITU-T V.42: goes on from `crc`, which is 0 at first.
pub(in crate::modules) fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC_TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!crc, step)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

const INPUT_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }
}
