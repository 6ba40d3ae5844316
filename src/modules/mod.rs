//! The Python that a program serves to its children: what there is, and finding it by name.
//!
//! Invariant: nothing is served but what was registered here, and the library's own `econtext.*`; a
//! name that is not one of a module never reaches the file system. Source goes out byte for byte,
//! whatever its encoding and its line ends. What was registered first is found first, as on `sys.path`.
//! Not here: who asked, what was already sent to whom.

mod imports;
mod lexer;
mod message;
mod policy;
mod roots;
mod script;
mod ship;
mod store;

pub(crate) use imports::Target;
pub(crate) use ship::{Shipment, Shipped};

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use policy::{Learned, Policy};
use roots::{Embedded, Place, Root, Roots};
use script::Script;
use store::{Served, Store};

use crate::built;

/// The Python modules that a router serves: what code running remotely can import beside the standard
/// library and what is installed there. A cheap handle; clones register with the same router.
///
/// Modules are looked for in the order in which sources and directories were registered. They are read
/// when a child first imports them; what was imported already stays as it was.
///
/// ```no_run
/// # fn serve(modules: &econtext::Modules) {
/// modules
///     .path("python/")
///     .source("tasks", "def double(x):\n    return 2 * x\n")
///     .main_script("deploy.py", "import os\n");
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Modules {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Replaced as a whole, so that a search works on one state of it and holds no lock.
    sources: RwLock<Arc<Sources>>,
    /// What children have asked for.
    learned: Mutex<Learned>,
    /// Whom to tell of a change.
    watcher: OnceLock<Box<dyn Fn() + Send + Sync>>,
    store: Store,
}

#[derive(Clone, Default)]
struct Sources {
    roots: Roots,
    script: Option<Arc<Script>>,
    policy: Policy,
    /// How many changes there have been.
    version: u64,
}

impl Modules {
    /// Serves the modules and packages in a directory, as if it were an entry of `sys.path`.
    ///
    /// A package needs no `__init__.py`: directories without one merge with those of the same name
    /// in other registered directories. A relative path counts from the current directory of now. The
    /// directory need not exist yet, it is looked at whenever a module is asked for. Compiled files
    /// are never served: one without its source is an `ImportError` that says so.
    pub fn path(&self, directory: impl Into<PathBuf>) -> &Self {
        let directory = directory.into();
        // The program may change its directory between now and an import.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        self.change(|sources| sources.roots.push(Root::Directory(directory)))
    }

    /// Serves one module out of the program itself, under its dotted name: `tasks`, `app.load`.
    ///
    /// The packages in the name come to be without further ado; to give one text, register it too
    /// (as `app`, or as `app.__init__` if none of its modules are registered here). Of two sources
    /// with the same name, the first counts.
    ///
    /// # Panics
    ///
    /// If `name` is not the name of a module (a file name, say), or begins with `econtext`.
    pub fn source(&self, name: impl Into<String>, text: impl Into<Vec<u8>>) -> &Self {
        let name = name.into();
        assert!(
            is_module_name(&name) && !is_own(&name) && name != MAIN,
            "{name:?} cannot be the name of a module that is served"
        );
        let embedded = Arc::new(Embedded::new(name, text.into()));
        self.change(|sources| sources.roots.push(Root::Source(embedded)))
    }

    /// Serves a script as `__main__`, so that `"__main__:install"` calls its function `install`.
    ///
    /// Only what precedes its `if __name__ == "__main__":` is served: the rest is what it does when
    /// it is run by hand. A script without such a line is served whole, unless it would then start
    /// its work on import: where a statement outside of functions and classes calls one of the
    /// script's own functions for its effect, or exits, importing it is an `ImportError` that says
    /// what to do.
    ///
    /// `path_shown` is the file name for tracebacks. A script given later replaces the first, for
    /// contexts that have not imported it.
    pub fn main_script(&self, path_shown: impl Into<String>, text: impl Into<Vec<u8>>) -> &Self {
        let script = Arc::new(Script::new(path_shown.into(), &text.into()));
        self.change(|sources| sources.script = Some(script))
    }

    /// Whether there is a script to serve as `__main__`.
    pub(crate) fn has_main(&self) -> bool {
        self.sources().script.is_some()
    }

    /// Has `watcher` called after each change, by the thread that made it. There is one watcher.
    pub(crate) fn watch(&self, watcher: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.watcher.set(Box::new(watcher));
    }

    /// One search over the sources as they are now.
    pub(crate) fn searching(&self) -> Finder<'_> {
        Finder { sources: self.sources(), store: &self.shared.store }
    }

    /// Finds the module of this name, in a search of its own.
    #[cfg(test)]
    pub(crate) fn find(&self, name: &str) -> Found {
        self.searching().find(name)
    }

    fn sources(&self) -> Arc<Sources> {
        self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) -> &Self {
        let mut sources = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::make_mut(&mut sources);
        change(changed);
        changed.version += 1;
        drop(sources);
        if let Some(watcher) = self.shared.watcher.get() {
            watcher();
        }
        self
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modules").finish_non_exhaustive()
    }
}

/// One search over one state of the sources, for as many names as are wanted of it.
pub(crate) struct Finder<'a> {
    sources: Arc<Sources>,
    store: &'a Store,
}

impl Finder<'_> {
    /// Finds the module of this name. Reads files, and compresses what it has not before.
    pub(crate) fn find(&mut self, name: &str) -> Found {
        if name == MAIN {
            return self.main();
        }
        if is_own(name) {
            let built = built::MODULES.iter().find(|(own, _, _)| *own == name);
            return built.map_or(Found::Missing, |(_, path, compressed)| {
                Found::Module(Module {
                    name: name.to_owned(),
                    pkg_present: None,
                    path: (*path).to_owned(),
                    compressed: Arc::from(*compressed),
                    imports: Arc::default(),
                })
            });
        }
        if !is_module_name(name) || !self.sources.policy.permits(name) {
            return Found::Missing;
        }
        match self.find_served(name) {
            Ok(Some(module)) => Found::Module(module),
            Ok(None) => Found::Missing,
            Err(reason) => Found::Refused(reason),
        }
    }

    /// Whether something of this name is there, be it refused. Reads no source.
    #[allow(dead_code)] // nobody asks yet
    pub(crate) fn has(&mut self, name: &str) -> bool {
        if name == MAIN || is_own(name) || !is_module_name(name) {
            return self.find(name) != Found::Missing;
        }
        self.sources.policy.permits(name) && !matches!(self.sources.roots.locate(name), Ok(None))
    }

    /// The names at the top level of all roots, sorted; `*` if there may be more.
    #[allow(dead_code)] // nobody asks yet
    pub(crate) fn top(&mut self) -> Vec<String> {
        vec!["*".to_owned()]
    }

    /// A data file of a package, or a directory of such.
    #[allow(dead_code)] // nobody asks yet
    pub(crate) fn data(&mut self, _package: &str, _path: &str) -> Result<Option<Data>, String> {
        Ok(None)
    }

    fn main(&self) -> Found {
        let (path, text) = match &self.sources.script {
            // `multiprocessing`, for one, wants there to be a `__main__`.
            None => (String::new(), Ok(Served::new(b""))),
            Some(script) => (script.path.clone(), script.served.clone()),
        };
        match text {
            Ok(Served { compressed, imports }) => Found::Module(Module {
                name: MAIN.to_owned(),
                pkg_present: None,
                path,
                compressed,
                imports,
            }),
            Err(reason) => Found::Refused(reason),
        }
    }

    fn find_served(&self, name: &str) -> Result<Option<Module>, String> {
        let sources = &self.sources;
        let Some(place) = sources.roots.locate(name)? else { return Ok(None) };
        let (path, served) = match &place {
            Place::Embedded(embedded) => (embedded.shown(), embedded.served()),
            Place::Module(file) => (shown(file), self.store.read(file)?),
            Place::Package(_, directory) => {
                let file = directory.join("__init__.py");
                (shown(&file), self.store.read(&file)?)
            }
            Place::Namespace(directories) => {
                let first = directories.first().map(|(_, directory)| shown(directory));
                (first.unwrap_or_default(), Served::default())
            }
        };
        let pkg_present = sources.roots.children(name, &place)?;
        let Served { compressed, imports } = served;
        Ok(Some(Module { name: name.to_owned(), pkg_present, path, compressed, imports }))
    }
}

/// What is asked for beside modules.
#[allow(dead_code)] // nobody asks yet
pub(crate) enum Data {
    File {
        shown: String,
        size: u64,
    },
    /// The files of a directory as `name`, its directories as `name/`, those with an `__init__.py` as
    /// `name/__init__.py`; sorted.
    Listing {
        shown: String,
        entries: Vec<String>,
    },
}

impl Data {
    /// At most `length` bytes of a file, from `offset` on.
    #[allow(dead_code)] // nobody asks yet
    pub(crate) fn read(&self, _offset: u64, _length: usize) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

/// What a search ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Module(Module),
    /// Nothing that is served has this name.
    Missing,
    /// It is there and cannot be served; why, in one line for the log and the importer.
    Refused(String),
}

/// What a child needs in order to import a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// Of a package, the short names of what is in it, sorted; of a module, nothing.
    pub(crate) pkg_present: Option<Vec<String>>,
    /// The user's own file name; of a package without `__init__.py` its directory, or nothing.
    pub(crate) path: String,
    /// zlib of the source; of a package without `__init__.py` nothing.
    pub(crate) compressed: Arc<[u8]>,
    /// What the source imports.
    pub(crate) imports: Arc<imports::Imports>,
}

const MAIN: &str = "__main__";

/// Whether the name belongs to the library, in every child.
fn is_own(name: &str) -> bool {
    name.split('.').next() == Some("econtext")
}

/// Whether Python could import a module of this name: identifiers, with dots between them.
fn is_module_name(name: &str) -> bool {
    name.split('.').all(is_identifier)
}

fn is_identifier(part: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    part.chars().all(is_letter) && part.chars().next().is_some_and(|c| !c.is_numeric())
}

fn shown(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
