//! What a child's log has waiting for the helper thread, and when its stream is left unread for that.
//!
//! Invariant: a sink that keeps up loses nothing, and one that does not delays nothing for long. While half
//! of what may wait is waiting, the child is not read, so that it waits too; but only as long as records
//! are being taken, and five seconds at most. Then it is read on, and what finds no room is dropped and counted,
//! until the queue is short again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What a child may have waiting.
const MAX_BYTES: usize = 1 << 20;
/// From here on its stream is left unread, ..
const HIGH_BYTES: usize = MAX_BYTES / 2;
/// .. until this is reached.
const LOW_BYTES: usize = MAX_BYTES / 4;
/// A sink that takes no record for so long is stuck; less may be the scheduler of a busy machine.
const STUCK: Duration = Duration::from_millis(500);
/// How long a stream is left unread at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shared by the broker, which adds, and the helper thread, which removes.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    dropped_lines: AtomicU64,
    held: AtomicBool,
}

impl Backlog {
    /// Notes an entry; false if there is no room for it: its lines are counted then.
    pub(crate) fn add(&self, bytes: usize, lines: impl FnOnce() -> u64) -> bool {
        let has_room = self.bytes.fetch_add(bytes, SeqCst) <= MAX_BYTES;
        if !has_room {
            self.bytes.fetch_sub(bytes, SeqCst);
            self.dropped_lines.fetch_add(lines(), SeqCst);
        }
        has_room
    }

    /// Notes that an entry has been shown; true if the stream is to be read again.
    pub(crate) fn remove(&self, bytes: usize) -> bool {
        let left = self.bytes.fetch_sub(bytes, SeqCst) - bytes;
        left < LOW_BYTES && self.held.swap(false, SeqCst)
    }

    /// The lines that found no room since the last time.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped_lines.swap(0, SeqCst)
    }

    fn is_short(&self) -> bool {
        self.bytes.load(SeqCst) < LOW_BYTES
    }
}

/// The broker's side: whether a stream is left unread. `taken` is the number of records that the helper
/// thread has shown, of any child; while it grows, the sink is not stuck.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    hold: Option<Hold>,
    gave_up: bool,
}

#[derive(Debug)]
struct Hold {
    end: Instant,
    look: Instant,
    taken: u64,
}

impl Pace {
    /// Something has been read.
    pub(crate) fn added(&mut self, backlog: &Backlog, taken: u64, now: Instant) {
        if self.hold.is_some() || backlog.bytes.load(SeqCst) < HIGH_BYTES {
            return;
        }
        if !self.gave_up {
            self.hold = Some(Hold { end: now + PATIENCE, look: now + STUCK, taken });
            backlog.held.store(true, SeqCst);
        }
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    /// When [`look`](Pace::look) is due without an event.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.hold.as_ref().map(|hold| hold.look)
    }

    /// Looks whether to go on leaving the stream unread.
    pub(crate) fn look(&mut self, backlog: &Backlog, taken: u64, now: Instant) {
        if backlog.is_short() {
            *self = Pace::default();
        } else if let Some(hold) = self.hold.as_mut().filter(|hold| hold.look <= now) {
            let go_on = hold.taken != taken && now < hold.end;
            (hold.taken, hold.look) = (taken, now + STUCK);
            if !go_on {
                self.give_up();
            }
        }
    }

    /// Reads on, whatever is lost.
    pub(crate) fn give_up(&mut self) {
        (self.hold, self.gave_up) = (None, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Backlog {
        let backlog = Backlog::default();
        assert!(backlog.add(HIGH_BYTES, || unreachable!("there is room")));
        backlog
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let backlog = full();
        assert!(backlog.add(HIGH_BYTES + 1, || unreachable!("there is room")));
        assert!(!backlog.add(1, || 7));
        assert_eq!((backlog.take_dropped(), backlog.take_dropped()), (7, 0));
        backlog.remove(HIGH_BYTES + 1);
        assert!(backlog.add(1, || unreachable!("there is room again")));
    }

    #[test]
    fn a_stream_is_left_unread_until_its_queue_is_short() {
        let (backlog, mut pace, now) = (full(), Pace::default(), Instant::now());
        pace.added(&backlog, 0, now);
        assert!(pace.is_holding() && pace.wake_at() == Some(now + STUCK));
        assert!(!backlog.remove(1));
        pace.look(&backlog, 1, now);
        assert!(pace.is_holding());
        assert!(backlog.remove(HIGH_BYTES - 2));
        pace.look(&backlog, 2, now);
        assert!(!pace.is_holding() && pace.wake_at().is_none());
    }

    #[test]
    fn a_stuck_sink_is_not_waited_for_until_it_has_caught_up() {
        let (backlog, mut pace, now) = (full(), Pace::default(), Instant::now());
        pace.added(&backlog, 5, now);
        pace.look(&backlog, 5, now + STUCK);
        assert!(!pace.is_holding());
        pace.added(&backlog, 6, now + STUCK);
        assert!(!pace.is_holding());
        backlog.remove(HIGH_BYTES);
        pace.look(&backlog, 7, now + STUCK);
        backlog.add(HIGH_BYTES, || 0);
        pace.added(&backlog, 7, now + STUCK);
        assert!(pace.is_holding());
    }

    #[test]
    fn a_slow_sink_is_waited_for_a_second() {
        let (backlog, mut pace, now) = (full(), Pace::default(), Instant::now());
        pace.added(&backlog, 0, now);
        for step in 1..10 {
            pace.look(&backlog, u64::from(step), now + STUCK * step);
            assert!(pace.is_holding(), "{step}");
        }
        pace.look(&backlog, 10, now + STUCK * 10);
        assert!(!pace.is_holding());
    }
}
