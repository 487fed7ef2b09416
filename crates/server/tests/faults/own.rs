//! Our own tables, in PostgreSQL and in SQLite.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use peerage_testkit::{Postgres, Process};

use crate::crowd::{Crowd, MEMBERS, Owed, TORRENTS, hex, info_hash, passkey};
use crate::tracker::{Data, found, wait_for_backlog, wait_for_writes};

/// Of our tables: where refused credit would have gone.
const SUMS: [&str; 4] = ["members", "id", "uploaded", "downloaded"];

/// Members and torrents of a crowd, and that there are new ones; `bytes` is how the database has
/// bytes in hex.
fn rows(bytes: impl Fn(String) -> String) -> String {
    let members = (1..=MEMBERS).map(|id| {
        format!(
            "INSERT INTO members (id, name, passkey, created_at) \
             VALUES ({id}, '{id}', '{}', 0);",
            passkey(id)
        )
    });
    let torrents = (1..=TORRENTS).map(|id| {
        format!(
            "INSERT INTO torrents (id, info_hash, name, created_at) VALUES ({id}, {}, '', 0);",
            bytes(hex(&info_hash(id)))
        )
    });
    members.chain(torrents).collect()
}

/// What the tables say, where `query` asks them; `peer_id` is how it is had in hex.
fn tables(query: impl Fn(&str) -> Vec<Vec<String>>, peer_id: &str) -> Owed {
    let peers = format!(
        "SELECT member_id, torrent_id, {peer_id}, active, announces, uploaded, downloaded, \
         remaining FROM peers"
    );
    found([
        query("SELECT id, uploaded, downloaded FROM members"),
        query("SELECT id, seeders, leechers, completed, balance FROM torrents"),
        query(&peers),
        query("SELECT member_id, torrent_id FROM snatches"),
    ])
}

/// Makes the tables, as the first start of any command does.
fn make_tables(data: &Data, url: &str) {
    let data_dir = data.path().to_str().expect("it is text");
    let arguments = ["--data-dir", data_dir, "user", "list"];
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    let ended = peerage_testkit::run(program, &arguments, &[("PEERAGE__DATABASE__URL", url)]);
    let ended = ended.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// A PostgreSQL with the tables of a crowd.
pub(crate) fn postgres(data: &Data) -> Postgres {
    let database = Postgres::start().expect("it starts");
    make_tables(data, &database.url());
    database.query(&rows(|hex| format!("'\\x{hex}'"))).expect("the tables are empty");
    database
}

/// What PostgreSQL's tables say.
pub(crate) fn postgres_tables(database: &Postgres) -> Owed {
    let query = |sql: &str| database.query(sql).expect("the tables are there");
    tables(query, "encode(peer_id, 'hex')")
}

#[test]
fn killed_and_stopped_postgres_costs_no_announce_and_no_byte() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut database = postgres(&data);
    let tracker = data.start(&database.url(), &[]);
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| {
        load.rounds(5);
        for _ in 0..3 {
            database.kill9().expect("it is ours");
            wait_for_backlog(&tracker, 2);
            load.rounds(5);
            database.restart().expect("it starts again");
            wait_for_writes(&tracker);
        }
        database.pause().expect("it runs");
        wait_for_backlog(&tracker, 4);
        load.rounds(5);
        database.resume().expect("it is there");
        wait_for_writes(&tracker);
    });
    tracker.stop().expect("it ends well");
    postgres_tables(&database).check(&crowd.owed());
    assert!(data.refused(SUMS).0.is_empty() && !data.has_leftovers());
}

/// A program of SQLite's own beside the tracker.
fn sqlite(data: &Data) -> Command {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-separator", "\t"]).arg(data.path().join("peerage.sqlite"));
    command
}

fn sqlite_query(data: &Data, sql: &str) -> Vec<Vec<String>> {
    let output = sqlite(data).arg(sql).output().expect("there is an sqlite3");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn sqlite_that_another_program_holds_costs_no_announce_and_no_byte() {
    let (data, mut crowd) = (Data::new(), Crowd::new());
    make_tables(&data, "");
    sqlite_query(&data, &rows(|hex| format!("x'{hex}'")));
    let tracker = data.start("", &[]);
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| {
        load.rounds(5);
        let log = data.path().join("holder.log");
        let mut holder =
            Process::start("sqlite3", &mut sqlite(&data), &log).expect("there is an sqlite3");
        for line in [".timeout 10000", "BEGIN IMMEDIATE;", "SELECT 'it is ' || 'held';"] {
            holder.tell(line).expect("it reads");
        }
        let held = |line: &str| line.contains("it is held").then_some(());
        holder.line("lock", crate::tracker::LIMIT, held).expect("it is let in between two flushes");
        wait_for_backlog(&tracker, 8);
        load.rounds(5);
        drop(holder);
        wait_for_writes(&tracker);
    });
    tracker.stop().expect("it ends well");
    let query = |sql: &str| sqlite_query(&data, sql);
    tables(query, "hex(peer_id)").check(&crowd.owed());
    assert!(data.refused(SUMS).0.is_empty() && !data.has_leftovers());
}
