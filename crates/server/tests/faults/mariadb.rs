//! A Gazelle site's MariaDB.

use std::net::Ipv4Addr;

use peerage_testkit::{GazelleTables, MariaDb, SqlMode};

use crate::crowd::{Crowd, MEMBERS, Owed, TORRENTS, hex, info_hash, passkey};
use crate::tracker::{Data, found, wait_for_backlog, wait_for_writes};

/// Of Gazelle's tables: where refused credit would have gone.
const SUMS: [&str; 4] = ["users_leech_stats", "UserID", "Uploaded", "Downloaded"];

pub(crate) const SCHEMA: (&str, &str) = ("PEERAGE__DATABASE__SCHEMA", "gazelle");

/// Members and torrents of a crowd.
pub(crate) fn fill(database: &MariaDb, tables: GazelleTables) {
    database.make_gazelle(tables).expect("the tables are new");
    let (more, text) = match tables {
        GazelleTables::WhatCd => (", FileList", ", ''"),
        GazelleTables::Ops => ("", ""),
    };
    for member in 1..=MEMBERS {
        let passkey = passkey(member);
        let row = format!(
            "INSERT INTO users_main (ID, Username, PassHash, Enabled, torrent_pass) \
             VALUES ({member}, '{member}', '', '1', '{passkey}')"
        );
        database.query(&row).expect("the table is empty");
    }
    for torrent in 1..=TORRENTS {
        let hash = hex(&info_hash(torrent));
        let row = format!(
            "INSERT INTO torrents (ID, GroupID, info_hash{more}) \
             VALUES ({torrent}, 1, x'{hash}'{text})"
        );
        database.query(&row).expect("the table is empty");
    }
    if tables == GazelleTables::Ops {
        let sums = "INSERT INTO users_leech_stats (UserID) SELECT ID FROM users_main;\
                    INSERT INTO torrents_leech_stats (TorrentID) SELECT ID FROM torrents";
        database.query(sums).expect("the tables are empty");
    }
}

/// What the tables say.
fn tables(database: &MariaDb, tables: GazelleTables) -> Owed {
    let query = |sql: &str| database.query(sql).expect("the tables are there");
    let [members, torrents] = match tables {
        GazelleTables::WhatCd => [
            "SELECT ID, Uploaded, Downloaded FROM users_main",
            "SELECT ID, Seeders, Leechers, Snatched, balance FROM torrents",
        ],
        GazelleTables::Ops => [
            "SELECT UserID, Uploaded, Downloaded FROM users_leech_stats",
            "SELECT TorrentID, Seeders, Leechers, Snatched, Balance FROM torrents_leech_stats",
        ],
    };
    let peers = "SELECT uid, fid, HEX(peer_id), active, announced, uploaded, downloaded, remaining \
                 FROM xbt_files_users";
    let snatches = "SELECT uid, fid FROM xbt_snatched";
    found([query(members), query(torrents), query(peers), query(snatches)])
}

/// Has the server do something with each row of credit.
fn trigger(database: &MariaDb, does: &str) {
    let sql = format!(
        "CREATE TRIGGER fault BEFORE INSERT ON users_leech_stats FOR EACH ROW BEGIN {does}; END"
    );
    // The client program would end the statement at the first semicolon.
    database.query(&format!("DELIMITER //\n{sql}//\n")).expect("root may");
}

#[test]
fn killed_stopped_slow_and_refusing_mariadb_costs_no_announce_and_no_byte() {
    let mut database = MariaDb::start(SqlMode::Strict).expect("it starts");
    fill(&database, GazelleTables::Ops);
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut tracker = data.start(&database.url(), &[SCHEMA]);
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| {
        load.rounds(5);
        for _ in 0..3 {
            database.kill9().expect("it is ours");
            let line = tracker.log_line("nobody listens at 127.0.0.1:").expect("it is said");
            assert!(line.contains("rows wait to be written"), "{line}");
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
        trigger(&database, "DO SLEEP(0.05)");
        wait_for_backlog(&tracker, 2);
        load.rounds(5);
        database.query("DROP TRIGGER fault").expect("root may");
        let not_this = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'";
        trigger(&database, &format!("IF NEW.UserID = 7 THEN {not_this}; END IF"));
        let line = tracker.log_line("refused by the database").expect("it is said");
        assert!(line.contains("UserID = 7") && line.contains("not this one"), "{line}");
        database.query("DROP TRIGGER fault").expect("root may");
        wait_for_writes(&tracker);
    });
    tracker.stop().expect("it ends well");
    let (dead, others) = data.refused(SUMS);
    assert_eq!(others, [""; 0], "nothing else is refused");
    assert_eq!(dead.keys().collect::<Vec<_>>(), [&7]);
    let (mut found, owed) = (tables(&database, GazelleTables::Ops), crowd.owed());
    let sums = found.members.get_mut(&7).expect("its row is there");
    *sums = (sums.0 + dead[&7].0, sums.1 + dead[&7].1);
    found.check(&owed);
    assert!(!data.has_leftovers());
}

#[test]
fn full_mariadb_costs_no_announce_and_no_byte() {
    let file = "--innodb-data-file-path=ibdata1:12M";
    let flags = [file, "--innodb-file-per-table=0"];
    let mut database = MariaDb::start_with(SqlMode::Loose, &flags).expect("it starts");
    fill(&database, GazelleTables::WhatCd);
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let mut tracker = data.start(&database.url(), &[SCHEMA]);
    let filler = "CREATE TABLE filler (n INT AUTO_INCREMENT PRIMARY KEY, s CHAR(255))";
    database.query(filler).expect("there is room");
    for rows in [2000, 100, 1] {
        let fill = format!("INSERT INTO filler (s) SELECT '' FROM seq_1_to_{rows}");
        while database.query(&fill).is_ok() {}
    }
    let (server, mut passers) = (tracker.address(Ipv4Addr::LOCALHOST), Crowd::empty());
    crowd.announce(server, |load| {
        // A row more for each, until there is no room for one.
        for _ in 0..100 {
            if tracker.process().log().contains("is full") {
                break;
            }
            passers.pass_by(server, 200);
        }
        tracker.log_line("is full").expect("it is");
        wait_for_backlog(&tracker, 3);
        load.rounds(5);
        database.restart_with(&[&format!("{file}:autoextend"), flags[1]]).expect("there is room");
        wait_for_writes(&tracker);
    });
    tracker.stop().expect("it ends well");
    tables(&database, GazelleTables::WhatCd).check(&crowd.with(passers).owed());
    assert_eq!(data.refused(SUMS).1, [""; 0]);
    assert!(!data.has_leftovers());
}
