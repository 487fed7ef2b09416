//! `bench pause`: how long the store itself makes an announce wait, while peers expire and while it
//! is written to a snapshot.
//!
//! In one process and without sockets: over loopback the scheduler's own pauses are longer than
//! what is looked for. One thread has batches of announces answered by the UDP endpoint, another
//! goes through the store as the server's maintenance does, both on cores of their own. The clock
//! is invented and runs fast, so that all peers come of age within the run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peerage_proto::InfoHash;
use peerage_swarm::Swarms;
use peerage_tracker::udp::{Datagram, Endpoint, Replies};
use peerage_tracker::{ConnectionKey, Connections, Limits, Now, PeerIds, Rng, Rules, Tracker};

use crate::args::Options;
use crate::latency::Latencies;
use crate::mix::{Peer, Population, Shape};
use crate::report::{Report, Table, thousands};
use crate::socket;

const PEERS: u32 = 10_000_000;
const SWARMS: u32 = 1_000_000;
/// A tenth of all peers are in one more swarm, so that there is one that takes long to go through.
const HUGE: u32 = SWARMS;
const SOURCES: u32 = 65_536;
const START: Now = Now::from_millis(1_800_000_000_000);
const TIMEOUT: Duration = Duration::from_secs(1800);
/// Announces in a batch: what a worker takes from its socket in one call.
const BATCH: usize = 64;
/// As the server does it: a part each tenth of a second, all of the store in a minute.
const PARTS: u32 = 600;

/// Between two tables of a huge swarm, as the server does it.
const PAUSE: Duration = Duration::from_micros(50);

struct Store {
    tracker: Arc<Tracker>,
    connections: Connections,
    population: Population,
}

/// What goes on beside the announces.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    /// The clock runs at this many times the real time, and the store is gone through.
    Expiry(u64),
    /// One snapshot after the other is written, to memory.
    Snapshots,
}

/// What one run has seen.
struct Seen {
    batches: Latencies,
    longest: Duration,
    announces: u64,
    /// Peers that expired, or bytes that were written.
    touched: u64,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("pause", options);
    let duration = options.duration(30);
    let peers = options.peers.unwrap_or(PEERS);
    let population = Population {
        sources: SOURCES,
        swarms: SWARMS,
        peers,
        shape: Shape::Skewed,
        seeders_percent: 75,
    };
    report.line(&format!(
        "- store: {} peers in {} swarms, a tenth of them in one; {duration:?} each; announces in \
         batches of {BATCH}, one batch after the other",
        thousands(f64::from(peers)),
        thousands(f64::from(SWARMS + 1)),
    ));
    let store = Store::filled(population);
    let mut table = Table::new(&[
        "while",
        "announces/s",
        "peers expired, or bytes written",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "p99.99 us",
        "longest us",
    ]);
    // The clock passes the timeout within the run.
    let speed = (TIMEOUT.as_secs() * 11 / 10).div_ceil(duration.as_secs().max(1));
    let runs = [
        ("nothing else happens", Beside::Nothing),
        ("snapshots are written", Beside::Snapshots),
        ("all peers expire", Beside::Expiry(speed)),
    ];
    for (name, beside) in runs {
        if let Beside::Expiry(_) = beside {
            report.line(&store.restored());
        }
        let seen = store.measure(duration, beside, options.server_core())?;
        table.row(vec![
            name.to_owned(),
            thousands(seen.announces as f64 / duration.as_secs_f64()),
            thousands(seen.touched as f64),
            format!("{:.0}", seen.batches.percentile_micros(50.0)),
            format!("{:.0}", seen.batches.percentile_micros(99.0)),
            format!("{:.0}", seen.batches.percentile_micros(99.9)),
            format!("{:.0}", seen.batches.percentile_micros(99.99)),
            thousands(seen.longest.as_secs_f64() * 1e6),
        ]);
    }
    report.table(&format!("Time of a batch of {BATCH} announces"), &table);
    report.save()
}

fn limits() -> Limits {
    Limits {
        peer_timeout: TIMEOUT,
        peers_per_swarm_max: Limits::PEERS_PER_SWARM_MAX,
        ..Limits::default()
    }
}

impl Store {
    /// A store with all peers, last seen at times spread over one timeout.
    fn filled(population: Population) -> Self {
        let rules = Rules { peers_per_response_max: 50, ..Rules::default() };
        let tracker = Arc::new(Tracker::new([7; 16], limits(), PeerIds::Dropped, rules));
        let key = ConnectionKey([9; 16]);
        let connections = Connections::new(key, Connections::LIFETIME_MAX);
        let store = Self { tracker, connections, population };
        let mut client = Client::new(&store);
        let mut number = 0;
        while number < population.peers {
            let share = f64::from(number) / f64::from(population.peers);
            let now = START + TIMEOUT.mul_f64(share);
            client.announce(now, || {
                number = (number + 1).min(population.peers);
                number - 1
            });
        }
        store
    }

    /// Writes the store and reads it back into another, and tells what that took.
    fn restored(&self) -> String {
        let mut parts = Vec::new();
        let now = START + TIMEOUT;
        let begun = Instant::now();
        for part in 0..Swarms::SNAPSHOT_PARTS {
            let mut bytes = Vec::new();
            self.tracker.swarms().save(part, &mut bytes, || {});
            parts.push(bytes);
        }
        let (saved, begun) = (begun.elapsed(), Instant::now());
        let swarms = Swarms::new([8; 16], limits(), PeerIds::Dropped);
        let mut peers = 0;
        for part in &parts {
            peers += swarms.restore(now, now, part).map_or(0, |restored| restored.peers);
        }
        let bytes: usize = parts.iter().map(Vec::len).sum();
        format!(
            "- a snapshot without pauses: {:.2} s to write {} bytes, {:.2} s to read {} peers back",
            saved.as_secs_f64(),
            thousands(bytes as f64),
            begun.elapsed().as_secs_f64(),
            thousands(peers as f64),
        )
    }

    /// What goes on beside the announces, until `stop`. Tells how much it has done.
    fn run_beside(&self, beside: Beside, now: impl Fn() -> Now, stop: &AtomicBool) -> u64 {
        let swarms = self.tracker.swarms();
        let mut touched = 0;
        let mut part = 0;
        let mut bytes = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match beside {
                Beside::Nothing => return 0,
                Beside::Expiry(speed) => {
                    touched += swarms.expire(now(), PARTS, || thread::sleep(PAUSE)).peers;
                    // As often in the invented time as the server does it in the real one.
                    let speed = u32::try_from(speed).unwrap_or(u32::MAX).max(1);
                    thread::sleep(Duration::from_millis(100) / speed);
                }
                Beside::Snapshots => {
                    bytes.clear();
                    swarms.save(part, &mut bytes, || thread::sleep(PAUSE));
                    touched += bytes.len() as u64;
                    part = (part + 1) % Swarms::SNAPSHOT_PARTS;
                }
            }
        }
        touched
    }

    /// Announces for `duration`. What goes on beside runs on `core`.
    fn measure(&self, duration: Duration, beside: Beside, core: usize) -> Result<Seen, String> {
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let full = START + TIMEOUT;
        let speed = if let Beside::Expiry(speed) = beside { speed } else { 0 };
        let now = || full + Duration::from_millis(begun.elapsed().as_millis() as u64 * speed);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                socket::pin(core)?;
                Ok::<_, std::io::Error>(self.run_beside(beside, now, &stop))
            });
            let mut client = Client::new(self);
            let mut rng = Rng::from_seed(1);
            let mut seen = Seen {
                batches: Latencies::new(),
                longest: Duration::ZERO,
                announces: 0,
                touched: 0,
            };
            while begun.elapsed() < duration {
                let took = client.announce(now(), || rng.below(self.population.peers));
                seen.batches.add(took.as_nanos() as u64);
                seen.longest = seen.longest.max(took);
                seen.announces += BATCH as u64;
            }
            stop.store(true, Ordering::Relaxed);
            let ended = other.join().map_err(|_| "what ran beside panicked".to_owned())?;
            seen.touched = ended.map_err(|error| format!("cannot choose a core: {error}"))?;
            Ok(seen)
        })
    }
}

/// An endpoint and the memory of one batch.
struct Client<'a> {
    store: &'a Store,
    endpoint: Endpoint,
    requests: Vec<(SocketAddr, [u8; 98])>,
    replies: Replies,
}

impl<'a> Client<'a> {
    fn new(store: &'a Store) -> Self {
        let tracker = Arc::clone(&store.tracker);
        let endpoint = Endpoint::new(tracker, store.connections.clone(), 3);
        let requests = Vec::with_capacity(BATCH);
        Self { store, endpoint, requests, replies: Replies::new(BATCH as u16) }
    }

    /// Has a batch of announces answered, of the peers that `next` numbers, and tells how long that
    /// took.
    fn announce(&mut self, now: Now, mut next: impl FnMut() -> u32) -> Duration {
        let Self { store, requests, .. } = self;
        requests.clear();
        requests.extend((0..BATCH).map(|_| {
            let number = next();
            let peer = store.population.peer(number);
            (SocketAddr::new(store.ip(&peer), 1), store.request(now, number, &peer))
        }));
        let datagram = |(source, bytes): &'_ (SocketAddr, [u8; 98])| (*source, *bytes);
        let owned: Vec<_> = requests.iter().map(datagram).collect();
        let batch: Vec<_> =
            owned.iter().map(|(source, bytes)| Datagram { source: *source, bytes }).collect();
        let begun = Instant::now();
        self.endpoint.handle(now, &batch, &mut self.replies);
        let took = begun.elapsed();
        assert_eq!(self.replies.iter().len(), BATCH, "every announce is answered");
        took
    }
}

impl Store {
    fn ip(&self, peer: &Peer) -> std::net::IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + peer.source).into()
    }

    /// An announce with a valid connection id (BEP 15).
    fn request(&self, now: Now, number: u32, peer: &Peer) -> [u8; 98] {
        let swarm = if number.is_multiple_of(10) { HUGE } else { peer.swarm };
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&swarm.to_be_bytes());
        let info_hash = InfoHash(hash);
        let id = self.connections.issue(now, self.ip(peer));
        let mut bytes = [0; 98];
        bytes[..8].copy_from_slice(&id.0.to_be_bytes());
        bytes[11] = 1;
        bytes[16..36].copy_from_slice(&info_hash.0);
        bytes[71] = u8::from(!peer.is_seeder);
        bytes[92..96].copy_from_slice(&30_u32.to_be_bytes());
        bytes[96..].copy_from_slice(&peer.port.to_be_bytes());
        bytes
    }
}
