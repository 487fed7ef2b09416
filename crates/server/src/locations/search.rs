//! Location files by their usual names.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// What the names begin and end with as they are handed out, in capitals: those for IPv4 first,
/// which IP2Location keeps apart. Between the two stands at most a date.
const NAMES: [(&str, &str); 8] = [
    ("IP2LOCATION-LITE-DB5", ".CSV"),
    ("IP2LOCATION-LITE-DB9", ".CSV"),
    ("IP2LOCATION-LITE-DB11", ".CSV"),
    ("IP2LOCATION-LITE-DB5.IPV6", ".CSV"),
    ("IP2LOCATION-LITE-DB9.IPV6", ".CSV"),
    ("IP2LOCATION-LITE-DB11.IPV6", ".CSV"),
    ("GEOLITE2-CITY", ".MMDB"),
    ("DBIP-CITY-LITE", ".MMDB"),
];

/// The files of the first folder that has any, in the order in which they are to be read; of those
/// that differ by their date, the latest. A folder that cannot be read has none.
pub(super) fn search(folders: &[PathBuf]) -> Vec<PathBuf> {
    let found = folders.iter().map(|folder| files(folder));
    found.into_iter().find(|files| !files.is_empty()).unwrap_or_default()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(usize, Reverse<PathBuf>)> = entries
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let rank = rank(entry.file_name().to_str()?)?;
            Some((rank, Reverse(entry.path())))
        })
        .collect();
    found.sort();
    found.dedup_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, Reverse(path))| path).collect()
}

/// The place of a name among [`NAMES`].
fn rank(name: &str) -> Option<usize> {
    let name = name.to_ascii_uppercase();
    let is_date =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b"-_".contains(&byte));
    NAMES.iter().position(|(start, end)| {
        let rest = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
        rest.is_some_and(is_date)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_testkit::Folder;

    #[test]
    fn files_are_found_by_their_names_in_the_first_folder_that_has_any() {
        let [empty, folder, later] = [(); 3].map(|()| Folder::new("search").unwrap());
        for name in [
            "dbip-city-lite-2026-10.mmdb",
            "dbip-city-lite-2026-11.mmdb",
            "dbip-city-lite-2025-12.mmdb",
            "dbip-asn-lite-2026-11.mmdb",
            "dbip-city-lite-2026-11.mmdb.gz",
            "GeoLite2-City.mmdb",
            "GeoLite2-Country.mmdb",
            "IP2LOCATION-LITE-DB5.IPV6.CSV",
            "IP2LOCATION-LITE-DB5.CSV",
            "IP2LOCATION-LITE-DB1.CSV",
            "IP2LOCATION-LITE-DB5.CSV.old",
            "README",
        ] {
            folder.write(name, "").unwrap();
        }
        later.write("GeoLite2-City.mmdb", "").unwrap();
        let nowhere = empty.path().join("no-such-folder");
        let folders = [&nowhere, empty.path(), folder.path(), later.path()].map(PathBuf::from);
        let found: Vec<_> = search(&folders)
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned())
            .collect();
        let wanted = [
            "IP2LOCATION-LITE-DB5.CSV",
            "IP2LOCATION-LITE-DB5.IPV6.CSV",
            "GeoLite2-City.mmdb",
            "dbip-city-lite-2026-11.mmdb",
        ];
        assert_eq!(found, wanted);
        assert_eq!(search(&folders[..2]), Vec::<PathBuf>::new());
    }
}
