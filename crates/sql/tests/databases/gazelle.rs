//! A Gazelle site's tables, in both dialects and both SQL modes.

use peerage_proto::InfoHash;
use peerage_sql::{Error, GazelleDialect, Outcome, Schema};
use peerage_testkit::{GazelleTables, MariaDb, SqlMode};
use peerage_tracker::private::{Batch, MemberId, Passkey, Pricing, Token, TorrentId};

use crate::rows::{ODD_PEER_ID, credit, key, member, peer, snatch, token_use, torrent, visit};
use crate::{open, options, run};

const AUTO: Schema = Schema::Gazelle(GazelleDialect::Auto);

const ALL: [(GazelleTables, SqlMode); 4] = [
    (GazelleTables::WhatCd, SqlMode::Strict),
    (GazelleTables::WhatCd, SqlMode::Loose),
    (GazelleTables::Ops, SqlMode::Strict),
    (GazelleTables::Ops, SqlMode::Loose),
];

/// Where a dialect has the sums of a member.
fn sums(tables: GazelleTables) -> &'static str {
    match tables {
        GazelleTables::WhatCd => "SELECT ID, Uploaded, Downloaded FROM users_main ORDER BY ID",
        GazelleTables::Ops => {
            "SELECT UserID, Uploaded, Downloaded FROM users_leech_stats ORDER BY UserID"
        }
    }
}

/// Where a dialect has the sums of a torrent.
fn torrents(tables: GazelleTables) -> &'static str {
    match tables {
        GazelleTables::WhatCd => {
            "SELECT ID, Seeders, Leechers, Snatched, balance, last_action IS NULL, \
             ABS(TIMESTAMPDIFF(SECOND, last_action, NOW())) < 60 FROM torrents ORDER BY ID"
        }
        GazelleTables::Ops => {
            "SELECT TorrentID, Seeders, Leechers, Snatched, Balance, last_action IS NULL, \
             ABS(TIMESTAMPDIFF(SECOND, last_action, NOW())) < 60 FROM torrents_leech_stats \
             ORDER BY TorrentID"
        }
    }
}

/// A site with members 1 to 3, of whom 3 is disabled, and torrents 1 to 3.
pub(crate) fn site(tables: GazelleTables, mode: SqlMode) -> MariaDb {
    let site = MariaDb::start(mode).expect("MariaDB starts");
    site.make_gazelle(tables).expect("the tables are new");
    fill(&site, tables);
    site
}

fn fill(site: &MariaDb, tables: GazelleTables) {
    let query = |sql: &str| site.query(sql).expect("the tables are as the test made them");
    query(
        "INSERT INTO users_main (ID, Username, PassHash, IP, Enabled, Visible, torrent_pass, \
         can_leech) VALUES \
         (1, 'one', '', '192.0.2.1', '1', '1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1), \
         (2, 'two', '', '127.0.0.1', '1', '1', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 0), \
         (3, 'three', '', '192.0.2.3', '2', '1', 'cccccccccccccccccccccccccccccccc', 1), \
         (4, 'four', '', '192.0.2.4', '1', '0', 'dddddddddddddddddddddddddddddddd', 1), \
         (5, 'five', '', '192.0.2.5', '1', '1', 'no passkey', 1)",
    );
    query("INSERT INTO xbt_client_whitelist (peer_id, vstring) VALUES ('-TR4', 'Transmission 4')");
    query(
        "INSERT INTO users_freeleeches (UserID, TorrentID, Time, Expired) VALUES \
         (1, 1, NOW(), 0), (1, 2, NOW(), 1), (2, 2, NOW(), 0)",
    );
    match tables {
        GazelleTables::WhatCd => {
            query(
                "INSERT INTO torrents (ID, GroupID, info_hash, FileList, FreeTorrent, Snatched, \
                 balance) VALUES (1, 1, x'0001020304050607080900010203040506070809', '', '0', 7, \
                 -5), (2, 1, '00010203040506070809aaaaaaaaaaaaaaaaaaAA', '', '1', 0, 0), \
                 (3, 1, REPEAT('x', 20), '', '2', 0, 0), (4, 1, 'short', '', '0', 0, 0)",
            );
        }
        GazelleTables::Ops => {
            query(
                "INSERT INTO torrents (ID, GroupID, info_hash, FreeTorrent) VALUES \
                 (1, 1, x'0001020304050607080900010203040506070809', '0'), \
                 (2, 1, x'00010203040506070809AAAAAAAAAAAAAAAAAAAA', '1'), \
                 (3, 1, REPEAT('x', 20), '2'), (4, 1, REPEAT('y', 20), '0')",
            );
            // The fourth has no sums: as with Ocelot, it is not registered.
            query(
                "INSERT INTO torrents_leech_stats (TorrentID, Snatched, Balance) VALUES \
                 (1, 7, -5), (2, 0, 0), (3, 0, 0)",
            );
            query("INSERT INTO users_leech_stats (UserID) VALUES (1), (2), (3)");
        }
    }
}

/// An outcome of which nothing is left.
#[track_caller]
pub(crate) fn check_written(outcome: &Outcome, rows: usize) {
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.dead, []);
    assert_eq!(outcome.left.rows(), 0);
    assert_eq!(outcome.rows, rows);
}

fn query(site: &MariaDb, sql: &str) -> Vec<String> {
    let rows = site.query(sql).expect("a statement of the test's own");
    rows.into_iter().map(|row| row.join(" ")).collect()
}

#[test]
fn members_torrents_tokens_and_clients_are_loaded_from_each_dialect() {
    for (tables, mode) in [ALL[0], ALL[3]] {
        let site = site(tables, mode);
        let loaded = run(async { open(&site.url(), AUTO).await.load().await }).expect("it loads");
        let members: Vec<_> =
            loaded.members.iter().map(|m| (m.id.0, m.passkey, m.can_leech, m.protected)).collect();
        let passkey = |byte| Passkey([byte; 32]);
        let expected = [
            (1, passkey(b'a'), true, false),
            (2, passkey(b'b'), false, true),
            (4, passkey(b'd'), true, true),
        ];
        assert_eq!(members, expected, "{tables:?}");
        let torrents: Vec<_> = loaded
            .torrents
            .iter()
            .map(|t| (t.id.0, t.info_hash, t.pricing, t.completed, t.balance))
            .collect();
        let hash = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let first: [u8; 20] = [hash, hash].concat().try_into().expect("twice ten");
        let second: [u8; 20] = [hash, [0xaa; 10]].concat().try_into().expect("twice ten");
        let expected = [
            (1, InfoHash(first), Pricing::Normal, 7, -5),
            (2, InfoHash(second), Pricing::Free, 0, 0),
            (3, InfoHash([b'x'; 20]), Pricing::Neutral, 0, 0),
        ];
        assert_eq!(torrents, expected, "{tables:?}");
        assert_eq!(loaded.tokens, [token(1, 1), token(2, 2)]);
        let clients: Vec<_> =
            loaded.clients.iter().map(|c| (c.prefix.as_slice(), c.name.as_str())).collect();
        assert_eq!(clients, [(b"-TR4".as_slice(), "Transmission 4")]);
        assert_eq!(loaded.denied_clients, []);
    }
}

fn token(member: u32, torrent: u32) -> Token {
    Token { member: MemberId(member), torrent: TorrentId(torrent) }
}

fn first_batch() -> Batch {
    let mut long = peer(key(2, 1, ODD_PEER_ID));
    long.user_agent = "ü".repeat(255);
    long.address = Some("2001:db8::1:2:3:4".parse().expect("an address"));
    let mut hidden = peer(key(4, 1, ODD_PEER_ID));
    hidden.address = None;
    Batch {
        members: vec![member(2, 5, 0), member(1, 100, 200)],
        torrents: vec![torrent(2, 0, 0, 3), torrent(1, 1, 2, -1000)],
        peers: vec![peer(key(1, 1, ODD_PEER_ID)), long, hidden],
        visits: vec![visit(key(1, 3, ODD_PEER_ID))],
        snatches: vec![snatch(1, 1)],
        token_uses: vec![token_use(1, 1, 50), token_use(4, 3, 60)],
        expired_tokens: vec![token(1, 1)],
    }
}

#[test]
fn every_table_is_written_in_each_dialect_and_mode() {
    for (tables, mode) in ALL {
        let site = site(tables, mode);
        let store = |batch: Batch| run(async { open(&site.url(), AUTO).await.write(batch).await });
        check_written(&store(first_batch()), 11);
        let others = match tables {
            GazelleTables::WhatCd => ["3 0 0", "4 0 0", "5 0 0"].as_slice(),
            GazelleTables::Ops => &["3 0 0"],
        };
        assert_eq!(query(&site, sums(tables)), [&["1 100 200", "2 5 0"], others].concat());
        let stands = &query(&site, torrents(tables))[..2];
        assert_eq!(stands, ["1 1 2 9 -1000 0 1", "2 0 2 0 3 1 NULL"], "{tables:?} {mode:?}");
        check_peers(&site);
        let snatched = query(&site, "SELECT uid, fid, tstamp, IP FROM xbt_snatched");
        assert_eq!(snatched, ["1 1 1700000123 192.0.2.1"]);
        let tokens = "SELECT UserID, TorrentID, Downloaded, Time > '2020-01-01', Expired, Uses \
                      FROM users_freeleeches ORDER BY UserID, TorrentID";
        let expected = ["1 1 50 1 0 1", "1 2 0 1 1 1", "2 2 0 1 0 1", "4 3 60 1 0 1"];
        assert_eq!(query(&site, tokens), expected);

        check_written(&store(second_batch()), 6);
        let sums = query(&site, sums(tables));
        assert_eq!(&sums[..2], ["1 101 202", "2 5 0"]);
        let stands = &query(&site, torrents(tables))[..1];
        assert_eq!(stands, ["1 0 2 10 -7 0 1"], "last_action stays as there is no seeder");
        let peers = "SELECT active, announced, uploaded, remaining, upspeed, downspeed, ip, \
                     useragent, mtime FROM xbt_files_users ORDER BY uid";
        let expected = [
            "0 1 100 0 5 2147483647 198.51.100.7 qBittorrent/5.0 1700000000",
            "1 2 100 300 0 0  ??????????????????????????????????????????????????? 1700001800",
            "1 1 100 300 5 2147483647  Transmission/4.0.6 1700000000",
        ];
        assert_eq!(query(&site, peers), expected, "{tables:?} {mode:?}");
        assert_eq!(query(&site, &tokens.replace("ORDER", "WHERE Downloaded = 55 ORDER")).len(), 1);
    }
}

/// What the first batch made of peers.
#[track_caller]
fn check_peers(site: &MariaDb) {
    let peers = "SELECT uid, fid, active, uploaded, downloaded, upspeed, downspeed, remaining, \
                 corrupt, timespent, announced, ip, HEX(peer_id), LEFT(useragent, 18), mtime, \
                 completed, connectable, LENGTH(useragent) FROM xbt_files_users ORDER BY uid";
    let id: String = ODD_PEER_ID.0.iter().map(|byte| format!("{byte:02X}")).collect();
    let same = "100 200 5 2147483647 300 4 60 1";
    let expected = [
        format!("1 1 1 {same} 192.0.2.1 {id} Transmission/4.0.6 1700000000 0 1 18"),
        // The column of an address takes no IPv6, that of the user agent 51 characters.
        format!("2 1 1 {same}  {id} ?????????????????? 1700000000 0 1 51"),
        format!("4 1 1 {same}  {id} Transmission/4.0.6 1700000000 0 1 18"),
    ];
    assert_eq!(query(site, peers), expected);
}

/// Changes some of the rows that the first made.
fn second_batch() -> Batch {
    let mut stopped = peer(key(1, 1, ODD_PEER_ID));
    stopped.active = false;
    stopped.remaining = 0;
    stopped.address = Some([198, 51, 100, 7].into());
    stopped.user_agent = "qBittorrent/5.0".to_owned();
    Batch {
        members: vec![member(1, 1, 2)],
        torrents: vec![torrent(1, 0, 1, -7)],
        peers: vec![stopped],
        visits: vec![visit(key(2, 1, ODD_PEER_ID))],
        snatches: vec![snatch(1, 2)],
        token_uses: vec![token_use(1, 1, 5)],
        ..Batch::default()
    }
}

#[test]
fn ipv6_addresses_are_written_where_the_column_takes_them() {
    let site = site(GazelleTables::Ops, SqlMode::Strict);
    let wider = "ALTER TABLE xbt_files_users MODIFY ip VARCHAR(45) NOT NULL";
    site.query(wider).expect("root may");
    let mut long = peer(key(2, 1, ODD_PEER_ID));
    long.address = Some("2001:db8::1:2:3:4".parse().expect("an address"));
    let batch = Batch { peers: vec![long], ..Batch::default() };
    run(async { check_written(&open(&site.url(), AUTO).await.write(batch).await, 1) });
    assert_eq!(query(&site, "SELECT ip FROM xbt_files_users"), ["2001:db8::1:2:3:4"]);
}

#[test]
fn removed_member_and_torrent_are_not_made_anew_and_hold_up_nobody() {
    for (tables, mode) in ALL {
        let site = site(tables, mode);
        let many = (1..=3000).filter(|id| *id != 3).map(|id| member(id, 1, 1));
        let ids = "INSERT INTO users_main (ID, Username, PassHash, torrent_pass) \
                   SELECT seq, CONCAT('u', seq), '', '' FROM seq_6_to_3000 WHERE seq <> 1234";
        site.query(ids).expect("the ids are free");
        let outcome = run(async {
            let store = open(&site.url(), AUTO).await;
            let torrents = vec![torrent(1, 1, 1, 1), torrent(99, 1, 1, 1)];
            store.write(Batch { torrents, ..credit(many) }).await
        });
        assert_eq!((outcome.error, outcome.left.rows()), (None, 0));
        let dead: Vec<_> = outcome
            .dead
            .iter()
            .map(|row| (row.table, row.columns[0].1.as_str(), row.error.contains("foreign key")))
            .collect();
        let sum = match tables {
            GazelleTables::WhatCd => {
                assert_eq!(dead, []);
                "SELECT SUM(Uploaded), COUNT(*) FROM users_main WHERE Uploaded > 0"
            }
            GazelleTables::Ops => {
                let expected =
                    [("users_leech_stats", "1234", true), ("torrents_leech_stats", "99", true)];
                assert_eq!(dead, expected);
                "SELECT SUM(Uploaded), COUNT(*) FROM users_leech_stats WHERE Uploaded > 0"
            }
        };
        assert_eq!(query(&site, sum), ["2998 2998"], "{tables:?} {mode:?}");
        assert_eq!(query(&site, "SELECT COUNT(*) FROM torrents WHERE ID = 99"), ["0"]);
    }
}

#[test]
fn peers_are_read_back_and_forgotten_at_the_start() {
    for (tables, mode) in [ALL[0], ALL[2]] {
        let site = site(tables, mode);
        // Who may not drop a table, may not truncate it.
        let rights = "REVOKE DROP ON gazelle.* FROM 'peerage'@'%'";
        site.query(rights).expect("root may");
        run(async {
            let store = open(&site.url(), AUTO).await;
            store.write(first_batch()).await;
            let peers = store.peers(1_699_999_999).await.expect("it reads");
            let mut kept: Vec<_> = peers.iter().map(|peer| (peer.key, peer.uploaded)).collect();
            kept.sort_unstable();
            let expected = [1, 2, 4].map(|member| (key(member, 1, ODD_PEER_ID), 100));
            assert_eq!(kept, expected);
            assert_eq!(store.peers(1_700_000_001).await, Ok(Vec::new()), "they are older");
            let rows = || query(&site, "SELECT COUNT(*) FROM xbt_files_users").concat();
            store.clear(Some(1_700_000_000)).await.expect("it may delete");
            assert_eq!(rows(), "3", "those that are back");
            store.clear(Some(1_700_000_001)).await.expect("it may delete");
            assert_eq!(rows(), "0", "they are older");
            let peers = Batch { peers: first_batch().peers, ..Batch::default() };
            store.write(peers).await;
            assert_ne!(rows(), "0");
            store.clear(None).await.expect("it may delete");
            assert_eq!(rows(), "0", "nobody is back");
        });
        let stands = &query(&site, torrents(tables))[..1];
        assert_eq!(stands, ["1 0 0 9 -1000 0 1"]);
    }
}

#[test]
fn more_peers_than_a_page_are_read_once_each() {
    for tables in [GazelleTables::WhatCd, GazelleTables::Ops] {
        let site = site(tables, SqlMode::Strict);
        let many = "INSERT INTO xbt_files_users (uid, fid, peer_id, useragent, ip, mtime) \
                    SELECT seq % 7, seq % 11, CONCAT('-TR4060-', seq), '', '', 1 \
                    FROM seq_1_to_45000";
        site.query(many).expect("the keys differ");
        let peers = run(async { open(&site.url(), AUTO).await.peers(0).await }).expect("it reads");
        let mut keys: Vec<_> = peers.iter().map(|peer| peer.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((peers.len(), keys.len()), (45_000, 45_000), "{tables:?}");
    }
}

#[test]
fn nothing_is_written_where_nothing_is_to_be() {
    let site = site(GazelleTables::Ops, SqlMode::Strict);
    run(async {
        let options = peerage_sql::Options { readonly: true, ..options(&site.url(), AUTO) };
        let store = peerage_sql::Store::open(&options).await.expect("it is there");
        let outcome = store.write(first_batch()).await;
        assert_eq!((outcome.error, outcome.left.rows()), (None, 0), "it is dropped");
        store.clear(None).await.expect("nothing is done");
        assert_eq!(store.hold(first_batch()).await, []);
    });
    assert_eq!(query(&site, "SELECT COUNT(*) FROM xbt_files_users"), ["0"]);
    let marks = query(&site, "SHOW TABLES LIKE 'peerage%'");
    assert_eq!(marks, [""; 0]);
}

#[test]
fn database_that_is_no_site_is_told_by_its_missing_tables() {
    let server = MariaDb::start(SqlMode::Strict).expect("it starts");
    let error = run(async { peerage_sql::Store::open(&options(&server.url(), AUTO)).await.err() });
    let Some(Error::Setup(what)) = error else { panic!("{error:?}") };
    assert!(what.contains("xbt_files_users"), "{what}");
    let wrong = server.url().replace("with", "without");
    let error = run(async { peerage_sql::Store::open(&options(&wrong, AUTO)).await.err() });
    let Some(Error::Setup(what)) = error else { panic!("{error:?}") };
    assert!(what.contains("1045") && !what.contains("without"), "{what}");
}

#[test]
fn snatches_of_registered_torrents_are_read_back() {
    for tables in [GazelleTables::WhatCd, GazelleTables::Ops] {
        let site = site(tables, SqlMode::Strict);
        let many = "INSERT INTO xbt_snatched (uid, fid, tstamp, IP) \
                    SELECT seq % 1000, 1 + seq % 5000, 0, '' FROM seq_1_to_30000";
        site.query(many).expect("there is no key");
        let mut found = Vec::new();
        let torrents: Vec<_> = (1..=4000).map(TorrentId).collect();
        run(async {
            let store = open(&site.url(), AUTO).await;
            let give = |member: MemberId, torrent: TorrentId| found.push((member.0, torrent.0));
            store.snatches(&torrents, give).await.expect("it reads");
        });
        // 6 of each, and those of 1000 torrents are of none that is registered.
        assert_eq!(found.len(), 24_000, "{tables:?}");
        assert!(found.iter().all(|(member, torrent)| member % 1000 == (torrent - 1) % 1000));
    }
}
