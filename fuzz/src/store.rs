//! The store by itself: a few bytes announce many peers, so that swarms take every form.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::{Announce, Change, Limits, Now, PeerIds, Peers, Role, Swarms, Want};

const START: Now = Now::from_millis(1_800_000_000_000);
const SWARMS: u8 = 3;
/// An input that says more goes unread: it would say nothing new.
const STEPS_MAX: usize = 24;

/// How many peers a step is about. A small swarm has at most 32 of a family.
const CROWDS: [u16; 8] = [1, 1, 2, 3, 20, 33, 70, 200];

/// The input is a sequence of steps of four bytes: what happens, to which peers of which swarm, and
/// how many seconds later.
///
/// The totals are the sum over the swarms; nobody is handed to itself or handed out twice; no reply
/// holds more than was wanted; and a snapshot read back says the same.
pub fn store(data: &[u8]) {
    let swarms = new_store(7);
    let mut now = START;
    let mut peers = Peers::default();
    for step in data.chunks_exact(4).take(STEPS_MAX) {
        let &[what, whom, first, seconds] = step else { unreachable!("chunks of four") };
        now = now + Duration::from_secs(u64::from(seconds));
        let swarm = whom % SWARMS;
        for peer in 0..CROWDS[usize::from(whom >> 5)] {
            let announce = announce(what, swarm, u16::from(first) + peer);
            let key = swarms.key(&announce.info_hash);
            swarms.prefetch(key);
            swarms.prefetch_peers(key, &announce);
            let (counts, _) = swarms.announce(now, key, &announce, &mut peers);
            check_peers(&announce, &peers);
            assert!(counts.paused <= counts.leechers);
        }
        match what >> 6 {
            0 => drop(swarms.expire(now, 1, || {})),
            1 => drop(swarms.retain(|info_hash| info_hash.0[0] != swarm || first != 0)),
            _ => {}
        }
    }
    check_totals(&swarms);
    // Takes longer than all the rest: for one input in four.
    if data.len().is_multiple_of(16) {
        check_snapshot(&swarms, now);
    }
}

fn new_store(key: u8) -> Swarms {
    let limits = Limits {
        peers_per_address_max: 0,
        peer_timeout: Duration::from_secs(300),
        completed_kept: Duration::from_secs(300),
        ..Limits::default()
    };
    Swarms::new([key; 16], limits, PeerIds::Dropped)
}

fn announce(what: u8, swarm: u8, peer: u16) -> Announce {
    let role = if what & 1 == 0 { Role::Seeder } else { Role::Leecher };
    let address: IpAddr = match what & 2 {
        0 => Ipv4Addr::from_bits(0xc000_0200 + u32::from(peer)).into(),
        _ => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(peer)).into(),
    };
    let (completed, paused) = (what & 8 != 0, what & 16 != 0);
    let change = match what & 4 {
        0 => Change::Here { role, completed, paused },
        _ if what & 8 != 0 => Change::Absent { role },
        _ => Change::Gone,
    };
    let want = if what & 32 == 0 { Want::Own(40) } else { Want::Both(40) };
    Announce {
        info_hash: InfoHash([swarm; 20]),
        address,
        port: 6881,
        peer_id: PeerId([0; 20]),
        change,
        want,
        seeds: [u64::from(peer).wrapping_mul(0x9e37_79b9_7f4a_7c15), u64::from(what)],
    }
}

fn check_peers(announce: &Announce, peers: &Peers) {
    let (own_v4, own_v6) = match announce.address {
        IpAddr::V4(ip) => (Some(ip.octets()), None),
        IpAddr::V6(ip) => (None, Some(ip.octets())),
    };
    assert!(peers.v4.iter().all(|peer| Some(&peer[..4]) != own_v4.as_ref().map(|ip| &ip[..])));
    assert!(peers.v6.iter().all(|peer| Some(&peer[..16]) != own_v6.as_ref().map(|ip| &ip[..])));
    let all = peers.v4.len() + peers.v6.len();
    assert!(all <= 40, "{all} peers");
    let distinct: BTreeSet<_> = peers.v4.iter().collect();
    assert_eq!(distinct.len(), peers.v4.len());
    let distinct: BTreeSet<_> = peers.v6.iter().collect();
    assert_eq!(distinct.len(), peers.v6.len());
}

fn check_totals(swarms: &Swarms) {
    let (mut seeders, mut leechers, mut completed, mut count) = (0, 0, 0, 0);
    swarms.for_each_in(0, 1, |_, counts| {
        seeders += u64::from(counts.seeders);
        leechers += u64::from(counts.leechers);
        completed += u64::from(counts.completed);
        count += 1;
    });
    let totals = swarms.totals();
    assert_eq!(totals.seeders_v4 + totals.seeders_v6, seeders);
    assert_eq!(totals.leechers_v4 + totals.leechers_v6, leechers);
    assert_eq!((totals.completed, totals.swarms), (completed, count));
}

/// Peers that have expired and are still counted are not restored.
fn check_snapshot(swarms: &Swarms, now: Now) {
    swarms.expire(now, 1, || {});
    let restored = new_store(8);
    let mut bytes = Vec::new();
    for part in 0..Swarms::SNAPSHOT_PARTS {
        bytes.clear();
        swarms.save(part, &mut bytes, || {});
        let outcome = restored.restore(now, now, &bytes).expect("just written");
        assert_eq!(outcome.left_out, 0);
    }
    for swarm in 0..SWARMS {
        let hash = InfoHash([swarm; 20]);
        assert_eq!(restored.scrape(&hash), swarms.scrape(&hash));
    }
    check_totals(&restored);
}
