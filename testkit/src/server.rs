//! A running `peerage`, and what its scrape says.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::bencode::Value;
use crate::{Folder, Process, Signal, Wait, http, run, wait_for};

/// How long the program may take to start, to stop and to say what is awaited. An unoptimized one,
/// on a machine that builds something else meanwhile, takes seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A running tracker. Ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    lines: Vec<String>,
    port: u16,
    // Dropped after the process that writes to it.
    folder: Folder,
}

/// What a scrape says of a swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers with nothing left.
    pub seeders: u32,
    /// Peers with something left.
    pub leechers: u32,
    /// How often the swarm was finished.
    pub completed: u32,
}

impl Server {
    /// Starts `program`, a `peerage`, on a free port of both loopback addresses, with `flags`
    /// besides, and waits until it is ready.
    pub fn start(program: &Path, flags: &[&str]) -> Result<Self, String> {
        Self::start_with(program, flags, &[])
    }

    /// As [`Server::start`], with settings from the environment.
    pub fn start_with(
        program: &Path,
        flags: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        let listen = ["-p", "0", "--bind", "127.0.0.1", "--bind", "::1"];
        Self::start_as(program, &[&listen, flags].concat(), settings)
    }

    /// Starts `program` with no arguments and variables but these, and waits until it is ready.
    pub fn start_as(
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let folder = Folder::new("server")?;
        let mut process = run::start(program, arguments, variables, folder.path(), &folder)?;
        let lines = process.output_up_to("ready", LIMIT)?;
        let port = lines.first().and_then(|line| listener_port(line));
        let port = port.ok_or_else(|| process.explain(&format!("no port in {lines:?}")))?;
        Ok(Self { process, lines, port, folder })
    }

    /// What it printed up to `ready`.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The folder it was started in; gone with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The one port of all its listeners.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, TCP and UDP, on an address it was bound to.
    pub fn address(&self, ip: impl Into<IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.into(), self.port)
    }

    /// Its process, to be signalled and explained by.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for a line of its log with `text` in it, after the last that was waited for.
    pub fn log_line(&mut self, text: &str) -> Result<String, String> {
        let found = |line: &str| line.contains(text).then(|| line.to_owned());
        self.process.next_line(&format!("line with `{text}`"), LIMIT, found)
    }

    /// A connection over IPv4.
    pub fn connect(&self) -> Result<http::Connection, String> {
        http::Connection::open(self.address(Ipv4Addr::LOCALHOST))
    }

    /// Asks for `target` on a new connection that we are willing to keep.
    pub fn get(&self, target: &str) -> Result<http::Reply, String> {
        self.connect()?.get(target)
    }

    /// The statistics.
    pub fn stats(&self) -> Result<serde_json::Value, String> {
        stats(&mut self.connect()?)
    }

    /// The statistics once `is_so` of them: they may be a second old, and count a datagram when it
    /// has been answered.
    pub fn stats_when(
        &self,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value, String> {
        let mut connection = self.connect()?;
        wait_for("such statistics", LIMIT, || {
            let stats = stats(&mut connection)?;
            Ok(if is_so(&stats) { Wait::Done(stats) } else { Wait::NotYet(stats.to_string()) })
        })
    }

    /// Scrapes one swarm over HTTP and IPv4.
    pub fn scrape(&self, info_hash: [u8; 20]) -> Result<Counts, String> {
        let escaped: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
        let server = self.address(Ipv4Addr::LOCALHOST);
        let reply = http::get(server, &format!("/scrape?info_hash={escaped}"))?;
        let counts = Counts::parse(&reply.body, info_hash).filter(|_| reply.status == 200);
        let body = reply.body.escape_ascii();
        counts.ok_or_else(|| format!("a scrape was answered with {}: {body}", reply.status))
    }

    /// Stops it as an operator does; it is to end well.
    pub fn stop(self) -> Result<(), String> {
        self.stop_by(Signal::Terminate)
    }

    /// Stops it by a signal on which it is to end well.
    pub fn stop_by(mut self, signal: Signal) -> Result<(), String> {
        self.process.signal(signal)?;
        match self.process.ended(LIMIT)? {
            Some(0) => Ok(()),
            code => Err(self.process.explain(&format!("it ended with {code:?} on {signal:?}"))),
        }
    }
}

/// The port in a line such as `listening on udp://[::1]:6969 (UDP)`.
fn listener_port(line: &str) -> Option<u16> {
    let (_, port) = line.rsplit_once(':')?;
    port.split(' ').next()?.parse().ok()
}

fn stats(connection: &mut http::Connection) -> Result<serde_json::Value, String> {
    let text = connection.get("/stats.json")?.text();
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

impl Counts {
    /// Reads a whole scrape reply of one swarm (BEP 48).
    pub fn parse(reply: &[u8], info_hash: [u8; 20]) -> Option<Self> {
        let reply = Value::parse(reply)?;
        let swarm = reply.get("files")?.get(info_hash)?;
        let count = |key| swarm.get(key)?.as_u32();
        let (seeders, completed) = (count("complete")?, count("downloaded")?);
        let leechers = count("incomplete")?;
        // BEP 21: leechers that are no partial seeds, where the tracker tells.
        let downloaders = match swarm.get("downloaders") {
            Some(downloaders) => downloaders.as_u32()?,
            None => leechers,
        };
        (downloaders <= leechers).then_some(Self { seeders, leechers, completed })
    }
}

impl fmt::Display for Counts {
    /// `1+2 (3)`: a seeder, two leechers, three times completed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} ({})", self.seeders, self.leechers, self.completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_read_from_the_line_of_a_listener() {
        assert_eq!(listener_port("listening on http://127.0.0.1:6969 (TCP)"), Some(6969));
        assert_eq!(listener_port("listening on udp://[::1]:1 (UDP)"), Some(1));
        assert_eq!(listener_port("ready"), None);
    }

    #[test]
    fn scrape_reply_is_read_to_the_byte() {
        let hash = *b"0123456789abcdefghij";
        let counts = "d8:completei1e10:downloadedi3e11:downloadersi2e10:incompletei2ee";
        let whole = format!("d5:filesd20:0123456789abcdefghij{counts}ee");
        let expected = Counts { seeders: 1, leechers: 2, completed: 3 };
        assert_eq!(Counts::parse(whole.as_bytes(), hash), Some(expected));
        assert_eq!(expected.to_string(), "1+2 (3)");
        for length in 0..whole.len() {
            assert_eq!(Counts::parse(&whole.as_bytes()[..length], hash), None, "{length}");
        }
        assert_eq!(Counts::parse(whole.as_bytes(), [0; 20]), None);
        let plain = whole.replace("11:downloadersi2e", "");
        assert_eq!(Counts::parse(plain.as_bytes(), hash), Some(expected));
        let too_many = whole.replace("downloadersi2e", "downloadersi3e");
        assert_eq!(Counts::parse(too_many.as_bytes(), hash), None);
    }
}
