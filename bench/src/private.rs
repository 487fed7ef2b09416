//! `bench private`: private mode with a million members and torrents beside open mode, in speed,
//! memory and the time to load.
//!
//! All contestants have the same peers in the same swarms and are asked in turn, over HTTP kept
//! alive and over UDP. Private ones write to a real database all along; what it takes until all
//! of a round is written is counted, and told apart from answering.

use std::process::Command;
use std::time::{Duration, Instant};

use peerage_testkit::{Folder, MariaDb};

use crate::args::Options;
use crate::http_load::{HttpAsk, HttpLoad, Reuse, fetch};
use crate::load::{Ask, Load, Pace};
use crate::mix::{Account, Family, Peer, Population, Rng, Shape, mix};
use crate::private_tables::{Sizes, mariadb, sqlite};
use crate::process::own_and_machine_cpu;
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Server, Setup};
use crate::trial::EVENT_NONE;

/// Source addresses, and connections of the HTTP load.
const SOURCES: u32 = 256;
/// Percent of UDP requests that are connects. There are no scrapes: members are refused them.
const CONNECTS: u32 = 10;
const WINDOW: usize = 180;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    /// Ours, whose ledger can be asked.
    Members,
    Ocelot,
    Constant,
}

struct Trial {
    name: &'static str,
    kind: Kind,
    server: Server,
    http: HttpLoad,
    udp: Option<Load>,
    /// Counts announces, so that what a client has moved grows.
    announced: u64,
    loaded: Duration,
    loaded_cpu: Duration,
    loaded_bytes: u64,
    body_bytes: usize,
    over_http: Vec<Figures>,
    over_udp: Vec<Figures>,
}

/// What one measurement has shown.
struct Figures {
    replies: f64,
    elapsed: Duration,
    cpu: Duration,
    /// Of `cpu`, the threads that write.
    writing: Duration,
    /// What those took until all was written.
    written: Duration,
    rows: f64,
    rows_elapsed: Duration,
    p50: f64,
    p99: f64,
    others: f64,
}

impl Figures {
    fn per_million(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.replies
    }

    fn answering(&self) -> f64 {
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
    let mut report = Report::new("private", options);
    let torrents = options.swarms.unwrap_or(1_000_000);
    let sizes = Sizes { members: options.members.unwrap_or(1_000_000), torrents };
    let peers = options.peers.unwrap_or(1_000_000);
    let shape = Shape::Skewed;
    let population =
        Population { sources: SOURCES, swarms: torrents, peers, shape, seeders_percent: 75 };
    let crowd = Crowd { population, sizes };
    if options.wants("memory") {
        memory(options, &mut report, sizes)?;
    }
    let folder = Folder::new("bench-private")?;
    // Dropped, and with it ended, after the servers that write to it.
    let mut database = None;
    let mut trials = contestants(options, &mut report, &crowd, &folder, &mut database)?;
    loading(&mut report, &trials, sizes);
    let rounds = options.rounds.unwrap_or(3);
    report.line(&format!(
        "- load: {rounds} rounds, each contestant in turn {:?} over HTTP ({SOURCES} connections \
         kept alive) and {:?} over UDP (window {WINDOW}, {CONNECTS} % connects), at full load; \
         {} peers by the popularity curve, announces drawn evenly with numwant 30; 75 % seeders, \
         of which {UPLOADERS} % have uploaded something, as all leechers have; before the next \
         takes its turn all is written",
        options.duration(5),
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
    report.table("HTTP, kept alive", &table(&trials, |trial| &trial.over_http));
    report.table("UDP", &table(&trials, |trial| &trial.over_udp));
    notes(options, &mut report);
    drop(trials);
    report.save()
}

fn notes(options: &Options, report: &mut Report) {
    report.line(
        "\n*answering* is all but the threads that write; *writing* is theirs until every row of \
         the round was written, SQLite's own work included, MariaDB's not.",
    );
    if options.ocelot.is_none() {
        report.line(
            "\nNo Ocelot was given (`--ocelot PATH`). Where it was measured it took 24 CPU-s per M \
             over HTTP kept alive, beside 8 to 12 of nginx with a constant: 2.5 times as fast is \
             9.6, 0.8 to 1.2 x nginx; 7 times as fast, over UDP, is 3.4, 0.29 to 0.43 x nginx.",
        );
    }
}

/// Those that were asked for and are there, filled.
fn contestants(
    options: &Options,
    report: &mut Report,
    crowd: &Crowd,
    folder: &Folder,
    database: &mut Option<MariaDb>,
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
        let needs_mariadb = matches!(name, "mariadb" | "ocelot");
        if needs_mariadb && database.is_none() && (name == "mariadb" || options.ocelot.is_some()) {
            *database = mariadb(folder, crowd.sizes)?;
        }
        let config = match (name, database.as_ref()) {
            ("sqlite", _) => {
                let path = sqlite(folder, crowd.sizes)?;
                members_config(&format!("url = \"sqlite:{}\"", path.display()))
            }
            ("mariadb", Some(server)) => {
                members_config(&format!("url = \"{}\"\nschema = \"gazelle\"", server.url()))
            }
            ("ocelot", Some(server)) => ocelot_config(server),
            ("open" | "nginx", _) => String::new(),
            _ => {
                report.line(&format!("- left out (not found): {name}"));
                continue;
            }
        };
        let Some(trial) = start(options, name, kind, &config, body_bytes)? else {
            report.line(&format!("- left out (not found): {name}"));
            continue;
        };
        let mut trial = trial;
        let explain = |error| format!("{name}: {error}");
        fill(&mut trial, crowd).map_err(explain)?;
        body_bytes = body_bytes.max(trial.body_bytes);
        trials.push(trial);
    }
    Ok(trials)
}

fn members_config(database: &str) -> String {
    format!("[private]\nenabled = true\nearly = \"0s\"\n[database]\n{database}\n")
}

/// Of Ocelot, with the site's database as ours has it.
fn ocelot_config(server: &MariaDb) -> String {
    format!(
        "max_connections = 1024\nkeepalive_timeout = 60\nconnection_timeout = 10\n\
         announce_interval = 1800\nnumwant_limit = 50\nmysql_host = 127.0.0.1\n\
         mysql_port = {}\nmysql_db = {}\nmysql_username = {}\nmysql_password = {}\n\
         site_host = 127.0.0.1\nsite_password = {:032}\nreport_password = {:032}\n",
        server.port(),
        MariaDb::DATABASE,
        MariaDb::USER,
        MariaDb::PASSWORD,
        1,
        2
    )
}

fn start(
    options: &Options,
    name: &'static str,
    kind: Kind,
    config: &str,
    body_bytes: usize,
) -> Result<Option<Trial>, String> {
    // The names of this program are not those of the contestants.
    let all = Options { only: Vec::new(), ..options.clone() };
    let setup = Setup {
        options: &all,
        protocol: Protocol::Http,
        family: Family::Ipv4,
        swarms: 0,
        body_bytes: if body_bytes == 0 { 280 } else { body_bytes },
        config,
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
    let http = HttpLoad::new(address, SOURCES as usize, Reuse::KeepAlive).map_err(explain)?;
    let udp = is_ours.then(|| Load::new(address, SOURCES, 30)).transpose().map_err(explain)?;
    Ok(Some(Trial {
        name,
        kind,
        loaded,
        loaded_cpu: server.process.cpu(),
        loaded_bytes: server.process.rss_bytes(),
        server,
        http,
        udp,
        announced: 0,
        body_bytes: 0,
        over_http: Vec::new(),
        over_udp: Vec::new(),
    }))
}

/// Announces every peer once, and waits until all is written.
fn fill(trial: &mut Trial, crowd: &Crowd) -> Result<(), String> {
    if trial.kind == Kind::Constant {
        return Ok(());
    }
    let population = crowd.population;
    // The next peer of each source; sources that have no more announce their last one again.
    let mut numbers = vec![0; SOURCES as usize];
    let of_source = population.peers / SOURCES;
    let mut left = of_source * SOURCES;
    let (kind, mut announced) = (trial.kind, 0);
    let mut next = |source: Option<u32>| {
        left = left.checked_sub(1)?;
        let source = source.unwrap_or(0);
        let number = &mut numbers[source as usize];
        let peer = population.peer(source + (*number % of_source) * SOURCES);
        *number += 1;
        announced += 1;
        Some(http_ask(kind, crowd, peer, announced))
    };
    let pace = Pace::Window(SOURCES as usize);
    let outcome = trial.http.run(pace, FILL_MAX, &mut next).map_err(|error| error.to_string())?;
    if let Some(error) = &outcome.first_error {
        return Err(format!("{} errors, the first: {error}", outcome.errors));
    }
    trial.announced = announced;
    trial.body_bytes = (outcome.body_bytes / outcome.replies.max(1)) as usize;
    until_written(trial)?;
    if trial.kind == Kind::Members {
        let peers = metric(trial, "member_seeders")? + metric(trial, "member_leechers")?;
        if peers < f64::from(population.peers) * 0.9 {
            return Err(format!("{peers} peers of {} are there", population.peers));
        }
    }
    Ok(())
}

fn http_ask(kind: Kind, crowd: &Crowd, peer: Peer, announced: u64) -> HttpAsk {
    match kind {
        Kind::Members | Kind::Ocelot => HttpAsk::Member(peer, crowd.account(peer, announced)),
        Kind::Open | Kind::Constant => HttpAsk::Announce(peer),
    }
}

fn one_round(options: &Options, trial: &mut Trial, crowd: &Crowd, seed: u64) -> Result<(), String> {
    let duration = options.duration(5);
    over_http(trial, crowd, SETTLE, seed)?;
    let figures = over_http(trial, crowd, duration, seed)?;
    trial.over_http.push(figures);
    if trial.udp.is_some() {
        over_udp(trial, crowd, SETTLE, seed)?;
        let figures = over_udp(trial, crowd, duration, seed)?;
        trial.over_udp.push(figures);
    }
    Ok(())
}

fn over_http(
    trial: &mut Trial,
    crowd: &Crowd,
    limit: Duration,
    seed: u64,
) -> Result<Figures, String> {
    let mut rng = Rng(seed);
    measure(trial, &mut |trial| {
        let (kind, mut announced) = (trial.kind, trial.announced);
        let of_source = crowd.population.peers / SOURCES;
        let mut next = |source: Option<u32>| {
            let number = source.unwrap_or(0) + rng.below(of_source) * SOURCES;
            announced += 1;
            Some(http_ask(kind, crowd, crowd.population.peer(number), announced))
        };
        let pace = Pace::Window(SOURCES as usize);
        let outcome = trial.http.run(pace, limit, &mut next).map_err(|error| error.to_string())?;
        trial.announced = announced;
        if let Some(error) = &outcome.first_error {
            return Err(format!("{} errors, the first: {error}", outcome.errors));
        }
        let percentile = |percent| outcome.latencies.percentile_micros(percent);
        Ok((outcome.replies, outcome.elapsed, percentile(50.0), percentile(99.0)))
    })
}

fn over_udp(
    trial: &mut Trial,
    crowd: &Crowd,
    limit: Duration,
    seed: u64,
) -> Result<Figures, String> {
    let mut rng = Rng(seed);
    let mut source = 0;
    let load = trial.udp.as_mut().expect("the caller saw one");
    load.connect_all().map_err(|error| error.to_string())?.check()?;
    measure(trial, &mut |trial| {
        let (kind, mut announced) = (trial.kind, trial.announced);
        let mut next = || {
            if rng.below(100) < CONNECTS {
                source = (source + 1) % SOURCES;
                return Some(Ask::Connect { source });
            }
            let peer = crowd.population.peer(rng.below(crowd.population.peers));
            announced += 1;
            Some(match kind {
                Kind::Members => {
                    let account = crowd.account(peer, announced);
                    Ask::Member { peer, account, event: EVENT_NONE }
                }
                _ => Ask::Announce { peer, event: EVENT_NONE },
            })
        };
        let load = trial.udp.as_mut().expect("it was there a moment ago");
        let outcome = load.run(Pace::Window(WINDOW), limit, &mut next);
        let outcome = outcome.map_err(|error| error.to_string())?;
        trial.announced = announced;
        outcome.check()?;
        let percentile = |percent| outcome.latencies.percentile_micros(percent);
        Ok((outcome.replies(), outcome.elapsed, percentile(50.0), percentile(99.0)))
    })
}

/// Replies, how long it took, and two latencies in microseconds.
type Ran = (u64, Duration, f64, f64);

fn measure(
    trial: &mut Trial,
    run: &mut dyn FnMut(&mut Trial) -> Result<Ran, String>,
) -> Result<Figures, String> {
    let rows_before = rows(trial)?;
    let started = Instant::now();
    let cpu_before = trial.server.process.cpu();
    let writing_before = trial.server.process.cpu_of_threads(&WRITERS);
    let (own_before, machine_before) = own_and_machine_cpu();
    let (replies, elapsed, p50, p99) = run(trial)?;
    let cpu = trial.server.process.cpu() - cpu_before;
    let writing = trial.server.process.cpu_of_threads(&WRITERS) - writing_before;
    let (own, machine) = own_and_machine_cpu();
    let all = (machine - machine_before).as_secs_f64();
    let ours = (own - own_before + cpu).as_secs_f64();
    let others = ((all - ours) / started.elapsed().as_secs_f64()).max(0.0);
    until_written(trial)?;
    let rows_elapsed = started.elapsed();
    let written = trial.server.process.cpu_of_threads(&WRITERS) - writing_before;
    let rows = rows(trial)? - rows_before;
    let replies = replies as f64;
    Ok(Figures { replies, elapsed, cpu, writing, written, rows, rows_elapsed, p50, p99, others })
}

fn rows(trial: &Trial) -> Result<f64, String> {
    match trial.kind {
        Kind::Members => metric(trial, "ledger_rows_written_total"),
        Kind::Open | Kind::Ocelot | Kind::Constant => Ok(0.0),
    }
}

/// Waits until nothing is left to be written.
fn until_written(trial: &Trial) -> Result<(), String> {
    if trial.kind != Kind::Members {
        return Ok(());
    }
    let started = Instant::now();
    let mut before = -1.0;
    loop {
        let written = rows(trial)?;
        if metric(trial, "ledger_rows")? < 1.0 && (written - before).abs() < 0.5 {
            return Ok(());
        }
        if WRITTEN_MAX < started.elapsed() {
            return Err(format!("not all is written within {WRITTEN_MAX:?}"));
        }
        before = written;
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

fn loading(report: &mut Report, trials: &[Trial], sizes: Sizes) {
    let mut table = Table::new(&["database", "s until ready", "CPU-s", "RSS MiB"]);
    for trial in trials.iter().filter(|trial| matches!(trial.kind, Kind::Members | Kind::Ocelot)) {
        table.row(vec![
            trial.name.to_owned(),
            format!("{:.2}", trial.loaded.as_secs_f64()),
            format!("{:.2}", trial.loaded_cpu.as_secs_f64()),
            thousands(trial.loaded_bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    let (members, torrents) = (thousands(sizes.members.into()), thousands(sizes.torrents.into()));
    report.table(&format!("Loading {members} members and {torrents} torrents"), &table);
}

fn table(trials: &[Trial], figures: fn(&Trial) -> &Vec<Figures>) -> Table {
    let of =
        |trial: &Trial, figure: &dyn Fn(&Figures) -> f64| median(figures(trial).iter().map(figure));
    let sum = |trial: &Trial| of(trial, &|one| one.answering() + one.per_million(one.written));
    let find = |kind| trials.iter().find(|trial| trial.kind == kind);
    let open = find(Kind::Open).map(sum);
    // Over HTTP, in both tables: it is what other machines can be compared by.
    let nginx = find(Kind::Constant)
        .map(|trial| median(trial.over_http.iter().map(|one| one.per_million(one.cpu))));
    let mut table = Table::new(&[
        "server",
        "replies/s",
        "CPU-s per M",
        "answering",
        "writing",
        "x open",
        "x nginx",
        "rows per reply",
        "rows/s",
        "p50 us",
        "p99 us",
        "RSS MiB",
        "others",
    ]);
    for trial in trials.iter().filter(|trial| !figures(trial).is_empty()) {
        let times = |other: Option<f64>| {
            other.map_or("-".to_owned(), |other| format!("{:.2}", sum(trial) / other))
        };
        table.row(vec![
            trial.name.to_owned(),
            thousands(of(trial, &|one| one.replies / one.elapsed.as_secs_f64())),
            format!("{:.2}", sum(trial)),
            format!("{:.2}", of(trial, &Figures::answering)),
            format!("{:.2}", of(trial, &|one| one.per_million(one.written))),
            times(open),
            times(nginx),
            format!("{:.2}", of(trial, &|one| one.rows / one.replies)),
            thousands(of(trial, &|one| one.rows / one.rows_elapsed.as_secs_f64())),
            format!("{:.0}", of(trial, &|one| one.p50)),
            format!("{:.0}", of(trial, &|one| one.p99)),
            thousands(trial.server.process.rss_bytes() as f64 / f64::from(1 << 20)),
            format!("{:.0} %", 100.0 * of(trial, &|one| one.others)),
        ]);
    }
    table
}

/// Bytes per member, torrent and peer, each shape in a process of its own.
fn memory(options: &Options, report: &mut Report, sizes: Sizes) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let peers = options.peers.unwrap_or(1_000_000);
    let mut table =
        Table::new(&["peers a swarm", "bytes per member", "per torrent", "per peer", "RSS MiB"]);
    for (shape, torrents) in [("1", peers), ("10", peers / 10), ("1 000", peers / 1000)] {
        let numbers = [sizes.members, torrents, peers].map(|number| number.max(1).to_string());
        let [members, swarms, count] = &numbers;
        let flags = ["private-memory", "--members", members, "--swarms", swarms, "--peers", count];
        let output = Command::new(&program).args(flags).output();
        let output = output.map_err(|error| format!("private-memory: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let bytes: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
        let &[empty, with_members, with_torrents, with_peers, resident] = bytes.as_slice() else {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("private-memory: {said}{error}"));
        };
        let each = |bytes: f64, count: u32| format!("{:.1}", bytes / f64::from(count.max(1)));
        table.row(vec![
            shape.to_owned(),
            each(with_members - empty, sizes.members),
            each(with_torrents - with_members, torrents),
            each(with_peers - with_torrents, peers),
            thousands(resident / f64::from(1 << 20)),
        ]);
    }
    report.table("Memory allocated, with what the allocator adds", &table);
    Ok(())
}
