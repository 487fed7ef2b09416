//! A hash table of slots, for the peers of one family and role in a large swarm.
//!
//! Places are grouped into cache lines. A peer stands in its home line, or when that is full in the
//! first line after it that is not: a search ends at the first line with an empty place. The number
//! of lines is any odd number, so that a table grows by a tenth and not by doubling, and so that
//! every power of two is a stride that visits all lines.

use alloc::vec;
use alloc::vec::Vec;

use crate::draw::Draw;
use crate::draw::Random;
use crate::prefetch::prefetch;
use crate::slot::{HashKey, Line, Slot};

/// A table of up to some ten thousand peers: it is rebuilt in one go when it grows.
pub(crate) struct Table<S: Slot> {
    /// Empty, or an odd number of lines.
    lines: Vec<S::Line>,
    /// Peers in all lines; at most `LOAD_MAX` of the places.
    len: u32,
}

/// How often a draw looks for a random peer to start at.
const START_TRIES_MAX: u32 = 16;

/// More than a draw of fifty peers visits.
const PREFETCH_LINES_MAX: usize = 12;

/// Where a peer stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    line: usize,
    slot: usize,
}

/// Where a draw goes on: at `slot` of `line`, then through lines `stride` apart, and at last
/// through what stands before the first slot in the first line.
pub(crate) struct Cursor {
    line: usize,
    slot: usize,
    stride: usize,
    places_left: usize,
}

impl<S: Slot> Default for Table<S> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0 }
    }
}

impl<S: Slot> Table<S> {
    const SLOTS: usize = <S::Line as Line<S>>::SLOTS;

    pub(crate) fn with_room_for(peers: usize) -> Self {
        let lines = (peers * 60).div_ceil(Self::SLOTS * S::Line::LOAD_REBUILT) | 1;
        Self { lines: vec![S::Line::EMPTY; lines], len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<S::Line>()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = S> {
        self.lines.iter().flat_map(Line::slots).copied().filter(|slot| !slot.is_empty())
    }

    pub(crate) fn find(&self, peer: S, hash: u64) -> Option<Place> {
        if self.len == 0 {
            return None;
        }
        let mut line = self.home(hash);
        // Ends: not all places are taken, so some line has an empty one.
        loop {
            let mut has_empty = false;
            for (slot, &other) in self.lines[line].slots().iter().enumerate() {
                if other.is_same_peer(peer) {
                    return Some(Place { line, slot });
                }
                has_empty |= other.is_empty();
            }
            if has_empty {
                return None;
            }
            line = self.next(line);
        }
    }

    pub(crate) fn get(&self, place: Place) -> S {
        self.lines[place.line].slots()[place.slot]
    }

    pub(crate) fn set(&mut self, place: Place, slot: S) {
        self.lines[place.line].slots_mut()[place.slot] = slot;
    }

    /// Puts in a peer that is not there.
    pub(crate) fn insert(&mut self, slot: S, hash: u64, key: &HashKey) {
        if self.places() * S::Line::LOAD_MAX < (self.len() + 1) * 60 {
            self.rebuild(self.len() + 8, key);
        }
        self.place(slot, hash);
    }

    /// Takes out a peer, and brings those back that had to go past its line while it was full.
    pub(crate) fn remove(&mut self, place: Place, key: &HashKey) {
        let mut hole = place;
        let mut was_full = self.is_full(hole.line);
        self.len -= 1;
        let mut line = hole.line;
        while was_full {
            line = self.next(line);
            let Some(slot) = self.passed(hole.line, line, key) else {
                was_full = self.is_full(line);
                continue;
            };
            let moved = Place { line, slot };
            self.set(hole, self.get(moved));
            was_full = self.is_full(line);
            hole = moved;
        }
        self.set(hole, S::EMPTY);
        if 4 < self.lines.len() && self.len() * 3 < self.places() {
            self.rebuild(self.len(), key);
        }
    }

    /// Takes out the peers for which `keep` is false, and shrinks. Says how many.
    pub(crate) fn retain(&mut self, key: &HashKey, mut keep: impl FnMut(S) -> bool) -> usize {
        let before = self.len();
        let mut kept = 0;
        let mut lines = core::mem::take(&mut self.lines);
        for slot in lines.iter_mut().flat_map(S::Line::slots_mut) {
            if !slot.is_empty() && !keep(*slot) {
                *slot = S::EMPTY;
            }
            kept += usize::from(!slot.is_empty());
        }
        self.lines = lines;
        if kept < before {
            self.rebuild(kept, key);
        }
        before - kept
    }

    /// Starts a draw at a random peer that `draw` may take, at first where `random` says. As the
    /// draw then goes through the others in a fixed order, each is as likely as any other to be
    /// among those it takes.
    pub(crate) fn cursor(&self, random: Random, draw: &mut Draw<'_, S>) -> Cursor {
        let mut start = self.try_start(self.lines.len(), random, draw);
        // A table with few peers or many stale ones is rare; then any start must do.
        for _ in 0..START_TRIES_MAX {
            if start.is_some() {
                break;
            }
            start = self.try_start(self.lines.len(), Random(draw.rng.next_u64()), draw);
        }
        self.cursor_at(start.unwrap_or_default(), random)
    }

    /// A random place among `lines` lines, of which this table may have fewer: that of a peer that
    /// `draw` may take, or none.
    pub(crate) fn try_start(
        &self,
        lines: usize,
        random: Random,
        draw: &Draw<'_, S>,
    ) -> Option<(usize, usize)> {
        let (line, slot) = (random.line(lines), random.slot(Self::SLOTS));
        let found = self.lines.get(line)?.slots()[slot];
        draw.takes(found).then_some((line, slot))
    }

    /// Starts a draw at a place.
    pub(crate) fn cursor_at(&self, (line, slot): (usize, usize), random: Random) -> Cursor {
        let stride = random.stride(self.lines.len());
        Cursor { line, slot, stride, places_left: self.places() }
    }

    /// Starts to fetch the lines that a draw of about `want` peers with the same `random` will most
    /// likely visit, if its first try among `lines` lines holds.
    pub(crate) fn prefetch_draw(&self, lines: usize, random: Random, want: usize) {
        let stride = random.stride(self.lines.len());
        let mut line = random.line(lines);
        if self.lines.len() <= line {
            return;
        }
        // Four of five places are taken.
        let count = (want * 5).div_ceil(4 * Self::SLOTS) + 1;
        for _ in 0..count.min(self.lines.len()).min(PREFETCH_LINES_MAX) {
            self.prefetch_line(line);
            line += stride;
            if self.lines.len() <= line {
                line -= self.lines.len();
            }
        }
    }

    /// Starts to fetch the line where a peer most likely stands.
    pub(crate) fn prefetch_home(&self, hash: u64) {
        self.prefetch_line(self.home(hash));
    }

    fn prefetch_line(&self, line: usize) {
        prefetch(self.lines.as_ptr().addr() + line * size_of::<S::Line>());
    }

    /// Draws until `draw` is full or each place was visited. May be called again to go on.
    pub(crate) fn draw(&self, cursor: &mut Cursor, draw: &mut Draw<'_, S>) {
        while cursor.places_left > 0 {
            let slots = &self.lines[cursor.line].slots()[cursor.slot..];
            for &slot in &slots[..slots.len().min(cursor.places_left)] {
                if draw.is_full() {
                    return;
                }
                draw.offer(slot);
                cursor.slot += 1;
                cursor.places_left -= 1;
            }
            cursor.slot = 0;
            cursor.line += cursor.stride;
            if self.lines.len() <= cursor.line {
                cursor.line -= self.lines.len();
            }
        }
    }

    fn places(&self) -> usize {
        self.lines.len() * Self::SLOTS
    }

    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.lines.len() as u64) >> 32) as usize
    }

    fn next(&self, line: usize) -> usize {
        if line + 1 < self.lines.len() { line + 1 } else { 0 }
    }

    fn is_full(&self, line: usize) -> bool {
        self.lines[line].slots().iter().all(|slot| !slot.is_empty())
    }

    /// A peer in `line` that has gone past `hole` to get there, with all lines between full.
    fn passed(&self, hole: usize, line: usize, key: &HashKey) -> Option<usize> {
        let lines = self.lines.len();
        let distance = |from: usize| (line + lines - from) % lines;
        self.lines[line].slots().iter().position(|slot| {
            !slot.is_empty() && distance(hole) <= distance(self.home(slot.hash(key)))
        })
    }

    fn place(&mut self, slot: S, hash: u64) {
        let mut line = self.home(hash);
        loop {
            let slots = self.lines[line].slots_mut();
            if let Some(free) = slots.iter_mut().find(|slot| slot.is_empty()) {
                *free = slot;
                self.len += 1;
                return;
            }
            line = self.next(line);
        }
    }

    /// Rebuilds the table with room for `peers`, at least those it holds.
    fn rebuild(&mut self, peers: usize, key: &HashKey) {
        let old = core::mem::replace(self, Self::with_room_for(peers));
        old.iter().for_each(|slot| self.place(slot, slot.hash(key)));
    }
}
