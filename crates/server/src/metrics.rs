//! The statistics in the text form that Prometheus reads: the body of `/metrics`.
//!
//! Written here rather than by a crate: the counters live with the workers and are added up for
//! each reading, so a registry of metrics would only be filled in order to be written out at once.

use std::fmt::{Display, Write as _};

use crate::private::PrivateStats;
use crate::shared;
use crate::stats::{ByFamily, ByProtocol, DatagramStats, Requests, Stats, StreamStats};

/// The type of the body.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The statistics as text.
pub(crate) fn text(stats: &Stats) -> String {
    let mut page = Page(String::new());
    process(&mut page, stats);
    swarms(&mut page, stats);
    requests(&mut page, stats);
    traffic(&mut page, stats);
    latencies(&mut page, stats);
    if let Some(stats) = &stats.shared {
        shared(&mut page, stats);
    }
    if let Some(stats) = &stats.private {
        private(&mut page, stats);
    }
    page.0
}

/// The text so far.
struct Page(String);

/// What a metric is.
#[derive(Clone, Copy)]
enum Kind {
    /// It only grows, from zero at the start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many were at most so much, for several such bounds, their number and their sum.
    Histogram,
}

impl Page {
    /// Begins the metric `name`. Its samples follow.
    fn metric<'a>(&'a mut self, kind: Kind, name: &'a str, help: &str) -> Samples<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(self.0, "# HELP peerage_{name} {help}\n# TYPE peerage_{name} {kind}")
            .expect("a String takes any text");
        Samples { text: &mut self.0, name }
    }

    /// A metric of one sample without labels.
    fn single(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.metric(kind, name, help).add(&[], value);
    }
}

/// The samples of one metric.
struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Samples<'_> {
    /// Adds a sample. The labels' values are ours and need no escapes.
    fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.add_part("", labels, value);
    }

    /// Adds a sample of a part of the metric, named by what is appended to its name.
    fn add_part(&mut self, part: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        writeln!(self.text, "peerage_{}{part}{labels} {value}", self.name)
            .expect("a String takes any text");
    }

    fn add_families(&mut self, label: (&str, &str), values: &ByFamily<u64>) {
        self.add(&[label, ("family", "ipv4")], values.ipv4);
        self.add(&[label, ("family", "ipv6")], values.ipv6);
    }
}

fn process(page: &mut Page, stats: &Stats) {
    page.metric(Kind::Gauge, "info", "The program, by version.")
        .add(&[("version", stats.version)], 1);
    page.single(Kind::Gauge, "uptime_seconds", "Time since the start.", stats.uptime_secs);
    page.single(Kind::Gauge, "failed", "Crashes before this start.", stats.failed);
    if let Some(bytes) = stats.memory.resident_bytes {
        page.single(Kind::Gauge, "resident_bytes", "Memory of the process.", bytes);
    }
    let swarms_bytes = stats.memory.swarms_bytes;
    page.single(Kind::Gauge, "swarms_bytes", "Memory of the swarms.", swarms_bytes);
    if let Some(averages) = stats.load.averages {
        let mut samples = page.metric(Kind::Gauge, "load", "Load average of the machine.");
        for (minutes, load) in ["1", "5", "15"].into_iter().zip(averages) {
            samples.add(&[("minutes", minutes)], load);
        }
    }
    let load_max = stats.load.max;
    page.single(Kind::Gauge, "load_max", "Load average above which the interval grows.", load_max);
}

fn swarms(page: &mut Page, stats: &Stats) {
    let interval = &stats.interval;
    page.single(Kind::Gauge, "interval_seconds", "Announce interval in force.", interval.now_secs);
    let goal = interval.goal_secs;
    page.single(Kind::Gauge, "interval_goal_seconds", "Announce interval to come.", goal);
    page.single(Kind::Gauge, "swarms", "Swarms.", stats.swarms);
    let mut peers = page.metric(Kind::Gauge, "peers", "Peers.");
    peers.add_families(("role", "seeder"), &stats.peers.seeders);
    peers.add_families(("role", "leecher"), &stats.peers.leechers);
    page.single(Kind::Gauge, "completed", "Times the swarms were completed.", stats.completed);
    let expired = &stats.expired;
    page.single(Kind::Counter, "expired_peers_total", "Peers not heard from.", expired.peers);
    page.single(Kind::Counter, "expired_swarms_total", "Swarms dropped.", expired.swarms);
}

fn requests(page: &mut Page, stats: &Stats) {
    let mut samples =
        page.metric(Kind::Counter, "requests_total", "Requests, those refused included.");
    for (protocol, families) in protocols(&stats.requests) {
        for (family, requests) in [("ipv4", &families.ipv4), ("ipv6", &families.ipv6)] {
            for (kind, count) in kinds(requests) {
                let labels = [("protocol", protocol), ("family", family), ("kind", kind)];
                samples.add(&labels, count);
            }
        }
    }
    let mut samples =
        page.metric(Kind::Counter, "refusals_total", "Replies with a failure reason.");
    for (protocol, refusals) in protocols(&stats.refusals) {
        for (reason, count) in refusals {
            samples.add(&[("protocol", protocol), ("reason", reason)], count);
        }
    }
    let help = "Announces whose peer was not stored because a bound was reached.";
    page.single(Kind::Counter, "not_stored_total", help, stats.not_stored);
}

fn protocols<T>(of: &ByProtocol<T>) -> [(&'static str, &T); 2] {
    [("udp", &of.udp), ("http", &of.http)]
}

fn kinds(requests: &Requests) -> [(&'static str, u64); 3] {
    [("connect", requests.connect), ("announce", requests.announce), ("scrape", requests.scrape)]
}

fn shared(page: &mut Page, stats: &shared::Stats) {
    let gauges = [
        ("shared_connected", "Whether all of Redis is connected.", u64::from(stats.connected)),
        ("shared_nodes", "Nodes that live, this one included.", stats.nodes.into()),
        ("shared_waiting_swarms", "Swarms with something untold.", stats.waiting_swarms),
        ("shared_waiting_changes", "Peers with something untold.", stats.waiting_changes),
        ("shared_cold_swarms", "Swarms whose first announce waits.", stats.cold_swarms),
        ("shared_catching_up", "Parts of the store to be told again.", stats.catching_up.into()),
        ("shared_trip_microseconds", "What the last pipeline took.", stats.trip_micros),
        (
            "shared_silent_milliseconds",
            "Time since Redis last answered.",
            stats.silent_millis.unwrap_or(u64::MAX),
        ),
    ];
    for (name, help, value) in gauges {
        page.single(Kind::Gauge, name, help, value);
    }
    let help = "Changes that found no room.";
    page.single(Kind::Counter, "shared_dropped_changes_total", help, stats.dropped_changes);
    let help = "Messages of other nodes that did not arrive; what they said was asked about.";
    page.single(Kind::Counter, "shared_messages_missed_total", help, stats.missed_messages);
    for (name, help, count) in &stats.counters {
        let name = format!("shared_{name}_total");
        page.single(Kind::Counter, &name, help, count);
    }
    if let Some(members) = &stats.members {
        shared_members(page, members);
    }
}

fn shared_members(page: &mut Page, stats: &shared::MembersStats) {
    let claims = "Announces of members that are not told yet.";
    page.single(Kind::Gauge, "shared_waiting_claims", claims, stats.waiting_claims);
    let help = "Swarms of members that are to be asked about.";
    page.single(Kind::Gauge, "shared_waiting_member_swarms", help, stats.waiting_swarms);
    let help = "Parts of the torrents to be told again.";
    page.single(Kind::Gauge, "shared_members_catching_up", help, stats.catching_up);
    let help = "Announces of members that found no room.";
    page.single(Kind::Counter, "shared_dropped_claims_total", help, stats.dropped_claims);
    let help = "Announces of members after which others were told before.";
    page.single(Kind::Counter, "shared_late_claims_total", help, stats.late_claims);
    let Some(updates) = &stats.updates else { return };
    let help = "Updates of the site that other nodes are not told yet.";
    page.single(Kind::Gauge, "shared_waiting_updates", help, updates.waiting);
    for (name, help, count) in [
        ("shared_updates_sent_total", "Updates told to other nodes.", updates.sent),
        ("shared_updates_received_total", "Updates other nodes were told.", updates.heard),
        ("shared_updates_dropped_total", "Updates that found no room.", updates.dropped),
        ("shared_updates_missed_total", "Reads of the tables for updates.", updates.missed),
    ] {
        page.single(Kind::Counter, name, help, count);
    }
}

fn private(page: &mut Page, stats: &PrivateStats) {
    let database = &stats.database;
    let gauges = [
        ("members", "Members who may announce.", stats.members),
        ("members_online", "Members who have a peer.", stats.online),
        ("torrents", "Torrents that may be announced.", stats.torrents),
        ("tokens", "Tokens in use.", stats.tokens),
        ("member_seeders", "Peers of members with nothing left.", stats.seeders),
        ("member_leechers", "All other peers of members.", stats.leechers),
        ("ledger_rows", "Rows that wait to be written.", stats.rows_waiting),
        ("ledger_oldest_seconds", "How long the oldest waits.", stats.oldest_row_secs),
        ("ledger_failures", "Tries to write in a row that failed.", database.failures),
    ];
    for (name, help, value) in gauges {
        page.single(Kind::Gauge, name, help, value);
    }
    let help = "Rows of peers that found no room among those that wait.";
    let mut samples = page.metric(Kind::Counter, "ledger_left_out_total", help);
    let left_out = &stats.rows_left_out;
    samples.add(&[("peer", "gone")], left_out.gone);
    samples.add(&[("peer", "changed")], left_out.changed);
    samples.add(&[("peer", "seen")], left_out.seen);
    let counters = [
        ("credited_upload_bytes_total", "Bytes credited to members.", stats.credited.uploaded),
        ("charged_download_bytes_total", "Bytes charged to members.", stats.credited.downloaded),
        ("ledger_rows_written_total", "Rows written.", stats.rows_written),
        ("ledger_rows_refused_total", "Rows the database refused.", database.rows_refused),
    ];
    for (name, help, value) in counters {
        page.single(Kind::Counter, name, help, value);
    }
}

fn traffic(page: &mut Page, stats: &Stats) {
    by_family(page, stats);
    let (udp, http, pages, map) = (&stats.udp, &stats.http, &stats.pages, &stats.map);
    let mut samples = page.metric(Kind::Counter, "http_replies_total", "Replies by status code.");
    for (code, count) in &http.replies {
        samples.add(&[("code", &code.to_string())], count);
    }
    let counters = [
        ("udp_malformed_total", "Datagrams that were no request.", udp.malformed),
        ("udp_bad_connection_ids_total", "Connection ids not valid.", udp.bad_connection_ids),
        ("http_malformed_total", "Requests that could not be read.", http.malformed),
        ("http_refused_total", "Connections told to come later.", http.refused),
        ("http_handed_over_total", "Connections handed over to the pages.", http.handed_over),
        ("http_timed_out_total", "Connections closed as too slow.", http.timed_out),
        ("http_idle_closed_total", "Connections closed as idle.", http.idle_closed),
        ("http_accept_failures_total", "Times that accepting failed.", http.accept_failures),
        ("http_bad_proxy_headers_total", "PROXY headers missing or wrong.", http.bad_proxy_headers),
        ("pages_requests_total", "Requests for pages.", pages.requests),
        ("map_dropped_viewers_total", "Viewers dropped: they did not read.", map.dropped_viewers),
        ("map_points_total", "Points in frames of the map.", map.points_sent),
        ("pages_turned_away_total", "Connections for pages refused.", pages.turned_away),
    ];
    for (name, help, count) in counters {
        page.single(Kind::Counter, name, help, count);
    }
    page.single(Kind::Gauge, "http_open", "Connections open.", http.open);
    page.single(Kind::Gauge, "map_viewers", "Viewers of the map.", map.viewers);
    page.single(Kind::Gauge, "pages_open", "Connections open for pages.", pages.open);
}

fn latencies(page: &mut Page, stats: &Stats) {
    let help = "From a request being read to its reply being sent, of one batch in eight.";
    let mut samples = page.metric(Kind::Histogram, "reply_seconds", help);
    for (protocol, latencies) in protocols(&stats.latencies) {
        let label = ("protocol", protocol);
        for (secs, below) in latencies.below() {
            samples.add_part("_bucket", &[label, ("le", &secs.to_string())], below);
        }
        let count = latencies.count();
        samples.add_part("_bucket", &[label, ("le", "+Inf")], count);
        samples.add_part("_sum", &[label], latencies.sum_secs());
        samples.add_part("_count", &[label], count);
    }
}

fn by_family(page: &mut Page, stats: &Stats) {
    let (udp, http) = (&stats.udp, &stats.http);
    let pair =
        |of: fn(&DatagramStats) -> u64| ByFamily { ipv4: of(&udp.ipv4), ipv6: of(&udp.ipv6) };
    let mut samples = page.metric(Kind::Counter, "udp_datagrams_total", "Datagrams.");
    samples.add_families(("direction", "in"), &pair(|udp| udp.datagrams_in));
    samples.add_families(("direction", "out"), &pair(|udp| udp.datagrams_out));
    let mut samples = page.metric(Kind::Counter, "udp_bytes_total", "Bytes of datagrams.");
    samples.add_families(("direction", "in"), &pair(|udp| udp.bytes_in));
    samples.add_families(("direction", "out"), &pair(|udp| udp.bytes_out));
    let mut samples = page.metric(Kind::Counter, "udp_lost_total", "Datagrams lost, by cause.");
    samples.add_families(("cause", "kernel_drop"), &pair(|udp| udp.kernel_drops));
    samples.add_families(("cause", "truncated"), &pair(|udp| udp.truncated));
    samples.add_families(("cause", "send_failure"), &pair(|udp| udp.send_failures));
    samples.add_families(("cause", "receive_failure"), &pair(|udp| udp.receive_failures));

    let pair =
        |of: fn(&StreamStats) -> u64| ByFamily { ipv4: of(&http.ipv4), ipv6: of(&http.ipv6) };
    let mut samples = page.metric(Kind::Counter, "http_bytes_total", "Bytes of HTTP.");
    samples.add_families(("direction", "in"), &pair(|http| http.bytes_in));
    samples.add_families(("direction", "out"), &pair(|http| http.bytes_out));
    let mut samples = page.metric(Kind::Counter, "http_accepted_total", "Connections accepted.");
    samples.add_families(("protocol", "http"), &pair(|http| http.accepted));
}
