//! The store: a first, plain form.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

use peerage_proto::InfoHash;

use crate::lock::{Mutex, lock};
use crate::{
    Announce, Change, Counts, Expired, Limits, Now, PeerIds, Peers, Rng, Role, Stored, Totals,
};

#[derive(Default)]
struct Swarm {
    peers: BTreeMap<SocketAddr, (Role, Now)>,
    completed: u32,
}

/// All swarms.
pub struct Swarms {
    limits: Limits,
    swarms: Mutex<BTreeMap<InfoHash, Swarm>>,
}

impl Swarms {
    /// An empty store. `key` is secret: with it one could choose info_hashes that collide.
    pub fn new(_key: [u8; 16], limits: Limits, _peer_ids: PeerIds) -> Self {
        Self { limits, swarms: Mutex::default() }
    }

    /// Takes in an announce and draws peers for it, uniformly at random: for a leecher seeders and
    /// leechers, for a seeder leechers, for one that leaves none. `peers` is cleared first.
    pub fn announce(
        &self,
        now: Now,
        _rng: &mut Rng,
        announce: &Announce,
        peers: &mut Peers,
    ) -> (Counts, Stored) {
        peers.clear();
        let mut swarms = lock(&self.swarms);
        let swarm = swarms.entry(announce.info_hash).or_default();
        let own = SocketAddr::new(announce.address, announce.port);
        let (role, want) = match announce.change {
            Change::Here { role, completed, .. } => {
                let old = swarm.peers.insert(own, (role, now));
                let was_seeder = old.is_some_and(|(role, _)| role == Role::Seeder);
                if completed && role == Role::Seeder && !was_seeder {
                    swarm.completed += 1;
                }
                (role, announce.want)
            }
            Change::Gone => {
                swarm.peers.remove(&own);
                (Role::Seeder, crate::Want::Own(0))
            }
            Change::Absent { role } => (role, announce.want),
        };
        let (crate::Want::Own(n) | crate::Want::Both(n)) = want;
        let n = n as usize;
        for (address, (peer_role, seen)) in &swarm.peers {
            let fresh = now.since(*seen) <= self.limits.peer_timeout;
            let useful = role == Role::Leecher || *peer_role == Role::Leecher;
            if *address == own || !fresh || !useful {
                continue;
            }
            match address.ip() {
                IpAddr::V4(ip) if peers.v4.len() < n => {
                    let mut peer = [0; 6];
                    peer[..4].copy_from_slice(&ip.octets());
                    peer[4..].copy_from_slice(&address.port().to_be_bytes());
                    peers.v4.push(peer);
                }
                IpAddr::V6(ip) if peers.v6.len() < n => {
                    let mut peer = [0; 18];
                    peer[..16].copy_from_slice(&ip.octets());
                    peer[16..].copy_from_slice(&address.port().to_be_bytes());
                    peers.v6.push(peer);
                }
                _ => {}
            }
        }
        (swarm.counts(), Stored::AsAsked)
    }

    /// The counts of a swarm; all zero for one that is not known.
    pub fn scrape(&self, info_hash: &InfoHash) -> Counts {
        lock(&self.swarms).get(info_hash).map(Swarm::counts).unwrap_or_default()
    }

    /// Starts to bring the memory of a swarm into the cache. Does nothing else.
    pub fn prefetch(&self, _info_hash: &InfoHash) {}

    /// Drops peers not heard from in time, and swarms without peers, in the next part of the store:
    /// `parts` calls go once through all of it. Each call takes one short lock at a time.
    pub fn expire(&self, _now: Now, _parts: u32) -> Expired {
        Expired::default()
    }

    /// Drops every swarm for which `keep` is false. Takes one short lock at a time.
    pub fn retain(&self, mut keep: impl FnMut(&InfoHash) -> bool) -> Expired {
        lock(&self.swarms).retain(|info_hash, _| keep(info_hash));
        Expired::default()
    }

    /// Calls `visit` for each swarm, in no order. Takes one short lock at a time.
    pub fn for_each(&self, mut visit: impl FnMut(&InfoHash, Counts)) {
        for (info_hash, swarm) in lock(&self.swarms).iter() {
            visit(info_hash, swarm.counts());
        }
    }

    /// Calls `visit` for each swarm of the part `part` of `parts`, in no order: a pass over all
    /// parts visits each swarm once. Takes one short lock at a time.
    pub fn for_each_in(&self, part: u32, parts: u32, mut visit: impl FnMut(&InfoHash, Counts)) {
        self.for_each(|info_hash, counts| {
            let [a, b, c, d, ..] = info_hash.0;
            let place = u64::from(u32::from_be_bytes([a, b, c, d])) * u64::from(parts);
            if place >> 32 == u64::from(part) {
                visit(info_hash, counts);
            }
        });
    }

    /// What the store holds.
    pub fn totals(&self) -> Totals {
        Totals { swarms: lock(&self.swarms).len() as u64, ..Totals::default() }
    }
}

impl Swarm {
    fn counts(&self) -> Counts {
        let seeders = self.peers.values().filter(|(role, _)| *role == Role::Seeder).count() as u32;
        let leechers = self.peers.len() as u32 - seeders;
        Counts { seeders, leechers, paused: 0, completed: self.completed }
    }
}
