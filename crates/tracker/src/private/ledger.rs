//! What is owed to SQL: rows merge here until a batch of them is taken, and come back when it
//! could not be written.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use peerage_swarm::Now;

use super::pending::{LeftOut, PeerEntry};
use super::torrents::TorrentShard;
use super::{Batch, MemberDelta, Private, TorrentId};

/// The rows that wait to be written. A view of [`Private`], which keeps each row with what it is
/// about.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    private: &'a Private,
}

/// Rows that wait to be written, list by list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Members with credit.
    pub members: usize,
    /// Torrents.
    pub torrents: usize,
    /// Peers that changed.
    pub peers: usize,
    /// Peers that were only seen again.
    pub visits: usize,
    /// Completed downloads.
    pub snatches: usize,
    /// Free downloads, and tokens that are used up.
    pub tokens: usize,
}

impl Private {
    /// What waits to be written.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { private: self }
    }
}

impl Ledger<'_> {
    /// Takes out at most `rows_max` rows; none are left once the batch has fewer than that.
    ///
    /// Goes round: what one batch had no room for comes first in the next. Members' credit takes
    /// half a batch unless there is room to spare.
    pub fn take_batch(&self, rows_max: usize) -> Batch {
        let mut batch = Batch::default();
        let mut since_secs = u64::MAX;
        self.take_credit(&mut batch, rows_max.div_ceil(2), &mut since_secs);
        let shards = &self.private.torrents;
        let first = self.private.next_shard.load(Ordering::Relaxed);
        for step in 0..shards.len() {
            let number = (first + step) % shards.len();
            self.private.next_shard.store(number, Ordering::Relaxed);
            if rows_max <= batch.rows() {
                break;
            }
            let mut shard = shards.at(number);
            let TorrentShard { torrents, pending, .. } = &mut *shard;
            let before = pending.rows();
            if before == 0 {
                pending.give_back_room();
                continue;
            }
            since_secs = since_secs.min(pending.since_secs);
            let peers = pending.take(torrents, &mut batch, rows_max);
            self.private.count_rows(before, pending.rows());
            drop(shard);
            peers.into_iter().for_each(|entry| entry.put_into(&mut batch));
        }
        let members = batch.members.len();
        self.take_credit(&mut batch, rows_max, &mut since_secs);
        if members != batch.members.len() {
            merge_credit(&mut batch.members);
        }
        if batch.rows() != 0 {
            self.private.taken_since_secs.store(since_secs, Ordering::Relaxed);
        }
        batch
    }

    fn take_credit(&self, batch: &mut Batch, rows_max: usize, since_secs: &mut u64) {
        for mut shard in self.private.members.iter() {
            if rows_max <= batch.rows() {
                return;
            }
            let before = shard.credit.len();
            if before == 0 {
                shard.credit.give_back_room();
                continue;
            }
            *since_secs = shard.credit_since_secs.min(*since_secs);
            let room = rows_max - batch.rows();
            match before <= room {
                true => batch.members.append(&mut shard.credit.take_all()),
                false => {
                    let rows = core::iter::from_fn(|| shard.credit.pop());
                    batch.members.extend(rows.take(room));
                }
            }
            self.private.count_rows(before, shard.credit.len());
        }
    }

    /// Gives back what could not be written, all of a batch or part of it. It merges with what came
    /// meanwhile: what is to be added adds up, and of what is to be set the newer stays. Bounds do
    /// not hold for it: it was counted once. With nothing, it says that the batch is written.
    ///
    /// Rows of torrents that are no longer registered are dropped.
    pub fn put_back(&self, batch: Batch) {
        let since_secs = self.private.taken_since_secs.load(Ordering::Relaxed);
        for row in batch.members {
            let mut shard = self.private.member_shard(row.member);
            let before = shard.credit.len();
            shard.add_credit(since_secs, row);
            self.private.count_rows(before, shard.credit.len());
        }
        for row in batch.torrents {
            self.put_back_at(row.torrent, since_secs, |shard| {
                if let Some(slot) = shard.torrents.find_mut(&row.torrent) {
                    shard.pending.put_back_torrent(slot, &row);
                }
            });
        }
        let visits = batch.visits.into_iter().map(PeerEntry::from);
        for entry in batch.peers.into_iter().map(PeerEntry::from).chain(visits) {
            self.put_back_at(entry.key.torrent, since_secs, |shard| {
                shard.pending.put_back_peer(entry);
            });
        }
        for row in batch.snatches {
            self.put_back_at(row.torrent, since_secs, |shard| shard.pending.snatch(row));
        }
        for row in batch.token_uses {
            self.put_back_at(row.token.torrent, since_secs, |shard| shard.pending.token_use(row));
        }
        for token in batch.expired_tokens {
            self.put_back_at(token.torrent, since_secs, |shard| {
                shard.pending.expired_token(token);
            });
        }
        self.private.taken_since_secs.store(u64::MAX, Ordering::Relaxed);
    }

    fn put_back_at(
        &self,
        torrent: TorrentId,
        since_secs: u64,
        put: impl FnOnce(&mut TorrentShard),
    ) {
        let mut shard = self.private.torrent_shard(torrent);
        let before = shard.pending.rows();
        shard.pending.begin(since_secs);
        shard.pending.since_secs = shard.pending.since_secs.min(since_secs);
        put(&mut shard);
        self.private.count_rows(before, shard.pending.rows());
    }

    /// Rows that wait.
    pub fn len(&self) -> usize {
        self.private.rows_count()
    }

    /// Whether all is written, or in a batch that was taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that wait, list by list.
    pub fn queued(&self) -> Queued {
        let mut queued = Queued::default();
        for shard in self.private.members.iter() {
            queued.members += shard.credit.len();
        }
        for shard in self.private.torrents.iter() {
            let [torrents, peers, visits, snatches, tokens] = shard.pending.queued();
            queued.torrents += torrents;
            queued.peers += peers;
            queued.visits += visits;
            queued.snatches += snatches;
            queued.tokens += tokens;
        }
        queued
    }

    /// Rows of peers that found no room, since the start.
    pub fn left_out(&self) -> LeftOut {
        let mut sum = LeftOut::default();
        for shard in self.private.torrents.iter() {
            let LeftOut { gone, changed, seen } = shard.pending.left_out;
            sum.gone += gone;
            sum.changed += changed;
            sum.seen += seen;
        }
        sum
    }

    /// How long the oldest row waits, about and never too short; `None` where none does. A row in a
    /// batch waits until the batch is put back, all of it or what is left.
    pub fn oldest(&self, now: Now) -> Option<Duration> {
        let credit = self.private.members.iter().filter(|shard| shard.credit.len() != 0);
        let credit = credit.map(|shard| shard.credit_since_secs).min();
        let rows = self.private.torrents.iter().filter(|shard| shard.pending.rows() != 0);
        let rows = rows.map(|shard| shard.pending.since_secs).min();
        let taken = self.private.taken_since_secs.load(Ordering::Relaxed);
        let taken = Some(taken).filter(|&since_secs| since_secs != u64::MAX);
        let oldest_secs = [credit, rows, taken].into_iter().flatten().min()?;
        Some(Duration::from_secs(now.as_secs().saturating_sub(oldest_secs)))
    }
}

/// Whoever announced while a batch was taken has credit twice in it. A database that joins the rows
/// with its table changes each of its rows once, and the second sum is lost.
fn merge_credit(rows: &mut Vec<MemberDelta>) {
    rows.sort_unstable_by_key(|row| row.member);
    rows.dedup_by(|more, row| {
        let is_same = more.member == row.member;
        if is_same {
            row.uploaded = row.uploaded.saturating_add(more.uploaded);
            row.downloaded = row.downloaded.saturating_add(more.downloaded);
        }
        is_same
    });
}
