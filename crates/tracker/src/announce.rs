//! The announce and the scrape, after the parser and before the writer: the same for every protocol.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_swarm::{Counts, Limits, Now, PeerIds, Peers, Rng, Swarms};

use crate::lock::{Mutex, lock};
use crate::{Counters, Refusal, Rules};

/// An announce over any protocol.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// As the client says.
    pub peer_id: PeerId,
    /// The peer's address, canonical: the source of the packet, or what a trusted proxy says.
    pub address: IpAddr,
    /// The port it listens on; 0 where it does not say.
    pub port: u16,
    /// Bytes missing; `None` where the client does not say, which makes it a leecher.
    pub left: Option<u64>,
    /// Why it announces.
    pub event: Event,
    /// Peers wanted, `None` where the client leaves it to us.
    pub numwant: Option<u32>,
    /// Which families the reply can hold.
    pub families: Families,
}

/// Which families a reply can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// The family of the client's address: UDP.
    Own,
    /// Both, the client's own first: HTTP.
    Both,
}

/// What is told to a client whose announce was granted. The peers are beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Announce again after this many seconds.
    pub interval_secs: u32,
    /// Do not announce again before.
    pub min_interval_secs: u32,
    /// Of the swarm, the client itself included.
    pub counts: Counts,
    /// Something the user should know although the announce was granted.
    pub warning: Option<Warning>,
}

/// Something the user should know although the announce was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The tracker, or the swarm, is full: peers were handed out, but this one is not stored.
    NotStored,
}

/// The swarms and the rules in force, shared by all workers.
pub struct Tracker {
    swarms: Swarms,
    rules: Mutex<Arc<Rules>>,
    counters: Mutex<Vec<Arc<Counters>>>,
}

/// What each worker owns: its random generator, its counters, its copy of the rules, its buffer of
/// peers.
pub struct Worker {
    /// For drawing peers and jitter.
    pub rng: Rng,
    /// This worker's alone to write.
    pub counters: Arc<Counters>,
    /// As of the last [`Tracker::refresh`].
    pub rules: Arc<Rules>,
    /// The peers of the announce being answered.
    pub peers: Peers,
}

impl Tracker {
    /// An empty tracker. `key` is secret and random.
    pub fn new(key: [u8; 16], limits: Limits, peer_ids: PeerIds, rules: Rules) -> Self {
        Self {
            swarms: Swarms::new(key, limits, peer_ids),
            rules: Mutex::new(Arc::new(rules)),
            counters: Mutex::default(),
        }
    }

    /// What a new worker needs. Its counters stay with the tracker after the worker has ended.
    pub fn worker(&self, seed: u64) -> Worker {
        let counters = Arc::<Counters>::default();
        lock(&self.counters).push(Arc::clone(&counters));
        let rules = Arc::clone(&lock(&self.rules));
        Worker { rng: Rng::from_seed(seed), counters, rules, peers: Peers::default() }
    }

    /// The swarms.
    pub fn swarms(&self) -> &Swarms {
        &self.swarms
    }

    /// Announces, leaving the peers to hand out in `worker.peers`.
    pub fn announce(
        &self,
        _now: Now,
        _worker: &mut Worker,
        _announce: &Announce,
    ) -> Result<Announced, Refusal> {
        Err(Refusal::Malformed)
    }
}
