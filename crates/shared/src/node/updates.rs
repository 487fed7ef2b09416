//! A site's updates in the loop: what this node was told is passed on, what others were told is
//! followed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peerage_swarm::Now;
use redis::{RedisError, Script, Value};
use tracing::{info, warn};

use super::{Carrier, Flushed};
use crate::status::Status;
use crate::updates::{self, Incoming, Kind, Outbox, Page, Position};

/// How long before its tables were read a node reads updates: a site tells of some inside of a
/// transaction, before its tables show them.
const BEFORE_TABLES: Duration = Duration::from_secs(30);

/// How often the tables are read at most because something was missed.
const READ_PAUSE: Duration = Duration::from_secs(10);

/// What was told so shortly before the end of a master its replica may lack.
const LACKED: Duration = Duration::from_secs(30);

/// How long updates wait before it is logged.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nodes whose last number is known. With one more that of some other is forgotten, by which a
/// message that was told twice may be followed twice.
const NODES_MAX: usize = 1024;

/// The tracker of a site whose updates come to one node and are meant for all.
pub struct Site {
    /// What this node is told.
    pub outbox: Arc<Outbox>,
    /// Follows what others were told.
    pub hear: Box<Hear>,
    /// Has the tables read: something was missed.
    pub read_tables: Box<dyn Fn() + Send>,
    /// When the tables began to be read that the node has, by its own clock.
    pub tables_at: Now,
}

/// Follows what another node was told. Says whether it could be read.
pub type Hear = dyn Fn(&[u8]) -> bool + Send;

/// How far it is.
pub(super) struct Passing {
    script: Script,
    /// `None` until Redis is there.
    position: Option<Position>,
    /// Of each node the number of the last message.
    numbers: BTreeMap<u64, u64>,
    /// When others were last told something, and when that was last seen to be there.
    told_at: Option<Instant>,
    answered_at: Option<Instant>,
    /// Whether the tables are to be read, and when they last were because of that.
    is_missed: bool,
    read_at: Option<Instant>,
    /// Since when something waits, and whether that was logged.
    waits_since: Option<Instant>,
    is_complained: bool,
}

impl Default for Passing {
    fn default() -> Self {
        Self {
            script: updates::script(),
            position: None,
            numbers: BTreeMap::new(),
            told_at: None,
            answered_at: None,
            is_missed: false,
            read_at: None,
            waits_since: None,
            is_complained: false,
        }
    }
}

impl<N: Fn() -> Now> Carrier<N> {
    /// Tells what this node was told by its site, and follows what others were.
    pub(super) async fn pass_on(&mut self) -> Flushed {
        let Some(site) = &self.node.site else { return Flushed::All };
        let key = format!("{}m1:updates", self.node.prefix);
        let number = self.places.of(&key);
        let connection =
            number.and_then(|number| self.places.masters.get(number)?.connection.clone());
        let (Some(number), Some(mut connection)) = (number, connection) else {
            self.complain_of_updates();
            return Flushed::All;
        };
        if Instant::now() < self.paused_until {
            self.complain_of_updates();
            return Flushed::All;
        }
        let since = site.tables_at.as_millis().saturating_sub(BEFORE_TABLES.as_millis() as u64);
        let since = since.saturating_add_signed(self.share.clock_ahead_millis());
        let position = self.passing.position.get_or_insert(Position::Since(since));
        let node = self.share.options().node;
        let told = site.outbox.take();
        let call = updates::call(&self.passing.script, &key, node, position, &told);
        let reply: Result<Value, RedisError> = call.invoke_async(&mut connection).await;
        match reply.map(|reply| updates::page(&reply)) {
            Ok(Some(page)) if page.is_gone() => {
                // With it may have gone what others had not read yet.
                site.outbox.put_back(told);
                if self.passing.has_told_lately() {
                    site.outbox.tell_of_loss();
                }
                self.take_page(page);
                Flushed::MoreWaits
            }
            Ok(Some(page)) => {
                self.passing.answered_at = Some(Instant::now());
                if !told.is_empty() {
                    self.passing.told_at = self.passing.answered_at;
                }
                let updates = told.iter().filter(|one| one.is_update()).count();
                site.outbox.sent.fetch_add(updates as u64, Ordering::Relaxed);
                let is_full = page.messages.len() >= updates::READ_MAX;
                self.take_page(page);
                let again = is_full || told.len() >= updates::READ_MAX;
                self.complain_of_updates();
                if again { Flushed::MoreWaits } else { Flushed::All }
            }
            Ok(None) => {
                site.outbox.put_back(told);
                self.refused(number, "ERR", &format!("{key} is something else"));
                Flushed::All
            }
            Err(error) => {
                site.outbox.put_back(told);
                Status::add(&self.node.status.failures, 1);
                match error.code() {
                    Some(code) => self.refused(number, code, error.detail().unwrap_or_default()),
                    None => self.drop_master(number),
                }
                self.complain_of_updates();
                Flushed::All
            }
        }
    }

    /// Follows what was read. Where that is gone after which it was to be, reads on from another
    /// place.
    fn take_page(&mut self, page: Page) {
        let Some(site) = &self.node.site else { return };
        let is_gone = page.is_gone();
        let Page { is_missed, messages } = page;
        self.passing.is_missed |= is_missed;
        if is_gone {
            // What the tables may not show yet when they are read is followed after them.
            let now_millis = self.share.shared_secs((self.now)()) * 1000;
            let since = now_millis.saturating_sub(BEFORE_TABLES.as_millis() as u64);
            self.passing.position = Some(Position::Since(since));
        }
        let own = self.share.options().node;
        for (name, message) in messages {
            self.passing.position = Some(Position::After(name));
            let Some(Incoming { node, number, kind, query }) = message else {
                // Of a later release.
                self.passing.is_missed = true;
                continue;
            };
            if node == own || kind == Kind::Begins || !self.passing.is_new(node, number) {
                continue;
            }
            let is_followed = kind == Kind::Update && (site.hear)(&query);
            self.passing.is_missed |= !is_followed;
            site.outbox.heard.fetch_add(u64::from(is_followed), Ordering::Relaxed);
        }
        self.read_tables_if_due();
    }

    fn read_tables_if_due(&mut self) {
        let Some(site) = &self.node.site else { return };
        let passing = &mut self.passing;
        if passing.is_missed && passing.read_at.is_none_or(|at| READ_PAUSE <= at.elapsed()) {
            passing.is_missed = false;
            passing.read_at = Some(Instant::now());
            site.outbox.missed.fetch_add(1, Ordering::Relaxed);
            info!("shared: updates that other nodes were told are missed; the tables are read");
            (site.read_tables)();
        }
    }

    /// Says once that updates wait, and that they no longer do.
    fn complain_of_updates(&mut self) {
        let Some(site) = &self.node.site else { return };
        let passing = &mut self.passing;
        let waiting = site.outbox.len();
        if waiting == 0 {
            passing.waits_since = None;
            if std::mem::take(&mut passing.is_complained) {
                info!("shared: the updates that waited are told to the other nodes");
            }
            return;
        }
        let since = *passing.waits_since.get_or_insert_with(Instant::now);
        if PATIENCE <= since.elapsed() && !std::mem::replace(&mut passing.is_complained, true) {
            warn!("shared: updates of the site wait to be told to the other nodes: {waiting}");
        }
    }
}

impl Passing {
    /// Whether others were told something so shortly before the last answer that it may be lost.
    fn has_told_lately(&self) -> bool {
        let times = self.answered_at.zip(self.told_at);
        times.is_some_and(|(answered, told)| answered.duration_since(told) < LACKED)
    }

    /// Whether a message of a node was not read before: one whose answer was lost is told twice.
    fn is_new(&mut self, node: u64, number: u64) -> bool {
        if !self.numbers.contains_key(&node) && NODES_MAX <= self.numbers.len() {
            self.numbers.pop_first();
        }
        let last = self.numbers.entry(node).or_default();
        let is_new = *last < number;
        *last = number.max(*last);
        is_new
    }
}
