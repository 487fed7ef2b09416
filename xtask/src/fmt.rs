//! `cargo xtask fmt`: the code is formatted as `rustfmt.toml` says.

use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    let check: &[&str] = match arguments {
        [] => &["--check"],
        [fix] if fix == "--fix" => &[],
        _ => return Err("takes --fix or nothing".to_owned()),
    };
    // Without `--all`, which would format the crates of the workspace a second time.
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml"];
    let whole = shell::run(workspace.cargo(&["fmt", "--all"]).args(check));
    whole
        .and(shell::run(workspace.cargo(&fuzz).args(check)))
        .map_err(|what| format!("{what}; `cargo xtask fmt --fix` formats it"))
}
