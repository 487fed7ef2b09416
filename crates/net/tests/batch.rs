//! One suite for every backend, over loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use peerage_net::{Backend, Batch, DATAGRAM_BYTES_MAX, Options, Sent, Socket, Waiter, check_free};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// How long a test waits for what must come before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Single];
    if Backend::best() != Backend::Single {
        backends.push(Backend::best());
    }
    backends
}

fn bind(ip: IpAddr) -> Socket {
    let buffer = Some(1 << 20);
    let options =
        Options { receive_buffer_bytes: buffer, send_buffer_bytes: buffer, shared: false };
    Socket::bind(SocketAddr::new(ip, 0), &options).unwrap()
}

fn client(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A socket to which a client has sent the datagrams 0, 1 and 2, of a byte each.
fn with_three_datagrams() -> (Socket, UdpSocket) {
    let (socket, client) = (bind(V4), client(V4));
    for number in 0..3 {
        client.send_to(&[number], socket.local_address()).unwrap();
    }
    (socket, client)
}

/// Waits for a batch that is not empty.
#[track_caller]
fn receive(batch: &mut Batch, socket: &Socket) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut waiter = Waiter::new(std::slice::from_ref(socket));
    while Instant::now() < deadline {
        match batch.receive(socket).unwrap() {
            0 => waiter.wait(PATIENCE).unwrap(),
            count => return count,
        }
    }
    panic!("nothing came");
}

/// Answers each datagram with its bytes in reverse.
fn answer_reversed(batch: &mut Batch, socket: &Socket) -> Sent {
    let answers: Vec<Vec<u8>> =
        batch.iter().map(|received| received.bytes.iter().rev().copied().collect()).collect();
    batch.reply(socket, answers.iter().map(Vec::as_slice).enumerate())
}

#[test]
fn two_hundred_datagrams_are_answered_each_to_its_source() {
    for (backend, ip) in backends().into_iter().flat_map(|b| [(b, V4), (b, V6)]) {
        let socket = bind(ip);
        let clients: Vec<_> = (0..200_u8).map(|_| client(ip)).collect();
        for (number, client) in clients.iter().enumerate() {
            client.send_to(&[number as u8, 1, 2, 3], socket.local_address()).unwrap();
        }
        let mut batch = Batch::new(backend, 64);
        let mut answered = 0;
        while answered < 200 {
            let count = receive(&mut batch, &socket);
            assert!(count <= 64 && batch.len() == count);
            for received in batch.iter() {
                let number = usize::from(received.bytes[0]);
                assert_eq!(received.source, clients[number].local_addr().unwrap());
            }
            let sent = answer_reversed(&mut batch, &socket);
            let expected = Sent { datagrams: count as u64, bytes: 4 * count as u64, failed: 0 };
            assert_eq!(sent, expected, "{backend:?}");
            answered += count;
        }
        for (number, client) in clients.iter().enumerate() {
            let mut reply = [0; 16];
            let (length, source) = client.recv_from(&mut reply).unwrap();
            assert_eq!(reply[..length], [3, 2, 1, number as u8], "{backend:?}");
            assert_eq!(source, socket.local_address());
        }
        assert_eq!(batch.receive(&socket).unwrap(), 0);
        assert!(batch.is_empty());
    }
}

#[test]
fn some_datagrams_of_a_batch_may_be_left_without_answer() {
    for backend in backends() {
        let (socket, _client) = with_three_datagrams();
        let mut batch = Batch::new(backend, 8);
        let mut answered = 0;
        let mut seen = 0;
        while seen < 3 {
            seen += receive(&mut batch, &socket);
            let wanted: Vec<_> =
                (0..batch.len()).filter(|index| batch.datagram(*index).bytes != [1]).collect();
            let answers = wanted.iter().map(|index| (*index, &b"yes"[..]));
            answered += batch.reply(&socket, answers).datagrams;
        }
        assert_eq!(answered, 2, "{backend:?}");
    }
}

#[test]
fn datagram_longer_than_the_bound_is_flagged_and_empty() {
    for (backend, ip) in backends().into_iter().flat_map(|b| [(b, V4), (b, V6)]) {
        let socket = bind(ip);
        let client = client(ip);
        let lengths = [DATAGRAM_BYTES_MAX + 1, 3000, DATAGRAM_BYTES_MAX, 0, 1];
        for length in lengths {
            client.send_to(&vec![7; length], socket.local_address()).unwrap();
        }
        let mut batch = Batch::new(backend, 8);
        let mut seen = Vec::new();
        while seen.len() < lengths.len() {
            receive(&mut batch, &socket);
            seen.extend(batch.iter().map(|received| (received.bytes.len(), received.truncated)));
        }
        let expected = [(0, true), (0, true), (DATAGRAM_BYTES_MAX, false), (0, false), (1, false)];
        assert_eq!(seen, expected, "{backend:?}");
    }
}

#[test]
fn reply_that_cannot_be_sent_is_passed_over() {
    for backend in backends() {
        let (socket, client) = with_three_datagrams();
        let mut batch = Batch::new(backend, 8);
        let mut seen = 0;
        // More than any datagram holds: the kernel refuses it, and this one alone.
        let too_long = vec![0; 70_000];
        let mut sent = Sent::default();
        while seen < 3 {
            seen += receive(&mut batch, &socket);
            let answers = (0..batch.len()).map(|index| match batch.datagram(index).bytes {
                [1] => (index, &too_long[..]),
                _ => (index, &b"ok"[..]),
            });
            let answers: Vec<_> = answers.collect();
            let Sent { datagrams, bytes, failed } = batch.reply(&socket, answers.into_iter());
            sent.datagrams += datagrams;
            sent.bytes += bytes;
            sent.failed += failed;
        }
        assert_eq!(sent, Sent { datagrams: 2, bytes: 4, failed: 1 }, "{backend:?}");
        for _ in 0..2 {
            let mut reply = [0; 8];
            assert_eq!(client.recv(&mut reply).unwrap(), 2);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn reply_leaves_from_the_address_that_was_asked() {
    let socket = bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let port = socket.local_address().port();
    let mut batch = Batch::new(Backend::Batched, 8);
    let client = client(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    for asked in ["127.0.0.2", "127.0.0.1", "127.3.2.1"] {
        let asked = SocketAddr::new(asked.parse().unwrap(), port);
        client.send_to(b"who", asked).unwrap();
        receive(&mut batch, &socket);
        assert_eq!(answer_reversed(&mut batch, &socket).failed, 0);
        let mut reply = [0; 8];
        let (_, source) = client.recv_from(&mut reply).unwrap();
        assert_eq!(source, asked);
    }
}

/// Loopback has one IPv6 address only, so what is shown is that the address asked goes the way
/// round and is accepted.
#[cfg(target_os = "linux")]
#[test]
fn reply_of_a_wildcard_ipv6_socket_leaves_from_the_address_that_was_asked() {
    let socket = bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let asked = SocketAddr::new(V6, socket.local_address().port());
    let mut batch = Batch::new(Backend::Batched, 8);
    let client = client(V6);
    client.send_to(b"who", asked).unwrap();
    receive(&mut batch, &socket);
    assert_eq!(answer_reversed(&mut batch, &socket), Sent { datagrams: 1, bytes: 3, failed: 0 });
    let mut reply = [0; 8];
    assert_eq!(client.recv_from(&mut reply).unwrap(), (3, asked));
}

#[test]
fn wildcard_sockets_of_both_families_share_a_port() {
    let v6 = bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), v6.local_address().port());
    let v4 = Socket::bind(address, &Options::default()).unwrap();
    assert_eq!(v4.local_address().port(), v6.local_address().port());
}

#[test]
fn waiter_tells_which_socket_is_ready() {
    let sockets = [bind(V4), bind(V6)];
    let mut waiter = Waiter::new(&sockets);
    client(V6).send_to(b"x", sockets[1].local_address()).unwrap();
    waiter.wait(PATIENCE).unwrap();
    assert!(waiter.is_ready(1));
    assert!(!waiter.is_ready(0) || cfg!(not(unix)));
}

#[test]
fn shared_address_is_free_for_its_sharers_and_taken_for_everyone_else() {
    let options = Options { shared: true, ..Options::default() };
    let first = Socket::bind(SocketAddr::new(V4, 0), &options).unwrap();
    let second = Socket::bind(first.local_address(), &options).unwrap();
    assert_eq!(first.local_address(), second.local_address());
    let error = check_free(first.local_address()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn receive_buffer_is_as_asked() {
    let socket = bind(V4);
    assert!(socket.receive_buffer_bytes().unwrap() >= 100_000);
}

#[cfg(target_os = "linux")]
#[test]
fn datagrams_the_kernel_had_no_room_for_are_counted() {
    let options = Options { receive_buffer_bytes: Some(1), ..Options::default() };
    let socket = Socket::bind(SocketAddr::new(V4, 0), &options).unwrap();
    assert_eq!(socket.dropped(), 0);
    let client = client(V4);
    for _ in 0..100 {
        client.send_to(&[0; 1000], socket.local_address()).unwrap();
    }
    let mut batch = Batch::new(Backend::best(), 128);
    let kept = receive(&mut batch, &socket);
    assert!(kept < 100);
    assert_eq!(socket.dropped() as usize, 100 - kept);
}
