//! Location files: any bytes as CSV, against a naive table where the lines are simple ones.

use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use peerage_locations::{Builder, COMPLAINTS_MAX, Error, Locations, Place, Report};

/// However the bytes come, the same is read; and where every line is simple and in order, each
/// address is where a naive table has it.
pub fn locations_csv(data: &[u8]) {
    let (report, locations) = read(data, 1 << 16);
    let (again, locations_again) = read(data, 1 + data.len() % 7);
    assert_eq!(outcome(&report), outcome(&again));
    if let Ok(report) | Err(Error::Broken(report)) = &report {
        let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert!(report.used + report.broken <= lines);
        assert_eq!(report.complaints.len() as u64, report.broken.min(COMPLAINTS_MAX as u64));
        // A line of both families is in both tables, and each may have a gap before it.
        assert!(locations.rows() as u64 <= 4 * (report.used + report.broken) + 2);
    }
    if report.is_err() {
        assert_eq!(locations.rows(), 0);
    }
    let naive = report.is_ok().then(|| naive(data)).flatten();
    for number in numbers(data) {
        for number in [number, number.wrapping_add(1), number.wrapping_sub(1)] {
            let ipv4 = IpAddr::V4(Ipv4Addr::from(number as u32));
            let ipv6 = IpAddr::V6(Ipv6Addr::from(number));
            for address in [ipv4, ipv6] {
                let place = locations.find(address);
                assert_eq!(place, locations_again.find(address));
                if let Some(place) = place {
                    assert!((-900..=900).contains(&place.latitude_tenths));
                    assert!((-1800..=1800).contains(&place.longitude_tenths));
                    let [a, b] = place.country;
                    let is_code = a.is_ascii_uppercase() && b.is_ascii_uppercase();
                    assert!(is_code || (a, b) == (0, 0));
                }
                if let Some(naive) = &naive {
                    assert_eq!(place, find(naive, address), "{address}");
                }
            }
        }
    }
}

fn read(data: &[u8], buffer_bytes: usize) -> (Result<Report, Error>, Locations) {
    let mut builder = Builder::new(&|| true);
    let report = builder.read_csv(BufReader::with_capacity(buffer_bytes, data));
    (report, builder.finish())
}

fn outcome(report: &Result<Report, Error>) -> Result<Report, String> {
    match report {
        Err(Error::Broken(report)) => Err(format!("{report:?}")),
        Err(error) => Err(error.to_string()),
        Ok(report) => Ok(report.clone()),
    }
}

/// The whole numbers in the text that fit an address.
fn numbers(data: &[u8]) -> impl Iterator<Item = u128> {
    let digits = data.split(|byte| !byte.is_ascii_digit());
    digits.filter_map(|digits| str::from_utf8(digits).ok()?.parse().ok()).take(100)
}

type Naive = Vec<(u128, u128, Option<Place>)>;

/// The ranges of lines without quotes and white space, each after the one before it, all in the
/// upper half of IPv6 or all in IPv4; `None` where any line is not so simple.
fn naive(data: &[u8]) -> Option<Naive> {
    let text = str::from_utf8(data).ok()?;
    let mut rows = Naive::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let [from, to, country, _, _, _, latitude, longitude] = fields[..] else { return None };
        if line.len() > 1000
            || line.contains(|c: char| c == '"' || c.is_whitespace() || !c.is_ascii())
        {
            return None;
        }
        let (from, to) = (whole(from)?, whole(to)?);
        let is_ipv4 = to <= u128::from(u32::MAX);
        let is_ipv6 = from >= 1 << 96;
        let follows = rows.last().is_none_or(|(_, last, _)| *last < from);
        if from > to || !follows || !(is_ipv4 || is_ipv6) {
            return None;
        }
        let (latitude, longitude) = (degrees(latitude, 90.0)?, degrees(longitude, 180.0)?);
        let tenths = |degrees: f64| (degrees * 10.0).round() as i16;
        let is_known = country != "-" && (latitude != 0.0 || longitude != 0.0);
        rows.push((
            from,
            to,
            is_known.then_some(Place {
                latitude_tenths: tenths(latitude),
                longitude_tenths: tenths(longitude),
                country: letters(country)?,
            }),
        ));
    }
    Some(rows)
}

fn whole(text: &str) -> Option<u128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn degrees(text: &str, max: f64) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| b"+-.0123456789".contains(&byte));
    let degrees: f64 = is_plain.then(|| text.parse().ok()).flatten()?;
    (degrees.abs() <= max).then_some(degrees)
}

fn letters(country: &str) -> Option<[u8; 2]> {
    if country.is_empty() || country == "-" {
        return Some([0; 2]);
    }
    let letters = country.bytes().all(|byte| byte.is_ascii_alphabetic());
    letters.then(|| country.to_uppercase().into_bytes().try_into().ok()).flatten()
}

/// The row that has the address, or the first one of its /64.
fn find(naive: &Naive, address: IpAddr) -> Option<Place> {
    let number = match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    };
    let is_ipv4 = address.to_canonical().is_ipv4();
    let rows = naive.iter().filter(|(_, to, _)| is_ipv4 == (*to <= u128::from(u32::MAX)));
    rows.into_iter().find(|(from, to, _)| (*from..=*to).contains(&number))?.2
}

pub(crate) fn csv_files() -> Vec<Vec<u8>> {
    let ipv6 = 0x2001_u128 << 112;
    let simple: String = (1..9_u32)
        .map(|n| {
            let (from, to) = (n * 1000, n * 1000 + [999, 0, 500][n as usize % 3]);
            format!("{from},{to},{},a,b,c,{}.5,-{n}.25\n", ["DE", "-", "fr", ""][n as usize % 4], n)
        })
        .collect();
    let upper: String = (0..6_u128)
        .map(|n| {
            let from = ipv6 + (n << 64) + n % 2;
            format!("{from},{},JP,,,,35.{n},139.7\n", from + (1 << 64) - 1 - n % 2)
        })
        .collect();
    [
        simple.clone(),
        upper.clone(),
        format!("{simple}{upper}"),
        "\u{feff}\"ip_from\",\"ip_to\",\"c\",\"n\",\"r\",\"t\",\"lat\",\"lon\"\r\n\
         \"16777216\",\"16777471\",\"AU\",\"a, \"\"b\"\"\",\"\nx\",\"y\",\"-27.4\",\"153.0\"\r\n\
         \"16777472\",\"16777727\",\"-\",\"-\",\"-\",\"-\",\"0.0\",\"0.0\",\"z\"\r\n"
            .into(),
        "0,281470681743359,-,,,,0,0\n281470698520576,281470698520831,CN,,,,26.1,119.3\n\
         281470698520832,340282366920938463463374607431768211455,FR,,,,48.8,2.3\n"
            .into(),
        "9,99,DE,,,,1,1\n5,5,DE,,,,2,2\n50,60,FR,,,,3,3\n1,2\n55,70,ES,,,,91,4\n\"\n".into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
