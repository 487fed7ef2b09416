//! Private mode at the endpoints: heads and datagrams in, replies out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peerage_proto::InfoHash;
use peerage_tracker::private::{
    Client, Clients, DeleteReason, Member, MemberId, Passkey, Pricing, Private, Terms, Torrent,
    TorrentId,
};
use peerage_tracker::udp::{Datagram, NO_PASSKEY, Replies};
use peerage_tracker::{
    ConnectionKey, Connections, Limits, Now, PeerIds, Protocol, Refusal, Rules, Tracker, http, udp,
};

const NOW: Now = Now::from_millis(1_800_000_000_000);
const KEY: &str = "0123456789abcdefghijklmnopqrstuv";
const HASH: &str = "aaaaaaaaaaaaaaaaaaaa";
const DELETED: &str = "dddddddddddddddddddd";
const INTERVALS: &str = "8:intervali1799e12:min intervali240e";

struct Site {
    tracker: Arc<Tracker>,
    http: http::Endpoint,
    udp: udp::Endpoint,
    connections: Connections,
}

impl Site {
    fn new() -> Self {
        let settings = http::Settings {
            forwarded_header: Some("X-Forwarded-For".into()),
            trusted_proxies: ["10.0.0.0/8".parse().expect("a prefix")].into(),
            ..http::Settings::default()
        };
        let allow = Client { prefix: b"-TR".into(), name: String::new() };
        let clients = Clients::new(Some([allow].into()), Vec::new());
        let private = Private::new([3; 16], Terms { clients, early_secs: 0, ..Terms::default() });
        for id in 1..10 {
            let key = if id == 1 { KEY.into() } else { format!("{id:032}") };
            private.put_member(Member {
                id: MemberId(id),
                passkey: Passkey::parse(key.as_bytes()).expect("32 bytes"),
                can_leech: id != 9,
                protected: false,
                free_leech: false,
                double_upload: false,
                download_slots: None,
            });
        }
        for (id, hash) in [(1, HASH), (2, DELETED)] {
            private.put_torrent(Torrent {
                id: TorrentId(id),
                info_hash: InfoHash(hash.as_bytes().try_into().expect("20 bytes")),
                pricing: Pricing::Normal,
                double_upload: false,
                completed: 7,
                balance: 0,
            });
        }
        let deleted = InfoHash(DELETED.as_bytes().try_into().expect("20 bytes"));
        assert!(private.remove_torrent(NOW, &deleted, DeleteReason(1)));
        let rules = Rules { jitter_secs: 0, scrape_hashes_max: 3, ..Rules::default() };
        let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, rules);
        let tracker = Arc::new(tracker.with_members(private));
        let connections = Connections::new(ConnectionKey([2; 16]), Duration::from_secs(120));
        Self {
            http: http::Endpoint::new(Arc::clone(&tracker), Arc::new(settings), 1),
            udp: udp::Endpoint::new(Arc::clone(&tracker), connections.clone(), 2),
            tracker,
            connections,
        }
    }

    fn get_from(&mut self, source: &str, target: &str, headers: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: t.example\r\n{headers}\r\n");
        let mut reply = Vec::new();
        self.http.handle(NOW, source.parse().expect("an address"), head.as_bytes(), &mut reply);
        let reply = reply.escape_ascii().to_string();
        let (head, body) = reply.split_once("\\r\\n\\r\\n").unwrap_or(("", ""));
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 200 OK"), "{reply}");
        assert!(!body.contains(KEY), "a passkey is never told");
        body.into()
    }

    fn get(&mut self, target: &str) -> String {
        self.get_from("192.0.2.1", target, "")
    }

    fn send(&mut self, source: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let source = SocketAddr::new(source.parse().expect("an address"), 999);
        let mut replies = Replies::new(1);
        self.udp.handle(NOW, &[Datagram { source, bytes }], &mut replies);
        replies.iter().next().map(|(_, reply)| reply.into())
    }

    /// An announce over UDP, with these bytes as its options.
    fn announce_udp(&mut self, source: &str, port: u16, left: u64, options: &[u8]) -> Vec<u8> {
        let address: IpAddr = source.parse().expect("an address");
        let id = self.connections.issue(NOW, address).0.to_be_bytes();
        let peer_id = format!("-TR4060-{port:012}");
        let mut bytes =
            [&id[..], &[0, 0, 0, 1], b"tid!", HASH.as_bytes(), peer_id.as_bytes()].concat();
        [0, left, 0].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
        bytes.extend([0; 12]);
        bytes.extend([0xff; 4]);
        bytes.extend(port.to_be_bytes());
        bytes.extend(options);
        self.send(source, &bytes).expect("a reply")
    }

    fn refused(&self, protocol: Protocol, refusal: Refusal) -> u64 {
        self.tracker.tally().refusals(protocol, refusal)
    }
}

fn announce(key: &str, port: u16, extra: &str) -> String {
    format!(
        "/{key}/announce?info_hash={HASH}&peer_id=-TR4060-{port:012}&port={port}&uploaded=0\
         &downloaded=0&compact=1{extra}"
    )
}

fn failure(text: &str) -> String {
    format!("d14:failure reason{}:{text}8:intervali5400e12:min intervali5400ee", text.len())
}

fn url_data(path: &str) -> Vec<u8> {
    let mut options = Vec::new();
    for piece in path.as_bytes().chunks(255) {
        options.extend([2, piece.len() as u8]);
        options.extend(piece);
    }
    options
}

#[test]
fn members_are_answered_over_http_with_peers_of_both_families() {
    let mut site = Site::new();
    let other = format!("{:032}", 2);
    let body = site.get(&announce(KEY, 4113, "&left=0"));
    let empty = format!("d8:completei1e10:downloadedi7e10:incompletei0e{INTERVALS}5:peers0:e");
    assert_eq!(body, empty);
    site.get_from("2001:db8::1", &announce(&other, 4114, "&left=5"), "");
    let body = site.get_from("192.0.2.7", &announce(&format!("{:032}", 3), 4115, "&left=5"), "");
    let expected = format!(
        "d8:completei1e10:downloadedi7e10:incompletei2e{INTERVALS}\
         5:peers6:\\xc0\\x00\\x02\\x01\\x10\\x116:peers618: \\x01\\r\\xb8{}\\x01\\x10\\x12e",
        "\\x00".repeat(11)
    );
    assert_eq!(body, expected);
}

#[test]
fn refusals_over_http_come_in_ocelots_order_with_its_words() {
    let mut site = Site::new();
    let unknown = "0000000000000000000000000000000x";
    let torrent = format!("info_hash={HASH}");
    let peer = "peer_id=-TR4060-000000000001";
    let cases = [
        ("/announce".into(), Refusal::NoPasskey, "Malformed announce"),
        (format!("/scrape?{torrent}"), Refusal::NoPasskey, "Malformed announce"),
        ("/short/announce".into(), Refusal::PasskeyUnknown, "Passkey not found"),
        (format!("/{unknown}/announce"), Refusal::PasskeyUnknown, "Passkey not found"),
        (format!("/{unknown}/scrape?{torrent}"), Refusal::PasskeyUnknown, "Passkey not found"),
        (format!("/{KEY}/announce"), Refusal::Unregistered, "Unregistered torrent"),
        (
            format!("/{KEY}/announce?info_hash=bbbbbbbbbbbbbbbbbbbb"),
            Refusal::Unregistered,
            "Unregistered torrent",
        ),
        (
            format!("/{KEY}/announce?info_hash=short&{peer}"),
            Refusal::Unregistered,
            "Unregistered torrent",
        ),
        (
            format!("/{KEY}/announce?info_hash={DELETED}"),
            Refusal::Unregistered,
            "Unregistered torrent: Trump",
        ),
        (
            format!("/{KEY}/announce?{torrent}"),
            Refusal::NotCompact,
            "Your client does not support compact announces",
        ),
        (
            format!("/{KEY}/announce?{torrent}&{peer}&compact=0"),
            Refusal::NotCompact,
            "Your client does not support compact announces",
        ),
        (format!("/{KEY}/announce?{torrent}&compact=1"), Refusal::NoPeerId, "No peer ID"),
        (
            format!("/{KEY}/announce?{torrent}&compact=1&peer_id=short"),
            Refusal::InvalidPeerId,
            "Invalid peer ID",
        ),
        (
            format!("/{KEY}/announce?{torrent}&compact=1&peer_id=-XX4060-000000000001"),
            Refusal::ClientNotAllowed,
            "Your client is not on the whitelist",
        ),
        (
            announce(&format!("{:032}", 9), 1, "&left=5"),
            Refusal::LeechForbidden,
            "Access denied, leeching forbidden.",
        ),
    ];
    for (target, refusal, text) in cases {
        let before = site.refused(Protocol::Http, refusal);
        assert_eq!(site.get(&target), failure(text), "{target}");
        assert_eq!(site.refused(Protocol::Http, refusal), before + 1, "{target}");
    }
    let doubled = format!("/{KEY}/announce?{torrent}&{torrent}&{peer}&compact=1");
    assert!(site.get(&doubled).contains("info_hash is there twice"));
    assert!(site.get(&announce(KEY, 1, "&left=many")).contains("left must be a whole number"));
}

#[test]
fn scrape_of_a_member_tells_registered_torrents_alone() {
    let mut site = Site::new();
    site.get(&announce(KEY, 4113, "&left=0"));
    let one = format!(
        "d5:filesd20:{HASH}d8:completei1e10:downloadedi7e11:downloadersi0e10:incompletei0eeee"
    );
    for query in [
        format!("?info_hash={HASH}"),
        format!("?info_hash={HASH}&info_hash={DELETED}&info_hash={HASH}"),
        format!("?info_hash=short&info_hash={HASH}"),
    ] {
        assert_eq!(site.get(&format!("/{KEY}/scrape{query}")), one);
    }
    for query in ["", "?info_hash=short", "?info_hash=bbbbbbbbbbbbbbbbbbbb"] {
        assert_eq!(site.get(&format!("/{KEY}/scrape{query}")), "d5:filesdee");
    }
    // Who may not leech may ask.
    let other = format!("/{:032}/scrape?info_hash={HASH}", 9);
    assert_eq!(site.get(&other), one);
    let many = [HASH; 4].map(|hash| format!("info_hash={hash}")).join("&");
    assert!(site.get(&format!("/{KEY}/scrape?{many}")).contains("GET string too long"));
}

#[test]
fn claimed_address_is_believed_from_whom_the_operator_trusts() {
    let leecher = |ip: &str| announce(KEY, 4113, &format!("&left=0&ip={ip}"));
    let cases = [
        // Straight from the client, and through a proxy that names it: not believed.
        ("192.0.2.1", "", "\\xc0\\x00\\x02\\x01"),
        ("10.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", "\\xcb\\x00q\\x07"),
        // From somebody trusted, for itself.
        ("10.0.0.1", "", "\\xc6\\x33d\\x01"),
        ("10.0.0.1", "X-Forwarded-For: 10.0.0.9\r\n", "\\xc6\\x33d\\x01"),
    ];
    for (source, headers, expected) in cases {
        let mut site = Site::new();
        site.get_from(source, &leecher("198.51.100.1"), headers);
        let body = site.get(&announce(&format!("{:032}", 2), 1, "&left=5"));
        let expected = expected.replace("\\x33", "3");
        assert!(body.contains(&format!("5:peers6:{expected}\\x10\\x11")), "{source}: {body}");
    }
}

#[test]
fn timeout_that_is_changed_is_that_of_members_too() {
    let site = Site::new();
    let in_force = || site.tracker.private().expect("it is").terms().peer_timeout.as_secs();
    site.tracker.set_peer_timeout(Duration::from_secs(7000));
    assert_eq!(in_force(), 7000);
    site.tracker.set_peer_timeout(Duration::from_secs(6000));
    site.tracker.settle(NOW);
    assert_eq!(in_force(), 7000, "who was promised the longer one may still come");
    site.tracker.settle(Now::from_millis(NOW.as_millis() + 7_001_000));
    assert_eq!(in_force(), 6000);
}

#[test]
fn repeated_user_agent_header_counts_with_its_last() {
    let mut site = Site::new();
    let headers = "User-Agent: one\r\nuser-agent: Transmission/4\r\n";
    site.get_from("192.0.2.1", &announce(KEY, 1, "&left=5"), headers);
    let batch = site.tracker.private().unwrap().ledger().take_batch(10);
    assert_eq!(batch.peers[0].user_agent, "Transmission/4");
}

#[test]
fn members_are_answered_over_udp_by_the_path_in_the_url_data() {
    let mut site = Site::new();
    site.get(&announce(KEY, 4113, "&left=0"));
    let path = format!("/{:032}/announce", 2);
    let whole = url_data(&format!("{path}?ipv6=::1"));
    let pieces = [url_data(&path[..20]), vec![1, 1], url_data(&path[20..]), vec![0]].concat();
    for options in [url_data(&path), whole, pieces] {
        let reply = site.announce_udp("192.0.2.2", 5000, 5, &options);
        let expected =
            [&b"\0\0\0\x01tid!\0\0\x07\x07\0\0\0\x01\0\0\0\x01"[..], &[192, 0, 2, 1, 0x10, 0x11]];
        assert_eq!(reply, expected.concat());
    }
    // A member over IPv6 gets peers of IPv6.
    let path = format!("/{:032}/announce", 3);
    let reply = site.announce_udp("2001:db8::3", 5000, 5, &url_data(&path));
    assert_eq!(reply.len(), 20);
    assert_eq!(site.tracker.tally().members.announces(peerage_proto::Event::None), 5);
}

#[test]
fn refusals_over_udp_have_the_same_words_but_where_the_client_lacks_them() {
    let mut site = Site::new();
    let long = format!("/{}/announce", "k".repeat(60));
    let cases: [(Vec<u8>, Refusal); 9] = [
        (Vec::new(), Refusal::NoPasskey),
        (url_data("/announce"), Refusal::NoPasskey),
        (url_data("/announce?passkey=1"), Refusal::NoPasskey),
        (url_data(&format!("/{KEY}/scrape")), Refusal::NoPasskey),
        (url_data(&long), Refusal::NoPasskey),
        (url_data("/short/announce"), Refusal::PasskeyUnknown),
        (url_data(&format!("/{}/announce", "k".repeat(32))), Refusal::PasskeyUnknown),
        (url_data(&format!("/{KEY}?/announce")), Refusal::NoPasskey),
        (url_data(&format!("/{:032}/announce", 9)), Refusal::LeechForbidden),
    ];
    for (options, refusal) in cases {
        let before = site.refused(Protocol::Udp, refusal);
        let reply = site.announce_udp("192.0.2.2", 5000, 5, &options);
        let text = match refusal {
            Refusal::NoPasskey => NO_PASSKEY,
            refusal => refusal.text(),
        };
        let expected = [b"\0\0\0\x03tid!", text.as_bytes()].concat();
        assert_eq!(reply, expected, "{}", options.escape_ascii());
        assert!(reply.len() <= 98 + options.len(), "no amplification");
        assert_eq!(site.refused(Protocol::Udp, refusal), before + 1);
    }
}

#[test]
fn scrape_over_udp_is_refused_rather_than_answered_with_zeros() {
    let mut site = Site::new();
    let id = site.connections.issue(NOW, "192.0.2.2".parse().unwrap()).0.to_be_bytes();
    let scrape = [&id[..], &[0, 0, 0, 2], b"tid!", HASH.as_bytes()].concat();
    let reply = site.send("192.0.2.2", &scrape).unwrap();
    let refusal = Refusal::MembersScrapeOverHttp;
    assert_eq!(reply, [b"\0\0\0\x03tid!", refusal.text().as_bytes()].concat());
    assert_eq!(site.refused(Protocol::Udp, refusal), 1);
}

#[test]
fn passkey_is_not_shown() {
    let key = Passkey::parse(KEY.as_bytes()).unwrap();
    assert!(!format!("{key:?}").contains(KEY));
}
