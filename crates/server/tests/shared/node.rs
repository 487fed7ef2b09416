//! A node, and what its clients do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use peerage_testkit::bencode::Value;
use peerage_testkit::udp::{Announce, Client};
use peerage_testkit::{Counts, Server, Wait, compact_v4, compact_v6, http, wait_for};

/// What is told to one node is to be known at every other within this.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// And after a fault within this.
pub(crate) const RECOVERED: Duration = Duration::from_secs(10);

/// The key in Redis of the swarm whose info_hash is 20 times `swarm`, 1 to 5, with the tag by which
/// a Cluster finds it: no release may have another.
pub(crate) fn key(swarm: u8) -> String {
    let tag = [108, 278, 710, 274, 100][usize::from(swarm) - 1];
    format!("peerage:1:{{{tag}}}{}", format!("{swarm:02x}").repeat(20))
}

/// By which protocol and family a client announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    UdpV4,
    UdpV6,
    HttpV4,
    HttpV6,
}

pub(crate) const WAYS: [Way; 4] = [Way::UdpV4, Way::UdpV6, Way::HttpV4, Way::HttpV6];

impl Way {
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Self::UdpV4 | Self::HttpV4 => Ipv4Addr::LOCALHOST.into(),
            Self::UdpV6 | Self::HttpV6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Seeding,
    Leeching,
    Completed,
    Stopped,
}

/// A running tracker that shares.
pub(crate) struct Node(pub(crate) Server);

impl Node {
    /// Shares by way of `redis`, all else as it comes.
    pub(crate) fn start(redis: &str) -> Result<Self, String> {
        Self::start_with(redis, &[])
    }

    /// With settings besides.
    pub(crate) fn start_with(redis: &str, settings: &[(&str, &str)]) -> Result<Self, String> {
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        let settings = [&[("PEERAGE__SHARED__REDIS", redis)], settings].concat();
        let flags = ["--workers", "1"];
        Ok(Self(Server::start_with(program, &flags, &settings)?))
    }

    /// The status of `/ready`.
    pub(crate) fn ready(&self) -> Result<u16, String> {
        Ok(self.0.get("/ready")?.status)
    }

    /// What it has counted of its sharing: `peerage_shared_…_total`.
    pub(crate) fn shared_total(&self, name: &str) -> Result<u64, String> {
        let metrics = self.0.get("/metrics")?.text();
        let value = metrics.lines().find_map(|line| {
            let value = line.strip_prefix("peerage_shared_")?.strip_prefix(name)?;
            value.strip_prefix("_total ")?.trim().parse().ok()
        });
        value.ok_or_else(|| format!("no counter {name}:\n{metrics}"))
    }

    /// Waits until it has all of Redis.
    pub(crate) fn await_connected(&self) -> Result<(), String> {
        self.0.stats_when(|stats| stats["shared"]["connected"] == true).map(|_| ())
    }

    /// Announces the peer of `port` to `swarm`; who else is there.
    pub(crate) fn announce(
        &self,
        way: Way,
        swarm: u8,
        port: u16,
        says: Says,
    ) -> Result<Vec<SocketAddr>, String> {
        let server = self.0.address(way.ip());
        let left = u64::from(says == Says::Leeching);
        match way {
            Way::UdpV4 | Way::UdpV6 => {
                let event = match says {
                    Says::Completed => 1,
                    Says::Stopped => 3,
                    Says::Seeding | Says::Leeching => 0,
                };
                let (info_hash, peer_id) = ([swarm; 20], [port as u8; 20]);
                let announce = Announce { info_hash, peer_id, left, event, numwant: 50, port };
                Ok(Client::connect(server)?.announce(&announce)?.peers)
            }
            Way::HttpV4 | Way::HttpV6 => {
                let event = match says {
                    Says::Completed => "&event=completed",
                    Says::Stopped => "&event=stopped",
                    Says::Seeding | Says::Leeching => "",
                };
                let hash = format!("%{swarm:02x}").repeat(20);
                let reply = http::get(
                    server,
                    &format!(
                        "/announce?info_hash={hash}&peer_id=-XX0001-{port:012}&port={port}\
                         &uploaded=0&downloaded=0&left={left}&compact=1&numwant=50{event}"
                    ),
                )?;
                read_peers(&reply.body)
            }
        }
    }

    /// Whom a leecher that listens nowhere is told of; over HTTP, both families.
    pub(crate) fn peers(&self, swarm: u8) -> Result<Vec<SocketAddr>, String> {
        let hash = format!("%{swarm:02x}").repeat(20);
        let reply = self.0.get(&format!(
            "/announce?info_hash={hash}&peer_id=-XX0001-000000000000&port=0&uploaded=0\
             &downloaded=0&left=1&compact=1&numwant=200"
        ))?;
        let mut peers = read_peers(&reply.body)?;
        peers.sort_unstable();
        Ok(peers)
    }

    pub(crate) fn counts(&self, swarm: u8) -> Result<Counts, String> {
        self.0.scrape([swarm; 20])
    }

    /// Waits until a scrape says so.
    #[track_caller]
    pub(crate) fn await_counts(
        &self,
        swarm: u8,
        wanted: (u32, u32, u32),
        limit: Duration,
    ) -> Result<(), String> {
        let (seeders, leechers, completed) = wanted;
        let wanted = Counts { seeders, leechers, completed };
        wait_for(&format!("counts {wanted}"), limit, || {
            let counts = self.counts(swarm)?;
            Ok(match counts == wanted {
                true => Wait::Done(()),
                false => Wait::NotYet(format!("{counts}; {}", self.0.stats()?["shared"])),
            })
        })
    }

    /// Waits until a client is told of exactly these peers.
    pub(crate) fn await_peers(
        &self,
        swarm: u8,
        wanted: &[SocketAddr],
        limit: Duration,
    ) -> Result<(), String> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wait_for(&format!("peers {wanted:?}"), limit, || {
            let peers = self.peers(swarm)?;
            Ok(match peers == wanted {
                true => Wait::Done(()),
                false => Wait::NotYet(format!("{peers:?}")),
            })
        })
    }
}

fn read_peers(body: &[u8]) -> Result<Vec<SocketAddr>, String> {
    let wrong = || format!("no announce reply: {}", body.escape_ascii());
    let reply = Value::parse(body).ok_or_else(wrong)?;
    let list = |key: &str| reply.get(key).and_then(|value| value.as_bytes()).unwrap_or_default();
    if reply.get("interval").is_none() {
        return Err(wrong());
    }
    Ok([compact_v4(list("peers"))?, compact_v6(list("peers6"))?].concat())
}
