//! How a batch gets into a database exactly once, row by row where it must be.
//!
//! Each list of a batch is a part. Its rows are sorted and cut into chunks, and each chunk is a
//! transaction of its own, so that no lock is held for long and two writers never wait for each
//! other in a circle. A chunk is one statement. SQLite has one writer at a time anyway and writes
//! whole pages with each transaction: there a chunk is many statements.
//!
//! A chunk whose rows add up carries a mark: the same transaction counts up a number in
//! `peerage_flush`. Where the connection dies during COMMIT, the chunk is held as it is; the next
//! try counts up the same number first, and finds either that it is done, or that it is to be done.
//!
//! A chunk that the database refuses is halved until the row at fault is alone. That row is told
//! and left out, and the others go in.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use peerage_tracker::private::{
    Batch, MemberDelta, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentRow,
};

use crate::database::Connection;
use crate::error::Failure;
use crate::fields::{Fields, Tables, values};
use crate::statement::{Statement, Table, Value};
use crate::{Dialect, Error};

/// Most rows of one statement: what takes a database a few milliseconds.
const STATEMENT_ROWS_MAX: usize = 1000;

/// Most rows of one transaction of SQLite, for which other programs that write to the file wait
/// half a second. A page in which several of its rows are is written once.
const SQLITE_CHUNK_ROWS_MAX: usize = 50_000;

/// A list of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`Batch::members`].
    Members,
    /// [`Batch::torrents`].
    Torrents,
    /// [`Batch::peers`].
    Peers,
    /// [`Batch::visits`].
    Visits,
    /// [`Batch::snatches`].
    Snatches,
    /// [`Batch::token_uses`].
    TokenUses,
    /// [`Batch::expired_tokens`]. With Gazelle's tables nothing is written: the site does.
    ExpiredTokens,
}

/// A row that the database refused. It is not in SQL, and will not be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// The table it was for.
    pub table: &'static str,
    /// What it says, by column; bytes in hex. No secrets: none is ever written.
    pub columns: Vec<(&'static str, String)>,
    /// What the database says.
    pub error: String,
}

/// Rows of one part that are written under a mark of their own, at most once however often they
/// are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which marks the number counts among.
    pub writer: i64,
    /// The mark.
    pub number: i64,
    /// Which list the rows are in; the others are empty.
    pub part: Part,
    /// The rows.
    pub rows: Batch,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rows that are in SQL now.
    pub rows: usize,
    /// Rows that are not, and can be put back to be tried again.
    pub left: Batch,
    /// Rows that were refused.
    pub dead: Vec<DeadRow>,
    /// Why there is something left; the first reason of several.
    pub error: Option<Error>,
}

/// The marks of this process.
pub(crate) struct Marks {
    writer: i64,
    /// The mark used last; each part counts by itself.
    numbers: [i64; 7],
    /// Whether there is a table for them.
    pub(crate) are_kept: bool,
}

/// What one try at a chunk came to.
enum Tried {
    Written,
    Refused(String),
    /// The connection died during COMMIT: nobody knows.
    Unknown(Error),
    Failed(Error),
}

/// What is being written. It outlives the writing: who stops waiting for that loses nothing.
pub(crate) struct Writing {
    pub(crate) marks: Marks,
    /// A chunk that is on its way, or of which nobody knows whether it was written. At most one:
    /// nothing else is written before it is known.
    pub(crate) held: Option<Held>,
    /// Rows that are not yet on their way; each list the last row first once it is sorted.
    pub(crate) batch: Batch,
    pub(crate) outcome: Outcome,
}

/// What is written over one connection.
pub(crate) struct Writer<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) tables: &'a (dyn Tables + Sync),
    pub(crate) writing: &'a mut Writing,
}

impl Part {
    /// All parts, in the order in which they are written: what is credited after the counters it
    /// was worked out from, so that a kill between both costs credit and gives none twice.
    pub const ALL: [Self; 7] = [
        Self::Peers,
        Self::Members,
        Self::Torrents,
        Self::Visits,
        Self::Snatches,
        Self::TokenUses,
        Self::ExpiredTokens,
    ];

    /// Whether rows add to what is there, so that writing them twice is wrong.
    pub(crate) fn adds(self) -> bool {
        !matches!(self, Self::Peers | Self::Visits | Self::ExpiredTokens)
    }

    fn index(self) -> usize {
        self as usize
    }

    /// As it is kept in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Torrents => "torrents",
            Self::Peers => "peers",
            Self::Visits => "visits",
            Self::Snatches => "snatches",
            Self::TokenUses => "token_uses",
            Self::ExpiredTokens => "expired_tokens",
        }
    }
}

impl Marks {
    /// Marks that no other process counts.
    pub(crate) fn new(are_kept: bool) -> Self {
        // Seeded by the system, once for each process at least: enough to be different.
        let random = RandomState::new().hash_one(SystemTime::now());
        let writer = i64::try_from(random >> 1).expect("a bit was shifted out");
        Self { writer, numbers: [0; 7], are_kept }
    }

    /// The mark after the last.
    fn next(&mut self, part: Part) -> (i64, i64) {
        let number = &mut self.numbers[part.index()];
        *number += 1;
        (self.writer, *number)
    }
}

/// Cuts a batch into rows to be kept outside of SQL until they can be written.
pub(crate) fn hold(batch: &Batch, marks: &mut Marks) -> Vec<Held> {
    let mut held = Vec::new();
    for part in Part::ALL {
        macro_rules! cut {
            ($list:ident) => {
                for rows in batch.$list.chunks(STATEMENT_ROWS_MAX) {
                    let (writer, number) = marks.next(part);
                    let rows = Batch { $list: rows.to_vec(), ..Batch::default() };
                    held.push(Held { writer, number, part, rows });
                }
            };
        }
        match part {
            Part::Members => cut!(members),
            Part::Torrents => cut!(torrents),
            Part::Peers => cut!(peers),
            Part::Visits => cut!(visits),
            Part::Snatches => cut!(snatches),
            Part::TokenUses => cut!(token_uses),
            Part::ExpiredTokens => cut!(expired_tokens),
        }
    }
    held
}

/// Sorts each list by its key, the last first: two writers lock rows in one order. Rows of one
/// key become one: a database changes its row once for all of a statement, or refuses to.
fn sort(batch: &mut Batch) {
    sort_rows(
        &mut batch.members,
        |row| row.member,
        |row, newer| {
            row.uploaded = row.uploaded.saturating_add(newer.uploaded);
            row.downloaded = row.downloaded.saturating_add(newer.downloaded);
        },
    );
    sort_rows(
        &mut batch.torrents,
        |row| row.torrent,
        |row, newer| {
            let completed = row.completed.saturating_add(newer.completed);
            let balance_delta = row.balance_delta.saturating_add(newer.balance_delta);
            *row = TorrentRow { completed, balance_delta, ..*newer };
        },
    );
    sort_rows(&mut batch.peers, |row| (row.key.torrent, row.key), std::mem::swap);
    sort_rows(&mut batch.visits, |row| (row.key.torrent, row.key), std::mem::swap);
    sort_rows(&mut batch.snatches, |row| (row.torrent, row.member, row.at_secs), std::mem::swap);
    sort_rows(
        &mut batch.token_uses,
        |row| row.token,
        |row, newer| row.downloaded = row.downloaded.saturating_add(newer.downloaded),
    );
    sort_rows(&mut batch.expired_tokens, |row| *row, std::mem::swap);
}

/// Sorts rows, the last key first. `merge` makes of two with one key what its first is to be; the
/// second came later.
fn sort_rows<R, K: Ord>(rows: &mut Vec<R>, key: impl Fn(&R) -> K, merge: impl Fn(&mut R, &mut R)) {
    rows.sort_by_key(&key);
    rows.dedup_by(|newer, row| {
        let is_same = key(newer) == key(row);
        if is_same {
            merge(row, newer);
        }
        is_same
    });
    rows.reverse();
}

/// Calls `$self.$do` with a part and how its list is found in a batch.
macro_rules! with_part {
    ($self:ident.$do:ident($part:expr)) => {{
        match $part {
            Part::Members => $self.$do($part, |batch| &mut batch.members).await,
            Part::Torrents => $self.$do($part, |batch| &mut batch.torrents).await,
            Part::Peers => $self.$do($part, |batch| &mut batch.peers).await,
            Part::Visits => $self.$do($part, |batch| &mut batch.visits).await,
            Part::Snatches => $self.$do($part, |batch| &mut batch.snatches).await,
            Part::TokenUses => $self.$do($part, |batch| &mut batch.token_uses).await,
            Part::ExpiredTokens => $self.$do($part, |batch| &mut batch.expired_tokens).await,
        }
    }};
}

impl Writer<'_> {
    /// Writes what is held, and then the batch. What could not be is left there.
    pub(crate) async fn write(&mut self) {
        let held = self.writing.held.as_ref().map(|held| held.part);
        if let Some(part) = held
            && !with_part!(self.settle(part))
        {
            return;
        }
        sort(&mut self.writing.batch);
        for part in Part::ALL {
            if !with_part!(self.write_part(part)) {
                break;
            }
        }
    }

    /// Finds out about what is held, or writes it. Whether other rows may be written now.
    async fn settle<R: Fields>(
        &mut self,
        part: Part,
        list: impl Fn(&mut Batch) -> &mut Vec<R>,
    ) -> bool {
        let Some(held) = &mut self.writing.held else { return true };
        let count = list(&mut held.rows).len();
        let Some(table) = self.tables.table(part).filter(|_| count > 0) else {
            self.writing.held = None;
            return true;
        };
        match self.attempt(&table, &list).await {
            Tried::Written => self.writing.outcome.rows += count,
            // It was not written then, and now each row is for itself.
            Tried::Refused(_) => self.put_back(&list),
            Tried::Unknown(error) | Tried::Failed(error) => {
                self.writing.outcome.error.get_or_insert(error);
                return false;
            }
        }
        self.writing.held = None;
        true
    }

    /// Writes the rows of a part from the end of its list. Whether other parts may be tried now;
    /// rows that are left stay in the list.
    async fn write_part<R: Fields>(
        &mut self,
        part: Part,
        list: impl Fn(&mut Batch) -> &mut Vec<R>,
    ) -> bool
    where
        Held: From<(Part, i64, i64, Vec<R>)>,
    {
        let tables = self.tables;
        let Some(table) = tables.table(part) else {
            list(&mut self.writing.batch).clear();
            return true;
        };
        let rows_max = chunk_rows_max(self.connection.dialect);
        let mut chunk_rows = rows_max;
        loop {
            let waiting = list(&mut self.writing.batch);
            if waiting.is_empty() {
                return true;
            }
            let count = waiting.len().min(chunk_rows.max(1));
            let mut rows = waiting.split_off(waiting.len() - count);
            rows.reverse();
            let (writer, number) = self.writing.marks.next(part);
            self.writing.held = Some(Held::from((part, writer, number, rows)));
            match self.attempt(&table, &list).await {
                Tried::Written => {
                    self.writing.outcome.rows += count;
                    chunk_rows = (chunk_rows * 2).min(rows_max);
                }
                Tried::Refused(error) if count == 1 => {
                    let held = self.writing.held.as_mut().expect("it was put there above");
                    let row = values(tables, part, &table, &list(&mut held.rows)[0]);
                    let columns = table.names().into_iter().zip(row.iter().map(Value::shown));
                    let columns = columns.collect();
                    let dead = DeadRow { table: table.name, columns, error };
                    self.writing.outcome.dead.push(dead);
                }
                Tried::Refused(_) => {
                    chunk_rows = count / 2;
                    self.put_back(&list);
                }
                Tried::Unknown(error) => {
                    self.writing.outcome.error.get_or_insert(error);
                    return false;
                }
                Tried::Failed(error) => {
                    self.writing.outcome.error.get_or_insert(error);
                    self.put_back(&list);
                    // A table that is locked, or not there, holds up no other.
                    return self.connection.is_sound();
                }
            }
            self.writing.held = None;
        }
    }

    /// Puts what is held, which is not written, back to the rows that are not on their way.
    fn put_back<R>(&mut self, list: &impl Fn(&mut Batch) -> &mut Vec<R>) {
        let Some(mut held) = self.writing.held.take() else { return };
        let rows = std::mem::take(list(&mut held.rows));
        list(&mut self.writing.batch).extend(rows.into_iter().rev());
    }

    /// Tries to write what is held, under its mark where it adds.
    async fn attempt<R: Fields>(
        &mut self,
        table: &Table,
        list: &impl Fn(&mut Batch) -> &mut Vec<R>,
    ) -> Tried {
        let Self { connection, tables, writing } = self;
        let held = writing.held.as_mut().expect("whoever tries holds something");
        let (part, mark) = (held.part, (held.writer, held.number));
        let marked = part.adds() && writing.marks.are_kept;
        let mut rows = &list(&mut held.rows)[..];
        let written = async {
            connection.begin().await?;
            if marked && !connection.mark(part, mark).await? {
                return Ok(false);
            }
            while !rows.is_empty() {
                let put = |row: &R| values(*tables, part, table, row);
                let bytes_max = connection.statement_bytes_max;
                let (count, statement) = statement(rows, bytes_max, connection.dialect, table, put);
                connection.execute(statement).await?;
                rows = &rows[count..];
            }
            Ok(true)
        };
        match written.await {
            Ok(true) => match connection.commit().await {
                Ok(()) => Tried::Written,
                Err(failure) if marked => Tried::Unknown(failure.into()),
                // Written twice is the same as once, or there is nowhere to put a mark.
                Err(failure) => Tried::Failed(failure.into()),
            },
            Ok(false) => {
                connection.rollback().await;
                Tried::Written
            }
            Err(failure) => {
                connection.rollback().await;
                match failure {
                    Failure::Refused(what) | Failure::TooLarge(what) => Tried::Refused(what),
                    Failure::Error(error) => Tried::Failed(error),
                }
            }
        }
    }
}

fn chunk_rows_max(dialect: Dialect) -> usize {
    match dialect {
        Dialect::MySql | Dialect::Postgres => STATEMENT_ROWS_MAX,
        Dialect::Sqlite => SQLITE_CHUNK_ROWS_MAX,
    }
}

/// How many rows from the first on are written at once, and the statement that does.
fn statement<R>(
    rows: &[R],
    bytes_max: usize,
    dialect: Dialect,
    table: &Table,
    put: impl Fn(&R) -> Vec<Value>,
) -> (usize, Statement) {
    let mut count = rows.len().min(STATEMENT_ROWS_MAX);
    loop {
        let statement = table.statement(dialect, rows[..count].iter().map(&put));
        if statement.bytes() <= bytes_max || count == 1 {
            return (count, statement);
        }
        count /= 2;
    }
}

impl Connection {
    /// Makes the table of marks, and forgets marks that nobody will ask for any more. Whether
    /// there is one.
    pub(crate) async fn prepare_marks(&mut self) -> Result<bool, Error> {
        // A month: what is kept outside of SQL is written within days, or by nobody.
        const KEPT_SECS: i64 = 30 * 24 * 3600;
        let made = "CREATE TABLE IF NOT EXISTS peerage_flush (writer BIGINT NOT NULL, \
                    part INT NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, \
                    PRIMARY KEY (writer, part))";
        let engine = if self.dialect == Dialect::MySql { " ENGINE=InnoDB" } else { "" };
        if let Err(Failure::Error(Error::Lost(what))) =
            self.execute(format!("{made}{engine}")).await
        {
            return Err(Error::Lost(what));
        }
        // Who may not make it may have been given one.
        let before = now_secs() - KEPT_SECS;
        let old = format!("DELETE FROM peerage_flush WHERE at < {before}");
        match self.execute(old).await {
            Err(Failure::Error(Error::Lost(what))) => Err(Error::Lost(what)),
            done => Ok(done.is_ok()),
        }
    }

    /// Counts up to a mark in the transaction at hand. False where that was done before: what goes
    /// with it is written. Waits for a transaction that is about to do it.
    async fn mark(&mut self, part: Part, mark: (i64, i64)) -> Result<bool, Failure> {
        let ((writer, number), now, index) = (mark, now_secs(), part.index());
        let counted = self
            .execute(format!(
                "UPDATE peerage_flush SET number = {number}, at = {now} \
                 WHERE writer = {writer} AND part = {index} AND number < {number}"
            ))
            .await?;
        if counted > 0 {
            return Ok(true);
        }
        if self.marked(part, writer).await?.is_some() {
            return Ok(false);
        }
        // Two that insert the same mark: one waits for the other, and is refused.
        let first =
            format!("INSERT INTO peerage_flush VALUES ({writer}, {index}, {number}, {now})");
        match self.execute(first).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused(what)) => Err(Failure::Error(Error::Busy(what))),
            Err(failure) => Err(failure),
        }
    }

    /// The mark that `writer` counted up to last.
    async fn marked(&mut self, part: Part, writer: i64) -> Result<Option<i64>, Error> {
        let index = part.index();
        let asked =
            format!("SELECT number FROM peerage_flush WHERE writer = {writer} AND part = {index}");
        Ok(self.fetch(asked, |row| row.int(0)).await?.first().copied())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

macro_rules! held_from {
    ($($row:ty: $list:ident),*) => {$(
        impl From<(Part, i64, i64, Vec<$row>)> for Held {
            fn from((part, writer, number, rows): (Part, i64, i64, Vec<$row>)) -> Self {
                Self { writer, number, part, rows: Batch { $list: rows, ..Batch::default() } }
            }
        }
    )*};
}

held_from!(
    MemberDelta: members,
    TorrentRow: torrents,
    PeerRow: peers,
    PeerVisit: visits,
    Snatch: snatches,
    TokenUse: token_uses,
    Token: expired_tokens
);

/// Adds rows to those of a batch, which came earlier. Keys may then stand twice: they are merged
/// by the ledger, or when they are written.
pub(crate) fn append(batch: &mut Batch, more: Batch) {
    batch.members.extend(more.members);
    batch.torrents.extend(more.torrents);
    batch.peers.extend(more.peers);
    batch.visits.extend(more.visits);
    batch.snatches.extend(more.snatches);
    batch.token_uses.extend(more.token_uses);
    batch.expired_tokens.extend(more.expired_tokens);
}

/// Seconds since 1970.
pub(crate) fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
