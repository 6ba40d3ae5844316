//! Text, and the names of files, which are bytes that are text most of the time.

use super::{FromValue, ToValue, mismatch};
use crate::pickle::{EncodeError, Encoder};
use crate::{Context, Result, Value};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.into())
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        self.as_str().to_value()
    }

    fn into_value(self) -> Value {
        Value::Text(self)
    }

    fn encode(&self, to: &mut Encoder<'_>) -> std::result::Result<(), EncodeError> {
        to.text(self)
    }
}

/// Of text, or of bytes that are UTF-8: the `str` of Python 2.
impl FromValue for String {
    fn from_value(value: Value, _: &Context) -> Result<String> {
        match value {
            Value::Text(text) => Ok(text),
            Value::Bytes(bytes) => String::from_utf8(bytes)
                .map_err(|error| mismatch::<String>(&Value::Bytes(error.into_bytes()))),
            other => Err(mismatch::<String>(&other)),
        }
    }
}

impl FromValue for Box<str> {
    fn from_value(value: Value, from: &Context) -> Result<Box<str>> {
        String::from_value(value, from).map(String::into_boxed_str)
    }
}

impl ToValue for char {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

/// Of text of one character.
impl FromValue for char {
    fn from_value(value: Value, _: &Context) -> Result<char> {
        let text = match &value {
            Value::Text(text) => text,
            Value::Bytes(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            _ => Err(mismatch::<char>(&value)),
        }
    }
}

/// Sent as text, or as bytes where it is not UTF-8: Python takes either as the name of a file.
impl ToValue for OsStr {
    fn to_value(&self) -> Value {
        match self.to_str() {
            Some(text) => text.to_value(),
            None => Value::Bytes(self.as_bytes().to_vec()),
        }
    }
}

/// Of text or bytes.
impl FromValue for OsString {
    fn from_value(value: Value, _: &Context) -> Result<OsString> {
        match value {
            Value::Text(text) => Ok(text.into()),
            Value::Bytes(bytes) => Ok(OsString::from_vec(bytes)),
            other => Err(mismatch::<OsString>(&other)),
        }
    }
}

/// Of text or bytes, or of a path of `pathlib`.
impl FromValue for PathBuf {
    fn from_value(value: Value, from: &Context) -> Result<PathBuf> {
        match value {
            Value::Text(_) | Value::Bytes(_) => Ok(OsString::from_value(value, from)?.into()),
            Value::Object { class, args, .. } if class.starts_with("pathlib.") => {
                args.into_iter().map(|part| OsString::from_value(part, from)).collect()
            }
            other => Err(mismatch::<PathBuf>(&other)),
        }
    }
}

macro_rules! as_os_str {
    ($($name:ty)*) => { $(
        /// Sent as text, or as bytes where it is not UTF-8: Python takes either as the name of a file.
        impl ToValue for $name {
            fn to_value(&self) -> Value {
                AsRef::<OsStr>::as_ref(self).to_value()
            }
        }
    )* };
}

as_os_str!(OsString Path PathBuf);
