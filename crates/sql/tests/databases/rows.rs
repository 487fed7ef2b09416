//! Rows to be written.

use peerage_proto::PeerId;
use peerage_tracker::private::{
    Batch, MemberDelta, MemberId, PeerKey, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentId,
    TorrentRow,
};

/// A peer_id with every kind of byte that a careless writer breaks on.
pub(crate) const ODD_PEER_ID: PeerId = PeerId(*b"-XX\x00'\"\\\xff\x80%_\n\r\x1a01234 ");

pub(crate) fn member(id: u32, uploaded: u64, downloaded: u64) -> MemberDelta {
    MemberDelta { member: MemberId(id), uploaded, downloaded }
}

pub(crate) fn torrent(id: u32, seeders: u32, completed: u32, balance: i64) -> TorrentRow {
    let torrent = TorrentId(id);
    TorrentRow { torrent, seeders, leechers: 2, completed, balance, balance_delta: 10 }
}

pub(crate) fn key(member: u32, torrent: u32, peer_id: PeerId) -> PeerKey {
    PeerKey { member: MemberId(member), torrent: TorrentId(torrent), peer_id }
}

pub(crate) fn peer(key: PeerKey) -> PeerRow {
    PeerRow {
        key,
        active: true,
        announces: 1,
        uploaded: 100,
        downloaded: 200,
        remaining: 300,
        corrupt: 4,
        upload_speed: 5,
        download_speed: u64::MAX,
        timespent_secs: 60,
        seedtime_secs: 0,
        at_secs: 1_700_000_000,
        address: Some([192, 0, 2, 1].into()),
        port: 6881,
        user_agent: "Transmission/4.0.6".to_owned(),
        completed_at_secs: None,
    }
}

pub(crate) fn visit(key: PeerKey) -> PeerVisit {
    let at_secs = 1_700_001_800;
    PeerVisit { key, announces: 2, timespent_secs: 1860, seedtime_secs: 7, at_secs }
}

pub(crate) fn snatch(member: u32, torrent: u32) -> Snatch {
    Snatch {
        member: MemberId(member),
        torrent: TorrentId(torrent),
        at_secs: 1_700_000_123,
        address: Some([192, 0, 2, 1].into()),
    }
}

pub(crate) fn token_use(member: u32, torrent: u32, downloaded: u64) -> TokenUse {
    let token = Token { member: MemberId(member), torrent: TorrentId(torrent) };
    TokenUse { token, downloaded }
}

/// A batch of credit alone.
pub(crate) fn credit(members: impl IntoIterator<Item = MemberDelta>) -> Batch {
    Batch { members: members.into_iter().collect(), ..Batch::default() }
}
