//! The data files of packages, and what is in their directories.
//!
//! Invariant: a path stays below its package, and meets nothing hidden: none of its parts is empty or
//! begins with a dot, and no compiled Python. Of the roots themselves only the directories are seen that describe
//! a distribution. Symbolic links are followed wherever they lead, as Python follows them: who may place one below
//! a registered directory says what is served.

use std::collections::BTreeMap;

use super::content::Content;

/// What is asked for beside modules.
pub(crate) enum Data {
    File {
        shown: String,
        size: u64,
        content: Content,
    },
    /// The files of a directory as `name`, its directories as `name/`, those with an `__init__.py` as
    /// `name/__init__.py`; sorted.
    Listing {
        shown: String,
        entries: Vec<String>,
    },
}

impl Data {
    /// At most `length` bytes of a file from `offset` on, fewer only at its end; of a directory none.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        match self {
            Data::File { content, .. } => content.read(offset, length),
            Data::Listing { .. } => Ok(Vec::new()),
        }
    }
}

/// What of a package is asked for.
pub(super) struct Wanted<'a> {
    pub(super) parts: Vec<&'a str>,
    pub(super) listing: bool,
}

/// Takes a path apart, if it is one that can be served: `data/x.txt` is a file, `data/` and nothing at all
/// are directories.
pub(super) fn wanted<'a>(package: &str, path: &'a str) -> Option<Wanted<'a>> {
    let (inner, listing) = match path.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (path, path.is_empty()),
    };
    let parts: Vec<&str> = if path.is_empty() { Vec::new() } else { inner.split('/').collect() };
    // What Python keeps compiled would show what is denied as source.
    let is_part = |part: &&str| {
        !matches!(*part, "" | "__pycache__") && !part.starts_with('.') && !part.contains('\0')
    };
    let is_seen = match parts[..] {
        _ if !package.is_empty() => true,
        [] => true,
        [folder] => listing && is_about(folder),
        [folder, ..] => is_about(folder),
    };
    (is_seen && parts.iter().all(is_part)).then_some(Wanted { parts, listing })
}

/// Whether a directory of this name describes a distribution.
pub(super) fn is_about(name: &str) -> bool {
    name.ends_with(".dist-info") || name.ends_with(".egg-info")
}

/// The path of something in a package below the directory that holds the package.
pub(super) fn join(package: &str, path: &str) -> String {
    match (package, path) {
        ("", path) => path.to_owned(),
        (package, "") => package.replace('.', "/"),
        (package, path) => package.replace('.', "/") + "/" + path,
    }
}

/// What is in a directory, of which several roots may have a part.
#[derive(Default)]
pub(super) struct Entries(BTreeMap<String, Entry>);

enum Entry {
    File,
    Folder { with_init: bool },
}

impl Entries {
    pub(super) fn file(&mut self, name: &str) {
        self.add(name, Entry::File);
    }

    pub(super) fn folder(&mut self, name: &str, with_init: bool) {
        self.add(name, Entry::Folder { with_init });
    }

    fn add(&mut self, name: &str, entry: Entry) {
        if name.starts_with('.') || name == "__pycache__" {
            return;
        }
        match (self.0.get_mut(name), entry) {
            (Some(Entry::Folder { with_init }), Entry::Folder { with_init: true }) => {
                *with_init = true
            }
            (Some(_), _) => {}
            (None, entry) => drop(self.0.insert(name.to_owned(), entry)),
        }
    }

    pub(super) fn names(self) -> Vec<String> {
        let shown = |(name, entry)| match entry {
            Entry::File => name,
            Entry::Folder { with_init: false } => name + "/",
            Entry::Folder { with_init: true } => name + "/__init__.py",
        };
        self.0.into_iter().map(shown).collect()
    }
}
