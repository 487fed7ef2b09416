//! What a node of a private tracker tells and asks the others, by an invented clock: bounds, and
//! settings that change while it runs. What is credited is tried in `private_simulation`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_tracker::private::nodes::{Answer, Options, Tell, Verdict};
use peerage_tracker::private::{
    Announce, Member, MemberId, Passkey, Private, Terms, Torrent, TorrentId,
};
use peerage_tracker::{Families, Limits, Now, PeerIds, Rules, Tracker, Worker};

const NOW: Now = Now::from_millis(1_800_000_000_000);
const REFRESH: Duration = Duration::from_secs(1000);

/// Claims that wait at most, as the manual has it.
const CLAIMS_MAX: u64 = 262_144;

fn passkey(member: u32) -> Passkey {
    Passkey::parse(format!("{member:032}").as_bytes()).expect("32 digits")
}

fn info_hash(torrent: u32) -> InfoHash {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&torrent.to_be_bytes());
    InfoHash(hash)
}

/// A node with so many members and torrents, each numbered from 1.
fn node(members: u32, torrents: u32) -> (Tracker, Worker) {
    let options = Options { node: 1, sample: 50, refresh: REFRESH };
    let terms = Terms { early_secs: 0, ..Terms::default() };
    let private = Private::new([9; 16], terms).shared_by(options);
    for id in 1..=members {
        private.put_member(Member::new(MemberId(id), passkey(id)));
    }
    for id in 1..=torrents {
        private.put_torrent(Torrent::new(TorrentId(id), info_hash(id)));
    }
    let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, Rules::default())
        .with_members(private);
    let worker = tracker.worker(1);
    (tracker, worker)
}

fn private(tracker: &Tracker) -> &Private {
    tracker.private().expect("it was made with members")
}

fn announce((tracker, worker): &mut (Tracker, Worker), member: u32, torrent: u32, uploaded: u64) {
    let announce = Announce {
        announce: peerage_tracker::Announce {
            info_hash: info_hash(torrent),
            peer_id: PeerId([7; 20]),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 7000,
            left: Some(1),
            event: Event::None,
            numwant: None,
            families: Families::Both,
        },
        uploaded,
        downloaded: 0,
        corrupt: None,
        user_agent: b"",
    };
    let told = tracker.announce_member(NOW, worker, &passkey(member).0, &announce);
    told.expect("a member is answered");
}

/// What a node tells until nothing is left, as of `now`.
fn outgoing(private: &Private, now: Now) -> Vec<Tell> {
    let mut all = Vec::new();
    loop {
        let told = private.outgoing(now, 0, 10_000);
        if told.is_empty() {
            return all;
        }
        all.extend(told);
    }
}

/// How often a swarm is asked about in a time.
fn asks(private: &Private, from: Now, time: Duration) -> usize {
    let seconds = 1..=time.as_secs();
    let told = seconds.flat_map(|secs| outgoing(private, from + Duration::from_secs(secs)));
    told.filter(|tell| tell.sample).count()
}

#[test]
fn swarm_is_asked_about_as_often_as_is_set_while_it_runs() {
    let mut node = node(1, 1);
    announce(&mut node, 1, 1, 0);
    let private = private(&node.0);
    // What a node that starts asks about everything.
    outgoing(private, NOW);
    assert_eq!(private.ask_every(), REFRESH);
    let ten = REFRESH * 10;
    let often = asks(private, NOW, ten);
    assert!((9..=11).contains(&often), "{often}");
    private.set_ask_every(REFRESH / 10);
    let oftener = asks(private, NOW + ten, REFRESH);
    assert!((9..=11).contains(&oftener), "{oftener}");
    private.set_ask_every(REFRESH);
    let seldom = asks(private, NOW + ten + REFRESH, REFRESH);
    assert!(seldom <= 2, "{seldom}");
}

#[test]
fn peer_expires_by_the_timeout_that_is_set_while_it_runs() {
    let mut node = node(1, 1);
    // A shorter one is in force once those are gone that were promised the longer.
    for timeout_secs in [3000, 5000] {
        let timeout = Duration::from_secs(timeout_secs);
        node.0.set_peer_timeout(timeout);
        announce(&mut node, 1, 1, 0);
        let told = outgoing(private(&node.0), NOW);
        let expires = told.iter().flat_map(|tell| &tell.claims).map(|told| told.expires_secs);
        assert_eq!(expires.collect::<Vec<_>>(), [NOW.as_secs() + timeout_secs]);
    }
}

/// A claim that is let go leaves the record as it was, and the next one counts from there.
#[test]
fn claim_that_finds_no_room_is_made_up_for_by_the_next() {
    let (members, torrents) = (512, 513);
    let mut node = node(members, torrents);
    for torrent in 1..=torrents {
        (1..=members).for_each(|member| announce(&mut node, member, torrent, 5));
    }
    let waiting = private(&node.0).waiting();
    let dropped = u64::from(members * torrents) - CLAIMS_MAX;
    assert_eq!((waiting.claims, waiting.dropped), (CLAIMS_MAX, dropped));
    // Those that wait go on to merge.
    announce(&mut node, 1, 1, 6);
    assert_eq!(private(&node.0).waiting().dropped, dropped);
    let told = outgoing(private(&node.0), NOW);
    let claims: usize = told.iter().map(|tell| tell.claims.len()).sum();
    assert_eq!(claims as u64, CLAIMS_MAX);
    assert_eq!(private(&node.0).waiting().claims, 0);
    // Nobody has answered: they wait again.
    private(&node.0).put_back(told);
    assert_eq!(private(&node.0).waiting().claims, CLAIMS_MAX);
    let told = outgoing(private(&node.0), NOW);
    let answers = told.iter().map(|tell| {
        let verdict = |told: &peerage_tracker::private::nodes::Told| Verdict {
            base: Some(told.first),
            before: None,
            is_snatch: false,
        };
        let verdicts = tell.claims.iter().map(verdict).collect();
        Some(Answer { leechers: 1, verdicts, ..Answer::default() })
    });
    let answers = answers.collect();
    private(&node.0).apply(NOW, 0, told, answers);
    // The last members of the last torrent found no room. What they count now is all told.
    announce(&mut node, members, torrents, 9);
    let told = outgoing(private(&node.0), NOW);
    let claims: Vec<_> = told.iter().flat_map(|tell| &tell.claims).collect();
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].record.last.uploaded, 9);
}
