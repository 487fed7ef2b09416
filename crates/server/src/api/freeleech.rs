//! `/freeleech`: what transfer costs everybody, and tokens by which a member downloads a torrent
//! for free.
//!
//! What a torrent or a member is spared is said with the torrent (`pricing`) and with the member
//! (`free_leech`).

#![expect(unused_qualifications, reason = "the macro of the document writes them")]

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use peerage_proto::InfoHash;
use peerage_sql::{Edit, TokenEntry, TorrentEntry};
use peerage_tracker::private::{MemberId, Private, Token, TorrentId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use super::asks::Ask;
use super::body::Object;
use super::document::HashText;
use super::ours::{self, PricingName, Purpose, check_items, part};
use super::refused::{BodyRefusals, Conflicting, Refusals, Refused, Unprocessable};
use super::torrents::hash;
use super::users::NameInPath;
use super::{Api, Session, body};
use crate::changed::Patch;
use crate::members::tokens_of;
use crate::private::Tables;

/// A member and a torrent in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct TokenInPath {
    /// The member's name.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,190}$")]
    name: String,
    /// 40 hex digits (v1) or 64 (v2).
    #[param(pattern = "^[0-9a-fA-F]{40}([0-9a-fA-F]{24})?$")]
    info_hash: String,
}

/// What transfer costs and earns everybody, whatever is said of single torrents and members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Freeleech {
    /// The most that any torrent's transfer costs.
    pricing: PricingName,
    /// Whether all uploads count twice.
    double_upload: bool,
}

/// What transfer is to cost and earn everybody. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreeleechWish {
    /// The most that any torrent's transfer costs: `free` makes all of them free.
    pricing: Option<PricingName>,
    /// Whether all uploads count twice.
    double_upload: Option<bool>,
}

/// A member's right to download a torrent for free.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenOf {
    /// In 40 hex digits.
    info_hash: String,
    /// What the torrent is called.
    name: String,
    /// Bytes that it made free, but for what was not yet written.
    downloaded: u64,
    /// Whether it is used up, because the download was completed.
    used_up: bool,
    /// When it was given, in seconds since the UNIX epoch.
    created_at_secs: u64,
}

/// The tokens of a member.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensOf {
    /// In the order of their torrents, at most 1000.
    tokens: Vec<TokenOf>,
}

/// A member, and a torrent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenName {
    /// The member's name.
    user: String,
    /// The torrent.
    #[schema(value_type = HashText)]
    info_hash: String,
}

/// Tokens that are given, and tokens that are taken back. At most 1000 together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensChange {
    /// Also where the last is used up.
    #[serde(default)]
    #[schema(value_type = Vec<TokenName>)]
    put: Vec<Object<TokenName>>,
    /// Those that are not there are passed over.
    #[serde(default)]
    #[schema(value_type = Vec<TokenName>)]
    remove: Vec<Object<TokenName>>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensChanged {
    /// Tokens that are there.
    put: usize,
    /// Tokens that were taken back.
    removed: usize,
}

/// What transfer costs everybody.
#[utoipa::path(
    get,
    path = "/api/v1/freeleech",
    operation_id = "show_freeleech",
    tag = "freeleech",
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "What is in force", body = Freeleech),
        Refusals, Conflicting,
    ),
)]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<Freeleech>, Refused> {
    api.freeleech().map(Json)
}

/// Changes what transfer costs everybody, from the next announces on. Kept over a restart, as the
/// settings `private.pricing` and `private.double_upload` are.
#[utoipa::path(
    put,
    path = "/api/v1/freeleech",
    operation_id = "put_freeleech",
    tag = "freeleech",
    security(("token" = ["operate"])),
    request_body(content = FreeleechWish, example = json!({"pricing": "free"})),
    responses(
        (status = 200, description = "What is in force", body = Freeleech),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<Freeleech>, Refused> {
    let wish: FreeleechWish = body::json(request, ours::BODY_BYTES_MAX).await?;
    api.freeleech()?;
    let mut patch = Patch::new();
    if let Some(pricing) = wish.pricing {
        patch.insert("private.pricing".into(), json!(pricing));
    }
    if let Some(double_upload) = wish.double_upload {
        patch.insert("private.double_upload".into(), json!(double_upload));
    }
    if !patch.is_empty() {
        let by = session.name();
        api.ask(|answer| Ask::Settings { patch, by, answer }).await?;
    }
    api.freeleech().map(Json)
}

impl Api {
    fn freeleech(&self) -> Result<Freeleech, Refused> {
        let terms = self.source.tracker.private().map(Private::terms);
        let terms = terms.ok_or_else(|| Refused::not_here("the tracker is open"))?;
        Ok(Freeleech { pricing: terms.pricing.into(), double_upload: terms.double_upload })
    }
}

/// The tokens of a member.
#[utoipa::path(
    get,
    path = "/api/v1/users/{name}/freeleech",
    operation_id = "list_freeleech",
    tag = "freeleech",
    security(("token" = ["read"])),
    params(NameInPath),
    responses((status = 200, description = "The tokens", body = TokensOf), Refusals, Conflicting),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<TokensOf>, Refused> {
    let name = part(name)?;
    let tokens = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let own = tables.own();
        let failed = |error| ours::refused(error, "name");
        let user = own.member_by_name(&name).await.map_err(failed)?;
        let user = user.ok_or_else(|| Refused::not_found("there is no such user"))?;
        let found = tokens_of(own, user.member.id).await.map_err(failed)?;
        let token = |(token, torrent): (TokenEntry, TorrentEntry)| TokenOf {
            info_hash: torrent.torrent.info_hash.to_string(),
            name: torrent.name,
            downloaded: token.downloaded,
            used_up: token.expired,
            created_at_secs: token.created_at_secs,
        };
        Ok(TokensOf { tokens: found.into_iter().map(token).collect() })
    });
    tokens.await.map(Json)
}

/// Gives a member a token for a torrent, also where the last is used up.
#[utoipa::path(
    put,
    path = "/api/v1/users/{name}/freeleech/{info_hash}",
    operation_id = "put_freeleech_token",
    tag = "freeleech",
    security(("token" = ["operate"])),
    params(TokenInPath),
    responses(
        (status = 204, description = "It is there"),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn give(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Refused> {
    change_one(&api, &session, part(path)?, Edit::PutToken).await
}

/// Takes a token back.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{name}/freeleech/{info_hash}",
    operation_id = "remove_freeleech_token",
    tag = "freeleech",
    security(("token" = ["operate"])),
    params(TokenInPath),
    responses(
        (status = 204, description = "It is gone"),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Refused> {
    change_one(&api, &session, part(path)?, Edit::RemoveToken).await
}

async fn change_one(
    api: &Api,
    session: &Session,
    (name, hex): (String, String),
    edit: fn(Token) -> Edit,
) -> Result<StatusCode, Refused> {
    let (hash, by) = (hash(&hex, "info_hash")?, session.name());
    let done = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let known = Known::of(&tables, std::slice::from_ref(&name), &[hash]).await?;
        let token = known.token(&name, &hash).map_err(|missing| {
            Refused::not_found(match missing {
                Missing::User => "there is no such user",
                Missing::Torrent => "there is no such torrent",
            })
        })?;
        let edit = edit(token);
        let is_given = matches!(edit, Edit::PutToken(_));
        let edited = tables.edit(vec![edit]).await;
        let edited = edited.map_err(|refused| ours::refused(refused.error, "info_hash"))?;
        if !is_given && edited.done == [0] {
            return Err(Refused::not_found("there is no such token"));
        }
        let what = if is_given { "given to" } else { "taken from" };
        info!("freeleech token for {hash} {what} {name:?} by {by}");
        Ok(StatusCode::NO_CONTENT)
    });
    done.await
}

/// Gives tokens and takes tokens back, all that are named or none of them.
#[utoipa::path(
    post,
    path = "/api/v1/freeleech/tokens",
    operation_id = "change_freeleech_tokens",
    tag = "freeleech",
    security(("token" = ["operate"])),
    request_body(
        content = TokensChange,
        example = json!({
            "put": [{"user": "ann", "info_hash": "0123456789abcdef0123456789abcdef01234567"}],
            "remove": [],
        }),
    ),
    responses(
        (status = 200, description = "What was changed", body = TokensChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<TokensChanged>, Refused> {
    let TokensChange { put, remove } = body::json(request, ours::BODY_BYTES_MAX).await?;
    check_items(put.len() + remove.len(), "put")?;
    let read =
        |names: Vec<Object<TokenName>>, array: &str| -> Result<Vec<(String, InfoHash)>, Refused> {
            let names = names.into_iter().enumerate();
            let read = names.map(|(index, Object(TokenName { user, info_hash }))| {
                Ok((user, hash(&info_hash, &format!("{array}[{index}].info_hash"))?))
            });
            read.collect()
        };
    let (put, remove, by) = (read(put, "put")?, read(remove, "remove")?, session.name());
    let changed = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let all = || put.iter().chain(&remove);
        let users: Vec<String> = all().map(|(user, _)| user.clone()).collect();
        let hashes: Vec<InfoHash> = all().map(|(_, hash)| *hash).collect();
        let known = Known::of(&tables, &users, &hashes).await?;
        // What is not there has no token either.
        let gone = remove.iter().filter_map(|(user, hash)| known.token(user, hash).ok());
        let mut edits: Vec<Edit> = gone.map(Edit::RemoveToken).collect();
        let removals = edits.len();
        for (index, (user, hash)) in put.iter().enumerate() {
            let token = known.token(user, hash).map_err(|missing| match missing {
                Missing::User => {
                    Refused::wrong("there is no such user", format!("put[{index}].user"))
                }
                Missing::Torrent => {
                    Refused::wrong("there is no such torrent", format!("put[{index}].info_hash"))
                }
            })?;
            edits.push(Edit::PutToken(token));
        }
        if edits.is_empty() {
            return Ok(TokensChanged { put: 0, removed: 0 });
        }
        let edited = tables.edit(edits).await;
        let edited = edited.map_err(|refused| ours::refused(refused.error, "put"))?;
        let removed = edited.done.iter().take(removals).filter(|rows| **rows > 0).count();
        let put = put.len();
        info!("freeleech tokens: {put} given, {removed} taken back by {by}");
        Ok(TokensChanged { put, removed })
    });
    changed.await.map(Json)
}

/// The members and torrents that a request names.
struct Known {
    users: BTreeMap<String, MemberId>,
    torrents: BTreeMap<InfoHash, TorrentId>,
}

/// What there is not.
enum Missing {
    User,
    Torrent,
}

impl Known {
    async fn of(tables: &Tables, users: &[String], hashes: &[InfoHash]) -> Result<Self, Refused> {
        let own = tables.own();
        let users = own.members_named(users).await;
        let users = users.map_err(|error| ours::refused(error, "user"))?.into_iter();
        let torrents = own.torrents_of(hashes).await;
        let torrents = torrents.map_err(|error| ours::refused(error, "info_hash"))?.into_iter();
        Ok(Self {
            users: users.map(|entry| (entry.name, entry.member.id)).collect(),
            torrents: torrents.map(|entry| (entry.torrent.info_hash, entry.torrent.id)).collect(),
        })
    }

    fn token(&self, user: &str, hash: &InfoHash) -> Result<Token, Missing> {
        let member = *self.users.get(user).ok_or(Missing::User)?;
        let torrent = *self.torrents.get(hash).ok_or(Missing::Torrent)?;
        Ok(Token { member, torrent })
    }
}
