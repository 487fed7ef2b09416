//! What Redis holds, and what the scripts do there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peerage_proto::InfoHash;
use peerage_swarm::Role;
use peerage_tracker::Share;
use peerage_tracker::share::{Answer, Kind, Sampled, SwarmChanges};

/// What a script does in Redis.
#[derive(Clone, Default)]
pub(crate) struct Redis {
    swarms: BTreeMap<InfoHash, RedisSwarm>,
    /// Who each node is, and when it last beat.
    pub(crate) nodes: BTreeMap<u16, (u64, i64)>,
    /// The number given last.
    last: u16,
    /// What each node left with the trip that came last.
    pub(crate) marks: BTreeMap<u64, u64>,
}

/// When a peer was last seen, and the number of the node that told so: the later of two is the
/// greater.
type Score = (u64, u16);

#[derive(Clone, Default)]
struct RedisSwarm {
    peers: BTreeMap<SocketAddr, (Role, Score)>,
    completed: u32,
}

impl Redis {
    pub(crate) fn update(
        &mut self,
        now_secs: u64,
        told: &SwarmChanges,
        share: &Share,
        number: u16,
    ) -> Answer {
        let swarm = self.swarms.entry(told.info_hash).or_default();
        let mut is_shared = false;
        let has = |kind| told.peers.iter().any(|change| change.kind == kind);
        let counted = told.sample || told.completed > 0 || told.completed_floor > 0;
        // Who was seen again replaces what is there by the score, of which the role is the most.
        let is_exact = counted || has(Kind::News) || has(Kind::Left);
        for change in &told.peers {
            let (peer, role) = (change.peer, change.role);
            let score = (share.shared_secs(change.seen), number);
            let before = swarm.peers.get(&peer).copied();
            let is_newer = before.is_none_or(|(was, at)| match change.kind {
                Kind::Left => at.0 <= score.0,
                _ if is_exact => at <= score,
                _ => (was == Role::Seeder, at) < (role == Role::Seeder, score),
            });
            if is_exact && change.kind != Kind::Left {
                let another = before.map(|(_, at)| at.1).filter(|at| *at != number);
                is_shared |= another.is_some_and(|at| share.lives(at));
            }
            match change.kind {
                _ if !is_newer => {}
                Kind::Left => _ = swarm.peers.remove(&peer),
                Kind::News | Kind::Seen => _ = swarm.peers.insert(peer, (role, score)),
            }
        }
        // Where all are those that were just told nobody has expired, and a sample is empty.
        let here = told.peers.iter().filter(|change| change.kind != Kind::Left).count();
        let has_others = here < swarm.peers.len();
        if has_others && (told.sample || told.renews) {
            let expired = now_secs - share.expiry().as_secs();
            let dead = if told.sample { share.dead() } else { Vec::new() };
            swarm.peers.retain(|_, (_, at)| expired <= at.0 && !dead.contains(&at.1));
        }
        swarm.completed = swarm.completed.max(told.completed_floor) + told.completed;
        let of = |(peer, (role, at)): (&SocketAddr, &(Role, Score))| Sampled {
            peer: *peer,
            role: *role,
            seen_secs: at.0,
            is_own: at.1 == number,
        };
        let listed = || swarm.peers.iter().filter(|_| has_others).map(of);
        let is_seeder = |role: &Role| *role == Role::Seeder;
        let seeders = match has_others || is_exact {
            true => swarm.peers.values().filter(|(role, _)| is_seeder(role)).count(),
            false => told.peers.iter().filter(|change| is_seeder(&change.role)).count(),
        };
        Answer {
            seeders: seeders as u32,
            leechers: (swarm.peers.len() - seeders) as u32,
            completed: counted.then_some(swarm.completed),
            is_shared,
            sample: told.sample.then(|| listed().collect()),
        }
    }

    /// Whether a peer is in a swarm.
    pub(crate) fn has(&self, info_hash: &InfoHash, peer: &SocketAddr) -> bool {
        let swarm = self.swarms.get(info_hash);
        swarm.is_some_and(|swarm| swarm.peers.contains_key(peer))
    }

    /// The number of a node, and whether it was known.
    pub(crate) fn beat(&mut self, now_secs: u64, number: Option<u16>, id: u64) -> (u16, bool) {
        let owner = number.and_then(|number| self.nodes.get(&number));
        let known = owner.is_some_and(|owner| owner.0 == id);
        let number = number.filter(|_| known || owner.is_none()).unwrap_or(self.last + 1);
        self.last = self.last.max(number);
        self.nodes.insert(number, (id, now_secs as i64));
        (number, known)
    }
}
