//! The binary `peerage`: sockets, files, threads and signals around the rules.

#![forbid(unsafe_code)]

fn main() {}
