//! `bench private-memory`: what members, torrents and peers of private mode take, in a process
//! that has nothing else. `bench private` runs it once for each shape, so that no shape lies in
//! memory that another has left.
//!
//! Prints four numbers: bytes allocated when empty, with members, with torrents, with peers, each
//! with what the allocator adds; and a fifth, resident bytes at the end.

use std::net::{IpAddr, Ipv4Addr};

use peerage_proto::{InfoHash, PeerId};
use peerage_tracker::Now;
use peerage_tracker::private::{
    Member, MemberId, Passkey, PeerKey, PeerRow, Private, Terms, Torrent, TorrentId,
};

use crate::args::Options;
use crate::mix::{Account, info_hash};
use crate::process::own_rss_bytes;
use crate::socket::allocated_bytes;

/// Rows given at once, and taken from the ledger again.
const ROWS: u32 = 10_000;

const NOW: Now = Now::from_millis(1_800_000_000_000);

/// Fills the tables with `--members`, `--swarms` torrents and `--peers`, spread evenly.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let of = |count: Option<u32>, what: &str| count.ok_or(format!("--{what} is needed"));
    let members = of(options.members, "members")?;
    let torrents = of(options.swarms, "swarms")?;
    let peers = of(options.peers, "peers")?;
    let private = Private::new([7; 16], Terms::default());
    let empty = allocated_bytes();
    for number in 0..members {
        private.put_member(member(number));
    }
    let with_members = allocated_bytes();
    for number in 0..torrents {
        private.put_torrent(torrent(number));
    }
    let with_torrents = allocated_bytes();
    let mut restored = 0;
    for first in (0..peers).step_by(ROWS as usize) {
        let numbers = first..peers.min(first + ROWS);
        let rows = numbers.map(|number| peer(number, members, torrents)).collect();
        restored += private.restore_peers(NOW, rows);
        while private.ledger().take_batch(ROWS as usize).rows() != 0 {}
    }
    if restored != u64::from(peers) {
        return Err(format!("{restored} peers of {peers} are there"));
    }
    let with_peers = allocated_bytes();
    println!("{empty} {with_members} {with_torrents} {with_peers} {}", own_rss_bytes());
    Ok(())
}

fn member(number: u32) -> Member {
    Member::new(MemberId(number + 1), Passkey(Account::passkey(number)))
}

fn torrent(number: u32) -> Torrent {
    Torrent::new(TorrentId(number + 1), InfoHash(info_hash(number)))
}

fn peer(number: u32, members: u32, torrents: u32) -> PeerRow {
    let mut peer_id = *b"-qB4650-000000000000";
    peer_id[12..16].copy_from_slice(&number.to_be_bytes());
    PeerRow {
        key: PeerKey {
            member: MemberId(number % members + 1),
            torrent: TorrentId(number % torrents + 1),
            peer_id: PeerId(peer_id),
        },
        active: true,
        announces: 1,
        uploaded: 0,
        downloaded: 0,
        remaining: u64::from(number.is_multiple_of(4)),
        corrupt: 0,
        upload_speed: 0,
        download_speed: 0,
        timespent_secs: 0,
        seedtime_secs: 0,
        at_secs: NOW.as_secs(),
        address: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number % (1 << 24)))),
        port: 6881,
        user_agent: String::new(),
        completed_at_secs: None,
    }
}
