//! Transmission's daemon, driven over its RPC.
//!
//! It takes loopback addresses for "martians" and dials none: whoever it meets has to dial it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use peerage_testkit::{Process, Wait, free_port, http, wait_for};

use crate::client::{Client, Family, Job, LIMIT, UPLOAD_KIB_MAX, program, text};

struct Transmission {
    process: Process,
    rpc: SocketAddr,
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
    let mut client = Transmission { process, rpc };
    wait_for("answer of Transmission's RPC", LIMIT, || match client.call("session-get", "") {
        Ok(()) => Ok(Wait::Done(())),
        Err(what) if client.process.is_alive() => Ok(Wait::NotYet(what)),
        Err(what) => Err(what),
    })
    .map_err(|what| client.process.explain(&what))?;
    client.call("torrent-add", &format!("\"filename\": \"{}\"", text(&job.torrent)))?;
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
            \"speed-limit-up\": {UPLOAD_KIB_MAX},
            \"speed-limit-up-enabled\": true,
            \"utp-enabled\": false
        }}\n"
    )
}

impl Transmission {
    /// Calls `method` of the RPC. The first answer is a refusal that holds the session's id.
    fn call(&self, method: &str, arguments: &str) -> Result<(), String> {
        const ID: &str = "X-Transmission-Session-Id";
        let path = "/transmission/rpc";
        let body = format!("{{\"method\": \"{method}\", \"arguments\": {{{arguments}}}}}");
        let refusal = http::post(self.rpc, path, &[], body.as_bytes())?;
        let id = refusal.header(ID).ok_or("Transmission's RPC gives no session id")?;
        let reply = http::post(self.rpc, path, &[(ID, id)], body.as_bytes())?;
        let answer = String::from_utf8_lossy(&reply.body);
        if answer.contains("\"result\":\"success\"") {
            return Ok(());
        }
        Err(format!("{method} was answered with {answer}"))
    }
}

impl Client for Transmission {
    fn reannounce(&mut self) -> Result<(), String> {
        self.call("torrent-reannounce", "")
    }

    fn leave(&mut self) -> Result<(), String> {
        self.call("torrent-stop", "")
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
