//! Members, torrents and clients of a private tracker from the command line.

use std::path::Path;
use std::time::Duration;

use peerage_testkit::{Folder, Server, Wait, run, run_in, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_peerage");

/// Runs a command that is to succeed; what it printed, by lines.
#[track_caller]
fn peerage(folder: &Folder, line: &str) -> Vec<String> {
    let ended = try_peerage(folder, line);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
    ended.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn try_peerage(folder: &Folder, line: &str) -> peerage_testkit::Ended {
    let data_dir = folder.path().join("data").display().to_string();
    let arguments: Vec<&str> =
        ["--data-dir", &data_dir].into_iter().chain(line.split(' ')).collect();
    run(Path::new(PROGRAM), &arguments, &[]).expect("it ends")
}

/// Runs a command that is to fail; what it said.
#[track_caller]
fn refused(folder: &Folder, line: &str) -> String {
    let ended = try_peerage(folder, line);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{line}");
    ended.stderr
}

#[test]
fn user_is_made_with_a_passkey_and_urls_listed_changed_and_removed() {
    let folder = Folder::new("members").expect("a temporary folder");
    let lines = peerage(&folder, "user add ann --host tracker.example -p 7070 --slots 3");
    let passkey = lines[0].strip_prefix("passkey   ").expect("the passkey is first").to_owned();
    assert!(passkey.len() == 32 && passkey.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let urls = [
        format!("announce  http://tracker.example:7070/{passkey}/announce"),
        format!("announce  udp://tracker.example:7070/{passkey}/announce"),
    ];
    assert_eq!(lines[1..], urls);
    assert!(refused(&folder, "user add ann").contains("already"));
    peerage(&folder, "user add bob --free-leech yes --passkey aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert!(refused(&folder, "user add c --passkey short").contains("32 letters"));
    let all = ["1 ann uploaded=0 downloaded=0", "2 bob uploaded=0 downloaded=0 free-leech"];
    assert_eq!(peerage(&folder, "user list"), all);
    assert_eq!(peerage(&folder, "user set bob --enabled no --rename rob"), [""; 0]);
    let changed = peerage(&folder, "user set ann --new-passkey --host tracker.example");
    assert!(!changed[0].contains(&passkey) && changed.len() == 3, "{changed:?}");
    peerage(&folder, "user remove ann");
    assert_eq!(
        peerage(&folder, "user list"),
        ["2 rob uploaded=0 downloaded=0 disabled free-leech"]
    );
    assert_eq!(refused(&folder, "user remove ann"), "peerage: there is no user ann\n");
}

#[test]
fn torrent_is_registered_by_its_file_and_by_its_info_hash() {
    let folder = Folder::new("members").expect("a temporary folder");
    let info = "d6:lengthi3e4:name4:file12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let file = folder.write("x.torrent", &format!("d4:info{info}e")).expect("it is written");
    // Of `info`, by another program.
    let hash = "3c0f0d7588f502aefd1110d14842812a485a9091";
    let added = peerage(&folder, &format!("torrent add {file} --pricing free"));
    let (found, name) = added[0].split_once(' ').expect("hash and name");
    assert_eq!((found, name), (hash, "file"));
    let other = "0123456789ABCDEF0123456789abcdef01234567";
    peerage(&folder, &format!("torrent add {other} --title other"));
    assert!(refused(&folder, &format!("torrent add {other}")).contains("already"));
    let counts = "seeders=0 leechers=0 completed=0";
    let lower = other.to_lowercase();
    let all = [format!("{found} file {counts} free"), format!("{lower} other {counts}")];
    assert_eq!(peerage(&folder, "torrent list"), all);
    peerage(&folder, "user add ann");
    peerage(&folder, &format!("freeleech add ann {file}"));
    let tokens = peerage(&folder, "freeleech list ann");
    assert_eq!(tokens, [format!("{found} file in-use downloaded=0")]);
    peerage(&folder, &format!("freeleech remove ann {file}"));
    peerage(&folder, &format!("torrent set {other} --pricing neutral --double-upload yes"));
    peerage(&folder, &format!("torrent remove {file}"));
    let left = [format!("{lower} other {counts} neutral double-upload")];
    assert_eq!(peerage(&folder, "torrent list"), left);
    let wrong = folder.write("wrong.torrent", "d4:infoe").expect("it is written");
    assert!(refused(&folder, &format!("torrent add {wrong}")).contains("is no torrent"));
    assert!(refused(&folder, "torrent add nothing").contains("40 hex digits"));
}

#[test]
fn clients_are_let_in_and_kept_out() {
    let folder = Folder::new("members").expect("a temporary folder");
    peerage(&folder, "client add -TR4 Transmission");
    peerage(&folder, "client add --deny -- -XX0 Other");
    let all = ["allowed -TR4 Transmission", "denied  -XX0 Other"];
    assert_eq!(peerage(&folder, "client list"), all);
    peerage(&folder, "client remove -TR4");
    assert_eq!(peerage(&folder, "client list"), ["denied  -XX0 Other"]);
    assert!(refused(&folder, "client remove -TR4").contains("no client"));
}

/// An announce of 20 bytes of `a`; the reply.
fn announce(server: &Server, passkey: &str, more: &str) -> String {
    let (hash, peer_id) = ("aaaaaaaaaaaaaaaaaaaa", "-TR4060-000000000000");
    let target =
        format!("/{passkey}/announce?info_hash={hash}&peer_id={peer_id}&port=6881&compact=1{more}");
    server.get(&target).expect("it answers").body.escape_ascii().to_string()
}

#[test]
fn three_commands_make_a_private_tracker() {
    let server = Server::start(Path::new(PROGRAM), &["--private"]).expect("it starts");
    let peerage = |line: &str| -> Vec<String> {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ended = run_in(server.folder(), Path::new(PROGRAM), &arguments, &[]);
        let ended = ended.expect("it ends");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
        ended.stdout.lines().map(str::to_owned).collect()
    };
    let lines = peerage("user add ann");
    let passkey = lines[0].strip_prefix("passkey   ").expect("the passkey is first");
    peerage(&format!("torrent add {} --title file", "61".repeat(20)));
    let start = "&uploaded=0&downloaded=0&left=100&event=started";
    let seen = wait_for("members", Duration::from_secs(60), || {
        let reply = announce(&server, passkey, start);
        Ok(if reply.contains("10:incompletei1e") { Wait::Done(()) } else { Wait::NotYet(reply) })
    });
    seen.expect("a change is seen with the next flush");
    let reply = announce(&server, passkey, "&uploaded=7&downloaded=100&left=0&event=completed");
    assert!(reply.contains("8:completei1e"), "{reply}");
    let wrong = announce(&server, &"x".repeat(32), start);
    assert!(wrong.contains("failure reason"), "{wrong}");
    let written = wait_for("accounts", Duration::from_secs(60), || {
        let (users, torrents) = (peerage("user list"), peerage("torrent list"));
        let is_counted = users == ["1 ann uploaded=7 downloaded=100"]
            && torrents[0].contains("file seeders=1 leechers=0 completed=1");
        let both = format!("{users:?} {torrents:?}");
        Ok(if is_counted { Wait::Done(()) } else { Wait::NotYet(both) })
    });
    written.expect("what was moved is written with the next flush");
    server.stop().expect("it stops in good order");
}

#[test]
fn who_names_no_folder_is_told_to() {
    let ended = run(Path::new(PROGRAM), &["user", "list"], &[]).expect("it ends");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--data-dir"), "{}", ended.stderr);
}
