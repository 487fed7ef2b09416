//! What the site is told, byte for byte.
//!
//! The site takes what stands between the head and the last line end for the data, and what stands
//! after it for the outcome, so each body ends as it has to: JSON with a line end, text with
//! `success`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::InfoHash;
use crate::bencode::decimal;

/// The body of a reply to an update, whatever came of it. No line end.
pub const SUCCESS: &[u8] = b"success";

/// The body of a reply to a request that asks for nothing.
pub const STATUS_PAGE: &[u8] =
    b"<html><head><meta name=\"robots\" content=\"noindex, nofollow\" />\
    </head><body>Nothing to see here</body></html>";

/// Why a request is refused. Its status is 200 all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It holds no query.
    TooShort,
    /// It is longer than [`REQUEST_BYTES_MAX`](super::REQUEST_BYTES_MAX).
    TooLong,
    /// No slash follows the secret.
    MalformedAnnounce,
    /// No version follows the query.
    MalformedHttp,
    /// The tracker has not loaded its tables yet, or stops.
    Unavailable,
    /// Neither `update` nor `report`, but a query.
    InvalidAction,
    /// The secret is wrong.
    Authentication,
    /// A report on a member names none.
    KeyMissing,
    /// A report on a member names one that is unknown.
    KeyNotFound,
    /// A report on a torrent names one that is unknown.
    UnregisteredTorrent,
    /// A report on what there is no report on.
    UnknownReport,
    /// No query: [`STATUS_PAGE`] is the answer.
    StatusPage,
}

impl Failure {
    /// Ocelot's words. Empty for [`Failure::StatusPage`].
    pub const fn text(self) -> &'static str {
        match self {
            Self::TooShort => "GET string too short",
            Self::TooLong => "GET string too long",
            Self::MalformedAnnounce => "Malformed announce",
            Self::MalformedHttp => "Malformed HTTP request",
            Self::Unavailable => "The tracker is temporarily unavailable.",
            Self::InvalidAction => "Invalid action",
            Self::Authentication => "Authentication failure",
            Self::KeyMissing => "Announce key missing",
            Self::KeyNotFound => "Announce key not found",
            Self::UnregisteredTorrent => "Unregistered torrent",
            Self::UnknownReport => "unrecognized report query",
            Self::StatusPage => "",
        }
    }
}

/// Appends a reply with `body`; the connection is to be closed after it, or the site waits.
pub fn write_reply(out: &mut Vec<u8>, body: &[u8]) {
    write(out, "text/plain", body);
}

/// Appends the page for those who ask for nothing.
pub fn write_page(out: &mut Vec<u8>) {
    write(out, "text/html", STATUS_PAGE);
}

/// Appends the reply to a request that is refused.
pub fn write_failure(out: &mut Vec<u8>, failure: Failure) {
    if failure == Failure::StatusPage {
        return write_page(out);
    }
    let text = failure.text();
    let mut body = Vec::new();
    body.extend_from_slice(b"d14:failure reason");
    crate::bencode::bytes(&mut body, text.as_bytes());
    // Ocelot's order, which is not bencode's.
    body.extend_from_slice(b"12:min intervali5400e8:intervali5400ee");
    write_reply(out, &body);
}

fn write(out: &mut Vec<u8>, content_type: &str, body: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: Peerage\r\nContent-Type: ");
    out.extend_from_slice(content_type.as_bytes());
    out.extend_from_slice(b"\r\nContent-Length: ");
    decimal(out, body.len() as u64);
    out.extend_from_slice(b"\r\nConnection: Close\r\n\r\n");
    out.extend_from_slice(body);
}

/// How reports are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As Ocelot 2 does, for the sites that descend from Orpheus: JSON and a line end.
    #[default]
    Json,
    /// As Ocelot 1.0 does, for the sites that descend from WhatCD: lines of text and `success`.
    Text,
}

/// The figures of the tracker. Counts are since its start where they are not of now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats<'a> {
    /// Ours.
    pub version: &'a str,
    /// Connections accepted.
    pub connections_opened: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// The most that were open at once.
    pub peak_connections: u64,
    /// Connections accepted a second.
    pub connections_per_sec: u64,
    /// Requests.
    pub requests: u64,
    /// Requests a second.
    pub requests_per_sec: u64,
    /// Announces answered with peers, or with none.
    pub announces: u64,
    /// Announces refused.
    pub announces_refused: u64,
    /// Scrapes.
    pub scrapes: u64,
    /// Leechers now.
    pub leechers: u64,
    /// Seeders now.
    pub seeders: u64,
    /// Rows that wait to be written, table by table.
    pub queued: Queued,
    /// The longest request of a site's, in bytes.
    pub request_bytes_max: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Updates refused because the secret was wrong.
    pub wrong_site_passwords: u64,
    /// Reports refused because the secret was wrong.
    pub wrong_report_passwords: u64,
    /// Announces refused because there is no member with that passkey.
    pub wrong_passkeys: u64,
    /// Announces refused for what the client is, or sends.
    pub wrong_clients: u64,
    /// Requests that were not HTTP.
    pub wrong_requests: u64,
    /// The announce interval, in seconds.
    pub interval_secs: u64,
    /// By how much it is longer at most, in seconds.
    pub jitter_secs: u64,
    /// Seconds since the start.
    pub uptime_secs: u64,
    /// What the process has used; `None` where the system does not say.
    pub usage: Option<Usage>,
}

/// Rows that wait to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Of members.
    pub members: u64,
    /// Of torrents.
    pub torrents: u64,
    /// Of peers.
    pub peers: u64,
    /// Of completed downloads.
    pub snatches: u64,
    /// Of tokens used.
    pub tokens: u64,
}

/// What the process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of its own, in microseconds.
    pub user_micros: u64,
    /// CPU time of the kernel's on its behalf, in microseconds.
    pub system_micros: u64,
    /// The most memory it held, in bytes.
    pub resident_bytes_max: u64,
    /// Pages found in memory.
    pub minor_faults: u64,
    /// Pages read from a disk.
    pub major_faults: u64,
    /// Blocks read.
    pub blocks_in: u64,
    /// Blocks written.
    pub blocks_out: u64,
    /// Times it waited.
    pub voluntary_switches: u64,
    /// Times another had its turn.
    pub involuntary_switches: u64,
}

/// A figure with its kind, by which the site chooses how to show it.
enum Figure<'a> {
    Text(&'a str),
    Number(u64),
    Bytes(u64),
    Elapsed(u64),
    /// Seconds with six decimals.
    Micros(u64),
}

impl fmt::Display for Figure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Number(number) | Self::Bytes(number) | Self::Elapsed(number) => {
                write!(f, "{number}")
            }
            Self::Micros(micros) => write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        }
    }
}

impl Figure<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Number(_) => "number",
            Self::Bytes(_) => "byte",
            Self::Elapsed(_) | Self::Micros(_) => "elapsed",
        }
    }
}

impl Stats<'_> {
    /// Appends the body of `get=stats`.
    pub fn write(&self, style: Style, out: &mut Vec<u8>) {
        let text = match style {
            Style::Json => self.json(),
            Style::Text => self.text(),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Every figure with its name, in Ocelot's order. The allocator is one of the names that a
    /// site may look for; there is none of that kind here.
    fn figures(&self) -> [(&'static str, Figure<'_>); 29] {
        use Figure::{Bytes, Elapsed, Number, Text};
        [
            ("version", Text(self.version)),
            ("jemalloc version", Text("none")),
            ("connections opened", Number(self.connections_opened)),
            ("open connections", Number(self.open_connections)),
            ("peak connections", Number(self.peak_connections)),
            ("connections/s", Number(self.connections_per_sec)),
            ("requests handled", Number(self.requests)),
            ("requests/s", Number(self.requests_per_sec)),
            ("successful announcements", Number(self.announces)),
            ("failed announcements", Number(self.announces_refused)),
            ("scrapes", Number(self.scrapes)),
            ("leechers tracked", Number(self.leechers)),
            ("seeders tracked", Number(self.seeders)),
            ("items in user queue", Number(self.queued.members)),
            ("items in torrent queue", Number(self.queued.torrents)),
            ("items in peer queue", Number(self.queued.peers)),
            ("items in snatch queue", Number(self.queued.snatches)),
            ("items in token queue", Number(self.queued.tokens)),
            ("max client request length", Bytes(self.request_bytes_max)),
            ("bytes read", Bytes(self.bytes_read)),
            ("bytes written", Bytes(self.bytes_written)),
            ("bad tracker secret received", Number(self.wrong_site_passwords)),
            ("bad report secret received", Number(self.wrong_report_passwords)),
            ("bad announce key received", Number(self.wrong_passkeys)),
            ("bad client configuration", Number(self.wrong_clients)),
            ("bad http request", Number(self.wrong_requests)),
            ("announce interval", Number(self.interval_secs)),
            ("announce jitter", Number(self.jitter_secs)),
            ("uptime", Elapsed(self.uptime_secs)),
        ]
    }

    fn json(&self) -> String {
        let mut text = String::from("{");
        let usage = self.usage.iter().flat_map(Usage::figures);
        for (name, figure) in self.figures().into_iter().chain(usage) {
            let comma = if text.len() == 1 { "" } else { "," };
            let kind = figure.kind();
            put(
                &mut text,
                format_args!("{comma}\"{name}\":{{\"type\":\"{kind}\",\"value\":{figure}}}"),
            );
        }
        text.push_str("}\n");
        text
    }

    fn text(&self) -> String {
        let (mins, secs) = (self.uptime_secs / 60, self.uptime_secs % 60);
        let (hours, mins) = (mins / 60, mins % 60);
        let (days, hours) = (hours / 24, hours % 24);
        let mut text = String::new();
        put(&mut text, format_args!("Uptime: {days} days, {hours:02}:{mins:02}:{secs:02}\n"));
        let old = [
            "connections opened",
            "open connections",
            "connections/s",
            "requests handled",
            "requests/s",
            "successful announcements",
            "failed announcements",
            "scrapes",
            "leechers tracked",
            "seeders tracked",
            "bytes read",
            "bytes written",
        ];
        for (name, figure) in self.figures().iter().filter(|(name, _)| old.contains(name)) {
            put(&mut text, format_args!("{figure} {name}\n"));
        }
        text.push_str("success");
        text
    }

    /// Appends the body of `get=prom_stats`: Ocelot's names, with kinds that are right. Its last
    /// line is no line, so that the site keeps the one before.
    pub fn write_prometheus(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, value: u64| {
            put(&mut text, format_args!("# TYPE ocelot_{name} {kind}\nocelot_{name} {value}\n"));
        };
        line("uptime", "gauge", self.uptime_secs);
        line("open_connections", "gauge", self.open_connections);
        line("peak_connections", "gauge", self.peak_connections);
        line("connection_rate", "gauge", self.connections_per_sec);
        line("requests", "counter", self.requests);
        line("request_rate", "gauge", self.requests_per_sec);
        line("succ_announcements", "counter", self.announces);
        let total = self.announces.saturating_add(self.announces_refused);
        line("total_announcements", "counter", total);
        line("scrapes", "counter", self.scrapes);
        line("leechers", "gauge", self.leechers);
        line("seeders", "gauge", self.seeders);
        line("user_queue", "gauge", self.queued.members);
        line("torrent_queue", "gauge", self.queued.torrents);
        line("peer_queue", "gauge", self.queued.peers);
        line("snatch_queue", "gauge", self.queued.snatches);
        line("token_queue", "gauge", self.queued.tokens);
        line("bytes_read", "counter", self.bytes_read);
        line("bytes_written", "counter", self.bytes_written);
        line("max_client_request_len", "gauge", self.request_bytes_max);
        text.push_str("# TYPE ocelot_error counter\n");
        let errors = [
            ("secret", self.wrong_site_passwords),
            ("report", self.wrong_report_passwords),
            ("announce", self.wrong_passkeys),
            ("client", self.wrong_clients),
            ("http", self.wrong_requests),
        ];
        for (kind, count) in errors {
            put(&mut text, format_args!("ocelot_error{{kind=\"{kind}\"}} {count}\n"));
        }
        if let Some(usage) = &self.usage {
            usage.write_prometheus(&mut text);
        }
        text.push('#');
        out.extend_from_slice(text.as_bytes());
    }
}

impl Usage {
    fn figures(&self) -> [(&'static str, Figure<'_>); 9] {
        use Figure::{Bytes, Micros, Number};
        [
            ("user time", Micros(self.user_micros)),
            ("system time", Micros(self.system_micros)),
            ("maximum resident set size", Bytes(self.resident_bytes_max)),
            ("minor page faults", Number(self.minor_faults)),
            ("major page faults", Number(self.major_faults)),
            ("blocks in", Number(self.blocks_in)),
            ("blocks out", Number(self.blocks_out)),
            ("voluntary context switches", Number(self.voluntary_switches)),
            ("involuntary context switches", Number(self.involuntary_switches)),
        ]
    }

    fn write_prometheus(&self, text: &mut String) {
        let (user, system) = (Figure::Micros(self.user_micros), Figure::Micros(self.system_micros));
        // Ocelot gives the memory in KiB.
        let max_rss = self.resident_bytes_max / 1024;
        put(text, format_args!("# TYPE ocelot_time_user counter\nocelot_time_user {user}\n"));
        put(text, format_args!("# TYPE ocelot_time_system counter\nocelot_time_system {system}\n"));
        put(text, format_args!("# TYPE ocelot_max_rss gauge\nocelot_max_rss {max_rss}\n"));
        let counters = [
            ("minor_fault", self.minor_faults),
            ("major_fault", self.major_faults),
            ("nvcsw", self.voluntary_switches),
            ("nivcsw", self.involuntary_switches),
        ];
        for (name, count) in counters {
            put(text, format_args!("# TYPE ocelot_{name} counter\nocelot_{name} {count}\n"));
        }
        text.push_str("# TYPE ocelot_block counter\n");
        for (way, count) in [("in", self.blocks_in), ("out", self.blocks_out)] {
            put(text, format_args!("ocelot_block{{op=\"{way}\"}} {count}\n"));
        }
    }
}

/// The figures of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberReport {
    /// As the site's database has it.
    pub id: u32,
    /// Peers of the member's that are leechers now.
    pub leeching: u32,
    /// Peers of the member's that are seeders now.
    pub seeding: u32,
    /// Whether the member's address is kept out of the database.
    pub protected: bool,
    /// Whether the member may download.
    pub can_leech: bool,
    /// Whether what the member does is logged.
    pub traced: bool,
}

impl MemberReport {
    /// Appends the body of `get=user`. A member that was put out is not reported, so `deleted` is
    /// always 0.
    pub fn write(&self, style: Style, out: &mut Vec<u8>) {
        let Self { id, leeching, seeding, .. } = self;
        let mut text = String::new();
        let [protected, can_leech, traced] =
            [self.protected, self.can_leech, self.traced].map(u8::from);
        match style {
            Style::Json => put(
                &mut text,
                format_args!(
                    "{{\"id\":{id},\"leeching\":{leeching},\"seeding\":{seeding},\"deleted\":0,\
                     \"protected\":{protected},\"can_leech\":{can_leech},\"traced\":{traced}}}\n"
                ),
            ),
            Style::Text => {
                put(&mut text, format_args!("{leeching} leeching\n{seeding} seeding\nsuccess"));
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// The figures of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TorrentReport {
    /// As the site's database has it.
    pub id: u32,
    /// How often it was completed.
    pub completed: u32,
    /// Upload less download, in bytes.
    pub balance: i64,
    /// What it costs: 0 normal, 1 free, 2 neutral.
    pub free: u8,
    /// When its row was written last, seconds since 1970; 0 for never.
    pub last_flushed_secs: u64,
    /// Whose peers are leechers, by number.
    pub leechers: Vec<u32>,
    /// Whose peers are seeders, by number.
    pub seeders: Vec<u32>,
    /// Who may download it for free, by number.
    pub tokens: Vec<u32>,
}

impl TorrentReport {
    /// Appends the body of `get=torrent`: JSON in every style, since the older sites do not ask.
    ///
    /// Which seeder was handed out last is not known here, where peers are drawn at random.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { id, completed, balance, free, last_flushed_secs: flushed, .. } = self;
        let mut text = String::new();
        put(
            &mut text,
            format_args!(
                "{{\"id\":{id},\"completed\":{completed},\"balance\":{balance},\"free\":{free},\
                 \"last_flushed\":{flushed},\"last_selected_seeder\":\"\",\"leecher_list\":"
            ),
        );
        list(&mut text, &self.leechers);
        text.push_str(",\"seeder_list\":");
        list(&mut text, &self.seeders);
        text.push_str(",\"fltoken_list\":");
        list(&mut text, &self.tokens);
        text.push_str("}\n");
        out.extend_from_slice(text.as_bytes());
    }

    /// Appends the body of `info_torrent`, in which Ocelot leaves out quotes and so writes no JSON.
    pub fn write_info(info_hash: &InfoHash, known: Option<(u32, u8)>, out: &mut Vec<u8>) {
        let mut text = String::from("{\"hash\":\"");
        for byte in info_hash.0 {
            match byte {
                b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
                byte => put(&mut text, format_args!("%{byte:02X}")),
            }
        }
        match known {
            Some((id, free)) => put(&mut text, format_args!("\",\"id\":{id},\"free\":{free}}}\n")),
            None => text.push_str("\",\"fail\":1}\n"),
        }
        out.extend_from_slice(text.as_bytes());
    }
}

fn list(text: &mut String, numbers: &[u32]) {
    text.push('[');
    for (index, number) in numbers.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        put(text, format_args!("{comma}{number}"));
    }
    text.push(']');
}

fn put(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn body(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reply_says_its_length_and_that_it_is_the_last() {
        assert_eq!(
            body(|out| write_reply(out, SUCCESS)),
            "HTTP/1.1 200 OK\r\nServer: Peerage\r\nContent-Type: text/plain\r\n\
             Content-Length: 7\r\nConnection: Close\r\n\r\nsuccess"
        );
        let page = body(write_page);
        assert!(page.contains("\r\nContent-Type: text/html\r\nContent-Length: 108\r\n"), "{page}");
        assert!(page.ends_with("<body>Nothing to see here</body></html>"), "{page}");
    }

    #[test]
    fn failure_is_that_of_ocelot() {
        let check = |failure, body_wanted: &str| {
            let reply = body(|out| write_failure(out, failure));
            assert_eq!(reply.split_once("\r\n\r\n").unwrap().1, body_wanted);
        };
        check(
            Failure::Authentication,
            "d14:failure reason22:Authentication failure\
             12:min intervali5400e8:intervali5400ee",
        );
        check(
            Failure::Unavailable,
            "d14:failure reason39:The tracker is temporarily unavailable.\
             12:min intervali5400e8:intervali5400ee",
        );
        check(Failure::StatusPage, str::from_utf8(STATUS_PAGE).unwrap());
    }

    const STATS: Stats<'_> = Stats {
        version: "1.2.3",
        connections_opened: 1,
        open_connections: 2,
        peak_connections: 3,
        connections_per_sec: 4,
        requests: 5,
        requests_per_sec: 6,
        announces: 7,
        announces_refused: 8,
        scrapes: 9,
        leechers: 10,
        seeders: 11,
        queued: Queued { members: 12, torrents: 13, peers: 14, snatches: 15, tokens: 16 },
        request_bytes_max: 17,
        bytes_read: 18,
        bytes_written: 19,
        wrong_site_passwords: 20,
        wrong_report_passwords: 21,
        wrong_passkeys: 22,
        wrong_clients: 23,
        wrong_requests: 24,
        interval_secs: 25,
        jitter_secs: 26,
        uptime_secs: 93_784,
        usage: Some(Usage {
            user_micros: 1_000_002,
            system_micros: 27,
            resident_bytes_max: 28_672,
            minor_faults: 29,
            major_faults: 30,
            blocks_in: 31,
            blocks_out: 32,
            voluntary_switches: 33,
            involuntary_switches: 34,
        }),
    };

    #[test]
    fn stats_of_ocelot_2_are_json_in_its_order() {
        let mut wanted = String::from(
            "{\"version\":{\"type\":\"string\",\"value\":\"1.2.3\"},\
             \"jemalloc version\":{\"type\":\"string\",\"value\":\"none\"}",
        );
        let numbers = [
            ("connections opened", 1),
            ("open connections", 2),
            ("peak connections", 3),
            ("connections/s", 4),
            ("requests handled", 5),
            ("requests/s", 6),
            ("successful announcements", 7),
            ("failed announcements", 8),
            ("scrapes", 9),
            ("leechers tracked", 10),
            ("seeders tracked", 11),
            ("items in user queue", 12),
            ("items in torrent queue", 13),
            ("items in peer queue", 14),
            ("items in snatch queue", 15),
            ("items in token queue", 16),
            ("max client request length", 17),
            ("bytes read", 18),
            ("bytes written", 19),
            ("bad tracker secret received", 20),
            ("bad report secret received", 21),
            ("bad announce key received", 22),
            ("bad client configuration", 23),
            ("bad http request", 24),
            ("announce interval", 25),
            ("announce jitter", 26),
        ];
        for (name, number) in numbers {
            let kind = if (17..20).contains(&number) { "byte" } else { "number" };
            wanted += &format!(",\"{name}\":{{\"type\":\"{kind}\",\"value\":{number}}}");
        }
        wanted += ",\"uptime\":{\"type\":\"elapsed\",\"value\":93784},\
                   \"user time\":{\"type\":\"elapsed\",\"value\":1.000002},\
                   \"system time\":{\"type\":\"elapsed\",\"value\":0.000027},\
                   \"maximum resident set size\":{\"type\":\"byte\",\"value\":28672}";
        for (name, number) in [
            ("minor page faults", 29),
            ("major page faults", 30),
            ("blocks in", 31),
            ("blocks out", 32),
            ("voluntary context switches", 33),
            ("involuntary context switches", 34),
        ] {
            wanted += &format!(",\"{name}\":{{\"type\":\"number\",\"value\":{number}}}");
        }
        wanted += "}\n";
        assert_eq!(body(|out| STATS.write(Style::Json, out)), wanted);
    }

    #[test]
    fn stats_of_ocelot_1_are_lines_and_end_in_success() {
        assert_eq!(
            body(|out| STATS.write(Style::Text, out)),
            "Uptime: 1 days, 02:03:04\n1 connections opened\n2 open connections\n\
             4 connections/s\n5 requests handled\n6 requests/s\n7 successful announcements\n\
             8 failed announcements\n9 scrapes\n10 leechers tracked\n11 seeders tracked\n\
             18 bytes read\n19 bytes written\nsuccess"
        );
    }

    #[test]
    fn stats_for_prometheus_have_one_kind_each_and_lose_no_line_at_the_site() {
        let text = body(|out| STATS.write_prometheus(out));
        assert!(text.ends_with("\n#"), "{text}");
        assert!(text.contains("\nocelot_total_announcements 15\n"), "{text}");
        assert!(text.contains("\nocelot_error{kind=\"secret\"} 20\n"), "{text}");
        assert!(text.contains("\nocelot_max_rss 28\n"), "{text}");
        let kinds: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        for (index, kind) in kinds.iter().enumerate() {
            assert!(!kinds[..index].contains(kind), "{kind}");
        }
    }

    #[test]
    fn member_is_reported_in_both_styles() {
        let report = MemberReport {
            id: 7,
            leeching: 1,
            seeding: 2,
            protected: true,
            can_leech: false,
            traced: true,
        };
        assert_eq!(
            body(|out| report.write(Style::Json, out)),
            "{\"id\":7,\"leeching\":1,\"seeding\":2,\"deleted\":0,\"protected\":1,\
             \"can_leech\":0,\"traced\":1}\n"
        );
        assert_eq!(body(|out| report.write(Style::Text, out)), "1 leeching\n2 seeding\nsuccess");
    }

    #[test]
    fn torrent_is_reported_with_nine_keys() {
        let report = TorrentReport {
            id: 7,
            completed: 3,
            balance: -5,
            free: 2,
            last_flushed_secs: 1_800_000_000,
            leechers: vec![1, 2],
            seeders: vec![],
            tokens: vec![3],
        };
        assert_eq!(
            body(|out| report.write(out)),
            "{\"id\":7,\"completed\":3,\"balance\":-5,\"free\":2,\"last_flushed\":1800000000,\
             \"last_selected_seeder\":\"\",\"leecher_list\":[1,2],\"seeder_list\":[],\
             \"fltoken_list\":[3]}\n"
        );
    }

    #[test]
    fn torrent_that_is_looked_up_is_json() {
        let hash = InfoHash(*b"\0\"-_.~azAZ09 %\xffghijk");
        let info = |known| body(|out| TorrentReport::write_info(&hash, known, out));
        let escaped = "%00%22-_.~azAZ09%20%25%FFghijk";
        assert_eq!(info(Some((7, 1))), format!("{{\"hash\":\"{escaped}\",\"id\":7,\"free\":1}}\n"));
        assert_eq!(info(None), format!("{{\"hash\":\"{escaped}\",\"fail\":1}}\n"));
    }
}
