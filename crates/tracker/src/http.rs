//! What is answered over HTTP (BEP 3, 7, 23, 24, 31, 48): request heads in, replies out.
//!
//! Only `/announce` and `/scrape` are answered here, and a passkey before either, which an open
//! tracker has no use for. Every other path, and a WebSocket, is left to the caller.

mod members;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::http::{
    self, AnnounceQuery, AnnounceReply, Body, Connection, Encoding, FailureReply, Form, Framing,
    Head, HeaderSlots, Method, PeerList, Request, RetryIn, ScrapeCounts, ScrapeReply, Status,
    Version,
};
use peerage_proto::{Family, InfoHash, Route};
use peerage_swarm::{Counts, Now};

use crate::announce::Manner;
use crate::{
    Announce, Announced, Families, Kind, Prefix, Protocol, Refusal, Refused, Rules, Tracker,
    Warning, Worker,
};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Answered; the connection may serve another request.
    KeepAlive,
    /// Answered; the connection is to be closed once the reply is sent.
    Close,
    /// Not ours: neither announce nor scrape. Nothing was written; give it to the web stack.
    Elsewhere,
    /// The head of the reply was written; its body is what [`FullScrape`] writes.
    FullScrape(Stream),
}

/// The reply to an announce is better written a little later: other nodes are being asked for the
/// peers of this swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited(pub InfoHash);

/// How the body of a full scrape is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// How the pieces are coded, before they are framed.
    pub encoding: Encoding,
    /// How they are framed.
    pub framing: Framing,
    /// What becomes of the connection after the last piece.
    pub connection: Connection,
}

/// What an operator sets about HTTP.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The header in which a proxy says whom it speaks for, such as `X-Forwarded-For`. Without it,
    /// or where the connection comes from no trusted proxy, its other end is the client.
    pub forwarded_header: Option<String>,
    /// Who is believed. Nobody where it is empty.
    pub trusted_proxies: Vec<Prefix>,
    /// Whether clients are told the address they are seen at (BEP 24). To be turned off behind a
    /// proxy whose header is not read.
    pub external_ip: bool,
    /// How many seconds to wait between two scrapes, told to Transmission.
    pub scrape_interval_secs: Option<u32>,
}

/// Answers the requests of one worker.
pub struct Endpoint {
    tracker: Arc<Tracker>,
    settings: Arc<Settings>,
    worker: Worker,
    /// The swarms of the scrape being answered; at most [`Rules::scrape_hashes_max`].
    scraped: Vec<InfoHash>,
    /// The announce that was left, while it is handled.
    awaited: Option<Awaited>,
}

impl From<http::QueryError> for Refused {
    fn from(error: http::QueryError) -> Self {
        Self { refusal: Refusal::Malformed, text: error.text() }
    }
}

impl Endpoint {
    /// An endpoint with counters of its own. `seed` is random.
    pub fn new(tracker: Arc<Tracker>, settings: Arc<Settings>, seed: u64) -> Self {
        let worker = tracker.worker(seed);
        Self { tracker, settings, worker, scraped: Vec::new(), awaited: None }
    }

    /// Answers one request. `head` is the request up to and with its empty line (see
    /// [`http::HeadEnd`]); `source` is the other end of the connection. The reply, status line and
    /// head included, is appended to `reply`.
    ///
    /// A request with a body is answered and its connection closed: the body is not read.
    pub fn handle(
        &mut self,
        now: Now,
        source: IpAddr,
        head: &[u8],
        reply: &mut Vec<u8>,
    ) -> Handled {
        self.handle_in(Manner::AtOnce, now, source, head, reply)
    }

    /// As [`Endpoint::handle`], but of the first announce to a swarm nothing is written while other
    /// nodes are being asked for its peers.
    pub fn handle_patiently(
        &mut self,
        now: Now,
        source: IpAddr,
        head: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Awaited> {
        let handled = self.handle_in(Manner::Patiently, now, source, head, reply);
        self.awaited.take().map_or(Ok(handled), Err)
    }

    /// Answers a request that was left, with what is known by now.
    pub fn handle_late(
        &mut self,
        now: Now,
        source: IpAddr,
        head: &[u8],
        reply: &mut Vec<u8>,
    ) -> Handled {
        self.handle_in(Manner::Late, now, source, head, reply)
    }

    /// Whether other nodes are still being asked.
    pub fn is_awaited(&self, Awaited(info_hash): &Awaited) -> bool {
        self.tracker.share().is_some_and(|share| share.is_awaited(info_hash))
    }

    fn handle_in(
        &mut self,
        manner: Manner,
        now: Now,
        source: IpAddr,
        head: &[u8],
        reply: &mut Vec<u8>,
    ) -> Handled {
        self.tracker.refresh(&mut self.worker);
        self.awaited = None;
        let mut slots = HeaderSlots::new();
        let request = match Request::parse(head, &mut slots) {
            Ok(request) => request,
            Err(error) => {
                self.worker.counters.malformed_requests.add(1);
                http::write_error(reply, error.status(), error.text());
                return Handled::Close;
            }
        };
        let Some(route) = Route::of(request.path.as_bytes()).filter(|_| !request.websocket) else {
            return Handled::Elsewhere;
        };
        if request.method == Method::Other {
            self.worker.counters.malformed_requests.add(1);
            http::write_error(reply, Status::MethodNotAllowed, "send GET or HEAD");
            return Handled::Close;
        }
        let connection = match request.body {
            Body::None if self.worker.rules.keep_alive => request.connection,
            Body::None | Body::Bytes(_) | Body::Coded => Connection::Close,
        };
        let head = Head {
            status: Status::Ok,
            method: request.method,
            version: request.version,
            connection,
        };
        let address = self.client_address(source, &request);
        let answered = match (self.tracker.private(), route) {
            (None, Route::Announce) => {
                self.announce(manner, now, address, request.query, &head, reply)
            }
            (None, Route::Scrape) => self.scrape(address, &request, &head, reply),
            (None, Route::MemberAnnounce(_) | Route::MemberScrape(_)) => {
                Err(Refusal::NoMembers.into())
            }
            (Some(_), Route::MemberAnnounce(passkey)) => {
                self.announce_member(now, address, passkey, &request, &head, reply)
            }
            (Some(_), Route::MemberScrape(passkey)) => {
                self.scrape_member(address, passkey, &request, &head, reply)
            }
            (Some(_), Route::Announce | Route::Scrape) => Err(Refusal::NoPasskey.into()),
        };
        answered.unwrap_or_else(|refused| {
            self.worker.counters.refused(Protocol::Http, refused.refusal);
            http::write_reply(reply, &head, |body| {
                failure(refused, &self.worker.rules).write(body);
            });
            handled(connection)
        })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.settings.trusted_proxies.iter().any(|prefix| prefix.contains(address))
    }

    /// The client's own address: the other end of the connection, or whom trusted proxies name.
    fn client_address(&self, source: IpAddr, request: &Request<'_, '_>) -> IpAddr {
        match &self.settings.forwarded_header {
            None => source.to_canonical(),
            Some(name) => http::forwarded_address(request.header(name), source, |address| {
                self.trusts(address)
            }),
        }
    }

    fn announce(
        &mut self,
        manner: Manner,
        now: Now,
        address: IpAddr,
        query: &[u8],
        head: &Head,
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Refused> {
        let query = AnnounceQuery::parse(query)?;
        let address = self.worker.rules.address(address, || query.claimed_address());
        if manner != Manner::Late {
            self.worker.count_announce(Protocol::Http, address, &query.peer_id);
        }
        let announce = Announce {
            info_hash: query.info_hash,
            peer_id: query.peer_id,
            address,
            port: query.port,
            left: query.left,
            event: query.event,
            numwant: query.numwant,
            families: Families::Both,
        };
        self.worker.awaited = false;
        let announced = self.tracker.announce(now, &mut self.worker, &announce)?;
        if self.worker.awaited && manner == Manner::Patiently {
            self.awaited = Some(Awaited(query.info_hash));
            return Ok(handled(head.connection));
        }
        self.write_announced(address, query.form, &announced, head, reply);
        Ok(handled(head.connection))
    }

    fn write_announced(
        &self,
        address: IpAddr,
        form: Form,
        announced: &Announced,
        head: &Head,
        reply: &mut Vec<u8>,
    ) {
        let peers = &self.worker.peers;
        let answer = AnnounceReply {
            seeders: announced.counts.seeders,
            leechers: announced.counts.leechers,
            completed: announced.counts.completed,
            interval_secs: announced.interval_secs,
            min_interval_secs: announced.min_interval_secs,
            external_ip: self.settings.external_ip.then_some(address),
            warning: announced.warning.map(Warning::text),
            peers: PeerList {
                v4: &peers.v4,
                v6: &peers.v6,
                ids_v4: &peers.ids_v4,
                ids_v6: &peers.ids_v6,
            },
        };
        http::write_reply(reply, head, |body| answer.write(form, body));
    }

    fn scrape(
        &mut self,
        address: IpAddr,
        request: &Request<'_, '_>,
        head: &Head,
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Refused> {
        let Self { tracker, settings, worker, scraped, .. } = self;
        scraped.clear();
        for info_hash in http::scrape_hashes(request.query) {
            let info_hash = info_hash?;
            if scraped.len() == worker.rules.scrape_hashes_max as usize {
                return Err(Refusal::ScrapeTooLong.into());
            }
            tracker.swarms().prefetch(tracker.swarms().key(&info_hash));
            scraped.push(info_hash);
        }
        worker.counters.request(Protocol::Http, Family::of(address), Kind::Scrape);
        if scraped.is_empty() {
            return self.full_scrape(request, head, reply);
        }
        // The keys of a dictionary rise, and each is there once.
        scraped.sort_unstable();
        scraped.dedup();
        http::write_reply(reply, head, |body| {
            let mut files = ScrapeReply::open(body);
            for info_hash in scraped.iter() {
                files.swarm(info_hash, scrape_counts(tracker.scrape(worker, info_hash)));
            }
            files.close(settings.scrape_interval_secs);
        });
        Ok(handled(head.connection))
    }

    fn full_scrape(
        &self,
        request: &Request<'_, '_>,
        head: &Head,
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Refused> {
        if !self.worker.rules.full_scrape {
            return Err(Refusal::FullScrape.into());
        }
        let encoding = request.encoding;
        let (framing, connection) = match request.version {
            Version::Http10 => (Framing::UntilClose, Connection::Close),
            Version::Http11 => (Framing::Chunked, head.connection),
        };
        http::write_stream_head(reply, &Head { connection, ..*head }, encoding, framing);
        Ok(match request.method {
            Method::Head => handled(connection),
            _ => Handled::FullScrape(Stream { encoding, framing, connection }),
        })
    }
}

fn handled(connection: Connection) -> Handled {
    match connection {
        Connection::KeepAlive => Handled::KeepAlive,
        Connection::Close => Handled::Close,
    }
}

/// What may change by itself is to be asked again after the longest interval, the rest never.
fn failure(refused: Refused, rules: &Rules) -> FailureReply<'static> {
    let reply = FailureReply::new(refused.text);
    match refused.refusal {
        Refusal::NotListed | Refusal::AddressFull => {
            let interval_secs = rules.interval.max_secs;
            FailureReply {
                interval_secs: Some(interval_secs),
                retry_in: Some(RetryIn::Minutes(interval_secs.div_ceil(60))),
                ..reply
            }
        }
        Refusal::FullScrape | Refusal::ScrapeTooLong | Refusal::NoMembers | Refusal::Malformed => {
            FailureReply { retry_in: Some(RetryIn::Never), ..reply }
        }
        Refusal::NoPasskey
        | Refusal::PasskeyUnknown
        | Refusal::Unregistered
        | Refusal::NotCompact
        | Refusal::NoPeerId
        | Refusal::InvalidPeerId
        | Refusal::ClientNotAllowed
        | Refusal::LeechForbidden
        | Refusal::MembersScrapeOverHttp => FailureReply {
            interval_secs: Some(MEMBER_REFUSED_SECS),
            min_interval_secs: Some(MEMBER_REFUSED_SECS),
            ..reply
        },
    }
}

/// When a member who was refused may ask again: as Ocelot has it.
const MEMBER_REFUSED_SECS: u32 = 5400;

fn scrape_counts(counts: Counts) -> ScrapeCounts {
    let Counts { seeders, leechers, paused, completed } = counts;
    ScrapeCounts { seeders, leechers, paused, completed }
}

/// The body of a full scrape, a piece at a time, so that no reply holds all swarms at once and no
/// lock is held while it is sent.
///
/// The swarms come in the order of the store, each once: to sort them by info_hash, as canonical
/// bencode wants it, all of them would have to be held. Swarms that come or go meanwhile may be in
/// it or not.
pub struct FullScrape {
    tracker: Arc<Tracker>,
    rules: Arc<Rules>,
    scrape_interval_secs: Option<u32>,
    /// The next part to be written; below `parts`, or equal to it once all is written.
    part: u32,
    parts: u32,
}

/// Swarms in one piece, about: 4096 entries of at most 120 bytes each are under half a megabyte.
const SWARMS_PER_PIECE: u64 = 4096;

/// Whether there is more to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is.
    More,
    /// That was the last.
    Done,
}

impl FullScrape {
    /// To be called when [`Endpoint::handle`] says [`Handled::FullScrape`]. Whoever sends it bounds
    /// how many are sent at once.
    pub fn new(tracker: Arc<Tracker>, settings: &Settings) -> Self {
        let parts = tracker.swarms().totals().swarms / SWARMS_PER_PIECE + 1;
        Self {
            rules: tracker.rules(),
            tracker,
            scrape_interval_secs: settings.scrape_interval_secs,
            part: 0,
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
        }
    }

    /// Appends the next piece to `out`, neither coded nor framed. Appends nothing once it has said
    /// [`Progress::Done`].
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.part == self.parts {
            return Progress::Done;
        }
        let mut files = match self.part {
            0 => ScrapeReply::open(out),
            _ => ScrapeReply::resume(out),
        };
        self.tracker.swarms().for_each_in(self.part, self.parts, |info_hash, counts| {
            if self.rules.access.allows(info_hash) {
                files.swarm(info_hash, scrape_counts(counts));
            }
        });
        self.part += 1;
        if self.part < self.parts {
            return Progress::More;
        }
        files.close(self.scrape_interval_secs);
        Progress::Done
    }
}
