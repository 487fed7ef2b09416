//! A private tracker for real clients: its database, its members and torrents, a tap before it.

use std::path::Path;
use std::time::Duration;

use peerage_testkit::redis::Redis;
use peerage_testkit::{
    Folder, GazelleTables, MariaDb, Postgres, Server, Signal, SqlMode, Wait, free_port, run,
    wait_for,
};

use super::tap::{Moved, Tap};
use crate::client::{Family, LIMIT};
use crate::meeting::Protocol;

/// How often the tracker writes to its database: as it does by itself.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_secs(3);

/// Where the accounts are.
pub(crate) enum Books {
    /// Our own tables, in SQLite.
    Sqlite,
    /// Our own tables, in PostgreSQL.
    Postgres(Postgres),
    /// A Gazelle site's tables, in MariaDB.
    Gazelle(MariaDb),
    /// Ours in PostgreSQL, of two nodes that share by way of Redis.
    Shared(Postgres, Redis),
}

/// A running tracker and what is around it.
pub(crate) struct Site {
    /// Its nodes; none between [`Site::stop`] or [`Site::kill9`] and [`Site::start`].
    nodes: Vec<Server>,
    /// Where they listen, before and after.
    node_ports: Vec<u16>,
    /// What clients talk to.
    pub(crate) tap: Tap,
    /// Its database.
    pub(crate) books: Books,
    // Dropped after what writes to it.
    folder: Folder,
}

/// A torrent that is registered.
pub(crate) struct Registered {
    /// Its name.
    pub(crate) info_hash: [u8; 20],
    /// Whether downloads of it are free.
    pub(crate) is_free: bool,
}

impl Books {
    /// An empty site of Orpheus' kind on MariaDB.
    pub(crate) fn gazelle() -> Result<Self, String> {
        let database = MariaDb::start(SqlMode::Strict)?;
        database.make_gazelle(GazelleTables::Ops)?;
        Ok(Self::Gazelle(database))
    }

    /// Ours on PostgreSQL.
    pub(crate) fn postgres() -> Result<Self, String> {
        Postgres::start().map(Self::Postgres)
    }

    /// Ours, and two nodes.
    pub(crate) fn shared() -> Result<Self, String> {
        Ok(Self::Shared(Postgres::start()?, Redis::start(&[])?))
    }

    /// Kills the server where it stands.
    pub(crate) fn kill9(&mut self) -> Result<(), String> {
        match self {
            Self::Sqlite => Err("SQLite is no server".to_owned()),
            Self::Postgres(database) | Self::Shared(database, _) => database.kill9(),
            Self::Gazelle(database) => database.kill9(),
        }
    }

    /// Starts it again after [`Books::kill9`].
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        match self {
            Self::Sqlite => Err("SQLite is no server".to_owned()),
            Self::Postgres(database) | Self::Shared(database, _) => database.restart(),
            Self::Gazelle(database) => database.restart(),
        }
    }

    /// The settings by which the program finds it.
    fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Sqlite => Vec::new(),
            Self::Postgres(database) => vec![("PEERAGE__DATABASE__URL", database.url())],
            Self::Shared(database, redis) => vec![
                ("PEERAGE__DATABASE__URL", database.url()),
                ("PEERAGE__SHARED__REDIS", redis.url()),
            ],
            Self::Gazelle(database) => vec![
                ("PEERAGE__DATABASE__URL", database.url()),
                ("PEERAGE__DATABASE__SCHEMA", "gazelle".to_owned()),
            ],
        }
    }
}

/// The passkey of a member, made of its name.
pub(crate) fn passkey(member: &str) -> String {
    format!("{member:0<32}")
}

impl Site {
    /// A site that is not running yet: [`Site::register`], then [`Site::start`].
    pub(crate) fn new(books: Books) -> Result<Self, String> {
        let folder = Folder::new("private")?;
        let nodes = if matches!(books, Books::Shared(..)) { 2 } else { 1 };
        let node_ports: Vec<u16> = (0..nodes).map(|_| free_port()).collect();
        (0..nodes).try_for_each(|node| folder.inner(&data_name(node)).map(drop))?;
        let tap = Tap::start(&node_ports, &folder.path().join("tap"))?;
        Ok(Self { nodes: Vec::new(), node_ports, tap, books, folder })
    }

    /// Where a member announces to.
    pub(crate) fn url(&self, protocol: Protocol, family: Family, passkey: &str) -> String {
        let host = match family {
            Family::V4 => "127.0.0.1",
            Family::V6 => "[::1]",
        };
        let scheme = match protocol {
            Protocol::Http => "http",
            Protocol::Udp => "udp",
        };
        format!("{scheme}://{host}:{}/{passkey}/announce", self.tap.port)
    }

    /// Puts members and torrents into the tables, as a site's operator would.
    pub(crate) fn register(
        &self,
        members: &[String],
        torrents: &[Registered],
    ) -> Result<(), String> {
        match &self.books {
            Books::Gazelle(database) => database.query(&gazelle_rows(members, torrents)).map(drop),
            Books::Sqlite | Books::Postgres(_) | Books::Shared(..) => {
                for member in members {
                    self.command(&["user", "add", member, "--passkey", &passkey(member)])?;
                }
                for torrent in torrents {
                    let pricing = if torrent.is_free { "free" } else { "normal" };
                    let hash = hex(torrent.info_hash);
                    self.command(&["torrent", "add", &hash, "--pricing", pricing])?;
                }
                Ok(())
            }
        }
    }

    /// Starts the tracker, at the same ports and on the same data as before.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        for node in 0..self.node_ports.len() {
            let started = self.start_node(node)?;
            if matches!(self.books, Books::Shared(..)) {
                started.stats_when(|stats| stats["shared"]["connected"] == true)?;
            }
            self.nodes.push(started);
        }
        Ok(())
    }

    fn start_node(&self, node: usize) -> Result<Server, String> {
        let port = self.node_ports[node].to_string();
        let data = self.data(node);
        let arguments = ["-p", &port, "--bind", "127.0.0.1", "--bind", "::1", "--data-dir", &data];
        // Transmission and aria2 keep to these; the others are told when to announce.
        let often = ["--private", "--interval", "2", "--min-interval", "1", "--max-interval", "2"];
        let books = self.books.settings();
        let flush_secs = FLUSH_INTERVAL.as_secs().to_string();
        let settings = [
            ("PEERAGE__ANNOUNCE__JITTER", "0"),
            ("PEERAGE__ANNOUNCE__PEER_TIMEOUT", "600"),
            ("PEERAGE__DATABASE__FLUSH_INTERVAL", &flush_secs),
            ("PEERAGE__PRIVATE__EARLY", "0"),
        ];
        let books = books.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<(&str, &str)> = settings.into_iter().chain(books).collect();
        let arguments = [&arguments[..], &often].concat();
        Server::start_as(&crate::program(), &arguments, &settings)
    }

    /// Stops the tracker as an operator does.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.nodes.drain(..).try_for_each(Server::stop)
    }

    /// Kills the tracker where it stands.
    pub(crate) fn kill9(&mut self) -> Result<(), String> {
        self.nodes.drain(..).try_for_each(|mut node| {
            node.process().signal(Signal::Kill)?;
            node.process().ended(LIMIT).map(drop)
        })
    }

    /// What is credited to `member` in the tables.
    pub(crate) fn credited(&self, member: &str) -> Result<Moved, String> {
        let line = match &self.books {
            Books::Gazelle(database) => {
                let query = format!(
                    "SELECT CONCAT(ID, ' ', Username, ' uploaded=', Uploaded, ' downloaded=', \
                     Downloaded) FROM users_main JOIN users_leech_stats ON UserID = ID \
                     WHERE Username = '{member}'"
                );
                database.query(&query)?.into_iter().flatten().next()
            }
            Books::Sqlite | Books::Postgres(_) | Books::Shared(..) => {
                let lines = self.command(&["user", "list"])?;
                let is_of = |line: &&str| line.split(' ').nth(1) == Some(member);
                lines.lines().find(is_of).map(str::to_owned)
            }
        };
        let line = line.ok_or_else(|| format!("there is no member {member}"))?;
        let number = |name: &str| {
            let number = line.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok());
            number.ok_or_else(|| format!("no {name} in {line}"))
        };
        Ok(Moved { uploaded: number("uploaded=")?, downloaded: number("downloaded=")? })
    }

    /// Waits until `moved` is credited to `member`, and no other sum.
    pub(crate) fn wait_for_credit(&self, member: &str, moved: Moved) -> Result<(), String> {
        wait_for(&format!("{moved:?} credited to {member}"), LIMIT, || {
            let credited = self.credited(member)?;
            Ok(match credited == moved {
                true => Wait::Done(()),
                false => Wait::NotYet(format!("{credited:?}")),
            })
        })
    }

    fn data(&self, node: usize) -> String {
        self.folder.path().join(data_name(node)).display().to_string()
    }

    /// Runs a command of the program on the tables; what it prints.
    fn command(&self, line: &[&str]) -> Result<String, String> {
        let data = self.data(0);
        let settings = self.books.settings();
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = [&["--data-dir", data.as_str()], line].concat();
        let ended = run(Path::new(&crate::program()), &arguments, &settings)?;
        match ended.code {
            Some(0) => Ok(ended.stdout),
            code => Err(format!("{line:?} ended with {code:?}: {}", ended.stderr)),
        }
    }
}

fn data_name(node: usize) -> String {
    format!("data{node}")
}

/// As the PHP of a site makes them.
fn gazelle_rows(members: &[String], torrents: &[Registered]) -> String {
    let mut rows = String::new();
    for (index, member) in members.iter().enumerate() {
        let (id, passkey) = (index + 1, passkey(member));
        rows += &format!(
            "INSERT INTO users_main (ID, Username, PassHash, Enabled, torrent_pass) \
             VALUES ({id}, '{member}', '', '1', '{passkey}');\
             INSERT INTO users_leech_stats (UserID) VALUES ({id});"
        );
    }
    for (index, torrent) in torrents.iter().enumerate() {
        let (id, hash, free) = (index + 1, hex(torrent.info_hash), u8::from(torrent.is_free));
        rows += &format!(
            "INSERT INTO torrents (ID, GroupID, info_hash, FreeTorrent) \
             VALUES ({id}, 1, x'{hash}', '{free}');\
             INSERT INTO torrents_leech_stats (TorrentID) VALUES ({id});"
        );
    }
    rows
}

fn hex(hash: [u8; 20]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
