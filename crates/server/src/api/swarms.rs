//! `/swarms/{info_hash}`: one swarm.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use peerage_proto::InfoHash;
use peerage_tracker::AccessList;
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use super::document::HashInPath;
use super::refused::{Refusals, Refused, Unprocessable};
use super::{Api, Session};

/// One swarm. Peers that have expired count until they are dropped.
#[derive(Serialize, ToSchema)]
pub(crate) struct SwarmReply {
    /// In 40 hex digits.
    info_hash: String,
    /// Peers with nothing left.
    seeders: u32,
    /// All other peers.
    leechers: u32,
    /// Of the leechers, those that want no more (BEP 21).
    paused: u32,
    /// How often it was finished.
    completed: u32,
    /// IPv4 peers.
    peers_ipv4: u64,
    /// IPv6 peers.
    peers_ipv6: u64,
}

fn hash(path: Result<Path<String>, PathRejection>) -> Result<InfoHash, Refused> {
    let Path(hex) = path.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    AccessList::parse_hash(&hex)
        .ok_or_else(|| Refused::wrong("an info_hash has 40 or 64 hex digits", "info_hash"))
}

fn unknown() -> Refused {
    Refused::not_found("there is no such swarm")
}

/// What there is of one swarm.
#[utoipa::path(
    get,
    path = "/api/v1/swarms/{info_hash}",
    tag = "swarms",
    security(("token" = ["read"])),
    params(HashInPath),
    responses(
        (status = 200, description = "The swarm", body = SwarmReply),
        Refusals, Unprocessable,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<SwarmReply>, Refused> {
    let info_hash = hash(path)?;
    let view = api.source.tracker.swarms().look(&info_hash).ok_or_else(unknown)?;
    Ok(Json(SwarmReply {
        info_hash: info_hash.to_string(),
        seeders: view.counts.seeders,
        leechers: view.counts.leechers,
        paused: view.counts.paused,
        completed: view.counts.completed,
        peers_ipv4: view.peers_v4,
        peers_ipv6: view.peers_v6,
    }))
}

/// Drops a swarm and its peers. It is there again with the next announce, unless a list forbids it.
#[utoipa::path(
    delete,
    path = "/api/v1/swarms/{info_hash}",
    tag = "swarms",
    security(("token" = ["operate"])),
    params(HashInPath),
    responses((status = 204, description = "It is gone"), Refusals, Unprocessable),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refused> {
    let info_hash = hash(path)?;
    let dropped = api.source.tracker.swarms().remove(&info_hash);
    if dropped.swarms == 0 {
        return Err(unknown());
    }
    info!("swarm {info_hash} with {} peers dropped by {}", dropped.peers, session.name());
    Ok(StatusCode::NO_CONTENT)
}
