//! Files that are kept in the data folder: written as a whole or not at all, read by nobody else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use nix::unistd::Uid;

/// Opens a file for its owner alone, making it if there is none.
///
/// The owner is that of the folder: what root writes beside a tracker that has dropped its rights
/// is the tracker's to read.
pub(crate) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.create(true).mode(0o600).open(path)?;
    give_to_parents_owner(&file, path)?;
    Ok(file)
}

/// Gives what was made at `path` to the owner of the folder it is in, where that is ours to do.
pub(crate) fn give_to_parents_owner(made: &File, path: &Path) -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    fchown(made, Some(folder.uid()), Some(folder.gid()))
}

/// Writes `text` so that a reader finds all of it or what was there before, and so does whoever
/// starts after the power has failed. One writer at a time: the caller sees to that.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = open_private(&new, OpenOptions::new().write(true).truncate(true))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The new name is on the disk once its folder is.
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Reads a file of at most `bytes_max`; `None` where there is none.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    let bytes = file.take(bytes_max + 1).read_to_string(&mut text)?;
    if bytes as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use peerage_testkit::Folder;

    use super::*;

    #[test]
    fn file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        let folder = Folder::new("kept").unwrap();
        let path = folder.path().join("a.toml");
        assert_eq!(read(&path, 10).unwrap(), None);
        for text in ["longer", "short"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path, 10).unwrap().as_deref(), Some(text));
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&path, 4).is_err());
    }
}
