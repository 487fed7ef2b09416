//! The thread that waits for SQL, so that nobody else has to.
//!
//! What is owed is written every few seconds. A batch that fails goes back and is tried again with
//! growing waits; a row that the database refuses goes to a file. Reloads and checks run beside.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use peerage_sql::{Schema, Store};
use peerage_tracker::private::{Batch, Member, Private, Torrent};
use peerage_tracker::{Now, Tracker};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::accounting::Accounting;
use super::leftovers::Leftovers;
use super::tables::Tables;
use super::{Job, Settings, load, private_of as private};
use crate::clock::Clock;
use crate::gazelle::calls::Calls;
use crate::gazelle::updates::Updates;

/// Rows taken at once: a second of writing, and some 20 MB. They are sorted before they are
/// written, so that of many the neighbours in the database's pages come together.
const BATCH_ROWS_MAX: usize = 50_000;

/// The longest wait between two tries to write.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often it is logged that nothing can be written, while the reason is the same.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How often expired peers are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Torrents and peers looked at each time at least.
const EXPIRE_LOOKS_MIN: u32 = 20_000;

/// How often, in a peer's timeout, rows are looked for whose peers no tracker has, where several
/// share a database; and how long after writing has failed at the soonest.
const SWEEPS_PER_TIMEOUT: u32 = 4;
const SWEEP_PAUSE_MIN: Duration = Duration::from_secs(300);

/// How long the site may be told of used tokens at a stop, and the database take to let us go.
const CALLS_TIME_MAX: Duration = Duration::from_secs(5);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(3);

/// How long the thread may take to end after the last write.
pub(super) const FINISH_TIME_MAX: Duration = Duration::from_secs(10);

/// What the thread has.
pub(super) struct Ledger {
    store: Arc<Store>,
    tracker: Arc<Tracker>,
    around: Around,
    flush_interval: Duration,
    stop_timeout: Duration,
    /// Whether used tokens are the site's to end, over HTTP, and not ours in its tables.
    is_gazelle: bool,
    /// Flushes that failed in a row.
    failures: u32,
    /// When it was last logged that nothing can be written, and why.
    complained: Option<(Instant, peerage_sql::Error)>,
    /// When rows are looked for whose peers no tracker has; `None` where there is one tracker.
    sweep_at: Option<Instant>,
    desk: Desk,
}

/// Where work on the tables is asked for. It is done beside the flushes.
#[derive(Clone)]
struct Desk {
    store: Arc<Store>,
    tracker: Arc<Tracker>,
    updates: Option<Arc<Updates>>,
    clock: Clock,
    tables: Arc<Tables>,
}

/// What else the thread needs.
pub(super) struct Around {
    /// Where used tokens are told, if anywhere.
    pub(super) calls: Option<Arc<Calls>>,
    /// What the site has told, which a reload must not undo.
    pub(super) updates: Option<Arc<Updates>>,
    /// What the database does not take.
    pub(super) leftovers: Leftovers,
    /// The time.
    pub(super) clock: Clock,
    /// What is counted of the writing.
    pub(super) accounting: Arc<Accounting>,
    /// What the API asks for.
    pub(super) tables: Arc<Tables>,
}

/// How the tables and the memory compare.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Check {
    /// Members.
    pub(crate) members: Compared,
    /// Torrents.
    pub(crate) torrents: Compared,
    /// Rows that wait to be written.
    pub(crate) rows_waiting: usize,
    /// How long the oldest waits, in seconds; null where none does.
    #[schema(required)]
    pub(crate) oldest_secs: Option<u64>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Compared {
    /// In memory.
    pub(crate) tracker: u64,
    /// In the tables.
    pub(crate) tables: usize,
    /// In the tables, and not the same in memory.
    pub(crate) differ: usize,
}

impl Ledger {
    pub(super) fn new(
        settings: &Settings,
        store: Arc<Store>,
        tracker: Arc<Tracker>,
        around: Around,
    ) -> Self {
        let desk = Desk {
            store: Arc::clone(&store),
            tracker: Arc::clone(&tracker),
            updates: around.updates.clone(),
            clock: around.clock,
            tables: Arc::clone(&around.tables),
        };
        let sweep_pause = private(&tracker).terms().peer_timeout / SWEEPS_PER_TIMEOUT;
        Self {
            store,
            tracker,
            around,
            desk,
            sweep_at: settings.store.shared.then(|| Instant::now() + sweep_pause),
            flush_interval: settings.flush_interval,
            stop_timeout: settings.stop_timeout,
            is_gazelle: matches!(settings.store.schema, Schema::Gazelle(_)),
            failures: 0,
            complained: None,
        }
    }

    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> io::Result<()> {
        let telling = self.around.calls.clone().map(|calls| {
            tokio::spawn(async move {
                calls.run().await;
            })
        });
        let expiring = expire(Arc::clone(&self.tracker), self.around.clock);
        // Beside each other: a database that is waited for holds up no expiry.
        tokio::select! {
            never = expiring => match never {},
            () = self.follow(&mut jobs) => {}
        }
        if let Some(telling) = telling {
            telling.abort();
        }
        self.finish().await;
        Ok(())
    }

    /// Flushes, and does what it is asked for, until that is to stop: also while it waits for a
    /// database.
    async fn follow(&mut self, jobs: &mut mpsc::Receiver<Job>) {
        let desk = self.desk.clone();
        loop {
            let flush_at = Instant::now() + self.pause();
            while let Ok(job) = timeout_at(flush_at, jobs.recv()).await {
                if desk.take(job) == Then::Stop {
                    return;
                }
            }
            let mut flushing = pin!(async {
                if self.flush().await {
                    self.follow_changes().await;
                    self.sweep();
                } else {
                    // Rows of peers that are here wait to be written.
                    let soonest = Instant::now() + SWEEP_PAUSE_MIN;
                    self.sweep_at = self.sweep_at.map(|at| at.max(soonest));
                }
            });
            loop {
                tokio::select! {
                    biased;
                    () = &mut flushing => break,
                    job = jobs.recv() => if desk.take(job) == Then::Stop {
                        return;
                    },
                }
            }
        }
    }

    /// Has rows found whose peers no tracker has, where it is time.
    fn sweep(&mut self) {
        if self.sweep_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let timeout = private(&self.tracker).terms().peer_timeout;
        self.sweep_at = Some(Instant::now() + (timeout / SWEEPS_PER_TIMEOUT).max(SWEEP_PAUSE_MIN));
        let store = Arc::clone(&self.store);
        let before_secs = self.around.clock.now().as_secs().saturating_sub(timeout.as_secs());
        tokio::spawn(async move {
            if let Err(error) = store.sweep(before_secs).await {
                warn!("{error}; peers that no tracker has are looked for again later");
            }
        });
    }

    /// How long to wait for the next flush.
    fn pause(&self) -> Duration {
        let pause = self.flush_interval * (1 << self.failures.min(8));
        pause.min(PAUSE_MAX.max(self.flush_interval))
    }

    /// Writes all that is owed, and says whether it could be.
    async fn flush(&mut self) -> bool {
        loop {
            let mut batch = private(&self.tracker).ledger().take_batch(BATCH_ROWS_MAX);
            let is_last = batch.rows() < BATCH_ROWS_MAX;
            let expired = batch.expired_tokens.clone();
            self.tell_site(&mut batch);
            let rows = batch.rows();
            let outcome = self.store.write(batch).await;
            // Once: those that are still to be written come with another batch.
            if let Some(updates) = &self.around.updates
                && (self.is_gazelle || outcome.error.is_none())
            {
                updates.pass_on_expired(&expired);
            }
            let (left, dead) = (outcome.left.rows(), outcome.dead.len());
            private(&self.tracker).count_written(rows.saturating_sub(left + dead));
            self.around.accounting.count_refused(dead);
            private(&self.tracker).ledger().put_back(outcome.left);
            self.around.leftovers.bury(&outcome.dead);
            if let Some(error) = outcome.error {
                self.failures = self.failures.saturating_add(1);
                self.around.accounting.failed();
                self.complain(&error);
                return false;
            }
            if is_last {
                break;
            }
        }
        if self.failures > 0 {
            info!("what was announced is written again, after {} tries", self.failures);
        }
        (self.failures, self.complained) = (0, None);
        self.around.accounting.succeeded(self.around.clock.now());
        true
    }

    /// A site's used tokens are the site's to end.
    fn tell_site(&self, batch: &mut Batch) {
        if !self.is_gazelle {
            return;
        }
        let tokens = std::mem::take(&mut batch.expired_tokens);
        if let Some(calls) = self.around.calls.as_ref().filter(|_| !tokens.is_empty()) {
            calls.tell(tokens);
            calls.keep_if_possible();
        }
    }

    fn complain(&mut self, error: &peerage_sql::Error) {
        let complained = self.complained.as_ref();
        if complained.is_some_and(|(at, why)| at.elapsed() < COMPLAIN_EVERY && why == error) {
            return;
        }
        self.complained = Some((Instant::now(), error.clone()));
        let ledger = private(&self.tracker).ledger();
        let oldest = ledger.oldest(self.around.clock.now()).unwrap_or_default();
        error!(
            "{error}; {} rows wait to be written, the oldest for {}s; announces are answered and \
             counted, and writing is tried again",
            ledger.len(),
            oldest.as_secs()
        );
    }

    /// Reads the tables again where somebody has changed them, such as the command line: not while
    /// they are being read.
    async fn follow_changes(&self) {
        if self.around.tables.is_to_be_read().await {
            self.desk.start_reload();
        }
    }

    /// Writes what is left, for a bounded time; what is left then is kept in a file.
    async fn finish(&mut self) {
        let deadline = Instant::now() + self.stop_timeout;
        loop {
            // Of a flush that was given up.
            let rest = self.store.take_back().await;
            private(&self.tracker).ledger().put_back(rest);
            if Instant::now() >= deadline {
                break;
            }
            match timeout_at(deadline, self.flush()).await {
                Ok(true) => break,
                Ok(false) => {
                    let pause = self.pause().min(Duration::from_secs(1));
                    sleep_until(deadline.min(Instant::now() + pause)).await;
                }
                Err(_) => {}
            }
        }
        let left = private(&self.tracker).ledger().take_batch(usize::MAX);
        let held = self.store.hold(left).await;
        let rows: usize = held.iter().map(|held| held.rows.rows()).sum();
        if rows > 0 {
            self.around.leftovers.keep(&held);
        }
        if let Some(calls) = &self.around.calls {
            calls.finish(CALLS_TIME_MAX).await;
        }
        if timeout(CLOSE_TIME_MAX, self.store.close()).await.is_err() {
            warn!("the database did not let us go in time");
        }
    }
}

/// What a job leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

impl Desk {
    fn take(&self, job: Option<Job>) -> Then {
        match job {
            Some(Job::Reload) => self.start_reload(),
            Some(Job::Check(reply)) => self.start_check(reply),
            Some(Job::Manage(work)) => {
                let tables = Arc::clone(&self.tables);
                tokio::spawn(async move { tables.in_turn(work(Arc::clone(&tables))).await });
            }
            Some(Job::Stop) | None => return Then::Stop,
        }
        Then::GoOn
    }

    /// Reads the tables again. Announces go on, and so do flushes.
    fn start_reload(&self) {
        let (store, tracker) = (Arc::clone(&self.store), Arc::clone(&self.tracker));
        let (reading, updates) = (Arc::clone(&self.tables.reading), self.updates.clone());
        tokio::spawn(async move {
            let _one_at_a_time = reading.lock().await;
            match reload(&store, &tracker, updates).await {
                Ok(()) => info!("members, torrents, tokens and clients are as in the tables"),
                Err(error) => error!("{error}; members and torrents stay as they were"),
            }
        });
    }

    fn start_check(&self, reply: oneshot::Sender<Result<Check, String>>) {
        let (store, tracker) = (Arc::clone(&self.store), Arc::clone(&self.tracker));
        let (reading, now) = (Arc::clone(&self.tables.reading), self.clock.now());
        tokio::spawn(async move {
            let _one_at_a_time = reading.lock().await;
            // Who asked may have gone.
            let _ = reply.send(check(&store, private(&tracker), now).await);
        });
    }
}

/// Drops peers that were not heard from, all of them in a minute, for ever.
async fn expire(tracker: Arc<Tracker>, clock: Clock) -> Infallible {
    loop {
        sleep(EXPIRE_EVERY).await;
        let private = private(&tracker);
        let totals = private.totals();
        let all = totals.torrents + totals.seeders + totals.leechers;
        let looks = u32::try_from(all / 60).unwrap_or(u32::MAX);
        private.expire(clock.now(), looks.max(EXPIRE_LOOKS_MIN));
    }
}

async fn reload(
    store: &Store,
    tracker: &Arc<Tracker>,
    updates: Option<Arc<Updates>>,
) -> Result<(), String> {
    private(tracker).begin_reload();
    let loaded = load(store).await.map_err(|error| error.to_string())?;
    let tracker = Arc::clone(tracker);
    // A second for each million: not on the thread that flushes.
    let replaced = tokio::task::spawn_blocking(move || {
        let replaced = private(&tracker).replace(loaded);
        if let Some(updates) = updates {
            updates.follow_again();
        }
        replaced
    });
    match replaced.await {
        Ok(replaced) => replaced.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn check(store: &Store, private: &Private, now: Now) -> Result<Check, String> {
    let loaded = load(store).await.map_err(|error| error.to_string())?;
    let totals = private.totals();
    let member_differs = |member: &&Member| {
        private.member(&member.passkey).is_none_or(|state| state.member != **member)
    };
    let torrent_differs = |torrent: &&Torrent| {
        private.torrent(&torrent.info_hash).is_none_or(|state| {
            let known = state.torrent;
            (known.id, known.pricing) != (torrent.id, torrent.pricing)
        })
    };
    let ledger = private.ledger();
    Ok(Check {
        members: Compared {
            tracker: totals.members,
            tables: loaded.members.len(),
            differ: loaded.members.iter().filter(member_differs).count(),
        },
        torrents: Compared {
            tracker: totals.torrents,
            tables: loaded.torrents.len(),
            differ: loaded.torrents.iter().filter(torrent_differs).count(),
        },
        rows_waiting: ledger.len(),
        oldest_secs: ledger.oldest(now).map(|age| age.as_secs()),
    })
}
