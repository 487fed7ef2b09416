//! Private mode against a naive model: random announces, expiry and batches that fail, after which
//! the sums in a made-up SQL are exactly what the model expects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::{
    Announce, Batch, Member, MemberId, Passkey, PeerKey, Pricing, Private, Terms, Token, Torrent,
    TorrentId,
};
use peerage_tracker::{Families, Limits, Now, PeerIds, Rng, Rules, Tracker, Worker};

const MEMBERS: u32 = 8;
const TORRENTS: u32 = 6;
const CLIENTS: u32 = 3;
const TIMEOUT_SECS: u64 = 7200;

/// What a tracker with all the time in the world would write down.
#[derive(Default)]
struct Model {
    peers: BTreeMap<PeerKey, ModelPeer>,
    credit: BTreeMap<MemberId, (u64, u64)>,
    balance: BTreeMap<TorrentId, i64>,
    snatches: BTreeSet<(MemberId, TorrentId)>,
    on_token: BTreeMap<Token, u64>,
    tokens: BTreeSet<Token>,
    expired_tokens: BTreeSet<Token>,
    /// The last state of each peer that ever was.
    rows: BTreeMap<PeerKey, ModelRow>,
}

#[derive(Clone, Copy)]
struct ModelPeer {
    uploaded: u64,
    downloaded: u64,
    is_seeder: bool,
    announces: u32,
    seen_secs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ModelRow {
    active: bool,
    uploaded: u64,
    downloaded: u64,
    remaining: u64,
    announces: u32,
    at_secs: u64,
}

/// A database that sometimes fails.
#[derive(Default)]
struct Sql {
    credit: BTreeMap<MemberId, (u64, u64)>,
    torrents: BTreeMap<TorrentId, (u32, u32, i64, i64, u32)>,
    snatches: BTreeSet<(MemberId, TorrentId)>,
    on_token: BTreeMap<Token, u64>,
    expired_tokens: BTreeSet<Token>,
    rows: BTreeMap<PeerKey, ModelRow>,
}

impl Sql {
    fn write(&mut self, batch: &Batch) {
        for row in &batch.members {
            let sum = self.credit.entry(row.member).or_default();
            *sum = (sum.0 + row.uploaded, sum.1 + row.downloaded);
        }
        for row in &batch.torrents {
            let sums = self.torrents.entry(row.torrent).or_default();
            *sums = (
                row.seeders,
                row.leechers,
                row.balance,
                sums.3 + row.balance_delta,
                sums.4 + row.completed,
            );
        }
        for row in &batch.peers {
            let row_now = ModelRow {
                active: row.active,
                uploaded: row.uploaded,
                downloaded: row.downloaded,
                remaining: row.remaining,
                announces: row.announces,
                at_secs: row.at_secs,
            };
            self.rows.insert(row.key, row_now);
        }
        for visit in &batch.visits {
            let row = self.rows.get_mut(&visit.key).expect("a visit follows a row");
            (row.announces, row.at_secs) = (visit.announces, visit.at_secs);
        }
        for row in &batch.snatches {
            assert!(self.snatches.insert((row.member, row.torrent)), "once");
        }
        for row in &batch.token_uses {
            *self.on_token.entry(row.token).or_default() += row.downloaded;
        }
        for &token in &batch.expired_tokens {
            assert!(self.expired_tokens.insert(token), "once");
        }
    }
}

fn pricing(torrent: TorrentId) -> Pricing {
    [Pricing::Normal, Pricing::Free, Pricing::Neutral][torrent.0 as usize % 3]
}

struct Trial {
    rng: Rng,
    tracker: Tracker,
    worker: Worker,
    model: Model,
    sql: Sql,
    now_secs: u64,
    /// A batch that is being written while announces go on.
    in_flight: Option<Batch>,
}

fn passkey(member: u32) -> Passkey {
    Passkey::parse(format!("{member:032}").as_bytes()).expect("32 digits")
}

fn info_hash(torrent: u32) -> InfoHash {
    InfoHash([torrent as u8; 20])
}

impl Trial {
    fn new(seed: u64) -> Self {
        let private = Private::new([9; 16], Terms { early_secs: 0, ..Terms::default() });
        let mut model = Model::default();
        for id in 0..MEMBERS {
            private.put_member(Member {
                id: MemberId(id),
                passkey: passkey(id),
                can_leech: id != 7,
                protected: id == 6,
                free_leech: id == 5,
                double_upload: id == 4,
                download_slots: (id == 3).then_some(1),
            });
        }
        for id in 0..TORRENTS {
            private.put_torrent(Torrent {
                id: TorrentId(id),
                info_hash: info_hash(id),
                pricing: pricing(TorrentId(id)),
                double_upload: id == 3,
                completed: 0,
                balance: 0,
            });
            let token = Token { member: MemberId(id), torrent: TorrentId(id) };
            assert!(private.add_token(token));
            model.tokens.insert(token);
        }
        let rules = Rules::default();
        let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, rules);
        let tracker = tracker.with_members(private);
        Self {
            rng: Rng::from_seed(seed),
            worker: tracker.worker(seed),
            tracker,
            model,
            sql: Sql::default(),
            now_secs: 1_800_000_000,
            in_flight: None,
        }
    }

    fn private(&self) -> &Private {
        self.tracker.private().expect("it is private")
    }

    fn now(&self) -> Now {
        Now::from_millis(self.now_secs * 1000)
    }

    fn announce(&mut self) {
        let member = MemberId(self.rng.below(MEMBERS));
        let torrent = TorrentId(self.rng.below(TORRENTS));
        let client = self.rng.below(CLIENTS);
        let mut peer_id = [client as u8; 20];
        peer_id[0] = 0;
        let peer_id = PeerId(peer_id);
        let key = PeerKey { member, torrent, peer_id };
        let before = self.model.peers.get(&key);
        let base = before.map_or((0, 0), |peer| (peer.uploaded, peer.downloaded));
        let uploaded = (base.0 + u64::from(self.rng.below(1000))).saturating_sub(50);
        let downloaded = match self.rng.below(3) {
            0 => base.1,
            _ => (base.1 + u64::from(self.rng.below(1000))).saturating_sub(5),
        };
        let left = if self.rng.below(2) == 0 { 0 } else { 1 + u64::from(self.rng.below(3)) };
        // Of a peer that has left, a second stop is written or not, by whether the first waits.
        let has_left = before.is_none() && self.model.rows.contains_key(&key);
        let event = match self.rng.below(10) {
            0 => Event::Started,
            1 | 2 if !has_left => Event::Stopped,
            3 | 4 => Event::Completed,
            _ => Event::None,
        };
        let host = member.0 * CLIENTS + client;
        let address: IpAddr = match self.rng.below(2) {
            0 => Ipv4Addr::from_bits(0x0a00_0000 + host).into(),
            _ => Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(host)).into(),
        };
        let announce = Announce {
            announce: peerage_tracker::Announce {
                info_hash: info_hash(torrent.0),
                peer_id,
                address,
                port: 6881,
                left: Some(left),
                event,
                numwant: Some(self.rng.below(30)),
                families: Families::Both,
            },
            uploaded,
            downloaded,
            corrupt: None,
            user_agent: b"model",
        };
        let now = self.now();
        let told =
            self.tracker.announce_member(now, &mut self.worker, &passkey(member.0).0, &announce);
        assert_eq!(told.is_err(), member.0 == 7 && left != 0);
        self.model.announce(key, &announce, self.now_secs);
        let handed = self.worker.peers.v4.len() + self.worker.peers.v6.len();
        assert!(handed <= announce.announce.numwant.unwrap_or(0) as usize);
        self.check_counts(torrent);
    }

    /// The counts of a torrent and of all members are those of the model.
    fn check_counts(&self, torrent: TorrentId) {
        let state = self.private().torrent(&info_hash(torrent.0)).expect("it is registered");
        let count = |seeder: bool| {
            let here = self.model.peers.iter().filter(|(key, _)| key.torrent == torrent);
            here.filter(|(_, peer)| peer.is_seeder == seeder).count()
        };
        assert_eq!((state.seeding.len(), state.leeching.len()), (count(true), count(false)));
        for id in 0..MEMBERS {
            let state = self.private().member_by_id(MemberId(id)).expect("a member");
            let own = self.model.peers.iter().filter(|(key, _)| key.member == MemberId(id));
            let seeding = own.clone().filter(|(_, peer)| peer.is_seeder).count();
            let all = (state.seeding as usize, (state.seeding + state.leeching) as usize);
            assert_eq!(all, (seeding, own.count()));
            assert!(state.download_slots_are_kept());
        }
    }

    /// Takes a batch, finishes the one before, or gives it back whole or in part.
    fn flush(&mut self) {
        let Some(mut batch) = self.in_flight.take() else {
            let rows_max = 1 + self.rng.below(60) as usize;
            let batch = self.private().ledger().take_batch(rows_max);
            assert!(batch.rows() <= rows_max);
            self.in_flight = Some(batch);
            return;
        };
        match self.rng.below(3) {
            0 => self.sql.write(&batch),
            1 => self.private().ledger().put_back(batch),
            _ => {
                // One table is written, another fails.
                let failed = Batch {
                    members: batch.members.split_off(batch.members.len() / 2),
                    peers: batch.peers.split_off(batch.peers.len() / 2),
                    visits: core::mem::take(&mut batch.visits),
                    torrents: core::mem::take(&mut batch.torrents),
                    ..Batch::default()
                };
                self.private().ledger().put_back(failed);
                self.sql.write(&batch);
            }
        }
    }

    fn expire(&mut self) {
        let expired = self.private().expire(self.now(), 1_000_000);
        let oldest_secs = self.now_secs - TIMEOUT_SECS;
        let before = self.model.peers.len();
        let Model { peers, rows, .. } = &mut self.model;
        peers.retain(|key, peer| {
            let stays = oldest_secs <= peer.seen_secs;
            if !stays {
                rows.get_mut(key).expect("each peer has a row").active = false;
            }
            stays
        });
        assert_eq!(expired.peers, (before - self.model.peers.len()) as u64);
    }

    fn finish(mut self) {
        if let Some(batch) = self.in_flight.take() {
            self.private().ledger().put_back(batch);
        }
        while !self.private().ledger().is_empty() {
            let batch = self.private().ledger().take_batch(17);
            self.sql.write(&batch);
        }
        let Self { model, sql, .. } = &self;
        assert_eq!(sql.credit, model.credit);
        assert_eq!(sql.snatches, model.snatches);
        assert_eq!(sql.on_token, model.on_token);
        assert_eq!(sql.expired_tokens, model.expired_tokens);
        assert_eq!(sql.rows.len(), model.rows.len());
        for (key, row) in &model.rows {
            assert_eq!(sql.rows.get(key), Some(row), "{key:?}");
        }
        for (&torrent, &(seeders, leechers, balance, sum, completed)) in &sql.torrents {
            let expected = model.balance.get(&torrent).copied().unwrap_or(0);
            assert_eq!((balance, sum), (expected, expected));
            let here = model.peers.iter().filter(|(key, _)| key.torrent == torrent);
            let seeding = here.clone().filter(|(_, peer)| peer.is_seeder).count();
            assert_eq!((seeders as usize, (seeders + leechers) as usize), (seeding, here.count()));
            let snatches = model.snatches.iter().filter(|(_, of)| *of == torrent).count();
            assert_eq!(completed as usize, snatches);
        }
        let totals = self.private().totals();
        assert_eq!((totals.seeders + totals.leechers) as usize, model.peers.len());
    }
}

/// A slot more than there are is never taken.
trait Slots {
    fn download_slots_are_kept(&self) -> bool;
}

impl Slots for peerage_tracker::private::MemberState {
    fn download_slots_are_kept(&self) -> bool {
        let most = self.leeching.min(self.member.download_slots.unwrap_or(u32::MAX));
        self.downloads <= most
    }
}

impl Model {
    fn announce(&mut self, key: PeerKey, announce: &Announce<'_>, now_secs: u64) {
        let PeerKey { member, torrent, .. } = key;
        let peerage_tracker::Announce { left, event, .. } = announce.announce;
        let before = self.peers.remove(&key);
        let is_seeder = left == Some(0);
        let is_first = before.is_none() || event == Event::Started;
        let (mut uploaded, mut downloaded) = (0, 0);
        if let Some(before) = before.filter(|_| !is_first) {
            uploaded = announce.uploaded.saturating_sub(before.uploaded);
            downloaded = announce.downloaded.saturating_sub(before.downloaded);
        }
        self.credit(key, uploaded, downloaded);
        let completes =
            event == Event::Completed && is_seeder && !before.is_some_and(|peer| peer.is_seeder);
        if completes {
            self.snatches.insert((member, torrent));
            let token = Token { member, torrent };
            if (uploaded, downloaded) != (0, 0) && self.tokens.remove(&token) {
                self.expired_tokens.insert(token);
            }
        }
        let announces = before.filter(|_| !is_first).map_or(0, |peer| peer.announces) + 1;
        let stopped = event == Event::Stopped;
        let row = ModelRow {
            active: !stopped,
            uploaded: announce.uploaded,
            downloaded: announce.downloaded,
            remaining: left.unwrap_or(0),
            announces,
            at_secs: now_secs,
        };
        self.rows.insert(key, row);
        if !stopped {
            let peer = ModelPeer {
                uploaded: announce.uploaded,
                downloaded: announce.downloaded,
                is_seeder,
                announces,
                seen_secs: now_secs,
            };
            self.peers.insert(key, peer);
        }
    }

    fn credit(&mut self, key: PeerKey, uploaded: u64, downloaded: u64) {
        let PeerKey { member, torrent, .. } = key;
        if (uploaded, downloaded) == (0, 0) {
            return;
        }
        *self.balance.entry(torrent).or_default() += uploaded as i64 - downloaded as i64;
        let token = Token { member, torrent };
        let has_token = self.tokens.contains(&token);
        if pricing(torrent) == Pricing::Neutral {
            return;
        }
        if has_token && downloaded != 0 {
            *self.on_token.entry(token).or_default() += downloaded;
        }
        let is_double = member.0 == 4 || torrent.0 == 3;
        let is_free = pricing(torrent) == Pricing::Free || member.0 == 5 || has_token;
        let up = if is_double { 2 * uploaded } else { uploaded };
        let down = if is_free { 0 } else { downloaded };
        if (up, down) != (0, 0) {
            let sum = self.credit.entry(member).or_default();
            *sum = (sum.0 + up, sum.1 + down);
        }
    }
}

#[test]
fn sums_in_sql_are_exact_whatever_fails_on_the_way() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut trial = Trial::new(seed);
        for _ in 0..1500 {
            match trial.rng.below(20) {
                0..14 => trial.announce(),
                14..17 => trial.flush(),
                17 | 18 => trial.now_secs += u64::from(trial.rng.below(900)),
                _ => trial.expire(),
            }
        }
        trial.finish();
    }
}
