//! Start, signals and stop, as an operator sees them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use peerage_testkit::{Ended, Folder, Server, Signal};

/// An announce of a seeder, for the swarm whose info_hash is 20 times `a`.
const ANNOUNCE: &str = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa\
    &port=6881&left=0&uploaded=0&downloaded=0";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_peerage"))
}

/// Starts it on 127.0.0.1 alone, so that each protocol has one line.
fn start(flags: &[&str]) -> Result<Server, String> {
    start_with(flags, &[])
}

fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Result<Server, String> {
    let arguments = [&["--port", "0", "--bind", "127.0.0.1"], flags].concat();
    Server::start_as(program(), &arguments, variables)
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended, String> {
    peerage_testkit::run(program(), arguments, variables)
}

#[test]
fn each_listener_has_a_line_and_one_port_serves_both() -> Result<(), String> {
    let tracker = start(&[])?;
    let port = tracker.port();
    let lines = [
        format!("listening on http://127.0.0.1:{port} (TCP)"),
        format!("listening on udp://127.0.0.1:{port} (UDP)"),
        "ready".into(),
    ];
    assert_eq!(tracker.lines(), lines);
    assert_ne!(port, 0);
    Ok(())
}

#[test]
fn without_one_protocol_there_is_the_other() -> Result<(), String> {
    let tracker = start(&["--no-udp"])?;
    assert_eq!(tracker.lines().len(), 2);
    assert_eq!(tracker.get("/health")?.text(), "OK\n");
    let tracker = start(&["--no-tcp"])?;
    assert_eq!(tracker.lines().len(), 2);
    assert!(tracker.lines()[0].contains("udp://"));
    tracker.stop()
}

#[test]
fn without_any_configuration_it_listens_over_ipv4() -> Result<(), String> {
    // The port alone is not the default, which may be taken.
    let tracker = Server::start_as(program(), &["-p", "0"], &[])?;
    let lines = tracker.lines();
    assert!(lines[0].starts_with("listening on http://0.0.0.0:"), "{lines:?}");
    assert_eq!(tracker.get("/health")?.text(), "OK\n");
    Ok(())
}

#[test]
fn signals_to_stop_are_followed() -> Result<(), String> {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let tracker = start(&[])?;
        // A connection that is open does not hold up the stop.
        let _open = tracker.connect()?;
        tracker.stop_by(signal)?;
    }
    Ok(())
}

#[test]
fn taken_port_is_one_clear_line() -> Result<(), String> {
    let tracker = start(&[])?;
    let port = tracker.port().to_string();
    for (flag, protocol) in [("--no-udp", "TCP"), ("--no-tcp", "UDP")] {
        let ended = run(&["--bind", "127.0.0.1", "-p", &port, flag], &[])?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        for part in [protocol, &port, "port"] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
    Ok(())
}

// Where the interval matters its bounds are one, or the load of the machine would move it.

#[test]
fn wrong_configuration_leaves_the_old_one_in_force() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let file = folder
        .write("p.toml", "[announce]\nmin_interval = 600\nmax_interval = 600\njitter = 0\n")?;
    let mut tracker = start(&["-c", &file])?;
    folder.write("p.toml", "[announce]\ninterval = \"soon\"\n")?;
    tracker.process().signal(Signal::Hangup)?;
    let line = tracker.log_line("announce.interval")?;
    assert!(line.contains("p.toml:2: ") && line.contains("ERROR"), "{line}");
    tracker.log_line("stays in force")?;
    assert!(tracker.get(ANNOUNCE)?.text().contains("8:intervali600e"));
    Ok(())
}

#[test]
fn reload_takes_what_it_can_and_tells_what_takes_a_restart() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let file = folder
        .write("p.toml", "[announce]\nmin_interval = 600\nmax_interval = 600\njitter = 0\n")?;
    let mut tracker = start(&["-c", &file])?;
    let announce = "[announce]\nmin_interval = 900\nmax_interval = 900\njitter = 0\n";
    folder.write("p.toml", &format!("{announce}[http]\nhead_bytes_max = 4096\n"))?;
    tracker.process().signal(Signal::Hangup)?;
    tracker.log_line("announce.max_interval is now \"15m\"")?;
    tracker.log_line("http.head_bytes_max has changed: that takes a restart")?;
    tracker.log_line("configuration reloaded")?;
    assert!(tracker.get(ANNOUNCE)?.text().contains("8:intervali900e"));
    // What takes a restart is told each time, what was taken is not.
    tracker.process().signal(Signal::Hangup)?;
    let line = tracker.log_line("has changed")?;
    assert!(line.contains("http.head_bytes_max"), "{line}");
    Ok(())
}

#[test]
fn peers_outlive_an_interval_that_has_grown() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let file = folder.write("p.toml", "[announce]\nmax_interval = 1000\njitter = 0\n")?;
    let mut tracker = start(&["-c", &file])?;
    folder.write("p.toml", "[announce]\nmax_interval = 5000\njitter = 0\n")?;
    tracker.process().signal(Signal::Hangup)?;
    tracker.log_line("announce.max_interval is now \"5000s\"")?;
    tracker.log_line("configuration reloaded")?;
    folder.write("p.toml", "[announce]\nmax_interval = 5000\npeer_timeout = 4000\n")?;
    tracker.process().signal(Signal::Hangup)?;
    let line = tracker.log_line("announce.peer_timeout")?;
    assert!(line.contains("more than 5060s"), "{line}");
    tracker.log_line("stays in force")?;
    Ok(())
}

#[test]
fn lists_are_read_again_and_what_they_forbid_is_dropped() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let list = folder.write("deny.txt", "# nothing yet\n")?;
    let mut tracker = start_with(&[], &[("PEERAGE__ACCESS__DENY", &list)])?;
    assert!(tracker.get(ANNOUNCE)?.text().contains("8:completei1e"));
    folder.write("deny.txt", &format!("{}\n", "61".repeat(20)))?;
    tracker.process().signal(Signal::User1)?;
    tracker.log_line("lists: all allowed, 1 denied")?;
    tracker.log_line("swarms no longer allowed, and dropped: 1")?;
    let refused = tracker.get(ANNOUNCE)?;
    assert!(refused.text().contains("failure reason"), "{}", refused.text());
    assert_eq!(tracker.stats()?["swarms"], 0);

    folder.write("deny.txt", "nonsense\n")?;
    tracker.process().signal(Signal::User1)?;
    let line = tracker.log_line("deny.txt:1: ")?;
    assert!(line.contains("ERROR"), "{line}");
    tracker.log_line("the old ones stay in force")?;
    assert!(tracker.get(ANNOUNCE)?.text().contains("failure reason"));
    Ok(())
}

#[test]
fn key_of_the_connection_ids_outlasts_a_restart() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let data = folder.path().join("data");
    let data_dir = data.to_str().unwrap();
    let start_and_stop = || start(&["--data-dir", data_dir])?.stop();
    start_and_stop()?;
    let file = data.join("connection.key");
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim().len(), 32);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    start_and_stop()?;
    assert_eq!(fs::read_to_string(&file).unwrap(), key);

    fs::write(&file, "not a key").unwrap();
    let ended = run(&["-p", "0", "--data-dir", data_dir], &[])?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("connection.key must hold 32 hex digits"), "{}", ended.stderr);
    Ok(())
}

const SWARM: [u8; 20] = [b'a'; 20];

#[test]
fn restart_loses_no_peer() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let data_dir = folder.path().to_str().unwrap();
    let tracker = start(&["--data-dir", data_dir])?;
    let before = tracker.scrape(SWARM)?;
    assert!(tracker.get(ANNOUNCE)?.text().contains("8:completei1e"));
    tracker.stop()?;
    let file = folder.path().join("swarms.snapshot");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut tracker = start(&["--data-dir", data_dir])?;
    tracker.log_line("1 peers restored")?;
    assert_eq!((before.seeders, tracker.scrape(SWARM)?.seeders), (0, 1));
    tracker.stop()?;

    // What a deny list forbids does not come back, and what is damaged does no harm.
    let list = folder.write("deny.txt", &"61".repeat(20))?;
    let tracker = start_with(&["--data-dir", data_dir], &[("PEERAGE__ACCESS__DENY", &list)])?;
    assert_eq!(tracker.stats()?["swarms"], 0);
    drop(tracker);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut tracker = start(&["--data-dir", data_dir])?;
    tracker.log_line("is damaged")?;
    assert!(folder.path().join("swarms.unusable").exists());
    tracker.stop()
}

#[test]
fn killed_tracker_has_what_it_last_wrote() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let data_dir = folder.path().to_str().unwrap();
    let variables = [("PEERAGE__SWARM__SNAPSHOT_INTERVAL", "1s")];
    let mut tracker = start_with(&["--data-dir", data_dir], &variables)?;
    tracker.get(ANNOUNCE)?;
    tracker.log_line("bytes written in")?;
    // The first may have been begun before the announce.
    tracker.log_line("bytes written in")?;
    drop(tracker);
    let tracker = start_with(&["--data-dir", data_dir], &variables)?;
    assert_eq!(tracker.scrape(SWARM)?.seeders, 1);
    tracker.stop()
}

/// As root, rights are dropped and the tracker runs without them; as anyone else, that they cannot
/// be dropped is a failure of the start.
#[test]
fn rights_are_dropped_or_the_start_fails() -> Result<(), String> {
    let folder = Folder::new("life")?;
    let list = folder.write("deny.txt", "")?;
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    let root = folder.path().to_str().unwrap();
    let flags = ["--chroot", root, "--user", "nobody"];
    let variables = [("PEERAGE__ACCESS__DENY", list.as_str())];
    if !nix::unistd::geteuid().is_root() {
        let ended = run(&[&["-p", "0", "--bind", "127.0.0.1"], &flags[..]].concat(), &variables)?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot make"), "{}", ended.stderr);
        return Ok(());
    }
    let mut tracker = start_with(&flags, &variables)?;
    assert_eq!(tracker.get("/health")?.text(), "OK\n");
    let load = &tracker.stats()?["memory"]["resident_bytes"];
    assert!(load.as_u64().is_some(), "{load}");
    // The list is inside of the root and readable for all.
    fs::write(&list, format!("{}\n", "61".repeat(20))).unwrap();
    tracker.process().signal(Signal::User1)?;
    tracker.log_line("lists: all allowed, 1 denied")?;
    tracker.stop()
}

#[test]
fn user_that_is_not_there_is_a_failure_of_the_start() -> Result<(), String> {
    let ended = run(&["-p", "0", "--user", "no-such-user-of-ours"], &[])?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("there is no such user"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn limit_above_the_hard_one_is_a_failure_of_the_start() -> Result<(), String> {
    let most = i64::MAX.to_string();
    let ended = run(&["-p", "0", "--bind", "127.0.0.1", "--nofile", &most], &[])?;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot limit open files"), "{}", ended.stderr);
    start(&["--nofile", "-1", "--core", "-1"])?.stop()
}

/// The wait is for the server to close an idle connection, by when the peer has expired.
#[test]
fn peer_that_is_not_heard_from_is_dropped() -> Result<(), String> {
    let text = "[announce]\nmax_interval = 1\njitter = 0\npeer_timeout = 2\n\
        [http]\nidle_timeout = 5\n";
    let folder = Folder::new("life")?;
    let tracker = start(&["-c", &folder.write("p.toml", text)?])?;
    let mut connection = tracker.connect()?;
    let reply = connection.get(ANNOUNCE)?;
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    assert_eq!(connection.rest()?, b"");
    let stats = tracker.stats()?;
    assert_eq!(stats["peers"]["total"], 0, "{stats}");
    assert_eq!(stats["expired"]["peers"], 1, "{stats}");
    Ok(())
}
