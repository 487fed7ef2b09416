//! The pages, and what they say about what the tracker has done.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use peerage_testkit::http::Reply;
use peerage_testkit::{Folder, Server, udp};

fn start(flags: &[&str]) -> Result<Server, String> {
    Server::start(Path::new(env!("CARGO_BIN_EXE_peerage")), flags)
}

/// As [`start`], with a setting from the environment.
fn start_with(name: &str, value: &str) -> Result<Server, String> {
    Server::start_with(Path::new(env!("CARGO_BIN_EXE_peerage")), &[], &[(name, value)])
}

/// The path of an announce of a seeder for the swarm whose info_hash is 20 times `letter`.
fn announce_path(letter: char) -> String {
    let hash = String::from(letter).repeat(20);
    format!("/announce?info_hash={hash}&peer_id={hash}&port=6881&left=0&uploaded=0&downloaded=0")
}

#[track_caller]
fn check_type(reply: &Reply, start: &str) {
    let content_type = reply.header("content-type").expect("each page has a type");
    assert!(content_type.starts_with(start), "{content_type}");
}

#[test]
fn statistics_count_what_was_asked() -> Result<(), String> {
    let tracker = start(&["-f", "2", "--min-interval", "1799"])?;
    assert_eq!(tracker.get(&announce_path('a'))?.status, 200);
    assert_eq!(tracker.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa")?.status, 200);
    assert_eq!(tracker.get("/scrape")?.status, 200);
    udp::Client::connect(tracker.address(Ipv4Addr::LOCALHOST))?;

    let stats = tracker.stats_when(|stats| stats["udp"]["ipv4"]["datagrams_in"] == 1)?;
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
    Ok(())
}

#[test]
fn metrics_are_what_prometheus_reads() -> Result<(), String> {
    let tracker = start(&[])?;
    assert_eq!(tracker.get(&announce_path('a'))?.status, 200);
    let reply = tracker.get("/metrics")?;
    check_type(&reply, "text/plain; version=0.0.4");
    let text = reply.text();
    let mut series = BTreeSet::new();
    let mut metrics = BTreeSet::new();
    let (mut current, mut is_histogram) = (String::new(), false);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().into();
            assert!(metrics.insert(current.clone()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            is_histogram = kind == "histogram";
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let rest = name.strip_prefix(&current).unwrap_or("x");
            let parts: &[&str] = if is_histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            let part = rest.split('{').next().unwrap();
            assert!(parts.contains(&part), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name), "twice: {line}");
        }
    }
    let announces = "peerage_requests_total{protocol=\"http\",family=\"ipv4\",kind=\"announce\"} 1";
    assert!(text.lines().any(|line| line == announces), "{text}");
    Ok(())
}

#[test]
fn front_page_names_the_announce_urls_of_the_host_that_was_asked() -> Result<(), String> {
    let tracker = start(&[])?;
    let host = [("Host", "tracker.test:1")];
    let page = tracker.connect()?.request("GET", "/", &host, b"")?;
    check_type(&page, "text/html; charset=utf-8");
    assert!(page.text().contains("http://tracker.test:1/announce"), "{}", page.text());
    let udp = format!("udp://tracker.test:{}/announce", tracker.port());
    assert!(page.text().contains(&udp), "{}", page.text());
    Ok(())
}

#[test]
fn every_page_has_the_announce_urls_and_the_headers_that_guard_it() -> Result<(), String> {
    let tracker = start(&[])?;
    let mut connection = tracker.connect()?;
    for path in ["/", "/stats", "/stats.html", "/map.html", "/members.html", "/settings.html"] {
        let page = connection.get(path)?;
        assert_eq!(page.status, 200, "{path}");
        check_type(&page, "text/html");
        let url = format!("<code>http://127.0.0.1:{}/announce</code>", tracker.port());
        assert!(page.text().contains(&url), "{path}: {}", page.text());
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path} {name}");
        }
        let etag = page.header("etag").expect("a tag");
        let again = connection.request("GET", path, &[("If-None-Match", etag)], b"")?;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    Ok(())
}

#[test]
fn document_has_neither_script_nor_style_in_it() -> Result<(), String> {
    let text = start(&[])?.get("/")?.text();
    for script in text.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').expect("it is closed");
        assert!(tag.contains(" src=\"/") && rest.starts_with("</script>"), "{script}");
    }
    assert!(!text.contains("<style") && !text.contains(" style="), "{text}");
    Ok(())
}

/// The files that the document loads at once.
fn files(document: &str) -> Vec<String> {
    let values = |name| document.split(name).skip(1).filter_map(|rest| rest.split_once('"'));
    let files = values(" src=\"").chain(values(" href=\"")).map(|(path, _)| path.to_owned());
    files.filter(|path| path.starts_with("/assets/")).collect()
}

#[test]
fn file_with_a_hash_is_kept_for_good_and_travels_as_gzip() -> Result<(), String> {
    let tracker = start(&[])?;
    let mut connection = tracker.connect()?;
    let files = files(&connection.get("/")?.text());
    assert!(files.iter().any(|path| path.ends_with(".js")), "{files:?}");
    assert!(files.iter().any(|path| path.ends_with(".css")), "{files:?}");
    for path in files {
        let plain = connection.get(&path)?;
        let cache = plain.header("cache-control").expect("it says how long");
        assert!(cache.contains("immutable"), "{path}: {cache}");
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert_eq!(plain.header("vary"), Some("accept-encoding"), "{path}");
        let gzip = [("Accept-Encoding", "gzip, deflate, br")];
        let small = connection.request("GET", &path, &gzip, b"")?;
        assert_eq!(small.header("content-encoding"), Some("gzip"), "{path}");
        assert!(small.body.starts_with(b"\x1f\x8b") && small.body.len() < plain.body.len());
        let etag = small.header("etag").expect("a tag");
        let again = connection.request("GET", &path, &[("If-None-Match", etag)], b"")?;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let head = connection.request("HEAD", &path, &[], b"")?;
        let length = plain.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
    }
    Ok(())
}

#[test]
fn file_without_a_hash_is_asked_for_again() -> Result<(), String> {
    let tracker = start(&[])?;
    for (path, content_type) in [
        ("/before.js", "text/javascript"),
        ("/favicon.svg", "image/svg+xml"),
        ("/robots.txt", "text/plain"),
    ] {
        let reply = tracker.get(path)?;
        assert_eq!(reply.status, 200, "{path}");
        check_type(&reply, content_type);
        assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
    }
    for path in ["/index.html", "/assets/", "/assets/../Cargo.toml", "/assets/none.js"] {
        assert_eq!(tracker.get(path)?.status, 404, "{path}");
    }
    Ok(())
}

#[test]
fn configuration_of_the_pages_is_public_and_says_what_there_is() -> Result<(), String> {
    let tracker = start(&["--locale", "ru_RU.UTF-8"])?;
    let host = [("Host", "[::1]:80")];
    let reply = tracker.connect()?.request("GET", "/config.json", &host, b"")?;
    check_type(&reply, "application/json");
    let config: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
    assert_eq!(config["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["locale"], "ru_RU.UTF-8");
    assert_eq!(config["locales"], serde_json::json!(["en", "zh-CN", "ru"]));
    let udp = format!("udp://[::1]:{}/announce", tracker.port());
    assert_eq!(config["announce_urls"], serde_json::json!([udp, "http://[::1]:80/announce"]));
    let config = start(&[])?.get("/config.json")?.text();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert!(config["locale"].is_null(), "{config}");
    assert_eq!(config["pages"]["members"], false, "{config}");
    let folder = Folder::new("pages")?;
    let data = folder.path().to_str().ok_or("the path is UTF-8")?;
    let config = start(&["--private", "--data-dir", data])?.get("/config.json")?.text();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["mode"], &config["pages"]["members"]), (&"private".into(), &true.into()));
    assert!(config["announce_urls"][1].as_str().unwrap().ends_with("/PASSKEY/announce"));
    Ok(())
}

#[test]
fn path_without_a_page_is_told_where_there_are_some() -> Result<(), String> {
    let tracker = start(&[])?;
    let reply = tracker.get("/nothing/here?at=all")?;
    assert_eq!(reply.status, 404);
    check_type(&reply, "text/plain");
    assert!(reply.text().contains("/announce"), "{}", reply.text());
    Ok(())
}

#[test]
fn head_has_the_length_and_no_body() -> Result<(), String> {
    let tracker = start(&[])?;
    let mut connection = tracker.connect()?;
    let reply = connection.request("HEAD", "/health", &[], b"")?;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), Some("3"));
    assert_eq!(connection.get("/health")?.text(), "OK\n");
    assert_eq!(connection.request("POST", "/health", &[], b"")?.status, 405);
    Ok(())
}

#[test]
fn announce_after_a_page_on_the_same_connection_is_answered() -> Result<(), String> {
    let tracker = start(&[])?;
    let mut connection = tracker.connect()?;
    assert_eq!(connection.get("/health")?.text(), "OK\n");
    let reply = connection.get(&announce_path('a'))?;
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    let reply = connection.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa")?;
    assert!(reply.text().contains("8:completei1e"), "{}", reply.text());
    let reply = connection.get("/announce?info_hash=a")?;
    assert!(reply.text().contains("14:failure reason"), "{}", reply.text());
    assert_eq!(connection.get("/health")?.text(), "OK\n");
    Ok(())
}

#[test]
fn full_scrape_after_a_page_is_streamed() -> Result<(), String> {
    let tracker = start_with("PEERAGE__ANNOUNCE__FULL_SCRAPE", "true")?;
    for letter in ['a', 'b', 'c'] {
        tracker.get(&announce_path(letter))?;
    }
    let direct = tracker.get("/scrape")?.text();
    let mut connection = tracker.connect()?;
    assert_eq!(connection.get("/health")?.status, 200);
    let reply = connection.get("/scrape")?;
    assert_eq!(reply.text(), direct);
    assert_eq!(reply.text().matches("8:completei1e").count(), 3, "{}", reply.text());
    assert_eq!(connection.get("/health")?.status, 200);
    Ok(())
}

#[test]
fn one_connection_too_many_is_told_to_come_later() -> Result<(), String> {
    let tracker = start_with("PEERAGE__HTTP__PAGES_CONNECTIONS_MAX", "1")?;
    let mut first = tracker.connect()?;
    assert_eq!(first.get("/health")?.status, 200);
    let reply = tracker.get("/health")?;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    let stats = first.get("/stats.json")?.text();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["pages"]["turned_away"], 1);
    assert_eq!(stats["pages"]["open"], 1);
    Ok(())
}

#[test]
fn without_keep_alive_each_connection_is_closed_after_its_reply() -> Result<(), String> {
    let tracker = start_with("PEERAGE__HTTP__KEEP_ALIVE", "false")?;
    for path in ["/health", &announce_path('a')] {
        let reply = tracker.get(path)?;
        assert_eq!(reply.header("connection"), Some("close"), "{path}");
    }
    Ok(())
}
