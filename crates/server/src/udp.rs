//! How UDP gets in and out: the sockets of each worker, and its loop.
//!
//! A worker takes a batch from one of its sockets, has it answered, sends the answers, and goes on
//! to the next socket. It waits only when no socket had anything.
//!
//! - `late`: datagrams whose replies wait for what other nodes know.

mod late;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use peerage_net::{Backend, Batch, Inherited, Options, Sent, Socket, Waiter};
use peerage_proto::Family;
use peerage_swarm::Now;
use peerage_tracker::udp::{Datagram, Endpoint, Replies};
use peerage_tracker::{Counter, Protocol};

use crate::clock::Clock;
use crate::latency::{Histogram, Timer};
use crate::listen::{BindError, bind_all, workers_of};
use crate::stop::Stop;
use late::Late;

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

/// What one worker's sockets have seen since their start. Written by that worker alone, read by
/// any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    families: [FamilyCounters; 2],
    /// From the moment a batch was received until its replies were handed to the kernel.
    pub(crate) latency: Histogram,
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
    patience: Duration,
}

/// Binds the sockets of `workers` workers to `addresses`. All workers share each address; the
/// kernel spreads the datagrams over them by source address and port.
///
/// Datagrams could be steered by info_hash instead, so that each worker owns its share of the
/// swarms: by a classic BPF program attached to the group of an address. This is the place for it,
/// once all sockets of a group are bound and before the first is read.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    settings: &Settings,
    inherited: &Inherited,
) -> Result<Vec<Sockets>, BindError> {
    bind_with(Backend::best(), addresses, workers, settings, inherited)
}

fn bind_with(
    backend: Backend,
    addresses: &[SocketAddr],
    workers: usize,
    settings: &Settings,
    inherited: &Inherited,
) -> Result<Vec<Sockets>, BindError> {
    let buffer = |bytes: u64| (bytes != 0).then(|| usize::try_from(bytes).unwrap_or(usize::MAX));
    let options = Options {
        shared: workers_of(workers) > 1,
        receive_buffer_bytes: buffer(settings.receive_buffer_bytes),
        send_buffer_bytes: buffer(settings.send_buffer_bytes),
    };
    let with_address = |socket: Socket| {
        let bound = socket.local_address();
        (socket, bound)
    };
    let inherited = |address, worker| {
        let found = inherited.udp(address, worker)?;
        Some(found.and_then(|socket| Socket::adopt(socket, &options)).map(with_address))
    };
    let bind = |address| Socket::bind(address, &options).map(with_address);
    let free = peerage_net::check_free;
    let all = bind_all(Protocol::Udp, addresses, workers, inherited, free, bind)?;
    let patience = Duration::ZERO;
    let sockets = |sockets| Sockets { sockets, backend, counters: Arc::default(), patience };
    Ok(all.into_iter().map(sockets).collect())
}

impl Sockets {
    /// The addresses bound, in the order asked for, with the ports the kernel chose.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(Socket::local_address).collect()
    }

    /// Another descriptor of each socket.
    pub(crate) fn duplicates(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.sockets.iter().map(Socket::duplicate)
    }

    /// Counters that stay readable while the worker runs and after it has ended.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Lets the reply to the first announce of a swarm wait so long for the peers of other nodes.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Answers with `endpoint` until asked to stop. Blocks the thread.
    ///
    /// Errors: waiting itself is broken (a system out of memory). Receiving and sending may fail
    /// for as long as they like; that is counted.
    #[expect(clippy::needless_pass_by_value, reason = "it runs on a thread of its own")]
    pub(crate) fn run(self, endpoint: Endpoint, clock: Clock, stop: Stop) -> io::Result<()> {
        let Self { sockets, backend, counters, patience } = self;
        let mut waiter = Waiter::new(&sockets);
        let mut ports: Vec<Port<'_>> =
            sockets.iter().map(|socket| Port::new(socket, &counters)).collect();
        let mut worker = Worker {
            endpoint,
            batch: Batch::new(backend, BATCH_DATAGRAMS),
            replies: Replies::new(BATCH_DATAGRAMS),
            requests: Vec::with_capacity(usize::from(BATCH_DATAGRAMS)),
            timer: Timer::new(),
            late: Late::new(patience, backend),
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
            for (index, port) in ports.iter_mut().enumerate() {
                if port.busy || all {
                    port.busy = worker.serve(now, index, port) >= BUSY_DATAGRAMS;
                }
            }
            worker.answer_late(now, &ports);
            if ports.iter().all(|port| !port.busy) {
                waiter.wait(worker.late.wait_at_most())?;
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
    latency: &'a Histogram,
    /// Whether it is worth asking before the next wait.
    busy: bool,
    /// As last read, modulo 2^32.
    drops: u32,
}

impl<'a> Port<'a> {
    fn new(socket: &'a Socket, counters: &'a Counters) -> Self {
        let family = Family::of(socket.local_address().ip());
        let latency = &counters.latency;
        Self { socket, counters: counters.of(family), latency, busy: true, drops: 0 }
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
    timer: Timer,
    late: Late,
}

impl Worker {
    /// Receives, answers and sends one batch, and tells how many datagrams it had.
    fn serve(&mut self, now: Now, number: usize, port: &Port<'_>) -> usize {
        let count = match self.batch.receive(port.socket) {
            Ok(0) => return 0,
            Ok(count) => count,
            Err(_) => {
                port.counters.receive_failures.add(1);
                return 0;
            }
        };
        let begun = self.timer.begin();
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
        if self.late.has_room() {
            self.endpoint.handle_patiently(now, &requests, &mut self.replies);
        } else {
            self.endpoint.handle(now, &requests, &mut self.replies);
        }
        self.requests = recycle(requests);
        let sent = self.batch.reply(port.socket, self.replies.iter());
        if !self.replies.awaited().is_empty() {
            self.late.put_aside(now, number, &mut self.batch, self.replies.awaited());
        }
        if let Some(begun) = begun {
            port.latency.add(begun.elapsed(), sent.datagrams);
        }
        port.counters.datagrams_in.add(count as u64);
        port.counters.bytes_in.add(bytes);
        port.counters.truncated.add(truncated);
        port.count_sent(sent);
        count
    }
}

impl Worker {
    /// Answers what has waited for other nodes, once they have answered or the time is up.
    fn answer_late(&mut self, now: Now, ports: &[Port<'_>]) {
        let Self { endpoint, replies, late, .. } = self;
        late.answer(now, endpoint, replies, |number, batch, replies| {
            let port = &ports[number];
            port.count_sent(batch.reply(port.socket, replies));
        });
    }
}

/// The memory of `requests`, empty, for datagrams that live for another time. The standard library
/// collects in place: nothing is allocated.
fn recycle<'a>(mut requests: Vec<Datagram<'_>>) -> Vec<Datagram<'a>> {
    requests.clear();
    requests.into_iter().map(|_| unreachable!("it is empty")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::thread;
    use std::time::Instant;

    use peerage_tracker::{ConnectionKey, Connections, Limits, PeerIds, Rules, Tracker};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(20);
    const SETTINGS: Settings =
        Settings { receive_buffer_bytes: 1 << 20, send_buffer_bytes: 1 << 20 };

    fn endpoint() -> Endpoint {
        let limits = Limits {
            swarms_max: 1000,
            peers_max: 1000,
            peers_per_swarm_max: 1000,
            peers_per_address_max: 0,
            peer_timeout: Duration::from_secs(3600),
            completed_kept: Duration::from_secs(3600),
        };
        let tracker = Tracker::new([7; 16], limits, PeerIds::Dropped, Rules::default());
        let connections = Connections::new(ConnectionKey([1; 16]), Duration::from_secs(120));
        Endpoint::new(Arc::new(tracker), connections, 1)
    }

    /// Runs the workers while `test` does, with the addresses bound and the counters of each.
    fn with_workers(workers: Vec<Sockets>, test: impl FnOnce(&[SocketAddr], &[Arc<Counters>])) {
        let addresses = workers[0].local_addresses();
        let counters: Vec<_> = workers.iter().map(Sockets::counters).collect();
        let stop = Stop::default();
        thread::scope(|scope| {
            let running: Vec<_> = workers
                .into_iter()
                .map(|worker| {
                    let stop = stop.clone();
                    scope.spawn(move || worker.run(endpoint(), Clock::start(), stop))
                })
                .collect();
            let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                test(&addresses, &counters);
            }));
            stop.request();
            for worker in running {
                worker.join().unwrap().unwrap();
            }
            tested.unwrap();
        });
    }

    fn client(ip: IpAddr) -> UdpSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A connect (BEP 15): protocol id, action 0, transaction id.
    fn connect(transaction_id: u32) -> [u8; 16] {
        let mut request = [0; 16];
        request[..8].copy_from_slice(&0x0417_2710_1980_u64.to_be_bytes());
        request[12..].copy_from_slice(&transaction_id.to_be_bytes());
        request
    }

    #[test]
    fn clients_of_both_families_are_answered_by_any_number_of_workers() {
        let addresses = [SocketAddr::new(V4, 0), SocketAddr::new(V6, 0)];
        for (backend, workers) in [(Backend::best(), 1), (Backend::best(), 3), (Backend::Single, 2)]
        {
            let workers =
                bind_with(backend, &addresses, workers, &SETTINGS, &Inherited::default()).unwrap();
            with_workers(workers, |addresses, counters| {
                let clients = [client(V4), client(V6)];
                for number in 0..300_u32 {
                    for (client, server) in clients.iter().zip(addresses) {
                        client.send_to(&connect(number), server).unwrap();
                        let mut reply = [0; 32];
                        let (length, source) = client.recv_from(&mut reply).unwrap();
                        assert_eq!((length, source), (16, *server));
                        assert_eq!(reply[4..8], number.to_be_bytes());
                    }
                }
                // The last reply may be with us before it is counted.
                let deadline = Instant::now() + PATIENCE;
                let sum = |count: fn(&FamilyCounters) -> &Counter| {
                    [Family::V4, Family::V6].map(|family| {
                        counters.iter().map(|one| count(one.of(family)).get()).sum::<u64>()
                    })
                };
                while sum(|one| &one.bytes_out) != [4800; 2] && Instant::now() < deadline {
                    thread::yield_now();
                }
                assert_eq!(sum(|one| &one.datagrams_in), [300; 2]);
                assert_eq!(sum(|one| &one.bytes_in), [4800; 2]);
                assert_eq!(sum(|one| &one.datagrams_out), [300; 2]);
                assert_eq!(sum(|one| &one.bytes_out), [4800; 2]);
                assert_eq!(sum(|one| &one.send_failures), [0; 2]);
            });
        }
    }

    #[test]
    fn what_is_no_request_gets_no_reply_and_holds_nothing_up() {
        let workers = bind(&[SocketAddr::new(V4, 0)], 1, &SETTINGS, &Inherited::default()).unwrap();
        with_workers(workers, |addresses, _| {
            let client = client(V4);
            for length in [0, 1, 15, 98, 2048, 5000, 65_507] {
                client.send_to(&vec![0xa5; length], addresses[0]).unwrap();
            }
            client.send_to(&connect(77), addresses[0]).unwrap();
            let mut reply = [0; 2048];
            // A reply to one of the others would be the first.
            let mut length = client.recv(&mut reply).unwrap();
            while reply[..4] == [0, 0, 0, 3] {
                // A connection id that is not valid may be told so, in less than was sent.
                assert!(length < 98);
                length = client.recv(&mut reply).unwrap();
            }
            assert_eq!((length, &reply[4..8]), (16, &77_u32.to_be_bytes()[..]));
        });
    }

    #[test]
    fn port_that_is_taken_is_told_in_a_line() {
        let taken = UdpSocket::bind((V4, 0)).unwrap();
        let error = bind(&[taken.local_addr().unwrap()], 2, &SETTINGS, &Inherited::default())
            .err()
            .unwrap();
        assert!(error.to_string().contains("another program has the port"), "{error}");
    }

    #[test]
    fn second_tracker_does_not_join_the_sockets_of_the_first() {
        let first = bind(&[SocketAddr::new(V4, 0)], 2, &SETTINGS, &Inherited::default()).unwrap();
        assert_eq!(first[0].local_addresses(), first[1].local_addresses());
        assert!(bind(&first[0].local_addresses(), 2, &SETTINGS, &Inherited::default()).is_err());
    }

    #[test]
    fn vector_of_requests_keeps_its_memory() {
        let mut requests: Vec<Datagram<'static>> = Vec::with_capacity(64);
        let memory = requests.as_ptr().addr();
        for _ in 0..3 {
            let bytes = [1, 2, 3];
            let mut shorter = recycle(requests);
            shorter.push(Datagram { source: SocketAddr::new(V4, 1), bytes: &bytes });
            requests = recycle(shorter);
            assert_eq!((requests.as_ptr().addr(), requests.capacity()), (memory, 64));
        }
    }
}
