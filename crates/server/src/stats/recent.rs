//! What happened lately: requests per second, and how long they waited for their replies.

use std::collections::VecDeque;
use std::time::Duration;

use peerage_proto::Family;
use peerage_tracker::private::Credited;
use peerage_tracker::{Kind, Now, Protocol, Tally};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ByFamily, ByProtocol, by_protocol};
use crate::history::rate;
use crate::latency::Latencies;
use crate::private::Bytes;

/// The time over which requests per second are taken, and as many readings.
const RATE_SECS: usize = 10;

/// The time over which latencies are taken is six of these, and what has passed of a seventh.
const LATENCY_STEP: Duration = Duration::from_secs(10);
const LATENCY_STEPS: usize = 6;

/// Requests per second by kind.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Rates {
    /// UDP connection ids.
    pub(crate) connect: f64,
    /// Announces.
    pub(crate) announce: f64,
    /// Scrapes.
    pub(crate) scrape: f64,
}

/// How long requests waited for their replies: from their bytes being here to the reply being
/// handed to the kernel. Of one request in eight, and right to a quarter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LatencyStats {
    /// Half took longer.
    pub(crate) p50_us: u64,
    /// One in a hundred took longer.
    pub(crate) p99_us: u64,
    /// One in a thousand took longer.
    pub(crate) p999_us: u64,
    /// How many were timed.
    pub(crate) count: u64,
}

/// The readings that are needed.
#[derive(Debug)]
pub(super) struct Recent {
    /// The oldest first; at most one more than [`RATE_SECS`].
    tallies: VecDeque<(Now, Tally)>,
    /// As many.
    credited: VecDeque<(Now, Credited)>,
    /// The oldest first; at most one more than [`LATENCY_STEPS`], and never none.
    latencies: VecDeque<(Now, ByProtocol<Latencies>)>,
}

impl Recent {
    /// At the start, when nothing has been counted.
    pub(super) fn new(start: Now) -> Self {
        let none = ByProtocol { udp: Latencies::default(), http: Latencies::default() };
        let tallies = VecDeque::from([(start, Tally::default())]);
        let credited = VecDeque::from([(start, Credited::default())]);
        Self { tallies, credited, latencies: VecDeque::from([(start, none)]) }
    }

    /// Takes note of a reading, once a second.
    pub(super) fn add(
        &mut self,
        at: Now,
        tally: &Tally,
        latencies: &ByProtocol<Latencies>,
        credited: Credited,
    ) {
        if self.tallies.len() > RATE_SECS {
            self.tallies.pop_front();
            self.credited.pop_front();
        }
        self.tallies.push_back((at, tally.clone()));
        self.credited.push_back((at, credited));
        if self.latencies.back().is_some_and(|(last, _)| at.since(*last) < LATENCY_STEP) {
            return;
        }
        if self.latencies.len() > LATENCY_STEPS {
            self.latencies.pop_front();
        }
        self.latencies.push_back((at, latencies.clone()));
    }

    /// Requests per second between the oldest reading and the newest.
    pub(super) fn rates(&self) -> ByProtocol<ByFamily<Rates>> {
        let (Some((begun, before)), Some((ended, after))) =
            (self.tallies.front(), self.tallies.back())
        else {
            unreachable!("there is one from the start");
        };
        let of = |protocol: Protocol, family: Family, kind: Kind| {
            let count = |tally: &Tally| tally.requests(protocol, family, kind);
            rate((count(before), *begun), (count(after), *ended))
        };
        let rates = |protocol, family| Rates {
            connect: of(protocol, family, Kind::Connect),
            announce: of(protocol, family, Kind::Announce),
            scrape: of(protocol, family, Kind::Scrape),
        };
        by_protocol(|protocol| ByFamily {
            ipv4: rates(protocol, Family::V4),
            ipv6: rates(protocol, Family::V6),
        })
    }

    /// Bytes that members were credited and charged with per second, over the same time.
    pub(super) fn credited_per_sec(&self) -> Bytes<f64> {
        let (Some((begun, before)), Some((ended, after))) =
            (self.credited.front(), self.credited.back())
        else {
            unreachable!("there is one from the start");
        };
        Bytes {
            uploaded: rate((before.uploaded, *begun), (after.uploaded, *ended)),
            downloaded: rate((before.downloaded, *begun), (after.downloaded, *ended)),
        }
    }

    /// How the latencies were between the oldest reading and `now`.
    pub(super) fn latency(&self, now: &ByProtocol<Latencies>) -> ByProtocol<Option<LatencyStats>> {
        let oldest = self.latencies.front().map(|(_, oldest)| oldest);
        let of = |now: &Latencies, oldest: Option<&Latencies>| {
            let between = match oldest {
                Some(oldest) => now.clone().since(oldest),
                None => now.clone(),
            };
            Some(LatencyStats {
                p50_us: between.micros(500)?,
                p99_us: between.micros(990)?,
                p999_us: between.micros(999)?,
                count: between.count(),
            })
        };
        ByProtocol {
            udp: of(&now.udp, oldest.map(|oldest| &oldest.udp)),
            http: of(&now.http, oldest.map(|oldest| &oldest.http)),
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_tracker::Counters;

    use super::*;
    use crate::latency::Histogram;

    #[test]
    fn rates_are_of_the_last_ten_seconds() {
        let mut recent = Recent::new(Now::from_millis(0));
        let (counters, none) =
            (Counters::default(), Recent::new(Now::default()).latencies[0].1.clone());
        for secs in 1..=30 {
            if secs > 25 {
                counters.request(Protocol::Udp, Family::V6, Kind::Announce);
            }
            let mut tally = Tally::default();
            tally.add(&counters);
            let credited = Credited { uploaded: 7 * secs, downloaded: secs.max(20) };
            recent.add(Now::from_millis(secs * 1000), &tally, &none, credited);
        }
        let credited = recent.credited_per_sec();
        assert!((credited.uploaded - 7.0).abs() < 1e-9, "{credited:?}");
        assert!((credited.downloaded - 1.0).abs() < 1e-9, "{credited:?}");
        let rates = recent.rates();
        assert!((rates.udp.ipv6.announce - 0.5).abs() < 1e-9, "{rates:?}");
        assert!(rates.udp.ipv4.announce.abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn latencies_are_forgotten_after_about_a_minute() {
        let mut recent = Recent::new(Now::from_millis(0));
        let histogram = Histogram::default();
        histogram.add(Duration::from_millis(1), 7);
        let mut taken = recent.latencies[0].1.clone();
        taken.udp.add(&histogram);
        let mut seen = Vec::new();
        for secs in 1..=80 {
            let (at, none) = (Now::from_millis(secs * 1000), Credited::default());
            recent.add(at, &Tally::default(), &taken, none);
            seen.push(recent.latency(&taken).udp.map(|latency| latency.count));
            assert!(recent.latency(&taken).http.is_none());
        }
        assert_eq!(seen[58], Some(7));
        assert_eq!(seen[79], None);
    }
}
