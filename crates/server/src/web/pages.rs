//! The pages: what is at which path.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::assets::{self, Document};
use crate::metrics;
use crate::settings::Pages;
use crate::stats::Source;

/// What a browser may do with a page: load what comes from here, and nothing else. There is no
/// script and no style in the document itself, so neither needs an exception.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'; object-src 'none'";

/// The languages of the pages, see `ui/src/messages`.
const LOCALES: [&str; 3] = ["en", "zh-CN", "ru"];

/// What the pages are made of.
struct Content {
    source: Arc<Source>,
    document: Document,
    html: String,
    locale: Option<String>,
    shown: Shown,
    udp_port: Option<u16>,
    /// Whether each member has a path of their own.
    private: bool,
}

/// What the pages have to know of the tracker: the body of `/config.json`. All of it is public.
#[derive(Serialize)]
struct Config<'a> {
    version: &'static str,
    /// The operator's choice, if there is one.
    locale: Option<&'a str>,
    locales: [&'static str; 3],
    mode: &'static str,
    /// By the host that was asked.
    announce_urls: Vec<String>,
    pages: &'a Shown,
    /// Whether it is known where addresses are.
    locations: bool,
}

/// Which of the pages there are.
#[derive(Serialize)]
struct Shown {
    map: bool,
    settings: bool,
    /// Members and torrents of a private tracker.
    members: bool,
    /// The largest swarms.
    largest: bool,
}

/// The pages of the tracker that `source` tells about. `is_api_on` is whether there is anything to
/// change the settings with.
pub(super) fn router(
    source: Arc<Source>,
    settings: &Pages,
    udp_port: Option<u16>,
    is_api_on: bool,
) -> Router {
    let html = match settings.charset.as_str() {
        "" => "text/html".into(),
        charset => format!("text/html; charset={charset}"),
    };
    let private = settings.private;
    let (document, locale) = (Document::new(), settings.locale.clone());
    let shown = Shown {
        map: settings.map,
        settings: is_api_on,
        members: is_api_on && private,
        largest: source.tells_largest(),
    };
    ["/", "/stats", "/stats.html", "/map.html", "/members.html", "/settings.html"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, get(page)))
        .route("/config.json", get(config))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/stats.json", get(stats))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .with_state(Arc::new(Content { source, document, html, locale, shown, udp_port, private }))
        .merge(assets::router())
}

/// Adds what every reply is to be taken with.
pub(super) async fn secured(mut response: Response) -> Response {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A body of a type, as of now.
pub(super) fn fresh(content_type: &str, body: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

/// A body in JSON, as of now.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(json) => fresh("application/json", json),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health() -> Response {
    fresh("text/plain; charset=utf-8", "OK\n".into())
}

/// Whether the node knows what other nodes know: for a balancer. One that is alone always does.
async fn ready(State(content): State<Arc<Content>>) -> Response {
    let text = "text/plain; charset=utf-8";
    match content.source.ready() {
        Ok(()) => fresh(text, "OK\n".into()),
        Err(why) => {
            let mut response = fresh(text, format!("{why}\n"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}

async fn stats(State(content): State<Arc<Content>>) -> Response {
    json(&*content.source.stats())
}

async fn metrics(State(content): State<Arc<Content>>) -> Response {
    fresh(metrics::CONTENT_TYPE, metrics::text(&content.source.stats()))
}

async fn page(State(content): State<Arc<Content>>, headers: HeaderMap) -> Response {
    content.document.answer(&content.announce_urls(&headers), &content.html, &headers)
}

async fn config(State(content): State<Arc<Content>>, headers: HeaderMap) -> Response {
    json(&Config {
        version: env!("CARGO_PKG_VERSION"),
        locale: content.locale.as_deref(),
        locales: LOCALES,
        mode: if content.private { "private" } else { "open" },
        announce_urls: content.announce_urls(&headers),
        pages: &content.shown,
        locations: content.source.locations.is_loaded(),
    })
}

impl Content {
    /// Where to announce to, by the host that was asked; where there are members, with a word in
    /// the place of the passkey. They need no escapes in HTML.
    fn announce_urls(&self, asked: &HeaderMap) -> Vec<String> {
        let host = asked.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| is_host(host)).unwrap_or("this-host");
        let path = if self.private { "/PASSKEY/announce" } else { "/announce" };
        let udp = self.udp_port.map(|port| format!("udp://{}:{port}{path}", without_port(host)));
        udp.into_iter().chain([format!("http://{host}{path}")]).collect()
    }
}

async fn not_found(uri: Uri) -> Response {
    // The path is the client's own and goes back as plain text, cut to what helps.
    let path: String = uri.path().chars().take(100).collect();
    let body = format!(
        "There is nothing at {path}. This is a BitTorrent tracker: /announce, /scrape, /, /stats, \
         /map.html, /members.html, /settings.html, /health, /stats.json and /metrics are here.\n"
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
