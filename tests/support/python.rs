//! The interpreters of this machine.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::leave_out;

/// An interpreter: a real path, never a shim that needs settings of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// `python3.11`, `pypy3.9`.
    pub name: String,
    /// The first two numbers of its version.
    pub version: (u32, u32),
    pub path: PathBuf,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.path.display())
    }
}

/// Calls `body` for each interpreter found, oldest first; a failure says which it was.
pub fn for_each_python(body: impl FnMut(&Python)) {
    for_each(interpreters(), body);
}

/// As [`for_each_python`], for the oldest and the newest of Python 2 and 3, and PyPy.
pub fn for_each_kind_of_python(body: impl FnMut(&Python)) {
    let all = interpreters();
    let kind = |python: &Python| (python.name.starts_with("pypy"), python.version.0);
    // In order, so the first and the last of each kind are beside another kind.
    let is_outermost = |&at: &usize| {
        let differs = |other: Option<&Python>| other.map(kind) != Some(kind(&all[at]));
        differs(at.checked_sub(1).map(|before| &all[before])) || differs(all.get(at + 1))
    };
    for_each((0..all.len()).filter(is_outermost).map(|at| &all[at]), body);
}

fn for_each<'a>(pythons: impl IntoIterator<Item = &'a Python>, mut body: impl FnMut(&Python)) {
    struct Names<'a>(&'a Python);
    impl Drop for Names<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("that was with {}", self.0);
            }
        }
    }
    for python in pythons {
        let _names = Names(python);
        body(python);
    }
}

/// One of each minor version of CPython, then of PyPy; of those that the project supports, the ones
/// that are not here are left out aloud.
pub fn interpreters() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = find();
        assert!(!found.is_empty(), "there is no Python on this machine");
        for minor in [(2, 7), (3, 6), (3, 7), (3, 8), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13)] {
            let name = format!("python{}.{}", minor.0, minor.1);
            if !found.iter().any(|python| python.name == name) {
                leave_out(&name, "not found under pyenv or in /usr");
            }
        }
        if !found.iter().any(|python| python.name.starts_with("pypy3")) {
            leave_out("pypy3", "not found under pyenv or in /usr");
        }
        found
    })
}

fn find() -> Vec<Python> {
    let mut dirs = vec![];
    if let Some(root) = pyenv_root() {
        dirs.extend(children(&root.join("versions")).iter().map(|version| version.join("bin")));
    }
    dirs.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    let mut found: Vec<Python> = Vec::new();
    for python in dirs.iter().flat_map(|dir| children(dir)).filter_map(Python::at) {
        if !found.iter().any(|other| other.name == python.name) {
            found.push(python);
        }
    }
    found.sort_by_key(|python| (python.name.starts_with("pypy"), python.version));
    found
}

impl Python {
    /// `python3.11` and `pypy3.9`; not `python3`, which is another name of one of them, nor
    /// `python3.11-config`.
    fn at(path: PathBuf) -> Option<Python> {
        let name = path.file_name()?.to_str()?;
        let digits = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"))?;
        let (major, minor) = digits.split_once('.')?;
        let version = (major.parse().ok()?, minor.parse().ok()?);
        let is_supported = version == (2, 7) || version >= (3, 6);
        let name = name.to_string();
        (is_supported && is_program(&path)).then_some(Python { name, version, path })
    }
}

/// Whether it is one itself: a shim is a script.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// In order, so that each run of the tests finds the same.
fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Where pyenv keeps its versions, if it is here. An isolated test, whose environment says nothing of
/// it, gets it in [`PYENV_ROOT`].
pub fn pyenv_root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| {
        let set = std::env::var_os(PYENV_ROOT).map(PathBuf::from);
        let told = || {
            let output = Command::new("pyenv").arg("root").output().ok()?;
            Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
        };
        let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv"));
        set.or_else(told).or_else(usual).filter(|root| root.join("versions").is_dir())
    })
    .as_deref()
}

/// pyenv's own variable.
pub const PYENV_ROOT: &str = "PYENV_ROOT";
