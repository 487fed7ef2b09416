//! The face of a batch, and the choice of what stands behind it.

use std::io;
use std::net::SocketAddr;

#[cfg(target_os = "linux")]
use crate::batched;
use crate::{Socket, single};

/// Longest datagram that is received whole. An announce is 98 bytes and its BEP 41 options are a
/// path and a query; nothing longer than this is a request.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// How datagrams get in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A system call for many datagrams. Replies leave from the address that was asked.
    #[cfg(target_os = "linux")]
    Batched,
    /// A system call for each. On a socket bound to the wildcard address, replies leave from the
    /// address the machine chooses: where it has several, bind to each of them.
    Single,
}

impl Backend {
    /// The best one of this platform.
    pub const fn best() -> Self {
        #[cfg(target_os = "linux")]
        return Self::Batched;
        #[cfg(not(target_os = "linux"))]
        return Self::Single;
    }
}

/// A datagram as received. Valid until its batch receives again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it, as the socket's family has it.
    pub source: SocketAddr,
    /// What it says; empty when it was longer than [`DATAGRAM_BYTES_MAX`].
    pub bytes: &'a [u8],
    /// Whether it was longer than [`DATAGRAM_BYTES_MAX`].
    pub truncated: bool,
}

/// What became of the replies of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Replies the kernel took.
    pub datagrams: u64,
    /// Their bytes, without any header.
    pub bytes: u64,
    /// Replies it did not take: no room, no route, not permitted. They are dropped; over UDP the
    /// client asks again.
    pub failed: u64,
}

/// Datagrams received together. Holds all memory that receiving and answering need.
pub struct Batch(Kind);

enum Kind {
    #[cfg(target_os = "linux")]
    Batched(batched::Batch),
    Single(single::Batch),
}

impl Batch {
    /// Room for `datagrams_max` datagrams, from 1 to 1024 (what the kernel takes at once): about
    /// 2.4 KiB each.
    pub fn new(backend: Backend, datagrams_max: u16) -> Self {
        let datagrams_max = datagrams_max.clamp(1, 1024);
        Self(match backend {
            #[cfg(target_os = "linux")]
            Backend::Batched => Kind::Batched(batched::Batch::new(datagrams_max)),
            Backend::Single => Kind::Single(single::Batch::new(datagrams_max)),
        })
    }

    /// Receives what is there, up to the size of the batch, in place of what it held before, and
    /// tells how many that were. 0 when nothing is there; never waits.
    ///
    /// An error is one of the socket as a whole; the batch is then empty.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        match &mut self.0 {
            #[cfg(target_os = "linux")]
            Kind::Batched(batch) => batch.receive(socket),
            Kind::Single(batch) => batch.receive(socket),
        }
    }

    /// How many datagrams it holds.
    pub fn len(&self) -> usize {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Batched(batch) => batch.len(),
            Kind::Single(batch) => batch.len(),
        }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datagram at `index`, below [`Batch::len`].
    pub fn datagram(&self, index: usize) -> Received<'_> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Batched(batch) => batch.datagram(index),
            Kind::Single(batch) => batch.datagram(index),
        }
    }

    /// All datagrams, in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Received<'_>> {
        (0..self.len()).map(|index| self.datagram(index))
    }

    /// Answers: each reply is the index of the datagram it goes back to, and its bytes. Replies
    /// beyond the size of the batch are not looked at.
    ///
    /// `socket` is the one the batch was received from. Never waits and never fails as a whole: a
    /// reply that cannot be sent is counted and passed over.
    pub fn reply<'r>(
        &mut self,
        socket: &Socket,
        replies: impl Iterator<Item = (usize, &'r [u8])>,
    ) -> Sent {
        match &mut self.0 {
            #[cfg(target_os = "linux")]
            Kind::Batched(batch) => batch.reply(socket, replies),
            Kind::Single(batch) => batch.reply(socket, replies),
        }
    }
}
