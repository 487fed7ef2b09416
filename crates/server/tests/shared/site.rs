//! Nodes of a private tracker: one database, one Redis, and members whose clients come to any.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use peerage_testkit::bencode::Value;
use peerage_testkit::redis::Redis;
use peerage_testkit::udp::{self, Client};
use peerage_testkit::{
    GazelleTables, MariaDb, Server, SqlMode, Wait, compact_v4, compact_v6, http, wait_for,
};

use crate::node::Way;

/// How long rows may take to be there on a busy machine. A flush is due every second.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const GB: u64 = 1_000_000_000;

/// Whose tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    Own,
    Gazelle(GazelleTables),
}

pub(crate) const ALL_TABLES: [Tables; 3] =
    [Tables::Own, Tables::Gazelle(GazelleTables::Ops), Tables::Gazelle(GazelleTables::WhatCd)];

/// Two nodes and what they share, which is one Redis or many.
pub(crate) struct Site<R = Redis> {
    // Dropped first: they write to the others.
    pub(crate) nodes: Vec<Server>,
    pub(crate) redis: R,
    /// By which nodes find it.
    redis_url: String,
    pub(crate) database: MariaDb,
    pub(crate) tables: Tables,
}

/// What a client of a member says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says {
    pub(crate) member: u32,
    pub(crate) way: Way,
    pub(crate) port: u16,
    pub(crate) event: &'static str,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) left: u64,
}

/// What it is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) seeders: u32,
    pub(crate) leechers: u32,
}

pub(crate) fn passkey(member: u32) -> String {
    format!("{member:032}")
}

pub(crate) const HASH: [u8; 20] = [0x5a; 20];

/// A client that listens at `port`, by which its peer_id is made too.
pub(crate) fn client(member: u32, port: u16) -> Says {
    let (way, event) = (Way::HttpV4, "");
    Says { member, way, port, event, uploaded: 0, downloaded: 0, left: 1 }
}

impl Says {
    pub(crate) fn over(self, way: Way) -> Self {
        Self { way, ..self }
    }

    pub(crate) fn event(self, event: &'static str) -> Self {
        Self { event, ..self }
    }

    pub(crate) fn seeding(self) -> Self {
        Self { left: 0, ..self }
    }

    pub(crate) fn moved(self, uploaded: u64, downloaded: u64) -> Self {
        Self { uploaded, downloaded, ..self }
    }

    pub(crate) fn at(self, node: &Server) -> Result<Told, String> {
        self.to(node.address(self.way.ip()))
    }

    /// The same, to whoever listens there.
    pub(crate) fn to(self, server: SocketAddr) -> Result<Told, String> {
        let Self { member, port, event, uploaded, downloaded, left, .. } = self;
        match self.way {
            Way::HttpV4 | Way::HttpV6 => {
                let hash = "%5a".repeat(20);
                let reply = http::get(
                    server,
                    &format!(
                        "/{}/announce?info_hash={hash}&peer_id=-XX0001-{port:012}&port={port}\
                         &uploaded={uploaded}&downloaded={downloaded}&left={left}&event={event}\
                         &compact=1&numwant=50",
                        passkey(member)
                    ),
                )?;
                read_reply(&reply.body)
            }
            Way::UdpV4 | Way::UdpV6 => {
                let event = match event {
                    "completed" => 1,
                    "started" => 2,
                    "stopped" => 3,
                    _ => 0,
                };
                let id = format!("-XX0001-{port:012}");
                let peer_id = id.as_bytes().try_into().map_err(|_| format!("{id} is no id"))?;
                let info_hash = HASH;
                let announce = udp::Announce { info_hash, peer_id, left, event, numwant: 50, port };
                let path = format!("/{}/announce", passkey(member));
                let mut client = Client::connect(server)?;
                let told = client.announce_as(&path, &announce, uploaded, downloaded)?;
                let udp::Announced { peers, seeders, leechers, .. } = told;
                Ok(Told { peers, seeders, leechers })
            }
        }
    }
}

fn read_reply(body: &[u8]) -> Result<Told, String> {
    let wrong = || format!("no announce reply: {}", body.escape_ascii());
    let reply = Value::parse(body).ok_or_else(wrong)?;
    let list = |key: &str| reply.get(key).and_then(|value| value.as_bytes()).unwrap_or_default();
    let count = |key: &str| reply.get(key).and_then(Value::as_u32).ok_or_else(wrong);
    let mut peers = [compact_v4(list("peers"))?, compact_v6(list("peers6"))?].concat();
    peers.sort_unstable();
    Ok(Told { peers, seeders: count("complete")?, leechers: count("incomplete")? })
}

impl Site {
    /// Of members 1 to 9, one torrent, and two nodes.
    pub(crate) fn start(tables: Tables) -> Result<Self, String> {
        Self::start_with(tables, &[])
    }

    pub(crate) fn start_with(tables: Tables, flags: &[&str]) -> Result<Self, String> {
        let redis = Redis::start(flags)?;
        let redis_url = redis.url();
        Self::start_at(tables, redis, redis_url)
    }
}

impl<R> Site<R> {
    /// The same at a Redis that nodes find by this URL.
    pub(crate) fn start_at(tables: Tables, redis: R, redis_url: String) -> Result<Self, String> {
        let database = MariaDb::start(match tables {
            Tables::Gazelle(GazelleTables::WhatCd) => SqlMode::Loose,
            _ => SqlMode::Strict,
        })?;
        if let Tables::Gazelle(gazelle) = tables {
            database.make_gazelle(gazelle)?;
            database.query(&gazelle_rows(gazelle))?;
        }
        let mut site = Self { nodes: Vec::new(), redis, redis_url, database, tables };
        site.add_node()?;
        if tables == Tables::Own {
            site.database.query(&own_rows())?;
        }
        site.add_node()?;
        // The first has to read the tables again.
        site.await_registered()?;
        Ok(site)
    }

    pub(crate) fn add_node(&mut self) -> Result<(), String> {
        let url = self.database.url();
        let mut settings = vec![
            ("PEERAGE__DATABASE__URL", url.as_str()),
            ("PEERAGE__DATABASE__FLUSH_INTERVAL", "1"),
            ("PEERAGE__SHARED__REDIS", self.redis_url.as_str()),
            ("PEERAGE__ANNOUNCE__CLIENT_MIN_INTERVAL", "0"),
            ("PEERAGE__PRIVATE__EARLY", "0"),
            ("PEERAGE__HTTP__EXTERNAL_IP", "false"),
        ];
        if self.tables != Tables::Own {
            settings.push(("PEERAGE__GAZELLE__SITE_PASSWORD", SITE_PASSWORD));
            settings.push(("PEERAGE__GAZELLE__REPORT_PASSWORD", REPORT_PASSWORD));
        }
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        let node = Server::start_with(program, &["--private", "--workers", "1"], &settings)?;
        self.nodes.push(node);
        let node = &self.nodes[self.nodes.len() - 1];
        node.stats_when(|stats| stats["shared"]["connected"] == true).map(|_| ())
    }

    /// Waits until all nodes have all of Redis.
    pub(crate) fn await_connected(&self, limit: Duration) -> Result<(), String> {
        self.nodes.iter().try_for_each(|node| {
            wait_for("all of Redis", limit, || {
                let shared = node.stats()?["shared"].take();
                let is_connected = shared["connected"] == true;
                Ok(if is_connected { Wait::Done(()) } else { Wait::NotYet(shared.to_string()) })
            })
        })
    }

    /// Waits until the nodes have told Redis all they have to tell.
    pub(crate) fn await_told(&self) -> Result<(), String> {
        self.nodes.iter().try_for_each(|node| {
            let is_told = |stats: &serde_json::Value| {
                let members = &stats["shared"]["members"];
                members["catching_up"] == 0 && members["waiting_claims"] == 0
            };
            node.stats_when(is_told).map(drop)
        })
    }

    pub(crate) fn await_registered(&self) -> Result<(), String> {
        for node in &self.nodes {
            wait_for("members and torrents", LIMIT, || {
                Ok(match self.scrape(node) {
                    Ok(_) => Wait::Done(()),
                    Err(error) => Wait::NotYet(error),
                })
            })?;
        }
        Ok(())
    }

    pub(crate) fn scrape(&self, node: &Server) -> Result<(u32, u32, u32), String> {
        let target = format!("/{}/scrape?info_hash={}", passkey(9), "%5a".repeat(20));
        let reply = node.get(&target)?;
        let counts = peerage_testkit::Counts::parse(&reply.body, HASH);
        let counts = counts.ok_or_else(|| reply.body.escape_ascii().to_string())?;
        Ok((counts.seeders, counts.leechers, counts.completed))
    }

    pub(crate) fn await_counts(
        &self,
        wanted: (u32, u32, u32),
        limit: Duration,
    ) -> Result<(), String> {
        for node in &self.nodes {
            wait_for(&format!("counts {wanted:?}"), limit, || {
                let counts = self.scrape(node)?;
                Ok(match counts == wanted {
                    true => Wait::Done(()),
                    false => Wait::NotYet(format!("{counts:?}; {}", node.stats()?["shared"])),
                })
            })?;
        }
        Ok(())
    }

    /// Waits until `query` gives `rows`, columns separated by blanks.
    pub(crate) fn await_rows(&self, query: &str, rows: &[&str]) -> Result<(), String> {
        wait_for(&format!("{rows:?} of {query}"), LIMIT, || {
            let found: Vec<String> =
                self.database.query(query)?.iter().map(|columns| columns.join(" ")).collect();
            Ok(if found == rows { Wait::Done(()) } else { Wait::NotYet(format!("{found:?}")) })
        })
    }

    /// Has a client announce until its member is credited with what it says. A session that has
    /// just begun is not believed at once at another node.
    pub(crate) fn credit(&self, node: usize, says: Says) -> Result<(), String> {
        let query = self.credit_query(says.member);
        wait_for(&format!("{says:?} in {query}"), LIMIT, || {
            says.at(&self.nodes[node])?;
            let found = self.database.query(&query)?;
            let wanted = [says.uploaded.to_string(), says.downloaded.to_string()];
            Ok(match found.first().is_some_and(|row| row[..] == wanted) {
                true => Wait::Done(()),
                false => Wait::NotYet(format!("{found:?}")),
            })
        })
    }

    /// What a member is credited with: waits until it is so.
    pub(crate) fn await_credit(
        &self,
        member: u32,
        uploaded: u64,
        downloaded: u64,
    ) -> Result<(), String> {
        self.await_rows(&self.credit_query(member), &[&format!("{uploaded} {downloaded}")])
    }

    pub(crate) fn credit_query(&self, member: u32) -> String {
        let (table, id) = match self.tables {
            Tables::Own => ("members", "id"),
            Tables::Gazelle(GazelleTables::Ops) => ("users_leech_stats", "UserID"),
            Tables::Gazelle(GazelleTables::WhatCd) => ("users_main", "ID"),
        };
        format!("SELECT uploaded, downloaded FROM {table} WHERE {id} = {member}")
    }

    /// Peers by member: active, and the counters.
    pub(crate) fn peers_query(&self) -> &'static str {
        match self.tables {
            Tables::Own => {
                "SELECT member_id, active, uploaded, downloaded FROM peers ORDER BY member_id"
            }
            Tables::Gazelle(_) => {
                "SELECT uid, active, uploaded, downloaded FROM xbt_files_users ORDER BY uid"
            }
        }
    }

    pub(crate) fn torrent_query(&self) -> &'static str {
        match self.tables {
            Tables::Own => "SELECT seeders, leechers, completed, balance FROM torrents",
            Tables::Gazelle(GazelleTables::Ops) => {
                "SELECT Seeders, Leechers, Snatched, Balance FROM torrents_leech_stats"
            }
            Tables::Gazelle(GazelleTables::WhatCd) => {
                "SELECT Seeders, Leechers, Snatched, balance FROM torrents"
            }
        }
    }
}

pub(crate) const SITE_PASSWORD: &str = "sitesitesitesitesitesitesitesite";
pub(crate) const REPORT_PASSWORD: &str = "reportreportreportreportreportre";

fn own_rows() -> String {
    let members: Vec<String> =
        (1..10).map(|id| format!("({id}, 'm{id}', '{}', 0)", passkey(id))).collect();
    format!(
        "INSERT INTO members (id, name, passkey, created_at) VALUES {};\
         INSERT INTO torrents (id, info_hash, name, created_at) VALUES (1, x'{}', 't', 0);\
         UPDATE revision SET number = number + 1;",
        members.join(","),
        "5a".repeat(20)
    )
}

fn gazelle_rows(tables: GazelleTables) -> String {
    let (more, text) = match tables {
        GazelleTables::WhatCd => (", FileList", ", ''"),
        GazelleTables::Ops => ("", ""),
    };
    let mut rows = String::new();
    for id in 1..10 {
        rows += &format!(
            "INSERT INTO users_main (ID, Username, PassHash, IP, Enabled, torrent_pass) VALUES \
             ({id}, 'm{id}', '', '192.0.2.1', '1', '{}');",
            passkey(id)
        );
        if tables == GazelleTables::Ops {
            rows += &format!("INSERT INTO users_leech_stats (UserID) VALUES ({id});");
        }
    }
    let hash = "5a".repeat(20);
    rows += &format!(
        "INSERT INTO torrents (ID, GroupID, info_hash{more}) VALUES (1, 1, x'{hash}'{text});"
    );
    if tables == GazelleTables::Ops {
        rows += "INSERT INTO torrents_leech_stats (TorrentID) VALUES (1);";
    }
    rows
}

pub(crate) fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}
