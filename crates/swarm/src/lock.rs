//! The one thing taken from `std`: a lock that sleeps in the kernel when it must wait.
//!
//! `std` is named only inside this module, so nothing else in the crate can reach a clock, a file,
//! a socket or a thread.

extern crate std;

pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks `mutex`. A panic while it was held stops the process, so poison carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
