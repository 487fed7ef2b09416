//! The file that is shared, and the torrents of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::libtorrent::python;

const NAME: &str = "payload.bin";

/// The file, and where it is.
pub(crate) struct Payload {
    bytes: Vec<u8>,
    /// The folder it is in, for seeders.
    pub(crate) folder: PathBuf,
}

/// A torrent to be made.
pub(crate) struct Order {
    /// Where it goes.
    pub(crate) torrent: PathBuf,
    /// Its one tracker.
    pub(crate) url: String,
    /// What makes it a swarm of its own. Without blanks.
    pub(crate) swarm: String,
}

impl Payload {
    /// Makes the file in `folder`, the same every time.
    pub(crate) fn make(folder: PathBuf, length: usize) -> Result<Self, String> {
        // SplitMix64: a pseudo-random sequence of which no piece equals another.
        let mut state = 0x5045_4552_4147_4531_u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        bytes.truncate(length);
        fs::write(folder.join(NAME), &bytes).map_err(|error| error.to_string())?;
        Ok(Self { bytes, folder })
    }

    /// Makes torrents of the file; the info_hash of each, in order.
    pub(crate) fn torrents(&self, orders: &[Order]) -> Result<Vec<[u8; 20]>, String> {
        let mut command = python("torrents.py")?;
        let failed = |error: std::io::Error| format!("torrents.py: {error}");
        command.arg(self.folder.join(NAME)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().map_err(failed)?;
        let mut input = python.stdin.take().expect("it was started with a pipe");
        for Order { torrent, url, swarm } in orders {
            writeln!(input, "{} {url} {swarm}", torrent.display()).map_err(failed)?;
        }
        drop(input);
        let output = python.wait_with_output().map_err(failed)?;
        let hashes = String::from_utf8_lossy(&output.stdout);
        let hashes: Option<Vec<_>> = hashes.lines().map(from_hex).collect();
        let whole = hashes.filter(|hashes| hashes.len() == orders.len());
        whole.ok_or_else(|| format!("torrents.py ended with {}", output.status))
    }

    /// Whether the file has arrived in `folder`: compared byte by byte, which is what a hash
    /// stands for.
    pub(crate) fn is_whole(&self, folder: &Path) -> bool {
        fs::read(folder.join(NAME)).is_ok_and(|bytes| bytes == self.bytes)
    }
}

fn from_hex(text: &str) -> Option<[u8; 20]> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(pair).collect::<Option<_>>()?;
    bytes.try_into().ok()
}
