//! HTTP/1.1 as far as tests need it: one request a connection, the reply read to its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection and each read may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of a reply; more is an error.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines, without the status line.
    pub headers: Vec<(String, String)>,
    /// All that follows the head, chunks (if any) not joined.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of the first header of this name, in either case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A GET of `target`, which is a path and query, escaped.
pub fn get(server: SocketAddr, target: &str) -> Result<Reply, String> {
    request(server, "GET", target, &[], b"")
}

/// A POST of `body`.
pub fn post(
    server: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, String> {
    request(server, "POST", target, headers, body)
}

fn request(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, String> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    if method != "GET" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let reply = exchange(server, &[head.as_bytes(), body].concat());
    let reply = reply.map_err(|error| format!("{method} {server}{target}: {error}"))?;
    parse(&reply).ok_or_else(|| format!("{method} {server}{target}: the reply is not HTTP"))
}

fn exchange(server: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(request)?;
    let mut reply = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    // Some servers keep the connection although asked not to: the length is the end as well.
    while !is_complete(&reply) {
        match stream.read(&mut buffer)? {
            0 => break,
            bytes => reply.extend_from_slice(&buffer[..bytes]),
        }
        if reply.len() > REPLY_BYTES_MAX {
            return Err(std::io::Error::other("the reply is too long"));
        }
    }
    Ok(reply)
}

/// Whether the head is there and says that the body is, too.
fn is_complete(reply: &[u8]) -> bool {
    parse(reply).is_some_and(|reply| {
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| length <= reply.body.len())
    })
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(&reply[..end]).ok()?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let headers = lines.map(header).collect::<Option<_>>()?;
    Some(Reply { status, headers, body: reply[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_taken_apart() {
        let reply = parse(b"HTTP/1.1 404 Not Found\r\nA-b:  c \r\n\r\nbody").expect("HTTP");
        assert_eq!((reply.status, reply.header("a-B")), (404, Some("c")));
        assert_eq!(reply.body, b"body");
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"));
        assert!(is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\n\r\nabc"), "it ends with the connection");
        for text in ["", "HTTP/1.1 200 OK\r\n", "SPDY 200\r\n\r\n", "HTTP/1.1 200 OK\r\nx\r\n\r\n"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
