//! Our own tables while the tracker runs: what the API changes is in the database first and then,
//! at once, in memory. Nothing is read again for it.
//!
//! Changes come one after the other. A change from elsewhere, such as the command line, is seen by
//! the revision of the tables, and has all of them read again.

use std::sync::Arc;

use peerage_sql::{Access, Edit, Edited, ManageError, NotEdited, Own, Store};
use peerage_tracker::Tracker;
use peerage_tracker::private::{
    Clients, DeleteReason, Member, MemberId, Private, Torrent, TorrentId,
};
use tokio::sync::{Mutex, Semaphore};

use super::private_of;
use crate::clock::Clock;

/// Requests that use the database at once: the flush is to find a connection, of four, at any time.
const WORKERS_MAX: usize = 2;

/// The tables, and what the tracker knows of them.
pub(crate) struct Tables {
    store: Arc<Store>,
    tracker: Arc<Tracker>,
    clock: Clock,
    /// Of the tables, as they are in memory. Held by who changes them.
    revision: Mutex<i64>,
    /// Held by a reload or a check: one at a time.
    pub(super) reading: Arc<Mutex<()>>,
    workers: Semaphore,
}

impl Tables {
    /// Tables that are in memory as they were at `revision`.
    pub(super) fn new(
        store: Arc<Store>,
        tracker: Arc<Tracker>,
        clock: Clock,
        revision: i64,
    ) -> Self {
        let (revision, workers) = (Mutex::new(revision), Semaphore::new(WORKERS_MAX));
        Self { store, tracker, clock, revision, reading: Arc::default(), workers }
    }

    /// Does `work`, once no more than a few others are at work.
    pub(super) async fn in_turn(&self, work: impl Future<Output = ()>) {
        // It is never closed.
        let _permit = self.workers.acquire().await;
        work.await;
    }

    /// Our own tables, to be read.
    pub(crate) fn own(&self) -> Own<'_> {
        self.store.own().expect("who asks for them was told that they are ours")
    }

    /// What the tracker has in memory.
    pub(crate) fn private(&self) -> &Private {
        private_of(&self.tracker)
    }

    /// Makes changes, all or none of them, in the database and then in memory.
    pub(crate) async fn edit(&self, edits: Vec<Edit>) -> Result<Edited, NotEdited> {
        let is_client = |edit: &Edit| matches!(edit, Edit::PutClient(_) | Edit::RemoveClient(_));
        // A reload would undo these, as it does none of the others.
        let _no_reload = match edits.iter().any(is_client) {
            true => Some(self.reading.lock().await),
            false => None,
        };
        let mut revision = self.revision.lock().await;
        let edited = self.own().edit(&edits).await?;
        if edits.iter().any(is_client) {
            let error = |error: ManageError| NotEdited { index: 0, error };
            self.follow_clients().await.map_err(error)?;
        }
        self.follow(edits, &edited.done);
        // Where another process was in between, the tables are still to be read again.
        if edited.revision == *revision + 1 {
            *revision = edited.revision;
        }
        Ok(edited)
    }

    /// Whether the tables were changed by another process, and nobody reads them now. The next call
    /// says no.
    pub(super) async fn is_to_be_read(&self) -> bool {
        // Who changes them right now follows by itself.
        let Ok(mut known) = self.revision.try_lock() else { return false };
        let Ok(revision) = self.store.revision().await else { return false };
        if revision == *known || self.reading.try_lock().is_err() {
            return false;
        }
        *known = revision;
        true
    }

    fn follow(&self, edits: Vec<Edit>, done: &[u32]) {
        let private = self.private();
        let mut gone = Vec::new();
        for (edit, &done) in edits.into_iter().zip(done) {
            match edit {
                Edit::PutMember(entry) if entry.enabled => {
                    private.put_member(Member { id: MemberId(done), ..entry.member });
                }
                Edit::PutMember(_) => gone.push(MemberId(done)),
                Edit::RemoveMember(id) => gone.push(id),
                Edit::PutTorrent(entry) => {
                    private.put_torrent(Torrent { id: TorrentId(done), ..entry.torrent });
                }
                Edit::RemoveTorrent(id) => {
                    if let Some(info_hash) = private.info_hash_of(id) {
                        let now = self.clock.now();
                        private.remove_torrent(now, &info_hash, DeleteReason::NONE);
                    }
                }
                Edit::PutToken(token) => {
                    private.add_token(token);
                }
                Edit::RemoveToken(token) => {
                    private.remove_token(token);
                }
                Edit::PutClient(_) | Edit::RemoveClient(_) => {}
            }
        }
        let passkeys = gone.into_iter().filter_map(|id| private.member_by_id(id));
        let passkeys: Vec<_> = passkeys.map(|state| state.member.passkey).collect();
        if !passkeys.is_empty() {
            private.remove_members(&passkeys);
        }
    }

    async fn follow_clients(&self) -> Result<(), ManageError> {
        let (allowed, denied): (Vec<_>, Vec<_>) = self
            .own()
            .clients()
            .await?
            .into_iter()
            .partition(|entry| entry.access == Access::Allow);
        let bare = |list: Vec<peerage_sql::ClientEntry>| {
            list.into_iter().map(|entry| entry.client).collect::<Vec<_>>()
        };
        // No list lets everybody in.
        let allowed = (!allowed.is_empty()).then(|| bare(allowed));
        let clients = Clients::new(allowed, bare(denied));
        self.private().change_terms(|terms| terms.clients = clients);
        Ok(())
    }
}
