//! Random tables against a naive one: a list of ranges that is gone through from its start.

use std::fmt::Write as _;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use peerage_locations::{Builder, Place};

/// xorshift64*: the same numbers at every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

/// Ranges with both ends in them; `None` is a row of no known place.
struct Naive(Vec<(u128, u128, Option<Place>)>);

impl Naive {
    fn find(&self, number: u128) -> Option<Place> {
        self.0.iter().find(|(from, to, _)| (*from..=*to).contains(&number))?.2
    }
}

/// Ascending rows from `start` on, `unit` being the smallest step, some of them side by side.
fn rows(rng: &mut Rng, start: u128, unit: u128) -> Naive {
    let mut next = start;
    let count = rng.below(400);
    let row = |_| {
        let gap = if rng.below(2) == 0 { 0 } else { u128::from(rng.below(9)) };
        let from = next + gap * unit;
        let to = from + u128::from(rng.below(6)) * unit + unit - 1;
        next = to + 1;
        let place = Place {
            latitude_tenths: rng.below(4) as i16 - 2,
            longitude_tenths: rng.below(2) as i16 + 1,
            country: [*b"DE", *b"FR", [0; 2]][rng.below(3) as usize],
        };
        (from, to, (rng.below(5) > 0).then_some(place))
    };
    Naive((0..count).map(row).collect())
}

/// Any of the ways a file may write it.
fn write_row(text: &mut String, rng: &mut Rng, row: &(u128, u128, Option<Place>)) {
    let (from, to, place) = row;
    let (latitude, longitude, country) = match place {
        None => (0.0, 0.0, "-"),
        Some(place) => {
            let tenths = [place.latitude_tenths, place.longitude_tenths];
            let [latitude, longitude] = tenths.map(|tenths| f64::from(tenths) / 10.0);
            (
                latitude,
                longitude,
                match &place.country {
                    [0, 0] => "",
                    country => str::from_utf8(country).expect("letters"),
                },
            )
        }
    };
    let fields = [
        from.to_string(),
        to.to_string(),
        country.into(),
        "Ü".into(),
        "\"a\", b".into(),
        "\n".into(),
        latitude.to_string(),
        format!("{longitude:.3}"),
    ];
    let fields = fields.map(|field| {
        let must_quote = field.contains(['"', ',', '\n']);
        if must_quote || rng.below(2) == 0 {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    });
    let end = ["\n", "\r\n", "\n\n"][rng.below(3) as usize];
    write!(text, "{}{end}", fields.join(",")).expect("a String takes any text");
    if rng.below(20) == 0 {
        text.push_str(
            ["broken\n", "1,2,3\n", ",,,,,,,\n", "5,1,-,,,,0,0\n"][rng.below(4) as usize],
        );
    }
}

#[track_caller]
fn check(seed: u64) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mapped, start_v6) = (0xffff_0000_0000_u128, 0x2001_u128 << 112);
    let start_v4 = u128::from(rng.below(1 << 20));
    let ipv4 = rows(&mut rng, start_v4, 1);
    let ipv6 = rows(&mut rng, start_v6, 1 << 64);
    let edition = rng.below(2) * (mapped as u64);
    let mut text = String::from("-1,-1,-1\n0,0,-,,,,0,0\n");
    for (from, to, place) in &ipv4.0 {
        let row = (from + u128::from(edition), to + u128::from(edition), *place);
        write_row(&mut text, &mut rng, &row);
    }
    ipv6.0.iter().for_each(|row| write_row(&mut text, &mut rng, row));
    // However few rows there are, the good ones are more, and there is a place.
    let end = u128::MAX - 50;
    for n in 0..50 {
        writeln!(text, "{},{},NZ,,,,{n},1", end + n, end + n).expect("a String takes any text");
    }

    let mut builder = Builder::new(&|| true);
    let input = BufReader::with_capacity(1 + rng.below(100) as usize, text.as_bytes());
    builder.read_csv(input).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let locations = builder.finish();
    for number in start_v4.saturating_sub(5)..start_v4 + 6000 {
        let address = IpAddr::V4(Ipv4Addr::from(number as u32));
        assert_eq!(locations.find(address), ipv4.find(number), "seed {seed}: {address}");
    }
    for step in 0..6000 {
        let number = start_v6 - (5 << 64) + (step << 64);
        for address in [number, number + 1, number + u128::from(u64::MAX)] {
            let address = IpAddr::V6(Ipv6Addr::from(address));
            assert_eq!(locations.find(address), ipv6.find(number), "seed {seed}: {address}");
        }
    }
}

#[test]
fn packed_table_finds_what_a_naive_one_finds() {
    (0..60).for_each(check);
}
