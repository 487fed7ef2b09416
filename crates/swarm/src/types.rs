//! What goes into the store and what comes out.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use peerage_proto::{InfoHash, PeerId};

use crate::Now;
use crate::crowd::CROWD_PEERS_MAX;

/// The bounds of a store. Each says what happens at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Swarms. An announce to a swarm that would be one more is answered as if nobody were there.
    pub swarms_max: u64,
    /// Peers over all swarms. One more is answered but not stored.
    pub peers_max: u64,
    /// Peers of one swarm, both families together, at most [`Limits::PEERS_PER_SWARM_MAX`]. One
    /// more is answered but not stored.
    pub peers_per_swarm_max: u32,
    /// Peers of one address (one /64 in IPv6) over all swarms; 0 for no bound. One more is answered
    /// but not stored. Counted by a sketch that may count too many, never too few.
    pub peers_per_address_max: u32,
    /// A peer not heard from for longer is not handed out, and dropped by the next
    /// [`Swarms::expire`](crate::Swarms::expire). At most two hours.
    pub peer_timeout: Duration,
    /// How long the `completed` count of a swarm without peers is kept.
    pub completed_kept: Duration,
}

impl Default for Limits {
    /// Room for ten million swarms and fifty million peers, which take about a gigabyte.
    fn default() -> Self {
        Self {
            swarms_max: 10_000_000,
            peers_max: 50_000_000,
            peers_per_swarm_max: 1_000_000,
            peers_per_address_max: 100_000,
            peer_timeout: Duration::from_secs(45 * 60),
            completed_kept: Duration::from_secs(24 * 3600),
        }
    }
}

impl Limits {
    /// What the tables of one family and role hold, each at a size that is rebuilt without a pause.
    pub const PEERS_PER_SWARM_MAX: u32 = CROWD_PEERS_MAX;
}

/// Whether the store keeps the peer_id of each peer, for replies in dictionary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerIds {
    /// Kept, at about 100 bytes a peer.
    Kept,
    /// Not kept.
    Dropped,
}

/// A peer with nothing left is a seeder, every other a leecher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `left` is 0.
    Seeder,
    /// `left` is not 0, or not known.
    Leecher,
}

/// What an announce says about its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The peer takes part.
    Here {
        /// Seeder or leecher.
        role: Role,
        /// The announce says that the download has just finished. Counted once a peer, and only
        /// for one that was not known as a seeder.
        completed: bool,
        /// A leecher that wants no more (BEP 21).
        paused: bool,
    },
    /// The peer leaves. Harmless for one that was not there; no swarm is made for it.
    Gone,
    /// Whoever asks is no peer (it listens on no port): answered, not stored.
    Absent {
        /// Seeders are handed no seeders.
        role: Role,
    },
}

/// Most peers to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Of the family of the announcing peer's address.
    Own(u32),
    /// Of both families together: first of its own, then of the other.
    Both(u32),
}

/// One announce, as the store sees it.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer's address, made canonical: never an IPv4-mapped IPv6 address.
    pub address: IpAddr,
    /// The port it listens on; 0, for none, does not go with [`Change::Here`].
    pub port: u16,
    /// Kept where [`PeerIds::Kept`].
    pub peer_id: PeerId,
    /// What it says.
    pub change: Change,
    /// What it asks for.
    pub want: Want,
    /// Random numbers, by which the draw of its peers goes. Beforehand, so that
    /// [`Swarms::prefetch_peers`](crate::Swarms::prefetch_peers) knows which peers that will be.
    pub seeds: [u64; 2],
}

/// Where in the store a swarm is looked for: the keyed hash of its info_hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmKey(pub(crate) u64);

/// The peers handed out, in compact form (address, then port, big-endian), each at most once and
/// never the announcing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// IPv4 peers.
    pub v4: Vec<[u8; 6]>,
    /// IPv6 peers.
    pub v6: Vec<[u8; 18]>,
    /// The peer_ids of `v4`, in its order; empty where they are not kept.
    pub ids_v4: Vec<PeerId>,
    /// The peer_ids of `v6`, in its order; empty where they are not kept.
    pub ids_v6: Vec<PeerId>,
}

impl Peers {
    /// Takes out all peers and keeps the memory.
    pub fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
        self.ids_v4.clear();
        self.ids_v6.clear();
    }
}

/// The counts of a swarm over both families. Peers that have expired count until they are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers with nothing left.
    pub seeders: u32,
    /// All other peers.
    pub leechers: u32,
    /// Of the leechers, those that want no more (BEP 21).
    pub paused: u32,
    /// How often the swarm was finished.
    pub completed: u32,
}

impl Counts {
    /// Seeders and leechers.
    pub const fn peers(&self) -> u64 {
        self.seeders as u64 + self.leechers as u64
    }
}

/// One swarm, as an operator sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Over both families, and over all nodes as far as is known.
    pub counts: Counts,
    /// IPv4 peers held here, of any role.
    pub peers_v4: u64,
    /// IPv6 peers held here, of any role.
    pub peers_v6: u64,
}

/// What became of the announcing peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As the announce asked.
    AsAsked,
    /// Not stored: [`Limits::swarms_max`] or [`Limits::peers_max`].
    Full,
    /// Not stored: [`Limits::peers_per_swarm_max`].
    SwarmFull,
    /// Not stored: [`Limits::peers_per_address_max`].
    AddressFull,
}

/// What one call of [`Swarms::expire`](crate::Swarms::expire) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Peers dropped.
    pub peers: u64,
    /// Swarms dropped.
    pub swarms: u64,
    /// Of a store that is shared, the peers dropped that clients of this node had announced: other
    /// nodes are to be told. Empty otherwise, and where swarms are dropped because they are no
    /// longer allowed.
    pub departed: Vec<Departed>,
}

/// A peer whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Where it listened.
    pub peer: SocketAddr,
    /// What it was.
    pub role: Role,
    /// When it was last seen; never before it was.
    pub seen: Now,
}

/// What the whole store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Swarms, those without peers included.
    pub swarms: u64,
    /// IPv4 seeders.
    pub seeders_v4: u64,
    /// IPv6 seeders.
    pub seeders_v6: u64,
    /// IPv4 leechers.
    pub leechers_v4: u64,
    /// IPv6 leechers.
    pub leechers_v6: u64,
    /// Sum of `completed` over the swarms held.
    pub completed: u64,
    /// Bytes of the tables and arenas, as asked of the allocator.
    pub bytes: u64,
}

/// What an announce did to its swarm, as far as other nodes want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// What became of the peer.
    pub news: News,
    /// What the peer was before, wherever its clients announced; `None` where it was not known.
    pub before: Option<Role>,
    /// Whether another node may have it among its own: it had it before, or it has left and was
    /// not known here.
    pub elsewhere: bool,
    /// Whether it was counted in `completed`.
    pub finished: bool,
    /// Whether the swarm had no peers before, or only a few, all of other nodes.
    pub first: bool,
}

/// What became of the peer of an announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum News {
    /// Nothing but that it was seen again, or it is not stored.
    #[default]
    Nothing,
    /// It is here for the first time, or another node had it before.
    Joined,
    /// It has become a seeder, or a leecher again.
    Changed,
    /// It has left, known or not.
    Left,
}

/// A peer as another node tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where it listens; canonical, its port not 0.
    pub peer: SocketAddr,
    /// Seeder or leecher.
    pub role: Role,
    /// When it was last seen; never after now.
    pub seen: Now,
}

/// A swarm as all nodes together know it.
#[derive(Clone, Copy, Debug)]
pub struct Learnt<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Peers with nothing left, of all nodes.
    pub seeders: u32,
    /// All other peers, of all nodes.
    pub leechers: u32,
    /// How often it was finished, over all nodes.
    pub completed: u32,
    /// Some of its peers, or all, drawn at random; peers of this node may be among them. `None`
    /// where only the counts were asked for.
    pub peers: Option<&'a [Elsewhere]>,
}

/// What another node says of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearsay {
    /// It takes part.
    Here {
        /// What it was before, `None` where it was not known there.
        before: Option<Role>,
    },
    /// It has left.
    Left,
}

/// The peers of a swarm, or of one part of a large one, that clients of this node have announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The swarm.
    pub info_hash: InfoHash,
    /// How often it was finished, as far as is known here.
    pub completed: u32,
    /// Those that were asked for: when they were seen, at most two seconds early, and as what.
    pub peers: Vec<Elsewhere>,
    /// Whether other nodes have peers in it.
    pub others: Others,
}

/// Which peers of this node a walk is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// All.
    All,
    /// Those seen since then.
    SeenSince(Now),
    /// None.
    Nobody,
}

/// What other nodes have of a swarm, as far as is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// Nothing.
    #[default]
    Nobody,
    /// Peers that are all held here too.
    Held,
    /// The same, or nothing, in a swarm of more than a thousand peers, too many to be gone through.
    Many,
    /// More peers than are held here, or fewer.
    More,
}

/// What a store held of a swarm when it learnt of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Peers that clients of this node have announced; `None` where those are too many to be
    /// counted.
    pub own: Option<u64>,
    /// What other nodes were thought to have before.
    pub others: Others,
    /// Whether the counts are those of the peers held, so that these are vouched for.
    pub agrees: bool,
    /// How often the swarm was finished, as far as is known here now.
    pub completed: u32,
}
