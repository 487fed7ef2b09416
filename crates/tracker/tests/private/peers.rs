//! Who is a peer, who is handed out, and who is warned or refused.

use peerage_proto::{Event, InfoHash};
use peerage_tracker::private::{MemberId, Snatch, Terms, Torrent, TorrentId};
use peerage_tracker::{Refusal, Warning};

use crate::site::{Ask, START_SECS, Site, TORRENT, ask, only_peer, passkey, torrent};

#[test]
fn download_is_completed_once_for_each_member_and_torrent() {
    let completed = |ask: Ask| ask.left(0).event(Event::Completed);
    let mut site = Site::default();
    site.announce(ask(1));
    let told = site.announce(completed(ask(1)));
    assert_eq!(told.counts.completed, 11);
    let batch = site.take();
    let address = Some("192.0.2.1".parse().unwrap());
    let snatch = Snatch { member: MemberId(1), torrent: TORRENT, at_secs: START_SECS, address };
    assert_eq!(batch.snatches, [snatch]);
    assert_eq!(batch.torrents[0].completed, 1);
    // Said again, by a second client, and after it has begun anew.
    site.announce(completed(ask(1)));
    site.announce(ask(1).client(b'q'));
    site.announce(completed(ask(1).client(b'q')));
    site.announce(ask(1));
    let told = site.announce(completed(ask(1)));
    assert_eq!(told.counts.completed, 11);
    // A seeder is none that completes; who was not known is, and `left` decides.
    site.announce(ask(2).left(0).event(Event::Started));
    site.announce(completed(ask(2)));
    site.announce(ask(3).event(Event::Completed));
    site.announce(ask(4));
    site.announce(ask(4).left(0));
    assert!(site.take().snatches.is_empty());
    site.announce(completed(ask(5)));
    assert_eq!(site.take().snatches.len(), 1);
    assert_eq!(site.tracker.tally().members.snatches, 2);
    assert_eq!(site.tracker.tally().members.announces(Event::Completed), 7);
}

#[test]
fn seeder_that_leeches_again_leaves_no_ghost() {
    let mut site = Site::default();
    for (left, event, expected) in [
        (100, Event::Started, (0, 1)),
        (0, Event::Completed, (1, 0)),
        (0, Event::None, (1, 0)),
        (50, Event::None, (0, 1)),
        (0, Event::None, (1, 0)),
        (50, Event::Stopped, (0, 0)),
        (0, Event::Stopped, (0, 0)),
        (0, Event::None, (1, 0)),
        (0, Event::Stopped, (0, 0)),
    ] {
        let told = site.announce(ask(1).left(left).event(event));
        assert_eq!(site.counts(), expected);
        let (seeders, leechers) = (told.counts.seeders as usize, told.counts.leechers as usize);
        assert_eq!((seeders, leechers), expected);
        site.check_counts(1, seeders as u32, leechers as u32);
        let totals = site.private().totals();
        assert_eq!((totals.seeders as usize, totals.leechers as usize), expected);
    }
}

#[test]
fn stop_of_an_unknown_peer_is_written_and_nothing_else() {
    let mut site = Site::default();
    site.announce(ask(1).moved(100, 100).event(Event::Stopped));
    assert_eq!(site.counts(), (0, 0));
    let batch = site.take();
    assert!(batch.members.is_empty());
    let row = only_peer(&batch);
    assert!(!row.active);
    assert_eq!((row.announces, row.uploaded), (1, 100));
}

#[test]
fn client_with_addresses_of_both_families_is_one_peer() {
    let mut site = Site::new(Terms { early_secs: 0, ..Terms::default() });
    site.change_terms(|terms| terms.early_secs = 300);
    let over6 = |ask: Ask| ask.at("2001:db8::1", 6881);
    let first = site.announce(ask(1).event(Event::Started));
    let second = site.announce(over6(ask(1).event(Event::Started)));
    assert_eq!((first.warning, second.warning), (None, None), "each family for itself");
    assert_eq!(site.counts(), (0, 1));
    site.wait(600);
    site.announce(ask(1).moved(1000, 200).left(0).event(Event::Completed));
    site.announce(over6(ask(1).moved(1000, 200).left(0).event(Event::Completed)));
    let batch = site.take();
    assert_eq!((batch.members[0].uploaded, batch.members[0].downloaded), (1000, 200));
    assert_eq!((batch.snatches.len(), batch.torrents[0].completed), (1, 1));
    assert_eq!(only_peer(&batch).announces, 3, "the second started began anew");
    // Each asker gets it at an address of its own family, and once.
    for (address, v4, v6) in [("192.0.2.9", 1, 0), ("2001:db8::9", 0, 1)] {
        site.announce(ask(2).at(address, 1000).client(address.as_bytes()[0]));
        assert_eq!((site.worker.peers.v4.len(), site.worker.peers.v6.len()), (v4, v6));
    }
    site.wait(60);
    site.announce(ask(1).moved(1500, 200).left(0).event(Event::Stopped));
    site.announce(over6(ask(1).moved(1500, 200).left(0).event(Event::Stopped)));
    let batch = site.take();
    let stopped = batch.peers.iter().find(|row| row.key.member == MemberId(1)).unwrap();
    assert_eq!((stopped.active, stopped.announces), (false, 4), "the first stop stands");
    assert_eq!(batch.members[0].uploaded, 500);
    assert_eq!(site.counts(), (0, 2));
}

#[test]
fn nobody_is_handed_its_own_member_or_whom_it_cannot_use() {
    let mut site = Site::default();
    site.announce(ask(1).left(0).at("192.0.2.1", 1));
    site.announce(ask(1).client(b'q').at("192.0.2.2", 2));
    site.announce(ask(2).at("192.0.2.3", 3));
    site.announce(ask(3).at("192.0.2.4", 0));
    site.announce(ask(4).at("2001:db8::4", 4));
    assert_eq!(site.worker.peers.v4.len(), 3, "no port is no peer; the others fill up");
    assert_eq!(site.worker.peers.v6.len(), 0);
    let told = site.announce(ask(2).at("192.0.2.3", 3));
    assert_eq!((told.counts.seeders, told.counts.leechers), (1, 4));
    assert_eq!((site.worker.peers.v4.len(), site.worker.peers.v6.len()), (2, 1));
    // A seeder gets leechers, and of member 1 the other peers alone.
    site.announce(ask(1).left(0).at("192.0.2.1", 1));
    assert_eq!((site.worker.peers.v4.len(), site.worker.peers.v6.len()), (1, 1));
    assert_eq!(site.worker.peers.v4[0], [192, 0, 2, 3, 0, 3]);
    for (numwant, handed) in [(0, 0), (1, 1), (2, 2), (3, 3), (u32::MAX, 3)] {
        site.announce(Ask { numwant, ..ask(2).at("192.0.2.3", 3) });
        assert_eq!(site.handed(), handed);
    }
    site.announce(ask(2).at("192.0.2.3", 3).event(Event::Stopped));
    assert_eq!(site.handed(), 0);
}

#[test]
fn member_who_may_not_leech_is_charged_and_refused_unless_it_seeds() {
    for charge_forbidden in [true, false] {
        let mut site = Site::new(Terms { charge_forbidden, ..Terms::default() });
        site.announce(ask(1).moved(0, 0));
        site.take();
        assert!(site.private().change_member(&passkey(1), |member| member.can_leech = false));
        site.wait(60);
        let refused = site.try_announce(ask(1).moved(10, 300).left(50));
        assert_eq!(refused, Err(Refusal::LeechForbidden));
        assert_eq!(site.handed(), 0);
        assert_eq!(site.credit(), [(1, 10, if charge_forbidden { 300 } else { 0 })]);
        assert_eq!(site.counts(), (0, 1), "counted");
        site.announce(ask(2).at("192.0.2.2", 2));
        assert_eq!(site.handed(), 0, "and handed to nobody");
        site.wait(60);
        site.announce(ask(1).moved(20, 300).left(0));
        assert_eq!(site.handed(), 1);
        site.announce(ask(2).at("192.0.2.2", 2));
        assert_eq!(site.handed(), 1);
    }
}

#[test]
fn protected_member_is_written_without_address_and_handed_out_all_the_same() {
    let mut site = Site::default();
    site.private().change_member(&passkey(1), |member| member.protected = true);
    site.announce(ask(1));
    site.announce(ask(1).left(0).event(Event::Completed));
    let batch = site.take();
    assert_eq!((only_peer(&batch).address, batch.snatches[0].address), (None, None));
    site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!(site.handed(), 1);
}

#[test]
fn one_client_too_many_at_a_torrent_is_warned_and_not_accounted_for() {
    let mut site = Site::new(Terms { peers_per_torrent_max: 2, ..Terms::default() });
    site.announce(ask(9).left(0).at("192.0.2.9", 9));
    site.announce(ask(1).client(b'a'));
    site.announce(ask(1).client(b'b'));
    let told = site.announce(ask(1).client(b'c'));
    assert_eq!((told.warning, site.handed()), (Some(Warning::TooManyPeers), 0));
    assert_eq!((told.counts.seeders, told.counts.leechers), (1, 2));
    site.take();
    site.wait(60);
    site.announce(ask(1).client(b'c').moved(100, 100));
    site.announce(ask(1).client(b'c').moved(100, 100).event(Event::Stopped));
    assert!(site.credit().is_empty());
    site.announce(ask(1).client(b'a').event(Event::Stopped));
    assert_eq!(site.announce(ask(1).client(b'c')).warning, None);
    assert_eq!(site.tracker.tally().members.too_many_peers, 2);
}

#[test]
fn tracker_that_is_full_stores_no_new_peer() {
    let mut site = Site::new(Terms { peers_max: 1, ..Terms::default() });
    site.announce(ask(1));
    let told = site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!((told.warning, site.handed()), (Some(Warning::NotStored), 0));
    assert_eq!(site.announce(ask(1)).warning, None);
    site.announce(ask(1).event(Event::Stopped));
    assert_eq!(site.announce(ask(2)).warning, None);
    assert_eq!(site.tracker.tally().not_stored, 1);
}

#[test]
fn download_slots_are_torrents_not_clients() {
    let hashes: Vec<_> = (0..3).map(|number| InfoHash([number; 20])).collect();
    let mut site = Site::default();
    for (number, &info_hash) in hashes.iter().enumerate() {
        let id = TorrentId(100 + number as u32);
        site.private().put_torrent(Torrent { id, info_hash, ..torrent() });
        site.announce(Ask { info_hash, ..ask(9).left(0).at("192.0.2.9", 9) });
    }
    site.private().change_member(&passkey(1), |member| member.download_slots = Some(2));
    let at = |number: usize, ask: Ask| Ask { info_hash: hashes[number], ..ask };
    let downloads = |site: &Site| site.private().member(&passkey(1)).unwrap().downloads;
    assert_eq!(site.announce(at(0, ask(1))).warning, None);
    assert_eq!(site.announce(at(1, ask(1))).warning, None);
    assert_eq!(site.announce(at(1, ask(1).client(b'q'))).warning, None, "the same torrent");
    assert_eq!(downloads(&site), 2);
    assert_eq!(site.announce(at(2, ask(1))).warning, Some(Warning::NoSlot));
    assert_eq!(site.handed(), 0);
    site.announce(at(2, ask(2).at("192.0.2.2", 2)));
    assert_eq!(site.handed(), 1, "the seeder alone");
    // What it moves counts, and it has a slot once one is free.
    site.take();
    site.wait(60);
    site.announce(at(2, ask(1).moved(0, 50)));
    assert_eq!(site.credit(), [(1, 0, 50)]);
    site.announce(at(1, ask(1).event(Event::Stopped)));
    assert_eq!(site.announce(at(2, ask(1).moved(0, 50))).warning, Some(Warning::NoSlot));
    site.announce(at(1, ask(1).client(b'q').left(0)));
    assert_eq!(downloads(&site), 1);
    assert_eq!(site.announce(at(2, ask(1).moved(0, 50))).warning, None);
    assert_eq!(site.handed(), 2);
    assert_eq!(site.announce(at(0, ask(1))).warning, None, "who has a slot keeps it");
    assert_eq!(site.tracker.tally().members.no_slot, 3);
    // A seeder needs none.
    assert_eq!(site.announce(at(2, ask(1).client(b'r').left(0))).warning, None);
}

#[test]
fn early_announce_is_warned_and_handed_nobody_but_counts() {
    let mut site = Site::default();
    site.announce(ask(9).left(0).at("192.0.2.9", 9));
    site.change_terms(|terms| terms.early_secs = 120);
    assert_eq!(site.announce(ask(1)).warning, None, "the first is never early");
    assert_eq!(site.handed(), 1);
    site.take();
    site.wait(119);
    let told = site.announce(ask(1).moved(5, 6));
    assert_eq!((told.warning, site.handed()), (Some(Warning::Early), 0));
    assert_eq!(site.credit(), [(1, 5, 6)]);
    site.wait(1);
    let told = site.announce(ask(1).moved(5, 7).left(0).event(Event::Completed));
    assert_eq!(told.warning, None, "the first completed");
    let told = site.announce(ask(1).moved(5, 7).left(0).event(Event::Completed));
    assert_eq!(told.warning, Some(Warning::Early), "the second");
    assert_eq!(site.announce(ask(1).moved(5, 7).event(Event::Stopped)).warning, None);
    assert_eq!(site.announce(ask(1)).warning, None, "after a stop it is a new peer");
    site.wait(120);
    assert_eq!(site.announce(ask(1)).warning, None);
    assert_eq!(site.tracker.tally().members.early, 2);
}

#[test]
fn expired_peer_is_dropped_and_written_as_no_longer_active() {
    let mut site = Site::default();
    site.announce(ask(1).moved(7, 8).left(0));
    site.wait(3600);
    site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!(site.handed(), 1);
    site.take();
    site.wait(3601);
    site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!(site.handed(), 0, "before it is dropped");
    site.take();
    let expired = site.private().expire(site.now(), 10_000);
    assert_eq!(expired.peers, 1);
    assert_eq!(site.counts(), (0, 1));
    site.check_counts(1, 0, 0);
    assert_eq!(site.private().totals().seeders, 0);
    let batch = site.take();
    assert_eq!((batch.torrents[0].seeders, batch.torrents[0].leechers), (0, 1));
    let row = only_peer(&batch);
    assert!(!row.active);
    assert_eq!((row.key.member, row.uploaded, row.at_secs), (MemberId(1), 7, START_SECS));
    assert_eq!(row.address, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(row.user_agent, "", "what was written stays");
    assert_eq!(site.private().expire(site.now(), 10_000).peers, 0);
}

#[test]
fn address_that_is_no_longer_announced_is_forgotten() {
    let mut site = Site::default();
    site.announce(ask(1).left(0));
    site.announce(ask(1).left(0).at("2001:db8::1", 6881));
    site.wait(7000);
    site.announce(ask(1).left(0).at("2001:db8::1", 6881));
    site.wait(1000);
    assert_eq!(site.private().expire(site.now(), 10_000).peers, 0);
    site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!((site.worker.peers.v4.len(), site.worker.peers.v6.len()), (0, 1));
}

#[test]
fn expire_goes_on_where_it_ended() {
    let mut site = Site::default();
    for number in 0..200_u8 {
        let info_hash = InfoHash([number; 20]);
        let id = TorrentId(1000 + u32::from(number));
        site.private().put_torrent(Torrent { id, info_hash, ..torrent() });
        site.announce(Ask { info_hash, ..ask(1) });
        site.announce(Ask { info_hash, ..ask(2) });
    }
    site.wait(7201);
    let (mut peers, mut calls) = (0, 0);
    while peers < 400 {
        let expired = site.private().expire(site.now(), 20).peers;
        assert!(expired <= 23, "no more than was asked for, to the torrent");
        peers += expired;
        calls += 1;
        assert!(calls < 1000);
    }
    site.check_counts(1, 0, 0);
    site.check_counts(2, 0, 0);
}
