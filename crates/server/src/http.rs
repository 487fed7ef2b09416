//! HTTP, each connection handed over to the pages.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peerage_tracker::http::Endpoint;
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::config::value::{Network, ProxyProtocol};
use crate::listen::BindError;
use crate::stop::Stop;

/// Of the connections.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "this form of the module hands every connection over")]
pub(crate) struct Settings {
    pub(crate) backlog: u32,
    pub(crate) connections_max: usize,
    pub(crate) keep_alive: bool,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) head_bytes_max: usize,
    pub(crate) forwarded_header: Option<String>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) proxy_protocol: ProxyProtocol,
}

/// A connection that asks for neither announce nor scrape.
pub(crate) struct Handover {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// What was read from it.
    pub(crate) read: Vec<u8>,
    /// The other end.
    pub(crate) source: SocketAddr,
}

/// What went through the connections.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// The listeners of one worker.
pub(crate) struct Listeners {
    listeners: Vec<TcpListener>,
    status: Arc<Status>,
}

/// Binds the listeners of all workers.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    _settings: &Settings,
) -> Result<Vec<Listeners>, BindError> {
    let status = Arc::<Status>::default();
    let mut listeners = Vec::new();
    for &address in addresses {
        let error = |error| BindError { what: "TCP", address, error };
        let listener = TcpListener::bind(address)
            .or_else(|error| match address.ip().to_string().as_str() {
                "::" => TcpListener::bind(("::1", address.port())),
                _ => Err(error),
            })
            .map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        listeners.push(listener);
    }
    let all = (0..workers).map(|_| Listeners {
        listeners: listeners.iter().map(|l| l.try_clone().expect("a descriptor")).collect(),
        status: Arc::clone(&status),
    });
    Ok(all.collect())
}

impl Listeners {
    /// Of all workers together.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Where it listens.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Accepts until it is asked to stop.
    #[expect(clippy::needless_pass_by_value, reason = "it runs on a thread of its own")]
    pub(crate) fn run(
        self,
        _endpoint: Endpoint,
        _clock: Clock,
        stop: Stop,
        handover: Sender<Handover>,
    ) {
        while !stop.is_requested() {
            for listener in &self.listeners {
                let Ok((mut stream, source)) = listener.accept() else { continue };
                self.status.accepted.fetch_add(1, Ordering::Relaxed);
                let mut read = vec![0; 10];
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let length = stream.read(&mut read).unwrap_or(0);
                read.truncate(length);
                let _ = handover.try_send(Handover { stream, read, source });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
