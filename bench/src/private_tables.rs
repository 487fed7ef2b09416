//! The databases of `bench private`: a million members and torrents in our own tables in SQLite,
//! and in those of a Gazelle site in a MariaDB that is started for it.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use peerage_testkit::{Folder, GazelleTables, MariaDb, SqlMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::args::Options;
use crate::mix::{Account, info_hash};
use crate::socket;

/// Rows in one statement.
const ROWS: u32 = 1000;

/// How many there are of each; they are numbered from 1 on, the first having number 0 in the
/// population.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Members.
    pub(crate) members: u32,
    /// Torrents.
    pub(crate) torrents: u32,
}

/// What a contestant writes to.
pub(crate) enum Tables {
    /// Nothing.
    None,
    /// Our own tables, in a file.
    Sqlite(PathBuf),
    /// A site's. Ended when this is dropped.
    MariaDb(MariaDb),
}

impl Tables {
    /// Bytes uploaded that all members have been credited with.
    pub(crate) fn credited(&self) -> Result<Option<u64>, String> {
        match self {
            Self::None => Ok(None),
            Self::Sqlite(path) => {
                let summed = runtime()?.block_on(sum_sqlite(path));
                summed.map(Some).map_err(|error| format!("SQLite: {error}"))
            }
            Self::MariaDb(server) => {
                let rows = server.query("SELECT SUM(Uploaded) FROM users_leech_stats")?;
                let sum = rows.first().and_then(|row| row.first()?.parse().ok());
                sum.map(Some).ok_or(format!("no sum of credit: {rows:?}"))
            }
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start a runtime: {error}"))
}

async fn sum_sqlite(path: &Path) -> Result<u64, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let sum: i64 =
        sqlx::query_scalar("SELECT SUM(uploaded) FROM members").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(sum.cast_unsigned())
}

/// A file with our own tables. Removed with the folder it is in.
pub(crate) fn sqlite(folder: &Folder, sizes: Sizes) -> Result<PathBuf, String> {
    let path = folder.path().join("private.sqlite");
    runtime()?.block_on(fill_sqlite(&path, sizes)).map_err(|error| format!("SQLite: {error}"))?;
    Ok(path)
}

async fn fill_sqlite(path: &Path, sizes: Sizes) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::migrate!("../migrations/sqlite").run(&mut connection).await?;
    execute(&mut connection, "BEGIN".to_owned()).await?;
    for first in (0..sizes.members).step_by(ROWS as usize) {
        let rows = rows(first, sizes.members, |number| {
            let passkey = Account::passkey(number);
            let passkey = String::from_utf8_lossy(&passkey);
            format!("({},'m{number}','{passkey}',1)", number + 1)
        });
        let head = "INSERT INTO members (id, name, passkey, created_at) VALUES";
        execute(&mut connection, format!("{head} {rows}")).await?;
    }
    for first in (0..sizes.torrents).step_by(ROWS as usize) {
        let rows = rows(first, sizes.torrents, |number| {
            format!("({},x'{}','t{number}',1)", number + 1, hex(&info_hash(number)))
        });
        let head = "INSERT INTO torrents (id, info_hash, name, created_at) VALUES";
        execute(&mut connection, format!("{head} {rows}")).await?;
    }
    execute(&mut connection, "COMMIT".to_owned()).await?;
    connection.close().await
}

async fn execute(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// A MariaDB with OPSnet's tables, and room for them in memory, on the core of the load: what it
/// takes there is not the trackers'. `None` where there is no MariaDB.
///
/// It takes packets of any length and rows without a value for each column, as Ocelot writes them:
/// what comes in three seconds as one statement, which it tries again for ever where it is refused.
pub(crate) fn mariadb(
    options: &Options,
    folder: &Folder,
    sizes: Sizes,
) -> Result<Option<MariaDb>, String> {
    if !Path::new("/usr/sbin/mariadbd").exists() {
        return Ok(None);
    }
    socket::pin(options.load_core()).map_err(|error| format!("cannot choose a core: {error}"))?;
    let flags =
        ["--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--max-allowed-packet=1G"];
    let server = MariaDb::start_with(SqlMode::Loose, &flags)?;
    server.make_gazelle(GazelleTables::Ops)?;
    let script = folder.path().join("gazelle.sql");
    write_gazelle(&script, sizes).map_err(|error| format!("{}: {error}", script.display()))?;
    server.run_file(&script)?;
    // Half a gigabyte of statements is of no more use.
    let _ = std::fs::remove_file(script);
    Ok(Some(server))
}

fn write_gazelle(script: &Path, sizes: Sizes) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(script)?);
    writeln!(out, "SET unique_checks = 0; SET foreign_key_checks = 0; SET autocommit = 0;")?;
    for first in (0..sizes.members).step_by(ROWS as usize) {
        let rows = rows(first, sizes.members, |number| {
            let passkey = Account::passkey(number);
            let passkey = String::from_utf8_lossy(&passkey);
            format!("({},'m{number}','','1','{passkey}')", number + 1)
        });
        let head = "INSERT INTO users_main (ID, Username, PassHash, Enabled, torrent_pass) VALUES";
        writeln!(out, "{head} {rows};")?;
    }
    for first in (0..sizes.torrents).step_by(ROWS as usize) {
        let rows = rows(first, sizes.torrents, |number| {
            format!("({},1,x'{}')", number + 1, hex(&info_hash(number)))
        });
        writeln!(out, "INSERT INTO torrents (ID, GroupID, info_hash) VALUES {rows};")?;
    }
    writeln!(out, "INSERT INTO users_leech_stats (UserID) SELECT ID FROM users_main;")?;
    writeln!(out, "INSERT INTO torrents_leech_stats (TorrentID) SELECT ID FROM torrents;")?;
    writeln!(out, "COMMIT;")?;
    out.flush()
}

/// The rows from `first` on, at most [`ROWS`], each as `row` has it.
fn rows(first: u32, end: u32, row: impl Fn(u32) -> String) -> String {
    let rows: Vec<_> = (first..end.min(first + ROWS)).map(row).collect();
    rows.join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
