//! What is done beside the announces: peers expire, the interval follows the load, and swarms that
//! a new list forbids are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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

/// Set when the lists have changed: a worker may have stored a swarm by the old lists after the
/// purge that followed the change, so there is a second one.
pub(crate) type PurgeAgain = Arc<AtomicBool>;

/// Goes on until it is asked to stop.
pub(crate) fn run(source: &Source, clock: Clock, stop: &Stop, purge_again: &AtomicBool) {
    let mut ticks = 0_u32;
    while !stop.is_requested() {
        let swarms = source.tracker.swarms();
        let parts = parts(swarms.peer_timeout());
        let expired = swarms.expire(clock.now(), parts, || thread::sleep(PAUSE));
        source.count_expired(expired);
        if ticks.is_multiple_of(TICKS_A_SECOND) {
            if let Some(load) = source.read_load() {
                source.tracker.breathe(clock.now(), load);
            }
            source.tracker.settle(clock.now());
            if purge_again.swap(false, Ordering::Relaxed) {
                source.tracker.purge();
            }
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
