//! Ranges of addresses, each in one place, and the search among them.

use crate::place::Packed;

/// One start in so many is also in the index: 64 starts of 4 bytes are four cache lines, and the
/// index of three million, 190 kB, stays in the cache.
const INDEX_STEP: usize = 64;

/// Where each range starts, and its place. It ends where the next one starts.
#[derive(Debug)]
pub(crate) struct Ranges<K> {
    /// Ascending, none twice.
    starts: Vec<K>,
    /// As many.
    places: Vec<Packed>,
    /// Every [`INDEX_STEP`]th of the starts.
    index: Vec<K>,
}

impl<K> Default for Ranges<K> {
    fn default() -> Self {
        Self { starts: Vec::new(), places: Vec::new(), index: Vec::new() }
    }
}

impl<K: Copy + Ord> Ranges<K> {
    /// What lies at `key`; `None` before the first range.
    pub(crate) fn find(&self, key: K) -> Option<Packed> {
        let blocks = self.index.partition_point(|start| *start <= key);
        let from = blocks.checked_sub(1)? * INDEX_STEP;
        let block = &self.starts[from..self.starts.len().min(from + INDEX_STEP)];
        let after = block.partition_point(|start| *start <= key);
        Some(self.places[from + after - 1])
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let keys = self.starts.capacity() + self.index.capacity();
        keys * size_of::<K>() + self.places.capacity() * size_of::<Packed>()
    }
}
