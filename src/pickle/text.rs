//! The forms of text: raw, with surrogates, and the escapes of protocol 0.

use super::tree::Node;
use std::borrow::Cow;

/// The UTF-8 of a pickle, in which Python lets lone surrogates pass.
///
/// Surrogate escapes (U+DC80 to U+DCFF, what Python makes of file names that are not UTF-8) become the bytes that
/// they stand for, so that the whole is a byte string; any other surrogate stays in it as its three bytes.
/// The error is the index of the first byte that is not even that.
pub(super) fn text<'a>(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Node<'a>, usize> {
    match bytes.into() {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Node::Text(text.into())),
            Err(_) => unescape_surrogates(bytes),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Node::Text(text.into())),
            Err(error) => unescape_surrogates(error.as_bytes()),
        },
    }
}

fn unescape_surrogates<'a>(bytes: &[u8]) -> Result<Node<'a>, usize> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Err(error) = std::str::from_utf8(&bytes[at..]) {
        let bad = at + error.valid_up_to();
        out.extend(&bytes[at..bad]);
        match bytes[bad..] {
            [0xed, 0xb2, low, ..] if matches!(low, 0x80..=0xbf) => out.push(low),
            [0xed, 0xb3, low, ..] if matches!(low, 0x80..=0xbf) => out.push(low + 0x40),
            [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf, ..] => out.extend([0xed, high, low]),
            _ => return Err(bad),
        }
        at = bad + 3;
    }
    out.extend(&bytes[at..]);
    Ok(Node::Bytes(out.into()))
}

/// The `raw-unicode-escape` of UNICODE: Latin-1 with `\u` and four hexadecimal digits, `\U` and eight; as UTF-8 with surrogates.
pub(super) fn unescape_unicode(line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    let mut high: Option<u32> = None; // the first half of a pair, not yet written
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let mut code = u32::from(byte);
        rest = tail;
        if digits > 0 {
            code = hex(tail.get(1..=digits)?)?;
            rest = &tail[digits + 1..];
        }
        match (high.take(), code) {
            (Some(first), 0xdc00..=0xdfff) => {
                push_code(&mut out, 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00))?;
            }
            (first, _) => {
                if let Some(first) = first {
                    push_code(&mut out, first)?;
                }
                match code {
                    0xd800..=0xdbff => high = Some(code),
                    _ => push_code(&mut out, code)?,
                }
            }
        }
    }
    if let Some(first) = high {
        push_code(&mut out, first)?;
    }
    Some(out)
}

/// Appends a code point as UTF-8, a surrogate like any other; `None` beyond the last one.
fn push_code(out: &mut Vec<u8>, code: u32) -> Option<()> {
    match char::from_u32(code) {
        Some(character) => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None if code < 0x10000 => {
            out.extend([0xed, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]);
        }
        None => return None,
    }
    Some(())
}

/// The `repr` of a byte string, as STRING has it: in quotes, with Python's escapes.
pub(super) fn unescape_string(line: &[u8]) -> Option<Vec<u8>> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let unescaped = match bytes.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'x' => hex(&[bytes.next()?, bytes.next()?])? as u8,
            first @ b'0'..=b'7' => {
                let mut code = u32::from(first - b'0');
                for _ in 0..2 {
                    match bytes.next_if(|byte| matches!(byte, b'0'..=b'7')) {
                        Some(digit) => code = code << 3 | u32::from(digit - b'0'),
                        None => break,
                    }
                }
                code as u8
            }
            quoted @ (b'\\' | b'\'' | b'"') => quoted,
            other => {
                out.push(b'\\');
                other
            }
        };
        out.push(unescaped);
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code: u32, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}
