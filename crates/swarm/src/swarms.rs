//! The store: many shards, each behind a lock of its own, found by the info_hash's keyed hash.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use peerage_proto::{InfoHash, PeerId};

use crate::addresses::Addresses;
use crate::context::{Context, Shared};
use crate::draw::{Draw, Random};
use crate::entry::Entry;
use crate::index;
use crate::lock::{Mutex, lock};
use crate::prefetch::prefetch;
use crate::shard::{At, Look, PeerSlot, Shard};
use crate::slot::{HashKey, Slot, Slot4, Slot6, State, Tick};
use crate::{
    Announce, Change, Counts, Effect, Expired, Limits, News, Now, PeerIds, Peers, Rng, Role,
    Stored, SwarmKey, Totals, View, Want,
};

/// All swarms. Shared by all workers: each call locks one shard at a time, for one swarm's work or
/// for a bounded slice of upkeep, and never while it waits for anything else.
pub struct Swarms {
    pub(crate) shared: Shared,
    pub(crate) shards: Box<[Place]>,
    /// Of each shard. Apart from them, so that all hints fit the second-level cache.
    hints: Box<[Hint]>,
    /// Where [`Swarms::expire`] goes on.
    expire_next: AtomicUsize,
}

/// Chosen by the hash's top bits.
const SHARD_BITS: u32 = 11;
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

/// A shard and its lock.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Place {
    pub(crate) shard: Mutex<Shard>,
}

/// Where the tables of a shard's index stood when its lock was last released: for
/// [`Swarms::prefetch`], which takes no lock. An old one does no harm.
#[derive(Default)]
struct Hint {
    tags: AtomicUsize,
    entries: AtomicUsize,
    places: AtomicU32,
}

impl Swarms {
    /// An empty store. `key` is secret: with it one could choose info_hashes that collide.
    pub fn new(key: [u8; 16], limits: Limits, peer_ids: PeerIds) -> Self {
        let addresses = (limits.peers_per_address_max != 0).then(Addresses::new);
        let peer_timeout_secs = AtomicU32::new(whole_secs(limits.peer_timeout));
        let shared = Shared {
            key: HashKey(key),
            peer_timeout_secs,
            limits,
            peer_ids,
            swarms: AtomicU64::new(0),
            peers: AtomicU64::new(0),
            elsewhere_grace_secs: AtomicU32::new(0),
            addresses,
        };
        let shards = (0..SHARDS).map(|_| Place::default()).collect();
        let hints = (0..SHARDS).map(|_| Hint::default()).collect();
        Self { shared, shards, hints, expire_next: AtomicUsize::new(0) }
    }

    /// Takes in an announce and draws peers for it, uniformly at random: for a leecher seeders and
    /// leechers, for a seeder leechers, for one that leaves none. `peers` is cleared first.
    ///
    /// `key` is that of the announce's info_hash, see [`Swarms::key`].
    pub fn announce(
        &self,
        now: Now,
        key: SwarmKey,
        announce: &Announce,
        peers: &mut Peers,
    ) -> (Counts, Stored) {
        let (counts, stored, _) = self.announce_with_effect(now, key, announce, peers);
        (counts, stored)
    }

    /// As [`Swarms::announce`]; tells besides what it did to its swarm.
    #[inline]
    pub fn announce_with_effect(
        &self,
        now: Now,
        key: SwarmKey,
        announce: &Announce,
        peers: &mut Peers,
    ) -> (Counts, Stored, Effect) {
        peers.clear();
        let context = self.shared.at(now);
        match announce.address {
            IpAddr::V4(ip) => {
                let slot = Slot4::of(ip, announce.port);
                self.announce_as(&context, key.0, announce, slot, Slot6::EMPTY, peers)
            }
            IpAddr::V6(ip) => {
                let slot = Slot6::of(ip, announce.port);
                self.announce_as(&context, key.0, announce, slot, Slot4::EMPTY, peers)
            }
        }
    }

    /// Where a swarm is looked for.
    pub fn key(&self, info_hash: &InfoHash) -> SwarmKey {
        SwarmKey(self.shared.hash(info_hash))
    }

    /// Starts to fetch the memory by which a swarm is found. Does nothing else, and takes no lock.
    pub fn prefetch(&self, key: SwarmKey) {
        let shard = shard_of(key.0);
        let place = (&raw const self.shards[shard]).addr();
        (0..size_of::<Place>()).step_by(64).for_each(|offset| prefetch(place + offset));
        let hint = &self.hints[shard];
        let home = index::home(key.0, hint.places.load(Ordering::Relaxed) as usize);
        prefetch(hint.tags.load(Ordering::Relaxed) + home);
        let entry = hint.entries.load(Ordering::Relaxed) + home * size_of::<Entry>();
        prefetch(entry);
        prefetch(entry + 64);
    }

    /// Starts to fetch the peers that an announce will touch, to be called for a whole batch
    /// between [`Swarms::prefetch`] and [`Swarms::announce`]. Does nothing else, under a short
    /// lock.
    pub fn prefetch_peers(&self, key: SwarmKey, announce: &Announce) {
        let (Want::Own(want) | Want::Both(want)) = announce.want;
        let (role, want) = match announce.change {
            Change::Here { role, .. } | Change::Absent { role } => (role, want as usize),
            Change::Gone => (Role::Leecher, 0),
        };
        let look = Look { role, starts: announce.seeds.map(Random), want };
        let shard = lock(&self.place(key.0).shard);
        let Some(place) = shard.index.find(&announce.info_hash, key.0) else { return };
        let key = &self.shared.key;
        match announce.address {
            IpAddr::V4(ip) => shard.prefetch(key, place, Slot4::of(ip, announce.port), &look),
            IpAddr::V6(ip) => shard.prefetch(key, place, Slot6::of(ip, announce.port), &look),
        }
    }

    /// After which a peer that was not heard from is no longer handed out.
    pub fn peer_timeout(&self) -> Duration {
        self.shared.peer_timeout()
    }

    /// Changes what [`Limits::peer_timeout`] says, from the next announce on.
    pub fn set_peer_timeout(&self, timeout: Duration) {
        self.shared.peer_timeout_secs.store(whole_secs(timeout), Ordering::Relaxed);
    }

    /// The counts of a swarm; all zero for one that is not known.
    pub fn scrape(&self, info_hash: &InfoHash) -> Counts {
        let hash = self.shared.hash(info_hash);
        let shard = lock(&self.place(hash).shard);
        shard.index.find(info_hash, hash).map(|place| shard.shown(place)).unwrap_or_default()
    }

    /// Drops peers not heard from in time, and swarms without peers, in the next part of the store:
    /// `parts` calls go once through all of it. Each peer must be passed at least once in half an
    /// hour.
    ///
    /// Locks one shard at a time, and for a huge swarm only one of its tables at a time. `pause` is
    /// called between two tables, with no lock held: a lock that is taken again at once goes to
    /// whoever has it in cache, and an announce that waits for it would wait for all tables. It
    /// should let a waiting thread wake up, which takes some ten microseconds.
    pub fn expire(&self, now: Now, parts: u32, mut pause: impl FnMut()) -> Expired {
        let context = self.shared.at(now);
        let mut expired = Expired::default();
        let count = SHARDS.div_ceil(parts.max(1) as usize);
        for _ in 0..count {
            let shard = self.expire_next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            self.expire_shard(&context, shard, &mut pause, &mut expired);
        }
        expired
    }

    /// What there is of one swarm; `None` for one that is not known.
    pub fn look(&self, info_hash: &InfoHash) -> Option<View> {
        let hash = self.shared.hash(info_hash);
        let shard = lock(&self.place(hash).shard);
        let place = shard.index.find(info_hash, hash)?;
        let (peers_v4, peers_v6) = shard.families(place);
        Some(View { counts: shard.shown(place), peers_v4, peers_v6 })
    }

    /// Drops one swarm. Holds the lock of its shard while it goes once through the shard's index,
    /// some ten microseconds in a store of ten million swarms.
    pub fn remove(&self, info_hash: &InfoHash) -> Expired {
        let hash = self.shared.hash(info_hash);
        let (place, hint) = (self.place(hash), &self.hints[shard_of(hash)]);
        let mut expired = Expired::default();
        let mut shard = lock(&place.shard);
        if shard.index.find(info_hash, hash).is_some() {
            let context = self.shared.at(Now::default());
            shard.retain(&context, |other| other != info_hash, &mut expired);
            hint.set(&shard);
            self.shared.swarms.fetch_sub(expired.swarms, Ordering::Relaxed);
        }
        expired
    }

    /// Drops every swarm for which `keep` is false. Locks one shard at a time.
    pub fn retain(&self, mut keep: impl FnMut(&InfoHash) -> bool) -> Expired {
        let context = self.shared.at(Now::default());
        let mut expired = Expired::default();
        for (place, hint) in self.shards.iter().zip(&self.hints) {
            let before = expired.swarms;
            let mut shard = lock(&place.shard);
            shard.retain(&context, &mut keep, &mut expired);
            hint.set(&shard);
            self.shared.swarms.fetch_sub(expired.swarms - before, Ordering::Relaxed);
        }
        expired
    }

    /// Calls `visit` for each swarm of one part of the store, in no order: of `parts` parts, the
    /// one numbered `part`, from 0. Holds one lock at a time while it does.
    pub fn for_each_in(&self, part: u32, parts: u32, mut visit: impl FnMut(&InfoHash, Counts)) {
        let cut = |part: u32| part as usize * SHARDS / parts.max(1) as usize;
        for place in &self.shards[cut(part).min(SHARDS)..cut(part + 1).min(SHARDS)] {
            let shard = lock(&place.shard);
            for place in 0..shard.index.places() {
                if let Some(entry) = shard.index.get(place) {
                    visit(&entry.info_hash, shard.shown(place));
                }
            }
        }
    }

    /// What the store holds. Locks each shard in turn: some ten microseconds in all.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for place in &self.shards {
            let shard = lock(&place.shard);
            totals.swarms += shard.index.len() as u64;
            totals.seeders_v4 += shard.census.v4.seeders;
            totals.seeders_v6 += shard.census.v6.seeders;
            totals.leechers_v4 += shard.census.v4.leechers;
            totals.leechers_v6 += shard.census.v6.leechers;
            totals.completed += shard.completed;
            totals.bytes += (size_of::<Place>() + shard.bytes()) as u64;
        }
        totals
    }

    pub(crate) fn place(&self, hash: u64) -> &Place {
        &self.shards[shard_of(hash)]
    }

    fn announce_as<S: PeerSlot, Other: PeerSlot>(
        &self,
        context: &Context<'_>,
        hash: u64,
        announce: &Announce,
        peer: S,
        nobody: Other,
        peers: &mut Peers,
    ) -> (Counts, Stored, Effect) {
        let mut shard = lock(&self.place(hash).shard);
        let found = shard.index.find(&announce.info_hash, hash);
        let (place, stored, effect) = match announce.change {
            Change::Here { role, completed, paused } => {
                let place = match found {
                    Some(place) => place,
                    None => match context.has_room_for_swarm_of(peer) {
                        Stored::AsAsked => {
                            self.add_swarm(context, &mut shard, announce.info_hash, hash)
                        }
                        stored => return (Counts::default(), stored, Effect::default()),
                    },
                };
                let arrival = Arrival { peer, role, completed, paused };
                let (stored, effect) = shard.arrive(context, place, &arrival, announce);
                (place, stored, effect)
            }
            Change::Gone => {
                let mut effect = Effect { news: News::Left, ..Effect::default() };
                if announce.port == 0 {
                    effect.news = News::Nothing;
                }
                let mut before = None;
                let place = found
                    .and_then(|place| shard.leave(context, place, peer, announce, &mut before));
                effect.before = before.map(State::role);
                effect.elsewhere = before.is_none_or(State::is_elsewhere);
                let counts = place.map(|place| shard.shown(place)).unwrap_or_default();
                if found.is_some() && place.is_none() {
                    self.shared.swarms.fetch_sub(1, Ordering::Relaxed);
                }
                return (counts, Stored::AsAsked, effect);
            }
            Change::Absent { .. } => match found {
                Some(place) => (place, Stored::AsAsked, Effect::default()),
                None => return (Counts::default(), Stored::AsAsked, Effect::default()),
            },
        };
        let role = match announce.change {
            Change::Here { role, .. } | Change::Absent { role } => role,
            Change::Gone => unreachable!("answered above"),
        };
        let (Want::Own(want) | Want::Both(want)) = announce.want;
        let want = want as usize;
        let look = Look { role, starts: announce.seeds.map(Random), want };
        shard.draw(context, place, &look, peer, peers);
        if let Want::Both(_) = announce.want {
            let rest = Look { want: want - S::list(peers).len(), ..look };
            shard.draw(context, place, &rest, nobody, peers);
        }
        (shard.shown(place), stored, effect)
    }

    pub(crate) fn add_swarm(
        &self,
        context: &Context<'_>,
        shard: &mut Shard,
        info_hash: InfoHash,
        hash: u64,
    ) -> usize {
        self.shared.swarms.fetch_add(1, Ordering::Relaxed);
        let rehash = |info_hash: &InfoHash| context.hash(info_hash);
        let place = shard.index.insert(Entry::new(info_hash), hash, rehash);
        self.hints[shard_of(hash)].set(shard);
        place
    }

    fn expire_shard(
        &self,
        context: &Context<'_>,
        shard: usize,
        pause: &mut impl FnMut(),
        expired: &mut Expired,
    ) {
        let (place, hint) = (&self.shards[shard], &self.hints[shard]);
        let bigs = lock(&place.shard).bigs();
        for number in 0..bigs {
            let mut part = 0;
            while lock(&place.shard).expire_big(context, number, part, expired) {
                part += 1;
                pause();
            }
        }
        let before = expired.swarms;
        let mut shard = lock(&place.shard);
        shard.expire_small(context, expired);
        hint.set(&shard);
        self.shared.swarms.fetch_sub(expired.swarms - before, Ordering::Relaxed);
    }
}

/// Seconds of a timeout, which is cut to two hours where it is used.
fn whole_secs(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)
}

fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

impl Hint {
    fn set(&self, shard: &Shard) {
        self.tags.store(shard.index.tags_address(), Ordering::Relaxed);
        self.entries.store(shard.index.entries_address(), Ordering::Relaxed);
        self.places.store(shard.index.places() as u32, Ordering::Relaxed);
    }
}

/// A peer that takes part.
struct Arrival<S> {
    peer: S,
    role: Role,
    completed: bool,
    paused: bool,
}

impl Shard {
    fn arrive<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        arrival: &Arrival<S>,
        announce: &Announce,
    ) -> (Stored, Effect) {
        let &Arrival { peer, role, completed, paused } = arrival;
        let hash = self.peer_hash(context, place, peer);
        let old = self.find(place, peer, hash, role);
        let mut first = old.is_some_and(|at| at.state().is_elsewhere());
        if old.is_none() {
            let peers = self.counts(place).peers();
            let stored = context.has_room_for(peer, peers);
            if stored != Stored::AsAsked {
                return (stored, Effect::default());
            }
            context.count_peer(peer);
            first = peers == 0 || context.shared.is_shared();
        }
        first &= !self.has_own(place);
        let was_finished = old.is_some_and(|at| at.state().is_finished());
        let finishes = role == Role::Seeder
            && !was_finished
            && old.map_or(completed, |at| at.state().role() == Role::Leecher);
        if finishes {
            self.index.entry_mut(place).add_completed();
            self.completed += 1;
        }
        let paused = paused && role == Role::Leecher;
        let seen = Tick::of(context.now);
        let state = State::new(seen, role, paused, was_finished || finishes);
        self.put(context, place, peer.with_state(state), hash, old);
        if context.shared.peer_ids == PeerIds::Kept {
            self.ids.insert(S::id_key(peer.compact(), announce.info_hash), announce.peer_id);
        }
        let before = old.map(At::state);
        let news = match before {
            Some(before) if before.is_elsewhere() => News::Joined,
            Some(before) if before.role() != role => News::Changed,
            Some(_) => News::Nothing,
            None => News::Joined,
        };
        let elsewhere = before.is_some_and(State::is_elsewhere);
        let before = before.map(State::role);
        (Stored::AsAsked, Effect { news, before, elsewhere, finished: finishes, first })
    }

    /// Takes a peer out. Says where the swarm is, `None` if it is no longer.
    fn leave<S: PeerSlot>(
        &mut self,
        context: &Context<'_>,
        place: usize,
        peer: S,
        announce: &Announce,
        before: &mut Option<State>,
    ) -> Option<usize> {
        // Who listens on no port is no peer; and 0.0.0.0 without a port would be an empty place.
        if announce.port == 0 {
            return Some(place);
        }
        let hash = self.peer_hash(context, place, peer);
        if let Some(at) = self.find(place, peer, hash, Role::Leecher) {
            *before = Some(at.state());
            context.uncount_peer(peer);
            self.ids.remove(&S::id_key(peer.compact(), announce.info_hash));
            self.take::<S>(context, place, hash, at);
        }
        self.index.find(&announce.info_hash, context.hash(&announce.info_hash))
    }

    fn draw<S: PeerSlot>(
        &self,
        context: &Context<'_>,
        place: usize,
        look: &Look,
        own: S,
        peers: &mut Peers,
    ) {
        let &Look { role, starts, want: out_max } = look;
        if out_max == 0 {
            return;
        }
        let rng = Rng::from_seed(starts[0].0 ^ starts[1].0);
        let mut draw =
            Draw { rng, starts, fresh: context.fresh, own, out: S::list(peers), out_max };
        match self.big_at(place) {
            Some(big) => S::of(big).draw(role, &mut draw),
            None => self.with_few(place, |few| few.draw(role, &mut draw)),
        }
        if context.shared.peer_ids == PeerIds::Kept {
            self.add_ids::<S>(self.index.entry(place).info_hash, peers);
        }
    }

    fn add_ids<S: PeerSlot>(&self, info_hash: InfoHash, peers: &mut Peers) {
        let unknown = PeerId([0; 20]);
        let ids = S::list(peers)
            .iter()
            .map(|peer| self.ids.get(&S::id_key(*peer, info_hash)).copied().unwrap_or(unknown))
            .collect();
        *S::ids(peers) = ids;
    }

    /// The hash of a peer; only a large swarm needs it.
    pub(crate) fn peer_hash<S: PeerSlot>(
        &self,
        context: &Context<'_>,
        place: usize,
        peer: S,
    ) -> Option<u64> {
        self.big_at(place).map(|_| peer.hash(&context.key))
    }
}
