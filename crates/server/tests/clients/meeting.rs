//! Two clients, one swarm: one has the file, the other gets it, and the tracker counts them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peerage_testkit::{Counts, Folder, Server, Signal, Wait, wait_for};

use crate::client::{Client, Family, Job, Kind, LIMIT, UPLOAD_KIB_MAX};
use crate::payload::Payload;

/// How often clients that do not get on are told to announce again.
const NUDGE: Duration = Duration::from_secs(8);

/// How a client asks the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// BEP 3.
    Http,
    /// BEP 15.
    Udp,
}

/// Who is to meet whom, and how each asks the tracker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    /// Has the file.
    pub(crate) seeder: (Kind, Protocol),
    /// Wants it.
    pub(crate) leecher: (Kind, Protocol),
    /// The loopback address all of it happens at.
    pub(crate) family: Family,
}

impl Meeting {
    /// Who comes to the swarm first. Transmission dials nobody on loopback, so that the other one
    /// has to be told of it, and so comes last. For the rest either order would do.
    pub(crate) fn first(self) -> Role {
        match self.leecher.0 {
            Kind::Transmission => Role::Leecher,
            _ => Role::Seeder,
        }
    }
}

/// A part in a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has the file.
    Seeder,
    /// Wants it.
    Leecher,
}

/// What one meeting needs, and what it has seen.
pub(crate) struct Party<'a> {
    /// The tracker.
    pub(crate) server: &'a Server,
    /// The file.
    pub(crate) payload: &'a Payload,
    /// The swarm.
    pub(crate) info_hash: [u8; 20],
    /// The torrents, of the seeder and of the leecher: they differ in the tracker's URL only.
    pub(crate) torrents: [PathBuf; 2],
    /// What was seen at the tracker, and when.
    pub(crate) seen: Vec<(Instant, Counts)>,
}

/// The two of a meeting, running.
struct Couple {
    seeder: Box<dyn Client>,
    leecher: Box<dyn Client>,
}

impl Party<'_> {
    /// What was seen at the tracker, in order, and how many seconds each step took.
    pub(crate) fn seen(&self) -> String {
        let mut before = self.seen.first().map(|&(when, _)| when);
        let mut text = String::new();
        for &(when, counts) in &self.seen {
            let took = before.replace(when).map_or(0.0, |before| (when - before).as_secs_f64());
            text.push_str(&format!("  {took:.1} s {counts}"));
        }
        text
    }

    /// Runs the meeting from an empty swarm to an empty swarm.
    pub(crate) fn run(&mut self, meeting: Meeting) -> Result<Duration, String> {
        let started = Instant::now();
        let folder = Folder::new("clients")?;
        let content = folder.inner("content")?;
        self.expect(&[counts(0, 0, 0)], &mut [])?;
        let Couple { mut seeder, mut leecher } = self.gather(meeting, &folder, &content)?;
        self.expect(&[counts(1, 1, 0)], &mut [&mut *seeder, &mut *leecher])?;
        self.expect(&[counts(2, 0, 1)], &mut [&mut *seeder, &mut *leecher])?;
        self.whole(&content, &mut *leecher)?;
        leecher.leave()?;
        self.expect(&[counts(1, 0, 1)], &mut [])
            .map_err(|what| leecher.process().explain(&what))?;
        seeder.leave()?;
        // An empty swarm may be forgotten, and how often it was finished with it.
        self.expect(&[counts(0, 0, 1), counts(0, 0, 0)], &mut [])
            .map_err(|what| seeder.process().explain(&what))?;
        Ok(started.elapsed())
    }

    /// Two clients have the file, and the second is killed before it can say `stopped`.
    pub(crate) fn outlive(&mut self, meeting: Meeting) -> Result<(), String> {
        let folder = Folder::new("clients")?;
        let [first, second] = self.torrents.clone();
        let job = |torrent, state| {
            let content = self.payload.folder.clone();
            Ok::<_, String>(Job {
                torrent,
                content,
                state: folder.inner(state)?,
                family: meeting.family,
                upload_kib_max: UPLOAD_KIB_MAX,
            })
        };
        let (first, second) = (job(first, "first")?, job(second, "second")?);
        let mut first = meeting.seeder.0.start(&first)?;
        self.expect(&[counts(1, 0, 0)], &mut [&mut *first])?;
        let mut second = meeting.leecher.0.start(&second)?;
        self.expect(&[counts(2, 0, 0)], &mut [&mut *first, &mut *second])?;
        second.process().signal(Signal::Kill)?;
        self.expect(&[counts(1, 0, 0)], &mut [&mut *first])
    }

    /// Starts both clients, the second when the first is counted.
    fn gather(
        &mut self,
        meeting: Meeting,
        folder: &Folder,
        content: &Path,
    ) -> Result<Couple, String> {
        let [seeder, leecher] = self.torrents.clone();
        let seeder = Job {
            torrent: seeder,
            content: self.payload.folder.clone(),
            state: folder.inner("seeder")?,
            family: meeting.family,
            upload_kib_max: UPLOAD_KIB_MAX,
        };
        let leecher = Job {
            torrent: leecher,
            content: content.to_owned(),
            state: folder.inner("leecher")?,
            family: meeting.family,
            upload_kib_max: UPLOAD_KIB_MAX,
        };
        match meeting.first() {
            Role::Seeder => {
                let mut seeder = meeting.seeder.0.start(&seeder)?;
                self.expect(&[counts(1, 0, 0)], &mut [&mut *seeder])?;
                Ok(Couple { seeder, leecher: meeting.leecher.0.start(&leecher)? })
            }
            Role::Leecher => {
                let mut leecher = meeting.leecher.0.start(&leecher)?;
                self.expect(&[counts(0, 1, 0)], &mut [&mut *leecher])?;
                Ok(Couple { seeder: meeting.seeder.0.start(&seeder)?, leecher })
            }
        }
    }

    /// Waits until a scrape says one of `next`. Until then it says what it last did: anything else
    /// was never true of this swarm, and fails at once.
    fn expect(&mut self, next: &[Counts], clients: &mut [&mut dyn Client]) -> Result<(), String> {
        let last = self.seen.last().map(|&(_, counts)| counts).unwrap_or_default();
        let (server, info_hash) = (self.server, self.info_hash);
        let mut nudged = Instant::now();
        let found = wait_for(&format!("scrape of {}", next[0]), LIMIT, || {
            for client in clients.iter_mut() {
                if !client.process().is_alive() {
                    return Err("a client ended by itself".to_owned());
                }
            }
            if nudged.elapsed() > NUDGE {
                nudged = Instant::now();
                clients.iter_mut().try_for_each(|client| client.reannounce())?;
            }
            match server.scrape(info_hash)? {
                counts if next.contains(&counts) => Ok(Wait::Done(counts)),
                counts if counts == last => Ok(Wait::NotYet(counts.to_string())),
                counts => Err(format!("the scrape went from {last} to {counts}")),
            }
        });
        let explain = |what: String| {
            clients.iter_mut().fold(what, |what, client| client.process().explain(&what))
        };
        self.seen.push((Instant::now(), found.map_err(explain)?));
        Ok(())
    }

    /// Waits for the file: what a client has reported as completed it may yet have to write.
    fn whole(&self, content: &Path, leecher: &mut dyn Client) -> Result<(), String> {
        wait_for("whole file", LIMIT, || {
            Ok(match self.payload.is_whole(content) {
                true => Wait::Done(()),
                false => Wait::NotYet("it differs from what was shared".to_owned()),
            })
        })
        .map_err(|what| leecher.process().explain(&what))
    }
}

fn counts(seeders: u32, leechers: u32, completed: u32) -> Counts {
    Counts { seeders, leechers, completed }
}

impl fmt::Display for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((seeder, to), (leecher, from)) = (self.seeder, self.leecher);
        let protocols = format!("{to:?}/{from:?}").to_lowercase();
        write!(f, "{protocols:9} {:?}  {:12} -> {:12}", self.family, seeder.name(), leecher.name())
    }
}
