//! Private mode: members and registered torrents alone, with an account of what each moved.
//!
//! Peers are known by (member, peer_id). What they move is counted from the differences between
//! announces and merges in the [`Ledger`], from which it goes to SQL in batches.
//!
//! [`Private`] is all of it, shared by all workers. An announce takes one lock at a time, each for
//! one member's or one torrent's work: nothing here waits for SQL, and a change by the site waits
//! for no announce but the one it meets.

mod account;
mod agents;
mod ahead;
mod announce;
mod answer;
mod clients;
mod crowd;
mod expire;
mod ledger;
mod members;
mod names;
pub mod nodes;
mod peer;
mod pending;
mod registry;
pub mod rows;
mod slots;
mod swarm;
mod table;
mod terms;
mod torrents;

pub(crate) use ahead::Ahead;
pub use announce::Announce;
pub(crate) use answer::MemberWorker;
pub use clients::Clients;
pub use ledger::{Ledger, Queued};
pub use members::{Credited, MemberState};
pub use pending::LeftOut;
pub use registry::{Loaded, TooManyChanges};
pub use rows::{
    Batch, Client, Member, MemberDelta, MemberId, Passkey, PeerKey, PeerRow, PeerVisit, Pricing,
    Snatch, Token, TokenUse, Torrent, TorrentId, TorrentRow,
};
pub use terms::Terms;
pub use torrents::{DeleteReason, TorrentState};

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::lock::{Mutex, MutexGuard, lock};
use expire::Cursor;
use members::{MemberShard, Moved};
use names::{HashNames, Names};
use registry::Journal;
use table::Secret;
use torrents::TorrentShard;

/// Members, torrents, their peers, and what is owed to SQL.
///
/// Every call may come from any thread while announces run. What changes members and torrents
/// waits for other changes; announces wait for none of them.
pub struct Private {
    secret: Secret,
    /// Who has which passkey; by its hash.
    passkeys: Sharded<Names>,
    /// By number.
    members: Sharded<MemberShard>,
    /// Which torrent has which info_hash, and which had; by its hash.
    info_hashes: Sharded<HashNames>,
    /// By number.
    torrents: Sharded<TorrentShard>,
    terms: Mutex<Arc<Terms>>,
    /// Raised with each change of `terms`, as with the rules.
    terms_version: AtomicU64,
    /// Held by whoever changes members, torrents or tokens.
    journal: Mutex<Journal>,
    /// Where the next call of `expire` begins.
    cursor: Mutex<Cursor>,
    seeders: AtomicU64,
    leechers: AtomicU64,
    /// Rows that wait to be written.
    rows: AtomicUsize,
    /// Rows that were written so far.
    rows_written: AtomicU64,
    /// Where the next batch begins.
    next_shard: AtomicUsize,
    /// Since when the oldest row of the batch that is taken had waited, seconds since 1970;
    /// `u64::MAX` where none is.
    taken_since_secs: AtomicU64,
    /// What is told to other nodes; `None` where there are none.
    sharing: Option<nodes::Sharing>,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members.
    pub members: u64,
    /// Of the members, those who have a peer.
    pub online: u64,
    /// Torrents.
    pub torrents: u64,
    /// Tokens.
    pub tokens: u64,
    /// Peers with nothing left.
    pub seeders: u64,
    /// All other peers.
    pub leechers: u64,
    /// Bytes since the start.
    pub credited: Credited,
}

/// Members and their names: with a million, 4000 in each, which are rehashed in a fraction of a
/// millisecond.
const MEMBER_SHARDS: usize = 256;
/// Torrents, with their peers: with five million peers, 5000 in each.
const TORRENT_SHARDS: usize = 1024;

/// Parts of something, each behind a lock of its own. A power of two.
struct Sharded<T>(Box<[Mutex<T>]>);

impl<T> Sharded<T> {
    fn new(count: usize, mut make: impl FnMut() -> T) -> Self {
        assert!(count.is_power_of_two());
        Self((0..count).map(|_| Mutex::new(make())).collect())
    }

    /// The part where what has this hash is. Other bits than those by which tables find it.
    fn of(&self, hash: u64) -> MutexGuard<'_, T> {
        self.at((hash >> 32) as usize & (self.0.len() - 1))
    }

    fn at(&self, number: usize) -> MutexGuard<'_, T> {
        lock(&self.0[number])
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Each part in turn, locked for itself.
    fn iter(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(lock)
    }
}

impl Private {
    /// Without members and torrents. `key` is secret and random.
    pub fn new(key: [u8; 16], terms: Terms) -> Self {
        let secret = Secret(key);
        Self {
            secret,
            passkeys: Sharded::new(MEMBER_SHARDS, Names::new),
            members: Sharded::new(MEMBER_SHARDS, || MemberShard::new(secret)),
            info_hashes: Sharded::new(MEMBER_SHARDS, HashNames::new),
            torrents: Sharded::new(TORRENT_SHARDS, || TorrentShard::new(secret)),
            terms: Mutex::new(Arc::new(terms)),
            terms_version: AtomicU64::new(0),
            journal: Mutex::default(),
            cursor: Mutex::default(),
            seeders: AtomicU64::new(0),
            leechers: AtomicU64::new(0),
            rows: AtomicUsize::new(0),
            rows_written: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
            taken_since_secs: AtomicU64::new(u64::MAX),
            sharing: None,
        }
    }

    /// How many there are of each. Takes every lock once: for pages and reports.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            seeders: totalled(&self.seeders),
            leechers: totalled(&self.leechers),
            ..Totals::default()
        };
        for shard in self.members.iter() {
            totals.members += shard.members.len() as u64;
            totals.online += u64::from(shard.online);
            totals.credited.uploaded += shard.credited.uploaded;
            totals.credited.downloaded += shard.credited.downloaded;
        }
        for shard in self.torrents.iter() {
            totals.torrents += shard.torrents.len() as u64;
            totals.tokens += shard.tokens.len() as u64;
        }
        totals
    }

    /// The terms in force.
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&lock(&self.terms))
    }

    /// Changes the terms: `change` gets a copy of those in force. Workers follow with their next
    /// batch.
    pub fn change_terms(&self, change: impl FnOnce(&mut Terms)) {
        let mut current = lock(&self.terms);
        let mut terms = Terms::clone(&current);
        change(&mut terms);
        *current = Arc::new(terms);
        self.terms_version.fetch_add(1, Ordering::Release);
    }

    /// Rows that were written so far, as told by [`Private::count_written`].
    pub fn rows_written(&self) -> u64 {
        self.rows_written.load(Ordering::Relaxed)
    }

    /// To be called by whoever writes batches, after each.
    pub fn count_written(&self, rows: usize) {
        self.rows_written.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn peers_count(&self) -> u64 {
        totalled(&self.seeders) + totalled(&self.leechers)
    }

    fn count_peers(&self, moved: Moved) {
        // What is taken off is added as its complement to 2^64.
        let add = |sum: &AtomicU64, count: i32| {
            if count != 0 {
                sum.fetch_add(i64::from(count) as u64, Ordering::Relaxed);
            }
        };
        add(&self.seeders, moved.seeding);
        add(&self.leechers, moved.leeching);
    }

    fn rows_count(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Counts rows of one part, which has just gone from `before` to `after`.
    fn count_rows(&self, before: usize, after: usize) {
        if before != after {
            self.rows.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    fn member_shard(&self, id: MemberId) -> MutexGuard<'_, MemberShard> {
        self.members.of(self.secret.hash(&id))
    }

    fn torrent_shard(&self, id: TorrentId) -> MutexGuard<'_, TorrentShard> {
        self.torrents.of(self.secret.hash(&id))
    }
}

/// A sum that is below 0 for a moment when a peer's end is counted before its beginning.
fn totalled(sum: &AtomicU64) -> u64 {
    u64::try_from(sum.load(Ordering::Relaxed) as i64).unwrap_or(0)
}
