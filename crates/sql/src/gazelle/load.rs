//! What a Gazelle site's database says of members, torrents, tokens and clients, read in pages.

use peerage_proto::{InfoHash, PeerId};
use peerage_tracker::private::{
    Client, Member, MemberId, Passkey, PeerKey, PeerRow, Pricing, Token, Torrent, TorrentId,
};
use tracing::warn;

use super::Gazelle;
use crate::database::{Columns, Connection};
use crate::statement::hex;
use crate::store::{Loaded, PAGE_ROWS, address, padded};
use crate::{Error, GazelleDialect};

/// Most entries of the client list: a site has a few hundred, and each announce goes through it.
const CLIENTS_MAX: usize = 10_000;

/// Torrents whose snatches are read at once: with 20 each as many as a page of other rows.
const SNATCHED_TORRENTS: usize = PAGE_ROWS / 20;

impl Gazelle {
    /// Reads everything but peers.
    pub(crate) async fn load(&self, connection: &mut Connection) -> Result<Loaded, Error> {
        Ok(Loaded {
            members: members(connection).await?,
            torrents: self.load_torrents(connection).await?,
            tokens: tokens(connection).await?,
            clients: clients(connection).await?,
            denied_clients: Vec::new(),
        })
    }

    async fn load_torrents(&self, connection: &mut Connection) -> Result<Vec<Torrent>, Error> {
        let (sums, joined) = match self.dialect {
            GazelleDialect::Ops => (
                "s.Snatched, s.Balance",
                "INNER JOIN torrents_leech_stats s ON s.TorrentID = t.ID ",
            ),
            _ => ("t.Snatched, t.balance", ""),
        };
        let (mut torrents, mut after, mut odd) = (Vec::new(), 0, 0_u64);
        loop {
            let page = format!(
                "SELECT t.ID, t.info_hash, t.FreeTorrent, {sums} FROM torrents t {joined}\
                 WHERE t.ID > {after} ORDER BY t.ID LIMIT {PAGE_ROWS}"
            );
            let rows = connection
                .fetch(page, |row| {
                    let pricing = match row.bytes(2)?.as_slice() {
                        b"1" => Pricing::Free,
                        b"2" => Pricing::Neutral,
                        _ => Pricing::Normal,
                    };
                    let torrent = |info_hash| -> Result<_, sqlx::Error> {
                        Ok(Torrent {
                            id: TorrentId(row.count(0)?),
                            info_hash,
                            pricing,
                            double_upload: false,
                            completed: row.count(3)?,
                            balance: row.int(4)?,
                        })
                    };
                    let torrent = info_hash(&row.bytes(1)?).map(torrent).transpose()?;
                    Ok((row.int(0)?, torrent))
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            odd += rows.iter().filter(|(_, torrent)| torrent.is_none()).count() as u64;
            torrents.extend(rows.into_iter().filter_map(|(_, torrent)| torrent));
        }
        if odd > 0 {
            warn!(
                "torrents left out, their info_hash is neither 20 bytes nor 40 hex digits: {odd}"
            );
        }
        Ok(torrents)
    }

    /// Reads the peers that were heard from since `since_secs` (seconds since 1970) and did not
    /// stop, so that what they transferred while nobody counted is credited by their next
    /// announce. Gazelle keeps no ports.
    pub(crate) async fn peers(
        &self,
        connection: &mut Connection,
        since_secs: u64,
    ) -> Result<Vec<PeerRow>, Error> {
        // In the order of the primary key, which the dialects do not share.
        let keys = match self.dialect {
            GazelleDialect::Ops => ["fid", "uid", "peer_id"],
            _ => ["peer_id", "fid", "uid"],
        };
        let [a, b, c] = keys;
        let (mut peers, mut after) = (Vec::new(), String::new());
        loop {
            let page = format!(
                "SELECT uid, fid, peer_id, announced, uploaded, downloaded, remaining, corrupt, \
                 timespent, mtime, ip, useragent FROM xbt_files_users \
                 WHERE active = 1 AND mtime >= {since_secs}{after} \
                 ORDER BY {a}, {b}, {c} LIMIT {PAGE_ROWS}"
            );
            let rows: Vec<PeerRow> = connection.fetch(page, peer).await?;
            let Some(last) = rows.last() else { return Ok(peers) };
            let value = |key: &str| match key {
                "uid" => last.key.member.0.to_string(),
                "fid" => last.key.torrent.0.to_string(),
                _ => format!("x'{}'", hex(&last.key.peer_id.0)),
            };
            let [x, y, z] = keys.map(value);
            after = format!(
                " AND {a} >= {x} AND ({a} > {x} OR {b} > {y} OR ({b} = {y} AND {c} > {z}))"
            );
            peers.extend(rows);
        }
    }
}

fn peer(row: &dyn Columns) -> Result<PeerRow, sqlx::Error> {
    Ok(PeerRow {
        key: PeerKey {
            member: MemberId(row.count(0)?),
            torrent: TorrentId(row.count(1)?),
            peer_id: PeerId(padded(&row.bytes(2)?)),
        },
        active: true,
        announces: row.count(3)?,
        uploaded: row.size(4)?,
        downloaded: row.size(5)?,
        remaining: row.size(6)?,
        corrupt: row.size(7)?,
        upload_speed: 0,
        download_speed: 0,
        timespent_secs: row.count(8)?,
        seedtime_secs: 0,
        at_secs: row.size(9)?,
        address: address(&row.text(10)?),
        port: 0,
        user_agent: row.text(11)?,
        completed_at_secs: None,
    })
}

/// Gives who has completed which of `torrents`, whose numbers rise.
pub(crate) async fn snatches(
    connection: &mut Connection,
    torrents: &[TorrentId],
    give: &mut impl FnMut(MemberId, TorrentId),
) -> Result<(), Error> {
    // There is an index of torrents, and not in each dialect a key by which to go on.
    for some in torrents.chunks(SNATCHED_TORRENTS) {
        let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
        let page = format!(
            "SELECT uid, fid FROM xbt_snatched WHERE fid BETWEEN {} AND {}",
            first.0, last.0
        );
        let snatch = |row: &dyn Columns| {
            give(MemberId(row.count(0)?), TorrentId(row.count(1)?));
            Ok(())
        };
        connection.fetch(page, snatch).await?;
    }
    Ok(())
}

async fn members(connection: &mut Connection) -> Result<Vec<Member>, Error> {
    let (mut members, mut after, mut odd) = (Vec::new(), 0, 0_u64);
    loop {
        let page = format!(
            "SELECT ID, can_leech, torrent_pass, Visible = '0' OR IP = '127.0.0.1' \
             FROM users_main WHERE Enabled = '1' AND ID > {after} ORDER BY ID LIMIT {PAGE_ROWS}"
        );
        let rows = connection
            .fetch(page, |row| {
                let member = |passkey| -> Result<_, sqlx::Error> {
                    Ok(Member {
                        id: MemberId(row.count(0)?),
                        passkey,
                        can_leech: row.flag(1)?,
                        protected: row.flag(3)?,
                        free_leech: false,
                        double_upload: false,
                        download_slots: None,
                    })
                };
                let member = Passkey::parse(&row.bytes(2)?).map(member).transpose()?;
                Ok((row.int(0)?, member))
            })
            .await?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        odd += rows.iter().filter(|(_, member)| member.is_none()).count() as u64;
        members.extend(rows.into_iter().filter_map(|(_, member)| member));
    }
    if odd > 0 {
        warn!("members left out, their torrent_pass is not 32 letters and digits: {odd}");
    }
    Ok(members)
}

async fn tokens(connection: &mut Connection) -> Result<Vec<Token>, Error> {
    let (mut tokens, mut after) = (Vec::new(), String::new());
    loop {
        let page = format!(
            "SELECT UserID, TorrentID FROM users_freeleeches WHERE Expired = 0{after} \
             ORDER BY UserID, TorrentID LIMIT {PAGE_ROWS}"
        );
        let rows = connection
            .fetch(page, |row| {
                Ok(Token { member: MemberId(row.count(0)?), torrent: TorrentId(row.count(1)?) })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(tokens) };
        let (member, torrent) = (last.member.0, last.torrent.0);
        after = format!(" AND UserID >= {member} AND (UserID > {member} OR TorrentID > {torrent})");
        tokens.extend(rows);
    }
}

async fn clients(connection: &mut Connection) -> Result<Vec<Client>, Error> {
    let asked = format!(
        "SELECT peer_id, vstring FROM xbt_client_whitelist ORDER BY id LIMIT {CLIENTS_MAX}"
    );
    let clients =
        connection.fetch(asked, |row| Ok(Client { prefix: row.bytes(0)?, name: row.text(1)? }));
    let mut clients = clients.await?;
    // An empty one would let everybody in; Ocelot takes it so, and nobody means it.
    clients.retain(|client| (1..=20).contains(&client.prefix.len()));
    Ok(clients)
}

/// An info_hash as a site has it: 20 bytes, or in hex.
fn info_hash(bytes: &[u8]) -> Option<InfoHash> {
    if let Ok(raw) = <[u8; 20]>::try_from(bytes) {
        return Some(InfoHash(raw));
    }
    let mut raw = [0; 20];
    if bytes.len() != 40 {
        return None;
    }
    for (byte, digits) in raw.iter_mut().zip(bytes.chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    }
    Some(InfoHash(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_hash_is_read_in_bytes_and_in_hex() {
        let raw = *b"\x00\x12\xab\xff0123456789abcdef";
        assert_eq!(info_hash(&raw), Some(InfoHash(raw)));
        assert_eq!(info_hash(hex(&raw).as_bytes()), Some(InfoHash(raw)));
        assert_eq!(info_hash(hex(&raw).to_uppercase().as_bytes()), Some(InfoHash(raw)));
        for wrong in [&raw[..19], b"", &[b'g'; 40], &[b'+'; 40], &[b'0'; 41]] {
            assert_eq!(info_hash(wrong), None);
        }
    }
}
