//! The OpenAPI document fuzzed against the running tracker by schemathesis, which `cargo xtask
//! setup` installs: no reply that is a fault of ours, none that the document does not name.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use peerage_testkit::{Folder, Process};

use crate::client::Tracker;

/// Seconds it goes on making up requests.
const FUZZ_SECS: &str = "60";

/// From which they are made up: the same in each run, so that one that fails can be run again.
const SEED: &str = "20261121";

/// How long all of it may take, on a machine that builds something else meanwhile.
const LIMIT: Duration = Duration::from_secs(300);

/// Requests below which it has not done what it is here for; 60 s are enough for thousands.
const CASES_MIN: u32 = 300;

/// What is not held against us: most texts are no durations, which the document's patterns do not
/// say; and whoever sends wrong tokens again and again is told 429, not 401. `guarded.rs` has a
/// test of its own for tokens. What was removed may have been put there again by the next request,
/// which the two checks of what is gone and what is there do not see; `members.rs` looks at that.
const CHECKS_LEFT_OUT: &str = "positive_data_acceptance,ignored_auth,use_after_free,\
                               ensure_resource_availability";

/// How wrong data may be answered: a value that is far too long makes the head too long (414, 431).
const SETTINGS: &str = "\
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 431, 503]
";

fn schemathesis() -> Result<Command, String> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Where `setup` of xtask puts it.
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let program = cache.unwrap_or_default().join("peerage/venv/bin/schemathesis");
    match program.is_file() {
        true => Ok(Command::new(program)),
        false => Err("schemathesis is not installed; `cargo xtask setup` installs it".to_owned()),
    }
}

/// The number after `label` in a line of its own.
fn number(report: &str, label: &str) -> Result<u32, String> {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(label));
    let digits = line.map(|rest| rest.trim().chars().take_while(char::is_ascii_digit));
    let digits: Option<String> = digits.map(Iterator::collect);
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("no {label}: {report}"))
}

#[test]
fn made_up_requests_are_answered_as_the_document_says() -> Result<(), String> {
    let mut tracker = Tracker::start(&["--private"])?;
    let folder = Folder::new("fuzzed")?;
    let address = tracker.server.address(Ipv4Addr::LOCALHOST);
    let settings = folder.write("schemathesis.toml", SETTINGS)?;
    let mut command = schemathesis()?;
    command.current_dir(folder.path()).args(["--config-file", &settings, "run"]);
    command.arg(format!("http://{address}/api/v1/openapi.json"));
    command.args(["--header", &format!("Authorization: Bearer {}", tracker.admin())]);
    command.args(["--max-time", FUZZ_SECS, "--seed", SEED, "--exclude-checks", CHECKS_LEFT_OUT]);
    command.args(["--continue-on-failure", "--no-color", "--warnings", "off"]);
    command.args(["--generation-database", "none"]);
    let mut process =
        Process::start("schemathesis", &mut command, &folder.path().join("report.txt"))?;
    let code = process.ended(LIMIT)?;
    let report = process.log();
    assert_eq!(code, Some(0), "{report}");

    let document = tracker.json("GET", "/openapi.json", "", 200);
    let methods = |path: &serde_json::Value| path.as_object().map_or(0, serde_json::Map::len);
    let paths = document["paths"].as_object().ok_or("no paths")?;
    let operations: usize = paths.values().map(methods).sum();
    // All but the document itself, which it has read to begin with.
    assert_eq!(number(&report, "Tested:")? as usize, operations - 1, "{report}");
    let cases = report.lines().skip_while(|line| !line.starts_with("Test cases:")).nth(1);
    let cases = number(cases.ok_or("no cases")?, "")?;
    assert!(CASES_MIN < cases, "{report}");

    // It was let in, and has changed something.
    let log = tracker.server.process().log();
    let made =
        ["list: 1 added", "made, it allows", "changed by token \"owner\"", "user \"", "torrent "];
    for what in made {
        assert!(log.contains(what), "no {what}: {log}");
    }
    assert!(!log.contains("ERROR"), "{log}");
    tracker.server.stop()
}
