//! Members, torrents, clients and tokens put in, listed and removed, by the command line and the
//! web API. A tracker that runs sees each change by [`Store::revision`](crate::Store::revision).

use std::fmt;

use peerage_proto::InfoHash;
use peerage_tracker::private::{Client, Member, MemberId, Passkey, Token, Torrent, TorrentId};

use super::edit::{Edit, Sql, text};
use super::{MEMBER, TORRENT, member, torrent};
use crate::Error;
use crate::database::{Columns, Database};
use crate::statement::Value;

/// Most entries of one page of a list.
const PAGE_MAX: usize = 1000;

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

impl Own<'_> {
    fn sql(&self, sql: &str) -> Sql {
        Sql::new(self.database.dialect, sql)
    }

    /// Makes one change. The id of what was put in; of all else, how many rows it changed.
    async fn edit_one(&self, edit: Edit) -> Result<u32, ManageError> {
        let edited = self.edit(&[edit]).await.map_err(|refused| refused.error)?;
        Ok(edited.done.first().copied().unwrap_or(0))
    }

    /// Puts a member in or changes one, see [`Edit::PutMember`]. The member's id.
    pub async fn put_member(&self, entry: &MemberEntry) -> Result<MemberId, ManageError> {
        self.edit_one(Edit::PutMember(entry.clone())).await.map(MemberId)
    }

    /// Puts a torrent in or changes one, see [`Edit::PutTorrent`]. The torrent's id.
    pub async fn put_torrent(&self, entry: &TorrentEntry) -> Result<TorrentId, ManageError> {
        self.edit_one(Edit::PutTorrent(entry.clone())).await.map(TorrentId)
    }

    /// Removes a member with all that hangs on it. Whether there was one.
    pub async fn remove_member(&self, id: MemberId) -> Result<bool, ManageError> {
        Ok(self.edit_one(Edit::RemoveMember(id)).await? > 0)
    }

    /// Removes a torrent with all that hangs on it. Whether there was one.
    pub async fn remove_torrent(&self, id: TorrentId) -> Result<bool, ManageError> {
        Ok(self.edit_one(Edit::RemoveTorrent(id)).await? > 0)
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

    /// The members of some names, in no order; at most 1000.
    pub async fn members_named(&self, names: &[String]) -> Result<Vec<MemberEntry>, ManageError> {
        let names: Vec<Value> = names.iter().take(PAGE_MAX).map(|name| text(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.sql(&format!("{} WHERE name IN ", member_entries())).row(names);
        self.select_members(sql).await
    }

    /// As [`Own::members`], of those alone whose name has `part` in it, in either case
    /// where it is of the letters A to Z.
    pub async fn members_like(
        &self,
        part: &str,
        after: MemberId,
        limit: usize,
    ) -> Result<Vec<MemberEntry>, ManageError> {
        let sql = self.like(&member_entries(), part, after.0, limit);
        self.select_members(sql).await
    }

    /// Selects a page of rows with `part` in their name.
    fn like(&self, entries: &str, part: &str, after: u32, limit: usize) -> Sql {
        let limit = limit.min(PAGE_MAX);
        let escaped = part.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        self.sql(&format!("{entries} WHERE id > {after} AND LOWER(name) LIKE LOWER("))
            .value(text(&format!("%{escaped}%")))
            .sql(&format!(") ESCAPE '!' ORDER BY id LIMIT {limit}"))
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

    /// The torrents of some info_hashes, in no order; at most 1000.
    pub async fn torrents_of(
        &self,
        info_hashes: &[InfoHash],
    ) -> Result<Vec<TorrentEntry>, ManageError> {
        let hashes = info_hashes.iter().take(PAGE_MAX);
        let hashes: Vec<Value> = hashes.map(|hash| Value::Bytes(hash.0.to_vec())).collect();
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.sql(&format!("{} WHERE info_hash IN ", torrent_entries())).row(hashes);
        self.select_torrents(sql).await
    }

    /// The torrents of some numbers, in no order; at most 1000.
    pub async fn torrents_numbered(
        &self,
        ids: &[TorrentId],
    ) -> Result<Vec<TorrentEntry>, ManageError> {
        let ids: Vec<Value> = ids.iter().take(PAGE_MAX).map(|id| Value::Int(id.0.into())).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.sql(&format!("{} WHERE id IN ", torrent_entries())).row(ids);
        self.select_torrents(sql).await
    }

    /// As [`Own::torrents`], of those alone whose name has `part` in it, in either case
    /// where it is of the letters A to Z.
    pub async fn torrents_like(
        &self,
        part: &str,
        after: TorrentId,
        limit: usize,
    ) -> Result<Vec<TorrentEntry>, ManageError> {
        let sql = self.like(&torrent_entries(), part, after.0, limit);
        self.select_torrents(sql).await
    }

    async fn select_torrents(&self, sql: Sql) -> Result<Vec<TorrentEntry>, ManageError> {
        let mut connection = self.database.acquire().await?;
        Ok(connection.fetch(sql.statement, torrent_entry).await?)
    }

    /// Puts a client on a list, and takes it off the other.
    pub async fn put_client(&self, client: &Client, access: Access) -> Result<(), ManageError> {
        let entry = ClientEntry { client: client.clone(), access };
        self.edit_one(Edit::PutClient(entry)).await.map(drop)
    }

    /// Takes a client off its list. Whether it was on one.
    pub async fn remove_client(&self, prefix: &[u8]) -> Result<bool, ManageError> {
        Ok(self.edit_one(Edit::RemoveClient(prefix.to_vec())).await? > 0)
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
        self.edit_one(Edit::PutToken(token)).await.map(drop)
    }

    /// Takes a token back. Whether there was one.
    pub async fn remove_token(&self, token: Token) -> Result<bool, ManageError> {
        Ok(self.edit_one(Edit::RemoveToken(token)).await? > 0)
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
