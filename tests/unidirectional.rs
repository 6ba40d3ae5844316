//! Promise: contexts send to each other's receivers wherever they are in the tree, with credit; in a unidirectional
//! tree none does but to those above and below it, at any depth.

use econtext::{Context, Local, Pending, Router, RouterBuilder, Sender, Value};

mod support;

use support::{Log, interpreters, isolated};

const FORGER: &str = include_str!("trust/forger.py");

/// Two contexts with two children each, of different Pythons.
struct Tree {
    router: Router,
    log: Log,
    left: Context,
    right: Context,
    /// The children of the left one, and one of the right one.
    below: [Context; 3],
    /// A child of the first of those.
    deep: Context,
}

fn tree(builder: RouterBuilder) -> Tree {
    let log = Log::default();
    let router = builder.on_log(log.sink()).build().unwrap();
    router.modules().source("forger", FORGER);
    let (oldest, newest) = (interpreters().first().unwrap(), interpreters().last().unwrap());
    let local = |is_old, name| {
        let python = if is_old { oldest } else { newest };
        Local::new().python(&python.path).name(name)
    };
    let (left, right) = (router.start(local(true, "left")), router.start(local(false, "right")));
    let below = [
        left.start(local(false, "first")),
        left.start(local(true, "second")),
        right.start(local(true, "third")),
    ];
    let deep = below[0].start(local(false, "deep"));
    Tree { router, log, left, right, below, deep }
}

impl Tree {
    /// Pairs who are neither above nor below each other, and the one that refuses what the first sends to the second
    /// where that is not allowed: `None` is the program.
    fn strangers(&self) -> [(&Context, &Context, Option<&Context>); 7] {
        let Tree { left, right, below: [first, second, third], deep, .. } = self;
        [
            (left, right, None),
            (first, second, Some(left)),
            (second, deep, Some(left)),
            (deep, second, Some(first)),
            (deep, third, Some(first)),
            (right, first, None),
            (first, right, Some(left)),
        ]
    }

    fn relatives(&self) -> [(&Context, &Context); 6] {
        let Tree { left, right, below: [first, _, third], deep, .. } = self;
        [(left, first), (first, left), (left, deep), (deep, left), (right, third), (deep, first)]
    }
}

const COUNT: usize = 200;

/// One sends the other more than the window has room for, and gets credit as that is received.
fn passes(from: &Context, to: &Context) {
    let sender: Sender<Value> = to.call("forger:open_receiver", ("passes",)).unwrap();
    let first: usize = from.call("forger:fill", (sender.clone(),)).unwrap();
    assert!((10..40).contains(&first), "{first} items of 100 bytes in a window of 4,096");
    let sent: Pending<()> = from.call_async("forger:stream_to", (sender, first, COUNT)).unwrap();
    let items: Vec<(usize, Vec<u8>)> = to.call("forger:receive", ("passes", COUNT)).unwrap();
    let numbers = items.iter().map(|(number, _)| *number);
    assert!(numbers.eq(0..COUNT), "{from} to {to}");
    assert!(items.iter().all(|(_, item)| item.as_slice() == [b'x'; 100]));
    sent.get().unwrap();
}

#[test]
fn contexts_send_to_each_other_across_the_tree() {
    isolated(|| {
        let tree = tree(Router::builder().channel_window_bytes(4096));
        for (from, to, _) in tree.strangers() {
            passes(from, to);
            passes(to, from);
        }
        for (from, to) in tree.relatives() {
            passes(from, to);
        }
        tree.router.shutdown().unwrap();
    });
}

#[test]
fn values_are_the_same_between_all_kinds_of_python() {
    isolated(|| {
        let tree = tree(Router::builder());
        for (from, to, _) in tree.strangers() {
            for (from, to) in [(from, to), (to, from)] {
                let sender: Sender<Value> = to.call("forger:open_receiver", ("values",)).unwrap();
                from.call::<()>("forger:send_values", (sender,)).unwrap();
                let differs: Vec<String> = to.call("forger:differing_values", ("values",)).unwrap();
                assert!(differs.is_empty(), "{from} to {to}: {differs:?}");
            }
        }
        tree.router.shutdown().unwrap();
    });
}

#[test]
fn in_a_unidirectional_tree_messages_go_up_and_down_alone() {
    isolated(|| {
        let tree = tree(Router::builder().channel_window_bytes(4096).unidirectional(true));
        for (from, to) in tree.relatives() {
            passes(from, to);
        }
        for (from, to, _) in tree.strangers() {
            let sender: Sender<Value> = to.call("forger:open_receiver", ("strange",)).unwrap();
            let told: String = from.call("forger:try_to_send", (sender,)).unwrap();
            let reason = format!(
                "context {} may not send to context {}: it is neither above nor below",
                from.id(),
                to.id()
            );
            assert_eq!(told, reason);
        }
        tree.router.shutdown().unwrap();
    });
}

#[test]
fn what_goes_across_a_unidirectional_tree_is_refused_by_the_first_who_may() {
    isolated(|| {
        let tree = tree(Router::builder().unidirectional(true));
        for (from, to, by) in tree.strangers() {
            let reason = format!(
                "context {} may not send to context {}: it is neither above nor below",
                from.id(),
                to.id()
            );
            let ask = ("forger:ask", (to.id(), 108_u32, b"\x80\x02N.".as_slice()));
            let told: String = from.call(ask.0, ask.1).unwrap();
            assert_eq!(told, format!("dead: {reason}"));
            let record = tree.log.wait_for(&reason, |record| record.message == reason);
            // The program says it of the child by whose stream it came.
            assert_eq!(record.context, by.unwrap_or(from).name(), "{from} to {to}");
            // With another's authority there is no way, either.
            let above = by.map_or(0, Context::id);
            from.call::<()>("forger:send_call", (to.id(), from.id(), above)).unwrap();
            let dropped = format!(
                "dropped a message to handle 101 of context {}: context {} may not use the authority {above}",
                to.id(),
                from.id()
            );
            tree.log.wait_for(&dropped, |record| record.message == dropped);
            assert!(!to.call::<bool>("forger:has_run", ()).unwrap());
        }
        tree.router.shutdown().unwrap();
    });
}
