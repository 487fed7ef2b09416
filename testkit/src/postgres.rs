//! A PostgreSQL server of its own for a test: real, empty, on a free loopback port and a socket in
//! a temporary folder.
//!
//! There is a database and a user `peerage`. PostgreSQL does not run as root: where the test does,
//! the server runs as the user `postgres`, or else `nobody`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{self, Daemon};
use crate::{Folder, Process, Signal, Wait, free_port, wait_for};

/// How long a start or a stop may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A running PostgreSQL server. Ended when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// `None` between [`Postgres::kill9`] and [`Postgres::restart`].
    process: Option<Process>,
    port: u16,
    user: Option<&'static str>,
    flags: Vec<String>,
    // Dropped after the process that writes to it.
    folder: Folder,
}

impl Postgres {
    /// The database there is.
    pub const DATABASE: &str = "peerage";
    /// The user of that database, its owner but not the server's.
    pub const USER: &str = "peerage";
    /// The user's password.
    pub const PASSWORD: &str = "secret";

    /// Starts one and waits until it answers. Takes about two seconds.
    pub fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    /// As [`Postgres::start`], with settings such as `max_connections=3` besides.
    pub fn start_with(settings: &[&str]) -> Result<Self, String> {
        let folder = Folder::new("postgres")?;
        let user = daemon::is_root(folder.path()).then(system_user);
        let flags = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { process: None, port: free_port(), user, flags, folder };
        server.install()?;
        server.restart()?;
        let (role, database) = (Self::USER, Self::DATABASE);
        let role = format!("CREATE ROLE {role} LOGIN PASSWORD '{}'", Self::PASSWORD);
        server.query_in("postgres", &role)?;
        let database = format!("CREATE DATABASE {database} OWNER {}", Self::USER);
        server.query_in("postgres", &database)?;
        Ok(server)
    }

    fn install(&self) -> Result<(), String> {
        // What it writes is its user's: the socket and the data.
        let home = self.folder.inner("home")?;
        if let Some(user) = self.user {
            daemon::output(Command::new("chown").arg(user).arg(&home))?;
        }
        let initdb = program("initdb")?;
        let mut command = daemon::as_user(self.user, None, &initdb);
        command.args(["-U", "root", "--auth-local=trust", "--auth-host=scram-sha-256"]);
        command.args(["-E", "UTF8", "--no-locale", "--no-sync", "-D"]).arg(self.data());
        daemon::output(command.current_dir(&home)).map(drop)
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn data(&self) -> PathBuf {
        self.socket_folder().join("data")
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address with user and password.
    pub fn url(&self) -> String {
        let (user, password, database) = (Self::USER, Self::PASSWORD, Self::DATABASE);
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts it again on the same data, after [`Postgres::kill9`] or while it runs, and waits
    /// until it answers.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9()?;
        let mut arguments = vec!["-D".to_owned(), self.data().display().to_string()];
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.socket_folder().display()),
            // Commits outlive the process, not the machine: as much as a test can find out.
            "fsync=off".to_owned(),
        ];
        for setting in settings.into_iter().chain(self.flags.iter().cloned()) {
            arguments.extend(["-c".to_owned(), setting]);
        }
        let (program, log) = (program("postgres")?, self.folder.path().join("log"));
        let daemon = Daemon { name: "postgres", program, arguments, user: self.user, log };
        let mut process = daemon.start()?;
        let up =
            wait_for("answer of postgres", LIMIT, || match self.query_in("postgres", "SELECT 1") {
                Ok(_) => Ok(Wait::Done(())),
                Err(_) if !process.is_alive() => Err("it has ended".to_owned()),
                Err(error) => Ok(Wait::NotYet(error)),
            });
        up.map_err(|what| process.explain(&what))?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts it again with TLS: its certificate and the key to it, in PEM.
    pub fn secure(&mut self, certificate: &Path, key: &Path) -> Result<(), String> {
        self.kill9()?;
        for (name, file) in [("ssl_cert_file", certificate), ("ssl_key_file", key)] {
            // It reads none that others may, and runs as somebody else.
            let own = self.socket_folder().join(name);
            let copied = fs::copy(file, &own).map(drop);
            copied.map_err(|error| format!("{}: {error}", file.display()))?;
            daemon::output(Command::new("chmod").arg("600").arg(&own))?;
            if let Some(user) = self.user {
                daemon::output(Command::new("chown").arg(user).arg(&own))?;
            }
            self.flags.push(format!("{name}={}", own.display()));
        }
        self.flags.push("ssl=on".to_owned());
        self.restart()
    }

    /// Kills all its processes where they stand. It stays down until [`Postgres::restart`].
    pub fn kill9(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let workers = children(process.id());
        process.signal(Signal::Kill)?;
        workers.iter().for_each(|&id| tell("KILL", id));
        process.ended(LIMIT)?;
        // A worker that is left holds the shared memory, and the next start would refuse.
        wait_for("end of its workers", LIMIT, || {
            let left: Vec<_> = workers.iter().filter(|&&id| is_running(id)).collect();
            Ok(if left.is_empty() { Wait::Done(()) } else { Wait::NotYet(format!("{left:?}")) })
        })
    }

    /// Makes all its processes stand still: connections stay open and nothing is answered.
    pub fn pause(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // First the one that would start more.
        process.signal(Signal::Pause)?;
        children(process.id()).into_iter().for_each(|id| tell("STOP", id));
        Ok(())
    }

    /// Lets it go on after [`Postgres::pause`].
    pub fn resume(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        children(process.id()).into_iter().for_each(|id| tell("CONT", id));
        process.signal(Signal::Continue)
    }

    /// Runs statements as the server's owner in [`Postgres::DATABASE`]; rows of columns as text,
    /// `NULL` for null.
    pub fn query(&self, statements: &str) -> Result<Vec<Vec<String>>, String> {
        self.query_in(Self::DATABASE, statements)
    }

    fn query_in(&self, database: &str, statements: &str) -> Result<Vec<Vec<String>>, String> {
        let mut command = Command::new(program("psql")?);
        command.args(["-X", "-q", "-A", "-t", "-F", "\t", "-P", "null=NULL", "-U", "root"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-d", database, "-p", &self.port.to_string()]);
        command.arg("-h").arg(self.socket_folder()).args(["-c", statements]);
        Ok(daemon::rows(&daemon::output(&mut command)?, '\t'))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that failed is not to fail again here.
        let _ = self.kill9();
    }
}

/// Where the programs are: Debian keeps those of the server off the path.
fn program(name: &str) -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    daemon::find(name, &folders)
}

/// The user of the system that the server runs as when the test runs as root.
fn system_user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" }
}

/// The processes that `parent` started and that have not ended.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = format!("PPid:\t{parent}");
    ids.filter(|id| status(*id).is_some_and(|status| status.lines().any(|is| is == line))).collect()
}

fn status(id: u32) -> Option<String> {
    fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status")).ok()
}

/// Whether there is such a process, and it has not ended.
fn is_running(id: u32) -> bool {
    status(id).is_some_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ")))
}

fn tell(signal: &str, id: u32) {
    // Fails where it has ended meanwhile.
    let script = format!("kill -{signal} {id} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_outlives_a_kill() {
        let mut server = Postgres::start().expect("it starts");
        let table = "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (NULL)";
        server.query(table).expect("its owner may");
        server.kill9().expect("it is ours");
        assert!(server.query("SELECT 1").is_err(), "it is dead");
        server.restart().expect("it starts again");
        let rows = server.query("SELECT n, 'x' FROM t").expect("the table is there");
        assert_eq!(rows, [["1", "x"], ["NULL", "x"]]);
        server.pause().expect("it runs");
        server.resume().expect("it is there");
        assert_eq!(server.query("SELECT 1").expect("it goes on"), [["1"]]);
    }
}
