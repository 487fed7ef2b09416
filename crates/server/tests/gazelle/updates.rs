//! Every action of `/update`, by what it changes for clients and in the tables.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::GENERATIONS;
use crate::php::{Generation, SITE_PASSWORD, body};
use crate::site::{
    ANN, Announce, BOB, Client, HASH, OTHER_HASH, Site, client, escaped, failure, members,
};

const LEECHER: Client<'_> = client(ANN, b"-qB4320-annannannann", 1001);
const SEEDER: Client<'_> = client(BOB, b"-qB4320-bobbobbobbob", 1002);
const STARTED: Announce<'_> =
    Announce { event: "started", uploaded: 0, downloaded: 0, left: 1000, corrupt: 0 };
const SEEDS: Announce<'_> =
    Announce { event: "started", uploaded: 0, downloaded: 0, left: 0, corrupt: 0 };

/// A reply with peers or none, whose counts are these.
#[track_caller]
fn assert_counts(reply: &str, seeders: u32, leechers: u32) {
    assert!(reply.starts_with(&format!("d8:completei{seeders}e10:downloadedi")), "{reply}");
    assert!(reply.contains(&format!("e10:incompletei{leechers}e8:intervali")), "{reply}");
}

#[track_caller]
fn assert_refused(reply: &str, text: &str) {
    assert!(reply.contains(&failure(text)), "{reply}");
}

#[test]
fn member_and_torrent_that_the_site_adds_take_part_at_once() {
    for generation in GENERATIONS {
        let site = Site::new(generation);
        let php = site.php();
        assert_refused(&site.announce(LEECHER, HASH, STARTED), "Passkey not found");
        match generation {
            Generation::WhatCd => php.tell("add_user", &[("passkey", ANN), ("id", "1")]),
            Generation::Ops => {
                php.tell("add_user", &[("passkey", ANN), ("id", "1"), ("visible", "1")]);
            }
        }
        assert_refused(&site.announce(LEECHER, HASH, STARTED), "Unregistered torrent");
        let hash = escaped(HASH);
        php.tell("add_torrent", &[("info_hash", &hash), ("id", "1"), ("freetorrent", "0")]);
        assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
    }
}

#[test]
fn torrent_that_the_site_deletes_is_refused_with_its_reason() {
    let site = Site::with_members(Generation::Ops);
    let (php, hash) = (site.php(), escaped(HASH));
    for (reason, text) in [
        (None, "Unregistered torrent"),
        (Some("-1"), "Unregistered torrent"),
        (Some("0"), "Unregistered torrent: Dupe"),
        (Some("22"), "Unregistered torrent: Audience Recording"),
        (Some("23"), "Unregistered torrent: Extraneous Files"),
        (Some("24"), "Unregistered torrent: Checksum Trump"),
    ] {
        assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
        let mut parameters = vec![("id", "1"), ("info_hash", hash.as_str())];
        parameters.extend(reason.map(|reason| ("reason", reason)));
        php.tell("delete_torrent", &parameters);
        let reply = site.announce(LEECHER, HASH, STARTED);
        assert!(reply.contains(&format!("{}8:interval", failure(text))), "{reply}");
        php.tell("add_torrent", &[("info_hash", &hash), ("id", "3"), ("freetorrent", "0")]);
    }
}

#[test]
fn rights_of_a_member_change_and_what_is_left_out_stays() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let php = site.php();
        php.tell("update_user", &[("passkey", ANN), ("can_leech", "0"), ("visible", "0")]);
        let refused = "Access denied, leeching forbidden";
        assert_refused(&site.announce(LEECHER, HASH, STARTED), &format!("{refused}."));
        assert_counts(&site.announce(LEECHER, OTHER_HASH, SEEDS), 1, 0);
        // The older site says no more than this to let a member download again.
        php.tell("update_user", &[("passkey", ANN), ("can_leech", "1")]);
        let reply = site.announce(LEECHER, HASH, STARTED);
        assert!(!reply.contains("failure"), "{reply}");
        site.wait_for_rows("SELECT ip FROM xbt_files_users WHERE uid = 1 AND fid = 1", &[""]);
        if generation == Generation::Ops {
            let report = php.report(&format!("user&key={ANN}"));
            assert!(report.contains("\"protected\":1,\"can_leech\":1"), "{report}");
        }
    }
}

#[test]
fn what_is_left_out_means_what_it_does_to_ocelot_where_the_site_wants_it() {
    let settings = [("PEERAGE__GAZELLE__ABSENT_PARAMETERS", "ocelot")];
    let site = Site::with(Generation::Ops, &members(Generation::Ops), &settings);
    let php = site.php();
    php.tell("update_user", &[("passkey", ANN), ("can_leech", "0"), ("visible", "0")]);
    php.tell("update_user", &[("passkey", ANN), ("can_leech", "0")]);
    let report = php.report(&format!("user&key={ANN}"));
    assert!(report.contains("\"protected\":0,\"can_leech\":0"), "{report}");
}

#[test]
fn members_that_are_put_out_are_out_however_many_they_are() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let php = site.php();
        php.tell("remove_user", &[("passkey", ANN)]);
        assert_refused(&site.announce(LEECHER, HASH, STARTED), "Passkey not found");
        // More than the 4096 bytes at which Ocelot lets them all stay.
        let many: String = (0..300).map(|n| format!("{n:032}")).chain([BOB.to_owned()]).collect();
        php.tell("remove_users", &[("passkeys", &many)]);
        assert_refused(&site.announce(SEEDER, HASH, SEEDS), "Passkey not found");
    }
}

#[test]
fn member_keeps_what_it_has_through_a_new_passkey() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let php = site.php();
        assert_counts(&site.announce(SEEDER, HASH, SEEDS), 1, 0);
        // To change a passkey to itself loses no member.
        php.tell("change_passkey", &[("oldpasskey", BOB), ("newpasskey", BOB)]);
        assert_counts(&site.announce(SEEDER, HASH, SEEDS), 1, 0);
        let new = "newnewnewnewnewnewnewnewnewnew03";
        php.tell("change_passkey", &[("oldpasskey", BOB), ("newpasskey", new)]);
        assert_refused(&site.announce(SEEDER, HASH, SEEDS), "Passkey not found");
        let renewed = Client { passkey: new, ..SEEDER };
        assert_counts(&site.announce(renewed, HASH, Announce { event: "", ..SEEDS }), 1, 0);
    }
}

#[test]
fn clients_are_let_in_by_the_list_that_the_site_keeps() {
    let site = Site::with_members(Generation::Ops);
    let php = site.php();
    let refused = "Your client is not on the whitelist";
    assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
    php.tell("add_whitelist", &[("peer_id", "-TR2")]);
    assert_refused(&site.announce(LEECHER, HASH, STARTED), refused);
    php.tell("edit_whitelist", &[("old_peer_id", "-TR2"), ("new_peer_id", "-qB4")]);
    assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
    let transmission = Client { peer_id: b"-TR2940-annannannann", ..LEECHER };
    assert_refused(&site.announce(transmission, HASH, STARTED), refused);
    php.tell("add_whitelist", &[("peer_id", "-TR2")]);
    php.tell("remove_whitelist", &[("peer_id", "-qB4")]);
    assert_refused(&site.announce(LEECHER, HASH, STARTED), refused);
    // To take the last client from the list lets nobody in, where Ocelot lets in everybody.
    php.tell("remove_whitelist", &[("peer_id", "-TR2")]);
    assert_refused(&site.announce(transmission, HASH, STARTED), refused);
}

#[test]
fn price_of_a_torrent_decides_what_is_charged() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let php = site.php();
        let (hash, other) = (escaped(HASH), escaped(OTHER_HASH));
        let moved = |uploaded, downloaded| Announce {
            event: "",
            uploaded,
            downloaded,
            left: 10,
            corrupt: 0,
        };
        let sums = match generation {
            Generation::WhatCd => "SELECT Uploaded, Downloaded FROM users_main WHERE ID = 1",
            Generation::Ops => {
                "SELECT Uploaded, Downloaded FROM users_leech_stats WHERE UserID = 1"
            }
        };
        site.announce(LEECHER, HASH, STARTED);
        site.announce(LEECHER, HASH, moved(1, 10));
        site.wait_for_rows(sums, &["1 10"]);
        php.tell("update_torrent", &[("info_hash", &hash), ("freetorrent", "1")]);
        site.announce(LEECHER, HASH, moved(3, 110));
        site.wait_for_rows(sums, &["3 10"]);
        let both = format!("{hash}{other}");
        php.tell("update_torrents", &[("info_hashes", &both), ("freetorrent", "2")]);
        site.announce(LEECHER, HASH, moved(1003, 1110));
        php.tell("update_torrents", &[("info_hashes", &both), ("freetorrent", "0")]);
        site.announce(LEECHER, HASH, moved(1007, 1130));
        site.wait_for_rows(sums, &["7 30"]);
    }
}

/// A site's web server that takes one call: its request line comes through the channel.
fn web_server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/sub", listener.local_addr().expect("it is bound"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the tracker calls");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).expect("it asks");
        let text = String::from_utf8_lossy(&request[..read]).into_owned();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("it reads");
        sender.send(text.lines().next().unwrap_or_default().to_owned()).ok();
    });
    (url, lines)
}

#[test]
fn token_makes_a_download_free_until_it_is_used_up_and_the_site_is_told() {
    for generation in GENERATIONS {
        let (url, lines) = web_server();
        let settings = [("PEERAGE__GAZELLE__SITE_URL", url.as_str())];
        let site = Site::with(generation, &members(generation), &settings);
        let token = "INSERT INTO users_freeleeches (UserID, TorrentID, Time) VALUES (1, 1, NOW())";
        let hash = escaped(HASH);
        // As the site does: the tracker first, the table then.
        site.php().tell("add_token", &[("info_hash", &hash), ("userid", "1")]);
        site.database.query(token).expect("it is the site's");
        let announce = |event, uploaded, downloaded, left| {
            site.announce(
                LEECHER,
                HASH,
                Announce { event, uploaded, downloaded, left, corrupt: 0 },
            );
        };
        announce("started", 0, 0, 1000);
        announce("", 5, 400, 600);
        let used = "SELECT UserID, TorrentID, Downloaded, Expired FROM users_freeleeches";
        site.wait_for_rows(used, &["1 1 400 0"]);
        announce("completed", 9, 1000, 0);
        site.wait_for_rows(used, &["1 1 1000 0"]);
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("the site is told");
        let wanted = format!(
            "GET /sub/tools.php?key={SITE_PASSWORD}&type=expiretoken&action=ocelot&tokens=1:1 \
             HTTP/1.0"
        );
        assert_eq!(line, wanted);
        let sums = match generation {
            Generation::WhatCd => "SELECT Uploaded, Downloaded FROM users_main WHERE ID = 1",
            Generation::Ops => {
                "SELECT Uploaded, Downloaded FROM users_leech_stats WHERE UserID = 1"
            }
        };
        site.wait_for_rows(sums, &["9 0"]);
    }
}

#[test]
fn token_that_the_site_takes_back_is_none() {
    let site = Site::with_members(Generation::Ops);
    let php = site.php();
    let hash = escaped(HASH);
    php.tell("add_token", &[("info_hash", &hash), ("userid", "1")]);
    php.tell("remove_token", &[("info_hash", &hash), ("userid", "1")]);
    site.announce(LEECHER, HASH, STARTED);
    site.announce(LEECHER, HASH, Announce { event: "", downloaded: 70, left: 930, ..STARTED });
    let sums = "SELECT Uploaded, Downloaded FROM users_leech_stats WHERE UserID = 1";
    site.wait_for_rows(sums, &["0 70"]);
}

#[test]
fn interval_and_jitter_are_what_the_site_says() {
    let site = Site::with_members(Generation::Ops);
    let php = site.php();
    php.tell("update_announce_interval", &[("new_announce_interval", "1234")]);
    php.tell("update_announce_jitter", &[("new_announce_jitter", "0")]);
    let reply = site.announce(LEECHER, HASH, STARTED);
    assert!(reply.contains("8:intervali1234e"), "{reply}");
    let stats: serde_json::Value = serde_json::from_str(&php.report("stats")).expect("JSON");
    assert_eq!(stats["announce interval"]["value"], 1234);
    assert_eq!(stats["announce jitter"]["value"], 0);
    // Ocelot takes what is no number for 0, and has every client announce without a pause.
    php.tell("update_announce_interval", &[("new_announce_interval", "soon")]);
    let reply = site.announce(LEECHER, HASH, STARTED);
    assert!(reply.contains("8:intervali1234e"), "{reply}");
}

#[test]
fn torrent_is_looked_up_in_json_for_the_newer_site_and_as_success_for_the_older() {
    let (known, unknown) = (escaped(HASH), escaped([7; 20]));
    let site = Site::with_members(Generation::Ops);
    let look = |hash: &str| {
        let path = format!("/update?action=info_torrent&info_hash={hash}");
        body(&site.php().ask(SITE_PASSWORD, &path)).to_owned()
    };
    assert_eq!(look(&known), format!("{{\"hash\":\"{known}\",\"id\":1,\"free\":0}}\n"));
    assert_eq!(look(&unknown), format!("{{\"hash\":\"{unknown}\",\"fail\":1}}\n"));
    let settings = [("PEERAGE__GAZELLE__REPORT_STYLE", "text")];
    let site = Site::with(Generation::WhatCd, &members(Generation::WhatCd), &settings);
    site.php().tell("info_torrent", &[("info_hash", &known)]);
}

#[test]
fn what_is_unknown_or_missing_is_success_and_changes_nothing() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let php = site.php();
        php.tell("", &[]);
        php.tell("drop_everything", &[("passkey", ANN)]);
        php.tell("remove_user", &[]);
        php.tell("remove_user", &[("passkey", "nobody")]);
        php.tell("update_user", &[("passkey", &"x".repeat(32)), ("can_leech", "0")]);
        php.tell("delete_torrent", &[("info_hash", "short")]);
        php.tell("add_token", &[("info_hash", &escaped([9; 20])), ("userid", "77")]);
        php.tell("change_passkey", &[("oldpasskey", &"x".repeat(32)), ("newpasskey", ANN)]);
        assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
    }
}

#[test]
fn wrong_password_is_refused_and_said_loudly_without_it() {
    let mut site = Site::with_members(Generation::WhatCd);
    let php = site.php();
    let wrong = "wrongwrongwrongwrongwrongwrong00";
    let path = format!("/update?action=remove_user&passkey={ANN}");
    let reply = php.ask(wrong, &path);
    assert!(!php.is_success(&reply), "{reply}");
    assert_eq!(
        body(&reply),
        "d14:failure reason22:Authentication failure12:min intervali5400e8:intervali5400ee"
    );
    let line = site.tracker.log_line("site_password differs").expect("it is said");
    assert!(line.contains("the site's updates are refused"), "{line}");
    let log = site.tracker.process().log();
    assert!(!log.contains(wrong) && !log.contains(SITE_PASSWORD) && !log.contains(ANN), "{log}");
    assert_counts(&site.announce(LEECHER, HASH, STARTED), 0, 1);
}

#[test]
fn requests_that_are_none_are_answered_as_ocelot_answers_them() {
    let site = Site::with_members(Generation::Ops);
    let php = site.php();
    for (path, text) in [
        ("/?action=remove_user", "14:Invalid action"),
        ("/status", "Nothing to see here"),
        ("/updates?action=remove_user", "Nothing to see here"),
    ] {
        let reply = php.ask(SITE_PASSWORD, path);
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {reply}");
        assert!(body(&reply).contains(text), "{path}: {reply}");
    }
    let reply = php.send(&format!("GET /{SITE_PASSWORD}/update? HTTP/1.1\r\n\r\n"));
    assert!(reply.contains("20:GET string too short"), "{reply}");
    let reply = php.send(&format!("GET /{SITE_PASSWORD}/update?action=add_user\r\n\r\n"));
    assert!(reply.contains("22:Malformed HTTP request"), "{reply}");
}
