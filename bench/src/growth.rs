//! `bench growth`: what an announce costs our server as the number of peers grows.
//!
//! The popularity curve has the same form at every size (two peers a swarm), so that replies are
//! of the same size and only the memory they are read from grows. All sizes are held by servers
//! that run at the same time, and are measured in turn.

use crate::args::Options;
use crate::load::Pace;
use crate::mix::{Family, Population, Shape};
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::trial::{Measured, Mix, Trial};

const SIZES: [u32; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const SOURCES: u32 = 4096;
const WINDOW: usize = 180;
/// Percent of requests that are connects: as many as keep connection ids alive.
const CONNECTS: f64 = 1.0;

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("growth", options);
    let duration = options.duration(4);
    let rounds = options.rounds.unwrap_or(5);
    report.line(&format!(
        "- load: {rounds} rounds, each size in turn {duration:?} full (window {WINDOW}); announces \
         with numwant 30 and {CONNECTS} % connects; two peers a swarm, popularity skewed"
    ));
    let contestants = [Contestant::Peerage, Contestant::Opentracker, Contestant::Aquatic];
    // Only ours, unless others are asked for by name.
    let is_asked =
        |contestant: &Contestant| *contestant == Contestant::Peerage || !options.only.is_empty();
    for contestant in contestants.into_iter().filter(is_asked) {
        if let Some(table) = sizes(options, contestant)? {
            report.table(contestant.name(), &table);
        }
    }
    report.save()
}

fn sizes(options: &Options, contestant: Contestant) -> Result<Option<Table>, String> {
    let largest = options.peers.unwrap_or(SIZES[SIZES.len() - 1]);
    let mut trials = Vec::new();
    for peers in SIZES.into_iter().filter(|&size| size <= largest) {
        let swarms = peers / 2;
        let setup = Setup {
            options,
            protocol: Protocol::Udp,
            family: Family::Ipv4,
            swarms,
            body_bytes: 0,
            config: "",
        };
        let shape = Shape::Skewed;
        let population = Population { sources: SOURCES, swarms, peers, shape, seeders_percent: 75 };
        let Some(mut trial) = Trial::start(contestant, &setup, SOURCES)? else {
            return Ok(None);
        };
        trial.fill_and_check(&population)?;
        trials.push((trial, population, Vec::new()));
    }
    for round in 0..options.rounds.unwrap_or(5) {
        for (trial, population, measured) in &mut trials {
            trial.load.connect_all().map_err(|error| error.to_string())?;
            let mut mix = Mix::new(*population, CONNECTS, 0.0, round as u64);
            let pace = Pace::Window(WINDOW);
            measured.push(trial.measure(pace, options.duration(4), &mut || Some(mix.next()))?);
        }
    }
    let of =
        |measured: &[Measured], figure: fn(&Measured) -> f64| median(measured.iter().map(figure));
    let base = trials.first().map_or(0.0, |(_, _, first)| of(first, Measured::cpu_per_million));
    let mut table = Table::new(&[
        "peers",
        "CPU-s per M",
        "x smallest",
        "replies/s",
        "server core",
        "peers per reply",
        "RSS MiB",
        "others",
    ]);
    for (trial, population, measured) in &trials {
        let cpu = of(measured, Measured::cpu_per_million);
        table.row(vec![
            thousands(f64::from(population.peers)),
            format!("{cpu:.2}"),
            format!("{:.2}", cpu / base),
            thousands(of(measured, |measured| measured.outcome.rate())),
            format!("{:.0} %", 100.0 * of(measured, Measured::server_share)),
            format!("{:.1}", of(measured, Measured::peers_per_announce)),
            format!("{:.0}", trial.server.process.rss_bytes() as f64 / f64::from(1 << 20)),
            format!("{:.0} %", 100.0 * of(measured, |measured| measured.others)),
        ]);
    }
    Ok(Some(table))
}
