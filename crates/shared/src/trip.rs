//! Some swarms' part of a trip: a script that updates and asks, its arguments, and its reply.
//!
//! A swarm is two sorted sets, seeders and leechers, whose members are peers, and how often it was
//! finished. In our own layout a member is a compact peer, and its score the second it was last
//! seen (since 1970) and the number of the node that told so, in 16 bits below; in llmpt's a member
//! is text and its score that second. A key expires after the last of its members has: none keeps
//! another alive.
//!
//! A script costs far more than a command in it, so one call takes many swarms where they are in
//! one place. What fails for one swarm fails for it alone.

use std::net::SocketAddr;

use peerage_proto::InfoHash;
use peerage_swarm::{Now, Role};
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

/// Most swarms in one call, and most peers after which no further swarm goes into it: Redis does
/// nothing else meanwhile, at most some milliseconds.
pub(crate) const SWARMS_PER_CALL_MAX: usize = 32;
pub(crate) const PEERS_PER_CALL_MAX: usize = 500;

/// How long it is kept how often a swarm was finished, since that last changed. Nodes that know of
/// it tell it again.
const COMPLETED_KEPT_SECS: u64 = 30 * 24 * 3600;

/// Bits of a score below the second.
const NODE_BITS: u32 = 16;

/// `KEYS`: of each swarm the first key. `ARGV`: the score below which members have expired, how
/// long keys live, how long it is kept how often a swarm was finished, the size of samples, and
/// the numbers of dead nodes. Then for each swarm twice the number of peers seen again, and one
/// more if its keys are to live on: positive if they are seeders, negative if leechers. Or 0, and
/// nine numbers: seeders and leechers seen again, seeders and leechers that are news, peers that
/// have left, whether a sample is wanted, how often finished, how often before at least, and
/// whether its keys are to live on. Peers follow, each a score and a member; one that is older than
/// what is there changes nothing.
///
/// The reply has of each swarm two numbers, seeders and leechers. Where there were nine numbers two
/// more: how often finished or -1; and a node, other than the teller, that has told of one of the
/// news before, or -1. And a sample where one was asked for. Or an error's text alone.
///
/// What costs is to look up a key, more so one that is to expire (a microsecond each where Redis
/// holds millions and finds them in no cache), and less what is then done with it: so keys are
/// told to live on, and looked through for what has expired, with every second telling only; and
/// what an empty set would say is not asked.
const UPDATE: &str = r"
local call, at, out, n = redis.call, 6, {}, 0
local expired, ttl, kept, size = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local dead = nil
for number in string.gmatch(ARGV[5], '%d+') do
  dead = dead or {}
  dead[tonumber(number)] = true
end
local function seen(key, have, count, renews)
  if count == 0 then return have end
  local from = at
  at = at + 2 * count
  local added = call('ZADD', key, 'GT', unpack(ARGV, from, at - 1))
  if renews or have == 0 then call('EXPIRE', key, ttl) end
  return have + added
end
local function lasting(key, have)
  if have == 0 then return 0 end
  return have - call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[1])
end
local other_node = -1
local function news(key, other, have, others, count)
  if count == 0 then return have, others end
  for _ = 1, count do
    local score, member = ARGV[at], ARGV[at + 1]
    local before = others > 0 and call('ZSCORE', other, member)
    if not before or tonumber(before) <= tonumber(score) then
      if before then others = others - call('ZREM', other, member) end
      if call('ZADD', key, 'NX', score, member) == 1 then
        have = have + 1
      else
        before = before or call('ZSCORE', key, member)
        call('ZADD', key, 'GT', score, member)
      end
      if before and teller(before) ~= teller(score) then other_node = teller(before) end
    end
    at = at + 2
  end
  call('EXPIRE', key, ttl)
  return have, others
end
local function without(key, have, member, score)
  local told = have > 0 and call('ZSCORE', key, member)
  if told and tonumber(told) <= score then return have - call('ZREM', key, member) end
  return have
end
local function left(s, l, seeders, leechers, count)
  for _ = 1, count do
    local score, member = tonumber(ARGV[at]), ARGV[at + 1]
    seeders = without(s, seeders, member, score)
    leechers = without(l, leechers, member, score)
    at = at + 2
  end
  return seeders, leechers
end
local function lively(key, have)
  if have == 0 then return 0, {} end
  if have > (dead and 512 or 64) then return lasting(key, have) end
  local all = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  local count = #all / 2
  if not dead and tonumber(all[2]) >= expired then return count, all end
  local stay, n = {}, 0
  for i = 1, 2 * count, 2 do
    local score = tonumber(all[i + 1])
    if score < expired or dead and dead[teller(score)] then
      call('ZREM', key, all[i])
    else
      stay[n + 1], stay[n + 2] = all[i], all[i + 1]
      n = n + 2
    end
  end
  return n / 2, stay
end
local function some(key, count, wanted, all)
  if all and count <= wanted then return all end
  return wanted > 0 and call('ZRANDMEMBER', key, wanted, 'WITHSCORES') or {}
end
local function long(s, l, seeders, leechers)
  local from, renews = at, ARGV[at + 8] == '1'
  at, other_node = from + 9, -1
  local more, floor = tonumber(ARGV[from + 6]), tonumber(ARGV[from + 7])
  seeders = seen(s, seeders, tonumber(ARGV[from]), renews)
  leechers = seen(l, leechers, tonumber(ARGV[from + 1]), renews)
  seeders, leechers = news(s, l, seeders, leechers, tonumber(ARGV[from + 2]))
  leechers, seeders = news(l, s, leechers, seeders, tonumber(ARGV[from + 3]))
  seeders, leechers = left(s, l, seeders, leechers, tonumber(ARGV[from + 4]))
  if ARGV[from + 5] == '0' then
    if renews then seeders, leechers = lasting(s, seeders), lasting(l, leechers) end
    return seeders, leechers, finish(s, seeders, leechers, more, floor), other_node
  end
  local of_s, of_l
  seeders, of_s = lively(s, seeders)
  leechers, of_l = lively(l, leechers)
  local completed = finish(s, seeders, leechers, more, floor, true)
  local want_s = math.min(seeders, math.max(math.floor(size / 2), size - leechers))
  local want_l = math.min(leechers, size - want_s)
  of_s, of_l = some(s, seeders, want_s, of_s), some(l, leechers, want_l, of_l)
  return seeders, leechers, completed, other_node, of_s, of_l
end
local function update(s, head)
  local l = leechers_of(s)
  local seeders, leechers = call('ZCARD', s), call('ZCARD', l)
  at = at + 1
  if head == 0 then return long(s, l, seeders, leechers) end
  local count, renews = math.floor(math.abs(head) / 2), head % 2 == 1
  if head > 0 then
    seeders = seen(s, seeders, count, renews)
  else
    leechers = seen(l, leechers, count, renews)
  end
  if renews then seeders, leechers = lasting(s, seeders), lasting(l, leechers) end
  finish(s, seeders, leechers, 0, 0)
  return seeders, leechers
end
for i = 1, #KEYS do
  local head = tonumber(ARGV[at])
  local following = at + 1 + 2 * math.floor(math.abs(head) / 2)
  if head == 0 then
    following = at + 10
    for j = 1, 5 do following = following + 2 * tonumber(ARGV[at + j]) end
  end
  local fine, seeders, leechers, completed, node, of_s, of_l = pcall(update, KEYS[i], head)
  if fine then
    out[n + 1], out[n + 2] = seeders, leechers
    n = n + 2
    if node then
      out[n + 1], out[n + 2] = completed, node
      n = n + 2
    end
    if of_s then
      out[n + 1], out[n + 2] = of_s, of_l
      n = n + 2
    end
  else
    n = n + 1
    out[n] = type(seeders) == 'table' and seeders.err or tostring(seeders)
  end
  at = following
end
return out
";

/// Who told a score, the second key of a swarm by the first, and what is done about how often it
/// was finished.
const OWN: &str = r"
local function teller(score) return tonumber(score) % 65536 end
local function leechers_of(s) return string.sub(s, 1, -2) .. 'l' end
local function finish(s, seeders, leechers, more, floor, asked)
  if not asked and more == 0 and floor == 0 then return -1 end
  local c = string.sub(s, 1, -2) .. 'c'
  local have = tonumber(redis.call('GET', c) or 0)
  local completed = math.max(have, floor) + more
  if completed > have then redis.call('SET', c, completed, 'EX', ARGV[3]) end
  return completed
end
";

/// The index of swarms is what llmpt's own cleaner goes through, and takes out of.
const LLMPT: &str = r"
local function teller(score) return -1 end
local function leechers_of(s) return 'tracker:leechers:' .. string.match(s, '%x+$') end
local function finish(s, seeders, leechers, more, floor)
  local id = string.match(s, '%x+$')
  local c = 'tracker:stats:' .. id
  local have = tonumber(redis.call('HGET', c, 'completed') or 0)
  local completed = math.max(have, floor) + more
  if seeders + leechers + completed > 0 then
    redis.call('HSET', c, 'seeders', seeders, 'leechers', leechers, 'completed', completed)
    redis.call('EXPIRE', c, ARGV[3])
  end
  if seeders + leechers > 0 then redis.call('SADD', 'tracker:active_torrents', id) end
  return completed
end
";

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
    pub(crate) fn script(self) -> String {
        let own = match self {
            Self::Own => OWN,
            Self::Llmpt => LLMPT,
        };
        [own, UPDATE].concat()
    }

    fn key(self, prefix: &str, info_hash: &InfoHash) -> String {
        let hash = hex(info_hash);
        match self {
            Self::Own => format!("{prefix}1:{{{hash}}}:s"),
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

    fn score(self, seen_secs: u64, number: u16) -> u64 {
        match self {
            Self::Own => seen_secs << NODE_BITS | u64::from(number),
            Self::Llmpt => seen_secs,
        }
    }

    fn seen_secs(self, score: u64) -> u64 {
        match self {
            Self::Own => score >> NODE_BITS,
            Self::Llmpt => score,
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
        if Head::of(told).is_long() {
            let Value::Int(count) = parts.next()? else { return None };
            // Of one that was not looked at the script says -1.
            completed = u32::try_from(count).ok();
            let Value::Int(node) = parts.next()? else { return None };
            is_shared = u16::try_from(node).is_ok_and(|node| share.lives(node));
        }
        let mut sample = None;
        if told.sample {
            let mut peers = Vec::new();
            self.read_sample(&parts.next()?, Role::Seeder, number, &mut peers)?;
            self.read_sample(&parts.next()?, Role::Leecher, number, &mut peers)?;
            sample = Some(peers);
        }
        Some(Outcome::Answered(Answer { seeders, leechers, completed, is_shared, sample }))
    }

    /// Members and scores in turn. A member that is no peer is passed over: another release, or
    /// another program, may have written it.
    fn read_sample(
        self,
        reply: &Value,
        role: Role,
        number: u16,
        sample: &mut Vec<Sampled>,
    ) -> Option<()> {
        let Value::Array(values) = reply else { return None };
        // The score of the same time by this node.
        let own = |score: u64| self.score(self.seen_secs(score), number);
        for pair in values.chunks_exact(2) {
            let [Value::BulkString(member), Value::BulkString(score)] = pair else { return None };
            let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
            let (score, seen_secs) = (score as u64, self.seen_secs(score as u64));
            let is_own = self == Self::Own && own(score) == score;
            if let Some(peer) = self.peer(member) {
                sample.push(Sampled { peer, role, seen_secs, is_own });
            }
        }
        Some(())
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
        cmd.arg(layout.score(expired_secs, 0))
            // Told to live on with every second telling, less than an expiry apart.
            .arg(2 * expiry_secs)
            .arg(COMPLETED_KEPT_SECS)
            .arg(share.options().sample)
            .arg(self.dead);
        told.iter().for_each(|swarm| self.tell(swarm, &mut cmd));
        cmd
    }

    fn tell(&self, told: &SwarmChanges, cmd: &mut Cmd) {
        let renews = u8::from(told.renews);
        let seen = |count| 2 * count as i64 + i64::from(renews);
        match Head::of(told) {
            Head::Seeders(count) => _ = cmd.arg(seen(count)),
            Head::Leechers(count) => _ = cmd.arg(-seen(count)),
            Head::Long(counts) => {
                cmd.arg(0).arg(&counts).arg(u8::from(told.sample));
                cmd.arg(told.completed).arg(told.completed_floor).arg(renews);
            }
        }
        let score = |change: &Change, number| {
            self.layout.score(self.share.shared_secs(change.seen), number)
        };
        let here = of(told, Role::Seeder, Kind::Seen).chain(of(told, Role::Leecher, Kind::Seen));
        let here = here.chain(of(told, Role::Seeder, Kind::News));
        for change in here.chain(of(told, Role::Leecher, Kind::News)) {
            cmd.arg(score(change, self.number)).arg(self.layout.member(change.peer));
        }
        for change in left(told) {
            // Whichever node told of it.
            cmd.arg(score(change, u16::MAX)).arg(self.layout.member(change.peer));
        }
    }
}

fn of(told: &SwarmChanges, role: Role, kind: Kind) -> impl Iterator<Item = &Change> {
    told.peers.iter().filter(move |change| change.role == role && change.kind == kind)
}

fn left(told: &SwarmChanges) -> impl Iterator<Item = &Change> {
    told.peers.iter().filter(|change| change.kind == Kind::Left)
}

/// What a swarm's arguments begin with.
enum Head {
    /// Nothing but so many seeders seen again.
    Seeders(usize),
    /// Nothing but so many leechers seen again.
    Leechers(usize),
    /// Seeders and leechers seen again, seeders and leechers that are news, peers that have left.
    Long([usize; 5]),
}

impl Head {
    fn of(told: &SwarmChanges) -> Self {
        let counts = [
            of(told, Role::Seeder, Kind::Seen).count(),
            of(told, Role::Leecher, Kind::Seen).count(),
            of(told, Role::Seeder, Kind::News).count(),
            of(told, Role::Leecher, Kind::News).count(),
            left(told).count(),
        ];
        let plain = !told.sample && told.completed == 0 && told.completed_floor == 0;
        match counts {
            [seeders, 0, 0, 0, 0] if plain && 0 < seeders => Self::Seeders(seeders),
            [0, leechers, 0, 0, 0] if plain && 0 < leechers => Self::Leechers(leechers),
            counts => Self::Long(counts),
        }
    }

    fn is_long(&self) -> bool {
        matches!(self, Self::Long(_))
    }
}

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
