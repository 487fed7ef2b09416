//! Members, torrents, clients and freeleech by the API: in force at once, in the database first,
//! and all of a request or nothing of it.

use std::time::Duration;

use peerage_testkit::{GazelleTables, MariaDb, Server, SqlMode, Wait, wait_for};
use serde_json::{Value, json};

use crate::client::{Tracker, program};

/// How long a flush, due every second, may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const HASH: &str = "6161616161616161616161616161616161616161";

fn private() -> Tracker {
    let settings = "[private]\nenabled = true\nearly = 0\n[database]\nflush_interval = 1\n";
    private_with(settings)
}

fn private_with(settings: &str) -> Tracker {
    let folder = peerage_testkit::Folder::new("private").expect("a temporary folder");
    let file = folder.write("p.toml", settings).expect("it is written");
    Tracker::start(&["-c", &file]).expect("it starts")
}

/// An announce of [`HASH`]; the reply as text.
#[track_caller]
fn announce(server: &Server, passkey: &str, more: &str) -> String {
    let (hash, peer_id) = ("a".repeat(20), "-TR4060-000000000000");
    let target =
        format!("/{passkey}/announce?info_hash={hash}&peer_id={peer_id}&port=6881&compact=1{more}");
    server.get(&target).expect("it answers").body.escape_ascii().to_string()
}

const STARTED: &str = "&uploaded=0&downloaded=0&left=100&event=started";

/// Makes a member; the passkey.
#[track_caller]
fn make(tracker: &Tracker, name: &str) -> String {
    let user = tracker.json("PUT", &format!("/users/{name}"), "{}", 201);
    user["passkey"].as_str().expect("who makes one is told").to_owned()
}

/// Waits until all that was announced is written.
fn wait_until_written(server: &Server) -> Value {
    let written = wait_for("a flush", LIMIT, || {
        let private = server.stats()?["private"].clone();
        let is_written = private["rows_written"].as_u64() > Some(0) && private["rows_waiting"] == 0;
        Ok(if is_written { Wait::Done(private) } else { Wait::NotYet(private.to_string()) })
    });
    written.expect("it is written")
}

#[test]
fn what_is_put_in_announces_at_once_and_is_read_never_again() {
    let mut tracker = private();
    let passkey = make(&tracker, "ann%20O'B%2Frien");
    assert!(announce(&tracker.server, &passkey, STARTED).contains("Unregistered"));
    let torrent = tracker.json("PUT", &format!("/torrents/{HASH}"), r#"{"name": "x"}"#, 201);
    assert_eq!((&torrent["name"], &torrent["pricing"]), (&json!("x"), &json!("normal")));
    assert!(announce(&tracker.server, &passkey, STARTED).contains("10:incompletei1e"));
    let more = "&uploaded=7&downloaded=90&left=10";
    announce(&tracker.server, &passkey, more);
    let user = tracker.json("GET", "/users/ann%20O'B%2Frien", "", 200);
    assert_eq!(user["name"], "ann O'B/rien");
    let figures = ["leeching", "seeding", "uploaded", "downloaded"].map(|name| &user[name]);
    assert_eq!(figures, [1, 0, 7, 90].map(|figure| json!(figure)).each_ref());
    let shown = tracker.json("GET", &format!("/torrents/{HASH}"), "", 200);
    assert_eq!((&shown["torrent"]["leechers"], &shown["leeching"]), (&json!(1), &json!([1])));

    let private = wait_until_written(&tracker.server);
    assert_eq!((&private["online"], &private["members"]), (&json!(1), &json!(1)));
    assert_eq!(private["credited"], json!({"uploaded": 7, "downloaded": 90}));
    assert_eq!(
        (&private["tables"], &private["database"]["state"]),
        (&"peerage".into(), &"well".into())
    );
    let user = tracker.json("GET", "/users/ann%20O'B%2Frien", "", 200);
    assert_eq!((&user["uploaded"], &user["downloaded"]), (&json!(7), &json!(90)));
    let log = tracker.server.process().log();
    assert_eq!(log.matches("loaded: ").count(), 1, "{log}");

    tracker.json("PUT", "/users/ann%20O'B%2Frien", r#"{"enabled": false}"#, 200);
    assert!(announce(&tracker.server, &passkey, more).contains("Passkey not found"));
    tracker.json("PUT", "/users/ann%20O'B%2Frien", r#"{"enabled": true}"#, 200);
    assert_eq!(
        tracker.ask("DELETE", &format!("/torrents/{HASH}"), "").expect("it answers").status,
        204
    );
    assert!(announce(&tracker.server, &passkey, more).contains("Unregistered"));
    tracker.json("DELETE", &format!("/torrents/{HASH}"), "", 404);
}

#[test]
fn what_is_put_in_outlasts_a_restart_and_what_the_command_line_does_is_seen() {
    let flags = ["--private"];
    let tracker = Tracker::start(&flags).expect("it starts");
    let passkey = make(&tracker, "ann");
    tracker.json("PUT", &format!("/torrents/{HASH}"), "{}", 201);
    let body = r#"{"name": "a client", "access": "allow"}"#;
    tracker.json("PUT", "/clients/-TR", body, 200);
    let tracker = tracker.restart(&flags).expect("it starts again");
    assert!(announce(&tracker.server, &passkey, STARTED).contains("10:incompletei1e"));
    let clients = tracker.json("GET", "/clients", "", 200);
    let client = json!({"prefix": "-TR", "name": "a client", "access": "allow"});
    assert_eq!(clients, json!({"clients": [client]}));
    let data = tracker.data.path().to_str().expect("it is UTF-8");
    let arguments = ["--data-dir", data, "user", "set", "ann", "--enabled", "no"];
    let ended = peerage_testkit::run(program(), &arguments, &[]).expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let seen = wait_for("the change", LIMIT, || {
        let reply = announce(&tracker.server, &passkey, "&uploaded=0&downloaded=0&left=100");
        let is_out = reply.contains("Passkey not found");
        Ok(if is_out { Wait::Done(()) } else { Wait::NotYet(reply) })
    });
    seen.expect("it is read again with the next flush");
}

#[test]
fn bulk_is_done_as_a_whole_or_not_at_all() {
    let tracker = private();
    let key = |letter: &str| letter.repeat(32);
    let put = json!({"put": [
        {"name": "ann", "set": {"passkey": key("a"), "download_slots": 3}},
        {"name": "bob", "set": {"passkey": key("b")}},
    ]});
    let made = tracker.json("POST", "/users", &put.to_string(), 200);
    assert_eq!((&made["added"], &made["changed"]), (&json!(2), &json!(0)));
    assert_eq!(made["passkeys"][1], json!({"name": "bob", "passkey": key("b")}));
    let again = tracker.json("POST", "/users", &put.to_string(), 200);
    let nothing = json!({"added": 0, "changed": 0, "removed": 0, "passkeys": []});
    assert_eq!(again, nothing, "the same once more changes nothing");

    let before = tracker.json("GET", "/users", "", 200);
    let wrong = |body: Value, status: u16, field: &str| {
        let refused = tracker.json("POST", "/users", &body.to_string(), status);
        assert_eq!(refused["field"], field, "{refused}");
    };
    let carl = json!({"name": "carl", "set": {}});
    wrong(
        json!({"put": [carl, {"name": "dan", "set": {"passkey": key("b")}}]}),
        409,
        "put[1].set.passkey",
    );
    wrong(
        json!({"put": [carl, {"name": "dan", "set": {"passkey": "short"}}]}),
        422,
        "put[1].set.passkey",
    );
    wrong(json!({"put": [carl, {"name": "", "set": {}}]}), 422, "put[1].name");
    wrong(
        json!({"put": [carl, {"name": "ann", "set": {"rename": "bob"}}]}),
        409,
        "put[1].set.rename",
    );
    wrong(json!({"put": [carl], "remove": ["carl"]}), 422, "put");
    wrong(json!({"put": [{"name": "x", "set": {"slots": 1}}]}), 422, "body");
    let many: Vec<_> = (0..1001).map(|number| json!({"name": format!("u{number}")})).collect();
    wrong(json!({"put": many}), 422, "put");
    let reply = tracker.ask("POST", "/users", &"x".repeat((1 << 20) + 1)).expect("it answers");
    assert_eq!(reply.status, 413);
    assert_eq!(tracker.json("GET", "/users", "", 200), before);

    let carl = json!({"name": "carl", "set": {"passkey": key("b")}});
    let swap = json!({"put": [carl], "remove": ["bob", "nobody"]});
    let changed = tracker.json("POST", "/users", &swap.to_string(), 200);
    assert_eq!((&changed["added"], &changed["removed"]), (&json!(1), &json!(1)));
    let set = r#"{"names": ["ann", "carl"], "set": {"download_slots": null, "can_leech": false}}"#;
    assert_eq!(tracker.json("PATCH", "/users", set, 200)["changed"], 2);
    let users = tracker.json("GET", "/users", "", 200);
    for user in users["users"].as_array().expect("an array") {
        assert_eq!((&user["can_leech"], &user["download_slots"]), (&json!(false), &Value::Null));
    }
    let set = r#"{"names": ["ann", "nobody"], "set": {"can_leech": true}}"#;
    assert_eq!(tracker.json("PATCH", "/users", set, 422)["field"], "names[1]");
    assert_eq!(tracker.json("GET", "/users/ann", "", 200)["can_leech"], false);
}

#[test]
fn torrents_are_put_in_and_taken_out_together_and_by_their_file() {
    let tracker = private();
    let (other, third) = ("62".repeat(20), "63".repeat(20));
    let put = json!({"put": [
        {"info_hash": HASH, "set": {"name": "one", "pricing": "free"}},
        {"info_hash": other, "set": {"name": "Two %_!", "double_upload": true}},
    ]});
    assert_eq!(tracker.json("POST", "/torrents", &put.to_string(), 200)["added"], 2);
    let wrong = json!({"put": [{"info_hash": third}, {"info_hash": "63"}]});
    let refused = tracker.json("POST", "/torrents", &wrong.to_string(), 422);
    assert_eq!(refused["field"], "put[1].info_hash");
    let wrong = json!({"put": [{"info_hash": third}, {"info_hash": HASH, "set": {"name": "\n"}}]});
    let refused = tracker.json("POST", "/torrents", &wrong.to_string(), 422);
    assert_eq!(refused["field"], "put[1].set.name");
    tracker.json("GET", &format!("/torrents/{third}"), "", 404);

    let page = tracker.json("GET", "/torrents?limit=1", "", 200);
    assert_eq!((&page["torrents"][0]["name"], &page["next"]), (&json!("one"), &json!(1)));
    let page = tracker.json("GET", "/torrents?limit=2&after=1", "", 200);
    assert_eq!((&page["torrents"][0]["info_hash"], &page["next"]), (&json!(other), &Value::Null));
    for (like, found) in [("TWO", 1), ("%25_!", 1), ("%25%25", 0), ("n", 1), ("", 2)] {
        let page = tracker.json("GET", &format!("/torrents?like={like}"), "", 200);
        assert_eq!(page["torrents"].as_array().map(Vec::len), Some(found), "{like}");
    }
    tracker.json("GET", "/torrents?limit=0", "", 422);

    let info = "d6:lengthi3e4:name4:file12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let file = format!("d4:info{info}e");
    let torrent = tracker.json("POST", "/torrents/file", &file, 201);
    // Of `info`, by another program.
    assert_eq!(torrent["info_hash"], "3c0f0d7588f502aefd1110d14842812a485a9091");
    assert_eq!(torrent["name"], "file");
    tracker.json("POST", "/torrents/file", &file, 200);
    assert_eq!(tracker.json("POST", "/torrents/file", "d4:infoe", 422)["field"], "body");
    let remove = json!({"remove": [HASH, other, third]});
    assert_eq!(tracker.json("POST", "/torrents", &remove.to_string(), 200)["removed"], 2);
}

#[test]
fn clients_are_kept_out_and_let_in_at_once() {
    let tracker = private();
    let passkey = make(&tracker, "ann");
    tracker.json("PUT", &format!("/torrents/{HASH}"), "{}", 201);
    let is_let_in = || announce(&tracker.server, &passkey, STARTED).contains("10:incomplete");
    assert!(is_let_in());
    tracker.json("PUT", "/clients/-TR4", r#"{"name": "it", "access": "deny"}"#, 200);
    assert!(!is_let_in());
    let put = json!({
        "put": [{"prefix": "-qB", "set": {"name": "another", "access": "allow"}}],
        "remove": ["-TR4"],
    });
    let changed = tracker.json("POST", "/clients", &put.to_string(), 200);
    assert_eq!(changed, json!({"put": 1, "removed": 1}));
    assert!(!is_let_in(), "another is allowed alone");
    assert_eq!(tracker.ask("DELETE", "/clients/-qB", "").expect("it answers").status, 204);
    assert!(is_let_in(), "without a list all are");
    tracker.json("DELETE", "/clients/-qB", "", 404);
    let wrong = json!({"put": [{"prefix": "ü", "set": {"name": "x", "access": "deny"}}]});
    let refused = tracker.json("POST", "/clients", &wrong.to_string(), 422);
    assert_eq!(refused["field"], "put[0].prefix");
}

#[test]
fn what_transfer_costs_is_changed_for_everybody_and_by_tokens() {
    let tracker = private();
    let passkey = make(&tracker, "ann");
    tracker.json("PUT", &format!("/torrents/{HASH}"), "{}", 201);
    announce(&tracker.server, &passkey, STARTED);
    let mut downloaded = 0;
    let mut charged = || {
        downloaded += 10;
        let more = format!("&uploaded=0&downloaded={downloaded}&left=1000");
        announce(&tracker.server, &passkey, &more);
        tracker.json("GET", "/users/ann", "", 200)["downloaded"].as_u64().expect("a number")
    };
    let free = |pricing: &str| {
        let body = format!(r#"{{"pricing": "{pricing}"}}"#);
        let reply = tracker.json("PUT", "/freeleech", &body, 200);
        assert_eq!(reply, json!({"pricing": pricing, "double_upload": false}));
    };
    assert_eq!(charged(), 10);
    free("free");
    assert_eq!(charged(), 10, "it was free");
    free("normal");
    assert_eq!(charged(), 20);

    let token = format!("/users/ann/freeleech/{HASH}");
    assert_eq!(tracker.ask("PUT", &token, "").expect("it answers").status, 204);
    assert_eq!(charged(), 20, "the token paid");
    let tokens = tracker.json("GET", "/users/ann/freeleech", "", 200);
    assert_eq!(
        (&tokens["tokens"][0]["info_hash"], &tokens["tokens"][0]["used_up"]),
        (&json!(HASH), &json!(false))
    );
    assert_eq!(tracker.ask("DELETE", &token, "").expect("it answers").status, 204);
    tracker.json("DELETE", &token, "", 404);
    assert_eq!(charged(), 30);
    let of = |user: &str| json!({"user": user, "info_hash": HASH});
    let both = json!({"put": [of("ann")], "remove": [of("x")]});
    let changed = tracker.json("POST", "/freeleech/tokens", &both.to_string(), 200);
    assert_eq!(changed, json!({"put": 1, "removed": 0}));
    assert_eq!(charged(), 30);
    let wrong = json!({"put": [{"user": "x", "info_hash": HASH}]});
    let refused = tracker.json("POST", "/freeleech/tokens", &wrong.to_string(), 422);
    assert_eq!(refused["field"], "put[0].user");

    tracker.json("PUT", "/users/ann", r#"{"free_leech": true}"#, 200);
    tracker.json("PUT", &format!("/torrents/{HASH}"), r#"{"pricing": "neutral"}"#, 200);
    assert_eq!(charged(), 30);
    free("free");
    let tracker = tracker.restart(&["--private"]).expect("it starts again");
    assert_eq!(tracker.json("GET", "/freeleech", "", 200)["pricing"], "free", "it is kept");
}

#[test]
fn passkeys_are_shown_to_those_who_may_see_them() {
    let tracker = private();
    let [read, operate, admin] = tracker.tokens.each_ref();
    let ask = |token: &String, method: &str, path: &str, body: &str| -> Value {
        let reply = tracker.ask_as(token, method, path, body).expect("it answers");
        serde_json::from_slice(&reply.body).expect("it is JSON")
    };
    let made = ask(operate, "PUT", "/users/ann", "{}");
    let passkey = made["passkey"].as_str().expect("who makes one is told");
    assert_eq!(
        ask(operate, "PUT", "/users/ann", r#"{"can_leech": false}"#)["passkey"],
        Value::Null
    );
    for token in [read, operate] {
        assert_eq!(ask(token, "GET", "/users/ann", "")["passkey"], Value::Null);
        assert_eq!(ask(token, "GET", "/users", "")["users"][0]["passkey"], Value::Null);
    }
    assert_eq!(ask(admin, "GET", "/users/ann", "")["passkey"], passkey);
    assert_eq!(ask(admin, "GET", "/users", "")["users"][0]["passkey"], passkey);
    let renewed = ask(operate, "PUT", "/users/ann", r#"{"new_passkey": true, "rename": "anna"}"#);
    assert_ne!(renewed["passkey"], passkey);
    assert!(renewed["passkey"].is_string(), "{renewed}");
    assert_eq!(ask(admin, "GET", "/users/anna", "")["passkey"], renewed["passkey"]);
}

#[test]
fn tables_of_a_site_are_the_sites_to_change() {
    let database = MariaDb::start(SqlMode::Loose).expect("MariaDB starts");
    database.make_gazelle(GazelleTables::WhatCd).expect("the tables are made");
    let settings = format!(
        "[private]\nenabled = true\n[database]\nurl = \"{}\"\n[gazelle]\nsite_password = \"{}\"\n",
        database.url(),
        "s".repeat(32),
    );
    let tracker = private_with(&settings);
    for (method, path) in [("PUT", "/users/ann"), ("GET", "/users"), ("POST", "/torrents")] {
        let refused = tracker.json(method, path, if method == "GET" { "" } else { "{}" }, 409);
        assert!(refused["error"].as_str().expect("a text").contains("Gazelle"), "{refused}");
    }
    assert_eq!(tracker.server.stats().expect("it answers")["private"]["tables"], "gazelle");
    assert_eq!(tracker.json("GET", "/freeleech", "", 200)["pricing"], "normal");
}

#[test]
fn tables_that_are_not_to_be_written_are_looked_at() {
    let tracker = private();
    make(&tracker, "ann");
    let folder = peerage_testkit::Folder::new("readonly").expect("a temporary folder");
    let settings = "[private]\nenabled = true\n[database]\nreadonly = true\n";
    let file = folder.write("p.toml", settings).expect("it is written");
    let tracker = tracker.restart(&["-c", &file]).expect("it starts again");
    assert_eq!(tracker.json("GET", "/users/ann", "", 200)["name"], "ann");
    let refused = tracker.json("PUT", "/users/bob", "{}", 409);
    assert!(refused["error"].as_str().expect("a text").contains("database.readonly"), "{refused}");
}
