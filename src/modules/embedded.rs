//! Sources and data files that a program gives one by one, each under its whole name.
//!
//! Invariant: a name given twice stands for what was given first. What has a name makes packages of all
//! that precede it in the name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::content::{Content, Held};
use super::data::{self, Entries};

#[derive(Clone, Default)]
pub(super) struct Embedded {
    names: HashMap<String, Named>,
    /// By path: `app/templates/index.html`.
    files: BTreeMap<String, (usize, Arc<Held>)>,
}

/// What a dotted name stands for.
#[derive(Clone, Default)]
struct Named {
    /// Its source, and the place of that in the order of all that is served.
    source: Option<(usize, Arc<Held>)>,
    /// Of a package the short names in it; those at the top level are in that of no name.
    children: Option<BTreeSet<String>>,
}

impl Embedded {
    /// Adds a source; `app.__init__` is that of the package `app`.
    pub(super) fn add(&mut self, order: usize, name: String, held: Held) {
        let (name, package) = match name.strip_suffix(".__init__") {
            Some(package) => (package.to_owned(), true),
            None => (name, false),
        };
        if let Some((package, _)) = name.rsplit_once('.') {
            self.add_package(package);
        }
        self.add_child(&name);
        let named = self.names.entry(name).or_default();
        if named.source.is_none() {
            named.source = Some((order, Arc::new(held)));
            if package {
                named.children.get_or_insert_default();
            }
        }
    }

    /// Adds a data file of a package; of no package, if it is about one.
    pub(super) fn add_file(&mut self, order: usize, package: &str, path: &str, held: Held) {
        if !package.is_empty() {
            self.add_package(package);
        }
        self.files.entry(data::join(package, path)).or_insert((order, Arc::new(held)));
    }

    fn add_package(&mut self, name: &str) {
        let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
        for end in ends {
            self.children_of(&name[..end]);
            self.add_child(&name[..end]);
        }
    }

    fn add_child(&mut self, name: &str) {
        let (package, child) = name.rsplit_once('.').unwrap_or(("", name));
        self.children_of(package).insert(child.to_owned());
    }

    /// The names in a package, which comes to be.
    fn children_of(&mut self, package: &str) -> &mut BTreeSet<String> {
        self.names.entry(package.to_owned()).or_default().children.get_or_insert_default()
    }

    /// The source of this name and its place in the order.
    pub(super) fn source(&self, name: &str) -> Option<(usize, Content)> {
        let (order, held) = self.names.get(name)?.source.as_ref()?;
        let path = name.replace('.', "/");
        // The file name that it would have: a package's data is looked for beside its `__init__.py`.
        let end = if self.is_package(name) { "/__init__.py" } else { ".py" };
        Some((*order, Content::Held(held.clone(), path + end)))
    }

    pub(super) fn is_package(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|named| named.children.is_some())
    }

    fn has_source(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|named| named.source.is_some())
    }

    /// The short names of what is in the package `name`, sorted.
    pub(super) fn children(&self, name: &str) -> impl Iterator<Item = &String> {
        self.names.get(name).and_then(|named| named.children.as_ref()).into_iter().flatten()
    }

    /// The file at `path`, be it data or a source, and its place in the order.
    pub(super) fn file(&self, path: &str) -> Option<(usize, Content)> {
        if let Some((order, held)) = self.files.get(path) {
            return Some((*order, Content::Held(held.clone(), path.to_owned())));
        }
        let name = path.strip_suffix(".py")?;
        let name = name.strip_suffix("/__init__").unwrap_or(name);
        // As `app.py` there is no package, and as `app/__init__.py` no module.
        self.source(&dotted(name)?).filter(|(_, content)| content.shown() == path)
    }

    /// Adds what is in the directory at `path`; whether there is such a one.
    pub(super) fn list(&self, path: &str, entries: &mut Entries) -> bool {
        let mut is_there = false;
        if let Some(package) = dotted(path).filter(|package| self.is_package(package)) {
            is_there = true;
            if self.has_source(&package) {
                entries.file("__init__.py");
            }
            for child in self.children(&package) {
                let name = format!("{package}.{child}");
                match (self.is_package(&name), self.has_source(&name)) {
                    (true, with_init) => entries.folder(child, with_init),
                    (false, _) => entries.file(&format!("{child}.py")),
                }
            }
        }
        let within = if path.is_empty() { String::new() } else { format!("{path}/") };
        for (file, _) in self.files.range(within.clone()..) {
            let Some(rest) = file.strip_prefix(&within) else { break };
            is_there = true;
            match rest.split_once('/') {
                Some((folder, _)) => entries.folder(folder, false),
                None => entries.file(rest),
            }
        }
        is_there
    }
}

/// The name of the package that a directory is, if it can be one.
fn dotted(path: &str) -> Option<String> {
    (!path.contains('.')).then(|| path.replace('/', "."))
}
