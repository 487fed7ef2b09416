//! The configuration as written: one TOML file, flags and the environment.
//!
//! What was changed through the API goes before the environment, environment before flag, flag
//! before file, file before default. Every mistake is reported with its place and with what would
//! be right; nothing wrong is ever replaced by a default. What the values mean together is worked
//! out in [`settings`](crate::settings).

pub(crate) mod keys;
pub(crate) mod print;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use keys::{Key, SECTIONS, Values};
use value::Raw;

use crate::gazelle::ocelot_conf::{self, Setting};

/// What the names of our variables in the environment begin with.
pub(crate) const VARIABLE_PREFIX: &str = "PEERAGE__";

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the configuration is read from; read again on SIGHUP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file, if one is named.
    pub(crate) file: Option<PathBuf>,
    /// An `ocelot.conf`, if one is named.
    pub(crate) ocelot_conf: Option<PathBuf>,
    /// Of each flag given: the flag, the key it sets, and the value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
    /// All of the environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The file with what was changed through the API; `None` for [`CHANGED_FILE`] in
    /// `process.data_dir`.
    pub(crate) changed: Option<PathBuf>,
}

/// The file in the data folder with the settings that were changed through the API. In the form of
/// the configuration file.
pub(crate) const CHANGED_FILE: &str = "changed.toml";

/// The data folder where none is named: in the folder that the program was started in.
pub(crate) const DATA_DIR: &str = "peerage-data";

/// The configuration as written, with the place each value comes from.
#[derive(Clone, Default)]
pub(crate) struct Config {
    /// The values.
    pub(crate) values: Values,
    /// What the operator should know and is no mistake, one line each.
    pub(crate) notes: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
    /// Without what was changed through the API; `None` where that was not asked for.
    unchanged: Option<Arc<Config>>,
}

/// The place a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The table of settings.
    Default,
    /// A line of a file, counted from 1; 0 for what an `ocelot.conf` means by leaving it out.
    File(PathBuf, usize),
    /// A flag, with its dashes.
    Flag(&'static str),
    /// A variable.
    Environment(String),
    /// A line, counted from 1, of what was changed through the API.
    Changed(PathBuf, usize),
}

/// Which file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    ByOperator,
    ByApi,
}

/// A mistake of the operator's. Each is one line.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is no TOML.
    Syntax(Origin, String),
    /// There is no such setting; the nearest, if one is near.
    UnknownKey(Origin, String, Option<&'static str>),
    /// A value is wrong: key, value as written, what it must be.
    Wrong(Origin, String, String, String),
    /// A setting that is not the API's to change.
    NotLive(Origin, &'static str),
}

impl Config {
    /// Reads all sources, or says all that is wrong with them.
    pub(crate) fn load(sources: &Sources) -> Result<Self, Vec<ConfigError>> {
        let mut config = Self::default();
        let mut errors = Vec::new();
        if let Some(path) = &sources.ocelot_conf {
            config.take_ocelot_conf(path, &mut errors);
        }
        if let Some(path) = &sources.file {
            match read_file(path) {
                Ok(text) => config.take_file(Written::ByOperator, path, &text, &mut errors),
                Err(error) => errors.push(ConfigError::Unreadable(path.clone(), error)),
            }
        }
        for (flag, name, text) in &sources.flags {
            let key = key(name).expect("flags name keys of the table, as a test holds");
            config.take(key, Origin::Flag(flag), &Raw::Text(text), text, &mut errors);
        }
        config.take_environment(&sources.environment, &mut errors);
        config.find_data_dir();
        config.unchanged = Some(Arc::new(config.clone()));
        config.take_changed(sources, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// An error about a value, as written by the API, for `key`.
    pub(crate) fn not_a_value(key: &Key, written: &str) -> ConfigError {
        let (name, right) = (key.name.into(), (key.right)());
        ConfigError::Wrong(Origin::Default, name, one_line(written), right)
    }

    /// An error about the setting `name`, which is right in itself.
    pub(crate) fn wrong(&self, name: &'static str, right: String) -> ConfigError {
        let key = key(name).expect("the caller names a key of the table");
        let origin = self.origins.get(name).cloned().unwrap_or(Origin::Default);
        ConfigError::Wrong(origin, name.into(), self.written(key), right)
    }

    /// The value of `key` as it is shown.
    pub(crate) fn written(&self, key: &Key) -> String {
        self.values.write(key).unwrap_or_else(|| "(hidden)".into())
    }

    /// Whether the operator has set `name`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    /// The place the value of `key` comes from.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        self.origins.get(key.name).cloned().unwrap_or(Origin::Default)
    }

    /// The same with `text`, which is to be written to `path`, as what was changed through the API.
    pub(crate) fn with_changed(&self, path: &Path, text: &str) -> Result<Self, Vec<ConfigError>> {
        let mut config = self.unchanged.as_deref().unwrap_or(self).clone();
        config.unchanged.clone_from(&self.unchanged);
        let mut errors = Vec::new();
        config.take_file(Written::ByApi, path, text, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Without a data folder that is named, the one beside us is taken if it is there, so that the
    /// commands find the tracker's; a private tracker that has no other place makes it.
    fn find_data_dir(&mut self) {
        let Values { private, database, gazelle, process, .. } = &mut self.values;
        let is_needed = private.enabled
            && database.url.0.is_empty()
            && gazelle.site_password.0.is_none()
            && database.schema != value::Schema::Gazelle;
        if process.data_dir.is_none() && (is_needed || Path::new(DATA_DIR).is_dir()) {
            process.data_dir = Some(DATA_DIR.into());
        }
    }

    fn take_changed(&mut self, sources: &Sources, errors: &mut Vec<ConfigError>) {
        let data_dir = self.values.process.data_dir.as_ref();
        let in_data_dir = || data_dir.map(|data_dir| data_dir.join(CHANGED_FILE));
        let Some(path) = sources.changed.clone().or_else(in_data_dir) else { return };
        match read_file(&path) {
            Ok(text) => self.take_file(Written::ByApi, &path, &text, errors),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => errors.push(ConfigError::Unreadable(path, error)),
        }
    }

    /// The lowest of all sources but the defaults.
    fn take_ocelot_conf(&mut self, path: &Path, errors: &mut Vec<ConfigError>) {
        let meaning = match ocelot_conf::read(path) {
            Ok(meaning) => meaning,
            Err(error) => return errors.push(ConfigError::Unreadable(path.into(), error)),
        };
        for Setting { key: name, text, line } in meaning.settings {
            let key = key(name).expect("its keys are of the table, as a test holds");
            self.take(key, Origin::File(path.into(), line), &Raw::Text(&text), &text, errors);
        }
        self.notes = meaning.notes;
        self.notes.iter_mut().for_each(|note| *note = format!("{}: {note}", path.display()));
    }

    fn take_file(
        &mut self,
        written: Written,
        path: &Path,
        text: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        let place = |at: usize| {
            let before = text.as_bytes().iter().take(at);
            let line = 1 + before.filter(|&&byte| byte == b'\n').count();
            match written {
                Written::ByOperator => Origin::File(path.into(), line),
                Written::ByApi => Origin::Changed(path.into(), line),
            }
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                errors.push(ConfigError::Syntax(place(at), message));
                return;
            }
        };
        for (section, entries) in &table {
            let section_name = section.get_ref().as_ref();
            if section_name == "mode" {
                let origin = place(section.span().start);
                self.take_mode(origin, entries.get_ref().as_str().unwrap_or_default(), errors);
                continue;
            }
            let Some(entries) = entries.get_ref().as_table() else {
                let place = place(section.span().start);
                errors.push(ConfigError::unknown(place, section_name.into()));
                continue;
            };
            if !SECTIONS.iter().any(|known| known.name == section_name) {
                let place = place(section.span().start);
                errors.push(ConfigError::unknown_section(place, section_name));
                continue;
            }
            for (name, value) in entries {
                let origin = place(name.span().start);
                let full_name = format!("{section_name}.{}", name.get_ref());
                let in_file = text.get(value.span()).unwrap_or_default();
                match key(&full_name) {
                    Some(key) if written == Written::ByApi && !key.is_live() => {
                        errors.push(ConfigError::NotLive(origin, key.name));
                    }
                    Some(key) => {
                        self.take(key, origin, &Raw::Toml(value.get_ref()), in_file, errors);
                    }
                    None => errors.push(ConfigError::unknown(origin, full_name)),
                }
            }
        }
    }

    /// `mode`, which stands before all sections: a word for `private.enabled`.
    fn take_mode(&mut self, origin: Origin, word: &str, errors: &mut Vec<ConfigError>) {
        let enabled = match word {
            "open" => "false",
            "private" => "true",
            _ => {
                let right = "one of \"open\", \"private\"".into();
                return errors.push(ConfigError::Wrong(origin, "mode".into(), word.into(), right));
            }
        };
        let key = key("private.enabled").expect("it is in the table");
        self.take(key, origin, &Raw::Text(enabled), enabled, errors);
    }

    fn take_environment(
        &mut self,
        environment: &[(OsString, OsString)],
        errors: &mut Vec<ConfigError>,
    ) {
        for (variable, value) in environment {
            let variable = variable.to_string_lossy();
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let origin = Origin::Environment(variable.clone().into());
            let name = name.to_lowercase().replacen("__", ".", 1);
            let value = value.to_string_lossy();
            if name == "mode" {
                self.take_mode(origin, &value, errors);
                continue;
            }
            match key(&name) {
                Some(key) => self.take(key, origin, &Raw::Text(&value), &value, errors),
                None => errors.push(ConfigError::unknown(origin, name)),
            }
        }
    }

    fn take(
        &mut self,
        key: &'static Key,
        origin: Origin,
        raw: &Raw<'_>,
        written: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        match self.values.read(key, raw) {
            Some(()) => {
                self.origins.insert(key.name, origin);
            }
            None => {
                let written = if is_secret(key) { "(hidden)" } else { written };
                let (name, right) = (key.name.into(), (key.right)());
                errors.push(ConfigError::Wrong(origin, name, one_line(written), right));
            }
        }
    }
}

/// The entry of the setting `name`, such as `listen.port`.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys).find(|key| key.name == name)
}

/// Whether what is written for `key` is not to be shown, not even where it is wrong.
fn is_secret(key: &Key) -> bool {
    const SECRETS: [&str; 4] =
        ["udp.connection_key", "database.url", "gazelle.site_password", "gazelle.report_password"];
    SECRETS.contains(&key.name)
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The first line of `text`, cut to what fits a message.
fn one_line(text: &str) -> String {
    let mut line: String = text.lines().next().unwrap_or_default().chars().take(80).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

impl ConfigError {
    /// The setting it is about, if it is about one.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable(..) | Self::Syntax(..) => None,
            Self::UnknownKey(_, name, _) | Self::Wrong(_, name, ..) => Some(name),
            Self::NotLive(_, name) => Some(name),
        }
    }

    /// What is wrong, without the place.
    pub(crate) fn without_place(&self) -> String {
        match self {
            Self::Unreadable(path, error) => format!("cannot read {}: {error}", path.display()),
            Self::Syntax(_, message) => message.clone(),
            Self::UnknownKey(_, name, None) => format!("unknown key {name}"),
            Self::UnknownKey(_, name, Some(nearest)) => {
                format!("unknown key {name}: did you mean {nearest}?")
            }
            Self::Wrong(_, name, value, right) => format!("{name} = {value}: must be {right}"),
            Self::NotLive(_, name) => {
                format!("{name} is not changed while the tracker runs: set it in the configuration")
            }
        }
    }

    /// An error about a setting that is not the API's to change.
    pub(crate) fn not_live(key: &Key) -> Self {
        Self::NotLive(Origin::Default, key.name)
    }

    /// An error about a name that no setting has.
    pub(crate) fn no_such_key(name: &str) -> Self {
        Self::unknown(Origin::Default, one_line(name))
    }

    fn unknown(origin: Origin, name: String) -> Self {
        let nearest = nearest(&name);
        Self::UnknownKey(origin, name, nearest)
    }

    fn unknown_section(origin: Origin, name: &str) -> Self {
        let distances = SECTIONS.iter().map(|known| (distance(name, known.name), known.name));
        let nearest = distances.min().filter(|(edits, _)| *edits <= 2).map(|(_, name)| name);
        Self::UnknownKey(origin, name.into(), nearest)
    }
}

/// The setting whose name is nearest to `name`, if it is near enough to be meant. A right key in a
/// wrong section, or in none, is near.
fn nearest(name: &str) -> Option<&'static str> {
    let short = name.rsplit('.').next().unwrap_or(name);
    let keys = SECTIONS.iter().flat_map(|section| section.keys);
    let edits = |key: &Key| {
        distance(name, key.name).min(distance(short, key.short_name()).saturating_add(1))
    };
    let (edits, key) = keys.map(|key| (edits(key), key)).min_by_key(|(edits, _)| *edits)?;
    (edits <= 1 + short.len() / 4).then_some(key.name)
}

/// Edits (a character more, less or another, or two changed round) that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, edits) | (edits, 0) => edits,
                _ => {
                    let other = usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    let one = rows[i - 1][j].min(rows[i][j - 1]) + 1;
                    one.min(rows[i - 1][j - 1] + other).min(swap)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) | Self::Changed(path, line) => {
                write!(f, "{}:{line}", path.display())
            }
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.without_place();
        match self {
            Self::Unreadable(..) => f.write_str(&text),
            Self::Syntax(origin, message) => write!(f, "{origin}: not TOML: {message}"),
            Self::UnknownKey(origin, _, None) => {
                write!(f, "{origin}: {text}: `peerage print-config` shows all there are")
            }
            Self::UnknownKey(origin, ..) | Self::Wrong(origin, ..) | Self::NotLive(origin, _) => {
                write!(f, "{origin}: {text}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (Config, Vec<String>) {
        let (mut config, mut errors) = (Config::default(), Vec::new());
        config.take_file(Written::ByOperator, Path::new("p.toml"), text, &mut errors);
        (config, errors.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(text: &str, error: &str) {
        assert_eq!(file(text).1, [error], "{text:?}");
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_line_and_key() {
        check(
            "[listen]\nprot = 1\n",
            "p.toml:2: unknown key listen.prot: did you mean listen.port?",
        );
        check("port = 1\n", "p.toml:1: unknown key port: did you mean listen.port?");
        check("\n[listne]\nport = 1\n", "p.toml:2: unknown key listne: did you mean listen?");
        check(
            "[http]\nreceive_buffer = 1\n",
            "p.toml:2: unknown key http.receive_buffer: did you mean udp.receive_buffer?",
        );
        check(
            "[listen]\nxyzzy = 1\n",
            "p.toml:2: unknown key listen.xyzzy: `peerage print-config` shows all there are",
        );
        check(
            "[listen]\n\nport = 99999\n",
            "p.toml:3: listen.port = 99999: must be a whole number from 0 to 65535",
        );
        check(
            "[listen]\nport = \"6969\"\n",
            "p.toml:2: listen.port = \"6969\": must be a whole number from 0 to 65535",
        );
        check("[listen]\ntcp = 1\n", "p.toml:2: listen.tcp = 1: must be true or false");
    }

    #[test]
    fn file_that_is_no_toml_is_named_with_its_line() {
        let (_, errors) = file("[listen]\nport = \n");
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("p.toml:2: not TOML: "), "{}", errors[0]);
        let (_, errors) = file("[listen]\nport = 1\nport = 2\n");
        assert!(errors[0].starts_with("p.toml:3: not TOML: "), "{}", errors[0]);
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        assert_eq!(file("[listen]\nport = -1\ntcp = 0\nx = 1\n").1.len(), 3);
    }

    #[test]
    fn secret_is_not_in_the_error_about_it() {
        let (_, errors) = file("[udp]\nconnection_key = \"0123secret\"\n");
        assert!(!errors[0].contains("0123"), "{}", errors[0]);
        assert!(errors[0].contains("p.toml:2: udp.connection_key"), "{}", errors[0]);
    }

    #[test]
    fn environment_goes_before_flag_and_flag_before_file() {
        let (mut config, _) = file("[listen]\nport = 1\nworkers = 3\nbacklog = 5\n");
        let mut errors = Vec::new();
        for (flag, name, text) in
            [("--port", "listen.port", "2"), ("--workers", "listen.workers", "4")]
        {
            let key = key(name).unwrap();
            config.take(key, Origin::Flag(flag), &Raw::Text(text), text, &mut errors);
        }
        config.take_environment(
            &[("PEERAGE__LISTEN__PORT".into(), "3".into()), ("OTHER".into(), "x".into())],
            &mut errors,
        );
        assert!(errors.is_empty());
        assert_eq!(config.values.listen.port.0, 3);
        assert_eq!(config.values.listen.workers.given().unwrap().0, 4);
        assert_eq!(config.values.listen.backlog.0, 5);
    }

    #[test]
    fn what_was_changed_goes_before_the_environment_and_holds_live_settings_alone() {
        let environment = vec![("PEERAGE__ANNOUNCE__JITTER".into(), "3".into())];
        let written = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
        let load = |text| written.with_changed(Path::new("changed.toml"), text);
        let config = load("[announce]\njitter = 7\n").unwrap();
        assert_eq!(config.values.announce.jitter.0, 7);
        let origin = config.origin(key("announce.jitter").unwrap());
        assert_eq!(origin, Origin::Changed("changed.toml".into(), 2));
        let back = config.with_changed(Path::new("changed.toml"), "").unwrap();
        assert_eq!(back.values.announce.jitter.0, 3);
        for (text, error) in [
            ("[listen]\nport = 1\n", "changed.toml:2: listen.port is not changed while"),
            ("[access]\ndeny = \"x\"\n", "changed.toml:2: access.deny is not changed while"),
            ("[announce]\njitter = -1\n", "changed.toml:2: announce.jitter = -1: must be"),
        ] {
            let errors = load(text).err().expect(text);
            assert!(errors[0].to_string().starts_with(error), "{}", errors[0]);
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("port", "prot", 1), ("a", "", 1), ("tcp", "udp", 2)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
