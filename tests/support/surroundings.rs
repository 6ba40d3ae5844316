//! An environment and a directory that owe nothing to whoever runs the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// All that a child process needs to know, and nothing of ours: no `PYTHON*`, no locale, no home.
/// For [`std::process::Command`]: `.env_clear().envs(environment(home))`.
pub fn environment(home: &Path) -> Vec<(&'static str, String)> {
    let home = home.to_str().expect("made by TempDir").to_string();
    vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_string()),
        ("LANG", "C.UTF-8".to_string()),
        ("HOME", home),
    ]
}

/// A fresh directory, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("econtext-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file in it, and the directories on the way; returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("a directory in a fresh one");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        // A second panic would hide the first.
        if let (Err(error), false) = (removed, std::thread::panicking()) {
            panic!("{}: {error}", self.0.display());
        }
    }
}
