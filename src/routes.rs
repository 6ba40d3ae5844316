//! Context ids, routes, handles and trust: where a frame may go. No I/O, no clock, no thread.
//!
//! Invariant: each stream has the ids that it may speak for: those of the direct child, of what this
//! program starts behind it, and of the blocks that it was given for what is started there without this
//! program's doing. A frame with another `src` or `auth` is dropped. A frame reaches a handle only if the
//! handle was made for its source. Everything else is refused or dropped, with words.
//! What a handle leads to is a type parameter, so that the rules are tested without a process.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use crate::wire::Header;

/// The id of the program itself, at the root of the tree.
pub(crate) const MASTER: u32 = 0;

/// A module name, from a child that imports.
pub(crate) const GET_MODULE: u32 = 100;
/// `(module, class or None, function, args, kwargs)`.
pub(crate) const CALL_FUNCTION: u32 = 101;
/// `(logger, level, message)`.
pub(crate) const FORWARD_LOG: u32 = 102;
/// `(target, via)`: a context is about to be started as a child of `via`.
pub(crate) const ADD_ROUTE: u32 = 103;
/// `(target, via)`: a context has gone.
pub(crate) const DEL_ROUTE: u32 = 104;
/// Answered with `(first, end)`, a block of ids that were never used.
pub(crate) const ALLOCATE_ID: u32 = 105;
/// Starts a child's graceful shutdown.
pub(crate) const SHUTDOWN: u32 = 106;
/// `(fullname, pkg_present, path, compressed, related)`.
pub(crate) const LOAD_MODULE: u32 = 107;
/// Answered with `None`, by a parent and by a child.
pub(crate) const PING: u32 = 108;

/// Handles below are well known, those from here up are given out one by one for answers.
pub(crate) const FIRST_REPLY_HANDLE: u32 = 1000;
/// Receivers have random handles above the reply handles' range, so that a `Sender` is a capability.
pub(crate) const FIRST_RECEIVER_HANDLE: u32 = 1 << 30;

/// So many contexts behind each other are more than anybody needs; all that is told goes by each of them.
const DEEPEST: usize = 100;
/// How many ids are given out at once.
const BLOCK: u32 = 1000;
/// How many blocks one stream may ask for.
const MOST_BLOCKS: usize = 64;
/// Of so many contexts it is remembered whom a stream's have dealt with; beyond that it is told of
/// everybody's end.
const MOST_DEALT: usize = 10_000;

/// The ids and handles of one program. `T` is what a handle leads to.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    next_context: u32,
    next_handle: u32,
    unidirectional: bool,
    streams: HashMap<u32, Stream>,
    /// All contexts below.
    contexts: HashMap<u32, Place>,
    /// The children of each that has some.
    children: HashMap<u32, BTreeSet<u32>>,
    handles: HashMap<u32, Entry<T>>,
}

/// What is known of the stream of a direct child.
#[derive(Debug, Default)]
struct Stream {
    /// Beside the ids of the contexts behind it, those of contexts that may be started there.
    blocks: Vec<Range<u32>>,
    /// The ids of those blocks that were announced: none is used twice.
    announced: HashSet<u32>,
    /// The contexts of other streams with which contexts behind this one have dealt; `None`: with too many.
    dealt: Option<HashSet<u32>>,
}

impl Stream {
    fn deal(&mut self, id: u32) {
        if let Some(dealt) = &mut self.dealt {
            dealt.insert(id);
            if dealt.len() > MOST_DEALT {
                self.dealt = None;
            }
        }
    }
}

/// Where a context is in the tree.
#[derive(Clone, Copy, Debug)]
struct Place {
    parent: u32,
    /// The direct child above it, or itself.
    stream: u32,
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
    /// It is for another context: pass it down the stream of this direct child.
    Forward(u32),
    /// Answer `_DEAD` with this reason where an answer is wanted, and log it.
    Refuse(String),
    /// It claims to be from somebody else: log this, answer nothing.
    Drop(String),
}

/// All numbers for contexts have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoIds;

impl fmt::Display for NoIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no ids are left for contexts: this Router has used all 2^32; a new one starts again",
        )
    }
}

/// Contexts that have gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone<T> {
    /// Their ids, parents first.
    pub(crate) ids: Vec<u32>,
    /// What waited for answers from them, each with the id.
    pub(crate) targets: Vec<(u32, T)>,
    /// Direct children, and of which of those ids they are to hear.
    pub(crate) news: Vec<(u32, u32)>,
}

impl<T: Clone> Routes<T> {
    pub(crate) fn new(unidirectional: bool) -> Self {
        Routes {
            next_context: MASTER + 1,
            next_handle: FIRST_REPLY_HANDLE,
            unidirectional,
            streams: HashMap::new(),
            contexts: HashMap::new(),
            children: HashMap::new(),
            handles: HashMap::new(),
        }
    }

    /// A context id that was never used before, with a stream of its own.
    pub(crate) fn add_child(&mut self) -> Result<u32, NoIds> {
        let id = new_ids(&mut self.next_context, 1)?.start;
        self.streams.insert(id, Stream { dealt: Some(HashSet::new()), ..Stream::default() });
        self.place(id, MASTER, id);
        Ok(id)
    }

    /// A context id that was never used before, for a child of `parent`; `None` where that has gone.
    pub(crate) fn add_below(&mut self, parent: u32) -> Result<Option<u32>, NoIds> {
        let Some(Place { stream, .. }) = self.contexts.get(&parent).copied() else {
            return Ok(None);
        };
        let id = new_ids(&mut self.next_context, 1)?.start;
        self.place(id, parent, stream);
        Ok(Some(id))
    }

    /// As after all those starts.
    #[cfg(test)]
    pub(crate) fn use_up_ids(&mut self) {
        self.next_context = u32::MAX;
    }

    fn place(&mut self, id: u32, parent: u32, stream: u32) {
        self.contexts.insert(id, Place { parent, stream });
        self.children.entry(parent).or_default().insert(id);
    }

    /// The contexts on the way to this one, the direct child first, itself last.
    pub(crate) fn path(&self, id: u32) -> Vec<u32> {
        let mut path: Vec<u32> = self.upwards(id).collect();
        path.reverse();
        path
    }

    fn upwards(&self, id: u32) -> impl Iterator<Item = u32> {
        let known = move |id: u32| self.contexts.contains_key(&id).then_some(id);
        std::iter::successors(known(id), move |id| known(self.contexts[id].parent))
    }

    /// A block of ids for what contexts behind this stream start by themselves.
    pub(crate) fn allocate(&mut self, stream: u32) -> Result<Range<u32>, String> {
        let known = self.streams.get_mut(&stream).ok_or("it has gone")?;
        if known.blocks.len() >= MOST_BLOCKS {
            return Err(format!("context {stream} has been given {MOST_BLOCKS} blocks of ids"));
        }
        let block = new_ids(&mut self.next_context, BLOCK).map_err(|error| error.to_string())?;
        known.blocks.push(block.clone());
        Ok(block)
    }

    /// A context behind this stream was started there: `target`, as a child of `via`.
    pub(crate) fn announce(&mut self, stream: u32, target: u32, via: u32) -> Result<(), String> {
        let is_behind = self.contexts.get(&via).is_some_and(|place| place.stream == stream)
            && self.upwards(via).count() < DEEPEST;
        let known = self.streams.get_mut(&stream).filter(|_| is_behind);
        let is_new = known.is_some_and(|it| {
            it.blocks.iter().any(|ids| ids.contains(&target)) && it.announced.insert(target)
        });
        if !is_new {
            return Err(format!(
                "dropped a route to context {target} by context {via} that context {stream} announced"
            ));
        }
        self.place(target, via, stream);
        Ok(())
    }

    /// Whether a context behind this stream may be said to have gone by that.
    pub(crate) fn may_withdraw(&self, stream: u32, target: u32) -> Result<bool, String> {
        match self.contexts.get(&target) {
            Some(place) if place.stream == stream && target != stream => Ok(true),
            // It went with its parent, say.
            None => Ok(false),
            Some(_) => {
                Err(format!("dropped the end of context {target} that context {stream} announced"))
            }
        }
    }

    /// A context, if it is there, and all below it: parents first.
    pub(crate) fn subtree(&self, id: u32) -> Vec<u32> {
        let mut ids = Vec::from_iter(self.contexts.contains_key(&id).then_some(id));
        let mut at = 0;
        while let Some(parent) = ids.get(at) {
            ids.extend(self.children.get(parent).into_iter().flatten());
            at += 1;
        }
        ids
    }

    /// Forgets a context and all below it.
    pub(crate) fn remove(&mut self, id: u32) -> Gone<T> {
        let ids = self.subtree(id);
        self.streams.remove(&id);
        let mut news = Vec::new();
        for gone in &ids {
            let place = self.contexts.remove(gone).expect("it is of the subtree");
            self.children.remove(gone);
            if let MapEntry::Occupied(mut siblings) = self.children.entry(place.parent) {
                siblings.get_mut().remove(gone);
                if siblings.get().is_empty() {
                    siblings.remove();
                }
            }
            let stream = place.stream;
            for (other, known) in &self.streams {
                let has_dealt = known.dealt.as_ref().is_none_or(|dealt| dealt.contains(gone));
                if *other != stream && has_dealt {
                    news.push((*other, *gone));
                }
            }
        }
        let targets = self.handles.extract_of(&HashSet::from_iter(ids.iter().copied()));
        Gone { ids, targets, news }
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
        for (id, what) in [(header.src, "source"), (header.auth, "authority")] {
            if !self.speaks_for(stream, id) {
                return Verdict::Drop(format!(
                    "dropped a message to handle {} of context {}: context {stream} may not use the {what} {id}",
                    header.handle, header.dst
                ));
            }
        }
        if header.dst != MASTER {
            return self.pass_on(stream, header);
        }
        let may_not = || {
            let (src, handle) = (header.src, header.handle);
            Verdict::Refuse(format!("context {src} may not send to handle {handle} of context 0"))
        };
        match header.handle {
            FORWARD_LOG | PING => return Verdict::Service(header.handle),
            // Hop by hop: what asks for others is the direct child.
            GET_MODULE | ADD_ROUTE | DEL_ROUTE | ALLOCATE_ID if header.src == stream => {
                return Verdict::Service(header.handle);
            }
            GET_MODULE..=PING => return may_not(),
            _ => {}
        }
        let Some(entry) = self.handles.get(&header.handle) else {
            let is_receiver = header.handle >= FIRST_RECEIVER_HANDLE && header.reply_to != 0;
            return Verdict::Refuse(match is_receiver {
                true => "the receiver is gone".into(),
                false => format!("context 0 has no handle {}", header.handle),
            });
        };
        // A context on the way answers for one that it cannot reach; it could speak for it anyway, so that there is
        // no need to look whether that is all that it says.
        let may_answer = |id| self.upwards(id).any(|above| above == header.src) || id == header.src;
        if !entry.respondent.is_none_or(may_answer) {
            return may_not();
        }
        if entry.once {
            let entry = self.handles.remove(&header.handle).expect("it was found above");
            return Verdict::Deliver(entry.target);
        }
        Verdict::Deliver(entry.target.clone())
    }

    fn speaks_for(&self, stream: u32, id: u32) -> bool {
        let in_block = |known: &Stream| known.blocks.iter().any(|ids| ids.contains(&id));
        self.contexts.get(&id).is_some_and(|place| place.stream == stream)
            || self.streams.get(&stream).is_some_and(in_block)
    }

    /// A frame from one stream for a context of another.
    fn pass_on(&mut self, stream: u32, header: &Header) -> Verdict<T> {
        let to = self.contexts.get(&header.dst).map(|place| place.stream);
        match to.filter(|to| *to != stream) {
            None => Verdict::Refuse(format!("context 0 has no route to context {}", header.dst)),
            Some(_) if self.unidirectional => Verdict::Refuse(format!(
                "context {} may not send to context {}: it is neither above nor below",
                header.src, header.dst
            )),
            Some(to) => {
                for (one, other) in [(stream, header.dst), (to, header.src)] {
                    if let Some(known) = self.streams.get_mut(&one) {
                        known.deal(other);
                    }
                }
                Verdict::Forward(to)
            }
        }
    }
}

/// Ids that were never used before; the last number is of contexts that have none.
fn new_ids(next: &mut u32, count: u32) -> Result<Range<u32>, NoIds> {
    let first = *next;
    *next = first.checked_add(count).ok_or(NoIds)?;
    Ok(first..*next)
}

/// `HashMap::extract_if` is younger than the Rust that this crate builds with.
trait ExtractOf<T> {
    fn extract_of(&mut self, respondents: &HashSet<u32>) -> Vec<(u32, T)>;
}

impl<T> ExtractOf<T> for HashMap<u32, Entry<T>> {
    fn extract_of(&mut self, respondents: &HashSet<u32>) -> Vec<(u32, T)> {
        let wanted = |entry: &Entry<T>| entry.respondent.filter(|id| respondents.contains(id));
        let found = self.iter().filter_map(|(handle, entry)| Some((*handle, wanted(entry)?)));
        let found: Vec<_> = found.collect();
        let taken = found.into_iter().filter_map(|(handle, id)| Some((id, self.remove(&handle)?)));
        taken.map(|(id, entry)| (id, entry.target)).collect()
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
        let mut routes = Routes::new(false);
        let (first, second) = (routes.add_child().unwrap(), routes.add_child().unwrap());
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
            Verdict::Refuse(format!("context 0 has no handle {handle}"))
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
    fn siblings_reach_each_other_unless_the_tree_is_unidirectional() {
        let (mut routes, first, second) = routes();
        let message = header(first, first, second, FIRST_RECEIVER_HANDLE);
        assert_eq!(routes.arrive(first, &message), Verdict::Forward(second));
        let mut strict: Routes<()> = Routes::new(true);
        let (first, second) = (strict.add_child().unwrap(), strict.add_child().unwrap());
        assert_eq!(
            strict.arrive(first, &header(first, first, second, FIRST_RECEIVER_HANDLE)),
            Verdict::Refuse(
                "context 1 may not send to context 2: it is neither above nor below".into()
            )
        );
    }

    #[test]
    fn what_a_child_cannot_reach_is_refused_and_never_sent_back_to_it() {
        let (mut routes, first, _) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        for (dst, id) in [(99, 99), (below, below)] {
            let refused = Verdict::Refuse(format!("context 0 has no route to context {id}"));
            assert_eq!(routes.arrive(first, &header(first, first, dst, PING)), refused);
        }
    }

    #[test]
    fn a_stream_speaks_for_what_is_started_behind_it_and_for_its_blocks() {
        let (mut routes, first, second) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        let deeper = routes.add_below(below).unwrap().unwrap();
        assert_eq!(routes.path(deeper), [first, below, deeper]);
        let block = routes.allocate(first).unwrap();
        for id in [first, below, deeper, block.start, block.end - 1] {
            let log = header(id, id, 0, FORWARD_LOG);
            assert_eq!(routes.arrive(first, &log), Verdict::Service(FORWARD_LOG));
            assert!(matches!(routes.arrive(second, &log), Verdict::Drop(_)));
        }
        for id in [MASTER, second, block.end] {
            let log = header(id, id, 0, FORWARD_LOG);
            assert!(matches!(routes.arrive(first, &log), Verdict::Drop(_)), "{id}");
        }
        // Ids are never given out twice.
        assert_eq!(routes.add_child().unwrap(), block.end);
    }

    #[test]
    fn a_route_is_announced_for_an_id_of_a_block_alone_and_once() {
        let (mut routes, first, second) = routes();
        let block = routes.allocate(first).unwrap();
        for (target, via) in [
            (MASTER, first),
            (second, first),
            (first, first),
            (block.end, first),
            (block.start, second),
            (block.start, MASTER),
        ] {
            assert!(routes.announce(first, target, via).is_err(), "{target} by {via}");
        }
        routes.announce(first, block.start, first).unwrap();
        routes.announce(first, block.start + 1, block.start).unwrap();
        assert!(routes.announce(first, block.start, first).is_err());
        assert_eq!(routes.path(block.start + 1), [first, block.start, block.start + 1]);
        // Nor when it has gone.
        routes.remove(block.start + 1);
        assert!(routes.announce(first, block.start + 1, first).is_err());
        assert!(routes.announce(second, block.start + 2, second).is_err());
    }

    #[test]
    fn contexts_behind_each_other_are_not_endless() {
        let (mut routes, first, _) = routes();
        let block = routes.allocate(first).unwrap();
        let mut via = first;
        for target in block.start..block.start + 99 {
            routes.announce(first, target, via).unwrap();
            via = target;
        }
        assert!(routes.announce(first, block.start + 99, via).is_err());
        assert_eq!(routes.remove(first).ids.len(), 100);
    }

    #[test]
    fn a_stream_announces_the_end_of_what_is_behind_it_and_of_nothing_else() {
        let (mut routes, first, second) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        assert_eq!(routes.may_withdraw(first, below), Ok(true));
        assert_eq!(routes.may_withdraw(first, 99), Ok(false));
        for (stream, target) in [(first, first), (first, second), (second, below)] {
            assert!(routes.may_withdraw(stream, target).is_err());
        }
        assert!(routes.may_withdraw(first, MASTER).is_ok_and(|it| !it));
    }

    #[test]
    fn blocks_are_given_to_a_stream_a_bounded_number_of_times() {
        let (mut routes, first, second) = routes();
        for _ in 0..MOST_BLOCKS {
            routes.allocate(first).unwrap();
        }
        let error = routes.allocate(first).unwrap_err();
        assert_eq!(error, format!("context 1 has been given {MOST_BLOCKS} blocks of ids"));
        assert!(routes.allocate(second).is_ok());
    }

    #[test]
    fn ids_are_refused_when_there_are_no_more_instead_of_used_again() {
        let (mut routes, first, _) = routes();
        routes.next_context = u32::MAX - BLOCK - 2;
        let block = routes.allocate(first).unwrap();
        assert_eq!(block, u32::MAX - BLOCK - 2..u32::MAX - 2);
        let reason = routes.allocate(first).unwrap_err();
        assert!(reason.starts_with("no ids are left for contexts"), "{reason}");
        assert_eq!(routes.add_child(), Ok(u32::MAX - 2));
        assert_eq!(routes.add_below(first), Ok(Some(u32::MAX - 1)));
        for _ in 0..2 {
            assert_eq!(routes.add_child(), Err(NoIds));
            assert_eq!(routes.add_below(first), Err(NoIds));
        }
        // What there was is there still, and nothing else.
        assert_eq!(routes.subtree(first), [first, u32::MAX - 1]);
    }

    #[test]
    fn requests_that_go_hop_by_hop_are_those_of_the_direct_child() {
        let (mut routes, first, _) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        for handle in [GET_MODULE, ADD_ROUTE, DEL_ROUTE, ALLOCATE_ID] {
            let verdict = routes.arrive(first, &header(first, first, 0, handle));
            assert_eq!(verdict, Verdict::Service(handle));
            let verdict = routes.arrive(first, &header(below, below, 0, handle));
            assert!(matches!(verdict, Verdict::Refuse(_)));
        }
    }

    #[test]
    fn contexts_go_with_all_below_them_and_who_has_dealt_with_them_hears_it() {
        let (mut routes, first, second) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        let deeper = routes.add_below(below).unwrap().unwrap();
        let beside = routes.add_below(first).unwrap().unwrap();
        routes.add_reply(deeper, "deeper");
        routes.add_reply(beside, "beside");
        routes.arrive(second, &header(second, second, deeper, FIRST_RECEIVER_HANDLE));
        let gone = routes.remove(below);
        assert_eq!(gone.ids, [below, deeper]);
        assert_eq!(gone.targets, [(deeper, "deeper")]);
        assert_eq!(gone.news, [(second, deeper)]);
        assert_eq!(routes.remove(below).ids, []);
        assert_eq!(routes.remove(first).targets, [(beside, "beside")]);
        assert_eq!(routes.add_below(first), Ok(None));
    }

    #[test]
    fn a_context_on_the_way_may_answer_for_the_one_that_was_called() {
        let (mut routes, first, second) = routes();
        let below = routes.add_below(first).unwrap().unwrap();
        let handle = routes.add_reply(below, "answer");
        assert!(matches!(
            routes.arrive(second, &header(second, second, 0, handle)),
            Verdict::Refuse(_)
        ));
        assert_eq!(
            routes.arrive(first, &header(first, first, 0, handle)),
            Verdict::Deliver("answer")
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
        assert_eq!(routes.remove(first).targets, [(first, "first")]);
        let late = header(first, first, 0, FORWARD_LOG);
        assert!(matches!(routes.arrive(first, &late), Verdict::Drop(_)));
        assert_eq!(routes.add_child().unwrap(), 3);
        assert_eq!(routes.remove_all(), ["second"]);
    }

    #[test]
    fn the_handles_are_those_of_the_core() {
        let core = include_str!("../bootstrap/econtext/core.py");
        for (names, numbers) in [
            (
                "GET_MODULE, CALL_FUNCTION, FORWARD_LOG, ADD_ROUTE, DEL_ROUTE",
                &[GET_MODULE, CALL_FUNCTION, FORWARD_LOG, ADD_ROUTE, DEL_ROUTE][..],
            ),
            (
                "ALLOCATE_ID, SHUTDOWN, LOAD_MODULE, PING",
                &[ALLOCATE_ID, SHUTDOWN, LOAD_MODULE, PING],
            ),
        ] {
            let numbers: Vec<_> = numbers.iter().map(|number| number.to_string()).collect();
            let line = format!("{names} = {}", numbers.join(", "));
            assert!(core.lines().any(|it| it == line), "{line}");
        }
        let levels = [Level::Debug, Level::Warning, Level::Error].map(|it| it.number().to_string());
        let line = format!("DEBUG, WARNING, ERROR = {}", levels.join(", "));
        assert!(core.lines().any(|it| it == line), "{line}");
        let channel = include_str!("../bootstrap/econtext/channel.py");
        let bit = FIRST_RECEIVER_HANDLE.trailing_zeros();
        assert!(channel.contains(&format!("FIRST = 1 << {bit} ")));
        let routes = include_str!("../bootstrap/econtext/routes.py");
        assert!(routes.contains(&format!("RECEIVERS = 1 << {bit} ")));
        // The child ends the waits of these when it leaves.
        assert!(core.contains(&format!("if handle >= {FIRST_REPLY_HANDLE}:")));
    }
}
