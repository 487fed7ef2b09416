//! The queries of an announce (BEP 3) and of a scrape (BEP 48), read in place.
//!
//! - Keys are taken literally, case and all; what is not known is passed over.
//! - `info_hash` and `peer_id` are bytes, never text: `+` is 0x2B, both cases of hex digits and
//!   needless escapes are read, bytes outside printable ASCII must be escaped.
//! - `info_hash` twice in an announce is refused; of any other parameter the last one counts.
//! - A number that is empty is as if it were not there.

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
    /// Bytes still missing, `None` where it does not say. Magnet links send 2^63-1 and 2^64-1.
    pub left: Option<u64>,
    /// Why it announces; unknown values are read as none.
    pub event: Event,
    /// Peers wanted; `None` where it does not say, or says no number that is 0 or more. What is
    /// more than `u32::MAX` is read as that.
    pub numwant: Option<u32>,
    /// How it wants the peers.
    pub form: Form,
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
            ip: raw.ip,
            ipv4: raw.ipv4,
            ipv6: raw.ipv6,
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
