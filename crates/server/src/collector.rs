//! The thread that looks at what the workers count: once a second for rates and history.
//!
//! Workers never wait for it: it reads counters of theirs.

use std::thread;
use std::time::{Duration, Instant};

use crate::stats::Source;
use crate::stop::Stop;

/// How often it looks, and how long a stop may have to wait.
const TICK: Duration = Duration::from_millis(250);

/// Ticks in a second.
const TICKS_A_SECOND: u32 = 4;

/// Goes on until it is asked to stop.
pub(crate) fn run(source: &Source, stop: &Stop) {
    let mut next = Instant::now();
    let mut ticks = 0_u32;
    while !stop.is_requested() {
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(TICKS_A_SECOND) {
            source.observe();
        }
        // By the clock, so that what a tick itself takes does not add up; a tick that is late by
        // more than one is not made up for.
        next = (next + TICK).max(Instant::now());
        thread::sleep(next - Instant::now().min(next));
    }
}
