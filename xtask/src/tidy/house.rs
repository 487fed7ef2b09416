//! The house: which crate may know which, where `unsafe` is, and where there is no `std`.
//!
//! The arrows of ARCHITECTURE.md as a table. Test code is free; so are the crates for tests.

use super::lexer::is_word;
use super::{Complaint, File};

/// A crate of the house and the crates of the house it may depend on.
const ARROWS: [(&str, &[&str]); 10] = [
    ("crates/proto", &[]),
    ("crates/swarm", &["proto"]),
    ("crates/tracker", &["proto", "swarm"]),
    ("crates/net", &[]),
    ("crates/torrent", &[]),
    ("crates/locations", &[]),
    ("crates/sql", &["proto", "tracker"]),
    ("crates/shared", &["proto", "swarm", "tracker"]),
    (
        "crates/server",
        &["proto", "swarm", "tracker", "net", "locations", "sql", "shared", "torrent"],
    ),
    ("crates/client", &["proto", "torrent"]),
];

/// No IO, no clock, no environment, no `async` in these.
const NO_STD: [&str; 3] = ["crates/proto/src", "crates/swarm/src", "crates/tracker/src"];

/// The one file in each of [`NO_STD`] that may take a lock from `std`.
const LOCK: &str = "lock.rs";

/// Where `unsafe` is argued for: system calls for batches, ours and those of the load we put on
/// ourselves, and a hint to the cache.
const UNSAFE: [&str; 3] = ["crates/net", "crates/swarm/src/prefetch.rs", "bench/src/socket.rs"];

/// A crate's `Cargo.toml` names no crate of the house but those its arrows lead to.
pub(super) fn arrows(file: &File, complaints: &mut Vec<Complaint>) {
    let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { return };
    if !folder.starts_with("crates/") {
        return;
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
        complaints.push(Complaint::new(file, 0, "a crate without arrows: draw them in xtask"));
        return;
    };
    let mut section = "";
    for (line, text) in file.text.lines().enumerate() {
        let text = text.trim();
        let dependency = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(header) => {
                section = header;
                // `[dependencies.name]` is a section for one dependency.
                header.rsplit_once("dependencies.").map_or("", |(_, name)| name)
            }
            None if section.ends_with("dependencies") => text,
            None => "",
        };
        // Whatever the key is called, `package = "…"` would name the crate as well.
        let names = dependency.split(|character: char| !is_word(character) && character != '-');
        let names = names.filter_map(|word| word.strip_prefix("peerage-"));
        let strays = names.filter(|name| !allowed.contains(name));
        for name in strays.filter(|_| !section.starts_with("dev-dependencies")) {
            let what = format!("no arrow leads from {folder} to {name}");
            complaints.push(Complaint::new(file, line + 1, what));
        }
    }
}

/// Code of the crates without IO takes nothing of the world outside.
pub(super) fn no_std(file: &File, complaints: &mut Vec<Complaint>) {
    if !NO_STD.iter().any(|folder| file.is_below(folder)) {
        return;
    }
    let is_lock = file.path.ends_with(&format!("/{LOCK}"));
    let banned = ["std", "tokio", "async", "Instant", "SystemTime"];
    for (line, word) in code_words(file) {
        if banned.contains(&word) && !(is_lock && word == "std") {
            let what = format!("`{word}` in a crate without IO, clock and async");
            complaints.push(Complaint::new(file, line, what));
        }
    }
    let is_root = file.path.ends_with("/src/lib.rs");
    if is_root && !file.text.lines().any(|line| line == "#![no_std]") {
        complaints.push(Complaint::new(file, 0, "the root of this crate has `#![no_std]`"));
    }
}

/// `unsafe` is where it is argued for, tests included.
pub(super) fn safe(file: &File, complaints: &mut Vec<Complaint>) {
    if !file.is_rust() || UNSAFE.iter().any(|place| file.path == *place || file.is_below(place)) {
        return;
    }
    let code = file.lines.iter().flat_map(|lines| &lines.code).enumerate();
    for (line, text) in code {
        if words(text).any(|word| word == "unsafe") {
            let what = format!("`unsafe` outside of {}", UNSAFE.join(" and "));
            complaints.push(Complaint::new(file, line + 1, what));
        }
    }
}

/// Each word of code that is not a test, with its line.
fn code_words(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.lines.iter().flat_map(|lines| lines.code.iter().zip(&lines.is_test));
    let code = lines.enumerate().filter(|(_, (_, is_test))| !**is_test);
    code.flat_map(|(line, (text, _))| words(text).map(move |word| (line + 1, word)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_word(character))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn arrow_that_is_not_drawn_is_found() {
        let swarm = "[package]\nname = \"peerage-swarm\"\n[dependencies]\n";
        let path = "crates/swarm/Cargo.toml";
        check(arrows, path, &format!("{swarm}peerage-proto.workspace = true\n"), &[]);
        check(arrows, path, &format!("{swarm}peerage-net.workspace = true\n"), &[4]);
        check(arrows, path, &format!("{swarm}x = {{ package = \"peerage-net\" }}\n"), &[4]);
        check(arrows, path, "[dependencies.peerage-tracker]\nworkspace = true\n", &[1]);
        check(arrows, path, "[build-dependencies]\npeerage-server = { path = \"x\" }\n", &[2]);
        check(arrows, path, "[target.'cfg(unix)'.dependencies]\npeerage-net = \"1\"\n", &[2]);
        check(arrows, path, "[dev-dependencies]\npeerage-testkit.workspace = true\n", &[]);
        check(arrows, path, "[dev-dependencies.peerage-testkit]\nworkspace = true\n", &[]);
    }

    #[test]
    fn crate_without_arrows_is_found() {
        check(arrows, "crates/new/Cargo.toml", "[package]\n", &[0]);
        check(arrows, "bench/Cargo.toml", "[dependencies]\npeerage-net = \"1\"\n", &[]);
    }

    #[test]
    fn world_outside_is_found_in_crates_without_io() {
        for text in ["use std::fs;", "let x = Instant::now();", "SystemTime", "async fn f() {}"] {
            check(no_std, "crates/proto/src/a.rs", &format!("//!\n{text}\n"), &[2]);
            check(no_std, "crates/swarm/src/a/b.rs", &format!("//!\n{text}\n"), &[2]);
            check(no_std, "crates/server/src/a.rs", &format!("//!\n{text}\n"), &[]);
            let test = format!("//!\n#[cfg(test)]\nmod tests {{\n{text}\n}}\n");
            check(no_std, "crates/tracker/src/a.rs", &test, &[]);
        }
        check(no_std, "crates/proto/src/a.rs", "//! std::fs\n#![no_std]\n", &[]);
        check(no_std, "crates/swarm/src/lock.rs", "//!\nuse std::sync;\nuse tokio;\n", &[3]);
    }

    #[test]
    fn root_without_no_std_is_found() {
        check(no_std, "crates/proto/src/lib.rs", "//!\n#![no_std]\n", &[]);
        check(no_std, "crates/proto/src/lib.rs", "//!\n// #![no_std]\n", &[0]);
    }

    #[test]
    fn unsafe_is_found_where_it_is_not_argued_for() {
        let text = "//! unsafe\n#![forbid(unsafe_code)]\nunsafe { f() }\n";
        check(safe, "crates/server/src/a.rs", text, &[3]);
        check(safe, "crates/swarm/src/lib.rs", text, &[3]);
        check(safe, "crates/net/src/a.rs", text, &[]);
        check(safe, "crates/network/src/a.rs", text, &[3]);
        check(safe, "crates/swarm/src/prefetch.rs", text, &[]);
    }
}
