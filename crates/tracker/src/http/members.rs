//! Announces and scrapes of members over HTTP: `/{passkey}/announce`, `/{passkey}/scrape`.
//!
//! Checked in Ocelot's order, with its words: the passkey, the torrent, `compact=1`, the peer_id,
//! the client.

use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::Family;
use peerage_proto::http::{self, AnnounceQuery, Head, QueryError, Request, ScrapeReply};
use peerage_swarm::Now;

use super::{Endpoint, Handled, handled, scrape_counts};
use crate::{Announce, Families, Kind, Protocol, Refusal, Refused, Tracker, private};

impl Endpoint {
    pub(super) fn announce_member(
        &mut self,
        now: Now,
        address: IpAddr,
        passkey: &[u8],
        request: &Request<'_, '_>,
        head: &Head,
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Refused> {
        self.worker.counters.request(Protocol::Http, Family::of(address), Kind::Announce);
        let private = self.tracker.private().ok_or(Refusal::NoMembers)?;
        let query = AnnounceQuery::parse(request.query);
        if let Ok(AnnounceQuery { info_hash, peer_id, .. }) = &query {
            private.look_through(passkey, info_hash, peer_id);
        }
        let member = private.standing(passkey)?;
        let query = query.map_err(|error| refused(&self.tracker, error, request.query))?;
        let torrent = private.registered(&query.info_hash)?;
        if !query.says_compact {
            return Err(Refusal::NotCompact.into());
        }
        // Not what a proxy passes on, but what somebody says whom the operator trusts.
        let address = match query.claimed_address() {
            Some(claimed) if self.trusts(address) => claimed,
            _ => address,
        };
        self.worker.sample(Protocol::Http, address, &query.peer_id);
        let announce = private::Announce {
            announce: Announce {
                info_hash: query.info_hash,
                peer_id: query.peer_id,
                address,
                port: query.port,
                left: query.left,
                event: query.event,
                numwant: query.numwant,
                families: Families::Both,
            },
            uploaded: query.uploaded,
            downloaded: query.downloaded,
            corrupt: query.corrupt,
            user_agent: request.header("User-Agent").next_back().unwrap_or_default(),
        };
        let announced =
            self.tracker.announce_standing(now, &mut self.worker, &member, torrent, &announce)?;
        self.write_announced(address, query.form, &announced, head, reply);
        Ok(handled(head.connection))
    }

    /// Torrents that are not registered are left out, and so are all of a scrape that names none.
    pub(super) fn scrape_member(
        &mut self,
        address: IpAddr,
        passkey: &[u8],
        request: &Request<'_, '_>,
        head: &Head,
        reply: &mut Vec<u8>,
    ) -> Result<Handled, Refused> {
        let Self { tracker, settings, worker, scraped, .. } = self;
        worker.counters.request(Protocol::Http, Family::of(address), Kind::Scrape);
        tracker.private().ok_or(Refusal::NoMembers)?.standing(passkey)?;
        scraped.clear();
        // What is no info_hash is none that is registered.
        for info_hash in http::scrape_hashes(request.query).flatten() {
            if scraped.len() == worker.rules.scrape_hashes_max as usize {
                return Err(Refusal::ScrapeTooLong.into());
            }
            scraped.push(info_hash);
        }
        // The keys of a dictionary rise, and each is there once.
        scraped.sort_unstable();
        scraped.dedup();
        http::write_reply(reply, head, |body| {
            let mut files = ScrapeReply::open(body);
            for info_hash in scraped.iter() {
                if let Some(counts) = tracker.scrape_member(info_hash) {
                    files.swarm(info_hash, scrape_counts(counts));
                }
            }
            files.close(settings.scrape_interval_secs);
        });
        Ok(handled(head.connection))
    }
}

/// Why a query that cannot be read is refused: by what is checked first.
fn refused(tracker: &Tracker, error: QueryError, query: &[u8]) -> Refused {
    let no_peer = match error {
        QueryError::InfoHashMissing
        | QueryError::InfoHashLength
        | QueryError::InfoHashEscape
        | QueryError::InfoHashRaw => return Refusal::Unregistered.into(),
        QueryError::PeerIdMissing => Refusal::NoPeerId,
        QueryError::PeerIdLength | QueryError::PeerIdEscape | QueryError::PeerIdRaw => {
            Refusal::InvalidPeerId
        }
        QueryError::InfoHashDoubled
        | QueryError::Port
        | QueryError::Left
        | QueryError::Uploaded
        | QueryError::Downloaded => return error.into(),
    };
    let info_hash = http::scrape_hashes(query).next().and_then(Result::ok);
    let registered = match (tracker.private(), info_hash) {
        (Some(private), Some(info_hash)) => private.registered(&info_hash).map(drop),
        _ => Err(Refusal::Unregistered.into()),
    };
    match registered {
        Err(refused) => refused,
        Ok(()) if !http::says_compact(query) => Refusal::NotCompact.into(),
        Ok(()) => no_peer.into(),
    }
}
