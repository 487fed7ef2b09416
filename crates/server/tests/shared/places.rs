//! Where Redis is more than one process: Sentinels with a master that dies, a Cluster that loses
//! one.

use peerage_testkit::redis::{Cluster, Redis, Watched};
use peerage_testkit::{Wait, wait_for};

use crate::node::{Node, SOON, Says, Way, key};
use std::time::Duration;

/// How long Redis itself may take to agree on another master. A Sentinel that was not run for two
/// seconds mistrusts its own clock and does nothing for half a minute.
pub(crate) const ELECTED: Duration = Duration::from_secs(150);

/// And nodes to hear of it: one Sentinel knows before the others do.
pub(crate) const FOLLOWED: Duration = Duration::from_secs(40);

/// Waits until a replica has become the master.
pub(crate) fn await_master(replica: &Redis) -> Result<(), String> {
    wait_for("another master", ELECTED, || {
        // A Sentinel has its clients hang up when it makes it the master.
        let role = replica.ask(&["ROLE"]).unwrap_or_else(|error| error);
        Ok(if role.starts_with("master") { Wait::Done(()) } else { Wait::NotYet(role) })
    })
}

#[test]
fn nodes_follow_the_sentinels_to_another_master() -> Result<(), String> {
    let mut redis = Watched::start()?;
    followed(&mut redis).map_err(|error| redis.explain(&error))
}

fn followed(redis: &mut Watched) -> Result<(), String> {
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))?;
    redis.master.kill()?;
    // Nobody has to wait for it.
    nodes[0].announce(Way::HttpV4, 1, 1002, Says::Leeching)?;
    nodes[1].announce(Way::UdpV6, 2, 1003, Says::Seeding)?;
    await_master(&redis.replica)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 2, 0), FOLLOWED))?;
    nodes[0].announce(Way::HttpV4, 2, 1004, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(2, (1, 1, 0), FOLLOWED))
}

/// Swarms in every part of a Cluster.
fn swarms() -> impl Iterator<Item = u8> {
    (1..=240).step_by(6)
}

#[test]
fn swarms_are_spread_over_a_cluster_and_outlive_one_of_its_masters() -> Result<(), String> {
    let mut cluster = Cluster::start()?;
    let nodes = [Node::start(&cluster.url())?, Node::start(&cluster.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    for swarm in swarms() {
        nodes[0].announce(Way::UdpV4, swarm, 1000, Says::Seeding)?;
        nodes[1].announce(Way::UdpV4, swarm, 1001, Says::Leeching)?;
    }
    for swarm in swarms() {
        nodes.iter().try_for_each(|node| node.await_counts(swarm, (1, 1, 0), SOON))?;
    }
    let mut masters_with_keys = 0;
    for node in &cluster.nodes {
        let is_master = node.ask(&["ROLE"])?.starts_with("master");
        masters_with_keys += u32::from(is_master && node.ask(&["DBSIZE"])? != "0");
    }
    assert_eq!(masters_with_keys, 3, "all masters have a part of the swarms");
    let lost = key(1);
    let killed = cluster.master_of(&lost)?;
    let port = killed.port();
    killed.kill()?;
    for swarm in swarms() {
        nodes[0].announce(Way::HttpV4, swarm, 1002, Says::Leeching)?;
    }
    wait_for("another master", ELECTED, || {
        Ok(match cluster.master_of(&lost) {
            Ok(master) if master.port() != port => Wait::Done(()),
            Ok(_) => Wait::NotYet("the one that was killed".into()),
            Err(error) => Wait::NotYet(error),
        })
    })?;
    cluster.await_agreement(2)?;
    for swarm in swarms() {
        nodes.iter().try_for_each(|node| node.await_counts(swarm, (1, 2, 0), FOLLOWED))?;
    }
    Ok(())
}

#[test]
fn slots_that_move_are_followed() -> Result<(), String> {
    let mut cluster = Cluster::start()?;
    let nodes = [Node::start(&cluster.url())?, Node::start(&cluster.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    // The slots of one master are handed to its replica, who becomes the master.
    let hash = key(3);
    nodes[0].announce(Way::UdpV4, 3, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 3, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(3, (1, 1, 0), SOON))?;
    let old = cluster.master_of(&hash)?.port();
    let mut replicas = Vec::new();
    for node in &cluster.nodes {
        if node.ask(&["ROLE"])?.contains(&format!("\n{old}\n")) {
            replicas.push(node);
        }
    }
    let replica = *replicas.first().ok_or("the master has no replica")?;
    replica.ask(&["CLUSTER", "FAILOVER"])?;
    await_master(replica)?;
    nodes[0].announce(Way::HttpV4, 3, 1002, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(3, (1, 2, 0), FOLLOWED))
}
