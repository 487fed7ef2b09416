//! The request to stop, seen by every thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The request to stop; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks every thread to stop.
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether to stop.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
