//! What becomes of each kind of line that an IP2Location file can have.

use std::io::{self, BufReader, Read};
use std::net::IpAddr;

use peerage_locations::{
    Builder, COMPLAINTS_MAX, Error, Fault, Locations, Place, Position, Provider, Report,
};

/// Three good lines, of 1.0.0.0/24 to 1.0.2.0/24.
const AU: &str =
    r#""16777216","16777471","AU","Australia","Queensland","Brisbane","-27.467940","153.028090""#;
const CN: &str = r#""16777472","16777727","CN","China","Fujian","Fuzhou","26.061390","119.306110""#;
const NOWHERE: &str = r#""16777728","16777983","-","-","-","-","0.000000","0.000000""#;

/// Latitude and longitude in tenths, and the country; `None` for nowhere.
type At = Option<(i16, i16, &'static str)>;

fn read_bytes(text: &[u8]) -> (Result<Report, Error>, Locations) {
    let mut builder = Builder::new(&|| true);
    // A small buffer, so that lines are cut by it.
    let report = builder.read_csv(BufReader::with_capacity(7, text));
    (report, builder.finish())
}

/// The complaints about `text` are `wanted`, and what each address is found as.
#[track_caller]
fn check(text: &str, wanted: &[(u64, Fault)], places: &[(&str, At)]) {
    let (report, locations) = read_bytes(text.as_bytes());
    let report = report.expect("a file that can be used");
    let found: Vec<_> = report.complaints.iter().map(|c| (c.at, c.fault)).collect();
    let wanted: Vec<_> =
        wanted.iter().map(|(line, fault)| (Position::Line(*line), *fault)).collect();
    assert_eq!(found, wanted, "{text}");
    assert_eq!(report.broken, wanted.len() as u64);
    for (address, place) in places {
        let found = locations.find(address.parse().expect("an address"));
        assert_eq!(found, place.map(make), "{address} {text}");
    }
}

fn make((latitude_tenths, longitude_tenths, country): (i16, i16, &str)) -> Place {
    let country = match country {
        "" => [0; 2],
        code => code.as_bytes().try_into().expect("two letters"),
    };
    Place { latitude_tenths, longitude_tenths, country }
}

const IN_AU: At = Some((-275, 1530, "AU"));
const IN_CN: At = Some((261, 1193, "CN"));

#[test]
fn address_is_where_its_range_is() {
    check(
        &format!("{AU}\n{CN}\n{NOWHERE}\n"),
        &[],
        &[
            ("0.0.0.0", None),
            ("0.255.255.255", None),
            ("1.0.0.0", IN_AU),
            ("1.0.0.255", IN_AU),
            ("1.0.1.0", IN_CN),
            ("1.0.1.255", IN_CN),
            ("1.0.2.0", None),
            ("1.0.3.0", None),
            ("255.255.255.255", None),
            ("::ffff:1.0.0.7", IN_AU),
            ("::1.0.0.7", None),
            ("2001:db8::1", None),
        ],
    );
}

#[test]
fn place_is_rounded_to_a_tenth_of_a_degree() {
    let line = |latitude, longitude| format!("0,9,NZ,,,,{latitude},{longitude}");
    check(&line("-36.84999", "174.75001"), &[], &[("0.0.0.1", Some((-368, 1748, "NZ")))]);
    check(&line("90", "-180"), &[], &[("0.0.0.1", Some((900, -1800, "NZ")))]);
    check(&line("+.04", "-0.049"), &[], &[("0.0.0.1", Some((0, 0, "NZ")))]);
}

#[test]
fn form_of_the_file_does_not_matter() {
    let places = [("1.0.0.1", IN_AU), ("1.0.1.1", IN_CN)];
    check(&format!("{AU}\r\n{CN}\r\n"), &[], &places);
    check(&format!("{AU}\n{CN}"), &[], &places);
    check(&format!("\u{feff}{AU}\n\n \r\n{CN}\n"), &[], &places);
    check(&format!("{AU}\n{CN}\n").replace('"', ""), &[], &places);
    let heading = "\"ip_from\",\"ip_to\",\"country_code\",\"country_name\",\"region_name\",\
                   \"city_name\",\"latitude\",\"longitude\"\r\n";
    check(&format!("{heading}{AU}\n{CN}\n"), &[], &places);
    check(&format!("\u{feff}{heading}{AU}\n{CN}\n"), &[], &places);
    // DB11 has two columns more.
    check(&format!("{AU},\"4000\",\"+10:00\"\n{CN},\"350000\",\"+08:00\"\n"), &[], &places);
}

#[test]
fn quoted_fields_hold_commas_quotes_and_line_ends() {
    let places = [("1.0.0.1", IN_AU), ("1.0.1.1", IN_CN)];
    for name in ["Brisbane, the \"\"old\"\" one", ",,,", "two\nlines", "four\r\n\n\nlines", "\"\""]
    {
        check(&format!("{}\n{CN}\n", AU.replace("Brisbane", name)), &[], &places);
    }
    // Not UTF-8.
    let (report, locations) = read_bytes(
        &[
            b"16777216,16777471,AU,Australi\xe4,\xff,\xc3,-27.467940,153.028090\n".as_slice(),
            CN.as_bytes(),
        ]
        .concat(),
    );
    assert_eq!(report.unwrap().broken, 0);
    assert_eq!(locations.find("1.0.0.1".parse().unwrap()), IN_AU.map(make));
}

#[test]
fn broken_line_is_told_and_the_rest_is_used() {
    let changed = |from, to| AU.replace(from, to);
    let cases = [
        ("nonsense".to_owned(), Fault::Columns),
        ("16777216,16777471,AU".into(), Fault::Columns),
        (",".repeat(40), Fault::Columns),
        (changed("16777216", "x"), Fault::Address),
        (changed("16777216", "-16777216"), Fault::Address),
        (changed("16777216", ""), Fault::Address),
        (changed("16777216", "999999999999999999999999999999999999999999"), Fault::Address),
        (changed("16777471", "1.0.0.255"), Fault::Address),
        (changed("16777471", "16777215"), Fault::Backwards),
        (changed("AU", "AUS"), Fault::Country),
        (changed("AU", "A1"), Fault::Country),
        (changed("-27.467940", "-90.1"), Fault::Coordinates),
        (changed("-27.467940", "nan"), Fault::Coordinates),
        (changed("-27.467940", "1e1"), Fault::Coordinates),
        (changed("153.028090", "180.01"), Fault::Coordinates),
        (changed("153.028090", ""), Fault::Coordinates),
        (changed("Brisbane\"", "Brisbane"), Fault::Columns),
        (changed("153.028090\"", "153.028090"), Fault::Quote),
        (format!("{AU}\"\"\""), Fault::Quote),
        (changed("Brisbane", &"x".repeat(5000)), Fault::Long),
    ];
    for (broken, fault) in cases {
        let places = [("1.0.0.1", None), ("1.0.1.1", IN_CN), ("1.0.2.1", None)];
        check(&format!("1,2,-,,,,0,0\n{broken}\n{CN}\n{NOWHERE}\n"), &[(2, fault)], &places);
    }
}

#[test]
fn range_out_of_order_costs_that_range_alone() {
    let line = |from: u32, to: u32| format!("{from},{to},DE,,,,{}.0,1.0\n", from % 90);
    let at = |from: u32| Some(((from % 90 * 10) as i16, 10, "DE"));
    // One that stands too early, and one that stands too late.
    let (a, b, c, d) = (line(10, 19), line(20, 29), line(30, 39), line(80, 89));
    let places = [("0.0.0.10", at(10)), ("0.0.0.20", at(20)), ("0.0.0.30", at(30))];
    check(&[a.clone(), d.clone(), b.clone(), c.clone()].concat(), &[(2, Fault::Order)], &places);
    let places = [("0.0.0.20", at(20)), ("0.0.0.30", at(30)), ("0.0.0.80", at(80))];
    check(&[b.clone(), c.clone(), d, a.clone()].concat(), &[(4, Fault::Order)], &places);
    // One that reaches too far ends where the next one begins.
    let places = [("0.0.0.19", at(10)), ("0.0.0.20", at(20)), ("0.0.0.30", at(30))];
    let long = line(10, u32::MAX);
    check(&[long, b.clone(), c.clone()].concat(), &[(2, Fault::Overlap)], &places);
    // The same twice.
    check(&[a.clone(), a, b, c].concat(), &[(2, Fault::Overlap)], &places);
}

#[test]
fn ipv6_edition_gives_both_families() {
    let text = "\
        \"0\",\"281470681743359\",\"-\",\"-\",\"-\",\"-\",\"0.000000\",\"0.000000\"\n\
        \"281470698520576\",\"281470698520831\",\"AU\",\"\",\"\",\"\",\"-27.5\",\"153.0\"\n\
        \"281470698520832\",\"281474976710655\",\"CN\",\"\",\"\",\"\",\"26.1\",\"119.3\"\n\
        \"42540528726795050063891204319802818560\",\"42540528806023212578155541913346768895\",\
        \"JP\",\"\",\"\",\"\",\"35.6\",\"139.6\"\n\
        \"42540528806023212578155541913346768896\",\"340282366920938463463374607431768211455\",\
        \"FR\",\"\",\"\",\"\",\"48.8\",\"2.3\"\n";
    let (jp, fr) = (Some((356, 1396, "JP")), Some((488, 23, "FR")));
    check(
        text,
        &[],
        &[
            ("1.0.0.1", Some((-275, 1530, "AU"))),
            ("1.0.1.0", IN_CN),
            ("255.255.255.255", IN_CN),
            ("::1", None),
            ("2001:1ff:ffff:ffff::1", None),
            ("2001:200::", jp),
            ("2001:200:ffff:ffff:ffff::", jp),
            ("2001:201::", fr),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", fr),
        ],
    );
}

#[test]
fn ipv6_address_is_where_its_64_begins() {
    let start = u128::from("2001:db8::".parse::<std::net::Ipv6Addr>().unwrap());
    let text = format!(
        "{},{},DE,,,,1,1\n{},{},FR,,,,2,2\n{},{},ES,,,,3,3\n",
        start,
        start + 9,
        start + 10,
        start + 99,
        start + 100,
        start + (2 << 64),
    );
    let (de, es) = (Some((10, 10, "DE")), Some((30, 30, "ES")));
    let places = [("2001:db8::fff", de), ("2001:db8:0:1::", es), ("2001:db8:0:2::1", es)];
    check(&text, &[], &places);
}

#[test]
fn complaints_are_counted_beyond_the_first_few() {
    let mut text = format!("{AU}\n{CN}\n{NOWHERE}\n").repeat(10);
    text.push_str("nonsense\n");
    // All but the first three are out of order.
    let (report, _) = read_bytes(text.as_bytes());
    let Err(Error::Broken(report)) = report else { panic!("{report:?}") };
    assert_eq!((report.used, report.broken, report.complaints.len()), (3, 28, COMPLAINTS_MAX));
}

#[test]
fn file_that_is_none_is_refused() {
    for text in
        ["", "\n\n", "<html>\n<body>\n404\n</body>\n", "PK\u{3}\u{4}\0\0\0\n\n", "\"", "ip_from\n"]
    {
        let (report, locations) = read_bytes(text.as_bytes());
        assert!(matches!(report, Err(Error::Broken(_))), "{text:?} {report:?}");
        assert_eq!(locations.rows(), 0);
    }
    let (report, _) = read_bytes(format!("{NOWHERE}\n").as_bytes());
    assert!(matches!(report, Err(Error::NoPlaces)), "{report:?}");
}

/// Fails after some bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
        let line = format!("{},{},DE,,,,1,{}\n", self.0, self.0, self.0);
        buffer[..line.len()].copy_from_slice(line.as_bytes());
        Ok(line.len())
    }
}

#[test]
fn file_that_cannot_be_read_on_is_not_used() {
    let mut builder = Builder::new(&|| true);
    let report = builder.read_csv(BufReader::new(Failing(3)));
    assert!(matches!(report, Err(Error::Io(_))), "{report:?}");
    assert_eq!(builder.finish().rows(), 0);
}

#[test]
fn reading_stops_when_it_is_no_longer_wanted() {
    let text: String = (0..10_000).map(|n| format!("{n},{n},DE,,,,1,{}\n", n % 180)).collect();
    let mut builder = Builder::new(&|| false);
    let report = builder.read_csv(text.as_bytes());
    assert!(matches!(report, Err(Error::Stopped)), "{report:?}");
    assert_eq!(builder.finish().rows(), 0);
}

#[test]
fn each_family_is_of_the_first_file_that_has_it() {
    let v6 = "281470681743360,281474976710655,FR,,,,3,3\n\
              42540528726795050063891204319802818560,42540528806023212578155541913346768895,\
              JP,,,,35.6,139.6\n";
    let mut builder = Builder::new(&|| true);
    assert!(builder.read_csv(&b"nonsense\n"[..]).is_err());
    let report = builder.read_csv(format!("{AU}\n").as_bytes()).unwrap();
    assert_eq!(report.provider, Provider::Ip2Location);
    assert!(builder.wants_more());
    builder.read_csv(v6.as_bytes()).unwrap();
    assert!(!builder.wants_more());
    let locations = builder.finish();
    let country = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        locations.find(address).map(|place| place.country)
    };
    assert_eq!(country("1.0.0.1"), Some(*b"AU"));
    assert_eq!(country("9.0.0.1"), None);
    assert_eq!(country("2001:200::1"), Some(*b"JP"));
}

#[test]
fn neighbours_in_one_place_are_one_range() {
    let line = |n: u32, place: u32| format!("{},{},DE,,,,{place},1\n", n * 10, n * 10 + 9);
    let text: String = (1..1000).map(|n| line(n, n / 100)).collect();
    let (report, locations) = read_bytes(text.as_bytes());
    assert_eq!(report.unwrap().used, 999);
    // Ten places, and nowhere after them; before them there is nothing to say.
    assert_eq!(locations.rows(), 11);
    assert!(locations.bytes() < 200, "{}", locations.bytes());
}
