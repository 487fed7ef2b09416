//! Clients that tell how long they waited: a thread each, few requests, none of them given up on.
//!
//! Unlike the load of `load.rs` they sleep between requests, so that three nodes, Redis and all
//! clients fit on two cores. A latency counts from the instant a request was due: whoever is held
//! up once pays for all that should have been asked meanwhile. One that oversleeps pays too; a run
//! in which nothing is broken tells how much of a tail is the machine's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::mix::info_hash;
use crate::trial::{EVENT_NONE, EVENT_STARTED, EVENT_STOPPED};

/// A request without a reply for so long counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// How long a client may use a connection id.
const ID_TIME: Duration = Duration::from_secs(45);
/// Longer than any reply.
const REPLY_BYTES_MAX: usize = 16 << 10;
/// Requests under way while filling: fewer than a default receive buffer holds.
const FILL_WINDOW: usize = 64;
/// Hashes in one scrape over UDP (BEP 15 has room for 74).
const SCRAPE_MAX: usize = 70;

/// Before, while and after something is broken.
pub(crate) const PHASES: [&str; 3] = ["before", "during", "after"];

/// What a peer says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    /// The number of the swarm.
    pub(crate) swarm: u32,
    /// Where it listens: all peers are on one address.
    pub(crate) port: u16,
    /// Whether it has nothing left.
    pub(crate) is_seeder: bool,
    /// As BEP 15 numbers it.
    pub(crate) event: u32,
}

/// By what a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// BEP 15.
    Udp,
    /// A connection that is kept.
    Http,
}

impl Over {
    /// As a table has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Http => "HTTP",
        }
    }
}

/// What the clients of one kind have seen, by phase.
pub(crate) struct Seen {
    /// Of replies.
    pub(crate) latencies: [Latencies; PHASES.len()],
    /// Replies of the right form.
    pub(crate) replies: [u64; PHASES.len()],
    /// Requests without a reply, or with a wrong one.
    pub(crate) lost: [u64; PHASES.len()],
}

impl Seen {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let latencies = PHASES.map(|_| Latencies::new());
        Self { latencies, replies: [0; PHASES.len()], lost: [0; PHASES.len()] }
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for phase in 0..PHASES.len() {
            self.latencies[phase].merge(&other.latencies[phase]);
            self.replies[phase] += other.replies[phase];
            self.lost[phase] += other.lost[phase];
        }
    }
}

/// What all clients go by.
pub(crate) struct Course {
    /// Of [`PHASES`].
    pub(crate) phase: AtomicUsize,
    /// Whether it is over.
    pub(crate) stop: AtomicBool,
    /// Which node the clients of each node go to: another, while their own is gone.
    pub(crate) goes_to: Vec<AtomicUsize>,
    /// Where the nodes are.
    pub(crate) nodes: Vec<SocketAddr>,
}

/// A client of one node.
pub(crate) struct Probe<'a> {
    /// What it goes by.
    pub(crate) course: &'a Course,
    /// The number of its node.
    pub(crate) home: usize,
    /// By what it asks.
    pub(crate) over: Over,
    /// Requests a second.
    pub(crate) rate: f64,
}

impl Probe<'_> {
    /// Asks until the course is over, each time what `next` says.
    pub(crate) fn run(&self, mut next: impl FnMut() -> Saying) -> Seen {
        let Self { course, home, over, rate } = *self;
        let mut seen = Seen::new();
        let mut client: Option<(usize, Client)> = None;
        let started = Instant::now();
        let mut issued = 0_u64;
        while !course.stop.load(Ordering::Relaxed) {
            let due = started + Duration::from_secs_f64(issued as f64 / rate);
            issued += 1;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let phase = course.phase.load(Ordering::Relaxed);
            let node = course.goes_to[home].load(Ordering::Relaxed);
            let kept = client.take().filter(|(other, _)| *other == node);
            let asked = match kept {
                Some((_, client)) => Ok(client),
                None => Client::connect(over, course.nodes[node]),
            };
            let saying = next();
            let asked = asked.and_then(|mut client| client.announce(&saying).map(|()| client));
            match asked {
                Ok(asked) => {
                    seen.latencies[phase].add(due.elapsed().as_nanos() as u64);
                    seen.replies[phase] += 1;
                    client = Some((node, asked));
                }
                // Its node has died with the request: nobody can answer that.
                Err(_) if course.goes_to[home].load(Ordering::Relaxed) != node => {}
                Err(_) => seen.lost[phase] += 1,
            }
        }
        seen
    }
}

enum Client {
    Udp(UdpClient),
    Http(HttpClient),
}

impl Client {
    fn connect(over: Over, to: SocketAddr) -> io::Result<Self> {
        Ok(match over {
            Over::Udp => Self::Udp(UdpClient::connect(to)?),
            Over::Http => Self::Http(HttpClient::connect(to)?),
        })
    }

    fn announce(&mut self, saying: &Saying) -> io::Result<()> {
        match self {
            Self::Udp(client) => client.announce(saying),
            Self::Http(client) => client.announce(saying),
        }
    }
}

/// A client of BEP 15.
pub(crate) struct UdpClient {
    socket: UdpSocket,
    id: u64,
    connected: Instant,
    transaction_id: u32,
}

impl UdpClient {
    /// Asks for a connection id.
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        let mut client = Self { socket, id: 0, connected: Instant::now(), transaction_id: 0 };
        client.renew()?;
        Ok(client)
    }

    fn renew(&mut self) -> io::Result<()> {
        self.id = 0x0417_2710_1980;
        self.send(0, &[])?;
        let reply = self.receive(0)?;
        let id = reply.first_chunk().ok_or_else(|| wrong("a connection id is cut"))?;
        self.id = u64::from_be_bytes(*id);
        self.connected = Instant::now();
        Ok(())
    }

    fn announce(&mut self, saying: &Saying) -> io::Result<()> {
        if self.connected.elapsed() > ID_TIME {
            self.renew()?;
        }
        self.send(1, &announce_bytes(saying))?;
        self.receive(1).map(drop)
    }

    /// Announces all of `sayings`, many under way at a time.
    pub(crate) fn announce_all(&mut self, sayings: &[Saying]) -> io::Result<()> {
        for some in sayings.chunks(FILL_WINDOW) {
            for saying in some {
                self.send(1, &announce_bytes(saying))?;
            }
            let mut reply = [0; REPLY_BYTES_MAX];
            for _ in some {
                let bytes = self.socket.recv(&mut reply)?;
                if bytes < 20 || reply[..4] != 1_u32.to_be_bytes() {
                    return Err(wrong("an announce is refused"));
                }
            }
        }
        Ok(())
    }

    /// Seeders and leechers of each of these swarms.
    pub(crate) fn scrape(&mut self, swarms: &[u32]) -> io::Result<Vec<(u32, u32)>> {
        if self.connected.elapsed() > ID_TIME {
            self.renew()?;
        }
        let mut counts = Vec::with_capacity(swarms.len());
        for some in swarms.chunks(SCRAPE_MAX) {
            let hashes: Vec<u8> = some.iter().flat_map(|swarm| info_hash(*swarm)).collect();
            self.send(2, &hashes)?;
            let reply = self.receive(2)?;
            let number =
                |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
            let entry = |entry: &[u8]| (number(&entry[..4]), number(&entry[8..]));
            counts.extend(reply.chunks_exact(12).map(entry));
        }
        match counts.len() == swarms.len() {
            true => Ok(counts),
            false => Err(wrong("a scrape is cut")),
        }
    }

    fn send(&mut self, action: u32, rest: &[u8]) -> io::Result<()> {
        self.transaction_id = self.transaction_id.wrapping_add(1);
        let head = [&self.id.to_be_bytes()[..], &action.to_be_bytes()].concat();
        let request = [&head, &self.transaction_id.to_be_bytes()[..], rest].concat();
        self.socket.send(&request).map(drop)
    }

    /// What follows the head of the reply to the last request; late ones to others are skipped.
    fn receive(&self, action: u32) -> io::Result<Vec<u8>> {
        let mut reply = [0; REPLY_BYTES_MAX];
        loop {
            let bytes = self.socket.recv(&mut reply)?;
            let reply = reply.get(..bytes).unwrap_or_default();
            let Some((head, rest)) = reply.split_at_checked(8) else { continue };
            if head[4..] != self.transaction_id.to_be_bytes() {
                continue;
            }
            return match head[..4] == action.to_be_bytes() {
                true => Ok(rest.to_vec()),
                false => Err(wrong("a request is refused")),
            };
        }
    }
}

fn announce_bytes(saying: &Saying) -> Vec<u8> {
    let Saying { swarm, port, is_seeder, event } = *saying;
    let mut bytes = info_hash(swarm).to_vec();
    bytes.extend(peer_id(port));
    bytes.extend([0; 8]);
    bytes.extend(u64::from(!is_seeder).to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(event.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(30_u32.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

fn peer_id(port: u16) -> [u8; 20] {
    let mut id = *b"-qB4650-000000000000";
    id[18..].copy_from_slice(&port.to_be_bytes());
    id
}

struct HttpClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpClient {
    fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, LOST_AFTER)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOST_AFTER))?;
        stream.set_write_timeout(Some(LOST_AFTER))?;
        Ok(Self { stream, buffer: Vec::with_capacity(REPLY_BYTES_MAX) })
    }

    fn announce(&mut self, saying: &Saying) -> io::Result<()> {
        let Saying { swarm, port, is_seeder, event } = *saying;
        let escaped =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("%{byte:02x}")).collect() };
        let event = match event {
            EVENT_STARTED => "&event=started",
            EVENT_STOPPED => "&event=stopped",
            EVENT_NONE => "",
            _ => return Err(wrong("an event that is not made here")),
        };
        let (hash, peer_id) = (escaped(&info_hash(swarm)), escaped(&peer_id(port)));
        let request = format!(
            "GET /announce?info_hash={hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0\
             &left={}&compact=1&numwant=30{event} HTTP/1.1\r\nHost: t\r\n\r\n",
            u8::from(!is_seeder)
        );
        self.stream.write_all(request.as_bytes())?;
        self.buffer.clear();
        let mut piece = [0; REPLY_BYTES_MAX];
        loop {
            let bytes = self.stream.read(&mut piece)?;
            if bytes == 0 || self.buffer.len() > REPLY_BYTES_MAX {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&piece[..bytes]);
            if let Some(body) = whole_body(&self.buffer)? {
                return match body.starts_with(b"d8:complete") {
                    true => Ok(()),
                    false => Err(wrong("an announce is refused")),
                };
            }
        }
    }
}

/// The body of a reply with a length; `None` until all of it is there.
fn whole_body(reply: &[u8]) -> io::Result<Option<&[u8]>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(reply) else { return Ok(None) };
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let length = response.headers.iter().find(named);
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| wrong("a reply has no length"))?;
    Ok(reply.get(head..head + length))
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
