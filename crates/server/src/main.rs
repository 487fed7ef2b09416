//! The binary `peerage`: sockets, files, threads and signals around the rules.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "nothing is started yet")]

mod clock;
mod http;
mod listen;
mod stop;
mod udp;

fn main() {}
