//! Promise: a frame that is not what it should be ends the stream, in either direction, with words that
//! say what is wrong, for everybody who waits.
//!
//! `support/meddler.py` stands between the program and a real child, and changes one frame.

use econtext::{Context, Error, Local, Pending, Router};

mod support;

use support::{Log, Python, TempDir, interpreters, isolated, program};

const MEDDLER: &str = include_str!("support/meddler.py");

/// The newest CPython, in which the meddler runs, and the child where that makes no difference.
fn newest() -> &'static Python {
    let is_python = |python: &&Python| python.name.starts_with("python3");
    interpreters().iter().rfind(is_python).expect("a Python 3")
}

/// A child of that interpreter behind the meddler.
fn meddled(dir: &TempDir, python: &Python, how: &str) -> Local {
    let script = format!("#!{}\n{MEDDLER}", newest().path.display());
    Local::new()
        .python(program(dir, "meddler", &script))
        .env("PYTHON", &python.path)
        .env("MEDDLE", how)
        .name("web")
}

/// What two calls in flight and one after them get. The answer to the first is frame 1 from the child,
/// after its hello; the first call is frame 0 to it.
fn errors(context: &Context) -> [String; 3] {
    // Both in one frame's time: the second is in flight when the first is answered.
    let calls: [Pending<u32>; 2] =
        ["os:getpid", "os:getppid"].map(|target| context.call_async(target, ()).unwrap());
    let [first, second] =
        calls.map(|call| call.get().map_or_else(|e| e.to_string(), |_| "fine".into()));
    let later =
        context.call::<u32>("os:getuid", ()).map_or_else(|e| e.to_string(), |_| "fine".into());
    [first, second, later]
}

#[test]
fn a_bad_frame_from_a_child_ends_its_stream_with_words_for_everybody_who_waits() {
    isolated(|| {
        let dir = TempDir::new();
        for (way, reason, first_is_fine) in [
            ("forge", "frame 1 is forged or damaged", false),
            ("replay", "frame 1 was replayed where frame 2 was due", true),
            ("reorder", "frame 2 came where frame 1 was due: reordered or lost", false),
            ("drop", "frame 2 came where frame 1 was due: reordered or lost", false),
            ("lengthen", "a message of 2147483627 bytes is above the limit of 134217728", false),
            ("shorten", "a frame claims to be 5 bytes, less than its header takes", false),
            (
                "print_",
                "text where a frame should be: \"a stray \\u{1b}[31mprint, and what else somebody has to say about it.\\n\"",
                false,
            ),
            ("header_only", "the stream ended inside a frame, after 30 of 44 bytes", false),
        ] {
            let router = Router::new().unwrap();
            let how = format!("up:{way}:1");
            let context = router.connect(meddled(&dir, newest(), &how)).unwrap();
            let [first, second, later] = errors(&context);
            let text = |target| format!("web: call of {target}: disconnected: {reason}");
            let first_text = if first_is_fine { "fine".into() } else { text("os:getpid") };
            assert_eq!(first, first_text, "{way}");
            assert_eq!(second, text("os:getppid"), "{way}");
            assert_eq!(later, text("os:getuid"), "{way}");
            assert!(!context.is_connected());
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_stream_that_ends_inside_a_frame_says_how_much_was_missing() {
    isolated(|| {
        let dir = TempDir::new();
        let router = Router::new().unwrap();
        let context = router.connect(meddled(&dir, newest(), "up:truncate:1")).unwrap();
        let error = context.call::<Vec<u8>>("copy:copy", (b"bytes",)).unwrap_err().to_string();
        let text = "web: call of copy:copy: disconnected: the stream ended inside a frame, after ";
        let rest = error.strip_prefix(text).unwrap_or_else(|| panic!("{error}"));
        let (have, want) = rest.strip_suffix(" bytes").unwrap().split_once(" of ").unwrap();
        assert_eq!(have.parse::<u32>().unwrap() + 1, want.parse::<u32>().unwrap());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_bad_first_frame_is_an_error_of_the_start() {
    isolated(|| {
        let dir = TempDir::new();
        for (way, reason) in [
            ("forge", "frame 0 is forged or damaged"),
            ("garbage", "its first frame cannot be read: truncated at byte 7 of the pickle"),
            ("none", "its first frame does not say who the child is"),
            ("swap_source", "the first frame does not say who the child is"),
            ("lengthen", "a message of 2147483627 bytes is above the limit of 134217728"),
            (
                "print_",
                "text where a frame should be: \"a stray \\u{1b}[31mprint, and what else somebody has to say about it.\\n\"",
            ),
        ] {
            let router = Router::new().unwrap();
            let how = format!("up:{way}:0");
            let error = router.connect(meddled(&dir, newest(), &how)).unwrap_err();
            let text = format!("web: starting the core: {reason} (exit status 0)");
            assert_eq!(error.to_string(), text, "{way}");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_bad_frame_to_a_child_ends_the_child_which_says_why() {
    isolated(|| {
        let dir = TempDir::new();
        let forged = "a frame was forged, replayed or reordered: its MAC does not match";
        let long = "a frame of 2147483647 bytes where the limit is 134217748";
        let short = "a frame of 5 bytes where the limit is 134217748";
        let text = "text where a frame should be: ";
        for python in [&interpreters()[0], newest(), interpreters().last().unwrap()] {
            for (way, words) in [
                ("forge", forged),
                ("replay", forged),
                ("reorder", forged),
                ("drop", forged),
                ("lengthen", long),
                ("shorten", short),
                ("print_", text),
                ("truncate", "truncated: it ended "),
            ] {
                let log = Log::default();
                let router = Router::builder().on_log(log.sink()).build().unwrap();
                let how = format!("down:{way}:0");
                let context = router.connect(meddled(&dir, python, &how)).unwrap();
                let [_, second, later] = errors(&context);
                let reason = format!("the stream to the parent is broken: {words}");
                for (error, target) in [(second, "os:getppid"), (later, "os:getuid")] {
                    let text = format!(
                        "web: call of {target}: disconnected: the child ended: exit status 0; \
                         it said: {reason}"
                    );
                    assert!(error.starts_with(&text), "{python}, {way}: {error}");
                }
                let line = format!("econtext: web: {reason}");
                log.wait_for(&line, |record| record.message.starts_with(&line));
                router.shutdown().unwrap();
            }
        }
    });
}

#[test]
fn a_good_frame_with_bad_content_fails_its_call_alone() {
    isolated(|| {
        let dir = TempDir::new();
        for (way, text) in [
            (
                "garbage",
                "expected a value, got what cannot be read (truncated at byte 7 of the pickle) from the call of os:getpid in web",
            ),
            ("dead", "web: call of os:getpid: disconnected: it \\x1b[31mended\\nhere"),
            ("raised", "web: call of os:getpid: app.\\x1b[31mRed: first \\x1b]0;title\\x07"),
            ("none", "expected u32, got None from the call of os:getpid in web"),
        ] {
            let router = Router::new().unwrap();
            let how = format!("up:{way}:1");
            let context = router.connect(meddled(&dir, newest(), &how)).unwrap();
            let [first, second, later] = errors(&context);
            assert_eq!([&first[..], &second, &later], [text, "fine", "fine"], "{way}");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_frame_in_the_name_of_another_context_is_dropped_with_a_warning() {
    isolated(|| {
        let dir = TempDir::new();
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        let context = router.connect(meddled(&dir, newest(), "up:swap_source:1")).unwrap();
        let reply: Pending<u32> = context.call_async("os:getpid", ()).unwrap();
        let record = log.wait_for("the warning", |record| record.logger == "econtext");
        let (start, rest) = record.message.split_once("handle ").unwrap();
        assert_eq!(start, "dropped a message to ");
        assert!(rest.ends_with(": context 1 may not use the source 77"), "{rest}");
        context.call::<()>("os:getpid", ()).unwrap();
        context.shutdown().unwrap();
        let error = reply.get().unwrap_err();
        assert!(matches!(&error, Error::Disconnected { .. }));
        let text = "web: call of os:getpid: disconnected: it was shut down";
        assert_eq!(error.to_string(), text);
        router.shutdown().unwrap();
    });
}
