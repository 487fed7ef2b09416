//! `cargo xtask doc`: the documentation of every crate, a warning is an error.

use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    let arguments = ["doc", "--workspace", "--no-deps", "--locked"];
    shell::run(workspace.cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings"))
}
