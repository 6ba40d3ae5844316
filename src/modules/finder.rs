//! Finding what a child asks for by its name, be it served, the program's script or the library's own.
//!
//! Invariant: a name that cannot be one of a module is missing, without a look at any file. The library's
//! own modules and the script cannot be had from anywhere else.

use std::sync::Arc;

use super::data::Data;
use super::roots::{Place, Search};
use super::store::{Served, Store};
use super::{Found, MAIN, Module, Sources, is_module_name, is_own, is_served_name};
use crate::built;

/// One search over one state of the sources, for as many names as are wanted of it.
pub(crate) struct Finder<'a> {
    pub(super) sources: Arc<Sources>,
    search: Search<'a>,
    store: &'a Store,
}

impl<'a> Finder<'a> {
    pub(super) fn new(sources: Arc<Sources>, store: &'a Store) -> Finder<'a> {
        let search = sources.roots.clone().search(store);
        Finder { sources, search, store }
    }

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

    /// Whether something of this name is there, be it refused; not what only a root might have that cannot be
    /// looked into. Reads no source but those of packages that several roots have.
    pub(crate) fn has(&mut self, name: &str) -> bool {
        if name == MAIN {
            return self.sources.script.is_some();
        }
        if is_own(name) || !is_module_name(name) {
            return self.find(name) != Found::Missing;
        }
        self.sources.policy.permits(name) && self.search.has(name)
    }

    /// Whether it is there and cannot be served, and so has nothing in it. Reads
    /// what [`has`](Finder::has) does.
    pub(crate) fn is_refused(&mut self, name: &str) -> bool {
        !is_own(name) && is_module_name(name) && self.search.locate(name).is_err()
    }

    /// The names at the top level of all roots, sorted; `*` if there may be more.
    pub(crate) fn top(&mut self) -> Vec<String> {
        self.search.top_names()
    }

    /// The registered paths where this search found nothing: each is given to one search, the first.
    pub(crate) fn missing_paths(&self) -> Vec<String> {
        self.search.missing_paths()
    }

    /// A data file of a package, or a directory of such.
    pub(crate) fn data(&mut self, package: &str, path: &str) -> Result<Option<Data>, String> {
        if package.is_empty() {
            return self.search.data(package, path);
        }
        if !is_served_name(package) || !self.permits_data(package, path) {
            return Ok(None);
        }
        let mut found = self.search.data(package, path)?;
        if let Some(Data::Listing { entries, .. }) = &mut found {
            entries.retain(|entry| self.permits_data(package, &format!("{path}{entry}")));
        }
        Ok(found)
    }

    /// Whether a file or a directory of a package may be served: as the module that it is, or would be by its
    /// name. Of a package that merely leads to an allowed one nothing else is than its own code.
    fn permits_data(&self, package: &str, path: &str) -> bool {
        let policy = &self.sources.policy;
        let stem = |part: &str| part.split('.').next().unwrap_or_default().to_owned();
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let folders = folders.split('/').filter(|part| !part.is_empty());
        let folder = folders.fold(package.to_owned(), |name, part| name + "." + &stem(part));
        match file {
            "" | "__init__.py" => policy.permits(&folder),
            file => policy.permits_content(&(folder + "." + &stem(file))),
        }
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

    fn find_served(&mut self, name: &str) -> Result<Option<Module>, String> {
        let Some(place) = self.search.locate(name)? else { return Ok(None) };
        let (path, served) = match &*place {
            Place::Module(content) | Place::Package(content, _) => {
                (content.shown(), content.served(self.store)?)
            }
            Place::Namespace(_) => (place.shown(), Served::default()),
        };
        let pkg_present = self.search.children(name, &place);
        let Served { compressed, imports } = served;
        Ok(Some(Module { name: name.to_owned(), pkg_present, path, compressed, imports }))
    }
}

impl Drop for Finder<'_> {
    fn drop(&mut self) {
        self.store.rest();
    }
}
