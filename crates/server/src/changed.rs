//! Settings that are changed while the tracker runs: what the API asks for, as the text of
//! `changed.toml`, which is then read as every other configuration is.
//!
//! All that can be wrong with a value is said by the code that reads the configuration. Here is
//! only the way from JSON to TOML and back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use crate::config::keys::{Key, SECTIONS};
use crate::config::value::quoted;
use crate::config::{self, Config, ConfigError, Origin};

/// By its key, what a setting is to be; null for what it would be had it never been changed.
pub(crate) type Patch = BTreeMap<String, Json>;

/// Most values in a list.
const LIST_VALUES_MAX: usize = 1000;

/// The text of the file for `config` changed by `patch`. Its values are not checked yet.
pub(crate) fn text(config: &Config, patch: &Patch) -> Result<String, Vec<ConfigError>> {
    let mut errors = Vec::new();
    for name in patch.keys() {
        match config::key(name) {
            None => errors.push(ConfigError::no_such_key(name)),
            Some(key) if !key.is_live() => errors.push(ConfigError::not_live(key)),
            Some(_) => {}
        }
    }
    let mut text = String::from("# What was changed through the API. It goes before all else.\n");
    for section in SECTIONS {
        let mut head = format!("\n[{}]\n", section.name);
        for key in section.keys {
            let value = match patch.get(key.name) {
                Some(Json::Null) => None,
                Some(json) => literal(json).map_or_else(
                    || {
                        errors.push(Config::not_a_value(key, &json.to_string()));
                        None
                    },
                    Some,
                ),
                None => is_changed(config, key).then(|| config.written(key)),
            };
            if let Some(value) = value {
                let head = std::mem::take(&mut head);
                writeln!(text, "{head}{} = {value}", key.short_name()).expect("it is a String");
            }
        }
    }
    if errors.is_empty() { Ok(text) } else { Err(errors) }
}

fn is_changed(config: &Config, key: &Key) -> bool {
    matches!(config.origin(key), Origin::Changed(..))
}

/// A value in TOML; `None` for one that no setting can have.
fn literal(json: &Json) -> Option<String> {
    Some(match json {
        Json::Bool(value) => value.to_string(),
        Json::Number(number) if number.is_f64() => format!("{:?}", number.as_f64()?),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(values) if values.len() <= LIST_VALUES_MAX => {
            let scalar = |value: &Json| literal(value).filter(|_| !value.is_array());
            let values: Option<Vec<String>> = values.iter().map(scalar).collect();
            format!("[{}]", values?.join(", "))
        }
        Json::Array(_) | Json::Object(_) | Json::Null => return None,
    })
}

/// A value in TOML, as [`Config::written`] gives it, in JSON; null for what is hidden.
pub(crate) fn json(literal: &str) -> Json {
    let line = format!("value = {literal}");
    let table = DeTable::parse(&line).ok();
    let value = table.as_ref().and_then(|table| table.get_ref().get("value"));
    value.map_or(Json::Null, |value| in_json(value.get_ref()))
}

fn in_json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(number) => number.as_str().parse::<i64>().map_or(Json::Null, Json::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(value) => Json::from(*value),
        DeValue::Array(values) => values.iter().map(|value| in_json(value.get_ref())).collect(),
        DeValue::Datetime(_) | DeValue::Table(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::Sources;

    fn config() -> Config {
        Config::load(&Sources::default()).unwrap_or_default()
    }

    fn patch(json: Json) -> Patch {
        serde_json::from_value(json).unwrap()
    }

    #[track_caller]
    fn check_error(json: &Json, key: &str, error: &str) {
        let changed = text(&config(), &patch(json.clone()))
            .and_then(|text| config().with_changed(Path::new("changed.toml"), &text));
        let errors = changed.err().unwrap_or_default();
        assert_eq!(errors.len(), 1, "{json}: {errors:?}");
        assert_eq!((errors[0].key(), &*errors[0].without_place()), (Some(key), error), "{json}");
    }

    #[test]
    fn changes_add_up_and_null_takes_one_back() {
        let path = Path::new("changed.toml");
        let first = patch(json!({"announce.max_interval": "20m", "announce.jitter": 7}));
        let config = config().with_changed(path, &text(&config(), &first).unwrap()).unwrap();
        assert_eq!(config.values.announce.max_interval.given().unwrap().0, 1200);
        let second = patch(json!({"announce.max_interval": null, "announce.full_scrape": true}));
        let changed = text(&config, &second).unwrap();
        assert!(
            changed.ends_with("[announce]\njitter = \"7s\"\nfull_scrape = true\n"),
            "{changed}"
        );
        let config = config.with_changed(path, &changed).unwrap();
        assert!(config.values.announce.max_interval.given().is_none());
        assert_eq!(config.values.announce.jitter.0, 7);
    }

    #[test]
    fn what_no_setting_can_be_is_named_with_its_key() {
        let seconds = "must be a duration such as \"90s\", \"30m\" or a number of seconds, from 0s \
            to 1h";
        for (json, written) in [
            (json!({"announce.jitter": "x\" \n[listen]\nport = 1"}), "\"x\\\" \\u000A[listen]"),
            (json!({"announce.jitter": {"a": 1}}), "{\"a\":1}"),
            (json!({"announce.jitter": [[1]]}), "[[1]]"),
            (json!({"announce.jitter": 1.5}), "1.5"),
            (json!({"announce.jitter": true}), "true"),
            (json!({"announce.jitter": u64::MAX}), "18446744073709551615"),
        ] {
            let written = match written.starts_with("\"x") {
                true => format!("{written}\\u000Aport = 1\""),
                false => written.to_owned(),
            };
            check_error(
                &json,
                "announce.jitter",
                &format!("announce.jitter = {written}: {seconds}"),
            );
        }
        check_error(
            &json!({"announce.jiter": 1}),
            "announce.jiter",
            "unknown key announce.jiter: did you mean announce.jitter?",
        );
        for key in ["listen.port", "access.allow", "udp.connection_key"] {
            let text = "is not changed while the tracker runs: set it in the configuration";
            check_error(&json!({key: "x"}), key, &format!("{key} {text}"));
        }
    }

    #[test]
    fn value_in_toml_is_told_in_json() {
        for (toml, expected) in [
            ("\"20m\"", json!("20m")),
            ("7", json!(7)),
            ("-1", json!(-1)),
            ("1.5", json!(1.5)),
            ("true", json!(true)),
            ("[\"a\", \"b\"]", json!(["a", "b"])),
            ("(hidden)", Json::Null),
        ] {
            assert_eq!(json(toml), expected, "{toml}");
        }
    }
}
