//! The tables of a Gazelle site, in MariaDB or MySQL, as PHP and Ocelot know them.
//!
//! Two dialects: WhatCD's (Ocelot 1.0) has the sums in `users_main` and `torrents`, OPSnet's
//! (Ocelot 2) in `users_leech_stats` and `torrents_leech_stats`. What is written is what Ocelot
//! writes, but for where it is wrong: `docs/private.md` lists each difference.

mod load;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use peerage_tracker::private::{
    MemberDelta, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentRow,
};
use tracing::{info, warn};

use crate::database::{Connection, Database};
use crate::error::Failure;
use crate::statement::{How, Set, Table, Value};
use crate::write::{Part, Tables};
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
    /// Whether it was said that an address did not fit.
    is_told_of_addresses: AtomicBool,
    /// Whether it was said that torrents without info_hash cannot be removed.
    is_told_of_cleaning: AtomicBool,
}

const WHATCD_MEMBERS: Table = Table {
    name: "users_main",
    columns: &["ID", "Uploaded", "Downloaded"],
    made: &[],
    keys: &["ID"],
    // A member who is gone is not made anew.
    how: How::Update,
    sets: &[("Uploaded", Set::Add), ("Downloaded", Set::Add)],
};

const OPS_MEMBERS: Table = Table {
    name: "users_leech_stats",
    columns: &["UserID", "Uploaded", "Downloaded"],
    keys: &["UserID"],
    how: How::Upsert,
    ..WHATCD_MEMBERS
};

const WHATCD_TORRENTS: Table = Table {
    name: "torrents",
    columns: &["ID", "Seeders", "Leechers", "Snatched", "balance"],
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
    columns: &["TorrentID", "Seeders", "Leechers", "Snatched", "Balance"],
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

const PEERS: Table = Table {
    name: "xbt_files_users",
    columns: &[
        "uid",
        "fid",
        "active",
        "uploaded",
        "downloaded",
        "upspeed",
        "downspeed",
        "remaining",
        "corrupt",
        "timespent",
        "announced",
        "ip",
        "peer_id",
        "useragent",
        "mtime",
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
        ("mtime", Set::New),
    ],
};

const VISITS: Table = Table {
    name: "xbt_files_users",
    columns: &["uid", "fid", "peer_id", "timespent", "announced", "mtime"],
    made: &[],
    keys: &["uid", "fid", "peer_id"],
    // A row made of this alone would have nothing left: a seeder that is none.
    how: How::Update,
    sets: &[
        ("upspeed", Set::To("0")),
        ("downspeed", Set::To("0")),
        ("timespent", Set::New),
        ("announced", Set::New),
        ("mtime", Set::New),
    ],
};

const SNATCHES: Table = Table {
    name: "xbt_snatched",
    columns: &["uid", "fid", "tstamp", "IP"],
    made: &[],
    keys: &["uid"],
    how: How::Upsert,
    // Where a site has a unique key on it, the first row stays.
    sets: &[],
};

const TOKEN_USES: Table = Table {
    name: "users_freeleeches",
    columns: &["UserID", "TorrentID", "Downloaded"],
    // NOT NULL and without default.
    made: &[("Time", "NOW()")],
    keys: &["UserID", "TorrentID"],
    how: How::Upsert,
    sets: &[("Downloaded", Set::Add)],
};

impl Gazelle {
    /// Looks what tables there are.
    pub(crate) async fn open(database: &Database, asked: GazelleDialect) -> Result<Self, Error> {
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
            is_told_of_addresses: AtomicBool::new(false),
            is_told_of_cleaning: AtomicBool::new(false),
        };
        let name = if dialect == GazelleDialect::Ops { "OPSnet's" } else { "WhatCD's" };
        info!("the database is a Gazelle site's, in {name} dialect");
        Ok(gazelle)
    }

    /// Forgets the peers, and that torrents have any: done at the start, when there are none.
    pub(crate) async fn clear(&self, connection: &mut Connection) -> Result<(), Error> {
        if let Err(failure) = connection.execute_at_length("TRUNCATE TABLE xbt_files_users").await {
            // It takes the right to drop tables, which a careful site does not give.
            if let Failure::Error(Error::Lost(_) | Error::Busy(_)) = failure {
                return Err(failure.into());
            }
            connection.execute_at_length("DELETE FROM xbt_files_users").await?;
        }
        let torrents = self.torrents().name;
        let cleared = format!(
            "UPDATE {torrents} SET Seeders = 0, Leechers = 0 WHERE Seeders <> 0 OR Leechers <> 0"
        );
        connection.execute_at_length(&cleared).await?;
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

    /// An address as text, empty where the column is too short for it.
    fn address(&self, address: Option<IpAddr>, chars: usize) -> Value {
        let text = match address {
            Some(address) => address.to_canonical().to_string(),
            None => String::new(),
        };
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

/// A `User-Agent` as any column takes it: at most `chars` characters, in ASCII.
pub(crate) fn agent(agent: &str, chars: usize) -> Value {
    let shown = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    Value::Text(agent.chars().take(chars).map(shown).collect())
}

impl Tables for Gazelle {
    fn members(&self) -> Table {
        if self.dialect == GazelleDialect::Ops { OPS_MEMBERS } else { WHATCD_MEMBERS }
    }

    fn member(&self, row: &MemberDelta) -> Vec<Value> {
        vec![
            Value::Int(row.member.0.into()),
            Value::size(row.uploaded),
            Value::size(row.downloaded),
        ]
    }

    fn torrents(&self) -> Table {
        if self.dialect == GazelleDialect::Ops { OPS_TORRENTS } else { WHATCD_TORRENTS }
    }

    fn torrent(&self, row: &TorrentRow) -> Vec<Value> {
        vec![
            Value::Int(row.torrent.0.into()),
            Value::small(row.seeders),
            Value::small(row.leechers),
            Value::small(row.completed),
            Value::Int(row.balance),
        ]
    }

    fn peers(&self) -> Table {
        PEERS
    }

    fn peer(&self, row: &PeerRow) -> Vec<Value> {
        vec![
            Value::Int(row.key.member.0.into()),
            Value::Int(row.key.torrent.0.into()),
            Value::Int(row.active.into()),
            Value::size(row.uploaded),
            Value::size(row.downloaded),
            Value::small(row.upload_speed),
            Value::small(row.download_speed),
            Value::size(row.remaining),
            Value::size(row.corrupt),
            Value::small(row.timespent_secs),
            Value::small(row.announces),
            self.address(row.address, self.peer_ip_chars),
            Value::Bytes(row.key.peer_id.0.to_vec()),
            agent(&row.user_agent, self.agent_chars),
            Value::small(row.at_secs),
        ]
    }

    fn visits(&self) -> Table {
        VISITS
    }

    fn visit(&self, row: &PeerVisit) -> Vec<Value> {
        vec![
            Value::Int(row.key.member.0.into()),
            Value::Int(row.key.torrent.0.into()),
            Value::Bytes(row.key.peer_id.0.to_vec()),
            Value::small(row.timespent_secs),
            Value::small(row.announces),
            Value::small(row.at_secs),
        ]
    }

    fn snatches(&self) -> Table {
        SNATCHES
    }

    fn snatch(&self, row: &Snatch) -> Vec<Value> {
        vec![
            Value::Int(row.member.0.into()),
            Value::Int(row.torrent.0.into()),
            Value::small(row.at_secs),
            self.address(row.address, self.snatch_ip_chars),
        ]
    }

    fn token_uses(&self) -> Table {
        TOKEN_USES
    }

    fn token_use(&self, row: &TokenUse) -> Vec<Value> {
        vec![
            Value::Int(row.token.member.0.into()),
            Value::Int(row.token.torrent.0.into()),
            Value::size(row.downloaded),
        ]
    }

    fn expired_tokens(&self) -> Table {
        TOKEN_USES
    }

    fn expired_token(&self, row: &Token) -> Vec<Value> {
        vec![Value::Int(row.member.0.into()), Value::Int(row.torrent.0.into()), Value::Int(0)]
    }

    /// The site ends its tokens by itself, when it is told over HTTP.
    fn is_left_out(&self, part: Part) -> bool {
        part == Part::ExpiredTokens
    }
}
