//! Latencies in a histogram of fixed size.

/// Buckets per doubling: the error of a percentile is below 1/32.
const STEPS: u64 = 32;
/// Up to 2^40 ns, 18 minutes; anything longer counts as that.
const DOUBLINGS: usize = 36;

/// Counts of durations by length.
pub(crate) struct Latencies {
    buckets: Box<[u64]>,
    count: u64,
}

impl Latencies {
    /// No durations yet.
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; STEPS as usize * DOUBLINGS].into(), count: 0 }
    }

    /// Adds a duration.
    pub(crate) fn add(&mut self, nanos: u64) {
        let index = index(nanos).min(self.buckets.len() - 1);
        self.buckets[index] += 1;
        self.count += 1;
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, add) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += add;
        }
        self.count += other.count;
    }

    /// The duration that `percent` of all stay below, in microseconds; 0 where there are none.
    pub(crate) fn percentile_micros(&self, percent: f64) -> f64 {
        let wanted = (self.count as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return upper_bound(index) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Below `STEPS` a bucket is one nanosecond wide, then its width doubles every `STEPS` buckets.
fn index(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doubling = u64::from(nanos.ilog2() - STEPS.ilog2());
    ((doubling + 1) * STEPS + (nanos >> doubling) - STEPS) as usize
}

fn upper_bound(index: usize) -> u64 {
    let (doubling, step) = (index as u64 / STEPS, index as u64 % STEPS);
    match doubling {
        0 => step,
        _ => ((STEPS + step + 1) << (doubling - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_within_a_thirtieth_of_its_bucket() {
        for nanos in (0..40).map(|shift| 3_u64 << shift >> 1).chain(0..5000) {
            let bound = upper_bound(index(nanos));
            assert!(nanos <= bound && bound <= nanos + nanos / 30, "{nanos}: {bound}");
        }
    }

    #[test]
    fn percentiles_are_where_they_belong() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|micros| latencies.add(micros * 1000));
        let near = |percent, micros: f64| {
            let got = latencies.percentile_micros(percent);
            assert!((got / micros - 1.0).abs() < 0.04, "p{percent}: {got}");
        };
        near(50.0, 500.0);
        near(99.0, 990.0);
        near(99.9, 999.0);
    }
}
