//! Context ids, handles and trust: where a frame may go. No I/O, no clock, no thread.
//!
//! Invariant: a frame reaches a handle only if the stream it came by may speak for its `src` and
//! `auth`, and the handle was made for that source. Everything else is refused or dropped, with words.
//! What a handle leads to is a type parameter, so that the rules are tested without a process.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, HashSet};

use crate::wire::Header;

/// The id of the program itself, at the root of the tree.
pub(crate) const MASTER: u32 = 0;

/// A module name, from a child that imports.
pub(crate) const GET_MODULE: u32 = 100;
/// `(module, class or None, function, args, kwargs)`.
pub(crate) const CALL_FUNCTION: u32 = 101;
/// `(logger, level, message)`.
pub(crate) const FORWARD_LOG: u32 = 102;
/// Starts a child's graceful shutdown.
pub(crate) const SHUTDOWN: u32 = 106;
/// `(fullname, pkg_present, path, compressed, related)`.
pub(crate) const LOAD_MODULE: u32 = 107;
/// Answered with `None`, by a parent and by a child.
pub(crate) const PING: u32 = 108;

/// Handles below are well known, those from here up are given out one by one for answers.
const FIRST_REPLY_HANDLE: u32 = 1000;
/// Receivers have random handles above the reply handles' range, so that a `Sender` is a capability.
pub(crate) const FIRST_RECEIVER_HANDLE: u32 = 1 << 30;

/// The ids and handles of one program. `T` is what a handle leads to.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    last_context: u32,
    next_handle: u32,
    /// For the stream of each direct child: the ids that it may speak for.
    streams: HashMap<u32, HashSet<u32>>,
    handles: HashMap<u32, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    /// The only context that may send here; `None` for a capability.
    respondent: Option<u32>,
    once: bool,
    target: T,
}

/// What is to be done with a frame that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// It is for one of the well-known handles.
    Service(u32),
    /// It is for a handle that was registered; an answer's registration has ended with this.
    Deliver(T),
    /// Answer `_DEAD` with this reason where an answer is wanted, and log it.
    Refuse(String),
    /// It claims to be from somebody else: log this, answer nothing.
    Drop(String),
}

impl<T: Clone> Routes<T> {
    pub(crate) fn new() -> Self {
        Routes {
            last_context: MASTER,
            next_handle: FIRST_REPLY_HANDLE,
            streams: HashMap::new(),
            handles: HashMap::new(),
        }
    }

    /// A context id that was never used before, with a stream of its own.
    pub(crate) fn add_child(&mut self) -> u32 {
        self.last_context += 1;
        self.streams.insert(self.last_context, HashSet::from([self.last_context]));
        self.last_context
    }

    /// Forgets a child: gives back what waited for an answer from it.
    pub(crate) fn remove_child(&mut self, id: u32) -> Vec<T> {
        self.streams.remove(&id);
        let gone = |entry: &Entry<T>| entry.respondent == Some(id);
        self.handles.extract_where(gone)
    }

    /// A handle for one answer from `respondent`.
    pub(crate) fn add_reply(&mut self, respondent: u32, target: T) -> u32 {
        loop {
            let handle = self.next_handle;
            self.next_handle = match handle + 1 {
                FIRST_RECEIVER_HANDLE => FIRST_REPLY_HANDLE,
                next => next,
            };
            // After a billion calls the numbers start again; an old call may still hold its own.
            if let MapEntry::Vacant(vacant) = self.handles.entry(handle) {
                vacant.insert(Entry { respondent: Some(respondent), once: true, target });
                return handle;
            }
        }
    }

    /// A handle that lasts until it is removed: `respondent` alone may send to it, or whoever has it.
    /// `random` gives uniformly distributed numbers.
    pub(crate) fn add_receiver(
        &mut self,
        respondent: Option<u32>,
        target: T,
        mut random: impl FnMut() -> u32,
    ) -> u32 {
        loop {
            let handle = (random() & (FIRST_RECEIVER_HANDLE - 1)) | FIRST_RECEIVER_HANDLE;
            if let MapEntry::Vacant(vacant) = self.handles.entry(handle) {
                vacant.insert(Entry { respondent, once: false, target });
                return handle;
            }
        }
    }

    /// What a handle of our own leads to.
    pub(crate) fn target(&self, handle: u32) -> Option<&T> {
        self.handles.get(&handle).map(|entry| &entry.target)
    }

    /// Ends a registration.
    pub(crate) fn remove_handle(&mut self, handle: u32) -> Option<T> {
        self.handles.remove(&handle).map(|entry| entry.target)
    }

    /// Ends all registrations.
    pub(crate) fn remove_all(&mut self) -> Vec<T> {
        self.handles.drain().map(|(_, entry)| entry.target).collect()
    }

    /// Judges a frame that came by the stream of the direct child `stream`.
    pub(crate) fn arrive(&mut self, stream: u32, header: &Header) -> Verdict<T> {
        let speaks_for = |id| self.streams.get(&stream).is_some_and(|ids| ids.contains(&id));
        for (id, what) in [(header.src, "source"), (header.auth, "authority")] {
            if !speaks_for(id) {
                return Verdict::Drop(format!(
                    "dropped a message to handle {}: context {stream} may not use the {what} {id}",
                    header.handle
                ));
            }
        }
        if header.dst != MASTER {
            return Verdict::Refuse(format!(
                "no route to context {} from context {stream}",
                header.dst
            ));
        }
        if matches!(header.handle, GET_MODULE | FORWARD_LOG | PING) {
            return Verdict::Service(header.handle);
        }
        let Some(entry) = self.handles.get(&header.handle) else {
            let is_receiver = header.handle >= FIRST_RECEIVER_HANDLE && header.reply_to != 0;
            return Verdict::Refuse(match is_receiver {
                true => "the receiver is gone".into(),
                false => format!("no handle {} in context 0", header.handle),
            });
        };
        if entry.respondent.is_some_and(|id| id != header.src) {
            return Verdict::Refuse(format!(
                "handle {} is not for context {}",
                header.handle, header.src
            ));
        }
        if entry.once {
            let entry = self.handles.remove(&header.handle).expect("it was found above");
            return Verdict::Deliver(entry.target);
        }
        Verdict::Deliver(entry.target.clone())
    }
}

/// `HashMap::extract_if` is younger than the Rust that this crate builds with.
trait ExtractWhere<T> {
    fn extract_where(&mut self, wanted: impl Fn(&Entry<T>) -> bool) -> Vec<T>;
}

impl<T> ExtractWhere<T> for HashMap<u32, Entry<T>> {
    fn extract_where(&mut self, wanted: impl Fn(&Entry<T>) -> bool) -> Vec<T> {
        let keys: Vec<u32> =
            self.iter().filter_map(|(handle, entry)| wanted(entry).then_some(*handle)).collect();
        keys.iter().filter_map(|key| self.remove(key)).map(|entry| entry.target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn header(src: u32, auth: u32, dst: u32, handle: u32) -> Header {
        Header { dst, src, auth, handle, reply_to: 0 }
    }

    fn routes() -> (Routes<&'static str>, u32, u32) {
        let mut routes = Routes::new();
        let (first, second) = (routes.add_child(), routes.add_child());
        (routes, first, second)
    }

    #[test]
    fn an_answer_is_delivered_once_and_only_from_the_context_that_was_called() {
        let (mut routes, first, second) = routes();
        let handle = routes.add_reply(first, "answer");
        assert!(matches!(
            routes.arrive(second, &header(second, second, 0, handle)),
            Verdict::Refuse(_)
        ));
        assert_eq!(
            routes.arrive(first, &header(first, first, 0, handle)),
            Verdict::Deliver("answer")
        );
        assert_eq!(
            routes.arrive(first, &header(first, first, 0, handle)),
            Verdict::Refuse(format!("no handle {handle} in context 0"))
        );
    }

    #[test]
    fn a_forged_source_or_authority_is_dropped() {
        let (mut routes, first, second) = routes();
        let handle = routes.add_reply(second, "answer");
        for forged in [header(second, first, 0, handle), header(first, second, 0, handle)] {
            assert!(matches!(routes.arrive(first, &forged), Verdict::Drop(_)));
        }
        let master = header(MASTER, MASTER, 0, FORWARD_LOG);
        assert!(matches!(routes.arrive(first, &master), Verdict::Drop(_)));
    }

    #[test]
    fn well_known_handles_are_services_and_call_function_is_not_one_of_the_master() {
        let (mut routes, first, _) = routes();
        for handle in [GET_MODULE, FORWARD_LOG, PING] {
            assert_eq!(
                routes.arrive(first, &header(first, first, 0, handle)),
                Verdict::Service(handle)
            );
        }
        for handle in [CALL_FUNCTION, SHUTDOWN, LOAD_MODULE] {
            assert!(matches!(
                routes.arrive(first, &header(first, first, 0, handle)),
                Verdict::Refuse(_)
            ));
        }
    }

    #[test]
    fn nothing_is_forwarded_between_children() {
        let (mut routes, first, second) = routes();
        assert_eq!(
            routes.arrive(first, &header(first, first, second, CALL_FUNCTION)),
            Verdict::Refuse("no route to context 2 from context 1".into())
        );
    }

    #[test]
    fn a_receiver_takes_any_number_of_messages_from_anybody_who_has_its_handle() {
        let (mut routes, first, second) = routes();
        let mut numbers = [7, 7, 9].into_iter();
        let one = routes.add_receiver(None, "one", || numbers.next().unwrap());
        let two = routes.add_receiver(Some(first), "two", || numbers.next().unwrap());
        assert_ne!(one, two);
        for _ in 0..2 {
            for child in [first, second] {
                assert_eq!(
                    routes.arrive(child, &header(child, child, 0, one)),
                    Verdict::Deliver("one")
                );
            }
        }
        assert!(matches!(
            routes.arrive(second, &header(second, second, 0, two)),
            Verdict::Refuse(_)
        ));
        assert_eq!(routes.remove_handle(one), Some("one"));
        assert!(matches!(routes.arrive(first, &header(first, first, 0, one)), Verdict::Refuse(_)));
    }

    #[test]
    fn a_child_that_goes_takes_along_what_waited_for_it_and_its_id_is_not_used_again() {
        let (mut routes, first, second) = routes();
        routes.add_reply(first, "first");
        routes.add_reply(second, "second");
        assert_eq!(routes.remove_child(first), ["first"]);
        let late = header(first, first, 0, FORWARD_LOG);
        assert!(matches!(routes.arrive(first, &late), Verdict::Drop(_)));
        assert_eq!(routes.add_child(), 3);
        assert_eq!(routes.remove_all(), ["second"]);
    }

    #[test]
    fn the_handles_are_those_of_the_core() {
        let core = include_str!("../bootstrap/econtext/core.py");
        let names = "GET_MODULE, CALL_FUNCTION, FORWARD_LOG, SHUTDOWN, LOAD_MODULE, PING";
        let numbers = [GET_MODULE, CALL_FUNCTION, FORWARD_LOG, SHUTDOWN, LOAD_MODULE, PING];
        let numbers = numbers.map(|number| number.to_string()).join(", ");
        let line = format!("{names} = {numbers}");
        assert!(core.lines().any(|it| it == line), "{line}");
        let levels = [Level::Debug, Level::Warning, Level::Error].map(|it| it.number().to_string());
        let line = format!("DEBUG, WARNING, ERROR = {}", levels.join(", "));
        assert!(core.lines().any(|it| it == line), "{line}");
        let channel = include_str!("../bootstrap/econtext/channel.py");
        let bit = FIRST_RECEIVER_HANDLE.trailing_zeros();
        assert!(channel.contains(&format!("FIRST = 1 << {bit} ")));
        // The child ends the waits of these when it leaves.
        assert!(core.contains(&format!("if handle >= {FIRST_REPLY_HANDLE}:")));
    }
}
