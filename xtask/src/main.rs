//! The one door to tooling: `cargo xtask <task>`.
//!
//! A task is a file of this crate with a `run`. There are no dependencies, so that the door opens
//! within seconds of a clone; what a task needs beyond a Rust toolchain is installed by [`setup`].

#![forbid(unsafe_code)]

mod bench;
mod ci;
mod clippy;
mod deny;
mod doc;
mod fmt;
mod fuzz;
mod setup;
mod shell;
mod test;
mod tidy;
mod ui;

use std::process::ExitCode;

use shell::{Outcome, Workspace};

/// A task by name. `arguments` is what the help says may follow the name.
struct Task {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[String]) -> Outcome,
}

const TASKS: [Task; 11] = [
    Task {
        name: "test",
        arguments: "[test arguments]",
        about: "install what the tests need, then run every test of the workspace",
        run: test::run,
    },
    Task {
        name: "ci",
        arguments: "",
        about: "everything CI runs: test, a short fuzz, fmt, clippy, doc, deny, ui, tidy",
        run: ci::run,
    },
    Task {
        name: "fmt",
        arguments: "[--fix]",
        about: "check that the code is formatted; --fix formats it",
        run: fmt::run,
    },
    Task {
        name: "clippy",
        arguments: "",
        about: "lint every target of the workspace and of fuzz, a warning is an error",
        run: clippy::run,
    },
    Task {
        name: "doc",
        arguments: "",
        about: "build the documentation, a warning is an error",
        run: doc::run,
    },
    Task {
        name: "deny",
        arguments: "",
        about: "check licences, duplicates and sources of all dependencies (cargo-deny)",
        run: deny::run,
    },
    Task {
        name: "tidy",
        arguments: "",
        about: "hold the sizes, names and arrows of STYLE.md; takes a second",
        run: tidy::run,
    },
    Task {
        name: "ui",
        arguments: "[--check]",
        about: "build the pages to ui/dist; --check fails if it differs from the commit",
        run: ui::run,
    },
    Task {
        name: "setup",
        arguments: "",
        about: "install what tests and checks need, only what is missing",
        run: setup::run,
    },
    Task {
        name: "fuzz",
        arguments: "[target] [seconds]",
        about: "fuzz one parser or each in turn, 60 s by default (cargo-fuzz)",
        run: fuzz::run,
    },
    Task {
        name: "bench",
        arguments: "<name> [arguments]",
        about: "run a benchmark of the package peerage-bench, built for release",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) if !matches!(name.as_str(), "help" | "-h" | "--help") => (name, rest),
        _ => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprint!("xtask: no task is called `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    match (task.run)(&Workspace::find(), rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("xtask {name}: {what}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut help = String::from("cargo xtask <task>: the one door to tooling\n\n");
    for Task { name, arguments, about, .. } in &TASKS {
        help.push_str(&format!("  {:24} {about}\n", format!("{name} {arguments}")));
    }
    help.push_str(
        "
What is installed goes through apt-get (Debian packages, with sudo where needed), pip (into a
virtual environment), npm ci and cargo install; the last three write to the cache directory only,
which is XDG_CACHE_HOME or ~/.cache, folder peerage. Delete that folder to start afresh.

With CI=true and CARGO_TARGET_DIR unset, builds go to the folder `target` of the cache directory,
so that a second clone builds only what changed.
",
    );
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_task_within_100_columns() {
        let help = help();
        for task in &TASKS {
            assert!(help.contains(&format!("\n  {} ", task.name)), "{}", task.name);
        }
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
