//! A whole site for a test: MariaDB with the site's tables, the tracker beside it, the site's PHP,
//! and members' clients.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use peerage_testkit::{GazelleTables, MariaDb, Server, SqlMode, Wait, wait_for};

use crate::php::{Generation, Php, REPORT_PASSWORD, SITE_PASSWORD, rawurlencode};

/// How long rows may take to be there on a busy machine. A flush is due every second.
const LIMIT: Duration = Duration::from_secs(30);

/// A running site.
pub(crate) struct Site {
    /// Dropped first: it writes to the database.
    pub(crate) tracker: Server,
    pub(crate) database: MariaDb,
    pub(crate) generation: Generation,
}

/// A member's client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) passkey: &'a str,
    pub(crate) peer_id: &'a [u8; 20],
    pub(crate) port: u16,
    pub(crate) user_agent: &'a str,
}

/// What a client announces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announce<'a> {
    pub(crate) event: &'a str,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) left: u64,
    pub(crate) corrupt: u64,
}

pub(crate) const HASH: [u8; 20] = *b"\0\x01\x7f\x80\xff&= +%abcdefghij";
pub(crate) const OTHER_HASH: [u8; 20] = *b"bbbbbbbbbbbbbbbbbbbb";
pub(crate) const ANN: &str = "annannannannannannannannannann01";
pub(crate) const BOB: &str = "bobbobbobbobbobbobbobbobbobbob02";
pub(crate) const AGENT: &str = "qBittorrent/4.3.2";

/// An info_hash in a URL.
pub(crate) fn escaped(hash: [u8; 20]) -> String {
    rawurlencode(&hash)
}

pub(crate) const fn client<'a>(passkey: &'a str, peer_id: &'a [u8; 20], port: u16) -> Client<'a> {
    Client { passkey, peer_id, port, user_agent: AGENT }
}

/// A database with the tables of `generation` and nothing in them.
pub(crate) fn database(generation: Generation, mode: SqlMode) -> MariaDb {
    let database = MariaDb::start(mode).expect("MariaDB starts");
    database
        .make_gazelle(match generation {
            Generation::WhatCd => GazelleTables::WhatCd,
            Generation::Ops => GazelleTables::Ops,
        })
        .expect("the tables are made");
    database
}

/// A tracker on `database`.
pub(crate) fn tracker(database: &MariaDb, flags: &[&str], settings: &[(&str, &str)]) -> Server {
    let url = database.url();
    let all: Vec<(&str, &str)> = [
        ("PEERAGE__DATABASE__URL", url.as_str()),
        ("PEERAGE__DATABASE__FLUSH_INTERVAL", "1"),
        ("PEERAGE__GAZELLE__SITE_PASSWORD", SITE_PASSWORD),
        ("PEERAGE__GAZELLE__REPORT_PASSWORD", REPORT_PASSWORD),
        ("PEERAGE__ANNOUNCE__CLIENT_MIN_INTERVAL", "0"),
        ("PEERAGE__PRIVATE__EARLY", "0"),
        ("PEERAGE__HTTP__EXTERNAL_IP", "false"),
    ]
    .into_iter()
    .chain(settings.iter().copied())
    .collect();
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    Server::start_with(program, &[&["--private"], flags].concat(), &all).expect("it starts")
}

impl Site {
    /// A site with empty tables, as strict as its generation runs.
    pub(crate) fn new(generation: Generation) -> Self {
        Self::with(generation, "", &[])
    }

    /// A site with rows, and settings of the tracker.
    pub(crate) fn with(generation: Generation, rows: &str, settings: &[(&str, &str)]) -> Self {
        let mode = match generation {
            Generation::WhatCd => SqlMode::Loose,
            Generation::Ops => SqlMode::Strict,
        };
        let database = database(generation, mode);
        if !rows.is_empty() {
            database.query(rows).expect("the rows go in");
        }
        let tracker = tracker(&database, &[], settings);
        Self { tracker, database, generation }
    }

    /// A site of members Ann (1) and Bob (2) and the torrents 1 (`HASH`) and 2 (`OTHER_HASH`).
    pub(crate) fn with_members(generation: Generation) -> Self {
        Self::with(generation, &members(generation), &[])
    }

    pub(crate) fn php(&self) -> Php {
        Php { generation: self.generation, tracker: self.tracker.address(Ipv4Addr::LOCALHOST) }
    }

    /// Announces: the body of the reply.
    pub(crate) fn announce(
        &self,
        client: Client<'_>,
        hash: [u8; 20],
        announce: Announce<'_>,
    ) -> String {
        let Client { passkey, peer_id, port, user_agent } = client;
        let Announce { event, uploaded, downloaded, left, corrupt } = announce;
        let (hash, peer_id) = (escaped(hash), rawurlencode(peer_id));
        let target = format!(
            "/{passkey}/announce?info_hash={hash}&peer_id={peer_id}&port={port}\
             &uploaded={uploaded}&downloaded={downloaded}&left={left}&corrupt={corrupt}\
             &key=82D19544&event={event}&numwant=200&compact=1&no_peer_id=1&supportcrypto=1\
             &redundant=0"
        );
        self.get(&target, user_agent)
    }

    /// The body at `target`, asked with a User-Agent.
    pub(crate) fn get(&self, target: &str, user_agent: &str) -> String {
        let mut connection = self.tracker.connect().expect("it listens");
        let headers = [("User-Agent", user_agent)];
        let reply = connection.request("GET", target, &headers, b"").expect("it answers");
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.text()
    }

    /// Waits until `query` gives `rows`, columns separated by blanks.
    #[track_caller]
    pub(crate) fn wait_for_rows(&self, query: &str, rows: &[&str]) {
        wait_for_rows(&self.database, query, rows);
    }
}

/// Waits until `query` gives `rows`, columns separated by blanks.
#[track_caller]
pub(crate) fn wait_for_rows(database: &MariaDb, query: &str, rows: &[&str]) {
    let waited = wait_for(&format!("{rows:?} of {query}"), LIMIT, || {
        let found: Vec<String> =
            database.query(query)?.iter().map(|columns| columns.join(" ")).collect();
        Ok(if found == rows { Wait::Done(()) } else { Wait::NotYet(format!("{found:?}")) })
    });
    if let Err(error) = waited {
        panic!("{error}");
    }
}

/// Rows of Ann and Bob and of two torrents.
pub(crate) fn members(generation: Generation) -> String {
    let hex = |hash: [u8; 20]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (hash, other) = (hex(HASH), hex(OTHER_HASH));
    let (more, text) = match generation {
        Generation::WhatCd => (", FileList", ", ''"),
        Generation::Ops => ("", ""),
    };
    let mut rows = format!(
        "INSERT INTO users_main (ID, Username, PassHash, IP, Enabled, torrent_pass) VALUES \
         (1, 'ann', '', '192.0.2.1', '1', '{ANN}'), (2, 'bob', '', '192.0.2.2', '1', '{BOB}');\
         INSERT INTO torrents (ID, GroupID, info_hash{more}) VALUES \
         (1, 1, x'{hash}'{text}), (2, 1, x'{other}'{text});"
    );
    if generation == Generation::Ops {
        rows += "INSERT INTO users_leech_stats (UserID) VALUES (1), (2);\
                 INSERT INTO torrents_leech_stats (TorrentID) VALUES (1), (2);";
    }
    rows
}

/// What a client that is refused is told.
pub(crate) fn failure(text: &str) -> String {
    format!("14:failure reason{}:{text}", text.len())
}
