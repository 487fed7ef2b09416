//! Our own tables, in SQLite, MariaDB or PostgreSQL: `migrations/` makes them.
//!
//! Members and torrents that were removed take nothing more: their sums are changed where they
//! stand, never made anew. Rows of their peers that come late are dropped at the next start.

mod edit;
mod manage;

use peerage_proto::{InfoHash, PeerId};
use peerage_tracker::private::{
    Client, Member, MemberDelta, MemberId, Passkey, PeerKey, PeerRow, PeerVisit, Pricing, Snatch,
    Token, TokenUse, Torrent, TorrentId, TorrentRow,
};

pub use edit::{EDITS_MAX, Edit, Edited, NotEdited};
pub use manage::{Access, ClientEntry, ManageError, MemberEntry, Own, TokenEntry, TorrentEntry};

use crate::Error;
use crate::database::{Columns, Connection};
use crate::gazelle::agent;
use crate::statement::{How, Set, Table, Value, hex};
use crate::store::{Loaded, PAGE_ROWS, address, padded};
use crate::write::{Part, Tables, now_secs};

/// Most characters of a `User-Agent`.
const AGENT_CHARS_MAX: usize = 255;

/// How long the row of a peer that left is kept.
const PEER_KEPT_SECS: i64 = 30 * 24 * 3600;

/// Most entries of the client lists: each announce goes through them.
const CLIENTS_MAX: usize = 10_000;

const MEMBERS: Table = Table {
    name: "members",
    columns: &["id", "uploaded", "downloaded"],
    made: &[],
    keys: &["id"],
    how: How::Update,
    sets: &[("uploaded", Set::Add), ("downloaded", Set::Add)],
};

const TORRENTS: Table = Table {
    name: "torrents",
    columns: &["id", "seeders", "leechers", "completed", "balance", "at"],
    made: &[],
    keys: &["id"],
    how: How::Update,
    sets: &[
        ("seeders", Set::New),
        ("leechers", Set::New),
        ("completed", Set::Add),
        ("balance", Set::Add),
        ("last_seeded_at", Set::To("CASE WHEN d.seeders > 0 THEN d.at ELSE t.last_seeded_at END")),
    ],
};

const PEERS: Table = Table {
    name: "peers",
    columns: &[
        "member_id",
        "torrent_id",
        "peer_id",
        "active",
        "announces",
        "uploaded",
        "downloaded",
        "remaining",
        "corrupt",
        "upload_speed",
        "download_speed",
        "timespent_secs",
        "seedtime_secs",
        "address",
        "port",
        "user_agent",
        "announced_at",
        "completed_at",
    ],
    made: &[],
    keys: &["torrent_id", "member_id", "peer_id"],
    how: How::Upsert,
    sets: &[
        ("active", Set::New),
        ("announces", Set::New),
        ("uploaded", Set::New),
        ("downloaded", Set::New),
        ("remaining", Set::New),
        ("corrupt", Set::New),
        ("upload_speed", Set::New),
        ("download_speed", Set::New),
        ("timespent_secs", Set::New),
        ("seedtime_secs", Set::New),
        ("address", Set::New),
        ("port", Set::New),
        ("user_agent", Set::FillText),
        ("announced_at", Set::New),
        ("completed_at", Set::Fill),
    ],
};

const VISITS: Table = Table {
    name: "peers",
    columns: &[
        "member_id",
        "torrent_id",
        "peer_id",
        "announces",
        "timespent_secs",
        "seedtime_secs",
        "announced_at",
    ],
    made: &[],
    keys: &["torrent_id", "member_id", "peer_id"],
    // A row made of this alone would have nothing left: a seeder that is none.
    how: How::Update,
    sets: &[
        ("upload_speed", Set::To("0")),
        ("download_speed", Set::To("0")),
        ("announces", Set::New),
        ("timespent_secs", Set::New),
        ("seedtime_secs", Set::New),
        ("announced_at", Set::New),
    ],
};

const SNATCHES: Table = Table {
    name: "snatches",
    columns: &["member_id", "torrent_id", "completed_at", "address"],
    made: &[],
    keys: &["member_id", "torrent_id"],
    how: How::Upsert,
    sets: &[],
};

const TOKEN_USES: Table = Table {
    name: "tokens",
    columns: &["member_id", "torrent_id", "downloaded"],
    made: &[],
    keys: &["member_id", "torrent_id"],
    how: How::Update,
    sets: &[("downloaded", Set::Add)],
};

const EXPIRED_TOKENS: Table = Table {
    name: "tokens",
    columns: &["member_id", "torrent_id"],
    made: &[],
    keys: &["member_id", "torrent_id"],
    how: How::Update,
    sets: &[("expired", Set::To("1"))],
};

/// Our own tables, as they are read and written by the tracker. [`Own`] is how they are managed.
pub(crate) struct OwnTables;

impl OwnTables {
    /// Reads everything but peers.
    pub(crate) async fn load(connection: &mut Connection) -> Result<Loaded, Error> {
        let asked = "SELECT prefix, name, allowed FROM clients ORDER BY prefix";
        let clients = connection.fetch(format!("{asked} LIMIT {CLIENTS_MAX}"), |row| {
            Ok((Client { prefix: row.bytes(0)?, name: row.text(1)? }, row.flag(2)?))
        });
        let (allowed, denied): (Vec<_>, Vec<_>) =
            clients.await?.into_iter().partition(|(_, is_allowed)| *is_allowed);
        let bare = |list: Vec<(Client, bool)>| list.into_iter().map(|(client, _)| client).collect();
        Ok(Loaded {
            members: load_members(connection).await?,
            torrents: load_torrents(connection).await?,
            tokens: load_tokens(connection).await?,
            clients: bare(allowed),
            denied_clients: bare(denied),
        })
    }

    /// Reads the peers that were heard from since `since_secs` and did not stop.
    pub(crate) async fn peers(
        connection: &mut Connection,
        since_secs: u64,
    ) -> Result<Vec<PeerRow>, Error> {
        let (mut peers, mut after) = (Vec::new(), String::new());
        loop {
            let page = format!(
                "SELECT {} FROM peers WHERE active = 1 AND announced_at >= {since_secs}{after} \
                 ORDER BY torrent_id, member_id, peer_id LIMIT {PAGE_ROWS}",
                PEERS.columns.join(", ")
            );
            let rows: Vec<PeerRow> = connection.fetch(page, peer).await?;
            let Some(last) = rows.last() else { return Ok(peers) };
            let (torrent, member) = (last.key.torrent.0, last.key.member.0);
            let id = match connection.dialect {
                crate::Dialect::Postgres => format!("'\\x{}'::bytea", hex(&last.key.peer_id.0)),
                _ => format!("x'{}'", hex(&last.key.peer_id.0)),
            };
            after = format!(
                " AND torrent_id >= {torrent} AND (torrent_id > {torrent} OR \
                 member_id > {member} OR (member_id = {member} AND peer_id > {id}))"
            );
            peers.extend(rows);
        }
    }

    /// Says that no peer is here, and drops rows that nobody will ask for.
    pub(crate) async fn clear(connection: &mut Connection) -> Result<(), Error> {
        let before = now_secs() - PEER_KEPT_SECS;
        for sql in [
            format!(
                "DELETE FROM peers WHERE announced_at < {before} OR \
                 NOT EXISTS (SELECT 1 FROM members WHERE members.id = peers.member_id) OR \
                 NOT EXISTS (SELECT 1 FROM torrents WHERE torrents.id = peers.torrent_id)"
            ),
            "UPDATE peers SET active = 0 WHERE active <> 0".to_owned(),
            "UPDATE torrents SET seeders = 0, leechers = 0 \
             WHERE seeders <> 0 OR leechers <> 0"
                .to_owned(),
        ] {
            connection.execute_at_length(&sql).await?;
        }
        Ok(())
    }

    /// Counts the changes by [`Own`].
    pub(crate) async fn revision(connection: &mut Connection) -> Result<i64, Error> {
        let rows = connection.fetch("SELECT number FROM revision", |row| row.int(0)).await?;
        Ok(rows.first().copied().unwrap_or(0))
    }
}

async fn load_members(connection: &mut Connection) -> Result<Vec<Member>, Error> {
    let (mut members, mut after) = (Vec::new(), 0);
    loop {
        let page = format!(
            "SELECT {MEMBER} FROM members WHERE enabled <> 0 AND id > {after} \
             ORDER BY id LIMIT {PAGE_ROWS}"
        );
        let rows = connection.fetch(page, |row| Ok((row.int(0)?, member(row)?))).await?;
        let Some((last, _)) = rows.last() else { return Ok(members) };
        after = *last;
        members.extend(rows.into_iter().filter_map(|(_, member)| member));
    }
}

/// The columns that [`member`] reads.
const MEMBER: &str = "id, passkey, can_leech, protected, free_leech, double_upload, download_slots";

/// A member; `None` where somebody wrote a passkey into the table that is none.
fn member(row: &dyn Columns) -> Result<Option<Member>, sqlx::Error> {
    let Some(passkey) = Passkey::parse(&row.bytes(1)?) else { return Ok(None) };
    let slots = row.int_or_null(6)?;
    Ok(Some(Member {
        id: MemberId(row.count(0)?),
        passkey,
        can_leech: row.flag(2)?,
        protected: row.flag(3)?,
        free_leech: row.flag(4)?,
        double_upload: row.flag(5)?,
        download_slots: slots.map(|slots| u32::try_from(slots.max(0)).unwrap_or(u32::MAX)),
    }))
}

async fn load_torrents(connection: &mut Connection) -> Result<Vec<Torrent>, Error> {
    let (mut torrents, mut after) = (Vec::new(), 0);
    loop {
        let page = format!(
            "SELECT {TORRENT} FROM torrents WHERE id > {after} ORDER BY id LIMIT {PAGE_ROWS}"
        );
        let rows = connection.fetch(page, torrent).await?;
        let Some(last) = rows.last() else { return Ok(torrents) };
        after = last.id.0;
        torrents.extend(rows);
    }
}

/// The columns that [`torrent`] reads.
const TORRENT: &str = "id, info_hash, pricing, double_upload, completed, balance";

fn torrent(row: &dyn Columns) -> Result<Torrent, sqlx::Error> {
    Ok(Torrent {
        id: TorrentId(row.count(0)?),
        info_hash: InfoHash(padded(&row.bytes(1)?)),
        pricing: match row.int(2)? {
            1 => Pricing::Free,
            2 => Pricing::Neutral,
            _ => Pricing::Normal,
        },
        double_upload: row.flag(3)?,
        completed: row.count(4)?,
        balance: row.int(5)?,
    })
}

async fn load_tokens(connection: &mut Connection) -> Result<Vec<Token>, Error> {
    let (mut tokens, mut after) = (Vec::new(), String::new());
    loop {
        let page = format!(
            "SELECT member_id, torrent_id FROM tokens WHERE expired = 0{after} \
             ORDER BY member_id, torrent_id LIMIT {PAGE_ROWS}"
        );
        let rows = connection
            .fetch(page, |row| {
                Ok(Token { member: MemberId(row.count(0)?), torrent: TorrentId(row.count(1)?) })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(tokens) };
        let (member, torrent) = (last.member.0, last.torrent.0);
        after = format!(
            " AND member_id >= {member} AND (member_id > {member} OR torrent_id > {torrent})"
        );
        tokens.extend(rows);
    }
}

fn peer(row: &dyn Columns) -> Result<PeerRow, sqlx::Error> {
    Ok(PeerRow {
        key: PeerKey {
            member: MemberId(row.count(0)?),
            torrent: TorrentId(row.count(1)?),
            peer_id: PeerId(padded(&row.bytes(2)?)),
        },
        active: row.flag(3)?,
        announces: row.count(4)?,
        uploaded: row.size(5)?,
        downloaded: row.size(6)?,
        remaining: row.size(7)?,
        corrupt: row.size(8)?,
        upload_speed: row.size(9)?,
        download_speed: row.size(10)?,
        timespent_secs: row.count(11)?,
        seedtime_secs: row.count(12)?,
        address: address(&row.text(13)?),
        port: u16::try_from(row.int(14)?).unwrap_or(0),
        user_agent: row.text(15)?,
        at_secs: row.size(16)?,
        completed_at_secs: row.int_or_null(17)?.and_then(|at| u64::try_from(at).ok()),
    })
}

fn address_value(address: Option<std::net::IpAddr>) -> Value {
    address.map_or(Value::Null, |address| Value::Text(address.to_canonical().to_string()))
}

impl Tables for OwnTables {
    fn members(&self) -> Table {
        MEMBERS
    }

    fn member(&self, row: &MemberDelta) -> Vec<Value> {
        vec![
            Value::Int(row.member.0.into()),
            Value::size(row.uploaded),
            Value::size(row.downloaded),
        ]
    }

    fn torrents(&self) -> Table {
        TORRENTS
    }

    fn torrent(&self, row: &TorrentRow) -> Vec<Value> {
        vec![
            Value::Int(row.torrent.0.into()),
            Value::Int(row.seeders.into()),
            Value::Int(row.leechers.into()),
            Value::Int(row.completed.into()),
            Value::Int(row.balance_delta),
            Value::Int(now_secs()),
        ]
    }

    fn peers(&self) -> Table {
        PEERS
    }

    fn peer(&self, row: &PeerRow) -> Vec<Value> {
        vec![
            Value::Int(row.key.member.0.into()),
            Value::Int(row.key.torrent.0.into()),
            Value::Bytes(row.key.peer_id.0.to_vec()),
            Value::Int(row.active.into()),
            Value::Int(row.announces.into()),
            Value::size(row.uploaded),
            Value::size(row.downloaded),
            Value::size(row.remaining),
            Value::size(row.corrupt),
            Value::size(row.upload_speed),
            Value::size(row.download_speed),
            Value::Int(row.timespent_secs.into()),
            Value::Int(row.seedtime_secs.into()),
            address_value(row.address),
            Value::Int(row.port.into()),
            agent(&row.user_agent, AGENT_CHARS_MAX),
            Value::size(row.at_secs),
            row.completed_at_secs.map_or(Value::Null, Value::size),
        ]
    }

    fn visits(&self) -> Table {
        VISITS
    }

    fn visit(&self, row: &PeerVisit) -> Vec<Value> {
        vec![
            Value::Int(row.key.member.0.into()),
            Value::Int(row.key.torrent.0.into()),
            Value::Bytes(row.key.peer_id.0.to_vec()),
            Value::Int(row.announces.into()),
            Value::Int(row.timespent_secs.into()),
            Value::Int(row.seedtime_secs.into()),
            Value::size(row.at_secs),
        ]
    }

    fn snatches(&self) -> Table {
        SNATCHES
    }

    fn snatch(&self, row: &Snatch) -> Vec<Value> {
        vec![
            Value::Int(row.member.0.into()),
            Value::Int(row.torrent.0.into()),
            Value::size(row.at_secs),
            address_value(row.address),
        ]
    }

    fn token_uses(&self) -> Table {
        TOKEN_USES
    }

    fn token_use(&self, row: &TokenUse) -> Vec<Value> {
        vec![
            Value::Int(row.token.member.0.into()),
            Value::Int(row.token.torrent.0.into()),
            Value::size(row.downloaded),
        ]
    }

    fn expired_tokens(&self) -> Table {
        EXPIRED_TOKENS
    }

    fn expired_token(&self, row: &Token) -> Vec<Value> {
        vec![Value::Int(row.member.0.into()), Value::Int(row.torrent.0.into())]
    }

    fn is_left_out(&self, _: Part) -> bool {
        false
    }
}
