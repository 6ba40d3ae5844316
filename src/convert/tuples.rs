//! Tuples up to 12, as values and as the arguments of a call.

use super::objects::fields_of;
use super::{FromValue, ToValue, at, mismatch, name_of};
use crate::pickle::{EncodeError, Encoder};
use crate::value::describe;
use crate::{Context, Error, Result, Value};

/// The positional arguments of a call: a tuple of up to 12, or a `Vec<Value>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a call",
    label = "not a tuple of what can be sent",
    note = "arguments are a tuple, of one argument as well: `(argument,)`; without any: `()`; many at run time: `Vec<Value>`"
)]
pub trait ToArgs {
    /// The arguments, in order.
    fn to_args(&self) -> Vec<Value>;

    /// Writes them as a tuple from where they are: large byte strings are copied once, into the message.
    #[doc(hidden)]
    fn encode_args(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        let args = self.to_args();
        to.tuple(args.len(), |to| to.values(&args))
    }
}

impl ToArgs for () {
    fn to_args(&self) -> Vec<Value> {
        Vec::new()
    }
}

impl ToArgs for Vec<Value> {
    fn to_args(&self) -> Vec<Value> {
        self.clone()
    }

    fn encode_args(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.tuple(self.len(), |to| to.values(self))
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $index:tt)*;)*) => { $(
        impl<$($name: ToValue),*> ToArgs for ($($name,)*) {
            fn to_args(&self) -> Vec<Value> {
                vec![$(self.$index.to_value()),*]
            }

            fn encode_args(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
                to.tuple($count, |to| {
                    $(self.$index.encode(to)?;)*
                    Ok(())
                })
            }
        }

        impl<$($name: ToValue),*> ToValue for ($($name,)*) {
            fn to_value(&self) -> Value {
                Value::Tuple(self.to_args())
            }

            fn into_value(self) -> Value {
                Value::Tuple(vec![$(self.$index.into_value()),*])
            }

            fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
                self.encode_args(to)
            }
        }

        /// Of a tuple or list of that many, a named tuple or a struct sequence.
        impl<$($name: FromValue),*> FromValue for ($($name,)*) {
            fn from_value(value: Value, from: &Context) -> Result<Self> {
                let mut fields = fields::<Self>(value, $count)?.into_iter();
                // As many as the tuple has, so there is a next one for each.
                Ok(($($name::from_value(fields.next().unwrap(), from).map_err(at($index))?,)*))
            }
        }
    )* };
}

fn fields<T>(mut value: Value, count: usize) -> Result<Vec<Value>> {
    match fields_of(&mut value) {
        Some(fields) if fields.len() == count => Ok(fields),
        Some(fields) => {
            let found = format!("{} items: {}", fields.len(), describe(&Value::Tuple(fields)));
            Err(Error::Convert { wanted: name_of::<T>(), found })
        }
        None => Err(mismatch::<T>(&value)),
    }
}

tuples! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
    5: A 0 B 1 C 2 D 3 E 4;
    6: A 0 B 1 C 2 D 3 E 4 F 5;
    7: A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
}
