//! How UDP gets in and out: the sockets of each worker, and its loop.
//!
//! A worker takes a batch from one of its sockets, has it answered, sends the answers, and goes on
//! to the next socket. It waits only when no socket had anything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use peerage_net::{Backend, Batch, Options, Sent, Socket, Waiter};
use peerage_proto::Family;
use peerage_tracker::udp::{Datagram, Endpoint, Replies};
use peerage_tracker::{Counter, Protocol};

use crate::clock::Clock;
use crate::listen::{BindError, bind_all};
use crate::stop::{LOOK_EVERY, Stop};

/// How to set up the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Bytes the kernel keeps of each socket's datagrams until they are received; 0 leaves its
    /// default. What comes when they are full is dropped and counted.
    pub(crate) receive_buffer_bytes: u64,
    /// Bytes the kernel keeps of each socket's replies until they are sent; 0 leaves its default. A
    /// reply that finds no room is dropped and counted.
    pub(crate) send_buffer_bytes: u64,
}

/// Datagrams in a batch. More save little (the system call is shared by 64 already) and cost cache.
const BATCH_DATAGRAMS: u16 = 64;

/// A socket that gave at least this many is asked again at once; one that gave fewer is probably
/// empty, and the wait that follows says so for all sockets in one call.
const BUSY_DATAGRAMS: usize = 8;

/// While one socket is busy, the others are looked at every so many rounds.
const ROUNDS_BETWEEN_LOOKS: u32 = 4;

/// What one worker's sockets have seen since their start. Written by that worker alone, read by any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    families: [FamilyCounters; 2],
}

/// What a worker's sockets of one family have seen.
#[derive(Debug, Default)]
pub(crate) struct FamilyCounters {
    /// Datagrams received.
    pub(crate) datagrams_in: Counter,
    /// Their bytes, without any header.
    pub(crate) bytes_in: Counter,
    /// Datagrams that were too long to be a request.
    pub(crate) truncated: Counter,
    /// Datagrams the kernel had no room for. Up to a second old.
    pub(crate) kernel_drops: Counter,
    /// Replies sent.
    pub(crate) datagrams_out: Counter,
    /// Their bytes, without any header.
    pub(crate) bytes_out: Counter,
    /// Replies the kernel did not take.
    pub(crate) send_failures: Counter,
    /// Times receiving failed.
    pub(crate) receive_failures: Counter,
}

impl Counters {
    /// Those of `family`.
    pub(crate) fn of(&self, family: Family) -> &FamilyCounters {
        &self.families[family as usize]
    }
}

/// The sockets of one worker.
pub(crate) struct Sockets {
    sockets: Vec<Socket>,
    backend: Backend,
    counters: Arc<Counters>,
}

/// Binds the sockets of `workers` workers to `addresses`. All workers share each address; the kernel
/// spreads the datagrams over them by source address and port.
///
/// Datagrams could be steered by info_hash instead, so that each worker owns its share of the
/// swarms: by a classic BPF program attached to the group of an address. This is the place for it,
/// once all sockets of a group are bound and before the first is read.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    settings: &Settings,
) -> Result<Vec<Sockets>, BindError> {
    bind_with(Backend::best(), addresses, workers, settings)
}

fn bind_with(
    backend: Backend,
    addresses: &[SocketAddr],
    workers: usize,
    settings: &Settings,
) -> Result<Vec<Sockets>, BindError> {
    let buffer = |bytes: u64| (bytes != 0).then(|| usize::try_from(bytes).unwrap_or(usize::MAX));
    let options = Options {
        shared: workers > 1,
        receive_buffer_bytes: buffer(settings.receive_buffer_bytes),
        send_buffer_bytes: buffer(settings.send_buffer_bytes),
    };
    let bind = |address| {
        let socket = Socket::bind(address, &options)?;
        let bound = socket.local_address();
        Ok((socket, bound))
    };
    let all = bind_all(Protocol::Udp, addresses, workers, peerage_net::check_free, bind)?;
    let sockets = |sockets| Sockets { sockets, backend, counters: Arc::default() };
    Ok(all.into_iter().map(sockets).collect())
}

impl Sockets {
    /// The addresses bound, in the order asked for, with the ports the kernel chose.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(Socket::local_address).collect()
    }

    /// Counters that stay readable while the worker runs and after it has ended.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Answers with `endpoint` until asked to stop. Blocks the thread.
    ///
    /// Errors: waiting itself is broken (a system out of memory). Receiving and sending may fail for
    /// as long as they like; that is counted.
    pub(crate) fn run(self, endpoint: Endpoint, clock: Clock, stop: &Stop) -> io::Result<()> {
        let Self { sockets, backend, counters } = self;
        let mut waiter = Waiter::new(&sockets);
        let mut ports: Vec<Port<'_>> =
            sockets.iter().map(|socket| Port::new(socket, &counters)).collect();
        let mut worker = Worker {
            endpoint,
            batch: Batch::new(backend, BATCH_DATAGRAMS),
            replies: Replies::new(BATCH_DATAGRAMS),
            requests: Vec::with_capacity(usize::from(BATCH_DATAGRAMS)),
        };
        let mut round = 0_u32;
        let mut drops_looked_at_secs = 0;
        while !stop.is_requested() {
            let now = clock.now();
            if now.as_secs() != drops_looked_at_secs {
                drops_looked_at_secs = now.as_secs();
                ports.iter_mut().for_each(Port::look_at_drops);
            }
            let all = round.is_multiple_of(ROUNDS_BETWEEN_LOOKS);
            round = round.wrapping_add(1);
            for port in ports.iter_mut().filter(|port| port.busy || all) {
                port.busy = worker.serve(now, port) >= BUSY_DATAGRAMS;
            }
            if ports.iter().all(|port| !port.busy) {
                waiter.wait(LOOK_EVERY)?;
                for (index, port) in ports.iter_mut().enumerate() {
                    port.busy = waiter.is_ready(index);
                }
                // After a wait nothing is known but what the wait has told.
                round = 1;
            }
        }
        ports.iter_mut().for_each(Port::look_at_drops);
        Ok(())
    }
}

/// A socket and what is counted there.
struct Port<'a> {
    socket: &'a Socket,
    counters: &'a FamilyCounters,
    /// Whether it is worth asking before the next wait.
    busy: bool,
    /// As last read, modulo 2^32.
    drops: u32,
}

impl<'a> Port<'a> {
    fn new(socket: &'a Socket, counters: &'a Counters) -> Self {
        let family = Family::of(socket.local_address().ip());
        Self { socket, counters: counters.of(family), busy: true, drops: 0 }
    }

    fn look_at_drops(&mut self) {
        let drops = self.socket.dropped();
        self.counters.kernel_drops.add(u64::from(drops.wrapping_sub(self.drops)));
        self.drops = drops;
    }

    fn count_sent(&self, sent: Sent) {
        self.counters.datagrams_out.add(sent.datagrams);
        self.counters.bytes_out.add(sent.bytes);
        self.counters.send_failures.add(sent.failed);
    }
}

/// What answering takes: nothing here is allocated again.
struct Worker {
    endpoint: Endpoint,
    batch: Batch,
    replies: Replies,
    /// Empty between batches.
    requests: Vec<Datagram<'static>>,
}

impl Worker {
    /// Receives, answers and sends one batch, and tells how many datagrams it had.
    fn serve(&mut self, now: peerage_swarm::Now, port: &Port<'_>) -> usize {
        let count = match self.batch.receive(port.socket) {
            Ok(0) => return 0,
            Ok(count) => count,
            Err(_) => {
                port.counters.receive_failures.add(1);
                return 0;
            }
        };
        let mut requests = recycle(std::mem::take(&mut self.requests));
        let (mut bytes, mut truncated) = (0, 0);
        for received in self.batch.iter() {
            bytes += received.bytes.len() as u64;
            truncated += u64::from(received.truncated);
            // Nobody can be answered at port 0; an empty datagram is no request and gets no reply.
            let answerable = received.source.port() != 0;
            let bytes = if answerable { received.bytes } else { &[] };
            requests.push(Datagram { source: received.source, bytes });
        }
        self.endpoint.handle(now, &requests, &mut self.replies);
        self.requests = recycle(requests);
        let sent = self.batch.reply(port.socket, self.replies.iter());
        port.counters.datagrams_in.add(count as u64);
        port.counters.bytes_in.add(bytes);
        port.counters.truncated.add(truncated);
        port.count_sent(sent);
        count
    }
}

/// The memory of `requests`, empty, for datagrams that live for another time. The standard library
/// collects in place: nothing is allocated.
fn recycle<'a>(mut requests: Vec<Datagram<'_>>) -> Vec<Datagram<'a>> {
    requests.clear();
    requests.into_iter().map(|_| unreachable!("it is empty")).collect()
}
