//! A private tracker's swarm in Redis: the script that keeps its records, its arguments and its
//! reply.
//!
//! A swarm is three sorted sets of peers by the second they expire (seeders, leechers, and those
//! that have stopped or expired), a hash of their records, a hash of who has completed the torrent,
//! and how often that was. A peer is a member's number and a peer_id, its record a [`Record`]: what
//! that is for is in [`nodes`](peerage_tracker::private::nodes). The record of a peer that has gone
//! is kept for [`KEPT_SECS`], so that a claim that comes late is known to be late.

#[cfg(test)]
mod tests;

use std::time::Duration;

use peerage_tracker::private::nodes::{
    Answer, CLOCKS_DIFFER_MILLIS, Kind, PeerName, Reading, Record, Tell, Told, Verdict,
};
use redis::{Cmd, Value};

use crate::trip::hex;

/// How long the record of a peer that has gone is kept.
const KEPT_SECS: u64 = 6 * 3600;

/// How long it is kept who has completed what, and how often.
const COMPLETED_KEPT_SECS: u64 = 30 * 24 * 3600;

/// `KEYS`: seeders, leechers, gone, records, who completed, the count. `ARGV`: now, the size of the
/// sample, the node, how often completed before at least, how long sets live, how long records are
/// kept, how long completions are, and the score of those gone that are told; then of each claim
/// the name, the number under which it was told first, the first reading, when the peer expires,
/// whether it starts (1) or is a reminder (2), whether it is doubted, whether it completes, and the
/// record.
///
/// Numbers beyond 2^53 are compared by their upper 53 bits alone; what is kept and told is exact.
const SCRIPT: &str = r"
local s, l, g, a, d, c = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call, sub, unpack_ = redis.call, string.sub, struct.unpack
local now, node, kept = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[6])
local bytes = string.byte
for _, set in ipairs({s, l}) do
  local gone = call('ZRANGEBYSCORE', set, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 500)
  for i = 1, #gone, 2 do
    call('ZREM', set, gone[i])
    call('ZADD', g, gone[i + 1] + kept, gone[i])
  end
  if #gone > 0 then call('EXPIRE', g, ARGV[5] + kept) end
end
local forgotten = call('ZRANGEBYSCORE', g, '-inf', now, 'LIMIT', 0, 500)
if #forgotten > 0 then
  call('ZREM', g, unpack(forgotten))
  call('HDEL', a, unpack(forgotten))
end
local have = tonumber(call('GET', c) or 0)
local completed = math.max(have, tonumber(ARGV[4]))
local verdicts = {}
local never = '\0\0\0\0'
for at = 9, #ARGV, 8 do
  local name, tried, first, expires = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local starts, completes, new = ARGV[at + 4] == '1', ARGV[at + 6] == '1', ARGV[at + 7]
  local old = call('HGET', a, name)
  local number = unpack_('>I8', new, 9)
  local time, up, down = unpack_('>I8I8I8', new, 49)
  local base = first
  if not old and ARGV[at + 5] == '1' then base = sub(new, 49, 80) end
  local is_unsure = not old and (ARGV[at + 4] == '2' or ARGV[at + 5] == '1')
  local old_time, old_up, old_down, same
  if old then
    old_time, old_up, old_down = unpack_('>I8I8I8', old, 49)
    same = sub(old, 1, 8) == node
    if ARGV[at + 4] == '2' then
      -- Whether the record is older than what was told: it has been lost since.
      if same then
        is_unsure = unpack_('>I8', old, 9) < tried and (up ~= old_up or down ~= old_down)
      elseif math.abs(time - old_time) >= CLOSE then
        is_unsure = time > old_time
      else
        is_unsure = up > old_up or down > old_down
      end
    end
  end
  if is_unsure then
    new = sub(new, 1, 80) .. string.char(bytes(new, 81) + 64) .. sub(new, 82)
  end
  if old then
    local stopped = math.floor(bytes(old, 81) / 32) % 2 == 1
    local less = up < old_up or down < old_down
    local late = false
    local again = same and unpack_('>I8', old, 9) >= tried
    -- Of the other of two sessions that wait: the second has an odd number.
    local is_other = again and unpack_('>I8', old, 9) % 2 ~= tried % 2
    again = again and not is_other
    if is_other then
      late = tried % 2 == 0
    elseif ARGV[at + 4] == '2' then
      late = not is_unsure
    elseif not same and math.abs(time - old_time) >= CLOSE then
      late = time < old_time
    elseif not same then
      local stops = math.floor(bytes(new, 81) / 32) % 2 == 1
      if less then
        late = not (starts and stopped and time > old_time)
      elseif stopped and time <= old_time and not stops then
        late = true
      elseif up > old_up or down > old_down then
        late = unpack_('>I4', old, 114) * 1000 + CLOSE >= time
      end
    end
    local goes_on, begins = false, less
    if late then
      base = nil
    elseif is_unsure then
      base = sub(new, 49, 80)
    elseif bytes(old, 81) >= 64 then
      base, begins = sub(new, 49, 80), true
    elseif again then
      base, goes_on = sub(old, 17, 48), true
    elseif starts and (same or unpack_('>I8', first) >= old_time + (stopped and 1 or CLOSE)) then
      base, begins = first, false
    else
      base, goes_on = sub(old, 49, 80), true
    end
    if goes_on and not stopped and up >= old_up then
      local v4, v6 = sub(new, 82, 87), sub(new, 88, 105)
      local at4, at6 = sub(new, 106, 109), sub(new, 110, 113)
      if at4 == never then v4, at4 = sub(old, 82, 87), sub(old, 106, 109) end
      if at6 == never then v6, at6 = sub(old, 88, 105), sub(old, 110, 113) end
      new = sub(new, 1, 81) .. v4 .. v6 .. at4 .. at6 .. sub(old, 114, 117) .. sub(new, 118)
    end
    if begins then
      -- A session may have begun unseen.
      new = sub(new, 1, 113) .. struct.pack('>I4', math.floor(time / 1000)) .. sub(new, 118)
    end
  end
  if base then
    call('HSET', a, name, sub(new, 1, 16) .. base .. sub(new, 49))
    local into = l
    if math.floor(bytes(new, 81) / 32) % 2 == 1 then
      into, expires = g, expires + kept
    elseif bytes(new, 81) % 2 == 1 then
      into = s
    end
    for _, set in ipairs({s, l, g}) do
      if set ~= into then call('ZREM', set, name) end
    end
    call('ZADD', into, expires, name)
  end
  local snatch = 0
  if completes then
    local member = sub(name, 1, 4)
    local by = call('HGET', d, member)
    if not by then
      call('HSET', d, member, sub(new, 1, 16))
      completed = completed + 1
      snatch = 1
    elseif sub(by, 1, 8) == node then
      local told = unpack_('>I8', by, 9)
      if told >= tried and told <= number then snatch = 1 end
    end
  end
  verdicts[#verdicts + 1] = base or ''
  verdicts[#verdicts + 1] = old or ''
  verdicts[#verdicts + 1] = snatch
end
if #verdicts > 0 then
  for _, key in ipairs({s, l}) do call('EXPIRE', key, ARGV[5]) end
  for _, key in ipairs({g, a}) do call('EXPIRE', key, ARGV[5] + kept) end
  call('EXPIRE', d, ARGV[7])
end
if completed > have then
  call('SET', c, completed, 'EX', ARGV[7])
end
local seeders, leechers = call('ZCARD', s), call('ZCARD', l)
local size = tonumber(ARGV[2])
if size == 0 then return {seeders, leechers, completed, verdicts} end
local of_s = math.min(seeders, math.max(math.floor(size / 2), size - leechers))
local of_l = math.min(leechers, size - of_s)
local names = of_s > 0 and call('ZRANDMEMBER', s, of_s) or {}
for _, name in ipairs(of_l > 0 and call('ZRANDMEMBER', l, of_l) or {}) do
  names[#names + 1] = name
end
local records = #names > 0 and call('HMGET', a, unpack(names)) or {}
local gone = call('ZREVRANGEBYSCORE', g, '+inf', ARGV[8], 'LIMIT', 0, size)
return {seeders, leechers, completed, verdicts, names, records, gone}
";

/// The script.
pub(crate) fn script() -> String {
    SCRIPT.replace("CLOSE", &CLOCKS_DIFFER_MILLIS.to_string())
}

/// What all commands of a trip have in common.
pub(crate) struct Common<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) script_hash: &'a str,
    pub(crate) node: u64,
    pub(crate) sample: u32,
    pub(crate) peer_timeout: Duration,
    /// Of those that have stopped in that time it is told.
    pub(crate) gone_for: Duration,
    pub(crate) now_secs: u64,
}

impl Common<'_> {
    /// The command that carries what is told and asked of one swarm.
    pub(crate) fn command(&self, tell: &Tell) -> Cmd {
        let (hash, timeout_secs) = (hex(&tell.info_hash), self.peer_timeout.as_secs());
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.script_hash).arg(6);
        for end in ["s", "l", "g", "a", "d", "c"] {
            cmd.arg(format!("{}m1:{{{hash}}}:{end}", self.prefix));
        }
        cmd.arg(self.now_secs)
            .arg(if tell.sample { self.sample } else { 0 })
            .arg(&self.node.to_be_bytes()[..])
            .arg(tell.completed)
            .arg(timeout_secs + 60)
            .arg(KEPT_SECS)
            .arg(COMPLETED_KEPT_SECS)
            .arg(self.now_secs.saturating_sub(self.gone_for.as_secs()) + timeout_secs + KEPT_SECS);
        for told in &tell.claims {
            add(&mut cmd, told);
        }
        cmd
    }
}

fn add(cmd: &mut Cmd, told: &Told) {
    cmd.arg(&told.name().0[..])
        .arg(told.tried)
        .arg(&told.first.to_bytes()[..])
        .arg(told.expires_secs)
        .arg(match told.kind() {
            Kind::GoesOn => 0,
            Kind::Starts => 1,
            Kind::Reminds => 2,
        })
        .arg(u8::from(told.is_doubted()))
        .arg(u8::from(told.completes()))
        .arg(&told.record.to_bytes()[..]);
}

/// What a reply says; `None` where it is not one of the script's.
pub(crate) fn answer(reply: &Value) -> Option<Answer> {
    let Value::Array(parts) = reply else { return None };
    let [seeders, leechers, completed, Value::Array(verdicts), rest @ ..] = &parts[..] else {
        return None;
    };
    let (sample, gone) = match rest {
        [Value::Array(peers), Value::Array(records), Value::Array(gone)] => {
            (Some(sample(peers, records)), gone.iter().filter_map(name).collect())
        }
        _ => (None, Vec::new()),
    };
    Some(Answer {
        seeders: count(seeders)?,
        leechers: count(leechers)?,
        completed: count(completed)?,
        verdicts: verdicts.chunks_exact(3).map(verdict).collect::<Option<_>>()?,
        sample,
        gone,
    })
}

fn count(value: &Value) -> Option<u32> {
    match value {
        Value::Int(count) => u32::try_from(*count).ok(),
        _ => None,
    }
}

fn verdict(parts: &[Value]) -> Option<Verdict> {
    let [Value::BulkString(base), Value::BulkString(before), Value::Int(snatch)] = parts else {
        return None;
    };
    let base = match &base[..] {
        [] => None,
        base => Some(Reading::read(base.try_into().ok()?)),
    };
    Some(Verdict { base, before: Record::read(before), is_snatch: *snatch == 1 })
}

/// What is no record is passed over: a later release may have written it.
fn sample(names: &[Value], records: &[Value]) -> Vec<(PeerName, Record)> {
    let pairs = names.iter().zip(records).filter_map(|(peer, record)| {
        let Value::BulkString(record) = record else { return None };
        Some((name(peer)?, Record::read(record)?))
    });
    pairs.collect()
}

fn name(value: &Value) -> Option<PeerName> {
    match value {
        Value::BulkString(name) => Some(PeerName(name[..].try_into().ok()?)),
        _ => None,
    }
}
