//! What clients announce, as they put it on the wire: a program between them and the tracker that
//! passes everything on.
//!
//! It is what the accounts are compared with. Nothing of it is the tracker's.

use std::fmt;
use std::path::Path;

use peerage_testkit::{Process, free_port};

use crate::client::LIMIT;
use crate::libtorrent::python;

/// A running tap. Ended when this is dropped.
pub(crate) struct Tap {
    process: Process,
    /// Where clients announce to, at 127.0.0.1 and `[::1]`, over TCP and UDP.
    pub(crate) port: u16,
}

/// An announce that the tracker has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Whether it was granted, and not refused.
    pub(crate) is_granted: bool,
    /// `http` or `udp`.
    pub(crate) protocol: String,
    /// What stood in the path; `-` for none.
    pub(crate) passkey: String,
    /// In hex.
    pub(crate) peer_id: String,
    /// `-` for none.
    pub(crate) event: String,
    /// Bytes, as the client counts them.
    pub(crate) moved: Moved,
    /// Bytes.
    pub(crate) left: u64,
}

/// Bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To peers.
    pub(crate) uploaded: u64,
    /// From peers.
    pub(crate) downloaded: u64,
}

impl Tap {
    /// Starts one in front of the tracker at `tracker_ports`, each of which has its turn.
    pub(crate) fn start(tracker_ports: &[u16], log: &Path) -> Result<Self, String> {
        let port = free_port();
        let mut command = python("tap.py")?;
        command.args([port].iter().chain(tracker_ports).map(u16::to_string));
        let mut process = Process::start("tap", &mut command, log)?;
        process.line("tap", LIMIT, |line| (line == "ready").then_some(()))?;
        Ok(Self { process, port })
    }

    /// What was announced with `passkey`, in order.
    pub(crate) fn announces(&self, passkey: &str) -> Vec<Announced> {
        let log = self.process.log();
        // The last line may be on its way.
        let lines = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.filter_map(parse).filter(|announced| announced.passkey == passkey).collect()
    }

    /// What the clients of a member have announced with `passkey`, session by session.
    ///
    /// Errors: a session that does not begin with `started` at 0.
    pub(crate) fn account(&self, passkey: &str) -> Result<Account, String> {
        let mut account = Account::default();
        let mut last: Option<Announced> = None;
        for announced in self.announces(passkey).into_iter().filter(|one| one.is_granted) {
            let is_new = announced.event == "started";
            let before = last.filter(|last| !is_new && last.peer_id == announced.peer_id);
            let before = match before {
                Some(before) => before.moved,
                None if is_new && announced.moved == Moved::default() => Moved::default(),
                None => return Err(format!("a session begins with {announced:?}")),
            };
            account.take(before, announced.moved);
            last = Some(announced);
        }
        Ok(account)
    }
}

/// What a member's clients have announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The numbers that each session ended with: what its clients show.
    pub(crate) shown: Moved,
    /// What the sessions counted on their way there, which is as much or more: libtorrent takes
    /// back what had come of a block when its connection ends.
    pub(crate) counted: Moved,
}

impl Account {
    fn take(&mut self, before: Moved, now: Moved) {
        for (shown, counted, before, now) in [
            (&mut self.shown.uploaded, &mut self.counted.uploaded, before.uploaded, now.uploaded),
            (
                &mut self.shown.downloaded,
                &mut self.counted.downloaded,
                before.downloaded,
                now.downloaded,
            ),
        ] {
            *shown = *shown + now - before;
            *counted += now.saturating_sub(before);
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} up {} down", self.uploaded, self.downloaded)
    }
}

fn parse(line: &str) -> Option<Announced> {
    let words: Vec<&str> = line.split(' ').collect();
    let [answer, protocol, passkey, peer_id, event, uploaded, downloaded, left] = words[..] else {
        return None;
    };
    let moved = Moved { uploaded: uploaded.parse().ok()?, downloaded: downloaded.parse().ok()? };
    Some(Announced {
        is_granted: answer == "granted",
        protocol: protocol.to_owned(),
        passkey: passkey.to_owned(),
        peer_id: peer_id.to_owned(),
        event: event.to_owned(),
        moved,
        left: left.parse().ok()?,
    })
}
