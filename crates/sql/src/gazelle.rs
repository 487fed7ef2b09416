//! The tables of a Gazelle site, in MariaDB or MySQL, as PHP and Ocelot know them.
//!
//! Two dialects: WhatCD's (Ocelot 1.0) has the sums in `users_main` and `torrents`, OPSnet's
//! (Ocelot 2) in `users_leech_stats` and `torrents_leech_stats`. What is written is what Ocelot
//! writes, but for where it is wrong: `docs/private.md` lists each difference.

mod load;

pub(crate) use load::snatches;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use crate::database::{Connection, Database};
use crate::error::Failure;
use crate::fields::{Field, Tables};
use crate::statement::{How, Set, Table, Value};
use crate::write::Part;
use crate::{Error, GazelleDialect};

/// Most characters of an IPv6 address as text.
const IPV6_CHARS_MAX: usize = 39;

/// A site's tables, as they were found.
pub(crate) struct Gazelle {
    pub(crate) dialect: GazelleDialect,
    /// Characters of `xbt_files_users.useragent`.
    agent_chars: usize,
    /// Characters of `xbt_files_users.ip`.
    peer_ip_chars: usize,
    /// Characters of `xbt_snatched.IP`.
    snatch_ip_chars: usize,
    /// Whether other trackers write the same tables, so that sums are added to and never set.
    is_shared: bool,
    /// Whether it was said that an address did not fit.
    is_told_of_addresses: AtomicBool,
    /// Whether it was said that torrents without info_hash cannot be removed.
    is_told_of_cleaning: AtomicBool,
}

const WHATCD_MEMBERS: Table = Table {
    name: "users_main",
    columns: &[
        ("ID", Field::Member),
        ("Uploaded", Field::Uploaded),
        ("Downloaded", Field::Downloaded),
    ],
    made: &[],
    keys: &["ID"],
    // A member who is gone is not made anew.
    how: How::Update,
    sets: &[("Uploaded", Set::Add), ("Downloaded", Set::Add)],
};

const OPS_MEMBERS: Table = Table {
    name: "users_leech_stats",
    columns: &[
        ("UserID", Field::Member),
        ("Uploaded", Field::Uploaded),
        ("Downloaded", Field::Downloaded),
    ],
    keys: &["UserID"],
    how: How::Upsert,
    ..WHATCD_MEMBERS
};

const WHATCD_TORRENTS: Table = Table {
    name: "torrents",
    columns: &[
        ("ID", Field::Torrent),
        ("Seeders", Field::Seeders),
        ("Leechers", Field::Leechers),
        ("Snatched", Field::Completed),
        ("balance", Field::Balance),
    ],
    made: &[],
    keys: &["ID"],
    how: How::Update,
    sets: &[
        ("Seeders", Set::New),
        ("Leechers", Set::New),
        ("Snatched", Set::Add),
        ("balance", Set::New),
        ("last_action", Set::To("IF(d.Seeders > 0, NOW(), t.last_action)")),
    ],
};

const OPS_TORRENTS: Table = Table {
    name: "torrents_leech_stats",
    columns: &[
        ("TorrentID", Field::Torrent),
        ("Seeders", Field::Seeders),
        ("Leechers", Field::Leechers),
        ("Snatched", Field::Completed),
        ("Balance", Field::Balance),
    ],
    made: &[],
    keys: &["TorrentID"],
    how: How::Upsert,
    sets: &[
        ("Seeders", Set::New),
        ("Leechers", Set::New),
        ("Snatched", Set::Add),
        ("Balance", Set::New),
        ("last_action", Set::To("IF(VALUES(Seeders) > 0, NOW(), last_action)")),
    ],
};

const SHARED_WHATCD_TORRENTS: Table = Table {
    columns: &[
        ("ID", Field::Torrent),
        ("Seeders", Field::Seeders),
        ("Leechers", Field::Leechers),
        ("Snatched", Field::Completed),
        ("balance", Field::BalanceDelta),
    ],
    sets: &[
        ("Seeders", Set::New),
        ("Leechers", Set::New),
        ("Snatched", Set::Add),
        ("balance", Set::Add),
        WHATCD_TORRENTS.sets[4],
    ],
    ..WHATCD_TORRENTS
};

const SHARED_OPS_TORRENTS: Table = Table {
    columns: &[
        ("TorrentID", Field::Torrent),
        ("Seeders", Field::Seeders),
        ("Leechers", Field::Leechers),
        ("Snatched", Field::Completed),
        ("Balance", Field::BalanceDelta),
    ],
    sets: &[
        ("Seeders", Set::New),
        ("Leechers", Set::New),
        ("Snatched", Set::Add),
        ("Balance", Set::Add),
        OPS_TORRENTS.sets[4],
    ],
    ..OPS_TORRENTS
};

const PEERS: Table = Table {
    name: "xbt_files_users",
    columns: &[
        ("uid", Field::Member),
        ("fid", Field::Torrent),
        ("active", Field::Active),
        ("uploaded", Field::Uploaded),
        ("downloaded", Field::Downloaded),
        ("upspeed", Field::UploadSpeed),
        ("downspeed", Field::DownloadSpeed),
        ("remaining", Field::Remaining),
        ("corrupt", Field::Corrupt),
        ("timespent", Field::TimespentSecs),
        ("announced", Field::Announces),
        ("ip", Field::Address),
        ("peer_id", Field::PeerId),
        ("useragent", Field::UserAgent),
        ("mtime", Field::AtSecs),
    ],
    made: &[],
    keys: &["uid", "fid", "peer_id"],
    how: How::Upsert,
    sets: &[
        ("active", Set::New),
        ("uploaded", Set::New),
        ("downloaded", Set::New),
        ("upspeed", Set::New),
        ("downspeed", Set::New),
        ("remaining", Set::New),
        ("corrupt", Set::New),
        ("timespent", Set::New),
        ("announced", Set::New),
        ("ip", Set::New),
        ("useragent", Set::FillText),
        ("mtime", Set::Latest),
    ],
};

const VISITS: Table = Table {
    name: "xbt_files_users",
    columns: &[
        ("uid", Field::Member),
        ("fid", Field::Torrent),
        ("peer_id", Field::PeerId),
        ("timespent", Field::TimespentSecs),
        ("announced", Field::Announces),
        ("mtime", Field::AtSecs),
    ],
    made: &[],
    keys: &["uid", "fid", "peer_id"],
    // A row made of this alone would have nothing left: a seeder that is none.
    how: How::Update,
    sets: &[
        ("upspeed", Set::To("0")),
        ("downspeed", Set::To("0")),
        ("timespent", Set::New),
        ("announced", Set::New),
        ("mtime", Set::Latest),
    ],
};

const SNATCHES: Table = Table {
    name: "xbt_snatched",
    columns: &[
        ("uid", Field::Member),
        ("fid", Field::Torrent),
        ("tstamp", Field::AtSecs),
        ("IP", Field::Address),
    ],
    made: &[],
    keys: &["uid"],
    how: How::Upsert,
    // Where a site has a unique key on it, the first row stays.
    sets: &[],
};

const TOKEN_USES: Table = Table {
    name: "users_freeleeches",
    columns: &[
        ("UserID", Field::Member),
        ("TorrentID", Field::Torrent),
        ("Downloaded", Field::Downloaded),
    ],
    // NOT NULL and without default.
    made: &[("Time", "NOW()")],
    keys: &["UserID", "TorrentID"],
    how: How::Upsert,
    sets: &[("Downloaded", Set::Add)],
};

impl Gazelle {
    /// Looks what tables there are.
    pub(crate) async fn open(
        database: &Database,
        asked: GazelleDialect,
        is_shared: bool,
    ) -> Result<Self, Error> {
        let mut connection = database.acquire().await?;
        let listed = "SELECT TABLE_NAME FROM information_schema.TABLES \
                      WHERE TABLE_SCHEMA = DATABASE() LIMIT 10000";
        let tables = connection.fetch(listed, |row| row.text(0)).await?;
        let has = |name: &str| tables.iter().any(|table| table.eq_ignore_ascii_case(name));
        let dialect = match asked {
            GazelleDialect::Auto if has(OPS_MEMBERS.name) && has(OPS_TORRENTS.name) => {
                GazelleDialect::Ops
            }
            GazelleDialect::Auto => GazelleDialect::WhatCd,
            asked => asked,
        };
        let sums = match dialect {
            GazelleDialect::Ops => [OPS_MEMBERS.name, OPS_TORRENTS.name].as_slice(),
            _ => &[],
        };
        let all = ["users_main", "torrents", "xbt_files_users", "xbt_snatched"];
        let others = ["users_freeleeches", "xbt_client_whitelist"];
        let wanted = all.iter().chain(&others).chain(sums);
        let missing: Vec<&str> = wanted.copied().filter(|name| !has(name)).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Error::Setup(format!("there is no table {missing} of a Gazelle site")));
        }
        let gazelle = Self {
            dialect,
            agent_chars: chars(&mut connection, PEERS.name, "useragent", 51).await?,
            peer_ip_chars: chars(&mut connection, PEERS.name, "ip", 15).await?,
            snatch_ip_chars: chars(&mut connection, SNATCHES.name, "IP", 15).await?,
            is_shared,
            is_told_of_addresses: AtomicBool::new(false),
            is_told_of_cleaning: AtomicBool::new(false),
        };
        let name = if dialect == GazelleDialect::Ops { "OPSnet's" } else { "WhatCD's" };
        info!("the database is a Gazelle site's, in {name} dialect");
        Ok(gazelle)
    }

    /// Forgets the peers that are not here, and that torrents have any: done at the start, and
    /// followed by the counts of those that are.
    pub(crate) async fn clear(
        &self,
        connection: &mut Connection,
        kept_since_secs: Option<u64>,
    ) -> Result<(), Error> {
        match kept_since_secs {
            Some(since_secs) => {
                let others = format!(
                    "DELETE FROM xbt_files_users WHERE active = 0 OR mtime < {since_secs} \
                     OR NOT EXISTS (SELECT 1 FROM users_main u \
                     WHERE u.ID = xbt_files_users.uid AND u.Enabled = '1') \
                     OR NOT EXISTS (SELECT 1 FROM torrents t WHERE t.ID = xbt_files_users.fid)"
                );
                connection.execute_at_length(&others).await?;
            }
            None => forget_all(connection).await?,
        }
        let torrents = match self.dialect {
            GazelleDialect::Ops => OPS_TORRENTS.name,
            _ => WHATCD_TORRENTS.name,
        };
        let cleared = format!(
            "UPDATE {torrents} SET Seeders = 0, Leechers = 0 WHERE Seeders <> 0 OR Leechers <> 0"
        );
        connection.execute_at_length(&cleared).await?;
        Ok(())
    }

    fn torrents(&self) -> Table {
        match (self.dialect, self.is_shared) {
            (GazelleDialect::Ops, false) => OPS_TORRENTS,
            (GazelleDialect::Ops, true) => SHARED_OPS_TORRENTS,
            (_, false) => WHATCD_TORRENTS,
            (_, true) => SHARED_WHATCD_TORRENTS,
        }
    }

    /// Says of peers not heard from since `before_secs` that they are not here, and of torrents
    /// without any other that they have none.
    pub(crate) async fn sweep(
        &self,
        connection: &mut Connection,
        before_secs: u64,
    ) -> Result<(), Error> {
        let Table { name: torrents, keys: [id, ..], .. } = self.torrents() else { return Ok(()) };
        for sql in [
            format!(
                "UPDATE xbt_files_users SET active = 0 WHERE active <> 0 AND mtime < {before_secs}"
            ),
            format!(
                "UPDATE {torrents} SET Seeders = 0, Leechers = 0 \
                 WHERE (Seeders <> 0 OR Leechers <> 0) AND NOT EXISTS (SELECT 1 \
                 FROM xbt_files_users x WHERE x.fid = {torrents}.{id} AND x.active <> 0)"
            ),
        ] {
            connection.execute_at_length(&sql).await?;
        }
        Ok(())
    }

    /// Removes rows of `torrents` without info_hash, as Ocelot does after each flush of torrents:
    /// what Ocelot 1.0 made of torrents that were gone.
    pub(crate) async fn clean(&self, connection: &mut Connection) -> Result<(), Error> {
        match connection.execute("DELETE FROM torrents WHERE info_hash = ''").await {
            Ok(_) => Ok(()),
            Err(Failure::Error(Error::Lost(what))) => Err(Error::Lost(what)),
            Err(failure) => {
                if !self.is_told_of_cleaning.swap(true, Ordering::Relaxed) {
                    let error = Error::from(failure);
                    warn!("torrents without info_hash cannot be removed: {error}");
                }
                Ok(())
            }
        }
    }
}

/// Empties the table of peers.
async fn forget_all(connection: &mut Connection) -> Result<(), Error> {
    if let Err(failure) = connection.execute_at_length("TRUNCATE TABLE xbt_files_users").await {
        // It takes the right to drop tables, which a careful site does not give.
        if let Failure::Error(Error::Lost(_) | Error::Busy(_)) = failure {
            return Err(failure.into());
        }
        connection.execute_at_length("DELETE FROM xbt_files_users").await?;
    }
    Ok(())
}

/// How many characters a column takes; `usual` where the server does not say.
async fn chars(
    connection: &mut Connection,
    table: &str,
    column: &str,
    usual: usize,
) -> Result<usize, Error> {
    let asked = format!(
        "SELECT CAST(CHARACTER_MAXIMUM_LENGTH AS SIGNED) FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' AND COLUMN_NAME = '{column}'"
    );
    let chars = connection.fetch(asked, |row| row.int_or_null(0)).await?;
    let chars = chars.first().copied().flatten();
    Ok(chars.and_then(|chars| usize::try_from(chars).ok()).unwrap_or(usual))
}

impl Tables for Gazelle {
    fn table(&self, part: Part) -> Option<Table> {
        let is_ops = self.dialect == GazelleDialect::Ops;
        Some(match part {
            Part::Members if is_ops => OPS_MEMBERS,
            Part::Members => WHATCD_MEMBERS,
            Part::Torrents => self.torrents(),
            Part::Peers => PEERS,
            Part::Visits => VISITS,
            Part::Snatches => SNATCHES,
            Part::TokenUses => TOKEN_USES,
            // The site ends its tokens by itself, when it is told over HTTP.
            Part::ExpiredTokens => return None,
        })
    }

    fn count(&self, count: u64) -> Value {
        Value::small(count)
    }

    /// As text, empty where the column is too short for it.
    fn address(&self, part: Part, address: Option<IpAddr>) -> Value {
        let chars = match part {
            Part::Snatches => self.snatch_ip_chars,
            _ => self.peer_ip_chars,
        };
        let text = address.map_or(String::new(), |address| address.to_canonical().to_string());
        if text.len() <= chars {
            return Value::Text(text);
        }
        if !self.is_told_of_addresses.swap(true, Ordering::Relaxed) {
            warn!(
                "IPv6 addresses are left out of the database: the columns {}.ip and {}.IP need \
                 {IPV6_CHARS_MAX} characters",
                PEERS.name, SNATCHES.name
            );
        }
        Value::Text(String::new())
    }

    fn agent_chars(&self) -> usize {
        self.agent_chars
    }
}
