//! The keys that llmpt's web server reads.

use std::time::{SystemTime, UNIX_EPOCH};

use peerage_testkit::redis::Redis;
use peerage_testkit::{Wait, wait_for};

use crate::node::{Node, SOON, Says, Way};

const LLMPT: [(&str, &str); 1] = [("PEERAGE__SHARED__LAYOUT", "llmpt")];

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

#[test]
fn swarms_are_in_the_keys_that_llmpt_reads() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let nodes = [Node::start_with(&redis.url(), &LLMPT)?, Node::start_with(&redis.url(), &LLMPT)?];
    nodes.iter().try_for_each(Node::await_connected)?;
    let before = now_secs();
    nodes[0].announce(Way::UdpV4, 0xab, 1000, Says::Leeching)?;
    nodes[1].announce(Way::HttpV6, 0xab, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(0xab, (0, 2, 0), SOON))?;
    nodes[0].announce(Way::UdpV4, 0xab, 1000, Says::Completed)?;
    nodes.iter().try_for_each(|node| node.await_counts(0xab, (1, 1, 1), SOON))?;
    let hash = "ab".repeat(20);
    let seeders = redis.ask(&["ZRANGE", &format!("tracker:seeders:{hash}"), "0", "-1"])?;
    let leechers = redis.ask(&["ZRANGE", &format!("tracker:leechers:{hash}"), "0", "-1"])?;
    assert_eq!((&*seeders, &*leechers), ("127.0.0.1:1000", "[::1]:1001"));
    // The score is when the peer last announced, to the steps of the store.
    let score = redis.ask(&["ZSCORE", &format!("tracker:seeders:{hash}"), "127.0.0.1:1000"])?;
    let score: u64 = score.parse().map_err(|_| format!("a score of {score}"))?;
    assert!((before - 4..=now_secs() + 4).contains(&score), "{score} at {before}");
    let stats = format!("tracker:stats:{hash}");
    let field = |name| redis.ask(&["HGET", &stats, name]);
    assert_eq!([field("seeders")?, field("leechers")?, field("completed")?], ["1", "1", "1"]);
    assert_eq!(redis.ask(&["SMEMBERS", "tracker:active_torrents"])?, hash);
    Ok(())
}

#[test]
fn quiet_seeder_outlives_the_interval_in_llmpts_keys() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    let node = Node::start_with(&redis.url(), &LLMPT)?;
    node.await_connected()?;
    node.announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    let key = format!("tracker:seeders:{}", "01".repeat(20));
    wait_for("seeder in Redis", SOON, || {
        let count = redis.ask(&["ZCARD", &key])?;
        Ok(if count == "1" { Wait::Done(()) } else { Wait::NotYet(count) })
    })?;
    // It is told half an hour and a minute at most, and may be a third late.
    let ttl: i64 = redis.ask(&["TTL", &key])?.parse().map_err(|_| "no number".to_owned())?;
    assert!(ttl > 1800 + 60 + 600, "the key expires after {ttl} s");
    Ok(())
}
