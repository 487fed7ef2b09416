//! Fetching ahead what an announce of a member will touch: its passkey, the member, the
//! info_hash, the torrent and its peers, each found by the one before.
//!
//! A miss costs 80 to 100 ns, and an announce among a million members and torrents would wait for
//! a dozen one after the other. What is found here is a hint: the announce finds it again, by then
//! close at hand, and decides by what it finds.

use peerage_proto::{InfoHash, PeerId};

use super::names::Fingerprint;
use super::{MemberId, Passkey, Private, TorrentId};

/// How far an announce has been looked ahead for.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// `None` for what is no passkey.
    passkey: Option<Fingerprint>,
    info_hash: Fingerprint,
    /// From the second step on, where they are found.
    member: Option<MemberId>,
    torrent: Option<TorrentId>,
}

impl Private {
    /// All steps for one announce alone: the member is fetched while the torrent is.
    pub(crate) fn look_through(&self, passkey: &[u8], info_hash: &InfoHash, peer_id: &PeerId) {
        let mut ahead = self.look_ahead(passkey, info_hash);
        self.look_for_numbers(&mut ahead);
        self.look_for_rows(&ahead);
        self.look_for_peers(&ahead, peer_id);
    }

    /// The first step: starts to fetch by what the passkey and the info_hash are found.
    pub(crate) fn look_ahead(&self, passkey: &[u8], info_hash: &InfoHash) -> Ahead {
        let passkey = Passkey::parse(passkey).map(|passkey| {
            let hash = self.secret.hash(&passkey);
            let fingerprint = Fingerprint::of(hash);
            self.passkeys.of(hash).prefetch(fingerprint);
            fingerprint
        });
        let hash = self.secret.hash(info_hash);
        let fingerprint = Fingerprint::of(hash);
        self.info_hashes.of(hash).names.prefetch(fingerprint);
        Ahead { passkey, info_hash: fingerprint, member: None, torrent: None }
    }

    /// The second step: finds the numbers, and starts to fetch by what the rows are found.
    pub(crate) fn look_for_numbers(&self, ahead: &mut Ahead) {
        if let Some(passkey) = ahead.passkey {
            let number = self.passkeys.of(passkey.hash()).number(passkey);
            ahead.member = number.map(MemberId);
        }
        if let Some(member) = ahead.member {
            let hash = self.secret.hash(&member);
            self.members.of(hash).members.prefetch_place(hash);
        }
        let number = self.info_hashes.of(ahead.info_hash.hash()).names.number(ahead.info_hash);
        ahead.torrent = number.map(TorrentId);
        if let Some(torrent) = ahead.torrent {
            let hash = self.secret.hash(&torrent);
            self.torrents.of(hash).torrents.prefetch_place(hash);
        }
    }

    /// The third step: starts to fetch the rows of the member and of the torrent, and by what the
    /// member's credit is found.
    pub(crate) fn look_for_rows(&self, ahead: &Ahead) {
        if let Some(member) = ahead.member {
            let hash = self.secret.hash(&member);
            let shard = self.members.of(hash);
            shard.members.prefetch_row(hash);
            shard.credit.prefetch_place(hash);
        }
        if let Some(torrent) = ahead.torrent {
            let hash = self.secret.hash(&torrent);
            self.torrents.of(hash).torrents.prefetch_row(hash);
        }
    }

    /// The fourth step: starts to fetch the torrent's peers, and the row that waits of this one.
    pub(crate) fn look_for_peers(&self, ahead: &Ahead, peer_id: &PeerId) {
        let (Some(member), Some(torrent)) = (ahead.member, ahead.torrent) else { return };
        let shard = self.torrent_shard(torrent);
        if let Some(slot) = shard.torrents.find(&torrent) {
            slot.swarm.prefetch(member);
        }
        shard.pending.prefetch(member, torrent, peer_id);
    }
}
