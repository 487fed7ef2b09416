//! The contestants: how each is found, configured and started, always with one worker.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Options;
use crate::mix::{Family, info_hash};
use crate::process::{Process, scratch_directory};

/// A program that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// Our null responder.
    Null,
    /// Our server.
    Peerage,
    /// opentracker as Debian builds it: IPv4 only, with a white list.
    Opentracker,
    /// aquatic with its default (mio) backend.
    Aquatic,
    /// aquatic built with its `io-uring` feature.
    AquaticUring,
    /// nginx returning a constant.
    Nginx,
    /// Ocelot, where its binary is named.
    Ocelot,
}

/// The protocol a contestant is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3.
    Http,
}

/// What a contestant is started with.
pub(crate) struct Setup<'a> {
    /// The command line.
    pub(crate) options: &'a Options,
    /// The protocol it will be asked over.
    pub(crate) protocol: Protocol,
    /// The family it must answer; a server for IPv6 answers both where it can.
    pub(crate) family: Family,
    /// Swarms that a white list must allow.
    pub(crate) swarms: u32,
    /// Body of a constant HTTP reply.
    pub(crate) body_bytes: usize,
    /// Lines of our server's configuration, in TOML; of Ocelot's, as it has them.
    pub(crate) config: &'a str,
}

/// A contestant that runs.
pub(crate) struct Server {
    /// Which.
    pub(crate) contestant: Contestant,
    /// Its process.
    pub(crate) process: Process,
    /// Its port, on every address it listens on.
    pub(crate) port: u16,
}

impl Server {
    /// Its address in a family.
    pub(crate) fn address(&self, family: Family) -> SocketAddr {
        let ip: IpAddr = match family {
            Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
            Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.port)
    }
}

impl Contestant {
    /// Its name, on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Peerage => "peerage",
            Self::Opentracker => "opentracker",
            Self::Aquatic => "aquatic",
            Self::AquaticUring => "aquatic-uring",
            Self::Nginx => "nginx",
            Self::Ocelot => "ocelot",
        }
    }

    /// Its binary, where it is installed.
    fn binary(self, setup: &Setup<'_>) -> Option<PathBuf> {
        let protocol = if setup.protocol == Protocol::Udp { "udp" } else { "http" };
        match self {
            Self::Null => std::env::current_exe().ok(),
            Self::Peerage => Some(setup.options.peerage()),
            Self::Opentracker => Some(PathBuf::from("/usr/bin/opentracker")),
            Self::Nginx => Some(PathBuf::from("/usr/sbin/nginx")),
            Self::Ocelot => setup.options.ocelot.clone(),
            Self::Aquatic => cached("aquatic").map(|root| root.join(format!("aquatic_{protocol}"))),
            Self::AquaticUring => {
                cached("aquatic-uring").map(|root| root.join(format!("aquatic_{protocol}")))
            }
        }
        .filter(|path| path.exists())
    }

    /// Starts it. `Ok(None)` where it is not installed or cannot do what is asked.
    pub(crate) fn start(self, setup: &Setup<'_>) -> Result<Option<Server>, String> {
        if !setup.options.wants(self.name())
            || (self == Self::Opentracker && setup.family == Family::Ipv6)
        {
            return Ok(None);
        }
        let Some(binary) = self.binary(setup) else { return Ok(None) };
        let directory = scratch_directory(self.name())?;
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut command = Command::new(binary);
        self.configure(&mut command, setup, &directory, port)
            .map_err(|error| format!("{}: {error}", self.name()))?;
        let options = setup.options;
        let process =
            Process::start(command, directory, options.server_core(), options.load_core())?;
        Ok(Some(Server { contestant: self, process, port }))
    }

    fn configure(
        self,
        command: &mut Command,
        setup: &Setup<'_>,
        directory: &Path,
        port: u16,
    ) -> std::io::Result<()> {
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map(|()| path)
        };
        let port_text = port.to_string();
        match self {
            Self::Null => {
                let name = if setup.protocol == Protocol::Udp { "null-udp" } else { "null-http" };
                let body = setup.body_bytes.to_string();
                command.args([name, "--port", &port_text, "--body-bytes", &body]);
                if setup.family == Family::Ipv6 {
                    command.arg("--ipv6");
                }
            }
            Self::Peerage => {
                let config = file("peerage.toml", setup.config)?;
                command.arg("-c").arg(config).args(["-p", &port_text, "-w", "1"]);
                command.arg("--data-dir").arg(directory);
                // All IPv6 sources are of one /64, which counts as one address. Raised, not
                // turned off: the counting is part of what is measured.
                command.env("PEERAGE__SWARM__PEERS_PER_ADDRESS_MAX", "1000000000");
                if setup.family == Family::Ipv4 {
                    command.args(["--bind", "127.0.0.1"]);
                }
            }
            Self::Opentracker => {
                // It changes into the directory and, run by root, makes it its root.
                file("whitelist", &whitelist(setup.swarms))?;
                command.current_dir(directory).arg("-d").arg(directory);
                command.args(["-i", "127.0.0.1", "-p", &port_text, "-P", &port_text]);
                command.args(["-u", "nobody", "-w", "whitelist"]);
            }
            Self::Aquatic | Self::AquaticUring => {
                let config = file("config.toml", &aquatic_config(setup, port))?;
                command.arg("-c").arg(config);
            }
            Self::Nginx => {
                let config = file("nginx.conf", &nginx_config(setup.body_bytes, port))?;
                command.arg("-p").arg(directory).arg("-c").arg(config);
                command.args(["-e", "stderr"]);
            }
            Self::Ocelot => {
                let config = format!("listen_port = {port}\n{}", setup.config);
                command.arg("-c").arg(file("ocelot.conf", &config)?);
            }
        }
        Ok(())
    }
}

/// Where contestants built from source are kept: outside the tree, to outlive `cargo clean`.
fn cached(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    Some(PathBuf::from(home).join(".cache/peerage-bench").join(name).join("bin"))
}

/// A port that was free over TCP and UDP a moment ago.
fn free_port() -> std::io::Result<u16> {
    loop {
        let listener = TcpListener::bind("[::]:0")?;
        let port = listener.local_addr()?.port();
        if UdpSocket::bind(("::", port)).is_ok() {
            return Ok(port);
        }
    }
}

fn whitelist(swarms: u32) -> String {
    let mut text = String::with_capacity(swarms as usize * 41);
    for number in 0..swarms {
        for byte in info_hash(number) {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

fn aquatic_config(setup: &Setup<'_>, port: u16) -> String {
    let address = match setup.family {
        Family::Ipv4 => format!("127.0.0.1:{port}"),
        Family::Ipv6 => format!("[::]:{port}"),
    };
    match setup.protocol {
        // Both lines are its defaults, named because the comparison depends on them.
        Protocol::Udp => format!(
            "socket_workers = 1\n[network]\naddress = \"{address}\"\n\
             [protocol]\nmax_response_peers = 30\n"
        ),
        Protocol::Http => format!(
            "socket_workers = 1\nswarm_workers = 1\n[network]\naddress = \"{address}\"\n\
             [protocol]\nmax_peers = 30\n"
        ),
    }
}

fn nginx_config(body_bytes: usize, port: u16) -> String {
    let body = "x".repeat(body_bytes);
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; default_type text/plain;\n\
         server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         location / {{ return 200 \"{body}\"; }} }} }}\n"
    )
}
