//! Two nodes of a private tracker: members' clients come to either, and are credited once.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use peerage_testkit::redis::Redis;
use peerage_testkit::{GazelleTables, Wait, run, wait_for};

use crate::logins::USER;
use crate::node::{RECOVERED, SOON, Way};
use crate::site::{ALL_TABLES, GB, LIMIT, Says, Site, Tables, at, client, passkey};

#[test]
fn clients_at_two_nodes_find_each_other_and_never_their_own() -> Result<(), String> {
    let site = Site::start(Tables::Own)?;
    let [first, second] = &site.nodes[..] else { panic!("there are two") };
    client(1, 1001).seeding().event("started").at(first)?;
    client(2, 1002).over(Way::UdpV6).event("started").at(first)?;
    client(2, 1003).over(Way::HttpV6).seeding().event("started").at(second)?;
    site.await_counts((2, 1, 0), SOON)?;
    // The very first announce at a node finds who is at others: over both families by HTTP.
    let told = client(3, 1004).event("started").at(second)?;
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    assert_eq!(told.peers, [at(v4, 1001), at(v6, 1002), at(v6, 1003)], "{told:?}");
    assert_eq!((told.seeders, told.leechers), (2, 2));
    site.await_counts((2, 2, 0), SOON)?;
    let told = client(4, 1005).over(Way::UdpV4).event("started").at(first)?;
    let mut peers = told.peers;
    peers.sort_unstable();
    assert_eq!(peers, [at(v4, 1001), at(v4, 1004)]);
    // Another client of the same member is at the other node.
    let told = client(2, 1002).over(Way::UdpV6).at(first)?;
    assert!(!told.peers.contains(&at(v6, 1003)), "{told:?}");
    let told = client(2, 1003).over(Way::HttpV6).at(second)?;
    assert!(!told.peers.contains(&at(v6, 1002)), "{told:?}");
    // A seeder is told of leechers alone.
    let told = client(1, 1001).seeding().at(first)?;
    assert!(!told.peers.is_empty() && !told.peers.contains(&at(v6, 1003)), "{told:?}");
    // One stops where it has never been.
    client(4, 1005).over(Way::UdpV4).event("stopped").at(second)?;
    client(1, 1001).seeding().event("stopped").at(first)?;
    client(2, 1003).over(Way::HttpV6).seeding().event("stopped").at(second)?;
    site.await_counts((0, 2, 0), SOON)?;
    let told = client(5, 1006).at(second)?;
    assert_eq!(told.peers, [at(v4, 1004), at(v6, 1002)]);
    site.await_counts((0, 3, 0), SOON)?;
    // What the database says is what all nodes know.
    client(5, 1006).event("stopped").at(first)?;
    site.await_counts((0, 2, 0), SOON)?;
    site.await_rows(site.torrent_query(), &["0 2 0 0"])
}

#[test]
fn client_that_moves_between_nodes_is_credited_once_for_what_it_moved() -> Result<(), String> {
    for tables in ALL_TABLES {
        let site = Site::start(tables)?;
        let [first, second] = &site.nodes[..] else { panic!("there are two") };
        let peer = client(1, 1001);
        peer.event("started").at(first)?;
        peer.moved(10 * GB, GB).at(first)?;
        site.await_credit(1, 10 * GB, GB)?;
        // To the other, back, and again; the last two faster than any flush.
        site.credit(1, peer.moved(10 * GB + GB / 2, GB))?;
        site.credit(0, peer.moved(11 * GB, 2 * GB))?;
        site.await_counts((0, 1, 0), SOON)?;
        peer.moved(12 * GB, 3 * GB).at(second)?;
        peer.seeding().moved(13 * GB, 4 * GB).event("completed").at(second)?;
        site.await_credit(1, 13 * GB, 4 * GB)?;
        site.await_counts((1, 0, 1), SOON)?;
        site.await_rows(site.peers_query(), &[&format!("1 1 {} {}", 13 * GB, 4 * GB)])?;
        site.await_rows(site.torrent_query(), &[&format!("1 0 1 {}", 9 * GB)])?;
        peer.seeding().moved(14 * GB, 4 * GB).event("stopped").at(first)?;
        site.await_credit(1, 14 * GB, 4 * GB)?;
        site.await_rows(site.peers_query(), &[&format!("1 0 {} {}", 14 * GB, 4 * GB)])?;
        site.await_rows(site.torrent_query(), &[&format!("0 0 1 {}", 10 * GB)])?;
    }
    Ok(())
}

#[test]
fn client_of_two_families_at_two_nodes_counts_once() -> Result<(), String> {
    let site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    let [first, second] = &site.nodes[..] else { panic!("there are two") };
    // A client says the same over both its addresses, and each name leads to another node.
    let both = |says: Says| -> Result<(), String> {
        says.over(Way::HttpV4).at(first)?;
        says.over(Way::HttpV6).at(second)?;
        Ok(())
    };
    let peer = client(1, 1001);
    both(peer.event("started"))?;
    site.await_counts((0, 1, 0), SOON)?;
    both(peer.moved(GB, 2 * GB))?;
    site.credit(1, peer.moved(GB, 2 * GB).over(Way::HttpV6))?;
    both(peer.seeding().moved(2 * GB, 3 * GB).event("completed"))?;
    site.await_counts((1, 0, 1), SOON)?;
    // Whoever asks is told of both addresses, at either node.
    let told = client(2, 1002).event("started").at(first)?;
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    assert!(told.peers.contains(&at(v4, 1001)), "{told:?}");
    wait_for("both addresses", SOON, || {
        let told = client(2, 1002).over(Way::UdpV6).at(first)?;
        Ok(match told.peers == [at(v6, 1001)] {
            true => Wait::Done(()),
            false => Wait::NotYet(format!("{told:?}")),
        })
    })?;
    both(peer.seeding().moved(5 * GB, 3 * GB).event("stopped"))?;
    site.await_credit(1, 5 * GB, 3 * GB)?;
    site.await_counts((0, 1, 1), SOON)?;
    site.await_rows(site.torrent_query(), &[&format!("0 1 1 {}", 2 * GB)])?;
    site.await_rows("SELECT COUNT(*) FROM xbt_snatched", &["1"])?;
    let query = "SELECT uid, active, uploaded FROM xbt_files_users WHERE uid = 1";
    site.await_rows(query, &[&format!("1 0 {}", 5 * GB)])
}

#[test]
fn node_that_stops_has_credited_all_and_its_clients_go_on_at_the_other() -> Result<(), String> {
    let mut site = Site::start(Tables::Own)?;
    let peer = client(1, 1001);
    peer.event("started").at(&site.nodes[0])?;
    peer.moved(GB, 0).at(&site.nodes[0])?;
    // Before anything could be told or written.
    site.nodes.remove(0).stop()?;
    site.await_credit(1, GB, 0)?;
    site.credit(0, peer.moved(3 * GB, 0))?;
    site.await_counts((0, 1, 0), SOON)?;
    // One that starts anew knows what the others know, and clears nothing of theirs.
    site.add_node()?;
    site.await_counts((0, 1, 0), SOON)?;
    let told = client(2, 1002).event("started").at(&site.nodes[1])?;
    assert_eq!(told.peers, [at(Ipv4Addr::LOCALHOST, 1001)]);
    site.credit(1, peer.moved(4 * GB, 0))?;
    site.await_rows("SELECT active FROM peers WHERE member_id = 1", &["1"])
}

#[test]
fn redis_that_is_killed_and_comes_back_empty_credits_nobody_twice() -> Result<(), String> {
    let mut site = Site::start(Tables::Own)?;
    let peers: Vec<Says> = (1..5).map(|member| client(member, 1000 + member as u16)).collect();
    for (at, peer) in peers.iter().enumerate() {
        peer.event("started").at(&site.nodes[at % 2])?;
        peer.moved(GB, 0).at(&site.nodes[at % 2])?;
        site.await_credit(peer.member, GB, 0)?;
    }
    site.await_counts((0, 4, 0), SOON)?;
    site.redis.kill()?;
    // The first two go on where they are, the others move; all are answered.
    for (at, peer) in peers.iter().enumerate() {
        let node = &site.nodes[if at < 2 { at } else { 1 - at % 2 }];
        let told = peer.moved(2 * GB, 0).at(node)?;
        assert!(!told.peers.is_empty(), "{told:?}");
    }
    site.redis.start_again()?;
    for node in &site.nodes {
        node.stats_when(|stats| stats["shared"]["connected"] == true)?;
    }
    site.await_counts((0, 4, 0), RECOVERED)?;
    // What they moved meanwhile is nobody's, since nobody knows who has credited it; what they move
    // from then on is credited.
    for (at, peer) in peers.iter().enumerate() {
        let mut uploaded = 3 * GB;
        wait_for("credit", LIMIT, || {
            peer.moved(uploaded, 0).at(&site.nodes[at % 2])?;
            let rows = site.database.query(&site.credit_query(peer.member))?;
            let credit: u64 = rows[0][0].parse().map_err(|_| format!("{rows:?}"))?;
            assert!(credit <= uploaded, "{peer:?}: {credit}");
            uploaded += GB;
            Ok(if credit >= 2 * GB { Wait::Done(()) } else { Wait::NotYet(credit.to_string()) })
        })?;
    }
    site.await_counts((0, 4, 0), RECOVERED)
}

#[test]
fn nodes_of_a_site_log_in_as_a_user_with_few_rights() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    assert_eq!(redis.ask(&USER)?, "OK");
    let url = format!("redis://node:secret@127.0.0.1:{}/3", redis.port());
    let site = Site::start_at(Tables::Gazelle(GazelleTables::Ops), redis, url)?;
    let peer = client(1, 1001);
    peer.event("started").at(&site.nodes[0])?;
    peer.seeding().moved(GB, GB).event("completed").at(&site.nodes[0])?;
    site.await_counts((1, 0, 1), SOON)?;
    site.await_credit(1, GB, GB)?;
    assert_eq!(site.redis.ask(&["ACL", "LOG"])?, "", "nothing was denied");
    assert_eq!(site.redis.ask(&["-n", "3", "EXISTS", "peerage:m1:updates"])?, "1");
    Ok(())
}

/// The tables are looked at with each flush, which is due every second here.
#[test]
fn change_by_a_command_is_in_force_at_every_node_with_its_next_flush() -> Result<(), String> {
    let site = Site::start(Tables::Own)?;
    let url = site.database.url();
    let change = |arguments: &[&str]| {
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        let ended = run(program, arguments, &[("PEERAGE__DATABASE__URL", &url)])?;
        if ended.code == Some(0) { Ok(()) } else { Err(ended.stderr) }
    };
    let (key, torrent) = (passkey(20), "5a".repeat(20));
    let await_refusal = |text: &str| {
        site.nodes.iter().try_for_each(|node| {
            wait_for(&format!("{text:?}"), RECOVERED, || {
                let told = client(20, 1020).event("started").at(node);
                let answer = told.map_or_else(|refusal| refusal, |_| "granted".to_owned());
                Ok(if answer.contains(text) { Wait::Done(()) } else { Wait::NotYet(answer) })
            })
        })
    };
    await_refusal("Passkey not found")?;
    change(&["user", "add", "new", "--passkey", &key])?;
    await_refusal("granted")?;
    change(&["user", "set", "new", "--can-leech", "no"])?;
    await_refusal("leeching forbidden")?;
    change(&["torrent", "remove", &torrent])?;
    await_refusal("Unregistered torrent")
}
