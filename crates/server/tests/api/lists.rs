//! Lists and swarms: what is forbidden is dropped at once and stays away over a restart.

use peerage_testkit::{Folder, Signal, http};
use serde_json::{Value, json};

use crate::client::{Tracker, start};

/// The info_hash that is 20 times `letter`, in hex.
fn hex(letter: char) -> String {
    format!("{:02x}", u32::from(letter)).repeat(20)
}

fn is_refused(tracker: &Tracker, letter: char) -> bool {
    tracker.announce(letter, 1).expect("a reply").contains("failure reason")
}

#[test]
fn denied_swarm_is_dropped_at_once_and_stays_away_over_a_restart() -> Result<(), String> {
    let mut tracker = Tracker::start(&[])?;
    for letter in ['a', 'b'] {
        assert!(!is_refused(&tracker, letter));
    }
    let one = json!({"added": 1, "removed": 0, "total": 1});
    let path = format!("/lists/deny/{}", hex('a'));
    let operator = tracker.tokens[1].clone();
    let reply = tracker.ask_as(&operator, "PUT", &path, "")?;
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).ok(), Some(one), "{}", reply.text());
    tracker.json("GET", &format!("/swarms/{}", hex('a')), "", 404);
    assert_eq!(tracker.json("GET", &format!("/swarms/{}", hex('b')), "", 200)["leechers"], 1);
    assert!(is_refused(&tracker, 'a') && !is_refused(&tracker, 'b'));
    tracker.server.log_line("deny list: 1 added, 0 removed by token \"operator\"")?;
    assert_eq!(tracker.server.stats_when(|stats| stats["lists"]["denied"] == 1)?["swarms"], 1);

    let tracker = tracker.restart(&[])?;
    assert!(is_refused(&tracker, 'a'));
    assert_eq!(tracker.json("DELETE", &path, "", 200)["removed"], 1);
    assert!(!is_refused(&tracker, 'a'));
    tracker.json("DELETE", &path, "", 404);
    let tracker = tracker.restart(&[])?;
    assert!(!is_refused(&tracker, 'a'));
    Ok(())
}

#[test]
fn first_allowed_swarm_forbids_all_others_and_the_last_one_allows_them_again() -> Result<(), String>
{
    let tracker = Tracker::start(&[])?;
    for letter in ['a', 'b', 'c'] {
        assert!(!is_refused(&tracker, letter));
    }
    let show = || tracker.json("GET", "/lists/allow", "", 200);
    assert_eq!(show(), json!({"entries": [], "total": 0, "next": null, "in_force": false}));
    let both = json!({"add": [hex('a'), hex('b').repeat(2)[..64]]}).to_string();
    assert_eq!(tracker.json("POST", "/lists/allow", &both, 200)["added"], 2);
    assert_eq!(show()["in_force"], true);
    assert!(is_refused(&tracker, 'c') && !is_refused(&tracker, 'a') && !is_refused(&tracker, 'b'));
    tracker.json("GET", &format!("/swarms/{}", hex('c')), "", 404);
    // Taken out again, it is dropped as well.
    tracker.json("DELETE", &format!("/lists/allow/{}", hex('b')), "", 200);
    tracker.json("GET", &format!("/swarms/{}", hex('b')), "", 404);
    tracker.json("POST", "/lists/allow", &json!({"remove": [hex('a')]}).to_string(), 200);
    assert!(!is_refused(&tracker, 'c'));
    // Unless an empty list is to allow nothing.
    tracker.json("PATCH", "/settings", r#"{"access.only_allowed": true}"#, 200);
    assert!(is_refused(&tracker, 'c') && is_refused(&tracker, 'a'));
    Ok(())
}

#[test]
fn list_is_shown_a_page_at_a_time_with_what_the_file_says() -> Result<(), String> {
    let folder = Folder::new("api-lists")?;
    let file = folder.write("deny.txt", &format!("{}\n{}\n", hex('d'), hex('b')))?;
    let data = Folder::new("api")?;
    let token = crate::client::make_token(&data, "owner", "admin")?;
    let config = folder.write("p.toml", &format!("[access]\ndeny = \"{file}\"\n"))?;
    let server = start(&data, &["-c", &config])?;
    let mut tracker = Tracker { server, tokens: [token.clone(), token.clone(), token], data };
    let add = json!({"add": [hex('a'), hex('c'), hex('b')]}).to_string();
    let done = tracker.json("POST", "/lists/deny", &add, 200);
    assert_eq!(done, json!({"added": 3, "removed": 0, "total": 4}));
    let (mut letters, mut after) = (Vec::new(), String::new());
    loop {
        let page = tracker.json("GET", &format!("/lists/deny?limit=3{after}"), "", 200);
        assert_eq!(page["total"], 4);
        letters.extend(page["entries"].as_array().expect("an array").clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(Value::from(letters), json!([hex('a'), hex('b'), hex('c'), hex('d')]));
    // What the operator wrote is the operator's to take out; added here as well, it stays.
    let refused = tracker.json("DELETE", &format!("/lists/deny/{}", hex('d')), "", 409);
    assert!(refused["error"].to_string().contains("access.deny"), "{refused}");
    tracker.json("DELETE", &format!("/lists/deny/{}", hex('b')), "", 200);
    assert!(is_refused(&tracker, 'b'));

    folder.write("deny.txt", "")?;
    tracker.server.process().signal(Signal::User1)?;
    tracker.server.log_line("lists: all allowed, 2 denied")?;
    assert!(!is_refused(&tracker, 'b') && is_refused(&tracker, 'a'));
    Ok(())
}

#[test]
fn what_is_wrong_with_a_list_is_named() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    for (method, path, body, status, field) in [
        ("GET", "/lists/block", "", 404, Value::Null),
        ("GET", "/lists/deny?limit=0", "", 422, json!("limit")),
        ("GET", "/lists/deny?limit=x", "", 422, json!("limit")),
        ("GET", "/lists/deny?after=zz", "", 422, json!("after")),
        ("PUT", "/lists/deny/zz", "", 422, json!("info_hash")),
        ("POST", "/lists/deny", r#"{"add": ["zz"]}"#, 422, json!("add")),
        ("POST", "/lists/deny", r#"{"more": []}"#, 422, json!("body")),
        ("POST", "/lists/deny", "", 400, Value::Null),
        ("DELETE", "/swarms/zz", "", 422, json!("info_hash")),
    ] {
        let reply = tracker.json(method, path, body, status);
        assert_eq!(reply["field"], field, "{method} {path} {body}");
    }
    Ok(())
}

#[test]
fn swarm_is_shown_and_dropped() -> Result<(), String> {
    let mut tracker = Tracker::start(&[])?;
    tracker.announce('s', 1)?;
    tracker.announce('s', 2)?;
    let path = format!("/swarms/{}", hex('s'));
    let swarm = json!({"info_hash": hex('s'), "seeders": 0, "leechers": 2, "paused": 0,
        "completed": 0, "peers_ipv4": 2, "peers_ipv6": 0});
    assert_eq!(tracker.json("GET", &path, "", 200), swarm);
    assert_eq!(tracker.ask("DELETE", &path, "")?.status, 204);
    tracker.json("DELETE", &path, "", 404);
    tracker.server.log_line("with 2 peers dropped by token \"owner\"")?;
    assert_eq!(tracker.server.scrape([b's'; 20])?.leechers, 0);
    Ok(())
}

#[test]
fn statistics_are_those_of_the_public_page() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    let stats = tracker.json("GET", "/stats", "", 200);
    let public = http::get(tracker.server.address(std::net::Ipv4Addr::LOCALHOST), "/stats.json")?;
    let public: Value = serde_json::from_slice(&public.body).expect("JSON");
    let keys = |value: &Value| value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&stats), keys(&public));
    Ok(())
}
