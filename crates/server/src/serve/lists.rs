//! The lists in force: read again, and changed while the tracker runs.

use std::path::Path;
use std::sync::Arc;

use peerage_proto::InfoHash;
use peerage_tracker::AccessList;
use tracing::{error, info};

use super::Running;
use crate::api::asks::NotChanged;
use crate::lists::kept::{Done, Kept, NotDone};
use crate::lists::{self, Which, Written, sizes};
use crate::settings::Settings;

/// What the lists in force are made of.
pub(super) struct Lists {
    written: Written,
    /// `None` without a data folder.
    kept: Option<Kept>,
    /// Lists that were in force, and that a worker may still look into: who lets go of a list last
    /// has to free it, which takes milliseconds for millions of entries. That is to be us. One for
    /// each worker that has had nothing to do since, at most.
    retired: Vec<Arc<AccessList>>,
}

impl Lists {
    /// What the operator wrote, and what is kept in `data_dir`.
    pub(super) fn open(written: Written, data_dir: Option<&Path>) -> Result<Self, lists::Error> {
        let kept = data_dir.map(Kept::open).transpose()?;
        Ok(Self { written, kept, retired: Vec::new() })
    }

    /// The lists as `settings` want them.
    pub(super) fn access(&self, settings: &Settings) -> Arc<AccessList> {
        Arc::new(self.written.access(self.kept.as_ref(), settings.only_allowed))
    }
}

impl Running {
    /// Reads the lists again. If anything is wrong, the old ones stay in force.
    pub(super) fn reload_lists(&mut self) {
        if let Some(private) = &self.private {
            private.jobs.reload();
        }
        match lists::read(&self.settings.lists, &self.paths) {
            Ok(written) => {
                self.lists.written = written;
                self.use_lists();
            }
            Err(error) => {
                error!("{error}");
                error!("a list is wrong, the old ones stay in force");
            }
        }
    }

    /// Takes over what the operator wrote, and with it the rules of the settings.
    pub(super) fn take_lists(&mut self, written: Written) {
        self.lists.written = written;
        self.use_lists();
    }

    /// Takes the lists, and the rules of the settings, into force.
    pub(super) fn use_lists(&mut self) {
        let access = self.lists.access(&self.settings);
        info!("lists: {}", sizes(&access));
        self.set_access(access);
        let purged = self.tracker.purge();
        if purged.swarms > 0 {
            info!("swarms no longer allowed, and dropped: {}", purged.swarms);
        }
        self.purge_again.all();
    }

    /// Changes what is added to a list.
    pub(super) fn change_list(
        &mut self,
        which: Which,
        add: Vec<InfoHash>,
        remove: Vec<InfoHash>,
        by: &str,
    ) -> Result<Done, NotChanged> {
        let kept = self.lists.kept.as_mut().ok_or_else(|| {
            NotChanged::NotKept("there is no process.data_dir to keep lists in".into())
        })?;
        let done = kept.change(which, add, remove).map_err(|why| match why {
            NotDone::Full => NotChanged::ListFull,
            NotDone::File(path, error) => {
                NotChanged::NotKept(format!("{}: {error}", path.display()))
            }
        })?;
        if done == Done::default() {
            return Ok(done);
        }
        let (name, added, removed) = (which.name(), done.added.len(), done.removed.len());
        info!("{name} list: {added} added, {removed} removed by {by}");
        let was_listed = self.tracker.rules().access.allowed().is_some();
        let access = self.lists.access(&self.settings);
        let is_listed = access.allowed().is_some();
        self.set_access(access);
        let forbidden = match which {
            Which::Deny => &done.added,
            Which::Allow if is_listed && !was_listed => {
                self.tracker.purge();
                self.purge_again.all();
                return Ok(done);
            }
            Which::Allow if is_listed => &done.removed,
            Which::Allow => return Ok(done),
        };
        self.tracker.purge_these(forbidden);
        self.purge_again.these(forbidden);
        Ok(done)
    }

    /// Takes lists into force without dropping what they forbid.
    fn set_access(&mut self, access: Arc<AccessList>) {
        self.source.set_lists(&access);
        self.lists.retired.push(Arc::clone(&self.tracker.rules().access));
        self.tracker.set_rules(self.settings.rules(access));
        self.lists.retired.retain(|access| Arc::strong_count(access) > 1);
    }
}
