//! The endpoints as a whole: a conversation with an invented clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peerage_proto::http::HeadEnd;
use peerage_proto::{Family, udp as wire};
use peerage_testkit::bencode::Value;
use peerage_tracker::http::{self, FullScrape, Handled, Progress, Settings};
use peerage_tracker::udp::{self, Datagram, REPLY_BYTES_MAX, Replies};
use peerage_tracker::{ConnectionKey, Connections, Limits, Now, PeerIds, Rules, Tracker};

/// Small enough for its bounds to be reached.
fn tracker(peer_ids: PeerIds) -> Arc<Tracker> {
    let limits = Limits {
        swarms_max: 8,
        peers_max: 40,
        peers_per_swarm_max: 8,
        peers_per_address_max: 0,
        peer_timeout: Duration::from_secs(60),
        completed_kept: Duration::from_secs(60),
    };
    let rules = Rules { full_scrape: true, scrape_hashes_max: 4, ..Rules::default() };
    Arc::new(Tracker::new([7; 16], limits, peer_ids, rules))
}

/// An input that goes on long enough sees every part of the store expire.
const EXPIRE_PARTS: u32 = 32;

const START: Now = Now::from_millis(1_800_000_000_000);

/// One of eight addresses, four of each family.
fn address(number: u8) -> IpAddr {
    match number & 4 {
        0 => Ipv4Addr::new(192, 0, 2, number & 3).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number & 3)).into(),
    }
}

/// The input is a sequence of datagrams, each after three bytes: who sends it (and, with the
/// highest bit, whether a valid connection id is put into it), how many seconds after the one
/// before, and how long it is. Those of the same second are one batch.
///
/// No reply to a source that has not proved its address is longer than what it sent; every reply
/// has the form its action says and carries the transaction id; nobody is handed to itself.
pub fn udp_endpoint(data: &[u8]) {
    let connections = Connections::new(ConnectionKey([9; 16]), Duration::from_secs(120));
    let tracker = tracker(PeerIds::Dropped);
    let mut endpoint = udp::Endpoint::new(Arc::clone(&tracker), connections.clone(), 1);
    let mut replies = Replies::new(BATCH_MAX as u16);
    for turns in read_turns(data, &connections).chunk_by(|a, b| a.now == b.now) {
        for turns in turns.chunks(BATCH_MAX) {
            let now = turns[0].now;
            let batch: Vec<_> = turns.iter().map(Turn::datagram).collect();
            endpoint.handle(now, &batch, &mut replies);
            assert!(replies.iter().map(|(index, _)| index).is_sorted_by(|a, b| a < b));
            for (index, reply) in replies.iter() {
                let Datagram { source, bytes } = batch[index];
                let proved = wire::connection_id(bytes)
                    .is_some_and(|(id, _)| connections.is_valid(now, source.ip(), id));
                assert!(proved || reply.len() <= bytes.len(), "no amplification");
                check_udp_reply(source.ip(), bytes, reply);
            }
            tracker.swarms().expire(now, EXPIRE_PARTS, || {});
        }
    }
}

/// More than one group of the endpoint.
const BATCH_MAX: usize = 40;

/// A datagram of a conversation.
struct Turn {
    now: Now,
    source: SocketAddr,
    bytes: Vec<u8>,
}

impl Turn {
    fn datagram(&self) -> Datagram<'_> {
        Datagram { source: self.source, bytes: &self.bytes }
    }
}

fn read_turns(data: &[u8], connections: &Connections) -> Vec<Turn> {
    let (mut now, mut rest) = (START, data);
    let mut turns = Vec::new();
    while let [sender, seconds, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        now = now + Duration::from_secs(u64::from(*seconds));
        let source = SocketAddr::new(address(*sender), 4000);
        let mut bytes = bytes.to_vec();
        if sender & 0x80 != 0
            && let Some(place) = bytes.first_chunk_mut::<8>()
        {
            *place = connections.issue(now, source.ip()).0.to_be_bytes();
        }
        turns.push(Turn { now, source, bytes });
    }
    turns
}

fn check_udp_reply(source: IpAddr, request: &[u8], reply: &[u8]) {
    assert!((8..=REPLY_BYTES_MAX).contains(&reply.len()));
    assert_eq!(reply[4..8], request[12..16], "the transaction id");
    match reply[..4] {
        [0, 0, 0, 0] => assert_eq!(reply.len(), wire::CONNECT_BYTES),
        [0, 0, 0, 1] => {
            let Ok(wire::Request::Announce(announce)) = wire::parse(request) else {
                panic!("an announce reply to something else");
            };
            let peers = &reply[wire::ANNOUNCE_REPLY_BYTES..];
            let stride = Family::of(source).compact_bytes();
            assert_eq!(peers.len() % stride, 0);
            let own = match source {
                IpAddr::V4(ip) => [&ip.octets()[..], &announce.port.to_be_bytes()].concat(),
                IpAddr::V6(ip) => [&ip.octets()[..], &announce.port.to_be_bytes()].concat(),
            };
            let mut handed: Vec<_> = peers.chunks(stride).collect();
            assert!(!handed.contains(&&own[..]), "nobody is handed to itself");
            let count = handed.len();
            assert!(announce.numwant.is_none_or(|numwant| count <= numwant as usize));
            handed.sort_unstable();
            handed.dedup();
            assert_eq!(handed.len(), count, "each peer at most once");
        }
        [0, 0, 0, 2] => {
            let Ok(wire::Request::Scrape(scrape)) = wire::parse(request) else {
                panic!("a scrape reply to something else");
            };
            assert_eq!(reply.len(), wire::SCRAPE_REPLY_BYTES + 12 * scrape.info_hashes().len());
        }
        [0, 0, 0, 3] => assert!(reply[8..].is_ascii()),
        _ => panic!("an action of its own"),
    }
}

/// The input is who speaks and then what it says on one connection: requests one after another.
///
/// Every reply is a whole HTTP reply; its body, where the status is 200, is canonical bencode; what
/// is left to others gets not a byte.
pub fn http_endpoint(data: &[u8]) {
    let [speaker, stream @ ..] = data else { return };
    let source = address(*speaker);
    let peer_ids = if speaker & 8 == 0 { PeerIds::Dropped } else { PeerIds::Kept };
    let tracker = tracker(peer_ids);
    let settings = Arc::new(Settings {
        forwarded_header: Some("X-Forwarded-For".into()),
        trusted_proxies: ["2001:db8::/32".parse().expect("a prefix")].into(),
        external_ip: speaker & 16 != 0,
        scrape_interval_secs: None,
    });
    let keep_alive = speaker & 32 == 0;
    tracker.set_rules(Rules { keep_alive, ..(*tracker.rules()).clone() });
    let mut endpoint = http::Endpoint::new(Arc::clone(&tracker), Arc::clone(&settings), 1);
    let mut reply = Vec::new();
    let mut rest = stream;
    let mut now = START;
    while let Ok(Some(end)) = HeadEnd::default().find(rest) {
        let (head, after) = rest.split_at(end);
        rest = after;
        now = now + Duration::from_secs(7);
        reply.clear();
        let handled = endpoint.handle(now, source, head, &mut reply);
        match handled {
            Handled::Elsewhere => assert!(reply.is_empty()),
            Handled::KeepAlive | Handled::Close => {
                assert!(handled == Handled::Close || keep_alive);
                check_http_reply(head, &reply);
            }
            Handled::FullScrape(_) => {
                assert!(reply.ends_with(b"\r\n\r\n"));
                let mut body = FullScrape::new(Arc::clone(&tracker), &settings);
                let mut whole = Vec::new();
                while body.write_next(&mut whole) == Progress::More {}
                assert!(whole.starts_with(b"d5:filesd") && whole.ends_with(b"ee"));
            }
        }
        if handled == Handled::Close {
            break;
        }
    }
}

fn check_http_reply(request: &[u8], reply: &[u8]) {
    let end = HeadEnd::default().find(reply).expect("a short head").expect("a whole head");
    let (head, body) = reply.split_at(end);
    let head = std::str::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 "));
    let is_head = request.trim_ascii_start().starts_with(b"HEAD ");
    if is_head && head.starts_with("HTTP/1.1 200 ") {
        // The head of a full scrape has no length.
        assert!(body.is_empty());
        return;
    }
    let length = head.split("\r\nContent-Length: ").nth(1).expect("a length");
    let length: usize = length.split("\r\n").next().expect("a line").parse().expect("a number");
    assert_eq!(body.len(), length);
    if head.starts_with("HTTP/1.1 200 ") {
        assert!(Value::parse(body).is_some(), "{}", body.escape_ascii());
    }
}
