//! What goes down one stream: the answers to a child's `GET_MODULE`, and what goes ahead of being asked for.
//!
//! A shipment is the modules that one call or one request needs: the module itself, then, depth first and in
//! the order of execution, what its top-level code imports, parents before children. So the child compiles
//! the first while the others are read and compressed. Each message announces what the module imports itself
//! (`related`), so that the child waits for that instead of asking.
//!
//! Invariant: unless the child asks for it by name again, nothing goes down a stream twice; and what a
//! message announces has gone down that stream or goes with the same shipment.

use std::collections::HashSet;

use super::imports::Target;
use super::{Data, Finder, Found, Module, Modules, is_own, message};
use crate::Level;
use crate::pickle::EncodeError;

/// What has gone down one stream.
#[derive(Default)]
pub(crate) struct Shipped {
    /// Modules and data files, by the names under which a child asks for them.
    names: HashSet<String>,
    /// Modules of calls that are not served in this state of the sources.
    foreign: HashSet<String>,
    /// The state of the sources whose top-level names the child knows.
    version: Option<u64>,
}

impl Shipped {
    /// Whether a call of this module needs no shipment. `version` is that of the sources.
    pub(crate) fn covers(&self, module: &str, version: u64) -> bool {
        self.names.contains(module)
            || self.foreign.contains(module) && self.version.is_none_or(|seen| seen == version)
    }
}

/// One shipment down one stream.
pub(crate) struct Shipment<'a> {
    modules: &'a Modules,
    finder: Finder<'a>,
    shipped: &'a mut Shipped,
    /// What is known of the interpreter.
    target: Option<Target>,
    /// The largest message, in bytes.
    limit: usize,
    /// How many bytes may still go without having been asked for.
    budget: usize,
    /// Announced, and not gone yet: where the next is at the end.
    due: Vec<String>,
    /// The names in `due`, each once.
    promised: HashSet<String>,
    /// Takes a `LOAD_MODULE` message.
    send: &'a dyn Fn(Vec<u8>),
    say: &'a dyn Fn(Level, String),
}

impl<'a> Shipment<'a> {
    pub(crate) fn new(
        modules: &'a Modules,
        shipped: &'a mut Shipped,
        target: Option<Target>,
        limit: usize,
        send: &'a dyn Fn(Vec<u8>),
        say: &'a dyn Fn(Level, String),
    ) -> Shipment<'a> {
        let finder = modules.searching();
        let budget = finder.policy().push_bytes;
        let (due, promised) = Default::default();
        Shipment { modules, finder, shipped, target, limit, budget, due, promised, send, say }
    }

    /// Sends what a call of a function in `module` needs and the child has not got yet.
    pub(crate) fn push(&mut self, module: &str) {
        if is_own(module) {
            return self.push_own(module);
        }
        let served = self.served_lineage(module);
        if served.last().is_none_or(|last| last != module) {
            self.shipped.foreign.insert(module.to_owned());
        }
        if served.is_empty() {
            return;
        }
        self.begin();
        self.promise(served);
        self.fulfil();
        self.preload();
    }

    /// Sends one of the library's own modules, if the child has not got it yet.
    fn push_own(&mut self, name: &str) {
        self.promise([name.to_owned()]);
        self.fulfil();
    }

    /// Answers a request. There is always an answer: what cannot be had is answered as such. What there is to
    /// say of it is said before the answer leaves, so that the log has it first.
    pub(crate) fn answer(&mut self, name: &str) {
        self.renew();
        if name.is_empty() {
            self.shipped.version = None;
            return self.list_roots();
        }
        if name.contains('/') {
            return self.answer_data(name);
        }
        if name == IMPORTER {
            self.list_roots();
        }
        self.promised.remove(name);
        self.shipped.names.insert(name.to_owned());
        match self.finder.find(name).within(self.limit) {
            Found::Module(module) => {
                self.say_module(&module, "served");
                self.modules.learn(name);
                self.send_module(&module);
                self.fulfil();
                if !is_own(name) {
                    self.preload();
                }
            }
            Found::Missing => {
                self.shipped.names.remove(name);
                self.absent(name);
            }
            Found::Refused(problem) => self.refuse(name, &problem),
        }
    }

    /// Tells a child that knows which names the roots have what has changed.
    pub(crate) fn renew(&mut self) {
        if self.shipped.version.is_some() {
            self.list_roots();
        }
    }

    /// What a child needs to know before it gets its first module.
    fn begin(&mut self) {
        self.list_roots();
        self.push_own(IMPORTER);
    }

    /// Tells which names the roots have, unless the child knows.
    fn list_roots(&mut self) {
        let version = self.finder.version();
        if self.shipped.version != Some(version) {
            self.shipped.version = Some(version);
            self.shipped.foreign.clear();
            let names = self.finder.top();
            self.send(message::roots(&names));
        }
    }

    /// Sends what is on the preload list.
    fn preload(&mut self) {
        for name in self.finder.policy().preload.clone() {
            if name.contains('/') {
                self.push_data(&name);
            } else if is_own(&name) {
                self.push_own(&name);
            } else {
                let served = self.served_lineage(&name);
                self.promise(served);
                self.fulfil();
            }
        }
    }

    /// Notes that these will go, the first first, those aside that went before.
    fn promise(&mut self, names: impl IntoIterator<Item = String, IntoIter: DoubleEndedIterator>) {
        for name in names.into_iter().rev() {
            let is_new = self.shipped.names.insert(name.clone());
            if is_new {
                self.promised.insert(name.clone());
            }
            // Again if it is needed earlier than where it was noted first.
            if is_new || self.promised.contains(&name) {
                self.due.push(name);
            }
        }
    }

    /// Sends what was promised, and what that promises.
    fn fulfil(&mut self) {
        while let Some(name) = self.due.pop() {
            if !self.promised.remove(&name) {
                continue;
            }
            match self.finder.find(&name).within(self.limit) {
                Found::Module(module) => {
                    let bytes = module.compressed.len();
                    self.budget = self.budget.saturating_sub(bytes);
                    self.say_module(&module, "pushed");
                    self.send_module(&module);
                }
                // It was there a moment ago; whoever waits for it must hear something.
                Found::Missing => self.absent(&name),
                Found::Refused(problem) => self.refuse(&name, &problem),
            }
        }
    }

    /// Sends a module, and promises what it imports.
    fn send_module(&mut self, module: &Module) {
        let related = self.related(module);
        self.send(message::module(module, &related));
        self.promise(related);
    }

    /// The served modules that the top-level code of `module` imports, in the order of execution, as far as
    /// they went before or may still go.
    fn related(&mut self, module: &Module) -> Vec<String> {
        let is_package = module.pkg_present.is_some();
        let (mut related, mut seen) = (Vec::new(), HashSet::new());
        for wanted in module.imports.wanted(&module.name, is_package, self.target.as_ref()) {
            let mut served = self.served_lineage(&wanted.module);
            if served.last().is_some_and(|last| *last == wanted.module) {
                let mut names = wanted.names;
                if wanted.star {
                    names.extend(self.exports(&wanted.module));
                }
                let name = |part| format!("{}.{part}", wanted.module);
                served.extend(names.iter().map(name).filter(|name| self.finder.has(name)));
            }
            related.extend(served.into_iter().filter(|name| seen.insert(name.clone())));
        }
        let may_go = self.budget > 0;
        related
            .retain(|name| *name != module.name && (may_go || self.shipped.names.contains(name)));
        related
    }

    /// What `from module import *` may import.
    fn exports(&mut self, module: &str) -> Vec<String> {
        match self.finder.find(module) {
            Found::Module(found) if found.pkg_present.is_some() => found.imports.exports().to_vec(),
            _ => Vec::new(),
        }
    }

    /// The packages that lead to `name`, and itself, as far as they are served.
    fn served_lineage(&mut self, name: &str) -> Vec<String> {
        // Nothing of the library's own can be pushed for a user's import: it is there, or asked for.
        if is_own(name) {
            return Vec::new();
        }
        let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
        ends.map(|end| name[..end].to_owned()).take_while(|name| self.finder.has(name)).collect()
    }

    /// Answers a request for a data file or a directory of such.
    fn answer_data(&mut self, name: &str) {
        self.shipped.names.insert(name.to_owned());
        if name == METADATA {
            self.push_metadata();
        }
        let (file, offset) = split_offset(name);
        match self.data(name, file, offset) {
            Ok(Some(message)) => {
                self.modules.learn(file);
                self.say(Level::Debug, format!("module {name} served: {} bytes", message.len()));
                (self.send)(message);
            }
            Ok(None) => self.absent(name),
            Err(problem) => {
                self.say(Level::Error, format!("module {name} cannot be served: {problem}"));
                self.send(message::unreadable(name, &problem));
            }
        }
    }

    /// The message for the data file or the directory `file`, from `offset` on; `name` is what was asked for.
    fn data(&mut self, name: &str, file: &str, offset: u64) -> Result<Option<Vec<u8>>, String> {
        let (package, path) = file.split_once('/').unwrap_or((file, ""));
        let message = match self.finder.data(package, path)? {
            None => return Ok(None),
            Some(Data::Listing { shown, entries }) => message::listing(name, &shown, &entries),
            Some(data @ Data::File { .. }) => {
                let (shown, size) = match &data {
                    Data::File { shown, size, .. } => (shown, *size),
                    Data::Listing { .. } => unreachable!("it is a file"),
                };
                let bytes = data.read(offset, PIECE_BYTES as usize)?;
                let mut further = Vec::new();
                if offset == 0 {
                    if size > MAX_DATA_BYTES {
                        return Err(format!("{shown}: {size} bytes, more than {MAX_DATA_BYTES}"));
                    }
                    let offsets = (1..size.div_ceil(PIECE_BYTES)).map(|piece| piece * PIECE_BYTES);
                    further.extend(offsets.map(|offset| format!("{file}\n{offset}")));
                }
                message::piece(name, shown, &bytes, &further)
            }
        };
        message.map(Some).map_err(|error| error.to_string())
    }

    /// Sends a data file ahead, if it is there and no larger than one piece; gives its size.
    fn push_data(&mut self, name: &str) -> usize {
        if self.shipped.names.contains(name) {
            return 0;
        }
        let (package, path) = name.split_once('/').unwrap_or((name, ""));
        let found = self.finder.data(package, path);
        if matches!(&found, Ok(Some(Data::File { size, .. })) if *size > PIECE_BYTES) {
            return 0;
        }
        let Ok(Some(message)) = self.data(name, name, 0) else { return 0 };
        let bytes = message.len();
        self.shipped.names.insert(name.to_owned());
        self.say(Level::Debug, format!("module {name} pushed: {bytes} bytes"));
        (self.send)(message);
        bytes
    }

    /// Sends what `importlib.metadata` reads of each distribution, before it asks.
    fn push_metadata(&mut self) {
        let Ok(Some(Data::Listing { entries, .. })) = self.finder.data("", "") else { return };
        let mut budget = METADATA_BYTES;
        for entry in entries.iter().filter(|entry| entry.ends_with('/')) {
            for file in ["METADATA", "entry_points.txt", "top_level.txt", "RECORD"] {
                if budget > 0 {
                    budget = budget.saturating_sub(self.push_data(&format!("/{entry}{file}")));
                }
            }
        }
    }

    fn say_module(&self, module: &Module, what: &str) {
        let Module { name, path, compressed, .. } = module;
        let bytes = compressed.len();
        self.say(Level::Debug, format!("module {name} {what}: {path} ({bytes} bytes)"));
    }

    fn absent(&mut self, name: &str) {
        self.say(Level::Debug, format!("module {name} is not served"));
        self.send(message::absent(name));
    }

    fn refuse(&mut self, name: &str, problem: &str) {
        self.say(Level::Error, format!("module {name} cannot be served: {problem}"));
        self.send(message::raising(name, problem));
    }

    fn say(&self, level: Level, note: String) {
        (self.say)(level, note);
    }

    fn send(&self, message: Result<Vec<u8>, EncodeError>) {
        match message {
            Ok(message) => (self.send)(message),
            // Of what is made here nothing comes near to what a message can hold.
            Err(error) => self.say(Level::Error, error.to_string()),
        }
    }
}

impl Found {
    /// What would not fit into a message cannot be served.
    fn within(self, limit: usize) -> Found {
        let Found::Module(module) = &self else { return self };
        let names = module.pkg_present.iter().flatten().map(|name| name.len() + 8).sum::<usize>();
        let bytes = module.compressed.len() + names + module.path.len() + module.name.len() + 64;
        if bytes <= limit {
            return self;
        }
        Found::Refused(format!("{bytes} bytes, more than the {limit} of max_message_bytes"))
    }
}

/// The name of a file, and where in it a piece begins: `name`, or `name\noffset`.
fn split_offset(name: &str) -> (&str, u64) {
    match name.split_once('\n') {
        // An offset that is none is beyond every end.
        Some((file, offset)) => (file, offset.parse().unwrap_or(u64::MAX)),
        None => (name, 0),
    }
}

/// What all of a child's imports go through.
const IMPORTER: &str = "econtext.importer";
/// The directory of what is known of distributions.
const METADATA: &str = "/";
/// How much of it goes ahead of the answer.
const METADATA_BYTES: usize = 256 << 10;
/// How much of a data file goes in one message, which has to be smaller than the smallest limit, 1 MiB.
const PIECE_BYTES: u64 = 512 << 10;
/// A child is told of all pieces in one message.
const MAX_DATA_BYTES: u64 = 4 << 30;
