//! Rows that lie dense in memory and are found by their key: members, torrents, tokens, what waits
//! to be written.
//!
//! A row costs its own size, about 7 bytes of index, and at most an eighth of room to grow.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// The key of all hashes here: secret, so that no client can choose a peer_id, and no member an
/// info_hash, that lies where many others do.
#[derive(Clone, Copy)]
pub(super) struct Secret(pub(super) [u8; 16]);

impl Secret {
    pub(super) fn hash(self, key: &impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

/// What stands in a [`Table`].
pub(super) trait Row {
    /// By what it is found.
    type Key: Hash + Eq;

    /// Never changes while the row is in a table.
    fn key(&self) -> Self::Key;
}

/// Rows by their key, in no order.
pub(super) struct Table<R> {
    secret: Secret,
    rows: Vec<R>,
    /// The place of each row.
    index: HashTable<u32>,
}

impl<R: Row> Table<R> {
    pub(super) const fn new(secret: Secret) -> Self {
        Self { secret, rows: Vec::new(), index: HashTable::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self) -> &[R] {
        &self.rows
    }

    /// Whoever changes a row leaves its key as it is.
    pub(super) fn row_mut(&mut self, place: usize) -> &mut R {
        &mut self.rows[place]
    }

    /// Where the row with this key is. Good until a row comes or goes.
    pub(super) fn place(&self, key: &R::Key) -> Option<usize> {
        let hash = self.secret.hash(key);
        let found = self.index.find(hash, |&place| self.rows[place as usize].key() == *key);
        found.map(|&place| place as usize)
    }

    pub(super) fn find(&self, key: &R::Key) -> Option<&R> {
        self.place(key).map(|place| &self.rows[place])
    }

    pub(super) fn find_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        self.place(key).map(|place| &mut self.rows[place])
    }

    /// Puts a row in, in the place of the one with its key, which is returned.
    pub(super) fn put(&mut self, row: R) -> Option<R> {
        match self.place(&row.key()) {
            Some(place) => Some(core::mem::replace(&mut self.rows[place], row)),
            None => {
                self.add(row);
                None
            }
        }
    }

    /// The row with the key of `row`, which is put in where there is none.
    pub(super) fn find_or_put(&mut self, row: R) -> &mut R {
        let place = match self.place(&row.key()) {
            Some(place) => place,
            None => self.add(row),
        };
        &mut self.rows[place]
    }

    /// Puts in a row whose key is not there, and says where.
    fn add(&mut self, row: R) -> usize {
        let place = self.rows.len();
        if place == self.rows.capacity() {
            self.rows.reserve_exact((place / 8).max(4));
        }
        let number = u32::try_from(place).expect("a table is a small part of all rows");
        let hash = self.secret.hash(&row.key());
        self.rows.push(row);
        let (rows, secret) = (&self.rows, self.secret);
        self.index.insert_unique(hash, number, |&place| secret.hash(&rows[place as usize].key()));
        place
    }

    pub(super) fn remove(&mut self, key: &R::Key) -> Option<R> {
        self.place(key).map(|place| self.remove_at(place))
    }

    /// Takes out the row at `place`; the last row moves there.
    pub(super) fn remove_at(&mut self, place: usize) -> R {
        let last = self.rows.len() - 1;
        self.unindex(place);
        if place != last {
            let hash = self.secret.hash(&self.rows[last].key());
            let moved = self.index.find_mut(hash, |&number| number as usize == last);
            *moved.expect("every row is in the index") = place as u32;
        }
        self.rows.swap_remove(place)
    }

    /// Takes out any row.
    pub(super) fn pop(&mut self) -> Option<R> {
        let last = self.rows.len().checked_sub(1)?;
        self.unindex(last);
        let row = self.rows.pop();
        // What a burst has made is given back once it is over.
        if self.rows.is_empty() {
            self.rows = Vec::new();
            self.index = HashTable::new();
        }
        row
    }

    fn unindex(&mut self, place: usize) {
        let hash = self.secret.hash(&self.rows[place].key());
        let entry = self.index.find_entry(hash, |&number| number as usize == place);
        entry.expect("every row is in the index").remove();
    }

    /// Takes out all rows for which `keep` is false, and hands them to `gone`.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&R) -> bool, mut gone: impl FnMut(R)) {
        let mut place = 0;
        while place < self.rows.len() {
            match keep(&self.rows[place]) {
                true => place += 1,
                false => gone(self.remove_at(place)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use peerage_swarm::Rng;

    use super::*;

    impl Row for (u32, u64) {
        type Key = u32;

        fn key(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn table_is_a_map() {
        let mut rng = Rng::from_seed(1);
        let mut table = Table::new(Secret([1; 16]));
        let mut model = BTreeMap::new();
        for step in 0..20_000 {
            let key = rng.below(300);
            match rng.below(5) {
                0 | 1 => {
                    let before = model.insert(key, step).map(|value| (key, value));
                    assert_eq!(table.put((key, step)), before);
                }
                2 => assert_eq!(table.remove(&key), model.remove(&key).map(|v| (key, v))),
                3 => {
                    let row = *table.find_or_put((key, step));
                    assert_eq!(row.1, *model.entry(key).or_insert(step));
                }
                _ => {
                    if rng.below(50) == 0 {
                        table.retain(
                            |row| row.0 % 3 != 0,
                            |row| {
                                assert_eq!(model.remove(&row.0), Some(row.1));
                            },
                        );
                    }
                }
            }
            assert_eq!(table.len(), model.len());
            assert_eq!(table.find(&key).map(|row| row.1), model.get(&key).copied());
        }
        while let Some((key, value)) = table.pop() {
            assert_eq!(model.remove(&key), Some(value));
        }
        assert!(model.is_empty());
    }
}
