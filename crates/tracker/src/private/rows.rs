//! What SQL holds of a private tracker: rows read at the start, and rows written in batches.
//!
//! The same for every schema. Names of columns, dialects and types are the business of the crate
//! that speaks SQL.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use peerage_proto::{InfoHash, PeerId};

/// A member's number, as the site's database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// A torrent's number, as the site's database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(pub u32);

/// The 32 bytes by which a member is known in the path of an announce. A secret: never logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Passkey(pub [u8; 32]);

/// What a torrent's transfer costs and earns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pricing {
    /// Upload and download both count.
    #[default]
    Normal,
    /// Upload counts, download does not.
    Free,
    /// Neither counts.
    Neutral,
}

/// A member who may announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As the database has it.
    pub id: MemberId,
    /// Unique.
    pub passkey: Passkey,
    /// Whether the member may download.
    pub can_leech: bool,
    /// Whether the member's address is kept out of the database (Gazelle's `Visible = '0'`).
    pub protected: bool,
    /// Whether downloads are free for this member, whatever the torrent says.
    pub free_leech: bool,
    /// Whether uploads count twice for this member, whatever the torrent says.
    pub double_upload: bool,
    /// Most torrents downloaded at once; `None` for no bound.
    pub download_slots: Option<u32>,
}

impl Member {
    /// One who may do what members may, and has no favours.
    pub fn new(id: MemberId, passkey: Passkey) -> Self {
        Self {
            id,
            passkey,
            can_leech: true,
            protected: false,
            free_leech: false,
            double_upload: false,
            download_slots: None,
        }
    }
}

/// A torrent that may be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// As the database has it.
    pub id: TorrentId,
    /// Unique.
    pub info_hash: InfoHash,
    /// What its transfer costs and earns.
    pub pricing: Pricing,
    /// Whether uploads count twice.
    pub double_upload: bool,
    /// How often it was completed so far.
    pub completed: u32,
    /// Upload less download so far, in bytes, as Gazelle keeps it.
    pub balance: i64,
}

impl Torrent {
    /// One of which everything counts, and nobody has had anything yet.
    pub fn new(id: TorrentId, info_hash: InfoHash) -> Self {
        let pricing = Pricing::Normal;
        Self { id, info_hash, pricing, double_upload: false, completed: 0, balance: 0 }
    }
}

/// A member's right to download one torrent for free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Whose it is.
    pub member: MemberId,
    /// For what.
    pub torrent: TorrentId,
}

/// A client that is let in, or kept out, by the start of its peer_id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The first 1 to 20 bytes of its peer_id.
    pub prefix: Vec<u8>,
    /// What it is called, for people.
    pub name: String,
}

/// Credit for a member since the last batch, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberDelta {
    /// Whose.
    pub member: MemberId,
    /// To be added.
    pub uploaded: u64,
    /// To be added.
    pub downloaded: u64,
}

/// A torrent as it stands, with what is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorrentRow {
    /// Which.
    pub torrent: TorrentId,
    /// Now, to be set.
    pub seeders: u32,
    /// Now, to be set.
    pub leechers: u32,
    /// Completed since the last batch, to be added.
    pub completed: u32,
    /// Upload less download in bytes, now, to be set.
    pub balance: i64,
    /// Upload less download in bytes since the last batch, for schemas that add.
    pub balance_delta: i64,
}

/// Which peer a row is about: one client of one member at one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// Whose.
    pub member: MemberId,
    /// Where.
    pub torrent: TorrentId,
    /// Which client; its bytes exactly, NUL and all.
    pub peer_id: PeerId,
}

/// A peer as it stands, after an announce that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// Which.
    pub key: PeerKey,
    /// False once it has stopped or expired.
    pub active: bool,
    /// Announces since it came.
    pub announces: u32,
    /// Bytes uploaded, as the client counts them.
    pub uploaded: u64,
    /// Bytes downloaded, as the client counts them.
    pub downloaded: u64,
    /// Bytes missing. 0 for every seeder.
    pub remaining: u64,
    /// Bytes that failed their hash, as the client counts them.
    pub corrupt: u64,
    /// Bytes per second since the announce before.
    pub upload_speed: u64,
    /// Bytes per second since the announce before.
    pub download_speed: u64,
    /// Seconds since it came.
    pub timespent_secs: u32,
    /// Of those, seconds as a seeder.
    pub seedtime_secs: u32,
    /// When it announced, seconds since 1970.
    pub at_secs: u64,
    /// Its address; `None` where the member is protected.
    pub address: Option<IpAddr>,
    /// The port it listens on.
    pub port: u16,
    /// The `User-Agent` it sent, at most 255 bytes. Empty over UDP, and where the peer has expired:
    /// what was written before stays.
    pub user_agent: String,
    /// When its download was completed while we watched, seconds since 1970.
    pub completed_at_secs: Option<u64>,
}

/// A peer that announced and changed nothing but the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerVisit {
    /// Which.
    pub key: PeerKey,
    /// Announces since it came.
    pub announces: u32,
    /// Seconds since it came.
    pub timespent_secs: u32,
    /// Of those, seconds as a seeder.
    pub seedtime_secs: u32,
    /// When it announced, seconds since 1970.
    pub at_secs: u64,
}

/// A download that was completed. Once for each member and torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snatch {
    /// Whose.
    pub member: MemberId,
    /// Of what.
    pub torrent: TorrentId,
    /// When, seconds since 1970.
    pub at_secs: u64,
    /// From where; `None` where the member is protected.
    pub address: Option<IpAddr>,
}

/// A download that a token made free, in bytes to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// Which token.
    pub token: Token,
    /// To be added.
    pub downloaded: u64,
}

/// What goes to SQL together. Each key stands at most once in each list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Credit.
    pub members: Vec<MemberDelta>,
    /// Torrents.
    pub torrents: Vec<TorrentRow>,
    /// Peers that changed.
    pub peers: Vec<PeerRow>,
    /// Peers that were only seen again.
    pub visits: Vec<PeerVisit>,
    /// Completed downloads.
    pub snatches: Vec<Snatch>,
    /// Free downloads.
    pub token_uses: Vec<TokenUse>,
    /// Tokens that are used up: their download was completed. A Gazelle site wants to be told over
    /// HTTP and writes its table itself; our own tables are written.
    pub expired_tokens: Vec<Token>,
}

impl Passkey {
    /// The passkey in a segment of a path. `None` unless it is 32 bytes of letters and digits.
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let bytes: [u8; 32] = segment.try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }
}

/// Tells that there is one, not which.
impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passkey(…)")
    }
}

impl Batch {
    /// Rows of all lists.
    pub fn rows(&self) -> usize {
        self.members.len()
            + self.torrents.len()
            + self.peers.len()
            + self.visits.len()
            + self.snatches.len()
            + self.token_uses.len()
            + self.expired_tokens.len()
    }
}
