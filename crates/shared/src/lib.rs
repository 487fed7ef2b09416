//! Shared mode: many nodes, one set of swarms, on Redis or Valkey.
//!
//! The one crate that speaks to Redis. What is shared and when is decided in `tracker`.

#![forbid(unsafe_code)]
