//! The threads of the process and what they report: each reports its end, so that a panic in one
//! stops all.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::asks::Ask;
use crate::signals::Signal;

/// Events that wait. Who has one more to report waits too; signals that come meanwhile are one.
const EVENTS_MAX: usize = 64;

/// What happens to the process.
#[derive(Debug)]
pub(crate) enum Event {
    /// The operator says something.
    Signal(Signal),
    /// The API asks for something.
    Ask(Ask),
    /// A thread has ended.
    Ended(End),
}

/// The end of a thread.
#[derive(Debug)]
pub(crate) struct End {
    /// The thread's name.
    pub(crate) name: String,
    /// Whether it panicked; what with, was printed when it did.
    pub(crate) panicked: bool,
}

/// The threads that run, and the events.
pub(crate) struct Threads {
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    running: usize,
}

/// Reports the end of its thread when it is dropped, by a panic too.
struct Report {
    name: String,
    sender: SyncSender<Event>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let end = End { name, panicked: thread::panicking() };
        // There is no receiver once the process has given up waiting for its threads.
        let _ = self.sender.send(Event::Ended(end));
    }
}

impl Threads {
    /// No threads.
    pub(crate) fn new() -> Self {
        let (sender, events) = sync_channel(EVENTS_MAX);
        Self { sender, events, running: 0 }
    }

    /// For who reports signals.
    pub(crate) fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }

    /// Runs `work` on a thread of its own.
    pub(crate) fn spawn(
        &mut self,
        name: String,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let report = Report { name: name.clone(), sender: self.sender() };
        thread::Builder::new().name(name).spawn(move || {
            let _report = report;
            work();
        })?;
        self.running += 1;
        Ok(())
    }

    /// Runs `work` on a thread of its own. An error ends the thread, and is logged.
    pub(crate) fn spawn_io(
        &mut self,
        name: String,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let in_log = name.clone();
        self.spawn(name, move || {
            if let Err(error) = work() {
                tracing::error!("{in_log}: {error}");
            }
        })
    }

    /// The next event, once there is one.
    pub(crate) fn next(&mut self) -> Event {
        let event = self.events.recv().expect("a sender is held here");
        if let Event::Ended(_) = event {
            self.running -= 1;
        }
        event
    }

    /// Waits for all threads to end, at most `time_max`, and returns how many have not. A second
    /// signal to stop ends the wait.
    pub(crate) fn wait(&mut self, time_max: Duration) -> usize {
        self.wait_for_all_but(0, time_max)
    }

    /// As [`Threads::wait`], but for so many threads that are to end later.
    pub(crate) fn wait_for_all_but(&mut self, later: usize, time_max: Duration) -> usize {
        let deadline = Instant::now() + time_max;
        while self.running > later {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Ended(_)) => self.running -= 1,
                Ok(Event::Signal(Signal::Stop)) | Err(_) => break,
                // Who asks is told that nobody answers.
                Ok(Event::Signal(_) | Event::Ask(_)) => {}
            }
        }
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_thread_is_reported_and_a_panic_told_apart() {
        let mut threads = Threads::new();
        threads.spawn("quiet".into(), || {}).unwrap();
        let Event::Ended(end) = threads.next() else { panic!("no other event") };
        assert_eq!((end.name.as_str(), end.panicked), ("quiet", false));
        threads.spawn("loud".into(), || panic!("as the test wants")).unwrap();
        let Event::Ended(end) = threads.next() else { panic!("no other event") };
        assert_eq!((end.name.as_str(), end.panicked), ("loud", true));
        assert_eq!(threads.wait(Duration::from_secs(60)), 0);
    }

    #[test]
    fn wait_is_bounded_and_a_second_signal_ends_it() {
        let mut threads = Threads::new();
        let (release, held) = sync_channel::<()>(0);
        threads.spawn("held".into(), move || assert!(held.recv().is_err())).unwrap();
        assert_eq!(threads.wait(Duration::ZERO), 1);
        threads.sender().send(Event::Signal(Signal::Stop)).unwrap();
        assert_eq!(threads.wait(Duration::from_secs(60)), 1);
        drop(release);
        assert_eq!(threads.wait(Duration::from_secs(60)), 0);
    }
}
