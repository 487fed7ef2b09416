//! A BitTorrent client as the tests see it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use peerage_testkit::{Process, Signal};

/// How long a client may take for what takes it a second or two on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Most a seeder uploads: the file then takes two and a half seconds or more, long enough for a
/// scrape to be seen while it is under way.
pub(crate) const UPLOAD_KIB_MAX: u32 = 20 << 10;

/// What one client has to do: one torrent, until it is told to leave.
pub(crate) struct Job {
    /// The torrent, with the one tracker it is to use.
    pub(crate) torrent: PathBuf,
    /// Where its file is, or is to be.
    pub(crate) content: PathBuf,
    /// For settings, logs and whatever else the client writes.
    pub(crate) state: PathBuf,
    /// The address its tracker is asked at.
    pub(crate) family: Family,
    /// Most KiB a second it uploads.
    pub(crate) upload_kib_max: u32,
}

/// What a client shows its user to have moved of its torrent, in bytes, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// What peers were sent.
    pub(crate) uploaded: u64,
    /// What peers sent and was of use: without what was there already, came in part, or failed its
    /// hash.
    pub(crate) downloaded: u64,
}

/// The loopback address clients and tracker meet at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// 127.0.0.1.
    V4,
    /// `[::1]`.
    V6,
}

/// A running client. Ended when it is dropped.
pub(crate) trait Client: Send {
    /// Makes it announce now, where it can be told so.
    fn reannounce(&mut self) -> Result<(), String>;

    /// Makes it leave the swarm with `stopped`, as its user would.
    fn leave(&mut self) -> Result<(), String>;

    /// Makes it take part again, after it has left.
    fn come_back(&mut self) -> Result<(), String> {
        Err("this client cannot be told to come back".to_owned())
    }

    /// Ends it as its user would. It keeps what it needs to go on when it is started again.
    fn quit(&mut self) -> Result<(), String> {
        self.process().signal(Signal::Terminate)?;
        self.process().ended(LIMIT).map(drop)
    }

    /// What it says to have moved.
    fn figures(&mut self) -> Result<Figures, String> {
        Err("this client cannot be asked what it has moved".to_owned())
    }

    /// What its user sees of the tracker's last answer.
    fn tracker_text(&mut self) -> Result<String, String> {
        Err("this client cannot be asked what the tracker said".to_owned())
    }

    /// Its process, to be looked after and explained by.
    fn process(&mut self) -> &mut Process;
}

/// The clients by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian's transmission-daemon.
    Transmission,
    /// Debian's aria2.
    Aria2,
    /// Debian's qbittorrent-nox.
    QBittorrent,
    /// PyPI's libtorrent.
    Libtorrent,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Transmission, Self::Aria2, Self::QBittorrent, Self::Libtorrent];

    /// As its users write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transmission => "Transmission",
            Self::Aria2 => "aria2",
            Self::QBittorrent => "qBittorrent",
            Self::Libtorrent => "libtorrent",
        }
    }

    /// Starts one.
    pub(crate) fn start(self, job: &Job) -> Result<Box<dyn Client>, String> {
        match self {
            Self::Transmission => crate::transmission::start(job),
            Self::Aria2 => crate::aria2::start(job),
            Self::QBittorrent => crate::qbittorrent::start(job),
            Self::Libtorrent => crate::libtorrent::start(job),
        }
    }
}

/// Where a program is, or what to do where it is not.
pub(crate) fn program(name: &str) -> Result<PathBuf, String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed; `cargo xtask setup` installs it"))
}

/// A path that goes into a client's settings as it is.
pub(crate) fn text(path: &Path) -> &str {
    let plain = |text: &&str| !text.contains(['"', '\\', ' ', '\n']);
    path.to_str().filter(plain).expect("temporary folders have plain names")
}
