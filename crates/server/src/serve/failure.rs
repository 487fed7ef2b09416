//! Why the tracker could not start, or did not go on: what the operator is told, and the exit code.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Why the tracker could not start, or did not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Config(Vec<ConfigError>),
    /// A list is wrong.
    List(crate::lists::Error),
    /// The environment does not let us: one line.
    Start(String),
    /// A thread ended before it was asked to.
    Thread(String),
}

impl Failure {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::List(_) => 2,
            Self::Start(_) => 1,
            // What a panic in the main thread ends with.
            Self::Thread(_) => 101,
        })
    }

    /// What the operator is told, one line for each mistake.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(errors) => errors.iter().map(ToString::to_string).collect(),
            Self::List(error) => vec![error.to_string()],
            Self::Start(line) | Self::Thread(line) => vec![line.clone()],
        }
    }
}

/// What was to be done at the start, and failed.
pub(super) fn start_failure(what: &str, error: &io::Error) -> Failure {
    Failure::Start(format!("cannot {what}: {error}"))
}
