//! Changes of members, torrents, clients and tokens: any number of them in one transaction, so that
//! all are made or none.

use std::fmt;

use peerage_tracker::private::{MemberId, Pricing, Token, TorrentId};

use super::manage::{Access, ClientEntry, ManageError, MemberEntry, Own, TorrentEntry};
use crate::Dialect;
use crate::database::Connection;
use crate::error::Failure;
use crate::statement::{Statement, Value};
use crate::write::now_secs;

/// Most changes that are made together: two or three statements each, some hundred milliseconds of
/// writing, during which nobody else writes to SQLite. More are refused.
pub const EDITS_MAX: usize = 1000;

/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 190;

/// A change of our own tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Puts a member in, or changes the one of that id; an id of 0 is a new one's. Sums and the
    /// time are not changed.
    PutMember(MemberEntry),
    /// Removes a member with all that hangs on it.
    RemoveMember(MemberId),
    /// Puts a torrent in, or changes the one of that id; an id of 0 is a new one's. Sums, peers
    /// and the time are not changed.
    PutTorrent(TorrentEntry),
    /// Removes a torrent with all that hangs on it.
    RemoveTorrent(TorrentId),
    /// Puts a client on a list, and takes it off the other.
    PutClient(ClientEntry),
    /// Takes a client off its list, by the start of its peer_id.
    RemoveClient(Vec<u8>),
    /// Gives a member a token, also where the last for that torrent is used up.
    PutToken(Token),
    /// Takes a token back.
    RemoveToken(Token),
}

/// What became of changes that were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// For each change the id of the member or torrent that was put in; for all others how many
    /// rows it changed.
    pub done: Vec<u32>,
    /// What [`Store::revision`](crate::Store::revision) is by them.
    pub revision: i64,
}

/// Why none of some changes was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotEdited {
    /// Which of them is at fault; the first where none is.
    pub index: usize,
    /// What is wrong.
    pub error: ManageError,
}

impl fmt::Display for NotEdited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for NotEdited {}

/// A statement under construction.
pub(super) struct Sql {
    dialect: Dialect,
    pub(super) statement: Statement,
}

impl Sql {
    pub(super) fn new(dialect: Dialect, sql: &str) -> Self {
        Self { dialect, statement: sql.into() }
    }

    pub(super) fn sql(mut self, sql: &str) -> Self {
        self.statement.push(sql);
        self
    }

    pub(super) fn value(mut self, value: Value) -> Self {
        self.statement.push_value(self.dialect, value);
        self
    }

    /// Values in brackets; at least one.
    pub(super) fn row(mut self, values: Vec<Value>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self = self.sql(if index == 0 { "(" } else { "," }).value(value);
        }
        self.sql(")")
    }
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn pricing(pricing: Pricing) -> Value {
    Value::Int(match pricing {
        Pricing::Normal => 0,
        Pricing::Free => 1,
        Pricing::Neutral => 2,
    })
}

fn check_name(name: &str) -> Result<(), ManageError> {
    let is_right = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    is_right.then_some(()).ok_or(ManageError::Invalid("a name has 1 to 190 bytes, on one line"))
}

impl From<Failure> for ManageError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(_) => Self::Taken,
            failure => Self::Database(failure.into()),
        }
    }
}

/// A row that is put in or changed, and the column by which it is found.
struct Put<'a> {
    table: &'static str,
    id: u32,
    columns: &'a [(&'static str, Value)],
    by: (&'static str, Value),
}

impl Own<'_> {
    /// Makes changes, all of them or none. At most [`EDITS_MAX`]. Without any, nothing is done.
    pub async fn edit(&self, edits: &[Edit]) -> Result<Edited, NotEdited> {
        let of = |index: usize| move |error: ManageError| NotEdited { index, error };
        if edits.len() > EDITS_MAX {
            return Err(of(EDITS_MAX)(ManageError::Invalid("too many changes at once")));
        }
        let mut connection = self.database.acquire().await.map_err(ManageError::from);
        let connection = connection.as_mut().map_err(|error| of(0)(error.clone()))?;
        let begun = connection.begin().await.map_err(ManageError::from);
        let mut outcome = begun.map_err(of(0));
        let mut edited = Edited::default();
        for (index, edit) in edits.iter().enumerate() {
            if outcome.is_err() {
                break;
            }
            match self.make(connection, edit).await {
                Ok(done) => edited.done.push(done),
                Err(error) => outcome = Err(of(index)(error)),
            }
        }
        if outcome.is_ok() && !edits.is_empty() {
            let counted = self.count_and_commit(connection).await;
            outcome = counted.map(|revision| edited.revision = revision).map_err(of(0));
        }
        match outcome {
            Ok(()) if !edits.is_empty() => Ok(edited),
            outcome => {
                connection.rollback().await;
                outcome.map(|()| edited)
            }
        }
    }

    async fn count_and_commit(&self, connection: &mut Connection) -> Result<i64, ManageError> {
        connection.execute("UPDATE revision SET number = number + 1").await?;
        let numbers = connection.fetch("SELECT number FROM revision", |row| row.int(0)).await?;
        connection.commit().await?;
        Ok(numbers.first().copied().unwrap_or(0))
    }

    async fn make(&self, connection: &mut Connection, edit: &Edit) -> Result<u32, ManageError> {
        let statements = match edit {
            Edit::PutMember(entry) => return self.make_member(connection, entry).await,
            Edit::PutTorrent(entry) => return self.make_torrent(connection, entry).await,
            Edit::RemoveMember(id) => self.removal("members", "member_id", id.0),
            Edit::RemoveTorrent(id) => self.removal("torrents", "torrent_id", id.0),
            Edit::PutClient(entry) => self.client(entry)?,
            Edit::RemoveClient(prefix) => {
                let prefix = Value::Bytes(prefix.clone());
                vec![self.start("DELETE FROM clients WHERE prefix = ").value(prefix)]
            }
            Edit::PutToken(token) => self.token(*token),
            Edit::RemoveToken(Token { member, torrent }) => vec![self.start(&format!(
                "DELETE FROM tokens WHERE member_id = {} AND torrent_id = {}",
                member.0, torrent.0
            ))],
        };
        let mut changed = None;
        for sql in statements {
            let rows = connection.execute(sql.statement).await?;
            changed.get_or_insert(rows);
        }
        Ok(u32::try_from(changed.unwrap_or(0)).unwrap_or(u32::MAX))
    }

    fn start(&self, sql: &str) -> Sql {
        Sql::new(self.database.dialect, sql)
    }

    async fn make_member(
        &self,
        connection: &mut Connection,
        entry: &MemberEntry,
    ) -> Result<u32, ManageError> {
        check_name(&entry.name)?;
        let member = &entry.member;
        let passkey = std::str::from_utf8(&member.passkey.0)
            .map_err(|_| ManageError::Invalid("a passkey is 32 letters and digits"))?;
        let slots = member.download_slots.map_or(Value::Null, |slots| Value::Int(slots.into()));
        let columns = [
            ("name", text(&entry.name)),
            ("passkey", text(passkey)),
            ("enabled", Value::Int(entry.enabled.into())),
            ("can_leech", Value::Int(member.can_leech.into())),
            ("protected", Value::Int(member.protected.into())),
            ("free_leech", Value::Int(member.free_leech.into())),
            ("double_upload", Value::Int(member.double_upload.into())),
            ("download_slots", slots),
        ];
        let by = ("passkey", text(passkey));
        let put = Put { table: "members", id: member.id.0, columns: &columns, by };
        self.put(connection, put).await
    }

    async fn make_torrent(
        &self,
        connection: &mut Connection,
        entry: &TorrentEntry,
    ) -> Result<u32, ManageError> {
        check_name(&entry.name)?;
        let torrent = &entry.torrent;
        let info_hash = Value::Bytes(torrent.info_hash.0.to_vec());
        let columns = [
            ("info_hash", info_hash.clone()),
            ("name", text(&entry.name)),
            ("pricing", pricing(torrent.pricing)),
            ("double_upload", Value::Int(torrent.double_upload.into())),
        ];
        let by = ("info_hash", info_hash);
        let put = Put { table: "torrents", id: torrent.id.0, columns: &columns, by };
        self.put(connection, put).await
    }

    /// Puts a row in or changes it, and finds its id by a column that is unique.
    async fn put(&self, connection: &mut Connection, put: Put<'_>) -> Result<u32, ManageError> {
        let Put { table, id, columns, by: (name, value) } = put;
        let statement = if id == 0 {
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let mut values: Vec<Value> = columns.iter().map(|(_, value)| value.clone()).collect();
            values.push(Value::Int(now_secs()));
            let insert = format!("INSERT INTO {table} ({}, created_at) VALUES ", names.join(", "));
            self.start(&insert).row(values)
        } else {
            let mut sql = self.start(&format!("UPDATE {table} SET "));
            for (index, (name, value)) in columns.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                sql = sql.sql(&format!("{comma}{name} = ")).value(value.clone());
            }
            sql.sql(&format!(" WHERE id = {id}"))
        };
        connection.execute(statement.statement).await?;
        let find = self.start(&format!("SELECT id FROM {table} WHERE {name} = ")).value(value);
        let ids = connection.fetch(find.statement, |row| row.count(0)).await?;
        let found = ids.first().copied().filter(|found| id == 0 || *found == id);
        found.ok_or(ManageError::Invalid("it is not there any more"))
    }

    fn removal(&self, table: &str, column: &str, id: u32) -> Vec<Sql> {
        let mut all = vec![self.start(&format!("DELETE FROM {table} WHERE id = {id}"))];
        all.extend(
            ["peers", "snatches", "tokens"]
                .map(|table| self.start(&format!("DELETE FROM {table} WHERE {column} = {id}"))),
        );
        all
    }

    fn client(&self, entry: &ClientEntry) -> Result<Vec<Sql>, ManageError> {
        let ClientEntry { client, access } = entry;
        if !(1..=20).contains(&client.prefix.len()) {
            return Err(ManageError::Invalid("the start of a peer_id has 1 to 20 bytes"));
        }
        check_name(&client.name)?;
        let prefix = Value::Bytes(client.prefix.clone());
        let remove = self.start("DELETE FROM clients WHERE prefix = ").value(prefix.clone());
        let allowed = Value::Int((*access == Access::Allow).into());
        let row = vec![prefix, text(&client.name), allowed];
        let insert = self.start("INSERT INTO clients (prefix, name, allowed) VALUES ").row(row);
        Ok(vec![remove, insert])
    }

    fn token(&self, token: Token) -> Vec<Sql> {
        let (member, torrent, now) = (token.member.0, token.torrent.0, now_secs());
        // Only for a member and a torrent that are there.
        let sql = format!(
            "INSERT INTO tokens (member_id, torrent_id, created_at) \
             SELECT members.id, torrents.id, {now} FROM members, torrents \
             WHERE members.id = {member} AND torrents.id = {torrent} AND NOT EXISTS \
             (SELECT 1 FROM tokens t WHERE t.member_id = {member} AND t.torrent_id = {torrent})"
        );
        let again = format!(
            "UPDATE tokens SET expired = 0 WHERE member_id = {member} AND torrent_id = {torrent}"
        );
        vec![self.start(&sql), self.start(&again)]
    }
}
