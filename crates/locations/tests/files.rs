//! Whole files: CSV against `.mmdb`, against a naive table, and the memory and time of a full one.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use peerage_locations::{Builder, Error, Fault, Locations, Place, Position, Provider};
use peerage_testkit::Folder;
use peerage_testkit::places::{Network, Places};

/// What the full DB5 may take.
const BYTES_MAX: usize = 30_000_000;

fn from_csv(places: Places) -> Locations {
    let folder = Folder::new("locations").expect("a folder");
    let path = folder.path().join("db5.csv");
    places
        .write_csv(&mut BufWriter::new(File::create(&path).expect("a file")))
        .expect("as written");
    let mut builder = Builder::new(&|| true);
    let started = Instant::now();
    let report = builder
        .read_csv(BufReader::new(File::open(&path).expect("as written")))
        .expect("as written");
    println!("CSV read in {:?}", started.elapsed());
    assert_eq!((report.provider, report.broken), (Provider::Ip2Location, 0));
    builder.finish()
}

fn from_mmdb(places: Places) -> Locations {
    let mut bytes = Vec::new();
    places.write_mmdb(&mut bytes).expect("as written");
    let mut builder = Builder::new(&|| true);
    let started = Instant::now();
    let report = builder.read_mmdb(&bytes).expect("as written");
    println!(".mmdb of {} bytes read in {:?}", bytes.len(), started.elapsed());
    assert_eq!((report.provider, report.broken), (Provider::MaxMind, 0));
    builder.finish()
}

/// The place of a network, worked out on its own.
fn place(network: &Network) -> Option<Place> {
    let tenths = |degrees: f64| (degrees * 10.0).round() as i16;
    network.city.map(|city| Place {
        latitude_tenths: tenths(city.latitude),
        longitude_tenths: tenths(city.longitude),
        country: city.country,
    })
}

/// Every network is found at both of its ends, and nothing before the first and after the last.
#[track_caller]
fn check(places: Places, locations: &Locations) {
    let mut last = None;
    for network in places.networks() {
        for address in [network.first, network.last] {
            assert_eq!(locations.find(address), place(&network), "{address} {places:?}");
        }
        last = Some(network.last);
    }
    let after = match last.expect("there is one") {
        IpAddr::V4(last) => IpAddr::V4(Ipv4Addr::from(u32::from(last) + 1)),
        IpAddr::V6(last) => IpAddr::V6(Ipv6Addr::from(u128::from(last) + 1)),
    };
    for address in ["0.0.0.0", "0.255.255.255", "255.255.255.255", "::", "ffff::", "2000:ffff::"] {
        assert_eq!(
            locations.find(address.parse().expect("an address")),
            None,
            "{address} {places:?}"
        );
    }
    assert_eq!(locations.find(after), None, "{after} {places:?}");
}

#[test]
fn both_forms_of_both_families_give_the_places_they_were_made_of() {
    for (seed, ipv4, ipv6) in [(1, 1, 0), (2, 63, 1), (3, 64, 64), (4, 65, 129), (5, 9999, 9999)] {
        let places = Places { seed, ipv4, ipv6 };
        let (csv, mmdb) = (from_csv(places), from_mmdb(places));
        check(places, &csv);
        check(places, &mmdb);
        assert_eq!(csv.rows(), mmdb.rows(), "{places:?}");
    }
}

/// The full DB5 has 2.9 million rows.
#[test]
fn full_file_takes_no_more_memory_than_promised_and_both_forms_give_the_same_points() {
    let places = Places { seed: 7, ipv4: 3_000_000, ipv6: 0 };
    let csv = from_csv(places);
    println!("{} ranges in {} bytes", csv.rows(), csv.bytes());
    assert!(csv.rows() > 2_990_000, "{}", csv.rows());
    assert!(csv.bytes() <= BYTES_MAX, "{}", csv.bytes());
    check(places, &csv);
    let mmdb = from_mmdb(places);
    assert_eq!((mmdb.rows(), mmdb.bytes()), (csv.rows(), csv.bytes()));
    // A million addresses all over, by a multiplier that visits each number once.
    let addresses =
        || (0..1_000_000_u32).map(|n| IpAddr::from(n.wrapping_mul(0x9e37_79b1).to_be_bytes()));
    let mut known = 0;
    for address in addresses() {
        let place = csv.find(address);
        assert_eq!(place, mmdb.find(address), "{address}");
        known += usize::from(place.is_some());
    }
    assert!(known > 100_000, "{known}");
    let started = Instant::now();
    let found = addresses().filter(|address| csv.find(*address).is_some()).count();
    let each = started.elapsed() / 1_000_000;
    assert_eq!(found, known);
    println!("{each:?} for each address");
    // Far below it; this is to see a search that has become a walk.
    assert!(each.as_micros() < 20, "{each:?}");
}

fn mmdb() -> Vec<u8> {
    let mut bytes = Vec::new();
    Places { seed: 9, ipv4: 1000, ipv6: 1000 }.write_mmdb(&mut bytes).expect("as written");
    bytes
}

#[test]
fn file_that_is_no_mmdb_is_refused() {
    let bytes = mmdb();
    let csv = b"\"0\",\"16777215\",\"-\",\"-\",\"-\",\"-\",\"0.0\",\"0.0\"\n";
    for bytes in [&b""[..], csv, &bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
        let mut builder = Builder::new(&|| true);
        assert!(builder.read_mmdb(bytes).is_err());
        assert_eq!(builder.finish().rows(), 0);
    }
}

#[test]
fn network_with_a_wrong_record_is_told_and_the_rest_is_used() {
    let mut bytes = mmdb();
    let latitude = bytes.windows(8).position(|part| part == b"latitude").unwrap() + 9;
    bytes[latitude..latitude + 8].copy_from_slice(&90.5_f64.to_be_bytes());
    let mut builder = Builder::new(&|| true);
    let report = builder.read_mmdb(&bytes).unwrap();
    let [complaint] = report.complaints[..] else { panic!("{report:?}") };
    assert_eq!(complaint.fault, Fault::Coordinates);
    let Position::Network(address, _) = complaint.at else { panic!("{complaint:?}") };
    let locations = builder.finish();
    assert_eq!(locations.find(address), None);
    let places = Places { seed: 9, ipv4: 1000, ipv6: 1000 };
    for network in places.networks().filter(|network| network.first != address) {
        assert_eq!(locations.find(network.first), place(&network));
    }
}

#[test]
fn mmdb_without_coordinates_is_refused() {
    let mut bytes = mmdb();
    let keys = |bytes: &[u8]| bytes.windows(8).position(|part| part == b"location");
    while let Some(at) = keys(&bytes) {
        bytes[at] = b'L';
    }
    let report = Builder::new(&|| true).read_mmdb(&bytes);
    assert!(matches!(report, Err(Error::NoPlaces)), "{report:?}");
}
