//! Which number stands behind a passkey or an info_hash.
//!
//! A name is kept as 64 bits of a keyed hash. What stands under the number has the name in full and
//! is compared, so a stranger who hits a fingerprint (one guess in 2^44 with a million names) wins
//! nothing; two names with one fingerprint (one chance in 2^25) would be told apart by none, and
//! the later would stand.

use alloc::collections::BTreeMap;

use peerage_proto::InfoHash;

use super::DeleteReason;
use super::table::{Row, Secret, Table};

/// The hash of a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u32; 2]);

impl Fingerprint {
    pub(super) const fn of(hash: u64) -> Self {
        Self([hash as u32, (hash >> 32) as u32])
    }
}

/// A name and its number, in 12 bytes.
#[derive(Clone, Copy)]
pub(super) struct Name {
    fingerprint: Fingerprint,
    number: u32,
}

const _: () = assert!(size_of::<Name>() == 12);

impl Row for Name {
    type Key = Fingerprint;

    fn key(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Numbers by name.
pub(super) struct Names(Table<Name>);

impl Names {
    pub(super) const fn new(secret: Secret) -> Self {
        Self(Table::new(secret))
    }

    pub(super) fn number(&self, fingerprint: Fingerprint) -> Option<u32> {
        self.0.find(&fingerprint).map(|name| name.number)
    }

    pub(super) fn put(&mut self, fingerprint: Fingerprint, number: u32) {
        self.0.put(Name { fingerprint, number });
    }

    /// Takes the name out where it stands for `number`.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, number: u32) {
        if self.number(fingerprint) == Some(number) {
            self.0.remove(&fingerprint);
        }
    }
}

/// The info_hashes that are registered, and those that were.
pub(super) struct HashNames {
    pub(super) names: Names,
    pub(super) deleted: BTreeMap<InfoHash, Deleted>,
}

/// Of a torrent that was deleted.
pub(super) struct Deleted {
    pub(super) reason: DeleteReason,
    pub(super) at_secs: u64,
}

/// Deleted torrents remembered in one part, of 256. One more is not remembered.
const DELETED_MAX: usize = 4096;

impl HashNames {
    pub(super) const fn new(secret: Secret) -> Self {
        Self { names: Names::new(secret), deleted: BTreeMap::new() }
    }

    pub(super) fn remember(&mut self, info_hash: InfoHash, deleted: Deleted) {
        if self.deleted.len() < DELETED_MAX || self.deleted.contains_key(&info_hash) {
            self.deleted.insert(info_hash, deleted);
        }
    }
}
