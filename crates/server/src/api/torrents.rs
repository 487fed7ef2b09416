//! `/torrents`: what is registered at a private tracker, known by the info_hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use peerage_proto::InfoHash;
use peerage_sql::{Edit, NotEdited, TorrentEntry};
use peerage_tracker::AccessList;
use peerage_tracker::private::{MemberId, TorrentId};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::body::Object;
use super::document::{HashInPath, HashText};
use super::ours::{self, Page, PricingName, Purpose, check_items, part};
use super::refused::{BodyRefusals, Conflicting, Refusals, Refused, Unprocessable};
use super::{Api, Session, body};
use crate::members::change::{TorrentChange, new_torrent};
use crate::members::metainfo;
use crate::private::Tables;

/// Most bytes of a `.torrent` file that is sent: the command line takes larger ones.
pub(super) const FILE_BYTES_MAX: usize = 16 << 20;

/// Most members that are named as a torrent's peers.
const PEERS_MAX: usize = 1000;

/// A registered torrent.
#[derive(Serialize, ToSchema)]
pub(crate) struct Torrent {
    /// By which the tables know it. Never given out twice.
    #[schema(value_type = u64)]
    id: u32,
    /// In 40 hex digits.
    info_hash: String,
    /// What it is called in lists.
    name: String,
    /// What its transfer costs and earns. `private.pricing` may make it cost less.
    pricing: PricingName,
    /// Whether uploads count twice.
    double_upload: bool,
    /// Peers with nothing left, now.
    seeders: u32,
    /// All other peers, now.
    leechers: u32,
    /// How often it was completed, but for what was not yet written.
    #[schema(value_type = u64)]
    completed: u32,
    /// Bytes credited less bytes charged, but for what was not yet written.
    balance: i64,
    /// When it was registered, in seconds since the UNIX epoch.
    created_at_secs: u64,
}

/// A registered torrent, and who is at it.
#[derive(Serialize, ToSchema)]
pub(crate) struct TorrentAndPeers {
    /// The torrent.
    torrent: Torrent,
    /// Ids of members who seed it, once for each peer; at most 1000.
    #[schema(value_type = Vec<u64>)]
    seeding: Vec<u32>,
    /// Ids of members who download it, once for each peer; at most 1000.
    #[schema(value_type = Vec<u64>)]
    leeching: Vec<u32>,
    /// Ids of members with a token for it; at most 1000.
    #[schema(value_type = Vec<u64>)]
    tokens: Vec<u32>,
}

/// A part of the list of torrents.
#[derive(Serialize, ToSchema)]
pub(crate) struct TorrentPage {
    /// In the order in which they were registered.
    torrents: Vec<Torrent>,
    /// What to send as `after` to go on; null at the end.
    #[schema(required, value_type = Option<u64>)]
    next: Option<u32>,
}

/// What a torrent is to be. What is left out stays as it is; of a new one everything counts once.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TorrentWish {
    /// What it is called in lists; the info_hash where a new one has no name. At most 190 bytes.
    #[schema(min_length = 1, max_length = 190)]
    name: Option<String>,
    /// What its transfer costs and earns.
    pricing: Option<PricingName>,
    /// Whether uploads count twice.
    double_upload: Option<bool>,
}

/// A torrent by info_hash, and what it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HashedWish {
    /// Which.
    #[schema(value_type = HashText)]
    info_hash: String,
    /// What it is to be.
    #[serde(default)]
    #[schema(value_type = TorrentWish)]
    set: Object<TorrentWish>,
}

/// Torrents that are to be registered, and torrents that are not. At most 1000 together, none
/// twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TorrentsChange {
    /// Registered where they are not, changed where they are.
    #[serde(default)]
    #[schema(value_type = Vec<HashedWish>)]
    put: Vec<Object<HashedWish>>,
    /// Info_hashes. Those that are not registered are passed over.
    #[serde(default)]
    #[schema(value_type = Vec<HashText>)]
    remove: Vec<String>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct TorrentsChanged {
    /// Torrents that were registered.
    added: usize,
    /// Torrents that are other than before.
    changed: usize,
    /// Torrents that are gone.
    removed: usize,
}

/// The bytes of a `.torrent` file (BEP 3, BEP 52), at most 16 MiB.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct TorrentFile(Vec<u8>);

impl From<TorrentWish> for TorrentChange {
    fn from(wish: TorrentWish) -> Self {
        let TorrentWish { name, pricing, double_upload } = wish;
        Self { name, pricing: pricing.map(Into::into), double_upload }
    }
}

impl Torrent {
    fn new(tables: &Tables, entry: &TorrentEntry) -> Self {
        let TorrentEntry { torrent, name, created_at_secs, .. } = entry;
        let (seeders, leechers) = tables.private().counts_of(torrent.id);
        Self {
            id: torrent.id.0,
            info_hash: torrent.info_hash.to_string(),
            name: name.clone(),
            pricing: torrent.pricing.into(),
            double_upload: torrent.double_upload,
            seeders,
            leechers,
            completed: torrent.completed,
            balance: torrent.balance,
            created_at_secs: *created_at_secs,
        }
    }
}

/// Changes of torrents that are to be made together.
struct Plan {
    /// Which, what a new one is called, and what each is to be.
    put: Vec<(InfoHash, String, TorrentChange)>,
    remove: Vec<InfoHash>,
    /// What a field of an entry of `put` is called.
    field: fn(usize, &str) -> String,
}

/// What became of a [`Plan`].
#[derive(Default)]
struct Done {
    added: usize,
    changed: usize,
    removed: usize,
    /// The torrents of `put`.
    torrents: Vec<TorrentEntry>,
}

impl Plan {
    /// Makes all of the changes or none.
    async fn make(self, tables: &Tables) -> Result<Done, Refused> {
        let hashes: Vec<InfoHash> =
            self.put.iter().map(|(hash, ..)| *hash).chain(self.remove.iter().copied()).collect();
        let found = tables.own().torrents_of(&hashes).await;
        let found = found.map_err(|error| ours::refused(error, "put"))?.into_iter();
        let mut found: BTreeMap<_, _> =
            found.map(|entry| (entry.torrent.info_hash, entry)).collect();
        let gone = self.remove.iter().filter_map(|hash| found.remove(hash));
        let mut edits: Vec<_> = gone.map(|entry| Edit::RemoveTorrent(entry.torrent.id)).collect();
        let removed = edits.len();
        let (mut done, mut edited) = (Done { removed, ..Done::default() }, Vec::new());
        for (index, (hash, name, change)) in self.put.iter().enumerate() {
            let before = found.remove(hash);
            let mut entry = before.clone().unwrap_or_else(|| new_torrent(*hash, name));
            change.make(&mut entry);
            if before.as_ref() != Some(&entry) {
                done.added += usize::from(before.is_none());
                done.changed += usize::from(before.is_some());
                edits.push(Edit::PutTorrent(entry.clone()));
                edited.push(index);
            }
            done.torrents.push(entry);
        }
        if edits.is_empty() {
            return Ok(done);
        }
        let refused = |NotEdited { index, error }| {
            let item = index.checked_sub(removed).and_then(|index| edited.get(index));
            ours::refused(error, item.map_or("remove".into(), |&item| (self.field)(item, "name")))
        };
        let ids = tables.edit(edits).await.map_err(refused)?.done;
        for (&index, &id) in edited.iter().zip(ids.iter().skip(removed)) {
            done.torrents[index].torrent.id = TorrentId(id);
        }
        Ok(done)
    }

    /// Makes the one change there is.
    async fn make_one(self, tables: &Tables, by: &str) -> Result<(StatusCode, Torrent), Refused> {
        let Done { added, changed, torrents, .. } = self.make(tables).await?;
        let entry = torrents.first().ok_or_else(unknown)?;
        if added + changed > 0 {
            let what = if added > 0 { "registered" } else { "changed" };
            info!("torrent {} {what} by {by}", entry.torrent.info_hash);
        }
        let status = if added > 0 { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Torrent::new(tables, entry)))
    }
}

fn unknown() -> Refused {
    Refused::not_found("there is no such torrent")
}

/// An info_hash as it is sent; `field` is where.
pub(super) fn hash(hex: &str, field: &str) -> Result<InfoHash, Refused> {
    AccessList::parse_hash(hex)
        .ok_or_else(|| Refused::wrong("an info_hash has 40 or 64 hex digits", field))
}

/// A part of the list of torrents.
#[utoipa::path(
    get,
    path = "/api/v1/torrents",
    operation_id = "list_torrents",
    tag = "torrents",
    security(("token" = ["read"])),
    params(Page),
    responses(
        (status = 200, description = "A part of it", body = TorrentPage),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<TorrentPage>, Refused> {
    let asked = Page::asked(page)?;
    let page = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let (own, after) = (tables.own(), TorrentId(asked.after));
        let found = match asked.like.as_str() {
            "" => own.torrents(after, asked.limit).await,
            like => own.torrents_like(like, after, asked.limit).await,
        };
        let found = found.map_err(|error| ours::refused(error, "like"))?;
        let next = found.last().filter(|_| found.len() == asked.limit);
        Ok(TorrentPage {
            next: next.map(|entry| entry.torrent.id.0),
            torrents: found.iter().map(|entry| Torrent::new(&tables, entry)).collect(),
        })
    });
    page.await.map(Json)
}

/// A torrent, and who is at it.
#[utoipa::path(
    get,
    path = "/api/v1/torrents/{info_hash}",
    operation_id = "show_torrent",
    tag = "torrents",
    security(("token" = ["read"])),
    params(HashInPath),
    responses(
        (status = 200, description = "The torrent", body = TorrentAndPeers),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<TorrentAndPeers>, Refused> {
    let hash = hash(&part(path)?, "info_hash")?;
    let torrent = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let found = tables.own().torrent(hash).await;
        let entry = found.map_err(|error| ours::refused(error, "info_hash"))?;
        let entry = entry.ok_or_else(unknown)?;
        let state = tables.private().torrent(&hash);
        let ids = |members: Vec<MemberId>| {
            members.into_iter().take(PEERS_MAX).map(|id| id.0).collect::<Vec<_>>()
        };
        let (seeding, leeching, tokens) = state.map_or_else(Default::default, |state| {
            (ids(state.seeding), ids(state.leeching), ids(state.tokens))
        });
        Ok(TorrentAndPeers { torrent: Torrent::new(&tables, &entry), seeding, leeching, tokens })
    });
    torrent.await.map(Json)
}

/// Registers a torrent, or changes one.
#[utoipa::path(
    put,
    path = "/api/v1/torrents/{info_hash}",
    operation_id = "put_torrent",
    tag = "torrents",
    security(("token" = ["operate"])),
    params(HashInPath),
    request_body(content = TorrentWish, example = json!({"name": "a file", "pricing": "free"})),
    responses(
        (status = 200, description = "The torrent, which was registered", body = Torrent),
        (status = 201, description = "The torrent, which is new", body = Torrent),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Json<Torrent>), Refused> {
    let hash = hash(&part(path)?, "info_hash")?;
    let wish: TorrentWish = body::json(request, ours::BODY_BYTES_MAX).await?;
    put_one(&api, &session, hash, hash.to_string(), wish.into()).await
}

/// Registers the torrent of a `.torrent` file, by its own name. One that is registered stays as it
/// is.
#[utoipa::path(
    post,
    path = "/api/v1/torrents/file",
    operation_id = "put_torrent_file",
    tag = "torrents",
    security(("token" = ["operate"])),
    request_body(content = TorrentFile, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The torrent, which was registered", body = Torrent),
        (status = 201, description = "The torrent, which is new", body = Torrent),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn put_file(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<(StatusCode, Json<Torrent>), Refused> {
    let file = body::bytes(request, FILE_BYTES_MAX).await?;
    let found = metainfo::read(&file).ok_or_else(|| Refused::wrong("it is no torrent", "body"))?;
    let hash = InfoHash(found.info_hash);
    let name = if found.name.is_empty() { hash.to_string() } else { found.name };
    put_one(&api, &session, hash, name, TorrentChange::default()).await
}

async fn put_one(
    api: &Api,
    session: &Session,
    hash: InfoHash,
    name: String,
    change: TorrentChange,
) -> Result<(StatusCode, Json<Torrent>), Refused> {
    let by = session.name();
    let torrent = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |_: usize, field: &str| field.to_owned();
        let plan = Plan { put: vec![(hash, name, change)], remove: Vec::new(), field };
        plan.make_one(&tables, &by).await
    });
    torrent.await.map(|(status, torrent)| (status, Json(torrent)))
}

/// Takes a torrent out, with its peers and all that hangs on it.
#[utoipa::path(
    delete,
    path = "/api/v1/torrents/{info_hash}",
    operation_id = "remove_torrent",
    tag = "torrents",
    security(("token" = ["operate"])),
    params(HashInPath),
    responses(
        (status = 204, description = "It is gone"),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refused> {
    let (hash, by) = (hash(&part(path)?, "info_hash")?, session.name());
    let gone = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |_: usize, field: &str| field.to_owned();
        match (Plan { put: Vec::new(), remove: vec![hash], field }).make(&tables).await?.removed {
            0 => Err(unknown()),
            _ => {
                info!("torrent {hash} removed by {by}");
                Ok(StatusCode::NO_CONTENT)
            }
        }
    });
    gone.await
}

/// Registers, changes and takes out torrents, all that are named or none of them.
#[utoipa::path(
    post,
    path = "/api/v1/torrents",
    operation_id = "change_torrents",
    tag = "torrents",
    security(("token" = ["operate"])),
    request_body(
        content = TorrentsChange,
        example = json!({
            "put": [{
                "info_hash": "0123456789abcdef0123456789abcdef01234567",
                "set": {"name": "a file", "pricing": "free"},
            }],
            "remove": [],
        }),
    ),
    responses(
        (status = 200, description = "What was changed", body = TorrentsChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<TorrentsChanged>, Refused> {
    let TorrentsChange { put, remove } = body::json(request, ours::BODY_BYTES_MAX).await?;
    check_items(put.len() + remove.len(), "put")?;
    let mut seen = BTreeSet::new();
    let mut read = |hex: &str, field: String| {
        let hash = hash(hex, &field)?;
        match seen.insert(hash) {
            true => Ok(hash),
            false => Err(Refused::wrong(format!("{hash} is there twice"), field)),
        }
    };
    let mut plan = Plan {
        put: Vec::with_capacity(put.len()),
        remove: Vec::with_capacity(remove.len()),
        field: |index, field| format!("put[{index}].set.{field}"),
    };
    for (index, Object(HashedWish { info_hash, set })) in put.into_iter().enumerate() {
        let hash = read(&info_hash, format!("put[{index}].info_hash"))?;
        plan.put.push((hash, hash.to_string(), set.0.into()));
    }
    for (index, hex) in remove.iter().enumerate() {
        plan.remove.push(read(hex, format!("remove[{index}]"))?);
    }
    let by = session.name();
    let changed = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let Done { added, changed, removed, .. } = plan.make(&tables).await?;
        if added + changed + removed > 0 {
            info!("torrents: {added} registered, {changed} changed, {removed} removed by {by}");
        }
        Ok(TorrentsChanged { added, changed, removed })
    });
    changed.await.map(Json)
}
