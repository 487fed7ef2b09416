//! What tests of the running program share: processes, ports, folders, HTTP, UDP, bencode,
//! location files.
//!
//! For tests only. Everything started here is ended when it is dropped, everything written is
//! removed, and every wait has a limit. A failure is a `String` for people: what was awaited, and
//! the end of the log of the process it was awaited from.

#![forbid(unsafe_code)]

pub mod bencode;
mod certificates;
mod compact;
mod daemon;
mod folder;
pub mod http;
mod mariadb;
pub mod places;
mod ports;
mod postgres;
mod process;
pub mod redis;
mod run;
mod server;
pub mod udp;
mod wait;
pub mod websocket;

pub use certificates::{Authority, Certified};
pub use compact::{compact_v4, compact_v6};
pub use folder::Folder;
pub use mariadb::{GazelleTables, MariaDb, SqlMode};
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::{Process, Signal};
pub use run::{Ended, run, run_in};
pub use server::{Counts, Server};
pub use wait::{Wait, wait_for};
