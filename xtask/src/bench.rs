//! `cargo xtask bench <name>`: the benchmarks of the package `peerage-bench`, built for release.

use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    let cargo = ["run", "--release", "--locked", "--package", "peerage-bench", "--"];
    shell::run(workspace.cargo(&cargo).args(arguments))
}
