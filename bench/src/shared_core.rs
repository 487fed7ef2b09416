//! What one Redis core carries, near what it can carry: nodes without sockets, in this process.
//!
//! A node here is a tracker and what carries for it, as in the server, and its clients are calls:
//! so the other core can keep one of Redis busy. Beside them, on the same machine and in the same
//! minutes, what others do: a script for each announce that adds the peer and draws thirty, and a
//! plain `ZADD` for each, pipelined.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_shared::{Layout, Node, Status, Target};
use peerage_tracker::share::{Options as ShareOptions, Share, Timing};
use peerage_tracker::{
    Announce, Families, IntervalLimits, Limits, Now, PeerIds, Rules, Tracker, Worker,
};

use crate::args::Options;
use crate::mix::{Family, Peer, Population, Shape, info_hash, mix, source_address};
use crate::report::{Report, Table, thousands};
use crate::shared::{CHURN, Redis};

/// The clients' interval.
const INTERVAL: Duration = Duration::from_secs(12);
/// Rounds before those that count, the first of which is everybody's first announce: until then
/// nobody is told again.
const WARM_ROUNDS: u32 = 3;
/// Rounds that count: longer than the time in which a steady peer is told once.
const ROUNDS: u32 = 3;
/// Announces between two looks at the clock.
const BURST: u32 = 64;
/// Commands in one go of what others do.
const PIPELINE: u32 = 500;

/// One of several nodes.
struct Local {
    tracker: Arc<Tracker>,
    worker: Worker,
    stop: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now::from_millis(since.as_millis() as u64)
}

impl Local {
    fn start(number: u64, redis: &Redis) -> Result<Self, String> {
        let secs = INTERVAL.as_secs() as u32;
        let interval =
            IntervalLimits { start_secs: secs, min_secs: secs, max_secs: secs, load_max: 1.0 };
        let rules = Rules { interval, jitter_secs: 0, ..Rules::default() };
        let peer_timeout = INTERVAL * 2;
        let limits = Limits { peer_timeout, peers_per_address_max: 0, ..Limits::default() };
        let timing = Timing::seldom(INTERVAL, peer_timeout);
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
            status: Arc::clone(&status),
        };
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let carrier = std::thread::spawn(move || {
            runtime.block_on(node.run(now, || stopping.load(Ordering::Relaxed)));
        });
        let local = Self { tracker, worker, stop, carrier: Some(carrier) };
        let started = Instant::now();
        while !status.is_connected() {
            if started.elapsed() > Duration::from_secs(10) {
                return Err("a node finds no Redis".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(local)
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
    let peers = options.peers.unwrap_or(1_200_000);
    report.line(&format!(
        "\n- Redis, nodes in the process of the benchmark: {} peers announce once in {INTERVAL:?}, \
         {ROUNDS} rounds that count after {WARM_ROUNDS}; of {CHURN} peers one stops in a round and \
         comes back in the next; a swarm's peers are spread over the nodes",
        thousands(peers.into())
    ));
    let mut table = Table::new(&[
        "nodes",
        "peers per swarm",
        "announces/s",
        "announces/s a Redis core",
        "script calls per announce",
        "bytes per announce",
        "Redis core used",
    ]);
    for nodes in [1, 2] {
        for (label, swarms, shape) in [
            ("1", peers, Shape::Even),
            ("2, skewed", peers / 2, Shape::Skewed),
            ("2", peers / 2, Shape::Even),
            ("10", peers / 10, Shape::Even),
            ("100", peers / 100, Shape::Even),
        ] {
            let population =
                Population { sources: 4096, swarms, peers, shape, seeders_percent: 75 };
            table.row(one_shape(options, nodes, label, &population)?);
        }
    }
    report.table("One Redis core, near full", &table);
    others(options, report)
}

fn one_shape(
    options: &Options,
    nodes: u32,
    label: &str,
    population: &Population,
) -> Result<Vec<String>, String> {
    let redis = Redis::start(options)?;
    let mut locals = Vec::new();
    for number in 0..nodes {
        locals.push(Local::start(u64::from(number) + 1, &redis)?);
    }
    let mut before = redis.usage()?;
    let mut counted = Instant::now();
    let mut started = Instant::now();
    let step = INTERVAL / (population.peers / BURST).max(1);
    for round in 0..WARM_ROUNDS + ROUNDS {
        if round == WARM_ROUNDS {
            before = redis.usage()?;
            counted = Instant::now();
        }
        for number in 0..population.peers {
            if number.is_multiple_of(BURST) {
                started += step;
                std::thread::sleep(started.saturating_duration_since(Instant::now()));
            }
            let peer = population.peer(number);
            let is_fickle = mix(u64::from(number) | 1 << 50).is_multiple_of(u64::from(CHURN));
            let event = match (round, is_fickle, round % 2) {
                (0, ..) | (_, true, 0) => Event::Started,
                (_, true, _) => Event::Stopped,
                _ => Event::None,
            };
            // Neighbours in a swarm are at different nodes.
            let node = mix(u64::from(number) | 1 << 51) % u64::from(nodes);
            locals[node as usize].announce(now(), &peer, event);
        }
    }
    let (after, elapsed) = (redis.usage()?, counted.elapsed());
    let announces = f64::from(population.peers) * f64::from(ROUNDS);
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(vec![
        nodes.to_string(),
        label.to_owned(),
        thousands(announces / elapsed.as_secs_f64()),
        thousands(announces / cpu),
        format!("{:.3}", (after.scripts - before.scripts) / announces),
        format!("{:.0}", (after.bytes - before.bytes) / announces),
        format!("{:.0} %", 100.0 * cpu / elapsed.as_secs_f64()),
    ])
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
