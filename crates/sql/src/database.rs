//! Connections: made when needed, a few at once, with a limit on every wait.
//!
//! A connection of which we do not know what state it is in (a statement timed out, a transaction
//! was not ended) is closed and never used again; the database then rolls back by itself.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySql, Postgres, Row as _, Sqlite,
};
use tokio::time::timeout;

use crate::error::{Failure, classify};
use crate::place::Place;
use crate::statement::Statement;
use crate::{Dialect, Error, Options, Schema};

/// How long an idle connection is kept: well below the 8 hours after which MariaDB closes it, and
/// long enough for a flush every few seconds to find it open.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);

/// How long SQLite waits for another writer before it says that it is busy.
const SQLITE_BUSY_TIME_MAX: Duration = Duration::from_secs(5);

/// Pages that a connection to SQLite keeps in memory, at most: 32 MB, in SQLite's way to say so.
const SQLITE_CACHE: &str = "-32000";

/// Statements are at most this long, whatever the server takes: a megabyte is a thousand rows.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// A database, and what it allows.
pub(crate) struct Database {
    pool: Pool,
    place: Place,
    pub(crate) dialect: Dialect,
    connect_time_max: Duration,
    statement_time_max: Duration,
}

enum Pool {
    MySql(MySqlPool),
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A connection. Goes back to the others when it is dropped, if it is sound.
pub(crate) struct Connection {
    /// `None` only while it is dropped.
    inner: Option<Inner>,
    pub(crate) dialect: Dialect,
    statement_time_max: Duration,
    /// Most bytes of a statement, its texts included.
    pub(crate) statement_bytes_max: usize,
    /// False while a statement runs and after one whose end we have not seen.
    is_sound: bool,
    is_in_transaction: bool,
}

enum Inner {
    MySql(PoolConnection<MySql>),
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// A row that was read, whatever the database. Columns are counted from 0.
pub(crate) trait Columns {
    /// A whole number; `None` for NULL.
    fn int_or_null(&self, index: usize) -> Result<Option<i64>, sqlx::Error>;
    /// Bytes or text; `None` for NULL.
    fn bytes_or_null(&self, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error>;

    /// A whole number; 0 for NULL.
    fn int(&self, index: usize) -> Result<i64, sqlx::Error> {
        Ok(self.int_or_null(index)?.unwrap_or(0))
    }

    /// A number that is never negative and fits; the nearest that is and does.
    fn count(&self, index: usize) -> Result<u32, sqlx::Error> {
        let count = self.int(index)?.clamp(0, i64::from(u32::MAX));
        Ok(u32::try_from(count).expect("it was clamped"))
    }

    /// A number of bytes or seconds; 0 for one below 0.
    fn size(&self, index: usize) -> Result<u64, sqlx::Error> {
        Ok(u64::try_from(self.int(index)?).unwrap_or(0))
    }

    /// Bytes or text; nothing for NULL.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, sqlx::Error> {
        Ok(self.bytes_or_null(index)?.unwrap_or_default())
    }

    /// Text; what is not UTF-8 in it is replaced.
    fn text(&self, index: usize) -> Result<String, sqlx::Error> {
        Ok(String::from_utf8_lossy(&self.bytes(index)?).into_owned())
    }

    /// A yes or no that is kept as a number.
    fn flag(&self, index: usize) -> Result<bool, sqlx::Error> {
        Ok(self.int(index)? != 0)
    }
}

macro_rules! columns {
    ($($row:ty),*) => {$(
        /// The columns are of the types our own statements select, so that no check is needed.
        impl Columns for $row {
            fn int_or_null(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
                self.try_get_unchecked(index)
            }

            fn bytes_or_null(&self, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
                self.try_get_unchecked(index)
            }
        }
    )*};
}

columns!(sqlx::mysql::MySqlRow, sqlx::postgres::PgRow, sqlx::sqlite::SqliteRow);

/// Makes of text and values what each driver takes, and runs `$do` of it on the connection.
macro_rules! run {
    ($connection:expr, $statement:expr, $plain:expr, $do:ident) => {
        if $plain && $statement.texts.is_empty() {
            // In one round trip.
            sqlx::raw_sql(AssertSqlSafe($statement.sql)).$do(&mut **$connection).await
        } else {
            let mut query = sqlx::query(AssertSqlSafe($statement.sql)).persistent(false);
            for text in $statement.texts {
                query = query.bind(text);
            }
            query.$do(&mut **$connection).await
        }
    };
}

macro_rules! each {
    ($connections:expr, $connection:ident => $body:expr) => {
        match $connections {
            Inner::MySql($connection) => $body,
            Inner::Postgres($connection) => $body,
            Inner::Sqlite($connection) => $body,
        }
    };
}

impl Database {
    /// A database that is connected to when it is needed first.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let dialect = options.checked_dialect()?;
        let setup = |error: sqlx::Error| match error {
            sqlx::Error::Configuration(what) => Error::Setup(format!("database.url: {what}")),
            error => Error::Setup(format!("database.url: {error}")),
        };
        let (most, time) = (options.connections_max.clamp(1, 4), options.connect_time_max);
        macro_rules! pool {
            ($options:ident, $connect:expr) => {
                $options::new()
                    .max_connections(most)
                    .acquire_timeout(time)
                    .idle_timeout(IDLE_TIME_MAX)
                    // Our own lines say what matters.
                    .acquire_slow_threshold(Duration::MAX)
                    .connect_lazy_with($connect.disable_statement_logging())
            };
        }
        let (pool, place) = match dialect {
            Dialect::MySql => {
                let connect = MySqlConnectOptions::from_str(&options.url).map_err(setup)?;
                let connect = match options.schema {
                    // The session is the site's own: NOW() in its time zone, its SQL mode as it is.
                    Schema::Gazelle(_) => {
                        connect.timezone(None).pipes_as_concat(false).no_engine_substitution(false)
                    }
                    Schema::Own => connect,
                };
                let place = Place::from(&connect);
                (Pool::MySql(pool!(MySqlPoolOptions, connect)), place)
            }
            Dialect::Postgres => {
                let connect = PgConnectOptions::from_str(&options.url).map_err(setup)?;
                let place = Place::from(&connect);
                let connect = connect.application_name("peerage");
                (Pool::Postgres(pool!(PgPoolOptions, connect)), place)
            }
            Dialect::Sqlite => {
                let connect = SqliteConnectOptions::from_str(&options.url).map_err(setup)?;
                let connect = connect
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .pragma("cache_size", SQLITE_CACHE)
                    .busy_timeout(SQLITE_BUSY_TIME_MAX);
                let place = Place::from(&connect);
                (Pool::Sqlite(pool!(SqlitePoolOptions, connect)), place)
            }
        };
        place.check()?;
        let (connect_time_max, statement_time_max) = (time, options.statement_time_max);
        Ok(Self { pool, place, dialect, connect_time_max, statement_time_max })
    }

    /// A connection that answers.
    pub(crate) async fn acquire(&self) -> Result<Connection, Error> {
        if self.is_apart() {
            self.try_once().await?;
        }
        let acquired = async {
            Ok(match &self.pool {
                Pool::MySql(pool) => Inner::MySql(pool.acquire().await?),
                Pool::Postgres(pool) => Inner::Postgres(pool.acquire().await?),
                Pool::Sqlite(pool) => Inner::Sqlite(pool.acquire().await?),
            })
        };
        // The pool's own limit is as long; this one also holds where it waits for something else.
        let acquired: Result<Inner, sqlx::Error> =
            match timeout(self.connect_time_max * 2, acquired).await {
                Ok(acquired) => acquired,
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            };
        let inner = match acquired {
            Ok(inner) => inner,
            Err(sqlx::Error::PoolTimedOut) => {
                self.try_once().await?;
                return Err(self.place.in_use());
            }
            Err(error) => return Err(self.place.explain(&error)),
        };
        let mut connection = Connection {
            inner: Some(inner),
            dialect: self.dialect,
            statement_time_max: self.statement_time_max,
            statement_bytes_max: STATEMENT_BYTES_MAX,
            is_sound: true,
            is_in_transaction: false,
        };
        if self.dialect == Dialect::MySql {
            let asked = "SELECT CAST(@@max_allowed_packet AS SIGNED)";
            let rows = connection.fetch(asked, |row| row.size(0)).await?;
            let bytes = rows.first().map_or(0, |&bytes| usize::try_from(bytes).unwrap_or(0));
            // The texts come in a packet of their own; a few bytes go before each.
            connection.statement_bytes_max = STATEMENT_BYTES_MAX.min(bytes.saturating_sub(64));
        }
        Ok(connection)
    }

    /// Whether there is no connection at all.
    fn is_apart(&self) -> bool {
        match &self.pool {
            Pool::MySql(pool) => pool.size() == 0,
            Pool::Postgres(pool) => pool.size() == 0,
            Pool::Sqlite(pool) => pool.size() == 0,
        }
    }

    /// Makes a connection besides and closes it: the pool tries again for as long as it may and
    /// then has forgotten why, and an operator has to be told.
    async fn try_once(&self) -> Result<(), Error> {
        let trying = async {
            match &self.pool {
                Pool::MySql(pool) => pool.connect_options().connect().await?.close().await,
                Pool::Postgres(pool) => pool.connect_options().connect().await?.close().await,
                // A file is no farther than the file itself, and the pool tells at once.
                Pool::Sqlite(_) => Ok(()),
            }
        };
        match timeout(self.connect_time_max, trying).await {
            Ok(tried) => tried.map_err(|error| self.place.explain(&error)),
            Err(_) => Err(self.place.silent(self.connect_time_max)),
        }
    }

    /// Closes all connections, within the time a statement may take.
    pub(crate) async fn close(&self) {
        let closing = async {
            match &self.pool {
                Pool::MySql(pool) => pool.close().await,
                Pool::Postgres(pool) => pool.close().await,
                Pool::Sqlite(pool) => pool.close().await,
            }
        };
        // What does not close by then is closed by the end of the process.
        let _ = timeout(self.connect_time_max, closing).await;
    }
}

impl Connection {
    /// Runs a statement; the number of rows it changed, as the database counts them.
    pub(crate) async fn execute(
        &mut self,
        statement: impl Into<Statement>,
    ) -> Result<u64, Failure> {
        let statement = statement.into();
        let (dialect, limit) = (self.dialect, self.statement_time_max);
        self.is_sound = false;
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        let done = each!(inner, connection => {
            let run = async {
                let done = run!(connection, statement, true, execute)?;
                Ok(done.rows_affected())
            };
            timeout(limit, run).await
        });
        self.seen(dialect, done.map_err(|_| limit))
    }

    /// Runs a statement that selects, and makes something of each row. All rows are held at once:
    /// statements say `LIMIT`.
    pub(crate) async fn fetch<T>(
        &mut self,
        statement: impl Into<Statement>,
        mut make: impl FnMut(&dyn Columns) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, Error> {
        let statement = statement.into();
        let (dialect, limit) = (self.dialect, self.statement_time_max * 10);
        // MariaDB tells unsigned numbers as such only in text, PostgreSQL text from bytes only in
        // what is no text.
        let is_plain = dialect == Dialect::MySql;
        self.is_sound = false;
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        let made = each!(inner, connection => {
            let run = async {
                let rows = run!(connection, statement, is_plain, fetch_all)?;
                rows.iter().map(|row| make(row)).collect()
            };
            timeout(limit, run).await
        });
        Ok(self.seen(dialect, made.map_err(|_| limit))?)
    }

    /// Runs a statement that changes many rows at the start, which may take long.
    pub(crate) async fn execute_at_length(&mut self, sql: &str) -> Result<u64, Failure> {
        let usual = self.statement_time_max;
        self.statement_time_max = usual * 10;
        let done = self.execute(sql).await;
        self.statement_time_max = usual;
        done
    }

    /// What an answer, or none within a time, means for the statement and for the connection.
    fn seen<T>(
        &mut self,
        dialect: Dialect,
        answer: Result<Result<T, sqlx::Error>, Duration>,
    ) -> Result<T, Failure> {
        match answer {
            Ok(Ok(value)) => {
                self.is_sound = true;
                Ok(value)
            }
            Ok(Err(error)) => {
                let failure = classify(dialect, &error);
                // An error that the database itself told leaves the connection as it was.
                self.is_sound = matches!(error, sqlx::Error::Database(_))
                    && !matches!(failure, Failure::Error(Error::Lost(_)) | Failure::TooLarge(_));
                Err(failure)
            }
            Err(limit) => {
                let what = format!("no answer within {} s", limit.as_secs_f32());
                Err(Failure::Error(Error::Lost(what)))
            }
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Result<(), Failure> {
        let sql = match self.dialect {
            // Takes the lock at once: a transaction that reads first could not become a writer.
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::MySql | Dialect::Postgres => "BEGIN",
        };
        self.is_in_transaction = true;
        self.execute(sql).await.map(drop)
    }

    /// Commits. On an error it is not known whether the database did.
    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        self.execute("COMMIT").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Takes back what was done since [`Connection::begin`]. Where the connection is not sound,
    /// closing it does.
    pub(crate) async fn rollback(&mut self) {
        if self.is_sound && self.execute("ROLLBACK").await.is_ok() {
            self.is_in_transaction = false;
        }
    }

    /// Whether the next statement may be run on it.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound && !self.is_in_transaction
    }

    /// Makes and keeps up our own tables.
    pub(crate) async fn migrate(&mut self) -> Result<(), Error> {
        self.is_sound = false;
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        let migrated = match inner {
            Inner::MySql(connection) => {
                sqlx::migrate!("../../migrations/mysql").run(&mut **connection).await
            }
            Inner::Postgres(connection) => {
                sqlx::migrate!("../../migrations/postgres").run(&mut **connection).await
            }
            Inner::Sqlite(connection) => {
                sqlx::migrate!("../../migrations/sqlite").run(&mut **connection).await
            }
        };
        migrated.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                Error::from(classify(self.dialect, &error))
            }
            other => Error::Setup(other.to_string()),
        })?;
        self.is_sound = true;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let is_sound = self.is_sound();
        let Some(inner) = self.inner.take() else { return };
        if !is_sound {
            // Out of the pool, and then closed where it stands: nothing is awaited.
            each!(inner, connection => drop(connection.detach()));
        }
    }
}
