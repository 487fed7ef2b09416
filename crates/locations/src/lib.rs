//! Where an address is: location databases packed for small memory.
//!
//! Bytes in, coordinates out: no file, no clock. Whoever opens the files is in `server`. A
//! [`Builder`] reads IP2Location's CSV files and MaxMind's `.mmdb` files into one and the same
//! table, so that both give the same places at the same cost; [`Locations`] is what it makes.
//!
//! A place is never more exact than a tenth of a degree, which is about 11 km, and an IPv6 address
//! never more than its /64. Of an `.mmdb` file, IPv4 addresses in 6to4 and Teredo are not known.

#![forbid(unsafe_code)]

mod builder;
mod csv;
mod mmdb;
mod place;
mod ranges;
mod report;

use std::net::IpAddr;

pub use builder::{Builder, ROWS_MAX};
pub use place::Place;
pub use report::{
    Attribution, COMPLAINTS_MAX, Complaint, Error, Fault, Position, Provider, Report,
};

use place::Countries;
use ranges::Ranges;

/// The places of all addresses that are known. It does not change.
///
/// 8 bytes for each range of IPv4 addresses in one place, 12 for one of IPv6.
#[derive(Debug, Default)]
pub struct Locations {
    ipv4: Ranges<u32>,
    /// By the upper half of an address: all of a /64 is where its first address is.
    ipv6: Ranges<u64>,
    countries: Countries,
}

impl Locations {
    /// Where `address` is, if that is known. An IPv4 address within IPv6 (`::ffff:0:0/96`) is
    /// looked up as the IPv4 address that it is.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<Place> {
        let packed = match address.to_canonical() {
            IpAddr::V4(address) => self.ipv4.find(u32::from(address)),
            IpAddr::V6(address) => self.ipv6.find((u128::from(address) >> 64) as u64),
        };
        self.countries.unpack(packed?)
    }

    /// Ranges that are kept, those in no place included. Neighbours in one place are one.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ipv4.bytes() + self.ipv6.bytes() + self.countries.bytes()
    }
}
