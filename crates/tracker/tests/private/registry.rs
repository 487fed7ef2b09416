//! Members, torrents and tokens that come, go and change while announces run.

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::{
    Announce, Client, Clients, DeleteReason, Loaded, MemberId, Passkey, Pricing, Token, Torrent,
    TorrentId,
};
use peerage_tracker::{Families, Refusal};

use crate::site::{Ask, HASH, START_SECS, Site, TORRENT, ask, member, only_peer, passkey, torrent};

#[test]
fn who_may_not_is_refused_in_order_and_nothing_is_written() {
    let mut site = Site::default();
    site.change_terms(|terms| {
        let allow = Client { prefix: b"-TR4".into(), name: String::new() };
        let deny = Client { prefix: b"-TR400".into(), name: String::new() };
        terms.clients = Clients::new(Some([allow].into()), [deny].into());
    });
    let other = InfoHash([0; 20]);
    let client = |start: &[u8]| {
        let mut peer_id = [b'x'; 20];
        peer_id[..start.len()].copy_from_slice(start);
        peer_id
    };
    let bad = client(b"-XX0");
    let cases = [
        (&b"short"[..], other, bad, Err(Refusal::PasskeyUnknown)),
        (&[b'k'; 32], other, bad, Err(Refusal::PasskeyUnknown)),
        (&passkey(1).0, other, bad, Err(Refusal::Unregistered)),
        (&passkey(1).0, HASH, bad, Err(Refusal::ClientNotAllowed)),
        (&passkey(1).0, HASH, client(b"-TR400-"), Err(Refusal::ClientNotAllowed)),
        (&passkey(1).0, HASH, client(b"-TR4060-"), Ok(())),
    ];
    for (key, info_hash, peer_id, expected) in cases {
        assert!(site.private().ledger().is_empty());
        let told = site.announce_as(key, Ask { info_hash, peer_id, ..ask(1) });
        assert_eq!(told.map(drop), expected);
    }
}

#[test]
fn member_put_out_is_refused_and_its_peers_are_gone() {
    let mut site = Site::default();
    site.announce(ask(1).left(0));
    site.announce(ask(2).at("192.0.2.2", 2));
    site.take();
    assert_eq!(site.private().remove_members(&[passkey(1), passkey(1), passkey(50)]), 1);
    assert_eq!(site.try_announce(ask(1)), Err(Refusal::PasskeyUnknown));
    site.announce(ask(2).at("192.0.2.2", 2));
    assert_eq!((site.handed(), site.counts()), (0, (0, 1)));
    assert_eq!(site.take().torrents[0].seeders, 0);
    assert_eq!(site.private().totals().seeders, 0);
    // Let in again, it begins anew.
    site.private().put_member(member(1));
    site.check_counts(1, 0, 0);
    site.announce(ask(1).moved(1000, 0));
    assert!(site.credit().is_empty());
}

#[test]
fn new_passkey_keeps_the_peers_and_the_old_one_is_refused() {
    let mut site = Site::default();
    let new = Passkey([b'n'; 32]);
    site.announce(ask(1));
    site.take();
    site.wait(60);
    assert!(site.private().change_passkey(&passkey(1), passkey(1)), "the same is no change");
    assert!(site.private().change_passkey(&passkey(1), new));
    assert_eq!(site.try_announce(ask(1)), Err(Refusal::PasskeyUnknown));
    site.announce_as(&new.0, ask(1).moved(5, 5)).unwrap();
    assert_eq!(site.credit(), [(1, 5, 5)]);
    site.check_counts(1, 0, 1);
    assert!(!site.private().change_passkey(&passkey(1), passkey(8)));
    // Onto the passkey of another, who is then out.
    assert!(site.private().change_passkey(&new, passkey(2)));
    assert_eq!(site.private().member(&passkey(2)).unwrap().member.id, MemberId(1));
    assert_eq!(site.private().member_by_id(MemberId(2)), None);
    assert_eq!(site.private().totals().members, 8);
}

#[test]
fn deleted_torrent_tells_why_for_a_while() {
    let mut site = Site::default();
    site.private().add_token(Token { member: MemberId(1), torrent: TORRENT });
    site.announce(ask(1));
    let now = site.now();
    assert!(site.private().remove_torrent(now, &HASH, DeleteReason(16)));
    assert!(!site.private().remove_torrent(now, &HASH, DeleteReason::NONE));
    let text = |site: &mut Site| {
        let announce = Announce {
            announce: peerage_tracker::Announce {
                info_hash: HASH,
                peer_id: PeerId([0; 20]),
                address: "192.0.2.1".parse().unwrap(),
                port: 1,
                left: None,
                event: Event::None,
                numwant: None,
                families: Families::Own,
            },
            uploaded: 0,
            downloaded: 0,
            corrupt: None,
            user_agent: b"",
        };
        let now = site.now();
        let key = passkey(1);
        let told = site.tracker.announce_member(now, &mut site.worker, &key.0, &announce);
        told.map(drop).map_err(|refused| (refused.refusal, refused.text))
    };
    let expected = Err((Refusal::Unregistered, "Unregistered torrent: Transcode"));
    assert_eq!(text(&mut site), expected);
    site.check_counts(1, 0, 0);
    assert!(site.take().torrents.is_empty(), "a torrent that is gone has no row");
    site.wait(24 * 3600);
    for _ in 0..2000 {
        assert_eq!(site.private().expire(site.now(), 1).peers, 0);
    }
    assert_eq!(text(&mut site), Err((Refusal::Unregistered, "Unregistered torrent")));
    site.private().put_torrent(torrent());
    assert_eq!(text(&mut site), Ok(()));
    assert!(site.private().torrent(&HASH).unwrap().tokens.is_empty());
    assert_eq!(DeleteReason::NONE.text(), "Unregistered torrent");
    assert_eq!(DeleteReason(0).text(), "Unregistered torrent: Dupe");
    assert_eq!(DeleteReason(24).text(), "Unregistered torrent: Checksum Trump");
    assert_eq!(DeleteReason(25).text(), "Unregistered torrent");
}

#[test]
fn torrent_known_by_its_number_or_its_info_hash_keeps_what_was_counted() {
    let mut site = Site::default();
    site.announce(ask(1));
    site.announce(ask(1).left(0).event(Event::Completed));
    // The row as the database had it before.
    site.private().put_torrent(Torrent { pricing: Pricing::Free, ..torrent() });
    let state = site.private().torrent(&HASH).unwrap();
    assert_eq!((state.torrent.completed, state.torrent.pricing), (11, Pricing::Free));
    assert_eq!(site.counts(), (1, 0));
    // Another number: the same peers.
    site.private().put_torrent(Torrent { id: TorrentId(78), ..torrent() });
    assert_eq!(site.private().torrent(&HASH).unwrap().torrent.id, TorrentId(78));
    assert_eq!((site.counts(), site.private().totals().torrents), ((1, 0), 1));
    // Another info_hash: other peers.
    let other = InfoHash([9; 20]);
    site.private().put_torrent(Torrent { id: TorrentId(78), info_hash: other, ..torrent() });
    assert_eq!(site.try_announce(ask(1)), Err(Refusal::Unregistered));
    site.check_counts(1, 0, 0);
    let told = site.announce(Ask { info_hash: other, ..ask(1) });
    assert_eq!((told.counts.seeders, told.counts.leechers), (0, 1));
}

#[test]
fn reload_keeps_what_stays_and_drops_what_goes() {
    let mut site = Site::default();
    let other = InfoHash([9; 20]);
    site.private().put_torrent(Torrent { id: TorrentId(5), info_hash: other, ..torrent() });
    for id in [1, 2] {
        site.announce(ask(id));
        site.announce(Ask { info_hash: other, ..ask(id) });
    }
    site.private().add_token(Token { member: MemberId(1), torrent: TORRENT });
    site.take();
    site.private().begin_reload();
    // While the database is read: a member that it does not have yet, one that it still has, a
    // torrent that it still has.
    site.private().put_member(member(60));
    site.private().remove_members(&[passkey(3)]);
    site.private().add_token(Token { member: MemberId(2), torrent: TORRENT });
    let loaded = Loaded {
        members: [member(1), member(3), member(50)].into(),
        torrents: [Torrent { pricing: Pricing::Free, completed: 3, ..torrent() }].into(),
        tokens: [Token { member: MemberId(50), torrent: TORRENT }].into(),
        allowed_clients: Some(Vec::new()),
        denied_clients: Vec::new(),
    };
    site.private().replace(loaded).unwrap();
    let here = |id| site.private().member_by_id(MemberId(id)).is_some();
    assert_eq!([1, 2, 3, 50, 60].map(here), [true, false, false, true, true]);
    assert_eq!(site.private().totals().members, 3);
    let state = site.private().torrent(&HASH).unwrap();
    assert_eq!((state.torrent.completed, state.torrent.pricing), (10, Pricing::Free));
    assert_eq!(state.leeching, [MemberId(1)]);
    let mut tokens = state.tokens;
    tokens.sort_unstable();
    assert_eq!(tokens, [MemberId(2), MemberId(50)]);
    assert!(site.private().torrent(&other).is_none());
    site.check_counts(1, 0, 1);
    assert_eq!(site.private().totals().leechers, 1);
    site.tracker.refresh(&mut site.worker);
    assert_eq!(site.try_announce(ask(1)), Err(Refusal::ClientNotAllowed), "an empty list");
    // Without a reload that has begun, nothing is made again.
    site.private().replace(Loaded::default()).unwrap();
    assert_eq!(site.private().totals(), Default::default());
}

#[test]
fn peers_come_back_after_a_restart_with_their_baselines() {
    let mut site = Site::default();
    site.announce(ask(1).moved(100, 50));
    site.wait(100);
    site.announce(ask(1).moved(100, 100).left(0).event(Event::Completed));
    site.announce(ask(2).moved(5, 5).at("2001:db8::2", 7));
    site.announce(ask(3).event(Event::Stopped));
    site.private().change_member(&passkey(4), |member| member.protected = true);
    site.announce(ask(4).left(0));
    let rows = site.take().peers;
    assert_eq!(rows.len(), 4);
    let mut after = Site::default();
    after.wait(160);
    assert_eq!(after.private().restore_peers(after.now(), rows.clone()), 3);
    assert_eq!(after.private().restore_peers(after.now(), rows.clone()), 0, "they are here");
    assert_eq!(after.counts(), (2, 1));
    after.check_counts(1, 1, 0);
    let [row] = after.take().torrents[..] else { panic!("one torrent") };
    assert_eq!((row.seeders, row.leechers, row.completed), (2, 1, 0));
    after.announce(ask(9).at("192.0.2.9", 9));
    assert_eq!(after.handed(), 2, "but the one whose address was not written");
    after.announce(ask(1).moved(160, 100).left(0));
    after.announce(ask(2).moved(6, 7).at("2001:db8::2", 7));
    assert_eq!(after.credit(), [(1, 60, 0), (2, 1, 2)]);
    after.announce(ask(1).moved(161, 100).left(0));
    let batch = after.take();
    let row = only_peer(&batch);
    assert_eq!((row.announces, row.timespent_secs, row.seedtime_secs), (4, 160, 60));
    assert_eq!(row.completed_at_secs, Some(START_SECS + 100));
    let mut late = Site::default();
    late.wait(100 + 7200);
    assert_eq!(late.private().restore_peers(late.now(), rows), 0);
}

#[test]
fn peer_that_comes_back_without_a_port_is_handed_out_from_its_next_announce_on() {
    let mut site = Site::default();
    site.announce(ask(1).moved(100, 50));
    site.announce(ask(2).left(0).at("2001:db8::2", 7));
    let mut rows = site.take().peers;
    // As a Gazelle site's tables have them.
    rows.iter_mut().for_each(|row| row.port = 0);
    let mut after = Site::default();
    assert_eq!(after.private().restore_peers(after.now(), rows), 2);
    assert_eq!(after.counts(), (1, 1));
    after.announce(ask(9).at("192.0.2.9", 9));
    assert_eq!(after.handed(), 0, "nobody listens at port 0");
    after.announce(ask(1).moved(150, 60));
    assert_eq!(after.credit(), [(1, 50, 10)], "its counters were known");
    after.announce(ask(8).at("192.0.2.8", 8));
    assert_eq!(after.handed(), 2, "the one before, and the one that is back");
}

#[test]
fn snatch_from_before_a_restart_does_not_count_again() {
    let mut site = Site::default();
    site.private().restore_snatch(MemberId(1), TORRENT);
    for member in [1, 2] {
        site.announce(ask(member));
        site.announce(ask(member).moved(0, 100).left(0).event(Event::Completed));
    }
    let batch = site.take();
    let snatched: Vec<_> = batch.snatches.iter().map(|row| row.member).collect();
    assert_eq!(snatched, [MemberId(2)]);
    assert_eq!(batch.torrents[0].completed, 1);
}

#[test]
fn traced_is_kept_and_told() {
    let site = Site::default();
    assert!(site.private().trace_member(&passkey(1), true));
    assert!(!site.private().trace_member(&passkey(50), true));
    assert!(site.private().member(&passkey(1)).unwrap().traced);
    assert!(site.private().change_member(&passkey(1), |member| member.can_leech = false));
    assert!(site.private().member(&passkey(1)).unwrap().traced);
}
