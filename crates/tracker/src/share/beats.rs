//! Which nodes have died: those that no longer beat.
//!
//! Every node has a number, and shows that it lives by beating every [`BEAT_EVERY`]; what it tells
//! carries its number. Clocks are not compared: one whose beat has stood still for [`LEASE`], by
//! the clock of this node and while this node saw others, has died. Its peers are taken out as
//! swarms are asked about. One that was only slow finds out itself, and tells everything again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_swarm::Now;

/// How often a node beats.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

/// A node whose beat stands still for so long has died.
pub const LEASE: Duration = Duration::from_secs(20);

/// Most nodes that are kept in mind, those that died lately included. Of more, some that die are
/// not noticed, and their peers expire.
const NODES_MAX: usize = 4096;

/// Most dead nodes that are spoken of: those with the highest numbers, who began last.
const DEAD_MAX: usize = 256;

/// What a node says of itself to all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeBeat {
    /// By which it is known.
    pub number: u16,
    /// What it last beat, negative where it then stopped.
    pub beat: i64,
    /// After which a peer that it tells of has expired: nobody takes it out before.
    pub expiry: Duration,
}

/// The beats seen.
#[derive(Default)]
pub(super) struct Beats {
    nodes: BTreeMap<u16, Beat>,
    /// The longest of all nodes.
    expiry: Duration,
    /// When this node last beat, and saw the others.
    last: Option<Now>,
}

struct Beat {
    value: i64,
    since: Now,
    is_dead: bool,
}

/// What the beats of the others say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// A node has died.
    pub(super) death: bool,
    /// This node was so slow that others may take it for dead.
    pub(super) was_late: bool,
}

impl Beats {
    /// Takes in the numbers of all nodes and what each last beat, at the time this node has.
    pub(super) fn hear(&mut self, now: Now, beats: &[NodeBeat]) -> Heard {
        let gap = self.last.map_or(Duration::ZERO, |last| now.since(last));
        self.last = Some(now);
        if LEASE / 2 < gap {
            // Perhaps nobody could beat.
            self.nodes.values_mut().for_each(|beat| beat.since = now);
        }
        self.nodes.retain(|number, _| beats.iter().any(|other| other.number == *number));
        self.expiry = beats.iter().map(|other| other.expiry).max().unwrap_or_default();
        let mut heard = Heard { death: false, was_late: LEASE - BEAT_EVERY < gap };
        for &NodeBeat { number, beat: value, .. } in beats {
            if NODES_MAX <= self.nodes.len() && !self.nodes.contains_key(&number) {
                continue;
            }
            let new = Beat { value, since: now, is_dead: false };
            let beat = self.nodes.entry(number).or_insert(new);
            if beat.value != value {
                *beat = Beat { value, since: now, is_dead: false };
            } else if !beat.is_dead && LEASE <= now.since(beat.since) {
                beat.is_dead = true;
                heard.death = true;
            }
        }
        heard
    }

    /// The longest time in which a peer expires that one of the nodes has told of.
    pub(super) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// Whether that node is one that lives, as far as is known. What has stopped, and said so by a
    /// beat below zero, does not; nor does what is dead.
    pub(super) fn lives(&self, number: u16) -> bool {
        self.nodes.get(&number).is_some_and(|beat| 0 < beat.value && !beat.is_dead)
    }

    /// How many live, this one included; 0 until it has beaten.
    pub(super) fn living(&self) -> u32 {
        self.nodes.keys().filter(|number| self.lives(**number)).count() as u32
    }

    /// The numbers of those who have died.
    pub(super) fn dead(&self) -> Vec<u16> {
        let dead = self.nodes.iter().rev().filter(|(_, beat)| beat.is_dead);
        dead.map(|(number, _)| *number).take(DEAD_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats as seen every five seconds, from a time on: of each node the value.
    fn hear(beats: &mut Beats, from_secs: u64, seen: &[&[(u16, i64)]]) -> Vec<Heard> {
        let times = (from_secs..).step_by(5).map(|secs| Now::from_millis(secs * 1000));
        times.zip(seen).map(|(now, seen)| hear_one(beats, now, seen)).collect()
    }

    fn hear_one(beats: &mut Beats, now: Now, seen: &[(u16, i64)]) -> Heard {
        let expiry = |number: u16| Duration::from_secs(u64::from(number) * 1000);
        let said = |&(number, beat)| NodeBeat { number, beat, expiry: expiry(number) };
        beats.hear(now, &seen.iter().map(said).collect::<Vec<_>>())
    }

    #[test]
    fn node_that_stands_still_is_dead_and_one_that_goes_on_is_not() {
        let mut beats = Beats::default();
        let seen: [&[(u16, i64)]; 5] = [
            &[(1, 1), (2, 9)],
            &[(1, 2), (2, 9)],
            &[(1, 3), (2, 9)],
            &[(1, 4), (2, 9)],
            &[(1, 5), (2, 9)],
        ];
        let heard = hear(&mut beats, 100, &seen);
        assert_eq!(heard.iter().filter(|heard| heard.death).count(), 1);
        assert!(heard[4].death && !heard[4].was_late);
        assert_eq!((beats.dead(), beats.living()), (alloc::vec![2], 1));
        hear(&mut beats, 125, &[&[(1, 6), (2, 10)]]);
        assert!(beats.dead().is_empty() && beats.lives(2), "it beats again");
        hear(&mut beats, 127, &[&[(1, 7), (2, -11)]]);
        assert!(beats.lives(1) && !beats.lives(2), "it has stopped");
        assert_eq!(beats.expiry(), Duration::from_secs(2000), "that of what it told is kept to");
        hear(&mut beats, 130, &[&[(1, 7)]]);
        assert_eq!(beats.expiry(), Duration::from_secs(1000));
        assert!(beats.dead().is_empty(), "it is forgotten");
    }

    #[test]
    fn nobody_is_dead_because_nobody_could_beat() {
        let mut beats = Beats::default();
        hear(&mut beats, 100, &[&[(1, 1), (2, 1)]]);
        let heard = hear(&mut beats, 160, &[&[(1, 2), (2, 1)]]);
        assert_eq!(heard, [Heard { death: false, was_late: true }]);
        assert!(beats.dead().is_empty());
        let heard = hear(&mut beats, 165, &[&[(1, 3), (2, 2)]]);
        assert_eq!(heard, [Heard::default()]);
    }
}
