//! What is known about the tracker at a moment: the body of `/stats.json`, and what `/metrics` says
//! in another form.
//!
//! Everything is read from counters that others keep; nothing is counted here. It is put together
//! at most once a second, however often it is asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerage_proto::Family;
use peerage_swarm::Expired;
use peerage_tracker::{Counter, Kind, LoadAverages, Now, Protocol, Refusal, Tally, Tracker};
use serde::Serialize;

use crate::clock::Clock;
use crate::lists::Lists;
use crate::load::Probe;
use crate::{http, udp, web};

/// How old the statistics may be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What the statistics are read from.
pub(crate) struct Source {
    /// Swarms, counters, interval.
    pub(crate) tracker: Arc<Tracker>,
    /// Of the pages.
    pub(crate) web: Arc<web::Counts>,
    clock: Clock,
    started: Now,
    failed: u64,
    probe: Probe,
    workers: Workers,
    load: Mutex<Option<LoadAverages>>,
    lists: Mutex<ListSizes>,
    expired_peers: AtomicU64,
    expired_swarms: AtomicU64,
    latest: Mutex<Option<(Now, Arc<Stats>)>>,
}

/// The counters that the workers' sockets keep; one of each for each worker.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Of UDP.
    pub(crate) udp: Vec<Arc<udp::Counters>>,
    /// Of HTTP.
    pub(crate) http: Vec<Arc<http::Status>>,
}

/// What is known about the tracker at a moment. Counts are since the start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stats {
    /// Of the program.
    pub(crate) version: &'static str,
    /// Crashes before this start, as whoever starts us tells.
    pub(crate) failed: u64,
    /// When it started, in seconds since the UNIX epoch.
    pub(crate) started_at_secs: u64,
    /// Time since the start.
    pub(crate) uptime_secs: u64,
    /// The announce interval.
    pub(crate) interval: Interval,
    /// Of the machine.
    pub(crate) load: LoadStats,
    /// Of the process.
    pub(crate) memory: Memory,
    /// Swarms, those without peers included.
    pub(crate) swarms: u64,
    /// Peers of all swarms.
    pub(crate) peers: PeerStats,
    /// How often the swarms held were completed.
    pub(crate) completed: u64,
    /// What was dropped because it was not heard from.
    pub(crate) expired: ExpiredStats,
    /// Requests that could be read, those refused included.
    pub(crate) requests: ByProtocol<ByFamily<Requests>>,
    /// Replies with a failure reason, by reason.
    pub(crate) refusals: ByProtocol<BTreeMap<&'static str, u64>>,
    /// Announces whose peer was handed peers but not stored, because a bound was reached.
    pub(crate) not_stored: u64,
    /// Sizes of the lists.
    pub(crate) lists: ListSizes,
    /// Datagrams.
    pub(crate) udp: UdpStats,
    /// Connections.
    pub(crate) http: HttpStats,
    /// Connections that asked for neither announce nor scrape.
    pub(crate) pages: PageStats,
}

/// The announce interval without jitter.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Interval {
    /// In force.
    pub(crate) now_secs: u32,
    /// Where it is going.
    pub(crate) goal_secs: u32,
}

/// The load of the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadStats {
    /// Over 1, 5 and 15 minutes; null where the system does not tell.
    pub(crate) averages: Option<LoadAverages>,
    /// Above this the interval grows.
    pub(crate) max: f64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    /// Of the whole process; null where the system does not tell.
    pub(crate) resident_bytes: Option<u64>,
    /// Of the swarms.
    pub(crate) swarms_bytes: u64,
}

/// Peers, by what they are and by family.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerStats {
    /// All.
    pub(crate) total: u64,
    /// Those with nothing left.
    pub(crate) seeders: ByFamily<u64>,
    /// All others.
    pub(crate) leechers: ByFamily<u64>,
}

/// What has expired.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExpiredStats {
    /// Peers.
    pub(crate) peers: u64,
    /// Swarms.
    pub(crate) swarms: u64,
}

/// One for each protocol.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ByProtocol<T> {
    /// Over UDP.
    pub(crate) udp: T,
    /// Over HTTP.
    pub(crate) http: T,
}

/// One for each family of addresses.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ByFamily<T> {
    /// Over IPv4.
    pub(crate) ipv4: T,
    /// Over IPv6.
    pub(crate) ipv6: T,
}

/// Requests by kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Requests {
    /// UDP connection ids.
    pub(crate) connect: u64,
    /// Announces.
    pub(crate) announce: u64,
    /// Scrapes.
    pub(crate) scrape: u64,
}

/// Entries of the lists.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ListSizes {
    /// Of the allow list; null without one.
    pub(crate) allowed: Option<u64>,
    /// Of the deny list.
    pub(crate) denied: u64,
}

/// What went through the UDP sockets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UdpStats {
    /// Over IPv4.
    pub(crate) ipv4: DatagramStats,
    /// Over IPv6.
    pub(crate) ipv6: DatagramStats,
    /// Datagrams that were no request by their form.
    pub(crate) malformed: u64,
    /// Requests whose connection id was not valid.
    pub(crate) bad_connection_ids: u64,
}

/// Datagrams of one family. Bytes are without headers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DatagramStats {
    /// Received.
    pub(crate) datagrams_in: u64,
    /// Sent.
    pub(crate) datagrams_out: u64,
    /// Received.
    pub(crate) bytes_in: u64,
    /// Sent.
    pub(crate) bytes_out: u64,
    /// Datagrams that the system dropped because a receive buffer was full.
    pub(crate) kernel_drops: u64,
    /// Datagrams that were too long to be a request.
    pub(crate) truncated: u64,
    /// Replies that the system did not take.
    pub(crate) send_failures: u64,
    /// Times that receiving failed.
    pub(crate) receive_failures: u64,
}

/// What went through the HTTP connections, until they were handed over to the pages.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HttpStats {
    /// Over IPv4.
    pub(crate) ipv4: StreamStats,
    /// Over IPv6.
    pub(crate) ipv6: StreamStats,
    /// Connections open now.
    pub(crate) open: u64,
    /// Connections told to come later because there were too many.
    pub(crate) refused: u64,
    /// Connections handed over to the pages.
    pub(crate) handed_over: u64,
    /// Connections closed because the client was too slow.
    pub(crate) timed_out: u64,
    /// Connections closed because they stayed idle.
    pub(crate) idle_closed: u64,
    /// Times that accepting failed.
    pub(crate) accept_failures: u64,
    /// Connections closed because their PROXY header was missing or wrong.
    pub(crate) bad_proxy_headers: u64,
    /// Requests that could not be read.
    pub(crate) malformed: u64,
    /// Replies by status code; rare codes together as 0.
    pub(crate) replies: BTreeMap<u16, u64>,
}

/// Connections of one family.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamStats {
    /// Accepted.
    pub(crate) accepted: u64,
    /// Bytes received.
    pub(crate) bytes_in: u64,
    /// Bytes sent.
    pub(crate) bytes_out: u64,
}

/// What the pages have served.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct PageStats {
    /// Requests.
    pub(crate) requests: u64,
    /// Connections open now.
    pub(crate) open: u64,
    /// Connections turned away because there were too many.
    pub(crate) turned_away: u64,
}

impl Source {
    /// Statistics of a tracker that starts now.
    pub(crate) fn new(
        tracker: Arc<Tracker>,
        clock: Clock,
        failed: u64,
        probe: Probe,
        workers: Workers,
    ) -> Self {
        Self {
            tracker,
            web: Arc::default(),
            clock,
            started: clock.now(),
            failed,
            probe,
            workers,
            load: Mutex::default(),
            lists: Mutex::default(),
            expired_peers: AtomicU64::default(),
            expired_swarms: AtomicU64::default(),
            latest: Mutex::default(),
        }
    }

    /// Reads the load, for the statistics and the caller.
    pub(crate) fn read_load(&self) -> Option<LoadAverages> {
        let load = self.probe.load();
        *lock(&self.load) = load;
        load
    }

    /// Counts what has expired. By one thread alone.
    pub(crate) fn count_expired(&self, expired: Expired) {
        self.expired_peers.fetch_add(expired.peers, Ordering::Relaxed);
        self.expired_swarms.fetch_add(expired.swarms, Ordering::Relaxed);
    }

    /// Takes note of lists that have come into force.
    pub(crate) fn set_lists(&self, lists: &Lists) {
        *lock(&self.lists) = ListSizes { allowed: lists.allowed, denied: lists.denied };
    }

    /// The statistics, at most [`AGE_MAX`] old.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        let now = self.clock.now();
        let mut latest = lock(&self.latest);
        match &*latest {
            Some((at, stats)) if now.since(*at) < AGE_MAX => Arc::clone(stats),
            _ => {
                let stats = Arc::new(self.read(now));
                *latest = Some((now, Arc::clone(&stats)));
                stats
            }
        }
    }

    fn read(&self, now: Now) -> Stats {
        let totals = self.tracker.swarms().totals();
        let tally = self.tracker.tally();
        let (now_secs, goal_secs) = self.tracker.interval_secs();
        let seeders = ByFamily { ipv4: totals.seeders_v4, ipv6: totals.seeders_v6 };
        let leechers = ByFamily { ipv4: totals.leechers_v4, ipv6: totals.leechers_v6 };
        Stats {
            version: env!("CARGO_PKG_VERSION"),
            failed: self.failed,
            started_at_secs: self.started.as_secs(),
            uptime_secs: now.since(self.started).as_secs(),
            interval: Interval { now_secs, goal_secs },
            load: LoadStats {
                averages: *lock(&self.load),
                max: self.tracker.rules().interval.load_max,
            },
            memory: Memory {
                resident_bytes: self.probe.resident_bytes(),
                swarms_bytes: totals.bytes,
            },
            swarms: totals.swarms,
            peers: PeerStats {
                total: seeders.ipv4 + seeders.ipv6 + leechers.ipv4 + leechers.ipv6,
                seeders,
                leechers,
            },
            completed: totals.completed,
            expired: ExpiredStats {
                peers: self.expired_peers.load(Ordering::Relaxed),
                swarms: self.expired_swarms.load(Ordering::Relaxed),
            },
            requests: by_protocol(|protocol| requests(&tally, protocol)),
            refusals: by_protocol(|protocol| refusals(&tally, protocol)),
            not_stored: tally.not_stored,
            lists: *lock(&self.lists),
            udp: UdpStats {
                ipv4: self.workers.datagrams(Family::V4),
                ipv6: self.workers.datagrams(Family::V6),
                malformed: tally.malformed_datagrams,
                bad_connection_ids: tally.bad_connection_ids,
            },
            http: self.workers.http(&tally),
            pages: self.web.stats(),
        }
    }
}

fn by_protocol<T>(of: impl Fn(Protocol) -> T) -> ByProtocol<T> {
    ByProtocol { udp: of(Protocol::Udp), http: of(Protocol::Http) }
}

fn requests(tally: &Tally, protocol: Protocol) -> ByFamily<Requests> {
    let of = |family| Requests {
        connect: tally.requests(protocol, family, Kind::Connect),
        announce: tally.requests(protocol, family, Kind::Announce),
        scrape: tally.requests(protocol, family, Kind::Scrape),
    };
    ByFamily { ipv4: of(Family::V4), ipv6: of(Family::V6) }
}

fn refusals(tally: &Tally, protocol: Protocol) -> BTreeMap<&'static str, u64> {
    let count = |refusal: Refusal| (refusal.name(), tally.refusals(protocol, refusal));
    Refusal::ALL.into_iter().map(count).collect()
}

impl Workers {
    fn datagrams(&self, family: Family) -> DatagramStats {
        let sum = |of: fn(&udp::FamilyCounters) -> &Counter| {
            self.udp.iter().map(|counters| of(counters.of(family)).get()).sum()
        };
        DatagramStats {
            datagrams_in: sum(|counters| &counters.datagrams_in),
            datagrams_out: sum(|counters| &counters.datagrams_out),
            bytes_in: sum(|counters| &counters.bytes_in),
            bytes_out: sum(|counters| &counters.bytes_out),
            kernel_drops: sum(|counters| &counters.kernel_drops),
            truncated: sum(|counters| &counters.truncated),
            send_failures: sum(|counters| &counters.send_failures),
            receive_failures: sum(|counters| &counters.receive_failures),
        }
    }

    fn http(&self, tally: &Tally) -> HttpStats {
        let sum = |of: fn(&http::Status) -> &Counter| {
            self.http.iter().map(|status| of(status).get()).sum()
        };
        let mut replies = BTreeMap::new();
        for (code, count) in self.http.iter().flat_map(|status| status.replies()) {
            *replies.entry(code).or_default() += count;
        }
        HttpStats {
            ipv4: self.streams(Family::V4),
            ipv6: self.streams(Family::V6),
            open: self.http.iter().map(|status| status.open()).sum(),
            refused: sum(|status| &status.refused),
            handed_over: sum(|status| &status.handed_over),
            timed_out: sum(|status| &status.timed_out),
            idle_closed: sum(|status| &status.idle_closed),
            accept_failures: sum(|status| &status.accept_failures),
            bad_proxy_headers: sum(|status| &status.bad_proxy_headers),
            malformed: tally.malformed_requests,
            replies,
        }
    }

    fn streams(&self, family: Family) -> StreamStats {
        let families = || self.http.iter().map(|status| status.of(family));
        StreamStats {
            accepted: families().map(|status| status.accepted.get()).sum(),
            bytes_in: families().map(|status| status.bytes_in.get()).sum(),
            bytes_out: families().map(|status| status.bytes_out.get()).sum(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
