//! Two nodes and one Redis in good order.

use std::net::SocketAddr;
use std::time::Duration;

use peerage_testkit::redis::Redis;
use peerage_testkit::udp;
use peerage_testkit::{Wait, wait_for};

use crate::node::{Node, SOON, Says, WAYS, Way, key};

#[test]
fn peer_announced_at_one_node_is_handed_out_by_another() -> Result<(), String> {
    check_handing_out(&Redis::start(&[])?)
}

pub(crate) fn check_handing_out(redis: &Redis) -> Result<(), String> {
    let (first, second) = (Node::start(&redis.url())?, Node::start(&redis.url())?);
    first.await_connected()?;
    second.await_connected()?;
    for (swarm, way) in (1..).zip(WAYS) {
        let (seeder, leecher) = (1000 + u16::from(swarm), 2000 + u16::from(swarm));
        first.announce(way, swarm, seeder, Says::Seeding)?;
        let wanted = SocketAddr::new(way.ip(), seeder);
        wait_for(&format!("seeder over {way:?}"), SOON, || {
            let peers = second.announce(way, swarm, leecher, Says::Leeching)?;
            Ok(match peers == [wanted] {
                true => Wait::Done(()),
                false => Wait::NotYet(format!("{peers:?}")),
            })
        })?;
        // And the other way round, where both swarms are known already.
        first.await_peers(swarm, &[wanted, SocketAddr::new(way.ip(), leecher)], SOON)?;
    }
    Ok(())
}

#[test]
fn first_announce_waits_for_the_peers_of_other_nodes() -> Result<(), String> {
    check_first_announce(&Redis::start(&[])?)
}

pub(crate) fn check_first_announce(redis: &Redis) -> Result<(), String> {
    // Far longer than a trip takes, on a machine that is busy too.
    let patient = [("PEERAGE__SHARED__COLD_WAIT_MS", "1000")];
    let first = Node::start_with(&redis.url(), &patient)?;
    let second = Node::start_with(&redis.url(), &patient)?;
    first.await_connected()?;
    second.await_connected()?;
    for (swarm, way) in (1..).zip(WAYS) {
        first.announce(way, swarm, 1000, Says::Seeding)?;
        wait_for("seeder in Redis", SOON, || {
            let count = redis.ask(&["ZCARD", &key(swarm)])?;
            Ok(if count == "1" { Wait::Done(()) } else { Wait::NotYet(count) })
        })?;
        // A client asks once and then not for half an hour.
        let peers = second.announce(way, swarm, 2000, Says::Leeching)?;
        assert_eq!(peers, [SocketAddr::new(way.ip(), 1000)], "{way:?}");
    }
    Ok(())
}

#[test]
fn counts_agree_and_who_stops_at_one_is_gone_at_all() -> Result<(), String> {
    check_counts(&Redis::start(&[])?)
}

pub(crate) fn check_counts(redis: &Redis) -> Result<(), String> {
    let nodes =
        [Node::start(&redis.url())?, Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    let [first, second, third] = &nodes;
    for (port, node) in (1000..).zip(&nodes) {
        for way in [Way::UdpV4, Way::HttpV6] {
            node.announce(way, 7, port, Says::Leeching)?;
        }
    }
    nodes.iter().try_for_each(|node| node.await_counts(7, (0, 6, 0), SOON))?;
    first.announce(Way::UdpV4, 7, 1000, Says::Completed)?;
    nodes.iter().try_for_each(|node| node.await_counts(7, (1, 5, 1), SOON))?;
    // It stops where it has never announced.
    third.announce(Way::UdpV4, 7, 1000, Says::Stopped)?;
    second.announce(Way::HttpV6, 7, 1001, Says::Stopped)?;
    nodes.iter().try_for_each(|node| node.await_counts(7, (0, 4, 1), SOON))?;
    let peers = |port: &u16| [Way::UdpV4, Way::HttpV6].map(|way| SocketAddr::new(way.ip(), *port));
    let mut left: Vec<SocketAddr> = [1000, 1001, 1002].iter().flat_map(peers).collect();
    left.retain(|peer| {
        *peer != SocketAddr::new(Way::UdpV4.ip(), 1000)
            && *peer != SocketAddr::new(Way::HttpV6.ip(), 1001)
    });
    nodes.iter().try_for_each(|node| node.await_peers(7, &left, SOON))
}

#[test]
fn peer_that_moves_to_another_node_is_one_peer() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 3, 1000, Says::Leeching)?;
    nodes[1].announce(Way::UdpV4, 3, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(3, (0, 2, 0), SOON))?;
    nodes[1].announce(Way::UdpV4, 3, 1000, Says::Completed)?;
    nodes.iter().try_for_each(|node| node.await_counts(3, (1, 1, 1), SOON))?;
    nodes[1].announce(Way::UdpV4, 3, 1000, Says::Stopped)?;
    nodes.iter().try_for_each(|node| node.await_counts(3, (0, 1, 1), SOON))
}

/// An interval of three seconds, and a timeout of eight.
const QUICK: [(&str, &str); 4] = [
    ("PEERAGE__ANNOUNCE__MIN_INTERVAL", "3"),
    ("PEERAGE__ANNOUNCE__MAX_INTERVAL", "3"),
    ("PEERAGE__ANNOUNCE__JITTER", "0"),
    ("PEERAGE__ANNOUNCE__PEER_TIMEOUT", "8"),
];

#[test]
fn each_peer_expires_by_its_own_clock_at_every_node() -> Result<(), String> {
    check_expiry(&Redis::start(&[])?)
}

pub(crate) fn check_expiry(redis: &Redis) -> Result<(), String> {
    let nodes = [Node::start_with(&redis.url(), &QUICK)?, Node::start_with(&redis.url(), &QUICK)?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 5, 1000, Says::Seeding)?;
    nodes[0].announce(Way::UdpV4, 5, 1001, Says::Leeching)?;
    nodes[1].announce(Way::UdpV4, 5, 1002, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(5, (1, 2, 0), SOON))?;
    // One stays lively; it must keep none of the others, and be kept itself.
    let lively = SocketAddr::new(Way::UdpV4.ip(), 1002);
    wait_for("end of the others", Duration::from_secs(25), || {
        nodes[1].announce(Way::UdpV4, 5, 1002, Says::Leeching)?;
        let mut seen = Vec::new();
        for node in &nodes {
            seen.push((node.counts(5)?, node.peers(5)?));
        }
        assert!(seen[1].1.contains(&lively), "the lively one is gone: {seen:?}");
        let ended = |(counts, peers): &(peerage_testkit::Counts, Vec<SocketAddr>)| {
            (counts.seeders, counts.leechers) == (0, 1) && *peers == [lively]
        };
        // The first has no client in the swarm any more: it may have forgotten it.
        let first_ended = ended(&seen[0]) || seen[0].1.is_empty();
        Ok(match first_ended && ended(&seen[1]) {
            true => Wait::Done(()),
            false => Wait::NotYet(format!("{seen:?}")),
        })
    })?;
    let key = key(5);
    assert_eq!(redis.ask(&["ZCARD", &key])?, "1");
    assert!(redis.ask(&["TTL", &key])?.parse::<i64>().is_ok_and(|secs| (1..=60).contains(&secs)));
    Ok(())
}

#[test]
fn lone_seeder_of_another_node_stays_known_from_announce_to_announce() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start_with(&redis.url(), &QUICK)?, Node::start_with(&redis.url(), &QUICK)?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 6, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 6, 1001, Says::Leeching)?;
    nodes[1].await_counts(6, (1, 1, 0), SOON)?;
    let seeder = SocketAddr::new(Way::UdpV4.ip(), 1000);
    let started = std::time::Instant::now();
    let mut announced = started;
    wait_for("fifteen seconds", Duration::from_secs(30), || {
        // Each announces as often as it is told to, and no more often.
        if announced.elapsed() >= Duration::from_secs(3) {
            announced = std::time::Instant::now();
            nodes[0].announce(Way::UdpV4, 6, 1000, Says::Seeding)?;
            nodes[1].announce(Way::UdpV4, 6, 1001, Says::Leeching)?;
        }
        let peers = nodes[1].peers(6)?;
        assert!(peers.contains(&seeder), "after {:?}: {peers:?}", started.elapsed());
        let enough = started.elapsed() >= Duration::from_secs(15);
        Ok(if enough { Wait::Done(()) } else { Wait::NotYet("it goes on".into()) })
    })
}

#[test]
fn connection_id_of_one_node_is_good_at_another() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    let servers = nodes.each_ref().map(|node| node.0.address(Way::UdpV4.ip()));
    let (info_hash, peer_id) = ([1; 20], [2; 20]);
    let announce = udp::Announce { info_hash, peer_id, left: 1, event: 0, numwant: 1, port: 1 };
    for (from, to) in [(0, 1), (1, 0)] {
        let mut client = udp::Client::connect(servers[from])?.moved_to(servers[to])?;
        client.announce(&announce)?;
    }
    Ok(())
}

#[test]
fn node_that_is_alone_is_ready_and_says_nothing_of_sharing() -> Result<(), String> {
    let node = Node::start("")?;
    assert_eq!(node.ready()?, 200);
    assert!(node.0.stats()?["shared"].is_null());
    Ok(())
}
