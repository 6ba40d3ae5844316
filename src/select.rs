//! Waiting for the first of several answers and channel items.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Limit;
use crate::mailbox::Signal;
use crate::{Context, Error, Result};

/// A set of answers, receivers and other sets, of which the first to have something is taken.
///
/// An answer leaves the set when it has been given, a receiver when its channel has ended, a set when it
/// is empty. Sources take turns: a fast one does not starve the others. Dropping it drops its sources.
///
/// It is an iterator over the events until it is empty.
pub struct Select<T> {
    signal: Arc<Signal>,
    sources: HashMap<u64, Box<dyn Pull<T>>>,
    last_key: u64,
}

impl<T> fmt::Debug for Select<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("sources", &self.sources.len()).finish()
    }
}

/// Which of a [`Select`]'s sources an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

/// What a source gave.
#[derive(Debug)]
pub struct Event<T> {
    key: Key,
    context: Context,
    result: Result<T>,
}

impl<T> Event<T> {
    /// The source, as [`Select::add`] named it. Of an event in a nested set: that set's key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The context that answered or sent. Of a channel's end: the program itself, named `master`.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The answer or item, or the error in its place.
    pub fn result(&self) -> std::result::Result<&T, &Error> {
        self.result.as_ref()
    }

    /// The same, by value.
    pub fn into_result(self) -> Result<T> {
        self.result
    }
}

/// What can be added to a [`Select`]: `Pending<T>`, `Receiver<T>`, `&Receiver<T>` and `Select<T>`.
pub trait Source {
    /// What it gives.
    type Item;

    #[doc(hidden)]
    fn into_pull(self) -> Box<dyn Pull<Self::Item>>;
}

/// A source in a set.
#[doc(hidden)]
pub trait Pull<T>: Send {
    /// What is there now.
    fn pull(&mut self) -> Next<T>;
    /// Has `signal` raised with `key` when there may be something.
    fn watch(&mut self, signal: &Arc<Signal>, key: u64);
    /// Ends that.
    fn unwatch(&mut self, signal: &Arc<Signal>, key: u64);
}

/// What a source has.
#[doc(hidden)]
pub enum Next<T> {
    /// Something, and there may be more.
    Item(Result<T>, Context),
    /// Something, and that was all.
    Last(Result<T>, Context),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Gone,
}

impl<T> Default for Select<T> {
    fn default() -> Self {
        Select { signal: Arc::default(), sources: HashMap::new(), last_key: 0 }
    }
}

impl<T: 'static> Select<T> {
    /// An empty set.
    pub fn new() -> Self {
        Select::default()
    }

    /// Adds a source. What it has already counts.
    pub fn add(&mut self, source: impl Source<Item = T>) -> Key {
        self.insert(source.into_pull())
    }

    /// Adds a source of another type, each of whose values goes through `wrap`: an enum's variant, say.
    pub fn add_as<S>(&mut self, source: S, wrap: impl Fn(S::Item) -> T + Send + 'static) -> Key
    where
        S: Source,
        S::Item: 'static,
    {
        self.insert(Box::new(Wrapped { pull: source.into_pull(), wrap }))
    }

    fn insert(&mut self, mut pull: Box<dyn Pull<T>>) -> Key {
        self.last_key += 1;
        pull.watch(&self.signal, self.last_key);
        self.sources.insert(self.last_key, pull);
        Key(self.last_key)
    }

    /// Takes a source out; an answer or item that it had is lost with it. Gives whether it was there.
    pub fn remove(&mut self, key: Key) -> bool {
        let Some(mut pull) = self.sources.remove(&key.0) else { return false };
        pull.unwatch(&self.signal, key.0);
        true
    }

    /// How many sources there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Waits for the first event; `None` when no source is left.
    pub fn recv(&mut self) -> Option<Event<T>> {
        self.wait(None).expect("without a deadline the wait ends by an event")
    }

    /// The same, for this long at most: then [`Error::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event<T>>> {
        let limit = Limit::new(Some(timeout));
        self.wait(limit.deadline()).ok_or_else(|| limit.error("select".into()))
    }

    /// `None`: the deadline has passed. `Some(None)`: no source is left.
    fn wait(&mut self, deadline: Option<Instant>) -> Option<Option<Event<T>>> {
        while !self.sources.is_empty() {
            let key = self.signal.next(deadline)?;
            if let Some(event) = self.take(key) {
                return Some(Some(event));
            }
        }
        Some(None)
    }

    /// What the source `key` has.
    fn take(&mut self, key: u64) -> Option<Event<T>> {
        // A source that was removed may have raised its key before.
        let source = self.sources.get_mut(&key)?;
        let (result, context) = match source.pull() {
            Next::Item(result, context) => {
                // It may have more: its next turn is after the others that have something.
                self.signal.raise(key);
                (result, context)
            }
            Next::Last(result, context) => {
                self.remove(Key(key));
                (result, context)
            }
            Next::Nothing => return None,
            Next::Gone => {
                self.remove(Key(key));
                return None;
            }
        };
        Some(Event { key: Key(key), context, result })
    }
}

impl<T: 'static> Iterator for Select<T> {
    type Item = Event<T>;

    fn next(&mut self) -> Option<Event<T>> {
        self.recv()
    }
}

impl<T: 'static> Source for Select<T> {
    type Item = T;

    fn into_pull(self) -> Box<dyn Pull<T>> {
        Box::new(self)
    }
}

impl<T: 'static> Pull<T> for Select<T> {
    fn pull(&mut self) -> Next<T> {
        while !self.sources.is_empty() {
            let Some(key) = self.signal.try_next() else { return Next::Nothing };
            if let Some(Event { context, result, .. }) = self.take(key) {
                return Next::Item(result, context);
            }
        }
        Next::Gone
    }

    fn watch(&mut self, signal: &Arc<Signal>, key: u64) {
        self.signal.forward(signal.clone(), key);
        if self.sources.is_empty() {
            // It is gone already; nothing in it will ever say so.
            signal.raise(key);
        }
    }

    fn unwatch(&mut self, _signal: &Arc<Signal>, _key: u64) {
        self.signal.forward_no_more();
    }
}

/// A source whose values are made into another type's.
struct Wrapped<U, F> {
    pull: Box<dyn Pull<U>>,
    wrap: F,
}

impl<U, T, F: Fn(U) -> T + Send> Pull<T> for Wrapped<U, F> {
    fn pull(&mut self) -> Next<T> {
        match self.pull.pull() {
            Next::Item(result, context) => Next::Item(result.map(&self.wrap), context),
            Next::Last(result, context) => Next::Last(result.map(&self.wrap), context),
            Next::Nothing => Next::Nothing,
            Next::Gone => Next::Gone,
        }
    }

    fn watch(&mut self, signal: &Arc<Signal>, key: u64) {
        self.pull.watch(signal, key);
    }

    fn unwatch(&mut self, signal: &Arc<Signal>, key: u64) {
        self.pull.unwatch(signal, key);
    }
}
