//! The memory of a shard's small swarms: blocks of words, given out one after the other.
//!
//! A block that is given back only counts as dead. When the arena is full and enough of it is dead,
//! its owner moves the live blocks together ([`Arena::compact`]); else it grows by an eighth. A
//! shard's arena is some ten kilobytes, so both take some microseconds.

use alloc::vec::Vec;
use core::ops::Range;

#[derive(Default)]
pub(crate) struct Arena {
    words: Vec<u32>,
    /// Words of blocks that were given back.
    dead: usize,
}

impl Arena {
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u32>()
    }

    /// Whether it would pay to move the live blocks together before `capacity` more words.
    pub(crate) fn wants_compaction(&self, capacity: usize) -> bool {
        self.words.capacity() < self.words.len() + capacity && self.words.len() < self.dead * 8
    }

    /// Whether more than half of it is dead.
    pub(crate) fn is_sparse(&self) -> bool {
        self.words.len() < self.dead * 2
    }

    /// A block of zeros.
    pub(crate) fn allocate(&mut self, capacity: usize) -> u32 {
        let offset = self.words.len();
        if self.words.capacity() < offset + capacity {
            self.words.reserve_exact(capacity + offset / 8);
        }
        self.words.resize(offset + capacity, 0);
        u32::try_from(offset).expect("the bounds of a store keep its shards below 16 GiB")
    }

    pub(crate) fn free(&mut self, capacity: usize) {
        self.dead += capacity;
    }

    pub(crate) fn block(&self, offset: u32, capacity: u16) -> &[u32] {
        &self.words[range(offset, capacity)]
    }

    pub(crate) fn block_mut(&mut self, offset: u32, capacity: u16) -> &mut [u32] {
        &mut self.words[range(offset, capacity)]
    }

    /// Starts a new arena with room for the live blocks and an eighth more, and returns the old one
    /// to copy them from.
    pub(crate) fn compact(&mut self) -> Self {
        let live = self.words.len() - self.dead;
        let words = Vec::with_capacity(live + live / 8);
        core::mem::replace(self, Self { words, dead: 0 })
    }
}

fn range(offset: u32, capacity: u16) -> Range<usize> {
    let offset = offset as usize;
    offset..offset + usize::from(capacity)
}
