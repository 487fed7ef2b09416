//! Shared mode: the settings, the thread that carries, and what is told about it.
//!
//! What is shared and when is decided in `peerage-tracker`, how it is carried in `peerage-shared`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use peerage_shared::{Certificates, Layout, Node, Outbox, Site, Status, Target, UpdatesStatus};
use peerage_tracker::private::{Private, nodes};
use peerage_tracker::share::{Options, Timing};
use peerage_tracker::{ConnectionKey, Connections, Share, Tracker};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::config::value::SharedLayout;
use crate::config::{Config, ConfigError};
use crate::secrets;
use crate::stats::Source;
use crate::stop::Stop;

/// With whom swarms are shared, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where Redis is.
    target: Target,
    /// Which keys.
    layout: Layout,
    /// What they begin with.
    prefix: String,
    /// Most peers learnt at once of a swarm.
    sample: u32,
    /// When peers are told and expire.
    pub(crate) timing: Timing,
    /// How often a swarm of members is asked about.
    pub(crate) members_refresh: Duration,
    /// How long the first announce of a swarm waits for an answer.
    pub(crate) cold_wait: Duration,
    /// How long after Redis was last heard the node is ready.
    ready_within: Duration,
}

impl Settings {
    /// What the configuration says; `None` where the node is alone. A client is told at most
    /// `promised_secs` as its interval, and expires after `peer_timeout` where it is alone.
    pub(crate) fn of(
        config: &Config,
        promised_secs: u64,
        peer_timeout: Duration,
    ) -> Result<Option<Self>, ConfigError> {
        let values = &config.values.shared;
        if values.redis.0.is_empty() {
            return Ok(None);
        }
        if config.values.private.enabled && values.layout == SharedLayout::Llmpt {
            let right = "\"own\": llmpt's keys have no place for members".into();
            return Err(config.wrong("shared.layout", right));
        }
        let url = &config.values.database.url.0;
        if config.values.private.enabled && (url.is_empty() || url.starts_with("sqlite:")) {
            let right = "MariaDB's, MySQL's or PostgreSQL's: nodes that share have one database, \
                         and SQLite's is a file of one machine";
            return Err(config.wrong("database.url", right.into()));
        }
        let target = Target::parse(&values.redis.0)
            .map_err(|error| config.wrong("shared.redis", format!("a URL ({error})")))?;
        let promised = Duration::from_secs(promised_secs);
        let (layout, timing) = match values.layout {
            SharedLayout::Own => (Layout::Own, Timing::seldom(promised, peer_timeout)),
            SharedLayout::Llmpt => (Layout::Llmpt, Timing::often(promised, peer_timeout)),
        };
        Ok(Some(Self {
            target,
            layout,
            timing,
            members_refresh: Timing::often(promised, peer_timeout).refresh,
            prefix: values.prefix.clone(),
            sample: values.sample.to(),
            cold_wait: Duration::from_millis(values.cold_wait_ms.to()),
            ready_within: Duration::from_secs(values.ready_within.0),
        }))
    }

    /// Reads the certificates that the configuration names. Once, at the start: later the files may
    /// be out of reach.
    pub(crate) fn read_certificates(&mut self, config: &Config) -> Result<(), ConfigError> {
        let values = &config.values.shared;
        let read = |name: &'static str, path: &Option<PathBuf>| match path {
            Some(path) => fs::read(path)
                .map(Some)
                .map_err(|error| config.wrong(name, format!("a file that can be read ({error})"))),
            None => Ok(None),
        };
        let authority = read("shared.ca_file", &values.ca_file)?;
        let certificate = read("shared.cert_file", &values.cert_file)?;
        let own = match (certificate, read("shared.key_file", &values.key_file)?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => {
                return Err(config.wrong("shared.key_file", "the key of shared.cert_file".into()));
            }
            (None, Some(_)) => {
                let right = "the certificate of shared.key_file".into();
                return Err(config.wrong("shared.cert_file", right));
            }
        };
        if authority.is_none() && own.is_none() {
            return Ok(());
        }
        let name = if authority.is_some() { "shared.ca_file" } else { "shared.cert_file" };
        let certificates = Certificates { authority, own };
        let target = self.target.clone().with_certificates(certificates);
        self.target = target.map_err(|right| config.wrong(name, right))?;
        Ok(())
    }

    /// Lets `tracker` share its swarms. Before its first worker is made.
    pub(crate) fn share(&self, tracker: &mut Tracker) -> io::Result<()> {
        let Self { timing, sample, .. } = *self;
        let node = secrets::random_seed()?;
        tracker.share_by(Arc::new(Share::new(Options { node, timing, sample })));
        Ok(())
    }

    /// The same for a tracker with members: named as [`Settings::share`] has named the node.
    pub(crate) fn share_members(&self, tracker: &Tracker, private: Private) -> Private {
        let Some(share) = tracker.share() else { return private };
        let Options { node, sample, .. } = *share.options();
        private.shared_by(nodes::Options { node, sample, refresh: self.members_refresh })
    }

    /// What carries for the tracker of `source`, which then tells about it. `key` is that of the
    /// connection ids, to be agreed on; `None` where the operator has set one, which is not for
    /// others to change.
    pub(crate) fn carrier(
        &self,
        source: &Source,
        connections: &Connections,
        key: Option<ConnectionKey>,
        clock: Clock,
    ) -> Carrier {
        let (carrier, view) = Carrier::new(self, &source.tracker, connections, key, clock);
        source.shared.get_or_init(|| view);
        carrier
    }
}

/// What is told about the sharing.
#[derive(Debug)]
pub(crate) struct View {
    status: Arc<Status>,
    /// Of what a site tells, where there is one.
    outbox: OnceLock<Arc<Outbox>>,
    ready_within: Duration,
}

/// What nodes have told each other. Counts are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SharedStats)]
pub(crate) struct Stats {
    /// Whether all of Redis is connected.
    pub(crate) connected: bool,
    /// Nodes that live, this one included; 0 where that is not known: before Redis has answered,
    /// and with llmpt's keys.
    pub(crate) nodes: u32,
    /// Time since Redis last answered; null where it never did.
    #[schema(required)]
    pub(crate) silent_millis: Option<u64>,
    /// How long the last pipeline took.
    pub(crate) trip_micros: u64,
    /// Swarms with something that is not told yet.
    pub(crate) waiting_swarms: u64,
    /// Peers with something that is not told yet.
    pub(crate) waiting_changes: u64,
    /// Changes that found no room.
    pub(crate) dropped_changes: u64,
    /// Messages of other nodes that did not arrive: what they said was asked about instead.
    pub(crate) missed_messages: u64,
    /// Swarms whose first announce waits.
    pub(crate) cold_swarms: u64,
    /// Parts of the store, of 2048, that are yet to be told again.
    pub(crate) catching_up: u32,
    /// Of a private tracker; null of any other.
    #[schema(required)]
    pub(crate) members: Option<MembersStats>,
    /// Name, what it counts, count.
    #[serde(skip)]
    pub(crate) counters: [(&'static str, &'static str, u64); 12],
}

/// What nodes of a private tracker have told each other. Counts are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SharedMembersStats)]
pub(crate) struct MembersStats {
    /// Announces that are not told yet: nobody is credited with them. Those of a peer are one.
    pub(crate) waiting_claims: u64,
    /// Announces that found no room. The next of the peer makes up for each.
    pub(crate) dropped_claims: u64,
    /// Announces that credited nobody: another node had told of the peer what came after.
    pub(crate) late_claims: u64,
    /// Swarms that are to be asked about.
    pub(crate) waiting_swarms: u64,
    /// Parts of the torrents, of 1024, that are yet to be told and asked again.
    pub(crate) catching_up: u32,
    /// Of what a site tells; null where there is no site.
    #[schema(required)]
    pub(crate) updates: Option<UpdatesStats>,
}

/// What a site has told one node for all. Counts are since the start.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = SharedUpdatesStats)]
pub(crate) struct UpdatesStats {
    /// Updates that are not yet told to the other nodes.
    pub(crate) waiting: u64,
    /// Updates told to the other nodes.
    pub(crate) sent: u64,
    /// Updates followed that other nodes were told.
    pub(crate) heard: u64,
    /// Updates that found no room: the other nodes read the tables.
    pub(crate) dropped: u64,
    /// Times that this node has read the tables because it had missed updates.
    pub(crate) missed: u64,
}

impl View {
    /// As of now.
    pub(crate) fn stats(&self, tracker: &Tracker, clock: Clock) -> Stats {
        let waiting = tracker.share().map(|share| share.waiting()).unwrap_or_default();
        Stats {
            connected: self.status.is_connected(),
            nodes: waiting.nodes,
            silent_millis: self.silent(clock).map(|silent| silent.as_millis() as u64),
            trip_micros: self.status.trip_micros(),
            waiting_swarms: waiting.swarms,
            waiting_changes: waiting.changes,
            dropped_changes: waiting.dropped,
            missed_messages: waiting.missed,
            cold_swarms: waiting.cold,
            catching_up: waiting.catching_up,
            members: tracker.private().map(|private| self.members(private)),
            counters: self.status.counters(),
        }
    }

    fn members(&self, private: &Private) -> MembersStats {
        let waiting = private.waiting();
        MembersStats {
            waiting_claims: waiting.claims,
            dropped_claims: waiting.dropped,
            late_claims: waiting.late,
            waiting_swarms: waiting.asks,
            catching_up: waiting.catching_up,
            updates: self.outbox.get().map(|outbox| {
                let UpdatesStatus { waiting, sent, heard, let_go, missed } = outbox.status();
                UpdatesStats { waiting, sent, heard, dropped: let_go, missed }
            }),
        }
    }

    fn silent(&self, clock: Clock) -> Option<Duration> {
        let seen = self.status.seen_millis()?;
        Some(Duration::from_millis(clock.now().as_millis().saturating_sub(seen)))
    }

    /// Whether other nodes have been heard of lately; why not.
    pub(crate) fn ready(&self, clock: Clock) -> Result<(), String> {
        match self.silent(clock) {
            None => Err("Redis has not answered yet".into()),
            Some(silent) if silent > self.ready_within => {
                Err(format!("Redis has not answered for {} s", silent.as_secs()))
            }
            Some(_) => Ok(()),
        }
    }
}

/// What the thread needs.
pub(crate) struct Carrier {
    node: Node,
    clock: Clock,
}

impl Carrier {
    fn new(
        settings: &Settings,
        tracker: &Arc<Tracker>,
        connections: &Connections,
        key: Option<ConnectionKey>,
        clock: Clock,
    ) -> (Self, Arc<View>) {
        let status = Arc::<Status>::default();
        let connections = connections.clone();
        let node = Node {
            tracker: Arc::clone(tracker),
            target: settings.target.clone(),
            layout: settings.layout,
            prefix: settings.prefix.clone(),
            key: key.map(|key| key.0),
            agreed: Box::new(move |key| connections.adopt(ConnectionKey(key))),
            site: None,
            status: Arc::clone(&status),
        };
        let view = View { status, outbox: OnceLock::new(), ready_within: settings.ready_within };
        (Self { node, clock }, Arc::new(view))
    }

    /// The same, with what a site tells besides. `source` tells about it.
    pub(crate) fn with_site(mut self, site: Option<Site>, source: &Source) -> Self {
        if let (Some(view), Some(site)) = (source.shared.get(), &site) {
            view.outbox.get_or_init(|| Arc::clone(&site.outbox));
        }
        self.node.site = site;
        self
    }

    /// Carries until asked to stop. Blocks the thread. Errors: the system has no means left for a
    /// runtime.
    pub(crate) fn run(self, stop: &Stop) -> io::Result<()> {
        let Self { node, clock } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(node.run(move || clock.now(), || stop.is_requested()));
        Ok(())
    }
}
