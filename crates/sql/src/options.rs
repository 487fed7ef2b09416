//! Where the database is, what is in it, and how long anything may take.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// Which language a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, embedded.
    Sqlite,
    /// MariaDB and MySQL.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// As people call it.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::MySql => "MariaDB or MySQL",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Whose tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Ours: made and kept up by [`Store::open`](crate::Store::open).
    Own,
    /// A Gazelle site's, in MariaDB or MySQL: taken as they are.
    Gazelle(GazelleDialect),
}

/// Where a Gazelle site keeps its sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GazelleDialect {
    /// Found out by looking at the tables.
    #[default]
    Auto,
    /// WhatCD Gazelle and Ocelot 1.0: in `users_main` and `torrents`.
    WhatCd,
    /// OPSnet Gazelle and Ocelot 2: in `users_leech_stats` and `torrents_leech_stats`.
    Ops,
}

/// How a [`Store`](crate::Store) is opened.
#[derive(Clone)]
pub struct Options {
    /// Where the database is: `sqlite:FILE`, `mysql://USER:PASSWORD@HOST:PORT/NAME` (also
    /// `mariadb://`; `?socket=PATH` for a socket) or `postgres://USER:PASSWORD@HOST:PORT/NAME`
    /// (`?host=FOLDER` for a socket). TLS is used where the server offers it; `ssl-mode` and
    /// `sslmode` in the query decide otherwise, as the database's own clients have it.
    pub url: String,
    /// Whose tables there are.
    pub schema: Schema,
    /// Whether nothing is ever written.
    pub readonly: bool,
    /// Whether other trackers write the same tables: nothing of theirs is cleared at the start, and
    /// sums are added to and never set.
    pub shared: bool,
    /// Connections at once, 1 to 4: the flush loop has one, reloads and the API share the others.
    pub connections_max: u32,
    /// How long a connection may take to be made.
    pub connect_time_max: Duration,
    /// How long one statement may take; reading at the start has ten times that for each page.
    pub statement_time_max: Duration,
}

impl Options {
    /// Options for a database, with everything else as it usually is: 4 connections, 5 s to
    /// connect, 30 s a statement.
    pub fn new(url: impl Into<String>, schema: Schema) -> Self {
        Self {
            url: url.into(),
            schema,
            readonly: false,
            shared: false,
            connections_max: 4,
            connect_time_max: Duration::from_secs(5),
            statement_time_max: Duration::from_secs(30),
        }
    }

    /// The language the address speaks of; `None` for an address of no database we know.
    pub fn dialect(&self) -> Option<Dialect> {
        match self.url.split_once(':')?.0 {
            "sqlite" => Some(Dialect::Sqlite),
            "mysql" | "mariadb" => Some(Dialect::MySql),
            "postgres" | "postgresql" => Some(Dialect::Postgres),
            _ => None,
        }
    }
}

impl Options {
    /// The language of an address whose settings are all known: one that is misspelt would be
    /// passed over, and a connection that should be safe is not.
    pub(crate) fn checked_dialect(&self) -> Result<Dialect, Error> {
        let dialect = self.dialect().ok_or_else(|| {
            Error::Setup("database.url must start with sqlite:, mysql: or postgres:".to_owned())
        })?;
        let known: &[&str] = match dialect {
            Dialect::MySql => &MYSQL_SETTINGS,
            Dialect::Postgres => &POSTGRES_SETTINGS,
            // It is strict by itself.
            Dialect::Sqlite => return Ok(dialect),
        };
        let settings = self.url.split_once('?').map_or("", |(_, settings)| settings);
        let names = settings.split('&').filter_map(|setting| setting.split('=').next());
        let unknown = names.into_iter().find(|name| {
            let is_option = dialect == Dialect::Postgres && name.starts_with("options[");
            !name.is_empty() && !is_option && !known.contains(name)
        });
        match unknown {
            None => Ok(dialect),
            Some(name) => Err(Error::Setup(format!(
                "database.url has a setting `{name}` that is not known; known are {}",
                known.join(", ")
            ))),
        }
    }
}

/// What may follow the question mark of an address, as the driver takes it.
const MYSQL_SETTINGS: [&str; 11] = [
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "sslmode",
    "sslca",
    "sslcert",
    "sslkey",
    "socket",
    "charset",
    "collation",
];
const POSTGRES_SETTINGS: [&str; 14] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// Leaves the address out: there is a password in it.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("readonly", &self.readonly)
            .finish_non_exhaustive()
    }
}
