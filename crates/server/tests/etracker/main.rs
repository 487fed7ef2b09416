//! etracker's functional scenario against the running program: real connects, parsed replies.

mod steps;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use peerage_testkit::bencode::Value;
use peerage_testkit::{Counts, Server, compact_v4, compact_v6, http, udp};
use steps::{Event, Form, GROUPS, Step, Swarm, Via, Why};

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
        let (peers, clients) = peers(&reply);
        Reply {
            seeders: count("complete"),
            leechers: count("incomplete"),
            completed: count("downloaded"),
            peers,
            clients,
        }
    }

    fn run_udp(&self, server: SocketAddr, group: usize) -> Reply {
        let mut client = udp::Client::connect(server).expect("an id in time");
        let announce = udp::Announce {
            info_hash: self.info_hash(group),
            peer_id: [b'0' + self.client; 20],
            left: 0,
            event: match self.event {
                Event::Started => 2,
                Event::Stopped => 3,
            },
            numwant: NUMWANT,
            port: self.port(),
        };
        let announced = client.announce(&announce).expect("an answer in time");
        let counts = client.scrape(&[[b'1'; 20], announce.info_hash]).expect("an answer in time");
        assert_eq!(counts[0], Counts::default(), "a swarm that nobody knows");
        let Counts { seeders, leechers, completed } = counts[1];
        assert_eq!((announced.seeders, announced.leechers), (seeders, leechers));
        let peers = announced.peers.into_iter().collect();
        Reply { seeders, leechers, completed, peers, clients: BTreeSet::new() }
    }
}

/// The peers of an announce reply in either form, and the clients they say they are.
fn peers(reply: &Value) -> (BTreeSet<SocketAddr>, BTreeSet<u8>) {
    let peers6 = reply.get("peers6").and_then(Value::as_bytes).unwrap_or_default();
    match reply.get("peers").expect("there always are peers") {
        Value::List(list) => {
            let address = |peer: &Value| {
                let ip = std::str::from_utf8(peer.get("ip")?.as_bytes()?).ok()?;
                let port = u16::try_from(peer.get("port")?.as_u32()?).ok()?;
                Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port))
            };
            let peers = list.iter().map(|peer| address(peer).expect("ip and port")).collect();
            let ids = list.iter().filter_map(|peer| peer.get("peer id")?.as_bytes());
            (peers, ids.map(|id| id[0] - b'0').collect())
        }
        peers => {
            let v4 = compact_v4(peers.as_bytes().expect("a list or a string")).expect("peers");
            let v6 = compact_v6(peers6).expect("peers");
            (v4.into_iter().chain(v6).collect(), BTreeSet::new())
        }
    }
}

fn port(client: u8) -> u16 {
    12_340 + u16::from(client)
}

#[test]
fn etrackers_75_steps_pass() {
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    // Bounds of one, or the load of the machine would move the interval.
    let settings = [
        ("PEERAGE__SWARM__PEER_IDS", "true"),
        ("PEERAGE__ANNOUNCE__MIN_INTERVAL", "1799"),
        ("PEERAGE__ANNOUNCE__MAX_INTERVAL", "1799"),
    ];
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
