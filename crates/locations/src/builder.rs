//! How files become [`Locations`]: one after the other, each family of addresses from the first
//! file that knows of it.

use std::fmt;
use std::io::BufRead;

use crate::place::{Countries, Packed, Place};
use crate::ranges::{Assembly, Range, Ranges};
use crate::report::{Error, Fault, Position, Provider, Report};
use crate::{Locations, csv, mmdb};

/// The most ranges of one family: five times what there is today. A file with more is refused.
pub const ROWS_MAX: usize = 1 << 24;

/// The most lines or networks of one file, in however few ranges. A file with more is refused.
const LINES_MAX: u64 = 1 << 27;

/// How many lines or networks are read before the caller is asked again whether to go on.
const LINES_AT_ONCE: u64 = 4096;

/// The first IPv4 address in IPv6: `::ffff:0.0.0.0`.
const MAPPED_FROM: u128 = 0xffff_0000_0000;
/// The last: `::ffff:255.255.255.255`.
const MAPPED_TO: u128 = 0xffff_ffff_ffff;

/// Reads files into [`Locations`].
pub struct Builder<'a> {
    go_on: &'a dyn Fn() -> bool,
    found: Locations,
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("found", &self.found).finish_non_exhaustive()
    }
}

impl<'a> Builder<'a> {
    /// Nothing read yet. `go_on` is asked every few thousand rows.
    #[must_use]
    pub fn new(go_on: &'a dyn Fn() -> bool) -> Self {
        Self { go_on, found: Locations::default() }
    }

    /// Reads a CSV file of IP2Location: DB5 or one with more columns, for IPv4 or for IPv6.
    ///
    /// A line that is broken is left out and told. The file is refused, and nothing of it used,
    /// where more lines are broken than not.
    pub fn read_csv(&mut self, input: impl BufRead) -> Result<Report, Error> {
        self.read(Provider::Ip2Location, |rows| csv::read(input, rows))
    }

    /// Reads an `.mmdb` file with coordinates, such as GeoLite2 City or DB-IP City Lite. `bytes`
    /// are all of it; nothing of them is kept.
    pub fn read_mmdb(&mut self, bytes: &[u8]) -> Result<Report, Error> {
        self.read(Provider::Other, |rows| mmdb::read(bytes, rows))
    }

    /// Whether there is a family of which nothing is known.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.found.ipv4.len() == 0 || self.found.ipv6.len() == 0
    }

    /// Ranges so far, see [`Locations::rows`]. A file that adds none knew nothing that was needed.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.found.rows()
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> Locations {
        self.found
    }

    fn read(
        &mut self,
        provider: Provider,
        read: impl FnOnce(&mut Rows<'_>) -> Result<(), Error>,
    ) -> Result<Report, Error> {
        let Locations { ipv4, ipv6, countries } = &mut self.found;
        let mut rows = Rows {
            ipv4: (ipv4.len() == 0).then(Assembly::default),
            ipv6: (ipv6.len() == 0).then(Assembly::default),
            countries,
            report: Report::new(provider),
            has_places: false,
            go_on: self.go_on,
            lines: 0,
        };
        read(&mut rows)?;
        let Rows { ipv4: new_ipv4, ipv6: new_ipv6, report, has_places, .. } = rows;
        if report.used <= report.broken {
            return Err(Error::Broken(report));
        }
        if !has_places {
            return Err(Error::NoPlaces);
        }
        take(ipv4, new_ipv4);
        take(ipv6, new_ipv6);
        Ok(report)
    }
}

fn take<K: Copy + Ord + TryFrom<u64>>(ranges: &mut Ranges<K>, new: Option<Assembly<K>>) {
    if let Some(new) = new {
        *ranges = new.finish();
    }
}

/// What one file becomes.
pub(crate) struct Rows<'a> {
    /// `None` where an earlier file has the family.
    ipv4: Option<Assembly<u32>>,
    ipv6: Option<Assembly<u64>>,
    countries: &'a mut Countries,
    pub(crate) report: Report,
    has_places: bool,
    go_on: &'a dyn Fn() -> bool,
    lines: u64,
}

impl Rows<'_> {
    /// To be called for each line or network: an error once there were too many, or once the caller
    /// does not want to wait.
    pub(crate) fn go_on(&mut self) -> Result<(), Error> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(Error::TooManyRows);
        }
        if self.lines.is_multiple_of(LINES_AT_ONCE) && !(self.go_on)() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Packs a place for [`add`](Self::add).
    pub(crate) fn pack(&mut self, place: Option<Place>) -> Packed {
        self.has_places |= place.is_some();
        place.map_or(Packed::NOWHERE, |place| self.countries.pack(place))
    }

    /// Takes a range of addresses as a file has it: IPv4 addresses as numbers below 2^32, or as
    /// they are in IPv6. Both ends belong to it, and it does not end before it begins.
    pub(crate) fn add(
        &mut self,
        from: u128,
        to: u128,
        place: Packed,
        line: u64,
    ) -> Result<(), Error> {
        let mut fault = None;
        let counts = [self.ipv4.as_ref().map(Assembly::len), self.ipv6.as_ref().map(Assembly::len)];
        if counts.into_iter().flatten().any(|count| count >= ROWS_MAX) {
            return Err(Error::TooManyRows);
        }
        if let (Some(ipv4), Some((from, to))) = (&mut self.ipv4, ipv4_keys(from, to)) {
            fault = ipv4.add(Range { from, to, place, line });
        }
        if let (Some(ipv6), Some((from, to))) = (&mut self.ipv6, ipv6_keys(from, to)) {
            fault = ipv6.add(Range { from, to, place, line }).or(fault);
        }
        match fault {
            None => self.report.used += 1,
            Some((line, fault)) => self.report.complain(Position::Line(line), fault),
        }
        Ok(())
    }

    /// Takes note of a line that is broken.
    pub(crate) fn complain(&mut self, at: Position, fault: Fault) {
        self.report.complain(at, fault);
    }
}

/// The IPv4 addresses of a row, as keys: a row below 2^32, or the mapped ones in it.
fn ipv4_keys(from: u128, to: u128) -> Option<(u64, u64)> {
    if to <= u128::from(u32::MAX) {
        return Some((from as u64, to as u64));
    }
    let (from, to) = (from.max(MAPPED_FROM), to.min(MAPPED_TO));
    (from <= to).then(|| ((from - MAPPED_FROM) as u64, (to - MAPPED_FROM) as u64))
}

/// The /64s of a row, as keys: those whose first address is in it. None for a row of IPv4.
fn ipv6_keys(from: u128, to: u128) -> Option<(u64, u64)> {
    let is_ipv4 = to <= u128::from(u32::MAX) || (from >= MAPPED_FROM && to <= MAPPED_TO);
    let first = (from >> 64) + u128::from(from as u64 != 0);
    let last = to >> 64;
    // The last is no more than 2^64 - 1, and so is the first where there is any.
    (!is_ipv4 && first <= last).then_some((first as u64, last as u64))
}
