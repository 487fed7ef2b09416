//! User agents as one of few: a row that waits holds a count on a shared text, and an announce
//! copies none.

use alloc::string::String;
use alloc::sync::Arc;

use hashbrown::HashTable;

use super::table::Secret;

/// The user agents that one worker has seen lately.
pub(crate) struct Agents {
    secret: Secret,
    seen: HashTable<Arc<str>>,
    none: Arc<str>,
}

/// A site allows some tens of clients; whoever makes up more costs an allocation each.
const AGENTS_MAX: usize = 1024;

/// Bytes of one that are kept.
const BYTES_MAX: usize = 255;

impl Agents {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, seen: HashTable::new(), none: Arc::default() }
    }

    /// The text as it is kept: bytes that are no UTF-8 replaced, cut at [`BYTES_MAX`].
    pub(crate) fn keep(&mut self, agent: &[u8]) -> Arc<str> {
        if agent.is_empty() {
            return Arc::clone(&self.none);
        }
        let cut = &agent[..agent.len().min(BYTES_MAX)];
        let hash = self.secret.hash(&cut);
        if let Some(known) = self.seen.find(hash, |known| known.as_bytes() == cut) {
            return Arc::clone(known);
        }
        let mut text = String::from_utf8_lossy(cut);
        // A replaced byte is three.
        let is_end = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=text.len().min(BYTES_MAX)).rev().find(is_end).unwrap_or(0);
        if end < text.len() {
            text.to_mut().truncate(end);
        }
        let kept = Arc::<str>::from(&*text);
        if AGENTS_MAX <= self.seen.len() {
            self.seen.clear();
        }
        // Only what is found again by its bytes is worth its room.
        if kept.as_bytes() == cut {
            let secret = self.secret;
            self.seen.insert_unique(hash, Arc::clone(&kept), |text| secret.hash(&text.as_bytes()));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_is_kept_once_and_cut_where_a_character_ends() {
        let mut agents = Agents::new(Secret([1; 16]));
        let first = agents.keep(b"Transmission/4.0.6");
        assert!(Arc::ptr_eq(&first, &agents.keep(b"Transmission/4.0.6")));
        assert_eq!(&*first, "Transmission/4.0.6");
        assert_eq!(&*agents.keep(b""), "");
        assert_eq!(&*agents.keep(b"a\xffb"), "a\u{fffd}b");
        let long = "\u{e4}".repeat(200);
        assert!(agents.keep(long.as_bytes()).starts_with(&"\u{e4}".repeat(127)));
        for length in [254, 255, 256, 1000] {
            assert!(agents.keep(&[b'x'; 1000][..length]).len() == length.min(255));
            assert!(agents.keep(&[0xff; 1000][..length]).len() <= 255);
        }
        for number in 0..3000_u32 {
            agents.keep(&number.to_be_bytes());
            assert!(agents.seen.len() <= AGENTS_MAX);
        }
    }
}
