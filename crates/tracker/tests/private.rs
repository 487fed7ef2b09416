//! The rules of private mode, driven with an invented clock: what each announce is told, what it
//! is worth, and what is written.

use std::net::IpAddr;
use std::time::Duration;

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::{
    Announce, Batch, Client, Clients, DeleteReason, Loaded, Member, MemberId, Passkey, PeerRow,
    Pricing, Private, Snatch, Terms, Token, TokenUse, Torrent, TorrentId,
};
use peerage_tracker::{
    Announced, Families, Limits, Now, PeerIds, Refusal, Rules, Tracker, Warning, Worker,
};

const START_SECS: u64 = 1_800_000_000;
const HASH: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");
const TORRENT: TorrentId = TorrentId(77);

fn passkey(member: u32) -> Passkey {
    Passkey::parse(format!("{member:032}").as_bytes()).expect("32 digits")
}

fn member(id: u32) -> Member {
    Member {
        id: MemberId(id),
        passkey: passkey(id),
        can_leech: true,
        protected: false,
        free_leech: false,
        double_upload: false,
        download_slots: None,
    }
}

fn torrent() -> Torrent {
    Torrent {
        id: TORRENT,
        info_hash: HASH,
        pricing: Pricing::Normal,
        double_upload: false,
        completed: 10,
        balance: 1000,
    }
}

/// A tracker with members 1 to 9 and one torrent, and one worker.
struct Site {
    tracker: Tracker,
    worker: Worker,
    now_secs: u64,
}

/// An announce of a member's client, to be changed field by field.
#[derive(Clone, Copy)]
struct Ask {
    member: u32,
    peer_id: [u8; 20],
    info_hash: InfoHash,
    address: &'static str,
    port: u16,
    moved: (u64, u64),
    corrupt: Option<u64>,
    left: Option<u64>,
    event: Event,
    numwant: u32,
}

fn ask(member: u32) -> Ask {
    Ask {
        member,
        peer_id: [b'p'; 20],
        info_hash: HASH,
        address: "192.0.2.1",
        port: 6881,
        moved: (0, 0),
        corrupt: None,
        left: Some(100),
        event: Event::None,
        numwant: 50,
    }
}

impl Ask {
    fn moved(self, uploaded: u64, downloaded: u64) -> Self {
        Self { moved: (uploaded, downloaded), ..self }
    }

    fn left(self, left: u64) -> Self {
        Self { left: Some(left), ..self }
    }

    fn event(self, event: Event) -> Self {
        Self { event, ..self }
    }

    fn client(self, byte: u8) -> Self {
        Self { peer_id: [byte; 20], ..self }
    }

    fn at(self, address: &'static str, port: u16) -> Self {
        Self { address, port, ..self }
    }
}

impl Site {
    fn new(terms: Terms) -> Self {
        let private = Private::new([5; 16], Terms { early_secs: 0, ..terms });
        (1..10).for_each(|id| private.put_member(member(id)));
        private.put_torrent(torrent());
        let rules = Rules { jitter_secs: 0, ..Rules::default() };
        let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, rules);
        let tracker = tracker.with_members(private);
        let worker = tracker.worker(1);
        Self { tracker, worker, now_secs: START_SECS }
    }

    fn default() -> Self {
        Self::new(Terms::default())
    }

    fn private(&self) -> &Private {
        self.tracker.private().expect("it is private")
    }

    fn now(&self) -> Now {
        Now::from_millis(self.now_secs * 1000)
    }

    fn wait(&mut self, secs: u64) {
        self.now_secs += secs;
    }

    fn change_terms(&mut self, change: impl FnOnce(&mut Terms)) {
        self.private().change_terms(change);
        self.tracker.refresh(&mut self.worker);
    }

    fn try_announce(&mut self, ask: Ask) -> Result<Announced, Refusal> {
        let key = passkey(ask.member);
        self.announce_as(&key.0, ask)
    }

    fn announce_as(&mut self, key: &[u8], ask: Ask) -> Result<Announced, Refusal> {
        let announce = Announce {
            announce: peerage_tracker::Announce {
                info_hash: ask.info_hash,
                peer_id: PeerId(ask.peer_id),
                address: ask.address.parse().expect("an address"),
                port: ask.port,
                left: ask.left,
                event: ask.event,
                numwant: Some(ask.numwant),
                families: Families::Both,
            },
            uploaded: ask.moved.0,
            downloaded: ask.moved.1,
            corrupt: ask.corrupt,
            user_agent: b"Transmission/4.0.6",
        };
        let now = self.now();
        let told = self.tracker.announce_member(now, &mut self.worker, key, &announce);
        told.map_err(|refused| refused.refusal)
    }

    #[track_caller]
    fn announce(&mut self, ask: Ask) -> Announced {
        self.try_announce(ask).expect("a member may")
    }

    /// Peers that the last announce was handed.
    fn handed(&self) -> usize {
        self.worker.peers.v4.len() + self.worker.peers.v6.len()
    }

    fn take(&self) -> Batch {
        let batch = self.private().ledger().take_batch(1000);
        assert!(self.private().ledger().is_empty());
        batch
    }

    /// Takes the batch, and says what it credits: uploaded and downloaded, by member.
    fn credit(&self) -> Vec<(u32, u64, u64)> {
        let rows = self.take().members.into_iter();
        let mut rows: Vec<_> =
            rows.map(|row| (row.member.0, row.uploaded, row.downloaded)).collect();
        rows.sort_unstable();
        rows
    }

    fn counts(&self) -> (usize, usize) {
        let state = self.private().torrent(&HASH).expect("it is registered");
        (state.seeding.len(), state.leeching.len())
    }

    #[track_caller]
    fn check_counts(&self, member: u32, seeding: u32, leeching: u32) {
        let state = self.private().member_by_id(MemberId(member)).expect("a member");
        assert_eq!((state.seeding, state.leeching), (seeding, leeching), "of member {member}");
    }
}

fn only_peer(batch: &Batch) -> &PeerRow {
    let [row] = &batch.peers[..] else { panic!("one peer: {batch:?}") };
    assert!(batch.visits.is_empty());
    row
}

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
fn each_way_to_count_anew_sets_a_baseline_and_credits_nothing() {
    // What the second announce says, and what it credits.
    let cases = [
        (ask(1).moved(900, 1500), None),
        (ask(1).moved(1500, 900), None),
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
    type Change = fn(&mut Site);
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
    let cases: [(&[Change], (u64, u64, u64)); 22] = [
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
fn full_ledger_leaves_out_visits_and_owes_rows_but_never_credit() {
    let mut site = Site::new(Terms { ledger_rows_max: 0, ..Terms::default() });
    site.announce(ask(1));
    let batch = site.take();
    assert_eq!((batch.peers.len(), batch.torrents.len()), (0, 1));
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0).event(Event::Completed));
    let batch = site.take();
    assert_eq!((batch.peers.len(), batch.members.len(), batch.snatches.len()), (0, 1, 1));
    site.change_terms(|terms| terms.ledger_rows_max = 1000);
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0));
    let batch = site.take();
    assert_eq!(only_peer(&batch).remaining, 0, "what was owed is written with the next");
    assert_eq!(only_peer(&batch).completed_at_secs, Some(START_SECS + 60));
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0));
    assert_eq!(site.take().visits.len(), 1);
}

#[test]
fn ledger_tells_how_much_waits_and_how_long() {
    let mut site = Site::default();
    let ledger = |site: &Site| {
        let ledger = site.private().ledger();
        (ledger.len(), ledger.oldest(site.now()))
    };
    assert_eq!(ledger(&site), (0, None));
    site.announce(ask(1));
    site.wait(30);
    site.announce(ask(1).moved(10, 0).left(0).event(Event::Completed));
    site.wait(5);
    assert_eq!(ledger(&site), (4, Some(Duration::from_secs(35))));
    let queued = site.private().ledger().queued();
    assert_eq!((queued.members, queued.torrents, queued.peers), (1, 1, 1));
    assert_eq!((queued.snatches, queued.visits, queued.tokens), (1, 0, 0));
    let batch = site.private().ledger().take_batch(100);
    assert_eq!(ledger(&site), (0, None));
    site.wait(10);
    site.private().ledger().put_back(batch.clone());
    assert_eq!(ledger(&site), (4, Some(Duration::from_secs(45))));
    assert_eq!(site.take(), batch);
    for rows_max in 1..6 {
        site.private().ledger().put_back(batch.clone());
        let mut rows = 0;
        loop {
            let part = site.private().ledger().take_batch(rows_max);
            assert!(part.rows() <= rows_max);
            rows += part.rows();
            if part.rows() < rows_max {
                break;
            }
        }
        assert_eq!((rows, ledger(&site).0), (4, 0));
    }
}

#[test]
fn row_put_back_merges_with_what_came_meanwhile() {
    let mut site = Site::default();
    let token = Token { member: MemberId(1), torrent: TORRENT };
    site.private().add_token(token);
    site.announce(ask(1));
    site.wait(10);
    site.announce(ask(1).moved(100, 50).left(60));
    let failed = site.take();
    site.wait(10);
    // Seen again, so the row that comes back is written with the later time and no speed.
    site.announce(ask(1).moved(100, 50).left(60));
    site.private().ledger().put_back(failed.clone());
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.announces, row.at_secs, row.upload_speed), (3, START_SECS + 20, 0));
    assert_eq!((row.uploaded, row.remaining), (100, 60));
    assert_eq!(batch.members, failed.members);
    // Moved on, so the newer row stays and the differences add up.
    site.wait(10);
    site.announce(ask(1).moved(130, 70).left(0).event(Event::Completed));
    site.private().ledger().put_back(batch);
    site.wait(10);
    site.announce(ask(1).moved(130, 70).left(0));
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.uploaded, row.remaining, row.announces), (130, 0, 5));
    assert_eq!((batch.members[0].uploaded, batch.members[0].downloaded), (130, 0));
    assert_eq!((batch.torrents[0].balance_delta, batch.torrents[0].completed), (60, 1));
    assert_eq!(batch.token_uses, [TokenUse { token, downloaded: 70 }]);
    assert_eq!(batch.expired_tokens, [token]);
    assert_eq!(batch.snatches.len(), 1);
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
