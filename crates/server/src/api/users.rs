//! `/users`: the members of a private tracker.
//!
//! A member is known by the name. There are no groups: what a group of a site allows is what each
//! of its members is allowed, and one request gives it to a thousand of them.

#![expect(unused_qualifications, reason = "the macro of the document writes them")]

mod plan;

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use peerage_sql::MemberEntry;
use peerage_tracker::private::{MemberId, MemberState};
use serde::{Deserialize, Deserializer, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use super::body::Object;
use super::ours::{self, Page, Purpose, check_items, part};
use super::refused::{BodyRefusals, Conflicting, Refusals, Refused, Unprocessable};
use super::{Api, Session, body};
use crate::members::change::{Key, UserChange};
use crate::private::Tables;
use crate::tokens::Scope;
use plan::{Done, Plan};

/// A name in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct NameInPath {
    /// The member's name: 1 to 190 bytes, on one line.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,190}$")]
    name: String,
}

/// A member. Sums have what is not yet written; while it is being written, a moment, they may be
/// without it.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    /// By which the tables know it. Never given out twice.
    #[schema(value_type = u64)]
    id: u32,
    /// By which everybody knows it.
    name: String,
    /// By which its clients announce. Null to who may not see it: a token of scope admin may, and
    /// whoever has just made it.
    #[schema(required)]
    passkey: Option<String>,
    /// Whether the member may announce at all.
    enabled: bool,
    /// Whether the member may download.
    can_leech: bool,
    /// Whether the member's address is kept out of the tables.
    protected: bool,
    /// Whether the member's downloads never count.
    free_leech: bool,
    /// Whether the member's uploads count twice.
    double_upload: bool,
    /// Most torrents downloaded at once; null for no bound.
    #[schema(required, value_type = Option<u64>)]
    download_slots: Option<u32>,
    /// Bytes credited.
    uploaded: u64,
    /// Bytes charged.
    downloaded: u64,
    /// Peers with nothing left, now.
    seeding: u32,
    /// All other peers, now.
    leeching: u32,
    /// When it was made, in seconds since the UNIX epoch.
    created_at_secs: u64,
}

/// A part of the list of members.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserPage {
    /// In the order in which they were made.
    users: Vec<User>,
    /// What to send as `after` to go on; null at the end.
    #[schema(required, value_type = Option<u64>)]
    next: Option<u32>,
}

/// What a member is to be. What is left out stays as it is; a new member may announce and
/// download, and nothing is special about it.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserWish {
    /// A new name.
    #[schema(min_length = 1, max_length = 190)]
    rename: Option<String>,
    /// 32 letters and digits, like no other's. Without it a new member gets one by chance.
    #[schema(pattern = "^[0-9a-zA-Z]{32}$")]
    passkey: Option<String>,
    /// Whether it is to get a new passkey by chance. Not along with `passkey`.
    #[serde(default)]
    new_passkey: bool,
    /// Whether the member may announce at all.
    enabled: Option<bool>,
    /// Whether the member may download.
    can_leech: Option<bool>,
    /// Whether the member's address is kept out of the tables.
    protected: Option<bool>,
    /// Whether the member's downloads never count.
    free_leech: Option<bool>,
    /// Whether the member's uploads count twice.
    double_upload: Option<bool>,
    /// Most torrents downloaded at once; null for no bound.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>, maximum = 4294967295_u64)]
    download_slots: Option<Option<u32>>,
}

/// A member by name, and what it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedWish {
    /// The member's name.
    #[schema(min_length = 1, max_length = 190)]
    name: String,
    /// What it is to be.
    #[serde(default)]
    #[schema(value_type = UserWish)]
    set: Object<UserWish>,
}

/// Members that are to be there, and members that are not. At most 1000 together, none twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersChange {
    /// Made where they are not there, changed where they are.
    #[serde(default)]
    #[schema(value_type = Vec<NamedWish>)]
    put: Vec<Object<NamedWish>>,
    /// Names. Those that are not there are passed over.
    #[serde(default)]
    remove: Vec<String>,
}

/// The same for many members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersSet {
    /// One to 1000, none twice. All of them have to be there.
    #[schema(min_items = 1)]
    names: Vec<String>,
    /// What each is to be.
    #[schema(value_type = UserWish)]
    set: Object<UserWish>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsersChanged {
    /// Members that were made.
    added: usize,
    /// Members that are other than before.
    changed: usize,
    /// Members that are gone.
    removed: usize,
    /// Those with a passkey that they did not have before.
    passkeys: Vec<MadePasskey>,
}

/// A passkey that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadePasskey {
    /// Whose.
    name: String,
    /// By which its clients announce.
    passkey: String,
}

/// A field that was sent, null or not.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl UserWish {
    fn change(self) -> Result<UserChange, Refused> {
        let Self { rename, passkey, new_passkey, .. } = self;
        let passkey = match (passkey, new_passkey) {
            (Some(_), true) => {
                return Err(Refused::wrong("it cannot be both given and new", "new_passkey"));
            }
            (None, true) => Some(Key::Random),
            (passkey, false) => passkey.map(Key::Given),
        };
        Ok(UserChange {
            rename,
            passkey,
            enabled: self.enabled,
            can_leech: self.can_leech,
            protected: self.protected,
            free_leech: self.free_leech,
            double_upload: self.double_upload,
            download_slots: self.download_slots,
        })
    }
}

impl User {
    fn new(tables: &Tables, entry: &MemberEntry, is_shown: bool) -> Self {
        let MemberEntry { member, name, .. } = entry;
        let private = tables.private();
        let state = private.member_by_id(member.id);
        let (seeding, leeching) =
            state.map_or((0, 0), |MemberState { seeding, leeching, .. }| (seeding, leeching));
        let owed = private.owed_to(member.id);
        Self {
            id: member.id.0,
            name: name.clone(),
            passkey: is_shown.then(|| String::from_utf8_lossy(&member.passkey.0).into_owned()),
            enabled: entry.enabled,
            can_leech: member.can_leech,
            protected: member.protected,
            free_leech: member.free_leech,
            double_upload: member.double_upload,
            download_slots: member.download_slots,
            uploaded: entry.uploaded.saturating_add(owed.uploaded),
            downloaded: entry.downloaded.saturating_add(owed.downloaded),
            seeding,
            leeching,
            created_at_secs: entry.created_at_secs,
        }
    }
}

/// Names that are there once each, and few enough.
fn check_names<'a>(
    names: impl Iterator<Item = &'a String>,
    count: usize,
    field: &str,
) -> Result<(), Refused> {
    check_items(count, field)?;
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Refused::wrong(format!("{name:?} is there twice"), field));
        }
    }
    Ok(())
}

fn unknown() -> Refused {
    Refused::not_found("there is no such user")
}

/// A part of the list of members.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    operation_id = "list_users",
    tag = "members",
    security(("token" = ["read"])),
    params(Page),
    responses(
        (status = 200, description = "A part of it", body = UserPage),
        Refusals, Unprocessable, Conflicting,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<UserPage>, Refused> {
    let asked = Page::asked(page)?;
    let is_shown = session.0.scope == Scope::Admin;
    let page = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let (own, after) = (tables.own(), MemberId(asked.after));
        let found = match asked.like.as_str() {
            "" => own.members(after, asked.limit).await,
            like => own.members_like(like, after, asked.limit).await,
        };
        let found = found.map_err(|error| ours::refused(error, "like"))?;
        let next = found.last().filter(|_| found.len() == asked.limit);
        Ok(UserPage {
            next: next.map(|entry| entry.member.id.0),
            users: found.iter().map(|entry| User::new(&tables, entry, is_shown)).collect(),
        })
    });
    page.await.map(Json)
}

/// A member.
#[utoipa::path(
    get,
    path = "/api/v1/users/{name}",
    operation_id = "show_user",
    tag = "members",
    security(("token" = ["read"])),
    params(NameInPath),
    responses((status = 200, description = "The member", body = User), Refusals, Conflicting),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<User>, Refused> {
    let name = part(name)?;
    let is_shown = session.0.scope == Scope::Admin;
    let user = api.with_tables(Purpose::Look, async move |tables: Arc<Tables>| {
        let found = tables.own().member_by_name(&name).await;
        let entry = found.map_err(|error| ours::refused(error, "name"))?.ok_or_else(unknown)?;
        Ok(User::new(&tables, &entry, is_shown))
    });
    user.await.map(Json)
}

/// Makes a member, or changes one. The reply to who makes a passkey shows it.
#[utoipa::path(
    put,
    path = "/api/v1/users/{name}",
    operation_id = "put_user",
    tag = "members",
    security(("token" = ["operate"])),
    params(NameInPath),
    request_body(content = UserWish, example = json!({"can_leech": true, "download_slots": 5})),
    responses(
        (status = 200, description = "The member, who was there", body = User),
        (status = 201, description = "The member, who is new", body = User),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Json<User>), Refused> {
    let name = part(name)?;
    let wish: UserWish = body::json(request, ours::BODY_BYTES_MAX).await?;
    let (change, by) = (wish.change()?, session.name());
    let is_admin = session.0.scope == Scope::Admin;
    let user = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |_: usize, field: &str| field.to_owned();
        let put = vec![(name.clone(), change)];
        let plan = Plan { put, remove: Vec::new(), makes: true, field };
        let Done { added, changed, members, .. } = plan.make(&tables).await?;
        let (entry, is_new_key) = members.first().ok_or_else(unknown)?;
        if added + changed > 0 {
            let what = if added > 0 { "made" } else { "changed" };
            info!("user {name:?} {what} by {by}");
        }
        let user = User::new(&tables, entry, is_admin || *is_new_key);
        let status = if added > 0 { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Json(user)))
    });
    user.await
}

/// Removes a member with all that hangs on it.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{name}",
    operation_id = "remove_user",
    tag = "members",
    security(("token" = ["operate"])),
    params(NameInPath),
    responses((status = 204, description = "It is gone"), Refusals, Conflicting),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refused> {
    let (name, by) = (part(name)?, session.name());
    let gone = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let field = |_: usize, field: &str| field.to_owned();
        let plan = Plan { put: Vec::new(), remove: vec![name.clone()], makes: true, field };
        match plan.make(&tables).await?.removed {
            0 => Err(unknown()),
            _ => {
                info!("user {name:?} removed by {by}");
                Ok(StatusCode::NO_CONTENT)
            }
        }
    });
    gone.await
}

/// Makes, changes and removes members, all that are named or none of them.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    operation_id = "change_users",
    tag = "members",
    security(("token" = ["operate"])),
    request_body(
        content = UsersChange,
        example = json!({"put": [{"name": "ann", "set": {"free_leech": true}}], "remove": ["bob"]}),
    ),
    responses(
        (status = 200, description = "What was changed", body = UsersChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<UsersChanged>, Refused> {
    let UsersChange { put, remove } = body::json(request, ours::BODY_BYTES_MAX).await?;
    let names = put.iter().map(|Object(wish)| &wish.name).chain(&remove);
    check_names(names, put.len() + remove.len(), "put")?;
    let field = |index: usize, field: &str| match field {
        "" => format!("put[{index}]"),
        "name" => format!("put[{index}].name"),
        field => format!("put[{index}].set.{field}"),
    };
    let put = put.into_iter().enumerate();
    let put = put.map(|(index, Object(NamedWish { name, set }))| match set.0.change() {
        Ok(change) => Ok((name, change)),
        Err(refused) => Err(refused.about(field(index, "new_passkey"))),
    });
    let plan = Plan { put: put.collect::<Result<_, _>>()?, remove, makes: true, field };
    make(&api, &session, plan).await
}

/// Gives many members the same rights, as a site does with a group: all that are named, or none.
#[utoipa::path(
    patch,
    path = "/api/v1/users",
    operation_id = "set_users",
    tag = "members",
    security(("token" = ["operate"])),
    request_body(
        content = UsersSet,
        example = json!({"names": ["ann", "bob"], "set": {"download_slots": 20}}),
    ),
    responses(
        (status = 200, description = "What was changed", body = UsersChanged),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<UsersChanged>, Refused> {
    let UsersSet { names, set } = body::json(request, ours::BODY_BYTES_MAX).await?;
    check_names(names.iter(), names.len(), "names")?;
    if names.is_empty() {
        return Err(Refused::wrong("there is to be at least one", "names"));
    }
    let change = set.0.change()?;
    let field = |index: usize, field: &str| match field {
        "" | "name" => format!("names[{index}]"),
        field => format!("set.{field}"),
    };
    let put = names.into_iter().map(|name| (name, change.clone())).collect();
    make(&api, &session, Plan { put, remove: Vec::new(), makes: false, field }).await
}

async fn make(api: &Api, session: &Session, plan: Plan) -> Result<Json<UsersChanged>, Refused> {
    let by = session.name();
    let changed = api.with_tables(Purpose::Change, async move |tables: Arc<Tables>| {
        let Done { added, changed, removed, members } = plan.make(&tables).await?;
        if added + changed + removed > 0 {
            info!("users: {added} made, {changed} changed, {removed} removed by {by}");
        }
        let passkeys = members.into_iter().filter(|(_, is_new_key)| *is_new_key);
        let passkeys = passkeys.map(|(entry, _)| MadePasskey {
            name: entry.name,
            passkey: String::from_utf8_lossy(&entry.member.passkey.0).into_owned(),
        });
        Ok(UsersChanged { added, changed, removed, passkeys: passkeys.collect() })
    });
    changed.await.map(Json)
}
