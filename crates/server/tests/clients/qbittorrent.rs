//! qBittorrent without its window, driven over its web interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use peerage_testkit::{Process, free_port, http};

use crate::client::{Client, Family, Job, UPLOAD_KIB_MAX, program};

struct QBittorrent {
    process: Process,
    web: SocketAddr,
}

pub(crate) fn start(job: &Job) -> Result<Box<dyn Client>, String> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let folder = job.state.join("qBittorrent/config");
    std::fs::create_dir_all(&folder)
        .and_then(|()| {
            std::fs::write(folder.join("qBittorrent.conf"), settings(job.family, web.port()))
        })
        .map_err(|error| error.to_string())?;
    let mut command = Command::new(program("qbittorrent-nox")?);
    command.arg(format!("--profile={}", job.state.display()));
    command.arg(format!("--save-path={}", job.content.display()));
    command.arg("--skip-dialog=true").arg(&job.torrent).env("HOME", &job.state);
    let process = Process::start("qBittorrent", &mut command, &job.state.join("log"))?;
    Ok(Box::new(QBittorrent { process, web }))
}

fn settings(family: Family, web_port: u16) -> String {
    // One address, not the interface `lo`: bound to that, it dials no peer at `[::1]`.
    let address = match family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    };
    let peer_port = free_port();
    format!(
        "[Application]
FileLogger\\Enabled=true

[BitTorrent]
Session\\BTProtocol=TCP
Session\\DHTEnabled=false
Session\\GlobalUPSpeedLimit={UPLOAD_KIB_MAX}
Session\\InterfaceAddress={address}
Session\\LSDEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\PeXEnabled=false
Session\\Port={peer_port}
Session\\QueueingSystemEnabled=false

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
}

impl Client for QBittorrent {
    fn reannounce(&mut self) -> Result<(), String> {
        match self.call("reannounce")? {
            200 => Ok(()),
            status => Err(format!("reannounce was answered with {status}")),
        }
    }

    fn leave(&mut self) -> Result<(), String> {
        // Version 5 calls it `stop`, version 4 does not know that word.
        match (self.call("stop")?, self.call("pause")?) {
            (200, _) | (_, 200) => Ok(()),
            statuses => Err(format!("stop and pause were answered with {statuses:?}")),
        }
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
