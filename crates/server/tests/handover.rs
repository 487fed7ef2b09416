//! One program takes the place of another: by SIGUSR2, and with sockets from systemd.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use peerage_testkit::udp::{Announce, Client};
use peerage_testkit::{Folder, Server, Signal, Wait, http, wait_for};

const SWARM: [u8; 20] = [b'a'; 20];
const PEERS: u32 = 60;
const STARTED: u32 = 2;
const LIMIT: Duration = Duration::from_secs(60);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_peerage"))
}

fn announce(number: u32, event: u32) -> Announce {
    let port = 10_000 + number as u16;
    let mut peer_id = [b'-'; 20];
    peer_id[..4].copy_from_slice(&number.to_be_bytes());
    Announce { info_hash: SWARM, peer_id, left: 0, event, numwant: 0, port }
}

/// Announces one peer after the other until told to stop, and returns how often. Every request has
/// to be answered.
fn udp_load(server: SocketAddr, stop: &AtomicBool) -> Result<u32, String> {
    let mut client = Client::connect(server)?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        client.announce(&announce(count % PEERS, 0))?;
        count += 1;
    }
    Ok(count)
}

/// The same over HTTP, a connection each time.
fn http_load(server: SocketAddr, stop: &AtomicBool) -> Result<u32, String> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let port = 20_000 + count % PEERS;
        let peer = format!("bbbbbbbbbbbbbbbb{:04}", count % 9999);
        let query = format!("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id={peer}&port={port}");
        let target = format!("/announce?{query}&left=0");
        let reply = http::get(server, &target)?;
        if reply.status != 200 {
            return Err(format!("{server}: {} to {target}", reply.text()));
        }
        count += 1;
    }
    Ok(count)
}

/// What tells this run from the one before.
fn started(server: &Server) -> Result<serde_json::Value, String> {
    Ok(server.stats()?["started_at_secs"].clone())
}

/// Tells it to hand over, and waits until the next one answers. Runs are told apart by the second
/// they have begun in.
fn hand_over(server: &mut Server) -> Result<(), String> {
    server.stats_when(|stats| stats["uptime_secs"].as_u64() > Some(0))?;
    let before = started(server)?;
    server.process().signal(Signal::User2)?;
    wait_for("a run that has begun later", LIMIT, || {
        let started = started(server)?;
        Ok(if started == before { Wait::NotYet(started.to_string()) } else { Wait::Done(()) })
    })
}

#[test]
fn nobody_is_refused_or_forgotten_when_a_successor_takes_over() -> Result<(), String> {
    let flags = ["--workers", "2", "--interval", "600", "--min-interval", "600"];
    let mut server = Server::start(program(), &flags)?;
    let (v4, v6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let mut client = Client::connect(server.address(v4))?;
    for number in 0..PEERS {
        client.announce(&announce(number, STARTED))?;
    }
    let id = server.process().id();
    let stop = AtomicBool::new(false);
    let addresses = [v4, v6].map(|ip| server.address(ip));
    let counts = thread::scope(|scope| {
        let stop = &stop;
        let udp = addresses.map(|server| scope.spawn(move || udp_load(server, stop)));
        let http = addresses.map(|server| scope.spawn(move || http_load(server, stop)));
        let handed = hand_over(&mut server).and_then(|()| hand_over(&mut server));
        stop.store(true, Ordering::Relaxed);
        let counts = udp.into_iter().chain(http).map(|load| load.join().expect("no panic"));
        handed.and(counts.collect::<Result<Vec<_>, _>>())
    })?;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(server.process().id(), id);
    // The connection id is of the first run, and so are the peers.
    let seen = client.announce(&announce(0, 0))?;
    assert!(PEERS <= seen.seeders, "{} of {PEERS} peers are left", seen.seeders);
    server.stop()
}

#[test]
fn successor_that_could_not_start_takes_nothing_over() -> Result<(), String> {
    let folder = Folder::new("handover")?;
    let file = folder.path().join("peerage.toml");
    let write = |text: &str| fs::write(&file, text).map_err(|error| error.to_string());
    let intervals = |secs: u32| {
        let all = ["interval", "min_interval", "max_interval"];
        let lines = all.map(|name| format!("{name} = {secs}\n")).concat();
        write(&format!("[announce]\njitter = 0\n{lines}"))
    };
    intervals(600)?;
    let (data_dir, config) = (folder.path().join("data"), file.display().to_string());
    let data_dir = data_dir.display().to_string();
    let mut server = Server::start(program(), &["-c", &config, "--data-dir", &data_dir])?;
    let mut client = Client::connect(server.address(Ipv4Addr::LOCALHOST))?;
    assert_eq!(client.announce(&announce(1, STARTED))?.interval_secs, 600);
    write("[announce]\nintervall = 700\n")?;
    let before = started(&server)?;
    server.process().signal(Signal::User2)?;
    let line = server.log_line("could not start")?;
    assert!(line.contains("intervall") && line.contains("this one goes on"), "{line}");
    assert_eq!(started(&server)?, before);
    assert_eq!(client.announce(&announce(1, 0))?.interval_secs, 600);
    intervals(700)?;
    hand_over(&mut server)?;
    let seen = client.announce(&announce(2, 0))?;
    assert_eq!((seen.interval_secs, seen.seeders), (700, 2), "the first peer is there");
    server.stop()
}

#[test]
fn systemd_is_told_what_becomes_of_it() -> Result<(), String> {
    let folder = Folder::new("notify")?;
    let path = folder.path().join("socket");
    let systemd = UnixDatagram::bind(&path).map_err(|error| error.to_string())?;
    systemd.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
    let told = || {
        let mut said = [0; 100];
        let bytes = systemd.recv(&mut said).map_err(|error| format!("nothing is said: {error}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&said[..bytes]).into_owned())
    };
    let path = path.display().to_string();
    let mut server = Server::start_with(program(), &[], &[("NOTIFY_SOCKET", path.as_str())])?;
    assert_eq!(told()?, "READY=1");
    server.process().signal(Signal::User2)?;
    assert_eq!(told()?, "RELOADING=1\nSTATUS=handing over");
    assert_eq!(told()?, "READY=1");
    server.stop()?;
    assert_eq!(told()?, "STOPPING=1");
    Ok(())
}

/// What systemd does: bound sockets from descriptor 3 on.
const SYSTEMD: &str = "
import os, socket, sys
for attempt in range(16):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    udp.bind(('127.0.0.1', 0))
    try:
        tcp.bind(udp.getsockname())
        break
    except OSError:
        pass
tcp.listen()
for at, made in enumerate((udp, tcp)):
    os.dup2(os.dup(made.fileno()), 10 + at)
for at in range(2):
    os.dup2(10 + at, 3 + at, inheritable=True)
port = str(udp.getsockname()[1])
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')
os.execv(sys.argv[1], [sys.argv[1], '-p', port, '--bind', '127.0.0.1', '-w', '2'])
";

#[test]
fn sockets_that_systemd_has_bound_are_taken() -> Result<(), String> {
    let program = program().to_str().ok_or("the program's path is no text")?;
    // The port is not shared: the tracker could not bind it.
    let server = Server::start_as(Path::new("/usr/bin/python3"), &["-c", SYSTEMD, program], &[])?;
    let mut clients: Vec<Client> = (0..8)
        .map(|_| Client::connect(server.address(Ipv4Addr::LOCALHOST)))
        .collect::<Result<_, _>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.announce(&announce(number as u32, STARTED))?;
    }
    assert_eq!(server.scrape(SWARM)?.seeders, 8);
    server.stop()
}
