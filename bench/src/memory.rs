//! `bench memory`: bytes per peer, as resident memory over that of the empty server.
//!
//! Every peer is announced until its reply came, and all swarms are scraped afterwards, so that a
//! figure is never one of lost packets.

use crate::args::Options;
use crate::load::Load;
use crate::mix::{Family, Population, Shape};
use crate::network;
use crate::report::{Report, Table, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::trial::Trial;

/// Source addresses: so many that even a swarm of a million peers has 16 of each.
const SOURCES: u32 = 65_536;

/// Swarms, peers, and whether the others are measured too.
const SHAPES: [(u32, u32, Field); 5] = [
    (1_000_000, 1_000_000, Field::All),
    (100_000, 1_000_000, Field::All),
    (20, 1_000_000, Field::All),
    (1_000_000, 10_000_000, Field::Ours),
    (1, 1_000_000, Field::Ours),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    All,
    Ours,
}

/// Whose addresses the peers have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Ipv4,
    /// The second half of the peers over IPv6.
    Half,
}

/// A server's memory in one shape.
struct Filled {
    empty_bytes: u64,
    full_bytes: u64,
    fill_secs: f64,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("memory", options);
    report.line(&format!(
        "- every swarm has the same number of peers, which come in turn to each; {SOURCES} source \
         addresses; 75 % seeders; counts checked by scraping every swarm"
    ));
    let shapes: Vec<_> = match (options.swarms, options.peers) {
        (None, None) => SHAPES.to_vec(),
        (swarms, peers) => {
            vec![(swarms.unwrap_or(100_000), peers.unwrap_or(1_000_000), Field::All)]
        }
    };
    pass(options, &mut report, Pass::Ipv4, &shapes)?;
    if network::has_ipv6_sources() {
        pass(options, &mut report, Pass::Half, &shapes)?;
    } else {
        report.line("\nNo IPv6 sources here (it takes a network namespace): second pass left out.");
    }
    report.save()
}

fn pass(
    options: &Options,
    report: &mut Report,
    pass: Pass,
    shapes: &[(u32, u32, Field)],
) -> Result<(), String> {
    let mut table = Table::new(&[
        "server",
        "swarms",
        "peers",
        "empty MiB",
        "full MiB",
        "bytes per peer",
        "fill s",
    ]);
    for &(swarms, peers, field) in shapes {
        for contestant in [Contestant::Peerage, Contestant::Opentracker, Contestant::Aquatic] {
            let is_ours = contestant == Contestant::Peerage;
            if field == Field::Ours && !is_ours && options.only.is_empty() {
                continue;
            }
            let Some(filled) = fill(options, contestant, pass, swarms, peers)? else { continue };
            let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
            let grown = filled.full_bytes.saturating_sub(filled.empty_bytes);
            table.row(vec![
                contestant.name().to_owned(),
                thousands(f64::from(swarms)),
                thousands(f64::from(peers)),
                mebibytes(filled.empty_bytes),
                mebibytes(filled.full_bytes),
                format!("{:.1}", grown as f64 / f64::from(peers)),
                format!("{:.1}", filled.fill_secs),
            ]);
        }
    }
    let heading = match pass {
        Pass::Ipv4 => "All peers over IPv4",
        Pass::Half => "Half of the peers over IPv6",
    };
    report.table(heading, &table);
    Ok(())
}

fn fill(
    options: &Options,
    contestant: Contestant,
    pass: Pass,
    swarms: u32,
    peers: u32,
) -> Result<Option<Filled>, String> {
    let family = if pass == Pass::Ipv4 { Family::Ipv4 } else { Family::Ipv6 };
    let setup =
        Setup { options, protocol: Protocol::Udp, family, swarms, body_bytes: 0, config: "" };
    let population =
        Population { sources: SOURCES, swarms, peers, shape: Shape::Even, seeders_percent: 75 };
    let Some(mut trial) = Trial::start(contestant, &setup, SOURCES)? else { return Ok(None) };
    let explain = |error: std::io::Error| format!("{}: {error}", contestant.name());
    let second = match pass {
        Pass::Ipv4 => None,
        Pass::Half => {
            let address = trial.server.address(Family::Ipv4);
            let mut load = Load::new(address, SOURCES, 30).map_err(explain)?;
            load.connect_all().map_err(explain)?.check()?;
            Some(load)
        }
    };
    let empty_bytes = trial.server.process.rss_bytes();
    let first = if second.is_some() { peers / 2 } else { peers };
    let mut secs = trial.fill(&population, 0..first)?.outcome.elapsed.as_secs_f64();
    let mut counted = 0;
    if let Some(second) = second {
        let (seeders, leechers) = trial.count(swarms)?;
        trial.load = second;
        secs += trial.fill(&population, first..peers)?.outcome.elapsed.as_secs_f64();
        counted = seeders + leechers;
    }
    let full_bytes = trial.server.process.rss_bytes();
    let (seeders, leechers) = trial.count(swarms)?;
    // Some count the family that asks, some all peers.
    let all = seeders + leechers;
    if all != u64::from(peers) && all + counted != u64::from(peers) {
        return Err(format!("{} counts {all} peers of {peers}", contestant.name()));
    }
    Ok(Some(Filled { empty_bytes, full_bytes, fill_secs: secs }))
}
