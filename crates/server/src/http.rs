//! How HTTP gets in and out: the listeners of each worker, and its loop, the fast lane.
//!
//! A worker is one thread with its own listeners and its own connections. Announces and scrapes are
//! answered from its buffers, mostly in the very moment a connection is accepted. Whatever else a
//! client asks for is handed over, connection and all, to the ordinary web stack.
//!
//! - `connection`: one connection, from bytes read to bytes sent.
//! - `worker`: the loop: readiness, accepting, timeouts.
//! - `late`: replies that wait for what other nodes know.
//! - `slots`: the connections of a worker, bounded in number.
//! - `full_scrape`: replies too long for the loop, each sent from a thread of its own.
//! - `status`: what is counted.
//! - `waits`: how long connections are waited for, changed while the workers run.

mod connection;
mod full_scrape;
mod late;
mod slots;
mod status;
#[cfg(test)]
mod tests;
mod waits;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use peerage_net::Inherited;
use peerage_tracker::http::{self, Endpoint};
use peerage_tracker::{Prefix, Protocol, Tracker};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::listen::{BindError, bind_all, workers_of};
use crate::stop::Stop;

pub(crate) use status::Status;
pub(crate) use waits::Waits;

/// How to set up the listeners, and the bounds of connections.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Connections the kernel keeps for each listener until they are accepted; it may allow less.
    pub(crate) backlog: u32,
    /// Most connections of all workers together; each has its share, at least one. A connection
    /// beyond it is answered if its request has come with it, and told 503 if not.
    pub(crate) connections_max: usize,
    /// How long a client may take to begin with its first request, to send the rest of one it has
    /// begun, or to take in what was sent.
    pub(crate) timeout: Duration,
    /// How long a connection may stay open between two requests.
    pub(crate) idle_timeout: Duration,
    /// Most bytes of a request up to its empty line, at most
    /// [`HEAD_BYTES_MAX`](peerage_proto::http::HEAD_BYTES_MAX). One with more is told 414 or 431.
    pub(crate) head_bytes_max: usize,
    /// Which connections begin with a PROXY header.
    pub(crate) proxied: Proxied,
    /// Whether there is a site whose requests are not ours, see [`Answering::site`].
    pub(crate) site: bool,
}

/// Which connections begin with a PROXY header, of either version.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proxied {
    /// None.
    #[default]
    Nobody,
    /// Those from these addresses, and they must: one without it is closed. All others must not,
    /// or they could claim any address.
    From(Vec<Prefix>),
}

impl Proxied {
    fn is_from(&self, address: IpAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::From(prefixes) => prefixes.iter().any(|prefix| prefix.contains(address)),
        }
    }
}

/// A connection that asks for neither announce nor scrape.
#[derive(Debug)]
pub(crate) struct Handover {
    /// The connection; it does not block.
    pub(crate) stream: TcpStream,
    /// What was read from it and not answered: at least one whole head, but for a site's request,
    /// whose end may be to come.
    pub(crate) read: Vec<u8>,
    /// The other end, or whom a PROXY header named; canonical.
    pub(crate) source: SocketAddr,
}

/// What a worker answers with.
pub(crate) struct Answering {
    /// Answers announces and scrapes.
    pub(crate) endpoint: Endpoint,
    /// For scrapes of all swarms.
    pub(crate) tracker: Arc<Tracker>,
    /// For scrapes of all swarms.
    pub(crate) settings: Arc<http::Settings>,
    /// Takes what is neither. Where it is full the client is told 503.
    pub(crate) handover: Sender<Handover>,
    /// How long connections are waited for, from here on.
    pub(crate) waits: Arc<Waits>,
    /// Takes what a Gazelle site asks, from the first bytes by which it is known.
    pub(crate) site: Option<Sender<Handover>>,
}

/// The listeners of one worker.
#[derive(Debug)]
pub(crate) struct Listeners {
    listeners: Vec<(mio::net::TcpListener, SocketAddr)>,
    settings: Settings,
    status: Arc<Status>,
    patience: Duration,
}

/// Binds the listeners of `workers` workers to `addresses`. All workers share each address; the
/// kernel spreads the connections over them.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    settings: &Settings,
    inherited: &Inherited,
) -> Result<Vec<Listeners>, BindError> {
    let shared = workers_of(workers) > 1;
    let inherited = |address, worker| {
        let found = inherited.tcp(address, worker)?;
        Some(found.and_then(|listener| adopt(listener, settings.backlog)))
    };
    let bind = |address| bind_one(address, settings.backlog, shared);
    let all = bind_all(Protocol::Http, addresses, workers, inherited, check_free, bind)?;
    let share = Settings {
        connections_max: (settings.connections_max / workers_of(workers).max(1)).max(1),
        ..settings.clone()
    };
    let listeners = |listeners| Listeners {
        listeners,
        settings: share.clone(),
        status: Arc::default(),
        patience: Duration::ZERO,
    };
    Ok(all.into_iter().map(listeners).collect())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process that are not quite gone do not hold the port. Elsewhere
    // than on Unix the option means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn check_free(address: SocketAddr) -> io::Result<()> {
    new_socket(address)?.bind(&address.into())
}

/// A listener, and twice where it is bound.
type Listening = ((mio::net::TcpListener, SocketAddr), SocketAddr);

fn bind_one(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<Listening> {
    let socket = new_socket(address)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    assert!(!shared, "one worker has the address to itself");
    socket.bind(&address.into())?;
    listen(socket, backlog)
}

/// Takes one that is bound already.
fn adopt(listener: std::net::TcpListener, backlog: u32) -> io::Result<Listening> {
    peerage_net::check_one_family(&listener)?;
    listen(listener.into(), backlog)
}

fn listen(socket: Socket, backlog: u32) -> io::Result<Listening> {
    // Linux hands the option down to each connection accepted, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    // An improvement, and no more: a kernel that will not have it accepts at once.
    let _ = peerage_net::defer_accept(&socket);
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let listener = std::net::TcpListener::from(socket);
    let bound = listener.local_addr()?;
    Ok(((mio::net::TcpListener::from_std(listener), bound), bound))
}

impl Listeners {
    /// The addresses bound, in the order asked for, with the ports the kernel chose.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address).collect()
    }

    /// Another descriptor of each listener.
    pub(crate) fn duplicates(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.listeners.iter().map(|(listener, _)| listener.as_fd().try_clone_to_owned())
    }

    /// Counters that stay readable while the worker runs and after it has ended.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Lets the reply to the first announce of a swarm wait so long for the peers of other nodes.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Answers until asked to stop; connections are then closed as they are. Blocks the thread.
    ///
    /// Errors: readiness cannot be waited for at all. Nothing that goes wrong with accepting, or
    /// with a connection, ends it.
    #[expect(clippy::needless_pass_by_value, reason = "it runs on a thread of its own")]
    pub(crate) fn run(self, answering: Answering, clock: Clock, stop: Stop) -> io::Result<()> {
        worker::Worker::new(self, answering, clock)?.run(&stop)
    }
}
