//! Who is in which swarm: the store every protocol announces to.
//!
//! Peers are known by address and port, in their family; seeders and leechers are kept apart. No
//! IO, no clock, no policy: the time and the random generator are arguments, and which announces
//! are allowed is decided elsewhere.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod addresses;
mod arena;
mod big;
mod context;
mod crowd;
mod draw;
mod elsewhere;
mod entry;
mod few;
mod index;
mod lock;
mod now;
mod prefetch;
mod rng;
mod shard;
mod slot;
mod snapshot;
mod swarms;
mod sweep;
mod table;
mod types;

pub use now::Now;
pub use prefetch::prefetch;
pub use rng::Rng;
pub use snapshot::{Damaged, Restored};
pub use swarms::Swarms;
pub use types::{
    Announce, Change, Counts, Departed, Effect, Elsewhere, Expired, Find, Hearsay, Held, Learnt,
    Limits, News, Others, PeerIds, Peers, Role, Stored, SwarmKey, Totals, View, Walked, Want,
};
