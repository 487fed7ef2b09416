//! The program run to its end, as from a shell.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Folder, Process};

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What a run that ended by itself left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// Runs `program`, a `peerage`, in a folder of its own until it ends.
pub fn run(
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Ended, String> {
    run_in(Folder::new("run")?.path(), program, arguments, variables)
}

/// As [`run`], in a folder that is there.
pub fn run_in(
    folder: &Path,
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Ended, String> {
    let outputs = Folder::new("run")?;
    let mut process = start(program, arguments, variables, folder, &outputs)?;
    let code = process.ended(LIMIT)?;
    Ok(Ended { code, stdout: process.output(), stderr: process.log() })
}

/// Starts `program` in `folder`, with nothing of its own in the environment but `variables`. What
/// it prints goes to files in `outputs`.
pub(crate) fn start(
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    folder: &Path,
    outputs: &Folder,
) -> Result<Process, String> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERAGE__") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder);
    let (output, log) = (outputs.path().join("output"), outputs.path().join("log"));
    Process::start_apart("peerage", &mut command, &output, &log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_has_code_and_both_outputs() {
        let script = "echo $X; echo log >&2; exit 3";
        let ended = run(Path::new("sh"), &["-c", script], &[("X", "y")]);
        let expected = Ended { code: Some(3), stdout: "y\n".into(), stderr: "log\n".into() };
        assert_eq!(ended, Ok(expected));
    }
}
