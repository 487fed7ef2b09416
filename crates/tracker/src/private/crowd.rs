//! The peers of a torrent that has many: in a vector, those that go to the same askers side by
//! side, with an index by member.

use alloc::vec::Vec;
use core::num::NonZero;

use super::MemberId;
use super::peer::{Peer, Segment};
use super::slots::Slots;

/// The peers of a torrent that has many.
pub(super) struct Crowd {
    /// In the order of their segments.
    peers: Vec<Peer>,
    /// Where each segment ends but the last, which ends with the vector.
    ends: [u32; 6],
    seeders: u32,
    /// Places by member.
    index: Slots<Entry>,
}

/// A member and where one of its peers is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    member: MemberId,
    /// One more than the place.
    after: NonZero<u32>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 8);

impl Entry {
    fn new(member: MemberId, place: usize) -> Self {
        Self { member, after: NonZero::new(place as u32 + 1).expect("a place is below 2^32 - 1") }
    }

    fn place(self) -> usize {
        self.after.get() as usize - 1
    }

    fn hash(self) -> u64 {
        hash(self.member)
    }
}

/// Members are numbered by the site, not by clients: the hash needs no secret.
fn hash(member: MemberId) -> u64 {
    let product = u64::from(member.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

impl Crowd {
    /// Of peers in the order of their segments.
    pub(super) fn new(peers: Vec<Peer>) -> Self {
        let mut ends = [0; 6];
        for (segment, end) in ends.iter_mut().enumerate() {
            *end = peers.partition_point(|peer| peer.segment() as usize <= segment) as u32;
        }
        let seeders = peers.iter().filter(|peer| peer.is_seeder()).count() as u32;
        let mut index = Slots::with_room(peers.len());
        for (place, peer) in peers.iter().enumerate() {
            let entry = Entry::new(peer.member, place);
            index.insert(entry.hash(), entry, Entry::hash);
        }
        Self { peers, ends, seeders, index }
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// All peers, in the order of their segments. None are left.
    pub(super) fn take_peers(&mut self) -> Vec<Peer> {
        core::mem::replace(self, Self::new(Vec::new())).peers
    }

    pub(super) fn seeders(&self) -> u32 {
        self.seeders
    }

    /// Starts to fetch by what a member's peers are found.
    pub(super) fn prefetch(&self, member: MemberId) {
        self.index.prefetch(hash(member));
    }

    /// Where a member's peers are.
    pub(super) fn own(&self, member: MemberId) -> impl Iterator<Item = usize> {
        let entries = self.index.candidates(hash(member));
        entries.filter(move |entry| entry.member == member).map(Entry::place)
    }

    /// Where the peers of some segments, one after the other, begin and end.
    pub(super) fn range(&self, first: Segment, last: Segment) -> (u32, u32) {
        let end = |segment: usize| self.ends.get(segment).copied();
        let start = (first as usize).checked_sub(1).and_then(end).unwrap_or(0);
        (start, end(last as usize).unwrap_or(self.peers.len() as u32))
    }

    /// Puts in a peer that is not there.
    pub(super) fn insert(&mut self, peer: Peer) {
        if self.peers.len() == self.peers.capacity() {
            self.peers.reserve_exact(self.peers.len() / 8 + 1);
        }
        let segment = peer.segment();
        let member = peer.member;
        self.seeders += u32::from(peer.is_seeder());
        let mut place = self.peers.len();
        self.peers.push(peer);
        let entry = Entry::new(member, place);
        self.index.insert(entry.hash(), entry, Entry::hash);
        // From the last segment down: the first peer of each makes room by becoming its last.
        for end in (segment as usize..self.ends.len()).rev() {
            let first = self.ends[end] as usize;
            self.swap(place, first);
            self.ends[end] += 1;
            place = first;
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
        let entry = Entry::new(peer.member, last);
        let was_there = self.index.remove(entry.hash(), |other| other == entry, Entry::hash);
        assert!(was_there, "every peer is in the index");
        self.seeders -= u32::from(peer.is_seeder());
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
        let (at_a, at_b) = (self.peers[a].member, self.peers[b].member);
        if at_a == at_b {
            return;
        }
        for (member, from, to) in [(at_b, a, b), (at_a, b, a)] {
            let (old, new) = (Entry::new(member, from), Entry::new(member, to));
            let was_there = self.index.replace(old.hash(), |other| other == old, new);
            assert!(was_there, "every peer is in the index");
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.index.len(), self.peers.len(), "each is in the index once");
        let segment = |place| self.ends.partition_point(|&end| end as usize <= place);
        for (place, peer) in self.peers.iter().enumerate() {
            assert_eq!(peer.segment() as usize, segment(place));
        }
    }
}
