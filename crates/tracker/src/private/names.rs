//! Which number stands behind a passkey or an info_hash.
//!
//! A name is kept as 64 bits of a keyed hash. What stands under the number has the name in full and
//! is compared, so a stranger who hits a fingerprint (one guess in 2^44 with a million names) wins
//! nothing; two names with one fingerprint (one chance in 2^25) would be told apart by none, and
//! the later would stand.

use alloc::collections::BTreeMap;
use core::num::NonZero;

use peerage_proto::InfoHash;

use super::DeleteReason;
use super::slots::Slots;

/// The hash of a name, as it is kept: in halves, so that a name takes 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(NonZero<u32>, u32);

impl Fingerprint {
    /// One in four billion has the fingerprint of another with the same upper half: no worse than
    /// one bit less.
    pub(super) fn of(hash: u64) -> Self {
        Self(NonZero::new(hash as u32).unwrap_or(NonZero::<u32>::MIN), (hash >> 32) as u32)
    }

    /// As [`Fingerprint::of`] took it, but where its lower half was 0.
    pub(super) fn hash(self) -> u64 {
        u64::from(self.0.get()) | u64::from(self.1) << 32
    }
}

/// A name and its number.
#[derive(Clone, Copy)]
struct Name {
    fingerprint: Fingerprint,
    number: u32,
}

const _: () = assert!(size_of::<Option<Name>>() == 12);

/// Numbers by name, about 17 bytes each.
pub(super) struct Names(Slots<Name>);

impl Names {
    pub(super) fn new() -> Self {
        Self(Slots::new())
    }

    pub(super) fn number(&self, fingerprint: Fingerprint) -> Option<u32> {
        let found = self.0.find(fingerprint.hash(), |name| name.fingerprint == fingerprint);
        found.map(|name| name.number)
    }

    /// Starts to fetch the memory where the name is.
    pub(super) fn prefetch(&self, fingerprint: Fingerprint) {
        self.0.prefetch(fingerprint.hash());
    }

    pub(super) fn put(&mut self, fingerprint: Fingerprint, number: u32) {
        let (hash, name) = (fingerprint.hash(), Name { fingerprint, number });
        if !self.0.replace(hash, |other| other.fingerprint == fingerprint, name) {
            self.0.insert(hash, name, |other| other.fingerprint.hash());
        }
    }

    /// Makes room for `count` names in all.
    pub(super) fn reserve(&mut self, count: usize) {
        self.0.reserve(count, |name| name.fingerprint.hash());
    }

    /// Takes the name out where it stands for `number`.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, number: u32) {
        let is_it = |name: Name| name.fingerprint == fingerprint && name.number == number;
        self.0.remove(fingerprint.hash(), is_it, |name| name.fingerprint.hash());
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
    pub(super) fn new() -> Self {
        Self { names: Names::new(), deleted: BTreeMap::new() }
    }

    pub(super) fn remember(&mut self, info_hash: InfoHash, deleted: Deleted) {
        if self.deleted.len() < DELETED_MAX || self.deleted.contains_key(&info_hash) {
            self.deleted.insert(info_hash, deleted);
        }
    }
}
