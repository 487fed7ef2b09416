//! Some swarms' part of a trip: a script that updates and asks, its arguments, and its reply.
//!
//! What stands where, and what is told and answered, is said at the top of each layout's script. A
//! key expires after the last of its members has: none keeps another alive.
//!
//! A script costs far more than a command in it, so one call takes many swarms where they are in
//! one place. What fails for one swarm fails for it alone.

use std::net::SocketAddr;

use peerage_proto::InfoHash;
use peerage_swarm::{Now, Role};
use peerage_tracker::Share;
use peerage_tracker::share::{
    Answer, Change, Kind, PEERS_PER_TRIP_MAX, Sampled, SwarmChanges, message,
};
use redis::{Cmd, Value};

use crate::tags::tag;

/// Which keys, members and scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Ours: `1:{tag}info_hash` and `1:{tag}info_hash:c` behind the prefix, so that a swarm is in
    /// one slot, and with it others (see `tags.rs`).
    Own,
    /// llmpt's: `tracker:seeders:`, `tracker:leechers:` and `tracker:stats:`, which its web server
    /// reads, without any prefix. Not for a Cluster: the keys of a swarm are in different slots.
    Llmpt,
}

/// Most swarms in one call, and most peers after which no further swarm goes into it: Redis does
/// nothing else meanwhile, at most some milliseconds.
pub(crate) const SWARMS_PER_CALL_MAX: usize = 32;
pub(crate) const PEERS_PER_CALL_MAX: usize = 500;

/// How long it is kept how often a swarm was finished, since that last changed. Nodes that know of
/// it tell it again.
const COMPLETED_KEPT_SECS: u64 = 30 * 24 * 3600;

/// Bits of a score below the second.
const NODE_BITS: u32 = 16;
/// The bit of a score that seeders have, above the second.
const SEEDER_BIT: u32 = 48;

/// What became of one swarm in Redis.
pub(crate) enum Outcome {
    /// It was updated.
    Answered(Answer),
    /// Redis would not: the first word of what it says.
    Refused(String),
}

/// What a call needs to know besides the swarms.
pub(crate) struct Caller<'a> {
    pub(crate) layout: Layout,
    pub(crate) prefix: &'a str,
    pub(crate) script_hash: &'a str,
    pub(crate) share: &'a Share,
    /// Of this node.
    pub(crate) number: u16,
    /// The nodes that have died.
    pub(crate) dead: &'a str,
    pub(crate) now: Now,
}

impl Layout {
    /// The script.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Own => include_str!("trip/own.lua"),
            Self::Llmpt => include_str!("trip/llmpt.lua"),
        }
    }

    fn key(self, prefix: &str, info_hash: &InfoHash) -> String {
        let hash = hex(info_hash);
        match self {
            Self::Own => format!("{prefix}1:{{{}}}{hash}", tag(info_hash)),
            Self::Llmpt => format!("tracker:seeders:{hash}"),
        }
    }

    fn member(self, peer: SocketAddr) -> Vec<u8> {
        match self {
            Self::Own => {
                let mut member = Vec::with_capacity(18);
                message::write_peer(peer, &mut member);
                member
            }
            Self::Llmpt => peer.to_string().into_bytes(),
        }
    }

    fn peer(self, member: &[u8]) -> Option<SocketAddr> {
        match self {
            Self::Own => message::read_peer(member),
            Self::Llmpt => {
                let peer: SocketAddr = std::str::from_utf8(member).ok()?.parse().ok()?;
                let canonical = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                (peer.port() != 0).then_some(canonical)
            }
        }
    }

    fn score(self, role: Role, seen_secs: u64, number: u16) -> u64 {
        match (self, role) {
            (Self::Own, Role::Leecher) => seen_secs << NODE_BITS | u64::from(number),
            (Self::Own, Role::Seeder) => {
                1 << SEEDER_BIT | self.score(Role::Leecher, seen_secs, number)
            }
            (Self::Llmpt, _) => seen_secs,
        }
    }

    /// What became of each of `told`, in order; fewer where the reply is not one of the script's.
    /// `number` is that by which this node told it.
    pub(crate) fn outcomes(
        self,
        share: &Share,
        number: u16,
        told: &[SwarmChanges],
        reply: Value,
    ) -> Vec<Outcome> {
        let Value::Array(parts) = reply else { return Vec::new() };
        let mut parts = parts.into_iter();
        told.iter().map_while(|told| self.outcome(share, number, told, &mut parts)).collect()
    }

    fn outcome(
        self,
        share: &Share,
        number: u16,
        told: &SwarmChanges,
        parts: &mut impl Iterator<Item = Value>,
    ) -> Option<Outcome> {
        let count = |value: Option<Value>| match value? {
            Value::Int(count) => u32::try_from(count).ok(),
            _ => None,
        };
        let seeders = match parts.next()? {
            Value::Int(seeders) => u32::try_from(seeders).ok()?,
            Value::BulkString(text) => return Some(Outcome::Refused(first_word(&text))),
            _ => return None,
        };
        let leechers = count(parts.next())?;
        let (mut completed, mut is_shared) = (None, false);
        if self == Self::Llmpt || Head::of(told).is_long() {
            let Value::Int(count) = parts.next()? else { return None };
            // Of one that was not looked at the script says -1.
            completed = u32::try_from(count).ok();
        }
        if self == Self::Own && Head::of(told).is_long() {
            let Value::Int(node) = parts.next()? else { return None };
            is_shared = u16::try_from(node).is_ok_and(|node| share.lives(node));
        }
        let sample = match (told.sample, self) {
            (false, _) => None,
            (true, Self::Own) => Some(self.own_sample(&parts.next()?, number)?),
            (true, Self::Llmpt) => Some(self.llmpt_sample(&parts.next()?, &parts.next()?)?),
        };
        Some(Outcome::Answered(Answer { seeders, leechers, completed, is_shared, sample }))
    }

    fn own_sample(self, reply: &Value, number: u16) -> Option<Vec<Sampled>> {
        let read = |(peer, score): (SocketAddr, u64)| {
            let role = match score >> SEEDER_BIT {
                0 => Role::Leecher,
                _ => Role::Seeder,
            };
            let seen_secs = (score & ((1 << SEEDER_BIT) - 1)) >> NODE_BITS;
            // Whether that is the score of the same time by this node.
            let is_own = self.score(role, seen_secs, number) == score;
            Sampled { peer, role, seen_secs, is_own }
        };
        Some(self.read_peers(reply)?.into_iter().map(read).collect())
    }

    fn llmpt_sample(self, seeders: &Value, leechers: &Value) -> Option<Vec<Sampled>> {
        let of = |role| move |(peer, seen_secs)| Sampled { peer, role, seen_secs, is_own: false };
        let seeders = self.read_peers(seeders)?.into_iter().map(of(Role::Seeder));
        let leechers = self.read_peers(leechers)?.into_iter().map(of(Role::Leecher));
        Some(seeders.chain(leechers).collect())
    }

    /// Members and scores in turn. A member that is no peer is passed over: another release, or
    /// another program, may have written it.
    fn read_peers(self, reply: &Value) -> Option<Vec<(SocketAddr, u64)>> {
        let Value::Array(values) = reply else { return None };
        let mut peers = Vec::with_capacity(values.len() / 2);
        for pair in values.chunks_exact(2) {
            let [Value::BulkString(member), Value::BulkString(score)] = pair else { return None };
            let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
            peers.extend(self.peer(member).map(|peer| (peer, score as u64)));
        }
        Some(peers)
    }
}

impl Caller<'_> {
    /// The command that carries the changes of some swarms, all in one place.
    pub(crate) fn command(&self, told: &[SwarmChanges]) -> Cmd {
        let Self { layout, share, .. } = self;
        let expiry_secs = share.expiry().as_secs();
        let expired_secs = share.shared_secs(self.now).saturating_sub(expiry_secs);
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.script_hash).arg(told.len());
        for swarm in told {
            cmd.arg(layout.key(self.prefix, &swarm.info_hash));
        }
        cmd.arg(layout.score(Role::Leecher, expired_secs, 0))
            // Told to live on with every second telling, less than an expiry apart.
            .arg(2 * expiry_secs)
            .arg(COMPLETED_KEPT_SECS)
            .arg(share.options().sample);
        if *layout == Layout::Own {
            // Another each time is all that is asked of what it draws by.
            cmd.arg(self.dead).arg(self.now.as_millis() as u32 >> 1);
        }
        told.iter().for_each(|swarm| self.tell(swarm, &mut cmd));
        cmd
    }

    fn tell(&self, told: &SwarmChanges, cmd: &mut Cmd) {
        let head = Head::of(told);
        match self.layout {
            Layout::Own => {
                cmd.arg(head.bits());
                if head.flags & FINISHED != 0 {
                    cmd.arg(told.completed).arg(told.completed_floor);
                }
            }
            Layout::Llmpt => {
                cmd.arg(&head.here).arg(head.left).arg(u8::from(told.sample));
                cmd.arg(told.completed).arg(told.completed_floor).arg(u8::from(told.renews));
            }
        }
        for change in HERE.iter().flat_map(|&(role, kind)| of(told, role, kind)) {
            let seen_secs = self.share.shared_secs(change.seen);
            let score = self.layout.score(change.role, seen_secs, self.number);
            cmd.arg(score).arg(self.layout.member(change.peer));
        }
        for change in left(told) {
            // Whichever node told of it, and as what.
            let seen_secs = self.share.shared_secs(change.seen);
            let score = self.layout.score(Role::Leecher, seen_secs, u16::MAX);
            cmd.arg(score).arg(self.layout.member(change.peer));
        }
    }
}

/// The order in which a swarm's peers are told, before those that have left.
const HERE: [(Role, Kind); 4] = [
    (Role::Seeder, Kind::Seen),
    (Role::Leecher, Kind::Seen),
    (Role::Seeder, Kind::News),
    (Role::Leecher, Kind::News),
];

fn of(told: &SwarmChanges, role: Role, kind: Kind) -> impl Iterator<Item = &Change> {
    told.peers.iter().filter(move |change| change.role == role && change.kind == kind)
}

fn left(told: &SwarmChanges) -> impl Iterator<Item = &Change> {
    told.peers.iter().filter(|change| change.kind == Kind::Left)
}

/// What a swarm's arguments begin with.
struct Head {
    /// How many of each of [`HERE`].
    here: [usize; 4],
    left: usize,
    flags: usize,
}

/// Some of the told are news.
const NEWS: usize = 1;
const SAMPLE: usize = 2;
const RENEWS: usize = 4;
const FINISHED: usize = 8;

impl Head {
    fn of(told: &SwarmChanges) -> Self {
        let here = HERE.map(|(role, kind)| of(told, role, kind).count());
        let is_finished = told.completed > 0 || told.completed_floor > 0;
        let flags = [
            (here[2] + here[3] > 0, NEWS),
            (told.sample, SAMPLE),
            (told.renews, RENEWS),
            (is_finished, FINISHED),
        ];
        let flags = flags.iter().map(|&(is, flag)| if is { flag } else { 0 }).sum();
        Self { here, left: left(told).count(), flags }
    }

    /// Whether there is more to it than peers that were seen again.
    fn is_long(&self) -> bool {
        self.here == [0; 4] || self.left > 0 || self.flags & !RENEWS > 0
    }

    /// All of it in a number. A trip takes fewer than 512 peers of a swarm.
    fn bits(&self) -> usize {
        self.here.iter().sum::<usize>() | self.left << 9 | self.flags << 18
    }
}

const _: () = assert!(PEERS_PER_TRIP_MAX < 512);

/// Of an error's text.
fn first_word(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let word = text.trim_start_matches('-').split(' ').next();
    word.unwrap_or_default().to_owned()
}

/// In lower case, as llmpt writes it too.
pub(crate) fn hex(info_hash: &InfoHash) -> String {
    let mut hex = String::with_capacity(40);
    for byte in info_hash.0 {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    hex
}

#[cfg(test)]
mod tests;
