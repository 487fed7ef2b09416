//! A store written to bytes and read back: the same swarms, peers and ages in another store.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::{
    Announce, Change, Counts, Damaged, Limits, Now, PeerIds, Peers, Restored, Rng, Role, Swarms,
    Want,
};

const NOW: Now = Now::from_millis(1_800_000_000_000);

fn store(key: u8, peer_ids: PeerIds) -> Swarms {
    Swarms::new([key; 16], Limits::default(), peer_ids)
}

fn hash(swarm: u8) -> InfoHash {
    InfoHash([swarm; 20])
}

fn announce(store: &Swarms, now: Now, swarm: u8, peer: u32, change: Change, want: u32) -> Peers {
    let address = if peer.is_multiple_of(3) {
        IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(peer) << 64))
    } else {
        IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + peer))
    };
    let announce = Announce {
        info_hash: hash(swarm),
        address,
        port: 1000 + (peer % 50_000) as u16,
        peer_id: PeerId([(peer % 251) as u8; 20]),
        change,
        want: Want::Both(want),
        seeds: [u64::from(peer), 7],
    };
    let mut peers = Peers::default();
    store.announce(now, store.key(&announce.info_hash), &announce, &mut peers);
    peers
}

fn here(role: Role, completed: bool, paused: bool) -> Change {
    Change::Here { role, completed, paused }
}

/// Swarms of every size: in the entry, in a block, in a table, in many tables, and an empty one.
fn fill(store: &Swarms) {
    let mut rng = Rng::from_seed(1);
    for (swarm, peers) in [(1, 1), (2, 2), (3, 20), (4, 60), (5, 3000), (6, 60_000)] {
        for peer in 1..=peers {
            let role = if rng.below(3) == 0 { Role::Seeder } else { Role::Leecher };
            let change = here(role, rng.below(5) == 0, rng.below(7) == 0);
            announce(store, NOW, swarm, peer, change, 0);
        }
    }
    announce(store, NOW, 7, 1, here(Role::Leecher, false, false), 0);
    announce(store, NOW, 7, 1, here(Role::Seeder, true, false), 0);
    announce(store, NOW, 7, 1, Change::Gone, 0);
}

fn save(store: &Swarms) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..Swarms::SNAPSHOT_PARTS).for_each(|part| store.save(part, &mut bytes, || {}));
    bytes
}

/// Every peer of a swarm, asked for by a leecher that is none of them and does not stay.
fn all_peers(store: &Swarms, now: Now, swarm: u8) -> BTreeSet<Vec<u8>> {
    let absent = Change::Absent { role: Role::Leecher };
    let peers = announce(store, now, swarm, 4_000_000_000, absent, 1_000_000);
    let ids = |index: usize, ids: &[PeerId]| ids.get(index).map_or([0; 20], |id| id.0);
    let v4 = peers.v4.iter().enumerate();
    let v6 = peers.v6.iter().enumerate();
    v4.map(|(index, peer)| [&peer[..], &ids(index, &peers.ids_v4)].concat())
        .chain(v6.map(|(index, peer)| [&peer[..], &ids(index, &peers.ids_v6)].concat()))
        .collect()
}

fn counts(store: &Swarms) -> Vec<Counts> {
    (1..=7).map(|swarm| store.scrape(&hash(swarm))).collect()
}

#[track_caller]
fn check_round_trip(peer_ids: PeerIds) {
    let (old, new) = (store(1, peer_ids), store(2, peer_ids));
    fill(&old);
    let restored = new.restore(NOW, NOW, &save(&old)).expect("a whole snapshot");
    assert_eq!(restored, Restored { peers: 63_083, left_out: 0 });
    assert_eq!(counts(&new), counts(&old));
    assert_eq!(counts(&new)[6].completed, 1);
    for swarm in 1..=7 {
        assert_eq!(all_peers(&new, NOW, swarm), all_peers(&old, NOW, swarm), "swarm {swarm}");
    }
    let (old, new) = (old.totals(), new.totals());
    assert_eq!((new.swarms, new.completed), (old.swarms, old.completed));
    assert_eq!((new.seeders_v4, new.leechers_v6), (old.seeders_v4, old.leechers_v6));
}

#[test]
fn store_is_read_back_as_it_was_written() {
    check_round_trip(PeerIds::Dropped);
}

#[test]
fn peer_ids_are_read_back_where_they_are_kept() {
    check_round_trip(PeerIds::Kept);
}

#[test]
fn peers_are_as_old_after_a_restart_as_they_would_have_been() {
    let (old, new) = (store(1, PeerIds::Dropped), store(2, PeerIds::Dropped));
    let minutes = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
    let leecher = here(Role::Leecher, false, false);
    announce(&old, NOW, 1, 1, leecher, 0);
    announce(&old, minutes(20), 1, 2, leecher, 0);
    announce(&old, minutes(20), 1, 4, leecher, 0);
    // The timeout is 45 minutes: the first is too old, the others have 19 minutes left.
    let restored = new.restore(minutes(46), minutes(30), &save(&old)).expect("a whole snapshot");
    assert_eq!(restored, Restored { peers: 2, left_out: 1 });
    assert_eq!(all_peers(&new, minutes(64), 1).len(), 2);
    assert_eq!(all_peers(&new, minutes(66), 1).len(), 0);
}

#[test]
fn snapshot_of_yesterday_keeps_only_what_was_completed() {
    let (old, new) = (store(1, PeerIds::Dropped), store(2, PeerIds::Dropped));
    fill(&old);
    let restored = new.restore(NOW + Duration::from_secs(86_400), NOW, &save(&old));
    assert_eq!(restored, Ok(Restored { peers: 0, left_out: 63_083 }));
    let completed = |store| counts(store).iter().map(|counts| counts.completed).collect::<Vec<_>>();
    assert_eq!(completed(&new), completed(&old));
    assert!(counts(&new).iter().all(|counts| counts.peers() == 0));
}

#[test]
fn peers_that_have_announced_since_stay_as_they_are() {
    let (old, new) = (store(1, PeerIds::Dropped), store(2, PeerIds::Dropped));
    announce(&old, NOW, 3, 1, here(Role::Leecher, false, false), 0);
    announce(&new, NOW, 3, 1, here(Role::Seeder, false, false), 0);
    let restored = new.restore(NOW, NOW, &save(&old));
    assert_eq!(restored, Ok(Restored { peers: 0, left_out: 1 }));
    assert_eq!(new.scrape(&hash(3)), Counts { seeders: 1, ..Counts::default() });
}

#[test]
fn bounds_hold_for_what_is_restored() {
    let old = store(1, PeerIds::Dropped);
    fill(&old);
    let limits = Limits { peers_max: 1000, ..Limits::default() };
    let new = Swarms::new([2; 16], limits, PeerIds::Dropped);
    let restored = new.restore(NOW, NOW, &save(&old)).expect("a whole snapshot");
    assert_eq!((restored.peers, restored.left_out), (1000, 62_083));
}

#[test]
fn every_strict_prefix_but_that_of_whole_pieces_is_damaged() {
    let old = store(1, PeerIds::Dropped);
    announce(&old, NOW, 1, 1, here(Role::Leecher, false, false), 0);
    announce(&old, NOW, 1, 3, here(Role::Seeder, false, false), 0);
    let bytes = save(&old);
    assert_eq!(bytes.len(), 36 + 8 + 20);
    for end in 1..bytes.len() {
        let outcome = store(2, PeerIds::Dropped).restore(NOW, NOW, &bytes[..end]);
        assert_eq!(outcome, Err(Damaged), "{end} bytes");
    }
}

#[test]
fn bytes_at_random_are_damaged_or_harmless() {
    let mut rng = Rng::from_seed(3);
    let whole = {
        let old = store(1, PeerIds::Dropped);
        (1..=40).for_each(|peer| {
            announce(&old, NOW, 1, peer, here(Role::Leecher, false, false), 0);
        });
        save(&old)
    };
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u32) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        let new = store(2, PeerIds::Dropped);
        let _ = new.restore(NOW, NOW, &bytes);
        let totals = new.totals();
        let peers = totals.seeders_v4 + totals.seeders_v6 + totals.leechers_v4 + totals.leechers_v6;
        let mut sum = 0;
        new.for_each_in(0, 1, |_, counts| sum += counts.peers());
        assert_eq!(sum, peers);
        new.expire(NOW + Duration::from_secs(7200), 1, || {});
        assert_eq!(new.totals().leechers_v4, 0);
    }
}
