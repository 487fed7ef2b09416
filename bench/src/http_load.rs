//! The HTTP load generator: many connections over epoll, one request each at a time.
//!
//! A connection is kept for ever or closed after one reply; both take the same path here. Each
//! comes from a source address of its own, so that peers differ by address. As in `load.rs`, the
//! pace is either a number of requests under way or a rate, whose latencies count from the instant
//! a request was due; with one connection each, connecting is part of a request.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockAddr;

use crate::latency::Latencies;
use crate::load::Pace;
use crate::mix::{Account, Family, Peer, info_hash, source_address};
use crate::socket::stream_from;

/// Most bytes of a reply; one that is longer is an error.
const REPLY_BYTES_MAX: usize = 16 << 10;
/// Headers of a reply.
const HEADERS_MAX: usize = 32;
/// A reply that takes longer counts as lost, with its connection.
const LOST_AFTER: Duration = Duration::from_secs(2);
const SWEEP_NANOS: u64 = 100_000_000;

/// What becomes of a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It serves the next request.
    KeepAlive,
    /// It is closed, and the next request opens its own.
    OneEach,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HttpAsk {
    /// An announce with numwant 30.
    Announce(Peer),
    /// The same, of a member, and with what its client counts.
    Member(Peer, Account),
    /// A scrape of one swarm.
    Scrape(u32),
}

/// What came of a run.
pub(crate) struct HttpOutcome {
    /// Replies with status 200 and no failure reason.
    pub(crate) replies: u64,
    /// Replies with another status, with a failure reason, or cut off.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
    /// Requests without a reply in time.
    pub(crate) lost: u64,
    /// Bytes of all bodies.
    pub(crate) body_bytes: u64,
    /// From the first request to the last.
    pub(crate) elapsed: Duration,
    /// Of all requests.
    pub(crate) latencies: Latencies,
}

/// A generator for one server.
pub(crate) struct HttpLoad {
    to: SocketAddr,
    reuse: Reuse,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Connections without a request under way.
    idle: VecDeque<usize>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: Option<TcpStream>,
    source: u32,
    /// What is left to write once the connection stands.
    unsent: Vec<u8>,
    reply: Vec<u8>,
    due_nanos: Option<u64>,
}

/// How far a connection has come.
enum Progress {
    Waiting,
    /// A whole reply, of which this is the body's place, and whether the server keeps the
    /// connection.
    Done(Result<std::ops::Range<usize>, String>, ServerCloses),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ServerCloses {
    No,
    Yes,
}

impl HttpLoad {
    /// A generator with up to `connections` connections at a time. With [`Reuse::KeepAlive`] the
    /// number is that of the source addresses too: connection `n` announces peers of source `n`.
    pub(crate) fn new(to: SocketAddr, connections: usize, reuse: Reuse) -> io::Result<Self> {
        let connection = |source| Connection {
            stream: None,
            source,
            unsent: Vec::new(),
            reply: Vec::with_capacity(REPLY_BYTES_MAX),
            due_nanos: None,
        };
        Ok(Self {
            to,
            reuse,
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            connections: (0..connections as u32).map(connection).collect(),
            idle: (0..connections).collect(),
            request: Vec::new(),
            buffer: vec![0; REPLY_BYTES_MAX],
        })
    }

    /// Sends what `next` gives until it gives nothing, or `limit` has passed. With
    /// [`Reuse::KeepAlive`], `next` is told the source the announce will come from; else it is
    /// told nothing, and the peer's own source is taken.
    pub(crate) fn run(
        &mut self,
        pace: Pace,
        limit: Duration,
        next: &mut dyn FnMut(Option<u32>) -> Option<HttpAsk>,
    ) -> io::Result<HttpOutcome> {
        let mut outcome = HttpOutcome {
            replies: 0,
            errors: 0,
            first_error: None,
            lost: 0,
            body_bytes: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::new(),
        };
        let start = Instant::now();
        let limit_nanos = limit.as_nanos() as u64;
        // What servers closed since the last run is seen before it is used.
        self.take_replies(start, &mut outcome)?;
        let (mut issued, mut is_done, mut swept, mut stopped) = (0_u64, false, 0, 0);
        loop {
            let now = start.elapsed().as_nanos() as u64;
            is_done |= now >= limit_nanos;
            while !is_done && !self.idle.is_empty() {
                let in_flight = self.connections.len() - self.idle.len();
                let due_nanos = match pace {
                    Pace::Window(window) if in_flight < window => now,
                    Pace::Rate(rate) => (issued as f64 / rate * 1e9) as u64,
                    Pace::Window(_) => break,
                };
                if due_nanos > now {
                    break;
                }
                let index = self.idle.pop_front().expect("the loop saw an idle connection");
                let source = self.connections[index].source;
                match next((self.reuse == Reuse::KeepAlive).then_some(source)) {
                    Some(ask) => self.issue(index, ask, due_nanos)?,
                    None => {
                        is_done = true;
                        self.idle.push_front(index);
                    }
                }
                issued += 1;
            }
            self.take_replies(start, &mut outcome)?;
            if now - swept > SWEEP_NANOS {
                swept = now;
                self.sweep(now, &mut outcome);
            }
            if !is_done {
                stopped = now;
            } else if self.idle.len() == self.connections.len() {
                break;
            }
        }
        outcome.elapsed = Duration::from_nanos(stopped.max(1));
        Ok(outcome)
    }

    /// Sends a request over connection `index`, which is opened where it is not.
    fn issue(&mut self, index: usize, ask: HttpAsk, due_nanos: u64) -> io::Result<()> {
        self.request.clear();
        write_request(&mut self.request, self.to, self.reuse, ask);
        let connection = &mut self.connections[index];
        connection.due_nanos = Some(due_nanos);
        connection.reply.clear();
        if let Some(stream) = &mut connection.stream {
            // A kept connection has an empty send buffer, which takes a request whole. One the
            // server has closed meanwhile is opened anew, as a client does.
            match stream.write(&self.request) {
                Ok(sent) if sent == self.request.len() => return Ok(()),
                Ok(_) => return Err(io::Error::other("a request was cut by a full buffer")),
                Err(_) => connection.stream = None,
            }
        }
        if let (Reuse::OneEach, HttpAsk::Announce(peer) | HttpAsk::Member(peer, _)) =
            (self.reuse, ask)
        {
            connection.source = peer.source;
        }
        let socket = stream_from(source_address(Family::Ipv4, connection.source))?;
        match socket.connect(&SockAddr::from(self.to)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        connection.unsent.clone_from(&self.request);
        connection.stream = Some(stream);
        Ok(())
    }

    fn take_replies(&mut self, start: Instant, outcome: &mut HttpOutcome) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let index = event.token().0;
            let connection = &mut self.connections[index];
            let (done, closes) = match connection.advance(&mut self.buffer) {
                Progress::Waiting => continue,
                Progress::Done(done, closes) => (done, closes),
            };
            let Some(due_nanos) = connection.due_nanos.take() else {
                // Nothing was asked: the server closed a kept connection.
                connection.stream = None;
                continue;
            };
            match done {
                Ok(body) => {
                    let now = start.elapsed().as_nanos() as u64;
                    outcome.replies += 1;
                    outcome.body_bytes += body.len() as u64;
                    outcome.latencies.add(now.saturating_sub(due_nanos));
                }
                Err(error) => {
                    outcome.errors += 1;
                    outcome.first_error.get_or_insert(error);
                }
            }
            if self.reuse == Reuse::OneEach || closes == ServerCloses::Yes {
                connection.stream = None;
            }
            self.idle.push_back(index);
        }
        Ok(())
    }

    /// Drops connections whose reply does not come.
    fn sweep(&mut self, now: u64, outcome: &mut HttpOutcome) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Some(due_nanos) = connection.due_nanos else { continue };
            if now.saturating_sub(due_nanos) > LOST_AFTER.as_nanos() as u64 {
                connection.due_nanos = None;
                connection.stream = None;
                self.idle.push_back(index);
                outcome.lost += 1;
            }
        }
    }
}

impl Connection {
    /// Writes what is unsent and reads what has come.
    fn advance(&mut self, buffer: &mut [u8]) -> Progress {
        let failed = |error: &str| Progress::Done(Err(error.to_owned()), ServerCloses::Yes);
        let Some(stream) = &mut self.stream else { return Progress::Waiting };
        if !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_later(&error) => return Progress::Waiting,
                Err(error) => return failed(&format!("writing: {error}")),
            }
        }
        loop {
            match stream.read(buffer) {
                Ok(0) => {
                    return match parse(&self.reply, true) {
                        Some((done, _)) => Progress::Done(done, ServerCloses::Yes),
                        None => failed("closed before a whole reply"),
                    };
                }
                Ok(count) if self.reply.len() + count > REPLY_BYTES_MAX => {
                    return failed("a reply is too long");
                }
                Ok(count) => self.reply.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(&error) => return Progress::Waiting,
                Err(error) => return failed(&format!("reading: {error}")),
            }
            if let Some((done, closes)) = parse(&self.reply, false) {
                return Progress::Done(done, closes);
            }
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// Where a whole reply stands in `reply`, its body, and whether the server closes.
fn parse(
    reply: &[u8],
    is_at_end: bool,
) -> Option<(Result<std::ops::Range<usize>, String>, ServerCloses)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(reply) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => return Some((Err(format!("not HTTP: {error}")), ServerCloses::Yes)),
    };
    let mut length = None;
    let mut closes = if response.version == Some(1) { ServerCloses::No } else { ServerCloses::Yes };
    for header in response.headers.iter() {
        let value = str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if header.name.eq_ignore_ascii_case("connection") {
            match value.eq_ignore_ascii_case("close") {
                true => closes = ServerCloses::Yes,
                false => closes = ServerCloses::No,
            }
        }
    }
    let end = match length {
        Some(length) if reply.len() >= head_bytes + length => head_bytes + length,
        None if is_at_end => reply.len(),
        _ => return None,
    };
    let body = &reply[head_bytes..end];
    let is_failure = response.code != Some(200) || body.starts_with(b"d14:failure reason");
    let done = match is_failure {
        true => Err(String::from_utf8_lossy(&reply[..end.min(300)]).into_owned()),
        false => Ok(head_bytes..end),
    };
    Some((done, closes))
}

fn write_request(request: &mut Vec<u8>, to: SocketAddr, reuse: Reuse, ask: HttpAsk) {
    let swarm = match ask {
        HttpAsk::Announce(peer) => {
            request.extend_from_slice(b"GET /announce?info_hash=");
            peer.swarm
        }
        HttpAsk::Member(peer, account) => {
            request.extend_from_slice(b"GET /");
            request.extend_from_slice(&Account::passkey(account.member));
            request.extend_from_slice(b"/announce?info_hash=");
            peer.swarm
        }
        HttpAsk::Scrape(swarm) => {
            request.extend_from_slice(b"GET /scrape?info_hash=");
            swarm
        }
    };
    for byte in info_hash(swarm) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => request.push(byte),
            _ => request.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    // Writing into a vector cannot fail.
    let announced = match ask {
        HttpAsk::Announce(peer) => Some((peer, 0, 0)),
        HttpAsk::Member(peer, account) => Some((peer, account.uploaded, account.downloaded)),
        HttpAsk::Scrape(_) => None,
    };
    if let Some((peer, uploaded, downloaded)) = announced {
        let left = if peer.is_seeder { 0_u64 } else { 1 << 30 };
        let _ = write!(
            request,
            "&peer_id=-qB4650-{:012}&port={}&uploaded={uploaded}&downloaded={downloaded}\
             &left={left}&corrupt=0&key={:08X}&numwant=30&compact=1&no_peer_id=1&supportcrypto=1\
             &redundant=0",
            peer.number, peer.port, peer.number
        );
    }
    let connection = if reuse == Reuse::OneEach { "Connection: close\r\n" } else { "" };
    let _ = write!(
        request,
        " HTTP/1.1\r\nHost: {to}\r\nUser-Agent: qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n\
         {connection}\r\n"
    );
}

/// The body of a page, fetched with a connection of its own; bounded to 1 MiB and a second's wait.
pub(crate) fn fetch(from: SocketAddr, path: &str) -> io::Result<String> {
    let second = Duration::from_secs(1);
    let mut stream = std::net::TcpStream::connect_timeout(&from, second)?;
    stream.set_read_timeout(Some(second))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    match stream.take(1 << 20).read_to_end(&mut reply) {
        // Some servers keep the connection open in spite of what they were asked.
        Err(_) if !reply.is_empty() => {}
        result => drop(result?),
    }
    let reply = String::from_utf8_lossy(&reply);
    let (_, body) = reply.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(reply: &str, is_at_end: bool) -> Option<(Result<usize, String>, bool)> {
        let (done, closes) = parse(reply.as_bytes(), is_at_end)?;
        Some((done.map(|body| body.len()), closes == ServerCloses::Yes))
    }

    #[test]
    fn a_reply_ends_where_its_length_says_or_with_the_connection() {
        let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde";
        assert_eq!(whole(kept, false), Some((Ok(2), false)));
        assert_eq!(whole(&kept[..kept.len() - 1], false), None);
        assert_eq!(whole("HTTP/1.0 200 OK\r\n\r\nde", false), None);
        assert_eq!(whole("HTTP/1.0 200 OK\r\n\r\nde", true), Some((Ok(2), true)));
    }

    #[test]
    fn refusals_are_errors() {
        let refused = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\nd14:failure reason2:noee";
        assert!(whole(refused, false).unwrap().0.is_err());
        assert!(whole("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false).unwrap().0.is_err());
    }
}
