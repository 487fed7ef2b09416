//! Private mode in the program: the database opened and read, what is owed to it written, reloads,
//! and a stop that leaves nothing behind.
//!
//! The rules are in `tracker`, the tables in `sql`. One thread of its own does all that waits for
//! SQL; no announce ever does.
//!
//! - `settings`: what the configuration means.
//! - `ledger`: the thread: flushes, reloads, checks, the stop.
//! - `tables`: what the API changes.
//! - `accounting`, `stats`: what is told of it.
//! - `leftovers`, `held`: files of what the database did not take.

mod accounting;
mod held;
mod ledger;
mod leftovers;
mod settings;
mod stats;
mod tables;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_shared::Outbox;
use peerage_sql::{Error, Schema, Store};
use peerage_tracker::private::{Loaded, Private, TorrentId};
use peerage_tracker::{Now, Tracker};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

pub(crate) use ledger::Check;
pub(crate) use settings::Settings;
pub(crate) use stats::{Bytes, PrivateStats, View};
pub(crate) use tables::Tables;

use crate::api::ours::Members;
use crate::clock::Clock;
use crate::gazelle::answers::Answers;
use crate::gazelle::calls::Calls;
use crate::gazelle::site::{Counts, HANDOVERS_MAX, Site};
use crate::gazelle::updates::Updates;
use crate::http::Handover;
use crate::stats::Source;
use crate::threads::Threads;
use ledger::{Around, Ledger};
use leftovers::Leftovers;

/// How long it is waited between two tries to reach the database at the start: twice as long after
/// each, up to the latter.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Requests to the thread that wait. More reloads at once are one.
const JOBS_MAX: usize = 8;

/// What the thread is asked for.
pub(crate) enum Job {
    /// Read the tables again.
    Reload,
    /// Compare the tables with what is in memory.
    Check(oneshot::Sender<Result<Check, String>>),
    /// Do something with our own tables.
    Manage(Work),
    /// Write all that is left, and end.
    Stop,
}

/// What the API does with our own tables, on the thread that waits for SQL.
pub(crate) type Work = Box<dyn FnOnce(Arc<Tables>) -> Working + Send>;

/// It at work.
type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How the thread is asked. Its copies are one.
#[derive(Clone)]
pub(crate) struct Jobs(mpsc::Sender<Job>);

impl Jobs {
    /// Reads the tables again, soon.
    pub(crate) fn reload(&self) {
        if self.0.try_send(Job::Reload).is_err() {
            warn!("members and torrents are being read already");
        }
    }

    /// Compares the tables with what is in memory. Errors: one line for the operator.
    pub(crate) async fn check(&self) -> Result<Check, String> {
        let busy = || "the tracker is busy with its tables: ask again".to_owned();
        let (sender, receiver) = oneshot::channel();
        self.0.try_send(Job::Check(sender)).map_err(|_| busy())?;
        receiver.await.unwrap_or_else(|_| Err(busy()))
    }

    /// Has `work` done with our own tables. Who stops waiting does not stop it. `None` where the
    /// thread has ended.
    pub(crate) async fn manage<T, F>(
        &self,
        work: impl FnOnce(Arc<Tables>) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let work = |tables| -> Working {
            // Who asked may have gone.
            Box::pin(async move { drop(sender.send(work(tables).await)) })
        };
        self.0.send(Job::Manage(Box::new(work))).await.ok()?;
        receiver.await.ok()
    }

    /// Has all that is left written. Waits for room, not for the writing.
    pub(crate) fn stop(&self) {
        // The receiver is gone only where the thread has ended, which is told elsewhere.
        let _ = self.0.blocking_send(Job::Stop);
    }
}

/// Private mode while it runs.
pub(crate) struct Beside {
    /// How its thread is asked.
    pub(crate) jobs: Jobs,
    /// Takes the site's requests, where there is a site.
    pub(crate) site: Option<mpsc::Sender<Handover>>,
    /// How other nodes hear what the site tells this one, and this one what they were told.
    pub(crate) elsewhere: Option<peerage_shared::Site>,
    /// How long the thread may take to end once it was asked to stop.
    pub(crate) stop_time_max: Duration,
}

/// Opens the database, waits for it where it is out of reach, fills the tracker from it, and starts
/// the threads beside the announces. What an earlier process left unwritten is written first.
/// `None`, and nothing of the kind, where the tracker is open.
///
/// Errors: one line for the operator.
pub(crate) fn start(
    settings: &crate::settings::Settings,
    data_dir: Option<&Path>,
    source: &Arc<Source>,
    clock: Clock,
    threads: &mut Threads,
) -> Result<Option<Beside>, String> {
    let Some(settings) = &settings.private else { return Ok(None) };
    let tracker = &source.tracker;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    let leftovers = Leftovers::new(data_dir);
    let calls = calls(settings, data_dir)?;
    let tables_at = clock.now();
    let (store, revision) = runtime.block_on(async {
        let store = reach(settings, data_dir).await?;
        // Before they are read: a change meanwhile has them read again.
        let revision = store.revision().await.map_err(|error| error.to_string())?;
        fill(settings, &store, tracker, clock.now(), &leftovers).await?;
        Ok::<_, String>((store, revision))
    })?;
    let (sender, receiver) = mpsc::channel(JOBS_MAX);
    let jobs = Jobs(sender);
    let outbox = settings.store.shared.then(Arc::<Outbox>::default);
    let updates = settings.takes_updates().then(|| {
        let absent = settings.gazelle.as_ref().map(|gazelle| gazelle.absent).unwrap_or_default();
        Arc::new(Updates::new(Arc::clone(tracker), clock, absent, outbox.clone()))
    });
    let elsewhere = outbox.zip(updates.clone()).map(|(outbox, updates)| {
        let jobs = jobs.clone();
        peerage_shared::Site {
            outbox,
            hear: Box::new(move |query| updates.hear(query)),
            read_tables: Box::new(move || jobs.reload()),
            tables_at,
        }
    });
    let store = Arc::new(store);
    let view = source.private.get_or_init(|| View::new(settings));
    let tables = Tables::new(Arc::clone(&store), Arc::clone(tracker), clock, revision);
    let around = Around {
        calls: calls.clone(),
        updates: updates.clone(),
        leftovers,
        clock,
        accounting: Arc::clone(&view.accounting),
        tables: Arc::new(tables),
    };
    let ledger = Ledger::new(settings, store, Arc::clone(tracker), around);
    let failed = |error: io::Error| format!("cannot start a thread: {error}");
    let run = move || runtime.block_on(ledger.run(receiver));
    threads.spawn_io("ledger".into(), run).map_err(failed)?;
    let site = match settings.gazelle.as_ref().zip(updates) {
        Some((gazelle, updates)) => {
            let (source, counts) = (Arc::clone(source), Arc::new(Counts::default()));
            let (style, jobs) = (gazelle.style, jobs.clone());
            let answers = Answers::new(source, updates, style, Arc::clone(&counts), jobs, calls);
            let site = Site::new(gazelle.passwords, answers, counts);
            let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
            threads.spawn_io("site".into(), move || site.run(receiver)).map_err(failed)?;
            Some(sender)
        }
        None => None,
    };
    let stop_time_max = settings.stop_timeout + ledger::FINISH_TIME_MAX;
    Ok(Some(Beside { jobs, site, elsewhere, stop_time_max }))
}

/// Whose members the API can manage.
pub(crate) fn members(settings: &crate::settings::Settings, beside: Option<&Beside>) -> Members {
    match settings.private.as_ref().zip(beside) {
        None => Members::Nobodys,
        Some((settings, beside)) if settings.store.schema != Schema::Own => {
            Members::Sites(beside.jobs.clone())
        }
        Some((settings, beside)) if settings.store.readonly => {
            Members::OursReadonly(beside.jobs.clone())
        }
        Some((_, beside)) => Members::Ours(beside.jobs.clone()),
    }
}

fn calls(settings: &Settings, data_dir: Option<&Path>) -> Result<Option<Arc<Calls>>, String> {
    let Some(gazelle) = settings.gazelle.as_ref().filter(|_| !settings.store.readonly) else {
        return Ok(None);
    };
    let (Some(url), Some(password)) = (gazelle.site_url.clone(), gazelle.passwords.site) else {
        return Ok(None);
    };
    let calls = Calls::new(url, password, data_dir);
    let calls = calls.map_err(|error| format!("cannot read the tokens that wait: {error}"))?;
    Ok(Some(Arc::new(calls)))
}

/// Opens the database; one that is out of reach is tried again for a bounded time.
async fn reach(settings: &Settings, data_dir: Option<&Path>) -> Result<Store, String> {
    let options = settings.options(data_dir);
    let deadline = Instant::now() + settings.start_timeout;
    let mut pause = PAUSE_MIN;
    loop {
        let error = match Store::open(&options).await {
            Ok(store) => return Ok(store),
            Err(error @ Error::Setup(_)) => return Err(error.to_string()),
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!(
                "{error}; given up after {}s (database.start_timeout)",
                settings.start_timeout.as_secs()
            ));
        }
        if pause == PAUSE_MIN {
            warn!("{error}; trying again for {}s", left.as_secs());
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn fill(
    settings: &Settings,
    store: &Store,
    tracker: &Tracker,
    now: Now,
    leftovers: &Leftovers,
) -> Result<(), String> {
    let private = tracker.private().expect("it is made with members where there are settings");
    let fails = |error: Error| error.to_string();
    leftovers.write(store, private).await;
    let loaded = load(store).await.map_err(fails)?;
    let torrents: Vec<TorrentId> = loaded.torrents.iter().map(|torrent| torrent.id).collect();
    private.begin_reload();
    private.replace(loaded).map_err(|error| error.to_string())?;
    let snatches = |member, torrent| private.restore_snatch(member, torrent);
    store.snatches(&torrents, snatches).await.map_err(fails)?;
    let peer_timeout_secs = private.terms().peer_timeout.as_secs();
    let since_secs = now.as_secs().saturating_sub(peer_timeout_secs);
    if settings.store.readonly {
        warn!("database.readonly: nothing is written");
    }
    if settings.store.shared {
        // Where peers stand is known where nodes meet, and there are peers of other nodes.
        return store.sweep(since_secs).await.map_err(fails);
    }
    let peers = store.peers(since_secs).await.map_err(fails)?;
    let restored = private.restore_peers(now, peers);
    if restored > 0 {
        info!("{restored} peers are back; what they have moved meanwhile counts");
    }
    // Whoever was heard from a timeout ago to the second is not back.
    let kept_since_secs = (restored > 0).then_some(since_secs + 1);
    store.clear(kept_since_secs).await.map_err(fails)
}

/// What the tracker is made of, from the tables.
async fn load(store: &Store) -> Result<Loaded, Error> {
    let peerage_sql::Loaded { members, torrents, tokens, clients, denied_clients } =
        store.load().await?;
    // No list lets everybody in.
    let allowed_clients = (!clients.is_empty()).then_some(clients);
    Ok(Loaded { members, torrents, tokens, allowed_clients, denied_clients })
}

/// The members and torrents of a tracker that has them.
fn private_of(tracker: &Tracker) -> &Private {
    tracker.private().expect("there are no tables without members")
}
