//! What the operator says by signals.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM, SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration and the lists again.
    Reload,
    /// SIGUSR1: read the lists again.
    ReloadLists,
    /// SIGUSR2: let the program, as it is on the disk now, take this one's place.
    HandOver,
}

/// Calls `tell` for each signal from here on, on a thread of its own that lasts as long as the
/// process.
pub(crate) fn watch(mut tell: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let forward = move || {
        for signal in signals.forever() {
            tell(match signal {
                SIGHUP => Signal::Reload,
                SIGUSR1 => Signal::ReloadLists,
                SIGUSR2 => Signal::HandOver,
                _ => Signal::Stop,
            });
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}
