//! Location files of any length, made from a seed: as IP2Location's CSV files are and as MaxMind's
//! `.mmdb` files are, both with the same places for the same addresses.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use serde::Serialize;

/// How many cities there are: one in four of what the real files have.
const CITIES: u64 = 20_000;

/// Every so many-th network is nowhere.
const NOWHERE_EVERY: u64 = 20;

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Another one makes other networks in other cities.
    pub seed: u64,
    /// Networks of IPv4, from 1.0.0.0 on, without gaps.
    pub ipv4: u64,
    /// Networks of IPv6, from 2001:: on, without gaps.
    pub ipv6: u64,
}

/// A network and its city.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Its first address.
    pub first: IpAddr,
    /// Its last address.
    pub last: IpAddr,
    /// The length of its prefix in bits.
    pub bits: u8,
    /// Where it is; `None` for nowhere.
    pub city: Option<City>,
}

/// A place as files have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct City {
    number: u64,
    /// In degrees, with six decimals.
    pub latitude: f64,
    /// In degrees, with six decimals.
    pub longitude: f64,
    /// Two letters.
    pub country: [u8; 2],
}

impl Places {
    /// The networks, in ascending order, IPv4 first.
    pub fn networks(self) -> impl Iterator<Item = Network> {
        let mut rng = Rng(self.seed | 1);
        let mut next = 1_u128 << 24;
        let ipv4 = (0..self.ipv4).map(move |_| {
            let rest = (8 + rng.below(4) as u32).min(next.trailing_zeros());
            let address = |number: u128| IpAddr::V4(Ipv4Addr::from(number as u32));
            network(&mut next, rest, 32, address, &mut rng)
        });
        let mut rng = Rng(!self.seed | 1);
        let mut next = u128::from(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0));
        let ipv6 = (0..self.ipv6).map(move |_| {
            let rest = (64 + rng.below(33) as u32).min(next.trailing_zeros());
            let address = |number: u128| IpAddr::V6(Ipv6Addr::from(number));
            network(&mut next, rest, 128, address, &mut rng)
        });
        ipv4.chain(ipv6)
    }

    /// Writes IP2Location's form: DB5 of IPv4, or the IPv6 edition where there is any IPv6.
    pub fn write_csv(self, output: &mut impl Write) -> Result<(), String> {
        let mapped = if self.ipv6 > 0 { 0xffff_0000_0000 } else { 0 };
        let number = |address| match address {
            IpAddr::V4(address) => mapped + u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let mut next = 0;
        let mut write = || -> std::io::Result<()> {
            for network in self.networks() {
                let (first, last) = (number(network.first), number(network.last));
                if next < first {
                    writeln!(output, "{}\r", line(next, first - 1, None))?;
                }
                writeln!(output, "{}\r", line(first, last, network.city))?;
                next = last + 1;
            }
            let last = if self.ipv6 > 0 { u128::MAX } else { u32::MAX.into() };
            writeln!(output, "{}\r", line(next, last, None))?;
            output.flush()
        };
        write().map_err(|error| format!("cannot write locations: {error}"))
    }

    /// Writes MaxMind's form, a GeoLite2 City of both families.
    pub fn write_mmdb(self, output: impl Write) -> Result<(), String> {
        let failed = |error| format!("cannot write locations: {error}");
        let mut database = Database::default();
        database.metadata.ip_version = IpVersion::V6;
        database.metadata.database_type = "GeoLite2-City".into();
        database.metadata.binary_format_major_version = 2;
        let mut records = HashMap::new();
        for network in self.networks() {
            let Some(city) = network.city else { continue };
            let record = match records.get(&city.number) {
                Some(record) => *record,
                None => {
                    let record = database.insert_value(Record::new(&city)).map_err(failed)?;
                    records.insert(city.number, record);
                    record
                }
            };
            // IPv4 lies in ::/96.
            let path = match network.first {
                IpAddr::V4(first) => {
                    let first = Ipv6Addr::from(u128::from(u32::from(first)));
                    IpAddrWithMask::new(first.into(), 96 + network.bits)
                }
                first => IpAddrWithMask::new(first, network.bits),
            };
            database.insert_node(path, record);
        }
        database.write_to(output).map_err(failed)?.flush().map_err(|error| error.to_string())
    }
}

fn network(
    next: &mut u128,
    rest: u32,
    bits: u32,
    address: impl Fn(u128) -> IpAddr,
    rng: &mut Rng,
) -> Network {
    let (first, last) = (*next, *next + (1 << rest) - 1);
    *next = last + 1;
    let is_nowhere = rng.below(NOWHERE_EVERY) == 0;
    let city = City::new(rng.below(CITIES));
    Network {
        first: address(first),
        last: address(last),
        bits: (bits - rest) as u8,
        city: (!is_nowhere).then_some(city),
    }
}

fn line(first: u128, last: u128, city: Option<City>) -> String {
    let Some(City { number, latitude, longitude, country: [a, b] }) = city else {
        return format!(r#""{first}","{last}","-","-","-","-","0.000000","0.000000""#);
    };
    let country = format!("{}{}", a as char, b as char);
    let names = format!(r#""{country}","Land, {country}","Region","The ""{number}""""#);
    format!(r#""{first}","{last}",{names},"{latitude:.6}","{longitude:.6}""#)
}

impl City {
    fn new(number: u64) -> Self {
        let mut rng = Rng(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        rng.below(1);
        // The quotient of two whole numbers is what its decimals are read back as.
        let mut degrees =
            |max: u64| (rng.below(2 * max * 1_000_000 + 1) as f64 - (max * 1_000_000) as f64) / 1e6;
        let (latitude, longitude) = (degrees(90), degrees(180));
        let country = [b'A' + (number % 240 / 26) as u8, b'A' + (number % 240 % 26) as u8];
        Self { number, latitude, longitude, country }
    }
}

/// The part of GeoLite2's records that matters, and some that does not.
#[derive(Serialize)]
struct Record {
    city: Names,
    country: Country,
    location: Location,
    subdivisions: Vec<Names>,
}

#[derive(Serialize)]
struct Names {
    geoname_id: u32,
    names: HashMap<&'static str, String>,
}

#[derive(Serialize)]
struct Country {
    geoname_id: u32,
    iso_code: String,
}

#[derive(Serialize)]
struct Location {
    accuracy_radius: u16,
    latitude: f64,
    longitude: f64,
    time_zone: &'static str,
}

impl Record {
    fn new(city: &City) -> Self {
        let number = city.number as u32;
        let names = |of: &str| Names {
            geoname_id: number,
            names: HashMap::from([("en", format!("{of} {number}")), ("ru", "Город".into())]),
        };
        Self {
            city: names("City"),
            country: Country {
                geoname_id: number,
                iso_code: city.country.map(char::from).iter().collect(),
            },
            location: Location {
                accuracy_radius: 50,
                latitude: city.latitude,
                longitude: city.longitude,
                time_zone: "Etc/UTC",
            },
            subdivisions: vec![names("Region")],
        }
    }
}

/// xorshift64*: the same numbers at every run. Never zero.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}
