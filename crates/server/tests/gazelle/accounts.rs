//! Every row that the tracker writes, within one flush interval (reference: the tables of both
//! generations).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::GENERATIONS;
use crate::php::Generation;
use crate::site::{ANN, Announce, BOB, Client, HASH, Site, client};

const LEECHER: Client<'_> = client(ANN, b"-qB4320-\0'\"\xff\x80annannn", 1001);
const SEEDER: Client<'_> = client(BOB, b"-qB4320-bobbobbobbob", 1002);

fn sums(generation: Generation) -> &'static str {
    match generation {
        Generation::WhatCd => "SELECT ID, Uploaded, Downloaded FROM users_main ORDER BY ID",
        Generation::Ops => {
            "SELECT UserID, Uploaded, Downloaded FROM users_leech_stats ORDER BY UserID"
        }
    }
}

fn torrent(generation: Generation) -> &'static str {
    match generation {
        Generation::WhatCd => {
            "SELECT Seeders, Leechers, Snatched, balance, \
             IF(TIMESTAMPDIFF(SECOND, last_action, NOW()) < 60, 'now', 'never') \
             FROM torrents WHERE ID = 1"
        }
        Generation::Ops => {
            "SELECT Seeders, Leechers, Snatched, Balance, \
             IF(TIMESTAMPDIFF(SECOND, last_action, NOW()) < 60, 'now', 'never') \
             FROM torrents_leech_stats WHERE TorrentID = 1"
        }
    }
}

fn peer(member: u32) -> String {
    format!(
        "SELECT active, announced, completed, downloaded, remaining, uploaded, corrupt, \
         useragent, connectable, HEX(peer_id), fid, ip FROM xbt_files_users WHERE uid = {member}"
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn a_download_from_start_to_stop_is_in_every_table() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs();
        let start = Announce { event: "started", left: 1000, ..Announce::default() };
        let (ann, bob) = (hex(LEECHER.peer_id), hex(SEEDER.peer_id));
        let row = |moved: &str, peer_id: &str| {
            format!("{moved} qBittorrent/4.3.2 1 {peer_id} 1 127.0.0.1")
        };

        site.announce(LEECHER, HASH, start);
        site.wait_for_rows(torrent(generation), &["0 1 0 0 never"]);
        site.wait_for_rows(&peer(1), &[&row("1 1 0 0 1000 0 0", &ann)]);

        site.announce(SEEDER, HASH, Announce { left: 0, ..start });
        site.wait_for_rows(torrent(generation), &["1 1 0 0 now"]);
        site.wait_for_rows(&peer(2), &[&row("1 1 0 0 0 0 0", &bob)]);

        let part = Announce { event: "", uploaded: 50, downloaded: 400, left: 600, corrupt: 7 };
        site.announce(LEECHER, HASH, part);
        site.wait_for_rows(sums(generation), &["1 50 400", "2 0 0"]);
        // Upload less download less what failed its hash.
        site.wait_for_rows(torrent(generation), &["1 1 0 -357 now"]);
        site.wait_for_rows(&peer(1), &[&row("1 2 0 400 600 50 7", &ann)]);

        let all = Announce { event: "completed", downloaded: 1000, left: 0, ..part };
        site.announce(LEECHER, HASH, all);
        site.wait_for_rows(sums(generation), &["1 50 1000", "2 0 0"]);
        site.wait_for_rows(torrent(generation), &["2 0 1 -957 now"]);
        site.wait_for_rows(&peer(1), &[&row("1 3 0 1000 0 50 7", &ann)]);
        let snatched = format!(
            "SELECT uid, fid, IP, tstamp BETWEEN {now} AND UNIX_TIMESTAMP() FROM xbt_snatched"
        );
        site.wait_for_rows(&snatched, &["1 1 127.0.0.1 1"]);

        site.announce(LEECHER, HASH, Announce { event: "stopped", uploaded: 90, ..all });
        site.wait_for_rows(sums(generation), &["1 90 1000", "2 0 0"]);
        site.wait_for_rows(torrent(generation), &["1 0 1 -917 now"]);
        site.wait_for_rows(&peer(1), &[&row("0 4 0 1000 0 90 7", &ann)]);
        let times = format!(
            "SELECT mtime BETWEEN {now} AND UNIX_TIMESTAMP(), timespent < 120 \
             FROM xbt_files_users WHERE uid = 1"
        );
        site.wait_for_rows(&times, &["1 1"]);
    }
}

#[test]
fn completed_without_a_difference_leaves_nothing_remaining() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let start =
            Announce { event: "started", downloaded: 10, left: 1000, ..Announce::default() };
        site.announce(LEECHER, HASH, start);
        site.announce(LEECHER, HASH, Announce { event: "completed", left: 0, ..start });
        let rows = "SELECT uid, active, remaining FROM xbt_files_users";
        site.wait_for_rows(rows, &["1 1 0"]);
        site.wait_for_rows("SELECT uid, fid FROM xbt_snatched", &["1 1"]);
    }
}

#[test]
fn peer_that_only_comes_back_has_its_time_written() {
    for generation in GENERATIONS {
        let site = Site::with_members(generation);
        let seeds = Announce { event: "started", ..Announce::default() };
        site.announce(SEEDER, HASH, seeds);
        site.announce(SEEDER, HASH, Announce { event: "", ..seeds });
        site.announce(SEEDER, HASH, Announce { event: "", ..seeds });
        let rows = "SELECT announced, upspeed, downspeed, active FROM xbt_files_users";
        site.wait_for_rows(rows, &["3 0 0 1"]);
    }
}

#[test]
fn row_that_the_database_refuses_is_set_aside_and_holds_up_nobody() {
    let mut site = Site::with_members(Generation::Ops);
    // The site deletes a member with its sums, and its update does not come through.
    site.database.query("DELETE FROM users_main WHERE ID = 1").expect("it is the site's");
    let start = Announce { event: "started", left: 1000, ..Announce::default() };
    site.announce(LEECHER, HASH, start);
    site.announce(SEEDER, HASH, start);
    let moved = Announce { event: "", uploaded: 3, downloaded: 5, ..start };
    site.announce(LEECHER, HASH, moved);
    site.announce(SEEDER, HASH, moved);
    site.wait_for_rows(sums(Generation::Ops), &["2 3 5"]);
    let line = site.tracker.log_line("refused").expect("it is said");
    assert!(line.contains("users_leech_stats"), "{line}");
}
