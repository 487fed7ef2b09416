//! Transfers at a private tracker: members' clients, what they moved, and what they are credited.
//!
//! Three numbers are compared for each member, with no tolerance: what its client shows its user,
//! what it announced, and what stands in the tables.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use peerage_testkit::{Folder, Signal, Wait, wait_for};

use super::site::{Books, Registered, Site, passkey};
use super::tap::{Account, Announced, Moved};
use crate::client::{Client, Family, Figures, Job, Kind, LIMIT};
use crate::meeting::{Meeting, Protocol, Role};
use crate::payload::{Order, Payload};

/// How often clients are told to announce, where they can be told.
const NUDGE: Duration = Duration::from_secs(3);

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Who sends the file to whom.
    pub(crate) meeting: Meeting,
    /// Whether the torrent is free to download.
    pub(crate) is_free: bool,
    /// Most KiB a second that the seeder uploads.
    pub(crate) upload_kib_max: u32,
}

/// A member's client.
pub(crate) struct Side {
    /// The member's name.
    pub(crate) member: String,
    kind: Kind,
    role: Role,
    job: Job,
    /// Whether it is told to announce now and then.
    is_told: bool,
    /// What its client showed when it was last ended.
    shown_before: Figures,
    /// `None` while it is not running.
    client: Option<Box<dyn Client>>,
}

/// One file on its way from one member to another.
pub(crate) struct Transfer {
    pub(crate) plan: Plan,
    pub(crate) seeder: Side,
    pub(crate) leecher: Side,
}

/// A site and the transfers at it.
pub(crate) struct Stage {
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) site: Site,
    payload: Payload,
    length: u64,
    // Dropped after what writes to it.
    _folder: Folder,
}

impl Stage {
    /// A running site, and members' clients that are not running yet.
    pub(crate) fn new(books: Books, plans: &[Plan], length: usize) -> Result<Self, String> {
        let folder = Folder::new("stage")?;
        let payload = Payload::make(folder.inner("payload")?, length)?;
        let mut site = Site::new(books)?;
        let (mut transfers, mut orders) = (Vec::new(), Vec::new());
        for (index, &plan) in plans.iter().enumerate() {
            let side = |role: Role| {
                let (kind, protocol, name, content) = match (role, plan.meeting) {
                    (Role::Seeder, Meeting { seeder: (kind, protocol), .. }) => {
                        (kind, protocol, "seeder", payload.folder.clone())
                    }
                    (Role::Leecher, Meeting { leecher: (kind, protocol), .. }) => {
                        (kind, protocol, "leecher", folder.inner(&format!("content{index}"))?)
                    }
                };
                let member = format!("{name}{index}");
                let torrent = folder.path().join(format!("{member}.torrent"));
                let order = Order {
                    torrent: torrent.clone(),
                    url: site.url(protocol, plan.meeting.family, &passkey(&member)),
                    swarm: format!("transfer{index}"),
                };
                let state = folder.inner(&member)?;
                let Plan { meeting: Meeting { family, .. }, upload_kib_max, .. } = plan;
                let job = Job { torrent, content, state, family, upload_kib_max };
                let is_told = is_told(role, kind, protocol, plan.meeting.family);
                let (shown_before, client) = (Figures::default(), None);
                let side = Side { member, kind, role, job, is_told, shown_before, client };
                Ok::<_, String>((order, side))
            };
            let ((to, seeder), (from, leecher)) = (side(Role::Seeder)?, side(Role::Leecher)?);
            orders.extend([to, from]);
            transfers.push(Transfer { plan, seeder, leecher });
        }
        let hashes = payload.torrents(&orders)?;
        let members: Vec<String> =
            transfers.iter().flat_map(Transfer::members).map(str::to_owned).collect();
        let of_each = hashes.iter().step_by(2).zip(plans);
        let torrents: Vec<Registered> = of_each
            .map(|(&info_hash, plan)| Registered { info_hash, is_free: plan.is_free })
            .collect();
        site.register(&members, &torrents)?;
        site.start()?;
        Ok(Self { transfers, site, payload, length: length as u64, _folder: folder })
    }

    /// Starts all clients, and waits until each has been heard of.
    pub(crate) fn gather(&mut self) -> Result<(), String> {
        for transfer in &mut self.transfers {
            let (seeder, leecher) = (&mut transfer.seeder, &mut transfer.leecher);
            let order = match transfer.plan.meeting.first() {
                Role::Seeder => [seeder, leecher],
                Role::Leecher => [leecher, seeder],
            };
            for side in order {
                side.start(&self.site)?;
            }
        }
        Ok(())
    }

    /// Waits until every file has arrived and every leecher has said so.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.wait("announce of a whole file", 3 * LIMIT, |side, announces| {
            Ok(side.role == Role::Seeder || announces.iter().any(|one| one.left == 0))
        })?;
        for transfer in &mut self.transfers {
            let (payload, content) = (&self.payload, &transfer.leecher.job.content);
            let whole = wait_for("whole file", LIMIT, || {
                Ok(match payload.is_whole(content) {
                    true => Wait::Done(()),
                    false => Wait::NotYet("it differs from what was shared".to_owned()),
                })
            });
            whole.map_err(|what| transfer.leecher.explain(&what))?;
        }
        Ok(())
    }

    /// Waits until `is_so` of every client, by what it announced and was granted. They are told to
    /// announce meanwhile.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut(&mut Side, &[Announced]) -> Result<bool, String>,
    ) -> Result<(), String> {
        let mut nudged = Instant::now();
        let (site, transfers) = (&self.site, &mut self.transfers);
        let mut late = (0, Role::Seeder);
        let waited = wait_for(what, limit, || {
            if nudged.elapsed() > NUDGE {
                nudged = Instant::now();
                for side in transfers.iter_mut().flat_map(Transfer::sides) {
                    side.nudge()?;
                }
            }
            for (index, transfer) in transfers.iter_mut().enumerate() {
                for side in transfer.sides() {
                    let mut announces = site.tap.announces(&passkey(&side.member));
                    announces.retain(|announced| announced.is_granted);
                    if !is_so(side, &announces)? {
                        late = (index, side.role);
                        return Ok(Wait::NotYet(format!(
                            "{}: {:?}",
                            side.member,
                            announces.last()
                        )));
                    }
                }
            }
            Ok(Wait::Done(()))
        });
        waited.map_err(|what| {
            let transfer = &mut transfers[late.0];
            let what = transfer.leecher.explain(&what);
            transfer.seeder.explain(&what)
        })
    }

    /// Waits until every client that is told to has announced once more.
    pub(crate) fn announce(&mut self) -> Result<(), String> {
        let tap = &self.site.tap;
        let count = |side: &Side| tap.announces(&passkey(&side.member)).len();
        let sides = self.transfers.iter_mut().flat_map(Transfer::sides);
        let before: Vec<usize> = sides
            .map(|side| {
                side.nudge()?;
                Ok(count(side))
            })
            .collect::<Result<_, String>>()?;
        let members = self.transfers.iter().flat_map(Transfer::members);
        let before: HashMap<String, usize> = members.map(str::to_owned).zip(before).collect();
        self.wait("announce of everyone", LIMIT, |side, announces| {
            Ok(!side.is_told || before[&side.member] < announces.len())
        })
    }

    /// Waits until every leecher that is told to announce has announced this part of the file.
    pub(crate) fn reach(&mut self, part: u64) -> Result<(), String> {
        self.wait("announce of a part", LIMIT, |side, announces| {
            let is_watched = side.role == Role::Leecher && side.is_told;
            Ok(!is_watched || announces.iter().any(|one| part <= one.moved.downloaded))
        })
    }

    /// Waits until every leecher's client shows so many bytes more than it announced last.
    pub(crate) fn pass(&mut self, bytes: u64) -> Result<(), String> {
        self.wait("progress", LIMIT, |side, announces| {
            if side.role == Role::Seeder {
                return Ok(true);
            }
            let announced = announces.last().map_or(0, |announced| announced.moved.downloaded);
            Ok(announced + bytes <= side.client()?.figures()?.downloaded)
        })
    }

    /// Waits until all that was announced is written.
    pub(crate) fn wait_for_flush(&self) -> Result<(), String> {
        wait_for("flush", LIMIT, || {
            Ok(match self.owes()? {
                true => Wait::NotYet("rows are waiting".to_owned()),
                false => Wait::Done(()),
            })
        })
    }

    /// Whether anything that was announced is not written.
    pub(crate) fn owes(&self) -> Result<bool, String> {
        for member in self.transfers.iter().flat_map(Transfer::members) {
            let counted = self.site.tap.account(&passkey(member))?.counted;
            if self.site.credited(member)? != counted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether any leecher has announced that it has the whole file.
    pub(crate) fn is_any_finished(&self) -> bool {
        self.transfers.iter().any(|transfer| {
            let announces = self.site.tap.announces(&passkey(&transfer.leecher.member));
            announces.iter().any(|announced| announced.left == 0)
        })
    }

    /// Makes all clients leave, and waits until the tracker has been told.
    pub(crate) fn leave(&mut self) -> Result<(), String> {
        for side in self.transfers.iter_mut().flat_map(Transfer::sides) {
            side.client()?.leave()?;
        }
        self.wait("announce of the stop", LIMIT, |_, announces| {
            Ok(announces.last().is_some_and(|announced| announced.event == "stopped"))
        })
    }

    /// Compares what each client shows, what it announced, and what it is credited.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for transfer in &mut self.transfers {
            let Plan { meeting, is_free, .. } = transfer.plan;
            for side in transfer.sides() {
                let Account { shown, counted } = self.site.tap.account(&passkey(&side.member))?;
                side.wait_to_show(shown)?;
                let downloaded = if is_free { 0 } else { counted.downloaded };
                let credited = Moved { downloaded, ..counted };
                self.site.wait_for_credit(&side.member, credited)?;
                println!("{meeting} {:9} shown {shown}, credited {credited}", side.member);
            }
        }
        Ok(())
    }

    /// As [`Stage::settle`], where every leecher has told of all that came: its sessions together
    /// show the file, once.
    pub(crate) fn settle_sessions(&mut self) -> Result<(), String> {
        self.settle()?;
        for side in self.transfers.iter().map(|transfer| &transfer.leecher) {
            let Account { shown, .. } = self.site.tap.account(&passkey(&side.member))?;
            let expected = side.moves(self.length);
            if shown != expected {
                return Err(format!("{} announced {shown} in all, not {expected}", side.member));
            }
        }
        Ok(())
    }

    /// As [`Stage::settle`], where nothing was sent twice: what was announced is the file.
    pub(crate) fn settle_to_the_byte(&mut self) -> Result<(), String> {
        self.settle()?;
        for side in self.transfers.iter_mut().flat_map(Transfer::sides) {
            let announced = self.site.tap.account(&passkey(&side.member))?;
            let expected = side.moves(self.length);
            if announced != (Account { shown: expected, counted: expected }) {
                return Err(format!("{} announced {announced:?}, not {expected}", side.member));
            }
        }
        Ok(())
    }
}

/// Whether a client is told to announce now and then.
fn is_told(role: Role, kind: Kind, protocol: Protocol, family: Family) -> bool {
    match (role, kind, protocol, family) {
        // It does not within a minute of its last announce over UDP, whose replies carry no minimum
        // interval.
        (_, Kind::QBittorrent, Protocol::Udp, _) => false,
        // One that learns of a leecher it is connected to dials it as well, over IPv6, and sends
        // some blocks twice in the end.
        (Role::Seeder, Kind::QBittorrent | Kind::Libtorrent, _, Family::V6) => false,
        _ => true,
    }
}

impl Transfer {
    fn members(&self) -> [&str; 2] {
        [&self.seeder.member, &self.leecher.member]
    }

    /// Both clients.
    pub(crate) fn sides(&mut self) -> [&mut Side; 2] {
        [&mut self.seeder, &mut self.leecher]
    }
}

impl Side {
    /// Starts its client, and waits until it has been heard of.
    pub(crate) fn start(&mut self, site: &Site) -> Result<(), String> {
        self.start_then(site, |_| Ok(()))
    }

    /// Starts its client on what it has kept.
    pub(crate) fn start_again(&mut self, site: &Site) -> Result<(), String> {
        self.start_then(site, |client| client.come_back())
    }

    fn start_then(
        &mut self,
        site: &Site,
        then: impl FnOnce(&mut dyn Client) -> Result<(), String>,
    ) -> Result<(), String> {
        let starts = |member: &str| {
            let announces = site.tap.announces(&passkey(member));
            announces.iter().filter(|one| one.is_granted && one.event == "started").count()
        };
        let before = starts(&self.member);
        let client = self.client.insert(self.kind.start(&self.job)?);
        then(&mut **client)?;
        let heard = wait_for("announce of the start", LIMIT, || {
            Ok(match starts(&self.member) {
                count if before < count => Wait::Done(()),
                _ => Wait::NotYet("none came".to_owned()),
            })
        });
        heard.map_err(|what| self.explain(&what))
    }

    /// Kills its client where it stands. What it had moved since its last announce nobody knows.
    pub(crate) fn kill9(&mut self, site: &Site) -> Result<(), String> {
        self.client()?.process().signal(Signal::Kill)?;
        self.client()?.process().ended(LIMIT)?;
        let Moved { uploaded, downloaded } = site.tap.account(&passkey(&self.member))?.shown;
        self.shown_before = Figures { uploaded, downloaded };
        self.client = None;
        Ok(())
    }

    /// Its client, while it runs.
    pub(crate) fn client(&mut self) -> Result<&mut dyn Client, String> {
        match &mut self.client {
            Some(client) => Ok(&mut **client),
            None => Err(format!("{} does not run", self.member)),
        }
    }

    /// What its client counts where the file of `length` bytes goes over once.
    fn moves(&self, length: u64) -> Moved {
        const BLOCK_BYTES: u64 = 1 << 14;
        /// Length, kind, piece and offset before the block (BEP 3).
        const HEADER_BYTES: u64 = 13;
        let headers = length.div_ceil(BLOCK_BYTES) * HEADER_BYTES;
        match (self.role, self.kind) {
            // It counts the whole message that carries a block as data of the file, so that a
            // seeder is credited a thousandth more than its leecher is charged.
            (Role::Seeder, Kind::Transmission) => {
                Moved { uploaded: length + headers, downloaded: 0 }
            }
            (Role::Seeder, _) => Moved { uploaded: length, downloaded: 0 },
            (Role::Leecher, _) => Moved { uploaded: 0, downloaded: length },
        }
    }

    /// Waits until its client shows what it announced. Web pages are a second or two behind.
    fn wait_to_show(&mut self, announced: Moved) -> Result<(), String> {
        let Figures { uploaded, downloaded } = self.shown_before;
        let client = self.client()?;
        let shown = wait_for(&format!("{announced} at the client"), LIMIT, || {
            let now = client.figures()?;
            let shown = Moved {
                uploaded: uploaded + now.uploaded,
                downloaded: downloaded + now.downloaded,
            };
            Ok(if shown == announced { Wait::Done(()) } else { Wait::NotYet(shown.to_string()) })
        });
        shown.map_err(|what| self.explain(&what))
    }

    /// Leaves the swarm, ends the client as its user would, and starts it again.
    pub(crate) fn restart(&mut self, site: &Site) -> Result<(), String> {
        let member = self.member.clone();
        let client = self.client()?;
        client.leave()?;
        let stopped = wait_for("announce of the stop", LIMIT, || {
            let announces = site.tap.announces(&passkey(&member));
            let last = announces.into_iter().rfind(|announced| announced.is_granted);
            Ok(match last {
                Some(announced) if announced.event == "stopped" => Wait::Done(()),
                last => Wait::NotYet(format!("{last:?}")),
            })
        });
        stopped.map_err(|what| client.process().explain(&what))?;
        let announced = site.tap.account(&passkey(&self.member))?.shown;
        self.wait_to_show(announced)?;
        let Moved { uploaded, downloaded } = announced;
        self.shown_before = Figures { uploaded, downloaded };
        self.client()?.quit()?;
        self.start_again(site)
    }

    fn nudge(&mut self) -> Result<(), String> {
        let Some(client) = &mut self.client else { return Ok(()) };
        match (client.process().is_alive(), self.is_told) {
            (false, _) => Err(self.explain("it ended by itself")),
            (true, true) => client.reannounce(),
            (true, false) => Ok(()),
        }
    }

    fn explain(&mut self, what: &str) -> String {
        match &mut self.client {
            Some(client) => client.process().explain(what),
            None => what.to_owned(),
        }
    }
}
