//! When to seek a connection again: after waits that grow, each a quarter shorter or longer at
//! random, so that nodes do not all come at once.

use std::time::{Duration, Instant};

use peerage_swarm::Rng;

/// How long a connection is not sought again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// When to seek a connection again.
pub(crate) struct Retry {
    wait: Duration,
    at: Instant,
    rng: Rng,
}

impl Retry {
    pub(crate) fn new(seed: u64) -> Self {
        Self { wait: RETRY_MIN, at: Instant::now(), rng: Rng::from_seed(seed) }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.at <= Instant::now()
    }

    /// No wait before the next attempt.
    pub(crate) fn at_once(&mut self) {
        self.at = Instant::now();
    }

    pub(crate) fn failed(&mut self) {
        self.at = Instant::now() + self.wait * (75 + self.rng.below(51)) / 100;
        self.wait = (self.wait * 2).min(RETRY_MAX);
    }

    pub(crate) fn succeeded(&mut self) {
        self.wait = RETRY_MIN;
        self.at = Instant::now() + RETRY_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_never_quite_the_same() {
        let mut retry = Retry::new(3);
        let mut waits = Vec::new();
        for _ in 0..20 {
            retry.failed();
            waits.push(retry.at.saturating_duration_since(Instant::now()));
        }
        assert!(waits[0] <= RETRY_MIN * 5 / 4);
        assert!(waits[10..].iter().all(|wait| *wait > RETRY_MAX / 2 && *wait <= RETRY_MAX * 5 / 4));
        assert_ne!(waits[18], waits[19]);
        retry.succeeded();
        assert_eq!(retry.wait, RETRY_MIN);
    }
}
