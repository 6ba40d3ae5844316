//! Rust values to [`Value`] and back.
//!
//! Invariant: `Vec<u8>`, slices and arrays of `u8` are bytes, while a `u8` alone is an int. Since a trait cannot be
//! implemented for them apart, the element says what a row of it is: the hidden `slice_*` and `vec_*` functions.

mod containers;
mod numbers;
mod objects;
mod text;
mod tuples;

use crate::pickle::{EncodeError, Encoder};
use crate::value::describe;
use crate::{Context, Error, Result, Value};

pub use tuples::ToArgs;

/// What can be sent to Python.
///
/// Only [`to_value`](ToValue::to_value) is to be written for a type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to Python",
    note = "implement `econtext::ToValue` for it, or send a tuple, `Vec` or `HashMap` of what it holds"
)]
pub trait ToValue {
    /// The value that Python is to see.
    fn to_value(&self) -> Value;

    /// As [`to_value`](ToValue::to_value), without a copy where that can be.
    #[doc(hidden)]
    fn into_value(self) -> Value
    where
        Self: Sized,
    {
        self.to_value()
    }

    /// Writes the value from where it is: a large byte string is copied once, into the message.
    #[doc(hidden)]
    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.value(&self.to_value())
    }

    /// What a row of these is: a list, but for bytes.
    #[doc(hidden)]
    fn slice_to_value(items: &[Self]) -> Value
    where
        Self: Sized,
    {
        Value::List(items.iter().map(ToValue::to_value).collect())
    }

    #[doc(hidden)]
    fn vec_into_value(items: Vec<Self>) -> Value
    where
        Self: Sized,
    {
        Value::List(items.into_iter().map(ToValue::into_value).collect())
    }

    #[doc(hidden)]
    fn encode_slice(items: &[Self], to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError>
    where
        Self: Sized,
    {
        to.list(items, |to, item| item.encode(to))
    }
}

/// What can be made of a Python value: the result of a call, an item of a channel.
///
/// Only [`from_value`](FromValue::from_value) is to be written for a type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of a Python value",
    label = "the type of the result is not known, or has no `FromValue`",
    note = "name the type, as in `let pid: i64 = web.call(..)?` or `web.call::<i64>(..)?`; `web.call::<()>(..)?` discards the result",
    note = "for a type of your own, implement `econtext::FromValue`"
)]
pub trait FromValue: Sized {
    /// Makes one; `from` is the context that the value came from. The error is [`Error::Convert`].
    fn from_value(value: Value, from: &Context) -> Result<Self>;

    /// Makes a row of them, of a list, but for bytes.
    #[doc(hidden)]
    fn vec_from_value(value: Value, from: &Context) -> Result<Vec<Self>> {
        containers::list_from_value(value, from)
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }

    fn into_value(self) -> Value {
        self
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.value(self)
    }
}

impl FromValue for Value {
    fn from_value(value: Value, _: &Context) -> Result<Value> {
        Ok(value)
    }
}

/// Sent as `None`.
impl ToValue for () {
    fn to_value(&self) -> Value {
        Value::None
    }
}

/// Accepts any value, and discards it.
impl FromValue for () {
    fn from_value(_: Value, _: &Context) -> Result<()> {
        Ok(())
    }
}

/// The error for a value that is no `T`.
pub(crate) fn mismatch<T>(found: &Value) -> Error {
    Error::Convert { wanted: name_of::<T>(), found: describe(found) }
}

/// Says in an error that the value is an item of another, as Python would reach it: `[3]`, `['key']`.
fn at(place: impl std::fmt::Display) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Convert { wanted, found } => {
            // Names of types are without " at ", so that the first one is ours.
            let (wanted, inner) = wanted.split_once(" at ").unwrap_or((&wanted, ""));
            Error::Convert { wanted: format!("{wanted} at [{place}]{inner}"), found }
        }
        other => other,
    }
}

/// The name of a type, without the modules that its parts are in: `Vec<String>`.
fn name_of<T>() -> String {
    let full = std::any::type_name::<T>();
    let mut short = String::with_capacity(full.len());
    for (index, part) in full.split("::").enumerate() {
        if index != 0 {
            // What is behind the last character that a path cannot hold was a module.
            let start = short
                .rfind(|character: char| !character.is_alphanumeric() && character != '_')
                .map_or(0, |at| at + 1);
            short.truncate(start);
        }
        short += part;
    }
    short
}

#[cfg(test)]
mod tests;
