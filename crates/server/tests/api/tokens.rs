//! Tokens: the first one, those made beside the running tracker, and what is refused without.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use peerage_testkit::{Folder, Server, Wait, wait_for};
use serde_json::json;

use crate::client::{Tracker, ask, make_token, program, start, token_command};

const LIMIT: Duration = Duration::from_secs(30);

/// The token in what the tracker has printed.
fn printed_token(server: &mut Server) -> Result<String, String> {
    let output = server.process().output();
    let mut lines = output.lines();
    let token = lines.find_map(|line| line.strip_prefix("admin token, shown this once: "));
    token.map(str::to_owned).ok_or(output)
}

fn status(server: &Server, headers: &[(&str, &str)]) -> Result<u16, String> {
    Ok(ask(server, "GET", "/session", headers, "")?.status)
}

#[test]
fn first_token_is_printed_once_after_ready_and_only_its_hash_is_kept() -> Result<(), String> {
    let data = Folder::new("api")?;
    let mut server = start(&data, &[])?;
    assert_eq!(server.lines().last().map(String::as_str), Some("ready"));
    let token = printed_token(&mut server)?;
    let reply =
        ask(&server, "GET", "/session", &[("Authorization", &format!("Bearer {token}"))], "")?;
    let session: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(session, json!({"name": "first", "scope": "admin"}));
    assert!(!server.process().log().contains(&token));
    server.stop()?;

    let file = data.path().join("tokens.toml");
    assert_eq!(fs::metadata(&file).expect("it is kept").permissions().mode() & 0o777, 0o600);
    let random = token.rsplit('_').next().expect("it ends so");
    assert!(!fs::read_to_string(&file).expect("it is text").contains(random));
    let mut again = start(&data, &[])?;
    assert!(printed_token(&mut again).is_err());
    assert_eq!(status(&again, &[("Authorization", &format!("bearer {token}"))])?, 200);
    Ok(())
}

#[test]
fn without_a_data_folder_the_api_is_off_and_says_how_to_turn_it_on() -> Result<(), String> {
    let mut server = Server::start(program(), &[])?;
    for path in ["/session", "/settings", "/nothing"] {
        let reply = ask(&server, "GET", path, &[("Authorization", "Bearer x")], "")?;
        assert_eq!(reply.status, 404);
        assert!(reply.text().contains("process.data_dir"), "{}", reply.text());
    }
    assert!(printed_token(&mut server).is_err());
    Ok(())
}

#[test]
fn tokens_are_made_listed_and_removed_beside_the_running_tracker() -> Result<(), String> {
    let data = Folder::new("api")?;
    let server = start(&data, &[])?;
    let token = make_token(&data, "beside", "operate")?;
    assert!(token.starts_with("peerage_operate_"), "{token}");
    let authorization = format!("Bearer {token}");
    let comes_to = |wanted: u16| {
        wait_for("the tokens to be read again", LIMIT, || {
            let found = status(&server, &[("Authorization", &authorization)])?;
            // Who asks again and again with a token that is none is told to wait.
            let found = if found == 429 { 401 } else { found };
            Ok(if found == wanted { Wait::Done(()) } else { Wait::NotYet(found.to_string()) })
        })
    };
    comes_to(200)?;

    let listed = token_command(&data, &["list"])?.stdout;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let line = listed.lines().find(|line| line.ends_with(" operate beside")).ok_or(&listed)?;
    assert!(!listed.contains(&token), "{listed}");
    let id = line.split(' ').next().expect("it begins so");
    assert_eq!(token_command(&data, &["remove", id])?.code, Some(0));
    comes_to(401)
}

#[test]
fn token_command_says_what_is_wrong() -> Result<(), String> {
    let data = Folder::new("api")?;
    make_token(&data, "a", "read")?;
    for (arguments, what) in [
        (&["add", "a"][..], "there is a token named \"a\" already"),
        (&["add", ""], "must be a text of 1 to 64 characters"),
        (&["remove", "zz"], "there is no token with the id \"zz\""),
        (&["add", "b", "--scope", "root"], "read, operate, admin"),
    ] {
        let ended = token_command(&data, arguments)?;
        assert!(ended.code != Some(0) && ended.stderr.contains(what), "{arguments:?} {ended:?}");
    }
    let ended = peerage_testkit::run(program(), &["token", "list"], &[])?;
    assert!(ended.code == Some(1) && ended.stderr.contains("process.data_dir"), "{ended:?}");
    Ok(())
}

#[test]
fn tokens_are_made_and_removed_through_the_api() -> Result<(), String> {
    let mut tracker = Tracker::start(&[])?;
    let made = tracker.json("POST", "/tokens", r#"{"name": "new", "scope": "read"}"#, 201);
    let token = made["token"].as_str().expect("it is shown").to_owned();
    assert_eq!(tracker.ask_as(&token, "GET", "/session", "")?.status, 200);
    let listed = tracker.json("GET", "/tokens", "", 200);
    assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(4), "{listed}");
    assert!(!listed.to_string().contains(&token), "{listed}");
    for (body, status) in [
        (r#"{"name": "new", "scope": "read"}"#, 409),
        (r#"{"name": "", "scope": "read"}"#, 422),
        (r#"{"name": "x", "scope": "root"}"#, 422),
        (r#"{"name": "x", "scope": "read", "more": 1}"#, 422),
        (r#"{"name": "x""#, 400),
    ] {
        tracker.json("POST", "/tokens", body, status);
    }
    let id = made["id"].as_str().expect("it has one");
    assert_eq!(tracker.ask("DELETE", &format!("/tokens/{id}"), "")?.status, 204);
    assert_eq!(tracker.ask_as(&token, "GET", "/session", "")?.status, 401);
    tracker.json("DELETE", &format!("/tokens/{id}"), "", 404);
    let log = tracker.server.process().log();
    assert!(log.contains("token \"new\"") && log.contains("by token \"owner\""), "{log}");
    Ok(())
}

#[test]
fn wrong_tokens_are_told_to_wait_and_right_ones_are_not() -> Result<(), String> {
    let mut tracker = Tracker::start(&[])?;
    let wrong = format!("peerage_admin_{}", "0".repeat(64));
    let first = tracker.ask_as(&wrong, "GET", "/session", "")?;
    let none = ask(&tracker.server, "GET", "/session", &[], "")?;
    assert_eq!((first.status, none.status), (401, 401));
    assert_eq!(first.body, none.body);
    assert_eq!(first.header("www-authenticate"), Some("Bearer"));
    let mut replies = Vec::new();
    for _ in 0..12 {
        replies.push(tracker.ask_as(&wrong, "GET", "/session", "")?);
    }
    let last = replies.pop().expect("there are twelve");
    assert_eq!(last.status, 429, "{}", last.text());
    let secs: u64 = last.header("retry-after").ok_or("no Retry-After")?.parse().expect("seconds");
    assert!((1..=60).contains(&secs), "{secs}");
    assert_eq!(tracker.ask("GET", "/session", "")?.status, 200);
    let log = tracker.server.process().log();
    assert_eq!(log.matches("too many wrong tokens from 127.0.0.1").count(), 1, "{log}");
    assert!(!log.contains(&wrong) && !log.contains(tracker.admin()), "{log}");
    Ok(())
}

/// As root the tracker drops its rights, and finds what root's `peerage token` writes beside it;
/// as anyone else that is not to be tried.
#[test]
fn tokens_made_by_root_are_found_by_a_tracker_without_rights() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        let ended = peerage_testkit::run(program(), &["-p", "0", "--user", "nobody"], &[])?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        return Ok(());
    }
    let data = Folder::new("api")?;
    let nobody = nix::unistd::User::from_name("nobody").expect("a user table").expect("nobody");
    let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    std::os::unix::fs::chown(data.path(), Some(user), Some(group)).expect("we are root");
    let first = make_token(&data, "before", "admin")?;
    let tracker = start(&data, &["--user", "nobody"])?;
    let authorization = format!("Bearer {first}");
    let headers = [("Authorization", authorization.as_str())];
    let patch = r#"{"announce.jitter": 7}"#;
    assert_eq!(ask(&tracker, "PATCH", "/settings", &headers, patch)?.status, 200);
    let deny = format!("/lists/deny/{}", "ab".repeat(20));
    assert_eq!(ask(&tracker, "PUT", &deny, &headers, "")?.status, 200);
    let second = make_token(&data, "beside", "read")?;
    let authorization = format!("Bearer {second}");
    wait_for("the tokens to be read again", LIMIT, || {
        let found = status(&tracker, &[("Authorization", &authorization)])?;
        Ok(if found == 200 { Wait::Done(()) } else { Wait::NotYet(found.to_string()) })
    })?;
    for name in ["tokens.toml", "changed.toml", "lists/deny.txt"] {
        let metadata = fs::metadata(data.path().join(name)).expect(name);
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (user, 0o600), "{name}");
    }
    tracker.stop()
}
