//! Whether messages of other nodes were missed, by the numbers that they have.
//!
//! What a lost message said comes by nothing else for hours. So every message says how many there
//! were of its node, and with each beat one that says nothing else. Where one is missing, every
//! swarm that others have peers in is asked about.

use alloc::collections::BTreeMap;
use core::time::Duration;

use peerage_swarm::Now;

use super::message::Number;

/// How often, at most, everything is asked about because something was missed.
pub const DOUBT_EVERY: Duration = Duration::from_secs(60);

/// Most nodes whose messages are counted, those that are gone included. Beyond it all begins anew.
const NODES_MAX: usize = 4096;

/// The numbers heard last.
#[derive(Default)]
pub(super) struct Heard {
    last: BTreeMap<u64, u32>,
    /// Whether something was missed that is not asked about yet.
    missed: bool,
    /// Messages missed of nodes that were heard before.
    count: u64,
    /// When that was last done.
    doubted: Option<Now>,
}

impl Heard {
    /// Takes in the number of a message of `node`. Of a node that is new here all messages before
    /// it were missed.
    pub(super) fn note(&mut self, node: u64, number: Number) {
        if NODES_MAX <= self.last.len() && !self.last.contains_key(&node) {
            self.last.clear();
        }
        let is_known = self.last.contains_key(&node);
        let last = self.last.entry(node).or_default();
        let missed = number.before.saturating_sub(*last);
        self.missed |= 0 < missed;
        self.count += if is_known { missed.into() } else { 0 };
        // What is sent again, for nobody knew whether it had arrived, has a number heard before.
        *last = number.last.max(*last);
    }

    /// How many messages were missed of nodes that were heard before, late ones among them.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether it is time to ask about what was missed; which is then taken for done.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let may = self.doubted.is_none_or(|doubted| DOUBT_EVERY <= now.since(doubted));
        if !self.missed || !may {
            return false;
        }
        self.missed = false;
        self.doubted = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_is_noticed_once_and_asked_about_once_a_minute_at_most() {
        let at = |secs: u64| Now::from_millis(1_800_000_000_000 + secs * 1000);
        let mut heard = Heard::default();
        let note = |heard: &mut Heard, node, before, last| {
            heard.note(node, Number { before, last });
        };
        note(&mut heard, 7, 0, 1);
        note(&mut heard, 7, 1, 2);
        note(&mut heard, 7, 2, 2);
        assert!(!heard.is_due(at(0)), "all there were");
        note(&mut heard, 7, 3, 4);
        assert!(heard.is_due(at(1)) && !heard.is_due(at(1)), "the third was missed");
        note(&mut heard, 7, 2, 3);
        note(&mut heard, 7, 4, 5);
        assert!(!heard.is_due(at(100)), "it came late");
        assert_eq!(heard.count(), 1, "the third");
        note(&mut heard, 8, 5, 5);
        assert!(heard.is_due(at(100)), "a node was there before");
        note(&mut heard, 8, 6, 6);
        assert!(!heard.is_due(at(159)) && heard.is_due(at(160)), "the last, and then nothing");
        assert_eq!(heard.count(), 2, "not what came before this node knew of another");
    }
}
