//! The HTTP endpoint, driven with an invented clock: heads in, replies out.

use alloc::format;
use alloc::string::ToString;

use peerage_swarm::{Limits, PeerIds};

use super::*;
use crate::AccessList;

const NOW: Now = Now::from_millis(1_800_000_000_000);
const HASH: &str = "aaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbb";
const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

/// A tracker whose intervals are always the same.
fn endpoint(rules: Rules, settings: Settings) -> Endpoint {
    bounded(Limits::default(), PeerIds::Dropped, rules, settings)
}

fn bounded(limits: Limits, peer_ids: PeerIds, rules: Rules, settings: Settings) -> Endpoint {
    let tracker = Tracker::new([7; 16], limits, peer_ids, rules);
    Endpoint::new(Arc::new(tracker), Arc::new(settings), 1)
}

fn rules() -> Rules {
    Rules { jitter_secs: 0, ..Rules::default() }
}

fn open() -> Endpoint {
    endpoint(rules(), Settings::default())
}

fn announce(hash: &str, port: u16, extra: &str) -> String {
    let query = format!("info_hash={hash}&peer_id=-XX0001-{port:012}&port={port}");
    format!("GET /announce?{query}{extra} HTTP/1.1\r\nHost: t.example\r\n\r\n")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: t.example\r\n\r\n")
}

fn ask(endpoint: &mut Endpoint, source: &str, head: &str) -> (Handled, String) {
    let mut reply = b"before".to_vec();
    let handled = endpoint.handle(NOW, source.parse().unwrap(), head.as_bytes(), &mut reply);
    let reply = reply.strip_prefix(b"before").expect("a reply is appended");
    (handled, reply.escape_ascii().to_string().replace("\\r\\n", "\n"))
}

/// Asks, and compares what became of it, the status and the body (bytes that are not ASCII as
/// `\xff`).
#[track_caller]
fn check(endpoint: &mut Endpoint, source: &str, head: &str, expected: (Handled, &str, &str)) {
    let (handled, reply) = ask(endpoint, source, head);
    let (expected_handled, status, body) = expected;
    let (reply_head, reply_body) = reply.split_once("\n\n").unwrap_or(("", ""));
    assert_eq!(reply_body, body, "{head}");
    assert!(reply_head.starts_with(status), "{reply}");
    assert_eq!(handled, expected_handled, "{head}");
}

/// A reply that the client's next request may follow.
fn granted(body: &str) -> (Handled, &'static str, &str) {
    (Handled::KeepAlive, "HTTP/1.1 200 OK\n", body)
}

const INTERVALS: &str = "8:intervali1799e12:min intervali240e";

#[test]
fn peers_of_both_families_find_each_other() {
    let mut endpoint = open();
    let first = format!("d8:completei0e10:downloadedi0e10:incompletei1e{INTERVALS}5:peers0:e");
    check(&mut endpoint, V4, &announce(HASH, 4113, "&left=1"), granted(&first));
    let second = format!(
        "d8:completei1e10:downloadedi0e10:incompletei1e{INTERVALS}\
         5:peers6:\\xc0\\x00\\x02\\x01\\x10\\x11e"
    );
    check(&mut endpoint, V6, &announce(HASH, 4114, "&left=0"), granted(&second));
    let third = format!(
        "d8:completei1e10:downloadedi0e10:incompletei1e{INTERVALS}\
         5:peersld2:ip11:2001:db8::14:porti4114eeee"
    );
    let dictionary = announce(HASH, 4113, "&left=1&compact=0");
    check(&mut endpoint, V4, &dictionary, granted(&third));
    let scrape = format!(
        "d5:filesd20:{HASH}d8:completei1e10:downloadedi0e11:downloadersi1e10:incompletei1eeee"
    );
    let head = get(&format!("/scrape?info_hash={HASH}"));
    check(&mut endpoint, V4, &head, granted(&scrape));
}

#[test]
fn mapped_source_is_an_ipv4_peer() {
    let mut endpoint = open();
    ask(&mut endpoint, "::ffff:192.0.2.1", &announce(HASH, 4113, "&left=0"));
    let (_, reply) = ask(&mut endpoint, V6, &announce(HASH, 4114, ""));
    assert!(reply.contains("5:peers6:\\xc0\\x00\\x02\\x01\\x10\\x11e"), "{reply}");
}

#[test]
fn stopped_needs_no_port_and_gets_no_peers() {
    let mut endpoint = open();
    ask(&mut endpoint, V4, &announce(HASH, 4113, "&left=0"));
    let head = get(&format!("/announce?info_hash={HASH}&peer_id={HASH}&event=stopped"));
    let (_, reply) = ask(&mut endpoint, V4, &head);
    assert!(reply.ends_with("5:peers0:e"), "{reply}");
}

#[test]
fn external_ip_is_told_where_the_operator_says_so() {
    let mut endpoint = endpoint(rules(), Settings { external_ip: true, ..Settings::default() });
    let (_, reply) = ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    assert!(reply.contains("11:external ip4:\\xc0\\x00\\x02\\x0110:incomplete"), "{reply}");
    let (_, reply) = ask(&mut endpoint, V6, &announce(HASH, 4113, ""));
    assert!(reply.contains("11:external ip16: \\x01\\r\\xb8"), "{reply}");
}

#[test]
fn client_behind_a_trusted_proxy_is_the_one_the_header_names() {
    let settings = Settings {
        forwarded_header: Some("x-forwarded-for".into()),
        trusted_proxies: ["10.0.0.0/8".parse().unwrap()].into(),
        external_ip: true,
        ..Settings::default()
    };
    let mut endpoint = endpoint(rules(), settings);
    let head = announce(HASH, 4113, "")
        .replace("\r\n\r\n", "\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n\r\n");
    let (_, reply) = ask(&mut endpoint, "10.0.0.1", &head);
    assert!(reply.contains("11:external ip4:\\xcb\\x00q\\x07"), "{reply}");
    let (_, reply) = ask(&mut endpoint, V4, &head);
    assert!(reply.contains("11:external ip4:\\xc0\\x00\\x02\\x01"), "{reply}");
}

#[test]
fn claimed_address_is_believed_from_where_the_operator_says_so() {
    let claims_from = ["192.168.0.0/16", "2001:db8::/32"].map(|text| text.parse().unwrap());
    for (source, claim, known_as) in [
        ("192.168.7.7", "&ip=198.51.100.7", "198.51.100.7"),
        ("2001:db8::9", "&ipv4=198.51.100.8", "198.51.100.8"),
        ("192.168.7.8", "", "192.168.7.8"),
        ("192.168.7.9", "&ip=0.0.0.0", "192.168.7.9"),
        ("192.168.7.6", "&ip=224.0.0.1", "192.168.7.6"),
        ("203.0.113.5", "&ip=198.51.100.7", "203.0.113.5"),
    ] {
        let rules = Rules { claims_from: Arc::new(claims_from), ..rules() };
        let mut endpoint = endpoint(rules, Settings::default());
        ask(&mut endpoint, source, &announce(HASH, 2, &format!("&left=0{claim}")));
        let (_, reply) = ask(&mut endpoint, V4, &announce(HASH, 1, "&left=1&compact=0"));
        let peer = format!("5:peersld2:ip{}:{known_as}4:porti2e", known_as.len());
        assert!(reply.contains(&peer), "{source}{claim}: {reply}");
    }
}

#[test]
fn scrape_is_sorted_with_repeats_merged_and_zeros_for_unknown_swarms() {
    let mut endpoint =
        endpoint(rules(), Settings { scrape_interval_secs: Some(900), ..Settings::default() });
    ask(&mut endpoint, V4, &announce(HASH, 4113, "&left=1&event=paused"));
    let head = get(&format!("/scrape?info_hash={OTHER}&info_hash={HASH}&info_hash={OTHER}"));
    let (_, reply) = ask(&mut endpoint, V4, &head);
    let (_, body) = reply.split_once("\n\n").unwrap();
    let zeros = "d8:completei0e10:downloadedi0e11:downloadersi0e10:incompletei0ee";
    assert!(body.starts_with(&format!("d5:filesd20:{HASH}d8:completei0e")), "{body}");
    assert!(
        body.ends_with(&format!("20:{OTHER}{zeros}e5:flagsd20:min_request_intervali900eee")),
        "{body}"
    );
    assert_eq!(body.matches(OTHER).count(), 1);
}

#[test]
fn every_refusal_is_a_failure_reason_with_status_200() {
    let listed = Rules {
        access: Arc::new(AccessList::new(Some(Vec::new()), Vec::new())),
        scrape_hashes_max: 2,
        ..rules()
    };
    let mut endpoint = endpoint(listed, Settings::default());
    let hashes = [HASH, OTHER, HASH].map(|hash| format!("info_hash={hash}")).join("&");
    let failure =
        |text: &str, rest: &str| format!("d14:failure reason{}:{text}{rest}e", text.len());
    let never = "8:retry in5:never";
    let later = "8:intervali1799e8:retry ini30e";
    let info_hash = http::QueryError::InfoHashMissing.text();
    let length = http::QueryError::InfoHashLength.text();
    let cases = [
        (announce(HASH, 1, ""), Refusal::NotListed, failure(Refusal::NotListed.text(), later)),
        (get("/announce"), Refusal::Malformed, failure(info_hash, never)),
        (get("/scrape?info_hash=x"), Refusal::Malformed, failure(length, never)),
        (get("/scrape"), Refusal::FullScrape, failure(Refusal::FullScrape.text(), never)),
        (
            get(&format!("/scrape?{hashes}")),
            Refusal::ScrapeTooLong,
            failure(Refusal::ScrapeTooLong.text(), never),
        ),
        (
            get(&format!("/0123456789abcdef/announce?info_hash={HASH}")),
            Refusal::NoMembers,
            failure(Refusal::NoMembers.text(), never),
        ),
        (
            get("/0123456789abcdef/scrape"),
            Refusal::NoMembers,
            failure(Refusal::NoMembers.text(), never),
        ),
    ];
    for (head, refusal, body) in cases {
        let before = endpoint.tracker.tally().refusals(Protocol::Http, refusal);
        check(&mut endpoint, V4, &head, granted(&body));
        let after = endpoint.tracker.tally().refusals(Protocol::Http, refusal);
        assert_eq!(after, before + 1, "{head}");
    }
    assert!(Refusal::ScrapeTooLong.text().contains("GET string too long"));
}

#[test]
fn one_peer_too_many_of_an_address_is_refused() {
    let limits = Limits { peers_per_address_max: 1, ..Limits::default() };
    let mut endpoint = bounded(limits, PeerIds::Dropped, rules(), Settings::default());
    ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    let text = Refusal::AddressFull.text();
    let body = format!("d14:failure reason{}:{text}8:intervali1799e8:retry ini30ee", text.len());
    check(&mut endpoint, V4, &announce(HASH, 4114, ""), granted(&body));
    let tally = endpoint.tracker.tally();
    assert_eq!(tally.refusals(Protocol::Http, Refusal::AddressFull), 1);
}

#[test]
fn peer_that_is_not_stored_is_warned() {
    let limits = Limits { peers_per_swarm_max: 1, ..Limits::default() };
    let mut endpoint = bounded(limits, PeerIds::Dropped, rules(), Settings::default());
    ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    let (_, reply) = ask(&mut endpoint, V4, &announce(HASH, 4114, ""));
    let text = Warning::NotStored.text();
    let peers = "5:peers6:\\xc0\\x00\\x02\\x01\\x10\\x11";
    let warning = format!("{peers}15:warning message{}:{text}e", text.len());
    assert!(reply.ends_with(&warning), "{reply}");
}

#[test]
fn peer_ids_are_handed_out_where_they_are_kept_and_wanted() {
    let mut endpoint = bounded(Limits::default(), PeerIds::Kept, rules(), Settings::default());
    ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    let peer = "d2:ip9:192.0.2.17:peer id20:-XX0001-0000000041134:porti4113ee";
    let (_, reply) = ask(&mut endpoint, V6, &announce(HASH, 4114, "&compact=0"));
    assert!(reply.contains(peer), "{reply}");
    let unwanted = announce(HASH, 4114, "&compact=0&no_peer_id=1");
    let (_, reply) = ask(&mut endpoint, V6, &unwanted);
    assert!(reply.contains("d2:ip9:192.0.2.14:porti4113ee"), "{reply}");
}

#[test]
fn other_paths_and_websockets_are_left_to_the_web_stack() {
    let mut endpoint = open();
    for target in [
        "/",
        "*",
        "/announce/",
        "/announce.php",
        "/Announce",
        "//announce",
        "/a/b/announce",
        "/announcement",
        "/stats.json?info_hash=x",
        "/x/announces",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let head = format!("{method} {target} HTTP/1.1\r\n\r\n");
            check(&mut endpoint, V4, &head, (Handled::Elsewhere, "", ""));
        }
    }
    let upgrade = "GET /announce HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(&mut endpoint, V4, upgrade, (Handled::Elsewhere, "", ""));
}

#[test]
fn malformed_http_gets_its_status_and_is_closed() {
    let mut endpoint = open();
    let cases = [
        ("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\n"),
        ("GET /announce HTTP/3.0\r\n\r\n", "HTTP/1.1 505 "),
        ("GET /announce HTTP/1.1\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400 "),
        ("POST /announce HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\nAllow: GET, HEAD\n"),
        ("DELETE /scrape HTTP/1.0\r\n\r\n", "HTTP/1.1 405 "),
    ];
    for (head, status) in cases {
        let (handled, reply) = ask(&mut endpoint, V4, head);
        assert_eq!(handled, Handled::Close, "{head}");
        assert!(reply.starts_with(status), "{reply}");
    }
    assert_eq!(endpoint.tracker.tally().malformed_requests, cases.len() as u64);
}

#[test]
fn connection_is_kept_or_closed_as_the_client_asks() {
    let mut endpoint = open();
    let head = announce(HASH, 4113, "");
    let http10 = head.replace("HTTP/1.1", "HTTP/1.0");
    let with = |head: &str, line: &str| head.replace("Host", &format!("{line}\r\nHost"));
    let cases = [
        (head.clone(), Handled::KeepAlive, false),
        (with(&head, "Connection: Close"), Handled::Close, true),
        (http10.clone(), Handled::Close, false),
        (with(&http10, "Connection: Keep-Alive"), Handled::KeepAlive, true),
        // What follows is not read, so it must not be taken for a request.
        (with(&head, "Content-Length: 5"), Handled::Close, true),
        (with(&head, "Transfer-Encoding: chunked"), Handled::Close, true),
    ];
    for (head, expected, named) in cases {
        let (handled, reply) = ask(&mut endpoint, V4, &head);
        assert_eq!(handled, expected, "{head}");
        assert_eq!(reply.contains("Connection: "), named, "{reply}");
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let mut endpoint = open();
    for head in
        [announce(HASH, 4113, ""), get(&format!("/scrape?info_hash={HASH}")), get("/announce")]
    {
        let (_, get) = ask(&mut endpoint, V4, &head);
        let (handled, head) = ask(&mut endpoint, V4, &head.replacen("GET", "HEAD", 1));
        assert_eq!(handled, Handled::KeepAlive);
        assert!(head.ends_with("\n\n") && get.starts_with(&head), "{get} {head}");
    }
}

#[test]
fn requests_are_counted_by_kind_and_family() {
    let mut endpoint = open();
    ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    ask(&mut endpoint, V6, &announce(HASH, 4113, ""));
    ask(&mut endpoint, V6, &get(&format!("/scrape?info_hash={HASH}")));
    let tally = endpoint.tracker.tally();
    let count = |family, kind| tally.requests(Protocol::Http, family, kind);
    assert_eq!(count(Family::V4, Kind::Announce), 1);
    assert_eq!(count(Family::V6, Kind::Announce), 1);
    assert_eq!(count(Family::V4, Kind::Scrape), 0);
    assert_eq!(count(Family::V6, Kind::Scrape), 1);
}

#[test]
fn full_scrape_is_streamed_as_the_client_takes_it() {
    let mut endpoint = endpoint(Rules { full_scrape: true, ..rules() }, Settings::default());
    for index in 0..9 {
        ask(&mut endpoint, V4, &announce(&format!("{index}aaaaaaaaaaaaaaaaaaa"), 4113, "&left=0"));
    }
    let chunked = Stream {
        encoding: Encoding::Identity,
        framing: Framing::Chunked,
        connection: Connection::KeepAlive,
    };
    let head = get("/scrape");
    let (handled, reply) = ask(&mut endpoint, V4, &head);
    assert_eq!(handled, Handled::FullScrape(chunked));
    assert!(reply.ends_with("Transfer-Encoding: chunked\n\n"), "{reply}");
    let gzip = head.replace("Host", "Accept-Encoding: gzip\r\nHost");
    let (handled, reply) = ask(&mut endpoint, V4, &gzip);
    assert_eq!(handled, Handled::FullScrape(Stream { encoding: Encoding::Gzip, ..chunked }));
    assert!(reply.contains("Content-Encoding: gzip\n"), "{reply}");
    let (handled, reply) = ask(&mut endpoint, V4, &head.replace("HTTP/1.1", "HTTP/1.0"));
    let until_close =
        Stream { framing: Framing::UntilClose, connection: Connection::Close, ..chunked };
    assert_eq!(handled, Handled::FullScrape(until_close));
    assert!(!reply.contains("chunked"), "{reply}");
    let (handled, _) = ask(&mut endpoint, V4, &head.replacen("GET", "HEAD", 1));
    assert_eq!(handled, Handled::KeepAlive);

    let mut whole = Vec::new();
    let mut body = FullScrape::new(Arc::clone(&endpoint.tracker), &Settings::default());
    assert_eq!(body.write_next(&mut whole), Progress::Done);
    assert_eq!(body.write_next(&mut whole), Progress::Done);
    assert!(whole.starts_with(b"d5:filesd20:") && whole.ends_with(b"eee"));

    // The same in pieces, each into a buffer of its own.
    let mut body = FullScrape::new(Arc::clone(&endpoint.tracker), &Settings::default());
    body.parts = 4;
    let mut pieces = Vec::new();
    loop {
        let mut piece = Vec::new();
        let progress = body.write_next(&mut piece);
        pieces.push(piece);
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!(pieces.len(), 4);
    let mut sorted = pieces.concat();
    sorted.sort_unstable();
    whole.sort_unstable();
    assert_eq!(sorted, whole);
}

#[test]
fn full_scrape_leaves_out_what_is_no_longer_allowed() {
    let mut endpoint = open();
    ask(&mut endpoint, V4, &announce(HASH, 4113, ""));
    let deny = Vec::from([InfoHash(*HASH.as_bytes().first_chunk().unwrap())]);
    let access = Arc::new(AccessList::new(None, deny));
    endpoint.tracker.set_rules(Rules { access, ..rules() });
    let mut body = Vec::new();
    FullScrape::new(Arc::clone(&endpoint.tracker), &Settings::default()).write_next(&mut body);
    assert_eq!(body, b"d5:filesdee");
}
