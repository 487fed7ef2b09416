//! Members, each with how many peers it has.

use super::table::{Row, Secret, Table};
use super::{Member, MemberDelta, MemberId};

/// A member as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// As the database has it.
    pub member: Member,
    /// Peers of the member's that are seeders.
    pub seeding: u32,
    /// Peers of the member's that are leechers.
    pub leeching: u32,
    /// Torrents that the member downloads: those that fill its slots.
    pub downloads: u32,
    /// Whether the site wants to hear of what the member does. Kept and told, nothing else.
    pub traced: bool,
}

/// 72 bytes; with the index, the passkey's name and room to grow 92 a member, measured.
const _: () = assert!(size_of::<MemberState>() <= 72);

impl Row for MemberState {
    type Key = MemberId;

    fn key(&self) -> MemberId {
        self.member.id
    }
}

impl Row for MemberDelta {
    type Key = MemberId;

    fn key(&self) -> MemberId {
        self.member
    }
}

/// What an announce changes in the number of peers that a member has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) seeding: i32,
    pub(super) leeching: i32,
    pub(super) downloads: i32,
}

impl Moved {
    /// The difference of two counts.
    pub(super) const fn less(self, before: Self) -> Self {
        Self {
            seeding: self.seeding - before.seeding,
            leeching: self.leeching - before.leeching,
            downloads: self.downloads - before.downloads,
        }
    }
}

/// Some of the members.
pub(super) struct MemberShard {
    pub(super) members: Table<MemberState>,
    /// Credit that is to be written. May be of members that are no longer there.
    pub(super) credit: Table<MemberDelta>,
    /// When the oldest of it came, seconds since 1970.
    pub(super) credit_since_secs: u64,
    /// Members who have a peer.
    pub(super) online: u32,
    /// Bytes credited and charged since the start.
    pub(super) credited: Credited,
}

/// Bytes that members were credited and charged with since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credited {
    /// Uploaded, as it was credited.
    pub uploaded: u64,
    /// Downloaded, as it was charged.
    pub downloaded: u64,
}

impl MemberShard {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            members: Table::new(secret),
            credit: Table::new(secret),
            credit_since_secs: 0,
            online: 0,
            credited: Credited { uploaded: 0, downloaded: 0 },
        }
    }

    /// Counts peers that came, went, or became something else. Says whether the member is there.
    pub(super) fn count(&mut self, id: MemberId, moved: Moved) -> bool {
        let Some(state) = self.members.find_mut(&id) else { return false };
        let was_online = is_online(state);
        // A peer's end may be counted before its beginning, so that a count is below 0 for a
        // moment: it wraps, and is 0 for whoever asks.
        state.seeding = state.seeding.wrapping_add_signed(moved.seeding);
        state.leeching = state.leeching.wrapping_add_signed(moved.leeching);
        state.downloads = state.downloads.wrapping_add_signed(moved.downloads);
        let is_online = is_online(state);
        self.online = self.online + u32::from(is_online) - u32::from(was_online);
        true
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<MemberState> {
        let removed = self.members.remove(&id)?;
        self.online -= u32::from(is_online(&removed));
        Some(removed)
    }

    /// A member as it stands.
    pub(super) fn state(&self, id: MemberId) -> Option<MemberState> {
        let state = self.members.find(&id)?;
        Some(MemberState {
            seeding: counted(state.seeding),
            leeching: counted(state.leeching),
            downloads: counted(state.downloads),
            ..state.clone()
        })
    }

    /// Credits and charges a member.
    pub(super) fn credit(&mut self, since_secs: u64, delta: MemberDelta) {
        let Credited { uploaded, downloaded } = &mut self.credited;
        *uploaded = uploaded.saturating_add(delta.uploaded);
        *downloaded = downloaded.saturating_add(delta.downloaded);
        self.add_credit(since_secs, delta);
    }

    /// Adds to what is to be written.
    pub(super) fn add_credit(&mut self, since_secs: u64, delta: MemberDelta) {
        if self.credit.len() == 0 {
            self.credit_since_secs = since_secs;
        }
        self.credit_since_secs = self.credit_since_secs.min(since_secs);
        let none = MemberDelta { member: delta.member, uploaded: 0, downloaded: 0 };
        let sum = self.credit.find_or_put(none);
        sum.uploaded = sum.uploaded.saturating_add(delta.uploaded);
        sum.downloaded = sum.downloaded.saturating_add(delta.downloaded);
    }
}

/// A count that may be below 0 for a moment.
fn counted(count: u32) -> u32 {
    u32::try_from(count as i32).unwrap_or(0)
}

/// Whether a member has a peer.
fn is_online(state: &MemberState) -> bool {
    counted(state.seeding) + counted(state.leeching) > 0
}
