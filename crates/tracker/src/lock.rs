//! The one thing taken from `std`: a lock for what changes rarely. See the same file in
//! `peerage-swarm`.

extern crate std;

pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks `mutex`. A panic while it was held stops the process, so poison carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
