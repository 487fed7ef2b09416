//! `ocelot.conf`, read as it is: what each of its lines means in our settings.
//!
//! It fills in what our own configuration does not say. A key that it leaves out has Ocelot's
//! default, so that the tracker does what it did; a key that we do not know, or that has no
//! meaning here, is named and passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Most bytes of the file.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The longest `peers_timeout` that there is here, in seconds.
const PEER_TIMEOUT_SECS_MAX: u64 = 7200;

/// The default secret, which everyone knows.
const ZEROS: &str = "00000000000000000000000000000000";

/// One of our settings, by a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Section and key, as in our table.
    pub(crate) key: &'static str,
    /// As it would stand in the environment.
    pub(crate) text: String,
    /// Counted from 1; 0 where the file leaves it out.
    pub(crate) line: usize,
}

/// What a file means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Our settings, each key at most once.
    pub(crate) settings: Vec<Setting>,
    /// What the operator should know, one line each.
    pub(crate) notes: Vec<String>,
}

/// Keys without a meaning here, and why.
const IDLE: [(&str, &str); 9] = [
    ("max_read_buffer", "buffers have their size"),
    ("max_request_size", "clients may send 8 KiB and the site 64 KiB"),
    ("request_log_size", "Ocelot does not use it either"),
    ("reap_peers_interval", "peers expire continuously"),
    ("daemonize", "leave that to what starts the tracker"),
    ("log", "the log goes to stderr, see log.level"),
    ("log_path", "the log goes to stderr, see log.level"),
    ("report_path", "no report is written to a file"),
    ("max_log_size", "the log goes to stderr, see log.level"),
];

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> io::Result<Meaning> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Reader::new(&String::from_utf8_lossy(&bytes)).meaning())
}

/// The lines of a file, while they are gone through.
#[derive(Default)]
struct Reader<'a> {
    /// By key: the value and its line. The last one counts, as in Ocelot.
    lines: BTreeMap<&'a str, (&'a str, usize)>,
    meaning: Meaning,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((key, value)) => {
                    reader.lines.insert(key.trim(), (value.trim(), index + 1));
                }
                None => reader.note(format!("line {}: passed over: it has no =", index + 1)),
            }
        }
        reader
    }

    fn note(&mut self, note: String) {
        self.meaning.notes.push(note);
    }

    /// The value of `key`, or Ocelot's default. Each is taken once: what is left is unknown.
    fn take(&mut self, key: &str, default: &'static str) -> (&'a str, usize) {
        self.lines.remove(key).unwrap_or((default, 0))
    }

    fn set(&mut self, key: &'static str, text: impl Into<String>, line: usize) {
        self.meaning.settings.push(Setting { key, text: text.into(), line });
    }

    /// A key that means the same in one of ours.
    fn same(&mut self, key: &str, default: &'static str, ours: &[&'static str]) {
        let (text, line) = self.take(key, default);
        for ours in ours {
            self.set(ours, text, line);
        }
    }

    fn meaning(mut self) -> Meaning {
        self.set("private.enabled", "true", 0);
        // Its replies have nothing of the kind, nor does it know a pause between announces.
        self.set("http.external_ip", "false", 0);
        self.set("private.early", "0", 0);
        self.same("listen_port", "34000", &["listen.port"]);
        self.same("max_connections", "1024", &["listen.backlog"]);
        self.same("max_middlemen", "20000", &["http.connections_max"]);
        self.same("connection_timeout", "10", &["http.timeout"]);
        self.same(
            "announce_interval",
            "1800",
            &["announce.interval", "announce.min_interval", "announce.max_interval"],
        );
        self.same("announce_jitter", "240", &["announce.jitter"]);
        self.same(
            "numwant_limit",
            "50",
            &["announce.peers_per_response_max", "announce.numwant_default"],
        );
        self.same("del_reason_lifetime", "86400", &["private.reasons_kept"]);
        self.same("schedule_interval", "3", &["database.flush_interval"]);
        self.same("site_password", ZEROS, &["gazelle.site_password"]);
        self.same("report_password", ZEROS, &["gazelle.report_password"]);
        self.keep_alive();
        self.timeout();
        self.readonly();
        self.database();
        self.site();
        self.warn_of_zeros();
        for (key, why) in IDLE {
            if let Some((_, line)) = self.lines.remove(key) {
                self.note(format!("line {line}: {key} has no meaning here: {why}"));
            }
        }
        let unknown: Vec<String> = std::mem::take(&mut self.lines)
            .into_iter()
            .map(|(key, (_, line))| format!("line {line}: unknown key {key}, passed over"))
            .collect();
        self.meaning.notes.extend(unknown);
        self.meaning
    }

    fn keep_alive(&mut self) {
        let (text, line) = self.take("keepalive_timeout", "0");
        self.set("http.keep_alive", if text == "0" { "false" } else { "true" }, line);
        if text != "0" {
            self.set("http.idle_timeout", text, line);
        }
    }

    fn timeout(&mut self) {
        let (text, line) = self.take("peers_timeout", "7200");
        match text.parse::<u64>() {
            Ok(secs) if secs > PEER_TIMEOUT_SECS_MAX => {
                self.note(format!(
                    "line {line}: peers_timeout = {text} is taken for {PEER_TIMEOUT_SECS_MAX}, the \
                     longest there is"
                ));
                self.set("announce.peer_timeout", PEER_TIMEOUT_SECS_MAX.to_string(), line);
            }
            _ => self.set("announce.peer_timeout", text, line),
        }
    }

    fn readonly(&mut self) {
        let (text, line) = self.take("readonly", "false");
        let is_true = matches!(text, "1" | "true" | "yes");
        self.set("database.readonly", if is_true { "true" } else { "false" }, line);
    }

    fn database(&mut self) {
        let (database, line) = self.take("mysql_db", "gazelle");
        let (host, _) = self.take("mysql_host", "localhost");
        let (port, _) = self.take("mysql_port", "3306");
        let (user, _) = self.take("mysql_username", "");
        let (password, _) = self.take("mysql_password", "");
        let [database, user, password] = [database, user, password].map(escaped);
        let login = match (user.as_str(), password.as_str()) {
            ("", "") => String::new(),
            (user, "") => format!("{user}@"),
            (user, password) => format!("{user}:{password}@"),
        };
        let url = match host.starts_with('/') {
            true => format!("mysql://{login}localhost/{database}?socket={}", escaped(host)),
            false => format!("mysql://{login}{host}:{port}/{database}"),
        };
        self.set("database.url", url, line);
        self.set("database.schema", "gazelle", 0);
    }

    fn site(&mut self) {
        let (host, line) = self.take("site_host", "127.0.0.1");
        let (path, _) = self.take("site_path", "");
        let (service, _) = self.take("site_service", "http");
        let (scheme, port) = match service {
            "http" => ("http", String::new()),
            "https" | "443" => ("https", String::new()),
            port => ("http", format!(":{port}")),
        };
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        self.set("gazelle.site_url", format!("{scheme}://{host}{port}{slash}{path}"), line);
    }

    fn warn_of_zeros(&mut self) {
        let zeros =
            |setting: &&Setting| setting.text == ZEROS && setting.key.starts_with("gazelle.");
        let names: Vec<_> = self.meaning.settings.iter().filter(zeros).map(|one| one.key).collect();
        for name in names {
            self.note(format!("{name} is 32 zeros, as everyone's is: whoever asks is let in"));
        }
    }
}

/// `text` as a part of a URL.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn meaning(text: &str) -> Meaning {
        Reader::new(text).meaning()
    }

    fn value(text: &str, key: &str) -> String {
        let meaning = meaning(text);
        let mut found = meaning.settings.iter().filter(|setting| setting.key == key);
        let value = found.next().map(|setting| setting.text.clone()).unwrap_or_default();
        assert!(found.next().is_none(), "{key} is set twice");
        value
    }

    #[test]
    fn every_setting_is_one_of_the_table() {
        for setting in meaning("keepalive_timeout = 30").settings {
            assert!(config::key(setting.key).is_some(), "{}", setting.key);
        }
    }

    #[test]
    fn empty_file_means_ocelots_defaults() {
        for (key, text) in [
            ("private.enabled", "true"),
            ("listen.port", "34000"),
            ("announce.interval", "1800"),
            ("announce.max_interval", "1800"),
            ("announce.jitter", "240"),
            ("announce.numwant_default", "50"),
            ("announce.peer_timeout", "7200"),
            ("database.flush_interval", "3"),
            ("database.readonly", "false"),
            ("database.url", "mysql://localhost:3306/gazelle"),
            ("database.schema", "gazelle"),
            ("http.keep_alive", "false"),
            ("gazelle.site_url", "http://127.0.0.1"),
            ("gazelle.site_password", ZEROS),
        ] {
            assert_eq!(value("", key), text, "{key}");
        }
    }

    #[test]
    fn lines_are_trimmed_and_comments_passed_over() {
        let text = "# listen_port = 1\n\tlisten_port\t=  2  \nlisten_port=3\n  #x\n\n";
        assert_eq!(value(text, "listen.port"), "3");
    }

    #[test]
    fn login_and_site_become_urls() {
        let text = "mysql_username = o@x\nmysql_password = p:w/d#1 \nmysql_host = db\n\
                    mysql_port = 3307\nmysql_db = g\nsite_host = site.example\n\
                    site_path = sub\nsite_service = https\n";
        assert_eq!(value(text, "database.url"), "mysql://o%40x:p%3Aw%2Fd%231@db:3307/g");
        assert_eq!(value(text, "gazelle.site_url"), "https://site.example/sub");
        let socket = value("mysql_host = /run/my.sock", "database.url");
        assert_eq!(socket, "mysql://localhost/gazelle?socket=%2Frun%2Fmy.sock");
        assert_eq!(value("site_service = 8080", "gazelle.site_url"), "http://127.0.0.1:8080");
    }

    #[test]
    fn what_is_unknown_or_idle_is_named_with_its_line() {
        let zeros = |note: &&String| !note.contains("zeros");
        let notes = meaning("listen_prot = 1\nlog = true\nnonsense\nreadonly = yes\n").notes;
        let notes: Vec<_> = notes.iter().filter(zeros).collect();
        assert_eq!(
            notes,
            [
                "line 3: passed over: it has no =",
                "line 2: log has no meaning here: the log goes to stderr, see log.level",
                "line 1: unknown key listen_prot, passed over",
            ]
        );
        assert_eq!(value("readonly = yes", "database.readonly"), "true");
    }

    #[test]
    fn secrets_that_everyone_knows_are_named() {
        let secrets = format!("site_password = {}\nreport_password = {ZEROS}", "x".repeat(32));
        let notes = meaning(&secrets).notes;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("gazelle.report_password is 32 zeros"), "{notes:?}");
    }

    #[test]
    fn longest_timeout_is_kept_within_bounds_and_said_so() {
        let text = "peers_timeout = 10800\n";
        assert_eq!(value(text, "announce.peer_timeout"), "7200");
        assert!(meaning(text).notes.iter().any(|note| note.contains("peers_timeout = 10800")));
    }
}
