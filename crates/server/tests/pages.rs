//! The pages, and what they say about what the tracker has done.

mod harness;

use std::collections::BTreeSet;

use harness::{Tracker, announce_path, request};

#[test]
fn statistics_count_what_was_asked() {
    let tracker = Tracker::start(&["-f", "2", "--min-interval", "1799"]);
    assert_eq!(tracker.get(&announce_path('a')).status, 200);
    assert_eq!(tracker.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa").status, 200);
    assert_eq!(tracker.get("/scrape").status, 200);
    let udp = tracker.udp();
    udp.send(b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00abcd").unwrap();
    let mut reply = [0; 64];
    assert_eq!(udp.recv(&mut reply).unwrap(), 16);

    let stats = tracker.stats_when(|stats| stats["udp"]["ipv4"]["datagrams_in"] == 1);
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stats["failed"], 2);
    assert_eq!(stats["swarms"], 1);
    assert_eq!(stats["peers"]["total"], 1);
    assert_eq!(stats["peers"]["seeders"]["ipv4"], 1);
    assert_eq!(stats["requests"]["http"]["ipv4"]["announce"], 1);
    assert_eq!(stats["requests"]["udp"]["ipv4"]["connect"], 1);
    assert_eq!(stats["requests"]["udp"]["ipv6"]["connect"], 0);
    assert_eq!(stats["refusals"]["http"]["full_scrape"], 1);
    assert_eq!(stats["udp"]["ipv4"]["bytes_in"], 16);
    assert_eq!(stats["interval"]["now_secs"], 1799);
    assert!(stats["http"]["ipv4"]["accepted"].as_u64().unwrap() >= 4, "{stats}");
    assert!(stats["memory"]["swarms_bytes"].as_u64().unwrap() > 0, "{stats}");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let tracker = Tracker::start(&[]);
    assert_eq!(tracker.get(&announce_path('a')).status, 200);
    let reply = tracker.get("/metrics");
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    let text = reply.text();
    let mut series = BTreeSet::new();
    let mut metrics = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().into();
            assert!(metrics.insert(current.clone()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name == current || name.starts_with(&format!("{current}{{")), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name), "twice: {line}");
        }
    }
    let announces = "peerage_requests_total{protocol=\"http\",family=\"ipv4\",kind=\"announce\"} 1";
    assert!(text.lines().any(|line| line == announces), "{text}");
}

#[test]
fn front_page_names_the_announce_urls_of_the_host_that_was_asked() {
    let tracker = Tracker::start(&[]);
    let page = tracker.get("/");
    assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
    assert!(page.text().contains("http://tracker.test:1/announce"), "{}", page.text());
    let udp = format!("udp://tracker.test:{}/announce", tracker.port);
    assert!(page.text().contains(&udp), "{}", page.text());
}

#[test]
fn path_without_a_page_is_told_where_there_are_some() {
    let tracker = Tracker::start(&[]);
    let reply = tracker.get("/nothing/here?at=all");
    assert_eq!(reply.status, 404);
    assert!(reply.head.contains("content-type: text/plain"), "{}", reply.head);
    assert!(reply.text().contains("/announce"), "{}", reply.text());
}

#[test]
fn head_has_the_length_and_no_body() {
    let tracker = Tracker::start(&[]);
    let mut connection = tracker.connect();
    let reply = request(&mut connection, "HEAD", "/health");
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-length: 3\r\n"), "{}", reply.head);
    assert_eq!(request(&mut connection, "GET", "/health").text(), "OK\n");
    assert_eq!(request(&mut connection, "POST", "/health").status, 405);
}

#[test]
fn announce_after_a_page_on_the_same_connection_is_answered() {
    let tracker = Tracker::start(&[]);
    let mut connection = tracker.connect();
    assert_eq!(request(&mut connection, "GET", "/health").text(), "OK\n");
    let reply = request(&mut connection, "GET", &announce_path('a'));
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    let reply = request(&mut connection, "GET", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    let reply = request(&mut connection, "GET", "/announce?info_hash=a");
    assert!(reply.text().contains("14:failure reason"), "{}", reply.text());
    assert_eq!(request(&mut connection, "GET", "/health").text(), "OK\n");
}

#[test]
fn full_scrape_after_a_page_is_streamed() {
    let bind = ["--port", "0", "--bind", "127.0.0.1"];
    let tracker = Tracker::start_with(&bind, &[("PEERAGE__ANNOUNCE__FULL_SCRAPE", "true")]);
    for letter in ['a', 'b', 'c'] {
        tracker.get(&announce_path(letter));
    }
    let direct = tracker.get("/scrape").text();
    let mut connection = tracker.connect();
    assert_eq!(request(&mut connection, "GET", "/health").status, 200);
    let reply = request(&mut connection, "GET", "/scrape");
    assert_eq!(reply.text(), direct);
    assert_eq!(reply.text().matches("8:completei1e").count(), 3, "{}", reply.text());
    assert_eq!(request(&mut connection, "GET", "/health").status, 200);
}

#[test]
fn one_connection_too_many_is_told_to_come_later() {
    let bind = ["--port", "0", "--bind", "127.0.0.1"];
    let variables = [("PEERAGE__HTTP__PAGES_CONNECTIONS_MAX", "1")];
    let tracker = Tracker::start_with(&bind, &variables);
    let mut first = tracker.connect();
    assert_eq!(request(&mut first, "GET", "/health").status, 200);
    let reply = tracker.get("/health");
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    let stats = request(&mut first, "GET", "/stats.json").text();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["pages"]["turned_away"], 1);
    assert_eq!(stats["pages"]["open"], 1);
}

#[test]
fn without_keep_alive_each_connection_is_closed_after_its_reply() {
    let bind = ["--port", "0", "--bind", "127.0.0.1"];
    let tracker = Tracker::start_with(&bind, &[("PEERAGE__HTTP__KEEP_ALIVE", "false")]);
    for path in ["/health", &announce_path('a')] {
        let reply = tracker.get(path);
        assert!(reply.head.contains("connection: close"), "{path}: {}", reply.head);
    }
}
