use super::*;
use crate::{BigInt, CallError, Value};

mod fuzz;
mod machine;
mod notation;
mod pythons;
mod random;
mod vectors;

/// Decodes with the limits of an ordinary message.
fn read(data: &[u8]) -> Result<Value, DecodeError> {
    decode(data, &Limits::default())
}

/// The reason and the offset of the refusal.
fn refusal(data: &[u8]) -> (String, usize) {
    let error = read(data).unwrap_err();
    (error.reason, error.offset)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// An object that is nothing but a call of its class.
fn object(class: &str, args: Vec<Value>) -> Value {
    let (class, kwargs, items, entries) = (class.into(), vec![], vec![], vec![]);
    Value::Object { class, args, kwargs, state: None, items, entries }
}

/// `depth` lists in each other.
fn nested(depth: usize) -> Value {
    (1..depth).fold(Value::List(vec![]), |inner, _| Value::List(vec![inner]))
}

/// One of each, with the corners of what they can hold.
fn samples() -> Vec<Value> {
    let mut samples = vec![
        Value::None,
        Value::Bool(true),
        Value::Bool(false),
        Value::Float(-0.5),
        Value::Float(f64::INFINITY),
        text(""),
        text("a\u{0}\u{e9}\u{20ac}\u{1f600}\n'\\"),
        Value::Bytes(vec![]),
        Value::Bytes((0..=255).collect()),
        Value::Bytes(vec![b'x'; 300]),
        Value::List((0..2000).map(Value::Int).collect()),
        Value::Dict(vec![(text("a"), nested(3)), (Value::Int(1), Value::Dict(vec![]))]),
        Value::Set(vec![]),
        Value::Set(vec![Value::Int(5)]),
        Value::Context { id: 5, name: "local.5".into(), router: None },
        Value::Sender { context: 0, handle: u32::MAX, router: None },
        Value::Dead(None),
        Value::Dead(Some("gone".into())),
        Value::Error(CallError {
            class: "ValueError".into(),
            message: "x".into(),
            traceback: "Traceback\n".into(),
            ..CallError::default()
        }),
        nested(MAX_DEPTH),
        Value::BigInt(BigInt::from_le_bytes(&[0x55; 300])),
    ];
    samples.extend((0..5).map(|count| Value::Tuple(vec![Value::Int(1); count])));
    for bits in 0..64 {
        let power = 1_i64 << bits;
        samples
            .extend([power, power.wrapping_sub(1), power.wrapping_neg(), !power].map(Value::Int));
    }
    for number in [i128::from(i64::MAX) + 1, i128::from(i64::MIN) - 1, i128::MAX, i128::MIN] {
        samples.push(Value::BigInt(BigInt::from(number)));
    }
    samples
}

#[test]
fn each_kind_of_value_survives_the_way_there_and_back() {
    for value in samples() {
        assert_eq!(read(&encode(&value).unwrap()), Ok(value));
    }
}

#[test]
fn protocol_2_as_pickletools_has_it() {
    for (value, bytes) in [
        (Value::Int(255), &b"\x80\x02K\xff."[..]),
        (Value::Int(256), b"\x80\x02M\x00\x01."),
        (Value::Int(-1), b"\x80\x02J\xff\xff\xff\xff."),
        (Value::Int(1 << 31), b"\x80\x02\x8a\x05\x00\x00\x00\x80\x00."),
        (text("\u{e9}"), b"\x80\x02X\x02\x00\x00\x00\xc3\xa9."),
        (Value::Bytes(b"ab".to_vec()), b"\x80\x02U\x02ab."),
        (Value::Float(1.0), b"\x80\x02G\x3f\xf0\0\0\0\0\0\0."),
        (Value::Tuple(vec![Value::None, Value::Bool(true)]), b"\x80\x02N\x88\x86."),
        (Value::Set(vec![Value::Int(1)]), b"\x80\x02c__builtin__\nset\n](K\x01e\x85R."),
        (Value::Dead(None), b"\x80\x02cecontext.core\n_DEAD\nN\x85R."),
    ] {
        assert_eq!(encode(&value).unwrap(), bytes, "{value:?}");
    }
}

#[test]
fn what_cannot_be_sent_says_why() {
    let error = |value: &Value| encode(value).unwrap_err().to_string();
    assert_eq!(error(&nested(MAX_DEPTH + 1)), "nested more than 256 deep");
    assert_eq!(
        error(&Value::List(vec![object("decimal.Decimal", vec![text("1.5")])])),
        "an object decimal.Decimal('1.5') cannot be sent"
    );
}

#[test]
fn a_pickle_is_appended_and_its_senders_are_told() {
    let mut out = b"header".to_vec();
    let mut encoder = Encoder::new(&mut out);
    let sender = Value::Sender { context: 3, handle: 1001, router: None };
    encoder.value(&Value::List(vec![sender.clone(), Value::Tuple(vec![sender])])).unwrap();
    assert_eq!(encoder.finish(), [(3, 1001), (3, 1001)]);
    assert!(out.starts_with(b"header\x80\x02"));
}

#[test]
fn the_deepest_value_drops_on_a_small_stack() {
    let deepest = encode(&nested(MAX_DEPTH)).unwrap();
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(move || drop(read(&deepest).unwrap()))
        .unwrap()
        .join()
        .unwrap();
}
