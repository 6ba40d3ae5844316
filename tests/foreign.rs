//! Promise: a context or a sender of another router is refused where it is sent, instead of being somebody else.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

use econtext::{Context, Error, FromValue, Local, Router, Sender, ToValue, Value};

mod support;

use support::{Log, isolated};

const WORK: &str = r#"
from econtext import core

def pid(context):
    return context.call('os:getpid')

def give(value):
    return value

def receive():
    global receiver
    receiver = core.Receiver()
    return receiver.sender()

def received():
    return receiver.get()
"#;

/// A router with a context and another below it; their ids are those of any other router's.
struct Trees {
    router: Router,
    parent: Context,
    child: Context,
}

fn trees(name: &str) -> Trees {
    let router = Router::builder().on_log(Log::default().sink()).build().unwrap();
    router.modules().source("work", WORK);
    let parent = router.connect(Local::new().name(name)).unwrap();
    let child = parent.connect(Local::new().name(format!("{name}.child"))).unwrap();
    Trees { router, parent, child }
}

/// What is of another router is told by name; nothing was sent.
fn assert_refused<T: Debug>(result: Result<T, Error>, what: &str, whose: &str) {
    match result {
        Err(Error::Send { what: found, reason }) => {
            assert_eq!(found, what);
            let begin = format!("{whose} belongs to another Router");
            assert!(reason.starts_with(&begin), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// A type of a user's own.
struct Job {
    context: Context,
}

impl ToValue for Job {
    fn to_value(&self) -> Value {
        Value::Dict(vec![(Value::Text("context".into()), self.context.to_value())])
    }
}

#[test]
fn a_context_of_another_router_is_refused_wherever_it_is_in_the_arguments() {
    isolated(|| {
        let (ours, theirs) = (trees("ours"), trees("theirs"));
        let (parent, foreign) = (&ours.parent, theirs.child.clone());
        assert_eq!(ours.child.id(), foreign.id());
        let refused = |result: Result<Value, Error>| {
            let whose = format!("context theirs.child (id {})", foreign.id());
            assert_refused(result, "arguments of work:give", &whose);
        };
        let give = "work:give";
        refused(parent.call(give, (&foreign,)));
        refused(parent.call(give, (vec![(1, Some(&foreign))],)));
        refused(parent.call(give, (VecDeque::from([&foreign]),)));
        refused(parent.call(give, (BTreeMap::from([("key", &foreign)]),)));
        refused(parent.call(give, (Job { context: foreign.clone() },)));
        refused(parent.call(give, vec![Value::List(vec![foreign.to_value()])]));
        refused(parent.function(give).arg(&foreign).call());
        refused(parent.function(give).kwarg("value", (&foreign,)).call());
        refused(parent.call_no_reply(give, (&foreign,)).map(|()| Value::None));
        // As a value it has come from there.
        let value: Value = theirs.parent.call(give, ([&foreign],)).unwrap();
        refused(parent.call(give, (&value,)));
        // And is nobody's of here.
        let error = Vec::<Context>::from_value(value.clone(), parent).unwrap_err().to_string();
        assert_eq!(error, "expected a Context at [0], got context theirs.child of another Router");
        assert!(Vec::<Context>::from_value(value, &theirs.parent).unwrap().contains(&foreign));

        // One of the same router is called, also when it came back as a value.
        let pid = ours.child.info().unwrap().pid;
        assert_eq!(parent.call::<u32>("work:pid", (&ours.child,)).unwrap(), pid);
        let value: Value = parent.call(give, (&ours.child,)).unwrap();
        assert_eq!(value, ours.child.to_value());
        assert_eq!(parent.call::<u32>("work:pid", (value,)).unwrap(), pid);
        for trees in [ours, theirs] {
            trees.router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_sender_of_another_router_is_refused_and_its_channel_goes_on() {
    isolated(|| {
        let (ours, theirs) = (trees("ours"), trees("theirs"));
        let (sender, items) = theirs.router.channel::<i64>();
        let below: Sender<i64> = theirs.child.call("work:receive", ()).unwrap();
        for (foreign, to) in [(&sender, 0), (&below, theirs.child.id())] {
            let whose = format!("a Sender to context {to}");
            let refused =
                |result| assert_refused::<Value>(result, "arguments of work:give", &whose);
            refused(ours.parent.call("work:give", (foreign,)));
            refused(ours.parent.call("work:give", ([Some(foreign)],)));
            refused(ours.parent.function("work:give").arg(foreign).call());
            refused(ours.parent.function("work:give").kwarg("value", foreign).call());
            let error = Sender::<i64>::from_value(foreign.to_value(), &ours.parent).unwrap_err();
            let found = format!("one to context {to} of another Router");
            assert_eq!(error.to_string(), format!("expected a Sender, got {found}"));
        }
        sender.send(1).unwrap();
        assert_eq!(items.recv().unwrap(), 1);
        below.send(2).unwrap();
        assert_eq!(theirs.child.call::<i64>("work:received", ()).unwrap(), 2);
        for trees in [ours, theirs] {
            trees.router.shutdown().unwrap();
        }
    });
}

#[test]
fn an_item_of_a_channel_that_holds_another_routers_context_or_sender_is_refused() {
    isolated(|| {
        let (ours, theirs) = (trees("ours"), trees("theirs"));
        let (foreign_sender, _items) = theirs.router.channel::<()>();
        let (here, items) = ours.router.channel::<Value>();
        let there: Sender<Value> = ours.child.call("work:receive", ()).unwrap();
        for channel in [&here, &there] {
            let context = format!("context theirs.child (id {})", theirs.child.id());
            let item = || Value::List(vec![theirs.child.to_value()]);
            assert_refused(channel.send(item()), "channel item", &context);
            assert_refused(channel.try_send(item()), "channel item", &context);
            let item = foreign_sender.to_value();
            assert_refused(channel.send(item), "channel item", "a Sender to context 0");
            channel.send(ours.child.to_value()).unwrap();
        }
        let own = Context::from_value(items.recv().unwrap(), &ours.parent).unwrap();
        assert_eq!(own, ours.child);
        assert_eq!(ours.child.call::<Context>("work:received", ()).unwrap(), ours.child);
        for trees in [ours, theirs] {
            trees.router.shutdown().unwrap();
        }
    });
}
