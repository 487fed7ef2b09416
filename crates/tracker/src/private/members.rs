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

/// 72 bytes; with the index, the passkey's name and room to grow about 115 a member.
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

/// Some of the members.
pub(super) struct MemberShard {
    pub(super) members: Table<MemberState>,
    /// Credit that is to be written. May be of members that are no longer there.
    pub(super) credit: Table<MemberDelta>,
    /// When the oldest of it came, seconds since 1970.
    pub(super) credit_since_secs: u64,
}

impl MemberShard {
    pub(super) const fn new(secret: Secret) -> Self {
        Self { members: Table::new(secret), credit: Table::new(secret), credit_since_secs: 0 }
    }

    /// Counts peers that came, went, or became something else.
    pub(super) fn count(&mut self, id: MemberId, moved: Moved) {
        let Some(state) = self.members.find_mut(&id) else { return };
        // A member put out and let in again between an announce and its count has none.
        state.seeding = state.seeding.saturating_add_signed(moved.seeding);
        state.leeching = state.leeching.saturating_add_signed(moved.leeching);
        state.downloads = state.downloads.saturating_add_signed(moved.downloads);
    }
}
