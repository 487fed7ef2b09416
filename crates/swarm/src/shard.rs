//! A part of the store: some hundred swarms behind one lock.
//!
//! A swarm of one or two IPv4 peers lives in its entry, one of up to some thirty in a block of the
//! arena, a larger one in tables of its own.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerage_proto::{InfoHash, PeerId};

use crate::arena::Arena;
use crate::big::{Big, BigSlot, Found};
use crate::context::Context;
use crate::draw::Random;
use crate::entry::{Block, Body};
use crate::few::{FAMILY_PEERS_MAX, Few, FewMut, FewSlot, Head};
use crate::index::Index;
use crate::prefetch::prefetch;
use crate::slot::{HashKey, Slot, Slot4, Slot6, State};
use crate::{Counts, Peers, Role};

/// Peers by family and role.
#[derive(Clone, Copy, Default)]
pub(crate) struct Census {
    pub(crate) v4: Roles,
    pub(crate) v6: Roles,
}

/// Peers by role.
#[derive(Clone, Copy, Default)]
pub(crate) struct Roles {
    pub(crate) seeders: u64,
    pub(crate) leechers: u64,
}

/// A slot of either family, wherever its swarm keeps it.
pub(crate) trait PeerSlot: FewSlot + BigSlot {
    fn census(census: &mut Census) -> &mut Roles;
    /// The key of a peer's peer_id in a shard that keeps them.
    fn id_key(peer: Self::Compact, info_hash: InfoHash) -> IdKey;
    fn ids(peers: &mut Peers) -> &mut Vec<PeerId>;
}

/// A swarm, an address, a port.
pub(crate) type IdKey = (InfoHash, [u8; 18]);

/// What is known of an announce before it is answered.
pub(crate) struct Look {
    pub(crate) role: Role,
    pub(crate) starts: [Random; 2],
    pub(crate) want: usize,
}

#[derive(Default)]
pub(crate) struct Shard {
    pub(crate) index: Index,
    pub(crate) arena: Arena,
    /// By number. In place, not boxed: one cache miss less on the way to their peers.
    pub(crate) bigs: Vec<Option<Big>>,
    pub(crate) bigs_free: Vec<u32>,
    pub(crate) census: Census,
    pub(crate) completed: u64,
    /// Empty where peer_ids are not kept.
    pub(crate) ids: BTreeMap<IdKey, PeerId>,
    /// Of the swarms that have more peers, over all nodes, than are held here, or fewer. Empty
    /// where this node is alone.
    pub(crate) beyond: BTreeMap<InfoHash, Beyond>,
}

/// What is to be added to the counts of what a swarm holds to have those over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    pub(crate) seeders: i32,
    pub(crate) leechers: i32,
}

/// Where a peer was found, true until its swarm is next changed.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// In an entry or a block, at this index of its family.
    Few(usize, State),
    /// In a large swarm.
    Big(Found),
}

impl At {
    pub(crate) fn state(self) -> State {
        match self {
            Self::Few(_, state) => state,
            Self::Big(found) => found.state,
        }
    }
}

impl PeerSlot for Slot4 {
    fn census(census: &mut Census) -> &mut Roles {
        &mut census.v4
    }

    fn id_key(peer: [u8; 6], info_hash: InfoHash) -> IdKey {
        let mut key = [0; 18];
        key[..6].copy_from_slice(&peer);
        (info_hash, key)
    }

    fn ids(peers: &mut Peers) -> &mut Vec<PeerId> {
        &mut peers.ids_v4
    }
}

impl PeerSlot for Slot6 {
    fn census(census: &mut Census) -> &mut Roles {
        &mut census.v6
    }

    fn id_key(peer: [u8; 18], info_hash: InfoHash) -> IdKey {
        (info_hash, peer)
    }

    fn ids(peers: &mut Peers) -> &mut Vec<PeerId> {
        &mut peers.ids_v6
    }
}

impl Census {
    pub(crate) fn count<S: PeerSlot>(&mut self, role: Role) {
        let roles = S::census(self);
        match role {
            Role::Seeder => roles.seeders += 1,
            Role::Leecher => roles.leechers += 1,
        }
    }

    pub(crate) fn uncount<S: PeerSlot>(&mut self, role: Role) {
        let roles = S::census(self);
        match role {
            Role::Seeder => roles.seeders -= 1,
            Role::Leecher => roles.leechers -= 1,
        }
    }
}

impl Shard {
    pub(crate) fn bytes(&self) -> usize {
        let bigs = self.bigs.iter().flatten().map(Big::bytes).sum::<usize>();
        self.index.bytes()
            + self.arena.bytes()
            + bigs
            + self.bigs.capacity() * size_of::<Option<Big>>()
            + self.bigs_free.capacity() * size_of::<u32>()
            + self.ids.len() * size_of::<(IdKey, PeerId)>() * 3 / 2
    }

    pub(crate) fn counts(&self, place: usize) -> Counts {
        let entry = self.index.entry(place);
        match entry.body() {
            Body::Inline(words) => Head::of_inline(&words).counts(entry.completed()),
            Body::Block(block) => block.head.counts(entry.completed()),
            Body::Big(number) => self.big(number).counts(entry.completed()),
            Body::Empty(_) => Head::default().counts(entry.completed()),
        }
    }

    /// The counts over all nodes, as far as is known.
    pub(crate) fn shown(&self, place: usize) -> Counts {
        let counts = self.counts(place);
        if self.beyond.is_empty() {
            return counts;
        }
        let info_hash = &self.index.entry(place).info_hash;
        let beyond = self.beyond.get(info_hash).copied().unwrap_or_default();
        Counts {
            seeders: counts.seeders.saturating_add_signed(beyond.seeders),
            leechers: counts.leechers.saturating_add_signed(beyond.leechers),
            ..counts
        }
    }

    /// IPv4 and IPv6 peers of a swarm.
    pub(crate) fn families(&self, place: usize) -> (u64, u64) {
        let of = |head: Head| (head.v4.len() as u64, head.v6.len() as u64);
        match self.index.entry(place).body() {
            Body::Inline(words) => of(Head::of_inline(&words)),
            Body::Block(block) => of(block.head),
            Body::Big(number) => {
                let big = self.big(number);
                (big.v4.len() as u64, big.v6.len() as u64)
            }
            Body::Empty(_) => (0, 0),
        }
    }

    pub(crate) fn find<S: PeerSlot>(
        &self,
        place: usize,
        peer: S,
        hash: Option<u64>,
        likely: Role,
    ) -> Option<At> {
        if let Body::Big(number) = self.index.entry(place).body() {
            let hash = hash.expect("the peers of a large swarm are looked for by their hash");
            return self.big(number).find(peer, hash, likely).map(At::Big);
        }
        self.with_few(place, |few| {
            few.find(peer).map(|index| At::Few(index, few.get::<S>(index).state()))
        })
    }

    /// Puts in a peer, or what it is now in place of what it was at `old`.
    pub(crate) fn put<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        slot: S,
        hash: Option<u64>,
        old: Option<At>,
    ) {
        if let Some(old) = old {
            self.census.uncount::<S>(old.state().role());
        }
        self.census.count::<S>(slot.state().role());
        if old.is_none() {
            self.make_room::<S>(context, place);
        }
        if let Body::Big(number) = self.index.entry(place).body() {
            let old = old.map(|at| match at {
                At::Big(found) => found,
                At::Few(..) => unreachable!("a swarm is not changed between find and put"),
            });
            // None where the swarm has just become a large one.
            let hash = hash.unwrap_or_else(|| slot.hash(&context.key));
            self.big_mut(number).put(slot, hash, old, &context.key);
            return;
        }
        self.with_few_mut(place, |few| match old {
            Some(At::Few(index, _)) => few.replace(index, slot),
            _ => few.insert(slot),
        });
    }

    /// Takes out the peer found at `at`. A swarm that this leaves empty is dropped, or marked empty
    /// when it has been finished at least once.
    pub(crate) fn take<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        hash: Option<u64>,
        at: At,
    ) {
        self.census.uncount::<S>(at.state().role());
        match (at, self.index.entry(place).body()) {
            (At::Big(found), Body::Big(number)) => {
                let hash = hash.expect("it was found by it");
                self.big_mut(number).remove::<S>(hash, found, &context.key);
            }
            (At::Few(index, _), _) => {
                self.with_few_mut(place, |few| few.remove::<S>(index));
            }
            (At::Big(_), _) => unreachable!("a swarm is not changed between find and take"),
        }
        if self.counts(place).peers() == 0 {
            self.set_empty(context, place);
            if self.index.entry(place).completed() == 0 {
                self.index.remove(place, |info_hash| context.hash(info_hash));
            }
        }
    }

    /// Calls `look` with the swarm at `place`, which is not a large one.
    pub(crate) fn with_few<R>(&self, place: usize, look: impl FnOnce(Few<'_>) -> R) -> R {
        match self.index.entry(place).body() {
            Body::Inline(words) => look(Few { head: Head::of_inline(&words), words: &words }),
            Body::Block(Block { offset, capacity, head }) => {
                look(Few { head, words: self.arena.block(offset, capacity) })
            }
            Body::Empty(_) => look(Few { head: Head::default(), words: &[] }),
            Body::Big(_) => unreachable!("the caller has looked"),
        }
    }

    pub(crate) fn big_at(&self, place: usize) -> Option<&Big> {
        match self.index.entry(place).body() {
            Body::Big(number) => Some(self.big(number)),
            _ => None,
        }
    }

    /// Starts to fetch what an announce of a peer to the swarm at `place` will touch.
    pub(crate) fn prefetch<S: PeerSlot>(&self, key: &HashKey, place: usize, peer: S, look: &Look) {
        match self.index.entry(place).body() {
            Body::Inline(_) | Body::Empty(_) => {}
            Body::Block(block) => {
                let words = self.arena.block(block.offset, block.capacity);
                for line in words.chunks(64 / size_of::<u32>()) {
                    prefetch(line.as_ptr().addr());
                }
            }
            Body::Big(number) => {
                let roles = S::of(self.big(number));
                roles.prefetch(look.role, peer.hash(key), look.starts, look.want);
            }
        }
    }

    pub(crate) fn big(&self, number: u32) -> &Big {
        self.bigs[number as usize].as_ref().expect("an entry names a large swarm that is there")
    }

    fn big_mut(&mut self, number: u32) -> &mut Big {
        self.bigs[number as usize].as_mut().expect("an entry names a large swarm that is there")
    }

    /// Calls `change` with the swarm at `place`, which is not a large one and has words.
    fn with_few_mut<R>(&mut self, place: usize, change: impl FnOnce(&mut FewMut<'_>) -> R) -> R {
        let entry = self.index.entry_mut(place);
        match entry.body() {
            Body::Inline(mut words) => {
                let mut head = Head::of_inline(&words);
                let result = change(&mut FewMut { head: &mut head, words: &mut words });
                entry.set_body(Body::Inline(words));
                result
            }
            Body::Block(mut block) => {
                let words = self.arena.block_mut(block.offset, block.capacity);
                let result = change(&mut FewMut { head: &mut block.head, words });
                entry.set_body(Body::Block(block));
                result
            }
            Body::Empty(_) | Body::Big(_) => unreachable!("the caller has looked"),
        }
    }

    /// Makes room for one more peer of a family, in whatever form the swarm then takes.
    fn make_room<S: PeerSlot>(&mut self, context: &Context<'_>, place: usize) {
        let head = match self.index.entry(place).body() {
            Body::Big(_) => return,
            Body::Empty(_) => {
                self.index.entry_mut(place).set_body(Body::Inline([0; 4]));
                Head::default()
            }
            Body::Inline(words) => Head::of_inline(&words),
            Body::Block(block) => block.head,
        };
        let has_room = self.with_few_mut(place, |few| few.has_room_for::<S>());
        if <S as FewSlot>::split(&head).len() == FAMILY_PEERS_MAX {
            self.make_big(context, place);
        } else if !has_room {
            let words = head.words() + S::WORDS;
            // An eighth of room to grow, at least one more IPv4 peer unless it is the first.
            self.move_to_block(place, head, words + (words / 8).next_multiple_of(2));
        }
    }

    /// Moves a small swarm to a new block of `capacity` words.
    fn move_to_block(&mut self, place: usize, head: Head, capacity: usize) {
        if self.arena.wants_compaction(capacity) {
            self.compact_arena();
        }
        let offset = self.arena.allocate(capacity);
        let block = Block { offset, capacity: capacity as u16, head };
        self.copy_to(place, block);
        self.free_block(place);
        self.index.entry_mut(place).set_body(Body::Block(block));
    }

    /// Copies the peers of the small swarm at `place` to a block of the arena.
    fn copy_to(&mut self, place: usize, block: Block) {
        let Block { offset, capacity, mut head } = block;
        match self.index.entry(place).body() {
            Body::Inline(mut words) => {
                let few = FewMut { head: &mut head, words: &mut words };
                few.move_to(self.arena.block_mut(offset, capacity));
            }
            Body::Block(old) => {
                let mut words = [0; BLOCK_WORDS_MAX];
                let words = &mut words[..old.capacity.into()];
                words.copy_from_slice(self.arena.block(old.offset, old.capacity));
                let few = FewMut { head: &mut head, words };
                few.move_to(self.arena.block_mut(offset, capacity));
            }
            Body::Empty(_) | Body::Big(_) => unreachable!("the caller has looked"),
        }
    }

    fn free_block(&mut self, place: usize) {
        if let Body::Block(block) = self.index.entry(place).body() {
            self.arena.free(block.capacity.into());
        }
    }

    fn make_big(&mut self, context: &Context<'_>, place: usize) {
        let mut big = Big::new(self.index.entry(place).info_hash);
        self.with_few(place, |few| {
            few.iter::<Slot4>().for_each(|slot| {
                big.put(slot, slot.hash(&context.key), None, &context.key);
            });
            few.iter::<Slot6>().for_each(|slot| {
                big.put(slot, slot.hash(&context.key), None, &context.key);
            });
        });
        self.free_block(place);
        let number = self.bigs_free.pop().unwrap_or_else(|| {
            if self.bigs.len() == self.bigs.capacity() {
                self.bigs.reserve_exact(1 + self.bigs.len() / 8);
            }
            self.bigs.push(None);
            u32::try_from(self.bigs.len() - 1).expect("fewer large swarms than swarms")
        });
        self.bigs[number as usize] = Some(big);
        self.index.entry_mut(place).set_body(Body::Big(number));
    }

    /// Makes a large swarm that has become small a small one again.
    pub(crate) fn make_few(&mut self, place: usize, number: u32) {
        let big = self.bigs[number as usize].take().expect("the caller has looked");
        self.bigs_free.push(number);
        let entry = self.index.entry_mut(place);
        entry.set_body(Body::Inline([0; 4]));
        let words = big.v4.len() * Slot4::WORDS + big.v6.len() * Slot6::WORDS;
        if words > 4 || big.v6.len() != 0 {
            self.move_to_block(place, Head::default(), words);
        }
        self.with_few_mut(place, |few| {
            big.v4.for_each(|slot| few.insert(slot));
            big.v6.for_each(|slot| few.insert(slot));
        });
    }

    pub(crate) fn set_empty(&mut self, context: &Context<'_>, place: usize) {
        self.free_block(place);
        if let Body::Big(number) = self.index.entry(place).body() {
            self.bigs[number as usize] = None;
            self.bigs_free.push(number);
        }
        self.index.entry_mut(place).set_body(Body::Empty(context.now.as_secs() as u32));
    }

    pub(crate) fn compact_arena(&mut self) {
        let old = self.arena.compact();
        for entry in self.index.iter_mut() {
            if let Body::Block(mut block) = entry.body() {
                let offset = self.arena.allocate(block.capacity.into());
                let from = old.block(block.offset, block.capacity);
                self.arena.block_mut(offset, block.capacity).copy_from_slice(from);
                block.offset = offset;
                entry.set_body(Body::Block(block));
            }
        }
    }
}

/// What a block can need at most: both families full, and an eighth of room to grow.
const BLOCK_WORDS_MAX: usize = FAMILY_PEERS_MAX * (Slot4::WORDS + Slot6::WORDS) * 9 / 8 + 8;
