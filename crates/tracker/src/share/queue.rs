//! What is to be told, merged by swarm and peer.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::ops::Bound;

use peerage_proto::InfoHash;
use peerage_swarm::{Elsewhere, Now, Others, Walked};

use super::walk::Reason;
use super::{COLD_MAX, Change, Changes, Kind, PEERS_PER_TRIP_MAX, Room, SwarmChanges, Told};

/// Most changes that wait, about 60 MB. Beyond it new ones are dropped and counted. What a walk
/// finds in one part of the store may come to it once.
const CHANGES_MAX: usize = 1 << 18;

/// The changes that wait.
#[derive(Default)]
pub(super) struct Queue {
    swarms: BTreeMap<InfoHash, Pending>,
    /// Peers in all of them.
    changes: usize,
    /// Swarms that announces may wait for, at most [`COLD_MAX`]; each is in `swarms`, or was taken
    /// already.
    urgent: Vec<InfoHash>,
    /// Where [`Queue::take`] goes on, so that each swarm has its turn.
    next: Option<InfoHash>,
}

#[derive(Default)]
struct Pending {
    peers: BTreeMap<SocketAddr, Change>,
    completed: u32,
    completed_floor: u32,
    sample: bool,
    renews: bool,
}

impl Queue {
    pub(super) fn swarms(&self) -> usize {
        self.swarms.len()
    }

    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// Whether all that waits fits into one trip, and more.
    pub(super) fn has_room(&self, room: Room) -> bool {
        self.swarms.len() < room.swarms && self.changes < room.peers
    }

    /// Whether nothing more may wait.
    pub(super) fn is_full(&self) -> bool {
        CHANGES_MAX <= self.changes
    }

    pub(super) fn changes_of(&self, info_hash: &InfoHash) -> usize {
        self.swarms.get(info_hash).map_or(0, |pending| pending.peers.len())
    }

    /// Adds a worker's change. Says how many were dropped for it.
    pub(super) fn tell(&mut self, told: &Told) -> u64 {
        let &Told { info_hash, peer, role, before, elsewhere, seen, kind, finished, first } = told;
        let full = self.is_full();
        if full && !self.swarms.contains_key(&info_hash) {
            return 1;
        }
        let pending = self.swarms.entry(info_hash).or_default();
        pending.completed += u32::from(finished);
        pending.sample |= first;
        if first && self.urgent.len() < COLD_MAX {
            self.urgent.push(info_hash);
        }
        let mut change = Change { peer, role, seen, kind, before, elsewhere };
        if let Some(older) = pending.peers.get(&peer) {
            // That the time of a peer is up may come after it has been heard again.
            if change.seen < older.seen {
                return 0;
            }
            change.before = older.before;
            change.elsewhere |= older.elsewhere;
        } else if full {
            return 1;
        } else {
            self.changes += 1;
        }
        pending.peers.insert(peer, change);
        0
    }

    /// Adds what the walk has found. Where others have more peers than are held here it is always
    /// asked for some, as they are others each time; in a large swarm whenever its peers are told,
    /// for the counts vouch for nobody there; where all are held, when there is doubt, since news
    /// tell of them and the counts that come back say when these were not all. Where nobody has
    /// any, never: the counts say when that changes.
    pub(super) fn walked(&mut self, walked: Walked, reason: Reason) {
        let Walked { info_hash, completed, peers, others } = walked;
        let sample = match others {
            Others::Nobody => false,
            Others::Held => matches!(reason, Reason::Lost | Reason::Check | Reason::Doubt),
            Others::Many => reason != Reason::Look,
            Others::More => true,
        };
        if peers.is_empty() && !sample {
            return;
        }
        let everything = reason == Reason::Lost;
        let pending = self.swarms.entry(info_hash).or_default();
        pending.sample |= sample;
        pending.renews |= matches!(reason, Reason::Renewal | Reason::Check);
        if sample || everything {
            pending.completed_floor = completed.saturating_sub(pending.completed);
        }
        let kind = if everything { Kind::News } else { Kind::Seen };
        for peer in peers {
            let (before, role, seen) = (Some(peer.role), peer.role, peer.seen);
            let change = pending.peers.entry(peer.peer).or_insert_with(|| {
                self.changes += 1;
                Change { peer: peer.peer, role, seen, kind, before, elsewhere: false }
            });
            if everything && change.kind == Kind::Seen {
                change.kind = Kind::News;
            }
        }
    }

    /// Takes out those who have left, which is not told yet.
    pub(super) fn retain_staying(&self, info_hash: &InfoHash, sample: &mut Vec<Elsewhere>) {
        if let Some(pending) = self.swarms.get(info_hash) {
            let leaves = |change: &Change| change.kind == Kind::Left;
            sample.retain(|peer| !pending.peers.get(&peer.peer).is_some_and(leaves));
        }
    }

    /// A sample of the swarm is wanted again.
    pub(super) fn ask_again(&mut self, info_hash: InfoHash) {
        self.swarms.entry(info_hash).or_default().sample = true;
    }

    /// Of a swarm that something waits to be told of, how often it was finished at least.
    pub(super) fn raise_completed(&mut self, info_hash: &InfoHash, completed: u32) {
        if let Some(pending) = self.swarms.get_mut(info_hash) {
            let before = completed.saturating_sub(pending.completed);
            pending.completed_floor = pending.completed_floor.max(before);
        }
    }

    /// Takes out what there is room for, urgent swarms first.
    pub(super) fn take(&mut self, room: Room) -> Changes {
        let mut taken = Changes::default();
        let waited = self.changes;
        let mut urgent = mem::take(&mut self.urgent);
        while taken.swarms.len() < room.swarms
            && waited - self.changes < room.peers
            && let Some(info_hash) = urgent.pop()
        {
            self.take_one(info_hash, &mut taken);
        }
        self.urgent = urgent;
        while taken.swarms.len() < room.swarms
            && waited - self.changes < room.peers
            && let Some(info_hash) = self.following()
        {
            self.take_one(info_hash, &mut taken);
            self.next = Some(info_hash);
        }
        taken
    }

    /// The swarm after the last one taken, round and round.
    fn following(&self) -> Option<InfoHash> {
        let after = self.next.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.swarms.range((after, Bound::Unbounded)).next();
        next.or_else(|| self.swarms.first_key_value()).map(|(info_hash, _)| *info_hash)
    }

    fn take_one(&mut self, info_hash: InfoHash, taken: &mut Changes) {
        let Some(mut pending) = self.swarms.remove(&info_hash) else { return };
        let mut rest = BTreeMap::new();
        if let Some(&first) = pending.peers.keys().nth(PEERS_PER_TRIP_MAX) {
            rest = pending.peers.split_off(&first);
        }
        self.changes -= pending.peers.len();
        let Pending { peers, completed, completed_floor, sample, renews } = pending;
        let peers = peers.into_values().collect();
        let told = SwarmChanges { info_hash, peers, completed, completed_floor, sample, renews };
        taken.swarms.push(told);
        if !rest.is_empty() {
            self.swarms.insert(info_hash, Pending { peers: rest, renews, ..Pending::default() });
        }
    }

    /// Puts back what was taken, beneath what has come since. Says how many changes were dropped.
    pub(super) fn put_back(&mut self, changes: Changes) -> u64 {
        let mut dropped = 0;
        for swarm in changes.swarms {
            if self.is_full() {
                dropped += swarm.peers.len() as u64;
                continue;
            }
            let pending = self.swarms.entry(swarm.info_hash).or_default();
            pending.completed += swarm.completed;
            pending.completed_floor = pending.completed_floor.max(swarm.completed_floor);
            pending.sample |= swarm.sample;
            pending.renews |= swarm.renews;
            for mut change in swarm.peers {
                // Where it did arrive, it is answered as though this node alone had ever told it.
                change.elsewhere |= change.kind != Kind::Seen;
                pending
                    .peers
                    .entry(change.peer)
                    .and_modify(|newer| {
                        newer.before = change.before;
                        newer.elsewhere |= change.elsewhere;
                        // Whether the older change arrived is not known: this one has to be sure.
                        if newer.kind == Kind::Seen && change.kind != Kind::Seen {
                            newer.kind = Kind::News;
                        }
                    })
                    .or_insert_with(|| {
                        self.changes += 1;
                        change
                    });
            }
        }
        dropped
    }

    /// Another node has news of a peer, from `said`: what waits to be told of it from before is not
    /// true any more.
    pub(super) fn forget(&mut self, info_hash: &InfoHash, peer: SocketAddr, said: Now) {
        let Some(pending) = self.swarms.get_mut(info_hash) else { return };
        if pending.peers.get(&peer).is_some_and(|change| change.seen < said) {
            pending.peers.remove(&peer);
            self.changes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_swarm::Role;

    use super::*;

    #[test]
    fn time_that_was_up_before_a_peer_was_heard_again_is_no_news() {
        let told = |kind, seen_secs: u64| Told {
            info_hash: InfoHash([7; 20]),
            peer: ([192, 0, 2, 1], 1).into(),
            role: Role::Seeder,
            before: None,
            elsewhere: false,
            seen: Now::from_millis(seen_secs * 1000),
            kind,
            finished: false,
            first: false,
        };
        for order in [[0, 1], [1, 0]] {
            let mut queue = Queue::default();
            let both = [told(Kind::News, 5000), told(Kind::Left, 1000)];
            order.into_iter().for_each(|at| assert_eq!(queue.tell(&both[at]), 0));
            let taken = queue.take(Room { swarms: 10, peers: 10 });
            let kinds: Vec<Kind> = taken.swarms[0].peers.iter().map(|peer| peer.kind).collect();
            assert_eq!(kinds, [Kind::News], "{order:?}");
        }
    }

    #[test]
    fn trip_carries_no_more_peers_than_there_is_room_for_but_for_one_swarm() {
        let mut queue = Queue::default();
        for number in 0..20_u8 {
            let told = Told {
                info_hash: InfoHash([number / 4; 20]),
                peer: ([192, 0, 2, number], 1).into(),
                role: Role::Seeder,
                before: None,
                elsewhere: false,
                seen: Now::from_millis(1000),
                kind: Kind::News,
                finished: false,
                first: number == 0,
            };
            assert_eq!(queue.tell(&told), 0);
        }
        let room = Room { swarms: 3, peers: 6 };
        assert!(!queue.has_room(room));
        let mut peers: Vec<usize> = Vec::new();
        for _ in 0..3 {
            let taken = queue.take(room);
            assert!(room.is_filled_by(&taken) || queue.swarms() == 0);
            peers.push(taken.swarms.iter().map(|swarm| swarm.peers.len()).sum());
        }
        assert_eq!(peers, [8, 8, 4]);
        assert!(queue.has_room(room), "nothing waits");
        (0..5).for_each(|number| queue.ask_again(InfoHash([number; 20])));
        assert_eq!(queue.take(room).swarms.len(), 3, "what is only asked is bounded by swarms");
    }
}
