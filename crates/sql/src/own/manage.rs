//! Members, torrents, clients and tokens put in, listed and removed, by the command line and the
//! web API. A tracker that runs sees each change by [`Store::revision`](crate::Store::revision).

use std::fmt;

use peerage_proto::InfoHash;
use peerage_tracker::private::{
    Client, Member, MemberId, Passkey, Pricing, Token, Torrent, TorrentId,
};

use super::{MEMBER, TORRENT, member, torrent};
use crate::database::{Columns, Connection, Database};
use crate::error::Failure;
use crate::statement::{Statement, Value};
use crate::write::now_secs;
use crate::{Dialect, Error};

/// Most entries of one page of a list.
const PAGE_MAX: usize = 1000;

/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 190;

/// A member, with what concerns people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEntry {
    /// What the rules know.
    pub member: Member,
    /// Unique; 1 to 190 bytes.
    pub name: String,
    /// Whether the member may announce at all.
    pub enabled: bool,
    /// Bytes credited.
    pub uploaded: u64,
    /// Bytes charged.
    pub downloaded: u64,
    /// Seconds since 1970.
    pub created_at_secs: u64,
}

/// A torrent, with what concerns people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentEntry {
    /// What the rules know.
    pub torrent: Torrent,
    /// At most 190 bytes; need not be unique.
    pub name: String,
    /// As of the last flush.
    pub seeders: u32,
    /// As of the last flush.
    pub leechers: u32,
    /// Seconds since 1970.
    pub created_at_secs: u64,
}

/// Whether a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is, and no client that is not on this list.
    Allow,
    /// It is kept out.
    Deny,
}

/// A client of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Which.
    pub client: Client,
    /// On which list it is.
    pub access: Access,
}

/// A token, with what it was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Whose, and for what.
    pub token: Token,
    /// Bytes it made free.
    pub downloaded: u64,
    /// Whether it is used up.
    pub expired: bool,
    /// Seconds since 1970.
    pub created_at_secs: u64,
}

/// Why something was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageError {
    /// The name, passkey or info_hash is another's.
    Taken,
    /// A name, prefix or number is too long, empty or too large.
    Invalid(&'static str),
    /// The database.
    Database(Error),
}

impl fmt::Display for ManageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("there is one of that name, passkey or info_hash already"),
            Self::Invalid(what) => f.write_str(what),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ManageError {}

impl From<Error> for ManageError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Our own tables, as they are managed.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    pub(crate) database: &'a Database,
}

/// A statement under construction.
struct Sql {
    dialect: Dialect,
    statement: Statement,
}

impl Sql {
    fn new(dialect: Dialect, sql: &str) -> Self {
        Self { dialect, statement: sql.into() }
    }

    fn sql(mut self, sql: &str) -> Self {
        self.statement.push(sql);
        self
    }

    fn value(mut self, value: Value) -> Self {
        self.statement.push_value(self.dialect, value);
        self
    }

    /// Values in brackets.
    fn row(mut self, values: Vec<Value>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self = self.sql(if index == 0 { "(" } else { "," }).value(value);
        }
        self.sql(")")
    }
}

fn text(text: &str) -> Value {
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

impl Own<'_> {
    /// Puts a member in, or changes the one of that id; an id of 0 is a new one's. Sums and the
    /// time are not changed. The member's id.
    pub async fn put_member(&self, entry: &MemberEntry) -> Result<MemberId, ManageError> {
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
        Ok(MemberId(self.put("members", member.id.0, &columns, by).await?))
    }

    /// Puts a torrent in, or changes the one of that id; an id of 0 is a new one's. Sums, peers
    /// and the time are not changed. The torrent's id.
    pub async fn put_torrent(&self, entry: &TorrentEntry) -> Result<TorrentId, ManageError> {
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
        Ok(TorrentId(self.put("torrents", torrent.id.0, &columns, by).await?))
    }

    /// Puts a row in or changes it, and finds its id by a column that is unique.
    async fn put(
        &self,
        table: &str,
        id: u32,
        columns: &[(&str, Value)],
        by: (&str, Value),
    ) -> Result<u32, ManageError> {
        let dialect = self.database.dialect;
        let statement = if id == 0 {
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let mut values: Vec<Value> = columns.iter().map(|(_, value)| value.clone()).collect();
            values.push(Value::Int(now_secs()));
            let insert = format!("INSERT INTO {table} ({}, created_at) VALUES ", names.join(", "));
            Sql::new(dialect, &insert).row(values)
        } else {
            let mut sql = Sql::new(dialect, &format!("UPDATE {table} SET "));
            for (index, (name, value)) in columns.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                sql = sql.sql(&format!("{comma}{name} = ")).value(value.clone());
            }
            sql.sql(&format!(" WHERE id = {id}"))
        };
        let (name, value) = by;
        let find = Sql::new(dialect, &format!("SELECT id FROM {table} WHERE {name} = "));
        let mut connection = self.database.acquire().await?;
        self.change(&mut connection, vec![statement]).await?;
        let find = find.value(value).statement;
        let ids = connection.fetch(find, |row| row.count(0)).await?;
        ids.first().copied().ok_or(ManageError::Invalid("it is not there any more"))
    }

    /// Runs statements and counts a change, in one transaction. Rows that the first changed.
    async fn change(
        &self,
        connection: &mut Connection,
        statements: Vec<Sql>,
    ) -> Result<u64, ManageError> {
        let failed = |failure| match failure {
            Failure::Refused(_) => ManageError::Taken,
            failure => ManageError::Database(failure.into()),
        };
        let done = async {
            connection.begin().await?;
            let mut changed = None;
            for sql in statements {
                let rows = connection.execute(sql.statement).await?;
                changed.get_or_insert(rows);
            }
            connection.execute("UPDATE revision SET number = number + 1").await?;
            connection.commit().await?;
            Ok(changed.unwrap_or(0))
        };
        match done.await {
            Ok(changed) => Ok(changed),
            Err(failure) => {
                connection.rollback().await;
                Err(failed(failure))
            }
        }
    }

    /// Runs statements on a connection of its own. Whether the first changed anything.
    async fn changed(&self, statements: Vec<Sql>) -> Result<bool, ManageError> {
        let mut connection = self.database.acquire().await?;
        Ok(self.change(&mut connection, statements).await? > 0)
    }

    fn sql(&self, sql: &str) -> Sql {
        Sql::new(self.database.dialect, sql)
    }

    /// Removes a member with all that hangs on it. Whether there was one.
    pub async fn remove_member(&self, id: MemberId) -> Result<bool, ManageError> {
        let id = id.0;
        let rest = ["peers", "snatches", "tokens"];
        let rest =
            rest.map(|table| self.sql(&format!("DELETE FROM {table} WHERE member_id = {id}")));
        let mut all = vec![self.sql(&format!("DELETE FROM members WHERE id = {id}"))];
        all.extend(rest);
        self.changed(all).await
    }

    /// Removes a torrent with all that hangs on it. Whether there was one.
    pub async fn remove_torrent(&self, id: TorrentId) -> Result<bool, ManageError> {
        let id = id.0;
        let rest = ["peers", "snatches", "tokens"];
        let rest =
            rest.map(|table| self.sql(&format!("DELETE FROM {table} WHERE torrent_id = {id}")));
        let mut all = vec![self.sql(&format!("DELETE FROM torrents WHERE id = {id}"))];
        all.extend(rest);
        self.changed(all).await
    }

    /// Members after an id, in the order of ids, at most `limit` and 1000.
    pub async fn members(
        &self,
        after: MemberId,
        limit: usize,
    ) -> Result<Vec<MemberEntry>, ManageError> {
        let limit = limit.min(PAGE_MAX);
        let tail = format!("WHERE id > {} ORDER BY id LIMIT {limit}", after.0);
        self.select_members(self.sql(&format!("{} {tail}", member_entries()))).await
    }

    /// The member of a name.
    pub async fn member_by_name(&self, name: &str) -> Result<Option<MemberEntry>, ManageError> {
        let sql = self.sql(&format!("{} WHERE name = ", member_entries())).value(text(name));
        Ok(self.select_members(sql).await?.pop())
    }

    /// The member of an id.
    pub async fn member(&self, id: MemberId) -> Result<Option<MemberEntry>, ManageError> {
        let sql = self.sql(&format!("{} WHERE id = {}", member_entries(), id.0));
        Ok(self.select_members(sql).await?.pop())
    }

    /// The member of a passkey.
    pub async fn member_by_passkey(
        &self,
        passkey: &Passkey,
    ) -> Result<Option<MemberEntry>, ManageError> {
        let passkey = String::from_utf8_lossy(&passkey.0).into_owned();
        let sql = self.sql(&format!("{} WHERE passkey = ", member_entries())).value(text(&passkey));
        Ok(self.select_members(sql).await?.pop())
    }

    async fn select_members(&self, sql: Sql) -> Result<Vec<MemberEntry>, ManageError> {
        let mut connection = self.database.acquire().await?;
        let entries = connection.fetch(sql.statement, member_entry).await?;
        Ok(entries.into_iter().flatten().collect())
    }

    /// Torrents after an id, in the order of ids, at most `limit` and 1000.
    pub async fn torrents(
        &self,
        after: TorrentId,
        limit: usize,
    ) -> Result<Vec<TorrentEntry>, ManageError> {
        let limit = limit.min(PAGE_MAX);
        let tail = format!("WHERE id > {} ORDER BY id LIMIT {limit}", after.0);
        self.select_torrents(self.sql(&format!("{} {tail}", torrent_entries()))).await
    }

    /// The torrent of an info_hash.
    pub async fn torrent(&self, info_hash: InfoHash) -> Result<Option<TorrentEntry>, ManageError> {
        let sql = self.sql(&format!("{} WHERE info_hash = ", torrent_entries()));
        let sql = sql.value(Value::Bytes(info_hash.0.to_vec()));
        Ok(self.select_torrents(sql).await?.pop())
    }

    async fn select_torrents(&self, sql: Sql) -> Result<Vec<TorrentEntry>, ManageError> {
        let mut connection = self.database.acquire().await?;
        Ok(connection.fetch(sql.statement, torrent_entry).await?)
    }

    /// Puts a client on a list, and takes it off the other.
    pub async fn put_client(&self, client: &Client, access: Access) -> Result<(), ManageError> {
        if !(1..=20).contains(&client.prefix.len()) {
            return Err(ManageError::Invalid("the start of a peer_id has 1 to 20 bytes"));
        }
        check_name(&client.name)?;
        let prefix = Value::Bytes(client.prefix.clone());
        let remove = self.sql("DELETE FROM clients WHERE prefix = ").value(prefix.clone());
        let allowed = Value::Int((access == Access::Allow).into());
        let insert = self.sql("INSERT INTO clients (prefix, name, allowed) VALUES ").row(vec![
            prefix,
            text(&client.name),
            allowed,
        ]);
        self.changed(vec![remove, insert]).await.map(drop)
    }

    /// Takes a client off its list. Whether it was on one.
    pub async fn remove_client(&self, prefix: &[u8]) -> Result<bool, ManageError> {
        let prefix = Value::Bytes(prefix.to_vec());
        let remove = self.sql("DELETE FROM clients WHERE prefix = ").value(prefix);
        self.changed(vec![remove]).await
    }

    /// All clients of both lists.
    pub async fn clients(&self) -> Result<Vec<ClientEntry>, ManageError> {
        let mut connection = self.database.acquire().await?;
        let asked = "SELECT prefix, name, allowed FROM clients ORDER BY prefix LIMIT 10000";
        let clients = connection.fetch(asked, |row| {
            let client = Client { prefix: row.bytes(0)?, name: row.text(1)? };
            let access = if row.flag(2)? { Access::Allow } else { Access::Deny };
            Ok(ClientEntry { client, access })
        });
        Ok(clients.await?)
    }

    /// Gives a member a token, also where the last for that torrent is used up.
    pub async fn put_token(&self, token: Token) -> Result<(), ManageError> {
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
        self.changed(vec![self.sql(&sql), self.sql(&again)]).await.map(drop)
    }

    /// Takes a token back. Whether there was one.
    pub async fn remove_token(&self, token: Token) -> Result<bool, ManageError> {
        let (member, torrent) = (token.member.0, token.torrent.0);
        let sql =
            format!("DELETE FROM tokens WHERE member_id = {member} AND torrent_id = {torrent}");
        self.changed(vec![self.sql(&sql)]).await
    }

    /// The tokens of a member, at most 1000.
    pub async fn tokens(&self, member: MemberId) -> Result<Vec<TokenEntry>, ManageError> {
        let mut connection = self.database.acquire().await?;
        let asked = format!(
            "SELECT torrent_id, downloaded, created_at, expired FROM tokens WHERE member_id = {} \
             ORDER BY torrent_id LIMIT {PAGE_MAX}",
            member.0
        );
        let tokens = connection.fetch(asked, |row| {
            Ok(TokenEntry {
                token: Token { member, torrent: TorrentId(row.count(0)?) },
                downloaded: row.size(1)?,
                created_at_secs: row.size(2)?,
                expired: row.flag(3)?,
            })
        });
        Ok(tokens.await?)
    }
}

/// Selects what [`member_entry`] reads.
fn member_entries() -> String {
    format!("SELECT {MEMBER}, name, enabled, uploaded, downloaded, created_at FROM members")
}

/// Selects what [`torrent_entry`] reads.
fn torrent_entries() -> String {
    format!("SELECT {TORRENT}, name, seeders, leechers, created_at FROM torrents")
}

fn member_entry(row: &dyn Columns) -> Result<Option<MemberEntry>, sqlx::Error> {
    let Some(member) = member(row)? else { return Ok(None) };
    Ok(Some(MemberEntry {
        member,
        name: row.text(7)?,
        enabled: row.flag(8)?,
        uploaded: row.size(9)?,
        downloaded: row.size(10)?,
        created_at_secs: row.size(11)?,
    }))
}

fn torrent_entry(row: &dyn Columns) -> Result<TorrentEntry, sqlx::Error> {
    Ok(TorrentEntry {
        torrent: torrent(row)?,
        name: row.text(6)?,
        seeders: row.count(7)?,
        leechers: row.count(8)?,
        created_at_secs: row.size(9)?,
    })
}
