//! The configuration as used: what the values of a [`Config`] mean together, on this machine.
//!
//! What is `"auto"` is worked out here, and settings that contradict each other are refused here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peerage_tracker::{AccessList, IntervalLimits, Limits, PeerIds, Rules};

use crate::config::value::{BindAddress, LogFormat, LogLevel, Whole};
use crate::config::{Config, ConfigError};
use crate::{http, private, shared, udp};

/// The configuration as used.
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: Listen,
    /// The rules without their lists, see [`Settings::rules`].
    rules: Rules,
    /// The bounds of the store.
    pub(crate) limits: Limits,
    /// Whether peer_ids are kept.
    pub(crate) peer_ids: PeerIds,
    /// How often the swarms are written to a file; `None` for never.
    pub(crate) snapshot_interval: Option<Duration>,
    /// The files of the lists.
    pub(crate) lists: ListFiles,
    /// Whether there is an allow list in force; `None` where there is one if it has an entry.
    pub(crate) only_allowed: Option<bool>,
    /// For the UDP workers.
    pub(crate) udp: udp::Settings,
    /// Of connection ids.
    pub(crate) connections: Connections,
    /// For the HTTP workers.
    pub(crate) http: http::Settings,
    /// How long HTTP connections are waited for; changed by a reload.
    pub(crate) waits: Arc<http::Waits>,
    /// For the answers to announces and scrapes over HTTP.
    pub(crate) answers: Arc<peerage_tracker::http::Settings>,
    /// For the pages.
    pub(crate) pages: Pages,
    /// The location files.
    pub(crate) locations: LocationFiles,
    /// With whom swarms are shared; `None` for nobody.
    pub(crate) shared: Option<shared::Settings>,
    /// What is logged.
    pub(crate) log: Log,
    /// The process and its rights.
    pub(crate) process: Process,
    /// Of private mode; `None` where the tracker is open.
    pub(crate) private: Option<private::Settings>,
}

/// Where to listen.
pub(crate) struct Listen {
    /// The addresses, at least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether the addresses are the operator's, so that each has to be bound.
    pub(crate) addresses_given: bool,
    /// Whether HTTP is served.
    pub(crate) tcp: bool,
    /// Whether UDP is served. One of both is.
    pub(crate) udp: bool,
    /// Threads of each protocol, at least 1.
    pub(crate) workers: usize,
}

/// The files of the lists; `None` where there is no such list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListFiles {
    /// What alone is tracked.
    pub(crate) allow: Option<PathBuf>,
    /// What is not tracked.
    pub(crate) deny: Option<PathBuf>,
}

/// Of UDP connection ids.
pub(crate) struct Connections {
    /// How long one is valid.
    pub(crate) lifetime: Duration,
    /// The operator's secret.
    pub(crate) key: Option<[u8; 16]>,
}

/// The location files.
#[derive(Clone, Debug)]
pub(crate) struct LocationFiles {
    /// Whether they are read: there are pages to show a map, and the operator wants it.
    pub(crate) wanted: bool,
    /// Those named. Without any they are looked for.
    pub(crate) files: Vec<PathBuf>,
}

/// For the pages.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// Of their `Content-Type`; empty for none.
    pub(crate) charset: String,
    /// The language they are in, whatever the browser asks for.
    pub(crate) locale: Option<String>,
    /// Whether there is a map.
    pub(crate) map: bool,
    /// Whether the tracker is for members alone.
    pub(crate) private: bool,
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// How long a client may take from one request to the end of the next.
    pub(crate) waits: Arc<http::Waits>,
    /// Most bytes of a request's head.
    pub(crate) head_bytes_max: usize,
    /// Whether the largest swarms are told.
    pub(crate) largest_swarms: bool,
    /// Most viewers of the map at once.
    pub(crate) viewers_max: usize,
}

/// What is logged.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    /// The least important lines.
    pub(crate) level: LogLevel,
    /// How a line looks.
    pub(crate) format: LogFormat,
}

/// The process and its rights.
pub(crate) struct Process {
    /// Where things are kept over a restart.
    pub(crate) data_dir: Option<PathBuf>,
    /// The folder that becomes the root.
    pub(crate) chroot: Option<PathBuf>,
    /// The user to become.
    pub(crate) user: Option<String>,
    /// Most open files.
    pub(crate) nofile: Rlimit,
    /// Most bytes of a core dump.
    pub(crate) core: Rlimit,
    /// Crashes before this start.
    pub(crate) failed: u64,
}

/// What a soft limit of the process is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rlimit {
    /// Left as it is.
    Unchanged,
    /// The hard limit.
    Hard,
    /// This, if the hard limit allows it.
    Is(u64),
}

impl Settings {
    /// Works out what `config` means on a machine with `cpus` CPUs.
    pub(crate) fn new(config: &Config, cpus: usize) -> Result<Self, ConfigError> {
        let values = &config.values;
        let rules = rules(config, cpus)?;
        let limits = limits(config, &rules)?;
        let private = private::Settings::new(config, limits.peer_timeout)?;
        let site = private.as_ref().is_some_and(|private| private.gazelle.is_some());
        let http = http::Settings { site, ..http_settings(config) };
        let waits = Arc::new(http::Waits::new(&http));
        Ok(Self {
            listen: listen(config, cpus)?,
            shared: shared::Settings::of(config, promised_secs(&rules), limits.peer_timeout)?,
            limits,
            rules,
            peer_ids: if values.swarm.peer_ids { PeerIds::Kept } else { PeerIds::Dropped },
            snapshot_interval: Some(Duration::from_secs(values.swarm.snapshot_interval.0))
                .filter(|interval| !interval.is_zero()),
            lists: ListFiles {
                allow: values.access.allow.clone(),
                deny: values.access.deny.clone(),
            },
            only_allowed: values.access.only_allowed.given(),
            udp: udp_settings(config),
            connections: Connections {
                lifetime: Duration::from_secs(values.udp.connection_id_lifetime.0),
                key: values.udp.connection_key.0,
            },
            http,
            answers: Arc::new(answers(config)?),
            pages: pages(config, Arc::clone(&waits))?,
            locations: LocationFiles {
                wanted: values.listen.tcp && values.pages.locations,
                files: values.pages.location_files.0.clone(),
            },
            waits,
            log: Log { level: values.log.level, format: values.log.format },
            process: process(config),
            private,
        })
    }

    /// Takes over from `newer` what a reload may change.
    pub(crate) fn take_reloadable(&mut self, newer: Self) {
        self.rules = newer.rules;
        self.lists = newer.lists;
        self.only_allowed = newer.only_allowed;
        self.waits.set(&newer.http);
        self.limits.peer_timeout = newer.limits.peer_timeout;
        self.locations = newer.locations;
        if let Some((private, newer)) = self.private.as_mut().zip(newer.private) {
            private.terms.pricing = newer.terms.pricing;
            private.terms.double_upload = newer.terms.double_upload;
        }
    }

    /// The rules with the lists in force.
    pub(crate) fn rules(&self, access: Arc<AccessList>) -> Rules {
        Rules { access, ..self.rules.clone() }
    }
}

fn listen(config: &Config, cpus: usize) -> Result<Listen, ConfigError> {
    let values = &config.values.listen;
    if !values.tcp && !values.udp {
        let right = "true, as listen.tcp is false: one of both has to be";
        return Err(config.wrong("listen.udp", right.into()));
    }
    if values.bind.0.is_empty() {
        return Err(config.wrong("listen.bind", "a list of at least one address".into()));
    }
    let port = values.port.to();
    let address = |bind: &BindAddress| SocketAddr::new(bind.ip, bind.port.unwrap_or(port));
    Ok(Listen {
        addresses: values.bind.0.iter().map(address).collect(),
        addresses_given: config.is_set("listen.bind"),
        tcp: values.tcp,
        udp: values.udp,
        workers: values.workers.given().map_or(cpus.clamp(1, 1024), Whole::to),
    })
}

/// etracker's bounds of the interval, in seconds.
const MIN_INTERVAL_SECS: u64 = 239;
const MAX_INTERVAL_SECS: u64 = 1799;

/// The bounds give way to what the operator says; what the operator says has to fit together.
fn interval(config: &Config, cpus: usize) -> Result<IntervalLimits, ConfigError> {
    let values = &config.values.announce;
    let start = values.interval.given().map(|secs| secs.0);
    let min = values.min_interval.given().map(|secs| secs.0);
    let max = values.max_interval.given().map(|secs| secs.0);
    let least = |of: [Option<u64>; 2], default| of.into_iter().flatten().fold(default, u64::min);
    let most = |of: [Option<u64>; 2], default| of.into_iter().flatten().fold(default, u64::max);
    let min_secs = min.unwrap_or_else(|| least([start, max], MIN_INTERVAL_SECS));
    let max_secs = max.unwrap_or_else(|| most([start, min], MAX_INTERVAL_SECS));
    if max_secs < min_secs {
        let right = format!("at least announce.min_interval ({min_secs}s)");
        return Err(config.wrong("announce.max_interval", right));
    }
    let start_secs = start.unwrap_or(MAX_INTERVAL_SECS.clamp(min_secs, max_secs));
    if !(min_secs..=max_secs).contains(&start_secs) {
        let right = format!(
            "from announce.min_interval ({min_secs}s) to announce.max_interval ({max_secs}s)"
        );
        return Err(config.wrong("announce.interval", right));
    }
    let load_max = values.load_max.given().map_or(cpus as f64 - 0.5, |load| load.0);
    Ok(IntervalLimits {
        start_secs: secs_u32(start_secs),
        min_secs: secs_u32(min_secs),
        max_secs: secs_u32(max_secs),
        load_max,
    })
}

fn rules(config: &Config, cpus: usize) -> Result<Rules, ConfigError> {
    let values = &config.values.announce;
    let interval = interval(config, cpus)?;
    let client_min = values.client_min_interval.given();
    Ok(Rules {
        peers_per_response_max: values.peers_per_response_max.to(),
        numwant_default: values.numwant_default.to(),
        interval,
        min_interval_secs: client_min.map_or(interval.min_secs, |secs| secs_u32(secs.0)),
        jitter_secs: secs_u32(values.jitter.0),
        full_scrape: values.full_scrape,
        scrape_hashes_max: values.scrape_hashes_max.to(),
        keep_alive: config.values.http.keep_alive,
        claims_from: values.claims_from.0.as_slice().into(),
        access: Arc::default(),
    })
}

/// Seconds of a setting, each of which is bounded to far less than 2^32.
fn secs_u32(secs: u64) -> u32 {
    u32::try_from(secs).expect("the types of the settings bound it")
}

/// The longest time a peer is kept without news of it.
const PEER_TIMEOUT_SECS_MAX: u64 = 7200;

/// The longest interval a client may be told, in seconds.
fn promised_secs(rules: &Rules) -> u64 {
    u64::from(rules.interval.max_secs) + u64::from(rules.jitter_secs)
}

fn limits(config: &Config, rules: &Rules) -> Result<Limits, ConfigError> {
    let values = &config.values.swarm;
    let promised_secs = promised_secs(rules);
    let auto_secs = (promised_secs + promised_secs / 2 + 60).min(PEER_TIMEOUT_SECS_MAX);
    let given = config.values.announce.peer_timeout.given();
    let timeout_secs = given.map_or(auto_secs, |secs| secs.0);
    if timeout_secs <= promised_secs {
        let right = format!(
            "more than {promised_secs}s, announce.max_interval and announce.jitter together, or \
             peers are dropped before they announce again"
        );
        return Err(config.wrong("announce.peer_timeout", right));
    }
    Ok(Limits {
        swarms_max: values.swarms_max.to(),
        peers_max: values.peers_max.to(),
        peers_per_swarm_max: values.peers_per_swarm_max.to(),
        peers_per_address_max: values.peers_per_address_max.to(),
        peer_timeout: Duration::from_secs(timeout_secs),
        completed_kept: Duration::from_secs(values.completed_kept.0),
    })
}

fn udp_settings(config: &Config) -> udp::Settings {
    let values = &config.values.udp;
    udp::Settings {
        receive_buffer_bytes: values.receive_buffer.0,
        send_buffer_bytes: values.send_buffer.0,
    }
}

fn answers(config: &Config) -> Result<peerage_tracker::http::Settings, ConfigError> {
    let values = &config.values.http;
    let header = &values.forwarded_header;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !header.bytes().all(token) {
        let right = "the name of a header such as \"X-Forwarded-For\", or \"\" for none";
        return Err(config.wrong("http.forwarded_header", right.into()));
    }
    let scrape_interval_secs = secs_u32(values.scrape_interval.0);
    Ok(peerage_tracker::http::Settings {
        forwarded_header: (!header.is_empty()).then(|| header.clone()),
        trusted_proxies: values.trusted_proxies.0.clone(),
        external_ip: values.external_ip,
        scrape_interval_secs: (scrape_interval_secs > 0).then_some(scrape_interval_secs),
    })
}

fn http_settings(config: &Config) -> http::Settings {
    let values = &config.values.http;
    http::Settings {
        backlog: config.values.listen.backlog.to(),
        connections_max: values.connections_max.to(),
        timeout: Duration::from_secs(values.timeout.0),
        idle_timeout: Duration::from_secs(values.idle_timeout.0),
        head_bytes_max: values.head_bytes_max.0 as usize,
        proxied: match values.proxy_protocol {
            true => http::Proxied::From(values.trusted_proxies.0.clone()),
            false => http::Proxied::Nobody,
        },
        site: false,
    }
}

fn pages(config: &Config, waits: Arc<http::Waits>) -> Result<Pages, ConfigError> {
    let values = &config.values;
    let charset = values.pages.charset.clone();
    if !charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) {
        let right = "the name of a charset such as \"utf-8\", or \"\" for none";
        return Err(config.wrong("pages.charset", right.into()));
    }
    Ok(Pages {
        charset,
        locale: Some(values.pages.locale.clone()).filter(|locale| !locale.is_empty()),
        map: values.pages.locations,
        private: values.private.enabled,
        connections_max: values.http.pages_connections_max.to(),
        waits,
        head_bytes_max: values.http.head_bytes_max.0 as usize,
        largest_swarms: values.pages.largest_swarms,
        viewers_max: values.pages.viewers_max.to(),
    })
}

fn process(config: &Config) -> Process {
    let values = &config.values.process;
    let rlimit = |number: i64| match number {
        0 => Rlimit::Unchanged,
        number => u64::try_from(number).map_or(Rlimit::Hard, Rlimit::Is),
    };
    Process {
        data_dir: values.data_dir.clone(),
        chroot: values.chroot.clone(),
        user: (!values.user.is_empty()).then(|| values.user.clone()),
        nofile: rlimit(values.nofile.0),
        core: rlimit(values.core.0),
        failed: values.failed.to(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// Settings on a machine of two CPUs, from lines such as `ANNOUNCE__INTERVAL=1`.
    fn settings(lines: &str) -> Result<Settings, String> {
        let variable = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            (format!("PEERAGE__{name}").into(), value.into())
        };
        let environment = lines.split_whitespace().map(variable).collect();
        let sources = Sources { environment, ..Sources::default() };
        let config = Config::load(&sources).map_err(|errors| format!("{errors:?}"))?;
        Settings::new(&config, 2).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_interval(lines: &str, start: u32, min: u32, max: u32) {
        let interval = settings(lines).unwrap().rules.interval;
        let found = (interval.start_secs, interval.min_secs, interval.max_secs);
        assert_eq!(found, (start, min, max), "{lines}");
    }

    #[track_caller]
    fn check_error(lines: &str, error: &str) {
        assert_eq!(settings(lines).err().as_deref(), Some(error), "{lines}");
    }

    #[test]
    fn bounds_of_the_interval_give_way_to_what_is_given() {
        check_interval("", 1799, 239, 1799);
        check_interval("ANNOUNCE__INTERVAL=60", 60, 60, 1799);
        check_interval("ANNOUNCE__INTERVAL=1h", 3600, 239, 3600);
        check_interval("ANNOUNCE__MAX_INTERVAL=10", 10, 10, 10);
        check_interval("ANNOUNCE__MIN_INTERVAL=1900", 1900, 1900, 1900);
        check_interval("ANNOUNCE__MIN_INTERVAL=60 ANNOUNCE__MAX_INTERVAL=120", 120, 60, 120);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        check_error(
            "ANNOUNCE__MIN_INTERVAL=600 ANNOUNCE__MAX_INTERVAL=300",
            "PEERAGE__ANNOUNCE__MAX_INTERVAL: announce.max_interval = \"5m\": must be at least \
             announce.min_interval (600s)",
        );
        check_error(
            "ANNOUNCE__INTERVAL=5 ANNOUNCE__MIN_INTERVAL=60",
            "PEERAGE__ANNOUNCE__INTERVAL: announce.interval = \"5s\": must be from \
             announce.min_interval (60s) to announce.max_interval (1799s)",
        );
        check_error(
            "ANNOUNCE__PEER_TIMEOUT=1859",
            "PEERAGE__ANNOUNCE__PEER_TIMEOUT: announce.peer_timeout = \"1859s\": must be more than \
             1859s, announce.max_interval and announce.jitter together, or peers are dropped \
             before they announce again",
        );
        check_error(
            "LISTEN__TCP=false LISTEN__UDP=false",
            "PEERAGE__LISTEN__UDP: listen.udp = false: must be true, as listen.tcp is false: one \
             of both has to be",
        );
        check_error(
            "HTTP__FORWARDED_HEADER=X:Y",
            "PEERAGE__HTTP__FORWARDED_HEADER: http.forwarded_header = \"X:Y\": must be the name of \
             a header such as \"X-Forwarded-For\", or \"\" for none",
        );
    }

    #[test]
    fn peer_outlives_the_longest_interval_it_may_be_told() {
        assert_eq!(settings("").unwrap().limits.peer_timeout.as_secs(), 1859 + 929 + 60);
        let settings = settings("ANNOUNCE__MAX_INTERVAL=7000 ANNOUNCE__JITTER=0").unwrap();
        assert_eq!(settings.limits.peer_timeout.as_secs(), 7200);
    }

    #[test]
    fn address_with_a_port_of_its_own_keeps_it() {
        let settings = settings("LISTEN__PORT=80 LISTEN__BIND=::1,127.0.0.1:81").unwrap();
        let addresses: Vec<String> =
            settings.listen.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["[::1]:80", "127.0.0.1:81"]);
        assert!(settings.listen.addresses_given);
    }

    #[test]
    fn what_is_auto_is_worked_out_from_the_machine() {
        let settings = settings("").unwrap();
        assert_eq!(settings.listen.workers, 2);
        assert!((settings.rules.interval.load_max - 1.5).abs() < 1e-9);
    }
}
