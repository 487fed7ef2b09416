//! The command line: subcommands, and flags that each set one key of the configuration.
//!
//! The names are etracker's where it has them. A flag's help is the doc of its key, so that nothing
//! is said twice. What is wrong with a flag's name clap tells, what is wrong with its value the
//! configuration; both end with exit code 2.

mod members;
mod tokens;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::keys::Key;
use crate::config::{self, Sources, print};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run the tracker.
    Serve,
    /// Print the configuration in force.
    PrintConfig,
    /// Print the file that shows every setting with its default.
    PrintExample,
    /// Print the manual of the settings.
    PrintManual,
    /// Say whether the configuration is right.
    CheckConfig,
    /// Make, list or remove tokens of the API.
    Token(tokens::Command),
    /// Manage the members, torrents and clients of a private tracker.
    Members(Box<crate::members::Command>),
}

/// A flag of the command line.
struct Flag {
    short: Option<char>,
    /// With its dashes.
    long: &'static str,
    /// The key it sets.
    key: &'static str,
    sets: Sets,
}

/// What a flag sets its key to.
enum Sets {
    /// What follows it, under this name in the help.
    Value(&'static str),
    /// What follows each time it is given.
    Each(&'static str),
    /// Always this.
    This(&'static str),
}

const fn flag(short: char, long: &'static str, key: &'static str, sets: Sets) -> Flag {
    Flag { short: Some(short), long, key, sets }
}

const fn long(long: &'static str, key: &'static str, sets: Sets) -> Flag {
    Flag { short: None, long, key, sets }
}

const FLAGS: &[Flag] = &[
    flag('p', "--port", "listen.port", Sets::Value("PORT")),
    long("--bind", "listen.bind", Sets::Each("ADDR")),
    flag('w', "--workers", "listen.workers", Sets::Value("N")),
    long("--no-tcp", "listen.tcp", Sets::This("false")),
    long("--no-udp", "listen.udp", Sets::This("false")),
    flag('i', "--interval", "announce.interval", Sets::Value("TIME")),
    long("--min-interval", "announce.min_interval", Sets::Value("TIME")),
    long("--max-interval", "announce.max_interval", Sets::Value("TIME")),
    flag('m', "--max-peers-per-response", "announce.peers_per_response_max", Sets::Value("N")),
    flag('a', "--max-load-avg", "announce.load_max", Sets::Value("LOAD")),
    flag('k', "--keep-alive", "http.keep_alive", Sets::This("true")),
    flag('e', "--socket-timeout", "http.timeout", Sets::Value("TIME")),
    long("--x-forwarded-for", "http.forwarded_header", Sets::Value("HEADER")),
    long("--no-locations", "pages.locations", Sets::This("false")),
    long("--charset", "pages.charset", Sets::Value("NAME")),
    long("--locale", "pages.locale", Sets::Value("NAME")),
    long("--nofile", "process.nofile", Sets::Value("N")),
    long("--core", "process.core", Sets::Value("BYTES")),
    flag('f', "--failed", "process.failed", Sets::Value("N")),
    long("--private", "private.enabled", Sets::This("true")),
    long("--data-dir", "process.data_dir", Sets::Value("DIR")),
    long("--chroot", "process.chroot", Sets::Value("DIR")),
    long("--user", "process.user", Sets::Value("NAME")),
];

/// A flag for the program that is to take the place of one that runs: say whether it could start.
pub(crate) const ONLY_CHECK: &str = "--only-check";

/// The environment is passed in by the caller. Prints help, the version or what is wrong with the
/// flags, and then ends the process.
pub(crate) fn parse() -> (Command, Sources) {
    let matches = command().get_matches();
    let (command, matches) = match matches.subcommand() {
        Some(("print-config", sub)) if sub.get_flag("example") => (Command::PrintExample, sub),
        Some(("print-config", sub)) if sub.get_flag("manual") => (Command::PrintManual, sub),
        Some(("print-config", sub)) => (Command::PrintConfig, sub),
        Some(("check-config", sub)) => (Command::CheckConfig, sub),
        Some(("token", sub)) => (Command::Token(tokens::command(sub)), sub),
        Some((name, sub)) => match members::command(name, sub) {
            Some(command) => (Command::Members(Box::new(command)), sub),
            None => (Command::Serve, sub),
        },
        None => (Command::Serve, &matches),
    };
    let only_check = command == Command::Serve && matches.get_flag(ONLY_CHECK);
    let command = if only_check { Command::CheckConfig } else { command };
    let sources = Sources {
        file: matches.get_one::<PathBuf>("config").cloned(),
        ocelot_conf: matches.get_one::<PathBuf>("ocelot-conf").cloned(),
        flags: FLAGS.iter().filter_map(|flag| given(flag, matches)).collect(),
        environment: std::env::vars_os().collect(),
        changed: None,
    };
    (command, sources)
}

/// How a manual names the flags of `key`.
pub(crate) fn flags_of(key: &Key) -> Option<String> {
    let flag = FLAGS.iter().find(|flag| flag.key == key.name)?;
    let short = flag.short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
    Some(match flag.sets {
        Sets::Value(name) => format!("{short}`{} {name}`", flag.long),
        Sets::Each(name) => format!("{short}`{} {name}`, any number of times", flag.long),
        Sets::This(value) => format!("{short}`{}` sets it to `{value}`", flag.long),
    })
}

fn given(flag: &Flag, matches: &ArgMatches) -> Option<(&'static str, &'static str, String)> {
    let text = match flag.sets {
        Sets::This(value) => matches.get_flag(flag.long).then(|| value.into()),
        Sets::Value(_) | Sets::Each(_) => matches
            .get_many::<String>(flag.long)
            .map(|values| values.map(String::as_str).collect::<Vec<_>>().join(",")),
    };
    text.map(|text| (flag.long, flag.key, text))
}

fn command() -> clap::Command {
    let config = Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("The configuration file (TOML)");
    let ocelot_conf = Arg::new("ocelot-conf")
        .long("ocelot-conf")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("An ocelot.conf, for what the configuration file does not say");
    let only_check = Arg::new(ONLY_CHECK)
        .long(ONLY_CHECK.trim_start_matches('-'))
        .action(ArgAction::SetTrue)
        .global(true)
        .hide(true)
        .help("Say whether it could start, and no more");
    clap::Command::new("peerage")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A BitTorrent tracker: one program, one set of swarms, every way in")
        .after_help(
            "Without a command it serves. Exit codes: 0 after a clean stop, 1 when it cannot \
             start, 2 when the configuration is wrong.",
        )
        .args([config, ocelot_conf, only_check])
        .args(FLAGS.iter().map(arg))
        .subcommand(clap::Command::new("serve").about("Run the tracker"))
        .subcommand(
            clap::Command::new("print-config")
                .about("Print the configuration in force, secrets left out")
                .arg(
                    Arg::new("example")
                        .long("example")
                        .action(ArgAction::SetTrue)
                        .help("Print a file that shows every setting with its default instead"),
                )
                .arg(
                    Arg::new("manual")
                        .long("manual")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("example")
                        .help("Print the manual of the settings instead (Markdown)"),
                ),
        )
        .subcommand(
            clap::Command::new("check-config").about("Say whether the configuration is right"),
        )
        .subcommand(tokens::usage())
        .subcommands(members::usage())
}

fn arg(flag: &Flag) -> Arg {
    let key = config::key(flag.key).expect("flags name keys of the table, as a test holds");
    let help = print::first_sentence(key);
    let name = flag.long.trim_start_matches('-');
    let arg = Arg::new(flag.long).long(name).short(flag.short).global(true);
    match flag.sets {
        // A negative number is a value of --nofile and --core; the key's own type refuses others.
        Sets::Value(name) => arg.value_name(name).help(help).allow_negative_numbers(true),
        Sets::Each(name) => arg.value_name(name).help(help).action(ArgAction::Append),
        Sets::This(value) => {
            arg.action(ArgAction::SetTrue).help(format!("Sets {} = {value}", flag.key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_names_a_key_and_clap_finds_no_fault() {
        for flag in FLAGS {
            assert!(config::key(flag.key).is_some(), "{}", flag.long);
        }
        command().debug_assert();
    }

    #[test]
    fn flags_are_taken_before_and_after_the_subcommand() {
        for line in ["peerage -p 80 serve", "peerage serve -p 80", "peerage -p 80"] {
            let matches = command().get_matches_from(line.split(' '));
            let matches = matches.subcommand().map_or(&matches, |(_, sub)| sub);
            let port = given(&FLAGS[0], matches);
            assert_eq!(port, Some(("--port", "listen.port", "80".into())), "{line}");
        }
    }

    #[test]
    fn addresses_to_bind_add_up() {
        let matches = command().get_matches_from(["peerage", "--bind", "::1", "--bind", "::2"]);
        assert_eq!(given(&FLAGS[1], &matches).unwrap().2, "::1,::2");
    }

    #[test]
    fn unknown_flag_and_unknown_command_are_mistakes_of_usage() {
        for line in ["peerage --prot 80", "peerage srve", "peerage -p", "peerage -p 1 -p 2"] {
            let error = command().try_get_matches_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
