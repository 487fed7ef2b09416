//! Files in MaxMind's format (`.mmdb`), as GeoLite2 City and DB-IP City Lite are: a tree of
//! networks, each with a record.
//!
//! The tree is gone through once and not kept. Many networks share a record, neighbours above all,
//! so that few records have to be decoded.

use std::net::IpAddr;

use maxminddb::{LookupResult, Reader};
use serde::Deserialize;

use crate::builder::Rows;
use crate::place::{Packed, Place};
use crate::report::{Error, Fault, Position, Provider};

/// Records that are remembered, by the last bits of a hash of where they are.
const REMEMBERED: usize = 1 << REMEMBERED_BITS;
const REMEMBERED_BITS: u32 = 14;

/// The part of a record that is used. Whatever else there is, is passed over.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Country<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// Reads all networks into `rows`.
pub(crate) fn read(bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), Error> {
    let reader = Reader::from_source(bytes)?;
    rows.report.provider = provider(&reader.metadata().database_type);
    let mut remembered: Vec<Option<(usize, Packed)>> = vec![None; REMEMBERED];
    for (number, found) in (1..).zip(reader.networks(Default::default())?) {
        let found = found?;
        let Some(offset) = found.offset() else { continue };
        let (from, to) = ends(&found)?;
        let slot = &mut remembered[slot(offset)];
        let place = match *slot {
            Some((at, place)) if at == offset => place,
            _ => match place(&found) {
                Ok(place) => {
                    let place = rows.pack(place);
                    *slot = Some((offset, place));
                    place
                }
                Err(fault) => {
                    let network = found.network()?;
                    rows.complain(Position::Network(network.network(), network.prefix()), fault);
                    continue;
                }
            },
        };
        rows.add(from, to, place, number)?;
    }
    Ok(())
}

/// Who makes files of this type.
fn provider(database_type: &str) -> Provider {
    let starts = |with: &str| database_type.starts_with(with);
    match () {
        () if starts("GeoLite2") || starts("GeoIP2") => Provider::MaxMind,
        () if starts("DBIP") => Provider::DbIp,
        () => Provider::Other,
    }
}

/// Fibonacci hashing: the top bits of a product with 2^64 / golden ratio.
fn slot(offset: usize) -> usize {
    ((offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - REMEMBERED_BITS)) as usize
}

/// The first and the last address of a network, as [`Rows::add`] takes them.
fn ends(found: &LookupResult<'_, &[u8]>) -> Result<(u128, u128), Error> {
    let network = found.network()?;
    let (from, bits) = match network.network() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let rest = bits - u32::from(network.prefix());
    Ok((from, from | u128::MAX.checked_shr(128 - rest).unwrap_or(0)))
}

/// The place in a record, if it has one.
fn place(found: &LookupResult<'_, &[u8]>) -> Result<Option<Place>, Fault> {
    let record: Option<Record<'_>> = found.decode().map_err(|_| Fault::Record)?;
    let location = record.as_ref().and_then(|record| record.location.as_ref());
    let degrees = location.and_then(|location| Some((location.latitude?, location.longitude?)));
    let Some((latitude, longitude)) = degrees else { return Ok(None) };
    let country = record.as_ref().and_then(|record| record.country.as_ref()?.iso_code);
    Place::new(latitude, longitude, country.map(str::as_bytes))
}
