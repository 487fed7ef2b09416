//! Ports for programs that do not tell which one they were given when they ask for any.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below what systems hand out by themselves (Linux from 32768 on), so that no outgoing connection
/// takes the port between here and the program it is for.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A process takes so many at a time.
const BLOCK: u16 = 60;

/// A port that is free for TCP and UDP on both loopback addresses, and is given out to nobody else
/// while this process lives: what a program had that was killed is still its own when it is
/// started again, and who looks for it there meets no stranger.
///
/// # Panics
/// When 12 000 ports are taken.
pub fn free_port() -> u16 {
    static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(port) = blocks.last_mut().and_then(Block::next) {
            return port;
        }
        blocks.push(Block::take().expect("one of 200 blocks of ports is free"));
    }
}

/// Ports of one process.
struct Block {
    /// Listens on the first of them as long as the process lives, which says so to the others.
    _claim: TcpListener,
    left: Range<u16>,
}

impl Block {
    /// Tests that run at the same time as processes start to look at different places.
    fn take() -> Option<Self> {
        let blocks = COUNT / BLOCK;
        let start = (RandomState::new().hash_one(std::process::id()) % u64::from(blocks)) as u16;
        (0..blocks).find_map(|at| {
            let first = FIRST + (start + at) % blocks * BLOCK;
            let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
            Some(Self { _claim: claim, left: first + 1..first + BLOCK })
        })
    }

    fn next(&mut self) -> Option<u16> {
        self.left.find(|&port| is_free(port))
    }
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

    #[test]
    fn block_is_one_processs_alone_and_goes_on_after_its_end() {
        let [mut one, mut other] = [Block::take(), Block::take()].map(|block| block.expect("free"));
        assert!(one.left.end <= other.left.start || other.left.end <= one.left.start);
        while let Some(port) = one.next() {
            assert!(!other.left.contains(&port));
        }
        assert!(other.next().is_some());
    }
}
