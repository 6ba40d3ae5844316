//! The loop of a contender in Rust: a line with a command comes, a line with numbers goes. The same as
//! `work.py`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// What a command gives: numbers, of which the first is seconds.
pub type Answer = Result<Vec<f64>, Box<dyn Error>>;

/// Answers each line by `[number, ..]` or by what failed, until there are no more.
pub fn serve(mut command: impl FnMut(&str, &[&str]) -> Answer) -> ExitCode {
    for line in io::stdin().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let words: Vec<&str> = line.split('\t').collect();
        let answer = match command(words[0], &words[1..]) {
            Ok(numbers) => format!("{numbers:?}"),
            Err(error) => error.to_string().replace('\n', " "),
        };
        println!("{answer}");
        if io::stdout().flush().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A block that no compression makes smaller.
pub fn random(size: usize) -> io::Result<Vec<u8>> {
    let mut block = vec![0; size];
    File::open("/dev/urandom")?.read_exact(&mut block)?;
    Ok(block)
}

/// The number that a command's word is.
pub fn count(words: &[&str], at: usize) -> Result<usize, Box<dyn Error>> {
    Ok(words.get(at).ok_or("a number is missing")?.parse()?)
}

/// What was not done in full is not measured.
pub fn check(found: usize, expected: usize) -> Result<(), Box<dyn Error>> {
    if found == expected { Ok(()) } else { Err(format!("{found} instead of {expected}").into()) }
}
