//! What is said about a file: whose it is, and what is wrong with it.

use std::fmt;
use std::io;
use std::net::IpAddr;

/// The most complaints about one file that are kept; beyond it they are counted.
pub const COMPLAINTS_MAX: usize = 10;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who made it.
    pub provider: Provider,
    /// Lines or networks that were used, those that say that nothing is known included.
    pub used: u64,
    /// Lines or networks that were not, or not as a whole.
    pub broken: u64,
    /// The first of those that are broken, at most [`COMPLAINTS_MAX`].
    pub complaints: Vec<Complaint>,
}

impl Report {
    /// Nothing read yet.
    pub(crate) fn new(provider: Provider) -> Self {
        Self { provider, used: 0, broken: 0, complaints: Vec::new() }
    }

    /// Takes note of one that is broken.
    pub(crate) fn complain(&mut self, at: Position, fault: Fault) {
        self.broken += 1;
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(Complaint { at, fault });
        }
    }
}

/// What is wrong with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which part.
    pub at: Position,
    /// What is wrong with it.
    pub fault: Fault,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// A line of a CSV file, from 1.
    Line(u64),
    /// A network of an `.mmdb` file: its first address and the length of its prefix in bits.
    Network(IpAddr, u8),
}

/// What can be wrong with a line or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has fewer columns than it needs, or far more.
    Columns,
    /// A quotation mark opens a field and none closes it, or what it encloses makes no line.
    Quote,
    /// It is too long to be a line of such a file.
    Long,
    /// An end of the range is no address.
    Address,
    /// The range ends before it begins.
    Backwards,
    /// The country is not two letters.
    Country,
    /// The latitude or the longitude is no such number.
    Coordinates,
    /// The range begins within the one before, which is taken to end there, or where that begins.
    Overlap,
    /// The range lies between others that stand elsewhere. It is left out.
    Order,
    /// The network's record cannot be read.
    Record,
}

/// Who made a file. It decides what has to be said where its places are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// IP2Location: CSV files.
    Ip2Location,
    /// MaxMind: GeoLite2.
    MaxMind,
    /// DB-IP.
    DbIp,
    /// Somebody else, or sold by one of these: an `.mmdb` file whose type says neither.
    Other,
}

/// What has to be shown beside a map with places of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// One sentence, in English.
    pub text: &'static str,
    /// What it has to link to.
    pub url: &'static str,
}

impl Provider {
    /// What the licences of the free files ask for. None where we do not know of one.
    #[must_use]
    pub fn attribution(self) -> Option<Attribution> {
        match self {
            Self::Ip2Location => Some(Attribution {
                text: "This site or product includes IP2Location LITE data available from \
                       https://lite.ip2location.com.",
                url: "https://lite.ip2location.com",
            }),
            Self::MaxMind => Some(Attribution {
                text: "This product includes GeoLite Data created by MaxMind, available from \
                       https://www.maxmind.com.",
                url: "https://www.maxmind.com",
            }),
            Self::DbIp => {
                Some(Attribution { text: "IP Geolocation by DB-IP", url: "https://db-ip.com" })
            }
            Self::Other => None,
        }
    }
}

/// Why a file is not used at all.
#[derive(Debug)]
pub enum Error {
    /// It cannot be read.
    Io(io::Error),
    /// It is no `.mmdb` file, or a broken one.
    Mmdb(maxminddb::MaxMindDbError),
    /// It has more ranges of one family than [`ROWS_MAX`](crate::ROWS_MAX), or more lines than any
    /// such file.
    TooManyRows,
    /// More of it is broken than not. Nothing of it is used.
    Broken(Report),
    /// It has no coordinates.
    NoPlaces,
    /// The caller did not want to wait any longer.
    Stopped,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "{line}"),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Columns => "must have eight columns, of which the last two are coordinates",
            Self::Quote => "a quotation mark is out of place",
            Self::Long => "is too long",
            Self::Address => "must begin with two addresses as whole numbers",
            Self::Backwards => "ends before it begins",
            Self::Country => "the country must be two letters or -",
            Self::Coordinates => {
                "must have a latitude from -90 to 90 and a longitude from -180 \
                                  to 180"
            }
            Self::Overlap => "begins before the line above ends",
            Self::Order => "is not in its place in the ascending order",
            Self::Record => "has a record that is no place",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Mmdb(error) => write!(f, "{error}"),
            Self::TooManyRows => f.write_str("it has more ranges than there is room for"),
            Self::Broken(report) => {
                write!(f, "{} lines can be used, {} cannot", report.used, report.broken)
            }
            Self::NoPlaces => f.write_str("it has no coordinates"),
            Self::Stopped => f.write_str("no longer wanted"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<maxminddb::MaxMindDbError> for Error {
    fn from(error: maxminddb::MaxMindDbError) -> Self {
        Self::Mmdb(error)
    }
}
