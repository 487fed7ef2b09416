//! What a node learns of the others: who is credited with what was told, and who else is there.

use alloc::vec::Vec;

use peerage_proto::{InfoHash, PeerId};
use peerage_swarm::Now;

use super::super::account::{Counted, Credit, Delta, Measured, measure};
use super::super::members::Moved;
use super::super::peer::Peer;
use super::super::pending::{Changed, Completion, Kept, PeerEntry};
use super::super::swarm::Swarm;
use super::super::table::Row;
use super::super::torrents::{TorrentShard, TorrentSlot};
use super::super::{MemberDelta, MemberId, PeerKey, Private, Snatch, Terms, Token, TorrentId};
use super::{Answer, PeerName, Reading, Record, Tell, Told, Verdict};

/// Peers of other nodes at one torrent, or a sample of them.
pub(in crate::private) struct Others {
    pub(in crate::private) torrent: TorrentId,
    pub(in crate::private) swarm: Swarm,
}

impl Row for Others {
    type Key = TorrentId;

    fn key(&self) -> TorrentId {
        self.torrent
    }
}

/// What an answer is measured by.
struct Desk<'a> {
    ahead_millis: i64,
    node: u64,
    terms: &'a Terms,
    no_rows: bool,
}

/// What is to be done for members once the torrent is let go of.
#[derive(Default)]
struct Settled {
    credit: Vec<(MemberId, Credit)>,
    /// Peers that are another node's now.
    departed: Vec<(MemberId, Moved)>,
    /// Claims that were late, and no reminders.
    late: u64,
    /// Whether other nodes want to hear of it.
    is_news: bool,
}

impl Private {
    /// Takes in what came back: `answers` in the order of `told`, `None` for one that was not
    /// answered, which is told again. Returns the swarms that other nodes should ask about.
    pub fn apply(
        &self,
        now: Now,
        ahead_millis: i64,
        told: Vec<Tell>,
        answers: Vec<Option<Answer>>,
    ) -> Vec<InfoHash> {
        let Some(node) = self.node() else { return Vec::new() };
        let (mut news, mut failed) = (Vec::new(), Vec::new());
        let terms = self.terms();
        let mut answers = answers.into_iter();
        for tell in told {
            let Some(mut answer) = answers.next().flatten() else {
                failed.push(tell);
                continue;
            };
            if let Some(sample) = &mut answer.sample {
                // Whoever was put out here is not handed out, whatever other nodes know.
                sample.retain(|(name, _)| self.member_by_id(name.parts().0).is_some());
            }
            let no_rows = terms.ledger_rows_max <= self.rows_count();
            let desk = Desk { ahead_millis, node, terms: &terms, no_rows };
            let (torrent, info_hash) = (tell.torrent, tell.info_hash);
            let mut shard = self.torrent_shard(torrent);
            let before = shard.pending.rows();
            shard.pending.begin(now.as_secs());
            let settled = shard.apply(&desk, tell, answer);
            self.count_rows(before, shard.pending.rows());
            drop(shard);
            if settled.is_news {
                news.push(info_hash);
            }
            self.settle_told(now, settled);
        }
        self.put_back(failed);
        news
    }

    fn settle_told(&self, now: Now, settled: Settled) {
        if settled.late != 0 {
            self.count_late_claims(settled.late);
        }
        self.depart(settled.departed);
        for (member, Credit { uploaded, downloaded, .. }) in settled.credit {
            let mut shard = self.member_shard(member);
            let before = shard.credit.len();
            shard.add_credit(now.as_secs(), MemberDelta { member, uploaded, downloaded });
            self.count_rows(before, shard.credit.len());
        }
    }
}

impl TorrentShard {
    fn apply(&mut self, desk: &Desk<'_>, tell: Tell, answer: Answer) -> Settled {
        let mut settled = Settled::default();
        let torrent = tell.torrent;
        let is_same = |slot: &&mut TorrentSlot| slot.torrent.info_hash == tell.info_hash;
        if self.torrents.find_mut(&torrent).filter(is_same).is_none() {
            return settled;
        }
        let mut claims = tell.claims.into_iter().zip(answer.verdicts).peekable();
        while let Some((told, verdict)) = claims.next() {
            let name = told.name();
            let known_elsewhere = self.judge(desk, told, &verdict, &mut settled);
            // Another session of the peer that begins here is told after the one that is over.
            let is_last = claims.peek().is_none_or(|(next, _)| next.name() != name);
            if let Some(record) = known_elsewhere.filter(|_| is_last) {
                self.hand_over(desk, torrent, name, &record, &mut settled);
            }
        }
        if let Some(sample) = answer.sample {
            self.take_sample(desk, torrent, &sample, &mut settled);
            for name in &answer.gone {
                self.let_go(torrent, *name, &mut settled);
            }
        }
        let slot = self.torrents.find_mut(&torrent).expect("it was just there");
        let (seeders, leechers) = slot.swarm.counts();
        let others =
            [answer.seeders.saturating_sub(seeders), answer.leechers.saturating_sub(leechers)];
        slot.torrent.completed = slot.torrent.completed.max(answer.completed);
        if others != core::mem::replace(&mut slot.others, others) && slot.swarm.len() != 0 {
            // Whoever writes it last has to know it last.
            self.pending.torrent(slot);
        }
        settled
    }

    /// What becomes of one claim. Where it is late, what another node knows of its peer.
    fn judge(
        &mut self,
        desk: &Desk<'_>,
        told: Told,
        verdict: &Verdict,
        settled: &mut Settled,
    ) -> Option<Record> {
        let &Verdict { base, before, is_snatch } = verdict;
        let record = told.record;
        let mut claim = told.claim;
        let (member, torrent) = (claim.peer.member, claim.torrent);
        let at_secs = claim.last_millis / 1000;
        if is_snatch
            && let Some(address) = claim.completes
            && self.complete(Completion { member, torrent })
        {
            self.pending.snatch(Snatch { member, torrent, at_secs, address });
            let slot = self.torrents.find_mut(&torrent).expect("it is registered");
            slot.completed_owed = slot.completed_owed.saturating_add(1);
            self.pending.torrent(slot);
        }
        let is_told_elsewhere = before.as_ref().is_some_and(|before| before.node != desk.node);
        let Some(base) = base else {
            settled.late += u64::from(!claim.is_reminder);
            return before.filter(|_| is_told_elsewhere);
        };
        let looks_the_same = before.as_ref().is_some_and(|before| before.looks_as(&record));
        settled.is_news |= is_told_elsewhere || !looks_the_same;
        if claim.is_reminder {
            return None;
        }
        let delta = moved(desk.terms, base, record.last);
        if !delta.is_none() {
            let row = self.torrents.place(&torrent).expect("it is registered");
            let credit = self.pay(row, Token { member, torrent }, delta, claim.price);
            settled.credit.push((member, credit));
            let slot = self.torrents.find_mut(&torrent).expect("it is registered");
            self.pending.torrent(slot);
        }
        // A token serves until the announce that completes, where that one has moved something.
        if claim.completes.is_some() && (delta.uploaded, delta.downloaded) != (0, 0) {
            let token = Token { member, torrent };
            self.tokens.remove(&token).inspect(|_| self.pending.expired_token(token));
        }
        let row = claim.row.take()?;
        let earlier = before.filter(|_| is_told_elsewhere && !claim.starts);
        if claim.stops && earlier.as_ref().is_some_and(Record::has_stopped) {
            // It has said so to another node, over its other family.
            return None;
        }
        if let Some(earlier) = earlier.filter(|earlier| !earlier.has_stopped()) {
            let earlier = earlier.peer(member, claim.peer.peer_id, desk.ahead_millis);
            claim.peer.go_on_from(&earlier);
            // Not a session that has begun since.
            let goes_on = !claim.stops && !self.claims.starts_anew(&claim.peer.key(torrent));
            let slot = self.torrents.find_mut(&torrent).expect("it is registered");
            let place = slot.swarm.place(member, &claim.peer.peer_id);
            if let Some(place) = place.filter(|_| goes_on) {
                slot.swarm.change(place, |peer| peer.go_on_from(&earlier));
            }
        }
        let elapsed_secs = record.last.at_millis.saturating_sub(base.at_millis) / 1000;
        let entry = entry(&claim.peer, torrent, at_secs, delta, elapsed_secs, row);
        if self.pending.peer(entry, desk.no_rows) == Kept::LeftOut {
            let slot = self.torrents.find_mut(&torrent).expect("it is registered");
            slot.swarm.owe_row(member, &claim.peer.peer_id);
        }
        None
    }

    /// A peer of this node's is another's, unless it has announced here since.
    fn hand_over(
        &mut self,
        desk: &Desk<'_>,
        torrent: TorrentId,
        name: PeerName,
        record: &Record,
        settled: &mut Settled,
    ) {
        if self.let_go(torrent, name, settled) && !record.has_stopped() {
            let (member, peer_id) = name.parts();
            let others = Others { torrent, swarm: Swarm::new() };
            let others = self.elsewhere.find_or_put(others);
            if others.swarm.place(member, &peer_id).is_none() {
                others.swarm.insert(record.peer(member, peer_id, desk.ahead_millis));
            }
        }
    }

    /// A peer is not this node's any more, unless it has announced here since; says whether it was.
    /// Its row is whoever's who told its end.
    fn let_go(&mut self, torrent: TorrentId, name: PeerName, settled: &mut Settled) -> bool {
        let (member, peer_id) = name.parts();
        let slot = self.torrents.find_mut(&torrent).expect("it is registered");
        let Some(place) = slot.swarm.place(member, &peer_id) else { return false };
        if self.claims.waits(&slot.swarm.peers()[place].key(torrent)) {
            return false;
        }
        let before = slot.swarm.standing(member);
        slot.swarm.remove(place);
        settled.departed.push((member, slot.swarm.standing(member).less(before)));
        true
    }

    /// Replaces the peers of other nodes.
    fn take_sample(
        &mut self,
        desk: &Desk<'_>,
        torrent: TorrentId,
        sample: &[(PeerName, Record)],
        settled: &mut Settled,
    ) {
        let mut others = Swarm::new();
        for (name, record) in sample {
            if record.has_stopped() {
                continue;
            }
            let (member, peer_id) = name.parts();
            if self.claims.waits(&PeerKey { member, torrent, peer_id }) {
                // It was here since, if only to stop.
                continue;
            }
            // A record that came back says that this node has who has gone to another since.
            if record.node != desk.node {
                self.hand_over(desk, torrent, *name, record, settled);
            }
            let slot = self.torrents.find_mut(&torrent).expect("it is registered");
            let is_here = slot.swarm.place(member, &peer_id).is_some();
            if !is_here && others.place(member, &peer_id).is_none() {
                others.insert(record.peer(member, peer_id, desk.ahead_millis));
            }
        }
        match others.len() {
            0 => drop(self.elsewhere.remove(&torrent)),
            _ => drop(self.elsewhere.put(Others { torrent, swarm: others })),
        }
    }

    /// A peer announces here: it is no other node's any more.
    pub(in crate::private) fn take_over(&mut self, torrent: TorrentId, peer: &Peer) {
        let Some(others) = self.elsewhere.find_mut(&torrent) else { return };
        let Some(place) = others.swarm.place(peer.member, &peer.peer_id) else { return };
        let taken = others.swarm.remove(place);
        let is_empty = others.swarm.len() == 0;
        if is_empty {
            self.elsewhere.remove(&torrent);
        }
        if let Some(slot) = self.torrents.find_mut(&torrent) {
            let count = &mut slot.others[usize::from(!taken.is_seeder())];
            *count = count.saturating_sub(1);
        }
    }

    /// The peers of other nodes at a torrent.
    pub(in crate::private) fn swarm_elsewhere(&self, torrent: TorrentId) -> Option<&Swarm> {
        // A node that is alone looks nothing up.
        (self.elsewhere.len() != 0).then(|| self.elsewhere.find(&torrent))?.map(|of| &of.swarm)
    }

    /// How many peers a member has at other nodes, but for one.
    pub(in crate::private) fn count_elsewhere(
        &self,
        torrent: TorrentId,
        member: MemberId,
        peer_id: &PeerId,
    ) -> u32 {
        self.swarm_elsewhere(torrent).map_or(0, |swarm| {
            let own = swarm.own(member);
            own.filter(|&place| swarm.peers()[place].peer_id != *peer_id).count() as u32
        })
    }

    /// Forgets peers of other nodes that were not heard from since `oldest_secs`.
    pub(in crate::private) fn expire_elsewhere(&mut self, torrent: TorrentId, oldest_secs: u32) {
        if self.elsewhere.len() == 0 {
            return;
        }
        let Some(others) = self.elsewhere.find_mut(&torrent) else { return };
        let mut expired = [0, 0];
        for place in (0..others.swarm.len()).rev() {
            if others.swarm.peers()[place].last_secs() < oldest_secs {
                let peer = others.swarm.remove(place);
                expired[usize::from(!peer.is_seeder())] += 1;
            }
        }
        let is_empty = others.swarm.len() == 0;
        if is_empty {
            self.elsewhere.remove(&torrent);
        }
        if let Some(slot) = self.torrents.find_mut(&torrent) {
            for (count, expired) in slot.others.iter_mut().zip(expired) {
                // Of those that are not in the sample nothing newer is known.
                *count = if is_empty { 0 } else { count.saturating_sub(expired) };
            }
        }
    }
}

fn moved(terms: &Terms, base: Reading, last: Reading) -> Delta {
    let counted = |reading: Reading| Counted {
        uploaded: reading.uploaded,
        downloaded: reading.downloaded,
        corrupt: Some(reading.corrupt),
    };
    let elapsed_secs = last.at_millis.saturating_sub(base.at_millis) / 1000;
    match measure(counted(base), counted(last), elapsed_secs, terms.bytes_per_sec_max) {
        Measured::Moved(delta) => delta,
        Measured::Absurd => Delta::default(),
    }
}

/// The row of a peer that other nodes may have known before.
fn entry(
    peer: &Peer,
    torrent: TorrentId,
    at_secs: u64,
    delta: Delta,
    elapsed_secs: u64,
    row: Changed,
) -> PeerEntry {
    let speed = |bytes: u64| bytes.checked_div(elapsed_secs).unwrap_or(0);
    PeerEntry {
        key: peer.key(torrent),
        announces: peer.announces(),
        timespent_secs: peer.last_secs().saturating_sub(peer.came_secs),
        seedtime_secs: peer.seedtime_secs,
        at_secs,
        changed: Some(Changed {
            upload_speed: speed(delta.uploaded),
            download_speed: speed(delta.downloaded),
            completed_at_secs: (peer.completed_at_secs != 0).then(|| peer.completed_at_secs.into()),
            ..row
        }),
    }
}

impl Peer {
    /// Goes on with what another node knew of it.
    fn go_on_from(&mut self, earlier: &Self) {
        let between = self.last_secs().saturating_sub(earlier.last_secs());
        let seeded = if earlier.is_seeder() { between } else { 0 };
        self.came_secs = earlier.came_secs;
        self.seedtime_secs =
            self.seedtime_secs.saturating_add(earlier.seedtime_secs).saturating_add(seeded);
        self.set_announces(self.announces().saturating_add(earlier.announces()));
        if self.completed_at_secs == 0 {
            self.completed_at_secs = earlier.completed_at_secs;
        }
        if self.seen_secs[0] == 0 {
            (self.v4, self.seen_secs[0]) = (earlier.v4, earlier.seen_secs[0]);
        }
        if self.seen_secs[1] == 0 {
            (self.v6, self.seen_secs[1]) = (earlier.v6, earlier.seen_secs[1]);
        }
    }
}
