//! Lists, dicts and sets, and what merely holds another value.

use super::objects::{entries_of, items_of};
use super::{FromValue, ToValue, at, mismatch, name_of};
use crate::pickle::{EncodeError, Encoder};
use crate::value::describe;
use crate::{Context, Error, Result, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// A list; of `u8`, bytes.
impl<T: ToValue> ToValue for [T] {
    fn to_value(&self) -> Value {
        T::slice_to_value(self)
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        T::encode_slice(self, to)
    }
}

/// A list; of `u8`, bytes.
impl<T: ToValue, const N: usize> ToValue for [T; N] {
    fn to_value(&self) -> Value {
        T::slice_to_value(self)
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        T::encode_slice(self, to)
    }
}

/// A list; of `u8`, bytes.
impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(&self) -> Value {
        T::slice_to_value(self)
    }

    fn into_value(self) -> Value {
        T::vec_into_value(self)
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        T::encode_slice(self, to)
    }
}

/// Of a list, tuple or set; of `u8`, of bytes.
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value, from: &Context) -> Result<Vec<T>> {
        T::vec_from_value(value, from)
    }
}

/// As `Vec`, of that many.
impl<T: FromValue, const N: usize> FromValue for [T; N] {
    fn from_value(value: Value, from: &Context) -> Result<[T; N]> {
        T::vec_from_value(value, from)?.try_into().map_err(|items: Vec<T>| Error::Convert {
            wanted: name_of::<[T; N]>(),
            found: format!("{} items", items.len()),
        })
    }
}

/// Of a list, tuple or set, whatever the items are.
pub(super) fn list_from_value<T: FromValue>(value: Value, from: &Context) -> Result<Vec<T>> {
    collect::<T, Vec<T>>(value, from)
}

fn collect<T: FromValue, C: FromIterator<T>>(mut value: Value, from: &Context) -> Result<C> {
    let items = items_of(&mut value).ok_or_else(|| mismatch::<C>(&value))?;
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| T::from_value(item, from).map_err(at(index)))
        .collect()
}

fn collect_pairs<K: FromValue, V: FromValue, C: FromIterator<(K, V)>>(
    mut value: Value,
    from: &Context,
) -> Result<C> {
    let entries = entries_of(&mut value).ok_or_else(|| mismatch::<C>(&value))?;
    entries
        .into_iter()
        .map(|(key, value)| {
            let shown = describe_key(&key);
            let key = K::from_value(key, from).map_err(at(format_args!("key {shown}")))?;
            Ok((key, V::from_value(value, from).map_err(at(&shown))?))
        })
        .collect()
}

/// A key as it is written in Python, short.
fn describe_key(key: &Value) -> String {
    let described = describe(key);
    described.split_once(' ').map_or(described.clone(), |(_, shown)| shown.into())
}

macro_rules! collections {
    ($($kind:ident: $collection:ty, [$($generics:tt)*], [$($from:tt)*];)*) => { $(
        impl<T: ToValue, $($generics)*> ToValue for $collection {
            fn to_value(&self) -> Value {
                Value::$kind(self.iter().map(ToValue::to_value).collect())
            }
        }

        /// Of a list, tuple or set.
        impl<T: FromValue $($from)*> FromValue for $collection {
            fn from_value(value: Value, from: &Context) -> Result<Self> {
                collect::<T, Self>(value, from)
            }
        }
    )* };
}

collections! {
    List: VecDeque<T>, [], [];
    Set: BTreeSet<T>, [], [+ Ord];
    Set: HashSet<T, S>, [S], [+ Eq + Hash, S: BuildHasher + Default];
}

macro_rules! maps {
    ($($map:ty, [$($generics:tt)*], [$($from:tt)*];)*) => { $(
        impl<K: ToValue, V: ToValue, $($generics)*> ToValue for $map {
            fn to_value(&self) -> Value {
                let entries = self.iter();
                Value::Dict(entries.map(|(key, value)| (key.to_value(), value.to_value())).collect())
            }

            fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
                to.dict(self, |to, (key, value)| {
                    key.encode(to)?;
                    value.encode(to)
                })
            }
        }

        /// Of a dict, or an object of a subclass of it.
        impl<K: FromValue $($from)*> FromValue for $map {
            fn from_value(value: Value, from: &Context) -> Result<Self> {
                collect_pairs::<K, V, Self>(value, from)
            }
        }
    )* };
}

maps! {
    BTreeMap<K, V>, [], [+ Ord, V: FromValue];
    HashMap<K, V, S>, [S], [+ Eq + Hash, V: FromValue, S: BuildHasher + Default];
}

/// Sent as `None`, or as what it holds.
impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::None, ToValue::to_value)
    }

    fn into_value(self) -> Value {
        self.map_or(Value::None, ToValue::into_value)
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        match self {
            Some(value) => value.encode(to),
            None => to.value(&Value::None),
        }
    }
}

/// `None` becomes `None`.
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value, from: &Context) -> Result<Option<T>> {
        match value {
            Value::None => Ok(None),
            value => T::from_value(value, from).map(Some),
        }
    }
}

macro_rules! pointers {
    ($([$($generics:tt)*] $pointer:ty;)*) => { $(
        impl<$($generics)*> ToValue for $pointer {
            fn to_value(&self) -> Value {
                (**self).to_value()
            }

            fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
                (**self).encode(to)
            }
        }
    )* };
}

pointers! {
    [T: ToValue + ?Sized] &T;
    [T: ToValue + ?Sized] &mut T;
    [T: ToValue + ?Sized] Box<T>;
    [T: ToValue + ToOwned + ?Sized] Cow<'_, T>;
}

impl<T: FromValue> FromValue for Box<T> {
    fn from_value(value: Value, from: &Context) -> Result<Box<T>> {
        T::from_value(value, from).map(Box::new)
    }
}

/// Always owned.
impl<T: ToOwned<Owned: FromValue> + ?Sized> FromValue for Cow<'_, T> {
    fn from_value(value: Value, from: &Context) -> Result<Self> {
        FromValue::from_value(value, from).map(Cow::Owned)
    }
}
