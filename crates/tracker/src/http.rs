//! What is answered over HTTP (BEP 3, 7, 23, 24, 31, 48): request heads in, replies out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_swarm::Now;

use crate::{Tracker, Worker};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Answered; the connection may serve another request.
    KeepAlive,
    /// Answered; the connection is to be closed once the reply is sent.
    Close,
    /// Not ours: neither announce nor scrape. Nothing was written; give it to the web stack.
    Elsewhere,
}

/// Answers the requests of one worker.
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

    /// Answers one request. `head` is the request up to and with its empty line; `source` is the
    /// other end of the connection, canonical. The reply, status line and head included, is appended
    /// to `reply`.
    pub fn handle(
        &mut self,
        _now: Now,
        _source: IpAddr,
        _head: &[u8],
        _reply: &mut Vec<u8>,
    ) -> Handled {
        let _ = (&self.tracker, &self.worker);
        Handled::Elsewhere
    }
}
