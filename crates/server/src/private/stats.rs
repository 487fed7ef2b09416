//! What private mode tells in `/stats.json` and `/metrics`.

use peerage_tracker::private::{LeftOut, Private};
use peerage_tracker::{Now, Tracker};
use serde::Serialize;

/// Of private mode, now.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PrivateStats {
    /// Members who may announce.
    pub(crate) members: u64,
    /// Torrents that may be announced.
    pub(crate) torrents: u64,
    /// Tokens in use.
    pub(crate) tokens: u64,
    /// Peers with nothing left.
    pub(crate) seeders: u64,
    /// All other peers.
    pub(crate) leechers: u64,
    /// Rows that wait to be written.
    pub(crate) rows_waiting: u64,
    /// Rows that were written since the start, about.
    pub(crate) rows_written: u64,
    /// How long the oldest row waits; 0 where none does.
    pub(crate) oldest_row_secs: u64,
    /// Rows that found no room among them (private.ledger_rows_max), since the start.
    pub(crate) rows_left_out: RowsLeftOut,
}

/// Rows of peers that were not written. Credit always is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RowsLeftOut {
    /// Of peers that stopped or expired: the tables have them as active until the next start.
    pub(crate) gone: u64,
    /// Of peers that changed: written with a later announce.
    pub(crate) changed: u64,
    /// Of peers that were only seen again.
    pub(crate) seen: u64,
}

impl PrivateStats {
    /// Of `tracker`; `None` where it is open.
    pub(crate) fn of(tracker: &Tracker, now: Now) -> Option<Self> {
        let private: &Private = tracker.private()?;
        let (totals, ledger) = (private.totals(), private.ledger());
        let LeftOut { gone, changed, seen } = ledger.left_out();
        Some(Self {
            members: totals.members,
            torrents: totals.torrents,
            tokens: totals.tokens,
            seeders: totals.seeders,
            leechers: totals.leechers,
            rows_waiting: ledger.len() as u64,
            rows_written: private.rows_written(),
            oldest_row_secs: ledger.oldest(now).unwrap_or_default().as_secs(),
            rows_left_out: RowsLeftOut { gone, changed, seen },
        })
    }
}
