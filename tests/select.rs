//! Promise: a `Select` gives what its sources have, all of it and each once, whichever comes first.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Event, Key, Local, Pending, Result, Router, Select, Sender, Value};

mod support;

use support::{Process, Python, for_each_kind_of_python, interpreters, isolated};

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(30);

const WORK: &str = r#"
from econtext.core import Receiver

def echo(value):
    return value

def fail(message):
    raise ValueError(message)

def count(out, stop):
    for number in range(stop):
        out.send(number)

def flood(out):
    number = 0
    while True:
        out.send(number)
        number += 1

def after(gate, value):
    receiver = Receiver()
    gate.send(receiver.sender())
    receiver.get()
    return value
"#;

fn router() -> Router {
    let router = Router::builder()
        .shutdown_grace(Duration::from_millis(300))
        .on_log(|_| {})
        .build()
        .unwrap();
    router.modules().source("work", WORK);
    router
}

fn any() -> Local {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    let python = interpreters().iter().rfind(is_cpython).expect("a Python 3");
    Local::new().python(&python.path)
}

/// A call whose answer comes when something is sent to what is given beside it.
fn held(router: &Router, context: &Context, value: i64) -> (Pending<i64>, Sender<()>) {
    let (sender, gate) = router.channel::<Sender<()>>();
    let pending = context.call_async("work:after", (sender, value)).unwrap();
    (pending, gate.recv_timeout(SOON).unwrap())
}

/// A call whose answer is here.
fn answered(context: &Context, value: i64) -> Pending<i64> {
    let pending = context.call_async("work:echo", (value,)).unwrap();
    // Answers come in order.
    context.call::<()>("work:echo", ((),)).unwrap();
    pending
}

/// The next event, which is to come.
fn next<T: 'static>(select: &mut Select<T>) -> Event<T> {
    select.recv_timeout(SOON).unwrap().expect("there are sources left")
}

fn value<T: 'static>(select: &mut Select<T>) -> T {
    next(select).into_result().unwrap()
}

#[track_caller]
fn assert_nothing<T: 'static + std::fmt::Debug>(select: &mut Select<T>) {
    let result = select.recv_timeout(Duration::from_millis(20));
    assert!(matches!(result, Err(Error::TimedOut { .. })), "{result:?}");
}

#[test]
fn answers_are_given_as_they_come_with_their_keys_and_contexts() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let slow = router.connect(Local::new().python(&python.path).name("slow")).unwrap();
            let fast = router.connect(Local::new().python(&python.path).name("fast")).unwrap();
            let (pending, gate) = held(&router, &slow, 1);
            let mut select = Select::new();
            let slow_key = select.add(pending);
            let fast_key = select.add(fast.call_async("work:echo", (2,)).unwrap());
            assert_eq!(select.len(), 2);
            let event = next(&mut select);
            assert_eq!((event.key(), event.context()), (fast_key, &fast));
            assert_eq!(event.result().unwrap(), &2);
            gate.send(()).unwrap();
            let event = next(&mut select);
            assert_eq!((event.key(), event.context().name()), (slow_key, "slow"));
            assert_eq!(event.into_result().unwrap(), 1);
            assert!(select.is_empty() && select.recv().is_none());
        });
    });
}

#[test]
fn what_a_source_had_before_it_was_added_counts() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        (0..3).for_each(|number| sender.send(number).unwrap());
        let (closed, ended) = router.channel::<i64>();
        closed.send(10).unwrap();
        closed.close();
        let mut select = Select::new();
        select.add(answered(&context, 100));
        select.add(&receiver);
        select.add(ended);
        let mut values: Vec<i64> = (0..5)
            .map(|_| select.recv_timeout(Duration::ZERO).unwrap().unwrap().into_result().unwrap())
            .collect();
        values.sort();
        assert_eq!(values, [0, 1, 2, 10, 100]);
        assert_nothing(&mut select);
        drop(sender);
        assert!(select.recv().is_none());
    });
}

#[test]
fn iteration_gives_every_answer_and_item_once_until_nothing_is_left() {
    isolated(|| {
        let router = router();
        let contexts = [(); 4].map(|()| router.connect(any()).unwrap());
        let mut select = Select::new();
        let mut keys = HashSet::new();
        for number in 0..100 {
            let context = &contexts[number as usize % contexts.len()];
            keys.insert(select.add(context.call_async::<i64>("work:echo", (number,)).unwrap()));
        }
        let (sender, receiver) = router.channel::<i64>();
        let call = contexts[0].call_async::<()>("work:count", (sender, 1000)).unwrap();
        let channel = select.add(receiver);
        let (mut answers, mut items) = (HashSet::new(), Vec::new());
        for event in select {
            if event.key() == channel {
                assert_eq!(event.context(), &contexts[0]);
                items.push(event.into_result().unwrap());
            } else {
                assert!(keys.remove(&event.key()));
                assert!(answers.insert(event.into_result().unwrap()));
            }
        }
        assert_eq!((answers.len(), keys.len()), (100, 0));
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
        call.get().unwrap();
    });
}

#[test]
fn an_empty_set_gives_nothing_at_once() {
    isolated(|| {
        let mut select = Select::<i64>::new();
        assert!(select.is_empty());
        assert_eq!(select.len(), 0);
        assert!(select.recv().is_none() && select.next().is_none());
        assert!(select.recv_timeout(SOON).unwrap().is_none());
        assert!(Select::<i64>::default().recv().is_none());
    });
}

#[test]
fn sources_of_several_types_are_mixed_by_wrapping() {
    #[derive(Debug, PartialEq)]
    enum Either {
        Number(i64),
        Text(String),
    }
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<String>();
        let mut select = Select::new();
        let number = select.add_as(answered(&context, 1), Either::Number);
        let text = select.add_as(&receiver, Either::Text);
        let mut inner = Select::new();
        inner.add(answered(&context, 2));
        let nested = select.add_as(inner, Either::Number);
        sender.send("text".into()).unwrap();
        drop(sender);
        let mut found: Vec<(Key, Either)> =
            select.map(|event| (event.key(), event.into_result().unwrap())).collect();
        found.sort_by_key(|(key, _)| *key);
        let expected = [
            (number, Either::Number(1)),
            (text, Either::Text("text".into())),
            (nested, Either::Number(2)),
        ];
        assert_eq!(found, expected);
    });
}

#[test]
fn a_set_in_a_set_gives_its_events_under_its_own_key() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        let (other, another) = router.channel::<i64>();
        // One source is ready before its set is added, one becomes so later, one set is empty.
        let mut innermost = Select::new();
        innermost.add(answered(&context, 1));
        innermost.add(&receiver);
        let mut middle = Select::new();
        middle.add(innermost);
        middle.add(&another);
        let mut outer = Select::new();
        let key = outer.add(middle);
        let empty = outer.add(Select::new());
        let event = next(&mut outer);
        assert_eq!((event.key(), event.context()), (key, &context));
        assert_eq!(event.into_result().unwrap(), 1);
        assert_nothing(&mut outer);
        assert!(!outer.remove(empty), "an empty set leaves by itself");
        sender.send(2).unwrap();
        assert_eq!(value(&mut outer), 2);
        other.send(3).unwrap();
        sender.send(4).unwrap();
        let mut both = [value(&mut outer), value(&mut outer)];
        both.sort();
        assert_eq!(both, [3, 4]);
        thread::scope(|scope| {
            scope.spawn(move || {
                sender.send(5).unwrap();
                drop(sender);
                drop(other);
            });
            assert_eq!(outer.next().unwrap().into_result().unwrap(), 5);
            assert!(outer.recv().is_none());
        });
    });
}

#[test]
fn a_wait_ends_at_its_deadline_and_loses_nothing() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (pending, gate) = held(&router, &context, 7);
        let mut select = Select::new();
        select.add(pending);
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            let start = Instant::now();
            let error = select.recv_timeout(timeout).unwrap_err();
            assert!(start.elapsed() >= timeout);
            assert_eq!(error.to_string(), format!("select: no answer within {timeout:?}"));
        }
        gate.send(()).unwrap();
        // A timeout beyond what the clock can show is none.
        let event = select.recv_timeout(Duration::MAX).unwrap().unwrap();
        assert_eq!(event.into_result().unwrap(), 7);
    });
}

#[test]
fn a_source_that_is_removed_gives_nothing_more() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        let mut select = Select::new();
        let answer = select.add(answered(&context, 1));
        let channel = select.add(&receiver);
        let mut inner = Select::new();
        inner.add(answered(&context, 2));
        let nested = select.add(inner);
        sender.send(3).unwrap();
        for key in [answer, channel, nested] {
            assert!(select.remove(key));
            assert!(!select.remove(key));
        }
        assert!(select.is_empty() && select.recv().is_none());
        // A receiver that was only lent still has its item.
        assert_eq!(receiver.recv().unwrap(), 3);
        // What remains in a set goes on.
        let (pending, gate) = held(&router, &context, 4);
        let removed = select.add(&receiver);
        select.add(pending);
        select.remove(removed);
        sender.send(5).unwrap();
        gate.send(()).unwrap();
        assert_eq!(value(&mut select), 4);
        assert!(select.recv().is_none());
    });
}

#[test]
fn a_fast_channel_does_not_starve_a_slow_answer() {
    isolated(|| {
        let router = router();
        let [fast, slow] = [(); 2].map(|()| router.connect(any()).unwrap());
        let (sender, receiver) = router.channel::<i64>();
        let flood = fast.call_async::<()>("work:flood", (sender,)).unwrap();
        let (pending, gate) = held(&router, &slow, -1);
        let mut select = Select::new();
        let channel = select.add(receiver);
        select.add(pending);
        assert_eq!(next(&mut select).key(), channel);
        gate.send(()).unwrap();
        // It is here for certain; only its turn is waited for.
        slow.call::<()>("work:echo", ((),)).unwrap();
        let events = (0..3).map(|_| value(&mut select));
        assert!(events.collect::<Vec<_>>().contains(&-1));
        // Neither do two fast ones a third.
        let (sender, other) = router.channel::<i64>();
        for number in 0..3 {
            sender.send(-number - 10).unwrap();
        }
        select.add(&other);
        let events: Vec<i64> = (0..9).map(|_| value(&mut select)).collect();
        let found: Vec<i64> = events.into_iter().filter(|number| *number < 0).collect();
        assert_eq!(found, [-10, -11, -12]);
        drop((select, flood));
    });
}

#[test]
fn errors_are_events_like_others() {
    isolated(|| {
        let router = router();
        let [fails, dies, lives] =
            ["fails", "dies", "lives"].map(|name| router.connect(any().name(name)).unwrap());
        let mut select = Select::new();
        let raised = select.add(fails.call_async::<i64>("work:fail", ("why",)).unwrap());
        let unlike = select.add(fails.call_async::<i64>("work:echo", ("text",)).unwrap());
        let (pending, _gate) = held(&router, &dies, 0);
        let lost = select.add(pending);
        let (sender, receiver) = router.channel::<i64>();
        let closed = select.add(receiver);
        sender.close_with("the reason");
        let missing = Local::new().python("/nonexistent/python").name("missing");
        let missing = router.start(missing);
        let never = select.add(missing.call_async::<i64>("work:echo", (1,)).unwrap());
        let fine = select.add(lives.call_async::<i64>("work:echo", (5,)).unwrap());
        Process::open(dies.info().unwrap().pid as i32).signal(libc::SIGKILL);
        let mut events: Vec<Event<i64>> = select.collect();
        events.sort_by_key(Event::key);
        let keys: Vec<Key> = events.iter().map(Event::key).collect();
        assert_eq!(keys, [raised, unlike, lost, closed, never, fine]);
        let contexts: Vec<&str> = events.iter().map(|event| event.context().name()).collect();
        assert_eq!(contexts, ["fails", "fails", "dies", "master", "missing", "lives"]);
        let words = |event: Event<i64>| match event.into_result() {
            Ok(number) => number.to_string(),
            Err(error) => error.to_string(),
        };
        let words: Vec<String> = events.into_iter().map(words).collect();
        assert_eq!(words[0], "fails: call of work:fail: ValueError: why");
        let text = "expected i64, got str 'text' from the call of work:echo in fails";
        assert_eq!(words[1], text);
        assert_eq!(
            words[2],
            "dies: call of work:after: disconnected: the child ended: killed by signal 9"
        );
        assert_eq!(words[3], "channel closed: the reason");
        assert!(words[4].starts_with("missing: starting the process: "), "{}", words[4]);
        assert_eq!(words[5], "5");
    });
}

#[test]
fn an_item_that_another_thread_took_is_no_event() {
    isolated(|| {
        let router = router();
        let (sender, receiver) = router.channel::<i64>();
        let mut select = Select::new();
        select.add(&receiver);
        select.add(&receiver);
        sender.send(1).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1);
        assert_nothing(&mut select);
        sender.send(2).unwrap();
        assert_eq!(value(&mut select), 2);
        assert_nothing(&mut select);
        // Many takers: each item once.
        let count = 2000;
        let mut found: Vec<i64> = thread::scope(|scope| {
            let selecting = scope.spawn(move || -> Vec<i64> {
                select.map(|event| event.into_result().unwrap()).collect()
            });
            let receiving = scope.spawn(|| receiver.iter().map(Result::unwrap).collect::<Vec<_>>());
            (0..count).for_each(|number| sender.send(number).unwrap());
            drop(sender);
            [selecting.join().unwrap(), receiving.join().unwrap()].concat()
        });
        found.sort();
        assert_eq!(found, (0..count).collect::<Vec<_>>());
    });
}

#[test]
fn a_set_that_is_dropped_drops_what_it_owns() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (pending, gate) = held(&router, &context, 1);
        let (owned, owned_receiver) = router.channel::<i64>();
        let (lent, lent_receiver) = router.channel::<i64>();
        let mut inner = Select::new();
        inner.add(owned_receiver);
        let mut select = Select::new();
        select.add(pending);
        select.add(&lent_receiver);
        select.add(inner);
        drop(select);
        assert_eq!(owned.send(1).unwrap_err().to_string(), "channel closed: the receiver is gone");
        lent.send(2).unwrap();
        assert_eq!(lent_receiver.recv().unwrap(), 2);
        // The function runs all the same, and the next call has its own answer.
        gate.send(()).unwrap();
        assert_eq!(context.call::<i64>("work:echo", (3,)).unwrap(), 3);
    });
}

#[test]
fn sources_can_be_added_while_it_is_in_use() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let mut select = Select::new();
        select.add(context.call_async::<i64>("work:echo", (0,)).unwrap());
        let mut seen = Vec::new();
        while let Some(event) = select.recv() {
            let number = event.into_result().unwrap();
            seen.push(number);
            if number < 20 {
                select.add(context.call_async("work:echo", (number + 1,)).unwrap());
            }
        }
        assert_eq!(seen, (0..=20).collect::<Vec<_>>());
    });
}

#[test]
fn answers_of_contexts_that_still_start_are_waited_for() {
    isolated(|| {
        let router = router();
        let contexts = [(); 3].map(|()| router.start(any()));
        let mut select = Select::new();
        for context in &contexts {
            // Queued behind the start.
            select.add(context.call_async::<Value>("work:echo", (Value::None,)).unwrap());
        }
        let names: HashSet<String> =
            select.map(|event| event.context().name().to_string()).collect();
        assert_eq!(names, contexts.iter().map(|context| context.name().to_string()).collect());
    });
}
