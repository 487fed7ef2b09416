//! Connections whose next reply waits for what other nodes know: the first announce of each swarm.
//!
//! The request stays where it is, in the connection, and is handled anew when its time has come: so
//! replies keep their order, and nothing is read that came after it meanwhile. Other connections
//! are served as ever.

use std::time::Duration;

use peerage_swarm::Now;
use peerage_tracker::http::{Awaited, Endpoint};

use crate::stop::LOOK_EVERY;

/// Most connections of a worker that wait. While there are so many, no other does.
const LATE_MAX: usize = 1024;

/// How often it is looked whether what is awaited has come.
const LOOK_LATE_EVERY: Duration = Duration::from_millis(1);

/// Whether a reply may be left for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is written at once.
    None,
    /// It waits for other nodes where they are being asked.
    Some,
    /// It has waited.
    Over,
}

/// The connections of one worker that wait.
pub(super) struct Late {
    /// Zero where nobody waits.
    patience: Duration,
    waiting: Vec<Waiting>,
}

struct Waiting {
    connection: usize,
    awaited: Awaited,
    until: Now,
}

impl Late {
    /// Nothing waits, and nothing is to wait for longer than `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, waiting: Vec::new() }
    }

    /// Whether one more may wait.
    pub(super) fn patience(&self) -> Patience {
        match !self.patience.is_zero() && self.waiting.len() < LATE_MAX {
            true => Patience::Some,
            false => Patience::None,
        }
    }

    /// How long the worker may wait for readiness.
    pub(super) fn wait_at_most(&self) -> Duration {
        if self.waiting.is_empty() { LOOK_EVERY } else { LOOK_LATE_EVERY }
    }

    /// Lets the connection of this number wait.
    pub(super) fn put_aside(&mut self, now: Now, connection: usize, awaited: Awaited) {
        self.waiting.push(Waiting { connection, awaited, until: now + self.patience });
    }

    /// Takes out the numbers of the connections that need not wait any more, or whose time is up.
    pub(super) fn due(&mut self, now: Now, endpoint: &Endpoint) -> Vec<usize> {
        let is_due = |one: &mut Waiting| one.until <= now || !endpoint.is_awaited(&one.awaited);
        self.waiting.extract_if(.., is_due).map(|one| one.connection).collect()
    }
}

#[cfg(test)]
mod tests {
    use peerage_proto::InfoHash;

    use super::*;

    #[test]
    fn only_so_many_wait_and_nobody_where_there_is_no_patience() {
        let now = Now::from_millis(1_800_000_000_000);
        let mut late = Late::new(Duration::from_millis(20));
        for number in 0..LATE_MAX {
            assert_eq!(late.patience(), Patience::Some);
            late.put_aside(now, number, Awaited(InfoHash([1; 20])));
        }
        assert_eq!(late.patience(), Patience::None);
        assert_eq!(Late::new(Duration::ZERO).patience(), Patience::None);
    }
}
