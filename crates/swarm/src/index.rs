//! The swarms of one shard, found by info_hash: 40 bytes each, and a tag of one byte.
//!
//! Open addressing with linear probing. The tags are looked at eight at a time, so that a search
//! touches one line of tags and the one entry it is for. The table grows by a sixteenth and not by
//! doubling: with many shards of some hundred swarms each, to rebuild one takes some microseconds.

use alloc::vec;
use alloc::vec::Vec;

use peerage_proto::InfoHash;

use crate::entry::Entry;

/// At most 15/16 of the places are taken.
const LOAD: (usize, usize) = (15, 16);
/// Tags looked at in one go; so many from the start stand once more after the end.
const GROUP: usize = 8;
const EMPTY: u8 = 0;

#[derive(Default)]
pub(crate) struct Index {
    /// The tag of each place, and those of the first [`GROUP`] places again.
    tags: Vec<u8>,
    entries: Vec<Entry>,
    len: usize,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tags.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn tags_address(&self) -> usize {
        self.tags.as_ptr().addr()
    }

    pub(crate) fn entries_address(&self) -> usize {
        self.entries.as_ptr().addr()
    }

    pub(crate) fn find(&self, info_hash: &InfoHash, hash: u64) -> Option<usize> {
        let places = self.places();
        if places == 0 {
            return None;
        }
        let tag = tag(hash);
        let mut place = home(hash, places);
        // Ends: some place is empty.
        loop {
            let group = self.group(place);
            let empty = first_zero(group);
            let mut equal = zeros(group ^ (u64::from(tag) * LOW_BITS));
            while equal != 0 {
                let offset = equal.trailing_zeros() as usize / 8;
                if empty <= offset {
                    break;
                }
                let candidate = wrap(place + offset, places);
                if self.entries[candidate].info_hash == *info_hash {
                    return Some(candidate);
                }
                equal &= equal - 1;
            }
            if empty < GROUP {
                return None;
            }
            place = wrap(place + GROUP, places);
        }
    }

    /// The entry at `place`, `None` if the place is empty.
    pub(crate) fn get(&self, place: usize) -> Option<&Entry> {
        (self.tags[place] != EMPTY).then(|| &self.entries[place])
    }

    /// The entry of a place that [`Index::find`] or [`Index::insert`] has told.
    pub(crate) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    pub(crate) fn entry_mut(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[place]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .zip(&self.tags)
            .filter(|(_, tag)| **tag != EMPTY)
            .map(|(entry, _)| entry)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let tags = &self.tags;
        self.entries.iter_mut().zip(tags).filter(|(_, tag)| **tag != EMPTY).map(|(entry, _)| entry)
    }

    /// Puts in an entry that is not there, and says where.
    pub(crate) fn insert(
        &mut self,
        entry: Entry,
        hash: u64,
        rehash: impl Fn(&InfoHash) -> u64,
    ) -> usize {
        if self.places() * LOAD.0 < (self.len + 1) * LOAD.1 {
            self.rebuild(self.places() + self.places() / 16 + 8, rehash);
        }
        self.place(entry, hash)
    }

    /// Takes out the entry at `place` and moves those after it that had to go past it.
    pub(crate) fn remove(&mut self, place: usize, rehash: impl Fn(&InfoHash) -> u64) {
        let places = self.places();
        let mut hole = place;
        let mut next = wrap(hole + 1, places);
        while self.tags[next] != EMPTY {
            let from = home(rehash(&self.entries[next].info_hash), places);
            let distance = |from| (next + places - from) % places;
            if distance(hole) <= distance(from) {
                self.entries[hole] = self.entries[next];
                self.set_tag(hole, self.tags[next]);
                hole = next;
            }
            next = wrap(next + 1, places);
        }
        self.set_tag(hole, EMPTY);
        self.len -= 1;
    }

    /// Takes out the entries for which `keep` is false, and gives memory back when many have gone.
    /// Says how many.
    pub(crate) fn retain(
        &mut self,
        rehash: impl Fn(&InfoHash) -> u64,
        mut keep: impl FnMut(&mut Entry) -> bool,
    ) -> usize {
        let before = self.len;
        for place in 0..self.places() {
            if self.tags[place] != EMPTY && !keep(&mut self.entries[place]) {
                self.set_tag(place, EMPTY);
                self.len -= 1;
            }
        }
        if self.len < before {
            let sparse = self.len * 8 < self.places() * 5;
            let places = if sparse { self.len + self.len / 4 + GROUP } else { self.places() };
            self.rebuild(places, rehash);
        }
        before - self.len
    }

    fn place(&mut self, entry: Entry, hash: u64) -> usize {
        let places = self.places();
        let mut place = home(hash, places);
        loop {
            let empty = first_zero(self.group(place));
            if empty < GROUP {
                let place = wrap(place + empty, places);
                self.entries[place] = entry;
                self.set_tag(place, tag(hash));
                self.len += 1;
                return place;
            }
            place = wrap(place + GROUP, places);
        }
    }

    fn rebuild(&mut self, places: usize, rehash: impl Fn(&InfoHash) -> u64) {
        let places = places.max(GROUP);
        let tags = vec![EMPTY; places + GROUP];
        let entries = vec![Entry::default(); places];
        let old = core::mem::replace(self, Self { tags, entries, len: 0 });
        for entry in old.iter() {
            self.place(*entry, rehash(&entry.info_hash));
        }
    }

    fn set_tag(&mut self, place: usize, tag: u8) {
        self.tags[place] = tag;
        if place < GROUP {
            let again = self.entries.len() + place;
            self.tags[again] = tag;
        }
    }

    fn group(&self, place: usize) -> u64 {
        let group = self.tags[place..].first_chunk::<GROUP>();
        u64::from_le_bytes(*group.expect("the first places stand once more after the end"))
    }
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that is zero. A byte after a zero one may be marked wrongly.
fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(LOW_BITS) & !bytes & HIGH_BITS
}

/// The first byte that is zero, 8 if none is.
fn first_zero(bytes: u64) -> usize {
    zeros(bytes).trailing_zeros() as usize / 8
}

fn wrap(place: usize, places: usize) -> usize {
    if place < places { place } else { place - places }
}

/// Where the search for a hash begins. Of the bits that choose neither shard nor tag.
pub(crate) fn home(hash: u64, places: usize) -> usize {
    let bits = u64::from((hash >> 8) as u32);
    ((bits * places as u64) >> 32) as usize
}

fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::Rng;

    fn numbered(number: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        InfoHash(bytes)
    }

    /// Few tags and few homes, so that searches are long and go past strangers.
    fn poor_hash(info_hash: &InfoHash) -> u64 {
        let number = u64::from(u32::from_be_bytes(*info_hash.0.first_chunk().expect("20 bytes")));
        (number % 3) | (number.wrapping_mul(0x9e37_79b9) % 64) << 34
    }

    fn good_hash(info_hash: &InfoHash) -> u64 {
        let number = u64::from(u32::from_be_bytes(*info_hash.0.first_chunk().expect("20 bytes")));
        number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn check(hash: fn(&InfoHash) -> u64, numbers: u32, operations: u32) {
        let mut rng = Rng::from_seed(u64::from(numbers));
        let mut index = Index::default();
        let mut model = BTreeSet::new();
        for _ in 0..operations {
            let number = rng.below(numbers);
            let info_hash = numbered(number);
            let found = index.find(&info_hash, hash(&info_hash));
            assert_eq!(found.is_some(), model.contains(&number));
            match (rng.below(1000), found) {
                (0, _) => {
                    let bit = rng.below(4);
                    let keep = |info_hash: &InfoHash| info_hash.0[3] >> bit & 1 == 0;
                    let removed = index.retain(hash, |entry| keep(&entry.info_hash));
                    let before = model.len();
                    model.retain(|&number| keep(&numbered(number)));
                    assert_eq!(removed, before - model.len());
                }
                (1..500, Some(place)) => {
                    index.remove(place, hash);
                    model.remove(&number);
                }
                (_, None) => {
                    let place = index.insert(Entry::new(info_hash), hash(&info_hash), hash);
                    assert_eq!(index.entry(place).info_hash, info_hash);
                    model.insert(number);
                }
                _ => {}
            }
            assert_eq!(index.len(), model.len());
        }
        assert_eq!(index.iter().count(), model.len());
    }

    #[test]
    fn index_agrees_with_a_set() {
        check(good_hash, 10, 20_000);
        check(good_hash, 3000, 60_000);
    }

    #[test]
    fn index_whose_hashes_collide_agrees_with_a_set() {
        check(poor_hash, 150, 60_000);
    }
}
