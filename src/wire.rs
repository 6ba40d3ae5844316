//! Frames: what travels on a stream, signed and numbered. Pure functions.
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 20 | `mac` | HMAC-SHA1 of the frame's number (8 bytes, not sent), of bytes 20 to 43 and of the first `protect` bytes of `data` |
//! | 20 | 4 | `length` | bytes that follow: 20 and those of `data` |
//! | 24 | 4 | `dst` | the context that it is for |
//! | 28 | 4 | `src` | the context that it is from |
//! | 32 | 4 | `auth` | the context on whose authority it acts |
//! | 36 | 4 | `handle` | the target inside the context |
//! | 40 | 4 | `reply_to` | where an answer goes; 0: none wanted |
//! | 44 | `length` - 20 | `data` | one pickled value |
//!
//! All numbers are big-endian. Each direction of a stream has a key of its own and numbers its frames
//! from 0, so that a frame which is forged, replayed, reordered or lost is seen.
//! Not here: what `data` means (`pickle`), where a frame goes (`routes`), descriptors.

mod decoder;
mod error;

use crate::mac::{Hmac, Key, MAC_BYTES};

pub(crate) use decoder::Decoder;
pub(crate) use error::WireError;

/// The bytes in front of `data`.
pub(crate) const HEADER_BYTES: usize = MAC_BYTES + LENGTH_BYTES + FIELDS_BYTES;
const LENGTH_BYTES: usize = 4;
/// The five fields that `length` counts beside `data`.
const FIELDS_BYTES: usize = 20;

/// Where a frame goes, where it is from, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub dst: u32,
    pub src: u32,
    pub auth: u32,
    pub handle: u32,
    pub reply_to: u32,
}

/// A frame that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub header: Header,
    pub data: Vec<u8>,
}

/// The `length` field of a frame with that much data, which is also what it takes of a channel's
/// window.
pub(crate) fn cost(data_len: usize) -> usize {
    FIELDS_BYTES + data_len
}

/// Signs the frames of one direction of a stream, in the order in which they are sent.
pub(crate) struct Sealer {
    signer: Signer,
    number: u64,
}

impl Sealer {
    /// `key` is that of the direction. Of each frame's data the first `protect` bytes are signed:
    /// `usize::MAX` for all.
    pub fn new(key: &Key, protect: usize) -> Sealer {
        Sealer { signer: Signer::new(key, protect), number: 0 }
    }

    /// The bytes to send in front of `data`. What is sealed must be sent, and in this order.
    ///
    /// # Panics
    ///
    /// When `data` is longer than 4 GiB less the header: callers have refused what is above their
    /// limit.
    pub fn seal(&mut self, header: &Header, data: &[u8]) -> [u8; HEADER_BYTES] {
        let length = u32::try_from(cost(data.len())).expect("data is within the limit on messages");
        let fields = [length, header.dst, header.src, header.auth, header.handle, header.reply_to];
        let mut head = [0; HEADER_BYTES];
        for (bytes, field) in head[MAC_BYTES..].chunks_exact_mut(4).zip(fields) {
            bytes.copy_from_slice(&field.to_be_bytes());
        }
        let mac = self.signer.mac(self.number, &head, data);
        head[..MAC_BYTES].copy_from_slice(&mac);
        self.number += 1;
        head
    }
}

/// What both ends of a direction compute.
struct Signer {
    hmac: Hmac,
    protect: usize,
}

impl Signer {
    fn new(key: &Key, protect: usize) -> Signer {
        Signer { hmac: Hmac::new(key.bytes()), protect }
    }

    /// How many of `data_len` bytes are signed.
    fn protected(&self, data_len: usize) -> usize {
        data_len.min(self.protect)
    }

    /// The MAC of frame `number`; of `data`, what is not protected may be missing.
    fn mac(&self, number: u64, head: &[u8; HEADER_BYTES], data: &[u8]) -> [u8; MAC_BYTES] {
        let signed = &data[..self.protected(data.len())];
        self.hmac.mac(&[&number.to_be_bytes(), &head[MAC_BYTES..], signed])
    }
}

#[cfg(test)]
mod tests;
