//! How nodes log in to Redis, over TLS and not, and what the operator is told where they cannot.

use std::path::Path;

use peerage_testkit::redis::{Redis, Watched};
use peerage_testkit::{Authority, Certified, free_port, run};

use crate::node::{Node, SOON, Says, Way};

/// A Redis with TLS on a port of its own; whether it asks its clients for a certificate.
fn start_tls(authority: &Authority, asks: &str) -> Result<(Redis, String), String> {
    let Certified { certificate, key } = authority.certify("redis")?;
    let port = free_port().to_string();
    let redis = Redis::start(&[
        "--bind",
        "127.0.0.1",
        "127.0.0.2",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority.certificate(),
        "--tls-auth-clients",
        asks,
    ])?;
    Ok((redis, format!("rediss://127.0.0.1:{port}")))
}

/// What one node is told is known at the other.
fn check_meeting(nodes: &[Node; 2]) -> Result<(), String> {
    nodes.iter().try_for_each(Node::await_connected)?;
    nodes[0].announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    nodes[1].announce(Way::HttpV6, 1, 1001, Says::Leeching)?;
    nodes.iter().try_for_each(|node| node.await_counts(1, (1, 1, 0), SOON))
}

/// Waits until the log says why Redis is not reached; announces are answered all the same.
#[track_caller]
fn check_told(mut node: Node, text: &str) -> Result<(), String> {
    let line = node.0.log_line("; trying on")?;
    assert!(line.contains(text), "{line}");
    node.announce(Way::UdpV4, 1, 1000, Says::Seeding)?;
    assert_eq!(node.ready()?, 503);
    Ok(())
}

#[test]
fn nodes_meet_over_tls_by_an_authority_of_their_own() -> Result<(), String> {
    let authority = Authority::new()?;
    let (_redis, url) = start_tls(&authority, "no")?;
    let trusted = authority.certificate();
    let start = || Node::start_with(&url, &[("PEERAGE__SHARED__CA_FILE", &trusted)]);
    check_meeting(&[start()?, start()?])
}

#[test]
fn redis_of_an_authority_that_is_not_trusted_is_told_of() -> Result<(), String> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let (_redis, url) = start_tls(&authority, "no")?;
    let trusted = other.certificate();
    let node = Node::start_with(&url, &[("PEERAGE__SHARED__CA_FILE", &trusted)])?;
    check_told(node, "certificate is not of an authority that is trusted: see shared.ca_file")?;
    // The system's authorities do not vouch for it either.
    let text = "certificate is not of an authority that is trusted: see shared.ca_file";
    check_told(Node::start(&url)?, text)?;
    // Nor does the right one for another name.
    let trusted = authority.certificate();
    let url = url.replace("127.0.0.1", "127.0.0.2");
    let node = Node::start_with(&url, &[("PEERAGE__SHARED__CA_FILE", &trusted)])?;
    check_told(node, "certificate is for another name")?;
    Ok(())
}

#[test]
fn node_shows_a_certificate_of_its_own_where_redis_asks_for_one() -> Result<(), String> {
    let authority = Authority::new()?;
    let (_redis, url) = start_tls(&authority, "yes")?;
    let (trusted, own) = (authority.certificate(), authority.certify("node")?);
    let mut settings = vec![("PEERAGE__SHARED__CA_FILE", trusted.as_str())];
    check_told(Node::start_with(&url, &settings)?, "see shared.cert_file")?;
    settings.push(("PEERAGE__SHARED__CERT_FILE", &own.certificate));
    settings.push(("PEERAGE__SHARED__KEY_FILE", &own.key));
    let start = || Node::start_with(&url, &settings);
    check_meeting(&[start()?, start()?])
}

#[test]
fn files_that_are_no_certificates_end_the_start() -> Result<(), String> {
    let authority = Authority::new()?;
    let (trusted, own) = (authority.certificate(), authority.certify("node")?);
    let tls = ("PEERAGE__SHARED__REDIS", "rediss://127.0.0.1:1");
    for (settings, text) in [
        (vec![tls, ("PEERAGE__SHARED__CA_FILE", "/nowhere")], "shared.ca_file"),
        (vec![tls, ("PEERAGE__SHARED__CA_FILE", &*own.key)], "with a certificate"),
        (vec![tls, ("PEERAGE__SHARED__CERT_FILE", &*own.certificate)], "shared.key_file"),
        (vec![tls, ("PEERAGE__SHARED__KEY_FILE", &*own.key)], "shared.cert_file"),
        (
            vec![
                ("PEERAGE__SHARED__REDIS", "redis://127.0.0.1:1"),
                ("PEERAGE__SHARED__CA_FILE", &*trusted),
            ],
            "for rediss:// only",
        ),
    ] {
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        let ended = run(program, &["check-config"], &settings)?;
        assert_eq!(ended.code, Some(2), "{settings:?}");
        assert!(ended.stderr.contains(text), "{settings:?}: {}", ended.stderr);
    }
    Ok(())
}

/// A user that may do what a node does, and nothing else.
pub(crate) const USER: [&str; 18] = [
    "ACL",
    "SETUSER",
    "node",
    "on",
    ">secret",
    "~peerage:*",
    "&peerage:*",
    "+@connection",
    "+@scripting",
    "+@sortedset",
    "+@hash",
    "+@stream",
    "+@string",
    "+@pubsub",
    "+expire",
    "+time",
    "+role",
    "+cluster|slots",
];

#[test]
fn nodes_log_in_as_a_user_with_few_rights_to_a_database_of_their_own() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    assert_eq!(redis.ask(&USER)?, "OK");
    let url = format!("redis://node:secret@127.0.0.1:{}/3", redis.port());
    check_meeting(&[Node::start(&url)?, Node::start(&url)?])?;
    assert_eq!(redis.ask(&["-n", "3", "EXISTS", "peerage:1:key"])?, "1");
    assert_eq!(redis.ask(&["DBSIZE"])?, "0");
    assert_eq!(redis.ask(&["ACL", "LOG"])?, "", "nothing was denied");
    Ok(())
}

#[test]
fn what_redis_does_not_allow_is_told() -> Result<(), String> {
    let redis = Redis::start(&[])?;
    redis.ask(&USER)?;
    let at = format!("127.0.0.1:{}", redis.port());
    let url = format!("redis://node:wrong@{at}");
    check_told(Node::start(&url)?, "user or password is wrong")?;
    redis.ask(&["ACL", "SETUSER", "default", "off"])?;
    check_told(Node::start(&redis.url())?, "a user and a password")?;
    Ok(())
}

#[test]
fn rights_that_are_missing_are_told() -> Result<(), String> {
    for (right, text) in [("resetchannels", "channels"), ("-script", "script")] {
        let redis = Redis::start(&[])?;
        redis.ask(&USER)?;
        redis.ask(&["ACL", "SETUSER", "node", right])?;
        let url = format!("redis://node:secret@127.0.0.1:{}", redis.port());
        let mut node = Node::start(&url)?;
        let line = node.0.log_line("; trying on")?;
        assert!(line.contains("lacks a permission") && line.contains(text), "{line}");
    }
    Ok(())
}

#[test]
fn sentinels_and_their_master_have_passwords_of_their_own() -> Result<(), String> {
    let redis = Watched::start_with(Some(["of-master", "of-sentinels"]))?;
    let url = redis.url();
    let with_master = url.replace("://", "://:of-master@");
    let right = format!("{with_master}?sentinel_password=of-sentinels");
    check_meeting(&[Node::start(&right)?, Node::start(&right)?])?;
    check_told(Node::start(&with_master)?, "a user and a password")?;
    let wrong = format!("{with_master}?sentinel_password=wrong");
    check_told(Node::start(&wrong)?, "user or password is wrong")
}
