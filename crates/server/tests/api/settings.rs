//! Settings: changed while the tracker runs, kept over a restart, all or none.

use std::time::{Duration, Instant};

use peerage_testkit::Signal;
use serde_json::json;

use crate::client::Tracker;

/// Announces are told 1000 s, and nothing else, until a test changes it.
const FLAGS: [&str; 4] = ["--interval", "1000", "--max-interval", "1000"];

#[test]
fn change_alters_the_next_announce_is_logged_and_outlives_a_restart() -> Result<(), String> {
    let mut tracker = Tracker::start(&[&FLAGS[..], &["--min-interval", "1000"]].concat())?;
    tracker.json("PATCH", "/settings", r#"{"announce.jitter": 0}"#, 200);
    assert!(tracker.announce('a', 1)?.contains("8:intervali1000e"));
    let patch = r#"{"announce.min_interval": "5m", "announce.max_interval": 300,
        "announce.interval": "300s"}"#;
    let changed = tracker.json("PATCH", "/settings", patch, 200);
    assert_eq!(changed, tracker.json("GET", "/settings", "", 200));
    assert!(tracker.announce('a', 1)?.contains("8:intervali300e"));
    let setting = tracker.setting("announce.max_interval");
    assert_eq!(setting["value"], "5m");
    assert_eq!(setting["value_number"], 300.0);
    assert_eq!(setting["default"], "auto");
    assert_eq!((&setting["source"], &setting["takes"]), (&json!("changed"), &json!("now")));
    let line = "announce.max_interval was \"1000s\" and is now \"5m\", changed by token \"owner\"";
    tracker.server.log_line(line)?;

    let tracker = tracker.restart(&FLAGS)?;
    assert!(tracker.announce('a', 1)?.contains("8:intervali300e"));
    let back = r#"{"announce.min_interval": null, "announce.max_interval": null,
        "announce.interval": null}"#;
    tracker.json("PATCH", "/settings", back, 200);
    assert_eq!(tracker.setting("announce.max_interval")["source"], "flag");
    assert_eq!(tracker.setting("announce.min_interval")["source"], "default");
    Ok(())
}

#[test]
fn one_wrong_value_changes_nothing_and_is_named() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    let before = tracker.json("GET", "/settings", "", 200);
    for (patch, field) in [
        (json!({"announce.jitter": 5, "announce.numwant_default": -1}), "announce.numwant_default"),
        (json!({"announce.jitter": 5, "announce.nonsense": 1}), "announce.nonsense"),
        (json!({"announce.jitter": 5, "listen.port": 1}), "listen.port"),
        (json!({"announce.jitter": 5, "access.deny": "/dev/zero"}), "access.deny"),
        (
            json!({"announce.min_interval": "10m", "announce.max_interval": "5m"}),
            "announce.max_interval",
        ),
        (json!([1]), "body"),
    ] {
        let reply = tracker.json("PATCH", "/settings", &patch.to_string(), 422);
        assert_eq!(reply["field"], field, "{reply}");
    }
    tracker.json("PATCH", "/settings", "{", 400);
    let long = format!("{{\"announce.jitter\": \"{}\"}}", "1".repeat(70_000));
    tracker.json("PATCH", "/settings", &long, 413);
    assert_eq!(tracker.json("GET", "/settings", "", 200), before);
    assert!(!tracker.data.path().join("changed.toml").exists());
    Ok(())
}

#[test]
fn reload_keeps_what_was_changed() -> Result<(), String> {
    let mut tracker = Tracker::start(&[])?;
    tracker.json("PATCH", "/settings", r#"{"announce.numwant_default": 7}"#, 200);
    tracker.server.process().signal(Signal::Hangup)?;
    tracker.server.log_line("configuration reloaded")?;
    let setting = tracker.setting("announce.numwant_default");
    assert_eq!((&setting["value"], &setting["source"]), (&json!(7), &json!("changed")));
    Ok(())
}

#[test]
fn every_setting_is_shown_but_no_secret() -> Result<(), String> {
    let key = "00112233445566778899aabbccddeeff";
    let tracker = Tracker::start(&[])?;
    let kept = std::fs::read_to_string(tracker.data.path().join("connection.key"));
    let settings = tracker.json("GET", "/settings", "", 200);
    assert!(settings["settings"].as_array().is_some_and(|all| 30 < all.len()), "{settings}");
    assert!(!settings.to_string().contains(kept.expect("it is kept").trim()));
    let secret = tracker.setting("udp.connection_key");
    assert_eq!(secret["takes"], "restart");
    let data = tracker.data.path().to_str().expect("UTF-8");
    let variable = ("PEERAGE__UDP__CONNECTION_KEY", key);
    let with_key = peerage_testkit::Server::start_with(
        crate::client::program(),
        &["--data-dir", data],
        &[variable],
    )?;
    let authorization = format!("Bearer {}", tracker.admin());
    let headers = [("Authorization", authorization.as_str())];
    let shown = crate::client::ask(&with_key, "GET", "/settings", &headers, "")?.text();
    assert!(shown.contains("udp.connection_key") && !shown.contains(key), "{shown}");
    Ok(())
}

#[test]
fn connections_are_kept_open_and_waited_for_as_the_change_says() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    let path = "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa";
    let mut connection = tracker.server.connect()?;
    assert_eq!(connection.get(path)?.header("connection"), None);
    tracker.json("PATCH", "/settings", r#"{"http.keep_alive": false}"#, 200);
    assert_eq!(connection.get(path)?.header("connection"), Some("close"));
    let patch = r#"{"http.keep_alive": null, "http.idle_timeout": 1}"#;
    tracker.json("PATCH", "/settings", patch, 200);
    let mut connection = tracker.server.connect()?;
    assert_eq!(connection.get(path)?.header("connection"), None);
    // It would be 15 s, had nothing been changed.
    let begun = Instant::now();
    assert_eq!(connection.rest()?, b"");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    Ok(())
}
