//! What members are credited while Redis, or a node, is killed under their announces: never more
//! than their clients have said, and all of it where the manual says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use peerage_testkit::redis::Watched;
use peerage_testkit::{Signal, Wait, wait_for};

use crate::node::RECOVERED;
use crate::places::{FOLLOWED, await_master};
use crate::site::{GB, LIMIT, Says, Site, Tables, client};

/// One for each.
const MEMBERS: u32 = 8;

/// Between two rounds of announces: some fifty a second.
const PACE: Duration = Duration::from_millis(150);

/// How long the fault lasts, in rounds of announces.
const FAULT_ROUNDS: u64 = 20;

/// Rounds before it: longer than a session is doubted at another node.
const FIRST_ROUNDS: u64 = 30;

/// Members' clients that announce without pause, at one node and the other in turn.
struct Load {
    nodes: Vec<SocketAddr>,
    peers: Mutex<Vec<Says>>,
    rounds: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    fn new<R>(site: &Site<R>) -> Self {
        let nodes = site.nodes.iter().map(|node| node.address(Ipv4Addr::LOCALHOST)).collect();
        let peers = (1..=MEMBERS).map(|member| client(member, 2000 + member as u16)).collect();
        let (rounds, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { nodes, peers: Mutex::new(peers), rounds, is_over }
    }

    /// What each member has said to have moved.
    fn moved(&self) -> Vec<(u64, u64)> {
        let peers = self.peers.lock().expect("nobody panics with it");
        peers.iter().map(|peer| (peer.uploaded, peer.downloaded)).collect()
    }

    /// Announces until it is over. A node that does not answer is left for the other, as clients
    /// do.
    fn run(&self) -> Result<(), String> {
        while !self.is_over.load(Ordering::Relaxed) {
            let round = self.rounds.load(Ordering::Relaxed);
            for number in 0..MEMBERS as usize {
                let says = self.step(number, round);
                // One half stays where it is, the other half moves each time.
                let node = number / 2 + if number % 2 == 0 { 0 } else { round as usize };
                let [one, other] = [node % 2, (node + 1) % 2].map(|node| self.nodes[node]);
                says.to(one).or_else(|_| says.to(other))?;
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        Ok(())
    }

    fn step(&self, number: usize, round: u64) -> Says {
        let mut peers = self.peers.lock().expect("nobody panics with it");
        let peer = &mut peers[number];
        if round == 0 {
            return peer.event("started");
        }
        *peer = peer.moved(peer.uploaded + GB / 1000 + number as u64, peer.downloaded + 1000);
        *peer
    }

    fn await_rounds(&self, count: u64) -> Result<(), String> {
        let until = self.rounds.load(Ordering::Relaxed) + count;
        wait_for(&format!("{count} rounds"), LIMIT, || {
            let rounds = self.rounds.load(Ordering::Relaxed);
            Ok(if until <= rounds { Wait::Done(()) } else { Wait::NotYet(rounds.to_string()) })
        })
    }
}

/// What each member is credited with in the tables.
fn credited<R>(site: &Site<R>) -> Result<Vec<(u64, u64)>, String> {
    let query = "SELECT uploaded, downloaded FROM members ORDER BY id";
    let rows = site.database.query(query)?;
    let number = |text: &String| text.parse().map_err(|_| format!("no number: {text}"));
    let sums =
        rows.iter().take(MEMBERS as usize).map(|row| Ok((number(&row[0])?, number(&row[1])?)));
    sums.collect()
}

fn covers(credited: &[(u64, u64)], least: &[(u64, u64)]) -> bool {
    credited.iter().zip(least).all(|(has, least)| least.0 <= has.0 && least.1 <= has.1)
}

/// Waits until each member is credited with so much, and with no more than it has moved.
fn await_credit<R>(site: &Site<R>, load: &Load, least: &[(u64, u64)]) -> Result<(), String> {
    wait_for(&format!("credit of {least:?}"), LIMIT, || {
        let credited = credited(site)?;
        let moved = load.moved();
        assert!(covers(&moved, &credited), "{credited:?} credited, {moved:?} moved");
        Ok(match covers(&credited, least) {
            true => Wait::Done(()),
            false => Wait::NotYet(format!("{credited:?}")),
        })
    })
}

/// What is left of `all` where so much may be lost as was moved between two moments.
fn less(all: &[(u64, u64)], from: &[(u64, u64)], to: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let each = all.iter().zip(from).zip(to);
    each.map(|((all, from), to)| (all.0 + from.0 - to.0, all.1 + from.1 - to.1)).collect()
}

/// Has clients announce while `happen`s. Returns what they have moved in all.
fn under_load(
    load: &Load,
    happen: impl FnOnce() -> Result<(), String>,
) -> Result<Vec<(u64, u64)>, String> {
    thread::scope(|scope| {
        let announcing = scope.spawn(|| load.run());
        let happened = load.await_rounds(FIRST_ROUNDS).and_then(|()| happen());
        load.is_over.store(true, Ordering::Relaxed);
        announcing.join().expect("it does not panic")?;
        happened
    })?;
    Ok(load.moved())
}

/// What is told while Redis is away waits and is credited when it is back, to the byte, if Redis
/// has kept what it was told.
#[test]
fn redis_that_is_killed_under_load_and_kept_its_data_costs_nobody_anything() -> Result<(), String> {
    let mut site =
        Site::start_with(Tables::Own, &["--appendonly", "yes", "--appendfsync", "always"])?;
    let load = Load::new(&site);
    let moved = under_load(&load, || {
        site.redis.kill()?;
        load.await_rounds(FAULT_ROUNDS)?;
        site.redis.start_again()?;
        site.await_connected(RECOVERED)?;
        load.await_rounds(FAULT_ROUNDS)
    })?;
    await_credit(&site, &load, &moved)?;
    site.await_counts((0, MEMBERS, 0), RECOVERED)
}

#[test]
fn redis_that_is_killed_under_load_and_comes_back_empty_costs_what_was_moved_meanwhile()
-> Result<(), String> {
    let mut site = Site::start(Tables::Own)?;
    let load = Load::new(&site);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let moved = under_load(&load, || {
        before = load.moved();
        await_credit(&site, &load, &before)?;
        site.redis.kill()?;
        load.await_rounds(FAULT_ROUNDS)?;
        site.redis.start_again()?;
        site.await_connected(RECOVERED)?;
        // Until the records of all are there again, and those that are told from there on.
        site.await_told()?;
        after = load.moved();
        load.await_rounds(FAULT_ROUNDS)
    })?;
    await_credit(&site, &load, &less(&moved, &before, &after))?;
    site.await_counts((0, MEMBERS, 0), RECOVERED)
}

/// Its replica may lack the last that it was told. What was moved since is then not credited, and
/// nothing is twice.
#[test]
fn master_that_is_killed_under_load_costs_what_was_moved_meanwhile_at_most() -> Result<(), String> {
    let redis = Watched::start()?;
    let url = redis.url();
    let mut site = Site::start_at(Tables::Own, redis, url)?;
    let load = Load::new(&site);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let moved = under_load(&load, || {
        before = load.moved();
        await_credit(&site, &load, &before)?;
        site.redis.master.kill()?;
        await_master(&site.redis.replica)?;
        site.await_connected(FOLLOWED)?;
        // Until what waited is told.
        load.await_rounds(FAULT_ROUNDS)?;
        site.await_told()?;
        after = load.moved();
        load.await_rounds(FAULT_ROUNDS)
    });
    let moved = moved.map_err(|error| site.redis.explain(&error))?;
    await_credit(&site, &load, &less(&moved, &before, &after))?;
    site.await_counts((0, MEMBERS, 0), RECOVERED)
}

/// What it had credited and not yet written is lost, as of a tracker that is alone.
#[test]
fn node_that_is_killed_under_load_costs_what_it_had_not_written() -> Result<(), String> {
    let mut site = Site::start(Tables::Own)?;
    let load = Load::new(&site);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let moved = under_load(&load, || {
        before = load.moved();
        await_credit(&site, &load, &before)?;
        site.nodes[1].process().signal(Signal::Kill)?;
        // Announces that it had answered are those of a round at most.
        load.await_rounds(2)?;
        after = load.moved();
        load.await_rounds(FAULT_ROUNDS)
    })?;
    await_credit(&site, &load, &less(&moved, &before, &after))
}
