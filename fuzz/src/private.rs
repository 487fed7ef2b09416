//! The endpoints of a private tracker: members who announce, over both protocols, while rows are
//! taken and come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peerage_proto::http::HeadEnd;
use peerage_proto::{InfoHash, udp as wire};
use peerage_testkit::bencode::Value;
use peerage_tracker::private::{
    Batch, Member, MemberId, Passkey, Pricing, Private, Terms, Token, Torrent, TorrentId,
};
use peerage_tracker::udp::{Datagram, Replies};
use peerage_tracker::{
    ConnectionKey, Connections, Limits, Now, PeerIds, Rules, Tracker, http, udp,
};

const START: Now = Now::from_millis(1_800_000_000_000);
const KEYS: [[u8; 32]; 3] = [[b'k'; 32], [b'l'; 32], [b'm'; 32]];
const HASHES: [[u8; 20]; 2] = [[b'a'; 20], [b'b'; 20]];

fn tracker() -> Arc<Tracker> {
    // Small enough for the bounds to be reached.
    let terms = Terms {
        peers_per_torrent_max: 2,
        peers_max: 6,
        peer_timeout: Duration::from_secs(60),
        early_secs: 5,
        bytes_per_sec_max: 1 << 20,
        ledger_rows_max: 8,
        ..Terms::default()
    };
    let private = Private::new([3; 16], terms);
    for (number, key) in KEYS.into_iter().enumerate() {
        private.put_member(Member {
            id: MemberId(number as u32),
            passkey: Passkey(key),
            can_leech: number != 1,
            protected: number == 2,
            free_leech: false,
            double_upload: number == 1,
            download_slots: (number == 2).then_some(1),
        });
    }
    for (number, hash) in HASHES.into_iter().enumerate() {
        private.put_torrent(Torrent {
            id: TorrentId(number as u32),
            info_hash: InfoHash(hash),
            pricing: [Pricing::Normal, Pricing::Free][number],
            double_upload: false,
            completed: 0,
            balance: 0,
        });
        private.add_token(Token { member: MemberId(0), torrent: TorrentId(number as u32) });
    }
    let rules = Rules { scrape_hashes_max: 4, ..Rules::default() };
    let tracker = Tracker::new([7; 16], Limits::default(), PeerIds::Dropped, rules);
    Arc::new(tracker.with_members(private))
}

/// One of eight addresses, four of each family.
fn address(number: u8) -> IpAddr {
    match number & 4 {
        0 => Ipv4Addr::new(192, 0, 2, number & 3).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number & 3)).into(),
    }
}

/// The input is a sequence of requests, each after four bytes: who sends it (with the highest bit,
/// as a datagram with a valid connection id put into it; with the next, as a datagram as it is;
/// else as the head of an HTTP request), how many seconds after the one before, and two for how
/// long it is.
///
/// No reply holds a passkey, and each has its form; the counts of torrents and members are those
/// of the whole; rows that come back are there again; no member is credited with more than could
/// have been moved.
pub fn private_endpoints(data: &[u8]) {
    let tracker = tracker();
    let private = tracker.private().expect("it is private");
    let connections = Connections::new(ConnectionKey([9; 16]), Duration::from_secs(120));
    let mut udp = udp::Endpoint::new(Arc::clone(&tracker), connections.clone(), 1);
    let settings = Arc::new(http::Settings::default());
    let mut http = http::Endpoint::new(Arc::clone(&tracker), settings, 2);
    let mut replies = Replies::new(1);
    let (mut now, mut rest) = (START, data);
    let mut credited = [(0, 0); KEYS.len()];
    while let [sender, seconds, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (bytes, after) = after.split_at(after.len().min(length));
        rest = after;
        now = now + Duration::from_secs(u64::from(*seconds));
        let source = address(*sender);
        if sender & 0xc0 == 0 {
            let mut reply = Vec::new();
            if HeadEnd::default().find(bytes) == Ok(Some(bytes.len())) {
                http.handle(now, source, bytes, &mut reply);
            }
            check_http(&reply);
        } else {
            let mut bytes = bytes.to_vec();
            if let Some(place) = bytes.first_chunk_mut::<8>().filter(|_| sender & 0x80 != 0) {
                *place = connections.issue(now, source).0.to_be_bytes();
            }
            let datagram = Datagram { source: SocketAddr::new(source, 4000), bytes: &bytes };
            udp.handle(now, &[datagram], &mut replies);
            replies.iter().for_each(|(_, reply)| check_udp(source, &bytes, reply));
        }
        // Both look at every part: often enough, and not for each request.
        if 7 <= *seconds {
            private.expire(now, 2000);
            check_counts(private);
        }
        flush(private, usize::from(*seconds), &mut credited);
    }
    check_counts(private);
    let elapsed_secs = now.since(START).as_secs().max(1) + data.len() as u64;
    for (uploaded, downloaded) in credited {
        // Double upload, and two peers at each of two torrents.
        let most = (8 << 20) * elapsed_secs;
        assert!(uploaded <= most && downloaded <= most);
    }
    assert!(private.ledger().is_empty() == (private.ledger().queued() == Default::default()));
}

fn check_secret(reply: &[u8]) {
    for key in KEYS {
        assert!(!reply.windows(32).any(|window| window == key), "a passkey is never told");
    }
}

fn check_http(reply: &[u8]) {
    check_secret(reply);
    if !reply.starts_with(b"HTTP/1.1 200 ") {
        return;
    }
    let end = HeadEnd::default().find(reply).expect("a short head").expect("a whole head");
    let body = &reply[end..];
    assert!(body.is_empty() || Value::parse(body).is_some(), "{}", body.escape_ascii());
}

fn check_udp(source: IpAddr, request: &[u8], reply: &[u8]) {
    check_secret(reply);
    assert_eq!(reply[4..8], request[12..16], "the transaction id");
    match reply[..4] {
        [0, 0, 0, 0] => assert_eq!(reply.len(), wire::CONNECT_BYTES),
        [0, 0, 0, 1] => {
            let stride = if source.is_ipv4() { 6 } else { 18 };
            let peers = &reply[wire::ANNOUNCE_REPLY_BYTES..];
            assert_eq!(peers.len() % stride, 0);
            assert!(peers.chunks(stride).all(|peer| !peer.ends_with(&[0, 0])), "each has a port");
        }
        [0, 0, 0, 3] => assert!(reply[8..].is_ascii()),
        _ => panic!("an action of its own"),
    }
}

fn check_counts(private: &Private) {
    let (mut seeders, mut leechers) = (0, 0);
    for hash in HASHES {
        let state = private.torrent(&InfoHash(hash)).expect("it is registered");
        seeders += state.seeding.len() as u64;
        leechers += state.leeching.len() as u64;
        for key in KEYS {
            let id = private.member(&Passkey(key)).expect("a member").member.id;
            let own = state.seeding.iter().chain(&state.leeching).filter(|member| **member == id);
            assert!(own.count() <= 2, "of one member at one torrent");
        }
    }
    let totals = private.totals();
    assert_eq!((totals.seeders, totals.leechers), (seeders, leechers));
    assert!(seeders + leechers <= 6);
    let members = KEYS.map(|key| private.member(&Passkey(key)).expect("a member"));
    let sums = members.iter().fold((0, 0), |(seeding, leeching), state| {
        assert!(state.downloads <= state.member.download_slots.unwrap_or(2));
        (seeding + u64::from(state.seeding), leeching + u64::from(state.leeching))
    });
    assert_eq!(sums, (seeders, leechers));
}

/// Takes rows, and gives them back at times.
fn flush(private: &Private, choice: usize, credited: &mut [(u64, u64); KEYS.len()]) {
    let before = private.ledger().len();
    let batch = private.ledger().take_batch(choice % 16);
    assert!(batch.rows() <= choice % 16);
    assert_eq!(private.ledger().len() + batch.rows(), before);
    if choice.is_multiple_of(3) {
        private.ledger().put_back(batch);
        assert_eq!(private.ledger().len(), before);
        return;
    }
    let Batch { members, peers, .. } = batch;
    for row in members {
        let sum = &mut credited[row.member.0 as usize];
        *sum = (sum.0 + row.uploaded, sum.1 + row.downloaded);
    }
    for row in peers {
        assert!(row.uploaded.max(row.remaining).max(row.downloaded) <= i64::MAX as u64);
        assert!(row.address.is_none() || row.key.member != MemberId(2), "a protected member's");
    }
}

/// Everybody announces everything, over both protocols.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (seconds, left) in [(7, 0_u64), (1, 50), (20, 3)] {
        let mut seed = Vec::new();
        for (turn, event) in ["started", "", "completed", "", "stopped"].iter().enumerate() {
            for (number, key) in KEYS.iter().enumerate() {
                let hash = HASHES[(turn + number) % 2];
                let key = String::from_utf8_lossy(key);
                let hash_text = String::from_utf8_lossy(&hash);
                let moved = turn * 1000;
                let head = format!(
                    "GET /{key}/announce?info_hash={hash_text}&peer_id=-XX0001-{number:012}&port=\
                     {}&uploaded={moved}&downloaded={moved}&left={left}&event={event}&compact=1 \
                     HTTP/1.1\r\nUser-Agent: x\r\n\r\n",
                    6881 + number
                );
                push(&mut seed, number as u8, seconds, head.as_bytes());
                push(&mut seed, 0x80 | number as u8, seconds, &datagram(&key, hash, turn, left));
            }
        }
        let scrape = format!(
            "GET /{}/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n",
            "k".repeat(32)
        );
        push(&mut seed, 0, seconds, scrape.as_bytes());
        seeds.push(seed);
    }
    seeds
}

fn push(seed: &mut Vec<u8>, sender: u8, seconds: u8, bytes: &[u8]) {
    let [low, high] = (bytes.len() as u16).to_le_bytes();
    seed.extend([sender, seconds, low, high]);
    seed.extend(bytes);
}

fn datagram(key: &str, hash: [u8; 20], turn: usize, left: u64) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4];
    bytes.extend(hash);
    bytes.extend(b"-XX0001-0123456789ab");
    for number in [turn as u64 * 500, left, turn as u64 * 700] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0, 0, 0, [2, 0, 1, 0, 3][turn % 5], 0, 0, 0, 0, 1, 2, 3, 4]);
    bytes.extend([0xff; 4]);
    bytes.extend([0x1a, 0xe1]);
    let path = format!("/{key}/announce");
    bytes.extend([2, path.len() as u8]);
    bytes.extend(path.bytes());
    bytes.extend([0, 0]);
    bytes
}
