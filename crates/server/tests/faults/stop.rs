//! What a stop and a kill of the tracker itself cost.

use std::net::Ipv4Addr;

use peerage_testkit::Signal;

use crate::crowd::{Crowd, MEMBERS};
use crate::own::{postgres, postgres_tables};
use crate::tracker::{Data, LIMIT, wait_for_backlog, wait_for_writes};

/// A flush far away.
const LATE: (&str, &str) = ("PEERAGE__DATABASE__FLUSH_INTERVAL", "300");

#[test]
fn kill_of_the_tracker_costs_what_was_not_flushed_and_no_client_that_comes_back() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut database = postgres(&data);
    let mut tracker = data.start(&database.url(), &[]);
    let server = tracker.address(Ipv4Addr::LOCALHOST);
    for _ in 0..3 {
        crowd.announce_once(server);
    }
    let flushed = tracker.stats_when(|stats| stats["private"]["rows_waiting"] == 0);
    flushed.expect("all is written");
    let before = crowd.credit();
    // From here on nothing is written.
    database.pause().expect("it runs");
    crowd.announce_once(server);
    assert_ne!(crowd.credit(), before);
    wait_for_backlog(&tracker, 2);
    tracker.process().signal(Signal::Kill).expect("it runs");
    tracker.process().ended(LIMIT).expect("nobody survives that");
    drop(tracker);
    database.resume().expect("it is there");
    assert_eq!(postgres_tables(&database).members, before, "what was flushed is there");
    let tracker = data.start(&database.url(), &[]);
    crowd.announce_once(tracker.address(Ipv4Addr::LOCALHOST));
    tracker.stop().expect("it ends well");
    let (found, owed) = (postgres_tables(&database), crowd.owed());
    assert_eq!(found.members, owed.members, "clients tell again what was lost");
    assert_eq!(found.torrents, owed.torrents);
}

#[test]
fn stop_without_a_database_keeps_what_is_owed_for_the_next_start() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut database = postgres(&data);
    let settings = [LATE, ("PEERAGE__DATABASE__STOP_TIMEOUT", "1")];
    let tracker = data.start(&database.url(), &settings);
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| {
        load.rounds(10);
        database.kill9().expect("it is ours");
        load.rounds(5);
    });
    tracker.stop().expect("it ends all the same");
    assert!(data.has_leftovers());
    database.restart().expect("it starts again");
    let tracker = data.start(&database.url(), &[]);
    assert!(!data.has_leftovers(), "they are written before it is ready");
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| load.rounds(5));
    wait_for_writes(&tracker);
    tracker.stop().expect("it ends well");
    postgres_tables(&database).check(&crowd.owed());
    assert!(!data.has_leftovers());
}

#[test]
fn download_that_is_done_again_after_a_restart_is_no_second_snatch() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let database = postgres(&data);
    for _ in 0..2 {
        crowd.begin_anew();
        let tracker = data.start(&database.url(), &[]);
        // The slowest takes 33.
        crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| load.rounds(40));
        tracker.stop().expect("it ends well");
        let owed = crowd.owed();
        assert_eq!(owed.snatches.len(), 2 * MEMBERS as usize, "all of them are done");
        postgres_tables(&database).check(&owed);
    }
}

#[test]
fn stop_while_the_database_stands_still_keeps_what_was_on_its_way() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut database = postgres(&data);
    let settings = [("PEERAGE__DATABASE__STOP_TIMEOUT", "1")];
    let tracker = data.start(&database.url(), &settings);
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| {
        load.rounds(10);
        database.pause().expect("it runs");
        // Longer than a flush is away: one is on its way.
        wait_for_backlog(&tracker, 3);
    });
    tracker.stop().expect("it ends in the time that a stop may take");
    assert!(data.has_leftovers());
    database.resume().expect("it is there");
    let tracker = data.start(&database.url(), &[]);
    assert!(!data.has_leftovers(), "they are written before it is ready");
    tracker.stop().expect("it ends well");
    // Nobody has announced since: whoever is here still is.
    postgres_tables(&database).check(&crowd.owed());
}

#[test]
fn database_that_stands_still_holds_up_no_expiry() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut database = postgres(&data);
    let settings = [
        ("PEERAGE__ANNOUNCE__MIN_INTERVAL", "2"),
        ("PEERAGE__ANNOUNCE__MAX_INTERVAL", "2"),
        ("PEERAGE__ANNOUNCE__JITTER", "0"),
        ("PEERAGE__ANNOUNCE__PEER_TIMEOUT", "4"),
    ];
    let tracker = data.start(&database.url(), &settings);
    database.pause().expect("it runs");
    crowd.announce_once(tracker.address(Ipv4Addr::LOCALHOST));
    let peers = |stats: &serde_json::Value| stats["private"]["leechers"].as_u64();
    tracker.stats_when(|stats| peers(stats) > Some(0)).expect("they are here");
    let gone = tracker.stats_when(|stats| peers(stats) == Some(0));
    let gone = gone.expect("a statement may take 30 s, and a peer expires after 4");
    let waiting = gone["private"]["rows_waiting"].as_u64();
    assert!(waiting > Some(0), "nothing was written meanwhile: {gone}");
    database.resume().expect("it is there");
    tracker.stop().expect("it ends well");
    let found = postgres_tables(&database).peers;
    assert!(!found.is_empty() && found.iter().all(|row| row.contains(" 0 1 ")), "{found:?}");
}
