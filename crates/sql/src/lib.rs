//! SQL: what a private tracker reads at the start and writes in batches.
//!
//! The one crate that speaks SQL. Never on the path of an announce.

#![forbid(unsafe_code)]
