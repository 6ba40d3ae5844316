//! A directory to look for modules in: of the file system, or of an archive.
//!
//! Invariant: it is listed once and answers from that, case by case as Python does; only symbolic links
//! are looked at when they are asked for. What is listed as a child can be asked for, if only to be told
//! why it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{Archive, Node};
use super::content::Content;
use super::data::Entries;
use super::is_name_part;

#[derive(Clone)]
pub(super) enum Folder {
    Disk(Arc<Disk>),
    /// The number of the folder in its archive, and its path there.
    Archived(Arc<Archive>, usize, String),
}

pub(super) struct Disk {
    path: PathBuf,
    entries: BTreeMap<String, Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// Only what is behind it counts.
    Link,
}

impl Folder {
    /// Lists a directory of the file system, which is empty if it is not there.
    pub(super) fn list(path: PathBuf) -> Result<Folder, String> {
        match list(&path) {
            Ok(entries) => Ok(Folder::Disk(Arc::new(Disk { path, entries }))),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// The outermost folder of an archive.
    pub(super) fn outermost(archive: Arc<Archive>) -> Folder {
        Folder::Archived(archive, 0, String::new())
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Folder::Disk(disk) => super::shown(&disk.path),
            Folder::Archived(archive, _, inner) => archive.shown(inner),
        }
    }

    /// The file `name` in it.
    pub(super) fn file(&self, name: &str) -> Result<Option<Content>, String> {
        match self {
            Folder::Disk(disk) => {
                Ok(disk.is(name, Kind::File)?.then(|| Content::File(disk.path.join(name))))
            }
            Folder::Archived(archive, folder, _) => match archive.folder(*folder).get(name) {
                Some(Node::File(number)) => Ok(Some(Content::Entry(archive.clone(), *number))),
                _ => Ok(None),
            },
        }
    }

    /// The folder `name` in it.
    pub(super) fn folder(&self, name: &str) -> Result<Option<Folder>, String> {
        match self {
            Folder::Disk(disk) => match disk.is(name, Kind::Folder)? {
                true => Folder::list(disk.path.join(name)).map(Some),
                false => Ok(None),
            },
            Folder::Archived(archive, folder, inner) => match archive.folder(*folder).get(name) {
                Some(Node::Folder(number)) => {
                    let inner =
                        if inner.is_empty() { name.into() } else { format!("{inner}/{name}") };
                    Ok(Some(Folder::Archived(archive.clone(), *number, inner)))
                }
                _ => Ok(None),
            },
        }
    }

    /// The file at a path below it; the caller has checked the parts of the path.
    pub(super) fn file_at(&self, path: &[&str]) -> Result<Option<Content>, String> {
        match self {
            Folder::Disk(disk) => {
                let path = disk.below(path);
                let is_file = metadata(&path)?.is_some_and(|metadata| metadata.is_file());
                Ok(is_file.then_some(Content::File(path)))
            }
            Folder::Archived(..) => {
                let Some((name, path)) = path.split_last() else { return Ok(None) };
                self.folder_at(path)?.map_or(Ok(None), |folder| folder.file(name))
            }
        }
    }

    /// The folder at a path below it; the caller has checked the parts of the path.
    pub(super) fn folder_at(&self, path: &[&str]) -> Result<Option<Folder>, String> {
        if path.is_empty() {
            return Ok(Some(self.clone()));
        }
        match self {
            Folder::Disk(disk) => {
                let path = disk.below(path);
                match metadata(&path)?.is_some_and(|metadata| metadata.is_dir()) {
                    true => Folder::list(path).map(Some),
                    false => Ok(None),
                }
            }
            Folder::Archived(..) => {
                let mut at = self.clone();
                for name in path {
                    let Some(next) = at.folder(name)? else { return Ok(None) };
                    at = next;
                }
                Ok(Some(at))
            }
        }
    }

    /// Adds everything in it but what cannot be looked at.
    pub(super) fn list_into(&self, entries: &mut Entries) {
        match self {
            Folder::Disk(disk) => {
                for name in disk.entries.keys() {
                    if disk.is(name, Kind::Folder) == Ok(true) {
                        let init = fs::metadata(disk.below(&[name, "__init__.py"]));
                        entries.folder(name, init.is_ok_and(|init| init.is_file()));
                    } else if disk.is(name, Kind::File) == Ok(true) {
                        entries.file(name);
                    }
                }
            }
            Folder::Archived(archive, folder, _) => {
                for (name, node) in archive.folder(*folder) {
                    match node {
                        Node::File(_) => entries.file(name),
                        Node::Folder(inner) => {
                            let init = archive.folder(*inner).get("__init__.py");
                            entries.folder(name, matches!(init, Some(Node::File(_))));
                        }
                    }
                }
            }
        }
    }

    /// Why the module `stem` cannot be had from here though it is, if so it is.
    pub(super) fn refusal(&self, stem: &str) -> Result<Option<String>, String> {
        let starts = format!("{stem}.");
        let names: Vec<String> = match self {
            Folder::Disk(disk) => from(&disk.entries, &starts).cloned().collect(),
            Folder::Archived(archive, folder, _) => {
                from(archive.folder(*folder), &starts).cloned().collect()
            }
        };
        for name in names.iter().filter(|name| compiled(name) == Some(stem)) {
            if let Some(content) = self.file(name)? {
                let why = if name.ends_with(".pyc") { WITHOUT_SOURCE } else { EXTENSION };
                return Ok(Some(format!("{}: {why}", content.shown())));
            }
        }
        Ok(None)
    }

    /// Adds the names of the modules and packages in it.
    pub(super) fn children(&self, names: &mut BTreeSet<String>) {
        let mut add = |name: &str, is_folder: &dyn Fn() -> bool| {
            // Compiled files too, for a refusal that says what is wrong.
            let module = name.strip_suffix(".py").or_else(|| compiled(name));
            let is_child = match module {
                Some(stem) => is_name_part(stem) && stem != "__init__",
                None => is_name_part(name) && is_folder(),
            };
            if is_child {
                names.insert(module.unwrap_or(name).to_owned());
            }
        };
        match self {
            Folder::Disk(disk) => {
                for name in disk.entries.keys() {
                    // A link that cannot be followed leads to nothing.
                    add(name, &|| disk.is(name, Kind::Folder).unwrap_or(false));
                }
            }
            Folder::Archived(archive, folder, _) => {
                for (name, node) in archive.folder(*folder) {
                    add(name, &|| matches!(node, Node::Folder(_)));
                }
            }
        }
    }
}

impl Disk {
    fn below(&self, path: &[&str]) -> PathBuf {
        path.iter().fold(self.path.clone(), |path, name| path.join(name))
    }

    fn is(&self, name: &str, wanted: Kind) -> Result<bool, String> {
        match self.entries.get(name) {
            Some(Kind::Link) => Ok(match metadata(&self.path.join(name))? {
                Some(metadata) => Kind::of(metadata.file_type()) == Some(wanted),
                None => false,
            }),
            kind => Ok(kind == Some(&wanted)),
        }
    }
}

impl Kind {
    fn of(kind: fs::FileType) -> Option<Kind> {
        match () {
            () if kind.is_file() => Some(Kind::File),
            () if kind.is_dir() => Some(Kind::Folder),
            () if kind.is_symlink() => Some(Kind::Link),
            // A pipe, say: to open it might wait for ever.
            () => None,
        }
    }
}

fn list(path: &Path) -> io::Result<BTreeMap<String, Kind>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut listed = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        // A name that is not text is none that could be asked for.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(kind) = Kind::of(entry.file_type()?) {
            listed.insert(name, kind);
        }
    }
    Ok(listed)
}

/// The names that start with `start`.
fn from<'a, V>(names: &'a BTreeMap<String, V>, start: &str) -> impl Iterator<Item = &'a String> {
    let start = start.to_owned();
    let names = names.range(start.clone()..).map(|(name, _)| name);
    names.take_while(move |name| name.starts_with(&start))
}

/// The module that a file without source would be to some Python: `x.pyc`, `x.so`, `x.abi3.so`,
/// `x.cpython-313-x86_64-linux-gnu.so`, `x.cp313-win_amd64.pyd`.
fn compiled(name: &str) -> Option<&str> {
    let extension = [".so", ".pyd", ".dll"].iter().any(|end| name.ends_with(end));
    if extension { name.split('.').next() } else { name.strip_suffix(".pyc") }
}

/// What is at `path`, links followed; None if nothing is.
pub(super) fn metadata(path: &Path) -> Result<Option<fs::Metadata>, String> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ENAMETOOLONG)
}

const WITHOUT_SOURCE: &str = "compiled Python without its source cannot be served";
const EXTENSION: &str = "a compiled extension module cannot be served, for it fits one platform and one \
     Python only; install it there, or use what its package has in pure Python";
