//! `cargo xtask ui`: builds the pages, `ui/` to `ui/dist`, which is committed.
//!
//! Nobody needs Node to build the tracker; who changes the pages runs this. With `--check`, as in
//! `ci`, the build goes elsewhere and has to be what is committed, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Outcome, Workspace, cache_dir};

/// What says which packages are installed.
const PACKAGES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Where the build of a check goes, below the root.
const CHECKED: &str = "target/ui-dist";

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    match arguments {
        [] => {
            prepare(workspace)?;
            shell::run(&mut npm(workspace, "build", &[]))
        }
        [flag] if flag == "--check" => check(workspace, &[]),
        _ => Err("takes --check or nothing".to_owned()),
    }
}

/// Types, tests, and a build that has to be what is committed.
pub(crate) fn check(workspace: &Workspace, _: &[String]) -> Outcome {
    prepare(workspace)?;
    let built = workspace.root.join(CHECKED);
    let folder = built.to_string_lossy();
    shell::run(&mut npm(workspace, "build", &["--", "--emptyOutDir", "--outDir", &folder]))?;
    let failed = |error: io::Error| format!("ui/dist cannot be compared: {error}");
    let committed = files(&workspace.root.join("ui/dist")).map_err(failed)?;
    let differ = differences(&committed, &files(&built).map_err(failed)?);
    match differ.as_slice() {
        [] => Ok(()),
        differ => Err(format!(
            "ui/dist is not what ui/ builds to: {}; run `cargo xtask ui` and commit ui/dist",
            differ.join(", ")
        )),
    }
}

/// Installs the packages, and checks and tests the sources.
fn prepare(workspace: &Workspace) -> Outcome {
    install(workspace)?;
    shell::run(&mut npm(workspace, "check", &[]))?;
    shell::run(&mut npm(workspace, "test", &[]))
}

/// `npm run` of a script of `ui/package.json`.
fn npm(workspace: &Workspace, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(workspace.root.join("ui")).args(["run", "--silent", script]);
    command.args(arguments);
    command
}

/// Installs what the pages are built and tested with, as the lock file has it, into the cache
/// directory, once for each content of the lock file; `ui/node_modules` is a link to it.
pub(crate) fn install(workspace: &Workspace) -> Outcome {
    let ui = workspace.root.join("ui");
    let failed = |what: &Path, error: io::Error| format!("{}: {error}", what.display());
    let mut hasher = DefaultHasher::new();
    for name in PACKAGES {
        let path = ui.join(name);
        fs::read(&path).map_err(|error| failed(&path, error))?.hash(&mut hasher);
    }
    let cache = cache_dir()?.join("ui");
    let installed = cache.join(format!("{:016x}", hasher.finish()));
    if !installed.exists() {
        install_to(&ui, &cache, &installed)?;
    }
    let (link, target) = (ui.join("node_modules"), installed.join("node_modules"));
    if fs::read_link(&link).is_ok_and(|there| there == target) {
        return Ok(());
    }
    // What a plain `npm install` has left there would be used instead of what the lock file says.
    let removed = match fs::symlink_metadata(&link) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&link),
        Ok(_) => fs::remove_file(&link),
        Err(_) => Ok(()),
    };
    removed
        .and_then(|()| std::os::unix::fs::symlink(&target, &link))
        .map_err(|error| failed(&link, error))
}

/// Installs beside the place and moves it there, so that what is there is whole.
fn install_to(ui: &Path, cache: &Path, installed: &Path) -> Outcome {
    if shell::find_program("npm").is_none() {
        return Err("npm is missing: `cargo xtask setup` installs it".to_owned());
    }
    let unfinished = cache.join(format!("unfinished-{}", std::process::id()));
    let copied = fs::create_dir_all(&unfinished).and_then(|()| {
        PACKAGES
            .iter()
            .try_for_each(|name| fs::copy(ui.join(name), unfinished.join(name)).map(|_| ()))
    });
    copied.map_err(|error| format!("{}: {error}", unfinished.display()))?;
    eprintln!("ui: installing npm packages into {}", installed.display());
    let mut npm = Command::new("npm");
    npm.current_dir(&unfinished).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let outcome = shell::run(&mut npm);
    let moved = outcome.and_then(|()| {
        // Another clone may have been faster; then what is there is the same.
        fs::rename(&unfinished, installed).or_else(|error| match installed.exists() {
            true => Ok(()),
            false => Err(format!("{}: {error}", installed.display())),
        })
    });
    let _ = fs::remove_dir_all(&unfinished);
    moved.map_err(|what| format!("{what}; the pages need their npm packages: is npm reached?"))
}

/// Every file below `folder` by its path there.
fn files(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(folder).expect("it is below").to_owned();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// The files that differ, or that only one of both has.
fn differences(
    committed: &BTreeMap<PathBuf, Vec<u8>>,
    built: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<String> {
    let mut paths: Vec<&PathBuf> = committed.keys().chain(built.keys()).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| committed.get(*path) != built.get(*path));
    paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_differs_or_is_missing_on_one_side_is_named() {
        let folder = std::env::temp_dir().join(format!("peerage-ui-{}", std::process::id()));
        for (path, text) in
            [("a/same", "1"), ("b/same", "1"), ("a/in/x", "1"), ("b/in/x", "2"), ("b/new", "1")]
        {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("ours");
            fs::write(&path, text).expect("the folder is ours");
        }
        let read = |name| files(&folder.join(name)).expect("they were just written");
        assert_eq!(differences(&read("a"), &read("b")), ["in/x", "new"]);
        assert_eq!(differences(&read("b"), &read("b")), [""; 0]);
        fs::remove_dir_all(folder).expect("the folder is ours");
    }
}
