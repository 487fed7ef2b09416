//! What is to become of members: worked out from what there is, and made in one go.

use std::collections::BTreeMap;

use peerage_sql::{Edit, ManageError, MemberEntry, NotEdited};
use peerage_tracker::private::MemberId;

use crate::api::ours;
use crate::api::refused::Refused;
use crate::members::change::{UserChange, new_member};
use crate::private::Tables;

/// Changes of members that are to be made together.
pub(super) struct Plan {
    /// By name, what each is to be.
    pub(super) put: Vec<(String, UserChange)>,
    /// Names. Those that are not there are passed over.
    pub(super) remove: Vec<String>,
    /// Whether a member that is not there is made.
    pub(super) makes: bool,
    /// What a field of an entry of `put` is called; the entry itself where the field is empty.
    pub(super) field: fn(usize, &str) -> String,
}

/// What became of a [`Plan`].
#[derive(Default)]
pub(super) struct Done {
    /// Members that were made.
    pub(super) added: usize,
    /// Members that are other than before.
    pub(super) changed: usize,
    /// Members that are gone.
    pub(super) removed: usize,
    /// The members of `put`, each with whether its passkey is new.
    pub(super) members: Vec<(MemberEntry, bool)>,
}

impl Plan {
    /// Makes all of the changes or none.
    pub(super) async fn make(self, tables: &Tables) -> Result<Done, Refused> {
        let own = tables.own();
        let names: Vec<String> =
            self.put.iter().map(|(name, _)| name).chain(&self.remove).cloned().collect();
        let found = own.members_named(&names).await.map_err(|error| ours::refused(error, "put"))?;
        let mut found: BTreeMap<_, _> =
            found.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        let mut edits = Vec::new();
        // Those that go first leave their names and passkeys to others.
        let gone = self.remove.iter().filter_map(|name| found.remove(name));
        edits.extend(gone.map(|entry| Edit::RemoveMember(entry.member.id)));
        let mut done = Done { removed: edits.len(), ..Done::default() };
        let removed = edits.len();
        let mut edited = Vec::new();
        for (index, (name, change)) in self.put.iter().enumerate() {
            let before = found.remove(name);
            if before.is_none() && !self.makes {
                return Err(Refused::wrong("there is no such user", (self.field)(index, "name")));
            }
            if before.is_none() && change.rename.is_some() {
                let field = (self.field)(index, "rename");
                return Err(Refused::wrong("there is no such user to rename", field));
            }
            let at = |wrong| ours::wrong(wrong, (self.field)(index, "passkey"));
            let mut entry = match &before {
                Some(before) => before.clone(),
                None => new_member(name).map_err(at)?,
            };
            change.make(&mut entry).map_err(at)?;
            let old_key = before.as_ref().map(|before| before.member.passkey);
            let is_new_key = old_key != Some(entry.member.passkey);
            if before.as_ref() != Some(&entry) {
                done.added += usize::from(before.is_none());
                done.changed += usize::from(before.is_some());
                edits.push(Edit::PutMember(entry.clone()));
                edited.push(index);
            }
            done.members.push((entry, is_new_key));
        }
        if edits.is_empty() {
            return Ok(done);
        }
        let ids =
            tables.edit(edits).await.map_err(|error| self.refused(error, removed, &edited))?;
        for (&index, &id) in edited.iter().zip(ids.done.iter().skip(removed)) {
            done.members[index].0.member.id = MemberId(id);
        }
        Ok(done)
    }

    /// What is said about a change that was not made, of which `removed` were removals and the
    /// others those of the entries `edited`.
    fn refused(&self, error: NotEdited, removed: usize, edited: &[usize]) -> Refused {
        let NotEdited { index, error } = error;
        let Some(&item) = index.checked_sub(removed).and_then(|index| edited.get(index)) else {
            return ours::refused(error, "remove");
        };
        let change = &self.put[item].1;
        let field = match (&error, &change.passkey, &change.rename) {
            (ManageError::Taken, Some(_), None) => "passkey",
            (ManageError::Taken, None, Some(_)) | (ManageError::Invalid(_), _, Some(_)) => "rename",
            (ManageError::Invalid(_), _, None) => "name",
            _ => "",
        };
        ours::refused(error, (self.field)(item, field))
    }
}
