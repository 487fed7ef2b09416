//! What is answered over UDP (BEP 15): datagrams in, datagrams out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::net::SocketAddr;

use peerage_swarm::Now;

use crate::{Tracker, Worker};

/// Most bytes of a reply: what fits an Ethernet frame over IPv6 (1500 - 40 - 8).
pub const REPLY_BYTES_MAX: usize = 1452;

/// A datagram as received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it: where a reply goes. Canonical: never an IPv4-mapped IPv6 address.
    pub source: SocketAddr,
    /// What it says.
    pub bytes: &'a [u8],
}

/// Replies to the datagrams of one batch. The caller owns it and uses it again.
pub struct Replies {
    buffers: Box<[[u8; REPLY_BYTES_MAX]]>,
    /// Of each reply: the index of its datagram in the batch, and its length.
    filled: Box<[(u16, u16)]>,
    count: usize,
}

impl Replies {
    /// Room for a batch of `batch_max` datagrams.
    pub fn new(batch_max: u16) -> Self {
        let batch_max = usize::from(batch_max);
        Self {
            buffers: vec![[0; REPLY_BYTES_MAX]; batch_max].into_boxed_slice(),
            filled: vec![(0, 0); batch_max].into_boxed_slice(),
            count: 0,
        }
    }

    /// The replies, each with the index of the datagram it answers; at most one a datagram, in
    /// order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &[u8])> {
        self.filled[..self.count]
            .iter()
            .zip(&self.buffers)
            .map(|(&(index, length), buffer)| (usize::from(index), &buffer[..usize::from(length)]))
    }
}

/// Answers the datagrams of one worker.
pub struct Endpoint {
    tracker: Arc<Tracker>,
    worker: Worker,
}

impl Endpoint {
    /// An endpoint with counters of its own. `seed` is random.
    pub fn new(tracker: Arc<Tracker>, seed: u64) -> Self {
        let worker = tracker.worker(seed);
        Self { tracker, worker }
    }

    /// Answers a batch. `batch` is no longer than `replies` has room for; `replies` is cleared
    /// first.
    pub fn handle(&mut self, _now: Now, _batch: &[Datagram<'_>], replies: &mut Replies) {
        replies.count = 0;
        let _ = (&self.tracker, &self.worker);
    }
}
