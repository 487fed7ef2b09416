//! The queries of an announce (BEP 3) and of a scrape (BEP 48), read in place.
//!
//! - Keys are taken literally, case and all; what is not known is passed over.
//! - `info_hash` and `peer_id` are bytes, never text: `+` is 0x2B, both cases of hex digits and
//!   needless escapes are read, bytes outside printable ASCII must be escaped.
//! - `info_hash` twice in an announce is refused; of any other parameter the last one counts.
//! - A number that is empty is as if it were not there.

use core::net::IpAddr;

use crate::scan::find_byte;
use crate::{Event, InfoHash, PeerId};

/// The query of an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceQuery<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Chosen by the client.
    pub peer_id: PeerId,
    /// The port it listens on; 0 where it says 0 or nothing (aria2 when it does not listen).
    pub port: u16,
    /// Bytes uploaded since `started`; 0 where it does not say.
    pub uploaded: u64,
    /// Bytes downloaded since `started`; 0 where it does not say.
    pub downloaded: u64,
    /// Bytes that failed their hash since `started`, in no BEP but sent by libtorrent and uTorrent;
    /// `None` where it does not say, or says no number.
    pub corrupt: Option<u64>,
    /// Bytes still missing, `None` where it does not say. Magnet links send 2^63-1 and 2^64-1.
    pub left: Option<u64>,
    /// Why it announces; unknown values are read as none.
    pub event: Event,
    /// Peers wanted; `None` where it does not say, or says no number that is 0 or more. What is
    /// more than `u32::MAX` is read as that.
    pub numwant: Option<u32>,
    /// How it wants the peers.
    pub form: Form,
    /// Whether it says `compact=1` in so many words.
    pub says_compact: bool,
    /// The address it claims, as sent. Not to be believed (BEP 7).
    pub ip: Option<&'a [u8]>,
    /// The IPv4 address it claims, as sent. Not to be believed.
    pub ipv4: Option<&'a [u8]>,
    /// The IPv6 address it claims, as sent. Not to be believed.
    pub ipv6: Option<&'a [u8]>,
}

/// How peers are listed in an announce reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Strings of 6 and 18 bytes a peer (BEP 23, BEP 7). Unless the client says `compact=0`.
    #[default]
    Compact,
    /// A list of dictionaries (BEP 3).
    Dictionary,
    /// A list of dictionaries without `peer id` (`no_peer_id`).
    DictionaryWithoutPeerId,
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// There is no info_hash.
    InfoHashMissing,
    /// More than one info_hash, in an announce.
    InfoHashDoubled,
    /// An info_hash of more or less than 20 bytes.
    InfoHashLength,
    /// A `%` without two hex digits in an info_hash.
    InfoHashEscape,
    /// A byte in an info_hash that is to be escaped.
    InfoHashRaw,
    /// There is no peer_id.
    PeerIdMissing,
    /// A peer_id of more or less than 20 bytes.
    PeerIdLength,
    /// A `%` without two hex digits in a peer_id.
    PeerIdEscape,
    /// A byte in a peer_id that is to be escaped.
    PeerIdRaw,
    /// The port is no number, or too large. Never for 0.
    Port,
    /// `left` is no number of 64 bits.
    Left,
    /// `uploaded` is no number of 64 bits.
    Uploaded,
    /// `downloaded` is no number of 64 bits.
    Downloaded,
}

impl QueryError {
    /// Every variant.
    pub const ALL: [Self; 13] = [
        Self::InfoHashMissing,
        Self::InfoHashDoubled,
        Self::InfoHashLength,
        Self::InfoHashEscape,
        Self::InfoHashRaw,
        Self::PeerIdMissing,
        Self::PeerIdLength,
        Self::PeerIdEscape,
        Self::PeerIdRaw,
        Self::Port,
        Self::Left,
        Self::Uploaded,
        Self::Downloaded,
    ];

    /// What is wrong and what would be right: the failure reason.
    pub const fn text(self) -> &'static str {
        match self {
            Self::InfoHashMissing => "info_hash is missing: send 20 bytes, percent-encoded",
            Self::InfoHashDoubled => "info_hash is there twice: announce one swarm at a time",
            Self::InfoHashLength => "info_hash must have 20 bytes once percent-decoded",
            Self::InfoHashEscape => "info_hash has a bad escape: % needs two hex digits after it",
            Self::InfoHashRaw => "info_hash has a byte outside printable ASCII: percent-encode it",
            Self::PeerIdMissing => "peer_id is missing: send 20 bytes, percent-encoded",
            Self::PeerIdLength => "peer_id must have 20 bytes once percent-decoded",
            Self::PeerIdEscape => "peer_id has a bad escape: % needs two hex digits after it",
            Self::PeerIdRaw => "peer_id has a byte outside printable ASCII: percent-encode it",
            Self::Port => "port must be between 1 and 65535",
            Self::Left => "left must be a whole number from 0 to 18446744073709551615",
            Self::Uploaded => "uploaded must be a whole number from 0 to 18446744073709551615",
            Self::Downloaded => "downloaded must be a whole number from 0 to 18446744073709551615",
        }
    }
}

/// The parameters an announce is read for, as sent.
#[derive(Default)]
struct Parameters<'a> {
    info_hash: Option<&'a [u8]>,
    peer_id: Option<&'a [u8]>,
    port: &'a [u8],
    uploaded: &'a [u8],
    downloaded: &'a [u8],
    left: &'a [u8],
    event: &'a [u8],
    numwant: &'a [u8],
    corrupt: &'a [u8],
    compact: &'a [u8],
    no_peer_id: &'a [u8],
    ip: Option<&'a [u8]>,
    ipv4: Option<&'a [u8]>,
    ipv6: Option<&'a [u8]>,
}

impl<'a> AnnounceQuery<'a> {
    /// Reads what follows the `?`.
    pub fn parse(query: &'a [u8]) -> Result<Self, QueryError> {
        let raw = Parameters::collect(query)?;
        let info_hash = read_info_hash(raw.info_hash.ok_or(QueryError::InfoHashMissing)?)?;
        let peer_id = decode_exactly(raw.peer_id.ok_or(QueryError::PeerIdMissing)?);
        let peer_id = peer_id.map_err(|fault| match fault {
            Fault::Length => QueryError::PeerIdLength,
            Fault::Escape => QueryError::PeerIdEscape,
            Fault::Raw => QueryError::PeerIdRaw,
        })?;
        let port = Number::read(raw.port).optional(QueryError::Port)?.unwrap_or(0);
        Ok(Self {
            info_hash,
            peer_id: PeerId(peer_id),
            port: u16::try_from(port).map_err(|_| QueryError::Port)?,
            uploaded: Number::read(raw.uploaded).optional(QueryError::Uploaded)?.unwrap_or(0),
            downloaded: Number::read(raw.downloaded).optional(QueryError::Downloaded)?.unwrap_or(0),
            corrupt: match Number::read(raw.corrupt) {
                Number::Value(value) => Some(value),
                Number::TooLarge | Number::Absent | Number::Garbage => None,
            },
            left: Number::read(raw.left).optional(QueryError::Left)?,
            event: read_event(raw.event),
            numwant: match Number::read(raw.numwant) {
                Number::Value(value) => Some(u32::try_from(value).unwrap_or(u32::MAX)),
                Number::TooLarge => Some(u32::MAX),
                Number::Absent | Number::Garbage => None,
            },
            form: match (raw.compact, raw.no_peer_id) {
                (b"0", b"" | b"0") => Form::Dictionary,
                (b"0", _) => Form::DictionaryWithoutPeerId,
                _ => Form::Compact,
            },
            says_compact: raw.compact == b"1",
            ip: raw.ip,
            ipv4: raw.ipv4,
            ipv6: raw.ipv6,
        })
    }

    /// The address it claims: the first of `ip`, `ipv4` and `ipv6` that is one. For askers whom
    /// the operator trusts.
    pub fn claimed_address(&self) -> Option<IpAddr> {
        let claims = [self.ip, self.ipv4, self.ipv6];
        claims.into_iter().flatten().find_map(|claim| {
            // The longest address has 45 characters.
            let mut room = [0; 45];
            let text = core::str::from_utf8(decode(claim, &mut room).ok()?).ok()?;
            text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
        })
    }
}

impl<'a> Parameters<'a> {
    fn collect(query: &'a [u8]) -> Result<Self, QueryError> {
        let mut raw = Self::default();
        for (key, value) in pairs(query) {
            match key {
                b"info_hash" if raw.info_hash.is_some() => return Err(QueryError::InfoHashDoubled),
                b"info_hash" => raw.info_hash = Some(value),
                b"peer_id" => raw.peer_id = Some(value),
                b"port" => raw.port = value,
                b"uploaded" => raw.uploaded = value,
                b"downloaded" => raw.downloaded = value,
                b"left" => raw.left = value,
                b"corrupt" => raw.corrupt = value,
                b"event" => raw.event = value,
                b"numwant" => raw.numwant = value,
                b"compact" => raw.compact = value,
                b"no_peer_id" => raw.no_peer_id = value,
                b"ip" => raw.ip = Some(value),
                b"ipv4" => raw.ipv4 = Some(value),
                b"ipv6" => raw.ipv6 = Some(value),
                _ => {}
            }
        }
        Ok(raw)
    }
}

/// The swarms a scrape asks for, in the order asked, repeats included. Parameters that are no
/// `info_hash` are passed over; a query without one asks for all swarms.
pub fn scrape_hashes(query: &[u8]) -> impl Iterator<Item = Result<InfoHash, QueryError>> {
    pairs(query).filter(|(key, _)| *key == b"info_hash").map(|(_, value)| read_info_hash(value))
}

/// Whether a query says `compact=1`, where the rest of it may be wrong.
pub fn says_compact(query: &[u8]) -> bool {
    pairs(query).filter(|(key, _)| *key == b"compact").last().is_some_and(|pair| pair.1 == b"1")
}

/// The keys and values between the `&`s; a key without `=` has an empty value.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(query);
    core::iter::from_fn(move || {
        let bytes = rest?;
        let pair = match find_byte(bytes, b'&') {
            Some(end) => {
                rest = Some(&bytes[end + 1..]);
                &bytes[..end]
            }
            None => {
                rest = None;
                bytes
            }
        };
        Some(match find_byte(pair, b'=') {
            Some(equals) => (&pair[..equals], &pair[equals + 1..]),
            None => (pair, &[][..]),
        })
    })
}

fn read_info_hash(value: &[u8]) -> Result<InfoHash, QueryError> {
    decode_exactly(value).map(InfoHash).map_err(|fault| match fault {
        Fault::Length => QueryError::InfoHashLength,
        Fault::Escape => QueryError::InfoHashEscape,
        Fault::Raw => QueryError::InfoHashRaw,
    })
}

fn read_event(value: &[u8]) -> Event {
    // The longest is "completed".
    let mut buffer = [0; 9];
    match decode(value, &mut buffer) {
        Ok(b"started") => Event::Started,
        Ok(b"completed") => Event::Completed,
        Ok(b"stopped") => Event::Stopped,
        Ok(b"paused") => Event::Paused,
        _ => Event::None,
    }
}

/// What a value says as a decimal number.
enum Number {
    /// There is nothing.
    Absent,
    /// A number.
    Value(u64),
    /// Digits, but more than 64 bits hold.
    TooLarge,
    /// Something else; a sign is enough.
    Garbage,
}

impl Number {
    fn read(value: &[u8]) -> Self {
        // Room for 2^64 - 1 with some zeros before it.
        let mut buffer = [0; 24];
        let digits = match find_byte(value, b'%') {
            None => value,
            Some(_) => match decode(value, &mut buffer) {
                Ok(digits) => digits,
                Err(_) => return Self::Garbage,
            },
        };
        if digits.is_empty() {
            return Self::Absent;
        }
        if !digits.iter().all(u8::is_ascii_digit) {
            return Self::Garbage;
        }
        let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        digits.iter().try_fold(0, add).map_or(Self::TooLarge, Self::Value)
    }

    fn optional(self, error: QueryError) -> Result<Option<u64>, QueryError> {
        match self {
            Self::Absent => Ok(None),
            Self::Value(value) => Ok(Some(value)),
            Self::TooLarge | Self::Garbage => Err(error),
        }
    }
}

/// What keeps a value from being decoded.
enum Fault {
    Length,
    Escape,
    Raw,
}

fn decode_exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    match decode(value, &mut bytes)?.len() == N {
        true => Ok(bytes),
        false => Err(Fault::Length),
    }
}

/// Percent-decodes `value` into `room`; more than there is room for is a [`Fault::Length`].
fn decode<'r>(value: &[u8], room: &'r mut [u8]) -> Result<&'r [u8], Fault> {
    let mut rest = value;
    let mut length = 0;
    while let [first, after @ ..] = rest {
        let byte = match *first {
            b'%' => {
                let [high, low, after @ ..] = after else { return Err(Fault::Escape) };
                let (high, low) = (HEX[usize::from(*high)], HEX[usize::from(*low)]);
                if (high | low) & NO_HEX != 0 {
                    return Err(Fault::Escape);
                }
                rest = after;
                high << 4 | low
            }
            byte @ 0x21..=0x7e => {
                rest = after;
                byte
            }
            _ => return Err(Fault::Raw),
        };
        *room.get_mut(length).ok_or(Fault::Length)? = byte;
        length += 1;
    }
    Ok(&room[..length])
}

const NO_HEX: u8 = 0x80;

/// The value of each hex digit of either case, [`NO_HEX`] for what is none.
const HEX: [u8; 256] = {
    let mut table = [NO_HEX; 256];
    let mut byte = 0;
    while byte < 256 {
        if let Some(digit) = crate::types::hex_digit(byte as u8) {
            table[byte] = digit;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// The info_hash of the requests below, plain and escaped.
    const HASH: InfoHash = InfoHash(
        *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
    );
    const ESCAPED: &str = "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A";
    const PEER_ID: &str = "-TR3000-abcdefghijkl";

    fn query(extra: &str) -> String {
        format!("info_hash={ESCAPED}&peer_id={PEER_ID}&port=6881&left=1000{extra}")
    }

    #[track_caller]
    fn parse(query: &str) -> AnnounceQuery<'_> {
        AnnounceQuery::parse(query.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {query}"))
    }

    #[test]
    fn query_as_in_bep_3_is_read() {
        let query = query("&uploaded=3&downloaded=2&event=started&numwant=30&compact=1");
        assert_eq!(
            parse(&query),
            AnnounceQuery {
                info_hash: HASH,
                peer_id: PeerId(*b"-TR3000-abcdefghijkl"),
                port: 6881,
                uploaded: 3,
                downloaded: 2,
                corrupt: None,
                left: Some(1000),
                event: Event::Started,
                numwant: Some(30),
                form: Form::Compact,
                says_compact: true,
                ip: None,
                ipv4: None,
                ipv6: None,
            }
        );
    }

    /// What each client sends, by its source, with values that are easy to tell apart.
    #[test]
    fn queries_of_real_clients_are_read() {
        let lower = "%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a";
        let all = "%12%34%56%78%9A%BC%DE%F1%23%45%67%89%AB%CD%EF%12%34%56%78%9A";
        let clients = [
            format!(
                "info_hash={lower}&peer_id=-LT20B0-!a(b)c*d~e.f&port=6881&uploaded=0&downloaded=0\
                 &left=1000&corrupt=0&key=0A1B2C3D&event=started&numwant=200&compact=1&no_peer_id=1\
                 &supportcrypto=1&redundant=0&ipv4=192.0.2.1&ipv6=2001%3adb8%3a%3a1"
            ),
            format!(
                "info_hash={ESCAPED}&peer_id={PEER_ID}&port=6881&uploaded=0&downloaded=0&left=1000\
                 &numwant=200&key=1A2B3C4D&compact=1&supportcrypto=1&event=started&ipv6=2001:db8::1"
            ),
            format!(
                "compact=1&downloaded=0&event=started&info_hash={all}&ip=192.0.2.1&ipv4=192.0.2.1\
                 &key=-1234567&left=1000&numwant=200&peer_id=-GT0003-%00%01%02%ff%fe%fdabcdef\
                 &port=6881&supportcrypto=1&uploaded=0"
            ),
            format!(
                "info_hash={all}&peer_id={PEER_ID}&compact=1&key=0a1b2c3d&numwant=200&port=6881\
                 &uploaded=0&downloaded=0&left=1000&event=started"
            ),
            format!(
                "info_hash={ESCAPED}&peer_id=A2-1-36-0-%20%2B%25%26%3D%23%3F%C3%A4%00&uploaded=0\
                 &downloaded=0&left=1000&compact=1&key=%00%ff%26%3d%25%23%3f%2b&numwant=200\
                 &no_peer_id=1&port=6881&event=started&supportcrypto=1"
            ),
            format!(
                "info_hash={lower}&peer_id=-UT355W-%00%01%02abcdefghi&port=6881&uploaded=0\
                 &downloaded=0&left=1000&corrupt=0&key=ABCDEF01&event=started&numwant=200&compact=1\
                 &no_peer_id=1&ipv6=fe80%3a%3a1"
            ),
            format!(
                "numwant=200&uploaded=0&downloaded=0&left=1000&event=started&compact=1\
                 &info_hash={all}&peer_id=-WW0200-0123456789ab&port=6881"
            ),
        ];
        for client in &clients {
            let query = parse(client);
            assert_eq!(query.info_hash, HASH, "{client}");
            assert_eq!((query.port, query.left), (6881, Some(1000)), "{client}");
            assert_eq!((query.uploaded, query.downloaded), (0, 0), "{client}");
            assert_eq!((query.event, query.numwant), (Event::Started, Some(200)), "{client}");
            assert_eq!(query.form, Form::Compact, "{client}");
        }
        assert_eq!(&parse(&clients[4]).peer_id.0, b"A2-1-36-0- +%&=#?\xc3\xa4\0");
    }

    #[test]
    fn malformed_queries_are_refused_with_their_reason() {
        use QueryError as E;
        let peer = format!("peer_id={PEER_ID}&port=1");
        let hash = format!("info_hash={ESCAPED}&port=1");
        let cases: Vec<(String, QueryError)> = [
            (String::new(), E::InfoHashMissing),
            (peer.clone(), E::InfoHashMissing),
            (format!("Info_Hash={ESCAPED}&{peer}"), E::InfoHashMissing),
            (format!("sha_ih={ESCAPED}&{peer}"), E::InfoHashMissing),
            (format!("info_hash&{peer}"), E::InfoHashLength),
            (format!("info_hash=&{peer}"), E::InfoHashLength),
            (format!("info_hash=1234567890123456789&{peer}"), E::InfoHashLength),
            (format!("info_hash=123456789012345678901&{peer}"), E::InfoHashLength),
            (format!("info_hash={}&{peer}", "%ab".repeat(32)), E::InfoHashLength),
            (format!("info_hash={}&{peer}", "ab".repeat(20)), E::InfoHashLength),
            (format!("info_hash=%zz234567890123456789&{peer}"), E::InfoHashEscape),
            (format!("info_hash=1234567890123456789%&{peer}"), E::InfoHashEscape),
            (format!("info_hash=1234567890123456789%4&{peer}"), E::InfoHashEscape),
            (format!("info_hash=%%1234567890123456789&{peer}"), E::InfoHashEscape),
            (format!("info_hash=%+1234567890123456789&{peer}"), E::InfoHashEscape),
            (format!("info_hash=\u{e4}123456789012345678&{peer}"), E::InfoHashRaw),
            (format!("info_hash=\x001234567890123456789&{peer}"), E::InfoHashRaw),
            (format!("info_hash= 1234567890123456789&{peer}"), E::InfoHashRaw),
            (format!("info_hash=\x7f1234567890123456789&{peer}"), E::InfoHashRaw),
            (format!("info_hash={ESCAPED}&info_hash={ESCAPED}&{peer}"), E::InfoHashDoubled),
            (format!("info_hash={ESCAPED}&info_hash=&{peer}"), E::InfoHashDoubled),
            (hash.clone(), E::PeerIdMissing),
            (format!("{hash}&peer_id="), E::PeerIdLength),
            (format!("{hash}&peer_id={PEER_ID}1"), E::PeerIdLength),
            (format!("{hash}&peer_id=-TR3000-abcdefghijk"), E::PeerIdLength),
            (format!("{hash}&peer_id=-TR3000-abcdefghijk%g0"), E::PeerIdEscape),
            (format!("{hash}&peer_id=\u{e4}TR3000-abcdefghijk"), E::PeerIdRaw),
            (query("&port=65536"), E::Port),
            (query("&port=-1"), E::Port),
            (query("&port=+1"), E::Port),
            (query("&port=http"), E::Port),
            (query("&port=99999999999999999999999999999999"), E::Port),
            (query("&left=-1"), E::Left),
            (query("&left=null"), E::Left),
            (query("&left=1e3"), E::Left),
            (query("&left=0x10"), E::Left),
            (query("&left=18446744073709551616"), E::Left),
            (query("&uploaded=-5"), E::Uploaded),
            (query("&downloaded=1.5"), E::Downloaded),
        ]
        .into();
        for (query, error) in cases {
            assert_eq!(AnnounceQuery::parse(query.as_bytes()), Err(error), "{query}");
        }
    }

    #[test]
    fn every_error_says_what_is_wrong_in_words_of_its_own() {
        for (index, error) in QueryError::ALL.into_iter().enumerate() {
            assert!(error.text().is_ascii());
            assert!(QueryError::ALL[..index].iter().all(|other| other.text() != error.text()));
        }
    }

    #[test]
    fn same_bytes_are_read_however_they_are_escaped() {
        let plain = *b"abcdefghij/:@!*'();$";
        let mut all_escaped = String::new();
        for (index, byte) in plain.iter().enumerate() {
            match index % 2 {
                0 => all_escaped += &format!("%{byte:02x}"),
                _ => all_escaped += &format!("%{byte:02X}"),
            }
        }
        for value in ["abcdefghij/:@!*'();$", all_escaped.as_str(), "abcdefghij%2f:%40!*'();$"] {
            let query = format!("info_hash={value}&peer_id={PEER_ID}");
            assert_eq!(parse(&query).info_hash.0, plain, "{value}");
        }
    }

    #[test]
    fn plus_is_a_plus_and_only_an_escape_is_a_space() {
        let query = format!("info_hash=+%2B%2b%2012345678901234=6&peer_id={PEER_ID}");
        assert_eq!(&parse(&query).info_hash.0, b"+++ 12345678901234=6");
    }

    #[test]
    fn numbers_have_a_defined_outcome_each() {
        let numwant = |value: &str| parse(&query(&format!("&numwant={value}"))).numwant;
        let cases = [
            ("", None),
            ("-1", None),
            ("many", None),
            ("0", Some(0)),
            ("1", Some(1)),
            ("007", Some(7)),
            ("%35%30", Some(50)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", Some(u32::MAX)),
            ("99999999999999999999999999", Some(u32::MAX)),
        ];
        for (value, expected) in cases {
            assert_eq!(numwant(value), expected, "{value}");
        }
        let left = |value: &str| parse(&query(&format!("&left={value}"))).left;
        let cases = [
            ("", None),
            ("0", Some(0)),
            ("4294967296", Some(1 << 32)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("18446744073709551615", Some(u64::MAX)),
        ];
        for (value, expected) in cases {
            assert_eq!(left(value), expected, "{value}");
        }
        let bare = format!("info_hash={ESCAPED}&peer_id={PEER_ID}");
        let bare = parse(&bare);
        assert_eq!((bare.port, bare.left, bare.numwant), (0, None, None));
        assert_eq!(parse(&query("&port=0")).port, 0);
        assert_eq!(parse(&query("&port=")).port, 0);
        assert_eq!(parse(&query("&port=65535")).port, 65535);
    }

    #[test]
    fn last_of_a_doubled_parameter_counts() {
        let query =
            query("&port=1&left=0&event=started&event=stopped&peer_id=-XX0000-abcdefghijkl");
        let query = parse(&query);
        assert_eq!((query.port, query.left, query.event), (1, Some(0), Event::Stopped));
        assert_eq!(&query.peer_id.0, b"-XX0000-abcdefghijkl");
    }

    #[test]
    fn events_and_forms_are_told_apart() {
        let events = [
            ("started", Event::Started),
            ("completed", Event::Completed),
            ("stopped", Event::Stopped),
            ("paused", Event::Paused),
            ("st%6Fpped", Event::Stopped),
            ("", Event::None),
            ("update", Event::None),
            ("STARTED", Event::None),
            ("startedx", Event::None),
            ("completedx", Event::None),
            ("%zz", Event::None),
        ];
        for (value, event) in events {
            assert_eq!(parse(&query(&format!("&event={value}"))).event, event, "{value}");
        }
        let forms = [
            ("", Form::Compact),
            ("&compact=1", Form::Compact),
            ("&compact=", Form::Compact),
            ("&compact=yes&no_peer_id=1", Form::Compact),
            ("&compact=0", Form::Dictionary),
            ("&compact=0&no_peer_id=0", Form::Dictionary),
            ("&compact=0&no_peer_id", Form::Dictionary),
            ("&compact=0&no_peer_id=1", Form::DictionaryWithoutPeerId),
        ];
        for (extra, form) in forms {
            assert_eq!(parse(&query(extra)).form, form, "{extra}");
        }
    }

    #[test]
    fn claimed_addresses_are_kept_as_sent() {
        let query = query("&ip=tracker.example&ipv4=1.2.3.4&ipv6=%5B::1%5D");
        let query = parse(&query);
        assert_eq!(query.ip, Some(&b"tracker.example"[..]));
        assert_eq!(query.ipv4, Some(&b"1.2.3.4"[..]));
        assert_eq!(query.ipv6, Some(&b"%5B::1%5D"[..]));
    }

    #[test]
    fn claimed_address_is_the_first_that_is_one() {
        let claimed = |extra: &str| parse(&query(extra)).claimed_address();
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for (extra, expected) in [
            ("", None),
            ("&ip=tracker.example", None),
            ("&ip=192.0.2.1", address("192.0.2.1")),
            ("&ip=2001%3Adb8%3a%3a1", address("2001:db8::1")),
            ("&ip=::ffff:192.0.2.1", address("192.0.2.1")),
            ("&ip=x&ipv6=::1", address("::1")),
            ("&ipv6=::1&ipv4=192.0.2.2", address("192.0.2.2")),
            ("&ip=1.2.3.300", None),
            ("&ip=0000000000000000000000000000000000000000000000000000000000000", None),
        ] {
            assert_eq!(claimed(extra), expected, "{extra}");
        }
    }

    #[test]
    fn compact_and_corrupt_are_read_where_they_are_said() {
        for (extra, says, corrupt) in [
            ("", false, None),
            ("&compact=1&corrupt=5", true, Some(5)),
            ("&compact=0&corrupt=", false, None),
            ("&compact=&corrupt=-1", false, None),
            ("&compact=1&compact=0&corrupt=99999999999999999999", false, None),
            ("&compact=0&compact=1", true, None),
        ] {
            let query = query(extra);
            assert_eq!(says_compact(query.as_bytes()), says, "{extra}");
            assert_eq!((parse(&query).says_compact, parse(&query).corrupt), (says, corrupt));
        }
        assert!(says_compact(b"peer_id=short&compact=1"));
    }

    #[test]
    fn unknown_and_empty_parameters_are_passed_over() {
        let query = query("&&=&=x&a&a=b=c&key=%zz&trackerid=\u{e4}&");
        assert_eq!(parse(&query).info_hash, HASH);
    }

    #[test]
    fn scrape_hashes_come_in_the_order_asked_repeats_included() {
        let query = format!(
            "info_hash={ESCAPED}&x=1&info_hash=abcdefghijklmnopqrst&info_hash={ESCAPED}\
             &info_hash=short&info_hash=%g&info_hash=abcdefghijklmnopqrst"
        );
        let letters = InfoHash(*b"abcdefghijklmnopqrst");
        let hashes: Vec<_> = scrape_hashes(query.as_bytes()).collect();
        let short = Err(QueryError::InfoHashLength);
        let escape = Err(QueryError::InfoHashEscape);
        assert_eq!(hashes, [Ok(HASH), Ok(letters), Ok(HASH), short, escape, Ok(letters)]);
        assert_eq!(scrape_hashes(b"").count(), 0);
        assert_eq!(scrape_hashes(b"peer_id=x&hash=y").count(), 0);
    }
}
