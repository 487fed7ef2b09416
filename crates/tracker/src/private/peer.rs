//! One client of one member at one torrent.
//!
//! A client that announces over IPv4 and over IPv6 is one peer with two addresses: both announces
//! carry the same counters, so two peers would be credited twice for the same bytes (BEP 7 has
//! clients announce over both).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use peerage_proto::{Family, PeerId};

use super::{MemberId, PeerKey, PeerRow, TorrentId};

/// A peer in 104 bytes, for which an allocator takes 112. Seconds are since 1970, and end in 2106.
///
/// What a draw looks at comes first, so that it lies in one cache line more often than not.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Peer {
    pub(super) member: MemberId,
    /// When it last announced over IPv4, and over IPv6; 0 for never.
    pub(super) seen_secs: [u32; 2],
    /// Address and port as they are handed out; all 0 where it has none.
    pub(super) v4: [u8; 6],
    pub(super) flags: Flags,
    announces: [u8; 3],
    pub(super) v6: [u8; 18],
    pub(super) peer_id: PeerId,
    pub(super) came_secs: u32,
    pub(super) seedtime_secs: u32,
    /// When its download was completed while we watched; 0 for never.
    pub(super) completed_at_secs: u32,
    /// As the client counts them, at its last announce.
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) corrupt: u64,
    pub(super) left: u64,
}

/// Bytes of a peer that a draw looks at, by the family.
pub(super) const DRAWN_BYTES: [usize; 2] = [22, 40];

/// No more announces of a peer are counted: one each minute for 31 years.
const ANNOUNCES_MAX: u32 = (1 << 24) - 1;

const _: () = assert!(size_of::<Peer>() == 104);
const _: () = assert!(core::mem::offset_of!(Peer, v6) == DRAWN_BYTES[0]);
const _: () = assert!(core::mem::offset_of!(Peer, peer_id) == DRAWN_BYTES[1]);

/// What a peer is, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// Nothing is left.
    pub(super) const SEEDER: u8 = 1;
    /// It may be handed out.
    pub(super) const VISIBLE: u8 = 2;
    /// A leecher that fills one of its member's slots.
    pub(super) const DOWNLOADS: u8 = 4;
    /// Its member's address is kept out of the database.
    pub(super) const PROTECTED: u8 = 8;
    /// Its row was left out when the ledger was full: the next one is written whole.
    pub(super) const OWED: u8 = 16;
    /// What it announced last found no room among what other nodes are to be told.
    pub(super) const UNTOLD: u8 = 32;

    pub(super) const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    pub(super) const fn set(&mut self, bit: u8, on: bool) {
        match on {
            true => self.0 |= bit,
            false => self.0 &= !bit,
        }
    }
}

/// Where in its swarm a peer stands: peers that go to the same askers stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Seeder6,
    SeederBoth,
    Seeder4,
    Leecher4,
    LeecherBoth,
    Leecher6,
    /// Handed to nobody.
    Hidden,
}

impl Peer {
    /// A peer that is not known yet.
    pub(super) const fn new(member: MemberId, peer_id: PeerId) -> Self {
        Self {
            uploaded: 0,
            downloaded: 0,
            corrupt: 0,
            left: 0,
            member,
            came_secs: 0,
            seen_secs: [0; 2],
            seedtime_secs: 0,
            completed_at_secs: 0,
            peer_id,
            v4: [0; 6],
            v6: [0; 18],
            flags: Flags(0),
            announces: [0; 3],
        }
    }

    /// A peer as it was written, without the flags that its member decides.
    pub(super) fn restored(row: &PeerRow) -> Self {
        let at_secs = row.at_secs as u32;
        let mut peer = Self {
            uploaded: row.uploaded,
            downloaded: row.downloaded,
            corrupt: row.corrupt,
            left: row.remaining,
            came_secs: at_secs.saturating_sub(row.timespent_secs),
            seedtime_secs: row.seedtime_secs,
            completed_at_secs: row.completed_at_secs.unwrap_or(0) as u32,
            seen_secs: [at_secs, 0],
            ..Self::new(row.key.member, row.key.peer_id)
        };
        peer.set_announces(row.announces);
        peer.flags.set(Flags::SEEDER, row.remaining == 0);
        if let Some(address) = row.address {
            peer.seen_secs = [0; 2];
            peer.set_address(address.to_canonical(), row.port, at_secs);
        }
        peer
    }

    pub(super) fn key(&self, torrent: TorrentId) -> PeerKey {
        PeerKey { member: self.member, torrent, peer_id: self.peer_id }
    }

    pub(super) fn is_seeder(&self) -> bool {
        self.flags.has(Flags::SEEDER)
    }

    /// Whether it fills one of its member's slots.
    pub(super) fn downloads(&self) -> bool {
        self.flags.has(Flags::DOWNLOADS)
    }

    /// How often it has announced, as far as [`ANNOUNCES_MAX`].
    pub(super) fn announces(&self) -> u32 {
        let [low, middle, high] = self.announces;
        u32::from_le_bytes([low, middle, high, 0])
    }

    pub(super) fn set_announces(&mut self, count: u32) {
        let [low, middle, high, _] = count.min(ANNOUNCES_MAX).to_le_bytes();
        self.announces = [low, middle, high];
    }

    /// When it last announced.
    pub(super) fn last_secs(&self) -> u32 {
        self.seen_secs[0].max(self.seen_secs[1])
    }

    /// The same in milliseconds.
    pub(super) fn last_millis(&self) -> u64 {
        u64::from(self.last_secs()) * 1000
    }

    /// Whether it was heard from at an address of this family at `oldest_secs` or later.
    pub(super) fn is_fresh(&self, family: Family, oldest_secs: u32) -> bool {
        oldest_secs <= self.seen_secs[family as usize]
    }

    /// Where it listens.
    pub(super) fn set_address(&mut self, address: IpAddr, port: u16, now_secs: u32) {
        self.seen_secs[Family::of(address) as usize] = now_secs;
        match address {
            IpAddr::V4(ip) => {
                let mut compact = [0; 6];
                if port != 0 {
                    compact[..4].copy_from_slice(&ip.octets());
                    compact[4..].copy_from_slice(&port.to_be_bytes());
                }
                self.v4 = compact;
            }
            IpAddr::V6(ip) => {
                let mut compact = [0; 18];
                if port != 0 {
                    compact[..16].copy_from_slice(&ip.octets());
                    compact[16..].copy_from_slice(&port.to_be_bytes());
                }
                self.v6 = compact;
            }
        }
    }

    /// An address by which it was known, the fresher of two.
    pub(super) fn address(&self) -> Option<(IpAddr, u16)> {
        let [a, b, c, d, v4_port @ ..] = self.v4;
        let v4 = (Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes(v4_port));
        let (octets, v6_port) = self.v6.split_at(16);
        let octets: [u8; 16] = octets.try_into().expect("16 of 18 bytes");
        let v6_port = u16::from_be_bytes(v6_port.try_into().expect("2 of 18 bytes"));
        let v6 = (Ipv6Addr::from(octets).into(), v6_port);
        let both = match self.seen_secs[1] < self.seen_secs[0] {
            true => [v4, v6],
            false => [v6, v4],
        };
        both.into_iter().find(|&(_, port)| port != 0)
    }

    /// Whether it has an address at which it was not heard from since `oldest_secs`.
    pub(super) fn has_stale(&self, oldest_secs: u32) -> bool {
        (self.v4 != [0; 6] && !self.is_fresh(Family::V4, oldest_secs))
            || (self.v6 != [0; 18] && !self.is_fresh(Family::V6, oldest_secs))
    }

    /// Forgets an address at which it was not heard from since `oldest_secs`.
    pub(super) fn forget_stale(&mut self, oldest_secs: u32) {
        if !self.is_fresh(Family::V4, oldest_secs) {
            self.v4 = [0; 6];
        }
        if !self.is_fresh(Family::V6, oldest_secs) {
            self.v6 = [0; 18];
        }
    }

    pub(super) fn segment(&self) -> Segment {
        let (v4, v6) = (self.v4[4..] != [0; 2], self.v6[16..] != [0; 2]);
        match (self.is_seeder(), v4, v6) {
            _ if !self.flags.has(Flags::VISIBLE) => Segment::Hidden,
            (_, false, false) => Segment::Hidden,
            (true, false, true) => Segment::Seeder6,
            (true, true, true) => Segment::SeederBoth,
            (true, true, false) => Segment::Seeder4,
            (false, true, false) => Segment::Leecher4,
            (false, true, true) => Segment::LeecherBoth,
            (false, false, true) => Segment::Leecher6,
        }
    }
}
