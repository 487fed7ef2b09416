//! What private mode tells in `/stats.json` and `/metrics`.

use std::sync::Arc;

use peerage_tracker::private::{LeftOut, Totals};
use peerage_tracker::{Now, Tracker};
use serde::Serialize;
use utoipa::ToSchema;

use super::Settings;
use super::accounting::{Accounting, Writing};

/// What is told beside what the tracker knows.
pub(crate) struct View {
    /// Of the writing.
    pub(super) accounting: Arc<Accounting>,
    readonly: bool,
    is_gazelle: bool,
}

impl View {
    /// Of a tracker that has written nothing yet.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            accounting: Arc::default(),
            readonly: settings.store.readonly,
            is_gazelle: matches!(settings.store.schema, peerage_sql::Schema::Gazelle(_)),
        }
    }
}

/// Of private mode, now. Counts are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PrivateStats {
    /// Whose the tables are.
    pub(crate) tables: Owner,
    /// Members who may announce.
    pub(crate) members: u64,
    /// Of the members, those who have a peer.
    pub(crate) online: u64,
    /// Torrents that may be announced.
    pub(crate) torrents: u64,
    /// Tokens in use.
    pub(crate) tokens: u64,
    /// Peers with nothing left.
    pub(crate) seeders: u64,
    /// All other peers.
    pub(crate) leechers: u64,
    /// Bytes that members were credited and charged with.
    pub(crate) credited: Bytes<u64>,
    /// The same per second over the last ten.
    pub(crate) credited_per_sec: Bytes<f64>,
    /// Rows that wait to be written.
    pub(crate) rows_waiting: u64,
    /// How long the oldest of them waits; 0 where none does.
    pub(crate) oldest_row_secs: u64,
    /// Rows that found no room among them (private.ledger_rows_max).
    pub(crate) rows_left_out: RowsLeftOut,
    /// Rows that were written since the start, about.
    pub(crate) rows_written: u64,
    /// Of the database.
    pub(crate) database: Writing,
}

/// Rows of peers that were not written. Credit always is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct RowsLeftOut {
    /// Of peers that stopped or expired: the tables have them as active until the next start.
    pub(crate) gone: u64,
    /// Of peers that changed: written with a later announce.
    pub(crate) changed: u64,
    /// Of peers that were only seen again.
    pub(crate) seen: u64,
}

/// Whose tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TablesOwner)]
pub(crate) enum Owner {
    /// Ours: managed by the command line, the API and the pages.
    Peerage,
    /// A Gazelle site's.
    Gazelle,
}

/// Up and down.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Bytes<T> {
    /// Credited.
    pub(crate) uploaded: T,
    /// Charged.
    pub(crate) downloaded: T,
}

impl PrivateStats {
    /// Of `tracker`; `None` where it is open.
    pub(crate) fn of(
        tracker: &Tracker,
        view: &View,
        credited_per_sec: Bytes<f64>,
        now: Now,
    ) -> Option<Self> {
        let private = tracker.private()?;
        let (totals, ledger) = (private.totals(), private.ledger());
        let LeftOut { gone, changed, seen } = ledger.left_out();
        let Totals { credited, .. } = totals;
        Some(Self {
            tables: if view.is_gazelle { Owner::Gazelle } else { Owner::Peerage },
            members: totals.members,
            online: totals.online,
            torrents: totals.torrents,
            tokens: totals.tokens,
            seeders: totals.seeders,
            leechers: totals.leechers,
            credited: Bytes { uploaded: credited.uploaded, downloaded: credited.downloaded },
            credited_per_sec,
            rows_waiting: ledger.len() as u64,
            oldest_row_secs: ledger.oldest(now).unwrap_or_default().as_secs(),
            rows_left_out: RowsLeftOut { gone, changed, seen },
            rows_written: private.rows_written(),
            database: view.accounting.writing(now, view.readonly),
        })
    }
}
