//! What one Redis core carries, near what it can carry: nodes without sockets, in this process.
//!
//! A node here is a tracker and what carries for it, as in the server, and its clients are calls:
//! so the other core can keep one of Redis busy. Beside them, on the same machine and in the same
//! minutes, what others do: a script for each announce that adds the peer and draws thirty, and a
//! plain `ZADD` for each, pipelined.
//!
//! The clients' interval is short, and what follows from it is made shorter with it: so a steady
//! peer is told once in as many announces as in truth. As long as ever are the fifth of a second in
//! which changes are merged, and the time between two beats.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_shared::{Layout, Node, Status, Target};
use peerage_tracker::share::{Options as ShareOptions, Share, Timing, Waiting};
use peerage_tracker::{
    Announce, Families, IntervalLimits, Limits, Now, PeerIds, Rules, Tracker, Worker,
};

use crate::args::Options;
use crate::mix::{Family, Peer, Population, Shape, info_hash, mix, source_address};
use crate::process::own_and_machine_cpu;
use crate::report::{Report, Table, thousands};
use crate::shared::{CHURN, Redis, Usage};

/// The clients' interval.
const INTERVAL: Duration = Duration::from_secs(12);
/// The same where it is tried how much fits: more than it does.
const INTERVAL_FULL: Duration = Duration::from_secs(3);
/// What clients are told in truth: the longest that half an hour becomes, and after which they are
/// gone.
const INTERVAL_TRUE: Duration = Duration::from_secs(1800);
const PROMISED_TRUE: Duration = Duration::from_secs(1860);
const TIMEOUT_TRUE: Duration = Duration::from_secs(2850);
/// Rounds before those that count. Before them comes everybody's first announce, no faster than
/// Redis takes it: nodes let go of what they cannot hold, tell everything once more, and what
/// follows would measure that.
const WARM_ROUNDS: u32 = 1;
/// So many changes may wait at a node while everybody announces first: a quarter of what it holds.
const WAITING_MAX: u64 = 65_536;
/// How long all of that may take.
const FILL_MAX: Duration = Duration::from_secs(300);
/// Rounds that count: as many as a steady peer is told once in.
const ROUNDS: u32 = 6;
/// Clients that are later than this make up for it in a rush, which is no time for nodes to tell.
const LATE_MAX: Duration = Duration::from_secs(1);
/// So many peers an announce are told at least where nodes keep up: one in six of those seen again,
/// and one in twenty that comes or goes.
const TOLD_LEAST: f64 = 0.2;
/// Announces between two looks at the clock.
const BURST: u32 = 64;
/// Commands in one go of what others do.
const PIPELINE: u32 = 500;

/// One of several nodes.
struct Local {
    tracker: Arc<Tracker>,
    worker: Worker,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now::from_millis(since.as_millis() as u64)
}

/// That of half an hour, made shorter with the interval: so a peer is told once in as many
/// announces as in truth. A peer is told by seconds and kept by steps of two, hence some more until
/// it expires.
fn timing(interval: Duration) -> Timing {
    let part = interval.as_secs_f64() / INTERVAL_TRUE.as_secs_f64();
    let timing = Timing::seldom(PROMISED_TRUE, TIMEOUT_TRUE);
    Timing {
        expiry: timing.expiry.mul_f64(part) + Duration::from_secs(10),
        refresh: timing.refresh.mul_f64(part),
        look: timing.look.mul_f64(part),
        ..timing
    }
}

impl Local {
    fn start(number: u64, interval: Duration, redis: &Redis) -> Result<Self, String> {
        let secs = interval.as_secs() as u32;
        let limits =
            IntervalLimits { start_secs: secs, min_secs: secs, max_secs: secs, load_max: 1.0 };
        let rules = Rules { interval: limits, jitter_secs: 0, ..Rules::default() };
        let peer_timeout = TIMEOUT_TRUE;
        let limits = Limits { peer_timeout, peers_per_address_max: 0, ..Limits::default() };
        let timing = timing(interval);
        let mut tracker = Tracker::new([number as u8; 16], limits, PeerIds::Dropped, rules);
        let options = ShareOptions { node: mix(number), timing, sample: 200 };
        tracker.share_by(Arc::new(Share::new(options)));
        let worker = tracker.worker(number);
        let tracker = Arc::new(tracker);
        let status = Arc::<Status>::default();
        let target = Target::parse(&redis.url()).map_err(|error| error.to_string())?;
        let node = Node {
            tracker: Arc::clone(&tracker),
            target,
            layout: Layout::Own,
            prefix: "bench:".to_owned(),
            key: None,
            agreed: Box::new(|_| {}),
            site: None,
            status: Arc::clone(&status),
        };
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let carrier = std::thread::spawn(move || {
            runtime.block_on(node.run(now, || stopping.load(Ordering::Relaxed)));
        });
        let carrier = Some(carrier);
        let local = Self { tracker, worker, status: Arc::clone(&status), stop, carrier };
        let started = Instant::now();
        while !status.is_connected() {
            if started.elapsed() > Duration::from_secs(10) {
                return Err("a node finds no Redis".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(local)
    }

    fn waiting(&self) -> Waiting {
        self.tracker.share().map(|share| share.waiting()).unwrap_or_default()
    }

    /// Waits until no more than so many changes wait, and nothing is made up for.
    fn settle(&self, changes_max: u64, until: Instant) -> Result<(), String> {
        loop {
            let waiting = self.waiting();
            if waiting.changes <= changes_max && waiting.catching_up == 0 {
                return Ok(());
            }
            if until < Instant::now() {
                return Err(format!("a node falls behind at the start: {waiting:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One of the counts of what was carried.
    fn count(&self, name: &str) -> u64 {
        let counters = self.status.counters();
        let counter = counters.iter().find(|counter| counter.0 == name);
        counter.expect("there is such a counter").2
    }

    fn announce(&mut self, now: Now, peer: &Peer, event: Event) {
        let announce = Announce {
            info_hash: InfoHash(info_hash(peer.swarm)),
            peer_id: PeerId([0; 20]),
            address: source_address(Family::Ipv4, peer.source),
            port: peer.port,
            left: Some(u64::from(!peer.is_seeder)),
            event,
            numwant: Some(30),
            families: Families::Own,
        };
        let answer = self.tracker.announce(now, &mut self.worker, &announce);
        assert!(answer.is_ok(), "an open tracker refuses nobody");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

/// The shapes, and what others do.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let peers = options.peers.unwrap_or(600_000);
    report.line(&format!(
        "\n- Redis, nodes in the process of the benchmark: {} peers announce once in {INTERVAL:?}, \
         {ROUNDS} rounds that count after {WARM_ROUNDS}; of {CHURN} peers one stops in a round and \
         comes back in the next; a swarm's peers are spread over the nodes; steady peers are told \
         as seldom as at an interval of {INTERVAL_TRUE:?}",
        thousands(peers.into())
    ));
    let shapes = [
        ("1", peers, Shape::Even),
        ("2, skewed", peers / 2, Shape::Skewed),
        ("2", peers / 2, Shape::Even),
        ("10", peers / 10, Shape::Even),
        ("100", peers / 100, Shape::Even),
    ];
    let mut table = Table::new(&COLUMNS);
    for nodes in [1, 2] {
        for (label, swarms, shape) in shapes {
            let shape = Shaped { nodes, label, interval: INTERVAL, swarms, peers, shape };
            if shape.is_wanted(options) {
                table.row(shape.measure(options)?);
            }
        }
    }
    report.table("One Redis core", &table);
    let mut full = Table::new(&COLUMNS);
    for nodes in [1, 2] {
        for (label, swarms, shape) in shapes {
            let shape = Shaped { nodes, label, interval: INTERVAL_FULL, swarms, peers, shape };
            if shape.is_wanted(options) {
                full.row(shape.measure(options)?);
            }
        }
    }
    report.table(&format!("The same, once in {INTERVAL_FULL:?} or as fast as it goes"), &full);
    others(options, report)
}

const COLUMNS: [&str; 9] = [
    "nodes",
    "peers per swarm",
    "announces/s",
    "announces/s a Redis core",
    "peers told per announce",
    "script calls per announce",
    "bytes per announce",
    "Redis core used",
    "of a core used by nodes and clients",
];

/// What is measured in one row.
struct Shaped {
    nodes: u32,
    label: &'static str,
    interval: Duration,
    swarms: u32,
    peers: u32,
    shape: Shape,
}

/// What is counted, at one time.
struct Counted {
    redis: Usage,
    at: Instant,
    own: Duration,
    peers_told: u64,
    /// Times that Redis did not answer, that everything was told again, and changes that found no
    /// room.
    failures: u64,
    starts_over: u64,
    dropped: u64,
}

impl Counted {
    fn now(redis: &Redis, locals: &[Local]) -> Result<Self, String> {
        let count = |name| locals.iter().map(|local| local.count(name)).sum();
        Ok(Self {
            redis: redis.usage()?,
            at: Instant::now(),
            own: own_and_machine_cpu().0,
            peers_told: count("peers"),
            failures: count("trip_failures"),
            starts_over: count("starts_over"),
            dropped: locals.iter().map(|local| local.waiting().dropped).sum(),
        })
    }
}

impl Shaped {
    /// `--only core,2:100,1:1:full` leaves out all rows but that of two nodes and swarms of a
    /// hundred, and that of one node and swarms of one as fast as it goes.
    fn is_wanted(&self, options: &Options) -> bool {
        if options.only.iter().all(|only| !only.contains(':')) {
            return true;
        }
        let label = self.label.rsplit(' ').next().unwrap_or_default();
        let row = format!("{}:{label}", self.nodes);
        match self.interval == INTERVAL {
            true => options.wants(&row),
            false => options.wants(&format!("{row}:full")),
        }
    }

    fn measure(&self, options: &Options) -> Result<Vec<String>, String> {
        let &Self { nodes, label, interval, swarms, peers, shape } = self;
        let population = Population { sources: 4096, swarms, peers, shape, seeders_percent: 75 };
        let redis = Redis::start(options)?;
        let mut locals = Vec::new();
        for number in 0..nodes {
            locals.push(Local::start(u64::from(number) + 1, interval, &redis)?);
        }
        self.fill(&population, &mut locals)?;
        let mut started = Instant::now();
        for round in 1..=WARM_ROUNDS {
            self.announce_all(&population, round, &mut locals, &mut started);
        }
        let before = Counted::now(&redis, &locals)?;
        let mut late = Duration::ZERO;
        for round in WARM_ROUNDS + 1..=WARM_ROUNDS + ROUNDS {
            late = late.max(self.announce_all(&population, round, &mut locals, &mut started));
        }
        let after = Counted::now(&redis, &locals)?;
        let elapsed = (after.at - before.at).as_secs_f64();
        let announces = f64::from(peers) * f64::from(ROUNDS);
        let cpu = (after.redis.cpu - before.redis.cpu).as_secs_f64();
        let told = (after.peers_told - before.peers_told) as f64 / announces;
        let mut row = vec![
            nodes.to_string(),
            label.to_owned(),
            thousands(announces / elapsed),
            thousands(announces / cpu),
            format!("{told:.3}"),
            format!("{:.3}", (after.redis.scripts - before.redis.scripts) / announces),
            format!("{:.0}", (after.redis.bytes - before.redis.bytes) / announces),
            format!("{:.0} %", 100.0 * cpu / elapsed),
            format!("{:.0} %", 100.0 * (after.own - before.own).as_secs_f64() / elapsed),
        ];
        if LATE_MAX < late {
            row[2].push_str(&format!(" (clients stood still for {late:.1?})"));
        } else if before.starts_over < after.starts_over {
            row[2].push_str(" (told anew)");
        } else if before.failures < after.failures {
            row[2].push_str(" (Redis did not answer in time)");
        } else if before.dropped < after.dropped {
            row[2].push_str(" (nodes let go of changes)");
        } else if told < TOLD_LEAST {
            row[2].push_str(" (nodes fell behind)");
        }
        Ok(row)
    }

    /// Everybody announces first, as fast as Redis takes it.
    fn fill(&self, population: &Population, locals: &mut [Local]) -> Result<(), String> {
        let mut started = Instant::now();
        let (until, step) = (started + FILL_MAX, INTERVAL / (population.peers / BURST).max(1));
        for number in 0..population.peers {
            if number.is_multiple_of(BURST) {
                // What workers have pushed is seen with the next flush only.
                started = (started + step).max(Instant::now() - step);
                std::thread::sleep(started.saturating_duration_since(Instant::now()));
                locals.iter().try_for_each(|local| local.settle(WAITING_MAX, until))?;
            }
            let node = self.node_of(number);
            locals[node].announce(now(), &population.peer(number), Event::Started);
        }
        std::thread::sleep(Duration::from_secs(1));
        locals.iter().try_for_each(|local| local.settle(0, until))
    }

    /// Neighbours in a swarm are at different nodes.
    fn node_of(&self, number: u32) -> usize {
        (mix(u64::from(number) | 1 << 51) % u64::from(self.nodes)) as usize
    }

    /// Everybody announces once, in `interval` or as soon as it goes. Returns by how much it was
    /// late at most.
    fn announce_all(
        &self,
        population: &Population,
        round: u32,
        locals: &mut [Local],
        started: &mut Instant,
    ) -> Duration {
        let mut late = Duration::ZERO;
        let step = self.interval / (population.peers / BURST).max(1);
        for number in 0..population.peers {
            if number.is_multiple_of(BURST) {
                *started += step;
                late = late.max(started.elapsed());
                std::thread::sleep(started.saturating_duration_since(Instant::now()));
            }
            let peer = population.peer(number);
            let is_fickle = mix(u64::from(number) | 1 << 50).is_multiple_of(u64::from(CHURN));
            let event = match (is_fickle, round % 2) {
                (true, 0) => Event::Started,
                (true, _) => Event::Stopped,
                _ => Event::None,
            };
            locals[self.node_of(number)].announce(now(), &peer, event);
        }
        late
    }
}

/// A script that adds a peer and draws thirty.
const SCRIPT: &str = "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2]) \
                      redis.call('EXPIRE', KEYS[1], 3600) \
                      return redis.call('ZRANDMEMBER', KEYS[1], 30)";

/// What others do for each announce.
fn others(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut table = Table::new(&["for each announce", "announces/s a Redis core"]);
    let population = Population {
        sources: 4096,
        swarms: 3000,
        peers: 300_000,
        shape: Shape::Even,
        seeders_percent: 75,
    };
    for (label, is_script) in [("script: add, draw 30", true), ("plain ZADD", false)] {
        let redis = Redis::start(options)?;
        let text = redis.ask(&format!("SCRIPT LOAD \"{SCRIPT}\""))?;
        let hash = text.lines().nth(1).ok_or("SCRIPT LOAD says nothing")?.trim().to_owned();
        let command = |number: u32, round: u32, out: &mut Vec<u8>| {
            let peer = population.peer(number);
            let key = format!("{{{:040x}}}:s", u128::from(mix(u64::from(peer.swarm))));
            let score = (1_800_000_000 + round).to_string();
            let member = format!("{number:06x}");
            let words: &[&str] = match is_script {
                true => &["EVALSHA", &hash, "1", &key, &score, &member],
                false => &["ZADD", &key, &score, &member],
            };
            out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        };
        let mut before = redis.usage()?;
        for round in 0..4 {
            if round == 1 {
                before = redis.usage()?;
            }
            for first in (0..population.peers).step_by(PIPELINE as usize) {
                let mut out = Vec::new();
                (first..first + PIPELINE).for_each(|number| command(number, round, &mut out));
                pipelined(&redis, &out)?;
            }
        }
        let cpu = (redis.usage()?.cpu - before.cpu).as_secs_f64();
        table.row(vec![label.to_owned(), thousands(3.0 * f64::from(population.peers) / cpu)]);
    }
    report.table("What others do, swarms of a hundred", &table);
    Ok(())
}

/// Sends commands, and waits until the last is answered.
fn pipelined(redis: &Redis, commands: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("redis: {error}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).map_err(failed)?;
    stream.write_all(commands).map_err(failed)?;
    stream.write_all(b"QUIT\r\n").map_err(failed)?;
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies).map(|_| ()).map_err(failed)
}
