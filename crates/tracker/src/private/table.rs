//! Rows that lie dense in memory and are found by their key: members, torrents, tokens, what waits
//! to be written.
//!
//! A row costs its own size, about 6 bytes of index, and at most an eighth of room to grow.

use alloc::vec::Vec;
use core::num::NonZero;

use peerage_proto::InfoHash;
use peerage_swarm::prefetch;
use siphasher::sip::SipHasher13;

use super::slots::Slots;
use super::{MemberId, Passkey, PeerKey, Token, TorrentId};

/// The key of all hashes here: secret, so that no client can choose a peer_id, and no member an
/// info_hash, that lies where many others do.
#[derive(Clone, Copy)]
pub(super) struct Secret(pub(super) [u8; 16]);

impl Secret {
    pub(super) fn hash(self, key: &impl Key) -> u64 {
        key.hash(self)
    }

    fn hash_bytes(self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.0).hash(bytes)
    }

    /// Of numbers, which the site gives out and no client chooses: spread, and no more (the end of
    /// SplitMix64).
    fn hash_number(self, number: u64) -> u64 {
        let start = u64::from_le_bytes(self.0[..8].try_into().expect("8 of 16 bytes"));
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(start);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// By what something is found.
pub(super) trait Key: Eq {
    /// All 64 bits are as good as random.
    fn hash(&self, secret: Secret) -> u64;
}

impl Key for MemberId {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_number(self.0.into())
    }
}

impl Key for TorrentId {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_number(self.0.into())
    }
}

impl Key for Token {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_number(u64::from(self.member.0) | u64::from(self.torrent.0) << 32)
    }
}

impl Key for Passkey {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_bytes(&self.0)
    }
}

impl Key for InfoHash {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_bytes(&self.0)
    }
}

impl Key for PeerKey {
    fn hash(&self, secret: Secret) -> u64 {
        let mut bytes = [0; 28];
        bytes[..4].copy_from_slice(&self.member.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.torrent.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.peer_id.0);
        secret.hash_bytes(&bytes)
    }
}

/// The bytes of a user agent.
impl Key for &[u8] {
    fn hash(&self, secret: Secret) -> u64 {
        secret.hash_bytes(self)
    }
}

/// What stands in a [`Table`].
pub(super) trait Row {
    /// By what it is found.
    type Key: Key;

    /// Never changes while the row is in a table.
    fn key(&self) -> Self::Key;
}

/// Rows by their key, in no order.
pub(super) struct Table<R> {
    secret: Secret,
    rows: Vec<R>,
    /// The place of each row.
    index: Slots<Place>,
}

/// Where a row is, and 6 bits of its hash, so that hardly ever another row is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(NonZero<u32>);

/// Bits of a place. What is left of 32 is the hash's.
const PLACE_BITS: u32 = 26;

/// Rows in one table: 67 million, where all members of a large site are a few thousand in each of
/// their parts. Nobody has tokens or peers for so many at one torrent: one more is a bug.
const ROWS_MAX: usize = (1 << PLACE_BITS) - 1;

/// Room that an emptied table keeps, so that the next rows find it.
const ROWS_KEPT: usize = 128;

/// A table grows by an eighth, and at least by so many rows.
const ROWS_MORE: usize = 8;

impl Place {
    fn new(place: usize, hash: u64) -> Self {
        assert!(place < ROWS_MAX, "a table is a small part of all rows");
        let number = Self::tag(hash) << PLACE_BITS | (place as u32 + 1);
        Self(NonZero::new(number).expect("it is one more than the place"))
    }

    fn get(self) -> usize {
        (self.0.get() & ROWS_MAX as u32) as usize - 1
    }

    /// Whether it may be that of a row with this hash.
    fn may_be(self, hash: u64) -> bool {
        self.0.get() >> PLACE_BITS == Self::tag(hash)
    }

    /// The uppermost bits of the hash: neither those that choose the part nor those that choose
    /// the slot.
    fn tag(hash: u64) -> u32 {
        (hash >> (32 + PLACE_BITS)) as u32
    }
}

impl<R: Row> Table<R> {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, rows: Vec::new(), index: Slots::new() }
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
        self.place_at(self.secret.hash(key), key)
    }

    /// The same, where the hash of the key is known.
    pub(super) fn place_at(&self, hash: u64, key: &R::Key) -> Option<usize> {
        let is_it = |place: Place| place.may_be(hash) && self.rows[place.get()].key() == *key;
        self.index.find(hash, is_it).map(Place::get)
    }

    pub(super) fn find(&self, key: &R::Key) -> Option<&R> {
        self.place(key).map(|place| &self.rows[place])
    }

    pub(super) fn find_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        self.place(key).map(|place| &mut self.rows[place])
    }

    /// Starts to fetch the memory by which a row with this hash is found.
    pub(super) fn prefetch_place(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// The same for a key.
    pub(super) fn prefetch_place_of(&self, key: &R::Key) {
        self.prefetch_place(self.secret.hash(key));
    }

    /// Starts to fetch the row with this hash, or one that might have it.
    pub(super) fn prefetch_row(&self, hash: u64) {
        let found = self.index.find(hash, |place| place.may_be(hash));
        if let Some(row) = found.and_then(|place| self.rows.get(place.get())) {
            let start = core::ptr::from_ref(row).addr();
            prefetch(start);
            // A row lies in two lines more often than not.
            prefetch(start + size_of::<R>() - 1);
        }
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
    pub(super) fn add(&mut self, row: R) -> usize {
        let place = self.rows.len();
        if place == self.rows.capacity() {
            self.rows.reserve_exact((place / 8).max(ROWS_MORE));
        }
        let hash = self.secret.hash(&row.key());
        self.rows.push(row);
        let (rows, secret) = (&self.rows, self.secret);
        let hash_of = |place: Place| secret.hash(&rows[place.get()].key());
        self.index.insert(hash, Place::new(place, hash), hash_of);
        place
    }

    /// Makes room for `count` rows in all.
    pub(super) fn reserve(&mut self, count: usize) {
        self.rows.reserve_exact(count.saturating_sub(self.rows.len()));
        let (rows, secret) = (&self.rows, self.secret);
        self.index.reserve(count, |place: Place| secret.hash(&rows[place.get()].key()));
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
            let (old, new) = (Place::new(last, hash), Place::new(place, hash));
            let was_there = self.index.replace(hash, |at| at == old, new);
            assert!(was_there, "every row is in the index");
        }
        self.rows.swap_remove(place)
    }

    /// Takes out any row.
    pub(super) fn pop(&mut self) -> Option<R> {
        let last = self.rows.len().checked_sub(1)?;
        self.unindex(last);
        let row = self.rows.pop();
        self.give_back_room();
        row
    }

    /// Takes out all rows, at once and for less than one after the other. Room for as many stays.
    pub(super) fn take_all(&mut self) -> Vec<R> {
        let count = self.rows.len();
        self.index.clear(count);
        core::mem::replace(&mut self.rows, Vec::with_capacity(count))
    }

    /// Where there are no rows, gives back what a burst has made once it is over.
    pub(super) fn give_back_room(&mut self) {
        if self.rows.is_empty() && ROWS_KEPT < self.rows.capacity() {
            self.rows = Vec::new();
            self.index = Slots::new();
        }
    }

    fn unindex(&mut self, place: usize) {
        let hash = self.secret.hash(&self.rows[place].key());
        let (rows, secret) = (&self.rows, self.secret);
        let gone = Place::new(place, hash);
        let hash_of = |place: Place| secret.hash(&rows[place.get()].key());
        let was_there = self.index.remove(hash, |at| at == gone, hash_of);
        assert!(was_there, "every row is in the index");
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

    impl Key for u32 {
        fn hash(&self, secret: Secret) -> u64 {
            secret.hash_number((*self).into())
        }
    }

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
                _ if rng.below(100) == 0 => {
                    let rows: Vec<_> = model.iter().map(|(&key, &value)| (key, value)).collect();
                    let mut taken = table.take_all();
                    taken.sort_unstable();
                    assert_eq!(taken, rows);
                    model.clear();
                    if rng.below(2) == 0 {
                        table.give_back_room();
                    }
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
