//! `/clients`: which programs may announce at a private tracker, by the start of their peer_ids.

#![expect(unused_qualifications, reason = "the macro of the document writes them")]

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use peerage_sql::{Access, ClientEntry, Edit, NotEdited};
use peerage_tracker::private;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use super::body::Object;
use super::ours::{self, Purpose, check_items, part};
use super::refused::{BodyRefusals, Conflicting, Refusals, Refused, Unprocessable};
use super::{Api, Session, body};
use crate::private::Tables;

/// A prefix in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct PrefixInPath {
    /// The start of a peer_id: 1 to 20 printable characters, such as `-TR4`.
    #[param(pattern = "^[ -~]{1,20}$")]
    prefix: String,
}

/// Whether a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessName {
    /// It is, and with it only those that are on this list as well.
    Allow,
    /// It is kept out.
    Deny,
}

/// A client that is on one of the lists.
#[derive(Serialize, ToSchema)]
pub(crate) struct Client {
    /// The start of its peer_id. Bytes that cannot be printed are escaped.
    prefix: String,
    /// What it is called.
    name: String,
    /// Which list it is on.
    access: AccessName,
}

/// Both lists.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientList {
    /// In the order of their prefixes, at most 10,000.
    clients: Vec<Client>,
}

/// What a client is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientWish {
    /// What it is called: at most 190 bytes, on one line.
    #[schema(min_length = 1, max_length = 190)]
    name: String,
    /// On which list it is to be.
    access: AccessName,
}

/// A client by the start of its peer_id, and what it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrefixedWish {
    /// The start of its peer_id.
    #[schema(pattern = "^[ -~]{1,20}$")]
    prefix: String,
    /// What it is to be.
    #[schema(value_type = ClientWish)]
    set: Object<ClientWish>,
}

/// Clients that are to be on a list, and clients that are to be on none. At most 1000 together,
/// none twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientsChange {
    /// Put on a list, and taken off the other.
    #[serde(default)]
    #[schema(value_type = Vec<PrefixedWish>)]
    put: Vec<Object<PrefixedWish>>,
    /// The starts of peer_ids. Those that are on no list are passed over.
    #[serde(default)]
    remove: Vec<String>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientsChanged {
    /// Clients that are on another list than before, or called otherwise.
    put: usize,
    /// Clients that are on no list any more.
    removed: usize,
}

impl From<Access> for AccessName {
    fn from(access: Access) -> Self {
        match access {
            Access::Allow => Self::Allow,
            Access::Deny => Self::Deny,
        }
    }
}

impl From<&ClientEntry> for Client {
    fn from(entry: &ClientEntry) -> Self {
        let ClientEntry { client, access } = entry;
        let prefix = match std::str::from_utf8(&client.prefix) {
            Ok(text) if is_printable(text) => text.to_owned(),
            _ => client.prefix.escape_ascii().to_string(),
        };
        Self { prefix, name: client.name.clone(), access: (*access).into() }
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn entry(prefix: String, wish: ClientWish) -> ClientEntry {
    let access = match wish.access {
        AccessName::Allow => Access::Allow,
        AccessName::Deny => Access::Deny,
    };
    let client = private::Client { prefix: prefix.into_bytes(), name: wish.name };
    ClientEntry { client, access }
}

fn check_prefix(prefix: &str, field: &str) -> Result<(), Refused> {
    let is_right = (1..=20).contains(&prefix.len()) && is_printable(prefix);
    let error = "the start of a peer_id has 1 to 20 printable characters";
    is_right.then_some(()).ok_or_else(|| Refused::wrong(error, field))
}

/// Makes changes, all of them or none. Those that change nothing are left out.
async fn make(
    tables: &Tables,
    put: Vec<ClientEntry>,
    remove: Vec<String>,
    field: fn(usize) -> String,
) -> Result<ClientsChanged, Refused> {
    let known = tables.own().clients().await.map_err(|error| ours::refused(error, "put"))?;
    let is_there = |prefix: &[u8]| known.iter().any(|entry| entry.client.prefix == prefix);
    let gone = remove.into_iter().filter(|prefix| is_there(prefix.as_bytes()));
    let mut edits: Vec<_> = gone.map(|prefix| Edit::RemoveClient(prefix.into_bytes())).collect();
    let removed = edits.len();
    let new = put.into_iter().enumerate().filter(|(_, entry)| !known.contains(entry));
    let (items, new): (Vec<usize>, Vec<ClientEntry>) = new.unzip();
    edits.extend(new.into_iter().map(Edit::PutClient));
    if edits.is_empty() {
        return Ok(ClientsChanged { put: 0, removed: 0 });
    }
    let refused = |NotEdited { index, error }| {
        let item = index.checked_sub(removed).and_then(|index| items.get(index));
        ours::refused(error, item.map_or("remove".into(), |&item| field(item)))
    };
    tables.edit(edits).await.map_err(refused)?;
    Ok(ClientsChanged { put: items.len(), removed })
}

/// Both lists of clients. Where any is allowed, no others are let in.
#[utoipa::path(
    get,
    path = "/api/v1/clients",
    operation_id = "list_clients",
    tag = "clients",
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "Both lists", body = ClientList),
        Refusals, Conflicting,
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<ClientList>, Refused> {
    let list = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let clients = tables.own().clients().await;
        let clients = clients.map_err(|error| ours::refused(error, "prefix"))?;
        Ok(ClientList { clients: clients.iter().map(Client::from).collect() })
    });
    list.await.map(Json)
}

/// Puts a client on a list, and takes it off the other.
#[utoipa::path(
    put,
    path = "/api/v1/clients/{prefix}",
    operation_id = "put_client",
    tag = "clients",
    security(("token" = ["operate"])),
    params(PrefixInPath),
    request_body(
        content = ClientWish,
        example = json!({"name": "Transmission 4", "access": "allow"}),
    ),
    responses(
        (status = 200, description = "It is on the list", body = Client),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    prefix: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Client>, Refused> {
    let (prefix, by) = (part(prefix)?, session.name());
    check_prefix(&prefix, "prefix")?;
    let entry = entry(prefix, body::json(request, ours::BODY_BYTES_MAX).await?);
    let client = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let client = Client::from(&entry);
        let field = |_| "name".to_owned();
        if make(&tables, vec![entry], Vec::new(), field).await?.put > 0 {
            let access = client.access;
            info!("client {:?} ({}): {access:?}, by {by}", client.prefix, client.name);
        }
        Ok(client)
    });
    client.await.map(Json)
}

/// Takes a client off its list.
#[utoipa::path(
    delete,
    path = "/api/v1/clients/{prefix}",
    operation_id = "remove_client",
    tag = "clients",
    security(("token" = ["operate"])),
    params(PrefixInPath),
    responses(
        (status = 204, description = "It is on no list"),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    prefix: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refused> {
    let (prefix, by) = (part(prefix)?, session.name());
    check_prefix(&prefix, "prefix")?;
    let gone = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |_| "prefix".to_owned();
        match make(&tables, Vec::new(), vec![prefix.clone()], field).await?.removed {
            0 => Err(Refused::not_found("it is on no list")),
            _ => {
                info!("client {prefix:?} is on no list any more, by {by}");
                Ok(StatusCode::NO_CONTENT)
            }
        }
    });
    gone.await
}

/// Puts clients on lists and takes others off, all that are named or none of them.
#[utoipa::path(
    post,
    path = "/api/v1/clients",
    operation_id = "change_clients",
    tag = "clients",
    security(("token" = ["operate"])),
    request_body(
        content = ClientsChange,
        example = json!({
            "put": [{"prefix": "-XX", "set": {"name": "a cheat", "access": "deny"}}],
            "remove": [],
        }),
    ),
    responses(
        (status = 200, description = "What was changed", body = ClientsChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<ClientsChanged>, Refused> {
    let ClientsChange { put, remove } = body::json(request, ours::BODY_BYTES_MAX).await?;
    check_items(put.len() + remove.len(), "put")?;
    let mut seen = BTreeSet::new();
    let put_fields = put.iter().enumerate();
    let put_fields =
        put_fields.map(|(at, Object(wish))| (&wish.prefix, format!("put[{at}].prefix")));
    let gone_fields = remove.iter().enumerate();
    let gone_fields = gone_fields.map(|(at, prefix)| (prefix, format!("remove[{at}]")));
    for (prefix, field) in put_fields.chain(gone_fields) {
        check_prefix(prefix, &field)?;
        if !seen.insert(prefix.clone()) {
            return Err(Refused::wrong(format!("{prefix:?} is there twice"), field));
        }
    }
    let put = put.into_iter().map(|Object(wish)| entry(wish.prefix, wish.set.0)).collect();
    let by = session.name();
    let changed = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |index| format!("put[{index}].set.name");
        let changed = make(&tables, put, remove, field).await?;
        if changed.put + changed.removed > 0 {
            let ClientsChanged { put, removed } = changed;
            info!("clients: {put} put on a list, {removed} taken off by {by}");
        }
        Ok(changed)
    });
    changed.await.map(Json)
}
