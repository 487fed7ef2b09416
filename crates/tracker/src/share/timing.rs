//! When a peer that was seen again is told, and when one of which nothing is told is gone.
//!
//! A node tells when a peer of its own has left or timed out, so that of what it told before only
//! the peers of a node that has died have to expire. Those are taken out once it no longer beats
//! (see `beats`): so the expiry may be long, and what is long lasts for several announces.

use core::time::Duration;

/// When things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long after it was last seen a peer of which nothing is told is gone for all nodes.
    pub expiry: Duration,
    /// A peer seen again is told once in this time. The longest interval a client may be told and
    /// this are together shorter than `expiry`, so that one that is in time never vanishes.
    pub refresh: Duration,
    /// How often a node looks whether it should ask about a swarm; not longer than `refresh`.
    pub look: Duration,
}

/// Longer lives the peer of no node. The store of a node tells times apart for 4.5 hours, in which
/// `expiry` and `refresh` have to find room.
const EXPIRY_MAX: Duration = Duration::from_secs(2 * 3600);

/// So many looks are in the time of a refresh, where peers are told seldom.
pub(super) const LOOKS: u32 = 3;

/// Between the flush of one node and the answer to another, and whatever is rounded.
const SLACK: Duration = Duration::from_secs(4);

impl Timing {
    /// An expiry of four of the longest intervals that a client may be told, two hours at most, so
    /// that a peer is told about once in three announces. `peer_timeout` is when it is gone from
    /// its own node.
    pub fn seldom(promised: Duration, peer_timeout: Duration) -> Self {
        let least = promised + promised / 3 + SLACK;
        let expiry = (promised * 4).min(EXPIRY_MAX).max(least).max(peer_timeout);
        // A twentieth for a walk that is late.
        let refresh = expiry.saturating_sub(promised + promised / 20 + SLACK);
        let refresh = refresh.max(Duration::from_secs(1));
        Self { expiry, refresh, look: refresh / LOOKS }
    }

    /// For others who read what is told, and think of a peer as gone soon after its interval: told
    /// three times an interval.
    pub fn often(promised: Duration, peer_timeout: Duration) -> Self {
        let refresh = (promised / 3).max(Duration::from_secs(1));
        let expiry = peer_timeout.max(promised + refresh + SLACK);
        Self { expiry, refresh, look: refresh }
    }

    /// What serves those who were told by `self` and those who are told by `newer`.
    pub(super) fn with(self, newer: Self) -> Self {
        Self {
            expiry: self.expiry.max(newer.expiry),
            refresh: self.refresh.min(newer.refresh),
            look: self.look.min(newer.look),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_that_is_in_time_is_told_before_it_expires() {
        for promised_secs in [1, 3, 30, 300, 1860, 3600, 7000] {
            let promised = Duration::from_secs(promised_secs);
            let timeout = promised + promised / 2 + Duration::from_secs(60);
            for timing in [Timing::seldom(promised, timeout), Timing::often(promised, timeout)] {
                // Seen just after a walk, and then in time but only just.
                let told = promised + timing.refresh;
                assert!(told < timing.expiry, "{promised_secs} s: {timing:?}");
                assert!(timing.look <= timing.refresh, "{promised_secs} s: {timing:?}");
            }
        }
    }

    #[test]
    fn steady_peer_is_told_about_once_in_three_announces() {
        let interval = Duration::from_secs(1800);
        let timing = Timing::seldom(Duration::from_secs(1860), Duration::from_secs(2850));
        assert_eq!(timing.expiry, EXPIRY_MAX);
        let announces = timing.refresh.as_secs_f64() / interval.as_secs_f64();
        assert!((2.5..3.5).contains(&announces), "told once in {announces} announces");
    }

    #[test]
    fn change_of_intervals_serves_those_told_before_and_after() {
        let (short, long) = (Duration::from_secs(300), Duration::from_secs(3600));
        let [short, long] = [short, long].map(|promised| Timing::seldom(promised, promised * 2));
        for timing in [short.with(long), long.with(short)] {
            assert_eq!(timing.expiry, long.expiry);
            assert_eq!(timing.refresh, short.refresh.min(long.refresh));
        }
    }
}
