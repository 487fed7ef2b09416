//! The loop of a node: when a trip leaves, and what happens when none comes back.
//!
//! Nothing that answers announces waits for it. A trip that fails is told again; while Redis is
//! away changes merge in [`Share`], which has bounds. A connection is sought again after waits that
//! grow from a tenth of a second to three, each a quarter shorter or longer at random. Everything
//! is told again where Redis has lost any of it, which is looked at once it has been found.
//!
//! - `news`: what nodes tell each other at once.
//! - `memory`: whether Redis still has what it was told; `pace`: how much it is told at once.
//! - `members`: a private tracker's part of it; `updates`: its site's.

mod members;
mod memory;
mod news;
mod pace;
mod updates;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use peerage_swarm::Now;
use peerage_tracker::share::{Answer, BEAT_EVERY, Changes, Mark, SwarmChanges};
use peerage_tracker::{Share, Tracker};
use redis::{Pipeline, Value};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use crate::beat::{Life, beat};
use crate::calls::{Trip, cut};
use crate::cold::Cold;
use crate::lost::Lost;
use crate::places::Places;
use crate::retry::Retry;
use crate::status::Status;
use crate::tags::tag;
use crate::target::Target;
use crate::trip::{Caller, Layout, Outcome};
use members::Members;
use memory::Memory;
use news::{Subscription, UNSENT_MAX};
use pace::Pace;
use updates::Passing;

pub use updates::{Hear, Site};

/// How often changes leave, and how long a stop may have to wait for the loop.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Where announces wait for swarms, the next pipeline leaves so long after the last: each costs
/// Redis as much as some ten swarms in it do.
const COLD_GAP: Duration = Duration::from_millis(8);

/// How often Redis is asked for the time where no trip has come back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the key of the connection ids is looked at.
const KEY_EVERY: Duration = Duration::from_secs(30);

/// Messages of other nodes that wait. One more is dropped, which is noticed by its number.
const MESSAGES_MAX: usize = 4096;

/// How long Redis is left alone when it would not take what it was told.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// A node and what it needs to share.
pub struct Node {
    /// With a [`Share`].
    pub tracker: Arc<Tracker>,
    /// Where Redis is.
    pub target: Target,
    /// Which keys.
    pub layout: Layout,
    /// What all keys and channels begin with.
    pub prefix: String,
    /// What becomes the key of the connection ids if there is none yet; `None` where the operator
    /// has set one.
    pub key: Option<[u8; 16]>,
    /// Is told the key of the connection ids that all nodes share.
    pub agreed: Box<dyn Fn([u8; 16]) + Send>,
    /// The site that tells of a private tracker's members and torrents, where there is one.
    pub site: Option<Site>,
    /// What is counted.
    pub status: Arc<Status>,
}

/// What the loop holds.
struct Carrier<N> {
    node: Node,
    share: Arc<Share>,
    now: N,
    script: &'static str,
    script_hash: String,
    places: Places,
    /// Whether the masters may be others by now.
    stale: bool,
    finding: Option<JoinHandle<Result<Places, Lost>>>,
    retry: Retry,
    /// Before it nothing is told.
    paused_until: Instant,
    looked: Instant,
    key_looked: Option<Instant>,
    /// By which this node is known in Redis. Nothing is told without.
    number: Option<u16>,
    beaten: Option<Instant>,
    /// When a pipeline last left.
    flushed: tokio::time::Instant,
    /// Messages that wait for the next tick, or to be sent again.
    unsent: Vec<Vec<u8>>,
    subscription: Option<Subscription>,
    /// When to seek a subscription again.
    hear_again: Retry,
    messages: mpsc::Sender<Vec<u8>>,
    /// What is left in Redis with each pipeline, to know it again.
    mark: Mark,
    pace: Pace,
    /// Whether the last thing logged was that Redis cannot be reached.
    complained: bool,
    members: Members,
    passing: Passing,
}

impl Node {
    /// Shares until `is_stopped` says so; looked at several times a second. `now` is the node's
    /// clock. Needs a runtime with time and IO.
    pub async fn run(self, now: impl Fn() -> Now, is_stopped: impl Fn() -> bool) {
        let Some(share) = self.tracker.share().map(Arc::clone) else { return };
        let cold = Arc::<Cold>::default();
        share.wake_for_cold(Waker::from(Arc::clone(&cold)));
        let (sender, mut messages) = mpsc::channel(MESSAGES_MAX);
        let mut carrier = Carrier::new(self, share, now, sender);
        let mut tick = interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !is_stopped() {
            let is_tick = tokio::select! {
                _ = tick.tick() => true,
                () = cold.0.notified() => false,
                Some(message) = messages.recv() => {
                    carrier.hear(&message);
                    continue;
                }
            };
            match is_tick {
                true => carrier.look_around().await,
                false => sleep_until(carrier.flushed + COLD_GAP).await,
            }
            while carrier.flush_all().await == Flushed::MoreWaits && !is_stopped() {
                // However much there is to tell, the others must not take this node for dead.
                carrier.look_around().await;
                carrier.publish().await;
                while let Ok(message) = messages.try_recv() {
                    carrier.hear(&message);
                }
            }
            if is_tick {
                carrier.publish().await;
            }
        }
        carrier.flush_all().await;
        carrier.publish().await;
        carrier.beat(Life::Stops).await;
    }
}

/// What a flush has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flushed {
    /// Nothing that could leave.
    All,
    /// As many swarms again.
    MoreWaits,
}

impl<N: Fn() -> Now> Carrier<N> {
    fn new(node: Node, share: Arc<Share>, now: N, messages: mpsc::Sender<Vec<u8>>) -> Self {
        let script = node.layout.script();
        let script_hash = redis::Script::new(script).get_hash().to_owned();
        let started = Instant::now();
        Self {
            retry: Retry::new(share.options().node),
            hear_again: Retry::new(share.options().node),
            node,
            share,
            now,
            script,
            script_hash,
            places: Places::none(),
            stale: true,
            finding: None,
            paused_until: started,
            looked: started,
            key_looked: None,
            number: None,
            beaten: None,
            flushed: started.into(),
            unsent: Vec::new(),
            subscription: None,
            messages,
            mark: Mark::default(),
            pace: Pace::default(),
            complained: false,
            members: Members::default(),
            passing: Passing::default(),
        }
    }

    /// Seeks masters where some are missing, and looks after the connections there are.
    async fn look_around(&mut self) {
        if self.finding.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(finding) = self.finding.take()
        {
            match finding.await {
                Ok(Ok(places)) => self.found(places).await,
                Ok(Err(lost)) => self.lost(&lost),
                Err(_) => {}
            }
        }
        if (self.stale || !self.places.is_whole()) && self.finding.is_none() && self.retry.is_due()
        {
            let (target, known) = (self.node.target.clone(), self.places.clone());
            let script = self.script;
            self.finding =
                Some(tokio::spawn(async move { Places::find(&target, known, script).await }));
        }
        if self.subscription.as_ref().is_none_or(Subscription::is_lost) && self.hear_again.is_due()
        {
            self.subscribe().await;
        }
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.look().await;
            self.complain_of_claims();
        }
        if self.beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT_EVERY) {
            self.beat(Life::Lives).await;
        }
        let connected =
            self.places.is_whole() && self.subscription.is_some() && self.number.is_some();
        self.node.status.set_connected(connected);
    }

    async fn found(&mut self, places: Places) {
        if places.is_cluster() && self.node.layout == Layout::Llmpt {
            return self.lost(&Lost::Cluster);
        }
        let news = places.masters.iter().any(|master| master.is_new && master.connection.is_some());
        self.places = places;
        self.stale = false;
        if self.places.is_whole() {
            self.retry.succeeded();
            if std::mem::take(&mut self.complained) || news {
                info!("shared: {} masters of {}", self.places.masters.len(), self.node.target);
            }
        } else {
            self.retry.failed();
        }
        if news {
            let made = self.places.masters.iter().filter(|master| master.is_new).count();
            Status::add(&self.node.status.connections, made as u64);
            self.places.masters.iter_mut().for_each(|master| master.is_new = false);
            self.look().await;
            self.agree().await;
            self.beat(Life::Lives).await;
            self.resubscribe_elsewhere();
            match self.recall().await {
                Memory::Whole => {}
                Memory::Lost => self.start_over(),
                // Nothing is told before that is known.
                Memory::Unknown => return self.drop_master(0),
            }
            self.members_found();
            self.share.listen();
        }
    }

    fn start_over(&self) {
        let was_told = self.share.start_over();
        Status::add(&self.node.status.starts_over, u64::from(was_told));
    }

    fn lost(&mut self, lost: &Lost) {
        self.retry.failed();
        self.complain(lost);
    }

    /// Says once what is wrong, until nothing is.
    fn complain(&mut self, lost: &Lost) {
        if !std::mem::replace(&mut self.complained, true) {
            warn!("shared: {}: {lost}; trying on", self.node.target);
        }
    }

    /// Something is wrong with a master: nothing is told to it until it has been found again.
    fn drop_master(&mut self, number: usize) {
        if let Some(master) = self.places.masters.get_mut(number) {
            master.connection = None;
        }
        self.stale = true;
        if self.places.masters.iter().all(|master| master.connection.is_none()) {
            self.share.silence();
            self.node.status.set_connected(false);
        }
    }

    /// Asks each master for the time: whether it answers, and how far its clock is from ours.
    async fn look(&mut self) {
        for number in 0..self.places.masters.len() {
            let Some(mut connection) = self.places.masters[number].connection.clone() else {
                continue;
            };
            let asked = (self.now)();
            let time: Result<(u64, u64), _> = redis::cmd("TIME").query_async(&mut connection).await;
            match time {
                Ok((secs, micros)) if number == 0 => {
                    let now = (self.now)();
                    self.node.status.saw(now.as_millis());
                    let middle = (asked.as_millis() + now.as_millis()) / 2;
                    let ahead = (secs * 1000 + micros / 1000) as i64 - middle as i64;
                    // Small differences are those of the trip.
                    if (ahead - self.share.clock_ahead_millis()).abs() > 250 {
                        self.share.set_clock(ahead);
                    }
                }
                Ok(_) => {}
                Err(_) => self.drop_master(number),
            }
        }
        if self.key_looked.is_none_or(|looked| looked.elapsed() >= KEY_EVERY) {
            self.agree().await;
        }
    }

    /// Sees to it that all nodes use one key for their connection ids: that of whoever was first.
    async fn agree(&mut self) {
        let Some(proposed) = self.node.key else { return };
        let name = format!("{}1:key", self.node.prefix);
        let master = self.places.of(&name).and_then(|number| self.places.masters.get(number));
        let Some(mut connection) = master.and_then(|master| master.connection.clone()) else {
            return;
        };
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(&name).arg(&proposed[..]).arg("NX").ignore();
        pipe.cmd("GET").arg(&name);
        let agreed: Result<(Vec<u8>,), _> = pipe.query_async(&mut connection).await;
        match agreed.map(|(key,)| <[u8; 16]>::try_from(key)) {
            Ok(Ok(key)) => {
                self.key_looked = Some(Instant::now());
                (self.node.agreed)(key);
            }
            Ok(Err(_)) => warn!("shared: {name} is not a key of 16 bytes"),
            // Asked again with the next look.
            Err(_) => {}
        }
    }

    /// Shows that this node lives, and looks whether the others do. Not for others who read what is
    /// told: their scores have no place for a number.
    async fn beat(&mut self, life: Life) {
        if self.node.layout == Layout::Llmpt {
            (self.number, self.beaten) = (Some(0), Some(Instant::now()));
            return self.count_messages().await;
        }
        let name = format!("{}1:nodes", self.node.prefix);
        let master = self.places.of(&name).and_then(|number| self.places.masters.get(number));
        let Some(mut connection) = master.and_then(|master| master.connection.clone()) else {
            return;
        };
        // Where it fails, that is tried again with the next look around.
        let beaten = match beat(&mut connection, &name, self.number, life, &self.share).await {
            Ok(beaten) => beaten,
            Err(error) => return self.lost(&error.into()),
        };
        self.beaten = Some(Instant::now());
        if self.number.is_some() && !beaten.known {
            self.start_over();
        }
        self.number = Some(beaten.number);
        self.share.hear_beats((self.now)(), &beaten.beats);
        self.count_messages().await;
    }

    /// Tells what there is to tell, and takes in what comes back.
    async fn flush(&mut self) -> Flushed {
        let connected = self.places.masters.iter().any(|master| master.connection.is_some());
        if !connected || self.number.is_none() || Instant::now() < self.paused_until {
            self.share.collect();
            return Flushed::All;
        }
        let now = (self.now)();
        let room = self.pace.room(self.places.masters.len());
        let changes = self.share.outgoing(now, self.node.tracker.swarms(), room);
        if changes.swarms.is_empty() {
            return Flushed::All;
        }
        let is_full = room.is_filled_by(&changes);
        let mark = self.marks().then(|| self.mark.leave());
        self.flushed = tokio::time::Instant::now();
        let dead = self.share.dead().iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let mut trips = JoinSet::new();
        for (number, mut changes) in self.split(changes) {
            let connection =
                number.and_then(|number| self.places.masters[number].connection.clone());
            let (Some(number), Some(mut connection)) = (number, connection) else {
                self.share.apply(now, self.node.tracker.swarms(), changes, &[]);
                continue;
            };
            let calls = cut(&mut changes.swarms, |told| {
                self.places.slot(&tag(&told.info_hash).to_string())
            });
            let mut pipe = self.pipeline(&changes.swarms, &calls, &dead);
            let commands = calls.len() + usize::from(mark.is_some());
            if let Some(mark) = mark {
                pipe.add_command(self.leaving(mark));
            }
            Status::add(&self.node.status.bytes_out, pipe.get_packed_pipeline().len() as u64);
            trips.spawn(async move {
                let started = Instant::now();
                let replies = connection.send_packed_commands(&pipe, 0, commands).await;
                let took = started.elapsed();
                (number, Trip { changes, calls, replies, took, mark })
            });
        }
        let (mut all_told, mut longest) = (true, Duration::ZERO);
        while let Some(trip) = trips.join_next().await {
            let Ok((number, trip)) = trip else { continue };
            longest = longest.max(trip.took);
            all_told &= self.end_trip(number, trip);
        }
        self.pace.took(longest, is_full);
        match is_full && all_told {
            true => Flushed::MoreWaits,
            false => Flushed::All,
        }
    }

    /// The changes of each master; of none those that have no place now.
    fn split(&self, changes: Changes) -> Vec<(Option<usize>, Changes)> {
        if !self.places.is_cluster() {
            return vec![(self.places.of(""), changes)];
        }
        let mut parts: Vec<(Option<usize>, Changes)> = Vec::new();
        for swarm in changes.swarms {
            let number = self.places.of(&tag(&swarm.info_hash).to_string());
            match parts.iter_mut().find(|(other, _)| *other == number) {
                Some((_, part)) => part.swarms.push(swarm),
                None => parts.push((number, Changes { swarms: vec![swarm] })),
            }
        }
        parts
    }

    fn pipeline(&self, mut swarms: &[SwarmChanges], calls: &[usize], dead: &str) -> Pipeline {
        let caller = Caller {
            layout: self.node.layout,
            prefix: &self.node.prefix,
            script_hash: &self.script_hash,
            share: &self.share,
            number: self.number.unwrap_or_default(),
            dead,
            now: (self.now)(),
        };
        let mut pipe = redis::pipe();
        for count in calls {
            let (told, rest) = swarms.split_at(*count);
            pipe.add_command(caller.command(told));
            swarms = rest;
        }
        pipe
    }

    /// Says whether everything was told.
    fn end_trip(&mut self, number: usize, trip: Trip) -> bool {
        let Trip { changes, calls, replies, took, mark } = trip;
        let now = (self.now)();
        let status = Arc::clone(&self.node.status);
        let mut answers = Vec::with_capacity(changes.swarms.len());
        match replies {
            Ok(replies) => {
                status.trip_micros.store(took.as_micros() as u64, Ordering::Relaxed);
                status.saw(now.as_millis());
                Status::add(&status.trips, 1);
                self.mark.answered(mark.unwrap_or_default());
                let mut swarms = &changes.swarms[..];
                for (count, reply) in calls.into_iter().zip(replies) {
                    let (told, rest) = swarms.split_at(count);
                    self.take_answers(number, told, reply, &mut answers);
                    swarms = rest;
                }
            }
            Err(_) => {
                Status::add(&status.failures, 1);
                self.drop_master(number);
            }
        }
        let told = changes.swarms.iter().zip(&answers).filter(|(_, answer)| answer.is_some());
        let (swarms, peers) =
            told.fold((0, 0), |(swarms, peers), (told, _)| (swarms + 1, peers + told.peers.len()));
        let all_told = swarms == changes.swarms.len();
        Status::add(&status.swarms, swarms as u64);
        Status::add(&status.peers, peers as u64);
        let messages = self.share.apply(now, self.node.tracker.swarms(), changes, &answers);
        self.unsent.extend(messages);
        // The others notice that what finds no room here is missing.
        self.unsent.truncate(UNSENT_MAX);
        all_told
    }

    /// The answers to one call, `None` where Redis has not done what it was told; what is to be
    /// done then is begun.
    fn take_answers(
        &mut self,
        number: usize,
        told: &[SwarmChanges],
        reply: Value,
        answers: &mut Vec<Option<Answer>>,
    ) {
        let end = answers.len() + told.len();
        match reply {
            Value::ServerError(error) => {
                Status::add(&self.node.status.refused, told.len() as u64);
                self.refused(number, error.code(), error.details().unwrap_or_default());
            }
            reply => {
                let told_as = self.number.unwrap_or_default();
                for outcome in self.node.layout.outcomes(&self.share, told_as, told, reply) {
                    answers.push(match outcome {
                        Outcome::Answered(answer) => Some(answer),
                        Outcome::Refused(code) => {
                            Status::add(&self.node.status.refused, 1);
                            self.refused(number, &code, "");
                            None
                        }
                    });
                }
            }
        }
        answers.resize(end, None);
    }

    fn refused(&mut self, number: usize, code: &str, details: &str) {
        match code {
            "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" => self.stale = true,
            // It is a replica now, or has forgotten the script, or reads its file.
            "READONLY" | "NOSCRIPT" | "LOADING" | "MASTERDOWN" => self.drop_master(number),
            code => {
                if self.paused_until <= Instant::now() {
                    warn!("shared: Redis refuses to be told: {code} {details}");
                }
                self.paused_until = Instant::now() + REFUSED_PAUSE;
                // Nobody should wait for answers that do not come.
                self.share.silence();
            }
        }
    }
}
