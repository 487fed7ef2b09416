//! What the statistics say while the tracker is at work: rates, history, latency.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerage_testkit::{Server, Wait, udp, wait_for};
use serde_json::Value;

/// How long what is read once a second may take to show.
const LIMIT: Duration = Duration::from_secs(30);

fn start(flags: &[&str]) -> Result<Server, String> {
    Server::start(Path::new(env!("CARGO_BIN_EXE_peerage")), flags)
}

fn announce(letter: u8) -> udp::Announce {
    let hash = [letter; 20];
    udp::Announce { info_hash: hash, peer_id: hash, left: 1, event: 2, numwant: 3, port: 6881 }
}

fn announce_path(letter: char) -> String {
    let hash = String::from(letter).repeat(20);
    format!("/announce?info_hash={hash}&peer_id={hash}&port=6881&left=0&uploaded=0&downloaded=0")
}

fn json(server: &Server, path: &str) -> Result<Value, String> {
    let text = server.get(path)?.text();
    serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))
}

/// Announces over every way until the history of the last minute is as wanted.
fn load_until(server: &Server, is_so: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let addresses: [SocketAddr; 2] =
        [server.address(Ipv4Addr::LOCALHOST), server.address(Ipv6Addr::LOCALHOST)];
    let mut clients = addresses.map(udp::Client::connect);
    wait_for("such a history", LIMIT, || {
        for client in &mut clients {
            client.as_mut().map_err(|error| error.clone())?.announce(&announce(b'a'))?;
        }
        let mut connection = server.connect()?;
        for letter in ['b', 'c'] {
            connection.get(&announce_path(letter))?;
        }
        let minute = json(server, "/history.json?span=minute")?;
        Ok(if is_so(&minute) { Wait::Done(minute) } else { Wait::NotYet(minute.to_string()) })
    })
}

/// The newest point of a series.
fn newest<'a>(history: &'a Value, series: &str) -> &'a Value {
    history["series"][series].as_array().and_then(|points| points.last()).unwrap_or(&Value::Null)
}

#[test]
fn history_and_rates_move_under_load() -> Result<(), String> {
    let server = start(&["--min-interval", "1799"])?;
    let ways = ["udp_ipv4", "udp_ipv6", "http_ipv4"];
    let minute = load_until(&server, |minute| {
        ways.iter().all(|way| newest(minute, way).as_f64() > Some(0.0))
            && newest(minute, "leechers") == 2
    })?;
    assert_eq!(minute["span"], "minute");
    assert_eq!((&minute["step_secs"], &minute["points"]), (&1.into(), &60.into()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let age = now - minute["start_secs"].as_u64().unwrap();
    assert!((58..90).contains(&age), "the first of 60 points begins {age} s ago");
    assert_eq!(newest(&minute, "http_ipv6"), 0.0);
    assert_eq!(newest(&minute, "seeders"), 2);
    assert_eq!(newest(&minute, "peers"), 4);
    assert_eq!(newest(&minute, "swarms"), 3);
    assert_eq!(newest(&minute, "interval_secs"), 1799);
    for (series, points) in minute["series"].as_object().unwrap() {
        let points = points.as_array().unwrap();
        assert_eq!(points.len(), 60, "{series}");
        assert!(points[0].is_null(), "{series} is older than the tracker");
    }
    let stats = server.stats_when(|stats| {
        let rate = |protocol: &str, family: &str| {
            stats["rates"][protocol][family]["announce"].as_f64() > Some(0.0)
        };
        rate("udp", "ipv4") && rate("udp", "ipv6") && rate("http", "ipv4")
    })?;
    assert_eq!(stats["rates"]["http"]["ipv6"]["announce"], 0.0);
    assert_eq!(stats["rates"]["udp"]["ipv4"]["scrape"], 0.0);
    Ok(())
}

#[test]
fn refusals_show_in_the_history() -> Result<(), String> {
    let server = start(&[])?;
    wait_for("a refusal in the history", LIMIT, || {
        server.get("/scrape")?;
        let minute = json(&server, "/history.json?span=minute")?;
        let refused = newest(&minute, "refusals").as_f64() > Some(0.0);
        Ok(if refused { Wait::Done(()) } else { Wait::NotYet(minute.to_string()) })
    })
}

#[test]
fn spans_have_their_points_and_nothing_else_is_a_span() -> Result<(), String> {
    let server = start(&[])?;
    for (span, points, step) in [("minute", 60, 1), ("hour", 120, 30), ("day", 288, 300)] {
        let body = json(&server, &format!("/history.json?span={span}"))?;
        assert_eq!((&body["points"], &body["step_secs"]), (&points.into(), &step.into()));
        assert_eq!(body["series"]["load"].as_array().unwrap().len(), points);
    }
    for query in ["", "?span=", "?span=week", "?span=Minute", "?of=minute"] {
        let reply = server.get(&format!("/history.json{query}"))?;
        assert_eq!(reply.status, 400, "{query}");
        let error: Value = serde_json::from_str(&reply.text()).unwrap();
        assert_eq!(error["field"], "span");
        assert!(error["error"].as_str().unwrap().contains("minute, hour or day"), "{error}");
    }
    Ok(())
}

#[test]
fn latency_is_measured_over_both_protocols() -> Result<(), String> {
    let server = start(&[])?;
    let before = server.stats()?;
    assert!(before["latency"]["udp"].is_null(), "{before}");
    let mut client = udp::Client::connect(server.address(Ipv4Addr::LOCALHOST))?;
    let mut connection = server.connect()?;
    // One in eight is timed.
    for _ in 0..40 {
        client.announce(&announce(b'a'))?;
        connection.get(&announce_path('b'))?;
    }
    let count = |stats: &Value, protocol: &str| stats["latency"][protocol]["count"].as_u64();
    let stats = server
        .stats_when(|stats| count(stats, "udp") >= Some(5) && count(stats, "http") >= Some(3))?;
    for protocol in ["udp", "http"] {
        let micros = |name: &str| stats["latency"][protocol][name].as_u64().unwrap();
        let (p50, p99, p999) = (micros("p50_us"), micros("p99_us"), micros("p999_us"));
        assert!(0 < p50 && p50 <= p99 && p99 <= p999, "{stats}");
    }
    let first = count(&stats, "udp");
    for _ in 0..40 {
        client.announce(&announce(b'a'))?;
    }
    server.stats_when(|stats| count(stats, "udp") > first)?;
    wait_for("latency in the history", LIMIT, || {
        client.announce(&announce(b'a'))?;
        let minute = json(&server, "/history.json?span=minute")?;
        let seen = minute["series"]["latency_us"].as_array().unwrap().iter().any(Value::is_u64);
        Ok(if seen { Wait::Done(()) } else { Wait::NotYet(minute.to_string()) })
    })
}

#[test]
fn clients_are_told_by_their_peer_ids() -> Result<(), String> {
    let server = start(&[])?;
    let mut client = udp::Client::connect(server.address(Ipv4Addr::LOCALHOST))?;
    for (peer_id, times) in [(b"-TR4060-abcdefghijkl", 3), (b"-qB4650-abcdefghijkl", 5)] {
        for _ in 0..times {
            client.announce(&udp::Announce { peer_id: *peer_id, ..announce(b'a') })?;
        }
    }
    server.get(&announce_path('b'))?;
    let stats = server.stats_when(|stats| {
        let clients = stats["clients"].as_array().unwrap();
        clients.iter().map(|client| client["announces"].as_u64().unwrap()).sum::<u64>() == 9
    })?;
    let expected = serde_json::json!([
        { "prefix": "-qB4650", "name": "qBittorrent 4.6.5", "announces": 5 },
        { "prefix": "-TR4060", "name": "Transmission 4.0.6", "announces": 3 },
        { "prefix": "", "name": null, "announces": 1 },
    ]);
    assert_eq!(stats["clients"], expected);
    Ok(())
}

#[test]
fn largest_swarms_are_told_only_where_the_operator_allows_it() -> Result<(), String> {
    let server = start(&[])?;
    server.get(&announce_path('a'))?;
    assert!(server.stats_when(|stats| stats["swarms"] == 1)?["largest"].is_null());
    let allowed = [("PEERAGE__PAGES__LARGEST_SWARMS", "true")];
    let server = Server::start_with(Path::new(env!("CARGO_BIN_EXE_peerage")), &[], &allowed)?;
    assert_eq!(server.stats()?["largest"], serde_json::json!([]));
    let mut client = udp::Client::connect(server.address(Ipv4Addr::LOCALHOST))?;
    server.get(&announce_path('b'))?;
    for port in 1..=3 {
        client.announce(&udp::Announce { port, ..announce(b'a') })?;
    }
    let stats = server.stats_when(|stats| stats["largest"].as_array().unwrap().len() == 2)?;
    let expected = serde_json::json!([
        { "info_hash": "61".repeat(20), "seeders": 0, "leechers": 3, "completed": 0 },
        { "info_hash": "62".repeat(20), "seeders": 1, "leechers": 0, "completed": 0 },
    ]);
    assert_eq!(stats["largest"], expected);
    Ok(())
}

#[test]
fn interval_says_why_it_is_what_it_is() -> Result<(), String> {
    let server = start(&["--min-interval", "900", "--max-interval", "900"])?;
    let stats = server.stats()?;
    let interval = &stats["interval"];
    assert_eq!((&interval["min_secs"], &interval["max_secs"]), (&900.into(), &900.into()));
    assert_eq!(interval["why"], "fixed");
    let server = start(&["-a", "1000", "-i", "700"])?;
    server.stats_when(|stats| stats["interval"]["why"] == "moving_down")?;
    Ok(())
}
