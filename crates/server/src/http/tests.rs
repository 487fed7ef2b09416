//! The loop as its clients see it, over loopback, with the real endpoint.
//!
//! - `late`: replies that wait for what other nodes know.

mod late;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown};
use std::thread::{self, JoinHandle};

use peerage_proto::Family;
use peerage_tracker::{Limits, PeerIds, Rules, Share};
use tokio::sync::mpsc::{self, Receiver};

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long a test waits for what must come before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

struct Server {
    address: SocketAddr,
    tracker: Arc<Tracker>,
    status: Arc<Status>,
    handovers: Receiver<Handover>,
    site: Receiver<Handover>,
    stop: Stop,
    thread: Option<JoinHandle<io::Result<()>>>,
}

fn settings() -> Settings {
    Settings {
        backlog: 1024,
        connections_max: 1000,
        timeout: NEVER,
        idle_timeout: NEVER,
        head_bytes_max: 8192,
        proxied: Proxied::Nobody,
        site: false,
    }
}

fn serve_on(ip: IpAddr, settings: &Settings) -> Server {
    serve_with(ip, settings, None, Duration::ZERO)
}

fn serve_with(
    ip: IpAddr,
    settings: &Settings,
    share: Option<Arc<Share>>,
    patience: Duration,
) -> Server {
    let limits = Limits {
        swarms_max: 1 << 20,
        peers_max: 1 << 30,
        peers_per_swarm_max: 1 << 20,
        peers_per_address_max: 0,
        peer_timeout: Duration::from_secs(3600),
        completed_kept: Duration::from_secs(3600),
    };
    let rules = Rules { full_scrape: true, ..Rules::default() };
    let mut tracker = Tracker::new([7; 16], limits, PeerIds::Dropped, rules);
    share.into_iter().for_each(|share| tracker.share_by(share));
    let tracker = Arc::new(tracker);
    let http_settings = http::Settings { external_ip: true, ..http::Settings::default() };
    let http_settings = Arc::new(http_settings);
    let (handover, handovers) = mpsc::channel(1);
    let (to_site, site) = mpsc::channel(1);
    let answering = Answering {
        endpoint: Endpoint::new(Arc::clone(&tracker), Arc::clone(&http_settings), 1),
        tracker: Arc::clone(&tracker),
        settings: http_settings,
        handover,
        waits: Arc::new(Waits::new(settings)),
        site: Some(to_site),
    };
    let listeners =
        bind(&[SocketAddr::new(ip, 0)], 1, settings, &Inherited::default()).unwrap().remove(0);
    let listeners = listeners.with_patience(patience);
    let (address, status) = (listeners.local_addresses()[0], listeners.status());
    let stop = Stop::default();
    let thread = {
        let stop = stop.clone();
        thread::spawn(move || listeners.run(answering, Clock::start(), stop))
    };
    Server { address, tracker, status, handovers, site, stop, thread: Some(thread) }
}

fn serve(settings: &Settings) -> Server {
    serve_on(V4, settings)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn stop(&mut self) {
        self.stop.request();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.into_iter().for_each(|ended| ended.unwrap().unwrap());
        }
    }

    /// What was counted in the end: a reply may be with its client before it is counted.
    fn status(&mut self) -> &Status {
        self.stop();
        &self.status
    }

    fn replies(&mut self, code: u16) -> u64 {
        self.status().replies().find(|(known, _)| *known == code).unwrap().1
    }
}

/// An announce; peers on different ports are different peers.
fn announce(port: u16, rest: &str) -> String {
    let hash = "%00%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13";
    format!(
        "GET /announce?info_hash={hash}&peer_id=-PE0001-abcdefghijkl&port={port}&left=1&compact=1 \
         {rest}"
    )
}

const KEEP: &str = "HTTP/1.1\r\nHost: t\r\n\r\n";
const CLOSE: &str = "HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn holds(&self, wanted: &[u8]) -> bool {
        self.body.windows(wanted.len()).any(|window| window == wanted)
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads one reply and nothing after it.
#[track_caller]
fn read_reply(stream: &mut TcpStream) -> Reply {
    let head = read_head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Reply { status: head[9..12].parse().unwrap(), head, body }
}

/// Reads to the end of the connection, which must be an orderly one.
#[track_caller]
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn connection_serves_one_request_after_another() {
    for ip in [V4, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let mut server = serve_on(ip, &settings());
        let mut stream = server.connect();
        for port in 1..=20 {
            stream.write_all(announce(port, KEEP).as_bytes()).unwrap();
            let reply = read_reply(&mut stream);
            assert_eq!(reply.status, 200);
            assert!(reply.holds(format!("10:incompletei{port}e").as_bytes()));
        }
        drop(stream);
        let mut other = server.connect();
        other.write_all(announce(1, CLOSE).as_bytes()).unwrap();
        assert_eq!(read_reply(&mut other).status, 200);
        assert_eq!(read_to_end(&mut other), b"");
        assert_eq!(server.replies(200), 21);
        let family = server.status().of(Family::of(ip));
        assert_eq!(family.accepted.get(), 2);
        assert_ne!((family.bytes_in.get(), family.bytes_out.get()), (0, 0));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve(&settings());
    let mut stream = server.connect();
    let requests: String = (1..=50).map(|port| announce(port, KEEP)).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for port in 1..=50 {
        assert!(read_reply(&mut stream).holds(format!("10:incompletei{port}e").as_bytes()));
    }
}

#[test]
fn client_that_reads_late_gets_all_replies_of_a_long_pipeline() {
    const REQUESTS: u16 = 20_000;
    let mut server = serve(&settings());
    let mut stream = server.connect();
    let all: Vec<u8> = (1..=REQUESTS).flat_map(|port| announce(port, KEEP).into_bytes()).collect();
    // Everything is full in both directions before the first reply is read.
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    while written < all.len() {
        match stream.write(&all[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let rest = all[written..].to_vec();
    let writing = thread::spawn(move || writer.write_all(&rest).unwrap());
    let mut reader = io::BufReader::new(&stream);
    for port in 1..=REQUESTS {
        let body = read_buffered(&mut reader);
        let expected = format!("10:incompletei{port}e");
        let holds = body.windows(expected.len()).any(|window| window == expected.as_bytes());
        assert!(holds, "{expected}: {}", body.escape_ascii());
    }
    writing.join().unwrap();
    assert_eq!(server.replies(200), u64::from(REQUESTS));
}

/// Reads one reply: its body.
fn read_buffered(reader: &mut impl io::BufRead) -> Vec<u8> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    body
}

#[test]
fn request_may_come_byte_by_byte() {
    let server = serve(&settings());
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    for port in 1..=2 {
        for byte in announce(port, KEEP).as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(read_reply(&mut stream).status, 200);
    }
}

#[test]
fn old_clients_are_answered_and_closed() {
    let server = serve(&settings());
    let mut stream = server.connect();
    stream.write_all(announce(1, "HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn head_is_answered_without_a_body() {
    let server = serve(&settings());
    let mut stream = server.connect();
    let request = announce(1, CLOSE).replacen("GET", "HEAD", 1);
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Content-Length: 0"), "{head}");
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn client_that_sends_no_more_is_answered_and_closed() {
    let server = serve(&settings());
    let mut stream = server.connect();
    stream.write_all(announce(1, KEEP).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn slow_client_is_told_so() {
    let mut server = serve(&Settings { timeout: SOON, ..settings() });
    let mut stream = server.connect();
    stream.write_all(b"GET /announce?info_").unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!(reply.status, 408);
    assert!(reply.head.contains("Connection: close"), "{}", reply.head);
    assert_eq!(read_to_end(&mut stream), b"");
    let status = server.status();
    assert_eq!((status.timed_out.get(), status.open()), (1, 0));
}

#[test]
fn idle_connection_is_closed_without_a_word() {
    let mut server = serve(&Settings { idle_timeout: SOON, ..settings() });
    let mut stream = server.connect();
    stream.write_all(announce(1, KEEP).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
    assert_eq!(read_to_end(&mut stream), b"");
    let status = server.status();
    assert_eq!((status.idle_closed.get(), status.open()), (1, 0));
}

#[test]
fn connection_that_never_asks_is_closed_without_a_word() {
    let server = serve(&Settings { timeout: SOON, ..settings() });
    let mut stream = server.connect();
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn head_that_is_too_long_is_refused() {
    for head_bytes_max in [1024, 8192] {
        let server = serve(&Settings { head_bytes_max, ..settings() });
        let long = "x".repeat(100_000);
        let cases = [
            (format!("GET /announce HTTP/1.1\r\nX: {long}\r\n\r\n"), 431),
            (announce(1, &format!("HTTP/1.1\r\nX: {long}\r\n\r\n")), 431),
        ];
        for (request, status) in cases {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).unwrap();
            assert_eq!(read_reply(&mut stream).status, status);
            assert_eq!(read_to_end(&mut stream), b"");
        }
        let mut stream = server.connect();
        let target = "y".repeat(8192);
        stream.write_all(format!("GET /{target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        assert!(matches!(read_reply(&mut stream).status, 414 | 431));
        assert_eq!(read_to_end(&mut stream), b"");
    }
}

#[test]
fn reply_to_a_request_with_a_body_is_not_lost() {
    let server = serve(&settings());
    for (method, status) in [("POST", 405), ("GET", 200)] {
        let mut stream = server.connect();
        let head = announce(1, "HTTP/1.1\r\ncontent-LENGTH: 100000\r\n\r\n");
        stream.write_all(head.replacen("GET", method, 1).as_bytes()).unwrap();
        // The reply is there, and the connection told to close, before the body is sent.
        let reply = read_head(&mut stream);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        assert!(reply.contains("Connection: close"), "{reply}");
        stream.write_all(&[b'b'; 100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_ne!(read_to_end(&mut stream), b"");
    }
}

#[test]
fn what_is_not_ours_is_handed_over_with_all_that_was_read() {
    let mut server = serve(&settings());
    let mut stream = server.connect();
    let page = "GET /stats HTTP/1.1\r\nHost: t\r\n\r\nand more";
    let requests = announce(1, KEEP) + page;
    stream.write_all(requests.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
    let mut handover = server.handovers.blocking_recv().unwrap();
    assert_eq!(handover.read, page.as_bytes());
    assert_eq!(handover.source, stream.local_addr().unwrap());
    handover.stream.write_all(b"hello").unwrap();
    drop(handover);
    assert_eq!(read_to_end(&mut stream), b"hello");
    let status = server.status();
    assert_eq!((status.handed_over.get(), status.open()), (1, 0));
}

#[test]
fn page_is_refused_when_nobody_takes_it() {
    let server = serve(&settings());
    let page = b"GET /stats HTTP/1.1\r\nHost: t\r\n\r\n";
    // One waits in the channel, which has room for one.
    let mut first = server.connect();
    first.write_all(page).unwrap();
    let mut streams: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(page).unwrap();
    }
    assert_eq!(read_reply(&mut streams[1]).status, 503);
    assert_eq!(read_to_end(&mut streams[1]), b"");
}

#[test]
fn connection_beyond_the_bound_is_told_to_come_back() {
    let mut server = serve(&Settings { connections_max: 2, ..settings() });
    let mut kept: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut kept {
        stream.write_all(announce(1, KEEP).as_bytes()).unwrap();
        assert_eq!(read_reply(stream).status, 200);
    }
    let mut third = server.connect();
    assert_eq!(read_reply(&mut third).status, 503);
    assert_eq!(read_to_end(&mut third), b"");
    // The place of one that goes is free again.
    let mut first = kept.remove(0);
    first.write_all(announce(1, CLOSE).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut first).status, 200);
    assert_eq!(read_to_end(&mut first), b"");
    let mut fourth = server.connect();
    fourth.write_all(announce(1, KEEP).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut fourth).status, 200);
    let status = server.status();
    assert_eq!((status.refused.get(), status.open()), (1, 2));
}

#[test]
fn storm_of_connections_is_answered() {
    let mut server = serve(&settings());
    let mut streams: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for (port, stream) in (1..).zip(&mut streams) {
        stream.write_all(announce(port, CLOSE).as_bytes()).unwrap();
    }
    for stream in &mut streams {
        assert_eq!(read_reply(stream).status, 200);
        assert_eq!(read_to_end(stream), b"");
    }
    let status = server.status();
    assert_eq!((status.of(Family::V4).accepted.get(), status.open()), (400, 0));
}

#[test]
fn proxy_header_names_the_client() {
    let proxied = Proxied::From(vec!["127.0.0.0/8".parse().unwrap()]);
    let server = serve(&Settings { proxied, ..settings() });
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 7, 127, 0, 0, 1, 0x10, 0, 0x20, 0]);
    let v1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4096 8192\r\n".to_vec();
    for header in [v1, v2] {
        let mut stream = server.connect();
        let (start, rest) = header.split_at(9);
        stream.write_all(start).unwrap();
        stream.write_all(rest).unwrap();
        for _ in 0..2 {
            stream.write_all(announce(1, KEEP).as_bytes()).unwrap();
            let reply = read_reply(&mut stream);
            assert!(reply.holds(b"11:external ip4:\xcb\0\x71\x07"), "{}", reply.head);
        }
    }
    let mut without = server.connect();
    without.write_all(announce(1, KEEP).as_bytes()).unwrap();
    let mut byte = [0];
    assert!(matches!(without.read(&mut byte), Ok(0) | Err(_)));
}

#[test]
fn full_scrape_is_streamed() {
    let server = serve(&settings());
    let mut stream = server.connect();
    stream.write_all((announce(1, KEEP) + &announce(2, KEEP)).as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(read_reply(&mut stream).status, 200);
    }
    let full = "GET /scrape HTTP/1.1\r\nHost: t\r\n\r\n";
    stream.write_all(full.as_bytes()).unwrap();
    let reply = String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned();
    assert!(reply.contains("Transfer-Encoding: chunked"), "{reply}");
    assert!(reply.contains("10:incompletei2e") && reply.ends_with("\r\n0\r\n\r\n"), "{reply}");

    let mut stream = server.connect();
    let gzip = "GET /scrape HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(gzip.as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    let coded = read_to_end(&mut stream);
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut plain).unwrap();
    assert!(plain.starts_with(b"d5:filesd20:") && plain.ends_with(b"e"));
    assert!(server.status.full_scrape_bytes_out.load(std::sync::atomic::Ordering::Relaxed) > 100);
}

#[test]
fn port_that_is_taken_is_told_in_a_line() {
    let taken = std::net::TcpListener::bind((V4, 0)).unwrap();
    let error =
        bind(&[taken.local_addr().unwrap()], 1, &settings(), &Inherited::default()).unwrap_err();
    assert!(error.to_string().contains("another program has the port"), "{error}");
}

#[test]
fn second_tracker_does_not_join_the_listeners_of_the_first() {
    let first = bind(&[SocketAddr::new(V4, 0)], 2, &settings(), &Inherited::default()).unwrap();
    let addresses = first[0].local_addresses();
    assert_eq!(addresses, first[1].local_addresses());
    assert!(bind(&addresses, 2, &settings(), &Inherited::default()).is_err());
}

#[test]
fn request_of_a_site_is_handed_over_from_its_first_bytes_after_what_came_before() {
    let mut server = serve(&Settings { site: true, ..settings() });
    let mut stream = TcpStream::connect(server.address).unwrap();
    let secret = "0123456789abcdefghijklmnopqrstuv";
    let begun = format!("GET /{secret}/u");
    let before = "GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n";
    stream.write_all(format!("{before}{begun}").as_bytes()).unwrap();
    let handover = server.site.blocking_recv().unwrap();
    assert_eq!(handover.read, begun.as_bytes());
    drop(handover);
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
}
