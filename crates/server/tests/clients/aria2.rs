//! aria2: a seeder or leecher from flags alone.
//!
//! It cannot be told to announce. With `stopped` it leaves on SIGINT only.

use std::process::Command;

use peerage_testkit::{Process, Signal, free_port};

use crate::client::{Client, Family, Job, program};

struct Aria2(Process);

pub(crate) fn start(job: &Job) -> Result<Box<dyn Client>, String> {
    let mut command = Command::new(program("aria2c")?);
    let listen = format!("--listen-port={}", free_port());
    let datagrams = format!("--dht-listen-port={}", free_port());
    let upload = format!("--max-upload-limit={}K", job.upload_kib_max);
    command.args([&listen, &datagrams, &upload]).arg("--dir").arg(&job.content);
    command.args([
        "--no-conf",
        "--interface=lo",
        // Without the DHT's socket it has none for UDP trackers. It is told of no node, and no
        // private torrent is looked for there, so that nothing else happens on it.
        "--enable-dht=true",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        // A seeder knows by this that it has the file; a leecher has nothing to check.
        "--check-integrity=true",
        "--seed-ratio=0",
        "--file-allocation=none",
        "--console-log-level=info",
        "--show-console-readout=false",
        "--summary-interval=0",
    ]);
    if job.family == Family::V4 {
        command.arg("--disable-ipv6=true");
    }
    command.arg(&job.torrent).current_dir(&job.state).env("HOME", &job.state);
    let process = Process::start("aria2", &mut command, &job.state.join("log"))?;
    Ok(Box::new(Aria2(process)))
}

impl Client for Aria2 {
    fn reannounce(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn leave(&mut self) -> Result<(), String> {
        self.0.signal(Signal::Interrupt)
    }

    fn tracker_text(&mut self) -> Result<String, String> {
        let log = self.0.log();
        Ok(log.lines().rev().find(|line| line.contains("racker")).unwrap_or_default().to_owned())
    }

    fn process(&mut self) -> &mut Process {
        &mut self.0
    }
}
