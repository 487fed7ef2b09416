//! A bounded load: announces over UDP and HTTP, IPv4 and IPv6, some two hundred a second.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use peerage_testkit::{http, udp};

/// Between two rounds of an announce each way.
const PAUSE: Duration = Duration::from_millis(20);

/// Rounds with a connection id, which is valid for two minutes.
const ROUNDS_MAX: u32 = 200;

/// Swarms announced to.
const SWARMS: u32 = 60;

/// The clients that announce.
const PREFIXES: [&str; 4] = ["-TR4060-", "-qB5010-", "-LT20B0-", "-AZ5770-"];

/// Announces until it is dropped.
pub(crate) struct Load {
    // Its end tells the thread to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins to announce to the tracker at `port` of both loopback addresses.
    pub(crate) fn start(port: u16) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let rounds = run(port, &stopped);
            rounds.expect("the tracker answers while it is under load");
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().expect("it was started");
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("the load ended before it was to");
        }
    }
}

fn run(port: u16, stopped: &Receiver<()>) -> Result<(), String> {
    let addresses: [SocketAddr; 2] =
        [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    let connect = || -> Result<[udp::Client; 2], String> {
        Ok([udp::Client::connect(addresses[0])?, udp::Client::connect(addresses[1])?])
    };
    let mut udp = connect()?;
    for round in 0_u32.. {
        if round.is_multiple_of(ROUNDS_MAX) {
            udp = connect()?;
        }
        for client in &mut udp {
            client.announce(&announce(round))?;
        }
        for address in addresses {
            let reply = http::get(address, &path(round))?;
            if reply.status != 200 {
                return Err(format!("an announce was answered with {}", reply.status));
            }
        }
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    Ok(())
}

fn port_of(round: u32) -> u16 {
    1024 + (round % 60_000) as u16
}

fn peer_id(round: u32) -> String {
    format!("{}{round:012}", PREFIXES[round as usize % PREFIXES.len()])
}

fn announce(round: u32) -> udp::Announce {
    let peer_id = peer_id(round).into_bytes().try_into().expect("20 bytes");
    let (left, event) = if round.is_multiple_of(3) { (1, 2) } else { (0, 1) };
    let info_hash = [(round % SWARMS) as u8; 20];
    udp::Announce { info_hash, peer_id, left, event, numwant: 30, port: port_of(round) }
}

fn path(round: u32) -> String {
    let hash = format!("%{:02x}", round % SWARMS).repeat(20);
    let (id, port, left) = (peer_id(round), port_of(round), round % 2);
    format!(
        "/announce?info_hash={hash}&peer_id={id}&port={port}&left={left}&uploaded=0&downloaded=0"
    )
}
