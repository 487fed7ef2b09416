//! Into which calls of the script the swarms of a trip are cut.

use std::time::Duration;

use peerage_tracker::share::{Changes, SwarmChanges};
use redis::{RedisError, Value};

use crate::trip::{PEERS_PER_CALL_MAX, SWARMS_PER_CALL_MAX};

/// A pipeline that is on its way, and what has come back.
pub(crate) struct Trip {
    pub(crate) changes: Changes,
    /// How many of the swarms each call takes.
    pub(crate) calls: Vec<usize>,
    pub(crate) replies: Result<Vec<Value>, RedisError>,
    pub(crate) took: Duration,
    /// The number that is left behind all of it, where one is.
    pub(crate) mark: Option<u64>,
}

/// Orders `swarms` by `slot`, and says how many of them, one after the other, each call takes: all
/// of one slot, since in a Cluster a script may touch no other.
pub(crate) fn cut(
    swarms: &mut [SwarmChanges],
    slot: impl Fn(&SwarmChanges) -> usize,
) -> Vec<usize> {
    swarms.sort_by_cached_key(&slot);
    let mut calls = Vec::new();
    let mut last = None;
    let mut peers = 0;
    for swarm in swarms {
        let slot = slot(swarm);
        match calls.last_mut() {
            Some(count)
                if last == Some(slot)
                    && *count < SWARMS_PER_CALL_MAX
                    && peers < PEERS_PER_CALL_MAX =>
            {
                *count += 1;
            }
            _ => {
                calls.push(1);
                peers = 0;
            }
        }
        last = Some(slot);
        peers += swarm.peers.len();
    }
    calls
}

#[cfg(test)]
mod tests {
    use peerage_proto::InfoHash;
    use peerage_swarm::{Now, Role};
    use peerage_tracker::share::{Change, Kind};

    use super::*;

    fn swarm(number: u8, peers: usize) -> SwarmChanges {
        let change = Change {
            peer: ([192, 0, 2, 1], 1).into(),
            role: Role::Seeder,
            seen: Now::from_millis(1),
            kind: Kind::Seen,
            before: None,
            elsewhere: false,
        };
        SwarmChanges {
            info_hash: InfoHash([number; 20]),
            peers: vec![change; peers],
            completed: 0,
            completed_floor: 0,
            sample: false,
            renews: false,
        }
    }

    #[test]
    fn calls_keep_to_one_slot_and_to_their_bounds() {
        let mut swarms: Vec<_> = (0..100).map(|number| swarm(number, 1)).collect();
        let slot = |swarm: &SwarmChanges| usize::from(swarm.info_hash.0[0] % 2);
        assert_eq!(cut(&mut swarms, slot), [32, 18, 32, 18]);
        assert!(swarms.is_sorted_by_key(slot));
        let mut swarms: Vec<_> = (0..4).map(|number| swarm(number, 300)).collect();
        assert_eq!(cut(&mut swarms, |_| 0), [2, 2]);
        assert_eq!(cut(&mut [], |_| 0), [] as [usize; 0]);
    }
}
