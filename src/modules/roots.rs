//! Which file, directory or embedded source a dotted name stands for.
//!
//! Invariant: the rules are those of Python's own finder. A top-level name is looked for in all roots;
//! a submodule in its package's directory, or, where no directory has an `__init__.py`, in all that
//! bear the package's name. Within one directory a package precedes a module. Embedded sources add to
//! that: each is found by its whole name, whatever the package before it is.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::is_identifier;
use super::store::Served;

/// Where modules come from, first come, first found.
#[derive(Clone, Default)]
pub(super) struct Roots(Vec<Root>);

#[derive(Clone)]
pub(super) enum Root {
    Directory(PathBuf),
    Source(Arc<Embedded>),
}

/// What a name stands for.
pub(super) enum Place {
    Embedded(Arc<Embedded>),
    /// The file of a module.
    Module(PathBuf),
    /// The directory of a package, with an `__init__.py`, and the index of its root.
    Package(usize, PathBuf),
    /// The directories of a package without; none where embedded sources alone make it one.
    Namespace(Directories),
}

/// Directories to look into, with the index of the root that each belongs to, in order.
type Directories = Vec<(usize, PathBuf)>;

impl Roots {
    pub(super) fn push(&mut self, root: Root) {
        self.0.push(root);
    }

    /// Where the module `name` is, or why that cannot be told. `name` is one that Python could import.
    pub(super) fn locate(&self, name: &str) -> Result<Option<Place>, String> {
        let directory = |(index, root): (usize, &Root)| match root {
            Root::Directory(directory) => Some((index, directory.clone())),
            Root::Source(_) => None,
        };
        let mut directories: Directories =
            self.0.iter().enumerate().filter_map(directory).collect();
        let mut begin = 0;
        loop {
            let end = name[begin..].find('.').map(|length| begin + length);
            let Some(end) = end else {
                return self.locate_in(&directories, name, &name[begin..]);
            };
            directories = match self.locate_in(&directories, &name[..end], &name[begin..end])? {
                Some(Place::Package(index, directory)) => vec![(index, directory)],
                Some(Place::Namespace(directories)) => directories,
                Some(Place::Embedded(_) | Place::Module(_)) => Vec::new(),
                None => return Ok(None),
            };
            begin = end + 1;
        }
    }

    /// Looks for `name`, whose last part is `part`, among the embedded sources and in `directories`.
    fn locate_in(
        &self,
        directories: &Directories,
        name: &str,
        part: &str,
    ) -> Result<Option<Place>, String> {
        let mut namespace = Vec::new();
        for (index, root) in self.0.iter().enumerate() {
            if let Root::Source(embedded) = root {
                if embedded.name == name {
                    return Ok(Some(Place::Embedded(embedded.clone())));
                }
            }
            for (_, directory) in directories.iter().filter(|(owner, _)| *owner == index) {
                match look(index, directory, part)? {
                    Some(Place::Namespace(directories)) => namespace.extend(directories),
                    Some(place) => return Ok(Some(place)),
                    None => {}
                }
            }
        }
        let is_package = !namespace.is_empty() || self.embedded_children(name).next().is_some();
        Ok(is_package.then_some(Place::Namespace(namespace)))
    }

    /// The short names of what is in the package `name` at `place`, sorted; None if it is a module.
    pub(super) fn children(
        &self,
        name: &str,
        place: &Place,
    ) -> Result<Option<Vec<String>>, String> {
        let mut children: BTreeSet<String> =
            self.embedded_children(name).map(str::to_owned).collect();
        let is_package = match place {
            Place::Module(_) => false,
            Place::Embedded(embedded) => embedded.package,
            Place::Package(_, directory) => {
                list(directory, &mut children)?;
                true
            }
            Place::Namespace(directories) => {
                for (_, directory) in directories {
                    list(directory, &mut children)?;
                }
                true
            }
        };
        Ok((is_package || !children.is_empty()).then(|| children.into_iter().collect()))
    }

    /// The short names of the embedded sources in the package `name`; some more than once.
    fn embedded_children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |root| match root {
            Root::Source(embedded) => {
                embedded.name.strip_prefix(name)?.strip_prefix('.')?.split('.').next()
            }
            Root::Directory(_) => None,
        })
    }
}

/// A module that the program itself holds.
pub(super) struct Embedded {
    name: String,
    /// Whether it is a package even if nothing is in it.
    package: bool,
    text: Vec<u8>,
    served: OnceLock<Served>,
}

impl Embedded {
    pub(super) fn new(name: String, text: Vec<u8>) -> Embedded {
        let (name, package) = match name.strip_suffix(".__init__") {
            Some(package) => (package.to_owned(), true),
            None => (name, false),
        };
        Embedded { name, package, text, served: OnceLock::new() }
    }

    /// A file name for tracebacks: the one that the module would have.
    pub(super) fn shown(&self) -> String {
        let end = if self.package { "/__init__.py" } else { ".py" };
        self.name.replace('.', "/") + end
    }

    pub(super) fn served(&self) -> Served {
        self.served.get_or_init(|| Served::new(&self.text)).clone()
    }
}

/// What `part` is in one directory, of the root `index`.
fn look(index: usize, directory: &Path, part: &str) -> Result<Option<Place>, String> {
    let package = directory.join(part);
    if is_file(&package.join("__init__.py"))? {
        return Ok(Some(Place::Package(index, package)));
    }
    let file = directory.join(format!("{part}.py"));
    if is_file(&file)? {
        return Ok(Some(Place::Module(file)));
    }
    for compiled in [package.join("__init__.pyc"), directory.join(format!("{part}.pyc"))] {
        if is_file(&compiled)? {
            let compiled = compiled.display();
            return Err(format!("{compiled}: compiled Python without its source cannot be served"));
        }
    }
    let is_directory = kind(&package)?.is_some_and(|kind| kind.is_dir());
    Ok(is_directory.then(|| Place::Namespace(vec![(index, package)])))
}

/// Adds the names of the modules and packages in `directory`.
fn list(directory: &Path, names: &mut BTreeSet<String>) -> Result<(), String> {
    let fail = |error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        // Neither could be imported: a name that is not text, and one that is no identifier.
        let Some(name) = name.to_str() else { continue };
        // Compiled files too, for a refusal that says what is wrong.
        let module = name.strip_suffix(".py").or_else(|| name.strip_suffix(".pyc"));
        let is_child = match module {
            Some(stem) => is_identifier(stem) && stem != "__init__",
            None => is_identifier(name) && name != "__pycache__" && entry.path().is_dir(),
        };
        if is_child {
            names.insert(module.unwrap_or(name).to_owned());
        }
    }
    Ok(())
}

fn is_file(path: &Path) -> Result<bool, String> {
    Ok(kind(path)?.is_some_and(|kind| kind.is_file()))
}

/// What is at `path`, links followed; None if nothing is.
fn kind(path: &Path) -> Result<Option<fs::FileType>, String> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
            _ if error.raw_os_error() == Some(libc::ENAMETOOLONG) => Ok(None),
            _ => Err(format!("{}: {error}", path.display())),
        },
    }
}
