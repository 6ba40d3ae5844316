//! Why a stream cannot be read on: what exactly is wrong with its next frame.

use std::fmt;

/// What is wrong with a frame. After it nothing on the stream can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The MAC is not that of these bytes, under any number near the one that was due.
    Forged { number: u64 },
    /// A frame that came before, once more.
    Replayed { number: u64, due: u64 },
    /// A frame that should have come after others.
    OutOfOrder { number: u64, due: u64 },
    /// More data than the limit, as its header claims.
    TooLong { claimed: usize, limit: usize },
    /// A `length` that does not even cover the header.
    TooShort { claimed: usize },
    /// The stream ended inside a frame. While less than a header is there, that is what is wanted.
    Truncated { have: usize, want: usize },
    /// Somebody printed on the stream; how it begins.
    Text(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Forged { number } => write!(f, "frame {number} is forged or damaged"),
            WireError::Replayed { number, due } => {
                write!(f, "frame {number} was replayed where frame {due} was due")
            }
            WireError::OutOfOrder { number, due } => {
                write!(f, "frame {number} came where frame {due} was due: reordered or lost")
            }
            WireError::TooLong { claimed, limit } => {
                write!(f, "a message of {claimed} bytes is above the limit of {limit}")
            }
            WireError::TooShort { claimed } => {
                write!(f, "a frame claims to be {claimed} bytes, less than its header takes")
            }
            WireError::Truncated { have, want } => {
                write!(f, "the stream ended inside a frame, after {have} of {want} bytes")
            }
            // Debug puts it in quotes and escapes control characters.
            WireError::Text(text) => write!(f, "text where a frame should be: {text:?}"),
        }
    }
}

impl std::error::Error for WireError {}

/// The text at the beginning of `bytes`, where a frame should begin; `None` if it is not likely text.
///
/// Asked only of bytes that are not a good frame, which begin with a MAC and so look random: what is taken
/// for text comes up by chance in less than 1 of 10,000.
pub(super) fn leading_text(bytes: &[u8]) -> Option<String> {
    const LIKELY_LINE_BYTES: usize = 6;
    const LIKELY_TEXT_BYTES: usize = 12;
    let head = &bytes[..bytes.len().min(QUOTED_BYTES)];
    let valid = head.utf8_chunks().next()?.valid();
    let end = valid.find(|char: char| char.is_control() && !in_printed_text(char));
    let text = &valid[..end.unwrap_or(valid.len())];
    if text.len() == head.len() {
        // All of it: a short line will do.
        let is_text = text.len() >= LIKELY_TEXT_BYTES || text.ends_with('\n');
        return is_text.then(|| text.to_string());
    }
    match text.rfind('\n') {
        // A frame may follow, whose first bytes happen to look like text.
        Some(at) if at >= LIKELY_LINE_BYTES => Some(text[..=at].to_string()),
        _ => (text.len() >= LIKELY_TEXT_BYTES).then(|| text.to_string()),
    }
}

/// How much of a stray text is told.
const QUOTED_BYTES: usize = 64;

/// Line ends, tabs, and what colours a terminal.
fn in_printed_text(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\t' | '\x1b')
}
