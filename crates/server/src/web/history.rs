//! `/history.json`: what the tracker did in the last minute, hour or day.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::pages::{json, secured};
use crate::history::Span;
use crate::stats::Source;

/// What a wrong question is told.
#[derive(Serialize)]
struct Wrong {
    error: &'static str,
    field: &'static str,
}

const WRONG_SPAN: Wrong =
    Wrong { error: "span must be minute, hour or day: /history.json?span=minute", field: "span" };

/// The one route.
pub(super) fn router(source: Arc<Source>) -> Router {
    Router::new()
        .route("/history.json", get(history))
        .with_state(source)
        .layer(map_response(secured))
}

async fn history(State(source): State<Arc<Source>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("span="));
    match asked.and_then(Span::parse) {
        Some(span) => json(&source.history(span)),
        None => (StatusCode::BAD_REQUEST, json(&WRONG_SPAN)).into_response(),
    }
}
