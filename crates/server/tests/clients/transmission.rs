//! Transmission's daemon, driven over its RPC.
//!
//! It takes loopback addresses for "martians" and dials none: whoever it meets has to dial it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use peerage_testkit::{Process, Wait, free_port, http, wait_for};
use serde_json::{Value, json};

use crate::client::{Client, Family, Figures, Job, LIMIT, program, text};

struct Transmission {
    process: Process,
    rpc: SocketAddr,
    /// What it had moved when it was started.
    before: Figures,
}

pub(crate) fn start(job: &Job) -> Result<Box<dyn Client>, String> {
    let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let settings = job.state.join("settings.json");
    std::fs::write(&settings, self::settings(job, rpc.port()))
        .map_err(|error| error.to_string())?;
    let mut command = Command::new(program("transmission-daemon")?);
    command.args(["--foreground", "--log-debug", "--config-dir"]).arg(&job.state);
    command.env("HOME", &job.state);
    let process = Process::start("Transmission", &mut command, &job.state.join("log"))?;
    let mut client = Transmission { process, rpc, before: Figures::default() };
    wait_for("answer of Transmission's RPC", LIMIT, || {
        match client.call("session-get", &json!({})) {
            Ok(_) => Ok(Wait::Done(())),
            Err(what) if client.process.is_alive() => Ok(Wait::NotYet(what)),
            Err(what) => Err(what),
        }
    })
    .map_err(|what| client.process.explain(&what))?;
    client.call("torrent-add", &json!({"filename": text(&job.torrent)}))?;
    client.before = client.ever()?;
    Ok(Box::new(client))
}

fn settings(job: &Job, rpc_port: u16) -> String {
    // Its HTTP client binds to the last of these two that is not the default, so that one for
    // each family would keep it from the trackers of the other.
    let bind = match job.family {
        Family::V4 => "\"bind-address-ipv4\": \"127.0.0.1\"",
        Family::V6 => "\"bind-address-ipv4\": \"0.0.0.0\"",
    };
    let (peer_port, content) = (free_port(), text(&job.content));
    let upload_kib_max = job.upload_kib_max;
    format!(
        "{{
            {bind},
            \"dht-enabled\": false,
            \"download-dir\": \"{content}\",
            \"download-queue-enabled\": false,
            \"lpd-enabled\": false,
            \"peer-port\": {peer_port},
            \"pex-enabled\": false,
            \"port-forwarding-enabled\": false,
            \"preallocation\": 0,
            \"rename-partial-files\": false,
            \"rpc-authentication-required\": false,
            \"rpc-bind-address\": \"127.0.0.1\",
            \"rpc-port\": {rpc_port},
            \"speed-limit-up\": {upload_kib_max},
            \"speed-limit-up-enabled\": true,
            \"utp-enabled\": false
        }}\n"
    )
}

impl Transmission {
    /// Calls `method` of the RPC. The first answer is a refusal that holds the session's id.
    fn call(&self, method: &str, arguments: &Value) -> Result<Value, String> {
        const ID: &str = "X-Transmission-Session-Id";
        let path = "/transmission/rpc";
        let body = json!({"method": method, "arguments": arguments}).to_string();
        let refusal = http::post(self.rpc, path, &[], body.as_bytes())?;
        let id = refusal.header(ID).ok_or("Transmission's RPC gives no session id")?;
        let reply = http::post(self.rpc, path, &[(ID, id)], body.as_bytes())?;
        let answer: Value = serde_json::from_slice(&reply.body)
            .map_err(|error| format!("{method} was answered with no JSON: {error}"))?;
        match answer["result"].as_str() {
            Some("success") => Ok(answer["arguments"].clone()),
            _ => Err(format!("{method} was answered with {answer}")),
        }
    }

    /// Fields of the one torrent there is.
    fn torrent(&self, fields: &[&str]) -> Result<Value, String> {
        let answer = self.call("torrent-get", &json!({"fields": fields}))?;
        Ok(answer["torrents"][0].clone())
    }

    /// What it has moved since the torrent was added. It shows as downloaded also what came of a
    /// piece that is not whole, which it announces once it is, and what came of a block before its
    /// connection ended, which it never does: what it has verified is what it announces.
    fn ever(&self) -> Result<Figures, String> {
        let torrent = self.torrent(&["uploadedEver", "downloadedEver", "haveValid"])?;
        let number =
            |name: &str| torrent[name].as_u64().ok_or_else(|| format!("no {name} in {torrent}"));
        let downloaded = number("downloadedEver")?.min(number("haveValid")?);
        Ok(Figures { uploaded: number("uploadedEver")?, downloaded })
    }
}

impl Client for Transmission {
    fn reannounce(&mut self) -> Result<(), String> {
        self.call("torrent-reannounce", &json!({})).map(drop)
    }

    fn leave(&mut self) -> Result<(), String> {
        self.call("torrent-stop", &json!({})).map(drop)
    }

    fn come_back(&mut self) -> Result<(), String> {
        self.call("torrent-start", &json!({})).map(drop)
    }

    fn figures(&mut self) -> Result<Figures, String> {
        let Figures { uploaded, downloaded } = self.ever()?;
        Ok(Figures {
            uploaded: uploaded - self.before.uploaded,
            downloaded: downloaded - self.before.downloaded,
        })
    }

    fn tracker_text(&mut self) -> Result<String, String> {
        let torrent = self.torrent(&["trackerStats"])?;
        let text = torrent["trackerStats"][0]["lastAnnounceResult"].as_str();
        text.map(str::to_owned).ok_or_else(|| format!("no tracker in {torrent}"))
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
