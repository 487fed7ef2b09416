//! Listed mode: which info_hashes may be tracked.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use peerage_proto::InfoHash;

/// An allow list and a deny list, both in force at once. Empty lists allow everything.
#[derive(Clone, Debug, Default)]
pub struct AccessList {
    allow: Option<List>,
    deny: List,
}

/// Info_hashes in two parts, so that a change of the one does not copy the other: what the operator
/// wrote, and what was added while the tracker runs. A hash may be in both.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Sorted, each once.
    written: Arc<Vec<InfoHash>>,
    /// Sorted, each once.
    added: Arc<Vec<InfoHash>>,
    /// Hashes in either part.
    length: usize,
}

/// A line of a list that is no info_hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The line, counted from 1.
    pub line: usize,
}

impl List {
    /// A list of one part, in any order, with or without repetitions.
    pub fn new(mut written: Vec<InfoHash>) -> Self {
        written.sort_unstable();
        written.dedup();
        Self { length: written.len(), written: Arc::new(written), added: Arc::default() }
    }

    /// The same with another second part, which is sorted and has each hash once. Goes once through
    /// both parts, unless one is empty.
    pub fn with_added(&self, added: Arc<Vec<InfoHash>>) -> Self {
        debug_assert!(added.is_sorted_by(|a, b| a < b));
        let mut list = Self { written: Arc::clone(&self.written), added, length: 0 };
        list.length = match (list.written.len(), list.added.len()) {
            (0, length) | (length, 0) => length,
            _ => list.after(None).count(),
        };
        list
    }

    /// Whether a hash is in either part.
    pub fn contains(&self, info_hash: &InfoHash) -> bool {
        // Most trackers have no list: that is to cost a look at what is at hand already.
        self.length != 0
            && (self.written.binary_search(info_hash).is_ok()
                || self.added.binary_search(info_hash).is_ok())
    }

    /// Whether the operator wrote it.
    pub fn is_written(&self, info_hash: &InfoHash) -> bool {
        self.written.binary_search(info_hash).is_ok()
    }

    /// Hashes in either part, each counted once.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The hashes above `info_hash`, or all, in order, each once.
    pub fn after(&self, info_hash: Option<&InfoHash>) -> impl Iterator<Item = InfoHash> {
        let rest = |part: &[InfoHash]| match info_hash {
            Some(after) => part.partition_point(|hash| hash <= after),
            None => 0,
        };
        let (mut at_written, mut at_added) = (rest(&self.written), rest(&self.added));
        core::iter::from_fn(move || {
            let (written, added) = (self.written.get(at_written), self.added.get(at_added));
            let order = match (written, added) {
                (Some(written), Some(added)) => written.cmp(added),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            at_written += usize::from(order != Ordering::Greater);
            at_added += usize::from(order != Ordering::Less);
            if order == Ordering::Greater { added.copied() } else { written.copied() }
        })
    }
}

impl AccessList {
    /// `allow` of `None` allows all that is not denied. A hash on both lists is denied.
    pub fn new(allow: Option<Vec<InfoHash>>, deny: Vec<InfoHash>) -> Self {
        Self::of(allow.map(List::new), List::new(deny))
    }

    /// As [`AccessList::new`], of lists that are there already.
    pub fn of(allow: Option<List>, deny: List) -> Self {
        Self { allow, deny }
    }

    /// What alone may be tracked; `None` where all that is not denied may.
    pub fn allowed(&self) -> Option<&List> {
        self.allow.as_ref()
    }

    /// What may not be tracked.
    pub fn denied(&self) -> &List {
        &self.deny
    }

    /// Reads a list: one info_hash a line, 40 hex digits (v1) or 64 (v2, cut to its first 20 bytes
    /// as on the wire, BEP 52). Empty lines and what follows a `#` are passed over.
    pub fn parse(text: &str) -> Result<Vec<InfoHash>, ListError> {
        let mut hashes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let hex = line.split('#').next().unwrap_or_default().trim();
            if hex.is_empty() {
                continue;
            }
            hashes.push(Self::parse_hash(hex).ok_or(ListError { line: index + 1 })?);
        }
        Ok(hashes)
    }

    /// Reads an info_hash: 40 hex digits (v1) or 64 (v2, cut to its first 20 bytes).
    pub fn parse_hash(hex: &str) -> Option<InfoHash> {
        let digits = matches!(hex.len(), 40 | 64) && hex.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| InfoHash::from_hex(&hex[..40])).flatten()
    }

    /// Whether the swarm may be.
    pub fn allows(&self, info_hash: &InfoHash) -> bool {
        !self.deny.contains(info_hash)
            && self.allow.as_ref().is_none_or(|allow| allow.contains(info_hash))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn hashes(bytes: &[u8]) -> Vec<InfoHash> {
        bytes.iter().map(|&byte| InfoHash([byte; 20])).collect()
    }

    #[test]
    fn list_of_two_parts_has_each_hash_once_and_in_order() {
        let written = List::new(hashes(&[5, 1, 5, 3]));
        assert_eq!(written.len(), 3);
        let list = written.with_added(Arc::new(hashes(&[2, 3, 9])));
        assert_eq!(list.len(), 5);
        assert_eq!(list.after(None).collect::<Vec<_>>(), hashes(&[1, 2, 3, 5, 9]));
        let after = InfoHash([3; 20]);
        assert_eq!(list.after(Some(&after)).collect::<Vec<_>>(), hashes(&[5, 9]));
        assert_eq!(list.after(Some(&InfoHash([9; 20]))).next(), None);
        for (byte, contained, written) in [(1, true, true), (9, true, false), (4, false, false)] {
            let hash = InfoHash([byte; 20]);
            assert_eq!((list.contains(&hash), list.is_written(&hash)), (contained, written));
        }
        assert_eq!(list.with_added(Arc::default()).len(), 3);
        assert!(List::default().is_empty());
    }

    #[test]
    fn hash_on_both_lists_is_denied() {
        let access = AccessList::new(Some(hashes(&[1, 2])), hashes(&[2]));
        assert!(access.allows(&InfoHash([1; 20])));
        assert!(!access.allows(&InfoHash([2; 20])));
        assert!(!access.allows(&InfoHash([3; 20])));
        assert!(AccessList::new(None, vec![]).allows(&InfoHash([3; 20])));
    }
}
