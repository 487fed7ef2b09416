//! What an announce leaves to be told to the other nodes, where there are any.

use peerage_proto::Event;

use super::{Delta, Desk, Outcome, Peer, TorrentShard, Turn};
use crate::private::nodes::Reading;
use crate::private::nodes::claim::Claim;
use crate::private::peer::Flags;

impl Turn<'_> {
    /// Whether the peer's row is written once it is known what other nodes know of the peer. One
    /// that starts has no past.
    pub(super) fn row_waits(&self) -> bool {
        let is_new = self.known.is_none() && self.announce.announce.event != Event::Started;
        self.room.for_claims.is_some() && is_new
    }
}

impl TorrentShard {
    /// Leaves what is to be told; nothing where the node is alone.
    pub(super) fn claim(
        &mut self,
        desk: &Desk<'_>,
        turn: &Turn<'_>,
        peer: &mut Peer,
        delta: Delta,
        outcome: &mut Outcome,
    ) {
        let Some(is_full) = turn.room.for_claims else { return };
        let address = (!turn.member.protected).then_some(turn.announce.announce.address);
        let last_millis = desk.now.as_millis();
        let row = turn.row_waits().then(|| turn.changed(peer, delta, address, desk.user_agent));
        let known = turn.known.as_ref().filter(|(_, known)| !known.flags.has(Flags::UNTOLD));
        let claim = Claim {
            torrent: turn.torrent,
            turn: 0,
            peer: peer.clone(),
            last_millis,
            before: known.map(|(_, known)| Reading::of(known, known.last_millis())),
            first: Reading::of(peer, last_millis),
            is_doubted: false,
            tried: 0,
            starts: turn.announce.announce.event == Event::Started,
            stops: turn.is_stopped,
            completes: turn.completes().then_some(address),
            price: self.price(desk.terms, turn, outcome),
            is_reminder: false,
            row,
        };
        outcome.claim_is_lost = !self.claims.put(claim, is_full.0);
        peer.flags.set(Flags::UNTOLD, outcome.claim_is_lost);
        if turn.known.is_none() {
            self.take_over(turn.torrent, peer);
        }
    }
}
