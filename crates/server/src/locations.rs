//! The location files: found, read on a thread of their own, and read again on a signal.
//!
//! What is in a file is known to `peerage_locations`. Nothing an announce waits for is here: who
//! wants places takes [`Shared::now`] once and asks it many times.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_locations::{Locations, Place};

/// The locations in force, if any are. Its copies are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Option<Arc<Locations>>>>);

impl Shared {
    /// Those in force, to be asked for many addresses; they stay as they are while they are held.
    /// To be taken once for a batch and dropped after it, as new ones may come.
    pub(crate) fn now(&self) -> Option<Arc<Locations>> {
        self.lock().clone()
    }

    /// Where `address` is, to a tenth of a degree. Costs a lock and a search: for many addresses
    /// [`Shared::now`] is meant.
    pub(crate) fn find(&self, address: IpAddr) -> Option<Place> {
        self.now()?.find(address)
    }

    /// Whether there are any. There are none before the first file is read, without a file, and
    /// with `--no-locations`.
    pub(crate) fn is_loaded(&self) -> bool {
        self.lock().is_some()
    }

    /// Nothing is done under it but to copy or to change the pointer.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Locations>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
