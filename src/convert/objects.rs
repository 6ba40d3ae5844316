//! Objects that are like a built-in container: what their class adds to one is dropped.
//!
//! Each function takes the content out of the value, or leaves it as it is, for the error.

use crate::Value;
use std::mem::take;

/// The items of a list, tuple or set, or of an object that is like one.
pub(super) fn items_of(value: &mut Value) -> Option<Vec<Value>> {
    match value {
        Value::Set(items) => Some(take(items)),
        other => fields_of(other),
    }
}

/// The items of a list or tuple, or of an object that is like one: a named tuple, a struct sequence, a deque, a
/// subclass of list.
pub(super) fn fields_of(value: &mut Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) | Value::Tuple(items) => Some(take(items)),
        Value::Object { class, args, kwargs, state, items, entries } => {
            if !items.is_empty() {
                return Some(take(items));
            }
            let plain = kwargs.is_empty() && state.is_none() && entries.is_empty();
            match &mut args[..] {
                // A struct sequence: what shows as a tuple, then the fields that only have names.
                [Value::Tuple(shown), Value::Dict(_)] if plain && is_struct_sequence(class) => {
                    Some(take(shown))
                }
                // Python 2.7 makes a deque of a list, 3 adds the items to an empty one of a given size.
                [Value::List(queued) | Value::Tuple(queued), ..]
                    if class == "collections.deque" =>
                {
                    Some(take(queued))
                }
                _ => plain.then(|| take(args)),
            }
        }
        _ => None,
    }
}

/// The entries of a dict, or of an object that is like one.
pub(super) fn entries_of(value: &mut Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Dict(entries) => Some(take(entries)),
        Value::Object { entries, .. } if !entries.is_empty() => Some(take(entries)),
        Value::Object { class, args, kwargs, state, items, .. } => match &mut args[..] {
            // A subclass that is empty.
            [] => (kwargs.is_empty() && state.is_none() && items.is_empty()).then(Vec::new),
            [_] if class == "collections.defaultdict" => Some(Vec::new()),
            [Value::Dict(counts)] if class == "collections.Counter" => Some(take(counts)),
            // Python 2.7 makes an ordered dict of a list of pairs.
            [Value::List(pairs)] if class == "collections.OrderedDict" => {
                pairs.iter().map(pair).collect()
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is of a module whose tuples are made in C; their pickles are a tuple and a dict.
fn is_struct_sequence(class: &str) -> bool {
    let module = class.rsplit_once('.').map_or("", |(module, _)| module);
    matches!(
        module,
        "os" | "posix" | "time" | "pwd" | "grp" | "spwd" | "resource" | "signal" | "sys"
    )
}

fn pair(value: &Value) -> Option<(Value, Value)> {
    match value {
        Value::List(pair) | Value::Tuple(pair) => match &pair[..] {
            [key, value] => Some((key.clone(), value.clone())),
            _ => None,
        },
        _ => None,
    }
}
