//! The swarms in a file, so that a restart loses nothing: written at intervals and at the stop,
//! read at the start.
//!
//! The file is a head (what it is, its version, whether peer_ids are in it, when it was made), and
//! then each part of the store with its length (u32) and the first 8 bytes of its SHA-256. It is
//! written beside the old one and takes its place when it is whole. Announces go on meanwhile.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use peerage_swarm::{Now, Restored, Swarms};
use peerage_tracker::PeerIds;
use sha2::{Digest as _, Sha256};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::stop::{LOOK_EVERY, Stop};

/// In the data folder.
const FILE: &str = "swarms.snapshot";

/// What the file begins with; the last byte but one is the version.
const MAGIC: [u8; 16] = *b"peerage swarms1\n";

/// A part is a shard of the store. A swarm of a million peers with their peer_ids takes 40 MB.
const PART_BYTES_MAX: u32 = 1 << 30;

/// Between two parts and two tables, so that announces have their turn.
const PAUSE: Duration = Duration::from_micros(50);

/// Whether anybody is to have a turn meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Announces go on.
    Gentle,
    /// Nobody is answered until it is written.
    Urgent,
}

impl Haste {
    fn pause(self) {
        if self == Self::Gentle {
            thread::sleep(PAUSE);
        }
    }
}

/// Why a snapshot cannot be used.
#[derive(Debug)]
pub(crate) enum Error {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is none, or one of another version.
    Foreign,
    /// It was made with `swarm.peer_ids` as it is not now.
    PeerIds,
    /// It is not as it was written.
    Damaged,
}

/// Where the snapshot is and how often it is made.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    path: PathBuf,
    peer_ids: PeerIds,
}

impl Snapshot {
    /// In `data_dir`.
    pub(crate) fn new(data_dir: &Path, peer_ids: PeerIds) -> Self {
        Self { path: data_dir.join(FILE), peer_ids }
    }

    /// Puts the snapshot, if there is one, into the store. One that cannot be used is put aside
    /// under another name: the tracker starts all the same.
    pub(crate) fn restore(&self, swarms: &Swarms, now: Now) {
        let started = Instant::now();
        let path = self.path.display();
        let file = File::open(&self.path).map_err(Error::Unreadable);
        match file.and_then(|file| read(&mut BufReader::new(file), self.peer_ids, swarms, now)) {
            Ok((saved_at, Restored { peers, left_out })) => info!(
                "{path}, {} s old: {peers} peers restored, {left_out} had expired or found no \
                 room; {} swarms; took {} ms",
                now.since(saved_at).as_secs(),
                swarms.totals().swarms,
                started.elapsed().as_millis(),
            ),
            Err(Error::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let aside = self.path.with_extension("unusable");
                warn!("{path} {error}: the swarms that were in it will announce again");
                match fs::rename(&self.path, &aside) {
                    Ok(()) => warn!("it is now {}", aside.display()),
                    Err(error) => warn!("it cannot be put aside: {error}"),
                }
            }
        }
    }

    /// Writes the snapshot every `interval`, until it is asked to stop.
    pub(crate) fn run(&self, swarms: &Swarms, interval: Duration, clock: Clock, stop: &Stop) {
        let mut last = Instant::now();
        while !stop.is_requested() {
            if interval <= last.elapsed() {
                self.save(swarms, clock.now(), Haste::Gentle);
                last = Instant::now();
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Writes the snapshot. What goes wrong is logged, and the old one stays.
    pub(crate) fn save(&self, swarms: &Swarms, now: Now, haste: Haste) {
        let started = Instant::now();
        let path = self.path.display();
        match self.write(swarms, now, haste) {
            Ok(bytes) => {
                info!("{path}: {bytes} bytes written in {} ms", started.elapsed().as_millis());
            }
            Err(error) => error!("cannot write {path}: {error}; a restart would lose the swarms"),
        }
    }

    fn write(&self, swarms: &Swarms, now: Now, haste: Haste) -> io::Result<u64> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        // Who downloads what is nobody else's to read.
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(file);
        let bytes = write(&mut out, self.peer_ids, swarms, now, haste)?;
        out.into_inner()?.sync_all()?;
        fs::rename(new, &self.path)?;
        Ok(bytes)
    }
}

/// Writes the swarms as a snapshot has them, and returns how many bytes that is.
pub(crate) fn write(
    out: &mut impl Write,
    peer_ids: PeerIds,
    swarms: &Swarms,
    now: Now,
    haste: Haste,
) -> io::Result<u64> {
    let mut bytes = MAGIC.len() as u64 + 9;
    out.write_all(&MAGIC)?;
    out.write_all(&[u8::from(peer_ids == PeerIds::Kept)])?;
    out.write_all(&now.as_millis().to_le_bytes())?;
    let mut part = Vec::new();
    for number in 0..Swarms::SNAPSHOT_PARTS {
        part.clear();
        swarms.save(number, &mut part, || haste.pause());
        let length = u32::try_from(part.len()).ok().filter(|length| *length <= PART_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a part is too long"))?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&checksum(&part))?;
        out.write_all(&part)?;
        bytes += 12 + u64::from(length);
    }
    Ok(bytes)
}

/// Puts a snapshot into the store, and returns when it was made and what became of it.
pub(crate) fn read(
    file: &mut impl Read,
    peer_ids: PeerIds,
    swarms: &Swarms,
    now: Now,
) -> Result<(Now, Restored), Error> {
    if read_array(file)? != MAGIC {
        return Err(Error::Foreign);
    }
    let [ids] = read_array(file)?;
    if ids != u8::from(peer_ids == PeerIds::Kept) {
        return Err(Error::PeerIds);
    }
    let saved_at = Now::from_millis(u64::from_le_bytes(read_array(file)?));
    let mut restored = Restored::default();
    let mut part = Vec::new();
    for _ in 0..Swarms::SNAPSHOT_PARTS {
        let length = u32::from_le_bytes(read_array(file)?);
        let expected: [u8; 8] = read_array(file)?;
        if PART_BYTES_MAX < length {
            return Err(Error::Damaged);
        }
        part.clear();
        let read = file.take(length.into()).read_to_end(&mut part)?;
        if read != length as usize || checksum(&part) != expected {
            return Err(Error::Damaged);
        }
        let Restored { peers, left_out } =
            swarms.restore(now, saved_at, &part).map_err(|_| Error::Damaged)?;
        restored.peers += peers;
        restored.left_out += left_out;
    }
    Ok((saved_at, restored))
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    *Sha256::digest(bytes).first_chunk().expect("32 is at least 8")
}

fn read_array<const N: usize>(file: &mut impl Read) -> Result<[u8; N], Error> {
    let mut array = [0; N];
    file.read_exact(&mut array)?;
    Ok(array)
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Unreadable(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Foreign => f.write_str("is no snapshot, or one of another version"),
            Self::PeerIds => f.write_str("was made when swarm.peer_ids was not what it is now"),
            Self::Damaged => f.write_str("is damaged"),
        }
    }
}
