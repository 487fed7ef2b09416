//! The loop of a worker: readiness, accepting, timeouts.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use peerage_proto::http::{self, write_error};
use peerage_proto::{Family, gazelle};
use peerage_swarm::Now;
use peerage_tracker::http::{FullScrape, Stream};

use super::connection::{Connection, Desk, INPUT_BYTES, Next, Overdue};
use super::full_scrape::{FullScrapes, Job};
use super::late::{Late, Patience};
use super::slots::Slots;
use super::{Answering, Handover, Listeners, Settings, Status};
use tokio::sync::mpsc::error::TrySendError;

use crate::clock::Clock;
use crate::latency::Timer;
use crate::stop::Stop;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Connections accepted from one listener before others have their turn.
const ACCEPTS_MAX: usize = 64;

/// How long a listener is left alone after accepting has failed: there are no descriptors left, and
/// to ask again at once would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sweeps for connections that are overdue; each looks at a tenth of them, so that one is ended
/// at most a second late.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// The output is given back to the allocator when one connection made it longer than this.
const OUTPUT_BYTES_KEPT: usize = 256 << 10;

pub(super) struct Worker {
    poll: Poll,
    listeners: Vec<Listening>,
    slots: Slots,
    /// The connections that have more to do and that readiness will not tell of again; each is on
    /// it once.
    again: Vec<usize>,
    late: Late,
    answering: Answering,
    full_scrapes: FullScrapes,
    settings: Settings,
    status: Arc<Status>,
    clock: Clock,
    input: Box<[u8]>,
    output: Vec<u8>,
    timer: Timer,
}

struct Listening {
    listener: TcpListener,
    family: Family,
    /// Whether connections may wait that readiness has told of already.
    pending: bool,
    /// Not before; set after a failure.
    resume: Now,
    /// Whether the last accept failed, which is logged once for a row of failures.
    failing: bool,
}

impl Worker {
    pub(super) fn new(
        listeners: Listeners,
        answering: Answering,
        clock: Clock,
    ) -> io::Result<Self> {
        let Listeners { listeners, settings, status, patience } = listeners;
        let poll = Poll::new()?;
        let mut listening = Vec::with_capacity(listeners.len());
        for (number, (mut listener, address)) in listeners.into_iter().enumerate() {
            poll.registry().register(&mut listener, Token(number), Interest::READABLE)?;
            let family = Family::of(address.ip());
            let resume = clock.now();
            listening.push(Listening { listener, family, pending: true, resume, failing: false });
        }
        Ok(Self {
            poll,
            listeners: listening,
            slots: Slots::new(settings.connections_max),
            again: Vec::new(),
            late: Late::new(patience),
            answering,
            full_scrapes: FullScrapes::new(),
            settings,
            status,
            clock,
            input: vec![0; INPUT_BYTES].into(),
            output: Vec::new(),
            timer: Timer::new(),
        })
    }

    pub(super) fn run(mut self, stop: &Stop) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut now = self.clock.now();
        let mut swept = now;
        while !stop.is_requested() {
            match self.poll.poll(&mut events, Some(self.wait_at_most(now))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            now = self.clock.now();
            self.answering.waits.copy_to(&mut self.settings);
            for number in std::mem::take(&mut self.again) {
                if let Some(connection) = self.slots.at(number) {
                    connection.queued = false;
                    self.serve(number, now);
                }
            }
            for event in &events {
                self.dispatch(event, now);
            }
            self.answer_late(now);
            for number in 0..self.listeners.len() {
                self.accept(number, now);
            }
            if now.since(swept) >= SWEEP_EVERY {
                swept = now;
                self.sweep(now);
            }
        }
        Ok(())
    }

    fn wait_at_most(&self, now: Now) -> Duration {
        let pending = self.listeners.iter().any(|one| one.pending && one.resume <= now);
        if pending || !self.again.is_empty() { Duration::ZERO } else { self.late.wait_at_most() }
    }

    fn dispatch(&mut self, event: &Event, now: Now) {
        let Token(token) = event.token();
        let Some(number) = token.checked_sub(self.listeners.len()) else {
            self.listeners[token].pending = true;
            return;
        };
        let Some(connection) = self.slots.at(number) else { return };
        if event.is_read_closed() {
            connection.set_read_closed();
        }
        if !connection.queued {
            self.serve(number, now);
        }
    }

    /// Accepts what waits, within bounds, and answers at once what has come with it.
    fn accept(&mut self, number: usize, now: Now) {
        for _ in 0..ACCEPTS_MAX {
            let listening = &mut self.listeners[number];
            if !listening.pending || now < listening.resume {
                return;
            }
            match listening.listener.accept() {
                Ok((stream, source)) => {
                    listening.failing = false;
                    self.status.of(listening.family).accepted.add(1);
                    self.begin(stream, source, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listening.pending = false,
                // The client has gone before it was its turn, or the call was interrupted.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionReset
                            | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    self.status.accept_failures.add(1);
                    listening.resume = now + ACCEPT_PAUSE;
                    if !std::mem::replace(&mut listening.failing, true) {
                        tracing::warn!(%error, "cannot accept connections; trying on");
                    }
                }
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, source: SocketAddr, now: Now) {
        // Linux has it from the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = stream.set_nodelay(true);
        let mut connection = Connection::new(stream, source, now, &self.settings);
        // One that cannot be kept is answered at once.
        let patience = match self.slots.next() {
            Some(_) => self.late.patience(),
            None => Patience::None,
        };
        let next = connection.serve(&mut self.desk(now, patience));
        self.output.clear();
        match next {
            Next::Wait | Next::Again | Next::Late(_) => self.keep(connection, next, now),
            next => self.end(connection, next),
        }
    }

    /// Gives a connection a number and waits for its readiness.
    fn keep(&mut self, mut connection: Connection, next: Next, now: Now) {
        let Some(number) = self.slots.next() else {
            self.status.refused.add(1);
            if !connection.is_sending() {
                self.apologise(connection.stream(), http::Status::ServiceUnavailable);
            }
            return self.end(connection, Next::Gone);
        };
        let (token, interest) = (Token(self.listeners.len() + number), interest(&connection));
        match self.poll.registry().register(connection.stream(), token, interest) {
            Ok(()) => self.slots.insert(connection),
            // The system is out of memory, or of what it allows us to watch.
            Err(_) => return self.end(connection, Next::Gone),
        }
        match next {
            Next::Again => self.queue(number),
            Next::Late(awaited) => self.late.put_aside(now, number, awaited),
            _ => {}
        }
    }

    fn queue(&mut self, number: usize) {
        if let Some(connection) = self.slots.at(number) {
            connection.queued = true;
            self.again.push(number);
        }
    }

    fn serve(&mut self, number: usize, now: Now) {
        let Self { slots, answering, late, settings, status, input, output, timer, .. } = self;
        let Some(connection) = slots.at(number) else { return };
        let was_sending = connection.is_sending();
        let endpoint = &mut answering.endpoint;
        let patience = late.patience();
        let mut desk = Desk { endpoint, settings, status, input, output, timer, patience, now };
        let next = connection.serve(&mut desk);
        output.clear();
        output.shrink_to(OUTPUT_BYTES_KEPT);
        let next = match next {
            Next::Again => return self.queue(number),
            Next::Late(awaited) => {
                late.put_aside(now, number, awaited);
                Next::Wait
            }
            next => next,
        };
        let next = match next {
            Next::Wait if connection.is_sending() == was_sending => return,
            Next::Wait => {
                let (token, interest) =
                    (Token(self.listeners.len() + number), interest(connection));
                let registry = self.poll.registry();
                match registry.reregister(connection.stream(), token, interest) {
                    Ok(()) => return,
                    Err(_) => Next::Gone,
                }
            }
            next => next,
        };
        if let Some(mut connection) = slots.remove(number) {
            // Closing a descriptor ends its watch; one that lives on is to be let go by hand.
            if !matches!(next, Next::Gone) {
                let _ = self.poll.registry().deregister(connection.stream());
            }
            self.end(connection, next);
        }
    }

    /// Has the replies written that have waited for other nodes, once these have answered or the
    /// time is up.
    fn answer_late(&mut self, now: Now) {
        for number in self.late.due(now, &self.answering.endpoint) {
            let Some(connection) = self.slots.at(number) else { continue };
            connection.wake();
            if !connection.queued {
                self.serve(number, now);
            }
        }
    }

    fn desk(&mut self, now: Now, patience: Patience) -> Desk<'_> {
        let Self { answering, settings, status, input, output, timer, .. } = self;
        let endpoint = &mut answering.endpoint;
        Desk { endpoint, settings, status, input, output, timer, patience, now }
    }

    /// Ends what is ours of a connection.
    fn end(&mut self, connection: Connection, next: Next) {
        self.status.count_ended();
        match next {
            Next::Gone | Next::Wait | Next::Again | Next::Late(_) => {}
            Next::HandOver => self.hand_over(connection),
            Next::FullScrape(body) => self.start_full_scrape(connection, body),
        }
    }

    fn start_full_scrape(&mut self, connection: Connection, body: Stream) {
        let (mut stream, _, head, _) = connection.into_parts();
        if !self.full_scrapes.has_room() {
            self.status.refused.add(1);
            return self.apologise(&mut stream, http::Status::ServiceUnavailable);
        }
        let Answering { tracker, settings, .. } = &self.answering;
        let scrape = FullScrape::new(Arc::clone(tracker), settings);
        let status = Arc::clone(&self.status);
        if self
            .full_scrapes
            .start(Job { stream: stream.into(), head, body, scrape, status })
            .is_err()
        {
            self.status.refused.add(1);
        }
    }

    fn hand_over(&mut self, connection: Connection) {
        let (stream, read, _, source) = connection.into_parts();
        let handover = Handover { stream: stream.into(), read, source };
        let to = match &self.answering.site {
            Some(site) if gazelle::is_request(&handover.read) => site,
            _ => &self.answering.handover,
        };
        match to.try_send(handover) {
            Ok(()) => self.status.handed_over.add(1),
            Err(TrySendError::Full(mut refused) | TrySendError::Closed(mut refused)) => {
                self.status.refused.add(1);
                self.apologise(&mut refused.stream, http::Status::ServiceUnavailable);
            }
        }
    }

    /// Tells a client in a word why its connection is closed. One try: what matters is to be rid of
    /// it.
    fn apologise(&mut self, stream: &mut impl Write, status: http::Status) {
        let mut reply = std::mem::take(&mut self.output);
        reply.clear();
        write_error(&mut reply, status, "try again later");
        self.status.count_reply(&reply);
        let _ = stream.write(&reply);
        self.output = reply;
        self.output.clear();
    }

    /// Ends the connections that are overdue, of the next tenth.
    fn sweep(&mut self, now: Now) {
        for number in self.slots.sweep() {
            let Some(overdue) = self.slots.at(number).and_then(|one| one.overdue(now)) else {
                continue;
            };
            let Some(mut connection) = self.slots.remove(number) else { continue };
            match overdue {
                Overdue::Idle => self.status.idle_closed.add(1),
                Overdue::Sending => self.status.timed_out.add(1),
                Overdue::Request => {
                    self.status.timed_out.add(1);
                    self.apologise(connection.stream(), http::Status::RequestTimeout);
                }
            }
            self.end(connection, Next::Gone);
        }
    }
}

fn interest(connection: &Connection) -> Interest {
    match connection.is_sending() {
        true => Interest::READABLE | Interest::WRITABLE,
        false => Interest::READABLE,
    }
}
