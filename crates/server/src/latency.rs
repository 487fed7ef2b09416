//! How long requests wait for their replies: from the moment their bytes are with us until the
//! kernel has the reply.
//!
//! Taken of every eighth batch a worker serves, not of every request: two readings of the clock.
//! What happens in the kernel before and after, and on the wire, is not in it.

use std::time::{Duration, Instant};

use peerage_tracker::Counter;

/// Of so many batches one is timed: what two readings of the clock cost (some 50 ns) is then far
/// below a hundredth of what a batch of one request costs (3 us).
const BATCHES_BETWEEN: u32 = 8;

/// Latencies below 2^10 ns, about a microsecond, are not told apart.
const SHORTEST_LOG2: u32 = 10;
/// Nor those of 2^31 ns, about two seconds, and above.
const LONGEST_LOG2: u32 = 31;
/// Buckets for each power of two, so that a percentile is right to a quarter.
const PER_OCTAVE: usize = 4;
const OCTAVES: usize = (LONGEST_LOG2 - SHORTEST_LOG2) as usize;
/// Those below, those between, those above.
const BUCKETS: usize = 1 + OCTAVES * PER_OCTAVE + 1;

/// Says which batches are timed.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Batches until one is; at least 1.
    left: u32,
}

impl Timer {
    /// Times the next batch first.
    pub(crate) fn new() -> Self {
        Self { left: 1 }
    }

    /// The time, if this batch is to be timed.
    pub(crate) fn begin(&mut self) -> Option<Instant> {
        self.left -= 1;
        (self.left == 0).then(|| {
            self.left = BATCHES_BETWEEN;
            Instant::now()
        })
    }
}

/// Latencies of one worker since its start. Written by that worker alone, read by any.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS], nanos: Counter::new() }
    }
}

impl Histogram {
    /// Takes note of so many requests that were answered together, in `took`.
    pub(crate) fn add(&self, took: Duration, requests: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].add(requests);
        self.nanos.add(nanos.saturating_mul(requests));
    }
}

/// The bucket of a latency; those of 2^n ns and 1, 1 1/4, 1 1/2 and 1 3/4 times that begin one.
fn bucket(nanos: u64) -> usize {
    let Some(log2) = nanos.checked_ilog2().filter(|&log2| log2 >= SHORTEST_LOG2) else { return 0 };
    if log2 >= LONGEST_LOG2 {
        return BUCKETS - 1;
    }
    let quarter = (nanos >> (log2 - 2)) as usize & (PER_OCTAVE - 1);
    1 + (log2 - SHORTEST_LOG2) as usize * PER_OCTAVE + quarter
}

/// Where a bucket ends, in nanoseconds; the last ends where it begins.
fn end_nanos(bucket: usize) -> u64 {
    let quarters = bucket.min(BUCKETS - 2);
    let octave = SHORTEST_LOG2 + (quarters / PER_OCTAVE) as u32;
    (1 << octave) + ((quarters % PER_OCTAVE) as u64) * ((1 << octave) / PER_OCTAVE as u64)
}

/// Latencies of several workers at a moment, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Latencies {
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], nanos: 0 }
    }
}

impl Latencies {
    /// Adds what `histogram` holds now.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        self.buckets.iter_mut().zip(&histogram.buckets).for_each(|(to, from)| *to += from.get());
        self.nanos = self.nanos.wrapping_add(histogram.nanos.get());
    }

    /// Both together.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(to, from)| *to += from);
        self.nanos = self.nanos.wrapping_add(other.nanos);
        self
    }

    /// What has come since `earlier`.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter();
        self.buckets.iter_mut().zip(before).for_each(|(to, from)| *to = to.saturating_sub(*from));
        self.nanos = self.nanos.wrapping_sub(earlier.nanos);
        self
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in seconds.
    pub(crate) fn sum_secs(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// The latency that `per_mille` of a thousand are below, in microseconds, rounded up by less
    /// than a quarter. `None` where there are none.
    pub(crate) fn micros(&self, per_mille: u64) -> Option<u64> {
        let count = self.count();
        let rank = (count * per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        let found = self.buckets.iter().position(|&requests| {
            below += requests;
            below >= rank
        });
        found.filter(|_| count > 0).map(|bucket| end_nanos(bucket).div_ceil(1000))
    }

    /// For each power of two, in seconds: how many are below it.
    pub(crate) fn below(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut buckets = self.buckets.iter();
        let mut below = 0;
        (0..=OCTAVES).map(move |octave| {
            let taken = if octave == 0 { 1 } else { PER_OCTAVE };
            below += buckets.by_ref().take(taken).sum::<u64>();
            (Duration::from_nanos(1 << (SHORTEST_LOG2 + octave as u32)).as_secs_f64(), below)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(of: &[(u64, u64)]) -> Latencies {
        let histogram = Histogram::default();
        for &(nanos, requests) in of {
            histogram.add(Duration::from_nanos(nanos), requests);
        }
        let mut latencies = Latencies::default();
        latencies.add(&histogram);
        latencies
    }

    #[test]
    fn each_latency_is_in_the_bucket_that_ends_after_it() {
        for nanos in (0..40).flat_map(|log2| [(1_u64 << log2) - 1, 1 << log2, (3 << log2) / 2]) {
            let bucket = bucket(nanos);
            if bucket == BUCKETS - 1 {
                assert!(nanos >= 1 << LONGEST_LOG2, "{nanos}");
                continue;
            }
            assert!(nanos < end_nanos(bucket), "{nanos}");
            assert!(bucket == 0 || end_nanos(bucket - 1) <= nanos, "{nanos}");
            assert!(bucket == 0 || end_nanos(bucket) <= nanos + nanos / 4 + 1, "{nanos}");
        }
    }

    #[test]
    fn percentile_is_right_to_a_quarter() {
        let latencies = taken(&[(10_000, 500), (100_000, 490), (50_000_000, 10)]);
        let near = |per_mille: u64, micros: u64| {
            let found = latencies.micros(per_mille).unwrap();
            assert!((micros..=micros + micros / 4).contains(&found), "{per_mille}: {found}");
        };
        near(500, 10);
        near(501, 100);
        near(990, 100);
        near(999, 50_000);
        assert_eq!(latencies.count(), 1000);
        assert!((latencies.sum_secs() - 0.554).abs() < 1e-9);
        assert_eq!(taken(&[]).micros(500), None);
    }

    #[test]
    fn what_came_since_is_what_came_since() {
        let earlier = taken(&[(2000, 5)]);
        let later = taken(&[(2000, 7), (1 << 40, 1)]);
        let between = later.clone().since(&earlier);
        assert_eq!(between.count(), 3);
        assert_eq!(between.and(&earlier), later);
    }

    #[test]
    fn counts_by_power_of_two_grow_to_all_but_the_longest() {
        let below: Vec<_> =
            taken(&[(500, 1), (1500, 2), (1 << 30, 3), (1 << 31, 4)]).below().collect();
        assert_eq!(below[0].1, 1);
        assert_eq!(below[1].1, 3);
        assert_eq!(below.last().unwrap().1, 6);
        assert!((below[0].0 - 1.024e-6).abs() < 1e-12);
    }

    #[test]
    fn first_batch_is_timed_and_then_every_eighth() {
        let mut timer = Timer::new();
        let timed: Vec<bool> = (0..17).map(|_| timer.begin().is_some()).collect();
        let expected: Vec<bool> = (0..17).map(|batch| batch % 8 == 0).collect();
        assert_eq!(timed, expected);
    }
}
