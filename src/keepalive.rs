//! Whether the process that carries a stream still does.
//!
//! ssh asks its server for signs of life by itself; what nobody would find is an ssh that has been
//! stopped (SIGSTOP, a debugger). So it is looked at as often as it looks at its server.

use std::time::{Duration, Instant};

/// Counts the looks at which the process stood still.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval: Duration,
    count: u32,
    missed: u32,
    next: Option<Instant>,
}

impl Keepalive {
    pub(crate) fn new(interval: Duration, count: u32, now: Instant) -> Keepalive {
        Keepalive { interval, count: count.max(1), missed: 0, next: now.checked_add(interval) }
    }

    /// When the next look is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, if it is time to: gives for how long the process has been still when that is too long.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        is_stopped: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        self.next.take_if(|next| *next <= now)?;
        self.next = now.checked_add(self.interval);
        self.missed = if is_stopped() { self.missed + 1 } else { 0 };
        (self.missed >= self.count).then(|| self.interval.saturating_mul(self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_given_up_at_the_last_of_so_many_looks_in_a_row() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(second, 3, start);
        let mut look = |at: f64, stopped| keepalive.look(start + second.mul_f64(at), || stopped);
        for (at, stopped) in [(0.5, true), (1.0, true), (2.0, true), (3.0, false), (4.0, true)] {
            assert_eq!(look(at, stopped), None, "{at}");
        }
        assert_eq!(look(5.0, true), None);
        assert_eq!(look(5.5, true), None);
        assert_eq!(look(6.0, true), Some(3 * second));
    }
}
