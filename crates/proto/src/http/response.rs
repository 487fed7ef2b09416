//! The head of a reply, and its framing (RFC 9112).
//!
//! There is no `Date` header: this crate has no clock, and no client of a tracker reads it.

use alloc::vec::Vec;

use super::head::{Method, Version};
use crate::bencode::Decimal;

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
        let digits = Decimal::of(body_bytes as u64);
        out.splice(digits_at..digits_at + 3, digits.digits().iter().copied());
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use core::iter::repeat_n;

    use super::*;

    const OK: Head = Head {
        status: Status::Ok,
        method: Method::Get,
        version: Version::Http11,
        connection: Connection::KeepAlive,
    };

    fn reply(head: &Head, body: &str) -> String {
        let mut out = b"before".to_vec();
        write_reply(&mut out, head, |out| out.extend_from_slice(body.as_bytes()));
        String::from_utf8(out.split_off(6)).unwrap()
    }

    #[test]
    fn length_is_right_at_every_number_of_digits() {
        for length in [0, 1, 9, 10, 99, 100, 101, 999, 1000, 9999, 10_000, 123_456] {
            let body: String = repeat_n('x', length).collect();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
            assert_eq!(reply(&OK, &body), format!("{head}Content-Length: {length}\r\n\r\n{body}"));
        }
    }

    #[test]
    fn connection_is_named_where_the_version_does_not_say_it() {
        use Connection::{Close, KeepAlive};
        use Version::{Http10, Http11};
        let cases = [
            (Http10, Close, None),
            (Http10, KeepAlive, Some("\r\nConnection: keep-alive\r\n")),
            (Http11, Close, Some("\r\nConnection: close\r\n")),
            (Http11, KeepAlive, None),
        ];
        for (version, connection, line) in cases {
            let reply = reply(&Head { version, connection, ..OK }, "body");
            assert_eq!(reply.contains("Connection"), line.is_some());
            assert!(line.is_none_or(|line| reply.contains(line)), "{reply}");
        }
    }

    #[test]
    fn head_gets_the_head_of_a_get_and_no_body() {
        for length in [7, 700, 7000] {
            let body: String = repeat_n('x', length).collect();
            let get = reply(&OK, &body);
            let head = reply(&Head { method: Method::Head, ..OK }, &body);
            assert_eq!(get, head + &body);
        }
    }

    #[test]
    fn errors_close_and_say_what_may_be_asked() {
        let mut out = Vec::new();
        write_error(&mut out, Status::MethodNotAllowed, "no");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Type: text/plain\r\n\
             Connection: close\r\nContent-Length: 3\r\n\r\nno\n"
        );
    }

    #[test]
    fn status_lines_tell_their_code() {
        use Status as S;
        for status in [
            S::Ok,
            S::BadRequest,
            S::Forbidden,
            S::NotFound,
            S::MethodNotAllowed,
            S::RequestTimeout,
            S::ContentTooLarge,
            S::UriTooLong,
            S::HeaderFieldsTooLarge,
            S::InternalServerError,
            S::ServiceUnavailable,
            S::VersionNotSupported,
        ] {
            let start = format!("HTTP/1.1 {} ", status.code());
            assert!(status.lines().starts_with(start.as_bytes()));
            assert!(status.lines().ends_with(b"\r\n"));
        }
    }

    #[test]
    fn streams_say_their_coding_and_framing() {
        let mut out = Vec::new();
        write_stream_head(&mut out, &OK, Encoding::Gzip, Framing::Chunked);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut out = Vec::new();
        let old = Head { version: Version::Http10, connection: Connection::Close, ..OK };
        write_stream_head(&mut out, &old, Encoding::Identity, Framing::UntilClose);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    }

    #[test]
    fn chunks_tell_their_length_in_hex() {
        for (length, digits) in [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (65_536, "10000")] {
            let piece: Vec<u8> = repeat_n(b'x', length).collect();
            let mut out = Vec::new();
            write_chunk(&mut out, &piece);
            let expected = [digits.as_bytes(), b"\r\n", &piece, b"\r\n"].concat();
            assert_eq!(out, expected);
        }
        let mut out = Vec::new();
        write_chunk(&mut out, b"");
        assert_eq!(out, b"");
    }
}
