//! Shared mode: many nodes, one set of swarms, on Redis or Valkey.
//!
//! The one crate that speaks to Redis. What is told when, and what becomes of the answers, is
//! decided in [`peerage_tracker::share`]; here it is carried: to a single server, to the master
//! that a set of Sentinels names, or to the masters of a Cluster.
//!
//! - `target`: where Redis is, from a URL.
//! - `places`: the masters, their connections, and which keys each has.
//! - `lost`: why Redis is not reached, for the operator.
//! - `trip`: the script that updates swarms, its arguments and its reply.
//! - `tags`: which swarms are in one slot of a Cluster.
//! - `calls`: which swarms go into one call of it.
//! - `cold`: what wakes the loop in between.
//! - `beat`: that this node lives, and which others do.
//! - `node`: the loop: when a trip leaves, and what happens when none comes back.
//! - `retry`: when a connection is sought again.
//! - `records`: the same as `trip` for a private tracker's swarms, whose peers have accounts.
//! - `updates`: what a private tracker's site tells one node, on its way to the others.
//! - `status`: what is counted.

#![forbid(unsafe_code)]

mod beat;
mod calls;
mod cold;
mod lost;
mod node;
mod places;
mod records;
mod retry;
mod status;
mod tags;
mod target;
mod trip;
mod updates;

pub use node::{Hear, Node, Site};
pub use status::Status;
pub use target::{Certificates, Target, TargetError};
pub use trip::Layout;
pub use updates::{Outbox, UpdatesStatus};
