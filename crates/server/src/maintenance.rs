//! What is done beside the announces: peers expire, the interval follows the load, and swarms that
//! a new list forbids are dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use peerage_proto::InfoHash;
use peerage_tracker::Tracker;

use crate::clock::Clock;
use crate::stats::Source;
use crate::stop::Stop;

/// How often a part of the store is gone through, and how long a stop may have to wait.
///
/// Short, so that each part is small: where a worker shares its core with this thread, the
/// scheduler lets whichever runs go on for up to 3 ms before the other has its turn.
const TICK: Duration = Duration::from_millis(20);

/// Between two tables of one huge swarm, so that announces to it have their turn.
const PAUSE: Duration = Duration::from_micros(50);

/// Ticks in a second.
const TICKS_A_SECOND: u32 = 50;

/// Swarms named in [`Again::These`], at most; for more than that all are looked at.
const THESE_MAX: usize = 100_000;

/// What is to be dropped once more, after the lists have changed: a worker may have stored a swarm
/// by the old lists after the purge that followed the change, so there is a second one.
#[derive(Debug, Default)]
pub(crate) struct PurgeAgain(Mutex<Again>);

#[derive(Debug, Default)]
enum Again {
    #[default]
    Nothing,
    These(Vec<InfoHash>),
    All,
}

impl PurgeAgain {
    /// All that the lists forbid is to be dropped once more.
    pub(crate) fn all(&self) {
        *self.lock() = Again::All;
    }

    /// So many of these as the lists forbid are to be dropped once more.
    pub(crate) fn these(&self, info_hashes: &[InfoHash]) {
        let mut again = self.lock();
        let mut all = match std::mem::take(&mut *again) {
            Again::Nothing => Vec::new(),
            Again::These(these) => these,
            Again::All => return *again = Again::All,
        };
        all.extend_from_slice(info_hashes);
        *again = if all.len() <= THESE_MAX { Again::These(all) } else { Again::All };
    }

    fn purge(&self, tracker: &Tracker) {
        // The lock is not held meanwhile.
        let again = std::mem::take(&mut *self.lock());
        match again {
            Again::Nothing => {}
            Again::These(these) => _ = tracker.purge_these(&these),
            Again::All => _ = tracker.purge(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Again> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on until it is asked to stop.
pub(crate) fn run(source: &Source, clock: Clock, stop: &Stop, purge_again: &PurgeAgain) {
    let mut ticks = 0_u32;
    while !stop.is_requested() {
        let parts = parts(source.tracker.swarms().peer_timeout());
        let expired = source.tracker.expire(clock.now(), parts, || thread::sleep(PAUSE));
        source.count_expired(&expired);
        if ticks.is_multiple_of(TICKS_A_SECOND) {
            if let Some(load) = source.read_load() {
                source.tracker.breathe(clock.now(), load);
            }
            source.tracker.settle(clock.now());
            purge_again.purge(&source.tracker);
        }
        ticks = ticks.wrapping_add(1);
        thread::sleep(TICK);
    }
}

/// Into how many parts the store is cut, one each tick: all of it in an eighth of the timeout, from
/// a second to a minute, so that few peers count for much longer than they should.
fn parts(peer_timeout: Duration) -> u32 {
    let secs = (peer_timeout / 8).as_secs().clamp(1, 60);
    u32::try_from(secs).expect("at most 60") * TICKS_A_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_gone_through_in_an_eighth_of_the_timeout() {
        for (timeout_secs, parts_wanted) in [(2848, 3000), (80, 500), (1, 50)] {
            assert_eq!(parts(Duration::from_secs(timeout_secs)), parts_wanted);
        }
    }
}
