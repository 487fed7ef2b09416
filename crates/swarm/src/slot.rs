//! A peer in 8 bytes (IPv4) or 20 (IPv6): address, port, when it was last seen, what it is.

use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use siphasher::sip::SipHasher13;

use crate::{Now, Peers, Role};

/// The secret of the store's hashes.
#[derive(Clone, Copy)]
pub(crate) struct HashKey(pub(crate) [u8; 16]);

impl HashKey {
    pub(crate) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// An instant in steps of two seconds, modulo 2^13 (4.5 hours).
///
/// Longer ages than the modulus would look young, so every peer must be looked at by `expire` at
/// least once in half an hour, and peers are kept for four hours at most: of this node for a
/// timeout of at most two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(u16);

impl Tick {
    const BITS: u32 = 13;
    const STEP_SECS: u64 = 2;
    pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(2 * 3600);
    const KEPT_MAX: Duration = Duration::from_secs(4 * 3600);

    pub(crate) fn of(now: Now) -> Self {
        Self((now.as_secs() / Self::STEP_SECS) as u16 & ((1 << Self::BITS) - 1))
    }

    /// Steps from `self` to `now`.
    pub(crate) fn age(self, now: Self) -> u16 {
        now.0.wrapping_sub(self.0) & ((1 << Self::BITS) - 1)
    }

    /// The instant `steps` steps before.
    pub(crate) fn before(self, steps: u16) -> Self {
        Self(self.0.wrapping_sub(steps) & ((1 << Self::BITS) - 1))
    }

    /// `timeout` in steps.
    pub(crate) fn steps(timeout: Duration) -> u16 {
        (timeout.min(Self::TIMEOUT_MAX).as_secs() / Self::STEP_SECS) as u16
    }

    /// How long a peer is kept at most, in steps.
    fn kept_steps(kept: Duration) -> i32 {
        (kept.min(Self::KEPT_MAX).as_secs() / Self::STEP_SECS) as i32
    }
}

/// When a peer was last seen (13 bits) and what it is (3 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u16);

impl State {
    const SEEDER: u16 = 1;
    const PAUSED: u16 = 2;
    const FINISHED: u16 = 4;
    const ELSEWHERE: u16 = Self::SEEDER | Self::PAUSED;

    pub(crate) fn new(seen: Tick, role: Role, paused: bool, finished: bool) -> Self {
        let seeder = if role == Role::Seeder { Self::SEEDER } else { 0 };
        let paused = if paused { Self::PAUSED } else { 0 };
        let finished = if finished { Self::FINISHED } else { 0 };
        Self(seen.0 << 3 | seeder | paused | finished)
    }

    /// As it stands in a snapshot.
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// Any bits are a state.
    pub(crate) fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The same, last seen at another time.
    pub(crate) fn seen_at(self, seen: Tick) -> Self {
        Self(seen.0 << 3 | self.0 & 7)
    }

    /// Of a peer that clients of another node have announced. It takes the two combinations that
    /// no other peer has, a seeder that is paused: so whether it is paused or has finished is not
    /// known.
    pub(crate) fn elsewhere(seen: Tick, role: Role) -> Self {
        let leecher = if role == Role::Leecher { Self::FINISHED } else { 0 };
        Self(seen.0 << 3 | Self::ELSEWHERE | leecher)
    }

    /// Whether it was learnt from another node.
    pub(crate) fn is_elsewhere(self) -> bool {
        self.0 & Self::ELSEWHERE == Self::ELSEWHERE
    }

    pub(crate) fn role(self) -> Role {
        match self.0 & (Self::ELSEWHERE | Self::FINISHED) {
            bits if bits & Self::SEEDER == 0 => Role::Leecher,
            bits if bits == Self::ELSEWHERE | Self::FINISHED => Role::Leecher,
            _ => Role::Seeder,
        }
    }

    /// Wants no more, though something is left (BEP 21).
    pub(crate) fn is_paused(self) -> bool {
        self.0 & Self::ELSEWHERE == Self::PAUSED
    }

    /// Has been counted in `completed`.
    pub(crate) fn is_finished(self) -> bool {
        self.0 & Self::FINISHED != 0 && !self.is_elsewhere()
    }

    pub(crate) fn seen(self) -> Tick {
        Tick(self.0 >> 3)
    }
}

/// What decides whether a peer is still there.
#[derive(Clone, Copy)]
pub(crate) struct Freshness {
    now: Tick,
    /// Negative: nobody is.
    timeout_steps: i32,
    /// The same for peers learnt from other nodes.
    elsewhere_steps: i32,
}

impl Freshness {
    /// Nobody is still there.
    pub(crate) const NOBODY: Self = Self { now: Tick(0), timeout_steps: -1, elsewhere_steps: -1 };

    pub(crate) fn new(now: Now, timeout: Duration, elsewhere_kept: Duration) -> Self {
        let timeout_steps = i32::from(Tick::steps(timeout));
        let elsewhere_steps = Tick::kept_steps(elsewhere_kept);
        Self { now: Tick::of(now), timeout_steps, elsewhere_steps }
    }

    pub(crate) fn is_nobody(self) -> bool {
        self.timeout_steps < 0
    }

    pub(crate) fn holds(self, state: State) -> bool {
        let steps = if state.is_elsewhere() { self.elsewhere_steps } else { self.timeout_steps };
        i32::from(state.seen().age(self.now)) <= steps
    }

    /// Seconds since the peer was last seen, rounded up by up to a step.
    pub(crate) fn age_secs(self, state: State) -> u64 {
        u64::from(state.seen().age(self.now)) * Tick::STEP_SECS
    }
}

/// A peer of one family, or an empty place for one. Two slots are of the same peer when address and
/// port are equal.
pub(crate) trait Slot: Copy + PartialEq + core::fmt::Debug {
    /// In the number of `u32` it takes in a block.
    const WORDS: usize;
    /// A cache line of slots.
    type Line: Line<Self>;
    /// As on the wire.
    type Compact: Copy;

    const EMPTY: Self;

    fn state(self) -> State;
    fn with_state(self, state: State) -> Self;
    fn is_empty(self) -> bool;
    fn is_same_peer(self, other: Self) -> bool;
    fn hash(self, key: &HashKey) -> u64;
    /// What peers of one address have in common: the address, or its /64.
    fn hash_address(self, key: &HashKey) -> u64;
    fn compact(self) -> Self::Compact;
    fn list(peers: &mut Peers) -> &mut Vec<Self::Compact>;

    /// Where the slot of `index` stands in a block of `capacity` words: IPv4 from the front, IPv6
    /// from the back, so that neither is in the other's way.
    fn position(index: usize, capacity: usize) -> usize;
    fn load(words: &[u32]) -> Self;
    fn store(self, words: &mut [u32]);
}

/// As many slots as fit 64 bytes, aligned to them: to look at all of them is one cache miss.
pub(crate) trait Line<S>: Copy {
    const EMPTY: Self;
    /// How many slots a line has.
    const SLOTS: usize;
    /// A table is rebuilt when more of its places would be taken, in sixtieths.
    const LOAD_MAX: usize;
    /// How many are taken when it has been, in sixtieths. Lines of few slots are often full, and so
    /// need more room to keep searches short.
    const LOAD_REBUILT: usize;

    fn slots(&self) -> &[S];
    fn slots_mut(&mut self) -> &mut [S];
}

/// Address (32 bits), port (16), state (16). A port is never 0, so an empty slot is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot4(u64);

/// Address (4 words), port (16 bits), state (16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot6([u32; 5]);

#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line4([Slot4; 8]);

#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line6([Slot6; 3]);

const _: () = assert!(size_of::<Slot4>() == 8 && size_of::<Slot6>() == 20);
const _: () = assert!(size_of::<Line4>() == 64 && size_of::<Line6>() == 64);

impl Slot4 {
    /// A peer without a state.
    pub(crate) fn of(address: Ipv4Addr, port: u16) -> Self {
        Self(u64::from(address.to_bits()) << 32 | u64::from(port) << 16)
    }
}

impl Slot6 {
    /// A peer without a state.
    pub(crate) fn of(address: Ipv6Addr, port: u16) -> Self {
        let bits = address.to_bits();
        let word = |index: u32| (bits >> (96 - 32 * index)) as u32;
        Self([word(0), word(1), word(2), word(3), u32::from(port) << 16])
    }
}

impl Slot for Slot4 {
    const WORDS: usize = 2;
    type Line = Line4;
    type Compact = [u8; 6];

    const EMPTY: Self = Self(0);

    fn state(self) -> State {
        State(self.0 as u16)
    }

    fn with_state(self, state: State) -> Self {
        Self(self.0 & !0xffff | u64::from(state.0))
    }

    fn is_empty(self) -> bool {
        self.0 >> 16 == 0
    }

    fn is_same_peer(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 16 == 0
    }

    fn hash(self, key: &HashKey) -> u64 {
        let mut hasher = key.hasher();
        hasher.write_u64(self.0 >> 16);
        hasher.finish()
    }

    fn hash_address(self, key: &HashKey) -> u64 {
        let mut hasher = key.hasher();
        hasher.write_u32((self.0 >> 32) as u32);
        hasher.finish()
    }

    fn compact(self) -> [u8; 6] {
        *self.0.to_be_bytes().first_chunk().expect("6 is at most 8")
    }

    fn list(peers: &mut Peers) -> &mut Vec<[u8; 6]> {
        &mut peers.v4
    }

    fn position(index: usize, _capacity: usize) -> usize {
        index * Self::WORDS
    }

    fn load(words: &[u32]) -> Self {
        Self(u64::from(words[0]) | u64::from(words[1]) << 32)
    }

    fn store(self, words: &mut [u32]) {
        words[0] = self.0 as u32;
        words[1] = (self.0 >> 32) as u32;
    }
}

impl Slot for Slot6 {
    const WORDS: usize = 5;
    type Line = Line6;
    type Compact = [u8; 18];

    const EMPTY: Self = Self([0; 5]);

    fn state(self) -> State {
        State(self.0[4] as u16)
    }

    fn with_state(mut self, state: State) -> Self {
        self.0[4] = self.0[4] & !0xffff | u32::from(state.0);
        self
    }

    fn is_empty(self) -> bool {
        self.0[4] >> 16 == 0
    }

    fn is_same_peer(self, other: Self) -> bool {
        self.0[..4] == other.0[..4] && (self.0[4] ^ other.0[4]) >> 16 == 0
    }

    fn hash(self, key: &HashKey) -> u64 {
        let mut hasher = key.hasher();
        hasher.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
        hasher.write_u64(u64::from(self.0[2]) << 32 | u64::from(self.0[3]));
        hasher.write_u16((self.0[4] >> 16) as u16);
        hasher.finish()
    }

    fn hash_address(self, key: &HashKey) -> u64 {
        let mut hasher = key.hasher();
        hasher.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
        hasher.finish()
    }

    fn compact(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        for (to, word) in bytes.chunks_mut(4).zip(self.0) {
            to.copy_from_slice(&word.to_be_bytes()[..to.len()]);
        }
        bytes
    }

    fn list(peers: &mut Peers) -> &mut Vec<[u8; 18]> {
        &mut peers.v6
    }

    fn position(index: usize, capacity: usize) -> usize {
        capacity - (index + 1) * Self::WORDS
    }

    fn load(words: &[u32]) -> Self {
        Self(*words.first_chunk().expect("a slot has its words"))
    }

    fn store(self, words: &mut [u32]) {
        words[..Self::WORDS].copy_from_slice(&self.0);
    }
}

impl Line<Slot4> for Line4 {
    const EMPTY: Self = Self([Slot4::EMPTY; 8]);
    const SLOTS: usize = 8;
    const LOAD_MAX: usize = 55;
    const LOAD_REBUILT: usize = 50;

    fn slots(&self) -> &[Slot4] {
        &self.0
    }

    fn slots_mut(&mut self) -> &mut [Slot4] {
        &mut self.0
    }
}

impl Line<Slot6> for Line6 {
    const EMPTY: Self = Self([Slot6::EMPTY; 3]);
    const SLOTS: usize = 3;
    const LOAD_MAX: usize = 50;
    const LOAD_REBUILT: usize = 45;

    fn slots(&self) -> &[Slot6] {
        &self.0
    }

    fn slots_mut(&mut self) -> &mut [Slot6] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_tells_ages_across_its_turn() {
        let at = |secs: u64| Tick::of(Now::from_millis(secs * 1000));
        for start in [0, 16_000, 16_383, 1_900_000_000] {
            assert_eq!(at(start).age(at(start + 7200)), 3600);
        }
        assert_eq!(Tick::steps(Duration::from_secs(1 << 40)), 3600);
    }

    #[test]
    fn slot_keeps_address_port_and_state() {
        let state = State::new(Tick(0x1fff), Role::Seeder, false, true);
        let v4 = Slot4::of(Ipv4Addr::new(192, 0, 2, 1), 0xfffe).with_state(state);
        assert_eq!(v4.compact(), [192, 0, 2, 1, 0xff, 0xfe]);
        let v6 = Slot6::of(Ipv6Addr::LOCALHOST, 1).with_state(state);
        assert_eq!(v6.compact()[14..], [0, 1, 0, 1]);
        for state in [v4.state(), v6.state()] {
            assert_eq!(state.role(), Role::Seeder);
            assert!(state.is_finished() && !state.is_paused());
            assert_eq!(state.seen(), Tick(0x1fff));
        }
        let mut words = [0; 5];
        v4.store(&mut words);
        assert_eq!(Slot4::load(&words), v4);
        v6.store(&mut words);
        assert_eq!(Slot6::load(&words), v6);
    }
}
