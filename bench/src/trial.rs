//! What the UDP benchmarks share: a server with its load, filled, counted and measured.

use std::time::{Duration, Instant};

use crate::load::{Ask, Load, Outcome, Pace};
use crate::mix::{Family, Population, Rng};
use crate::process::own_and_machine_cpu;
use crate::servers::{Contestant, Server, Setup};

/// How long a server may take before it answers; opentracker reads its white list meanwhile.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long filling may take: 10 M peers at 50,000 a second.
const FILL_MAX: Duration = Duration::from_secs(200);
/// Hashes per scrape when all swarms are counted: aquatic's io_uring backend drops requests of more
/// than 512 bytes without a word.
const COUNT_HASHES: u32 = 20;
/// Requests under way while filling: below what a default receive buffer holds.
const FILL_WINDOW: usize = 160;
/// In filling, one request in so many renews a connection id.
const CONNECT_EVERY: u32 = 100;

/// BEP 15's number of a regular announce.
pub(crate) const EVENT_NONE: u32 = 0;
/// BEP 15's number of a first announce.
pub(crate) const EVENT_STARTED: u32 = 2;
/// BEP 15's number of a last announce.
pub(crate) const EVENT_STOPPED: u32 = 3;

/// A server, and a generator for it.
pub(crate) struct Trial {
    /// The server.
    pub(crate) server: Server,
    /// The generator.
    pub(crate) load: Load,
}

/// What a phase measured.
pub(crate) struct Measured {
    /// What the generator saw.
    pub(crate) outcome: Outcome,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// Cores kept busy by processes that are neither the server nor the generator.
    pub(crate) others: f64,
}

impl Measured {
    /// CPU-seconds of the server per million replies.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.outcome.replies() as f64
    }

    /// Share of its core that the server used.
    pub(crate) fn server_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()
    }

    /// Peers in an announce reply, on average.
    pub(crate) fn peers_per_announce(&self) -> f64 {
        self.outcome.peers as f64 / self.outcome.announces.max(1) as f64
    }

    /// Of a million requests, how many got no reply.
    pub(crate) fn lost_per_million(&self) -> f64 {
        let all = self.outcome.replies() + self.outcome.lost;
        self.outcome.lost as f64 * 1e6 / all.max(1) as f64
    }
}

impl Trial {
    /// Starts a contestant and waits until it answers; `None` where it is not there.
    pub(crate) fn start(
        contestant: Contestant,
        setup: &Setup<'_>,
        sources: u32,
    ) -> Result<Option<Self>, String> {
        let Some(mut server) = contestant.start(setup)? else { return Ok(None) };
        let explain = |error| format!("{}: {error}", contestant.name());
        let load = connect(&mut server, setup.family, setup.swarms, sources).map_err(explain)?;
        Ok(Some(Self { server, load }))
    }

    /// Runs the load, and measures the server while it does.
    pub(crate) fn measure(
        &mut self,
        pace: Pace,
        limit: Duration,
        next: &mut dyn FnMut() -> Option<Ask>,
    ) -> Result<Measured, String> {
        let name = self.server.contestant.name();
        let start = Instant::now();
        let cpu_before = self.server.process.cpu();
        let (own_before, machine_before) = own_and_machine_cpu();
        let run = self.load.run(pace, limit, next);
        let outcome = run.map_err(|error| format!("{name}: {error}"))?;
        let cpu = self.server.process.cpu() - cpu_before;
        let (own, machine) = own_and_machine_cpu();
        let all = (machine - machine_before).as_secs_f64();
        let ours = (own - own_before + cpu).as_secs_f64();
        outcome.check().map_err(|error| format!("{name}: {error}"))?;
        let others = ((all - ours) / start.elapsed().as_secs_f64()).max(0.0);
        Ok(Measured { outcome, cpu, others })
    }

    /// Announces peers `first..end` once each, as started.
    pub(crate) fn fill(
        &mut self,
        population: &Population,
        numbers: std::ops::Range<u32>,
    ) -> Result<Measured, String> {
        let mut numbers = numbers;
        let mut connects = 0;
        let mut issued = 0;
        let sources = population.sources;
        self.measure(Pace::Window(FILL_WINDOW), FILL_MAX, &mut || {
            issued += 1;
            if issued % CONNECT_EVERY == 0 {
                connects = (connects + 1) % sources;
                return Some(Ask::Connect { source: connects });
            }
            let peer = population.peer(numbers.next()?);
            Some(Ask::Announce { peer, event: EVENT_STARTED })
        })
    }

    /// Scrapes every swarm; gives the seeders and leechers of all.
    pub(crate) fn count(&mut self, swarms: u32) -> Result<(u64, u64), String> {
        let mut first = 0;
        let measured = self.measure(Pace::Window(32), FILL_MAX, &mut || {
            let count = COUNT_HASHES.min(swarms - first);
            first += count;
            (count > 0).then(|| Ask::Scrape { first: first - count, count })
        })?;
        Ok((measured.outcome.seeders, measured.outcome.leechers))
    }

    /// Fills the server with a population and compares what it then counts.
    pub(crate) fn fill_and_check(&mut self, population: &Population) -> Result<Measured, String> {
        let name = self.server.contestant.name();
        let measured = self.fill(population, 0..population.peers)?;
        if self.server.contestant == Contestant::Null {
            return Ok(measured);
        }
        let (seeders, leechers) = self.count(population.swarms)?;
        if seeders + leechers != u64::from(population.peers) {
            return Err(format!(
                "{name} counts {} peers of {} announced",
                seeders + leechers,
                population.peers
            ));
        }
        Ok(measured)
    }
}

/// Waits until a server answers announces, then connects every source.
fn connect(server: &mut Server, family: Family, swarms: u32, sources: u32) -> Result<Load, String> {
    let explain = |error: std::io::Error| error.to_string();
    let mut load = Load::new(server.address(family), sources, 30).map_err(explain)?;
    let start = Instant::now();
    while start.elapsed() < READY_MAX {
        server.process.check_running()?;
        if is_ready(&mut load, swarms).map_err(explain)? {
            let outcome = load.connect_all().map_err(explain)?;
            outcome.check()?;
            return Ok(load);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("no answer on {} within {READY_MAX:?}", server.address(family)))
}

/// Whether the last swarm of a white list is known: an empty scrape of it says nothing, so a peer
/// of it comes and goes.
fn is_ready(load: &mut Load, swarms: u32) -> std::io::Result<bool> {
    let one = |ask| {
        let mut asks = Some(ask).into_iter();
        move || asks.next()
    };
    let limit = Duration::from_millis(100);
    let rate = Pace::Rate(1e6);
    if load.run(rate, limit, &mut one(Ask::Connect { source: 0 }))?.connects == 0 {
        return Ok(false);
    }
    let peer = crate::mix::Peer {
        number: u32::MAX,
        source: 0,
        port: 1,
        swarm: swarms - 1,
        is_seeder: false,
    };
    for event in [EVENT_STARTED, EVENT_STOPPED] {
        let outcome = load.run(rate, limit, &mut one(Ask::Announce { peer, event }))?;
        if outcome.announces == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An endless mix of requests over a population.
pub(crate) struct Mix {
    population: Population,
    rng: Rng,
    /// Thresholds in 2^32 of a request being a connect, and of its being a connect or a scrape.
    connects: u64,
    scrapes: u64,
    source: u32,
}

impl Mix {
    /// Of a hundred requests, so many are connects and scrapes; the rest are announces of peers
    /// drawn evenly, which by the population's shape favours popular swarms.
    pub(crate) fn new(population: Population, connects: f64, scrapes: f64, seed: u64) -> Self {
        let share = |percent: f64| (percent / 100.0 * 4_294_967_296.0) as u64;
        Self {
            population,
            rng: Rng(seed),
            connects: share(connects),
            scrapes: share(connects + scrapes),
            source: 0,
        }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> Ask {
        let kind = self.rng.next_u64() >> 32;
        let peer = self.population.peer(self.rng.below(self.population.peers));
        if kind < self.connects {
            self.source = (self.source + 1) % self.population.sources;
            Ask::Connect { source: self.source }
        } else if kind < self.scrapes {
            let count = 1 + self.rng.below(10);
            Ask::Scrape { first: peer.swarm.min(self.population.swarms - count), count }
        } else {
            Ask::Announce { peer, event: EVENT_NONE }
        }
    }
}
