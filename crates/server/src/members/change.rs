//! What is to be other about a member or a torrent, whoever asks for it: the command line and the
//! web API.

use peerage_proto::InfoHash;
use peerage_sql::{MemberEntry, TorrentEntry};
use peerage_tracker::private::{Member, MemberId, Passkey, Pricing, Torrent, TorrentId};

/// The letters of a passkey: 32 of them, so that 32 make 160 bits.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What is to be other about a member; `None` to leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserChange {
    /// A new name.
    pub(crate) rename: Option<String>,
    /// In 32 letters and digits.
    pub(crate) passkey: Option<Key>,
    /// Whether the member may announce at all.
    pub(crate) enabled: Option<bool>,
    /// Whether the member may download.
    pub(crate) can_leech: Option<bool>,
    /// Whether the member's address is kept out of the tables.
    pub(crate) protected: Option<bool>,
    /// Whether the member's downloads never count.
    pub(crate) free_leech: Option<bool>,
    /// Whether the member's uploads count twice.
    pub(crate) double_upload: Option<bool>,
    /// Most torrents downloaded at once; `Some(None)` for no bound.
    pub(crate) download_slots: Option<Option<u32>>,
}

/// Where a passkey comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// It is given.
    Given(String),
    /// It is made by chance.
    Random,
}

/// What is to be other about a torrent; `None` to leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TorrentChange {
    /// What it is called in lists.
    pub(crate) name: Option<String>,
    /// What its transfer costs and earns.
    pub(crate) pricing: Option<Pricing>,
    /// Whether uploads count twice.
    pub(crate) double_upload: Option<bool>,
}

/// Why a change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A passkey has another form.
    Passkey,
    /// The system gives no random bytes.
    NoChance,
}

impl Wrong {
    /// One line, for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Passkey => "a passkey is 32 letters and digits",
            Self::NoChance => "the system gives no random bytes",
        }
    }
}

impl UserChange {
    /// Makes the change.
    pub(crate) fn make(&self, entry: &mut MemberEntry) -> Result<(), Wrong> {
        let member = &mut entry.member;
        match &self.passkey {
            Some(Key::Given(passkey)) => {
                member.passkey = Passkey::parse(passkey.as_bytes()).ok_or(Wrong::Passkey)?;
            }
            Some(Key::Random) => member.passkey = random_passkey()?,
            None => {}
        }
        let put = |flag: &mut bool, value: Option<bool>| *flag = value.unwrap_or(*flag);
        put(&mut entry.enabled, self.enabled);
        put(&mut member.can_leech, self.can_leech);
        put(&mut member.protected, self.protected);
        put(&mut member.free_leech, self.free_leech);
        put(&mut member.double_upload, self.double_upload);
        if let Some(slots) = self.download_slots {
            member.download_slots = slots;
        }
        if let Some(name) = &self.rename {
            entry.name.clone_from(name);
        }
        Ok(())
    }
}

impl TorrentChange {
    /// Makes the change.
    pub(crate) fn make(&self, entry: &mut TorrentEntry) {
        let torrent = &mut entry.torrent;
        torrent.pricing = self.pricing.unwrap_or(torrent.pricing);
        torrent.double_upload = self.double_upload.unwrap_or(torrent.double_upload);
        if let Some(name) = &self.name {
            entry.name.clone_from(name);
        }
    }
}

/// A new member, with a passkey by chance.
pub(crate) fn new_member(name: &str) -> Result<MemberEntry, Wrong> {
    let member = Member::new(MemberId(0), random_passkey()?);
    Ok(MemberEntry {
        member,
        name: name.to_owned(),
        enabled: true,
        uploaded: 0,
        downloaded: 0,
        created_at_secs: 0,
    })
}

/// A new torrent.
pub(crate) fn new_torrent(info_hash: InfoHash, name: &str) -> TorrentEntry {
    let torrent = Torrent::new(TorrentId(0), info_hash);
    let name = name.to_owned();
    TorrentEntry { torrent, name, seeders: 0, leechers: 0, created_at_secs: 0 }
}

fn random_passkey() -> Result<Passkey, Wrong> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Wrong::NoChance)?;
    Ok(Passkey(bytes.map(|byte| LETTERS[usize::from(byte % 32)])))
}
