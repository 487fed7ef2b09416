//! Which sockets are bound: the addresses of the settings, for TCP, UDP or both.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

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
}

/// Binds what the settings say. A port of 0 becomes one free port for all addresses and both
/// protocols.
pub(crate) fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let listen = &settings.listen;
    let mut addresses = listen.addresses.clone();
    if !listen.addresses_given && !has_ipv6() {
        tracing::info!("this machine has no IPv6: listening over IPv4 alone");
        addresses.retain(SocketAddr::is_ipv4);
    }
    let Some(&chosen) = addresses.iter().find(|address| address.port() == 0) else {
        return bind_all(settings, &addresses);
    };
    let mut tries = 1;
    loop {
        let found = free_port(chosen.ip()).map_err(|error| {
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
            bind_all(settings, &addresses)
        });
        match bound {
            Err(error) if is_taken(&error.error) && tries < FREE_PORT_TRIES => tries += 1,
            bound => return bound,
        }
    }
}

fn bind_all(settings: &Settings, addresses: &[SocketAddr]) -> Result<Bound, BindError> {
    let listen = &settings.listen;
    let tcp = match listen.tcp {
        true => http::bind(addresses, listen.workers, &settings.http)?,
        false => Vec::new(),
    };
    let udp = match listen.udp {
        true => udp::bind(addresses, listen.workers, &settings.udp)?,
        false => Vec::new(),
    };
    Ok(Bound { tcp, udp })
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
