//! The pages: what is at which path.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics;
use crate::settings::Pages;
use crate::stats::Source;

/// What the pages are made of.
struct Content {
    source: Arc<Source>,
    html: String,
    udp_port: Option<u16>,
}

/// The pages of the tracker that `source` tells about.
pub(super) fn router(source: Arc<Source>, settings: &Pages, udp_port: Option<u16>) -> Router {
    let html = match settings.charset.as_str() {
        "" => "text/html".into(),
        charset => format!("text/html; charset={charset}"),
    };
    Router::new()
        .route("/", get(index))
        .route("/health", get(health))
        .route("/stats.json", get(stats))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .with_state(Arc::new(Content { source, html, udp_port }))
}

/// A body of a type, as of now.
pub(super) fn fresh(content_type: &str, body: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

async fn health() -> Response {
    fresh("text/plain; charset=utf-8", "OK\n".into())
}

async fn stats(State(content): State<Arc<Content>>) -> Response {
    match serde_json::to_string(&*content.source.stats()) {
        Ok(json) => fresh("application/json", json),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(content): State<Arc<Content>>) -> Response {
    fresh(metrics::CONTENT_TYPE, metrics::text(&content.source.stats()))
}

async fn index(State(content): State<Arc<Content>>, headers: HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| is_host(host)).unwrap_or("this-host");
    let mut urls = format!("http://{host}/announce\n");
    if let Some(port) = content.udp_port {
        urls = format!("udp://{}:{port}/announce\n{urls}", without_port(host));
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<title>Peerage</title>\n<h1>Peerage</h1>\n\
         <p>A BitTorrent tracker. Add it to a torrent by one of these URLs:</p>\n\
         <pre>\n{urls}</pre>\n\
         <p><a href=\"/stats.json\">Statistics</a>, <a href=\"/metrics\">metrics</a></p>\n</html>\n"
    );
    fresh(&content.html, page)
}

async fn not_found(uri: Uri) -> Response {
    // The path is the client's own and goes back as plain text, cut to what helps.
    let path: String = uri.path().chars().take(100).collect();
    let body = format!(
        "There is nothing at {path}. This is a BitTorrent tracker: /announce, /scrape, /, \
         /health, /stats.json and /metrics are here.\n"
    );
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, headers, body).into_response()
}

/// Whether `host` may stand in the page: what it is made of needs no escapes.
fn is_host(host: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&host.len()) && host.bytes().all(fine)
}

/// A host without its port: a colon within brackets belongs to the address.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_of_a_request_is_believed_only_if_it_is_one() {
        for (host, fine) in [
            ("tracker.example:6969", true),
            ("[::1]:6969", true),
            ("", false),
            ("<script>", false),
            ("a b", false),
        ] {
            assert_eq!(is_host(host), fine, "{host}");
        }
        assert!(!is_host(&"a".repeat(256)));
    }

    #[test]
    fn port_is_taken_off_a_host() {
        for (host, name) in [("a:1", "a"), ("a", "a"), ("[::1]:1", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(without_port(host), name);
        }
    }
}
