//! What all nodes know of a peer, as it lies where they meet: who told it last, what its client
//! counts, and where it listens.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | the node that told it last |
//! | 8..16 | the number of that node's telling |
//! | 16..48 | the reading from which that node counts |
//! | 48..80 | the last reading |
//! | 80 | what the peer is: 1 seeder, 2 handed out, 4 downloads, 32 has stopped, 64 of a reminder |
//! | 81..105 | its IPv4 and its IPv6 address with their ports, zeros where it has none |
//! | 105..113 | when it was seen at each, 0 for never |
//! | 113..129 | when it came, its announces, its seconds as a seeder, when it completed |
//!
//! A reading is a time in milliseconds and what the client counts of bytes uploaded, downloaded and
//! corrupt, 8 bytes each; other times are seconds, 4 bytes. All are big-endian, all times since
//! 1970 by the clock all nodes share.

use peerage_proto::PeerId;

use super::super::MemberId;
use super::super::peer::{Flags, Peer};

/// What a client counts, and when it said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since 1970.
    pub at_millis: u64,
    /// Bytes uploaded.
    pub uploaded: u64,
    /// Bytes downloaded.
    pub downloaded: u64,
    /// Bytes that failed their hash.
    pub corrupt: u64,
}

/// What all nodes know of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The node that told it last: the one that credits.
    pub node: u64,
    /// The number of its telling. Later ones of a node have larger numbers.
    pub number: u64,
    /// From where the node counts what it told since it last heard an answer.
    pub base: Reading,
    /// As the client last said.
    pub last: Reading,
    /// Seeder, handed out, downloads, stopped: one bit each.
    pub(super) bits: u8,
    pub(super) v4: [u8; 6],
    pub(super) v6: [u8; 18],
    pub(super) seen_secs: [u32; 2],
    pub(super) came_secs: u32,
    pub(super) announces: u32,
    pub(super) seedtime_secs: u32,
    pub(super) completed_at_secs: u32,
}

const KEPT_BITS: u8 = Flags::SEEDER | Flags::VISIBLE | Flags::DOWNLOADS;
const STOPPED: u8 = 32;

impl Reading {
    /// Bytes it takes.
    pub const BYTES: usize = 32;

    /// As it lies in a record.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let numbers = [self.at_millis, self.uploaded, self.downloaded, self.corrupt];
        for (number, part) in numbers.into_iter().zip(bytes.chunks_exact_mut(8)) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// What [`Reading::to_bytes`] made.
    pub fn read(bytes: &[u8; Self::BYTES]) -> Self {
        let mut numbers = [0; 4];
        for (number, part) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_be_bytes(part.try_into().expect("a chunk of 8 bytes"));
        }
        let [at_millis, uploaded, downloaded, corrupt] = numbers;
        Self { at_millis, uploaded, downloaded, corrupt }
    }

    /// The same by a clock that is `ahead_millis` ahead.
    pub(super) fn moved(self, ahead_millis: i64) -> Self {
        Self { at_millis: self.at_millis.saturating_add_signed(ahead_millis), ..self }
    }

    /// What a client counts by now.
    pub(in crate::private) fn of(peer: &Peer, at_millis: u64) -> Self {
        let &Peer { uploaded, downloaded, corrupt, .. } = peer;
        Self { at_millis, uploaded, downloaded, corrupt }
    }
}

/// Seconds by a clock that is `ahead_millis` ahead; 0 stays never.
pub(super) fn moved_secs(secs: u32, ahead_millis: i64) -> u32 {
    match secs {
        0 => 0,
        secs => u64::from(secs).saturating_add_signed(ahead_millis / 1000).max(1) as u32,
    }
}

impl Record {
    /// Bytes it takes.
    pub const BYTES: usize = 129;

    /// Of a peer that a node has, by the node's clock plus `ahead_millis`.
    pub(super) fn of(peer: &Peer, last: Reading, has_stopped: bool, ahead_millis: i64) -> Self {
        let mut bits = if has_stopped { STOPPED } else { 0 };
        for bit in [Flags::SEEDER, Flags::VISIBLE, Flags::DOWNLOADS] {
            bits |= if peer.flags.has(bit) { bit } else { 0 };
        }
        Self {
            node: 0,
            number: 0,
            base: Reading::default(),
            last: last.moved(ahead_millis),
            bits,
            v4: peer.v4,
            v6: peer.v6,
            seen_secs: peer.seen_secs.map(|secs| moved_secs(secs, ahead_millis)),
            came_secs: moved_secs(peer.came_secs, ahead_millis),
            announces: peer.announces(),
            seedtime_secs: peer.seedtime_secs,
            completed_at_secs: moved_secs(peer.completed_at_secs, ahead_millis),
        }
    }

    /// Nothing is left to it.
    pub fn is_seeder(&self) -> bool {
        self.bits & Flags::SEEDER != 0
    }

    /// Its client has said that it stops.
    pub fn has_stopped(&self) -> bool {
        self.bits & STOPPED != 0
    }

    /// Where and what it is, apart from when.
    pub(super) fn looks_as(&self, other: &Self) -> bool {
        (self.bits, self.v4, self.v6) == (other.bits, other.v4, other.v6)
    }

    /// Takes over the addresses of `before` for families in which this one was never seen.
    pub fn keep_addresses(&mut self, before: &Self) {
        if self.seen_secs[0] == 0 {
            (self.v4, self.seen_secs[0]) = (before.v4, before.seen_secs[0]);
        }
        if self.seen_secs[1] == 0 {
            (self.v6, self.seen_secs[1]) = (before.v6, before.seen_secs[1]);
        }
    }

    /// The peer of another node, as this one has it: by a clock that is `ahead_millis` behind.
    pub(super) fn peer(&self, member: MemberId, peer_id: PeerId, ahead_millis: i64) -> Peer {
        let behind = ahead_millis.saturating_neg();
        let mut peer = Peer::new(member, peer_id);
        peer.uploaded = self.last.uploaded;
        peer.downloaded = self.last.downloaded;
        peer.corrupt = self.last.corrupt;
        peer.came_secs = moved_secs(self.came_secs, behind);
        peer.seen_secs = self.seen_secs.map(|secs| moved_secs(secs, behind));
        peer.seedtime_secs = self.seedtime_secs;
        peer.completed_at_secs = moved_secs(self.completed_at_secs, behind);
        (peer.v4, peer.v6) = (self.v4, self.v6);
        peer.set_announces(self.announces);
        for bit in [Flags::SEEDER, Flags::VISIBLE, Flags::DOWNLOADS] {
            peer.flags.set(bit, self.bits & bit != 0);
        }
        peer
    }

    /// As it lies where nodes meet.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut rest = &mut bytes[..];
        let mut put = |part: &[u8]| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        };
        put(&self.node.to_be_bytes());
        put(&self.number.to_be_bytes());
        put(&self.base.to_bytes());
        put(&self.last.to_bytes());
        put(&[self.bits]);
        put(&self.v4);
        put(&self.v6);
        self.seen_secs.iter().for_each(|secs| put(&secs.to_be_bytes()));
        for number in [self.came_secs, self.announces, self.seedtime_secs, self.completed_at_secs] {
            put(&number.to_be_bytes());
        }
        bytes
    }

    /// What [`Record::to_bytes`] made; `None` for anything else. What a later release puts behind
    /// it is passed over.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let node = u64::from_be_bytes(take(&mut rest)?);
        let number = u64::from_be_bytes(take(&mut rest)?);
        let base = Reading::read(&take(&mut rest)?);
        let last = Reading::read(&take(&mut rest)?);
        let [bits] = take(&mut rest)?;
        let v4 = take(&mut rest)?;
        let v6 = take(&mut rest)?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = u32::from_be_bytes(take(&mut rest)?);
        }
        let [seen4, seen6, came_secs, announces, seedtime_secs, completed_at_secs] = numbers;
        Some(Self {
            node,
            number,
            base,
            last,
            bits: bits & (KEPT_BITS | STOPPED),
            v4,
            v6,
            seen_secs: [seen4, seen6],
            came_secs,
            announces,
            seedtime_secs,
            completed_at_secs,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let reading = |from: u64| Reading {
            at_millis: from,
            uploaded: u64::MAX,
            downloaded: from + 2,
            corrupt: from + 3,
        };
        Record {
            node: u64::MAX,
            number: 1,
            base: reading(1 << 40),
            last: reading(1 << 41),
            bits: Flags::SEEDER | STOPPED,
            v4: *b"\x01\x02\x03\x04\x05\x06",
            v6: *b"0123456789abcdef\x07\x08",
            seen_secs: [1_800_000_000, 0],
            came_secs: 1,
            announces: 2,
            seedtime_secs: 3,
            completed_at_secs: 4,
        }
    }

    #[test]
    fn record_is_read_as_it_was_written_and_no_shorter() {
        let bytes = record().to_bytes();
        assert_eq!(Record::read(&bytes), Some(record()));
        assert_eq!(Record::read(&[&bytes[..], b"more"].concat()), Some(record()));
        for end in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..end]), None, "{end} bytes");
        }
        // Where the script that keeps records looks into them.
        assert_eq!(bytes[16..48], record().base.to_bytes());
        assert_eq!(bytes[48..80], record().last.to_bytes());
        assert_eq!((bytes[80], &bytes[81..87]), (33, &record().v4[..]));
        assert_eq!(bytes[105..109], 1_800_000_000_u32.to_be_bytes());
    }

    #[test]
    fn addresses_of_the_other_family_are_kept() {
        let mut other = Record { v4: [9; 6], v6: [9; 18], seen_secs: [5, 6], ..record() };
        other.keep_addresses(&record());
        assert_eq!((other.v4, other.v6, other.seen_secs), ([9; 6], [9; 18], [5, 6]));
        let mut other = Record { v4: [0; 6], v6: [9; 18], seen_secs: [0, 6], ..record() };
        other.keep_addresses(&record());
        assert_eq!((other.v4, other.seen_secs), (record().v4, [1_800_000_000, 6]));
    }
}
