//! Replies that wait for what other nodes know: the other nodes are the test.

use std::time::Instant;

use peerage_proto::InfoHash;
use peerage_swarm::Role;
use peerage_tracker::Kind;
use peerage_tracker::share::{Answer, Options, Room, Sampled, Timing};

use super::*;

/// Shares with nodes that are heard of, and that answer when the test says so.
fn serve_patiently(settings: &Settings, patience: Duration) -> (Server, Arc<Share>) {
    let interval = Duration::from_secs(1800);
    let timing = Timing::seldom(interval, interval);
    let share = Arc::new(Share::new(Options { node: 1, timing, sample: 50 }));
    share.listen();
    (serve_with(V4, settings, Some(Arc::clone(&share)), patience), share)
}

/// That nothing has come so far.
#[track_caller]
fn check_silent(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::WouldBlock));
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn first_announce_of_a_swarm_waits_and_holds_up_nobody_else() {
    let (server, share) = serve_patiently(&settings(), NEVER);
    let mut first = server.connect();
    let known = "GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n";
    let requests = [known, &announce(1, KEEP), &announce(2, KEEP), known].concat();
    first.write_all(requests.as_bytes()).unwrap();
    assert!(read_reply(&mut first).holds(b"5:files"), "what came before it is answered");
    let mut other = server.connect();
    for port in 3..=5 {
        // The first has been handled by now, and another peer is not the first.
        other.write_all(announce(port, KEEP).as_bytes()).unwrap();
        let reply = read_reply(&mut other);
        assert!(reply.holds(format!("10:incompletei{}e", port - 1).as_bytes()));
    }
    check_silent(&mut first);
    share.silence();
    for count in [4, 5] {
        assert!(read_reply(&mut first).holds(format!("10:incompletei{count}e").as_bytes()));
    }
    assert!(read_reply(&mut first).holds(b"5:files"));
    first.write_all(announce(1, KEEP).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut first).status, 200, "it is kept alive");
}

#[test]
fn reply_that_has_waited_holds_what_other_nodes_know() {
    let (server, share) = serve_patiently(&settings(), NEVER);
    let mut stream = server.connect();
    stream.write_all(announce(1, CLOSE).as_bytes()).unwrap();
    let (now, swarms) = (Clock::start().now(), server.tracker.swarms());
    let started = Instant::now();
    let sent = loop {
        let sent = share.outgoing(now, swarms, Room { swarms: 10, peers: 1000 });
        match sent.swarms.is_empty() {
            false => break sent,
            true => assert!(started.elapsed() < PATIENCE, "the announce is not told"),
        }
        thread::yield_now();
    };
    assert_eq!(sent.swarms[0].info_hash, InfoHash(std::array::from_fn(|index| index as u8)));
    let peer = "192.0.2.7:258".parse().unwrap();
    let seeder =
        Sampled { peer, role: Role::Seeder, seen_secs: share.shared_secs(now), is_own: false };
    let answer = Answer {
        seeders: 1,
        leechers: 1,
        completed: Some(3),
        is_shared: false,
        sample: Some(vec![seeder]),
    };
    check_silent(&mut stream);
    share.apply(now, swarms, sent, &[Some(answer)]);
    let reply = read_reply(&mut stream);
    assert!(reply.holds(b"5:peers6:\xc0\0\x02\x07\x01\x02"), "{}", reply.body.escape_ascii());
    for counts in [&b"8:completei1e"[..], b"10:downloadedi3e", b"10:incompletei1e"] {
        assert!(reply.holds(counts), "{}", reply.body.escape_ascii());
    }
    assert_eq!(read_to_end(&mut stream), b"");
    let tally = server.tracker.tally();
    let announces = tally.requests(Protocol::Http, Family::V4, Kind::Announce);
    assert_eq!(announces, 1, "it is counted once");
}

#[test]
fn reply_waits_so_long_and_not_longer() {
    let (mut server, _share) = serve_patiently(&settings(), SOON);
    let mut stream = server.connect();
    let started = Instant::now();
    stream.write_all(announce(1, KEEP).as_bytes()).unwrap();
    assert!(read_reply(&mut stream).holds(b"10:incompletei1e"));
    assert!(started.elapsed() >= SOON, "it has waited");
    stream.write_all(announce(2, KEEP).as_bytes()).unwrap();
    assert!(read_reply(&mut stream).holds(b"10:incompletei2e"));
    assert_eq!(server.replies(200), 2);
}

#[test]
fn announce_on_a_connection_that_cannot_be_kept_does_not_wait() {
    let settings = Settings { connections_max: 1, ..settings() };
    let (server, _share) = serve_patiently(&settings, NEVER);
    let mut kept = server.connect();
    kept.write_all(announce(1, KEEP).as_bytes()).unwrap();
    let mut second = server.connect();
    let other = announce(2, CLOSE).replace("%00%01", "%01%01");
    second.write_all(other.as_bytes()).unwrap();
    assert!(read_reply(&mut second).holds(b"10:incompletei1e"));
    assert_eq!(read_to_end(&mut second), b"");
    check_silent(&mut kept);
}
