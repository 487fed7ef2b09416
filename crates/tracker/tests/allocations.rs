//! Answering allocates nothing: neither over UDP nor, into a buffer that is kept, over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use peerage_tracker::udp::{Datagram, Replies};
use peerage_tracker::{
    ConnectionKey, Connections, Limits, Now, PeerIds, Rules, Tracker, http, udp,
};

const NOW: Now = Now::from_millis(1_800_000_000_000);
const SWARMS: u32 = 50;
const PEERS: u32 = 200;

fn tracker() -> Arc<Tracker> {
    Arc::new(Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, Rules::default()))
}

fn ip(peer: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + peer).into()
}

/// Announces of `PEERS` peers to swarms of 1 to `PEERS` peers each, and a scrape of some.
fn requests(connections: &Connections) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut requests = Vec::new();
    for swarm in 0..SWARMS {
        for peer in 0..1 + swarm * PEERS / SWARMS {
            let id = connections.issue(NOW, ip(peer)).0.to_be_bytes();
            let mut bytes =
                [&id[..], &[0, 0, 0, 1], b"tid!", &[swarm as u8; 20], &[0; 20]].concat();
            bytes.extend([[0; 8], [0, 0, 0, 0, 0, 0, 0, (peer % 3) as u8], [0; 8]].concat());
            bytes.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1a, 0xe1]);
            requests.push((SocketAddr::new(ip(peer), 1), bytes));
        }
        let id = connections.issue(NOW, ip(0)).0.to_be_bytes();
        let scrape = [&id[..], &[0, 0, 0, 2], b"tid!", &[swarm as u8; 20], &[0xee; 20]].concat();
        requests.push((SocketAddr::new(ip(0), 1), scrape));
        requests.push((SocketAddr::new(ip(0), 1), vec![swarm as u8; 40]));
    }
    requests
}

#[test]
fn udp_announces_of_known_peers_allocate_nothing() {
    let connections = Connections::new(ConnectionKey([2; 16]), Duration::from_secs(120));
    let mut endpoint = udp::Endpoint::new(tracker(), connections.clone(), 3);
    let requests = requests(&connections);
    let batch: Vec<_> =
        requests.iter().map(|(source, bytes)| Datagram { source: *source, bytes }).collect();
    let mut replies = Replies::new(64);
    let mut answered = 0;
    let mut round = || {
        for batch in batch.chunks(64) {
            endpoint.handle(NOW, batch, &mut replies);
            answered += replies.iter().len();
        }
    };
    // The first round stores the peers, and so makes the tables; it also fills the worker's buffer.
    assert!(measure(&mut round).count_total > 0, "the counter counts");
    let counted = measure(&mut round);
    assert_eq!(counted.count_total, 0);
    assert_eq!(answered, 2 * (batch.len() - SWARMS as usize));
}

#[test]
fn http_announces_of_known_peers_allocate_nothing() {
    let settings = Arc::new(http::Settings::default());
    let mut endpoint = http::Endpoint::new(tracker(), settings, 3);
    let heads: Vec<_> = (0..PEERS)
        .map(|peer| {
            let head = format!(
                "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0001-{peer:012}\
                 &port=6881&uploaded=0&downloaded=0&left={} HTTP/1.1\r\nHost: tracker\r\n\
                 User-Agent: test\r\nAccept-Encoding: gzip\r\n\r\n",
                peer % 3
            );
            (ip(peer), head)
        })
        .collect();
    let mut reply = Vec::with_capacity(4096);
    let mut bytes = 0;
    let mut round = || {
        for (source, head) in &heads {
            reply.clear();
            endpoint.handle(NOW, *source, head.as_bytes(), &mut reply);
            bytes += reply.len();
        }
    };
    assert!(measure(&mut round).count_total > 0, "the counter counts");
    assert_eq!(measure(&mut round).count_total, 0);
    assert!(bytes > 2 * heads.len() * 100, "they were answered");
}
