//! Promise: what can be sent to Python comes back as it was, and what Python has of its own converts to
//! what is nearest to it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use econtext::{BigInt, Context, Error, FromValue, Local, Router, ToArgs, ToValue, Value};

mod support;

use support::{Python, TempDir, for_each_kind_of_python, isolated};

const ECHO: &str = "
import collections

def echo(value):
    return value

def kind(value):
    return type(value).__name__

def gather(*args):
    return args

def text(value):
    return repr(value)

def power(exponent):
    return 1 << exponent

Pair = collections.namedtuple('Pair', 'left right')

def pair():
    return Pair(1, 'two')

class Point(object):
    def __init__(self, x, y):
        self.x, self.y = x, y

def point(x, y):
    return Point(x, y)

class Stack(list):
    pass

def kin():
    ordered = collections.OrderedDict([('z', 1), ('a', 2)])
    grouped = collections.defaultdict(list, {'a': [1]})
    return ordered, grouped, collections.Counter('aab'), collections.deque([1, 2], 5), Stack([3])

def others():
    return frozenset([1]), bytearray(b'ab'), 1 + 2j, int
";

/// Runs `body` with a context of each kind of Python.
fn for_each_context(body: impl Fn(&Python, &Context)) {
    let router = Router::new().unwrap();
    router.modules().source("echo", ECHO);
    for_each_kind_of_python(|python| {
        body(python, &router.connect(Local::new().python(&python.path)).unwrap());
    });
    router.shutdown().unwrap();
}

#[track_caller]
fn assert_comes_back<T: ToValue + FromValue + PartialEq + Debug>(context: &Context, value: T) {
    let back: T = context.call("echo:echo", (&value,)).unwrap();
    assert!(back == value, "{value:?} came back as {back:?}");
}

#[test]
fn ints_of_any_size_come_back() {
    isolated(|| {
        for_each_context(|_, context| {
            for number in [0, 1, -1, 127, 128, 255, 256, -128, -129, 65535, 65536, 1 << 31, 1 << 32]
            {
                assert_comes_back::<i64>(context, number);
                assert_comes_back::<i64>(context, -number);
            }
            assert_comes_back(context, (i64::MIN, i64::MAX, u64::MAX, i32::MIN, u32::MAX));
            assert_comes_back(context, (i128::MIN, i128::MAX, u128::MAX, 1_i128 << 64));
            assert_comes_back(context, (i8::MIN, u8::MAX, i16::MIN, u16::MAX, usize::MAX));
            let huge: BigInt = context.call("echo:power", (20_000,)).unwrap();
            assert_eq!(huge.as_le_bytes().len(), 2501);
            assert_comes_back(context, huge);
            assert_comes_back(context, (true, false));
        });
    });
}

#[test]
fn floats_come_back_to_the_bit() {
    isolated(|| {
        for_each_context(|_, context| {
            let tiny = f64::from_bits(1);
            for number in [0.0, -0.0, 0.1, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, tiny] {
                let back: f64 = context.call("echo:echo", (number,)).unwrap();
                assert_eq!(back.to_bits(), number.to_bits(), "{number:?} came back as {back:?}");
            }
            assert!(context.call::<f64>("echo:echo", (f64::NAN,)).unwrap().is_nan());
            // An int is a float, where one is wanted; a float is no int.
            assert_eq!(context.call::<f64>("echo:echo", (3,)).unwrap(), 3.0);
            let error = context.call::<i64>("echo:echo", (3.0,)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("expected i64, got float 3.0 from the call of echo:echo in {context}")
            );
        });
    });
}

#[test]
fn text_and_bytes_come_back_and_are_told_apart() {
    isolated(|| {
        let all_bytes: Vec<u8> = (0..=255).collect();
        for_each_context(|python, context| {
            let texts =
                ["", "plain", "na\u{ef}ve", "\u{65e5}\u{672c}", "\u{1f40d}\u{10ffff}", "\0'\"\\\n"];
            for text in texts {
                assert_comes_back(context, text.to_string());
                assert_eq!(context.call::<Value>("echo:echo", (text,)).unwrap(), text.to_value());
            }
            assert_comes_back(context, 'x');
            assert_comes_back(context, all_bytes.clone());
            assert_comes_back(context, all_bytes.repeat(300));
            assert_comes_back(context, *b"four");
            assert_eq!(
                context.call::<Value>("echo:echo", (&all_bytes[..],)).unwrap(),
                Value::Bytes(all_bytes.clone())
            );
            let kinds: (String, String, String) = (
                context.call("echo:kind", ("text",)).unwrap(),
                context.call("echo:kind", (b"bytes",)).unwrap(),
                context.call("echo:kind", (Cow::Borrowed("text"),)).unwrap(),
            );
            let (text, bytes) =
                if python.version.0 == 2 { ("unicode", "str") } else { ("str", "bytes") };
            assert_eq!(kinds, (text.into(), bytes.into(), text.into()));
        });
    });
}

#[test]
fn names_of_files_that_are_not_utf8_come_back_and_can_be_opened() {
    isolated(|| {
        let dir = TempDir::new();
        let name = OsStr::from_bytes(b"caf\xe9\xff.txt");
        let path = dir.path().join(name);
        std::fs::write(&path, "content").unwrap();
        for_each_context(|python, context| {
            assert_comes_back(context, path.clone());
            assert_comes_back(context, OsString::from("na\u{ef}ve"));
            // Asked for with text, Python 3 gives such names as surrogate escapes, 2.7 as bytes.
            let names: Vec<OsString> = context.call("os:listdir", (dir.path(),)).unwrap();
            assert_eq!(names, [name]);
            let size: (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64) =
                context.call("os:stat", (Path::new(&path),)).unwrap();
            assert_eq!(size.6, 7);
            if python.version.0 == 3 {
                let joined: PathBuf = context.call("pathlib:PurePosixPath", ("/a", "b")).unwrap();
                assert_eq!(joined, Path::new("/a/b"));
            }
        });
    });
}

#[test]
fn containers_come_back_nested_and_empty() {
    isolated(|| {
        for_each_context(|_, context| {
            assert_comes_back(context, vec![vec![1_i64, 2], vec![], vec![3]]);
            assert_comes_back(context, Vec::<String>::new());
            assert_comes_back(context, [1.5, 2.5]);
            assert_comes_back(context, VecDeque::from([Some(1_u8), None]));
            assert_comes_back(context, HashMap::from([("a".to_string(), vec![Some(1_i64), None])]));
            assert_comes_back(context, BTreeMap::from([((1_i64, 'a'), ()), ((2, 'b'), ())]));
            assert_comes_back(context, HashMap::<String, i64>::new());
            assert_comes_back(context, HashSet::from([1_i64, 2, 1 << 40]));
            assert_comes_back(context, BTreeSet::from(["a".to_string(), String::new()]));
            assert_comes_back(context, Option::<i64>::None);
            assert_comes_back(context, Some("text".to_string()));
            assert_comes_back(context, Box::new(5_i64));
            let deep = (0..250).fold(Value::None, |inner, _| Value::List(vec![inner]));
            assert_comes_back(context, deep);
            let of_all = Value::Dict(vec![
                (Value::Int(1), Value::Tuple(vec![Value::Bool(true), Value::Float(0.5)])),
                (Value::Text("b".into()), Value::Set(vec![Value::Bytes(vec![0, 255])])),
                (Value::Tuple(vec![]), Value::Dict(vec![])),
            ]);
            assert_comes_back(context, of_all);
        });
    });
}

#[test]
fn arguments_and_tuples_of_up_to_twelve() {
    fn both_ways<T>(context: &Context, tuple: T)
    where
        T: ToArgs + ToValue + FromValue + PartialEq + Debug,
    {
        let gathered: T = context.call("echo:gather", tuple.to_args()).unwrap();
        assert_eq!(gathered, tuple);
        assert_comes_back(context, tuple);
    }
    isolated(|| {
        for_each_context(|_, context| {
            let none: Value = context.call("echo:gather", ()).unwrap();
            assert_eq!(none, Value::Tuple(vec![]));
            both_ways(context, (1,));
            both_ways(context, (1, 2));
            both_ways(context, (1, 2, 3));
            both_ways(context, (1, 2, 3, 4));
            both_ways(context, (1, 2, 3, 4, 5));
            both_ways(context, (1, 2, 3, 4, 5, 6));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7, 8));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7, 8, 9));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
            both_ways(context, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
            both_ways(context, (Some(1), None::<i64>, "a".to_string(), 1.5, vec![0_u8, 255]));
            let many: Vec<Value> = (0..1000).map(Value::Int).collect();
            let back: Vec<i64> = context.call("echo:gather", many).unwrap();
            assert_eq!(back, Vec::from_iter(0..1000));
        });
    });
}

#[test]
fn named_tuples_and_struct_sequences_become_tuples() {
    isolated(|| {
        for_each_context(|_, context| {
            let pair: (i64, String) = context.call("echo:pair", ()).unwrap();
            assert_eq!(pair, (1, "two".into()));
            let epoch: (i64, i64, i64, i64, i64, i64, i64, i64, i64) =
                context.call("time:gmtime", (0,)).unwrap();
            assert_eq!(epoch, (1970, 1, 1, 0, 0, 0, 3, 1, 0));
            let uname: Vec<String> = context.call("os:uname", ()).unwrap();
            assert_eq!((uname.len(), &uname[0][..]), (5, "Linux"));
            let root: (String, Value, i64, i64, Value, String, String) =
                context.call("pwd:getpwuid", (0,)).unwrap();
            assert_eq!((&root.0[..], root.2), ("root", 0));
            let stat: Vec<Value> = context.call("os:stat", ("/",)).unwrap();
            assert_eq!(stat.len(), 10);
        });
    });
}

#[test]
fn subclasses_of_built_in_classes_convert_like_these() {
    type Kin =
        (Vec<(String, i64)>, HashMap<String, Vec<i64>>, HashMap<String, i64>, Vec<i64>, Vec<i64>);
    isolated(|| {
        for_each_context(|_, context| {
            let (_, grouped, counted, queue, stack): (Value, _, _, _, _) =
                context.call("echo:kin", ()).unwrap();
            let kin: Kin = (vec![], grouped, counted, queue, stack);
            assert_eq!(kin.1, HashMap::from([("a".into(), vec![1])]));
            assert_eq!(kin.2, HashMap::from([("a".into(), 2), ("b".into(), 1)]));
            assert_eq!((kin.3, kin.4), (vec![1, 2], vec![3]));
            let ordered: (BTreeMap<String, i64>, (), (), (), ()) =
                context.call("echo:kin", ()).unwrap();
            assert_eq!(ordered.0, BTreeMap::from([("a".into(), 2), ("z".into(), 1)]));
            let (set, bytes, complex, class): (BTreeSet<i64>, Vec<u8>, Value, Value) =
                context.call("echo:others", ()).unwrap();
            assert_eq!((set, &bytes[..]), (BTreeSet::from([1]), &b"ab"[..]));
            let Value::Object { class: of, args, .. } = complex else { panic!("{complex:?}") };
            assert_eq!((&of[..], &args[..]), ("complex", &[1.0, 2.0].map(Value::Float)[..]));
            let Value::Object { class: name, args, .. } = class else { panic!("{class:?}") };
            assert_eq!((&name[..], args.len()), ("int", 0));
        });
    });
}

#[test]
fn an_object_of_an_unknown_class_arrives_as_inert_data() {
    isolated(|| {
        for_each_context(|_, context| {
            let object: Value = context.call("echo:point", (1, "b")).unwrap();
            let Value::Object { class, state: Some(state), .. } = &object else {
                panic!("{object:?}");
            };
            assert_eq!(class, "echo.Point");
            let Value::Dict(entries) = &**state else { panic!("{state:?}") };
            let name = |value: &Value| match value {
                Value::Text(text) => text.clone(),
                Value::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                other => panic!("{other:?}"),
            };
            let entries: BTreeMap<_, _> =
                entries.iter().map(|(key, value)| (name(key), value.clone())).collect();
            let wanted = [("x", Value::Int(1)), ("y", Value::Text("b".into()))];
            assert_eq!(entries, wanted.map(|(name, value)| (name.to_string(), value)).into());

            let error = context.call::<String>("echo:point", (1, 2)).unwrap_err();
            assert!(error.to_string().starts_with("expected String, got an object echo.Point("));
            let error = context.call::<()>("echo:echo", (object,)).unwrap_err();
            assert!(matches!(error, Error::Send { .. }), "{error}");
        });
    });
}

#[test]
fn a_context_converts_to_a_handle_that_can_be_called() {
    isolated(|| {
        for_each_context(|_, context| {
            let back: Context = context.call("echo:echo", (context,)).unwrap();
            assert_eq!(&back, context);
            let pid: u32 = back.call("os:getpid", ()).unwrap();
            assert_eq!(pid, context.info().unwrap().pid);
        });
    });
}
