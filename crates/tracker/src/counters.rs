//! What is counted, by worker.

use core::sync::atomic::{AtomicU64, Ordering};

use peerage_proto::{Event, Family};

use crate::{Refusal, Samples};

/// The way a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3.
    Http,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UDP connection id.
    Connect,
    /// An announce.
    Announce,
    /// A scrape.
    Scrape,
}

impl Protocol {
    /// Every protocol, in order of its number.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Http];
}

impl Kind {
    /// Every kind, in order of its number.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Announce, Self::Scrape];
}

/// A count that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A count of none.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`. Only its own worker may: this is a load and a store, not a locked addition.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker has seen and said since its start. Written by that worker alone, read by any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    requests: [[[Counter; Kind::ALL.len()]; 2]; Protocol::ALL.len()],
    refusals: [[Counter; Refusal::COUNT]; Protocol::ALL.len()],
    /// Announces whose peer was handed peers but not stored, because a bound was reached.
    pub not_stored: Counter,
    /// Datagrams that were no request by their form.
    pub malformed_datagrams: Counter,
    /// HTTP requests that were answered with a status of 400 or more.
    pub malformed_requests: Counter,
    /// UDP requests whose connection id was not valid.
    pub bad_connection_ids: Counter,
    /// Announces picked out of those it has seen.
    pub(crate) samples: Samples,
    /// Of members.
    pub members: MemberCounters,
}

/// What one worker has seen of members' announces, those refused left out but for
/// [`Refusal::LeechForbidden`].
#[derive(Debug, Default)]
pub struct MemberCounters {
    events: [Counter; 4],
    /// Downloads completed, once for each member and torrent.
    pub snatches: Counter,
    /// Announces of more bytes than can be moved in the time: no credit was given.
    pub absurd: Counter,
    /// Announces that came too soon: no peers were handed out.
    pub early: Counter,
    /// Announces of downloads for which the member has no slot: no peers were handed out.
    pub no_slot: Counter,
    /// Announces of one peer too many of a member at a torrent: not stored.
    pub too_many_peers: Counter,
}

impl MemberCounters {
    /// Counts an announce by why it was made.
    pub fn announced(&self, event: Event) {
        self.events[event_index(event)].add(1);
    }
}

/// BEP 21's `paused` counts as a regular announce.
const fn event_index(event: Event) -> usize {
    match event {
        Event::None | Event::Paused => 0,
        Event::Started => 1,
        Event::Completed => 2,
        Event::Stopped => 3,
    }
}

impl Counters {
    /// Counts a request that could be read, whether or not it is then refused.
    pub fn request(&self, protocol: Protocol, family: Family, kind: Kind) {
        self.requests[protocol as usize][family as usize][kind as usize].add(1);
    }

    /// Announces over every protocol, those refused included.
    pub(crate) fn announces(&self) -> u64 {
        let kinds = self.requests.as_flattened().iter();
        kinds.map(|kinds| kinds[Kind::Announce as usize].get()).sum()
    }

    /// Counts a reply with a failure reason.
    pub fn refused(&self, protocol: Protocol, refusal: Refusal) {
        self.refusals[protocol as usize][refusal.index()].add(1);
    }
}

/// The counters of all workers, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    requests: [[[u64; Kind::ALL.len()]; 2]; Protocol::ALL.len()],
    refusals: [[u64; Refusal::COUNT]; Protocol::ALL.len()],
    /// Announces whose peer was handed peers but not stored, because a bound was reached.
    pub not_stored: u64,
    /// Datagrams that were no request by their form.
    pub malformed_datagrams: u64,
    /// HTTP requests that were answered with a status of 400 or more.
    pub malformed_requests: u64,
    /// UDP requests whose connection id was not valid.
    pub bad_connection_ids: u64,
    /// Of members.
    pub members: MemberTally,
}

/// The counters of [`MemberCounters`] of all workers, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberTally {
    events: [u64; 4],
    /// Downloads completed, once for each member and torrent.
    pub snatches: u64,
    /// Announces of more bytes than can be moved in the time: no credit was given.
    pub absurd: u64,
    /// Announces that came too soon: no peers were handed out.
    pub early: u64,
    /// Announces of downloads for which the member has no slot: no peers were handed out.
    pub no_slot: u64,
    /// Announces of one peer too many of a member at a torrent: not stored.
    pub too_many_peers: u64,
}

impl MemberTally {
    fn add(&mut self, counters: &MemberCounters) {
        self.events.iter_mut().zip(&counters.events).for_each(|(to, from)| *to += from.get());
        self.snatches += counters.snatches.get();
        self.absurd += counters.absurd.get();
        self.early += counters.early.get();
        self.no_slot += counters.no_slot.get();
        self.too_many_peers += counters.too_many_peers.get();
    }

    /// Announces by why they were made.
    pub const fn announces(&self, event: Event) -> u64 {
        self.events[event_index(event)]
    }
}

impl Tally {
    /// Adds what `counters` hold now.
    pub fn add(&mut self, counters: &Counters) {
        let to = self.requests.as_flattened_mut().as_flattened_mut();
        let from = counters.requests.as_flattened().as_flattened();
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from.get());
        let to = self.refusals.as_flattened_mut();
        let from = counters.refusals.as_flattened();
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from.get());
        self.not_stored += counters.not_stored.get();
        self.malformed_datagrams += counters.malformed_datagrams.get();
        self.malformed_requests += counters.malformed_requests.get();
        self.bad_connection_ids += counters.bad_connection_ids.get();
        self.members.add(&counters.members);
    }

    /// Requests that could be read, those refused included.
    pub fn requests(&self, protocol: Protocol, family: Family, kind: Kind) -> u64 {
        self.requests[protocol as usize][family as usize][kind as usize]
    }

    /// Requests of every kind that could be read, those refused included.
    pub fn all_requests(&self, protocol: Protocol, family: Family) -> u64 {
        self.requests[protocol as usize][family as usize].iter().sum()
    }

    /// Announces over every protocol, those refused included.
    pub fn announces(&self) -> u64 {
        let kinds = self.requests.as_flattened().iter();
        kinds.map(|kinds| kinds[Kind::Announce as usize]).sum()
    }

    /// Replies with a failure reason, over every protocol.
    pub fn all_refusals(&self) -> u64 {
        self.refusals.as_flattened().iter().sum()
    }

    /// Replies with a failure reason.
    pub fn refusals(&self, protocol: Protocol, refusal: Refusal) -> u64 {
        self.refusals[protocol as usize][refusal.index()]
    }
}
