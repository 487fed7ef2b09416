//! What the database daemons have in common: no test's daemon outlives it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use crate::Process;

/// How a daemon is run.
pub(crate) struct Daemon<'a> {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// The system's user it runs as; `None` for our own.
    pub(crate) user: Option<&'a str>,
    pub(crate) log: PathBuf,
}

impl Daemon<'_> {
    /// Starts it. The system kills it when this process ends, however that comes.
    pub(crate) fn start(self) -> Result<Process, String> {
        let mut command = as_user(self.user, Some("KILL"), &self.program);
        command.args(&self.arguments);
        let (name, log) = (self.name, self.log);
        let (sender, started) = mpsc::channel();
        // The system kills it at the end of the thread that started it, so that thread never ends
        // before the process does: one that waits, for each daemon of a test.
        thread::spawn(move || {
            let process = Process::start(name, &mut command, &log);
            // The receiver waits below.
            let _ = sender.send(process);
            loop {
                thread::park();
            }
        });
        started.recv().expect("the thread sends before it waits")
    }
}

/// A command that runs `program` as `user` of the system, and is sent the signal `on_death` when
/// the thread that started it ends.
pub(crate) fn as_user(user: Option<&str>, on_death: Option<&str>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(signal) = on_death {
        command.args(["--pdeathsig", signal]);
    }
    if let Some(user) = user {
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// Where `program` is: on the path, or in one of `folders`.
pub(crate) fn find(program: &str, folders: &[PathBuf]) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    let mut places = on_path.chain(folders.iter().cloned()).map(|folder| folder.join(program));
    places
        .find(|place| place.is_file())
        .ok_or_else(|| format!("there is no {program} here: `cargo xtask setup` installs it"))
}

/// Runs `command` to its end; its output, or what it said of its failure.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let also = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(format!("{program} ended with {}: {also}{said}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this process is root's, as its own files are.
pub(crate) fn is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

/// The lines of a reply as rows of columns.
pub(crate) fn rows(text: &str, separator: char) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(separator).map(str::to_owned).collect()).collect()
}
