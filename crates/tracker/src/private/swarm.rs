//! The peers of one torrent, those that go to the same askers side by side: so a draw costs what
//! it hands out, whatever the swarm is made of.

use alloc::boxed::Box;

use peerage_proto::{Family, PeerId};
use peerage_swarm::{Peers, Rng, prefetch};

use super::MemberId;
use super::crowd::Crowd;
use super::members::Moved;
use super::peer::{DRAWN_BYTES, Flags, Peer, Segment};

/// The peers of one torrent: 16 bytes, and of its own only the peers, 104 bytes each. A [`Crowd`]
/// costs about 11 more a peer, and has at most an eighth of room to grow. Measured, with what the
/// allocator adds: 112 bytes a peer alone, 106 in tens, 121 in thousands.
pub(super) enum Swarm {
    /// Fewer than [`MANY`], in the order of their segments and in no more room than they need.
    Few(Box<[Peer]>),
    /// At least half of [`MANY`].
    Many(Box<Crowd>),
}

const _: () = assert!(size_of::<Swarm>() == 16);

/// From so many peers on they are found by an index; 20 peers are 2 kB to look through.
const MANY: usize = 20;

/// A peer lies in two lines more often than not.
fn prefetch_peer(peer: &Peer) {
    let start = core::ptr::from_ref(peer).addr();
    prefetch(start);
    prefetch(start + size_of::<Peer>() - 1);
}

impl Swarm {
    /// Without peers. Has no memory of its own.
    pub(super) fn new() -> Self {
        Self::Few(Box::default())
    }

    pub(super) fn len(&self) -> usize {
        self.peers().len()
    }

    pub(super) fn peers(&self) -> &[Peer] {
        match self {
            Self::Few(peers) => peers,
            Self::Many(crowd) => crowd.peers(),
        }
    }

    /// Seeders and leechers, those that are not handed out among them.
    pub(super) fn counts(&self) -> (u32, u32) {
        let seeders = match self {
            Self::Few(peers) => peers.iter().filter(|peer| peer.is_seeder()).count() as u32,
            Self::Many(crowd) => crowd.seeders(),
        };
        (seeders, self.len() as u32 - seeders)
    }

    /// The places of a member's peers.
    pub(super) fn own(&self, member: MemberId) -> impl Iterator<Item = usize> {
        let (few, many) = match self {
            Self::Few(peers) => (&peers[..], None),
            Self::Many(crowd) => (&[][..], Some(crowd.own(member))),
        };
        let is_own = move |(place, peer): (usize, &Peer)| (peer.member == member).then_some(place);
        few.iter().enumerate().filter_map(is_own).chain(many.into_iter().flatten())
    }

    /// Where a peer is. Good until one comes, goes or changes.
    pub(super) fn place(&self, member: MemberId, peer_id: &PeerId) -> Option<usize> {
        self.own(member).find(|&place| self.peers()[place].peer_id == *peer_id)
    }

    /// Starts to fetch what an announce of a member will look through.
    pub(super) fn prefetch(&self, member: MemberId) {
        match self {
            Self::Few(peers) => peers.iter().for_each(prefetch_peer),
            Self::Many(crowd) => crowd.prefetch(member),
        }
    }

    /// How a member counts at this torrent: its seeders, its leechers, and whether it downloads.
    pub(super) fn standing(&self, member: MemberId) -> Moved {
        let mut counts = Moved::default();
        for place in self.own(member) {
            let peer = &self.peers()[place];
            match peer.is_seeder() {
                true => counts.seeding += 1,
                false => counts.leeching += 1,
            }
            counts.downloads |= i32::from(peer.downloads());
        }
        counts
    }

    /// Puts in a peer that is not there.
    pub(super) fn insert(&mut self, peer: Peer) {
        let few = match self {
            Self::Few(few) => few,
            Self::Many(crowd) => return crowd.insert(peer),
        };
        let mut peers = core::mem::take(few).into_vec();
        peers.reserve_exact(1);
        let segment = peer.segment();
        let place = peers.partition_point(|other| other.segment() <= segment);
        peers.insert(place, peer);
        *self = match peers.len() < MANY {
            true => Self::Few(peers.into_boxed_slice()),
            false => Self::Many(Box::new(Crowd::new(peers))),
        };
    }

    /// Takes a peer out. Of the others, only such as stand behind it move, and none to before it.
    pub(super) fn remove(&mut self, place: usize) -> Peer {
        match self {
            Self::Few(few) => {
                let mut peers = core::mem::take(few).into_vec();
                let peer = peers.remove(place);
                *few = peers.into_boxed_slice();
                peer
            }
            Self::Many(crowd) => {
                let peer = crowd.remove(place);
                if crowd.peers().len() < MANY / 2 {
                    *self = Self::Few(crowd.take_peers().into_boxed_slice());
                }
                peer
            }
        }
    }

    /// Changes a peer, neither whose it is nor its peer_id, and moves it where it then belongs.
    pub(super) fn change(&mut self, place: usize, change: impl FnOnce(&mut Peer)) {
        match self {
            Self::Few(peers) => {
                let segment = peers[place].segment();
                change(&mut peers[place]);
                if peers[place].segment() != segment {
                    // All but one are in order.
                    peers.sort_unstable_by_key(Peer::segment);
                }
            }
            Self::Many(crowd) => crowd.change(place, change),
        }
    }

    /// Where the peers of some segments, one after the other, begin and end.
    fn range(&self, first: Segment, last: Segment) -> (u32, u32) {
        match self {
            Self::Few(peers) => {
                let start = peers.partition_point(|peer| peer.segment() < first);
                let end = peers.partition_point(|peer| peer.segment() <= last);
                (start as u32, end as u32)
            }
            Self::Many(crowd) => crowd.range(first, last),
        }
    }

    /// The peers of some segments, one after the other.
    fn slice(&self, (first, last): (Segment, Segment)) -> &[Peer] {
        let (start, end) = self.range(first, last);
        &self.peers()[start as usize..end as usize]
    }

    /// The next row of a peer is to be written whole: the last was left out.
    pub(super) fn owe_row(&mut self, member: MemberId, peer_id: &PeerId) {
        if let Some(place) = self.place(member, peer_id) {
            self.change(place, |peer| peer.flags.set(Flags::OWED, true));
        }
    }
}

/// Who asks for peers.
pub(super) struct Asker {
    pub(super) member: MemberId,
    pub(super) seeder: bool,
    pub(super) family: Family,
    /// When a peer must have been heard from to be handed out.
    pub(super) oldest_secs: u32,
}

/// Whom peers are drawn from: a swarm, and what other nodes have of it, as if they were one.
#[derive(Clone, Copy)]
pub(super) struct Both<'a> {
    pub(super) here: &'a Swarm,
    pub(super) elsewhere: Option<&'a Swarm>,
}

impl Both<'_> {
    /// Draws peers with addresses of the asker's family: of seeders and leechers for a leecher, of
    /// leechers for a seeder. Never of the asker's member.
    pub(super) fn draw(self, asker: &Asker, out_max: usize, rng: &mut Rng, out: &mut Peers) {
        use Segment::{Leecher4, Leecher6, LeecherBoth, Seeder4, Seeder6, SeederBoth};
        let segments = match (asker.family, asker.seeder) {
            (Family::V4, true) => [(Leecher4, LeecherBoth); 1].as_slice(),
            (Family::V4, false) => &[(SeederBoth, LeecherBoth)],
            (Family::V6, true) => &[(LeecherBoth, Leecher6)],
            (Family::V6, false) => &[(Seeder6, SeederBoth), (LeecherBoth, Leecher6)],
        };
        debug_assert!(Seeder4 < Leecher4);
        self.draw_from(segments, asker.family, asker, out_max, rng, out);
    }

    /// Draws peers with no address of the asker's family, to fill up.
    pub(super) fn draw_others(self, asker: &Asker, out_max: usize, rng: &mut Rng, out: &mut Peers) {
        use Segment::{Leecher4, Leecher6, Seeder4, Seeder6};
        let (family, segments) = match (asker.family, asker.seeder) {
            (Family::V4, true) => (Family::V6, [(Leecher6, Leecher6); 1].as_slice()),
            (Family::V4, false) => (Family::V6, &[(Seeder6, Seeder6), (Leecher6, Leecher6)][..]),
            (Family::V6, true) => (Family::V4, &[(Leecher4, Leecher4)][..]),
            (Family::V6, false) => (Family::V4, &[(Seeder4, Leecher4)][..]),
        };
        self.draw_from(segments, family, asker, out_max, rng, out);
    }

    /// Starts at a peer drawn uniformly and goes on by a stride that meets all, so each is as
    /// likely as any other, and which come together changes from draw to draw.
    fn draw_from(
        self,
        segments: &[(Segment, Segment)],
        family: Family,
        asker: &Asker,
        out_max: usize,
        rng: &mut Rng,
        out: &mut Peers,
    ) {
        // At most two ranges of each.
        let mut ranges: [&[Peer]; 4] = [&[]; 4];
        let swarms = [Some(self.here), self.elsewhere].into_iter().flatten();
        let found = swarms.flat_map(|swarm| segments.iter().map(move |of| swarm.slice(*of)));
        let mut total = 0;
        for (range, found) in ranges.iter_mut().zip(found) {
            *range = found;
            total += found.len() as u32;
        }
        if total == 0 {
            return;
        }
        let mut number = rng.below(total);
        let stride = match total as usize <= out_max {
            true => 1,
            false => stride(total, rng),
        };
        let next = |number: u32| match total - number <= stride {
            true => number - (total - stride),
            false => number + stride,
        };
        let mut ahead = number;
        for _ in 0..total.min(out_max as u32) {
            let start = core::ptr::from_ref(nth(&ranges, ahead as usize)).addr();
            prefetch(start);
            prefetch(start + DRAWN_BYTES[family as usize] - 1);
            ahead = next(ahead);
        }
        for _ in 0..total {
            if out_max <= out.v4.len() + out.v6.len() {
                return;
            }
            let peer = nth(&ranges, number as usize);
            if peer.member != asker.member && peer.is_fresh(family, asker.oldest_secs) {
                match family {
                    Family::V4 => out.v4.push(peer.v4),
                    Family::V6 => out.v6.push(peer.v6),
                }
            }
            number = next(number);
        }
    }
}

/// One of the peers in some ranges, which has to be there.
fn nth<'a>(ranges: &[&'a [Peer]; 4], mut number: usize) -> &'a Peer {
    let [first, rest @ ..] = ranges;
    let mut range = first;
    for next in rest {
        if number < range.len() {
            break;
        }
        number -= range.len();
        range = next;
    }
    &range[number]
}

/// A random number below `total` that has no divisor in common with it. One in two is such, and
/// one after thirty tries without luck.
fn stride(total: u32, rng: &mut Rng) -> u32 {
    let coprime = |stride: &u32| {
        let (mut a, mut b) = (total, *stride);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    (0..30).map(|_| 1 + rng.below(total - 1)).find(coprime).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn v6(number: u32) -> IpAddr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(number)).into()
    }

    /// Peer `number` of a member, with addresses that tell its number. `kind` is what it is.
    fn peer(member: u32, number: u32, kind: u32) -> Peer {
        let mut peer_id = [0; 20];
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        let mut peer = Peer::new(MemberId(member), PeerId(peer_id));
        set(&mut peer, number, kind);
        peer
    }

    fn set(peer: &mut Peer, number: u32, kind: u32) {
        let port = |bit: u32| if kind & bit == 0 { 0 } else { 7000 };
        peer.set_address(v4(number), port(1), NOW);
        peer.set_address(v6(number), port(2), NOW);
        peer.flags.set(Flags::SEEDER, kind & 4 != 0);
        peer.flags.set(Flags::VISIBLE, kind & 8 != 0);
        peer.flags.set(Flags::DOWNLOADS, kind & 12 == 8);
    }

    fn check(swarm: &Swarm, model: &BTreeMap<(u32, u32), u32>) {
        assert_eq!(swarm.len(), model.len());
        let seeders = model.values().filter(|kind| *kind & 4 != 0).count() as u32;
        assert_eq!(swarm.counts(), (seeders, model.len() as u32 - seeders));
        assert!(swarm.peers().is_sorted_by_key(Peer::segment), "segments lie in order");
        match swarm {
            Swarm::Few(_) => assert!(swarm.len() < MANY),
            Swarm::Many(crowd) => {
                assert!(MANY / 2 <= swarm.len());
                crowd.check();
            }
        }
    }

    #[test]
    fn swarm_is_a_map_whose_segments_stay_in_order() {
        let mut rng = Rng::from_seed(3);
        let mut swarm = Swarm::new();
        let mut model = BTreeMap::new();
        for step in 0..6_000 {
            // Grows beyond the index, shrinks below it, and so on.
            let growing = step / 500 % 2 == 0;
            let (member, number) = (rng.below(20), rng.below(60));
            let kind = rng.below(16);
            let place = swarm.place(MemberId(member), &peer(member, number, 0).peer_id);
            assert_eq!(place.is_some(), model.contains_key(&(member, number)));
            match place {
                None if growing => {
                    swarm.insert(peer(member, number, kind));
                    model.insert((member, number), kind);
                }
                Some(place) if growing => {
                    swarm.change(place, |peer| set(peer, number, kind));
                    model.insert((member, number), kind);
                }
                Some(place) => {
                    let gone = swarm.remove(place);
                    assert_eq!(gone.member, MemberId(member));
                    model.remove(&(member, number));
                }
                None => {}
            }
            if step % 16 == 0 {
                check(&swarm, &model);
            }
            let own = |kind: u32| {
                let of_member = model.iter().filter(|((owner, _), _)| *owner == member);
                of_member.filter(|(_, has)| **has & 4 == kind).count() as i32
            };
            let standing = swarm.standing(MemberId(member));
            assert_eq!((standing.seeding, standing.leeching), (own(4), own(0)));
        }
    }

    fn alone(here: &Swarm) -> Both<'_> {
        Both { here, elsewhere: None }
    }

    fn asker(member: u32, seeder: bool, family: Family) -> Asker {
        Asker { member: MemberId(member), seeder, family, oldest_secs: NOW - 100 }
    }

    #[test]
    fn whoever_may_be_handed_out_is_and_nobody_else() {
        let mut swarm = Swarm::new();
        for number in 0..160 {
            swarm.insert(peer(number % 10, number, number / 10));
        }
        let mut rng = Rng::from_seed(4);
        for (family, seeder) in
            [(Family::V4, false), (Family::V4, true), (Family::V6, false), (Family::V6, true)]
        {
            let bit = if family == Family::V4 { 1 } else { 2 };
            let mut out = Peers::default();
            alone(&swarm).draw(&asker(3, seeder, family), 1000, &mut rng, &mut out);
            let may = |kind: u32| kind & 8 != 0 && (kind & 4 == 0 || !seeder);
            let own = |number: &u32| may(number / 10) && (number / 10) & bit != 0;
            let others = (0..160_u32).filter(|number| number % 10 != 3);
            let expected: BTreeSet<_> = others.clone().filter(own).collect();
            let numbers: BTreeSet<_> = out
                .v4
                .iter()
                .map(|peer| u32::from(peer[3]))
                .chain(out.v6.iter().map(|peer| u32::from(peer[15])))
                .collect();
            assert_eq!(numbers, expected, "{family:?} {seeder}");
            assert_eq!(out.v4.len() + out.v6.len(), expected.len(), "each once");
            alone(&swarm).draw_others(&asker(3, seeder, family), 1000, &mut rng, &mut out);
            let fill = |number: &u32| may(number / 10) && (number / 10) & 3 == 3 - bit;
            let filled = others.filter(fill).count();
            assert_eq!(out.v4.len() + out.v6.len(), expected.len() + filled);
        }
    }

    #[test]
    fn every_peer_is_as_likely_as_any_other_and_the_number_is_exact() {
        let mut swarm = Swarm::new();
        for number in 0..50 {
            // Seeders and leechers, IPv4 and both.
            swarm.insert(peer(number, number, 9 + (number & 1) * 2 + (number & 2) * 2));
        }
        let mut rng = Rng::from_seed(5);
        let mut counts = [0_u32; 256];
        let mut pairs = BTreeSet::new();
        const DRAWS: u32 = 20_000;
        for _ in 0..DRAWS {
            let mut out = Peers::default();
            alone(&swarm).draw(&asker(999, false, Family::V4), 10, &mut rng, &mut out);
            assert_eq!(out.v4.len(), 10);
            out.v4.iter().for_each(|peer| counts[usize::from(peer[3])] += 1);
            pairs.insert((out.v4[0], out.v4[1]));
        }
        // A fifth of the draws each: 4000, give or take five times the deviation of 57.
        for (number, count) in counts[..50].iter().enumerate() {
            assert!((3715..4285).contains(count), "{number}: {count}");
        }
        assert!(pairs.len() > 900, "who comes with whom changes: {}", pairs.len());
    }

    #[test]
    fn peer_that_was_not_heard_from_is_not_handed_out() {
        let mut swarm = Swarm::new();
        for number in 0..30 {
            swarm.insert(peer(number, number, 11));
        }
        for number in 0..29 {
            let place = swarm.place(MemberId(number), &peer(0, number, 0).peer_id).unwrap();
            swarm.change(place, |peer| peer.seen_secs = [NOW - 101, NOW]);
        }
        let mut rng = Rng::from_seed(6);
        let mut out = Peers::default();
        alone(&swarm).draw(&asker(99, false, Family::V4), 10, &mut rng, &mut out);
        assert_eq!(out.v4.len(), 1);
        alone(&swarm).draw(&asker(99, false, Family::V6), 11, &mut rng, &mut out);
        assert_eq!(out.v6.len(), 10, "at the other address it was");
    }

    #[test]
    fn peers_here_and_elsewhere_are_equally_likely() {
        let (mut here, mut elsewhere) = (Swarm::new(), Swarm::new());
        for number in 0..40 {
            let into = if number < 10 { &mut here } else { &mut elsewhere };
            into.insert(peer(number, number, 11 + (number & 1) * 4));
        }
        let both = Both { here: &here, elsewhere: Some(&elsewhere) };
        let mut rng = Rng::from_seed(7);
        let mut counts = [0_u32; 40];
        for _ in 0..20_000 {
            let mut out = Peers::default();
            both.draw(&asker(99, false, Family::V6), 8, &mut rng, &mut out);
            assert_eq!(out.v6.len(), 8);
            out.v6.iter().for_each(|peer| counts[usize::from(peer[15])] += 1);
        }
        // A fifth of the draws each: 4000, give or take five times the deviation of 57.
        assert!(counts.iter().all(|count| (3715..4285).contains(count)), "{counts:?}");
    }
}
