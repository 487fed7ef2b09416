//! The pages in a real browser: Debian's Chromium, driven by Playwright, against a tracker under
//! load. What it does there is in `drive.mjs`, what it has seen in `target/browser` as pictures.
//!
//! The driver asks for what only this side can do, by a line: that the tracker be stopped or
//! started. It ends with 0 if all was as it should be. Needs what `cargo xtask setup` installs.

mod load;
mod sharing;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use load::Load;
use peerage_testkit::{Folder, Process, Server, Wait, wait_for};
use sharing::{Peers, Sharing};

/// How long a driver may take for all it does. Each of its own waits has a limit of its own.
const LIMIT: Duration = Duration::from_secs(300);

/// Where the addresses of the load are, in the form of IP2Location's files.
const IPV4: &str =
    "\"2130706432\",\"2147483647\",\"DE\",\"Germany\",\"Berlin\",\"Berlin\",\"52.5\",\"13.4\"\n";
/// What is before the mapped addresses: `::1`, too.
const IPV6: &str =
    "\"0\",\"281470681743359\",\"JP\",\"Japan\",\"Tokyo\",\"Tokyo\",\"35.7\",\"139.7\"\n";

/// What a tracker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// For anyone, and under load.
    Open,
    /// For members.
    Private,
    /// One of two nodes.
    Node(Peers),
}

impl Mode {
    fn has_members(self) -> bool {
        matches!(self, Self::Private | Self::Node(Peers::Members))
    }
}

/// A tracker that keeps what it is told, and its token.
struct Tracker {
    mode: Mode,
    folder: Folder,
    /// `None` while it is stopped.
    server: Option<Server>,
    /// What it shares, where it is a node.
    sharing: Option<Sharing>,
    port: u16,
    token: String,
}

impl Tracker {
    fn start(mode: Mode) -> Result<Self, String> {
        let folder = Folder::new("browser")?;
        folder.write("IP2LOCATION-LITE-DB5.CSV", IPV4)?;
        folder.write("IP2LOCATION-LITE-DB5.IPV6.CSV", IPV6)?;
        let sharing = match mode {
            Mode::Node(peers) => Some(Sharing::start(peers)?),
            Mode::Open | Mode::Private => None,
        };
        let token = String::new();
        let mut tracker = Self { mode, folder, server: None, sharing, port: 0, token };
        tracker.again()?;
        let server = tracker.server.as_mut().expect("it was just started");
        // It is shown where whoever starts it looks, and not in the log.
        tracker.token = wait_for("token", LIMIT, || {
            let output = server.process().output();
            let mut words = output.split_whitespace();
            let token = words.find(|word| word.starts_with("peerage_admin_"));
            Ok(token.map_or(Wait::NotYet(output.clone()), |token| Wait::Done(token.to_owned())))
        })?;
        Ok(tracker)
    }

    /// Starts it, on the port it had.
    fn again(&mut self) -> Result<(), String> {
        let (port, data) = (self.port.to_string(), self.folder.path().to_string_lossy());
        let arguments = ["-p", &port, "--bind", "127.0.0.1", "--bind", "::1", "--data-dir", &data];
        let flags: &[&str] = if self.mode.has_members() { &["--private"] } else { &[] };
        let arguments = [&arguments[..], flags].concat();
        let shared = self.sharing.as_ref().map_or_else(Vec::new, Sharing::settings);
        let shared = shared.iter().map(|(key, value)| (*key, value.as_str()));
        let own = [
            ("PEERAGE__PAGES__LARGEST_SWARMS", "true"),
            ("PEERAGE__PRIVATE__EARLY", "0"),
            ("PEERAGE__DATABASE__FLUSH_INTERVAL", "1"),
        ];
        let settings: Vec<(&str, &str)> = own.into_iter().chain(shared).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        let server = Server::start_as(program, &arguments, &settings)?;
        self.port = server.port();
        self.server = Some(server);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.server.take().map_or(Ok(()), Server::stop)
    }

    fn sharing(&mut self) -> Result<&mut Sharing, String> {
        self.sharing.as_mut().ok_or_else(|| "it is no node".into())
    }
}

/// Where the pictures go.
fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in a folder");
    target.join("browser")
}

/// Runs a scene of the driver, and does what it asks for.
fn play(scene: &str) -> Result<(), String> {
    play_with(scene, Mode::Open)
}

/// As [`play`], with a tracker of this mode.
fn play_with(scene: &str, mode: Mode) -> Result<(), String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ui = package.join("../../ui");
    if !ui.join("node_modules/playwright-core").exists() {
        return Err("Playwright is missing: `cargo xtask setup` installs it".into());
    }
    let pictures = pictures();
    std::fs::create_dir_all(&pictures).map_err(|error| error.to_string())?;
    let mut tracker = Tracker::start(mode)?;
    let mut load = (mode == Mode::Open).then(|| Load::start(tracker.port));
    let folder = Folder::new("chromium")?;
    let mut command = Command::new("node");
    command
        .arg(package.join("tests/browser/drive.mjs"))
        .arg(scene)
        .env("PEERAGE_URL", format!("http://127.0.0.1:{}", tracker.port))
        .env("PEERAGE_TOKEN", &tracker.token)
        .env("PEERAGE_UI", &ui)
        .env("PEERAGE_PICTURES", &pictures)
        // The browser's own folder is made in it, and gone with it.
        .env("TMPDIR", folder.path());
    let log = folder.path().join("driver.log");
    let mut driver = Process::start("driver", &mut command, &log)?;
    loop {
        let wish = driver.next_line("wish of the driver", LIMIT, |line| {
            line.strip_prefix("wish: ").map(str::to_owned)
        })?;
        match wish.as_str() {
            "stop" => {
                drop(load.take());
                tracker.stop()?;
            }
            "start" => {
                tracker.again()?;
                load = Some(Load::start(tracker.port));
            }
            "lose redis" => tracker.sharing()?.lose_redis()?,
            "find redis" => tracker.sharing()?.find_redis()?,
            "lose messages" => tracker.sharing()?.lose_messages()?,
            "end" => break,
            other => return Err(driver.explain(&format!("it wishes for `{other}`"))),
        }
        driver.tell("done")?;
    }
    match driver.ended(LIMIT)? {
        Some(0) => {
            println!("{}", driver.log());
            Ok(())
        }
        code => Err(driver.explain(&format!("it ended with {code:?}"))),
    }
}

#[test]
fn every_page_is_fit_to_be_seen_on_a_desktop() -> Result<(), String> {
    play("desktop")
}

#[test]
fn every_page_is_fit_to_be_seen_on_a_phone() -> Result<(), String> {
    play("phone")
}

#[test]
fn numbers_move_and_points_appear_under_load() -> Result<(), String> {
    play("moves")
}

#[test]
fn setting_that_is_changed_changes_the_next_announce() -> Result<(), String> {
    play("changes")
}

#[test]
fn tracker_that_goes_and_comes_is_missed_and_found_again() -> Result<(), String> {
    play("returns")
}

#[test]
fn pages_are_used_by_keyboard_alone() -> Result<(), String> {
    play("keys")
}

#[test]
fn member_and_torrent_added_by_the_page_announce_at_once() -> Result<(), String> {
    play_with("members", Mode::Private)
}

#[test]
fn pages_of_a_private_tracker_are_fit_to_be_seen() -> Result<(), String> {
    play_with("membersLook", Mode::Private)
}

#[test]
fn node_shows_what_it_shares_and_what_waits() -> Result<(), String> {
    play_with("nodes", Mode::Node(Peers::Anyones))
}

#[test]
fn node_of_a_private_tracker_shows_what_it_shares_and_what_waits() -> Result<(), String> {
    play_with("memberNodes", Mode::Node(Peers::Members))
}

#[test]
fn first_page_is_small_and_says_the_essentials_without_javascript() -> Result<(), String> {
    play("first")
}
