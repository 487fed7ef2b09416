//! Drawing peers uniformly at random.
//!
//! A draw starts at a peer chosen uniformly and goes through the others in a fixed order, so every
//! peer that may be handed out is equally likely to be. Which of them come together is not
//! independent: those of one cache line, or next to each other in a block, often do. That is what
//! makes a draw of 30 peers cost five cache lines instead of thirty.

use alloc::vec::Vec;

use crate::Rng;
use crate::slot::{Freshness, Slot};

/// A random number that says where a draw begins, known before the draw so that its memory can be
/// fetched beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn line(self, lines: usize) -> usize {
        (((self.0 >> 32) * lines as u64) >> 32) as usize
    }

    pub(crate) fn slot(self, slots: usize) -> usize {
        (self.0 as u16 as usize * slots) >> 16
    }

    /// Of a table of an odd number of lines: any power of two is coprime to it, so that to go on by
    /// it visits all lines.
    pub(crate) fn stride(self, lines: usize) -> usize {
        let exponents = lines.max(1).ilog2().max(1) as usize;
        1 << ((usize::from((self.0 >> 16) as u8) * exponents) >> 8)
    }

    pub(crate) fn table(self, tables: usize) -> usize {
        (usize::from((self.0 >> 24) as u8) * tables) >> 8
    }
}

/// What a draw needs to know, and where it goes.
pub(crate) struct Draw<'a, S: Slot> {
    pub(crate) rng: Rng,
    /// Where it begins among leechers, or in a small swarm, and among seeders.
    pub(crate) starts: [Random; 2],
    pub(crate) fresh: Freshness,
    /// The announcing peer, never drawn; empty where it is of the other family.
    pub(crate) own: S,
    pub(crate) out: &'a mut Vec<S::Compact>,
    /// Full at this length.
    pub(crate) out_max: usize,
}

impl<S: Slot> Draw<'_, S> {
    pub(crate) fn is_full(&self) -> bool {
        self.out_max <= self.out.len()
    }

    /// Whether the slot is a peer that may be handed out.
    pub(crate) fn takes(&self, slot: S) -> bool {
        !slot.is_empty() && self.fresh.holds(slot.state()) && !slot.is_same_peer(self.own)
    }

    /// Takes the slot if it may be handed out. To be called while not full.
    pub(crate) fn offer(&mut self, slot: S) {
        if self.takes(slot) {
            self.out.push(slot.compact());
        }
    }
}
