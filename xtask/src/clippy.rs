//! `cargo xtask clippy`: every target linted, a warning is an error.

use crate::fuzz;
use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    let whole = ["clippy", "--workspace", "--all-targets", "--locked"];
    let whole = shell::run(workspace.cargo(&whole).args(DENY));
    let mut of_fuzz = workspace.cargo(&["clippy", "--all-targets"]);
    whole.and(shell::run(of_fuzz.args(fuzz::PACKAGE).args(DENY)))
}
