//! Members of a private tracker where Redis is more than one process: Sentinels that name another
//! master, a Cluster that loses one, a slot that moves. What clients move is credited once, and
//! what the site tells one node reaches the other.
//!
//! Nothing is told while a master is killed where a test looks at every byte: a replica may lack
//! the last that its master was told.

use peerage_testkit::redis::{Cluster, Redis, Watched};
use peerage_testkit::{GazelleTables, Server, Wait, wait_for};

use crate::node::{RECOVERED, SOON};
use crate::places::{ELECTED, FOLLOWED, await_master};
use crate::site::{GB, HASH, LIMIT, Says, Site, Tables, client};
use crate::updates::{NEW_HASH, await_text, scrape, tell};

/// Members with a client each.
const MEMBERS: u32 = 4;

/// Clients that all move at once, each to the other node.
struct Clients {
    all: Vec<Says>,
    /// Moves so far.
    moves: usize,
}

impl Clients {
    /// Their sessions begin at one node and the other.
    fn start<R>(site: &Site<R>) -> Result<Self, String> {
        let all = (1..=MEMBERS).map(|member| client(member, 1000 + member as u16)).collect();
        let clients = Self { all, moves: 0 };
        clients.announce(site, "started")?;
        site.await_counts((0, MEMBERS, 0), SOON)?;
        Ok(clients)
    }

    /// Each has uploaded and downloaded, and says so at the other node.
    fn go_on<R>(&mut self, site: &Site<R>) -> Result<(), String> {
        self.moves += 1;
        for (says, odd) in self.all.iter_mut().zip(1..) {
            *says = says.moved(says.uploaded + GB + odd, says.downloaded + 1000 + odd);
        }
        self.announce(site, "")
    }

    fn announce<R>(&self, site: &Site<R>, event: &'static str) -> Result<(), String> {
        for (number, says) in self.all.iter().enumerate() {
            says.event(event).at(&site.nodes[(number + self.moves) % 2])?;
        }
        Ok(())
    }

    /// Waits until everything is credited, to the byte.
    fn await_credit<R>(&self, site: &Site<R>) -> Result<(), String> {
        let mut all = self.all.iter();
        all.try_for_each(|says| site.await_credit(says.member, says.uploaded, says.downloaded))
    }

    /// Goes on, says so for as long as a session is new, and goes on twice more.
    fn be_credited<R>(&mut self, site: &Site<R>) -> Result<(), String> {
        self.go_on(site)?;
        for (number, says) in self.all.iter().enumerate() {
            site.credit((number + self.moves) % 2, *says)?;
        }
        self.go_on(site)?;
        self.await_credit(site)?;
        self.go_on(site)?;
        self.await_credit(site)
    }

    /// Goes on while nobody can be told, and the site does.
    fn go_on_unheard<R>(&mut self, site: &Site<R>) -> Result<(), String> {
        self.go_on(site)?;
        tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
        self.go_on(site)
    }

    /// What was said unheard is credited, and what was told is followed.
    fn be_heard<R>(&self, site: &Site<R>) -> Result<(), String> {
        site.await_connected(FOLLOWED)?;
        site.await_counts((0, MEMBERS, 0), FOLLOWED)?;
        self.await_credit(site)?;
        await_text(&site.nodes[1], &scrape(9, NEW_HASH), "d20:kkkk", FOLLOWED)
    }
}

/// The site tells the first node of a torrent; the other knows of it in the end.
fn check_update<R>(site: &Site<R>) -> Result<(), String> {
    tell(&site.nodes[0], &format!("add_torrent&info_hash={NEW_HASH}&id=7&freetorrent=0"))?;
    await_text(&site.nodes[1], &scrape(9, NEW_HASH), "d20:kkkk", FOLLOWED)?;
    tell(&site.nodes[1], &format!("delete_torrent&info_hash={NEW_HASH}&reason=0"))?;
    await_text(&site.nodes[0], &scrape(9, NEW_HASH), "!d20:kkkk", FOLLOWED)
}

/// Waits until the replica has all that the master has.
fn await_copy(master: &Redis, replica: &Redis) -> Result<(), String> {
    let offset = |of: &Redis| {
        let replication = of.ask(&["INFO", "replication"])?;
        let offset = replication.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        let offset = offset.and_then(|offset| offset.trim().parse::<u64>().ok());
        offset.ok_or_else(|| format!("no offset: {replication}"))
    };
    let wanted = offset(master)?;
    wait_for("copy of the master", FOLLOWED, || {
        let copied = offset(replica)?;
        Ok(if wanted <= copied { Wait::Done(()) } else { Wait::NotYet(copied.to_string()) })
    })
}

#[test]
fn members_are_credited_to_the_byte_by_the_master_that_sentinels_name_next() -> Result<(), String> {
    let redis = Watched::start()?;
    let url = redis.url();
    let mut site = Site::start_at(Tables::Gazelle(GazelleTables::Ops), redis, url)?;
    check_sentinels(&mut site).map_err(|error| site.redis.explain(&error))
}

fn check_sentinels(site: &mut Site<Watched>) -> Result<(), String> {
    let mut clients = Clients::start(site)?;
    clients.be_credited(site)?;
    check_update(site)?;
    await_copy(&site.redis.master, &site.redis.replica)?;
    site.redis.master.kill()?;
    clients.go_on_unheard(site)?;
    await_master(&site.redis.replica)?;
    clients.be_heard(site)?;
    clients.be_credited(site)?;
    check_update(site)
}

#[test]
fn members_are_credited_to_the_byte_by_a_cluster_that_loses_a_master() -> Result<(), String> {
    let cluster = Cluster::start()?;
    let url = cluster.url();
    let mut site = Site::start_at(Tables::Gazelle(GazelleTables::WhatCd), cluster, url)?;
    let mut clients = Clients::start(&site)?;
    clients.be_credited(&site)?;
    check_update(&site)?;
    // Quiet, and copied.
    site.redis.await_agreement(3)?;
    let killed = site.redis.master_of(&key())?;
    let port = killed.port();
    killed.kill()?;
    clients.go_on_unheard(&site)?;
    wait_for("another master", ELECTED, || {
        Ok(match site.redis.master_of(&key()) {
            Ok(master) if master.port() != port => Wait::Done(()),
            Ok(_) => Wait::NotYet("the one that was killed".into()),
            Err(error) => Wait::NotYet(error),
        })
    })?;
    site.redis.await_agreement(2)?;
    clients.be_heard(&site)?;
    clients.be_credited(&site)?;
    check_update(&site)
}

#[test]
fn members_are_credited_to_the_byte_while_their_slot_moves() -> Result<(), String> {
    let cluster = Cluster::start()?;
    let url = cluster.url();
    let site = Site::start_at(Tables::Gazelle(GazelleTables::Ops), cluster, url)?;
    let mut clients = Clients::start(&site)?;
    clients.be_credited(&site)?;
    let moving = site.redis.move_slot(&key())?;
    clients.go_on_unheard(&site)?;
    moving.end()?;
    clients.be_heard(&site)?;
    clients.be_credited(&site)?;
    check_update(&site)
}

/// By which the slot of the torrent is found.
fn key() -> String {
    HASH.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a replica lacks when it becomes the master, or a Redis that comes back with an old file.
#[test]
fn records_older_than_nodes_know_credit_nobody_twice() -> Result<(), String> {
    let site = Site::start(Tables::Own)?;
    let records = format!("peerage:m1:{{{}}}:a", key());
    let mut clients = Clients::start(&site)?;
    clients.be_credited(&site)?;
    site.redis.ask(&["COPY", &records, "{old}"])?;
    clients.go_on(&site)?;
    clients.await_credit(&site)?;
    let connected = connections(&site)?;
    site.redis.ask(&["COPY", "{old}", &records, "REPLACE"])?;
    site.redis.ask(&["CLIENT", "KILL", "TYPE", "normal"])?;
    wait_for("other connections", RECOVERED, || {
        let now = connections(&site)?;
        let all = now.iter().zip(&connected).all(|(now, before)| before < now);
        Ok(if all { Wait::Done(()) } else { Wait::NotYet(format!("{now:?}")) })
    })?;
    site.await_connected(RECOVERED)?;
    site.await_told()?;
    // What they say next is nobody's, since nobody knows who has credited it; what they say from
    // then on is.
    clients.go_on(&site)?;
    let rows = clients.all.iter().map(|says| {
        let Says { member, uploaded, downloaded, .. } = says;
        format!("{member} 1 {uploaded} {downloaded}")
    });
    let rows: Vec<String> = rows.collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    site.await_rows(site.peers_query(), &rows)?;
    clients.go_on(&site)?;
    wait_for("credit", LIMIT, || {
        clients.announce(&site, "")?;
        let mut all = Vec::new();
        for says in &clients.all {
            let rows = site.database.query(&site.credit_query(says.member))?;
            let credit: u64 = rows[0][0].parse().map_err(|_| format!("{rows:?}"))?;
            assert!(credit <= says.uploaded, "{says:?}: {credit}");
            all.push(says.uploaded - credit);
        }
        let is_credited = all.iter().zip(1..).all(|(lost, odd)| *lost <= GB + odd);
        Ok(if is_credited { Wait::Done(()) } else { Wait::NotYet(format!("{all:?}")) })
    })
}

/// How often each node has found Redis.
fn connections(site: &Site) -> Result<Vec<u64>, String> {
    let count = |node: &Server| {
        let metrics = node.get("/metrics")?.text();
        let name = "peerage_shared_connections_total ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        count.ok_or_else(|| format!("no {name}in {metrics}"))
    };
    site.nodes.iter().map(count).collect()
}
