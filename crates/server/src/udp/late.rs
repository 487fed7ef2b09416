//! Datagrams whose replies wait for what other nodes know: the first announce of each swarm.
//!
//! The batch they came in is set aside as it is, and another takes its place: so each reply leaves
//! from the address that was asked. All else in the batch has been answered by then.

use std::time::Duration;

use peerage_net::{Backend, Batch};
use peerage_swarm::Now;
use peerage_tracker::udp::{Datagram, Endpoint, Replies};

use super::BATCH_DATAGRAMS;
use crate::stop::LOOK_EVERY;

/// Most batches set aside, about 150 KiB each. While there are so many, nobody waits.
const BATCHES_MAX: usize = 32;

/// How often it is looked whether what is awaited has come.
const LOOK_LATE_EVERY: Duration = Duration::from_millis(1);

/// The batches of one worker that wait.
pub(super) struct Late {
    /// Zero where nobody waits.
    patience: Duration,
    backend: Backend,
    waiting: Vec<Waiting>,
    /// To be used again.
    spare: Vec<Batch>,
}

struct Waiting {
    /// The socket it came by, by number.
    port: usize,
    batch: Batch,
    /// What of it is not answered yet.
    awaited: Vec<u16>,
    until: Now,
}

impl Late {
    /// Nothing waits, and nothing is to wait for longer than `patience`.
    pub(super) fn new(patience: Duration, backend: Backend) -> Self {
        Self { patience, backend, waiting: Vec::new(), spare: Vec::new() }
    }

    /// Whether one more batch can be set aside.
    pub(super) fn has_room(&self) -> bool {
        !self.patience.is_zero() && self.waiting.len() < BATCHES_MAX
    }

    /// How long the worker may wait for datagrams.
    pub(super) fn wait_at_most(&self) -> Duration {
        if self.waiting.is_empty() { LOOK_EVERY } else { LOOK_LATE_EVERY }
    }

    /// Sets `batch` aside and puts an empty one in its place.
    pub(super) fn put_aside(&mut self, now: Now, port: usize, batch: &mut Batch, awaited: &[u16]) {
        let backend = self.backend;
        let spare = self.spare.pop().unwrap_or_else(|| Batch::new(backend, BATCH_DATAGRAMS));
        let batch = std::mem::replace(batch, spare);
        let until = now + self.patience;
        self.waiting.push(Waiting { port, batch, awaited: awaited.to_vec(), until });
    }

    /// Answers the batches of which nothing is awaited any more, or whose time is up. `reply` is
    /// given the number of the socket, the batch, and the replies by index in it.
    pub(super) fn answer(
        &mut self,
        now: Now,
        endpoint: &mut Endpoint,
        replies: &mut Replies,
        mut reply: impl FnMut(usize, &mut Batch, &mut dyn Iterator<Item = (usize, &[u8])>),
    ) {
        let mut at = 0;
        while at < self.waiting.len() {
            let waiting = &self.waiting[at];
            let asked = |index: &u16| {
                endpoint.is_awaited(waiting.batch.datagram(usize::from(*index)).bytes)
            };
            if now < waiting.until && waiting.awaited.iter().any(asked) {
                at += 1;
                continue;
            }
            let Waiting { port, mut batch, awaited, .. } = self.waiting.swap_remove(at);
            let datagrams: Vec<Datagram<'_>> = awaited
                .iter()
                .map(|index| batch.datagram(usize::from(*index)))
                .map(|received| Datagram { source: received.source, bytes: received.bytes })
                .collect();
            endpoint.handle_late(now, &datagrams, replies);
            let late = replies.iter();
            let mut late = late.map(|(index, bytes)| (usize::from(awaited[index]), bytes));
            reply(port, &mut batch, &mut late);
            self.spare.push(batch);
        }
    }
}
