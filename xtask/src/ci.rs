//! `cargo xtask ci`: everything CI runs, in one go, with the time each step took.
//!
//! A step that fails does not keep the others from running: one run tells all there is to mend.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::shell::{Outcome, Workspace, cache_dir};
use crate::{clippy, deny, doc, fmt, fuzz, test, tidy, ui};

type Step = (&'static str, fn(&Workspace, &[String]) -> Outcome);

/// The test command first: it is what people run most. Then what is quick to mend.
const STEPS: [Step; 8] = [
    ("test", test::run),
    ("fuzz", fuzz::short),
    ("fmt", fmt::run),
    ("clippy", clippy::run),
    ("doc", doc::run),
    ("deny", deny::run),
    ("ui", ui::check),
    ("tidy", tidy::run),
];

/// The shared target directory is emptied above this, since nothing else ever removes what old
/// commits left in it. A build from nothing takes about 2 GB.
const TARGET_BYTES_MAX: u64 = 12 << 30;

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    let shared = shared_target_dir();
    let target_dir = shared.as_ref().map(|shared| shared.path.clone());
    let workspace = Workspace { root: workspace.root.clone(), target_dir };
    let mut report = Vec::new();
    for (name, step) in STEPS {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let outcome = step(&workspace, &[]);
        if let Err(what) = &outcome {
            eprintln!("== {name} FAILED: {what}");
        }
        report.push((name, started.elapsed(), outcome));
    }
    summary(&report)
}

fn summary(report: &[(&str, Duration, Outcome)]) -> Outcome {
    eprintln!("\n== summary");
    for (name, took, outcome) in report {
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        eprintln!("{name:8} {:7.1} s  {verdict}", took.as_secs_f64());
    }
    let total: Duration = report.iter().map(|(_, took, _)| took).sum();
    eprintln!("{:8} {:7.1} s", "all", total.as_secs_f64());
    let failed = report.iter().filter(|(_, _, outcome)| outcome.is_err());
    let failed: Vec<&str> = failed.map(|&(name, ..)| name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// A target directory outside the clone, ours for as long as this lives.
struct SharedTarget {
    path: PathBuf,
    lock: PathBuf,
}

impl Drop for SharedTarget {
    fn drop(&mut self) {
        // Left behind it does no harm: its process is gone.
        let _ = fs::remove_file(&self.lock);
    }
}

/// The target directory of the cache, where this is CI and the caller has chosen none.
///
/// Only one clone uses it at a time: two would replace each other's `peerage` between build and
/// test. The second builds in its own clone, slower and right.
fn shared_target_dir() -> Option<SharedTarget> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("CARGO_TARGET_DIR") || !is_set("CI") {
        return None;
    }
    let shared = match cache_dir().and_then(|cache| claim(&cache)) {
        Ok(shared) => shared,
        Err(why) => {
            eprintln!("ci: building in the clone, without the shared cache: {why}");
            return None;
        }
    };
    let bytes = bytes_below(&shared.path);
    eprintln!("ci: building in {} ({} MB there)", shared.path.display(), bytes >> 20);
    if bytes > TARGET_BYTES_MAX {
        eprintln!("ci: that is too much, emptying it");
        if let Err(error) = fs::remove_dir_all(&shared.path) {
            eprintln!("ci: it cannot be emptied, going on: {error}");
        }
    }
    Some(shared)
}

/// Takes the target directory in `cache`, unless a process that is alive has it.
fn claim(cache: &Path) -> Result<SharedTarget, String> {
    let lock = cache.join("target.pid");
    let alive = |pid: &str| Path::new("/proc").join(pid).is_dir();
    match fs::read_to_string(&lock) {
        Ok(pid) if !pid.is_empty() && alive(&pid) => return Err(format!("process {pid} has it")),
        _ => {}
    }
    let pid = std::process::id().to_string();
    fs::create_dir_all(cache)
        .and_then(|()| fs::write(&lock, pid))
        .map_err(|error| format!("{}: {error}", lock.display()))?;
    Ok(SharedTarget { path: cache.join("target"), lock })
}

/// Bytes of all files below `folder`, links not followed; what cannot be read counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_every_step_that_failed() {
        let took = Duration::from_secs(1);
        let failed = || Err("for a reason".to_owned());
        assert_eq!(summary(&[("a", took, Ok(()))]), Ok(()));
        let report = [("a", took, failed()), ("b", took, Ok(())), ("c", took, failed())];
        assert_eq!(summary(&report), Err("failed: a, c".to_owned()));
    }

    #[test]
    fn shared_target_belongs_to_one_living_process() {
        let cache = std::env::temp_dir().join(format!("peerage-xtask-{}", std::process::id()));
        let shared = claim(&cache).expect("nobody has it");
        assert!(claim(&cache).is_err(), "we have it and are alive");
        drop(shared);
        // A process that was killed leaves its number behind; no process has this one.
        fs::write(cache.join("target.pid"), u32::MAX.to_string()).expect("the folder is ours");
        let shared = claim(&cache).expect("its process is gone");
        fs::write(cache.join("file"), [0; 1000]).expect("the folder is ours");
        assert!(bytes_below(&cache) >= 1000);
        drop(shared);
        fs::remove_dir_all(cache).expect("the folder is ours");
    }
}
