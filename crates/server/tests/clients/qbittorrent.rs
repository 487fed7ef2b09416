//! qBittorrent without its window, driven over its web interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use peerage_testkit::{Process, Wait, free_port, http, wait_for};
use serde_json::Value;

use crate::client::{Client, Family, Figures, Job, LIMIT, program};

struct QBittorrent {
    process: Process,
    web: SocketAddr,
}

pub(crate) fn start(job: &Job) -> Result<Box<dyn Client>, String> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let folder = job.state.join("qBittorrent/config");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("qBittorrent.conf"), settings(job, web.port())))
        .map_err(|error| error.to_string())?;
    let mut command = Command::new(program("qbittorrent-nox")?);
    command.arg(format!("--profile={}", job.state.display()));
    command.arg(format!("--save-path={}", job.content.display()));
    command.arg("--skip-dialog=true").arg(&job.torrent).env("HOME", &job.state);
    let process = Process::start("qBittorrent", &mut command, &job.state.join("log"))?;
    Ok(Box::new(QBittorrent { process, web }))
}

fn settings(job: &Job, web_port: u16) -> String {
    // One address, not the interface `lo`: bound to that, it dials no peer at `[::1]`.
    let address = match job.family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    };
    let (peer_port, upload_kib_max) = (free_port(), job.upload_kib_max);
    format!(
        "[Application]
FileLogger\\Enabled=true

[BitTorrent]
Session\\BTProtocol=TCP
Session\\DHTEnabled=false
Session\\GlobalUPSpeedLimit={upload_kib_max}
Session\\InterfaceAddress={address}
Session\\LSDEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\PeXEnabled=false
Session\\Port={peer_port}
Session\\QueueingSystemEnabled=false
Session\\SSRFMitigation=false

[LegalNotice]
Accepted=true

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\CSRFProtection=false
WebUI\\Enabled=true
WebUI\\HostHeaderValidation=false
WebUI\\LocalHostAuth=false
WebUI\\Port={web_port}
"
    )
}

impl QBittorrent {
    /// Calls `method` for the one torrent there is; the status it is answered with.
    fn call(&self, method: &str) -> Result<u16, String> {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let path = format!("/api/v2/torrents/{method}");
        http::post(self.web, &path, &form, b"hashes=all").map(|reply| reply.status)
    }

    /// Either word: version 5 calls it the first, version 4 does not know that one.
    fn call_either(&self, new: &str, old: &str) -> Result<(), String> {
        match (self.call(new)?, self.call(old)?) {
            (200, _) | (_, 200) => Ok(()),
            statuses => Err(format!("{new} and {old} were answered with {statuses:?}")),
        }
    }

    /// What it tells under `torrents/`.
    fn ask(&self, method: &str) -> Result<Value, String> {
        let reply = http::get(self.web, &format!("/api/v2/torrents/{method}"))?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| format!("{method} was answered with {}: {error}", reply.status))
    }

    /// The name it has for the one torrent there is.
    fn hash(&self) -> Result<String, String> {
        let torrents = self.ask("info")?;
        let hash = torrents[0]["hash"].as_str();
        hash.map(str::to_owned).ok_or_else(|| format!("no torrent in {torrents}"))
    }
}

impl Client for QBittorrent {
    fn reannounce(&mut self) -> Result<(), String> {
        match self.call("reannounce")? {
            200 => Ok(()),
            status => Err(format!("reannounce was answered with {status}")),
        }
    }

    fn leave(&mut self) -> Result<(), String> {
        self.call_either("stop", "pause")
    }

    /// Waits until it has read its torrent again, where it was just started.
    fn come_back(&mut self) -> Result<(), String> {
        wait_for("torrent of qBittorrent", LIMIT, || match self.hash() {
            Ok(_) => Ok(Wait::Done(())),
            Err(what) if self.process.is_alive() => Ok(Wait::NotYet(what)),
            Err(what) => Err(what),
        })?;
        self.call_either("start", "resume")
    }

    fn figures(&mut self) -> Result<Figures, String> {
        let shown = self.ask(&format!("properties?hash={}", self.hash()?))?;
        let number =
            |name: &str| shown[name].as_u64().ok_or_else(|| format!("no {name} in {shown}"));
        let (received, wasted) = (number("total_downloaded_session")?, number("total_wasted")?);
        let downloaded = received.saturating_sub(wasted);
        Ok(Figures { uploaded: number("total_uploaded_session")?, downloaded })
    }

    fn tracker_text(&mut self) -> Result<String, String> {
        let trackers = self.ask(&format!("trackers?hash={}", self.hash()?))?;
        // DHT, PEX and LSD come first, with a tier below 0.
        let tracker = trackers.as_array().into_iter().flatten();
        let tracker = tracker.filter(|one| one["tier"].as_i64().is_some_and(|tier| tier >= 0));
        let text = tracker.filter_map(|one| one["msg"].as_str()).next_back();
        text.map(str::to_owned).ok_or_else(|| format!("no tracker in {trackers}"))
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
