//! The rules of the tracker: what is answered to whom, over every protocol and in every mode.
//!
//! [`Tracker`] holds the swarms and the rules in force and is shared by all workers. An endpoint
//! ([`udp::Endpoint`], [`http::Endpoint`]) belongs to one worker: bytes in, bytes out, with the
//! time as an argument. No IO, no clock, no environment, no `async`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod access;
mod announce;
mod connection;
mod counters;
pub mod gazelle;
pub mod http;
mod interval;
mod lock;
mod prefix;
pub mod private;
mod refusal;
mod rules;
mod samples;
pub mod share;
pub mod udp;

pub use access::{AccessList, List, ListError};
pub use announce::{Announce, Announced, Families, Prepared, Tracker, Warning, Worker};
pub use connection::{ConnectionKey, Connections};
pub use counters::{Counter, Counters, Kind, MemberCounters, MemberTally, Protocol, Tally};
pub use interval::{Breath, IntervalLimits, LoadAverages, Why};
pub use peerage_swarm::{Limits, Now, PeerIds, Rng};
pub use prefix::{Prefix, PrefixError};
pub use refusal::{Refusal, Refused};
pub use rules::Rules;
pub use samples::{Sample, Samples};
pub use share::Share;
