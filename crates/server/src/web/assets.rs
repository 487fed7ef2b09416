//! The built pages, as they lie in `ui/dist` and in the binary: one document for every page, and
//! the files it loads.
//!
//! A file's name in `assets/` carries a hash of what is in it, so a browser may keep it for good.
//! Everything else is asked for again and mostly answered with 304.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

/// What `cargo xtask ui` has built.
#[derive(RustEmbed)]
#[folder = "../../ui/dist"]
struct Dist;

/// The document behind every page.
const DOCUMENT: &str = "index.html";

/// Where the document takes the announce URLs, for those without JavaScript.
const URLS_HERE: &str = "<!--announce-urls-->";

/// What may be kept for good.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// What has to be asked for again.
const ASK_AGAIN: &str = "no-cache";

/// A file as it is served.
struct Asset {
    bytes: Bytes,
    content_type: &'static str,
    cache: &'static str,
    /// Weak, so that it holds for both encodings.
    etag: String,
    /// Made when it is first asked for.
    gzip: OnceLock<Bytes>,
}

/// The document, cut where the announce URLs go.
pub(super) struct Document {
    before: String,
    after: String,
}

/// Every file but the document, at its path.
pub(super) fn router() -> Router {
    let files = Dist::iter().filter(|path| path != DOCUMENT);
    files.fold(Router::new(), |router, path| {
        let asset: &'static Asset = Box::leak(Box::new(Asset::new(&path)));
        let answer = move |headers: HeaderMap| async move { asset.answer(&headers) };
        router.route(&format!("/{path}"), get(answer))
    })
}

impl Asset {
    fn new(path: &str) -> Self {
        let file = Dist::get(path).expect("it was just listed");
        let hashed = path.starts_with("assets/");
        Self {
            etag: etag(&file.data),
            bytes: Bytes::from_owner(file.data),
            content_type: content_type(path),
            cache: if hashed { FOREVER } else { ASK_AGAIN },
            gzip: OnceLock::new(),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let mut response = if has(asked, &self.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if takes_gzip(asked) {
            let body = self.gzip.get_or_init(|| gzip(&self.bytes)).clone();
            ([(CONTENT_ENCODING, "gzip")], body).into_response()
        } else {
            self.bytes.clone().into_response()
        };
        mark(response.headers_mut(), &self.etag, self.cache);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

impl Document {
    /// The document as it was built.
    pub(super) fn new() -> Self {
        let file = Dist::get(DOCUMENT).expect("the build makes one");
        let text = String::from_utf8_lossy(&file.data);
        let (before, after) = text.split_once(URLS_HERE).expect("the build keeps comments");
        Self { before: before.into(), after: after.into() }
    }

    /// The document with `urls`, which need no escapes. `content_type` is the operator's.
    pub(super) fn answer(
        &self,
        urls: &[String],
        content_type: &str,
        asked: &HeaderMap,
    ) -> Response {
        let items: String = urls.iter().map(|url| format!("<li><code>{url}</code></li>")).collect();
        let text = [&*self.before, &items, &*self.after].concat();
        let etag = etag(text.as_bytes());
        let mut response = match has(asked, &etag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(CONTENT_TYPE, content_type)], Body::from(text)).into_response(),
        };
        mark(response.headers_mut(), &etag, ASK_AGAIN);
        response
    }
}

/// The tag of a content: the start of its hash is more than enough to tell two builds apart.
fn etag(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let start: String = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{start}\"")
}

fn mark(headers: &mut HeaderMap, etag: &str, cache: &'static str) {
    headers.insert(ETAG, HeaderValue::from_str(etag).expect("hex in quotes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
}

/// Whether the client has what `etag` stands for.
fn has(asked: &HeaderMap, etag: &str) -> bool {
    let opaque = etag.trim_start_matches("W/");
    let values = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(','));
    tags.any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == opaque)
}

/// Whether the client takes gzip. A client that gives it a weight of zero does not.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|q: f32| q > 0.0)
    })
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it").into()
}

/// By the ending of the name; the build makes no others.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn asked(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_for_those_that_take_it() {
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asked("accept-encoding", value)), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn tag_is_known_again_in_a_list_and_made_strong() {
        let etag = "W/\"ab\"";
        for (value, known) in
            [("W/\"ab\"", true), ("\"x\", \"ab\"", true), ("*", true), ("\"abc\"", false)]
        {
            assert_eq!(has(&asked("if-none-match", value), etag), known, "{value}");
        }
    }

    #[test]
    fn every_file_of_the_build_has_a_type() {
        for path in Dist::iter().filter(|path| path != DOCUMENT) {
            assert_ne!(content_type(&path), "application/octet-stream", "{path}");
        }
    }
}
