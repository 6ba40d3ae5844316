//! The Pythons of this machine: those in PATH, and those that pyenv keeps.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tests are to run under, by what `describe` below prints.
const WANTED: [&str; 10] =
    ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "PyPy3"];

/// Each Python found, once; prints which of the wanted versions there is none of.
pub(super) fn pythons() -> Vec<PathBuf> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for candidate in candidates() {
        if let Some(version) = describe(&candidate) {
            if !found.iter().any(|(known, _)| *known == version) {
                found.push((version, candidate));
            }
        }
    }
    let missing =
        WANTED.into_iter().filter(|wanted| !found.iter().any(|(version, _)| version == wanted));
    let missing: Vec<&str> = missing.collect();
    if !missing.is_empty() {
        eprintln!("not found, so not tried: Python {}", missing.join(", "));
    }
    found.into_iter().map(|(_, path)| path).collect()
}

/// A command for it, with nothing of our own environment.
pub(super) fn python(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["python3", "python2.7", "pypy3"];
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path)
        .flat_map(|directory| names.map(|name| directory.join(name)))
        .collect();
    let pyenv = Command::new("pyenv").arg("root").output();
    let root = pyenv.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if let Ok(versions) = std::fs::read_dir(Path::new(&root.unwrap_or_default()).join("versions")) {
        candidates.extend(versions.flatten().map(|version| version.path().join("bin/python")));
    }
    candidates
}

/// `3.11` or `PyPy3`, if it runs at all (a shim does not without its environment).
fn describe(python_path: &Path) -> Option<String> {
    let code = "import sys, platform\n\
                pypy = platform.python_implementation() == 'PyPy'\n\
                print('PyPy%d' % sys.version_info[0] if pypy else '%d.%d' % sys.version_info[:2])";
    let output = python(python_path).args(["-c", code]).stdin(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}
