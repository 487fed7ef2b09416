//! An announce or a scrape on a connection that was handed over: its head in bytes again for the
//! endpoint, and the endpoint's reply as a response of the web stack.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING};
use axum::http::{Request, Response, StatusCode, Version};
use hyper::body::Frame;
use peerage_proto::http::Connection;
use peerage_tracker::Tracker;
use peerage_tracker::http::{FullScrape, Handled, Progress, Settings};

/// Most headers of the endpoint's replies.
const HEADERS_MAX: usize = 32;

/// The head of `request` as it was on the wire, but for the order of its headers, and without the
/// wish to have the reply coded: a full scrape is the only one that is, and is not coded here.
pub(super) fn head<B>(request: &Request<B>) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let version = match request.version() {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let mut head = format!("{} {target} {version}\r\n", request.method()).into_bytes();
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != ACCEPT_ENCODING) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The endpoint's `reply`; `None` for a request that is not the endpoint's.
pub(super) fn response(
    tracker: &Arc<Tracker>,
    settings: &Settings,
    handled: Handled,
    reply: Vec<u8>,
) -> Option<Response<Body>> {
    let close = match handled {
        Handled::Elsewhere => return None,
        Handled::KeepAlive => false,
        Handled::Close => true,
        Handled::FullScrape(stream) => stream.connection == Connection::Close,
    };
    let mut response = parse(reply).unwrap_or_else(|| {
        let mut broken = Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    });
    if let Handled::FullScrape(_) = handled {
        let scrape = FullScrape::new(Arc::clone(tracker), settings);
        *response.body_mut() = Body::new(Pieces(Some(scrape)));
    }
    if close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

/// Takes a reply apart. `None` for one that is no HTTP, which would be a fault of the endpoint's.
fn parse(mut reply: Vec<u8>) -> Option<Response<Body>> {
    let mut response = Response::new(());
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(&reply).ok()? else { return None };
    *response.status_mut() = StatusCode::from_u16(head.code?).ok()?;
    for header in head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        // Whether the connection stays open, and how a body is framed, is the web stack's to say.
        if [CONNECTION, TRANSFER_ENCODING].contains(&name) || name == "keep-alive" {
            continue;
        }
        response.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    reply.drain(..length);
    Some(response.map(|()| Body::from(reply)))
}

/// The body of a full scrape, a piece whenever the client has taken in the last; `None` at its end.
struct Pieces(Option<FullScrape>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(scrape) = &mut self.0 else { return Poll::Ready(None) };
        let mut piece = Vec::new();
        if scrape.write_next(&mut piece) == Progress::Done {
            self.0 = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_LENGTH;
    use peerage_tracker::{Limits, PeerIds, Rules};

    use super::*;

    fn respond(handled: Handled, reply: &[u8]) -> Option<Response<Body>> {
        let (limits, rules) = (Limits::default(), Rules::default());
        let tracker = Tracker::new([0; 16], limits, PeerIds::Dropped, rules);
        response(&Arc::new(tracker), &Settings::default(), handled, reply.to_vec())
    }

    #[test]
    fn head_is_what_was_on_the_wire() {
        let request = Request::get("/announce?info_hash=%00a&port=1")
            .header("Host", "tracker")
            .header("Accept-Encoding", "gzip")
            .header("X-Forwarded-For", "192.0.2.1")
            .body(())
            .unwrap();
        let wire = b"GET /announce?info_hash=%00a&port=1 HTTP/1.1\r\nhost: tracker\r\n\
            x-forwarded-for: 192.0.2.1\r\n\r\n";
        assert_eq!(head(&request), wire);
    }

    #[test]
    fn reply_keeps_its_status_and_headers_but_those_of_the_connection() {
        let wire = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\
            Keep-Alive: timeout=3\r\n\r\nde";
        let reply = respond(Handled::KeepAlive, wire).unwrap();
        assert_eq!(reply.status(), 400);
        assert_eq!(reply.headers()[CONTENT_LENGTH], "2");
        assert_eq!(reply.headers().len(), 1);
        let reply = respond(Handled::Close, wire).unwrap();
        assert_eq!(reply.headers()[CONNECTION], "close");
    }

    #[test]
    fn request_that_is_not_the_endpoints_has_no_reply_here() {
        assert!(respond(Handled::Elsewhere, b"").is_none());
        assert_eq!(respond(Handled::Close, b"").unwrap().status(), 500);
    }
}
