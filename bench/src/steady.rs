//! `bench steady`: minutes of full and half load on our server while peers expire all the time.
//!
//! The peer timeout is short, and peers are drawn at random from more than can be kept alive, so
//! that in every second about as many expire as come. A model remembers when each peer announced
//! last; what the server counts tells how old its oldest peers are, which must be the timeout and
//! little more. Memory must be flat, and latency at half load free of pauses.

use std::time::{Duration, Instant};

use crate::args::Options;
use crate::http_load::fetch;
use crate::latency::Latencies;
use crate::load::{Ask, Pace};
use crate::mix::{Family, Population, Rng, Shape};
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::trial::{EVENT_NONE, EVENT_STOPPED, Trial};

/// A minute of the run: full load, then half load, then a count.
const FULL_SECS: u64 = 40;
const HALF_SECS: u64 = 17;
/// How long a peer is kept.
const TIMEOUT_SECS: u64 = 30;
/// How much longer a peer may be counted: the clock's tick, and a round of expiry.
const SLACK_SECS: f64 = 10.0;
const CONFIG: &str = "[announce]\ninterval = 10\nmin_interval = 5\nmax_interval = 20\njitter = 1\n\
                      peer_timeout = 30\n";
const SOURCES: u32 = 4096;
const WINDOW: usize = 180;
const CONNECTS_PERCENT: u32 = 5;
const STOPPED_PERCENT: u32 = 2;
const SCRAPES_PERCENT: u32 = 1;
/// What memory may grow by over the second half of the run.
const GROWTH_MAX: f64 = 0.03;
/// The bar for an announce at half load.
const P999_MICROS_MAX: f64 = 1000.0;
/// Tenths of a second since the start; a peer that is not there has 0.
type Tenths = u16;

/// Who announced when.
struct Model {
    population: Population,
    start: Instant,
    rng: Rng,
    last: Vec<Tenths>,
    source: u32,
    now: Tenths,
    issued: u64,
}

impl Model {
    /// The next request. The clock is read once in 64: the model is as coarse as a tenth.
    fn next(&mut self) -> Ask {
        if self.issued.is_multiple_of(64) {
            self.now = self.tenths();
        }
        self.issued += 1;
        let kind = self.rng.below(100);
        if kind < CONNECTS_PERCENT {
            self.source = (self.source + 1) % self.population.sources;
            return Ask::Connect { source: self.source };
        }
        let peer = self.population.peer(self.rng.below(self.population.peers));
        if kind < CONNECTS_PERCENT + SCRAPES_PERCENT {
            return Ask::Scrape { first: peer.swarm, count: 1 };
        }
        let is_stopped = kind < CONNECTS_PERCENT + SCRAPES_PERCENT + STOPPED_PERCENT;
        self.last[peer.number as usize] = if is_stopped { 0 } else { self.now };
        Ask::Announce { peer, event: if is_stopped { EVENT_STOPPED } else { EVENT_NONE } }
    }

    fn tenths(&self) -> Tenths {
        let tenths = self.start.elapsed().as_millis() / 100 + 1;
        Tenths::try_from(tenths).expect("a run is bounded to an hour")
    }

    /// Peers that announced last at `from` or later.
    fn since(&self, from: Tenths) -> u64 {
        self.last.iter().filter(|&&last| last >= from.max(1)).count() as u64
    }

    /// How old, in seconds before `at`, the oldest of the `count` youngest peers is.
    fn age_of(&self, count: u64, at: Tenths) -> f64 {
        let mut by_time = vec![0_u64; usize::from(at) + 1];
        for &last in self.last.iter().filter(|&&last| 0 < last && last <= at) {
            by_time[usize::from(last)] += 1;
        }
        let mut seen = 0;
        for (last, peers) in by_time.iter().enumerate().rev() {
            if seen >= count {
                return (usize::from(at) - last - 1) as f64 / 10.0;
            }
            seen += peers;
        }
        f64::from(at) / 10.0
    }
}

/// What a minute showed.
struct Minute {
    full_rate: f64,
    full_cpu_per_million: f64,
    full: Latencies,
    half_rate: f64,
    half: Latencies,
    rss_bytes: Vec<u64>,
    lost: u64,
    counted: u64,
    expected: u64,
    age_secs: f64,
    others: f64,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("steady", options);
    let minutes = (options.seconds.unwrap_or(600) / 60).clamp(1, 60);
    let population = Population {
        sources: SOURCES,
        swarms: options.swarms.unwrap_or(1_000_000),
        peers: options.peers.unwrap_or(10_000_000),
        shape: Shape::Skewed,
        seeders_percent: 75,
    };
    report.line(&format!(
        "- load: {minutes} minutes of {FULL_SECS} s full (window {WINDOW}) and {HALF_SECS} s at \
         half load; {CONNECTS_PERCENT} % connects, {SCRAPES_PERCENT} % scrapes, \
         {STOPPED_PERCENT} % stopped, the rest announces with numwant 30, of {} peers in {} \
         swarms, popularity skewed\n- peers expire after {TIMEOUT_SECS} s",
        thousands(f64::from(population.peers)),
        thousands(f64::from(population.swarms))
    ));
    let setup = Setup {
        options,
        protocol: Protocol::Udp,
        family: Family::Ipv4,
        swarms: population.swarms,
        body_bytes: 0,
        config: CONFIG,
    };
    let Some(mut trial) = Trial::start(Contestant::Peerage, &setup, SOURCES)? else {
        return Err("our server is not built: give --peerage".to_owned());
    };
    let mut model = Model {
        population,
        start: Instant::now(),
        rng: Rng(1),
        last: vec![0; population.peers as usize],
        source: 0,
        now: 1,
        issued: 0,
    };
    let before = announces_counted(&trial)?;
    let mut sent = (0, 0);
    let mut results = Vec::new();
    for number in 1..=minutes {
        let minute = one_minute(&mut trial, &mut model, &mut sent)?;
        println!("minute {number}: {:.0}/s, {} peers", minute.full_rate, minute.counted);
        results.push(minute);
    }
    let after = announces_counted(&trial)?;
    report.table("By minute", &table(&results));
    let verdict = judge(&mut report, &results, after - before, sent);
    report.save()?;
    verdict
}

/// Announces that our server says it has read.
fn announces_counted(trial: &Trial) -> Result<u64, String> {
    // The figures may be a second old.
    std::thread::sleep(Duration::from_millis(1500));
    let stats = fetch(trial.server.address(Family::Ipv4), "/stats.json")
        .map_err(|error| format!("/stats.json: {error}"))?;
    number_at(&stats, &["requests", "udp", "ipv4", "announce"])
        .ok_or_else(|| format!("/stats.json has no count of announces: {stats}"))
}

/// The number under a path of keys, each looked for after the one before: enough for a document
/// whose form we know.
fn number_at(json: &str, path: &[&str]) -> Option<u64> {
    let mut rest = json;
    for key in path {
        let quoted = format!("\"{key}\":");
        rest = &rest[rest.find(&quoted)? + quoted.len()..];
    }
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn one_minute(
    trial: &mut Trial,
    model: &mut Model,
    sent: &mut (u64, u64),
) -> Result<Minute, String> {
    let mut rss_bytes = Vec::new();
    let mut lost = 0;
    let mut others = Vec::new();
    let mut seconds = |trial: &mut Trial, model: &mut Model, pace, secs| {
        let (mut latencies, mut rates, mut cpu) = (Latencies::new(), Vec::new(), Vec::new());
        for _ in 0..secs {
            let second = Duration::from_secs(1);
            let measured = trial.measure(pace, second, &mut || Some(model.next()))?;
            latencies.merge(&measured.outcome.latencies);
            rates.push(measured.outcome.rate());
            cpu.push(measured.cpu_per_million());
            rss_bytes.push(trial.server.process.rss_bytes());
            lost += measured.outcome.lost;
            others.push(measured.others);
            sent.0 += measured.outcome.announces;
            sent.1 += measured.outcome.lost;
        }
        Ok::<_, String>((latencies, median(rates), median(cpu)))
    };
    let (full, full_rate, cpu) = seconds(trial, model, Pace::Window(WINDOW), FULL_SECS)?;
    let rate = Pace::half_load(cpu, full_rate);
    let (half, half_rate, _) = seconds(trial, model, rate, HALF_SECS)?;
    let counting = model.tenths();
    let (seeders, leechers) = trial.count(model.population.swarms)?;
    let counted = seeders + leechers;
    let timeout = (TIMEOUT_SECS * 10) as Tenths;
    Ok(Minute {
        full_rate,
        full_cpu_per_million: cpu,
        full,
        half_rate,
        half,
        rss_bytes,
        lost,
        counted,
        expected: model.since(counting.saturating_sub(timeout)),
        age_secs: model.age_of(counted, counting),
        others: median(others),
    })
}

fn table(minutes: &[Minute]) -> Table {
    let mut table = Table::new(&[
        "minute",
        "full/s",
        "CPU-s per M",
        "full p99.9 us",
        "half/s",
        "half p50 us",
        "half p99 us",
        "half p99.9 us",
        "lost",
        "RSS MiB min",
        "max",
        "peers",
        "model",
        "oldest s",
        "others",
    ]);
    for (index, minute) in minutes.iter().enumerate() {
        let mebibytes = |bytes: Option<&u64>| match bytes {
            Some(&bytes) => format!("{:.1}", bytes as f64 / f64::from(1 << 20)),
            None => "-".to_owned(),
        };
        table.row(vec![
            (index + 1).to_string(),
            thousands(minute.full_rate),
            format!("{:.2}", minute.full_cpu_per_million),
            format!("{:.0}", minute.full.percentile_micros(99.9)),
            thousands(minute.half_rate),
            format!("{:.0}", minute.half.percentile_micros(50.0)),
            format!("{:.0}", minute.half.percentile_micros(99.0)),
            format!("{:.0}", minute.half.percentile_micros(99.9)),
            minute.lost.to_string(),
            mebibytes(minute.rss_bytes.iter().min()),
            mebibytes(minute.rss_bytes.iter().max()),
            thousands(minute.counted as f64),
            thousands(minute.expected as f64),
            format!("{:.1}", minute.age_secs),
            format!("{:.0} %", minute.others * 100.0),
        ]);
    }
    table
}

/// Says for each promise whether it was kept; an error where one was not.
fn judge(
    report: &mut Report,
    minutes: &[Minute],
    counted: u64,
    (answered, lost): (u64, u64),
) -> Result<(), String> {
    let mut half = Latencies::new();
    minutes.iter().for_each(|minute| half.merge(&minute.half));
    let p999 = half.percentile_micros(99.9);
    // The largest second of the last quarter over that of the second: the first fills the store.
    let largest = |range: std::ops::Range<usize>| {
        minutes[range].iter().flat_map(|minute| &minute.rss_bytes).max().copied().unwrap_or(0)
    };
    let quarter = minutes.len() / 4;
    let early = largest(quarter..(2 * quarter).max(quarter + 1)).max(1);
    let late = largest(minutes.len() - quarter.max(1)..minutes.len());
    let growth = late as f64 / early as f64 - 1.0;
    let timeout = TIMEOUT_SECS as f64;
    let is_young =
        |minute: &Minute| (timeout - 1.0..timeout + SLACK_SECS).contains(&minute.age_secs);
    let promises = [
        (
            p999 < P999_MICROS_MAX,
            format!("p99.9 at half load is {p999:.0} us (bar: {P999_MICROS_MAX:.0})"),
        ),
        (
            growth < GROWTH_MAX,
            format!(
                "memory grew by {:.1} % from the second quarter to the last (bar: {:.0})",
                growth * 100.0,
                GROWTH_MAX * 100.0
            ),
        ),
        (
            minutes.iter().all(is_young),
            format!("peers counted are those of the last {timeout} s, up to {SLACK_SECS} more"),
        ),
        (
            (answered..=answered + lost).contains(&counted),
            format!("the server read {counted} announces, {answered} were answered, {lost} lost"),
        ),
    ];
    report.line("");
    for (is_kept, promise) in &promises {
        report.line(&format!("- {}: {promise}", if *is_kept { "kept" } else { "MISSED" }));
    }
    match promises.iter().all(|(is_kept, _)| *is_kept) {
        true => Ok(()),
        false => Err("a promise was missed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_path() {
        let json = r#"{"a":{"n":1},"requests":{"http":{"n":2},"udp":{"ipv4":{"n": 34}}}}"#;
        assert_eq!(number_at(json, &["requests", "udp", "ipv4", "n"]), Some(34));
        assert_eq!(number_at(json, &["requests", "tcp"]), None);
    }

    #[test]
    fn the_age_of_a_count_is_that_of_its_oldest_peer() {
        let shape = Shape::Even;
        let population = Population { sources: 1, swarms: 1, peers: 5, shape, seeders_percent: 0 };
        let (start, rng) = (Instant::now(), Rng(0));
        let last = vec![10, 20, 30, 40, 0];
        let model = Model { population, start, rng, last, source: 0, now: 40, issued: 0 };
        assert_eq!(model.since(20), 3);
        assert!((model.age_of(3, 40) - 2.0).abs() < 0.2, "{}", model.age_of(3, 40));
    }
}
