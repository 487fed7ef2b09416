//! What the API asks of the thread that owns the settings, and the wait for its answer.
//!
//! The owner does one thing at a time, whoever asks, so that changes never cross. A change that
//! nobody waits for any more is not begun.

use std::sync::mpsc::TrySendError;
use std::time::Duration;

use peerage_proto::InfoHash;
use tokio::sync::oneshot;

use super::Api;
use super::refused::Refused;
use crate::changed::Patch;
use crate::config::ConfigError;
use crate::lists::Which;
use crate::lists::kept::{Done, ENTRIES_MAX};
use crate::threads::Event;

/// How long an answer is waited for: to read and sort a list of millions takes seconds.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is asked. Whoever is told too late is told nothing.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Settings are to be changed.
    Settings {
        /// Which, and to what.
        patch: Patch,
        /// Who wants it, as the log names it.
        by: String,
        /// Takes what became of it.
        answer: oneshot::Sender<Result<(), NotChanged>>,
    },
    /// A list is to be changed.
    List {
        /// Which.
        which: Which,
        /// What is to be on it.
        add: Vec<InfoHash>,
        /// What is not to be on it.
        remove: Vec<InfoHash>,
        /// Who wants it, as the log names it.
        by: String,
        /// Takes what became of it.
        answer: oneshot::Sender<Result<Done, NotChanged>>,
    },
}

/// Why something was not changed.
#[derive(Debug)]
pub(crate) enum NotChanged {
    /// What is asked for contradicts something; at least one.
    Wrong(Vec<ConfigError>),
    /// The list would have too many entries.
    ListFull,
    /// It cannot be kept, so it was not done. One line, for the log.
    NotKept(String),
}

impl From<NotChanged> for Refused {
    fn from(why: NotChanged) -> Self {
        match why {
            NotChanged::Wrong(errors) => errors
                .first()
                .map_or_else(|| Self::not_now("it was refused without a reason"), Self::from),
            NotChanged::ListFull => {
                Self::conflict(format!("a list may have {ENTRIES_MAX} entries"), "add")
            }
            NotChanged::NotKept(line) => {
                tracing::error!("{line}");
                Self::not_now("it cannot be kept, so it was not done: the log says why")
            }
        }
    }
}

impl Api {
    /// Asks the owner and waits for what it says.
    pub(super) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, NotChanged>>) -> Ask,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        match self.owner.try_send(Event::Ask(ask(answer))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Refused::not_now("too much is asked at once"));
            }
            Err(TrySendError::Disconnected(_)) => return Err(Refused::not_now("it stops")),
        }
        match tokio::time::timeout(WAIT_MAX, answered).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(_)) => Err(Refused::not_now("it stops")),
            Err(_) => Err(Refused::not_now("it takes too long: look whether it was done")),
        }
    }
}
