//! Measures this library beside Mitogen, execnet and the plain tools, on the same work in turn.
//!
//! `make bench`, or `cargo bench --bench peers -- [quick] [python=PATH] [SECTION ..]`. The sections are those
//! of [`measures::SECTIONS`]. A table goes to stdout, JSON lines go to `bench.jsonl` in the target directory.
//! With `quick` it does a small fraction, to see whether it works, and installs nothing.
//!
//! Each contender is a program of its own that reads commands from stdin and answers with numbers, so that
//! all are measured in the same way. Every round runs each contender once: what drifts on the machine hits
//! all alike. Nothing is judged here.
//!
//! For a profile, a contender is run alone: `cargo bench --bench peers -- work econtext python3`, then lines
//! such as `start local` and `calls 20000`, with tabs between the words.

mod contender;
mod econtext_work;
#[allow(dead_code, reason = "`modules` uses it all")]
mod environments;
mod measures;
mod plain_work;
mod processes;
mod report;
#[allow(dead_code, reason = "`modules` uses it all")]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod work;

use std::process::ExitCode;

use contender::Kind;
use environments::Environments;
use measures::{Bench, SECTIONS};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", "econtext", python] => return econtext_work::run(python),
        ["work", "plain", python] => return plain_work::run(python),
        _ => {}
    }
    let (mut quick, mut python, mut wanted) = (false, None, vec![]);
    for word in &words {
        match word.strip_prefix("python=") {
            Some(path) => python = Some(path.into()),
            None if word == "quick" => quick = true,
            None if SECTIONS.iter().any(|(name, _)| name == word) => wanted.push(word.as_str()),
            None => {
                let names: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
                eprintln!("peers [quick] [python=PATH] [SECTION ..]: {}", names.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    let environments = match Environments::new(python, quick) {
        Ok(environments) => environments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", environments.describe());
    let mut bench = Bench::new(environments, quick);
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.contains(name) {
            eprintln!("measuring: {name}");
            section(&mut bench);
        }
    }
    match bench.finish() {
        // The peers may be missing, or unable; what is measured here is this library.
        Ok(failed) if failed.contains(&Kind::Econtext) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
