//! Text from the remote side, made fit for a terminal, a log and an error.

use std::collections::VecDeque;
use std::fmt::Write;

/// `bytes` as text: bad UTF-8 replaced, control characters escaped (`\n`, `\t`, `\x1b`).
pub(crate) fn printable(bytes: &[u8]) -> String {
    escape(&String::from_utf8_lossy(bytes))
}

/// `text` with its control characters escaped, so that it cannot move a terminal's cursor.
pub(crate) fn escape(text: &str) -> String {
    escape_except(text, &[])
}

/// The same for text of several lines: newlines and tabs stay.
pub(crate) fn escape_lines(text: &str) -> String {
    escape_except(text, &['\n', '\t'])
}

fn escape_except(text: &str, kept: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if kept.contains(&c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && (c as u32) < 0x100 => {
                write!(out, "\\x{:02x}", c as u32).expect("a String takes all");
            }
            // Marks that end a line, or change the direction of what follows and so can hide text.
            '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                write!(out, "\\u{:04x}", c as u32).expect("a String takes all");
            }
            c => out.push(c),
        }
    }
    out
}

/// The last 4096 bytes of a text.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    const BYTES: usize = 4096;

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(Self::BYTES)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(Self::BYTES);
        self.0.drain(..excess);
        self.0.extend(bytes);
    }

    /// What is kept: bad UTF-8 replaced, control characters but newline and tab escaped, white space
    /// at the ends cut.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        escape_lines(text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_left_alone() {
        assert_eq!(printable(b"a\x1b[2J\r\n\x07\xff"), "a\\x1b[2J\\r\\n\\x07\u{fffd}");
        assert_eq!(escape("h\u{e9}llo \u{9b}\u{202e}x"), "h\u{e9}llo \\x9b\\u202ex");
        assert_eq!(escape_lines("a\n\tb\r"), "a\n\tb\\r");
    }

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 5000]);
        tail.push(b"end\n");
        assert!(tail.text().ends_with("aaend"));
        assert_eq!(tail.text().len(), 4095);
    }
}
