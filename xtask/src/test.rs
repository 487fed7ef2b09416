//! `cargo xtask test`: every test of the workspace, none skipped.
//!
//! The tests run the `peerage` that cargo builds beside them (`CARGO_BIN_EXE_peerage`), with
//! overflow checks and debug assertions on: what is wrong with it should show here.

use std::thread;

use crate::setup;
use crate::shell::{self, Outcome, Workspace};

/// How many tests nextest runs at once.
const THREADS: &str = "NEXTEST_TEST_THREADS";

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
    let mut nextest =
        workspace.cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    if std::env::var_os(THREADS).is_none() {
        // Most of a run is waiting: for clients, for databases that are away, for expiry.
        let threads = 2 * thread::available_parallelism().map_or(2, usize::from);
        nextest.env(THREADS, threads.to_string());
    }
    documentation.and(shell::run(nextest.args(arguments)))
}
