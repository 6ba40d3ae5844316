//! Values to pickle protocol 2, which every Python from 2.7 on reads.
//!
//! Text is BINUNICODE and bytes are 8-bit strings: `str` in Python 2, `bytes` in Python 3 when it loads with
//! `encoding="bytes"`. Nothing is memoised: what is shared is written twice.

use super::MAX_DEPTH;
use super::opcode::*;
use crate::value::{BigInt, RouterId, Value, describe};
use std::fmt;

/// The pickle of a value.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends the pickle of a value; what an error leaves behind there is of no use.
pub(crate) fn encode_into(value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(out);
    encoder.value(value)?;
    encoder.finish();
    Ok(())
}

/// Why a value cannot be sent, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(String);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EncodeError {}

/// Writes one pickle behind what a buffer holds, piece by piece: each method writes one value.
///
/// So what is borrowed can be written from where it is, and a large byte string is copied once.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    router: Option<RouterId>,
    senders: Vec<(u32, u32)>,
}

impl<'a> Encoder<'a> {
    /// Begins a pickle at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Encoder<'a> {
        out.extend([PROTO, 2]);
        Encoder { out, depth: 0, router: None, senders: Vec::new() }
    }

    /// The same of a pickle that goes out by this router: ids of another would mean somebody else there.
    pub(crate) fn sent_by(self, router: Option<RouterId>) -> Encoder<'a> {
        Encoder { router, ..self }
    }

    /// Ends the pickle; returns the senders that are in it, each as context id and handle.
    pub(crate) fn finish(self) -> Vec<(u32, u32)> {
        self.out.push(STOP);
        self.senders
    }

    pub(crate) fn value(&mut self, value: &Value) -> Result<(), EncodeError> {
        match value {
            Value::None => self.none(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(number) => self.int(*number),
            Value::BigInt(number) => return self.big_int(number),
            Value::Float(number) => self.float(*number),
            Value::Text(text) => return self.text(text),
            Value::Bytes(bytes) => return self.bytes(bytes),
            Value::List(items) => return self.list(items, Self::value),
            Value::Tuple(items) => return self.tuple(items.len(), |to| to.values(items)),
            Value::Set(items) => return self.set(items, Self::value),
            Value::Dict(entries) => {
                return self.dict(entries, |to, (key, value)| {
                    to.value(key)?;
                    to.value(value)
                });
            }
            Value::Context { id, name, router } => {
                self.refuse_foreign(*router, || format!("context {name} (id {id})"))?;
                return self.own("Context", 2, |to| {
                    to.int(i64::from(*id));
                    to.text(name)
                });
            }
            Value::Sender { context, handle, router } => {
                // The handle is a capability: it is not for errors.
                self.refuse_foreign(*router, || format!("a Sender to context {context}"))?;
                self.senders.push((*context, *handle));
                return self.own("Sender", 2, |to| {
                    to.int(i64::from(*context));
                    to.int(i64::from(*handle));
                    Ok(())
                });
            }
            Value::Error(error) => {
                return self.own("CallError", 3, |to| {
                    to.text(&error.class)?;
                    to.text(&error.message)?;
                    to.text(&error.traceback)
                });
            }
            Value::Dead(reason) => {
                return self.own("_DEAD", 1, |to| match reason {
                    Some(reason) => to.text(reason),
                    None => {
                        to.none();
                        Ok(())
                    }
                });
            }
            Value::Object { .. } => {
                return Err(EncodeError(format!("{} cannot be sent", describe(value))));
            }
        }
        Ok(())
    }

    fn refuse_foreign(
        &self,
        router: Option<RouterId>,
        what: impl FnOnce() -> String,
    ) -> Result<(), EncodeError> {
        match (self.router, router) {
            (Some(ours), Some(its)) if its != ours => Err(EncodeError(format!(
                "{} belongs to another Router: here its id means another, or none; use one of the same Router",
                what()
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn none(&mut self) {
        self.out.push(NONE);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(if value { NEWTRUE } else { NEWFALSE });
    }

    pub(crate) fn int(&mut self, number: i64) {
        if let Ok(byte) = u8::try_from(number) {
            self.out.extend([BININT1, byte]);
        } else if let Ok(short) = u16::try_from(number) {
            self.out.push(BININT2);
            self.out.extend(short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(number) {
            self.out.push(BININT);
            self.out.extend(int.to_le_bytes());
        } else {
            let big = BigInt::from(i128::from(number));
            self.out.extend([LONG1, big.as_le_bytes().len() as u8]);
            self.out.extend(big.as_le_bytes());
        }
    }

    pub(crate) fn big_int(&mut self, number: &BigInt) -> Result<(), EncodeError> {
        let bytes = number.as_le_bytes();
        match u8::try_from(bytes.len()) {
            Ok(length) => self.out.extend([LONG1, length]),
            Err(_) => self.length(LONG4, bytes.len(), i32::MAX as usize, "an int")?,
        }
        self.out.extend(bytes);
        Ok(())
    }

    pub(crate) fn float(&mut self, number: f64) {
        self.out.push(BINFLOAT);
        self.out.extend(number.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        self.length(BINUNICODE, text.len(), u32::MAX as usize, "text")?;
        self.out.extend(text.as_bytes());
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.out.extend([SHORT_BINSTRING, length]),
            // The length is signed: Python refuses what would be negative.
            Err(_) => self.length(BINSTRING, bytes.len(), i32::MAX as usize, "a byte string")?,
        }
        self.out.extend(bytes);
        Ok(())
    }

    /// A list of what `each` writes for an item.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        each: impl FnMut(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.collection(EMPTY_LIST, APPENDS, items, each)
    }

    /// A dict of what `each` writes for an entry: a key and a value.
    pub(crate) fn dict<T>(
        &mut self,
        entries: impl IntoIterator<Item = T>,
        each: impl FnMut(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.collection(EMPTY_DICT, SETITEMS, entries, each)
    }

    /// A set of what `each` writes for an item. Protocol 2 has no opcode for it.
    pub(crate) fn set<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        each: impl FnMut(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.reduce("__builtin__", "set", 1, |to| to.list(items, each))
    }

    /// A tuple of the `count` values that `body` writes.
    pub(crate) fn tuple(
        &mut self,
        count: usize,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let opcode = match count {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => {
                self.out.push(MARK);
                TUPLE
            }
        };
        self.nested(body)?;
        self.out.push(opcode);
        Ok(())
    }

    /// Values side by side, for the body of a tuple.
    pub(crate) fn values(&mut self, values: &[Value]) -> Result<(), EncodeError> {
        values.iter().try_for_each(|value| self.value(value))
    }

    fn collection<T>(
        &mut self,
        empty: u8,
        add: u8,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.out.push(empty);
        self.nested(|to| {
            let mut items = items.into_iter().peekable();
            if items.peek().is_some() {
                to.out.push(MARK);
                items.try_for_each(|item| each(to, item))?;
                to.out.push(add);
            }
            Ok(())
        })
    }

    fn own(
        &mut self,
        class: &str,
        count: usize,
        args: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.reduce("econtext.core", class, count, args)
    }

    /// A call of a global; nested as deep as the decoder will see it: the object, not its argument tuple, is a level.
    fn reduce(
        &mut self,
        module: &str,
        name: &str,
        count: usize,
        args: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.out.push(GLOBAL);
        self.out.extend(format!("{module}\n{name}\n").as_bytes());
        self.tuple(count, args)?;
        self.out.push(REDUCE);
        Ok(())
    }

    fn nested(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// An opcode and the four bytes of its length; room for what they announce and the little that is usually behind
    /// it, so that something large is not moved once it is there.
    fn length(
        &mut self,
        opcode: u8,
        length: usize,
        most: usize,
        what: &str,
    ) -> Result<(), EncodeError> {
        if length > most {
            return Err(EncodeError(format!("{what} of {length} bytes is too long for a message")));
        }
        self.out.reserve(length + 64);
        self.out.push(opcode);
        self.out.extend((length as u32).to_le_bytes());
        Ok(())
    }
}
