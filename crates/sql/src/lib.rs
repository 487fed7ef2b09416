//! SQL: what a private tracker reads at the start and writes in batches.
//!
//! The one crate that speaks SQL. Never on the path of an announce: whoever waits for a [`Store`]
//! is the flush loop, a reload, the command line or the web API.
//!
//! [`Store`] is the door. Behind it stand two schemas: Gazelle's (`gazelle`), whose tables are the
//! site's own, and ours (`own`), in SQLite, MariaDB or PostgreSQL. `database` is connections and
//! their limits, `place` what is said where it is not reached, `fields` what rows hold, `statement`
//! how each dialect says the same, `write` how a batch gets in exactly once whatever becomes of the
//! connection.

#![forbid(unsafe_code)]

mod database;
mod error;
mod fields;
mod gazelle;
mod options;
mod own;
mod place;
mod statement;
mod store;
mod write;

pub use error::Error;
pub use options::{Dialect, GazelleDialect, Options, Schema};
pub use own::{
    Access, ClientEntry, EDITS_MAX, Edit, Edited, ManageError, MemberEntry, NotEdited, Own,
    TokenEntry, TorrentEntry,
};
pub use store::{Loaded, Store};
pub use write::{DeadRow, Held, Outcome, Part};
