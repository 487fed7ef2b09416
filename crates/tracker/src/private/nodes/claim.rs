//! What announces of this node have not told the other nodes yet, each peer's merged.
//!
//! A claim says what a client counts since an announce that is not told, and waits beside its
//! torrent, under the same lock. A session that begins while another waits is a claim of its own,
//! told after that.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::super::account::Price;
use super::super::peer::Peer;
use super::super::pending::Changed;
use super::super::table::{Key, Row, Secret, Table};
use super::super::{PeerKey, TorrentId};
use super::record::Reading;

/// What one peer's announces have not told. Times are of this node's clock.
#[derive(Clone, Debug)]
pub(in crate::private) struct Claim {
    pub(in crate::private) torrent: TorrentId,
    /// 0, or 1 where another session of the peer waits to be told before.
    pub(in crate::private) turn: u8,
    /// As of the last announce.
    pub(in crate::private) peer: Peer,
    pub(in crate::private) last_millis: u64,
    /// What was told before; `None` where that is not known.
    pub(in crate::private) before: Option<Reading>,
    /// The first announce that is not told.
    pub(in crate::private) first: Reading,
    /// It waited while records may have been lost: without one, nobody knows what of it was
    /// credited.
    pub(in crate::private) is_doubted: bool,
    /// The number under which it was told first without an answer; 0 where it was not.
    pub(in crate::private) tried: u64,
    /// What was not told before does not go on.
    pub(in crate::private) starts: bool,
    pub(in crate::private) stops: bool,
    /// The address to be written with the snatch, where a download was completed.
    pub(in crate::private) completes: Option<Option<IpAddr>>,
    pub(in crate::private) price: Price,
    /// Says where a peer stood that was told before: nobody is credited.
    pub(in crate::private) is_reminder: bool,
    /// The row that is written once it is known what other nodes know of the peer.
    pub(in crate::private) row: Option<Changed>,
}

/// A claim of a peer, by its turn.
pub(in crate::private) type ClaimKey = (PeerKey, u8);

impl Key for ClaimKey {
    fn hash(&self, secret: Secret) -> u64 {
        // At most two of a peer.
        self.0.hash(secret) ^ u64::from(self.1)
    }
}

impl Row for Claim {
    type Key = ClaimKey;

    fn key(&self) -> ClaimKey {
        (self.peer.key(self.torrent), self.turn)
    }
}

impl Claim {
    /// Says where a peer stood that was told before.
    pub(in crate::private) fn reminder(torrent: TorrentId, peer: &Peer) -> Self {
        let last_millis = peer.last_millis();
        let told = Reading::of(peer, last_millis);
        Self {
            torrent,
            turn: 0,
            peer: peer.clone(),
            last_millis,
            before: Some(told),
            first: told,
            is_doubted: false,
            tried: 0,
            starts: false,
            stops: false,
            completes: None,
            price: Price::default(),
            is_reminder: true,
            row: None,
        }
    }

    /// Says where its peer stood before it; `None` where that is not known.
    fn reminder_before(&self) -> Option<Self> {
        let told = self.before.filter(|_| self.turn == 0)?;
        let Reading { uploaded, downloaded, corrupt, at_millis } = told;
        let mut reminder = Self::reminder(self.torrent, &self.peer);
        let peer = &mut reminder.peer;
        (peer.uploaded, peer.downloaded, peer.corrupt) = (uploaded, downloaded, corrupt);
        // What is there may be this very claim.
        Some(Self {
            last_millis: at_millis,
            before: Some(told),
            first: told,
            tried: self.tried,
            ..reminder
        })
    }

    /// The two as one, of which `self` came after `before`, in the same session.
    fn after(self, before: Self) -> Self {
        let tried = if before.tried == 0 { self.tried } else { before.tried };
        Self {
            turn: before.turn,
            before: before.before,
            first: before.first,
            is_doubted: self.is_doubted || before.is_doubted,
            tried,
            starts: before.starts,
            completes: self.completes.or(before.completes),
            is_reminder: self.is_reminder && before.is_reminder,
            row: match (self.row, before.row) {
                // Whichever came last says what is, once a row is to be written at all.
                (Some(row), _) => Some(row),
                (None, Some(row)) => {
                    Some(Changed { user_agent: row.user_agent, ..Changed::of(&self.peer) })
                }
                (None, None) => None,
            },
            ..self
        }
    }
}

/// The claims of some torrents.
pub(in crate::private) struct Claims(Table<Claim>);

impl Claims {
    pub(in crate::private) fn new(secret: Secret) -> Self {
        Self(Table::new(secret))
    }

    pub(in crate::private) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether anything of a peer waits.
    pub(in crate::private) fn waits(&self, key: &PeerKey) -> bool {
        self.0.find(&(*key, 0)).is_some()
    }

    /// Whether a session of a peer begins with what waits.
    pub(in crate::private) fn starts_anew(&self, key: &PeerKey) -> bool {
        let mut claims = [0, 1].into_iter().filter_map(|turn| self.0.find(&(*key, turn)));
        claims.any(|claim| claim.starts)
    }

    /// Puts in what an announce says. `is_full` refuses peers of which nothing waits; says whether
    /// it was put in.
    pub(in crate::private) fn put(&mut self, claim: Claim, is_full: bool) -> bool {
        let key = claim.peer.key(claim.torrent);
        if is_full && !self.waits(&key) {
            return false;
        }
        let last = if self.0.find(&(key, 1)).is_some() { 1 } else { 0 };
        match self.0.remove(&(key, last)) {
            None => self.0.put(Claim { turn: 0, ..claim }),
            Some(before) if !claim.starts => self.0.put(claim.after(before)),
            // The middle one of three sessions is let go: nobody is credited with it.
            Some(_) if last == 1 => self.0.put(Claim { turn: 1, ..claim }),
            Some(before) => {
                self.0.put(before);
                self.0.put(Claim { turn: 1, ..claim })
            }
        };
        true
    }

    /// Takes claims back that were not answered, a peer's in their turn. They come before those
    /// that wait.
    pub(in crate::private) fn put_back(&mut self, claims: Vec<Claim>) {
        let mut later = Vec::new();
        for claim in &claims {
            let key = claim.peer.key(claim.torrent);
            later.extend([0, 1].into_iter().filter_map(|turn| self.0.remove(&(key, turn))));
        }
        for claim in claims.into_iter().chain(later) {
            self.put(claim, false);
        }
    }

    /// Records may have been lost that would tell what of these claims was credited. Reminders are
    /// let go: they are due again.
    pub(in crate::private) fn doubt(&mut self) {
        let mut reminders = Vec::new();
        for place in 0..self.0.len() {
            let claim = self.0.row_mut(place);
            claim.is_doubted = true;
            if claim.is_reminder {
                reminders.push(claim.key());
            }
        }
        reminders.iter().for_each(|key| drop(self.0.remove(key)));
    }

    /// Says where the peers of all that waits stood before.
    pub(in crate::private) fn reminders(&self) -> impl Iterator<Item = Claim> {
        self.0.rows().iter().filter_map(Claim::reminder_before)
    }

    /// Takes out the claims of any peer, in their turn.
    pub(in crate::private) fn pop(&mut self) -> Option<Vec<Claim>> {
        let claim = self.0.pop()?;
        let key = claim.peer.key(claim.torrent);
        Some(match claim.turn {
            0 => [claim].into_iter().chain(self.0.remove(&(key, 1))).collect(),
            _ => self.0.remove(&(key, 0)).into_iter().chain([claim]).collect(),
        })
    }
}
