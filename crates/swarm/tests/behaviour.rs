//! What the store promises, one test a promise: draws are uniform, bounds hold, huge swarms work,
//! memory is as small as stated.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::{
    Announce, Change, Counts, Elsewhere, Hearsay, Learnt, Limits, Now, PeerIds, Peers, Rng, Role,
    Stored, Swarms, Want,
};

const NOW: Now = Now::from_millis(1_800_000_000_000);

const LIMITS: Limits = Limits {
    swarms_max: 10_000_000,
    peers_max: 100_000_000,
    peers_per_swarm_max: 1_000_000,
    peers_per_address_max: 0,
    peer_timeout: Duration::from_secs(1800),
    completed_kept: Duration::from_secs(3600),
};

fn swarms(limits: Limits) -> Swarms {
    Swarms::new(*b"a key for a test", limits, PeerIds::Dropped)
}

fn hash(number: u32) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash(bytes)
}

fn here(swarm: u32, peer: u32, role: Role, want: u32) -> Announce {
    Announce {
        info_hash: hash(swarm),
        address: Ipv4Addr::from_bits(0x0a00_0000 + peer).into(),
        port: 6881,
        peer_id: PeerId([0; 20]),
        change: Change::Here { role, completed: false, paused: false },
        want: Want::Own(want),
        seeds: [0, 0],
    }
}

fn as_v6(mut announce: Announce) -> Announce {
    if let IpAddr::V4(ip) = announce.address {
        let number = u128::from(ip.to_bits());
        announce.address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64 | number).into();
    }
    announce
}

struct Client {
    swarms: Swarms,
    rng: Rng,
    peers: Peers,
}

impl Client {
    fn new(limits: Limits) -> Self {
        Self { swarms: swarms(limits), rng: Rng::from_seed(1), peers: Peers::default() }
    }

    fn announce(&mut self, now: Now, announce: &Announce) -> (Counts, Stored) {
        let seeds = [self.rng.next_u64(), self.rng.next_u64()];
        let announce = Announce { seeds, ..*announce };
        let key = self.swarms.key(&announce.info_hash);
        self.swarms.announce(now, key, &announce, &mut self.peers)
    }
}

/// Each of `peers` is handed out as often as any other, by chance. One of them asks, if `member`.
fn check_uniform(peers: u32, want: u32, draws: u32, member: bool, form: fn(Announce) -> Announce) {
    let mut client = Client::new(LIMITS);
    for peer in 0..peers {
        let role = if peer.is_multiple_of(4) { Role::Leecher } else { Role::Seeder };
        client.announce(NOW, &form(here(1, peer, role, 0)));
    }
    let asking = if member {
        form(here(1, 0, Role::Leecher, want))
    } else {
        let change = Change::Absent { role: Role::Leecher };
        Announce { change, ..form(here(1, 99_999_999, Role::Leecher, want)) }
    };
    let mut seen = vec![0_u32; peers as usize];
    let number = |bytes: &[u8]| u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
    for _ in 0..draws {
        client.announce(NOW, &asking);
        client.peers.v4.iter().for_each(|peer| seen[number(&peer[1..4])] += 1);
        client.peers.v6.iter().for_each(|peer| seen[number(&peer[13..16])] += 1);
    }
    let seen = &seen[usize::from(member)..];
    // Chi-square by peer has a mean of 1 and a deviation of sqrt(2 / peers).
    let expected = f64::from(draws * want) / seen.len() as f64;
    let chi: f64 = seen.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    let chi = chi / seen.len() as f64;
    let bound = 1.0 + 5.0 * (2.0 / seen.len() as f64).sqrt();
    assert!(chi < bound, "{peers} peers, member {member}: chi-square {chi:.3}, below {bound:.3}");
}

#[test]
fn draws_are_uniform_in_a_small_swarm() {
    for (peers, want) in [(2, 1), (3, 1), (24, 5)] {
        check_uniform(peers, want, 20_000, false, |announce| announce);
        check_uniform(peers, want, 20_000, true, |announce| announce);
        check_uniform(peers, want, 20_000, true, as_v6);
    }
}

#[test]
fn draws_are_uniform_in_a_large_swarm() {
    check_uniform(1000, 30, 20_000, false, |announce| announce);
    check_uniform(100, 10, 20_000, true, |announce| announce);
    check_uniform(1000, 30, 20_000, false, as_v6);
}

#[test]
fn draws_are_uniform_in_a_huge_swarm() {
    check_uniform(100_000, 50, 40_000, false, |announce| announce);
}

#[test]
fn huge_swarm_is_counted_drawn_from_and_emptied() {
    let mut client = Client::new(LIMITS);
    let count = 70_000_u32;
    for peer in 0..count {
        let role = if peer.is_multiple_of(2) { Role::Seeder } else { Role::Leecher };
        client.announce(NOW, &here(1, peer, role, 0));
    }
    let counts = client.swarms.scrape(&hash(1));
    assert_eq!((counts.seeders, counts.leechers), (count / 2, count / 2));
    client.announce(NOW, &here(1, 1, Role::Leecher, count));
    let distinct: BTreeSet<_> = client.peers.v4.iter().collect();
    assert_eq!(distinct.len(), count as usize - 1);
    client.announce(NOW, &here(1, 0, Role::Seeder, count));
    assert_eq!(client.peers.v4.len(), count as usize / 2);
    for peer in (0..count).step_by(3) {
        let gone = Announce { change: Change::Gone, ..here(1, peer, Role::Seeder, 0) };
        client.announce(NOW, &gone);
    }
    assert_eq!(client.swarms.scrape(&hash(1)).peers(), u64::from(count - count.div_ceil(3)));
    let later = NOW + Duration::from_secs(1900);
    client.announce(later, &here(1, 5, Role::Leecher, count));
    assert!(client.peers.v4.is_empty(), "expired peers are not handed out before they are dropped");
    let expired = client.swarms.expire(later, 1, || {});
    assert_eq!(expired.peers, u64::from(count - count.div_ceil(3) - 1));
    assert_eq!(client.swarms.scrape(&hash(1)).peers(), 1);
    let empty_bytes = swarms(LIMITS).totals().bytes;
    assert!(client.swarms.totals().bytes < empty_bytes + 16_384, "memory is given back");
}

#[test]
fn expiry_in_slices_reaches_every_swarm_once() {
    let mut client = Client::new(LIMITS);
    for swarm in 0..10_000 {
        client.announce(NOW, &here(swarm, swarm, Role::Seeder, 0));
    }
    let later = NOW + Duration::from_secs(3600);
    let slices: Vec<_> = (0..100).map(|_| client.swarms.expire(later, 100, || {})).collect();
    assert_eq!(slices.iter().map(|slice| slice.peers).sum::<u64>(), 10_000);
    assert_eq!(slices.iter().map(|slice| slice.swarms).sum::<u64>(), 10_000);
    assert!(slices.iter().all(|slice| slice.peers < 400), "each slice takes its share");
    assert_eq!(client.swarms.totals().swarms, 0);
}

#[test]
fn swarm_over_the_bound_is_answered_as_empty() {
    let mut client = Client::new(Limits { swarms_max: 2, ..LIMITS });
    for (swarm, stored) in [(1, Stored::AsAsked), (2, Stored::AsAsked), (3, Stored::Full)] {
        assert_eq!(client.announce(NOW, &here(swarm, 1, Role::Seeder, 9)).1, stored);
    }
    assert_eq!(client.swarms.totals().swarms, 2);
    let gone = Announce { change: Change::Gone, ..here(2, 1, Role::Seeder, 0) };
    client.announce(NOW, &gone);
    assert_eq!(client.announce(NOW, &here(3, 1, Role::Seeder, 9)).1, Stored::AsAsked);
}

#[test]
fn peer_over_a_bound_is_answered_but_not_stored() {
    let limits = Limits { peers_per_swarm_max: 3, peers_max: 5, ..LIMITS };
    let mut client = Client::new(limits);
    for peer in 0..3 {
        assert_eq!(client.announce(NOW, &here(1, peer, Role::Seeder, 0)).1, Stored::AsAsked);
    }
    let (counts, stored) = client.announce(NOW, &here(1, 3, Role::Leecher, 9));
    assert_eq!((counts.seeders, counts.leechers, stored), (3, 0, Stored::SwarmFull));
    assert_eq!(client.peers.v4.len(), 3);
    // One that is stored is seen again.
    assert_eq!(client.announce(NOW, &here(1, 2, Role::Leecher, 9)).1, Stored::AsAsked);
    for peer in 0..2 {
        assert_eq!(client.announce(NOW, &here(2, peer, Role::Seeder, 0)).1, Stored::AsAsked);
    }
    assert_eq!(client.announce(NOW, &here(3, 0, Role::Seeder, 0)).1, Stored::Full);
    client.swarms.retain(|info_hash| *info_hash != hash(1));
    assert_eq!(client.announce(NOW, &here(3, 0, Role::Seeder, 0)).1, Stored::AsAsked);
}

#[test]
fn address_over_its_bound_is_told_so_until_its_peers_have_gone() {
    let mut client = Client::new(Limits { peers_per_address_max: 4, ..LIMITS });
    for form in [|announce| announce, as_v6 as fn(Announce) -> Announce] {
        for swarm in 0..4 {
            let stored = client.announce(NOW, &form(here(swarm, 7, Role::Seeder, 0))).1;
            assert_eq!(stored, Stored::AsAsked);
        }
        assert_eq!(client.announce(NOW, &form(here(4, 7, Role::Seeder, 0))).1, Stored::AddressFull);
        assert_eq!(client.announce(NOW, &form(here(4, 300, Role::Seeder, 0))).1, Stored::AsAsked);
        let gone = Announce { change: Change::Gone, ..form(here(0, 7, Role::Seeder, 0)) };
        client.announce(NOW, &gone);
        assert_eq!(client.announce(NOW, &form(here(4, 7, Role::Seeder, 0))).1, Stored::AsAsked);
    }
    client.swarms.expire(NOW + Duration::from_secs(3600), 1, || {});
    let stored = client.announce(NOW, &here(9, 7, Role::Seeder, 0)).1;
    assert_eq!(stored, Stored::AsAsked);
}

#[test]
fn completed_outlives_its_peers_for_a_while_but_not_in_a_full_store() {
    let finished = |swarm| Announce {
        change: Change::Here { role: Role::Seeder, completed: true, paused: false },
        ..here(swarm, 1, Role::Seeder, 0)
    };
    let gone = |swarm| Announce { change: Change::Gone, ..here(swarm, 1, Role::Seeder, 0) };
    let mut client = Client::new(Limits { swarms_max: 4, ..LIMITS });
    client.announce(NOW, &finished(1));
    client.announce(NOW, &gone(1));
    client.swarms.expire(NOW + Duration::from_secs(3500), 1, || {});
    assert_eq!(client.swarms.scrape(&hash(1)).completed, 1);
    client.swarms.expire(NOW + Duration::from_secs(3700), 1, || {});
    assert_eq!(client.swarms.totals().swarms, 0);
    for swarm in 1..=3 {
        client.announce(NOW, &finished(swarm));
        client.announce(NOW, &gone(swarm));
    }
    client.swarms.expire(NOW, 1, || {});
    assert_eq!(client.swarms.totals().swarms, 2, "less than three of four places stay taken");
}

#[test]
fn nobody_leaves_from_no_port() {
    for peers in [1, 20, 2000] {
        let mut client = Client::new(LIMITS);
        for peer in 0..peers {
            client.announce(NOW, &here(1, peer, Role::Leecher, 0));
        }
        for address in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
            let change = Change::Gone;
            let gone = Announce { address, port: 0, change, ..here(1, 0, Role::Leecher, 0) };
            assert_eq!(client.announce(NOW, &gone).0.leechers, peers);
        }
        assert_eq!(client.swarms.totals().leechers_v4, u64::from(peers));
    }
}

#[test]
fn every_swarm_is_visited_once() {
    let mut client = Client::new(LIMITS);
    for swarm in 0..5000 {
        client.announce(NOW, &here(swarm, swarm, Role::Leecher, 0));
    }
    let mut seen = BTreeSet::new();
    for part in 0..77 {
        client.swarms.for_each_in(part, 77, |info_hash, counts| {
            assert_eq!(counts.leechers, 1);
            assert!(seen.insert(*info_hash));
        });
    }
    assert_eq!(seen.len(), 5000);
}

#[test]
fn prefetch_of_anything_does_nothing() {
    let mut client = Client::new(LIMITS);
    for peers in [0, 1, 20, 2000] {
        for peer in 0..peers {
            client.announce(NOW, &here(1, peer, Role::Seeder, 0));
        }
        let before = client.swarms.totals();
        for announce in [here(1, 1, Role::Leecher, 50), as_v6(here(1, 1, Role::Seeder, 50))] {
            let key = client.swarms.key(&announce.info_hash);
            client.swarms.prefetch(key);
            client.swarms.prefetch_peers(key, &announce);
        }
        assert_eq!(client.swarms.totals(), before);
    }
}

/// Bytes asked of the allocator, by peer; what the operating system adds is measured by
/// `cargo xtask bench memory`.
fn bytes_per_peer(swarm_count: u32, peers_each: u32, form: fn(Announce) -> Announce) -> f64 {
    let mut client = Client::new(LIMITS);
    let before = client.swarms.totals().bytes;
    for peer in 0..peers_each {
        for swarm in 0..swarm_count {
            let role = if peer.is_multiple_of(3) { Role::Leecher } else { Role::Seeder };
            client.announce(NOW, &form(here(swarm, peer, role, 0)));
        }
    }
    (client.swarms.totals().bytes - before) as f64 / f64::from(swarm_count * peers_each)
}

#[test]
fn peers_are_as_small_as_stated() {
    let v4 = |announce| announce;
    for (swarm_count, peers_each, form, bytes_max) in [
        (200_000, 1, v4 as fn(Announce) -> Announce, 54.0),
        (50_000, 10, v4, 18.0),
        (2, 50_000, v4, 12.0),
        (50_000, 10, as_v6, 32.0),
        (2, 50_000, as_v6, 28.0),
    ] {
        let bytes = bytes_per_peer(swarm_count, peers_each, form);
        println!("{swarm_count} swarms x {peers_each}: {bytes:.1} bytes a peer");
        assert!(bytes <= bytes_max, "{swarm_count} swarms x {peers_each}: {bytes:.1} bytes a peer");
    }
}

#[test]
fn peer_timeout_is_what_it_was_last_set_to() {
    let mut client = Client::new(LIMITS);
    client.announce(NOW, &here(1, 1, Role::Seeder, 0));
    let later = NOW + Duration::from_secs(2000);
    let asking = here(1, 2, Role::Leecher, 10);
    let (timeout, handed_out) = (Duration::from_secs(2500), |client: &mut Client| {
        client.announce(later, &asking);
        client.peers.v4.len()
    });
    assert_eq!(handed_out(&mut client), 0);
    client.swarms.set_peer_timeout(timeout);
    assert_eq!(client.swarms.peer_timeout(), timeout);
    assert_eq!(handed_out(&mut client), 1);
}

#[test]
fn one_swarm_is_looked_at_and_dropped_whatever_its_size() {
    let mut client = Client::new(LIMITS);
    let swarms: [(u32, u32); 4] = [(1, 1), (2, 20), (3, 300), (4, 40_000)];
    let mut next = 0;
    for (swarm, peers) in swarms {
        for peer in next..next + peers {
            let role = if peer.is_multiple_of(2) { Role::Seeder } else { Role::Leecher };
            client.announce(NOW, &here(swarm, peer, role, 0));
            client.announce(NOW, &as_v6(here(swarm, peer, role, 0)));
        }
        next += peers;
    }
    for (swarm, peers) in swarms {
        let view = client.swarms.look(&hash(swarm)).expect("it is there");
        assert_eq!((view.peers_v4, view.peers_v6), (peers.into(), peers.into()), "{swarm}");
        assert_eq!(view.counts, client.swarms.scrape(&hash(swarm)));
        let gone = client.swarms.remove(&hash(swarm));
        assert_eq!((gone.swarms, gone.peers), (1, 2 * u64::from(peers)), "{swarm}");
        assert_eq!(client.swarms.look(&hash(swarm)), None);
        assert_eq!(client.swarms.remove(&hash(swarm)).swarms, 0);
    }
    let totals = client.swarms.totals();
    assert_eq!((totals.swarms, totals.seeders_v4 + totals.leechers_v6), (0, 0));
}

#[test]
fn counts_that_may_have_told_of_a_peer_before_it_is_heard_of_are_in_doubt() {
    let mut client = Client::new(LIMITS);
    client.announce(NOW, &here(1, 1, Role::Seeder, 0));
    let learn = |client: &Client, leechers, peers: Option<&[Elsewhere]>| {
        let learnt = Learnt { info_hash: hash(1), seeders: 1, leechers, completed: 0, peers };
        client.swarms.learn(NOW, &learnt);
    };
    let peer = |number: u16| Elsewhere {
        peer: (Ipv4Addr::LOCALHOST, number).into(),
        role: Role::Leecher,
        seen: NOW,
    };
    let hear =
        |client: &Client, number, what| client.swarms.hear(NOW, &hash(1), &peer(number), what, 50);
    let joins = Hearsay::Here { before: None };
    assert!(!hear(&client, 1, joins), "nobody is counted who is not here");
    // A count of two: the one who is heard of now may be the other, or not.
    learn(&client, 2, None);
    assert!(hear(&client, 2, joins));
    learn(&client, 2, Some(&[peer(1), peer(2)]));
    assert!(!hear(&client, 3, joins));
    // A count without the one who has left, of whom that is heard only now.
    learn(&client, 2, None);
    assert!(hear(&client, 3, Hearsay::Left));
    // In a swarm of which only some are known, counts are never quite so.
    learn(&client, 900, None);
    let sampled = (1..60).map(peer).collect::<Vec<_>>();
    learn(&client, 900, Some(&sampled));
    assert!(!hear(&client, 70, joins));
}

/// One peer of this node, and one of another that was last seen eight hours ago and is vouched for
/// in the time `vouched_after` again and again. How many there are after a day.
fn peers_after_a_day(vouched_after: Duration, counted: u32) -> usize {
    let mut client = Client::new(LIMITS);
    client.swarms.keep_elsewhere(Duration::from_secs(3600));
    client.announce(NOW, &here(1, 1, Role::Leecher, 0));
    let other = Elsewhere {
        peer: (Ipv4Addr::LOCALHOST, 9).into(),
        role: Role::Seeder,
        seen: Now::from_millis(NOW.as_millis() - 8 * 3_600_000),
    };
    let learn = |client: &Client, now, seeders, peers| {
        let learnt = Learnt { info_hash: hash(1), seeders, leechers: 1, completed: 0, peers };
        client.swarms.learn(now, &learnt)
    };
    let sample = [other];
    assert!(learn(&client, NOW, 1, Some(&sample)).agrees);
    let (day, mut vouched) = (NOW + Duration::from_secs(24 * 3600), NOW);
    let mut now = NOW;
    while now < day {
        now = now + Duration::from_secs(300);
        client.announce(now, &here(1, 1, Role::Leecher, 0));
        client.swarms.expire(now, 1, || {});
        if vouched + vouched_after <= now {
            vouched = now;
            learn(&client, now, counted, None);
        }
    }
    client.announce(now, &here(1, 1, Role::Leecher, 50));
    client.peers.v4.len()
}

#[test]
fn peer_of_another_node_stays_while_counts_vouch_for_it_however_long_ago_it_was_seen() {
    assert_eq!(peers_after_a_day(Duration::from_secs(3000), 1), 1);
    assert_eq!(peers_after_a_day(Duration::from_secs(3600 + 1800), 1), 0, "not in time");
    assert_eq!(peers_after_a_day(Duration::from_secs(3000), 2), 0, "they say another thing");
}
