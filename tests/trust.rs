//! Promise: what comes from below is hostile, at any depth. A context that forges, answers for others, or sends what
//! is not for it to send gets a warning and the reason; nothing else happens, and all others work on.

use econtext::{Context, Error, Local, Pending, Router, RouterBuilder, Sender, Value};

mod support;

use support::{Log, Python, TempDir, interpreters, isolated, mkfifo, program};

const FORGER: &str = include_str!("trust/forger.py");
const MEDDLER: &str = include_str!("support/meddler.py");

const GET_MODULE: u32 = 100;
const FORWARD_LOG: u32 = 102;
const ADD_ROUTE: u32 = 103;
const DEL_ROUTE: u32 = 104;
const ALLOCATE_ID: u32 = 105;
const SHUTDOWN: u32 = 106;
const PING: u32 = 108;

/// Pickles.
const NONE: &[u8] = b"\x80\x02N.";
const ONE: &[u8] = b"\x80\x02K\x01.";

/// Four contexts, each the child of the one before; a sibling of the first with a child, the others' cousin; and
/// a sibling of the second.
struct Tree {
    router: Router,
    log: Log,
    chain: Vec<Context>,
    sibling: Context,
    cousin: Context,
    beside: Context,
}

impl Tree {
    /// `turn` says which of the interpreters is where.
    fn start(turn: usize, builder: RouterBuilder) -> Tree {
        let log = Log::default();
        let router = builder.on_log(log.sink()).build().unwrap();
        router.modules().source("forger", FORGER);
        let kinds = kinds();
        let local = |level: usize, name: &str| {
            let python = kinds[(level + turn) % kinds.len()];
            Local::new().python(&python.path).name(name)
        };
        let first = router.start(local(0, "first"));
        let second = first.start(local(1, "second"));
        let third = second.start(local(2, "third"));
        let fourth = third.start(local(3, "fourth"));
        let sibling = router.start(local(1, "sibling"));
        let cousin = sibling.start(local(2, "cousin"));
        let beside = first.start(local(3, "beside"));
        let tree = Tree {
            router,
            log,
            chain: vec![first, second, third, fourth],
            sibling,
            cousin,
            beside,
        };
        tree.works();
        tree
    }

    fn all(&self) -> impl Iterator<Item = &Context> {
        self.chain.iter().chain([&self.sibling, &self.cousin, &self.beside])
    }

    /// Every context answers, and none has run what it was not to run.
    fn works(&self) {
        let calls: Vec<Pending<bool>> =
            self.all().map(|it| it.call_async("forger:has_run", ()).unwrap()).collect();
        for (context, call) in self.all().zip(calls) {
            assert!(!call.get().unwrap(), "{context} was called by another");
        }
    }

    /// The one of the chain at this level, its parent's id, and those who are neither above nor below it.
    fn at(&self, level: usize) -> (&Context, u32, Vec<&Context>) {
        let parent = level.checked_sub(1).map_or(0, |above| self.chain[above].id());
        let mut others = vec![&self.sibling, &self.cousin];
        if level > 0 {
            others.push(&self.beside);
        }
        (&self.chain[level], parent, others)
    }

    fn warned(&self, words: &str) {
        let is_it = |record: &econtext::LogRecord| record.message == words;
        let record = self.log.wait_for(words, is_it);
        assert_eq!(record.logger, "econtext");
        assert_eq!(record.level, econtext::Level::Warning);
    }
}

/// The oldest and the newest Python 3, Python 2, and PyPy, where they are here.
fn kinds() -> Vec<&'static Python> {
    let all = interpreters();
    let is = |python: &&Python, name: &str| python.name.starts_with(name);
    let mut kinds: Vec<&Python> = Vec::new();
    kinds.extend(all.iter().find(|it| is(it, "python3")));
    kinds.extend(all.iter().rfind(|it| is(it, "python3")));
    kinds.extend(all.iter().find(|it| is(it, "python2")));
    kinds.extend(all.iter().rfind(|it| is(it, "pypy")));
    kinds
}

/// Runs `body` with trees in which each interpreter is at each place once.
fn for_each_tree(builder: impl Fn() -> RouterBuilder, body: impl Fn(&Tree)) {
    for turn in 0..kinds().len() {
        let tree = Tree::start(turn, builder());
        body(&tree);
        tree.works();
        tree.router.shutdown().unwrap();
    }
}

/// The answer to a message that wants one.
fn ask(context: &Context, dst: u32, handle: u32, data: &[u8]) -> String {
    text(context.call("forger:ask", (dst, handle, data)).unwrap())
}

fn text(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_forged_source_or_authority_is_dropped_by_the_first_who_sees_it() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for level in 0..4 {
                let (forger, parent, others) = tree.at(level);
                let above = tree.chain[..level].iter().map(Context::id);
                let others: Vec<u32> = others.into_iter().map(Context::id).collect();
                let victims = above.chain(others.iter().copied()).chain([0, 9999, u32::MAX]);
                for victim in victims {
                    for (src, auth, what) in
                        [(victim, forger.id(), "source"), (forger.id(), victim, "authority")]
                    {
                        forger.call::<()>("forger:send_log", (src, auth)).unwrap();
                        let may_not = format!("context {} may not use the {what}", forger.id());
                        tree.warned(&format!(
                            "dropped a message to handle 102 of context 0: {may_not} {victim}"
                        ));
                        for dst in others.iter().copied().chain([parent]) {
                            forger.call::<()>("forger:send_call", (dst, src, auth)).unwrap();
                            tree.warned(&format!(
                                "dropped a message to handle 101 of context {dst}: {may_not} {victim}"
                            ));
                        }
                    }
                }
            }
            assert!(!tree.log.records().iter().any(|it| it.message == "I am another"));
        });
    });
}

#[test]
fn a_context_speaks_for_those_below_it() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (first, fourth) = (&tree.chain[0], &tree.chain[3]);
            first.call::<()>("forger:send_log", (fourth.id(), fourth.id())).unwrap();
            let record = tree.log.wait_for("the record", |it| it.message == "I am another");
            assert_eq!((&*record.context, &*record.logger), ("fourth", "forged"));
        });
    });
}

#[test]
fn what_a_context_may_not_send_is_refused_with_the_reason() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for level in 0..4 {
                let (sender, parent, others) = tree.at(level);
                let id = sender.id();
                let above = tree.chain[..level].iter().map(Context::id).chain([0]);
                let others = others.into_iter().map(|it| (it.id(), false));
                for (dst, is_above) in above.map(|id| (id, true)).chain(others) {
                    for handle in GET_MODULE..=PING + 1 {
                        let is_served = match handle {
                            GET_MODULE | ADD_ROUTE | DEL_ROUTE | ALLOCATE_ID | PING => {
                                dst == parent
                            }
                            FORWARD_LOG => dst == 0,
                            _ => false,
                        };
                        if is_served || dst == 0 && handle == PING {
                            continue;
                        }
                        let is_known = match handle {
                            FORWARD_LOG | 109 => false,
                            GET_MODULE | ALLOCATE_ID => is_above,
                            _ => true,
                        };
                        let expected = match is_known {
                            true => format!(
                                "context {id} may not send to handle {handle} of context {dst}"
                            ),
                            false => format!("context {dst} has no handle {handle}"),
                        };
                        let answer = ask(sender, dst, handle, NONE);
                        assert_eq!(answer, format!("dead: {expected}"), "from {sender}");
                        tree.warned(&expected);
                    }
                }
            }
        });
    });
}

#[test]
fn a_message_for_a_context_that_does_not_exist_is_answered_at_the_top() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for context in tree.all() {
                let answer = ask(context, 9999, PING, NONE);
                assert_eq!(answer, "dead: context 0 has no route to context 9999", "{context}");
            }
        });
    });
}

#[test]
fn a_ping_is_answered_by_parents_and_children() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for level in 0..4 {
                let (context, parent, _) = tree.at(level);
                assert_eq!(ask(context, parent, PING, NONE), "None");
                assert_eq!(ask(context, 0, PING, NONE), "None");
                for below in &tree.chain[level + 1..] {
                    assert_eq!(ask(context, below.id(), PING, NONE), "None");
                }
            }
        });
    });
}

#[test]
fn the_programs_call_is_answered_by_who_was_called_alone() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let called = &tree.beside;
            let gate: Sender<i64> = called.call("forger:open_receiver", ("gate",)).unwrap();
            let pending: Pending<Vec<i64>> =
                called.call_async("forger:receive", ("gate", 1)).unwrap();
            // Each probe is a later call, with a handle above that of the one that waits.
            let probe = |context: &Context, handle| ask(context, 0, handle, ONE);
            let none = |handle| format!("dead: context 0 has no handle {handle}");
            let is_there = |handle: &u32| probe(&tree.sibling, *handle) != none(*handle);
            let handle = (1000..5000).find(is_there).expect("the call that waits");
            let above = [called, &tree.chain[0]];
            for context in tree.all().filter(|it| !above.contains(it)) {
                let refused = format!(
                    "context {} may not send to handle {handle} of context 0",
                    context.id()
                );
                assert_eq!(probe(context, handle), format!("dead: {refused}"));
                tree.warned(&refused);
            }
            gate.send(7).unwrap();
            assert_eq!(pending.get().unwrap(), [7]);
        });
    });
}

#[test]
fn a_contexts_own_call_is_answered_by_who_was_called_alone() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for (waits, called) in [
                (&tree.sibling, &tree.beside),
                (&tree.chain[1], &tree.cousin),
                (&tree.chain[0], &tree.chain[3]),
            ] {
                let handle: u32 = waits.call("forger:await_answer", (called.id(),)).unwrap();
                for context in tree.all().filter(|it| *it != waits && *it != called) {
                    let (from, to) = (context.id(), waits.id());
                    let refused =
                        format!("context {from} may not send to handle {handle} of context {to}");
                    // The program is told of one that wants no answer, too.
                    context.call::<()>("forger:answer", (to, handle, 1)).unwrap();
                    tree.warned(&refused);
                    assert_eq!(ask(context, to, handle, ONE), format!("dead: {refused}"));
                    assert!(!waits.call::<bool>("forger:is_answered", ()).unwrap());
                }
                called.call::<()>("forger:answer", (waits.id(), handle, 7)).unwrap();
                assert_eq!(waits.call::<i64>("forger:answered", ()).unwrap(), 7);
            }
        });
    });
}

#[test]
fn a_good_answer_comes_once() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (waits, called) = (&tree.cousin, &tree.chain[2]);
            let handle: u32 = waits.call("forger:await_answer", (called.id(),)).unwrap();
            called.call::<()>("forger:answer", (waits.id(), handle, 7)).unwrap();
            assert_eq!(waits.call::<i64>("forger:answered", ()).unwrap(), 7);
            let answer = ask(called, waits.id(), handle, ONE);
            assert_eq!(answer, format!("dead: context {} has no handle {handle}", waits.id()));
        });
    });
}

#[test]
fn what_a_channel_brings_from_below_is_plain_data() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (receives, sends) = (&tree.chain[0], &tree.chain[1]);
            let sender: Sender<Value> = receives.call("forger:open_receiver", ("plain",)).unwrap();
            for (what, data) in HOSTILE_PICKLES {
                let told: String =
                    sends.call("forger:send_raw_item", (sender.clone(), *data)).unwrap();
                assert_eq!(told, "sent");
                let told = receives.call::<String>("forger:receive_or_why", ("plain",)).unwrap();
                let refused = format!("context {} sent ", sends.id());
                assert!(told.starts_with(&refused), "{what}: {told}");
            }
            assert!(receives.call::<bool>("forger:is_sound", ()).unwrap());
        });
    });
}

#[test]
fn a_grant_that_is_none_ends_the_channel_and_not_the_context() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (receives, sends) = (&tree.chain[1], &tree.chain[0]);
            let grants = HOSTILE_PICKLES.iter().map(|(_, data)| *data);
            for grant in
                grants.chain([NONE, b"\x80\x02X\x01\0\0\0a.", b"\x80\x02G\x7f\xf8\0\0\0\0\0\0."])
            {
                let sender: Sender<Value> =
                    receives.call("forger:open_receiver", ("grants",)).unwrap();
                let sent: Pending<String> =
                    sends.call_async("forger:try_to_send", (sender,)).unwrap();
                receives.call::<()>("forger:grant", ("grants", grant)).unwrap();
                assert_eq!(sent.get().unwrap(), "its grant cannot be read");
            }
        });
    });
}

#[test]
fn who_sends_to_a_contexts_channel_without_credit_is_not_heard() {
    isolated(|| {
        for_each_tree(
            || Router::builder().channel_window_bytes(4096),
            |tree| {
                for (receives, sends) in
                    [(&tree.chain[0], &tree.chain[1]), (&tree.cousin, &tree.chain[3])]
                {
                    let sender: Sender<Value> =
                        receives.call("forger:open_receiver", ("flood",)).unwrap();
                    let told: String = sends.call("forger:flood", (sender, 1000)).unwrap();
                    assert_eq!(
                        told,
                        format!("dead: context {} sent to a channel without credit", sends.id())
                    );
                    let kept: u64 = receives.call("forger:unread_bytes", ("flood",)).unwrap();
                    assert!((4096..4 * 4096).contains(&kept), "{kept}");
                }
                // In the program, too; and those beside it on the way are not to suffer for it.
                let (sender, receiver) = tree.router.channel::<Vec<u8>>();
                let told: String = tree.chain[3].call("forger:flood", (sender, 1000)).unwrap();
                assert!(told.ends_with(": it sent to a channel without credit"), "{told}");
                drop(receiver);
            },
        );
    });
}

#[test]
fn routes_are_announced_for_what_is_below_alone() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for level in 0..4 {
                let (forger, parent, others) = tree.at(level);
                let own = forger.id();
                let announce = |handle: u32, target: u32, via: u32| {
                    text(forger.call("forger:announce", (parent, handle, target, via)).unwrap())
                };
                let (first, end): (u32, u32) =
                    forger.call("forger:ask", (parent, ALLOCATE_ID, NONE)).unwrap();
                assert_eq!(end - first, if parent == 0 { 1000 } else { 16 });
                let other = others[0].id();
                let below = tree.chain.get(level + 1).map_or(own, Context::id);
                for (target, via) in [
                    (0, own),
                    (parent, own),
                    (own, own),
                    (other, own),
                    (below, own),
                    (end, own),
                    (first, 0),
                    (first, other),
                    (first, first + 1),
                    (first, first),
                ] {
                    let text = format!(
                        "dropped a route to context {target} by context {via} that context {own} announced"
                    );
                    assert_eq!(announce(ADD_ROUTE, target, via), format!("dead: {text}"));
                    tree.warned(&text);
                }
                for target in others.iter().map(|it| it.id()).chain([own]) {
                    let text =
                        format!("dropped the end of context {target} that context {own} announced");
                    assert_eq!(announce(DEL_ROUTE, target, own), format!("dead: {text}"));
                    tree.warned(&text);
                }
            }
        });
    });
}

#[test]
fn what_cannot_be_read_is_dropped_by_all_services() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            for level in 0..4 {
                let (sender, parent, _) = tree.at(level);
                let own = sender.id();
                let unclear = format!(
                    "dead: dropped a message about a route that cannot be read, that context {own} announced"
                );
                let long = vec![b'('; 1 << 20];
                let texts: [&[u8]; 8] = [
                    b"",
                    b"garbage",
                    NONE,
                    ONE,
                    b"\x80\x02K\x01\x85.",
                    b"\x80\x02K\x01K\x02K\x03\x87.",
                    b"\x80\x02X\x01\0\0\0aX\x01\0\0\0b\x86.",
                    &long,
                ];
                for data in HOSTILE_PICKLES.iter().map(|(_, data)| *data).chain(texts) {
                    for handle in [ADD_ROUTE, DEL_ROUTE] {
                        assert_eq!(ask(sender, parent, handle, data), unclear, "{data:?}");
                    }
                    // A request of that length would end the first's stream, which it has to itself.
                    if data.len() < 100 {
                        sender
                            .call::<()>("forger:send", (parent, GET_MODULE, data, own, own))
                            .unwrap();
                        sender.call::<()>("forger:send", (0, FORWARD_LOG, data, own, own)).unwrap();
                    }
                }
            }
        });
    });
}

#[test]
fn a_shutdown_that_is_not_from_above_is_refused_and_its_clock_does_not_run() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (parent, child) = (&tree.chain[0], &tree.chain[1]);
            for context in [&tree.cousin, &tree.beside, &tree.chain[3]] {
                let (from, to) = (context.id(), child.id());
                let refused = format!("context {from} may not send to handle 106 of context {to}");
                assert_eq!(ask(context, to, SHUTDOWN, NONE), format!("dead: {refused}"));
                assert!(!parent.call::<bool>("forger:is_leaving", (to,)).unwrap());
            }
        });
    });
}

#[test]
fn a_child_that_asks_and_does_not_read_is_not_read_and_ends() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let parent = &tree.chain[1];
            let flooder = parent.connect(Local::new().python(&kinds()[0].path)).unwrap();
            parent.call::<()>("forger:begin_to_watch_queue", (flooder.id(), 1)).unwrap();
            let error = flooder
                .call::<()>("forger:ask_and_not_read", (parent.id(), PING))
                .unwrap_err()
                .to_string();
            assert!(error.contains("it does not read what it is sent"), "{error}");
            let most: u64 = parent.call("forger:most_queued", ()).unwrap();
            assert!((1 << 20..3 << 19).contains(&most), "{most}");
        });
    });
}

#[test]
fn a_report_of_a_start_that_cannot_be_read_fails_that_start() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            // One that never comes up, so that its parent can report what it likes.
            let dir = TempDir::new();
            let runs = mkfifo(&dir, "runs");
            let text = format!("#!/bin/sh\necho > {}\nexec sleep 1000\n", runs.display());
            let parent = &tree.chain[1];
            let stuck = Local::new().python(program(&dir, "stuck", &text)).name("stuck");
            let start = parent.start(stuck);
            std::fs::read(runs).unwrap();
            parent.call::<()>("forger:misreport", (start.id(),)).unwrap();
            let error = start.info().unwrap_err().to_string();
            let text = "first > second > stuck: starting the process: second: a report of a start cannot be read: ";
            assert!(error.starts_with(text), "{error}");
        });
    });
}

#[test]
fn a_context_gets_a_bounded_number_of_ids() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("forger", FORGER);
        let local = || Local::new().python(&kinds()[0].path);
        let first = router.connect(local()).unwrap();
        let second = first.connect(local()).unwrap();
        let other = router.connect(local()).unwrap();
        let answers: Vec<Value> =
            second.call("forger:ask_often", (first.id(), ALLOCATE_ID, 2100)).unwrap();
        let (blocks, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|it| matches!(it, Value::Tuple(_)));
        let mut firsts: Vec<String> = blocks.into_iter().map(text).collect();
        firsts.sort();
        firsts.dedup();
        assert_eq!(firsts.len(), 2000);
        let reason = format!("dead: context {} has been given 32000 ids for others", second.id());
        assert!(refused.into_iter().all(|it| text(it) == reason));
        // The limit is that of all who are behind one stream.
        let answers: Vec<Value> = first.call("forger:ask_often", (0, ALLOCATE_ID, 70)).unwrap();
        let (blocks, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|it| matches!(it, Value::Tuple(_)));
        assert_eq!(blocks.len(), 64 - 2000usize.div_ceil(1000 / 16));
        let reason = format!("dead: context {} has been given 64 blocks of ids", first.id());
        assert!(refused.into_iter().all(|it| text(it) == reason));
        let (from, end): (u32, u32) = other.call("forger:ask", (0, ALLOCATE_ID, NONE)).unwrap();
        assert_eq!(end - from, 1000);
        router.shutdown().unwrap();
    });
}

#[test]
fn who_takes_all_ids_that_it_gets_leaves_some_to_all_others_behind_the_same_stream() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let start = |context: &Context| {
                let python = kinds()[1].path.to_str().unwrap();
                context.call::<Context>("forger:start", (python,))
            };
            // From below upwards, each all that its parent gives it; with what is below it that is half.
            for (level, most) in [(3, 500), (2, 499), (1, 999)] {
                let parent = &tree.chain[level - 1];
                let ask = (parent.id(), ALLOCATE_ID, 2100);
                let answers: Vec<Value> = tree.chain[level].call("forger:ask_often", ask).unwrap();
                let blocks = answers.iter().filter(|it| matches!(it, Value::Tuple(_))).count();
                assert_eq!(blocks, most, "level {level}");
                let beside = parent.connect(Local::new().python(&kinds()[0].path)).unwrap();
                start(&beside).unwrap().call::<i64>("os:getpid", ()).unwrap();
            }
            start(&tree.beside).unwrap();
        });
    });
}

/// A child behind the meddler, which changes what it sends as the way says.
fn meddled(dir: &TempDir, way: &str) -> Local {
    let newest = kinds()[1];
    let script = format!("#!{}\n{MEDDLER}", newest.path.display());
    Local::new()
        .python(program(dir, "meddler", &script))
        .env("PYTHON", &newest.path)
        .env("MEDDLE", way)
        .name("web")
}

#[test]
fn a_first_frame_that_is_not_the_hello_fails_that_start_alone() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let dir = TempDir::new();
            let unclear = "the first frame does not say who the child is";
            for (way, reason) in [
                ("swap_source", unclear),
                ("swap_target", unclear),
                ("swap_handle", unclear),
                ("garbage", "its first frame cannot be read: "),
                ("none", "its first frame does not say who the child is"),
                ("forge", "a frame was forged, replayed or reordered: its MAC does not match"),
                ("lengthen", "a frame of 2147483647 bytes where the limit is 134217748"),
            ] {
                let error =
                    tree.chain[0].connect(meddled(&dir, &format!("up:{way}:0"))).unwrap_err();
                assert!(error.to_string().contains(reason), "{way}: {error}");
            }
        });
    });
}

#[test]
fn a_bad_frame_ends_the_stream_that_it_comes_by_and_no_other() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let dir = TempDir::new();
            for (way, reason) in [
                ("forge", "a frame was forged, replayed or reordered: its MAC does not match"),
                ("replay", "a frame was forged, replayed or reordered: its MAC does not match"),
                ("lengthen", "a frame of 2147483647 bytes where the limit is 134217748"),
                ("shorten", "a frame of 5 bytes where the limit is 134217748"),
                ("print_", "text where a frame should be: "),
                ("header_only", "truncated: it ended 30 bytes into a frame"),
            ] {
                let parent = &tree.chain[1];
                let web = parent.connect(meddled(&dir, &format!("up:{way}:1"))).unwrap();
                let calls = [(); 2].map(|()| web.call_async::<u32>("os:getpid", ()).unwrap());
                let error = calls.map(|call| call.get())[1].as_ref().unwrap_err().to_string();
                let text =
                    format!("first > second > web: call of os:getpid: disconnected: {reason}");
                assert!(error.starts_with(&text), "{way}: {error}");
                let error = web.call::<u32>("os:getpid", ()).unwrap_err();
                assert!(error.to_string().starts_with(&text), "{way}: {error}");
            }
        });
    });
}

#[test]
fn a_message_for_one_who_has_just_gone_is_answered_on_the_way() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let (second, third, fourth) = (&tree.chain[1], &tree.chain[2], &tree.chain[3]);
            second.call::<()>("forger:forget_route", (third.id(),)).unwrap();
            let error = third.call::<()>("os:getpid", ()).unwrap_err();
            assert!(matches!(error, Error::Disconnected { .. }));
            let (way, to) = (second.id(), third.id());
            let text = format!(
                "first > second > third: call of os:getpid: disconnected: context {way} has no route to context {to}"
            );
            assert_eq!(error.to_string(), text);
            assert_eq!(
                ask(&tree.chain[0], third.id(), PING, NONE),
                format!("dead: context {way} has no route to context {to}")
            );
            fourth.call::<()>("os:getpid", ()).unwrap();
            second.call::<()>("forger:restore_route", (third.id(),)).unwrap();
        });
    });
}

#[test]
fn a_context_that_dies_while_it_is_called_leaves_nobody_waiting() {
    isolated(|| {
        for turn in 0..kinds().len() {
            let tree = Tree::start(turn, Router::builder());
            let [first, second, third, fourth] = &tree.chain[..] else { unreachable!() };
            tree.cousin.call::<()>("forger:deal_with", (fourth.id(),)).unwrap();
            let calls = (0..200).map(|round| {
                if round == 100 {
                    third.call_no_reply("os:_exit", (1,)).unwrap();
                }
                fourth.call_async::<u32>("os:getpid", ()).unwrap()
            });
            let calls: Vec<Pending<u32>> = calls.collect();
            for error in calls.into_iter().filter_map(|call| call.get().err()) {
                assert!(matches!(error, Error::Disconnected { .. }), "{error}");
            }
            let told: String = tree.cousin.call("forger:answered", ()).unwrap();
            assert_eq!(told, format!("dead: context {} is gone", fourth.id()));
            assert!(fourth.call::<u32>("os:getpid", ()).is_err());
            for context in [first, second, &tree.beside, &tree.sibling] {
                context.call::<()>("os:getpid", ()).unwrap();
            }
            tree.router.shutdown().unwrap();
        }
    });
}

#[test]
fn what_is_passed_on_is_not_unpickled_on_the_way() {
    isolated(|| {
        for_each_tree(Router::builder, |tree| {
            let [first, second, third, fourth] = &tree.chain[..] else { unreachable!() };
            let on_the_way = [first, second, third, &tree.sibling];
            for context in on_the_way {
                context.call::<()>("forger:watch_pickles", ()).unwrap();
            }
            let mark: &[u8] = b"a mark that is easily found";
            assert_eq!(fourth.call::<Vec<u8>>("copy:copy", (mark,)).unwrap(), mark);
            let sender: Sender<Value> = fourth.call("forger:open_receiver", ("far",)).unwrap();
            tree.cousin.call::<()>("forger:send_item", (sender, mark)).unwrap();
            let items: Vec<Vec<u8>> = fourth.call("forger:receive", ("far", 1)).unwrap();
            assert_eq!(items, [mark]);
            for context in on_the_way {
                // Its own call has it, once asked.
                assert!(!context.call::<bool>("forger:has_seen", ("a mark", " that is"),).unwrap());
            }
            // What cannot be unpickled at all is passed on as well.
            let answer = ask(&tree.cousin, fourth.id(), 5000, b"\x80\x02garbage, and a mark");
            assert_eq!(answer, format!("dead: context {} has no handle 5000", fourth.id()));
        });
    });
}

/// What a pickle of plain data never has in it.
const HOSTILE_PICKLES: &[(&str, &[u8])] = &[
    ("a call", b"\x80\x02cos\ngetpid\n)R."),
    ("a call by way of the core", b"\x80\x02ceconteXt.core\nload\nX\x01\0\0\0a\x85R."),
    (
        "an attribute of a class of ours",
        b"\x80\x02cecontext.core\n_DEAD\nN}X\x06\0\0\0reasonK\x01s\x86b.",
    ),
    ("an object that was not initialized", b"\x80\x02cecontext.core\n_DEAD\n)\x81."),
    ("a memo that takes 32 GiB", b"\x80\x02K\x01r\xff\xff\xff\x7f0N."),
    ("the same as text", b"\x80\x02K\x01p2147483647\n0N."),
    ("an array of 64 GiB", b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R."),
    ("zeros, 64 GiB", b"\x80\x02c__builtin__\nbytes\n\x8a\x05\0\0\0\0\x10\x85R."),
    ("a buffer of 64 GiB", b"\x80\x05\x96\0\0\0\0\x10\0\0\0."),
    ("a codec of theirs", b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x04\0\0\0evil\x86R\x85R."),
];
