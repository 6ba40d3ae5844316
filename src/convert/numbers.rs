//! Numbers and truth values. An int converts to a float, not the reverse; a bool is not an int.

use super::{FromValue, ToValue, mismatch};
use crate::pickle::{EncodeError, Encoder};
use crate::value::BigInt;
use crate::{Context, Result, Value};

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl FromValue for bool {
    fn from_value(value: Value, _: &Context) -> Result<bool> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(mismatch::<bool>(&other)),
        }
    }
}

macro_rules! ints {
    ($wide:ident: $($int:ident)*) => { $(
        impl ToValue for $int {
            fn to_value(&self) -> Value {
                match i64::try_from(*self) {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::BigInt(BigInt::from(*self as $wide)),
                }
            }
        }

        impl FromValue for $int {
            fn from_value(value: Value, _: &Context) -> Result<$int> {
                let number = match &value {
                    Value::Int(number) => $int::try_from(*number).ok(),
                    Value::BigInt(number) => {
                        $wide::try_from(number).ok().and_then(|number| $int::try_from(number).ok())
                    }
                    _ => None,
                };
                number.ok_or_else(|| mismatch::<$int>(&value))
            }
        }
    )* };
}

ints!(i128: i8 i16 i32 i64 i128 isize);
ints!(u128: u16 u32 u64 u128 usize);

/// An int; a row of them is bytes.
impl ToValue for u8 {
    fn to_value(&self) -> Value {
        Value::Int((*self).into())
    }

    fn slice_to_value(items: &[u8]) -> Value {
        Value::Bytes(items.to_vec())
    }

    fn vec_into_value(items: Vec<u8>) -> Value {
        Value::Bytes(items)
    }

    fn encode_slice(items: &[u8], to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.bytes(items)
    }
}

/// An int; a row of them is bytes, not text: what encoding would it be in?
impl FromValue for u8 {
    fn from_value(value: Value, _: &Context) -> Result<u8> {
        match value {
            Value::Int(number) => u8::try_from(number).map_err(|_| mismatch::<u8>(&value)),
            other => Err(mismatch::<u8>(&other)),
        }
    }

    fn vec_from_value(value: Value, _: &Context) -> Result<Vec<u8>> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(mismatch::<Vec<u8>>(&other)),
        }
    }
}

macro_rules! floats {
    ($($float:ident)*) => { $(
        impl ToValue for $float {
            fn to_value(&self) -> Value {
                Value::Float((*self).into())
            }
        }

        impl FromValue for $float {
            fn from_value(value: Value, _: &Context) -> Result<$float> {
                match &value {
                    Value::Float(number) => Ok(*number as $float),
                    Value::Int(number) => Ok(*number as $float),
                    // Beyond 1100 bits every int is beyond a float.
                    Value::BigInt(number) if number.as_le_bytes().len() < 140 => {
                        match number.to_string().parse::<$float>() {
                            Ok(number) if number.is_finite() => Ok(number),
                            _ => Err(mismatch::<$float>(&value)),
                        }
                    }
                    other => Err(mismatch::<$float>(other)),
                }
            }
        }
    )* };
}

floats!(f32 f64);

impl ToValue for BigInt {
    fn to_value(&self) -> Value {
        match i128::try_from(self).map(i64::try_from) {
            Ok(Ok(number)) => Value::Int(number),
            _ => Value::BigInt(self.clone()),
        }
    }
}

impl FromValue for BigInt {
    fn from_value(value: Value, _: &Context) -> Result<BigInt> {
        match value {
            Value::Int(number) => Ok(BigInt::from(i128::from(number))),
            Value::BigInt(number) => Ok(number),
            other => Err(mismatch::<BigInt>(&other)),
        }
    }
}
