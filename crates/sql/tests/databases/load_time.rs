//! A large site is read in pages, in bounded time. `PEERAGE_LOAD_ROWS=1000000` measures it.

use std::time::Instant;

use peerage_sql::{GazelleDialect, Schema};
use peerage_testkit::{Folder, GazelleTables, MariaDb, SqlMode};

use crate::{open, run};

/// Members, and torrents: more than a page of either.
fn rows() -> usize {
    let rows = std::env::var("PEERAGE_LOAD_ROWS").ok().and_then(|rows| rows.parse().ok());
    rows.unwrap_or(50_000)
}

fn check(url: &str, schema: Schema) {
    let rows = rows();
    run(async {
        let store = open(url, schema).await;
        let started = Instant::now();
        let loaded = store.load().await.expect("it reads");
        eprintln!("{rows} members and torrents in {:?}", started.elapsed());
        assert_eq!((loaded.members.len(), loaded.torrents.len()), (rows, rows));
        let ascend = loaded.members.windows(2).all(|two| two[0].id < two[1].id);
        assert!(ascend && loaded.torrents.windows(2).all(|two| two[0].id < two[1].id));
    });
}

#[test]
fn large_site_is_read_in_pages() {
    let server = MariaDb::start(SqlMode::Strict).expect("it starts");
    server.make_gazelle(GazelleTables::Ops).expect("the tables are new");
    let rows = rows();
    for sql in [
        "INSERT INTO users_main (ID, Username, PassHash, Enabled, torrent_pass) \
         SELECT seq * 3, seq, '', '1', LPAD(seq, 32, '0') FROM seq_1_to_",
        "INSERT INTO torrents (ID, GroupID, info_hash) \
         SELECT seq * 2, 1, UNHEX(SHA1(seq)) FROM seq_1_to_",
        "INSERT INTO torrents_leech_stats (TorrentID) SELECT seq * 2 FROM seq_1_to_",
    ] {
        server.query(&format!("{sql}{rows}")).expect("the tables are empty");
    }
    check(&server.url(), Schema::Gazelle(GazelleDialect::Auto));
}

#[test]
fn large_tables_of_ours_are_read_in_pages() {
    let folder = Folder::new("sqlite").expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("private.db").display());
    let rows = rows();
    run(async {
        use sqlx::Connection as _;
        open(&url, Schema::Own).await.close().await;
        let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("it is there");
        let numbers = format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) "
        );
        for sql in [
            "INSERT INTO members (name, passkey, created_at) \
             SELECT n, printf('%032d', n), 0 FROM n",
            "INSERT INTO torrents (info_hash, name, created_at) \
             SELECT CAST(printf('%020d', n) AS BLOB), n, 0 FROM n",
        ] {
            let (insert, select) = sql.split_at(sql.find("SELECT").expect("it has one"));
            let sql = format!("{insert}{numbers}{select}");
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await;
            done.expect("the tables are empty");
        }
    });
    check(&url, Schema::Own);
}
