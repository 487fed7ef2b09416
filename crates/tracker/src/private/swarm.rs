//! The peers of one torrent, in one vector, those that go to the same askers side by side: so a
//! draw costs what it hands out, whatever the swarm is made of.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;
use peerage_proto::{Family, PeerId};
use peerage_swarm::{Peers, Rng};

use super::MemberId;
use super::members::Moved;
use super::peer::{Peer, Segment};

/// The peers of one torrent: 64 bytes, and 112 for each peer with at most an eighth of room to
/// grow. A large swarm has an index of about 8 bytes a peer, which makes 134 at most; a peer alone
/// at its torrent costs 222, measured with what the allocator adds.
#[derive(Default)]
pub(super) struct Swarm {
    peers: Vec<Peer>,
    /// Where each segment ends but the last, which ends with the vector.
    ends: [u32; 6],
    seeders: u32,
    /// Places by member, where there are many.
    index: Option<Box<HashTable<u32>>>,
}

const _: () = assert!(size_of::<Swarm>() == 64);

/// From so many peers on there is an index; 20 peers are 2 kB to look through.
const INDEXED_PEERS: usize = 20;

/// Members are numbered by the site, not by clients: the hash needs no secret.
fn hash(member: MemberId) -> u64 {
    let product = u64::from(member.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Seeders and leechers, those that are not handed out among them.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.seeders, self.peers.len() as u32 - self.seeders)
    }

    /// The places of a member's peers.
    pub(super) fn own(&self, member: MemberId) -> impl Iterator<Item = usize> {
        let indexed = self.index.as_ref().map(|index| index.iter_hash(hash(member)));
        let scanned = if self.index.is_some() { 0..0 } else { 0..self.peers.len() };
        let places = indexed.into_iter().flatten().map(|&place| place as usize);
        places.chain(scanned).filter(move |&place| self.peers[place].member == member)
    }

    /// Where a peer is. Good until one comes, goes or changes.
    pub(super) fn place(&self, member: MemberId, peer_id: &PeerId) -> Option<usize> {
        self.own(member).find(|&place| self.peers[place].peer_id == *peer_id)
    }

    /// How a member counts at this torrent: its seeders, its leechers, and whether it downloads.
    pub(super) fn standing(&self, member: MemberId) -> Moved {
        let mut counts = Moved::default();
        for place in self.own(member) {
            let peer = &self.peers[place];
            match peer.is_seeder() {
                true => counts.seeding += 1,
                false => counts.leeching += 1,
            }
            counts.downloads |= i32::from(peer.downloads());
        }
        counts
    }

    /// Puts in a peer that is not there.
    pub(super) fn insert(&mut self, peer: Peer) {
        if self.peers.len() == self.peers.capacity() {
            self.peers.reserve_exact((self.peers.len() / 8).max(1));
        }
        let segment = peer.segment();
        let member = peer.member;
        self.seeders += u32::from(peer.is_seeder());
        let mut place = self.peers.len();
        self.peers.push(peer);
        if let Some(index) = &mut self.index {
            let peers = &self.peers;
            index.insert_unique(hash(member), place as u32, |&at| hash(peers[at as usize].member));
        }
        // From the last segment down: the first peer of each makes room by becoming its last.
        for end in (segment as usize..self.ends.len()).rev() {
            let first = self.ends[end] as usize;
            self.swap(place, first);
            self.ends[end] += 1;
            place = first;
        }
        if self.index.is_none() && INDEXED_PEERS <= self.peers.len() {
            self.make_index();
        }
    }

    /// Takes a peer out. Of the others, only such as stand behind it move, and none to before it.
    pub(super) fn remove(&mut self, place: usize) -> Peer {
        let mut place = place;
        let segment = self.ends.partition_point(|&end| end as usize <= place);
        for end in segment..self.ends.len() {
            let last = self.ends[end] as usize - 1;
            self.swap(place, last);
            self.ends[end] -= 1;
            place = last;
        }
        let last = self.peers.len() - 1;
        self.swap(place, last);
        let peer = self.peers.pop().expect("a place is that of a peer");
        if let Some(index) = &mut self.index {
            let entry = index.find_entry(hash(peer.member), |&at| at as usize == last);
            entry.expect("every peer is in the index").remove();
        }
        self.seeders -= u32::from(peer.is_seeder());
        if self.peers.len() < INDEXED_PEERS / 2 {
            self.index = None;
        }
        if self.peers.len() < self.peers.capacity() / 2 {
            self.peers.shrink_to(self.peers.len() + self.peers.len() / 8);
        }
        peer
    }

    /// Changes a peer, neither whose it is nor its peer_id, and moves it where it then belongs.
    pub(super) fn change(&mut self, place: usize, change: impl FnOnce(&mut Peer)) {
        let peer = &mut self.peers[place];
        let (segment, seeder) = (peer.segment(), peer.is_seeder());
        change(peer);
        let moved = peer.segment() != segment;
        self.seeders -= u32::from(seeder);
        self.seeders += u32::from(self.peers[place].is_seeder());
        if moved {
            let peer = self.remove(place);
            self.insert(peer);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.peers.swap(a, b);
        let Some(index) = &mut self.index else { return };
        // What is at `b` now was at `a`. A place that no peer has keeps the two apart meanwhile.
        let mut renumber = |at: usize, from: usize, to: u32| {
            let number = hash(self.peers[at].member);
            let place = index.find_mut(number, |&place| place as usize == from);
            *place.expect("every peer is in the index") = to;
        };
        renumber(b, a, u32::MAX);
        renumber(a, b, a as u32);
        renumber(b, u32::MAX as usize, b as u32);
    }

    fn make_index(&mut self) {
        let mut index = Box::new(HashTable::with_capacity(self.peers.len()));
        let rehash = |&place: &u32| hash(self.peers[place as usize].member);
        for place in 0..self.peers.len() as u32 {
            index.insert_unique(rehash(&place), place, rehash);
        }
        self.index = Some(index);
    }
}

/// Who asks for peers.
pub(super) struct Asker {
    pub(super) member: MemberId,
    pub(super) seeder: bool,
    pub(super) family: Family,
    /// When a peer must have been heard from to be handed out.
    pub(super) oldest_secs: u32,
}

impl Swarm {
    /// Draws peers with addresses of the asker's family: of seeders and leechers for a leecher, of
    /// leechers for a seeder. Never of the asker's member.
    pub(super) fn draw(&self, asker: &Asker, out_max: usize, rng: &mut Rng, out: &mut Peers) {
        use Segment::{Leecher4, Leecher6, LeecherBoth, Seeder4, Seeder6, SeederBoth};
        let segments = match (asker.family, asker.seeder) {
            (Family::V4, true) => [(Leecher4, LeecherBoth); 1].as_slice(),
            (Family::V4, false) => &[(SeederBoth, LeecherBoth)],
            (Family::V6, true) => &[(LeecherBoth, Leecher6)],
            (Family::V6, false) => &[(Seeder6, SeederBoth), (LeecherBoth, Leecher6)],
        };
        debug_assert!(Seeder4 < Leecher4);
        self.draw_from(segments, asker.family, asker, out_max, rng, out);
    }

    /// Draws peers with no address of the asker's family, to fill up.
    pub(super) fn draw_others(
        &self,
        asker: &Asker,
        out_max: usize,
        rng: &mut Rng,
        out: &mut Peers,
    ) {
        use Segment::{Leecher4, Leecher6, Seeder4, Seeder6};
        let (family, segments) = match (asker.family, asker.seeder) {
            (Family::V4, true) => (Family::V6, [(Leecher6, Leecher6); 1].as_slice()),
            (Family::V4, false) => (Family::V6, &[(Seeder6, Seeder6), (Leecher6, Leecher6)][..]),
            (Family::V6, true) => (Family::V4, &[(Leecher4, Leecher4)][..]),
            (Family::V6, false) => (Family::V4, &[(Seeder4, Leecher4)][..]),
        };
        self.draw_from(segments, family, asker, out_max, rng, out);
    }

    /// Starts at a peer drawn uniformly and goes on by a stride that meets all, so each is as
    /// likely as any other, and which come together changes from draw to draw.
    fn draw_from(
        &self,
        segments: &[(Segment, Segment)],
        family: Family,
        asker: &Asker,
        out_max: usize,
        rng: &mut Rng,
        out: &mut Peers,
    ) {
        let mut ranges = [(0, 0); 2];
        let mut total = 0;
        for (range, &(first, last)) in ranges.iter_mut().zip(segments) {
            let start = if first as usize == 0 { 0 } else { self.ends[first as usize - 1] };
            *range = (start, self.ends[last as usize] - start);
            total += range.1;
        }
        if total == 0 {
            return;
        }
        let mut number = rng.below(total);
        let stride = match total as usize <= out_max {
            true => 1,
            false => stride(total, rng),
        };
        for _ in 0..total {
            if out_max <= out.v4.len() + out.v6.len() {
                return;
            }
            let place = match number < ranges[0].1 {
                true => ranges[0].0 + number,
                false => ranges[1].0 + number - ranges[0].1,
            };
            let peer = &self.peers[place as usize];
            if peer.member != asker.member && peer.is_fresh(family, asker.oldest_secs) {
                match family {
                    Family::V4 => out.v4.push(peer.v4),
                    Family::V6 => out.v6.push(peer.v6),
                }
            }
            number = match total - number <= stride {
                true => number - (total - stride),
                false => number + stride,
            };
        }
    }
}

/// A random number below `total` that has no divisor in common with it. One in two is such, and
/// one after thirty tries without luck.
fn stride(total: u32, rng: &mut Rng) -> u32 {
    let coprime = |stride: &u32| {
        let (mut a, mut b) = (total, *stride);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    (0..30).map(|_| 1 + rng.below(total - 1)).find(coprime).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::super::peer::Flags;
    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn v6(number: u32) -> IpAddr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(number)).into()
    }

    /// Peer `number` of a member, with addresses that tell its number. `kind` is what it is.
    fn peer(member: u32, number: u32, kind: u32) -> Peer {
        let mut peer_id = [0; 20];
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        let mut peer = Peer::new(MemberId(member), PeerId(peer_id));
        set(&mut peer, number, kind);
        peer
    }

    fn set(peer: &mut Peer, number: u32, kind: u32) {
        let port = |bit: u32| if kind & bit == 0 { 0 } else { 7000 };
        peer.set_address(v4(number), port(1), NOW);
        peer.set_address(v6(number), port(2), NOW);
        peer.flags.set(Flags::SEEDER, kind & 4 != 0);
        peer.flags.set(Flags::VISIBLE, kind & 8 != 0);
        peer.flags.set(Flags::DOWNLOADS, kind & 12 == 8);
    }

    fn check(swarm: &Swarm, model: &BTreeMap<(u32, u32), u32>) {
        assert_eq!(swarm.len(), model.len());
        let seeders = model.values().filter(|kind| *kind & 4 != 0).count() as u32;
        assert_eq!(swarm.counts(), (seeders, model.len() as u32 - seeders));
        assert!(swarm.ends.is_sorted());
        assert!(swarm.peers().is_sorted_by_key(Peer::segment), "segments lie in order");
        let segment = |place| swarm.ends.partition_point(|&end| end as usize <= place);
        for (place, peer) in swarm.peers().iter().enumerate() {
            assert_eq!(peer.segment() as usize, segment(place));
        }
        assert_eq!(
            swarm.index.is_some(),
            swarm.index.as_ref().is_some_and(|index| { index.len() == swarm.len() })
        );
    }

    #[test]
    fn swarm_is_a_map_whose_segments_stay_in_order() {
        let mut rng = Rng::from_seed(3);
        let mut swarm = Swarm::default();
        let mut model = BTreeMap::new();
        for step in 0..6_000 {
            // Grows beyond the index, shrinks below it, and so on.
            let growing = step / 500 % 2 == 0;
            let (member, number) = (rng.below(20), rng.below(60));
            let kind = rng.below(16);
            let place = swarm.place(MemberId(member), &peer(member, number, 0).peer_id);
            assert_eq!(place.is_some(), model.contains_key(&(member, number)));
            match place {
                None if growing => {
                    swarm.insert(peer(member, number, kind));
                    model.insert((member, number), kind);
                }
                Some(place) if growing => {
                    swarm.change(place, |peer| set(peer, number, kind));
                    model.insert((member, number), kind);
                }
                Some(place) => {
                    let gone = swarm.remove(place);
                    assert_eq!(gone.member, MemberId(member));
                    model.remove(&(member, number));
                }
                None => {}
            }
            if step % 16 == 0 {
                check(&swarm, &model);
            }
            let own = |kind: u32| {
                let of_member = model.iter().filter(|((owner, _), _)| *owner == member);
                of_member.filter(|(_, has)| **has & 4 == kind).count() as i32
            };
            let standing = swarm.standing(MemberId(member));
            assert_eq!((standing.seeding, standing.leeching), (own(4), own(0)));
        }
    }

    fn asker(member: u32, seeder: bool, family: Family) -> Asker {
        Asker { member: MemberId(member), seeder, family, oldest_secs: NOW - 100 }
    }

    #[test]
    fn whoever_may_be_handed_out_is_and_nobody_else() {
        let mut swarm = Swarm::default();
        for number in 0..160 {
            swarm.insert(peer(number % 10, number, number / 10));
        }
        let mut rng = Rng::from_seed(4);
        for (family, seeder) in
            [(Family::V4, false), (Family::V4, true), (Family::V6, false), (Family::V6, true)]
        {
            let bit = if family == Family::V4 { 1 } else { 2 };
            let mut out = Peers::default();
            swarm.draw(&asker(3, seeder, family), 1000, &mut rng, &mut out);
            let may = |kind: u32| kind & 8 != 0 && (kind & 4 == 0 || !seeder);
            let own = |number: &u32| may(number / 10) && (number / 10) & bit != 0;
            let others = (0..160_u32).filter(|number| number % 10 != 3);
            let expected: BTreeSet<_> = others.clone().filter(own).collect();
            let numbers: BTreeSet<_> = out
                .v4
                .iter()
                .map(|peer| u32::from(peer[3]))
                .chain(out.v6.iter().map(|peer| u32::from(peer[15])))
                .collect();
            assert_eq!(numbers, expected, "{family:?} {seeder}");
            assert_eq!(out.v4.len() + out.v6.len(), expected.len(), "each once");
            swarm.draw_others(&asker(3, seeder, family), 1000, &mut rng, &mut out);
            let fill = |number: &u32| may(number / 10) && (number / 10) & 3 == 3 - bit;
            let filled = others.filter(fill).count();
            assert_eq!(out.v4.len() + out.v6.len(), expected.len() + filled);
        }
    }

    #[test]
    fn every_peer_is_as_likely_as_any_other_and_the_number_is_exact() {
        let mut swarm = Swarm::default();
        for number in 0..50 {
            // Seeders and leechers, IPv4 and both.
            swarm.insert(peer(number, number, 9 + (number & 1) * 2 + (number & 2) * 2));
        }
        let mut rng = Rng::from_seed(5);
        let mut counts = [0_u32; 256];
        let mut pairs = BTreeSet::new();
        const DRAWS: u32 = 20_000;
        for _ in 0..DRAWS {
            let mut out = Peers::default();
            swarm.draw(&asker(999, false, Family::V4), 10, &mut rng, &mut out);
            assert_eq!(out.v4.len(), 10);
            out.v4.iter().for_each(|peer| counts[usize::from(peer[3])] += 1);
            pairs.insert((out.v4[0], out.v4[1]));
        }
        // A fifth of the draws each: 4000, give or take five times the deviation of 57.
        for (number, count) in counts[..50].iter().enumerate() {
            assert!((3715..4285).contains(count), "{number}: {count}");
        }
        assert!(pairs.len() > 900, "who comes with whom changes: {}", pairs.len());
    }

    #[test]
    fn peer_that_was_not_heard_from_is_not_handed_out() {
        let mut swarm = Swarm::default();
        for number in 0..30 {
            swarm.insert(peer(number, number, 11));
        }
        for number in 0..29 {
            let place = swarm.place(MemberId(number), &peer(0, number, 0).peer_id).unwrap();
            swarm.change(place, |peer| peer.seen_secs = [NOW - 101, NOW]);
        }
        let mut rng = Rng::from_seed(6);
        let mut out = Peers::default();
        swarm.draw(&asker(99, false, Family::V4), 10, &mut rng, &mut out);
        assert_eq!(out.v4.len(), 1);
        swarm.draw(&asker(99, false, Family::V6), 11, &mut rng, &mut out);
        assert_eq!(out.v6.len(), 10, "at the other address it was");
    }
}
