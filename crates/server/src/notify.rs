//! What whoever started us wants to hear (`sd_notify` of systemd): that we answer, or stop.
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names: a path or, behind an `@`, a name of its
//! own. Nobody there is no fault: nothing is waited for, and nothing said of it.

use std::env;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// All is bound and read, and requests are answered.
pub(crate) const READY: &str = "READY=1";

/// What was asked for is on its way: no more requests are answered.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Another program takes our place; it will say that it is ready.
pub(crate) const RELOADING: &str = "RELOADING=1\nSTATUS=handing over";

/// Says `what`.
pub(crate) fn say(what: &str) {
    let Ok(name) = env::var("NOTIFY_SOCKET") else { return };
    let address = match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(what.as_bytes(), &address)
    });
    drop(sent);
}
