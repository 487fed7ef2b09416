//! Which sockets are bound: the addresses of the settings, for TCP, UDP or both.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use peerage_net::Inherited;
use peerage_tracker::Protocol;

use crate::listen::BindError;
use crate::settings::Settings;
use crate::{http, udp};

/// The sockets of all workers.
pub(crate) struct Bound {
    /// Of each HTTP worker; empty without TCP.
    pub(crate) tcp: Vec<http::Listeners>,
    /// Of each UDP worker; empty without UDP.
    pub(crate) udp: Vec<udp::Sockets>,
}

/// How often a free port is looked for. Another program may take the port between the look and the
/// use, or have it for one protocol alone; to lose sixteen times needs a full machine.
const FREE_PORT_TRIES: usize = 16;

impl Bound {
    /// Where TCP is bound.
    pub(crate) fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.tcp.first().map(http::Listeners::local_addresses).unwrap_or_default()
    }

    /// Where UDP is bound.
    pub(crate) fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp.first().map(udp::Sockets::local_addresses).unwrap_or_default()
    }

    /// Another descriptor of each socket.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        let tcp = self.tcp.iter().flat_map(http::Listeners::duplicates);
        tcp.chain(self.udp.iter().flat_map(udp::Sockets::duplicates)).collect()
    }
}

/// Binds what the settings say. A port of 0 becomes one free port for all addresses and both
/// protocols.
pub(crate) fn bind(settings: &Settings, inherited: &Inherited) -> Result<Bound, BindError> {
    let listen = &settings.listen;
    let mut addresses = listen.addresses.clone();
    if !listen.addresses_given && !has_ipv6() {
        tracing::info!("this machine has no IPv6: listening over IPv4 alone");
        addresses.retain(SocketAddr::is_ipv4);
    }
    let Some(&chosen) = addresses.iter().find(|address| address.port() == 0) else {
        warn_of_others(inherited, &addresses);
        return bind_all(settings, &addresses, inherited);
    };
    let mut tries = 1;
    loop {
        let found = inherited_port(inherited).map_or_else(|| free_port(chosen.ip()), Ok);
        let found = found.map_err(|error| {
            let protocol = if listen.tcp { Protocol::Http } else { Protocol::Udp };
            BindError { protocol, address: chosen, error }
        });
        let bound = found.and_then(|port| {
            let with_port = |mut address: SocketAddr| {
                if address.port() == 0 {
                    address.set_port(port);
                }
                address
            };
            let addresses: Vec<_> = addresses.iter().copied().map(with_port).collect();
            bind_all(settings, &addresses, inherited)
        });
        match bound {
            Err(error) if is_taken(&error.error) && tries < FREE_PORT_TRIES => tries += 1,
            bound => return bound,
        }
    }
}

fn bind_all(
    settings: &Settings,
    addresses: &[SocketAddr],
    inherited: &Inherited,
) -> Result<Bound, BindError> {
    let listen = &settings.listen;
    let tcp = match listen.tcp {
        true => http::bind(addresses, listen.workers, &settings.http, inherited)?,
        false => Vec::new(),
    };
    let udp = match listen.udp {
        true => udp::bind(addresses, listen.workers, &settings.udp, inherited)?,
        false => Vec::new(),
    };
    Ok(Bound { tcp, udp })
}

/// The port that is to be used again where any will do.
fn inherited_port(inherited: &Inherited) -> Option<u16> {
    inherited.tcp_addresses().chain(inherited.udp_addresses()).map(|address| address.port()).next()
}

/// Sockets that are at none of `addresses` are closed: that is a change of the configuration, or
/// two that do not know of each other.
fn warn_of_others(inherited: &Inherited, addresses: &[SocketAddr]) {
    let all = inherited.tcp_addresses().chain(inherited.udp_addresses());
    for other in all.filter(|address| !addresses.contains(address)).collect::<BTreeSet<_>>() {
        tracing::warn!("a socket of {other} was handed over, where nobody is to listen: closed");
    }
}

/// A port that is free for TCP and UDP at `ip` at this moment. Both are held together, and without
/// sharing, so that a port another process shares is not taken for free.
fn free_port(ip: IpAddr) -> io::Result<u16> {
    let tcp = TcpListener::bind((ip, 0))?;
    let address = tcp.local_addr()?;
    let _udp = UdpSocket::bind(address)?;
    Ok(address.port())
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}
