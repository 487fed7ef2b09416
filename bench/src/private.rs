//! `bench private`: private mode with a million members and torrents beside open mode and beside
//! Ocelot, in speed, memory and the time to load.
//!
//! All contestants have the same peers in the same swarms and are asked in turn, over HTTP kept
//! alive, over HTTP with a connection for each request, and over UDP. Private ones write to a real
//! database all along; what it takes until all of a round is written is counted, and told apart
//! from answering. What the tables hold then is compared with what clients said.

use std::time::{Duration, Instant};

use peerage_testkit::Folder;

use crate::args::Options;
use crate::http_load::{HttpAsk, HttpLoad, Reuse, fetch};
use crate::load::{Ask, Load, Pace};
use crate::mix::{Account, Family, Peer, Population, Rng, Shape, mix};
use crate::private_ocelot as ocelot;
use crate::private_report::report_tables;
use crate::private_tables::{Sizes, Tables, mariadb, sqlite};
use crate::process::own_and_machine_cpu;
use crate::report::{Report, thousands};
use crate::servers::{Contestant, Protocol, Server, Setup};
use crate::trial::EVENT_NONE;

/// Source addresses, and connections of the HTTP load.
const SOURCES: u32 = 256;
/// Percent of UDP requests that are connects. There are no scrapes: members are refused them.
const CONNECTS: u32 = 10;
const WINDOW: usize = 180;
/// A prime by which peers that take turns are apart.
const STRIDE: u32 = 7919;
const SETTLE: Duration = Duration::from_millis(300);
const READY_MAX: Duration = Duration::from_secs(300);
const FILL_MAX: Duration = Duration::from_secs(120);
/// How long it may take until all that waits is written.
const WRITTEN_MAX: Duration = Duration::from_secs(240);
/// Threads that write, by the beginning of their names.
const WRITERS: [&str; 2] = ["ledger", "sqlx"];
/// Of a hundred seeders, how many have uploaded something since their last announce. Leechers
/// have all moved something.
const UPLOADERS: u64 = 20;

/// What a contestant is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, open to all.
    Open,
    /// Ours, whose ledger can be asked.
    Members,
    /// Ocelot.
    Ocelot,
    /// A constant reply.
    Constant,
}

/// How it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over HTTP, kept alive.
    Kept,
    /// Over HTTP, each request with a connection of its own.
    Each,
    /// Over UDP.
    Udp,
}

impl Way {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 3] = [Self::Kept, Self::Each, Self::Udp];
}

/// A contestant, and what was measured of it.
pub(crate) struct Trial {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its process.
    pub(crate) server: Server,
    // Dropped, and with it ended, after the server that writes to it.
    tables: Tables,
    http: [HttpLoad; 2],
    udp: Option<Load>,
    claims: Claims,
    /// How long it took until it answered.
    pub(crate) loaded: Duration,
    /// What that cost.
    pub(crate) loaded_cpu: Duration,
    /// Resident memory then.
    pub(crate) loaded_bytes: u64,
    body_bytes: usize,
    /// By [`Way`].
    pub(crate) figures: [Vec<Figures>; 3],
    /// Bytes uploaded that its clients have said to it, and that the tables were credited with,
    /// where they are asked.
    pub(crate) credit: Option<(u64, u64)>,
}

/// What clients have said.
struct Claims {
    /// Counts announces, so that what a client has moved grows.
    announced: u64,
    /// Of each peer, what it said last to have uploaded.
    before: Vec<Option<u64>>,
    /// Bytes uploaded between announces.
    uploaded: u64,
}

impl Claims {
    fn of(&mut self, crowd: &Crowd, peer: Peer) -> Account {
        self.announced += 1;
        let account = crowd.account(peer, self.announced);
        let before = self.before[peer.number as usize].replace(account.uploaded);
        // What a client says first is where its counting begins.
        self.uploaded += before.map_or(0, |before| account.uploaded - before);
        account
    }
}

/// What one measurement has shown.
pub(crate) struct Figures {
    /// Replies.
    pub(crate) replies: f64,
    /// How long they took.
    pub(crate) elapsed: Duration,
    /// Of all threads meanwhile.
    cpu: Duration,
    /// Of `cpu`, the threads that write.
    writing: Duration,
    /// What those took until all was written.
    pub(crate) written: Duration,
    /// Rows that were written.
    pub(crate) rows: f64,
    /// How long it took until they were.
    pub(crate) rows_elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) p50: f64,
    /// The same.
    pub(crate) p99: f64,
    /// Cores that others kept busy.
    pub(crate) others: f64,
}

impl Figures {
    /// CPU-seconds per million replies.
    pub(crate) fn per_million(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.replies
    }

    /// Of the threads that do not write.
    pub(crate) fn answering(&self) -> f64 {
        self.per_million(self.cpu.saturating_sub(self.writing))
    }
}

/// What is spread over members and torrents.
struct Crowd {
    population: Population,
    sizes: Sizes,
}

impl Crowd {
    fn account(&self, peer: Peer, announced: u64) -> Account {
        let moves = !peer.is_seeder || mix(u64::from(peer.number) | 1 << 50) % 100 < UPLOADERS;
        let bytes = if moves { announced << 14 } else { 0 };
        Account {
            member: peer.number % self.sizes.members,
            uploaded: bytes,
            downloaded: if peer.is_seeder { 0 } else { bytes },
        }
    }
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let name = if options.ocelot.is_some() { "private-ocelot" } else { "private" };
    let mut report = Report::new(name, options);
    let torrents = options.swarms.unwrap_or(1_000_000);
    let sizes = Sizes { members: options.members.unwrap_or(1_000_000), torrents };
    let peers = options.peers.unwrap_or(1_000_000);
    let shape = Shape::Skewed;
    let population =
        Population { sources: SOURCES, swarms: torrents, peers, shape, seeders_percent: 75 };
    let crowd = Crowd { population, sizes };
    if options.wants("memory") {
        crate::private_report::memory(options, &mut report, sizes)?;
    }
    let folder = Folder::new("bench-private")?;
    let mut trials = contestants(options, &mut report, &crowd, &folder)?;
    let rounds = options.rounds.unwrap_or(3);
    report.line(&format!(
        "- load: {rounds} rounds, each contestant in turn {0:?} over HTTP with {SOURCES} \
         connections kept alive, {0:?} over HTTP with a connection for each request ({SOURCES} at \
         a time) and {0:?} over UDP (window {WINDOW}, {CONNECTS} % connects), at full load; \
         {1} peers by the popularity curve, announces drawn evenly with numwant 30; 75 % seeders, \
         of which {UPLOADERS} % have uploaded something, as all leechers have; before the next \
         takes its turn all is written",
        options.duration(5),
        thousands(peers.into())
    ));
    for round in 0..rounds {
        for trial in &mut trials {
            let seed = round as u64;
            let name = trial.name;
            let explain = |error| format!("{name}: {error}");
            one_round(options, trial, &crowd, seed).map_err(explain)?;
        }
    }
    report_tables(options, &mut report, &trials, sizes);
    drop(trials);
    report.save()
}

/// Those that were asked for and are there, filled.
fn contestants(
    options: &Options,
    report: &mut Report,
    crowd: &Crowd,
    folder: &Folder,
) -> Result<Vec<Trial>, String> {
    let mut trials: Vec<Trial> = Vec::new();
    let mut body_bytes = 0;
    for (name, kind) in [
        ("sqlite", Kind::Members),
        ("mariadb", Kind::Members),
        ("open", Kind::Open),
        ("nginx", Kind::Constant),
        ("ocelot", Kind::Ocelot),
    ] {
        if !options.wants(name) {
            continue;
        }
        // Each has tables of its own: what one writes is not there for another.
        let tables = match name {
            "sqlite" => Some(Tables::Sqlite(sqlite(folder, crowd.sizes)?)),
            "mariadb" => mariadb(options, folder, crowd.sizes)?.map(Tables::MariaDb),
            "ocelot" if options.ocelot.is_some() => {
                mariadb(options, folder, crowd.sizes)?.map(Tables::MariaDb)
            }
            "ocelot" => None,
            _ => Some(Tables::None),
        };
        let started = match tables {
            Some(tables) => start(options, name, kind, tables, body_bytes)?,
            None => None,
        };
        let Some(mut trial) = started else {
            report.line(&format!("- left out (not found): {name}"));
            continue;
        };
        let explain = |error| format!("{name}: {error}");
        fill(&mut trial, crowd).map_err(explain)?;
        body_bytes = body_bytes.max(trial.body_bytes);
        trials.push(trial);
    }
    Ok(trials)
}

fn config(kind: Kind, tables: &Tables) -> String {
    match (kind, tables) {
        (Kind::Members, Tables::Sqlite(path)) => {
            members_config(&format!("url = \"sqlite:{}\"", path.display()))
        }
        (Kind::Members, Tables::MariaDb(server)) => {
            members_config(&format!("url = \"{}\"\nschema = \"gazelle\"", server.url()))
        }
        (Kind::Ocelot, Tables::MariaDb(server)) => ocelot::config(server),
        _ => String::new(),
    }
}

fn members_config(database: &str) -> String {
    format!("[private]\nenabled = true\nearly = \"0s\"\n[database]\n{database}\n")
}

fn start(
    options: &Options,
    name: &'static str,
    kind: Kind,
    tables: Tables,
    body_bytes: usize,
) -> Result<Option<Trial>, String> {
    let config = config(kind, &tables);
    // The names of this program are not those of the contestants.
    let all = Options { only: Vec::new(), ..options.clone() };
    let setup = Setup {
        options: &all,
        protocol: Protocol::Http,
        family: Family::Ipv4,
        swarms: 0,
        body_bytes: if body_bytes == 0 { 280 } else { body_bytes },
        config: &config,
    };
    let contestant = match kind {
        Kind::Open | Kind::Members => Contestant::Peerage,
        Kind::Ocelot => Contestant::Ocelot,
        Kind::Constant => Contestant::Nginx,
    };
    let started = Instant::now();
    let Some(mut server) = contestant.start(&setup)? else { return Ok(None) };
    let address = server.address(Family::Ipv4);
    let is_ours = contestant == Contestant::Peerage;
    let is_ready = |server: &Server| match is_ours {
        true => server.process.log().lines().any(|line| line == "ready"),
        false => fetch(address, "/").is_ok(),
    };
    while !is_ready(&server) {
        server.process.check_running()?;
        if READY_MAX < started.elapsed() {
            return Err(format!("{name} is not ready within {READY_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let loaded = started.elapsed();
    let explain = |error: std::io::Error| format!("{name}: {error}");
    let http = |reuse| HttpLoad::new(address, SOURCES as usize, reuse).map_err(explain);
    let udp = is_ours.then(|| Load::new(address, SOURCES, 30)).transpose().map_err(explain)?;
    Ok(Some(Trial {
        name,
        kind,
        loaded,
        loaded_cpu: server.process.cpu(),
        loaded_bytes: server.process.rss_bytes(),
        server,
        tables,
        http: [http(Reuse::KeepAlive)?, http(Reuse::OneEach)?],
        udp,
        claims: Claims { announced: 0, before: Vec::new(), uploaded: 0 },
        body_bytes: 0,
        figures: [const { Vec::new() }; 3],
        credit: None,
    }))
}

/// Announces every peer once, and waits until all is written.
fn fill(trial: &mut Trial, crowd: &Crowd) -> Result<(), String> {
    if trial.kind == Kind::Constant {
        return Ok(());
    }
    let population = crowd.population;
    trial.claims.before = vec![None; population.peers as usize];
    // The next peer of each source; sources that have no more announce their last one again.
    let mut numbers = vec![0; SOURCES as usize];
    let of_source = population.peers / SOURCES;
    let mut left = of_source * SOURCES;
    let Trial { kind, http: [http, _], claims, .. } = trial;
    let mut next = |source: Option<u32>| {
        left = left.checked_sub(1)?;
        let source = source.unwrap_or(0);
        let number = &mut numbers[source as usize];
        let peer = population.peer(source + (*number % of_source) * SOURCES);
        *number += 1;
        Some(http_ask(*kind, crowd, peer, claims))
    };
    let pace = Pace::Window(SOURCES as usize);
    let outcome = http.run(pace, FILL_MAX, &mut next).map_err(|error| error.to_string())?;
    if let Some(error) = &outcome.first_error {
        return Err(format!("{} errors, the first: {error}", outcome.errors));
    }
    trial.body_bytes = (outcome.body_bytes / outcome.replies.max(1)) as usize;
    until_written(trial)?;
    let peers = match trial.kind {
        Kind::Members => metric(trial, "member_seeders")? + metric(trial, "member_leechers")?,
        Kind::Ocelot => ocelot::peers(trial.server.address(Family::Ipv4))?,
        Kind::Open | Kind::Constant => return Ok(()),
    };
    if peers < f64::from(population.peers) * 0.9 {
        return Err(format!("{peers} peers of {} are there", population.peers));
    }
    Ok(())
}

fn http_ask(kind: Kind, crowd: &Crowd, peer: Peer, claims: &mut Claims) -> HttpAsk {
    match kind {
        Kind::Members | Kind::Ocelot => HttpAsk::Member(peer, claims.of(crowd, peer)),
        Kind::Open | Kind::Constant => HttpAsk::Announce(peer),
    }
}

fn one_round(options: &Options, trial: &mut Trial, crowd: &Crowd, seed: u64) -> Result<(), String> {
    let duration = options.duration(5);
    for way in Way::ALL {
        if way == Way::Udp && trial.udp.is_none() {
            continue;
        }
        one_way(trial, crowd, way, SETTLE, seed)?;
        let figures = one_way(trial, crowd, way, duration, seed)?;
        trial.figures[way as usize].push(figures);
    }
    let said = trial.claims.uploaded;
    trial.credit = trial.tables.credited()?.map(|credited| (said, credited));
    Ok(())
}

fn one_way(
    trial: &mut Trial,
    crowd: &Crowd,
    way: Way,
    limit: Duration,
    seed: u64,
) -> Result<Figures, String> {
    match way {
        Way::Kept | Way::Each => {
            measure(trial, &mut |trial| over_http(trial, crowd, way, limit, seed))
        }
        Way::Udp => {
            let load = trial.udp.as_mut().expect("the caller saw one");
            load.connect_all().map_err(|error| error.to_string())?.check()?;
            measure(trial, &mut |trial| over_udp(trial, crowd, limit, seed))
        }
    }
}

fn over_http(
    trial: &mut Trial,
    crowd: &Crowd,
    way: Way,
    limit: Duration,
    seed: u64,
) -> Result<Ran, String> {
    let mut rng = Rng(seed);
    let Trial { kind, http, claims, .. } = trial;
    let of_source = crowd.population.peers / SOURCES;
    let mut turn = rng.below(of_source * SOURCES);
    let mut next = |source: Option<u32>| {
        let number = match source {
            Some(source) => source + rng.below(of_source) * SOURCES,
            // Each in turn: of two announces of one peer at once the later may come first.
            None => {
                turn = (turn + STRIDE) % (of_source * SOURCES);
                turn
            }
        };
        Some(http_ask(*kind, crowd, crowd.population.peer(number), claims))
    };
    let pace = Pace::Window(SOURCES as usize);
    let outcome = http[way as usize].run(pace, limit, &mut next);
    let outcome = outcome.map_err(|error| error.to_string())?;
    if let Some(error) = &outcome.first_error {
        return Err(format!("{} errors, the first: {error}", outcome.errors));
    }
    let percentile = |percent| outcome.latencies.percentile_micros(percent);
    Ok((outcome.replies, outcome.elapsed, percentile(50.0), percentile(99.0)))
}

fn over_udp(trial: &mut Trial, crowd: &Crowd, limit: Duration, seed: u64) -> Result<Ran, String> {
    let mut rng = Rng(seed);
    let mut source = 0;
    let Trial { kind, udp, claims, .. } = trial;
    let mut next = || {
        if rng.below(100) < CONNECTS {
            source = (source + 1) % SOURCES;
            return Some(Ask::Connect { source });
        }
        let peer = crowd.population.peer(rng.below(crowd.population.peers));
        Some(match kind {
            Kind::Members => {
                let account = claims.of(crowd, peer);
                Ask::Member { peer, account, event: EVENT_NONE }
            }
            _ => Ask::Announce { peer, event: EVENT_NONE },
        })
    };
    let load = udp.as_mut().expect("it was there a moment ago");
    let outcome = load.run(Pace::Window(WINDOW), limit, &mut next);
    let outcome = outcome.map_err(|error| error.to_string())?;
    outcome.check()?;
    let percentile = |percent| outcome.latencies.percentile_micros(percent);
    Ok((outcome.replies(), outcome.elapsed, percentile(50.0), percentile(99.0)))
}

/// Replies, how long it took, and two latencies in microseconds.
type Ran = (u64, Duration, f64, f64);

fn measure(
    trial: &mut Trial,
    run: &mut dyn FnMut(&mut Trial) -> Result<Ran, String>,
) -> Result<Figures, String> {
    let rows_before = rows(trial)?;
    let started = Instant::now();
    let cpu_before = cpu(trial);
    let writing_before = writing(trial);
    let (own_before, machine_before) = own_and_machine_cpu();
    let (replies, elapsed, p50, p99) = run(trial)?;
    let cpu = cpu(trial) - cpu_before;
    let writing_then = writing(trial).saturating_sub(writing_before);
    let (own, machine) = own_and_machine_cpu();
    let all = (machine - machine_before).as_secs_f64();
    let ours = (own - own_before + cpu).as_secs_f64();
    let others = ((all - ours) / started.elapsed().as_secs_f64()).max(0.0);
    until_written(trial)?;
    let rows_elapsed = started.elapsed();
    let written = writing(trial).saturating_sub(writing_before);
    let rows = rows(trial)? - rows_before;
    let (replies, writing) = (replies as f64, writing_then);
    Ok(Figures { replies, elapsed, cpu, writing, written, rows, rows_elapsed, p50, p99, others })
}

/// What all threads took so far.
fn cpu(trial: &Trial) -> Duration {
    match trial.kind {
        Kind::Ocelot => trial.server.process.cpu_with_ended_threads(),
        Kind::Open | Kind::Members | Kind::Constant => trial.server.process.cpu(),
    }
}

/// Of that, the threads that write.
fn writing(trial: &Trial) -> Duration {
    let process = &trial.server.process;
    match trial.kind {
        // It answers on its first thread and begins others to write, which end. The two are
        // counted in different steps.
        Kind::Ocelot => cpu(trial).saturating_sub(process.cpu_of_first_thread()),
        Kind::Open | Kind::Members | Kind::Constant => process.cpu_of_threads(&WRITERS),
    }
}

fn rows(trial: &Trial) -> Result<f64, String> {
    match trial.kind {
        Kind::Members => metric(trial, "ledger_rows_written_total"),
        Kind::Open | Kind::Ocelot | Kind::Constant => Ok(0.0),
    }
}

/// Waits until nothing is left to be written.
fn until_written(trial: &Trial) -> Result<(), String> {
    let started = Instant::now();
    let mut before = -1.0;
    loop {
        let is_written = match trial.kind {
            Kind::Open | Kind::Constant => true,
            Kind::Members => {
                let written = rows(trial)?;
                let was = std::mem::replace(&mut before, written);
                metric(trial, "ledger_rows")? < 1.0 && (written - was).abs() < 0.5
            }
            // What is not in a queue by now is with its next look around.
            Kind::Ocelot => {
                ocelot::LOOKS_AROUND < started.elapsed()
                    && ocelot::queued(trial.server.address(Family::Ipv4))? < 1.0
            }
        };
        if is_written {
            return Ok(());
        }
        if WRITTEN_MAX < started.elapsed() {
            let log = trial.server.process.log();
            let last = log.lines().last().unwrap_or_default();
            return Err(format!("not all is written within {WRITTEN_MAX:?}: {last}"));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn metric(trial: &Trial, name: &str) -> Result<f64, String> {
    let address = trial.server.address(Family::Ipv4);
    let page = fetch(address, "/metrics").map_err(|error| format!("/metrics: {error}"))?;
    let value = page.lines().find_map(|line| {
        line.strip_prefix("peerage_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
    });
    value.ok_or_else(|| format!("/metrics has no peerage_{name}"))
}
