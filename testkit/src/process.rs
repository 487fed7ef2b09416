//! A program under test: its log in a file, ended by its process id.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Wait, wait_for};

/// Most lines of a log in a message.
const LOG_LINES_MAX: usize = 40;

/// What a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl-C does.
    Interrupt,
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGKILL: it is given no chance to say anything.
    Kill,
}

/// A running program. Killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`. What it writes, to either output, goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{name} does not start: {error}");
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let command = command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().expect("it was started with a pipe");
        let line = format!("{line}\n");
        let told = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        told.map_err(|error| self.explain(&format!("it does not listen: {error}")))
    }

    /// Sends `signal`. A process that has ended is not told anything.
    pub fn signal(&mut self, signal: Signal) -> Result<(), String> {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return Ok(());
        }
        let name = match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Hangup => "HUP",
            Signal::Kill => "KILL",
        };
        // The standard library can only kill; the shell's own `kill` needs no further program.
        let script = format!("kill -{name} {}", self.id());
        match Command::new("sh").args(["-c", &script]).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{script}` ended with {status}")),
            Err(error) => Err(format!("`{script}` does not start: {error}")),
        }
    }

    /// Waits for it to end; its exit code, or `None` where a signal ended it.
    pub fn ended(&mut self, limit: Duration) -> Result<Option<i32>, String> {
        let child = &mut self.child;
        let ended = wait_for("end of the process", limit, || match child.try_wait() {
            Ok(Some(status)) => Ok(Wait::Done(status.code())),
            Ok(None) => Ok(Wait::NotYet("it runs".to_owned())),
            Err(error) => Err(error.to_string()),
        });
        ended.map_err(|what| self.explain(&what))
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for a line of its log of which `found` makes something.
    pub fn line<T>(
        &mut self,
        what: &str,
        limit: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let line = wait_for(what, limit, || {
            // Asked before the log is read: what it wrote last is in there then.
            let is_alive = self.is_alive();
            match self.log().lines().find_map(&found) {
                Some(value) => Ok(Wait::Done(value)),
                None if is_alive => Ok(Wait::NotYet("other lines".to_owned())),
                None => Err(format!("no {what}, it has ended")),
            }
        });
        line.map_err(|message| self.explain(&message))
    }

    /// All it has written.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| error.to_string(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// `what` with the name of the program before it and the end of its log after it.
    pub fn explain(&self, what: &str) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
        format!("{}: {what}; the end of its log:\n    {}", self.name, tail.join("\n    "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str, folder: &Folder) -> Process {
        let mut command = Command::new("sh");
        let log = folder.path().join("log");
        Process::start("shell", command.args(["-c", script]), &log).expect("there is a shell")
    }

    #[test]
    fn process_is_heard_told_and_signalled() {
        let folder = Folder::new("testkit").expect("a temporary folder");
        let script = "trap 'exit 3' TERM; echo start; read x; echo told $x; while :; do :; done";
        let mut process = shell(script, &folder);
        process.line("start", LIMIT, |line| (line == "start").then_some(())).expect("it starts");
        process.tell("this").expect("it reads");
        process.line("it", LIMIT, |line| (line == "told this").then_some(())).expect("it hears");
        assert!(process.is_alive());
        process.signal(Signal::Terminate).expect("it runs");
        assert_eq!(process.ended(LIMIT), Ok(Some(3)));
        process.signal(Signal::Kill).expect("a process that has ended is not told anything");
    }

    #[test]
    fn process_that_ends_early_is_explained_by_its_log() {
        let folder = Folder::new("testkit").expect("a temporary folder");
        let mut process = shell("echo reason >&2; exit 5", &folder);
        let error = process.line("greeting", LIMIT, |_| None::<()>).expect_err("there is none");
        assert!(error.contains("it has ended") && error.contains("\n    reason"), "{error}");
    }
}
