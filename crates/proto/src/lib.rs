//! The wire formats of a BitTorrent tracker: bytes to types and back.
//!
//! One module per protocol: [`udp`] (BEP 15, 41), [`http`] (BEP 3, 7, 23, 24, 31, 48). No IO, no
//! clock, no state, no allocation while parsing: a parsed request borrows from the bytes it was
//! parsed from, and replies are written into buffers of the caller.

#![no_std]
#![forbid(unsafe_code)]

pub mod bencode;
pub mod http;
pub mod proxy;
mod types;
pub mod udp;

pub use types::{Event, Family, InfoHash, PeerId};
