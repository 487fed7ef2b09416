//! The connections of a worker, each at a number of its own.

use super::connection::Connection;

/// Up to a fixed number of connections. Memory grows with the most that were open at once.
pub(super) struct Slots {
    slots: Vec<Option<Connection>>,
    /// The numbers below `slots.len()` that hold no connection.
    free: Vec<u32>,
    connections_max: usize,
    /// Where the next sweep begins.
    swept: usize,
}

impl Slots {
    pub(super) fn new(connections_max: usize) -> Self {
        let connections_max = connections_max.min(u32::MAX as usize);
        Self { slots: Vec::new(), free: Vec::new(), connections_max, swept: 0 }
    }

    /// The number the next connection will have; `None` when all are taken.
    pub(super) fn next(&self) -> Option<usize> {
        match self.free.last() {
            Some(number) => Some(*number as usize),
            None => Some(self.slots.len()).filter(|number| *number < self.connections_max),
        }
    }

    /// Puts a connection at the number that [`Slots::next`] has just told.
    pub(super) fn insert(&mut self, connection: Connection) {
        match self.free.pop() {
            Some(number) => self.slots[number as usize] = Some(connection),
            None => self.slots.push(Some(connection)),
        }
    }

    pub(super) fn at(&mut self, number: usize) -> Option<&mut Connection> {
        self.slots.get_mut(number)?.as_mut()
    }

    pub(super) fn remove(&mut self, number: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(number)?.take()?;
        self.free.push(number as u32);
        Some(connection)
    }

    /// The numbers of the next sweep: a tenth of all, so that each comes up once in ten sweeps.
    pub(super) fn sweep(&mut self) -> std::ops::Range<usize> {
        let start = if self.swept < self.slots.len() { self.swept } else { 0 };
        self.swept = (start + self.slots.len() / 10 + 1).min(self.slots.len());
        start..self.swept
    }
}
