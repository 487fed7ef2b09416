//! An announce or a scrape on a connection that was handed over: its head in bytes again for the
//! endpoint, and the endpoint's reply as a response of the web stack.

use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderName, HeaderValue};
use axum::http::{Request, Response, StatusCode, Version};
use peerage_tracker::http::Handled;

/// Most headers of the endpoint's replies.
const HEADERS_MAX: usize = 32;

/// The head of `request` as it was on the wire, but for the order of its headers.
pub(super) fn head<B>(request: &Request<B>) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let version = match request.version() {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let mut head = format!("{} {target} {version}\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The endpoint's `reply`; `None` for a request that is not the endpoint's.
pub(super) fn response(handled: Handled, reply: Vec<u8>) -> Option<Response<Body>> {
    if handled == Handled::Elsewhere {
        return None;
    }
    let mut response = parse(reply).unwrap_or_else(|| {
        let mut broken = Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    });
    if handled == Handled::Close {
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
        // Whether the connection stays open is between the client and the web stack.
        if ["connection", "keep-alive"].iter().any(|own| header.name.eq_ignore_ascii_case(own)) {
            continue;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        response.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    reply.drain(..length);
    Some(response.map(|()| Body::from(reply)))
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_LENGTH;

    use super::*;

    #[test]
    fn head_is_what_was_on_the_wire() {
        let request = Request::get("/announce?info_hash=%00a&port=1")
            .header("Host", "tracker")
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
        let reply = response(Handled::KeepAlive, wire.to_vec()).unwrap();
        assert_eq!(reply.status(), 400);
        assert_eq!(reply.headers()[CONTENT_LENGTH], "2");
        assert_eq!(reply.headers().len(), 1);
        let reply = response(Handled::Close, wire.to_vec()).unwrap();
        assert_eq!(reply.headers()[CONNECTION], "close");
    }

    #[test]
    fn request_that_is_not_the_endpoints_has_no_reply_here() {
        assert!(response(Handled::Elsewhere, Vec::new()).is_none());
        assert_eq!(response(Handled::Close, Vec::new()).unwrap().status(), 500);
    }
}
