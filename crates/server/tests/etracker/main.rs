//! etracker's functional scenario against the running program: real connects, parsed replies.

mod bencode;
mod steps;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use bencode::Value;
use peerage_testkit::{Server, http};
use steps::{Event, Form, GROUPS, Step, Swarm, Via, Why};

/// For one reply; what is not there by then has been lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the scenario's UDP client asks for.
const NUMWANT: u32 = 33;

/// What came back of an announce.
#[derive(Debug, PartialEq)]
struct Reply {
    seeders: u32,
    leechers: u32,
    /// UDP tells it in the scrape that follows.
    completed: u32,
    peers: BTreeSet<SocketAddr>,
    /// The clients that the peers say they are; empty where the form has no peer_ids.
    clients: BTreeSet<u8>,
}

impl Step {
    fn ip(&self) -> IpAddr {
        match self.via {
            Via::Http4 | Via::Udp4 => Ipv4Addr::LOCALHOST.into(),
            Via::Http6 | Via::Udp6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn info_hash(&self, group: usize) -> [u8; 20] {
        let mut hash = match self.swarm {
            Swarm::A => *b"11112222333344445555",
            Swarm::B => *b"22223333444455551111",
            Swarm::C => [b'2'; 20],
        };
        hash[19] = b'a' + group as u8;
        hash
    }

    fn port(&self) -> u16 {
        port(self.client)
    }

    fn peers(&self) -> BTreeSet<SocketAddr> {
        let peer = |peer: &str| {
            let (family, client) = peer.split_once(':').expect("family:client");
            let ip: IpAddr = match family {
                "4" => Ipv4Addr::LOCALHOST.into(),
                _ => Ipv6Addr::LOCALHOST.into(),
            };
            SocketAddr::new(ip, port(client.parse().expect("a digit")))
        };
        self.peers.split_whitespace().map(peer).collect()
    }

    fn run(&self, server: SocketAddr, group: usize) -> Reply {
        match self.via {
            Via::Http4 | Via::Http6 => self.run_http(server, group),
            Via::Udp4 | Via::Udp6 => self.run_udp(server, group),
        }
    }

    fn run_http(&self, server: SocketAddr, group: usize) -> Reply {
        let event = match self.event {
            Event::Started => "started",
            Event::Stopped => "stopped",
        };
        let form = match self.form {
            Form::Compact => "&compact=1",
            Form::Dictionary => "&compact=0",
            Form::DictionaryWithoutIds => "&compact=0&no_peer_id=1",
            Form::Unsaid => "",
        };
        let info_hash = self.info_hash(group);
        let target = format!(
            "/announce?info_hash={}&peer_id={}&port={}&event={event}{form}",
            std::str::from_utf8(&info_hash).expect("ASCII"),
            self.client.to_string().repeat(20),
            self.port(),
        );
        let reply = http::get(server, &target).expect("an announce is answered");
        assert_eq!(reply.status, 200);
        let reply = Value::parse(&reply.body).expect("canonical bencode");
        let count = |key| reply.get(key).and_then(Value::as_u32).expect("a count");
        let interval = count("interval");
        assert!((1799..=1859).contains(&interval), "an interval of {interval} s");
        let is_list = matches!(reply.get("peers"), Some(Value::List(_)));
        let asked_list = matches!(self.form, Form::Dictionary | Form::DictionaryWithoutIds);
        assert_eq!(is_list, asked_list, "the form that was asked for");
        assert!(!(is_list && reply.get("peers6").is_some()), "one list holds all peers");
        let (peers, clients) = bencode::peers(&reply);
        Reply {
            seeders: count("complete"),
            leechers: count("incomplete"),
            completed: count("downloaded"),
            peers,
            clients,
        }
    }

    fn run_udp(&self, server: SocketAddr, group: usize) -> Reply {
        let socket = UdpSocket::bind((self.ip(), 0)).expect("a free port");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let exchange = |request: &[u8]| {
            socket.send(request).expect("loopback");
            let mut reply = vec![0; 2048];
            let length = socket.recv(&mut reply).expect("an answer in time");
            reply.truncate(length);
            reply
        };
        let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], b"abcd"].concat();
        let reply = exchange(&connect);
        assert_eq!(reply[..8], *b"\0\0\0\0abcd");
        assert_eq!(reply.len(), 16);
        let connection_id = &reply[8..];

        let event: u32 = match self.event {
            Event::Started => 2,
            Event::Stopped => 3,
        };
        let info_hash = self.info_hash(group);
        let peer_id = self.client.to_string().repeat(20);
        let mut announce = [connection_id, &[0, 0, 0, 1], b"acdb", &info_hash].concat();
        announce.extend(peer_id.as_bytes());
        announce.extend([0; 24]);
        announce.extend(event.to_be_bytes());
        // An address and a key, both to be ignored.
        announce.extend(b"bbbbcccc");
        announce.extend(NUMWANT.to_be_bytes());
        announce.extend(self.port().to_be_bytes());
        let reply = exchange(&announce);
        assert_eq!(reply[..8], *b"\0\0\0\x01acdb");
        let (leechers, seeders) = (field(&reply, 12), field(&reply, 16));
        let peers = match self.via {
            Via::Udp4 => bencode::compact_v4(&reply[20..]).collect(),
            _ => bencode::compact_v6(&reply[20..]).collect(),
        };

        let scrape = [connection_id, &[0, 0, 0, 2], b"abcd", &[b'1'; 20], &info_hash].concat();
        let reply = exchange(&scrape);
        assert_eq!(reply.len(), 8 + 2 * 12);
        assert_eq!(reply[..8], *b"\0\0\0\x02abcd");
        assert_eq!(reply[8..20], [0; 12], "a swarm that nobody knows");
        assert_eq!((field(&reply, 20), field(&reply, 28)), (seeders, leechers));
        let completed = field(&reply, 24);
        Reply { seeders, leechers, completed, peers, clients: BTreeSet::new() }
    }
}

fn port(client: u8) -> u16 {
    12_340 + u16::from(client)
}

fn field(reply: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*reply[at..].first_chunk().expect("4 bytes"))
}

#[test]
fn etrackers_75_steps_pass() {
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    let settings = [("PEERAGE__SWARM__PEER_IDS", "true")];
    let server = Server::start_with(program, &[], &settings).expect("it starts");
    let mut steps = 0;
    for (group, (name, group_steps)) in GROUPS.iter().enumerate() {
        for step in *group_steps {
            let reply = step.run(server.address(step.ip()), group);
            let (seeders, leechers, completed) = step.counts;
            let clients = match step.form {
                Form::Dictionary => step.peers().iter().map(|peer| client(*peer)).collect(),
                _ => BTreeSet::new(),
            };
            let peers = step.peers();
            let expected = Reply { seeders, leechers, completed, peers, clients };
            assert_eq!(reply, expected, "{name}, step {}: {step:?}", step.number);
            steps += 1;
        }
    }
    assert_eq!(steps, 75);
    server.stop().expect("it stops");
}

fn client(peer: SocketAddr) -> u8 {
    (peer.port() - port(0)) as u8
}

#[test]
fn every_reason_to_differ_is_used() {
    let steps = GROUPS.iter().flat_map(|(_, steps)| *steps);
    let used: BTreeSet<Why> = steps.flat_map(|step| step.why).copied().collect();
    assert_eq!(used.len(), 8, "{used:?}");
}
