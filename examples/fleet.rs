//! Many contexts at once, without async: start them all, take the results as they come.
//!
//! `cargo run --example fleet [interpreter ...]`: a context for each, or eight without any.

use std::process::ExitCode;

use econtext::{Local, Router, Select};

fn main() -> econtext::Result<ExitCode> {
    let router = Router::new()?;
    let given = std::env::args_os().skip(1).map(|python| Local::new().python(python));
    let mut locals: Vec<Local> = given.collect();
    if locals.is_empty() {
        locals = vec![Local::new(); 8];
    }
    let numbered = locals.into_iter().enumerate();
    let contexts: Vec<_> =
        numbered.map(|(n, local)| router.start(local.name(format!("worker{n}")))).collect();

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
                eprintln!("{error}"); // says which context it was
            }
        }
    }
    router.shutdown()?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
