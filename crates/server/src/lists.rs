//! The allow list and the deny list: files of info_hashes, read at the start and on a signal, and
//! what is added to them while the tracker runs ([`kept`]).

pub(crate) mod kept;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use peerage_proto::InfoHash;
use peerage_tracker::{AccessList, List};

use crate::privileges::Paths;
use crate::settings::ListFiles;
use kept::Kept;

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

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// What alone may be tracked.
    Allow,
    /// What may not be tracked.
    Deny,
}

/// The lists that the operator wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    allow: Option<List>,
    deny: List,
}

impl Which {
    /// As the API and the files call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// Reads what [`Which::name`] says.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Allow, Self::Deny].into_iter().find(|which| which.name() == name)
    }
}

/// Reads both lists, or says what is wrong with the first that is wrong.
pub(crate) fn read(files: &ListFiles, paths: &Paths) -> Result<Written, Error> {
    let list = |file: &PathBuf| read_list(&paths.resolve(file)).map(List::new);
    let allow = files.allow.as_ref().map(list).transpose()?;
    let deny = files.deny.as_ref().map(list).transpose()?.unwrap_or_default();
    Ok(Written { allow, deny })
}

impl Written {
    /// The lists in force, with what was added. `only_allowed` of `None` has an allow list in force
    /// where there is one.
    pub(crate) fn access(&self, kept: Option<&Kept>, only_allowed: Option<bool>) -> AccessList {
        let with = |list: &List, which| match kept {
            Some(kept) => list.with_added(kept.entries(which)),
            None => list.clone(),
        };
        let allow = with(&self.allow.clone().unwrap_or_default(), Which::Allow);
        let in_force = only_allowed.unwrap_or(self.allow.is_some() || !allow.is_empty());
        AccessList::of(in_force.then_some(allow), with(&self.deny, Which::Deny))
    }
}

fn read_list(path: &Path) -> Result<Vec<InfoHash>, Error> {
    let text = read_text(path).map_err(|error| Error::Unreadable(path.into(), error))?;
    AccessList::parse(&text).map_err(|error| Error::Line(path.into(), error.line))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(LIST_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > LIST_BYTES_MAX {
        return Err(io::Error::other(format!("more than {LIST_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// How long lists are, for the log.
pub(crate) fn sizes(access: &AccessList) -> String {
    let denied = access.denied().len();
    match access.allowed() {
        Some(allowed) => format!("{} allowed, {denied} denied", allowed.len()),
        None => format!("all allowed, {denied} denied"),
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
