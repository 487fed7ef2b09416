//! Every setting, once: its name, its type, its default and its doc.
//!
//! The struct, the reading of file, environment and flags, `peerage.example.toml`, the manual and
//! `peerage print-config` all come from this table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use peerage_proto::http::HEAD_BYTES_MAX;
use peerage_tracker::{Limits, Prefix};

use super::value::{
    Absent, Auto, BindAddress, Bytes, Kind, Load, LogFormat, LogLevel, Many, Password, PricingWord,
    Raw, RedisUrl, ReportStyle, Schema, Seconds, Secret, SecretUrl, Shape, SharedLayout, Value,
    Whole,
};

/// What a change of a setting needs to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// SIGHUP.
    Reload,
    /// A new start.
    Restart,
}

/// A setting's entry in the table, but for its value.
pub(crate) struct Key {
    /// Section and key: `listen.port`.
    pub(crate) name: &'static str,
    /// Its doc, by lines.
    pub(crate) doc: &'static [&'static str],
    /// What a change needs.
    pub(crate) takes: Takes,
    /// What is right, see [`Value::right`].
    pub(crate) right: fn() -> String,
    /// What its values are like, see [`Value::shape`].
    pub(crate) shape: fn() -> Shape,
}

/// A section of the file.
pub(crate) struct Section {
    /// Its name, without brackets.
    pub(crate) name: &'static str,
    /// Its doc, by lines.
    pub(crate) doc: &'static [&'static str],
    /// Its settings.
    pub(crate) keys: &'static [Key],
}

impl Key {
    /// Its variable in the environment: `PEERAGE__LISTEN__PORT`.
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.name.replace('.', "__").to_uppercase())
    }

    /// Whether the API may change it: not what takes a restart, and never which files are opened.
    pub(crate) fn is_live(&self) -> bool {
        let kind = (self.shape)().kind;
        self.takes == Takes::Reload && !matches!(kind, Kind::Path | Kind::Paths | Kind::Secret)
    }

    /// Its name within its section.
    pub(crate) fn short_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, key)| key)
    }
}

/// Makes the structs and the table out of one list of settings.
macro_rules! config {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $name:ident {
            $($(#[doc = $doc:literal])* [$takes:ident] $key:ident: $type:ty = $default:expr;)*
        }
    )*) => {
        /// The configuration as written. [`Settings`](crate::settings::Settings) is what it means.
        #[derive(Clone, PartialEq)]
        pub(crate) struct Values {
            $($(#[doc = $section_doc])* pub(crate) $section: $name,)*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, PartialEq)]
            pub(crate) struct $name {
                $($(#[doc = $doc])* pub(crate) $key: $type,)*
            }
        )*

        /// All settings, in the order of the file.
        pub(crate) const SECTIONS: &[Section] = &[$(Section {
            name: stringify!($section),
            doc: &[$($section_doc),*],
            keys: &[$(Key {
                name: concat!(stringify!($section), ".", stringify!($key)),
                doc: &[$($doc),*],
                takes: Takes::$takes,
                right: <$type as Value>::right,
                shape: <$type as Value>::shape,
            }),*],
        }),*];

        impl Default for Values {
            fn default() -> Self {
                Self { $($section: $name { $($key: $default),* }),* }
            }
        }

        impl Values {
            /// Sets the setting `key`; `None` if the value is wrong.
            pub(super) fn read(&mut self, key: &Key, raw: &Raw<'_>) -> Option<()> {
                $($(if key.name == concat!(stringify!($section), ".", stringify!($key)) {
                    self.$section.$key = Value::read(raw)?;
                })*)*
                Some(())
            }

            /// The setting `key` in TOML; `None` for a secret that is set.
            pub(crate) fn write(&self, key: &Key) -> Option<String> {
                $($(if key.name == concat!(stringify!($section), ".", stringify!($key)) {
                    return Value::write(&self.$section.$key);
                })*)*
                None
            }

            /// The settings that differ.
            pub(crate) fn changed(&self, other: &Self) -> Vec<&'static Key> {
                let mut keys = SECTIONS.iter().flat_map(|section| section.keys);
                let mut changed = Vec::new();
                $($(
                    let key = keys.next().expect("the table has each setting once, in this order");
                    if self.$section.$key != other.$section.$key {
                        changed.push(key);
                    }
                )*)*
                changed
            }
        }
    };
}

const ANY_V4: BindAddress = BindAddress { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: None };
const ANY_V6: BindAddress = BindAddress { ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED), port: None };
/// What the parser of heads takes at most.
const HEAD_BYTES: u64 = HEAD_BYTES_MAX as u64;

/// What the store takes at most.
const PEERS_PER_SWARM: i64 = Limits::PEERS_PER_SWARM_MAX as i64;

/// The machine itself.
fn loopback() -> Vec<Prefix> {
    ["127.0.0.0/8", "::1/128"].map(|prefix| prefix.parse().expect("it is one")).into()
}

config! {
    /// Where the tracker listens, and with how many threads.
    listen: Listen {
        /// The port, of TCP and UDP alike. 0 for a free one that the system chooses, the same for
        /// both.
        [Restart] port: Whole<0, 65_535> = Whole(6969);
        /// The addresses, each with a port of its own if it is to differ. On a machine without
        /// IPv6 the default is "0.0.0.0" alone.
        [Restart] bind: Many<BindAddress> = Many(vec![ANY_V4, ANY_V6]);
        /// Whether HTTP is served: announces, scrapes and the pages.
        [Restart] tcp: bool = true;
        /// Whether UDP is served: announces and scrapes (BEP 15).
        [Restart] udp: bool = true;
        /// Threads for UDP, and as many for HTTP. "auto" is one for each CPU.
        [Restart] workers: Auto<Whole<1, 1024>> = Auto::Auto;
        /// Most TCP connections that wait to be accepted. The system may allow fewer.
        [Restart] backlog: Whole<1, 65_535> = Whole(1024);
    }
    /// What a client is told when it announces or scrapes.
    announce: Announce {
        /// The announce interval at the start; from then on it follows the load, between its
        /// bounds. "auto" is 1799s, brought within the bounds.
        [Reload] interval: Auto<Seconds<1, 7000>> = Auto::Auto;
        /// The interval when the machine is idle. "auto" is 239s, or less where the start or the
        /// upper bound are less.
        [Reload] min_interval: Auto<Seconds<1, 7000>> = Auto::Auto;
        /// The interval when the machine is loaded. "auto" is 1799s, or more where the start or
        /// the lower bound are more.
        [Reload] max_interval: Auto<Seconds<1, 7000>> = Auto::Auto;
        /// How long before a client may announce again, as it is told; not enforced. "auto" is
        /// min_interval.
        [Reload] client_min_interval: Auto<Seconds<0, 7000>> = Auto::Auto;
        /// Each client's interval is longer than the interval by up to this much, drawn at random,
        /// so that clients that came together do not come back together.
        [Reload] jitter: Seconds<0, 3600> = Seconds(60);
        /// Most peers in one reply. A UDP reply also has to fit one packet: 202 IPv4 peers, 67
        /// IPv6 peers.
        [Reload] peers_per_response_max: Whole<1, 2000> = Whole(100);
        /// Peers for a client that does not say how many it wants.
        [Reload] numwant_default: Whole<0, 2000> = Whole(50);
        /// A peer not heard from for longer is no longer handed out. Has to be longer than
        /// max_interval and jitter together. "auto" is half as long again as both, and a minute.
        /// A shorter one comes into force once all who were promised the longer have come back.
        [Reload] peer_timeout: Auto<Seconds<1, 7200>> = Auto::Auto;
        /// The load average above which the machine is loaded, and the interval grows. "auto" is
        /// the number of CPUs less a half.
        [Reload] load_max: Auto<Load> = Auto::Auto;
        /// Whether a scrape that names no info_hash is answered with all swarms (HTTP only).
        [Reload] full_scrape: bool = false;
        /// From where a client of an open tracker may say at which address others reach it, by
        /// `ip` (BEP 3) or the field of BEP 15: addresses or ranges, such as the tracker's own
        /// network behind a router. Everyone else is known by the address it is seen at.
        [Reload] claims_from: Many<Prefix> = Many(Vec::new());
        /// Most info_hashes in one HTTP scrape.
        [Reload] scrape_hashes_max: Whole<1, 10_000> = Whole(100);
    }
    /// What is kept in memory.
    swarm: Swarm {
        /// Most swarms. One more is answered as if nobody were there.
        [Restart] swarms_max: Whole<1, 1_000_000_000> = Whole(10_000_000);
        /// Most peers over all swarms. One more is answered but not stored.
        [Restart] peers_max: Whole<1, 10_000_000_000> = Whole(50_000_000);
        /// Most peers of one swarm. One more is answered but not stored.
        [Restart] peers_per_swarm_max: Whole<1, PEERS_PER_SWARM> = Whole(1_000_000);
        /// Most peers of one address (of one /64 in IPv6) over all swarms, so that no single client
        /// can fill the tracker. One more is refused. 0 for no bound.
        [Restart] peers_per_address_max: Whole<0, 1_000_000_000> = Whole(100_000);
        /// Whether peer_ids are kept and handed out, for clients that ask for the long form of a
        /// reply. Costs about 100 bytes a peer.
        [Restart] peer_ids: bool = false;
        /// How long it is remembered how often a swarm was completed, once it has no peers.
        [Restart] completed_kept: Seconds<0, 2_592_000> = Seconds(86_400);
        /// How often all swarms are written to process.data_dir, from where they are read back at
        /// the start; also at the stop. Without that folder, or with 0, a restart begins empty.
        [Restart] snapshot_interval: Seconds<0, 86_400> = Seconds(600);
    }
    /// Which swarms may be. SIGUSR1 reads both lists again.
    access: Access {
        /// A file of info_hashes, one a line, in 40 hex digits (v1) or 64 (v2): no others are
        /// tracked. What follows a # is passed over.
        [Reload] allow: Option<PathBuf> = None;
        /// A file of the same form: these are not tracked, whatever the other list says.
        [Reload] deny: Option<PathBuf> = None;
        /// Whether nothing is tracked but what the allow list holds. "auto" is true where `allow`
        /// names a file, or where an entry has been added to the allow list through the API.
        [Reload] only_allowed: Auto<bool> = Auto::Auto;
    }
    /// UDP (BEP 15).
    udp: Udp {
        /// How long a connection id is valid.
        [Restart] connection_id_lifetime: Seconds<10, 28_800> = Seconds(120);
        /// The secret behind the connection ids, in 32 hex digits: the same on nodes that are to
        /// accept each other's ids. Without one it is kept in process.data_dir, and without that
        /// it is new with every start.
        [Restart] connection_key: Secret = Secret(None);
        /// Receive buffer of each socket. The system may allow less. 0 leaves it as it is.
        [Restart] receive_buffer: Bytes<0, 1_073_741_824> = Bytes(8 << 20);
        /// Send buffer of each socket. The system may allow less. 0 leaves it as it is.
        [Restart] send_buffer: Bytes<0, 1_073_741_824> = Bytes(2 << 20);
    }
    /// HTTP (BEP 3, 7, 23, 48).
    http: Http {
        /// Whether a connection may serve more than one request.
        [Reload] keep_alive: bool = true;
        /// How long a client may take to send a request, or to take in a reply.
        [Reload] timeout: Seconds<1, 600> = Seconds(3);
        /// How long a connection may stay open between two requests.
        [Reload] idle_timeout: Seconds<1, 3600> = Seconds(15);
        /// Most connections at once. One more is closed.
        [Restart] connections_max: Whole<1, 1_000_000> = Whole(20_000);
        /// Most connections at once that ask for pages. One more is told to come back later.
        [Restart] pages_connections_max: Whole<1, 10_000> = Whole(256);
        /// Most bytes of a request up to its empty line. One with more is refused (431).
        [Restart] head_bytes_max: Bytes<1024, HEAD_BYTES> = Bytes(HEAD_BYTES);
        /// The header in which a trusted proxy names the client, such as "X-Forwarded-For". Its
        /// last address that is no trusted proxy is the client. Empty for none.
        [Restart] forwarded_header: String = String::new();
        /// The proxies that are believed: addresses or ranges.
        [Restart] trusted_proxies: Many<Prefix> = Many(loopback());
        /// Whether trusted proxies begin each connection with a PROXY header (version 1 or 2). If
        /// so, they have to.
        [Restart] proxy_protocol: bool = false;
        /// Whether a client is told the address it is seen at (BEP 24). To be turned off behind a
        /// proxy that does not name the client.
        [Restart] external_ip: bool = true;
        /// How long a client should wait between two scrapes, as Transmission reads it. 0 tells
        /// it nothing.
        [Restart] scrape_interval: Seconds<0, 86_400> = Seconds(0);
    }
    /// The pages for people.
    pages: Pages {
        /// The charset that the pages are declared with.
        [Restart] charset: String = "utf-8".into();
        /// The language of the pages and of their numbers, for everyone: "en", "zh-CN" or "ru",
        /// also as "ru_RU.UTF-8". Empty, or a language they are not in, for that of the browser.
        [Restart] locale: String = String::new();
        /// Whether location files are read, for the map to show where peers are.
        [Reload] locations: bool = true;
        /// The location files: CSV of IP2Location or `.mmdb`. An address is looked up in the first
        /// that has any of its family. Without any, files are looked for by their usual names in
        /// process.data_dir, and then in the folder that the tracker was started in.
        [Reload] location_files: Many<PathBuf> = Many(Vec::new());
        /// Whether the statistics tell the twenty largest swarms, by their info_hashes.
        [Restart] largest_swarms: bool = false;
        /// Most viewers of the map at once. One more is told to come back later.
        [Restart] viewers_max: Whole<0, 100_000> = Whole(1000);
    }
    /// A tracker for members alone, with an account of what each moves.
    private: Private {
        /// Whether it is one. A key `mode` before the first section, with "private" for its value,
        /// says the same.
        [Restart] enabled: bool = false;
        /// What every transfer costs at most: "normal"; "free" for uploads that count and
        /// downloads that do not, for everyone and every torrent; "neutral" for neither.
        [Reload] pricing: PricingWord = PricingWord::Normal;
        /// Whether all uploads count twice.
        [Reload] double_upload: bool = false;
        /// Most peers of one member at one torrent. One more is warned and handed nobody.
        [Restart] peers_per_torrent_max: Whole<1, 10_000> = Whole(3);
        /// Most peers in all. One more is warned and handed nobody.
        [Restart] peers_max: Whole<1, 1_000_000_000> = Whole(20_000_000);
        /// A peer that announces again within this time is warned and handed nobody; what it moved
        /// counts all the same. Not where it completes or stops. 0 for never.
        [Restart] early: Seconds<0, 3600> = Seconds(60);
        /// Whether a member who may not download is charged for what comes anyway.
        [Restart] charge_forbidden: bool = true;
        /// Who moves more bytes a second gets credit for none of it: such a number is made up.
        [Restart] bytes_per_sec_max: Bytes<1_048_576, 1_125_899_906_842_624> = Bytes(1 << 40);
        /// Most rows that wait for the database. Beyond it peers that were only seen again are not
        /// written, others later, and who leaves stays in the tables as if still there, until the
        /// next start; `/metrics` counts each. What is owed to members always waits.
        [Restart] ledger_rows_max: Whole<1000, 100_000_000> = Whole(1_000_000);
        /// How long a client that asks for a torrent that was deleted is told why.
        [Restart] reasons_kept: Seconds<0, 2_592_000> = Seconds(86_400);
    }
    /// Where the members, torrents and accounts of a private tracker are.
    database: Database {
        /// SQLite, MariaDB/MySQL or PostgreSQL. Without one it is `peerage.sqlite` in
        /// process.data_dir.
        [Restart] url: SecretUrl = SecretUrl(String::new());
        /// Whose tables are there: "peerage" for ours, which are made where there are none,
        /// "gazelle" for those of a site. "auto" is the latter where `[gazelle]` has a password.
        [Restart] schema: Schema = Schema::Auto;
        /// How often what was announced is written.
        [Restart] flush_interval: Seconds<1, 300> = Seconds(3);
        /// How long the database may be out of reach at the start before the tracker gives up.
        /// Once it runs it never does.
        [Restart] start_timeout: Seconds<0, 3600> = Seconds(60);
        /// How long a stop waits until all is written. What is left is kept in process.data_dir, or
        /// lost without one, and said so.
        [Restart] stop_timeout: Seconds<1, 600> = Seconds(30);
        /// Whether nothing is written: for a look at a site's tables.
        [Restart] readonly: bool = false;
    }
    /// For a Gazelle site, in the place of Ocelot. On where there is a password.
    gazelle: Gazelle {
        /// The site's own passkey, by which it tells of members and torrents. Gazelle has it as
        /// TRACKER_SECRET.
        [Restart] site_password: Password = Password(None);
        /// By which the site asks for figures. Gazelle has it as TRACKER_REPORTKEY.
        [Restart] report_password: Password = Password(None);
        /// How reports are written: "json" for sites that descend from Orpheus, as Ocelot 2 does,
        /// "text" for those that descend from WhatCD, as Ocelot 1.0 does.
        [Restart] report_style: ReportStyle = ReportStyle::Json;
        /// Where the site is told of tokens that were used up: its address, `http://` or
        /// `https://`, and the folder of its `tools.php` if it has one. Empty to tell nobody.
        [Restart] site_url: String = String::new();
        /// What it means that an update leaves out `visible`, `can_leech` or `freetorrent`: "keep"
        /// for nothing; "ocelot" for visible, for the right to download and for neutral, as the
        /// program of that name has it, so that a site that restores a right unhides its member.
        [Restart] absent_parameters: Absent = Absent::Keep;
    }
    /// Many nodes, one set of swarms. On where there is an address.
    shared: Shared {
        /// Redis or Valkey, the same for all nodes: "redis://user:password@host:port/database",
        /// "rediss://…" over TLS. Several hosts, separated by commas, are nodes of a Cluster. With
        /// "redis+sentinel://host,host/name" they are Sentinels, and name is the master's.
        [Restart] redis: RedisUrl = RedisUrl(String::new());
        /// Over TLS, a PEM file of the certificates of the authorities that Redis may be certified
        /// by. Without it those that the system trusts.
        [Restart] ca_file: Option<PathBuf> = None;
        /// Over TLS, a PEM file of this node's own certificate, where Redis asks for one.
        [Restart] cert_file: Option<PathBuf> = None;
        /// A PEM file of its key.
        [Restart] key_file: Option<PathBuf> = None;
        /// What the names of all keys and channels begin with.
        [Restart] prefix: String = "peerage:".into();
        /// Which keys: "own", or "llmpt" for those that llmpt's web server reads.
        [Restart] layout: SharedLayout = SharedLayout::Own;
        /// Most peers of other nodes learnt at once of a swarm.
        [Restart] sample: Whole<10, 2000> = Whole(200);
        /// For how many milliseconds the reply to the first announce of a swarm waits for the peers
        /// that other nodes have. 0 for not at all: the client finds them with its next announce.
        [Restart] cold_wait_ms: Whole<0, 1000> = Whole(20);
        /// How long after Redis was last heard `/ready` says so no more.
        [Restart] ready_within: Seconds<2, 3600> = Seconds(10);
    }
    /// What is logged, to stderr.
    log: Log {
        /// The least important lines: "error", "warn", "info", "debug" or "trace".
        [Restart] level: LogLevel = LogLevel::Info;
        /// "time" begins each line with the time, "plain" does not: for a journal that does.
        [Restart] format: LogFormat = LogFormat::Time;
    }
    /// The process and its rights.
    process: Process {
        /// A folder for what is to outlast a restart. Where none is named it is `peerage-data` in
        /// the folder the tracker was started in, if that is there; a private tracker without
        /// `database.url` makes it. Nothing is kept without one.
        [Restart] data_dir: Option<PathBuf> = None;
        /// The folder that becomes the root once all is bound. Files that are to be read again on
        /// a signal have to lie in it.
        [Restart] chroot: Option<PathBuf> = None;
        /// The user to become once all is bound. Empty to stay the same.
        [Restart] user: String = String::new();
        /// Most open files. -1 for the most that is allowed, 0 to leave it as it is.
        [Restart] nofile: Whole<-1, { i64::MAX }> = Whole(0);
        /// Most bytes of a core dump. -1 for the most that is allowed, 0 to leave it as it is.
        [Restart] core: Whole<-1, { i64::MAX }> = Whole(0);
        /// How often the tracker has crashed before, as told by what starts it; shown in
        /// `/stats.json`.
        [Restart] failed: Whole<0, 1_000_000_000> = Whole(0);
    }
}
