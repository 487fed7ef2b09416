//! What is owed to SQL: rows merge here until a batch of them is taken, and come back when it
//! could not be written.

use core::time::Duration;

use peerage_swarm::Now;

use super::{Batch, Private};

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
    pub fn take_batch(&self, rows_max: usize) -> Batch {
        let mut batch = Batch::default();
        for mut shard in self.private.members.iter() {
            while batch.rows() < rows_max
                && let Some(row) = shard.credit.pop()
            {
                batch.members.push(row);
            }
        }
        batch
    }

    /// Gives back what could not be written, all of a batch or part of it. It merges with what came
    /// meanwhile: what is to be added adds up, and of what is to be set the newer stays.
    pub fn put_back(&self, batch: Batch) {
        for row in batch.members {
            let mut shard = self.private.member_shard(row.member);
            if let Some(before) = shard.credit.put(row) {
                let now = shard.credit.find_or_put(row);
                now.uploaded = now.uploaded.saturating_add(before.uploaded);
                now.downloaded = now.downloaded.saturating_add(before.downloaded);
            }
        }
    }

    /// Rows that wait.
    pub fn len(&self) -> usize {
        let Queued { members, torrents, peers, visits, snatches, tokens } = self.queued();
        members + torrents + peers + visits + snatches + tokens
    }

    /// Whether all is written, or in a batch that was taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that wait, list by list.
    pub fn queued(&self) -> Queued {
        let members = self.private.members.iter().map(|shard| shard.credit.len()).sum();
        Queued { members, ..Queued::default() }
    }

    /// How long the oldest row waits, about; `None` where none does.
    pub fn oldest(&self, now: Now) -> Option<Duration> {
        let sinces = self.private.members.iter().filter(|shard| shard.credit.len() != 0);
        let oldest = sinces.map(|shard| shard.credit_since_secs).min()?;
        Some(Duration::from_secs(now.as_secs().saturating_sub(oldest)))
    }
}
