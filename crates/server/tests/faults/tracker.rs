//! The tracker under test, and what it leaves in its data folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use peerage_testkit::{Folder, Server, Wait, wait_for};

use crate::crowd::Owed;

/// How long a database may take to be found again: two of the tracker's longest pauses, and a busy
/// machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Where a tracker keeps what the database does not take.
pub(crate) struct Data(Folder);

impl Data {
    pub(crate) fn new() -> Self {
        Self(Folder::new("faults").expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts a tracker with this data folder on the database at `url`, with settings besides.
    pub(crate) fn start(&self, url: &str, settings: &[(&str, &str)]) -> Server {
        let data_dir = self.path().to_str().expect("it is text");
        let all: Vec<(&str, &str)> = [
            ("PEERAGE__DATABASE__URL", url),
            ("PEERAGE__DATABASE__FLUSH_INTERVAL", "1"),
            ("PEERAGE__ANNOUNCE__CLIENT_MIN_INTERVAL", "0"),
            ("PEERAGE__PRIVATE__EARLY", "0"),
            ("PEERAGE__HTTP__EXTERNAL_IP", "false"),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        .collect();
        let flags = ["--private", "--data-dir", data_dir];
        Server::start_with(Path::new(env!("CARGO_BIN_EXE_peerage")), &flags, &all)
            .expect("it starts")
    }

    /// What rows that were refused would have added to members, and the other rows among them.
    pub(crate) fn refused(&self, sums: [&str; 4]) -> (BTreeMap<u32, (u64, u64)>, Vec<String>) {
        let [table, member, uploaded, downloaded] = sums;
        let text = std::fs::read_to_string(self.path().join("refused-rows.jsonl"));
        let (mut refused, mut others) = (BTreeMap::new(), Vec::new());
        for line in text.unwrap_or_default().lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let number = |name: &str| row["columns"][name].as_str()?.parse::<u64>().ok();
            match (number(member), number(uploaded), number(downloaded)) {
                (Some(id), Some(up), Some(down)) if row["table"] == table => {
                    let sums: &mut (u64, u64) =
                        refused.entry(u32::try_from(id).expect("a number")).or_default();
                    *sums = (sums.0 + up, sums.1 + down);
                }
                _ => others.push(line.to_owned()),
            }
        }
        (refused, others)
    }

    /// Whether something is owed that the next start is to write.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.path().join("ledger.held").exists()
    }
}

/// Waits until rows of the tracker have waited for so long: the database is missed.
#[track_caller]
pub(crate) fn wait_for_backlog(tracker: &Server, secs: u64) {
    let stats = tracker.stats_when(|stats| {
        stats["private"]["oldest_row_secs"].as_u64().is_some_and(|oldest| oldest >= secs)
    });
    stats.expect("rows wait");
}

/// Waits until rows are written again as they come.
#[track_caller]
pub(crate) fn wait_for_writes(tracker: &Server) {
    let written = wait_for("writing", LIMIT, || {
        let stats = tracker.stats()?;
        let oldest = &stats["private"]["oldest_row_secs"];
        let is_recent = oldest.as_u64().is_some_and(|oldest| oldest <= 1);
        Ok(if is_recent { Wait::Done(()) } else { Wait::NotYet(stats["private"].to_string()) })
    });
    written.expect("rows are written again");
}

/// The rows that a query gave, as [`Owed`] has them.
pub(crate) fn joined(rows: Vec<Vec<String>>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" ").to_lowercase()).collect();
    rows.sort();
    rows
}

/// What the tables say, from what the queries for members, torrents, peers and snatches gave.
pub(crate) fn found(rows: [Vec<Vec<String>>; 4]) -> Owed {
    let [members, torrents, peers, snatches] = rows;
    let member = |row: Vec<String>| {
        let numbers: Vec<u64> = row.iter().filter_map(|number| number.parse().ok()).collect();
        let &[id, uploaded, downloaded] = numbers.as_slice() else { panic!("{row:?}") };
        (u32::try_from(id).expect("a member's number"), (uploaded, downloaded))
    };
    Owed {
        members: members.into_iter().map(member).collect(),
        torrents: joined(torrents),
        peers: joined(peers),
        snatches: joined(snatches),
    }
}
