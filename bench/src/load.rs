//! The UDP load generator: many sources, one socket, one thread that never sleeps.
//!
//! One socket sends for all source addresses (`IP_PKTINFO`), so that batches are full and the
//! generator outruns a server of the same speed. Every request carries a transaction id that names
//! a slot; a reply frees it. Two paces: a closed window of outstanding requests, under which the
//! server is never idle and nothing is lost; and a fixed rate, where a latency counts from the
//! instant a request was due, not from when the generator came round to sending it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::mix::{Account, Family, Peer, info_hash, source_address};
use crate::socket::{Batch, Datagrams, Name, Wait};

/// Most requests without a reply: 12 bits of the transaction id.
const SLOTS: usize = 4096;
/// A request without a reply for so long counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// How long the last replies of a run are waited for.
const DRAIN: Duration = Duration::from_millis(700);
/// How often lost requests are looked for.
const SWEEP_NANOS: u64 = 50_000_000;
/// Kernel memory for datagrams under way: 256 of them with room to spare.
const BUFFER_BYTES: usize = 8 << 20;

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// A connect from a source, whose connection id is replaced by the reply's.
    Connect {
        /// The number of the source address.
        source: u32,
    },
    /// An announce.
    Announce {
        /// Who announces.
        peer: Peer,
        /// The event, as BEP 15 numbers it.
        event: u32,
    },
    /// An announce of a member, whose passkey is in the URL data (BEP 41).
    Member {
        /// Who announces.
        peer: Peer,
        /// Whose it is, and what it has moved.
        account: Account,
        /// The event, as BEP 15 numbers it.
        event: u32,
    },
    /// A scrape of `count` swarms from number `first` on.
    Scrape {
        /// The first swarm.
        first: u32,
        /// How many, 1 to 70.
        count: u32,
    },
}

/// How fast requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many without a reply at any time; a lost one is sent again.
    Window(usize),
    /// So many a second, whatever comes back; a lost one stays lost.
    Rate(f64),
}

impl Pace {
    /// Half of the replies a core could give at this cost, but no more than the generator can ask
    /// for with room to spare: where it is the slower one, it gave `full_rate` at full load.
    pub(crate) fn half_load(cpu_per_million: f64, full_rate: f64) -> Self {
        Self::Rate((0.5e6 / cpu_per_million).min(0.7 * full_rate))
    }
}

/// What came of a run.
pub(crate) struct Outcome {
    /// Replies of the right form, by kind.
    pub(crate) connects: u64,
    /// See `connects`.
    pub(crate) announces: u64,
    /// See `connects`.
    pub(crate) scrapes: u64,
    /// Replies that were errors, or of a wrong form.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
    /// Requests without a reply in time.
    pub(crate) lost: u64,
    /// Peers handed out.
    pub(crate) peers: u64,
    /// Sum over all scrape entries.
    pub(crate) seeders: u64,
    /// Sum over all scrape entries.
    pub(crate) leechers: u64,
    /// From the first request to the last.
    pub(crate) elapsed: Duration,
    /// Of announces.
    pub(crate) latencies: Latencies,
}

impl Outcome {
    fn new() -> Self {
        Self {
            connects: 0,
            announces: 0,
            scrapes: 0,
            errors: 0,
            first_error: None,
            lost: 0,
            peers: 0,
            seeders: 0,
            leechers: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::new(),
        }
    }

    /// Replies of the right form.
    pub(crate) fn replies(&self) -> u64 {
        self.connects + self.announces + self.scrapes
    }

    /// Replies per second.
    pub(crate) fn rate(&self) -> f64 {
        self.replies() as f64 / self.elapsed.as_secs_f64()
    }

    /// An error where any reply was one: nothing measured with errors counts.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.first_error {
            Some(first) => Err(format!("{} errors, the first: {first}", self.errors)),
            None => Ok(()),
        }
    }
}

/// A generator for one server and one family.
pub(crate) struct Load {
    datagrams: Datagrams,
    to: Name,
    family: Family,
    numwant: u32,
    /// The connection id of each source.
    ids: Vec<u64>,
    slots: Vec<Slot>,
    free: Vec<u16>,
    incoming: Batch,
    outgoing: Batch,
}

#[derive(Clone, Copy)]
struct Slot {
    transaction_id: u32,
    due_nanos: u64,
    ask: Option<Ask>,
}

impl Load {
    /// A generator with `sources` addresses of the family of `to`, which has no ids yet.
    pub(crate) fn new(to: SocketAddr, sources: u32, numwant: u32) -> io::Result<Self> {
        let (family, any) = match to {
            SocketAddr::V4(_) => (Family::Ipv4, "0.0.0.0:0"),
            SocketAddr::V6(_) => (Family::Ipv6, "[::]:0"),
        };
        let any = any.parse().expect("a constant is an address");
        let slot = |index| Slot { transaction_id: index, due_nanos: 0, ask: None };
        Ok(Self {
            datagrams: Datagrams::bind(any, BUFFER_BYTES)?,
            to: Name::new(to),
            family,
            numwant,
            ids: vec![0; sources as usize],
            slots: (0..SLOTS as u32).map(slot).collect(),
            free: (0..SLOTS as u16).collect(),
            incoming: Batch::new(),
            outgoing: Batch::new(),
        })
    }

    /// Connects every source.
    pub(crate) fn connect_all(&mut self) -> io::Result<Outcome> {
        let mut sources = 0..self.ids.len() as u32;
        self.run(Pace::Window(128), Duration::from_secs(60), &mut || {
            sources.next().map(|source| Ask::Connect { source })
        })
    }

    /// Sends what `next` gives until it gives nothing, or `limit` has passed.
    pub(crate) fn run(
        &mut self,
        pace: Pace,
        limit: Duration,
        next: &mut dyn FnMut() -> Option<Ask>,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::new();
        let start = Instant::now();
        let limit_nanos = limit.as_nanos() as u64;
        let (mut issued, mut is_done, mut swept, mut stopped) = (0_u64, false, 0, 0);
        loop {
            let now = start.elapsed().as_nanos() as u64;
            self.take_replies(now, &mut outcome)?;
            if now - swept > SWEEP_NANOS {
                swept = now;
                self.sweep(now, pace, &mut outcome);
            }
            if !is_done && now >= limit_nanos {
                is_done = true;
            }
            while !is_done && !self.outgoing.is_full() {
                let in_flight = SLOTS - self.free.len();
                let due_nanos = match pace {
                    Pace::Window(window) if in_flight < window => now,
                    Pace::Rate(rate) if !self.free.is_empty() => {
                        (issued as f64 / rate * 1e9) as u64
                    }
                    _ => break,
                };
                if due_nanos > now {
                    break;
                }
                match next() {
                    Some(ask) => self.issue(ask, due_nanos),
                    None => is_done = true,
                }
                issued += 1;
            }
            if self.outgoing.len() > 0 {
                self.datagrams.send(&mut self.outgoing)?;
            }
            if !is_done {
                stopped = now;
            } else if self.free.len() == SLOTS || now - stopped > DRAIN.as_nanos() as u64 {
                break;
            }
        }
        self.give_up(&mut outcome);
        outcome.elapsed = Duration::from_nanos(stopped.max(1));
        Ok(outcome)
    }

    fn take_replies(&mut self, now: u64, outcome: &mut Outcome) -> io::Result<()> {
        let count = self.datagrams.receive(&mut self.incoming, Wait::Never)?;
        for index in 0..count {
            let reply = self.incoming.datagram(index);
            let Some((_, transaction_id)) = words(reply) else { continue };
            let slot_index = transaction_id as usize % SLOTS;
            let slot = &mut self.slots[slot_index];
            if slot.transaction_id != transaction_id {
                continue;
            }
            let Some(ask) = slot.ask.take() else { continue };
            slot.transaction_id = slot.transaction_id.wrapping_add(SLOTS as u32);
            let due_nanos = slot.due_nanos;
            self.free.push(slot_index as u16);
            let id = outcome.count(ask, reply, self.family);
            if let (Ask::Connect { source }, Some(id)) = (ask, id) {
                self.ids[source as usize] = id;
            }
            if matches!(ask, Ask::Announce { .. } | Ask::Member { .. }) {
                outcome.latencies.add(now.saturating_sub(due_nanos));
            }
        }
        Ok(())
    }

    /// Counts requests without a reply as lost; in a window they are sent again.
    fn sweep(&mut self, now: u64, pace: Pace, outcome: &mut Outcome) {
        for index in 0..SLOTS {
            let slot = &mut self.slots[index];
            let is_late = now.saturating_sub(slot.due_nanos) > LOST_AFTER.as_nanos() as u64;
            if !is_late || (matches!(pace, Pace::Window(_)) && self.outgoing.is_full()) {
                continue;
            }
            let Some(ask) = slot.ask.take() else { continue };
            slot.transaction_id = slot.transaction_id.wrapping_add(SLOTS as u32);
            self.free.push(index as u16);
            outcome.lost += 1;
            if matches!(pace, Pace::Window(_)) {
                self.issue(ask, now);
            }
        }
    }

    /// Ends a run: what is still under way is lost.
    fn give_up(&mut self, outcome: &mut Outcome) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.ask.take().is_some() {
                slot.transaction_id = slot.transaction_id.wrapping_add(SLOTS as u32);
                self.free.push(index as u16);
                outcome.lost += 1;
            }
        }
    }

    /// Puts a request into the outgoing batch, which has room, under a free slot.
    fn issue(&mut self, ask: Ask, due_nanos: u64) {
        let index = self.free.pop().expect("the caller saw a free slot");
        let slot = &mut self.slots[usize::from(index)];
        slot.ask = Some(ask);
        slot.due_nanos = due_nanos;
        let transaction_id = slot.transaction_id;
        let source = match ask {
            Ask::Connect { source } => source,
            Ask::Announce { peer, .. } | Ask::Member { peer, .. } => peer.source,
            Ask::Scrape { first, .. } => first % self.ids.len() as u32,
        };
        let id = self.ids[source as usize];
        let numwant = self.numwant;
        self.outgoing.push(self.to, |bytes| match ask {
            Ask::Connect { .. } => write_connect(bytes, transaction_id),
            Ask::Announce { peer, event } => {
                write_head(bytes, id, 1, transaction_id);
                write_announce(bytes, peer, event, numwant)
            }
            Ask::Member { peer, account, event } => {
                write_head(bytes, id, 1, transaction_id);
                let length = write_announce(bytes, peer, event, numwant);
                write_account(bytes, length, peer, account)
            }
            Ask::Scrape { first, count } => {
                write_head(bytes, id, 2, transaction_id);
                for index in 0..count {
                    let at = 16 + index as usize * 20;
                    bytes[at..at + 20].copy_from_slice(&info_hash(first + index));
                }
                16 + count as usize * 20
            }
        });
        self.outgoing.set_source(source_address(self.family, source));
    }
}

impl Outcome {
    /// Counts a reply to `ask`; gives the connection id where it holds one.
    fn count(&mut self, ask: Ask, reply: &[u8], family: Family) -> Option<u64> {
        let peer_bytes = if family == Family::Ipv4 { 6 } else { 18 };
        let action = words(reply).map(|(action, _)| action);
        match ask {
            Ask::Connect { .. } if action == Some(0) && reply.len() == 16 => {
                self.connects += 1;
                return reply[8..].try_into().ok().map(u64::from_be_bytes);
            }
            Ask::Announce { .. } | Ask::Member { .. }
                if action == Some(1)
                    && reply.len() >= 20
                    && (reply.len() - 20).is_multiple_of(peer_bytes) =>
            {
                self.announces += 1;
                self.peers += ((reply.len() - 20) / peer_bytes) as u64;
            }
            Ask::Scrape { count, .. }
                if action == Some(2) && reply.len() == 8 + 12 * count as usize =>
            {
                self.scrapes += 1;
                for entry in reply[8..].chunks_exact(12) {
                    self.seeders += u64::from(read_u32(entry, 0));
                    self.leechers += u64::from(read_u32(entry, 8));
                }
            }
            _ => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| {
                    let text = String::from_utf8_lossy(reply.get(8..).unwrap_or_default());
                    format!("{ask:?}: action {action:?}, {} bytes, {text:?}", reply.len())
                });
            }
        }
        None
    }
}

/// Action and transaction id of a reply.
fn words(reply: &[u8]) -> Option<(u32, u32)> {
    (reply.len() >= 8).then(|| (read_u32(reply, 0), read_u32(reply, 4)))
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn write_head(bytes: &mut [u8], id: u64, action: u32, transaction_id: u32) {
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..12].copy_from_slice(&action.to_be_bytes());
    bytes[12..16].copy_from_slice(&transaction_id.to_be_bytes());
}

fn write_connect(bytes: &mut [u8], transaction_id: u32) -> usize {
    write_head(bytes, 0x0417_2710_1980, 0, transaction_id);
    16
}

/// Writes what follows the head of an announce; gives the bytes of the whole.
fn write_announce(bytes: &mut [u8], peer: Peer, event: u32, numwant: u32) -> usize {
    let left = if peer.is_seeder { 0_u64 } else { 1 << 30 };
    bytes[16..36].copy_from_slice(&info_hash(peer.swarm));
    bytes[36..44].copy_from_slice(b"-qB4650-");
    bytes[44..48].copy_from_slice(&peer.number.to_be_bytes());
    bytes[48..56].copy_from_slice(&crate::mix::mix(u64::from(peer.number)).to_be_bytes());
    bytes[56..64].copy_from_slice(&0_u64.to_be_bytes());
    bytes[64..72].copy_from_slice(&left.to_be_bytes());
    bytes[72..80].copy_from_slice(&0_u64.to_be_bytes());
    bytes[80..84].copy_from_slice(&event.to_be_bytes());
    bytes[84..88].copy_from_slice(&0_u32.to_be_bytes());
    bytes[88..92].copy_from_slice(&peer.number.to_be_bytes());
    bytes[92..96].copy_from_slice(&numwant.to_be_bytes());
    bytes[96..98].copy_from_slice(&peer.port.to_be_bytes());
    98
}

/// Writes what a member's announce has besides, and the peer_id that the peer has over HTTP: a
/// member's peer is known by it. Gives the bytes of the whole.
fn write_account(bytes: &mut [u8], length: usize, peer: Peer, account: Account) -> usize {
    let mut number = peer.number;
    for digit in bytes[44..56].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    bytes[56..64].copy_from_slice(&account.downloaded.to_be_bytes());
    bytes[72..80].copy_from_slice(&account.uploaded.to_be_bytes());
    let passkey = Account::passkey(account.member);
    let parts = [&[2, 42, b'/'][..], &passkey, b"/announce"];
    let mut end = length;
    for part in parts {
        bytes[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    end
}
