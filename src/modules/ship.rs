//! What goes down one stream: the answers to a child's `GET_MODULE`, and what goes ahead of being asked for.
//!
//! A shipment is the modules that one call or one request needs: the module itself, then, depth first and in
//! the order of execution, what its top-level code imports, parents before children. So the child compiles
//! the first while the others are read and compressed. Each message announces what the module imports itself
//! (`related`), so that the child waits for that instead of asking.
//!
//! Invariant: unless the child asks for it by name again, nothing goes down a stream twice; and what a
//! message announces has gone down that stream or goes with the same shipment.

mod files;

use std::collections::HashSet;

use super::imports::Target;
use super::{Finder, Found, Module, Modules, is_own, message};
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
    /// The state of the sources whose preload list has gone.
    preloaded: Option<u64>,
}

impl Shipped {
    /// Whether a call of this module needs no shipment. `version` is that of the sources.
    pub(crate) fn covers(&self, module: &str, version: u64) -> bool {
        self.version.is_none_or(|seen| seen == version)
            && (self.names.contains(module) || self.foreign.contains(module))
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
        self.renew();
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
        match self.finder.find(name).within(self.limit) {
            Found::Module(module) => {
                self.shipped.names.insert(name.to_owned());
                self.say_module(&module, "served");
                self.modules.learn(name);
                self.send_module(&module);
                self.fulfil();
                if !is_own(name) {
                    self.preload();
                }
            }
            Found::Missing => {
                self.absent(name);
            }
            Found::Refused(problem) => {
                self.modules.learn(name);
                self.refuse(Level::Info, name, &problem);
            }
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
            for path in self.finder.missing_paths() {
                let note = format!("modules are to be served from {path}, and nothing is there");
                self.say(Level::Warning, note);
            }
            let names = message::roots(&self.finder.top());
            let any = || message::roots(&["*".to_owned()]);
            self.send(if self.fits(&names) { names } else { any() });
        }
    }

    /// Sends what is on the preload list, once for a state of the sources.
    fn preload(&mut self) {
        let version = self.finder.version();
        if self.shipped.preloaded.replace(version) == Some(version) {
            return;
        }
        for name in self.finder.policy().preload.clone() {
            if self.budget == 0 {
                break;
            }
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
                    if !is_own(&name) {
                        self.budget = self.budget.saturating_sub(module.compressed.len());
                    }
                    self.say_module(&module, "pushed");
                    self.send_module(&module);
                }
                // It was there a moment ago; whoever waits for it must hear something.
                Found::Missing => self.absent(&name),
                // Nobody has missed it yet: many packages do without their parts in C.
                Found::Refused(problem) => self.refuse(Level::Debug, &name, &problem),
            }
        }
    }

    /// Sends a module, and promises what it imports.
    fn send_module(&mut self, module: &Module) {
        let mut related = self.related(module);
        // What does not fit into the message is not announced, and asked for when it is imported.
        let mut room = self.limit.saturating_sub(module.message_bytes());
        let fits = |name: &&String| {
            let bytes = name.len() + NAME_BYTES;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        related.truncate(related.iter().take_while(fits).count());
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
                if self.finder.is_refused(&wanted.module) {
                    names.clear();
                } else if wanted.star {
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

    fn say_module(&self, module: &Module, what: &str) {
        let Module { name, path, compressed, .. } = module;
        let bytes = compressed.len();
        self.say(Level::Debug, format!("module {name} {what}: {path} ({bytes} bytes)"));
    }

    /// What a child was told is not there, or cannot be served, it may forget: to announce it would be in vain.
    fn absent(&mut self, name: &str) {
        self.shipped.names.remove(name);
        self.say(Level::Debug, format!("module {name} is not served"));
        self.send(message::absent(name));
    }

    fn refuse(&mut self, level: Level, name: &str, problem: &str) {
        self.shipped.names.remove(name);
        self.say(level, format!("module {name} cannot be served: {problem}"));
        self.send(message::raising(name, problem));
    }

    fn say(&self, level: Level, note: String) {
        (self.say)(level, note);
    }

    fn fits(&self, message: &Result<Vec<u8>, EncodeError>) -> bool {
        message.as_ref().is_ok_and(|data| data.len() <= self.limit)
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
        let bytes = module.message_bytes();
        if bytes <= limit {
            return self;
        }
        Found::Refused(format!("{bytes} bytes, more than the {limit} of max_message_bytes"))
    }
}

impl Module {
    /// At most how long its message is, if it announces nothing.
    fn message_bytes(&self) -> usize {
        let children = self.pkg_present.iter().flatten();
        let names = children.map(|name| name.len() + NAME_BYTES).sum::<usize>();
        self.compressed.len() + names + self.path.len() + self.name.len() + 64
    }
}

/// What all of a child's imports go through.
const IMPORTER: &str = "econtext.importer";
/// What a name takes in a pickle, beside its own bytes.
const NAME_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::files::{EGG_FILES, PIECE_BYTES};
    use super::*;
    use crate::Value;
    use crate::pickle;
    use std::cell::RefCell;

    /// One stream.
    struct Stream {
        modules: Modules,
        shipped: Shipped,
        target: Option<Target>,
    }

    impl Stream {
        fn new() -> Stream {
            let (modules, shipped) = Default::default();
            Stream { modules, shipped, target: None }
        }

        /// What `load` sends, as the child sees it.
        fn ship(&mut self, load: impl FnOnce(&mut Shipment)) -> Vec<Vec<Value>> {
            let limits = pickle::Limits::for_messages_of(1 << 20);
            let sent = RefCell::new(Vec::new());
            let send = |data: Vec<u8>| match pickle::decode(&data, &limits).unwrap() {
                Value::Tuple(fields) => sent.borrow_mut().push(fields),
                other => panic!("{other:?}"),
            };
            let Stream { modules, shipped, target } = self;
            let target = target.clone();
            load(&mut Shipment::new(modules, shipped, target, limits.message, &send, &|_, _| {}));
            sent.into_inner()
        }

        /// Each name that goes with a call, with what is announced with it.
        fn push(&mut self, module: &str) -> Vec<String> {
            self.ship(|shipment| shipment.push(module)).iter().map(|fields| shown(fields)).collect()
        }

        fn answer(&mut self, name: &str) -> Vec<String> {
            self.ship(|shipment| shipment.answer(name)).iter().map(|fields| shown(fields)).collect()
        }
    }

    fn shown(fields: &[Value]) -> String {
        let [Value::Text(name), _, _, compressed, related] = fields else { panic!("{fields:?}") };
        match (compressed, related) {
            (Value::None, Value::None) => format!("no {name}"),
            (Value::Bytes(_), Value::List(related)) if related.is_empty() => name.clone(),
            (Value::Bytes(_), Value::List(related)) => {
                let text = |value: &Value| match value {
                    Value::Text(text) => text.clone(),
                    other => panic!("{other:?}"),
                };
                let related: Vec<_> = related.iter().map(text).collect();
                format!("{name} > {}", related.join(" "))
            }
            other => panic!("{other:?}"),
        }
    }

    const BEGIN: [&str; 2] = ["", IMPORTER];

    fn after_begin(sent: Vec<String>) -> Vec<String> {
        assert_eq!(sent[..2], BEGIN);
        sent[2..].to_vec()
    }

    #[test]
    fn what_is_announced_goes_in_the_order_in_which_it_is_needed() {
        let mut stream = Stream::new();
        stream.modules.source("a", "import b, c, os\n").source("b", "import c.d, b\n");
        stream.modules.source("c", "import e").source("c.d", "import a").source("e", "");
        let sent = after_begin(stream.push("a"));
        assert_eq!(sent, ["a > b c", "b > c c.d", "c > e", "e", "c.d > a"]);
        assert_eq!(stream.push("a"), [""; 0]);
        assert_eq!(stream.push("c.d"), [""; 0]);
    }

    #[test]
    fn names_of_a_from_import_count_where_they_are_modules() {
        let mut stream = Stream::new();
        stream.modules.source("p", "from p import one, not_one\nfrom p.q import *\n");
        stream
            .modules
            .source("p.one", "")
            .source("p.two", "")
            .source("p.q", "__all__ = ['r', 's']\n");
        stream.modules.source("p.q.r", "").source("p.q.t", "");
        let sent = after_begin(stream.push("p"));
        assert_eq!(sent, ["p > p.one p.q p.q.r", "p.one", "p.q", "p.q.r"]);
    }

    #[test]
    fn what_is_asked_for_is_answered_again_and_what_it_imports_is_not() {
        let mut stream = Stream::new();
        stream.modules.source("a", "import b").source("b", "");
        assert_eq!(stream.answer(IMPORTER), BEGIN);
        assert_eq!(stream.answer("a"), ["a > b", "b"]);
        assert_eq!(stream.answer("a"), ["a > b"]);
        assert_eq!(stream.answer("none"), ["no none"]);
        assert_eq!(stream.answer("not a name"), ["no not a name"]);
    }

    #[test]
    fn children_that_know_the_roots_hear_what_has_changed() {
        let mut stream = Stream::new();
        stream.modules.source("a", "");
        assert!(stream.ship(|shipment| shipment.renew()).is_empty());
        assert!(!stream.shipped.covers("late", stream.modules.version()));
        assert_eq!(stream.push("late"), [""; 0]);
        assert!(stream.shipped.covers("late", stream.modules.version()));
        assert_eq!(after_begin(stream.push("a")), ["a"]);
        stream.modules.source("late", "");
        assert!(!stream.shipped.covers("late", stream.modules.version()));
        let renewed = stream.ship(|shipment| shipment.renew());
        let names = ["a", "late"].map(|name| Value::Text(name.into()));
        assert_eq!(renewed[0][1], Value::List(names.to_vec()));
        assert_eq!(stream.push("late"), ["late"]);
    }

    #[test]
    fn the_limit_ends_what_goes_ahead_and_nothing_is_announced_in_vain() {
        let mut stream = Stream::new();
        let long: String = (0..5000).map(|n| format!("x{n} = {}\n", n * 7919 % 10007)).collect();
        stream.modules.source("a", "import b, c").source("b", format!("import d\n{long}"));
        stream.modules.source("c", "import e").source("d", "").source("e", "");
        stream.modules.push_limit_bytes(1000);
        assert_eq!(after_begin(stream.push("a")), ["a > b c", "b", "c"]);
        assert_eq!(stream.answer("d"), ["d"]);
    }

    #[test]
    fn a_data_file_goes_in_pieces() {
        let mut stream = Stream::new();
        let data: Vec<u8> = (0..(PIECE_BYTES as u32 * 2 + 5)).map(|n| (n % 251) as u8).collect();
        stream.modules.source("p", "").data("p", "big.bin", data.clone());
        let first = stream.ship(|shipment| shipment.answer("p/big.bin"));
        let Value::List(further) = &first[0][4] else { panic!("{first:?}") };
        assert_eq!(further.len(), 2);
        let mut whole = Vec::new();
        let name = Value::Text("p/big.bin".into());
        for name in [&name].into_iter().chain(further) {
            let Value::Text(name) = name else { panic!("{name:?}") };
            let sent = stream.ship(|shipment| shipment.answer(name));
            let Value::Bytes(compressed) = &sent[0][3] else { panic!("{sent:?}") };
            whole.extend(miniz_oxide::inflate::decompress_to_vec_zlib(compressed).unwrap());
        }
        assert!(whole == data);
        for beyond in ["p/big.bin\n52428800", "p/big.bin\n1", "p/big.bin\nx", "p/big.bin\n-1"] {
            assert_eq!(stream.answer(beyond), [format!("no {beyond}")]);
        }
        assert_eq!(stream.answer("p/none"), ["no p/none"]);
        assert_eq!(stream.answer("p/../p/big.bin"), ["no p/../p/big.bin"]);
    }

    #[test]
    fn what_describes_distributions_goes_ahead_of_their_list() {
        let mut stream = Stream::new();
        stream.modules.data("", "one-1.0.dist-info/METADATA", b"Name: one\n");
        stream.modules.data("", "one-1.0.dist-info/RECORD", b"one.py,,\n");
        let sent = stream.answer("/");
        assert_eq!(sent, ["/one-1.0.dist-info/METADATA", "/one-1.0.dist-info/RECORD", "/"]);
        assert_eq!(stream.answer("/one-1.0.dist-info/METADATA"), ["/one-1.0.dist-info/METADATA"]);
        let mut stream = Stream::new();
        stream.modules.data("", "two.egg-info/PKG-INFO", b"Name: two\n");
        let sent = stream.answer("/");
        assert_eq!(sent[..2], ["no /two.egg-info/METADATA", "/two.egg-info/PKG-INFO"]);
        assert_eq!((sent.len(), &*sent[8]), (EGG_FILES.len() + 1, "/"));
    }

    #[test]
    fn a_preload_list_names_modules_and_data_files() {
        let mut stream = Stream::new();
        stream
            .modules
            .source("a", "")
            .source("p.q", "import r")
            .source("r", "")
            .data("p", "d.txt", b"x");
        stream.modules.preload("p.q\np/d.txt\nnot.served\necontext.failure\n");
        let sent = after_begin(stream.push("a"));
        assert_eq!(sent, ["a", "p", "p.q > r", "r", "p/d.txt", "econtext.failure"]);
        assert_eq!(stream.push("r"), [""; 0]);
    }

    #[test]
    fn a_module_that_is_too_long_for_a_message_is_refused() {
        let mut stream = Stream::new();
        let noise: Vec<u8> = (0..2 << 20)
            .scan(1u32, |state, _| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some((*state >> 24) as u8)
            })
            .collect();
        stream.modules.source("a", noise);
        let sent = stream.ship(|shipment| shipment.answer("a"));
        let Value::Bytes(compressed) = &sent[0][3] else { panic!("{sent:?}") };
        let text = miniz_oxide::inflate::decompress_to_vec_zlib(compressed).unwrap();
        assert!(
            String::from_utf8(text).unwrap().contains("more than the 1048576 of max_message_bytes")
        );
    }

    #[test]
    fn what_was_refused_is_announced_only_where_it_goes_again() {
        let mut stream = Stream::new();
        stream.modules.finder(|name| match name {
            "bad" => panic!("as the test wants it"),
            _ => None,
        });
        stream.modules.source("a", "import bad").source("b", "import bad");
        assert_eq!(after_begin(stream.push("a")), ["a > bad", "bad"]);
        assert_eq!(stream.push("b"), ["b > bad", "bad"]);
    }

    #[test]
    fn a_call_does_not_overtake_what_was_registered_before_it() {
        let mut stream = Stream::new();
        stream.modules.source("a", "");
        assert_eq!(after_begin(stream.push("a")), ["a"]);
        stream.modules.source("late", "");
        assert!(!stream.shipped.covers("a", stream.modules.version()));
        assert_eq!(stream.push("a"), [""]);
        assert!(stream.shipped.covers("a", stream.modules.version()));
        stream.modules.source("later", "");
        assert_eq!(stream.push("os"), [""]);
    }

    #[test]
    fn messages_stay_below_the_limit() {
        let mut stream = Stream::new();
        let names: Vec<String> = (0..9000).map(|n| format!("m{n}{}", "x".repeat(150))).collect();
        let imports: String = names.iter().map(|name| format!("import {name}\n")).collect();
        stream.modules.source("a", imports);
        for name in &names {
            stream.modules.source(name, "");
            stream.modules.data("p", name, b"");
        }
        let sent = stream.ship(|shipment| shipment.push("a"));
        assert_eq!(sent[0][1], Value::List(vec![Value::Text("*".into())]));
        let Value::List(related) = &sent[2][4] else { panic!("{:?}", sent[2]) };
        assert!((6000..9000).contains(&related.len()), "{}", related.len());
        let listing = stream.ship(|shipment| shipment.answer("p/"));
        let Value::Text(reason) = &listing[0][2] else { panic!("{listing:?}") };
        assert!(reason.contains("more than the 1048576 of max_message_bytes"), "{reason}");
    }
}
