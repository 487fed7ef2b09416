//! Listed mode: which info_hashes may be tracked.

use alloc::vec::Vec;

use peerage_proto::InfoHash;

/// An allow list and a deny list, both in force at once. Empty lists allow everything.
#[derive(Clone, Debug, Default)]
pub struct AccessList {
    allow: Option<Vec<InfoHash>>,
    deny: Vec<InfoHash>,
}

/// A line of a list that is no info_hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The line, counted from 1.
    pub line: usize,
}

impl AccessList {
    /// `allow` of `None` allows all that is not denied. A hash on both lists is denied.
    pub fn new(mut allow: Option<Vec<InfoHash>>, mut deny: Vec<InfoHash>) -> Self {
        if let Some(allow) = &mut allow {
            allow.sort_unstable();
        }
        deny.sort_unstable();
        Self { allow, deny }
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
            let error = ListError { line: index + 1 };
            let digits = matches!(hex.len(), 40 | 64) && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let hash = digits.then(|| InfoHash::from_hex(&hex[..40])).flatten();
            hashes.push(hash.ok_or(error)?);
        }
        Ok(hashes)
    }

    /// Whether the swarm may be.
    pub fn allows(&self, info_hash: &InfoHash) -> bool {
        self.deny.binary_search(info_hash).is_err()
            && self.allow.as_ref().is_none_or(|allow| allow.binary_search(info_hash).is_ok())
    }
}
