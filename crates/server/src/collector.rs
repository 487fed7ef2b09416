//! The thread that looks at what the workers do: at announces they have picked out four times a
//! second, and at what they count once a second.
//!
//! Workers never wait for it: it reads counters and rings of theirs, and what finds no room in a
//! ring is not picked.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use peerage_tracker::Sample;

use crate::feed::Gatherer;
use crate::stats::Source;
use crate::stop::Stop;

/// How often it looks, and how long a stop may have to wait. Also the time between two frames of
/// the map.
const TICK: Duration = Duration::from_millis(250);

/// Ticks in a second.
const TICKS_A_SECOND: u32 = 4;

/// Announces each worker is to pick in a tick while somebody watches the map, and while nobody
/// does: then it is only for the clients.
const SAMPLES_WATCHED: u32 = 100;
const SAMPLES_UNWATCHED: u32 = 20;

/// What the thread works with.
pub(crate) struct Collector {
    source: Arc<Source>,
    /// Of one tick; at most as many as all rings hold.
    samples: Vec<Sample>,
    gatherer: Gatherer,
    /// Announces since the start, as of the last tick.
    announces: u64,
}

impl Collector {
    /// For the thread. `seed` is random.
    pub(crate) fn new(source: Arc<Source>, seed: u64) -> Self {
        Self { source, samples: Vec::new(), gatherer: Gatherer::new(seed), announces: 0 }
    }

    /// Goes on until it is asked to stop.
    pub(crate) fn run(&mut self, stop: &Stop) {
        let mut next = Instant::now();
        let mut ticks = 0_u32;
        while !stop.is_requested() {
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(TICKS_A_SECOND) {
                self.source.observe();
            }
            self.look_at_announces();
            // By the clock, so that what a tick itself takes does not add up; a tick that is late
            // by more than one is not made up for.
            next = (next + TICK).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Counts the clients of the announces that were picked, and shows the announces on the map.
    fn look_at_announces(&mut self) {
        let Self { source, samples, gatherer, announces } = self;
        let watched = source.feed.is_watched();
        let wanted = if watched { SAMPLES_WATCHED } else { SAMPLES_UNWATCHED };
        samples.clear();
        source.tracker.drain_samples(wanted, |sample| samples.push(sample));
        source.count_clients(samples);
        let before = std::mem::replace(announces, source.tracker.tally().announces());
        if !watched {
            return;
        }
        if let Some(locations) = source.locations.now() {
            for sample in samples.iter() {
                if let Some(place) = locations.find(sample.address) {
                    gatherer.offer(sample.protocol, sample.address, place);
                }
            }
        }
        if let Some(frame) = gatherer.frame(*announces - before) {
            source.feed.publish(&frame);
        }
    }
}
