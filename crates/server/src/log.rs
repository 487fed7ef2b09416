//! Log lines, to stderr: what an operator wants to know, never one for each request.

use std::io;

use tracing::Level;

use crate::config::value::{LogFormat, LogLevel};
use crate::settings::Log;

/// Lets log lines through from here on. To be called once.
pub(crate) fn start(log: Log) {
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    match log.format {
        LogFormat::Time => lines.init(),
        LogFormat::Plain => lines.without_time().init(),
    }
}
