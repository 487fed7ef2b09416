//! `bench udp`: replies, CPU, loss and latency over UDP, ours beside the others.

use std::time::Duration;

use crate::args::Options;
use crate::load::Pace;
use crate::mix::{Family, Population, Shape};
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::trial::{Measured, Mix, Trial};

const CONTESTANTS: [Contestant; 5] = [
    Contestant::Null,
    Contestant::Peerage,
    Contestant::Opentracker,
    Contestant::Aquatic,
    Contestant::AquaticUring,
];
/// Source addresses. A connection id belongs to one of them and is renewed every few hundred
/// milliseconds by the share of connects.
const SOURCES: u32 = 4096;
/// Percent of requests that are scrapes.
const SCRAPES: f64 = 1.0;
/// Percent of requests that are connects, unless asked otherwise.
const CONNECTS: f64 = 10.0;
/// Requests without a reply under full load: fewer than a default receive buffer holds, so that
/// next to nothing is lost. It has 212,992 bytes, a datagram takes 768, and the kernel gives back
/// what was read in quarters only: 207.
const WINDOW: usize = 180;
const SETTLE: Duration = Duration::from_millis(300);

/// Both measurements of a contestant in a round.
struct Round {
    full: Measured,
    half: Measured,
    /// Requests per second at half load.
    asked: f64,
    rss_bytes: u64,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("udp", options);
    let rounds = options.rounds.unwrap_or(3);
    let duration = options.duration(5);
    let connects = options.connects_percent.unwrap_or(CONNECTS);
    report.line(&format!(
        "- load: {rounds} rounds, each contestant in turn {duration:?} full (window {}) and \
         {duration:?} at half load; {connects} % connects, {SCRAPES} % scrapes, the rest announces \
         with numwant 30; {SOURCES} source addresses; 75 % seeders",
        options.window.unwrap_or(WINDOW)
    ));
    report.line(
        "- half load: a fixed rate of half of what the server's CPU time per reply allows; \
         latencies count from the instant a request was due",
    );
    let mixes = match (options.swarms, options.peers) {
        (None, None) => vec![(1_000_000, 2_000_000), (10_000, 2_000_000)],
        (swarms, peers) => vec![(swarms.unwrap_or(1_000_000), peers.unwrap_or(2_000_000))],
    };
    for (swarms, peers) in mixes {
        let shape = Shape::Skewed;
        let population = Population { sources: SOURCES, swarms, peers, shape, seeders_percent: 75 };
        mix(options, &mut report, population, connects)?;
    }
    report.save()
}

fn mix(
    options: &Options,
    report: &mut Report,
    population: Population,
    connects: f64,
) -> Result<(), String> {
    let setup = Setup {
        options,
        protocol: Protocol::Udp,
        family: Family::Ipv4,
        swarms: population.swarms,
        body_bytes: 0,
        config: "",
    };
    let mut trials = Vec::new();
    for contestant in CONTESTANTS {
        match Trial::start(contestant, &setup, SOURCES)? {
            Some(mut trial) => {
                trial.fill_and_check(&population)?;
                trials.push((trial, Vec::new()));
            }
            None if options.wants(contestant.name()) => {
                report.line(&format!("- left out (not found): {}", contestant.name()));
            }
            None => {}
        }
    }
    for round in 0..options.rounds.unwrap_or(3) {
        for (trial, rounds) in &mut trials {
            let seed = round as u64;
            rounds.push(one_round(options, trial, population, connects, seed)?);
        }
    }
    let heading = format!(
        "{} swarms, {} peers",
        thousands(f64::from(population.swarms)),
        thousands(f64::from(population.peers))
    );
    report.table(&format!("{heading}: full load"), &full_table(&trials));
    report.table(&format!("{heading}: half load"), &half_table(&trials));
    Ok(())
}

fn one_round(
    options: &Options,
    trial: &mut Trial,
    population: Population,
    connects: f64,
    seed: u64,
) -> Result<Round, String> {
    let mut mix = Mix::new(population, connects, SCRAPES, seed);
    let window = Pace::Window(options.window.unwrap_or(WINDOW));
    let duration = options.duration(5);
    // Connection ids have grown old while the others had their turn.
    trial.load.connect_all().map_err(|error| error.to_string())?;
    trial.measure(window, SETTLE, &mut || Some(mix.next()))?;
    let full = trial.measure(window, duration, &mut || Some(mix.next()))?;
    let rate = Pace::half_load(full.cpu_per_million(), full.outcome.rate());
    trial.measure(rate, SETTLE, &mut || Some(mix.next()))?;
    let Pace::Rate(asked) = rate else { unreachable!("half load is a rate") };
    let half = trial.measure(rate, duration, &mut || Some(mix.next()))?;
    Ok(Round { full, half, asked, rss_bytes: trial.server.process.rss_bytes() })
}

fn full_table(trials: &[(Trial, Vec<Round>)]) -> Table {
    let of = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let cpu = |rounds: &[Round]| of(rounds, &|round| round.full.cpu_per_million());
    let find = |contestant| trials.iter().find(|(trial, _)| trial.server.contestant == contestant);
    let null = find(Contestant::Null).map(|(_, rounds)| cpu(rounds));
    let mut table = Table::new(&[
        "server",
        "replies/s",
        "CPU-s per M",
        "x null",
        "server core",
        "lost per M",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "peers per reply",
        "RSS MiB",
        "others",
    ]);
    for (trial, rounds) in trials {
        let share = of(rounds, &|round| round.full.server_share());
        let latency = |percent| {
            let micros =
                of(rounds, &|round| round.full.outcome.latencies.percentile_micros(percent));
            format!("{micros:.0}")
        };
        table.row(vec![
            trial.server.contestant.name().to_owned(),
            thousands(of(rounds, &|round| round.full.outcome.rate())),
            format!("{:.2}", cpu(rounds)),
            null.map_or("-".to_owned(), |null| format!("{:.2}", cpu(rounds) / null)),
            format!(
                "{:.0} %{}",
                share * 100.0,
                if share < 0.95 { " (load is the limit)" } else { "" }
            ),
            format!("{:.0}", of(rounds, &|round| round.full.lost_per_million())),
            latency(50.0),
            latency(99.0),
            latency(99.9),
            format!("{:.1}", of(rounds, &|round| round.full.peers_per_announce())),
            format!("{:.0}", of(rounds, &|round| round.rss_bytes as f64 / f64::from(1 << 20))),
            format!("{:.0} %", 100.0 * of(rounds, &|round| round.full.others)),
        ]);
    }
    table
}

fn half_table(trials: &[(Trial, Vec<Round>)]) -> Table {
    let mut table = Table::new(&[
        "server",
        "asked/s",
        "replies/s",
        "CPU-s per M",
        "server core",
        "lost per M",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "others",
    ]);
    for (trial, rounds) in trials {
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        let latency = |percent| {
            let micros = of(&|round| round.half.outcome.latencies.percentile_micros(percent));
            format!("{micros:.0}")
        };
        table.row(vec![
            trial.server.contestant.name().to_owned(),
            thousands(of(&|round| round.asked)),
            thousands(of(&|round| round.half.outcome.rate())),
            format!("{:.2}", of(&|round| round.half.cpu_per_million())),
            format!("{:.0} %", 100.0 * of(&|round| round.half.server_share())),
            format!("{:.0}", of(&|round| round.half.lost_per_million())),
            latency(50.0),
            latency(99.0),
            latency(99.9),
            format!("{:.0} %", 100.0 * of(&|round| round.half.others)),
        ]);
    }
    table
}
