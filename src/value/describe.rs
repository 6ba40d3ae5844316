//! A value in one short line, for errors: its type and how Python would show it.

use super::Value;
use crate::text::escape;
use std::fmt::Write;

/// How much of a value is shown, in characters, before it is cut.
const SHOWN: usize = 80;

/// One line about a value: its type and the start of its `repr`, control characters escaped.
pub(crate) fn describe(value: &Value) -> String {
    let kind = match value {
        Value::None => return "None".into(),
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::BigInt(_) => "int",
        Value::Float(_) => "float",
        Value::Text(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Tuple(_) => "tuple",
        Value::Dict(_) => "dict",
        Value::Set(_) => "set",
        Value::Object { .. } if value.as_global().is_some() => "the object",
        Value::Object { .. } => "an object",
        Value::Context { .. } | Value::Sender { .. } | Value::Error(_) | Value::Dead(_) => {
            "an econtext"
        }
    };
    let mut text = String::new();
    repr(value, &mut text);
    if let Some((cut, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(cut);
        text += "...";
    }
    format!("{kind} {text}")
}

/// Appends what Python would show, and stops when there is enough; so it descends no deeper than that either.
fn repr(value: &Value, out: &mut String) {
    if out.len() > SHOWN * 4 {
        return;
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::None => write!(out, "None"),
        Value::Bool(true) => write!(out, "True"),
        Value::Bool(false) => write!(out, "False"),
        Value::Int(number) => write!(out, "{number}"),
        Value::BigInt(number) if number.as_le_bytes().len() > 32 => {
            write!(out, "of {} bytes", number.as_le_bytes().len())
        }
        Value::BigInt(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{number:?}"),
        Value::Text(text) => quote(text, out),
        Value::Bytes(bytes) => {
            let start = &bytes[..bytes.len().min(SHOWN)];
            write!(out, "b'{}'", start.escape_ascii())
        }
        Value::List(items) => sequence("[", items, "]", out),
        Value::Tuple(items) => sequence("(", items, if items.len() == 1 { ",)" } else { ")" }, out),
        Value::Set(items) => sequence("{", items, "}", out),
        Value::Dict(entries) => pairs("{", entries, ": ", "}", out),
        Value::Context { id, name, .. } => write!(out, "Context({id}, {:?})", shorten(name)),
        Value::Sender { context, handle, .. } => write!(out, "Sender({context}, {handle})"),
        Value::Error(error) => write!(out, "CallError({})", escape(&shorten(&error.to_string()))),
        Value::Dead(reason) => write!(out, "_DEAD({:?})", reason.as_deref().map(shorten)),
        Value::Object { class, args, entries, items, .. } => {
            let _ = write!(out, "{}", escape(&shorten(class)));
            if value.as_global().is_some() {
                Ok(())
            } else if !entries.is_empty() {
                pairs("(", entries, ": ", ")", out)
            } else {
                sequence("(", if args.is_empty() { items } else { args }, ")", out)
            }
        }
    };
}

fn sequence(open: &str, items: &[Value], close: &str, out: &mut String) -> std::fmt::Result {
    out.push_str(open);
    for (index, item) in items.iter().take(SHOWN).enumerate() {
        if index != 0 {
            out.push_str(", ");
        }
        repr(item, out);
    }
    out.write_str(close)
}

fn pairs(
    open: &str,
    entries: &[(Value, Value)],
    between: &str,
    close: &str,
    out: &mut String,
) -> std::fmt::Result {
    out.push_str(open);
    for (index, (key, value)) in entries.iter().take(SHOWN).enumerate() {
        if index != 0 {
            out.push_str(", ");
        }
        repr(key, out);
        out.push_str(between);
        repr(value, out);
    }
    out.write_str(close)
}

fn quote(text: &str, out: &mut String) -> std::fmt::Result {
    write!(out, "'{}'", escape(&shorten(text)).replace('\'', "\\'"))
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_described_as_python_shows_it() {
        let int = Value::Int(5);
        for (value, line) in [
            (Value::None, "None"),
            (Value::Bool(true), "bool True"),
            (int.clone(), "int 5"),
            (Value::Float(1.0), "float 1.0"),
            (Value::Text("it's\n".into()), "str 'it\\'s\\n'"),
            (Value::Text("\x1b[31m\u{202e}".into()), "str '\\x1b[31m\\u202e'"),
            (Value::Bytes(b"\xff\n".to_vec()), "bytes b'\\xff\\n'"),
            (Value::Tuple(vec![int.clone()]), "tuple (5,)"),
            (Value::Dict(vec![(Value::Text("a".into()), int.clone())]), "dict {'a': 5}"),
            (Value::global("os.getpid".into()), "the object os.getpid"),
            (Value::Sender { context: 1, handle: 2, router: None }, "an econtext Sender(1, 2)"),
        ] {
            assert_eq!(describe(&value), line);
        }
    }

    #[test]
    fn a_long_value_is_cut_and_a_deep_one_is_not_descended() {
        let long = Value::List(vec![Value::Text("x".repeat(1000)); 1000]);
        assert_eq!(describe(&long).chars().count(), "list ".len() + SHOWN + "...".len());
        let deep = (0..2000).fold(Value::None, |inner, _| Value::List(vec![inner]));
        assert_eq!(describe(&deep), format!("list {}...", "[".repeat(SHOWN)));
    }
}
