//! A change written as a site would tell it, so that it can be told onwards: nothing but what was
//! read of it, and the same whoever wrote it first.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Freetorrent, Update};
use crate::InfoHash;

impl Update<'_> {
    /// Appends the query that [`Update::parse`] reads as this update.
    pub fn write(&self, query: &mut Vec<u8>) {
        query.extend_from_slice(b"action=");
        query.extend_from_slice(self.action().as_bytes());
        match self {
            Self::AddTorrent { info_hash, id, free } => {
                put_hashes(query, "info_hash", &[*info_hash]);
                put(query, "id", id.to_string().as_bytes());
                put_free(query, *free);
            }
            Self::UpdateTorrents { info_hashes, free } => {
                put_hashes(query, "info_hashes", info_hashes);
                put_free(query, *free);
            }
            Self::DeleteTorrent { info_hash, reason } => {
                put_hashes(query, "info_hash", &[*info_hash]);
                put(query, "reason", reason.to_string().as_bytes());
            }
            Self::AddToken { info_hash, user } | Self::RemoveToken { info_hash, user } => {
                put_hashes(query, "info_hash", &[*info_hash]);
                put(query, "userid", user.to_string().as_bytes());
            }
            Self::AddUser { passkey, id, visible } => {
                put(query, "passkey", *passkey);
                put(query, "id", id.to_string().as_bytes());
                put_flag(query, "visible", *visible);
            }
            Self::UpdateUser { passkey, can_leech, visible } => {
                put(query, "passkey", *passkey);
                put_flag(query, "can_leech", *can_leech);
                put_flag(query, "visible", *visible);
            }
            Self::RemoveUsers { passkeys } => {
                put(query, "passkeys", b"");
                passkeys.iter().for_each(|passkey| query.extend_from_slice(*passkey));
            }
            Self::ChangePasskey { old, new } => {
                put(query, "oldpasskey", *old);
                put(query, "newpasskey", *new);
            }
            Self::AddClient(prefix) | Self::RemoveClient(prefix) => put(query, "peer_id", prefix),
            Self::EditClient { old, new } => {
                put(query, "old_peer_id", old);
                put(query, "new_peer_id", new);
            }
            Self::AnnounceInterval(secs) => {
                put(query, "new_announce_interval", secs.to_string().as_bytes());
            }
            Self::AnnounceJitter(secs) => {
                put(query, "new_announce_jitter", secs.to_string().as_bytes());
            }
            Self::InfoTorrent(info_hash) => put_hashes(query, "info_hash", &[*info_hash]),
            Self::TraceUser { passkey, trace } => {
                put(query, "passkey", *passkey);
                put_flag(query, "trace", Some(*trace));
            }
        }
    }

    /// By which it is named; the one for many where there is one for one besides.
    fn action(&self) -> &'static str {
        match self {
            Self::AddTorrent { .. } => "add_torrent",
            Self::UpdateTorrents { .. } => "update_torrents",
            Self::DeleteTorrent { .. } => "delete_torrent",
            Self::AddToken { .. } => "add_token",
            Self::RemoveToken { .. } => "remove_token",
            Self::AddUser { .. } => "add_user",
            Self::UpdateUser { .. } => "update_user",
            Self::RemoveUsers { .. } => "remove_users",
            Self::ChangePasskey { .. } => "change_passkey",
            Self::AddClient(_) => "add_whitelist",
            Self::RemoveClient(_) => "remove_whitelist",
            Self::EditClient { .. } => "edit_whitelist",
            Self::AnnounceInterval(_) => "update_announce_interval",
            Self::AnnounceJitter(_) => "update_announce_jitter",
            Self::InfoTorrent(_) => "info_torrent",
            Self::TraceUser { .. } => "trace_user",
        }
    }
}

fn put(query: &mut Vec<u8>, name: &str, value: &[u8]) {
    query.push(b'&');
    query.extend_from_slice(name.as_bytes());
    query.push(b'=');
    query.extend_from_slice(value);
}

fn put_hashes(query: &mut Vec<u8>, name: &str, info_hashes: &[InfoHash]) {
    put(query, name, b"");
    for byte in info_hashes.iter().flat_map(|info_hash| info_hash.0) {
        let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
        query.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
    }
}

fn put_flag(query: &mut Vec<u8>, name: &str, flag: Option<bool>) {
    if let Some(flag) = flag {
        put(query, name, if flag { b"1" } else { b"0" });
    }
}

fn put_free(query: &mut Vec<u8>, free: Freetorrent) {
    let number = match free {
        Freetorrent::Normal => b"0",
        Freetorrent::Free => b"1",
        Freetorrent::Neutral => b"2",
        Freetorrent::Absent => return,
    };
    put(query, "freetorrent", number);
}
