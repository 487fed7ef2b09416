//! `peerage token`: the tokens of the API, beside a running tracker or without one.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgMatches};

use crate::serve::Failure;
use crate::tokens::{Error, Scope, Tokens};

/// What is to be done with the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Make one of this name.
    Add(String, Scope),
    /// List all, without their texts.
    List,
    /// Remove the one with this id.
    Remove(String),
}

impl Command {
    /// Does it in `data_dir`, and says what is to be printed.
    pub(crate) fn run(&self, data_dir: Option<&Path>) -> Result<String, Failure> {
        let data_dir = data_dir.ok_or_else(|| {
            let line = "tokens are kept in process.data_dir: name it by --data-dir or -c FILE";
            Failure::Start(line.into())
        })?;
        self.run_in(data_dir).map_err(|error| Failure::Start(error.to_string()))
    }

    fn run_in(&self, data_dir: &Path) -> Result<String, Error> {
        let tokens = Tokens::open(data_dir)?;
        match self {
            Self::Add(name, scope) => {
                let (_, text) = tokens.add(name, *scope)?;
                Ok(format!("{}\n", text.0))
            }
            Self::List => {
                let mut text = String::new();
                for token in tokens.all().iter() {
                    let scope = token.scope.name();
                    writeln!(text, "{} {scope:7} {}", token.id, token.name)
                        .expect("a String takes any text");
                }
                Ok(text)
            }
            Self::Remove(id) => tokens.remove(id).map(|_| String::new()),
        }
    }
}

/// Reads what [`usage`] describes.
pub(super) fn command(matches: &ArgMatches) -> Command {
    let text = |matches: &ArgMatches, name: &str| {
        matches.get_one::<String>(name).cloned().unwrap_or_default()
    };
    match matches.subcommand() {
        Some(("add", sub)) => {
            let scope = Scope::from_name(&text(sub, "scope")).unwrap_or(Scope::Read);
            Command::Add(text(sub, "name"), scope)
        }
        Some(("remove", sub)) => Command::Remove(text(sub, "id")),
        _ => Command::List,
    }
}

/// The subcommand.
pub(super) fn usage() -> clap::Command {
    let name = Arg::new("name").value_name("NAME").required(true);
    let scope = Arg::new("scope").long("scope").value_name("SCOPE").default_value("read");
    let id = Arg::new("id").value_name("ID").required(true);
    clap::Command::new("token")
        .about("Make, list and remove the tokens of the API, kept in the data folder")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("add")
                .about("Make a token and print it, this once")
                .arg(name.help("What to call it"))
                .arg(
                    scope
                        .value_parser(Scope::ALL.map(Scope::name))
                        .help("What it allows; each allows what those before it allow"),
                ),
        )
        .subcommand(clap::Command::new("list").about("List all: id, scope and name"))
        .subcommand(
            clap::Command::new("remove")
                .about("Remove a token: what it allowed is refused from then on")
                .arg(id.help("Its id, as `list` prints it")),
        )
}
