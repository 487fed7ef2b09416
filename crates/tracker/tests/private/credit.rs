//! What an announce is worth, and the rows it writes.

use std::net::IpAddr;

use peerage_proto::Event;
use peerage_tracker::private::{MemberId, Pricing, Terms, Token, TokenUse};

use crate::site::{Ask, HASH, START_SECS, Site, TORRENT, ask, only_peer, passkey};

#[test]
fn first_announce_gives_no_credit_and_the_next_the_difference() {
    let mut site = Site::default();
    site.announce(ask(1).moved(500, 700));
    let batch = site.take();
    assert!(batch.members.is_empty());
    let row = only_peer(&batch);
    assert_eq!((row.uploaded, row.downloaded, row.remaining), (500, 700, 100));
    assert_eq!((row.announces, row.timespent_secs, row.upload_speed), (1, 0, 0));
    assert!(row.active);
    assert_eq!(row.user_agent, "Transmission/4.0.6");
    assert_eq!(row.address, Some("192.0.2.1".parse::<IpAddr>().unwrap()));
    let [torrent] = batch.torrents[..] else { panic!("one torrent") };
    assert_eq!((torrent.seeders, torrent.leechers, torrent.completed), (0, 1, 0));
    site.wait(100);
    site.announce(ask(1).moved(1500, 900).left(50));
    let batch = site.take();
    let [credit] = batch.members[..] else { panic!("one member") };
    assert_eq!((credit.member.0, credit.uploaded, credit.downloaded), (1, 1000, 200));
    let row = only_peer(&batch);
    assert_eq!((row.upload_speed, row.download_speed), (10, 2));
    assert_eq!((row.announces, row.timespent_secs, row.remaining), (2, 100, 50));
    let [torrent] = batch.torrents[..] else { panic!("one torrent") };
    assert_eq!((torrent.balance, torrent.balance_delta), (1800, 800));
}

#[test]
fn number_that_goes_back_sets_a_baseline_and_the_other_counts() {
    // What the second announce says, and what it credits.
    let cases = [
        (ask(1).moved(900, 1500), Some((1, 0, 500))),
        (ask(1).moved(1500, 900), Some((1, 500, 0))),
        (ask(1).moved(0, 0), None),
        (ask(1).moved(5000, 5000).event(Event::Started), None),
        (ask(1).moved(1000, 1000), None),
        (ask(1).moved(1100, 1001).event(Event::Stopped), Some((1, 100, 1))),
        (ask(1).moved(1100, 1001).event(Event::Completed).left(0), Some((1, 100, 1))),
        (ask(1).moved(1100, 1001).event(Event::Completed), Some((1, 100, 1))),
        (ask(1).moved(1100, 1001).event(Event::Paused), Some((1, 100, 1))),
        // Another client of the same member is another peer.
        (ask(1).moved(1100, 1001).client(b'q'), None),
    ];
    for (second, credit) in cases {
        let mut site = Site::default();
        site.announce(ask(1).moved(1000, 1000).event(Event::Started));
        assert!(site.credit().is_empty());
        site.wait(1000);
        site.announce(second);
        assert_eq!(site.credit(), Vec::from_iter(credit), "{:?}", second.moved);
        if second.event == Event::Stopped {
            continue;
        }
        // From the new baseline on it counts.
        site.wait(1000);
        let (uploaded, downloaded) = second.moved;
        let third = Ask { event: Event::None, ..second };
        site.announce(third.moved(uploaded + 7, downloaded + 5));
        assert_eq!(site.credit(), [(1, 7, 5)]);
    }
}

#[test]
fn started_of_a_known_peer_begins_its_times_anew() {
    let mut site = Site::default();
    site.announce(ask(1).event(Event::Started));
    site.wait(500);
    site.announce(ask(1));
    site.wait(500);
    site.announce(ask(1).event(Event::Started));
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.announces, row.timespent_secs), (1, 0));
}

#[test]
fn corrupt_lowers_the_balance_alone() {
    let mut site = Site::default();
    site.announce(Ask { corrupt: Some(10), ..ask(1) });
    site.wait(60);
    site.announce(Ask { corrupt: Some(25), ..ask(1).moved(100, 0) });
    let batch = site.take();
    assert_eq!(batch.members[0].uploaded, 100);
    assert_eq!(batch.torrents[0].balance_delta, 85);
    assert_eq!(only_peer(&batch).corrupt, 25);
    site.wait(60);
    // UDP says nothing of it: what was known stays.
    site.announce(ask(1).moved(200, 0));
    let batch = site.take();
    assert_eq!(batch.torrents[0].balance_delta, 100);
    assert_eq!(only_peer(&batch).corrupt, 25);
}

/// What is changed, and what is then credited.
type Case = (&'static [fn(&mut Site)], (u64, u64, u64));

/// Credit of an announce that moved 1000 up and 300 down, and what went on the token.
fn credited(site: &mut Site) -> (u64, u64, u64) {
    site.announce(ask(1).event(Event::Started));
    site.take();
    site.wait(60);
    site.announce(ask(1).moved(1000, 300));
    let batch = site.take();
    assert_eq!(batch.torrents[0].balance_delta, 700, "at any price");
    let [uploaded, downloaded] = match &batch.members[..] {
        [] => [0, 0],
        [row] => [row.uploaded, row.downloaded],
        _ => panic!("one member"),
    };
    let on_token = batch.token_uses.iter().map(|used| used.downloaded).sum();
    (uploaded, downloaded, on_token)
}

#[test]
fn price_is_that_of_torrent_everyone_member_and_token_together() {
    fn free(site: &mut Site) {
        site.private().change_torrent(&HASH, |torrent| torrent.pricing = Pricing::Free);
    }
    fn neutral(site: &mut Site) {
        site.private().change_torrent(&HASH, |torrent| torrent.pricing = Pricing::Neutral);
    }
    fn double(site: &mut Site) {
        site.private().change_torrent(&HASH, |torrent| torrent.double_upload = true);
    }
    fn all_free(site: &mut Site) {
        site.change_terms(|terms| terms.pricing = Pricing::Free);
    }
    fn all_neutral(site: &mut Site) {
        site.change_terms(|terms| terms.pricing = Pricing::Neutral);
    }
    fn all_double(site: &mut Site) {
        site.change_terms(|terms| terms.double_upload = true);
    }
    fn own_free(site: &mut Site) {
        site.private().change_member(&passkey(1), |member| member.free_leech = true);
    }
    fn own_double(site: &mut Site) {
        site.private().change_member(&passkey(1), |member| member.double_upload = true);
    }
    fn token(site: &mut Site) {
        assert!(site.private().add_token(Token { member: MemberId(1), torrent: TORRENT }));
    }
    fn another_token(site: &mut Site) {
        site.private().add_token(Token { member: MemberId(2), torrent: TORRENT });
    }
    let cases: [Case; 22] = [
        (&[], (1000, 300, 0)),
        (&[free], (1000, 0, 0)),
        (&[neutral], (0, 0, 0)),
        (&[double], (2000, 300, 0)),
        (&[token], (1000, 0, 300)),
        (&[another_token], (1000, 300, 0)),
        (&[own_free], (1000, 0, 0)),
        (&[own_double], (2000, 300, 0)),
        (&[all_free], (1000, 0, 0)),
        (&[all_neutral], (0, 0, 0)),
        (&[all_double], (2000, 300, 0)),
        (&[free, token], (1000, 0, 300)),
        (&[neutral, token], (0, 0, 0)),
        (&[own_free, token], (1000, 0, 300)),
        (&[double, own_double, all_double], (2000, 300, 0)),
        (&[double, token], (2000, 0, 300)),
        (&[double, free], (2000, 0, 0)),
        (&[double, neutral], (0, 0, 0)),
        (&[neutral, own_free, own_double], (0, 0, 0)),
        (&[all_free, neutral], (0, 0, 0)),
        (&[all_neutral, free, token], (0, 0, 0)),
        (&[all_free, own_free, token, own_double], (2000, 0, 300)),
    ];
    for (number, (changes, expected)) in cases.into_iter().enumerate() {
        let mut site = Site::default();
        changes.iter().for_each(|change| change(&mut site));
        assert_eq!(credited(&mut site), expected, "case {number}");
    }
}

#[test]
fn token_is_used_up_by_the_announce_that_completes_and_moves() {
    let token = Token { member: MemberId(1), torrent: TORRENT };
    for (moved, expired) in [(300, true), (0, false)] {
        let mut site = Site::default();
        site.private().add_token(token);
        site.announce(ask(1));
        site.take();
        site.wait(60);
        site.announce(ask(1).moved(0, moved).left(0).event(Event::Completed));
        let batch = site.take();
        assert_eq!(batch.expired_tokens, Vec::from_iter(expired.then_some(token)));
        let used = TokenUse { token, downloaded: moved };
        assert_eq!(batch.token_uses, Vec::from_iter(expired.then_some(used)));
        assert_eq!(site.private().torrent(&HASH).unwrap().tokens.is_empty(), expired);
    }
}

#[test]
fn absurd_numbers_earn_nothing_and_are_counted() {
    let mut site = Site::new(Terms { bytes_per_sec_max: 1000, ..Terms::default() });
    site.announce(ask(1));
    site.take();
    site.wait(10);
    site.announce(ask(1).moved(10_001, 5));
    assert!(site.credit().is_empty());
    assert_eq!(site.tracker.tally().members.absurd, 1);
    site.wait(10);
    site.announce(ask(1).moved(20_001, 10));
    assert_eq!(site.credit(), [(1, 10_000, 5)], "counted from the absurd number on");
    // The largest numbers there are, in a row that SQL can hold.
    site.wait(10);
    site.announce(ask(1).moved(u64::MAX, u64::MAX).left(u64::MAX));
    let batch = site.take();
    let row = only_peer(&batch);
    let most = i64::MAX as u64;
    assert_eq!((row.uploaded, row.downloaded, row.remaining), (most, most, most));
    assert!(batch.members.is_empty());
}

#[test]
fn remaining_is_right_even_where_nothing_else_has_moved() {
    let mut site = Site::default();
    site.announce(ask(1));
    site.take();
    site.wait(60);
    site.announce(ask(1).left(40));
    assert_eq!(only_peer(&site.take()).remaining, 40);
    site.wait(60);
    site.announce(ask(1).left(0).event(Event::Completed));
    assert_eq!(only_peer(&site.take()).remaining, 0, "completed without a difference");
    site.wait(60);
    site.announce(ask(1).left(0));
    let batch = site.take();
    assert!(batch.peers.is_empty() && batch.torrents.is_empty());
    let [visit] = batch.visits[..] else { panic!("one visit") };
    assert_eq!((visit.announces, visit.timespent_secs, visit.seedtime_secs), (4, 180, 60));
    assert_eq!(visit.at_secs, START_SECS + 180);
}

#[test]
fn torrent_row_is_due_once_an_hour_while_somebody_announces() {
    let mut site = Site::default();
    site.announce(ask(1));
    assert_eq!(site.take().torrents.len(), 1);
    for _ in 0..2 {
        site.wait(1799);
        site.announce(ask(1));
        assert!(site.take().torrents.is_empty());
    }
    site.wait(2);
    site.announce(ask(1));
    assert_eq!(site.take().torrents.len(), 1);
    assert_eq!(site.private().torrent(&HASH).unwrap().due_secs, site.now_secs);
}

#[test]
fn seedtime_is_the_time_between_announces_of_a_seeder() {
    let mut site = Site::default();
    site.announce(ask(1));
    site.wait(100);
    site.announce(ask(1).left(0).event(Event::Completed));
    site.wait(70);
    site.announce(ask(1).left(0));
    site.wait(30);
    site.announce(ask(1).left(0).event(Event::Stopped));
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.timespent_secs, row.seedtime_secs), (200, 100));
    assert_eq!(row.completed_at_secs, Some(START_SECS + 100));
    assert!(!row.active);
}
