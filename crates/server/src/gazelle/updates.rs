//! Updates of the site: followed as they come, and once more after the tables were read again.
//!
//! The site tells of some changes inside of a transaction, before its tables show them. A reload
//! that reads the tables in between would undo what it was told. So the updates of the last half
//! minute are remembered, and followed again, in their order, upon what was read. To follow one
//! twice does no harm.
//!
//! Where nodes share, each passes on what it was told, and follows what others were told as if it
//! had been told it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerage_proto::gazelle::Update;
use peerage_shared::Outbox;
use peerage_tracker::Tracker;
use peerage_tracker::gazelle::{Absent, Followed, follow};
use peerage_tracker::private::{MemberId, Token};
use tracing::{debug, warn};

use crate::clock::Clock;

/// How long an update is remembered.
const KEPT: Duration = Duration::from_secs(30);

/// Most bytes of updates that are remembered; of more the oldest are forgotten.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// How often it is logged that an update was not followed.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The site's updates.
pub(crate) struct Updates {
    tracker: Arc<Tracker>,
    clock: Clock,
    absent: Absent,
    /// What other nodes are to be told; `None` where there are none.
    outbox: Option<Arc<Outbox>>,
    /// Held while one is followed: they come into force in the order in which they are remembered.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The queries, as [`Update::write`] has them, oldest first.
    updates: VecDeque<(Instant, Vec<u8>)>,
    /// Of all of them.
    bytes: usize,
    logged: Option<Instant>,
}

impl Updates {
    /// Updates of `tracker`, which has members. `outbox` is how other nodes are told.
    pub(crate) fn new(
        tracker: Arc<Tracker>,
        clock: Clock,
        absent: Absent,
        outbox: Option<Arc<Outbox>>,
    ) -> Self {
        Self { tracker, clock, absent, outbox, kept: Mutex::default() }
    }

    /// Follows an update of the site, remembers it, and has the other nodes told. `None` where it
    /// cannot be followed, which is logged.
    pub(crate) fn take(&self, query: &[u8]) -> Option<Followed> {
        let mut kept = self.kept();
        let update = Update::parse(query).map_err(|error| kept.complain(query, &error)).ok()?;
        if matches!(update, Update::InfoTorrent(_)) {
            return self.follow(&mut kept, &update, query);
        }
        let mut query = Vec::with_capacity(query.len());
        update.write(&mut query);
        kept.keep(&query, Instant::now());
        let followed = self.follow(&mut kept, &update, &query)?;
        // Under the lock: they are told in the order in which they were followed.
        if let Some(outbox) = &self.outbox
            && !outbox.put(query)
        {
            warn!("shared: too many updates wait: the other nodes will have to read the tables");
        }
        Some(followed)
    }

    /// Has the other nodes told that tokens have served, which nobody but this node knows.
    pub(crate) fn pass_on_expired(&self, tokens: &[Token]) {
        let Some(outbox) = &self.outbox else { return };
        let private = self.tracker.private().expect("a site has members");
        for &Token { member: MemberId(user), torrent } in tokens {
            let Some(info_hash) = private.info_hash_of(torrent) else { continue };
            let mut query = Vec::new();
            Update::RemoveToken { info_hash, user }.write(&mut query);
            outbox.put(query);
        }
    }

    /// Follows what another node was told. Says whether it could be read.
    pub(crate) fn hear(&self, query: &[u8]) -> bool {
        let mut kept = self.kept();
        match Update::parse(query) {
            Ok(update) => {
                kept.keep(query, Instant::now());
                self.follow(&mut kept, &update, query);
                true
            }
            Err(error) => {
                kept.complain(query, &error);
                false
            }
        }
    }

    /// Follows once more what is remembered.
    pub(crate) fn follow_again(&self) {
        let mut kept = self.kept();
        let updates = std::mem::take(&mut kept.updates);
        for (_, query) in &updates {
            let update = Update::parse(query).expect("it was read before");
            self.follow(&mut kept, &update, query);
        }
        kept.updates = updates;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, kept: &mut Kept, update: &Update<'_>, query: &[u8]) -> Option<Followed> {
        let private = self.tracker.private().expect("a site has members");
        match follow(&self.tracker, private, self.clock.now(), update, self.absent) {
            Ok(followed) => {
                if followed == Followed::Unknown {
                    debug!("an update names nothing we know: {}", action(query));
                }
                Some(followed)
            }
            Err(error) => {
                kept.complain(query, &error);
                None
            }
        }
    }
}

impl Kept {
    fn keep(&mut self, query: &[u8], now: Instant) {
        self.bytes += query.len();
        self.updates.push_back((now, query.to_vec()));
        while self.bytes > KEPT_BYTES_MAX
            || self.updates.front().is_some_and(|(at, _)| now.duration_since(*at) > KEPT)
        {
            self.bytes -= self.updates.pop_front().map_or(0, |(_, query)| query.len());
        }
    }

    fn complain(&mut self, query: &[u8], why: &dyn Display) {
        if self.logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            warn!("an update of the site is not followed: {}: {why}", action(query));
        }
    }
}

/// The action of an update, for the log: nothing else of it, since passkeys are secrets.
fn action(query: &[u8]) -> String {
    let action = query.split(|&byte| byte == b'&').find_map(|one| one.strip_prefix(b"action="));
    let action = action.unwrap_or(b"(none)");
    action.iter().take(40).map(|byte| byte.escape_ascii().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use peerage_tracker::private::{Loaded, Passkey, Private, Terms};
    use peerage_tracker::{Limits, PeerIds, Rules};

    use super::*;

    const PASSKEY: &[u8; 32] = b"annannannannannannannannannann01";

    #[test]
    fn what_the_site_told_before_a_reload_outlives_it() {
        let rules = Rules::default();
        let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, rules);
        let tracker = Arc::new(tracker.with_members(Private::new([2; 16], Terms::default())));
        let updates = Updates::new(Arc::clone(&tracker), Clock::start(), Absent::Keep, None);
        let private = tracker.private().unwrap();
        let passkey = Passkey::parse(PASSKEY).unwrap();
        let text = String::from_utf8_lossy(PASSKEY);
        updates.take(format!("action=add_user&passkey={text}&id=1").as_bytes());
        updates.take(format!("action=update_user&passkey={text}&can_leech=0").as_bytes());
        private.begin_reload();
        private.replace(Loaded::default()).unwrap();
        updates.follow_again();
        assert!(private.member(&passkey).is_some_and(|state| !state.member.can_leech));
        // Also where the site told of it before the reload began.
        private.replace(Loaded::default()).unwrap();
        assert!(private.member(&passkey).is_none());
        updates.follow_again();
        assert!(private.member(&passkey).is_some_and(|state| !state.member.can_leech));
    }

    #[test]
    fn old_and_too_many_updates_are_forgotten() {
        let mut kept = Kept::default();
        let now = Instant::now();
        kept.keep(b"old", now);
        kept.keep(b"new", now + KEPT + Duration::from_secs(1));
        assert_eq!((kept.updates.len(), kept.bytes), (1, 3));
        for _ in 0..100 {
            kept.keep(&[b'x'; 1 << 16], now + KEPT);
        }
        assert!(kept.bytes <= KEPT_BYTES_MAX);
        assert_eq!(kept.bytes, kept.updates.iter().map(|(_, query)| query.len()).sum::<usize>());
    }

    #[test]
    fn log_names_the_action_and_nothing_else() {
        assert_eq!(action(b"passkey=secret&action=add\nuser&x=y"), "add\\nuser");
        assert_eq!(action(b"passkey=secret"), "(none)");
    }
}
