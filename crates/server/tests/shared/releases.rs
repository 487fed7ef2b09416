//! Nodes of two releases on one Redis: what one does not understand it passes over.

use peerage_testkit::redis::Redis;
use peerage_testkit::{Wait, wait_for};

use crate::node::{Node, SOON, Says, Way, key};

/// Publishes as a node would, for which no text is fit: the message is Lua's to write.
fn publish(redis: &Redis, message: &str) -> Result<String, String> {
    let script = format!("return redis.call('PUBLISH', 'peerage:1:news', {message})");
    redis.ask(&["EVAL", &script, "0"])
}

#[test]
fn messages_of_another_release_are_passed_over_and_counted() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV4, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))?;
    // What would be a seeder on 127.0.0.1:9 in swarm 1, were it of our version.
    let item = "'\\1' .. string.rep('\\1', 20) .. '\\255\\255\\255\\255' .. '\\127\\0\\0\\1\\0\\9'";
    let from = "string.rep('\\7', 8)";
    for message in [format!("'\\2' .. {from} .. {item}"), "'\\2'".into(), "''".into()] {
        assert_eq!(publish(&redis, &message)?, "2", "both nodes listen");
    }
    for node in &nodes {
        wait_for("count of what was passed over", SOON, || {
            let count = node.shared_total("messages_unknown")?;
            Ok(if count == 3 { Wait::Done(()) } else { Wait::NotYet(count.to_string()) })
        })?;
        assert_eq!(node.counts(1)?.seeders, 1, "nothing was learnt of it");
    }
    // The same of our version is understood, and so is what comes after it.
    publish(&redis, &format!("'\\1' .. {from} .. {item}"))?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 1, 0), SOON))?;
    nodes[0].announce(Way::HttpV4, 1, 1002, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 2, 0), SOON))?;
    assert_eq!(nodes[0].shared_total("messages_unknown")?, 3);
    Ok(())
}

#[test]
fn keys_of_another_release_are_left_alone() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let (next, member) = (key(1).replace(":1:", ":2:"), key(1));
    redis.ask(&["SET", &next, "whatever"])?;
    // A member that no release has written so far, seen after all that ever will be.
    redis.ask(&["ZADD", &member, "500000000000000", "a member of seventeen"])?;
    let nodes = [Node::start(&redis.url())?, Node::start(&redis.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::UdpV6, 1, 1001, Says::Leeching)?;
    // The member counts, for it may be a peer; but it is handed to nobody.
    nodes.iter().try_for_each(|node| node.await_counts(1, (2, 1, 0), SOON))?;
    for node in &nodes {
        assert_eq!(node.peers(1)?.len(), 2);
    }
    assert_eq!(redis.ask(&["GET", &next])?, "whatever");
    Ok(())
}
