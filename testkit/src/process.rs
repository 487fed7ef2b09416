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
    /// SIGUSR1: for us, read the lists again.
    User1,
    /// SIGUSR2: for us, hand over to the program as it is on the disk now.
    User2,
    /// SIGKILL: it is given no chance to say anything.
    Kill,
    /// SIGSTOP: stand still.
    Pause,
    /// SIGCONT: go on.
    Continue,
}

/// A running program. Killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Where its standard output goes.
    output: PathBuf,
    /// Where its standard error goes; may be the same.
    log: PathBuf,
    /// Lines of the log up to the last that [`Process::next_line`] found.
    log_lines_found: usize,
}

impl Process {
    /// Starts `command`. What it writes, to either output, goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, String> {
        Self::start_apart(name, command, log, log)
    }

    /// Starts `command`, its standard output in the file `output` and its standard error in the
    /// file `log`.
    pub fn start_apart(
        name: &str,
        command: &mut Command,
        output: &Path,
        log: &Path,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{name} does not start: {error}");
        let file = File::create(output).map_err(failed)?;
        let errors = if output == log { file.try_clone() } else { File::create(log) };
        let command = command.stdin(Stdio::piped()).stdout(file).stderr(errors.map_err(failed)?);
        let child = command.spawn().map_err(failed)?;
        let (output, log) = (output.to_owned(), log.to_owned());
        Ok(Self { name: name.to_owned(), child, output, log, log_lines_found: 0 })
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
            Signal::User1 => "USR1",
            Signal::User2 => "USR2",
            Signal::Kill => "KILL",
            Signal::Pause => "STOP",
            Signal::Continue => "CONT",
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
        self.find(what, limit, |process| process.log().lines().find_map(&found))
    }

    /// As [`Process::line`], but only of what came after the line that this found last: what is
    /// said again is waited for again.
    pub fn next_line<T>(
        &mut self,
        what: &str,
        limit: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let passed = self.log_lines_found;
        let (lines, value) = self.find(what, limit, |process| {
            let log = process.log();
            let mut lines = log.lines().enumerate().skip(passed);
            lines.find_map(|(at, line)| Some((at + 1, found(line)?)))
        })?;
        self.log_lines_found = lines;
        Ok(value)
    }

    /// Waits for a line of its standard output, and returns all up to it.
    pub fn output_up_to(&mut self, last: &str, limit: Duration) -> Result<Vec<String>, String> {
        self.find(&format!("`{last}`"), limit, |process| {
            let output = process.output();
            let lines: Vec<String> = output.lines().map(str::to_owned).collect();
            let at = lines.iter().position(|line| line == last)?;
            Some(lines[..=at].to_vec())
        })
    }

    /// Asks until `found` makes something of what it has written.
    fn find<T>(
        &mut self,
        what: &str,
        limit: Duration,
        found: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, String> {
        let value = wait_for(what, limit, || {
            // Asked before the log is read: what it wrote last is in there then.
            let is_alive = self.is_alive();
            match found(self) {
                Some(value) => Ok(Wait::Done(value)),
                None if is_alive => Ok(Wait::NotYet("other lines".to_owned())),
                None => Err(format!("no {what}, it has ended")),
            }
        });
        value.map_err(|message| self.explain(&message))
    }

    /// All it has written to its standard output.
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// All it has written to its standard error; to both where they are not apart.
    pub fn log(&self) -> String {
        read(&self.log)
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

fn read(file: &Path) -> String {
    fs::read(file)
        .map_or_else(|error| error.to_string(), |text| String::from_utf8_lossy(&text).into_owned())
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
    #[test]
    fn outputs_are_kept_apart_and_lines_are_found_in_turn() {
        let folder = Folder::new("testkit").expect("a temporary folder");
        let script = "echo one; echo ready; echo a 1 >&2; echo b >&2; echo a 2 >&2; read x";
        let (output, log) = (folder.path().join("output"), folder.path().join("log"));
        let mut command = Command::new("sh");
        let started = Process::start_apart("sh", command.args(["-c", script]), &output, &log);
        let mut process = started.expect("there is a shell");
        let lines = process.output_up_to("ready", LIMIT).expect("it starts");
        assert_eq!(lines, ["one", "ready"]);
        let found = |line: &str| line.strip_prefix("a ").map(str::to_owned);
        for number in ["1", "2"] {
            assert_eq!(process.next_line("a", LIMIT, found).as_deref(), Ok(number));
        }
        process.tell("").expect("it reads");
        assert_eq!(process.ended(LIMIT), Ok(Some(0)));
        assert!(process.next_line("a", LIMIT, found).is_err(), "there is no third");
        assert_eq!((&*process.output(), &*process.log()), ("one\nready\n", "a 1\nb\na 2\n"));
    }
}
