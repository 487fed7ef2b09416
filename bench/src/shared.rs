//! `bench shared`: what it costs to share swarms, at the node and at Redis.
//!
//! Three questions. What does a node answer per CPU-second alone, with Redis, and beside a second
//! node? And how many announces does one Redis core carry, when every client announces once an
//! interval and some come and go? For the latter the interval is cut to half a minute and the
//! population with it: what is merged and what is told per announce stays the same. The third, what
//! that core carries near full, is in `shared_core`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::args::Options;
use crate::load::{Ask, Pace};
use crate::mix::{Family, Population, Shape};
use crate::process::{Process, scratch_directory};
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::shared_core;
use crate::trial::{EVENT_NONE, EVENT_STARTED, EVENT_STOPPED, Measured, Mix, Trial};

const SOURCES: u32 = 4096;
const CONNECTS: f64 = 10.0;
const SCRAPES: f64 = 1.0;
const WINDOW: usize = 180;
const SETTLE: Duration = Duration::from_millis(300);

/// The interval of the second question.
const INTERVAL: Duration = Duration::from_secs(30);
/// Of so many peers one stops in a round and comes back in the next.
pub(crate) const CHURN: u32 = 20;
/// In a round, after so many announces a connection id is renewed.
const CONNECT_EVERY: u32 = 50;

/// How long changes may take to reach Redis.
const TOLD_MAX: Duration = Duration::from_secs(60);

/// A running `redis-server`.
pub(crate) struct Redis {
    process: Process,
    port: u16,
}

/// What Redis has done.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    commands: f64,
    /// Calls of scripts.
    pub(crate) scripts: f64,
    pub(crate) bytes: f64,
}

impl Redis {
    pub(crate) fn start(options: &Options) -> Result<Self, String> {
        let directory = scratch_directory("redis")?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.map_err(|error| format!("no free port: {error}"))?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(&directory);
        let core = options.server_core();
        let process = Process::start(command, directory, core, options.load_core())?;
        let mut redis = Self { process, port };
        let started = Instant::now();
        while redis.ask("PING").is_err() {
            redis.process.check_running()?;
            if started.elapsed() > TOLD_MAX {
                return Err("redis-server does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    /// The text of what it answers to a command without arguments that need quotes.
    pub(crate) fn ask(&self, command: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("redis: {error}");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(failed)?;
        write!(stream, "{command}\r\nQUIT\r\n").map_err(failed)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// By which a node finds it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn usage(&self) -> Result<Usage, String> {
        let info = self.ask("INFO stats")?;
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.strip_prefix(':')?.trim().parse::<f64>().ok())
                .ok_or_else(|| format!("INFO has no {name}"))
        };
        let bytes = field("total_net_input_bytes")? + field("total_net_output_bytes")?;
        let commands = field("total_commands_processed")?;
        let calls = self.ask("INFO commandstats")?;
        let calls = calls.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.and_then(|line| line.split(',').next()?.parse().ok());
        let scripts = calls.unwrap_or_default();
        Ok(Usage { cpu: self.process.cpu(), commands, scripts, bytes })
    }

    /// Waits until it has little to do: what was announced has been told.
    fn settle(&self) -> Result<(), String> {
        let started = Instant::now();
        let mut before = self.process.cpu();
        while started.elapsed() < TOLD_MAX {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.process.cpu();
            if now - before < Duration::from_millis(20) {
                return Ok(());
            }
            before = now;
        }
        Err("Redis is not told all within a minute".to_owned())
    }

    fn config(&self) -> String {
        format!("[shared]\nredis = \"{}\"\n", self.url())
    }
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("shared", options);
    // `--only peerage,redis,core` leaves out the first question, `--only peerage,nodes` the others.
    if options.wants("nodes") {
        nodes(options, &mut report)?;
    }
    if options.wants("redis") {
        redis_core(options, &mut report)?;
    }
    if options.wants("core") {
        shared_core::run(options, &mut report)?;
    }
    report.save()
}

/// Replies per CPU-second of one node alone, one with Redis, and each of two.
fn nodes(options: &Options, report: &mut Report) -> Result<(), String> {
    let (swarms, peers) = (options.swarms.unwrap_or(100_000), options.peers.unwrap_or(200_000));
    let rounds = options.rounds.unwrap_or(3);
    report.line(&format!(
        "- nodes: {rounds} rounds, each in turn {:?} at full load; {CONNECTS} % connects, \
         {SCRAPES} % scrapes, the rest announces with numwant 30; Redis and all nodes on one core",
        options.duration(5)
    ));
    let shape = Shape::Skewed;
    let population = Population { sources: SOURCES, swarms, peers, shape, seeders_percent: 75 };
    let redis = Redis::start(options)?;
    let pair = Redis::start(options)?;
    let shared = [String::new(), redis.config(), pair.config(), pair.config()];
    let names = ["alone", "with Redis", "first of two", "second of two"];
    let mut trials = Vec::new();
    for (name, config) in names.into_iter().zip(&shared) {
        let setup = Setup {
            options,
            protocol: Protocol::Udp,
            family: Family::Ipv4,
            swarms,
            body_bytes: 0,
            config,
        };
        let trial = Trial::start(Contestant::Peerage, &setup, SOURCES)?;
        let mut trial = trial.ok_or("our server is not there: cargo build --release")?;
        // Of two each has half of the clients.
        let half = peers / 2;
        let numbers = match name {
            "first of two" => 0..half,
            "second of two" => half..peers,
            _ => 0..peers,
        };
        trial.fill(&population, numbers)?;
        trials.push((name, trial, Vec::new()));
    }
    redis.settle()?;
    pair.settle()?;
    for round in 0..rounds {
        for (_, trial, measured) in &mut trials {
            let mut mix = Mix::new(population, CONNECTS, SCRAPES, round as u64);
            trial.load.connect_all().map_err(|error| error.to_string())?;
            trial.measure(Pace::Window(WINDOW), SETTLE, &mut || Some(mix.next()))?;
            let duration = options.duration(5);
            let full = trial.measure(Pace::Window(WINDOW), duration, &mut || Some(mix.next()))?;
            measured.push(full);
        }
    }
    let mut table =
        Table::new(&["node", "replies/CPU-s", "CPU-s per M", "p99 us", "peers per reply"]);
    for (name, _, measured) in &trials {
        let cpu = median(measured.iter().map(Measured::cpu_per_million));
        let p99 = median(measured.iter().map(|one| one.outcome.latencies.percentile_micros(99.0)));
        let peers = median(measured.iter().map(Measured::peers_per_announce));
        table.row(vec![
            (*name).to_owned(),
            thousands(1e6 / cpu),
            format!("{cpu:.2}"),
            format!("{p99:.0}"),
            format!("{peers:.1}"),
        ]);
    }
    let heading = format!("{} swarms, {} peers", thousands(swarms.into()), thousands(peers.into()));
    report.table(&heading, &table);
    Ok(())
}

/// Announces per second that one Redis core carries, in swarms of several sizes.
fn redis_core(options: &Options, report: &mut Report) -> Result<(), String> {
    let peers = options.peers.unwrap_or(300_000);
    report.line(&format!(
        "\n- Redis: {} peers announce once in {INTERVAL:?}, for three rounds of which the last two \
         count; of {CHURN} peers one stops in a round and comes back in the next",
        thousands(peers.into())
    ));
    let mut table = Table::new(&[
        "peers per swarm",
        "announces/s",
        "announces/s a Redis core",
        "commands per announce",
        "bytes per announce",
        "Redis core used",
    ]);
    for (label, swarms, shape) in [
        ("2, skewed", peers / 2, Shape::Skewed),
        ("1", peers, Shape::Even),
        ("10", peers / 10, Shape::Even),
        ("100", peers / 100, Shape::Even),
    ] {
        let population = Population { sources: SOURCES, swarms, peers, shape, seeders_percent: 75 };
        table.row(one_cadence(options, label, &population)?);
    }
    report.table("One Redis core", &table);
    Ok(())
}

fn one_cadence(
    options: &Options,
    label: &str,
    population: &Population,
) -> Result<Vec<String>, String> {
    let redis = Redis::start(options)?;
    let secs = INTERVAL.as_secs();
    let config = format!(
        "{}[announce]\nmin_interval = \"{secs}s\"\nmax_interval = \"{secs}s\"\njitter = \"0s\"\n",
        redis.config()
    );
    let setup = Setup {
        options,
        protocol: Protocol::Udp,
        family: Family::Ipv4,
        swarms: population.swarms,
        body_bytes: 0,
        config: &config,
    };
    let trial = Trial::start(Contestant::Peerage, &setup, SOURCES)?;
    let mut trial = trial.ok_or("our server is not there: cargo build --release")?;
    let rate = f64::from(population.peers) / INTERVAL.as_secs_f64();
    let rate_asked = rate * (1.0 + 1.0 / f64::from(CONNECT_EVERY));
    let mut before = redis.usage()?;
    let (mut announces, mut elapsed) = (0, Duration::ZERO);
    let mut source = 0;
    for round in 0..3 {
        if round == 1 {
            (before, announces, elapsed) = (redis.usage()?, 0, Duration::ZERO);
        }
        let (mut numbers, mut issued) = (0..population.peers, 0_u32);
        let measured = trial.measure(Pace::Rate(rate_asked), INTERVAL * 2, &mut || {
            issued += 1;
            if issued.is_multiple_of(CONNECT_EVERY) {
                source = (source + 1) % population.sources;
                return Some(Ask::Connect { source });
            }
            let number = numbers.next()?;
            let event = match (round, (number / population.swarms + number) % CHURN) {
                (0, _) => EVENT_STARTED,
                (1, 0) => EVENT_STOPPED,
                (_, 0) => EVENT_STARTED,
                _ => EVENT_NONE,
            };
            Some(Ask::Announce { peer: population.peer(number), event })
        })?;
        announces += measured.outcome.announces;
        elapsed += measured.outcome.elapsed;
    }
    let after = redis.usage()?;
    let announces = announces as f64;
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(vec![
        label.to_owned(),
        thousands(announces / elapsed.as_secs_f64()),
        thousands(announces / cpu),
        format!("{:.2}", (after.commands - before.commands) / announces),
        format!("{:.0}", (after.bytes - before.bytes) / announces),
        format!("{:.0} %", 100.0 * cpu / elapsed.as_secs_f64()),
    ])
}
