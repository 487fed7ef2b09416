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
    seeders: BTreeMap<SocketAddr, Score>,
    leechers: BTreeMap<SocketAddr, Score>,
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
        for change in &told.peers {
            let seen_secs = share.shared_secs(change.seen);
            let (own, other) = match change.role {
                Role::Seeder => (&mut swarm.seeders, &mut swarm.leechers),
                Role::Leecher => (&mut swarm.leechers, &mut swarm.seeders),
            };
            let (peer, score) = (change.peer, (seen_secs, number));
            match change.kind {
                Kind::Left => {
                    own.retain(|other, at| *other != peer || at.0 > seen_secs);
                    other.retain(|other, at| *other != peer || at.0 > seen_secs);
                }
                Kind::News if other.get(&peer).is_some_and(|at| *at > score) => {}
                Kind::News | Kind::Seen => {
                    if change.kind == Kind::News {
                        let before = other.remove(&peer).or_else(|| own.get(&peer).copied());
                        let another = before.map(|at| at.1).filter(|at| *at != number);
                        is_shared |= another.is_some_and(|at| share.lives(at));
                    }
                    let at = own.entry(peer).or_default();
                    *at = score.max(*at);
                }
            }
        }
        if told.sample || told.renews {
            let expired = now_secs - share.expiry().as_secs();
            let dead = if told.sample { share.dead() } else { Vec::new() };
            let lives = |at: &Score| expired <= at.0 && !dead.contains(&at.1);
            swarm.seeders.retain(|_, at| lives(at));
            swarm.leechers.retain(|_, at| lives(at));
        }
        swarm.completed = swarm.completed.max(told.completed_floor) + told.completed;
        let sample = || {
            let of = |role| {
                move |(peer, at): (&SocketAddr, &Score)| Sampled {
                    peer: *peer,
                    role,
                    seen_secs: at.0,
                    is_own: at.1 == number,
                }
            };
            let seeders = swarm.seeders.iter().map(of(Role::Seeder));
            seeders.chain(swarm.leechers.iter().map(of(Role::Leecher))).collect()
        };
        let counted = told.sample || told.completed > 0 || told.completed_floor > 0;
        Answer {
            seeders: swarm.seeders.len() as u32,
            leechers: swarm.leechers.len() as u32,
            completed: counted.then_some(swarm.completed),
            is_shared,
            sample: told.sample.then(sample),
        }
    }

    /// Whether a peer is in a swarm.
    pub(crate) fn has(&self, info_hash: &InfoHash, peer: &SocketAddr) -> bool {
        let swarm = self.swarms.get(info_hash);
        swarm.is_some_and(|swarm| {
            swarm.seeders.contains_key(peer) || swarm.leechers.contains_key(peer)
        })
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
