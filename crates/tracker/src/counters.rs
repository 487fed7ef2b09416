//! What is counted, by worker.

use core::sync::atomic::{AtomicU64, Ordering};

use peerage_proto::Family;

use crate::Refusal;

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

/// What one worker has seen and said since its start. Written by that worker alone, read by any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    requests: [[[AtomicU64; 3]; 2]; 2],
    refusals: [[AtomicU64; Refusal::ALL.len()]; 2],
    /// Datagrams that were no request by their form, got no reply and are in no other counter.
    pub malformed_datagrams: Counter,
    /// UDP requests whose connection id was not valid.
    pub bad_connection_ids: Counter,
}

/// A count that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only its own worker may: this is a load and a store, not a locked addition.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Requests that could be read, those refused included.
    pub fn requests(&self, protocol: Protocol, family: Family, kind: Kind) -> u64 {
        self.requests[protocol as usize][family as usize][kind as usize].load(Ordering::Relaxed)
    }

    /// Replies with a failure reason.
    pub fn refusals(&self, protocol: Protocol, refusal: Refusal) -> u64 {
        self.refusals[protocol as usize][refusal as usize].load(Ordering::Relaxed)
    }
}
