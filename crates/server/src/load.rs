//! How loaded the machine is and how much memory the process has, as the system tells.
//!
//! The system's files are opened once, before the root changes, and read again and again. Where
//! there are none (systems without `/proc`), the load is not known and the interval stays where it
//! is.

use std::fs::File;
use std::os::unix::fs::FileExt;

use peerage_tracker::LoadAverages;

/// The files to read from.
#[derive(Debug)]
pub(crate) struct Probe {
    load: Option<File>,
    status: Option<File>,
}

/// Most bytes read of each file: `/proc/self/status` has about 1500.
const FILE_BYTES_MAX: usize = 4096;

impl Probe {
    /// Opens the files.
    pub(crate) fn open() -> Self {
        Self {
            load: File::open("/proc/loadavg").ok(),
            status: File::open("/proc/self/status").ok(),
        }
    }

    /// The load averages over 1, 5 and 15 minutes, if they are known.
    pub(crate) fn load(&self) -> Option<LoadAverages> {
        parse_load(&read(self.load.as_ref()?)?)
    }

    /// The memory that the process occupies, in bytes, if it is known.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        parse_resident(&read(self.status.as_ref()?)?)
    }
}

fn read(file: &File) -> Option<String> {
    let mut buffer = [0; FILE_BYTES_MAX];
    let length = file.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn parse_load(text: &str) -> Option<LoadAverages> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_the_first_three_numbers() {
        assert_eq!(parse_load("0.20 1.18 12.00 1/80 11206\n"), Some([0.2, 1.18, 12.0]));
        for text in ["", "1 2", "a b c"] {
            assert_eq!(parse_load(text), None, "{text:?}");
        }
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tpeerage\nVmRSS:\t    7544 kB\nThreads:\t1\n";
        assert_eq!(parse_resident(status), Some(7544 * 1024));
        assert_eq!(parse_resident("Name:\tpeerage\n"), None);
    }
}
