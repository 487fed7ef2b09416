//! What is answered over UDP (BEP 15): datagrams in, datagrams out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::net::{IpAddr, SocketAddr};

use peerage_proto::Family;
use peerage_proto::udp::{self, ParseError, Request, ScrapeEntry, TransactionId};
use peerage_swarm::Now;

use crate::{Announce, Connections, Families, Kind, Protocol, Refusal, Tracker, Worker};

/// Most bytes of a reply: what fits an Ethernet frame over IPv6 (1500 - 40 - 8).
pub const REPLY_BYTES_MAX: usize = 1452;

/// A datagram as received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it: where a reply goes. Canonical: never an IPv4-mapped IPv6 address.
    pub source: SocketAddr,
    /// What it says.
    pub bytes: &'a [u8],
}

type Reply = [u8; REPLY_BYTES_MAX];

/// Replies to the datagrams of one batch. The caller owns it and uses it again.
pub struct Replies {
    buffers: Box<[Reply]>,
    /// Of each reply: the index of its datagram in the batch, and its length.
    filled: Box<[(u16, u16)]>,
    count: usize,
}

impl Replies {
    /// Room for a batch of `batch_max` datagrams.
    pub fn new(batch_max: u16) -> Self {
        let batch_max = usize::from(batch_max);
        Self {
            buffers: vec![[0; REPLY_BYTES_MAX]; batch_max].into_boxed_slice(),
            filled: vec![(0, 0); batch_max].into_boxed_slice(),
            count: 0,
        }
    }

    /// The replies, each with the index of the datagram it answers; at most one a datagram, in
    /// order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &[u8])> {
        self.filled[..self.count]
            .iter()
            .zip(&self.buffers)
            .map(|(&(index, length), buffer)| (usize::from(index), &buffer[..usize::from(length)]))
    }
}

/// Answers the datagrams of one worker.
pub struct Endpoint {
    tracker: Arc<Tracker>,
    connections: Connections,
    worker: Worker,
}

/// What a datagram with a connection id that is not valid is told, in a reply no longer than the
/// shortest request: libtorrent and anacrolix connect anew at once instead of waiting.
const BAD_CONNECTION_ID: &str = "bad id";

impl Endpoint {
    /// An endpoint with counters of its own. `seed` is random.
    pub fn new(tracker: Arc<Tracker>, connections: Connections, seed: u64) -> Self {
        let worker = tracker.worker(seed);
        Self { tracker, connections, worker }
    }

    /// Answers a batch. `batch` is no longer than `replies` has room for; `replies` is cleared
    /// first.
    ///
    /// A first pass starts to fetch the memory that the announces will touch, so that the misses of
    /// the whole batch overlap.
    pub fn handle(&mut self, now: Now, batch: &[Datagram<'_>], replies: &mut Replies) {
        assert!(batch.len() <= replies.buffers.len());
        self.tracker.refresh(&mut self.worker);
        for datagram in batch {
            if let Some(info_hash) = udp::announced_info_hash(datagram.bytes) {
                self.tracker.swarms().prefetch(&info_hash);
            }
        }
        replies.count = 0;
        for (index, datagram) in batch.iter().enumerate() {
            let reply = &mut replies.buffers[replies.count];
            let length = self.answer(now, datagram, reply);
            if length != 0 {
                replies.filled[replies.count] = (index as u16, length as u16);
                replies.count += 1;
            }
        }
    }

    /// Writes the reply and returns its length, 0 for none.
    fn answer(&mut self, now: Now, datagram: &Datagram<'_>, reply: &mut Reply) -> usize {
        let source = datagram.source.ip();
        let family = Family::of(source);
        match udp::parse(datagram.bytes) {
            Ok(Request::Connect(transaction_id)) => {
                self.worker.counters.request(Protocol::Udp, family, Kind::Connect);
                let id = self.connections.issue(now, source);
                put(reply, 0, &udp::connect_reply(id, transaction_id))
            }
            Ok(Request::Announce(announce)) => {
                if !self.connections.is_valid(now, source, announce.connection_id) {
                    return self.bad_connection_id(announce.transaction_id, reply);
                }
                self.worker.counters.request(Protocol::Udp, family, Kind::Announce);
                self.announce(now, source, &announce, reply)
            }
            Ok(Request::Scrape(scrape)) => {
                if !self.connections.is_valid(now, source, scrape.connection_id) {
                    return self.bad_connection_id(scrape.transaction_id, reply);
                }
                self.worker.counters.request(Protocol::Udp, family, Kind::Scrape);
                self.scrape(&scrape, reply)
            }
            Err(error) => self.malformed(now, datagram, error, reply),
        }
    }

    fn announce(
        &mut self,
        now: Now,
        source: IpAddr,
        request: &udp::Announce<'_>,
        reply: &mut Reply,
    ) -> usize {
        let family = Family::of(source);
        let room = (REPLY_BYTES_MAX - udp::ANNOUNCE_REPLY_BYTES) / family.compact_bytes();
        let default = self.worker.rules.numwant_default;
        let announce = Announce {
            info_hash: request.info_hash,
            peer_id: request.peer_id,
            address: source,
            port: request.port,
            left: Some(request.left),
            event: request.event,
            numwant: Some(request.numwant.unwrap_or(default).min(room as u32)),
            families: Families::Own,
        };
        let transaction_id = request.transaction_id;
        let announced = match self.tracker.announce(now, &mut self.worker, &announce) {
            Ok(announced) => announced,
            Err(refusal) => {
                self.worker.counters.refused(Protocol::Udp, refusal);
                return error(transaction_id, refusal.text(), reply);
            }
        };
        let head = udp::announce_reply_head(
            transaction_id,
            announced.interval_secs,
            announced.counts.leechers,
            announced.counts.seeders,
        );
        let peers = match family {
            Family::V4 => self.worker.peers.v4.as_flattened(),
            Family::V6 => self.worker.peers.v6.as_flattened(),
        };
        let length = put(reply, 0, &head);
        put(reply, length, peers)
    }

    fn scrape(&mut self, request: &udp::Scrape<'_>, reply: &mut Reply) -> usize {
        let mut length = put(reply, 0, &udp::scrape_reply_head(request.transaction_id));
        for info_hash in request.info_hashes() {
            let counts = self.tracker.scrape(&self.worker, &info_hash);
            let entry = ScrapeEntry {
                seeders: counts.seeders,
                completed: counts.completed,
                leechers: counts.leechers,
            };
            length = put(reply, length, &entry.to_bytes());
        }
        length
    }

    fn bad_connection_id(&self, transaction_id: TransactionId, reply: &mut Reply) -> usize {
        self.worker.counters.bad_connection_ids.add(1);
        error(transaction_id, BAD_CONNECTION_ID, reply)
    }

    /// A datagram that is no request gets an error only if it carries a valid connection id.
    fn malformed(
        &self,
        now: Now,
        datagram: &Datagram<'_>,
        error_kind: ParseError,
        reply: &mut Reply,
    ) -> usize {
        self.worker.counters.malformed_datagrams.add(1);
        match udp::connection_id(datagram.bytes) {
            Some((id, transaction_id))
                if self.connections.is_valid(now, datagram.source.ip(), id) =>
            {
                self.worker.counters.refused(Protocol::Udp, Refusal::Malformed);
                error(transaction_id, error_kind.text(), reply)
            }
            _ => 0,
        }
    }
}

fn error(transaction_id: TransactionId, text: &str, reply: &mut Reply) -> usize {
    let length = put(reply, 0, &udp::error_reply_head(transaction_id));
    put(reply, length, text.as_bytes())
}

/// Puts `bytes` at `at` and returns where they end. Every reply is bounded so that it fits.
fn put(reply: &mut Reply, at: usize, bytes: &[u8]) -> usize {
    reply[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}
