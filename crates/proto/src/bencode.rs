//! Canonical bencode, written: sorted keys, no leading zeros (BEP 3).
//!
//! A writer only: nothing in the tracker protocols sends bencode to a tracker. Everything is
//! appended to a buffer of the caller, without formatting machinery; a dictionary borrows the
//! buffer, so what is open inside it must be closed before it goes on.

use alloc::vec::Vec;
use core::ops::Range;

/// Appends `value` in decimal digits.
#[inline]
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else {
        out.extend_from_slice(Decimal::of(value).digits());
    }
}

/// A number in decimal digits, for where they are wanted before their place is known.
pub(crate) struct Decimal {
    /// 2^64 - 1 has 20 digits. The last ones are used.
    bytes: [u8; 20],
    first: usize,
}

impl Decimal {
    #[inline]
    pub(crate) fn of(value: u64) -> Self {
        let mut decimal = Self { bytes: [b'0'; 20], first: 20 };
        let mut rest = value;
        while rest != 0 || decimal.first == 20 {
            decimal.first -= 1;
            decimal.bytes[decimal.first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        decimal
    }

    #[inline]
    pub(crate) fn digits(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

/// Appends an integer: `i42e`.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: u64) {
    out.push(b'i');
    decimal(out, value);
    out.push(b'e');
}

/// Appends a byte string: `4:spam`.
#[inline]
pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    decimal(out, value.len() as u64);
    out.push(b':');
    out.extend_from_slice(value);
}

/// An open dictionary. The keys are to be given in rising raw order, which debug builds check.
#[must_use = "a dictionary that is not closed is not bencode"]
pub struct Dict<'a> {
    out: &'a mut Vec<u8>,
    /// Where the last key lies in `out`. Empty before the first: the empty key is not used.
    last_key: Range<usize>,
}

impl<'a> Dict<'a> {
    /// Opens a dictionary at the end of `out`.
    #[inline]
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'd');
        Self { out, last_key: 0..0 }
    }

    /// Opens a dictionary as the value of `key`.
    #[inline]
    pub fn dict(&mut self, key: &[u8]) -> Dict<'_> {
        self.key(key);
        Dict::open(self.out)
    }

    /// Opens a list as the value of `key`.
    #[inline]
    pub fn list(&mut self, key: &[u8]) -> List<'_> {
        self.key(key);
        self.out.push(b'l');
        List { out: self.out }
    }

    /// An integer as the value of `key`.
    #[inline]
    pub fn integer(&mut self, key: &[u8], value: impl Into<u64>) {
        self.key(key);
        integer(self.out, value.into());
    }

    /// A byte string as the value of `key`.
    #[inline]
    pub fn bytes(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        bytes(self.out, value);
    }

    /// Ends the dictionary.
    #[inline]
    pub fn close(self) {
        self.out.push(b'e');
    }

    #[inline]
    fn key(&mut self, key: &[u8]) {
        debug_assert!(self.out[self.last_key.clone()] < *key, "keys rise: {}", key.escape_ascii());
        bytes(self.out, key);
        self.last_key = self.out.len() - key.len()..self.out.len();
    }
}

/// An open list.
#[must_use = "a list that is not closed is not bencode"]
pub struct List<'a> {
    out: &'a mut Vec<u8>,
}

impl List<'_> {
    /// Opens a dictionary as the next element.
    #[inline]
    pub fn dict(&mut self) -> Dict<'_> {
        Dict::open(self.out)
    }

    /// Ends the list.
    #[inline]
    pub fn close(self) {
        self.out.push(b'e');
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;

    use super::*;

    /// A value, read: the other half that the crate itself does not need.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Value {
        Integer(u64),
        Bytes(Vec<u8>),
        List(Vec<Value>),
        Dict(BTreeMap<Vec<u8>, Value>),
    }

    impl Value {
        /// Reads all of `bytes`, as strictly as the strictest client.
        #[track_caller]
        pub(crate) fn read(bytes: &[u8]) -> Self {
            let (value, rest) = Self::read_some(bytes);
            assert_eq!(rest, b"", "nothing follows the value");
            value
        }

        /// The value of `key`; panics where there is none.
        #[track_caller]
        pub(crate) fn at(&self, key: &[u8]) -> &Self {
            self.find(key).unwrap_or_else(|| panic!("no {}: {self:?}", key.escape_ascii()))
        }

        /// The value of `key` in a dictionary.
        #[track_caller]
        pub(crate) fn find(&self, key: &[u8]) -> Option<&Self> {
            let Self::Dict(entries) = self else { panic!("no dictionary: {self:?}") };
            entries.get(key)
        }

        #[track_caller]
        fn read_some(bytes: &[u8]) -> (Self, &[u8]) {
            match bytes[0] {
                b'i' => {
                    let end = bytes.iter().position(|&b| b == b'e').unwrap();
                    (Self::Integer(read_decimal(&bytes[1..end])), &bytes[end + 1..])
                }
                b'l' => {
                    let (mut list, mut rest) = (Vec::new(), &bytes[1..]);
                    while rest[0] != b'e' {
                        let value;
                        (value, rest) = Self::read_some(rest);
                        list.push(value);
                    }
                    (Self::List(list), &rest[1..])
                }
                b'd' => {
                    let (mut dict, mut rest) = (BTreeMap::new(), &bytes[1..]);
                    while rest[0] != b'e' {
                        let (key, value);
                        (key, rest) = Self::read_some(rest);
                        let Self::Bytes(key) = key else { panic!("a key is a byte string") };
                        (value, rest) = Self::read_some(rest);
                        let last: Option<&Vec<u8>> = dict.keys().next_back();
                        assert!(last.is_none_or(|last| *last < key), "keys rise");
                        dict.insert(key, value);
                    }
                    (Self::Dict(dict), &rest[1..])
                }
                _ => {
                    let colon = bytes.iter().position(|&b| b == b':').unwrap();
                    let length = read_decimal(&bytes[..colon]) as usize;
                    let (value, rest) = bytes[colon + 1..].split_at(length);
                    (Self::Bytes(value.into()), rest)
                }
            }
        }
    }

    #[track_caller]
    fn read_decimal(digits: &[u8]) -> u64 {
        assert!(digits == b"0" || digits[0] != b'0', "no leading zero");
        core::str::from_utf8(digits).unwrap().parse().unwrap()
    }

    #[test]
    fn examples_of_bep_3_are_written_to_the_byte() {
        let mut out = Vec::new();
        bytes(&mut out, b"spam");
        integer(&mut out, 3);
        integer(&mut out, 0);
        let mut dict = Dict::open(&mut out);
        dict.bytes(b"cow", b"moo");
        dict.bytes(b"spam", b"eggs");
        dict.close();
        let mut dict = Dict::open(&mut out);
        dict.list(b"spam").close();
        dict.close();
        assert_eq!(out, b"4:spami3ei0ed3:cow3:moo4:spam4:eggsed4:spamlee");
    }

    #[test]
    fn decimals_have_no_leading_zero_at_any_length() {
        let mut value = 1_u64;
        for value in core::iter::from_fn(|| {
            let this = value;
            value = value.checked_mul(10)?;
            Some(this)
        }) {
            for value in [value - 1, value, value + 1] {
                let mut out = Vec::new();
                decimal(&mut out, value);
                assert_eq!(out, value.to_string().into_bytes());
            }
        }
        let mut out = Vec::new();
        decimal(&mut out, u64::MAX);
        assert_eq!(out, b"18446744073709551615");
    }

    #[test]
    fn nested_dictionaries_round_trip() {
        let mut out = Vec::new();
        let mut outer = Dict::open(&mut out);
        outer.integer(b"a", 7_u32);
        let mut inner = outer.dict(b"b");
        inner.bytes(&[0; 20], &[0xff; 3]);
        inner.close();
        let mut list = outer.list(b"c");
        list.dict().close();
        list.dict().close();
        list.close();
        outer.close();
        let value = Value::read(&out);
        assert_eq!(value.at(b"a"), &Value::Integer(7));
        assert_eq!(value.at(b"b").at(&[0; 20]), &Value::Bytes([0xff; 3].into()));
        assert_eq!(value.at(b"c"), &Value::List([(); 2].map(|()| Value::Dict([].into())).into()));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic = "keys rise"]
    fn falling_keys_are_caught_in_debug_builds() {
        let mut out = Vec::new();
        let mut dict = Dict::open(&mut out);
        dict.integer(b"b", 1_u32);
        dict.integer(b"a", 1_u32);
    }
}
