//! `cargo xtask clippy`: every target linted, a warning is an error.

use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    shell::run(&mut workspace.cargo(&arguments))
}
