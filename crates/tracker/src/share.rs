//! Shared mode: what is told to other nodes and when, and what becomes of what they tell.
//!
//! Every node answers from its own store. What changes there leaves, merged by swarm and peer, in
//! [`Changes`], each of which is a trip to the place where nodes meet (Redis); what comes back are
//! the counts over all nodes and, where asked for, a sample of the peers. Who joins, changes or
//! leaves is told to the other nodes besides, as [`message`]s. That a peer was seen again is not
//! told by its announce: a walk through the store tells it, once in [`Timing::refresh`]. That a
//! peer's time is up here is told like that it has left.
//!
//! No IO and no clock: whoever has both calls [`Share::outgoing`], carries, and calls
//! [`Share::apply`]. Nothing is ever awaited here.

mod beats;
mod heard;
mod mark;
pub mod message;
mod outbox;
mod queue;
mod timing;
mod walk;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;

use peerage_proto::InfoHash;
use peerage_swarm::{Departed, Elsewhere, Hearsay, Held, Learnt, Now, Others, Role, Swarms};

use crate::lock::{Mutex, lock};
use beats::Beats;
pub use beats::{BEAT_EVERY, LEASE, NodeBeat};
pub use heard::DOUBT_EVERY;
use heard::Heard;
pub use mark::Mark;
use message::{Item, Part};
pub(crate) use outbox::{Outbox, Told};
use queue::Queue;
pub use timing::Timing;
use walk::Walk;

/// How a node shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tells this node, and this run of it, from all others: random.
    pub node: u64,
    /// At the start; see [`Share::set_timing`].
    pub timing: Timing,
    /// Most peers asked for at once of a swarm. A swarm that holds as many here learns no others
    /// one by one.
    pub sample: u32,
}

/// What one trip carries: the changes of some swarms, each swarm once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In no order.
    pub swarms: Vec<SwarmChanges>,
}

/// How much one trip may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Most swarms.
    pub swarms: usize,
    /// Most peers; the swarm with which there are more still goes along.
    pub peers: usize,
}

impl Room {
    /// Whether nothing more finds room beside `changes`.
    pub fn is_filled_by(&self, changes: &Changes) -> bool {
        let peers: usize = changes.swarms.iter().map(|swarm| swarm.peers.len()).sum();
        self.swarms <= changes.swarms.len() || self.peers <= peers
    }
}

/// What is told of one swarm, and asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmChanges {
    /// The swarm.
    pub info_hash: InfoHash,
    /// At most [`PEERS_PER_TRIP_MAX`], each peer once.
    pub peers: Vec<Change>,
    /// How often it was finished here since that was last told.
    pub completed: u32,
    /// How often it was finished, over all nodes, before that: what is known there may be less
    /// after a loss.
    pub completed_floor: u32,
    /// Whether a sample of its peers is wanted.
    pub sample: bool,
    /// Whether what is known there of the swarm is to live on, which is so with every second
    /// telling of peers that were seen again. For those who join it is so without.
    pub renews: bool,
}

/// What is told of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it listens.
    pub peer: SocketAddr,
    /// What it is; for one that has left what it was, as far as is known.
    pub role: Role,
    /// When its client was last heard.
    pub seen: Now,
    /// What became of it.
    pub kind: Kind,
    /// What it was before the first change that is not told yet; `None` where it was not known.
    pub before: Option<Role>,
    /// Whether another node may have the peer among its own, and so has to know.
    pub elsewhere: bool,
}

/// What became of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was seen again, as what it was told to be before.
    Seen,
    /// It has joined, or has become something else.
    News,
    /// It has left.
    Left,
}

/// What comes back of a trip for one swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Of all nodes.
    pub seeders: u32,
    /// Of all nodes.
    pub leechers: u32,
    /// Of all nodes; `None` where it was neither changed nor asked for together with a sample.
    pub completed: Option<u32>,
    /// Whether another node that lives has told of one of these peers too, so that by their number
    /// nothing can be said about who else has peers.
    pub is_shared: bool,
    /// `None` where it was not asked for.
    pub sample: Option<Vec<Sampled>>,
}

/// A peer of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Where it listens.
    pub peer: SocketAddr,
    /// What it is.
    pub role: Role,
    /// When it was last seen, in seconds since 1970 by the clock all nodes share.
    pub seen_secs: u64,
    /// Whether this node was the last to tell of it.
    pub is_own: bool,
}

/// What waits to be told, for those who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Swarms with changes that are not told.
    pub swarms: u64,
    /// Their changes.
    pub changes: u64,
    /// Changes dropped because a bound was reached; the next walk makes up for those of peers that
    /// are still here.
    pub dropped: u64,
    /// Parts of the store that are still to be told as a whole.
    pub catching_up: u32,
    /// Swarms without an answer that announces wait for.
    pub cold: u64,
    /// Messages missed of nodes that were heard before, since the start.
    pub missed: u64,
    /// Nodes that live, this one included; 0 where that is not known.
    pub nodes: u32,
}

/// Most peers of one swarm in one trip; the others follow in the next.
pub const PEERS_PER_TRIP_MAX: usize = 500;

/// Most swarms whose first announce may wait for an answer. Beyond it none waits.
const COLD_MAX: usize = 4096;

/// What was told of a peer so lately may cross with what has become of it since.
const NEWS_AGE: Duration = Duration::from_secs(10);

/// In a swarm of more peers it is not told who joins: who asks there has enough others.
const NEWS_PEERS_MAX: u32 = 2000;

/// What of a node is shared, and how far it is.
pub struct Share {
    options: Options,
    /// The first is that of peers whose time is up.
    outboxes: Mutex<Vec<Arc<Outbox>>>,
    departed: Arc<Outbox>,
    beats: Mutex<Beats>,
    progress: Mutex<Progress>,
    /// Milliseconds by which the clock all nodes share is ahead of this node's.
    ahead_millis: AtomicI64,
    /// Swarms that announces wait for.
    cold: Mutex<BTreeSet<InfoHash>>,
    /// Whether anything is in `cold` that [`Share::outgoing`] has not seen.
    cold_is_new: AtomicBool,
    /// Whether announces should wait at all: not while nobody answers.
    answered: AtomicBool,
    waker: Mutex<Option<Waker>>,
    dropped: AtomicU64,
}

struct Progress {
    queue: Queue,
    walk: Walk,
    /// The swarms of the trips that are on their way, and whether news of them have come since:
    /// their answers may be older than these.
    travelling: BTreeMap<InfoHash, bool>,
    heard: Heard,
    /// Messages made so far.
    messages: u32,
    /// Outboxes are emptied into it, so that their memory is used again.
    drained: Vec<Told>,
}

impl Share {
    /// Nothing is told yet; the first thing will be all that the store holds.
    pub fn new(options: Options) -> Self {
        let walk = Walk::new(Swarms::WALK_PARTS, options.timing);
        let departed = Arc::<Outbox>::default();
        Self {
            options,
            outboxes: Mutex::new(alloc::vec![Arc::clone(&departed)]),
            departed,
            beats: Mutex::default(),
            progress: Mutex::new(Progress {
                queue: Queue::default(),
                walk,
                travelling: BTreeMap::new(),
                heard: Heard::default(),
                messages: 0,
                drained: Vec::new(),
            }),
            ahead_millis: AtomicI64::new(0),
            cold: Mutex::default(),
            cold_is_new: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            waker: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// How the node shares.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// When peers are told and expire, by the intervals in force and those clients were told
    /// before.
    pub fn timing(&self) -> Timing {
        lock(&self.progress).walk.timing()
    }

    /// Follows a change of the intervals. What serves those who were told the older ones stays in
    /// force until the node starts anew. Returns what is in force.
    pub fn set_timing(&self, timing: Timing) -> Timing {
        let walk = &mut lock(&self.progress).walk;
        let timing = walk.timing().with(timing);
        walk.set_timing(timing);
        timing
    }

    /// What a new worker tells its changes to.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        let outbox = Arc::<Outbox>::default();
        lock(&self.outboxes).push(Arc::clone(&outbox));
        outbox
    }

    /// Takes what the workers have to tell, and what is due by the walk, and returns as much of it
    /// as there is room for: what announces wait for first.
    pub fn outgoing(&self, now: Now, swarms: &Swarms, room: Room) -> Changes {
        let mut progress = lock(&self.progress);
        self.collect_into(&mut progress);
        let Progress { queue, walk, travelling, heard, .. } = &mut *progress;
        if heard.is_due(now) {
            walk.doubt();
        }
        if !queue.is_full() {
            let wants_more = queue.has_room(room);
            walk.go_on(now, swarms, wants_more, |walked, reason| {
                queue.walked(walked, reason);
                queue.has_room(room)
            });
        }
        let changes = queue.take(room);
        travelling.extend(changes.swarms.iter().map(|swarm| (swarm.info_hash, false)));
        changes
    }

    /// Takes note of peers of this node whose time is up.
    pub(crate) fn depart(&self, departed: &[Departed]) {
        departed.iter().for_each(|&departed| self.departed.push(Told::departed(departed)));
    }

    /// Takes what the workers have to tell, so that it is merged while nobody listens. To be
    /// called several times a second.
    pub fn collect(&self) {
        self.collect_into(&mut lock(&self.progress));
    }

    fn collect_into(&self, progress: &mut Progress) {
        self.cold_is_new.store(false, Ordering::Relaxed);
        let mut dropped = 0;
        let Progress { queue, walk, drained, .. } = progress;
        for outbox in lock(&self.outboxes).iter() {
            dropped += outbox.drain(drained);
            drained.drain(..).for_each(|told| dropped += queue.tell(&told));
        }
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            walk.start_over();
        }
    }

    /// Takes in what came back: `answers` in the order of `sent`, `None` for a swarm whose trip has
    /// failed, which is told again. Returns what is to be told to the other nodes, in pieces.
    pub fn apply(
        &self,
        now: Now,
        swarms: &Swarms,
        sent: Changes,
        answers: &[Option<Answer>],
    ) -> Vec<Vec<u8>> {
        let mut news = message::Writer::new(self.options.node);
        let mut failed = Changes::default();
        let (mut answered, mut unknown) = (Vec::new(), Vec::new());
        let mut sample = Vec::new();
        self.collect();
        for (index, told) in sent.swarms.into_iter().enumerate() {
            let Some(answer) = answers.get(index).and_then(Option::as_ref) else {
                failed.swarms.push(told);
                continue;
            };
            sample.clear();
            if let Some(peers) = &answer.sample {
                self.take_in(now, swarms, &told.info_hash, peers, &mut sample);
                // One that has left here since the trip began is still in its sample.
                lock(&self.progress).queue.retain_staying(&told.info_hash, &mut sample);
            }
            let held = swarms.learn(
                now,
                &Learnt {
                    info_hash: told.info_hash,
                    seeders: answer.seeders,
                    leechers: answer.leechers,
                    completed: answer.completed.unwrap_or_default(),
                    peers: answer.sample.as_ref().map(|_| &sample[..]),
                },
            );
            let all = answer.seeders.saturating_add(answer.leechers);
            let is_alone = !answer.is_shared && self.is_alone(&told, all, held.own);
            let joins_matter = all <= NEWS_PEERS_MAX && !is_alone;
            self.write_news(&told, joins_matter, answer.completed, &mut news);
            let knows_less = answer.completed.is_some_and(|completed| completed < held.completed);
            if knows_less || answer.sample.is_none() && self.is_in_doubt(&told.info_hash, all, held)
            {
                unknown.push((told.info_hash, held.completed));
            }
            answered.push(told.info_hash);
        }
        let mut progress = lock(&self.progress);
        for (info_hash, completed) in unknown {
            progress.queue.ask_again(info_hash);
            progress.queue.raise_completed(&info_hash, completed);
        }
        for info_hash in answered.iter().chain(failed.swarms.iter().map(|told| &told.info_hash)) {
            if progress.travelling.remove(info_hash) == Some(true) {
                progress.queue.ask_again(*info_hash);
            }
        }
        let messages = news.finish(&mut progress.messages);
        drop(progress);
        self.put_back(failed);
        if !answered.is_empty() {
            self.listen();
            let mut cold = lock(&self.cold);
            answered.iter().for_each(|info_hash| {
                cold.remove(info_hash);
            });
        }
        messages
    }

    /// The peers of a sample that other nodes have, or this one. One that this node has told of and
    /// does not have has left: what told so was lost, by a Redis that came back as it was a while
    /// ago. That is told again.
    fn take_in(
        &self,
        now: Now,
        swarms: &Swarms,
        info_hash: &InfoHash,
        peers: &[Sampled],
        sample: &mut Vec<Elsewhere>,
    ) {
        for peer in peers {
            let said = self.elsewhere(now, peer.peer, peer.role, peer.seen_secs);
            let is_news = now.since(said.seen) < NEWS_AGE;
            if !peer.is_own || is_news || swarms.holds(now, info_hash, said.peer) {
                sample.push(said);
                continue;
            }
            let Elsewhere { peer, role, seen } = said;
            self.departed.push(Told::departed(Departed {
                info_hash: *info_hash,
                peer,
                role,
                seen,
            }));
        }
    }

    /// Whether all peers of a swarm are certainly this node's, so that no other wants news of them.
    fn is_alone(&self, told: &SwarmChanges, all: u32, own: Option<u64>) -> bool {
        if told.peers.iter().any(|change| change.elsewhere) {
            return false;
        }
        let here = told.peers.iter().filter(|change| change.kind != Kind::Left).count();
        if all as usize <= here {
            return true;
        }
        let progress = lock(&self.progress);
        let untold = progress.queue.changes_of(&told.info_hash) as u64;
        let own = own.unwrap_or_default().saturating_sub(untold);
        progress.walk.catching_up() == 0 && u64::from(all) <= own
    }

    /// Whether the counts say what nothing said before: that others have peers in a swarm that was
    /// thought to be this node's alone, or others than those that are held.
    fn is_in_doubt(&self, info_hash: &InfoHash, all: u32, held: Held) -> bool {
        let untold = lock(&self.progress).queue.changes_of(info_hash) as u64;
        match held.others {
            Others::Nobody => held.own.is_some_and(|own| own + untold < u64::from(all)),
            // What is not told yet brings counts of its own.
            Others::Held => !held.agrees && untold == 0,
            Others::Many | Others::More => false,
        }
    }

    fn write_news(
        &self,
        told: &SwarmChanges,
        joins_matter: bool,
        completed: Option<u32>,
        news: &mut message::Writer,
    ) {
        let completed = completed.filter(|_| told.completed > 0);
        for change in &told.peers {
            let what = match change.kind {
                Kind::Seen => continue,
                // Who has left may still be known to a node without clients in the swarm.
                Kind::News if !joins_matter => continue,
                Kind::News => Hearsay::Here { before: change.before },
                Kind::Left => Hearsay::Left,
            };
            let (info_hash, peer, role) = (told.info_hash, change.peer, change.role);
            let seen_secs = self.shared_secs(change.seen);
            news.write(&Item { info_hash, peer, role, seen_secs, what, completed });
        }
    }

    /// Takes in a message of another node. Those of this node, and of a form that is not known
    /// here, change nothing.
    pub fn hear(&self, now: Now, swarms: &Swarms, message: &[u8]) {
        let Some((from, parts)) = message::read(message, self.options.node) else { return };
        for part in parts {
            let item = match part {
                Part::Item(item) => item,
                Part::Number(number) => {
                    lock(&self.progress).heard.note(from, number);
                    continue;
                }
            };
            let Item { info_hash, peer, role, seen_secs, what, completed } = item;
            let said = self.elsewhere(now, peer, role, seen_secs);
            let sample = self.options.sample.into();
            let is_in_doubt = swarms.hear(now, &info_hash, &said, what, sample);
            if let Some(completed) = completed {
                swarms.learn_completed(&info_hash, completed);
            }
            let mut progress = lock(&self.progress);
            if let Some(overtaken) = progress.travelling.get_mut(&info_hash) {
                *overtaken = true;
            } else if is_in_doubt {
                progress.queue.ask_again(info_hash);
            }
            progress.queue.forget(&info_hash, peer, said.seen);
        }
    }

    /// Takes back what could not be told. What has changed since is left as it is.
    pub fn put_back(&self, changes: Changes) {
        if changes.swarms.is_empty() {
            return;
        }
        let mut progress = lock(&self.progress);
        let dropped = progress.queue.put_back(changes);
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            progress.walk.start_over();
        }
    }

    /// What was told may be lost: everything that clients of this node have announced is told
    /// again, and everything about their swarms asked again. To be called where the place where
    /// nodes meet has been found again and no [`Mark`] says that it is as it was. Says whether any
    /// of it was told since the start or the last time.
    pub fn start_over(&self) -> bool {
        lock(&self.progress).walk.start_over()
    }

    /// Messages may have been missed: everything is asked about that other nodes have peers in. To
    /// be called whenever messages are heard again.
    pub fn doubt(&self) {
        lock(&self.progress).walk.doubt();
    }

    /// Somebody answers: announces may wait for it.
    pub fn listen(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Nobody answers: no announce waits until somebody has.
    pub fn silence(&self) {
        self.answered.store(false, Ordering::Relaxed);
        lock(&self.cold).clear();
    }

    /// The clock all nodes share is `ahead_millis` ahead of this node's.
    pub fn set_clock(&self, ahead_millis: i64) {
        self.ahead_millis.store(ahead_millis, Ordering::Relaxed);
    }

    /// By how many milliseconds the clock all nodes share is ahead of this node's.
    pub fn clock_ahead_millis(&self) -> i64 {
        self.ahead_millis.load(Ordering::Relaxed)
    }

    /// The seconds since 1970 by the clock all nodes share.
    pub fn shared_secs(&self, now: Now) -> u64 {
        now.as_millis().saturating_add_signed(self.ahead_millis.load(Ordering::Relaxed)) / 1000
    }

    /// A message for the other nodes that says how many there were, so that they notice if they
    /// have missed one. To be sent with each beat, after all others.
    pub fn count_messages(&self) -> Vec<u8> {
        message::count(self.options.node, lock(&self.progress).messages)
    }

    /// After which a peer has expired of which nothing is told: of all nodes the longest time.
    pub fn expiry(&self) -> Duration {
        self.timing().expiry.max(lock(&self.beats).expiry())
    }

    /// Takes in what all nodes say that beat, this one included: see [`BEAT_EVERY`]. To be called
    /// whenever this node has beaten.
    pub fn hear_beats(&self, now: Now, beats: &[NodeBeat]) {
        let heard = lock(&self.beats).hear(now, beats);
        let walk = &mut lock(&self.progress).walk;
        if heard.was_late {
            walk.start_over();
        }
        if heard.death {
            walk.doubt();
        }
    }

    /// Whether a node lives, as far as is known.
    pub fn lives(&self, number: u16) -> bool {
        lock(&self.beats).lives(number)
    }

    /// The numbers of nodes that have died, 256 at most: the highest.
    pub fn dead(&self) -> Vec<u16> {
        lock(&self.beats).dead()
    }

    fn elsewhere(&self, now: Now, peer: SocketAddr, role: Role, seen_secs: u64) -> Elsewhere {
        let ahead_millis = self.ahead_millis.load(Ordering::Relaxed);
        let seen_millis =
            seen_secs.saturating_mul(1000).saturating_add_signed(ahead_millis.saturating_neg());
        Elsewhere { peer, role, seen: Now::from_millis(seen_millis).min(now) }
    }

    /// Wakes `waker` once an announce waits for a swarm that is not known yet.
    pub fn wake_for_cold(&self, waker: Waker) {
        *lock(&self.waker) = Some(waker);
    }

    /// Whether announces wait for swarms that [`Share::outgoing`] has not returned yet.
    pub fn has_cold(&self) -> bool {
        self.cold_is_new.load(Ordering::Relaxed)
    }

    /// An announce has come first to a swarm. Says whether its reply should wait.
    pub(crate) fn expect(&self, info_hash: InfoHash) -> bool {
        if !self.answered.load(Ordering::Relaxed) {
            return false;
        }
        let mut cold = lock(&self.cold);
        if COLD_MAX <= cold.len() {
            return false;
        }
        cold.insert(info_hash);
        true
    }

    /// Something that is awaited has been told: wakes whoever carries it, once until that one has
    /// looked.
    pub(crate) fn wake(&self) {
        if !self.cold_is_new.swap(true, Ordering::Relaxed)
            && let Some(waker) = lock(&self.waker).as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether the answer about a swarm that is new here is still to come.
    pub fn is_awaited(&self, info_hash: &InfoHash) -> bool {
        lock(&self.cold).contains(info_hash)
    }

    /// What waits to be told.
    pub fn waiting(&self) -> Waiting {
        let progress = lock(&self.progress);
        let (swarms, changes) = (progress.queue.swarms() as u64, progress.queue.changes() as u64);
        let catching_up = progress.walk.catching_up();
        let missed = progress.heard.count();
        drop(progress);
        Waiting {
            swarms,
            changes,
            dropped: self.dropped.load(Ordering::Relaxed),
            catching_up,
            cold: lock(&self.cold).len() as u64,
            missed,
            nodes: lock(&self.beats).living(),
        }
    }
}
