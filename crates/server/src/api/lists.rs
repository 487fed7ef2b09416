//! `/lists/allow` and `/lists/deny`: which swarms may be.
//!
//! Shown is what is in force: what the files of the configuration say, and what was added here.
//! Only the latter can be taken out here.

#![expect(unused_qualifications, reason = "the macro of the document writes them")]

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::{Extension, Json};
use peerage_proto::InfoHash;
use peerage_tracker::{AccessList, List};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asks::Ask;
use super::document::{HashInPath, HashText};
use super::refused::{BodyRefusals, Conflicting, Refusals, Refused, Unprocessable};
use super::{Api, Session, body};
use crate::lists::Which;

/// Most bytes of a change: some 90,000 info_hashes.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;

/// Most entries in one reply.
const PAGE_ENTRIES_MAX: usize = 10_000;

/// Entries in a reply to who does not say.
const PAGE_ENTRIES: usize = 100;

/// Which list.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(crate) struct ListName {
    /// `allow` or `deny`.
    #[param(inline)]
    list: ListWord,
}

/// `allow` or `deny`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is for the document alone")]
enum ListWord {
    Allow,
    Deny,
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Entries above this info_hash: `next` of the reply before.
    #[param(pattern = "^[0-9a-fA-F]{40}([0-9a-fA-F]{24})?$")]
    after: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 10000, default = 100)]
    limit: Option<usize>,
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListPage {
    /// Info_hashes in order, in 40 hex digits.
    entries: Vec<String>,
    /// Entries of the whole list.
    total: usize,
    /// What to send as `after` to go on; null at the end.
    #[schema(required)]
    next: Option<String>,
    /// Whether the list decides anything: an allow list may not, see `access.only_allowed`.
    in_force: bool,
}

/// A change of a list. An info_hash in both arrays is added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListChange {
    /// Info_hashes in 40 hex digits (v1) or 64 (v2) that are to be on it.
    #[serde(default)]
    #[schema(value_type = Vec<HashText>)]
    add: Vec<String>,
    /// Those that are not to be on it.
    #[serde(default)]
    #[schema(value_type = Vec<HashText>)]
    remove: Vec<String>,
}

/// What a change has done.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListChanged {
    /// Entries that were not there before.
    added: usize,
    /// Entries that are there no more.
    removed: usize,
    /// Entries of the whole list now.
    total: usize,
}

fn which(name: &str) -> Result<Which, Refused> {
    Which::from_name(name).ok_or_else(|| Refused::not_found("there is an allow and a deny list"))
}

fn hash(hex: &str, field: &str) -> Result<InfoHash, Refused> {
    AccessList::parse_hash(hex)
        .ok_or_else(|| Refused::wrong("an info_hash has 40 or 64 hex digits", field))
}

/// A part of a list that is in force.
#[utoipa::path(
    get,
    path = "/api/v1/lists/{list}",
    tag = "lists",
    security(("token" = ["read"])),
    params(ListName, Page),
    responses(
        (status = 200, description = "A part of it", body = ListPage),
        Refusals, Unprocessable,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<ListPage>, Refused> {
    let Path(name) = name.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    let which = which(&name)?;
    let Query(page) = page.map_err(|rejection| Refused::wrong(rejection.body_text(), "limit"))?;
    let limit = page.limit.unwrap_or(PAGE_ENTRIES);
    if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
        let error = format!("limit must be from 1 to {PAGE_ENTRIES_MAX}");
        return Err(Refused::wrong(error, "limit"));
    }
    let after = page.after.as_deref().map(|hex| hash(hex, "after")).transpose()?;
    let access = Arc::clone(&api.source.tracker.rules().access);
    let empty = List::default();
    let list = match which {
        Which::Allow => access.allowed().unwrap_or(&empty),
        Which::Deny => access.denied(),
    };
    let mut rest = list.after(after.as_ref()).peekable();
    let entries: Vec<String> = rest.by_ref().take(limit).map(|hash| hash.to_string()).collect();
    let next = rest.peek().and_then(|_| entries.last().cloned());
    let in_force = which == Which::Deny || access.allowed().is_some();
    Ok(Json(ListPage { entries, total: list.len(), next, in_force }))
}

/// Puts one swarm on a list. What the list then forbids is dropped at once.
#[utoipa::path(
    put,
    path = "/api/v1/lists/{list}/{info_hash}",
    tag = "lists",
    security(("token" = ["operate"])),
    params(ListName, HashInPath),
    responses(
        (status = 200, description = "It is on the list", body = ListChanged),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ListChanged>, Refused> {
    let Path((name, hex)) = path.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    let (which, hash) = (which(&name)?, hash(&hex, "info_hash")?);
    api.change_list(&session, which, vec![hash], Vec::new()).await.map(Json)
}

/// Takes one swarm off a list, where it was not the operator who wrote it there.
#[utoipa::path(
    delete,
    path = "/api/v1/lists/{list}/{info_hash}",
    tag = "lists",
    security(("token" = ["operate"])),
    params(ListName, HashInPath),
    responses(
        (status = 200, description = "It is off the list", body = ListChanged),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ListChanged>, Refused> {
    let Path((name, hex)) = path.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    let (which, hash) = (which(&name)?, hash(&hex, "info_hash")?);
    let changed = api.change_list(&session, which, Vec::new(), vec![hash]).await?;
    if changed.removed == 1 {
        return Ok(Json(changed));
    }
    let access = Arc::clone(&api.source.tracker.rules().access);
    let is_written = match which {
        Which::Allow => access.allowed().is_some_and(|list| list.is_written(&hash)),
        Which::Deny => access.denied().is_written(&hash),
    };
    if is_written {
        let error = format!("the file of access.{name} has it: take it out there");
        return Err(Refused::conflict(error, "info_hash"));
    }
    Err(Refused::not_found("it is not on the list"))
}

/// Puts swarms on a list and takes others off it, all at once. Those that are there already, or are
/// not there, are passed over.
#[utoipa::path(
    post,
    path = "/api/v1/lists/{list}",
    tag = "lists",
    security(("token" = ["operate"])),
    params(ListName),
    request_body(
        content = ListChange,
        example = json!({"add": ["0123456789abcdef0123456789abcdef01234567"], "remove": []}),
    ),
    responses(
        (status = 200, description = "What was changed", body = ListChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<ListChanged>, Refused> {
    let Path(name) = name.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    let which = which(&name)?;
    let ListChange { add, remove } = body::json(request, BODY_BYTES_MAX).await?;
    let hashes = |all: &[String], field| -> Result<Vec<InfoHash>, Refused> {
        all.iter().map(|hex| hash(hex, field)).collect()
    };
    let (add, remove) = (hashes(&add, "add")?, hashes(&remove, "remove")?);
    api.change_list(&session, which, add, remove).await.map(Json)
}

impl Api {
    async fn change_list(
        &self,
        session: &Session,
        which: Which,
        add: Vec<InfoHash>,
        remove: Vec<InfoHash>,
    ) -> Result<ListChanged, Refused> {
        let by = session.name();
        let done = self.ask(|answer| Ask::List { which, add, remove, by, answer }).await?;
        let access = Arc::clone(&self.source.tracker.rules().access);
        let total = match which {
            Which::Allow => access.allowed().map_or(0, List::len),
            Which::Deny => access.denied().len(),
        };
        Ok(ListChanged { added: done.added.len(), removed: done.removed.len(), total })
    }
}
