//! Compact peers: an address and a port each, of one family (BEP 15, BEP 23, BEP 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Peers of 6 bytes each. An error where the list does not end with a peer.
pub fn compact_v4(peers: &[u8]) -> Result<Vec<SocketAddr>, String> {
    compact::<6>(peers, |ip| {
        Ipv4Addr::from(*ip.first_chunk().expect("4 of 6 bytes are the address")).into()
    })
}

/// Peers of 18 bytes each. An error where the list does not end with a peer.
pub fn compact_v6(peers: &[u8]) -> Result<Vec<SocketAddr>, String> {
    compact::<18>(peers, |ip| {
        Ipv6Addr::from(*ip.first_chunk::<16>().expect("16 of 18 bytes are the address")).into()
    })
}

fn compact<const BYTES: usize>(
    peers: &[u8],
    ip: impl Fn(&[u8; BYTES]) -> IpAddr,
) -> Result<Vec<SocketAddr>, String> {
    let (peers, rest) = peers.as_chunks::<BYTES>();
    if !rest.is_empty() {
        return Err(format!("a list of peers of {BYTES} bytes with {} more", rest.len()));
    }
    let port = |peer: &[u8; BYTES]| u16::from_be_bytes([peer[BYTES - 2], peer[BYTES - 1]]);
    Ok(peers.iter().map(|peer| SocketAddr::new(ip(peer), port(peer))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_and_a_ragged_list_is_not() {
        let v4 = [127, 0, 0, 1, 0x1a, 0xe1, 192, 0, 2, 9, 0, 1];
        let expected = ["127.0.0.1:6881", "192.0.2.9:1"].map(|peer| peer.parse().expect("one"));
        assert_eq!(compact_v4(&v4), Ok(expected.to_vec()));
        assert!(compact_v4(&v4[..11]).is_err());
        let v6 = [&[0; 15][..], &[1, 0x1a, 0xe1]].concat();
        assert_eq!(compact_v6(&v6), Ok(vec!["[::1]:6881".parse().expect("one")]));
        assert!(compact_v6(&v4).is_err());
    }
}
