//! What wakes the loop between two flushes.

use std::sync::Arc;
use std::task::Wake;

use tokio::sync::Notify;

/// Wakes the loop for a swarm that an announce waits for.
#[derive(Default)]
pub(crate) struct Cold(pub(crate) Notify);

impl Wake for Cold {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
