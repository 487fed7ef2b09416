//! A private tracker's part of the loop: what is told of its peers, and what comes back.
//!
//! One trip at a time: what a claim is worth depends on the answer to the one before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peerage_tracker::private::Private;
use peerage_tracker::private::nodes::{Answer, Tell, news};
use redis::{RedisError, Value};
use tokio::task::JoinSet;
use tracing::warn;

use super::news::UNSENT_MAX;
use super::{Carrier, Flushed, Now};
use crate::records::{self, Common};
use crate::status::Status;
use crate::trip::hex;

/// Most swarms in one pipeline. Others follow at once.
const SWARMS_MAX: usize = 2000;

/// How often it is logged at most that claims were let go.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The script and its name.
pub(super) struct Members {
    script: String,
    script_hash: String,
    /// Whether Redis was found before: what it knew then may be lost.
    was_found: bool,
    /// Claims that had been let go when that was last logged, and when.
    let_go: u64,
    logged: Option<Instant>,
}

/// What came back of the masters: what was told, and the replies.
type Trip = (usize, Vec<Tell>, Result<Vec<Value>, RedisError>);

impl Default for Members {
    fn default() -> Self {
        let script = records::script();
        let script_hash = redis::Script::new(&script).get_hash().to_owned();
        Self { script, script_hash, was_found: false, let_go: 0, logged: None }
    }
}

impl<N: Fn() -> Now> Carrier<N> {
    /// Connections are new.
    pub(super) fn members_found(&mut self) {
        let Some(private) = self.node.tracker.private() else { return };
        match std::mem::replace(&mut self.members.was_found, true) {
            true => private.remind((self.now)()),
            false => private.ask_again(),
        }
    }

    /// Messages are heard again.
    pub(super) fn members_subscribed(&self) {
        if let Some(private) = self.node.tracker.private() {
            private.ask_again();
        }
    }

    /// Says that claims were let go.
    pub(super) fn complain_of_claims(&mut self) {
        let Some(private) = self.node.tracker.private() else { return };
        let let_go = private.waiting().dropped;
        let members = &mut self.members;
        if let_go != members.let_go && members.logged.is_none_or(|at| LOG_EVERY <= at.elapsed()) {
            warn!(
                "shared: too much waits for Redis: {} announces are not told to the other nodes; \
                 the next of each peer makes up for it",
                let_go - members.let_go
            );
            (members.let_go, members.logged) = (let_go, Some(Instant::now()));
        }
    }

    /// Tells what there is to tell: updates of a site, peers with members and without.
    pub(super) async fn flush_all(&mut self) -> Flushed {
        let flushed = [self.pass_on().await, self.flush().await, self.flush_members().await];
        match flushed.contains(&Flushed::MoreWaits) {
            true => Flushed::MoreWaits,
            false => Flushed::All,
        }
    }

    /// Tells what there is to tell of members' peers, and takes in what comes back.
    pub(super) async fn flush_members(&mut self) -> Flushed {
        let tracker = self.node.tracker.clone();
        let Some(private) = tracker.private().filter(|private| private.node().is_some()) else {
            return Flushed::All;
        };
        let connected = self.places.masters.iter().any(|master| master.connection.is_some());
        if !connected || Instant::now() < self.paused_until {
            return Flushed::All;
        }
        let (now, ahead_millis) = ((self.now)(), self.share.clock_ahead_millis());
        let told = private.outgoing(now, ahead_millis, SWARMS_MAX);
        let count = told.len();
        let mut trips = JoinSet::new();
        for (number, told) in self.split_members(told) {
            let connection =
                number.and_then(|number| self.places.masters[number].connection.clone());
            let (Some(number), Some(mut connection)) = (number, connection) else {
                private.put_back(told);
                continue;
            };
            let mut pipe = redis::pipe();
            // A master that has not the script yet gets it; to others it costs nothing much.
            pipe.cmd("SCRIPT").arg("LOAD").arg(&self.members.script);
            let common = self.common(private);
            for tell in &told {
                pipe.add_command(common.command(tell));
            }
            let status = Arc::clone(&self.node.status);
            Status::add(&status.bytes_out, pipe.get_packed_pipeline().len() as u64);
            trips.spawn(async move {
                let started = Instant::now();
                let replies = connection.send_packed_commands(&pipe, 0, told.len() + 1).await;
                if replies.is_ok() {
                    let took = started.elapsed().as_micros() as u64;
                    status.trip_micros.store(took, Ordering::Relaxed);
                }
                (number, told, replies)
            });
        }
        let (mut all_told, mut news) = (true, Vec::new());
        while let Some(trip) = trips.join_next().await {
            let Ok(trip) = trip else { continue };
            let (is_told, swarms) = self.end_members_trip(private, trip);
            all_told &= is_told;
            news.extend(swarms);
        }
        self.unsent.extend(news::write(self.share.options().node, &news));
        // What finds no room comes when the swarm is next asked about.
        self.unsent.truncate(UNSENT_MAX);
        match count >= SWARMS_MAX && all_told {
            true => Flushed::MoreWaits,
            false => Flushed::All,
        }
    }

    fn common(&self, private: &Private) -> Common<'_> {
        Common {
            prefix: &self.node.prefix,
            script_hash: &self.members.script_hash,
            node: self.share.options().node,
            sample: private.sample(),
            peer_timeout: private.terms().peer_timeout,
            gone_for: private.ask_every() * 2,
            now_secs: self.share.shared_secs((self.now)()),
        }
    }

    /// What goes to each master.
    fn split_members(&self, told: Vec<Tell>) -> Vec<(Option<usize>, Vec<Tell>)> {
        let mut parts: Vec<(Option<usize>, Vec<Tell>)> = Vec::new();
        for tell in told {
            let number = self.places.of(&hex(&tell.info_hash));
            match parts.iter_mut().find(|(other, _)| *other == number) {
                Some((_, part)) => part.push(tell),
                None => parts.push((number, vec![tell])),
            }
        }
        parts
    }

    /// `None` where Redis has not done what it was told; what is to be done then is begun.
    fn member_answer(&mut self, number: usize, reply: &Value) -> Option<Answer> {
        if let Value::ServerError(error) = reply {
            Status::add(&self.node.status.refused, 1);
            self.refused(number, error.code(), error.details().unwrap_or_default());
        }
        records::answer(reply)
    }

    /// Says whether everything was told, and what other nodes are to hear of.
    fn end_members_trip(
        &mut self,
        private: &Private,
        (number, told, replies): Trip,
    ) -> (bool, Vec<peerage_proto::InfoHash>) {
        let status = Arc::clone(&self.node.status);
        let answers: Vec<Option<Answer>> = match replies {
            Ok(replies) => {
                status.saw((self.now)().as_millis());
                Status::add(&status.trips, 1);
                let of_tells = replies.iter().skip(1);
                of_tells.map(|reply| self.member_answer(number, reply)).collect()
            }
            Err(_) => {
                Status::add(&status.failures, 1);
                self.drop_master(number);
                Vec::new()
            }
        };
        let answered = answers.iter().flatten().count();
        let all_told = answered == told.len();
        Status::add(&status.swarms, answered as u64);
        let claims: usize = told.iter().map(|tell| tell.claims.len()).sum();
        status.peers.fetch_add(claims as u64, Ordering::Relaxed);
        let ahead_millis = self.share.clock_ahead_millis();
        (all_told, private.apply((self.now)(), ahead_millis, told, answers))
    }
}
