//! How long connections are waited for: the same for all workers, and changed while they run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Settings;

/// The waits in force. A worker copies them whenever it wakes up: two loads.
#[derive(Debug)]
pub(crate) struct Waits {
    timeout_millis: AtomicU64,
    idle_millis: AtomicU64,
}

impl Waits {
    /// Those of `settings`.
    pub(crate) fn new(settings: &Settings) -> Self {
        let waits = Self { timeout_millis: AtomicU64::new(0), idle_millis: AtomicU64::new(0) };
        waits.set(settings);
        waits
    }

    /// Takes those of `settings` into force. A connection that waits already does so by the old
    /// ones until it has something to say.
    pub(crate) fn set(&self, settings: &Settings) {
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.timeout_millis.store(millis(settings.timeout), Ordering::Relaxed);
        self.idle_millis.store(millis(settings.idle_timeout), Ordering::Relaxed);
    }

    /// How long a connection may stay open between two requests.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_millis.load(Ordering::Relaxed))
    }

    /// Brings a worker's copy up to date.
    pub(super) fn copy_to(&self, settings: &mut Settings) {
        settings.timeout = Duration::from_millis(self.timeout_millis.load(Ordering::Relaxed));
        settings.idle_timeout = self.idle_timeout();
    }
}
