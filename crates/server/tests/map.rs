//! The feed of the map, from announce to frame.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peerage_testkit::websocket::{Buffer, Message, WebSocket};
use peerage_testkit::{Folder, Server, http, udp};

/// How long what is awaited may take to come.
const LIMIT: Duration = Duration::from_secs(90);

/// Places in 127.77.0.0/16 and in ::/64, as IP2Location writes them: an address is a number.
const IPV4: &str = "\"2135752704\",\"2135818239\",\"NZ\",\"New Zealand\",\"-\",\"-\",\"-41.287\",\
    \"174.776\"\n";
const IPV6: &str = "\"0\",\"18446744073709551615\",\"IS\",\"Iceland\",\"-\",\"-\",\"64.14\",\
    \"-21.94\"\n";
const NEW_ZEALAND: ((i16, i16), [u8; 2]) = ((-413, 1748), *b"NZ");
const ICELAND: ((i16, i16), [u8; 2]) = ((641, -219), *b"IS");

/// A tracker without location files, unless it is told of some.
fn start(settings: &[(&str, &str)]) -> Result<Server, String> {
    Server::start_with(Path::new(env!("CARGO_BIN_EXE_peerage")), &[], settings)
}

/// A tracker that knows where two networks are.
fn start_with_places(folder: &Folder, settings: &[(&str, &str)]) -> Result<Server, String> {
    let files = [("v4.csv", IPV4), ("v6.csv", IPV6)].map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).map(|()| path.display().to_string())
    });
    let files: Vec<String> =
        files.into_iter().collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let files = ("PEERAGE__PAGES__LOCATION_FILES", &*files.join(","));
    let server = start(&[&[files], settings].concat())?;
    server.stats_when(|stats| stats["locations"].is_object())?;
    Ok(server)
}

fn open(server: &Server, headers: &[(&str, &str)]) -> Result<WebSocket, String> {
    WebSocket::open(server.address(Ipv4Addr::LOCALHOST), "/map.ws", headers, Buffer::Usual)
}

/// The next message that is no frame.
fn word(viewer: &mut WebSocket) -> Result<Message, String> {
    loop {
        match viewer.receive()? {
            Message::Binary(_) => {}
            word => return Ok(word),
        }
    }
}

fn announce(letter: u8) -> udp::Announce {
    let hash = [letter; 20];
    udp::Announce { info_hash: hash, peer_id: hash, left: 1, event: 2, numwant: 3, port: 6881 }
}

/// A point: its place in tenths of a degree, its way, its country.
type Point = ((i16, i16), u8, [u8; 2]);

/// What a viewer has been sent.
#[derive(Default)]
struct Seen {
    points: Vec<Point>,
    announces: u64,
    /// Of all frames, one after the other.
    bytes: Vec<u8>,
}

impl Seen {
    /// Takes in the next frame.
    fn watch(&mut self, viewer: &mut WebSocket) -> Result<(), String> {
        let frame = match viewer.receive()? {
            Message::Binary(frame) => frame,
            Message::Ping(payload) => return viewer.send(&Message::Pong(payload)),
            other => return Err(format!("a viewer got {other:?}")),
        };
        self.bytes.extend(&frame);
        let (head, points) = frame.split_first_chunk::<8>().ok_or("a frame without a head")?;
        let (points, rest) = points.as_chunks::<8>();
        assert_eq!((head[0], head[1], rest), (1, 0, &[][..]), "{frame:?}");
        assert_eq!(usize::from(u16::from_le_bytes([head[2], head[3]])), points.len());
        assert!(points.len() <= 2000);
        self.announces += u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        for &[a, b, c, d, way, zero, country @ ..] in points {
            assert_eq!(zero, 0);
            let place = (i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d]));
            self.points.push((place, way, country));
        }
        Ok(())
    }

    /// How often `bytes`, or the same backwards, are in the frames.
    fn count(&self, bytes: &[u8]) -> usize {
        let backwards: Vec<u8> = bytes.iter().rev().copied().collect();
        let is_there = |window: &&[u8]| *window == bytes || *window == backwards;
        self.bytes.windows(bytes.len()).filter(is_there).count()
    }
}

#[test]
fn announces_are_points_at_their_places_and_their_addresses_are_not_told() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let server = start_with_places(&folder, &[])?;
    let (v4, v6) = (server.address(Ipv4Addr::LOCALHOST), server.address(Ipv6Addr::LOCALHOST));
    let over_udp = Ipv4Addr::new(127, 77, 201, 33);
    let over_http = Ipv4Addr::new(127, 77, 222, 188);
    let elsewhere = Ipv4Addr::new(127, 78, 201, 33);
    let mut clients = [
        udp::Client::connect_from(over_udp.into(), v4)?,
        udp::Client::connect_from(elsewhere.into(), v4)?,
        udp::Client::connect(v6)?,
    ];
    let path = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881";
    let mut over_http_v4 = http::Connection::open_from(over_http.into(), v4)?;
    let mut over_http_v6 = http::Connection::open(v6)?;
    let mut viewer = open(&server, &[])?;
    let (mut seen, started) = (Seen::default(), Instant::now());
    let wanted: BTreeSet<Point> = [
        (NEW_ZEALAND.0, 0, NEW_ZEALAND.1),
        (ICELAND.0, 1, ICELAND.1),
        (NEW_ZEALAND.0, 2, NEW_ZEALAND.1),
        (ICELAND.0, 3, ICELAND.1),
    ]
    .into();
    let mut sent = 0;
    while started.elapsed() < LIMIT && wanted.iter().any(|point| !seen.points.contains(point)) {
        for client in &mut clients {
            client.announce(&announce(b'a'))?;
        }
        for connection in [&mut over_http_v4, &mut over_http_v6] {
            assert_eq!(connection.get(path)?.status, 200);
        }
        sent += 5;
        seen.watch(&mut viewer)?;
    }
    while started.elapsed() < LIMIT && seen.announces < sent {
        seen.watch(&mut viewer)?;
    }
    assert_eq!(seen.announces, sent);
    assert_eq!(seen.points.iter().copied().collect::<BTreeSet<_>>(), wanted);
    // Each of the five ways but the one from nowhere, each time.
    assert_eq!(seen.points.len() as u64, sent / 5 * 4);
    for address in [over_udp, over_http, elsewhere, Ipv4Addr::LOCALHOST] {
        assert_eq!(seen.count(&address.octets()), 0, "{address} is in a frame");
        assert_eq!(seen.count(address.to_string().as_bytes()), 0, "{address} is in a frame");
    }
    for address in [Ipv6Addr::LOCALHOST, over_udp.to_ipv6_mapped()] {
        assert_eq!(seen.count(&address.octets()), 0, "{address} is in a frame");
    }
    // What is looked for would be found.
    assert!(seen.count(&(-413_i16).to_le_bytes()) > 0);
    let points = seen.points.len() as u64;
    server.stats_when(|stats| {
        (&stats["map"]["viewers"], &stats["map"]["points_sent"]) == (&1.into(), &points.into())
    })?;
    Ok(())
}

/// Announces from many addresses over many sockets until it is told to stop.
fn load(server: &Server, stop: &AtomicBool) -> Result<(), String> {
    let client = |number: u8| {
        let local = IpAddr::V4(Ipv4Addr::new(127, 77, 1, number));
        udp::Client::connect_from(local, server.address(Ipv4Addr::LOCALHOST))
    };
    let mut clients = (0..32).map(client).collect::<Result<Vec<_>, _>>()?;
    while !stop.load(Ordering::Relaxed) {
        for client in &mut clients {
            client.announce(&announce(b'a'))?;
        }
    }
    Ok(())
}

#[test]
fn viewer_that_never_reads_is_dropped_and_another_sees_on() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let server = start_with_places(&folder, &[("PEERAGE__LISTEN__WORKERS", "4")])?;
    let address = server.address(Ipv4Addr::LOCALHOST);
    let idle = WebSocket::open(address, "/map.ws", &[], Buffer::Smallest)?;
    let mut viewer = open(&server, &[])?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&server, &stop));
        let mut watch = || -> Result<(), String> {
            let (mut seen, started) = (Seen::default(), Instant::now());
            while server.stats()?["map"]["dropped_viewers"] == 0 {
                seen.watch(&mut viewer)?;
                assert!(started.elapsed() < LIMIT, "it is not dropped");
            }
            assert!(started.elapsed() > Duration::from_secs(15), "it had no time to read");
            let before = seen.points.len();
            for _ in 0..8 {
                seen.watch(&mut viewer)?;
            }
            assert!(seen.points.len() > before && before > 1000, "{before}");
            assert!(seen.points.iter().all(|point| *point == (NEW_ZEALAND.0, 0, NEW_ZEALAND.1)));
            server.stats_when(|stats| stats["map"]["viewers"] == 1)?;
            Ok(())
        };
        let watched = watch();
        stop.store(true, Ordering::Relaxed);
        loading.join().expect("no panic")?;
        watched
    })?;
    drop(idle);
    Ok(())
}

#[test]
fn one_viewer_too_many_is_told_to_come_later() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let server = start_with_places(&folder, &[("PEERAGE__PAGES__VIEWERS_MAX", "1")])?;
    let first = open(&server, &[])?;
    let mut second = open(&server, &[])?;
    assert_eq!(second.receive()?, Message::Close(1013, "too many viewers".into()));
    drop(first);
    // Its place is free once the server has seen it go.
    server.stats_when(|stats| stats["map"]["viewers"] == 0)?;
    let mut third = open(&server, &[])?;
    // Nobody announces, and it is told that it watches.
    let mut seen = Seen::default();
    seen.watch(&mut third)?;
    assert_eq!((seen.announces, seen.bytes.len()), (0, 8));
    Ok(())
}

#[test]
fn viewer_that_says_something_is_closed() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let server = start_with_places(&folder, &[])?;
    for message in [Message::Text(b"hello".into()), Message::Binary(vec![0; 100])] {
        let mut viewer = open(&server, &[])?;
        viewer.send(&message)?;
        let why = "nothing is expected from a viewer";
        assert_eq!(word(&mut viewer)?, Message::Close(1008, why.into()));
    }
    let mut viewer = open(&server, &[])?;
    viewer.send(&Message::Ping(b"there?".into()))?;
    assert_eq!(word(&mut viewer)?, Message::Pong(b"there?".into()));
    viewer.send(&Message::Close(1000, String::new()))?;
    assert_eq!(word(&mut viewer)?, Message::Close(1000, String::new()));
    assert!(word(&mut viewer).is_err(), "the socket is closed");
    Ok(())
}

#[test]
fn viewer_takes_no_place_of_the_pages() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let settings = [("PEERAGE__HTTP__PAGES_CONNECTIONS_MAX", "2")];
    let server = start_with_places(&folder, &settings)?;
    let mut viewers = Vec::new();
    for number in 0..4 {
        // The connection that asks is one, and so may be gone a little after it is closed here.
        server.stats_when(|stats| {
            (&stats["pages"]["open"], &stats["map"]["viewers"]) == (&1.into(), &number.into())
        })?;
        viewers.push(open(&server, &[])?);
    }
    server.stats_when(|stats| stats["map"]["viewers"] == 4)?;
    Ok(())
}

#[test]
fn without_locations_a_viewer_is_told_so() -> Result<(), String> {
    let server = start(&[("PEERAGE__PAGES__LOCATIONS", "false")])?;
    let mut viewer = open(&server, &[])?;
    assert_eq!(viewer.receive()?, Message::Close(4404, "no locations".into()));
    viewer.send(&Message::Close(1000, String::new()))?;
    assert!(viewer.receive().is_err(), "the socket is closed");
    assert_eq!(server.stats()?["map"]["viewers"], 0);
    Ok(())
}

#[test]
fn page_of_another_site_may_not_open_the_feed() -> Result<(), String> {
    let server = start(&[])?;
    let refused = open(&server, &[("Origin", "https://elsewhere.example")]).unwrap_err();
    assert!(refused.contains(" 403 "), "{refused}");
    let own = format!("http://127.0.0.1:{}", server.port());
    open(&server, &[("Origin", &own)])?;
    Ok(())
}

#[test]
fn feed_is_for_websockets_alone() -> Result<(), String> {
    let server = start(&[])?;
    let reply = server.get("/map.ws")?;
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    assert_eq!(server.get("/health")?.status, 200);
    Ok(())
}

#[test]
fn viewers_are_told_when_the_tracker_stops() -> Result<(), String> {
    let folder = Folder::new("places")?;
    let server = start_with_places(&folder, &[])?;
    let mut viewer = open(&server, &[])?;
    let mut connection = server.connect()?;
    assert_eq!(connection.get("/health")?.status, 200);
    server.stats_when(|stats| stats["map"]["viewers"] == 1)?;
    thread::scope(|scope| {
        let told = scope.spawn(move || {
            let told = word(&mut viewer);
            viewer.send(&Message::Close(1001, String::new())).map(|()| told)
        });
        server.stop()?;
        let told = told.join().expect("no panic")??;
        assert_eq!(told, Message::Close(1001, "the tracker stops".into()));
        Ok(())
    })
}
