//! Promise: a child that does not keep to the rules loses its stream; nobody else loses anything.

use std::time::Duration;

use econtext::{Context, Error, Local, Router, RouterBuilder};

mod support;

use support::{Python, for_each_kind_of_python, isolated};

const HOSTILE: &str = r#"
import os
import signal
from econtext.core import encode, takes_router

@takes_router
def send_without_credit(sender, router):
    item = encode(b'x' * 1000)
    for _ in range(1000):
        router.stream.send(sender.context_id, sender.handle, item, sender.credit.control)

@takes_router
def ask_and_do_not_read(count, router):
    for _ in range(count):
        router.stream.send(router.parent, 100, encode('noise'), 107)
    os.kill(os.getpid(), signal.SIGSTOP)

@takes_router
def count_handlers(sender, router):
    sender.send(1)
    return len(router.handlers)

def fill(sender):
    sent = 0
    while sender.send(b'x' * 100, block=False):
        sent += 1
    return sent
"#;

/// Longer than anything but a failure takes.
const SOON: Duration = Duration::from_secs(30);

fn start(python: &Python, builder: RouterBuilder) -> (Router, Context) {
    let router = builder.build().unwrap();
    router.modules().source("hostile", HOSTILE);
    let context = router.connect(Local::new().python(&python.path).name("child")).unwrap();
    (router, context)
}

#[test]
fn a_sender_that_ignores_credit_loses_its_stream() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (router, context) = start(python, Router::builder().channel_window_bytes(4096));
            let other = router.connect(Local::new().python(&python.path)).unwrap();
            let (sender, receiver) = router.channel::<Vec<u8>>();
            let call = context.call_async::<()>("hostile:send_without_credit", (sender,)).unwrap();
            let error = call.get_timeout(SOON).unwrap_err().to_string();
            let why = "disconnected: it sent to a channel without credit";
            assert_eq!(error, format!("child: call of hostile:send_without_credit: {why}"));
            // What was within the window can be read; then comes the reason.
            let items: Vec<_> = receiver.iter().collect();
            assert!(
                (1..5).contains(&items.iter().filter(|item| item.is_ok()).count()),
                "{items:?}"
            );
            assert!(matches!(items.last(), Some(Err(Error::Disconnected { .. }))), "{items:?}");
            assert_eq!(other.call::<i64>("operator:neg", (1,)).unwrap(), -1);
        });
    });
}

#[test]
fn a_child_that_asks_for_modules_and_does_not_read_them_loses_its_stream() {
    isolated(|| {
        // Noise, so that it is not small once it is compressed.
        let mut state = 1_u64;
        let mut noise = String::from("TEXT = '");
        while noise.len() < 3 << 19 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            noise.push_str(&format!("{:016x}", state ^ (state >> 29)));
        }
        noise.push_str("'\n");
        for_each_kind_of_python(|python| {
            let (router, context) = start(python, Router::builder().max_message_bytes(1 << 20));
            router.modules().source("noise", noise.as_str());
            let target = "hostile:ask_and_do_not_read";
            let call = context.call_async::<()>(target, (400,)).unwrap();
            let error = call.get_timeout(SOON).unwrap_err().to_string();
            let why = "disconnected: it does not read its answers";
            assert_eq!(error, format!("child: call of {target}: {why}"));
        });
    });
}

#[test]
fn a_sender_that_is_passed_again_and_again_takes_no_more_room() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (router, context) = start(python, Router::builder());
            let (sender, receiver) = router.channel::<i64>();
            let count =
                || context.call::<usize>("hostile:count_handlers", (sender.clone(),)).unwrap();
            let first = count();
            assert!((0..100).all(|_| count() == first));
            assert_eq!((0..101).map(|_| receiver.recv().unwrap()).sum::<i64>(), 101);
        });
    });
}

#[test]
fn a_sender_that_may_not_wait_says_when_it_would_have_to() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (router, context) = start(python, Router::builder().channel_window_bytes(1024));
            let (sender, receiver) = router.channel::<Vec<u8>>();
            let sent: usize = context.call("hostile:fill", (sender.clone(),)).unwrap();
            assert!((5..9).contains(&sent), "{sent} items of 100 bytes in a window of 1,024");
            while receiver.try_recv().unwrap().is_some() {}
            let here = (0..100).take_while(|_| sender.try_send(vec![0; 100]).unwrap()).count();
            assert!((5..9).contains(&here), "{here} items of 100 bytes in a window of 1,024");
            receiver.recv().unwrap();
            assert!(sender.try_send(vec![0; 100]).unwrap());
        });
    });
}
