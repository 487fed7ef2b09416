//! Who a chain of proxies speaks for: `X-Forwarded-For` and its like, and `Forwarded` (RFC 7239).

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address nearest to us that is not a trusted proxy.
///
/// `values` are those of the header, in order; each is a comma-separated list to which every proxy
/// on the way has appended the address it was spoken to from. `source` is the other end of the
/// connection. The walk goes from there to the left, as long as `is_trusted` holds: what a stranger
/// wrote is not read. It stops at what is no address, with the last one that was. IPv4-mapped
/// addresses are made canonical. Where all are trusted, it is the left-most.
pub fn forwarded_address<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    source: IpAddr,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut nearest = source.to_canonical();
    let elements = values.rev().flat_map(|value| value.rsplit(|&b| b == b','));
    for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
        if !is_trusted(nearest) {
            break;
        }
        let Some(address) = read_element(element) else { break };
        nearest = address.to_canonical();
    }
    nearest
}

/// Reads an address, or the `for` of a `Forwarded` element: `for="[2001:db8::1]:4711";proto=http`.
fn read_element(element: &[u8]) -> Option<IpAddr> {
    let element = str::from_utf8(element).ok()?;
    let parameter = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    read_address(parameter.unwrap_or(element).trim_matches('"'))
}

/// Reads an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn read_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let bracketed = text.strip_prefix('[')?.strip_suffix(']')?;
    bracketed.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// 10.0.0.0/8, 127.0.0.1 and ::1 are trusted.
    #[track_caller]
    fn check(source: &str, values: &[&str], expected: &str) {
        let trusted = |address: IpAddr| match address {
            IpAddr::V4(ip) => ip.octets()[0] == 10 || ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let address = forwarded_address(bytes.into_iter(), source.parse().unwrap(), trusted);
        assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{source} {values:?}");
    }

    #[test]
    fn stranger_is_not_believed() {
        check("192.0.2.1", &["203.0.113.7"], "192.0.2.1");
        check("192.0.2.1", &[], "192.0.2.1");
        check("::ffff:192.0.2.1", &["203.0.113.7"], "192.0.2.1");
    }

    #[test]
    fn right_most_address_that_is_no_proxy_counts() {
        check("10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::1", &["6.6.6.6, 203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["6.6.6.6, 203.0.113.7, 10.0.0.2"], "203.0.113.7");
        check("10.0.0.1", &["6.6.6.6", "203.0.113.7,10.0.0.3", " 10.0.0.2 "], "203.0.113.7");
        check("10.0.0.1", &["6.6.6.6", "203.0.113.7, 192.0.2.9"], "192.0.2.9");
        check("10.0.0.1", &["203.0.113.7,, ,"], "203.0.113.7");
    }

    #[test]
    fn left_most_counts_where_all_are_trusted() {
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.9, 10.0.0.8", "10.0.0.7"], "10.0.0.9");
    }

    #[test]
    fn walk_stops_at_garbage_with_the_last_good_address() {
        check("10.0.0.1", &["unknown"], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.7, <script>, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["203.0.113.7", "999.1.1.1"], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.7 198.51.100.1"], "10.0.0.1");
        check("10.0.0.1", &["\u{e4}"], "10.0.0.1");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        check("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7");
        check("10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["203.0.113.7, [::ffff:10.0.0.2]:80"], "203.0.113.7");
    }

    #[test]
    fn forwarded_of_rfc_7239_is_read() {
        check("10.0.0.1", &["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60");
        check("10.0.0.1", &["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17");
        check("10.0.0.1", &["for=192.0.2.43, for=198.51.100.17;by=10.0.0.2"], "198.51.100.17");
        check("10.0.0.1", &["for=192.0.2.43, for=_hidden"], "10.0.0.1");
    }
}
