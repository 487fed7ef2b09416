//! Another program in our place, under the same process id: a new version, or the same anew.
//!
//! It gets the sockets, with whatever waits in them, and a file in memory: the key of the
//! connection ids, and the swarms where they are kept in no other file. So nobody is refused or
//! forgotten, and what comes meanwhile is answered a moment later.
//!
//! Before anything is stopped the new program has to say that it could start.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peerage_net::{Inherited, file_in_memory, hand_over};
use peerage_swarm::{Now, Swarms};
use peerage_tracker::{ConnectionKey, PeerIds};
use tracing::{info, warn};

use super::failure::{Failure, start_failure};
use crate::cli::ONLY_CHECK;
use crate::privileges::Paths;
use crate::snapshot::{self, Haste};
use crate::stop::LOOK_EVERY;

/// How long the new program may take to say that it could start: large lists take seconds.
const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

/// The program that is started next: what we were started as, looked up anew.
#[derive(Debug)]
pub(super) struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What the program before us left, besides its sockets.
pub(super) struct Legacy {
    /// By which clients have connection ids.
    pub(super) key: ConnectionKey,
    swarms: BufReader<File>,
}

impl Successor {
    /// As the command line names it. A path is one from where we were started.
    pub(super) fn new(paths: &Paths) -> Self {
        let mut arguments = env::args_os();
        let program = PathBuf::from(arguments.next().unwrap_or_else(|| "peerage".into()));
        // A name without a folder is looked for as a shell does.
        let is_name = program.components().count() == 1 && !program.has_root();
        let program = if is_name { program } else { paths.started_in().join(program) };
        Self { program, arguments: arguments.collect() }
    }

    /// Has it look at the configuration and the lists, and say why it could not start.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = self.program.display();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(ONLY_CHECK).stdin(Stdio::null());
        // What it says in words has little room in a pipe, but more than enough.
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |error: io::Error| format!("cannot start {name}: {error}");
        let mut child = command.spawn().map_err(failed)?;
        let deadline = Instant::now() + CHECK_TIME_MAX;
        let status = loop {
            match child.try_wait().map_err(failed)? {
                Some(status) => break status,
                None if deadline <= Instant::now() => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("{name} says nothing for {CHECK_TIME_MAX:?}"));
                }
                None => thread::sleep(LOOK_EVERY / 5),
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        let stderr = child.stderr.take().map(|stderr| stderr.take(64 << 10));
        stderr.map(|mut stderr| stderr.read_to_string(&mut said));
        Err(format!("{name} could not start: {}", said.trim_end()))
    }

    /// Starts it in our place, with `descriptors`. Returns only where that fails, and why.
    pub(super) fn start(self, descriptors: &[OwnedFd]) -> io::Error {
        let mut command = Command::new(&self.program);
        command.args(self.arguments);
        match hand_over(&mut command, descriptors) {
            Ok(()) => command.exec(),
            Err(error) => error,
        }
    }
}

/// What the program before us left. Before anything is opened that could be taken for it.
pub(super) fn inherited() -> Result<(Inherited, Option<Legacy>), Failure> {
    let taken = Inherited::take().and_then(|mut inherited| {
        let legacy = Legacy::find(&mut inherited)?;
        Ok((inherited, legacy))
    });
    taken.map_err(|error| start_failure("take what was handed over", &error))
}

/// What is left to the next program besides the sockets. `swarms` where no file has them.
pub(super) fn leave(
    key: ConnectionKey,
    swarms: Option<(&Swarms, PeerIds)>,
    now: Now,
) -> io::Result<OwnedFd> {
    let mut out = BufWriter::new(file_in_memory()?);
    out.write_all(&key.0)?;
    if let Some((swarms, peer_ids)) = swarms {
        snapshot::write(&mut out, peer_ids, swarms, now, Haste::Urgent)?;
    }
    let mut file = out.into_inner()?;
    file.rewind()?;
    Ok(file.into())
}

impl Legacy {
    /// Of the program before us, if there was one.
    fn find(inherited: &mut Inherited) -> io::Result<Option<Self>> {
        let Some(file) = inherited.take_file() else { return Ok(None) };
        let mut swarms = BufReader::new(file);
        let mut key = [0; 16];
        swarms.read_exact(&mut key)?;
        Ok(Some(Self { key: ConnectionKey(key), swarms }))
    }

    /// Puts the swarms that were left into the store, if there are any.
    pub(super) fn restore(mut self, peer_ids: PeerIds, swarms: &Swarms, now: Now) {
        if self.swarms.fill_buf().is_ok_and(<[u8]>::is_empty) {
            return;
        }
        match snapshot::read(&mut self.swarms, peer_ids, swarms, now) {
            Ok((_, restored)) => info!("{} peers handed over", restored.peers),
            Err(error) => warn!("what was handed over {error}: clients will announce again"),
        }
    }
}
