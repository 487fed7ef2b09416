//! A network namespace of our own: nobody else's traffic, and a /64 of IPv6 source addresses.

use std::process::Command;
use std::sync::OnceLock;

use crate::mix::IPV6_PREFIX;
use crate::socket;

static HAS_IPV6_SOURCES: OnceLock<bool> = OnceLock::new();

/// Moves the process into its own namespace, where it may; else the machine's loopback serves,
/// which is said aloud. Call it before any thread is started.
pub(crate) fn prepare() {
    let prefix = std::net::Ipv6Addr::from(u128::from(IPV6_PREFIX) << 64);
    let has_ipv6 = socket::enter_own_network().map_err(|error| error.to_string()).and_then(|()| {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["-6", "route", "add", "local", &format!("{prefix}/64"), "dev", "lo"])
    });
    if let Err(error) = &has_ipv6 {
        eprintln!("no network namespace of our own ({error}): IPv6 is left out");
    }
    // Set once: `prepare` runs once, before anything asks.
    let _ = HAS_IPV6_SOURCES.set(has_ipv6.is_ok());
}

/// Whether any address of the IPv6 prefix can be a source.
pub(crate) fn has_ipv6_sources() -> bool {
    HAS_IPV6_SOURCES.get().copied().unwrap_or(false)
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("ip").args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ip {}: {status}", arguments.join(" "))),
        Err(error) => Err(format!("ip: {error}")),
    }
}
