//! `bench shared-faults`: what clients notice while something that nodes share by is broken.
//!
//! Three nodes and real `redis-server`s. One fault after the other lasts half a minute, under load
//! over UDP and HTTP: Redis killed, standing still, or full, a node killed, a master of a Cluster
//! killed. The bars: no reply is lost, of replies about swarms a node knows 99 in 100 come within
//! 5 ms, and all nodes count the same again within 10 s of the end of the fault. Beside them a node
//! that is alone has the same load at the same time, and a run without a fault comes first: a tail
//! that the lone node shows too is the machine's.
//!
//! Most peers stay: a node is right when it counts each swarm to the peer, those included that
//! joined while the fault lasted. Others come and go in swarms of their own, so that there is
//! always something to tell; and some announces are the first of their swarm at a node, and wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peerage_testkit::redis::{Cluster, Redis};
use peerage_testkit::{Server, Signal, free_port};

use crate::args::Options;
use crate::mix::{Rng, info_hash};
use crate::probe::{Course, Over, PHASES, Probe, Saying, Seen, UdpClient};
use crate::report::{Report, Table, thousands};
use crate::trial::{EVENT_NONE, EVENT_STARTED, EVENT_STOPPED};

const NODES: usize = 3;
/// The number of the node that shares nothing.
const LONE: usize = NODES;
/// Requests a second of the clients of each node, and first announces of a swarm among them.
const UDP_RATE: f64 = 1000.0;
const HTTP_RATE: f64 = 500.0;
const COLD_RATE: f64 = 10.0;
/// Of a hundred announces, how many come or go.
const CHURN_PERCENT: u32 = 20;
/// Swarms in which peers come and go, from this number on.
const CHURN_FIRST: u32 = 1 << 20;
const CHURN_SWARMS: u32 = 500;
/// Swarms nobody has announced to before, from this number on.
const COLD_FIRST: u32 = 1 << 24;
/// The port of the first peer of a swarm.
const PORT_FIRST: u16 = 1024;
/// Ports of those who come and go.
const CHURN_PORT: u16 = 60_000;
/// While a fault lasts, a peer joins one swarm in so many.
const JOINS_EVERY: u32 = 4;

const BEFORE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(15);

const P99_MAX_MICROS: f64 = 5000.0;
const AGREED_MAX: Duration = Duration::from_secs(10);
/// When agreement is not waited for any longer.
const AGREED_LIMIT: Duration = Duration::from_secs(120);

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    RedisKilled,
    RedisPaused,
    RedisFull,
    NodeKilled,
    MasterKilled,
}

const FAULTS: [Fault; 6] = [
    Fault::Nothing,
    Fault::RedisKilled,
    Fault::RedisPaused,
    Fault::RedisFull,
    Fault::NodeKilled,
    Fault::MasterKilled,
];

impl Fault {
    /// On the command line and in tables.
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no fault",
            Self::RedisKilled => "Redis killed",
            Self::RedisPaused => "Redis stopped",
            Self::RedisFull => "Redis full",
            Self::NodeKilled => "node killed",
            Self::MasterKilled => "master killed",
        }
    }
}

/// Where the nodes meet.
enum Place {
    One(Redis),
    /// And which of its nodes was killed.
    Many(Cluster, usize),
}

/// The peers that stay.
#[derive(Clone, Copy)]
struct Stock {
    swarms: u32,
    peers_per_swarm: u32,
}

impl Stock {
    fn peer(&self, swarm: u32, number: u32) -> Saying {
        let port = PORT_FIRST + number as u16;
        Saying { swarm, port, is_seeder: number == 0, event: EVENT_NONE }
    }

    /// The peers of one node, with those who have joined and one in each of the swarms in which
    /// others come and go.
    fn of(&self, home: usize, joined: bool) -> Vec<Saying> {
        let churn = CHURN_FIRST..CHURN_FIRST + CHURN_SWARMS;
        let port = PORT_FIRST + home as u16;
        let stays = churn.map(|swarm| Saying { swarm, port, is_seeder: true, event: EVENT_NONE });
        let all = (0..self.swarms).flat_map(|swarm| {
            let late = u32::from(joined && swarm % JOINS_EVERY == 0);
            (0..self.peers_per_swarm + late).map(move |number| (swarm, number))
        });
        let own = all.filter(|(swarm, number)| self.is_of(home, *swarm, *number));
        own.map(|(swarm, number)| self.peer(swarm, number)).chain(stays).collect()
    }

    /// Each swarm has peers at every node. Those of the lone one are as many.
    fn is_of(&self, home: usize, swarm: u32, number: u32) -> bool {
        (swarm + number) as usize % NODES == home % NODES
    }

    /// Those who join while a fault lasts, at this node.
    fn joining(&self, home: usize) -> Vec<Saying> {
        let number = self.peers_per_swarm;
        let swarms = (0..self.swarms).step_by(JOINS_EVERY as usize);
        let own = swarms.filter(|swarm| self.is_of(home, *swarm, number));
        own.map(|swarm| self.peer(swarm, number)).collect()
    }

    /// Seeders and leechers of a swarm.
    fn counts(&self, swarm: u32, joined: bool) -> (u32, u32) {
        let late = u32::from(joined && swarm.is_multiple_of(JOINS_EVERY));
        (1, self.peers_per_swarm - 1 + late)
    }
}

/// Nodes, and what they share by.
struct Site<'a> {
    options: &'a Options,
    stock: Stock,
    place: Place,
    nodes: Vec<Option<Server>>,
    addresses: Vec<SocketAddr>,
}

/// What a run has shown.
struct Shown {
    known: [(Over, Seen); 2],
    first: Seen,
    /// The same at the lone node, of swarms it knows.
    lone: [(Over, Seen); 2],
    /// For how long, by its own clock, the slowest of the nodes held a batch, and the lone one: of
    /// a thousand replies one longer. Only the system can have made more of it than a node itself.
    held_micros: [u64; 2],
    /// How long after the end of the fault all nodes counted the same.
    agreed: Result<Duration, String>,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("shared-faults", options);
    let stock = Stock {
        swarms: options.swarms.unwrap_or(2000),
        peers_per_swarm: options.peers.unwrap_or(24_000) / options.swarms.unwrap_or(2000).max(1),
    };
    if stock.peers_per_swarm < 2 || 200 < stock.peers_per_swarm {
        return Err("a swarm has 2 to 200 peers: see --peers and --swarms".to_owned());
    }
    report.line(&format!(
        "- {NODES} nodes; {} peers that stay, {} in each of {} swarms, spread over all nodes; each \
         fault lasts {:?}\n- at each node {UDP_RATE} announces a second over UDP and {HTTP_RATE} \
         over HTTP, of which {CHURN_PERCENT} % come or go, and {COLD_RATE} each to new swarms\n\
         - latencies count from the instant a request was due; nothing is bound to a core",
        thousands(f64::from(stock.swarms * stock.peers_per_swarm)),
        stock.peers_per_swarm,
        thousands(f64::from(stock.swarms)),
        options.duration(30),
    ));
    let mut replies = Table::new(&[
        "fault, protocol, phase",
        "replies",
        "lost",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "longest ms",
        "lone: p99 ms",
        "p99.9 ms",
        "longest ms",
    ]);
    let mut verdicts = Table::new(&[
        "fault",
        "held by a node: p99.9 us",
        "by the lone one",
        "first of a swarm: p99 ms",
        "all agree after s",
        "verdict",
    ]);
    let mut missed = Vec::new();
    for fault in FAULTS.into_iter().filter(|fault| options.wants(fault.name())) {
        let shown = Site::start(options, stock, fault)?.run(fault)?;
        for ((over, seen), (_, lone)) in shown.known.iter().zip(&shown.lone) {
            for phase in 0..PHASES.len() {
                replies.row(row(fault, *over, [seen, lone], phase));
            }
        }
        let verdict = judge(&shown);
        let agreed = match &shown.agreed {
            Ok(after) => format!("{:.1}", after.as_secs_f64()),
            Err(_) => "never".to_owned(),
        };
        let text = if verdict.is_empty() { "kept".to_owned() } else { verdict.join("; ") };
        println!("{}: {text}", fault.name());
        let [held, by_lone] = shown.held_micros.map(|micros| thousands(micros as f64));
        let first = millis(&shown.first, 1, 99.0);
        verdicts.row(vec![fault.name().to_owned(), held, by_lone, first, agreed, text]);
        missed.extend(verdict.into_iter().map(|what| format!("{}: {what}", fault.name())));
    }
    report.table("Announces to swarms that are known", &replies);
    report.table("Verdict", &verdicts);
    report.save()?;
    if missed.is_empty() { Ok(()) } else { Err(missed.join("\n")) }
}

fn millis(seen: &Seen, phase: usize, percent: f64) -> String {
    format!("{:.2}", seen.latencies[phase].percentile_micros(percent) / 1000.0)
}

fn row(fault: Fault, over: Over, [seen, lone]: [&Seen; 2], phase: usize) -> Vec<String> {
    let mut cells = vec![
        format!("{}, {}, {}", fault.name(), over.name(), PHASES[phase]),
        thousands(seen.replies[phase] as f64),
        thousands(seen.lost[phase] as f64),
    ];
    cells.extend([50.0, 99.0, 99.9, 100.0].map(|percent| millis(seen, phase, percent)));
    cells.extend([99.0, 99.9, 100.0].map(|percent| millis(lone, phase, percent)));
    cells
}

/// The bars that were missed.
fn judge(shown: &Shown) -> Vec<String> {
    let mut missed = Vec::new();
    for ((over, seen), (_, lone)) in shown.known.iter().zip(&shown.lone) {
        for (phase, name) in PHASES.iter().enumerate().skip(1) {
            let p99 = |seen: &Seen| seen.latencies[phase].percentile_micros(99.0);
            // Where the lone node is no better it is the machine that is slow.
            if P99_MAX_MICROS.max(p99(lone)) <= p99(seen) {
                missed.push(format!("{} {name}: p99 above 5 ms", over.name()));
            }
        }
    }
    let lost: u64 = shown
        .known
        .iter()
        .map(|(_, seen)| seen)
        .chain([&shown.first])
        .flat_map(|seen| seen.lost)
        .sum();
    if lost > 0 {
        missed.push(format!("{lost} replies are lost"));
    }
    match &shown.agreed {
        Ok(after) if AGREED_MAX < *after => missed.push("agreed too late".to_owned()),
        Ok(_) => {}
        Err(difference) => missed.push(difference.clone()),
    }
    missed
}

impl<'a> Site<'a> {
    /// Starts everything, and waits until all nodes know of all peers.
    fn start(options: &'a Options, stock: Stock, fault: Fault) -> Result<Self, String> {
        let place = match fault {
            Fault::MasterKilled => Place::Many(Cluster::start()?, 0),
            _ => Place::One(Redis::start(&[])?),
        };
        let address = |_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let addresses: Vec<SocketAddr> = (0..=LONE).map(address).collect();
        let nodes = addresses.iter().map(|_| None).collect();
        let mut site = Self { options, stock, place, nodes, addresses };
        for home in 0..=LONE {
            site.start_node(home)?;
        }
        for home in 0..=LONE {
            site.fill(home, &stock.of(home, false))?;
        }
        site.await_agreement(false)?;
        Ok(site)
    }

    fn start_node(&mut self, home: usize) -> Result<(), String> {
        let port = self.addresses[home].port().to_string();
        let url = match &self.place {
            _ if home == LONE => String::new(),
            Place::One(redis) => redis.url(),
            Place::Many(cluster, _) => cluster.url(),
        };
        let flags = ["-p", &port, "--bind", "127.0.0.1", "-w", "1"];
        let variables = [
            ("PEERAGE__SHARED__REDIS", &*url),
            ("PEERAGE__SWARM__PEERS_PER_ADDRESS_MAX", "1000000000"),
        ];
        let program = self.options.peerage();
        let program = program.canonicalize().map_err(|error| format!("our server: {error}"))?;
        let server = Server::start_as(&program, &flags, &variables)?;
        if !url.is_empty() {
            server.stats_when(|stats| stats["shared"]["connected"] == true)?;
        }
        self.nodes[home] = Some(server);
        Ok(())
    }

    fn client(&self, home: usize) -> Result<UdpClient, String> {
        let failed = |error| format!("node {home}: {error}");
        UdpClient::connect(self.addresses[home]).map_err(failed)
    }

    fn fill(&self, home: usize, sayings: &[Saying]) -> Result<(), String> {
        let filled = self.client(home)?.announce_all(sayings);
        filled.map_err(|error| format!("filling node {home}: {error}"))
    }

    /// Waits until every node counts every swarm as it is; how long that took.
    fn await_agreement(&self, joined: bool) -> Result<Duration, String> {
        let started = Instant::now();
        let swarms: Vec<u32> = (0..self.stock.swarms).collect();
        let mut clients: Vec<_> =
            (0..NODES).map(|home| self.client(home)).collect::<Result<_, _>>()?;
        loop {
            let mut wrong = 0;
            for (home, client) in clients.iter_mut().enumerate() {
                let counts = client.scrape(&swarms);
                let counts = counts.map_err(|error| format!("scrape at node {home}: {error}"))?;
                let pairs = swarms.iter().zip(&counts);
                wrong += pairs.filter(|(at, is)| self.stock.counts(**at, joined) != **is).count();
            }
            if wrong == 0 {
                return Ok(started.elapsed());
            }
            if AGREED_LIMIT < started.elapsed() {
                return Err(format!("{wrong} counts differ after {AGREED_LIMIT:?}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Loads the nodes, breaks, repairs, and waits for agreement.
    fn run(mut self, fault: Fault) -> Result<Shown, String> {
        let course = Course {
            phase: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            goes_to: (0..=LONE).map(AtomicUsize::new).collect(),
            nodes: self.addresses.clone(),
        };
        let stock = self.stock;
        thread::scope(|scope| {
            let mut probes = Vec::new();
            for home in 0..=LONE {
                for (over, rate) in [(Over::Udp, UDP_RATE), (Over::Http, HTTP_RATE)] {
                    let known = Probe { course: &course, home, over, rate };
                    let first = Probe { course: &course, home, over, rate: COLD_RATE };
                    let known = scope.spawn(move || known.run(mostly_known(stock, home, over)));
                    let first = scope.spawn(move || first.run(always_first(home, over)));
                    probes.push((home, over, known, first));
                }
            }
            let agreed = self.follow(fault, &course);
            course.stop.store(true, Ordering::Relaxed);
            let mut shown = Shown {
                known: [(Over::Udp, Seen::new()), (Over::Http, Seen::new())],
                first: Seen::new(),
                lone: [(Over::Udp, Seen::new()), (Over::Http, Seen::new())],
                held_micros: self.held_micros()?,
                agreed: agreed?,
            };
            for (home, over, known, first) in probes {
                let panicked = |_| "a client panicked".to_owned();
                let (known, first) =
                    (known.join().map_err(panicked)?, first.join().map_err(panicked)?);
                let all = if home == LONE { &mut shown.lone } else { &mut shown.known };
                all[over as usize].1.merge(&known);
                if home != LONE {
                    shown.first.merge(&first);
                }
            }
            Ok(shown)
        })
    }

    fn follow(
        &mut self,
        fault: Fault,
        course: &Course,
    ) -> Result<Result<Duration, String>, String> {
        let lasts = self.options.duration(30);
        thread::sleep(BEFORE);
        course.phase.store(1, Ordering::Relaxed);
        self.break_it(fault, course)?;
        thread::sleep(lasts / 3);
        for home in 0..NODES {
            let node = course.goes_to[home].load(Ordering::Relaxed);
            self.fill(node, &self.stock.joining(home))?;
        }
        thread::sleep(lasts - lasts / 3);
        let mut ended = Instant::now();
        course.phase.store(2, Ordering::Relaxed);
        self.repair(fault, course, &mut ended)?;
        let agreed = self.await_agreement(true).map(|_| ended.elapsed());
        thread::sleep(AFTER.saturating_sub(ended.elapsed()));
        Ok(agreed)
    }

    /// The slowest of the nodes and the lone one, since they were started.
    fn held_micros(&self) -> Result<[u64; 2], String> {
        let mut held = [0; 2];
        for (home, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let stats = node.stats()?;
            for over in ["udp", "http"] {
                let micros = stats["latency"][over]["p999_us"].as_u64().unwrap_or_default();
                let slowest = &mut held[usize::from(home == LONE)];
                *slowest = micros.max(*slowest);
            }
        }
        Ok(held)
    }

    fn break_it(&mut self, fault: Fault, course: &Course) -> Result<(), String> {
        match (fault, &mut self.place) {
            (Fault::RedisKilled, Place::One(redis)) => redis.kill(),
            (Fault::RedisPaused, Place::One(redis)) => redis.process().signal(Signal::Pause),
            (Fault::RedisFull, Place::One(redis)) => {
                // The second refuses whatever a script has come to write before it was full.
                redis.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
                redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]).map(drop)
            }
            (Fault::MasterKilled, Place::Many(cluster, killed)) => {
                let key: String = info_hash(0).iter().map(|byte| format!("{byte:02x}")).collect();
                let port = cluster.master_of(&key)?.port();
                *killed = cluster.nodes.iter().position(|node| node.port() == port).unwrap_or(0);
                cluster.nodes[*killed].kill()
            }
            (Fault::NodeKilled, _) => {
                // Its clients find another at once: what they notice of its end is not ours.
                course.goes_to[0].store(1, Ordering::Relaxed);
                // Its process is killed when it is dropped.
                self.nodes[0] = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the fault, and says when that was.
    fn repair(&mut self, fault: Fault, course: &Course, ended: &mut Instant) -> Result<(), String> {
        match (fault, &mut self.place) {
            (Fault::RedisKilled, Place::One(redis)) => redis.start_again(),
            (Fault::RedisPaused, Place::One(redis)) => redis.process().signal(Signal::Continue),
            (Fault::RedisFull, Place::One(redis)) => {
                redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])?;
                redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).map(drop)
            }
            (Fault::MasterKilled, Place::Many(cluster, killed)) => {
                cluster.nodes[*killed].start_again()
            }
            (Fault::NodeKilled, _) => {
                self.start_node(0)?;
                *ended = Instant::now();
                // Its clients come back: it knows of no swarm that none of them is in.
                self.fill(0, &self.stock.of(0, true))?;
                course.goes_to[0].store(0, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A peer that stays announces again, or one comes or goes.
fn mostly_known(stock: Stock, home: usize, over: Over) -> impl FnMut() -> Saying {
    let mut rng = Rng((home * 2 + over as usize) as u64);
    let port = CHURN_PORT + (home * 2 + over as usize) as u16;
    let mut is_there = vec![false; CHURN_SWARMS as usize];
    move || {
        if rng.below(100) < CHURN_PERCENT {
            let number = rng.below(CHURN_SWARMS);
            let there = &mut is_there[number as usize];
            *there = !*there;
            let event = if *there { EVENT_STARTED } else { EVENT_STOPPED };
            return Saying { swarm: CHURN_FIRST + number, port, is_seeder: false, event };
        }
        loop {
            let (swarm, number) = (rng.below(stock.swarms), rng.below(stock.peers_per_swarm));
            if stock.is_of(home, swarm, number) {
                return stock.peer(swarm, number);
            }
        }
    }
}

/// Each time another swarm that no node knows.
fn always_first(home: usize, over: Over) -> impl FnMut() -> Saying {
    let step = 2 * (NODES + 1) as u32;
    let mut swarm = COLD_FIRST + (home * 2 + over as usize) as u32;
    move || {
        swarm += step;
        Saying { swarm, port: PORT_FIRST, is_seeder: false, event: EVENT_STARTED }
    }
}
