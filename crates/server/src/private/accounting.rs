//! How the writing of what is owed goes: counted by the thread that writes, told by the pages.

use std::sync::atomic::{AtomicU64, Ordering};

use peerage_tracker::Now;
use serde::Serialize;
use utoipa::ToSchema;

/// What is counted. Written by one thread, read by any.
#[derive(Debug, Default)]
pub(crate) struct Accounting {
    /// Seconds since 1970; 0 for never.
    written_at_secs: AtomicU64,
    refused: AtomicU64,
    /// Tries in a row that failed.
    failures: AtomicU64,
}

/// How the database takes what is owed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DatabaseState {
    /// All that was owed was written the last time.
    Well,
    /// The last try failed. It is tried again with growing waits; announces go on.
    Failing,
    /// Nothing is ever written: `database.readonly`.
    Readonly,
}

/// The writing, as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Writing {
    /// How the database takes it.
    pub(crate) state: DatabaseState,
    /// Time since all that was owed was written; null where it never was.
    #[schema(required)]
    pub(crate) written_secs_ago: Option<u64>,
    /// Tries in a row that failed.
    pub(crate) failures: u64,
    /// Rows that the database refused and that were set aside, since the start.
    pub(crate) rows_refused: u64,
}

impl Accounting {
    /// Counts rows that were set aside.
    pub(super) fn count_refused(&self, refused: usize) {
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
    }

    /// Takes note that all was written.
    pub(super) fn succeeded(&self, now: Now) {
        self.failures.store(0, Ordering::Relaxed);
        self.written_at_secs.store(now.as_secs(), Ordering::Relaxed);
    }

    /// Takes note that a try failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// As of now. `readonly` is whether nothing is ever written.
    pub(crate) fn writing(&self, now: Now, readonly: bool) -> Writing {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failures = read(&self.failures);
        let written_at = Some(read(&self.written_at_secs)).filter(|secs| *secs != 0);
        Writing {
            state: match (readonly, failures) {
                (true, _) => DatabaseState::Readonly,
                (false, 0) => DatabaseState::Well,
                (false, _) => DatabaseState::Failing,
            },
            written_secs_ago: written_at
                .filter(|_| !readonly)
                .map(|secs| now.as_secs().saturating_sub(secs)),
            failures,
            rows_refused: read(&self.refused),
        }
    }
}
