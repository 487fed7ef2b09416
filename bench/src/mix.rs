//! Who announces what: the population a benchmark simulates, as pure functions of numbers.
//!
//! A peer is a number. Its address, port, swarm and state follow from the number alone, so that
//! ten million of them take no memory in the generator and no cache from the server beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First of the IPv4 source addresses: 127.64.0.0, of which up to 2^22 follow.
const IPV4_BASE: u32 = 0x7f40_0000;
/// First 64 bits of the IPv6 source addresses, routed to `lo` in a namespace of our own.
pub(crate) const IPV6_PREFIX: u64 = 0xfd00_7065_6572_0000;
/// Lowest port a peer listens on.
const PORT_FIRST: u32 = 1024;
/// Ports of one source address in use.
const PORTS: u32 = 64_000;

/// How steep the head of the popularity curve is: see [`Shape::Skewed`].
const HEAD_EXPONENT: f64 = 7.0;
const HEAD_SLOPE: f64 = 500.0;
const FLOOR: f64 = 0.5;

/// How peers spread over swarms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Peer `k` is in swarm `k % swarms`: all swarms grow together, as in a tracker that fills.
    Even,
    /// A flat floor with a steep exponential head: of `n` swarms, number `i` weighs
    /// `0.5 + exp(7 - 500 i / n)`. With two peers a swarm, the largest has 815 peers, four in
    /// five peers are in the most popular 1.4 %, and the others have 0.37 each on average.
    Skewed,
}

/// The family of the source addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// 127.64.0.0 and up.
    Ipv4,
    /// A routed /64 of its own.
    Ipv6,
}

/// All peers of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    /// Source addresses; peer `k` has number `k % sources`.
    pub(crate) sources: u32,
    /// Swarms in all.
    pub(crate) swarms: u32,
    /// Peers in all: at most `sources` times 64,000.
    pub(crate) peers: u32,
    /// How peers spread over swarms.
    pub(crate) shape: Shape,
    /// Of a hundred peers, how many have nothing left.
    pub(crate) seeders_percent: u32,
}

/// A peer, as its announce tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its number.
    pub(crate) number: u32,
    /// The number of its source address.
    pub(crate) source: u32,
    /// The port it listens on.
    pub(crate) port: u16,
    /// The number of its swarm.
    pub(crate) swarm: u32,
    /// Whether it has nothing left.
    pub(crate) is_seeder: bool,
}

/// Who a peer belongs to in private mode, and what its client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The number of its member.
    pub(crate) member: u32,
    /// Bytes uploaded.
    pub(crate) uploaded: u64,
    /// Bytes downloaded.
    pub(crate) downloaded: u64,
}

impl Account {
    /// The passkey of member `number`: its digits.
    pub(crate) fn passkey(number: u32) -> [u8; 32] {
        let mut passkey = [b'0'; 32];
        let mut rest = number;
        for digit in passkey.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        passkey
    }
}

impl Population {
    /// Peer `number` of this population, which must be below `peers`.
    pub(crate) fn peer(&self, number: u32) -> Peer {
        assert!(number / self.sources < PORTS, "too few sources for so many peers");
        let noise = mix(u64::from(number));
        Peer {
            number,
            source: number % self.sources,
            port: (PORT_FIRST + number / self.sources) as u16,
            swarm: match self.shape {
                Shape::Even => number % self.swarms,
                Shape::Skewed => skewed(mix(noise), self.swarms),
            },
            is_seeder: (noise >> 32) as u32 % 100 < self.seeders_percent,
        }
    }
}

/// A swarm of `swarms` by the popularity curve, for 64 random bits.
///
/// The weights of the floor sum to `FLOOR * n`, those of the head to `exp(7) * n / 500`; the
/// inverse of the head's distribution is a logarithm.
fn skewed(noise: u64, swarms: u32) -> u32 {
    let unit = (noise >> 11) as f64 / (1_u64 << 53) as f64;
    let head = HEAD_EXPONENT.exp() / HEAD_SLOPE;
    let at = unit * (head + FLOOR);
    let position = match at < FLOOR {
        true => at / FLOOR,
        false => -((at - FLOOR) / head).max(f64::MIN_POSITIVE).ln() / HEAD_SLOPE,
    };
    ((position * f64::from(swarms)) as u32).min(swarms - 1)
}

/// The address of source `number`.
pub(crate) fn source_address(family: Family, number: u32) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(IPV4_BASE + number).into(),
        Family::Ipv6 => {
            Ipv6Addr::from(u128::from(IPV6_PREFIX) << 64 | u128::from(number + 1)).into()
        }
    }
}

/// The info_hash of swarm `number`: as even as SHA-1, and cheap.
pub(crate) fn info_hash(number: u32) -> [u8; 20] {
    let a = mix(u64::from(number) | 1 << 40);
    let b = mix(a);
    let mut hash = [0; 20];
    hash[..8].copy_from_slice(&a.to_be_bytes());
    hash[8..16].copy_from_slice(&b.to_be_bytes());
    hash[16..].copy_from_slice(&number.to_be_bytes());
    hash
}

/// 64 bits that look random, different for each input (SplitMix64's finish).
pub(crate) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers from a seed (SplitMix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn population(swarms: u32, peers: u32) -> Population {
        Population { sources: 64, swarms, peers, shape: Shape::Skewed, seeders_percent: 75 }
    }

    #[test]
    fn peers_differ_by_address_and_port() {
        let population = population(1000, 20_000);
        let distinct: std::collections::BTreeSet<_> =
            (0..20_000).map(|k| population.peer(k)).map(|peer| (peer.source, peer.port)).collect();
        assert_eq!(distinct.len(), 20_000);
    }

    #[test]
    fn popularity_has_a_steep_head_and_a_flat_floor() {
        let population = population(10_000, 20_000);
        let mut sizes = BTreeMap::<u32, u32>::new();
        for number in 0..population.peers {
            *sizes.entry(population.peer(number).swarm).or_default() += 1;
        }
        let head: u32 = sizes.range(..140).map(|(_, size)| size).sum();
        assert!((0.78..0.84).contains(&(f64::from(head) / 20_000.0)), "head has {head}");
        assert!((700..930).contains(&sizes[&0]), "largest has {}", sizes[&0]);
        let floor = sizes.range(140..).count();
        assert!((2_800..3_400).contains(&floor), "floor has {floor} swarms");
    }

    #[test]
    fn seeders_are_the_share_asked_for() {
        let population = population(1000, 100_000);
        let seeders = (0..100_000).filter(|&k| population.peer(k).is_seeder).count();
        assert!((74_000..76_000).contains(&seeders), "{seeders}");
    }
}
