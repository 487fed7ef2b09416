//! Reading location files, and what is said of them in the log.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use peerage_locations::{Builder, Error, Report};
use tracing::{debug, error, info, warn};

use super::{Credit, Loaded, Shared, Status, Wanted, search};
use crate::clock::Clock;
use crate::stop::Stop;

/// Most bytes of an `.mmdb` file, all of which is held while it is read: some eight times what
/// there is today.
const MMDB_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a CSV file that are read at once.
const CSV_BUFFER_BYTES: usize = 64 << 10;

/// Puts into force what is asked for.
pub(super) struct Loader {
    shared: Shared,
    clock: Clock,
    stop: Stop,
    /// Of what is in force.
    seen: Vec<Seen>,
    /// Whether it was said that there is nothing, and has been so since.
    told_nothing: bool,
}

/// A file as it was when it was opened.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Loader {
    /// With nothing in force.
    pub(super) fn new(shared: Shared, clock: Clock, stop: Stop) -> Self {
        Self { shared, clock, stop, seen: Vec::new(), told_nothing: false }
    }

    /// Reads what is wanted. If any of it is wrong, what is in force stays in force; where nothing
    /// is, that which is right comes into force.
    pub(super) fn load(&mut self, wanted: &Wanted) {
        let files = match wanted {
            Wanted::Nothing => return self.unload(),
            Wanted::Files(files) => files.clone(),
            Wanted::Search(folders) => {
                let files = search::search(folders);
                if files.is_empty() {
                    if !std::mem::replace(&mut self.told_nothing, true) {
                        info!("locations: no file found, so the map shows no points");
                    }
                    return self.unload();
                }
                files
            }
        };
        self.told_nothing = false;
        let seen: Vec<Seen> = files.iter().filter_map(|file| Seen::now(file)).collect();
        if self.shared.is_loaded() && seen.len() == files.len() && seen == self.seen {
            debug!("locations: the files are as they were");
            return;
        }
        let started = Instant::now();
        match self.read(&files) {
            Read::Right(loaded) => {
                let Status { file, rows, bytes, .. } = &loaded.status;
                let secs = started.elapsed().as_secs_f32();
                info!("locations: {rows} ranges in {bytes} bytes from {file}, read in {secs:.1} s");
                self.shared.set(Some(loaded));
                self.seen = seen;
            }
            Read::Wrong if self.shared.is_loaded() => {
                error!("a location file is wrong, the old ones stay in force");
            }
            Read::Wrong => error!("locations: no file can be used, so the map shows no points"),
            Read::Stopped => {}
        }
    }

    fn unload(&mut self) {
        self.seen.clear();
        self.shared.set(None);
    }

    fn read(&self, files: &[PathBuf]) -> Read {
        let go_on = || !self.stop.is_requested();
        let mut builder = Builder::new(&go_on);
        let (mut names, mut attribution) = (Vec::new(), Vec::new());
        for path in files {
            if !builder.wants_more() {
                debug!("{} is not needed: others have all there is", path.display());
                continue;
            }
            let rows_before = builder.rows();
            match read_file(&mut builder, path) {
                Ok(report) if builder.rows() == rows_before => {
                    tell(path, &report);
                    info!("{} has nothing that others have not", path.display());
                }
                Ok(report) => {
                    tell(path, &report);
                    let credit = report.provider.attribution().map(Credit::from);
                    attribution.extend(credit.filter(|credit| !attribution.contains(credit)));
                    names.extend(path.file_name().map(|name| name.to_string_lossy()));
                }
                Err(Error::Stopped) => return Read::Stopped,
                Err(error) => {
                    if let Error::Broken(report) = &error {
                        tell(path, report);
                    }
                    error!("{} cannot be used: {error}", path.display());
                    if self.shared.is_loaded() {
                        return Read::Wrong;
                    }
                }
            }
        }
        if names.is_empty() {
            return Read::Wrong;
        }
        let locations = Arc::new(builder.finish());
        let status = Status {
            file: names.join(", "),
            rows: locations.rows(),
            bytes: locations.bytes(),
            loaded_at_secs: self.clock.now().as_secs(),
            attribution,
        };
        Read::Right(Loaded { locations, status })
    }
}

/// What reading came to.
enum Read {
    Right(Loaded),
    Wrong,
    /// The tracker stops.
    Stopped,
}

impl Seen {
    /// `None` where there is no such file.
    fn now(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        let modified = metadata.modified().ok();
        Some(Self { path: path.into(), bytes: metadata.len(), modified })
    }
}

fn read_file(builder: &mut Builder<'_>, path: &Path) -> Result<Report, Error> {
    let metadata = path.metadata()?;
    // A pipe may wait for ever to be opened, and a device may have no end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file").into());
    }
    let file = File::open(path)?;
    let is_mmdb = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("mmdb"));
    if is_mmdb {
        builder.read_mmdb(&read_whole(file, &metadata)?)
    } else {
        builder.read_csv(BufReader::with_capacity(CSV_BUFFER_BYTES, file))
    }
}

/// All of a file, in one block of its size.
fn read_whole(file: File, metadata: &Metadata) -> io::Result<Vec<u8>> {
    if metadata.len() > MMDB_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {MMDB_BYTES_MAX} bytes")));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(metadata.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says which lines are broken.
fn tell(path: &Path, report: &Report) {
    for complaint in &report.complaints {
        warn!("{}:{}: {}", path.display(), complaint.at, complaint.fault);
    }
    let told = report.complaints.len() as u64;
    if report.broken > told {
        warn!("{}: {} more lines are broken", path.display(), report.broken - told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_testkit::Folder;
    use peerage_testkit::places::Places;

    const PLACES: Places = Places { seed: 3, ipv4: 500, ipv6: 300 };

    fn loader() -> (Shared, Loader) {
        let shared = Shared::default();
        (shared.clone(), Loader::new(shared, Clock::start(), Stop::default()))
    }

    fn write_csv(folder: &Folder, name: &str, places: Places) -> PathBuf {
        let path = folder.path().join(name);
        places.write_csv(&mut File::create(&path).unwrap()).unwrap();
        path
    }

    fn write_mmdb(folder: &Folder, name: &str, places: Places) -> PathBuf {
        let path = folder.path().join(name);
        places.write_mmdb(File::create(&path).unwrap()).unwrap();
        path
    }

    #[track_caller]
    fn check(shared: &Shared, places: Places) {
        let locations = shared.now().expect("locations in force");
        for network in places.networks() {
            let found = locations.find(network.first).map(|place| place.country);
            assert_eq!(found, network.city.map(|city| city.country), "{}", network.first);
        }
    }

    #[test]
    fn file_of_either_form_is_read_and_told() {
        let folder = Folder::new("load").unwrap();
        for path in [write_csv(&folder, "a.CSV", PLACES), write_mmdb(&folder, "b.Mmdb", PLACES)] {
            let (shared, mut loader) = loader();
            assert!(!shared.is_loaded());
            loader.load(&Wanted::Files(vec![path.clone()]));
            check(&shared, PLACES);
            let status = shared.status().unwrap();
            assert_eq!(status.file, path.file_name().unwrap().to_str().unwrap());
            assert!(status.rows > 700, "{status:?}");
            assert!(status.bytes < 13 * status.rows, "{status:?}");
            assert_eq!(status.attribution.len(), 1);
            loader.load(&Wanted::Nothing);
            assert!(!shared.is_loaded());
            assert_eq!(shared.status(), None);
        }
    }

    #[test]
    fn families_of_two_files_are_put_together() {
        let folder = Folder::new("load").unwrap();
        let ipv4 = Places { ipv6: 0, ..PLACES };
        write_csv(&folder, "IP2LOCATION-LITE-DB5.CSV", ipv4);
        write_mmdb(&folder, "GeoLite2-City.mmdb", PLACES);
        write_mmdb(&folder, "dbip-city-lite-2026-11.mmdb", PLACES);
        write_csv(&folder, "IP2LOCATION-LITE-DB11.CSV", ipv4);
        let (shared, mut loader) = loader();
        loader.load(&Wanted::Search(vec![folder.path().join("no"), folder.path().into()]));
        check(&shared, PLACES);
        let status = shared.status().unwrap();
        assert_eq!(status.file, "IP2LOCATION-LITE-DB5.CSV, GeoLite2-City.mmdb");
        assert_eq!(status.attribution.len(), 2);
    }

    #[test]
    fn wrong_file_leaves_the_old_ones_in_force() {
        let folder = Folder::new("load").unwrap();
        let path = write_csv(&folder, "a.csv", PLACES);
        let missing = folder.path().join("missing.csv");
        let (shared, mut loader) = loader();
        loader.load(&Wanted::Files(vec![missing.clone()]));
        assert!(!shared.is_loaded());
        // Where there is nothing to lose, the right one is used.
        loader.load(&Wanted::Files(vec![missing.clone(), path.clone()]));
        check(&shared, PLACES);
        let before = shared.now().unwrap();
        let nonsense = PathBuf::from(folder.write("nonsense.mmdb", "nonsense").unwrap());
        for wrong in [missing, PathBuf::from("/dev/zero"), nonsense, folder.path().into()] {
            loader.load(&Wanted::Files(vec![wrong, path.clone()]));
            assert!(Arc::ptr_eq(&before, &shared.now().unwrap()));
        }
    }

    #[test]
    fn file_is_read_again_once_it_has_changed() {
        let folder = Folder::new("load").unwrap();
        let wanted = Wanted::Files(vec![write_csv(&folder, "a.csv", PLACES)]);
        let (shared, mut loader) = loader();
        loader.load(&wanted);
        let first = shared.now().unwrap();
        loader.load(&wanted);
        assert!(Arc::ptr_eq(&first, &shared.now().unwrap()));
        let other = Places { seed: 4, ipv4: 501, ..PLACES };
        write_csv(&folder, "a.csv", other);
        loader.load(&wanted);
        check(&shared, other);
        // Who holds the first ones can still ask them.
        let network = PLACES.networks().find(|network| network.city.is_some()).unwrap();
        assert!(first.find(network.first).is_some());
    }

    #[test]
    fn stop_ends_the_reading() {
        let folder = Folder::new("load").unwrap();
        let many = Places { ipv4: 10_000, ..PLACES };
        let wanted = Wanted::Files(vec![write_csv(&folder, "a.csv", many)]);
        let stop = Stop::default();
        stop.request();
        let shared = Shared::default();
        Loader::new(shared.clone(), Clock::start(), stop).load(&wanted);
        assert!(!shared.is_loaded());
    }
}
