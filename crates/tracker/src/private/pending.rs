//! The rows of some torrents that wait to be written, each key once.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::PeerId;

use super::table::{Row, Secret, Table};
use super::torrents::TorrentSlot;
use super::{
    Batch, MemberId, PeerKey, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentId, TorrentRow,
};

/// A peer's row that waits. Written whole where something has changed, else as a visit.
#[derive(Clone, Debug)]
pub(super) struct PeerEntry {
    pub(super) key: PeerKey,
    pub(super) announces: u32,
    pub(super) timespent_secs: u32,
    pub(super) seedtime_secs: u32,
    pub(super) at_secs: u64,
    pub(super) changed: Option<Changed>,
}

/// What a [`PeerRow`] has and a [`PeerVisit`] has not.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub(super) active: bool,
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) remaining: u64,
    pub(super) corrupt: u64,
    pub(super) upload_speed: u64,
    pub(super) download_speed: u64,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// Of the worker that saw it: one of few, so that a row costs a count and no copy.
    pub(super) user_agent: Arc<str>,
    pub(super) completed_at_secs: Option<u64>,
}

/// About 200 bytes: a million rows are 200 MB.
const _: () = assert!(size_of::<PeerEntry>() <= 192);

impl Row for PeerEntry {
    type Key = PeerKey;

    fn key(&self) -> PeerKey {
        self.key
    }
}

impl Row for TokenUse {
    type Key = Token;

    fn key(&self) -> Token {
        self.token
    }
}

impl PeerEntry {
    pub(super) fn put_into(self, batch: &mut Batch) {
        let Self { key, announces, timespent_secs, seedtime_secs, at_secs, changed } = self;
        let Some(changed) = changed else {
            batch.visits.push(PeerVisit { key, announces, timespent_secs, seedtime_secs, at_secs });
            return;
        };
        batch.peers.push(PeerRow {
            key,
            active: changed.active,
            announces,
            uploaded: changed.uploaded,
            downloaded: changed.downloaded,
            remaining: changed.remaining,
            corrupt: changed.corrupt,
            upload_speed: changed.upload_speed,
            download_speed: changed.download_speed,
            timespent_secs,
            seedtime_secs,
            at_secs,
            address: changed.address,
            port: changed.port,
            user_agent: String::from(&*changed.user_agent),
            completed_at_secs: changed.completed_at_secs,
        });
    }
}

impl Changed {
    /// What is written of two of a peer's rows, of which `now` came after `before`.
    fn merged(now: Option<Self>, before: Option<Self>) -> Option<Self> {
        match (now, before) {
            // Seen again with nothing moved: the speed is none by now.
            (None, Some(before)) => Some(Self { upload_speed: 0, download_speed: 0, ..before }),
            (Some(now), Some(before)) => Some(Self {
                user_agent: match now.user_agent.is_empty() {
                    true => before.user_agent,
                    false => now.user_agent,
                },
                completed_at_secs: now.completed_at_secs.or(before.completed_at_secs),
                ..now
            }),
            (now, None) => now,
        }
    }
}

impl From<PeerVisit> for PeerEntry {
    fn from(visit: PeerVisit) -> Self {
        let PeerVisit { key, announces, timespent_secs, seedtime_secs, at_secs } = visit;
        Self { key, announces, timespent_secs, seedtime_secs, at_secs, changed: None }
    }
}

impl From<PeerRow> for PeerEntry {
    fn from(row: PeerRow) -> Self {
        Self {
            key: row.key,
            announces: row.announces,
            timespent_secs: row.timespent_secs,
            seedtime_secs: row.seedtime_secs,
            at_secs: row.at_secs,
            changed: Some(Changed {
                active: row.active,
                uploaded: row.uploaded,
                downloaded: row.downloaded,
                remaining: row.remaining,
                corrupt: row.corrupt,
                upload_speed: row.upload_speed,
                download_speed: row.download_speed,
                address: row.address,
                port: row.port,
                user_agent: row.user_agent.into(),
                completed_at_secs: row.completed_at_secs,
            }),
        }
    }
}

/// Who has completed what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Completion {
    pub(super) member: MemberId,
    pub(super) torrent: TorrentId,
}

impl Row for Completion {
    type Key = Token;

    fn key(&self) -> Token {
        Token { member: self.member, torrent: self.torrent }
    }
}

/// Whether a row found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It waits to be written.
    Waits,
    /// There is no room, and nothing of this peer waits.
    LeftOut,
}

/// Rows of peers that found no room in the ledger, since the start. What is owed to members,
/// torrents, snatches and tokens always finds room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Of peers that stopped or expired. They are never written: until the next start the tables
    /// have such a peer as it was before, and active.
    pub gone: u64,
    /// Of peers that changed. Written with their next announce for which there is room.
    pub changed: u64,
    /// Of peers that were only seen again. Never written.
    pub seen: u64,
}

impl LeftOut {
    fn count(&mut self, entry: &PeerEntry) {
        match &entry.changed {
            Some(Changed { active: false, .. }) => self.gone += 1,
            Some(_) => self.changed += 1,
            None => self.seen += 1,
        }
    }
}

/// The rows of some torrents.
pub(super) struct Pending {
    /// Those marked in their slots.
    torrents: Vec<TorrentId>,
    peers: Table<PeerEntry>,
    /// Of `peers`, those written whole.
    changed: usize,
    snatches: Vec<Snatch>,
    token_uses: Table<TokenUse>,
    expired_tokens: Vec<Token>,
    /// Rows that found no room.
    pub(super) left_out: LeftOut,
    /// When the oldest row came, seconds since 1970, where there is one.
    pub(super) since_secs: u64,
}

impl Pending {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            torrents: Vec::new(),
            peers: Table::new(secret),
            changed: 0,
            snatches: Vec::new(),
            token_uses: Table::new(secret),
            expired_tokens: Vec::new(),
            left_out: LeftOut { gone: 0, changed: 0, seen: 0 },
            since_secs: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        let tokens = self.token_uses.len() + self.expired_tokens.len();
        self.torrents.len() + self.peers.len() + self.snatches.len() + tokens
    }

    /// To be called before a row is put in.
    pub(super) fn begin(&mut self, now_secs: u64) {
        if self.rows() == 0 {
            self.since_secs = now_secs;
        }
    }

    pub(super) fn torrent(&mut self, slot: &mut TorrentSlot) {
        if !core::mem::replace(&mut slot.is_owed, true) {
            self.torrents.push(slot.torrent.id);
        }
    }

    /// Puts in a peer's row as it is now. Where nothing of the peer waits and there is no room, it
    /// is left out.
    pub(super) fn peer(&mut self, entry: PeerEntry, is_full: bool) -> Kept {
        match self.peers.place(&entry.key) {
            Some(place) => {
                let waiting = self.peers.row_mut(place);
                self.changed -= usize::from(waiting.changed.is_some());
                let changed = Changed::merged(entry.changed, waiting.changed.take());
                *waiting = PeerEntry { changed, ..entry };
                self.changed += usize::from(waiting.changed.is_some());
            }
            None if is_full => {
                self.left_out.count(&entry);
                return Kept::LeftOut;
            }
            None => {
                self.changed += usize::from(entry.changed.is_some());
                self.peers.add(entry);
            }
        }
        Kept::Waits
    }

    /// Starts to fetch by what a peer's row is found.
    pub(super) fn prefetch(&self, member: MemberId, torrent: TorrentId, peer_id: &PeerId) {
        self.peers.prefetch_place_of(&PeerKey { member, torrent, peer_id: *peer_id });
    }

    /// Whether it waits to be written that the peer has left.
    pub(super) fn has_left(&self, key: &PeerKey) -> bool {
        let changed = self.peers.find(key).and_then(|entry| entry.changed.as_ref());
        changed.is_some_and(|changed| !changed.active)
    }

    pub(super) fn snatch(&mut self, snatch: Snatch) {
        self.snatches.push(snatch);
    }

    pub(super) fn token_use(&mut self, used: TokenUse) {
        let none = TokenUse { token: used.token, downloaded: 0 };
        let sum = &mut self.token_uses.find_or_put(none).downloaded;
        *sum = sum.saturating_add(used.downloaded);
    }

    pub(super) fn expired_token(&mut self, token: Token) {
        self.expired_tokens.push(token);
    }

    /// Moves rows into `batch` until it has `rows_max`; those of peers are returned, to be put
    /// there once nobody waits.
    pub(super) fn take(
        &mut self,
        torrents: &mut Table<TorrentSlot>,
        batch: &mut Batch,
        rows_max: usize,
    ) -> Vec<PeerEntry> {
        let mut room = rows_max.saturating_sub(batch.rows());
        while room != 0
            && let Some(id) = self.torrents.pop()
        {
            // One that is no longer registered has no row to be written.
            if let Some(slot) = torrents.find_mut(&id) {
                batch.torrents.push(slot.take_row());
                room -= 1;
            }
        }
        let snatches = self.snatches.len().min(room);
        batch.snatches.extend(self.snatches.drain(..snatches));
        room -= snatches;
        let expired = self.expired_tokens.len().min(room);
        batch.expired_tokens.extend(self.expired_tokens.drain(..expired));
        room -= expired;
        while room != 0
            && let Some(used) = self.token_uses.pop()
        {
            batch.token_uses.push(used);
            room -= 1;
        }
        if self.peers.len() <= room {
            self.changed = 0;
            return self.peers.take_all();
        }
        let peers: Vec<_> = core::iter::from_fn(|| self.peers.pop()).take(room).collect();
        self.changed -= peers.iter().filter(|entry| entry.changed.is_some()).count();
        peers
    }

    /// Gives back what a burst of rows has made.
    pub(super) fn give_back_room(&mut self) {
        self.peers.give_back_room();
        self.token_uses.give_back_room();
    }

    /// Takes back what was owed to a torrent's row.
    pub(super) fn put_back_torrent(&mut self, slot: &mut TorrentSlot, row: &TorrentRow) {
        slot.completed_owed = slot.completed_owed.saturating_add(row.completed);
        slot.balance_owed = slot.balance_owed.saturating_add(row.balance_delta);
        self.torrent(slot);
    }

    /// Takes back a peer's row, which came before whatever waits of that peer.
    pub(super) fn put_back_peer(&mut self, entry: PeerEntry) {
        match self.peers.place(&entry.key) {
            Some(place) => {
                let waiting = self.peers.row_mut(place);
                self.changed -= usize::from(waiting.changed.is_some());
                waiting.changed = Changed::merged(waiting.changed.take(), entry.changed);
                self.changed += usize::from(waiting.changed.is_some());
            }
            None => {
                self.changed += usize::from(entry.changed.is_some());
                self.peers.add(entry);
            }
        }
    }

    /// Torrents, changed peers, visits, snatches and tokens that wait.
    pub(super) fn queued(&self) -> [usize; 5] {
        let tokens = self.token_uses.len() + self.expired_tokens.len();
        let visits = self.peers.len() - self.changed;
        [self.torrents.len(), self.changed, visits, self.snatches.len(), tokens]
    }
}
