//! The PROXY protocol, versions 1 and 2: who a proxy speaks for.
//!
//! A header before the first byte of a connection, written by a proxy such as HAProxy (its
//! `proxy-protocol.txt`). It is to be read only from peers that are known to send it: whoever else
//! could write one could claim any address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::scan::find_byte;

/// Most bytes of a header that is read. Version 1 has at most 107. Version 2 says its own length,
/// up to 65551; what comes after the addresses (certificates at worst) is passed over, and a header
/// longer than this is refused.
pub const HEADER_BYTES_MAX: usize = 4096;

const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length: what follows is the client's.
    pub bytes: usize,
    /// Who the proxy speaks for.
    pub source: Source,
}

/// Who a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client at this address, canonical: never an IPv4-mapped IPv6 address.
    Client(SocketAddr),
    /// Nobody it can name: itself (a health check), or a client without an IP address. The address
    /// of the connection counts.
    Unknown,
}

/// Why bytes are no PROXY header. The connection is to be closed without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin with something else.
    NoHeader,
    /// They begin like one, and go on wrong.
    Malformed,
    /// Longer than [`HEADER_BYTES_MAX`].
    TooLong,
}

/// Reads the header at the start of `bytes`; `None` until all of it is there.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    if begins(bytes, V2_START) {
        return parse_v2(bytes);
    }
    if begins(bytes, V1_START) {
        return parse_v1(bytes);
    }
    Err(ProxyError::NoHeader)
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`
fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(newline) = find_byte(window, b'\n') else {
        return if window.len() < V1_BYTES_MAX { Ok(None) } else { Err(ProxyError::Malformed) };
    };
    let line = window[..newline].strip_suffix(b"\r").ok_or(ProxyError::Malformed)?;
    let line = str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        Some("UNKNOWN") => Source::Unknown,
        Some("TCP4") => client::<Ipv4Addr>(words).ok_or(ProxyError::Malformed)?,
        Some("TCP6") => client::<Ipv6Addr>(words).ok_or(ProxyError::Malformed)?,
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some(Header { bytes: newline + 1, source }))
}

/// The source of `source destination source_port destination_port`, all four of which must be good.
fn client<'a, Ip>(mut words: impl Iterator<Item = &'a str>) -> Option<Source>
where
    Ip: core::str::FromStr + Into<IpAddr>,
{
    let mut ip = || words.next()?.parse::<Ip>().ok().map(Into::into);
    let (source, _destination): (IpAddr, IpAddr) = (ip()?, ip()?);
    let mut port = || {
        let digits = words.next()?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| plain)
    };
    let (source_port, _destination_port) = (port()?, port()?);
    let address = SocketAddr::new(source.to_canonical(), source_port);
    words.next().is_none().then_some(Source::Client(address))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else { return Ok(None) };
    let [.., command, family, length_high, length_low] = *head;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if command >> 4 != 2 {
        return Err(ProxyError::Malformed);
    }
    if V2_HEAD_BYTES + length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(addresses) = rest.get(..length) else { return Ok(None) };
    let source = match command & 15 {
        // LOCAL: what else it says is to be ignored.
        0 => Source::Unknown,
        1 => v2_source(family, addresses).ok_or(ProxyError::Malformed)?,
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some(Header { bytes: V2_HEAD_BYTES + length, source }))
}

/// Source address, destination address, source port, destination port. Over a stream or datagrams.
fn v2_source(family: u8, addresses: &[u8]) -> Option<Source> {
    let (ip, port): (IpAddr, [u8; 2]) = match family {
        0x11 | 0x12 => {
            let fields = addresses.first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, port @ .., _, _] = *fields;
            (Ipv4Addr::new(a, b, c, d).into(), port)
        }
        0x21 | 0x22 => {
            let fields = addresses.first_chunk::<36>()?;
            let ip = *fields.first_chunk::<16>()?;
            (Ipv6Addr::from(ip).into(), [fields[32], fields[33]])
        }
        // Unspecified, and UNIX sockets.
        0x00 | 0x31 | 0x32 => return Some(Source::Unknown),
        _ => return None,
    };
    let address = SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port));
    Some(Source::Client(address))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Source, ProxyError>) {
        let longer = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let expected = expected.map(|source| Some(Header { bytes: bytes.len(), source }));
        assert_eq!(parse(&longer), expected, "{}", bytes.escape_ascii());
        if expected.is_ok() {
            for length in 0..bytes.len() {
                assert_eq!(parse(&bytes[..length]), Ok(None), "its first {length} bytes");
            }
        }
    }

    fn client(address: &str) -> Result<Source, ProxyError> {
        Ok(Source::Client(address.parse().unwrap()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [V2_START, &[command, family][..], &length, addresses].concat()
    }

    #[test]
    fn version_1_is_read_and_every_prefix_is_incomplete() {
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", client("192.0.2.7:56324"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", client("[2001:db8::7]:1"));
        check(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", client("192.0.2.7:1"));
        check(b"PROXY UNKNOWN\r\n", Ok(Source::Unknown));
        check(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Ok(Source::Unknown));
    }

    #[test]
    fn malformed_version_1_is_refused() {
        let lines: [&[u8]; 12] = [
            b"PROXY \r\n",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
            b"PROXY TCP4 \xff\r\n",
        ];
        for line in lines {
            check(line, Err(ProxyError::Malformed));
        }
        check(b"PROXY\r\n", Err(ProxyError::NoHeader));
        // 107 bytes without an end can have none.
        let long = [b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat();
        assert_eq!(parse(&long[..106]), Ok(None));
        assert_eq!(parse(&long), Err(ProxyError::Malformed));
    }

    #[test]
    fn version_2_is_read_and_every_prefix_is_incomplete() {
        // 192.0.2.7:56324 to 198.51.100.1:443, by TCP and by UDP.
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
        check(&v2(0x21, 0x11, &v4), client("192.0.2.7:56324"));
        check(&v2(0x21, 0x12, &v4), client("192.0.2.7:56324"));
        // The same, with a TLV of type 0x04 (NOOP) and 3 bytes after the addresses.
        let with_tlv = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        check(&v2(0x21, 0x11, &with_tlv), client("192.0.2.7:56324"));
        // [2001:db8::7]:1 to [::1]:2.
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        (v6[15], v6[31], v6[33], v6[35]) = (7, 1, 1, 2);
        check(&v2(0x21, 0x21, &v6), client("[2001:db8::7]:1"));
        let mut mapped = v6;
        mapped[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets());
        check(&v2(0x21, 0x21, &mapped), client("192.0.2.7:1"));
    }

    #[test]
    fn version_2_without_a_client_leaves_the_connections_own_address() {
        check(&v2(0x20, 0x00, &[]), Ok(Source::Unknown));
        check(&v2(0x20, 0x11, &[1; 5]), Ok(Source::Unknown));
        check(&v2(0x21, 0x00, &[]), Ok(Source::Unknown));
        check(&v2(0x21, 0x31, &[b'/'; 216]), Ok(Source::Unknown));
    }

    #[test]
    fn malformed_version_2_is_refused() {
        check(&v2(0x11, 0x11, &[0; 12]), Err(ProxyError::Malformed));
        check(&v2(0x22, 0x11, &[0; 12]), Err(ProxyError::Malformed));
        check(&v2(0x21, 0x11, &[0; 11]), Err(ProxyError::Malformed));
        check(&v2(0x21, 0x21, &[0; 35]), Err(ProxyError::Malformed));
        check(&v2(0x21, 0x41, &[0; 36]), Err(ProxyError::Malformed));
        check(&v2(0x21, 0x11, &[0; HEADER_BYTES_MAX - 16]), client("0.0.0.0:0"));
        check(&v2(0x21, 0x11, &[0; HEADER_BYTES_MAX - 15]), Err(ProxyError::TooLong));
    }

    #[test]
    fn other_protocols_are_no_header() {
        for bytes in [&b"GET / HTTP/1.1"[..], b"G", b"\r\n\r\nGET", b"\x16\x03\x01", b"PROXZ"] {
            assert_eq!(parse(bytes), Err(ProxyError::NoHeader));
        }
        assert_eq!(parse(b""), Ok(None));
    }
}
