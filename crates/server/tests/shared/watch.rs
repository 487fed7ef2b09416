//! What operators watch of shared mode is there to be watched.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use peerage_testkit::GazelleTables;

use crate::site::{Site, Tables};

/// What all names of metrics of shared mode begin with.
const PREFIX: &str = "peerage_shared_";

/// The names in a text; of one that is cut short nothing.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_of_name(letter));
    let names = words.filter(|word| word.starts_with(PREFIX) && !word.ends_with('_'));
    names.map(str::to_owned).collect()
}

#[test]
fn every_metric_that_the_manual_names_is_there_with_a_help() -> Result<(), String> {
    let site = Site::start(Tables::Gazelle(GazelleTables::Ops))?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut named = BTreeSet::new();
    for entry in docs.read_dir().map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            named.append(&mut names(&fs::read_to_string(path).map_err(|error| error.to_string())?));
        }
    }
    assert!(named.len() >= 10, "the manual says what to watch: {named:?}");
    for node in &site.nodes {
        let metrics = node.get("/metrics")?.text();
        let helped = metrics.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let helped: BTreeSet<String> = helped
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, help)| help.ends_with('.'))
            .map(|(name, _)| name.to_owned())
            .collect();
        let missing: Vec<&String> = named.difference(&helped).collect();
        assert!(missing.is_empty(), "{missing:?} of {helped:?}");
    }
    Ok(())
}
