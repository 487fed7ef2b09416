//! Torrents, each with its peers; tokens; why a torrent was deleted.

use alloc::vec::Vec;

use super::table::{Row, Secret, Table};
use super::{MemberId, Token, Torrent, TorrentId};

/// A torrent as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentState {
    /// As the database has it, with what was counted since.
    pub torrent: Torrent,
    /// When its row was last taken to be written, seconds since 1970; 0 for never.
    pub flushed_secs: u64,
    /// Whose peers are seeders, once for each peer.
    pub seeding: Vec<MemberId>,
    /// Whose peers are leechers, once for each peer.
    pub leeching: Vec<MemberId>,
    /// Who has a token for it.
    pub tokens: Vec<MemberId>,
}

/// A torrent and what is owed to its row.
pub(super) struct TorrentSlot {
    pub(super) torrent: Torrent,
}

impl TorrentSlot {
    /// The same torrent as the database has it now; what was counted here stays.
    pub(super) fn with(self, torrent: Torrent) -> Self {
        let Torrent { completed, balance, .. } = self.torrent;
        Self { torrent: Torrent { completed, balance, ..torrent } }
    }
}

impl Row for TorrentSlot {
    type Key = TorrentId;

    fn key(&self) -> TorrentId {
        self.torrent.id
    }
}

impl Row for Token {
    type Key = Self;

    fn key(&self) -> Self {
        *self
    }
}

/// Some of the torrents, with all that belongs to them.
pub(super) struct TorrentShard {
    pub(super) torrents: Table<TorrentSlot>,
    pub(super) tokens: Table<Token>,
}

impl TorrentShard {
    pub(super) fn new(secret: Secret) -> Self {
        Self { torrents: Table::new(secret), tokens: Table::new(secret) }
    }

    pub(super) fn state(&self, id: TorrentId) -> Option<TorrentState> {
        let slot = self.torrents.find(&id)?;
        let tokens = self.tokens.rows().iter().filter(|token| token.torrent == id);
        Some(TorrentState {
            torrent: slot.torrent.clone(),
            flushed_secs: 0,
            seeding: Vec::new(),
            leeching: Vec::new(),
            tokens: tokens.map(|token| token.member).collect(),
        })
    }
}

/// Why a torrent was deleted, by the number that a Gazelle site has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteReason(pub i32);

impl DeleteReason {
    /// No reason is given.
    pub const NONE: Self = Self(-1);

    /// What whoever announces the torrent is told: a number without a name gets the words alone.
    pub const fn text(self) -> &'static str {
        macro_rules! texts {
            ($($number:literal $reason:literal)*) => {
                match self.0 {
                    $($number => concat!("Unregistered torrent: ", $reason),)*
                    _ => "Unregistered torrent",
                }
            };
        }
        texts! {
            0 "Dupe"
            1 "Trump"
            2 "Bad File Names"
            3 "Bad Folder Names"
            4 "Bad Tags"
            5 "Disallowed Format"
            6 "Discs Missing"
            7 "Discography"
            8 "Edited Log"
            9 "Inaccurate Bitrate"
            10 "Low Bitrate"
            11 "Mutt Rip"
            12 "Disallowed Source"
            13 "Encode Errors"
            14 "Specifically Banned"
            15 "Tracks Missing"
            16 "Transcode"
            17 "Unapproved Cassette"
            18 "Unsplit Album"
            19 "User Compilation"
            20 "Wrong Format"
            21 "Wrong Media"
            22 "Audience Recording"
            23 "Extraneous Files"
            24 "Checksum Trump"
        }
    }
}
