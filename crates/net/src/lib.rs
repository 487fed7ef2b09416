//! Datagrams in batches: many in one system call, many out of one.
//!
//! The only crate of the workspace with `unsafe` code.
