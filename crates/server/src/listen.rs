//! What UDP and HTTP have in common about binding: addresses, and errors that say what to do.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use peerage_tracker::Protocol;

/// An address that could not be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    /// Whose socket it was to be.
    pub(crate) protocol: Protocol,
    /// The address.
    pub(crate) address: SocketAddr,
    /// What the system says.
    pub(crate) error: io::Error,
}

impl BindError {
    /// Whether this machine has no such family at all: IPv6 is often turned off.
    pub(crate) fn is_family_missing(&self) -> bool {
        // The kernel has no such protocol at all, or has it and no address of it.
        self.error.kind() == ErrorKind::AddrNotAvailable && self.address.ip().is_unspecified()
            || self.error.raw_os_error() == Some(EAFNOSUPPORT)
    }
}

#[cfg(target_os = "linux")]
const EAFNOSUPPORT: i32 = 97;
#[cfg(not(target_os = "linux"))]
const EAFNOSUPPORT: i32 = 47;

impl fmt::Display for BindError {
    /// One line: what could not be, why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, address, error } = self;
        let transport = match protocol {
            Protocol::Udp => "UDP",
            Protocol::Http => "TCP",
        };
        write!(f, "cannot listen on {transport} {address}: ")?;
        let port = address.port();
        match error.kind() {
            _ if self.is_family_missing() => {
                let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
                write!(f, "this machine has no {family}: leave the address out")
            }
            ErrorKind::AddrInUse => write!(
                f,
                "another program has the port: stop it (`ss -lnp 'sport = :{port}'` names it), or \
                 choose another port",
            ),
            ErrorKind::PermissionDenied => {
                f.write_str("not permitted: ports below 1024 take CAP_NET_BIND_SERVICE or root")
            }
            ErrorKind::AddrNotAvailable => {
                f.write_str("this machine has no such address: `ip address` lists those it has")
            }
            _ => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Binds the sockets of all workers: for each worker, one for each address, in the order given.
///
/// A port of 0 is chosen by the first worker's socket; the others take the same. Any other port is
/// checked first, because the kernel lets each process of our user join a shared address: two
/// trackers would each get half of the clients.
///
/// What `inherited` has of an address, for a worker by its number, is not bound anew.
///
/// Where addresses cannot be shared, elsewhere than on Unix, all is bound for one worker.
pub(crate) fn bind_all<S>(
    protocol: Protocol,
    addresses: &[SocketAddr],
    workers: usize,
    inherited: impl Fn(SocketAddr, usize) -> Option<io::Result<(S, SocketAddr)>>,
    mut check_free: impl FnMut(SocketAddr) -> io::Result<()>,
    mut bind: impl FnMut(SocketAddr) -> io::Result<(S, SocketAddr)>,
) -> Result<Vec<Vec<S>>, BindError> {
    let workers = workers_of(workers);
    let mut all: Vec<Vec<S>> = (0..workers).map(|_| Vec::with_capacity(addresses.len())).collect();
    for &asked in addresses {
        let failed = |error| BindError { protocol, address: asked, error };
        let mut address = asked;
        for (worker, sockets) in all.iter_mut().enumerate() {
            let socket = match inherited(address, worker) {
                Some(inherited) => inherited,
                None if worker == 0 && asked.port() != 0 => {
                    check_free(asked).and_then(|()| bind(address))
                }
                None => bind(address),
            };
            let (socket, bound) = socket.map_err(failed)?;
            address.set_port(bound.port());
            sockets.push(socket);
        }
    }
    Ok(all)
}

/// How many of `workers` workers the platform has a use for.
pub(crate) const fn workers_of(workers: usize) -> usize {
    if cfg!(unix) { workers } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ErrorKind, address: &str, expected: &str) {
        let address = address.parse().unwrap();
        let error = BindError { protocol: Protocol::Udp, address, error: kind.into() };
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.starts_with("cannot listen on UDP ") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn bind_error_says_what_to_do() {
        check(ErrorKind::AddrInUse, "0.0.0.0:6969", "another program has the port");
        check(ErrorKind::AddrInUse, "0.0.0.0:6969", "'sport = :6969'");
        check(ErrorKind::PermissionDenied, "[::]:80", "CAP_NET_BIND_SERVICE");
        check(ErrorKind::AddrNotAvailable, "192.0.2.77:6969", "no such address");
        check(ErrorKind::AddrNotAvailable, "[::]:6969", "has no IPv6");
    }
}
