//! The binary `peerage`: sockets, files, threads and signals around the rules.
//!
//! From the outside in: [`cli`] and [`config`] say what the operator wrote, [`settings`] what it
//! means, [`serve`] starts and stops everything else. [`udp`] and [`http`] are the workers, [`web`]
//! serves the pages.

#![forbid(unsafe_code)]

mod api;
mod changed;
mod cli;
mod clock;
mod collector;
mod config;
mod feed;
mod gazelle;
mod history;
mod http;
mod kept;
mod latency;
mod listen;
mod lists;
mod load;
mod locations;
mod log;
mod maintenance;
mod members;
mod metrics;
mod notify;
mod private;
mod privileges;
mod secrets;
mod serve;
mod settings;
mod shared;
mod signals;
mod snapshot;
mod sockets;
mod stats;
mod stop;
mod threads;
mod tokens;
mod udp;
mod web;

use std::io::{self, Write as _};
use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    let (command, sources) = cli::parse();
    let result = match command {
        Command::Serve => serve::serve(sources).map(|()| String::new()),
        Command::CheckConfig => {
            serve::check(&sources).map(|()| "the configuration is right\n".into())
        }
        Command::PrintConfig => serve::configuration(&sources)
            .map(|(config, _)| config::print::in_force(&config.values)),
        Command::PrintExample => Ok(config::print::example()),
        Command::PrintManual => Ok(config::print::manual()),
        Command::Token(command) => serve::configuration(&sources)
            .and_then(|(_, settings)| command.run(settings.process.data_dir.as_deref())),
        Command::Members(command) => {
            serve::configuration(&sources).and_then(|(config, _)| command.run(&config))
        }
    };
    match result {
        Ok(text) => {
            // A reader that has gone away is no error of ours.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.lines().iter().for_each(|line| eprintln!("peerage: {line}"));
            failure.exit_code()
        }
    }
}
