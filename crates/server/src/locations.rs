//! The location files: found, read on a thread of their own so that nobody waits for them, and
//! read again on a signal.
//!
//! What is in a file is known to `peerage_locations`. Nothing an announce waits for is here: who
//! wants places takes [`Shared::now`] once and asks it many times.

mod load;
mod search;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use peerage_locations::{Attribution, Locations};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::privileges::Paths;
use crate::stop::{LOOK_EVERY, Stop};
use crate::threads::Threads;
use load::Loader;

/// Which files are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: there is nobody to show a place to.
    Nothing,
    /// These, in this order.
    Files(Vec<PathBuf>),
    /// Those that the first of these folders has any of.
    Search(Vec<PathBuf>),
}

impl Wanted {
    /// What the settings name, or, if they name nothing, a search of the folder for what outlasts a
    /// restart and of the one that the tracker was started in.
    pub(crate) fn new(files: &[PathBuf], data_dir: Option<&Path>, paths: &Paths) -> Self {
        if !files.is_empty() {
            return Self::Files(files.iter().map(|file| paths.resolve(file)).collect());
        }
        let folders = data_dir.into_iter().chain([Path::new("")]);
        let folders = folders.filter(|folder| paths.can_reach(folder));
        Self::Search(folders.map(|folder| paths.resolve(folder)).collect())
    }
}

/// The locations in force, if any are. Its copies are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Option<Loaded>>>);

/// Locations that are in force.
#[derive(Clone, Debug)]
struct Loaded {
    locations: Arc<Locations>,
    status: Status,
}

/// What is known of the locations in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LocationStats)]
pub(crate) struct Status {
    /// The names of the files, without their folders.
    pub(crate) file: String,
    /// Ranges of addresses.
    pub(crate) rows: usize,
    /// Of memory.
    pub(crate) bytes: usize,
    /// When they were read, in seconds since the UNIX epoch.
    pub(crate) loaded_at_secs: u64,
    /// What has to be shown wherever a place is shown, by the licences of the files.
    pub(crate) attribution: Vec<Credit>,
}

/// An attribution that a licence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Credit {
    /// A sentence in English, to be shown as it is.
    pub(crate) text: &'static str,
    /// What it links to.
    pub(crate) url: &'static str,
}

impl From<Attribution> for Credit {
    fn from(Attribution { text, url }: Attribution) -> Self {
        Self { text, url }
    }
}

impl Shared {
    /// Those in force, to be asked for many addresses; they stay as they are while they are held.
    /// To be taken once for a batch and dropped after it, as new ones may come.
    pub(crate) fn now(&self) -> Option<Arc<Locations>> {
        self.lock().as_ref().map(|loaded| Arc::clone(&loaded.locations))
    }

    /// Whether there are any. There are none before the first file is read, without a file, and
    /// with `--no-locations`.
    pub(crate) fn is_loaded(&self) -> bool {
        self.lock().is_some()
    }

    /// What is known of those in force.
    pub(crate) fn status(&self) -> Option<Status> {
        self.lock().as_ref().map(|loaded| loaded.status.clone())
    }

    /// Puts others in force. Those that were are freed here, or by the last who still asks them.
    fn set(&self, loaded: Option<Loaded>) {
        let before = std::mem::replace(&mut *self.lock(), loaded);
        drop(before);
    }

    /// Nothing is done under it but to copy or to change what it holds.
    fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be read next by the thread that reads. Its copies are one; of several that are asked
/// for meanwhile, the last one counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader(Arc<(Mutex<Option<Wanted>>, Condvar)>);

impl Reader {
    /// Starts the thread. What it reads comes into force in `shared`.
    pub(crate) fn spawn(
        &self,
        threads: &mut Threads,
        shared: Shared,
        clock: Clock,
        stop: Stop,
    ) -> io::Result<()> {
        let reader = self.clone();
        threads.spawn("locations".into(), move || {
            let mut loader = Loader::new(shared, clock, stop.clone());
            while !stop.is_requested() {
                if let Some(wanted) = reader.next() {
                    loader.load(&wanted);
                }
            }
        })
    }

    /// Asks for `wanted` to be read, and to come into force if it is right. Files that are as they
    /// were when they were last read are not read again.
    pub(crate) fn read(&self, wanted: Wanted) {
        let (next, changed) = &*self.0;
        *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        changed.notify_one();
    }

    /// What is asked for, if it comes within [`LOOK_EVERY`].
    fn next(&self) -> Option<Wanted> {
        let (next, changed) = &*self.0;
        let guard = next.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, LOOK_EVERY, |next| next.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_named_are_wanted_and_else_the_usual_folders() {
        let paths = Paths::at_start().unwrap();
        let here = std::env::current_dir().unwrap();
        let named = [PathBuf::from("a.csv"), PathBuf::from("/srv/b.mmdb")];
        let wanted = Wanted::new(&named, Some(Path::new("data")), &paths);
        assert_eq!(wanted, Wanted::Files(vec![here.join("a.csv"), "/srv/b.mmdb".into()]));
        let wanted = Wanted::new(&[], Some(Path::new("data")), &paths);
        assert_eq!(wanted, Wanted::Search(vec![here.join("data"), here.join("")]));
        assert_eq!(Wanted::new(&[], None, &paths), Wanted::Search(vec![here.join("")]));
    }

    #[test]
    fn of_several_that_are_wanted_the_last_one_counts() {
        let reader = Reader::default();
        assert_eq!(reader.next(), None);
        reader.read(Wanted::Nothing);
        reader.read(Wanted::Files(Vec::new()));
        assert_eq!(reader.next(), Some(Wanted::Files(Vec::new())));
        assert_eq!(reader.next(), None);
    }
}
