//! Files in MaxMind's format (`.mmdb`), as GeoLite2 City and DB-IP City Lite are: a tree of
//! networks, each with a record.
//!
//! The tree is gone through once and not kept. Many networks share a record, neighbours above all,
//! so that few records have to be decoded.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{LookupResult, Reader};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

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
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
}

/// A number of any of the kinds that the format has. Usually it is a double.
struct Degrees(f64);

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Degrees;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Degrees, E> {
                Ok(Degrees(number))
            }

            fn visit_f32<E>(self, number: f32) -> Result<Degrees, E> {
                Ok(Degrees(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Degrees, E> {
                Ok(Degrees(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Degrees, E> {
                Ok(Degrees(number as f64))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// Reads all networks into `rows`.
pub(crate) fn read(bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), Error> {
    let reader = Reader::from_source(bytes)?;
    rows.report.provider = provider(&reader.metadata().database_type);
    let mut remembered: Vec<Option<(usize, Packed)>> = vec![None; REMEMBERED];
    for (number, found) in (1..).zip(reader.networks(Default::default())?) {
        rows.go_on()?;
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

/// Who makes free files of this type.
fn provider(database_type: &str) -> Provider {
    let starts = |with: &str| database_type.starts_with(with);
    match () {
        () if starts("GeoLite2") => Provider::MaxMind,
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
    let Some(Location { latitude: Some(latitude), longitude: Some(longitude) }) = location else {
        return Ok(None);
    };
    let country = record.as_ref().and_then(|record| record.country.as_ref()?.iso_code);
    Place::new(latitude.0, longitude.0, country.map(str::as_bytes))
}

#[cfg(test)]
mod tests {
    use maxminddb_writer::Database;
    use maxminddb_writer::metadata::IpVersion;
    use maxminddb_writer::paths::IpAddrWithMask;
    use serde::Serialize;

    use super::*;
    use crate::Builder;

    #[derive(Serialize)]
    struct Written<L> {
        #[serde(skip_serializing_if = "Option::is_none")]
        country: Option<Code>,
        location: L,
    }

    #[derive(Serialize)]
    struct Code {
        iso_code: &'static str,
    }

    #[derive(Serialize)]
    struct At<T> {
        latitude: T,
        longitude: T,
    }

    /// What 10.0.0.1 is found as in a database with one record for 10.0.0.0/8, and another one.
    #[track_caller]
    fn check<T: Serialize>(at: [T; 2], country: Option<&'static str>, wanted: Option<Place>) {
        let [latitude, longitude] = at;
        let country = country.map(|iso_code| Code { iso_code });
        let mut database = Database::default();
        database.metadata.ip_version = IpVersion::V4;
        database.metadata.binary_format_major_version = 2;
        let other = Written { country: None, location: At { latitude: 1.0, longitude: 2.0 } };
        let record = Written { country, location: At { latitude, longitude } };
        let [record, other] =
            [database.insert_value(record).unwrap(), database.insert_value(other).unwrap()];
        let network = |text: &str| text.parse::<IpAddrWithMask>().unwrap();
        database.insert_node(network("10.0.0.0/8"), record);
        database.insert_node(network("11.0.0.0/8"), other);
        database.insert_node(network("12.0.0.0/8"), other);
        let bytes = database.write_to(Vec::new()).unwrap();
        let mut builder = Builder::new(&|| true);
        let report = builder.read_mmdb(&bytes).unwrap();
        assert_eq!(report.broken, u64::from(wanted.is_none()), "{report:?}");
        let locations = builder.finish();
        assert_eq!(locations.find([10, 0, 0, 1].into()), wanted);
        assert!(locations.find([11, 0, 0, 1].into()).is_some());
    }

    #[test]
    fn degrees_may_be_any_number_and_a_country_may_be_missing() {
        let place = |latitude_tenths, longitude_tenths, country| {
            Some(Place { latitude_tenths, longitude_tenths, country })
        };
        check([-12.34, 56.78], Some("de"), place(-123, 568, *b"DE"));
        check([-12.5_f32, 56.25], Some("DE"), place(-125, 563, *b"DE"));
        check([-12_i32, 56], None, place(-120, 560, [0; 2]));
        check([12_u16, 56], None, place(120, 560, [0; 2]));
        check([f64::NAN, 1.0], None, None);
        check(["12.5", "1.0"], None, None);
        check([1.0, 1.0], Some("DEU"), None);
    }

    #[test]
    fn provider_is_known_by_the_type_of_the_database() {
        for (database_type, wanted) in [
            ("GeoLite2-City", Provider::MaxMind),
            ("DBIP-City-Lite", Provider::DbIp),
            ("DBIP-City-Lite (compat=City)", Provider::DbIp),
            ("GeoIP2-City", Provider::Other),
            ("", Provider::Other),
        ] {
            assert_eq!(provider(database_type), wanted, "{database_type}");
        }
    }
}
