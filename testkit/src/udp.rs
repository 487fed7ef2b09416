//! A client of BEP 15 that asks one thing at a time and waits for its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::{Counts, compact_v4, compact_v6};

/// For one reply; what is not there by then has been lost.
const LIMIT: Duration = Duration::from_secs(30);
/// Longer than any reply that is not fragmented.
const REPLY_BYTES_MAX: usize = 2048;

/// A socket with a connection id of the tracker.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    socket: UdpSocket,
    connection_id: [u8; 8],
    /// Of the last request, so that a reply that comes late is not taken for the next.
    transaction_id: u32,
}

/// What a peer announces; all of no interest to a test is 0.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: [u8; 20],
    /// Who announces.
    pub peer_id: [u8; 20],
    /// Bytes that it has not got yet.
    pub left: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped.
    pub event: u32,
    /// How many peers it would like.
    pub numwant: u32,
    /// Where it listens.
    pub port: u16,
}

/// What comes back of an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The interval, in seconds.
    pub interval_secs: u32,
    /// Peers with something left.
    pub leechers: u32,
    /// Peers with nothing left.
    pub seeders: u32,
    /// In the order they came in, of the family of the request.
    pub peers: Vec<SocketAddr>,
}

impl Client {
    /// Asks `server` for a connection id, from a new socket.
    pub fn connect(server: SocketAddr) -> Result<Self, String> {
        let local: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self::connect_from(local, server)
    }

    /// As [`Client::connect`], from an address of this machine: any of 127.0.0.0/8 is one.
    pub fn connect_from(local: IpAddr, server: SocketAddr) -> Result<Self, String> {
        let socket = UdpSocket::bind((local, 0)).and_then(|socket| {
            socket.connect(server)?;
            socket.set_read_timeout(Some(LIMIT))?;
            Ok(socket)
        });
        let socket = socket.map_err(|error| format!("a socket to {server}: {error}"))?;
        let connection_id = 0x0417_2710_1980_u64.to_be_bytes();
        let mut client = Self { server, socket, connection_id, transaction_id: 0 };
        let reply = client.ask(0, &[])?;
        client.connection_id = (*reply)
            .try_into()
            .map_err(|_| format!("{server}: {} bytes for a connection id", reply.len()))?;
        Ok(client)
    }

    /// The same connection id and socket, from now on for another server.
    pub fn moved_to(mut self, server: SocketAddr) -> Result<Self, String> {
        let moved = self.socket.connect(server);
        moved.map_err(|error| format!("a socket to {server}: {error}"))?;
        self.server = server;
        Ok(self)
    }

    /// Announces.
    pub fn announce(&mut self, announce: &Announce) -> Result<Announced, String> {
        self.announce_as("", announce, 0, 0)
    }

    /// Announces to `path` (BEP 41), at most 255 bytes and empty for none, with the bytes that were
    /// uploaded and downloaded.
    pub fn announce_as(
        &mut self,
        path: &str,
        announce: &Announce,
        uploaded: u64,
        downloaded: u64,
    ) -> Result<Announced, String> {
        let mut request = [announce.info_hash, announce.peer_id].concat();
        for amount in [downloaded, announce.left, uploaded] {
            request.extend(amount.to_be_bytes());
        }
        request.extend(announce.event.to_be_bytes());
        // An address and a key, both to be ignored.
        request.extend(b"bbbbcccc");
        request.extend(announce.numwant.to_be_bytes());
        request.extend(announce.port.to_be_bytes());
        if !path.is_empty() {
            let length = u8::try_from(path.len()).map_err(|_| format!("{path} is too long"))?;
            request.extend([2, length]);
            request.extend(path.as_bytes());
        }
        let reply = self.ask(1, &request)?;
        let [interval_secs, leechers, seeders] = numbers(&reply, self.server)?;
        let peers = match self.server {
            SocketAddr::V4(_) => compact_v4(&reply[12..])?,
            SocketAddr::V6(_) => compact_v6(&reply[12..])?,
        };
        Ok(Announced { interval_secs, leechers, seeders, peers })
    }

    /// Scrapes; the counts are in the order of the info_hashes.
    pub fn scrape(&mut self, info_hashes: &[[u8; 20]]) -> Result<Vec<Counts>, String> {
        let reply = self.ask(2, &info_hashes.concat())?;
        if reply.len() != 12 * info_hashes.len() {
            let (bytes, swarms) = (reply.len(), info_hashes.len());
            return Err(format!("{}: {bytes} bytes for {swarms} swarms", self.server));
        }
        let counts = |swarm| {
            let [seeders, completed, leechers] = numbers(swarm, self.server)?;
            Ok(Counts { seeders, leechers, completed })
        };
        reply.chunks(12).map(counts).collect()
    }

    /// Sends a request and returns what follows the head of its reply.
    fn ask(&mut self, action: u32, rest: &[u8]) -> Result<Vec<u8>, String> {
        self.transaction_id += 1;
        let head = [action.to_be_bytes(), self.transaction_id.to_be_bytes()].concat();
        let request = [&self.connection_id[..], &head, rest].concat();
        let mut reply = vec![0; REPLY_BYTES_MAX];
        let received = self.socket.send(&request).and_then(|_| self.socket.recv(&mut reply));
        let failed = |error| format!("{}, action {action} over UDP: {error}", self.server);
        reply.truncate(received.map_err(|error| failed(error.to_string()))?);
        match reply.strip_prefix(&head[..]) {
            Some(rest) => Ok(rest.to_vec()),
            None => Err(failed(format!("answered with {}", reply.escape_ascii()))),
        }
    }
}

/// The three numbers that `reply` starts with.
fn numbers(reply: &[u8], server: SocketAddr) -> Result<[u32; 3], String> {
    let short = || format!("{server}: a reply of {} bytes is too short", reply.len());
    let (numbers, _) = reply.first_chunk::<12>().ok_or_else(short)?.as_chunks::<4>();
    Ok([0, 1, 2].map(|at: usize| u32::from_be_bytes(numbers[at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each request with the next of `replies`, after its own head.
    fn server(replies: Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(LIMIT)).expect("not zero");
        let address = socket.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for reply in replies {
                let mut request = [0; REPLY_BYTES_MAX];
                let (_, client) = socket.recv_from(&mut request).expect("a request");
                let reply = [&request[8..16], &reply].concat();
                socket.send_to(&reply, client).expect("loopback");
            }
        });
        address
    }

    #[test]
    fn replies_are_read_and_others_are_not() {
        let counts = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let peer = [127, 0, 0, 1, 0, 9];
        let announced = [&counts[..], &peer].concat();
        let replies = vec![vec![7; 8], announced, counts.into(), counts.into(), vec![0; 11]];
        let mut client = Client::connect(server(replies)).expect("an id");
        assert_eq!(client.connection_id, [7; 8]);
        let (info_hash, peer_id) = ([1; 20], [2; 20]);
        let announce = Announce { info_hash, peer_id, left: 0, event: 2, numwant: 3, port: 4 };
        let peers = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9))];
        let expected = Announced { interval_secs: 1, leechers: 2, seeders: 3, peers };
        assert_eq!(client.announce(&announce), Ok(expected));
        let expected = Counts { seeders: 1, completed: 2, leechers: 3 };
        assert_eq!(client.scrape(&[[1; 20]]), Ok(vec![expected]));
        assert!(client.scrape(&[[1; 20]; 2]).is_err(), "one swarm for two");
        assert!(client.announce(&announce).is_err(), "it is too short");
        assert!(Client::connect(server(vec![vec![0; 9]])).is_err(), "9 bytes are no id");
    }
}
