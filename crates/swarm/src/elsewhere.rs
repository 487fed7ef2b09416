//! Peers of other nodes: those learnt from them, and what is to be told to them.
//!
//! A peer that clients of another node have announced stands among the others and is handed out
//! like them; what it is says where it comes from. Of what this node tells, such peers are never
//! part. Counts over all nodes are what is held here and what is kept beside it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};
use core::sync::atomic::Ordering;
use core::time::Duration;

use peerage_proto::InfoHash;

use crate::big::Big;
use crate::context::Context;
use crate::entry::Body;
use crate::lock::lock;
use crate::shard::{At, Beyond, PeerSlot, Shard};
use crate::slot::{Slot, Slot4, Slot6, State, Tick};
use crate::swarms::SHARDS;
use crate::{Elsewhere, Find, Hearsay, Held, Learnt, Now, Others, Role, Stored, Swarms, Walked};

/// In a swarm of more peers those of other nodes are not replaced by what is learnt, only added to:
/// each expires by its own time. So is the lock held for some ten microseconds at most.
const REPLACED_PEERS_MAX: u64 = 1024;

impl Swarms {
    /// Into how many parts [`Swarms::walk`] goes.
    pub const WALK_PARTS: u32 = SHARDS as u32;

    /// Keeps peers of other nodes for `grace` after they were last vouched for, by a sample, by
    /// news, or by counts that agree with what is held here, however long ago they were seen. That
    /// makes the store a shared one. With the timeout and two minutes at most four hours, of the
    /// 4.5 that a time is known for; beyond it, peers are dropped that are still there.
    pub fn keep_elsewhere(&self, grace: Duration) {
        let secs = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1);
        self.shared.elsewhere_grace_secs.store(secs, Ordering::Relaxed);
    }

    /// Takes in what all nodes together know of a swarm. Nothing is done for one that is not here.
    pub fn learn(&self, now: Now, learnt: &Learnt<'_>) -> Held {
        let context = self.shared.at(now);
        let hash = self.shared.hash(&learnt.info_hash);
        let mut shard = lock(&self.place(hash).shard);
        let gone = Held { own: Some(0), others: Others::Nobody, agrees: true, completed: 0 };
        let Some(place) = shard.index.find(&learnt.info_hash, hash) else { return gone };
        let others = shard.others(place);
        if let Some(peers) = learnt.peers {
            let replaced = shard.counts(place).peers() <= REPLACED_PEERS_MAX;
            for peer in peers {
                shard.put_elsewhere(&context, place, peer, Word::Sample);
            }
            if replaced {
                let stay: BTreeSet<SocketAddr> = peers.iter().map(|peer| peer.peer).collect();
                self.drop_elsewhere(&context, &mut shard, &learnt.info_hash, |peer| {
                    stay.contains(&peer)
                });
            }
        }
        let Some(place) = shard.index.find(&learnt.info_hash, hash) else { return gone };
        shard.raise_completed(place, learnt.completed);
        let own = shard.set_beyond(&context, place, learnt);
        let agrees = !shard.beyond.contains_key(&learnt.info_hash);
        if agrees && own.is_some() && learnt.peers.is_none() {
            shard.vouch(&context, place);
        }
        let completed = shard.index.entry(place).completed();
        Held { own, others, agrees, completed }
    }

    /// Whether a peer is held of a swarm, whoever told of it.
    pub fn holds(&self, now: Now, info_hash: &InfoHash, peer: SocketAddr) -> bool {
        let context = self.shared.at(now);
        let hash = self.shared.hash(info_hash);
        let shard = lock(&self.place(hash).shard);
        let Some(place) = shard.index.find(info_hash, hash) else { return false };
        match peer {
            SocketAddr::V4(peer) => {
                shard.holds(&context, place, Slot4::of(*peer.ip(), peer.port()))
            }
            SocketAddr::V6(peer) => {
                shard.holds(&context, place, Slot6::of(*peer.ip(), peer.port()))
            }
        }
    }

    /// A swarm that is known here was finished at least so often, over all nodes.
    pub fn learn_completed(&self, info_hash: &InfoHash, completed: u32) {
        let hash = self.shared.hash(info_hash);
        let mut shard = lock(&self.place(hash).shard);
        if let Some(place) = shard.index.find(info_hash, hash) {
            shard.raise_completed(place, completed);
        }
    }

    /// Takes in what another node says of one peer, where the swarm is known here. Of a swarm that
    /// holds `peers_max` peers or more only the counts change.
    ///
    /// Returns whether the counts are in doubt then: those of a swarm whose peers should all be
    /// here, but are not, came after what is heard now, or before it. To be asked about again.
    #[must_use]
    pub fn hear(
        &self,
        now: Now,
        info_hash: &InfoHash,
        said: &Elsewhere,
        what: Hearsay,
        peers_max: u64,
    ) -> bool {
        let context = self.shared.at(now);
        let hash = self.shared.hash(info_hash);
        let mut shard = lock(&self.place(hash).shard);
        let Some(place) = shard.index.find(info_hash, hash) else { return false };
        let is_in_doubt =
            shard.beyond.contains_key(info_hash) && shard.counts(place).peers() < peers_max;
        let known = match said.peer {
            SocketAddr::V4(peer) => {
                let slot = Slot4::of(*peer.ip(), peer.port());
                shard.hear(&context, place, slot, said, what)
            }
            SocketAddr::V6(peer) => {
                let slot = Slot6::of(*peer.ip(), peer.port());
                shard.hear(&context, place, slot, said, what)
            }
        };
        if known {
            if shard.index.find(info_hash, hash).is_none() {
                self.shared.swarms.fetch_sub(1, Ordering::Relaxed);
            }
            return is_in_doubt;
        }
        match what {
            Hearsay::Here { .. } if shard.counts(place).peers() < peers_max => {
                shard.put_elsewhere(&context, place, said, Word::News);
            }
            Hearsay::Here { before } => {
                if let Some(before) = before {
                    shard.add_beyond(info_hash, before, -1);
                }
                shard.add_beyond(info_hash, said.role, 1);
            }
            Hearsay::Left => shard.add_beyond(info_hash, said.role, -1),
        }
        is_in_doubt
    }

    /// Tells `visit` the swarms of one part of the store, from 0 to [`Swarms::WALK_PARTS`], that
    /// have peers to be found, of those that clients of this node have announced, or peers of other
    /// nodes. Small swarms that no client of this node has announced are dropped.
    ///
    /// Holds one lock at a time, of a large swarm for one of its tables at a time.
    pub fn walk(&self, now: Now, part: u32, find: Find, mut visit: impl FnMut(Walked)) {
        let context = self.shared.at(now);
        let place = &self.shards[part as usize % SHARDS];
        let bigs = lock(&place.shard).bigs();
        for number in 0..bigs {
            for table in 0.. {
                let walked = lock(&place.shard).walk_big(&context, number, table, find);
                let Some((walked, has_next)) = walked else { break };
                if walked.is_worth_it() {
                    visit(walked);
                }
                if !has_next {
                    break;
                }
            }
        }
        let mut walked = Vec::new();
        let mut shard = lock(&place.shard);
        for info_hash in shard.walk_small(&context, find, &mut walked) {
            self.drop_elsewhere(&context, &mut shard, &info_hash, |_| false);
            shard.beyond.remove(&info_hash);
        }
        drop(shard);
        walked.into_iter().for_each(visit);
    }

    /// Drops the peers of other nodes for which `stays` is false, and the swarm if it is then
    /// empty and need not be remembered.
    fn drop_elsewhere(
        &self,
        context: &Context<'_>,
        shard: &mut Shard,
        info_hash: &InfoHash,
        stays: impl Fn(SocketAddr) -> bool,
    ) {
        let hash = context.hash(info_hash);
        let Some(place) = shard.index.find(info_hash, hash) else { return };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        shard.for_each::<Slot4>(place, |slot| {
            if slot.state().is_elsewhere() && !stays(slot.address()) {
                v4.push(slot);
            }
        });
        shard.for_each::<Slot6>(place, |slot| {
            if slot.state().is_elsewhere() && !stays(slot.address()) {
                v6.push(slot);
            }
        });
        let any = !v4.is_empty() || !v6.is_empty();
        v4.into_iter().for_each(|slot| shard.take_out(context, info_hash, slot));
        v6.into_iter().for_each(|slot| shard.take_out(context, info_hash, slot));
        if any && shard.index.find(info_hash, hash).is_none() {
            self.shared.swarms.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A slot whose peer has a socket address.
pub(crate) trait Addressed: PeerSlot {
    fn address(self) -> SocketAddr;
}

impl Addressed for Slot4 {
    fn address(self) -> SocketAddr {
        let [a, b, c, d, high, low] = self.compact();
        SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
    }
}

impl Addressed for Slot6 {
    fn address(self) -> SocketAddr {
        let compact = self.compact();
        let (ip, port) = compact.split_last_chunk::<2>().expect("18 is at least 2");
        let ip: [u8; 16] = ip.try_into().expect("18 without 2 are 16");
        SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes(*port)))
    }
}

impl Shard {
    /// What other nodes have of a swarm; of a large one only by the counts.
    fn others(&self, place: usize) -> Others {
        if self.beyond.contains_key(&self.index.entry(place).info_hash) {
            return Others::More;
        }
        if REPLACED_PEERS_MAX < self.counts(place).peers() {
            return Others::Many;
        }
        let mut others = Others::Nobody;
        let mut meet = |state: State| {
            if state.is_elsewhere() {
                others = Others::Held;
            }
        };
        self.for_each::<Slot4>(place, |slot| meet(slot.state()));
        self.for_each::<Slot6>(place, |slot| meet(slot.state()));
        others
    }

    fn holds<S: PeerSlot>(&self, context: &Context<'_>, place: usize, slot: S) -> bool {
        let hash = self.peer_hash(context, place, slot);
        self.find(place, slot, hash, Role::Seeder).is_some()
    }

    /// All peers of other nodes that are held of a swarm are known to be there.
    fn vouch(&mut self, context: &Context<'_>, place: usize) {
        let mut old = Vec::new();
        let mut meet = |peer: SocketAddr, state: State| {
            let seen = seen(context, state);
            if state.is_elsewhere() && seen < context.shared.vouched(context.now, seen) {
                old.push(Elsewhere { peer, role: state.role(), seen });
            }
        };
        self.for_each::<Slot4>(place, |slot| meet(slot.address(), slot.state()));
        self.for_each::<Slot6>(place, |slot| meet(slot.address(), slot.state()));
        for peer in &old {
            self.put_elsewhere(context, place, peer, Word::Sample);
        }
    }

    fn for_each<S: PeerSlot>(&self, place: usize, visit: impl FnMut(S)) {
        match self.big_at(place) {
            Some(big) => S::of(big).for_each(visit),
            None => self.with_few(place, |few| few.iter::<S>().for_each(visit)),
        }
    }

    /// Whether clients of this node have announced to a swarm; always thought so of a large one.
    pub(crate) fn has_own(&self, place: usize) -> bool {
        if self.big_at(place).is_some() {
            return true;
        }
        self.with_few(place, |few| {
            few.iter::<Slot4>().any(|slot| !slot.state().is_elsewhere())
                || few.iter::<Slot6>().any(|slot| !slot.state().is_elsewhere())
        })
    }

    /// Takes out a peer, and its swarm with it where that leaves nothing to remember.
    fn take_out<S: PeerSlot>(&mut self, context: &Context<'_>, info_hash: &InfoHash, slot: S) {
        let Some(place) = self.index.find(info_hash, context.hash(info_hash)) else { return };
        let hash = self.peer_hash(context, place, slot);
        if let Some(at) = self.find(place, slot, hash, slot.state().role()) {
            context.uncount_peer(slot);
            self.ids.remove(&S::id_key(slot.compact(), *info_hash));
            self.take::<S>(context, place, hash, at);
        }
    }

    /// Puts in a peer of another node, unless there is no room for it, or this node has seen it
    /// later.
    fn put_elsewhere(&mut self, context: &Context<'_>, place: usize, peer: &Elsewhere, word: Word) {
        match peer.peer {
            SocketAddr::V4(at) => {
                let slot = Slot4::of(*at.ip(), at.port());
                self.put_elsewhere_as(context, place, slot, peer, word);
            }
            SocketAddr::V6(at) => {
                let slot = Slot6::of(*at.ip(), at.port());
                self.put_elsewhere_as(context, place, slot, peer, word);
            }
        }
    }

    fn put_elsewhere_as<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        slot: S,
        peer: &Elsewhere,
        word: Word,
    ) {
        if slot.is_empty() {
            return;
        }
        let seen = context.shared.vouched(context.now, peer.seen);
        let state = State::elsewhere(Tick::of(seen), peer.role);
        let hash = self.peer_hash(context, place, slot);
        let old = self.find(place, slot, hash, peer.role);
        match old.map(At::state) {
            Some(old) if !old.is_elsewhere() && !word.goes_before(context, old, peer) => {
                return;
            }
            Some(_) => {}
            None => {
                let room = context.has_room_for(slot, self.counts(place).peers());
                if room != Stored::AsAsked {
                    return;
                }
                context.count_peer(slot);
            }
        }
        self.put(context, place, slot.with_state(state), hash, old);
    }

    /// Says whether the peer is known here; it is then what is said of it, unless this node knows
    /// better.
    fn hear<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        slot: S,
        said: &Elsewhere,
        what: Hearsay,
    ) -> bool {
        let hash = self.peer_hash(context, place, slot);
        let Some(at) = self.find(place, slot, hash, said.role) else { return false };
        match what {
            Hearsay::Here { .. } => {
                self.put_elsewhere_as(context, place, slot, said, Word::News);
            }
            Hearsay::Left if is_before(context, said.seen, at.state()) => {}
            Hearsay::Left => {
                let info_hash = self.index.entry(place).info_hash;
                self.take_out(context, &info_hash, slot.with_state(at.state()));
            }
        }
        true
    }

    fn raise_completed(&mut self, place: usize, completed: u32) {
        let entry = self.index.entry_mut(place);
        let before = entry.completed();
        entry.set_completed(before.max(completed));
        self.completed += u64::from(entry.completed() - before);
    }

    fn add_beyond(&mut self, info_hash: &InfoHash, role: Role, change: i32) {
        let beyond = self.beyond.entry(*info_hash).or_default();
        let count = match role {
            Role::Seeder => &mut beyond.seeders,
            Role::Leecher => &mut beyond.leechers,
        };
        // One that has left and is not known here can only be one of those beyond.
        *count = if change < 0 && *count <= 0 { *count } else { *count + change };
        if *beyond == Beyond::default() {
            self.beyond.remove(info_hash);
        }
    }

    /// Makes the counts shown those learnt. Peers held here whose time is up are to go without a
    /// trace, so they count beyond what was learnt until they do. Returns how many peers clients of
    /// this node have announced; `None` where those are too many to be counted.
    fn set_beyond(
        &mut self,
        context: &Context<'_>,
        place: usize,
        learnt: &Learnt<'_>,
    ) -> Option<u64> {
        let counts = self.counts(place);
        let (mut seeders, mut leechers) = (counts.seeders, counts.leechers);
        let mut own = None;
        if counts.peers() <= REPLACED_PEERS_MAX {
            let mut own_here = 0;
            let mut stale = |state: State| {
                own_here += u64::from(!state.is_elsewhere());
                if !context.fresh.holds(state) {
                    match state.role() {
                        Role::Seeder => seeders -= 1,
                        Role::Leecher => leechers -= 1,
                    }
                }
            };
            self.for_each::<Slot4>(place, |slot| stale(slot.state()));
            self.for_each::<Slot6>(place, |slot| stale(slot.state()));
            own = Some(own_here);
        }
        let difference =
            |all: u32, here: u32| i32::try_from(i64::from(all) - i64::from(here)).unwrap_or(0);
        let beyond = Beyond {
            seeders: difference(learnt.seeders, seeders),
            leechers: difference(learnt.leechers, leechers),
        };
        if beyond == Beyond::default() {
            self.beyond.remove(&learnt.info_hash);
        } else {
            self.beyond.insert(learnt.info_hash, beyond);
        }
        own
    }

    /// One part of a large swarm, and whether there is a next one; `None` where there is no such
    /// swarm.
    fn walk_big(
        &self,
        context: &Context<'_>,
        number: usize,
        part: usize,
        find: Find,
    ) -> Option<(Walked, bool)> {
        let big = self.bigs.get(number)?.as_ref()?;
        let place = self.index.find(&big.info_hash, context.hash(&big.info_hash))?;
        let completed = self.index.entry(place).completed();
        let mut walked = Walked::of(big.info_hash, completed);
        let mut own = 0;
        big.v4.for_each_in(part, |slot| walked.meet(context, find, slot, &mut own));
        big.v6.for_each_in(part, |slot| walked.meet(context, find, slot, &mut own));
        if walked.others == Others::Held && REPLACED_PEERS_MAX < self.counts(place).peers() {
            walked.others = Others::Many;
        }
        if self.beyond.contains_key(&big.info_hash) {
            walked.others = Others::More;
        }
        Some((walked, part + 1 < Big::parts(big)))
    }

    /// The small swarms. Returns those that have peers, and none of this node.
    fn walk_small(
        &self,
        context: &Context<'_>,
        find: Find,
        all: &mut Vec<Walked>,
    ) -> Vec<InfoHash> {
        let mut foreign = Vec::new();
        for place in 0..self.index.places() {
            let Some(entry) = self.index.get(place) else { continue };
            if let Body::Big(_) | Body::Empty(_) = entry.body() {
                continue;
            }
            let (info_hash, completed) = (entry.info_hash, entry.completed());
            let mut walked = Walked::of(info_hash, completed);
            let mut own = 0_u32;
            self.with_few(place, |few| {
                few.iter::<Slot4>().for_each(|slot| {
                    walked.meet(context, find, slot, &mut own);
                });
                few.iter::<Slot6>().for_each(|slot| {
                    walked.meet(context, find, slot, &mut own);
                });
            });
            if self.beyond.contains_key(&info_hash) {
                walked.others = Others::More;
            }
            if own == 0 {
                foreign.push(info_hash);
            } else if walked.is_worth_it() {
                all.push(walked);
            }
        }
        foreign
    }
}

impl Walked {
    fn of(info_hash: InfoHash, completed: u32) -> Self {
        Self { info_hash, completed, peers: Vec::new(), others: Others::Nobody }
    }

    fn is_worth_it(&self) -> bool {
        !self.peers.is_empty() || self.others != Others::Nobody
    }

    fn meet<S: Addressed>(&mut self, context: &Context<'_>, find: Find, slot: S, own: &mut u32) {
        let state = slot.state();
        if state.is_elsewhere() {
            self.others = Others::Held;
            return;
        }
        *own += 1;
        let seen = seen(context, state);
        let is_sought = match find {
            Find::All => true,
            Find::SeenSince(since) => since <= seen + STEP,
            Find::Nobody => false,
        };
        if is_sought && context.fresh.holds(state) {
            self.peers.push(Elsewhere { peer: slot.address(), role: state.role(), seen });
        }
    }
}

/// Twice what a time is rounded by.
const STEP: Duration = Duration::from_secs(4);

/// When a peer was last seen, or up to two seconds before.
fn seen(context: &Context<'_>, state: State) -> Now {
    let age = context.fresh.age_secs(state);
    Now::from_millis(context.now.as_secs().saturating_sub(age) / 2 * 2 * 1000)
}

/// When a peer was last seen, or up to four seconds after.
pub(crate) fn certainly_seen(context: &Context<'_>, state: State) -> Now {
    seen(context, state) + STEP
}

/// How another node's word about a peer came, which clients of this node have announced too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It may be what this node told itself: it has to be certainly later.
    Sample,
    /// Something has just happened there: it has to be not certainly before. Where it is not
    /// certainly later either, and of the same role, a client has come to both nodes at once, and
    /// each keeps it.
    News,
}

impl Word {
    fn goes_before(self, context: &Context<'_>, own: State, said: &Elsewhere) -> bool {
        let is_later = seen(context, own) + STEP < said.seen;
        match self {
            Self::Sample => is_later,
            Self::News if own.role() == said.role => is_later,
            Self::News => !is_before(context, said.seen, own),
        }
    }
}

/// Whether `said` is certainly before what `state` says.
fn is_before(context: &Context<'_>, said: Now, state: State) -> bool {
    said + STEP < seen(context, state)
}
