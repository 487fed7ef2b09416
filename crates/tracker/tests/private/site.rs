//! A private tracker with an invented clock, and an announce to be changed field by field.

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::{
    Announce, Batch, Member, MemberId, Passkey, PeerRow, Pricing, Private, Terms, Torrent,
    TorrentId,
};
use peerage_tracker::{Announced, Families, Limits, Now, PeerIds, Refusal, Rules, Tracker, Worker};

pub(crate) const START_SECS: u64 = 1_800_000_000;
pub(crate) const HASH: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");
pub(crate) const TORRENT: TorrentId = TorrentId(77);

pub(crate) fn passkey(member: u32) -> Passkey {
    Passkey::parse(format!("{member:032}").as_bytes()).expect("32 digits")
}

pub(crate) fn member(id: u32) -> Member {
    Member::new(MemberId(id), passkey(id))
}

pub(crate) fn torrent() -> Torrent {
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
pub(crate) struct Site {
    pub(crate) tracker: Tracker,
    pub(crate) worker: Worker,
    pub(crate) now_secs: u64,
}

/// An announce of a member's client, to be changed field by field.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) member: u32,
    pub(crate) peer_id: [u8; 20],
    pub(crate) info_hash: InfoHash,
    pub(crate) address: &'static str,
    pub(crate) port: u16,
    pub(crate) moved: (u64, u64),
    pub(crate) corrupt: Option<u64>,
    pub(crate) left: Option<u64>,
    pub(crate) event: Event,
    pub(crate) numwant: u32,
}

pub(crate) fn ask(member: u32) -> Ask {
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
    pub(crate) fn moved(self, uploaded: u64, downloaded: u64) -> Self {
        Self { moved: (uploaded, downloaded), ..self }
    }

    pub(crate) fn left(self, left: u64) -> Self {
        Self { left: Some(left), ..self }
    }

    pub(crate) fn event(self, event: Event) -> Self {
        Self { event, ..self }
    }

    pub(crate) fn client(self, byte: u8) -> Self {
        Self { peer_id: [byte; 20], ..self }
    }

    pub(crate) fn at(self, address: &'static str, port: u16) -> Self {
        Self { address, port, ..self }
    }
}

impl Site {
    pub(crate) fn new(terms: Terms) -> Self {
        let private = Private::new([5; 16], Terms { early_secs: 0, ..terms });
        (1..10).for_each(|id| private.put_member(member(id)));
        private.put_torrent(torrent());
        let rules = Rules { jitter_secs: 0, ..Rules::default() };
        let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, rules);
        let tracker = tracker.with_members(private);
        let worker = tracker.worker(1);
        Self { tracker, worker, now_secs: START_SECS }
    }

    pub(crate) fn default() -> Self {
        Self::new(Terms::default())
    }

    pub(crate) fn private(&self) -> &Private {
        self.tracker.private().expect("it is private")
    }

    pub(crate) fn now(&self) -> Now {
        Now::from_millis(self.now_secs * 1000)
    }

    pub(crate) fn wait(&mut self, secs: u64) {
        self.now_secs += secs;
    }

    pub(crate) fn change_terms(&mut self, change: impl FnOnce(&mut Terms)) {
        self.private().change_terms(change);
        self.tracker.refresh(&mut self.worker);
    }

    pub(crate) fn try_announce(&mut self, ask: Ask) -> Result<Announced, Refusal> {
        let key = passkey(ask.member);
        self.announce_as(&key.0, ask)
    }

    pub(crate) fn announce_as(&mut self, key: &[u8], ask: Ask) -> Result<Announced, Refusal> {
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
    pub(crate) fn announce(&mut self, ask: Ask) -> Announced {
        self.try_announce(ask).expect("a member may")
    }

    /// Peers that the last announce was handed.
    pub(crate) fn handed(&self) -> usize {
        self.worker.peers.v4.len() + self.worker.peers.v6.len()
    }

    pub(crate) fn take(&self) -> Batch {
        let batch = self.private().ledger().take_batch(1000);
        assert!(self.private().ledger().is_empty());
        batch
    }

    /// Takes the batch, and says what it credits: uploaded and downloaded, by member.
    pub(crate) fn credit(&self) -> Vec<(u32, u64, u64)> {
        let rows = self.take().members.into_iter();
        let mut rows: Vec<_> =
            rows.map(|row| (row.member.0, row.uploaded, row.downloaded)).collect();
        rows.sort_unstable();
        rows
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.private().torrent(&HASH).expect("it is registered");
        (state.seeding.len(), state.leeching.len())
    }

    #[track_caller]
    pub(crate) fn check_counts(&self, member: u32, seeding: u32, leeching: u32) {
        let state = self.private().member_by_id(MemberId(member)).expect("a member");
        assert_eq!((state.seeding, state.leeching), (seeding, leeching), "of member {member}");
    }
}

pub(crate) fn only_peer(batch: &Batch) -> &PeerRow {
    let [row] = &batch.peers[..] else { panic!("one peer: {batch:?}") };
    assert!(batch.visits.is_empty());
    row
}
