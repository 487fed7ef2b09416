//! Whether everything is told again: where Redis has forgotten something, and only there.

use std::time::Duration;

use peerage_testkit::redis::Redis;
use peerage_testkit::{Signal, Wait, wait_for};

use crate::node::{Node, RECOVERED, SOON, Says, Way};

/// Peers of the first node, each in a swarm of its own.
const PEERS: u8 = 60;

/// One that joins once all is well again.
const LATE: u8 = 200;

/// How long it may take until a connection that stands still is given up.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Waits until a counter of a node is more than `before`.
fn await_more(node: &Node, name: &str, before: u64) -> Result<(), String> {
    wait_for(&format!("more {name} than {before}"), GIVEN_UP, || {
        let count = node.shared_total(name)?;
        Ok(if count > before { Wait::Done(()) } else { Wait::NotYet(count.to_string()) })
    })
}

/// Two nodes that go on for so long that no steady peer is told again, and the first of which has
/// told everything once.
fn start_nodes(url: &str) -> Result<[Node; 2], String> {
    let slow = [
        ("PEERAGE__ANNOUNCE__MIN_INTERVAL", "1800"),
        ("PEERAGE__ANNOUNCE__MAX_INTERVAL", "1800"),
        ("PEERAGE__ANNOUNCE__JITTER", "0"),
    ];
    let nodes = [Node::start_with(url, &slow)?, Node::start_with(url, &slow)?];
    nodes.iter().try_for_each(Node::await_connected)?;
    (1..=PEERS).try_for_each(|swarm| {
        nodes[0].announce(Way::UdpV4, swarm, 1000 + u16::from(swarm), Says::Seeding).map(drop)
    })?;
    await_more(&nodes[0], "peers", u64::from(PEERS) - 1)?;
    Ok(nodes)
}

/// A peer that joins at one node is known at the other: what had to be told again was told before.
fn await_late(nodes: &[Node; 2]) -> Result<(), String> {
    nodes[1].announce(Way::HttpV4, LATE, 2001, Says::Leeching)?;
    nodes[0].announce(Way::UdpV4, LATE, 2000, Says::Seeding)?;
    nodes.iter().try_for_each(|node| node.await_counts(LATE, (1, 1, 0), RECOVERED))
}

/// What a node has told: peers, and how often everything.
fn told(node: &Node) -> Result<(u64, u64), String> {
    Ok((node.shared_total("peers")?, node.shared_total("starts_over")?))
}

/// Whether little was told again since.
fn check_little_told(nodes: &[Node; 2], before: (u64, u64)) -> Result<(), String> {
    await_late(nodes)?;
    let after = told(&nodes[0])?;
    assert_eq!(after.1, before.1, "everything was told again");
    assert!(after.0 < before.0 + u64::from(PEERS) / 2, "peers told: {before:?}, then {after:?}");
    Ok(())
}

#[test]
fn connections_that_are_killed_have_little_told_again() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    for kind in ["normal", "pubsub"] {
        let (before, made) = (told(&nodes[0])?, nodes[0].shared_total("connections")?);
        redis.ask(&["CLIENT", "KILL", "TYPE", kind])?;
        if kind == "normal" {
            await_more(&nodes[0], "connections", made)?;
        }
        check_little_told(&nodes, before)?;
    }
    Ok(())
}

#[test]
fn redis_that_stands_still_has_little_told_again() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    let (before, failed) = (told(&nodes[0])?, nodes[0].shared_total("trip_failures")?);
    redis.process().signal(Signal::Pause)?;
    // Something to tell, which is not answered.
    nodes[0].announce(Way::UdpV4, PEERS + 1, 1500, Says::Seeding)?;
    await_more(&nodes[0], "trip_failures", failed)?;
    redis.process().signal(Signal::Continue)?;
    check_little_told(&nodes, before)?;
    nodes[0].await_counts(PEERS + 1, (1, 0, 0), SOON)
}

#[test]
fn redis_that_comes_back_empty_is_told_everything_again() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    let before = told(&nodes[0])?;
    redis.kill()?;
    redis.start_again()?;
    await_late(&nodes)?;
    await_more(&nodes[0], "peers", before.0 + u64::from(PEERS) - 1)?;
    assert_eq!(told(&nodes[0])?.1, before.1 + 1);
    Ok(())
}

#[test]
fn redis_that_comes_back_as_it_was_has_little_told_again() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    let before = told(&nodes[0])?;
    redis.ask(&["SAVE"])?;
    redis.kill()?;
    redis.start_again()?;
    check_little_told(&nodes, before)
}

#[test]
fn redis_that_comes_back_without_the_last_is_told_everything_again() -> Result<(), String> {
    let mut redis = Redis::start(&[])?;
    let nodes = start_nodes(&redis.url())?;
    redis.ask(&["SAVE"])?;
    let saved = told(&nodes[0])?;
    nodes[0].announce(Way::UdpV4, PEERS + 1, 1500, Says::Seeding)?;
    await_more(&nodes[0], "peers", saved.0)?;
    let before = told(&nodes[0])?;
    redis.kill()?;
    redis.start_again()?;
    await_more(&nodes[0], "peers", before.0 + u64::from(PEERS))?;
    assert_eq!(told(&nodes[0])?.1, before.1 + 1);
    nodes[1].announce(Way::UdpV4, PEERS + 1, 1501, Says::Leeching)?;
    nodes[1].await_counts(PEERS + 1, (1, 1, 0), RECOVERED)
}
