//! A responder without state: what a datagram costs before anyone looks anything up.
//!
//! The bar for our server. It answers each request with a reply of a tracker's size (connect 16
//! bytes, announce 20 + 6 or 18 per peer, scrape 8 + 12 per hash), in batches, on one thread.

use std::net::SocketAddr;

use crate::socket::{Batch, DATAGRAM_BYTES_MAX, Datagrams, Wait};

/// Answers on `address` until the process is ended, with `peers` peers per announce reply.
pub(crate) fn run(address: SocketAddr, peers: usize) -> Result<(), String> {
    let explain = |error| format!("null-udp on {address}: {error}");
    let datagrams = Datagrams::bind(address, 8 << 20).map_err(explain)?;
    let peer_bytes = if address.is_ipv4() { 6 } else { 18 };
    let announce_bytes = (20 + peers * peer_bytes).min(DATAGRAM_BYTES_MAX);
    let (mut requests, mut replies) = (Batch::new(), Batch::new());
    loop {
        let count = datagrams.receive(&mut requests, Wait::ForOne).map_err(explain)?;
        for index in 0..count {
            let request = requests.datagram(index);
            if request.len() < 16 {
                continue;
            }
            let length = match request[11] {
                0 => 16,
                1 => announce_bytes,
                _ => 8 + (request.len() - 16) / 20 * 12,
            };
            replies.push(requests.name(index), |reply| {
                reply[..4].copy_from_slice(&request[8..12]);
                reply[4..8].copy_from_slice(&request[12..16]);
                length
            });
        }
        datagrams.send(&mut replies).map_err(explain)?;
    }
}
