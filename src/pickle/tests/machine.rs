//! The opcodes, on pickles written by hand.

use super::*;

#[test]
fn a_list_that_grows_after_it_was_memoised_is_whole_in_both_places() {
    let both = Value::List(vec![Value::Int(1)]);
    // (l, l) with l filled after the first reference to it was made.
    assert_eq!(read(b"]q\x00h\x00K\x01a\x86."), Ok(Value::Tuple(vec![both.clone(), both])));
}

#[test]
fn what_contains_itself_is_refused() {
    let reason = "a value that contains itself";
    assert_eq!(refusal(b"]q\x00h\x00a."), (reason.into(), 6));
    assert_eq!(refusal(b"}q\x00K\x01h\x00s.").0, reason);
    assert_eq!(refusal(b"]q\x00h\x00h\x00\x86a.").0, reason);
    // An object whose state holds the object.
    assert_eq!(refusal(b"ca\nb\n)\x81q\x00}K\x01h\x00sb.").0, reason);
}

#[test]
fn copies_out_of_the_memo_are_paid_for() {
    // Each list holds the one before ten times.
    let mut bomb = b"]q\x00".to_vec();
    for index in 1..=20_u8 {
        bomb.extend(b"](");
        bomb.extend([b'h', index - 1].repeat(10));
        bomb.extend([b'e', b'q', index]);
    }
    bomb.push(b'.');
    assert_eq!(refusal(&bomb).0, "more values than a message may hold");

    let mut bomb = b"X\x00\x00\x10\x00".to_vec();
    bomb.extend(vec![b'x'; 1 << 20]);
    bomb.extend(b"q\x00](");
    bomb.extend(b"h\x00".repeat(300));
    bomb.extend(b"e.");
    assert_eq!(refusal(&bomb).0, "more bytes of text than a message may hold");
}

#[test]
fn many_values_in_few_bytes_are_refused() {
    let limits = Limits { message: 1000, values: 1000, bytes: 1000, router: None };
    for filler in ["N", "2", "(", "]", "h\0"] {
        let bomb = format!("Nq\0{}", filler.repeat(2000));
        let error = decode(bomb.as_bytes(), &limits).unwrap_err();
        assert_eq!(error.reason, "more values than a message may hold", "{filler:?}");
    }
}

#[test]
fn nesting_is_limited_to_256() {
    let deep = |depth| [b"]".repeat(depth), b"a".repeat(depth - 1), b".".to_vec()].concat();
    assert_eq!(read(&deep(256)), Ok(nested(256)));
    assert_eq!(refusal(&deep(257)).0, "nested more than 256 deep");
    assert_eq!(refusal(&deep(1_000_000)).0, "nested more than 256 deep");
}

#[test]
fn a_pickle_cut_at_any_byte_tells_where_it_ends() {
    for value in samples() {
        let whole = encode(&value).unwrap();
        let step = whole.len().div_ceil(500);
        for cut in (0..whole.len()).step_by(step) {
            assert_eq!(refusal(&whole[..cut]), ("truncated".into(), cut), "{value:?}");
        }
    }
}

#[test]
fn a_length_that_the_input_does_not_hold_allocates_nothing() {
    for start in ["X", "T", "B", "\u{8d}", "\u{8e}", "\u{96}", "\u{8b}", "\u{95}"] {
        let mut data: Vec<u8> = start.chars().map(|opcode| opcode as u8).collect();
        data.extend(b"\xff\xff\xff\x7f\xff\xff\xff\xffabc");
        assert_eq!(refusal(&data), ("truncated".into(), data.len()), "{start}");
    }
}

#[test]
fn what_the_machine_refuses() {
    for (data, reason, offset) in [
        (&b"N.N"[..], "bytes after the end", 2),
        (b"\x80\x06N.", "protocol 6", 0),
        (b"NPid\n.", "a persistent id: nobody here knows it", 1),
        (b"N\x82\x01.", "an extension code: nobody here knows it", 1),
        (b"\x97.", "a buffer that is not in the pickle", 0),
        (b"\xff.", "no opcode: 0xff", 0),
        (b".", "nothing on the stack", 0),
        (b"N(.", "nothing on the stack", 2),
        (b"Ne.", "no mark on the stack", 1),
        (b"N(Ne.", "items for what cannot hold them", 3),
        (b"}(K\x01u.", "a key without a value", 4),
        (b"(K\x01d.", "a key without a value", 3),
        (b"h\x05.", "nothing in the memo at 5", 0),
        (b"Nr\xff\xff\xff\xff.", "memo index 4294967295 out of order", 1),
        (b"NNR.", "arguments that are no tuple", 2),
        (b"N)N\x92.", "keyword arguments that are no dict", 3),
        (b"NNb.", "a state for what is not an object", 2),
        (b"(o.", "an object without a class", 1),
        (b"NN\x93.", "the name of a global that is not text", 2),
        (b"c\xff\nx\n.", "the name of a global that is not UTF-8", 0),
        (b"U\x01\xffX\x01\x00\x00\x00\xff.", "text that is not UTF-8 from its byte 0 on", 3),
        (b"T\xff\xff\xff\xff.", "a length below zero", 0),
        (b"Ix\n.", "no int", 0),
        (b"L\n.", "no int", 0),
        (b"Fx\n.", "no float", 0),
        (b"Sx\n.", "no string in quotes", 0),
        (b"V\\u12\n.", "an escape that is none", 0),
        (b"V\\U00110000\n.", "an escape that is none", 0),
        (b"gx\n.", "no memo index", 0),
        (b"cecontext.core\nSender\nN\x85R.", "a Sender of econtext.core with wrong arguments", 25),
    ] {
        assert_eq!(refusal(data), (reason.into(), offset), "{}", data.escape_ascii());
    }
    let long = format!("L{}L\n.", "9".repeat(5000));
    assert_eq!(refusal(long.as_bytes()).0, "an int of more than 4300 digits as text");
    let error = read(b"N").unwrap_err();
    assert_eq!(error.to_string(), "truncated at byte 1 of the pickle");
}

#[test]
fn text_forms_of_protocol_0() {
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    for (data, value) in [
        (&b"I01\n."[..], Value::Bool(true)),
        (b"I00\n.", Value::Bool(false)),
        (b"I1\n.", Value::Int(1)),
        (b"I4294967296\n.", Value::Int(1 << 32)),
        (b"L-5L\n.", Value::Int(-5)),
        (b"F-inf\n.", Value::Float(f64::NEG_INFINITY)),
        (b"F1e+300\n.", Value::Float(1e300)),
        (b"S'a\\n\\x00\\\\\\'\"\\101\\q'\n.", bytes(b"a\n\0\\'\"A\\q")),
        (b"Va\xe9\\u20ac\\U0001f600\\u005c\n.", text("a\u{e9}\u{20ac}\u{1f600}\\")),
        (b"V\\ud83d\\ude00\n.", text("\u{1f600}")),
        (b"V\\udce9x\n.", bytes(b"\xe9x")),
        (b"V\\ud83d\n.", bytes(b"\xed\xa0\xbd")),
    ] {
        assert_eq!(read(data), Ok(value), "{}", data.escape_ascii());
    }
}

#[test]
fn surrogate_escapes_are_the_bytes_that_they_stand_for() {
    let name = b"X\x08\x00\x00\x00a\xed\xb2\x80\xed\xb3\xbfb.";
    assert_eq!(read(name), Ok(Value::Bytes(b"a\x80\xffb".to_vec())));
    let mixed = b"X\x06\x00\x00\x00\xed\xb2\x80\xed\xa0\x80.";
    assert_eq!(read(mixed), Ok(Value::Bytes(b"\x80\xed\xa0\x80".to_vec())));
}

#[test]
fn objects_are_data() {
    let (point, one) = ("app.Point", Value::Int(1));
    let mut with_state = object(point, vec![]);
    if let Value::Object { state, .. } = &mut with_state {
        *state = Some(Box::new(Value::Dict(vec![(text("x"), one.clone())])));
    }
    for (data, value) in [
        (&b"capp\nPoint\n."[..], object(point, vec![])),
        (b"capp\nPoint\n)R}X\x01\0\0\0xK\x01sb.", with_state.clone()),
        (b"(iapp\nPoint\n}X\x01\0\0\0xK\x01sb.", with_state.clone()),
        (b"(capp\nPoint\no}X\x01\0\0\0xK\x01sb.", with_state),
        (b"\x8c\x03app\x8c\x05Point\x93K\x01\x85\x81.", object(point, vec![one.clone()])),
        (b"ccopy_reg\n__newobj__\ncapp\nPoint\nK\x01\x86R.", object(point, vec![one.clone()])),
        (
            b"ccopy_reg\n_reconstructor\ncapp\nPoint\nc__builtin__\nobject\nN\x87R.",
            object(point, vec![]),
        ),
        (
            b"ccopy_reg\n_reconstructor\ncapp\nPoint\nc__builtin__\nint\nK\x01\x87R.",
            object(point, vec![one.clone()]),
        ),
        (b"c__builtin__\ngetattr\ncapp\nA\nX\x01\0\0\0B\x86R.", object("app.A.B", vec![])),
        (b"cexceptions\nKeyError\nK\x01\x85R.", object("KeyError", vec![one.clone()])),
        // A partial that is called.
        (
            b"cfunctools\npartial\nK\x01\x85RK\x01\x85R.",
            object(
                "operator.call",
                vec![object("functools.partial", vec![one.clone()]), one.clone()],
            ),
        ),
    ] {
        assert_eq!(read(data), Ok(value), "{}", data.escape_ascii());
    }
    let keywords = b"capp\nPoint\nK\x01\x85}X\x01\0\0\0yK\x01s\x92.";
    let Ok(Value::Object { args, kwargs, .. }) = read(keywords) else { panic!("no object") };
    assert_eq!((args, kwargs), (vec![one.clone()], vec![(text("y"), one.clone())]));
    let subclasses = b"capp\nL\n)\x81(K\x01K\x01eK\x01K\x01s.";
    let Ok(Value::Object { items, entries, .. }) = read(subclasses) else { panic!("no object") };
    assert_eq!((items.len(), entries), (2, vec![(one.clone(), one)]));
}

#[test]
fn long_names_out_of_the_memo_are_paid_for() {
    let mut bomb = b"X\x00\x00\x10\x00".to_vec();
    bomb.extend(vec![b'x'; 1 << 20]);
    bomb.extend(b"q\x00");
    bomb.extend(b"h\x00h\x00\x93".repeat(300));
    assert_eq!(refusal(&bomb).0, "more bytes of text than a message may hold");
}
