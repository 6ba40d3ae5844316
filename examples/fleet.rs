//! Many contexts at once, without async: start them all, take the results as they come.
//!
//! `cargo run --example fleet [count]`

use econtext::{Local, Router, Select};

fn main() -> econtext::Result<()> {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(8);
    let router = Router::new()?;
    let contexts: Vec<_> =
        (0..count).map(|n| router.start(Local::new().name(format!("worker{n}")))).collect();

    let mut replies = Select::new();
    for (n, context) in contexts.iter().enumerate() {
        // Queued until the context is up; a start that fails shows here, in its own reply.
        replies.add(context.call_async::<f64>("math:sqrt", (n as f64,))?);
    }
    let mut failed = 0;
    for reply in replies {
        match reply.result() {
            Ok(root) => println!("{}: {root:.3}", reply.context()),
            Err(error) => {
                failed += 1;
                println!("{}: failed: {error}", reply.context());
            }
        }
    }
    router.shutdown()?;
    std::process::exit(if failed == 0 { 0 } else { 1 });
}
