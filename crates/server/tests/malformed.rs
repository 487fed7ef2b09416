//! A million random, truncated and mutated datagrams and HTTP requests against the running program:
//! no crash, no growth, no reply to an unverified source longer than its request.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use peerage_swarm::Rng;
use peerage_testkit::{Server, http, udp};

/// For a reply that must come; and for how long we listen for those that must not.
const PATIENCE: Duration = Duration::from_secs(20);
const DATAGRAMS: u32 = 700_000;
const REQUESTS: u32 = 300_000;
/// Sent before their replies are read, so that neither side's buffers run over.
const BURST: u32 = 50;
/// What the program may gain besides the swarms it was made to keep: buffers at their bounds, and
/// what the allocator keeps for later.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

fn server() -> Server {
    Server::start(Path::new(env!("CARGO_BIN_EXE_peerage")), &[]).expect("it starts")
}

/// Changes, cuts, lengthens or replaces `bytes`.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let length = bytes.len() as u32;
        let at = rng.below(length) as usize;
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend((0..rng.below(60)).map(|n| n as u8)),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            3 if at < bytes.len() => {
                bytes[at] = [0, 0xff, b'%', b'&', b'=', b'\r', b'\n', b' '][at % 8];
            }
            4 => bytes.insert(at, rng.next_u64() as u8),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 => {
                let tail = bytes.split_off(at);
                bytes.extend(tail.iter().rev());
            }
            _ => *bytes = (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect(),
        }
    }
}

/// A request by its form, with a connection id that was never handed out.
fn datagram(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = rng.next_u64().to_be_bytes().to_vec();
    bytes.extend([0, 0, 0, rng.below(4) as u8]);
    bytes.extend((rng.next_u64() as u32).to_be_bytes());
    bytes.extend((0..82).map(|_| rng.next_u64() as u8));
    if rng.below(4) == 0 {
        bytes.splice(..12, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0]);
    }
    bytes
}

/// Whether the program answers a client that means well.
fn check_well(server: SocketAddr) {
    let health = http::get(server, "/health").expect("it is there");
    assert_eq!((health.status, health.body.trim_ascii_end()), (200, &b"OK"[..]));
    udp::Client::connect(server).expect("a connect is answered");
}

/// Resident bytes that are not accounted for by swarms.
fn resident_bytes(server: &Server) -> u64 {
    let stats = server.stats().expect("it is there");
    let number = |key| stats["memory"][key].as_u64().expect("a statistic");
    number("resident_bytes").saturating_sub(number("swarms_bytes"))
}

#[test]
fn no_datagram_crashes_it_grows_it_or_is_answered_at_greater_length() {
    let server = server();
    let address = server.address(Ipv4Addr::LOCALHOST);
    let before = resident_bytes(&server);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect(address).expect("loopback");
    let mut rng = Rng::from_seed(1);
    let mut reply = [0; 2048];
    let mut replies = 0_u32;
    for burst in 0..DATAGRAMS / BURST {
        let mut longest = 0;
        for _ in 0..BURST {
            let mut bytes = datagram(&mut rng);
            if rng.below(8) != 0 {
                mutate(&mut bytes, &mut rng);
            }
            longest = longest.max(bytes.len());
            socket.send(&bytes).expect("loopback");
        }
        // Who was answered is not known, since the transaction id may be mutated too; but only what
        // has 16 bytes is answered at all, so a reply of at most 16 is never longer.
        socket.set_nonblocking(true).expect("a socket");
        loop {
            match socket.recv(&mut reply) {
                Ok(length) => {
                    assert!(length <= 16 && length <= longest, "{length} bytes, burst {burst}");
                    replies += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        if burst % 1000 == 0 {
            check_well(address);
        }
    }
    check_well(address);
    assert!(replies > DATAGRAMS / 100, "{replies} replies: connects are answered");
    let growth = resident_bytes(&server).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "it has grown by {growth} bytes");
    server.stop().expect("it stops as it should");
}

fn http_request(rng: &mut Rng) -> Vec<u8> {
    let path =
        ["/announce", "/scrape", "/", "/stats.json", "/x/announce", "*"][rng.below(6) as usize];
    let hash: String = (0..20).map(|_| format!("%{:02x}", rng.below(256))).collect();
    let connection = ["close", "keep-alive", "Upgrade", ""][rng.below(4) as usize];
    format!(
        "GET {path}?info_hash={hash}&peer_id=-XX0001-{:012}&port={}&left={}&numwant={}\
         &event=started HTTP/1.{}\r\nHost: x\r\nConnection: {connection}\r\n\
         X-Forwarded-For: 192.0.2.1\r\n\r\n",
        rng.below(1000),
        rng.below(70_000),
        rng.below(3),
        rng.below(100),
        rng.below(3),
    )
    .into_bytes()
}

#[test]
fn no_http_request_crashes_or_grows_it() {
    let server = server();
    let address = server.address(Ipv4Addr::LOCALHOST);
    let before = resident_bytes(&server);
    let mut rng = Rng::from_seed(2);
    let mut sent = 0;
    let mut replies = 0;
    while sent < REQUESTS {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        let mut bytes = Vec::new();
        // What follows a malformed request is not read: so they come last.
        for mutated in [false, false, rng.below(4) == 0, true] {
            let mut request = http_request(&mut rng);
            if mutated {
                mutate(&mut request, &mut rng);
            }
            bytes.extend(request);
            sent += 1;
        }
        // It may close at the first malformed request, and reset us while we still send.
        if stream.write_all(&bytes).is_ok() && stream.shutdown(std::net::Shutdown::Write).is_ok() {
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply);
            assert!(reply.is_empty() || reply.starts_with(b"HTTP/1."), "{}", reply.escape_ascii());
            replies += reply.windows(7).filter(|bytes| *bytes == b"HTTP/1.").count();
        }
    }
    assert!(replies > REQUESTS as usize / 4, "{replies} replies: most requests are read");
    check_well(address);
    let growth = resident_bytes(&server).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "it has grown by {growth} bytes");
    server.stop().expect("it stops as it should");
}
