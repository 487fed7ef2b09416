//! libtorrent, by the Python module that `cargo xtask setup` installs, driven by a script.

use std::path::{Path, PathBuf};
use std::process::Command;

use peerage_testkit::{Process, free_port};

use crate::client::{Client, Figures, Job, LIMIT};

struct Libtorrent(Process);

/// Runs `script`, which is beside this file, with libtorrent at hand.
pub(crate) fn python(script: &str) -> Result<Command, String> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Where `setup` of xtask puts it.
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let python = cache.unwrap_or_default().join("peerage/venv/bin/python");
    if !python.is_file() {
        return Err("libtorrent is not installed; `cargo xtask setup` installs it".to_owned());
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(python);
    command.arg("-B").arg(scripts.join(script));
    Ok(command)
}

pub(crate) fn start(job: &Job) -> Result<Box<dyn Client>, String> {
    let mut command = python("session.py")?;
    command.arg(&job.torrent).arg(&job.content);
    command.args([free_port().to_string(), (job.upload_kib_max << 10).to_string()]);
    command.arg(job.state.join("resume"));
    let process = Process::start("libtorrent", &mut command, &job.state.join("log"))?;
    Ok(Box::new(Libtorrent(process)))
}

impl Client for Libtorrent {
    fn reannounce(&mut self) -> Result<(), String> {
        self.0.tell("reannounce")
    }

    fn leave(&mut self) -> Result<(), String> {
        self.0.tell("leave")
    }

    fn come_back(&mut self) -> Result<(), String> {
        self.0.tell("come_back")
    }

    fn quit(&mut self) -> Result<(), String> {
        self.0.tell("quit")?;
        match self.0.ended(LIMIT)? {
            Some(0) => Ok(()),
            code => Err(self.0.explain(&format!("it ended with {code:?}"))),
        }
    }

    fn figures(&mut self) -> Result<Figures, String> {
        self.0.tell("figures")?;
        let figures = |line: &str| {
            let numbers = line.strip_prefix("figures ")?.split(' ').map(str::parse);
            let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
            let [uploaded, all, wasted] = *numbers else { return None };
            Some(Figures { uploaded, downloaded: all.saturating_sub(wasted) })
        };
        self.0.next_line("figures", LIMIT, figures)
    }

    fn tracker_text(&mut self) -> Result<String, String> {
        let log = self.0.log();
        let error = log.lines().rev().find_map(|line| line.strip_prefix("tracker_error "));
        Ok(error.unwrap_or_default().to_owned())
    }

    fn process(&mut self) -> &mut Process {
        &mut self.0
    }
}
