//! The web stack: every HTTP request that is neither announce nor scrape.
//!
//! A worker of the fast lane hands a connection over with the bytes it has read of it. From there
//! on it is served here, on one thread of its own: nothing a page does can hold up an announce.
//! An announce on such a connection is still answered, by an endpoint that belongs to this thread.
//! A panic in a page ends its connection alone; it is no worker's.

mod assets;
mod feed;
mod history;
mod pages;
mod prefixed;
mod replay;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response};
use axum::middleware::map_response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use peerage_proto::http::forwarded_address;
use peerage_tracker::Tracker;
use peerage_tracker::http::{Endpoint, Settings as Answers};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use crate::api::{self, Api};
use crate::clock::Clock;
use crate::http::Handover;
use crate::settings::Pages;
use crate::stats::{PageStats, Source};
use prefixed::{Prefixed, Shorten};

/// Connections that wait to be taken over. One more is answered by the worker that holds it.
pub(crate) const HANDOVERS_MAX: usize = 64;

/// The longest a connection is served; a client that wants more opens another.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);

/// How long open connections have to finish when the tracker stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// What one connection too many is told.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Content-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n\
    too many connections: come later\n";

/// What is counted here.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    open: AtomicU64,
    turned_away: AtomicU64,
}

/// What the pages are made of, and where.
pub(crate) struct Web {
    settings: Pages,
    clock: Clock,
    counts: Arc<Counts>,
    router: Router,
    tracker: Arc<Tracker>,
    answers: Arc<Answers>,
    /// For announces that come on a connection that was handed over. One thread serves them all, so
    /// this lock is never waited for.
    endpoint: Mutex<Endpoint>,
    /// Every connection, and every viewer of the map, has a receiver of it.
    stopping: watch::Sender<bool>,
}

/// A connection counts as open while this is.
struct Open(Arc<Counts>);

impl Counts {
    /// The counts now.
    pub(crate) fn stats(&self) -> PageStats {
        PageStats {
            requests: self.requests.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
        }
    }
}

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Web {
    /// The pages of the tracker that `source` tells about. `seed` is random.
    pub(crate) fn new(
        settings: Pages,
        clock: Clock,
        source: &Arc<Source>,
        answers: Arc<Answers>,
        seed: u64,
        udp_port: Option<u16>,
        api: Arc<Api>,
    ) -> Self {
        let tracker = Arc::clone(&source.tracker);
        let endpoint = Endpoint::new(Arc::clone(&tracker), Arc::clone(&answers), seed);
        let stopping = watch::Sender::new(false);
        let feed = feed::router(Arc::clone(source), settings.viewers_max, stopping.clone());
        Self {
            clock,
            counts: Arc::clone(&source.web),
            router: pages::router(Arc::clone(source), &settings, udp_port, api.is_on())
                .merge(history::router(Arc::clone(source)))
                .merge(feed)
                .nest(api::PREFIX, api::router(api))
                .layer(map_response(pages::secured)),
            settings,
            tracker,
            answers,
            endpoint: Mutex::new(endpoint),
            stopping,
        }
    }

    /// Serves what is handed over until every sender is gone, and then finishes what is open.
    /// Errors: the system has no means left for a runtime.
    pub(crate) fn run(self, handovers: Receiver<Handover>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Arc::new(self).serve(handovers));
        Ok(())
    }

    async fn serve(self: Arc<Self>, mut handovers: Receiver<Handover>) {
        let permits = Arc::new(Semaphore::new(self.settings.connections_max));
        while let Some(handover) = handovers.recv().await {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                self.turn_away(&handover);
                continue;
            };
            let connection = Arc::clone(&self).connection(handover, self.stopping.subscribe());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        // What is still open after that is dropped with the runtime.
        self.stopping.send_replace(true);
        let _ = tokio::time::timeout(STOP_TIME_MAX, self.stopping.closed()).await;
    }

    /// Tells a client to come later, if that can be sent at once.
    fn turn_away(&self, handover: &Handover) {
        self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        let mut stream = &handover.stream;
        if stream.set_nonblocking(true).is_ok() {
            let _ = stream.write(TURNED_AWAY);
        }
    }

    async fn connection(self: Arc<Self>, handover: Handover, mut stop: watch::Receiver<bool>) {
        let _open = Open::new(&self.counts);
        let Handover { stream, read, source } = handover;
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        let Ok(stream) = stream else { return };
        let shorten = Shorten::default();
        let io = TokioIo::new(Prefixed::new(read, stream, shorten.clone()));
        let web = Arc::clone(&self);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let web = Arc::clone(&web);
            request.extensions_mut().insert(shorten.clone());
            async move { Ok::<_, Infallible>(web.answer(source, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.waits.idle_timeout())
            .keep_alive(self.tracker.rules().keep_alive)
            // hyper takes no less.
            .max_buf_size(self.settings.head_bytes_max.max(8192))
            .serve_connection(io, service)
            .with_upgrades();
        let served = async {
            let mut connection = pin!(connection);
            tokio::select! {
                served = connection.as_mut() => return served,
                () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
            }
            connection.await
        };
        // How a connection ends is its client's business: there is nothing to log. One that becomes
        // a WebSocket has ended here.
        let _ = tokio::time::timeout(CONNECTION_TIME_MAX, served).await;
    }

    /// Where a request comes from, by the same rule as an announce.
    fn client(&self, source: IpAddr, request: &Request<Incoming>) -> api::Client {
        let Some(name) = &self.answers.forwarded_header else {
            return api::Client(source.to_canonical());
        };
        let values = request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
        let values: Vec<&[u8]> = values.collect();
        let is_trusted =
            |address| self.answers.trusted_proxies.iter().any(|prefix| prefix.contains(address));
        api::Client(forwarded_address(values.into_iter(), source, is_trusted))
    }

    async fn answer(&self, source: SocketAddr, mut request: Request<Incoming>) -> Response<Body> {
        let head = replay::head(&request);
        let mut reply = Vec::new();
        let handled = {
            let mut endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            endpoint.handle(self.clock.now(), source.ip(), &head, &mut reply)
        };
        if let Some(response) = replay::response(&self.tracker, &self.answers, handled, reply) {
            return response;
        }
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let client = self.client(source.ip(), &request);
        request.extensions_mut().insert(client);
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Waits until the tracker stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // There is no sender any more once all has stopped.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_told_so_in_a_whole_reply() {
        let text = std::str::from_utf8(TURNED_AWAY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{text}");
    }
}
