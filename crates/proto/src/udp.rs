//! The UDP tracker protocol: BEP 15, with the URL data of BEP 41.
//!
//! All numbers are big-endian. Packets longer than the protocol says are accepted, shorter ones
//! are not. Replies are exact to the byte: libtorrent, Transmission and aria2 drop a reply with
//! anything after its end.

use crate::scan::find_byte;
use crate::{Event, InfoHash, PeerId, Route};

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

/// An announce.
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

/// Room for the path of a member's announce: a passkey of 32 bytes and ten more are 42.
pub type RouteRoom = [u8; 64];

impl Announce<'_> {
    /// What the path in the URL data asks for, its query left out. `None` without URL data, and
    /// for a path of more than 64 bytes.
    pub fn route<'r>(&self, room: &'r mut RouteRoom) -> Option<Route<'r>> {
        let mut length = 0;
        for piece in self.url_data() {
            let path = find_byte(piece, b'?').map_or(piece, |end| &piece[..end]);
            room.get_mut(length..length + path.len())?.copy_from_slice(path);
            length += path.len();
            if path.len() < piece.len() {
                break;
            }
        }
        Route::of(&room[..length])
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The bytes of a packet written in hex, spaces between the fields.
    #[track_caller]
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let (pairs, []) = digits.as_chunks::<2>() else { panic!("an even number of digits") };
        let value = |digit| crate::types::hex_digit(digit).expect("a hex digit");
        pairs.iter().map(|[high, low]| value(*high) << 4 | value(*low)).collect()
    }

    /// protocol id, action 0, transaction id.
    const CONNECT: &str = "0000041727101980 00000000 a1b2c3d4";

    const ANNOUNCE: &str = "
        1122334455667788                          # connection id
        00000001 a1b2c3d4                         # action, transaction id
        123456789abcdef123456789abcdef123456789a  # info_hash
        2d5452333030302d6162636465666768696a6b6c  # peer_id -TR3000-abcdefghijkl
        0000000000000400                          # downloaded
        7fffffffffffffff                          # left: a magnet link before its metadata
        0000000000000800                          # uploaded
        00000002                                  # event: started
        c0000207                                  # IP address: 192.0.2.7
        deadbeef                                  # key
        ffffffff                                  # num_want: -1
        1ae1                                      # port: 6881
    ";

    /// connection id, action 2, transaction id, two info_hashes.
    const SCRAPE: &str = "
        1122334455667788 00000002 a1b2c3d4
        123456789abcdef123456789abcdef123456789a
        0000000000000000000000000000000000000000
    ";

    fn packet(text: &str) -> Vec<u8> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        hex(&lines.collect::<Vec<_>>().concat())
    }

    fn announce(options: &[u8]) -> Vec<u8> {
        [&packet(ANNOUNCE)[..], options].concat()
    }

    #[track_caller]
    fn parse_announced(datagram: &[u8]) -> Announce<'_> {
        match parse(datagram) {
            Ok(Request::Announce(announce)) => announce,
            other => panic!("no announce: {other:?}"),
        }
    }

    #[test]
    fn requests_of_bep_15_are_read() {
        let transaction_id = TransactionId(0xa1b2_c3d4);
        let connection_id = ConnectionId(0x1122_3344_5566_7788);
        assert_eq!(parse(&packet(CONNECT)), Ok(Request::Connect(transaction_id)));
        let info_hash = InfoHash::from_hex("123456789abcdef123456789abcdef123456789a").unwrap();
        assert_eq!(
            parse(&packet(ANNOUNCE)),
            Ok(Request::Announce(Announce {
                connection_id,
                transaction_id,
                info_hash,
                peer_id: PeerId(*b"-TR3000-abcdefghijkl"),
                left: i64::MAX as u64,
                downloaded: 0x400,
                uploaded: 0x800,
                event: Event::Started,
                claimed_ip: 0xc000_0207,
                key: 0xdead_beef,
                numwant: None,
                port: 6881,
                options: &[],
            }))
        );
        let scrape = packet(SCRAPE);
        let Ok(Request::Scrape(scrape)) = parse(&scrape) else { panic!("a scrape") };
        assert_eq!((scrape.connection_id, scrape.transaction_id), (connection_id, transaction_id));
        assert!(scrape.info_hashes().eq([info_hash, InfoHash([0; 20])]));
    }

    #[test]
    fn every_strict_prefix_is_refused() {
        for packet in [packet(CONNECT), packet(ANNOUNCE)] {
            for length in 0..packet.len() {
                assert_eq!(parse(&packet[..length]), Err(ParseError::Short), "{length}");
            }
        }
        let scrape = packet(SCRAPE);
        for length in 0..scrape.len() {
            let hashes = match parse(&scrape[..length]) {
                Ok(Request::Scrape(scrape)) => scrape.info_hashes().len(),
                Err(ParseError::Short) if length < 16 => continue,
                Err(ParseError::NoInfoHash) if length < 36 => continue,
                other => panic!("{length}: {other:?}"),
            };
            // Two hashes are a scrape of one, with some bytes after it.
            assert_eq!(hashes, 1, "{length}");
        }
    }

    #[test]
    fn longer_packets_are_read() {
        let connect = [packet(CONNECT), [0xff; 84].into()].concat();
        assert_eq!(parse(&connect), Ok(Request::Connect(TransactionId(0xa1b2_c3d4))));
        // aria2 sends two zero bytes after its announce.
        assert_eq!(parse_announced(&announce(&[0, 0])).port, 6881);
    }

    #[test]
    fn other_protocol_ids_and_actions_are_refused() {
        let mut connect = packet(CONNECT);
        connect[7] ^= 1;
        assert_eq!(parse(&connect), Err(ParseError::ProtocolId));
        for action in [3, 4, 0x100, u32::MAX] {
            let mut other = packet(ANNOUNCE);
            other[8..12].copy_from_slice(&action.to_be_bytes());
            assert_eq!(parse(&other), Err(ParseError::Action), "{action}");
        }
    }

    #[test]
    fn connection_id_is_found_in_malformed_datagrams() {
        let other = packet("1122334455667788 00000009 a1b2c3d4 ff");
        let expected = (ConnectionId(0x1122_3344_5566_7788), TransactionId(0xa1b2_c3d4));
        assert_eq!(connection_id(&other), Some(expected));
        assert_eq!(connection_id(&other[..16]), Some(expected));
        assert_eq!(connection_id(&other[..15]), None);
    }

    #[test]
    fn events_and_numwants_are_read_as_clients_mean_them() {
        let events = [
            (0, Event::None),
            (1, Event::Completed),
            (2, Event::Started),
            (3, Event::Stopped),
            (4, Event::Paused),
            (5, Event::None),
            (0x0100_0002, Event::None),
            (u32::MAX, Event::None),
        ];
        for (number, event) in events {
            let mut datagram = packet(ANNOUNCE);
            datagram[80..84].copy_from_slice(&u32::to_be_bytes(number));
            assert_eq!(parse_announced(&datagram).event, event, "{number}");
        }
        let numwants = [
            (0, Some(0)),
            (1, Some(1)),
            (i32::MAX, Some(0x7fff_ffff)),
            (-1, None),
            (i32::MIN, None),
        ];
        for (number, numwant) in numwants {
            let mut datagram = packet(ANNOUNCE);
            datagram[92..96].copy_from_slice(&number.to_be_bytes());
            assert_eq!(parse_announced(&datagram).numwant, numwant, "{number}");
        }
    }

    #[test]
    fn left_keeps_its_64_bits() {
        for left in [0, 1 << 32, u64::MAX] {
            let mut datagram = packet(ANNOUNCE);
            datagram[64..72].copy_from_slice(&left.to_be_bytes());
            assert_eq!(parse_announced(&datagram).left, left);
        }
    }

    #[test]
    fn scrape_is_cut_off_at_74_swarms_and_keeps_their_order() {
        let mut datagram = packet("1122334455667788 00000002 a1b2c3d4");
        for index in 0..80_u8 {
            datagram.extend_from_slice(&[index % 60; 20]);
        }
        let Ok(Request::Scrape(scrape)) = parse(&datagram) else { panic!("a scrape") };
        assert_eq!(scrape.info_hashes().len(), SCRAPE_HASHES_MAX);
        let expected = (0..74).map(|index| InfoHash([index % 60; 20]));
        assert!(scrape.info_hashes().eq(expected));
    }

    #[test]
    fn url_data_of_bep_41_is_joined_in_order() {
        let cases: [(&str, &[u8]); 14] = [
            // No options, and the end at once.
            ("", b""),
            ("00", b""),
            ("00 02 02 2f61", b""),
            // "/announce", then the end, then what is not read.
            ("02 09 2f616e6e6f756e6365", b"/announce"),
            ("02 09 2f616e6e6f756e6365 00 02 01 78", b"/announce"),
            // NOPs before, between and after.
            ("01 01 02 02 2f61 01 02 02 2f62 01", b"/a/b"),
            // Zero length: no bytes, and the list goes on.
            ("02 00", b""),
            ("02 00 02 02 2f61", b"/a"),
            // An unknown option with its length, passed over.
            ("03 03 ffffff 02 02 2f61", b"/a"),
            ("ff 00 02 02 2f61", b"/a"),
            // Truncated: no length, no data, less data than it says. What came before counts.
            ("02", b""),
            ("02 02 2f61 02", b"/a"),
            ("02 02 2f61 02 03 2f62", b"/a"),
            ("02 02 2f61 03 05 00", b"/a"),
        ];
        for (options, expected) in cases {
            let datagram = announce(&hex(options));
            let announce = parse_announced(&datagram);
            assert_eq!(announce.url_data().collect::<Vec<_>>().concat(), expected, "{options}");
        }
    }

    #[test]
    fn url_data_longer_than_a_piece_is_joined_from_several() {
        let (first, second) = ([b'a'; 255], [b'b'; 45]);
        let options = [&[2, 255][..], &first, &[2, 45], &second, &[0]].concat();
        let datagram = announce(&options);
        let pieces: Vec<_> = parse_announced(&datagram).url_data().collect();
        assert_eq!(pieces, [&first[..], &second]);
    }

    #[test]
    fn replies_are_those_of_bep_15_to_the_byte() {
        let transaction_id = TransactionId(0xa1b2_c3d4);
        let connection_id = ConnectionId(0x1122_3344_5566_7788);
        // action 0, transaction id, connection id
        let connect = hex("00000000 a1b2c3d4 1122334455667788");
        assert_eq!(connect_reply(connection_id, transaction_id)[..], connect);
        // action 1, transaction id, interval 1800, leechers 3, seeders 5
        let announce = hex("00000001 a1b2c3d4 00000708 00000003 00000005");
        assert_eq!(announce_reply_head(transaction_id, 1800, 3, 5)[..], announce);
        // action 2, transaction id
        assert_eq!(scrape_reply_head(transaction_id)[..], hex("00000002 a1b2c3d4"));
        // seeders 5, completed 50, leechers 3
        let entry = ScrapeEntry { seeders: 5, completed: 50, leechers: 3 };
        assert_eq!(entry.to_bytes()[..], hex("00000005 00000032 00000003"));
        // action 3, transaction id
        assert_eq!(error_reply_head(transaction_id)[..], hex("00000003 a1b2c3d4"));
    }

    #[test]
    fn connect_round_trips_through_the_id_it_is_answered_with() {
        let reply = connect_reply(ConnectionId(u64::MAX - 7), TransactionId(9));
        // A client puts what it got in front of its next request.
        let next = [&reply[8..], &hex("00000001 00000009"), &packet(ANNOUNCE)[16..]].concat();
        let announce = parse_announced(&next);
        assert_eq!(announce.connection_id, ConnectionId(u64::MAX - 7));
        assert_eq!(announce.transaction_id, TransactionId(9));
    }
}
