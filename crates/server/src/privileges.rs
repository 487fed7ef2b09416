//! The rights of the process: limits, root folder and user.
//!
//! What is dropped cannot be had back. Each failure ends the start: a tracker that was to run
//! without rights never runs with them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{User, chdir, chroot, getegid, geteuid, setgid, setuid};

use crate::settings::Rlimit;

/// A right that could not be changed: what was tried, and why it failed.
#[derive(Debug)]
pub(crate) struct Error {
    what: String,
    why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.why)
    }
}

/// Where files are found, before and after the root has changed.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    started_in: PathBuf,
    root: Option<PathBuf>,
}

impl Paths {
    /// As of the start of the process.
    pub(crate) fn at_start() -> io::Result<Self> {
        Ok(Self { started_in: std::env::current_dir()?, root: None })
    }

    /// The folder that the process was started in, by its name then.
    pub(crate) fn started_in(&self) -> &Path {
        &self.started_in
    }

    /// The path by which the file that was `path` at the start is found now. One outside of the
    /// root keeps its name, which no longer leads to it.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        let path = self.started_in.join(path);
        match self.root.as_ref().and_then(|root| path.strip_prefix(root).ok()) {
            Some(inside) => Path::new("/").join(inside),
            None => path,
        }
    }

    /// Whether `path` can still be found.
    pub(crate) fn can_reach(&self, path: &Path) -> bool {
        self.root.as_ref().is_none_or(|root| self.started_in.join(path).starts_with(root))
    }
}

/// Sets the soft limit of open files.
pub(crate) fn limit_files(limit: Rlimit) -> Result<(), Error> {
    set_limit("open files", Resource::RLIMIT_NOFILE, limit)
}

/// Sets the soft limit of a core dump's size.
pub(crate) fn limit_core(limit: Rlimit) -> Result<(), Error> {
    set_limit("the core size", Resource::RLIMIT_CORE, limit)
}

/// The soft limit of open files, if the system tells.
pub(crate) fn files_max() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

fn set_limit(name: &str, resource: Resource, limit: Rlimit) -> Result<(), Error> {
    let failed = |why: String| Error { what: format!("limit {name}"), why };
    let (_, hard) = getrlimit(resource).map_err(|error| failed(error.to_string()))?;
    let soft = match limit {
        Rlimit::Unchanged => return Ok(()),
        Rlimit::Hard => hard,
        Rlimit::Is(soft) if soft <= hard => soft,
        Rlimit::Is(soft) => {
            return Err(failed(format!("{soft} is more than the {hard} that are allowed")));
        }
    };
    setrlimit(resource, soft, hard).map_err(|error| failed(error.to_string()))
}

/// The user to become, looked up while the system's files can still be read.
pub(crate) fn user(name: &str) -> Result<User, Error> {
    let failed = |why: String| Error { what: format!("become user {name}"), why };
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(failed("there is no such user".into())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Changes the root folder, then the user, groups first; who is that user already stays it. Before
/// any thread is started.
pub(crate) fn drop_rights(
    root: Option<&Path>,
    user: Option<&User>,
    paths: &mut Paths,
) -> Result<(), Error> {
    if let Some(root) = root {
        let root = paths.resolve(root);
        let what = format!("make {} the root", root.display());
        let step = |result: Result<(), Errno>| {
            result.map_err(|error| Error { what: what.clone(), why: error.to_string() })
        };
        step(chroot(&root))?;
        step(chdir("/"))?;
        paths.root = Some(root);
    }
    let is_other = |user: &&User| (user.uid, user.gid) != (geteuid(), getegid());
    if let Some(user) = user.filter(is_other) {
        let what = format!("become user {}", user.name);
        let step = |result: Result<(), Errno>| {
            result.map_err(|error| Error { what: what.clone(), why: error.to_string() })
        };
        step(drop_groups())?;
        step(setgid(user.gid))?;
        step(setuid(user.uid))?;
        if !user.uid.is_root() && setuid(nix::unistd::Uid::from_raw(0)).is_ok() {
            return Err(Error { what, why: "root's rights can be had back".into() });
        }
    }
    Ok(())
}

/// Leaves every supplementary group.
#[cfg(not(target_vendor = "apple"))]
fn drop_groups() -> Result<(), Errno> {
    nix::unistd::setgroups(&[])
}

/// Apple's systems have no safe call for it, so rights cannot be dropped there.
#[cfg(target_vendor = "apple")]
fn drop_groups() -> Result<(), Errno> {
    Err(Errno::ENOTSUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_inside_the_root_is_found_before_and_after() {
        let mut paths = Paths { started_in: "/srv/peerage".into(), root: None };
        assert_eq!(paths.resolve(Path::new("allow.txt")), Path::new("/srv/peerage/allow.txt"));
        assert!(paths.can_reach(Path::new("/etc/allow.txt")));
        paths.root = Some("/srv".into());
        assert_eq!(paths.resolve(Path::new("allow.txt")), Path::new("/peerage/allow.txt"));
        assert_eq!(paths.resolve(Path::new("/srv/deny.txt")), Path::new("/deny.txt"));
        assert!(paths.can_reach(Path::new("allow.txt")));
        assert!(!paths.can_reach(Path::new("/etc/allow.txt")));
    }

    #[test]
    fn unknown_user_is_an_error_that_names_it() {
        let error = user("no-such-user-of-ours").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot become user no-such-user-of-ours: there is no such user"
        );
    }
}
