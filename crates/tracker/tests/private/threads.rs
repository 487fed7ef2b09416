//! Announces on some threads while others change the registry, expire, and flush.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::{
    Announce, Batch, DeleteReason, Loaded, MemberId, Token, Torrent, TorrentId,
};
use peerage_tracker::{Families, Now};

use crate::site::{HASH, START_SECS, Site, TORRENT, member, passkey, torrent};

const NOW: Now = Now::from_millis(START_SECS * 1000);
const THREADS: u32 = 3;
const ROUNDS: u64 = 3000;

fn announce(member: u32, moved: u64, event: Event) -> Announce<'static> {
    Announce {
        announce: peerage_tracker::Announce {
            info_hash: HASH,
            peer_id: PeerId([member as u8; 20]),
            address: "192.0.2.1".parse().expect("an address"),
            port: 1000 + member as u16,
            left: Some(moved % 2),
            event,
            numwant: Some(30),
            families: Families::Both,
        },
        uploaded: 2 * moved,
        downloaded: moved,
        corrupt: None,
        user_agent: b"threads",
    }
}

/// Members 1 to 3 announce, each on a thread of its own; the others come and go.
fn announce_all(site: &Site, number: u32) {
    let mut worker = site.tracker.worker(number.into());
    let id = 1 + number;
    for round in 0..ROUNDS {
        site.tracker.refresh(&mut worker);
        let known = announce(id, round, Event::None);
        let told = site.tracker.announce_member(NOW, &mut worker, &passkey(id).0, &known);
        assert!(told.is_ok(), "who stays is never refused: {told:?}");
        // One that may be put out at any moment.
        let other = 5 + number;
        let event = if round % 3 == 0 { Event::Stopped } else { Event::None };
        let passing = announce(other, round, event);
        let _ = site.tracker.announce_member(NOW, &mut worker, &passkey(other).0, &passing);
    }
}

fn change_all(site: &Site, done: &AtomicBool) {
    let private = site.tracker.private().expect("it is private");
    let other = InfoHash([7; 20]);
    let token = Token { member: MemberId(8), torrent: TORRENT };
    while !done.load(Ordering::Relaxed) {
        private.remove_members(&[passkey(5), passkey(6)]);
        private.put_member(member(5));
        private.put_torrent(Torrent { id: TorrentId(9), info_hash: other, ..torrent() });
        private.change_member(&passkey(1), |member| member.protected = !member.protected);
        private.add_token(token);
        private.begin_reload();
        private.put_member(member(6));
        let loaded = Loaded {
            members: (1..10).map(member).collect(),
            torrents: [torrent()].into(),
            ..Loaded::default()
        };
        private.replace(loaded).expect("few changes");
        private.remove_torrent(NOW, &other, DeleteReason::NONE);
        private.remove_token(token);
        private.expire(NOW, 5000);
    }
}

fn flush_all(site: &Site, done: &AtomicBool) -> BTreeMap<u32, (u64, u64)> {
    let ledger = site.tracker.private().expect("it is private").ledger();
    let mut sums = BTreeMap::new();
    let mut write = |batch: &Batch| {
        let members: BTreeSet<_> = batch.members.iter().map(|row| row.member).collect();
        assert_eq!(members.len(), batch.members.len(), "each once: a database joins them so");
        for row in &batch.members {
            let sum: &mut (u64, u64) = sums.entry(row.member.0).or_default();
            *sum = (sum.0 + row.uploaded, sum.1 + row.downloaded);
        }
    };
    let mut round = 0;
    while !done.load(Ordering::Relaxed) {
        let batch = ledger.take_batch(40);
        round += 1;
        match round % 3 {
            0 => ledger.put_back(batch),
            _ => write(&batch),
        }
    }
    while !ledger.is_empty() {
        write(&ledger.take_batch(40));
    }
    sums
}

#[test]
fn credit_and_counts_are_exact_whatever_happens_beside() {
    let site = &Site::default();
    let (announced, changed) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let sums = thread::scope(|scope| {
        let announcing: Vec<_> =
            (0..THREADS).map(|number| scope.spawn(move || announce_all(site, number))).collect();
        let changing = scope.spawn(move || change_all(site, announced));
        let flushing = scope.spawn(move || flush_all(site, changed));
        // All are told to end before any is asked whether it went well.
        let announced_well: Vec<_> = announcing.into_iter().map(ScopedJoinHandle::join).collect();
        announced.store(true, Ordering::Relaxed);
        let changed_well = changing.join();
        changed.store(true, Ordering::Relaxed);
        let sums = flushing.join().expect("no panic");
        announced_well.into_iter().for_each(|ended| ended.expect("no panic"));
        changed_well.expect("no panic");
        sums
    });
    let private = site.tracker.private().expect("it is private");
    for id in 1..=THREADS {
        assert_eq!(sums.get(&id), Some(&(2 * (ROUNDS - 1), ROUNDS - 1)), "of member {id}");
        let state = private.member_by_id(MemberId(id)).expect("it stays");
        assert_eq!(state.seeding + state.leeching, 1);
    }
    let state = private.torrent(&HASH).expect("it stays");
    let totals = private.totals();
    assert_eq!(totals.seeders as usize, state.seeding.len());
    assert_eq!(totals.leechers as usize, state.leeching.len());
    for id in state.seeding.iter().chain(&state.leeching) {
        assert!(private.member_by_id(*id).is_some(), "no peer of nobody");
    }
}
