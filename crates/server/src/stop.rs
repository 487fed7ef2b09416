//! The request to stop, as every worker sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a worker may wait for work before it looks whether it is to stop.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A request to stop, made once and never taken back. Its copies are one.
///
/// A worker that waits sees it within [`LOOK_EVERY`], one that works after the batch at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks all workers to stop.
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether they were asked to.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
