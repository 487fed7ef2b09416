//! Ports for programs that do not tell which one they were given when they ask for any.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems hand out by themselves (Linux from 32768 on), so that no outgoing connection
/// takes the port between here and the program it is for.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that is free for TCP and UDP on both loopback addresses, and is not given out again by
/// this process. Another process may still take it: a program that finds its port taken fails.
///
/// # Panics
/// When 12 000 ports are taken.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Tests that run at the same time as processes start at different places.
    let random = || RandomState::new().hash_one(std::process::id());
    let next = NEXT.get_or_init(|| AtomicU16::new((random() % u64::from(COUNT)) as u16));
    (0..COUNT)
        .map(|_| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|&port| is_free(port))
        .expect("one of 12 000 ports is free")
}

fn is_free(port: u16) -> bool {
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    TcpListener::bind((v4, port)).is_ok()
        && TcpListener::bind((v6, port)).is_ok()
        && UdpSocket::bind((v4, port)).is_ok()
        && UdpSocket::bind((v6, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_free_and_given_out_once() {
        let (first, second) = (free_port(), free_port());
        assert_ne!(first, second);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a port");
        let port = taken.local_addr().expect("it is bound").port();
        assert!(!is_free(port));
    }
}
