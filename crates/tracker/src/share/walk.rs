//! The walk through the store: which part when, and what for.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use peerage_swarm::{Find, Now, Swarms, Walked};

use super::Timing;

/// How far the walk is.
pub(super) struct Walk {
    /// When the peers of each part were last told; `None` where all of it is to be told.
    told: Vec<Option<Now>>,
    /// How often the peers of each part were told, modulo 256.
    rounds: Vec<u8>,
    /// Parts of which every swarm is to be asked about that other nodes have peers in.
    doubted: Vec<bool>,
    next: usize,
    timing: Timing,
    /// When the next part is due.
    due: Option<Now>,
    /// Parts with nothing in `told`.
    catching_up: u32,
    /// Parts in `doubted`.
    doubts: u32,
}

/// Why a part is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nothing of it may be known elsewhere.
    Lost,
    /// Its peers are to be told again.
    Due,
    /// They are to be told again, and their keys to live on.
    Renewal,
    /// The same, and what is known of others is to be made sure of.
    Check,
    /// What is known of others may be wrong.
    Doubt,
    /// To see whether something is to be asked.
    Look,
}

impl Walk {
    /// Goes through all parts as often as `timing` says; the first time as soon as it may.
    pub(super) fn new(parts: u32, timing: Timing) -> Self {
        let (told, doubted) = (vec![None; parts as usize], vec![false; parts as usize]);
        // Not all parts at once in the round that costs more.
        let rounds = (0..parts).map(|part| part as u8).collect();
        Self { told, rounds, doubted, next: 0, timing, due: None, catching_up: parts, doubts: 0 }
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    pub(super) fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// All of the store is to be told again. Says whether any of it was told.
    pub(super) fn start_over(&mut self) -> bool {
        let parts = self.told.len() as u32;
        self.told.fill(None);
        mem::replace(&mut self.catching_up, parts) < parts
    }

    /// All swarms that other nodes have peers in are to be asked about.
    pub(super) fn doubt(&mut self) {
        self.doubted.fill(true);
        self.doubts = self.doubted.len() as u32;
    }

    pub(super) fn catching_up(&self) -> u32 {
        self.catching_up
    }

    /// Goes through the parts that are due, as long as `visit` wants more, and then through those
    /// that are to be made up for. Of what is due one part even where no more is wanted: who was
    /// seen again is not to expire because others come and go.
    pub(super) fn go_on(
        &mut self,
        now: Now,
        swarms: &Swarms,
        mut wants_more: bool,
        mut visit: impl FnMut(Walked, Reason) -> bool,
    ) {
        let mut due = self.due.unwrap_or(now);
        let step = self.timing.look / self.told.len() as u32;
        // At most once round.
        for round in 0..self.told.len() {
            let part = self.next;
            let hurries = self.catching_up != 0 || self.doubts != 0;
            let goes_on = match due <= now {
                true => wants_more || round == 0,
                false => wants_more && hurries,
            };
            if !goes_on {
                break;
            }
            if due <= now {
                due = due + step;
            }
            let (find, reason) = self.purpose(now, part);
            swarms.walk(now, part as u32, find, |walked| {
                wants_more &= visit(walked, reason);
            });
            self.catching_up -= u32::from(self.told[part].is_none());
            self.doubts -= u32::from(self.doubted[part]);
            self.doubted[part] = false;
            if find != Find::Nobody {
                self.told[part] = Some(self.told_at(now, part, reason));
                self.rounds[part] = self.rounds[part].wrapping_add(1);
            }
            self.next = (part + 1) % self.told.len();
        }
        // What could not be done in time is not made up for in a rush, but for what a walk may be
        // late without anybody being told too late.
        let late_millis = (self.timing.look.as_millis() as u64 / 20).max(1000);
        self.due = Some(due.max(Now::from_millis(now.as_millis().saturating_sub(late_millis))));
    }

    /// When a part is said to have been told. What is made up for in a rush is said to have been
    /// told earlier, in equal parts, or all of it would be due with the same look.
    fn told_at(&self, now: Now, part: usize, reason: Reason) -> Now {
        let looks = match reason {
            Reason::Lost => part as u32 % self.timing.looks(),
            _ => 0,
        };
        let earlier = (self.timing.look * looks).as_millis() as u64;
        Now::from_millis(now.as_millis().saturating_sub(earlier))
    }

    fn purpose(&self, now: Now, part: usize) -> (Find, Reason) {
        let Some(told) = self.told[part] else { return (Find::All, Reason::Lost) };
        // The last look that is in time; one that is a twentieth late still is.
        let Timing { refresh, look, .. } = self.timing;
        let is_due = told + refresh + look / 20 < now + look;
        let round = u32::from(self.rounds[part]);
        let is_check = self.doubted[part] || round.is_multiple_of(self.timing.checked_every);
        match (is_due, self.doubted[part]) {
            (true, _) if is_check => (Find::SeenSince(told), Reason::Check),
            (true, _) if round.is_multiple_of(2) => (Find::SeenSince(told), Reason::Renewal),
            (true, _) => (Find::SeenSince(told), Reason::Due),
            (false, true) => (Find::Nobody, Reason::Doubt),
            (false, false) => (Find::Nobody, Reason::Look),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use peerage_swarm::{Limits, PeerIds};

    use super::*;

    #[test]
    fn parts_are_told_once_in_the_time_and_looked_at_more_often() {
        let timing = Timing::seldom(Duration::from_secs(1800), Duration::from_secs(2760));
        let swarms = Swarms::new([1; 16], Limits::default(), PeerIds::Dropped);
        let mut walk = Walk::new(Swarms::WALK_PARTS, timing);
        let start = Now::from_millis(1_000_000_000);
        let mut tells = Vec::new();
        for flush in 0..timing.refresh.as_secs() * 2 * 5 {
            let now = start + Duration::from_millis(200) * flush as u32;
            walk.go_on(now, &swarms, true, |_, _| true);
            if tells.last() != walk.told.first() {
                tells.push(walk.told[0]);
            }
        }
        assert_eq!(walk.catching_up(), 0);
        let between = tells[2].zip(tells[1]).map(|(later, first)| later.since(first));
        let off = between.expect("it was told").abs_diff(timing.refresh);
        assert!(off < Duration::from_secs(30), "{between:?} for {timing:?}");
    }

    #[test]
    fn what_was_made_up_for_in_a_rush_is_told_evenly_from_then_on() {
        let timing = Timing::seldom(Duration::from_secs(1800), Duration::from_secs(2760));
        let swarms = Swarms::new([1; 16], Limits::default(), PeerIds::Dropped);
        let mut walk = Walk::new(Swarms::WALK_PARTS, timing);
        let start = Now::from_millis(1_000_000_000);
        walk.go_on(start, &swarms, true, |_, _| true);
        assert_eq!(walk.catching_up(), 0, "all of it was told at once");
        let looks = timing.looks();
        for look in 1..=looks {
            let before = walk.told.clone();
            for second in 0..timing.look.as_secs() {
                let now = start + timing.look * (look - 1) + Duration::from_secs(second);
                walk.go_on(now, &swarms, true, |_, _| true);
            }
            let told = before.iter().zip(&walk.told).filter(|(before, now)| before != now);
            let share = told.count() as f64 / f64::from(Swarms::WALK_PARTS);
            let even = 1.0 / f64::from(looks);
            assert!((even / 1.4..even * 1.4).contains(&share), "{share} of it in look {look}");
        }
    }
}
