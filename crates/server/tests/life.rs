//! Start, signals and stop, as an operator sees them.

mod harness;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use harness::{Folder, Signal, Tracker, announce_path, request, run};

#[test]
fn each_listener_has_a_line_and_one_port_serves_both() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port;
    let lines = [
        format!("listening on http://127.0.0.1:{port} (TCP)"),
        format!("listening on udp://127.0.0.1:{port} (UDP)"),
        "ready".into(),
    ];
    assert_eq!(tracker.lines, lines);
    assert_ne!(port, 0);
}

#[test]
fn without_one_protocol_there_is_the_other() {
    let tracker = Tracker::start(&["--no-udp"]);
    assert_eq!(tracker.lines.len(), 2);
    assert_eq!(tracker.get("/health").text(), "OK\n");
    let tracker = Tracker::start(&["--no-tcp"]);
    assert_eq!(tracker.lines.len(), 2);
    assert!(tracker.lines[0].contains("udp://"));
    assert!(tracker.stop(Signal::SIGTERM).success());
}

#[test]
fn without_any_configuration_it_listens_over_ipv4() {
    // The port alone is not the default, which may be taken.
    let tracker = Tracker::start_with(&["-p", "0"], &[]);
    assert!(tracker.lines[0].starts_with("listening on http://0.0.0.0:"), "{:?}", tracker.lines);
    assert_eq!(tracker.get("/health").text(), "OK\n");
}

#[test]
fn signals_to_stop_are_followed() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let tracker = Tracker::start(&[]);
        // A connection that is open does not hold up the stop.
        let _open = tracker.connect();
        assert_eq!(tracker.stop(signal).code(), Some(0), "{signal}");
    }
}

#[test]
fn taken_port_is_one_clear_line() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port.to_string();
    for (flag, protocol) in [("--no-udp", "TCP"), ("--no-tcp", "UDP")] {
        let ended = run(&["--bind", "127.0.0.1", "-p", &port, flag], &[]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        for part in [protocol, &port, "port"] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
}

// Where the interval matters its bounds are one, or the load of the machine would move it.

#[test]
fn wrong_configuration_leaves_the_old_one_in_force() {
    let folder = Folder::new();
    let file =
        folder.write("p.toml", "[announce]\nmin_interval = 600\nmax_interval = 600\njitter = 0\n");
    let tracker = Tracker::start(&["-c", &file]);
    folder.write("p.toml", "[announce]\ninterval = \"soon\"\n");
    tracker.signal(Signal::SIGHUP);
    let line = tracker.wait_for("announce.interval");
    assert!(line.contains("p.toml:2: ") && line.contains("ERROR"), "{line}");
    tracker.wait_for("stays in force");
    assert!(tracker.get(&announce_path('a')).text().contains("8:intervali600e"));
}

#[test]
fn reload_takes_what_it_can_and_tells_what_takes_a_restart() {
    let folder = Folder::new();
    let file =
        folder.write("p.toml", "[announce]\nmin_interval = 600\nmax_interval = 600\njitter = 0\n");
    let tracker = Tracker::start(&["-c", &file]);
    let announce = "[announce]\nmin_interval = 900\nmax_interval = 900\njitter = 0\n";
    folder.write("p.toml", &format!("{announce}[http]\ntimeout = 9\n"));
    tracker.signal(Signal::SIGHUP);
    tracker.wait_for("announce.max_interval is now \"15m\"");
    tracker.wait_for("http.timeout has changed: that takes a restart");
    tracker.wait_for("configuration reloaded");
    assert!(tracker.get(&announce_path('a')).text().contains("8:intervali900e"));
    // What takes a restart is told each time, what was taken is not.
    tracker.signal(Signal::SIGHUP);
    let line = tracker.wait_for("has changed");
    assert!(line.contains("http.timeout"), "{line}");
}

#[test]
fn interval_that_outlasts_the_peers_takes_a_restart() {
    let folder = Folder::new();
    let file = folder.write("p.toml", "[announce]\nmax_interval = 1000\njitter = 0\n");
    let tracker = Tracker::start(&["-c", &file]);
    folder.write("p.toml", "[announce]\nmax_interval = 5000\njitter = 0\n");
    tracker.signal(Signal::SIGHUP);
    let line = tracker.wait_for("announce.max_interval");
    assert!(line.contains("takes a restart"), "{line}");
    tracker.wait_for("stays in force");
}

#[test]
fn lists_are_read_again_and_what_they_forbid_is_dropped() {
    let folder = Folder::new();
    let list = folder.write("deny.txt", "# nothing yet\n");
    let bind = ["--port", "0", "--bind", "127.0.0.1"];
    let tracker = Tracker::start_with(&bind, &[("PEERAGE__ACCESS__DENY", &list)]);
    assert!(tracker.get(&announce_path('a')).text().contains("8:completei1e"));
    folder.write("deny.txt", &format!("{}\n", "61".repeat(20)));
    tracker.signal(Signal::SIGUSR1);
    tracker.wait_for("lists: all allowed, 1 denied");
    tracker.wait_for("swarms no longer allowed, and dropped: 1");
    let refused = tracker.get(&announce_path('a'));
    assert!(refused.text().contains("failure reason"), "{}", refused.text());
    assert_eq!(tracker.stats()["swarms"], 0);

    folder.write("deny.txt", "nonsense\n");
    tracker.signal(Signal::SIGUSR1);
    let line = tracker.wait_for("deny.txt:1: ");
    assert!(line.contains("ERROR"), "{line}");
    tracker.wait_for("the old ones stay in force");
    assert!(tracker.get(&announce_path('a')).text().contains("failure reason"));
}

#[test]
fn key_of_the_connection_ids_outlasts_a_restart() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let data_dir = data.to_str().unwrap();
    let start = || Tracker::start(&["--data-dir", data_dir]).stop(Signal::SIGTERM);
    assert!(start().success());
    let file = data.join("connection.key");
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim().len(), 32);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(start().success());
    assert_eq!(fs::read_to_string(&file).unwrap(), key);

    fs::write(&file, "not a key").unwrap();
    let ended = run(&["-p", "0", "--data-dir", data_dir], &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("connection.key must hold 32 hex digits"), "{}", ended.stderr);
}

/// As root, rights are dropped and the tracker runs without them; as anyone else, that they cannot
/// be dropped is a failure of the start.
#[test]
fn rights_are_dropped_or_the_start_fails() {
    let folder = Folder::new();
    let list = folder.write("deny.txt", "");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    let root = folder.path().to_str().unwrap();
    let arguments = ["-p", "0", "--bind", "127.0.0.1", "--chroot", root, "--user", "nobody"];
    let variables = [("PEERAGE__ACCESS__DENY", list.as_str())];
    if !nix::unistd::geteuid().is_root() {
        let ended = run(&arguments, &variables);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot make"), "{}", ended.stderr);
        return;
    }
    let tracker = Tracker::start_with(&arguments, &variables);
    assert_eq!(tracker.get("/health").text(), "OK\n");
    let load = &tracker.stats()["memory"]["resident_bytes"];
    assert!(load.as_u64().is_some(), "{load}");
    // The list is inside of the root and readable for all.
    fs::write(&list, format!("{}\n", "61".repeat(20))).unwrap();
    tracker.signal(Signal::SIGUSR1);
    tracker.wait_for("lists: all allowed, 1 denied");
    assert_eq!(tracker.stop(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn user_that_is_not_there_is_a_failure_of_the_start() {
    let ended = run(&["-p", "0", "--user", "no-such-user-of-ours"], &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("there is no such user"), "{}", ended.stderr);
}

#[test]
fn limit_above_the_hard_one_is_a_failure_of_the_start() {
    let most = i64::MAX.to_string();
    let ended = run(&["-p", "0", "--bind", "127.0.0.1", "--nofile", &most], &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot limit open files"), "{}", ended.stderr);
    let tracker = Tracker::start(&["--nofile", "-1", "--core", "-1"]);
    assert!(tracker.stop(Signal::SIGTERM).success());
}

/// The wait is for the server to close an idle connection, by when the peer has expired.
#[test]
fn peer_that_is_not_heard_from_is_dropped() {
    let text = "[announce]\nmax_interval = 1\njitter = 0\npeer_timeout = 2\n\
        [http]\nidle_timeout = 5\n";
    let folder = Folder::new();
    let tracker = Tracker::start(&["-c", &folder.write("p.toml", text)]);
    let mut connection = tracker.connect();
    let reply = request(&mut connection, "GET", &announce_path('a'));
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    assert_eq!(connection.read_to_end(&mut Vec::new()).unwrap(), 0);
    let stats = tracker.stats();
    assert_eq!(stats["peers"]["total"], 0, "{stats}");
    assert_eq!(stats["expired"]["peers"], 1, "{stats}");
}
