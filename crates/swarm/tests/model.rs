//! The store against a naive model: random operations from a seed, counts and peers compared after
//! each. A failure names its seed; `PEERAGE_SEED=n` runs that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::{
    Announce, Change, Counts, Limits, Now, PeerIds, Peers, Rng, Role, Stored, Swarms, Want,
};

const LIMITS: Limits = Limits {
    swarms_max: 1000,
    peers_max: 1_000_000,
    peers_per_swarm_max: 100_000,
    peers_per_address_max: 0,
    peer_timeout: Duration::from_secs(1000),
    completed_kept: Duration::from_secs(3000),
};

#[derive(Clone, Copy)]
struct ModelPeer {
    role: Role,
    paused: bool,
    finished: bool,
    seen_secs: u64,
    peer_id: PeerId,
}

#[derive(Default)]
struct ModelSwarm {
    peers: BTreeMap<SocketAddr, ModelPeer>,
    completed: u32,
    empty_since_secs: u64,
}

#[derive(Default)]
struct Model {
    swarms: BTreeMap<InfoHash, ModelSwarm>,
}

impl ModelSwarm {
    fn counts(&self) -> Counts {
        let count = |wanted: fn(&&ModelPeer) -> bool| self.peers.values().filter(wanted).count();
        Counts {
            seeders: count(|peer| peer.role == Role::Seeder) as u32,
            leechers: count(|peer| peer.role == Role::Leecher) as u32,
            paused: count(|peer| peer.paused) as u32,
            completed: self.completed,
        }
    }

    fn forget_if_empty(&mut self, now_secs: u64) {
        if self.peers.is_empty() {
            self.empty_since_secs = now_secs;
        }
    }
}

fn is_fresh(seen_secs: u64, now_secs: u64) -> bool {
    now_secs - seen_secs <= LIMITS.peer_timeout.as_secs()
}

impl Model {
    fn announce(&mut self, now_secs: u64, announce: &Announce) -> Counts {
        let own = SocketAddr::new(announce.address, announce.port);
        match announce.change {
            Change::Here { role, completed, paused } => {
                let swarm = self.swarms.entry(announce.info_hash).or_default();
                let old = swarm.peers.get(&own);
                let was_finished = old.is_some_and(|old| old.finished);
                let finishes = role == Role::Seeder
                    && !was_finished
                    && old.map_or(completed, |old| old.role == Role::Leecher);
                swarm.completed += u32::from(finishes);
                let paused = paused && role == Role::Leecher;
                let finished = was_finished || finishes;
                let peer_id = announce.peer_id;
                let peer = ModelPeer { role, paused, finished, seen_secs: now_secs, peer_id };
                swarm.peers.insert(own, peer);
            }
            Change::Gone => {
                if let Some(swarm) = self.swarms.get_mut(&announce.info_hash) {
                    if swarm.peers.remove(&own).is_some() {
                        swarm.forget_if_empty(now_secs);
                    }
                    if swarm.peers.is_empty() && swarm.completed == 0 {
                        self.swarms.remove(&announce.info_hash);
                    }
                }
            }
            Change::Absent { .. } => {}
        }
        self.swarms.get(&announce.info_hash).map(ModelSwarm::counts).unwrap_or_default()
    }

    fn available(&self, now_secs: u64, announce: &Announce) -> BTreeMap<SocketAddr, ModelPeer> {
        let role = match announce.change {
            Change::Here { role, .. } | Change::Absent { role } => role,
            Change::Gone => return BTreeMap::new(),
        };
        let own = SocketAddr::new(announce.address, announce.port);
        let Some(swarm) = self.swarms.get(&announce.info_hash) else { return BTreeMap::new() };
        let useful = |peer: &ModelPeer| role == Role::Leecher || peer.role == Role::Leecher;
        swarm
            .peers
            .iter()
            .filter(|(address, peer)| {
                **address != own && useful(peer) && is_fresh(peer.seen_secs, now_secs)
            })
            .map(|(address, peer)| (*address, *peer))
            .collect()
    }

    fn expire(&mut self, now_secs: u64) {
        for swarm in self.swarms.values_mut() {
            let had_peers = !swarm.peers.is_empty();
            swarm.peers.retain(|_, peer| is_fresh(peer.seen_secs, now_secs));
            if had_peers {
                swarm.forget_if_empty(now_secs);
            }
        }
        let kept = LIMITS.completed_kept.as_secs();
        self.swarms.retain(|_, swarm| {
            !swarm.peers.is_empty()
                || swarm.completed != 0 && now_secs - swarm.empty_since_secs < kept
        });
    }
}

fn addresses_v4(peers: &Peers) -> Vec<SocketAddr> {
    let address = |peer: &[u8; 6]| {
        let ip = Ipv4Addr::from(*peer.first_chunk::<4>().expect("6 bytes"));
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[4], peer[5]]))
    };
    peers.v4.iter().map(address).collect()
}

fn addresses_v6(peers: &Peers) -> Vec<SocketAddr> {
    let address = |peer: &[u8; 18]| {
        let ip = Ipv6Addr::from(*peer.first_chunk::<16>().expect("18 bytes"));
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[16], peer[17]]))
    };
    peers.v6.iter().map(address).collect()
}

/// Exactly as many peers as wanted and available, each available, none twice.
fn check_peers(
    announce: &Announce,
    peers: &Peers,
    available: &BTreeMap<SocketAddr, ModelPeer>,
    peer_ids: PeerIds,
) {
    let (v4, v6) = (addresses_v4(peers), addresses_v6(peers));
    let available_of = |v4| available.keys().filter(|peer| peer.is_ipv4() == v4).count();
    let (in_v4, in_v6) = (available_of(true), available_of(false));
    let is_v4 = announce.address.is_ipv4();
    let (own, other) = if is_v4 { (&v4, &v6) } else { (&v6, &v4) };
    let (in_own, in_other) = if is_v4 { (in_v4, in_v6) } else { (in_v6, in_v4) };
    match announce.want {
        Want::Own(want) => {
            assert_eq!(own.len(), in_own.min(want as usize));
            assert_eq!(other.len(), 0);
        }
        Want::Both(want) => {
            assert_eq!(own.len(), in_own.min(want as usize));
            assert_eq!(other.len(), in_other.min(want as usize - own.len()));
        }
    }
    let all: BTreeSet<_> = v4.iter().chain(&v6).collect();
    assert_eq!(all.len(), v4.len() + v6.len(), "a peer was handed out twice");
    assert!(all.iter().all(|peer| available.contains_key(peer)), "a peer that is not there");
    if peer_ids == PeerIds::Kept {
        let ids = peers.ids_v4.iter().chain(&peers.ids_v6);
        let addresses = v4.iter().chain(&v6);
        assert!(addresses.zip(ids).all(|(address, id)| available[address].peer_id == *id));
    }
}

/// Swarms of different sizes: each has its own number of addresses that come and go.
const POOLS: [u32; 8] = [1, 2, 3, 6, 30, 80, 400, 3000];

fn random_announce(rng: &mut Rng) -> Announce {
    let swarm = rng.below(POOLS.len() as u32);
    let peer = rng.below(POOLS[swarm as usize]);
    let address: IpAddr = if peer.is_multiple_of(3) {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(peer)).into()
    } else {
        Ipv4Addr::from_bits(0x0a00_0000 + peer).into()
    };
    let role = if rng.below(2) == 0 { Role::Seeder } else { Role::Leecher };
    let change = match rng.below(10) {
        0..=1 => Change::Gone,
        2 => Change::Absent { role },
        _ => Change::Here { role, completed: rng.below(4) == 0, paused: rng.below(4) == 0 },
    };
    let want = if rng.below(8) == 0 { 5000 } else { rng.below(60) };
    Announce {
        info_hash: InfoHash([swarm as u8; 20]),
        address,
        port: 1 + (peer % 7) as u16,
        peer_id: PeerId(core::array::from_fn(|_| rng.below(256) as u8)),
        change,
        want: if rng.below(2) == 0 { Want::Own(want) } else { Want::Both(want) },
        seeds: [0, 0],
    }
}

fn run(seed: u64, operations: u32, peer_ids: PeerIds) {
    let mut rng = Rng::from_seed(seed);
    let mut draw_rng = Rng::from_seed(!seed);
    let swarms = Swarms::new([seed as u8; 16], LIMITS, peer_ids);
    let mut model = Model::default();
    let mut peers = Peers::default();
    let mut now_secs = 1_700_000_000;
    for _ in 0..operations {
        now_secs += u64::from(rng.below(4) / 3 * 2);
        let now = Now::from_millis(now_secs * 1000);
        match rng.below(400) {
            0 => {
                now_secs += u64::from(rng.below(400)) * 2;
            }
            1..=3 => {
                swarms.expire(now, 1, || {});
                model.expire(now_secs);
            }
            4 if rng.below(20) == 0 => {
                let doomed = InfoHash([rng.below(POOLS.len() as u32) as u8; 20]);
                swarms.retain(|info_hash| *info_hash != doomed);
                model.swarms.remove(&doomed);
            }
            _ => {
                let mut announce = random_announce(&mut rng);
                announce.seeds = [draw_rng.next_u64(), draw_rng.next_u64()];
                let key = swarms.key(&announce.info_hash);
                if rng.below(2) == 0 {
                    swarms.prefetch(key);
                    swarms.prefetch_peers(key, &announce);
                }
                let (counts, stored) = swarms.announce(now, key, &announce, &mut peers);
                assert_eq!(stored, Stored::AsAsked);
                assert_eq!(counts, model.announce(now_secs, &announce), "{announce:?}");
                let available = model.available(now_secs, &announce);
                check_peers(&announce, &peers, &available, peer_ids);
            }
        }
        check_totals(&swarms, &model);
    }
}

fn check_totals(swarms: &Swarms, model: &Model) {
    for number in 0..POOLS.len() {
        let info_hash = InfoHash([number as u8; 20]);
        let expected = model.swarms.get(&info_hash).map(ModelSwarm::counts).unwrap_or_default();
        assert_eq!(swarms.scrape(&info_hash), expected);
    }
    if !model.swarms.len().is_multiple_of(4) {
        return;
    }
    let totals = swarms.totals();
    let count = |role, v4| {
        let peers = model.swarms.values().flat_map(|swarm| &swarm.peers);
        peers.filter(|(address, peer)| peer.role == role && address.is_ipv4() == v4).count() as u64
    };
    assert_eq!(totals.swarms, model.swarms.len() as u64);
    assert_eq!(totals.seeders_v4, count(Role::Seeder, true));
    assert_eq!(totals.seeders_v6, count(Role::Seeder, false));
    assert_eq!(totals.leechers_v4, count(Role::Leecher, true));
    assert_eq!(totals.leechers_v6, count(Role::Leecher, false));
    let completed: u32 = model.swarms.values().map(|swarm| swarm.completed).sum();
    assert_eq!(totals.completed, completed.into());
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("PEERAGE_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(Ok(seed)) => seed..seed + 1,
        _ => 0..count,
    }
}

#[test]
fn store_agrees_with_model() {
    for seed in seeds(12) {
        println!("seed {seed}");
        run(seed, 4000, PeerIds::Dropped);
    }
}

#[test]
fn store_that_keeps_peer_ids_agrees_with_model() {
    for seed in seeds(4) {
        println!("seed {seed}");
        run(seed, 4000, PeerIds::Kept);
    }
}
