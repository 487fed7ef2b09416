//! `/history.json`: what the tracker did in the last minute, hour or day.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use super::pages::fresh;
use crate::history::Span;
use crate::stats::Source;

/// The one route.
pub(super) fn router(source: Arc<Source>) -> Router {
    Router::new().route("/history.json", get(history)).with_state(source)
}

async fn history(State(source): State<Arc<Source>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("span="));
    let Some(span) = asked.and_then(Span::parse) else {
        let error = "span must be minute, hour or day: /history.json?span=minute";
        let body = Json(json!({ "error": error, "field": "span" }));
        return (StatusCode::BAD_REQUEST, body).into_response();
    };
    match serde_json::to_string(&source.history(span)) {
        Ok(json) => fresh("application/json", json),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
