//! Torrents, each with its peers; tokens; why a torrent was deleted.

use alloc::vec::Vec;

use super::nodes::claim::Claims;
use super::nodes::learn::Others;
use super::peer::Peer;
use super::pending::{Completion, Pending};
use super::swarm::Swarm;
use super::table::{Row, Secret, Table};
use super::{MemberId, Token, Torrent, TorrentId, TorrentRow};

/// A torrent as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentState {
    /// As the database has it, with what was counted since.
    pub torrent: Torrent,
    /// When its row last had to be written, seconds since 1970; 0 for never.
    pub due_secs: u64,
    /// Whose peers are seeders, once for each peer.
    pub seeding: Vec<MemberId>,
    /// Whose peers are leechers, once for each peer.
    pub leeching: Vec<MemberId>,
    /// Who has a token for it.
    pub tokens: Vec<MemberId>,
}

/// A torrent, its peers and what is owed to its row.
pub(super) struct TorrentSlot {
    pub(super) torrent: Torrent,
    pub(super) swarm: Swarm,
    /// Completions that are not yet in a batch.
    pub(super) completed_owed: u32,
    /// Balance that is not yet in a batch.
    pub(super) balance_owed: i64,
    /// Seeders and leechers at other nodes, as last heard.
    pub(super) others: [u32; 2],
    /// When its row was last due, seconds since 1970.
    pub(super) due_secs: u64,
    /// Whether it waits to be written.
    pub(super) is_owed: bool,
}

/// 88 bytes; with the index, the info_hash's name and room to grow about 117 a torrent: 108 were
/// measured where it was 80.
const _: () = assert!(size_of::<TorrentSlot>() <= 88);

impl TorrentSlot {
    pub(super) fn new(torrent: Torrent) -> Self {
        Self {
            torrent,
            swarm: Swarm::new(),
            completed_owed: 0,
            balance_owed: 0,
            others: [0; 2],
            due_secs: 0,
            is_owed: false,
        }
    }

    /// The same torrent as the database has it now; what was counted here stays.
    pub(super) fn with(mut self, torrent: Torrent) -> Self {
        let Torrent { completed, balance, .. } = self.torrent;
        self.torrent = torrent;
        (self.torrent.completed, self.torrent.balance) = (completed, balance);
        self
    }

    /// Seeders and leechers, of all nodes.
    pub(super) fn counts(&self) -> (u32, u32) {
        let ((seeders, leechers), others) = (self.swarm.counts(), self.others);
        (seeders.saturating_add(others[0]), leechers.saturating_add(others[1]))
    }

    /// Its row, which is then no longer owed.
    pub(super) fn take_row(&mut self) -> TorrentRow {
        self.is_owed = false;
        let (seeders, leechers) = self.counts();
        TorrentRow {
            torrent: self.torrent.id,
            seeders,
            leechers,
            completed: core::mem::take(&mut self.completed_owed),
            balance: self.torrent.balance,
            balance_delta: core::mem::take(&mut self.balance_owed),
        }
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
    /// Who has completed what, so that it counts once.
    completions: Table<Completion>,
    pub(super) pending: Pending,
    /// What is not told to other nodes.
    pub(super) claims: Claims,
    /// Peers of other nodes.
    pub(super) elsewhere: Table<Others>,
}

/// Completions remembered in one part, of 1024: 16 million in all, of some 15 bytes each. With one
/// more all of the part's are forgotten, and whoever completes one of them again is counted again.
const COMPLETIONS_MAX: usize = 16_384;

impl TorrentShard {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            torrents: Table::new(secret),
            tokens: Table::new(secret),
            completions: Table::new(secret),
            pending: Pending::new(secret),
            claims: Claims::new(secret),
            elsewhere: Table::new(secret),
        }
    }

    /// Remembers that a member has completed a torrent, and says whether that is new.
    pub(super) fn complete(&mut self, completion: Completion) -> bool {
        if COMPLETIONS_MAX <= self.completions.len() {
            while self.completions.pop().is_some() {}
        }
        self.completions.put(completion).is_none()
    }

    /// Remembers what was completed before a restart, while there is room.
    pub(super) fn restore_completion(&mut self, completion: Completion) {
        if self.completions.len() < COMPLETIONS_MAX {
            self.completions.put(completion);
        }
    }

    pub(super) fn state(&self, id: TorrentId) -> Option<TorrentState> {
        let slot = self.torrents.find(&id)?;
        let tokens = self.tokens.rows().iter().filter(|token| token.torrent == id);
        let others = self.elsewhere.find(&id).into_iter();
        let others = others.flat_map(|others| others.swarm.peers());
        let peers = slot.swarm.peers().iter().chain(others);
        let (seeding, leeching): (Vec<_>, Vec<_>) = peers.partition(|peer| peer.is_seeder());
        let members = |peers: Vec<&Peer>| peers.into_iter().map(|peer| peer.member).collect();
        Some(TorrentState {
            torrent: slot.torrent.clone(),
            due_secs: slot.due_secs,
            seeding: members(seeding),
            leeching: members(leeching),
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
