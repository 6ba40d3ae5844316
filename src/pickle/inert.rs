//! What a call of a class is as data: a built-in value, one of the project's own, or an inert object.
//!
//! Nothing is ever called. A call that does not look as the picklers write it stays an object, for the user to
//! see; only one that claims to be the project's own has to be right.

use crate::CallError;
use crate::value::{RouterId, Value};

/// `callable(*args, **kwargs)`, and what was done to the result.
pub(super) struct Call {
    pub(super) callable: Value,
    pub(super) args: Vec<Value>,
    pub(super) kwargs: Vec<(Value, Value)>,
    pub(super) state: Option<Box<Value>>,
    pub(super) items: Vec<Value>,
    pub(super) entries: Vec<(Value, Value)>,
}

/// The value of a call, or one line that says what is wrong with it. Ids in it are of `router`.
pub(super) fn interpret(call: Call, router: Option<RouterId>) -> Result<Value, String> {
    let Call { callable, mut args, mut kwargs, state, mut items, mut entries } = call;
    let mut class = match callable.as_global() {
        Some(class) => String::from(class),
        // Such as a `functools.partial`, called: `operator.call(f, ...)` is Python's name for that.
        None => {
            args.insert(0, callable);
            "operator.call".into()
        }
    };
    let only_args = kwargs.is_empty() && state.is_none() && items.is_empty() && entries.is_empty();
    if let Some(own @ ("Context" | "Sender" | "CallError" | "_DEAD")) =
        class.strip_prefix("econtext.core.")
    {
        if only_args {
            if let Some(value) = project_own(own, args, router) {
                return Ok(value);
            }
        }
        return Err(format!("a {own} of econtext.core with wrong arguments"));
    }
    if only_args {
        if let Some(value) = built_in(&class, &mut args) {
            return Ok(value);
        }
    }
    // What the picklers write around the real class.
    match (class.as_str(), &mut args[..]) {
        ("copy_reg.__newobj__" | "copyreg.__newobj__", [real, ..]) => {
            if let Some(real) = real.as_global().map(String::from) {
                class = real;
                args.remove(0);
            }
        }
        (
            "copy_reg.__newobj_ex__" | "copyreg.__newobj_ex__",
            [real, Value::Tuple(positional), Value::Dict(named)],
        ) => {
            if let Some(real) = real.as_global().map(String::from) {
                class = real;
                kwargs = std::mem::take(named);
                args = std::mem::take(positional);
            }
        }
        ("copy_reg._reconstructor" | "copyreg._reconstructor", [real, base, content]) => {
            // Protocols 0 and 1: the class, the built-in type that it extends, and what is in that.
            if let (Some(real), Some(base)) = (real.as_global().map(String::from), base.as_global())
            {
                class = real;
                let content = std::mem::replace(content, Value::None);
                args = match (base, content) {
                    ("object", _) => Vec::new(),
                    ("tuple", Value::Tuple(content)) => content,
                    ("list", Value::List(mut content)) => {
                        content.append(&mut items);
                        items = content;
                        Vec::new()
                    }
                    ("dict", Value::Dict(mut content)) => {
                        content.append(&mut entries);
                        entries = content;
                        Vec::new()
                    }
                    (_, content) => vec![content],
                };
            }
        }
        _ => {}
    }
    Ok(Value::Object { class, args, kwargs, state, items, entries })
}

/// The built-in types that older protocols have no opcode for; takes the arguments only if it is one.
fn built_in(class: &str, args: &mut [Value]) -> Option<Value> {
    match (class, args) {
        // What Python 3 makes of bytes in protocols that know only text.
        ("_codecs.encode", [Value::Text(text), encoding]) if is_latin1(encoding) => latin1(text),
        ("bytes" | "bytearray", []) => Some(Value::Bytes(Vec::new())),
        ("bytes" | "bytearray", [Value::Bytes(bytes)]) => Some(Value::Bytes(std::mem::take(bytes))),
        ("bytes" | "bytearray", [Value::Text(text), encoding]) if is_latin1(encoding) => {
            latin1(text)
        }
        ("bytes" | "bytearray", [Value::List(numbers)]) => {
            let byte = |number: &Value| match number {
                Value::Int(number) => u8::try_from(*number).ok(),
                _ => None,
            };
            numbers.iter().map(byte).collect::<Option<Vec<u8>>>().map(Value::Bytes)
        }
        ("set" | "frozenset", []) => Some(Value::Set(Vec::new())),
        ("set" | "frozenset", [Value::List(items) | Value::Tuple(items)]) => {
            Some(Value::Set(std::mem::take(items)))
        }
        // What protocols before 4 make of a nested class.
        ("getattr", [outer, Value::Text(name)]) => nested_class(outer, name),
        ("getattr", [outer, Value::Bytes(name)]) => {
            nested_class(outer, std::str::from_utf8(name).ok()?)
        }
        _ => None,
    }
}

/// Joins names only of a sensible length: a chain of long ones would be copied again at each level.
fn nested_class(outer: &Value, name: &str) -> Option<Value> {
    let outer = outer.as_global()?;
    (outer.len() + name.len() < 4096).then(|| Value::global(format!("{outer}.{name}")))
}

fn is_latin1(encoding: &Value) -> bool {
    let name = match encoding {
        Value::Text(name) => name.as_bytes(),
        Value::Bytes(name) => name,
        _ => return false,
    };
    matches!(name, b"latin1" | b"latin-1")
}

fn latin1(text: &str) -> Option<Value> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect::<Option<_>>()
        .map(Value::Bytes)
}

fn project_own(name: &str, args: Vec<Value>, router: Option<RouterId>) -> Option<Value> {
    let mut args = args.into_iter();
    let value = match name {
        "Context" => {
            Value::Context { id: number(args.next()?)?, name: string(args.next()?)?, router }
        }
        "Sender" => {
            Value::Sender { context: number(args.next()?)?, handle: number(args.next()?)?, router }
        }
        "CallError" => Value::Error(CallError {
            class: string(args.next()?)?,
            message: string(args.next()?)?,
            traceback: string(args.next()?)?,
            ..CallError::default()
        }),
        "_DEAD" => Value::Dead(match args.next()? {
            Value::None => None,
            reason => Some(string(reason)?),
        }),
        _ => return None,
    };
    args.next().is_none().then_some(value)
}

fn number(value: Value) -> Option<u32> {
    match value {
        Value::Int(number) => u32::try_from(number).ok(),
        _ => None,
    }
}

/// Text that has to be there: what is not UTF-8 in it is replaced, since an error is better read than refused.
fn string(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}
