//! What one worker has to tell: pushed by it alone, taken a few times a second.

use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;

use peerage_proto::InfoHash;
use peerage_swarm::{Departed, Now, Role};

use super::Kind;
use crate::lock::{Mutex, lock};

/// Most changes that wait to be taken. Beyond it they are dropped and counted, and the walk makes
/// up for it. A worker that stores 200,000 new peers a second fills it in a third of one.
const CHANGES_MAX: usize = 65_536;

/// A change of one announce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer: SocketAddr,
    pub(crate) role: Role,
    pub(crate) before: Option<Role>,
    /// Whether another node may have the peer among its own.
    pub(crate) elsewhere: bool,
    pub(crate) seen: Now,
    pub(crate) kind: Kind,
    /// Whether the swarm was finished by it.
    pub(crate) finished: bool,
    /// Whether the swarm had no peers before, so that nothing is known of it.
    pub(crate) first: bool,
}

impl Told {
    /// Of a peer of this node whose time is up.
    pub(super) fn departed(departed: Departed) -> Self {
        let Departed { info_hash, peer, role, seen } = departed;
        Self {
            info_hash,
            peer,
            role,
            before: Some(role),
            elsewhere: false,
            seen,
            kind: Kind::Left,
            finished: false,
            first: false,
        }
    }
}

/// The lock is the worker's but for the moment in which another thread swaps the buffer.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Changes>);

#[derive(Default)]
struct Changes {
    told: Vec<Told>,
    dropped: u64,
}

impl Outbox {
    pub(crate) fn push(&self, told: Told) {
        let mut changes = lock(&self.0);
        if changes.told.len() < CHANGES_MAX {
            changes.told.push(told);
        } else {
            changes.dropped += 1;
        }
    }

    /// Swaps what there is with `empty`. Says how many changes were dropped.
    pub(super) fn drain(&self, empty: &mut Vec<Told>) -> u64 {
        let mut changes = lock(&self.0);
        mem::swap(&mut changes.told, empty);
        mem::take(&mut changes.dropped)
    }
}
