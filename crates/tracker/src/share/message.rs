//! What nodes tell each other at once: who has joined, changed or left.
//!
//! A message is a version (u8), the node it comes from (u64), and items one after the other: what
//! happened (u8), the info_hash, when the peer was last seen (u32, seconds since 1970), and its
//! compact form. Numbers are big-endian. Of what happened, bit 0 says seeder, bit 1 IPv6, bit 2
//! left, bits 3 and 4 what the peer was before (0 not known, 1 leecher, 2 seeder), and bit 5 that
//! it is followed by how often the swarm was finished (u32). Bit 6 alone says that no item follows
//! but the number of the message among those of its node, from 1 on (u32), which ends it; one
//! without items has the number of the last that had any.
//!
//! A node passes over messages of a version it does not know, and over the rest of one with an item
//! it does not know: what it misses it learns from the next sample.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use peerage_proto::InfoHash;
use peerage_swarm::{Hearsay, Role};

/// One thing that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: SocketAddr,
    /// What it is, or was when it left.
    pub role: Role,
    /// When it was last seen, in seconds since 1970 by the clock all nodes share.
    pub seen_secs: u64,
    /// What happened to it.
    pub what: Hearsay,
    /// How often the swarm was finished, over all nodes; `None` where that has not changed.
    pub completed: Option<u32>,
}

/// What a message says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// How many with items its node had sent before.
    pub before: u32,
    /// How many with it.
    pub last: u32,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One thing that has happened.
    Item(Item),
    /// Comes last.
    Number(Number),
}

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
/// A message is not made longer than this.
const BYTES_MAX: usize = 64 << 10;

const SEEDER: u8 = 1;
const IPV6: u8 = 2;
const LEFT: u8 = 4;
const BEFORE_SHIFT: u32 = 3;
const COMPLETED: u8 = 1 << 5;
const KNOWN_BITS: u8 = 0b11_1111;
const NUMBER: u8 = 1 << 6;

/// Writes messages.
#[derive(Debug)]
pub struct Writer {
    node: u64,
    messages: Vec<Vec<u8>>,
}

impl Writer {
    /// For messages of `node`.
    pub fn new(node: u64) -> Self {
        Self { node, messages: Vec::new() }
    }

    /// Adds an item, to a further message where the last one is full.
    pub fn write(&mut self, item: &Item) {
        if self.messages.last().is_none_or(|message| BYTES_MAX < message.len() + 64) {
            self.messages.push(head(self.node));
        }
        let message = self.messages.last_mut().expect("there is one now");
        let mut bits = if item.role == Role::Seeder { SEEDER } else { 0 };
        bits |= if item.peer.is_ipv6() { IPV6 } else { 0 };
        bits |= match item.what {
            Hearsay::Left => LEFT,
            Hearsay::Here { before: None } => 0,
            Hearsay::Here { before: Some(Role::Leecher) } => 1 << BEFORE_SHIFT,
            Hearsay::Here { before: Some(Role::Seeder) } => 2 << BEFORE_SHIFT,
        };
        bits |= if item.completed.is_some() { COMPLETED } else { 0 };
        message.push(bits);
        message.extend_from_slice(&item.info_hash.0);
        let seen_secs = u32::try_from(item.seen_secs).unwrap_or(u32::MAX);
        message.extend_from_slice(&seen_secs.to_be_bytes());
        write_peer(item.peer, message);
        if let Some(completed) = item.completed {
            message.extend_from_slice(&completed.to_be_bytes());
        }
    }

    /// The messages; none where there is nothing to tell. `sent` is how many were sent before, and
    /// then how many with these.
    pub fn finish(mut self, sent: &mut u32) -> Vec<Vec<u8>> {
        for message in &mut self.messages {
            *sent = sent.wrapping_add(1);
            write_number(*sent, message);
        }
        self.messages
    }
}

/// The message of `node` that says nothing but how many were sent.
pub fn count(node: u64, sent: u32) -> Vec<u8> {
    let mut message = head(node);
    write_number(sent, &mut message);
    message
}

fn head(node: u64) -> Vec<u8> {
    let mut message = vec![VERSION];
    message.extend_from_slice(&node.to_be_bytes());
    message
}

fn write_number(number: u32, message: &mut Vec<u8>) {
    message.push(NUMBER);
    message.extend_from_slice(&number.to_be_bytes());
}

/// Appends a peer in compact form: 6 bytes for IPv4, 18 for IPv6.
pub fn write_peer(peer: SocketAddr, out: &mut Vec<u8>) {
    match peer.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&peer.port().to_be_bytes());
}

/// The peer of a compact form; `None` where it is none, or its port is 0.
pub fn read_peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(*port);
    (port != 0).then(|| SocketAddr::new(ip.to_canonical(), port))
}

/// Whether a message is of the version that is spoken here.
pub fn is_known(message: &[u8]) -> bool {
    message.first() == Some(&VERSION)
}

/// From whom a message is, and what it holds; `None` where it is of an unknown version, no message,
/// or from `node` itself.
pub fn read(message: &[u8], node: u64) -> Option<(u64, impl Iterator<Item = Part>)> {
    let (head, mut rest) = message.split_first_chunk::<HEAD_BYTES>()?;
    let (version, from) = head.split_first_chunk::<1>()?;
    let from = u64::from_be_bytes(from.try_into().ok()?);
    if *version != [VERSION] || from == node {
        return None;
    }
    let mut items = 0;
    let parts = core::iter::from_fn(move || {
        if let Some((&NUMBER, number)) = rest.split_first() {
            let last = u32::from_be_bytes(number.try_into().ok()?);
            rest = &[];
            let before = if items == 0 { last } else { last.wrapping_sub(1) };
            return Some(Part::Number(Number { before, last }));
        }
        let (item, left) = read_item(rest)?;
        rest = left;
        items += 1;
        Some(Part::Item(item))
    });
    Some((from, parts))
}

fn read_item(bytes: &[u8]) -> Option<(Item, &[u8])> {
    let (&bits, bytes) = bytes.split_first()?;
    let (info_hash, bytes) = bytes.split_first_chunk::<20>()?;
    let (seen_secs, bytes) = bytes.split_first_chunk::<4>()?;
    let peer_bytes = if bits & IPV6 == 0 { 6 } else { 18 };
    let (peer, bytes) = bytes.split_at_checked(peer_bytes)?;
    if bits & !KNOWN_BITS != 0 {
        return None;
    }
    let (completed, bytes) = match bits & COMPLETED {
        0 => (None, bytes),
        _ => {
            let (completed, bytes) = bytes.split_first_chunk::<4>()?;
            (Some(u32::from_be_bytes(*completed)), bytes)
        }
    };
    let before = match (bits & !COMPLETED) >> BEFORE_SHIFT {
        0 => None,
        1 => Some(Role::Leecher),
        2 => Some(Role::Seeder),
        _ => return None,
    };
    let item = Item {
        info_hash: InfoHash(*info_hash),
        peer: read_peer(peer)?,
        role: if bits & SEEDER == 0 { Role::Leecher } else { Role::Seeder },
        seen_secs: u32::from_be_bytes(*seen_secs).into(),
        what: if bits & LEFT == 0 { Hearsay::Here { before } } else { Hearsay::Left },
        completed,
    };
    Some((item, bytes))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn written(count: usize) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(7);
        for _ in 0..count {
            items().iter().for_each(|item| writer.write(item));
        }
        writer.finish(&mut 40)
    }

    fn read_by(message: &[u8], node: u64) -> Option<Vec<Part>> {
        let (from, parts) = read(message, node)?;
        assert_eq!(from, 7);
        Some(parts.collect())
    }

    /// All items, and the number of what [`written`] has written.
    fn parts() -> Vec<Part> {
        let number = Part::Number(Number { before: 40, last: 41 });
        items().into_iter().map(Part::Item).chain([number]).collect()
    }

    fn items() -> Vec<Item> {
        let befores = [None, Some(Role::Leecher), Some(Role::Seeder)];
        let whats = befores.map(|before| Hearsay::Here { before }).into_iter();
        let mut items = Vec::new();
        for (number, what) in whats.chain([Hearsay::Left]).enumerate() {
            for peer in ["192.0.2.7:6881", "[2001:db8::7]:1"] {
                for role in [Role::Seeder, Role::Leecher] {
                    let peer = peer.parse().expect("an address");
                    let info_hash = InfoHash([number as u8; 20]);
                    let seen_secs = 1_800_000_000 + number as u64;
                    let completed = (role == Role::Seeder).then_some(number as u32);
                    items.push(Item { info_hash, peer, role, seen_secs, what, completed });
                }
            }
        }
        items
    }

    #[test]
    fn items_are_read_as_they_were_written_by_any_other_node() {
        let messages = written(1);
        assert_eq!(messages.len(), 1);
        assert_eq!(read_by(&messages[0], 8), Some(parts()));
        assert_eq!(read_by(&messages[0], 7), None, "its own");
        let number = Part::Number(Number { before: 41, last: 41 });
        assert_eq!(read_by(&count(7, 41), 8), Some([number].to_vec()));
    }

    #[test]
    fn every_prefix_is_read_as_far_as_it_goes() {
        let message = written(1).remove(0);
        for end in 0..message.len() {
            match read_by(&message[..end], 8) {
                None => assert!(end < HEAD_BYTES, "{end} bytes"),
                Some(found) => {
                    assert!(found.len() <= items().len(), "{end} bytes: its number is cut");
                    assert_eq!(found, parts()[..found.len()], "{end} bytes");
                }
            }
        }
    }

    #[test]
    fn other_versions_and_unknown_items_are_passed_over() {
        let mut message = written(1).remove(0);
        message[HEAD_BYTES] |= 0x80;
        assert_eq!(read_by(&message, 8), Some(Vec::new()), "its version is known");
        assert!(is_known(&message));
        message[0] = VERSION + 1;
        assert!(read(&message, 8).is_none() && !is_known(&message));
    }

    #[test]
    fn long_news_are_cut_into_messages_that_are_counted() {
        let messages = written(1000);
        assert!(messages.len() > 1 && messages.iter().all(|message| message.len() <= BYTES_MAX));
        let mut items_read = 0;
        for (message, before) in messages.iter().zip(40..) {
            let mut parts = read_by(message, 8).expect("whole");
            let number = Part::Number(Number { before, last: before + 1 });
            assert_eq!(parts.pop(), Some(number));
            items_read += parts.len();
        }
        assert_eq!(items_read, 1000 * items().len());
    }

    #[test]
    fn compact_form_of_a_mapped_address_is_made_canonical() {
        let mapped = [&[0; 10][..], &[0xff; 2], &[192, 0, 2, 1, 0, 9]].concat();
        assert_eq!(read_peer(&mapped).map(|peer| peer.to_string()).as_deref(), Some("192.0.2.1:9"));
        assert_eq!(read_peer(&[1, 2, 3, 4, 0, 0]), None);
        assert_eq!(read_peer(&[1; 7]), None);
    }
}
