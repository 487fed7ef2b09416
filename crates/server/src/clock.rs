//! The one clock: where every `Now` comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peerage_swarm::Now;

/// The wall clock as it was at the start, carried on by the monotonic clock: whoever sets the wall
/// clock while we run neither expires all peers nor keeps them for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Now,
}

impl Clock {
    /// Reads the wall clock. One that stands before 1970 is taken to stand there.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { started: Instant::now(), started_at: Now::from_millis(0) + since_epoch }
    }

    /// The time. Costs a few tens of nanoseconds: read it once a batch.
    pub(crate) fn now(&self) -> Now {
        self.started_at + self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_begins_at_the_wall_clock_and_never_goes_back() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let clock = Clock::start();
        let mut last = clock.now();
        assert!(u128::from(last.as_millis()) >= before);
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
