//! A tree of contexts on this machine: grown from outside and from inside, called, drawn, and cut.
//!
//! `cargo run --example tree`. With hosts in place of `Local::new()` nothing else changes.

use econtext::{Context, Local, Router, Select};

const WORK: &str = r#"
import os
from econtext import parent

def where():
    return '%d, a child of %d' % (os.getpid(), os.getppid())

def helper():
    """Code in a context starts one of its own, uses it, and gives it to the program."""
    context = parent.local()
    assert context.call('os:getppid') == os.getpid()
    return context
"#;

fn main() -> econtext::Result<()> {
    let router = Router::new()?;
    router.modules().source("work", WORK);

    // Nothing waits here: what is below queues behind what is above.
    let first = router.start(Local::new().name("first"));
    let second = first.start(Local::new().name("second"));
    let third = second.start(Local::new().name("third"));

    let mut replies = Select::new();
    for context in [&first, &second, &third] {
        replies.add(context.call_async::<String>("work:where", ())?);
    }
    for reply in replies {
        let name = reply.context().to_string();
        println!("{name}: {}", reply.into_result()?);
    }

    let helper: Context = third.call("work:helper", ())?;
    println!("{helper}: {}", helper.call::<String>("work:where", ())?);
    println!("{}", router.tree());

    second.shutdown()?; // and with it what is below
    println!("{}", router.tree());
    router.shutdown()
}
