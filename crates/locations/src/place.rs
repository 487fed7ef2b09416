//! A place, and how it is packed into four bytes.

use crate::report::Fault;

/// Where an address is, to a tenth of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// North of the equator, in tenths of a degree: -900 to 900.
    pub latitude_tenths: i16,
    /// East of Greenwich, in tenths of a degree: -1800 to 1800.
    pub longitude_tenths: i16,
    /// Two letters of ISO 3166, in capitals; two zeros where the country is not known.
    pub country: [u8; 2],
}

/// No country.
const UNKNOWN_COUNTRY: [u8; 2] = [0; 2];

impl Place {
    /// The place at these degrees, in the country with this code if there is one. None where the
    /// equator meets Greenwich: nobody lives there, and files say so of what they do not know.
    pub(crate) fn new(
        latitude: f64,
        longitude: f64,
        country: Option<&[u8]>,
    ) -> Result<Option<Self>, Fault> {
        let place = Self {
            latitude_tenths: tenths(latitude, 90.0).ok_or(Fault::Coordinates)?,
            longitude_tenths: tenths(longitude, 180.0).ok_or(Fault::Coordinates)?,
            country: country.map_or(Some(UNKNOWN_COUNTRY), capitals).ok_or(Fault::Country)?,
        };
        Ok((latitude != 0.0 || longitude != 0.0).then_some(place))
    }
}

/// Rounds degrees of at most `max` on either side of 0 to tenths.
fn tenths(degrees: f64, max: f64) -> Option<i16> {
    (-max..=max).contains(&degrees).then(|| (degrees * 10.0).round() as i16)
}

/// Two letters as capitals.
fn capitals(code: &[u8]) -> Option<[u8; 2]> {
    let code = <[u8; 2]>::try_from(code).ok()?.map(|letter| letter.to_ascii_uppercase());
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}

/// A place in four bytes: from the top 11 bits of latitude, 12 of longitude, and the number of the
/// country in 9, by [`Countries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed(u32);

impl Packed {
    /// No place. No latitude is packed as 2047.
    pub(crate) const NOWHERE: Self = Self(u32::MAX);
}

/// Countries with a number of their own, one more than is left of 9 bits.
const COUNTRIES_MAX: usize = 1 << 9;

/// The numbers of the countries, in the order in which they came up; 0 is the unknown one. ISO 3166
/// has half as many as there is room for; one too many would be unknown.
#[derive(Debug)]
pub(crate) struct Countries {
    codes: Vec<[u8; 2]>,
}

impl Default for Countries {
    fn default() -> Self {
        Self { codes: vec![UNKNOWN_COUNTRY] }
    }
}

impl Countries {
    /// Packs a place within the bounds of [`Place`].
    pub(crate) fn pack(&mut self, place: Place) -> Packed {
        let latitude = (place.latitude_tenths + 900) as u32;
        let longitude = (place.longitude_tenths + 1800) as u32;
        debug_assert!(latitude <= 1800 && longitude <= 3600);
        Packed(latitude << 21 | longitude << 9 | self.number(place.country))
    }

    /// The place that was packed.
    pub(crate) fn unpack(&self, packed: Packed) -> Option<Place> {
        let Packed(bits) = packed;
        (packed != Packed::NOWHERE).then(|| Place {
            latitude_tenths: (bits >> 21) as i16 - 900,
            longitude_tenths: (bits >> 9 & 0xfff) as i16 - 1800,
            country: self.codes[(bits & 0x1ff) as usize],
        })
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.codes.capacity() * 2
    }

    /// By a search of the few there are: neighbouring rows tend to share one, and the caller asks
    /// once for many of them.
    fn number(&mut self, code: [u8; 2]) -> u32 {
        let known = self.codes.iter().position(|known| *known == code);
        let number = known.unwrap_or_else(|| match self.codes.len() {
            COUNTRIES_MAX => 0,
            next => {
                self.codes.push(code);
                next
            }
        });
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_comes_out_as_it_went_in() {
        let mut countries = Countries::default();
        for latitude_tenths in [-900, -1, 0, 1, 899, 900] {
            for longitude_tenths in [-1800, -1, 0, 1, 1799, 1800] {
                for country in [UNKNOWN_COUNTRY, *b"AA", *b"ZZ"] {
                    let place = Place { latitude_tenths, longitude_tenths, country };
                    let packed = countries.pack(place);
                    assert_eq!(countries.unpack(packed), Some(place));
                }
            }
        }
        assert_eq!(countries.unpack(Packed::NOWHERE), None);
    }

    #[test]
    fn country_for_which_there_is_no_room_is_unknown() {
        let mut countries = Countries::default();
        let place = |country| Place { latitude_tenths: 1, longitude_tenths: 2, country };
        for n in 0_u16..600 {
            let country = [b'A' + (n / 26) as u8, b'A' + (n % 26) as u8];
            let packed = countries.pack(place(country));
            let found = if n < 511 { country } else { UNKNOWN_COUNTRY };
            assert_eq!(countries.unpack(packed), Some(place(found)), "{n}");
        }
    }
}
