//! Our own tables, in SQLite, MariaDB or PostgreSQL: `migrations/` makes them.
//!
//! Members and torrents that were removed take nothing more: their sums are changed where they
//! stand, never made anew. Rows of their peers that come late are dropped at the next start.

mod edit;
mod manage;

use std::net::IpAddr;

use peerage_proto::{InfoHash, PeerId};
use peerage_tracker::private::{
    Client, Member, MemberId, Passkey, PeerKey, PeerRow, Pricing, Token, Torrent, TorrentId,
};

pub use edit::{EDITS_MAX, Edit, Edited, NotEdited};
pub use manage::{Access, ClientEntry, ManageError, MemberEntry, Own, TokenEntry, TorrentEntry};

use crate::Error;
use crate::database::{Columns, Connection};
use crate::fields::{Field, Tables};
use crate::statement::{How, Set, Table, Value, hex};
use crate::store::{Loaded, PAGE_ROWS, address, padded};
use crate::write::{Part, now_secs};

/// Most characters of a `User-Agent`.
const AGENT_CHARS_MAX: usize = 255;

/// How long the row of a peer that left is kept.
const PEER_KEPT_SECS: i64 = 30 * 24 * 3600;

/// Most entries of the client lists: each announce goes through them.
const CLIENTS_MAX: usize = 10_000;

const MEMBERS: Table = Table {
    name: "members",
    columns: &[
        ("id", Field::Member),
        ("uploaded", Field::Uploaded),
        ("downloaded", Field::Downloaded),
    ],
    made: &[],
    keys: &["id"],
    how: How::Update,
    sets: &[("uploaded", Set::Add), ("downloaded", Set::Add)],
};

const TORRENTS: Table = Table {
    name: "torrents",
    columns: &[
        ("id", Field::Torrent),
        ("seeders", Field::Seeders),
        ("leechers", Field::Leechers),
        ("completed", Field::Completed),
        ("balance", Field::BalanceDelta),
        ("at", Field::NowSecs),
    ],
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
        ("member_id", Field::Member),
        ("torrent_id", Field::Torrent),
        ("peer_id", Field::PeerId),
        ("active", Field::Active),
        ("announces", Field::Announces),
        ("uploaded", Field::Uploaded),
        ("downloaded", Field::Downloaded),
        ("remaining", Field::Remaining),
        ("corrupt", Field::Corrupt),
        ("upload_speed", Field::UploadSpeed),
        ("download_speed", Field::DownloadSpeed),
        ("timespent_secs", Field::TimespentSecs),
        ("seedtime_secs", Field::SeedtimeSecs),
        ("address", Field::Address),
        ("port", Field::Port),
        ("user_agent", Field::UserAgent),
        ("announced_at", Field::AtSecs),
        ("completed_at", Field::CompletedAtSecs),
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
        ("completed_at", Set::Fill),
        ("announced_at", Set::Latest),
    ],
};

const VISITS: Table = Table {
    name: "peers",
    columns: &[
        ("member_id", Field::Member),
        ("torrent_id", Field::Torrent),
        ("peer_id", Field::PeerId),
        ("announces", Field::Announces),
        ("timespent_secs", Field::TimespentSecs),
        ("seedtime_secs", Field::SeedtimeSecs),
        ("announced_at", Field::AtSecs),
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
        ("announced_at", Set::Latest),
    ],
};

const SNATCHES: Table = Table {
    name: "snatches",
    columns: &[
        ("member_id", Field::Member),
        ("torrent_id", Field::Torrent),
        ("completed_at", Field::AtSecs),
        ("address", Field::Address),
    ],
    made: &[],
    keys: &["member_id", "torrent_id"],
    how: How::Upsert,
    sets: &[],
};

const TOKEN_USES: Table = Table {
    name: "tokens",
    columns: &[
        ("member_id", Field::Member),
        ("torrent_id", Field::Torrent),
        ("downloaded", Field::Downloaded),
    ],
    made: &[],
    keys: &["member_id", "torrent_id"],
    how: How::Update,
    sets: &[("downloaded", Set::Add)],
};

const EXPIRED_TOKENS: Table = Table {
    name: "tokens",
    columns: &[("member_id", Field::Member), ("torrent_id", Field::Torrent)],
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
                PEERS.names().join(", ")
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

    /// Gives who has completed what.
    pub(crate) async fn snatches(
        connection: &mut Connection,
        give: &mut impl FnMut(MemberId, TorrentId),
    ) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = format!(
                "SELECT member_id, torrent_id FROM snatches{after} \
                 ORDER BY member_id, torrent_id LIMIT {PAGE_ROWS}"
            );
            let snatch = |row: &dyn Columns| Ok((row.count(0)?, row.count(1)?));
            let rows = connection.fetch(page, snatch).await?;
            let Some((member, torrent)) = rows.last() else { return Ok(()) };
            after = format!(
                " WHERE member_id >= {member} AND (member_id > {member} OR torrent_id > {torrent})"
            );
            rows.iter().for_each(|(member, torrent)| give(MemberId(*member), TorrentId(*torrent)));
        }
    }

    /// Says which peers are not here, and drops rows that nobody will ask for.
    pub(crate) async fn clear(
        connection: &mut Connection,
        kept_since_secs: Option<u64>,
    ) -> Result<(), Error> {
        let before = now_secs() - PEER_KEPT_SECS;
        let others = kept_since_secs.map_or(String::new(), |since_secs| {
            format!(
                " AND (announced_at < {since_secs} OR NOT EXISTS (SELECT 1 FROM members \
                 WHERE members.id = peers.member_id AND members.enabled <> 0))"
            )
        });
        for sql in [
            format!(
                "DELETE FROM peers WHERE announced_at < {before} OR \
                 NOT EXISTS (SELECT 1 FROM members WHERE members.id = peers.member_id) OR \
                 NOT EXISTS (SELECT 1 FROM torrents WHERE torrents.id = peers.torrent_id)"
            ),
            format!("UPDATE peers SET active = 0 WHERE active <> 0{others}"),
            "UPDATE torrents SET seeders = 0, leechers = 0 \
             WHERE seeders <> 0 OR leechers <> 0"
                .to_owned(),
        ] {
            connection.execute_at_length(&sql).await?;
        }
        Ok(())
    }

    /// Says of peers not heard from since `before_secs` that they are not here, and of torrents
    /// without any other that they have none.
    pub(crate) async fn sweep(connection: &mut Connection, before_secs: u64) -> Result<(), Error> {
        for sql in [
            format!(
                "UPDATE peers SET active = 0 WHERE active <> 0 AND announced_at < {before_secs}"
            ),
            "UPDATE torrents SET seeders = 0, leechers = 0 \
             WHERE (seeders <> 0 OR leechers <> 0) AND NOT EXISTS \
             (SELECT 1 FROM peers WHERE peers.torrent_id = torrents.id AND peers.active <> 0)"
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

impl Tables for OwnTables {
    fn table(&self, part: Part) -> Option<Table> {
        Some(match part {
            Part::Members => MEMBERS,
            Part::Torrents => TORRENTS,
            Part::Peers => PEERS,
            Part::Visits => VISITS,
            Part::Snatches => SNATCHES,
            Part::TokenUses => TOKEN_USES,
            Part::ExpiredTokens => EXPIRED_TOKENS,
        })
    }

    fn count(&self, count: u64) -> Value {
        Value::size(count)
    }

    fn address(&self, _: Part, address: Option<IpAddr>) -> Value {
        address.map_or(Value::Null, |address| Value::Text(address.to_canonical().to_string()))
    }

    fn agent_chars(&self) -> usize {
        AGENT_CHARS_MAX
    }
}
