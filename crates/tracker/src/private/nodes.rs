//! Nodes of a private tracker that share their swarms: what one tells, and what it learns.
//!
//! Where nodes meet (Redis) there is a [`Record`] of each peer, by member and peer_id. Each
//! announce becomes a claim: what the client counts by now. A claim is told a moment later, and
//! only what the answer says is credited, so that a client may come to any node: what it moved
//! since it was last told, by whichever node, is credited once, by the node that told it.
//!
//! | the record | the claim counts from |
//! |---|---|
//! | there is none | the first announce that was not told; nothing where records may be lost |
//! | another node's, and later than the claim | nothing: the claim is late, the peer is there |
//! | that of what a reminder says, or later | nothing: it is known already |
//! | older than what a reminder says: it was lost since | nothing: as where there is none |
//! | that of a reminder | nothing: nobody knows what was credited since; the next counts again |
//! | this node's, of a session told after the claim's | nothing: nobody knows any more |
//! | this node's, of this very claim: its answer was lost | where it counted from then |
//! | of a session that is over: the client starts | where it starts |
//! | any other | the last reading |
//!
//! Two nodes' claims within [`CLOCKS_DIFFER_MILLIS`] are told apart by what they count and not by
//! when, since clocks differ: the one that counts less is late. One that counts more is late too if
//! the session of the record has begun within that time: it may be of the session before. A session
//! begins where the client says so, and unseen where its counts go back. What is late is not lost
//! while the client announces: its next claim counts from the record.
//!
//! No IO and no clock here, as in [`share`](crate::share): whoever has both calls
//! [`Private::outgoing`], carries, and calls [`Private::apply`]. No announce waits for it. What is
//! not told merges beside its torrent, up to 262,144 peers; beyond that a claim is let go,
//! and the peer's next one makes up for it, since it counts from the record.
//!
//! Peers of other nodes are held in a swarm of their own beside a torrent's, as a sample: the
//! account of a peer is with one node at a time, while it may be handed out by all.

pub(super) mod claim;
pub(super) mod learn;
pub mod news;
mod record;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::Now;

pub use record::{Reading, Record};

use super::peer::Flags;
use super::torrents::{TorrentShard, TorrentSlot};
use super::{MemberId, Private, TORRENT_SHARDS, TorrentId};
use crate::lock::{Mutex, lock};
use claim::Claim;

/// By how much the times of two nodes may differ that are close.
pub const CLOCKS_DIFFER_MILLIS: u64 = 3000;

/// Most peers of one swarm in one tell; others follow in the next.
pub const CLAIMS_PER_TELL_MAX: usize = 200;

/// Most claims in one trip.
const CLAIMS_PER_TRIP_MAX: usize = 4000;

/// Most peers whose claims wait, about 100 MB.
const CLAIMS_MAX: usize = 1 << 18;

/// Most torrents that wait to be asked about one by one. Beyond it they wait for the walk.
const ASKS_MAX: usize = 1 << 18;

/// How long claims wait after the records may have been lost, so that each node can first say where
/// the peers stood that it has: as long as it takes all to find Redis again.
const REMINDING: Duration = Duration::from_secs(5);

/// How a node shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells this node, and this run of it, from all others: random.
    pub node: u64,
    /// Most peers of other nodes that are held of a swarm.
    pub sample: u32,
    /// How often each swarm with peers is asked about, at the start; see
    /// [`Private::set_ask_every`].
    pub refresh: Duration,
}

/// One swarm's part of a trip.
#[derive(Clone, Debug)]
pub struct Tell {
    torrent: TorrentId,
    /// The swarm.
    pub info_hash: InfoHash,
    /// How often it was completed, as far as is known here.
    pub completed: u32,
    /// Whether a sample of its peers is wanted.
    pub sample: bool,
    /// At most [`CLAIMS_PER_TELL_MAX`], and one for a second session; a peer's in their order.
    pub claims: Vec<Told>,
}

/// A claim as it is told.
#[derive(Clone, Debug)]
pub struct Told {
    claim: Claim,
    /// What is to be the record, but for the base.
    pub record: Record,
    /// The first announce that was not told.
    pub first: Reading,
    /// The number under which it was told first.
    pub tried: u64,
    /// When the peer expires, in seconds since 1970.
    pub expires_secs: u64,
}

/// What comes back of a [`Tell`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Of all nodes.
    pub seeders: u32,
    /// Of all nodes.
    pub leechers: u32,
    /// Of all nodes.
    pub completed: u32,
    /// One for each claim.
    pub verdicts: Vec<Verdict>,
    /// Peers by [`PeerName`] with their records; `None` where they were not asked for.
    pub sample: Option<Vec<(PeerName, Record)>>,
    /// Who has stopped of late, with the sample.
    pub gone: Vec<PeerName>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// From where it counts; `None` where it is late.
    pub base: Option<Reading>,
    /// The record before.
    pub before: Option<Record>,
    /// Whether the member completes the torrent for the first time, as far as all nodes know.
    pub is_snatch: bool,
}

/// What a claim is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client has announced.
    GoesOn,
    /// A session of the client begins.
    Starts,
    /// The peer is here: told again where its record may be lost. Nothing where there is one that
    /// is no older.
    Reminds,
}

/// A member and a peer_id, as records are named by: 4 bytes and 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(pub [u8; 24]);

/// What waits to be told, for those who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Claims.
    pub claims: u64,
    /// Torrents that are to be asked about.
    pub asks: u64,
    /// Claims that were let go because too many waited, since the start.
    pub dropped: u64,
    /// Claims that were told and credited nobody since another node knew later ones, since the
    /// start.
    pub late: u64,
    /// Parts of the torrents, of 1024, that are to be told and asked again.
    pub catching_up: u32,
}

/// What of a private tracker is shared, and how far it is.
pub(super) struct Sharing {
    options: Options,
    number: AtomicU64,
    /// Claims that wait.
    claims: AtomicUsize,
    dropped: AtomicU64,
    late: AtomicU64,
    refresh_millis: AtomicU64,
    asks: Mutex<BTreeSet<TorrentId>>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The part from which claims are taken next.
    next: usize,
    /// The part that is walked through next, and when it is due.
    walk: usize,
    due: Option<Now>,
    /// Parts to be walked through as soon as may be.
    catching_up: u32,
    /// How many of them begin with saying where peers stood.
    reminding: u32,
    /// Before it no claim is told.
    claims_from: Option<Now>,
}

/// Whether there is room for one more peer's claim; `None` where nothing is shared.
pub(super) type Room = Option<IsFull>;

/// Whether as many claims wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsFull(pub(super) bool);

impl PeerName {
    fn new(member: MemberId, peer_id: PeerId) -> Self {
        let mut name = [0; 24];
        name[..4].copy_from_slice(&member.0.to_be_bytes());
        name[4..].copy_from_slice(&peer_id.0);
        Self(name)
    }

    /// What it was made of.
    fn parts(&self) -> (MemberId, PeerId) {
        let (member, peer_id) = self.0.split_first_chunk().expect("24 bytes are more than 4");
        let peer_id = peer_id.try_into().expect("24 bytes are 4 and 20");
        (MemberId(u32::from_be_bytes(*member)), PeerId(peer_id))
    }
}

impl Told {
    /// The name of its record.
    pub fn name(&self) -> PeerName {
        PeerName::new(self.claim.peer.member, self.claim.peer.peer_id)
    }

    /// What it is told for.
    pub fn kind(&self) -> Kind {
        match () {
            () if self.claim.is_reminder => Kind::Reminds,
            () if self.claim.starts => Kind::Starts,
            () => Kind::GoesOn,
        }
    }

    /// Whether it waited while records may have been lost: without one it counts nothing.
    pub fn is_doubted(&self) -> bool {
        self.claim.is_doubted
    }

    /// Whether a download was completed.
    pub fn completes(&self) -> bool {
        self.claim.completes.is_some()
    }
}

impl Sharing {
    fn new(options: Options) -> Self {
        let progress = Progress {
            next: 0,
            walk: 0,
            due: None,
            catching_up: TORRENT_SHARDS as u32,
            reminding: 0,
            claims_from: None,
        };
        Self {
            options,
            number: AtomicU64::new(0),
            claims: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            late: AtomicU64::new(0),
            refresh_millis: AtomicU64::new(options.refresh.as_millis() as u64),
            asks: Mutex::default(),
            progress: Mutex::new(progress),
        }
    }

    fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_millis.load(Ordering::Relaxed))
    }

    fn count_claims(&self, before: usize, after: usize) {
        if before != after {
            self.claims.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// A torrent is to be asked about with the next trip.
    fn ask(&self, torrent: TorrentId) {
        let mut asks = lock(&self.asks);
        if asks.len() < ASKS_MAX {
            asks.insert(torrent);
        }
    }
}

impl Private {
    /// Shares the swarms with other nodes. Before the first announce.
    pub fn shared_by(self, options: Options) -> Self {
        Self { sharing: Some(Sharing::new(options)), ..self }
    }

    /// The node's name; `None` where it is alone.
    pub fn node(&self) -> Option<u64> {
        self.sharing.as_ref().map(|sharing| sharing.options.node)
    }

    /// Most peers that are asked for at once; 0 where the node is alone.
    pub fn sample(&self) -> u32 {
        self.sharing.as_ref().map_or(0, |sharing| sharing.options.sample)
    }

    /// How often each swarm with peers is asked about; zero where the node is alone.
    pub fn ask_every(&self) -> Duration {
        self.sharing.as_ref().map_or(Duration::ZERO, Sharing::refresh)
    }

    /// Swarms are asked about so often from now on.
    pub fn set_ask_every(&self, refresh: Duration) {
        if let Some(sharing) = &self.sharing {
            sharing.refresh_millis.store(refresh.as_millis() as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn room_for_claims(&self) -> Room {
        let claims = self.sharing.as_ref()?.claims.load(Ordering::Relaxed);
        Some(IsFull(CLAIMS_MAX <= claims))
    }

    pub(super) fn count_claims(&self, before: usize, after: usize) {
        if let Some(sharing) = &self.sharing {
            sharing.count_claims(before, after);
        }
    }

    pub(super) fn count_late_claims(&self, count: u64) {
        if let Some(sharing) = &self.sharing {
            sharing.late.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn count_dropped_claim(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A torrent is new here: other nodes may have peers of it.
    pub(super) fn ask_about(&self, torrent: TorrentId) {
        if let Some(sharing) = &self.sharing {
            sharing.ask(torrent);
        }
    }

    /// What waits to be told.
    pub fn waiting(&self) -> Waiting {
        let Some(sharing) = &self.sharing else { return Waiting::default() };
        Waiting {
            claims: sharing.claims.load(Ordering::Relaxed) as u64,
            asks: lock(&sharing.asks).len() as u64,
            dropped: sharing.dropped.load(Ordering::Relaxed),
            late: sharing.late.load(Ordering::Relaxed),
            catching_up: lock(&sharing.progress).catching_up,
        }
    }

    /// The records may be lost: where each peer of this node stood is told again before anything
    /// else, for five seconds at least. To be called whenever Redis has been found again, but not
    /// the first time, and after what was not answered has been put back.
    ///
    /// Claims that wait count on records alone from now on: what others have credited meanwhile is
    /// known by nothing else.
    pub fn remind(&self, now: Now) {
        let Some(sharing) = &self.sharing else { return };
        self.torrents.iter().for_each(|mut shard| {
            let before = shard.claims.len();
            shard.claims.doubt();
            sharing.count_claims(before, shard.claims.len());
        });
        let mut progress = lock(&sharing.progress);
        progress.reminding = TORRENT_SHARDS as u32;
        progress.catching_up = TORRENT_SHARDS as u32;
        progress.claims_from = Some(now + REMINDING);
    }

    /// News may be lost: every torrent is asked about again.
    pub fn ask_again(&self) {
        let Some(sharing) = &self.sharing else { return };
        lock(&sharing.progress).catching_up = TORRENT_SHARDS as u32;
    }

    /// Takes in a message of another node; others change nothing.
    pub fn hear(&self, message: &[u8]) {
        let Some(sharing) = &self.sharing else { return };
        let Some(swarms) = news::read(message, sharing.options.node) else { return };
        swarms.filter_map(|info_hash| self.torrent_id(&info_hash)).for_each(|id| sharing.ask(id));
    }

    /// Takes what is to be told and asked, of about `tells_max` swarms: at most as many of claims,
    /// and as many of asks. The clock all nodes share is `ahead_millis` ahead of `now`.
    pub fn outgoing(&self, now: Now, ahead_millis: i64, tells_max: usize) -> Vec<Tell> {
        let Some(sharing) = &self.sharing else { return Vec::new() };
        let mut progress = lock(&sharing.progress);
        let peer_timeout_secs = self.terms().peer_timeout.as_secs();
        let (tells, places) = (Vec::new(), BTreeMap::new());
        let mut trip = Trip { sharing, ahead_millis, peer_timeout_secs, tells, places };
        if progress.reminding == 0 && progress.claims_from.is_none_or(|from| from <= now) {
            self.take_claims(&mut progress, &mut trip, tells_max);
        }
        let asked_max = trip.tells.len() + tells_max;
        while trip.tells.len() < asked_max
            && progress.reminding == 0
            && let Some(id) = lock(&sharing.asks).pop_first()
        {
            let shard = self.torrent_shard(id);
            if let Some(slot) = shard.torrents.find(&id) {
                trip.tell(slot).sample = true;
            }
        }
        self.walk(&mut progress, &mut trip, now, asked_max);
        trip.tells
    }

    fn take_claims(&self, progress: &mut Progress, trip: &mut Trip<'_>, tells_max: usize) {
        if trip.sharing.claims.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut room = CLAIMS_PER_TRIP_MAX;
        for _ in 0..self.torrents.len() {
            if room == 0 || tells_max <= trip.tells.len() {
                return;
            }
            let mut shard = self.torrents.at(progress.next);
            let TorrentShard { torrents, claims, .. } = &mut *shard;
            let before = claims.len();
            let mut too_many = Vec::new();
            while room != 0
                && let Some(of_peer) = claims.pop()
            {
                // Of a torrent that is no longer registered nothing is told.
                let Some(slot) = torrents.find(&of_peer[0].torrent) else { continue };
                let tell = trip.tell(slot);
                if CLAIMS_PER_TELL_MAX <= tell.claims.len() {
                    too_many.push(of_peer);
                    continue;
                }
                room -= 1;
                of_peer.into_iter().for_each(|claim| trip.add(claim));
            }
            let is_done = too_many.is_empty() && room != 0;
            too_many.into_iter().for_each(|claims_left| claims.put_back(claims_left));
            trip.sharing.count_claims(before, claims.len());
            if is_done {
                progress.next = (progress.next + 1) % self.torrents.len();
            } else {
                return;
            }
        }
    }

    /// Goes through the parts that are due, and those to be made up for while there is room.
    fn walk(&self, progress: &mut Progress, trip: &mut Trip<'_>, now: Now, tells_max: usize) {
        let step = trip.sharing.refresh() / TORRENT_SHARDS as u32;
        // A refresh that has become shorter is in force at once.
        let mut due = progress.due.unwrap_or(now).min(now + step);
        for _ in 0..self.torrents.len() {
            if tells_max <= trip.tells.len() || (now < due && progress.catching_up == 0) {
                break;
            }
            if due <= now {
                due = due + step;
            }
            let all = progress.catching_up != 0;
            let shard = self.torrents.at(progress.walk);
            if progress.reminding != 0 {
                trip.remind(&shard, now);
            }
            for slot in shard.torrents.rows() {
                if all || slot.swarm.len() != 0 || slot.others != [0; 2] {
                    trip.tell(slot).sample = true;
                }
            }
            progress.catching_up = progress.catching_up.saturating_sub(1);
            progress.reminding = progress.reminding.saturating_sub(1);
            progress.walk = (progress.walk + 1) % self.torrents.len();
        }
        // What could not be done in time is not made up for in a rush.
        progress.due = Some(due.max(Now::from_millis(now.as_millis().saturating_sub(1000))));
    }

    /// Takes back what was not answered.
    pub fn put_back(&self, tells: Vec<Tell>) {
        let Some(sharing) = &self.sharing else { return };
        for tell in tells {
            if tell.sample {
                sharing.ask(tell.torrent);
            }
            let mut shard = self.torrent_shard(tell.torrent);
            let before = shard.claims.len();
            let mut claims: Vec<Claim> = tell.claims.into_iter().map(|told| told.claim).collect();
            while let Some(first) = claims.first() {
                let key = first.peer.key(first.torrent);
                let rest = claims.iter().position(|claim| claim.peer.key(claim.torrent) != key);
                let later = rest.map_or_else(Vec::new, |rest| claims.split_off(rest));
                shard.claims.put_back(core::mem::replace(&mut claims, later));
            }
            sharing.count_claims(before, shard.claims.len());
        }
    }
}

/// What is put together for one trip.
struct Trip<'a> {
    sharing: &'a Sharing,
    ahead_millis: i64,
    peer_timeout_secs: u64,
    tells: Vec<Tell>,
    /// Where in `tells` each torrent is.
    places: BTreeMap<TorrentId, usize>,
}

impl Trip<'_> {
    /// The part about a torrent.
    fn tell(&mut self, slot: &TorrentSlot) -> &mut Tell {
        let torrent = slot.torrent.id;
        let place = *self.places.entry(torrent).or_insert(self.tells.len());
        if place == self.tells.len() {
            self.tells.push(Tell {
                torrent,
                info_hash: slot.torrent.info_hash,
                completed: slot.torrent.completed,
                sample: false,
                claims: Vec::new(),
            });
        }
        &mut self.tells[place]
    }

    /// Adds a claim to the part about its torrent, which is there.
    fn add(&mut self, mut claim: Claim) {
        // Even or odd by its turn: two sessions of a peer are told apart.
        let number = 2 * (self.sharing.number.fetch_add(1, Ordering::Relaxed) + 1);
        let number = number + u64::from(claim.turn);
        if claim.tried == 0 {
            claim.tried = number;
        }
        let last = Reading::of(&claim.peer, claim.last_millis);
        let record = Record::of(&claim.peer, last, claim.stops, self.ahead_millis);
        let record = Record { node: self.sharing.options.node, number, ..record };
        let place = self.places[&claim.torrent];
        self.tells[place].claims.push(Told {
            first: claim.first.moved(self.ahead_millis),
            tried: claim.tried,
            expires_secs: record.last.at_millis / 1000 + self.peer_timeout_secs,
            record,
            claim,
        });
    }

    /// Says where the peers of one part stood when they were last told.
    fn remind(&mut self, shard: &TorrentShard, now: Now) {
        let oldest_secs = now.as_secs().saturating_sub(self.peer_timeout_secs) as u32;
        for slot in shard.torrents.rows() {
            let id = slot.torrent.id;
            for peer in slot.swarm.peers() {
                let is_told = !shard.claims.waits(&peer.key(id)) && !peer.flags.has(Flags::UNTOLD);
                if oldest_secs <= peer.last_secs() && is_told {
                    self.add_reminder(slot, Claim::reminder(id, peer));
                }
            }
        }
        for reminder in shard.claims.reminders() {
            if let Some(slot) = shard.torrents.find(&reminder.torrent) {
                self.add_reminder(slot, reminder);
            }
        }
    }

    fn add_reminder(&mut self, slot: &TorrentSlot, reminder: Claim) {
        if CLAIMS_PER_TELL_MAX <= self.tell(slot).claims.len() {
            self.places.remove(&reminder.torrent);
            self.tell(slot);
        }
        self.add(reminder);
    }
}
