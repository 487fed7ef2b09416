//! A running `peerage`, and what its scrape says.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Folder, Process, Signal, free_port, http};

/// How long the program may take to start and to stop. An unoptimized one, on a machine that
/// builds something else meanwhile, takes seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A running tracker, on both loopback addresses. Ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: u16,
    // Dropped after the process that writes to it.
    _folder: Folder,
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
    /// Starts `program`, a `peerage`, with `flags` besides the port and the addresses, and waits
    /// until it is ready.
    pub fn start(program: &Path, flags: &[&str]) -> Result<Self, String> {
        Self::start_with(program, flags, &[])
    }

    /// As [`Server::start`], with settings from the environment.
    pub fn start_with(
        program: &Path,
        flags: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        let folder = Folder::new("server")?;
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-p", &port.to_string(), "--bind", "127.0.0.1", "--bind", "::1"]).args(flags);
        command.current_dir(folder.path()).envs(settings.iter().copied());
        let log = folder.path().join("log");
        let mut process = Process::start("peerage", &mut command, &log)?;
        process.line("`ready`", LIMIT, |line| (line == "ready").then_some(()))?;
        Ok(Self { process, port, _folder: folder })
    }

    /// Where it listens, TCP and UDP, on an address it was bound to.
    pub fn address(&self, ip: impl Into<IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.into(), self.port)
    }

    /// Its process, to be signalled and explained by.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
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
    pub fn stop(mut self) -> Result<(), String> {
        self.process.signal(Signal::Terminate)?;
        match self.process.ended(LIMIT)? {
            Some(0) => Ok(()),
            code => Err(self.process.explain(&format!("it ended with {code:?} on SIGTERM"))),
        }
    }
}

impl Counts {
    /// Reads a whole scrape reply of one swarm, byte by byte as BEP 48 and BEP 3 have it.
    fn parse(reply: &[u8], info_hash: [u8; 20]) -> Option<Self> {
        let rest = reply.strip_prefix(b"d5:filesd20:")?.strip_prefix(&info_hash)?;
        let rest = std::str::from_utf8(rest).ok()?.strip_prefix("d8:completei")?;
        let (seeders, rest) = rest.split_once("e10:downloadedi")?;
        let (middle, rest) = rest.split_once("e10:incompletei")?;
        let leechers = rest.strip_suffix("eeee")?.parse().ok()?;
        // BEP 21: leechers that are no partial seeds, where the tracker tells.
        let (completed, downloaders) = match middle.split_once("e11:downloadersi") {
            Some((completed, downloaders)) => (completed, downloaders.parse().ok()?),
            None => (middle, leechers),
        };
        let (seeders, completed) = (seeders.parse().ok()?, completed.parse().ok()?);
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
