//! Benchmarks: our tracker beside others, in one run on one machine, alternating.
//!
//! Ratios count; absolute figures drift by a third from hour to hour. See `bench/README.md` for
//! what each program measures, what it needs, and how to read it.

mod args;
mod growth;
mod http;
mod http_load;
mod latency;
mod load;
mod map;
mod memory;
mod mix;
mod network;
mod null_http;
mod null_udp;
mod pause;
mod private;
mod private_memory;
mod private_ocelot;
mod private_report;
mod private_tables;
mod probe;
mod process;
mod report;
mod servers;
mod shared;
mod shared_core;
mod shared_faults;
mod socket;
mod steady;
mod trial;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use args::Options;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    if matches!(name.as_str(), "" | "-h" | "--help" | "help") {
        println!("{}", args::USAGE);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("peerage-bench: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&name, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peerage-bench {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The niceness of our session among others, where the kernel groups processes by session: there
/// that of a process counts only within its session.
const AUTOGROUP: &str = "/proc/self/autogroup";

fn set_nice(nice: i32) -> std::io::Result<()> {
    socket::set_nice(nice)?;
    match std::fs::write(AUTOGROUP, nice.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn run(name: &str, options: &Options) -> Result<(), String> {
    let ip: IpAddr = match options.is_ipv6 {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, options.port.unwrap_or(6969));
    let program: fn(&Options) -> Result<(), String> = match name {
        "null-udp" => return null_udp::run(address, 30),
        "null-http" => return null_http::run(address, options.body_bytes.unwrap_or(280)),
        "udp" => udp::run,
        "http" => http::run,
        "memory" => memory::run,
        "growth" => growth::run,
        "steady" => steady::run,
        "pause" => pause::run,
        "map" => map::run,
        "private" => private::run,
        "private-memory" => return private_memory::run(options),
        "shared" => shared::run,
        "shared-faults" => shared_faults::run,
        _ => return Err("no such program; see --help".to_owned()),
    };
    network::prepare();
    // Clients that sleep, and many servers: the system spreads them better than we do.
    if name != "shared-faults" {
        let pinned = socket::pin(options.load_core());
        pinned.map_err(|error| format!("cannot choose a core: {error}"))?;
    }
    let Some(nice) = options.nice else { return program(options) };
    set_nice(nice).map_err(|error| format!("--nice {nice}: {error}"))?;
    let result = program(options);
    // The session outlives us and was at 0; where this fails there are no automatic groups.
    let _ = std::fs::write(AUTOGROUP, "0");
    result
}
