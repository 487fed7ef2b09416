//! The walk through the store: which part when, and since when.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_swarm::{Now, Swarms, Walked};

/// How far the walk is.
pub(super) struct Walk {
    /// When each part was last gone through; `None` where all of it is to be told.
    last: Vec<Option<Now>>,
    next: usize,
    /// From one part to the next, while nothing is to be made up for.
    step: Duration,
    /// When the next part is due.
    due: Option<Now>,
    /// Parts with nothing in `last`.
    catching_up: u32,
}

impl Walk {
    /// Goes through all parts once in `period`; the first time as soon as it may.
    pub(super) fn new(parts: u32, period: Duration) -> Self {
        let last = vec![None; parts as usize];
        Self { last, next: 0, step: period / parts, due: None, catching_up: parts }
    }

    /// All of the store is to be told again.
    pub(super) fn start_over(&mut self) {
        self.last.fill(None);
        self.catching_up = self.last.len() as u32;
    }

    pub(super) fn catching_up(&self) -> u32 {
        self.catching_up
    }

    /// Goes through the parts that are due, and as long as `visit` wants more through those that
    /// are to be made up for. `visit` is told whether nothing of a swarm may be known elsewhere.
    pub(super) fn go_on(
        &mut self,
        now: Now,
        swarms: &Swarms,
        mut visit: impl FnMut(Walked, bool) -> bool,
    ) {
        let mut due = self.due.unwrap_or(now);
        let mut wants_more = true;
        // At most once round.
        for _ in 0..self.last.len() {
            let part = self.next;
            let everything = self.last[part].is_none();
            if !wants_more || (now < due && self.catching_up == 0) {
                break;
            }
            if due <= now {
                due = due + self.step;
            }
            let since = self.last[part];
            swarms.walk(now, part as u32, since, |walked| {
                wants_more &= visit(walked, everything);
            });
            self.catching_up -= u32::from(everything);
            self.last[part] = Some(now);
            self.next = (part + 1) % self.last.len();
        }
        // What could not be done in time is not made up for in a rush.
        self.due = Some(due.max(Now::from_millis(now.as_millis().saturating_sub(1000))));
    }
}
