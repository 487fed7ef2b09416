//! IP2Location's CSV files (RFC 4180): `"ip_from","ip_to","country","name","region","city",
//! "latitude","longitude"`, the ends of the range as whole numbers. Columns after these are passed
//! over, as are a byte order mark, a first line without any number, and empty lines.
//!
//! The file is read line by line, so that a quotation mark out of place costs one line and not the
//! rest of the file; a field may still go on over a few lines.

use std::collections::VecDeque;
use std::io::{BufRead, Read as _};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use crate::builder::Rows;
use crate::place::Place;
use crate::report::{Error, Fault, Position};

/// Most bytes of a line. Those of DB5 have about a hundred.
const LINE_BYTES_MAX: usize = 4096;

/// Most lines of a record whose fields go on over the end of a line.
const LINES_MAX: usize = 4;

/// Columns that are used. DB9 and DB11 have more after them.
const COLUMNS_MIN: usize = 8;
/// Most columns.
const COLUMNS_MAX: usize = 32;

/// Reads all lines into `rows`.
pub(crate) fn read(input: impl BufRead, rows: &mut Rows<'_>) -> Result<(), Error> {
    let mut lines = Lines { input, text: Vec::new(), held: VecDeque::new(), number: 1 };
    let mut parser = Parser::new();
    while lines.hold(1)? {
        rows.go_on()?;
        let number = lines.number;
        match record(&mut lines, &mut parser)? {
            Found::Row(row) => {
                let place = rows.pack(row.place);
                rows.add(row.from, row.to, place, number)?;
            }
            Found::Nothing => {}
            Found::Fault(_) if number == 1 && parser.is_heading() => {}
            Found::Fault(fault) => rows.complain(Position::Line(number), fault),
        }
    }
    Ok(())
}

/// What a line turns out to be.
enum Found {
    Row(Row),
    /// It is empty.
    Nothing,
    Fault(Fault),
}

/// A range of addresses as a line has it.
struct Row {
    from: u128,
    to: u128,
    place: Option<Place>,
}

/// Takes the first line, and those after it over which its fields go on. A line that is broken is
/// taken alone, and the next one has its chance.
fn record(lines: &mut Lines<impl BufRead>, parser: &mut Parser) -> Result<Found, Error> {
    for count in 1..=LINES_MAX {
        if !lines.hold(count)? {
            break;
        }
        let Some(text) = lines.text(count) else {
            let found = Found::Fault(if count == 1 { Fault::Long } else { Fault::Quote });
            lines.take(1);
            return Ok(found);
        };
        if count == 1 && text.trim_ascii().is_empty() {
            lines.take(1);
            return Ok(Found::Nothing);
        }
        match parser.parse(text) {
            Parsed::Open => {}
            Parsed::Columns => match parser.row() {
                Ok(row) => {
                    lines.take(count);
                    return Ok(Found::Row(row));
                }
                Err(fault) => {
                    lines.take(1);
                    return Ok(Found::Fault(if count == 1 { fault } else { Fault::Quote }));
                }
            },
            Parsed::TooMany => {
                lines.take(1);
                return Ok(Found::Fault(Fault::Columns));
            }
        }
    }
    lines.take(1);
    Ok(Found::Fault(Fault::Quote))
}

/// Lines that were read and not yet taken: one, but where a field goes on over the end of a line.
struct Lines<R> {
    input: R,
    /// Those held, one after the other, each with its end.
    text: Vec<u8>,
    held: VecDeque<Held>,
    /// That of the first one held, from 1.
    number: u64,
}

struct Held {
    /// In `text`.
    bytes: usize,
    /// Whether it was short enough; if not there is nothing of it in `text`.
    is_whole: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads on until `count` lines are held. False where the file has fewer.
    fn hold(&mut self, count: usize) -> Result<bool, Error> {
        while self.held.len() < count {
            let start = self.text.len();
            let mut limited = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1);
            let bytes = limited.read_until(b'\n', &mut self.text)?;
            if bytes == 0 {
                return Ok(false);
            }
            let is_whole = bytes <= LINE_BYTES_MAX;
            if !is_whole {
                if self.text.last() != Some(&b'\n') {
                    self.input.skip_until(b'\n')?;
                }
                self.text.truncate(start);
            } else if self.text.last() != Some(&b'\n') {
                self.text.push(b'\n');
            }
            self.held.push_back(Held { bytes: self.text.len() - start, is_whole });
        }
        Ok(true)
    }

    /// The first `count` lines held, if all of them are whole.
    fn text(&self, count: usize) -> Option<&[u8]> {
        let lines = || self.held.iter().take(count);
        let bytes = lines().map(|line| line.bytes).sum::<usize>();
        lines().all(|line| line.is_whole).then(|| &self.text[..bytes])
    }

    /// Is done with the first `count` lines held.
    fn take(&mut self, count: usize) {
        let bytes: usize = self.held.drain(..count).map(|line| line.bytes).sum();
        self.text.drain(..bytes);
        self.number += count as u64;
    }
}

/// Cuts a record into its fields.
struct Parser {
    reader: Reader,
    /// The fields without their quotes, one after the other.
    fields: Vec<u8>,
    /// The end of each in `fields`.
    ends: [usize; COLUMNS_MAX],
    count: usize,
}

/// What cutting came to.
enum Parsed {
    /// All fields are there.
    Columns,
    /// There are more than [`COLUMNS_MAX`].
    TooMany,
    /// A quoted field is not at its end.
    Open,
}

impl Parser {
    fn new() -> Self {
        // A carriage return before the end of a line is white space like any other.
        let reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        let fields = vec![0; LINES_MAX * LINE_BYTES_MAX];
        Self { reader, fields, ends: [0; COLUMNS_MAX], count: 0 }
    }

    /// `text` is no longer than `fields`, and ends with the end of a line. Passes over a byte order
    /// mark.
    fn parse(&mut self, text: &[u8]) -> Parsed {
        self.reader.reset();
        let (result, _, _, count) = self.reader.read_record(text, &mut self.fields, &mut self.ends);
        self.count = count;
        match result {
            ReadRecordResult::Record => Parsed::Columns,
            ReadRecordResult::OutputEndsFull => Parsed::TooMany,
            ReadRecordResult::InputEmpty | ReadRecordResult::End => Parsed::Open,
            ReadRecordResult::OutputFull => unreachable!("fields are no longer than the lines"),
        }
    }

    /// A field without white space around it.
    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.fields[start..self.ends[index]].trim_ascii()
    }

    /// Whether it has the columns, and none of them is a number.
    fn is_heading(&self) -> bool {
        let is_number = |index| degrees(self.field(index)).is_some();
        self.count >= COLUMNS_MIN && !(0..self.count).any(is_number)
    }

    /// What the record says.
    fn row(&self) -> Result<Row, Fault> {
        if self.count < COLUMNS_MIN {
            return Err(Fault::Columns);
        }
        let address = |index| whole_number(self.field(index)).ok_or(Fault::Address);
        let (from, to) = (address(0)?, address(1)?);
        if to < from {
            return Err(Fault::Backwards);
        }
        let degrees = |index| degrees(self.field(index)).ok_or(Fault::Coordinates);
        let (latitude, longitude) = (degrees(6)?, degrees(7)?);
        let place = match self.field(2) {
            b"-" => None,
            b"" => Place::new(latitude, longitude, None)?,
            code => Place::new(latitude, longitude, Some(code))?,
        };
        Ok(Row { from, to, place })
    }
}

/// Decimal digits alone.
fn whole_number(field: &[u8]) -> Option<u128> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = str::from_utf8(field).ok()?;
    // Twice as fast, and enough for IPv4.
    if text.len() < 20 { text.parse::<u64>().ok().map(u128::from) } else { text.parse().ok() }
}

/// A number, with or without a fraction.
fn degrees(field: &[u8]) -> Option<f64> {
    let is_plain = field.iter().all(|byte| byte.is_ascii_digit() || b"+-.".contains(byte));
    str::from_utf8(field).ok().filter(|_| is_plain)?.parse().ok()
}
