//! Rows that outlive the process, as JSON: what was owed to the database at a stop.
//!
//! Whole numbers, info by position would be shorter; but a file that people may have to look at
//! says what its numbers are. 64-bit numbers are written as they are: whoever reads them here
//! reads all of them.

use std::net::IpAddr;

use peerage_proto::PeerId;
use peerage_sql::{Held, Part};
use peerage_tracker::private::{
    Batch, MemberDelta, MemberId, PeerKey, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentId,
    TorrentRow,
};
use serde_json::{Value, json};

/// What is held, as one line.
pub(super) fn write(held: &Held) -> Value {
    let Batch { members, torrents, peers, visits, snatches, token_uses, expired_tokens } =
        &held.rows;
    json!({
        "writer": held.writer,
        "number": held.number,
        "part": held.part.name(),
        "members": members.iter().map(write_member).collect::<Vec<_>>(),
        "torrents": torrents.iter().map(write_torrent).collect::<Vec<_>>(),
        "peers": peers.iter().map(write_peer).collect::<Vec<_>>(),
        "visits": visits.iter().map(write_visit).collect::<Vec<_>>(),
        "snatches": snatches.iter().map(write_snatch).collect::<Vec<_>>(),
        "token_uses": token_uses.iter().map(write_use).collect::<Vec<_>>(),
        "expired_tokens": expired_tokens.iter().map(|one| write_token(*one)).collect::<Vec<_>>(),
    })
}

/// What [`write()`] wrote; `None` for anything else.
pub(super) fn read(line: &Value) -> Option<Held> {
    fn all<T>(line: &Value, list: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        line.get(list)?.as_array()?.iter().map(read).collect()
    }
    let part = line.get("part")?.as_str()?;
    Some(Held {
        writer: line.get("writer")?.as_i64()?,
        number: line.get("number")?.as_i64()?,
        part: Part::ALL.into_iter().find(|one| one.name() == part)?,
        rows: Batch {
            members: all(line, "members", read_member)?,
            torrents: all(line, "torrents", read_torrent)?,
            peers: all(line, "peers", read_peer)?,
            visits: all(line, "visits", read_visit)?,
            snatches: all(line, "snatches", read_snatch)?,
            token_uses: all(line, "token_uses", read_use)?,
            expired_tokens: all(line, "expired_tokens", read_token)?,
        },
    })
}

/// A field that is a whole number.
fn number<T: TryFrom<u64>>(row: &Value, name: &str) -> Option<T> {
    T::try_from(row.get(name)?.as_u64()?).ok()
}

/// A field that may be null; `None` where it is neither that nor what `read` takes.
fn optional<T>(
    row: &Value,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<Option<T>> {
    match row.get(name)? {
        Value::Null => Some(None),
        value => read(value).map(Some),
    }
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn write_member(row: &MemberDelta) -> Value {
    json!({"member": row.member.0, "uploaded": row.uploaded, "downloaded": row.downloaded})
}

fn read_member(row: &Value) -> Option<MemberDelta> {
    Some(MemberDelta {
        member: MemberId(number(row, "member")?),
        uploaded: number(row, "uploaded")?,
        downloaded: number(row, "downloaded")?,
    })
}

fn write_torrent(row: &TorrentRow) -> Value {
    json!({
        "torrent": row.torrent.0,
        "seeders": row.seeders,
        "leechers": row.leechers,
        "completed": row.completed,
        "balance": row.balance,
        "balance_delta": row.balance_delta,
    })
}

fn read_torrent(row: &Value) -> Option<TorrentRow> {
    Some(TorrentRow {
        torrent: TorrentId(number(row, "torrent")?),
        seeders: number(row, "seeders")?,
        leechers: number(row, "leechers")?,
        completed: number(row, "completed")?,
        balance: row.get("balance")?.as_i64()?,
        balance_delta: row.get("balance_delta")?.as_i64()?,
    })
}

fn write_key(key: &PeerKey) -> Value {
    let peer_id: String = key.peer_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"member": key.member.0, "torrent": key.torrent.0, "peer_id": peer_id})
}

fn read_key(row: &Value) -> Option<PeerKey> {
    let row = row.get("key")?;
    // The same 20 bytes in hex as an info_hash.
    let peer_id = peerage_proto::InfoHash::from_hex(row.get("peer_id")?.as_str()?)?;
    Some(PeerKey {
        member: MemberId(number(row, "member")?),
        torrent: TorrentId(number(row, "torrent")?),
        peer_id: PeerId(peer_id.0),
    })
}

fn write_peer(row: &PeerRow) -> Value {
    json!({
        "key": write_key(&row.key),
        "active": row.active,
        "announces": row.announces,
        "uploaded": row.uploaded,
        "downloaded": row.downloaded,
        "remaining": row.remaining,
        "corrupt": row.corrupt,
        "upload_speed": row.upload_speed,
        "download_speed": row.download_speed,
        "timespent_secs": row.timespent_secs,
        "seedtime_secs": row.seedtime_secs,
        "at_secs": row.at_secs,
        "address": row.address,
        "port": row.port,
        "user_agent": row.user_agent,
        "completed_at_secs": row.completed_at_secs,
    })
}

fn read_peer(row: &Value) -> Option<PeerRow> {
    Some(PeerRow {
        key: read_key(row)?,
        active: row.get("active")?.as_bool()?,
        announces: number(row, "announces")?,
        uploaded: number(row, "uploaded")?,
        downloaded: number(row, "downloaded")?,
        remaining: number(row, "remaining")?,
        corrupt: number(row, "corrupt")?,
        upload_speed: number(row, "upload_speed")?,
        download_speed: number(row, "download_speed")?,
        timespent_secs: number(row, "timespent_secs")?,
        seedtime_secs: number(row, "seedtime_secs")?,
        at_secs: number(row, "at_secs")?,
        address: optional(row, "address", address)?,
        port: number(row, "port")?,
        user_agent: row.get("user_agent")?.as_str()?.into(),
        completed_at_secs: optional(row, "completed_at_secs", Value::as_u64)?,
    })
}

fn write_visit(row: &PeerVisit) -> Value {
    json!({
        "key": write_key(&row.key),
        "announces": row.announces,
        "timespent_secs": row.timespent_secs,
        "seedtime_secs": row.seedtime_secs,
        "at_secs": row.at_secs,
    })
}

fn read_visit(row: &Value) -> Option<PeerVisit> {
    Some(PeerVisit {
        key: read_key(row)?,
        announces: number(row, "announces")?,
        timespent_secs: number(row, "timespent_secs")?,
        seedtime_secs: number(row, "seedtime_secs")?,
        at_secs: number(row, "at_secs")?,
    })
}

fn write_snatch(row: &Snatch) -> Value {
    json!({
        "member": row.member.0,
        "torrent": row.torrent.0,
        "at_secs": row.at_secs,
        "address": row.address,
    })
}

fn read_snatch(row: &Value) -> Option<Snatch> {
    Some(Snatch {
        member: MemberId(number(row, "member")?),
        torrent: TorrentId(number(row, "torrent")?),
        at_secs: number(row, "at_secs")?,
        address: optional(row, "address", address)?,
    })
}

fn write_token(token: Token) -> Value {
    json!({"member": token.member.0, "torrent": token.torrent.0})
}

fn read_token(row: &Value) -> Option<Token> {
    Some(Token {
        member: MemberId(number(row, "member")?),
        torrent: TorrentId(number(row, "torrent")?),
    })
}

fn write_use(row: &TokenUse) -> Value {
    json!({"token": write_token(row.token), "downloaded": row.downloaded})
}

fn read_use(row: &Value) -> Option<TokenUse> {
    Some(TokenUse { token: read_token(row.get("token")?)?, downloaded: number(row, "downloaded")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let (member, torrent) = (MemberId(u32::MAX), TorrentId(7));
        let key = PeerKey { member, torrent, peer_id: PeerId(*b"\0-qB4320-\xff\x80'\"abcdefg") };
        let token = Token { member, torrent };
        let peer = PeerRow {
            key,
            active: true,
            announces: 3,
            uploaded: u64::MAX,
            downloaded: 1 << 60,
            remaining: 5,
            corrupt: 6,
            upload_speed: 7,
            download_speed: 8,
            timespent_secs: 9,
            seedtime_secs: 10,
            at_secs: 1_800_000_000,
            address: Some([192, 0, 2, 1].into()),
            port: 6881,
            user_agent: "a \"client\"\u{e4}\n".into(),
            completed_at_secs: Some(11),
        };
        let hidden = PeerRow { address: None, completed_at_secs: None, ..peer.clone() };
        Held {
            writer: i64::MAX,
            number: -1,
            part: Part::Members,
            rows: Batch {
                members: vec![MemberDelta { member, uploaded: u64::MAX, downloaded: 0 }],
                torrents: vec![TorrentRow {
                    torrent,
                    seeders: 1,
                    leechers: 2,
                    completed: 3,
                    balance: i64::MIN,
                    balance_delta: -1,
                }],
                peers: vec![peer, hidden],
                visits: vec![PeerVisit {
                    key,
                    announces: 1,
                    timespent_secs: 2,
                    seedtime_secs: 3,
                    at_secs: 4,
                }],
                snatches: vec![Snatch { member, torrent, at_secs: 1, address: None }],
                token_uses: vec![TokenUse { token, downloaded: u64::MAX }],
                expired_tokens: vec![token],
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back_to_the_bit() {
        for part in Part::ALL {
            let held = Held { part, ..held() };
            let line = write(&held).to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(read(&serde_json::from_str(&line).unwrap()), Some(held));
        }
    }

    #[test]
    fn line_that_lacks_something_is_none() {
        let whole = write(&held());
        for field in whole.as_object().unwrap().keys() {
            let mut line = whole.clone();
            line.as_object_mut().unwrap().remove(field);
            assert_eq!(read(&line), None, "{field}");
        }
        assert_eq!(read(&json!("text")), None);
    }
}
