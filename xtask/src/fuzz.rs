//! `cargo xtask fuzz [target] [seconds]`: libFuzzer on each parser and on the endpoints.
//!
//! Not part of `ci`: it needs cargo-fuzz, which it does not install, a C++ compiler and time. What
//! `ci` runs are the tests of the same package, [`short`].

use std::fs;

use crate::shell::{self, Outcome, Workspace};

/// The package is a workspace of its own; without libFuzzer it needs no C++ compiler.
pub(crate) const PACKAGE: [&str; 4] =
    ["--manifest-path", "fuzz/Cargo.toml", "--no-default-features", "--locked"];

const SECONDS_DEFAULT: u64 = 60;

/// Gives each target 20,000 inputs changed at random from a fixed start: seconds.
pub(crate) fn short(workspace: &Workspace, _: &[String]) -> Outcome {
    shell::run(workspace.cargo(&["test"]).args(PACKAGE))
}

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    let (target, seconds) = parse(arguments)?;
    if shell::find_program("cargo-fuzz").is_none() {
        return Err("cargo-fuzz is missing: `cargo install cargo-fuzz --locked`".to_owned());
    }
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => targets(workspace)?,
    };
    let seeds = ["run", "--quiet", "--bin", "seeds"];
    shell::run(workspace.cargo(&seeds).args(PACKAGE))?;
    let limit = format!("-max_total_time={seconds}");
    for target in &targets {
        // The sanitizer is an unstable flag. Allowed to this toolchain, it takes no second one.
        let mut cargo = workspace.cargo(&["fuzz", "run", "--fuzz-dir", "fuzz"]);
        let cargo = cargo.env("RUSTC_BOOTSTRAP", "1");
        shell::run(cargo.args([target, "--", &limit]))?;
    }
    eprintln!("fuzz: {} targets, {seconds} s each, nothing found", targets.len());
    Ok(())
}

/// Every target by name: each is a file. What cargo-fuzz lists has the package's tools in it.
fn targets(workspace: &Workspace) -> Result<Vec<String>, String> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut targets = Vec::new();
    for file in fs::read_dir(&folder).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    targets.sort();
    Ok(targets)
}

fn parse(arguments: &[String]) -> Result<(Option<&str>, u64), String> {
    let number = |text: &String| text.parse().map_err(|_| format!("`{text}` is no whole number"));
    match arguments {
        [] => Ok((None, SECONDS_DEFAULT)),
        [one] => match one.parse() {
            Ok(seconds) => Ok((None, seconds)),
            Err(_) => Ok((Some(one), SECONDS_DEFAULT)),
        },
        [target, seconds] => Ok((Some(target), number(seconds)?)),
        _ => Err("takes a target and a number of seconds at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_without_the_tools_beside_them() {
        let targets = targets(&Workspace::find()).expect("the folder is there");
        let has = |name: &str| targets.iter().any(|target| target == name);
        assert!(has("udp_request") && has("http_endpoint") && !has("seeds"), "{targets:?}");
    }

    #[test]
    fn arguments_are_a_target_or_seconds_or_both() {
        let cases: [(&[&str], _); 5] = [
            (&[], Ok((None, 60))),
            (&["udp"], Ok((Some("udp"), 60))),
            (&["5"], Ok((None, 5))),
            (&["udp", "5"], Ok((Some("udp"), 5))),
            (&["udp", "five"], Err("`five` is no whole number".to_owned())),
        ];
        for (arguments, expected) in cases {
            let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(parse(&arguments), expected, "{arguments:?}");
        }
    }
}
