//! HTTP/1.1 as far as tests need it: requests on a connection that stays open, or on one each.

use std::io::{BufRead, BufReader, Error, Read, Result as IoResult, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long a connection and each read may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of a head; more is an error.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Most bytes of a body; more is an error.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines, without the status line.
    pub headers: Vec<(String, String)>,
    /// The whole body, chunks joined.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of the first header of this name, in either case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET of `target`, which is a path and query, escaped; on a connection of its own.
pub fn get(server: SocketAddr, target: &str) -> Result<Reply, String> {
    Connection::open(server)?.request("GET", target, &[CLOSE], b"")
}

/// A POST of `body`, on a connection of its own.
pub fn post(
    server: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, String> {
    Connection::open(server)?.request("POST", target, &[&[CLOSE], headers].concat(), body)
}

const CLOSE: (&str, &str) = ("Connection", "close");

/// A connection that stays open as long as the other side lets it.
#[derive(Debug)]
pub struct Connection {
    server: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(server: SocketAddr) -> Result<Self, String> {
        Self::of(server, TcpStream::connect_timeout(&server, LIMIT))
    }

    /// Connects from an address of this machine: any of 127.0.0.0/8 is one.
    pub fn open_from(local: IpAddr, server: SocketAddr) -> Result<Self, String> {
        let local = SocketAddr::new(local, 0);
        let stream = Socket::new(Domain::for_address(local), Type::STREAM, None);
        let stream = stream.and_then(|socket| {
            socket.bind(&local.into())?;
            socket.connect_timeout(&server.into(), LIMIT)?;
            Ok(socket.into())
        });
        Self::of(server, stream)
    }

    fn of(server: SocketAddr, stream: IoResult<TcpStream>) -> Result<Self, String> {
        let stream = stream.and_then(|stream| {
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            Ok(stream)
        });
        let stream = stream.map_err(|error| format!("connection to {server}: {error}"))?;
        Ok(Self { server, stream: BufReader::new(stream) })
    }

    /// A GET of `target`, which is a path and query, escaped.
    pub fn get(&mut self, target: &str) -> Result<Reply, String> {
        self.request("GET", target, &[], b"")
    }

    /// Asks, and reads one reply. The host is the address of the server unless `headers` say
    /// otherwise.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, String> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.server));
        }
        if method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body].concat();
        let sent = self.stream.get_mut().write_all(&request);
        let reply = sent.and_then(|()| read(&mut self.stream, method));
        reply.map_err(|error| format!("{method} {}{target}: {error}", self.server))
    }

    /// What comes without being asked for, until the other side closes.
    pub fn rest(&mut self) -> Result<Vec<u8>, String> {
        let rest = read_rest(&mut self.stream);
        rest.map_err(|error| format!("end of the connection to {}: {error}", self.server))
    }
}

/// Reads a reply to its end: by its length, in chunks, or until the connection ends.
fn read(from: &mut impl BufRead, method: &str) -> IoResult<Reply> {
    let mut head = Vec::new();
    let mut bounded = from.by_ref().take(HEAD_BYTES_MAX);
    while !head.ends_with(b"\r\n\r\n") {
        if bounded.read_until(b'\n', &mut head)? == 0 {
            return Err(Error::other(format!("no whole head but `{}`", head.escape_ascii())));
        }
    }
    let reply = parse_head(&head);
    let mut reply = reply.ok_or_else(|| Error::other("the head of the reply is not HTTP"))?;
    let chunked = reply.header("transfer-encoding") == Some("chunked");
    reply.body = match reply.header("content-length").map(str::parse) {
        _ if method == "HEAD" || matches!(reply.status, 204 | 304) => Vec::new(),
        Some(length) => read_exactly(from, length.map_err(Error::other)?)?,
        None if chunked => read_chunks(from)?,
        None => read_rest(from)?,
    };
    Ok(reply)
}

fn parse_head(head: &[u8]) -> Option<Reply> {
    let head = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    Some(Reply { status, headers: lines.map(header).collect::<Option<_>>()?, body: Vec::new() })
}

fn read_exactly(from: &mut impl BufRead, length: u64) -> IoResult<Vec<u8>> {
    let mut body = Vec::new();
    let read = from.by_ref().take(length.min(BODY_BYTES_MAX)).read_to_end(&mut body)?;
    if read as u64 != length {
        return Err(Error::other(format!("{read} bytes of a body of {length}")));
    }
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead) -> IoResult<Vec<u8>> {
    const SIZE_BYTES_MAX: u64 = 64;
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.by_ref().take(SIZE_BYTES_MAX).read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(Error::other)?;
        let end = size.saturating_add(body.len() as u64);
        if end > BODY_BYTES_MAX {
            return Err(Error::other("the body is too long"));
        }
        body.extend(read_exactly(from, size)?);
        if read_exactly(from, 2)? != b"\r\n" {
            return Err(Error::other("a chunk is longer than it says"));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_rest(from: &mut impl BufRead) -> IoResult<Vec<u8>> {
    let mut body = Vec::new();
    let read = from.by_ref().take(BODY_BYTES_MAX + 1).read_to_end(&mut body)?;
    if read as u64 > BODY_BYTES_MAX {
        return Err(Error::other("the body is too long"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, bytes: &[u8], body: &[u8], left: &[u8]) {
        let mut rest = bytes;
        let reply = read(&mut rest, method).expect("a reply");
        assert_eq!((reply.body.as_slice(), rest), (body, left));
    }

    #[test]
    fn head_is_taken_apart() {
        let reply = read(&mut &b"HTTP/1.1 404 Not Found\r\nA-b:  c \r\n\r\nbody"[..], "GET");
        let reply = reply.expect("HTTP");
        assert_eq!((reply.status, reply.header("a-B")), (404, Some("c")));
        assert_eq!(reply.text(), "body");
        for text in ["", "HTTP/1.1 200 OK\r\n", "SPDY 200\r\n\r\n", "HTTP/1.1 200 OK\r\nx\r\n\r\n"]
        {
            assert!(read(&mut text.as_bytes(), "GET").is_err(), "{text}");
        }
    }

    #[test]
    fn body_ends_where_the_head_says() {
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP";
        check("GET", length, b"abc", b"HTTP");
        check("HEAD", length, b"", b"abcHTTP");
        assert!(read(&mut &length[..length.len() - 5], "GET").is_err(), "2 bytes of 3");
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP";
        check("GET", chunks, b"abc0123456789", b"HTTP");
        for end in (1..10).map(|less| chunks.len() - 4 - less) {
            assert!(read(&mut &chunks[..end], "GET").is_err(), "{end}");
        }
        check("GET", b"HTTP/1.1 204 No Content\r\n\r\nHTTP", b"", b"HTTP");
        check("GET", b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", b"");
    }
}
