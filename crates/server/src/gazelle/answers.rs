//! What the site's requests are answered with: updates followed, reports put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{UsageWho, getrusage};
use peerage_proto::gazelle::{
    Failure, MemberReport, Queued, Report, Request, SUCCESS, Stats, Style, TorrentReport, Usage,
    Word,
};
use peerage_tracker::gazelle::{self, Followed};
use peerage_tracker::private::Private;
use serde_json::{Value, json};

use super::calls::Calls;
use super::site::{Answer, Counts, now_secs};
use super::updates::Updates;
use crate::private::Jobs;
use crate::stats::Source;

/// Answers a site.
pub(crate) struct Answers {
    source: Arc<Source>,
    updates: Arc<Updates>,
    style: Style,
    counts: Arc<Counts>,
    jobs: Jobs,
    calls: Option<Arc<Calls>>,
    /// The most connections that were open whenever figures were asked for.
    open_max: AtomicU64,
}

impl Answers {
    /// Answers with figures from `source`; `style` is how reports are written.
    pub(crate) fn new(
        source: Arc<Source>,
        updates: Arc<Updates>,
        style: Style,
        counts: Arc<Counts>,
        jobs: Jobs,
        calls: Option<Arc<Calls>>,
    ) -> Self {
        let open_max = AtomicU64::new(0);
        Self { source, updates, style, counts, jobs, calls, open_max }
    }

    fn private(&self) -> &Private {
        self.source.tracker.private().expect("a site has members")
    }

    /// Follows an update. The site is told `success` whatever comes of it: Ocelot says nothing
    /// else, and PHP that hears anything else asks again.
    fn update(&self, query: &[u8]) -> Vec<u8> {
        match (self.updates.take(query), self.style) {
            (Some(Followed::Info(info_hash, known)), Style::Json) => {
                let mut body = Vec::new();
                TorrentReport::write_info(&info_hash, known, &mut body);
                body
            }
            _ => SUCCESS.to_vec(),
        }
    }

    async fn report(&self, report: Report<'_>) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        match report {
            Report::Stats => self.with_stats(|stats| stats.write(self.style, &mut body)),
            Report::PromStats => self.with_stats(|stats| stats.write_prometheus(&mut body)),
            Report::Jemalloc => body.extend_from_slice(b"This tracker does not use jemalloc.\n"),
            Report::User(key) => match (self.member(key), self.style) {
                (Ok(report), style) => report.write(style, &mut body),
                (Err(failure), Style::Json) => return Err(failure),
                (Err(Failure::KeyMissing), Style::Text) => {
                    body.extend_from_slice(b"Invalid action\nsuccess");
                }
                (Err(_), Style::Text) => body.extend_from_slice(SUCCESS),
            },
            Report::Torrent(info_hash) => {
                let of = |hash| gazelle::torrent_report(self.private(), &hash);
                let report = info_hash.and_then(of).ok_or(Failure::UnregisteredTorrent)?;
                report.write(&mut body);
            }
            Report::Check => body = self.check().await.into_bytes(),
            Report::Unknown => match self.style {
                Style::Json => return Err(Failure::UnknownReport),
                Style::Text => body.extend_from_slice(b"Invalid action\nsuccess"),
            },
        }
        Ok(body)
    }

    fn member(&self, key: Option<&[u8]>) -> Result<MemberReport, Failure> {
        let key = key.ok_or(Failure::KeyMissing)?;
        gazelle::member_report(self.private(), key).ok_or(Failure::KeyNotFound)
    }

    /// Puts the figures together.
    fn with_stats(&self, write: impl FnOnce(&Stats<'_>)) {
        let stats = self.source.stats();
        let totals = self.private().totals();
        let tracker = &self.source.tracker;
        let queued = self.private().ledger().queued();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let refused = |names: &[&str]| -> u64 {
            let both = [&stats.refusals.udp, &stats.refusals.http];
            let of = |name: &&str| both.iter().filter_map(|all| all.get(*name)).sum::<u64>();
            names.iter().map(of).sum()
        };
        let requests =
            [&stats.requests.udp, &stats.requests.http].map(|one| [&one.ipv4, &one.ipv6]);
        let requests = requests.as_flattened();
        let announces: u64 = requests.iter().map(|one| one.announce).sum();
        let scrapes = requests.iter().map(|one| one.scrape).sum();
        let clients = refused(&["not_compact", "no_peer_id", "invalid_peer_id"])
            + refused(&["client_not_allowed"]);
        let announces_refused =
            clients + refused(&["passkey_unknown", "unregistered", "leech_forbidden", "malformed"]);
        let streams = [&stats.http.ipv4, &stats.http.ipv6];
        let datagrams = [&stats.udp.ipv4, &stats.udp.ipv6];
        let opened: u64 = streams.iter().map(|one| one.accepted).sum();
        let rates = [&stats.rates.udp, &stats.rates.http].map(|one| [&one.ipv4, &one.ipv6]);
        let rate: f64 =
            rates.as_flattened().iter().map(|one| one.connect + one.announce + one.scrape).sum();
        let uptime = stats.uptime_secs.max(1);
        self.open_max.fetch_max(stats.http.open, Ordering::Relaxed);
        write(&Stats {
            version: concat!("Peerage ", env!("CARGO_PKG_VERSION")),
            connections_opened: opened,
            open_connections: stats.http.open,
            peak_connections: count(&self.open_max),
            connections_per_sec: opened / uptime,
            requests: announces + scrapes + stats.pages.requests + count(&self.counts.updates),
            requests_per_sec: rate as u64,
            announces: announces.saturating_sub(announces_refused),
            announces_refused,
            scrapes,
            leechers: totals.leechers,
            seeders: totals.seeders,
            queued: Queued {
                members: queued.members as u64,
                torrents: queued.torrents as u64,
                peers: (queued.peers + queued.visits) as u64,
                snatches: queued.snatches as u64,
                tokens: queued.tokens as u64,
            },
            request_bytes_max: count(&self.counts.request_bytes_max),
            bytes_read: streams.iter().map(|one| one.bytes_in).sum::<u64>()
                + datagrams.iter().map(|one| one.bytes_in).sum::<u64>(),
            bytes_written: streams.iter().map(|one| one.bytes_out).sum::<u64>()
                + datagrams.iter().map(|one| one.bytes_out).sum::<u64>(),
            wrong_site_passwords: count(&self.counts.wrong_site_passwords),
            wrong_report_passwords: count(&self.counts.wrong_report_passwords),
            wrong_passkeys: refused(&["passkey_unknown"]),
            wrong_clients: clients,
            wrong_requests: stats.http.malformed + count(&self.counts.malformed),
            interval_secs: tracker.interval_secs().0.into(),
            jitter_secs: tracker.rules().jitter_secs.into(),
            uptime_secs: stats.uptime_secs,
            usage: usage(),
        });
    }

    /// Whether secrets, tables and updates agree, in JSON, with what to do where they do not.
    async fn check(&self) -> String {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let wrong = count(&self.counts.wrong_site_passwords);
        let updated_at = count(&self.counts.updated_at_secs);
        let updates = json!({
            "accepted": count(&self.counts.updates),
            "last_secs_ago": (updated_at != 0).then(|| now_secs().saturating_sub(updated_at)),
            "wrong_site_passwords": wrong,
            "wrong_report_passwords": count(&self.counts.wrong_report_passwords),
        });
        let mut advice = Vec::new();
        if wrong > 0 {
            advice.push(
                "Updates with another password were refused: gazelle.site_password has to be the \
                 site's TRACKER_SECRET, 32 characters."
                    .to_owned(),
            );
        }
        let mut body = json!({"updates": updates});
        match self.jobs.check().await {
            Ok(check) => {
                if check.members.differ > 0 || check.torrents.differ > 0 {
                    advice.push(format!(
                        "{} members and {} torrents of the tables are not so in the tracker: \
                         updates do not come through, or rows were changed by hand. SIGUSR1 reads \
                         the tables again.",
                        check.members.differ, check.torrents.differ
                    ));
                }
                if check.oldest_secs.is_some_and(|secs| secs > 60) {
                    advice.push(
                        "Rows wait for more than a minute: the log says why they cannot be \
                         written."
                            .to_owned(),
                    );
                }
                body["members"] = json!(check.members);
                body["torrents"] = json!(check.torrents);
                body["rows_waiting"] = json!(check.rows_waiting);
                body["oldest_secs"] = json!(check.oldest_secs);
            }
            Err(error) => advice.push(format!("The tables cannot be read: {error}.")),
        }
        body["tokens_to_tell"] = json!(self.calls.as_ref().map(|calls| calls.len()));
        body["ok"] = Value::Bool(advice.is_empty());
        body["advice"] = json!(advice);
        format!("{body}\n")
    }
}

impl Answer for Answers {
    async fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, Failure> {
        match request.word {
            Word::Update => Ok(self.update(request.query)),
            Word::Report => self.report(request.report()).await,
        }
    }
}

fn usage() -> Option<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
    };
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    Some(Usage {
        user_micros: micros(usage.user_time()),
        system_micros: micros(usage.system_time()),
        // Linux tells it in KiB.
        resident_bytes_max: count(usage.max_rss()) * 1024,
        minor_faults: count(usage.minor_page_faults()),
        major_faults: count(usage.major_page_faults()),
        blocks_in: count(usage.block_reads()),
        blocks_out: count(usage.block_writes()),
        voluntary_switches: count(usage.voluntary_context_switches()),
        involuntary_switches: count(usage.involuntary_context_switches()),
    })
}
