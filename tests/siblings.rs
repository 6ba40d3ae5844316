//! Promise: what contexts send to each other neither ends nor waits for ever because of what else is on the way to
//! one of them; and one that does not read costs those on the way a bounded amount.

use std::time::Duration;

use econtext::{Context, Local, Router, RouterBuilder, Value};

mod support;

use support::{Log, Python, interpreters, isolated, process_of};

/// Longer than a child may leave too much unread.
const LONG: Duration = Duration::from_secs(60);

/// Two contexts with the same parent: the program, and then one of each kind of interpreter.
fn for_each_pair(build: impl Fn() -> RouterBuilder, body: impl Fn(&Router, &Log, [Context; 2])) {
    let wanted = [(2, 7), (3, 6), (3, 13)];
    let found = interpreters().iter();
    let is_kind = |it: &&Python| wanted.contains(&it.version) || it.name.starts_with("pypy3");
    let kinds: Vec<_> = found.filter(is_kind).collect();
    let newest = interpreters().iter().rfind(|it| it.name.starts_with("python3")).unwrap();
    for parent in [None].into_iter().chain(kinds.into_iter().map(Some)) {
        let log = Log::default();
        let router = build().on_log(log.sink()).build().unwrap();
        router.modules().source("work", include_str!("siblings/work.py"));
        let parent =
            parent.map(|python| router.connect(Local::new().python(&python.path)).unwrap());
        let pair = ["one", "other"].map(|name| {
            let local = Local::new().python(&newest.path).name(name);
            parent
                .as_ref()
                .map_or_else(|| router.start(local.clone()), |it| it.start(local.clone()))
        });
        body(&router, &log, pair);
        router.shutdown().unwrap();
    }
}

#[test]
fn a_channel_goes_on_beside_something_large_for_either_end() {
    isolated(|| {
        for_each_pair(Router::builder, |_, log, [sends, receives]| {
            let sender: Value = receives.call("work:receive", ()).unwrap();
            sends.call::<()>("work:send", (sender, 20_000)).unwrap();
            // More than a queue may have that is left unread.
            let large = vec![7_u8; 40_000_000];
            for context in [&sends, &receives] {
                let size: usize = context.call("work:size", (large.as_slice(),)).unwrap();
                assert_eq!(size, large.len());
                for end in [&sends, &receives] {
                    let ended: Option<String> = end.call("work:wait_for", (50,)).unwrap();
                    assert_eq!(ended, None, "{log:?}");
                }
            }
        });
    });
}

#[test]
fn a_channel_goes_on_beside_large_items_of_another() {
    isolated(|| {
        for_each_pair(Router::builder, |_, log, [sends, receives]| {
            for size in [20_000, 30_000_000] {
                let sender: Value = receives.call("work:receive", ()).unwrap();
                sends.call::<()>("work:send", (sender, size)).unwrap();
            }
            let ended: Option<String> = sends.call("work:wait_for", (100,)).unwrap();
            assert_eq!(ended, None, "{log:?}");
        });
    });
}

#[test]
fn what_contexts_send_to_one_that_does_not_read_is_refused_in_the_end_and_does_not_end_it() {
    isolated(|| {
        let build = || Router::builder().max_message_bytes(1 << 20);
        for_each_pair(build, |_, log, [sends, stopped]| {
            stopped.call::<i64>("os:getpid", ()).unwrap();
            let process = process_of(&stopped);
            process.stop();
            let (sent, refused): (usize, String) =
                sends.call("work:flood", (stopped.id(), 65_000)).unwrap();
            assert_eq!(refused, format!("context {} does not read what it is sent", stopped.id()));
            assert!((16 << 20..20 << 20).contains(&sent), "{sent}");
            log.wait_for("the warning", |record| record.message == refused);
            // The program's own comes after all that, and is waited for.
            let pending = stopped.call_async::<i64>("os:getpid", ()).unwrap();
            process.signal(libc::SIGCONT);
            assert_eq!(pending.get_timeout(LONG).unwrap(), i64::from(process.pid));
        });
    });
}

/// Sends into channels to one that is stopped, as much as each takes; gives what each has taken, and what has arrived
/// when all have ended, with how.
fn fill(
    [sends, receives]: &[Context; 2],
    channels: usize,
    size: usize,
) -> (Vec<usize>, Vec<(usize, String)>) {
    let senders: Vec<Value> =
        (0..channels).map(|_| receives.call("work:collect", ()).unwrap()).collect();
    let process = process_of(receives);
    process.stop();
    let sent = sends.call("work:fill", (senders, size)).unwrap();
    process.signal(libc::SIGCONT);
    (sent, receives.call("work:collected", (channels,)).unwrap())
}

#[test]
fn a_channel_of_which_an_item_is_refused_ends_there_with_the_reason() {
    isolated(|| {
        let build = || Router::builder().max_message_bytes(1 << 20).channel_window_bytes(1 << 20);
        for_each_pair(build, |_, log, pair| {
            let (sent, collected) = fill(&pair, 40, 60_000);
            let refused = format!("context {} does not read what it is sent", pair[1].id());
            let mut whole = 0;
            for (sent, (arrived, end)) in sent.iter().zip(&collected) {
                match &**end {
                    "the end" => assert_eq!(arrived, sent, "{collected:?}"),
                    end => assert!(end.contains(&refused) && arrived < sent, "{collected:?}"),
                }
                whole += usize::from(end == "the end");
            }
            assert!(0 < whole && whole < collected.len(), "{sent:?} {collected:?}");
            log.wait_for("the warning", |record| record.message == refused);
        });
    });
}

#[test]
fn one_channel_alone_never_has_too_much_under_way() {
    isolated(|| {
        let build = || Router::builder().max_message_bytes(1 << 20).channel_window_bytes(24 << 20);
        for_each_pair(build, |_, _, pair| {
            let (sent, collected) = fill(&pair, 1, 400_000);
            assert!(sent[0] > (18 << 20) / 400_000, "{sent:?}");
            assert_eq!(collected, [(sent[0], "the end".into())]);
        });
    });
}
