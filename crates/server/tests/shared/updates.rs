//! What a Gazelle site tells one node of a private tracker is in force at all of them.

use std::time::Duration;

use peerage_testkit::{GazelleTables, Server, Signal, Wait, wait_for};

use crate::node::{RECOVERED, SOON};
use crate::site::{GB, REPORT_PASSWORD, SITE_PASSWORD, Site, Tables, client, passkey};

/// More than the stream keeps, and more than wait for Redis.
const TOO_MANY: u32 = 4400;

/// A torrent that is in no table.
pub(crate) const NEW_HASH: &str = "%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b%6b";
const HASH: &str = "%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a%5a";

/// The site tells one node.
pub(crate) fn tell(node: &Server, update: &str) -> Result<(), String> {
    let reply = node.get(&format!("/{SITE_PASSWORD}/update?action={update}"))?;
    assert_eq!(reply.text(), "success", "{update}");
    Ok(())
}

/// Waits until a node answers at `target` with `text` in it, or without it.
pub(crate) fn await_text(
    node: &Server,
    target: &str,
    text: &str,
    limit: Duration,
) -> Result<(), String> {
    let (is_wanted, text) = text.strip_prefix('!').map_or((true, text), |text| (false, text));
    wait_for(&format!("{text:?} at {target}: {is_wanted}"), limit, || {
        let found = node.get(target)?.text();
        Ok(match found.contains(text) == is_wanted {
            true => Wait::Done(()),
            false => Wait::NotYet(found),
        })
    })
}

pub(crate) fn scrape(member: u32, hash: &str) -> String {
    format!("/{}/scrape?info_hash={hash}", passkey(member))
}

fn report(what: &str) -> String {
    format!("/{REPORT_PASSWORD}/report?get={what}")
}

fn updates(node: &Server, count: &str) -> Result<u64, String> {
    let stats = node.stats()?;
    let count = &stats["shared"]["members"]["updates"][count];
    count.as_u64().ok_or_else(|| format!("no count: {stats}"))
}

/// Waits until a node counts so many.
fn await_updates(node: &Server, count: &str, wanted: u64) -> Result<(), String> {
    wait_for(&format!("{wanted} updates {count}"), RECOVERED, || {
        let found = updates(node, count)?;
        Ok(if found == wanted { Wait::Done(()) } else { Wait::NotYet(found.to_string()) })
    })
}

const UNKNOWN: &str = "Passkey not found";

#[test]
fn what_the_site_tells_one_node_is_in_force_at_the_other() -> Result<(), String> {
    for tables in [GazelleTables::Ops, GazelleTables::WhatCd] {
        let site = Site::start(Tables::Gazelle(tables))?;
        for (told, other) in [(0, 1), (1, 0)] {
            let (told, other) = (&site.nodes[told], &site.nodes[other]);
            let (ten, new) = (passkey(10), passkey(11));
            tell(told, &format!("add_user&passkey={ten}&id=10&visible=1"))?;
            tell(told, &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
            await_text(other, &scrape(10, NEW_HASH), "d5:filesd20:kkkk", SOON)?;
            tell(told, &format!("change_passkey&oldpasskey={ten}&newpasskey={new}"))?;
            await_text(other, &scrape(11, NEW_HASH), "d5:filesd20:kkkk", SOON)?;
            await_text(other, &scrape(10, NEW_HASH), UNKNOWN, SOON)?;
            tell(told, &format!("update_torrent&info_hash={NEW_HASH}&freetorrent=1"))?;
            tell(told, &format!("add_token&info_hash={NEW_HASH}&userid=3"))?;
            let torrent = report(&format!("torrent&info_hash={NEW_HASH}"));
            await_text(other, &torrent, "\"free\":1", SOON)?;
            await_text(other, &torrent, "\"fltoken_list\":[3]", SOON)?;
            tell(told, &format!("remove_token&info_hash={NEW_HASH}&userid=3"))?;
            await_text(other, &torrent, "\"fltoken_list\":[]", SOON)?;
            tell(told, &format!("remove_user&passkey={new}"))?;
            await_text(other, &scrape(11, NEW_HASH), UNKNOWN, SOON)?;
            tell(told, &format!("delete_torrent&info_hash={NEW_HASH}&reason=0"))?;
            await_text(other, &scrape(9, NEW_HASH), "!d20:kkkk", SOON)?;
            tell(told, "update_announce_interval&new_announce_interval=1234")?;
            wait_for("interval", SOON, || {
                let secs = other.stats()?["interval"]["goal_secs"].clone();
                Ok(if secs == 1234 { Wait::Done(()) } else { Wait::NotYet(secs.to_string()) })
            })?;
            tell(told, "update_announce_interval&new_announce_interval=1800")?;
        }
        for node in &site.nodes {
            await_updates(node, "sent", 10)?;
            await_updates(node, "heard", 10)?;
            assert_eq!((updates(node, "missed")?, updates(node, "waiting")?), (0, 0));
        }
    }
    Ok(())
}

#[test]
fn price_that_one_node_was_told_is_charged_at_the_other() -> Result<(), String> {
    let site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    let peer = client(1, 1001);
    peer.event("started").at(&site.nodes[1])?;
    tell(&site.nodes[0], &format!("update_torrent&info_hash={HASH}&freetorrent=1"))?;
    await_text(&site.nodes[1], &report(&format!("torrent&info_hash={HASH}")), "\"free\":1", SOON)?;
    peer.moved(GB, 2 * GB).at(&site.nodes[1])?;
    site.await_credit(1, GB, 0)
}

/// A token serves one download, at whichever node that ends.
#[test]
fn token_that_has_served_at_one_node_has_served_at_the_other() -> Result<(), String> {
    let site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    tell(&site.nodes[0], &format!("add_token&info_hash={HASH}&userid=1"))?;
    let torrent = report(&format!("torrent&info_hash={HASH}"));
    await_text(&site.nodes[1], &torrent, "\"fltoken_list\":[1]", SOON)?;
    let peer = client(1, 1001);
    peer.event("started").at(&site.nodes[0])?;
    peer.seeding().moved(0, GB).event("completed").at(&site.nodes[0])?;
    for node in &site.nodes {
        await_text(node, &torrent, "\"fltoken_list\":[]", RECOVERED)?;
    }
    site.await_counts((1, 0, 1), SOON)?;
    assert_eq!(site.database.query(&site.credit_query(1))?, [["0", "0"]]);
    site.await_rows(
        "SELECT UserID, TorrentID, Downloaded FROM users_freeleeches",
        &["1 1 1000000000"],
    )
}

#[test]
fn node_that_stood_still_follows_what_it_has_missed() -> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    site.nodes[1].process().signal(Signal::Pause)?;
    for member in 1..9 {
        tell(&site.nodes[0], &format!("remove_user&passkey={}", passkey(member)))?;
    }
    tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
    site.nodes[1].process().signal(Signal::Continue)?;
    let other = &site.nodes[1];
    await_text(other, &scrape(9, NEW_HASH), "d5:filesd20:kkkk", RECOVERED)?;
    for member in 1..9 {
        await_text(other, &scrape(member, HASH), UNKNOWN, SOON)?;
    }
    await_updates(other, "heard", 9)?;
    assert_eq!(updates(other, "missed")?, 0);
    Ok(())
}

/// A site puts a member out, in its tables and by telling one node, and tells more than is kept.
fn put_out_and_tell_too_much(site: &Site) -> Result<(), String> {
    site.database.query("UPDATE users_main SET Enabled = '2' WHERE ID = 1")?;
    tell(&site.nodes[0], &format!("remove_user&passkey={}", passkey(1)))?;
    let nine = passkey(9);
    for trace in 0..TOO_MANY {
        tell(&site.nodes[0], &format!("trace_user&passkey={nine}&trace={}", trace % 2))?;
    }
    Ok(())
}

#[test]
fn node_that_has_missed_more_than_is_kept_reads_the_tables() -> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    site.nodes[1].process().signal(Signal::Pause)?;
    put_out_and_tell_too_much(&site)?;
    await_updates(&site.nodes[0], "sent", 1 + u64::from(TOO_MANY))?;
    assert_eq!(site.redis.ask(&["XLEN", "peerage:m1:updates"])?, "4096");
    site.nodes[1].process().signal(Signal::Continue)?;
    await_text(&site.nodes[1], &scrape(1, HASH), UNKNOWN, RECOVERED)?;
    await_updates(&site.nodes[1], "missed", 1)?;
    assert_eq!(updates(&site.nodes[0], "missed")?, 0);
    Ok(())
}

#[test]
fn updates_wait_for_redis_and_are_told_when_it_is_back() -> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::WhatCd))?;
    site.redis.kill()?;
    tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
    tell(&site.nodes[0], &format!("remove_user&passkey={}", passkey(1)))?;
    site.nodes[0].log_line("updates of the site wait to be told to the other nodes")?;
    await_updates(&site.nodes[0], "waiting", 2)?;
    // Empty: what was there before is missed, so the tables are read, in which neither stands.
    site.redis.start_again()?;
    await_text(&site.nodes[1], &scrape(9, NEW_HASH), "d5:filesd20:kkkk", RECOVERED)?;
    await_text(&site.nodes[1], &scrape(1, HASH), UNKNOWN, SOON)?;
    for node in &mut site.nodes {
        node.log_line("members, torrents, tokens and clients are as in the tables")?;
        await_updates(node, "missed", 1)?;
        await_text(node, &scrape(9, NEW_HASH), "d5:filesd20:kkkk", SOON)?;
        await_text(node, &scrape(1, HASH), UNKNOWN, SOON)?;
    }
    Ok(())
}

/// As a replica that takes over may lack what its master was told last.
#[test]
fn update_that_redis_has_lost_before_the_other_node_read_it_is_read_from_the_tables()
-> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    let stream = "peerage:m1:updates";
    tell(&site.nodes[0], &format!("update_torrent&info_hash={HASH}&freetorrent=1"))?;
    await_updates(&site.nodes[1], "heard", 1)?;
    site.redis.ask(&["COPY", stream, "old"])?;
    site.nodes[1].process().signal(Signal::Pause)?;
    site.database.query("UPDATE users_main SET Enabled = '2' WHERE ID = 1")?;
    tell(&site.nodes[0], &format!("remove_user&passkey={}", passkey(1)))?;
    await_updates(&site.nodes[0], "sent", 2)?;
    site.redis.ask(&["COPY", "old", stream, "REPLACE"])?;
    site.nodes[1].process().signal(Signal::Continue)?;
    await_text(&site.nodes[1], &scrape(1, HASH), UNKNOWN, RECOVERED)?;
    await_updates(&site.nodes[1], "missed", 1)?;
    // What is told from then on is heard as ever.
    tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
    await_text(&site.nodes[1], &scrape(9, NEW_HASH), "d20:kkkk", SOON)
}

#[test]
fn updates_that_find_no_room_have_the_others_read_their_tables() -> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    site.redis.process().signal(Signal::Pause)?;
    put_out_and_tell_too_much(&site)?;
    wait_for("updates let go", RECOVERED, || {
        let dropped = updates(&site.nodes[0], "dropped")?;
        Ok(if dropped > 4000 { Wait::Done(()) } else { Wait::NotYet(dropped.to_string()) })
    })?;
    site.redis.process().signal(Signal::Continue)?;
    await_text(&site.nodes[1], &scrape(1, HASH), UNKNOWN, RECOVERED)?;
    await_updates(&site.nodes[1], "missed", 1)
}

#[test]
fn node_that_starts_follows_what_was_told_while_it_read_its_tables() -> Result<(), String> {
    let mut site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    // The site has told of it, and has not yet written it.
    tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
    site.add_node()?;
    await_text(&site.nodes[2], &scrape(9, NEW_HASH), "d5:filesd20:kkkk", SOON)
}
