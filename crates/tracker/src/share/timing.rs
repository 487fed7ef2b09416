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
    /// Of so many tellings one asks who the peers of other nodes are, though nothing says that
    /// they are others than those known. At least 1.
    pub checked_every: u32,
}

/// Longer lives the peer of no node, where the interval is half an hour or more.
const EXPIRY_MAX: Duration = Duration::from_secs(3 * 3600 + 1800);

/// How long a store keeps a peer of another node that nothing was heard of; the two minutes are
/// those by which it may be said to be older than the timeout of its own node.
const KEPT_MAX: Duration = Duration::from_secs(4 * 3600 - 120);

/// Between the flush of one node and the answer to another, and whatever is rounded.
const SLACK: Duration = Duration::from_secs(4);

impl Timing {
    /// An expiry of seven of the longest intervals that a client may be told, three and a half
    /// hours at most, so that a peer is told about once in six announces. `peer_timeout` is when it
    /// is gone from its own node.
    pub fn seldom(promised: Duration, peer_timeout: Duration) -> Self {
        let least = promised + promised / 3 + SLACK;
        let expiry = (promised * 7).min(EXPIRY_MAX).max(least).max(peer_timeout);
        // A twentieth for a walk that is late.
        let refresh = expiry.saturating_sub(promised + promised / 20 + SLACK);
        let kept_max = KEPT_MAX.saturating_sub(peer_timeout + SLACK) * 20 / 21;
        let refresh = refresh.min(kept_max).max(Duration::from_secs(1));
        let looks = (refresh + promised / 2).as_millis() / promised.as_millis().max(1);
        let looks = u32::try_from(looks).unwrap_or(u32::MAX).max(1);
        Self { expiry, refresh, look: refresh / looks, checked_every: 4 }
    }

    /// For others who read what is told, and think of a peer as gone soon after its interval: told
    /// three times an interval. Nodes have no numbers there, so that peers of one that has died are
    /// found by asking alone.
    pub fn often(promised: Duration, peer_timeout: Duration) -> Self {
        let refresh = (promised / 3).max(Duration::from_secs(1));
        let expiry = peer_timeout.max(promised + refresh + SLACK);
        Self { expiry, refresh, look: refresh, checked_every: 1 }
    }

    /// By how much a telling may come later than `refresh` after the last.
    pub(crate) fn lateness(&self) -> Duration {
        self.refresh / 20 + SLACK
    }

    /// How many looks are in the time of a refresh.
    pub(super) fn looks(&self) -> u32 {
        let looks = (self.refresh + self.look / 2).as_millis() / self.look.as_millis().max(1);
        u32::try_from(looks).unwrap_or(u32::MAX).max(1)
    }

    /// What serves those who were told by `self` and those who are told by `newer`.
    pub(super) fn with(self, newer: Self) -> Self {
        Self {
            expiry: self.expiry.max(newer.expiry),
            refresh: self.refresh.min(newer.refresh),
            look: self.look.min(newer.look),
            checked_every: self.checked_every.min(newer.checked_every),
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
    fn peer_of_another_node_is_told_again_while_a_store_still_keeps_it() {
        for promised_secs in [30, 300, 1860, 3600, 7000] {
            for timeout_secs in [60, 1000, 2850, 5400, 7200] {
                let [promised, timeout] = [promised_secs, timeout_secs].map(Duration::from_secs);
                let timing = Timing::seldom(promised, timeout);
                let kept = timeout + timing.refresh + timing.lateness();
                assert!(kept <= KEPT_MAX, "{promised:?}, {timeout:?}: {timing:?}");
            }
        }
    }

    #[test]
    fn steady_peer_is_told_about_once_in_six_announces() {
        let interval = Duration::from_secs(1800);
        let timing = Timing::seldom(Duration::from_secs(1860), Duration::from_secs(2850));
        assert_eq!(timing.expiry, EXPIRY_MAX);
        let announces = timing.refresh.as_secs_f64() / interval.as_secs_f64();
        assert!((5.5..6.5).contains(&announces), "told once in {announces} announces");
        let looks = timing.look.as_secs_f64() / interval.as_secs_f64();
        assert!((0.8..1.2).contains(&looks), "looked once in {looks} announces");
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
