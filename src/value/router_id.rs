//! Which router the ids in a value are of.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells a [`Router`](crate::Router) of this program from another: the ids of contexts are of one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterId(NonZeroU64);

impl RouterId {
    /// One that was never used before.
    pub(crate) fn new() -> RouterId {
        static USED: AtomicU64 = AtomicU64::new(0);
        let number = USED.fetch_add(1, Ordering::Relaxed) + 1;
        RouterId(NonZeroU64::new(number).expect("nobody makes 2^64 routers"))
    }
}
