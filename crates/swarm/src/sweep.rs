//! Dropping peers and swarms: those that are no longer heard from, those no longer allowed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerage_proto::{InfoHash, PeerId};

use crate::big::{Big, Gone};
use crate::context::Context;
use crate::elsewhere::{Addressed, certainly_seen};
use crate::entry::{Block, Body, Entry};
use crate::few::{FewMut, Head, SHRUNK_PEERS_MAX};
use crate::shard::{Census, IdKey, Shard};
use crate::slot::{Freshness, Slot4, Slot6};
use crate::{Departed, Expired};

/// Takes a dropped peer out of every count.
struct Leavers<'a> {
    context: &'a Context<'a>,
    info_hash: InfoHash,
    census: &'a mut Census,
    ids: &'a mut BTreeMap<IdKey, PeerId>,
    /// Where other nodes are to be told.
    departed: Option<&'a mut Vec<Departed>>,
    peers: u64,
}

impl Leavers<'_> {
    fn leave<S: Addressed>(&mut self, slot: S) {
        self.census.uncount::<S>(slot.state().role());
        self.context.uncount_peer(slot);
        if !self.ids.is_empty() {
            self.ids.remove(&S::id_key(slot.compact(), self.info_hash));
        }
        if let Some(departed) = &mut self.departed
            && !slot.state().is_elsewhere()
        {
            departed.push(Departed {
                info_hash: self.info_hash,
                peer: slot.address(),
                role: slot.state().role(),
                seen: certainly_seen(self.context, slot.state()),
            });
        }
        self.peers += 1;
    }
}

impl Gone for Leavers<'_> {
    fn v4(&mut self, slot: Slot4) {
        self.leave(slot);
    }

    fn v6(&mut self, slot: Slot6) {
        self.leave(slot);
    }
}

impl Shard {
    /// How many large swarms there may be: the numbers that [`Shard::expire_big`] takes.
    pub(crate) fn bigs(&self) -> usize {
        self.bigs.len()
    }

    /// Drops the expired peers of one part of a large swarm. Says whether there is a next part.
    pub(crate) fn expire_big(
        &mut self,
        context: &Context<'_>,
        number: usize,
        part: usize,
        expired: &mut Expired,
    ) -> bool {
        let Some(big) = self.bigs.get_mut(number).and_then(Option::as_mut) else { return false };
        let (census, ids) = (&mut self.census, &mut self.ids);
        expire_part(context, big, part, context.fresh, census, ids, expired);
        part + 1 < big.parts()
    }

    /// Drops the expired peers of all small swarms, and all swarms that have none and need not be
    /// remembered.
    pub(crate) fn expire_small(&mut self, context: &Context<'_>, expired: &mut Expired) {
        let mut shrunk = Vec::new();
        let rehash = |info_hash: &InfoHash| context.hash(info_hash);
        let bigs = &self.bigs;
        let (arena, census, ids) = (&mut self.arena, &mut self.census, &mut self.ids);
        let completed = &mut self.completed;
        let swarms = self.index.retain(rehash, |entry| {
            if let Body::Big(number) = entry.body() {
                let big = bigs[number as usize].as_ref();
                let peers = big.expect("an entry names a large swarm that is there").peers();
                if peers <= SHRUNK_PEERS_MAX {
                    shrunk.push(entry.info_hash);
                }
                return true;
            }
            let info_hash = entry.info_hash;
            let departed = context.shared.is_shared().then_some(&mut expired.departed);
            let mut leavers = Leavers { context, info_hash, census, ids, departed, peers: 0 };
            expire_entry(entry, context, context.fresh, arena, &mut leavers);
            expired.peers += leavers.peers;
            let keep = is_remembered(entry, context);
            if !keep {
                *completed -= u64::from(entry.completed());
            }
            keep
        });
        expired.swarms += swarms as u64;
        for info_hash in shrunk {
            expired.swarms += u64::from(self.shrink(context, &info_hash));
        }
        if self.arena.is_sparse() {
            self.compact_arena();
        }
        let index = &self.index;
        self.beyond.retain(|info_hash, _| index.find(info_hash, context.hash(info_hash)).is_some());
    }

    /// Drops every swarm for which `keep` is false, with its peers.
    pub(crate) fn retain(
        &mut self,
        context: &Context<'_>,
        mut keep: impl FnMut(&InfoHash) -> bool,
        expired: &mut Expired,
    ) {
        let rehash = |info_hash: &InfoHash| context.hash(info_hash);
        let (bigs, bigs_free) = (&mut self.bigs, &mut self.bigs_free);
        let (arena, census, ids) = (&mut self.arena, &mut self.census, &mut self.ids);
        let completed = &mut self.completed;
        let swarms = self.index.retain(rehash, |entry| {
            if keep(&entry.info_hash) {
                return true;
            }
            *completed -= u64::from(entry.completed());
            if let Body::Big(number) = entry.body() {
                let slot = &mut bigs[number as usize];
                let mut big = slot.take().expect("an entry names a large swarm");
                bigs_free.push(number);
                for part in 0..big.parts() {
                    let nobody = Freshness::NOBODY;
                    expire_part(context, &mut big, part, nobody, census, ids, expired);
                }
                return false;
            }
            let info_hash = entry.info_hash;
            let departed = None;
            let mut leavers = Leavers { context, info_hash, census, ids, departed, peers: 0 };
            expire_entry(entry, context, Freshness::NOBODY, arena, &mut leavers);
            expired.peers += leavers.peers;
            false
        });
        expired.swarms += swarms as u64;
    }

    /// Makes a large swarm small that has become so. Says whether it was dropped.
    fn shrink(&mut self, context: &Context<'_>, info_hash: &InfoHash) -> bool {
        let place = self.index.find(info_hash, context.hash(info_hash));
        let place = place.expect("it was just seen under the same lock");
        let Body::Big(number) = self.index.entry(place).body() else { return false };
        if self.big(number).peers() != 0 {
            self.make_few(place, number);
            return false;
        }
        self.set_empty(context, place);
        let forgotten = self.index.entry(place).completed() == 0;
        if forgotten {
            self.index.remove(place, |info_hash| context.hash(info_hash));
        }
        forgotten
    }
}

fn expire_part(
    context: &Context<'_>,
    big: &mut Big,
    part: usize,
    fresh: Freshness,
    census: &mut Census,
    ids: &mut BTreeMap<IdKey, PeerId>,
    expired: &mut Expired,
) {
    let info_hash = big.info_hash;
    // Those that go whatever their time are no longer allowed: that is no news.
    let tells = context.shared.is_shared() && !fresh.is_nobody();
    let departed = tells.then_some(&mut expired.departed);
    let mut leavers = Leavers { context, info_hash, census, ids, departed, peers: 0 };
    big.expire(part, fresh, &context.key, &mut leavers);
    expired.peers += leavers.peers;
}

/// Drops the peers of a small swarm that are not fresh.
fn expire_entry(
    entry: &mut Entry,
    context: &Context<'_>,
    fresh: Freshness,
    arena: &mut crate::arena::Arena,
    leavers: &mut Leavers<'_>,
) {
    let left = match entry.body() {
        Body::Inline(mut words) => {
            let mut head = Head::of_inline(&words);
            retain(FewMut { head: &mut head, words: &mut words }, fresh, leavers);
            entry.set_body(Body::Inline(words));
            head.peers()
        }
        Body::Block(mut block) => {
            let words = arena.block_mut(block.offset, block.capacity);
            retain(FewMut { head: &mut block.head, words }, fresh, leavers);
            settle(entry, block, arena);
            block.head.peers()
        }
        Body::Big(_) | Body::Empty(_) => return,
    };
    if left == 0 {
        entry.set_body(Body::Empty(context.now.as_secs() as u32));
    }
}

/// Writes back a block that may have lost peers: into the entry itself where they now fit.
fn settle(entry: &mut Entry, block: Block, arena: &mut crate::arena::Arena) {
    let fits = block.head.v6.len() == 0 && block.head.words() <= 4;
    if !fits {
        entry.set_body(Body::Block(block));
        return;
    }
    let mut words = [0; 4];
    let count = block.head.words();
    words[..count].copy_from_slice(&arena.block(block.offset, block.capacity)[..count]);
    arena.free(block.capacity.into());
    entry.set_body(Body::Inline(words));
}

fn retain(mut few: FewMut<'_>, fresh: Freshness, leavers: &mut Leavers<'_>) {
    few.retain::<Slot4>(|slot| stays(slot, fresh, leavers));
    few.retain::<Slot6>(|slot| stays(slot, fresh, leavers));
}

fn stays<S: Addressed>(slot: S, fresh: Freshness, leavers: &mut Leavers<'_>) -> bool {
    let stays = fresh.holds(slot.state());
    if !stays {
        leavers.leave(slot);
    }
    stays
}

/// Whether a swarm has peers, or lost the last of them lately and has been finished.
fn is_remembered(entry: &Entry, context: &Context<'_>) -> bool {
    let Body::Empty(since_secs) = entry.body() else { return true };
    let age_secs = (context.now.as_secs() as u32).wrapping_sub(since_secs);
    entry.completed() != 0
        && u64::from(age_secs) < context.shared.limits.completed_kept.as_secs()
        && context.has_room_to_spare()
}
