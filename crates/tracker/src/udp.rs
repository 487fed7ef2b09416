//! What is answered over UDP (BEP 15): datagrams in, datagrams out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use peerage_proto::udp::{self, ConnectionId, ParseError, Request, ScrapeEntry, TransactionId};
use peerage_proto::{Family, Route};
use peerage_swarm::Now;

use crate::announce::Manner;
use crate::{
    Announce, Announced, Connections, Families, Kind, Prepared, Protocol, Refusal, Refused,
    Tracker, Worker, private,
};

/// Most bytes of a reply: what every path carries in one piece (IPv6 promises 1280 - 40 - 8, and
/// IPv4 paths are no narrower in practice). Room for 202 IPv4 peers, of which no client asks for
/// more than 200, 67 IPv6 peers, or the counts of 74 swarms.
pub const REPLY_BYTES_MAX: usize = 1232;

/// A datagram as received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it: where a reply goes. Canonical: never an IPv4-mapped IPv6 address.
    pub source: SocketAddr,
    /// What it says.
    pub bytes: &'a [u8],
}

/// What a client is told that brings no passkey. Transmission and aria2 know nothing of BEP 41, and
/// their users cannot know: as of Ocelot they would read "Malformed announce". The reply is shorter
/// than an announce.
pub const NO_PASSKEY: &str =
    "Your client sends no passkey over UDP: use the tracker's http:// address";

type Reply = [u8; REPLY_BYTES_MAX];

/// Replies to the datagrams of one batch. The caller owns it and uses it again.
pub struct Replies {
    buffers: Box<[Reply]>,
    /// Of each reply: the index of its datagram in the batch, and its length.
    filled: Box<[(u16, u16)]>,
    count: usize,
    /// The datagrams that are better answered a little later, by index; with room for all.
    awaited: Vec<u16>,
}

impl Replies {
    /// Room for a batch of `batch_max` datagrams.
    pub fn new(batch_max: u16) -> Self {
        let batch_max = usize::from(batch_max);
        Self {
            buffers: vec![[0; REPLY_BYTES_MAX]; batch_max].into_boxed_slice(),
            filled: vec![(0, 0); batch_max].into_boxed_slice(),
            count: 0,
            awaited: Vec::with_capacity(batch_max),
        }
    }

    /// The datagrams that [`Endpoint::handle_patiently`] has left, by index in the batch.
    pub fn awaited(&self) -> &[u16] {
        &self.awaited
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
    /// Goes through the batch in groups, and through each group three times: the first pass reads
    /// and checks the requests and starts to fetch the memory by which their swarms are found, the
    /// second that of their peers, and the third answers. So the cache misses of a group overlap.
    pub fn handle(&mut self, now: Now, batch: &[Datagram<'_>], replies: &mut Replies) {
        self.handle_in(Manner::AtOnce, now, batch, replies);
    }

    /// As [`Endpoint::handle`], but leaves the first announce to a swarm while other nodes are
    /// being asked for its peers: [`Replies::awaited`].
    pub fn handle_patiently(&mut self, now: Now, batch: &[Datagram<'_>], replies: &mut Replies) {
        self.handle_in(Manner::Patiently, now, batch, replies);
    }

    /// Answers datagrams that were left, with what is known by now.
    pub fn handle_late(&mut self, now: Now, batch: &[Datagram<'_>], replies: &mut Replies) {
        self.handle_in(Manner::Late, now, batch, replies);
    }

    /// Whether other nodes are still being asked for peers of the swarm that a datagram announces
    /// to.
    pub fn is_awaited(&self, datagram: &[u8]) -> bool {
        match (self.tracker.share(), udp::parse(datagram)) {
            (Some(share), Ok(Request::Announce(request))) => share.is_awaited(&request.info_hash),
            _ => false,
        }
    }

    fn handle_in(
        &mut self,
        manner: Manner,
        now: Now,
        batch: &[Datagram<'_>],
        replies: &mut Replies,
    ) {
        assert!(batch.len() <= replies.buffers.len());
        self.tracker.refresh(&mut self.worker);
        replies.count = 0;
        replies.awaited.clear();
        let mut steps = [const { Step::Silence }; GROUP];
        for (group, datagrams) in batch.chunks(GROUP).enumerate() {
            for (step, datagram) in steps.iter_mut().zip(datagrams) {
                *step = self.read(manner, now, datagram);
            }
            self.look_ahead(&mut steps[..datagrams.len()]);
            for (index, step) in steps[..datagrams.len()].iter().enumerate() {
                let reply = &mut replies.buffers[replies.count];
                self.worker.awaited = false;
                let length = self.answer(now, step, reply);
                let index = (group * GROUP + index) as u16;
                if self.worker.awaited && manner == Manner::Patiently {
                    replies.awaited.push(index);
                } else if length != 0 {
                    replies.filled[replies.count] = (index, length as u16);
                    replies.count += 1;
                }
            }
        }
    }

    /// Finds what a group of announces will touch, so that the memory is fetched for all at once.
    /// In private mode one thing leads to the next, in three passes.
    fn look_ahead(&self, steps: &mut [Step<'_>]) {
        let Some(private) = self.tracker.private() else {
            for step in steps {
                if let Step::Announce(_, Ok(prepared)) = step {
                    self.tracker.look_ahead(prepared);
                }
            }
            return;
        };
        for step in &mut *steps {
            if let Step::Member(member) = step {
                private.look_for_numbers(&mut member.ahead);
            }
        }
        for step in &*steps {
            if let Step::Member(member) = step {
                private.look_for_rows(&member.ahead);
            }
        }
        for step in &*steps {
            if let Step::Member(member) = step {
                private.look_for_peers(&member.ahead, &member.request.peer_id);
            }
        }
    }

    /// Reads a datagram and decides what is to be done with it.
    fn read<'a>(&mut self, manner: Manner, now: Now, datagram: &Datagram<'a>) -> Step<'a> {
        let source = datagram.source.ip();
        let family = Family::of(source);
        match udp::parse(datagram.bytes) {
            Ok(Request::Connect(transaction_id)) => {
                self.worker.counters.request(Protocol::Udp, family, Kind::Connect);
                Step::Connect(transaction_id, self.connections.issue(now, source))
            }
            Ok(Request::Announce(request)) => {
                let transaction_id = request.transaction_id;
                if !self.connections.is_valid(now, source, request.connection_id) {
                    return self.bad_connection_id(transaction_id);
                }
                // The field has room for IPv4 alone, and replies are in the datagram's family.
                let address = match family {
                    Family::V4 if request.claimed_ip != 0 && self.tracker.private().is_none() => {
                        let claimed = || Some(Ipv4Addr::from_bits(request.claimed_ip).into());
                        self.worker.rules.address(source, claimed)
                    }
                    _ => source,
                };
                if manner != Manner::Late {
                    self.worker.count_announce(Protocol::Udp, address, &request.peer_id);
                }
                if let Some(private) = self.tracker.private() {
                    return read_member(private, address, request);
                }
                let announce = self.announce(address, &request);
                let prepared = self.tracker.prepare(&mut self.worker, &announce);
                Step::Announce(transaction_id, prepared)
            }
            Ok(Request::Scrape(scrape)) => {
                if !self.connections.is_valid(now, source, scrape.connection_id) {
                    return self.bad_connection_id(scrape.transaction_id);
                }
                self.worker.counters.request(Protocol::Udp, family, Kind::Scrape);
                match self.tracker.private() {
                    // BEP 41 has no URL data for a scrape. Zeros would be taken for counts.
                    Some(_) => {
                        Step::Refused(scrape.transaction_id, Refusal::MembersScrapeOverHttp.into())
                    }
                    None => Step::Scrape(scrape),
                }
            }
            Err(error) => self.malformed(now, datagram, error),
        }
    }

    /// Writes the reply and returns its length, 0 for none.
    fn answer(&mut self, now: Now, step: &Step<'_>, reply: &mut Reply) -> usize {
        match step {
            Step::Silence => 0,
            Step::Connect(transaction_id, id) => {
                put(reply, 0, &udp::connect_reply(*id, *transaction_id))
            }
            Step::Announce(transaction_id, prepared) => {
                let announced = prepared
                    .as_ref()
                    .map_err(|&refusal| refusal)
                    .and_then(|prepared| self.tracker.finish(now, &mut self.worker, prepared));
                match announced {
                    Ok(announced) => self.announced(*transaction_id, &announced, reply),
                    Err(refusal) => self.refused(*transaction_id, refusal.into(), reply),
                }
            }
            Step::Member(member) => match self.announce_member(now, member) {
                Ok(announced) => self.announced(member.request.transaction_id, &announced, reply),
                Err(refused) => self.refused(member.request.transaction_id, refused, reply),
            },
            Step::Refused(transaction_id, refused) => {
                self.refused(*transaction_id, *refused, reply)
            }
            Step::Scrape(scrape) => self.scrape(scrape, reply),
            Step::Error(transaction_id, text) => error(*transaction_id, text, reply),
        }
    }

    fn announce(&self, source: IpAddr, request: &udp::Announce<'_>) -> Announce {
        let room =
            (REPLY_BYTES_MAX - udp::ANNOUNCE_REPLY_BYTES) / Family::of(source).compact_bytes();
        let numwant = request.numwant.unwrap_or(self.worker.rules.numwant_default);
        Announce {
            info_hash: request.info_hash,
            peer_id: request.peer_id,
            address: source,
            port: request.port,
            left: Some(request.left),
            event: request.event,
            numwant: Some(numwant.min(room as u32)),
            families: Families::Own,
        }
    }

    fn announce_member(&mut self, now: Now, member: &MemberStep<'_>) -> Result<Announced, Refused> {
        let MemberStep { source, ref request, ref passkey, .. } = *member;
        let announce = private::Announce {
            announce: self.announce(source, request),
            uploaded: request.uploaded,
            downloaded: request.downloaded,
            corrupt: None,
            user_agent: &[],
        };
        self.tracker.announce_member(now, &mut self.worker, passkey, &announce)
    }

    fn refused(&self, transaction_id: TransactionId, refused: Refused, reply: &mut Reply) -> usize {
        self.worker.counters.refused(Protocol::Udp, refused.refusal);
        error(transaction_id, refused.text, reply)
    }

    fn announced(
        &self,
        transaction_id: TransactionId,
        announced: &Announced,
        reply: &mut Reply,
    ) -> usize {
        let head = udp::announce_reply_head(
            transaction_id,
            announced.interval_secs,
            announced.counts.leechers,
            announced.counts.seeders,
        );
        // Of one family, that of the datagram.
        let length = put(reply, 0, &head);
        let length = put(reply, length, self.worker.peers.v4.as_flattened());
        put(reply, length, self.worker.peers.v6.as_flattened())
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

    fn bad_connection_id(&self, transaction_id: TransactionId) -> Step<'static> {
        self.worker.counters.bad_connection_ids.add(1);
        Step::Error(transaction_id, BAD_CONNECTION_ID)
    }

    /// A datagram that is no request gets an error only if it carries a valid connection id.
    fn malformed(&self, now: Now, datagram: &Datagram<'_>, error: ParseError) -> Step<'static> {
        self.worker.counters.malformed_datagrams.add(1);
        match udp::connection_id(datagram.bytes) {
            Some((id, transaction_id))
                if self.connections.is_valid(now, datagram.source.ip(), id) =>
            {
                self.worker.counters.refused(Protocol::Udp, Refusal::Malformed);
                Step::Error(transaction_id, error.text())
            }
            _ => Step::Silence,
        }
    }
}

/// Datagrams whose cache misses overlap: about as many as a core can wait for, and few enough that
/// what was fetched is still in the first-level cache when it is needed.
const GROUP: usize = 32;

/// What is to be done with a datagram, between its reading and its answer.
enum Step<'a> {
    /// Nothing.
    Silence,
    Connect(TransactionId, ConnectionId),
    Announce(TransactionId, Result<Prepared, Refusal>),
    Scrape(udp::Scrape<'a>),
    /// In private mode whether an announce is granted is known only where its swarm is.
    Member(MemberStep<'a>),
    Refused(TransactionId, Refused),
    Error(TransactionId, &'static str),
}

/// An announce of a member.
struct MemberStep<'a> {
    source: IpAddr,
    request: udp::Announce<'a>,
    passkey: [u8; 32],
    ahead: private::Ahead,
}

/// Reads the passkey in the URL data.
fn read_member<'a>(
    private: &private::Private,
    source: IpAddr,
    request: udp::Announce<'a>,
) -> Step<'a> {
    let mut room = [0; 64];
    let Some(Route::MemberAnnounce(passkey)) = request.route(&mut room) else {
        let refused = Refused { refusal: Refusal::NoPasskey, text: NO_PASSKEY };
        return Step::Refused(request.transaction_id, refused);
    };
    let Ok(passkey) = <[u8; 32]>::try_from(passkey) else {
        return Step::Refused(request.transaction_id, Refusal::PasskeyUnknown.into());
    };
    let ahead = private.look_ahead(&passkey, &request.info_hash);
    Step::Member(MemberStep { source, request, passkey, ahead })
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
