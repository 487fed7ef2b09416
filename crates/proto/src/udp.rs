//! The UDP tracker protocol: BEP 15, with the URL data of BEP 41.
//!
//! All numbers are big-endian. Packets longer than the protocol says are accepted, shorter ones
//! are not. Replies are exact to the byte: libtorrent, Transmission and aria2 drop a reply with
//! anything after its end.

use crate::{Event, InfoHash, PeerId};

/// What a connect request starts with; anything else of its size is not ours to answer.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// Bytes of a connect request, and of its reply.
pub const CONNECT_BYTES: usize = 16;
/// Bytes of an announce request before its BEP 41 options.
pub const ANNOUNCE_BYTES: usize = 98;
/// Bytes of an announce reply before its peers.
pub const ANNOUNCE_REPLY_BYTES: usize = 20;
/// Most info_hashes answered in one scrape: 16 + 74 * 20 = 1496 bytes fill an Ethernet frame.
pub const SCRAPE_HASHES_MAX: usize = 74;
/// Bytes of a scrape reply before its entries.
pub const SCRAPE_REPLY_BYTES: usize = 8;

const HEAD_BYTES: usize = 16;

/// A number the tracker handed out for this source address, to be sent with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ConnectionId(pub u64);

/// A number the client chose, sent back unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct TransactionId(pub u32);

/// A datagram that is a request by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect(TransactionId),
    /// Takes part in a swarm.
    Announce(Announce<'a>),
    /// Asks for the counts of some swarms.
    Scrape(Scrape<'a>),
}

/// An announce. Its IP address field is left out: the source address is the peer's (BEP 7 of 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce<'a> {
    /// As handed out by an earlier connect; not yet checked.
    pub connection_id: ConnectionId,
    /// To be sent back.
    pub transaction_id: TransactionId,
    /// The swarm.
    pub info_hash: InfoHash,
    /// Chosen by the client.
    pub peer_id: PeerId,
    /// Bytes still missing; magnet links send 2^63-1 and 2^64-1 before they know.
    pub left: u64,
    /// Bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes uploaded since `started`.
    pub uploaded: u64,
    /// Why it announces; unknown values are read as none.
    pub event: Event,
    /// The address the client claims, 0 for none. Believed only where the operator says so.
    pub claimed_ip: u32,
    /// A client keeps its key when its address changes.
    pub key: u32,
    /// Peers wanted; `None` where the client leaves it to the tracker (any negative number).
    pub numwant: Option<u32>,
    /// The port it listens on; 0 where it does not.
    pub port: u16,
    /// What follows byte 98 (BEP 41), see [`Announce::url_data`].
    pub options: &'a [u8],
}

/// A scrape of 1 to [`SCRAPE_HASHES_MAX`] swarms; more are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape<'a> {
    /// As handed out by an earlier connect; not yet checked.
    pub connection_id: ConnectionId,
    /// To be sent back.
    pub transaction_id: TransactionId,
    hashes: &'a [[u8; 20]],
}

impl<'a> Scrape<'a> {
    /// The swarms asked for, in the order asked, repeats included.
    pub fn info_hashes(&self) -> impl ExactSizeIterator<Item = InfoHash> + 'a {
        self.hashes.iter().copied().map(InfoHash)
    }
}

/// Why a datagram is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Shorter than its action needs.
    Short,
    /// A connect without [`PROTOCOL_ID`]. Not a BitTorrent client: never answered.
    ProtocolId,
    /// Neither connect, announce nor scrape.
    Action,
    /// A scrape without a whole info_hash.
    NoInfoHash,
}

impl ParseError {
    /// What a client with a valid connection id is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Short => "packet too short for its action",
            Self::ProtocolId => "connect without the protocol id",
            Self::Action => "unknown action: use connect, announce or scrape",
            Self::NoInfoHash => "scrape without an info_hash",
        }
    }
}

/// Reads a datagram.
///
/// A datagram whose action is connect must carry the protocol id; every other carries a connection
/// id in its place, which the caller checks before it answers anything.
pub fn parse(datagram: &[u8]) -> Result<Request<'_>, ParseError> {
    let Some((head, body)) = datagram.split_first_chunk::<HEAD_BYTES>() else {
        return Err(ParseError::Short);
    };
    let id = read_u64(head, 0);
    let transaction_id = TransactionId(read_u32(head, 12));
    match read_u32(head, 8) {
        0 if id == PROTOCOL_ID => Ok(Request::Connect(transaction_id)),
        0 => Err(ParseError::ProtocolId),
        1 => parse_announce(ConnectionId(id), transaction_id, body).map(Request::Announce),
        2 => {
            let (hashes, _) = body.as_chunks::<20>();
            let hashes = &hashes[..hashes.len().min(SCRAPE_HASHES_MAX)];
            if hashes.is_empty() {
                return Err(ParseError::NoInfoHash);
            }
            let connection_id = ConnectionId(id);
            Ok(Request::Scrape(Scrape { connection_id, transaction_id, hashes }))
        }
        _ => Err(ParseError::Action),
    }
}

/// The connection id a datagram carries where one belongs, whatever else it holds: with it a
/// caller decides whether a malformed datagram has earned an error.
pub fn connection_id(datagram: &[u8]) -> Option<(ConnectionId, TransactionId)> {
    let head = datagram.first_chunk::<HEAD_BYTES>()?;
    Some((ConnectionId(read_u64(head, 0)), TransactionId(read_u32(head, 12))))
}

/// The info_hash of a datagram that has the size and action of an announce. For a look ahead; says
/// nothing about whether it will be granted.
pub fn announced_info_hash(datagram: &[u8]) -> Option<InfoHash> {
    let announce = datagram.first_chunk::<ANNOUNCE_BYTES>()?;
    (announce[8..12] == [0, 0, 0, 1]).then(|| {
        let hash = announce[HEAD_BYTES..].first_chunk::<20>().expect("98 - 16 is 20 or more");
        InfoHash(*hash)
    })
}

fn parse_announce(
    connection_id: ConnectionId,
    transaction_id: TransactionId,
    body: &[u8],
) -> Result<Announce<'_>, ParseError> {
    const BODY_BYTES: usize = ANNOUNCE_BYTES - HEAD_BYTES;
    let (fields, options) = body.split_first_chunk::<BODY_BYTES>().ok_or(ParseError::Short)?;
    let event = match read_u32(fields, 64) {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        // In no BEP: what libtorrent sends for BEP 21's paused.
        4 => Event::Paused,
        _ => Event::None,
    };
    let numwant = read_u32(fields, 76);
    Ok(Announce {
        connection_id,
        transaction_id,
        info_hash: InfoHash(read(fields, 0)),
        peer_id: PeerId(read(fields, 20)),
        downloaded: read_u64(fields, 40),
        left: read_u64(fields, 48),
        uploaded: read_u64(fields, 56),
        event,
        claimed_ip: read_u32(fields, 68),
        key: read_u32(fields, 72),
        numwant: (numwant <= i32::MAX as u32).then_some(numwant),
        port: u16::from_be_bytes(read(fields, 80)),
        options,
    })
}

impl<'a> Announce<'a> {
    /// The pieces of the URL data (path and query) in the options, to be joined in order (BEP 41).
    ///
    /// Ends at the end-of-options byte, at the end of the packet, and at an option that claims more
    /// bytes than there are: what follows a truncated option is not read.
    pub fn url_data(&self) -> impl Iterator<Item = &'a [u8]> {
        UrlData { rest: self.options }
    }
}

struct UrlData<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for UrlData<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (&kind, rest) = self.rest.split_first()?;
            match kind {
                0 => return None,
                1 => self.rest = rest,
                _ => {
                    let (&length, rest) = rest.split_first()?;
                    let (data, rest) = rest.split_at_checked(usize::from(length))?;
                    self.rest = rest;
                    if kind == 2 {
                        return Some(data);
                    }
                }
            }
        }
    }
}

/// The counts of one swarm in a scrape reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeEntry {
    /// Peers with nothing left.
    pub seeders: u32,
    /// How often the swarm was finished.
    pub completed: u32,
    /// All other peers.
    pub leechers: u32,
}

/// The reply to a connect.
pub fn connect_reply(id: ConnectionId, transaction_id: TransactionId) -> [u8; CONNECT_BYTES] {
    let mut reply = [0; CONNECT_BYTES];
    reply[4..8].copy_from_slice(&transaction_id.0.to_be_bytes());
    reply[8..].copy_from_slice(&id.0.to_be_bytes());
    reply
}

/// What an announce reply begins with; the peers follow, 6 bytes each for a datagram that came
/// over IPv4 and 18 over IPv6.
pub fn announce_reply_head(
    transaction_id: TransactionId,
    interval_secs: u32,
    leechers: u32,
    seeders: u32,
) -> [u8; ANNOUNCE_REPLY_BYTES] {
    let mut reply = [0; ANNOUNCE_REPLY_BYTES];
    for (index, field) in
        [1, transaction_id.0, interval_secs, leechers, seeders].into_iter().enumerate()
    {
        reply[index * 4..][..4].copy_from_slice(&field.to_be_bytes());
    }
    reply
}

/// What a scrape reply begins with; an entry for each hash asked follows, in the order asked.
pub fn scrape_reply_head(transaction_id: TransactionId) -> [u8; SCRAPE_REPLY_BYTES] {
    let mut reply = [0, 0, 0, 2, 0, 0, 0, 0];
    reply[4..].copy_from_slice(&transaction_id.0.to_be_bytes());
    reply
}

impl ScrapeEntry {
    /// As in a scrape reply: seeders, completed, leechers.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.seeders.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.completed.to_be_bytes());
        bytes[8..].copy_from_slice(&self.leechers.to_be_bytes());
        bytes
    }
}

/// What an error reply begins with; the text follows, to the end of the datagram.
pub fn error_reply_head(transaction_id: TransactionId) -> [u8; 8] {
    let mut reply = [0, 0, 0, 3, 0, 0, 0, 0];
    reply[4..].copy_from_slice(&transaction_id.0.to_be_bytes());
    reply
}

fn read<const N: usize, const M: usize>(bytes: &[u8; M], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

fn read_u32<const M: usize>(bytes: &[u8; M], at: usize) -> u32 {
    u32::from_be_bytes(read(bytes, at))
}

fn read_u64<const M: usize>(bytes: &[u8; M], at: usize) -> u64 {
    u64::from_be_bytes(read(bytes, at))
}
