//! What clients notice while Redis is away, stands still or is full, and while a node dies: of
//! their replies nothing, and of each other again soon after.

use std::time::{Duration, Instant};

use peerage_testkit::redis::Redis;
use peerage_testkit::{Signal, Wait, wait_for};

use crate::node::{Node, RECOVERED, SOON, Says, Way};

/// Replies to announces of a swarm that is known, while something is wrong. On a machine with
/// nothing else to do the slowest of a hundred takes less than 5 ms; the middle one says the same
/// where others share the machine.
const MIDDLE_MAX: Duration = Duration::from_millis(5);
/// No reply ever waits for Redis.
const SLOWEST_MAX: Duration = Duration::from_millis(500);

fn start() -> Result<(Redis, [Node; 2]), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))?;
    Ok((redis, nodes))
}

#[track_caller]
fn check_replies(nodes: &[Node], swarm: u8) -> Result<(), String> {
    for node in nodes {
        let times = node.slowest_announces(swarm, 200)?;
        let (middle, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        assert!(middle < MIDDLE_MAX, "the middle one of 200 took {middle:?}");
        assert!(slowest < SLOWEST_MAX, "the slowest of 200 took {slowest:?}");
        assert_eq!(node.0.get("/health")?.status, 200, "it lives");
    }
    Ok(())
}

/// Announces to many swarms, some of them new, for a while; each reply comes.
fn announce_for(nodes: &[Node], time: Duration, ports: u16) -> Result<(), String> {
    let started = Instant::now();
    let mut round = 0_u16;
    while started.elapsed() < time {
        for (node, port) in nodes.iter().zip(ports..) {
            node.announce(Way::UdpV4, 100 + (round % 50) as u8, port, Says::Leeching)?;
        }
        round += 1;
    }
    Ok(())
}

fn await_ready(node: &Node, status: u16) -> Result<(), String> {
    wait_for(&format!("{status} of /ready"), Duration::from_secs(30), || {
        let ready = node.ready()?;
        Ok(if ready == status { Wait::Done(()) } else { Wait::NotYet(ready.to_string()) })
    })
}

#[test]
fn replies_go_on_while_redis_is_gone_and_all_agree_again_after() -> Result<(), String> {
    let (mut redis, nodes) = start()?;
    redis.kill()?;
    check_replies(&nodes, 1)?;
    announce_for(&nodes, Duration::from_secs(5), 2000)?;
    nodes[0].announce(Way::UdpV4, 1, 1002, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Stopped)?;
    nodes.iter().try_for_each(|node| await_ready(node, 503))?;
    // It comes back with nothing of what it had been told.
    redis.start_again()?;
    // 40000 is the port by which the replies were checked.
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 1, 0), RECOVERED))?;
    nodes.iter().try_for_each(|node| node.await_counts(110, (0, 2, 0), RECOVERED))?;
    nodes.iter().try_for_each(|node| await_ready(node, 200))
}

#[test]
fn replies_go_on_while_redis_stands_still() -> Result<(), String> {
    let (mut redis, nodes) = start()?;
    redis.process().signal(Signal::Pause)?;
    check_replies(&nodes, 1)?;
    announce_for(&nodes, Duration::from_secs(5), 2000)?;
    check_replies(&nodes, 1)?;
    nodes[0].announce(Way::UdpV4, 1, 1002, Says::Seeding)?;
    redis.process().signal(Signal::Continue)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 2, 0), RECOVERED))?;
    nodes.iter().try_for_each(|node| node.await_counts(110, (0, 2, 0), RECOVERED))
}

#[test]
fn replies_go_on_while_redis_is_full() -> Result<(), String> {
    let (redis, nodes) = start()?;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
    announce_for(&nodes, Duration::from_secs(3), 2000)?;
    check_replies(&nodes, 1)?;
    nodes[0].announce(Way::UdpV4, 1, 1002, Says::Seeding)?;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 2, 0), RECOVERED))?;
    nodes.iter().try_for_each(|node| node.await_counts(110, (0, 2, 0), RECOVERED))
}

#[test]
fn peers_of_a_node_that_dies_expire_and_those_who_come_back_are_found() -> Result<(), String> {
    // An interval of three seconds, and a timeout of eight.
    let quick = [
        ("PEERAGE__ANNOUNCE__MIN_INTERVAL", "3"),
        ("PEERAGE__ANNOUNCE__MAX_INTERVAL", "3"),
        ("PEERAGE__ANNOUNCE__JITTER", "0"),
        ("PEERAGE__ANNOUNCE__PEER_TIMEOUT", "8"),
    ];
    let redis = Redis::start(&[])?;
    let mut dying = Node::start_with(&redis.url(), &quick)?;
    let staying = Node::start_with(&redis.url(), &quick)?;
    dying.await_connected()?;
    staying.await_connected()?;
    dying.announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    dying.announce(Way::UdpV4, 1, 1001, Says::Seeding)?;
    staying.announce(Way::UdpV4, 1, 1002, Says::Leeching)?;
    staying.await_counts(1, (2, 1, 0), SOON)?;
    dying.0.process().signal(Signal::Kill)?;
    // One client finds another node; the other is never heard again.
    wait_for("end of the lost one", Duration::from_secs(30), || {
        staying.announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
        staying.announce(Way::UdpV4, 1, 1002, Says::Leeching)?;
        let counts = staying.counts(1)?;
        assert!(counts.seeders >= 1, "{counts}: the one that moved is gone");
        let ended = (counts.seeders, counts.leechers) == (1, 1);
        Ok(if ended { Wait::Done(()) } else { Wait::NotYet(counts.to_string()) })
    })
}

#[test]
fn node_that_starts_before_redis_joins_when_it_comes() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let url = redis.url();
    redis.kill()?;
    let nodes = [Node::start(&url)?, Node::start(&url)?];
    assert_eq!(nodes[0].ready()?, 503);
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::HttpV6, 1, 1001, Says::Leeching)?;
    redis.start_again()?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), RECOVERED))?;
    assert_eq!(nodes[0].ready()?, 200);
    Ok(())
}
