//! Real clients meet through the tracker: Transmission, aria2, qBittorrent and libtorrent.
//!
//! Each seeds a file of 50 MiB to each of the others, over HTTP and UDP, over 127.0.0.1 and
//! `[::1]`, with no other way to find each other: the torrents are private (BEP 27), and DHT, PEX
//! and LSD are off. Scrapes are watched all the way: no count is ever wrong, who leaves is gone.
//!
//! | | who cannot | why |
//! |---|---|---|
//! | UDP over IPv6 | aria2 | its UDP trackers are IPv4 only |
//! | UDP over IPv6 | Transmission | it asks from a global address of the host or not at all |
//!
//! In `private` they are members of a private tracker, and what they are credited is compared.
//!
//! `cargo xtask setup` installs the clients. Without them these tests fail; none is skipped.

mod aria2;
mod client;
mod libtorrent;
mod meeting;
mod payload;
mod private;
mod qbittorrent;
mod transmission;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Mutex;

use client::{Family, Kind};
use meeting::{Meeting, Party, Protocol};
use payload::{Order, Payload};
use peerage_testkit::{Folder, Server};

/// 50 MiB.
const PAYLOAD_BYTES: usize = 50 << 20;

/// Meetings at a time. Each is two clients, which wait most of the time.
const MEETINGS_MAX: usize = 6;

#[test]
fn clients_meet_over_http_and_ipv4() {
    check(&everyone_with_everyone(Protocol::Http, Family::V4));
}

#[test]
fn clients_meet_over_http_and_ipv6() {
    check(&everyone_with_everyone(Protocol::Http, Family::V6));
}

#[test]
fn clients_meet_over_udp_and_ipv4() {
    check(&everyone_with_everyone(Protocol::Udp, Family::V4));
}

#[test]
fn clients_meet_over_udp_and_ipv6() {
    check(&everyone_with_everyone(Protocol::Udp, Family::V6));
}

#[test]
fn clients_meet_where_one_asks_over_http_and_the_other_over_udp() {
    use Kind::{Aria2, Libtorrent, QBittorrent, Transmission};
    let pairs = [
        (QBittorrent, Protocol::Udp, Transmission, Protocol::Http, Family::V4),
        (Aria2, Protocol::Http, Libtorrent, Protocol::Udp, Family::V4),
        (Libtorrent, Protocol::Udp, Aria2, Protocol::Http, Family::V6),
        (QBittorrent, Protocol::Http, Libtorrent, Protocol::Udp, Family::V6),
    ];
    let meetings = pairs.map(|(seeder, to, leecher, from, family)| Meeting {
        seeder: (seeder, to),
        leecher: (leecher, from),
        family,
    });
    check(&meetings);
}

/// aria2 announces as often as it is told to, every two seconds here. The one that is left came
/// first: had it not been heard from since, it would be gone before the other.
#[test]
fn client_that_is_killed_disappears_and_one_that_announces_stays() {
    let aria2 = (Kind::Aria2, Protocol::Http);
    let meeting = Meeting { seeder: aria2, leecher: aria2, family: Family::V4 };
    let outlive = || {
        let folder = Folder::new("clients")?;
        let payload = Payload::make(folder.inner("payload")?, PAYLOAD_BYTES)?;
        let flags = ["--interval", "2", "--min-interval", "1", "--max-interval", "2"];
        let settings =
            [("PEERAGE__ANNOUNCE__JITTER", "0s"), ("PEERAGE__ANNOUNCE__PEER_TIMEOUT", "10s")];
        let server = Server::start_with(&program(), &flags, &settings)?;
        let orders = orders(&[meeting], &server, &folder);
        let info_hash = payload.torrents(&orders)?[0];
        let torrents = [0, 1].map(|order| orders[order].torrent.clone());
        let mut party =
            Party { server: &server, payload: &payload, info_hash, torrents, seen: Vec::new() };
        party.outlive(meeting).map_err(|what| format!("after {}: {what}", party.seen()))?;
        println!("{}", party.seen());
        server.stop()
    };
    assert_eq!(outlive(), Ok(()));
}

/// Every ordered pair of clients that can ask this way.
fn everyone_with_everyone(protocol: Protocol, family: Family) -> Vec<Meeting> {
    let can = |kind: &Kind| match cannot(*kind, protocol, family) {
        Some(why) => {
            println!("{} is left out of {protocol:?} over {family:?}: {why}", kind.name());
            false
        }
        None => true,
    };
    let clients: Vec<Kind> = Kind::ALL.into_iter().filter(can).collect();
    let pairs =
        clients.iter().flat_map(|&seeder| clients.iter().map(move |&other| (seeder, other)));
    pairs
        .filter(|(seeder, leecher)| seeder != leecher)
        .map(|(seeder, leecher)| Meeting {
            seeder: (seeder, protocol),
            leecher: (leecher, protocol),
            family,
        })
        .collect()
}

/// Why a client cannot ask a tracker this way, whatever the tracker does.
fn cannot(kind: Kind, protocol: Protocol, family: Family) -> Option<&'static str> {
    match (kind, protocol, family) {
        (Kind::Aria2, Protocol::Udp, Family::V6) => Some("its UDP trackers are IPv4 only"),
        (Kind::Transmission, Protocol::Udp, Family::V6) => {
            Some("it asks from a global IPv6 address of the host or not at all")
        }
        _ => None,
    }
}

/// Lets all meetings happen, some at a time, at a tracker of their own.
#[track_caller]
fn check(meetings: &[Meeting]) {
    let failures = hold(meetings).unwrap_or_else(|what| vec![what]);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn hold(meetings: &[Meeting]) -> Result<Vec<String>, String> {
    let folder = Folder::new("clients")?;
    let payload = Payload::make(folder.inner("payload")?, PAYLOAD_BYTES)?;
    let server = Server::start(&program(), &[])?;
    let orders = orders(meetings, &server, &folder);
    let hashes = payload.torrents(&orders)?;
    let parties = meetings.iter().enumerate().map(|(index, &meeting)| {
        let torrents = [index * 2, index * 2 + 1].map(|order| orders[order].torrent.clone());
        let (server, payload, info_hash) = (&server, &payload, hashes[index * 2]);
        (meeting, Party { server, payload, info_hash, torrents, seen: Vec::new() })
    });
    let waiting = Mutex::new(parties);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let work = || {
            let next = || waiting.lock().expect("no meeting panics while it holds this").next();
            while let Some((meeting, mut party)) = next() {
                let outcome = party.run(meeting);
                let seen = party.seen();
                match outcome {
                    Ok(took) => println!("{meeting} {:5.1} s  {seen}", took.as_secs_f64()),
                    Err(what) => {
                        println!("{meeting} FAILED   {seen}");
                        let mut failures = failures.lock().expect("as above");
                        failures.push(format!("{meeting}: after {seen}: {what}"));
                    }
                }
            }
        };
        for _ in 0..MEETINGS_MAX {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("as above");
    failures.extend(server.stop().err());
    Ok(failures)
}

/// Two torrents for each meeting, for the seeder and for the leecher.
fn orders(meetings: &[Meeting], server: &Server, folder: &Folder) -> Vec<Order> {
    let order = |(index, meeting): (usize, &Meeting)| {
        let address = server.address(match meeting.family {
            Family::V4 => IpAddr::from(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
        [("seeder", meeting.seeder.1), ("leecher", meeting.leecher.1)].map(|(role, protocol)| {
            Order {
                torrent: folder.path().join(format!("{index}-{role}.torrent")),
                // libtorrent asks no tracker on loopback whose path does not start with this.
                url: match protocol {
                    Protocol::Http => format!("http://{address}/announce"),
                    Protocol::Udp => format!("udp://{address}/announce"),
                },
                swarm: format!("meeting-{index}"),
            }
        })
    };
    meetings.iter().enumerate().flat_map(order).collect()
}

/// The program cargo has built for this test, or the one the environment names: a release, say.
fn program() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_peerage"));
    std::env::var_os("PEERAGE_PROGRAM").map_or_else(built, PathBuf::from)
}
