//! Which file, directory or source of the program a dotted name stands for.
//!
//! Invariant: the rules are those of Python's own finder. A top-level name is looked for in all roots;
//! a submodule in its package's directory, or, where no directory has an `__init__.py` or that calls
//! `pkgutil.extend_path`, in all that bear the package's name. Within one directory a package precedes a module. What the program gives
//! one by one (`embedded`) adds to that: it is found by its whole name, whatever the package before it is.
//! One search sees one state of each directory: what it has looked up it does not look at again.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::archive::Archive;
use super::closure::{self, Closure};
use super::content::{Content, Held};
use super::data::{self, Data, Entries};
use super::embedded::Embedded;
use super::folder::{self, Folder};
use super::store::{Stamp, Store};

/// Where modules come from, first come, first found.
#[derive(Clone, Default)]
pub(super) struct Roots {
    /// How many things have been registered: the place of the next in the order of all.
    count: usize,
    roots: Vec<(usize, Root)>,
    embedded: Embedded,
}

#[derive(Clone)]
enum Root {
    Path(Arc<OnDisk>),
    Archive(Arc<Packed>),
    Closure(Arc<Closure>),
}

/// A directory, or an archive in a file.
pub(super) struct OnDisk {
    path: PathBuf,
    /// Whether it has been said that nothing is there.
    missed: AtomicBool,
    archive: Mutex<Option<(Stamp, Opened)>>,
}

/// An archive that the program holds, opened when it is first looked into.
struct Packed {
    shown: String,
    bytes: Arc<Cow<'static, [u8]>>,
    archive: OnceLock<Opened>,
}

type Opened = Result<Arc<Archive>, String>;

impl Roots {
    pub(super) fn path(&mut self, path: PathBuf) {
        self.push(Root::Path(Arc::new(OnDisk {
            path,
            missed: false.into(),
            archive: Mutex::default(),
        })));
    }

    pub(super) fn archive(&mut self, shown: String, bytes: Cow<'static, [u8]>) {
        let (bytes, archive) = (Arc::new(bytes), OnceLock::new());
        self.push(Root::Archive(Arc::new(Packed { shown, bytes, archive })));
    }

    pub(super) fn closure(&mut self, closure: Arc<Closure>) {
        self.push(Root::Closure(closure));
    }

    pub(super) fn source(&mut self, name: String, text: Vec<u8>) {
        let order = self.next();
        self.embedded.add(order, name, Held::new(Cow::Owned(text)));
    }

    pub(super) fn file(&mut self, package: &str, path: &str, bytes: Cow<'static, [u8]>) {
        let order = self.next();
        self.embedded.add_file(order, package, path, Held::new(bytes));
    }

    fn push(&mut self, root: Root) {
        let order = self.next();
        self.roots.push((order, root));
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    pub(super) fn search(self: Arc<Self>, store: &Store) -> Search<'_> {
        Search { roots: self, store, top: None, places: HashMap::new() }
    }
}

impl Root {
    /// As a place to look for top-level names in.
    fn part(&self) -> Part {
        let folder = match self {
            Root::Closure(closure) => return Part::Closure(closure.clone()),
            Root::Path(on_disk) => match on_disk.folder() {
                Ok(None) => return Part::Absent(on_disk.clone()),
                Ok(Some(folder)) => Ok(folder),
                Err(reason) => Err(reason),
            },
            Root::Archive(packed) => packed.open().map(Folder::outermost),
        };
        folder.map_or_else(Part::Broken, Part::Folder)
    }
}

impl OnDisk {
    /// None if nothing is there.
    fn folder(&self) -> Result<Option<Folder>, String> {
        let Some(metadata) = folder::metadata(&self.path)? else { return Ok(None) };
        let folder = match metadata.is_file() {
            true => self.open(Stamp::of(&metadata)).map(Folder::outermost),
            false => Folder::list(self.path.clone()),
        };
        folder.map(Some)
    }

    fn open(&self, stamp: Stamp) -> Opened {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        match &*archive {
            Some((earlier, opened)) if stamp.is(earlier) => opened.clone(),
            _ => {
                let opened = Archive::open(&self.path, stamp).map(Arc::new);
                *archive = Some((stamp, opened.clone()));
                opened
            }
        }
    }
}

impl Packed {
    fn open(&self) -> Opened {
        let open = || Archive::held(&self.shown, self.bytes.clone()).map(Arc::new);
        self.archive.get_or_init(open).clone()
    }
}

/// What a name stands for.
pub(super) enum Place {
    Module(Content),
    /// A package with an `__init__.py`, and where its modules are, its own directory first.
    Package(Content, Parts),
    /// A package without, and where its modules may be; nowhere else than among the embedded sources,
    /// perhaps.
    Namespace(Parts),
}

/// Where the modules of a package are looked for, in this order.
pub(super) type Parts = Arc<[(usize, Part)]>;

/// What a package has in one root.
#[derive(Clone)]
pub(super) enum Part {
    Folder(Folder),
    Closure(Arc<Closure>),
    /// A root that cannot be looked into, and why.
    Broken(String),
    /// A root that is not there yet.
    Absent(Arc<OnDisk>),
}

impl Place {
    fn parts(&self) -> Parts {
        match self {
            Place::Module(_) => Arc::default(),
            Place::Package(_, parts) | Place::Namespace(parts) => parts.clone(),
        }
    }

    /// The first directory of a package, or nothing if it has none.
    pub(super) fn shown(&self) -> String {
        let shown = |(_, part): &(usize, Part)| match part {
            Part::Folder(folder) => Some(folder.shown()),
            _ => None,
        };
        self.parts().iter().find_map(shown).unwrap_or_default()
    }
}

/// A search for any number of names.
pub(super) struct Search<'a> {
    roots: Arc<Roots>,
    store: &'a Store,
    top: Option<Parts>,
    places: HashMap<String, Located>,
}

/// Where a module is, or why that cannot be told.
type Located = Result<Option<Arc<Place>>, String>;

impl Search<'_> {
    /// Where the module `name` is. `name` is one that Python could import.
    pub(super) fn locate(&mut self, name: &str) -> Located {
        let mut parts = None;
        let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
        let mut begin = 0;
        let mut place = None;
        for end in ends {
            let whole = &name[..end];
            let located = match self.places.get(whole) {
                Some(located) => located.clone(),
                None => {
                    let parts = parts.take().unwrap_or_else(|| self.top());
                    let located = self.locate_in(&parts, whole, &name[begin..end]);
                    self.places.insert(whole.to_owned(), located.clone());
                    located
                }
            };
            let Some(found) = located? else { return Ok(None) };
            parts = Some(found.parts());
            place = Some(found);
            begin = end + 1;
        }
        Ok(place)
    }

    /// Whether a module of this name is there, be it one that cannot be served. What may be in a root that cannot
    /// be looked into is not: else that would have everything.
    pub(super) fn has(&mut self, name: &str) -> bool {
        if let Ok(found) = self.locate(name) {
            return found.is_some();
        }
        let is_sound = |(_, part): &&(usize, Part)| !matches!(part, Part::Broken(_));
        let top = self.top();
        let sound: Parts = top.iter().filter(is_sound).cloned().collect();
        if sound.len() == top.len() {
            return true;
        }
        let mut without = self.roots.clone().search(self.store);
        without.top = Some(sound);
        !matches!(without.locate(name), Ok(None))
    }

    /// Looks for `name`, whose last part is `stem`, among the embedded sources and in `parts`.
    fn locate_in(&self, parts: &Parts, name: &str, stem: &str) -> Located {
        let embedded = self.roots.embedded.source(name);
        // What may have a part of a package of this name.
        let mut seen = Vec::new();
        let mut found = None;
        let mut rest = &parts[..];
        while let [(order, part), behind @ ..] = rest {
            if embedded.as_ref().is_some_and(|(first, _)| first < order) {
                break;
            }
            rest = behind;
            let own = |part| Some((*order, part));
            match part {
                Part::Broken(reason) => return Err(reason.clone()),
                Part::Absent(_) => {}
                Part::Closure(closure) => {
                    if let Some(made) = closure::ask(&**closure, name)? {
                        let is_package = made.package;
                        let content = made.content();
                        if !is_package {
                            return Ok(Some(Place::Module(content).into()));
                        }
                        found = Some((content, own(part.clone())));
                        break;
                    }
                    // It cannot say that it has a part.
                    seen.push((*order, part.clone()));
                }
                Part::Folder(folder) => match look(folder, stem)? {
                    Some(Look::Module(content)) => return Ok(Some(Place::Module(content).into())),
                    Some(Look::Package(content, folder)) => {
                        found = Some((content, own(Part::Folder(folder))));
                        break;
                    }
                    Some(Look::Folder(folder)) => seen.push((*order, Part::Folder(folder))),
                    None => {}
                },
            }
        }
        let is_package = self.roots.embedded.is_package(name);
        let place = match (found, embedded) {
            (Some((content, own)), _) => self.package(content, own, seen, rest, stem),
            (None, Some((_, content))) if is_package => {
                self.package(content, None, seen, rest, stem)
            }
            (None, Some((_, content))) => Place::Module(content),
            (None, None) => {
                let is_there = seen.iter().any(|(_, part)| matches!(part, Part::Folder(_)));
                if !is_there && !is_package {
                    return Ok(None);
                }
                Place::Namespace(seen.into())
            }
        };
        Ok(Some(place.into()))
    }

    /// The package of this source, whose own part is `own`. If the source asks for that, its modules are in
    /// what other roots have of it, too: in what was `seen` before it, and in what is in `rest`.
    fn package(
        &self,
        content: Content,
        own: Option<(usize, Part)>,
        mut seen: Vec<(usize, Part)>,
        rest: &[(usize, Part)],
        stem: &str,
    ) -> Place {
        for (order, part) in rest {
            seen.extend(portion(part, stem).map(|part| (*order, part)));
        }
        // Few packages are in more than one root, and of others the source need not be read.
        let extends = || content.served(self.store).is_ok_and(|served| served.imports.extends());
        if !seen.is_empty() && !extends() {
            seen.clear();
        }
        Place::Package(content, own.into_iter().chain(seen).collect())
    }

    /// The short names of what is in the package `name` at `place`, sorted, with a `*` if there may be
    /// others; None if it is a module.
    pub(super) fn children(&self, name: &str, place: &Place) -> Option<Vec<String>> {
        let is_package = !matches!(place, Place::Module(_)) || self.roots.embedded.is_package(name);
        is_package.then(|| self.names(name, &place.parts()))
    }

    /// The names at the top level, as `children` has those of a package.
    pub(super) fn top_names(&mut self) -> Vec<String> {
        let top = self.top();
        self.names("", &top)
    }

    fn names(&self, package: &str, parts: &Parts) -> Vec<String> {
        let mut names = BTreeSet::new();
        // One by one, for to collect a set brings in a sort of its own.
        names.extend(self.roots.embedded.children(package).cloned());
        for (_, part) in parts.iter() {
            match part {
                Part::Folder(folder) => folder.children(&mut names),
                // Who asks for what may be in there is told what is wrong with it, or finds it by then.
                Part::Closure(_) | Part::Broken(_) | Part::Absent(_) => {
                    names.insert("*".to_owned());
                }
            }
        }
        names.into_iter().collect()
    }

    /// The paths where this search found nothing, as far as no search before has given them.
    pub(super) fn missing_paths(&self) -> Vec<String> {
        let missing = |(_, part): &(usize, Part)| match part {
            Part::Absent(root) if !root.missed.swap(true, Ordering::Relaxed) => {
                Some(super::shown(&root.path))
            }
            _ => None,
        };
        self.top.iter().flat_map(|parts| parts.iter()).filter_map(missing).collect()
    }

    /// The data file or directory at `path` in a package; in no package, what describes a distribution.
    pub(super) fn data(&mut self, package: &str, path: &str) -> Result<Option<Data>, String> {
        let Some(wanted) = data::wanted(package, path) else { return Ok(None) };
        let (mut parts, mut init) = (self.top(), None);
        if !package.is_empty() {
            let Some(place) = self.locate(package)? else { return Ok(None) };
            match &*place {
                Place::Module(_) if !self.roots.embedded.is_package(package) => return Ok(None),
                Place::Package(content, _) => init = Some(content.clone()),
                _ => {}
            }
            parts = place.parts();
        }
        let inner = wanted.parts.join("/");
        let whole = data::join(package, &inner);
        if wanted.listing {
            return self.listing(&parts, &wanted.parts, &whole, package.is_empty(), init);
        }
        let content = match init.filter(|_| inner == "__init__.py") {
            Some(content) => Some(content),
            None => self.file(&parts, &wanted.parts, &whole)?,
        };
        let Some(content) = content else { return Ok(None) };
        Ok(Some(Data::File { shown: content.shown(), size: content.size()?, content }))
    }

    /// The file at `path` in the first of `parts` that has it, `whole` being its path among the embedded.
    fn file(&self, parts: &Parts, path: &[&str], whole: &str) -> Result<Option<Content>, String> {
        let embedded = self.roots.embedded.file(whole);
        for (order, part) in parts.iter() {
            if let Some((_, content)) = embedded.as_ref().filter(|(first, _)| first < order) {
                return Ok(Some(content.clone()));
            }
            if let Part::Folder(folder) = part {
                if let Some(content) = folder.file_at(path)? {
                    return Ok(Some(content));
                }
            }
        }
        Ok(embedded.map(|(_, content)| content))
    }

    /// What is at `path` in all of `parts` together; `init` is that of the package.
    fn listing(
        &self,
        parts: &Parts,
        path: &[&str],
        whole: &str,
        of_roots: bool,
        init: Option<Content>,
    ) -> Result<Option<Data>, String> {
        let (mut entries, mut shown) = (Entries::default(), None);
        let of_package = path.is_empty();
        if of_package && init.is_some() {
            entries.file("__init__.py");
        }
        for (_, part) in parts.iter() {
            let Part::Folder(folder) = part else { continue };
            if let Some(folder) = folder.folder_at(path)? {
                folder.list_into(&mut entries);
                shown.get_or_insert_with(|| folder.shown());
            }
        }
        if self.roots.embedded.list(whole, &mut entries) {
            shown.get_or_insert_with(|| whole.to_owned());
        }
        if of_package {
            shown.get_or_insert_with(String::new);
        }
        let mut entries = entries.names();
        if of_package && of_roots {
            let is_seen = |entry: &String| {
                entry.split_once('/').is_some_and(|(name, _)| data::is_about(name))
            };
            entries.retain(is_seen);
            shown = Some(String::new());
        }
        Ok(shown.map(|shown| Data::Listing { shown, entries }))
    }

    fn top(&mut self) -> Parts {
        let parts = || self.roots.roots.iter().map(|(order, root)| (*order, root.part())).collect();
        self.top.get_or_insert_with(parts).clone()
    }
}

/// What `part` has of the package `stem`, or may have.
fn portion(part: &Part, stem: &str) -> Option<Part> {
    let Part::Folder(folder) = part else { return Some(part.clone()) };
    match look(folder, stem) {
        Ok(Some(Look::Package(_, inner) | Look::Folder(inner))) => Some(Part::Folder(inner)),
        Ok(_) => None,
        Err(reason) => Some(Part::Broken(reason)),
    }
}

/// What a folder has of a name.
enum Look {
    Module(Content),
    Package(Content, Folder),
    Folder(Folder),
}

fn look(folder: &Folder, stem: &str) -> Result<Option<Look>, String> {
    let inner = folder.folder(stem)?;
    if let Some(inner) = &inner {
        if let Some(content) = inner.file("__init__.py")? {
            return Ok(Some(Look::Package(content, inner.clone())));
        }
    }
    if let Some(content) = folder.file(&format!("{stem}.py"))? {
        return Ok(Some(Look::Module(content)));
    }
    let of_package = inner.as_ref().map(|inner| inner.refusal("__init__")).transpose()?.flatten();
    match of_package.or(folder.refusal(stem)?) {
        Some(reason) => Err(reason),
        None => Ok(inner.map(Look::Folder)),
    }
}
