//! An announce of a known peer in private mode allocates nothing, once its row waits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use peerage_proto::InfoHash;
use peerage_tracker::private::{Member, MemberId, Passkey, Private, Terms, Torrent, TorrentId};
use peerage_tracker::udp::{Datagram, Replies};
use peerage_tracker::{
    ConnectionKey, Connections, Limits, Now, PeerIds, Rules, Tracker, http, udp,
};

const NOW: Now = Now::from_millis(1_800_000_000_000);
const MEMBERS: u32 = 200;
const TORRENTS: u32 = 10;

fn tracker() -> Arc<Tracker> {
    let private = Private::new([1; 16], Terms::default());
    for id in 0..MEMBERS {
        private.put_member(Member::new(
            MemberId(id),
            Passkey::parse(format!("{id:032}").as_bytes()).expect("32 digits"),
        ));
    }
    for id in 0..TORRENTS {
        private.put_torrent(Torrent::new(TorrentId(id), InfoHash([b'a' + id as u8; 20])));
    }
    let rules = Rules::default();
    let tracker = Tracker::new([2; 16], Limits::default(), PeerIds::Dropped, rules);
    Arc::new(tracker.with_members(private))
}

fn ip(member: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + member).into()
}

/// Every member at every torrent; what they have moved grows by the round.
fn heads(round: u64) -> Vec<(IpAddr, String)> {
    let pairs = (0..MEMBERS).flat_map(|member| (0..TORRENTS).map(move |torrent| (member, torrent)));
    pairs
        .map(|(member, torrent)| {
            let hash = String::from(char::from(b'a' + torrent as u8)).repeat(20);
            let head = format!(
                "GET /{member:032}/announce?info_hash={hash}&peer_id=-XX0001-{member:012}\
                 &port=6881&uploaded={}&downloaded={}&left={}&compact=1 HTTP/1.1\r\n\
                 Host: tracker\r\nUser-Agent: Transmission/4.0.6\r\n\r\n",
                round * 1000,
                round * 100,
                member % 3
            );
            (ip(member), head)
        })
        .collect()
}

#[test]
fn http_announces_of_members_allocate_nothing_once_their_rows_wait() {
    let settings = Arc::new(http::Settings::default());
    let mut endpoint = http::Endpoint::new(tracker(), settings, 3);
    let rounds = [heads(0), heads(1), heads(2)];
    let mut reply = Vec::with_capacity(4096);
    let mut bytes = 0;
    let mut run = |heads: &[(IpAddr, String)]| {
        for (source, head) in heads {
            reply.clear();
            endpoint.handle(NOW, *source, head.as_bytes(), &mut reply);
            bytes += reply.len();
        }
    };
    // The first round stores the peers and makes their rows, the second the rows of their credit.
    assert!(measure(|| run(&rounds[0])).count_total > 0, "the counter counts");
    run(&rounds[1]);
    assert_eq!(measure(|| run(&rounds[2])).count_total, 0);
    assert!(bytes > 3 * rounds[0].len() * 100, "they were answered");
}

#[test]
fn rows_of_an_interval_cost_few_allocations_for_each_announce() {
    let tracker = tracker();
    let settings = Arc::new(http::Settings::default());
    let mut endpoint = http::Endpoint::new(Arc::clone(&tracker), settings, 3);
    let mut reply = Vec::with_capacity(4096);
    let mut run = |heads: &[(IpAddr, String)]| {
        for (source, head) in heads {
            reply.clear();
            endpoint.handle(NOW, *source, head.as_bytes(), &mut reply);
        }
    };
    run(&heads(0));
    let ledger = tracker.private().expect("it is private").ledger();
    while ledger.take_batch(1000).rows() != 0 {}
    let next = heads(1);
    let counted = measure(|| run(&next)).count_total;
    assert!(counted < next.len() as u64, "{counted} for {} announces", next.len());
}

#[test]
fn udp_announces_of_members_allocate_nothing_once_their_rows_wait() {
    let connections = Connections::new(ConnectionKey([2; 16]), Duration::from_secs(120));
    let mut endpoint = udp::Endpoint::new(tracker(), connections.clone(), 3);
    let datagrams = |round: u64| -> Vec<(SocketAddr, Vec<u8>)> {
        let of = |member: u32| {
            let id = connections.issue(NOW, ip(member)).0.to_be_bytes();
            let mut bytes = [&id[..], &[0, 0, 0, 1], b"tid!", &[b'a'; 20]].concat();
            bytes.extend(format!("-XX0001-{member:012}").bytes());
            for number in [round * 100, u64::from(member % 3), round * 1000] {
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend([0; 12]);
            bytes.extend([0xff, 0xff, 0xff, 0xff, 0x1a, 0xe1]);
            let path = format!("/{member:032}/announce");
            bytes.extend([2, path.len() as u8]);
            bytes.extend(path.bytes());
            (SocketAddr::new(ip(member), 1), bytes)
        };
        (0..MEMBERS).map(of).collect()
    };
    let mut replies = Replies::new(64);
    let mut answered = 0;
    let mut run = |datagrams: &[(SocketAddr, Vec<u8>)]| {
        for datagrams in datagrams.chunks(64) {
            let mut batch = [Datagram { source: datagrams[0].0, bytes: &[] }; 64];
            for (datagram, (source, bytes)) in batch.iter_mut().zip(datagrams) {
                *datagram = Datagram { source: *source, bytes };
            }
            endpoint.handle(NOW, &batch[..datagrams.len()], &mut replies);
            answered +=
                replies.iter().filter(|(_, reply)| reply.starts_with(b"\0\0\0\x01")).count();
        }
    };
    let rounds = [datagrams(0), datagrams(1), datagrams(2)];
    assert!(measure(|| run(&rounds[0])).count_total > 0, "the counter counts");
    run(&rounds[1]);
    assert_eq!(measure(|| run(&rounds[2])).count_total, 0);
    assert_eq!(answered, 3 * MEMBERS as usize);
}
