//! A swarm in 40 bytes: its info_hash, how often it was finished, and its peers or where they are.

use peerage_proto::InfoHash;

use crate::few::{Head, Split};

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) info_hash: InfoHash,
    /// How often it was finished (30 bits), and the form of the body (2 bits).
    meta: u32,
    body: [u32; 4],
}

const _: () = assert!(size_of::<Entry>() == 40);

/// Where the peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Here: one or two IPv4 peers.
    Inline([u32; 4]),
    /// In a block of the arena.
    Block(Block),
    /// In the large swarm of this number.
    Big(u32),
    /// Nowhere: there are none since this second of the UNIX epoch. Kept for its `completed`.
    Empty(u32),
}

/// A block of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// In words from the arena's start.
    pub(crate) offset: u32,
    /// In words.
    pub(crate) capacity: u16,
    pub(crate) head: Head,
}

const INLINE: u32 = 0;
const BLOCK: u32 = 1;
const BIG: u32 = 2;
const EMPTY: u32 = 3;
const FORM_BITS: u32 = 2;

impl Default for Entry {
    fn default() -> Self {
        Self::new(InfoHash([0; 20]))
    }
}

impl Entry {
    /// A swarm without peers, to be given one at once.
    pub(crate) fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, meta: INLINE, body: [0; 4] }
    }

    pub(crate) fn completed(&self) -> u32 {
        self.meta >> FORM_BITS
    }

    /// Stops counting at 2^30 - 1.
    pub(crate) fn add_completed(&mut self) {
        if self.completed() < u32::MAX >> FORM_BITS {
            self.meta += 1 << FORM_BITS;
        }
    }

    /// At most 2^30 - 1.
    pub(crate) fn set_completed(&mut self, completed: u32) {
        let completed = completed.min(u32::MAX >> FORM_BITS);
        self.meta = completed << FORM_BITS | self.meta & ((1 << FORM_BITS) - 1);
    }

    pub(crate) fn body(&self) -> Body {
        let body = self.body;
        match self.meta & ((1 << FORM_BITS) - 1) {
            INLINE => Body::Inline(body),
            BLOCK => Body::Block(Block {
                offset: body[0],
                capacity: body[1] as u16,
                head: Head {
                    v4: split(body[2]),
                    v6: split(body[3]),
                    paused: (body[1] >> 16) as u16,
                },
            }),
            BIG => Body::Big(body[0]),
            _ => Body::Empty(body[0]),
        }
    }

    pub(crate) fn set_body(&mut self, body: Body) {
        let (form, body) = match body {
            Body::Inline(words) => (INLINE, words),
            Body::Block(Block { offset, capacity, head }) => {
                let sizes = u32::from(capacity) | u32::from(head.paused) << 16;
                (BLOCK, [offset, sizes, joined(head.v4), joined(head.v6)])
            }
            Body::Big(number) => (BIG, [number, 0, 0, 0]),
            Body::Empty(since_secs) => (EMPTY, [since_secs, 0, 0, 0]),
        };
        self.meta = self.meta >> FORM_BITS << FORM_BITS | form;
        self.body = body;
    }
}

fn split(word: u32) -> Split {
    Split { seeders: word as u16, leechers: (word >> 16) as u16 }
}

fn joined(split: Split) -> u32 {
    u32::from(split.seeders) | u32::from(split.leechers) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_read_back_as_it_was_written_beside_completed() {
        let head = Head {
            v4: Split { seeders: 1, leechers: 0xfff0 },
            v6: Split { seeders: 0xff00, leechers: 3 },
            paused: 0x8001,
        };
        let bodies = [
            Body::Inline([1, 2, 3, u32::MAX]),
            Body::Block(Block { offset: u32::MAX, capacity: 0xffff, head }),
            Body::Big(7),
            Body::Empty(u32::MAX),
        ];
        let mut entry = Entry::new(InfoHash([9; 20]));
        for (count, body) in (1..).zip(bodies) {
            entry.add_completed();
            entry.set_body(body);
            assert_eq!(entry.body(), body);
            assert_eq!(entry.completed(), count);
        }
    }
}
