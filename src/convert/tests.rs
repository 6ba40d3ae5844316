use super::*;
use crate::BigInt;
use crate::pickle::{Limits, decode, encode};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

fn get<T: FromValue>(value: Value) -> Result<T> {
    T::from_value(value, &Context::detached())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn object(class: &str, args: Vec<Value>) -> Value {
    let Value::Object { class, kwargs, state, items, entries, .. } = Value::global(class.into())
    else {
        unreachable!()
    };
    Value::Object { class, args, kwargs, state, items, entries }
}

/// Its value, by each of the three ways to it, and back.
fn round_trip<T: ToValue + FromValue + PartialEq + Debug + Clone>(rust: T, value: Value) {
    assert_eq!(rust.to_value(), value);
    assert_eq!(rust.clone().into_value(), value);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    rust.encode(&mut encoder).unwrap();
    encoder.finish();
    assert_eq!(bytes, encode(&value).unwrap());
    assert_eq!(get::<T>(value).unwrap(), rust);
}

fn refused<T: FromValue + Debug>(value: Value, message: &str) {
    assert_eq!(get::<T>(value).unwrap_err().to_string(), message);
}

#[test]
fn std_types_survive_the_way_there_and_back() {
    round_trip(true, Value::Bool(true));
    round_trip(-5_i8, Value::Int(-5));
    round_trip(u64::MAX, Value::BigInt(BigInt::from(u128::from(u64::MAX))));
    round_trip(i128::MIN, Value::BigInt(BigInt::from(i128::MIN)));
    round_trip(u128::MAX, Value::BigInt(BigInt::from(u128::MAX)));
    round_trip(7_usize, Value::Int(7));
    round_trip(1.5_f64, Value::Float(1.5));
    round_trip(1.5_f32, Value::Float(1.5));
    round_trip(String::from("h\u{e9}"), text("h\u{e9}"));
    round_trip(Box::<str>::from("x"), text("x"));
    round_trip(Cow::Borrowed("x"), text("x"));
    round_trip('\u{e9}', text("\u{e9}"));
    round_trip(vec![1_i64, 2], Value::List(vec![Value::Int(1), Value::Int(2)]));
    round_trip(VecDeque::from([1_i64]), Value::List(vec![Value::Int(1)]));
    round_trip([1_u16, 2], Value::List(vec![Value::Int(1), Value::Int(2)]));
    round_trip(BTreeSet::from(['a']), Value::Set(vec![text("a")]));
    round_trip(HashSet::from([1_u8]), Value::Set(vec![Value::Int(1)]));
    round_trip(BTreeMap::from([(1_i64, 'a')]), Value::Dict(vec![(Value::Int(1), text("a"))]));
    round_trip(HashMap::from([(1_i64, 'a')]), Value::Dict(vec![(Value::Int(1), text("a"))]));
    round_trip(Some(5_i64), Value::Int(5));
    round_trip(None::<i64>, Value::None);
    round_trip(Box::new(5_i64), Value::Int(5));
    round_trip((1_i64, 'a'), Value::Tuple(vec![Value::Int(1), text("a")]));
    round_trip(PathBuf::from("/tmp"), text("/tmp"));
    round_trip(OsString::from_vec(b"\xff".to_vec()), Value::Bytes(b"\xff".to_vec()));
    round_trip(BigInt::from(u128::MAX), Value::BigInt(BigInt::from(u128::MAX)));
    round_trip((), Value::None);
}

#[test]
fn rows_of_u8_are_bytes_and_a_u8_is_an_int() {
    let bytes = Value::Bytes(b"ab".to_vec());
    round_trip(b"ab".to_vec(), bytes.clone());
    round_trip(*b"ab", bytes.clone());
    assert_eq!(b"ab".to_value(), bytes);
    assert_eq!(b"ab"[..].to_value(), bytes);
    assert_eq!((&b"ab"[..],).to_args(), std::slice::from_ref(&bytes));
    assert_eq!(vec![b"ab", b"ab"].to_value(), Value::List(vec![bytes.clone(), bytes]));
    round_trip(5_u8, Value::Int(5));
}

#[test]
fn borrowed_arguments_are_encoded_where_they_are() {
    let path = PathBuf::from("/tmp");
    let args = ("x", path.as_path(), OsStr::new("y"), &path, &[1.5][..], Some(&b"z"[..]));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    args.encode_args(&mut encoder).unwrap();
    encoder.finish();
    assert_eq!(decode(&bytes, &Limits::default()), Ok(Value::Tuple(args.to_args())));
    assert_eq!(().to_args(), []);
    assert_eq!(vec![Value::None].to_args(), [Value::None]);
}

#[test]
fn a_large_byte_string_is_copied_once_into_the_message() {
    let payload = vec![7_u8; 4 << 20];
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    (&payload[..],).encode_args(&mut encoder).unwrap();
    encoder.finish();
    assert!(bytes.capacity() < payload.len() + 100, "no doubling, so no moving");
    assert!(bytes.ends_with(&[7, 0x85, b'.']));
}

#[test]
fn an_error_tells_the_type_that_was_wanted_the_value_and_where_it_is() {
    refused::<i64>(text("abc"), "expected i64, got str 'abc'");
    refused::<u8>(Value::Int(300), "expected u8, got int 300");
    refused::<i64>(
        BigInt::from(1_i128 << 70).to_value(),
        "expected i64, got int 1180591620717411303424",
    );
    refused::<u64>(Value::Int(-1), "expected u64, got int -1");
    refused::<i64>(Value::Bool(true), "expected i64, got bool True");
    refused::<i64>(Value::Float(1.0), "expected i64, got float 1.0");
    refused::<bool>(Value::Int(1), "expected bool, got int 1");
    refused::<String>(Value::Bytes(b"\xff".to_vec()), "expected String, got bytes b'\\xff'");
    refused::<Vec<u8>>(text("a"), "expected Vec<u8>, got str 'a'");
    refused::<char>(text("ab"), "expected char, got str 'ab'");
    refused::<Vec<String>>(Value::None, "expected Vec<String>, got None");
    refused::<f64>(
        BigInt::from_le_bytes(&[1; 200]).to_value(),
        "expected f64, got int of 200 bytes",
    );
    let nested = Value::Dict(vec![(text("at x"), Value::List(vec![Value::Int(1), Value::None]))]);
    refused::<HashMap<String, Vec<i64>>>(nested, "expected i64 at ['at x'][1], got None");
    let keys = Value::Dict(vec![(Value::Int(1), Value::None)]);
    refused::<HashMap<String, ()>>(keys, "expected String at [key 1], got int 1");
    let pair = Value::Tuple(vec![Value::Int(1), Value::Int(2)]);
    refused::<(i64, Option<String>)>(pair.clone(), "expected String at [1], got int 2");
    refused::<(i64,)>(pair.clone(), "expected (i64,), got 2 items: tuple (1, 2)");
    refused::<[i64; 3]>(pair, "expected [i64; 3], got 2 items");
    refused::<HashMap<String, PathBuf>>(Value::None, "expected HashMap<String, PathBuf>, got None");
}

#[test]
fn python_2_strings_are_text_and_names() {
    let str = Value::Bytes(b"abc".to_vec());
    assert_eq!(get::<String>(str.clone()).unwrap(), "abc");
    assert_eq!(get::<PathBuf>(str.clone()).unwrap(), PathBuf::from("abc"));
    assert_eq!(get::<Vec<u8>>(str).unwrap(), b"abc");
    assert_eq!(get::<char>(Value::Bytes(b"a".to_vec())).unwrap(), 'a');
}

#[test]
fn an_int_converts_to_a_float() {
    assert_eq!(get::<f64>(Value::Int(3)).unwrap(), 3.0);
    assert_eq!(get::<f64>(BigInt::from(1_i128 << 100).to_value()).unwrap(), 2.0_f64.powi(100));
}

#[test]
fn named_tuples_and_struct_sequences_are_tuples() {
    let (a, b) = (Value::Int(1), text("b"));
    let named = object("app.Point", vec![a.clone(), b.clone()]);
    assert_eq!(get::<(i64, String)>(named).unwrap(), (1, "b".into()));
    let shown = Value::Tuple(vec![a.clone(), b.clone()]);
    let stat = object("os.stat_result", vec![shown.clone(), Value::Dict(vec![(b, a)])]);
    assert_eq!(get::<(i64, String)>(stat.clone()).unwrap(), (1, "b".into()));
    assert_eq!(get::<Vec<Value>>(stat).unwrap().len(), 2);
    // Of a user's own module it is a named tuple of a tuple and a dict.
    let named = object("app.Pair", vec![shown, Value::Dict(vec![])]);
    let (_, empty): ((i64, String), HashMap<String, i64>) = get(named).unwrap();
    assert!(empty.is_empty());
}

#[test]
fn subclasses_of_dict_and_list_convert_like_their_base() {
    let entries = vec![(text("a"), Value::Int(1))];
    let wanted = HashMap::from([(String::from("a"), 1_i64)]);
    let pair = Value::List(vec![text("a"), Value::Int(1)]);
    for value in [
        Value::Object {
            class: "collections.defaultdict".into(),
            args: vec![Value::global("int".into())],
            kwargs: vec![],
            state: None,
            items: vec![],
            entries: entries.clone(),
        },
        object("collections.OrderedDict", vec![Value::List(vec![pair])]),
        object("collections.Counter", vec![Value::Dict(entries)]),
    ] {
        assert_eq!(get::<HashMap<String, i64>>(value).unwrap(), wanted);
    }
    let empty = object("collections.OrderedDict", vec![]);
    assert_eq!(get::<BTreeMap<String, i64>>(empty).unwrap(), BTreeMap::new());
    let queue = object("collections.deque", vec![Value::List(vec![Value::Int(1)]), Value::None]);
    assert_eq!(get::<Vec<i64>>(queue).unwrap(), [1]);
    let path = object("pathlib.PosixPath", vec![text("/"), text("tmp")]);
    assert_eq!(get::<PathBuf>(path).unwrap(), PathBuf::from("/tmp"));
}

#[test]
fn nothing_is_what_discards_a_result() {
    get::<()>(object("app.Thing", vec![Value::None])).unwrap();
}
