//! What a site tells one node, on its way to all others: a stream in Redis, to which each node
//! adds and from which it reads on where it was, so that one that was away misses nothing.
//!
//! The stream has a bound. Where the last message that a node has read is no longer in it, because
//! so many came after it or because Redis has lost it, nobody knows what the node has missed but
//! the tables. The same holds where a node was told more than could wait for Redis: then it tells
//! all others to read their tables.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{Script, ScriptInvocation, Value};

/// Messages in the stream: the last ones. Some hundred bytes each; all of them of the longest, of
/// 64 KiB, would be 256 MB.
const KEPT_MAX: usize = 4096;

/// How long the stream is kept after its last message.
const KEPT_SECS: u64 = 30 * 24 * 3600;

/// Messages read in one trip, and sent in one. More follow at once.
pub(crate) const READ_MAX: usize = 200;

/// Messages that wait, and their bytes. With one more all of them are let go; that others are to
/// read their tables always finds room.
const WAITING_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The first byte of a message. Of a message of another version nothing else is known.
const VERSION: u8 = 1;

/// A version, a kind, a node and a number.
const HEAD_BYTES: usize = 18;

/// `KEYS`: the stream. `ARGV`: its bound, how many are read, how long it is kept, what was read
/// last (empty: nothing), from which millisecond on is read where nothing was, what such a node
/// says first; then messages. The reply is 1 where something is missed and 0 where not, and the
/// names and messages of what was read. Where what was read last is gone, nothing is read or told.
const SCRIPT: &str = r"
local s, call = KEYS[1], redis.call
local last, since = ARGV[4], tonumber(ARGV[5])
if last ~= '' and #call('XRANGE', s, last, last) == 0 then return {1} end
for at = 7, #ARGV do
  call('XADD', s, 'MAXLEN', ARGV[1], '*', 'm', ARGV[at])
end
local read = {0}
if last == '' then
  call('XADD', s, 'MAXLEN', ARGV[1], '*', 'm', ARGV[6])
  local first = call('XRANGE', s, '-', '+', 'COUNT', 1)[1][1]
  if call('XLEN', s) >= tonumber(ARGV[1]) and tonumber(string.match(first, '^%d+')) > since then
    -- Where there are so many, those before are unknown: what is there is read all the same.
    read = {1}
  end
  last = ARGV[5]
else
  last = '(' .. last
end
call('EXPIRE', s, ARGV[3])
for _, entry in ipairs(call('XRANGE', s, last, '+', 'COUNT', ARGV[2])) do
  read[#read + 1] = entry[1]
  read[#read + 1] = entry[2][2]
end
return read
";

/// What a node was told and the others are not, in its order.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    /// Messages that others can read.
    pub(crate) sent: AtomicU64,
    /// Messages of others that were followed.
    pub(crate) heard: AtomicU64,
    /// Messages that were let go because too many waited.
    let_go: AtomicU64,
    /// Times that the tables had to be read because something was missed.
    pub(crate) missed: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// Of the last message.
    number: u64,
}

/// A message to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// One more than that of the one before.
    number: u64,
    kind: Kind,
    query: Vec<u8>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A node begins to read: says nothing.
    Begins,
    /// An update.
    Update,
    /// There were too many updates: they are in the tables alone.
    Lost,
}

/// What is told of the updates. Counts are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdatesStatus {
    /// That wait to be told to other nodes.
    pub waiting: u64,
    /// That were told to other nodes.
    pub sent: u64,
    /// Of other nodes that were followed.
    pub heard: u64,
    /// That were let go because too many waited.
    pub let_go: u64,
    /// Times that the tables had to be read because something was missed.
    pub missed: u64,
}

impl Outbox {
    /// Has an update told to the other nodes. Where there is no room for it, all that wait are let
    /// go, and the others are told to read their tables. Says whether there was room.
    pub fn put(&self, query: Vec<u8>) -> bool {
        let mut waiting = self.waiting();
        waiting.number += 1;
        let number = waiting.number;
        let has_room = waiting.messages.len() < WAITING_MAX
            && waiting.bytes + query.len() <= WAITING_BYTES_MAX;
        if has_room {
            waiting.bytes += query.len();
            waiting.messages.push_back(Outgoing { number, kind: Kind::Update, query });
        } else {
            let let_go = 1 + waiting.messages.iter().filter(|one| one.is_update()).count();
            self.let_go.fetch_add(let_go as u64, Ordering::Relaxed);
            waiting.bytes = 0;
            waiting.messages.clear();
            waiting.messages.push_back(Outgoing { number, kind: Kind::Lost, query: Vec::new() });
        }
        has_room
    }

    /// As of now.
    pub fn status(&self) -> UpdatesStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UpdatesStatus {
            waiting: self.waiting().messages.len() as u64,
            sent: read(&self.sent),
            heard: read(&self.heard),
            let_go: read(&self.let_go),
            missed: read(&self.missed),
        }
    }

    /// Has the others told to read their tables: what they were told may be lost.
    pub(crate) fn tell_of_loss(&self) {
        let mut waiting = self.waiting();
        waiting.number += 1;
        let number = waiting.number;
        waiting.messages.push_back(Outgoing { number, kind: Kind::Lost, query: Vec::new() });
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting().messages.len()
    }

    /// Takes the first ones.
    pub(crate) fn take(&self) -> Vec<Outgoing> {
        let mut waiting = self.waiting();
        let count = waiting.messages.len().min(READ_MAX);
        let taken: Vec<Outgoing> = waiting.messages.drain(..count).collect();
        waiting.bytes -= taken.iter().map(|one| one.query.len()).sum::<usize>();
        taken
    }

    /// Takes back what was taken and cannot be told now.
    pub(crate) fn put_back(&self, taken: Vec<Outgoing>) {
        let mut waiting = self.waiting();
        // Who has let go of what came after has said so, and that says it of these too.
        if waiting.messages.front().is_some_and(|first| first.kind == Kind::Lost) {
            self.let_go.fetch_add(taken.len() as u64, Ordering::Relaxed);
            return;
        }
        waiting.bytes += taken.iter().map(|one| one.query.len()).sum::<usize>();
        taken.into_iter().rev().for_each(|one| waiting.messages.push_front(one));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Begins => 0,
            Self::Update => 1,
            Self::Lost => 2,
        }
    }
}

impl Outgoing {
    /// What a node says that begins to read.
    fn beginning() -> Self {
        Self { number: 0, kind: Kind::Begins, query: Vec::new() }
    }

    pub(crate) fn is_update(&self) -> bool {
        self.kind == Kind::Update
    }

    fn to_bytes(&self, node: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.query.len());
        bytes.extend_from_slice(&[VERSION, self.kind.byte()]);
        bytes.extend_from_slice(&node.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.query);
        bytes
    }
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// Which node was told it.
    pub(crate) node: u64,
    /// Messages of a node have growing numbers.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) query: Vec<u8>,
}

impl Incoming {
    /// `None` for what this release does not know.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, query) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let number = |at: usize| {
            u64::from_be_bytes(head[at..at + 8].try_into().expect("8 of the head's 18 bytes"))
        };
        let kind = match (head[0], head[1]) {
            (VERSION, 0) => Kind::Begins,
            (VERSION, 1) => Kind::Update,
            (VERSION, 2) => Kind::Lost,
            _ => return None,
        };
        Some(Self { node: number(2), number: number(10), kind, query: query.to_vec() })
    }
}

/// From where a node reads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Milliseconds since 1970 by the clock of Redis: what was told since.
    Since(u64),
    /// After the message of this name, if that is there.
    After(String),
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Whether something was missed before it.
    pub(crate) is_missed: bool,
    /// Name and message; `None` for one that this release does not know.
    pub(crate) messages: Vec<(String, Option<Incoming>)>,
}

impl Page {
    /// Whether what was read last is gone: nothing was read, nor told.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_missed && self.messages.is_empty()
    }
}

/// The call that tells `messages` of `node`, and reads.
pub(crate) fn call<'a>(
    script: &'a Script,
    key: &str,
    node: u64,
    position: &Position,
    messages: &[Outgoing],
) -> ScriptInvocation<'a> {
    let (last, since) = match position {
        Position::Since(millis) => ("", *millis),
        Position::After(name) => (name.as_str(), 0),
    };
    let mut call = script.key(key);
    call.arg(KEPT_MAX).arg(READ_MAX).arg(KEPT_SECS).arg(last).arg(since);
    call.arg(Outgoing::beginning().to_bytes(node));
    for message in messages {
        call.arg(message.to_bytes(node));
    }
    call
}

/// The script.
pub(crate) fn script() -> Script {
    Script::new(SCRIPT)
}

/// What a reply says; `None` where it is not one of the script's.
pub(crate) fn page(reply: &Value) -> Option<Page> {
    let Value::Array(parts) = reply else { return None };
    let [Value::Int(is_missed), rest @ ..] = &parts[..] else { return None };
    let message = |pair: &[Value]| match pair {
        [Value::BulkString(name), Value::BulkString(bytes)] => {
            Some((String::from_utf8(name.clone()).ok()?, Incoming::read(bytes)))
        }
        _ => None,
    };
    let messages = rest.chunks_exact(2).map(message).collect::<Option<_>>()?;
    Some(Page { is_missed: *is_missed == 1, messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_as_it_was_written_and_no_other_version_is() {
        for kind in [Kind::Begins, Kind::Update, Kind::Lost] {
            let message = Outgoing { number: 7, kind, query: b"action=x".to_vec() };
            let mut bytes = message.to_bytes(9);
            let read = Incoming { node: 9, number: 7, kind, query: b"action=x".to_vec() };
            assert_eq!(Incoming::read(&bytes), Some(read));
            for end in 0..HEAD_BYTES {
                assert_eq!(Incoming::read(&bytes[..end]), None);
            }
            bytes[0] += 1;
            assert_eq!(Incoming::read(&bytes), None);
        }
    }

    #[test]
    fn updates_wait_in_their_order_and_come_back_in_it() {
        let outbox = Outbox::default();
        let queries: Vec<Vec<u8>> = (0..300_u32).map(|n| n.to_string().into_bytes()).collect();
        queries.iter().for_each(|query| assert!(outbox.put(query.clone())));
        let first = outbox.take();
        assert_eq!((first.len(), outbox.len()), (READ_MAX, 300 - READ_MAX));
        outbox.put_back(first);
        let mut all = Vec::new();
        while outbox.len() != 0 {
            all.extend(outbox.take());
        }
        assert!(all.iter().map(|one| &one.query).eq(&queries));
        assert!(all.iter().map(|one| one.number).eq(1..=300), "each once");
        assert_eq!(outbox.waiting().bytes, 0);
    }

    #[test]
    fn where_too_many_wait_others_are_told_to_read_their_tables() {
        for query in [vec![b'x'; 8], vec![b'x'; 64 << 10]] {
            let outbox = Outbox::default();
            let room = WAITING_MAX.min(WAITING_BYTES_MAX / query.len());
            (0..room).for_each(|_| assert!(outbox.put(query.clone())));
            let on_its_way = outbox.take();
            (0..on_its_way.len()).for_each(|_| assert!(outbox.put(query.clone())));
            assert!(!outbox.put(query.clone()), "no room");
            assert!(outbox.put(query.clone()), "there is room again");
            outbox.put_back(on_its_way);
            let kinds: Vec<Kind> = outbox.take().iter().map(|one| one.kind).collect();
            assert_eq!(kinds, [Kind::Lost, Kind::Update]);
            assert_eq!(outbox.status().let_go, (room + 1 + READ_MAX.min(room)) as u64);
        }
    }

    #[test]
    fn reply_that_is_none_is_no_page() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![Value::Int(1), text("1-1"), text("new")]);
        let messages = vec![("1-1".to_owned(), None)];
        assert_eq!(page(&reply), Some(Page { is_missed: true, messages }));
        assert_eq!(page(&Value::Array(vec![])), None);
        assert_eq!(page(&Value::Array(vec![Value::Int(0), Value::Nil, Value::Nil])), None);
        assert_eq!(page(&Value::Nil), None);
    }
}
