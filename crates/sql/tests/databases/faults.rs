//! Databases that die, stand still, refuse, and connections that break at the worst moment: sums
//! come out exact, and every wait ends.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use peerage_sql::{Error, GazelleDialect, Outcome, Schema, Store};
use peerage_testkit::{GazelleTables, MariaDb, Postgres, SqlMode, Wait, wait_for};
use peerage_tracker::private::{Batch, MemberDelta, MemberId, Snatch, TorrentId, TorrentRow};

use crate::gazelle::{check_written, site};
use crate::rows::{ODD_PEER_ID, credit, key, member, peer, torrent, visit};
use crate::{open, options, run};

const AUTO: Schema = Schema::Gazelle(GazelleDialect::Auto);
const LIMIT: Duration = Duration::from_secs(120);

/// Members and torrents of the runs against databases that are killed.
const MEMBERS: u32 = 40;

/// What a tracker owes the database: the plainest thing that merges.
#[derive(Default)]
struct Owed {
    members: BTreeMap<MemberId, (u64, u64)>,
    torrents: BTreeMap<TorrentId, u32>,
    snatches: Vec<Snatch>,
}

impl Owed {
    /// As an announce of `member` that completes `torrent` owes.
    fn add(&mut self, round: u64) {
        for id in 1..=MEMBERS {
            let owed = self.members.entry(MemberId(id)).or_default();
            *owed = (owed.0 + round + u64::from(id), owed.1 + 1);
        }
        let torrent = TorrentId(u32::try_from(round).expect("few rounds") % MEMBERS + 1);
        *self.torrents.entry(torrent).or_default() += 1;
        let member = MemberId(1);
        self.snatches.push(Snatch { member, torrent, at_secs: round, address: None });
    }

    fn put_back(&mut self, left: Batch) {
        for row in left.members {
            let owed = self.members.entry(row.member).or_default();
            *owed = (owed.0 + row.uploaded, owed.1 + row.downloaded);
        }
        for row in left.torrents {
            *self.torrents.entry(row.torrent).or_default() += row.completed;
        }
        self.snatches.extend(left.snatches);
    }

    fn take(&mut self) -> Batch {
        let owed = std::mem::take(self);
        let members = owed.members.into_iter();
        let torrents = owed.torrents.into_iter();
        Batch {
            members: members
                .map(|(member, (uploaded, downloaded))| MemberDelta {
                    member,
                    uploaded,
                    downloaded,
                })
                .collect(),
            torrents: torrents
                .map(|(id, completed)| TorrentRow { torrent: id, ..torrent(0, 1, completed, 0) })
                .collect(),
            snatches: owed.snatches,
            ..Batch::default()
        }
    }
}

/// Writes round after round until it is told to stop and nothing is owed; the number of rounds.
fn write_until(stop: &AtomicBool, rounds_done: &AtomicU64, url: &str, schema: Schema) -> u64 {
    run(async {
        let (store, mut owed, mut round) = (open(url, schema).await, Owed::default(), 0);
        let deadline = Instant::now() + LIMIT;
        loop {
            let is_last = stop.load(Ordering::Acquire);
            if !is_last {
                round += 1;
                owed.add(round);
            }
            let outcome = store.write(owed.take()).await;
            assert_eq!(outcome.dead, []);
            owed.put_back(outcome.left);
            match outcome.error {
                None if is_last => return round,
                None => drop(rounds_done.fetch_add(1, Ordering::Release)),
                Some(error) => {
                    assert!(Instant::now() < deadline, "{error}");
                    // Not to ask a dead server ten thousand times a second.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    })
}

/// Lets a writer run while `kill` is done ten times, each time after some more rounds; the number
/// of rounds written.
fn write_through(url: &str, schema: Schema, mut kill: impl FnMut()) -> u64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&stop, &done, url, schema));
        for round in 0..10 {
            let before = done.load(Ordering::Acquire);
            // An odd number of rounds, so that it is met at different places.
            let awaited = before + 3 + round;
            let met = wait_for("rounds", LIMIT, || {
                assert!(!writer.is_finished(), "the writer failed");
                let done = done.load(Ordering::Acquire);
                Ok(if done >= awaited { Wait::Done(()) } else { Wait::NotYet(done.to_string()) })
            });
            met.expect("the writer goes on after each kill");
            kill();
        }
        stop.store(true, Ordering::Release);
        writer.join().expect("the writer holds what it promises")
    })
}

/// The sums that so many rounds make: of the upload of all members, of their download, of
/// completed downloads, and of snatches.
fn sums(rounds: u64) -> String {
    let members = u64::from(MEMBERS);
    let ids = members * (members + 1) / 2;
    let uploaded = members * rounds * (rounds + 1) / 2 + ids * rounds;
    format!("{uploaded} {} {rounds} {rounds}", members * rounds)
}

#[test]
fn sums_are_exact_when_mariadb_is_killed_under_a_running_writer() {
    let mut server = MariaDb::start(SqlMode::Strict).expect("it starts");
    server.make_gazelle(GazelleTables::Ops).expect("the tables are new");
    for sql in [
        "INSERT INTO users_main (ID, Username, PassHash, torrent_pass) \
         SELECT seq, seq, '', '' FROM seq_1_to_40",
        "INSERT INTO torrents (ID, GroupID, info_hash) SELECT seq, 1, seq FROM seq_1_to_40",
    ] {
        server.query(sql).expect("the tables are empty");
    }
    let url = server.url();
    let rounds = write_through(&url, AUTO, || {
        server.kill9().expect("it is ours");
        server.restart().expect("it starts again");
    });
    let asked = "SELECT SUM(Uploaded), SUM(Downloaded), \
                 (SELECT SUM(Snatched) FROM torrents_leech_stats), \
                 (SELECT COUNT(*) FROM xbt_snatched) FROM users_leech_stats";
    let found = server.query(asked).expect("the tables are there");
    assert_eq!(found[0].join(" "), sums(rounds));
}

#[test]
fn sums_are_exact_when_postgres_is_killed_under_a_running_writer() {
    let mut server = Postgres::start().expect("it starts");
    let url = server.url();
    run(async { drop(open(&url, Schema::Own).await) });
    for sql in [
        "INSERT INTO members (id, name, passkey, created_at) \
         SELECT n, n::text, n::text, 0 FROM generate_series(1, 40) n",
        "INSERT INTO torrents (id, info_hash, name, created_at) \
         SELECT n, n::text::bytea, '', 0 FROM generate_series(1, 40) n",
    ] {
        server.query(sql).expect("the tables are empty");
    }
    let rounds = write_through(&url, Schema::Own, || {
        server.kill9().expect("it is ours");
        server.restart().expect("it starts again");
    });
    // Snatches are once for each member and torrent here.
    let asked = "SELECT SUM(uploaded), SUM(downloaded), \
                 (SELECT SUM(completed) FROM torrents), \
                 (SELECT CASE WHEN COUNT(*) = 40 THEN SUM(t.completed) END FROM snatches s \
                 JOIN torrents t ON t.id = s.torrent_id) FROM members";
    let found = server.query(asked).expect("the tables are there");
    let expected = sums(rounds);
    let found = found[0].join(" ");
    // Fewer than 40 rounds do not reach each torrent.
    let found = if rounds < 40 { found.replace("NULL", &rounds.to_string()) } else { found };
    assert_eq!(found, expected);
}

/// What is done to the next COMMIT that passes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Nothing.
    Nowhere,
    /// It is not passed on, and the connection ends.
    Before,
    /// It is passed on and answered; the answer is not passed on, and the connection ends.
    After,
}

/// A connection to a database that can be cut at a COMMIT.
struct Proxy {
    port: u16,
    cut: Arc<Mutex<Cut>>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let cut = Arc::new(Mutex::new(Cut::Nowhere));
        let shared = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).expect("it is up");
                let cut = Arc::clone(&shared);
                thread::spawn(move || pass(&client, &server, &cut));
            }
        });
        Self { port, cut }
    }

    fn cut(&self, cut: Cut) {
        *self.cut.lock().expect("nobody panics with it") = cut;
    }
}

/// Passes bytes on in both directions until an end or a cut.
fn pass(client: &TcpStream, server: &TcpStream, cut: &Mutex<Cut>) {
    let is_muted = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = (&mut &*server).read(&mut buffer) {
                if is_muted.load(Ordering::Acquire) {
                    break;
                }
                if (&mut &*client).write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        });
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = (&mut &*client).read(&mut buffer) {
            let sent = &buffer[..count];
            let mut cut = cut.lock().expect("nobody panics with it");
            if *cut != Cut::Nowhere && sent.windows(6).any(|six| six == b"COMMIT") {
                match std::mem::replace(&mut *cut, Cut::Nowhere) {
                    Cut::Before => break,
                    _ => is_muted.store(true, Ordering::Release),
                }
            }
            if (&mut &*server).write_all(sent).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// A batch whose every part adds, but for the peer.
fn adding() -> Batch {
    Batch {
        members: vec![member(1, 10, 20)],
        torrents: vec![torrent(1, 1, 1, 0)],
        peers: vec![peer(key(1, 1, ODD_PEER_ID))],
        visits: vec![visit(key(1, 1, ODD_PEER_ID))],
        ..Batch::default()
    }
}

/// Writes [`adding`], the first COMMIT being cut, until it is written.
async fn write_cut(store: &Store, proxy: &Proxy, cut: Cut) {
    proxy.cut(cut);
    let mut left = adding();
    for _ in 0..5 {
        let outcome = store.write(left).await;
        assert_eq!(outcome.dead, []);
        left = outcome.left;
        if outcome.error.is_none() {
            assert_eq!(left.rows(), 0);
            return;
        }
    }
    panic!("it does not get over one cut");
}

#[test]
fn commit_of_which_nobody_knows_counts_once() {
    let server = site(GazelleTables::Ops, SqlMode::Strict);
    let proxy = Proxy::start(server.port());
    let url = server.url().replace(&server.port().to_string(), &proxy.port.to_string());
    run(async {
        let store = open(&url, AUTO).await;
        for cut in [Cut::Before, Cut::After, Cut::Nowhere, Cut::After, Cut::Before] {
            write_cut(&store, &proxy, cut).await;
        }
    });
    let asked = "SELECT u.Uploaded, u.Downloaded, t.Snatched - 7, \
                 (SELECT COUNT(*) FROM xbt_files_users) \
                 FROM users_leech_stats u, torrents_leech_stats t \
                 WHERE u.UserID = 1 AND t.TorrentID = 1";
    assert_eq!(server.query(asked).expect("a statement")[0].join(" "), "50 100 5 1");
}

#[test]
fn commit_of_which_nobody_knows_counts_once_after_a_restart_too() {
    let server = Postgres::start().expect("it starts");
    let proxy = Proxy::start(server.port());
    let url = server.url().replace(&server.port().to_string(), &proxy.port.to_string());
    for (index, cut) in [Cut::Before, Cut::After].into_iter().enumerate() {
        let held = run(async {
            let store = open(&url, Schema::Own).await;
            if index == 0 {
                let sql = "INSERT INTO members (id, name, passkey, created_at) \
                           VALUES (1, '', '', 0)";
                server.query(sql).expect("the table is empty");
            }
            proxy.cut(cut);
            let outcome = store.write(credit([member(1, 10, 20)])).await;
            assert!(matches!(outcome.error, Some(Error::Lost(_))), "{:?}", outcome.error);
            assert_eq!(outcome.left.rows(), 0, "it is held: nobody knows");
            store.hold(credit([member(1, 1, 2)])).await
        });
        assert_eq!(held.len(), 2);
        run(async {
            let store = open(&url, Schema::Own).await;
            // As after a start that was cut short: what was written is written again.
            for held in held.iter().chain(&held) {
                let outcome = store.write_held(held.clone()).await;
                assert_eq!((outcome.error, outcome.left.rows()), (None, 0));
            }
        });
    }
    let found = server.query("SELECT uploaded, downloaded FROM members").expect("a statement");
    assert_eq!(found[0].join(" "), "22 44");
}

#[test]
fn paused_server_is_a_bounded_wait() {
    let mut server = site(GazelleTables::Ops, SqlMode::Strict);
    run(async {
        let store = open(&server.url(), AUTO).await;
        check_written(&store.write(adding()).await, 4);
        server.pause().expect("it runs");
        let started = Instant::now();
        let outcome = store.write(adding()).await;
        assert!(matches!(outcome.error, Some(Error::Lost(_))), "{:?}", outcome.error);
        // 3 s for a statement and 4 s for a connection are what the test allows.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        server.resume().expect("it is there");
        check_rows(&store, outcome).await;
    });
    let asked = "SELECT Uploaded FROM users_leech_stats WHERE UserID = 1";
    let found = server.query(asked).expect("a statement");
    assert_eq!(found[0][0], "20");
}

#[test]
fn who_stops_waiting_for_a_paused_server_loses_nothing() {
    let mut server = site(GazelleTables::WhatCd, SqlMode::Strict);
    run(async {
        let store = open(&server.url(), AUTO).await;
        check_written(&store.write(adding()).await, 4);
        server.pause().expect("it runs");
        let gone = tokio::time::timeout(Duration::from_millis(300), store.write(adding())).await;
        assert!(gone.is_err(), "it stands still");
        let held = store.hold(credit([member(2, 7, 7)])).await;
        let rows: usize = held.iter().map(|held| held.rows.rows()).sum();
        assert_eq!(rows, 5, "what was on its way, what was not, and what came besides");
        server.resume().expect("it is there");
        let next = open(&server.url(), AUTO).await;
        for held in held {
            let mut outcome = next.write_held(held.clone()).await;
            if outcome.error.is_some() {
                outcome = next.write_held(held).await;
            }
            assert_eq!((outcome.error, outcome.left.rows()), (None, 0));
        }
        let gone = tokio::time::timeout(Duration::ZERO, next.write(adding())).await;
        assert!(gone.is_err(), "nothing is written in no time");
        check_rows(&next, Outcome::default()).await;
    });
    let asked = "SELECT u.Uploaded, t.Snatched - 7 FROM users_main u, torrents t \
                 WHERE t.ID = 1 AND u.ID IN (1, 2) ORDER BY u.ID";
    assert_eq!(server.query(asked).expect("a statement"), [["30", "3"], ["7", "3"]]);
}

/// Writes what is left of an outcome: at once, or over a connection that is made when the last
/// was found to be dead.
async fn check_rows(store: &Store, outcome: Outcome) {
    let again = store.write(outcome.left).await;
    let last = if again.error.is_some() { store.write(again.left).await } else { again };
    assert_eq!((last.error, last.left.rows()), (None, 0));
}

#[test]
fn paused_postgres_is_a_bounded_wait() {
    let mut server = Postgres::start().expect("it starts");
    let url = server.url();
    run(async {
        let store = open(&url, Schema::Own).await;
        let sql = "INSERT INTO members (id, name, passkey, created_at) VALUES (1, '', '', 0)";
        server.query(sql).expect("the table is empty");
        server.pause().expect("it runs");
        let started = Instant::now();
        let outcome = store.write(credit([member(1, 5, 6)])).await;
        assert!(matches!(outcome.error, Some(Error::Lost(_))), "{:?}", outcome.error);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        server.resume().expect("it is there");
        check_rows(&store, outcome).await;
    });
    let found = server.query("SELECT uploaded, downloaded FROM members").expect("a statement");
    assert_eq!(found[0].join(" "), "5 6");
}

#[test]
fn read_only_and_locked_tables_are_waited_for_and_hold_up_no_other() {
    let server = site(GazelleTables::Ops, SqlMode::Strict);
    let root = |sql: &str| server.query(sql).expect("root may");
    run(async {
        let store = open(&server.url(), AUTO).await;
        root("SET GLOBAL read_only = 1");
        let outcome = store.write(adding()).await;
        assert!(matches!(outcome.error, Some(Error::Busy(_))), "{:?}", outcome.error);
        assert_eq!(outcome.left.rows(), 4);
        root("SET GLOBAL read_only = 0");
        check_rows(&store, outcome).await;
    });
    // A session that does not end holds the lock.
    let folder = peerage_testkit::Folder::new("lock").expect("a temporary folder");
    let mut lock = std::process::Command::new("mariadb");
    lock.args(["--no-defaults", "-uroot", "gazelle", "--unbuffered"]);
    lock.arg(format!("--socket={}", server.socket().display()));
    let log = folder.path().join("log");
    let mut lock = peerage_testkit::Process::start("mariadb", &mut lock, &log).expect("it starts");
    let sql = "BEGIN; UPDATE users_leech_stats SET Uploaded = 0 WHERE UserID = 1; SELECT 'held';";
    lock.tell(sql).expect("it reads");
    lock.line("lock", LIMIT, |line| line.contains("held").then_some(())).expect("it locks");
    root("SET GLOBAL innodb_lock_wait_timeout = 1");
    run(async {
        let store = open(&server.url(), AUTO).await;
        let outcome = store.write(adding()).await;
        assert!(matches!(outcome.error, Some(Error::Busy(_))), "{:?}", outcome.error);
        assert_eq!((outcome.left.rows(), outcome.left.members.len()), (1, 1), "the others are in");
        drop(lock);
        let (mut left, deadline) = (outcome.left, Instant::now() + LIMIT);
        while left.rows() > 0 {
            assert!(Instant::now() < deadline, "the lock ends with its session");
            left = store.write(left).await.left;
        }
    });
    let found = server.query("SELECT Uploaded FROM users_leech_stats WHERE UserID = 1");
    assert_eq!(found.expect("a statement")[0][0], "20");
}

#[test]
fn table_that_is_gone_is_told_and_holds_up_no_other() {
    let server = site(GazelleTables::WhatCd, SqlMode::Strict);
    run(async {
        let store = open(&server.url(), AUTO).await;
        server.query("RENAME TABLE xbt_files_users TO gone").expect("root may");
        let outcome = store.write(adding()).await;
        let Some(Error::Setup(what)) = &outcome.error else { panic!("{:?}", outcome.error) };
        assert!(what.contains("xbt_files_users"), "{what}");
        assert_eq!((outcome.rows, outcome.left.rows(), outcome.left.peers.len()), (2, 2, 1));
        server.query("RENAME TABLE gone TO xbt_files_users").expect("root may");
        check_rows(&store, outcome).await;
    });
}

#[test]
fn full_database_is_waited_for() {
    let file = "--innodb-data-file-path=ibdata1:12M";
    let flags = [file, "--innodb-file-per-table=0"];
    let mut server = MariaDb::start_with(SqlMode::Strict, &flags).expect("it starts");
    server.make_gazelle(GazelleTables::WhatCd).expect("the tables are new");
    let filler = "CREATE TABLE filler (n INT AUTO_INCREMENT PRIMARY KEY, s CHAR(255))";
    server.query(filler).expect("there is room");
    let fill = "INSERT INTO filler (s) SELECT '' FROM seq_1_to_2000";
    while server.query(fill).is_ok() {}
    run(async {
        let store = open(&server.url(), AUTO).await;
        let peers = |torrent| (1..=2000).map(move |id| peer(key(id, torrent, ODD_PEER_ID)));
        let (mut torrent, mut failed) = (0, None);
        while failed.is_none() {
            torrent += 1;
            assert!(torrent < 50, "there is room for ever");
            let batch = Batch { peers: peers(torrent).collect(), ..Batch::default() };
            let outcome = store.write(batch).await;
            assert_eq!(outcome.dead, []);
            failed = outcome.error.map(|error| (error, outcome.left));
        }
        let (error, left) = failed.expect("the loop ends by it");
        assert!(matches!(&error, Error::Busy(what) if what.contains("full")), "{error}");
        assert!(left.rows() > 0);
        server.restart_with(&[&format!("{file}:autoextend"), flags[1]]).expect("there is room");
        check_rows(&store, Outcome { left, ..Outcome::default() }).await;
        let found = server.query("SELECT COUNT(*) FROM xbt_files_users");
        assert_eq!(found.expect("a statement")[0][0], (torrent * 2000).to_string());
    });
}

#[test]
fn batch_is_cut_to_what_the_server_takes() {
    let flags = ["--max-allowed-packet=4096"];
    let server = MariaDb::start_with(SqlMode::Strict, &flags).expect("it starts");
    server.make_gazelle(GazelleTables::Ops).expect("the tables are new");
    let url = server.url();
    run(async {
        let store = open(&url, AUTO).await;
        let peers: Vec<_> = (1..=500).map(|id| peer(key(1, id, ODD_PEER_ID))).collect();
        let visits: Vec<_> = (1..=500).map(|id| visit(key(1, id, ODD_PEER_ID))).collect();
        check_written(&store.write(Batch { peers, visits, ..Batch::default() }).await, 1000);
    });
    let found = server.query("SELECT COUNT(*), SUM(announced) FROM xbt_files_users");
    assert_eq!(found.expect("a statement")[0].join(" "), "500 1000");
}

#[test]
fn locked_sqlite_file_is_a_bounded_wait() {
    let folder = peerage_testkit::Folder::new("sqlite").expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("private.db").display());
    run(async {
        use sqlx::Connection as _;
        let store = open(&url, Schema::Own).await;
        check_written(&store.write(credit([member(1, 1, 1)])).await, 1);
        let mut other = sqlx::SqliteConnection::connect(&url).await.expect("it is there");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("nobody writes");
        let error = Store::open(&options(&url, Schema::Own)).await.err().expect("it is locked");
        assert!(!error.is_for_the_operator(), "{error}");
        let started = Instant::now();
        let outcome = store.write(credit([member(1, 1, 1)])).await;
        assert!(outcome.error.is_some() && outcome.left.rows() == 1, "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it is its own");
        check_rows(&store, outcome).await;
    });
}

#[test]
fn server_that_goes_down_and_comes_back_is_found_again() {
    let mut server = site(GazelleTables::WhatCd, SqlMode::Loose);
    run(async {
        let store = open(&server.url(), AUTO).await;
        check_written(&store.write(credit([member(1, 1, 1)])).await, 1);
        server.kill9().expect("it is ours");
        let outcome = store.write(credit([member(1, 1, 1)])).await;
        assert!(matches!(outcome.error, Some(Error::Lost(_))), "{:?}", outcome.error);
        assert_eq!(outcome.left.rows(), 1);
        server.restart().expect("it starts again");
        check_rows(&store, outcome).await;
    });
    let found = server.query("SELECT Uploaded FROM users_main WHERE ID = 1");
    assert_eq!(found.expect("a statement")[0][0], "2");
}
