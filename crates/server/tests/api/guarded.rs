//! Whatever the OpenAPI document names is answered to the right token alone, and no secret is ever
//! written anywhere.

use std::collections::BTreeMap;
use std::fs;

use peerage_testkit::Folder;
use serde_json::Value;

use crate::client::{Tracker, ask, make_token};

/// Methods that a path may have in the document.
const METHODS: [&str; 6] = ["get", "head", "put", "post", "patch", "delete"];

/// A `.torrent` file.
const TORRENT: &str =
    "d4:infod6:lengthi3e4:name4:file12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";

/// What the document says of one method of one path.
struct Operation {
    /// In capitals.
    method: String,
    /// Below `/api/v1`, with values for what stands in braces.
    path: String,
    /// How many of the three tokens, from the smallest, are too small; `None` for no token.
    needs: Option<usize>,
    /// Something that could be meant.
    body: &'static str,
}

fn document(tracker: &Tracker) -> Value {
    let reply = ask(&tracker.server, "GET", "/openapi.json", &[], "").expect("a reply");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&reply.body).expect("it is JSON")
}

/// All that the document names.
fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("an object") {
        let below = path.strip_prefix("/api/v1").expect("all of it is there");
        let below = below
            .replace("{list}", "deny")
            .replace("{info_hash}", &"ab".repeat(20))
            .replace("{name}", "ann")
            .replace("{prefix}", "-XX")
            .replace("{id}", "00000000");
        assert!(!below.contains('{'), "{below}: a part that this test does not know");
        for (method, operation) in methods.as_object().expect("an object") {
            assert!(METHODS.contains(&method.as_str()), "{method}");
            let scope = &operation["security"][0]["token"][0];
            let scopes = ["read", "operate", "admin"];
            let needs = scopes.iter().position(|name| scope == name);
            let body = match (below.as_str(), method.as_str()) {
                ("/settings", "patch") => r#"{"announce.jitter": 1}"#,
                ("/tokens", "post") => r#"{"name": "guarded", "scope": "admin"}"#,
                ("/lists/deny", "post") => {
                    r#"{"add": ["abababababababababababababababababababab"]}"#
                }
                ("/users", "post") => r#"{"put": [{"name": "bob"}]}"#,
                ("/users", "patch") => r#"{"names": ["bob"], "set": {}}"#,
                ("/torrents" | "/clients" | "/freeleech/tokens", "post")
                | ("/users/ann" | "/freeleech", "put") => "{}",
                ("/torrents/file", "post") => TORRENT,
                ("/clients/-XX", "put") => r#"{"name": "it", "access": "deny"}"#,
                (path, "put") if path.starts_with("/torrents/") => "{}",
                (_, "get" | "put" | "delete") => "",
                other => panic!("{other:?}: a body that this test does not know"),
            };
            let method = method.to_uppercase();
            operations.push(Operation { method, path: below.clone(), needs, body });
        }
    }
    assert!(35 < operations.len(), "{}", operations.len());
    operations
}

/// What the tracker keeps: it must be the same after all that was refused.
fn kept(tracker: &Tracker) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(tracker.data.path()).expect("it is there");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("it is there");
        let content = fs::read(entry.path()).unwrap_or_default();
        (entry.file_name().to_string_lossy().into_owned(), content)
    };
    entries.map(file).collect()
}

#[test]
fn nothing_is_answered_without_the_right_token() -> Result<(), String> {
    let tracker = Tracker::start(&["--private"])?;
    let before = kept(&tracker);
    let admin = tracker.admin().to_owned();
    let elsewhere = Folder::new("elsewhere")?;
    let mut wrong_tokens = vec![
        String::new(),
        "x".to_owned(),
        admin[..admin.len() - 1].to_owned(),
        format!("{admin}0"),
        admin.to_uppercase(),
        admin.replace("_admin_", "_read_"),
        make_token(&elsewhere, "stranger", "admin")?,
    ];
    wrong_tokens.push(format!("\" {admin}"));
    for operation in operations(&document(&tracker)) {
        let Operation { method, path, needs, body } = &operation;
        let what = format!("{method} {path}");
        let Some(needs) = *needs else {
            assert_eq!(what, "GET /openapi.json", "this is not public");
            continue;
        };
        let mut refused = Vec::new();
        for token in &wrong_tokens {
            refused.push(tracker.ask_as(token, method, path, body)?);
        }
        let in_query = format!("{path}?token={admin}&access_token={admin}");
        for (path, header) in [
            (path, ("X-Nothing", "")),
            (&in_query, ("Cookie", admin.as_str())),
            (path, ("Authorization", &format!("Basic {admin}"))),
            (path, ("Authorization", &admin)),
        ] {
            refused.push(ask(&tracker.server, method, path, &[header], body)?);
        }
        for reply in refused {
            assert!([401, 429].contains(&reply.status), "{what}: {}", reply.text());
            let text = reply.text();
            assert!(text.starts_with(r#"{"error":""#) && text.len() < 100, "{what}: {text}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        for token in &tracker.tokens[..needs] {
            let reply = tracker.ask_as(token, method, path, body)?;
            assert_eq!(reply.status, 403, "{what}: {}", reply.text());
        }
        for method in ["HEAD", "OPTIONS", "TRACE", "PUT", "POST", "PATCH", "DELETE", "MADE-UP"] {
            let reply = ask(&tracker.server, method, path, &[], "")?;
            assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text());
        }
    }
    for path in ["/nothing", "/tokens/", "/settings/announce.jitter", "/lists", "/%2e%2e/tokens"] {
        let reply = ask(&tracker.server, "GET", path, &[], "")?;
        assert_eq!(reply.status, 401, "{path}: {}", reply.text());
        assert_eq!(tracker.ask("GET", path, "")?.status, 404, "{path}");
    }
    assert_eq!(kept(&tracker), before);
    Ok(())
}

#[test]
fn the_smallest_scope_that_is_named_is_enough() -> Result<(), String> {
    let tracker = Tracker::start(&["--private"])?;
    let mut statuses = Vec::new();
    let mut operations = operations(&document(&tracker));
    // What is asked for is made before, and gone after.
    operations.sort_by_key(|operation| match operation.method.as_str() {
        "POST" => 0,
        "DELETE" => 3,
        "PUT" => 1,
        _ => 2,
    });
    for operation in operations {
        let Operation { method, path, needs: Some(needs), body } = &operation else { continue };
        let reply = tracker.ask_as(&tracker.tokens[*needs], method, path, body)?;
        assert!([200, 201, 204, 404].contains(&reply.status), "{method} {path}: {}", reply.text());
        if reply.status == 404 {
            statuses.push(format!("{method} {path}"));
        }
    }
    // There is no such swarm and no such token, nor any more a member whose token it could be.
    let known = ["GET /swarms/", "DELETE /swarms/", "DELETE /tokens/", "DELETE /users/ann/"];
    let known = |what: &String| known.iter().any(|start| what.starts_with(start));
    assert!(statuses.iter().all(known), "{statuses:?}");
    Ok(())
}

#[test]
fn what_is_about_members_is_refused_where_there_are_none() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    let mut refused = 0;
    for Operation { method, path, body, .. } in operations(&document(&tracker)) {
        let of_members = ["/users", "/torrents", "/clients", "/freeleech"];
        if !of_members.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let reply = tracker.ask(&method, &path, body)?;
        assert_eq!(reply.status, 409, "{method} {path}: {}", reply.text());
        assert!(reply.text().contains("the tracker is open"), "{}", reply.text());
        refused += 1;
    }
    assert_eq!(refused, 22);
    Ok(())
}

#[test]
fn method_that_a_path_does_not_have_is_told_which_it_has() -> Result<(), String> {
    let tracker = Tracker::start(&[])?;
    let reply = tracker.ask("DELETE", "/settings", "")?;
    assert_eq!(reply.status, 405);
    let allowed = reply.header("allow").ok_or("no Allow")?;
    assert!(allowed.contains("GET") && allowed.contains("PATCH"), "{allowed}");
    assert!(reply.text().starts_with(r#"{"error":"#), "{}", reply.text());
    Ok(())
}

#[test]
fn no_secret_is_logged_or_printed_whatever_is_asked() -> Result<(), String> {
    let trace = Folder::new("trace")?;
    let config = trace.write("p.toml", "[log]\nlevel = \"trace\"\n")?;
    let mut tracker = Tracker::start(&["--private", "-c", &config])?;
    let mut secrets: Vec<String> = tracker.tokens.to_vec();
    let mut passkeys = Vec::new();
    for operation in operations(&document(&tracker)) {
        for token in tracker.tokens.clone() {
            let in_query = format!("{}?token={token}", operation.path);
            for path in [&operation.path, &in_query] {
                let reply = tracker.ask_as(&token, &operation.method, path, operation.body)?;
                let reply: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                secrets.extend(reply["token"].as_str().map(str::to_owned));
                let made = [&reply["passkey"], &reply["passkeys"][0]["passkey"]];
                passkeys.extend(made.into_iter().filter_map(Value::as_str).map(str::to_owned));
            }
        }
    }
    let guess = format!("peerage_admin_{}", "5".repeat(64));
    for _ in 0..12 {
        tracker.ask_as(&guess, "GET", "/session", "")?;
    }
    secrets.push(guess);
    assert_eq!(secrets.len(), 5, "three that were there, one that was made, one that was guessed");
    let key = fs::read_to_string(tracker.data.path().join("connection.key")).expect("it is kept");
    secrets.push(key.trim().to_owned());
    assert!(1 < passkeys.len(), "Ann's and Bob's");

    let (log, output) = (tracker.server.process().log(), tracker.server.process().output());
    assert!(log.contains("made, it allows admin"), "{log}");
    for secret in secrets.iter().chain(&passkeys) {
        let random = secret.rsplit('_').next().expect("it ends so");
        assert!(32 <= random.len());
        assert!(!log.contains(random) && !output.contains(random), "{random}: {output}\n{log}");
    }
    // Nor is the text of a token kept, in whatever file.
    for (name, content) in kept(&tracker) {
        let content = String::from_utf8_lossy(&content).into_owned();
        for secret in &secrets[..5] {
            let random = secret.rsplit('_').next().expect("it ends so");
            assert!(!content.contains(random), "{name}");
        }
    }
    Ok(())
}
