//! The secrets of the process: random keys and seeds, and the key of the connection ids.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use peerage_tracker::ConnectionKey;

use crate::config::value::Secret;

/// The file in the data folder that keeps the key of the connection ids: 32 hex digits.
const KEY_FILE: &str = "connection.key";

/// 16 bytes from the system's random generator.
pub(crate) fn random_key() -> io::Result<[u8; 16]> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(key)
}

/// A seed from the system's random generator.
pub(crate) fn random_seed() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

/// The key of the connection ids: the operator's; else the one kept in `data_dir`, where a new one
/// is put if there is none; else a new one.
pub(crate) fn connection_key(
    given: Option<[u8; 16]>,
    data_dir: Option<&Path>,
) -> Result<ConnectionKey, String> {
    let failed = |what: &str, error: io::Error| format!("cannot {what}: {error}");
    if let Some(key) = given {
        return Ok(ConnectionKey(key));
    }
    let key = random_key().map_err(|error| failed("make a key", error))?;
    let Some(data_dir) = data_dir else { return Ok(ConnectionKey(key)) };
    let path = data_dir.join(KEY_FILE);
    match fs::read_to_string(&path) {
        Ok(hex) => Secret::from_hex(hex.trim()).map(ConnectionKey).ok_or_else(|| {
            format!("{} must hold 32 hex digits: remove it to have it made anew", path.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let written = write_key(data_dir, &path, key);
            written.map_err(|error| failed(&format!("write {}", path.display()), error))?;
            Ok(ConnectionKey(key))
        }
        Err(error) => Err(failed(&format!("read {}", path.display()), error)),
    }
}

/// Writes the key so that a reader finds all of it or no file, and no other user can read it.
fn write_key(data_dir: &Path, path: &Path, key: [u8; 16]) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{:032x}", u128::from_be_bytes(key))?;
    file.sync_all()?;
    fs::rename(new, path)
}
