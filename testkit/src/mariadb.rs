//! A MariaDB server of its own for a test: real, empty, on a free loopback port and a socket in a
//! temporary folder.
//!
//! There is a database `gazelle` and a user `peerage` with a password, who may do everything in it
//! and nothing else: not write past a read-only server, not set a global variable. Tests look at
//! tables and break things as root, through the client program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{self, Daemon};
use crate::{Folder, Process, Signal, Wait, free_port, wait_for};

/// How long a start or a stop may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether the server refuses what it would have to change to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlMode {
    /// `STRICT_TRANS_TABLES`: what does not fit is an error.
    Strict,
    /// Empty: what does not fit is cut, what is missing is zero.
    Loose,
}

/// Whose tables a Gazelle site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GazelleTables {
    /// WhatCD's, as Ocelot 1.0 knows them: sums in `users_main` and `torrents`.
    WhatCd,
    /// OPSnet's, as Ocelot 2 knows them: sums in `users_leech_stats` and `torrents_leech_stats`.
    Ops,
}

/// A running MariaDB server. Killed when this is dropped.
#[derive(Debug)]
pub struct MariaDb {
    /// `None` between [`MariaDb::kill9`] and [`MariaDb::restart`].
    process: Option<Process>,
    port: u16,
    flags: Vec<String>,
    // Dropped after the process that writes to it.
    folder: Folder,
}

impl MariaDb {
    /// The database there is.
    pub const DATABASE: &str = "gazelle";
    /// The user of that database.
    pub const USER: &str = "peerage";
    /// The user's password.
    pub const PASSWORD: &str = "a pass:word/with@signs";

    /// Starts one and waits until it answers. Takes about a second.
    pub fn start(mode: SqlMode) -> Result<Self, String> {
        Self::start_with(mode, &[])
    }

    /// As [`MariaDb::start`], with flags of `mariadbd` besides, such as
    /// `--max-allowed-packet=16384`.
    pub fn start_with(mode: SqlMode, flags: &[&str]) -> Result<Self, String> {
        let folder = Folder::new("mariadb")?;
        let install = daemon::find("mariadb-install-db", &[])?;
        let mut command = Command::new(install);
        command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
        command.args(["--skip-test-db", "--innodb-log-file-size=8M"]);
        // A server that starts removes what looks like its own from the folder of temporary files.
        command.arg(format!("--tmpdir={}", folder.inner("tmp")?.display()));
        if daemon::is_root(folder.path()) {
            command.arg("--user=root");
        }
        daemon::output(command.arg(format!("--datadir={}", Self::data(&folder).display())))?;
        let user = format!("'{}'@'%'", Self::USER);
        let script = format!(
            "CREATE DATABASE IF NOT EXISTS {0};\n\
             CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{1}';\n\
             GRANT ALL ON {0}.* TO {user};\n",
            Self::DATABASE,
            Self::PASSWORD,
        );
        folder.write("init.sql", &script)?;
        let mode = match mode {
            SqlMode::Strict => "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO",
            SqlMode::Loose => "--sql-mode=",
        };
        let flags = [&[mode], flags].concat().into_iter().map(str::to_owned).collect();
        let mut server = Self { process: None, port: free_port(), flags, folder };
        server.restart()?;
        Ok(server)
    }

    fn data(folder: &Folder) -> PathBuf {
        folder.path().join("data")
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address with user and password.
    pub fn url(&self) -> String {
        let password = "a%20pass%3Aword%2Fwith%40signs";
        format!("mysql://{}:{password}@127.0.0.1:{}/{}", Self::USER, self.port, Self::DATABASE)
    }

    /// Starts it again on the same data, after [`MariaDb::kill9`] or while it runs, and waits until
    /// it answers.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9()?;
        let folder = self.folder.path();
        let mut arguments: Vec<String> = ["--no-defaults", "--bind-address=127.0.0.1"]
            .into_iter()
            .chain(["--skip-name-resolve", "--skip-log-bin", "--innodb-buffer-pool-size=64M"])
            // Commits outlive the process, not the machine: as much as a test can find out.
            .chain(["--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=8M"])
            .map(str::to_owned)
            .collect();
        arguments.extend([
            format!("--datadir={}", Self::data(&self.folder).display()),
            format!("--tmpdir={}", folder.join("tmp").display()),
            format!("--socket={}", self.socket().display()),
            format!("--pid-file={}", folder.join("pid").display()),
            format!("--init-file={}", folder.join("init.sql").display()),
            format!("--port={}", self.port),
        ]);
        if daemon::is_root(folder) {
            arguments.push("--user=root".into());
        }
        arguments.extend(self.flags.iter().cloned());
        let program = daemon::find("mariadbd", &["/usr/sbin".into(), "/usr/libexec".into()])?;
        let log = folder.join("log");
        let mut process =
            Daemon { name: "mariadbd", program, arguments, user: None, log }.start()?;
        let up = wait_for("answer of mariadbd", LIMIT, || match self.query("SELECT 1") {
            Ok(_) => Ok(Wait::Done(())),
            Err(_) if !process.is_alive() => Err("it has ended".to_owned()),
            Err(error) => Ok(Wait::NotYet(error)),
        });
        up.map_err(|what| process.explain(&what))?;
        self.process = Some(process);
        Ok(())
    }

    /// As [`MariaDb::restart`], with other flags of `mariadbd`; the SQL mode stays.
    pub fn restart_with(&mut self, flags: &[&str]) -> Result<(), String> {
        self.flags.truncate(1);
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self.restart()
    }

    /// Kills it where it stands, as a power cut would. It stays down until [`MariaDb::restart`].
    pub fn kill9(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::Kill)?;
        process.ended(LIMIT).map(drop)
    }

    /// Makes it stand still: connections stay open and nothing is answered.
    pub fn pause(&mut self) -> Result<(), String> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(Signal::Pause))
    }

    /// Lets it go on after [`MariaDb::pause`].
    pub fn resume(&mut self) -> Result<(), String> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(Signal::Continue))
    }

    /// Runs statements as root in [`MariaDb::DATABASE`]; rows of columns as text, `NULL` for null.
    pub fn query(&self, statements: &str) -> Result<Vec<Vec<String>>, String> {
        let text = daemon::output(self.client().args(["-e", statements]))?;
        Ok(daemon::rows(&text, '\t'))
    }

    /// Runs a file of statements as root in [`MariaDb::DATABASE`].
    pub fn run_file(&self, file: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let input = std::fs::File::open(file).map_err(failed)?;
        daemon::output(self.client().stdin(input)).map(drop)
    }

    /// Makes the tables of a Gazelle site, empty, with what a tracker reads and writes.
    pub fn make_gazelle(&self, tables: GazelleTables) -> Result<(), String> {
        let statements = match tables {
            GazelleTables::WhatCd => include_str!("mariadb/whatcd.sql"),
            GazelleTables::Ops => include_str!("mariadb/ops.sql"),
        };
        self.query(statements).map(drop)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"]);
        command.arg(format!("--socket={}", self.socket().display())).arg(Self::DATABASE);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_outlives_a_kill() {
        let mut server = MariaDb::start(SqlMode::Strict).expect("it starts");
        let table = "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (NULL)";
        server.query(table).expect("root may");
        server.kill9().expect("it is ours");
        assert!(server.query("SELECT 1").is_err(), "it is dead");
        server.restart().expect("it starts again");
        let rows = server.query("SELECT n, 'x' FROM t").expect("the table is there");
        assert_eq!(rows, [["1", "x"], ["NULL", "x"]]);
        server.pause().expect("it runs");
        server.resume().expect("it is there");
        assert_eq!(server.query("SELECT 1").expect("it goes on"), [["1"]]);
    }

    #[test]
    fn mode_decides_what_becomes_of_what_does_not_fit() {
        let loose = MariaDb::start(SqlMode::Loose).expect("it starts");
        let statement = "CREATE TABLE t (s VARCHAR(2)); INSERT INTO t VALUES ('abc')";
        loose.query(statement).expect("it is cut");
        assert_eq!(loose.query("SELECT s FROM t"), Ok(vec![vec!["ab".to_owned()]]));
        let strict = MariaDb::start(SqlMode::Strict).expect("it starts");
        let error = strict.query(statement).expect_err("it does not fit");
        assert!(error.contains("too long"), "{error}");
    }
}
