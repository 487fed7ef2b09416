//! Valkey in the place of Redis: the same promises.

use peerage_testkit::redis::Redis;

use crate::meeting::{check_counts, check_expiry, check_first_announce, check_handing_out};
use crate::node::{Node, RECOVERED, SOON, Says, Way};

#[test]
fn nodes_meet_by_way_of_valkey() -> Result<(), String> {
    let valkey = Redis::start_valkey(&[])?;
    assert!(valkey.url().starts_with("valkey://"));
    assert!(valkey.ask(&["INFO", "server"])?.contains("server_name:valkey"));
    check_handing_out(&valkey)?;
    valkey.ask(&["FLUSHALL"])?;
    check_first_announce(&valkey)?;
    valkey.ask(&["FLUSHALL"])?;
    check_counts(&valkey)
}

#[test]
fn peers_expire_in_valkey() -> Result<(), String> {
    check_expiry(&Redis::start_valkey(&[])?)
}

#[test]
fn nodes_agree_again_when_valkey_is_back() -> Result<(), String> {
    let mut valkey = Redis::start_valkey(&[])?;
    let nodes = [Node::start(&valkey.url())?, Node::start(&valkey.url())?];
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::HttpV6, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))?;
    valkey.kill()?;
    nodes[0].announce(Way::HttpV4, 1, 1002, Says::Leeching)?;
    valkey.start_again()?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 2, 0), RECOVERED))
}
