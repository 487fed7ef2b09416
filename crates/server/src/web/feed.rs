//! `/map.ws`: the feed of the map, a WebSocket for each viewer.
//!
//! The feed is for the pages of this tracker: a browser that shows the page of another site is
//! refused by its `Origin`, or any site could have its visitors take all places here. A proxy in
//! front has to hand on the `Host` it was asked for. A viewer that is no browser says no origin,
//! and is let in: what is sent is public.
//!
//! A viewer sends nothing but what the protocol itself wants. A WebSocket is not bound by what
//! bounds other connections for pages: it has places and times of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseCode, CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, interval_at, timeout};

use super::prefixed::Shorten;
use super::stopped;
use crate::feed::{FRAME_BYTES_MAX, Viewer};
use crate::stats::Source;

/// How long a viewer may take to take in a frame. While it does, it misses others.
const STALL_TIME_MAX: Duration = Duration::from_secs(15);

/// How often a viewer is asked whether it is there. One that has not answered when it is asked
/// again is not.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Most messages of a viewer between two of our pings: an answer, and pings of its own.
const MESSAGES_MAX: u32 = 16;

/// Most bytes of one, which is the most that a ping or a close may have (RFC 6455, section 5.5).
const MESSAGE_BYTES_MAX: usize = 125;

/// How long a viewer has to answer our close.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);

/// Viewers that are told at once why they cannot stay; one more is told by a status alone.
const FAREWELLS_MAX: usize = 64;

/// Each has a buffer of so many bytes to read into: what they send is short.
const READ_BUFFER_BYTES: usize = 512;

/// There is no location file, so there are no points.
const NO_LOCATIONS: CloseCode = 4404;

/// Who may come in.
struct Gate {
    source: Arc<Source>,
    /// A place for each viewer.
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    /// Its receivers are told when the tracker stops.
    stopping: watch::Sender<bool>,
}

/// The one route. At most `viewers_max` watch at once.
pub(super) fn router(
    source: Arc<Source>,
    viewers_max: usize,
    stopping: watch::Sender<bool>,
) -> Router {
    let gate = Gate {
        source,
        places: Arc::new(Semaphore::new(viewers_max)),
        farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
        stopping,
    };
    Router::new().route("/map.ws", get(open)).with_state(Arc::new(gate))
}

async fn open(
    State(gate): State<Arc<Gate>>,
    Extension(shorten): Extension<Shorten>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !is_own_page(&headers) {
        let why = "the feed of the map is for the pages of this tracker\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    shorten.set();
    let place = match gate.source.locations.is_loaded() {
        true => Arc::clone(&gate.places).try_acquire_owned().map_err(|_| TOO_MANY),
        false => Err(close(NO_LOCATIONS, "no locations")),
    };
    match (place, Arc::clone(&gate.farewells).try_acquire_owned()) {
        (Ok(place), _) => {
            let (viewer, stopping) = (gate.source.feed.join(), gate.stopping.subscribe());
            upgrade.on_upgrade(async move |socket| {
                show(socket, viewer, stopping).await;
                drop(place);
            })
        }
        (Err(why), Ok(farewell)) => upgrade.on_upgrade(async move |socket| {
            part(socket, why).await;
            drop(farewell);
        }),
        (Err(_), Err(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "too many viewers: come later\n").into_response()
        }
    }
}

const TOO_MANY: CloseFrame = close(close_code::AGAIN, "too many viewers");

const fn close(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: axum::extract::ws::Utf8Bytes::from_static(reason) }
}

/// Whether a page of the host that was asked opens the feed, or something that is no page.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(ORIGIN), text(HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| !host.is_empty() && authority.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

/// Sends the viewer its frames until one of both goes.
async fn show(mut socket: WebSocket, mut viewer: Viewer, mut stopping: watch::Receiver<bool>) {
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut heard = 1;
    loop {
        let message = tokio::select! {
            frame = viewer.next() => match frame {
                Some(frame) => Message::Binary(frame),
                None => return part(socket, STOPPING).await,
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) if heard < MESSAGES_MAX => {
                    heard += 1;
                    continue;
                }
                Some(Ok(_)) => return part(socket, NOTHING_EXPECTED).await,
                Some(Err(_)) | None => return,
            },
            _ = ping.tick() => {
                if heard == 0 {
                    return viewer.drop_as_idle();
                }
                heard = 0;
                Message::Ping(Bytes::new())
            }
            () = stopped(&mut stopping) => return part(socket, STOPPING).await,
        };
        match timeout(STALL_TIME_MAX, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return viewer.drop_as_idle(),
        }
    }
}

const STOPPING: CloseFrame = close(close_code::AWAY, "the tracker stops");
const NOTHING_EXPECTED: CloseFrame = close(close_code::POLICY, "nothing is expected from a viewer");

/// Tells a viewer why it cannot stay, and waits a little until it has gone.
async fn part(mut socket: WebSocket, why: CloseFrame) {
    let farewell = async {
        let _ = socket.send(Message::Close(Some(why))).await;
        let mut received = 0;
        while received < MESSAGES_MAX && matches!(socket.recv().await, Some(Ok(_))) {
            received += 1;
        }
    };
    // However it goes, the socket is closed.
    let _ = timeout(FAREWELL_TIME_MAX, farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(origin: Option<&str>, host: Option<&str>, fine: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ORIGIN, origin), (HOST, host)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        assert_eq!(is_own_page(&headers), fine, "{origin:?} at {host:?}");
    }

    #[test]
    fn page_of_another_site_is_told_by_its_origin() {
        check(None, Some("tracker.example:6969"), true);
        check(None, None, true);
        check(Some("http://tracker.example:6969"), Some("Tracker.example:6969"), true);
        check(Some("https://[::1]:6969"), Some("[::1]:6969"), true);
        check(Some("http://tracker.example"), Some("tracker.example:6969"), false);
        check(Some("http://tracker.example.evil.example"), Some("tracker.example"), false);
        check(Some("null"), Some("tracker.example"), false);
        check(Some("http://"), Some(""), false);
        check(Some("http://tracker.example"), None, false);
    }
}
