//! Our own tables, as the API changes them: the way to them, and what is said where there are none.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::extract::rejection::{PathRejection, QueryRejection};
use peerage_sql::ManageError;
use peerage_tracker::private::Pricing;
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::refused::Refused;
use crate::members::change::Wrong;
use crate::private::{Jobs, Tables};

/// Requests that wait for the tables or use them. One more is told to come later.
pub(super) const WAITING_MAX: usize = 32;

/// How long one waits: the database may be away, and a thousand changes take a while.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Most changes in one request.
pub(super) const ITEMS_MAX: usize = peerage_sql::EDITS_MAX;

/// Most bytes of a request: a thousand changes of some hundred bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Most entries in one reply.
const PAGE_ENTRIES_MAX: usize = 1000;

/// Entries in a reply to who does not say.
const PAGE_ENTRIES: usize = 100;

/// Most bytes of what is looked for in names.
const LIKE_BYTES_MAX: usize = 190;

/// Whose members there are.
pub(crate) enum Members {
    /// The tracker is open.
    Nobodys,
    /// A Gazelle site's, which manages them in its own tables.
    Sites,
    /// Ours.
    Ours(Jobs),
    /// Ours, but nothing is written: they can be looked at.
    OursReadonly(Jobs),
}

/// What is to be done with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They are only looked at.
    Look,
    /// They are changed.
    Change,
}

/// What a torrent's transfer costs and earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PricingName {
    /// Upload and download both count.
    Normal,
    /// Upload counts, download does not.
    Free,
    /// Neither counts.
    Neutral,
}

impl From<Pricing> for PricingName {
    fn from(pricing: Pricing) -> Self {
        match pricing {
            Pricing::Normal => Self::Normal,
            Pricing::Free => Self::Free,
            Pricing::Neutral => Self::Neutral,
        }
    }
}

impl From<PricingName> for Pricing {
    fn from(name: PricingName) -> Self {
        match name {
            PricingName::Normal => Self::Normal,
            PricingName::Free => Self::Free,
            PricingName::Neutral => Self::Neutral,
        }
    }
}

/// Which part of a list of members or torrents.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Entries with an id above this: `next` of the reply before.
    #[param(value_type = Option<u64>, maximum = 4294967295_u64)]
    after: Option<u32>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Only those with this in their name, letters from A to Z in either case; at most 190
    /// bytes.
    #[param(max_length = 190)]
    like: Option<String>,
}

/// A page that may be had.
pub(super) struct Asked {
    pub(super) after: u32,
    pub(super) limit: usize,
    /// Empty for all.
    pub(super) like: String,
}

impl Page {
    pub(super) fn asked(
        page: Result<axum::extract::Query<Self>, QueryRejection>,
    ) -> Result<Asked, Refused> {
        let wrong = |rejection: QueryRejection| Refused::wrong(rejection.body_text(), "query");
        let axum::extract::Query(Self { after, limit, like }) = page.map_err(wrong)?;
        let limit = limit.unwrap_or(PAGE_ENTRIES);
        if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
            let error = format!("limit must be from 1 to {PAGE_ENTRIES_MAX}");
            return Err(Refused::wrong(error, "limit"));
        }
        let like = like.unwrap_or_default();
        if like.len() > LIKE_BYTES_MAX || like.contains('\0') {
            return Err(Refused::wrong("no name is like that", "like"));
        }
        Ok(Asked { after: after.unwrap_or(0), limit, like })
    }
}

/// What stands in a path.
pub(super) fn part<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Refused> {
    path.map(|Path(part)| part).map_err(|rejection| Refused::malformed(rejection.body_text()))
}

/// Why something was not done with the tables; `field` is what it is about.
pub(super) fn refused(error: ManageError, field: impl Into<String>) -> Refused {
    match error {
        ManageError::Taken => Refused::conflict(error.to_string(), &field.into()),
        ManageError::Invalid(what) => Refused::wrong(what, field),
        ManageError::Database(error) => {
            error!("API: {error}");
            Refused::not_now("the database does not do it now: the log says why")
        }
    }
}

/// Why a change cannot be made; `field` is what it is about.
pub(super) fn wrong(wrong: Wrong, field: impl Into<String>) -> Refused {
    match wrong {
        Wrong::Passkey => Refused::wrong(wrong.text(), field),
        Wrong::NoChance => {
            error!("API: {}", wrong.text());
            Refused::not_now(wrong.text())
        }
    }
}

/// How many changes a request asks for; `field` is the array with one too many.
pub(super) fn check_items(count: usize, field: &str) -> Result<(), Refused> {
    if count > ITEMS_MAX {
        let error = format!("a request may have {ITEMS_MAX} changes");
        return Err(Refused::wrong(error, field));
    }
    Ok(())
}

impl Api {
    /// Has `work` done with our own tables, by the thread that waits for SQL. What is begun is
    /// done, though whoever asked has gone.
    pub(super) async fn with_tables<T, F>(
        &self,
        purpose: Purpose,
        work: impl FnOnce(Arc<Tables>) -> F + Send + 'static,
    ) -> Result<T, Refused>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refused>> + Send + 'static,
    {
        let jobs = self.jobs(purpose)?;
        let Ok(_waiting) = self.asking.try_acquire() else {
            return Err(Refused::not_now("too much is asked at once"));
        };
        match tokio::time::timeout(WAIT_MAX, jobs.manage(work)).await {
            Ok(Some(done)) => done,
            Ok(None) => Err(Refused::not_now("it stops")),
            Err(_) => Err(Refused::not_now("it takes too long: look whether it was done")),
        }
    }

    fn jobs(&self, purpose: Purpose) -> Result<&Jobs, Refused> {
        match &self.members {
            Members::Ours(jobs) => Ok(jobs),
            Members::OursReadonly(jobs) if purpose == Purpose::Look => Ok(jobs),
            Members::OursReadonly(_) => {
                Err(Refused::not_here("nothing is written: database.readonly is true"))
            }
            Members::Sites => Err(Refused::not_here(
                "the tables are a Gazelle site's: the site manages members, torrents and clients",
            )),
            Members::Nobodys => Err(Refused::not_here(
                "the tracker is open: there are members where private.enabled is true",
            )),
        }
    }
}
