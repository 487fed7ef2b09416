//! What clients notice while Redis is away, stands still or is full, and while a node dies: of
//! their replies nothing, and of each other again soon after.
//!
//! Whether a reply came is what is looked at, and not how long it took: none can have waited for a
//! Redis that stands still for longer. `cargo xtask bench shared-faults` tells the times.

use std::time::{Duration, Instant};

use peerage_testkit::redis::{Cluster, Redis};
use peerage_testkit::{Counts, Signal, Wait, wait_for};

use crate::node::{Node, RECOVERED, SOON, Says, WAYS, Way, key};

/// The swarms of the load, from this one on: few enough for a byte.
const LOAD_FIRST: u8 = 100;
const LOAD_SWARMS: u8 = 20;

/// How long Redis may take to agree on another master.
const ELECTED: Duration = Duration::from_secs(60);

/// Three nodes that know of two peers in swarm 1, and of nobody else.
fn start_nodes(url: &str) -> Result<[Node; 3], String> {
    let nodes = [Node::start(url)?, Node::start(url)?, Node::start(url)?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    nodes[2].announce(Way::HttpV6, 1, 1002, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 2, 0), SOON))?;
    Ok(nodes)
}

/// A leecher of each way and node announces to one swarm after the other, until `is_over`. Every
/// reply comes, and names those that the node itself knows.
fn load_until(
    nodes: &[Node],
    mut is_over: impl FnMut() -> Result<bool, String>,
) -> Result<u32, String> {
    let (mut rounds, mut replies) = (0_u32, 0_u32);
    wait_for("end of the fault", Duration::from_secs(120), || {
        let swarm = LOAD_FIRST + (rounds % u32::from(LOAD_SWARMS)) as u8;
        for (node, ports) in nodes.iter().zip((2000..).step_by(WAYS.len())) {
            for (way, port) in WAYS.into_iter().zip(ports..) {
                let peers = node.announce(way, swarm, port, Says::Leeching)?;
                let is_known = rounds >= LOAD_SWARMS.into();
                assert!(!peers.is_empty() || !is_known, "{way:?}: nobody in swarm {swarm}");
                replies += 1;
            }
        }
        rounds += 1;
        let is_enough = rounds > 2 * u32::from(LOAD_SWARMS) && is_over()?;
        Ok(if is_enough { Wait::Done(()) } else { Wait::NotYet(format!("{replies} replies")) })
    })?;
    for node in nodes {
        assert_eq!(node.0.get("/health")?.status, 200, "it lives");
    }
    assert_eq!(replies, rounds * (nodes.len() * WAYS.len()) as u32);
    Ok(replies)
}

fn load_for(nodes: &[Node], time: Duration) -> Result<u32, String> {
    let started = Instant::now();
    load_until(nodes, || Ok(started.elapsed() >= time))
}

/// Waits until all nodes count the same: in swarm 1 so many, in those of the load everybody whom
/// `loaded` nodes were told of.
fn await_agreement(nodes: &[Node], first: (u32, u32), loaded: usize) -> Result<(), String> {
    let (seeders, leechers) = first;
    let first = Counts { seeders, leechers, completed: 0 };
    let leechers = (loaded * WAYS.len()) as u32;
    let other = Counts { seeders: 0, leechers, completed: 0 };
    wait_for("agreement of all nodes", RECOVERED, || {
        for (index, node) in nodes.iter().enumerate() {
            for swarm in [1].into_iter().chain(LOAD_FIRST..LOAD_FIRST + LOAD_SWARMS) {
                let (counts, wanted) =
                    (node.counts(swarm)?, if swarm == 1 { first } else { other });
                if counts != wanted {
                    let shared = &node.0.stats()?["shared"];
                    let what = format!("node {index} counts {counts} in swarm {swarm}: {shared}");
                    return Ok(Wait::NotYet(what));
                }
            }
        }
        Ok(Wait::Done(()))
    })
}

fn await_ready(node: &Node, status: u16) -> Result<(), String> {
    wait_for(&format!("{status} of /ready"), Duration::from_secs(30), || {
        let ready = node.ready()?;
        Ok(if ready == status { Wait::Done(()) } else { Wait::NotYet(ready.to_string()) })
    })
}

#[test]
fn replies_go_on_while_redis_is_gone_for_half_a_minute_and_all_agree_again() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    redis.kill()?;
    load_for(&nodes, Duration::from_secs(30))?;
    nodes[0].announce(Way::UdpV4, 1, 1003, Says::Seeding)?;
    nodes[0].announce(Way::HttpV6, 1, 1004, Says::Seeding)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Stopped)?;
    nodes.iter().try_for_each(|node| await_ready(node, 503))?;
    // It comes back with nothing of what it had been told.
    redis.start_again()?;
    await_agreement(&nodes, (2, 2), nodes.len())?;
    nodes.iter().try_for_each(|node| await_ready(node, 200))
}

#[test]
fn replies_go_on_while_redis_stands_still() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    redis.process().signal(Signal::Pause)?;
    load_for(&nodes, Duration::from_secs(6))?;
    nodes[0].announce(Way::UdpV4, 1, 1003, Says::Seeding)?;
    redis.process().signal(Signal::Continue)?;
    await_agreement(&nodes, (2, 2), nodes.len())
}

#[test]
fn replies_go_on_while_redis_is_full() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
    load_for(&nodes, Duration::from_secs(5))?;
    nodes[0].announce(Way::UdpV4, 1, 1003, Says::Seeding)?;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
    await_agreement(&nodes, (2, 2), nodes.len())
}

#[test]
fn replies_go_on_while_redis_takes_nothing() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    // A replica that is not there: whatever would be written is refused.
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])?;
    load_for(&nodes, Duration::from_secs(5))?;
    nodes[0].announce(Way::UdpV4, 1, 1003, Says::Seeding)?;
    nodes[0].0.stats_when(|stats| stats["shared"]["waiting_changes"] != 0)?;
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])?;
    await_agreement(&nodes, (2, 2), nodes.len())
}

#[test]
fn replies_go_on_while_a_master_of_the_cluster_is_gone() -> Result<(), String> {
    let mut cluster = Cluster::start()?;
    let nodes = start_nodes(&cluster.url())?;
    // The master that swarm 1 is with.
    let key = "01".repeat(20);
    let killed = cluster.master_of(&key)?;
    let port = killed.port();
    killed.kill()?;
    let gone = Instant::now();
    load_until(&nodes, || {
        assert!(gone.elapsed() < ELECTED, "no other master");
        Ok(cluster.master_of(&key).is_ok_and(|master| master.port() != port))
    })?;
    nodes[0].announce(Way::UdpV4, 1, 1003, Says::Seeding)?;
    cluster.await_agreement(2)?;
    await_agreement(&nodes, (2, 2), nodes.len())
}

#[test]
fn replies_go_on_while_a_node_is_gone_and_one_in_its_place_learns_all() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let [mut dying, second, third] = start_nodes(&redis.url())?;
    dying.0.process().signal(Signal::Kill)?;
    let staying = [second, third];
    load_for(&staying, Duration::from_secs(3))?;
    // What it told last is not lost: its peers may come back to any node.
    staying.iter().try_for_each(|node| node.await_counts(1, (1, 2, 0), SOON))?;
    staying[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    let [second, third] = staying;
    let nodes = [second, third, Node::start(&redis.url())?];
    nodes[2].await_connected()?;
    nodes[2].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    load_for(&nodes, Duration::ZERO)?;
    await_agreement(&nodes, (1, 2), nodes.len())
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

/// Two nodes with a peer each in swarm 1, whose key is returned.
fn two_in_a_swarm(redis: &Redis) -> Result<([Node; 2], String), String> {
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))?;
    Ok((nodes, key(1)))
}

/// Puts a seeder into a swarm that nobody has announced, by the script's first argument the score
/// of the one that is there.
fn slip_in(redis: &Redis, key: &str, score: &str) -> Result<(), String> {
    let script = format!(
        "local there = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] \
         redis.call('ZADD', KEYS[1], {score}, '\\127\\0\\0\\1\\0\\9') \
         return 'done'"
    );
    redis.ask(&["EVAL", &script, "1", key]).map(drop)
}

#[test]
fn peer_that_redis_still_has_is_told_again_to_have_left_by_the_node_that_told_of_it()
-> Result<(), String> {
    let redis = Redis::start(&[])?;
    let (nodes, key) = two_in_a_swarm(&redis)?;
    // As though the first node had told of it a minute before.
    slip_in(&redis, &key, "there - 60 * 65536")?;
    assert_eq!(redis.ask(&["ZCARD", &key])?, "3");
    nodes[0].announce(Way::UdpV4, 1, 1002, Says::Leeching)?;
    wait_for("leaving of who has left", SOON, || {
        let seeders = redis.ask(&["ZCOUNT", &key, "281474976710656", "+inf"])?;
        Ok(if seeders == "1" { Wait::Done(()) } else { Wait::NotYet(seeders) })
    })?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 2, 0), SOON))
}

#[test]
fn node_that_misses_a_message_asks_what_it_said() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let (nodes, key) = two_in_a_swarm(&redis)?;
    // By a third node, number 999, of whose five messages none arrives.
    slip_in(&redis, &key, "math.floor(there / 65536) * 65536 + 999")?;
    assert_eq!(nodes[0].counts(1)?.seeders, 1, "that is not known yet");
    let message = "'\\1' .. string.rep('\\7', 8) .. '\\64\\0\\0\\0\\5'";
    let script = format!("return redis.call('PUBLISH', 'peerage:1:news', {message})");
    assert_eq!(redis.ask(&["EVAL", &script, "0"])?, "2", "both nodes listen");
    nodes[0].await_counts(1, (2, 1, 0), SOON)?;
    // What came before it was heard of is no loss. Of its sixth and seventh that is known.
    let script = script.replace("\\5'", "\\7'");
    assert_eq!(redis.ask(&["EVAL", &script, "0"])?, "2", "both nodes listen");
    for node in &nodes {
        let stats = node.0.stats_when(|stats| stats["shared"]["missed_messages"] != 0)?;
        assert_eq!(stats["shared"]["missed_messages"], 2);
        // Each beat tells how many live.
        node.0.stats_when(|stats| stats["shared"]["nodes"] == 2)?;
        let metrics = node.0.get("/metrics")?.text();
        assert!(metrics.contains("\npeerage_shared_messages_missed_total 2\n"), "{metrics}");
        assert!(metrics.contains("\npeerage_shared_nodes 2\n"), "{metrics}");
    }
    Ok(())
}
