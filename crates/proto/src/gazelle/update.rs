//! Changes that a site tells of.
//!
//! Only info_hashes are escaped. All else stands as it is, passkeys of many members one after the
//! other.

mod write;

use alloc::vec::Vec;
use core::fmt;

use super::request::value;
use crate::InfoHash;
use crate::types::hex_digit;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update<'a> {
    /// A torrent was uploaded; or, where it is known, its `freetorrent` has changed.
    AddTorrent {
        /// Which.
        info_hash: InfoHash,
        /// As the site's database has it.
        id: u32,
        /// What it costs.
        free: Freetorrent,
    },
    /// What torrents cost has changed: one in `update_torrent`, many in `update_torrents`.
    UpdateTorrents {
        /// Which.
        info_hashes: Vec<InfoHash>,
        /// What each costs from here on.
        free: Freetorrent,
    },
    /// A torrent was deleted.
    DeleteTorrent {
        /// Which.
        info_hash: InfoHash,
        /// Why: a number that the site has a word for. -1 for no reason.
        reason: i32,
    },
    /// A member may download a torrent for free.
    AddToken {
        /// Which torrent.
        info_hash: InfoHash,
        /// Who, by the site's number.
        user: u32,
    },
    /// A member may no longer download a torrent for free.
    RemoveToken {
        /// Which torrent.
        info_hash: InfoHash,
        /// Who, by the site's number.
        user: u32,
    },
    /// A member was let in.
    AddUser {
        /// By this passkey.
        passkey: &'a [u8; 32],
        /// As the site's database has it.
        id: u32,
        /// Whether the member's address may be kept; `None` where nothing is said.
        visible: Option<bool>,
    },
    /// A member's rights have changed.
    UpdateUser {
        /// Whose.
        passkey: &'a [u8; 32],
        /// Whether the member may download; `None` where nothing is said.
        can_leech: Option<bool>,
        /// Whether the member's address may be kept; `None` where nothing is said.
        visible: Option<bool>,
    },
    /// Members were put out: one in `remove_user`, many in `remove_users`.
    RemoveUsers {
        /// Whose passkeys. What is left over after the last whole one is passed over.
        passkeys: Vec<&'a [u8; 32]>,
    },
    /// A member has a new passkey.
    ChangePasskey {
        /// Before.
        old: &'a [u8; 32],
        /// From here on.
        new: &'a [u8; 32],
    },
    /// A client is let in, by the start of its peer_id: 1 to 20 bytes.
    AddClient(&'a [u8]),
    /// A client is no longer let in.
    RemoveClient(&'a [u8]),
    /// A client is let in in the place of another.
    EditClient {
        /// No longer.
        old: &'a [u8],
        /// From here on.
        new: &'a [u8],
    },
    /// The announce interval, in seconds.
    AnnounceInterval(u32),
    /// By how much the announce interval is longer at most, in seconds.
    AnnounceJitter(u32),
    /// A torrent is to be looked up.
    InfoTorrent(InfoHash),
    /// What a member does is to be logged, or no longer.
    TraceUser {
        /// Who.
        passkey: &'a [u8; 32],
        /// Whether it is to be.
        trace: bool,
    },
}

/// What a torrent costs, as the site says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freetorrent {
    /// `0`: upload and download both count.
    Normal,
    /// `1`: upload counts, download does not.
    Free,
    /// `2`, and whatever else: neither counts.
    Neutral,
    /// Nothing is said.
    Absent,
}

/// Why an update cannot be followed. The site is told `success` all the same: it cannot be told
/// anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError {
    /// The action is unknown, or missing.
    Action,
    /// This parameter is missing, or is not what it has to be.
    Parameter(&'static str),
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action => f.write_str("the action is unknown"),
            Self::Parameter(name) => write!(f, "{name} is missing or wrong"),
        }
    }
}

impl<'a> Update<'a> {
    /// Reads the query of an update.
    pub fn parse(query: &'a [u8]) -> Result<Self, UpdateError> {
        let fields = Fields(query);
        Ok(match value(query, b"action").unwrap_or_default() {
            b"add_torrent" => Self::AddTorrent {
                info_hash: fields.info_hash()?,
                id: fields.id("id")?,
                free: fields.free(),
            },
            b"update_torrent" => Self::UpdateTorrents {
                info_hashes: [fields.info_hash()?].into(),
                free: fields.free(),
            },
            b"update_torrents" => Self::UpdateTorrents {
                info_hashes: fields.info_hashes("info_hashes")?,
                free: fields.free(),
            },
            b"delete_torrent" => Self::DeleteTorrent {
                info_hash: fields.info_hash()?,
                reason: fields.get("reason").map_or(-1, reason),
            },
            b"add_token" => {
                Self::AddToken { info_hash: fields.info_hash()?, user: fields.id("userid")? }
            }
            b"remove_token" => {
                Self::RemoveToken { info_hash: fields.info_hash()?, user: fields.id("userid")? }
            }
            b"add_user" => Self::AddUser {
                passkey: fields.passkey("passkey")?,
                id: fields.id("id")?,
                visible: fields.flag("visible"),
            },
            b"update_user" => Self::UpdateUser {
                passkey: fields.passkey("passkey")?,
                can_leech: fields.flag("can_leech"),
                visible: fields.flag("visible"),
            },
            b"remove_user" => Self::RemoveUsers { passkeys: [fields.passkey("passkey")?].into() },
            b"remove_users" => Self::RemoveUsers { passkeys: fields.passkeys("passkeys")? },
            b"change_passkey" => Self::ChangePasskey {
                old: fields.passkey("oldpasskey")?,
                new: fields.passkey("newpasskey")?,
            },
            b"add_whitelist" => Self::AddClient(fields.client("peer_id")?),
            b"remove_whitelist" => Self::RemoveClient(fields.client("peer_id")?),
            b"edit_whitelist" => Self::EditClient {
                old: fields.client("old_peer_id")?,
                new: fields.client("new_peer_id")?,
            },
            b"update_announce_interval" => {
                Self::AnnounceInterval(fields.number("new_announce_interval")?)
            }
            b"update_announce_jitter" => {
                Self::AnnounceJitter(fields.number("new_announce_jitter")?)
            }
            b"info_torrent" => Self::InfoTorrent(fields.info_hash()?),
            b"trace_user" => Self::TraceUser {
                passkey: fields.passkey("passkey")?,
                trace: fields.flag("trace").ok_or(UpdateError::Parameter("trace"))?,
            },
            _ => return Err(UpdateError::Action),
        })
    }
}

/// The parameters of a query, each by its name.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        value(self.0, name.as_bytes())
    }

    /// `0` is off, whatever else is on.
    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value != b"0")
    }

    fn free(&self) -> Freetorrent {
        match self.get("freetorrent") {
            None => Freetorrent::Absent,
            Some(b"0") => Freetorrent::Normal,
            Some(b"1") => Freetorrent::Free,
            Some(_) => Freetorrent::Neutral,
        }
    }

    /// A whole number in digits alone.
    fn number(&self, name: &'static str) -> Result<u32, UpdateError> {
        let digits = self.get(name).and_then(|value| str::from_utf8(value).ok());
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|text| text.parse().ok()).ok_or(UpdateError::Parameter(name))
    }

    /// The number of a row, which is never 0.
    fn id(&self, name: &'static str) -> Result<u32, UpdateError> {
        self.number(name).ok().filter(|id| *id != 0).ok_or(UpdateError::Parameter(name))
    }

    fn info_hash(&self) -> Result<InfoHash, UpdateError> {
        match self.info_hashes("info_hash")?.as_slice() {
            [info_hash] => Ok(*info_hash),
            _ => Err(UpdateError::Parameter("info_hash")),
        }
    }

    fn info_hashes(&self, name: &'static str) -> Result<Vec<InfoHash>, UpdateError> {
        self.get(name).and_then(decoded).ok_or(UpdateError::Parameter(name))
    }

    fn passkey(&self, name: &'static str) -> Result<&'a [u8; 32], UpdateError> {
        let value = self.get(name).and_then(|value| value.try_into().ok());
        value.ok_or(UpdateError::Parameter(name))
    }

    fn passkeys(&self, name: &'static str) -> Result<Vec<&'a [u8; 32]>, UpdateError> {
        let value = self.get(name).unwrap_or_default();
        match value.as_chunks::<32>().0 {
            [] => Err(UpdateError::Parameter(name)),
            passkeys => Ok(passkeys.iter().collect()),
        }
    }

    fn client(&self, name: &'static str) -> Result<&'a [u8], UpdateError> {
        let value = self.get(name).filter(|value| (1..=20).contains(&value.len()));
        value.ok_or(UpdateError::Parameter(name))
    }
}

/// The number of a reason; -1 for what is no number.
fn reason(value: &[u8]) -> i32 {
    str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(-1)
}

/// Escaped info_hashes, one after the other; `None` where an escape is wrong, where they are not
/// whole, or where there are none.
pub(super) fn decoded(value: &[u8]) -> Option<Vec<InfoHash>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex_digit(*rest.next()?)? << 4 | hex_digit(*rest.next()?)?,
            byte => byte,
        });
    }
    let (hashes, left) = bytes.as_chunks::<20>();
    let whole = left.is_empty() && !hashes.is_empty();
    whole.then(|| hashes.iter().map(|hash| InfoHash(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    const HASH: InfoHash = InfoHash(*b"\0\x01\x7f\x80\xff&= abcdefghijkl");
    const ESCAPED: &str = "%00%01%7F%80%FF%26%3D%20abcdefghijkl";
    const KEY: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    const OTHER: &[u8; 32] = b"vutsrqponmlkjihgfedcba9876543210";

    fn key(key: &[u8; 32]) -> &str {
        str::from_utf8(key).unwrap()
    }

    #[track_caller]
    fn check(query: &str, update: &Update<'_>) {
        let query = format!("action={query}");
        assert_eq!(Update::parse(query.as_bytes()).as_ref(), Ok(update), "{query}");
        let mut written = Vec::new();
        update.write(&mut written);
        let text = String::from_utf8_lossy(&written);
        assert_eq!(Update::parse(&written).as_ref(), Ok(update), "told onwards: {text}");
    }

    #[test]
    fn every_action_on_torrents_is_read() {
        let torrents = |free| Update::UpdateTorrents { info_hashes: [HASH].into(), free };
        let cases: [(String, Update<'_>); 9] = [
            (
                format!("add_torrent&info_hash={ESCAPED}&id=7&freetorrent=0"),
                Update::AddTorrent { info_hash: HASH, id: 7, free: Freetorrent::Normal },
            ),
            (
                format!("update_torrent&info_hash={ESCAPED}&freetorrent=1"),
                torrents(Freetorrent::Free),
            ),
            (
                format!("update_torrent&info_hash={ESCAPED}&freetorrent=2"),
                torrents(Freetorrent::Neutral),
            ),
            (format!("update_torrent&info_hash={ESCAPED}"), torrents(Freetorrent::Absent)),
            (
                format!("update_torrents&info_hashes={ESCAPED}{ESCAPED}&freetorrent=0"),
                Update::UpdateTorrents {
                    info_hashes: [HASH, HASH].into(),
                    free: Freetorrent::Normal,
                },
            ),
            (
                format!("delete_torrent&id=7&info_hash={ESCAPED}&reason=22"),
                Update::DeleteTorrent { info_hash: HASH, reason: 22 },
            ),
            (
                format!("delete_torrent&info_hash={ESCAPED}"),
                Update::DeleteTorrent { info_hash: HASH, reason: -1 },
            ),
            (
                format!("add_token&info_hash={ESCAPED}&userid=3"),
                Update::AddToken { info_hash: HASH, user: 3 },
            ),
            (
                format!("remove_token&info_hash={ESCAPED}&userid=3"),
                Update::RemoveToken { info_hash: HASH, user: 3 },
            ),
        ];
        for (query, update) in cases {
            check(&query, &update);
        }
        check(&format!("info_torrent&info_hash={ESCAPED}"), &Update::InfoTorrent(HASH));
    }

    #[test]
    fn every_action_on_members_clients_and_the_tracker_is_read() {
        let (k, o) = (key(KEY), key(OTHER));
        let cases: [(String, Update<'_>); 12] = [
            (
                format!("add_user&passkey={k}&id=4294967295&visible=0"),
                Update::AddUser { passkey: KEY, id: u32::MAX, visible: Some(false) },
            ),
            (
                format!("add_user&passkey={k}&id=1"),
                Update::AddUser { passkey: KEY, id: 1, visible: None },
            ),
            (
                format!("update_user&passkey={k}&can_leech=0"),
                Update::UpdateUser { passkey: KEY, can_leech: Some(false), visible: None },
            ),
            (format!("remove_user&passkey={k}"), Update::RemoveUsers { passkeys: [KEY].into() }),
            (
                format!("remove_users&passkeys={k}{o}"),
                Update::RemoveUsers { passkeys: [KEY, OTHER].into() },
            ),
            (
                format!("change_passkey&oldpasskey={k}&newpasskey={o}"),
                Update::ChangePasskey { old: KEY, new: OTHER },
            ),
            ("add_whitelist&peer_id=-TR2+%41".into(), Update::AddClient(b"-TR2+%41")),
            ("remove_whitelist&peer_id=-TR2".into(), Update::RemoveClient(b"-TR2")),
            (
                "edit_whitelist&old_peer_id=-A&new_peer_id=-B".into(),
                Update::EditClient { old: b"-A", new: b"-B" },
            ),
            (
                "update_announce_interval&new_announce_interval=1800".into(),
                Update::AnnounceInterval(1800),
            ),
            ("update_announce_jitter&new_announce_jitter=0".into(), Update::AnnounceJitter(0)),
            (
                format!("trace_user&passkey={k}&trace=1"),
                Update::TraceUser { passkey: KEY, trace: true },
            ),
        ];
        for (query, update) in cases {
            check(&query, &update);
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let k = key(KEY);
        let cases = [
            ("", UpdateError::Action),
            ("action=", UpdateError::Action),
            ("action=drop_tables", UpdateError::Action),
            ("action=add_torrent&id=1", UpdateError::Parameter("info_hash")),
            ("action=delete_torrent&info_hash=abc", UpdateError::Parameter("info_hash")),
            ("action=delete_torrent&info_hash=%zz", UpdateError::Parameter("info_hash")),
            ("action=delete_torrent&info_hash=%4", UpdateError::Parameter("info_hash")),
            ("action=update_torrents&info_hashes=", UpdateError::Parameter("info_hashes")),
            ("action=add_user&id=1&passkey=short", UpdateError::Parameter("passkey")),
            ("action=remove_users&passkeys=short", UpdateError::Parameter("passkeys")),
            ("action=add_whitelist&peer_id=", UpdateError::Parameter("peer_id")),
            (
                "action=add_whitelist&peer_id=012345678901234567890",
                UpdateError::Parameter("peer_id"),
            ),
            (
                "action=update_announce_interval&new_announce_interval=soon",
                UpdateError::Parameter("new_announce_interval"),
            ),
        ];
        for (query, error) in cases {
            assert_eq!(Update::parse(query.as_bytes()), Err(error), "{query}");
        }
        for id in ["", "0", "-1", "+1", "1x", "4294967296", "1.5"] {
            let query = format!("action=add_user&passkey={k}&id={id}");
            let error = UpdateError::Parameter("id");
            assert_eq!(Update::parse(query.as_bytes()), Err(error), "{id}");
        }
    }

    #[test]
    fn as_many_passkeys_are_taken_as_a_request_holds() {
        let many = key(KEY).repeat(2000) + "rest";
        let query = format!("action=remove_users&passkeys={many}");
        let Ok(Update::RemoveUsers { passkeys }) = Update::parse(query.as_bytes()) else {
            panic!("it is one");
        };
        assert_eq!(passkeys, [KEY; 2000]);
    }

    #[test]
    fn every_info_hash_comes_back_however_it_is_escaped() {
        for byte in 0..=u8::MAX {
            let hash = InfoHash([byte; 20]);
            let escaped = format!("%{byte:02X}").repeat(20);
            assert_eq!(decoded(escaped.as_bytes()), Some([hash].into()));
            let lower = format!("%{byte:02x}").repeat(40);
            assert_eq!(decoded(lower.as_bytes()), Some([hash, hash].into()));
        }
    }
}
