//! Who is a member and what is registered, and how both change while announces run.
//!
//! A change takes one lock at a time, as an announce does, so an announce that meets one may see
//! its first half: a member under the new passkey is found a moment after the old one is not.
//! Changes themselves come one after the other.

use alloc::vec::Vec;
use core::fmt;

use peerage_proto::InfoHash;
use peerage_swarm::Now;

use super::names::{Deleted, Fingerprint};
use super::torrents::TorrentSlot;
use super::{
    Client, Clients, Credited, DeleteReason, Member, MemberDelta, MemberId, MemberState, Passkey,
    Private, Token, Torrent, TorrentId, TorrentState,
};
use crate::lock::{MutexGuard, lock};

/// What a private tracker is made of, as read from SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Members who may announce.
    pub members: Vec<Member>,
    /// Torrents that may be announced.
    pub torrents: Vec<Torrent>,
    /// Tokens in use. Those of torrents that are not registered are left out.
    pub tokens: Vec<Token>,
    /// Clients that are let in; `None` for all, which is not the same as an empty list.
    pub allowed_clients: Option<Vec<Client>>,
    /// Clients that are kept out.
    pub denied_clients: Vec<Client>,
}

/// A change of one thing, to be made again.
enum Change {
    PutMember(Member),
    RemoveMember(MemberId),
    PutTorrent(Torrent),
    RemoveTorrent(TorrentId),
    AddToken(Token),
    RemoveToken(Token),
}

/// More changes were made between [`Private::begin_reload`] and [`Private::replace`] than could be
/// kept: nothing was replaced. Load anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyChanges;

impl fmt::Display for TooManyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many changes came while members and torrents were loaded")
    }
}

/// Changes kept while a reload reads: 64 MB of them.
const CHANGES_MAX: usize = 1 << 20;

/// Changes made since a reload began, which what it reads may not know of.
#[derive(Default)]
pub(super) struct Journal {
    changes: Option<Vec<Change>>,
}

impl Journal {
    fn note(&mut self, change: impl FnOnce() -> Change) {
        // One more than allowed stays, and tells that there were too many.
        if let Some(changes) = self.changes.as_mut().filter(|all| all.len() <= CHANGES_MAX) {
            changes.push(change());
        }
    }
}

impl Private {
    /// To be called before members and torrents are read for [`Private::replace`]: changes from
    /// here on are kept, and made again upon what was read.
    pub fn begin_reload(&self) {
        lock(&self.journal).changes = Some(Vec::new());
    }

    /// Replaces members, torrents, tokens and clients. Who and what stays keeps its peers and its
    /// counts: of a torrent that is known, `completed` and `balance` are those counted here. Peers
    /// of who or what has gone are dropped.
    ///
    /// Announces go on meanwhile; other changes wait. Takes about a second for each million.
    pub fn replace(&self, loaded: Loaded) -> Result<(), TooManyChanges> {
        let mut journal = lock(&self.journal);
        let changes = journal.changes.take().unwrap_or_default();
        if changes.len() > CHANGES_MAX {
            return Err(TooManyChanges);
        }
        let mut members: Vec<_> = loaded.members.iter().map(|member| member.id).collect();
        members.sort_unstable();
        let gone = self.members.iter().flat_map(|shard| {
            let ids = shard.members.rows().iter().map(|state| state.member.id);
            ids.filter(|id| members.binary_search(id).is_err()).collect::<Vec<_>>()
        });
        self.put_out(&gone.collect::<Vec<_>>());
        let mut torrents: Vec<_> = loaded.torrents.iter().map(|torrent| torrent.id).collect();
        torrents.sort_unstable();
        let gone = self.torrents.iter().flat_map(|shard| {
            let ids = shard.torrents.rows().iter().map(|slot| slot.torrent.id);
            ids.filter(|id| torrents.binary_search(id).is_err()).collect::<Vec<_>>()
        });
        gone.collect::<Vec<_>>().into_iter().for_each(|id| self.unregister(id));
        self.reserve(&loaded);
        loaded.members.into_iter().for_each(|member| self.let_in(member));
        loaded.torrents.into_iter().for_each(|torrent| self.register(torrent));
        self.replace_tokens(loaded.tokens);
        let clients = Clients::new(loaded.allowed_clients, loaded.denied_clients);
        self.change_terms(|terms| terms.clients = clients);
        changes.into_iter().for_each(|change| self.make(&journal, change));
        Ok(())
    }

    /// Makes room for all at once, so that nothing has to move while they come.
    fn reserve(&self, loaded: &Loaded) {
        // Parts are not quite alike. A sixteenth is what growing would have left over.
        let part = |count: usize, parts: usize| count / parts + count / parts / 16;
        let members = part(loaded.members.len(), self.members.len());
        self.passkeys.iter().for_each(|mut names| names.reserve(members));
        self.members.iter().for_each(|mut shard| shard.members.reserve(members));
        let names = part(loaded.torrents.len(), self.info_hashes.len());
        self.info_hashes.iter().for_each(|mut shard| shard.names.reserve(names));
        let torrents = part(loaded.torrents.len(), self.torrents.len());
        self.torrents.iter().for_each(|mut shard| shard.torrents.reserve(torrents));
    }

    /// Lets a member in, or changes one: known by its number. It keeps its peers. Whoever had its
    /// passkey under another number is put out.
    pub fn put_member(&self, member: Member) {
        let mut journal = lock(&self.journal);
        journal.note(|| Change::PutMember(member.clone()));
        self.let_in(member);
    }

    /// Changes a member and says whether there is one with this passkey. The change of its number
    /// makes another member of it.
    pub fn change_member(&self, passkey: &Passkey, change: impl FnOnce(&mut Member)) -> bool {
        let mut journal = lock(&self.journal);
        let Some(state) = self.member(passkey) else { return false };
        let mut member = state.member;
        change(&mut member);
        journal.note(|| Change::PutMember(member.clone()));
        self.let_in(member);
        true
    }

    /// Gives a member a new passkey, under which it keeps its peers, and says whether there was one
    /// with the old. Whoever had the new one is put out; nothing changes where both are the same.
    pub fn change_passkey(&self, old: &Passkey, new: Passkey) -> bool {
        self.change_member(old, |member| member.passkey = new)
    }

    /// Puts members out, with their peers, and says how many there were. Goes through all peers:
    /// to put many out at once is no dearer than one.
    pub fn remove_members(&self, passkeys: &[Passkey]) -> usize {
        let mut journal = lock(&self.journal);
        let found = passkeys.iter().filter_map(|passkey| self.member_id(passkey));
        let mut ids: Vec<_> = found.collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().for_each(|&id| journal.note(|| Change::RemoveMember(id)));
        self.put_out(&ids);
        ids.len()
    }

    /// Says whether the site wants to hear of what a member does; whether there is one.
    pub fn trace_member(&self, passkey: &Passkey, traced: bool) -> bool {
        let Some(id) = self.member_id(passkey) else { return false };
        self.member_shard(id).members.find_mut(&id).map(|state| state.traced = traced).is_some()
    }

    /// Registers a torrent, or changes one. Of one that is known by its number or its info_hash,
    /// `completed` and `balance` stay those counted here, and so do its peers while the info_hash
    /// stays the same.
    pub fn put_torrent(&self, torrent: Torrent) {
        let mut journal = lock(&self.journal);
        journal.note(|| Change::PutTorrent(torrent.clone()));
        self.register(torrent);
    }

    /// Changes a torrent, and says whether there is one with this info_hash.
    pub fn change_torrent(&self, info_hash: &InfoHash, change: impl FnOnce(&mut Torrent)) -> bool {
        let mut journal = lock(&self.journal);
        let Some(id) = self.torrent_id(info_hash) else { return false };
        let found = self.torrent_shard(id).torrents.find(&id).map(|slot| slot.torrent.clone());
        let Some(mut torrent) = found else { return false };
        change(&mut torrent);
        journal.note(|| Change::PutTorrent(torrent.clone()));
        self.register(torrent);
        true
    }

    /// Takes a torrent out, with its peers and tokens, and says whether it was there. For
    /// [`Terms::deleted_kept`](super::Terms::deleted_kept) whoever announces it is told why.
    pub fn remove_torrent(&self, now: Now, info_hash: &InfoHash, reason: DeleteReason) -> bool {
        let mut journal = lock(&self.journal);
        let Some(id) = self.torrent_id(info_hash) else { return false };
        journal.note(|| Change::RemoveTorrent(id));
        self.unregister(id);
        let deleted = Deleted { reason, at_secs: now.as_secs() };
        self.info_hashes.of(self.secret.hash(info_hash)).remember(*info_hash, deleted);
        true
    }

    /// Gives a token, and says whether it is a new one. Not for a torrent that is not registered.
    pub fn add_token(&self, token: Token) -> bool {
        let mut journal = lock(&self.journal);
        journal.note(|| Change::AddToken(token));
        self.give(token)
    }

    /// Takes a token back, and says whether there was one.
    pub fn remove_token(&self, token: Token) -> bool {
        let mut journal = lock(&self.journal);
        journal.note(|| Change::RemoveToken(token));
        self.torrent_shard(token.torrent).tokens.remove(&token).is_some()
    }

    /// A member as it stands.
    pub fn member(&self, passkey: &Passkey) -> Option<MemberState> {
        let id = self.member_id(passkey)?;
        self.member_by_id(id).filter(|state| state.member.passkey == *passkey)
    }

    /// A member as it stands, by its number.
    pub fn member_by_id(&self, id: MemberId) -> Option<MemberState> {
        self.member_shard(id).state(id)
    }

    /// What a member was credited and charged with that is not in a batch yet.
    pub fn owed_to(&self, id: MemberId) -> Credited {
        let shard = self.member_shard(id);
        let owed = shard.credit.find(&id);
        owed.map_or_else(Credited::default, |&MemberDelta { uploaded, downloaded, .. }| Credited {
            uploaded,
            downloaded,
        })
    }

    /// The number of the torrent with this info_hash.
    pub fn torrent_id(&self, info_hash: &InfoHash) -> Option<TorrentId> {
        let hash = self.secret.hash(info_hash);
        let number = self.info_hashes.of(hash).names.number(Fingerprint::of(hash));
        let id = TorrentId(number?);
        let shard = self.torrent_shard(id);
        shard.torrents.find(&id).filter(|slot| slot.torrent.info_hash == *info_hash).map(|_| id)
    }

    /// The info_hash of the torrent with this number.
    pub fn info_hash_of(&self, id: TorrentId) -> Option<InfoHash> {
        self.torrent_shard(id).torrents.find(&id).map(|slot| slot.torrent.info_hash)
    }

    /// How many seeders and leechers a torrent has; none where it is not registered.
    pub fn counts_of(&self, id: TorrentId) -> (u32, u32) {
        self.torrent_shard(id).torrents.find(&id).map_or((0, 0), TorrentSlot::counts)
    }

    /// A torrent as it stands.
    pub fn torrent(&self, info_hash: &InfoHash) -> Option<TorrentState> {
        let id = self.torrent_id(info_hash)?;
        self.torrent_shard(id).state(id)
    }

    fn member_id(&self, passkey: &Passkey) -> Option<MemberId> {
        let hash = self.secret.hash(passkey);
        let id = MemberId(self.passkeys.of(hash).number(Fingerprint::of(hash))?);
        let shard = self.member_shard(id);
        shard.members.find(&id).filter(|state| state.member.passkey == *passkey).map(|_| id)
    }

    fn make(&self, _: &MutexGuard<'_, Journal>, change: Change) {
        match change {
            Change::PutMember(member) => self.let_in(member),
            Change::RemoveMember(id) => self.put_out(&[id]),
            Change::PutTorrent(torrent) => self.register(torrent),
            Change::RemoveTorrent(id) => self.unregister(id),
            Change::AddToken(token) => {
                self.give(token);
            }
            Change::RemoveToken(token) => {
                self.torrent_shard(token.torrent).tokens.remove(&token);
            }
        }
    }

    fn let_in(&self, member: Member) {
        let (id, passkey) = (member.id, member.passkey);
        let holder = self.member_id(&passkey).filter(|holder| *holder != id);
        holder.inspect(|&holder| self.put_out(&[holder]));
        let hash = self.secret.hash(&passkey);
        self.passkeys.of(hash).put(Fingerprint::of(hash), id.0);
        let mut shard = self.member_shard(id);
        let before = match shard.members.find_mut(&id) {
            Some(state) => core::mem::replace(&mut state.member, member).passkey,
            None => {
                let (seeding, leeching, downloads) = (0, 0, 0);
                let state = MemberState { member, seeding, leeching, downloads, traced: false };
                shard.members.put(state);
                return;
            }
        };
        drop(shard);
        if before != passkey {
            let hash = self.secret.hash(&before);
            self.passkeys.of(hash).remove(Fingerprint::of(hash), id.0);
        }
    }

    fn put_out(&self, ids: &[MemberId]) {
        let mut with_peers = Vec::new();
        for &id in ids {
            let removed = self.member_shard(id).remove(id);
            let Some(MemberState { member, seeding, leeching, .. }) = removed else { continue };
            let hash = self.secret.hash(&member.passkey);
            self.passkeys.of(hash).remove(Fingerprint::of(hash), id.0);
            // Either may be below 0 for a moment.
            if (seeding, leeching) != (0, 0) {
                with_peers.push(id);
            }
        }
        if !with_peers.is_empty() {
            with_peers.sort_unstable();
            self.drop_peers(&with_peers);
        }
    }

    fn register(&self, torrent: Torrent) {
        let (id, info_hash) = (torrent.id, torrent.info_hash);
        let mut slot = TorrentSlot::new(torrent);
        if let Some(other) = self.torrent_id(&info_hash).filter(|other| *other != id)
            && let Some(known) = self.torrent_shard(other).torrents.remove(&other)
        {
            slot = known.with(slot.torrent);
        }
        let hash = self.secret.hash(&info_hash);
        {
            let mut names = self.info_hashes.of(hash);
            names.names.put(Fingerprint::of(hash), id.0);
            names.deleted.remove(&info_hash);
        }
        let mut shard = self.torrent_shard(id);
        let known = match shard.torrents.remove(&id) {
            None => {
                shard.torrents.put(slot);
                drop(shard);
                self.ask_about(id);
                return;
            }
            Some(known) if known.torrent.info_hash == info_hash => {
                shard.torrents.put(known.with(slot.torrent));
                return;
            }
            Some(known) => known,
        };
        // Another file under the same number: whoever has the old one is not a peer of the new.
        slot.is_owed = known.is_owed;
        shard.torrents.put(slot);
        shard.elsewhere.remove(&id);
        drop(shard);
        self.forget(known);
        self.ask_about(id);
    }

    fn unregister(&self, id: TorrentId) {
        let mut shard = self.torrent_shard(id);
        let Some(slot) = shard.torrents.remove(&id) else { return };
        shard.tokens.retain(|token| token.torrent != id, drop);
        shard.elsewhere.remove(&id);
        drop(shard);
        self.forget(slot);
    }

    /// What is to be done for a torrent that was taken out.
    fn forget(&self, mut slot: TorrentSlot) {
        let hash = self.secret.hash(&slot.torrent.info_hash);
        self.info_hashes.of(hash).names.remove(Fingerprint::of(hash), slot.torrent.id.0);
        self.depart(slot.swarm.all_departed());
    }

    fn give(&self, token: Token) -> bool {
        let mut shard = self.torrent_shard(token.torrent);
        let registered = shard.torrents.find(&token.torrent).is_some();
        registered && shard.tokens.put(token).is_none()
    }

    fn replace_tokens(&self, mut tokens: Vec<Token>) {
        tokens.sort_unstable();
        for mut shard in self.torrents.iter() {
            shard.tokens.retain(|token| tokens.binary_search(token).is_ok(), drop);
        }
        for token in tokens {
            self.give(token);
        }
    }
}
