//! The announce and the scrape, after the parser and before the writer: the same for every
//! protocol.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use peerage_proto::{Event, Family, InfoHash, PeerId};
use peerage_swarm::{
    self as swarm, Change, Counts, Effect, Limits, News, Now, PeerIds, Peers, Rng, Role, Stored,
    Swarms, Want,
};

use crate::lock::{Mutex, lock};
use crate::private::{MemberWorker, Private};
use crate::samples::Picker;
use crate::share::{self, Outbox, Share, Told};
use crate::{Breath, Counters, Kind, LoadAverages, Protocol, Refusal, Rules, Sample, Tally, Why};

/// An announce over any protocol.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// As the client says.
    pub peer_id: PeerId,
    /// The peer's address, canonical: the source of the packet, or what a trusted proxy says.
    pub address: IpAddr,
    /// The port it listens on; 0 where it does not say. Such a client is handed peers but is none.
    pub port: u16,
    /// Bytes missing; `None` where the client does not say, which makes it a leecher.
    pub left: Option<u64>,
    /// Why it announces.
    pub event: Event,
    /// Peers wanted, `None` where the client leaves it to us.
    pub numwant: Option<u32>,
    /// Which families the reply can hold.
    pub families: Families,
}

/// An announce that is granted and not yet answered.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    key: swarm::SwarmKey,
    announce: swarm::Announce,
}

/// When an announce is answered that other nodes know more about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    AtOnce,
    /// What other nodes are asked about is left.
    Patiently,
    /// It was left before, and counted.
    Late,
}

/// Which families a reply can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// The family of the client's address: UDP.
    Own,
    /// Both: HTTP. Peers of the client's own family come first, the other fills up.
    Both,
}

/// What is told to a client whose announce was granted. The peers are beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Announce again after this many seconds.
    pub interval_secs: u32,
    /// Do not announce again before.
    pub min_interval_secs: u32,
    /// Of the swarm, the client itself included.
    pub counts: Counts,
    /// Something the user should know although the announce was granted.
    pub warning: Option<Warning>,
}

/// Something the user should know although the announce was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The tracker, or the swarm, is full: this peer is not stored. In open mode it was handed
    /// peers all the same.
    NotStored,
    /// A member has so many peers at a torrent that this one is not stored. It is handed nobody.
    TooManyPeers,
    /// A member downloads as much as it may: this peer is stored but handed nobody, and to nobody.
    NoSlot,
    /// The peer has announced a moment ago: it is handed nobody.
    Early,
}

impl Warning {
    /// What the client is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotStored => "this tracker is full: others will not find you here",
            Self::TooManyPeers => {
                "too many of your clients are at this torrent: this one is not counted"
            }
            Self::NoSlot => "you download as much as you may at once: finish or stop one first",
            Self::Early => "you announce too often: peers come with the next announce in time",
        }
    }
}

/// The swarms and the rules in force, shared by all workers.
pub struct Tracker {
    swarms: Swarms,
    rules: Mutex<Arc<Rules>>,
    /// Raised with each change of `rules`, so that a worker sees without the lock that its copy is
    /// old.
    rules_version: AtomicU64,
    breath: Mutex<Breath>,
    interval_secs: AtomicU32,
    timeout: Mutex<Timeout>,
    counters: Mutex<Vec<Arc<Counters>>>,
    /// Members alone are answered where it is there.
    private: Option<Private>,
    /// `None` where this node is alone.
    share: Option<Arc<Share>>,
}

/// The peer timeout that is wanted.
struct Timeout {
    wanted: Duration,
    /// Since when it has been shorter than the one in force.
    shorter_since: Option<Now>,
}

/// What each worker owns: its random generator, its counters, its copy of the rules, its buffer of
/// peers.
pub struct Worker {
    /// For drawing peers and jitter.
    pub rng: Rng,
    /// This worker's alone to write.
    pub counters: Arc<Counters>,
    /// As of the last [`Tracker::refresh`].
    pub rules: Arc<Rules>,
    rules_version: u64,
    picker: Picker,
    /// The peers of the announce being answered.
    pub peers: Peers,
    /// Whether the announce just answered was the first to its swarm, and other nodes are being
    /// asked for peers: to announce the same again in a few milliseconds brings them.
    pub awaited: bool,
    /// `None` where this node is alone.
    outbox: Option<Arc<Outbox>>,
    /// In private mode.
    pub(crate) members: Option<Box<MemberWorker>>,
}

impl Tracker {
    /// An empty tracker. `key` is secret and random.
    pub fn new(key: [u8; 16], limits: Limits, peer_ids: PeerIds, rules: Rules) -> Self {
        let breath = Breath::new(rules.interval);
        let timeout = Timeout { wanted: limits.peer_timeout, shorter_since: None };
        Self {
            timeout: Mutex::new(timeout),
            swarms: Swarms::new(key, limits, peer_ids),
            rules: Mutex::new(Arc::new(rules)),
            rules_version: AtomicU64::new(0),
            interval_secs: AtomicU32::new(breath.current_secs()),
            breath: Mutex::new(breath),
            counters: Mutex::default(),
            private: None,
            share: None,
        }
    }

    /// The same tracker for members alone: private mode.
    pub fn with_members(self, private: Private) -> Self {
        Self { private: Some(private), ..self }
    }

    /// Members and torrents, in private mode.
    pub fn private(&self) -> Option<&Private> {
        self.private.as_ref()
    }

    /// Shares the swarms with other nodes, by way of `share`. Before the first worker is made.
    pub fn share_by(&mut self, share: Arc<Share>) {
        self.keep_elsewhere(share.timing());
        self.share = Some(share);
    }

    /// Follows a change of the intervals, where swarms are shared.
    pub fn set_share_timing(&self, timing: share::Timing) {
        if let Some(share) = &self.share {
            self.keep_elsewhere(share.set_timing(timing));
        }
    }

    /// A peer of another node is kept until its swarm is next told of or asked about, by a walk
    /// that may be late.
    fn keep_elsewhere(&self, timing: share::Timing) {
        self.swarms.keep_elsewhere(timing.refresh + timing.lateness());
    }

    /// Drops peers whose time is up in the next part of the store, and tells other nodes: see
    /// [`Swarms::expire`].
    pub fn expire(&self, now: Now, parts: u32, pause: impl FnMut()) -> swarm::Expired {
        let expired = self.swarms.expire(now, parts, pause);
        if let Some(share) = &self.share {
            share.depart(&expired.departed);
        }
        expired
    }

    /// What is shared with other nodes; `None` where this node is alone.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.share.as_ref()
    }

    /// What a new worker needs. Its counters stay with the tracker after the worker has ended.
    pub fn worker(&self, seed: u64) -> Worker {
        let counters = Arc::<Counters>::default();
        lock(&self.counters).push(Arc::clone(&counters));
        let rules_version = self.rules_version.load(Ordering::Acquire);
        let rules = self.rules();
        let rng = Rng::from_seed(seed);
        Worker {
            rng,
            counters,
            rules,
            rules_version,
            picker: Picker::new(),
            peers: Peers::default(),
            awaited: false,
            outbox: self.share.as_ref().map(|share| share.outbox()),
            members: self.private.as_ref().map(|private| Box::new(private.worker())),
        }
    }

    /// Brings a worker's copy of the rules up to date; to be called once a batch. Without a lock
    /// while nothing has changed.
    pub fn refresh(&self, worker: &mut Worker) {
        let version = self.rules_version.load(Ordering::Acquire);
        if version != worker.rules_version {
            worker.rules_version = version;
            worker.rules = self.rules();
        }
        worker.picker.follow(&worker.counters.samples);
        if let Some((private, members)) = self.private.as_ref().zip(worker.members.as_mut()) {
            private.refresh(members);
        }
    }

    /// The swarms.
    pub fn swarms(&self) -> &Swarms {
        &self.swarms
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.rules))
    }

    /// Takes `rules` into force; each worker follows with its next batch. Swarms that are no longer
    /// allowed stay until [`Tracker::purge`].
    pub fn set_rules(&self, rules: Rules) {
        let mut breath = lock(&self.breath);
        breath.set_limits(rules.interval);
        self.interval_secs.store(breath.current_secs(), Ordering::Relaxed);
        drop(breath);
        *lock(&self.rules) = Arc::new(rules);
        self.rules_version.fetch_add(1, Ordering::Release);
    }

    /// Drops the swarms that the access list in force does not allow.
    pub fn purge(&self) -> swarm::Expired {
        let rules = self.rules();
        self.swarms.retain(|info_hash| rules.access.allows(info_hash))
    }

    /// Drops those of these swarms that the access list in force does not allow.
    pub fn purge_these(&self, info_hashes: &[InfoHash]) -> swarm::Expired {
        let rules = self.rules();
        let mut expired = swarm::Expired::default();
        for info_hash in info_hashes.iter().filter(|hash| !rules.access.allows(hash)) {
            let dropped = self.swarms.remove(info_hash);
            expired.swarms += dropped.swarms;
            expired.peers += dropped.peers;
        }
        expired
    }

    /// Lets the interval follow the load; to be called about once a second.
    pub fn breathe(&self, now: Now, load: LoadAverages) {
        let mut breath = lock(&self.breath);
        breath.advance(now, load);
        self.interval_secs.store(breath.current_secs(), Ordering::Relaxed);
    }

    /// Takes another peer timeout into force. A longer one at once; a shorter one by
    /// [`Tracker::settle`], when all who were promised the longer one have come back or gone.
    pub fn set_peer_timeout(&self, wanted: Duration) {
        let mut timeout = lock(&self.timeout);
        *timeout = Timeout { wanted, shorter_since: None };
        if self.swarms.peer_timeout() < wanted {
            self.enforce_peer_timeout(wanted);
        }
    }

    /// The members' swarms go by the same.
    fn enforce_peer_timeout(&self, peer_timeout: Duration) {
        self.swarms.set_peer_timeout(peer_timeout);
        if let Some(private) = &self.private {
            private.change_terms(|terms| terms.peer_timeout = peer_timeout);
        }
    }

    /// Takes a shorter peer timeout into force when its time has come; to be called about once a
    /// second.
    pub fn settle(&self, now: Now) {
        let mut timeout = lock(&self.timeout);
        let current = self.swarms.peer_timeout();
        if current <= timeout.wanted {
            return;
        }
        let since = *timeout.shorter_since.get_or_insert(now);
        if current < now.since(since) {
            self.enforce_peer_timeout(timeout.wanted);
        }
    }

    /// The interval in force and where it is going, in seconds, without jitter.
    pub fn interval_secs(&self) -> (u32, u32) {
        let breath = lock(&self.breath);
        (breath.current_secs(), breath.goal_secs())
    }

    /// Why the interval is what it is, at a load that is not always known.
    pub fn interval_why(&self, load: Option<LoadAverages>) -> Why {
        lock(&self.breath).why(load)
    }

    /// The counters of all workers, past and present.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        lock(&self.counters).iter().for_each(|counters| tally.add(counters));
        tally
    }

    /// Takes the samples out that the workers have picked since the last time, and asks for about
    /// `wanted` of each worker until the next. By one thread alone, a few times a second.
    pub fn drain_samples(&self, wanted: u32, mut visit: impl FnMut(Sample)) {
        for counters in lock(&self.counters).iter() {
            counters.samples.drain(counters.announces(), wanted, &mut visit);
        }
    }

    /// Announces, leaving the peers to hand out in `worker.peers`.
    pub fn announce(
        &self,
        now: Now,
        worker: &mut Worker,
        announce: &Announce,
    ) -> Result<Announced, Refusal> {
        let prepared = self.prepare(worker, announce)?;
        self.finish(now, worker, &prepared)
    }

    /// The first of three steps of an announce, of which each is taken for a whole batch before the
    /// next: decides whether it is granted, and starts to fetch the memory its swarm is found by.
    pub fn prepare(&self, worker: &mut Worker, announce: &Announce) -> Result<Prepared, Refusal> {
        let rules = &worker.rules;
        if !rules.access.allows(&announce.info_hash) {
            return Err(Refusal::NotListed);
        }
        let numwant =
            announce.numwant.unwrap_or(rules.numwant_default).min(rules.peers_per_response_max);
        let announce = swarm::Announce {
            info_hash: announce.info_hash,
            address: announce.address,
            port: announce.port,
            peer_id: announce.peer_id,
            change: announce.change(),
            want: match announce.families {
                Families::Own => Want::Own(numwant),
                Families::Both => Want::Both(numwant),
            },
            seeds: [worker.rng.next_u64(), worker.rng.next_u64()],
        };
        let key = self.swarms.key(&announce.info_hash);
        self.swarms.prefetch(key);
        Ok(Prepared { key, announce })
    }

    /// The second step, which may be left out: starts to fetch the peers it will touch.
    pub fn look_ahead(&self, prepared: &Prepared) {
        self.swarms.prefetch_peers(prepared.key, &prepared.announce);
    }

    /// The last step, leaving the peers to hand out in `worker.peers`.
    pub fn finish(
        &self,
        now: Now,
        worker: &mut Worker,
        prepared: &Prepared,
    ) -> Result<Announced, Refusal> {
        let swarms = &self.swarms;
        let (counts, stored, effect) =
            swarms.announce_with_effect(now, prepared.key, &prepared.announce, &mut worker.peers);
        if worker.outbox.is_some() {
            self.tell(now, worker, prepared, &effect);
        }
        let warning = match stored {
            Stored::AsAsked => None,
            Stored::AddressFull => return Err(Refusal::AddressFull),
            Stored::Full | Stored::SwarmFull => {
                worker.counters.not_stored.add(1);
                Some(Warning::NotStored)
            }
        };
        Ok(self.told(worker, counts, warning))
    }

    /// What a client is told by the rules in force.
    pub(crate) fn told(
        &self,
        worker: &mut Worker,
        counts: Counts,
        warning: Option<Warning>,
    ) -> Announced {
        let interval_secs = self.interval_secs.load(Ordering::Relaxed);
        let jitter_secs = worker.rules.jitter_secs.min(interval_secs / 4);
        Announced {
            interval_secs: interval_secs + worker.rng.below(jitter_secs + 1),
            min_interval_secs: worker.rules.min_interval_secs.min(interval_secs),
            counts,
            warning,
        }
    }

    /// Tells other nodes what an announce has changed; nothing where it was only seen again.
    fn tell(&self, now: Now, worker: &mut Worker, prepared: &Prepared, effect: &Effect) {
        worker.awaited = false;
        let kind = match effect.news {
            News::Nothing => return,
            News::Joined | News::Changed => share::Kind::News,
            News::Left => share::Kind::Left,
        };
        let announce = &prepared.announce;
        let role = match announce.change {
            Change::Here { role, .. } | Change::Absent { role } => role,
            Change::Gone => effect.before.unwrap_or(Role::Leecher),
        };
        let (Some(share), Some(outbox)) = (&self.share, &worker.outbox) else { return };
        let info_hash = announce.info_hash;
        // Expected before it is told, or the answer might come before it is.
        worker.awaited = effect.first && share.expect(info_hash);
        outbox.push(Told {
            info_hash,
            peer: SocketAddr::new(announce.address, announce.port),
            role,
            before: effect.before,
            elsewhere: effect.elsewhere,
            seen: now,
            kind,
            finished: effect.finished,
            first: effect.first,
        });
        if worker.awaited {
            share.wake();
        }
    }

    /// The counts of a swarm: zeros for one that is not known or not allowed. libtorrent and
    /// rTorrent take a missing entry for an error, so there always is one.
    pub fn scrape(&self, worker: &Worker, info_hash: &InfoHash) -> Counts {
        if worker.rules.access.allows(info_hash) {
            self.swarms.scrape(info_hash)
        } else {
            Counts::default()
        }
    }
}

impl Worker {
    /// Counts an announce that could be read, whether or not it is then refused, and may pick it
    /// for a sample.
    pub(crate) fn count_announce(&mut self, protocol: Protocol, address: IpAddr, peer_id: &PeerId) {
        self.counters.request(protocol, Family::of(address), Kind::Announce);
        self.sample(protocol, address, peer_id);
    }

    /// May pick an announce that has been counted for a sample.
    pub(crate) fn sample(&mut self, protocol: Protocol, address: IpAddr, peer_id: &PeerId) {
        self.picker.see(&self.counters.samples, protocol, address, peer_id);
    }
}

impl Announce {
    /// What the announce changes in its swarm. `left` alone decides who is a seeder.
    fn change(&self) -> Change {
        let role = if self.left == Some(0) { Role::Seeder } else { Role::Leecher };
        match self.event {
            Event::Stopped => Change::Gone,
            _ if self.port == 0 => Change::Absent { role },
            event => Change::Here {
                role,
                completed: event == Event::Completed,
                paused: event == Event::Paused,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn longer_timeout_holds_at_once_and_a_shorter_one_when_the_longer_has_passed() {
        let secs = Duration::from_secs;
        let limits = Limits { peer_timeout: secs(1000), ..Limits::default() };
        let tracker = Tracker::new([7; 16], limits, PeerIds::Dropped, Rules::default());
        let start = Now::from_millis(1_800_000_000_000);
        tracker.set_peer_timeout(secs(2000));
        assert_eq!(tracker.swarms().peer_timeout(), secs(2000));
        tracker.set_peer_timeout(secs(500));
        for (after_secs, timeout_secs) in [(0, 2000), (1999, 2000), (2001, 500), (9000, 500)] {
            tracker.settle(start + secs(after_secs));
            assert_eq!(tracker.swarms().peer_timeout(), secs(timeout_secs), "{after_secs}");
        }
    }
}
