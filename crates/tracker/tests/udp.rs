//! The UDP endpoint, driven with an invented clock: datagrams in, datagrams out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peerage_proto::InfoHash;
use peerage_proto::udp::PROTOCOL_ID;
use peerage_tracker::udp::{Datagram, Endpoint, REPLY_BYTES_MAX, Replies};
use peerage_tracker::{
    AccessList, ConnectionKey, Connections, Limits, Now, PeerIds, Protocol, Refusal, Rules, Tracker,
};

const HASH: [u8; 20] = *b"aaaaaaaaaaaaaaaaaaaa";
const LIFETIME: Duration = Duration::from_secs(120);

struct Net {
    now: Now,
    tracker: Arc<Tracker>,
    endpoint: Endpoint,
    replies: Replies,
}

/// An announce as bytes, to be changed field by field.
#[derive(Clone, Copy)]
struct Announce {
    connection_id: u64,
    info_hash: [u8; 20],
    left: u64,
    event: u32,
    claimed_ip: [u8; 4],
    numwant: i32,
    port: u16,
}

const SEEDER: Announce = Announce {
    connection_id: 0,
    info_hash: HASH,
    left: 0,
    event: 2,
    claimed_ip: [0; 4],
    numwant: -1,
    port: 6881,
};
const LEECHER: Announce = Announce { left: 1, ..SEEDER };

impl Announce {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.connection_id.to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(77_u32.to_be_bytes());
        bytes.extend(self.info_hash);
        bytes.extend([b'p'; 20]);
        for counter in [0, self.left, 0] {
            bytes.extend(u64::to_be_bytes(counter));
        }
        bytes.extend(self.event.to_be_bytes());
        bytes.extend(self.claimed_ip);
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(self.numwant.to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
        bytes
    }
}

/// What a reply says.
#[derive(Debug, PartialEq)]
enum Reply {
    Announced { interval: u32, leechers: u32, seeders: u32, peers: Vec<u8> },
    Scraped(Vec<u8>),
    Error(String),
}

impl Net {
    fn new(limits: Limits, rules: Rules) -> Self {
        let tracker = Arc::new(Tracker::new([3; 16], limits, PeerIds::Dropped, rules));
        let connections = Connections::new(ConnectionKey([4; 16]), LIFETIME);
        let endpoint = Endpoint::new(Arc::clone(&tracker), connections, 5);
        let now = Now::from_millis(1_800_000_000_000);
        Self { now, tracker, endpoint, replies: Replies::new(64) }
    }

    fn open() -> Self {
        Self::new(Limits::default(), Rules { jitter_secs: 0, ..Rules::default() })
    }

    fn send(&mut self, source: IpAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let datagram = Datagram { source: SocketAddr::new(source, 1000), bytes };
        self.endpoint.handle(self.now, &[datagram], &mut self.replies);
        self.replies.iter().next().map(|(index, reply)| {
            assert_eq!(index, 0);
            reply.to_vec()
        })
    }

    fn connect(&mut self, source: IpAddr) -> u64 {
        let mut request = PROTOCOL_ID.to_be_bytes().to_vec();
        request.extend([0, 0, 0, 0, 1, 2, 3, 4]);
        let reply = self.send(source, &request).expect("a connect is answered");
        assert_eq!(reply[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        u64::from_be_bytes(reply[8..].try_into().expect("16 bytes in all"))
    }

    fn announce(&mut self, source: IpAddr, announce: Announce) -> Reply {
        let connection_id = self.connect(source);
        let announce = Announce { connection_id, ..announce };
        let reply = self.send(source, &announce.bytes()).expect("it carries a valid id");
        read(&reply)
    }
}

#[track_caller]
fn read(reply: &[u8]) -> Reply {
    let field = |at: usize| u32::from_be_bytes(reply[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!(field(4), 77, "the transaction id comes back");
    match field(0) {
        1 => Reply::Announced {
            interval: field(8),
            leechers: field(12),
            seeders: field(16),
            peers: reply[20..].to_vec(),
        },
        2 => Reply::Scraped(reply[8..].to_vec()),
        3 => Reply::Error(String::from_utf8(reply[8..].to_vec()).expect("ASCII")),
        action => panic!("action {action}"),
    }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn v6(number: u128) -> IpAddr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | number).into()
}

fn announced(leechers: u32, seeders: u32, peers: &[u8]) -> Reply {
    Reply::Announced { interval: 1799, leechers, seeders, peers: peers.to_vec() }
}

#[test]
fn peers_meet_across_announces_but_not_across_families() {
    let mut net = Net::open();
    assert_eq!(net.announce(v4(1), SEEDER), announced(0, 1, &[]));
    assert_eq!(net.announce(v4(2), LEECHER), announced(1, 1, &[10, 0, 0, 1, 0x1a, 0xe1]));
    assert_eq!(net.announce(v4(1), SEEDER), announced(1, 1, &[10, 0, 0, 2, 0x1a, 0xe1]));
    // Counted over both families, handed out within one.
    assert_eq!(net.announce(v6(9), LEECHER), announced(2, 1, &[]));
    let mut peer = [0; 18];
    peer[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    peer[15..].copy_from_slice(&[9, 0x1a, 0xe1]);
    assert_eq!(net.announce(v6(8), LEECHER), announced(3, 1, &peer));
}

#[test]
fn stopped_peer_is_not_handed_out_and_a_stranger_may_stop() {
    let mut net = Net::open();
    net.announce(v4(1), SEEDER);
    let stopped = Announce { event: 3, ..SEEDER };
    assert_eq!(net.announce(v4(3), stopped), announced(0, 1, &[]));
    assert_eq!(net.announce(v4(1), stopped), announced(0, 0, &[]));
    assert_eq!(net.announce(v4(1), stopped), announced(0, 0, &[]));
    assert_eq!(net.announce(v4(2), LEECHER), announced(1, 0, &[]));
}

#[test]
fn claimed_address_is_believed_from_where_the_operator_says_so() {
    let claims_from = Arc::new(["10.0.0.1".parse().expect("a prefix")]);
    let rules = Rules { claims_from, jitter_secs: 0, ..Rules::default() };
    let mut net = Net::new(Limits::default(), rules);
    let claims = Announce { claimed_ip: [198, 51, 100, 7], ..SEEDER };
    net.announce(v4(1), claims);
    assert_eq!(net.announce(v4(3), LEECHER), announced(1, 1, &[198, 51, 100, 7, 0x1a, 0xe1]));
    net.announce(v4(1), Announce { event: 3, ..claims });
    net.announce(v4(2), claims);
    assert_eq!(net.announce(v4(3), LEECHER), announced(1, 1, &[10, 0, 0, 2, 0x1a, 0xe1]));
}

#[test]
fn numwant_is_obeyed_and_bounded_by_what_a_datagram_holds() {
    let mut net = Net::new(
        Limits::default(),
        Rules { peers_per_response_max: 1000, jitter_secs: 0, ..Rules::default() },
    );
    for number in 0..300 {
        net.announce(v4(number), LEECHER);
        net.announce(v6(number.into()), LEECHER);
    }
    for (numwant, expected) in
        [(0, 0), (1, 1), (2, 2), (7, 7), (-1, 50), (i32::MIN, 50), (200, 200), (i32::MAX, 202)]
    {
        let Reply::Announced { peers, .. } = net.announce(v4(999), Announce { numwant, ..SEEDER })
        else {
            panic!("an announce is granted");
        };
        assert_eq!(peers.len(), expected * 6, "numwant {numwant}");
    }
    let Reply::Announced { peers, .. } = net.announce(v6(999), Announce { numwant: 500, ..SEEDER })
    else {
        panic!("an announce is granted");
    };
    assert_eq!(peers.len(), (REPLY_BYTES_MAX - 20) / 18 * 18);
}

#[test]
fn port_0_is_handed_peers_but_not_handed_out() {
    let mut net = Net::open();
    net.announce(v4(1), SEEDER);
    let unreachable = Announce { port: 0, ..LEECHER };
    assert_eq!(net.announce(v4(2), unreachable), announced(0, 1, &[10, 0, 0, 1, 0x1a, 0xe1]));
    assert_eq!(net.announce(v4(3), LEECHER), announced(1, 1, &[10, 0, 0, 1, 0x1a, 0xe1]));
}

#[test]
fn completed_is_counted_once_a_peer() {
    let mut net = Net::open();
    net.announce(v4(1), LEECHER);
    for event in [1, 1, 0] {
        net.announce(v4(1), Announce { event, ..SEEDER });
    }
    // One that begins as a seeder has not finished here.
    net.announce(v4(2), SEEDER);
    net.announce(v4(2), Announce { event: 1, ..SEEDER });
    let counts = net.tracker.swarms().scrape(&InfoHash(HASH));
    assert_eq!((counts.seeders, counts.completed), (2, 1));
}

#[test]
fn scrape_answers_each_hash_in_the_order_asked() {
    let mut net = Net::open();
    net.announce(v4(1), SEEDER);
    net.announce(v4(2), LEECHER);
    let mut scrape = net.connect(v4(5)).to_be_bytes().to_vec();
    scrape.extend([0, 0, 0, 2, 0, 0, 0, 77]);
    for hash in [[9; 20], HASH, HASH] {
        scrape.extend(hash);
    }
    let reply = net.send(v4(5), &scrape).expect("it carries a valid id");
    let known = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(read(&reply), Reply::Scraped([[0; 12], known, known].concat()));
}

#[test]
fn unknown_id_is_told_so_in_no_more_bytes_than_it_sent_and_changes_nothing() {
    let mut net = Net::open();
    let id = net.connect(v4(1));
    for (source, wait, connection_id) in [
        (v4(1), Duration::ZERO, id ^ 1 << 20),
        (v4(2), Duration::ZERO, id),
        (v4(1), LIFETIME + Duration::from_secs(2), id),
    ] {
        net.now = net.now + wait;
        let announce = Announce { connection_id, ..SEEDER };
        let reply = net.send(source, &announce.bytes()).expect("an error");
        assert_eq!(read(&reply), Reply::Error("bad id".into()));
        assert!(reply.len() <= 16);
    }
    assert_eq!(net.tracker.swarms().totals().swarms, 0);
    assert_eq!(net.tracker.tally().bad_connection_ids, 3);
}

#[test]
fn malformed_datagram_is_answered_only_with_a_valid_id() {
    let mut net = Net::open();
    let id = net.connect(v4(1)).to_be_bytes();
    let tail = |action: u8, rest: &[u8]| [&[0, 0, 0, action, 0, 0, 0, 77], rest].concat();
    for (action, rest, text) in [
        (1, &[0; 81][..], "packet too short for its action"),
        (2, &[0; 19], "scrape without an info_hash"),
        (7, &[], "unknown action: use connect, announce or scrape"),
        (0, &[], "connect without the protocol id"),
    ] {
        let valid = [&id[..], &tail(action, rest)].concat();
        let reply = net.send(v4(1), &valid).expect("an error");
        assert_eq!(read(&reply), Reply::Error(text.into()));
        let invalid = [&[1; 8][..], &tail(action, rest)].concat();
        assert_eq!(net.send(v4(1), &invalid), None);
    }
    for length in 0..16 {
        assert_eq!(net.send(v4(1), &vec![0; length]), None);
    }
    assert_eq!(net.tracker.tally().malformed_datagrams, 8 + 16);
}

#[test]
fn every_refusal_that_udp_can_meet_has_its_text_and_its_counter() {
    let access = AccessList::new(None, vec![InfoHash([b'd'; 20])]);
    let rules = Rules { access: Arc::new(access), ..Rules::default() };
    let limits = Limits { peers_per_address_max: 1, ..Limits::default() };
    let mut net = Net::new(limits, rules);
    let denied = Announce { info_hash: [b'd'; 20], ..SEEDER };
    let refused = |refusal: Refusal| Reply::Error(refusal.text().into());
    assert_eq!(net.announce(v4(1), denied), refused(Refusal::NotListed));
    net.announce(v4(1), SEEDER);
    let second = Announce { port: 6882, ..SEEDER };
    assert_eq!(net.announce(v4(1), second), refused(Refusal::AddressFull));
    let tally = net.tracker.tally();
    for refusal in [Refusal::NotListed, Refusal::AddressFull] {
        assert_eq!(tally.refusals(Protocol::Udp, refusal), 1);
    }
}

#[test]
fn new_rules_reach_a_worker_and_purge_what_is_no_longer_allowed() {
    let mut net = Net::open();
    net.announce(v4(1), SEEDER);
    let access = AccessList::new(Some(vec![InfoHash([b'l'; 20])]), vec![]);
    net.tracker.set_rules(Rules { access: Arc::new(access), ..Rules::default() });
    assert_eq!(net.announce(v4(2), SEEDER), Reply::Error(Refusal::NotListed.text().into()));
    assert_eq!(net.tracker.purge().swarms, 1);
    assert_eq!(net.tracker.swarms().totals().swarms, 0);
    let listed = Announce { info_hash: [b'l'; 20], ..SEEDER };
    assert!(matches!(net.announce(v4(2), listed), Reply::Announced { seeders: 1, .. }));
}

#[test]
fn batch_is_answered_in_order_with_gaps_for_silence() {
    let mut net = Net::open();
    let source = SocketAddr::new(v4(1), 1000);
    let connection_id = net.connect(v4(1));
    let announce = Announce { connection_id, ..LEECHER }.bytes();
    let batch: Vec<_> = (0..64)
        .map(|index| Datagram { source, bytes: if index % 3 == 0 { b"?" } else { &announce } })
        .collect();
    net.endpoint.handle(net.now, &batch, &mut net.replies);
    let answered: Vec<_> = net.replies.iter().map(|(index, _)| index).collect();
    let expected: Vec<_> = (0..64).filter(|index| index % 3 != 0).collect();
    assert_eq!(answered, expected);
}

#[test]
fn interval_is_drawn_from_its_jitter() {
    let mut net = Net::new(Limits::default(), Rules::default());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let Reply::Announced { interval, .. } = net.announce(v4(1), SEEDER) else {
            panic!("an announce is granted");
        };
        seen.insert(interval);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&1799), Some(&1859)));
}
