//! Peers that are dropped: not heard from, of a member put out, of a torrent that is gone; and
//! peers that come back after a restart.

use alloc::sync::Arc;
use alloc::vec::Vec;

use peerage_swarm::{Expired, Now};

use super::members::Moved;
use super::peer::{Flags, Peer};
use super::pending::{Changed, Completion, PeerEntry};
use super::swarm::Swarm;
use super::torrents::TorrentShard;
use super::{MemberId, PeerRow, Private, Terms, TorrentId};

/// Where [`Private::expire`] goes on.
#[derive(Default)]
pub(super) struct Cursor {
    shard: usize,
    place: usize,
}

/// Torrents and peers looked at under one lock, unless a single swarm has more: a few microseconds,
/// and half a millisecond where every peer has expired.
const SLICE: usize = 256;

/// Members and how the number of their peers has changed.
type Departed = Vec<(MemberId, Moved)>;

impl Private {
    /// Drops peers that were not heard from for [`Terms::peer_timeout`], whose rows are then
    /// written as no longer active, and forgets why torrents were deleted.
    ///
    /// Looks at about `looks_max` torrents and peers and goes on there the next time; to be called
    /// often enough to come round well within the timeout. A call made while another runs does
    /// nothing.
    pub fn expire(&self, now: Now, looks_max: u32) -> Expired {
        let mut expired = Expired::default();
        let Ok(mut cursor) = self.cursor.try_lock() else { return expired };
        let terms = self.terms();
        let mut looks = looks_max as usize;
        let mut shards = 0;
        while looks != 0 && shards <= self.torrents.len() {
            let mut departed = Departed::new();
            let mut shard = self.torrents.at(cursor.shard);
            let before = shard.pending.rows();
            shard.pending.begin(now.as_secs());
            let is_full = terms.ledger_rows_max <= self.rows_count();
            let mut slice = looks.min(SLICE);
            while slice != 0 && cursor.place < shard.torrents.len() {
                let cost = shard.expire(now, &terms, cursor.place, is_full, &mut departed);
                slice = slice.saturating_sub(cost);
                looks = looks.saturating_sub(cost);
                cursor.place += 1;
            }
            self.count_rows(before, shard.pending.rows());
            if shard.torrents.len() <= cursor.place {
                cursor.place = 0;
                cursor.shard = (cursor.shard + 1) % self.torrents.len();
                shards += 1;
                looks = looks.saturating_sub(1);
                drop(shard);
                self.forget_deleted(now, &terms, cursor.shard);
            } else {
                drop(shard);
            }
            let peers = departed.iter().map(|(_, moved)| moved.seeding + moved.leeching);
            expired.peers += peers.map(|count| u64::from(count.unsigned_abs())).sum::<u64>();
            self.depart(departed);
        }
        expired
    }

    fn forget_deleted(&self, now: Now, terms: &Terms, number: usize) {
        if let Some(number) = Some(number).filter(|number| *number < self.info_hashes.len()) {
            let kept_secs = terms.deleted_kept.as_secs();
            let mut names = self.info_hashes.at(number);
            names.deleted.retain(|_, deleted| now.as_secs() < deleted.at_secs + kept_secs);
        }
    }

    /// Counts peers that are no longer there.
    pub(super) fn depart(&self, departed: Departed) {
        for (member, moved) in departed {
            self.count_peers(moved);
            self.member_shard(member).count(member, moved);
        }
    }

    /// Drops the peers of members, whose numbers rise.
    pub(super) fn drop_peers(&self, members: &[MemberId]) {
        for mut shard in self.torrents.iter() {
            let shard = &mut *shard;
            let mut departed = Departed::new();
            let before = shard.pending.rows();
            for place in 0..shard.torrents.len() {
                let slot = shard.torrents.row_mut(place);
                let swarm = &mut slot.swarm;
                let peers = swarm.len();
                swarm.drop_if(|peer| members.binary_search(&peer.member).is_ok(), &mut departed);
                if swarm.len() != peers {
                    shard.pending.torrent(slot);
                }
            }
            self.count_rows(before, shard.pending.rows());
            departed.into_iter().for_each(|(_, moved)| self.count_peers(moved));
        }
    }

    /// Drops a member's peers at one torrent: the member was put out while it announced.
    pub(crate) fn drop_peers_at(&self, member: MemberId, torrent: TorrentId) {
        let mut shard = self.torrent_shard(torrent);
        let Some(slot) = shard.torrents.find_mut(&torrent) else { return };
        let mut departed = Departed::new();
        slot.swarm.drop_if(|peer| peer.member == member, &mut departed);
        drop(shard);
        departed.into_iter().for_each(|(_, moved)| self.count_peers(moved));
    }

    /// Takes peers back that were written before a restart, so that what they move meanwhile is
    /// credited with their next announce. Passes over those that have left, expired, or belong to
    /// nobody or to no torrent, and those that are here already. Says how many came back.
    ///
    /// To be called before announces come. A peer of a protected member has no address in its row:
    /// it is handed out from its next announce on.
    pub fn restore_peers(&self, now: Now, rows: Vec<PeerRow>) -> u64 {
        let terms = self.terms();
        let mut count = 0;
        for row in rows {
            let age_secs = now.as_secs().saturating_sub(row.at_secs);
            if !row.active || terms.peer_timeout.as_secs() <= age_secs {
                continue;
            }
            let Some(state) = self.member_by_id(row.key.member) else { continue };
            let id = row.key.torrent;
            let mut guard = self.torrent_shard(id);
            let shard = &mut *guard;
            let Some(slot) = shard.torrents.find_mut(&id) else { continue };
            let mut peer = Peer::restored(&row);
            peer.flags.set(Flags::PROTECTED, state.member.protected);
            peer.flags.set(Flags::DOWNLOADS, !peer.is_seeder() && state.member.can_leech);
            peer.flags.set(Flags::VISIBLE, peer.is_seeder() || peer.downloads());
            let swarm = &mut slot.swarm;
            if swarm.place(peer.member, &peer.peer_id).is_some() {
                continue;
            }
            let before = swarm.standing(peer.member);
            swarm.insert(peer);
            let moved = swarm.standing(row.key.member).less(before);
            // Its counts are not those of a database that began with none.
            let rows = shard.pending.rows();
            shard.pending.begin(now.as_secs());
            shard.pending.torrent(slot);
            self.count_rows(rows, shard.pending.rows());
            drop(guard);
            self.depart([(row.key.member, moved)].into());
            count += 1;
        }
        count
    }
}

impl Private {
    /// Remembers that a member has completed a torrent before a restart, so that it does not count
    /// again. Beyond 16 million such pairs some are not remembered.
    pub fn restore_snatch(&self, member: MemberId, torrent: TorrentId) {
        self.torrent_shard(torrent).restore_completion(Completion { member, torrent });
    }
}

impl TorrentShard {
    /// Drops the expired peers of one torrent; says what it cost.
    fn expire(
        &mut self,
        now: Now,
        terms: &Terms,
        place: usize,
        is_full: bool,
        departed: &mut Departed,
    ) -> usize {
        let oldest_secs = now.as_secs().saturating_sub(terms.peer_timeout.as_secs()) as u32;
        let torrent = self.torrents.rows()[place].torrent.id;
        self.expire_elsewhere(torrent, oldest_secs);
        let slot = self.torrents.row_mut(place);
        let swarm = &mut slot.swarm;
        let cost = 1 + swarm.len();
        let peers = swarm.len();
        let pending = &mut self.pending;
        swarm.drop_if(
            |peer| {
                let is_gone = peer.last_secs() < oldest_secs;
                if is_gone {
                    pending.peer(expired_row(peer, torrent), is_full);
                }
                is_gone
            },
            departed,
        );
        for place in (0..swarm.len()).rev() {
            if swarm.peers()[place].has_stale(oldest_secs) {
                swarm.change(place, |peer| peer.forget_stale(oldest_secs));
            }
        }
        if swarm.len() != peers {
            pending.torrent(slot);
        }
        cost
    }
}

/// As at its last announce, and no longer active.
fn expired_row(peer: &Peer, torrent: TorrentId) -> PeerEntry {
    let address = peer.address();
    let changed = Changed {
        active: false,
        address: address.map(|(ip, _)| ip).filter(|_| !peer.flags.has(Flags::PROTECTED)),
        port: address.map_or(0, |(_, port)| port),
        user_agent: Arc::default(),
        ..Changed::of(peer)
    };
    PeerEntry {
        key: peer.key(torrent),
        announces: peer.announces(),
        timespent_secs: peer.last_secs().saturating_sub(peer.came_secs),
        seedtime_secs: peer.seedtime_secs,
        at_secs: peer.last_secs().into(),
        changed: Some(changed),
    }
}

impl Swarm {
    /// Drops the peers for which `is_gone`, and notes how their members then count.
    fn drop_if(&mut self, mut is_gone: impl FnMut(&Peer) -> bool, departed: &mut Departed) {
        // From the end: whoever moves into the place of a dropped peer was looked at before.
        for place in (0..self.len()).rev() {
            if is_gone(&self.peers()[place]) {
                let member = self.peers()[place].member;
                let before = self.standing(member);
                self.remove(place);
                departed.push((member, self.standing(member).less(before)));
            }
        }
    }

    /// How all members count less once the swarm is gone.
    pub(super) fn all_departed(&mut self) -> Departed {
        let mut departed = Departed::new();
        self.drop_if(|_| true, &mut departed);
        departed
    }
}
