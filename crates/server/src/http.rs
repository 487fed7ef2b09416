//! HTTP, each connection handed over to the pages.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peerage_proto::Family;
use peerage_tracker::http::{self, Endpoint};
use peerage_tracker::{Counter, Prefix, Protocol, Tracker};
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::listen::BindError;
use crate::stop::Stop;

/// Of the connections.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "this form of the module hands every connection over")]
pub(crate) struct Settings {
    pub(crate) backlog: u32,
    pub(crate) connections_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) head_bytes_max: usize,
    pub(crate) proxied: Proxied,
}

/// Which connections begin with a PROXY header.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "this form of the module hands every connection over")]
pub(crate) enum Proxied {
    /// None.
    Nobody,
    /// Those from these addresses.
    From(Vec<Prefix>),
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

/// What a worker answers with.
#[expect(dead_code, reason = "this form of the module hands every connection over")]
pub(crate) struct Answering {
    pub(crate) endpoint: Endpoint,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) settings: Arc<http::Settings>,
    pub(crate) handover: Sender<Handover>,
}

/// What went through the connections.
#[derive(Debug, Default)]
pub(crate) struct Status {
    family: FamilyStatus,
    pub(crate) refused: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) idle_closed: Counter,
    pub(crate) accept_failures: Counter,
    pub(crate) bad_proxy_headers: Counter,
    open: AtomicU64,
}

/// What a worker's connections of one family have seen.
#[derive(Debug, Default)]
pub(crate) struct FamilyStatus {
    pub(crate) accepted: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl Status {
    pub(crate) fn of(&self, _family: Family) -> &FamilyStatus {
        &self.family
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn replies(&self) -> impl Iterator<Item = (u16, u64)> {
        [(200, 0), (0, 0)].into_iter()
    }
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
    let mut listeners = Vec::new();
    for &address in addresses {
        let error = |error| BindError { protocol: Protocol::Http, address, error };
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
        status: Arc::default(),
    });
    Ok(all.collect())
}

impl Listeners {
    /// Of this worker.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Where it listens.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Accepts until it is asked to stop.
    #[expect(clippy::needless_pass_by_value, reason = "it runs on a thread of its own")]
    #[expect(clippy::unnecessary_wraps, reason = "another form of the module can fail")]
    pub(crate) fn run(self, answering: Answering, _clock: Clock, stop: Stop) -> io::Result<()> {
        while !stop.is_requested() {
            for listener in &self.listeners {
                let Ok((mut stream, source)) = listener.accept() else { continue };
                self.status.family.accepted.add(1);
                let mut read = vec![0; 10];
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let length = stream.read(&mut read).unwrap_or(0);
                read.truncate(length);
                let _ = answering.handover.try_send(Handover { stream, read, source });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
