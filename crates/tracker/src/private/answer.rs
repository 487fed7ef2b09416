//! An announce of a member from the passkey to the reply, the same for every protocol.
//!
//! The order is Ocelot's, so that a site's users read the same reason: the passkey, the torrent,
//! how the client asks (over HTTP), which client it is, and after all is accounted for whether the
//! member may download.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use peerage_proto::{Event, InfoHash};
use peerage_swarm::{Counts, Now};

use super::agents::Agents;
use super::announce::{Desk, Outcome, Standing};
use super::{Announce, Private, Terms, TorrentId};
use crate::{Announced, Refusal, Refused, Tracker, Warning, Worker};

/// What a worker of a private tracker owns besides.
pub(crate) struct MemberWorker {
    /// As of the last refresh.
    terms: Arc<Terms>,
    terms_version: u64,
    agents: Agents,
}

impl Private {
    pub(crate) fn worker(&self) -> MemberWorker {
        let terms_version = self.terms_version.load(Ordering::Acquire);
        MemberWorker { terms: self.terms(), terms_version, agents: Agents::new(self.secret) }
    }

    /// Brings a worker's copy of the terms up to date. Without a lock while nothing has changed.
    pub(crate) fn refresh(&self, worker: &mut MemberWorker) {
        let version = self.terms_version.load(Ordering::Acquire);
        if version != worker.terms_version {
            worker.terms_version = version;
            worker.terms = self.terms();
        }
    }
}

impl Tracker {
    /// Announces for the member with a passkey, leaving the peers to hand out in `worker.peers`.
    /// Where there are no members everybody is refused.
    pub fn announce_member(
        &self,
        now: Now,
        worker: &mut Worker,
        passkey: &[u8],
        announce: &Announce<'_>,
    ) -> Result<Announced, Refused> {
        let private = self.private().ok_or(Refused::from(Refusal::NoMembers))?;
        let member = private.standing(passkey)?;
        let torrent = private.registered(&announce.announce.info_hash)?;
        self.announce_standing(now, worker, &member, torrent, announce)
    }

    /// The same, for a member and a torrent that were looked up.
    pub(crate) fn announce_standing(
        &self,
        now: Now,
        worker: &mut Worker,
        member: &Standing,
        torrent: TorrentId,
        announce: &Announce<'_>,
    ) -> Result<Announced, Refused> {
        let no_members = Refused::from(Refusal::NoMembers);
        let private = self.private().ok_or(no_members)?;
        let rules = &worker.rules;
        let numwant = announce.announce.numwant.unwrap_or(rules.numwant_default);
        let numwant = numwant.min(rules.peers_per_response_max);
        let own = worker.members.as_deref_mut().ok_or(no_members)?;
        let user_agent = own.agents.keep(announce.user_agent);
        let mut desk = Desk {
            now,
            terms: &own.terms,
            numwant,
            rng: &mut worker.rng,
            peers: &mut worker.peers,
            user_agent: &user_agent,
        };
        let outcome = private.announce(&mut desk, member, torrent, announce)?;
        count(worker, announce.announce.event, &outcome);
        if outcome.is_forbidden {
            return Err(Refusal::LeechForbidden.into());
        }
        let Outcome { seeders, leechers, completed, warning, .. } = outcome;
        Ok(self.told(worker, Counts { seeders, leechers, paused: 0, completed }, warning))
    }

    /// The counts of a registered torrent, for a member; `None` for one that is not.
    pub(crate) fn scrape_member(&self, info_hash: &InfoHash) -> Option<Counts> {
        let (seeders, leechers, completed) = self.private()?.scrape(info_hash)?;
        Some(Counts { seeders, leechers, paused: 0, completed })
    }
}

fn count(worker: &Worker, event: Event, outcome: &Outcome) {
    let counters = &worker.counters.members;
    counters.announced(event);
    counters.snatches.add(outcome.is_snatch.into());
    counters.absurd.add(outcome.is_absurd.into());
    match outcome.warning {
        Some(Warning::NotStored) => worker.counters.not_stored.add(1),
        Some(Warning::TooManyPeers) => counters.too_many_peers.add(1),
        Some(Warning::NoSlot) => counters.no_slot.add(1),
        Some(Warning::Early) => counters.early.add(1),
        None => {}
    }
}
