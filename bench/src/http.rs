//! `bench http`: replies, CPU and latency over HTTP, kept alive and one connection each.
//!
//! nginx returning a constant of our reply's size is the bar: it does no work but HTTP's.

use std::time::{Duration, Instant};

use crate::args::Options;
use crate::http_load::{HttpAsk, HttpLoad, HttpOutcome, Reuse, fetch};
use crate::load::Pace;
use crate::mix::{Family, Population, Rng, Shape};
use crate::process::own_and_machine_cpu;
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Server, Setup};

/// Ours first: its reply's size is that of the constants.
const CONTESTANTS: [Contestant; 5] = [
    Contestant::Peerage,
    Contestant::Opentracker,
    Contestant::Aquatic,
    Contestant::Nginx,
    Contestant::Null,
];
/// Source addresses where each request has its own connection.
const SOURCES: u32 = 4096;
const CONNECTIONS: usize = 256;
/// Percent of requests that are scrapes.
const SCRAPES: u32 = 1;
/// Body of the constants where no tracker told its own: 30 peers and their surroundings.
const BODY_BYTES: usize = 280;
const READY_MAX: Duration = Duration::from_secs(60);
const FILL_MAX: Duration = Duration::from_secs(120);

struct Trial {
    server: Server,
    load: HttpLoad,
    full: Vec<Measured>,
    half: Vec<Measured>,
}

struct Measured {
    outcome: HttpOutcome,
    cpu: Duration,
    others: f64,
}

impl Measured {
    fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.outcome.replies as f64
    }

    fn server_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()
    }

    fn rate(&self) -> f64 {
        self.outcome.replies as f64 / self.outcome.elapsed.as_secs_f64()
    }

    fn percentile(&self, percent: f64) -> f64 {
        self.outcome.latencies.percentile_micros(percent)
    }
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("http", options);
    let rounds = options.rounds.unwrap_or(3);
    let duration = options.duration(5);
    let connections = options.connections.unwrap_or(CONNECTIONS);
    report.line(&format!(
        "- load: {rounds} rounds, each contestant in turn {duration:?} full ({connections} \
         connections, one request each) and {duration:?} at half load; announces with numwant 30, \
         {SCRAPES} % scrapes; 75 % seeders"
    ));
    for reuse in [Reuse::KeepAlive, Reuse::OneEach] {
        compare(options, &mut report, reuse, connections)?;
    }
    report.save()
}

fn compare(
    options: &Options,
    report: &mut Report,
    reuse: Reuse,
    connections: usize,
) -> Result<(), String> {
    let sources = if reuse == Reuse::KeepAlive { connections as u32 } else { SOURCES };
    let population = Population {
        sources,
        swarms: options.swarms.unwrap_or(10_000),
        peers: options.peers.unwrap_or(100_000),
        shape: Shape::Skewed,
        seeders_percent: 75,
    };
    let mut body_bytes = BODY_BYTES;
    let mut trials = Vec::new();
    for contestant in CONTESTANTS {
        // opentracker closes after each reply.
        if reuse == Reuse::KeepAlive && contestant == Contestant::Opentracker {
            continue;
        }
        let setup = Setup {
            options,
            protocol: Protocol::Http,
            family: Family::Ipv4,
            swarms: population.swarms,
            body_bytes,
            config: "",
        };
        let Some(server) = contestant.start(&setup)? else {
            if options.wants(contestant.name()) {
                report.line(&format!("- left out (not found): {}", contestant.name()));
            }
            continue;
        };
        let trial = prepare(server, &population, reuse, connections)
            .map_err(|error| format!("{}: {error}", contestant.name()))?;
        if contestant == Contestant::Peerage {
            body_bytes = mean_body(&trial).unwrap_or(BODY_BYTES);
        }
        trials.push(trial);
    }
    report.line(&format!("- constants have a body of {body_bytes} bytes"));
    for round in 0..options.rounds.unwrap_or(3) {
        for trial in &mut trials {
            one_round(options, trial, &population, connections, round as u64)
                .map_err(|error| format!("{}: {error}", trial.server.contestant.name()))?;
        }
    }
    let heading = match reuse {
        Reuse::KeepAlive => "Kept alive",
        Reuse::OneEach => "One connection each",
    };
    report.table(&format!("{heading}: full load"), &table(&trials, |trial| &trial.full));
    report.table(&format!("{heading}: half load"), &table(&trials, |trial| &trial.half));
    Ok(())
}

/// Waits for a server and fills it.
fn prepare(
    mut server: Server,
    population: &Population,
    reuse: Reuse,
    connections: usize,
) -> Result<Trial, String> {
    let address = server.address(Family::Ipv4);
    let start = Instant::now();
    while fetch(address, "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa").is_err() {
        server.process.check_running()?;
        if start.elapsed() > READY_MAX {
            return Err(format!("no answer on {address} within {READY_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let load = HttpLoad::new(address, connections, reuse).map_err(|error| error.to_string())?;
    let mut trial = Trial { server, load, full: Vec::new(), half: Vec::new() };
    if matches!(trial.server.contestant, Contestant::Nginx | Contestant::Null) {
        return Ok(trial);
    }
    let mut numbers = vec![0; population.sources as usize];
    let mut any = 0..population.peers;
    let pace = Pace::Window(connections);
    let filled = measure(&mut trial, pace, FILL_MAX, &mut |source| match source {
        // The next peer of this connection's source; connections that have no more announce
        // their last one again until all are done.
        Some(source) => {
            any.next()?;
            let number = &mut numbers[source as usize];
            *number += 1;
            let peers_of_source = population.peers / population.sources;
            let peer = source + (*number % peers_of_source) * population.sources;
            Some(HttpAsk::Announce(population.peer(peer)))
        }
        None => any.next().map(|number| HttpAsk::Announce(population.peer(number))),
    })?;
    trial.full.push(filled);
    Ok(trial)
}

/// The mean body of the replies to the fill.
fn mean_body(trial: &Trial) -> Option<usize> {
    let fill = &trial.full.first()?.outcome;
    Some((fill.body_bytes / fill.replies.max(1)) as usize)
}

fn one_round(
    options: &Options,
    trial: &mut Trial,
    population: &Population,
    connections: usize,
    seed: u64,
) -> Result<(), String> {
    if seed == 0 {
        // What filling measured does not count.
        trial.full.clear();
    }
    let mut rng = Rng(seed);
    let mut next = |source: Option<u32>| {
        let number = match source {
            Some(source) => {
                source + rng.below(population.peers / population.sources) * population.sources
            }
            None => rng.below(population.peers),
        };
        let peer = population.peer(number);
        match rng.below(100) < SCRAPES {
            true => Some(HttpAsk::Scrape(peer.swarm)),
            false => Some(HttpAsk::Announce(peer)),
        }
    };
    let duration = options.duration(5);
    let window = Pace::Window(connections);
    measure(trial, window, Duration::from_millis(300), &mut next)?;
    let full = measure(trial, window, duration, &mut next)?;
    let rate = Pace::half_load(full.cpu_per_million(), full.rate());
    trial.full.push(full);
    let half = measure(trial, rate, duration, &mut next)?;
    trial.half.push(half);
    Ok(())
}

fn measure(
    trial: &mut Trial,
    pace: Pace,
    limit: Duration,
    next: &mut dyn FnMut(Option<u32>) -> Option<HttpAsk>,
) -> Result<Measured, String> {
    let start = Instant::now();
    let cpu_before = trial.server.process.cpu();
    let (own_before, machine_before) = own_and_machine_cpu();
    let outcome = trial.load.run(pace, limit, next).map_err(|error| error.to_string())?;
    let cpu = trial.server.process.cpu() - cpu_before;
    let (own, machine) = own_and_machine_cpu();
    if let Some(error) = &outcome.first_error {
        return Err(format!("{} errors, the first: {error}", outcome.errors));
    }
    let all = (machine - machine_before).as_secs_f64();
    let ours = (own - own_before + cpu).as_secs_f64();
    let others = ((all - ours) / start.elapsed().as_secs_f64()).max(0.0);
    Ok(Measured { outcome, cpu, others })
}

fn table(trials: &[Trial], phase: fn(&Trial) -> &Vec<Measured>) -> Table {
    let cpu = |trial: &Trial| median(phase(trial).iter().map(Measured::cpu_per_million));
    let nginx = trials.iter().find(|trial| trial.server.contestant == Contestant::Nginx).map(cpu);
    let mut table = Table::new(&[
        "server",
        "replies/s",
        "CPU-s per M",
        "x nginx",
        "server core",
        "lost",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "body bytes",
        "RSS MiB",
        "others",
    ]);
    for trial in trials {
        let of = |figure: &dyn Fn(&Measured) -> f64| median(phase(trial).iter().map(figure));
        let share = of(&Measured::server_share);
        table.row(vec![
            trial.server.contestant.name().to_owned(),
            thousands(of(&Measured::rate)),
            format!("{:.2}", cpu(trial)),
            nginx.map_or("-".to_owned(), |nginx| format!("{:.2}", cpu(trial) / nginx)),
            format!("{:.0} %", share * 100.0),
            format!("{:.0}", of(&|measured| measured.outcome.lost as f64)),
            format!("{:.0}", of(&|measured| measured.percentile(50.0))),
            format!("{:.0}", of(&|measured| measured.percentile(99.0))),
            format!("{:.0}", of(&|measured| measured.percentile(99.9))),
            format!(
                "{:.0}",
                of(&|measured| {
                    measured.outcome.body_bytes as f64 / measured.outcome.replies.max(1) as f64
                })
            ),
            format!("{:.0}", trial.server.process.rss_bytes() as f64 / f64::from(1 << 20)),
            format!("{:.0} %", 100.0 * of(&|measured| measured.others)),
        ]);
    }
    table
}
