//! What the database did not take, in files of the data folder: rows that it refuses, for people;
//! and what was still owed at a stop, for the next start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use peerage_sql::{DeadRow, Held, Store};
use peerage_tracker::private::Private;
use serde_json::{Map, Value, json};
use tracing::{error, info, warn};

use super::held;

/// Rows that were refused, one a line, as JSON.
const DEAD_FILE: &str = "refused-rows.jsonl";

/// Most bytes of that file. Further rows are named in the log alone.
const DEAD_BYTES_MAX: u64 = 64 << 20;

/// What was owed at the last stop, one chunk a line, as JSON.
const HELD_FILE: &str = "ledger.held";

/// How often refused rows are logged, after the first ones.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// How many times what was owed at the last stop is tried to be written at the start.
const TRIES: u32 = 5;

/// The files.
pub(super) struct Leftovers {
    data_dir: Option<PathBuf>,
    logged: Mutex<Logged>,
}

/// When refused rows were last logged, and how many were not since.
#[derive(Default)]
struct Logged {
    last: Option<Instant>,
    unsaid: usize,
}

impl Leftovers {
    /// Files in `data_dir`; nothing is kept without one.
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { data_dir: data_dir.map(Path::to_owned), logged: Mutex::default() }
    }

    /// Sets aside rows that the database refuses: in a file, and in the log now and then.
    pub(super) fn bury(&self, rows: &[DeadRow]) {
        let Some(first) = rows.first() else { return };
        if let Err(error) = self.append(rows) {
            warn!("refused rows cannot be kept: {error}");
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            logged.unsaid += rows.len();
            return;
        }
        let count = rows.len() + std::mem::take(&mut logged.unsaid);
        logged.last = Some(Instant::now());
        error!(
            "{count} rows were refused by the database and set aside, one for {}: {}; it says: {}",
            first.table,
            text(first),
            first.error
        );
    }

    fn append(&self, rows: &[DeadRow]) -> io::Result<()> {
        let Some(file) = self.file(DEAD_FILE) else { return Ok(()) };
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(file)?;
        if file.metadata()?.len() > DEAD_BYTES_MAX {
            return Err(io::Error::other(format!("{DEAD_FILE} is full")));
        }
        let mut lines = String::new();
        for row in rows {
            let columns: Map<_, _> =
                row.columns.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
            let line = json!({"table": row.table, "columns": columns, "error": row.error});
            lines += &format!("{line}\n");
        }
        file.write_all(lines.as_bytes())
    }

    /// Keeps what is owed at the stop, or names it where there is no folder.
    pub(super) fn keep(&self, held: &[Held]) {
        let lines: Vec<String> = held.iter().map(|one| held::write(one).to_string()).collect();
        let kept = match self.file(HELD_FILE) {
            Some(file) => append_lines(&file, &lines).map(|()| file),
            None => Err(io::Error::other("there is no process.data_dir")),
        };
        let rows: usize = held.iter().map(|one| one.rows.rows()).sum();
        match kept {
            Ok(file) => warn!(
                "{rows} rows could not be written: they are in {} and written at the next start",
                file.display()
            ),
            Err(error) => {
                error!("{rows} rows could not be written and cannot be kept: {error}");
                // What is owed to members is worth a line each in the log.
                for delta in held.iter().flat_map(|one| &one.rows.members) {
                    error!(
                        "lost: member {} uploaded {} and downloaded {}",
                        delta.member.0, delta.uploaded, delta.downloaded
                    );
                }
            }
        }
    }

    /// Writes what the last process kept. What still cannot be written stays in its file.
    pub(super) async fn write(&self, store: &Store, private: &Private) {
        let Some(file) = self.file(HELD_FILE) else { return };
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return error!("cannot read {}: {error}", file.display()),
        };
        let mut left = Vec::new();
        let mut rows = 0;
        for line in text.lines() {
            let held = serde_json::from_str::<Value>(line).ok().and_then(|line| held::read(&line));
            let Some(held) = held else {
                error!("{}: a line that cannot be read stays there", file.display());
                left.push(line.to_owned());
                continue;
            };
            match self.write_one(store, private, &held).await {
                Ok(()) => rows += held.rows.rows(),
                Err(error) => {
                    error!("{error}; what was owed at the last stop stays in {}", file.display());
                    left.push(line.to_owned());
                }
            }
        }
        let done = match left.is_empty() {
            true => fs::remove_file(&file),
            false => fs::write(&file, left.join("\n") + "\n"),
        };
        if let Err(error) = done {
            warn!("cannot write {}: {error}", file.display());
        }
        if rows > 0 {
            info!("{rows} rows that were owed at the last stop are written");
        }
    }

    async fn write_one(
        &self,
        store: &Store,
        private: &Private,
        held: &Held,
    ) -> Result<(), peerage_sql::Error> {
        let mut tries = 1;
        loop {
            let outcome = store.write_held(held.clone()).await;
            self.bury(&outcome.dead);
            private.ledger().put_back(outcome.left);
            match outcome.error {
                None => return Ok(()),
                Some(error) if tries == TRIES => return Err(error),
                Some(_) => tries += 1,
            }
        }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.data_dir.as_ref().map(|folder| folder.join(name))
    }
}

fn append_lines(file: &Path, lines: &[String]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(file)?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.sync_all()
}

/// A refused row for people: `UserID = 1, Uploaded = 5`.
fn text(row: &DeadRow) -> String {
    let columns = row.columns.iter().map(|(name, value)| format!("{name} = {value}"));
    columns.collect::<Vec<_>>().join(", ")
}
