//! The peers of one family and role in a large swarm: one table, or many when it is huge.
//!
//! A table is rebuilt in one go when it grows, which at [`TABLE_PEERS_MAX`] peers takes about a
//! quarter of a millisecond. Above that a crowd is cut into [`TABLES`] tables by hash.

use alloc::boxed::Box;

use crate::draw::{Draw, Random};
use crate::slot::{HashKey, Slot};
use crate::table::{Cursor, Place, Table};

/// A crowd is cut when it would grow above this many peers, and never put together again while it
/// lives: a swarm that was this large is soon so again, or gone.
const TABLE_PEERS_MAX: usize = 16_384;
const TABLES: usize = 64;

/// At this bound each table holds [`TABLE_PEERS_MAX`] peers.
pub(crate) const CROWD_PEERS_MAX: u32 = (TABLES * TABLE_PEERS_MAX) as u32;

pub(crate) struct Crowd<S: Slot> {
    /// The only table of a crowd that is not cut; empty otherwise.
    whole: Table<S>,
    cut: Option<Box<Cut<S>>>,
}

struct Cut<S: Slot> {
    tables: [Table<S>; TABLES],
    len: usize,
    /// No table has more lines.
    lines_max: usize,
}

/// How often a draw looks for a random peer to start at.
const START_TRIES_MAX: u32 = 32;

/// Where a draw from a crowd goes on.
pub(crate) struct CrowdCursor {
    table: usize,
    tables_left: usize,
    cursor: Cursor,
}

impl<S: Slot> Default for Crowd<S> {
    fn default() -> Self {
        Self { whole: Table::default(), cut: None }
    }
}

impl<S: Slot> Crowd<S> {
    pub(crate) fn len(&self) -> usize {
        self.cut.as_ref().map_or(self.whole.len(), |cut| cut.len)
    }

    pub(crate) fn bytes(&self) -> usize {
        let cut = self.cut.as_ref().map_or(0, |cut| {
            size_of::<Cut<S>>() + cut.tables.iter().map(Table::bytes).sum::<usize>()
        });
        self.whole.bytes() + cut
    }

    /// How many tables there are: what [`Crowd::retain`] goes through one by one.
    pub(crate) fn tables(&self) -> usize {
        if self.cut.is_some() { TABLES } else { 1 }
    }

    pub(crate) fn find(&self, peer: S, hash: u64) -> Option<Place> {
        self.table(hash).find(peer, hash)
    }

    pub(crate) fn get(&self, hash: u64, place: Place) -> S {
        self.table(hash).get(place)
    }

    pub(crate) fn set(&mut self, hash: u64, place: Place, slot: S) {
        self.table_mut(hash).set(place, slot);
    }

    /// Puts in a peer that is not there.
    pub(crate) fn insert(&mut self, slot: S, hash: u64, key: &HashKey) {
        if self.whole.len() == TABLE_PEERS_MAX {
            self.cut_up(key);
        }
        self.table_mut(hash).insert(slot, hash, key);
        if let Some(cut) = &mut self.cut {
            cut.len += 1;
            cut.lines_max = cut.lines_max.max(cut.tables[part(hash)].lines());
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, place: Place, key: &HashKey) {
        self.table_mut(hash).remove(place, key);
        if let Some(cut) = &mut self.cut {
            cut.len -= 1;
        }
    }

    /// Takes out the peers of one table for which `keep` is false.
    pub(crate) fn retain(&mut self, table: usize, key: &HashKey, keep: impl FnMut(S) -> bool) {
        match &mut self.cut {
            None => {
                self.whole.retain(key, keep);
            }
            Some(cut) => {
                cut.len -= cut.tables[table].retain(key, keep);
                cut.lines_max = cut.tables.iter().map(Table::lines).max().unwrap_or_default();
            }
        }
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(S)) {
        self.whole.iter().for_each(&mut visit);
        for table in self.cut.iter().flat_map(|cut| &cut.tables) {
            table.iter().for_each(&mut visit);
        }
    }

    /// Of one table; of none where there is no such table.
    pub(crate) fn for_each_in(&self, table: usize, visit: impl FnMut(S)) {
        if table < self.tables() {
            self.table_at(table).iter().for_each(visit);
        }
    }

    pub(crate) fn cursor(&self, random: Random, draw: &mut Draw<'_, S>) -> CrowdCursor {
        match &self.cut {
            None => {
                let cursor = self.whole.cursor(random, draw);
                CrowdCursor { table: 0, tables_left: 0, cursor }
            }
            Some(cut) => cut.cursor(random, draw),
        }
    }

    /// Starts to fetch what a draw of about `want` peers with the same `random` will visit.
    pub(crate) fn prefetch_draw(&self, random: Random, want: usize) {
        match &self.cut {
            None => self.whole.prefetch_draw(self.whole.lines(), random, want),
            Some(cut) => {
                let table = &cut.tables[random.table(TABLES)];
                table.prefetch_draw(cut.lines_max, random, want);
            }
        }
    }

    /// Starts to fetch the line where a peer most likely stands.
    pub(crate) fn prefetch_home(&self, hash: u64) {
        self.table(hash).prefetch_home(hash);
    }

    /// Draws until `draw` is full or each peer was offered. May be called again to go on.
    pub(crate) fn draw(&self, at: &mut CrowdCursor, draw: &mut Draw<'_, S>) {
        loop {
            self.table_at(at.table).draw(&mut at.cursor, draw);
            if draw.is_full() || at.tables_left == 0 {
                return;
            }
            at.tables_left -= 1;
            at.table = (at.table + 1) % TABLES;
            let random = Random(draw.rng.next_u64());
            at.cursor = self.table_at(at.table).cursor(random, draw);
        }
    }

    fn table(&self, hash: u64) -> &Table<S> {
        self.cut.as_ref().map_or(&self.whole, |cut| &cut.tables[part(hash)])
    }

    fn table_mut(&mut self, hash: u64) -> &mut Table<S> {
        self.cut.as_mut().map_or(&mut self.whole, |cut| &mut cut.tables[part(hash)])
    }

    fn table_at(&self, table: usize) -> &Table<S> {
        self.cut.as_ref().map_or(&self.whole, |cut| &cut.tables[table])
    }

    fn cut_up(&mut self, key: &HashKey) {
        let whole = core::mem::take(&mut self.whole);
        let mut tables = core::array::from_fn(|_| Table::with_room_for(whole.len() / TABLES));
        for slot in whole.iter() {
            let hash = slot.hash(key);
            let table: &mut Table<S> = &mut tables[part(hash)];
            table.insert(slot, hash, key);
        }
        let lines_max = tables.iter().map(Table::lines).max().unwrap_or_default();
        self.cut = Some(Box::new(Cut { tables, len: whole.len(), lines_max }));
    }
}

impl<S: Slot> Cut<S> {
    /// Starts a draw at a random peer that `draw` may take: at a random place of a random table, of
    /// which all are thought to be as long as the longest, until that is a peer.
    fn cursor(&self, random: Random, draw: &mut Draw<'_, S>) -> CrowdCursor {
        let try_start = |random: Random, draw: &Draw<'_, S>| {
            let table = random.table(TABLES);
            (table, self.tables[table].try_start(self.lines_max, random, draw))
        };
        let (mut table, mut start) = try_start(random, draw);
        for _ in 0..START_TRIES_MAX {
            if start.is_some() {
                break;
            }
            (table, start) = try_start(Random(draw.rng.next_u64()), draw);
        }
        let cursor = self.tables[table].cursor_at(start.unwrap_or_default(), random);
        CrowdCursor { table, tables_left: TABLES - 1, cursor }
    }
}

/// The table of a hash: its top bits, since the low ones choose the line.
fn part(hash: u64) -> usize {
    (hash >> 58) as usize
}
