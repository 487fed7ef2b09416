//! Announces picked out as they go by, for statistics and for the map: who, over what, with which
//! client. Never all of them, and never one that has to wait for it.
//!
//! A worker writes what it picks into a ring of its own; one other thread empties the rings now and
//! then, and says how many announces each worker is to let pass between two.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use peerage_proto::PeerId;

use crate::Protocol;

/// Samples that wait in one ring. One more is not taken.
const SLOTS: usize = 128;

/// The first bytes of a peer_id: where a client says what it is.
const CLIENT_BYTES: usize = 8;

/// An announce that was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The peer's address, canonical.
    pub address: IpAddr,
    /// How it came in.
    pub protocol: Protocol,
    /// The first bytes of its peer_id.
    pub client: [u8; CLIENT_BYTES],
    /// The announces it stands for: itself, and those let pass before it.
    pub weight: u32,
}

/// The ring of one worker, which alone writes to it. One thread reads it.
#[derive(Debug)]
pub struct Samples {
    slots: [[AtomicU64; 4]; SLOTS],
    /// Samples ever written, modulo 2^32; the worker's. At most [`SLOTS`] more than `taken`.
    written: AtomicU32,
    /// Samples ever read, modulo 2^32; the reader's.
    taken: AtomicU32,
    /// Of so many announces one is to be picked, at least 1; the reader's.
    every: AtomicU32,
    /// Announces of the worker when the ring was last emptied; the reader's.
    announces: AtomicU64,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            slots: [const { [const { AtomicU64::new(0) }; 4] }; SLOTS],
            written: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            every: AtomicU32::new(1),
            announces: AtomicU64::new(0),
        }
    }
}

impl Samples {
    /// Adds a sample. Where the ring is full it is dropped, and `false` says so.
    fn push(&self, sample: &Sample) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        // Acquire: what was in the slot has been read.
        if written.wrapping_sub(self.taken.load(Ordering::Acquire)) as usize == SLOTS {
            return false;
        }
        let slot = &self.slots[written as usize % SLOTS];
        let words = to_words(sample);
        slot.iter().zip(words).for_each(|(slot, word)| slot.store(word, Ordering::Relaxed));
        // Release: who sees the number sees the words.
        self.written.store(written.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes all samples out, the oldest first. The worker has made `announces` since its start;
    /// about `wanted` of as many as came since the last time are picked from now on.
    pub(crate) fn drain(&self, announces: u64, wanted: u32, mut visit: impl FnMut(Sample)) {
        let written = self.written.load(Ordering::Acquire);
        let mut taken = self.taken.load(Ordering::Relaxed);
        while taken != written {
            let slot = &self.slots[taken as usize % SLOTS];
            visit(from_words(core::array::from_fn(|word| slot[word].load(Ordering::Relaxed))));
            taken = taken.wrapping_add(1);
        }
        self.taken.store(taken, Ordering::Release);
        let came = announces.wrapping_sub(self.announces.swap(announces, Ordering::Relaxed));
        let every = came.div_ceil(u64::from(wanted.max(1))).max(1);
        self.every.store(u32::try_from(every).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

fn to_words(sample: &Sample) -> [u64; 4] {
    let address = match sample.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits();
    let protocol = sample.protocol as u64;
    let client = u64::from_be_bytes(sample.client);
    [(address >> 64) as u64, address as u64, client, u64::from(sample.weight) << 32 | protocol]
}

fn from_words([high, low, client, rest]: [u64; 4]) -> Sample {
    let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    let number = rest as u32 as usize;
    Sample {
        address: address.to_canonical(),
        protocol: *Protocol::ALL.get(number).expect("it was written as one"),
        client: client.to_be_bytes(),
        weight: (rest >> 32) as u32,
    }
}

/// Which announces of a worker are picked: a countdown, and no more for those that are not.
#[derive(Debug)]
pub(crate) struct Picker {
    /// Announces until the next is picked; at least 1.
    left: u32,
    /// What `left` was when the last was picked or dropped.
    step: u32,
    /// Announces that dropped samples stood for.
    carried: u32,
}

impl Picker {
    /// Picks the first announce.
    pub(crate) fn new() -> Self {
        Self { left: 1, step: 1, carried: 0 }
    }

    /// Follows a wish for more samples at once; to be called once a batch.
    pub(crate) fn follow(&mut self, samples: &Samples) {
        let every = samples.every.load(Ordering::Relaxed);
        if every < self.left {
            self.step -= self.left - every;
            self.left = every;
        }
    }

    /// An announce goes by.
    #[inline]
    pub(crate) fn see(
        &mut self,
        samples: &Samples,
        protocol: Protocol,
        address: IpAddr,
        peer_id: &PeerId,
    ) {
        self.left -= 1;
        if self.left == 0 {
            self.pick(samples, protocol, address, peer_id);
        }
    }

    #[cold]
    fn pick(&mut self, samples: &Samples, protocol: Protocol, address: IpAddr, peer_id: &PeerId) {
        let weight = self.carried.saturating_add(self.step);
        let client = *peer_id.0.first_chunk().expect("a peer_id is longer");
        let taken = samples.push(&Sample { address, protocol, client, weight });
        self.carried = if taken { 0 } else { weight };
        self.step = samples.every.load(Ordering::Relaxed);
        self.left = self.step;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn see(picker: &mut Picker, samples: &Samples, count: u32) {
        let peer_id = PeerId(*b"-TR4060-abcdefghijkl");
        (0..count).for_each(|_| picker.see(samples, Protocol::Udp, V4, &peer_id));
    }

    fn drain(samples: &Samples, announces: u64, wanted: u32) -> Vec<Sample> {
        let mut all = Vec::new();
        samples.drain(announces, wanted, |sample| all.push(sample));
        all
    }

    #[test]
    fn sample_comes_out_as_it_went_in() {
        let samples = Samples::default();
        let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6));
        let client = *b"-TR4060-";
        let all = [
            Sample { address: V4, protocol: Protocol::Udp, client, weight: 1 },
            Sample { address: v6, protocol: Protocol::Http, client: [255; 8], weight: u32::MAX },
        ];
        assert!(all.iter().all(|sample| samples.push(sample)));
        assert_eq!(drain(&samples, 2, 1), all);
        assert_eq!(drain(&samples, 2, 1), []);
    }

    #[test]
    fn full_ring_takes_no_more_and_what_it_missed_is_not_forgotten() {
        let (samples, mut picker) = (Samples::default(), Picker::new());
        for round in 1..=100 {
            see(&mut picker, &samples, 1000);
            let drained = drain(&samples, round * 1000, 1_000_000);
            assert_eq!(drained.len(), SLOTS);
        }
        see(&mut picker, &samples, 1);
        let [first] = drain(&samples, 100_001, 1)[..] else { panic!("one was seen") };
        assert_eq!(first.weight as usize, 1000 - SLOTS + 1);
        assert_eq!((first.address, &first.client), (V4, b"-TR4060-"));
    }

    #[test]
    fn as_many_are_picked_as_are_wanted_and_they_stand_for_all() {
        let (samples, mut picker) = (Samples::default(), Picker::new());
        drain(&samples, 50_000, 50);
        let mut announces = 50_000;
        for _ in 0..10 {
            see(&mut picker, &samples, 50_000);
            announces += 50_000;
            let drained = drain(&samples, announces, 50);
            assert!((49..=51).contains(&drained.len()), "{}", drained.len());
        }
        // Few come after many: the countdown of the many does not go on.
        drain(&samples, announces, 50);
        picker.follow(&samples);
        see(&mut picker, &samples, 10);
        let drained = drain(&samples, announces + 10, 50);
        assert_eq!(drained.len(), 10);
        assert!(drained[1..].iter().all(|sample| sample.weight == 1), "{drained:?}");
    }

    #[test]
    fn weights_add_up_to_the_announces() {
        let (samples, mut picker) = (Samples::default(), Picker::new());
        let (mut announces, mut weights) = (0, 0);
        for round in 0..200_u32 {
            let count = round * 7919 % 3000;
            picker.follow(&samples);
            see(&mut picker, &samples, count);
            announces += u64::from(count);
            let drained = drain(&samples, announces, 20);
            weights += drained.iter().map(|sample| u64::from(sample.weight)).sum::<u64>();
        }
        picker.follow(&samples);
        assert!(weights <= announces && announces - weights < 3000, "{weights} of {announces}");
    }
}
