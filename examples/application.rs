//! A function of an application, run on a machine where nothing of it is installed: out of its wheels.
//!
//! ```text
//! pip download -d wheels rich
//! cargo run --example application -- [-H user@host] [-l FILE] wheels/*.whl -- rich.emoji:Emoji.replace ':heart:'
//! ```
//!
//! Wheels, zip files and directories are served as if they were entries of `sys.path`; what follows the function
//! are its arguments, as text. What it had to ask for, since it does not show before the code runs, is kept in
//! FILE (`-l`), and sent ahead the next time.

use std::fs;
use std::process::ExitCode;

use econtext::{Local, Router, Ssh, Value};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1).peekable();
    let host = words.next_if_eq("-H").and_then(|_| words.next());
    let learned = words.next_if_eq("-l").and_then(|_| words.next());
    let paths: Vec<String> = words.by_ref().take_while(|word| word != "--").collect();
    let Some(function) = words.next() else {
        eprintln!(
            "usage: application [-H host] [-l FILE] wheel ... -- module:function [argument ...]"
        );
        return Ok(ExitCode::from(2));
    };
    let arguments: Vec<String> = words.collect();

    let router = Router::new()?;
    for path in &paths {
        router.modules().path(path);
    }
    if let Some(list) = learned.as_ref().and_then(|file| fs::read_to_string(file).ok()) {
        router.modules().preload(list);
    }
    let context = match host {
        Some(host) => router.start(Ssh::new(host)),
        None => router.start(Local::new()),
    };
    // The start, the application's modules and the call leave in one flight.
    let call = arguments.iter().fold(context.function(&function), |call, word| call.arg(word));
    match call.call::<Value>()? {
        Value::Text(text) => println!("{text}"),
        value => println!("{value:?}"),
    }
    if let Some(file) = learned {
        fs::write(file, router.modules().learned())?;
    }
    router.shutdown()?;
    Ok(ExitCode::SUCCESS)
}
