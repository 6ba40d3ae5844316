//! The Python that a program serves to its children: what there is, and finding it by name.
//!
//! Invariant: nothing is served but what was registered here, and the library's own `econtext.*`; a
//! name that is not one of a module never reaches the file system. Source goes out byte for byte,
//! whatever its encoding and its line ends. What was registered first is found first, as on `sys.path`.
//! Not here: who asked, what was already sent to whom.

mod archive;
mod closure;
mod content;
mod data;
mod embedded;
mod finder;
mod folder;
mod imports;
mod lexer;
mod message;
mod policy;
mod roots;
mod script;
mod ship;
mod store;

pub use closure::ModuleSource;
pub(crate) use closure::runs as finder_runs;
pub(crate) use data::Data;
pub(crate) use finder::Finder;
pub(crate) use imports::Target;
pub(crate) use ship::{Shipment, Shipped};

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use policy::{Learned, Policy};
use roots::Roots;
use script::Script;
use store::Store;

/// The Python modules that a router serves: what code running remotely can import beside the standard
/// library and what is installed there. A cheap handle; clones register with the same router.
///
/// Modules are looked for in the order in which sources and directories were registered. They are read
/// when a call or an import first needs them; what was imported already stays as it was.
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
    /// Apart, so that a search holds them without the rest.
    roots: Arc<Roots>,
    script: Option<Arc<Script>>,
    policy: Policy,
    /// How many changes there have been.
    version: u64,
}

impl Modules {
    /// Serves the modules and packages in a directory, or in a wheel or another zip file, as if it were
    /// an entry of `sys.path`.
    ///
    /// A package needs no `__init__.py`: directories without one merge with those of the same name
    /// in other registered places. So do those whose `__init__.py` calls `pkgutil.extend_path` or
    /// `pkg_resources.declare_namespace`, as on `sys.path`. A relative path counts from the current directory of
    /// now. Compiled files are never served: one without its source is an `ImportError` that says so.
    ///
    /// Nothing need be at the path yet: contexts ask for what may come to be there. But of a directory or a
    /// package that is there, what it has when a context first hears of it counts in that context. Python's
    /// `importlib.invalidate_caches()` has it ask again what there is at the top level. Of a module that
    /// a context does ask for, it gets the source as it is then.
    ///
    /// Every source and data file under the path can be read by what runs remotely, hidden files aside, and so can
    /// what symbolic links there lead to, wherever that is: see [`allow`](Modules::allow) and
    /// [`deny`](Modules::deny), which go by the names under which it is asked for.
    ///
    /// Of a zip file, entries are read that are stored or deflated; packages are looked for at its top
    /// level only.
    pub fn path(&self, path: impl Into<PathBuf>) -> &Self {
        let path = path.into();
        // The program may change its directory between now and an import.
        let path = std::path::absolute(&path).unwrap_or(path);
        self.change(|sources| Arc::make_mut(&mut sources.roots).path(path))
    }

    /// Serves what is in a wheel or another zip file that the program itself holds, by `include_bytes!`
    /// say. `path_shown` is its file name for tracebacks. Otherwise as [`path`](Modules::path).
    pub fn archive(
        &self,
        path_shown: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> &Self {
        let (shown, bytes) = (path_shown.into(), bytes.into());
        self.change(|sources| Arc::make_mut(&mut sources.roots).archive(shown, bytes))
    }

    /// Serves what a closure makes: it is given a dotted name and returns the module's source, or `None`.
    ///
    /// It is asked for top-level names; for what is in the packages that it made; and for what is in
    /// packages of which several places may have a part, as it may. Since it cannot list what it has, a
    /// child has to ask for each name that it does not find elsewhere.
    ///
    /// It runs on the thread that makes a call or on one of the router's own, so it should be quick and
    /// must not wait for any context; a call that it makes itself is an [`Error::Send`](crate::Error::Send). It may
    /// be asked for a name again. If it panics, the import fails with what it said.
    pub fn finder(
        &self,
        find: impl Fn(&str) -> Option<ModuleSource> + Send + Sync + 'static,
    ) -> &Self {
        self.change(|sources| Arc::make_mut(&mut sources.roots).closure(Arc::new(find)))
    }

    /// Serves one module out of the program itself, under its dotted name: `tasks`, `app.load`.
    ///
    /// Any encoding will do that the text itself declares (PEP 263); without a declaration it is UTF-8, for
    /// Python 2.7 ASCII.
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
        assert!(is_served_name(&name), "{name:?} cannot be the name of a module that is served");
        let text = text.into();
        self.change(|sources| Arc::make_mut(&mut sources.roots).source(name, text))
    }

    /// Serves a data file of a package out of the program itself: `data("app", "templates/a.html", ..)`.
    ///
    /// The package may be one of [`source`](Modules::source)s or any other; it comes to be if it is not
    /// there. Of no package (`""`), it is a file that describes a distribution:
    /// `data("", "app-1.0.dist-info/METADATA", ..)`.
    ///
    /// # Panics
    ///
    /// If `package` is not the name of one that can be served, or `path` is not a relative path with
    /// `/` between its parts, of which none begins with a dot or is `__pycache__`.
    pub fn data(
        &self,
        package: impl AsRef<str>,
        path: impl AsRef<str>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> &Self {
        let (package, path, bytes) = (package.as_ref(), path.as_ref(), bytes.into());
        let is_file = data::wanted(package, path).is_some_and(|wanted| !wanted.listing);
        assert!(
            is_file && (package.is_empty() || is_served_name(package)),
            "{path:?} of {package:?} cannot be the name of a data file"
        );
        self.change(|sources| Arc::make_mut(&mut sources.roots).file(package, path, bytes))
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
        Finder::new(self.sources(), &self.shared.store)
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

/// No path is longer on any system, and few names are a twentieth of it.
const MAX_NAME_BYTES: usize = 4096;

/// Whether the name belongs to the library, in every child.
fn is_own(name: &str) -> bool {
    name.split('.').next() == Some("econtext")
}

/// Whether a module of this name may be among what is served.
fn is_served_name(name: &str) -> bool {
    is_module_name(name) && !is_own(name) && name != MAIN
}

/// Whether Python could import a module of this name: parts with dots between them. They need not be
/// identifiers, since `importlib.import_module("shop.migrations.0001_initial")` takes them, too.
fn is_module_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_name_part)
}

/// Whether a file or a directory of this name, without the end `.py`, could be a module's.
fn is_name_part(part: &str) -> bool {
    let can_be = |c: char| !c.is_control() && !matches!(c, '.' | '/' | '\\');
    // A star among the names of a package's children is none, and what Python keeps compiled is no package.
    !matches!(part, "" | "*" | "__pycache__") && part.chars().all(can_be)
}

fn shown(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
