//! The time: the wall clock read once, a monotonic clock from then on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use peerage_swarm::Now;

/// A clock that never goes back within the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Now,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock, for the only time.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Now::default() + wall, start: Instant::now() }
    }

    /// The time.
    pub(crate) fn now(&self) -> Now {
        self.wall + self.start.elapsed()
    }
}
