//! Where a database is, and what it means for the operator that it is not reached there: what
//! failed, and what to do. No password and no passkey is in any of it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::error::classify;
use crate::{Dialect, Error};

/// Where a database is, as whom it is asked for what.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dialect: Dialect,
    at: At,
    user: String,
    /// Its name; empty where the address has none.
    database: String,
}

#[derive(Clone, Debug)]
enum At {
    Host(String, u16),
    Socket(PathBuf),
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Host(host, port) => write!(f, "{host}:{port}"),
            At::Socket(file) | At::File(file) => write!(f, "{}", file.display()),
        }
    }
}

impl From<&MySqlConnectOptions> for Place {
    fn from(options: &MySqlConnectOptions) -> Self {
        let host = || At::Host(options.get_host().to_owned(), options.get_port());
        Self {
            dialect: Dialect::MySql,
            at: options.get_socket().map_or_else(host, |file| At::Socket(file.clone())),
            user: options.get_username().to_owned(),
            database: options.get_database().unwrap_or_default().to_owned(),
        }
    }
}

impl From<&PgConnectOptions> for Place {
    fn from(options: &PgConnectOptions) -> Self {
        let host = || At::Host(options.get_host().to_owned(), options.get_port());
        let socket =
            |folder: &PathBuf| At::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port())));
        let user = options.get_username();
        Self {
            dialect: Dialect::Postgres,
            at: options.get_socket().map_or_else(host, socket),
            user: user.to_owned(),
            // PostgreSQL's own rule.
            database: options.get_database().unwrap_or(user).to_owned(),
        }
    }
}

impl From<&SqliteConnectOptions> for Place {
    fn from(options: &SqliteConnectOptions) -> Self {
        Self {
            dialect: Dialect::Sqlite,
            at: At::File(options.get_filename().to_owned()),
            user: String::new(),
            database: String::new(),
        }
    }
}

impl Place {
    /// Why no connection could be made, and what to do.
    pub(crate) fn explain(&self, error: &sqlx::Error) -> Error {
        match error {
            sqlx::Error::Io(error) => self.explain_io(error),
            sqlx::Error::Tls(what) => Error::Setup(match what.to_string() {
                what if what.contains("does not support TLS") => format!(
                    "{self} offers no TLS and database.url insists on it: switch it on there, or \
                     have ssl-mode (PostgreSQL: sslmode) say that it need not be"
                ),
                what => format!("TLS to {self}: {what}: look at database.url"),
            }),
            // The first packets are not what they should be.
            sqlx::Error::Protocol(what) => self.speaks_otherwise(what),
            sqlx::Error::Database(said) => {
                let hint = self.hint(said.as_ref());
                match Error::from(classify(self.dialect, error)) {
                    Error::Lost(what) => Error::Lost(format!("{what}{hint}")),
                    Error::Busy(what) => Error::Busy(format!("{what}{hint}")),
                    Error::Setup(what) => Error::Setup(format!("{what}{hint}")),
                }
            }
            _ => classify(self.dialect, error).into(),
        }
    }

    fn explain_io(&self, error: &io::Error) -> Error {
        let said = error.to_string();
        let lost = |what: String| Error::Lost(what);
        match error.kind() {
            ErrorKind::ConnectionRefused => lost(format!(
                "nobody listens at {self}: is it running, and is that where database.url should \
                 look?"
            )),
            ErrorKind::NotFound if matches!(self.at, At::Socket(_)) => lost(format!(
                "there is no socket {self}: is it running, and is that where database.url should \
                 look?"
            )),
            // A file that the address names: certificates are read when they are needed.
            ErrorKind::NotFound => {
                Error::Setup(format!("a file that database.url names is not there: {said}"))
            }
            ErrorKind::PermissionDenied => {
                Error::Setup(format!("{self}: {said}: may the tracker's user open it?"))
            }
            _ if said.contains("invalid peer certificate") => Error::Setup(format!(
                "the certificate of {self} is not trusted ({said}): name who signed it in \
                 database.url, ssl-ca=FILE (PostgreSQL: sslrootcert=FILE), and the host as the \
                 certificate has it"
            )),
            _ if said.contains("lookup address") => lost(format!(
                "the host of {self} has no address ({said}): is its name right in database.url?"
            )),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => self.speaks_otherwise(&said),
            _ => lost(format!("{self}: {said}")),
        }
    }

    fn speaks_otherwise(&self, said: &str) -> Error {
        Error::Lost(format!(
            "what listens at {self} does not answer as {} does ({said}): is the port in \
             database.url right?",
            self.dialect
        ))
    }

    /// No answer came in the time that a connection may take.
    pub(crate) fn silent(&self, time: Duration) -> Error {
        Error::Lost(format!(
            "no answer as {} gives it from {self} within {} s: is that where database.url should \
             look, is it overloaded, does a firewall keep us out?",
            self.dialect,
            time.as_secs_f32()
        ))
    }

    /// An error where the address lacks what its dialect cannot do without.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.dialect {
            Dialect::MySql if self.database.is_empty() => Err(Error::Setup(
                "database.url names no database: it ends with HOST/NAME".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// It answers, and all connections that we may have at once are in use.
    pub(crate) fn in_use(&self) -> Error {
        Error::Busy(format!("all our connections to {self} are in use"))
    }

    /// What to do about an error that the database itself told while it was connected to; empty
    /// where its own words are enough.
    fn hint(&self, said: &dyn sqlx::error::DatabaseError) -> String {
        let Self { user, database, .. } = self;
        let state = said.code().unwrap_or_default();
        let number = match self.dialect {
            Dialect::MySql => {
                let said = said.try_downcast_ref::<MySqlDatabaseError>();
                said.map_or(0, |said| i32::from(said.number()))
            }
            // The low byte is the kind, what is above it the detail.
            Dialect::Sqlite => state.parse::<i32>().unwrap_or(0) & 0xff,
            Dialect::Postgres => 0,
        };
        match (self.dialect, number, &*state) {
            (Dialect::MySql, 1045 | 1698, _) | (Dialect::Postgres, _, "28P01") => format!(
                ": {self} does not know user `{user}` with that password: mend database.url; \
                 signs in a password are written % and two hex digits"
            ),
            (Dialect::MySql, 1130, _) | (Dialect::Postgres, _, "28000") => {
                format!(": {self} does not let user `{user}` in from here: allow it there")
            }
            (Dialect::MySql, 1044, _) | (Dialect::Postgres, _, "42501") => {
                format!(": give user `{user}` the right to use database `{database}`")
            }
            (Dialect::MySql, 1049, _) | (Dialect::Postgres, _, "3D000") => format!(
                ": there is no database `{database}` at {self}: make it, or mend the name at the \
                 end of database.url"
            ),
            (Dialect::MySql, 1040 | 1203, _) | (Dialect::Postgres, _, "53300") => {
                format!(": {self} has as many connections as it allows")
            }
            (Dialect::Sqlite, 14, _) => {
                format!(": {self}: is its folder there, and may the tracker's user write to it?")
            }
            (Dialect::Sqlite, 26, _) => format!(": {self} is a file of something else"),
            (Dialect::Sqlite, _, _) => format!(": {self}"),
            _ => String::new(),
        }
    }
}
