//! `cargo xtask fmt`: the code is formatted as `rustfmt.toml` says.

use crate::shell::{self, Outcome, Workspace};

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    match arguments {
        [] => shell::run(&mut workspace.cargo(&["fmt", "--all", "--check"]))
            .map_err(|what| format!("{what}; `cargo xtask fmt --fix` formats it")),
        [fix] if fix == "--fix" => shell::run(&mut workspace.cargo(&["fmt", "--all"])),
        _ => Err("takes --fix or nothing".to_owned()),
    }
}
