//! Files that tests start or wait at.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use super::TempDir;

/// Makes an executable shell script; returns its path.
pub fn script(dir: &TempDir, name: &str, body: &str) -> PathBuf {
    program(dir, name, &format!("#!/bin/sh\n{body}"))
}

/// Makes an executable file of any kind; returns its path.
pub fn program(dir: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = dir.file(name, content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    path
}

/// Makes a named pipe, at which one process waits for another; returns its path.
pub fn mkfifo(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    let made = Command::new("mkfifo").arg(&path).status().and_then(|status| {
        if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    });
    made.unwrap_or_else(|error| panic!("mkfifo {}: {error}", path.display()));
    path
}
