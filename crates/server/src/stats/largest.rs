//! The largest swarms, found by going through the store a part each second.
//!
//! Only where the operator allows it: an info_hash in public tells what is shared here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peerage_proto::InfoHash;
use peerage_swarm::{Counts, Swarms};
use serde::Serialize;
use utoipa::ToSchema;

/// Swarms told.
const TOP: usize = 20;

/// Swarms gone through in a second, about: some milliseconds of this thread. An announce may have
/// to wait for one shard of them, a 2048th of the store.
const SWARMS_A_SECOND: u64 = 65_536;

/// A swarm, as it was when it was last come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SwarmStats {
    /// In hex.
    pub(crate) info_hash: String,
    /// Peers with nothing left.
    pub(crate) seeders: u32,
    /// All others.
    pub(crate) leechers: u32,
    /// How often it was completed.
    pub(crate) completed: u32,
}

/// The way through the store.
#[derive(Debug)]
pub(super) struct Largest {
    /// The next part; below `parts`.
    part: u32,
    /// As many as the store has swarms for when the way begins; at least 1.
    parts: u32,
    /// The largest so far on this way, the least of them first; at most [`TOP`].
    best: BinaryHeap<Reverse<Found>>,
    /// The largest of the last whole way.
    found: Vec<SwarmStats>,
}

/// A swarm by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    peers: u64,
    info_hash: InfoHash,
    seeders: u32,
    leechers: u32,
    completed: u32,
}

impl Largest {
    /// Nothing found yet.
    pub(super) fn new() -> Self {
        Self { part: 0, parts: 1, best: BinaryHeap::new(), found: Vec::new() }
    }

    /// The largest, the first of them first, of the last whole way: as many seconds old as it takes
    /// to go through all at [`SWARMS_A_SECOND`], or twice that.
    pub(super) fn found(&self) -> Vec<SwarmStats> {
        self.found.clone()
    }

    /// Goes through the next part of the store; to be called once a second. `swarms` of `store`.
    pub(super) fn go_on(&mut self, store: &Swarms, swarms: u64) {
        if self.part == 0 {
            self.parts = u32::try_from(swarms / SWARMS_A_SECOND + 1).unwrap_or(u32::MAX);
        }
        let best = &mut self.best;
        store.for_each_in(self.part, self.parts, |info_hash, counts| {
            offer(best, info_hash, counts);
        });
        self.part += 1;
        if self.part == self.parts {
            self.part = 0;
            let mut found: Vec<Found> = self.best.drain().map(|Reverse(found)| found).collect();
            found.sort_unstable_by(|one, other| other.cmp(one));
            self.found = found.iter().map(SwarmStats::of).collect();
        }
    }
}

fn offer(best: &mut BinaryHeap<Reverse<Found>>, info_hash: &InfoHash, counts: Counts) {
    let peers = u64::from(counts.seeders) + u64::from(counts.leechers);
    let is_less = |least: &Reverse<Found>| peers <= least.0.peers;
    if peers == 0 || (best.len() == TOP && best.peek().is_some_and(is_less)) {
        return;
    }
    let Counts { seeders, leechers, completed, .. } = counts;
    best.push(Reverse(Found { peers, info_hash: *info_hash, seeders, leechers, completed }));
    if best.len() > TOP {
        best.pop();
    }
}

impl SwarmStats {
    fn of(found: &Found) -> Self {
        let Found { seeders, leechers, completed, .. } = *found;
        Self { info_hash: found.info_hash.to_string(), seeders, leechers, completed }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use peerage_proto::PeerId;
    use peerage_swarm::{Announce, Change, Limits, Now, PeerIds, Peers, Role, Want};

    use super::*;

    fn store(sizes: impl Iterator<Item = u16>) -> Swarms {
        let store = Swarms::new([7; 16], Limits::default(), PeerIds::Dropped);
        for (number, size) in (0_u32..).zip(sizes) {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            let info_hash = InfoHash(hash);
            for port in 1..=size {
                let announce = Announce {
                    info_hash,
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    port,
                    peer_id: PeerId([0; 20]),
                    change: Change::Here { role: Role::Seeder, completed: true, paused: false },
                    want: Want::Own(0),
                    seeds: [0; 2],
                };
                let key = store.key(&info_hash);
                store.announce(Now::from_millis(0), key, &announce, &mut Peers::default());
            }
        }
        store
    }

    #[test]
    fn largest_are_told_in_order_once_all_were_seen() {
        let store = store((0..200).map(|number| number * 7 % 200));
        let mut largest = Largest::new();
        // As if there were so many that it takes three seconds.
        for _ in 0..2 {
            largest.go_on(&store, 3 * SWARMS_A_SECOND - 1);
            assert_eq!(largest.found(), []);
        }
        largest.go_on(&store, 0);
        let sizes: Vec<u32> = largest.found().iter().map(|swarm| swarm.seeders).collect();
        assert_eq!(sizes, (180..200).rev().collect::<Vec<_>>());
        let first = &largest.found()[0];
        assert_eq!((first.leechers, first.completed), (0, 199));
        assert!(InfoHash::from_hex(&first.info_hash).is_some());
    }

    #[test]
    fn swarm_without_peers_is_not_told() {
        let mut largest = Largest::new();
        largest.go_on(&store([0, 0, 1].into_iter()), 3);
        assert_eq!(largest.found().len(), 1);
    }
}
