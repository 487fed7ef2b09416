//! A hash table of small items, open-addressed in one block: an item is where its hash says or in
//! the next free slot after that, so that it is found in the one line that was fetched for it.
//!
//! Hashes are made by the caller, with a secret where a client can choose what is hashed.

use alloc::boxed::Box;

use peerage_swarm::prefetch;

/// Items by their hash. At most four fifths of the slots are taken; it grows by a quarter.
pub(super) struct Slots<T> {
    slots: Box<[Option<T>]>,
    len: usize,
}

/// A table grows by room for so many items at least.
const SLOTS_MORE: usize = 16;

/// Slots of the smallest table that is not empty.
const SLOTS_MIN: usize = 8;

impl<T: Copy> Slots<T> {
    /// Without memory of its own.
    pub(super) fn new() -> Self {
        Self { slots: Box::default(), len: 0 }
    }

    /// With room for `count` items.
    pub(super) fn with_room(count: usize) -> Self {
        let slots = core::iter::repeat_n(None, (count + count / 4 + 1).max(SLOTS_MIN));
        Self { slots: slots.collect(), len: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The item with this hash for which `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(T) -> bool) -> Option<T> {
        self.slots[self.place(hash, is_it)?]
    }

    /// The items with this hash, and it may be some of others.
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = T> {
        let (after, before) = self.slots.split_at(self.home(hash).min(self.slots.len()));
        before.iter().chain(after).map_while(|slot| *slot)
    }

    /// Puts `new` in the place of the item with this hash for which `is_it`; says whether there
    /// was one.
    pub(super) fn replace(&mut self, hash: u64, is_it: impl FnMut(T) -> bool, new: T) -> bool {
        let place = self.place(hash, is_it);
        place.inspect(|&place| self.slots[place] = Some(new)).is_some()
    }

    /// Puts in one more. `hash_of` tells the hashes of those that are there.
    pub(super) fn insert(&mut self, hash: u64, item: T, hash_of: impl Fn(T) -> u64) {
        if self.room() <= self.len {
            self.reserve(self.len + (self.len / 4).max(SLOTS_MORE), hash_of);
        }
        self.put(hash, item);
    }

    /// Makes room for `count` items in all. `hash_of` tells the hashes of those that are there.
    pub(super) fn reserve(&mut self, count: usize, hash_of: impl Fn(T) -> u64) {
        if count <= self.room() {
            return;
        }
        let mut grown = Self::with_room(count);
        for item in self.slots.iter().flatten() {
            grown.put(hash_of(*item), *item);
        }
        *self = grown;
    }

    /// Takes out all items. Room for `count` stays, and no more than twice that.
    pub(super) fn clear(&mut self, count: usize) {
        if 2 * count.max(SLOTS_MORE) < self.room() {
            *self = Self::with_room(count);
        }
        self.slots.fill(None);
        self.len = 0;
    }

    /// Items that find room at most.
    fn room(&self) -> usize {
        self.slots.len() * 4 / 5
    }

    /// Takes out the item with this hash for which `is_it`; says whether there was one. `hash_of`
    /// tells the hashes of the others.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(T) -> bool,
        hash_of: impl Fn(T) -> u64,
    ) -> bool {
        let Some(mut free) = self.place(hash, is_it) else { return false };
        self.len -= 1;
        let mut place = free;
        loop {
            place = self.after(place);
            // What could stand in the free slot goes there, or it would not be found.
            match self.slots[place] {
                None => break,
                Some(item)
                    if self.distance(hash_of(item), free) < self.distance(hash_of(item), place) =>
                {
                    self.slots[free] = Some(item);
                    free = place;
                }
                Some(_) => {}
            }
        }
        self.slots[free] = None;
        true
    }

    /// Starts to fetch the memory where an item with this hash is.
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(self.home(hash)) {
            prefetch(core::ptr::from_ref(slot).addr());
        }
    }

    fn put(&mut self, hash: u64, item: T) {
        let mut place = self.home(hash);
        while self.slots[place].is_some() {
            place = self.after(place);
        }
        self.slots[place] = Some(item);
        self.len += 1;
    }

    /// One slot in five is free: the search ends.
    fn place(&self, hash: u64, mut is_it: impl FnMut(T) -> bool) -> Option<usize> {
        let mut place = self.home(hash);
        while let Some(item) = self.slots.get(place).copied().flatten() {
            if is_it(item) {
                return Some(place);
            }
            place = self.after(place);
        }
        None
    }

    /// By the lower half of the hash: the upper has chosen the part that this table is.
    fn home(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.slots.len() as u64) >> 32) as usize
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }

    /// Slots from where an item with this hash belongs to `place`, around the end.
    fn distance(&self, hash: u64, place: usize) -> usize {
        let home = self.home(hash);
        if home <= place { place - home } else { self.slots.len() - home + place }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use peerage_swarm::Rng;

    use super::*;

    #[test]
    fn slots_are_a_set_also_where_many_have_one_hash() {
        // From scattered hashes to such as are all in the last slots, and go on at the first.
        for (multiplier, shift) in [(0x9e37_79b9_7f4a_7c15, 0), (0x9e37_79b9_7f4a_7c15, 60), (1, 0)]
        {
            let hash = |item: u32| u64::from(item).wrapping_mul(multiplier) >> shift | 0xffff_f000;
            let mut rng = Rng::from_seed(shift);
            let mut slots = Slots::new();
            let mut model = BTreeSet::new();
            for step in 0..20_000 {
                let growing = step / 2000 % 2 == 0;
                let item = rng.below(700);
                let is_it = |found: u32| found == item;
                assert_eq!(slots.find(hash(item), is_it).is_some(), model.contains(&item));
                assert_eq!(slots.candidates(hash(item)).any(is_it), model.contains(&item));
                slots.prefetch(hash(item));
                if !model.contains(&item) && growing {
                    slots.insert(hash(item), item, hash);
                    model.insert(item);
                } else if rng.below(3) == 0 || !growing {
                    assert_eq!(slots.remove(hash(item), is_it, hash), model.remove(&item));
                }
                assert_eq!(slots.len(), model.len());
            }
            assert!(
                model.iter().all(|&item| slots.find(hash(item), |found| found == item).is_some())
            );
        }
    }
}
