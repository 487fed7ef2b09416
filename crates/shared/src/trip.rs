//! One swarm's part of a trip: a script that updates and asks in one step, its arguments, and its
//! reply.
//!
//! A swarm is two sorted sets, seeders and leechers, whose members are peers and whose scores are
//! seconds since 1970, and how often it was finished. In our own layout a member is a compact peer
//! and its score is when it expires; in llmpt's a member is text and its score is when it was last
//! seen. A key expires when the last of its members has: none keeps another alive.

use std::net::SocketAddr;

use peerage_proto::InfoHash;
use peerage_swarm::Role;
use peerage_tracker::Share;
use peerage_tracker::share::{Answer, Change, Kind, Sampled, SwarmChanges, message};
use redis::{Cmd, Value};

/// Which keys, members and scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Ours: `1:{info_hash}:s`, `:l` and `:c` behind the prefix, so that a swarm is in one slot.
    Own,
    /// llmpt's: `tracker:seeders:`, `tracker:leechers:` and `tracker:stats:`, which its web server
    /// reads, without any prefix. Not for a Cluster: the keys of a swarm are in different slots.
    Llmpt,
}

/// How long it is kept how often a swarm was finished, since that was last told.
const COMPLETED_KEPT_SECS: u64 = 30 * 24 * 3600;

/// What every layout does. `KEYS`: seeders, leechers, the count. `ARGV`: the score up to which
/// members have expired, how long keys live, the size of the sample, how often finished, how often
/// before at least, how long that is kept, and the numbers of what follows: seeders and leechers
/// seen again, seeders and leechers that are news, peers that have left. Each is a score and a
/// member; one that is older than what is there changes nothing.
const UPDATE: &str = r"
local s, l, c = KEYS[1], KEYS[2], KEYS[3]
local call, at = redis.call, 12
call('ZREMRANGEBYSCORE', s, '-inf', ARGV[1])
call('ZREMRANGEBYSCORE', l, '-inf', ARGV[1])
local function seen(key, count)
  if count > 0 then
    call('ZADD', key, 'GT', unpack(ARGV, at, at + 2 * count - 1))
    call('EXPIRE', key, ARGV[2])
    at = at + 2 * count
  end
end
local function news(key, other, count)
  for _ = 1, count do
    local score, member = ARGV[at], ARGV[at + 1]
    local old = call('ZSCORE', other, member)
    if not old or tonumber(old) <= tonumber(score) then
      if old then call('ZREM', other, member) end
      call('ZADD', key, 'GT', score, member)
    end
    at = at + 2
  end
  if count > 0 then call('EXPIRE', key, ARGV[2]) end
end
seen(s, tonumber(ARGV[7]))
seen(l, tonumber(ARGV[8]))
news(s, l, tonumber(ARGV[9]))
news(l, s, tonumber(ARGV[10]))
for _ = 1, tonumber(ARGV[11]) do
  local score, member = ARGV[at], ARGV[at + 1]
  for _, key in ipairs({s, l}) do
    local old = call('ZSCORE', key, member)
    if old and tonumber(old) <= tonumber(score) then call('ZREM', key, member) end
  end
  at = at + 2
end
local seeders, leechers = call('ZCARD', s), call('ZCARD', l)
local more, floor = tonumber(ARGV[4]), tonumber(ARGV[5])
";

const COMPLETED_OWN: &str = r"
local have = tonumber(call('GET', c) or 0)
local completed = math.max(have, floor) + more
if completed > have then
  call('SET', c, completed, 'EX', ARGV[6])
elseif have > 0 then
  call('EXPIRE', c, ARGV[6])
end
";

/// The index of swarms is what llmpt's own cleaner goes through, and takes out of.
const COMPLETED_LLMPT: &str = r"
local have = tonumber(call('HGET', c, 'completed') or 0)
local completed = math.max(have, floor) + more
if seeders + leechers + completed > 0 then
  call('HSET', c, 'seeders', seeders, 'leechers', leechers, 'completed', completed)
  call('EXPIRE', c, ARGV[6])
end
if seeders + leechers > 0 then
  call('SADD', KEYS[4], string.match(s, '%x+$'))
end
";

const SAMPLE: &str = r"
local size = tonumber(ARGV[3])
if size == 0 then return {seeders, leechers, completed} end
local of_s = math.min(seeders, math.max(math.floor(size / 2), size - leechers))
local of_l = math.min(leechers, size - of_s)
return {
  seeders, leechers, completed,
  of_s > 0 and call('ZRANDMEMBER', s, of_s, 'WITHSCORES') or {},
  of_l > 0 and call('ZRANDMEMBER', l, of_l, 'WITHSCORES') or {},
}
";

impl Layout {
    /// The script.
    pub(crate) fn script(self) -> String {
        let completed = match self {
            Self::Own => COMPLETED_OWN,
            Self::Llmpt => COMPLETED_LLMPT,
        };
        [UPDATE, completed, SAMPLE].concat()
    }

    fn keys(self, prefix: &str, info_hash: &InfoHash) -> Vec<String> {
        let hash = hex(info_hash);
        match self {
            Self::Own => ["s", "l", "c"].map(|end| format!("{prefix}1:{{{hash}}}:{end}")).to_vec(),
            Self::Llmpt => vec![
                format!("tracker:seeders:{hash}"),
                format!("tracker:leechers:{hash}"),
                format!("tracker:stats:{hash}"),
                "tracker:active_torrents".to_owned(),
            ],
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

    /// By how much the time a peer expires is later than its score.
    fn score_lag_secs(self, share: &Share) -> u64 {
        match self {
            Self::Own => 0,
            Self::Llmpt => share.options().expiry.as_secs(),
        }
    }

    /// The command that carries the changes of one swarm.
    pub(crate) fn command(
        self,
        prefix: &str,
        script_hash: &str,
        share: &Share,
        now_secs: u64,
        told: &SwarmChanges,
    ) -> Cmd {
        let lag_secs = self.score_lag_secs(share);
        let keys = self.keys(prefix, &told.info_hash);
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script_hash).arg(keys.len()).arg(keys);
        let of = |role, kind| {
            told.peers.iter().filter(move |change| change.role == role && change.kind == kind)
        };
        let left = told.peers.iter().filter(|change| change.kind == Kind::Left);
        cmd.arg(now_secs.saturating_sub(lag_secs))
            .arg(share.options().expiry.as_secs() + 1)
            .arg(if told.sample { share.options().sample } else { 0 })
            .arg(told.completed)
            .arg(told.completed_floor)
            .arg(COMPLETED_KEPT_SECS)
            .arg(of(Role::Seeder, Kind::Seen).count())
            .arg(of(Role::Leecher, Kind::Seen).count())
            .arg(of(Role::Seeder, Kind::News).count())
            .arg(of(Role::Leecher, Kind::News).count())
            .arg(left.clone().count());
        let mut tell = |change: &Change| {
            let score = share.expires_secs(change.seen).saturating_sub(lag_secs);
            cmd.arg(score).arg(self.member(change.peer));
        };
        of(Role::Seeder, Kind::Seen).for_each(&mut tell);
        of(Role::Leecher, Kind::Seen).for_each(&mut tell);
        of(Role::Seeder, Kind::News).for_each(&mut tell);
        of(Role::Leecher, Kind::News).for_each(&mut tell);
        left.for_each(&mut tell);
        cmd
    }

    /// What the reply says; `None` where it is not one of the script's.
    pub(crate) fn answer(self, share: &Share, reply: &Value) -> Option<Answer> {
        let Value::Array(parts) = reply else { return None };
        let count = |value: &Value| match value {
            Value::Int(count) => u32::try_from(*count).ok(),
            _ => None,
        };
        let [seeders, leechers, completed, rest @ ..] = &parts[..] else { return None };
        let mut answer = Answer {
            seeders: count(seeders)?,
            leechers: count(leechers)?,
            completed: count(completed)?,
            sample: None,
        };
        if let [seeders, leechers] = rest {
            let mut sample = Vec::new();
            self.read_sample(share, seeders, Role::Seeder, &mut sample)?;
            self.read_sample(share, leechers, Role::Leecher, &mut sample)?;
            answer.sample = Some(sample);
        }
        Some(answer)
    }

    /// Members and scores in turn. A member that is no peer is passed over: another release, or
    /// another program, may have written it.
    fn read_sample(
        self,
        share: &Share,
        reply: &Value,
        role: Role,
        sample: &mut Vec<Sampled>,
    ) -> Option<()> {
        let Value::Array(values) = reply else { return None };
        for pair in values.chunks_exact(2) {
            let [Value::BulkString(member), Value::BulkString(score)] = pair else { return None };
            let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
            let expires_secs = score as u64 + self.score_lag_secs(share);
            if let Some(peer) = self.peer(member) {
                sample.push(Sampled { peer, role, expires_secs });
            }
        }
        Some(())
    }
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
