//! What a child prints before its first frame, as a state machine without I/O.
//!
//! Whatever precedes the marker `EC0` on the stream is noise of the machine (banners, login scripts):
//! it is skipped and its end kept for the error. From then on every byte is ours: anything but `EC1`
//! next is an error that quotes it.

use crate::Stage;
use crate::bootstrap::{RECEIVED, STARTED};
use crate::text::{Tail, printable};

/// How far a child has come, by what it printed.
#[derive(Debug)]
pub(crate) struct Handshake {
    stage: Stage,
    /// What is not yet understood: at most a marker's length and one chunk.
    pending: Vec<u8>,
    noise: Tail,
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Handshake { stage: Stage::Python, pending: Vec::new(), noise: Tail::default() }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// What was printed on the stream before `EC0`: its end.
    pub(crate) fn noise(&self) -> &Tail {
        &self.noise
    }

    /// The first frame has been read.
    pub(crate) fn connected(&mut self) {
        self.stage = Stage::Connected;
    }

    /// Takes bytes of the stream, cut anywhere. Once both markers are here, gives back what follows
    /// them: frames.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.pending.extend_from_slice(bytes);
        if self.stage == Stage::Python {
            let Some(at) = find(&self.pending, STARTED) else {
                // The marker may be cut: all but its length less one is certainly noise.
                let certain = self.pending.len().saturating_sub(STARTED.len() - 1);
                self.noise.push(&self.pending[..certain]);
                self.pending.drain(..certain);
                return Ok(None);
            };
            self.noise.push(&self.pending[..at]);
            self.pending.drain(..at + STARTED.len());
            self.stage = Stage::Core;
        }
        let shared = self.pending.len().min(RECEIVED.len());
        if self.pending[..shared] != RECEIVED[..shared] {
            let shown = printable(&self.pending[..self.pending.len().min(64)]);
            return Err(format!("\"{shown}\" where the marker EC1 should be"));
        }
        if shared < RECEIVED.len() {
            return Ok(None);
        }
        self.stage = Stage::Hello;
        Ok(Some(self.pending.split_off(RECEIVED.len())))
    }

    /// The stream has ended: what was held back as half a marker was noise after all.
    pub(crate) fn finish(&mut self) {
        if self.stage == Stage::Python {
            self.noise.push(&self.pending);
            self.pending.clear();
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_cut_at_every_byte_are_found_and_frames_follow_them() {
        let all = b"Welcome!\nEC0\nEC1\nframes";
        for cut in 0..=all.len() {
            let mut handshake = Handshake::new();
            let mut frames = Vec::new();
            for part in [&all[..cut], &all[cut..]] {
                if handshake.stage() == Stage::Hello {
                    frames.extend_from_slice(part);
                } else if let Some(rest) = handshake.receive(part).unwrap() {
                    frames.extend(rest);
                }
            }
            assert_eq!(frames, b"frames", "cut at {cut}");
            assert_eq!(handshake.noise().text(), "Welcome!");
        }
    }

    #[test]
    fn a_marker_glued_to_noise_is_found() {
        let mut handshake = Handshake::new();
        assert_eq!(handshake.receive(b"EC0 EEC0\n").unwrap(), None);
        assert_eq!(handshake.stage(), Stage::Core);
        assert_eq!(handshake.noise().text(), "EC0 E");
    }

    #[test]
    fn noise_between_the_markers_is_an_error_that_quotes_it() {
        let mut handshake = Handshake::new();
        handshake.receive(b"EC0\nE").unwrap();
        let error = handshake.receive(b"RROR: \x1b[1mdisk full\n").unwrap_err();
        assert_eq!(error, "\"ERROR: \\x1b[1mdisk full\\n\" where the marker EC1 should be");
    }

    #[test]
    fn endless_noise_is_kept_in_bounded_memory() {
        let mut handshake = Handshake::new();
        for _ in 0..10_000 {
            handshake.receive(&[b'y'; 1000]).unwrap();
        }
        assert!(handshake.pending.len() < 4);
        handshake.receive(b"EC").unwrap();
        handshake.finish();
        assert!(handshake.noise().text().ends_with("yyEC"));
        assert_eq!(handshake.noise().text().len(), 4096);
    }
}
