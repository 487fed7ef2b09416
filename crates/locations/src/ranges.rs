//! Ranges of addresses, each in one place: how they are put together in order, and the search.

use crate::place::Packed;
use crate::report::Fault;

/// One start in so many is also in the index: 64 starts of 4 bytes are four cache lines, and the
/// index of three million, 190 kB, stays in the cache.
const INDEX_STEP: usize = 64;

/// The fewest ranges that a table grows by.
const GROWTH_MIN: usize = 4096;

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

    /// Adds a range after all others, unless it goes on with the place of the last. Grows by an
    /// eighth, so that memory never holds much more than it has to.
    fn append(&mut self, start: K, place: Packed) {
        if self.places.last().copied().unwrap_or(Packed::NOWHERE) == place {
            return;
        }
        let count = self.starts.len();
        if count == self.starts.capacity() {
            self.starts.reserve_exact(GROWTH_MIN.max(count / 8));
            self.places.reserve_exact(GROWTH_MIN.max(count / 8));
        }
        if count.is_multiple_of(INDEX_STEP) {
            self.index.push(start);
        }
        self.starts.push(start);
        self.places.push(place);
    }
}

/// A range as it is read. Both ends belong to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) place: Packed,
    /// Where it stands in its file, for complaints.
    pub(crate) line: u64,
}

/// Ranges that are being put together, in ascending order.
///
/// The last one is held back: if the next one shows that it was out of order, or that it ends too
/// late, it is that one alone which is lost or cut.
#[derive(Debug)]
pub(crate) struct Assembly<K> {
    ranges: Ranges<K>,
    held: Option<Range>,
    /// The first key after all ranges but the held one; `None` if there is none left.
    free: Option<u64>,
}

impl<K> Default for Assembly<K> {
    fn default() -> Self {
        Self { ranges: Ranges::default(), held: None, free: Some(0) }
    }
}

impl<K: Copy + Ord + TryFrom<u64>> Assembly<K> {
    /// Adds a range that does not end before it begins. Says which line is wrong if it does not fit
    /// to the one before it: a range that begins within another ends that one, a range that begins
    /// where another does is left out, and so is whichever of the two is out of order.
    pub(crate) fn add(&mut self, range: Range) -> Option<(u64, Fault)> {
        let Some(held) = self.held else {
            self.held = Some(range);
            return None;
        };
        if range.from > held.from {
            let overlaps = range.from <= held.to;
            self.append(Range { to: held.to.min(range.from - 1), ..held });
            self.held = Some(range);
            return overlaps.then_some((range.line, Fault::Overlap));
        }
        if range.from == held.from {
            return Some((range.line, Fault::Overlap));
        }
        if self.free.is_some_and(|free| free <= range.from) {
            self.held = Some(range);
            return Some((held.line, Fault::Order));
        }
        Some((range.line, Fault::Order))
    }

    /// How many there are by now, but for one or two.
    pub(crate) fn len(&self) -> usize {
        self.ranges.starts.len()
    }

    /// All ranges. What lies beyond the last one is nowhere.
    pub(crate) fn finish(mut self) -> Ranges<K> {
        if let Some(held) = self.held {
            self.append(held);
        }
        if let Some(Ok(end)) = self.free.map(K::try_from) {
            self.ranges.append(end, Packed::NOWHERE);
        }
        let Ranges { starts, places, index } = &mut self.ranges;
        starts.shrink_to_fit();
        places.shrink_to_fit();
        index.shrink_to_fit();
        self.ranges
    }

    fn append(&mut self, range: Range) {
        // The callers cut every range to keys of this family.
        let key = |key| K::try_from(key).unwrap_or_else(|_| unreachable!("{key} is a key"));
        if let Some(free) = self.free.filter(|free| *free < range.from) {
            self.ranges.append(key(free), Packed::NOWHERE);
        }
        self.ranges.append(key(range.from), range.place);
        self.free = range.to.checked_add(1);
    }
}
