//! Values as one line of ASCII, as `tests/vectors/notation.py` writes them.

use crate::Value;

pub(super) fn notation(value: &Value) -> String {
    match value {
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => number.to_string(),
        Value::BigInt(number) => number.to_string(),
        Value::Float(number) if number.is_nan() => "fnan".into(),
        Value::Float(number) => format!("f{:016x}", number.to_bits()),
        Value::Text(text) => quote(text.chars().map(u32::from), |code| format!("\\u{{{code:x}}}")),
        Value::Bytes(bytes) => {
            let codes = bytes.iter().copied().map(u32::from);
            format!("b{}", quote(codes, |code| format!("\\x{code:02x}")))
        }
        Value::List(items) => format!("[{}]", all(items).join(", ")),
        Value::Tuple(items) => {
            let comma = if items.len() == 1 { "," } else { "" };
            format!("({}{comma})", all(items).join(", "))
        }
        Value::Set(items) => {
            let mut items = all(items);
            items.sort();
            format!("set({})", items.join(", "))
        }
        Value::Dict(entries) => dict(entries),
        Value::Object { class, args, kwargs, state, items, entries } => {
            let mut parts = vec![class.clone()];
            if !args.is_empty() {
                parts.push(format!("args={}", notation(&Value::Tuple(args.clone()))));
            }
            if !kwargs.is_empty() {
                parts.push(format!("kwargs={}", dict(kwargs)));
            }
            if let Some(state) = state {
                parts.push(format!("state={}", notation(state)));
            }
            if !items.is_empty() {
                parts.push(format!("items=[{}]", all(items).join(", ")));
            }
            if !entries.is_empty() {
                parts.push(format!("entries={}", dict(entries)));
            }
            format!("<{}>", parts.join(" "))
        }
        Value::Context { id, name, .. } => own("Context", &[number(*id), text(name)]),
        Value::Sender { context, handle, .. } => {
            own("Sender", &[number(*context), number(*handle)])
        }
        Value::Error(error) => {
            own("CallError", &[text(&error.class), text(&error.message), text(&error.traceback)])
        }
        Value::Dead(reason) => own("_DEAD", &[reason.as_deref().map_or(Value::None, text)]),
    }
}

fn own(class: &str, args: &[Value]) -> String {
    format!("<econtext.core.{class} args={}>", notation(&Value::Tuple(args.to_vec())))
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn number(number: u32) -> Value {
    Value::Int(number.into())
}

fn all(items: &[Value]) -> Vec<String> {
    items.iter().map(notation).collect()
}

fn dict(entries: &[(Value, Value)]) -> String {
    let entry = |(key, value): &_| format!("{}: {}", notation(key), notation(value));
    let mut entries: Vec<String> = entries.iter().map(entry).collect();
    entries.sort();
    format!("{{{}}}", entries.join(", "))
}

fn quote(codes: impl Iterator<Item = u32>, escape: impl Fn(u32) -> String) -> String {
    let mut quoted = String::from("'");
    for code in codes {
        match char::from_u32(code) {
            Some(plain @ ' '..='~') if plain != '\'' && plain != '\\' => quoted.push(plain),
            _ => quoted += &escape(code),
        }
    }
    quoted + "'"
}
