//! Networks, as an operator writes them: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// What stands before the `/`, or all of it, is no IP address.
    Address,
    /// What follows the `/` is no number from 0 to 32, or to 128 in IPv6.
    Length,
}

impl Prefix {
    /// Whether `address` is one of them. An IPv4-mapped IPv6 address is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads an address, with or without `/` and a number of bits. Bits after those do not count.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| PrefixError::Address)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| PrefixError::Length)?,
            None => bits_max,
        };
        match bits <= bits_max {
            true => Ok(Self { address, bits }),
            false => Err(PrefixError::Length),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "no IP address",
            Self::Length => "a prefix has 0 to 32 bits, in IPv6 0 to 128",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_contains_what_begins_with_its_bits() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("::1", "::1", true),
            ("::1", "::2", false),
        ];
        for (prefix, address, inside) in cases {
            let prefix: Prefix = prefix.parse().unwrap();
            assert_eq!(prefix.contains(address.parse().unwrap()), inside, "{prefix} {address}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_its_reason() {
        let cases = [
            ("", PrefixError::Address),
            ("localhost", PrefixError::Address),
            ("10.0.0/8", PrefixError::Address),
            ("/8", PrefixError::Address),
            ("10.0.0.0/", PrefixError::Length),
            ("10.0.0.0/33", PrefixError::Length),
            ("10.0.0.0/-1", PrefixError::Length),
            ("10.0.0.0/8/8", PrefixError::Length),
            ("::/129", PrefixError::Length),
            ("::/999", PrefixError::Length),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text:?}");
        }
    }
}
