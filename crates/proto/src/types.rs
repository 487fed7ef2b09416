//! The words every protocol shares: info_hash, peer_id, event, address family.

use core::fmt;
use core::net::IpAddr;

/// The 20 bytes that name a swarm: a v1 info_hash, or the first 20 bytes of a v2 one (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct InfoHash(pub [u8; 20]);

/// The 20 bytes by which a client names itself, chosen by the client and so never believed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PeerId(pub [u8; 20]);

/// Why a client announces. Whether it is a seeder is decided by `left` alone, never by this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Event {
    /// A regular announce, or an event this tracker does not know.
    #[default]
    None,
    /// The download has just finished.
    Completed,
    /// The client begins to take part.
    Started,
    /// The client leaves; it is not handed out from here on.
    Stopped,
    /// A partial seed: has all it wants, not all there is (BEP 21). A leecher that asks for
    /// nothing.
    Paused,
}

/// Which kind of address a peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 4 bytes of address, 6 with the port.
    V4,
    /// 16 bytes of address, 18 with the port (BEP 7).
    V6,
}

impl Family {
    /// The family of `address`. IPv4-mapped addresses must have been made canonical before.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes of a peer of this family in a compact list: address and port.
    pub const fn compact_bytes(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

impl InfoHash {
    /// Reads 40 hex digits of either case; `None` for anything else.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits: &[u8; 40] = hex.as_bytes().try_into().ok()?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

/// The value of one hex digit of either case.
pub(crate) const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for InfoHash {
    /// 40 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}
