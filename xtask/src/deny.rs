//! `cargo xtask deny`: licences, duplicate versions and sources of every dependency.
//!
//! Advisories are not checked: their database is a git repository that a machine with package
//! registries alone cannot reach. The output says so each time.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Outcome, Workspace, cache_dir};

/// What `deny.toml` is written for.
const VERSION: &str = "0.20.2";

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    let program = install()?;
    let checks = ["--locked", "check", "bans", "licenses", "sources"];
    let outcome = shell::run(Command::new(program).current_dir(&workspace.root).args(checks));
    eprintln!("deny: advisories were NOT checked, for want of their database");
    outcome
}

/// Builds cargo-deny once into the cache directory, unoptimized: that is a minute on two cores,
/// optimized it is several, and it runs for a second. A cargo-deny on the path is not used, since
/// its version may read `deny.toml` differently.
pub(crate) fn install() -> Result<PathBuf, String> {
    let root = cache_dir()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin").join("cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!(
        "deny: building cargo-deny {VERSION} once, into the cache directory (1 to 2 minutes)"
    );
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--debug", "--quiet"]);
    cargo.args(["--no-default-features", "--root"]).arg(&root);
    // A target directory of its own, thrown away with all that only the build needs.
    let target = root.join("target");
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", &target);
    let outcome = shell::run(&mut cargo);
    // Whatever is left of it costs disk and nothing else.
    let _ = std::fs::remove_dir_all(target);
    outcome
        .map_err(|what| format!("{what}; cargo-deny cannot be had, is the registry reached?"))?;
    Ok(program)
}
