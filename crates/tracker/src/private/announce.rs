//! An announce of a member: who may, what it changes, what it is worth, who is handed out.

mod claim;

use alloc::sync::Arc;
use core::net::IpAddr;

use peerage_proto::{Event, Family, InfoHash};
use peerage_swarm::{Now, Peers, Rng};

use super::account::{Counted, Credit, Delta, Measured, Price, measure};
use super::members::Moved;
use super::names::Fingerprint;
use super::nodes;
use super::peer::{Flags, Peer};
use super::pending::{Changed, Completion, Kept, PeerEntry};
use super::swarm::{Asker, Both, Swarm};
use super::torrents::{TorrentShard, TorrentSlot};
use super::{MemberDelta, MemberId, Passkey, Private, Snatch, Terms, Token, TokenUse, TorrentId};
use crate::{Families, Refusal, Refused, Warning};

/// An announce of a member, over any protocol.
#[derive(Clone, Copy, Debug)]
pub struct Announce<'a> {
    /// What every announce says.
    pub announce: crate::Announce,
    /// Bytes uploaded, as the client counts them.
    pub uploaded: u64,
    /// Bytes downloaded, as the client counts them.
    pub downloaded: u64,
    /// Bytes that failed their hash, as the client counts them; `None` where it does not say.
    pub corrupt: Option<u64>,
    /// The `User-Agent` it sent; empty over UDP.
    pub user_agent: &'a [u8],
}

/// A member that may announce, as it stood when its passkey was looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    id: MemberId,
    can_leech: bool,
    protected: bool,
    free_leech: bool,
    double_upload: bool,
    download_slots: Option<u32>,
    downloads: u32,
}

/// What an announce is measured by, and what it is answered with.
pub(crate) struct Desk<'a> {
    pub(crate) now: Now,
    pub(crate) terms: &'a Terms,
    /// Peers to hand out at most.
    pub(crate) numwant: u32,
    pub(crate) rng: &'a mut Rng,
    /// Where they go.
    pub(crate) peers: &'a mut Peers,
    /// The `User-Agent`, as one of few.
    pub(crate) user_agent: &'a Arc<str>,
}

/// What an announce has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seeders: u32,
    pub(crate) leechers: u32,
    pub(crate) completed: u32,
    pub(crate) warning: Option<Warning>,
    /// All is accounted for, and the announce is refused: its member may not download.
    pub(crate) is_forbidden: bool,
    /// What the client says to have moved cannot be.
    pub(crate) is_absurd: bool,
    /// A download was completed for the first time.
    pub(crate) is_snatch: bool,
    /// There was no room for what other nodes are to be told.
    claim_is_lost: bool,
    moved: Moved,
    credit: Credit,
}

/// A torrent's row is written at least this often while somebody announces.
const ROW_SECS: u64 = 3600;

impl Private {
    /// The member with this passkey.
    pub(crate) fn standing(&self, passkey: &[u8]) -> Result<Standing, Refused> {
        let unknown = Refused::from(Refusal::PasskeyUnknown);
        let passkey = Passkey::parse(passkey).ok_or(unknown)?;
        let hash = self.secret.hash(&passkey);
        let number = self.passkeys.of(hash).number(Fingerprint::of(hash)).ok_or(unknown)?;
        let shard = self.member_shard(MemberId(number));
        shard.credit.prefetch_row(self.secret.hash(&MemberId(number)));
        let state = shard.state(MemberId(number));
        let state = state.filter(|state| state.member.passkey == passkey).ok_or(unknown)?;
        Ok(Standing {
            id: state.member.id,
            can_leech: state.member.can_leech,
            protected: state.member.protected,
            free_leech: state.member.free_leech,
            double_upload: state.member.double_upload,
            download_slots: state.member.download_slots,
            downloads: state.downloads,
        })
    }

    /// The torrent with this info_hash.
    pub(crate) fn registered(&self, info_hash: &InfoHash) -> Result<TorrentId, Refused> {
        let hash = self.secret.hash(info_hash);
        let names = self.info_hashes.of(hash);
        if let Some(number) = names.names.number(Fingerprint::of(hash)) {
            return Ok(TorrentId(number));
        }
        let refused = Refused::from(Refusal::Unregistered);
        Err(match names.deleted.get(info_hash) {
            Some(deleted) => Refused { text: deleted.reason.text(), ..refused },
            None => refused,
        })
    }

    /// Seeders, leechers and completions of a torrent; `None` for one that is not registered.
    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> Option<(u32, u32, u32)> {
        let id = self.registered(info_hash).ok()?;
        let shard = self.torrent_shard(id);
        let slot = shard.torrents.find(&id).filter(|slot| slot.torrent.info_hash == *info_hash)?;
        let (seeders, leechers) = slot.counts();
        Some((seeders, leechers, slot.torrent.completed))
    }

    /// Announces. One lock for the torrent, and one for the member where its credit or the number
    /// of its peers has changed.
    pub(crate) fn announce(
        &self,
        desk: &mut Desk<'_>,
        member: &Standing,
        torrent: TorrentId,
        announce: &Announce<'_>,
    ) -> Result<Outcome, Refused> {
        desk.peers.clear();
        if !desk.terms.clients.allows(&announce.announce.peer_id) {
            return Err(Refusal::ClientNotAllowed.into());
        }
        let room = Room {
            no_peers: desk.terms.peers_max <= self.peers_count(),
            no_rows: desk.terms.ledger_rows_max <= self.rows_count(),
            for_claims: self.room_for_claims(),
        };
        let mut guard = self.torrent_shard(torrent);
        let shard = &mut *guard;
        let (before, claims_before) = (shard.pending.rows(), shard.claims.len());
        shard.pending.begin(desk.now.as_secs());
        let outcome = shard.announce(desk, member, torrent, announce, room);
        let Some(outcome) = outcome else { return Err(Refusal::Unregistered.into()) };
        self.count_rows(before, shard.pending.rows());
        self.count_claims(claims_before, shard.claims.len());
        drop(guard);
        if outcome.claim_is_lost {
            self.count_dropped_claim();
        }
        self.settle(desk.now, member.id, torrent, &outcome);
        Ok(outcome)
    }

    /// Counts the member's peers, and credits what they moved.
    fn settle(&self, now: Now, member: MemberId, torrent: TorrentId, outcome: &Outcome) {
        let Credit { uploaded, downloaded, .. } = outcome.credit;
        if (uploaded, downloaded) == (0, 0) && outcome.moved == Moved::default() {
            return;
        }
        self.count_peers(outcome.moved);
        let mut shard = self.member_shard(member);
        let is_member = shard.count(member, outcome.moved);
        if (uploaded, downloaded) != (0, 0) {
            let before = shard.credit.len();
            shard.credit(now.as_secs(), MemberDelta { member, uploaded, downloaded });
            self.count_rows(before, shard.credit.len());
        }
        drop(shard);
        if !is_member {
            self.drop_peers_at(member, torrent);
        }
    }
}

/// Which bounds are reached.
#[derive(Clone, Copy)]
struct Room {
    no_peers: bool,
    no_rows: bool,
    /// `None` where the node is alone.
    for_claims: nodes::Room,
}

/// An announce and what is known of its peer.
struct Turn<'a> {
    now_secs: u32,
    member: &'a Standing,
    torrent: TorrentId,
    /// Where the torrent is.
    row: usize,
    room: Room,
    announce: &'a Announce<'a>,
    /// The peer before, and where it is.
    known: Option<(usize, Peer)>,
    is_seeder: bool,
    is_stopped: bool,
    /// The first of its peer, or as if it were.
    is_first: bool,
}

impl TorrentShard {
    /// `None` where the torrent has just gone.
    fn announce(
        &mut self,
        desk: &mut Desk<'_>,
        member: &Standing,
        torrent: TorrentId,
        announce: &Announce<'_>,
        room: Room,
    ) -> Option<Outcome> {
        let crate::Announce { info_hash, peer_id, left, event, .. } = announce.announce;
        // Good to the end: no torrent comes or goes.
        let row = self.torrents.place(&torrent)?;
        self.pending.prefetch_row(member.id, torrent, &peer_id);
        let elsewhere = self.count_elsewhere(torrent, member.id, &peer_id);
        let slot = self.torrents.row_mut(row);
        if slot.torrent.info_hash != info_hash {
            return None;
        }
        let place = slot.swarm.place(member.id, &peer_id);
        let known = place.map(|place| (place, slot.swarm.peers()[place].clone()));
        let turn = Turn {
            now_secs: desk.now.as_secs() as u32,
            member,
            torrent,
            row,
            room,
            announce,
            is_first: known.is_none() || event == Event::Started,
            is_seeder: left == Some(0),
            is_stopped: event == Event::Stopped,
            known,
        };
        let standing = slot.swarm.standing(member.id);
        let warning = turn.refused_room(standing, elsewhere, desk.terms);
        let mut outcome = Outcome { warning, ..Outcome::default() };
        if warning.is_some() {
            outcome.count(slot);
            return Some(outcome);
        }
        let mut peer = turn.peer();
        outcome.is_forbidden = !turn.is_seeder && !member.can_leech;
        let over_slots = turn.set_flags(&mut peer, &slot.swarm);
        let delta = self.account(desk.terms, &turn, &mut outcome);
        outcome.is_snatch = self.record(desk, &turn, &mut peer, delta, outcome.is_absurd);
        self.claim(desk, &turn, &mut peer, delta, &mut outcome);
        let slot = self.torrents.row_mut(row);
        turn.put(slot, &peer);
        outcome.moved = slot.swarm.standing(member.id).less(standing);
        let is_due = turn.is_first
            || turn.is_stopped
            || outcome.is_snatch
            || !delta.is_none()
            || outcome.moved != Moved::default()
            || slot.due_secs + ROW_SECS <= desk.now.as_secs();
        if is_due {
            slot.due_secs = desk.now.as_secs();
            self.pending.torrent(slot);
        }
        outcome.count(slot);
        outcome.warning = match () {
            () if over_slots => Some(Warning::NoSlot),
            () if turn.is_early(desk.terms) => Some(Warning::Early),
            () => None,
        };
        let is_handed = outcome.warning.is_none() && !outcome.is_forbidden && !turn.is_stopped;
        if is_handed {
            let here = &self.torrents.rows()[row].swarm;
            turn.hand_out(desk, Both { here, elsewhere: self.swarm_elsewhere(torrent) });
        }
        Some(outcome)
    }

    /// What moved, and who is credited with it.
    fn account(&mut self, terms: &Terms, turn: &Turn<'_>, outcome: &mut Outcome) -> Delta {
        let torrent = turn.torrent;
        let delta = match turn.measure(terms) {
            Measured::Moved(delta) => delta,
            Measured::Absurd => {
                outcome.is_absurd = true;
                Delta::default()
            }
        };
        if delta.is_none() {
            return delta;
        }
        // Where nodes share, only they together know what it is worth.
        if turn.room.for_claims.is_none() {
            let price = self.price(terms, turn, outcome);
            let token = Token { member: turn.member.id, torrent };
            outcome.credit = self.pay(turn.row, token, delta, price);
        }
        delta
    }

    /// What a transfer costs and earns now.
    fn price(&self, terms: &Terms, turn: &Turn<'_>, outcome: &Outcome) -> Price {
        let (member, torrent) = (turn.member, turn.torrent);
        let slot = &self.torrents.rows()[turn.row];
        Price {
            pricing: slot.torrent.pricing.or(terms.pricing),
            double_upload: slot.torrent.double_upload
                || member.double_upload
                || terms.double_upload,
            free_leech: member.free_leech,
            token: self.tokens.find(&Token { member: member.id, torrent }).is_some(),
            uncharged: outcome.is_forbidden && !terms.charge_forbidden,
        }
    }

    /// Adds what moved to the torrent's balance, and to what is free by a token; the credit is the
    /// member's. `row` is where the torrent is.
    pub(super) fn pay(&mut self, row: usize, token: Token, delta: Delta, price: Price) -> Credit {
        let slot = self.torrents.row_mut(row);
        slot.torrent.balance = slot.torrent.balance.saturating_add(delta.balance());
        slot.balance_owed = slot.balance_owed.saturating_add(delta.balance());
        let credit = price.credit(delta);
        let downloaded = credit.on_token;
        if downloaded != 0 {
            self.pending.token_use(TokenUse { token, downloaded });
        }
        credit
    }

    /// Writes the peer's row, and what its completion brings; says whether it is a snatch.
    fn record(
        &mut self,
        desk: &Desk<'_>,
        turn: &Turn<'_>,
        peer: &mut Peer,
        delta: Delta,
        is_absurd: bool,
    ) -> bool {
        let Announce { announce, .. } = turn.announce;
        let (member, torrent) = (turn.member.id, turn.torrent);
        let address = (!turn.member.protected).then_some(announce.address);
        let at_secs = desk.now.as_secs();
        let completes = turn.completes();
        let is_alone = turn.room.for_claims.is_none();
        let snatched = is_alone && completes && self.complete(Completion { member, torrent });
        if completes {
            peer.completed_at_secs = turn.now_secs;
        }
        if snatched {
            self.pending.snatch(Snatch { member, torrent, at_secs, address });
            let slot = self.torrents.row_mut(turn.row);
            slot.torrent.completed = slot.torrent.completed.saturating_add(1);
            slot.completed_owed = slot.completed_owed.saturating_add(1);
        }
        // A token serves until the announce that completes, where that one has moved something.
        if is_alone && completes && (delta.uploaded, delta.downloaded) != (0, 0) {
            let token = Token { member, torrent };
            self.tokens.remove(&token).inspect(|_| self.pending.expired_token(token));
        }
        if turn.row_waits() {
            return false;
        }
        let key = peer.key(torrent);
        if turn.known.is_none() && turn.is_stopped && self.pending.has_left(&key) {
            // A client says over both families that it stops.
            return snatched;
        }
        let changed = completes || is_absurd || !delta.is_none() || turn.has_changed(peer);
        let entry = PeerEntry {
            key,
            announces: peer.announces(),
            timespent_secs: turn.now_secs.saturating_sub(peer.came_secs),
            seedtime_secs: peer.seedtime_secs,
            at_secs,
            changed: changed.then(|| turn.changed(peer, delta, address, desk.user_agent)),
        };
        let left_out = self.pending.peer(entry, turn.room.no_rows) == Kept::LeftOut;
        peer.flags.set(Flags::OWED, left_out && changed);
        snatched
    }
}

impl Turn<'_> {
    /// Why a peer that would be one more is not let in.
    fn refused_room(&self, standing: Moved, elsewhere: u32, terms: &Terms) -> Option<Warning> {
        if self.known.is_some() || self.is_stopped {
            return None;
        }
        let own = (standing.seeding + standing.leeching) as u32 + elsewhere;
        match () {
            () if terms.peers_per_torrent_max <= own => Some(Warning::TooManyPeers),
            () if self.room.no_peers => Some(Warning::NotStored),
            () => None,
        }
    }

    fn measure(&self, terms: &Terms) -> Measured {
        let Some((_, before)) = self.known.as_ref().filter(|_| !self.is_first) else {
            return Measured::Moved(Delta::default());
        };
        let Announce { uploaded, downloaded, corrupt, .. } = *self.announce;
        let now = Counted { uploaded, downloaded, corrupt };
        let (uploaded, downloaded) = (before.uploaded, before.downloaded);
        let baseline = Counted { uploaded, downloaded, corrupt: Some(before.corrupt) };
        measure(baseline, now, self.elapsed_secs().into(), terms.bytes_per_sec_max)
    }

    /// Seconds since the announce before; 0 for the first.
    fn elapsed_secs(&self) -> u32 {
        let before = self.known.as_ref().map(|(_, peer)| peer.last_secs());
        before.map_or(0, |last_secs| self.now_secs.saturating_sub(last_secs))
    }

    /// The peer as it is after this announce, but for its flags.
    fn peer(&self) -> Peer {
        let Announce { announce, uploaded, downloaded, corrupt, .. } = *self.announce;
        let mut peer = match &self.known {
            Some((_, peer)) => peer.clone(),
            None => Peer::new(self.member.id, announce.peer_id),
        };
        if self.is_first {
            peer.came_secs = self.now_secs;
            (peer.seedtime_secs, peer.completed_at_secs) = (0, 0);
            peer.corrupt = 0;
            peer.set_announces(0);
        } else if peer.is_seeder() {
            peer.seedtime_secs = peer.seedtime_secs.saturating_add(self.elapsed_secs());
        }
        peer.set_announces(peer.announces() + 1);
        (peer.uploaded, peer.downloaded) = (uploaded, downloaded);
        peer.corrupt = corrupt.unwrap_or(peer.corrupt);
        // A client that does not say has an unknown rest: like a magnet link that does not know.
        peer.left = announce.left.unwrap_or(u64::MAX);
        peer.set_address(announce.address, announce.port, self.now_secs);
        peer
    }

    /// Says whether the peer is one download more than its member has slots for.
    fn set_flags(&self, peer: &mut Peer, swarm: &Swarm) -> bool {
        let member = self.member;
        let own_place = self.known.as_ref().map(|(place, _)| *place);
        let may = !self.is_seeder && member.can_leech && !self.is_stopped;
        // A torrent takes one slot, by however many clients of the member.
        let has_slot = || {
            let before = self.known.as_ref().is_some_and(|(_, peer)| peer.downloads());
            let mut others = swarm.own(member.id).filter(|place| Some(*place) != own_place);
            before || others.any(|place| swarm.peers()[place].downloads())
        };
        let has_room = member.download_slots.is_none_or(|slots| member.downloads < slots);
        let downloads = may && (has_room || has_slot());
        peer.flags.set(Flags::SEEDER, self.is_seeder);
        peer.flags.set(Flags::DOWNLOADS, downloads);
        peer.flags.set(Flags::VISIBLE, self.is_seeder || downloads);
        peer.flags.set(Flags::PROTECTED, member.protected);
        may && !downloads
    }

    /// Whether the announce says that a download has ended that we saw begin, or saw nothing of.
    fn completes(&self) -> bool {
        let was_seeder = self.known.as_ref().is_some_and(|(_, peer)| peer.is_seeder());
        self.announce.announce.event == Event::Completed && self.is_seeder && !was_seeder
    }

    /// Whether its row is to be written whole, even where nothing has moved.
    fn has_changed(&self, peer: &Peer) -> bool {
        let Some((_, before)) = self.known.as_ref().filter(|_| !self.is_first) else { return true };
        self.is_stopped
            || before.flags.has(Flags::OWED)
            || before.is_seeder() != peer.is_seeder()
            || (before.uploaded, before.downloaded) != (peer.uploaded, peer.downloaded)
            || (before.left, before.corrupt) != (peer.left, peer.corrupt)
            || (before.v4, before.v6) != (peer.v4, peer.v6)
    }

    fn changed(
        &self,
        peer: &Peer,
        delta: Delta,
        address: Option<IpAddr>,
        user_agent: &Arc<str>,
    ) -> Changed {
        let speed = |bytes: u64| bytes.checked_div(self.elapsed_secs().into()).unwrap_or(0);
        Changed {
            active: !self.is_stopped,
            upload_speed: speed(delta.uploaded),
            download_speed: speed(delta.downloaded),
            address,
            port: self.announce.announce.port,
            user_agent: Arc::clone(user_agent),
            ..Changed::of(peer)
        }
    }

    /// Puts the peer where it belongs, or takes it out.
    fn put(&self, slot: &mut TorrentSlot, peer: &Peer) {
        match (&self.known, self.is_stopped) {
            (None, true) => {}
            (None, false) => slot.swarm.insert(peer.clone()),
            (Some((place, _)), false) => {
                slot.swarm.change(*place, |before| *before = peer.clone());
            }
            (Some((place, _)), true) => {
                slot.swarm.remove(*place);
            }
        }
    }

    /// By the family: a client may announce over both at once.
    fn is_early(&self, terms: &Terms) -> bool {
        let Some((_, before)) = &self.known else { return false };
        let seen_secs = before.seen_secs[Family::of(self.announce.announce.address) as usize];
        seen_secs != 0
            && self.now_secs.saturating_sub(seen_secs) < terms.early_secs
            && !self.is_stopped
            && !self.completes()
    }

    fn hand_out(&self, desk: &mut Desk<'_>, swarm: Both<'_>) {
        let announce = &self.announce.announce;
        let timeout_secs = u32::try_from(desk.terms.peer_timeout.as_secs()).unwrap_or(u32::MAX);
        let asker = Asker {
            member: self.member.id,
            seeder: self.is_seeder,
            family: Family::of(announce.address),
            oldest_secs: self.now_secs.saturating_sub(timeout_secs).max(1),
        };
        let numwant = desk.numwant as usize;
        swarm.draw(&asker, numwant, desk.rng, desk.peers);
        if announce.families == Families::Both {
            swarm.draw_others(&asker, numwant, desk.rng, desk.peers);
        }
    }
}

impl Outcome {
    fn count(&mut self, slot: &TorrentSlot) {
        (self.seeders, self.leechers) = slot.counts();
        self.completed = slot.torrent.completed;
    }
}

impl Changed {
    /// Of a peer that is there, and moved nothing.
    pub(super) fn of(peer: &Peer) -> Self {
        // What no client moves in a lifetime, but says: SQL's numbers end at 2^63 - 1.
        let bounded = |bytes: u64| bytes.min(i64::MAX as u64);
        Self {
            active: true,
            uploaded: bounded(peer.uploaded),
            downloaded: bounded(peer.downloaded),
            remaining: bounded(peer.left),
            corrupt: bounded(peer.corrupt),
            upload_speed: 0,
            download_speed: 0,
            address: None,
            port: 0,
            user_agent: Arc::default(),
            completed_at_secs: (peer.completed_at_secs != 0).then(|| peer.completed_at_secs.into()),
        }
    }
}
