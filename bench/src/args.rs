//! The command line of the benchmarks: `--name value` pairs, each program with its own defaults.

use std::path::PathBuf;
use std::time::Duration;

/// What a program was asked for. `None` where it has a default of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Our server's binary.
    pub(crate) peerage: Option<PathBuf>,
    /// An Ocelot to be measured against.
    pub(crate) ocelot: Option<PathBuf>,
    /// Members of the population.
    pub(crate) members: Option<u32>,
    /// Contestants to run, by name; all where empty.
    pub(crate) only: Vec<String>,
    /// Length of each measurement.
    pub(crate) seconds: Option<u64>,
    /// How often each contestant is measured.
    pub(crate) rounds: Option<usize>,
    /// Size of the population.
    pub(crate) peers: Option<u32>,
    /// Swarms it is spread over.
    pub(crate) swarms: Option<u32>,
    /// Of a hundred requests, how many are connects.
    pub(crate) connects_percent: Option<f64>,
    /// Requests without a reply at any time.
    pub(crate) window: Option<usize>,
    /// Connections of the HTTP generator.
    pub(crate) connections: Option<usize>,
    /// Core of the server; the generator takes the other.
    pub(crate) server_core: Option<usize>,
    /// Niceness of server and load.
    pub(crate) nice: Option<i32>,
    /// Port of a null responder.
    pub(crate) port: Option<u16>,
    /// Bytes of a null responder's HTTP body.
    pub(crate) body_bytes: Option<usize>,
    /// Where results are written.
    pub(crate) results: Option<PathBuf>,
    /// Print only, write no file.
    pub(crate) is_dry: bool,
    /// Over IPv6 (null responder).
    pub(crate) is_ipv6: bool,
}

/// What `--help` says.
pub(crate) const USAGE: &str = "\
usage: cargo xtask bench PROGRAM [OPTIONS]

programs
  udp       replies, CPU, loss and latency over UDP, beside other trackers
  http      the same over HTTP, kept alive and one connection each
  memory    bytes per peer in several shapes, over IPv4 and half over IPv6
  growth    CPU per announce from 10 thousand to 10 million peers
  steady    minutes of full load while peers expire
  pause     how long the store makes announces wait while peers expire
  map       what viewers of the map cost our announces
  private   private mode beside open mode: speed, memory, time to load
  shared    what sharing costs a node, and what one Redis core carries
  shared-faults  what clients notice while Redis, a master of it or a node is gone
  null-udp  a responder without state on --port
  null-http the same over HTTP

options
  --peerage PATH    our server (or PEERAGE; default target/release/peerage)
  --only A,B        contestants: null, peerage, opentracker, aquatic, aquatic-uring, nginx;
                    of private: open, sqlite, mariadb, nginx, ocelot, memory
                    of shared: nodes, redis, core, and of that single rows, as 2:skewed, 1:1:full
                    of shared-faults, the faults as its tables name them
  --ocelot PATH     an Ocelot to be measured beside (private)
  --seconds N       length of each measurement
  --rounds N        measurements of each contestant; medians are reported
  --peers N         peers of the population
  --swarms N        swarms of the population
  --members N       members of the population (private)
  --connects P      percent of requests that are connects (udp)
  --window N        requests without a reply at any time (udp)
  --connections N   connections at any time (http)
  --server-core N   core of the server; the load runs on another (default 0)
  --nice N          niceness of server and load: -15 on a machine that others use (default 0)
  --results DIR     where results are written (default bench/results)
  --dry             print, but write no file
  --port N, --body-bytes N, --ipv6   for the null responders";

impl Options {
    /// Reads what follows the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--peerage" => options.peerage = Some(value()?.into()),
                "--ocelot" => options.ocelot = Some(value()?.into()),
                "--members" => options.members = Some(number(&name, &value()?)?),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--seconds" => options.seconds = Some(number(&name, &value()?)?),
                "--rounds" => options.rounds = Some(number(&name, &value()?)?),
                "--peers" => options.peers = Some(number(&name, &value()?)?),
                "--swarms" => options.swarms = Some(number(&name, &value()?)?),
                "--connects" => options.connects_percent = Some(number(&name, &value()?)?),
                "--window" => options.window = Some(number(&name, &value()?)?),
                "--connections" => options.connections = Some(number(&name, &value()?)?),
                "--server-core" => options.server_core = Some(number(&name, &value()?)?),
                "--nice" => options.nice = Some(number(&name, &value()?)?),
                "--port" => options.port = Some(number(&name, &value()?)?),
                "--body-bytes" => options.body_bytes = Some(number(&name, &value()?)?),
                "--results" => options.results = Some(value()?.into()),
                "--dry" => options.is_dry = true,
                "--ipv6" => options.is_ipv6 = true,
                _ => return Err(format!("unknown option {name}; see --help")),
            }
        }
        Ok(options)
    }

    /// Core of the server under test.
    pub(crate) fn server_core(&self) -> usize {
        self.server_core.unwrap_or(0)
    }

    /// Core of the load generator.
    pub(crate) fn load_core(&self) -> usize {
        if self.server_core() == 0 { 1 } else { 0 }
    }

    /// Length of a measurement.
    pub(crate) fn duration(&self, default_secs: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(default_secs))
    }

    /// Our server's binary: as asked for, or as the environment or Cargo has it.
    pub(crate) fn peerage(&self) -> PathBuf {
        let asked = self.peerage.clone();
        let asked = asked.or_else(|| std::env::var_os("PEERAGE").map(PathBuf::from));
        asked.unwrap_or_else(|| PathBuf::from("target/release/peerage"))
    }

    /// Whether a contestant was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: {value} is not a number it takes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn unknown_and_unfinished_options_are_errors() {
        assert!(parse("--nonsense 1").is_err());
        assert!(parse("--seconds").is_err());
        assert!(parse("--seconds soon").is_err());
    }

    #[test]
    fn contestants_are_chosen_by_name() {
        let options = parse("--only null,peerage").unwrap();
        assert!(options.wants("peerage") && !options.wants("aquatic"));
        assert!(parse("").unwrap().wants("aquatic"));
    }
}
