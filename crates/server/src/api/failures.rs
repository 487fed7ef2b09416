//! Who has come with a wrong token, and how often: a bounded table, by range of addresses.
//!
//! A token cannot be guessed, it has 256 random bits. What is bounded here is the noise: from so
//! many failures on, a range is told to wait, and the log has one line about it. A right token is
//! taken even then, or whoever shares an address with an operator could lock them out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use peerage_tracker::Now;

/// Failures of one range in one [`WINDOW`] before it is told to wait.
const FAILURES_MAX: u32 = 10;

/// From a range's first failure until it is forgotten.
const WINDOW: Duration = Duration::from_secs(60);

/// Ranges remembered. One more takes the place of the one that would be forgotten first.
const RANGES_MAX: usize = 4096;

/// One IPv4 address, or a /64 of IPv6, which is what one client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Range {
    /// An address.
    V4(u32),
    /// Its upper half.
    V6(u64),
}

impl Range {
    /// The range of `address`.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// The failures of one range.
#[derive(Debug)]
struct Failed {
    since: Now,
    times: u32,
}

/// What is to be told to who has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// That the token is wrong.
    Wrong,
    /// That it is to wait so long.
    Wait {
        /// Until its failures are forgotten; at least a second, at most [`WINDOW`].
        secs: u64,
        /// Whether this is the first time it is told so in this window.
        first: bool,
    },
}

/// All failures of late.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<Range, Failed>);

impl Failures {
    /// Counts a failure.
    pub(crate) fn count(&mut self, now: Now, range: Range) -> Verdict {
        if !self.0.contains_key(&range) && self.0.len() >= RANGES_MAX {
            self.make_room(now);
        }
        let failed = self.0.entry(range).or_insert(Failed { since: now, times: 0 });
        if WINDOW <= now.since(failed.since) {
            *failed = Failed { since: now, times: 0 };
        }
        failed.times = failed.times.saturating_add(1);
        if failed.times <= FAILURES_MAX {
            return Verdict::Wrong;
        }
        let left = WINDOW.saturating_sub(now.since(failed.since));
        Verdict::Wait { secs: left.as_secs().max(1), first: failed.times == FAILURES_MAX + 1 }
    }

    fn make_room(&mut self, now: Now) {
        self.0.retain(|_, failed| now.since(failed.since) < WINDOW);
        if self.0.len() >= RANGES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, failed)| failed.since);
            if let Some(range) = oldest.map(|(range, _)| *range) {
                self.0.remove(&range);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now::from_millis(1_800_000_000_000);

    fn range(address: &str) -> Range {
        Range::of(address.parse().unwrap())
    }

    #[test]
    fn range_that_fails_often_is_told_to_wait_until_it_is_forgotten() {
        let mut failures = Failures::default();
        let of = range("2001:db8::1");
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.count(NOW, of), Verdict::Wrong);
        }
        let later = NOW + Duration::from_secs(20);
        assert_eq!(failures.count(later, of), Verdict::Wait { secs: 40, first: true });
        let same = range("2001:db8::ffff:1");
        assert_eq!(failures.count(later, same), Verdict::Wait { secs: 40, first: false });
        assert_eq!(failures.count(later, range("2001:db8:0:1::1")), Verdict::Wrong);
        assert_eq!(failures.count(later, range("192.0.2.1")), Verdict::Wrong);
        assert_eq!(failures.count(NOW + WINDOW, of), Verdict::Wrong);
    }

    #[test]
    fn mapped_address_is_the_same_as_its_own() {
        assert_eq!(range("::ffff:192.0.2.1"), range("192.0.2.1"));
        assert_ne!(range("192.0.2.1"), range("192.0.2.2"));
    }

    #[test]
    fn table_is_bounded_and_forgets_the_oldest_first() {
        let mut failures = Failures::default();
        let first = Range::V4(0);
        for _ in 0..=FAILURES_MAX {
            failures.count(NOW, first);
        }
        for index in 1..RANGES_MAX as u32 + 100 {
            let now = NOW + Duration::from_millis(u64::from(index));
            failures.count(now, Range::V4(index));
            assert!(failures.0.len() <= RANGES_MAX);
        }
        assert_eq!(failures.count(NOW + Duration::from_secs(30), first), Verdict::Wrong);
        failures.count(NOW + 2 * WINDOW, Range::V6(1));
        assert_eq!(failures.0.len(), 1);
    }
}
