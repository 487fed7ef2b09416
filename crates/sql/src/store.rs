//! The door to a database: opened once, read at the start and on a reload, written in batches.

use std::net::IpAddr;

use peerage_tracker::private::{
    Batch, Client, Member, MemberId, PeerRow, Token, Torrent, TorrentId,
};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::database::{Connection, Database};
use crate::fields::Tables;
use crate::gazelle::{self, Gazelle};
use crate::own::{Own, OwnTables};
use crate::write::{self, Held, Marks, Outcome, Writer, Writing};
use crate::{Dialect, Error, Options, Schema};

/// Rows that are read at once: some megabytes, in a fraction of a second.
pub(crate) const PAGE_ROWS: usize = 20_000;

/// What a private tracker is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Members who may announce.
    pub members: Vec<Member>,
    /// Torrents that may be announced.
    pub torrents: Vec<Torrent>,
    /// Tokens that are in use.
    pub tokens: Vec<Token>,
    /// Clients that are let in; none for all.
    pub clients: Vec<Client>,
    /// Clients that are kept out. Gazelle has no such list.
    pub denied_clients: Vec<Client>,
}

/// A private tracker's database.
///
/// At most four connections, made when they are needed and made anew when they die: the waiting
/// between tries is the caller's. Every call is bounded by the times of [`Options`].
pub struct Store {
    database: Database,
    tables: AnyTables,
    readonly: bool,
    /// Held while a batch is written: one at a time.
    writing: Mutex<Writing>,
}

enum AnyTables {
    Gazelle(Gazelle),
    Own(OwnTables),
}

impl Store {
    /// Connects, and makes or brings up to date what tables are ours. Fails where the database is
    /// not reached or not as it should be.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let database = Database::new(options)?;
        let tables = match options.schema {
            Schema::Gazelle(_) if database.dialect != Dialect::MySql => {
                let what = "a Gazelle site's database is MariaDB or MySQL".to_owned();
                return Err(Error::Setup(what));
            }
            Schema::Gazelle(dialect) => {
                AnyTables::Gazelle(Gazelle::open(&database, dialect, options.shared).await?)
            }
            Schema::Own => {
                if !options.readonly {
                    database.acquire().await?.migrate().await?;
                }
                AnyTables::Own(OwnTables)
            }
        };
        let are_kept = !options.readonly && database.acquire().await?.prepare_marks().await?;
        if !are_kept && !options.readonly {
            warn!(
                "there is no table peerage_flush and no right to make it: should a connection die \
                 while it commits, up to a thousand rows may count twice"
            );
        }
        let writing = Writing {
            marks: Marks::new(are_kept),
            held: None,
            batch: Batch::default(),
            outcome: Outcome::default(),
        };
        Ok(Self { database, tables, readonly: options.readonly, writing: Mutex::new(writing) })
    }

    /// Reads members, torrents, tokens and clients. At the start, and on every reload.
    pub async fn load(&self) -> Result<Loaded, Error> {
        let mut connection = self.database.acquire().await?;
        let loaded = match &self.tables {
            AnyTables::Gazelle(gazelle) => gazelle.load(&mut connection).await?,
            AnyTables::Own(_) => OwnTables::load(&mut connection).await?,
        };
        info!(
            "loaded: {} members, {} torrents, {} tokens, {} clients",
            loaded.members.len(),
            loaded.torrents.len(),
            loaded.tokens.len(),
            loaded.clients.len() + loaded.denied_clients.len()
        );
        Ok(loaded)
    }

    /// Reads the peers that were heard from since `since_secs` (seconds since 1970) and did not
    /// stop: what their counters stood at, so that a restart loses no credit. For the start,
    /// before [`Store::clear`]. A port is 0 where the schema has none.
    pub async fn peers(&self, since_secs: u64) -> Result<Vec<PeerRow>, Error> {
        let mut connection = self.database.acquire().await?;
        match &self.tables {
            AnyTables::Gazelle(gazelle) => gazelle.peers(&mut connection, since_secs).await,
            AnyTables::Own(_) => OwnTables::peers(&mut connection, since_secs).await,
        }
    }

    /// Gives who has completed which of `torrents`, whose numbers rise, so that it counts once also
    /// after a restart. Some are given more than once where the tables have them so. In pages: with
    /// Gazelle's tables of the snatches of some torrents, with ours of a fixed number.
    pub async fn snatches(
        &self,
        torrents: &[TorrentId],
        mut give: impl FnMut(MemberId, TorrentId),
    ) -> Result<(), Error> {
        let mut connection = self.database.acquire().await?;
        match &self.tables {
            AnyTables::Gazelle(_) => gazelle::snatches(&mut connection, torrents, &mut give).await,
            AnyTables::Own(_) => OwnTables::snatches(&mut connection, &mut give).await,
        }
    }

    /// Says in the database who is not here. For the start; nothing where nothing is written.
    ///
    /// Peers that were heard from since `kept_since_secs` stay as they are, where their members may
    /// announce: those that [`Store::peers`] gave, so that another restart finds them too. With
    /// `None` nobody is here. With Gazelle's tables the rows of others are removed from
    /// `xbt_files_users`, with ours they stay and are no longer active.
    pub async fn clear(&self, kept_since_secs: Option<u64>) -> Result<(), Error> {
        if self.readonly {
            return Ok(());
        }
        let mut connection = self.database.acquire().await?;
        match &self.tables {
            AnyTables::Gazelle(gazelle) => gazelle.clear(&mut connection, kept_since_secs).await,
            AnyTables::Own(_) => OwnTables::clear(&mut connection, kept_since_secs).await,
        }
    }

    /// Says in the database that peers not heard from since `before_secs` (seconds since 1970) are
    /// not here. For trackers that share it, at the start instead of [`Store::clear`] and from time
    /// to time: nobody else says so of a tracker that died. Goes through all peers; nothing where
    /// nothing is written.
    pub async fn sweep(&self, before_secs: u64) -> Result<(), Error> {
        if self.readonly {
            return Ok(());
        }
        let mut connection = self.database.acquire().await?;
        match &self.tables {
            AnyTables::Gazelle(gazelle) => gazelle.sweep(&mut connection, before_secs).await,
            AnyTables::Own(_) => OwnTables::sweep(&mut connection, before_secs).await,
        }
    }

    /// Writes a batch. Rows of it that are not in SQL afterwards are in [`Outcome::left`], to be
    /// put back, or in [`Outcome::dead`]; at most one transaction more is held here, of which
    /// nobody knows yet, and which the next call finds out about first. Where nothing is written,
    /// the batch is dropped.
    ///
    /// Who stops waiting for it loses nothing, unless two write at once: [`Store::take_back`]
    /// gives the rest of the batch.
    pub async fn write(&self, batch: Batch) -> Outcome {
        // At once where nobody else writes: who stops waiting here would take the batch along.
        let mut writing = match self.writing.try_lock() {
            Ok(writing) => writing,
            Err(_) => self.writing.lock().await,
        };
        if self.readonly {
            return Outcome::default();
        }
        write::append(&mut writing.batch, batch);
        self.write_all(&mut writing).await
    }

    /// What was to be written by a call of [`Store::write`] that nobody waits for any more, and is
    /// not on its way. To be put back before the next: what came meanwhile is newer.
    pub async fn take_back(&self) -> Batch {
        std::mem::take(&mut self.writing.lock().await.batch)
    }

    async fn write_all(&self, writing: &mut Writing) -> Outcome {
        let has_torrents = !writing.batch.torrents.is_empty();
        if writing.batch.rows() > 0 || writing.held.is_some() {
            match self.database.acquire().await {
                Ok(mut connection) => {
                    let tables: &(dyn Tables + Sync) = match &self.tables {
                        AnyTables::Gazelle(gazelle) => gazelle,
                        AnyTables::Own(own) => own,
                    };
                    Writer { connection: &mut connection, tables, writing }.write().await;
                    if has_torrents && writing.outcome.error.is_none() {
                        writing.outcome.error = self.clean(&mut connection).await.err();
                    }
                }
                Err(error) => writing.outcome.error = Some(error),
            }
        }
        let left = std::mem::take(&mut writing.batch);
        Outcome { left, ..std::mem::take(&mut writing.outcome) }
    }

    async fn clean(&self, connection: &mut Connection) -> Result<(), Error> {
        match &self.tables {
            AnyTables::Gazelle(gazelle) => gazelle.clean(connection).await,
            AnyTables::Own(_) => Ok(()),
        }
    }

    /// Takes everything that is to be kept outside of SQL at the end of the process: `batch`, and
    /// what is held here. [`Store::write_held`] writes it after the next start, and none of it
    /// twice.
    pub async fn hold(&self, mut batch: Batch) -> Vec<Held> {
        let mut writing = self.writing.lock().await;
        let mut held: Vec<Held> = writing.held.take().into_iter().collect();
        write::append(&mut batch, std::mem::take(&mut writing.batch));
        if !self.readonly {
            held.extend(write::hold(&batch, &mut writing.marks));
        }
        held
    }

    /// Writes what [`Store::hold`] gave, here or in an earlier process. An error says that it is
    /// not known to be written, and to be called again with the same rows. Without one they are
    /// done with: those in [`Outcome::left`] are to be put back.
    pub async fn write_held(&self, held: Held) -> Outcome {
        let mut writing = self.writing.lock().await;
        if self.readonly {
            return Outcome::default();
        }
        if writing.held.as_ref().is_some_and(|before| *before != held) {
            // Of a batch of this process, and before anything else.
            let outcome = self.write_all(&mut writing).await;
            if writing.held.is_some() {
                write::append(&mut writing.batch, outcome.left);
                return Outcome { left: Batch::default(), ..outcome };
            }
            write::append(&mut writing.batch, outcome.left);
        }
        let number = (held.writer, held.number);
        writing.held = Some(held);
        let outcome = self.write_all(&mut writing).await;
        // They stay the caller's while they are not written.
        let unwritten = writing.held.take_if(|held| (held.writer, held.number) == number);
        // What keeps single rows out is told when they are tried again.
        let error = outcome.error.filter(|_| unwritten.is_some());
        Outcome { error, ..outcome }
    }

    /// Our own tables, to be managed; `None` where they are a site's.
    pub fn own(&self) -> Option<Own<'_>> {
        match &self.tables {
            AnyTables::Own(_) => Some(Own { database: &self.database }),
            AnyTables::Gazelle(_) => None,
        }
    }

    /// A number that is another after each change of members, torrents, clients or tokens by
    /// [`Own`], in whichever process. With Gazelle's tables always 0: the site tells by itself.
    pub async fn revision(&self) -> Result<i64, Error> {
        match &self.tables {
            AnyTables::Own(_) => OwnTables::revision(&mut self.database.acquire().await?).await,
            AnyTables::Gazelle(_) => Ok(0),
        }
    }

    /// Closes the connections, in bounded time.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// An address as it is kept; `None` for none.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// 20 bytes; what MariaDB cut off the end of a binary column were zeros.
pub(crate) fn padded(bytes: &[u8]) -> [u8; 20] {
    let mut padded = [0; 20];
    let length = bytes.len().min(20);
    padded[..length].copy_from_slice(&bytes[..length]);
    padded
}
