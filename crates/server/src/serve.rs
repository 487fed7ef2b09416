//! The life of the tracker: start, signals, stop.
//!
//! Whatever can fail at the start fails before the first request is answered; after that only a
//! panic ends the process before the operator does.

mod asked;
mod failure;
mod lists;
mod successor;

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerage_net::Inherited;
use peerage_tracker::private::Private;
use peerage_tracker::{ConnectionKey, Connections, Tracker, http, udp};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::api::Api;
use crate::clock::Clock;
use crate::collector::Collector;
use crate::config::keys::Takes;
use crate::config::{CHANGED_FILE, Config, ConfigError, Sources};
use crate::http::Answering;
use crate::load::Probe;
use crate::locations::{self, Wanted};
use crate::maintenance::{self, PurgeAgain};
use crate::private::{self, Beside};
use crate::privileges::{self, Paths};
use crate::settings::Settings;
use crate::shared::Carrier;
use crate::signals::{self, Signal};
use crate::snapshot::{Haste, Snapshot};
use crate::sockets::{self, Bound};
use crate::stats::{Source, Workers};
use crate::stop::Stop;
use crate::threads::{Event, Threads};
use crate::tokens::TokenText;
use crate::web::{HANDOVERS_MAX, Web};
use crate::{log, notify, secrets};
pub(crate) use failure::Failure;
use failure::start_failure;
use lists::Lists;
use successor::{Legacy, Successor};

/// Blocks of this size and more are given back to the system when they are freed. Two pages: a
/// larger block wastes a quarter of one at most.
const RETURNED_BLOCK_BYTES: usize = 8192;

/// How long the threads have to end when the tracker stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// The tracker while it runs.
struct Running {
    sources: Sources,
    /// As it was at the start: what takes a restart is compared to this.
    started: Config,
    /// As it was last read.
    latest: Config,
    settings: Settings,
    paths: Paths,
    lists: Lists,
    tracker: Arc<Tracker>,
    source: Arc<Source>,
    snapshot: Option<Snapshot>,
    purge_again: Arc<PurgeAgain>,
    locations: locations::Reader,
    api: Arc<Api>,
    private: Option<Beside>,
    /// Until it is started; `None` where the node is alone.
    carrier: Option<Carrier>,
    successor: Successor,
    /// Other descriptors of all sockets, for the successor. While they are open nobody who connects
    /// is refused.
    duplicates: Vec<OwnedFd>,
}

/// Why the tracker ends as it should.
#[derive(Clone, Copy)]
enum End {
    /// It was asked to stop.
    Stop,
    /// Its successor takes its place.
    HandOver,
}

/// The configuration and what it means, with all that can be wrong with it.
pub(crate) fn configuration(sources: &Sources) -> Result<(Config, Settings), Failure> {
    let config = Config::load(sources).map_err(Failure::Config)?;
    let settings = meaning(&config).map_err(|error| Failure::Config(vec![error]))?;
    Ok((config, settings))
}

/// The configuration, with the files that are read at the start alone.
fn at_start(sources: &Sources) -> Result<(Config, Settings), Failure> {
    let (config, mut settings) = configuration(sources)?;
    if let Some(shared) = &mut settings.shared {
        let read = shared.read_certificates(&config);
        read.map_err(|error| Failure::Config(vec![error]))?;
    }
    Ok((config, settings))
}

/// What `config` means on this machine.
fn meaning(config: &Config) -> Result<Settings, ConfigError> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    Settings::new(config, cpus)
}

/// The configuration with the lists it names: what `check-config` checks.
pub(crate) fn check(sources: &Sources) -> Result<(), Failure> {
    let (config, settings) = at_start(sources)?;
    config.notes.iter().for_each(|note| eprintln!("peerage: {note}"));
    let paths = Paths::at_start().map_err(|error| start_failure("find the folder", &error))?;
    crate::lists::read(&settings.lists, &paths).map_err(Failure::List)?;
    Ok(())
}

/// Runs the tracker until it is asked to stop.
pub(crate) fn serve(mut sources: Sources) -> Result<(), Failure> {
    let (inherited, legacy) = successor::inherited()?;
    let (config, settings) = at_start(&sources)?;
    let mut paths = Paths::at_start().map_err(|error| start_failure("find the folder", &error))?;
    let written = crate::lists::read(&settings.lists, &paths).map_err(Failure::List)?;
    log::start(settings.log);
    config.notes.iter().for_each(|note| warn!("{note}"));
    limit(&settings)?;
    let start = |error: &dyn fmt::Display| Failure::Start(error.to_string());
    let user = settings.process.user.as_deref().map(privileges::user).transpose();
    let user = user.map_err(|error| start(&error))?;
    let key = connection_key(&settings, legacy.as_ref())?;
    let connections = Connections::new(key, settings.connections.lifetime);
    let probe = Probe::open();
    let (bound, duplicates) = bind(&settings, inherited)?;
    privileges::drop_rights(settings.process.chroot.as_deref(), user.as_ref(), &mut paths)
        .map_err(|error| start(&error))?;
    let kept_in = find_again(&mut sources, &settings, &paths);

    // Where the allocator has no such setting, the store is somewhat larger.
    let _ = peerage_net::return_blocks_from(RETURNED_BLOCK_BYTES);
    let clock = Clock::start();
    let lists = Lists::open(written, kept_in.as_deref()).map_err(Failure::List)?;
    let access = lists.access(&settings);
    let tracker = tracker(&settings, Arc::clone(&access))?;
    let snapshot = restored(&settings, kept_in.as_deref(), &tracker, clock, legacy);
    let source = Arc::new(Source::new(
        Arc::clone(&tracker),
        clock,
        settings.process.failed,
        probe,
        Workers {
            udp: bound.udp.iter().map(crate::udp::Sockets::counters).collect(),
            http: bound.tcp.iter().map(crate::http::Listeners::status).collect(),
        },
        &settings.pages,
    ));
    source.set_lists(&access);
    let carrier = settings.shared.as_ref().map(|shared| {
        let proposed = settings.connections.key.is_none().then_some(key);
        shared.carrier(&source, &connections, proposed, clock)
    });
    let mut threads = Threads::new();
    let private = private::start(&settings, kept_in.as_deref(), &source, clock, &mut threads)
        .map_err(Failure::Start)?;
    let members = private::members(&settings, private.as_ref());
    let api = Api::open(kept_in.as_deref(), clock, &source, threads.sender(), members);
    let api = Arc::new(api.map_err(|error| start(&error))?);
    let (latest, purge_again) = (config.clone(), Arc::<PurgeAgain>::default());
    let successor = Successor::new(&paths);
    let running = Running {
        sources,
        started: config,
        latest,
        settings,
        paths,
        lists,
        tracker,
        source,
        snapshot,
        purge_again,
        locations: locations::Reader::default(),
        api,
        private,
        carrier,
        successor,
        duplicates,
    };
    running.run(threads, bound, &connections, clock)
}

/// By what connection ids are issued: the operator's, or the one before.
fn connection_key(settings: &Settings, legacy: Option<&Legacy>) -> Result<ConnectionKey, Failure> {
    let given = settings.connections.key.or(legacy.map(|legacy| legacy.key.0));
    let data_dir = settings.process.data_dir.as_deref();
    secrets::connection_key(given, data_dir).map_err(Failure::Start)
}

/// The sockets, and another descriptor of each.
fn bind(settings: &Settings, inherited: Inherited) -> Result<(Bound, Vec<OwnedFd>), Failure> {
    let bound = sockets::bind(settings, &inherited);
    // What was handed over and is not listened on is closed.
    drop(inherited);
    let bound = bound.map_err(|error| Failure::Start(error.to_string()))?;
    let duplicates = bound.duplicates().map_err(|error| start_failure("copy a socket", &error))?;
    Ok((bound, duplicates))
}

/// Sees to it that files are found where rights have been dropped. Returns where things are kept.
fn find_again(sources: &mut Sources, settings: &Settings, paths: &Paths) -> Option<PathBuf> {
    for file in [&mut sources.file, &mut sources.ocelot_conf].into_iter().flatten() {
        warn_if_lost(paths, file);
        *file = paths.resolve(file);
    }
    let kept = [&settings.lists.allow, &settings.lists.deny, &settings.process.data_dir];
    let kept = kept.into_iter().flatten().chain(&settings.locations.files);
    kept.for_each(|file| warn_if_lost(paths, file));
    let kept_in = settings.process.data_dir.as_ref().map(|data_dir| paths.resolve(data_dir));
    sources.changed = kept_in.as_ref().map(|kept_in| kept_in.join(CHANGED_FILE));
    kept_in
}

/// The snapshot, if there is to be one, with what was in it put into the store, or what was handed
/// over.
fn restored(
    settings: &Settings,
    kept_in: Option<&Path>,
    tracker: &Tracker,
    clock: Clock,
    legacy: Option<Legacy>,
) -> Option<Snapshot> {
    if let Some(legacy) = legacy {
        legacy.restore(settings.peer_ids, tracker.swarms(), clock.now());
        tracker.purge();
    }
    let folder = kept_in.filter(|_| settings.snapshot_interval.is_some())?;
    let snapshot = Snapshot::new(folder, settings.peer_ids);
    snapshot.restore(tracker.swarms(), clock.now());
    tracker.purge();
    Some(snapshot)
}

/// An empty tracker with the rules of the settings.
fn tracker(
    settings: &Settings,
    access: Arc<peerage_tracker::AccessList>,
) -> Result<Arc<Tracker>, Failure> {
    let key = secrets::random_key().map_err(|error| start_failure("make a key", &error))?;
    let rules = settings.rules(access);
    let mut tracker = Tracker::new(key, settings.limits, settings.peer_ids, rules);
    if let Some(shared) = &settings.shared {
        shared.share(&mut tracker).map_err(|error| start_failure("name the node", &error))?;
    }
    if let Some(private) = &settings.private {
        let key = secrets::random_key().map_err(|error| start_failure("make a key", &error))?;
        let mut members = Private::new(key, private.terms.clone());
        if let Some(shared) = &settings.shared {
            members = shared.share_members(&tracker, members);
        }
        tracker = tracker.with_members(members);
    }
    Ok(Arc::new(tracker))
}

fn limit(settings: &Settings) -> Result<(), Failure> {
    privileges::limit_files(settings.process.nofile)
        .and_then(|()| privileges::limit_core(settings.process.core))
        .map_err(|error| Failure::Start(error.to_string()))
}

fn warn_if_lost(paths: &Paths, file: &Path) {
    if !paths.can_reach(file) {
        warn!("{} is outside of process.chroot and cannot be read again", file.display());
    }
}

impl Running {
    /// Starts all threads, follows the signals, and stops all threads. Returns only where no
    /// successor takes this one's place.
    fn run(
        mut self,
        mut threads: Threads,
        bound: Bound,
        connections: &Connections,
        clock: Clock,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| start_failure("start a thread", &error);
        let stop = Stop::default();
        let sender = threads.sender();
        // The receiver is gone only when the process ends.
        signals::watch(move |signal| drop(sender.send(Event::Signal(signal)))).map_err(failed)?;
        let addresses = (bound.tcp_addresses(), bound.udp_addresses());
        self.show_settings();
        let no_more = Stop::default();
        if let Some(carrier) = self.carrier.take() {
            let site = self.private.as_mut().and_then(|private| private.elsewhere.take());
            let carrier = carrier.with_site(site, &self.source);
            let no_more = no_more.clone();
            let run = move || carrier.run(&no_more);
            threads.spawn_io("shared".into(), run).map_err(failed)?;
        }
        let spawned = self.spawn(&mut threads, bound, connections, clock, &stop);
        let outcome = spawned.map_err(failed).and_then(|()| {
            log_start(&self.settings);
            let token = if addresses.0.is_empty() { None } else { self.api.first_token() };
            announce_listeners(&addresses.0, &addresses.1, token.as_ref());
            notify::say(notify::READY);
            self.follow(&mut threads)
        });
        let hands_over = matches!(outcome, Ok(End::HandOver));
        if !hands_over {
            // Who connects from here on is refused at once.
            self.duplicates.clear();
        }
        info!("{}", if hands_over { "handing over" } else { "stopping" });
        notify::say(if hands_over { notify::RELOADING } else { notify::STOPPING });
        stop.request();
        match self.wait(&mut threads, &no_more) {
            0 => info!("stopped"),
            left => warn!("{left} threads did not end in time"),
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.save(self.tracker.swarms(), clock.now(), Haste::Urgent);
        }
        match outcome? {
            End::Stop => Ok(()),
            End::HandOver => Err(self.hand_over(connections, clock)),
        }
    }

    /// Has the successor take our place; returns only where it does not.
    fn hand_over(mut self, connections: &Connections, clock: Clock) -> Failure {
        let swarms = (self.tracker.swarms(), self.settings.peer_ids);
        let swarms = self.snapshot.is_none().then_some(swarms);
        match successor::leave(connections.key(), swarms, clock.now()) {
            Ok(file) => self.duplicates.push(file),
            Err(error) => warn!("cannot keep the swarms in memory: {error}; they announce again"),
        }
        start_failure("start anew", &self.successor.start(&self.duplicates))
    }

    /// Waits for all threads to end, and returns how many have not. The one that tells other nodes,
    /// asked by `no_more`, and the one that writes what was announced come after those that are
    /// told it.
    fn wait(&mut self, threads: &mut Threads, no_more: &Stop) -> usize {
        let shared = usize::from(self.settings.shared.is_some());
        let Some(private) = self.private.take() else {
            threads.wait_for_all_but(shared, STOP_TIME_MAX);
            no_more.request();
            return threads.wait(STOP_TIME_MAX);
        };
        drop(private.site);
        threads.wait_for_all_but(1 + shared, STOP_TIME_MAX);
        no_more.request();
        threads.wait_for_all_but(1, STOP_TIME_MAX);
        private.jobs.stop();
        threads.wait(private.stop_time_max)
    }

    fn spawn(
        &self,
        threads: &mut Threads,
        bound: Bound,
        connections: &Connections,
        clock: Clock,
        stop: &Stop,
    ) -> io::Result<()> {
        let udp_port = bound.udp_addresses().first().map(std::net::SocketAddr::port);
        let patience = self.settings.shared.as_ref().map(|shared| shared.cold_wait);
        let patience = patience.unwrap_or_default();
        for (index, sockets) in bound.udp.into_iter().enumerate() {
            let (tracker, seed) = (Arc::clone(&self.tracker), secrets::random_seed()?);
            let endpoint = udp::Endpoint::new(tracker, connections.clone(), seed);
            let stop = stop.clone();
            let sockets = sockets.with_patience(patience);
            let run = move || sockets.run(endpoint, clock, stop);
            threads.spawn_io(format!("udp-{index}"), run)?;
        }
        if !bound.tcp.is_empty() {
            let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
            for (index, listeners) in bound.tcp.into_iter().enumerate() {
                let (tracker, seed) = (Arc::clone(&self.tracker), secrets::random_seed()?);
                let (stop, settings) = (stop.clone(), Arc::clone(&self.settings.answers));
                let answering = Answering {
                    endpoint: http::Endpoint::new(Arc::clone(&tracker), settings.clone(), seed),
                    tracker,
                    settings,
                    handover: sender.clone(),
                    waits: Arc::clone(&self.settings.waits),
                    site: self.private.as_ref().and_then(|private| private.site.clone()),
                };
                let listeners = listeners.with_patience(patience);
                let run = move || listeners.run(answering, clock, stop);
                threads.spawn_io(format!("http-{index}"), run)?;
            }
            let (pages, answers) = (self.settings.pages.clone(), &self.settings.answers);
            let seed = secrets::random_seed()?;
            let api = Arc::clone(&self.api);
            let answers = Arc::clone(answers);
            let web = Web::new(pages, clock, &self.source, answers, seed, udp_port, api);
            threads.spawn_io("pages".into(), move || web.run(receiver))?;
        }
        self.spawn_beside(threads, clock, stop)
    }

    /// Starts what runs beside the announces.
    fn spawn_beside(&self, threads: &mut Threads, clock: Clock, stop: &Stop) -> io::Result<()> {
        self.read_locations();
        self.locations.spawn(threads, self.source.locations.clone(), clock, stop.clone())?;
        let (source, stopped) = (Arc::clone(&self.source), stop.clone());
        let mut collector = Collector::new(source, secrets::random_seed()?);
        threads.spawn("collector".into(), move || collector.run(&stopped))?;
        if let (Some(snapshot), Some(interval)) = (&self.snapshot, self.settings.snapshot_interval)
        {
            let (snapshot, tracker) = (snapshot.clone(), Arc::clone(&self.tracker));
            let stop = stop.clone();
            threads.spawn("snapshot".into(), move || {
                snapshot.run(tracker.swarms(), interval, clock, &stop);
            })?;
        }
        let (source, stop) = (Arc::clone(&self.source), stop.clone());
        let again = Arc::clone(&self.purge_again);
        threads.spawn("maintenance".into(), move || {
            maintenance::run(&source, clock, &stop, &again);
        })
    }

    /// Does what the signals say, until one says to stop or a thread ends.
    fn follow(&mut self, threads: &mut Threads) -> Result<End, Failure> {
        loop {
            match threads.next() {
                Event::Signal(Signal::Stop) => return Ok(End::Stop),
                Event::Signal(Signal::HandOver) => match self.successor.check() {
                    Ok(()) => return Ok(End::HandOver),
                    Err(why) => error!("{why}; this one goes on"),
                },
                Event::Signal(Signal::Reload) => self.reload(),
                Event::Signal(Signal::ReloadLists) => {
                    self.reload_lists();
                    self.read_locations();
                }
                Event::Ask(ask) => self.answer(ask),
                Event::Ended(end) => {
                    let how = if end.panicked { "panicked" } else { "ended" };
                    return Err(Failure::Thread(format!("thread {} {how}", end.name)));
                }
            }
        }
    }

    /// Reads configuration, lists and tokens again. If anything is wrong, all stays as it is.
    fn reload(&mut self) {
        self.api.refresh_tokens();
        let read = configuration(&self.sources).and_then(|(config, settings)| {
            let lists = crate::lists::read(&settings.lists, &self.paths).map_err(Failure::List)?;
            Ok((config, settings, lists))
        });
        let (config, settings, lists) = match read {
            Ok(read) => read,
            Err(failure) => {
                for line in failure.lines() {
                    error!("{line}");
                }
                error!("the configuration is wrong, what was in force stays in force");
                return;
            }
        };
        for key in self.latest.values.changed(&config.values) {
            if key.takes == Takes::Reload {
                info!("{} is now {}", key.name, config.written(key));
            }
        }
        for key in self.started.values.changed(&config.values) {
            if key.takes == Takes::Restart {
                warn!("{} has changed: that takes a restart", key.name);
            }
        }
        self.take_settings(config, settings);
        self.take_lists(lists);
        self.read_locations();
        info!("configuration reloaded");
    }

    /// Takes settings into force, but for the rules and what stands in files.
    fn take_settings(&mut self, config: Config, settings: Settings) {
        self.latest = config;
        let share_timing =
            settings.shared.as_ref().map(|shared| (shared.timing, shared.members_refresh));
        self.settings.take_reloadable(settings);
        self.tracker.set_peer_timeout(self.settings.limits.peer_timeout);
        if let (Some(private), Some(settings)) = (self.tracker.private(), &self.settings.private) {
            settings.take_terms(private);
        }
        if let Some((timing, members_refresh)) = share_timing {
            self.tracker.set_share_timing(timing);
            self.tracker.private().inspect(|private| private.set_ask_every(members_refresh));
        }
        self.show_settings();
    }

    /// Has the location files read, on their own thread.
    fn read_locations(&self) {
        let Settings { locations, process, .. } = &self.settings;
        self.locations.read(match locations.wanted {
            false => Wanted::Nothing,
            true => Wanted::new(&locations.files, process.data_dir.as_deref(), &self.paths),
        });
    }
}

/// Says what is running, and what it may soon lack.
fn log_start(settings: &Settings) {
    let (version, workers) = (env!("CARGO_PKG_VERSION"), settings.listen.workers);
    info!("peerage {version}, {workers} workers for each protocol");
    let wanted = settings.http.connections_max as u64;
    match privileges::files_max() {
        Some(allowed) if settings.listen.tcp && allowed < wanted => warn!(
            "{allowed} files may be open, fewer than http.connections_max ({wanted}): --nofile -1 \
             raises that as far as the system allows"
        ),
        _ => {}
    }
}

/// Tells whoever started us where we listen. That nobody may be reading is no reason to stop.
///
/// The first token comes last: who waits for `ready` has all it waits for, and does not keep it.
fn announce_listeners(
    tcp: &[std::net::SocketAddr],
    udp: &[std::net::SocketAddr],
    token: Option<&TokenText>,
) {
    let mut lines = String::new();
    tcp.iter().for_each(|at| lines.push_str(&format!("listening on http://{at} (TCP)\n")));
    udp.iter().for_each(|at| lines.push_str(&format!("listening on udp://{at} (UDP)\n")));
    lines.push_str("ready\n");
    if let Some(TokenText(token)) = token {
        lines.push_str(&format!("admin token, shown this once: {token}\n"));
    }
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
}
