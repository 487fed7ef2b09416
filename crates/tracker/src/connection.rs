//! UDP connection ids: proof that a client receives what is sent to its address (BEP 15).
//!
//! An id is 64 bits: the second it was issued in (16 bits) and a keyed hash of that second and the
//! address it was issued to (48 bits, one of them always set). Nothing is stored. The port is not
//! bound: libtorrent uses one id for all its sockets.
//!
//! Who does not know the key and cannot receive at an address guesses an id for it with
//! probability 2^-47 a datagram: at a million guesses a second, once in four years.

use alloc::sync::Arc;
use core::hash::Hasher;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use peerage_proto::udp::ConnectionId;
use peerage_swarm::Now;
use siphasher::sip::SipHasher24;

/// The secret behind the ids. Nodes with one key accept each other's ids, and so does a process its
/// predecessor's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectionKey(pub [u8; 16]);

/// Issues and checks connection ids. Clones share the key.
#[derive(Clone)]
pub struct Connections {
    keys: Arc<Keys>,
    lifetime_secs: u16,
}

/// The key in force, and the one before it: zeros where there was none. An id is checked with each
/// half as it stands at that moment, so that in the instant of a change one may be refused.
struct Keys {
    current: [AtomicU64; 2],
    previous: [AtomicU64; 2],
}

fn halves(key: ConnectionKey) -> [u64; 2] {
    let bits = u128::from_be_bytes(key.0);
    [(bits >> 64) as u64, bits as u64]
}

fn load(key: &[AtomicU64; 2]) -> ConnectionKey {
    let [high, low] = key.each_ref().map(|half| u128::from(half.load(Ordering::Relaxed)));
    ConnectionKey((high << 64 | low).to_be_bytes())
}

fn store(key: &[AtomicU64; 2], value: ConnectionKey) {
    key.iter().zip(halves(value)).for_each(|(half, value)| half.store(value, Ordering::Relaxed));
}

/// How far the clock of a node that issued an id may be ahead of ours.
const AHEAD_SECS: u16 = 10;

impl Connections {
    /// The longest lifetime; the 16 bits of the second turn over after 18 hours.
    pub const LIFETIME_MAX: Duration = Duration::from_secs(8 * 3600);

    /// Ids valid for `lifetime`, at most [`Connections::LIFETIME_MAX`]. BEP 15 wants two minutes.
    pub fn new(key: ConnectionKey, lifetime: Duration) -> Self {
        let lifetime_secs = lifetime.min(Self::LIFETIME_MAX).as_secs() as u16;
        let keys = Keys { current: halves(key).map(AtomicU64::new), previous: Default::default() };
        Self { keys: Arc::new(keys), lifetime_secs }
    }

    /// The key by which ids are issued.
    pub fn key(&self) -> ConnectionKey {
        load(&self.keys.current)
    }

    /// Issues ids by `key` from now on. Those by the key before are still valid.
    pub fn adopt(&self, key: ConnectionKey) {
        let current = self.key();
        if current != key {
            store(&self.keys.previous, current);
            store(&self.keys.current, key);
        }
    }

    /// An id for `address`, canonical. Never 0: rTorrent takes 0 for an error.
    pub fn issue(&self, now: Now, address: IpAddr) -> ConnectionId {
        ConnectionId(id_of(load(&self.keys.current), now.as_secs(), address))
    }

    /// Whether `id` was issued to `address` within the lifetime.
    pub fn is_valid(&self, now: Now, address: IpAddr, id: ConnectionId) -> bool {
        // The second is known modulo 2^16: the youngest one that fits is meant, or one just ahead.
        let ahead = now.as_secs() + u64::from(AHEAD_SECS);
        let age = (ahead as u16).wrapping_sub((id.0 >> 48) as u16);
        let Some(issued) = ahead.checked_sub(u64::from(age)) else { return false };
        let by = |key| id_of(key, issued, address) == id.0;
        age <= self.lifetime_secs + AHEAD_SECS
            && (by(load(&self.keys.current)) || self.previous().is_some_and(by))
    }

    fn previous(&self) -> Option<ConnectionKey> {
        Some(load(&self.keys.previous)).filter(|key| *key != ConnectionKey([0; 16]))
    }
}

fn id_of(key: ConnectionKey, issued_secs: u64, address: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write_u64(issued_secs);
    match address {
        IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    // The lowest bit is set so that no id is 0; 47 bits of the hash are left.
    issued_secs << 48 | (hasher.finish() >> 16) | 1
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn connections(lifetime_secs: u64) -> Connections {
        Connections::new(ConnectionKey([7; 16]), Duration::from_secs(lifetime_secs))
    }

    fn at(secs: u64) -> Now {
        Now::from_millis(secs * 1000)
    }

    #[test]
    fn id_is_valid_for_its_lifetime_and_no_longer() {
        let connections = connections(120);
        for start in [1_800_000_000, 65_535, 65_536 * 3 - 60] {
            let id = connections.issue(at(start), V4);
            for (age, valid) in [(0, true), (60, true), (120, true), (121, false), (3600, false)] {
                assert_eq!(connections.is_valid(at(start + age), V4, id), valid, "age {age}");
            }
            // The 16 bits come round again; the hash does not.
            assert!(!connections.is_valid(at(start + 65_536), V4, id));
        }
    }

    #[test]
    fn id_is_bound_to_address_and_key() {
        let connections = connections(120);
        let id = connections.issue(at(1000), V4);
        let others = [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped()),
        ];
        for other in others {
            assert!(!connections.is_valid(at(1000), other, id));
        }
        let stranger = Connections::new(ConnectionKey([8; 16]), Duration::from_secs(120));
        assert!(!stranger.is_valid(at(1000), V4, id));
    }

    #[test]
    fn ids_of_the_key_before_stay_valid_and_those_of_an_earlier_one_do_not() {
        let connections = connections(120);
        let clone = connections.clone();
        let first = connections.issue(at(1000), V4);
        clone.adopt(ConnectionKey([8; 16]));
        let second = connections.issue(at(1000), V4);
        assert_ne!(first, second);
        assert!([first, second].iter().all(|id| connections.is_valid(at(1000), V4, *id)));
        // What is in force already changes nothing.
        connections.adopt(ConnectionKey([8; 16]));
        assert!(connections.is_valid(at(1000), V4, first));
        connections.adopt(ConnectionKey([9; 16]));
        assert!(!connections.is_valid(at(1000), V4, first));
        assert!(connections.is_valid(at(1000), V4, second));
    }

    #[test]
    fn id_of_a_node_whose_clock_is_ahead_is_valid_but_a_far_future_one_is_not() {
        let connections = connections(120);
        let ahead = connections.issue(at(5010), V4);
        assert!(connections.is_valid(at(5000), V4, ahead));
        let far = connections.issue(at(5011), V4);
        assert!(!connections.is_valid(at(5000), V4, far));
    }

    #[test]
    fn every_changed_bit_makes_an_id_invalid_but_the_one_that_is_always_set() {
        let connections = connections(120);
        let id = connections.issue(at(77_777), V4);
        for bit in 0..64 {
            let changed = ConnectionId(id.0 ^ 1 << bit);
            assert!(!connections.is_valid(at(77_777), V4, changed), "bit {bit}");
        }
        assert!(!connections.is_valid(at(0), V4, ConnectionId(0)));
    }
}
