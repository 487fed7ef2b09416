//! What the shards need of the store around them.

use core::hash::Hasher;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use peerage_proto::InfoHash;

use crate::addresses::Addresses;
use crate::slot::{Freshness, HashKey, Slot};
use crate::{Limits, Now, PeerIds, Stored};

/// What is the same for all shards.
pub(crate) struct Shared {
    pub(crate) key: HashKey,
    pub(crate) limits: Limits,
    pub(crate) peer_ids: PeerIds,
    /// In seconds, see [`Limits::peer_timeout`], with which it begins.
    pub(crate) peer_timeout_secs: AtomicU32,
    /// Of all shards together.
    pub(crate) swarms: AtomicU64,
    /// Of all shards together.
    pub(crate) peers: AtomicU64,
    /// In seconds, how long peers learnt from other nodes are kept after they were last vouched
    /// for; 0 in a store that is not shared.
    pub(crate) elsewhere_grace_secs: AtomicU32,
    /// `None` where there is no bound.
    pub(crate) addresses: Option<Addresses>,
}

/// The same, at one instant.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) key: HashKey,
    pub(crate) now: Now,
    pub(crate) fresh: Freshness,
}

impl Shared {
    /// Whether there may be peers of other nodes.
    pub(crate) fn is_shared(&self) -> bool {
        self.elsewhere_grace_secs.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn at(&self, now: Now) -> Context<'_> {
        let grace_secs = self.elsewhere_grace_secs.load(Ordering::Relaxed);
        let grace = Duration::from_secs(grace_secs.into());
        let timeout = self.peer_timeout();
        let fresh = Freshness::new(now, timeout, vouched_age(timeout) + grace);
        Context { shared: self, key: self.key, now, fresh }
    }

    /// After which a peer that was not heard from is no more.
    pub(crate) fn peer_timeout(&self) -> Duration {
        Duration::from_secs(self.peer_timeout_secs.load(Ordering::Relaxed).into())
    }

    /// When a peer of another node, known to be there now, is said to have been seen: as it was,
    /// but not longer ago than it may be without its own node having told that its time is up.
    pub(crate) fn vouched(&self, now: Now, seen: Now) -> Now {
        let age_millis = vouched_age(self.peer_timeout()).as_millis() as u64;
        seen.max(Now::from_millis(now.as_millis().saturating_sub(age_millis))).min(now)
    }

    /// The hash by which a swarm is found.
    pub(crate) fn hash(&self, info_hash: &InfoHash) -> u64 {
        let mut hasher = self.key.hasher();
        hasher.write(&info_hash.0);
        hasher.finish()
    }
}

/// The longest that a node with that timeout keeps a peer of its own: a store is swept in a minute.
fn vouched_age(timeout: Duration) -> Duration {
    timeout + Duration::from_secs(120)
}

impl Context<'_> {
    pub(crate) fn hash(&self, info_hash: &InfoHash) -> u64 {
        self.shared.hash(info_hash)
    }

    /// Whether one more swarm may be, with this peer in it.
    pub(crate) fn has_room_for_swarm_of<S: Slot>(&self, slot: S) -> Stored {
        if self.shared.limits.swarms_max <= self.shared.swarms.load(Ordering::Relaxed) {
            return Stored::Full;
        }
        self.has_room_for(slot, 0)
    }

    /// Whether swarms without peers may be remembered: not when the store is three quarters full,
    /// so that nobody can fill it by finishing torrents of their own making.
    pub(crate) fn has_room_to_spare(&self) -> bool {
        self.shared.swarms.load(Ordering::Relaxed) < self.shared.limits.swarms_max / 4 * 3
    }

    /// Whether one more peer may be stored, in a swarm of `peers` peers.
    pub(crate) fn has_room_for<S: Slot>(&self, slot: S, peers: u64) -> Stored {
        let limits = &self.shared.limits;
        let full = limits.peers_max <= self.shared.peers.load(Ordering::Relaxed);
        let address_full = || {
            self.shared.addresses.as_ref().is_some_and(|addresses| {
                limits.peers_per_address_max <= addresses.count(slot.hash_address(&self.key))
            })
        };
        let per_swarm_max = limits.peers_per_swarm_max.min(Limits::PEERS_PER_SWARM_MAX);
        match () {
            () if full => Stored::Full,
            () if u64::from(per_swarm_max) <= peers => Stored::SwarmFull,
            () if address_full() => Stored::AddressFull,
            () => Stored::AsAsked,
        }
    }

    pub(crate) fn count_peer<S: Slot>(&self, slot: S) {
        self.shared.peers.fetch_add(1, Ordering::Relaxed);
        if let Some(addresses) = &self.shared.addresses {
            addresses.add(slot.hash_address(&self.key));
        }
    }

    pub(crate) fn uncount_peer<S: Slot>(&self, slot: S) {
        self.shared.peers.fetch_sub(1, Ordering::Relaxed);
        if let Some(addresses) = &self.shared.addresses {
            addresses.subtract(slot.hash_address(&self.key));
        }
    }
}
