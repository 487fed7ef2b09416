//! `peerage user`, `torrent`, `client` and `freeleech`: our own tables from the command line, with
//! or without a tracker that runs. One that does sees the change with its next flush.

pub(crate) mod change;
pub(crate) mod metainfo;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use peerage_proto::InfoHash;
use peerage_sql::{
    Access, ManageError, MemberEntry, Options, Own, Schema, Store, TokenEntry, TorrentEntry,
};
use peerage_tracker::AccessList;
use peerage_tracker::private::{Client, MemberId, Passkey, Pricing, Token, TorrentId};

use crate::config::value::Schema as Written;
use crate::config::{Config, DATA_DIR};
use crate::serve::Failure;
use change::{TorrentChange, UserChange, Wrong, new_member, new_torrent};

/// Entries that a list reads at once.
const PAGE: usize = 1000;

/// What is to be done with our tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Make a member, and print how it announces, at `host`.
    AddUser { name: String, change: UserChange, host: Option<String> },
    /// Change a member, and print how it announces where that changes.
    SetUser { name: String, change: UserChange, host: Option<String> },
    /// List all members.
    ListUsers,
    /// Remove a member with all that hangs on it.
    RemoveUser(String),
    /// Register a torrent: a `.torrent` file, or an info_hash in hex.
    AddTorrent { what: String, change: TorrentChange },
    /// Change a torrent.
    SetTorrent { what: String, change: TorrentChange },
    /// List all torrents.
    ListTorrents,
    /// Remove a torrent with all that hangs on it.
    RemoveTorrent(String),
    /// Put a client on a list, by the start of its peer_id.
    AddClient { prefix: String, name: String, is_denied: bool },
    /// List the clients of both lists.
    ListClients,
    /// Take a client off its list.
    RemoveClient(String),
    /// Give a member a token for a torrent.
    AddToken { user: String, what: String },
    /// List a member's tokens.
    ListTokens(String),
    /// Take a token back.
    RemoveToken { user: String, what: String },
}

impl Command {
    /// Does it, and says what is to be printed.
    pub(crate) fn run(&self, config: &Config) -> Result<String, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Start(error.to_string()))?;
        let options = options(config).map_err(Failure::Start)?;
        runtime.block_on(async {
            let store = Store::open(&options).await;
            let store = store.map_err(|error| Failure::Start(error.to_string()))?;
            let own = store.own().expect("the schema asked for is ours");
            let done = self.run_in(own, config).await;
            store.close().await;
            done.map_err(Failure::Start)
        })
    }

    async fn run_in(&self, own: Own<'_>, config: &Config) -> Result<String, String> {
        let mut text = String::new();
        match self {
            Self::AddUser { name, change, host } => {
                let urls = Urls { config, host: host.as_deref() };
                text = add_user(own, name, change, urls).await?;
            }
            Self::SetUser { name, change, host } => {
                let urls = Urls { config, host: host.as_deref() };
                text = set_user(own, name, change, urls).await?;
            }
            Self::ListUsers => text = list_users(own).await?,
            Self::RemoveUser(name) => {
                let user = find_user(own, name).await?;
                own.remove_member(user.member.id).await.map_err(said)?;
            }
            Self::AddTorrent { what, change } => text = add_torrent(own, what, change).await?,
            Self::SetTorrent { what, change } => {
                let mut entry = find_torrent(own, what).await?;
                change.make(&mut entry);
                own.put_torrent(&entry).await.map_err(said)?;
            }
            Self::ListTorrents => text = list_torrents(own).await?,
            Self::RemoveTorrent(what) => {
                let torrent = find_torrent(own, what).await?;
                own.remove_torrent(torrent.torrent.id).await.map_err(said)?;
            }
            Self::AddClient { prefix, name, is_denied } => {
                let client = Client { prefix: prefix.clone().into(), name: name.clone() };
                let access = if *is_denied { Access::Deny } else { Access::Allow };
                own.put_client(&client, access).await.map_err(said)?;
            }
            Self::ListClients => {
                for entry in own.clients().await.map_err(said)? {
                    let list = if entry.access == Access::Allow { "allowed" } else { "denied" };
                    let prefix = entry.client.prefix.escape_ascii();
                    line(&mut text, format_args!("{list:7} {prefix} {}", entry.client.name));
                }
            }
            Self::RemoveClient(prefix) => {
                if !own.remove_client(prefix.as_bytes()).await.map_err(said)? {
                    return Err(format!("there is no client {prefix}"));
                }
            }
            Self::AddToken { user, what } => {
                own.put_token(find_token(own, user, what).await?).await.map_err(said)?;
            }
            Self::ListTokens(user) => text = list_tokens(own, user).await?,
            Self::RemoveToken { user, what } => {
                if !own.remove_token(find_token(own, user, what).await?).await.map_err(said)? {
                    return Err(format!("{user} has no token for it"));
                }
            }
        }
        Ok(text)
    }
}

/// The database of the configuration. Errors: one line.
fn options(config: &Config) -> Result<Options, String> {
    let (database, process) = (&config.values.database, &config.values.process);
    let is_site = match database.schema {
        Written::Auto => config.values.gazelle.site_password.0.is_some(),
        Written::Peerage => false,
        _ => true,
    };
    if is_site {
        return Err("the tables are a Gazelle site's: the site manages its members".into());
    }
    let url = match (&database.url.0, &process.data_dir) {
        (url, _) if !url.is_empty() => url.clone(),
        (_, Some(data_dir)) => {
            std::fs::create_dir_all(data_dir)
                .map_err(|error| format!("cannot make {}: {error}", data_dir.display()))?;
            format!("sqlite:{}", data_dir.join("peerage.sqlite").display())
        }
        (_, None) => {
            return Err(format!(
                "there is no folder {DATA_DIR} here: run this where `peerage serve --private` was \
                 started, or name the tracker's by --data-dir or -c FILE"
            ));
        }
    };
    Ok(Options::new(url, Schema::Own))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn said(error: ManageError) -> String {
    error.to_string()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text");
}

async fn find_user(own: Own<'_>, name: &str) -> Result<MemberEntry, String> {
    let user = own.member_by_name(name).await.map_err(said)?;
    user.ok_or_else(|| format!("there is no user {name}"))
}

async fn find_torrent(own: Own<'_>, what: &str) -> Result<TorrentEntry, String> {
    let (info_hash, _) = torrent_of(what)?;
    let torrent = own.torrent(info_hash).await.map_err(said)?;
    torrent.ok_or_else(|| format!("there is no torrent {what}"))
}

async fn find_token(own: Own<'_>, user: &str, what: &str) -> Result<Token, String> {
    let member = find_user(own, user).await?.member.id;
    Ok(Token { member, torrent: find_torrent(own, what).await?.torrent.id })
}

/// The info_hash and the name of a torrent that is named by its file or in hex.
fn torrent_of(what: &str) -> Result<(InfoHash, String), String> {
    if let Some(info_hash) = AccessList::parse_hash(what) {
        return Ok((info_hash, what.to_ascii_lowercase()));
    }
    let unreadable = |error| format!("{what}: {error}; it is no info_hash of 40 hex digits either");
    let (mut bytes, path) = (Vec::new(), Path::new(what));
    let file = File::open(path).map_err(unreadable)?;
    file.take(metainfo::FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let found = metainfo::read(&bytes).ok_or_else(|| format!("{what} is no torrent"))?;
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = if found.name.is_empty() { stem() } else { found.name };
    Ok((InfoHash(found.info_hash), name))
}

async fn add_user(
    own: Own<'_>,
    name: &str,
    change: &UserChange,
    urls: Urls<'_>,
) -> Result<String, String> {
    let mut entry = new_member(name).map_err(Wrong::text)?;
    change.make(&mut entry).map_err(Wrong::text)?;
    own.put_member(&entry).await.map_err(said)?;
    Ok(urls.of(&entry.member.passkey))
}

async fn set_user(
    own: Own<'_>,
    name: &str,
    change: &UserChange,
    urls: Urls<'_>,
) -> Result<String, String> {
    let mut entry = find_user(own, name).await?;
    let before = entry.member.passkey;
    change.make(&mut entry).map_err(Wrong::text)?;
    own.put_member(&entry).await.map_err(said)?;
    let passkey = entry.member.passkey;
    let is_same = passkey == before;
    Ok(if is_same { String::new() } else { urls.of(&passkey) })
}

/// Where the tracker is.
struct Urls<'a> {
    config: &'a Config,
    /// In place of the machine's name.
    host: Option<&'a str>,
}

impl Urls<'_> {
    /// How a member announces: the passkey, and a URL for each protocol.
    fn of(&self, passkey: &Passkey) -> String {
        let passkey = String::from_utf8_lossy(&passkey.0);
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        let host = self.host.unwrap_or(if name.is_empty() { "localhost" } else { name });
        let (listen, mut text) = (&self.config.values.listen, String::new());
        let port = listen.port.0;
        line(&mut text, format_args!("passkey   {passkey}"));
        for (is_on, scheme) in [(listen.tcp, "http"), (listen.udp, "udp")] {
            if is_on {
                let url = format!("{scheme}://{host}:{port}/{passkey}/announce");
                line(&mut text, format_args!("announce  {url}"));
            }
        }
        text
    }
}

async fn list_users(own: Own<'_>) -> Result<String, String> {
    let (mut text, mut after) = (String::new(), MemberId(0));
    loop {
        let page = own.members(after, PAGE).await.map_err(said)?;
        let Some(last) = page.last() else { return Ok(text) };
        after = last.member.id;
        for entry in &page {
            let (id, up, down) = (entry.member.id.0, entry.uploaded, entry.downloaded);
            let mut marks = String::new();
            for (is_so, mark) in [
                (!entry.enabled, " disabled"),
                (!entry.member.can_leech, " no-leech"),
                (entry.member.protected, " protected"),
                (entry.member.free_leech, " free-leech"),
                (entry.member.double_upload, " double-upload"),
            ] {
                marks.push_str(if is_so { mark } else { "" });
            }
            let name = &entry.name;
            line(&mut text, format_args!("{id} {name} uploaded={up} downloaded={down}{marks}"));
        }
    }
}

async fn list_tokens(own: Own<'_>, user: &str) -> Result<String, String> {
    let user = find_user(own, user).await?;
    let mut text = String::new();
    for (token, torrent) in tokens_of(own, user.member.id).await.map_err(said)? {
        let state = if token.expired { "used-up" } else { "in-use" };
        let (hash, down) = (torrent.torrent.info_hash, token.downloaded);
        let name = &torrent.name;
        line(&mut text, format_args!("{hash} {name} {state} downloaded={down}"));
    }
    Ok(text)
}

/// The tokens of a member, at most 1000, each with its torrent.
pub(crate) async fn tokens_of(
    own: Own<'_>,
    member: MemberId,
) -> Result<Vec<(TokenEntry, TorrentEntry)>, ManageError> {
    let tokens = own.tokens(member).await?;
    let ids: Vec<TorrentId> = tokens.iter().map(|entry| entry.token.torrent).collect();
    let torrents = own.torrents_numbered(&ids).await?.into_iter();
    let mut torrents: BTreeMap<_, _> = torrents.map(|entry| (entry.torrent.id, entry)).collect();
    let of = |entry: TokenEntry| Some((entry, torrents.remove(&entry.token.torrent)?));
    Ok(tokens.into_iter().filter_map(of).collect())
}

async fn add_torrent(own: Own<'_>, what: &str, change: &TorrentChange) -> Result<String, String> {
    let (info_hash, name) = torrent_of(what)?;
    let mut entry = new_torrent(info_hash, &name);
    change.make(&mut entry);
    own.put_torrent(&entry).await.map_err(said)?;
    Ok(format!("{info_hash} {}\n", entry.name))
}

async fn list_torrents(own: Own<'_>) -> Result<String, String> {
    let (mut text, mut after) = (String::new(), TorrentId(0));
    loop {
        let page = own.torrents(after, PAGE).await.map_err(said)?;
        let Some(last) = page.last() else { return Ok(text) };
        after = last.torrent.id;
        for entry in &page {
            let pricing = match entry.torrent.pricing {
                Pricing::Normal => "",
                Pricing::Free => " free",
                Pricing::Neutral => " neutral",
            };
            let double = if entry.torrent.double_upload { " double-upload" } else { "" };
            let (hash, name) = (entry.torrent.info_hash, &entry.name);
            let (up, down, done) = (entry.seeders, entry.leechers, entry.torrent.completed);
            let counts = format!("seeders={up} leechers={down} completed={done}");
            line(&mut text, format_args!("{hash} {name} {counts}{pricing}{double}"));
        }
    }
}
