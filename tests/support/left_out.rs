//! What a run of the tests could not try: listed at the end of `make test`, a failure in CI.

use std::fs::File;
use std::io::Write;

/// Notes that `what` is not tested on this machine, and `why`.
///
/// # Panics
///
/// With `ECONTEXT_TEST_ALL=1` in the environment, which CI sets: there nothing may be left out.
pub fn leave_out(what: &str, why: &str) {
    let all = std::env::var_os("ECONTEXT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "{what} would be left out: {why}");
    // One write of a short line to a file that is appended to, as tests run beside each other.
    let mut list = File::options().append(true).create(true).open(LIST).expect(LIST);
    list.write_all(format!("{what}: {why}\n").as_bytes()).expect(LIST);
}

/// The Makefile empties it, and shows it.
const LIST: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/left-out");
