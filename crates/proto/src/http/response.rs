//! The head of a reply, and its framing (RFC 9112).
//!
//! There is no `Date` header: this crate has no clock, and no client of a tracker reads it.

use alloc::vec::Vec;

use super::head::{Method, Version};
use crate::bencode::decimal;

/// A status a tracker answers with. Replies to announces and scrapes, refusals included, are
/// [`Status::Ok`]: libtorrent and Transmission do not read the body of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405; the reply says `Allow: GET, HEAD`.
    MethodNotAllowed,
    /// 408.
    RequestTimeout,
    /// 413.
    ContentTooLarge,
    /// 414.
    UriTooLong,
    /// 431.
    HeaderFieldsTooLarge,
    /// 500.
    InternalServerError,
    /// 503.
    ServiceUnavailable,
    /// 505.
    VersionNotSupported,
}

impl Status {
    /// The number.
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::ContentTooLarge => 413,
            Self::UriTooLong => 414,
            Self::HeaderFieldsTooLarge => 431,
            Self::InternalServerError => 500,
            Self::ServiceUnavailable => 503,
            Self::VersionNotSupported => 505,
        }
    }

    /// The status line and the headers that do not depend on the request.
    const fn lines(self) -> &'static [u8] {
        macro_rules! lines {
            ($status:literal) => {
                concat!("HTTP/1.1 ", $status, "\r\nContent-Type: text/plain\r\n").as_bytes()
            };
        }
        match self {
            Self::Ok => lines!("200 OK"),
            Self::BadRequest => lines!("400 Bad Request"),
            Self::Forbidden => lines!("403 Forbidden"),
            Self::NotFound => lines!("404 Not Found"),
            Self::MethodNotAllowed => lines!("405 Method Not Allowed\r\nAllow: GET, HEAD"),
            Self::RequestTimeout => lines!("408 Request Timeout"),
            Self::ContentTooLarge => lines!("413 Content Too Large"),
            Self::UriTooLong => lines!("414 URI Too Long"),
            Self::HeaderFieldsTooLarge => lines!("431 Request Header Fields Too Large"),
            Self::InternalServerError => lines!("500 Internal Server Error"),
            Self::ServiceUnavailable => lines!("503 Service Unavailable"),
            Self::VersionNotSupported => lines!("505 HTTP Version Not Supported"),
        }
    }
}

/// What becomes of a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It may serve another request.
    KeepAlive,
    /// It is closed.
    Close,
}

/// How a streamed body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
}

/// How the end of a streamed body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// In chunks: [`write_chunk`] for each piece, [`LAST_CHUNK`] at the end. HTTP/1.1.
    Chunked,
    /// By closing the connection. HTTP/1.0.
    UntilClose,
}

/// What the head of a reply depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: Status,
    /// What was asked: [`Method::Head`] leaves out the body.
    pub method: Method,
    /// What the client speaks.
    pub version: Version,
    /// What becomes of the connection.
    pub connection: Connection,
}

impl Head {
    /// For a request that could not be read.
    pub const fn closing(status: Status) -> Self {
        let (method, version) = (Method::Get, Version::Http11);
        Self { status, method, version, connection: Connection::Close }
    }

    /// The `Connection` header, where the version does not say the same by itself.
    const fn connection_line(&self) -> &'static [u8] {
        match (self.version, self.connection) {
            (Version::Http10, Connection::KeepAlive) => b"Connection: keep-alive\r\n",
            (Version::Http11, Connection::Close) => b"Connection: close\r\n",
            (Version::Http10, Connection::Close) | (Version::Http11, Connection::KeepAlive) => b"",
        }
    }
}

/// Appends a reply: its head, and the body that `write_body` appends, with its length.
#[inline]
pub fn write_reply(out: &mut Vec<u8>, head: &Head, write_body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(head.status.lines());
    out.extend_from_slice(head.connection_line());
    out.extend_from_slice(b"Content-Length: ");
    let digits_at = out.len();
    // The length of nearly every announce reply has three digits; another one moves the body.
    out.extend_from_slice(b"000\r\n\r\n");
    let body_at = out.len();
    write_body(out);
    let body_bytes = out.len() - body_at;
    if head.method == Method::Head {
        out.truncate(body_at);
    }
    if let 100..1000 = body_bytes {
        let digits = [body_bytes / 100, body_bytes / 10 % 10, body_bytes % 10];
        out[digits_at..digits_at + 3].copy_from_slice(&digits.map(|digit| b'0' + digit as u8));
    } else {
        let mut digits = Vec::with_capacity(20);
        decimal(&mut digits, body_bytes as u64);
        out.splice(digits_at..digits_at + 3, digits);
    }
}

/// Appends a reply with a short text for a request that could not be served; the connection is to
/// be closed.
pub fn write_error(out: &mut Vec<u8>, status: Status, text: &str) {
    write_reply(out, &Head::closing(status), |body| {
        body.extend_from_slice(text.as_bytes());
        body.push(b'\n');
    });
}

/// Appends the head of a reply whose length is not known; the body follows as `framing` says.
pub fn write_stream_head(out: &mut Vec<u8>, head: &Head, encoding: Encoding, framing: Framing) {
    out.extend_from_slice(head.status.lines());
    out.extend_from_slice(head.connection_line());
    if encoding == Encoding::Gzip {
        out.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// What ends a body in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends `piece` as a chunk. An empty piece appends nothing: it would be the last chunk.
pub fn write_chunk(out: &mut Vec<u8>, piece: &[u8]) {
    if piece.is_empty() {
        return;
    }
    let digits = (piece.len().ilog2() / 4 + 1) as usize;
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[piece.len() >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}
