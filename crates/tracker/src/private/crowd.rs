//! The peers of a torrent that has many: in a vector, those that go to the same askers side by
//! side, with an index by member.

use alloc::vec::Vec;

use hashbrown::HashTable;

use super::MemberId;
use super::peer::{Peer, Segment};

/// The peers of a torrent that has many.
pub(super) struct Crowd {
    /// In the order of their segments.
    peers: Vec<Peer>,
    /// Where each segment ends but the last, which ends with the vector.
    ends: [u32; 6],
    seeders: u32,
    /// Places by member.
    index: HashTable<u32>,
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
        let mut index = HashTable::with_capacity(peers.len());
        let rehash = |&place: &u32| hash(peers[place as usize].member);
        for place in 0..peers.len() as u32 {
            index.insert_unique(rehash(&place), place, rehash);
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

    /// Where a member's peers are, and it may be some of others'.
    pub(super) fn candidates(&self, member: MemberId) -> impl Iterator<Item = usize> {
        self.index.iter_hash(hash(member)).map(|&place| place as usize)
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
        let peers = &self.peers;
        let rehash = |&at: &u32| hash(peers[at as usize].member);
        self.index.insert_unique(hash(member), place as u32, rehash);
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
        let entry = self.index.find_entry(hash(peer.member), |&at| at as usize == last);
        entry.expect("every peer is in the index").remove();
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
        // What is at `b` now was at `a`. A place that no peer has keeps the two apart meanwhile.
        let mut renumber = |at: usize, from: usize, to: u32| {
            let number = hash(self.peers[at].member);
            let place = self.index.find_mut(number, |&place| place as usize == from);
            *place.expect("every peer is in the index") = to;
        };
        renumber(b, a, u32::MAX);
        renumber(a, b, a as u32);
        renumber(b, u32::MAX as usize, b as u32);
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.index.len(), self.peers.len());
        let segment = |place| self.ends.partition_point(|&end| end as usize <= place);
        for (place, peer) in self.peers.iter().enumerate() {
            assert_eq!(peer.segment() as usize, segment(place));
        }
    }
}
