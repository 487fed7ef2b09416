//! What an operator reads who has made a mistake with the database: what failed, what to do, and
//! no password.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;

use peerage_testkit::{Folder, GazelleTables, MariaDb, Postgres, SqlMode, free_port, run};

use crate::tracker::Data;

/// The password of every address here, as it is and as it is written.
const PASSWORDS: [&str; 3] = ["s3cret", MariaDb::PASSWORD, "a%20pass%3Aword%2Fwith%40signs"];

/// Starts a tracker on the database at `url`, which is to end at once and to say all of `words` in
/// one line.
#[track_caller]
pub(crate) fn check(url: &str, settings: &[(&str, &str)], words: &[&str]) {
    let data = Data::new();
    let data_dir = data.path().to_str().expect("it is text");
    let arguments = ["--private", "--data-dir", data_dir, "-p", "0", "--bind", "127.0.0.1"];
    let variables = [("PEERAGE__DATABASE__URL", url), ("PEERAGE__DATABASE__START_TIMEOUT", "0")];
    let variables = [&variables[..], settings].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    let ended = run(program, &arguments, &variables).expect("it ends");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "no `{word}` in: {}", ended.stderr);
    }
    for password in PASSWORDS {
        assert!(!ended.stderr.contains(password), "{}", ended.stderr);
    }
}

/// A listener that is no database: it says `greeting` to each connection, if anything, and keeps
/// it open; its port.
fn stranger(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let mut connections = Vec::new();
        for mut connection in listener.incoming().flatten() {
            // Who asks may have gone.
            let _ = connection.write_all(greeting);
            connections.push(connection);
        }
    });
    port
}

#[test]
fn database_that_is_not_there_is_told_by_its_address() {
    let port = free_port();
    let place = format!("127.0.0.1:{port}");
    for scheme in ["mysql", "postgres"] {
        let url = format!("{scheme}://peerage:s3cret@{place}/peerage");
        let nobody = format!("nobody listens at {place}");
        check(&url, &[], &["out of reach", &nobody, "is it running", "database.url"]);
        let name = "x".repeat(70);
        let url = format!("{scheme}://peerage:s3cret@{name}:1/peerage");
        check(&url, &[], &["has no address", &name, "is its name right"]);
    }
    let folder = Folder::new("mistakes").expect("a temporary folder");
    let socket = folder.path().join("socket");
    let url = format!("mysql://peerage:s3cret@localhost/peerage?socket={}", socket.display());
    check(&url, &[], &["there is no socket", &socket.display().to_string()]);
    let url =
        format!("postgres://peerage:s3cret@localhost/peerage?host={}", folder.path().display());
    check(&url, &[], &["there is no socket", ".s.PGSQL.5432"]);
}

#[test]
fn listener_that_is_no_database_is_told() {
    let web = stranger(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let url = |scheme, port| format!("{scheme}://peerage:s3cret@127.0.0.1:{port}/peerage");
    check(&url("mysql", web), &[], &["no answer as MariaDB", "is that where"]);
    check(&url("postgres", web), &[], &["does not answer as PostgreSQL", "is the port"]);
    let silent = stranger(b"");
    check(&url("mysql", silent), &[], &["no answer as MariaDB", "within 5 s", "firewall"]);
}

#[test]
fn what_mariadb_does_not_accept_is_told_with_what_to_do() {
    let server = MariaDb::start(SqlMode::Strict).expect("it starts");
    let right = server.url();
    let place = format!("127.0.0.1:{}", server.port());
    let other = |database: &str| format!("mysql://peerage:s3cret@{place}/{database}");
    let unknown = ["does not know user `peerage`", "mend database.url", "1045"];
    check(&other("gazelle"), &[], &unknown);
    let user = "CREATE USER narrow IDENTIFIED BY 's3cret'; CREATE DATABASE other";
    server.query(user).expect("root may");
    let narrow = other("gazelle").replace("peerage", "narrow");
    check(&narrow, &[], &["give user `narrow` the right to use database `gazelle`"]);
    let missing = right.replace("/gazelle", "/gazele");
    let granted = "GRANT ALL ON *.* TO peerage";
    server.query(granted).expect("root may");
    check(&missing, &[], &["there is no database `gazele`", "end of database.url"]);
    let unnamed = right.replace("/gazelle", "");
    check(&unnamed, &[], &["names no database"]);
    let gazelle = [("PEERAGE__DATABASE__SCHEMA", "gazelle")];
    check(&right, &gazelle, &["there is no table users_main", "Gazelle site"]);
    server.make_gazelle(GazelleTables::WhatCd).expect("the tables are new");
    check(&format!("{right}?ssl-mode=REQUIRED"), &gazelle, &["offers no TLS", "ssl-mode"]);
    let misspelt = format!("{right}?ssl_mode=REQUIRED");
    check(&misspelt, &gazelle, &["`ssl_mode`", "not known", "ssl-mode"]);
    check(&format!("{right}?ssl-mode=SURE"), &gazelle, &["database.url", "SURE"]);
}

#[test]
fn what_postgres_does_not_accept_is_told_with_what_to_do() {
    let server = Postgres::start().expect("it starts");
    let right = server.url().replace("secret@", "s3cret@");
    check(&right, &[], &["does not know user `peerage`", "28P01"]);
    let roles = "ALTER ROLE peerage PASSWORD 's3cret'; CREATE ROLE narrow LOGIN PASSWORD 's3cret'";
    server.query(roles).expect("its owner may");
    let missing = format!("{right}x");
    check(&missing, &[], &["there is no database `peeragex`", "end of database.url"]);
    let narrow = right.replace("//peerage", "//narrow");
    check(&narrow, &[], &["permission denied for schema public"]);
    check(&format!("{right}?sslmode=require"), &[], &["offers no TLS", "sslmode"]);
    check(&format!("{right}?ssl_mode=require"), &[], &["`ssl_mode`", "not known"]);
}

#[test]
fn file_that_is_no_database_is_told_by_its_name() {
    let folder = Folder::new("mistakes").expect("a temporary folder");
    let text = folder.write("text", &"this is no database ".repeat(100)).expect("it is written");
    check(&format!("sqlite:{text}"), &[], &[&text, "a file of something else"]);
    let nowhere = folder.path().join("missing/private.sqlite").display().to_string();
    check(&format!("sqlite:{nowhere}"), &[], &[&nowhere, "is its folder there"]);
    check("mysql://a:s3cret@127.0.0.1:99999/x", &[], &["database.url", "port"]);
}
