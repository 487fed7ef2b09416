//! The allow list and the deny list: files of info_hashes, read at the start and on a signal.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use peerage_proto::InfoHash;
use peerage_tracker::AccessList;

use crate::privileges::Paths;
use crate::settings::ListFiles;

/// Most bytes of one list: room for six million v1 info_hashes. A longer one is refused as a whole.
const LIST_BYTES_MAX: u64 = 256 << 20;

/// What is wrong with a list. One line.
#[derive(Debug)]
pub(crate) enum Error {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A line, counted from 1, is no info_hash.
    Line(PathBuf, usize),
}

/// The lists that were read, and how long they are.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Both lists.
    pub(crate) access: AccessList,
    /// Entries of the allow list, if there is one.
    pub(crate) allowed: Option<u64>,
    /// Entries of the deny list.
    pub(crate) denied: u64,
}

/// Reads both lists, or says what is wrong with the first that is wrong.
pub(crate) fn read(files: &ListFiles, paths: &Paths) -> Result<Lists, Error> {
    let list = |file: &PathBuf| read_list(&paths.resolve(file));
    let allow = files.allow.as_ref().map(list).transpose()?;
    let deny = files.deny.as_ref().map(list).transpose()?.unwrap_or_default();
    Ok(Lists {
        allowed: allow.as_ref().map(|allow| allow.len() as u64),
        denied: deny.len() as u64,
        access: AccessList::new(allow, deny),
    })
}

fn read_list(path: &Path) -> Result<Vec<InfoHash>, Error> {
    let unreadable = |error| Error::Unreadable(path.into(), error);
    let mut text = String::new();
    let mut file = File::open(path).map_err(unreadable)?.take(LIST_BYTES_MAX + 1);
    let bytes = file.read_to_string(&mut text).map_err(unreadable)?;
    if bytes as u64 > LIST_BYTES_MAX {
        return Err(unreadable(io::Error::other(format!("more than {LIST_BYTES_MAX} bytes"))));
    }
    AccessList::parse(&text).map_err(|error| Error::Line(path.into(), error.line))
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allowed {
            Some(allowed) => write!(f, "{allowed} allowed, {} denied", self.denied),
            None => write!(f, "all allowed, {} denied", self.denied),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Line(path, line) => {
                write!(f, "{}:{line}: must be an info_hash in 40 or 64 hex digits", path.display())
            }
        }
    }
}
