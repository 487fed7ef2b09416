//! Members whose clients announce without pause, over HTTP keep-alive and over UDP, and know to
//! the byte what they are owed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use peerage_testkit::{Wait, http, wait_for};

/// Members; those with an odd number come over HTTP, the others over UDP.
pub(crate) const MEMBERS: u32 = 24;
/// Torrents; each member is at two of them.
pub(crate) const TORRENTS: u32 = 5;

/// Bytes of a torrent.
const SIZE: u64 = 1 << 20;
/// Between two rounds of a crowd: some hundred announces a second are load enough to be flushed
/// with every flush, and leave the machine to the database.
const PACE: Duration = Duration::from_millis(20);
/// Rounds of a crowd at most: some minutes.
const ROUNDS_MAX: u64 = 20_000;
/// How long rounds may take to come about, and one reply.
const LIMIT: Duration = Duration::from_secs(60);
const REPLY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a connection id is used: it is good for two minutes.
const CONNECTION_ID_TIME: Duration = Duration::from_secs(30);

/// A member's client at a torrent, as it announced last.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) member: u32,
    pub(crate) torrent: u32,
    pub(crate) peer_id: [u8; 20],
    /// What its counters stood at when it came: not to be credited.
    began: (u64, u64),
    uploaded: u64,
    downloaded: u64,
    left: u64,
    announces: u32,
    /// Whether it completed while the tracker watched.
    has_completed: bool,
    is_here: bool,
}

/// All clients.
pub(crate) struct Crowd {
    peers: Vec<Peer>,
}

/// The crowd while it announces.
pub(crate) struct Load {
    rounds: [AtomicU64; 2],
    has_failed: AtomicBool,
}

/// What the tables are to say, each row as its columns with blanks between them.
#[derive(Debug)]
pub(crate) struct Owed {
    /// Member, uploaded, downloaded.
    pub(crate) members: BTreeMap<u32, (u64, u64)>,
    /// Torrent, seeders, leechers, completed, upload less download.
    pub(crate) torrents: Vec<String>,
    /// Member, torrent, peer_id in hex, whether active, announces, uploaded, downloaded, left.
    pub(crate) peers: Vec<String>,
    /// Member and torrent.
    pub(crate) snatches: Vec<String>,
}

/// The passkey of a member.
pub(crate) fn passkey(member: u32) -> String {
    format!("{member:032}")
}

/// The info_hash of a torrent.
pub(crate) fn info_hash(torrent: u32) -> [u8; 20] {
    [u8::try_from(torrent).expect("there are few"); 20]
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Peer {
    fn new(member: u32, torrent: u32) -> Self {
        let mut peer_id = *b"-PE0001-\0'\"\xff........";
        peer_id[12..16].copy_from_slice(&member.to_be_bytes());
        peer_id[16..].copy_from_slice(&torrent.to_be_bytes());
        let began = (u64::from(member) * 1000, 17);
        let (uploaded, downloaded) = began;
        let (left, announces) = (SIZE, 0);
        let (has_completed, is_here) = (false, false);
        Self {
            member,
            torrent,
            peer_id,
            began,
            uploaded,
            downloaded,
            left,
            announces,
            has_completed,
            is_here,
        }
    }

    /// Moves on by a round: some bytes that differ from peer to peer; which event it says.
    fn step(&mut self) -> &'static str {
        if !self.is_here {
            (self.is_here, self.announces) = (true, 1);
            return "started";
        }
        self.announces += 1;
        self.uploaded += u64::from(self.member * 7 + self.torrent);
        if self.left == 0 {
            return "";
        }
        let moved = self.left.min(SIZE / u64::from(self.member + 8));
        self.downloaded += moved;
        self.left -= moved;
        if self.left > 0 {
            return "";
        }
        self.has_completed = true;
        "completed"
    }

    fn stop(&mut self) -> &'static str {
        self.announces += 1;
        self.is_here = false;
        "stopped"
    }
}

impl Crowd {
    /// No clients.
    pub(crate) fn empty() -> Self {
        Self { peers: Vec::new() }
    }

    /// Two clients of each member, which have not announced yet.
    pub(crate) fn new() -> Self {
        let torrents = |member| [member % TORRENTS + 1, (member + 2) % TORRENTS + 1];
        let peers = (1..=MEMBERS)
            .flat_map(|member| torrents(member).map(|torrent| Peer::new(member, torrent)));
        Self { peers: peers.collect() }
    }

    /// Has all of them announce to `server`, round after round, while `meanwhile` runs, and a
    /// third of them stop in the end. Each reply is a good one, or this panics.
    pub(crate) fn announce(&mut self, server: SocketAddr, meanwhile: impl FnOnce(&Load)) {
        let load = Load { rounds: Default::default(), has_failed: AtomicBool::new(false) };
        let peers = std::mem::take(&mut self.peers);
        let (over_http, over_udp): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|peer| peer.member % 2 == 1);
        thread::scope(|scope| {
            let (stop_http, stopped_http) = mpsc::channel();
            let (stop_udp, stopped_udp) = mpsc::channel();
            let load = &load;
            let crowds = [
                scope.spawn(move || {
                    let _failure = Failure(&load.has_failed);
                    let mut way = Http::open(server);
                    rounds(over_http, &mut way, &load.rounds[0], &stopped_http)
                }),
                scope.spawn(move || {
                    let _failure = Failure(&load.has_failed);
                    let mut way = Udp::open(server);
                    rounds(over_udp, &mut way, &load.rounds[1], &stopped_udp)
                }),
            ];
            meanwhile(load);
            // Fails where the crowd has, which is told below.
            let _ = (stop_http.send(()), stop_udp.send(()));
            for crowd in crowds {
                self.peers.extend(crowd.join().expect("every announce is answered"));
            }
        });
    }

    /// So many clients more come and leave at once.
    pub(crate) fn pass_by(&mut self, server: SocketAddr, count: u32) {
        let mut http = Http::open(server);
        for _ in 0..count {
            let number = u32::try_from(self.peers.len()).expect("there are few");
            let mut peer = Peer::new(number % MEMBERS + 1, number % TORRENTS + 1);
            peer.peer_id[8..12].copy_from_slice(&number.to_be_bytes());
            let event = peer.step();
            http.announce(&peer, event);
            let event = peer.stop();
            http.announce(&peer, event);
            self.peers.push(peer);
        }
    }

    /// All clients throw away what they have, and will begin anew.
    pub(crate) fn begin_anew(&mut self) {
        for peer in &mut self.peers {
            (peer.left, peer.is_here) = (SIZE, false);
        }
    }

    /// Takes the clients of both as one crowd.
    pub(crate) fn with(mut self, others: Self) -> Self {
        self.peers.extend(others.peers);
        self
    }

    /// Announces once with each client, as in a round.
    pub(crate) fn announce_once(&mut self, server: SocketAddr) {
        let (mut http, mut udp) = (Http::open(server), Udp::open(server));
        for peer in &mut self.peers {
            let event = peer.step();
            match peer.member % 2 {
                1 => http.announce(peer, event),
                _ => udp.announce(peer, event),
            }
        }
    }

    /// The members' sums alone.
    pub(crate) fn credit(&self) -> BTreeMap<u32, (u64, u64)> {
        let mut members = BTreeMap::new();
        for peer in &self.peers {
            let sums: &mut (u64, u64) = members.entry(peer.member).or_default();
            sums.0 += peer.uploaded - peer.began.0;
            sums.1 += peer.downloaded - peer.began.1;
        }
        members
    }

    /// What all of them are owed.
    pub(crate) fn owed(&self) -> Owed {
        let torrents = (1..=TORRENTS).map(|torrent| {
            let peers = || self.peers.iter().filter(|peer| peer.torrent == torrent);
            let (seeders, leechers): (Vec<_>, Vec<_>) =
                peers().filter(|peer| peer.is_here).partition(|peer| peer.left == 0);
            let completed = peers().filter(|peer| peer.has_completed).count();
            let balance: i64 = peers()
                .map(|peer| {
                    let less = |now: u64, began: u64| i64::try_from(now - began).expect("small");
                    less(peer.uploaded, peer.began.0) - less(peer.downloaded, peer.began.1)
                })
                .sum();
            format!("{torrent} {} {} {completed} {balance}", seeders.len(), leechers.len())
        });
        let peers = self.peers.iter().map(|peer| {
            let Peer { member, torrent, announces, uploaded, downloaded, left, .. } = peer;
            let (peer_id, is_here) = (hex(&peer.peer_id), u8::from(peer.is_here));
            format!(
                "{member} {torrent} {peer_id} {is_here} {announces} {uploaded} {downloaded} {left}"
            )
        });
        let completed = self.peers.iter().filter(|peer| peer.has_completed);
        let snatches = completed.map(|peer| format!("{} {}", peer.member, peer.torrent));
        let sorted = |mut rows: Vec<String>| {
            rows.sort();
            rows
        };
        Owed {
            members: self.credit(),
            torrents: sorted(torrents.collect()),
            peers: sorted(peers.collect()),
            snatches: sorted(snatches.collect()),
        }
    }
}

impl Owed {
    /// Panics with the rows that differ from what is owed.
    #[track_caller]
    pub(crate) fn check(&self, owed: &Self) {
        let differ = |found: &[String], owed: &[String]| -> Vec<String> {
            let only = |rows: &[String], others: &[String], mark: &str| -> Vec<String> {
                let only = rows.iter().filter(|row| !others.contains(row));
                only.map(|row| format!("{mark} {row}")).collect()
            };
            [only(found, owed, "found"), only(owed, found, "owed ")].concat()
        };
        let members = |of: &Self| -> Vec<String> {
            let text = |(id, (up, down)): (&u32, &(u64, u64))| format!("{id} {up} {down}");
            of.members.iter().map(text).collect()
        };
        let rows = [
            differ(&members(self), &members(owed)),
            differ(&self.torrents, &owed.torrents),
            differ(&self.peers, &owed.peers),
            differ(&self.snatches, &owed.snatches),
        ];
        let rows = rows.concat();
        assert!(rows.is_empty(), "{} rows: {:#?}", rows.len(), &rows[..rows.len().min(20)]);
        assert_eq!(self.snatches.len(), owed.snatches.len(), "each once");
    }
}

impl Load {
    /// Waits until all clients have announced so many times more.
    #[track_caller]
    pub(crate) fn rounds(&self, count: u64) {
        let before = self.rounds.each_ref().map(|rounds| rounds.load(Ordering::Acquire));
        let waited = wait_for("rounds of announces", LIMIT, || {
            if self.has_failed.load(Ordering::Acquire) {
                return Err("an announce was not answered well".to_owned());
            }
            let now = self.rounds.each_ref().map(|rounds| rounds.load(Ordering::Acquire));
            let is_done = now.iter().zip(before).all(|(now, before)| *now >= before + count);
            Ok(if is_done { Wait::Done(()) } else { Wait::NotYet(format!("{now:?}")) })
        });
        waited.expect("the tracker answers all along");
    }
}

/// Says that its thread panicked.
struct Failure<'a>(&'a AtomicBool);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        self.0.store(thread::panicking(), Ordering::Release);
    }
}

/// Announces until told to stop; the peers as they are then.
fn rounds(
    mut peers: Vec<Peer>,
    way: &mut impl Way,
    rounds: &AtomicU64,
    stopped: &Receiver<()>,
) -> Vec<Peer> {
    while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        for peer in &mut peers {
            let event = peer.step();
            way.announce(peer, event);
        }
        assert!(rounds.fetch_add(1, Ordering::Release) < ROUNDS_MAX, "nobody ends this");
    }
    for peer in peers.iter_mut().step_by(3).filter(|peer| peer.is_here) {
        let event = peer.stop();
        way.announce(peer, event);
    }
    peers
}

/// How announces get there. Each panics where the reply is none, or refuses, or warns.
trait Way {
    fn announce(&mut self, peer: &Peer, event: &str);
}

struct Http(http::Connection);

impl Http {
    fn open(server: SocketAddr) -> Self {
        Self(http::Connection::open(server).expect("it listens"))
    }
}

impl Way for Http {
    fn announce(&mut self, peer: &Peer, event: &str) {
        let escaped =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("%{byte:02x}")).collect() };
        let Peer { member, torrent, uploaded, downloaded, left, .. } = peer;
        let (passkey, hash) = (passkey(*member), escaped(&info_hash(*torrent)));
        let target = format!(
            "/{passkey}/announce?info_hash={hash}&peer_id={}&port={}&uploaded={uploaded}\
             &downloaded={downloaded}&left={left}&event={event}&numwant=10&compact=1",
            escaped(&peer.peer_id),
            10_000 + member,
        );
        let reply = self.0.get(&target).expect("the connection is kept");
        let text = reply.body.escape_ascii().to_string();
        assert!(reply.status == 200 && text.starts_with("d8:completei"), "{event} {text}");
        assert!(!text.contains("warning"), "{text}");
    }
}

/// A client of BEP 15 with the path in the URL data (BEP 41).
struct Udp {
    server: SocketAddr,
    socket: UdpSocket,
    connection_id: [u8; 8],
    connected: Instant,
    transaction_id: u32,
}

impl Udp {
    fn open(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(REPLY_TIME_MAX)).expect("it is not zero");
        let (connection_id, connected, transaction_id) = ([0; 8], Instant::now(), 0);
        let mut client = Self { server, socket, connection_id, connected, transaction_id };
        client.connect();
        client
    }

    fn connect(&mut self) {
        self.connection_id = 0x0417_2710_1980_u64.to_be_bytes();
        let reply = self.ask(0, &[]);
        self.connection_id = reply.as_slice().try_into().expect("a connection id");
        self.connected = Instant::now();
    }

    fn ask(&mut self, action: u32, rest: &[u8]) -> Vec<u8> {
        self.transaction_id += 1;
        let head = [action.to_be_bytes(), self.transaction_id.to_be_bytes()].concat();
        let request = [&self.connection_id, &*head, rest].concat();
        self.socket.send(&request).expect("loopback");
        let mut reply = vec![0; 2048];
        let length = self.socket.recv(&mut reply);
        let length = length.unwrap_or_else(|error| panic!("{}, UDP: {error}", self.server));
        let reply = &reply[..length];
        let rest = reply.strip_prefix(&*head);
        rest.unwrap_or_else(|| panic!("{}", reply.escape_ascii())).to_owned()
    }
}

impl Way for Udp {
    fn announce(&mut self, peer: &Peer, event: &str) {
        if self.connected.elapsed() > CONNECTION_ID_TIME {
            self.connect();
        }
        let event: u32 = match event {
            "completed" => 1,
            "started" => 2,
            "stopped" => 3,
            _ => 0,
        };
        let mut rest = [info_hash(peer.torrent), peer.peer_id].concat();
        for amount in [peer.downloaded, peer.left, peer.uploaded] {
            rest.extend(amount.to_be_bytes());
        }
        rest.extend(event.to_be_bytes());
        // An address and a key, both of no interest, and 10 peers.
        rest.extend(b"\0\0\0\0bbbb\0\0\0\x0a");
        rest.extend(u16::try_from(10_000 + peer.member).expect("there are few").to_be_bytes());
        let path = format!("/{}/announce", passkey(peer.member));
        rest.extend([2, u8::try_from(path.len()).expect("it is short")]);
        rest.extend(path.as_bytes());
        let reply = self.ask(1, &rest);
        assert!(reply.len() >= 12, "{}", reply.escape_ascii());
    }
}
