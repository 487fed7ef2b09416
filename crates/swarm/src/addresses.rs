//! How many peers each address has over all swarms, counted in a sketch of fixed size.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

/// Two rows of counters; an address counts in one of each, and has at most what the smaller says.
/// Addresses that share both counters count together: with a million addresses about one in 65,536
/// counts another's peers along with a 65,536th of all, so a bound should be well above the
/// average.
pub(crate) struct Addresses {
    rows: [Box<[AtomicU32]>; 2],
}

const COUNTERS: usize = 1 << 16;

impl Addresses {
    pub(crate) fn new() -> Self {
        Self { rows: core::array::from_fn(|_| (0..COUNTERS).map(|_| AtomicU32::new(0)).collect()) }
    }

    /// At least the peers of the address with this hash.
    pub(crate) fn count(&self, hash: u64) -> u32 {
        self.counters(hash)
            .map(|counter| counter.load(Ordering::Relaxed))
            .into_iter()
            .min()
            .unwrap_or(0)
    }

    pub(crate) fn add(&self, hash: u64) {
        for counter in self.counters(hash) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn subtract(&self, hash: u64) {
        for counter in self.counters(hash) {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn counters(&self, hash: u64) -> [&AtomicU32; 2] {
        let [first, second] = &self.rows;
        [&first[hash as usize % COUNTERS], &second[(hash >> 32) as usize % COUNTERS]]
    }
}
