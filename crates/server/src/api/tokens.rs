//! `/tokens`: who may do what through the API.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::refused::{BodyRefusals, Conflicting, Refusals, Refused};
use super::{Api, Session, body};
use crate::tokens::{self, Scope, Tokens};

/// Most bytes of a wish.
pub(super) const BODY_BYTES_MAX: usize = 4096;

/// All tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    /// Each of them, oldest first.
    tokens: Vec<TokenView>,
}

/// A token, without its text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// By which it is removed.
    id: String,
    /// As whoever made it calls it.
    name: String,
    /// What it allows.
    scope: Scope,
    /// When it was made, in seconds since the UNIX epoch.
    created_at_secs: u64,
}

/// A token that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// A name unlike any other's, on one line.
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: String,
    /// What it is to allow.
    scope: Scope,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// By which it is removed.
    id: String,
    /// Its name.
    name: String,
    /// What it allows.
    scope: Scope,
    /// What is to be sent. It is not kept, and so not shown again.
    token: String,
}

/// All tokens, without their texts.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("token" = ["admin"])),
    responses((status = 200, description = "All tokens", body = TokenList), Refusals),
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<TokenList>, Refused> {
    let tokens = api.tokens()?.all();
    let view = |token: &tokens::Token| TokenView {
        id: token.id.clone(),
        name: token.name.clone(),
        scope: token.scope,
        created_at_secs: token.created_at_secs,
    };
    Ok(Json(TokenList { tokens: tokens.iter().map(view).collect() }))
}

/// Makes a token and shows its text, this once.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("token" = ["admin"])),
    request_body(content = NewToken, example = json!({"name": "monitoring", "scope": "read"})),
    responses(
        (status = 201, description = "The token", body = MadeToken),
        Refusals, BodyRefusals, Conflicting,
    ),
)]
pub(super) async fn make(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<(StatusCode, Json<MadeToken>), Refused> {
    let NewToken { name, scope } = body::json(request, BODY_BYTES_MAX).await?;
    let (token, text) = blocking(api, move |tokens| tokens.add(&name, scope)).await?;
    let (by, allows) = (session.name(), scope.name());
    info!("token {:?} ({}) made, it allows {allows}, by {by}", token.name, token.id);
    let made = MadeToken { id: token.id, name: token.name, scope, token: text.0 };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Removes a token: what it allowed is refused from here on.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "The id of the token", pattern = "^[0-9a-f]{8}$")),
    responses((status = 204, description = "It is gone"), Refusals),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refused> {
    let Path(id) = id.map_err(|rejection| Refused::malformed(rejection.body_text()))?;
    let token = blocking(api, move |tokens| tokens.remove(&id)).await?;
    info!("token {:?} ({}) removed by {}", token.name, token.id, session.name());
    Ok(StatusCode::NO_CONTENT)
}

/// Does what waits for the disk, and for the lock of the file, on a thread for that.
async fn blocking<T: Send + 'static>(
    api: Arc<Api>,
    change: impl FnOnce(&Tokens) -> Result<T, tokens::Error> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(move || {
        api.tokens().and_then(|tokens| change(tokens).map_err(Refused::from))
    });
    done.await.unwrap_or_else(|_| Err(Refused::not_now("it stops")))
}
