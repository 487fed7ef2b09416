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
