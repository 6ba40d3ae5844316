//! The receiving end of one direction of a stream: bytes, cut anywhere, in; verified frames out.
//!
//! Invariant: nothing leaves unverified, and an unverified length claims no memory above the limit.
//! After an error the decoder stays in error.

use super::error::leading_text;
use super::{Frame, HEADER_BYTES, Header, LENGTH_BYTES, Signer, WireError, cost};
use crate::mac::{Key, MAC_BYTES, verify};

/// Turns the bytes of a stream into frames.
///
/// ```text
/// let room = decoder.space();                     // or decoder.receive(bytes)
/// decoder.filled(read(fd, room)?);
/// while let Some(frame) = decoder.next_frame()? { .. }
/// ```
pub(crate) struct Decoder {
    signer: Signer,
    /// The number of the frame that is due.
    due: u64,
    max_message_bytes: usize,
    scratch: Scratch,
    large: Option<Large>,
    failed: Option<WireError>,
}

impl Decoder {
    /// `key` and `protect` are those of the other end's `Sealer`. A frame with more than
    /// `max_message_bytes` of data is refused.
    pub fn new(key: &Key, protect: usize, max_message_bytes: usize) -> Decoder {
        Decoder {
            signer: Signer::new(key, protect),
            due: 0,
            max_message_bytes,
            scratch: Scratch::new(),
            large: None,
            failed: None,
        }
    }

    /// Takes bytes as they came.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.space();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }

    /// Room to read(2) into, never empty; tell [`filled`](Self::filled) how much of it was used.
    ///
    /// While a large frame is under way it is the rest of that frame's own data, which is then not
    /// copied again.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.large {
            Some(large) if !large.is_complete() => &mut large.data[large.filled..],
            _ => self.scratch.room(),
        }
    }

    /// The first `count` bytes of the last [`space`](Self::space) now hold what came.
    pub fn filled(&mut self, count: usize) {
        match &mut self.large {
            Some(large) if !large.is_complete() => large.filled += count,
            _ => self.scratch.filled(count),
        }
    }

    /// The next frame, or `None` while it is not all here.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// At the end of the stream, when [`next_frame`](Self::next_frame) has given all there was:
    /// whether the stream ended between two frames.
    pub fn finish(&self) -> Result<(), WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Some(Large { data, filled, .. }) = &self.large {
            let (have, want) = (HEADER_BYTES + filled, HEADER_BYTES + data.len());
            return Err(WireError::Truncated { have, want });
        }
        let left = self.scratch.pending();
        if left.is_empty() {
            return Ok(());
        }
        if let Some(text) = leading_text(left) {
            return Err(WireError::Text(text));
        }
        let claimed = left.first_chunk().map_or(0, |head| length(head).saturating_sub(cost(0)));
        Err(WireError::Truncated { have: left.len(), want: HEADER_BYTES + claimed })
    }

    fn advance(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(large) = self.large.take_if(|large| large.is_complete()) {
            if !large.is_verified {
                self.due = self.verify(&large.head, &large.data)?;
            }
            return Ok(Some(Frame { header: header(&large.head), data: large.data }));
        }
        let Some((head, rest)) = self.scratch.pending().split_first_chunk() else {
            return Ok(None);
        };
        let data_len = self.data_len(head)?;
        if let Some(data) = rest.get(..data_len) {
            self.due = self.verify(head, data)?;
            let frame = Frame { header: header(head), data: data.to_vec() };
            self.scratch.consume(HEADER_BYTES + data_len);
            return Ok(Some(frame));
        }
        if HEADER_BYTES + data_len > MAX_SCRATCH_BYTES {
            let protected = self.signer.protected(data_len);
            // Verified as soon as all that is signed is here. Where that alone is more than the
            // scratch holds, it is when the frame is complete.
            let is_verified = rest.len() >= protected;
            if is_verified {
                self.due = self.verify(head, &rest[..protected])?;
            } else if HEADER_BYTES + protected <= MAX_SCRATCH_BYTES {
                return Ok(None);
            }
            let filled = rest.len();
            // Fresh zeroed pages: the allocator takes them from the system, untouched.
            let mut data = vec![0; data_len];
            data[..filled].copy_from_slice(rest);
            self.large = Some(Large { head: *head, data, filled, is_verified });
            self.scratch.consume(HEADER_BYTES + filled);
        }
        Ok(None)
    }

    /// The bytes of data that a header claims.
    fn data_len(&self, head: &[u8; HEADER_BYTES]) -> Result<usize, WireError> {
        let claimed = length(head);
        let limit = self.max_message_bytes;
        let error = match claimed.checked_sub(cost(0)) {
            Some(data_len) if data_len <= limit => return Ok(data_len),
            Some(data_len) => WireError::TooLong { claimed: data_len, limit },
            None => WireError::TooShort { claimed },
        };
        Err(leading_text(self.scratch.pending()).map_or(error, WireError::Text))
    }

    /// Checks the MAC of the frame that is due, and returns the number of the next. Of `data`, what is
    /// not protected may be missing.
    fn verify(&self, head: &[u8; HEADER_BYTES], data: &[u8]) -> Result<u64, WireError> {
        let (mac, _) = head.split_first_chunk::<MAC_BYTES>().expect("a header begins with its MAC");
        let has_number = |number| verify(mac, &self.signer.mac(number, head, data));
        let due = self.due;
        if has_number(due) {
            return Ok(due + 1);
        }
        let reach = SEARCHED_FRAMES.min(SEARCHED_BYTES / (HEADER_BYTES + data.len()) as u64);
        let near = (due.saturating_sub(reach)..due).rev().chain(due + 1..=due + reach);
        let error = match near.into_iter().find(|&number| has_number(number)) {
            Some(number) if number < due => WireError::Replayed { number, due },
            Some(number) => WireError::OutOfOrder { number, due },
            None => leading_text(head).map_or(WireError::Forged { number: due }, WireError::Text),
        };
        Err(error)
    }
}

fn length(head: &[u8; HEADER_BYTES]) -> usize {
    be32(head, MAC_BYTES) as usize
}

fn header(head: &[u8; HEADER_BYTES]) -> Header {
    let field = |index: usize| be32(head, MAC_BYTES + LENGTH_BYTES + 4 * index);
    Header { dst: field(0), src: field(1), auth: field(2), handle: field(3), reply_to: field(4) }
}

fn be32(head: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"))
}

/// A bad frame is compared with so many before and after the one that was due, to say what is wrong;
/// with fewer if that takes hashing more than so many bytes each way.
const SEARCHED_FRAMES: u64 = 1024;
const SEARCHED_BYTES: u64 = 16 << 20;

/// A frame that does not fit the scratch, with room for all its data.
struct Large {
    head: [u8; HEADER_BYTES],
    data: Vec<u8>,
    filled: usize,
    is_verified: bool,
}

impl Large {
    fn is_complete(&self) -> bool {
        self.filled == self.data.len()
    }
}

/// Where bytes arrive: `bytes[start..end]` have come and are not used yet.
struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// A stream that carries little stays small; each read that fills the scratch doubles it, up to here.
const MIN_SCRATCH_BYTES: usize = 8 << 10;
const MAX_SCRATCH_BYTES: usize = 128 << 10;

impl Scratch {
    fn new() -> Scratch {
        Scratch { bytes: Vec::new(), start: 0, end: 0 }
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Room for more, made by moving to the front what is there: part of one frame at most, if
    /// frames are taken out as they come.
    fn room(&mut self) -> &mut [u8] {
        let was_full = self.end == self.bytes.len();
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let len = self.bytes.len();
        if self.end == len || (was_full && len < MAX_SCRATCH_BYTES) {
            self.bytes.resize((len * 2).max(MIN_SCRATCH_BYTES), 0);
        }
        &mut self.bytes[self.end..]
    }

    fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end, "more was filled than there was room for");
        self.end += count;
    }
}

#[cfg(test)]
impl Decoder {
    /// Goes on as if so many frames had come.
    pub fn set_due(&mut self, number: u64) {
        self.due = number;
    }
}
