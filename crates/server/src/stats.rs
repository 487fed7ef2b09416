//! What is known about the tracker at a moment: the body of `/stats.json`, and what `/metrics` says
//! in another form.
//!
//! Everything is read from counters that others keep; what happened lately is known from readings
//! of them, taken once a second. It is put together at most once a second, however often it is
//! asked for.

mod client_names;
mod clients;
mod largest;
mod recent;
mod sockets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use peerage_proto::Family;
use peerage_swarm::Expired;
use peerage_tracker::private::Private;
use peerage_tracker::{
    AccessList, Kind, LoadAverages, Now, Protocol, Refusal, Sample, Tally, Tracker,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::feed::{Feed, MapStats};
use crate::history::{self, Gauges, History, Reading};
use crate::latency::Latencies;
use crate::load::Probe;
use crate::private::{self, PrivateStats};
use crate::settings::Pages;
use crate::{locations, shared, web};
pub(crate) use clients::ClientStats;
use clients::Clients;
use largest::Largest;
pub(crate) use largest::SwarmStats;
use recent::Recent;
pub(crate) use recent::{LatencyStats, Rates};
pub(crate) use sockets::{DatagramStats, HttpStats, StreamStats, UdpStats, Workers};

/// How old the statistics may be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What the statistics are read from.
pub(crate) struct Source {
    /// Swarms, counters, interval.
    pub(crate) tracker: Arc<Tracker>,
    /// Of the pages.
    pub(crate) web: Arc<web::Counts>,
    /// Where addresses are.
    pub(crate) locations: locations::Shared,
    /// Of the map.
    pub(crate) feed: Feed,
    clock: Clock,
    started: Now,
    failed: u64,
    probe: Probe,
    workers: Workers,
    load: Mutex<Option<LoadAverages>>,
    lists: Mutex<ListSizes>,
    expired_peers: AtomicU64,
    expired_swarms: AtomicU64,
    recent: Mutex<Recent>,
    history: Mutex<History>,
    clients: Mutex<Clients>,
    /// Only where the operator allows it.
    largest: Option<Mutex<Largest>>,
    latest: Mutex<Option<(Now, Arc<Stats>)>>,
    /// Empty where the node is alone.
    pub(crate) shared: OnceLock<Arc<shared::View>>,
    /// Empty where the tracker is open.
    pub(crate) private: OnceLock<private::View>,
}

/// What is known about the tracker at a moment. Counts are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
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
    /// What nodes tell each other; null where this one is alone. Its peers are among all.
    #[schema(required)]
    pub(crate) shared: Option<shared::Stats>,
    /// Of private mode; null where the tracker is open.
    #[schema(required)]
    pub(crate) private: Option<PrivateStats>,
    /// What was dropped because it was not heard from.
    pub(crate) expired: ExpiredStats,
    /// Requests that could be read, those refused included.
    pub(crate) requests: ByProtocol<ByFamily<Requests>>,
    /// Replies with a failure reason, by reason.
    #[schema(value_type = ByProtocol<BTreeMap<String, u64>>)]
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
    /// Of the location files in force; null without any.
    #[schema(required)]
    pub(crate) locations: Option<locations::Status>,
    /// Requests per second over the last ten.
    pub(crate) rates: ByProtocol<ByFamily<Rates>>,
    /// Over the last minute; null where there was no request.
    pub(crate) latency: ByProtocol<Option<LatencyStats>>,
    /// Those that announced most in the last hour, the most frequent first.
    pub(crate) clients: Vec<ClientStats>,
    /// The largest swarms, the largest first; null where the operator does not allow it, and in
    /// private mode.
    #[schema(required)]
    pub(crate) largest: Option<Vec<SwarmStats>>,
    /// Of the map.
    pub(crate) map: MapStats,
    /// Since the start.
    #[serde(skip)]
    pub(crate) latencies: ByProtocol<Latencies>,
}

/// The announce interval without jitter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Interval {
    /// In force.
    pub(crate) now_secs: u32,
    /// Where it is going.
    pub(crate) goal_secs: u32,
    /// Never below.
    pub(crate) min_secs: u32,
    /// Never above.
    pub(crate) max_secs: u32,
    /// Why it is what it is, in a word.
    pub(crate) why: &'static str,
}

/// The load of the machine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LoadStats {
    /// Over 1, 5 and 15 minutes; null where the system does not tell.
    #[schema(required, value_type = Option<Vec<f64>>)]
    pub(crate) averages: Option<LoadAverages>,
    /// Above this the interval grows.
    pub(crate) max: f64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Memory {
    /// Of the whole process; null where the system does not tell.
    #[schema(required)]
    pub(crate) resident_bytes: Option<u64>,
    /// Of the swarms.
    pub(crate) swarms_bytes: u64,
}

/// Peers, by what they are and by family.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PeerStats {
    /// All.
    pub(crate) total: u64,
    /// Those with nothing left.
    pub(crate) seeders: ByFamily<u64>,
    /// All others.
    pub(crate) leechers: ByFamily<u64>,
}

/// What has expired.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ExpiredStats {
    /// Peers.
    pub(crate) peers: u64,
    /// Swarms.
    pub(crate) swarms: u64,
}

/// One for each protocol.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ByProtocol<T> {
    /// Over UDP.
    pub(crate) udp: T,
    /// Over HTTP.
    pub(crate) http: T,
}

/// One for each family of addresses.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ByFamily<T> {
    /// Over IPv4.
    pub(crate) ipv4: T,
    /// Over IPv6.
    pub(crate) ipv6: T,
}

/// Requests by kind.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Requests {
    /// UDP connection ids.
    pub(crate) connect: u64,
    /// Announces.
    pub(crate) announce: u64,
    /// Scrapes.
    pub(crate) scrape: u64,
}

/// Entries of the lists.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct ListSizes {
    /// Of the allow list; null without one.
    #[schema(required)]
    pub(crate) allowed: Option<u64>,
    /// Of the deny list.
    pub(crate) denied: u64,
}

/// What the pages have served.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
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
        pages: &Pages,
    ) -> Self {
        // A private tracker's swarms are not in the store that is gone through.
        let tells_largest = pages.largest_swarms && tracker.private().is_none();
        let start = Reading { at: clock.now(), ..Reading::default() };
        let history = Mutex::new(History::new(&start));
        Self {
            tracker,
            web: Arc::default(),
            locations: locations::Shared::default(),
            feed: Feed::default(),
            clock,
            started: clock.now(),
            failed,
            probe,
            workers,
            load: Mutex::default(),
            lists: Mutex::default(),
            expired_peers: AtomicU64::default(),
            expired_swarms: AtomicU64::default(),
            recent: Mutex::new(Recent::new(start.at)),
            history,
            clients: Mutex::new(Clients::new()),
            largest: tells_largest.then(|| Mutex::new(Largest::new())),
            latest: Mutex::default(),
            shared: OnceLock::new(),
            private: OnceLock::new(),
        }
    }

    /// Reads the load, for the statistics and the caller.
    pub(crate) fn read_load(&self) -> Option<LoadAverages> {
        let load = self.probe.load();
        *lock(&self.load) = load;
        load
    }

    /// Counts what has expired. By one thread alone.
    pub(crate) fn count_expired(&self, expired: &Expired) {
        self.expired_peers.fetch_add(expired.peers, Ordering::Relaxed);
        self.expired_swarms.fetch_add(expired.swarms, Ordering::Relaxed);
    }

    /// Takes note of lists that have come into force.
    pub(crate) fn set_lists(&self, access: &AccessList) {
        let allowed = access.allowed().map(|list| list.len() as u64);
        *lock(&self.lists) = ListSizes { allowed, denied: access.denied().len() as u64 };
    }

    /// Takes note of how things stand, for rates and history. By one thread, once a second.
    pub(crate) fn observe(&self) {
        let (at, tally, latencies) =
            (self.clock.now(), self.tracker.tally(), self.workers.latencies());
        let totals = self.tracker.swarms().totals();
        let members = self.tracker.private().map(Private::totals);
        let of_members = members.unwrap_or_default();
        let gauges = Gauges {
            seeders: totals.seeders_v4 + totals.seeders_v6 + of_members.seeders,
            leechers: totals.leechers_v4 + totals.leechers_v6 + of_members.leechers,
            swarms: totals.swarms + of_members.torrents,
            online: members.map(|members| members.online),
            load: lock(&self.load).map(|[minute, ..]| minute),
            resident_bytes: self.probe.resident_bytes(),
            interval_secs: self.tracker.interval_secs().0,
        };
        let both = latencies.udp.clone().and(&latencies.http);
        let credited = members.map(|members| members.credited);
        lock(&self.recent).add(at, &tally, &latencies, of_members.credited);
        lock(&self.history).add(&Reading { at, tally, latencies: both, gauges, credited });
        if let Some(largest) = &self.largest {
            lock(largest).go_on(self.tracker.swarms(), totals.swarms);
        }
    }

    /// Whether the largest swarms are told.
    pub(crate) fn tells_largest(&self) -> bool {
        self.largest.is_some()
    }

    /// Takes note of the clients of some announces.
    pub(crate) fn count_clients(&self, samples: &[Sample]) {
        let now = self.clock.now();
        let mut clients = lock(&self.clients);
        samples.iter().for_each(|sample| clients.add(now, sample.client, sample.weight));
    }

    /// What is remembered of the last minute, hour or day.
    pub(crate) fn history(&self, span: history::Span) -> history::Body {
        lock(&self.history).of(span)
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

    /// Whether the node knows what other nodes know; why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.shared.get().map_or(Ok(()), |shared| shared.ready(self.clock))
    }

    fn read(&self, now: Now) -> Stats {
        let totals = self.tracker.swarms().totals();
        let tally = self.tracker.tally();
        let latencies = self.workers.latencies();
        let recent = lock(&self.recent);
        let load = *lock(&self.load);
        let seeders = ByFamily { ipv4: totals.seeders_v4, ipv6: totals.seeders_v6 };
        let leechers = ByFamily { ipv4: totals.leechers_v4, ipv6: totals.leechers_v6 };
        Stats {
            version: env!("CARGO_PKG_VERSION"),
            failed: self.failed,
            started_at_secs: self.started.as_secs(),
            uptime_secs: now.since(self.started).as_secs(),
            interval: self.interval(load),
            load: LoadStats { averages: load, max: self.tracker.rules().interval.load_max },
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
            shared: self.shared.get().map(|shared| shared.stats(&self.tracker, self.clock)),
            private: self.private.get().and_then(|view| {
                PrivateStats::of(&self.tracker, view, recent.credited_per_sec(), now)
            }),
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
            locations: self.locations.status(),
            rates: recent.rates(),
            latency: recent.latency(&latencies),
            clients: lock(&self.clients).top(now),
            map: self.feed.stats(),
            largest: self.largest.as_ref().map(|largest| lock(largest).found()),
            latencies,
        }
    }

    fn interval(&self, load: Option<LoadAverages>) -> Interval {
        let (now_secs, goal_secs) = self.tracker.interval_secs();
        let limits = self.tracker.rules().interval;
        Interval {
            now_secs,
            goal_secs,
            min_secs: limits.min_secs,
            max_secs: limits.max_secs,
            why: self.tracker.interval_why(load).name(),
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
