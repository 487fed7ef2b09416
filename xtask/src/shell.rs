//! What every task needs: where the workspace is, and commands that say how they failed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A task is done, or: what failed and what to do about it, for the one who called it.
pub(crate) type Outcome = Result<(), String>;

/// The workspace this program was built from, and where its builds go.
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Set where cargo is to build elsewhere than it would by itself.
    pub(crate) target_dir: Option<PathBuf>,
}

impl Workspace {
    /// Cargo tells where this package is; run by hand, it is where it was built.
    pub(crate) fn find() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&package).parent().expect("xtask is a folder of the workspace");
        Self { root: root.to_owned(), target_dir: None }
    }

    /// `cargo` with `arguments`, to be run in the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(arguments);
        if let Some(target_dir) = &self.target_dir {
            command.env("CARGO_TARGET_DIR", target_dir);
        }
        command
    }
}

/// Runs `command` with its output shown.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = show(command);
    eprintln!("+ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` did not start: {error}")),
    }
}

/// Whether `command` can be started and ends well. Its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What `command` writes to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = show(command);
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)
            .map_err(|_| format!("`{shown}` wrote something that is not UTF-8")),
        Ok(output) => Err(format!("`{shown}` ended with {}", output.status)),
        Err(error) => Err(format!("`{shown}` did not start: {error}")),
    }
}

/// Where a program of this name would be run from, if anywhere.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folder all tasks may fill, outside of any clone.
pub(crate) fn cache_dir() -> Result<PathBuf, String> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .map(|cache| cache.join("peerage"))
        .ok_or_else(|| "no cache directory: set HOME or XDG_CACHE_HOME".to_owned())
}

/// The command as one would type it, for a message.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        shown.push(' ');
        // The root's script of `setup` has many lines; the first is enough to know it by.
        shown.push_str(argument.to_string_lossy().lines().next().unwrap_or_default());
    }
    shown
}
