//! Promise: the golden bytes that Rust meets in its unit tests are what each Python computes.

use std::process::Command;

mod support;

use support::{for_each_python, isolated};

#[test]
fn every_python_computes_the_golden_frames() {
    isolated(|| {
        for_each_python(|python| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/frames.py");
            let mut command = Command::new(&python.path);
            command.env_clear().args(["-B", script, "check"]);
            let output = command.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
        });
    });
}
