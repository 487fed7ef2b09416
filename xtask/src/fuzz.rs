//! `cargo xtask fuzz [target] [seconds]`: libFuzzer on each parser and on the endpoints.
//!
//! Not part of `ci`: it needs a nightly toolchain and cargo-fuzz, which it does not install.

use std::process::Command;

use crate::shell::{self, Outcome, Workspace};

const SECONDS_DEFAULT: u64 = 60;

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    let (target, seconds) = parse(arguments)?;
    let folder = workspace.root.join("fuzz");
    if !folder.join("Cargo.toml").is_file() {
        return Err("there is no package in the folder `fuzz`".to_owned());
    }
    if shell::find_program("cargo-fuzz").is_none() {
        return Err("cargo-fuzz is missing: `cargo install cargo-fuzz --locked`".to_owned());
    }
    // The program rustup put in the way takes `+nightly`; the cargo that runs us does not.
    let cargo = || {
        let mut command = Command::new("cargo");
        command.current_dir(&workspace.root).env_remove("RUSTUP_TOOLCHAIN").arg("+nightly");
        command
    };
    if !shell::succeeds(cargo().arg("--version")) {
        return Err("no nightly toolchain: `rustup toolchain install nightly`".to_owned());
    }
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => {
            let listed = shell::output(cargo().args(["fuzz", "list"]))?;
            listed.lines().map(str::to_owned).collect()
        }
    };
    let limit = format!("-max_total_time={seconds}");
    for target in &targets {
        shell::run(cargo().args(["fuzz", "run", target, "--", &limit]))?;
    }
    eprintln!("fuzz: {} targets, {seconds} s each, nothing found", targets.len());
    Ok(())
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
