//! Who reads a child's stream: the broker, or the one thread that waits for an answer from it.
//!
//! A hand-over between threads is the dearest part of a short call. So a thread whose calls follow each other
//! reads the stream itself while it waits, and the broker leaves that stream alone, but for a glance every few
//! milliseconds. It takes the stream back when calls have stopped, when one takes longer than a glance, and
//! when several threads wait; then it sleeps without a timeout, as ever.
//!
//! Invariant: whoever reads holds the link's lock meanwhile, so frames are delivered in their order. A stream is
//! left unread for [`FOLLOWS`] at most, and not when a thread is known to wait.

use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::broker::{Events, Handle};
use crate::link::Link;
use crate::mailbox::{Item, Mailbox, Nothing};
use crate::sys;

/// How often the broker looks whether calls still follow each other.
pub(crate) const GLANCE: Duration = Duration::from_millis(5);
/// What follows sooner after an answer is the next of several calls; so long nobody may read.
const FOLLOWS: Duration = Duration::from_millis(1);

/// For one child.
#[derive(Default)]
pub(crate) struct Lead {
    link: OnceLock<Weak<Mutex<Link>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reader: Reader,
    /// How many threads wait for an answer.
    waiting: u32,
    /// When the last of them got one.
    answered: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reader {
    #[default]
    Broker,
    /// A thread that waits for an answer.
    Caller,
    /// One that did so until then: it may come back.
    Nobody(Instant),
}

impl Lead {
    /// The link of the child, which the broker has.
    pub(crate) fn set(&self, link: Weak<Mutex<Link>>) {
        let _ = self.link.set(link); // There is one.
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("held for a store only")
    }

    /// Waits for an answer of the child.
    pub(crate) fn wait(
        &self,
        mailbox: &Mailbox,
        deadline: Option<Instant>,
        events: &dyn Events,
        broker: &Handle,
    ) -> Result<Item, Nothing> {
        let waiting = Waiting::enter(self);
        let found = if self.take(broker) {
            let found = self.read(mailbox, deadline, events);
            self.give_back(found.is_some(), broker);
            found
        } else {
            None
        };
        let found = found.unwrap_or_else(|| mailbox.take(deadline));
        drop(waiting);
        if found.is_ok() {
            self.lock().answered = Some(Instant::now());
        }
        found
    }

    fn take(&self, broker: &Handle) -> bool {
        let mut state = self.lock();
        let follows = || state.answered.is_some_and(|answered| answered.elapsed() < FOLLOWS);
        let is_free = match state.reader {
            Reader::Nobody(_) => true,
            Reader::Broker => follows(),
            Reader::Caller => false,
        };
        if state.waiting == 1 && is_free {
            state.reader = Reader::Caller;
            return true;
        }
        drop(state);
        self.hand_back(broker);
        false
    }

    /// Somebody is going to wait for the stream in another way: nobody leaves it unread now.
    pub(crate) fn hand_back(&self, broker: &Handle) {
        let mut state = self.lock();
        if matches!(state.reader, Reader::Nobody(_)) {
            state.reader = Reader::Broker;
            drop(state);
            broker.look();
        }
    }

    /// Reads until there is something in the mailbox: not longer than a glance takes.
    fn read(
        &self,
        mailbox: &Mailbox,
        deadline: Option<Instant>,
        events: &dyn Events,
    ) -> Option<Result<Item, Nothing>> {
        let link = self.link.get()?.upgrade()?;
        let locked = || link.lock().expect("a link's lock is never held across a panic");
        let socket = locked().readable_socket()?;
        let glance = Instant::now() + GLANCE;
        let until = deadline.map_or(glance, |deadline| deadline.min(glance));
        loop {
            match mailbox.try_take() {
                Ok(Some(item)) => return Some(Ok(item)),
                Err(end) => return Some(Err(Nothing::Ended(end))),
                Ok(None) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [sys::pollfd(socket.as_fd(), libc::POLLIN)];
            if left.is_zero() || sys::poll(&mut fds, sys::wait_ms(left)).is_err() {
                return None;
            }
            if fds[0].revents != 0 {
                let mut link = locked();
                link.read_stream(events);
                // What has ended, or is to be left unread for a while, is the broker's.
                link.readable_socket()?;
            }
        }
    }

    fn give_back(&self, is_answered: bool, broker: &Handle) {
        let mut state = self.lock();
        if is_answered && state.waiting == 1 {
            state.reader = Reader::Nobody(Instant::now());
            return;
        }
        state.reader = Reader::Broker;
        drop(state);
        broker.look();
    }

    /// For the broker: when it has to look again at a stream that it leaves to others; `None` where the
    /// stream is its own to read.
    pub(crate) fn glance_at(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        match state.reader {
            Reader::Broker => None,
            Reader::Caller => Some(now + GLANCE),
            Reader::Nobody(since) if now < since + FOLLOWS => Some(since + FOLLOWS),
            Reader::Nobody(_) => {
                state.reader = Reader::Broker;
                None
            }
        }
    }

    /// Whether a caller reads.
    pub(crate) fn is_led(&self) -> bool {
        self.lock().reader == Reader::Caller
    }
}

struct Waiting<'a>(&'a Lead);

impl Waiting<'_> {
    fn enter(lead: &Lead) -> Waiting<'_> {
        lead.lock().waiting += 1;
        Waiting(lead)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
