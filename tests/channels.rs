//! Promise: what is sent into a channel arrives in order, in bounded memory, and whoever sends or receives
//! learns of its end, with the reason.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Local, Pending, Receiver, Result, Router, Sender, Value};

mod support;

use support::{Process, Python, for_each_kind_of_python, for_each_python, interpreters, isolated};

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(30);
/// What is under way in a channel at most, in these tests.
const WINDOW: usize = 256 << 10;

const WORK: &str = r#"
import gc, threading, time
from econtext.core import ChannelError, Receiver

def echo(value):
    return value

def count(out, start, stop):
    for number in range(start, stop):
        out.send(number)

def send_all(out, items):
    for item in items:
        out.send(item)

def deep(value, deeper=None):
    value['list'][0][1].send(u'from the dict')
    deeper[0].send(u'from the keyword')

def fail_after(out, count):
    for number in range(count):
        out.send(number)
    raise ValueError('enough of it')

def close_with(out, count, reason):
    for number in range(count):
        out.send(number)
    out.close(reason)
    try:
        out.send(None)
    except ChannelError as error:
        return u'%s' % error

def close_while_sending(out):
    told = []
    def send():
        try:
            while True:
                out.send(b'x' * 10000)
        except ChannelError as error:
            told.append(u'%s' % error)
    thread = threading.Thread(target=send)
    thread.daemon = True
    thread.start()
    while not out.credit.waiters:
        time.sleep(.01)
    out.close()
    thread.join(20)
    return told[0]

def forge_sender(context_id, handle):
    class Forged(object):
        def __reduce__(self):
            from econtext.core import Sender
            return Sender, (context_id, handle)
    return Forged()

def keep(out):
    global kept
    kept = out

def use_kept(count):
    for number in range(count):
        kept.send(number)

def words(function, *args):
    try:
        function(*args)
    except Exception as error:
        return u'%s: %s' % (type(error).__name__, error)

def send_until_told(out, size=20000):
    out.send(b'first')
    while True:
        try:
            out.send(b'x' * size)
        except ChannelError as error:
            return u'%s' % error

def use_kept_until_told():
    return send_until_told(kept)

def send_size(out, size):
    return words(out.send, b'x' * size)

def send_what_cannot_be(out):
    return words(out.send, threading.Lock())

def flood(out, size, count):
    data = b'x' * size
    for number in range(count):
        out.send(data)

def from_threads(out, threads, count):
    def send(thread):
        for number in range(count):
            out.send((thread, number))
    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def to_itself():
    receiver = Receiver()
    sender = receiver.sender()
    for number in range(1000):
        sender.send(number)
        if receiver.get() != number:
            return number
    sender.close()
    return list(receiver)

# What the program sends.

def open_receiver():
    global receiver
    receiver = Receiver()
    return receiver.sender()

def receive(count):
    return [receiver.get(50) for number in range(count)]

def receive_all():
    return list(receiver)

def receive_until_told():
    items = []
    try:
        for item in receiver:
            items.append(item)
    except ChannelError as error:
        return items, u'%s' % error

def sizes():
    return [len(item) for item in receiver]

def total(pause):
    time.sleep(pause)
    return sum(len(item) for item in receiver)

def time_out():
    start = time.time()
    said = words(receiver.get, .05)
    return said, words(receiver.get, 0), time.time() - start >= .05

def close_receiver(reason=None):
    receiver.close(reason)
    return words(receiver.get)

def drop_receiver():
    global receiver
    receiver = None
    gc.collect()

def receive_in_threads(threads):
    found, lock = [], threading.Lock()
    def run():
        for item in receiver:
            with lock:
                found.append(item)
    threads = [threading.Thread(target=run) for thread in range(threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)

def wake_threads(ready, threads):
    said, lock = [], threading.Lock()
    def run():
        word = words(receiver.get)
        with lock:
            said.append(word)
    threads = [threading.Thread(target=run) for thread in range(threads)]
    for thread in threads:
        thread.start()
    ready.send(None)
    for thread in threads:
        thread.join()
    return said
"#;

fn router() -> Router {
    with_window(WINDOW)
}

fn with_window(bytes: usize) -> Router {
    let router = Router::builder()
        .shutdown_grace(Duration::from_millis(500))
        .channel_window_bytes(bytes)
        .on_log(|_| {})
        .build()
        .unwrap();
    router.modules().source("work", WORK);
    router
}

fn local(python: &Python) -> Local {
    Local::new().python(&python.path)
}

fn any() -> Local {
    let is_cpython = |python: &&Python| python.name.starts_with("python3");
    local(interpreters().iter().rfind(is_cpython).expect("a Python 3"))
}

fn words<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("an error").to_string()
}

/// All items until the end, which is to be nothing but that.
fn all<T: econtext::FromValue>(receiver: &Receiver<T>) -> Vec<T> {
    receiver.iter().map(|item| item.unwrap()).collect()
}

fn get<T: econtext::FromValue>(pending: Pending<T>) -> T {
    pending.get_timeout(SOON).unwrap()
}

#[test]
fn a_ping_is_answered_by_the_program_and_by_a_child() {
    const PING: &str = "from econtext.core import decode, takes_router\n\n@takes_router\n\
        def ping(sender, router):\n    answers = []\n    \
        def on_answer(src, auth, reply_to, data):\n        answers.append(src)\n        \
        sender.send(decode(data))\n    \
        router.send(0, 108, None, router.add_handler(on_answer, None))\n\n@takes_router\n\
        def pinged(sender, router):\n    \
        router.handlers[108][0](sender.context_id, 0, sender.handle, b'')\n";
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = Router::new().unwrap();
            router.modules().source("pings", PING);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            for target in ["pings:ping", "pings:pinged"] {
                let (sender, answers) = router.channel::<Value>();
                context.call::<()>(target, (sender.clone(),)).unwrap();
                assert_eq!(answers.recv_timeout(SOON).unwrap(), Value::None, "{target}");
            }
        });
    });
}

#[test]
fn what_python_sends_arrives_in_order_until_the_call_ends() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            let call = context.call_async::<()>("work:count", (sender, 0, 2000)).unwrap();
            assert_eq!(all(&receiver), (0..2000).collect::<Vec<_>>());
            // The answer is here before the end shows.
            call.get_timeout(Duration::ZERO).unwrap();
            assert_eq!(words(receiver.recv()), "channel closed");
            assert_eq!(words(receiver.try_recv()), "channel closed");
        });
    });
}

#[test]
fn what_the_program_sends_arrives_in_order_until_its_last_sender_is_gone() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let sender: Sender<i64> = context.call("work:open_receiver", ()).unwrap();
            let items = context.call_async::<Vec<i64>>("work:receive_all", ()).unwrap();
            let other = sender.clone();
            (0..1000).for_each(|number| sender.send(number).unwrap());
            drop(sender);
            (1000..2000).for_each(|number| other.send(number).unwrap());
            drop(other);
            assert_eq!(get(items), (0..2000).collect::<Vec<_>>());
        });
    });
}

#[test]
fn a_sender_can_be_anywhere_in_the_arguments_and_in_a_result() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (one, dict) = router.channel::<String>();
            let (two, keyword) = router.channel::<String>();
            let nested = BTreeMap::from([("list", vec![(1, one)])]);
            let call = context.function("work:deep").arg(nested).kwarg("deeper", (two,));
            let call = call.call_async::<()>().unwrap();
            assert_eq!(dict.iter().map(Result::unwrap).collect::<String>(), "from the dict");
            assert_eq!(keyword.iter().map(Result::unwrap).collect::<String>(), "from the keyword");
            get(call);
            // There and back it is the same sender; the channel ends with the last of both.
            let (sender, receiver) = router.channel::<i64>();
            let back: Vec<(i64, Sender<i64>)> =
                context.call("work:echo", (vec![(7, sender.clone())],)).unwrap();
            drop(sender);
            back[0].1.send(1).unwrap();
            assert_eq!(receiver.recv().unwrap(), 1);
            assert!(receiver.try_recv().unwrap().is_none());
            drop(back);
            assert_eq!(words(receiver.recv()), "channel closed");
        });
    });
}

#[test]
fn a_function_that_raises_ends_its_readers_wait() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            let call = context.call_async::<()>("work:fail_after", (sender, 3)).unwrap();
            assert_eq!(all(&receiver), [0, 1, 2]);
            let text = format!("{context}: call of work:fail_after: ValueError: enough of it");
            assert_eq!(words(call.get_timeout(Duration::ZERO)), text);
        });
    });
}

#[test]
fn a_clone_that_is_kept_lets_the_channel_outlive_the_call() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            context.call::<()>("work:keep", (sender.clone(),)).unwrap();
            context.call::<()>("work:use_kept", (3,)).unwrap();
            assert!([0, 1, 2].iter().all(|number| receiver.recv().unwrap() == *number));
            assert!(receiver.try_recv().unwrap().is_none());
            drop(sender);
            assert_eq!(words(receiver.recv()), "channel closed");
        });
    });
}

#[test]
fn a_sender_that_python_keeps_beyond_its_call_is_told_of_the_end() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<Value>();
            context.call::<()>("work:keep", (sender,)).unwrap();
            assert_eq!(words(receiver.recv()), "channel closed");
            let told = context.call_with_deadline::<String>(SOON, "work:use_kept_until_told", ());
            assert_ne!(told.unwrap(), "");
            drop(receiver);
        });
    });
}

#[test]
fn a_sender_in_a_call_without_an_answer_lives_as_long_as_the_context() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        context.call_no_reply("work:keep", (sender,)).unwrap();
        context.call::<()>("work:use_kept", (3,)).unwrap();
        assert!([0, 1, 2].iter().all(|number| receiver.recv().unwrap() == *number));
        context.shutdown().unwrap();
        let why = "receiving from a channel: disconnected: it was shut down";
        assert_eq!(words(receiver.recv()), format!("{context}: {why}"));
    });
}

#[test]
fn closing_the_sending_end_gives_the_reason_after_what_was_sent() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            // From Python.
            let (sender, receiver) = router.channel::<i64>();
            let target = "work:close_with";
            let call = context.call_async::<String>(target, (sender, 2, "all is said")).unwrap();
            assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (0, 1));
            assert_eq!(words(receiver.recv()), "channel closed: all is said");
            assert_eq!(words(receiver.recv()), "channel closed: all is said");
            assert_eq!(get(call), "the channel is closed");
            // From here.
            let sender: Sender<i64> = context.call("work:open_receiver", ()).unwrap();
            sender.send(1).unwrap();
            sender.close_with("no more of it");
            assert!(matches!(sender.send(2), Err(Error::Closed { .. })));
            let target = "work:receive_until_told";
            let items = context.call::<(Vec<i64>, String)>(target, ()).unwrap();
            assert_eq!(items, (vec![1], "no more of it".to_string()));
        });
    });
}

#[test]
fn closing_or_dropping_the_receiving_end_tells_the_sender() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            // Here; the first item says that Python has begun, then it waits for credit or is about to.
            let send = |router: &Router| {
                let (sender, receiver) = router.channel::<Value>();
                let call = context.call_async::<String>("work:send_until_told", (sender,)).unwrap();
                receiver.recv_timeout(SOON).unwrap();
                (call, receiver)
            };
            let (call, receiver) = send(&router);
            drop(receiver);
            assert_eq!(get(call), "the receiver is gone");
            let (call, receiver) = send(&router);
            receiver.close();
            let told = get(call);
            assert!(told == "the receiver was closed" || told == "the receiver is gone", "{told}");
            assert_eq!(words(receiver.recv()), "channel closed: the receiver was closed");
            // In Python; the sender here has used up its credit.
            for (how, reason) in [
                ("work:drop_receiver", "channel closed: the receiver was dropped"),
                ("work:close_receiver", "channel closed: the receiver is closed"),
            ] {
                let sender: Sender<Vec<u8>> = context.call("work:open_receiver", ()).unwrap();
                sender.send(vec![b'x'; WINDOW - 1000]).unwrap();
                thread::scope(|scope| {
                    let blocked = scope.spawn(|| sender.send(vec![b'x'; WINDOW - 1000]));
                    context.call::<Value>(how, ()).unwrap();
                    assert_eq!(words(blocked.join().unwrap()), reason);
                });
                assert_eq!(words(sender.send(vec![])), reason);
            }
        });
    });
}

#[test]
fn one_sender_that_closes_the_channel_ends_it_for_the_others() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let contexts = [(); 2].map(|()| router.connect(local(python)).unwrap());
            let (sender, receiver) = router.channel::<Value>();
            let target = "work:send_until_told";
            let endless = contexts[0].call_async::<String>(target, (sender.clone(),)).unwrap();
            receiver.recv_timeout(SOON).unwrap();
            let end = (sender.clone(), 0, "the other closed it");
            contexts[1].call::<Value>("work:close_with", end).unwrap();
            let last = receiver.iter().last().unwrap();
            assert_eq!(words(last), "channel closed: the other closed it");
            assert_ne!(get(endless), "");
            assert!(sender.send(Value::None).is_err());
        });
    });
}

#[test]
fn waits_for_an_item_end_at_their_deadline() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            assert!(receiver.try_recv().unwrap().is_none());
            let timeout = Duration::from_millis(20);
            let start = Instant::now();
            assert_eq!(words(receiver.recv_timeout(timeout)), "receiving: no answer within 20ms");
            assert!(start.elapsed() >= timeout);
            sender.send(1).unwrap();
            assert_eq!(receiver.recv_timeout(timeout).unwrap(), 1);
            sender.send(2).unwrap();
            assert_eq!(receiver.try_recv().unwrap(), Some(2));
            // In Python; an item that comes later is not lost.
            let sender: Sender<i64> = context.call("work:open_receiver", ()).unwrap();
            let said: (String, String, bool) = context.call("work:time_out", ()).unwrap();
            let expected = "TimeoutError: nothing arrived in time".to_string();
            assert_eq!(said, (expected.clone(), expected, true));
            sender.send(3).unwrap();
            assert_eq!(context.call::<Vec<i64>>("work:receive", (1,)).unwrap(), [3]);
        });
    });
}

#[test]
fn an_item_of_another_type_is_one_error_and_the_next_is_received() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        let items: Vec<Value> =
            vec![Value::Int(1), Value::Text("two".into()), Value::None, Value::Int(4)];
        let call = context.call_async::<()>("work:send_all", (sender, items)).unwrap();
        let items: Vec<String> = receiver
            .iter()
            .map(|item| item.map_or_else(|error| error.to_string(), |number| number.to_string()))
            .collect();
        assert_eq!(items.len(), 4, "{items:?}");
        assert_eq!((&*items[0], &*items[3]), ("1", "4"));
        assert!(items[1].starts_with("expected ") && items[1].contains("'two'"), "{items:?}");
        assert!(items[2].starts_with("expected ") && items[2].ends_with("got None"), "{items:?}");
        get(call);
    });
}

#[test]
fn several_senders_fill_one_receiver_each_in_its_own_order() {
    isolated(|| {
        let router = router();
        let (sender, receiver) = router.channel::<(i64, i64)>();
        let mut calls = Vec::new();
        for_each_kind_of_python(|python| {
            let context = router.connect(local(python)).unwrap();
            let call = (sender.clone(), 3, 300);
            calls.push(context.call_async::<()>("work:from_threads", call).unwrap());
        });
        let contexts = calls.len();
        let local = sender.clone();
        drop(sender);
        thread::scope(|scope| {
            scope.spawn(move || {
                (0..300).for_each(|number| local.send((0, number)).unwrap());
            });
            let mut next = BTreeMap::new();
            for item in &receiver {
                let (thread, number) = item.unwrap();
                // Threads of this number send interleaved: each number once from each.
                *next.entry((thread, number)).or_insert(0) += 1;
            }
            assert_eq!(next.len(), 900);
            assert!(
                next.iter()
                    .all(|((thread, _), times)| *times == contexts + usize::from(*thread == 0))
            );
        });
        calls.into_iter().for_each(get);
    });
}

#[test]
fn one_sender_of_several_threads_keeps_each_threads_order() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = with_window(4096);
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<(usize, i64)>();
            let call = context.call_async::<()>("work:from_threads", (sender, 4, 500)).unwrap();
            let mut next = [0; 4];
            for item in &receiver {
                let (thread, number) = item.unwrap();
                assert_eq!(number, next[thread]);
                next[thread] += 1;
            }
            assert_eq!(next, [500; 4]);
            get(call);
        });
    });
}

#[test]
fn a_receiver_is_shared_by_threads_on_either_side() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = with_window(4096);
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<i64>();
            let call = context.call_async::<()>("work:count", (sender, 0, 5000)).unwrap();
            let found = Mutex::new(Vec::new());
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for item in &receiver {
                            found.lock().unwrap().push(item.unwrap());
                        }
                    });
                }
            });
            let mut found = found.into_inner().unwrap();
            found.sort();
            assert_eq!(found, (0..5000).collect::<Vec<_>>());
            get(call);
            // Each of the threads accounts for what it takes: no credit is lost.
            let sender: Sender<i64> = context.call("work:open_receiver", ()).unwrap();
            let target = "work:receive_in_threads";
            let call = context.call_async::<Vec<i64>>(target, (4,)).unwrap();
            (0..5000).for_each(|number| sender.send(number).unwrap());
            drop(sender);
            assert_eq!(get(call), (0..5000).collect::<Vec<_>>());
        });
    });
}

#[test]
fn the_end_wakes_every_thread_that_waits() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (ready, is_ready) = router.channel::<()>();
            let (sender, receiver) = router.channel::<i64>();
            let there: Sender<i64> = context.call("work:open_receiver", ()).unwrap();
            let target = "work:wake_threads";
            let said = context.call_async::<Vec<String>>(target, (ready, 5)).unwrap();
            is_ready.recv_timeout(SOON).unwrap();
            there.close_with("to all");
            assert_eq!(get(said), ["ChannelError: to all"; 5]);
            thread::scope(|scope| {
                let waiting: Vec<_> = (0..5).map(|_| scope.spawn(|| receiver.recv())).collect();
                sender.close_with("to all");
                for thread in waiting {
                    assert_eq!(words(thread.join().unwrap()), "channel closed: to all");
                }
            });
        });
    });
}

/// Sends items of such sizes there and back through a channel with this window.
fn sizes(python: &Python, window: usize, sizes: &[usize]) {
    let router = with_window(window);
    let context = router.connect(local(python)).unwrap();
    let (sender, receiver) = router.channel::<Vec<u8>>();
    let items: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    let call = context.call_async::<()>("work:send_all", (sender, items.clone())).unwrap();
    assert!(receiver.iter().map(Result::unwrap).map(|item| item.len()).eq(sizes.iter().copied()));
    get(call);
    let sender: Sender<Vec<u8>> = context.call("work:open_receiver", ()).unwrap();
    let call = context.call_async::<Vec<usize>>("work:sizes", ()).unwrap();
    items.into_iter().for_each(|item| sender.send(item).unwrap());
    drop(sender);
    assert_eq!(get(call), sizes);
}

#[test]
fn items_larger_than_the_window_go_one_by_one_and_small_ones_between_them() {
    isolated(|| {
        for_each_python(|python| {
            sizes(python, WINDOW, &[3 << 20, 1, 1 << 20, WINDOW, WINDOW - 100, 10, 5 << 20]);
        });
    });
}

#[test]
fn the_smallest_window_carries_items_of_any_size() {
    isolated(|| {
        for_each_python(|python| {
            let mixed: Vec<usize> = (0..300).map(|n| n * 37 % 1500).chain([100_000]).collect();
            sizes(python, 1, &mixed);
        });
    });
}

#[test]
fn an_item_over_the_message_limit_is_refused_where_it_is_sent() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router =
                Router::builder().max_message_bytes(1 << 20).on_log(|_| {}).build().unwrap();
            router.modules().source("work", WORK);
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<Vec<u8>>();
            let target = "work:send_size";
            let told = context.call::<String>(target, (sender.clone(), 1_100_000)).unwrap();
            let told = told.strip_prefix("StreamError: a message of ").unwrap();
            assert!(told.ends_with(" bytes is over the limit of 1048576"), "{told}");
            assert!(words(sender.send(vec![0; 1_100_000])).starts_with("channel item: "));
            // It goes on.
            let told = context.call::<Option<String>>(target, (sender, 1_000_000)).unwrap();
            assert_eq!(told, None);
            assert_eq!(receiver.recv().unwrap().len(), 1_000_000);
            let sender: Sender<Vec<u8>> = context.call("work:open_receiver", ()).unwrap();
            let told = words(sender.send(vec![b'x'; 1_100_000]));
            assert!(told.starts_with("channel item: "), "{told}");
            assert!(told.ends_with(" bytes, more than the 1048576 of max_message_bytes"), "{told}");
            sender.send(vec![b'x'; 1_000_000]).unwrap();
            drop(sender);
            assert_eq!(context.call::<Vec<usize>>("work:sizes", ()).unwrap(), [1_000_000]);
        });
    });
}

#[test]
fn an_item_that_cannot_be_sent_is_an_error_and_the_channel_goes_on() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<i64>();
        let told: String = context.call("work:send_what_cannot_be", (sender.clone(),)).unwrap();
        assert!(told.contains("lock"), "{told}");
        context.call::<()>("work:count", (sender, 1, 2)).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1);
    });
}

#[test]
fn a_context_can_send_to_itself() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = with_window(1024);
            let context = router.connect(local(python)).unwrap();
            let rest = context.call_with_deadline::<Vec<Value>>(SOON, "work:to_itself", ());
            assert_eq!(rest.unwrap(), []);
        });
    });
}

#[test]
fn a_sender_that_waits_for_credit_is_woken_by_whatever_ends_it() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            for how in ["death", "shutdown", "router", "close"] {
                let router = router();
                let context = router.connect(local(python).name("slow")).unwrap();
                let sender: Sender<Vec<u8>> = context.call("work:open_receiver", ()).unwrap();
                sender.send(vec![b'x'; WINDOW - 1000]).unwrap();
                thread::scope(|scope| {
                    let blocked = scope.spawn(|| sender.send(vec![b'x'; WINDOW - 1000]));
                    thread::sleep(Duration::from_millis(20));
                    let why = "slow: sending to a channel: disconnected: ";
                    let expected = match how {
                        "death" => {
                            let pid = context.info().unwrap().pid as i32;
                            Process::open(pid).signal(libc::SIGKILL);
                            format!("{why}the child ended: killed by signal 9")
                        }
                        "shutdown" => {
                            context.shutdown().unwrap();
                            format!("{why}it was shut down")
                        }
                        "router" => {
                            router.shutdown().unwrap();
                            "the router has been shut down".into()
                        }
                        _ => {
                            sender.close();
                            "channel closed".into()
                        }
                    };
                    let told = words(blocked.join().unwrap());
                    // A child that leaves in order may say so itself.
                    let in_order = "channel closed: the context is shutting down";
                    let may_say_so = how == "shutdown" || how == "router";
                    assert!(told == expected || may_say_so && told == in_order, "{how}: {told}");
                });
            }
        });
    });
}

#[test]
fn a_python_sender_that_waits_for_credit_is_woken_by_shutdown() {
    isolated(|| {
        for_each_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, receiver) = router.channel::<Value>();
            let call = context.call_async::<String>("work:send_until_told", (sender,)).unwrap();
            receiver.recv_timeout(SOON).unwrap();
            context.shutdown().unwrap();
            assert_eq!(get(call), "the context is shutting down");
        });
    });
}

#[test]
fn a_python_sender_that_waits_for_credit_is_woken_by_another_threads_close() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let router = router();
            let context = router.connect(local(python)).unwrap();
            let (sender, _receiver) = router.channel::<Value>();
            let call = context.call_async::<String>("work:close_while_sending", (sender,)).unwrap();
            assert_eq!(get(call), "the channel is closed");
        });
    });
}

#[test]
fn a_child_cannot_have_the_program_send_to_a_service_of_another() {
    isolated(|| {
        let router = router();
        let [one, other] = [(); 2].map(|()| router.connect(any()).unwrap());
        // Calls, shutdown, and where answers go.
        for handle in [101, 106, 1000] {
            let forged = one.call::<Sender<Value>>("work:forge_sender", (other.id(), handle));
            let words = words(forged);
            assert!(words.contains("which is not a receiver's"), "{words}");
        }
        assert_eq!(other.call::<i64>("work:echo", (5,)).unwrap(), 5);
    });
}

#[test]
fn a_sender_to_another_child_is_told_where_there_is_no_way() {
    isolated(|| {
        let router = Router::builder().unidirectional(true).on_log(|_| {}).build().unwrap();
        router.modules().source("work", WORK);
        let contexts = [(); 2].map(|()| router.connect(any()).unwrap());
        let sender: Sender<Value> = contexts[0].call("work:open_receiver", ()).unwrap();
        let told = contexts[1].call_with_deadline::<String>(
            SOON,
            "work:send_until_told",
            (sender, 20_000),
        );
        assert_ne!(told.unwrap(), "");
    });
}

/// How much more memory than at the start a process may have needed for a channel.
const FLAT_BYTES: u64 = 24 << 20;
const GIB: usize = 1 << 30;

fn assert_flat(process: &Process, before: u64, who: &str) {
    let more = process.peak_memory().saturating_sub(before);
    assert!(more < FLAT_BYTES, "{who} took {} KiB more", more >> 10);
}

fn measured(context: &Context) -> (Process, u64, Process, u64) {
    let child = Process::open(context.info().unwrap().pid as i32);
    let master = Process::open(std::process::id() as i32);
    for process in [&child, &master] {
        process.forget_peak_memory();
    }
    let (there, here) = (child.peak_memory(), master.peak_memory());
    (child, there, master, here)
}

#[test]
fn a_gibibyte_to_a_slow_receiver_here_leaves_memory_flat_on_both_sides() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<Vec<u8>>();
        let (child, there, master, here) = measured(&context);
        let call = context.call_async::<()>("work:flood", (sender, 1 << 20, GIB >> 20)).unwrap();
        let mut total = 0;
        for (number, item) in receiver.iter().enumerate() {
            total += item.unwrap().len();
            // Slower than Python sends, now and then by much.
            if number % 256 == 0 {
                thread::sleep(Duration::from_millis(200));
            }
        }
        assert_eq!(total, GIB);
        get(call);
        assert_flat(&child, there, "the child");
        assert_flat(&master, here, "the program");
    });
}

#[test]
fn a_gibibyte_to_a_slow_receiver_in_python_leaves_memory_flat_on_both_sides() {
    isolated(|| {
        let router = router();
        let context = router.connect(any()).unwrap();
        let sender: Sender<Vec<u8>> = context.call("work:open_receiver", ()).unwrap();
        let (child, there, master, here) = measured(&context);
        let call = context.call_async::<usize>("work:total", (0.3,)).unwrap();
        for _ in 0..GIB >> 20 {
            sender.send(vec![b'x'; 1 << 20]).unwrap();
        }
        drop(sender);
        assert_eq!(get(call), GIB);
        assert_flat(&child, there, "the child");
        assert_flat(&master, here, "the program");
    });
}

#[test]
fn many_small_items_to_a_slow_receiver_leave_memory_flat_on_both_sides() {
    isolated(|| {
        let router = with_window(16 << 10);
        let context = router.connect(any()).unwrap();
        let (sender, receiver) = router.channel::<Vec<u8>>();
        let call = context.call_async::<()>("work:flood", (sender, 1000, 48 << 10)).unwrap();
        receiver.recv().unwrap();
        let (child, there, master, here) = measured(&context);
        // Time enough to send all of it, for a sender that does not wait.
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(receiver.iter().count(), (48 << 10) - 1);
        get(call);
        assert_flat(&child, there, "the child");
        assert_flat(&master, here, "the program");
    });
}
