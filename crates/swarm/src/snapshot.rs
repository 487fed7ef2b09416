//! The store as bytes, a part at a time, and back: what a restart does not lose.
//!
//! A part is a shard: each of its swarms as one piece, a large swarm as one for each of its tables.
//! A piece is the info_hash, how often the swarm was finished (u32), since when it is empty (u32,
//! seconds since 1970), how many IPv4 and IPv6 peers follow (two u32), and for each peer its
//! compact form, its state (u16), and its peer_id where those are kept. Numbers are little-endian.
//!
//! Announces go on meanwhile. A peer that becomes a seeder between two tables may be written twice,
//! or not at all.

use alloc::vec::Vec;

use peerage_proto::{InfoHash, PeerId};

use crate::big::Big;
use crate::context::Context;
use crate::entry::{Body, Entry};
use crate::lock::lock;
use crate::shard::{PeerSlot, Shard};
use crate::slot::{Slot, Slot4, Slot6, State, Tick};
use crate::swarms::SHARDS;
use crate::{Now, PeerIds, Stored, Swarms};

/// What [`Swarms::restore`] has put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Peers, those left out because they had expired or found no room not among them.
    pub peers: u64,
    /// Peers that had expired or found no room.
    pub left_out: u64,
}

/// The bytes are no part of a snapshot. What came before the damage is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Swarms {
    /// Into how many parts a snapshot is cut.
    pub const SNAPSHOT_PARTS: u32 = SHARDS as u32;

    /// Appends one part, from 0 to [`Swarms::SNAPSHOT_PARTS`], to `out`. Holds one lock at a time,
    /// for about as long as [`Swarms::expire`] does; `pause` is called after each, as there.
    pub fn save(&self, part: u32, out: &mut Vec<u8>, mut pause: impl FnMut()) {
        let place = &self.shards[part as usize];
        let ids = self.shared.peer_ids == PeerIds::Kept;
        let bigs = lock(&place.shard).bigs();
        for number in 0..bigs {
            let mut table = 0;
            while lock(&place.shard).save_big(&self.shared.at(Now::default()), number, table, out) {
                table += 1;
                pause();
            }
        }
        lock(&place.shard).save_small(ids, out);
        pause();
    }

    /// Puts in what [`Swarms::save`] wrote at `saved_at`, of any part and by any store that keeps
    /// peer_ids as this one does. Peers are as old as they were then and the time since; those in
    /// the store already stay as they are.
    pub fn restore(&self, now: Now, saved_at: Now, bytes: &[u8]) -> Result<Restored, Damaged> {
        let context = self.shared.at(now);
        let mut restored = Restored::default();
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            let piece = Piece::read(&mut reader)?;
            let mut peers = PiecePeers {
                context: &context,
                saved: Tick::of(saved_at),
                since: Tick::steps(now.since(saved_at)),
                late: now.since(saved_at) > Tick::TIMEOUT_MAX,
                restored: &mut restored,
            };
            self.restore_piece(&context, &piece, &mut reader, &mut peers)?;
        }
        Ok(restored)
    }

    fn restore_piece(
        &self,
        context: &Context<'_>,
        piece: &Piece,
        reader: &mut Reader<'_>,
        peers: &mut PiecePeers<'_>,
    ) -> Result<(), Damaged> {
        let hash = self.shared.hash(&piece.info_hash);
        let mut shard = lock(&self.place(hash).shard);
        let found = shard.index.find(&piece.info_hash, hash);
        let place = match found {
            Some(place) => place,
            None => {
                let place = self.add_swarm(context, &mut shard, piece.info_hash, hash);
                shard.index.entry_mut(place).set_body(Body::Empty(piece.empty_since_secs));
                place
            }
        };
        let entry = shard.index.entry_mut(place);
        let more = piece.completed.saturating_sub(entry.completed());
        entry.set_completed(entry.completed() + more);
        shard.completed += u64::from(more);
        let outcome = peers
            .put_all::<Slot4>(&mut shard, place, piece.v4, reader)
            .and_then(|()| peers.put_all::<Slot6>(&mut shard, place, piece.v6, reader));
        // None of its peers may have found room, or all have expired.
        if shard.forget_if_useless(context, place) {
            self.shared.swarms.fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
        }
        outcome
    }
}

/// The head of a piece.
struct Piece {
    info_hash: InfoHash,
    completed: u32,
    empty_since_secs: u32,
    v4: u32,
    v6: u32,
}

impl Piece {
    fn of(entry: &Entry) -> Self {
        let empty_since_secs = match entry.body() {
            Body::Empty(since_secs) => since_secs,
            _ => 0,
        };
        let (info_hash, completed) = (entry.info_hash, entry.completed());
        Self { info_hash, completed, empty_since_secs, v4: 0, v6: 0 }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.info_hash.0);
        for number in [self.completed, self.empty_since_secs, self.v4, self.v6] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            info_hash: InfoHash(reader.array()?),
            completed: u32::from_le_bytes(reader.array()?),
            empty_since_secs: u32::from_le_bytes(reader.array()?),
            v4: u32::from_le_bytes(reader.array()?),
            v6: u32::from_le_bytes(reader.array()?),
        })
    }
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// Puts the peers of a piece into their swarm.
struct PiecePeers<'a> {
    context: &'a Context<'a>,
    saved: Tick,
    /// Steps since the snapshot was made.
    since: u16,
    /// Whether that is so long ago that all peers have expired.
    late: bool,
    restored: &'a mut Restored,
}

impl PiecePeers<'_> {
    fn put_all<S: SavedSlot>(
        &mut self,
        shard: &mut Shard,
        place: usize,
        count: u32,
        reader: &mut Reader<'_>,
    ) -> Result<(), Damaged> {
        for _ in 0..count {
            let (peer, state) = S::read(reader)?;
            let id = match self.context.shared.peer_ids {
                PeerIds::Kept => Some(PeerId(reader.array()?)),
                PeerIds::Dropped => None,
            };
            let Some(peer) = peer else { return Err(Damaged) };
            if self.put(shard, place, peer, state, id) {
                self.restored.peers += 1;
            } else {
                self.restored.left_out += 1;
            }
        }
        Ok(())
    }

    /// Says whether the peer was put in.
    fn put<S: SavedSlot>(
        &self,
        shard: &mut Shard,
        place: usize,
        peer: S,
        state: State,
        id: Option<PeerId>,
    ) -> bool {
        let now = Tick::of(self.context.now);
        let age = u32::from(state.seen().age(self.saved)) + u32::from(self.since);
        let state = state.seen_at(now.before(age as u16));
        if self.late || u32::from(Tick::steps(Tick::TIMEOUT_MAX)) < age {
            return false;
        }
        let hash = shard.peer_hash(self.context, place, peer);
        if !self.context.fresh.holds(state) || shard.find(place, peer, hash, state.role()).is_some()
        {
            return false;
        }
        if self.context.has_room_for(peer, shard.counts(place).peers()) != Stored::AsAsked {
            return false;
        }
        self.context.count_peer(peer);
        let info_hash = shard.index.entry(place).info_hash;
        shard.put(self.context, place, peer.with_state(state), hash, None);
        if let Some(id) = id {
            shard.ids.insert(S::id_key(peer.compact(), info_hash), id);
        }
        true
    }
}

/// A slot as it stands in a snapshot.
trait SavedSlot: PeerSlot {
    fn write(self, out: &mut Vec<u8>);
    /// No slot where the port is 0.
    fn read(reader: &mut Reader<'_>) -> Result<(Option<Self>, State), Damaged>;
}

impl SavedSlot for Slot4 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.compact());
        out.extend_from_slice(&self.state().bits().to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<(Option<Self>, State), Damaged> {
        let (ip, port) = (reader.array::<4>()?, u16::from_be_bytes(reader.array()?));
        let state = State::from_bits(u16::from_le_bytes(reader.array()?));
        Ok(((port != 0).then(|| Self::of(ip.into(), port)), state))
    }
}

impl SavedSlot for Slot6 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.compact());
        out.extend_from_slice(&self.state().bits().to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<(Option<Self>, State), Damaged> {
        let (ip, port) = (reader.array::<16>()?, u16::from_be_bytes(reader.array()?));
        let state = State::from_bits(u16::from_le_bytes(reader.array()?));
        Ok(((port != 0).then(|| Self::of(ip.into(), port)), state))
    }
}

impl Shard {
    /// Appends all swarms but the large ones.
    fn save_small(&self, ids: bool, out: &mut Vec<u8>) {
        for place in 0..self.index.places() {
            let Some(entry) = self.index.get(place) else { continue };
            if let Body::Big(_) = entry.body() {
                continue;
            }
            self.with_few(place, |few| {
                let counts = (few.head.v4.len() as u32, few.head.v6.len() as u32);
                Piece { v4: counts.0, v6: counts.1, ..Piece::of(entry) }.write(out);
                few.iter::<Slot4>()
                    .for_each(|slot| self.save_peer(entry.info_hash, slot, ids, out));
                few.iter::<Slot6>()
                    .for_each(|slot| self.save_peer(entry.info_hash, slot, ids, out));
            });
        }
    }

    /// Appends one part of a large swarm. Says whether there is a next part.
    fn save_big(
        &self,
        context: &Context<'_>,
        number: usize,
        part: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(big) = self.bigs.get(number).and_then(Option::as_ref) else { return false };
        let place = self.index.find(&big.info_hash, context.hash(&big.info_hash));
        let entry = self.index.entry(place.expect("a large swarm has an entry"));
        let ids = context.shared.peer_ids == PeerIds::Kept;
        let (mut v4, mut v6) = (0, 0);
        big.v4.for_each_in(part, |_| v4 += 1);
        big.v6.for_each_in(part, |_| v6 += 1);
        Piece { v4, v6, ..Piece::of(entry) }.write(out);
        big.v4.for_each_in(part, |slot| self.save_peer(big.info_hash, slot, ids, out));
        big.v6.for_each_in(part, |slot| self.save_peer(big.info_hash, slot, ids, out));
        part + 1 < Big::parts(big)
    }

    fn save_peer<S: SavedSlot>(&self, info_hash: InfoHash, slot: S, ids: bool, out: &mut Vec<u8>) {
        slot.write(out);
        if ids {
            let id = self.ids.get(&S::id_key(slot.compact(), info_hash));
            out.extend_from_slice(&id.copied().unwrap_or(PeerId([0; 20])).0);
        }
    }

    /// Drops a swarm that has neither peers nor been finished. Says whether it did.
    fn forget_if_useless(&mut self, context: &Context<'_>, place: usize) -> bool {
        let useless = self.counts(place).peers() == 0 && self.index.entry(place).completed() == 0;
        if useless {
            self.index.remove(place, |info_hash| context.hash(info_hash));
        }
        useless
    }
}
