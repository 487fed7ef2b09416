//! The head of a request: the request line and the headers (RFC 9112).
//!
//! Tolerated: line ends without CR, empty lines before the request line, a missing `Host`. Not
//! tolerated: folded headers, spaces before a colon, two different lengths, a length beside a
//! transfer coding: what two readers of one stream could understand differently.

use core::mem::MaybeUninit;

use super::response::{Connection, Encoding, Status};
use crate::scan::find_byte;

/// Most bytes of a head. A scrape of 60 info_hashes, all escaped (what Transmission sends), has
/// 60 * (11 + 60) = 4260 in its query; one of 100 has 7100. A longer head is refused with 414 or
/// 431 and the connection closed.
pub const HEAD_BYTES_MAX: usize = 8192;
/// Most headers; more are refused with 431.
pub const HEADERS_MAX: usize = 64;

/// Room for the headers of a request being parsed. Costs nothing to make.
pub struct HeaderSlots<'a>([MaybeUninit<httparse::Header<'a>>; HEADERS_MAX]);

impl HeaderSlots<'_> {
    /// Empty.
    #[inline]
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds the end of a head in a buffer that grows, looking at each byte about once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    /// Before this there is no end.
    scanned: usize,
    /// Whether something but line ends has come.
    begun: bool,
}

impl HeadEnd {
    /// The length of the head at the start of `bytes`, its empty line included; `None` until all of
    /// it is there. `bytes` is what it was the last time, and what has come since. Once an end was
    /// found it starts anew, for the next request.
    ///
    /// Errors: [`HeadError::TargetTooLong`] and [`HeadError::HeadTooLong`] once
    /// [`HEAD_BYTES_MAX`] bytes hold no end.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        if !self.begun {
            let blank = window[self.scanned..].iter().take_while(|b| matches!(b, b'\r' | b'\n'));
            self.scanned += blank.count();
            self.begun = self.scanned < window.len();
        }
        while let Some(offset) = find_byte(&window[self.scanned..], b'\n') {
            let newline = self.scanned + offset;
            let end = match window[newline + 1..] {
                [b'\n', ..] => newline + 2,
                [b'\r', b'\n', ..] => newline + 3,
                [] | [b'\r'] => {
                    self.scanned = newline;
                    return Self::incomplete(window);
                }
                _ => {
                    self.scanned = newline + 1;
                    continue;
                }
            };
            *self = Self::default();
            return Ok(Some(end));
        }
        self.scanned = window.len();
        Self::incomplete(window)
    }

    fn incomplete(window: &[u8]) -> Result<Option<usize>, HeadError> {
        if window.len() < HEAD_BYTES_MAX {
            return Ok(None);
        }
        match find_byte(window.trim_ascii_start(), b'\n') {
            Some(_) => Err(HeadError::HeadTooLong),
            None => Err(HeadError::TargetTooLong),
        }
    }
}

/// Why a request is not answered by what it asks for. Its connection is to be closed: where the
/// next request would begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP.
    Malformed,
    /// The length of the body is not a number, is told twice and differently, or stands beside a
    /// transfer coding.
    BodyLength,
    /// The request line alone is longer than [`HEAD_BYTES_MAX`].
    TargetTooLong,
    /// The whole head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLong,
    /// More than [`HEADERS_MAX`] headers.
    TooManyHeaders,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl HeadError {
    /// Every variant.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::BodyLength,
        Self::TargetTooLong,
        Self::HeadTooLong,
        Self::TooManyHeaders,
        Self::Version,
    ];

    /// The status to answer with.
    pub const fn status(self) -> Status {
        match self {
            Self::Malformed | Self::BodyLength => Status::BadRequest,
            Self::TargetTooLong => Status::UriTooLong,
            Self::HeadTooLong | Self::TooManyHeaders => Status::HeaderFieldsTooLarge,
            Self::Version => Status::VersionNotSupported,
        }
    }

    /// What the client is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "Bad Request: this is not HTTP/1.1",
            Self::BodyLength => "Bad Request: Content-Length must be one number, and stand alone",
            // The words by which Transmission knows to scrape fewer info_hashes at once.
            Self::TargetTooLong => "Request-URI Too Long: a head has at most 8192 bytes",
            Self::HeadTooLong => "a head has at most 8192 bytes",
            Self::TooManyHeaders => "a request has at most 64 headers",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
        }
    }
}

/// What is to be done with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send it.
    Get,
    /// Send the head that a GET would get, without the body.
    Head,
    /// Anything else.
    Other,
}

/// The version the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: knows no chunks, and closes unless it says keep-alive.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// So many bytes, at least one.
    Bytes(u64),
    /// A body with a transfer coding.
    Coded,
}

/// A request head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'h, 'a> {
    /// What is to be done.
    pub method: Method,
    /// The path as sent, escapes and all, without scheme and authority where they were sent.
    pub path: &'a str,
    /// What stands between the first `?` and the first `#`, as sent; empty without a `?`.
    pub query: &'a [u8],
    /// The version.
    pub version: Version,
    /// What is to become of the connection: by the version, and by `Connection`.
    pub connection: Connection,
    /// The best coding of a reply that the client takes.
    pub encoding: Encoding,
    /// What follows the head.
    pub body: Body,
    /// Whether the client wants to go on as a WebSocket (RFC 6455). Other upgrades (`h2c`) are
    /// offers that may be passed over.
    pub websocket: bool,
    headers: &'h [httparse::Header<'a>],
}

impl<'h, 'a> Request<'h, 'a> {
    /// Reads `head`, which is a whole head and nothing else.
    pub fn parse(head: &'a [u8], slots: &'h mut HeaderSlots<'a>) -> Result<Self, HeadError> {
        let mut parsed = httparse::Request::new(&mut []);
        let end = match parsed.parse_with_uninit_headers(head, &mut slots.0) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return Err(HeadError::Malformed),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(httparse::Error::Version) if names_a_version(head) => {
                return Err(HeadError::Version);
            }
            Err(_) => return Err(HeadError::Malformed),
        };
        if end != head.len() {
            return Err(HeadError::Malformed);
        }
        // All three are there once the parser says that the head is complete.
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(HeadError::Malformed);
        };
        let version = match parsed.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let (path, query) = split_target(target);
        let mut request = Self {
            method: match method {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                _ => Method::Other,
            },
            path,
            query,
            version,
            connection: Connection::Close,
            encoding: Encoding::Identity,
            body: Body::None,
            websocket: false,
            headers: parsed.headers,
        };
        request.read_headers()?;
        Ok(request)
    }

    /// The values of a header, in order. The name's case does not matter.
    pub fn header(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// One pass over the headers: what [`Request`] knows of them.
    fn read_headers(&mut self) -> Result<(), HeadError> {
        let (mut close, mut keep_alive, mut coded) = (false, false, false);
        let mut length: Option<u64> = None;
        for header in self.headers {
            // By length first: most headers are told apart from ours by one comparison.
            let name = header.name;
            let is = |ours: &str| name.eq_ignore_ascii_case(ours);
            match name.len() {
                7 if is("Upgrade") => {
                    self.websocket |=
                        tokens(header.value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
                }
                10 if is("Connection") => {
                    for token in tokens(header.value) {
                        close |= token.eq_ignore_ascii_case(b"close");
                        keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if is("Content-Length") => {
                    let value = read_length(header.value).ok_or(HeadError::BodyLength)?;
                    if length.is_some_and(|length| length != value) {
                        return Err(HeadError::BodyLength);
                    }
                    length = Some(value);
                }
                15 if is("Accept-Encoding") && tokens(header.value).any(takes_gzip) => {
                    self.encoding = Encoding::Gzip;
                }
                17 if is("Transfer-Encoding") => coded = true,
                _ => {}
            }
        }
        self.body = match (coded, length) {
            (false, None | Some(0)) => Body::None,
            (false, Some(bytes)) => Body::Bytes(bytes),
            (true, None) => Body::Coded,
            (true, Some(_)) => return Err(HeadError::BodyLength),
        };
        if !close && (keep_alive || self.version == Version::Http11) {
            self.connection = Connection::KeepAlive;
        }
        Ok(())
    }
}

/// Splits a target in origin form (`/announce?…`) or absolute form (`http://host/announce?…`, as
/// sent through proxies).
fn split_target(target: &str) -> (&str, &[u8]) {
    let mut target = target;
    if !target.starts_with('/')
        && let Some((scheme, rest)) = target.split_once("://")
        && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
    {
        target = match rest.find(['/', '?', '#']) {
            Some(authority) => &rest[authority..],
            None => "",
        };
    }
    if let Some(fragment) = find_byte(target.as_bytes(), b'#') {
        target = &target[..fragment];
    }
    let (path, query) = match find_byte(target.as_bytes(), b'?') {
        Some(at) => (&target[..at], &target.as_bytes()[at + 1..]),
        None => (target, &[][..]),
    };
    (if path.is_empty() { "/" } else { path }, query)
}

/// Whether the request line ends in something like `HTTP/2.0`.
fn names_a_version(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    let line = &head[..find_byte(head, b'\n').unwrap_or(head.len())];
    line.trim_ascii_end().rsplit(|&b| b == b' ').next().is_some_and(|last| {
        last.strip_prefix(b"HTTP/").is_some_and(|rest| {
            !rest.is_empty() && rest.iter().all(|b| b.is_ascii_digit() || *b == b'.')
        })
    })
}

/// The elements of a comma-separated list.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Whether an element of `Accept-Encoding` takes gzip: not with a weight of zero.
fn takes_gzip(element: &[u8]) -> bool {
    let mut parts = element.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().unwrap_or_default();
    let is_gzip = coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip");
    is_gzip
        && !parts.any(|part| match part {
            [b'q' | b'Q', b'=', weight @ ..] => weight.iter().all(|b| matches!(b, b'0' | b'.')),
            _ => false,
        })
}

fn read_length(value: &[u8]) -> Option<u64> {
    let mut length = 0_u64;
    for &digit in value {
        if !digit.is_ascii_digit() {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (!value.is_empty()).then_some(length)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// Reads `head` and hands what it says to `look`.
    #[track_caller]
    fn check(head: &str, look: impl FnOnce(&Request<'_, '_>)) {
        let mut slots = HeaderSlots::new();
        match Request::parse(head.as_bytes(), &mut slots) {
            Ok(request) => look(&request),
            Err(error) => panic!("{error:?}: {head:?}"),
        }
    }

    #[track_caller]
    fn check_refused(head: &str, expected: HeadError) {
        let mut slots = HeaderSlots::new();
        let error = Request::parse(head.as_bytes(), &mut slots).err();
        assert_eq!(error, Some(expected), "{head:?}");
    }

    fn with_headers(version: &str, headers: &[&str]) -> String {
        format!("GET /announce {version}\r\nHost: x\r\n{}\r\n\r\n", headers.join("\r\n"))
            .replace("\r\n\r\n\r\n", "\r\n\r\n")
    }

    /// What the clients send before and after their query.
    const CLIENTS: [&str; 4] = [
        "GET /announce?left=0 HTTP/1.1\r\nHost: t.example:6969\r\nUser-Agent: curl/7.81.0\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        "GET /announce?left=0 HTTP/1.1\r\nHost: t.example\r\nUser-Agent: Transmission/4.0.5\r\n\
         Accept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\r\n",
        "GET /announce?left=0 HTTP/1.1\r\nUser-Agent: aria2/1.36.0\r\nAccept: */*\r\n\
         Accept-Encoding: deflate, gzip\r\nHost: t.example:6969\r\nPragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\r\n",
        "GET /announce?left=0 HTTP/1.1\r\nHost: t.example\r\nUser-Agent: uTorrent/355\r\n\
         Accept-Encoding: gzip\r\nConnection: Close\r\n\r\n",
    ];

    #[test]
    fn heads_of_real_clients_are_read() {
        let connections =
            [Connection::Close, Connection::KeepAlive, Connection::KeepAlive, Connection::Close];
        for (head, connection) in CLIENTS.into_iter().zip(connections) {
            check(head, |request| {
                assert_eq!((request.method, request.version), (Method::Get, Version::Http11));
                assert_eq!((request.path, request.query), ("/announce", &b"left=0"[..]));
                assert_eq!((request.connection, request.encoding), (connection, Encoding::Gzip));
                assert_eq!((request.body, request.websocket), (Body::None, false));
            });
        }
    }

    #[test]
    fn every_strict_prefix_of_a_head_is_incomplete_and_refused() {
        for head in CLIENTS {
            let mut stepwise = HeadEnd::default();
            for length in 0..head.len() {
                let prefix = &head.as_bytes()[..length];
                assert_eq!(HeadEnd::default().find(prefix), Ok(None));
                assert_eq!(stepwise.find(prefix), Ok(None));
                let mut slots = HeaderSlots::new();
                let error = Request::parse(prefix, &mut slots).err();
                assert_eq!(error, Some(HeadError::Malformed), "{prefix:?}");
            }
            let pipelined = format!("{head}{head}");
            for _ in 0..2 {
                assert_eq!(stepwise.find(pipelined.as_bytes()), Ok(Some(head.len())));
            }
        }
    }

    #[test]
    fn end_is_found_with_and_without_cr_and_after_blank_lines() {
        let cases = [
            ("GET / HTTP/1.1\r\n\r\nrest", 18),
            ("GET / HTTP/1.1\n\nrest", 16),
            ("GET / HTTP/1.1\r\nA: b\n\r\n", 23),
            ("GET / HTTP/1.1\nA: b\r\n\n", 22),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", 22),
            ("\n\nGET / HTTP/1.1\n\n", 18),
        ];
        for (bytes, end) in cases {
            assert_eq!(HeadEnd::default().find(bytes.as_bytes()), Ok(Some(end)), "{bytes:?}");
            check(&bytes[..end], |request| assert_eq!(request.path, "/"));
            let mut stepwise = HeadEnd::default();
            for length in 0..end {
                assert_eq!(stepwise.find(&bytes.as_bytes()[..length]), Ok(None), "{bytes:?}");
            }
            assert_eq!(stepwise.find(bytes.as_bytes()), Ok(Some(end)), "{bytes:?}");
        }
    }

    #[test]
    fn head_without_end_is_refused_once_it_is_too_long() {
        let target = [&b"GET /"[..], &[b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(HeadEnd::default().find(&target[..HEAD_BYTES_MAX - 1]), Ok(None));
        let too_long = Err(HeadError::TargetTooLong);
        assert_eq!(HeadEnd::default().find(&target[..HEAD_BYTES_MAX]), too_long);
        assert_eq!(HeadEnd::default().find(&[&b"\r\n"[..], &target].concat()), too_long);
        let headers =
            [&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; HEAD_BYTES_MAX], b"\r\n\r\n"].concat();
        assert_eq!(HeadEnd::default().find(&headers), Err(HeadError::HeadTooLong));
        // The longest head that is read.
        let mut longest = headers[..HEAD_BYTES_MAX - 4].to_vec();
        longest.extend_from_slice(b"\r\n\r\n");
        assert_eq!(HeadEnd::default().find(&longest), Ok(Some(HEAD_BYTES_MAX)));
    }

    #[test]
    fn scrape_of_as_many_swarms_as_transmission_asks_for_fits() {
        let hashes: Vec<_> = (0..60).map(|_| format!("info_hash={}", "%ab".repeat(20))).collect();
        let head = CLIENTS[1].replace("left=0", &hashes.join("&"));
        assert_eq!(HeadEnd::default().find(head.as_bytes()), Ok(Some(head.len())));
        check(&head, |request| assert_eq!(super::super::scrape_hashes(request.query).count(), 60));
    }

    #[test]
    fn connection_is_kept_by_version_and_header() {
        use Connection::{Close, KeepAlive};
        let cases: [(&str, &[&str], Connection); 12] = [
            ("HTTP/1.1", &[], KeepAlive),
            ("HTTP/1.0", &[], Close),
            ("HTTP/1.1", &["Connection: close"], Close),
            ("HTTP/1.1", &["connection:CLOSE"], Close),
            ("HTTP/1.1", &["Connection: Keep-Alive"], KeepAlive),
            ("HTTP/1.0", &["Connection: Keep-Alive"], KeepAlive),
            ("HTTP/1.0", &["Connection: upgrade, keep-alive"], KeepAlive),
            ("HTTP/1.1", &["Connection: TE , close"], Close),
            ("HTTP/1.1", &["Connection: TE", "CONNECTION: close"], Close),
            ("HTTP/1.0", &["Connection: keep-alive, close"], Close),
            ("HTTP/1.1", &["Connection: closed"], KeepAlive),
            ("HTTP/1.1", &["X-Connection: close", "Proxy-Connection: close"], KeepAlive),
        ];
        for (version, headers, connection) in cases {
            let head = with_headers(version, headers);
            check(&head, |request| assert_eq!(request.connection, connection, "{head}"));
        }
    }

    #[test]
    fn gzip_is_taken_unless_its_weight_is_zero() {
        let cases = [
            ("gzip", Encoding::Gzip),
            ("deflate, GZIP;q=0.5", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("gzip; q=0.000", Encoding::Identity),
            ("identity, br", Encoding::Identity),
            ("gzipped", Encoding::Identity),
            ("*", Encoding::Identity),
            ("", Encoding::Identity),
        ];
        for (value, encoding) in cases {
            let head = with_headers("HTTP/1.1", &[&format!("accept-encoding: {value}")]);
            check(&head, |request| assert_eq!(request.encoding, encoding, "{value}"));
        }
    }

    #[test]
    fn body_is_told_by_one_length_or_by_a_coding_never_by_both() {
        let cases: [(&[&str], Result<Body, HeadError>); 9] = [
            (&["Content-Length: 0"], Ok(Body::None)),
            (&["Content-Length: 17"], Ok(Body::Bytes(17))),
            (&["Content-Length: 17", "content-length: 17"], Ok(Body::Bytes(17))),
            (&["Transfer-Encoding: chunked"], Ok(Body::Coded)),
            (&["Content-Length: 17", "Content-Length: 18"], Err(HeadError::BodyLength)),
            (&["Content-Length: 17, 17"], Err(HeadError::BodyLength)),
            (&["Content-Length: -1"], Err(HeadError::BodyLength)),
            (&["Content-Length: 18446744073709551616"], Err(HeadError::BodyLength)),
            (&["Content-Length: 0", "Transfer-Encoding: chunked"], Err(HeadError::BodyLength)),
        ];
        for (headers, expected) in cases {
            let head = with_headers("HTTP/1.1", headers);
            match expected {
                Ok(body) => check(&head, |request| assert_eq!(request.body, body)),
                Err(error) => check_refused(&head, error),
            }
        }
    }

    #[test]
    fn targets_are_split_in_both_forms() {
        let cases: [(&str, &str, &str); 12] = [
            ("/announce", "/announce", ""),
            ("/announce?", "/announce", ""),
            ("/announce?a=b?c", "/announce", "a=b?c"),
            ("/announce?a#b?c", "/announce", "a"),
            ("/a%2Fb?c", "/a%2Fb", "c"),
            ("http://t.example:6969/announce?a=b", "/announce", "a=b"),
            ("HTTP://t.example/announce", "/announce", ""),
            ("https://t.example?a=b", "/", "a=b"),
            ("http://t.example", "/", ""),
            ("ftp://t.example/announce", "ftp://t.example/announce", ""),
            ("/http://t.example/announce", "/http://t.example/announce", ""),
            ("*", "*", ""),
        ];
        for (target, path, query) in cases {
            check(&format!("HEAD {target} HTTP/1.0\r\n\r\n"), |request| {
                assert_eq!((request.path, request.query), (path, query.as_bytes()), "{target}");
                assert_eq!((request.method, request.version), (Method::Head, Version::Http10));
            });
        }
    }

    #[test]
    fn all_values_of_a_header_are_found_by_a_name_in_any_case() {
        let head = with_headers("HTTP/1.1", &["X-Fwd: a", "x-fwd:b", "X-Fwd-By: c", "X-FWD: d "]);
        check(&head, |request| {
            let values: Vec<_> = request.header("x-Fwd").collect();
            assert_eq!(values, [b"a", b"b", b"d"]);
            assert_eq!(request.header("missing").count(), 0);
        });
    }

    #[test]
    fn only_websocket_upgrades_are_told() {
        let upgrade = |value| with_headers("HTTP/1.1", &["Connection: Upgrade", value]);
        check(&upgrade("Upgrade: WebSocket"), |request| assert!(request.websocket));
        check(&upgrade("Upgrade: h2c"), |request| assert!(!request.websocket));
    }

    #[test]
    fn malformed_heads_are_refused_with_their_status() {
        let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
        let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
        let cases: [(&str, HeadError, u16); 16] = [
            ("", HeadError::Malformed, 400),
            ("\r\n\r\n", HeadError::Malformed, 400),
            ("GET /announce\r\n\r\n", HeadError::Malformed, 400),
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/1.1\r\nA b\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeadError::Malformed, 400),
            ("GET /\x7f HTTP/1.1\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/1.1\r\n\r\nrest", HeadError::Malformed, 400),
            ("GET / FTP/1.1\r\n\r\n", HeadError::Malformed, 400),
            ("\x16\x03\x01\x02\r\n\r\n", HeadError::Malformed, 400),
            ("GET / HTTP/2.0\r\n\r\n", HeadError::Version, 505),
            ("GET / HTTP/1.2\r\n\r\n", HeadError::Version, 505),
            ("PRI * HTTP/2.0\r\n\r\n", HeadError::Version, 505),
            (&many, HeadError::TooManyHeaders, 431),
        ];
        for (head, error, code) in cases {
            check_refused(head, error);
            assert_eq!(error.status().code(), code);
        }
        assert_eq!(HeadError::TargetTooLong.status().code(), 414);
        assert_eq!(HeadError::HeadTooLong.status().code(), 431);
        assert!(HeadError::TargetTooLong.text().contains("Request-URI Too Long"));
        let most = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX));
        check(&most, |request| assert_eq!(request.header("a").count(), HEADERS_MAX));
    }
}
