//! That a node lives: its number, and the second it last said so, in a hash all nodes share; and
//! how long what it tells is to be kept.
//!
//! A number is higher than those given before, until there have been 65,534: so of two that a node
//! had, before it was started anew and after, the later one wins where all else is equal. Where
//! Redis has forgotten a node it keeps its number, unless another has got it since.

use std::time::Duration;

use peerage_tracker::Share;
use peerage_tracker::share::{LEASE, NodeBeat};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};

/// `KEYS`: the hash. `ARGV`: this node's number, or -1, what tells this run of it from all others,
/// how many seconds nodes are kept in mind after their last beat, 1, or -1 for the last beat, and
/// after how many seconds peers expire that this node tells of.
/// The reply is this node's number, 1 if Redis knew it and 0 if not, and of all nodes number, beat,
/// which is negative if it was the last, and after how many seconds their peers expire.
const BEAT: &str = r"
local nodes, number, id = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local now = tonumber(redis.call('TIME')[1])
local last = tonumber(redis.call('HGET', nodes, 'last') or 0)
local owner = number >= 0 and redis.call('HGET', nodes, number)
local known = owner and string.match(owner, '^%x+') == id
if number < 0 or owner and not known then
  last = last % 65534 + 1
  number = last
end
redis.call('HSET', nodes, 'last', math.max(last, number))
redis.call('HSET', nodes, number, id .. ':' .. ARGV[5] .. ' ' .. now * ARGV[4])
local all, out = redis.call('HGETALL', nodes), {number, known and 1 or 0}
for i = 1, #all, 2 do
  local node, beat = tonumber(all[i]), tonumber(string.match(all[i + 1], ' (.*)$'))
  local expiry = tonumber(string.match(all[i + 1], ':(%d+)')) or 0
  if node and math.abs(beat) < now - tonumber(ARGV[3]) then
    redis.call('HDEL', nodes, all[i])
  elseif node then
    out[#out + 1] = node
    out[#out + 1] = beat
    out[#out + 1] = expiry
  end
end
return out
";

/// What a beat brings back.
pub(crate) struct Beaten {
    /// This node's.
    pub(crate) number: u16,
    /// Whether Redis knew of it: it may have forgotten what it was told, otherwise.
    pub(crate) known: bool,
    /// Of all nodes.
    pub(crate) beats: Vec<NodeBeat>,
}

/// Whether a node goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Lives,
    Stops,
}

/// Says that the node with that number lives or stops; gives it one where it has none.
pub(crate) async fn beat(
    connection: &mut MultiplexedConnection,
    key: &str,
    number: Option<u16>,
    life: Life,
    share: &Share,
) -> Result<Beaten, RedisError> {
    let kept_secs = (share.expiry() + LEASE * 3).as_secs();
    let reply: Vec<i64> = Script::new(BEAT)
        .key(key)
        .arg(number.map_or(-1, i64::from))
        .arg(format!("{:x}", share.options().node))
        .arg(kept_secs)
        .arg(if life == Life::Lives { 1 } else { -1 })
        .arg(share.timing().expiry.as_secs())
        .invoke_async(connection)
        .await?;
    let mut numbers = reply.into_iter();
    let of = |number: i64| u16::try_from(number).unwrap_or_default();
    let number = of(numbers.next().unwrap_or_default());
    let known = numbers.next() == Some(1);
    let mut beats = Vec::new();
    while let (Some(node), Some(beat), Some(expiry)) =
        (numbers.next(), numbers.next(), numbers.next())
    {
        let expiry = Duration::from_secs(u64::try_from(expiry).unwrap_or_default());
        beats.push(NodeBeat { number: of(node), beat, expiry });
    }
    Ok(Beaten { number, known, beats })
}
