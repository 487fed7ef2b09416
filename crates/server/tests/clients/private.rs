//! Real clients at a private tracker: members are credited what their clients moved.
//!
//! Each client is a member of its own, and announces through a tap that notes what it says. For
//! each member three numbers are compared, with no tolerance: what the client shows its user, what
//! it announced, and what stands in the tables. They stay equal when the tracker, the clients or
//! the database go away in the middle.
//!
//! Where a number is not the length of the file, this is why:
//!
//! | who | what it counts |
//! |---|---|
//! | Transmission 3.00, seeding | 13 bytes more for each block: the head of its message |
//! | Transmission 3.00, downloading | a piece once it is verified: its last announce has all |
//! | qBittorrent, libtorrent, downloading | part of a block, taken back when its connection ends |
//! | any, seeding | what was sent, also where its connection ended before it came |
//!
//! What a client takes back stays charged: a smaller number is nothing to give back for, since a
//! client that begins anew has one too.
//!
//! `cargo nextest run -p peerage-server --test clients private` runs these alone.

mod site;
mod stage;
mod tap;

use std::thread;
use std::time::{Duration, Instant};

use peerage_testkit::{Folder, Wait, wait_for};

use crate::client::{Family, Job, Kind, LIMIT};
use crate::meeting::{Meeting, Protocol};
use crate::payload::{Order, Payload};
use site::{Books, FLUSH_INTERVAL, Registered, Site, passkey};
use stage::{Plan, Stage};

use Family::{V4, V6};
use Kind::{Aria2, Libtorrent, QBittorrent, Transmission};
use Protocol::{Http, Udp};

/// Not a whole number of pieces, nor of blocks.
const LENGTH: usize = (4 << 20) + 12_345;

/// A file of this length takes a minute and a half at the rates below, once it is under way.
const LONG_LENGTH: usize = 5 << 20;

/// How long the database is away.
const OUTAGE: Duration = Duration::from_secs(60);

fn plan(seeder: (Kind, Protocol), leecher: (Kind, Protocol), family: Family) -> Plan {
    let meeting = Meeting { seeder, leecher, family };
    Plan { meeting, is_free: false, upload_kib_max: 384 }
}

/// Each client as seeder and as leecher, over HTTP and over UDP where it sends a passkey.
fn everyone() -> [Plan; 3] {
    [
        plan((Libtorrent, Udp), (QBittorrent, Http), V4),
        plan((QBittorrent, Http), (Transmission, Http), V4),
        plan((Transmission, Http), (Libtorrent, Udp), V4),
    ]
}

/// What is to happen at a site, by the name it is known by in failures.
type Story<'a> = (String, Box<dyn FnOnce() -> Result<(), String> + Send + 'a>);

/// Has all stories happen at the same time: their clients wait most of it.
#[track_caller]
fn check(stories: Vec<Story<'_>>) {
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> =
            stories.into_iter().map(|(name, story)| (name, scope.spawn(story))).collect();
        let ended = threads.into_iter().filter_map(|(name, thread)| {
            let what = thread.join().expect("no step panics").err()?;
            Some(format!("{name}: {what}"))
        });
        ended.collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// One transfer at a site of its own, in which `happen`s.
fn story(plan: Plan, happen: fn(&mut Stage) -> Result<(), String>) -> Story<'static> {
    let run = move || {
        let mut stage = Stage::new(Books::Sqlite, &[plan], LENGTH)?;
        happen(&mut stage)?;
        stage.site.stop()
    };
    (plan.meeting.to_string(), Box::new(run))
}

/// Many transfers at one site, in which nothing happens.
fn undisturbed(plans: &[Plan]) -> Result<(), String> {
    undisturbed_at(Books::Sqlite, plans)
}

fn undisturbed_at(books: Books, plans: &[Plan]) -> Result<(), String> {
    let plans: Vec<Plan> =
        plans.iter().map(|&plan| Plan { upload_kib_max: 2048, ..plan }).collect();
    let mut stage = Stage::new(books, &plans, LENGTH)?;
    stage.gather()?;
    stage.finish()?;
    stage.leave()?;
    stage.settle_to_the_byte()?;
    stage.site.stop()
}

#[test]
fn members_are_credited_what_their_clients_moved() {
    let over_http = [
        plan((Transmission, Http), (QBittorrent, Http), V4),
        plan((QBittorrent, Http), (Transmission, Http), V6),
        plan((Libtorrent, Http), (QBittorrent, Http), V6),
        plan((Libtorrent, Http), (Transmission, Http), V4),
    ];
    let over_udp = [
        plan((Libtorrent, Udp), (QBittorrent, Udp), V4),
        plan((QBittorrent, Udp), (Libtorrent, Udp), V6),
        plan((Libtorrent, Udp), (Transmission, Http), V4),
        plan((Transmission, Http), (QBittorrent, Udp), V4),
    ];
    // What comes is not charged, what goes is credited.
    let free = [
        plan((Libtorrent, Udp), (QBittorrent, Udp), V4),
        plan((QBittorrent, Http), (Transmission, Http), V4),
    ];
    let free = free.map(|plan| Plan { is_free: true, ..plan });
    check(vec![
        ("HTTP".to_owned(), Box::new(|| undisturbed(&over_http))),
        ("UDP".to_owned(), Box::new(|| undisturbed(&over_udp))),
        ("free".to_owned(), Box::new(|| undisturbed(&free))),
    ]);
}

/// Whatever a client says goes to the one node and to the other in turn: over UDP also what it says
/// to connect, and what it announces by that.
#[test]
fn members_whose_clients_come_to_two_nodes_in_turn_are_credited_what_they_moved() {
    // No leecher that takes back what it has counted: where it does so within three seconds of its
    // last announce, and ends at the other node, nobody can tell which of the two came first.
    let plans = [
        plan((Libtorrent, Udp), (Transmission, Http), V4),
        plan((QBittorrent, Http), (Transmission, Http), V4),
        plan((Libtorrent, Http), (Transmission, Http), V6),
        plan((QBittorrent, Udp), (Transmission, Http), V6),
    ];
    check(vec![("two nodes".to_owned(), Box::new(|| undisturbed_at(Books::shared()?, &plans)))]);
}

#[test]
fn tracker_that_is_stopped_and_started_in_the_middle_loses_nothing() {
    let happen = |stage: &mut Stage| {
        stage.gather()?;
        stage.reach(1 << 18)?;
        stage.site.stop()?;
        // Nobody can announce what moves now.
        stage.pass(1 << 19)?;
        stage.site.start()?;
        stage.announce()?;
        stage.finish()?;
        stage.leave()?;
        stage.settle_to_the_byte()
    };
    check(everyone().map(|plan| story(plan, happen)).into());
}

/// Killed after it has answered announces and before it has written them: the counters that were
/// written last are read back, and the next announces make up for what was lost.
#[test]
fn what_a_killed_tracker_has_not_written_is_made_up_by_the_next_announces() {
    // These announce when they are told to and not else, so that the flush that writes all there
    // is is the last for an interval.
    let plans = [
        plan((Libtorrent, Udp), (QBittorrent, Http), V4),
        plan((QBittorrent, Http), (Libtorrent, Udp), V4),
    ];
    let happen = |stage: &mut Stage| {
        stage.gather()?;
        stage.reach(1 << 18)?;
        let mut has_lost = false;
        for _ in 0..5 {
            stage.announce()?;
            stage.wait_for_flush()?;
            let flushed = Instant::now();
            stage.announce()?;
            if flushed.elapsed() < FLUSH_INTERVAL * 3 / 4 {
                stage.site.kill9()?;
                has_lost = stage.owes()?;
                stage.site.start()?;
            }
            if has_lost {
                break;
            }
        }
        if !has_lost {
            return Err("every announce was written before the kill".to_owned());
        }
        stage.finish()?;
        stage.leave()?;
        stage.settle_to_the_byte()
    };
    check(plans.map(|plan| story(plan, happen)).into());
}

#[test]
fn clients_that_go_away_in_the_middle_are_credited_for_each_session() {
    let restarted = |stage: &mut Stage| {
        stage.gather()?;
        stage.reach(1 << 18)?;
        stage.transfers[0].leecher.restart(&stage.site)?;
        stage.pass(1 << 18)?;
        stage.transfers[0].seeder.restart(&stage.site)?;
        stage.finish()?;
        stage.leave()?;
        stage.settle_sessions()
    };
    // They come back with another peer_id, having said nothing. What they had announced counts, and
    // no more is known.
    let killed = |stage: &mut Stage| {
        stage.gather()?;
        stage.reach(1 << 18)?;
        stage.transfers[0].leecher.kill9(&stage.site)?;
        stage.transfers[0].leecher.start_again(&stage.site)?;
        stage.reach(1 << 19)?;
        stage.transfers[0].seeder.kill9(&stage.site)?;
        stage.transfers[0].seeder.start_again(&stage.site)?;
        stage.finish()?;
        stage.leave()?;
        stage.settle()
    };
    let mut stories: Vec<Story<'_>> = everyone().map(|plan| story(plan, restarted)).into();
    // Transmission does not find its file again when it is killed soon after it was given it: it
    // can be no seeder here.
    let [first, second, _] = everyone();
    stories.extend([first, second].map(|plan| story(plan, killed)));
    check(stories);
}

/// A minute without its database in the middle of every transfer.
fn outlast(books: Books) -> Result<(), String> {
    let at_rate = |upload_kib_max, plan: Plan| Plan { upload_kib_max, ..plan };
    let [first, second, third] = everyone();
    // It takes Transmission twenty seconds to begin.
    let plans = [at_rate(48, first), at_rate(64, second), at_rate(72, third)];
    let mut stage = Stage::new(books, &plans, LONG_LENGTH)?;
    stage.gather()?;
    stage.reach(1 << 17)?;
    stage.site.books.kill9()?;
    let killed = Instant::now();
    stage.wait("end of the outage", 2 * OUTAGE, |_, _| Ok(OUTAGE <= killed.elapsed()))?;
    // All along announces are answered.
    stage.announce()?;
    if stage.is_any_finished() {
        return Err("a transfer has ended before the outage".to_owned());
    }
    stage.site.books.restart()?;
    stage.finish()?;
    stage.leave()?;
    stage.settle_to_the_byte()?;
    stage.site.stop()
}

#[test]
fn minute_without_a_database_in_the_middle_loses_nothing() {
    check(vec![
        ("a site's".to_owned(), Box::new(|| outlast(Books::gazelle()?))),
        ("our own".to_owned(), Box::new(|| outlast(Books::postgres()?))),
    ]);
}

/// Starts a client that is refused, and waits until its user sees `text`.
fn refused(kind: Kind, protocol: Protocol, member: &str, text: &str) -> Result<(), String> {
    let folder = Folder::new("refused")?;
    let payload = Payload::make(folder.inner("payload")?, LENGTH)?;
    let mut site = Site::new(Books::Sqlite)?;
    let torrent = folder.path().join("torrent");
    let url = site.url(protocol, V4, &passkey(member));
    let order = Order { torrent: torrent.clone(), url, swarm: "swarm".to_owned() };
    let info_hash = payload.torrents(&[order])?[0];
    site.register(&["ann".to_owned()], &[Registered { info_hash, is_free: false }])?;
    site.start()?;
    let (content, state) = (payload.folder.clone(), folder.inner("state")?);
    let job = Job { torrent, content, state, family: V4, upload_kib_max: 1 };
    let mut client = kind.start(&job)?;
    let seen = wait_for(text, LIMIT, || match client.tracker_text() {
        Ok(shown) if shown.contains(text) => Ok(Wait::Done(())),
        // It may not have its torrent yet.
        Ok(instead) | Err(instead) if client.process().is_alive() => Ok(Wait::NotYet(instead)),
        Ok(what) | Err(what) => Err(what),
    });
    seen.map_err(|what| client.process().explain(&what))?;
    println!("{} over {protocol:?}: {}", kind.name(), client.tracker_text()?);
    site.stop()
}

#[test]
fn user_of_a_client_reads_why_the_tracker_refuses_it() {
    let unknown = "Passkey not found";
    let none = "sends no passkey over UDP";
    // libtorrent (2.0.8, 2.1.1) takes the head of the packet, which begins with a zero, for the
    // beginning of the text, and so shows none.
    let unread = "tracker sent a failure message";
    let cases = [
        (Transmission, Http, "eve", unknown),
        (QBittorrent, Http, "eve", unknown),
        (Libtorrent, Http, "eve", unknown),
        (Aria2, Http, "eve", unknown),
        (QBittorrent, Udp, "eve", unread),
        (Libtorrent, Udp, "eve", unread),
        // Members, but of clients that know nothing of BEP 41.
        (Transmission, Udp, "ann", none),
        (Aria2, Udp, "ann", none),
    ];
    let stories = cases.map(|(kind, protocol, member, text)| -> Story<'_> {
        let name = format!("{} over {protocol:?}", kind.name());
        (name, Box::new(move || refused(kind, protocol, member, text)))
    });
    check(stories.into());
}
