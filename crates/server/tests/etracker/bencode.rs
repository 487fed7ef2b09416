//! Bencode, read strictly: only the canonical form is read at all.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A value of BEP 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    String(Vec<u8>),
    List(Vec<Value>),
    Dictionary(Vec<(Vec<u8>, Value)>),
}

impl Value {
    /// Reads a whole value. `None` for anything that is not canonical: unsorted keys, leading
    /// zeros, bytes after the end.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let value = read(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dictionary(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    pub(crate) fn as_u32(&self) -> Option<u32> {
        let Self::Integer(number) = self else { return None };
        u32::try_from(*number).ok()
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        let Self::String(bytes) = self else { return None };
        Some(bytes)
    }
}

fn read(rest: &mut &[u8]) -> Option<Value> {
    match rest.first()? {
        b'i' => {
            let end = rest.iter().position(|&byte| byte == b'e')?;
            let digits = std::str::from_utf8(&rest[1..end]).ok()?;
            let number: i64 = digits.parse().ok()?;
            *rest = &rest[end + 1..];
            (number.to_string() == digits).then_some(Value::Integer(number))
        }
        b'l' => read_until_end(rest, read).map(Value::List),
        b'd' => {
            let entries = read_until_end(rest, |rest| Some((read_string(rest)?, read(rest)?)))?;
            let sorted = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
            sorted.then_some(Value::Dictionary(entries))
        }
        _ => read_string(rest).map(Value::String),
    }
}

fn read_until_end<T>(rest: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    *rest = &rest[1..];
    let mut all = Vec::new();
    while *rest.first()? != b'e' {
        all.push(one(rest)?);
    }
    *rest = &rest[1..];
    Some(all)
}

fn read_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let digits = std::str::from_utf8(&rest[..colon]).ok()?;
    let length: usize = digits.parse().ok()?;
    let (bytes, after) = rest[colon + 1..].split_at_checked(length)?;
    *rest = after;
    (length.to_string() == digits).then(|| bytes.to_vec())
}

/// The peers of an announce reply in either form, and the clients they say they are.
pub(crate) fn peers(reply: &Value) -> (BTreeSet<SocketAddr>, BTreeSet<u8>) {
    let peers6 = reply.get("peers6").and_then(Value::as_bytes).unwrap_or_default();
    match reply.get("peers").expect("there always are peers") {
        Value::List(list) => {
            let address = |peer: &Value| {
                let ip = std::str::from_utf8(peer.get("ip")?.as_bytes()?).ok()?;
                let port = u16::try_from(peer.get("port")?.as_u32()?).ok()?;
                Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port))
            };
            let peers = list.iter().map(|peer| address(peer).expect("ip and port")).collect();
            let ids = list.iter().filter_map(|peer| peer.get("peer id")?.as_bytes());
            (peers, ids.map(|id| id[0] - b'0').collect())
        }
        peers => {
            let peers = peers.as_bytes().expect("a list or a string");
            (compact_v4(peers).chain(compact_v6(peers6)).collect(), BTreeSet::new())
        }
    }
}

pub(crate) fn compact_v4(peers: &[u8]) -> impl Iterator<Item = SocketAddr> {
    let (peers, rest) = peers.as_chunks::<6>();
    assert!(rest.is_empty(), "a ragged list");
    peers.iter().map(|peer| {
        let ip = Ipv4Addr::from(*peer.first_chunk::<4>().expect("6 bytes"));
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[4], peer[5]]))
    })
}

pub(crate) fn compact_v6(peers: &[u8]) -> impl Iterator<Item = SocketAddr> {
    let (peers, rest) = peers.as_chunks::<18>();
    assert!(rest.is_empty(), "a ragged list");
    peers.iter().map(|peer| {
        let ip = Ipv6Addr::from(*peer.first_chunk::<16>().expect("18 bytes"));
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[16], peer[17]]))
    })
}
