//! What was added to the lists while the tracker runs: `lists/allow.txt` and `lists/deny.txt` in
//! the data folder.
//!
//! A change is appended and on the disk before it is in force: an info_hash a line for one that is
//! added, with a `-` before it for one that is taken out. A file that has become twice as long as
//! its list is written anew. A last line that is not whole, as a loss of power leaves it, is
//! dropped.
//!
//! In memory a list is sorted, 20 bytes an entry; a change copies it, which takes some 0.2 s for
//! 6 million entries, on a thread that answers nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peerage_proto::InfoHash;
use tracing::warn;

use super::{Error, Which, read_text};
use crate::kept;

/// The folder of the files, in the data folder.
const FOLDER: &str = "lists";

/// Most entries of one list.
pub(crate) const ENTRIES_MAX: usize = 6_000_000;

/// Lines that are no entries, in a file that is not yet written anew. Besides as many as entries.
const LINES_LOST_MAX: usize = 1024;

/// What was added to both lists.
#[derive(Debug)]
pub(crate) struct Kept {
    allow: KeptList,
    deny: KeptList,
}

/// What was added to one list.
#[derive(Debug)]
struct KeptList {
    path: PathBuf,
    /// Sorted, each once.
    entries: Arc<Vec<InfoHash>>,
    /// Of the file.
    lines: usize,
}

/// What a change has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Entries that were not there before, in order.
    pub(crate) added: Vec<InfoHash>,
    /// Entries that are there no more, in order.
    pub(crate) removed: Vec<InfoHash>,
}

/// Why a list was not changed.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It would have more than [`ENTRIES_MAX`].
    Full,
    /// It cannot be written.
    File(PathBuf, io::Error),
}

impl Kept {
    /// Reads what is kept in `data_dir`.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Error> {
        let list = |which: Which| {
            KeptList::open(data_dir.join(FOLDER).join(which.name()).with_extension("txt"))
        };
        Ok(Self { allow: list(Which::Allow)?, deny: list(Which::Deny)? })
    }

    /// The entries of one list, sorted.
    pub(crate) fn entries(&self, which: Which) -> Arc<Vec<InfoHash>> {
        Arc::clone(&self.list(which).entries)
    }

    /// Takes entries out of a list, and then adds others to it.
    pub(crate) fn change(
        &mut self,
        which: Which,
        add: Vec<InfoHash>,
        remove: Vec<InfoHash>,
    ) -> Result<Done, NotDone> {
        let list = match which {
            Which::Allow => &mut self.allow,
            Which::Deny => &mut self.deny,
        };
        let failed = |error| NotDone::File(list.path.clone(), error);
        let sorted = |mut hashes: Vec<InfoHash>| {
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        };
        let is_there = |hash: &InfoHash| list.entries.binary_search(hash).is_ok();
        let (mut added, mut removed) = (sorted(add), sorted(remove));
        removed.retain(|hash| is_there(hash) && added.binary_search(hash).is_err());
        added.retain(|hash| !is_there(hash));
        if ENTRIES_MAX < list.entries.len() + added.len() {
            return Err(NotDone::Full);
        }
        let done = Done { added, removed };
        if done == Done::default() {
            return Ok(done);
        }
        list.append(&done).map_err(failed)?;
        list.lines += done.added.len() + done.removed.len();
        list.entries = Arc::new(merged(&list.entries, &done));
        list.write_anew_if_long();
        Ok(done)
    }

    fn list(&self, which: Which) -> &KeptList {
        match which {
            Which::Allow => &self.allow,
            Which::Deny => &self.deny,
        }
    }
}

/// `entries` after a change.
fn merged(entries: &[InfoHash], done: &Done) -> Vec<InfoHash> {
    let mut merged = Vec::with_capacity(entries.len() + done.added.len() - done.removed.len());
    let (mut added, mut removed) = (done.added.iter().peekable(), done.removed.iter().peekable());
    for entry in entries {
        while let Some(new) = added.next_if(|new| *new < entry) {
            merged.push(*new);
        }
        if removed.next_if_eq(&entry).is_none() {
            merged.push(*entry);
        }
    }
    merged.extend(added);
    merged
}

impl KeptList {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let text = match read_text(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| Error::Unreadable(path.clone(), error))?,
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = Vec::new();
        for (index, line) in text[..whole].lines().enumerate() {
            let (is_there, hex) = match line.strip_prefix('-') {
                Some(hex) => (false, hex),
                None => (true, line),
            };
            let hash = InfoHash::from_hex(hex);
            let hash = hash.ok_or_else(|| Error::Line(path.clone(), index + 1))?;
            lines.push((hash, is_there));
        }
        let mut list = Self { path, lines: lines.len(), entries: Arc::new(latest(lines)) };
        if whole < text.len() {
            warn!("{}: its last line is not whole, and dropped", list.path.display());
            list.lines = usize::MAX;
        }
        list.write_anew_if_long();
        Ok(list)
    }

    /// Writes a change to the disk. If that fails the file is cut to what it was.
    fn append(&self, done: &Done) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            make_folder(folder)?;
        }
        let mut file = kept::open_private(&self.path, OpenOptions::new().write(true))?;
        let start = file.seek(SeekFrom::End(0))?;
        let mut text = String::new();
        done.removed.iter().for_each(|hash| text.push_str(&format!("-{hash}\n")));
        done.added.iter().for_each(|hash| text.push_str(&format!("{hash}\n")));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        written.inspect_err(|_| {
            // Where this fails too, the next start complains of a line that is not whole.
            let _ = file.set_len(start);
        })
    }

    /// Writes the file anew, if it holds much that is no entry. That it fails costs room alone.
    fn write_anew_if_long(&mut self) {
        if self.lines <= 2 * self.entries.len() + LINES_LOST_MAX {
            return;
        }
        match self.write_anew() {
            Ok(()) => self.lines = self.entries.len(),
            Err(error) => warn!("{} is not written anew: {error}", self.path.display()),
        }
    }

    fn write_anew(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let file = kept::open_private(&new, OpenOptions::new().write(true).truncate(true))?;
        let mut writer = BufWriter::new(file);
        for hash in self.entries.iter() {
            writeln!(writer, "{hash}")?;
        }
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// Makes a folder as its parent's owner would.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => kept::give_to_parents_owner(&File::open(folder)?, folder),
    }
}

/// The entries that are there after all `lines`, of which a later one goes before an earlier one.
fn latest(mut lines: Vec<(InfoHash, bool)>) -> Vec<InfoHash> {
    // Stable: the lines of one hash stay in their order.
    lines.sort_by_key(|(hash, _)| *hash);
    let mut entries = Vec::new();
    for same in lines.chunk_by(|(one, _), (other, _)| one == other) {
        if let Some((hash, true)) = same.last() {
            entries.push(*hash);
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use peerage_testkit::Folder;

    use super::*;

    fn hashes(numbers: &[u8]) -> Vec<InfoHash> {
        numbers.iter().map(|&number| InfoHash([number; 20])).collect()
    }

    #[test]
    fn changes_are_there_again_after_a_restart() {
        let folder = Folder::new("kept-lists").unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        let mut model = BTreeSet::new();
        for step in 0..200_u8 {
            let add: Vec<u8> =
                (0..step % 5).map(|n| step.wrapping_mul(31).wrapping_add(n)).collect();
            let remove: Vec<u8> = (0..step % 7).map(|n| step.wrapping_mul(17) ^ n).collect();
            kept.change(Which::Deny, hashes(&add), hashes(&remove)).unwrap();
            remove.iter().for_each(|number| _ = model.remove(number));
            model.extend(add);
        }
        let expected: Vec<u8> = model.into_iter().collect();
        assert_eq!(*kept.entries(Which::Deny), hashes(&expected));
        let again = Kept::open(folder.path()).unwrap();
        assert_eq!(*again.entries(Which::Deny), hashes(&expected));
        assert!(again.entries(Which::Allow).is_empty());
    }

    #[test]
    fn what_a_change_does_is_told() {
        let folder = Folder::new("kept-lists").unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        let done = kept.change(Which::Allow, hashes(&[3, 1, 3]), hashes(&[9])).unwrap();
        assert_eq!(done, Done { added: hashes(&[1, 3]), removed: vec![] });
        let done = kept.change(Which::Allow, hashes(&[3, 2]), hashes(&[1, 3])).unwrap();
        assert_eq!(done, Done { added: hashes(&[2]), removed: hashes(&[1]) });
        assert_eq!(*kept.entries(Which::Allow), hashes(&[2, 3]));
    }

    #[test]
    fn file_is_written_anew_when_most_of_it_is_gone_or_its_end_is_torn() {
        let folder = Folder::new("kept-lists").unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        let path = folder.path().join("lists/deny.txt");
        for _ in 0..LINES_LOST_MAX {
            kept.change(Which::Deny, hashes(&[1, 2]), vec![]).unwrap();
            kept.change(Which::Deny, vec![], hashes(&[1])).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < LINES_LOST_MAX + 10, "{}", text.lines().count());
        let torn = format!("{}\n{}", "01".repeat(20), "02".repeat(19));
        fs::write(&path, torn).unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        assert_eq!(*kept.entries(Which::Deny), hashes(&[1]));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", "01".repeat(20)));
        fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(Kept::open(folder.path()), Err(Error::Line(_, 1))));
    }

    #[test]
    fn list_that_cannot_be_written_stays_as_it_is() {
        let folder = Folder::new("kept-lists").unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        fs::write(folder.path().join("lists"), "a file where the folder is to be").unwrap();
        let refused = kept.change(Which::Deny, hashes(&[1]), vec![]);
        assert!(matches!(refused, Err(NotDone::File(..))));
        assert!(kept.entries(Which::Deny).is_empty());
    }
}
