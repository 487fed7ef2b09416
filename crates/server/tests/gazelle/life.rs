//! Start, reload and stop beside a site's database.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use peerage_testkit::{Folder, Server, Signal, SqlMode, Wait, wait_for};

use crate::GENERATIONS;
use crate::php::{Generation, Php, REPORT_PASSWORD, SITE_PASSWORD};
use crate::site::{
    ANN, Announce, BOB, HASH, Site, client, database, failure, members, tracker, wait_for_rows,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The how-to for Ocelot that is published: rows put in by hand, a reload, and curl.
#[test]
fn published_how_to_works_as_it_is_written() {
    for generation in GENERATIONS {
        let site = Site::new(generation);
        let hash = "0102030405060708090a0b0c0d0e0f1011121314";
        let (more, text) = match generation {
            Generation::WhatCd => (", FileList", ", ''"),
            Generation::Ops => ("", ""),
        };
        let mut rows = format!(
            "insert into users_main \
             (Username, PassHash, IP, Enabled, torrent_pass, Visible, can_leech) \
             values ('xxx', '', '127.0.0.1', '1', '{ANN}', '1', '1');\
             insert into torrents (GroupID, info_hash{more}) values (1, x'{hash}'{text});"
        );
        if generation == Generation::Ops {
            rows += "insert into torrents_leech_stats (TorrentID) values (1);\
                     insert into users_leech_stats (UserID) values (1);";
        }
        site.database.query(&rows).expect("the rows go in");
        let mut site = site;
        site.tracker.process().signal(Signal::User1).expect("it runs");
        let escaped = "%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14";
        let target = format!(
            "/{ANN}/announce?info_hash={escaped}&peer_id=-qB4320-012345678901&port=32779\
             &uploaded=10984485&downloaded=270144869&left=0&corrupt=0&key=82D19544&numwant=200\
             &compact=1&no_peer_id=1&supportcrypto=1&redundant=0"
        );
        let url = format!("http://{}{target}", site.tracker.address(Ipv4Addr::LOCALHOST));
        let reply = wait_for("member and torrent of the tables", LIMIT, || {
            let curl = std::process::Command::new("curl")
                .args(["-s", "-H", "User-Agent: qBittorrent/4.3.2", &url])
                .output()
                .map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&curl.stdout).into_owned();
            let is_known = text.starts_with("d8:complete");
            Ok(if is_known { Wait::Done(text) } else { Wait::NotYet(text) })
        });
        let reply = reply.expect("the reload brings them");
        assert!(reply.starts_with("d8:completei1e10:downloadedi0e10:incompletei0e"), "{reply}");
        let torrent = match generation {
            Generation::WhatCd => "SELECT Seeders, Leechers FROM torrents",
            Generation::Ops => "SELECT Seeders, Leechers FROM torrents_leech_stats",
        };
        site.wait_for_rows(torrent, &["1 0"]);
        // The member's address is 127.0.0.1: it is kept out of the table.
        let peer = "SELECT uid, fid, active, uploaded, downloaded, remaining, useragent, ip \
                    FROM xbt_files_users";
        site.wait_for_rows(peer, &["1 1 1 10984485 270144869 0 qBittorrent/4.3.2 "]);
    }
}

#[test]
fn what_was_announced_just_before_the_stop_is_written() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let ann = client(ANN, b"-qB4320-annannannann", 1001);
        let start = Announce { event: "started", left: 1000, ..Announce::default() };
        site.announce(ann, HASH, start);
        site.announce(ann, HASH, Announce { event: "", uploaded: 4242, ..start });
        let Site { tracker, database, .. } = site;
        tracker.stop().expect("it ends well");
        let sums = match generation {
            Generation::WhatCd => "SELECT Uploaded FROM users_main WHERE ID = 1",
            Generation::Ops => "SELECT Uploaded FROM users_leech_stats WHERE UserID = 1",
        };
        assert_eq!(database.query(sums).expect("it is there"), [["4242"]]);
    }
}

#[test]
fn reload_takes_the_tables_as_they_are_and_refuses_nobody() {
    let mut site = Site::with_members(Generation::Ops);
    let ann = client(ANN, b"-qB4320-annannannann", 1001);
    let bob = client(BOB, b"-qB4320-bobbobbobbob", 1002);
    let start = Announce { event: "started", left: 1000, ..Announce::default() };
    site.announce(ann, HASH, start);
    site.announce(bob, HASH, start);
    let changes = "UPDATE users_main SET Enabled = '2' WHERE ID = 2;\
                   UPDATE users_main SET can_leech = 0 WHERE ID = 1;\
                   INSERT INTO xbt_client_whitelist (peer_id) VALUES ('-qB4');";
    site.database.query(changes).expect("it is the site's");
    site.tracker.process().signal(Signal::User1).expect("it runs");
    let mut replies = 0;
    let put_out = wait_for("reload", LIMIT, || {
        replies += 1;
        let reply = site.announce(bob, HASH, Announce { event: "", ..start });
        assert!(!reply.contains("unavailable"), "{reply}");
        let is_out = reply.contains(&failure("Passkey not found"));
        Ok(if is_out { Wait::Done(()) } else { Wait::NotYet(reply) })
    });
    put_out.expect("it reloads");
    let reply = site.announce(ann, HASH, Announce { event: "", ..start });
    assert!(reply.contains("leeching forbidden"), "{reply}");
    let other = client(ANN, b"-TR2940-annannannann", 1003);
    let reply = site.announce(other, HASH, start);
    assert!(reply.contains("not on the whitelist"), "{reply}");
    // What the peer had moved is still known: nothing is credited twice, nothing lost.
    site.announce(ann, HASH, Announce { event: "", uploaded: 10, left: 0, ..start });
    let sums = "SELECT Uploaded FROM users_leech_stats WHERE UserID = 1";
    site.wait_for_rows(sums, &["10"]);
}

#[test]
fn ocelot_conf_is_all_that_is_needed() {
    let generation = Generation::Ops;
    let database = database(generation, SqlMode::Strict);
    database.query(&members(generation)).expect("the rows go in");
    let folder = Folder::new("ocelot").expect("a temporary folder");
    let conf = format!(
        "# as it was\nlisten_port = 0\nannounce_interval = 1500\nannounce_jitter = 0\n\
         schedule_interval = 1\nmysql_db = {}\nmysql_host = 127.0.0.1\nmysql_port = {}\n\
         mysql_username = {}\nmysql_password = {}\nsite_password = {SITE_PASSWORD}\n\
         report_password = {REPORT_PASSWORD}\nmax_middlemen = 500\nlog = true\nsome_new_key = 1\n",
        peerage_testkit::MariaDb::DATABASE,
        database.port(),
        peerage_testkit::MariaDb::USER,
        peerage_testkit::MariaDb::PASSWORD,
    );
    let conf = folder.write("ocelot.conf", &conf).expect("a file in our folder");
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    let arguments = ["--ocelot-conf", &conf, "--bind", "127.0.0.1"];
    let mut server = Server::start_as(program, &arguments, &[]).expect("it starts");
    server.log_line("some_new_key").expect("it is named");
    let php = Php { generation, tracker: server.address(Ipv4Addr::LOCALHOST) };
    assert!(php.update("update_user", &[("passkey", ANN), ("can_leech", "1")]));
    let stats: serde_json::Value = serde_json::from_str(&php.report("stats")).expect("JSON");
    assert_eq!(stats["announce interval"]["value"], 1500);
    let site = Site { tracker: server, database, generation };
    let ann = client(ANN, b"-qB4320-annannannann", 1001);
    let start = Announce { event: "started", left: 1000, ..Announce::default() };
    let reply = site.announce(ann, HASH, start);
    assert!(reply.contains("e8:intervali1500e12:min intervali1500e5:peers0:e"), "{reply}");
}

#[test]
fn database_that_is_down_is_waited_for_and_then_given_up() {
    let mut database = database(Generation::Ops, SqlMode::Strict);
    database.query(&members(Generation::Ops)).expect("the rows go in");
    database.kill9().expect("it is ours");
    let url = database.url();
    let variables = [
        ("PEERAGE__DATABASE__URL", url.as_str()),
        ("PEERAGE__DATABASE__START_TIMEOUT", "1"),
        ("PEERAGE__DATABASE__SCHEMA", "gazelle"),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    let arguments = ["--private", "-p", "0", "--bind", "127.0.0.1"];
    let ended = peerage_testkit::run(program, &arguments, &variables).expect("it ends");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the database is out of reach"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("pass%3Aword"), "{}", ended.stderr);
    database.restart().expect("it starts again");
    let tracker = tracker(&database, &[], &[]);
    wait_for_rows(&database, "SELECT COUNT(*) FROM users_main", &["2"]);
    tracker.stop().expect("it ends well");
}

#[test]
fn what_cannot_be_written_at_the_stop_is_written_after_the_next_start() {
    let generation = Generation::Ops;
    let folder = Folder::new("leftovers").expect("a temporary folder");
    let data_dir = folder.path().to_str().expect("it is text").to_owned();
    let flags = ["--data-dir", data_dir.as_str()];
    let settings =
        [("PEERAGE__DATABASE__STOP_TIMEOUT", "1"), ("PEERAGE__DATABASE__FLUSH_INTERVAL", "300")];
    let database = database(generation, SqlMode::Strict);
    database.query(&members(generation)).expect("the rows go in");
    let tracker = tracker(&database, &flags, &settings);
    let mut site = Site { tracker, database, generation };
    let ann = client(ANN, b"-qB4320-annannannann", 1001);
    let start = Announce { event: "started", left: 1000, ..Announce::default() };
    site.announce(ann, HASH, start);
    site.announce(ann, HASH, Announce { event: "", uploaded: 4242, ..start });
    site.database.kill9().expect("it is ours");
    let Site { tracker, mut database, .. } = site;
    tracker.stop().expect("it ends all the same");
    database.restart().expect("it starts again");
    let sums = "SELECT Uploaded FROM users_leech_stats WHERE UserID = 1";
    wait_for_rows(&database, sums, &["0"]);
    for _ in 0..2 {
        // The second start finds nothing that is owed: nothing counts twice.
        let tracker = crate::site::tracker(&database, &flags, &settings);
        wait_for_rows(&database, sums, &["4242"]);
        tracker.stop().expect("it ends well");
    }
    wait_for_rows(&database, sums, &["4242"]);
}
