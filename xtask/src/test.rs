//! `cargo xtask test`: every test of the workspace, none skipped.
//!
//! The tests run the `peerage` that cargo builds beside them (`CARGO_BIN_EXE_peerage`), with
//! overflow checks and debug assertions on: what is wrong with it should show here.

use crate::setup;
use crate::shell::{self, Outcome, Workspace};

/// Runs every test, with cargo-nextest where it is installed. `arguments` go to the test runner,
/// and doc tests are left out then.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    setup::for_tests(workspace)?;
    if shell::find_program("cargo-nextest").is_none() {
        let cargo = ["test", "--workspace", "--locked", "--no-fail-fast"];
        return shell::run(workspace.cargo(&cargo).args(arguments));
    }
    // Nextest leaves doc tests out. They come first, so that its summary is the last line.
    let documentation = if arguments.is_empty() {
        shell::run(&mut workspace.cargo(&["test", "--doc", "--workspace", "--locked"]))
    } else {
        Ok(())
    };
    let cargo = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"];
    documentation.and(shell::run(workspace.cargo(&cargo).args(arguments)))
}
