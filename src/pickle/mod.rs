//! The pickle subset: values to bytes and back, without I/O.
//!
//! What is written is protocol 2, without memo. What is read is every opcode that Python's own picklers write, in
//! protocols 0 to 5; nothing that is read becomes code.
//!
//! Reading has three steps, each total and none recursive: [`decode`] runs the opcodes over nodes that name each
//! other by number, so that a memo costs nothing and a container may grow after it was memoised; [`tree`] turns the
//! nodes into a [`Value`](crate::Value), where a node that is used twice becomes two copies, each paid for, and one
//! that holds itself is refused; [`inert`] decides what a call of a class is as data.

mod decode;
mod encode;
mod inert;
mod opcode;
mod text;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use decode::{DecodeError, decode, decode_owned};
pub(crate) use encode::encode;
pub use encode::{EncodeError, Encoder};

use crate::value::RouterId;

/// How deep values may be nested, in both directions.
pub(crate) const MAX_DEPTH: usize = 256;

/// What one pickle may cost: more is refused, so that a small frame cannot fill the memory. And whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many bytes the pickle may have.
    pub(crate) message: usize,
    /// How many values it may hold, copies of what is shared counted.
    pub(crate) values: usize,
    /// How many bytes of text and byte strings it may hold, counted likewise.
    pub(crate) bytes: usize,
    /// The router whose ids it holds, where there is one.
    pub(crate) router: Option<RouterId>,
}

impl Limits {
    /// What suits messages of at most so many bytes.
    ///
    /// A value takes up to 200 bytes here and rarely less than 2 on the wire. With the default of 128 MiB that
    /// makes 4 million of them, and some 800 MB that a hostile message can take beside its text.
    pub(crate) fn for_messages_of(bytes: usize) -> Limits {
        Limits {
            message: bytes,
            values: (bytes / 32).max(1 << 16),
            bytes: bytes.saturating_mul(2),
            router: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::for_messages_of(128 << 20)
    }
}
