//! A small swarm: its peers one after the other in a few words of memory, without a hash table.
//!
//! IPv4 peers stand at the front and IPv6 peers at the back, seeders first among each, so that a
//! draw is a random start and a walk. The words are either the body of the swarm's own entry (two
//! IPv4 peers fit) or a block of its shard's arena.

use crate::draw::Draw;
use crate::slot::{Slot, Slot4, Slot6, State};
use crate::{Counts, Role};

/// A family that grows above this many peers makes its swarm a large one.
pub(crate) const FAMILY_PEERS_MAX: usize = 32;
/// A large swarm with at most this many peers in all becomes a small one again.
pub(crate) const SHRUNK_PEERS_MAX: usize = 20;

/// How often a draw looks for a random peer to start at.
const START_TRIES_MAX: u32 = 16;

/// How many peers of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) v4: Split,
    pub(crate) v6: Split,
    pub(crate) paused: u16,
}

/// The peers of one family: seeders first, then leechers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) seeders: u16,
    pub(crate) leechers: u16,
}

/// A slot that a small swarm can hold.
pub(crate) trait FewSlot: Slot {
    fn split(head: &Head) -> Split;
    fn split_mut(head: &mut Head) -> &mut Split;
}

impl FewSlot for Slot4 {
    fn split(head: &Head) -> Split {
        head.v4
    }

    fn split_mut(head: &mut Head) -> &mut Split {
        &mut head.v4
    }
}

impl FewSlot for Slot6 {
    fn split(head: &Head) -> Split {
        head.v6
    }

    fn split_mut(head: &mut Head) -> &mut Split {
        &mut head.v6
    }
}

impl Split {
    pub(crate) fn len(self) -> usize {
        usize::from(self.seeders) + usize::from(self.leechers)
    }
}

impl Head {
    /// The head of two words that hold up to two IPv4 peers, or none.
    pub(crate) fn of_inline(words: &[u32; 4]) -> Self {
        let mut head = Self::default();
        for words in words.chunks_exact(Slot4::WORDS) {
            let slot = Slot4::load(words);
            if !slot.is_empty() {
                head.count::<Slot4>(slot.state());
            }
        }
        head
    }

    pub(crate) fn peers(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Words that all peers take.
    pub(crate) fn words(&self) -> usize {
        self.v4.len() * Slot4::WORDS + self.v6.len() * Slot6::WORDS
    }

    pub(crate) fn counts(&self, completed: u32) -> Counts {
        Counts {
            seeders: u32::from(self.v4.seeders) + u32::from(self.v6.seeders),
            leechers: u32::from(self.v4.leechers) + u32::from(self.v6.leechers),
            paused: self.paused.into(),
            completed,
        }
    }

    fn count<S: FewSlot>(&mut self, state: State) {
        self.paused += u16::from(state.is_paused());
        match state.role() {
            Role::Seeder => S::split_mut(self).seeders += 1,
            Role::Leecher => S::split_mut(self).leechers += 1,
        }
    }
}

/// A small swarm, to be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Few<'a> {
    pub(crate) head: Head,
    pub(crate) words: &'a [u32],
}

/// A small swarm, to be changed. Whoever holds it writes the head back.
pub(crate) struct FewMut<'a> {
    pub(crate) head: &'a mut Head,
    pub(crate) words: &'a mut [u32],
}

impl Few<'_> {
    pub(crate) fn iter<S: FewSlot>(&self) -> impl Iterator<Item = S> {
        (0..S::split(&self.head).len()).map(|index| self.get(index))
    }

    pub(crate) fn find<S: FewSlot>(&self, peer: S) -> Option<usize> {
        self.iter::<S>().position(|slot| slot.is_same_peer(peer))
    }

    pub(crate) fn get<S: FewSlot>(&self, index: usize) -> S {
        S::load(&self.words[S::position(index, self.words.len())..])
    }

    /// Draws for a peer of `role`: leechers for a seeder, all for a leecher.
    pub(crate) fn draw<S: FewSlot>(&self, role: Role, draw: &mut Draw<'_, S>) {
        let split = S::split(&self.head);
        let first = if role == Role::Seeder { usize::from(split.seeders) } else { 0 };
        let count = split.len() - first;
        let mut start = draw.starts[0].line(count);
        // Among so few the announcing peer itself is often met, and whoever follows it must not be
        // taken in its place more often than others.
        for _ in 0..START_TRIES_MAX {
            if count <= start || draw.takes(self.get(first + start)) {
                break;
            }
            start = draw.rng.below(count as u32) as usize;
        }
        for index in (start..count).chain(0..start) {
            if draw.is_full() {
                return;
            }
            draw.offer(self.get(first + index));
        }
    }
}

impl FewMut<'_> {
    pub(crate) fn as_few(&self) -> Few<'_> {
        Few { head: *self.head, words: self.words }
    }

    pub(crate) fn has_room_for<S: FewSlot>(&self) -> bool {
        self.head.words() + S::WORDS <= self.words.len()
    }

    /// Puts in a peer that is not there. There is room for it.
    pub(crate) fn insert<S: FewSlot>(&mut self, slot: S) {
        let split = S::split(self.head);
        let end = split.len();
        match slot.state().role() {
            Role::Leecher => self.set(end, slot),
            Role::Seeder => {
                let first_leecher = usize::from(split.seeders);
                if first_leecher < end {
                    self.set(end, self.as_few().get::<S>(first_leecher));
                }
                self.set(first_leecher, slot);
            }
        }
        self.head.count::<S>(slot.state());
    }

    /// Takes out the peer at `index`: the last of its role fills its place, and the last leecher
    /// that of a seeder.
    pub(crate) fn remove<S: FewSlot>(&mut self, index: usize) -> S {
        let split = S::split(self.head);
        let seeders = usize::from(split.seeders);
        let last = split.len() - 1;
        let removed: S = self.as_few().get(index);
        let mut hole = index;
        if hole < seeders {
            self.set(hole, self.as_few().get::<S>(seeders - 1));
            hole = seeders - 1;
            S::split_mut(self.head).seeders -= 1;
        } else {
            S::split_mut(self.head).leechers -= 1;
        }
        self.set(hole, self.as_few().get::<S>(last));
        self.set(last, S::EMPTY);
        self.head.paused -= u16::from(removed.state().is_paused());
        removed
    }

    /// Puts `slot` in place of what the same peer was before.
    pub(crate) fn replace<S: FewSlot>(&mut self, index: usize, slot: S) {
        let old: S = self.as_few().get(index);
        if old.state().role() == slot.state().role() {
            self.head.paused += u16::from(slot.state().is_paused());
            self.head.paused -= u16::from(old.state().is_paused());
            self.set(index, slot);
        } else {
            self.remove::<S>(index);
            self.insert(slot);
        }
    }

    /// Takes out the peers for which `keep` is false.
    pub(crate) fn retain<S: FewSlot>(&mut self, mut keep: impl FnMut(S) -> bool) {
        let mut index = 0;
        while index < S::split(self.head).len() {
            if keep(self.as_few().get(index)) {
                index += 1;
            } else {
                self.remove::<S>(index);
            }
        }
    }

    /// Moves all peers to `to`, which has room for them and is empty.
    pub(crate) fn move_to(&self, to: &mut [u32]) {
        let front = self.head.v4.len() * Slot4::WORDS;
        let back = self.head.v6.len() * Slot6::WORDS;
        to[..front].copy_from_slice(&self.words[..front]);
        let (from_back, to_back) = (self.words.len() - back, to.len() - back);
        to[to_back..].copy_from_slice(&self.words[from_back..]);
    }

    fn set<S: FewSlot>(&mut self, index: usize, slot: S) {
        let at = S::position(index, self.words.len());
        slot.store(&mut self.words[at..]);
    }
}
