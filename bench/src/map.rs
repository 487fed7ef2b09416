//! `bench map`: what it costs our announces to be watched on the map.
//!
//! One server, measured in turns without viewers and with eleven: one that reads its frames and
//! counts their points, and ten that never read. All of the server's threads count, those that
//! locate, encode and send included.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peerage_testkit::websocket::{Buffer, Message, WebSocket};

use crate::args::Options;
use crate::load::Pace;
use crate::mix::{Family, Population, Shape, source_address};
use crate::process::scratch_directory;
use crate::report::{Report, Table, median, thousands};
use crate::servers::{Contestant, Protocol, Setup};
use crate::trial::{Measured, Mix, Trial};

const SOURCES: u32 = 4096;
const SWARMS: u32 = 100_000;
const PEERS: u32 = 200_000;
const WINDOW: usize = 180;
/// Percent of requests that are connects: as many as keep connection ids alive.
const CONNECTS: f64 = 1.0;
const IDLE_VIEWERS: usize = 10;
/// How long the server may take to read its locations.
const READY_MAX: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_millis(500);
/// The most that viewers may take of the announces per CPU-second.
const FALL_MAX: f64 = 0.05;

/// A round: without viewers, with them, and what the one that reads has seen.
struct Round {
    alone: Measured,
    watched: Measured,
    seen: Seen,
}

/// What a viewer has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    frames: u64,
    points: u64,
    announces: u64,
    elapsed: Duration,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::new("map", options);
    let (rounds, duration) = (options.rounds.unwrap_or(7), options.duration(8));
    report.line(&format!(
        "- load: {rounds} rounds, in each {duration:?} full (window {WINDOW}) without viewers and \
         {duration:?} with {IDLE_VIEWERS} that never read and one that does; announces with \
         numwant 30 and {CONNECTS} % connects; {SOURCES} source addresses, each at a place of its \
         own"
    ));
    let folder = scratch_directory("locations")?;
    let outcome = measured(options, &folder, rounds, duration);
    // Where this fails, the system cleans up after us.
    let _ = std::fs::remove_dir_all(&folder);
    let (rounds, dropped) = outcome?;
    let fall = tell(&mut report, &rounds, &dropped);
    report.save()?;
    match fall < FALL_MAX {
        true => Ok(()),
        false => Err(format!("viewers take {:.1} % of the announces", 100.0 * fall)),
    }
}

/// The rounds, and how many viewers the server says it has dropped.
fn measured(
    options: &Options,
    folder: &Path,
    rounds: usize,
    duration: Duration,
) -> Result<(Vec<Round>, String), String> {
    let file = folder.join("locations.csv");
    std::fs::write(&file, table()).map_err(|error| format!("{}: {error}", file.display()))?;
    let config = format!("[pages]\nlocation_files = [{:?}]\n", file.display().to_string());
    let setup = Setup {
        options,
        protocol: Protocol::Udp,
        family: Family::Ipv4,
        swarms: SWARMS,
        body_bytes: 0,
        config: &config,
    };
    let population = Population {
        sources: SOURCES,
        swarms: options.swarms.unwrap_or(SWARMS),
        peers: options.peers.unwrap_or(PEERS),
        shape: Shape::Skewed,
        seeders_percent: 75,
    };
    let trial = Trial::start(Contestant::Peerage, &setup, SOURCES)?;
    let mut trial = trial.ok_or("our server is not there: build it, or name it by --peerage")?;
    let server = trial.server.address(Family::Ipv4);
    trial.fill_and_check(&population)?;
    wait_for_locations(server)?;
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut mix = Mix::new(population, CONNECTS, 0.0, round as u64);
        let mut measure = |trial: &mut Trial| {
            trial.load.connect_all().map_err(|error| error.to_string())?;
            trial.measure(Pace::Window(WINDOW), SETTLE, &mut || Some(mix.next()))?;
            trial.measure(Pace::Window(WINDOW), duration, &mut || Some(mix.next()))
        };
        let alone = measure(&mut trial)?;
        let idle = (0..IDLE_VIEWERS).map(|_| open(server, Buffer::Smallest));
        let idle = idle.collect::<Result<Vec<_>, _>>()?;
        let reader = Reader::start(open(server, Buffer::Usual)?);
        let watched = measure(&mut trial)?;
        let seen = reader.end()?;
        drop(idle);
        all.push(Round { alone, watched, seen });
    }
    let stats = peerage_testkit::http::get(server, "/stats.json")?.text();
    let dropped = stats.split("\"dropped_viewers\":").nth(1).unwrap_or_default();
    let dropped = dropped.chars().take_while(char::is_ascii_digit).collect();
    Ok((all, dropped))
}

/// Adds the tables, and gives the share of the announces that viewers take.
fn tell(report: &mut Report, rounds: &[Round], dropped: &str) -> f64 {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let mut table = Table::new(&["viewers", "replies/s", "CPU-s per M", "server core", "others"]);
    let mut row = |name: &str, one: fn(&Round) -> &Measured| {
        table.row(vec![
            name.to_owned(),
            thousands(of(&|round| one(round).outcome.rate())),
            format!("{:.3}", of(&|round| one(round).cpu_per_million())),
            format!("{:.0} %", 100.0 * of(&|round| one(round).server_share())),
            format!("{:.0} %", 100.0 * of(&|round| one(round).others)),
        ]);
    };
    row("none", |round| &round.alone);
    row("1 reads, 10 never", |round| &round.watched);
    report.table("Announces", &table);
    // Each against its own neighbour in time.
    let ratio = |round: &Round| round.alone.cpu_per_million() / round.watched.cpu_per_million();
    let mut ratios: Vec<f64> = rounds.iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let written: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    let middle = median(ratios);
    report.line(&format!(
        "\nAnnounces per CPU-second with viewers over those without: {middle:.3} (each round: {}).",
        written.join(", ")
    ));
    let sum = |of: fn(&Seen) -> u64| rounds.iter().map(|round| of(&round.seen)).sum::<u64>();
    let secs: f64 = rounds.iter().map(|round| round.seen.elapsed.as_secs_f64()).sum();
    report.line(&format!(
        "The viewer that reads saw {} frames, {} points and word of {} announces in {secs:.0} s; \
         {dropped} viewers were dropped.",
        thousands(sum(|seen| seen.frames) as f64),
        thousands(sum(|seen| seen.points) as f64),
        thousands(sum(|seen| seen.announces) as f64),
    ));
    1.0 - middle
}

/// A file of IP2Location's form with a row for each source.
fn table() -> String {
    let row = |number: u32| {
        let std::net::IpAddr::V4(address) = source_address(Family::Ipv4, number) else {
            unreachable!("of IPv4")
        };
        let address = address.to_bits();
        let (latitude, longitude) = place(number);
        format!(
            "\"{address}\",\"{address}\",\"NZ\",\"New Zealand\",\"-\",\"-\",\"{:.6}\",\"{:.6}\"\n",
            f64::from(latitude) / 10.0,
            f64::from(longitude) / 10.0
        )
    };
    (0..SOURCES).map(row).collect()
}

/// Where a source is, in tenths of a degree.
fn place(source: u32) -> (i16, i16) {
    ((source / 64) as i16 - 30, (source % 64) as i16 + 100)
}

fn open(server: SocketAddr, buffer: Buffer) -> Result<WebSocket, String> {
    WebSocket::open(server, "/map.ws", &[], buffer)
}

/// Waits until a viewer is not told that there are no locations.
fn wait_for_locations(server: SocketAddr) -> Result<(), String> {
    let started = Instant::now();
    while started.elapsed() < READY_MAX {
        let stats = peerage_testkit::http::get(server, "/stats.json")?.text();
        if stats.contains("\"locations\":{") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("no locations within {READY_MAX:?}"))
}

/// The viewer that reads, on a thread of its own.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Seen, String>>,
}

impl Reader {
    fn start(mut socket: WebSocket) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (started, mut seen) = (Instant::now(), Seen::default());
            while !asked.load(Ordering::Relaxed) {
                match socket.receive()? {
                    Message::Binary(frame) => seen.add(&frame)?,
                    Message::Ping(payload) => socket.send(&Message::Pong(payload))?,
                    other => return Err(format!("the viewer that reads got {other:?}")),
                }
            }
            seen.elapsed = started.elapsed();
            Ok(seen)
        });
        Self { stop, thread }
    }

    /// Ends it with the frame to come.
    fn end(self) -> Result<Seen, String> {
        self.stop.store(true, Ordering::Relaxed);
        let seen =
            self.thread.join().map_err(|_| "the viewer that reads panicked".to_owned())??;
        match seen.points > 0 {
            true => Ok(seen),
            false => Err(format!("the viewer that reads saw no points: {seen:?}")),
        }
    }
}

impl Seen {
    /// Takes a frame apart; each of its points has to be where a source is.
    fn add(&mut self, frame: &[u8]) -> Result<(), String> {
        let wrong = || format!("not a frame: {frame:?}");
        let (head, points) = frame.split_first_chunk::<8>().ok_or_else(wrong)?;
        let [1, 0, low, high, announces @ ..] = *head else { return Err(wrong()) };
        let (points, rest) = points.as_chunks::<8>();
        if points.len() != usize::from(u16::from_le_bytes([low, high])) || !rest.is_empty() {
            return Err(wrong());
        }
        let is_ours = |point: &[u8; 8]| {
            let latitude = i16::from_le_bytes([point[0], point[1]]);
            let longitude = i16::from_le_bytes([point[2], point[3]]);
            let source = (i32::from(latitude) + 30) * 64 + i32::from(longitude) - 100;
            let source = u32::try_from(source).unwrap_or(u32::MAX);
            source < SOURCES
                && place(source) == (latitude, longitude)
                && point[4..] == [0, 0, b'N', b'Z']
        };
        if let Some(point) = points.iter().find(|point| !is_ours(point)) {
            return Err(format!("not a place of a source: {point:?}"));
        }
        self.frames += 1;
        self.points += points.len() as u64;
        self.announces += u64::from(u32::from_le_bytes(announces));
        Ok(())
    }
}
