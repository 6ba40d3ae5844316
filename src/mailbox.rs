//! Where what arrives waits for the thread that wants it.
//!
//! Invariant: whatever was put in before the end is taken out before the end is seen, and whoever waits
//! is woken by an item, by the end, or by its own deadline. One item wakes one waiter; the end wakes all.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::end::End;

/// A queue between the broker and the threads of the program.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// The sum of the items' costs.
    cost: u64,
    end: Option<End>,
    watchers: Vec<(Arc<Signal>, u64)>,
}

/// One pickled value, and who pays for its room.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) data: Vec<u8>,
    /// The context that sent it.
    pub(crate) from: u32,
    /// The handle in that context to which credit for it is to be granted; 0: none.
    pub(crate) control: u32,
    pub(crate) cost: u64,
}

/// Why a wait gave nothing.
#[derive(Debug)]
pub(crate) enum Nothing {
    TimedOut,
    Ended(End),
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a user's runs under this lock: it cannot be poisoned by anything but a bug here.
        self.state.lock().expect("a mailbox's lock is never held across a panic")
    }

    /// Puts an item in; after the end it is dropped. Gives whether it is in.
    pub(crate) fn push(&self, item: Item) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        state.cost += item.cost;
        state.items.push_back(item);
        self.arrived.notify_one();
        Self::tell(state);
        true
    }

    /// The same for a sender in this program, who waits until no more than `window` is queued (an item
    /// above the window waits until nothing is). Gives false where it would wait, and may not.
    pub(crate) fn push_within(&self, window: u64, item: Item, may_wait: bool) -> Result<bool, End> {
        let mut state = self.lock();
        loop {
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            if state.cost == 0 || state.cost + item.cost <= window {
                break;
            }
            if !may_wait {
                return Ok(false);
            }
            state = self.taken.wait(state).expect("see lock()");
        }
        state.cost += item.cost;
        state.items.push_back(item);
        self.arrived.notify_one();
        Self::tell(state);
        Ok(true)
    }

    /// Ends it; only the first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            self.arrived.notify_all();
            self.taken.notify_all();
            Self::tell(state);
        }
    }

    /// Ends it by something that was put in, and so before any end that was noted since.
    pub(crate) fn end_by_item(&self, end: End) {
        self.lock().end = None;
        self.end(end);
    }

    /// Where credit for what nobody has taken yet is to be granted: contexts and their handles.
    pub(crate) fn creditors(&self) -> Vec<(u32, u32)> {
        let state = self.lock();
        let items = state.items.iter().filter(|item| item.control != 0);
        items.map(|item| (item.from, item.control)).collect()
    }

    /// Ends it from the receiving side; drops what nobody will read.
    pub(crate) fn abandon(&self, end: End) {
        let mut state = self.lock();
        let unread = std::mem::take(&mut state.items);
        state.cost = 0;
        drop(state);
        drop(unread);
        self.end(end);
    }

    /// The next item; waits for it until the deadline.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Result<Item, Nothing> {
        let mut state = self.lock();
        loop {
            if let Some(item) = self.pop(&mut state) {
                return Ok(item);
            }
            if let Some(end) = &state.end {
                return Err(Nothing::Ended(end.clone()));
            }
            state = match deadline {
                None => self.arrived.wait(state).expect("see lock()"),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Nothing::TimedOut);
                    }
                    self.arrived.wait_timeout(state, left).expect("see lock()").0
                }
            };
        }
    }

    /// The next item, if it is here: `Ok(None)` where one may still come.
    pub(crate) fn try_take(&self) -> Result<Option<Item>, End> {
        let mut state = self.lock();
        match (self.pop(&mut state), &state.end) {
            (Some(item), _) => Ok(Some(item)),
            (None, None) => Ok(None),
            (None, Some(end)) => Err(end.clone()),
        }
    }

    fn pop(&self, state: &mut State) -> Option<Item> {
        let item = state.items.pop_front()?;
        state.cost -= item.cost;
        self.taken.notify_all();
        Some(item)
    }

    /// Has `signal` raised with `key` at every item from now on, at the end, and at once if there is
    /// something already.
    pub(crate) fn watch(&self, signal: Arc<Signal>, key: u64) {
        let mut state = self.lock();
        let ready = !state.items.is_empty() || state.end.is_some();
        state.watchers.push((signal.clone(), key));
        drop(state);
        if ready {
            signal.raise(key);
        }
    }

    /// Ends a watch.
    pub(crate) fn unwatch(&self, signal: &Arc<Signal>, key: u64) {
        self.lock().watchers.retain(|(other, its)| !(Arc::ptr_eq(other, signal) && *its == key));
    }

    fn tell(state: MutexGuard<'_, State>) {
        if state.watchers.is_empty() {
            return;
        }
        // Raised outside of the lock: who is woken would only wait for it.
        let watchers = state.watchers.clone();
        drop(state);
        for (signal, key) in watchers {
            signal.raise(key);
        }
    }
}

/// The set of sources that may have something, for a thread that waits on several.
///
/// Public in name only: a sealed trait's methods speak of it.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<Raised>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Raised {
    /// Each key at most once, in the order in which they were raised.
    order: VecDeque<u64>,
    keys: HashSet<u64>,
    /// Who watches this signal in turn.
    outer: Option<(Arc<Signal>, u64)>,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Raised> {
        self.state.lock().expect("a signal's lock is never held across a panic")
    }

    /// Says that the source `key` may have something.
    pub(crate) fn raise(&self, key: u64) {
        let mut state = self.lock();
        if !state.keys.insert(key) {
            return;
        }
        state.order.push_back(key);
        self.changed.notify_one();
        let outer = state.outer.clone();
        drop(state);
        if let Some((signal, key)) = outer {
            signal.raise(key);
        }
    }

    /// Takes the key that was raised first, if there is any.
    pub(crate) fn try_next(&self) -> Option<u64> {
        let mut state = self.lock();
        let key = state.order.pop_front()?;
        state.keys.remove(&key);
        Some(key)
    }

    /// The same; waits for it until the deadline. `None`: the deadline has passed.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if let Some(key) = state.order.pop_front() {
                state.keys.remove(&key);
                return Some(key);
            }
            state = match deadline {
                None => self.changed.wait(state).expect("see lock()"),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.changed.wait_timeout(state, left).expect("see lock()").0
                }
            };
        }
    }

    /// Has `outer` raised with `key` whenever this one is.
    pub(crate) fn forward(&self, outer: Arc<Signal>, key: u64) {
        let mut state = self.lock();
        let ready = !state.order.is_empty();
        state.outer = Some((outer.clone(), key));
        drop(state);
        if ready {
            outer.raise(key);
        }
    }

    /// Ends that.
    pub(crate) fn forward_no_more(&self) {
        self.lock().outer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn item(byte: u8) -> Item {
        Item { data: vec![byte], from: 1, control: 0, cost: 10 }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(20))
    }

    #[test]
    fn items_from_before_the_end_are_taken_first_and_later_ones_are_dropped() {
        let mailbox = Mailbox::default();
        mailbox.push(item(1));
        mailbox.end(End::Closed(Some("enough".into())));
        mailbox.end(End::Shutdown);
        mailbox.push(item(2));
        assert_eq!(mailbox.take(None).unwrap().data, [1]);
        let Err(Nothing::Ended(End::Closed(Some(reason)))) = mailbox.take(None) else { panic!() };
        assert_eq!(reason, "enough");
    }

    #[test]
    fn the_end_wakes_every_waiter() {
        let mailbox = Mailbox::default();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..5).map(|_| scope.spawn(|| mailbox.take(soon()))).collect();
            mailbox.end(End::Shutdown);
            for waiter in waiters {
                assert!(matches!(waiter.join().unwrap(), Err(Nothing::Ended(End::Shutdown))));
            }
        });
    }

    #[test]
    fn each_of_several_waiters_gets_one_item() {
        let mailbox = Mailbox::default();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..5).map(|_| scope.spawn(|| mailbox.take(soon()))).collect();
            for n in 0..5 {
                assert!(mailbox.push(item(n)));
            }
            let mut taken: Vec<u8> =
                waiters.into_iter().map(|waiter| waiter.join().unwrap().unwrap().data[0]).collect();
            taken.sort();
            assert_eq!(taken, [0, 1, 2, 3, 4]);
        });
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let mailbox = Mailbox::default();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(matches!(mailbox.take(Some(deadline)), Err(Nothing::TimedOut)));
        assert!(Instant::now() >= deadline);
        assert!(mailbox.try_take().unwrap().is_none());
    }

    #[test]
    fn a_sender_of_this_program_waits_for_room_and_is_woken_by_the_end() {
        let mailbox = Mailbox::default();
        mailbox.push_within(15, item(1), true).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| mailbox.push_within(15, item(2), true));
            assert_eq!(mailbox.take(soon()).unwrap().data, [1]);
            second.join().unwrap().unwrap();
            let third = scope.spawn(|| mailbox.push_within(15, item(3), true));
            mailbox.end(End::Closed(None));
            assert!(matches!(third.join().unwrap(), Err(End::Closed(None))));
        });
        let above_the_window = Mailbox::default();
        above_the_window.push_within(5, item(1), true).unwrap();
    }

    #[test]
    fn a_signal_holds_each_key_once_and_passes_it_outward() {
        let (inner, outer) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        inner.raise(1);
        inner.forward(outer.clone(), 7);
        inner.raise(1);
        inner.raise(2);
        assert_eq!(
            (inner.try_next(), inner.try_next(), inner.try_next()),
            (Some(1), Some(2), None)
        );
        assert_eq!((outer.next(soon()), outer.try_next()), (Some(7), None));
        inner.forward_no_more();
        inner.raise(3);
        assert_eq!(outer.next(Some(Instant::now())), None);
    }

    #[test]
    fn a_watched_mailbox_raises_for_what_was_there_and_for_what_comes() {
        let (mailbox, signal) = (Mailbox::default(), Arc::new(Signal::default()));
        mailbox.push(item(1));
        mailbox.watch(signal.clone(), 4);
        assert_eq!(signal.try_next(), Some(4));
        mailbox.push(item(2));
        assert_eq!(signal.try_next(), Some(4));
        mailbox.end(End::Shutdown);
        assert_eq!(signal.try_next(), Some(4));
        mailbox.unwatch(&signal, 4);
        mailbox.push(item(3));
        assert_eq!(signal.try_next(), None);
    }
}
