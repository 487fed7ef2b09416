//! UDP, one datagram at a time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peerage_tracker::udp::{Datagram, Endpoint, Replies};

use crate::clock::Clock;
use crate::listen::BindError;
use crate::stop::Stop;

/// Of the sockets.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Asked of the system; 0 leaves it.
    #[expect(dead_code, reason = "plain sockets have no such option")]
    pub(crate) receive_buffer_bytes: u64,
    /// Asked of the system; 0 leaves it.
    #[expect(dead_code, reason = "plain sockets have no such option")]
    pub(crate) send_buffer_bytes: u64,
}

/// What went through the sockets.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    pub(crate) datagrams_in: AtomicU64,
    pub(crate) datagrams_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) kernel_drops: AtomicU64,
}

/// The sockets of one worker.
pub(crate) struct Sockets {
    sockets: Vec<UdpSocket>,
    drops: Arc<Drops>,
}

/// Binds the sockets of all workers.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    _settings: &Settings,
) -> Result<Vec<Sockets>, BindError> {
    let drops = Arc::<Drops>::default();
    let mut sockets = Vec::new();
    for &address in addresses {
        let error = |error| BindError { what: "UDP", address, error };
        let socket = if address.is_ipv6() {
            let ip = address.ip();
            UdpSocket::bind((ip, address.port()))
                .or_else(|_| UdpSocket::bind(("::1", address.port())))
        } else {
            UdpSocket::bind(address)
        };
        let socket = socket.map_err(error)?;
        socket.set_read_timeout(Some(Duration::from_millis(20))).map_err(error)?;
        sockets.push(socket);
    }
    let all = (0..workers).map(|_| Sockets {
        sockets: sockets.iter().map(|s| s.try_clone().expect("a descriptor")).collect(),
        drops: Arc::clone(&drops),
    });
    Ok(all.collect())
}

impl Sockets {
    /// Of all workers together.
    pub(crate) fn drops(&self) -> Arc<Drops> {
        Arc::clone(&self.drops)
    }

    /// Where it listens.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Answers until it is asked to stop.
    #[expect(clippy::needless_pass_by_value, reason = "it runs on a thread of its own")]
    pub(crate) fn run(self, mut endpoint: Endpoint, clock: Clock, stop: Stop) {
        let mut buffer = [0; 2048];
        let mut replies = Replies::new(1);
        while !stop.is_requested() {
            for socket in &self.sockets {
                let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
                let canonical = SocketAddr::new(source.ip().to_canonical(), source.port());
                let datagram = Datagram { source: canonical, bytes: &buffer[..length] };
                self.drops.datagrams_in.fetch_add(1, Ordering::Relaxed);
                self.drops.bytes_in.fetch_add(length as u64, Ordering::Relaxed);
                endpoint.handle(clock.now(), &[datagram], &mut replies);
                for (_, reply) in replies.iter() {
                    self.drops.datagrams_out.fetch_add(1, Ordering::Relaxed);
                    self.drops.bytes_out.fetch_add(reply.len() as u64, Ordering::Relaxed);
                    let _ = socket.send_to(reply, source);
                }
            }
        }
    }
}
