//! The configuration for people: the example file, the manual, and the configuration in force.

use std::fmt::Write as _;

use super::keys::{Key, SECTIONS, Takes, Values};
use crate::cli;

/// The head of the example file.
const EXAMPLE_HEAD: &str = "\
# The settings of Peerage, each with its default. Remove the # before a setting to change it.
# This file is made from the program's own table: `peerage print-config` prints what is in force.
";

/// The head of the manual.
const MANUAL_HEAD: &str = "\
# Configuration

Peerage runs without any. Settings come from the environment, from flags and from one TOML file
(`--config FILE`), in this order: the environment goes before a flag, a flag before the file, the
file before the default. What was changed while the tracker ran ([`api.md`](api.md)) is kept in
`changed.toml` in `process.data_dir` and goes before all of them. `peerage check-config` checks
them, `peerage print-config` prints those in force. A key that is unknown or a value that is wrong
ends the program with exit code 2.

Durations are written `\"90s\"`, `\"30m\"`, `\"1h30m\"` or as a number of seconds, sizes
`\"64KiB\"`, `\"8MiB\"` or as a number of bytes. Lists are arrays in the file and separated by
commas elsewhere.

SIGHUP reads the file, the lists and the location files again, SIGUSR1 the lists and the location
files. If anything is wrong, what is in force stays in force.
[`peerage.example.toml`](../peerage.example.toml) is a file to start from.
";

/// `peerage.example.toml`.
pub(crate) fn example() -> String {
    let values = Values::default();
    let mut text = String::from(EXAMPLE_HEAD);
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, section.doc);
        line(&mut text, &format!("[{}]", section.name));
        for key in section.keys {
            text.push('\n');
            comment(&mut text, key.doc);
            let value = values.write(key).unwrap_or_default();
            line(&mut text, &format!("# {} = {value}", key.short_name()));
        }
    }
    text
}

/// The configuration in force, as a file that means the same. Secrets are left out.
pub(crate) fn in_force(values: &Values) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        if !text.is_empty() {
            text.push('\n');
        }
        line(&mut text, &format!("[{}]", section.name));
        for key in section.keys {
            line(
                &mut text,
                &match values.write(key) {
                    Some(value) => format!("{} = {value}", key.short_name()),
                    None => format!("# {} is set and not shown", key.short_name()),
                },
            );
        }
    }
    text
}

/// `docs/configuration.md`.
pub(crate) fn manual() -> String {
    let values = Values::default();
    let mut text = String::from(MANUAL_HEAD);
    for section in SECTIONS {
        line(&mut text, &format!("\n## [{}]\n", section.name));
        line(&mut text, &joined(section.doc));
        for key in section.keys {
            line(&mut text, &format!("\n### {}\n", key.name));
            line(&mut text, &joined(key.doc));
            text.push('\n');
            line(&mut text, &format!("- default: `{}`", values.write(key).unwrap_or_default()));
            line(&mut text, &format!("- must be {}", (key.right)()));
            line(&mut text, &format!("- variable: `{}`", key.variable()));
            if let Some(flags) = cli::flags_of(key) {
                line(&mut text, &format!("- flag: {flags}"));
            }
            let takes = match key.takes {
                Takes::Reload if key.is_live() => "SIGHUP, or is made through the API",
                Takes::Reload => "SIGHUP",
                Takes::Restart => "a restart",
            };
            line(&mut text, &format!("- a change takes {takes}"));
        }
    }
    text
}

/// A key's doc up to its first full stop, for the help of a flag.
pub(crate) fn first_sentence(key: &Key) -> String {
    let doc = joined(key.doc);
    let end = doc.find(". ").map_or(doc.len().saturating_sub(1), |end| end);
    doc[..end].into()
}

fn joined(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn comment(text: &mut String, doc: &[&str]) {
    doc.iter().for_each(|doc| line(text, format!("#{doc}").trim_end()));
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::value::{Secret, Whole};
    use crate::config::{Config, Written};

    /// Compares a generated file; `UPDATE=1` rewrites it.
    #[track_caller]
    fn check_file(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
        if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{name} is out of date: run the tests with UPDATE=1");
    }

    #[test]
    fn example_file_is_up_to_date() {
        check_file("peerage.example.toml", &example());
    }

    #[test]
    fn manual_is_up_to_date() {
        check_file("docs/configuration.md", &manual());
    }

    fn parse(text: &str) -> Values {
        let (mut config, mut errors) = (Config::default(), Vec::new());
        config.take_file(Written::ByOperator, Path::new("example"), text, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        config.values
    }

    #[test]
    fn configuration_in_force_is_read_back_as_the_same() {
        let mut values = Values::default();
        values.listen.port = Whole(1);
        values.http.forwarded_header = "X-\"Quoted\"".into();
        assert!(parse(&in_force(&values)) == values);
    }

    #[test]
    fn secret_is_not_shown() {
        let mut values = Values::default();
        values.udp.connection_key = Secret(Some([0xab; 16]));
        let shown = in_force(&values);
        assert!(!shown.contains("abab"), "{shown}");
        assert!(parse(&shown).udp.connection_key == Secret(None));
    }

    #[test]
    fn example_with_every_setting_uncommented_is_the_default() {
        let mut text = String::new();
        for example_line in example().lines() {
            let setting = example_line.strip_prefix("# ").filter(|rest| {
                let name = rest.split(" = ").next().unwrap_or_default();
                SECTIONS.iter().flat_map(|s| s.keys).any(|key| key.short_name() == name)
            });
            line(&mut text, setting.unwrap_or(example_line));
        }
        let settings = SECTIONS.iter().flat_map(|section| section.keys).count();
        assert_eq!(text.matches(" = ").count(), settings);
        assert!(parse(&text) == Values::default());
    }

    #[test]
    fn every_setting_has_a_doc_that_fits_its_line() {
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            assert!(!key.doc.is_empty(), "{}", key.name);
            assert!(joined(key.doc).ends_with('.'), "{}", key.name);
        }
    }
}
