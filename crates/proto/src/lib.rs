//! The wire formats of a BitTorrent tracker: bytes to types and back.
//!
//! One module per protocol: [`udp`] (BEP 15, 41), [`http`] (BEP 3, 7, 21, 23, 24, 31, 48), and
//! [`proxy`] for what may come before either. No IO, no clock, no state, no allocation while
//! parsing: a parsed request borrows from the bytes it was parsed from, and replies are written
//! into buffers of the caller.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bencode;
pub mod gazelle;
pub mod http;
pub mod proxy;
mod route;
mod scan;
mod types;
pub mod udp;

pub use route::Route;
pub use types::{Event, Family, InfoHash, PeerId};
