//! What crosses the wire: the values of the pickle subset.
//!
//! A `Value` is plain data: ids inside it are numbers, with the router that they are of, and an object of a class that
//! is not a built-in one is what its pickle says, never code.

mod bigint;
mod describe;
mod router_id;

pub use bigint::BigInt;
pub(crate) use describe::describe;
pub use router_id::RouterId;

use crate::CallError;

/// A Python value.
///
/// What arrives is nested at most 256 deep, and what is deeper cannot be sent: to drop, clone or compare a value
/// takes stack for each level, some 200 bytes. Two sets, or two dicts, are equal when they hold the same in the
/// same order; an int that fits [`Value::Int`] arrives as one.
///
/// There is no `Drop` of its own, so that a `match` can take a value apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An int of at most 64 bits.
    Int(i64),
    /// A longer int.
    BigInt(BigInt),
    /// A float.
    Float(f64),
    /// Text: `str`, and `unicode` in Python 2.
    Text(String),
    /// Bytes: `bytes`, `bytearray`, `str` in Python 2. Text that holds surrogate escapes (a file name that is not
    /// UTF-8) arrives as the bytes that it stands for.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dict, in its order.
    Dict(Vec<(Value, Value)>),
    /// A `set` or `frozenset`, in no particular order.
    Set(Vec<Value>),
    /// A context, by its id and name.
    Context {
        /// Its id in the tree.
        id: u32,
        /// Its name.
        name: String,
        /// The router of that tree; one of another cannot be sent. `None`: whichever it is sent by.
        router: Option<RouterId>,
    },
    /// The sending end of a channel: where its receiver is.
    Sender {
        /// The id of the context of the receiver.
        context: u32,
        /// The receiver's handle in that context.
        handle: u32,
        /// The router of that context, as of [`Value::Context`].
        router: Option<RouterId>,
    },
    /// What a remote function raised.
    Error(CallError),
    /// Whoever was to send here is gone; with the reason, where there is one.
    Dead(Option<String>),
    /// An object of any other class, as data: `class(*args, **kwargs)`, then its state, and what its class adds to
    /// itself. A class or function that is mentioned, not called, has a `class` and nothing else.
    ///
    /// Cannot be sent.
    Object {
        /// `module.QualName`; a built-in one is bare, say `complex`.
        class: String,
        /// What the class is called with.
        args: Vec<Value>,
        /// What it is called with by keyword.
        kwargs: Vec<(Value, Value)>,
        /// What `__setstate__` gets: the attributes, usually.
        state: Option<Box<Value>>,
        /// The items of a subclass of list.
        items: Vec<Value>,
        /// The entries of a subclass of dict.
        entries: Vec<(Value, Value)>,
    },
}

impl Value {
    /// An object that is only a class (or function) that is mentioned.
    pub(crate) fn global(class: String) -> Value {
        Value::Object {
            class,
            args: Vec::new(),
            kwargs: Vec::new(),
            state: None,
            items: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// The class of an object that is nothing but that: a class or function mentioned.
    pub(crate) fn as_global(&self) -> Option<&str> {
        match self {
            Value::Object { class, args, kwargs, state: None, items, entries }
                if args.is_empty()
                    && kwargs.is_empty()
                    && items.is_empty()
                    && entries.is_empty() =>
            {
                Some(class)
            }
            _ => None,
        }
    }
}
