//! What can go wrong when a socket is bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A socket that could not be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    /// `TCP` or `UDP`.
    pub(crate) what: &'static str,
    /// Where.
    pub(crate) address: SocketAddr,
    /// Why not.
    pub(crate) error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, address, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "{what} {address} is in use by another program: stop it, or choose another port \
                 with --port"
            ),
            _ => write!(f, "cannot listen on {what} {address}: {error}"),
        }
    }
}
